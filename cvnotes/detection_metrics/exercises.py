"""The exercises on metrics of detection: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.detection_metrics import formulas

_MATCH = "def match(overlaps, threshold):\n    "


def _match(overlaps, threshold):
    none = [False] * len(overlaps[0]) if overlaps else []
    return formulas.match(overlaps, none, none, threshold, "coco")


match = Exercise(
    name="match",
    stub=_MATCH + "# overlaps[i][j]: IoU of detection i with object j\n"
         "    # the detections stand by falling score; each takes the object\n"
         "    # that it overlaps most, of those that are left and that it\n"
         "    # overlaps by `threshold` or more\n"
         "    # return a list: the index of each one's object, or -1\n    ...\n",
    solution=_MATCH + """\
taken, found = set(), []
    for row in overlaps:
        best, most = -1, 0
        for j, overlap in enumerate(row):
            if j not in taken and overlap >= threshold and overlap > most:
                best, most = j, overlap
        found.append(best)
        taken.add(best)
    return found
""",
    cases=[([[0.8]], 0.5), ([[0.3]], 0.5), ([[0.5]], 0.5), ([[0.6, 0.8]], 0.5), ([[0.9], [0.8]], 0.5),
           ([[0.9, 0.2], [0.8, 0.6]], 0.5), ([[0.9, 0.6], [0.95, 0.55], [0.7, 0.9]], 0.5),
           ([[0.7, 0.6], [0.72, 0.3]], 0.65), ([[0.6], [0.8]], 0.7),
           ([[0.6, 0.7, 0.9], [0.6, 0.7, 0.8], [0.55, 0.6, 0.9]], 0.5)],
    expected=_match,
    wrong={
        "An object that is taken is gone: a second detection of it needs another one.": _MATCH + """\
found = []
    for row in overlaps:
        best = max(range(len(row)), key=lambda j: row[j])
        found.append(best if row[best] >= threshold else -1)
    return found
""",
        "It takes the object that it overlaps most, not the first that is near enough.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        best = -1
        for j, overlap in enumerate(row):
            if best < 0 and j not in taken and overlap >= threshold:
                best = j
        found.append(best)
        taken.add(best)
    return found
""",
        "Where the best object is taken, this rule goes on to the next best; yours gives up, as VOC's does.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        best = max(range(len(row)), key=lambda j: row[j])
        good = row[best] >= threshold and best not in taken
        found.append(best if good else -1)
        taken.add(best if good else -1)
    return found
""",
        "The best score chooses first, not the largest overlap.": _MATCH + """\
found, taken = [-1] * len(overlaps), set()
    pairs = [(-o, i, j) for i, row in enumerate(overlaps) for j, o in enumerate(row) if o >= threshold]
    for _, i, j in sorted(pairs):
        if found[i] < 0 and j not in taken:
            found[i] = j
            taken.add(j)
    return found
""",
        "Compare with the threshold that is given, not with 0.5.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        best, most = -1, 0
        for j, overlap in enumerate(row):
            if j not in taken and overlap >= 0.5 and overlap > most:
                best, most = j, overlap
        found.append(best)
        taken.add(best)
    return found
""",
        "A detection that overlaps too little takes nothing: its object is still there for the next one.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        left = [j for j in range(len(row)) if j not in taken]
        best = max(left, key=lambda j: row[j], default=-1)
        found.append(best if best >= 0 and row[best] >= threshold else -1)
        taken.add(best)
    return found
""",
        "Where its two best objects are taken, a detection goes on to the third.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        order = sorted(range(len(row)), key=lambda j: -row[j])[:2]
        order = [j for j in order if j not in taken and row[j] >= threshold]
        found.append(order[0] if order else -1)
        taken.add(found[-1])
    return found
""",
        "A threshold that is just reached counts.": _MATCH + """\
taken, found = set(), []
    for row in overlaps:
        best, most = -1, threshold
        for j, overlap in enumerate(row):
            if j not in taken and overlap > most:
                best, most = j, overlap
        found.append(best)
        taken.add(best)
    return found
""",
    },
    hint="Go through the detections in order, and remember which objects are taken.",
    notice="It is greedy. Another assignment could find more objects, but the detector has said what it trusts most.",
)

_AREA = "def all_points(hits, objects):\n    "


def _all_points(hits, objects):
    return formulas.average_precision(*formulas.precision_recall(hits, objects), "voc10")


all_points = Exercise(
    name="all_points",
    stub=_AREA + "# hits: True or False for each detection, by falling score;\n"
         "    # return VOC 2010's average precision\n    ...\n",
    solution=_AREA + """\
precision, found = [], 0
    for i, hit in enumerate(hits):
        found += hit
        precision.append(found / (i + 1))
    total = 0.0
    for i, hit in enumerate(hits):
        if hit:
            total += max(precision[i:]) / objects
    return total
""",
    cases=[([], 2), ([True], 1), ([True], 2), ([False, True], 1), ([True, False, True], 2),
           ([True, False, False, True, True, True], 5),
           ([False, True, False, True, True], 3)],
    expected=_all_points,
    wrong={
        "The share is of all objects, also of those that nobody finds.": _AREA + """\
precision, found = [], 0
    for i, hit in enumerate(hits):
        found += hit
        precision.append(found / (i + 1))
    own = [max(precision[i:]) for i, hit in enumerate(hits) if hit]
    return sum(own) / len(own) if own else 0.0
""",
        "Yours takes the precision as it is there; the envelope takes the best one there or later.": _AREA + """\
total, found = 0.0, 0
    for i, hit in enumerate(hits):
        found += hit
        if hit:
            total += found / (i + 1) / objects
    return total
""",
        "Only a hit moves the recall; a miss adds nothing.": _AREA + """\
precision, found = [], 0
    for i, hit in enumerate(hits):
        found += hit
        precision.append(found / (i + 1))
    return sum(max(precision[i:]) for i in range(len(hits))) / objects
""",
        "The best precision there or later, not the best so far.": _AREA + """\
precision, found = [], 0
    for i, hit in enumerate(hits):
        found += hit
        precision.append(found / (i + 1))
    return sum(max(precision[:i + 1]) for i, hit in enumerate(hits) if hit) / objects
""",
    },
    hint="Each hit moves the recall by 1 / objects. There the envelope is the largest precision from that place on.",
    notice="Misses after the last hit cost nothing: average precision can't see them.",
)

_ELEVEN = "def eleven_points(recall, precision):\n    "


def _eleven_points(recall, precision):
    return formulas.average_precision(recall, precision, "voc07")


eleven_points = Exercise(
    name="eleven_points",
    stub=_ELEVEN + "# two lists, a point for each detection\n    # return VOC 2007's average precision\n    ...\n",
    solution=_ELEVEN + """\
total = 0.0
    for i in range(11):
        total += max([p for r, p in zip(recall, precision) if r >= i / 10] or [0.0])
    return total / 11
""",
    cases=[([], []), ([1.0], [1.0]), ([0.5], [1.0]), ([0.3], [1.0]), ([0.0, 0.5], [0.0, 0.5]), ([0.25, 0.5, 0.5], [1.0, 1.0, 0.75]),
           ([0.2, 0.2, 0.4, 0.6], [1.0, 0.5, 0.6, 0.75])],
    expected=_eleven_points,
    wrong={
        "There are eleven points from 0 to 1; yours leaves one out.": _ELEVEN + """\
total = 0.0
    for i in range(1, 11):
        total += max([p for r, p in zip(recall, precision) if r >= i / 10] or [0.0])
    return total / 10
""",
        "A point that is just reached counts: r ≥ t.": _ELEVEN + """\
total = 0.0
    for i in range(11):
        total += max([p for r, p in zip(recall, precision) if r > i / 10] or [0.0])
    return total / 11
""",
        "In floating point 3 · 0.1, and 0.1 + 0.1 + 0.1, are a little more than 0.3; 3 / 10 is 0.3.": _ELEVEN + """\
total = 0.0
    for i in range(11):
        total += max([p for r, p in zip(recall, precision) if r >= i * 0.1] or [0.0])
    return total / 11
""",
        "Points that the recall never reaches count as 0; yours leaves them out of the mean.": _ELEVEN + """\
reached = [[p for r, p in zip(recall, precision) if r >= i / 10] for i in range(11)]
    reached = [max(values) for values in reached if values]
    return sum(reached) / len(reached) if reached else 0.0
""",
        "The best precision at this recall or beyond, not the first that comes.": _ELEVEN + """\
total = 0.0
    for i in range(11):
        total += ([p for r, p in zip(recall, precision) if r >= i / 10] or [0.0])[0]
    return total / 11
""",
    },
    hint="For each of 0, 0.1, … 1: the largest precision among the points whose recall is at least that.",
    notice="A detector that finds one object of ten, first, already has 2 of 11 points. 101 points are closer to the area.",
)

_OUTCOME = 'def outcome(object_area, detection_area, least, most):\n    '


def _outcome(object_area, detection_area, least, most):
    if object_area is not None:
        return "hit" if least <= object_area <= most else "left out"
    return "miss" if least <= detection_area <= most else "left out"


outcome = Exercise(
    name="outcome",
    stub=_OUTCOME + "# object_area: the area of the object that the detection takes,\n"
         "    # or None where it takes none\n"
         '    # return "hit", "miss" or "left out", for objects of\n    # `least` to `most` square pixels\n    ...\n',
    solution=_OUTCOME + """\
if object_area is not None:
        return "hit" if least <= object_area <= most else "left out"
    return "miss" if least <= detection_area <= most else "left out"
""",
    cases=[(500, 500, 0, 1024), (None, 500, 0, 1024), (2000, 2000, 0, 1024), (None, 2000, 0, 1024),
           (1000, 1100, 0, 1024), (1100, 1000, 0, 1024), (1024, 900, 0, 1024), (1024, 900, 1024, 9216),
           (None, 1024, 1024, 9216), (500, 2000, 1024, 9216), (None, 500, 1024, 9216)],
    expected=_outcome,
    wrong={
        "Where an object is taken, its own area decides, not that of the detection.": _OUTCOME + """\
if not least <= detection_area <= most:
        return "left out"
    return "miss" if object_area is None else "hit"
""",
        "A detection of another size that takes nothing is no miss here: it is left out.": _OUTCOME + """\
if object_area is None:
        return "miss"
    return "hit" if least <= object_area <= most else "left out"
""",
        "An object of another size is left out, and so is the detection that takes it: it is no miss.": _OUTCOME + """\
if object_area is not None and least <= object_area <= most:
        return "hit"
    return "miss" if least <= detection_area <= most else "left out"
""",
        "A range has two ends: an area below `least` is out of it too.": _OUTCOME + """\
if object_area is not None:
        return "hit" if object_area <= most else "left out"
    return "miss" if detection_area <= most else "left out"
""",
        "A detection that takes nothing and is smaller than `least` is left out.": _OUTCOME + """\
if object_area is not None:
        return "hit" if least <= object_area <= most else "left out"
    return "miss" if detection_area <= most else "left out"
""",
        "Both ends belong to the range.": _OUTCOME + """\
if object_area is not None:
        return "hit" if least <= object_area < most else "left out"
    return "miss" if least <= detection_area < most else "left out"
""",
    },
    hint="First ask whether it took an object. Then the area of that object decides; else its own.",
    notice="An object of exactly 32² is small and medium. So the sizes overlap, and AP is no mean of theirs.",
)

_CURVE = "import numpy as np\n\n\ndef curve(scores, hits, objects):\n    "


def _rankings():
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        (np.array([0.9]), np.array([True]), 2),
        (np.array([0.9, 0.5]), np.array([True, False]), 2),
        (np.array([0.5, 0.9]), np.array([True, False]), 1),
        (np.array([0.5, 0.5, 0.9]), np.array([True, False, False]), 1),
    ] + [(rng.integers(0, 5, n) / 4, rng.random(n) < 0.5, 6) for n in (4, 9, 40)]  # few equal scores stay in order in any sort


def _curve(scores, hits, objects):
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    return tuple(map(np.array, formulas.precision_recall(hits[order].tolist(), objects)))


curve = Exercise(
    name="curve",
    stub=_CURVE + "# scores (N,) and hits (N,) of bool, of all images, in any order\n"
         "    # return two arrays (N,): recall and precision after each\n"
         "    # detection, by falling score; equal scores keep their order\n    ...\n",
    solution=_CURVE + """\
found = hits[np.argsort(-scores, kind="stable")].cumsum()
    return found / objects, found / np.arange(1, len(hits) + 1)
""",
    cases=_rankings,
    expected=_curve,
    wrong={
        "First sort by falling score: the images' own order means nothing.": _CURVE + """\
found = hits.cumsum()
    return found / objects, found / np.arange(1, len(hits) + 1)
""",
        "An ascending order turned round also turns equal scores round.": _CURVE + """\
found = hits[np.argsort(scores, kind="stable")[::-1]].cumsum()
    return found / objects, found / np.arange(1, len(hits) + 1)
""",
        "The recall is a share of all objects, not of those that are found in the end.": _CURVE + """\
found = hits[np.argsort(-scores, kind="stable")].cumsum()
    return found / max(found[-1], 1), found / np.arange(1, len(hits) + 1)
""",
        "The first detection is the first of one: divide by 1, 2, 3, …, not by 0, 1, 2, …": _CURVE + """\
found = hits[np.argsort(-scores, kind="stable")].cumsum()
    with np.errstate(all="ignore"):
        return found / objects, found / np.arange(len(hits))
""",
        "The precision is a share of the detections so far, not of all.": _CURVE + """\
found = hits[np.argsort(-scores, kind="stable")].cumsum()
    return found / objects, found / len(hits)
""",
    },
    hint="One stable sort and one cumulative sum; then divide by the objects, and by 1, 2, 3, …",
    notice="For COCO's ten thresholds the sort is the same: only the hits differ. So `fast` sorts once.",
    plain=False,
)
