"""The exercises of the chapter on SSD."""

from cvnotes.checking import Exercise
from cvnotes.ssd import formulas

_COUNT = "def count_boxes(sides, ratios):\n    "

count_boxes = Exercise(
    name="count_boxes",
    stub=_COUNT + "# sides: of each square map; ratios: of each map, how many\n"
         "    # aspect ratios beside 1, where r and 1/r count once;\n"
         "    # return how many default boxes there are\n    ...\n",
    solution=_COUNT + "return sum(n * n * (2 + 2 * r) for n, r in zip(sides, ratios))\n",
    cases=[([1], [0]), ([1], [1]), ([2], [1]), ([3, 1], [1, 1]), ([5, 3], [2, 1]), ([38, 19, 10, 5, 3, 1], [1, 2, 2, 2, 1, 1])],
    expected=lambda sides, ratios: sum(
        len(formulas.box_sizes(1, 1, range(2, 2 + r))) * n * n for n, r in zip(sides, ratios)
    ),
    wrong={
        "There are two squares in each place: one of s, and one of √(s·s′).": _COUNT + """\
return sum(n * n * (1 + 2 * r) for n, r in zip(sides, ratios))
""",
        "Each ratio stands for two boxes, r and 1/r.": _COUNT + """\
return sum(n * n * (2 + r) for n, r in zip(sides, ratios))
""",
        "A map of n × n has n² places.": _COUNT + """\
return sum(n * (2 + 2 * r) for n, r in zip(sides, ratios))
""",
    },
    hint="In each of n² places stand two squares, and two boxes for each ratio.",
    notice="Of SSD300's 8,732 boxes two thirds stand on the first map, which is there for small objects.",
)

_SHAPE = "from math import sqrt\n\n\ndef shape(scale, ratio):\n    "

shape = Exercise(
    name="shape",
    stub=_SHAPE + "# return the tuple (w, h) of the default box with w / h = ratio\n    # and with the area of a square of side `scale`\n    ...\n",
    solution=_SHAPE + "return scale * sqrt(ratio), scale / sqrt(ratio)\n",
    cases=[(0.5, 1), (0.5, 4), (0.2, 2), (0.9, 1 / 3)],
    expected=lambda scale, ratio: formulas.box_sizes(scale, scale, (ratio,))[2],
    wrong={
        "The area grows with the ratio: both sides must change, one by √r, the other by 1/√r.": _SHAPE + """\
return scale * ratio, scale
""",
        "With r and 1/r the quotient w / h is r², not r.": _SHAPE + """\
return scale * ratio, scale / ratio
""",
        "The ratio is w / h: more than 1 is wide.": _SHAPE + """\
return scale / sqrt(ratio), scale * sqrt(ratio)
""",
    },
    hint="w·h = scale² and w / h = ratio: multiply the two, and take the root.",
    notice="But for the second square, which is larger, all boxes of a map have one area. The shape is another question.",
)

_MATCH = "def match(overlaps, threshold):\n    "
_FIRST = """\
index = []
    for column in zip(*overlaps):
        best = max(column)
        """
_OWN = """index.append(column.index(best) if best >= threshold else -1)
    """



def _matched(overlaps, threshold):
    """Return the object of each default box: the last one whose best box it is, else its best one over the threshold."""
    found = []
    for d in range(len(overlaps[0])):
        own = [row[d] for row in overlaps]
        forced = [j for j, row in enumerate(overlaps) if row.index(max(row)) == d]
        found.append(forced[-1] if forced else own.index(max(own)) if max(own) >= threshold else -1)
    return found


match = Exercise(
    name="match",
    stub=_MATCH + "# overlaps[j][d] is the IoU of object j and default box d;\n"
         "    # return a list: for each default box the index of its object, or -1;\n"
         "    # of equal overlaps the first one counts; where two objects have\n"
         "    # the same best box, the later one keeps it\n    ...\n",
    solution=_MATCH + _FIRST + _OWN + """for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    return index
""",
    cases=[
        ([[0.6]], 0.5), ([[0.2]], 0.5), ([[0.05, 0.1]], 0.5), ([[0.0, 0.0]], 0.5), ([[0.1, 0.3, 0.2]], 0.5), ([[0.7, 0.6, 0.1]], 0.5),
        ([[0.7, 0.5, 0.1]], 0.5), ([[0.4, 0.35]], 0.3), ([[0.8, 0.6], [0.1, 0.7]], 0.5), ([[0.2, 0.1], [0.3, 0.1]], 0.5),
        ([[0.6, 0.6], [0.6, 0.6]], 0.5), ([[0.4, 0.1], [0.6, 0.9]], 0.5), ([[0.9, 0.1], [0.4, 0.3]], 0.5),
        ([[0.9, 0.55, 0.1], [0.8, 0.4, 0.1]], 0.5), ([[0.9, 0.1, 0.1], [0.8, 0.1, 0.6]], 0.5),
    ],
    expected=_matched,
    wrong={
        "The second rule is missing: the best default box of each object takes it, however small the overlap.": _MATCH + _FIRST + _OWN + """return index
""",
        "An IoU that is the threshold itself is enough.": _MATCH + _FIRST + """index.append(column.index(best) if best > threshold else -1)
    for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    return index
""",
        "Not only the best box of an object: all with an overlap from the threshold on match too.": _MATCH + """\
index = [-1] * len(overlaps[0])
    for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    return index
""",
        "The objects' own best boxes come last, over what the threshold gave.": _MATCH + """\
index = [-1] * len(overlaps[0])
    for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    for d, column in enumerate(zip(*overlaps)):
        if max(column) >= threshold:
            index[d] = column.index(max(column))
    return index
""",
        "The threshold is an argument, not always 0.5.": _MATCH + _FIRST + """index.append(column.index(best) if best >= 0.5 else -1)
    for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    return index
""",
        "The second rule has no threshold: an object takes its best box with any overlap, even 0.": _MATCH + _FIRST + _OWN + """\
for j, row in enumerate(overlaps):
        if max(row) > 0.1:
            index[row.index(max(row))] = j
    return index
""",
        "The second rule is for every object, also for one that the first has given a box.": _MATCH + _FIRST + _OWN + """\
for j, row in enumerate(overlaps):
        if j not in index:
            index[row.index(max(row))] = j
    return index
""",
        "Go through all default boxes first, and only then through the objects: not both in one loop.": _MATCH + """\
index, most = [-1] * len(overlaps[0]), [-1] * len(overlaps[0])
    for j, row in enumerate(overlaps):
        for d, overlap in enumerate(row):
            if overlap >= threshold and overlap > most[d]:
                index[d], most[d] = j, overlap
        index[row.index(max(row))] = j
    return index
""",
        "Each default box goes to the object that it overlaps most, not to the last one over the threshold.": _MATCH + """\
index = [-1] * len(overlaps[0])
    for j, row in enumerate(overlaps):
        for d, overlap in enumerate(row):
            if overlap >= threshold:
                index[d] = j
    for j, row in enumerate(overlaps):
        index[row.index(max(row))] = j
    return index
""",
    },
    hint="First every default box, by its best object and the threshold. Then every object, by its best default box.",
    notice="A small object may reach the threshold with no default box. Without the second rule it would be background.",
)


_MINE = "def mine(losses, positive, ratio):\n    "



def _mined(losses, positive, ratio):
    """Return the negatives that fewer than ratio·P others come before: with a larger loss, or as large and earlier."""
    others = [i for i in range(len(losses)) if not positive[i]]
    before = {i: len([j for j in others if losses[j] > losses[i] or (losses[j] == losses[i] and j < i)]) for i in others}
    return [i for i in others if before[i] < ratio * sum(positive)]


mine = Exercise(
    name="mine",
    stub=_MINE + "# losses and positive (True or False), of the boxes of one image;\n"
         "    # return a sorted list: the indices of the negatives that count;\n"
         "    # of equal losses the first one counts\n    ...\n",
    solution=_MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return sorted(negatives[:ratio * sum(positive)])
""",
    cases=[
        ([1.0, 0.0], [True, False], 3), ([0.5, 1.0, 2.0], [True, False, False], 1), ([5.0, 1.0, 2.0, 3.0], [True, False, False, False], 2),
        ([0.1, 3.0, 0.0, 2.0], [True, False, False, False], 3), ([0.1, 1.0, 2.0, 3.0, 0.5], [True, False, False, False, False], 3),
        ([9.0, 8.0, 0.1, 0.2], [True, True, False, False], 1), ([0.0, 1.0, 1.0, 1.0], [True, False, False, False], 2),
        ([1.0, 2.0], [False, False], 3),
    ],
    expected=_mined,
    wrong={
        "Three times as many as there are positives, not three.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return sorted(negatives[:ratio])
""",
        "The hardest are those with the largest loss.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (losses[i], i))
    return sorted(negatives[:ratio * sum(positive)])
""",
        "Ratio times the positives is the number of negatives alone, not of both together.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return sorted(negatives[:(ratio - 1) * sum(positive)])
""",
        "These are the right ones by their losses; now sort them by their indices.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return negatives[:ratio * sum(positive)]
""",
        "A loss of 0 may count too, where there is room.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i] and losses[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return sorted(negatives[:ratio * sum(positive)])
""",
        "Positives take no place among the negatives: leave them out before you sort.": _MINE + """\
order = sorted(range(len(losses)), key=lambda i: (-losses[i], i))
    return sorted(i for i in order[:ratio * sum(positive)] if not positive[i])
""",
        "An image without positives has no negatives that count: 3 · 0 = 0.": _MINE + """\
negatives = [i for i in range(len(losses)) if not positive[i]]
    negatives.sort(key=lambda i: (-losses[i], i))
    return sorted(negatives[:ratio * max(1, sum(positive))])
""",
    },
    hint="Sort the negatives by falling loss, and keep ratio · (number of positives) of them.",
    notice="Negatives that are right already, with a loss near 0, count only where there are not enough others.",
)


_LOSS = "import numpy as np\n\n\ndef multibox_loss(scores, offsets, labels, targets, kept):\n    "
_LOGS = """\
top = scores.max(1, keepdims=True)
    logs = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
    own = -logs[np.arange(len(labels)), labels]
    """
_AWAY = """\
away = np.abs(offsets - targets)[labels > 0]
    places = np.where(away < 1, away ** 2 / 2, away - 0.5).sum()
    """


def _batches():
    import numpy as np

    random = np.random.default_rng(0)
    cases = [
        (np.zeros((D, 2)), np.zeros((D, 4)), np.array([1, 1, 0, 0][:D]), np.full((D, 4), 3.0), np.array([True, True, True, False][:D]))
        for D in (3, 4)
    ]
    for D, C in ((5, 3), (12, 4)):
        labels = random.integers(0, C, D) * (random.random(D) < 0.4)
        labels[:2] = 1
        kept = (labels > 0) | (random.random(D) < 0.5)
        cases.append((3 * random.standard_normal((D, C)), random.standard_normal((D, 4)), labels, random.standard_normal((D, 4)), kept))
    cases.append((1000 * random.standard_normal((4, 3)), np.zeros((4, 4)), np.array([2, 0, 0, 1]), np.zeros((4, 4)), np.full(4, True)))
    cases.append((np.zeros((2, 2)), np.zeros((2, 4)), np.array([0, 0]), np.ones((2, 4)), np.array([False, False])))
    return cases


def _loss(scores, offsets, labels, targets, kept):
    total = sum(formulas.cross_entropy(scores[d].tolist(), int(labels[d])) for d in range(len(labels)) if kept[d])
    places = sum(formulas.smooth_l1(x) for d in range(len(labels)) if labels[d] for x in (offsets[d] - targets[d]).tolist())
    matched = max(1, sum(1 for label in labels if label))
    return [total / matched, places / matched]


multibox_loss = Exercise(
    name="multibox_loss",
    stub=_LOSS + "# of one image: scores (D, C), offsets and targets (D, 4), labels (D,);\n"
         "    # kept (D,) says which boxes count for the classes;\n"
         "    # return [confidence, localisation], 0 and 0 where nothing is matched\n    ...\n",
    solution=_LOSS + _LOGS + _AWAY + """\
matched = max(1, (labels > 0).sum())
    return [own[kept].sum() / matched, places / matched]
""",
    cases=_batches,
    expected=_loss,
    wrong={
        "Divide by the number of matched boxes, both times; the kept ones are more.": _LOSS + _LOGS + _AWAY + """\
return [own[kept].mean(), places / (labels > 0).sum()]
""",
        "Both parts are divided by the number of matched boxes.": _LOSS + _LOGS + _AWAY + """\
return [own[kept].sum(), places]
""",
        "Where nothing is matched you divide by 0: divide by 1 there, at least.": _LOSS + _LOGS + _AWAY + """\
matched = (labels > 0).sum()
    with np.errstate(all="ignore"):
        return [own[kept].sum() / matched, places / matched]
""",
        "Only matched boxes have a place to be right about: leave background out of the second part.": _LOSS + _LOGS + """\
away = np.abs(offsets - targets)[kept]
    places = np.where(away < 1, away ** 2 / 2, away - 0.5).sum()
    matched = (labels > 0).sum()
    return [own[kept].sum() / matched, places / matched]
""",
        "Smooth L1 is a parabola only up to 1; beyond, it is |x| − ½.": _LOSS + _LOGS + """\
away = (offsets - targets)[labels > 0]
    matched = (labels > 0).sum()
    return [own[kept].sum() / matched, (away ** 2 / 2).sum() / matched]
""",
        "Only kept boxes count for the classes.": _LOSS + _LOGS + _AWAY + """\
matched = (labels > 0).sum()
    return [own.sum() / matched, places / matched]
""",
        "exp of a large logit overflows: take the largest of the row off first.": _LOSS + """\
with np.errstate(all="ignore"):
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        own = -np.log(p[np.arange(len(labels)), labels])
    """ + _AWAY + """\
matched = (labels > 0).sum()
    return [own[kept].sum() / matched, places / matched]
""",
    },
    hint="Cross entropy of the kept boxes, smooth L1 of the matched ones, both divided by the number of the matched.",
    notice="One number divides both parts. Here it is that of one image; over a batch, divide by the number of the whole batch.",
    plain=False,
)
