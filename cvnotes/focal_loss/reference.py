"""The chapter's functions in NumPy: each number by the equation of `formulas`, computed in double precision."""

import numpy as np

from cvnotes import shapes
from cvnotes.boxes import reference as box_reference
from cvnotes.focal_loss import formulas


def _reduced(values, reduction, like):
    """Return all values, their sum, or their mean (0 where there are none), in the dtype of an array."""
    if reduction == "none":
        return values.astype(like.dtype)
    total = values.sum() / max(1, values.size) if reduction == "mean" else values.sum()
    return np.array(total, like.dtype)


def _each(function, x, y):
    """Return the array of what a function gives for the numbers of x and y, in turn."""
    return np.array([function(a, b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist())]).reshape(x.shape)


def sigmoid_focal_loss(logits, targets, *, alpha=0.25, gamma=2.0, reduction="none"):
    """Weigh the cross entropy of yes-or-no questions by how wrong the answers are.

    FL = −α_t·(1 − p_t)^γ·ln p_t,  p_t = p for a positive and 1 − p for a negative,  p = 1 / (1 + e^−x),
    α_t = α for a positive and 1 − α for a negative

    A target t between 0 and 1 counts as t of a positive: the cross entropy is −t·ln p − (1 − t)·ln(1 − p),
    1 − p_t is t·(1 − p) + (1 − t)·p, and α_t is α·t + (1 − α)·(1 − t).

    - logits: any shape; x, finite
    - targets: the same shape and dtype; 0 or 1, or between
    - alpha: from 0 to 1; None for none: α_t = 1
    - gamma: from 0 to 10,000; 0 is cross entropy
    - reduction: "none", "mean" (0 where there is nothing) or "sum"

    Returns an array of the shape of the logits, or one number as an array (). A logit that is NaN or
    infinite gives NaN. float16 and bfloat16 are computed in float32 and rounded at the end.

    Raises ValueError where shapes or dtypes differ, a target is NaN or outside [0, 1], or a number is outside
    its bounds.

    Source: Lin et al. (2017), equations 3 to 5; targets between 0 and 1: torchvision.

    >>> sigmoid_focal_loss(np.array([0.0, 0.0]), np.array([1.0, 0.0]), alpha=None).round(3)   # ¼ of ln 2
    array([0.173, 0.173])
    """
    formulas.fitting(logits=logits, targets=targets)
    formulas.probabilities("targets", targets)
    alpha, gamma = formulas.focusing(alpha, gamma, reduction)
    losses = _each(lambda x, t: formulas.sigmoid_focal_loss(x, t, alpha, gamma), logits, targets)
    return _reduced(losses, reduction, logits)


def softmax_focal_loss(logits, targets, *, alpha=None, gamma=2.0, reduction="none"):
    """Weigh the cross entropy of a choice among K classes by how wrong it is.

    FL = −α_k·(1 − p_k)^γ·ln p_k,  p = softmax(x),  k the class that is true

    - logits: (N, K), x, finite, K ≥ 2
    - targets: (N,) of integers, from 0 to K − 1
    - alpha: K numbers, at least 0, a weight for each class; None for none
    - gamma: from 0 to 10,000; 0 is cross entropy
    - reduction: "none", "mean" (of the N losses, whatever their weights; 0 where N = 0) or "sum"

    Returns (N,), or one number as an array (). A row that holds NaN or infinity gives NaN.

    Raises ValueError where shapes don't fit, a target is no class, or a number is outside its bounds.

    Source: Lin et al. (2017), who say that the extension to many classes is straightforward.

    >>> softmax_focal_loss(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([0, 0])).round(4)
    array([0.1733, 0.0018])
    """
    alpha, gamma = formulas.classes(logits, targets, alpha, gamma, reduction)
    weights = alpha or [1.0] * logits.shape[1]
    rows = zip(logits.tolist(), targets.tolist())
    losses = [formulas.softmax_focal_loss(row, k, weights[k], gamma) for row, k in rows]
    return _reduced(np.array(losses).reshape(len(logits)), reduction, logits)


def retinanet_anchors(
    image_size, *, strides=(8, 16, 32, 64, 128), sizes=(32, 64, 128, 256, 512), ratios=(0.5, 1.0, 2.0),
    scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)), offset=0.0, rounded=False, dtype="float32",
):
    """Lay out RetinaNet's anchors: boxes of several sizes and shapes around each place of each level.

    centre = ((column + offset)·stride, (row + offset)·stride),  w = size·scale / √ratio,  h = size·scale·√ratio

    - image_size: in pixels, one integer or (height, width); a level has ⌈height / stride⌉ rows, and columns alike
    - strides, sizes: of each level, in pixels; by default those of P3 to P7
    - ratios: height over width; scales: in one level, of its size
    - offset: of the centres, in strides, from 0 to 1
    - rounded: the integer boxes of the published weights: size·scale is cut, half of w and h rounded, ties to
      even, and where the stride does not divide a side, the step is ⌊side / rows⌋
    - dtype: of the result

    Returns (A, 4), (x1, y1, x2, y2) in pixels, also beyond the image: level by level, place by place along
    the rows, ratio by ratio, scale by scale.

    Raises ValueError where a number is none or outside its bounds, or `sizes` are not as many as `strides`.

    Source: Lin et al. (2017), section 4; the paper does not say where in its cell an anchor stands.

    >>> retinanet_anchors(16, strides=(8,), sizes=(32,), ratios=(1.0,), scales=(1.0,))[:2]
    array([[-16., -16.,  16.,  16.],
           [ -8., -16.,  24.,  16.]], dtype=float32)
    """
    image_size, strides, sizes, ratios, scales, offset = formulas.layout(
        image_size, strides, sizes, ratios, scales, offset, dtype, rounded
    )
    anchors = []
    for stride, size in zip(strides, sizes):
        cell = formulas.anchor_cell(size, ratios, scales, rounded)
        rows, columns = formulas.places(image_size, stride)
        down, across = (formulas.step(side, stride, rounded) for side in image_size)
        for row in range(rows):
            for column in range(columns):
                x, y = (column + offset) * across, (row + offset) * down
                anchors += [(x + x1, y + y1, x + x2, y + y2) for x1, y1, x2, y2 in cell]
    return np.array(anchors, np.dtype(dtype))


def match_anchors(boxes, anchors, *, positive_iou=0.5, negative_iou=0.4):
    """Tell what each anchor has to learn: an object, background, or nothing.

    index = argmax_m IoU(boxes[m], anchor),  −1 where that IoU < negative_iou,  −2 where it lies between

    - boxes: (M, 4), (x1, y1, x2, y2), the objects of one image
    - anchors: (A, 4), in the same unit
    - positive_iou: from here on an anchor has its object; negative_iou: below, it is background; both from
      0 to 1, rounded as IoUs are: to the boxes' dtype, for half precision to float32

    Returns (A,) of int64: the index of an object, the lower of two with the same IoU; −1 for background,
    −2 for what is ignored. Nothing is forced: an object that no anchor overlaps enough has none. Without
    objects all is background.

    Raises ValueError where boxes or anchors are none or differ in dtype, a threshold lies outside [0, 1], or
    negative_iou is more than positive_iou.

    Source: Lin et al. (2017), section 4: 0.5 and 0.4.

    >>> anchors = np.array([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0], [9.0, 0.0, 13.0, 4.0]])
    >>> match_anchors(np.array([[0.0, 0.0, 4.0, 4.0]]), anchors, negative_iou=0.3)          # IoU 1, ⅓, 0
    array([ 0, -2, -1])
    """
    positive, negative = formulas.matching(boxes, anchors, positive_iou, negative_iou)
    overlaps = _box_iou(anchors, boxes)  # (A, M)
    index = np.full(len(anchors), -1, np.int64)
    if len(boxes):
        best = overlaps.max(1)  # (A,)
        index = np.where(best >= best.dtype.type(positive), overlaps.argmax(1), -2)
        index[best < best.dtype.type(negative)] = -1
    return index


def _box_iou(anchors, objects):
    """Return (A, M) IoUs; of half precision in float32, so that they meet thresholds unrounded."""
    computed = np.result_type(anchors.dtype, np.float32)
    return box_reference.box_iou(anchors.astype(computed), objects.astype(computed))


def smooth_l1(predictions, targets, *, beta=1.0, reduction="none"):
    """Measure by the square where predictions are close to targets, and by the distance where they are far.

    loss = d² / (2β) where |d| < β,  |d| − β / 2 beyond,  d = prediction − target

    - predictions, targets: any shape, the same
    - beta: at least 0; 0 is |d|
    - reduction: "none", "mean" (0 where there is nothing) or "sum"

    Returns an array of that shape, or one number as an array ().

    Raises ValueError where shapes or dtypes differ, or a number is outside its bounds.

    Source: Girshick (2015), equation 3, where β is 1.

    >>> smooth_l1(np.array([0.5, 3.0]), np.array([0.0, 0.0]))
    array([0.125, 2.5  ])
    """
    beta = formulas.regression(predictions, targets, beta, reduction)
    losses = _each(lambda p, t: formulas.smooth_l1(p - t, beta), predictions, targets)
    return _reduced(losses, reduction, predictions)


def dice_loss(logits, targets, *, smooth=1.0, reduction="none"):
    """Measure how little a predicted mask and the true one have in common, whatever their size.

    loss = 1 − (2·Σ p·t + s) / (Σ p + Σ t + s),  p = 1 / (1 + e^−x), sums over one mask

    - logits: (N, …), x, masks of any shape
    - targets: the same shape, from 0 to 1
    - smooth: s, at least 0; 0 / 0 counts as 1
    - reduction: "none", "mean" (over masks; 0 where there are none) or "sum"

    Returns (N,), from 0 to 1, or one number as an array ().

    Raises ValueError where shapes or dtypes differ, a target lies outside [0, 1], or a number outside its bounds.

    Source: Milletari, Navab and Ahmadi (2016), section 3, who square p and t below the line.

    >>> dice_loss(np.array([[50.0, -50.0, -50.0]]), np.array([[1.0, 1.0, 0.0]]), smooth=0.0).round(3)   # 1 − 2 / 3
    array([0.333])
    """
    smooth = formulas.masks(logits, targets, smooth, reduction)
    losses = [formulas.dice_loss(*counts, smooth) for counts in _counts(logits, targets)]
    return _reduced(np.array(losses).reshape(len(logits)), reduction, logits)


def tversky_loss(logits, targets, *, alpha=0.5, beta=0.5, smooth=1.0, reduction="none"):
    """Measure a mask as `dice_loss` does, with a price of its own for each kind of error.

    loss = 1 − (TP + s) / (TP + α·FP + β·FN + s),  TP = Σ p·t,  FP = Σ p·(1 − t),  FN = Σ (1 − p)·t

    α = β = ½ with s / 2 is `dice_loss` with s; α = β = 1 is 1 − IoU.

    - logits: (N, …), x, masks of any shape
    - targets: the same shape, from 0 to 1
    - alpha, beta: of false positives and false negatives, from 0 to 10⁶
    - smooth: s, at least 0; 0 / 0 counts as 1
    - reduction: "none", "mean" (over masks; 0 where there are none) or "sum"

    Returns (N,), from 0 to 1, or one number as an array ().

    Raises ValueError where shapes or dtypes differ, a target lies outside [0, 1], or a number outside its bounds.

    Source: Salehi, Erdogmus and Gholipour (2017), equations 3 and 4.

    >>> x, t = np.array([[50.0, -50.0, -50.0]]), np.array([[1.0, 1.0, 0.0]])        # one hit, one miss
    >>> tversky_loss(x, t, alpha=0.3, beta=0.7, smooth=0.0).round(3)                # 1 − 1 / 1.7
    array([0.412])
    """
    smooth = formulas.masks(logits, targets, smooth, reduction)
    alpha, beta = (formulas.real(name, value, 0, 10**6) for name, value in (("alpha", alpha), ("beta", beta)))
    losses = [formulas.tversky_loss(*counts, alpha, beta, smooth) for counts in _counts(logits, targets)]
    return _reduced(np.array(losses).reshape(len(logits)), reduction, logits)


def _counts(logits, targets):
    """Return (TP, FP, FN) of each mask, as sums of probabilities."""
    p = _each(lambda x, _: formulas.sigmoid(x), logits, logits)
    miss = _each(lambda x, _: formulas.sigmoid(-x), logits, logits)
    axes, t = tuple(range(1, logits.ndim)), targets.astype(np.float64)
    return list(zip((p * t).sum(axes).tolist(), (p * (1 - t)).sum(axes).tolist(), (miss * t).sum(axes).tolist()))


def iou_loss(boxes, targets, *, kind="iou", reduction="none"):
    """Measure predicted boxes by what they share with the true ones.

    loss = 1 − measure(boxes[n], targets[n])

    - boxes, targets: (N, 4), (x1, y1, x2, y2)
    - kind: "iou", or with a term that also tells boxes that are apart what to do: "giou", "diou" or "ciou"
    - reduction: "none", "mean" (0 where there are no boxes) or "sum"

    Returns (N,), or one number as an array ().

    Raises ValueError where a set of boxes is none, the two differ in length or dtype, or a word is unknown.

    Source: Rezatofighi et al. (2019); Zheng et al. (2020). Yu et al. (2016) take −ln IoU.

    >>> apart = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[3.0, 0.0, 4.0, 1.0]])
    >>> iou_loss(*apart), iou_loss(*apart, kind="giou")
    (array([1.]), array([1.5]))
    """
    kind = formulas.overlap(boxes, targets, kind, reduction)
    first, second = (x.astype(np.result_type(x.dtype, np.float32)) for x in (boxes, targets))
    return _reduced(1 - box_reference.paired_iou(first, second, kind=kind), reduction, boxes)


shapes.only("numpy", globals())
