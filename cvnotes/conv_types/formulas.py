"""The equations of the chapter on plain numbers, and the arguments that its functions accept."""

from cvnotes import cost, shapes

# --- what the functions accept ---------------------------------------------------------
# Each returns what both versions need; each raises the one sentence that both versions give.


def conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for w `(C, O / groups, KH, KW)`."""
    _, channels, height, width = shapes.array("x", x, "N C H W")
    depth, filters, kernel_height, kernel_width = shapes.array("w", w, "C O KH KW")
    groups = shapes.integer("groups", groups, 1)
    shapes.divides("groups", groups, channels, "input channels")
    if depth != channels:
        raise ValueError(f"`w` has {depth} input channels on its first axis; `x` has {channels}")
    if b is not None:
        shapes.has_shape("b", b, (filters * groups,))
    shapes.same_kind(x=x, w=w, b=b)
    stride = shapes.pair("stride", stride, 1)
    padding = shapes.pair("padding", padding, 0)
    output_padding = shapes.pair("output_padding", output_padding, 0)
    dilation = shapes.pair("dilation", dilation, 1)
    size, kernel = (height, width), (kernel_height, kernel_width)
    places = tuple(
        shapes.transposed_output_size(
            size[i], kernel[i], stride=stride[i], padding=padding[i],
            output_padding=output_padding[i], dilation=dilation[i],
        )
        for i in (0, 1)
    )
    return stride, padding, dilation, places


def dilate_kernel(w, dilation):
    """Return `dilation` as a pair, for w of two axes or more, the last two being `(KH, KW)`."""
    shapes.library("w", w)
    rank = len(w.shape)
    names = ("A", "O", "C", "KH", "KW")
    shapes.array("w", w, " ".join(names[max(0, 5 - max(rank, 2)):]))
    return shapes.pair("dilation", dilation, 1)


def separate_kernel(kernel):
    """Check that `kernel` is a matrix `(KH, KW)`; whether it is finite is for `all_finite`."""
    shapes.array("kernel", kernel, "KH KW")
    if shapes.dtype_name(kernel) not in ("float32", "float64"):
        raise ValueError(f"`kernel` ({shapes.dtype_name(kernel)}) must be float32 or float64: it has no SVD else")


def all_finite(name, finite):
    """Raise `ValueError` unless `finite`."""
    if not finite:
        raise ValueError(f"`{name}` holds NaN or infinity; finite numbers are needed")


def spatially_separable_conv2d(x, column, row, stride, padding, dilation):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for column `(KH,)`, row `(KW,)`."""
    _, _, height, width = shapes.array("x", x, "N C H W")
    (kernel_height,) = shapes.array("column", column, "KH")
    (kernel_width,) = shapes.array("row", row, "KW")
    shapes.same_kind(x=x, column=column, row=row)
    return shapes.window2d((height, width), (kernel_height, kernel_width), stride, padding, dilation)


def depthwise_separable_conv2d(x, depthwise, pointwise, stride, padding, dilation):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for depthwise `(C·M, 1, KH, KW)`."""
    _, channels, height, width = shapes.array("x", x, "N C H W")
    middle, _, kernel_height, kernel_width = shapes.array("depthwise", depthwise, "CM 1 KH KW")
    if middle % channels:
        raise ValueError(
            f"`depthwise` has {middle} filters; a multiple of the {channels} input channels is needed"
        )
    _, depth, _, _ = shapes.array("pointwise", pointwise, "O CM 1 1")
    if depth != middle:
        raise ValueError(f"`pointwise` takes {depth} channels; `depthwise` gives {middle}")
    shapes.same_kind(x=x, depthwise=depthwise, pointwise=pointwise)
    return shapes.window2d((height, width), (kernel_height, kernel_width), stride, padding, dilation)


def deform_conv2d(x, offset, w, b, stride, padding, dilation, mask):
    """Return `(stride, padding, dilation, (OH, OW), groups, offset_groups)`."""
    images, channels, height, width = shapes.array("x", x, "N C H W")
    filters, depth, kernel_height, kernel_width = shapes.array("w", w, "O C KH KW")
    if channels % depth:
        raise ValueError(
            f"`w` has {depth} channels a filter; a divisor of the {channels} input channels is needed"
        )
    groups = channels // depth
    if filters % groups:
        raise ValueError(
            f"`w` has {filters} filters; a multiple of the {groups} groups is needed "
            f"({channels} input channels, {depth} a filter)"
        )
    if b is not None:
        shapes.has_shape("b", b, (filters,))
    stride, padding, dilation, places = shapes.window2d(
        (height, width), (kernel_height, kernel_width), stride, padding, dilation
    )
    taps = kernel_height * kernel_width
    _, numbers, _, _ = shapes.array("offset", offset, "N GK OH OW")
    if numbers % (2 * taps) or channels % (numbers // (2 * taps)):
        raise ValueError(
            f"`offset` has {numbers} channels; 2·G·{taps} are needed, where G divides "
            f"the {channels} input channels"
        )
    offset_groups = numbers // (2 * taps)
    shapes.has_shape("offset", offset, (images, numbers) + places)
    if mask is not None:
        shapes.has_shape("mask", mask, (images, offset_groups * taps) + places)
    shapes.same_kind(x=x, offset=offset, w=w, b=b, mask=mask)
    return stride, padding, dilation, places, groups, offset_groups


def involution2d(x, kernel, stride, dilation):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for `(N, G, KH, KW, OH, OW)`."""
    images, channels, height, width = shapes.array("x", x, "N C H W")
    _, groups, kernel_height, kernel_width, _, _ = shapes.array("kernel", kernel, "N G KH KW OH OW")
    if channels % groups:
        raise ValueError(
            f"`kernel` has {groups} groups; a divisor of the {channels} input channels is needed"
        )
    if kernel_height % 2 == 0 or kernel_width % 2 == 0:
        raise ValueError(f"`kernel` is {kernel_height} × {kernel_width}; odd sizes are needed")
    dilation = shapes.pair("dilation", dilation, 1)
    padding = dilation[0] * (kernel_height // 2), dilation[1] * (kernel_width // 2)
    size = kernel_height, kernel_width
    stride, padding, dilation, places = shapes.window2d((height, width), size, stride, padding, dilation)
    shapes.has_shape("kernel", kernel, (images, groups) + size + places)
    shapes.same_kind(x=x, kernel=kernel)
    return stride, padding, dilation, places


# --- bilinear sampling -----------------------------------------------------------------


def bilinear_corners(y, x, height, width):
    """Return `[(row, column, weight), …]`: the pixels that a sample at (y, x) is mixed from.

    Rows and columns count from 0 at a pixel's centre. Only the corners inside the image are
    listed, as those outside count as zero; a sample at or beyond −1 or the size has none.

    >>> bilinear_corners(0.25, 1.0, 4, 4)
    [(0, 1, 0.75), (0, 2, 0.0), (1, 1, 0.25), (1, 2, 0.0)]
    """
    if not (-1 < y < height and -1 < x < width):
        return []
    top, left = int(y + 1) - 1, int(x + 1) - 1
    return [
        (row, column, (1 - abs(y - row)) * (1 - abs(x - column)))
        for row in (top, top + 1)
        for column in (left, left + 1)
        if 0 <= row < height and 0 <= column < width
    ]


# --- what it costs ---------------------------------------------------------------------


def weights(channels, filters, kernel, groups=1):
    """Return how many weights a K × K convolution has: O · C/G · K².

    >>> weights(64, 128, 3), weights(64, 128, 3, groups=4)
    (73728, 18432)
    """
    return cost.conv2d(channels, filters, kernel, 1, groups=groups).params


def separable_weights(channels, filters, kernel):
    """Return how many weights a depthwise separable convolution has: C·K² + C·O.

    >>> separable_weights(64, 128, 3)
    8768
    """
    return weights(channels, channels, kernel, channels) + weights(channels, filters, 1)


def separable_ratio(filters, kernel):
    """Return the cost of a depthwise separable convolution over the standard one: 1/O + 1/K².

    The same for weights and for multiply-adds, whatever the channels and the places are.

    >>> separable_ratio(128, 3) == separable_weights(64, 128, 3) / weights(64, 128, 3)
    True
    """
    return (filters + kernel * kernel) / (filters * kernel * kernel)


# --- where the weights go --------------------------------------------------------------


def overlaps(size, kernel, stride):
    """Return how many inputs of a transposed convolution write into each output, along one axis.

    >>> overlaps(4, 3, 2)           # every second output is written twice
    [1, 1, 2, 1, 2, 1, 2, 1, 1]
    """
    counts = [0] * shapes.transposed_output_size(size, kernel, stride=stride)
    for i in range(size):
        for k in range(kernel):
            counts[i * stride + k] += 1
    return counts


def paths(dilations, kernel=3):
    """Return on how many ways each input reaches the middle output of a stack, along one axis.

    One layer for each dilation, all of the same odd kernel size; the list goes from the first
    pixel of the receptive field to the last. A 0 is a hole: a pixel that the output never sees.

    >>> paths([1, 1]), paths([2, 2])
    ([1, 2, 3, 2, 1], [1, 0, 2, 0, 3, 0, 2, 0, 1])
    """
    counts = [1]
    for dilation in dilations:
        wider = [0] * (len(counts) + shapes.window_size(kernel, dilation) - 1)
        for place in range(len(counts)):
            for k in range(kernel):
                wider[place + k * dilation] += counts[place]
        counts = wider
    return counts


def bent_taps(a, b, kernel=3):
    """Return the taps of a K × K kernel turned and scaled: [(y, x), …] from its middle, row by row.

    A tap (y, x) goes to (a·y + b·x, a·x − b·y), with a = scale·cos and b = scale·sin of an angle.

    >>> bent_taps(2, 0)[:3]             # twice as wide
    [(-2, -2), (-2, 0), (-2, 2)]
    """
    middle = (kernel - 1) // 2
    taps = [(k - middle, l - middle) for k in range(kernel) for l in range(kernel)]
    return [(a * y + b * x, a * x - b * y) for y, x in taps]


# The depthwise separable layers of MobileNet (Howard et al. 2017, table 1): channels, filters, and
# the side of the output.
MOBILENET = [
    (32, 64, 112), (64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 256, 28), (256, 512, 14),
    *[(512, 512, 14)] * 5, (512, 1024, 7), (1024, 1024, 7),
]
