"""Sizes, reach and sharing on plain numbers, and what the chapter's functions ask of their arguments."""

from cvnotes import shapes


def touches(size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return, for each input pixel along one axis, how many of the kernel's places touch it.

    A pixel with 0 is never seen: whatever it holds, the output stays the same.

    Raises `ValueError` as `shapes.output_size` does.

    >>> touches(6, 3, stride=2)     # windows 0–2 and 2–4; the floor leaves pixel 5 out
    [1, 1, 2, 1, 1, 0]
    """
    places = shapes.output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    counts = [0] * size
    for place in range(places):
        for tap in range(kernel_size):
            pixel = place * stride + tap * dilation - padding
            if 0 <= pixel < size:
                counts[pixel] += 1
    return counts


def remainder(size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return how many cells at the end of the padded input the floor drops: 0 to stride − 1.

    >>> remainder(6, 3, stride=2)
    1
    """
    shapes.output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    return (size + 2 * padding - shapes.window_size(kernel_size, dilation)) % stride


def sizes_with_output(output, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return all input sizes whose output along one axis is `output` long: at most `stride` of them.

    A transposed convolution with `output_padding` 0 makes the smallest of them, unless that
    would be empty; each step of `output_padding` makes the next.

    >>> sizes_with_output(3, 3, stride=2)
    [7, 8]
    """
    output = shapes.integer("output", output, 1)
    stride = shapes.integer("stride", stride, 1)
    padding = shapes.integer("padding", padding, 0)
    smallest = (output - 1) * stride - 2 * padding + shapes.window_size(kernel_size, dilation)
    return [size for size in range(smallest, smallest + stride) if size >= 1]


# --- stacks ------------------------------------------------------------------------------


def stack_sizes(size, layers):
    """Return the size along one axis after each layer of `(kernel, stride, padding, dilation)`.

    >>> stack_sizes(227, [(11, 4, 0, 1), (3, 2, 0, 1)])
    [55, 27]
    """
    found = []
    for kernel, stride, padding, dilation in layers:
        size = shapes.output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)
        found.append(size)
    return found


def theoretical_field(size, layers, place):
    """Return `(first, last)`, the input pixels that bound what output `place` can see, both included.

    They are cut off at the border of an input of `size` pixels; what lies outside is padding.

    >>> theoretical_field(10, [(3, 2, 1, 1), (3, 1, 1, 1)], 0)
    (0, 3)
    """
    field, jump, start = shapes.receptive_field(layers)[-1]
    first = int(start - field / 2 + place * jump)
    return max(first, 0), min(first + field - 1, size - 1)


def _convolutions(names, kernel=3):
    return [(name, kernel, 1, kernel // 2, 1) for name in names.split()]


# The main path of three networks, from the paper's tables: (name, kernel, stride, padding, dilation).
NETWORKS = {
    # Krizhevsky et al. 2012; its 224 pixels do not fit an 11×11 kernel with stride 4, 227 do.
    "AlexNet": [
        ("conv1", 11, 4, 0, 1), ("pool1", 3, 2, 0, 1), ("conv2", 5, 1, 2, 1), ("pool2", 3, 2, 0, 1),
        *_convolutions("conv3 conv4 conv5"), ("pool5", 3, 2, 0, 1),
    ],
    # Simonyan and Zisserman 2015, column D
    "VGG-16": [
        *_convolutions("conv1_1 conv1_2"), ("pool1", 2, 2, 0, 1),
        *_convolutions("conv2_1 conv2_2"), ("pool2", 2, 2, 0, 1),
        *_convolutions("conv3_1 conv3_2 conv3_3"), ("pool3", 2, 2, 0, 1),
        *_convolutions("conv4_1 conv4_2 conv4_3"), ("pool4", 2, 2, 0, 1),
        *_convolutions("conv5_1 conv5_2 conv5_3"), ("pool5", 2, 2, 0, 1),
    ],
    # He et al. 2016, table 1; the shortcuts see less than the path beside them
    "ResNet-18": [
        ("conv1", 7, 2, 3, 1), ("pool1", 3, 2, 1, 1),
        *_convolutions("conv2_1a conv2_1b conv2_2a conv2_2b"),
        ("conv3_1a", 3, 2, 1, 1), *_convolutions("conv3_1b conv3_2a conv3_2b"),
        ("conv4_1a", 3, 2, 1, 1), *_convolutions("conv4_1b conv4_2a conv4_2b"),
        ("conv5_1a", 3, 2, 1, 1), *_convolutions("conv5_1b conv5_2a conv5_2b"),
    ],
}
INPUT_SIZES = {"AlexNet": 227, "VGG-16": 224, "ResNet-18": 224}


def layers_of(network):
    """Return the layers of one of `NETWORKS` as `(kernel, stride, padding, dilation)`."""
    if network not in NETWORKS:
        raise ValueError(f"`network` (={network!r}) must be one of {', '.join(NETWORKS)}")
    return [layer[1:] for layer in NETWORKS[network]]


# --- a convolution as a matrix -----------------------------------------------------------


def weights_in_matrix(channels, filters, size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return `(entries, not_zero, different)` of `conv_matrix` for a square image and kernel.

    `entries` is what a fully connected layer of the same inputs and outputs would learn,
    `not_zero` what of it a convolution uses, `different` how many numbers it learns.

    >>> weights_in_matrix(1, 1, 6, 3)
    (576, 144, 9)
    """
    counts = touches(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    places = shapes.output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    both = channels * filters
    return both * (places * size) ** 2, both * sum(counts) ** 2, both * kernel_size**2


def matrix_row(size, kernel_size, row, *, stride=1):
    """Return, tap by tap, the columns in which one row of the matrix of a convolution is not zero.

    For one channel, one filter, a square image, no padding.

    >>> matrix_row(4, 2, 4)     # the second row of places, the second place in it
    [5, 6, 9, 10]
    """
    places = shapes.output_size(size, kernel_size, stride=stride)
    top, left = row // places * stride, row % places * stride
    return [(top + i) * size + left + j for i in range(kernel_size) for j in range(kernel_size)]


# --- arguments ---------------------------------------------------------------------------


def conv_matrix_arguments(w, input_size, stride, padding, dilation):
    """Check what `conv_matrix` is given; return `(H, W)`, stride, padding, dilation, `(OH, OW)`."""
    kernel_size = shapes.array("w", w, "O C KH KW")[2:]
    input_size = shapes.pair("input_size", input_size, 1)
    return (input_size, *shapes.window2d(input_size, kernel_size, stride, padding, dilation))


def stack_arguments(x, weights, strides, paddings, relu):
    """Check what `effective_receptive_field` is given.

    Returns a list of `(stride, padding)`, both pairs, one a layer, and the last layer's `(OH, OW)`.
    """
    _, channels, height, width = shapes.array("x", x, "N C H W")
    if not isinstance(weights, (list, tuple)) or not weights:
        raise ValueError(f"`weights` (a {type(weights).__name__}) must be a list of at least one array")
    if not isinstance(relu, bool):
        raise ValueError(f"`relu` (={relu!r}) must be True or False")
    strides = _one_a_layer("strides", strides, len(weights))
    paddings = _one_a_layer("paddings", paddings, len(weights))
    size, layers = (height, width), []
    for i, w in enumerate(weights):
        name = f"weights[{i}]"
        filters, depth, *kernel_size = shapes.array(name, w, "O C KH KW")
        if depth != channels:
            raise ValueError(f"`{name}` has {depth} channels a filter; {channels} are needed")
        shapes.same_kind(**{"x": x, name: w})
        stride = shapes.pair(f"strides[{i}]", strides[i], 1)
        padding = shapes.pair(f"paddings[{i}]", paddings[i], 0)
        size = shapes.window2d(size, kernel_size, stride, padding)[-1]
        channels = filters
        layers.append((stride, padding))
    return layers, size


def _one_a_layer(name, value, count):
    """Return a list with one entry a layer: an integer counts for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"`{name}` has {len(value)} entries; one for each of the {count} layers is needed")
    return list(value)
