"""The exercises on feature pyramids: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.fpn import formulas

_SIZES = "def level_sizes(side, lowest, highest):\n    "


def _level_sizes(side, lowest, highest):
    return [formulas.level_size(side, level) for level in range(lowest, highest + 1)]


level_sizes = Exercise(
    name="level_sizes",
    stub=_SIZES + "# a list: places along a side\n    # of pixels, the finest level\n"
         "    # first; each is half of the\n    # last, rounded up\n    ...\n",
    solution=_SIZES + """\
sizes = []
    for level in range(lowest, highest + 1):
        sizes.append(-(-side // 2**level))
    return sizes
""",
    cases=[(32, 2, 3), (32, 2, 5), (800, 2, 6), (1333, 3, 7), (100, 2, 7), (1, 0, 2)],
    expected=_level_sizes,
    wrong={
        "Where a side doesn't divide, the last place hangs over the edge: round up.": _SIZES + """\
return [side // 2**level for level in range(lowest, highest + 1)]
""",
        "The highest level belongs to the list.": _SIZES + """\
return [-(-side // 2**level) for level in range(lowest, highest)]
""",
        "P2 is a quarter of the image, not a half: level l has places 2^l pixels apart.": _SIZES + """\
return [-(-side // 2**(level - 1)) for level in range(lowest, highest + 1)]
""",
        "The list begins with the finest level, the one with the most places.": _SIZES + """\
return [-(-side // 2**level) for level in range(highest, lowest - 1, -1)]
""",
    },
    hint="Return a list of whole numbers. Divide by 2 to the power of the level, and round up: -(-a // b) does that with integers.",
    notice="One rounding at the end gives the same as one at each halving: ⌈⌈n/2⌉/2⌉ = ⌈n/4⌉.",
)

_LEVEL = "from math import floor, log2, sqrt\n\n\ndef box_level(width, height):\n    "

box_level = Exercise(
    name="box_level",
    stub=_LEVEL + "# k0 = 4, size0 = 224; levels\n    # 2 to 5; boxes have an area\n    ...\n",
    solution=_LEVEL + """\
level = floor(4 + log2(sqrt(width * height) / 224))
    return min(max(level, 2), 5)
""",
    cases=[(224, 224), (112, 112), (330, 330), (100, 100), (448, 448), (20, 30), (1000, 1000), (448, 112),
           (900, 700), (1000, 30), (150, 160)],
    expected=formulas.box_level,
    wrong={
        "There are no levels below 2 and above 5: clamp.": _LEVEL + """\
return floor(4 + log2(sqrt(width * height) / 224))
""",
        "The coarsest level is P5: at most 5.": _LEVEL + """\
return max(floor(4 + log2(sqrt(width * height) / 224)), 2)
""",
        "A level is a whole number: round down, with floor.": _LEVEL + """\
return min(max(4 + log2(sqrt(width * height) / 224), 2), 5)
""",
        "The logarithm is that to the base 2, log2: half the size is one level less.": _LEVEL + """\
from math import log

    level = floor(4 + log(sqrt(width * height) / 224))
    return min(max(level, 2), 5)
""",
        "A box of 330 × 330 is still on P4: round down, not to the nearest.": _LEVEL + """\
level = int(4.5 + log2(sqrt(width * height) / 224))
    return min(max(level, 2), 5)
""",
        "Compare lengths: the square root of the area with 224.": _LEVEL + """\
level = floor(4 + log2(width * height / 224**2))
    return min(max(level, 2), 5)
""",
        "Both sides count: it is the root of width times height, not the longer side.": _LEVEL + """\
level = floor(4 + log2(max(width, height) / 224))
    return min(max(level, 2), 5)
""",
        "A larger box belongs to a coarser, higher level: the logarithm is added.": _LEVEL + """\
level = floor(4 - log2(sqrt(width * height) / 224))
    return min(max(level, 2), 5)
""",
    },
    hint="floor(4 + log2(√(w·h) / 224)), then at least 2 and at most 5.",
    notice="A box with sides twice as long is one level higher. So √(w·h) always measures 14 to 28 places on the box's "
           "own level, but for those that are clamped.",
)

_STEP = "def step_down(fine, coarse):\n    "


def _step_down(fine, coarse):
    return [value + coarse[formulas.source(i, len(coarse), len(fine))] for i, value in enumerate(fine)]


step_down = Exercise(
    name="step_down",
    stub=_STEP + "# lists of OH and of H numbers:\n    # place i of fine gets place\n"
         "    # ⌊i·H / OH⌋ of coarse added\n    ...\n",
    solution=_STEP + """\
merged = []
    for i in range(len(fine)):
        merged.append(fine[i] + coarse[i * len(coarse) // len(fine)])
    return merged
""",
    cases=[
        ([1, 1], [10]), ([0, 0, 0, 0], [10, 20]), ([1, 2, 3, 4], [10, 20]), ([0, 0, 0, 0, 0, 0, 0], [10, 20, 30, 40]),
        ([0, 0, 0], [10, 20]), ([0, 0, 0, 0, 0], [10, 20, 30, 40]), ([5, 6], [10, 20]),
    ],
    expected=_step_down,
    wrong={
        "Each place is repeated where it stands, a a b b; yours lays the whole row down twice, a b a b.": _STEP + """\
return [value + coarse[i % len(coarse)] for i, value in enumerate(fine)]
""",
        "Not every side doubles: place i comes from i · len(coarse) // len(fine).": _STEP + """\
return [value + coarse[min(i // 2, len(coarse) - 1)] for i, value in enumerate(fine)]
""",
        "The two are added, not averaged.": _STEP + """\
return [(value + coarse[i * len(coarse) // len(fine)]) / 2 for i, value in enumerate(fine)]
""",
        "Zeros between the places are half of the job: each place must be repeated.": _STEP + """\
step = -(-len(fine) // len(coarse))
    return [value + (coarse[i // step] if i % step == 0 else 0) for i, value in enumerate(fine)]
""",
        "The result is the sum of both; yours is only what comes from above.": _STEP + """\
return [coarse[i * len(coarse) // len(fine)] for i in range(len(fine))]
""",
    },
    hint="Place i of the longer list is a copy of place i · len(coarse) // len(fine) of the shorter one.",
    notice="With 4 places over 7, only the last stands alone. Images are padded to multiples of 32 so that all double.",
)

_UPSAMPLE = "import numpy as np\n\n\ndef upsample(x, OH, OW):\n    "


def _maps():
    import numpy as np

    return [
        (np.array([[[[1, 2]]]]), 1, 4), (np.array([[[[1], [2]]]]), 4, 1), (np.array([[[[1, 2, 3]]]]), 1, 5),
        (np.array([[[[1, 2], [3, 4]]]]), 2, 4), (np.arange(1, 9).reshape(2, 2, 2, 1), 3, 2),
        (np.arange(26)[None, None, None], 1, 46), (np.zeros((0, 1, 2, 2), int), 3, 3),
    ]


def _upsampled(x, OH, OW):
    from cvnotes.fpn import reference

    return reference.upsample_nearest(x.astype(float), (OH, OW))


upsample = Exercise(
    name="upsample",
    stub=_UPSAMPLE + "# (N, C, H, W) → (N, C, OH, OW);\n    # H ≤ OH and W ≤ OW, also where\n"
         "    # sides don't double\n    ...\n",
    solution=_UPSAMPLE + """\
H, W = x.shape[2:]
    rows = np.arange(OH) * H // OH
    columns = np.arange(OW) * W // OW
    return x[:, :, rows][:, :, :, columns]
""",
    cases=_maps,
    expected=_upsampled,
    wrong={
        "Each place is repeated where it stands, a a b b; np.tile lays the whole map down again, a b a b.":
            _UPSAMPLE + """\
H, W = x.shape[2:]
    tiled = np.tile(x, (1, 1, -(-OH // H), -(-OW // W)))
    return tiled[:, :, :OH, :OW]
""",
        "Not every side doubles: row i comes from row i · H // OH.": _UPSAMPLE + """\
H, W = x.shape[2:]
    rows, columns = np.minimum(np.arange(OH) // 2, H - 1), np.minimum(np.arange(OW) // 2, W - 1)
    return x[:, :, rows][:, :, :, columns]
""",
        "H / OH is rounded, and times i it falls just short of 13 at place 23: multiply first, then divide with //.":
            _UPSAMPLE + """\
H, W = x.shape[2:]
    rows, columns = (np.arange(OH) * (H / OH)).astype(int), (np.arange(OW) * (W / OW)).astype(int)
    return x[:, :, rows][:, :, :, columns]
""",
        "A place is copied, never mixed with its neighbour: round down, not to the nearest.": _UPSAMPLE + """\
H, W = x.shape[2:]
    rows = np.minimum(np.rint(np.arange(OH) * H / OH).astype(int), H - 1)
    columns = np.minimum(np.rint(np.arange(OW) * W / OW).astype(int), W - 1)
    return x[:, :, rows][:, :, :, columns]
""",
    },
    hint="Make the list of rows, i · H // OH for each i, and index with it; then the columns.",
    notice="Multiplied first, all is exact. With H / OH first, place 23 of 26 → 46 becomes a copy of 12, not of 13.",
    plain=False,
)

_MERGE = "import numpy as np\n\n\ndef merge(C, weight, bias, above):\n    "


def _levels():
    import numpy as np

    random = np.random.default_rng(1)

    def case(N, C, D, H, W):
        shapes = (N, C, 2 * H, 2 * W), (D, C, 1, 1), (D,), (N, D, H, W)
        return tuple(random.integers(-3, 4, shape).astype(float) for shape in shapes)

    return [case(1, 1, 1, 1, 1), case(1, 3, 2, 1, 2), case(2, 2, 2, 3, 2), case(1, 4, 4, 2, 2)]


def _merged(C, weight, bias, above):
    from cvnotes.conv_types import reference as convolutions
    from cvnotes.fpn import reference

    return convolutions.conv2d(C, weight, bias) + reference.upsample_nearest(above, C.shape[2:])


_LATERAL = "lateral = np.einsum('nchw,dc->ndhw', C, weight[:, :, 0, 0])"

merge = Exercise(
    name="merge",
    stub=_MERGE + "# C: (N, C, 2H, 2W), bias: (D,),\n    # weight: (D, C, 1, 1),\n    # above: (N, D, H, W);\n"
         "    # return lateral(C) + upsample(above)\n    ...\n",
    solution=_MERGE + _LATERAL + """ + bias[:, None, None]
    return lateral + above.repeat(2, axis=2).repeat(2, axis=3)
""",
    cases=_levels,
    expected=_merged,
    wrong={
        "The bias is one number for each channel: give it two more axes, or it lands on the columns.": _MERGE + _LATERAL + """
    lateral = lateral + np.resize(bias, lateral.shape[-1])
    return lateral + above.repeat(2, axis=2).repeat(2, axis=3)
""",
        "The lateral way has a bias too.": _MERGE + _LATERAL + """
    return lateral + above.repeat(2, axis=2).repeat(2, axis=3)
""",
        "Each place of the map above becomes a square, a a over a a; np.tile lays the whole map down four times.":
            _MERGE + _LATERAL + """ + bias[:, None, None]
    return lateral + np.tile(above, (1, 1, 2, 2))
""",
        "The 1×1 takes C to D channels: sum over the second axis of the weight, not over the first.": _MERGE + """\
turned = np.resize(weight[:, :, 0, 0].T, weight.shape[:2])
    lateral = np.einsum('nchw,dc->ndhw', C, turned) + bias[:, None, None]
    return lateral + above.repeat(2, axis=2).repeat(2, axis=3)
""",
        "What comes from above has its D channels already: the 1×1 is for C alone.": _MERGE + """\
C = C + np.resize(above.repeat(2, axis=2).repeat(2, axis=3), C.shape)
    """ + _LATERAL + """ + bias[:, None, None]
    return lateral
""",
    },
    hint="A 1×1 convolution is a matrix for each place: np.einsum('nchw,dc->ndhw', …). Then add the repeated map.",
    notice="That is the whole top-down way. Without any ReLU, it is linear in all of the maps at once.",
    plain=False,
)
