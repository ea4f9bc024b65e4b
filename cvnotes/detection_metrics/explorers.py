"""The explorers of the chapter on metrics of detection: plain Python on its formulas."""

from cvnotes.detection_metrics import formulas
from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone
NAMES = {"VOC07": "voc07", "VOC10": "voc10", "COCO": "coco"}
READ = {"VOC07": "the mean of 11 points", "VOC10": "the area", "COCO": "the mean of 101 points"}

# --- the threshold walks -----------------------------------------------------------------

# Detections by falling score, + for a hit and − for a miss, and how many objects there are to be found.
RANKINGS = {
    "good": ("++++-++-+-+--+------", 10),
    "sure of its misses": ("---++++-++-+-+-+----", 10),
    "finds half": ("+++-+-+-------------", 10),
    "four objects": ("+-+--+-----------+--", 4),
}
DETECTIONS = 20
SCORES = [(97 - 4 * i) / 100 for i in range(DETECTIONS)]
LEFT, PITCH = 10, 19  # of the list of detections
PLOT, RIGHT, ROOF, FLOOR = 46, 386, 104, 304  # the plot: left, right, top, bottom
ROW = 28  # units of a figure with its bar
BAR, UNIT = 164, 222  # where bars begin, and how long 1 is


@explorer(ranking=tuple(RANKINGS), step=range(DETECTIONS + 1), interpolation=tuple(NAMES), play="step")
def threshold_walk(ranking="good", step=12, interpolation="VOC10"):
    """A threshold walks down the list of scores while the curve of precision and recall grows."""
    marks, objects = RANKINGS[ranking]
    hits = [mark == "+" for mark in marks[:step]]
    recall, precision = formulas.precision_recall(hits, objects)
    values = {name: formulas.average_precision(recall, precision, NAMES[name]) for name in NAMES}
    picture = Picture(WIDTH, 444, f"Precision and recall of the first {step} of {DETECTIONS} detections")
    _draw_list(picture, marks, step)
    _draw_axes(picture)
    _draw_read(picture, recall, formulas.envelope(precision), interpolation)
    if step:
        picture.curve([_point(r, p) for r, p in zip(recall, precision)], "input", 2)
    for i in range(step):
        x, y = _point(recall[i], precision[i])
        last = i == step - 1
        picture.circle(x, y, 6 if last else 3.5, "output" if hits[i] else "negative", "paper", 1.5 if last else 0.5)
    for i, name in enumerate(NAMES):
        _draw_figure(picture, 358 + ROW * i, name, values[name], name == interpolation, {"interpolation": name})
    return picture.svg(), _walk_in_words(objects, step, hits, recall, precision, interpolation, values)


def _point(recall, precision):
    return PLOT + (RIGHT - PLOT) * recall, FLOOR - (FLOOR - ROOF) * precision


def _draw_list(picture, marks, step):
    """Draw the detections by falling score, and the threshold after the last that counts; it can be dragged."""
    picture.text(LEFT, 20, f"score from {number(SCORES[step - 1], 2)} up" if step else "no score is enough",
                 16, "start", weight="700")
    picture.text(252, 20, "hit", 15, "start", "output", "600")
    picture.text(284, 20, "miss", 15, "start", "negative", "600")
    picture.text(390, 20, f"{step} of {DETECTIONS}", 15, "end", "muted")
    for i in range(DETECTIONS):
        hit = marks[i] == "+"
        picture.rect(
            LEFT + PITCH * i + 2, 34, 15, 22, "output" if hit else "negative", opacity=1 if i < step else 0.25,
            set={"step": i + 1}, title=f"{'hit' if hit else 'miss'}, {number(SCORES[i], 2)}",
        )
    x = LEFT + PITCH * step
    picture.line(x, 28, x, 66, "ink", 2)
    picture.circle(x, 70, 8, "ink", "paper", 2, drag={"x": ("step", LEFT, PITCH)}, title="drag")


def _draw_axes(picture):
    d = ""
    for i in range(5):
        x, y = _point(i / 4, i / 4)
        d += f"M{coordinate(x)} {ROOF}V{FLOOR}M{PLOT} {coordinate(y)}H{RIGHT}"
    picture.path(d, "none", "faint", 1)
    for value, words in ((0, "0"), (0.5, "0.5"), (1, "1")):
        x, y = _point(value, value)
        picture.text(x, FLOOR + 18, words, 14, fill="muted")
        picture.text(PLOT - 8, y + 5, words, 14, "end", "muted")
    picture.text(PLOT - 36, ROOF - 10, "precision", 14, "start", "muted")
    picture.text((PLOT + 3 * RIGHT) / 4, FLOOR + 18, "recall", 14, fill="muted")


def _draw_read(picture, recall, highest, interpolation):
    """Draw the envelope, and what an interpolation reads of it: the area, or its points."""
    if not recall:
        return
    d, before = "", 0
    for i in range(len(recall)):
        if recall[i] > before or not d:
            (x, y), (to, _) = _point(before, highest[i]), _point(recall[i], 0)
            d += f"{'L' if d else 'M'}{coordinate(x)} {coordinate(y)}H{coordinate(to)}"
            before = recall[i]
    if interpolation == "VOC10":
        picture.path(f"{d}V{FLOOR}H{PLOT}z", "kernel", opacity=0.25)
    picture.path(f"{d}V{FLOOR}", "none", "kernel", 2.5)
    if interpolation == "VOC10":
        return
    i, lines = 0, ""
    for point in formulas.recall_points(NAMES[interpolation]):
        while i < len(recall) and recall[i] < point:
            i += 1
        x, y = _point(point, highest[i] if i < len(recall) else 0)
        if interpolation == "VOC07":
            picture.rect(x - 4.5, y - 4.5, 9, 9, "kernel", "paper", 1)
        if y < FLOOR:
            lines += f"M{coordinate(x)} {coordinate(y)}V{FLOOR}"
    if lines:
        picture.path(lines, "none", "kernel", 1)


def _draw_figure(picture, y, name, value, here, choice=None):
    """Draw a figure of a paper with its bar; a click on it makes the `choice`."""
    weight = "700" if here else None
    picture.text(10, y, name, 16, "start", "kernel" if here else "ink", weight)
    picture.text(140, y, number(value, 3), 16, "end", "ink", weight)
    picture.rect(BAR, y - 13, UNIT, 14, "faint", opacity=0.35)
    if value:
        picture.rect(BAR, y - 13, UNIT * value, 14, "kernel" if here else "padding", opacity=1 if here else 0.6)
    if choice:
        picture.rect(2, y - 20, 396, 27, "paper", opacity=0, set=choice, title=READ[name])


def _walk_in_words(objects, step, hits, recall, precision, interpolation, values):
    if not step:
        return f"No detection counts yet: recall 0 of {objects} objects, and average precision 0."
    found = sum(hits)
    words = f"{_some(step, 'detection')} with a score from {number(SCORES[step - 1], 2)} up: {_some(found, 'hit')}, "
    words += f"precision {found} / {step} = {number(precision[-1], 3)}, "
    words += f"recall {found} / {objects} = {number(recall[-1], 3)}. Average precision so far: "
    words += ", ".join(f"{name} {number(values[name], 3)}" for name in NAMES) + f". {interpolation} reads "
    if interpolation == "VOC10":
        return words + "the area under the envelope."
    points = formulas.recall_points(NAMES[interpolation])
    reached = len([point for point in points if point <= recall[-1]])
    return words + f"the envelope at {len(points)} recalls; {reached} of them are reached, the others count 0."


def _some(count, word):
    return f"1 {word}" if count == 1 else f"{count} {word}s"


# --- three papers ------------------------------------------------------------------------

OBJECTS = (
    (26, 24, 96, 120), (130, 26, 190, 96), (232, 20, 286, 70), (324, 36, 374, 140), (40, 140, 130, 186),
    (94, 146, 184, 192), (240, 108, 280, 148), (294, 172, 306, 184),
)
# What was found, by falling score: score, object (or a box that holds none), where it is shifted to, and by
# how many percent of its sides it was placed wrong to begin with.
FOUND = (
    (0.97, 0, (1, 0), 2), (0.93, 3, (-1, 0), 4), (0.90, 1, (0, 1), 3), (0.84, (196, 130, 228, 190), (0, -1), 0),
    (0.80, 4, (0, -1), 6), (0.75, 0, (-0.7, 0.7), 7), (0.69, 2, (0, 1), 8), (0.63, 5, (-1, 0), 10),
    (0.57, (284, 26, 324, 60), (-1, 0), 0), (0.52, 6, (1, 0), 12), (0.44, 7, (0, -1), 15), (0.36, 1, (1, 0), 14),
)
SHIFTED = {  # the places in the list
    "all": tuple(range(12)), "the surest half": tuple(range(6)), "the least sure half": tuple(range(6, 12)),
}
SCENE_LEFT, SCENE_TOP = 8, 30
BASE, TALL, COLUMN = 430, 68, 38  # of the ten bars of COCO: where they stand, how high 1 is, how wide


@explorer(
    shift=range(0, 41), shifted=tuple(SHIFTED), iou_threshold=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    plus_one=(False, True), play="shift",
)
def three_papers(shift=10, shifted="all", iou_threshold=0.5, plus_one=False):
    """The same detections, scored as VOC 2007, VOC 2010 and COCO do; the first two at one IoU, with or without +1."""
    found = detections(shift, shifted)
    overlaps = _overlaps(found, 1 if plus_one else 0)
    hits = _hits(overlaps, iou_threshold, "voc")
    curve = formulas.precision_recall(hits, len(OBJECTS))
    voc07, voc10 = (formulas.average_precision(*curve, name) for name in ("voc07", "voc10"))
    if plus_one:
        overlaps = _overlaps(found, 0)  # COCO has no +1
    each = coco_by_threshold(overlaps)
    coco = sum(each) / len(each)
    picture = Picture(WIDTH, 456, f"{len(FOUND)} detections of {len(OBJECTS)} objects, scored by three papers")
    _draw_scene(picture, found, hits)
    for i, (name, value) in enumerate((("VOC07", voc07), ("VOC10", voc10), ("COCO", coco))):
        _draw_figure(picture, 268 + ROW * i, name, value, name == "COCO")
    for i in range(10):
        x = 10 + COLUMN * i
        picture.rect(x, BASE - TALL, COLUMN - 6, TALL, "faint", opacity=0.35)
        if each[i]:
            picture.rect(x, BASE - TALL * each[i], COLUMN - 6, TALL * each[i], "kernel", title=number(each[i], 3))
        picture.text(x + 16, BASE + 18, number(formulas.IOU_THRESHOLDS[i], 2)[1:], 14, fill="muted")
    picture.text(10, BASE - TALL - 12, "COCO at each IoU", 15, "start", "kernel", "600")
    return picture.svg(), _papers_in_words(shift, shifted, iou_threshold, plus_one, hits, (voc07, voc10, coco), each)


def detections(shift, shifted):
    """Return the boxes that were found, by falling score, with those of `SHIFTED` moved by `shift` percent more.

    >>> detections(0, "all")[0]         # object 0, 70 wide, by 2 percent to the right
    (27.4, 24.0, 97.4, 120.0)
    """
    boxes = []
    for i, (_, thing, (right, down), off) in enumerate(FOUND):
        x1, y1, x2, y2 = OBJECTS[thing] if isinstance(thing, int) else thing
        share = (off + (shift if i in SHIFTED[shifted] else 0)) / 100
        dx, dy = right * share * (x2 - x1), down * share * (y2 - y1)
        boxes.append((x1 + dx, y1 + dy, x2 + dx, y2 + dy))
    return boxes


def _overlaps(found, more):
    """Return the overlap of each detection with each object, of boxes that are `more` pixels wider and higher."""
    things, rows = [(x1, y1, x2 + more, y2 + more) for x1, y1, x2, y2 in OBJECTS], []
    for x1, y1, x2, y2 in found:
        box = x1, y1, x2 + more, y2 + more
        rows.append([  # most are apart, and that is seen sooner
            formulas.overlap(box, thing)
            if thing[0] < box[2] and box[0] < thing[2] and thing[1] < box[3] and box[1] < thing[3] else 0.0
            for thing in things
        ])
    return rows


def _hits(overlaps, threshold, matching):
    no = [False] * len(OBJECTS)
    return [j >= 0 for j in formulas.match(overlaps, no, no, threshold, matching)]


def coco_by_threshold(overlaps):
    """Return COCO's average precision at each of its ten thresholds; where as many overlaps pass, it is the same."""
    reached = [overlap for row in overlaps for overlap in row if overlap >= formulas.IOU_THRESHOLDS[0]]
    known, values = {0: 0.0}, []
    for threshold in formulas.IOU_THRESHOLDS:
        passing = len([overlap for overlap in reached if overlap >= threshold])
        if passing not in known:
            curve = formulas.precision_recall(_hits(overlaps, threshold, "coco"), len(OBJECTS))
            known[passing] = formulas.average_precision(*curve, "coco")
        values.append(known[passing])
    return values


def _draw_scene(picture, found, hits):
    picture.text(8, 20, "objects", 15, "start", "ink", "600")
    picture.text(76, 20, "hits", 15, "start", "output", "700")
    picture.text(116, 20, "misses", 15, "start", "negative", "700")
    picture.text(392, 20, f"{sum(hits)} of {len(OBJECTS)} found", 15, "end", weight="600")
    for x1, y1, x2, y2 in OBJECTS:
        picture.rect(SCENE_LEFT + x1, SCENE_TOP + y1, x2 - x1, y2 - y1, "faint", "ink", 1.5, opacity=0.5, dash="4 3")
    for i in range(len(found)):
        x1, y1, x2, y2 = found[i]
        picture.rect(
            SCENE_LEFT + x1, SCENE_TOP + y1, x2 - x1, y2 - y1, "none", "output" if hits[i] else "negative", 3,
            title=f"score {number(FOUND[i][0], 2)}",
        )


def _papers_in_words(shift, shifted, iou_threshold, plus_one, hits, values, each):
    which = "All boxes are" if shifted == "all" else f"{shifted[0].upper()}{shifted[1:]} of the boxes is"
    words = f"{which} shifted by {shift}% of their sides. " if shift else "No box is shifted. "
    pixels = ", with a pixel added to each side" if plus_one else ""
    words += f"From an IoU of {number(iou_threshold, 1)} on{pixels}, {len(FOUND)} detections find {sum(hits)} of "
    words += f"{len(OBJECTS)} objects: VOC07 {number(values[0], 3)}, VOC10 {number(values[1], 3)}. "
    words += f"COCO's mean over ten IoUs is {number(values[2], 3)}: "
    return words + f"{number(each[0], 3)} at 0.50, {number(each[5], 3)} at 0.75, {number(each[9], 3)} at 0.95."
