"""The equations of the chapter on plain numbers, and the arguments that functions of boxes accept.

A box is (x1, y1, x2, y2), in continuous coordinates: it reaches from x1 to x2, and its area is
(x2 − x1)·(y2 − y1). A box with x1 = x2 or y1 = y2 is valid and has no area.
"""

from math import atan2, exp, log, pi

from cvnotes import shapes

FORMATS = ("xyxy", "xywh", "cxcywh")
MEASURES = ("iou", "generalized", "distance", "complete")
METHODS = ("linear", "gaussian")
SIGMAS, WEIGHTS = (1e-6, 10**6), (1e-6, 10**6)  # least and most: beyond them, float32 has no numbers for what follows

# --- one box -------------------------------------------------------------------------------


def convert(box, in_fmt, out_fmt):
    """Return the box in another format: two corners, corner and size, or centre and size.

    >>> convert((1.0, 2.0, 5.0, 8.0), "xyxy", "cxcywh")
    (3.0, 5.0, 4.0, 6.0)
    """
    if in_fmt == out_fmt:
        return tuple(box)
    if in_fmt == "xyxy":
        x1, y1, x2, y2 = box
    elif in_fmt == "xywh":
        x1, y1, w, h = box
        x2, y2 = x1 + w, y1 + h
    else:
        x, y, w, h = box
        x1, y1, x2, y2 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if out_fmt == "xywh":
        return x1, y1, x2 - x1, y2 - y1
    if out_fmt == "cxcywh":
        return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    return x1, y1, x2, y2


def area(box):
    """Return (x2 − x1)·(y2 − y1).

    >>> area((1.0, 2.0, 5.0, 8.0))
    24.0
    """
    return (box[2] - box[0]) * (box[3] - box[1])


# --- two boxes -----------------------------------------------------------------------------


def intersection(a, b):
    """Return the area that two boxes share; 0 where they only touch.

    >>> intersection((0.0, 0.0, 4.0, 4.0), (2.0, 1.0, 6.0, 5.0))
    6.0
    """
    return _overlap(a[0], a[2], b[0], b[2]) * _overlap(a[1], a[3], b[1], b[3])


def enclosing(a, b):
    """Return the smallest box around two boxes.

    >>> enclosing((0.0, 0.0, 4.0, 4.0), (2.0, 1.0, 6.0, 5.0))
    (0.0, 0.0, 6.0, 5.0)
    """
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def iou(a, b):
    """Return I / U: the area that two boxes share, over the area that they cover together; 0 / 0 is 0.

    >>> iou((0.0, 0.0, 4.0, 4.0), (2.0, 0.0, 6.0, 4.0))         # 8 of 24
    0.3333333333333333
    """
    shared = intersection(a, b)
    return _ratio(shared, area(a) + area(b) - shared)


def generalized_iou(a, b):
    """Return I / U − (C − U) / C, with C the area of the smallest box around both; 0 / 0 is 0.

    >>> generalized_iou((0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0))     # half of the box around them is empty
    -0.5
    """
    shared, around = intersection(a, b), area(enclosing(a, b))
    union = area(a) + area(b) - shared
    return _ratio(shared, union) - _ratio(around - union, around)


def distance_iou(a, b):
    """Return I / U − ρ² / c²: ρ from centre to centre, c the diagonal of the smallest box around both; 0 / 0 is 0.

    >>> distance_iou((0.0, 0.0, 3.0, 4.0), (3.0, 4.0, 6.0, 8.0))        # ρ is half the diagonal
    -0.25
    """
    x1, y1, x2, y2 = enclosing(a, b)
    dx, dy = _centres(a, b)
    w, h = x2 - x1, y2 - y1
    return iou(a, b) - _ratio(dx * dx + dy * dy, w * w + h * h)


def complete_iou(a, b):
    """Return DIoU − α·v, with v = (2 / π · (θ_a − θ_b))², tan θ = w / h, and α = v / (1 − IoU + v); 0 / 0 is 0.

    θ is 90° for a box without height, and 0 for a point.

    >>> a, b = (0.0, 0.0, 2.0, 2.0), (0.0, 0.0, 2.0, 0.0)       # θ 45° and 90°, IoU 0: v = ¼, α = ¼ / (1 + ¼)
    >>> shape_difference(a, b), complete_iou(a, b)              # DIoU −⅛, less a fifth of ¼
    (0.25, -0.175)
    """
    v = shape_difference(a, b)
    return distance_iou(a, b) - _ratio(v, 1 - iou(a, b) + v) * v


def shape_difference(a, b):
    """Return CIoU's v: the square of the difference of the angles, as a share of 90°; from 0 to 1."""
    difference = (2 / pi) * (_angle(a) - _angle(b))
    return difference * difference


def measure(kind, a, b):
    """Return one of `MEASURES` of two boxes."""
    return {"iou": iou, "generalized": generalized_iou, "distance": distance_iou, "complete": complete_iou}[kind](a, b)


def _overlap(a1, a2, b1, b2):
    """Return how much two intervals share, on one axis; 0 where they lie apart."""
    return max(0.0, min(a2, b2) - max(a1, b1))


def _ratio(part, whole):
    return part / whole if whole else 0.0


def _centres(a, b):
    """Return how far the centre of a lies from that of b, across and down."""
    return (a[0] + a[2]) / 2 - (b[0] + b[2]) / 2, (a[1] + a[3]) / 2 - (b[1] + b[3]) / 2


def _angle(box):
    return atan2(box[2] - box[0], box[3] - box[1])


# --- their gradients -----------------------------------------------------------------------
# With respect to the four coordinates of a. Where two edges coincide, a minimum or maximum of them
# has a kink: the slope is the mean of both sides', as in Torch. Boxes that only touch count as apart.


def gradient(kind, a, b, *, constant_alpha=False):
    """Return the derivatives of one of `MEASURES` with respect to a's x1, y1, x2 and y2.

    With `constant_alpha`, CIoU's α is held as if it were a constant, as most published code does.

    >>> gradient("iou", (0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0))     # apart: nothing to follow
    [0.0, 0.0, 0.0, 0.0]
    >>> gradient("generalized", (0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0))[2]
    0.25
    """
    shared, d_shared = intersection(a, b), _intersection_slopes(a, b)
    union = area(a) + area(b) - shared
    d_union = [d - s for d, s in zip(_area_slopes(a, (1, 1, 1, 1)), d_shared)]
    d_iou = _quotient_slopes(shared, d_shared, union, d_union)
    if kind == "iou":
        return d_iou
    if kind == "generalized":  # I / U − 1 + U / C
        around = enclosing(a, b)
        d_around = _area_slopes(around, _enclosing_slopes(a, b))
        return [d + m for d, m in zip(d_iou, _quotient_slopes(union, d_union, area(around), d_around))]
    d_diou = [d - m for d, m in zip(d_iou, _distance_slopes(a, b))]
    if kind == "distance":
        return d_diou
    v, d_v = shape_difference(a, b), _shape_slopes(a, b)
    whole = 1 - _ratio(shared, union) + v
    alpha = _ratio(v, whole)
    if constant_alpha or not whole:
        return [d - alpha * s for d, s in zip(d_diou, d_v)]
    # α·v = v² / whole, and whole moves by dv − dIoU
    return [d - alpha * (2 * s - alpha * (s - i)) for d, s, i in zip(d_diou, d_v, d_iou)]


def _area_slopes(box, moves):
    """Return the slopes of the area of a box whose edges move by `moves` where a's move by 1."""
    w, h = box[2] - box[0], box[3] - box[1]
    return [-h * moves[0], -w * moves[1], h * moves[2], w * moves[3]]


def _intersection_slopes(a, b):
    w, h = _overlap(a[0], a[2], b[0], b[2]), _overlap(a[1], a[3], b[1], b[3])
    if not w or not h:
        return [0.0, 0.0, 0.0, 0.0]
    return [
        -h * _step(a[0], b[0]), -w * _step(a[1], b[1]),
        h * _step(b[2], a[2]), w * _step(b[3], a[3]),
    ]


def _enclosing_slopes(a, b):
    return [_step(b[0], a[0]), _step(b[1], a[1]), _step(a[2], b[2]), _step(a[3], b[3])]


def _step(x, y):
    """Return the slope of max(x, y) in x: 0, 1, or between at the kink."""
    return 1.0 if x > y else 0.5 if x == y else 0.0


def _quotient_slopes(part, d_part, whole, d_whole):
    if not whole:
        return [0.0, 0.0, 0.0, 0.0]
    return [(p - part / whole * w) / whole for p, w in zip(d_part, d_whole)]


def _distance_slopes(a, b):
    x1, y1, x2, y2 = enclosing(a, b)
    dx, dy = _centres(a, b)
    w, h = x2 - x1, y2 - y1
    left, top, right, bottom = _enclosing_slopes(a, b)
    d_diagonal = [-2 * w * left, -2 * h * top, 2 * w * right, 2 * h * bottom]
    return _quotient_slopes(dx * dx + dy * dy, (dx, dy, dx, dy), w * w + h * h, d_diagonal)


def _shape_slopes(a, b):
    w, h = a[2] - a[0], a[3] - a[1]
    whole = w * w + h * h
    if not whole:
        return [0.0, 0.0, 0.0, 0.0]
    factor = 2 * (2 / pi) * (2 / pi) * (_angle(a) - _angle(b)) / whole
    return [-factor * h, factor * w, factor * h, -factor * w]


# --- a box against an anchor ---------------------------------------------------------------


def encode(box, anchor, weights=(1.0, 1.0, 1.0, 1.0)):
    """Return (tx, ty, tw, th): how far the box lies from the anchor in units of its sides, and the logs of the ratios.

    >>> encode((2.0, 0.0, 6.0, 2.0), (0.0, 0.0, 4.0, 2.0))      # half a width to the right, the same size
    (0.5, 0.0, 0.0, 0.0)
    """
    x, y, w, h = convert(box, "xyxy", "cxcywh")
    ax, ay, aw, ah = convert(anchor, "xyxy", "cxcywh")
    wx, wy, ww, wh = weights
    return wx * (x - ax) / aw, wy * (y - ay) / ah, ww * log(w / aw), wh * log(h / ah)


def decode(offset, anchor, weights=(1.0, 1.0, 1.0, 1.0), max_log_scale=None):
    """Return the box that an offset from an anchor stands for; undoes `encode`.

    >>> decode((0.5, 0.0, 0.0, 0.0), (0.0, 0.0, 4.0, 2.0))
    (2.0, 0.0, 6.0, 2.0)
    """
    ax, ay, aw, ah = convert(anchor, "xyxy", "cxcywh")
    tx, ty, tw, th = (t / weight for t, weight in zip(offset, weights))
    if max_log_scale is not None:
        tw, th = min(tw, max_log_scale), min(th, max_log_scale)
    return convert((ax + tx * aw, ay + ty * ah, aw * exp(tw), ah * exp(th)), "cxcywh", "xyxy")


# --- suppression ---------------------------------------------------------------------------


def greedy(boxes, scores, iou_threshold, classes=None):
    """Return the indices that greedy NMS keeps, by falling score, and for each box who suppressed it, or None.

    >>> row = [(0.0, 0.0, 4.0, 4.0), (1.0, 0.0, 5.0, 4.0), (2.0, 0.0, 6.0, 4.0)]
    >>> greedy(row, [0.9, 0.8, 0.7], 0.5)       # 0 and 1 have an IoU of 0.6, 0 and 2 one of 1/3
    ([0, 2], [None, 0, None])
    """
    kept, suppressor = [], [None] * len(boxes)
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        for k in kept:
            if (classes is None or classes[k] == classes[i]) and iou(boxes[k], boxes[i]) > iou_threshold:
                suppressor[i] = k
                break
        else:
            kept.append(i)
    return kept, suppressor


def soft(boxes, scores, method, iou_threshold, sigma, min_score):
    """Return the indices that soft-NMS takes, in its order, and the scores that they then have.

    >>> row = [(0.0, 0.0, 4.0, 4.0), (1.0, 0.0, 5.0, 4.0), (9.0, 0.0, 12.0, 4.0)]
    >>> soft(row, [1.0, 0.9, 0.8], "linear", 0.3, None, 0.001)          # 0.9·(1 − 0.6)
    ([0, 2, 1], [1.0, 0.8, 0.36000000000000004])
    """
    scores, left, taken, final = list(scores), list(range(len(boxes))), [], []
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        if scores[best] < min_score:
            break
        left.remove(best)
        taken.append(best)
        final.append(scores[best])
        for i in left:
            scores[i] = scores[i] * decay(iou(boxes[best], boxes[i]), method, iou_threshold, sigma)
    return taken, final


def decay(overlap, method, iou_threshold, sigma):
    """Return the factor of soft-NMS for the score of a box that overlaps the one that was taken.

    >>> decay(0.5, "linear", 0.3, None), decay(0.2, "linear", 0.3, None)
    (0.5, 1.0)
    """
    if method == "gaussian":
        return exp(-overlap * overlap / sigma)
    return 1 - overlap if overlap > iou_threshold else 1.0


# --- arguments -----------------------------------------------------------------------------
# These look at arrays with operators that NumPy and Torch share, so that both versions, and other
# chapters, refuse the same with the same sentence.

# Coordinates up to these have areas and squared distances that stay finite.
FARTHEST = {"float16": 65504.0, "bfloat16": 1e18, "float32": 1e18, "float64": 1e150}
# The log of how many times larger than its anchor a box may be.
LARGEST_LOG = {"float16": 40.0, "bfloat16": 40.0, "float32": 40.0, "float64": 340.0}


def box_set(name, boxes, fmt="xyxy", sides=False):
    """Check that `boxes` is (N, 4), N ≥ 0, and holds boxes; return N. With `sides`, no box may lack area."""
    count = shapes.array(name, boxes, "N 4")[0]
    _finite_rows(name, boxes)
    boxes = _values(boxes)
    before, after = boxes[:, :2], boxes[:, 2:]
    if fmt != "xyxy":
        before = 0 * before
    bad = after <= before if sides else after < before
    if bad.any():
        index = _first(bad[:, 0] | bad[:, 1])
        values, across = boxes[index].tolist(), bool(bad[index, 0])
        small, large = (("x1", "x2") if across else ("y1", "y2")) if fmt == "xyxy" else ("0", "w" if across else "h")
        needed = f"{large} must be more than {small}" if sides else f"{large} must not be less than {small}"
        raise ValueError(f"`{name}` holds {values} at index {index}: {needed}")
    return count


def same_boxes(**sets):
    """Check that all are sets of boxes, of one kind and length; return the length."""
    (first, boxes), *others = sets.items()
    count = box_set(first, boxes)
    for name, more in others:
        if box_set(name, more) != count:
            raise ValueError(f"`{name}` holds {len(more)} boxes; {count} are needed, as many as `{first}` holds")
    shapes.same_kind(**sets)
    return count


def two_sets(boxes1, boxes2):
    """Check two sets of boxes of one kind, each of any length."""
    box_set("boxes1", boxes1)
    box_set("boxes2", boxes2)
    shapes.same_kind(boxes1=boxes1, boxes2=boxes2)


def one_of(name, value, choices):
    """Check that a word is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` (={value!r}) must be one of {', '.join(choices)}")
    return value


def real(name, value, minimum=None, maximum=None, above=None):
    """Return `value` as a float, or raise `ValueError` unless it is a finite number in its bounds.

    >>> real("sigma", 2, above=0)
    2.0
    """
    shape, kind = getattr(value, "shape", ()), type(value).__name__ + str(getattr(value, "dtype", ""))
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__") or tuple(shape) != () or (
        "bool" in kind or "complex" in kind or "object" in kind
    ):
        raise ValueError(f"`{name}` (={value!r}) must be a number")
    try:
        value = float(value)
    except OverflowError:  # an integer of hundreds of digits
        raise ValueError(f"`{name}` must be a finite number") from None
    if not -1e308 < value < 1e308:
        raise ValueError(f"`{name}` (={value}) must be a finite number")
    if above is not None and value <= above:
        raise ValueError(f"`{name}` (={value}) must be more than {above}")
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        bounds = f"from {minimum} to {maximum}" if maximum is not None else f"at least {minimum}"
        raise ValueError(f"`{name}` (={value}) must be {bounds}")
    return value


def threshold(name, value):
    """Return `value` as a float, or raise `ValueError` unless it lies from 0 to 1, as an IoU does."""
    return real(name, value, 0, 1)


def scores(name, values, count, minimum=None):
    """Check that there is one finite score for each of `count` boxes, none below `minimum`."""
    given = shapes.array(name, values, "N")[0]
    if given != count:
        raise ValueError(f"`{name}` holds {given} scores for {count} boxes")
    _finite_rows(name, values)
    if minimum is not None:
        bad = _values(values) < minimum
        if bad.any():
            index = _first(bad)
            raise ValueError(f"`{name}` holds {values[index].item()} at index {index}; at least {minimum} is needed")


def labels(name, values, count, classes=None):
    """Check that there is one integer for each of `count` boxes; with `classes`, from 0 to classes − 1."""
    shapes.library(name, values)
    kind = shapes.dtype_name(values)
    if "int" not in kind:
        raise ValueError(f"`{name}` ({kind}) must be of an integer dtype")
    if tuple(values.shape) != (count,):
        raise ValueError(f"`{name}` has the shape {tuple(values.shape)}; one label for each of {count} boxes is needed")
    if classes is not None:
        values = values.long() if hasattr(values, "long") else values  # Torch can't compare all integers
        bad = (values < 0) | (values >= classes)
        if bad.any():
            index = _first(bad)
            raise ValueError(f"`{name}` holds {values[index].item()} at index {index}; 0 to {classes - 1} are needed")


def suppression(boxes, scores_, iou_threshold):
    """Check what NMS is given, and return the threshold."""
    count = box_set("boxes", boxes)
    scores("scores", scores_, count)
    shapes.same_kind(boxes=boxes, scores=scores_)
    return threshold("iou_threshold", iou_threshold)


def class_wise(boxes, scores_, classes, iou_threshold):
    """Check what class-wise NMS is given, and return the threshold."""
    iou_threshold = suppression(boxes, scores_, iou_threshold)
    labels("classes", classes, len(boxes))
    return iou_threshold


def soft_suppression(boxes, scores_, iou_threshold, sigma, min_score, method):
    """Check what soft-NMS is given, and return its three numbers."""
    one_of("method", method, METHODS)
    iou_threshold = suppression(boxes, scores_, iou_threshold)
    scores("scores", scores_, len(boxes), 0)
    return iou_threshold, real("sigma", sigma, *SIGMAS), real("min_score", min_score, 0)


def conversion(boxes, in_fmt, out_fmt):
    """Check the arguments of `box_convert`."""
    one_of("in_fmt", in_fmt, FORMATS)
    one_of("out_fmt", out_fmt, FORMATS)
    box_set("boxes", boxes, in_fmt)


def encoding(boxes, anchors, weights):
    """Check the arguments of `encode`, and return the weights."""
    same_boxes(boxes=boxes, anchors=anchors)
    box_set("boxes", boxes, sides=True)
    box_set("anchors", anchors, sides=True)
    boxes, anchors = _values(boxes), _values(anchors)
    least = exp(-LARGEST_LOG[shapes.dtype_name(boxes)])
    own, theirs = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    # Sides beside the anchor's, and the way to it: what float32 can hold after a division.
    bad = (own < theirs * least) | (theirs < own * least) | (theirs < abs(boxes[:, :2] - anchors[:, :2]) * least)
    if bad.any():
        index = _first(bad[:, 0] | bad[:, 1])
        raise ValueError(f"`boxes` holds {boxes[index].tolist()} at index {index}: too far from its anchor, or from its size")
    return four_weights(weights)


def decoding(offsets, anchors, weights, max_log_scale):
    """Check the arguments of `decode`, and return the weights and the limit for the log of a ratio, or None."""
    count = shapes.array("offsets", offsets, "N 4")[0]
    _finite_rows("offsets", offsets)
    if box_set("anchors", anchors, sides=True) != count:
        raise ValueError(f"`anchors` holds {len(anchors)} boxes; {count} are needed, as many as `offsets` has rows")
    shapes.same_kind(offsets=offsets, anchors=anchors)
    weights = four_weights(weights)
    largest = LARGEST_LOG[shapes.dtype_name(offsets)]
    ways = abs(_values(offsets)[:, :2])
    bad = (ways[:, 0] > exp(largest) * weights[0]) | (ways[:, 1] > exp(largest) * weights[1])
    if bad.any():
        index = _first(bad)
        raise ValueError(f"`offsets` holds {offsets[index].tolist()} at index {index}: too far from its anchor")
    if max_log_scale is not None and real("max_log_scale", max_log_scale) <= largest:
        return weights, float(max_log_scale)
    sizes = _values(offsets)[:, 2:]
    bad = (sizes[:, 0] > largest * weights[2]) | (sizes[:, 1] > largest * weights[3])
    if bad.any():
        index = _first(bad)
        raise ValueError(
            f"`offsets` holds {offsets[index].tolist()} at index {index}: "
            f"logs of ratios up to {largest} times their weight are needed, or `max_log_scale`"
        )
    return weights, None


def four_weights(weights):
    """Return the weights of an encoding as four positive floats."""
    if not isinstance(weights, (tuple, list)) or len(weights) != 4:
        raise ValueError(f"`weights` (={weights!r}) must be four numbers, for tx, ty, tw and th")
    return tuple(real("weights", weight, *WEIGHTS) for weight in weights)


def _values(x):
    """Return an array without the gradients that may hang on it."""
    return x.detach() if hasattr(x, "detach") else x


def _finite_rows(name, x):
    """Raise `ValueError` where a number is NaN, infinite, or so large that areas are."""
    most = FARTHEST[shapes.dtype_name(x)]
    fine = abs(_values(x)) <= most
    if not fine.all():
        index = _first(~fine if len(x.shape) == 1 else ~fine.all(1))
        raise ValueError(f"`{name}` holds {x[index].tolist()} at index {index}: numbers from {-most} to {most} are needed")


def _first(bad):
    """Return the index of the first True."""
    return int((bad * 1).argmax())
