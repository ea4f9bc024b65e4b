"""Arguments for the pairs of conv_types: mostly fitting, now and then not."""

import numpy as np
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
NOW_AND_THEN = st.sampled_from([False] * 11 + [True])


def arrays(draw, *shape):
    """Return random numbers; now and then with one axis too long, or of integers."""
    if draw(NOW_AND_THEN) and draw(NOW_AND_THEN):
        axis = draw(st.integers(0, len(shape) - 1))
        shape = shape[:axis] + (shape[axis] + 1,) + shape[axis + 1:]
    x = np.random.default_rng(draw(SEEDS)).standard_normal(shape)
    return x.astype(np.int64) if draw(NOW_AND_THEN) and draw(NOW_AND_THEN) else x


def pairs(low, high):
    return st.one_of(st.integers(low, high), st.tuples(st.integers(low, high), st.integers(low, high)))


def geometry(draw, **most):
    """Return some of the keywords with a value from 0 or 1 to `most`; rarely one too small."""
    lowest = {"padding": 0, "output_padding": 0}
    return {
        name: draw(pairs(lowest.get(name, 1) - (draw(NOW_AND_THEN) and draw(NOW_AND_THEN)), high))
        for name, high in most.items() if draw(st.booleans())
    }


def bias(draw, count):
    return draw(st.sampled_from([None, True])) and arrays(draw, count)


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def places(size, kernel_size, stride=1, padding=0, dilation=1):
    """Return (OH, OW) by the formula; at least 1, whether it fits or not."""
    return tuple(
        max(1, (n + 2 * p - d * (k - 1) - 1) // max(s, 1) + 1)
        for n, k, s, p, d in zip(size, kernel_size, both(stride), both(padding), both(dilation))
    )


@st.composite
def conv2d(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    N, depth, O = draw(st.integers(0, 2)), draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    H, W, KH, KW = (draw(st.integers(1, n)) for n in (7, 7, 3, 3))
    x, w = arrays(draw, N, groups * depth, H, W), arrays(draw, O, depth, KH, KW)
    return (x, w, bias(draw, O)), {"groups": groups, **geometry(draw, stride=3, padding=2, dilation=2)}


@st.composite
def conv_transpose2d(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    N, depth, C = draw(st.integers(0, 2)), draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    H, W, KH, KW = (draw(st.integers(1, n)) for n in (5, 5, 3, 3))
    x, w = arrays(draw, N, C, H, W), arrays(draw, C, depth, KH, KW)
    numbers = geometry(draw, stride=3, padding=2, dilation=2, output_padding=1)
    return (x, w, bias(draw, groups * depth)), {"groups": groups, **numbers}


@st.composite
def dilate_kernel(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    return (arrays(draw, *shape), draw(pairs(1, 4))), {}


@st.composite
def separate_kernel(draw):
    kernel = arrays(draw, draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    if draw(NOW_AND_THEN):
        kernel = kernel * 0
    elif draw(NOW_AND_THEN):
        kernel = np.outer(kernel[:, 0], kernel[0])
    elif draw(NOW_AND_THEN):
        kernel = kernel.astype(float)
        kernel[0, 0] = draw(st.sampled_from([np.nan, np.inf]))
    return (kernel,), {}


@st.composite
def spatially_separable_conv2d(draw):
    N, C, H, W, KH, KW = (draw(st.integers(low, n)) for low, n in ((0, 2), (1, 3), (1, 7), (1, 7), (1, 4), (1, 4)))
    arguments = arrays(draw, N, C, H, W), arrays(draw, KH), arrays(draw, KW)
    return arguments, geometry(draw, stride=3, padding=2, dilation=2)


@st.composite
def depthwise_separable_conv2d(draw):
    N, C, M, O = (draw(st.integers(low, n)) for low, n in ((0, 2), (1, 3), (1, 2), (1, 3)))
    H, W, KH, KW = (draw(st.integers(1, n)) for n in (7, 7, 3, 3))
    arguments = arrays(draw, N, C, H, W), arrays(draw, C * M, 1, KH, KW), arrays(draw, O, C * M, 1, 1)
    return arguments, geometry(draw, stride=3, padding=2, dilation=2)


@st.composite
def deform_conv2d(draw):
    groups, G = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 2)]))
    N, C, O = draw(st.integers(0, 2)), groups * G * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    H, W, KH, KW = (draw(st.integers(1, n)) for n in (5, 5, 3, 2))
    numbers = geometry(draw, stride=3, padding=2, dilation=2)
    size = places((H, W), (KH, KW), **numbers)
    far = draw(st.sampled_from([0.0, 0.5, 2.0, 10.0]))
    offset = far * arrays(draw, N, 2 * G * KH * KW, *size)
    if draw(st.booleans()):
        offset = np.floor(offset)  # whole pixels: corners, borders and the kinks between them
    x, w = arrays(draw, N, C, H, W), arrays(draw, O, C // groups, KH, KW)
    if draw(st.booleans()):
        numbers["mask"] = arrays(draw, N, G * KH * KW, *size)
    return (x, offset, w, bias(draw, O)), numbers


@st.composite
def involution2d(draw):
    G = draw(st.integers(1, 3))
    N, C = draw(st.integers(0, 2)), G * draw(st.integers(1, 2))
    H, W = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    KH, KW = draw(st.sampled_from([1, 3, 5] * 4 + [2])), draw(st.sampled_from([1, 3, 5]))
    numbers = geometry(draw, stride=3, dilation=2)
    size = places((H, W), (1, 1), numbers.get("stride", 1))
    return (arrays(draw, N, C, H, W), arrays(draw, N, G, KH, KW, *size)), numbers


STRATEGIES = {
    "conv2d": conv2d(),
    "conv_transpose2d": conv_transpose2d(),
    "dilate_kernel": dilate_kernel(),
    "separate_kernel": separate_kernel(),
    "spatially_separable_conv2d": spatially_separable_conv2d(),
    "depthwise_separable_conv2d": depthwise_separable_conv2d(),
    "deform_conv2d": deform_conv2d(),
    "involution2d": involution2d(),
}


def _random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# Offsets away from whole pixels, where the bilinear sample has kinks; some samples lie outside.
_OFFSET = np.floor(2 * _random(2, 2 * 2 * 6, 2, 2)) + np.random.default_rng(1).uniform(0.1, 0.9, (2, 24, 2, 2))

GRADCHECK = {
    "conv2d": [
        ((_random(2, 4, 5, 4), _random(2, 2, 3, 2), _random(2)), {"stride": (2, 1), "padding": 1, "groups": 2}),
    ],
    "conv_transpose2d": [
        ((_random(2, 2, 3, 2), _random(2, 2, 3, 2), _random(4)), {"stride": 2, "output_padding": 1, "groups": 2}),
    ],
    "dilate_kernel": [((_random(2, 1, 3, 2), (2, 3)), {})],
    "separate_kernel": [
        ((_random(3, 4),), {}),
        ((_random(4, 2),), {}),
        ((np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0]),), {}),
    ],
    "spatially_separable_conv2d": [
        ((_random(2, 2, 5, 4), _random(3), _random(2)), {"stride": (1, 2), "padding": 1, "dilation": (2, 1)}),
    ],
    "depthwise_separable_conv2d": [
        ((_random(2, 2, 5, 4), _random(4, 1, 3, 2), _random(3, 4, 1, 1)), {"stride": 2, "padding": (1, 0)}),
    ],
    "deform_conv2d": [
        ((_random(2, 4, 4, 4), _OFFSET, _random(2, 4, 3, 2), _random(2)), {"stride": 2, "padding": (1, 0)}),
        (
            (_random(2, 4, 4, 4), _OFFSET, _random(2, 2, 3, 2)),
            {"stride": 2, "padding": (1, 0), "mask": _random(2, 12, 2, 2)},
        ),
    ],
    "involution2d": [
        ((_random(2, 4, 5, 4), _random(2, 2, 3, 3, 3, 2)), {"stride": 2}),
        ((_random(1, 2, 4, 3), _random(1, 1, 3, 5, 4, 3)), {"dilation": (2, 1)}),
    ],
}
