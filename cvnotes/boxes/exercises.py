"""The exercises of the chapter on boxes."""

from cvnotes.boxes import formulas
from cvnotes.checking import Exercise

_IOU = "def iou(a, b):\n    "
_SIDES = """\
w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    """
_AREAS = """\
area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    """

iou = Exercise(
    name="iou",
    stub=_IOU + "# a and b are (x1, y1, x2, y2)\n    ...\n",
    solution=_IOU + _SIDES + """\
shared = max(0, w) * max(0, h)
    """ + _AREAS + """\
union = area_a + area_b - shared
    return shared / union if union else 0.0
""",
    cases=[
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)), ((0.0, 0.0, 4.0, 4.0), (2.0, 0.0, 6.0, 4.0)),
        ((0.0, 0.0, 2.0, 1.0), (1.0, 0.0, 2.0, 3.0)), ((0.0, 0.0, 4.0, 4.0), (1.0, 1.0, 2.0, 3.0)),
        ((0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 2.0, 1.0)), ((0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0)),
        ((0.0, 0.0, 3.0, 3.0), (4.0, 4.0, 6.0, 6.0)), ((2.0, 3.0, 2.0, 3.0), (2.0, 3.0, 2.0, 3.0)),
    ],
    expected=formulas.iou,
    wrong={
        "Coordinates are continuous here: a box from 0 to 4 is 4 wide. The + 1 counts whole pixels.": _IOU + """\
w = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return w * h / (area_a + area_b - w * h)
""",
        "What both share is counted in both areas: take it off once.": _IOU + _SIDES + _AREAS + """\
shared = max(0, w) * max(0, h)
    return shared / (area_a + area_b) if area_a + area_b else 0.0
""",
        "Boxes that lie apart in both directions have two negative sides, and their product is positive.":
        _IOU + _SIDES + _AREAS + """\
shared = w * h
    union = area_a + area_b - shared
    return max(0.0, shared / union) if union else 0.0
""",
        "Boxes that lie apart share nothing: a negative side counts as 0.": _IOU + _SIDES + _AREAS + """\
shared = w * h
    union = area_a + area_b - shared
    return shared / union if union else 0.0
""",
        "The last two numbers are the second corner here, not width and height.": _IOU + """\
w = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)
""",
        "Two boxes without area have a union of 0: decide what 0 / 0 is. Here it is 0.": _IOU + _SIDES + _AREAS + """\
shared = max(0, w) * max(0, h)
    return shared / (area_a + area_b - shared)
""",
        "Two boxes without area share nothing, also when they are the same: 0 / 0 is 0 here.": _IOU + _SIDES + _AREAS + """\
shared = max(0, w) * max(0, h)
    union = area_a + area_b - shared
    return shared / union if union else 1.0
""",
        "Divide by what both cover together, not by the smaller area.": _IOU + _SIDES + _AREAS + """\
shared, smaller = max(0, w) * max(0, h), min(area_a, area_b)
    return shared / smaller if smaller else 0.0
""",
        "The shared part starts at the larger x1 and ends at the smaller x2; yours has them the other way round.": _IOU
        + _AREAS + """\
w = max(a[2], b[2]) - min(a[0], b[0])
    h = max(a[3], b[3]) - min(a[1], b[1])
    union = area_a + area_b - w * h
    return w * h / union if union else 0.0
""",
    },
    hint="What they share is (smaller x2 − larger x1)·(smaller y2 − larger y1), if both are positive.",
    notice="Two boxes that lie apart get 0, however far: the measure does not say which is nearer.",
)

_GIOU = "def giou(a, b):\n    from cvnotes.boxes.formulas import area, intersection\n    "
_AROUND = """\
shared = intersection(a, b)
    union = area(a) + area(b) - shared
    w = max(a[2], b[2]) - min(a[0], b[0])
    h = max(a[3], b[3]) - min(a[1], b[1])
    """

giou = Exercise(
    name="giou",
    stub=_GIOU + "# area(a) and intersection(a, b) are there; no box lacks area\n    ...\n",
    solution=_GIOU + _AROUND + "return shared / union - (w * h - union) / (w * h)\n",
    cases=[
        ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)), ((0.0, 0.0, 1.0, 1.0), (1.0, 0.0, 2.0, 1.0)),
        ((0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0)), ((0.0, 0.0, 4.0, 4.0), (2.0, 1.0, 6.0, 5.0)),
        ((0.0, 0.0, 4.0, 4.0), (1.0, 1.0, 2.0, 3.0)), ((2.0, 1.0, 4.0, 3.0), (3.0, 2.0, 6.0, 4.0)),
        ((0.0, 0.0, 1.0, 1.0), (9.0, 9.0, 10.0, 10.0)),
    ],
    expected=formulas.generalized_iou,
    wrong={
        "What is empty is the box around both less the union, not less what they share.": _GIOU + _AROUND + """\
return shared / union - (w * h - shared) / (w * h)
""",
        "The empty part is a share of the box around both: divide by C, not by the union.": _GIOU + _AROUND + """\
return shared / union - (w * h - union) / union
""",
        "The empty part is taken off, not added.": _GIOU + _AROUND + """\
return shared / union + (w * h - union) / (w * h)
""",
        "The box around both goes from the smaller x1 to the larger x2; yours has the sum of the sides.": _GIOU + """\
shared = intersection(a, b)
    union = area(a) + area(b) - shared
    around = (a[2] - a[0] + b[2] - b[0]) * (a[3] - a[1] + b[3] - b[1])
    return shared / union - (around - union) / around
""",
        "That is the share of the box around both which is covered; start from the IoU.": _GIOU + _AROUND + """\
return union / (w * h)
""",
        "The box around both starts at the smaller x1 and y1, not at 0.": _GIOU + """\
shared = intersection(a, b)
    union = area(a) + area(b) - shared
    around = max(a[2], b[2]) * max(a[3], b[3])
    return shared / union - (around - union) / around
""",
        "What both share is counted in both areas: take it off once to get the union.": _GIOU + """\
union = area(a) + area(b)
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return intersection(a, b) / union - (around - union) / around
""",
    },
    hint="IoU less (C − U) / C, with C the area of the smallest box around both and U that of the union.",
    notice="The last two boxes are far apart: their GIoU is −0.98, and nearly −1 is as low as it goes.",
)

_DECODE = "def decode(offset, anchor, variances):\n    from math import exp\n    "
_UNPACK = """\
tx, ty, tw, th = offset
    x1, y1, x2, y2 = anchor
    w, h = x2 - x1, y2 - y1
    """
_CORNERS = "return x - w / 2, y - h / 2, x + w / 2, y + h / 2\n"


def _decoded(offset, anchor, variances):
    return formulas.decode(offset, anchor, tuple(1 / variance for variance in variances))


_SSD = (0.1, 0.1, 0.2, 0.2)

decode = Exercise(
    name="decode",
    stub=_DECODE + "# offset is (tx, ty, tw, th), anchor (x1, y1, x2, y2)\n    # return the box's corners\n    ...\n",
    solution=_DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx * w
    y = (y1 + y2) / 2 + variances[1] * ty * h
    w, h = w * exp(variances[2] * tw), h * exp(variances[3] * th)
    """ + _CORNERS,
    cases=[
        ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 4.0, 2.0), (1.0, 1.0, 1.0, 1.0)),
        ((0.5, 0.0, 0.0, 0.0), (0.0, 0.0, 4.0, 2.0), (1.0, 1.0, 1.0, 1.0)),
        ((0.0, 1.0, 0.0, 0.0), (2.0, 2.0, 4.0, 3.0), _SSD), ((0.0, 0.0, 1.0, -1.0), (0.0, 0.0, 4.0, 2.0), _SSD),
        ((1.0, -2.0, 0.5, 3.0), (1.0, 2.0, 5.0, 10.0), _SSD),
        ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 4.0, 2.0), (0.1, 0.2, 0.3, 0.4)),
    ],
    expected=_decoded,
    wrong={
        "The offset of the centre counts in widths and heights of the anchor.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx
    y = (y1 + y2) / 2 + variances[1] * ty
    w, h = w * exp(variances[2] * tw), h * exp(variances[3] * th)
    """ + _CORNERS,
        "tx and ty move the centre, not the corner.": _DECODE + _UNPACK + """\
x = x1 + variances[0] * tx * w
    y = y1 + variances[1] * ty * h
    w, h = w * exp(variances[2] * tw), h * exp(variances[3] * th)
    return x, y, x + w, y + h
""",
        "Offsets are multiplied by the variances; weights, their inverses, divide.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + tx / variances[0] * w
    y = (y1 + y2) / 2 + ty / variances[1] * h
    w, h = w * exp(tw / variances[2]), h * exp(th / variances[3])
    """ + _CORNERS,
        "The variances are left out.": _DECODE + _UNPACK + """\
x, y = (x1 + x2) / 2 + tx * w, (y1 + y2) / 2 + ty * h
    w, h = w * exp(tw), h * exp(th)
    """ + _CORNERS,
        "tw is the logarithm of a ratio: the width is multiplied by exp.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx * w
    y = (y1 + y2) / 2 + variances[1] * ty * h
    w, h = w + variances[2] * tw * w, h + variances[3] * th * h
    """ + _CORNERS,
        "Return the two corners, not centre and size.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx * w
    y = (y1 + y2) / 2 + variances[1] * ty * h
    return x, y, w * exp(variances[2] * tw), h * exp(variances[3] * th)
""",
        "Each of the four offsets has its own variance.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx * w
    y = (y1 + y2) / 2 + variances[0] * ty * h
    w, h = w * exp(variances[2] * tw), h * exp(variances[2] * th)
    """ + _CORNERS,
        "The variance of a size belongs inside exp: first multiply tw by it, then take exp.": _DECODE + _UNPACK + """\
x = (x1 + x2) / 2 + variances[0] * tx * w
    y = (y1 + y2) / 2 + variances[1] * ty * h
    w, h = w * variances[2] * exp(tw), h * variances[3] * exp(th)
    """ + _CORNERS,
        "The anchor is two corners; yours reads it as centre and size.": _DECODE + """\
tx, ty, tw, th = offset
    x, y, w, h = anchor
    x, y = x + variances[0] * tx * w, y + variances[1] * ty * h
    w, h = w * exp(variances[2] * tw), h * exp(variances[3] * th)
    """ + _CORNERS,
    },
    hint="The centre moves by variance · t · side of the anchor; a side is multiplied by exp(variance · t).",
    notice="All zeros give the anchor itself: an untrained network, whose outputs are near zero, predicts its anchors.",
)

_NMS = "def nms(boxes, scores, threshold):\n    from cvnotes.boxes.formulas import iou\n    "
_ROW = [(0.0, 0.0, 4.0, 4.0), (1.0, 0.0, 5.0, 4.0), (2.0, 0.0, 6.0, 4.0)]
_BESIDE, _AFAR = (4.0, 0.0, 8.0, 4.0), (9.0, 0.0, 13.0, 4.0)


def _kept(boxes, scores, threshold):
    return formulas.greedy(boxes, scores, threshold)[0]


nms = Exercise(
    name="nms",
    stub=_NMS + "# return the indices of the boxes that are kept, best first\n    ...\n",
    solution=_NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept
""",
    cases=[
        ([], [], 0.5), (_ROW[:1], [0.9], 0.5), (_ROW[:2], [0.9, 0.8], 0.5), (_ROW[:2], [0.8, 0.9], 0.5),
        ([_ROW[0], _ROW[2]], [0.2, 0.3], 0.5), ([(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 2.0, 1.0)], [0.9, 0.8], 0.5),
        (_ROW[:2], [0.9, 0.8], 0.7),
        (_ROW, [0.9, 0.8, 0.7], 0.5), ([_ROW[0]] * 3, [0.5, 0.7, 0.7], 0.5),
        ([_ROW[0], _AFAR, _ROW[1]], [0.9, 0.8, 0.7], 0.5), ([_AFAR, _ROW[0], _ROW[1]], [0.9, 0.8, 0.7], 0.5),
        ([_ROW[0], _BESIDE, _ROW[2]], [0.9, 0.8, 0.7], 0.5),
    ],
    expected=_kept,
    wrong={
        "A box that was left out suppresses nobody: compare with those that were kept.": _NMS + """\
order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    return [i for n, i in enumerate(order)
            if all(iou(boxes[i], boxes[k]) <= threshold for k in order[:n])]
""",
        "Go by falling score, not in the order in which the boxes come.": _NMS + """\
kept = []
    for i in range(len(boxes)):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept
""",
        "An IoU that is just the threshold does not suppress.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k]) < threshold for k in kept):
            kept.append(i)
    return kept
""",
        "The best score comes first.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return sorted(kept)
""",
        "Of equal scores the lower index comes first: a sort with reverse=True on pairs turns ties round.": _NMS + """\
kept = []
    for _, i in sorted(zip(scores, range(len(boxes))), reverse=True):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept
""",
        "That keeps the worst: begin with the highest score.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: scores[i]):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept
""",
        "Compare with the threshold that is given, not with 0.5.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k]) <= 0.5 for k in kept):
            kept.append(i)
    return kept
""",
        "Compare with all boxes that are kept, not only with the last one.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not kept or iou(boxes[i], boxes[kept[-1]]) <= threshold:
            kept.append(i)
    return kept
""",
        "Compare with all boxes that are kept, not only with the best one.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not kept or iou(boxes[i], boxes[kept[0]]) <= threshold:
            kept.append(i)
    return kept
""",
        "Each overlap is compared with the threshold alone: they don't add up.": _NMS + """\
kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if sum(iou(boxes[i], boxes[k]) for k in kept) <= threshold:
            kept.append(i)
    return kept
""",
    },
    hint="Walk down the scores; keep a box unless its IoU with one that you have kept is over the threshold.",
    notice="In the row of three the first leaves out the second, and so the third stays: a box that is gone suppresses nobody.",
)

_PAIRS = "import numpy as np\n\n\ndef box_iou(boxes1, boxes2):\n    "
_AREA = """\
area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    """
_MEETING = """\
low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    """


def _sets():
    import numpy as np

    random = np.random.default_rng(0)
    corners = np.sort(random.integers(0, 100, (7, 2, 2)) / 100, 1).reshape(7, 4)
    unit, apart = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[3.0, 4.0, 5.0, 5.0]])
    return [(unit, unit), (unit, unit + [[0.5, 0.0, 0.5, 0.0]]), (unit, apart), (corners[:2], corners[2:]),
            (corners[:4], corners[3:]), (np.zeros((0, 4)), unit)]


def _box_iou(boxes1, boxes2):
    from cvnotes.boxes import reference

    return reference.box_iou(boxes1, boxes2)


box_iou = Exercise(
    name="box_iou",
    stub=_PAIRS + "# (N, 4) and (M, 4) give (N, M), without a loop; no box lacks area\n    ...\n",
    solution=_PAIRS + _AREA + _MEETING + """\
w, h = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return w * h / (area1[:, None] + area2 - w * h)
""",
    cases=_sets,
    expected=_box_iou,
    wrong={
        "Boxes that lie apart in both directions have two negative sides: cut them off at 0 first.": _PAIRS + _AREA
        + _MEETING + """\
w, h = np.moveaxis(high - low, 2, 0)
    return w * h / (area1[:, None] + area2 - w * h)
""",
        "Boxes are compared in pairs of one index here; give the second set an axis of its own.": _PAIRS + _AREA + """\
low = np.maximum(boxes1[:, :2], boxes2[:, :2])
    high = np.minimum(boxes1[:, 2:], boxes2[:, 2:])
    w, h = np.maximum(high - low, 0).T
    return w * h / (area1 + area2 - w * h)
""",
        "Rows are the boxes of the first set, columns those of the second.": _PAIRS + """\
boxes1, boxes2 = boxes2, boxes1
    """ + _AREA + _MEETING + """\
w, h = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return w * h / (area1[:, None] + area2 - w * h)
""",
        "What both share is counted in both areas: take it off once.": _PAIRS + _AREA + _MEETING + """\
w, h = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return w * h / (area1[:, None] + area2)
""",
        "The area of the first set belongs to the rows: area1[:, None].": _PAIRS + _AREA + _MEETING + """\
w, h = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    return w * h / (area1 + area2[:, None] - w * h)
""",
    },
    hint="np.maximum(boxes1[:, None, :2], boxes2[None, :, :2]) is (N, M, 2): the nearer corners of all pairs.",
    notice="The arrays of corners are (N, M, 2). With 10,000 and 100 boxes that is more than the answer itself.",
    plain=False,
)
