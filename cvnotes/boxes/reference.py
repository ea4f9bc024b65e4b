"""The chapter's functions in NumPy: loops over boxes, each calling the equation of `formulas`.

The arithmetic is that of the boxes' dtype (float16 is computed in float32), so that an IoU which hits a
threshold exactly does so in both versions.
"""

import numpy as np

from cvnotes import shapes
from cvnotes.boxes import formulas


def _computed(dtype):
    """Return the dtype in which numbers of a dtype are computed."""
    return np.result_type(dtype, np.float32)


def _rows(boxes):
    """Return the boxes as tuples of NumPy numbers, whose arithmetic is that of their dtype."""
    return [tuple(row) for row in boxes.astype(_computed(boxes.dtype))]


def _pairwise(function, boxes1, boxes2):
    formulas.two_sets(boxes1, boxes2)
    second = _rows(boxes2)
    values = [[function(a, b) for b in second] for a in _rows(boxes1)]
    return np.array(values, boxes1.dtype).reshape(len(boxes1), len(boxes2))


def _each(function, *sets):
    """Return the array of what a function of one row of each set gives, (N, 4)."""
    return np.array([function(*rows) for rows in zip(*map(_rows, sets))], sets[0].dtype).reshape(-1, 4)


def box_area(boxes):
    """Measure each box.

    area = (x2 − x1)·(y2 − y1)

    - boxes: (N, 4), (x1, y1, x2, y2)

    Returns (N,), in the square of the unit of the boxes; in float32 for half precision, which ends at 65,504.

    Raises ValueError where boxes is no array of floats with four columns, a coordinate is NaN, infinite or
    so large that areas are, or x2 < x1 or y2 < y1. A box with x2 = x1 is a box, without area.

    Source: Everingham et al. (2010) count whole pixels; here coordinates are continuous, as in COCO's tools.

    >>> box_area(np.array([[1.0, 2.0, 5.0, 8.0], [3.0, 3.0, 3.0, 9.0]]))
    array([24.,  0.])
    """
    formulas.box_set("boxes", boxes)
    return np.array([formulas.area(box) for box in _rows(boxes)], _computed(boxes.dtype))


def box_convert(boxes, in_fmt, out_fmt):
    """Write boxes in another format.

    xyxy: (x1, y1, x2, y2);  xywh: (x1, y1, w, h);  cxcywh: ((x1 + x2) / 2, (y1 + y2) / 2, w, h)
    with w = x2 − x1 and h = y2 − y1

    - boxes: (N, 4), in the format `in_fmt`
    - in_fmt, out_fmt: "xyxy", "xywh" or "cxcywh"

    Returns (N, 4): a new array. From xywh to cxcywh and back it goes by way of the corners.

    Raises ValueError where a format is none of these, or a box is none: NaN, infinite, of negative size.

    Source: the names are torchvision's.

    >>> box_convert(np.array([[1.0, 2.0, 5.0, 8.0]]), "xyxy", "cxcywh")
    array([[3., 5., 4., 6.]])
    """
    formulas.conversion(boxes, in_fmt, out_fmt)
    return _each(lambda box: formulas.convert(box, in_fmt, out_fmt), boxes)


def box_iou(boxes1, boxes2):
    """Divide what two boxes share by what they cover together.

    IoU = I / U,  I = max(0, min(x2, x2′) − max(x1, x1′)) · max(0, min(y2, y2′) − max(y1, y1′))
    U = area + area′ − I

    - boxes1: (N, 4), (x1, y1, x2, y2); boxes2: (M, 4)

    Returns (N, M), from 0 to 1. Boxes without area have an IoU of 0 with all, also with themselves.

    Raises ValueError where a set of boxes is none, or the two differ in dtype.

    Source: Jaccard (1912); Everingham et al. (2010).

    >>> box_iou(np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0]]))
    array([[1.        , 0.33333333]])
    """
    return _pairwise(formulas.iou, boxes1, boxes2)


def generalized_box_iou(boxes1, boxes2):
    """Take from the IoU the share of the smallest box around both that neither covers.

    GIoU = I / U − (C − U) / C,  C the area of the smallest box around both

    - boxes1: (N, 4), (x1, y1, x2, y2); boxes2: (M, 4)

    Returns (N, M), from −1 to 1; 0 / 0 counts as 0.

    Raises ValueError where a set of boxes is none, or the two differ in dtype.

    Source: Rezatofighi et al. (2019), algorithm 1.

    >>> generalized_box_iou(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[3.0, 0.0, 4.0, 1.0]]))
    array([[-0.5]])
    """
    return _pairwise(formulas.generalized_iou, boxes1, boxes2)


def distance_box_iou(boxes1, boxes2):
    """Take from the IoU the squared distance of the centres, in units of the diagonal around both.

    DIoU = I / U − ρ² / c²,  ρ from centre to centre, c the diagonal of the smallest box around both

    - boxes1: (N, 4), (x1, y1, x2, y2); boxes2: (M, 4)

    Returns (N, M), from −1 to 1; 0 / 0 counts as 0.

    Raises ValueError where a set of boxes is none, or the two differ in dtype.

    Source: Zheng et al. (2020), the DIoU loss is 1 − DIoU.

    >>> distance_box_iou(np.array([[0.0, 0.0, 3.0, 4.0]]), np.array([[3.0, 4.0, 6.0, 8.0]]))
    array([[-0.25]])
    """
    return _pairwise(formulas.distance_iou, boxes1, boxes2)


def complete_box_iou(boxes1, boxes2):
    """Take from the DIoU a term for the difference in shape.

    CIoU = DIoU − α·v,  v = 4 / π² · (arctan(w / h) − arctan(w′ / h′))²,  α = v / ((1 − IoU) + v)

    α is a part of the function, also for gradients; much published code holds it constant there.

    - boxes1: (N, 4), (x1, y1, x2, y2); boxes2: (M, 4)

    Returns (N, M); 0 / 0 counts as 0. The arctan of a box without height is π / 2, that of a point 0.

    Raises ValueError where a set of boxes is none, or the two differ in dtype.

    Source: Zheng et al. (2020), the CIoU loss is 1 − CIoU.

    >>> complete_box_iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[0.0, 0.0, 2.0, 0.0]])).round(3)  # −1/8 − 1/20
    array([[-0.175]])
    """
    return _pairwise(formulas.complete_iou, boxes1, boxes2)


def paired_iou(boxes1, boxes2, *, kind="iou"):
    """Measure each box against the one at its own index: the diagonal of the functions above.

    m[n] = measure(boxes1[n], boxes2[n])

    - boxes1, boxes2: (N, 4), (x1, y1, x2, y2)
    - kind: "iou", "generalized", "distance" or "complete"

    Returns (N,).

    Raises ValueError where a set of boxes is none, or the two differ in length or dtype, or kind is none of these.

    Source: as the functions above; 1 − m is the loss of a predicted box.

    >>> paired_iou(np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([[2.0, 0.0, 6.0, 4.0]])).round(3)
    array([0.333])
    """
    formulas.one_of("kind", kind, formulas.MEASURES)
    formulas.same_boxes(boxes1=boxes1, boxes2=boxes2)
    return np.array([formulas.measure(kind, a, b) for a, b in zip(_rows(boxes1), _rows(boxes2))], boxes1.dtype)


def encode(boxes, anchors, *, weights=(1.0, 1.0, 1.0, 1.0)):
    """Write each box as its offset from an anchor: what a network learns to predict.

    tx = w_x·(x − x_a) / w_a,  ty = w_y·(y − y_a) / h_a,  tw = w_w·ln(w / w_a),  th = w_h·ln(h / h_a)

    with (x, y) the centres. Weights of 10, 10, 5, 5 are variances of 0.1, 0.1, 0.2, 0.2.

    - boxes, anchors: (N, 4), (x1, y1, x2, y2), box n against anchor n
    - weights: four numbers from 10⁻⁶ to 10⁶

    Returns (N, 4), without unit; in float16, what exceeds 65,504 is infinite.

    Raises ValueError where a set of boxes is none, a side is 0, a box lies e^40 times the anchor's side away or its
    side is so much larger or smaller (float64: e^340), or lengths, dtypes or weights don't fit.

    Source: Girshick et al. (2014), appendix C; Ren et al. (2015), equation 2; weights: the code of both and of SSD.

    >>> encode(np.array([[2.0, 0.0, 6.0, 2.0]]), np.array([[0.0, 0.0, 4.0, 2.0]]), weights=(10, 10, 5, 5))
    array([[5., 0., 0., 0.]])
    """
    weights = formulas.encoding(boxes, anchors, weights)
    return _each(lambda box, anchor: formulas.encode(box, anchor, weights), boxes, anchors)


def decode(offsets, anchors, *, weights=(1.0, 1.0, 1.0, 1.0), max_log_scale=None):
    """Turn offsets from anchors into boxes; undoes `encode`.

    x = x_a + tx / w_x·w_a,  y = y_a + ty / w_y·h_a,  w = w_a·exp(tw / w_w),  h = h_a·exp(th / w_h)

    - offsets: (N, 4), (tx, ty, tw, th), without unit
    - anchors: (N, 4), (x1, y1, x2, y2)
    - weights: four numbers from 10⁻⁶ to 10⁶, the same as for `encode`
    - max_log_scale: the most that tw / w_w and th / w_h count; None for no limit

    Returns (N, 4), (x1, y1, x2, y2); in float16, what exceeds 65,504 is infinite.

    Raises ValueError where offsets are not finite, lead e^40 anchors away or, without a limit, make a box e^40 times
    larger than its anchor (float64: e^340), anchors are no boxes or have a side of 0, or lengths, dtypes or numbers don't fit.

    Source: Girshick et al. (2014), appendix C; the limit: torchvision, ln(1000 / 16).

    >>> decode(np.array([[5.0, 0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 4.0, 2.0]]), weights=(10, 10, 5, 5))
    array([[2., 0., 6., 2.]])
    """
    weights, most = formulas.decoding(offsets, anchors, weights, max_log_scale)
    return _each(lambda offset, anchor: formulas.decode(offset, anchor, weights, most), offsets, anchors)


def nms(boxes, scores, iou_threshold):
    """Take the boxes by falling score, and leave out each that overlaps one that was taken.

    kept = [];  for each box, best first: keep it unless IoU(box, k) > iou_threshold for some k in kept

    - boxes: (N, 4), (x1, y1, x2, y2)
    - scores: (N,), finite
    - iou_threshold: from 0 to 1, rounded as IoUs are: to the boxes' dtype, for half precision to float32; at 1 nothing is left out

    Returns (K,) of int64: indices by falling score; of equal scores the lower index is taken first.

    Raises ValueError where boxes are none, scores don't fit, or the threshold lies outside [0, 1].

    Source: Girshick et al. (2014), section 2.2; Felzenszwalb et al. (2010).

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 5.0, 4.0], [2.0, 0.0, 6.0, 4.0]])
    >>> nms(boxes, np.array([0.9, 0.8, 0.7]), 0.5)        # 0 leaves out 1 (IoU 0.6), so that 2 stays (1/3 with 0)
    array([0, 2])
    """
    threshold = _computed(boxes.dtype).type(formulas.suppression(boxes, scores, iou_threshold))
    return np.array(formulas.greedy(_rows(boxes), scores, threshold)[0], np.int64)


def batched_nms(boxes, scores, classes, iou_threshold):
    """Suppress as `nms` does, but only within a class.

    kept = [];  for each box, best first: keep it unless IoU(box, k) > iou_threshold for some k in kept of its class

    - boxes: (N, 4), (x1, y1, x2, y2)
    - scores: (N,), finite
    - classes: (N,) of integers, the class of each box (or its image, or level)
    - iou_threshold: from 0 to 1, rounded as IoUs are: to the boxes' dtype, for half precision to float32

    Returns (K,) of int64: indices by falling score over all classes; of equal scores the lower index first.

    Raises ValueError where boxes are none, scores or classes don't fit, or the threshold lies outside [0, 1].

    Source: Girshick et al. (2014), section 2.2: "for each class independently".

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    >>> batched_nms(boxes, np.array([0.8, 0.9]), np.array([1, 2]), 0.5)
    array([1, 0])
    """
    threshold = _computed(boxes.dtype).type(formulas.class_wise(boxes, scores, classes, iou_threshold))
    return np.array(formulas.greedy(_rows(boxes), scores, threshold, classes)[0], np.int64)


def soft_nms(boxes, scores, *, iou_threshold=0.3, sigma=0.5, min_score=0.001, method="linear"):
    """Take the best box, lower the scores of those that overlap it, and go on with the best that is left.

    linear:    s ← s·(1 − IoU) where IoU > iou_threshold
    gaussian:  s ← s·exp(−IoU² / sigma)

    - boxes: (N, 4), (x1, y1, x2, y2)
    - scores: (N,), finite and at least 0
    - iou_threshold: from 0 to 1, for the linear method; sigma: from 10⁻⁶ to 10⁶, for the Gaussian one
    - min_score: at least 0; the search ends where the best score that is left lies below it
    - method: "linear" or "gaussian"

    Returns (indices, scores): (K,) of int64 and (K,), in the order in which the boxes were taken, with
    the scores that they then had; of equal scores the lower index is taken first.

    Raises ValueError where boxes are none, scores don't fit, or a number or the method is none of these.

    Source: Bodla et al. (2017). At IoU = iou_threshold the equation lowers the score, the
    code of its authors does not; this follows the code, and `nms`.

    >>> boxes = np.array([[0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 5.0, 4.0], [9.0, 0.0, 12.0, 4.0]])
    >>> soft_nms(boxes, np.array([1.0, 0.9, 0.8]))          # the second has an IoU of 0.6 with the first
    (array([0, 2, 1]), array([1.  , 0.8 , 0.36]))
    """
    threshold, sigma, least = formulas.soft_suppression(boxes, scores, iou_threshold, sigma, min_score, method)
    number = _computed(boxes.dtype)
    taken, final = formulas.soft(
        _rows(boxes), scores.astype(number), method, number.type(threshold), sigma, number.type(least)
    )
    return np.array(taken, np.int64), np.array(final, scores.dtype)


shapes.only("numpy", globals())
