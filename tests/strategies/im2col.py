"""What parity draws for im2col."""

from hypothesis import strategies as st

from strategies import normal, now_and_then, pairs, seeds, sizes


@st.composite
def window(draw):
    """An image's size, a kernel's, and stride, padding and dilation; now and then one is wrong."""
    kwargs = {
        "stride": draw(now_and_then(st.sampled_from([0, 1.0, (1, 2, 3)]), draw(pairs(1, 4)))),
        "padding": draw(now_and_then(st.sampled_from([-1, "same"]), draw(pairs(0, 3)))),
        "dilation": draw(now_and_then(st.just(0), draw(pairs(1, 3)))),
    }
    size = draw(now_and_then(sizes(1, 4), 5)), draw(sizes(4, 9))
    kernel = draw(pairs(1, 3)) if draw(st.booleans()) else (draw(sizes(1, 4)), draw(sizes(1, 4)))
    return size, kernel, kwargs


def both(kernel):
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def places(size, kernel, kwargs):
    """Return OH and OW, or 2 and 3 where the arguments are wrong anyway."""
    from cvnotes import shapes

    try:
        return shapes.window2d(size, both(kernel), **kwargs)[3]
    except ValueError:
        return 2, 3


@st.composite
def convolution(draw, bias=True, smallest_batch=0):
    size, kernel, kwargs = draw(window())
    seed, channels, filters = draw(seeds), draw(sizes(1, 3)), draw(sizes(1, 4))
    x = normal(seed, draw(sizes(smallest_batch, 3)), channels, *size)
    if draw(st.booleans()):
        x = normal(seed, *x.shape[:2], size[1], size[0]).swapaxes(2, 3)  # not contiguous
    depth = draw(now_and_then(st.just(channels + 1), channels))
    w = normal(seed + 1, filters, depth, *both(kernel))
    args = x, w
    if bias and draw(st.booleans()):
        args += (normal(seed + 2, draw(now_and_then(st.just(filters + 1), filters))),)
    return args, kwargs


@st.composite
def backward(draw):
    (x, w), kwargs = draw(convolution(bias=False))
    outputs = places(x.shape[2:], w.shape[2:], kwargs)
    shape = (x.shape[0], w.shape[0]) + draw(now_and_then(st.just((1, 7)), outputs))
    return (normal(draw(seeds), *shape), x, w), kwargs


@st.composite
def im2col(draw):
    size, kernel, kwargs = draw(window())
    shape = draw(sizes(0, 3)), draw(sizes(1, 3)), *size
    return (normal(draw(seeds), *draw(now_and_then(st.just(shape[1:]), shape))), kernel), kwargs


@st.composite
def column_indices(draw):
    size, kernel, kwargs = draw(window())
    return (draw(now_and_then(st.just(0), draw(sizes(1, 4)))), size, kernel), kwargs


@st.composite
def col2im(draw):
    size, kernel, kwargs = draw(window())
    taps, outputs = both(kernel)[0] * both(kernel)[1], places(size, kernel, kwargs)
    rows = draw(sizes(1, 3)) * taps + draw(now_and_then(st.just(1), 0))
    count = outputs[0] * outputs[1] + draw(now_and_then(st.just(1), 0))
    return (normal(draw(seeds), draw(sizes(0, 3)), rows, count), size, kernel), kwargs


STRATEGIES = {
    "conv2d_loops": convolution(),
    "im2col": im2col(),
    "column_indices": column_indices(),
    "windows": im2col(),
    "col2im": col2im(),
    "conv2d_gemm": convolution(),
    "conv2d_gemm_backward": backward(),
}

_strided = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
_x, _w, _b = normal(0, 2, 2, 5, 4), normal(1, 3, 2, 2, 3), normal(2, 3)

GRADCHECK = {
    "conv2d_loops": [((_x, _w, _b), _strided)],
    "im2col": [((_x, 3), {"padding": 1}), ((_x, (2, 3)), _strided), ((_x, 1), {})],
    "column_indices": "Indices are integers: there is nothing to differentiate.",
    "windows": [((_x, 3), {}), ((_x, (2, 3)), _strided)],
    "col2im": [((normal(3, 2, 9, 12), (4, 3), 3), {"padding": 1}), ((normal(4, 1, 12, 12), (5, 4), (2, 3)), _strided)],
    "conv2d_gemm": [((_x, _w, _b), {}), ((_x, _w, _b), _strided), ((_x, _w), {"stride": 3, "padding": 2})],
    "conv2d_gemm_backward": [
        ((normal(5, 2, 3, 4, 2), _x, _w), {}),
        ((normal(6, 2, 3, 3, 4), _x, _w), _strided),
    ],
}
