"""What parity draws for convolution arithmetic."""

from hypothesis import strategies as st

from strategies import arrays, normal, now_and_then, pairs, seeds, sizes


@st.composite
def conv_matrix(draw):
    kernel = draw(sizes(1, 4)), draw(sizes(1, 4))
    w = draw(arrays(draw(sizes(1, 3)), draw(sizes(1, 3)), *kernel))
    if draw(st.booleans()):
        w = w.transpose(0, 1, 3, 2)
    input_size = draw(now_and_then(st.just((4, 0)), draw(pairs(4, 8))))
    kwargs = {
        "stride": draw(now_and_then(st.sampled_from([0, 1.0, (1, 2, 3)]), draw(pairs(1, 3)))),
        "padding": draw(now_and_then(st.sampled_from([-1, "same"]), draw(pairs(0, 2)))),
        "dilation": draw(pairs(1, 2)),
    }
    return (w, input_size), kwargs


@st.composite
def effective_receptive_field(draw):
    count, seed = draw(sizes(1, 3)), draw(seeds)
    channels = [draw(sizes(1, 3)) for _ in range(count + 1)]
    x = normal(seed, draw(sizes(0, 2)), channels[0], draw(sizes(6, 10)), draw(sizes(6, 10)))
    weights = [
        normal(seed + i, channels[i + 1], channels[i], draw(sizes(1, 3)), draw(sizes(1, 3))) for i in range(count)
    ]
    if draw(now_and_then(st.just(True), False)):
        weights[-1] = weights[-1][:, :, 0]
    one_each = lambda strategy: st.lists(strategy, min_size=count, max_size=count)  # noqa: E731
    kwargs = {
        "strides": draw(sizes(1, 2) | one_each(pairs(1, 2))),
        "paddings": draw(now_and_then(st.just([1] * (count + 1)), draw(sizes(0, 1) | one_each(pairs(0, 2))))),
        "relu": draw(st.booleans()),
    }
    return (x, weights), kwargs


STRATEGIES = {"conv_matrix": conv_matrix(), "effective_receptive_field": effective_receptive_field()}

GRADCHECK = {
    "conv_matrix": [
        ((normal(0, 2, 1, 2, 3), (3, 4)), {}),
        ((normal(1, 1, 2, 2, 2), 3), {"stride": 2, "padding": (1, 0), "dilation": (1, 2)}),
    ],
    "effective_receptive_field": [
        ((normal(2, 1, 1, 4, 4), [normal(3, 2, 1, 2, 2), normal(4, 1, 2, 2, 2)]), {"paddings": [1, 0]}),
        ((normal(5, 2, 1, 5, 4), [normal(6, 2, 1, 3, 2), normal(7, 2, 2, 2, 1)]), {"strides": [2, 1], "relu": True}),
    ],
}
