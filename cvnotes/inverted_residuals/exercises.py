"""The exercises on inverted residuals: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.inverted_residuals import formulas

_COST = "def inverted_macs(size, channels, filters, expansion, stride):\n    "


def _inverted_macs(size, channels, filters, expansion, stride):
    return formulas.total(formulas.inverted_steps(size, channels, filters, expansion=expansion, stride=stride)).macs


inverted_macs = Exercise(
    name="inverted_macs",
    stub=_COST + "# size × size pixels, a 3 × 3 kernel, an expansion of 2 or more\n    ...\n",
    solution=_COST + """\
middle = expansion * channels
    small = (size + stride - 1) // stride
    expand = size * size * channels * middle
    depthwise = small * small * middle * 9
    project = small * small * middle * filters
    return expand + depthwise + project
""",
    cases=[(1, 1, 1, 2, 1), (4, 2, 3, 2, 1), (4, 2, 3, 2, 2), (7, 160, 320, 6, 1), (56, 24, 32, 6, 2), (7, 3, 5, 4, 2), (8, 2, 3, 2, 3)],
    expected=_inverted_macs,
    wrong={
        "The depthwise step has one kernel for each channel: 9 multiplications, not 9 for each pair of channels.": _COST + """\
middle = expansion * channels
    small = (size + stride - 1) // stride
    return size * size * channels * middle + small * small * middle * (9 * middle + filters)
""",
        "The stride is in the depthwise step: the expansion before it works on the large image.": _COST + """\
middle = expansion * channels
    small = (size + stride - 1) // stride
    return small * small * middle * (channels + 9 + filters)
""",
        "Only from the depthwise step on is the image smaller; yours never shrinks it.": _COST + """\
middle = expansion * channels
    return size * size * middle * (channels + 9 + filters)
""",
        "An odd size rounds up: ⌈size / stride⌉.": _COST + """\
middle = expansion * channels
    small = size // stride
    return size * size * channels * middle + small * small * middle * (9 + filters)
""",
        "The 1×1 convolution that widens has weights too.": _COST + """\
middle = expansion * channels
    small = (size + stride - 1) // stride
    return small * small * middle * (9 + filters)
""",
    },
    hint="Three steps: C to M on the large image, 9 for each of M channels on the small one, M to O on the small one.",
    notice="With stride 1 it is size² · M · (C + 9 + O): the two 1×1 convolutions cost nearly all of it.",
)

_SHUFFLE = "def shuffle(channels, groups):\n    "

shuffle = Exercise(
    name="shuffle",
    stub=_SHUFFLE + "# channels is a list; return it shuffled\n    ...\n",
    solution=_SHUFFLE + """\
width = len(channels) // groups
    return [channels[g * width + i] for i in range(width) for g in range(groups)]
""",
    cases=[(["a", "b"], 1), (["a", "b", "c", "d"], 2), (["a", "b", "c", "d", "e", "f"], 2), (["a", "b", "c", "d", "e", "f"], 3),
           ([5, 6, 7, 8], 4)],
    expected=lambda channels, groups: [channels[i] for i in formulas.shuffle_permutation(len(channels), groups)],
    wrong={
        "That is the list as it was: take one channel of each group in turn.": _SHUFFLE + """\
width = len(channels) // groups
    return [channels[g * width + i] for g in range(groups) for i in range(width)]
""",
        "A group is a run of neighbours, C / G long; yours takes the table with G columns, not G rows.": _SHUFFLE + """\
return [channels[i] for start in range(groups) for i in range(start, len(channels), groups)]
""",
        "There is no chance in it, and nothing is turned round: the first of each group comes first.": _SHUFFLE + """\
width = len(channels) // groups
    return [channels[g * width + i] for i in range(width) for g in reversed(range(groups))]
""",
    },
    hint="Write the channels as rows, one for each group, and read the table column by column.",
    notice="A second shuffle with C / G groups puts all channels back: it is the transposed table, transposed.",
)

_SPLITS = "def splits_needed(channels, middle, size, budget):\n    "


def _splits_needed(channels, middle, size, budget):
    for splits in range(1, middle + 1):
        if formulas.inverted_extra(size, channels, middle, channels, splits=splits) <= budget:
            return splits
    return None


splits_needed = Exercise(
    name="splits_needed",
    stub=_SPLITS + "# channels → middle → channels, on size × size pixels, stride 1;\n"
         "    # return the fewest splits that need at most `budget` numbers,\n    # or None\n    ...\n",
    solution=_SPLITS + """\
for splits in range(1, middle + 1):
        part = (middle + splits - 1) // splits
        if (channels + 2 * part) * size * size <= budget:
            return splits
    return None
""",
    cases=[(1, 4, 1, 9), (1, 4, 1, 5), (1, 4, 1, 4), (1, 4, 1, 2), (2, 7, 2, 40), (24, 144, 56, 400_000), (24, 144, 56, 90_000), (24, 144, 56, 1)],
    expected=_splits_needed,
    wrong={
        "A part exists twice at a time: before its depthwise step and after it.": _SPLITS + """\
for splits in range(1, middle + 1):
        part = (middle + splits - 1) // splits
        if (channels + part) * size * size <= budget:
            return splits
    return None
""",
        "The output is there all the time, beside the parts.": _SPLITS + """\
for splits in range(1, middle + 1):
        part = (middle + splits - 1) // splits
        if 2 * part * size * size <= budget:
            return splits
    return None
""",
        "Where the splits don't divide the middle, the widest part counts: round up.": _SPLITS + """\
for splits in range(1, middle + 1):
        part = middle // splits
        if (channels + 2 * part) * size * size <= budget:
            return splits
    return None
""",
        "Even one channel at a time may be too much: return None then.": _SPLITS + """\
splits = 1
    while splits < middle and (channels + 2 * ((middle + splits - 1) // splits)) * size * size > budget:
        splits += 1
    return splits
""",
    },
    hint="The output has `channels` maps, and the widest part ⌈middle / splits⌉ maps, before and after its depthwise step.",
    notice="The output alone sets the floor: however many parts, it never gets cheaper than (channels + 2) · size².",
)

_FIXED = "def fixed_point(x, whole_bits):\n    "


fixed_point = Exercise(
    name="fixed_point",
    stub=_FIXED + "# x is 0 or more; of the eight bits, `whole_bits` are before the point;\n"
         "    # return the nearest number that they can say (the upper of two)\n    ...\n",
    solution=_FIXED + """\
step = 2.0 ** (whole_bits - 8)
    level = int(x / step + 0.5)
    return min(level, 255) * step
""",
    cases=[(0.0, 3), (1.0, 3), (1.01, 3), (5.99, 3), (0.3, 6), (40.2, 6), (40.2, 3), (7.99, 3), (255.0, 8), (0.015625, 3), (0.078125, 3)],
    expected=formulas.fixed_point,
    wrong={
        "Round to the nearest level; yours rounds down.": _FIXED + """\
step = 2.0 ** (whole_bits - 8)
    return min(int(x / step), 255) * step
""",
        "Eight bits have 256 levels: a number beyond the last one is cut off there.": _FIXED + """\
step = 2.0 ** (whole_bits - 8)
    return int(x / step + 0.5) * step
""",
        "What is not before the point is behind it: 8 − whole_bits bits, so the step is 2^(whole_bits − 8).": _FIXED + """\
step = 2.0 ** -whole_bits
    return min(int(x / step + 0.5), 255) * step
""",
        "The last level is number 255, not 256.": _FIXED + """\
step = 2.0 ** (whole_bits - 8)
    return min(int(x / step + 0.5), 256) * step
""",
    },
    hint="The levels are 0, 1, … 255 times a step. With 3 bits before the point the step is 1/32.",
    notice="A ReLU6 never needs more than 3 bits before the point. That is what the 6 is for.",
)

_PARTS = "import numpy as np\n\n\ndef in_parts(x, expand, project, splits):\n    "


def _matrices():
    import numpy as np

    random = np.random.default_rng(0)
    return [(np.array([[2.0]]), np.array([[1.0], [-1.0]]), np.array([[-1.0, -3.0]]), 1)] + [
        (random.standard_normal((C, L)), 3 * random.standard_normal((M, C)), random.standard_normal((O, M)), splits)
        for C, L, M, O, splits in ((2, 3, 4, 2, 2), (2, 3, 5, 2, 2), (3, 4, 7, 2, 3), (3, 4, 7, 2, 7))
    ]


def _in_parts(x, expand, project, splits):
    import numpy as np

    from cvnotes.inverted_residuals import reference

    return np.sum([
        project[:, a:b] @ reference.relu6(expand[a:b] @ x) for a, b in formulas.parts(len(expand), splits)
    ], 0)


in_parts = Exercise(
    name="in_parts",
    stub=_PARTS + "# project @ relu6(expand @ x), in `splits` parts of the rows of expand;\n"
         "    # x is (C, L), expand (M, C), project (O, M)\n    ...\n",
    solution=_PARTS + """\
y = 0
    for rows in np.array_split(np.arange(len(expand)), splits):
        y = y + project[:, rows] @ np.clip(expand[rows] @ x, 0, 6)
    return y
""",
    cases=_matrices,
    expected=_in_parts,
    wrong={
        "The parts are added up; yours keeps the last one alone.": _PARTS + """\
for rows in np.array_split(np.arange(len(expand)), splits):
        y = project[:, rows] @ np.clip(expand[rows] @ x, 0, 6)
    return y
""",
        "Where the splits don't divide M, some rows are left over; yours forgets them.": _PARTS + """\
y, width = 0, len(expand) // splits
    for i in range(splits):
        rows = slice(i * width, (i + 1) * width)
        y = y + project[:, rows] @ np.clip(expand[rows] @ x, 0, 6)
    return y
""",
        "The activation stands between the two products, on each part: not on their sum.": _PARTS + """\
y = 0
    for rows in np.array_split(np.arange(len(expand)), splits):
        y = y + project[:, rows] @ (expand[rows] @ x)
    return np.clip(y, 0, 6)
""",
        "The bottleneck is linear: no activation after the projection.": _PARTS + """\
y = 0
    for rows in np.array_split(np.arange(len(expand)), splits):
        y = y + project[:, rows] @ np.clip(expand[rows] @ x, 0, 6)
    return np.clip(y, 0, 6)
""",
    },
    hint="Part by part: the rows of expand, the activation, and then the columns of project that belong to these rows.",
    notice="It works because relu6 looks at each row alone. A softmax over the rows, say, could not be cut into parts.",
    plain=False,
)
