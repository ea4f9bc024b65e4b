"""The explorers of the chapter on boxes: plain Python on its formulas."""

from cvnotes.boxes import formulas
from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone
NAMES = {"IoU": "iou", "GIoU": "generalized", "DIoU": "distance", "CIoU": "complete"}

# --- two boxes ---------------------------------------------------------------------------

COLUMNS, ROWS, CELL = 16, 12, 20  # of the frame, and the units of a cell
LEFT, TOP = 40, 48  # of the frame: an arrow has room beside it
LONGEST = 34  # units of an arrow, however steep the slope
HALF = 0.05  # the slope whose arrow is half as long
SIDES = ("x1", "y1", "x2", "y2")
ZERO, UNIT = 270, 84  # where the bars of the measures begin, and how long 1 is


@explorer(
    measure=tuple(NAMES), x1=range(COLUMNS + 1), y1=range(ROWS + 1), x2=range(COLUMNS + 1), y2=range(ROWS + 1),
    target_x1=range(COLUMNS + 1), target_y1=range(ROWS + 1), target_x2=range(COLUMNS + 1), target_y2=range(ROWS + 1),
)
def two_boxes(measure="IoU", x1=2, y1=2, x2=8, y2=7, target_x1=5, target_y1=4, target_x2=12, target_y2=10):
    """A box and its target: the four measures, and where one of them pulls each side of the box."""
    a, b = (x1, y1, x2, y2), (target_x1, target_y1, target_x2, target_y2)
    kind, crossed = NAMES[measure], _crossed(a, b)
    picture = Picture(WIDTH, 444, f"Two boxes, their {measure} and its gradient")
    picture.text(8, 20, "box", 16, "start", "input", "700")
    picture.text(50, 20, "target", 16, "start", "output", "700")
    picture.text(392, 20, f"arrows raise {measure}", 15, "end", "kernel", "600")
    picture.cells(LEFT, TOP, ROWS, COLUMNS, CELL)
    if crossed:  # no measure, but something to drag back
        for box, role in ((b, "output"), (a, "input")):
            _outline(picture, (min(box[::2]), min(box[1::2]), max(box[::2]), max(box[1::2])), role, 2, dash="2 4")
        values = dict.fromkeys(NAMES)
    else:
        values = {name: formulas.measure(NAMES[name], a, b) for name in NAMES}
        slopes = formulas.gradient(kind, a, b)
        _draw_pair(picture, kind, a, b)
        _draw_slopes(picture, a, slopes)
    for box, role, names in ((b, "output", ["target_" + side for side in SIDES]), (a, "input", SIDES)):
        for i in (0, 2):
            drag = {"x": (names[i], LEFT, CELL), "y": (names[i + 1], TOP, CELL)}
            x, y = _place(box[i], box[i + 1])
            picture.circle(x, y, 8, role, "paper", 2, drag=drag, title="drag")
    _draw_measures(picture, values, measure)
    return picture.svg(), crossed or _two_boxes_in_words(a, b, measure, values, slopes)


def _crossed(a, b):
    """Return what to do where the corners of a box have changed places; an empty text where they have not."""
    for name, box in (("the box", a), ("the target", b)):
        for i, words in ((0, "left of"), (1, "above")):
            low, high = box[i], box[i + 2]
            if high < low:
                return (
                    f"This is no box: {SIDES[i + 2]} of {name} (={high}) lies {words} its {SIDES[i]} (={low}). "
                    f"Make {SIDES[i + 2]} at least {low}, or {SIDES[i]} at most {high}."
                )
    return ""


def _place(x, y):
    return LEFT + CELL * x, TOP + CELL * y


def _outline(picture, box, role, line, opacity=0.0, dash=None):
    x, y = _place(box[0], box[1])
    picture.rect(
        x, y, CELL * (box[2] - box[0]), CELL * (box[3] - box[1]), role, role, line, opacity=opacity, dash=dash
    )


def _draw_pair(picture, kind, a, b):
    """Draw both boxes, what they share, and what the measure looks at besides."""
    shared = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    if kind != "iou":
        _outline(picture, formulas.enclosing(a, b), "muted", 2, dash="6 4")
    _outline(picture, b, "output", 3, 0.15)
    _outline(picture, a, "input", 3, 0.15)
    if formulas.intersection(a, b):
        x, y = _place(shared[0], shared[1])
        picture.rect(x, y, CELL * (shared[2] - shared[0]), CELL * (shared[3] - shared[1]), "match", opacity=0.35)
    if kind in ("distance", "complete"):
        centres = [_place((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
        picture.line(*centres[0], *centres[1], "ink", 2)
        for centre in centres:
            picture.circle(*centre, 3, "ink")


def _draw_slopes(picture, a, slopes):
    """Draw an arrow at each side that has a slope; those of opposite sides stand apart."""
    w, h = a[2] - a[0], a[3] - a[1]
    starts = (
        _place(a[0], a[1] + h / 3), _place(a[0] + w / 3, a[1]),
        _place(a[2], a[1] + 2 * h / 3), _place(a[0] + 2 * w / 3, a[3]),
    )
    for i in range(4):
        steep = abs(slopes[i])
        if steep < 1e-9:  # what is left of rounding
            continue
        length = max(7, LONGEST * steep / (steep + HALF)) * (1 if slopes[i] > 0 else -1)
        x, y = starts[i]
        across = i % 2 == 0
        picture.arrow(x, y, x + length * across, y + length * (not across), "kernel", 3, 8)


def _draw_measures(picture, values, chosen):
    """Draw the four measures as bars from 0, each a choice; one that is None has no bar."""
    top = TOP + CELL * ROWS + 36
    picture.line(ZERO, top - 6, ZERO, top + 106, "faint", 1)
    for i, name in enumerate(values):
        y, value, here = top + 27 * i, values[name], name == chosen
        weight = "700" if here else None
        picture.text(10, y + 15, name, 16, "start", "kernel" if here else "ink", weight)
        if value is not None:
            picture.text(122, y + 15, _decimals(value), 16, "end", "ink", weight)
            length = abs(value) * UNIT
            picture.rect(
                ZERO if value >= 0 else ZERO - length, y + 2, length, 14, "kernel" if here else "padding",
                opacity=1 if here else 0.5,
            )
        picture.rect(2, y - 4, 396, 26, "paper", opacity=0, set={"measure": name}, title=f"the gradient of {name}")


def _decimals(x):
    """Return three decimals, without a sign where nothing is left."""
    text = number(x, 3)
    return "0.000" if text == "−0.000" else text


def _two_boxes_in_words(a, b, measure, values, slopes):
    shared = formulas.intersection(a, b)
    union = formulas.area(a) + formulas.area(b) - shared
    words = f"The boxes share {number(shared)} of the {number(union)} squares that they cover: "
    words += ", ".join(f"{name} {_decimals(values[name])}" for name in values) + ". "
    if all(abs(slope) < 1e-9 for slope in slopes):
        if shared:
            return words + f"No side can raise {measure} by moving a little."
        return words + f"The slope of {measure} is 0 on all four sides: it doesn't tell the box where to go."
    words += f"The slope of {measure} is "
    words += ", ".join(f"{_decimals(slopes[i])} in {SIDES[i]}" for i in range(4)) + "."
    if any(a[i] in (b[i % 2], b[i % 2 + 2]) for i in range(4)):
        words += " Two sides lie on one line, where the slope jumps: what is told is the mean of before and after."
    return words


# --- suppression -------------------------------------------------------------------------

# What a detector found in a crowd, by falling score: class, score, box, and where on its top edge its
# number stands, as a share of the edge.
SCENE = (
    ("person", 0.96, (16, 40, 86, 206), 0.35), ("horse", 0.94, (222, 84, 374, 210), 0.9),
    ("person", 0.91, (136, 34, 200, 200), 0.2), ("person", 0.86, (24, 28, 92, 202), 0.7),
    ("person", 0.82, (260, 26, 326, 160), 0.75), ("person", 0.77, (158, 46, 224, 206), 0.88),
    ("horse", 0.71, (232, 96, 384, 206), 0.5), ("person", 0.66, (56, 50, 120, 204), 0.82),
    ("person", 0.58, (128, 22, 196, 196), 0.7), ("person", 0.49, (252, 16, 330, 152), 0.25),
    ("cow", 0.42, (226, 92, 378, 214), 0.06), ("person", 0.33, (166, 58, 232, 212), 0.45),
)
COUNT = len(SCENE)
CLASSES = [thing[0] for thing in SCENE]
SCORES = [thing[1] for thing in SCENE]
BOXES = [thing[2] for thing in SCENE]
ROLES = {"person": "input", "horse": "output", "cow": "negative"}
METHODS = {"greedy": "greedy", "soft, linear": "linear", "soft, Gaussian": "gaussian"}
SIGMA, MIN_SCORE = 0.5, 0.001
SCENE_LEFT, SCENE_TOP = 4, 30
FLOOR, TALL, BAR = 388, 90, 32  # where the bars of scores stand, how high 1 is, how wide a bar has room
SEEN = 0.02  # a score that falls by less has no line


@explorer(
    kind=tuple(METHODS), threshold=tuple(i / 20 for i in range(1, 20)), class_wise=(False, True),
    step=range(COUNT + 1), play="step",
)
def nms_scene(kind="greedy", threshold=0.5, class_wise=False, step=12):
    """What suppression keeps of a crowd, box by box, and who suppressed whom."""
    walk = suppress(METHODS[kind], threshold, class_wise)
    shown = walk[:step]
    scores = list(SCORES)
    for _, falls in shown:
        for i, _, after in falls:
            scores[i] = after
    taken = [best for best, _ in shown]
    gone = [i for i in range(COUNT) if scores[i] < MIN_SCORE]
    picture = Picture(WIDTH, 424, f"Suppression of {COUNT} boxes, {kind}, after {len(shown)} steps")
    for x, name in zip((8, 76, 138), ROLES):
        picture.text(x, 20, name, 15, "start", ROLES[name], "700")
    picture.text(392, 20, f"{len(taken)} taken, {len(gone)} removed", 15, "end", weight="600")
    for i in range(COUNT):
        _draw_box(picture, i, scores[i] if i in taken else 0, i in gone, bool(taken) and i == taken[-1])
    for i, (best, falls) in enumerate(shown):
        d = ""
        for other, before, after in falls:
            if before - after >= SEEN:
                (x, y), (to_x, to_y) = label_of(best), label_of(other)
                d += f"M{coordinate(x)} {coordinate(y)}L{coordinate(to_x)} {coordinate(to_y)}"
        if d:
            last = i == len(shown) - 1
            picture.path(d, "none", "kernel" if last else "ignore", 3 if last else 1.5)
    for i in range(COUNT):
        x, y = label_of(i)
        role = ROLES[CLASSES[i]]
        picture.circle(x, y, 10, role if i in taken else "paper", role, 1.5)
        picture.text(x, y + 5, str(i + 1), 14, fill="paper" if i in taken else "ink", weight="600")
    _draw_scores(picture, scores, taken, gone)
    return picture.svg(), _nms_in_words(kind, threshold, class_wise, step, walk, scores, taken, gone)


def suppress(method, threshold, class_wise):
    """Return the steps of suppression: for each the box that is taken, and the scores that fall then.

    A fall is (index, score before, score after); greedy NMS lets scores fall to 0.

    >>> suppress("greedy", 0.5, False)[0]
    (0, [(3, 0.86, 0.0)])
    """
    scores, left, steps = list(SCORES), list(range(COUNT)), []
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        if scores[best] < MIN_SCORE:
            break
        left.remove(best)
        falls = []
        for i in left:
            overlap = formulas.iou(BOXES[best], BOXES[i])
            if class_wise and CLASSES[i] != CLASSES[best] or not overlap:
                continue
            if method == "greedy":
                factor = 0.0 if overlap > threshold else 1.0
            else:
                factor = formulas.decay(overlap, method, threshold, SIGMA)
            if factor < 1 and scores[i]:
                falls.append((i, scores[i], scores[i] * factor))
                scores[i] = scores[i] * factor
        steps.append((best, falls))
    return steps


def label_of(i):
    """Return where in the picture the number of a box stands."""
    x1, y1, x2, _ = BOXES[i]
    return SCENE_LEFT + x1 + SCENE[i][3] * (x2 - x1), SCENE_TOP + y1


def _draw_box(picture, i, score, gone, last):
    """Draw a box, the thicker the higher the score that it was taken with."""
    x1, y1, x2, y2 = BOXES[i]
    picture.rect(
        SCENE_LEFT + x1, SCENE_TOP + y1, x2 - x1, y2 - y1, ROLES[CLASSES[i]] if last else "none",
        "padding" if gone else ROLES[CLASSES[i]], 1.5 + 2.5 * score, opacity=0.15,
        dash="3 4" if gone else None,
    )


def _draw_scores(picture, scores, taken, gone):
    """Draw the scores as bars, with what they were before; beneath, the numbers of the boxes."""
    picture.text(8, 272, "scores", 15, "start", "muted")
    for i in range(COUNT):
        x = 8 + BAR * i
        before, now = TALL * SCORES[i], TALL * (0 if i in gone else scores[i])
        role = ROLES[CLASSES[i]]
        picture.rect(x, FLOOR - before, BAR - 8, before, "none", "padding", 1)
        if now:
            picture.rect(x, FLOOR - now, BAR - 8, now, role, opacity=1 if i in taken else 0.4)
        weight = "700" if i in taken else None
        picture.text(x + 12, FLOOR + 18, str(i + 1), 14, fill="muted" if i in gone else role, weight=weight)


def _nms_in_words(kind, threshold, class_wise, step, walk, scores, taken, gone):
    words = "1 box taken" if len(taken) == 1 else f"{len(taken)} boxes taken"
    if taken:
        words += " (" + ", ".join(str(i + 1) for i in taken) + ")"
    words += f" and {len(gone)} removed of {COUNT}"
    words += ", each class by itself. " if class_wise else ", classes mixed. "
    if kind == "soft, Gaussian":
        words += f"Scores fall by exp(−IoU² / {number(SIGMA, 1)}); the threshold plays no part. "
    elif kind == "greedy":
        words += f"A box goes where its IoU with one that is taken is over {number(threshold, 2)}. "
    else:
        words += f"Scores fall by 1 − IoU where the IoU is over {number(threshold, 2)}. "
    if step > len(walk):
        return words + f"All is done after {len(walk)} steps."
    if not step:
        return words + "Nothing has been done yet."
    best, falls = walk[step - 1]
    words += f"Step {step} takes box {best + 1}, {number(scores[best], 3)}"
    told = [fall for fall in falls if fall[1] - fall[2] >= SEEN]
    if not told:
        return words + "; no score falls by 0.02 or more."
    if kind == "greedy":
        pairs = [f"{i + 1} (IoU {number(formulas.iou(BOXES[best], BOXES[i]), 3)})" for i, _, _ in told]
        return words + ", and suppresses " + ", ".join(pairs) + "."
    return words + ": " + ", ".join(f"{i + 1} from {number(a, 3)} to {number(b, 3)}" for i, a, b in told) + "."
