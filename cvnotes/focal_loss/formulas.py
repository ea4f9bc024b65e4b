"""The equations of the chapter on plain numbers, and the arguments that its functions accept.

A logit x stands for the probability p = 1 / (1 + e^−x). All of these stay finite for any finite logit.
"""

from math import exp, inf, log, log1p, nan, sqrt

from cvnotes import shapes
from cvnotes.boxes.formulas import box_set, iou, labels, one_of, real, same_boxes, threshold  # noqa: F401

DTYPES = ("float16", "float32", "float64")
LARGEST_GAMMA = 10_000  # far beyond use; float32 can still multiply by it
REDUCTIONS = ("none", "mean", "sum")
KINDS = {"iou": "iou", "giou": "generalized", "diou": "distance", "ciou": "complete"}

# --- probabilities -------------------------------------------------------------------------


def sigmoid(x):
    """Return p = 1 / (1 + e^−x).

    >>> sigmoid(0.0), sigmoid(-10000.0)
    (0.5, 0.0)
    """
    if x >= 0:
        return 1 / (1 + exp(-x))
    return exp(x) / (1 + exp(x))


def softplus(x):
    """Return ln(1 + e^x): the cross entropy −ln(1 − p) of a negative with the logit x.

    >>> softplus(10000.0), softplus(-10000.0)
    (10000.0, 0.0)
    """
    return max(x, 0.0) + log1p(exp(-abs(x)))


def logit(p):
    """Return the x of which p is the sigmoid; undoes `sigmoid`.

    >>> logit(0.5)
    0.0
    """
    return log(p) - log1p(-p)


# --- the focal loss ------------------------------------------------------------------------


def focal_loss(p_t, gamma=2.0, alpha_t=1.0):
    """Return FL = −α_t·(1 − p_t)^γ·ln p_t, of the probability p_t that the truth is given.

    >>> focal_loss(0.9) / focal_loss(0.9, gamma=0)              # a hundredth of the cross entropy
    0.009999999999999995
    """
    return alpha_t * _power(1 - p_t, gamma) * -log(p_t) if p_t else inf


def focal_slope(p_t, gamma=2.0, alpha_t=1.0):
    """Return dFL/dx_t = α_t·(1 − p_t)^γ·(γ·p_t·ln p_t + p_t − 1), where p_t = sigmoid(x_t).

    It is never positive: more of the truth is less of a loss.

    >>> focal_slope(0.9, gamma=0)                               # of cross entropy: p_t − 1
    -0.09999999999999998
    """
    return alpha_t * _power(1 - p_t, gamma) * (gamma * p_t * log(p_t) + p_t - 1) if p_t else -alpha_t


def sigmoid_focal_loss(x, target, alpha=0.25, gamma=2.0):
    """Return the focal loss of a logit against a target, 0 or 1 or between; NaN where x is not finite.

    CE = −t·ln p − (1 − t)·ln(1 − p),  FL = α_t·(t·(1 − p) + (1 − t)·p)^γ·CE,  α_t = α·t + (1 − α)·(1 − t)

    >>> sigmoid_focal_loss(0.0, 1.0)                            # ¼ of ¼ of ln 2
    0.04332169878499658
    """
    if not -inf < x < inf:
        return nan
    wrong = target * sigmoid(-x) + (1 - target) * sigmoid(x)
    entropy = target * softplus(-x) + (1 - target) * softplus(x)
    return balance(target, alpha) * _power(wrong, gamma) * entropy


def sigmoid_focal_slope(x, target, alpha=0.25, gamma=2.0):
    """Return the derivative of `sigmoid_focal_loss` in x, for a target of 0 or 1.

    >>> sigmoid_focal_slope(0.0, 0.0, alpha=None, gamma=0.0)    # of cross entropy: p − t
    0.5
    """
    sign = 1 - 2 * target
    z = sign * x  # the logit of what is wrong
    wrong = sigmoid(z)
    return sign * balance(target, alpha) * _power(wrong, gamma) * (gamma * sigmoid(-z) * softplus(z) + wrong)


def balance(target, alpha):
    """Return α_t: α for a positive, 1 − α for a negative, and 1 for both where α is None.

    >>> balance(1.0, 0.25), balance(0.0, 0.25), balance(0.0, None)
    (0.25, 0.75, 1.0)
    """
    return 1.0 if alpha is None else alpha * target + (1 - alpha) * (1 - target)


def softmax_focal_loss(logits, label, weight=1.0, gamma=2.0):
    """Return −w·(1 − p)^γ·ln p, with p the softmax of the logit at index `label`; NaN where a logit is not finite.

    >>> softmax_focal_loss([0.0, 0.0], 0)                       # ¼ of ln 2
    0.17328679513998632
    """
    if not all(-inf < x < inf for x in logits):
        return nan
    whole = log_sum_exp(logits)
    others = log_sum_exp([x for i, x in enumerate(logits) if i != label])
    return weight * exp(gamma * (others - whole)) * (whole - logits[label])


def log_sum_exp(values):
    """Return ln Σ e^v.

    >>> log_sum_exp([-10000.0, 10000.0])
    10000.0
    """
    most = max(values)
    return most + log(sum(exp(value - most) for value in values))


def _power(base, exponent):
    return base * base if exponent == 2 else base ** exponent


# --- how training starts -------------------------------------------------------------------


def prior_bias(prior):
    """Return b = −ln((1 − π) / π): with this bias and small weights each logit starts near the probability π.

    >>> prior_bias(0.5)
    -0.0
    """
    return -log((1 - prior) / prior)


# --- anchors -------------------------------------------------------------------------------


def places(image_size, stride):
    """Return (rows, columns) of a level's map: each halving rounds up.

    >>> places((640, 500), 128)
    (5, 4)
    """
    return tuple(-(-side // stride) for side in image_size)


def anchor_cell(size, ratios=(0.5, 1.0, 2.0), scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)), rounded=False):
    """Return the anchors of one place around (0, 0): ratio by ratio, scale by scale.

    w = size·scale / √ratio,  h = size·scale·√ratio: the area is (size·scale)², and ratio is h / w. With
    `rounded`, sides are cut to integers before the ratio is applied, and corners rounded after it, ties to even.

    >>> anchor_cell(32, ratios=(1.0,), scales=(1.0, 2.0))
    [(-16.0, -16.0, 16.0, 16.0), (-32.0, -32.0, 32.0, 32.0)]
    >>> anchor_cell(32, ratios=(0.5,), scales=(1.0,), rounded=True)     # of 45.25 × 22.63
    [(-23.0, -11.0, 23.0, 11.0)]
    """
    cell = []
    for ratio in ratios:
        for scale in scales:
            side = size * scale
            if rounded:
                side = float(int(side))
            w, h = side / sqrt(ratio) / 2, side * sqrt(ratio) / 2
            if rounded:
                w, h = float(_nearest(w)), float(_nearest(h))
            cell.append((-w, -h, w, h))
    return cell


def _nearest(x):
    """Return the integer nearest to x ≥ 0; the even one of two."""
    low = int(x)
    more = x - low
    return low + (more > 0.5 or (more == 0.5 and low % 2 == 1))


def step(side, stride, rounded):
    """Return how far apart the anchors of a level stand along a side: its stride.

    The published weights divide the side by the number of places, which is less where it doesn't divide.

    >>> step(640, 128, True), step(1088, 128, True)
    (128, 120)
    """
    return side // -(-side // stride) if rounded else stride


# --- other losses --------------------------------------------------------------------------


def smooth_l1(difference, beta=1.0):
    """Return d² / (2β) where |d| < β, and |d| − β / 2 beyond.

    >>> smooth_l1(0.5), smooth_l1(-3.0)
    (0.125, 2.5)
    """
    d = abs(difference)
    return d * d / (2 * beta) if d < beta else d - beta / 2


def smooth_l1_slope(difference, beta=1.0):
    """Return the derivative of `smooth_l1`: from −1 to 1.

    >>> smooth_l1_slope(0.5), smooth_l1_slope(-3.0)
    (0.5, -1.0)
    """
    if abs(difference) < beta:
        return difference / beta
    return 1.0 if difference > 0 else -1.0 if difference < 0 else 0.0


def tversky_loss(hits, false_positives, false_negatives, alpha=0.5, beta=0.5, smooth=0.0):
    """Return 1 − (TP + s) / (TP + α·FP + β·FN + s), of counts or of sums of probabilities; 0 / 0 counts as 1.

    >>> tversky_loss(6.0, 2.0, 2.0), tversky_loss(6.0, 2.0, 2.0, 1.0, 1.0)      # 1 − Dice, 1 − IoU
    (0.25, 0.4)
    """
    whole = hits + alpha * false_positives + beta * false_negatives + smooth
    return (alpha * false_positives + beta * false_negatives) / whole if whole else 0.0


def dice_loss(hits, false_positives, false_negatives, smooth=0.0):
    """Return 1 − (2·TP + s) / (2·TP + FP + FN + s); 0 / 0 counts as 1.

    >>> dice_loss(6.0, 2.0, 2.0)
    0.25
    """
    return tversky_loss(2 * hits, false_positives, false_negatives, 1.0, 1.0, smooth)


# --- arguments -----------------------------------------------------------------------------


def any_floats(name, x):
    """Check that `x` is an array of floats, of any shape; an axis may be empty."""
    shapes.library(name, x)
    kind = shapes.dtype_name(x)
    if kind not in shapes.FLOATS:
        raise ValueError(f"`{name}` ({kind}) must be of a floating-point dtype: {', '.join(shapes.FLOATS)}")


def fitting(**arrays):
    """Check two arrays of floats of one shape and kind."""
    (first, x), (second, y) = arrays.items()
    any_floats(first, x)
    any_floats(second, y)
    if tuple(x.shape) != tuple(y.shape):
        raise ValueError(f"`{second}` has the shape {tuple(y.shape)}; {tuple(x.shape)} is needed, as `{first}` has")
    shapes.same_kind(**arrays)


def probabilities(name, values):
    """Check that all values lie from 0 to 1; NaN does not."""
    values = values.detach() if hasattr(values, "detach") else values
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        place, index = int((bad.reshape(-1) * 1).argmax()), []
        for size in reversed(tuple(values.shape)):
            index.append(place % size)
            place //= size
        index = tuple(reversed(index))
        raise ValueError(f"`{name}` holds {values[index].item()} at index {index}: from 0 to 1 is needed")


def focusing(alpha, gamma, reduction):
    """Return α (or None) and γ as floats, and check the reduction."""
    alpha = None if alpha is None else real("alpha", alpha, 0, 1)
    gamma = real("gamma", gamma, 0, LARGEST_GAMMA)
    one_of("reduction", reduction, REDUCTIONS)
    return alpha, gamma


def classes(logits, targets, alpha, gamma, reduction):
    """Check the arguments of `softmax_focal_loss`; return the weights of the classes (or None) and γ."""
    _, K = shapes.array("logits", logits, "N K")
    if K < 2:
        raise ValueError(f"`logits` has the shape {tuple(logits.shape)}; at least 2 classes are needed")
    kind, needed = shapes.library("targets", targets), shapes.library("logits", logits)
    if kind != needed:
        raise ValueError(f"`targets` (array of {kind}) must match `logits` (array of {needed})")
    labels("targets", targets, len(logits), K)
    if alpha is not None:
        if not isinstance(alpha, (tuple, list)) or len(alpha) != K:
            raise ValueError(f"`alpha` (={alpha!r}) must be None or a list of {K} numbers, one a class")
        alpha = [real("alpha", weight, 0) for weight in alpha]
    gamma = real("gamma", gamma, 0, LARGEST_GAMMA)
    one_of("reduction", reduction, REDUCTIONS)
    return alpha, gamma


def layout(image_size, strides, sizes, ratios, scales, offset, dtype, rounded):
    """Check the arguments of `retinanet_anchors`; return all as floats and integers, the size as (height, width)."""
    image_size = shapes.pair("image_size", image_size, 1)
    strides = [shapes.integer("strides", stride, 1) for stride in _several("strides", strides)]
    sizes = _positive("sizes", sizes)
    if len(sizes) != len(strides):
        raise ValueError(f"`sizes` holds {len(sizes)} numbers; {len(strides)} are needed, as many as `strides` holds")
    one_of("dtype", dtype, DTYPES)
    if not isinstance(rounded, bool):
        raise ValueError(f"`rounded` (={rounded!r}) must be True or False")
    return (
        image_size, strides, sizes, _positive("ratios", ratios), _positive("scales", scales),
        real("offset", offset, 0, 1),
    )


def _several(name, values):
    if not isinstance(values, (tuple, list)) or not values:
        raise ValueError(f"`{name}` (={values!r}) must be a list with at least one number")
    return values


def _positive(name, values):
    return [real(name, value, above=0) for value in _several(name, values)]


def matching(boxes_, anchors, positive_iou, negative_iou):
    """Check the arguments of `match_anchors`, and return the two thresholds."""
    box_set("boxes", boxes_)
    box_set("anchors", anchors)
    shapes.same_kind(boxes=boxes_, anchors=anchors)
    positive_iou = threshold("positive_iou", positive_iou)
    negative_iou = threshold("negative_iou", negative_iou)
    if negative_iou > positive_iou:
        raise ValueError(f"`negative_iou` (={negative_iou}) must not be more than `positive_iou` (={positive_iou})")
    return positive_iou, negative_iou


def masks(logits, targets, smooth, reduction):
    """Check the arguments of a loss of masks, and return how far it is smoothed."""
    fitting(logits=logits, targets=targets)
    if len(logits.shape) < 2:
        raise ValueError(f"`logits` has the shape {tuple(logits.shape)}; masks (N, …) are needed")
    probabilities("targets", targets)
    one_of("reduction", reduction, REDUCTIONS)
    return real("smooth", smooth, 0)


def regression(predictions, targets, beta, reduction):
    """Check the arguments of `smooth_l1`, and return β."""
    fitting(predictions=predictions, targets=targets)
    one_of("reduction", reduction, REDUCTIONS)
    return real("beta", beta, 0)


def overlap(predictions, targets, kind, reduction):
    """Check the arguments of `iou_loss`, and return the name that `boxes` has for its measure."""
    one_of("kind", kind, tuple(KINDS))
    same_boxes(boxes=predictions, targets=targets)
    one_of("reduction", reduction, REDUCTIONS)
    return KINDS[kind]
