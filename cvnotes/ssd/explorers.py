"""The explorers of SSD: plain Python on the chapter's formulas. What needs NumPy is made by `explorer_data`."""

from math import sqrt

from cvnotes.boxes.formulas import iou
from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate
from cvnotes.ssd import formulas

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone
LEFT, TOP, SIDE = 8, 36, 384  # of the scene in a picture

SCALES = {  # of default boxes: of the six maps, and one beyond
    "the paper's formula": (0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.075),
    "its code, for VOC": tuple(formulas.percent_scales(10, 20, 90, 6)),
    "its code, for COCO": tuple(formulas.percent_scales(7, 15, 90, 6)),
}
COUNTS = [n * n * (2 + 2 * len(ratios)) for n, ratios in zip(formulas.MAP_SIZES, formulas.RATIOS)]


def _maps(scales):
    """Return the six maps of SSD300 as `formulas.layout` describes them, kept."""
    if scales not in _layouts:
        _layouts[scales] = formulas.layout(formulas.MAP_SIZES, SCALES[scales], formulas.RATIOS)
    return _layouts[scales]


_layouts = {}


def _x(x):
    return coordinate(LEFT + SIDE * x)


def _y(y):
    return coordinate(TOP + SIDE * y)


def _outline(box):
    """Return the path of a box in fractions of the scene."""
    return f"M{_x(box[0])} {_y(box[1])}H{_x(box[2])}V{_y(box[3])}H{_x(box[0])}z"


def _scene(picture, data, opacity=1.0):
    picture.image(LEFT, TOP, SIDE, SIDE, data["image"])
    if opacity < 1:
        picture.rect(LEFT, TOP, SIDE, SIDE, "paper", opacity=1 - opacity)


def _inside(box):
    """Return the path of what of a box's outline lies in the scene."""
    x1, y1, x2, y2 = box
    left, top, right, bottom = formulas.clipped(box)
    d = ""
    for x in (x1, x2):
        if 0 <= x <= 1 and top < bottom:
            d += f"M{_x(x)} {_y(top)}V{_y(bottom)}"
    for y in (y1, y2):
        if 0 <= y <= 1 and left < right:
            d += f"M{_x(left)} {_y(y)}H{_x(right)}"
    return d


def _percent(x, digits=0):
    return number(100 * x, digits) + "%"


def _short(x):
    """Return a control's number without zeros at its end."""
    return number(x, 2).rstrip("0").rstrip(".")


# --- default boxes -----------------------------------------------------------------------

KINDS = (("s", "input"), ("√(s·s′)", "output"), ("2 : 1", "kernel"), ("3 : 1", "negative"))


@explorer(
    level=range(1, 7), x=range(1, 100, 2), y=range(1, 100, 2), scales=tuple(SCALES), clip=(False, True), play="level",
)
def default_boxes(data, level=3, x=45, y=55, scales="its code, for COCO", clip=False):
    """The default boxes of one place of each of SSD300's maps, over a scene.

    `data` is that of `explorer_data.scene`; x and y are in percent of the image.
    """
    boxes_map = _maps(scales)[level - 1]
    n, sizes = boxes_map[0][0], boxes_map[2]
    column, row = min(n - 1, x * n // 100), min(n - 1, y * n // 100)
    boxes = formulas.place_boxes((*boxes_map[:3], clip), row, column)
    picture = Picture(WIDTH, 516, f"The {len(boxes)} default boxes of a place of map {level}, over a scene")
    _scene(picture, data, 0.62)
    lines = "".join(f"M{_x(i / n)} {TOP}v{SIDE}M{LEFT} {_y(i / n)}h{SIDE}" for i in range(n + 1))
    picture.path(lines, "none", "muted", 0.6 if n > 10 else 1)
    left, top, cell = LEFT + SIDE * column / n, TOP + SIDE * row / n, SIDE / n
    picture.rect(left, top, cell, cell, "ink", opacity=0.25)
    for i, box in enumerate(boxes):
        role = KINDS[i if i < 2 else i // 2 + 1][1]
        d = _inside(box)
        if d:
            picture.path(d, "none", "paper", 5, opacity=0)
            picture.path(d, "none", role, 3, dash="7 4" if i > 2 and i % 2 else None)
    drag = {"x": ("x", LEFT + SIDE / 100, SIDE / 50), "y": ("y", TOP + SIDE / 100, SIDE / 50)}
    picture.circle(left + cell / 2, top + cell / 2, 7, "ink", "paper", 2, drag=drag, title="drag")
    picture.text(8, 22, f"map {level}: {n} × {n} places", 16, "start", "ink", "700")
    picture.text(392, 22, f"{len(boxes)} boxes in each", 15, "end", "muted")
    for i, (name, role) in enumerate(KINDS[:2 + len(sizes) // 2 - 1]):
        at = 8 + (0, 66, 176, 284)[i]
        picture.rect(at, 432, 13, 13, "none", role, 3)
        picture.text(at + 18, 444, name, 14, "start", role, "600")
    _draw_bars(picture, COUNTS, level - 1, 466)
    return picture.svg(), _default_boxes_in_words(level, n, (column, row), sizes, boxes, clip)


def _draw_bars(picture, counts, chosen, top, role="input"):
    """Draw one bar for each map, over the number of its boxes, which is written."""
    most = max(1, max(counts))
    for k, count in enumerate(counts):
        left, length = 8 + 65 * k, 58 * count / most
        picture.rect(left, top, max(length, 1), 8, role, opacity=1 if k == chosen else 0.45)
        picture.text(left, top + 26, number(count), 15, "start", "ink", "700" if k == chosen else None)
        picture.text(left, top + 44, f"{formulas.MAP_SIZES[k]}²", 14, "start", "muted")


def _default_boxes_in_words(level, n, place, sizes, boxes, clip):
    words = f"Map {level} has {n} × {n} places with {len(sizes)} default boxes each: {number(COUNTS[level - 1])} of "
    words += f"{number(sum(COUNTS))}. At column {place[0]}, row {place[1]} (counted from 0) its squares have sides of "
    words += f"{_percent(sizes[0][0])} and {_percent(sizes[1][0], 1)} of the image"
    for ratio, (w, h) in zip((2, 3), sizes[2::2]):
        words += f", its {ratio} : 1 is {_percent(w, 1)} by {_percent(h, 1)}"
    out = len([box for box in boxes if formulas.clipped(box) != box])
    if clip:
        return words + ". What reaches out of the image is cut off."
    return words + f". {out if out else 'None'} of the {len(boxes)} " + ("reaches" if out < 2 else "reach") + " out of the image."


# --- matching ----------------------------------------------------------------------------

SHAPES = {"1 : 3": 1 / 3, "1 : 2": 0.5, "1 : 1": 1.0, "2 : 1": 2.0, "3 : 1": 3.0}
NEAR = 0.3  # from this overlap on, a default box that does not match is shown


@explorer(
    x=range(5, 96, 2), y=range(5, 96, 2), size=(3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26, 30, 35, 40, 50, 60, 70, 80, 90),
    shape=tuple(SHAPES), iou_threshold=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8), play="size",
)
def matching(data, x=55, y=67, size=35, shape="1 : 1", iou_threshold=0.5):
    """Which of the 8,732 default boxes match an object, and at which map.

    `data` is that of `explorer_data.scene`; x, y and the size √(w·h) are in percent of the image.
    """
    ratio = sqrt(SHAPES[shape])
    w, h = size / 100 * ratio, size / 100 / ratio
    box = formulas.default_box(x / 100, y / 100, w, h, clip=True)
    matched, near, best = matches(box, iou_threshold)
    picture = Picture(WIDTH, 516, f"An object of {size}% over the scene, and the {sum(map(len, matched))} default boxes it matches")
    _scene(picture, data, 0.62)
    d = "".join(f"M{_x((a + c) / 2)} {_y((b + e) / 2)}h0" for own in near for _, (a, b, c, e) in own)
    if d:
        picture.parts.append(f'<path d="{d}" stroke="{_IGNORED}" stroke-width="4" stroke-linecap="round" fill="none"/>')
    d = "".join(_inside(own_box) for own in matched for _, own_box in own)
    if d:
        picture.path(d, "none", "match", 1.5)
    picture.path(_inside(best[1]), "none", "match", 4)
    picture.path(_inside(box), "none", "output", 3, dash="8 4")
    drag = {"x": ("x", LEFT + SIDE * 0.05, SIDE / 50), "y": ("y", TOP + SIDE * 0.05, SIDE / 50)}
    picture.circle(LEFT + SIDE * x / 100, TOP + SIDE * y / 100, 8, "output", "paper", 2, drag=drag, title="drag")
    total = sum(map(len, matched))
    picture.text(8, 22, f"{total} matched" if total else "1 forced", 16, "start", "match", "700")
    picture.text(392, 22, f"{sum(map(len, near))} more from {NEAR} up: no match", 15, "end", "ignore", "600")
    counts = [len(own) for own in matched]
    if not total:
        counts[best[2]] = 1
    _draw_bars(picture, counts, best[2], 432, "match")
    picture.text(8, 504, "matched default boxes, by map", 14, "start", "muted")
    return picture.svg(), _matching_in_words(counts, near, best, total, iou_threshold)


_IGNORED = "var(--cv-ignore, #a68a00)"


def matches(box, threshold, scales="its code, for COCO"):
    """Return for each map the matched and the nearly matched default boxes, [(IoU, box), …], and the best of all.

    The best is (IoU, box, map), the first of equal ones. A default box is looked at only if it may have an IoU
    of `NEAR`, or of the best so far: its overlap across and its overlap down say so.
    """
    least, (bx1, by1, bx2, by2) = min(NEAR, threshold), box
    area = (bx2 - bx1) * (by2 - by1)
    matched, near = [], []
    best = (_first_guess(box, scales), None, None, (len(COUNTS),))
    for k, boxes_map in enumerate(_maps(scales)):
        (n, _), _, sizes, _ = boxes_map
        high, low = [], []
        for order, (w, h) in enumerate(sizes):
            bound = min(least, best[0])
            needed = bound / (1 + bound) * (area + w * h) - 1e-9  # of what both share
            if min(w, bx2 - bx1) * min(h, by2 - by1) < needed:
                continue
            across, down = _overlaps(n, w, bx1, bx2), _overlaps(n, h, by1, by2)
            widest = max(shared for _, shared in across)
            for i, tall in down:
                if tall * widest < needed:
                    continue
                for j, wide in across:
                    if tall * wide < needed:
                        continue
                    own = formulas.default_box((j + 0.5) / n, (i + 0.5) / n, w, h)
                    overlap = iou(box, own)
                    if overlap > best[0] or (overlap == best[0] and (k, i, j, order) < best[3]):
                        best = (overlap, own, k, (k, i, j, order))
                    if overlap >= threshold:
                        high.append((overlap, own))
                    elif overlap >= NEAR:
                        low.append((overlap, own))
        matched.append(high)
        near.append(low)
    return matched, near, best[:3]


def _first_guess(box, scales):
    """Return an IoU that some default box has: of those in the place of the object's centre, the best."""
    x, y, guess = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 0.0
    for boxes_map in _maps(scales):
        n = boxes_map[0][0]
        for own in formulas.place_boxes(boxes_map, min(n - 1, int(y * n)), min(n - 1, int(x * n))):
            guess = max(guess, iou(box, own))
    return guess


def _overlaps(n, side, low, high):
    """Return (i, what the side of a default box at place i shares with [low, high]) where it shares something."""
    found = []
    for i in range(n):
        middle = (i + 0.5) / n
        shared = min(middle + side / 2, high) - max(middle - side / 2, low)
        if shared > 0:
            found.append((i, shared))
    return found


def _matching_in_words(counts, near, best, total, iou_threshold):
    overlap, _, level = best
    where = [f"{number(count)} on map {k + 1}" for k, count in enumerate(counts) if count]
    if total:
        words = f"{number(total)} of {number(sum(COUNTS))} default boxes " + ("reach" if total > 1 else "reaches")
        words += f" an IoU of {_short(iou_threshold)}: " + ", ".join(where) + f"; the best, on map {level + 1}, has {number(overlap, 2)}. "
    else:
        words = f"No default box reaches an IoU of {_short(iou_threshold)}. The best, on map {level + 1}, has {number(overlap, 2)}, "
        words += "and is matched all the same. "
    missed = sum(map(len, near))
    if missed:
        words += f"{number(missed)} more with {NEAR} or more don't match: they count as background."
    return words


# --- hard negatives ----------------------------------------------------------------------

STAGES, CHOICES = ("later", "first step"), ("the hardest", "at random", "all")


@explorer(stage=STAGES, ratio=(0, 1, 2, 3, 5, 10), negatives=CHOICES)
def hard_negatives(data, stage="later", ratio=3, negatives="the hardest"):
    """The losses of an image's default boxes, and which of its negatives count.

    `data` is that of `explorer_data.hard_negatives`.
    """
    own = data[stage]
    positives, count = len(own["positives"]), own["count"]
    kept = min(ratio * positives, count)
    if negatives == "the hardest":
        loss, least = sum(own["hardest"][:kept]) / 1000, own["hardest"][kept - 1] / 1000 if kept else 0
    elif negatives == "all":
        kept, loss, least = count, own["total"], 0
    else:  # in the mean over all choices
        loss, least = own["total"] * kept / count, 0
    matched = sum(own["positives"]) / 1000
    label = f"Losses of {count} negatives and {positives} positives; {kept} negatives count"
    picture = Picture(WIDTH, 392, label)
    _draw_histogram(picture, own, negatives, kept)
    _draw_loss_shares(picture, positives, kept, matched, loss)
    return picture.svg(), _mining_in_words(own, positives, kept, matched, loss, least, negatives)


def _draw_histogram(picture, own, negatives, kept):
    """Draw how many negatives have which loss; a bar is filled as far as its boxes count."""
    picture.text(8, 20, "negatives by their loss", 16, "start", "ink", "700")
    picture.text(392, 20, f"{number(own['count'])} in all", 15, "end", "muted")
    base, tall, bars = 232, 180, own["bars"]
    left, across = 62, 328 / len(bars)
    for power in range(5):
        y = base - tall * _log_height(10**power)
        picture.line(left, y, left + 328, y, "faint", 1)
        picture.text(left - 6, y + 5, "1" if not power else number(10**power), 14, "end", "muted")
    rest = kept
    for i in range(len(bars) - 1, -1, -1):  # from the hardest down
        count = bars[i]
        if not count:
            continue
        taken = count if negatives == "all" else min(count, rest) if negatives == "the hardest" else count * kept / own["count"]
        rest -= taken
        height = tall * _log_height(count)
        picture.rect(left + i * across + 1, base - height, across - 2, height, "ignore", opacity=0.55)
        if taken >= 0.5:
            filled = min(height, tall * _log_height(taken))
            picture.rect(left + i * across + 1, base - filled, across - 2, filled, "negative")
    for share in range(0, len(bars) + 1, 4):
        x = left + share * across
        picture.line(x, base, x, base + 5, "muted", 1)
        picture.text(x, base + 21, _tick(own["edges"][share]), 14, "middle", "muted")
    d = "".join(f"M{coordinate(left + min(p, len(bars) - 0.02) * across)} {base}v-16" for p in own["marks"])
    if d:
        picture.path(d, "none", "match", 3)
    picture.rect(8, 268, 13, 13, "negative")
    picture.text(26, 280, "counts", 14, "start", "negative", "600")
    picture.rect(96, 268, 13, 13, "ignore", opacity=0.55)
    picture.text(114, 280, "left out", 14, "start", "ignore", "600")
    picture.path("M194 268v14", "none", "match", 3)
    picture.text(202, 280, "a positive", 14, "start", "match", "600")


def _log_height(count):
    """Return how high a count stands: 0 for less than 0.5, 1 for 10,000; each power of ten is as high as another."""
    steps = 0.0
    while count >= 10:
        count, steps = count / 10, steps + 1
    # Between powers of ten, a curve that is near to log10 and made of + and × alone.
    x = (count - 1) / (count + 1) if count > 0 else -1.0
    part = 2 * x * (1 + x * x / 3 + x * x * x * x / 5 + x * x * x * x * x * x / 7) / 2.302585
    return max(0.0, (steps + part + 0.3) / 4.3)


def _tick(edge):
    digits = 0
    while edge * 10**digits < 0.99:
        digits += 1
    return number(edge, digits)


def _draw_loss_shares(picture, positives, kept, matched, loss):
    picture.text(8, 316, "their share of the loss", 16, "start", "ink", "700")
    for row, (name, mine, theirs) in enumerate((("boxes", positives, kept), ("loss", matched, loss))):
        y, whole = 328 + 30 * row, mine + theirs
        picture.text(8, y + 17, name, 15, "start")
        length = 330 * mine / whole if whole else 0
        picture.rect(60, y, length, 22, "match")
        picture.rect(60 + length, y, 330 - length, 22, "negative" if whole else "none")
        if whole:
            picture.text(
                60 + (length + 4 if length < 200 else length - 4), y + 16, _percent(mine / whole, 1) + " positives", 14,
                "start" if length < 200 else "end", "paper", "600",
            )


def _mining_in_words(own, positives, kept, matched, loss, least, negatives):
    words = f"{number(positives)} positives and {number(own['count'])} negatives ({own['source']}). "
    if negatives == "at random":
        words += f"{number(kept)} negatives at random have {number(loss, 2)} together, in the mean over all choices"
    elif negatives == "all":
        words += f"All negatives together have a loss of {number(loss, 1)}"
    elif not kept:
        words += "No negative counts: nothing would teach what background is"
    else:
        words += f"The {number(kept)} hardest negatives, with losses from {number(least, 3)} up, have {number(loss, 2)} together"
    words += f"; the positives have {number(matched, 2)}"
    if negatives == "all":
        return words + "."
    words += f". All negatives have {number(own['total'], 1)}"
    if negatives == "the hardest" and kept and own["total"]:
        words += f", so {_percent(kept / own['count'], 1)} of them carry {_percent(loss / own['total'], 1)} of it"
    return words + "."


# --- patches -----------------------------------------------------------------------------

WISHES = ("any", "0.1", "0.3", "0.5", "0.7", "0.9", "whole image")
TRIES = 50


@explorer(overlap=WISHES, draw=range(1, 41), flip=(False, True), play="draw")
def patches(data, overlap="0.3", draw=8, flip=False):
    """A patch of the scene as training would cut it out, and what becomes of the objects.

    `data` is that of `explorer_data.scene`; `overlap` is what the patch must have in common with some object.
    """
    names, boxes = [name for name, _ in data["objects"]], [tuple(box) for _, box in data["objects"]]
    wanted = None if overlap == "whole image" else 0.0 if overlap == "any" else float(overlap)
    tried = [] if wanted is None else [formulas.patch(u) for u in uniforms(draw, TRIES)]
    patch, count = (0.0, 0.0, 1.0, 1.0), 0
    for i, one in enumerate(tried):
        if not wanted or max(iou(one, box) for box in boxes) >= wanted:
            patch, count = one, i + 1
            break
    kept = [i for i, box in enumerate(boxes) if formulas.has_centre(patch, box)]
    picture = Picture(WIDTH, 330, f"A patch of the scene with {len(kept)} of {len(boxes)} objects")
    _draw_patch(picture, data, tried[:count - 1] if count else tried, patch, boxes, kept)
    _draw_cut(picture, data, patch, [formulas.within(patch, boxes[i]) for i in kept], flip)
    return picture.svg(), _patch_in_words(wanted, count, patch, names, boxes, kept, flip)


def uniforms(draw, count):
    """Return `count` rows of four numbers from 0 to 1, random enough: those of a small generator of integers."""
    state, rows = draw * draw * draw * 7919 % 2147483647, []
    for _ in range(count):
        row = []
        for _ in range(4):
            state = state * 16807 % 2147483647
            row.append(state / 2147483647)
        rows.append(row)
    return rows


def _draw_patch(picture, data, failed, patch, boxes, kept):
    """Draw the scene on the left, with the patch, the tries that failed, and the objects."""
    left, top, side = 8, 36, 236
    at = lambda box: (left + side * box[0], top + side * box[1], side * (box[2] - box[0]), side * (box[3] - box[1]))  # noqa: E731
    picture.text(left, 22, "the scene", 15, "start", "ink", "700")
    picture.image(left, top, side, side, data["image"])
    x, y, w, h = at(patch)
    shade = f"M{left} {top}h{side}v{side}h-{side}z"
    shade += f"M{coordinate(x)} {coordinate(y)}v{coordinate(h)}h{coordinate(w)}v-{coordinate(h)}z"
    picture.path(shade, "paper", opacity=0.6)
    for one in failed[:12]:
        picture.rect(*at(one), "none", "padding", 1, dash="3 3")
    for i, box in enumerate(boxes):
        picture.rect(*at(box), "none", "output" if i in kept else "ignore", 2.5, dash=None if i in kept else "5 3")
        cx, cy = left + side * (box[0] + box[2]) / 2, top + side * (box[1] + box[3]) / 2
        picture.circle(cx, cy, 3.5, "output" if i in kept else "ignore", "paper", 1)
    picture.rect(x, y, w, h, "none", "kernel", 3)
    picture.rect(left, 286, 13, 13, "none", "output", 2.5)
    picture.text(left + 19, 298, "kept", 14, "start", "output", "600")
    picture.rect(left + 74, 286, 13, 13, "none", "ignore", 2.5, dash="5 3")
    picture.text(left + 93, 298, "left out", 14, "start", "ignore", "600")
    picture.rect(left, 308, 13, 13, "none", "padding", 1.5, dash="3 3")
    picture.text(left + 19, 320, "failed tries, 12 at most", 14, "start", "muted")


def _draw_cut(picture, data, patch, boxes, flip):
    """Draw on the right what the network gets: the patch as a square, with the boxes cut to it."""
    left, top, side = 256, 36, 136
    picture.text(left, 22, "what is learned", 15, "start", "ink", "700")
    x1, y1, x2, y2 = patch
    wide, tall = side / (x2 - x1), side / (y2 - y1)  # of the whole image, if the patch is to fill the square
    turn = f' transform="translate({2 * left + side} 0) scale(-1 1)"' if flip else ""
    picture.parts.append(f'<clipPath id="cv-ssd-patch"><rect x="{left}" y="{top}" width="{side}" height="{side}"/></clipPath>')
    picture.parts.append(f'<g clip-path="url(#cv-ssd-patch)"><g{turn}>')
    picture.image(left - x1 * wide, top - y1 * tall, wide, tall, data["image"])
    picture.parts.append("</g></g>")
    for a, b, c, d in boxes:
        if flip:
            a, c = 1 - c, 1 - a
        picture.rect(left + side * a, top + side * b, side * (c - a), side * (d - b), "none", "output", 2.5)
    picture.rect(left, top, side, side, "none", "kernel", 3)
    picture.text(left, 194, f"{_percent((x2 - x1) * (y2 - y1))} of the area,", 14, "start")
    picture.text(left, 214, f"ratio {number((x2 - x1) / (y2 - y1), 2)} : 1", 14, "start")
    picture.text(left, 234, f"{len(boxes)} objects" if len(boxes) != 1 else "1 object", 14, "start", "output", "600")


def _patch_in_words(wanted, count, patch, names, boxes, kept, flip):
    x1, y1, x2, y2 = patch
    if wanted is None:
        words = "The whole image"
    elif not count:
        words = f"None of {TRIES} tries has an IoU of {number(wanted, 1)} with an object, so the whole image is taken"
    else:
        words = f"Try {count}: a patch of {_percent(x2 - x1)} by {_percent(y2 - y1)} of the image"
        best = max(range(len(boxes)), key=lambda i: (iou(patch, boxes[i]), -i))
        words += f", with an IoU of {number(iou(patch, boxes[best]), 2)} with the {names[best]}"
    words += f". {len(kept)} of {len(boxes)} objects " + ("have" if len(kept) != 1 else "has")
    words += " the centre in it" + (" and " + ("stay" if len(kept) != 1 else "stays") if kept else ": nothing is left to find")
    cut = []
    for i, box in enumerate(boxes):
        w, h = min(x2, box[2]) - max(x1, box[0]), min(y2, box[3]) - max(y1, box[1])
        if i not in kept and w > 0 and h > 0:
            cut.append((w * h / ((box[2] - box[0]) * (box[3] - box[1])), i))
    if cut:
        share, i = max(cut)
        words += f"; {_percent(share)} of the {names[i]} is to be seen too, but its box is gone"
    return words + ("; flipped, left is right." if flip else ".")


# --- the pipeline ------------------------------------------------------------------------

STEPS = ("scores", "threshold", "decode", "best of each class", "suppress", "final")
FINE = 100_000  # parts of 1 in which scores are counted
SCORES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
ROLES = ("input", "kernel", "output", "negative", "ignore", "ink")


@explorer(step=range(1, 7), min_score=SCORES, iou_threshold=(0.1, 0.3, 0.45, 0.6, 0.8, 1.0), most=(1, 2, 3, 5, 10, 200), play="step")
def pipeline(data, step=1, min_score=0.1, iou_threshold=0.45, most=200):
    """From the scores of all default boxes of an image to the final boxes, step by step.

    `data` is that of `explorer_data.pipeline`.
    """
    chosen = [one for one in data["candidates"] if one["score"] > FINE * min_score]
    classes = len(data["classes"])
    kept = suppressed(chosen, iou_threshold)
    final = kept[:most]
    over = data["over"][SCORES.index(min_score)]
    counts = (data["boxes"] * classes, over, over, len(chosen), len(kept), len(final))
    picture = Picture(WIDTH, 516, f"Step {step} of 6, {STEPS[step - 1]}: {number(counts[step - 1])} are left")
    _scene(picture, data, 0.62)
    shown = chosen if step < 5 else kept if step == 5 else final
    if step == 1:
        _draw_heat(picture, data)
    else:
        place = "default" if step == 2 else "box"
        for c in range(classes):
            d = "".join(_inside([x / 1000 for x in one[place]]) for one in shown if one["class"] == c)
            if d:
                picture.path(d, "none", ROLES[c % 6], 1.5 if step < 5 else 3)
        if step == 5:
            stay = {one["id"] for one in kept}
            d = "".join(_inside([x / 1000 for x in one["box"]]) for one in chosen if one["id"] not in stay)
            if d:
                picture.path(d, "none", "padding", 0.8, dash="3 3")
    if step == 6:
        _draw_labels(picture, data, final)
    picture.text(8, 22, f"{step}. {STEPS[step - 1]}", 16, "start", "ink", "700")
    picture.text(392, 22, f"{number(counts[step - 1])} left", 16, "end", "ink", "600")
    for i, count in enumerate(counts):
        x, role = 8 + 65 * i, "ink" if i == step - 1 else "muted"
        picture.rect(x, 432, 59, 5, "kernel" if i < step else "faint", set={"step": i + 1})
        picture.text(x, 456, number(count), 15, "start", role, "700" if i == step - 1 else None, set={"step": i + 1})
    names = sorted({one["class"] for one in shown}) if step > 1 else []
    for i, c in enumerate(names[:6]):
        x, y = 8 + 130 * (i % 3), 482 + 22 * (i // 3)
        picture.rect(x, y - 11, 12, 12, "none", ROLES[c % 6], 2.5)
        picture.text(x + 18, y, data["classes"][c], 14, "start", ROLES[c % 6], "600")
    return picture.svg(), _pipeline_in_words(data, step, counts, min_score, iou_threshold, most, chosen, final)


def suppressed(candidates, iou_threshold):
    """Return what NMS keeps, class by class, of candidates by falling score; data give their overlaps."""
    kept, gone = [], {}
    for one in candidates:
        if one["id"] in gone:
            continue
        kept.append(one)
        for other, overlap in one["over"]:  # worse ones of its class, and what they share, in thousandths
            if overlap > 1000 * iou_threshold:
                gone[other] = True
    return kept


def _draw_heat(picture, data):
    """Draw where in the image, on any map, a default box is over 0.05, over 0.2, and over 0.5."""
    rows = data["heat"]
    cell = SIDE / len(rows)
    for level, opacity in ((1, 0.2), (2, 0.35), (3, 0.55)):
        d = "".join(
            f"M{coordinate(LEFT + j * cell)} {coordinate(TOP + i * cell)}h{coordinate(cell)}v{coordinate(cell)}h-{coordinate(cell)}z"
            for i, row in enumerate(rows) for j, value in enumerate(row) if value == str(level)
        )
        if d:
            picture.path(d, "kernel", opacity=opacity)


def _draw_labels(picture, data, found):
    """Write what was found at the boxes, the best first; one that would hide another is left out."""
    written = []
    for one in found[:12]:
        x1, y1 = one["box"][0] / 1000, one["box"][1] / 1000
        words = data["classes"][one["class"]] + " " + number(one["score"] / FINE, 2)
        wide = 8.4 * len(words) + 6
        x = min(max(LEFT + SIDE * x1, LEFT), LEFT + SIDE - wide)
        y = max(TOP + SIDE * y1, TOP + 20)
        if any(abs(x - a) < (wide + w) / 2 + abs(wide - w) / 2 and abs(y - b) < 20 for a, b, w in written):
            continue
        written.append((x, y, wide))
        picture.rect(x, y - 20, wide, 20, "paper", opacity=0.85)
        picture.text(x + 3, y - 5, words, 14, "start", ROLES[one["class"] % 6], "700")


def _pipeline_in_words(data, step, counts, min_score, iou_threshold, most, chosen, final):
    classes, words = len(data["classes"]), f"Step {step}: "
    if step == 1:
        words += f"{number(data['boxes'])} default boxes with {classes} classes each, without background, are {number(counts[0])} scores; "
        words += "the more colour a place has, the surer is its best box: over 0.05, 0.2 or 0.5"
    elif step == 2:
        words += f"{number(counts[1])} of {number(counts[0])} scores are over {_short(min_score)}; all others are dropped"
    elif step == 3:
        words += f"the offsets move and stretch these {number(counts[2])} default boxes, and the image's border cuts them"
    elif step == 4:
        words += f"of each class the {data['limit']} best boxes go on, {number(counts[3])} in all"
    elif step == 5:
        words += f"in each class, a box that overlaps a better one by more than {_short(iou_threshold)} is dropped: "
        words += f"{number(counts[3] - counts[4])} go, {number(counts[4])} stay"
    else:
        words += f"the {number(len(final))} best boxes are the result" + (f", of {number(counts[4])}" if counts[4] > len(final) else "")
        said = [f"{data['classes'][one['class']]} {number(one['score'] / FINE, 2)}" for one in final[:6]]
        words += (": " + ", ".join(said) if said else ": nothing") + (", …" if len(final) > 6 else "")
    if step in (2, 3) and counts[3] < counts[1]:
        words += f" (drawn are {data['limit']} of a class at most)"
    return words + f". In the scene there are {len(data['objects'])} objects; the scores are {data['source']}."
