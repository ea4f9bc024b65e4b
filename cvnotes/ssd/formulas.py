"""The equations of the chapter on plain numbers, and the arguments that its functions accept.

Boxes are (x1, y1, x2, y2) in fractions of the image: (0, 0, 1, 1) is all of it. Label 0 is the background.
"""

from math import exp, floor, log, sqrt

from cvnotes import shapes
from cvnotes.boxes import formulas as boxes_formulas

CODE = (10.0, 10.0, 5.0, 5.0)  # weights of an encoded box; their inverses, 0.1, 0.1, 0.2, 0.2, are SSD's variances
OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)  # what a sampled patch must have in common with an object
SMALLEST_PATCH, ROUNDEST, TALLEST = 0.1, 2.0, 0.5  # its least size; its aspect ratios
MAX_LOG_SCALE = log(1000 / 16)  # no side grows by more than this when a box is decoded
MAP_SIZES = (38, 19, 10, 5, 3, 1)  # of SSD300's six maps, and the aspect ratios of their boxes beside 1
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))

# --- default boxes -------------------------------------------------------------------------


def scale(k, m, s_min, s_max):
    """Return s_k = s_min + (s_max − s_min)·(k − 1)/(m − 1), the scale of map k of m, counted from 1.

    >>> [scale(k, 3, 0.25, 0.75) for k in (1, 2, 3)]
    [0.25, 0.5, 0.75]
    """
    return s_min if m == 1 else s_min + (s_max - s_min) * (k - 1) / (m - 1)


def percent_scales(first, low, high, maps):
    """Return the scales of SSD's code: `first`, then as many as maps are left and one more, in steps of whole percents.

    The step is ⌊(high − low) / (maps − 2)⌋, all in percent: from `low` on the second map to about `high` on the last.

    >>> percent_scales(10, 20, 90, 6)
    [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05]
    """
    step = (high - low) // (maps - 2)
    return [first / 100] + [(low + k * step) / 100 for k in range(maps)]


def box_sizes(this_scale, next_scale, ratios):
    """Return (w, h) of each default box in a place: squares of s_k and of √(s_k·s_{k+1}), then r and 1/r.

    A box of the ratio r has w = s_k·√r and h = s_k/√r, so that its area is s_k² whatever its shape.

    >>> box_sizes(0.25, 1.0, (4,))
    [(0.25, 0.25), (0.5, 0.5), (0.5, 0.125), (0.125, 0.5)]
    """
    between = sqrt(this_scale * next_scale)
    sizes = [(this_scale, this_scale), (between, between)]
    for ratio in ratios:
        long, short = this_scale * sqrt(ratio), this_scale / sqrt(ratio)
        sizes += [(long, short), (short, long)]
    return sizes


def centre(i, count, step=None):
    """Return where place i of `count` has its centre: (i + ½)/count, or (i + ½)·step, `step` in fractions of the image.

    >>> centre(0, 4), centre(3, 4), centre(3, 4, 0.375)
    (0.125, 0.875, 1.3125)
    """
    return (i + 0.5) / count if step is None else (i + 0.5) * step


def default_box(x, y, w, h, clip=False):
    """Return the box around a centre; with `clip`, the part of it that lies in the image.

    >>> default_box(0.125, 0.5, 0.5, 0.25), default_box(0.125, 0.5, 0.5, 0.25, True)
    ((-0.125, 0.375, 0.375, 0.625), (0.0, 0.375, 0.375, 0.625))
    """
    box = boxes_formulas.convert((x, y, w, h), "cxcywh", "xyxy")
    return clipped(box) if clip else box


def clipped(box):
    """Return the part of a box that lies in the image; one outside becomes a line or a point on the edge.

    >>> clipped((-0.5, 0.25, 0.5, 1.5))
    (0.0, 0.25, 0.5, 1.0)
    """
    return tuple(min(1.0, max(0.0, x)) for x in box)


def place_boxes(boxes_map, row, column):
    """Return the default boxes of one place of a map, as `layout` describes it."""
    (H, W), (step_y, step_x), sizes, clip = boxes_map
    x, y = centre(column, W, step_x), centre(row, H, step_y)
    return [default_box(x, y, w, h, clip) for w, h in sizes]


def outputs(classes, boxes, rows, columns):
    """Return (C + 4)·B·H·W: numbers that a map of H × W places gives, for B boxes a place with C class scores each.

    >>> outputs(21, 4, 38, 38)
    144400
    """
    C, B, H, W = (
        shapes.integer(name, value, 1)
        for name, value in (("classes", classes), ("boxes", boxes), ("rows", rows), ("columns", columns))
    )
    return (C + 4) * B * H * W


# --- losses --------------------------------------------------------------------------------


def smooth_l1(x):
    """Return x²/2 where |x| < 1, else |x| − ½: a parabola with straight arms of slope 1.

    >>> smooth_l1(0.5), smooth_l1(-3.0)
    (0.125, 2.5)
    """
    x = abs(x)
    return x * x / 2 if x < 1 else x - 0.5


def cross_entropy(scores, label):
    """Return −log softmax(scores)[label] = log Σ exp(s) − s[label], without overflow.

    >>> cross_entropy((0.0, 0.0), 1) == log(2), cross_entropy((1000.0, 0.0), 1)
    (True, 1000.0)
    """
    most = max(scores)
    return most + log(sum(exp(s - most) for s in scores)) - scores[label]


def softmax(scores):
    """Return exp(s) / Σ exp(s) of each score.

    >>> softmax((0.0, 0.0, -1e9))
    [0.5, 0.5, 0.0]
    """
    most = max(scores)
    powers = [exp(s - most) for s in scores]
    return [power / sum(powers) for power in powers]


def negatives_wanted(positives, ratio):
    """Return how many negatives an image may have at most: ⌊ratio·positives⌋.

    >>> negatives_wanted(5, 3), negatives_wanted(3, 0.5)
    (15, 1)
    """
    return floor(min(ratio * positives, 1e18))  # more than any image has


# --- patches -------------------------------------------------------------------------------


def patch(uniforms):
    """Return the patch that four numbers from 0 to 1 stand for.

    s = 0.1 + 0.9·u₁;  r = a + (b − a)·u₂,  a = max(½, s²), b = min(2, 1/s²);  w = s·√r, h = s/√r;
    x1 = (1 − w)·u₃, y1 = (1 − h)·u₄

    s² is the patch's share of the image, r its aspect ratio. The bounds of r keep both sides within 1.

    >>> patch((1.0, 0.5, 0.5, 0.5)), patch((0.0, 1.0, 0.0, 0.0))[2] > 0.14
    ((0.0, 0.0, 1.0, 1.0), True)
    """
    size, shape, left, top = uniforms
    s = SMALLEST_PATCH + (1 - SMALLEST_PATCH) * size
    low, high = max(TALLEST, s * s), min(ROUNDEST, 1 / (s * s))
    r = low + (high - low) * shape
    w, h = min(1.0, s * sqrt(r)), min(1.0, s / sqrt(r))
    x, y = (1 - w) * left, (1 - h) * top
    return x, y, x + w, y + h


def has_centre(patch_, box):
    """Tell whether the centre of a box lies in a patch, its border included.

    >>> has_centre((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)), has_centre((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 0.75, 0.5))
    (True, False)
    """
    x, y, _, _ = boxes_formulas.convert(box, "xyxy", "cxcywh")
    return patch_[0] <= x <= patch_[2] and patch_[1] <= y <= patch_[3]


def within(patch_, box):
    """Return the part of a box that lies in a patch, in fractions of the patch.

    >>> within((0.5, 0.0, 1.0, 0.5), (0.25, 0.125, 0.75, 0.25))
    (0.0, 0.25, 0.5, 0.5)
    """
    x1, y1, x2, y2 = patch_
    w, h = x2 - x1, y2 - y1
    return clipped(((box[0] - x1) / w, (box[1] - y1) / h, (box[2] - x1) / w, (box[3] - y1) / h))


# --- colours -------------------------------------------------------------------------------


def distorted(colour, brightness=0.0, contrast=1.0, saturation=1.0, hue=0.0):
    """Return a colour (r, g, b), each from 0 to 1, as it looks in another light.

    c ← contrast·(c + brightness), clipped to 0 … 1 after each step;  then with V = max(c), m = min(c):
    S = min(1, saturation·(V − m)/V), and the hue, an angle, is turned by `hue` degrees; V stays

    >>> distorted((0.5, 0.25, 0.0), contrast=2.0), distorted((0.75, 0.25, 0.25), hue=120.0)
    ((1.0, 0.5, 0.0), (0.25, 0.75, 0.25))
    """
    r, g, b = [_unit(contrast * _unit(c + brightness)) for c in colour]
    V, m = max(r, g, b), min(r, g, b)
    if V == m:  # grey has no hue, and no saturation to change
        return V, V, V
    d = V - m
    sixth = (g - b) / d if V == r else 2 + (b - r) / d if V == g else 4 + (r - g) / d  # of the circle of hues
    S = min(1.0, saturation * d / V)
    return tuple([_channel(V, S, n + sixth + hue / 60) for n in (5, 3, 1)])


def _unit(c):
    return min(1.0, max(0.0, c))


def _channel(V, S, k):
    """Return red, green or blue, k sixths of the circle after a point: V·(1 − S) from 1 to 3, V from 4 to 6."""
    k -= 6 * floor(k / 6)
    return V * (1 - S * _unit(min(k, 4 - k)))

# --- arguments -----------------------------------------------------------------------------


def positive(name, value):
    """Return `value` as a float above 0, or raise `ValueError`."""
    return boxes_formulas.real(name, value, above=0)


def _row(name, values, count=None, noun=""):
    """Return a sequence as a list, of `count` entries if that is given."""
    if not isinstance(values, (tuple, list, range)):
        raise ValueError(f"`{name}` (={values!r}) must be a list")
    if count is not None and len(values) != count:
        raise ValueError(f"`{name}` has {len(values)} entries; {count} are needed{noun}")
    return list(values)


def scales_arguments(m, s_min, s_max):
    """Check the arguments of `scales`, and return them."""
    m, s_min, s_max = shapes.integer("m", m, 1), positive("s_min", s_min), positive("s_max", s_max)
    if s_max < s_min:
        raise ValueError(f"`s_max` (={s_max}) must not be less than `s_min` (={s_min})")
    return m, s_min, s_max


def layout(map_sizes, scales, aspect_ratios, steps=None, image_size=None, clip=False):
    """Check the arguments of `default_boxes`; return for each map ((H, W), (step down, step across), sizes, clip).

    Steps are in fractions of the image, None where there are none; sizes are those of `box_sizes`.
    """
    sizes = [shapes.pair("map_sizes", size, 1) for size in _row("map_sizes", map_sizes)]
    m = len(sizes)
    scales = [
        positive("scales", s) for s in _row("scales", scales, m + 1, ", one for each map and one beyond the last")
    ]
    ratios = _row("aspect_ratios", aspect_ratios, m, ", one list for each map")
    ratios = [[positive("aspect_ratios", ratio) for ratio in _row("aspect_ratios", some)] for some in ratios]
    strides = [(None, None)] * m
    if steps is not None:
        steps = [positive("steps", step) for step in _row("steps", steps, m, ", one for each map")]
        if image_size is None:
            raise ValueError("`image_size` is needed, as `steps` are in its pixels")
        height, width = shapes.pair("image_size", image_size, 1)
        strides = [(step / height, step / width) for step in steps]
    elif image_size is not None:
        shapes.pair("image_size", image_size, 1)
    if not isinstance(clip, bool):
        raise ValueError(f"`clip` (={clip!r}) must be True or False")
    return [
        (sizes[k], strides[k], box_sizes(scales[k], scales[k + 1], ratios[k]), clip) for k in range(m)
    ]


def matching(boxes, default_boxes, iou_threshold):
    """Check the arguments of `match`, and return the threshold."""
    boxes_formulas.box_set("boxes", boxes)
    boxes_formulas.box_set("default_boxes", default_boxes)
    same_device(boxes=boxes, default_boxes=default_boxes)
    return boxes_formulas.threshold("iou_threshold", iou_threshold)


def same_device(**arrays):
    """Check that two arrays lie on one device; they may differ in dtype."""
    (first, a), (second, b) = arrays.items()
    given, needed = str(getattr(b, "device", "cpu")), str(getattr(a, "device", "cpu"))
    if given != needed:
        raise ValueError(f"`{second}` (device {given}) must match `{first}` (device {needed})")


def mining(loss, positive_, ratio):
    """Check the arguments of `hard_negative_mining`, and return the ratio."""
    shape = sizes_of("loss", loss, "N D")
    if (loss != loss).any():
        raise ValueError("`loss` holds nan, which has no place in an order")
    shapes.library("positive", positive_)
    if shapes.dtype_name(positive_) != "bool":
        raise ValueError(f"`positive` ({shapes.dtype_name(positive_)}) must be of the dtype bool")
    if tuple(positive_.shape) != shape:
        raise ValueError(f"`positive` has the shape {tuple(positive_.shape)}; {shape} is needed, as `loss` has")
    same_device(loss=loss, positive=positive_)
    return boxes_formulas.real("ratio", ratio, 0)


def multibox(scores, offsets, labels, targets, ratio, alpha):
    """Check the arguments of `multibox_loss`, and return ratio and alpha."""
    N, D, C = predictions(scores, offsets)
    shapes.has_shape("targets", targets, (N, D, 4))
    shapes.same_kind(scores=scores, targets=targets)
    shapes.library("labels", labels)
    if "int" not in shapes.dtype_name(labels):
        raise ValueError(f"`labels` ({shapes.dtype_name(labels)}) must be of an integer dtype")
    if tuple(labels.shape) != (N, D):
        raise ValueError(f"`labels` has the shape {tuple(labels.shape)}; {(N, D)} is needed")
    same_device(scores=scores, labels=labels)
    bad = (labels < 0) | (labels >= C)
    if bad.any():
        raise ValueError(f"`labels` holds {_first(labels, bad)}; 0 to {C - 1} are needed")
    return boxes_formulas.real("ratio", ratio, 0), boxes_formulas.real("alpha", alpha, 0)


def predictions(scores, offsets):
    """Check scores (N, D, C) and offsets (N, D, 4), C at least 2; return N, D, C."""
    N, D, C = sizes_of("scores", scores, "N D C")
    if C < 2:
        raise ValueError(f"`scores` has the shape {(N, D, C)}; two classes are needed, the background and one more")
    shapes.has_shape("offsets", offsets, (N, D, 4))
    shapes.same_kind(scores=scores, offsets=offsets)
    return N, D, C


def sizes_of(name, x, axes):
    """Check that x is a floating-point array with these axes, any of which may be empty; return its shape."""
    shapes.library(name, x)
    if len(x.shape) != len(axes.split()):
        shapes.array(name, x, axes)  # raises
    shapes.has_shape(name, x, x.shape)
    return tuple(x.shape)


def _first(values, bad):
    """Return in words the first of the values, (N, D), that is bad."""
    index = int((bad.reshape(-1) * 1).argmax())
    return f"{values.reshape(-1)[index].item()} at index {divmod(index, values.shape[1])}"


def patch_arguments(boxes, labels, min_iou, uniforms):
    """Check the arguments of `sample_patch`, and return min_iou as a float, or None."""
    count = boxes_formulas.box_set("boxes", boxes)
    boxes_formulas.labels("labels", labels, count)
    shapes.array("uniforms", uniforms, "N 4")
    bad = ~((uniforms >= 0) & (uniforms <= 1))
    if bad.any():
        raise ValueError(f"`uniforms` holds {_first(uniforms, bad)}; from 0 to 1 is needed")
    return None if min_iou is None else boxes_formulas.threshold("min_iou", min_iou)


def distortion(image, brightness, contrast, saturation, hue):
    """Check the arguments of `photometric_distortion`, and return the numbers among them."""
    shapes.array("image", image, "3 H W")
    if not ((image >= 0) & (image <= 1)).all():  # NaN is neither
        raise ValueError("`image` holds a number that is not from 0 to 1")
    return (
        boxes_formulas.real("brightness", brightness, -1, 1), boxes_formulas.real("contrast", contrast, 0),
        boxes_formulas.real("saturation", saturation, 0), boxes_formulas.real("hue", hue, -360, 360),
    )


def decimation(weight, kernel_size, steps):
    """Check the arguments of `decimate_fc`; return (O, C, KH, KW) of the layer as a convolution, and its steps."""
    O, columns = shapes.array("weight", weight, "O I")
    KH, KW = shapes.pair("kernel_size", kernel_size, 1)
    if columns % (KH * KW):
        raise ValueError(f"`kernel_size` (={kernel_size}): its {KH * KW} places must divide the {columns} inputs of `weight`")
    steps = _row("steps", steps, 4, ": for filters, channels, rows and columns")
    return (O, columns // (KH * KW), KH, KW), tuple(shapes.integer("steps", step, 1) for step in steps)


def detection(scores, offsets, default_boxes, weights, min_score, iou_threshold, candidates, most, max_log_scale):
    """Check the arguments of `detect`, and return the numbers among them."""
    _, D, _ = predictions(scores, offsets)
    if not ((scores == scores) & (abs(scores) != float("inf"))).all():
        raise ValueError("`scores` holds a number that is not finite")
    given = boxes_formulas.box_set("default_boxes", default_boxes, sides=True)
    if given != D:
        raise ValueError(f"`default_boxes` holds {given} boxes; {D} are needed, as many as `scores` has rows")
    same_device(scores=scores, default_boxes=default_boxes)
    return (
        boxes_formulas.four_weights(weights), boxes_formulas.threshold("min_score", min_score),
        boxes_formulas.threshold("iou_threshold", iou_threshold), shapes.integer("candidates", candidates, 1),
        shapes.integer("most", most, 1), boxes_formulas.real("max_log_scale", max_log_scale),
    )
