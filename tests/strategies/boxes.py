"""Arguments for the pairs of boxes: mostly fitting, now and then not; on a grid, so that edges and scores coincide."""

import numpy as np
from hypothesis import strategies as st

from cvnotes.boxes import formulas

from . import now_and_then, seeds, sizes

RARELY = now_and_then(st.just(True), False, 40)
SMALL = sizes(0, 6)
GRIDS = st.sampled_from([0, 0, 4, 8])  # 0: coordinates of any size; else on a grid of so many steps


def box_rows(draw, count, sides=False, continuous=False):
    """Return (count, 4) boxes, some alike, some without area; rarely one that is none, or of another dtype."""
    grid = 0 if continuous else draw(GRIDS)
    random = np.random.default_rng(draw(seeds))
    corners = random.integers(0, grid, (count, 2, 2)).astype(float) if grid else 10 * random.random((count, 2, 2))
    corners.sort(1)
    boxes = corners.reshape(count, 4)
    if sides:
        boxes[:, 2:] += 1
    return spoiled(draw, boxes)


def spoiled(draw, x):
    """Return the array, or rarely one with a bad value, shape or dtype."""
    if draw(RARELY) and x.size:
        x = x.copy()
        x[tuple(draw(sizes(0, size - 1)) for size in x.shape)] = draw(st.sampled_from([np.nan, np.inf, -1e200, -30.0]))
    if draw(RARELY):
        x = x.reshape(-1) if draw(st.booleans()) else np.concatenate([x, x[:1]]) if len(x) else x
    if draw(RARELY):
        with np.errstate(all="ignore"):  # of what is bad already
            x = x.astype(draw(st.sampled_from([np.int64, np.float32])))
    return x


def scores(draw, count, continuous=False):
    random = np.random.default_rng(draw(seeds))
    values = random.random(count)
    return spoiled(draw, values if continuous or draw(st.booleans()) else np.round(values, 1))


def thresholds(draw):
    usual = draw(st.sampled_from([0.0, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0]))
    return draw(now_and_then(st.sampled_from([-0.1, 1.5, np.nan, "0.5", True, None]), usual, 40))


@st.composite
def one_set(draw):
    return (box_rows(draw, draw(SMALL)),), {}


@st.composite
def box_convert(draw):
    in_fmt, out_fmt = (draw(st.sampled_from(formulas.FORMATS)) for _ in range(2))
    if draw(RARELY):
        out_fmt = draw(st.sampled_from(["xyhw", None, 3]))
    return (box_rows(draw, draw(SMALL)), in_fmt, out_fmt), {}


@st.composite
def two_sets(draw):
    return (box_rows(draw, draw(SMALL)), box_rows(draw, draw(SMALL))), {}


@st.composite
def paired_iou(draw):
    N, kind = draw(SMALL), draw(now_and_then(st.sampled_from(["giou", None]), "", 40))
    kind = draw(st.sampled_from(formulas.MEASURES)) if kind == "" else kind
    return (box_rows(draw, N), box_rows(draw, N)), {"kind": kind}


def weights(draw):
    if draw(RARELY):
        return {"weights": draw(st.sampled_from([(1.0, 1.0), (1.0, 1.0, 0.0, 1.0), 3, (1, 1, "1", 1)]))}
    return draw(st.sampled_from([{}, {"weights": (10.0, 10.0, 5.0, 5.0)}, {"weights": [1, 2, 3, 4]}]))


@st.composite
def encode(draw):
    N = draw(SMALL)
    return (box_rows(draw, N, not draw(RARELY)), box_rows(draw, N, not draw(RARELY))), weights(draw)


@st.composite
def decode(draw):
    N = draw(SMALL)
    offsets = spoiled(draw, np.random.default_rng(draw(seeds)).standard_normal((N, 4)) * 3)
    most = draw(st.sampled_from([{}, {"max_log_scale": None}, {"max_log_scale": 0.5}, {"max_log_scale": 400}]))
    if draw(RARELY):
        most = {"max_log_scale": draw(st.sampled_from([np.nan, np.inf, "4"]))}
    return (offsets, box_rows(draw, N, not draw(RARELY))), {**weights(draw), **most}


@st.composite
def nms(draw):
    N = draw(sizes(0, 12))
    return (box_rows(draw, N), scores(draw, N), thresholds(draw)), {}


@st.composite
def batched_nms(draw):
    N = draw(sizes(0, 12))
    classes = np.random.default_rng(draw(seeds)).integers(-1, 2, N)
    if draw(RARELY):
        classes = draw(st.sampled_from([classes.astype(float), classes[:-1], classes[:, None]]))
    return (box_rows(draw, N), scores(draw, N), classes, thresholds(draw)), {}


@st.composite
def soft_nms(draw):
    N, method = draw(sizes(0, 8)), draw(st.sampled_from(formulas.METHODS))
    # exp differs in the last digit between libraries: scores of the Gaussian method must not tie
    continuous = method == "gaussian"
    numbers = {"method": method}
    if draw(st.booleans()):
        numbers |= {"iou_threshold": thresholds(draw), "min_score": draw(st.sampled_from([0.0, 0.05, 0.3]))}
    if draw(st.booleans()):
        numbers["sigma"] = draw(st.sampled_from([0.1, 0.5, 1, 2.0]))
    if draw(RARELY):
        numbers |= draw(st.sampled_from([{"sigma": 0}, {"sigma": np.inf}, {"min_score": -1}, {"method": "hard"}]))
    return (box_rows(draw, N, continuous=continuous), scores(draw, N, continuous)), numbers


STRATEGIES = {
    "box_area": one_set(),
    "box_convert": box_convert(),
    "box_iou": two_sets(),
    "generalized_box_iou": two_sets(),
    "distance_box_iou": two_sets(),
    "complete_box_iou": two_sets(),
    "paired_iou": paired_iou(),
    "encode": encode(),
    "decode": decode(),
    "nms": nms(),
    "batched_nms": batched_nms(),
    "soft_nms": soft_nms(),
}

# Boxes that overlap, that lie in each other, and that are apart; no two edges coincide, where there are kinks.
_A = np.array([[0.0, 0.0, 4.0, 3.0], [1.2, 0.7, 2.1, 5.5], [6.3, 7.1, 9.0, 7.9]])
_B = np.array([[1.0, 1.1, 5.0, 4.2], [0.5, 0.4, 8.0, 6.0], [-4.0, -3.0, -1.0, 0.3]])
_PAIRS = [((_A, _B), {}), ((_A[:2], _B[1:2]), {})]
_WEIGHTS = {"weights": (10.0, 10.0, 5.0, 5.0)}
_ORDER = "it returns indices, and a choice has no gradient"

GRADCHECK = {
    "box_area": [((_A,), {})],
    "box_convert": [((_A, "xyxy", "cxcywh"), {}), ((_A, "cxcywh", "xyxy"), {}), ((_A, "xywh", "cxcywh"), {})],
    "box_iou": _PAIRS,
    "generalized_box_iou": _PAIRS,
    "distance_box_iou": _PAIRS,
    "complete_box_iou": _PAIRS,
    "paired_iou": [((_A, _B), {"kind": kind}) for kind in formulas.MEASURES],
    "encode": [((_A, _B), {}), ((_A, _B), _WEIGHTS)],
    "decode": [((_A / 5, _B), {}), ((_A, _B), {**_WEIGHTS, "max_log_scale": 0.9})],
    "nms": _ORDER,
    "batched_nms": _ORDER,
    "soft_nms": "gradcheck takes no function that also returns integers; test_boxes.py checks the scores alone",
}
