"""The equations of the chapter on plain numbers, and the arguments that its functions accept."""

from math import cos, exp, pi, sin

from cvnotes import cost, shapes

# --- activations, and their slopes -------------------------------------------------------
# Each takes one number. A NaN stays a NaN. The slopes are a pair, just before x and just after it:
# at a kink the two differ, and nowhere else.


def relu(x):
    """Return x where it is positive, else 0."""
    return 0.0 if x < 0 else x


def relu6(x):
    """Return x, cut off at 0 and at 6: min(max(x, 0), 6).

    >>> [relu6(x) for x in (-1.0, 2.5, 7.0)]
    [0.0, 2.5, 6.0]
    """
    return 0.0 if x < 0 else 6.0 if x > 6 else x


def sigmoid(x):
    """Return 1 / (1 + e⁻ˣ), for x however large."""
    if x < 0:
        small = exp(x)
        return small / (1 + small)
    return 1 / (1 + exp(-x))


def swish(x):
    """Return x · sigmoid(x). At −∞ it is NaN, as −∞ · 0 is."""
    return x * sigmoid(x)


def hard_sigmoid(x):
    """Return ReLU6(x + 3) / 6: three straight pieces in place of the sigmoid.

    >>> [hard_sigmoid(x) for x in (-3.0, 0.0, 1.5, 3.0)]
    [0.0, 0.5, 0.75, 1.0]
    """
    return relu6(x + 3) / 6


def hard_swish(x):
    """Return x · ReLU6(x + 3) / 6. At −∞ it is NaN, as −∞ · 0 is.

    >>> [hard_swish(x) for x in (-3.0, -1.5, 3.0, 10.0)]
    [-0.0, -0.375, 3.0, 10.0]
    """
    return x * hard_sigmoid(x)


def relu_slopes(x):
    """Return the derivative of `relu` just before x and just after it."""
    return _pieces(x, (0,), (0, 1))


def relu6_slopes(x):
    """Return the derivative of `relu6` just before x and just after it.

    >>> relu6_slopes(6.0), relu6_slopes(2.0)
    ((1, 0), (1, 1))
    """
    return _pieces(x, (0, 6), (0, 1, 0))


def sigmoid_slopes(x):
    """Return the derivative of `sigmoid`, s · (1 − s), twice: it has no kink."""
    slope = sigmoid(x) * sigmoid(-x)
    return slope, slope


def swish_slopes(x):
    """Return the derivative of `swish`, s + x · s · (1 − s), twice: it has no kink."""
    slope = sigmoid(x) + x * sigmoid_slopes(x)[0]
    return slope, slope


def hard_sigmoid_slopes(x):
    """Return the derivative of `hard_sigmoid` just before x and just after it."""
    return _pieces(x, (-3, 3), (0, 1 / 6, 0))


def hard_swish_slopes(x):
    """Return the derivative of `hard_swish` just before x and just after it: (2x + 3) / 6 in the middle.

    >>> hard_swish_slopes(3.0), hard_swish_slopes(-3.0)
    ((1.5, 1), (0, -0.5))
    """
    return _pieces(x, (-3, 3), (0, (2 * x + 3) / 6, 1))


def _pieces(x, kinks, slopes):
    """Return the slopes of a function of pieces: before the first kink, between, after the last."""
    before = sum(1 for kink in kinks if x > kink)
    after = sum(1 for kink in kinks if x >= kink)
    return slopes[before], slopes[after]


def fixed_point(x, whole_bits):
    """Return what eight bits store of x ≥ 0, with `whole_bits` of them before the point: the nearest of 256 levels.

    Halfway between two it is the upper one; beyond the last level it is the last level.

    >>> fixed_point(5.99, 3), fixed_point(5.99, 6), fixed_point(40.0, 3)
    (6.0, 6.0, 7.96875)
    """
    step = 2.0 ** (whole_bits - 8)
    return min(int(x / step + 0.5), 255) * step


# --- channels of grouped layers ----------------------------------------------------------


def shuffle_permutation(channels, groups):
    """Return, for each channel after a shuffle, the channel that it was before: no chance in it.

    Write the channels as a table with a row for each group, and read it column by column:
    output i·G + g is input g·(C/G) + i.

    Raises `ValueError` where a number is no integer or below 1, or groups don't divide the channels.

    >>> shuffle_permutation(6, 2)           # rows 0 1 2 and 3 4 5
    [0, 3, 1, 4, 2, 5]
    """
    channels, groups = shapes.integer("channels", channels, 1), shapes.integer("groups", groups, 1)
    shapes.divides("groups", groups, channels, "channels")
    width = channels // groups
    return [g * width + i for i in range(width) for g in range(groups)]


def flow(channels, groups, layers, shuffled):
    """Return, for each output of a stack of grouped 1×1 layers, the sorted inputs that reach it.

    All layers keep the number of channels. With `shuffled`, a shuffle stands between any two layers.

    Raises `ValueError` where a number is no integer or below 1, or groups don't divide the channels.

    >>> [len(inputs) for inputs in flow(8, 2, 2, False)], [len(inputs) for inputs in flow(8, 2, 2, True)]
    ([4, 4, 4, 4, 4, 4, 4, 4], [8, 8, 8, 8, 8, 8, 8, 8])
    """
    order = shuffle_permutation(channels, groups)
    width = channels // groups
    seen = [{channel} for channel in range(channels)]
    for layer in range(shapes.integer("layers", layers, 1)):
        if layer and shuffled:
            seen = [seen[channel] for channel in order]
        own = [set().union(*seen[g * width:(g + 1) * width]) for g in range(groups)]
        seen = [own[channel // width] for channel in range(channels)]
    return [sorted(inputs) for inputs in seen]


# --- what a bottleneck with a ReLU keeps ---------------------------------------------------


def lost_directions(dimensions):
    """Return the share of directions of a plane that n random half-planes leave with fewer than two: (n + 1) / 2ⁿ.

    Each of the n outputs is positive for half of all directions, independent of the others. A point
    with two positive outputs or more can be computed back from them; with one, a line of points
    looks the same; with none, a whole sector does.

    Raises `ValueError` where the number is no integer or below 1.

    >>> [lost_directions(n) for n in (2, 3, 5)]
    [0.75, 0.5, 0.1875]
    """
    n = shapes.integer("dimensions", dimensions, 1)
    return (n + 1) / 2**n


def spiral(count, turns=2):
    """Return `count` points (x, y) of a spiral from the middle out to radius 1, about evenly spaced.

    >>> [(int(100 * x), int(100 * y)) for x, y in spiral(2, turns=1)]
    [(-50, 0), (57, -64)]
    """
    radii = [((i + 0.5) / count) ** 0.5 for i in range(shapes.integer("count", count, 1))]
    return [(r * cos(2 * pi * turns * r), r * sin(2 * pi * turns * r)) for r in radii]


# --- what blocks cost ----------------------------------------------------------------------
# Each returns a list of steps, (name, channels after it, (height, width) after it, `Cost`), for one
# image; the size that is given is that of the input. Without biases, as in the papers' tables, unless
# `bias` is True. An activation works in place and has no step.


def total(steps):
    """Return the `Cost` of all steps together.

    >>> total(separable_steps(14, 512, 512)).macs
    52283392
    """
    return sum(step[3] for step in steps)


def peak(channels, size, steps, *, shortcut=False):
    """Return how many elements must be there at once, where one step is done after the other.

    A step needs what it reads and what it writes. With a shortcut, the block's input waits beside
    them until the end, where it is added in place. What an activation reads, it writes over.

    - channels, size: those of the block's input
    - steps: as the functions below return them

    Source: Sandler et al. (2018), equation 2.

    >>> steps = inverted_steps(56, 24, 24)          # 24 → 144 → 24
    >>> peak(24, 56, steps), (144 + 144) * 56 * 56
    (903168, 903168)
    >>> peak(24, 56, steps, shortcut=True) == (24 + 144 + 144) * 56 * 56
    True
    """
    given = first = _elements(channels, shapes.pair("size", size, 1))
    most = 0
    for i, (_, width, place, _) in enumerate(steps):
        made = _elements(width, place)
        most = max(most, given + made + (first if shortcut and i else 0))
        given = made
    return most


def _elements(channels, size):
    return channels * size[0] * size[1]


def separable_steps(size, in_channels, out_channels, *, kernel_size=3, stride=1, bias=False):
    """Return the steps of MobileNetV1's block: depthwise K × K, then 1×1.

    >>> [step[3].macs for step in separable_steps(112, 32, 64)]
    [3612672, 25690112]
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    place = _strided(size, kernel_size, stride)
    return [
        ("depthwise", C, place, cost.conv2d(C, C, kernel_size, place, groups=C, bias=bias)),
        ("1×1", O, place, cost.conv2d(C, O, 1, place, bias=bias)),
    ]


def bottleneck_steps(size, in_channels, out_channels, *, reduction=4, kernel_size=3, stride=1, bias=False):
    """Return the steps of ResNet's block: 1×1 to O / reduction channels, K × K (with the stride), 1×1 to O.

    Where the stride is not 1 or the widths differ, the shortcut has a 1×1 convolution of its own.

    Raises `ValueError` where a number is no integer or below 1, or the reduction doesn't divide O.

    >>> total(bottleneck_steps(56, 256, 256)).params
    69632
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    M = _reduced("reduction", reduction, O)
    before, place = shapes.pair("size", size, 1), _strided(size, kernel_size, stride)
    steps = [
        ("reduce 1×1", M, before, cost.conv2d(C, M, 1, before, bias=bias)),
        ("K×K", M, place, cost.conv2d(M, M, kernel_size, place, bias=bias)),
        ("expand 1×1", O, place, cost.conv2d(M, O, 1, place, bias=bias)),
    ]
    if C != O or before != place:
        steps.append(("shortcut 1×1", O, place, cost.conv2d(C, O, 1, place, bias=bias)))
    return steps


def inverted_steps(size, in_channels, out_channels, *, expansion=6, kernel_size=3, stride=1, bias=False):
    """Return the steps of MobileNetV2's block: 1×1 to expansion · C channels, depthwise K × K, 1×1 to O.

    With an expansion of 1 the first step is left out, as in the network's first block.

    Raises `ValueError` where a number is no integer or below 1.

    >>> sum(step[3].macs for step in inverted_steps(56, 24, 24)) == 56 * 56 * 144 * (24 + 9 + 24)
    True
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    M = C * shapes.integer("expansion", expansion, 1)
    before, place = shapes.pair("size", size, 1), _strided(size, kernel_size, stride)
    steps = [] if M == C else [("expand 1×1", M, before, cost.conv2d(C, M, 1, before, bias=bias))]
    return steps + [
        ("depthwise", M, place, cost.conv2d(M, M, kernel_size, place, groups=M, bias=bias)),
        ("project 1×1", O, place, cost.conv2d(M, O, 1, place, bias=bias)),
    ]


def inverted_extra(size, in_channels, middle, out_channels, *, kernel_size=3, stride=1, splits=1):
    """Return how many elements MobileNetV2's block needs at once beside its input, worked through in parts.

    O · OH · OW + ⌈M / splits⌉ · (H · W + OH · OW): the output, which the parts are added to, and the
    widest part before and after its depthwise step. Without an expansion (M = C) the part before it
    is the input's own, and its H · W doesn't count.

    Raises `ValueError` where a number is no integer or below 1, or there are more splits than channels.

    Source: Sandler et al. (2018), section 5.1.

    >>> [inverted_extra(56, 24, 144, 24, splits=t) // 56**2 for t in (1, 4, 144)]
    [312, 96, 26]
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    M = shapes.integer("middle", middle, 1)
    part = -(-M // number_of_splits(splits, M))
    before, place = shapes.pair("size", size, 1), _strided(size, kernel_size, stride)
    return _elements(O, place) + (_elements(part, before) if M != C else 0) + _elements(part, place)


def effnet_steps(size, in_channels, out_channels, *, reduction=2, kernel_size=3, bias=False):
    """Return the steps of EffNet's block: 1×1, depthwise 1 × K, pooling, depthwise K × 1, 2×1 with a stride.

    The pooling halves the width, the last convolution the height. In the middle there are
    O / reduction channels.

    Raises `ValueError` where a number is no integer or below 1, a side is below 2, or the reduction
    doesn't divide O.

    >>> [step[1] * step[2][0] * step[2][1] for step in effnet_steps(32, 3, 64)]
    [32768, 32768, 16384, 16384, 16384]
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    M = _reduced("reduction", reduction, O)
    height, width = _halved("size", shapes.pair("size", size, 1))
    K = shapes.integer("kernel_size", kernel_size, 1)
    half, small = (height, width // 2), (height // 2, width // 2)
    return [
        ("1×1", M, (height, width), cost.conv2d(C, M, 1, (height, width), bias=bias)),
        ("depthwise 1×K", M, (height, width), cost.conv2d(M, M, (1, K), (height, width), groups=M, bias=bias)),
        ("pool", M, half, cost.elementwise(M, half)),
        ("depthwise K×1", M, half, cost.conv2d(M, M, (K, 1), half, groups=M, bias=bias)),
        ("2×1", O, small, cost.conv2d(M, O, (2, 1), small, bias=bias)),
    ]


def shuffle_steps(
    size, in_channels, out_channels, *, groups=3, reduction=4, kernel_size=3, stride=1, first_groups=None, bias=False
):
    """Return the steps of ShuffleNet's unit: grouped 1×1 to O / reduction channels, depthwise, grouped 1×1.

    With stride 1, O = C, and the input is added. With stride 2 the last convolution gives O − C
    channels, which stand beside the input, pooled. The shuffle moves channels and costs no arithmetic.

    - first_groups: groups of the first convolution, where they are not `groups`: 1 in the network's first unit

    Raises `ValueError` where a number is no integer or below 1, the stride is neither 1 nor 2, the
    widths don't fit the stride, or something doesn't divide.

    >>> h, w, c, m, g = 28, 28, 240, 60, 3
    >>> total(shuffle_steps((h, w), c, c, groups=g)).macs == h * w * (2 * c * m // g + 9 * m)
    True
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    G = shapes.integer("groups", groups, 1)
    S = one_or_two("stride", stride)
    if S == 1 and O != C:
        raise ValueError(f"`out_channels` (={O}) must equal the {C} input channels where `stride` is 1")
    if S == 2 and O <= C:
        raise ValueError(f"`out_channels` (={O}) must be more than the {C} input channels where `stride` is 2")
    M, branch = _reduced("reduction", reduction, O), O if S == 1 else O - C
    first = G if first_groups is None else first_groups
    before, place = shapes.pair("size", size, 1), _strided(size, kernel_size, S)
    steps = [
        ("grouped 1×1", M, before, cost.conv2d(C, M, 1, before, groups=first, bias=bias)),
        ("depthwise", M, place, cost.conv2d(M, M, kernel_size, place, groups=M, bias=bias)),
        ("grouped 1×1", branch, place, cost.conv2d(M, branch, 1, place, groups=G, bias=bias)),
    ]
    return steps if S == 1 else steps + [("pool", C, place, cost.elementwise(C, place))]


def _strided(size, kernel_size, stride):
    """Return the size after an odd kernel with "same" padding and a stride: ⌈size / stride⌉."""
    pair = shapes.pair("kernel_size", kernel_size, 1)
    shapes.odd("kernel_size", pair)
    return shapes.window2d(shapes.pair("size", size, 1), pair, stride, (pair[0] // 2, pair[1] // 2))[3]


def _reduced(name, factor, channels):
    factor = shapes.integer(name, factor, 1)
    shapes.divides(name, factor, channels, "output channels")
    return channels // factor


def _halved(name, size):
    if min(size) < 2:
        raise ValueError(f"`{name}` is {size[0]} × {size[1]}; EffNet's block halves both sides, so 2 × 2 is the least")
    return size


def one_or_two(name, value):
    """Return `value` as an integer, or raise `ValueError` where it is neither 1 nor 2."""
    if shapes.integer(name, value, 1) > 2:
        raise ValueError(f"`{name}` (={value}) must be 1 or 2")
    return shapes.integer(name, value)


def number_of_splits(splits, middle):
    """Return `splits` as an integer, or raise `ValueError` unless each part has at least one channel."""
    splits = shapes.integer("splits", splits, 1)
    if splits > middle:
        raise ValueError(f"`splits` (={splits}) must be at most {middle}, the channels in the middle of the block")
    return splits


def parts(channels, splits):
    """Return the (first, end) of each part of the channels; the widths differ by one at most.

    >>> parts(10, 4)
    [(0, 3), (3, 6), (6, 8), (8, 10)]
    """
    width, rest = channels // splits, channels % splits
    ends = [i * width + min(i, rest) for i in range(splits + 1)]
    return [(ends[i], ends[i + 1]) for i in range(splits)]


# --- the shapes of weights -----------------------------------------------------------------


def depthwise_separable_shapes(in_channels, out_channels, kernel_size=3):
    """Return the shape of each field of `DepthwiseSeparableWeights`, in its order."""
    C, O, K = in_channels, out_channels, kernel_size
    return [(C, 1, K, K), (C,), (O, C, 1, 1), (O,)]


def inverted_residual_shapes(in_channels, middle, out_channels, kernel_size=3):
    """Return the shape of each field of `InvertedResidualWeights`; middle None leaves the expansion out.

    >>> inverted_residual_shapes(16, None, 8)[:3]
    [None, None, (16, 1, 3, 3)]
    """
    C, O, K = in_channels, out_channels, kernel_size
    M = C if middle is None else middle
    first = [None, None] if middle is None else [(M, C, 1, 1), (M,)]
    return first + [(M, 1, K, K), (M,), (O, M, 1, 1), (O,)]


def squeeze_excite_shapes(channels, squeezed):
    """Return the shape of each field of `SqueezeExciteWeights`, in its order."""
    return [(squeezed, channels, 1, 1), (squeezed,), (channels, squeezed, 1, 1), (channels,)]


def effnet_shapes(in_channels, middle, out_channels, kernel_size=3):
    """Return the shape of each field of `EffNetWeights`, in its order."""
    M, K = middle, kernel_size
    return [
        (M, in_channels, 1, 1), (M,), (M, 1, 1, K), (M,), (M, 1, K, 1), (M,), (out_channels, M, 2, 1), (out_channels,),
    ]


def shuffle_unit_shapes(in_channels, middle, branch, groups, kernel_size=3, first_groups=None):
    """Return the shape of each field of `ShuffleUnitWeights`, where the last convolution gives `branch` channels."""
    M, K, first = middle, kernel_size, groups if first_groups is None else first_groups
    return [(M, in_channels // first, 1, 1), (M,), (M, 1, K, K), (M,), (branch, M // groups, 1, 1), (branch,)]


# --- what the functions accept -------------------------------------------------------------
# Each returns what both versions need; each raises the one sentence that both versions give.


def any_floats(name, x):
    """Check that `x` is an array of floats, of any shape."""
    shapes.library(name, x)
    shapes.has_shape(name, x, tuple(x.shape))


def depthwise_separable_block(x, weights, stride):
    """Return `(stride, padding)` as pairs, for a `DepthwiseSeparableWeights` that fits x `(N, C, H, W)`."""
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "DepthwiseSeparableWeights")
    given = _depthwise(weights, "w_depthwise", "b_depthwise", (channels, "x"))
    shapes.layer(weights, "w_pointwise", "b_pointwise", given, "O C 1 1")
    shapes.same_kind_as_weights(x, weights)
    return _window(x, weights.w_depthwise, stride)


def inverted_residual(x, weights, stride, splits):
    """Return `(stride, padding, parts, shortcut)`, for an `InvertedResidualWeights` that fits x.

    `parts` lists the first channel and the end of each part of the middle; `shortcut` tells whether
    the input is added.
    """
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "InvertedResidualWeights")
    given = shapes.layer(weights, "w_expand", "b_expand", (channels, "x"), "M C 1 1", optional=True)
    given = _depthwise(weights, "w_depthwise", "b_depthwise", given)
    filters, _ = shapes.layer(weights, "w_project", "b_project", given, "O M 1 1")
    shapes.same_kind_as_weights(x, weights)
    stride, padding = _window(x, weights.w_depthwise, stride)
    shortcut = stride == (1, 1) and filters == channels
    return stride, padding, parts(given[0], number_of_splits(splits, given[0])), shortcut


def squeeze_excite(x, weights):
    """Check that `weights` is a `SqueezeExciteWeights` that fits x `(N, C, H, W)`."""
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "SqueezeExciteWeights")
    given = shapes.layer(weights, "w_reduce", "b_reduce", (channels, "x"), "R C 1 1")
    filters, _ = shapes.layer(weights, "w_expand", "b_expand", given, "C R 1 1")
    if filters != channels:
        raise ValueError(f"`weights.w_expand` gives {filters} channels; `x` has {channels}")
    shapes.same_kind_as_weights(x, weights)


def effnet_block(x, weights, negative_slope):
    """Return both paddings, of the row and of the column, for an `EffNetWeights` that fits x."""
    _, channels, height, width = shapes.array("x", x, "N C H W")
    shapes.named_tuple(weights, "EffNetWeights")
    given = shapes.layer(weights, "w_pointwise", "b_pointwise", (channels, "x"), "M C 1 1")
    given = _depthwise(weights, "w_row", "b_row", given, "M 1 1 KW")
    given = _depthwise(weights, "w_column", "b_column", given, "M 1 KH 1")
    shapes.layer(weights, "w_project", "b_project", given, "O M 2 1")
    shapes.same_kind_as_weights(x, weights)
    _halved("x", (height, width))
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, (int, float)):
        raise ValueError(f"`negative_slope` (={negative_slope!r}) must be a number")
    return (0, weights.w_row.shape[3] // 2), (weights.w_column.shape[2] // 2, 0)


def shuffle_unit(x, weights, groups, stride):
    """Return `(stride, padding, first_groups)`, for a `ShuffleUnitWeights` that fits x `(N, C, H, W)`."""
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "ShuffleUnitWeights")
    groups = shapes.integer("groups", groups, 1)
    stride = one_or_two("stride", stride)
    shapes.divides("groups", groups, channels, "input channels")
    shape = tuple(getattr(weights.w_reduce, "shape", ()))
    first = 1 if shape[1:2] == (channels,) else groups  # the network's first unit has it ungrouped
    given = shapes.layer(weights, "w_reduce", "b_reduce", (channels, "x"), "M C 1 1", groups=first)
    shapes.divides("groups", groups, given[0], "channels in the middle of the block")
    given = _depthwise(weights, "w_depthwise", "b_depthwise", given)
    filters, _ = shapes.layer(weights, "w_expand", "b_expand", given, "O M 1 1", groups=groups)
    if stride == 1 and filters != channels:
        raise ValueError(f"`weights.w_expand` gives {filters} channels; with `stride` = 1 `x` is added, which has {channels}")
    shapes.same_kind_as_weights(x, weights)
    stride, padding = _window(x, weights.w_depthwise, stride)
    return stride, padding, first


def channel_shuffle(x, groups):
    """Return the order of the channels after the shuffle, for x `(N, C, H, W)`."""
    channels = shapes.array("x", x, "N C H W")[1]
    groups = shapes.integer("groups", groups, 1)
    shapes.divides("groups", groups, channels, "channels")
    return shuffle_permutation(channels, groups)


def linear_bottleneck_loss(points, matrix):
    """Check that points are `(POINTS, 2)` and the matrix `(ROWS, 2)`; return how thin counts as flat.

    Whether they are finite, spread out and of full rank, `finite` and `spread` check.
    """
    shapes.array("points", points, "POINTS 2")
    shapes.array("matrix", matrix, "ROWS 2")
    shapes.same_kind(points=points, matrix=matrix)
    kind = shapes.dtype_name(points)
    if kind not in ("float32", "float64"):
        raise ValueError(f"`points` ({kind}) must be float32 or float64: there is no SVD of others")
    return 2.0**-26 if kind == "float64" else 2.0**-11  # about √ε


def finite(name, is_finite):
    """Raise `ValueError` unless an array is finite."""
    if not is_finite:
        raise ValueError(f"`{name}` holds NaN or infinity; finite numbers are needed")


def spread(differ, full_rank):
    """Raise `ValueError` where all points are one, or the matrix loses a direction by itself."""
    if not differ:
        raise ValueError("`points` are all the same point; at least two that differ are needed")
    if not full_rank:
        raise ValueError("`matrix` has a rank below 2: it loses a direction before the ReLU does")


def _depthwise(weights, field, bias, given, axes="M 1 KH KW"):
    """Check a depthwise convolution, one filter a channel; return the same as `shapes.layer`."""
    w, b = getattr(weights, field), getattr(weights, bias)
    for name, value in ((field, w), (bias, b)):
        if value is None:
            raise ValueError(f"`weights.{name}` is None; this convolution can't be left out")
    filters, _, height, width = shapes.array(f"weights.{field}", w, axes)
    if filters != given[0]:
        verb = "has" if given[1] == "x" else "gives"
        raise ValueError(f"`weights.{field}` has {filters} filters; `{given[1]}` {verb} {given[0]} channels")
    shapes.odd(f"weights.{field}", (height, width))
    shapes.has_shape(f"weights.{bias}", b, (filters,))
    return filters, f"weights.{field}"


def _window(x, kernel, stride):
    """Return the stride as a pair, and the padding that keeps the size at stride 1."""
    size = tuple(kernel.shape[2:])
    padding = size[0] // 2, size[1] // 2
    return shapes.window2d(tuple(x.shape[2:]), size, stride, padding)[:2]
