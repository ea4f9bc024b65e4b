"""The exercises on networks as budgets: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.inception import formulas

_WIDEST = "def widest_reduction(in_channels, out_channels, kernel, percent):\n    "

widest_reduction = Exercise(
    name="widest_reduction",
    stub=_WIDEST + "# return the most channels that keep the cost within percent / 100\n    ...\n",
    solution=_WIDEST + """\
taps = kernel * kernel
    direct = taps * in_channels * out_channels
    each = in_channels + taps * out_channels
    return percent * direct // (100 * each)
""",
    cases=[(1, 1, 1, 100), (2, 2, 1, 100), (4, 4, 1, 50), (1, 1, 3, 100), (8, 2, 3, 100), (4, 8, 3, 80), (24, 3, 2, 50),
           (200, 200, 1, 57), (192, 32, 5, 10), (192, 32, 5, 100)],
    expected=lambda in_channels, out_channels, kernel, percent: (
        percent * kernel * kernel * in_channels * out_channels
        // (100 * (in_channels + kernel * kernel * out_channels))
    ),
    wrong={
        "At most: a reduction that costs exactly so much is allowed.": _WIDEST + """\
taps = kernel * kernel
    return (percent * taps * in_channels * out_channels - 1) // (100 * (in_channels + taps * out_channels))
""",
        "The kernel has two sides: K² taps.": _WIDEST + """\
return percent * kernel * in_channels * out_channels // (100 * (in_channels + kernel * out_channels))
""",
        "The 1×1 convolution has its own cost, R·C at each pixel: not each share of C is that share.": _WIDEST + """\
return percent * in_channels // 100
""",
        "Round once, at the end: the break-even itself is no whole number.": _WIDEST + """\
taps = kernel * kernel
    return percent * (taps * in_channels * out_channels // (in_channels + taps * out_channels)) // 100
""",
        "A float such as 57 / 100 is not exact; stay with whole numbers, and divide once, at the end.": _WIDEST + """\
taps = kernel * kernel
    return int(percent / 100 * taps * in_channels * out_channels / (in_channels + taps * out_channels))
""",
        "A number of channels is a whole number: round down with //.": _WIDEST + """\
taps = kernel * kernel
    return percent * taps * in_channels * out_channels / (100 * (in_channels + taps * out_channels))
""",
    },
    hint="At each pixel both steps cost R·C + K²·R·O; that may be percent / 100 of K²·C·O.",
    notice="For a tenth, the 5×5 branch of this page could go through 15 channels. GoogLeNet takes 16, and pays 10.3%.",
)

_FIRE = "def fire_params(in_channels, squeeze, expand1x1, expand3x3):\n    "

fire_params = Exercise(
    name="fire_params",
    stub=_FIRE + "# weights and biases of all three convolutions\n    ...\n",
    solution=_FIRE + """\
first = squeeze * in_channels + squeeze
    second = expand1x1 * squeeze + expand1x1
    third = expand3x3 * squeeze * 9 + expand3x3
    return first + second + third
""",
    cases=[(1, 1, 1, 1), (3, 2, 1, 1), (4, 2, 3, 5), (96, 16, 64, 64), (512, 64, 256, 256)],
    expected=lambda *widths: sum(formulas.fire_cost(1, *widths, bias=True).values()).params,
    wrong={
        "Each filter has a bias.": _FIRE + """\
return squeeze * in_channels + expand1x1 * squeeze + expand3x3 * squeeze * 9
""",
        "A 3×3 kernel has nine taps.": _FIRE + """\
return squeeze * (in_channels + 1) + expand1x1 * (squeeze + 1) + expand3x3 * (squeeze * 3 + 1)
""",
        "The expanding convolutions read the squeezed channels, not the module's input.": _FIRE + """\
return squeeze * (in_channels + 1) + expand1x1 * (in_channels + 1) + expand3x3 * (in_channels * 9 + 1)
""",
        "The squeezing convolution has weights too.": _FIRE + """\
return expand1x1 * (squeeze + 1) + expand3x3 * (squeeze * 9 + 1)
""",
        "The 3×3 stands beside the 1×1 and reads the squeezed channels; it does not follow it.": _FIRE + """\
return squeeze * (in_channels + 1) + expand1x1 * (squeeze + 1) + expand3x3 * (expand1x1 * 9 + 1)
""",
    },
    hint="Count each convolution by itself: filters × (channels that it reads × taps + 1).",
    notice="(96, 16, 64, 64) is the first fire module of SqueezeNet, with the 11,920 parameters of its paper's table.",
)

_WIDTHS = "def naive_widths(channels, ch1x1, ch3x3, ch5x5, modules):\n    "

naive_widths = Exercise(
    name="naive_widths",
    stub=_WIDTHS + "# return a list: the channels after each of the modules\n    ...\n",
    solution=_WIDTHS + """\
widths = []
    for _ in range(modules):
        channels = ch1x1 + ch3x3 + ch5x5 + channels
        widths.append(channels)
    return widths
""",
    cases=[(3, 1, 1, 1, 1), (3, 1, 2, 4, 2), (192, 64, 128, 32, 3), (5, 1, 1, 1, 0)],
    expected=lambda channels, ch1x1, ch3x3, ch5x5, modules: [
        channels + (i + 1) * (formulas.module_width(channels, ch1x1, ch3x3, ch5x5, None) - channels)
        for i in range(modules)
    ],
    wrong={
        "The max pool is a branch too: it passes all channels on.": _WIDTHS + """\
return [ch1x1 + ch3x3 + ch5x5] * modules
""",
        "The second module reads what the first one gives, and its pool passes all of that on.": _WIDTHS + """\
return [ch1x1 + ch3x3 + ch5x5 + channels] * modules
""",
        "List the channels after each module, not those before the first.": _WIDTHS + """\
widths = [channels]
    for _ in range(modules):
        widths.append(ch1x1 + ch3x3 + ch5x5 + widths[-1])
    return widths
""",
        "The branches stand side by side: their channels add up.": _WIDTHS + """\
widths = []
    for _ in range(modules):
        channels = ch1x1 * channels + ch3x3 * channels + ch5x5 * channels + channels
        widths.append(channels)
    return widths
""",
    },
    hint="Each branch gives its own channels; the bare max pool gives as many as it is given.",
    notice="Each module adds 224 channels in the third case, and the next one pays for them. "
           "A 1×1 after the pool ends it.",
)

_STACK = "def stack_weights(kernel, channels):\n    "

stack_weights = Exercise(
    name="stack_weights",
    stub=_STACK + "# weights of the 3×3 layers that together see kernel × kernel pixels\n    ...\n",
    solution=_STACK + """\
layers = (kernel - 1) // 2
    return layers * 9 * channels * channels
""",
    cases=[(3, 1), (5, 1), (5, 2), (7, 2), (11, 64)],
    expected=lambda kernel, channels: sum(
        formulas.chain(1, [channels] * (formulas.stack_depth(kernel) + 1), [3] * formulas.stack_depth(kernel))
    ).params,
    wrong={
        "The first layer sees 3 pixels, and each further one 2 more, not 3.": _STACK + """\
layers = -(-kernel // 3)
    return layers * 9 * channels * channels
""",
        "Each layer adds a pixel on both sides: two pixels in all.": _STACK + """\
return (kernel - 2) * 9 * channels * channels
""",
        "Every filter of a layer reads all channels: channels × channels kernels.": _STACK + """\
return (kernel - 1) // 2 * 9 * channels
""",
        "That is the one large kernel; you want the stack of 3×3 layers.": _STACK + """\
return kernel * kernel * channels * channels
""",
    },
    hint="Two layers of 3×3 see 5 pixels along each axis, three see 7.",
    notice="For 5×5 it is 18 weights in place of 25 for each pair of channels, for 11×11 it is 45 in place of 121.",
)

_POOL = "import numpy as np\n\n\ndef pool_branch(x):\n    "
_SHIFTS = """\
    height, width = x.shape[2:]
    shifts = [wide[:, :, i:i + height, j:j + width] for i in range(3) for j in range(3)]
"""


def _images():
    import numpy as np

    random = np.random.default_rng(0)
    return [(np.array([[[[2.0]]]]),), (np.array([[[[-2.0]]]]),), (np.array([[[[1.0, 2.0, 5.0, 3.0]]]]),),
            (random.standard_normal((2, 3, 4, 5)),), (random.standard_normal((1, 2, 7, 6)) - 1e9,)]


def _pooled(x):
    from cvnotes.inception import reference

    return reference._max_pool3(x)


pool_branch = Exercise(
    name="pool_branch",
    stub=_POOL + "# x is (N, C, H, W), and so is the result\n    ...\n",
    solution=_POOL + """\
wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
""" + _SHIFTS + "    return np.max(shifts, axis=0)\n",
    cases=_images,
    expected=_pooled,
    wrong={
        "The border is no pixel: with zeros there, a negative image gets a border of zeros.": _POOL + """\
wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
""" + _SHIFTS + "    return np.max(shifts, axis=0)\n",
        "Take the largest of the nine, not their average.": _POOL + """\
wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
""" + _SHIFTS + "    return np.mean(shifts, axis=0)\n",
        "The result has the size of the input: all branches must fit side by side.": _POOL + """\
height, width = x.shape[2] - 2, x.shape[3] - 2
    shifts = [x[:, :, i:i + height, j:j + width] for i in range(3) for j in range(3)]
    return np.max(shifts, axis=0)
""",
        "The neighbours lie above and below as well: nine pixels, not three.": _POOL + """\
wide = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)), constant_values=-np.inf)
    return np.max([wide[..., j:j + x.shape[3]] for j in range(3)], axis=0)
""",
        "The pool works in each channel by itself; it does not mix them.": _POOL + """\
wide = np.pad(x.max(axis=1, keepdims=True), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
""" + _SHIFTS + "    return np.repeat(np.max(shifts, axis=0), x.shape[1], axis=1)\n",
    },
    hint="Frame the image with −∞, then take the largest of nine shifted copies.",
    notice="np.max over −∞ is the neutral choice, as 0 is for a sum. PyTorch's max pooling pads with −∞ as well.",
    plain=False,
)
