"""The chapter's functions in Torch: any float dtype, any device; those of measures and codes are differentiable."""

from math import pi

import numpy as np
import torch

from cvnotes import shapes
from cvnotes.boxes import formulas

PAIRS = 2**16  # pairs of boxes that are measured at once: what the processor's own cache holds
TILE = 32  # neighbours that are tested together
BLOCK = 256  # boxes that are settled at once
TESTS = 30_000  # pairs that suppression tests at once: from 32,768 on Torch would wait for other threads


def _computed(x):
    """Return x in the dtype in which its numbers are computed: half precision in float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _columns(boxes):
    """Return x1, y1, x2 and y2 of all boxes, each (N,) and contiguous."""
    return _computed(boxes).t().contiguous().unbind(0)


# --- measures ----------------------------------------------------------------------------


def box_area(boxes):
    """Same contract as `reference.box_area`.

    A product of two differences.
    """
    formulas.box_set("boxes", boxes)
    return _area(_columns(boxes))


def box_convert(boxes, in_fmt, out_fmt):
    """Same contract as `reference.box_convert`.

    The columns are views; only the result is new.
    """
    formulas.conversion(boxes, in_fmt, out_fmt)
    return _stacked(formulas.convert(_computed(boxes).unbind(1), in_fmt, out_fmt), boxes)


def box_iou(boxes1, boxes2):
    """Same contract as `reference.box_iou`.

    Without gradients it works through some rows of the result at a time, so that all steps but the last
    stay in the processor's cache; beside the result it needs a few MB. With gradients it keeps some ten arrays
    of N·M numbers; `paired_iou` does without, where a box has one partner.
    """
    formulas.two_sets(boxes1, boxes2)
    return pairwise("iou", boxes1, boxes2)


def generalized_box_iou(boxes1, boxes2):
    """Same contract as `reference.generalized_box_iou`.

    Works as `box_iou`.
    """
    formulas.two_sets(boxes1, boxes2)
    return pairwise("generalized", boxes1, boxes2)


def distance_box_iou(boxes1, boxes2):
    """Same contract as `reference.distance_box_iou`.

    Works as `box_iou`.
    """
    formulas.two_sets(boxes1, boxes2)
    return pairwise("distance", boxes1, boxes2)


def complete_box_iou(boxes1, boxes2):
    """Same contract as `reference.complete_box_iou`.

    Works as `box_iou`. The gradient goes through α too.
    """
    formulas.two_sets(boxes1, boxes2)
    return pairwise("complete", boxes1, boxes2)


def paired_iou(boxes1, boxes2, *, kind="iou"):
    """Same contract as `reference.paired_iou`.

    A few arrays of N numbers.
    """
    formulas.one_of("kind", kind, formulas.MEASURES)
    formulas.same_boxes(boxes1=boxes1, boxes2=boxes2)
    return _measure(kind, _columns(boxes1), _columns(boxes2)).to(boxes1.dtype)


def pairwise(kind, boxes1, boxes2):
    """Return a measure of all pairs, (N, M), of boxes that were checked: what all four of the above are."""
    a, b = [x[:, None] for x in _columns(boxes1)], _columns(boxes2)
    N, M = len(boxes1), len(boxes2)
    if torch.is_grad_enabled() and (boxes1.requires_grad or boxes2.requires_grad):
        return _measure(kind, a, b).to(boxes1.dtype)  # (N, M)
    result, rows = boxes1.new_empty(N, M), max(1, PAIRS // max(M, 1))
    for first in range(0, N, rows):
        result[first:first + rows] = _measure(kind, [x[first:first + rows] for x in a], b)
    return result


def _measure(kind, a, b):
    """Return a measure of boxes a and b, each given as four tensors x1, y1, x2 and y2 that broadcast."""
    shared = _shared(a, b)
    union = _area(a) + _area(b) - shared
    if union.requires_grad:
        iou = shared / union.masked_fill(union == 0, 1)
    else:  # 0 / the smallest number is 0 too, and a clamp is much quicker; but it would have no slope
        info = torch.finfo(union.dtype)
        iou = shared / union.clamp(min=info.tiny * info.eps)
    if kind == "iou":
        return iou
    w = torch.maximum(a[2], b[2]) - torch.minimum(a[0], b[0])  # of the smallest box around both
    h = torch.maximum(a[3], b[3]) - torch.minimum(a[1], b[1])
    if kind == "generalized":
        around = w * h
        return iou - _ratio(around - union, around)
    dx, dy = (a[0] + a[2]) / 2 - (b[0] + b[2]) / 2, (a[1] + a[3]) / 2 - (b[1] + b[3]) / 2
    diou = iou - _ratio(dx * dx + dy * dy, w * w + h * h)
    if kind == "distance":
        return diou
    v = ((2 / pi) * (_angle(a) - _angle(b))).square()
    return diou - _ratio(v, 1 - iou + v) * v


def _shared(a, b):
    """Return the area that boxes share. The slope of ReLU at 0 is 0: boxes that only touch count as apart."""
    w = torch.minimum(a[2], b[2]).sub_(torch.maximum(a[0], b[0])).relu()
    h = torch.minimum(a[3], b[3]).sub_(torch.maximum(a[1], b[1])).relu()
    return w * h


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _ratio(part, whole):
    """Return part / whole, and 0 with a slope of 0 where the whole is 0."""
    empty = whole == 0
    return (part / whole.masked_fill(empty, 1)).masked_fill(empty, 0)


def _angle(box):
    """Return the angle whose tangent is w / h. That of a point is 0, and so is its slope."""
    w, h = box[2] - box[0], box[3] - box[1]
    point = (w == 0) & (h == 0)
    return torch.atan2(w, h.masked_fill(point, 1)).masked_fill(point, 0)


def _stacked(columns, like):
    return torch.stack(tuple(columns), 1).to(like.dtype)  # (N, 4)


# --- codes -------------------------------------------------------------------------------


def encode(boxes, anchors, *, weights=(1.0, 1.0, 1.0, 1.0)):
    """Same contract as `reference.encode`.

    A few arrays of N numbers.
    """
    wx, wy, ww, wh = formulas.encoding(boxes, anchors, weights)
    x, y, w, h = formulas.convert(_columns(boxes), "xyxy", "cxcywh")
    ax, ay, aw, ah = formulas.convert(_columns(anchors), "xyxy", "cxcywh")
    return _stacked((wx * (x - ax) / aw, wy * (y - ay) / ah, ww * (w / aw).log(), wh * (h / ah).log()), boxes)


def decode(offsets, anchors, *, weights=(1.0, 1.0, 1.0, 1.0), max_log_scale=None):
    """Same contract as `reference.decode`.

    A few arrays of N numbers. Beyond `max_log_scale` the gradient of a size is 0.
    """
    weights, most = formulas.decoding(offsets, anchors, weights, max_log_scale)
    ax, ay, aw, ah = formulas.convert(_columns(anchors), "xyxy", "cxcywh")
    tx, ty, tw, th = (t / weight for t, weight in zip(_columns(offsets), weights))
    if most is not None:
        tw, th = tw.clamp(max=most), th.clamp(max=most)
    box = (ax + tx * aw, ay + ty * ah, aw * tw.exp(), ah * th.exp())
    return _stacked(formulas.convert(box, "cxcywh", "xyxy"), offsets)


# --- suppression -------------------------------------------------------------------------


def nms(boxes, scores, iou_threshold):
    """Same contract as `reference.nms`.

    In turn the best 256 boxes that are left are settled among themselves, and those that stay then suppress
    the rest. For this the rest is sorted by place, and 32 neighbours make a tile: a box is compared with those
    in the tiles that it reaches, so far boxes never meet. Needs some MB, beside a few arrays of N numbers,
    however many boxes overlap.
    """
    return _greedy(boxes, scores, formulas.suppression(boxes, scores, iou_threshold))


def batched_nms(boxes, scores, classes, iou_threshold):
    """Same contract as `reference.batched_nms`.

    Works as `nms`, with the class as the first order of the tiles. No box is moved, so nothing is rounded.
    """
    return _greedy(boxes, scores, formulas.class_wise(boxes, scores, classes, iou_threshold), classes)


@torch.no_grad()
def _greedy(boxes, scores, threshold, classes=None):
    order = scores.sort(descending=True, stable=True).indices
    columns = _picked(_columns(boxes), order)  # from here on a box is known by its rank
    columns.append(_area(columns))
    if classes is not None:
        columns += _picked([classes.long()], order)
    rest, held, kept = torch.arange(len(order), device=order.device), 0, [order[:0]]
    while len(rest):
        block, rest = rest[:BLOCK], rest[BLOCK:]
        mine = _picked(columns, block)
        stay = _first_come(mine, threshold)
        kept.append(block.index_select(0, stay))
        if len(rest):
            if 2 * len(rest) <= held or not held:
                tiles, held = _tiles(columns, rest), len(rest)
            gone = _suppressed(_picked(mine, stay), tiles, threshold, len(order))
            rest = rest.masked_select(~gone.index_select(0, rest))
    return order.index_select(0, torch.cat(kept))


def _picked(columns, indices):
    """Return of each column the numbers with these indices, in their shape. (It is quicker than x[indices].)"""
    return [x.index_select(0, indices.flatten()).view_as(indices) for x in columns]


def _over(a, b, threshold):
    """Tell where the IoU of boxes a and b (x1, y1, x2, y2, area, class if any; they broadcast) is over the threshold.

    Between boxes without area it is 0 / 0: NaN, and so not over.
    """
    shared = _shared(a, b)
    over = shared / (a[4] + b[4] - shared) > threshold
    return over if len(a) == 5 else over & (a[5] == b[5])


def _first_come(boxes, threshold):
    """Return the indices of the boxes that stay when they, by falling score, suppress each other.

    Row i of their matrix tells whom i suppresses if it stays. A row is one integer here, with a bit for
    each box, so a step of the walk is a shift, a test and an "or". Bits of boxes before i change nothing.
    """
    rows, count = [], TESTS // BLOCK
    for i in range(0, len(boxes[0]), count):
        over = _over([x[i:i + count, None] for x in boxes], boxes, threshold)
        rows += list(np.packbits(over.cpu().numpy(), axis=1, bitorder="little"))
    gone, stay = 0, []
    for i, row in enumerate(rows):
        if not gone >> i & 1:
            stay.append(i)
            gone |= int.from_bytes(row.tobytes(), "little")
    return torch.tensor(stay, device=boxes[0].device)


def _tiles(columns, ranks):
    """Return the boxes with these ranks, sorted so that each 32 in a row are a tile of neighbours, and the tiles' bounds.

    The order is by class, by size (powers of two), and along a curve that stays in one place as long as
    it can: the bits of x and y in turn. x and y are the places of the centres in order, so that
    one box far away does not bring all others together.
    """
    x1, y1, x2, y2 = _picked(columns[:4], ranks)
    size = torch.maximum(x2 - x1, y2 - y1).frexp().exponent
    key = (size.max() - size).clamp(max=15).long()
    if len(columns) > 5:
        key = key + 16 * columns[5].index_select(0, ranks).unique(return_inverse=True)[1]
    key = key << 32 | _spread(x1 + x2) << 1 | _spread(y1 + y2)
    ranks = ranks.index_select(0, key.argsort())
    ranks = torch.cat([ranks, ranks[-1:].expand(-len(ranks) % TILE)]).view(-1, TILE)  # (T, 32)
    boxes = _picked(columns, ranks)
    bounds = [boxes[0].amin(1), boxes[1].amin(1), boxes[2].amax(1), boxes[3].amax(1)]  # (T,)
    if len(columns) > 5:
        bounds += [boxes[5].amin(1), boxes[5].amax(1)]
    return ranks, boxes, bounds


def _spread(x):
    """Return 16 bits of the place that each x has in order, with a 0 between any two of them."""
    place = torch.arange(len(x), device=x.device) * 2**16 // len(x)
    place = torch.empty_like(place).scatter_(0, x.argsort(), place)
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        place = (place | place << shift) & mask
    return place


def _suppressed(boxes, tiles, threshold, count):
    """Tell for each of `count` ranks whether one of the boxes suppresses it."""
    ranks, members, (x1, y1, x2, y2, *classes) = tiles
    gone = torch.zeros(count, dtype=torch.bool, device=ranks.device)
    rows = max(1, TESTS // len(ranks))
    for first in range(0, len(boxes[0]), rows):
        some = [x[first:first + rows, None] for x in boxes]  # (K, 1)
        reached = (some[0] < x2) & (some[1] < y2) & (some[2] > x1) & (some[3] > y1)  # (K, T)
        if classes:
            reached &= (some[5] >= classes[0]) & (some[5] <= classes[1])
        k, t = reached.nonzero(as_tuple=True)
        for i, j in zip(k.split(TESTS // TILE), t.split(TESTS // TILE)):
            mine, theirs = [x.index_select(0, i) for x in some], [x.index_select(0, j) for x in members]
            over = _over(mine, theirs, threshold)  # (P, 32)
            gone.index_fill_(0, ranks.index_select(0, j).masked_select(over), True)
    return gone


def soft_nms(boxes, scores, *, iou_threshold=0.3, sigma=0.5, min_score=0.001, method="linear"):
    """Same contract as `reference.soft_nms`.

    One step for each box that is taken; within a step all IoUs and scores at once. Without gradients a few
    arrays of N numbers; with them, of N·K.
    """
    threshold, sigma, min_score = formulas.soft_suppression(boxes, scores, iou_threshold, sigma, min_score, method)
    columns, s = _columns(boxes), _computed(scores)
    areas, left = _area(columns), torch.arange(len(boxes), device=boxes.device)
    taken, final = [left[:0]], [s[:0]]
    while len(left):
        best = s.detach().argmax()  # the first of equal ones
        if s[best] < min_score:
            break
        taken.append(left[best, None])
        final.append(s[best, None])
        others = torch.arange(len(left), device=left.device) != best
        one = [x[left[best]] for x in columns]
        left, s = left[others], s[others]
        shared = _shared(one, [x[left] for x in columns])
        union = _area(one) + areas[left] - shared
        overlap = shared / union.masked_fill(union == 0, 1)
        if method == "linear":
            s = torch.where(overlap > threshold, s * (1 - overlap), s)
        else:
            s = s * (-overlap.square() / sigma).exp()
    return torch.cat(taken), torch.cat(final).to(scores.dtype)


shapes.only("torch", globals())
