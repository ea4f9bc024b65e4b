"""Arguments for the pairs of focal_loss: mostly fitting, now and then not."""

import numpy as np
from hypothesis import strategies as st

from . import boxes, now_and_then, seeds, sizes
from .boxes import thresholds

RARELY = sizes(0, 99).map(lambda i: i in (37, 51))  # the ends of a range are drawn more often
SHAPES = st.lists(sizes(0, 4), max_size=3).map(tuple)
REDUCTIONS = st.sampled_from(["none", "mean", "sum"])
GAMMAS = st.sampled_from([0, 0.5, 1.0, 1.5, 2, 2.0, 5.0])
BAD = st.sampled_from([-0.1, np.nan, np.inf, "1", True])


def logits(draw, shape):
    """Return logits of all sizes, also far out; rarely one that is not finite, or of another dtype."""
    scale = draw(st.sampled_from([1.0, 5.0, 40.0, 1e4]))
    x = np.asarray(scale * np.random.default_rng(draw(seeds)).standard_normal(shape))
    if draw(RARELY) and x.size:
        x.flat[draw(sizes(0, x.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return x.astype(draw(st.sampled_from([np.int64, np.float32]))) if draw(RARELY) and np.isfinite(x).all() else x


def targets(draw, shape):
    """Return targets of 0 and 1, or between; rarely one outside, or of another shape or dtype."""
    random = np.random.default_rng(draw(seeds))
    t = random.random(shape)
    if draw(st.sampled_from([True, True, False])):
        t = (t < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))) * 1.0
    t = np.asarray(t)
    if draw(RARELY) and t.size:
        t.flat[draw(sizes(0, t.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -1e-9, 1.5, -1.0]))
    if draw(RARELY):
        t = draw(st.sampled_from([t[..., None], t.astype(np.float32), t > 0.5]))
    return t


def options(draw, **strategies):
    """Return a dict of some of the options, rarely with a bad value for one."""
    chosen = {name: draw(strategy) for name, strategy in strategies.items() if draw(st.booleans())}
    if chosen and draw(RARELY):
        chosen[draw(st.sampled_from(sorted(chosen)))] = draw(BAD)
    return chosen


@st.composite
def sigmoid_focal_loss(draw):
    shape = draw(SHAPES)
    alpha = st.sampled_from([None, 0, 0.25, 0.5, 0.9, 1.0])
    return (logits(draw, shape), targets(draw, shape)), options(draw, alpha=alpha, gamma=GAMMAS, reduction=REDUCTIONS)


@st.composite
def softmax_focal_loss(draw):
    N, K = draw(sizes(0, 5)), draw(sizes(2, 5)) if not draw(RARELY) else 1
    k = np.random.default_rng(draw(seeds)).integers(0, K, N)
    if draw(RARELY):
        k = draw(st.sampled_from([k + 1, k - 1, k[:, None], k * 1.0, np.append(k, 0)]))
    weights = [0.5, 2, 0, 1.0, 3.5][:K] if not draw(RARELY) else draw(st.sampled_from([[1.0], 0.25, [-1.0] * K]))
    alpha = st.sampled_from([None, weights])
    return (logits(draw, (N, K)), k), options(draw, alpha=alpha, gamma=GAMMAS, reduction=REDUCTIONS)


@st.composite
def retinanet_anchors(draw):
    side = sizes(1, 90)
    size = draw(st.one_of(side, st.tuples(side, side), now_and_then(st.sampled_from([0, 1.5, (3, 4, 5)]), 7, 4)))
    more = options(
        draw,
        ratios=st.sampled_from([(1.0,), (0.5, 1, 2), [3.0, 0.7]]),
        scales=st.sampled_from([(1.0,), (1, 1.5), [0.4, 0.8, 1.3]]),
        offset=st.sampled_from([0, 0.25, 0.5, 1.0]),
        rounded=st.booleans(),
        dtype=st.sampled_from(["float32", "float64", "float64"]),
    )
    if draw(st.booleans()):
        levels = draw(sizes(1, 3))
        more |= {"strides": [4, 8, 13][:levels], "sizes": draw(st.sampled_from([[16, 20.5, 33], [9, 9, 9]]))[:levels]}
        if draw(RARELY):
            more |= draw(st.sampled_from([{"strides": []}, {"sizes": (0.0,) * levels}, {"strides": [2.5] * levels}]))
    return (size,), more


def box_rows(draw, count):
    """Return boxes as `boxes` draws them; a NaN among them may become any integer."""
    with np.errstate(invalid="ignore"):
        return boxes.box_rows(draw, count)


@st.composite
def match_anchors(draw):
    objects, anchors = box_rows(draw, draw(sizes(0, 5))), box_rows(draw, draw(sizes(0, 12)))
    more = {}
    if draw(st.booleans()):
        more = {"positive_iou": thresholds(draw), "negative_iou": draw(st.sampled_from([0.0, 0.1, 0.25, 1 / 3]))}
        if draw(RARELY):
            more["negative_iou"] = thresholds(draw)
    return (objects, anchors), more


@st.composite
def smooth_l1(draw):
    shape = draw(SHAPES)
    random = np.random.default_rng(draw(seeds))
    pair = [3 * random.standard_normal(shape) for _ in range(2)]
    if draw(st.booleans()):  # differences of 0 and of β, where the pieces meet
        pair = [np.round(2 * x) / 2 for x in pair]
    pair = [np.asarray(x) for x in pair]
    if draw(RARELY):
        pair[1] = draw(st.sampled_from([pair[1][..., None], pair[1].astype(np.float32)]))
    return tuple(pair), options(draw, beta=st.sampled_from([0, 1 / 9, 0.5, 1.0, 3.0]), reduction=REDUCTIONS)


def masks(draw):
    shape = draw(st.lists(sizes(0, 4), min_size=2, max_size=3)) if not draw(RARELY) else [draw(sizes(0, 3))]
    return logits(draw, shape), targets(draw, shape)


@st.composite
def dice_loss(draw):
    return masks(draw), options(draw, smooth=st.sampled_from([0, 1e-3, 1.0, 5.0]), reduction=REDUCTIONS)


@st.composite
def tversky_loss(draw):
    weight = st.sampled_from([0, 0.3, 0.7, 1.0, 2.0])
    smooth = st.sampled_from([0, 1e-3, 1.0])
    return masks(draw), options(draw, alpha=weight, beta=weight, smooth=smooth, reduction=REDUCTIONS)


@st.composite
def iou_loss(draw):
    N = draw(sizes(0, 5))
    kind = st.sampled_from(["iou", "giou", "diou", "ciou"])
    pair = box_rows(draw, N), box_rows(draw, N)
    return pair, options(draw, kind=kind, reduction=REDUCTIONS)


STRATEGIES = {
    "sigmoid_focal_loss": sigmoid_focal_loss(),
    "softmax_focal_loss": softmax_focal_loss(),
    "retinanet_anchors": retinanet_anchors(),
    "match_anchors": match_anchors(),
    "smooth_l1": smooth_l1(),
    "dice_loss": dice_loss(),
    "tversky_loss": tversky_loss(),
    "iou_loss": iou_loss(),
}

_X = np.array([[-3.0, -0.4, 0.2], [1.1, 2.5, 45.0]])
# Targets of 0 or 1 have no neighbours on one side: they are checked in test_focal_loss.py.
_T = np.array([[0.3, 0.9, 0.5], [0.1, 0.8, 0.6]])
_K = np.array([2, 0])
_A = np.array([[0.0, 0.0, 4.0, 3.0], [1.2, 0.7, 2.1, 5.5], [6.3, 7.1, 9.0, 7.9]])
_B = np.array([[1.0, 1.1, 5.0, 4.2], [0.5, 0.4, 8.0, 6.0], [-4.0, -3.0, -1.0, 0.3]])

GRADCHECK = {
    "sigmoid_focal_loss": [
        ((_X, _T), {}),
        *[((_X, _T), {"alpha": None, "gamma": gamma, "reduction": "mean"}) for gamma in (0, 0.5, 1, 3.5)],
    ],
    "softmax_focal_loss": [
        ((_X, _K), {}),
        *[((_X, _K), {"alpha": [1, 2.5, 0.3], "gamma": gamma, "reduction": "sum"}) for gamma in (0, 0.5, 1, 3.5)],
    ],
    "retinanet_anchors": "it is given numbers alone, and no arrays",
    "match_anchors": "it returns indices, and a choice has no gradient",
    "smooth_l1": [((_X, _T), {}), ((_X, _T), {"beta": 0.1, "reduction": "mean"}), ((_X, _T), {"beta": 0})],
    "dice_loss": [((_X, _T), {}), ((_X, _T), {"smooth": 0, "reduction": "sum"})],
    "tversky_loss": [((_X, _T), {}), ((_X, _T), {"alpha": 0.3, "beta": 0.7, "smooth": 0.1, "reduction": "mean"})],
    "iou_loss": [((_A, _B), {"kind": kind}) for kind in ("iou", "giou", "diou", "ciou")],
}
