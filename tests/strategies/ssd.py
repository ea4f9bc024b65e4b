"""Arguments for the pairs of ssd: mostly fitting, now and then not; many ties, and sets that are empty."""

import numpy as np
from hypothesis import strategies as st

from . import now_and_then, pairs, seeds, sizes
from .boxes import box_rows, thresholds, weights

RARELY = now_and_then(st.just(True), False, 40)


def bad(draw, usual, *others):
    """Return the usual value, or rarely one of the others."""
    return draw(st.sampled_from(others)) if draw(RARELY) else usual


def changed(draw, x):
    """Return the array, or rarely one of another shape or dtype."""
    if draw(RARELY):
        axis = draw(sizes(0, x.ndim - 1))
        x = np.concatenate([x, x], axis) if draw(st.booleans()) else x[..., None]
    if draw(RARELY):
        x = np.nan_to_num(x) if x.dtype == np.float64 else x
        return x.astype(draw(st.sampled_from([np.int64, np.float32])))
    return x


@st.composite
def scales(draw):
    low = draw(st.sampled_from([0.05, 0.1, 0.2, 1]))
    high = low + draw(st.sampled_from([0, 0.5, 0.7, 1.0]))
    return (bad(draw, draw(sizes(1, 8)), 0, 2.0, "3"), bad(draw, low, 0, -0.1, "a"), bad(draw, high, 0.01, np.nan)), {}


@st.composite
def default_boxes(draw):
    m = draw(sizes(0, 4))
    maps = [draw(pairs(1, 5)) for _ in range(m)]
    side = st.sampled_from([0.1, 0.2, 0.3, 0.55, 0.9, 1, 1.05])
    some = [draw(side) for _ in range(bad(draw, m + 1, m, m + 2))]
    ratios = [draw(st.lists(st.sampled_from([2, 3, 1.5, 0.5, 1]), max_size=3)) for _ in range(bad(draw, m, m + 1))]
    if m and draw(RARELY):
        draw(st.sampled_from([maps, ratios, some]))[0] = draw(st.sampled_from([0, -1.0, "2", None, np.inf]))
    numbers = {}
    if draw(st.booleans()):
        steps = [draw(st.sampled_from([1, 8, 10.5, 100])) for _ in range(bad(draw, m, m + 1))]
        numbers = {"steps": steps, "image_size": bad(draw, draw(pairs(8, 300)), None, 0, 300.0)}
    if draw(st.booleans()):
        numbers["clip"] = bad(draw, draw(st.booleans()), None, 1)
    return (bad(draw, maps, 3, None), some, ratios), numbers


@st.composite
def match(draw):
    M, D = draw(sizes(0, 5)), draw(sizes(0, 12))
    numbers = {"iou_threshold": thresholds(draw)} if draw(st.booleans()) else {}
    return (box_rows(draw, M), box_rows(draw, D)), numbers


def ratio(draw):
    return bad(draw, draw(st.sampled_from([0, 0.5, 1, 2, 3, 1e300])), -1, np.nan, "3")


@st.composite
def hard_negative_mining(draw):
    N, D = draw(sizes(0, 3)), draw(sizes(0, 12))
    random = np.random.default_rng(draw(seeds))
    loss = random.integers(-1, 4, (N, D)) / 2 if draw(st.booleans()) else random.random((N, D))
    if draw(RARELY) and loss.size:
        loss[0, 0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    positive = random.random((N, D)) < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    numbers = {"ratio": ratio(draw)} if draw(st.booleans()) else {}
    return (changed(draw, loss), changed(draw, positive)), numbers


def predictions(draw, spread=2.0):
    """Return scores (N, D, C) and offsets (N, D, 4); the former without ties unless whole rows are alike."""
    N, D, C = draw(sizes(0, 2)), draw(sizes(0, 9)), draw(now_and_then(st.just(1), 2, 30) | sizes(2, 4))
    random = np.random.default_rng(draw(seeds))
    scores = spread * random.standard_normal((N, D, C))
    if D and draw(st.booleans()):
        scores = scores[:, random.integers(0, D, D)]
    return scores, random.standard_normal((N, D, 4)), random


@st.composite
def multibox_loss(draw):
    scores, offsets, random = predictions(draw)
    labels = random.integers(0, scores.shape[2], scores.shape[:2]) * (random.random(scores.shape[:2]) < 0.3)
    targets = random.standard_normal(offsets.shape) * 2
    targets[labels == 0] = 1e15  # what is not matched has no target
    if labels.size and draw(RARELY):
        labels[-1, -1] = draw(st.sampled_from([-1, 4, 100]))
    if scores.size and draw(RARELY):
        scores[-1, -1, -1] = np.nan
    numbers = {"ratio": ratio(draw), "alpha": bad(draw, draw(st.sampled_from([0, 0.5, 1.0, 2])), -1, np.inf)}
    return tuple(changed(draw, x) for x in (scores, offsets, labels, targets)), numbers if draw(st.booleans()) else {}


@st.composite
def sample_patch(draw):
    M, T = draw(sizes(0, 5)), draw(sizes(0, 6))
    boxes = box_rows(draw, M, continuous=True)
    if boxes.dtype == np.float32:  # in which the two round at other places
        boxes = boxes.astype(np.float64)
    boxes = boxes / 10 if boxes.dtype == np.float64 else boxes
    random = np.random.default_rng(draw(seeds))
    labels, uniforms = random.integers(-3, 9, M), random.random((T, 4))
    if T and draw(RARELY):
        uniforms[-1, draw(sizes(0, 3))] = draw(st.sampled_from([0.0, 1.0, 1.5, -0.1, np.nan]))
    return (boxes, changed(draw, labels)), {
        "min_iou": draw(st.none() | st.just(0)) if draw(st.booleans()) else thresholds(draw),
        "uniforms": changed(draw, uniforms),
    }


@st.composite
def photometric_distortion(draw):
    H, W = draw(sizes(1, 4)), draw(sizes(1, 4))
    random = np.random.default_rng(draw(seeds))
    image = random.random((3, H, W)) if draw(st.booleans()) else random.integers(0, 5, (3, H, W)) / 4  # with greys
    if draw(RARELY):
        image[-1, -1, -1] = draw(st.sampled_from([1.5, -0.1, np.nan]))
    usual = {
        "brightness": st.sampled_from([0, 0.125, -0.125, 1, -1.0]), "contrast": st.sampled_from([1, 0.5, 1.5, 0]),
        "saturation": st.sampled_from([1, 0.5, 1.5, 0, 100]), "hue": st.floats(-360, 360) | st.sampled_from([60, -120]),
    }
    numbers = {name: bad(draw, draw(values), -400, np.nan, "1") for name, values in usual.items() if draw(st.booleans())}
    return (changed(draw, image),), numbers


@st.composite
def decimate_fc(draw):
    O, C, KH, KW = (draw(sizes(1, high)) for high in (9, 5, 7, 7))
    weight = np.random.default_rng(draw(seeds)).standard_normal((O, C * KH * KW))
    steps = [draw(sizes(1, 4)) for _ in range(bad(draw, 4, 3))]
    if draw(RARELY):
        steps[0] = draw(st.sampled_from([0, 1.0]))
    return (changed(draw, weight), bad(draw, (KH, KW), (KH, KW + 1), 0, 7)), {"steps": steps} if draw(st.booleans()) else {}


@st.composite
def detect(draw):
    scores, offsets, random = predictions(draw)
    D = scores.shape[1]
    corners = random.random((D, 2))
    boxes = np.concatenate([corners, corners + 0.1 + 0.4 * random.random((D, 2))], 1)
    boxes = boxes.astype(np.float32) if draw(st.booleans()) else boxes
    if scores.size and draw(RARELY):
        draw(st.sampled_from([scores, offsets]))[0, 0, 0] = draw(st.sampled_from([np.nan, np.inf]))
    numbers = {
        "min_score": thresholds(draw), "iou_threshold": thresholds(draw), "candidates": bad(draw, draw(sizes(1, 5)), 0, 2.5),
        "most": bad(draw, draw(sizes(1, 6)), 0, None), "max_log_scale": bad(draw, 0.5, None, np.nan),
    }
    kwargs = {name: value for name, value in numbers.items() if draw(st.booleans())}
    return tuple(changed(draw, x) for x in (scores, offsets, boxes)), {**weights(draw), **kwargs}


STRATEGIES = {
    "scales": scales(),
    "default_boxes": default_boxes(),
    "match": match(),
    "hard_negative_mining": hard_negative_mining(),
    "multibox_loss": multibox_loss(),
    "sample_patch": sample_patch(),
    "photometric_distortion": photometric_distortion(),
    "decimate_fc": decimate_fc(),
    "detect": detect(),
}

_RANDOM = np.random.default_rng(0)
_LABELS = np.array([[0, 2, 0, 0, 1], [0, 0, 0, 0, 0]])
_LOSS = tuple(_RANDOM.standard_normal(shape) for shape in ((2, 5, 3), (2, 5, 4), (2, 5, 4)))
_ORDER = "it makes a choice, which has no gradient"

GRADCHECK = {
    "scales": "it takes no arrays",
    "default_boxes": "it takes no arrays",
    "match": _ORDER,
    "hard_negative_mining": _ORDER,
    "multibox_loss": [
        ((*_LOSS[:2], _LABELS, _LOSS[2]), {}),
        ((*_LOSS[:2], _LABELS, 3 * _LOSS[2]), {"ratio": 1, "alpha": 0.5}),
        ((*_LOSS[:2], 0 * _LABELS, _LOSS[2]), {}),
    ],
    "sample_patch": "gradcheck takes no function that also returns integers",
    "photometric_distortion": [
        ((_RANDOM.random((3, 2, 3)),), {"brightness": 0.1, "contrast": 0.75, "saturation": 0.5, "hue": 30}),
        ((_RANDOM.random((3, 2, 2)),), {}),
    ],
    "decimate_fc": [((_RANDOM.standard_normal((5, 18)), 3), {"steps": (2, 1, 2, 2)})],
    "detect": "what it returns is chosen, not computed alone",
}
