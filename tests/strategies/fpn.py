"""Arguments for the pairs of fpn: mostly fitting, now and then not."""

import numpy as np
from hypothesis import strategies as st

from . import normal, now_and_then, seeds, sizes
from .boxes import box_rows

RARELY = now_and_then(st.just(True), False, 40)
BAD = st.sampled_from([0, -1, 2.5, "2", None, True])


@st.composite
def upsample_nearest(draw):
    H, W = draw(sizes(1, 5)), draw(sizes(1, 5))
    x = normal(draw(seeds), draw(sizes(0, 2)), draw(sizes(1, 3)), H, W)
    size = draw(st.sampled_from([(2 * H, 2 * W), (H, W), (H + 1, 3 * W), (2 * H - 1, 2 * W), (2 * H - 1, W + 3)]))
    if H == W and draw(st.booleans()):
        size = draw(sizes(H, 11))
    if draw(RARELY):
        size = draw(st.sampled_from([(H - 1, W), (H, 0), (H,), (H, W, 1), 1.5, None, (True, W)]))
    if draw(RARELY):
        x = draw(st.sampled_from([x[0:0, :0], x.reshape(-1), x.astype(np.int64), x.astype(np.float32)]))
    return (x, size), {}


def convolution(draw, O, C, size):
    """Return a weight and a bias, or now and then none; rarely a pair that doesn't fit."""
    w, b = normal(draw(seeds), O, C, size, size), normal(draw(seeds), O)
    if draw(RARELY):
        return draw(st.sampled_from([(w[:, :-1], b), (w, b[:-1]), (w,), w, (w[:, :, :0], b), (w[:-1], b[:-1]), (b, w)]))
    return (w, None) if draw(st.booleans()) else (w, b)


@st.composite
def feature_pyramid(draw):
    count, N, D, O = draw(sizes(1, 3)), draw(sizes(0, 2)), draw(sizes(1, 3)), draw(sizes(1, 2))
    H, W, features = draw(sizes(1, 7)), draw(sizes(1, 7)), []
    for _ in range(count):
        features.append(normal(draw(seeds), N, draw(sizes(1, 3)), H, W))
        H, W = draw(st.sampled_from([((H + 1) // 2, (W + 1) // 2), (max(1, H // 2), max(1, W // 2)), (H, W)]))
    lateral = [convolution(draw, D, c.shape[1], 1) for c in features]
    output = [convolution(draw, O, D, 3) for c in features]
    if draw(RARELY):
        features = draw(st.sampled_from([features[::-1], features[:-1], features[0], []]))
    return (features, lateral, output), {}


@st.composite
def box_level(draw):
    boxes = box_rows(draw, draw(sizes(0, 6)))
    if draw(st.booleans()) and boxes.dtype == np.float64:
        boxes = boxes * draw(st.sampled_from([1e-6, 28.0, 112.0, 1e6]))
    options = {}
    for name, values in {
        "k0": [0, 3, 5], "size0": [1, 112.0, 300], "lowest": [-3, 0, 2], "highest": [5, 7],
    }.items():
        if draw(st.booleans()):
            options[name] = draw(st.sampled_from(values))
    if draw(RARELY):
        options[draw(st.sampled_from(["k0", "size0", "lowest", "highest"]))] = draw(BAD)
    return (boxes,), options


STRATEGIES = {
    "upsample_nearest": upsample_nearest(), "feature_pyramid": feature_pyramid(), "box_level": box_level(),
}

_MAPS = [normal(0, 1, 2, 4, 3), normal(1, 1, 3, 2, 2), normal(2, 1, 1, 1, 1)]
_LATERAL = [(normal(3, 2, 2, 1, 1), normal(4, 2)), (normal(5, 2, 3, 1, 1), None), (normal(6, 2, 1, 1, 1), normal(7, 2))]
_OUTPUT = [(normal(8 + i, 1, 2, 3, 3), normal(11 + i, 1)) for i in range(3)]

GRADCHECK = {
    "upsample_nearest": [((normal(0, 1, 2, 2, 3), size), {}) for size in ((4, 6), (5, 3))],
    "feature_pyramid": [((_MAPS, _LATERAL, _OUTPUT), {})],
    "box_level": "a level is an integer and has no gradient",
}
