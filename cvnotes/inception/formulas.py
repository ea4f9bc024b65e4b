"""The equations of the chapter on plain integers, and the arguments that its functions accept."""

from cvnotes import cost, shapes

# --- what blocks cost ------------------------------------------------------------------
# Costs are those of one image. Convolutions keep its size ("same" padding, stride 1) unless the size
# that is given is said to be that of the output. Without biases, as in the papers' tables, unless
# `bias` is True: they add parameters, not multiply-adds. A ReLU works in place and has no row.


def chain(size, widths, kernel_sizes, *, bias=False):
    """Return the `Cost` of each convolution of a chain, where each reads what the one before it gives.

    - size: that of the output, the same for all; an integer or a pair (vertical, horizontal)
    - widths: channels before the first convolution, and after each one: one more than kernels
    - kernel_sizes: one for each convolution, an integer or a pair

    A reduction is a chain, and so are an mlpconv (K, 1, 1) and a factorised kernel ((1, K), (K, 1)).

    Raises `ValueError` where the numbers don't fit or are below 1.

    >>> [step.macs for step in chain(28, (192, 32), (5,))]              # the 5×5 branch as it is
    [120422400]
    >>> [step.macs for step in chain(28, (192, 16, 32), (1, 5))]        # through 16 channels
    [2408448, 10035200]
    """
    if len(widths) != len(kernel_sizes) + 1 or not kernel_sizes:
        raise ValueError(
            f"`widths` (={tuple(widths)}) must be one more than `kernel_sizes` (={tuple(kernel_sizes)})"
        )
    return [
        cost.conv2d(widths[i], widths[i + 1], kernel_sizes[i], size, bias=bias) for i in range(len(kernel_sizes))
    ]


def module_cost(size, in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, *, bias=False):
    """Return the `Cost` of each branch of an Inception module, by its name, in the order of the paper.

    - size: that of input and output; an integer or a pair
    - in_channels: C; the widths of the branches are named as in PyTorch, and stand in the order of
      the paper's table
    - ch3x3red, ch5x5red, pool_proj: None leaves this 1×1 convolution out; all three None is the
      naive module

    Raises `ValueError` where a number is not an integer or is below 1.

    >>> reduced = module_cost(28, 192, 64, 96, 128, 16, 32, 32)         # module 3a of GoogLeNet
    >>> [branch.macs for branch in reduced.values()]
    [9633792, 101154816, 12443648, 4816896]
    >>> naive = module_cost(28, 192, 64, None, 128, None, 32, None)
    >>> sum(naive.values()).macs, sum(reduced.values()).macs
    (303464448, 128049152)
    """
    in_channels = shapes.integer("in_channels", in_channels, 1)
    for name, width in (("ch1x1", ch1x1), ("ch3x3", ch3x3), ("ch5x5", ch5x5)):
        shapes.integer(name, width, 1)
    for name, width in (("ch3x3red", ch3x3red), ("ch5x5red", ch5x5red), ("pool_proj", pool_proj)):
        if width is not None:
            shapes.integer(name, width, 1)
    branches = {"1×1": chain(size, (in_channels, ch1x1), (1,), bias=bias)}
    for name, kernel_size, reduced, width in (("3×3", 3, ch3x3red, ch3x3), ("5×5", 5, ch5x5red, ch5x5)):
        if reduced is None:
            branches[name] = chain(size, (in_channels, width), (kernel_size,), bias=bias)
        else:
            branches[name] = chain(size, (in_channels, reduced, width), (1, kernel_size), bias=bias)
    branches["pool"] = [cost.elementwise(in_channels, size)]
    if pool_proj is not None:
        branches["pool"] += chain(size, (in_channels, pool_proj), (1,), bias=bias)
    return {name: sum(branches[name]) for name in branches}


def module_width(in_channels, ch1x1, ch3x3, ch5x5, pool_proj):
    """Return how many channels an Inception module gives: the widths of its four branches.

    Without a projection (None) the pool passes all input channels on.

    >>> module_width(192, 64, 128, 32, 32), module_width(192, 64, 128, 32, None)
    (256, 416)
    """
    given = (("ch1x1", ch1x1), ("ch3x3", ch3x3), ("ch5x5", ch5x5))
    passed = shapes.integer("in_channels", in_channels, 1)
    if pool_proj is not None:
        passed = shapes.integer("pool_proj", pool_proj, 1)
    return sum(shapes.integer(name, width, 1) for name, width in given) + passed


def break_even(in_channels, out_channels, kernel_size):
    """Return the largest number of channels R of a reduction that still saves multiply-adds; 0 if none does.

    R·(C + K²·O) < K²·C·O,  so  R < K²·C·O / (C + K²·O)

    where R channels of a 1×1 convolution stand before a K × K one from C to O channels. The number of
    places is on both sides, so it is the same for weights and for multiply-adds. (With a pair for K,
    K² is KH·KW.)

    Raises `ValueError` where a number is not an integer or is below 1.

    >>> break_even(192, 32, 5), break_even(192, 128, 3), break_even(4, 4, 1)
    (154, 164, 1)
    """
    C, O = shapes.integer("in_channels", in_channels, 1), shapes.integer("out_channels", out_channels, 1)
    height, width = shapes.pair("kernel_size", kernel_size, 1)
    taps = height * width
    return (taps * C * O - 1) // (C + taps * O)


def stack_depth(kernel_size):
    """Return how many 3×3 convolutions see as much as one of an odd K × K: (K − 1) / 2.

    Raises `ValueError` where K is not an integer, is even, or is below 1.

    >>> stack_depth(5), stack_depth(7)
    (2, 3)
    """
    kernel_size = shapes.integer("kernel_size", kernel_size, 1)
    if kernel_size % 2 == 0:
        raise ValueError(f"`kernel_size` (={kernel_size}) must be odd")
    return kernel_size // 2


def fire_cost(size, in_channels, squeeze, expand1x1, expand3x3, *, bias=False):
    """Return the `Cost` of each convolution of a fire module, by its name.

    Raises `ValueError` where a number is not an integer or is below 1.

    >>> sum(fire_cost(55, 96, 16, 64, 64, bias=True).values()).params       # fire2 of SqueezeNet
    11920
    """
    for name, width in (("squeeze", squeeze), ("expand1x1", expand1x1), ("expand3x3", expand3x3)):
        shapes.integer(name, width, 1)
    return {
        "squeeze": cost.conv2d(in_channels, squeeze, 1, size, bias=bias),
        "expand 1×1": cost.conv2d(squeeze, expand1x1, 1, size, bias=bias),
        "expand 3×3": cost.conv2d(squeeze, expand3x3, 3, size, bias=bias),
    }


def separable_cost(size, in_channels, out_channels, kernel_size, *, multiplier=1, bias=False):
    """Return the `Cost` of both steps of a depthwise separable convolution: depthwise, pointwise.

    - size: that of the output
    - multiplier: filters for each channel in the first step

    Raises `ValueError` where a number is not an integer or is below 1.

    >>> [step.params for step in separable_cost(19, 728, 728, 3)]           # in Xception's middle
    [6552, 529984]
    """
    channels = shapes.integer("in_channels", in_channels, 1)
    between = channels * shapes.integer("multiplier", multiplier, 1)
    return [
        cost.conv2d(channels, between, kernel_size, size, groups=channels, bias=bias),
        cost.conv2d(between, out_channels, 1, size, bias=bias),
    ]


def segments_cost(size, in_channels, out_channels, kernel_size, segments, *, bias=False):
    """Return the `Cost` of both steps of an Inception module cut into equal branches: all 1×1, all K × K.

    A 1×1 convolution goes from C to O channels; these are cut into `segments` parts, and each part
    has a K × K convolution of its own. One segment is a 1×1 and an ordinary convolution; as many
    segments as channels is a depthwise separable convolution in the other order.

    Raises `ValueError` where a number is not an integer, is below 1, or segments don't divide O.

    >>> for segments in (1, 3, 192):
    ...     print(sum(segments_cost(28, 192, 192, 3, segments)).params)
    368640
    147456
    38592
    """
    O, segments = shapes.integer("out_channels", out_channels, 1), shapes.integer("segments", segments, 1)
    shapes.divides("segments", segments, O, "channels")
    return [
        cost.conv2d(in_channels, O, 1, size, bias=bias),
        cost.conv2d(O, O, kernel_size, size, groups=segments, bias=bias),
    ]


# --- the shapes of weights -------------------------------------------------------------


def inception_shapes(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj):
    """Return the shape of each field of `InceptionWeights`, in its order; None for what is left out.

    Arguments as in `module_cost`.

    >>> inception_shapes(192, 64, None, 128, 16, 32, None)[2:8]
    [None, None, (128, 192, 3, 3), (128,), (16, 192, 1, 1), (16,)]
    """
    C = in_channels
    found = [(ch1x1, C, 1, 1), (ch1x1,)]
    for reduced, width, kernel_size in ((ch3x3red, ch3x3, 3), (ch5x5red, ch5x5, 5)):
        found += [None, None] if reduced is None else [(reduced, C, 1, 1), (reduced,)]
        found += [(width, C if reduced is None else reduced, kernel_size, kernel_size), (width,)]
    return found + ([None, None] if pool_proj is None else [(pool_proj, C, 1, 1), (pool_proj,)])


# --- what the functions accept ---------------------------------------------------------
# Each raises the one sentence that both versions give.


def inception_module(x, weights):
    """Check that `weights` is an `InceptionWeights` that fits x `(N, C, H, W)` and itself."""
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "InceptionWeights")
    given = channels, "x"
    shapes.layer(weights, "w1", "b1", given, "O C 1 1")
    for name in ("3", "5"):
        middle = shapes.layer(weights, f"w{name}_reduce", f"b{name}_reduce", given, "R C 1 1", optional=True)
        shapes.layer(weights, f"w{name}", f"b{name}", middle, "O C KH KW", odd_kernel=True)
    shapes.layer(weights, "w_pool", "b_pool", given, "O C 1 1", optional=True)
    shapes.same_kind_as_weights(x, weights)


def mlpconv(x, weights, stride, padding):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for an `MlpconvWeights` that fits x."""
    _, channels, height, width = shapes.array("x", x, "N C H W")
    shapes.named_tuple(weights, "MlpconvWeights")
    given = shapes.layer(weights, "w", "b", (channels, "x"), "O C KH KW")
    given = shapes.layer(weights, "w1", "b1", given, "O C 1 1", optional=True)
    shapes.layer(weights, "w2", "b2", given, "O C 1 1", optional=True)
    shapes.same_kind_as_weights(x, weights)
    return shapes.window2d((height, width), tuple(weights.w.shape[2:]), stride, padding)


def global_average_pool2d(x):
    """Check that x is `(N, C, H, W)`."""
    shapes.array("x", x, "N C H W")


def fire_module(x, weights):
    """Check that `weights` is a `FireWeights` that fits x `(N, C, H, W)` and itself."""
    channels = shapes.array("x", x, "N C H W")[1]
    shapes.named_tuple(weights, "FireWeights")
    squeezed = shapes.layer(weights, "w_squeeze", "b_squeeze", (channels, "x"), "R C 1 1")
    shapes.layer(weights, "w1", "b1", squeezed, "O R 1 1")
    shapes.layer(weights, "w3", "b3", squeezed, "O R KH KW", odd_kernel=True)
    shapes.same_kind_as_weights(x, weights)
