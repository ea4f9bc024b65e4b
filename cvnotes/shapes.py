"""Sizes, receptive fields, and the checks that every public function makes of its arguments.

Plain integers and plain Python: this module runs in a page of the book as it runs here.
The checks look at an array only through its ``shape``, ``dtype`` and ``device``, so that the
NumPy reference and the Torch version refuse the same input with the same sentence.
"""


# --- argument checks -------------------------------------------------------------------


LARGEST = 2**31 - 1  # of a size, in pixels or channels: what all array libraries can count


def integer(name, value, minimum=None, maximum=LARGEST):
    """Return `value` as an int, or raise `ValueError` naming the argument `name`.

    Booleans and floats are refused, also 2.0; integers of NumPy and Torch are welcome.
    """
    if type(value) is not int:  # the usual case comes first: pages check thousands of sizes
        if isinstance(value, bool) or not hasattr(value, "__index__") or (
            hasattr(value, "dtype") and (len(value.shape) or "int" not in dtype_name(value))
        ):
            raise ValueError(f"`{name}` (={value!r}) must be an integer")
        value = value.__index__()
    if minimum is not None and value < minimum:
        raise ValueError(f"`{name}` (={value}) must be at least {minimum}")
    if maximum is not None and value > maximum:
        raise ValueError(f"`{name}` (={value}) must be at most {maximum}")
    return value


def pair(name, value, minimum=None):
    """Return `value` as `(vertical, horizontal)`: one integer counts for both directions."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"`{name}` (={value!r}) must be one integer or two, not {len(value)}")
        return integer(name, value[0], minimum), integer(name, value[1], minimum)
    value = integer(name, value, minimum)
    return value, value


def library(name, x):
    """Return `"numpy"` or `"torch"`, the library that `x` is an array of; raise otherwise."""
    for cls in type(x).__mro__:
        if cls.__name__ in ("ndarray", "Tensor"):
            return cls.__module__.split(".")[0]
    raise ValueError(f"`{name}` (a {type(x).__name__}) must be an array")


def only(kind, namespace):
    """Let the public functions of a module take arrays of one library, `"numpy"` or `"torch"`.

    `namespace` is the module's `globals()`. An array of the other library, also in a list, raises
    the `ValueError` that names its parameter.
    """
    for name, function in list(namespace.items()):
        if not name.startswith("_") and getattr(function, "__module__", None) == namespace["__name__"]:
            if hasattr(function, "__code__"):
                namespace[name] = _only(kind, function)


def _only(kind, function):
    names = getattr(function, "__wrapped__", function).__code__.co_varnames  # of the function within a decorator

    def checked(*args, **options):
        for name, value in list(zip(names, args)) + list(options.items()):
            for x in value if isinstance(value, (list, tuple)) else (value,):
                if hasattr(x, "dtype") and hasattr(x, "shape") and len(x.shape) and library(name, x) != kind:
                    raise ValueError(f"`{name}` (an array of {library(name, x)}) must be an array of {kind}")
        return function(*args, **options)

    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(checked, attribute, getattr(function, attribute))
    checked.__wrapped__ = function
    return checked


def dtype_name(x):
    """Return the name of the dtype of `x`, the same for both libraries: `"float32"`."""
    return str(x.dtype).replace("torch.", "")


FLOATS = ("float16", "bfloat16", "float32", "float64")


def array(name, x, axes):
    """Check that `x` is a floating-point array with the named axes, and return its shape.

    `axes` is a string such as `"N C H W"`: one word an axis. A word in capitals is a free
    size; a number is a size that is required. The first axis may be empty when it is N (a batch
    of no images is a valid batch); every other axis must hold at least one element.
    """
    library(name, x)
    shape = tuple(x.shape)
    words = axes.split()
    layout = "(" + ", ".join(words) + ("," if len(words) == 1 else "") + ")"
    if len(shape) != len(words):
        raise ValueError(f"`{name}` has the shape {shape}; {len(words)} axes {layout} are needed")
    for word, size in zip(words, shape):
        if word.isdigit() and size != int(word):
            raise ValueError(f"`{name}` has the shape {shape}; {layout} is needed")
        if size == 0 and word not in ("N", "0"):
            raise ValueError(f"`{name}` has the shape {shape}: its axis {word} must not be empty")
    kind = dtype_name(x)
    if kind not in FLOATS:
        raise ValueError(f"`{name}` ({kind}) must be of a floating-point dtype: {', '.join(FLOATS)}")
    return shape


def same_kind(**arrays):
    """Check that all arrays (None is passed over) share library, dtype and device.

    The first argument sets what the others must be.
    """
    first = None
    for name, x in arrays.items():
        if x is None:
            continue
        what = (library(name, x), dtype_name(x), str(getattr(x, "device", "cpu")))
        if first is None:
            first, expected = name, what
            continue
        for given, needed, noun in zip(what, expected, ("array of", "dtype", "device")):
            if given != needed:
                raise ValueError(f"`{name}` ({noun} {given}) must match `{first}` ({noun} {needed})")


def has_shape(name, x, shape):
    """Check that `x` is a floating-point array of exactly this `shape`."""
    library(name, x)
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"`{name}` has the shape {tuple(x.shape)}; {tuple(shape)} is needed")
    array(name, x, " ".join(str(size) for size in shape))


def divides(name, value, count, noun):
    """Check that the integer argument `name` divides `count`, as in ``6 input channels``."""
    if count % value:
        raise ValueError(f"`{name}` (={value}) must divide the {count} {noun}")


def odd(name, size):
    """Check that both sides of a kernel's `size` (height, width) are odd."""
    if size[0] % 2 == 0 or size[1] % 2 == 0:
        raise ValueError(f"`{name}` is {size[0]} × {size[1]}; odd sizes are needed")


# --- the weights of a block, a named tuple -----------------------------------------------


def named_tuple(weights, kind):
    """Check that `weights` is a named tuple of this `kind`, the name of its class."""
    if type(weights).__name__ != kind:
        raise ValueError(f"`weights` (a {type(weights).__name__}) must be a named tuple {kind}")


def layer(weights, field, bias, given, axes, *, groups=1, optional=False, odd_kernel=False):
    """Check one convolution of a block; return how many channels it gives, and the name of what gives them.

    `given` is the same of what it reads: `(channels, "x")` for the first. A convolution that is left
    out gives what it is given.
    """
    w, b = getattr(weights, field), getattr(weights, bias)
    if w is None or b is None:
        if not optional:
            raise ValueError(f"`weights.{field if w is None else bias}` is None; this convolution can't be left out")
        if w is not b:
            left, there = (field, bias) if w is None else (bias, field)
            raise ValueError(f"`weights.{left}` is None and `weights.{there}` is not; leave out both or neither")
        return given
    filters, depth, height, width = array(f"weights.{field}", w, axes)
    if depth * groups != given[0]:
        verb = "has" if given[1] == "x" else "gives"
        each = "" if groups == 1 else f" for each of {groups} groups"
        raise ValueError(f"`weights.{field}` takes {depth} channels{each}; `{given[1]}` {verb} {given[0]}")
    if groups > 1:
        divides("groups", groups, filters, f"filters of `weights.{field}`")
    if odd_kernel:
        odd(f"weights.{field}", (height, width))
    has_shape(f"weights.{bias}", b, (filters,))
    return filters, f"weights.{field}"


def same_kind_as_weights(x, weights):
    """Check that x and all fields of a block's weights share library, dtype and device."""
    same_kind(**{"x": x, **{f"weights.{name}": getattr(weights, name) for name in weights._fields}})


# --- sizes -----------------------------------------------------------------------------


def window_size(kernel_size, dilation=1):
    """Return how many pixels a kernel spans from its first tap to its last: d·(k − 1) + 1.

    >>> window_size(3, dilation=2)
    5
    """
    kernel_size = integer("kernel_size", kernel_size, 1)
    return integer("dilation", dilation, 1) * (kernel_size - 1) + 1


def output_size(size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return the number of places that a kernel takes along one axis.

    ⌊(size + 2·padding − dilation·(kernel_size − 1) − 1) / stride⌋ + 1

    All arguments are integers, in pixels. `padding` counts the zeros added on each side.

    Raises `ValueError` where an argument is not an integer, `size`, `kernel_size`, `stride` or
    `dilation` is below 1, `padding` is negative, or the kernel is larger than the padded input.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016),
    relationships 6 and 15.

    >>> output_size(7, 3, stride=2)     # windows start at 0, 2, 4
    3
    """
    size = integer("size", size, 1)
    stride = integer("stride", stride, 1)
    padding = integer("padding", padding, 0)
    window = window_size(kernel_size, dilation)
    if window > size + 2 * padding:
        raise ValueError(
            f"`kernel_size` (={kernel_size}) with `dilation` (={dilation}) spans {window} pixels; "
            f"the padded input has {size + 2 * padding}"
        )
    return (size + 2 * padding - window) // stride + 1


def transposed_output_size(size, kernel_size, *, stride=1, padding=0, output_padding=0, dilation=1):
    """Return the size that a transposed convolution makes along one axis.

    (size − 1)·stride − 2·padding + dilation·(kernel_size − 1) + output_padding + 1

    Several input sizes of a strided convolution share one output size; `output_padding` says
    which of them is meant. All arguments are integers, in pixels.

    Raises `ValueError` where an argument is not an integer or below its minimum, where
    `output_padding` is not smaller than the larger of `stride` and `dilation`, or where the
    result would have no pixel.

    Source: Dumoulin and Visin (2016), relationship 14; `output_padding` as in PyTorch.

    >>> transposed_output_size(3, 3, stride=2), transposed_output_size(3, 3, stride=2, output_padding=1)
    (7, 8)
    """
    size = integer("size", size, 1)
    stride = integer("stride", stride, 1)
    padding = integer("padding", padding, 0)
    output_padding = integer("output_padding", output_padding, 0)
    window = window_size(kernel_size, dilation)
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"`output_padding` (={output_padding}) must be smaller than `stride` (={stride}) "
            f"or `dilation` (={dilation})"
        )
    result = (size - 1) * stride - 2 * padding + window + output_padding
    if result < 1:
        raise ValueError(
            f"`padding` (={padding}) leaves an output of {result} pixels; at least 1 is needed"
        )
    return result


def same_padding(size, kernel_size, *, stride=1, dilation=1):
    """Return `(before, after)`, the zeros that make the output ⌈size / stride⌉ long.

    With stride 1 the output is as long as the input. Where the zeros cannot be shared evenly the
    extra one stands at the end, as in TensorFlow, and as in PyTorch's `padding="same"`, which
    takes stride 1 alone.

    Raises `ValueError` where an argument is not an integer or is below 1.

    >>> same_padding(6, 3, stride=2)    # three windows: 0–2, 2–4, 4–6
    (0, 1)
    """
    size = integer("size", size, 1)
    stride = integer("stride", stride, 1)
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + window_size(kernel_size, dilation) - size, 0)
    return total // 2, total - total // 2


def receptive_field(layers):
    """Return `(size, jump, start)` after each layer of a stack, along one axis, in input pixels.

    For each layer, with what the layers before it gave (1, 1, 0.5 for the input itself):

    - size = size + dilation·(kernel − 1)·jump: how many input pixels one output can see;
    - start = start + (dilation·(kernel − 1)/2 − padding)·jump: the centre of the first output,
      where the first input pixel has its centre at 0.5;
    - jump = jump·stride: how far apart the centres of two neighbouring outputs are.

    `layers` is a list of `(kernel, stride, padding, dilation)`; an empty list gives an empty list.

    Raises `ValueError` where a layer does not hold four integers, or one is below its minimum.

    Source: Dumoulin and Visin (2016); Araujo, Norris and Sim, Computing receptive fields of
    convolutional neural networks, Distill (2019).

    >>> receptive_field([(3, 1, 1, 1), (2, 2, 0, 1)])   # a 3×3 convolution, then 2×2 pooling
    [(3, 1, 0.5), (4, 2, 1.0)]
    """
    if not isinstance(layers, (tuple, list)):
        raise ValueError(f"`layers` (={layers!r}) must be a list of (kernel, stride, padding, dilation)")
    size, jump, start = 1, 1, 0.5
    fields = []
    for layer in layers:
        if not isinstance(layer, (tuple, list)) or len(layer) != 4:
            raise ValueError(f"`layers` holds {layer!r}; (kernel, stride, padding, dilation) is needed")
        kernel, stride, padding, dilation = layer
        reach = window_size(integer("kernel", kernel, 1), dilation) - 1
        size += reach * jump
        start += (reach / 2 - integer("padding", padding, 0)) * jump
        jump *= integer("stride", stride, 1)
        fields.append((size, jump, start))
    return fields


# --- a convolution's arguments ---------------------------------------------------------


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Check the arguments of a convolution and return what its loops need.

    `x` is `(N, C, H, W)`, `w` is `(O, C / groups, KH, KW)`, `b` is `(O,)` or None. Returns
    `(stride, padding, dilation, (OH, OW))`, each a pair (vertical, horizontal). Raises
    `ValueError` where ranks, channels, groups, dtypes, devices or sizes don't fit.
    """
    _, channels, height, width = array("x", x, "N C H W")
    filters, depth, kernel_height, kernel_width = array("w", w, "O C KH KW")
    groups = integer("groups", groups, 1)
    divides("groups", groups, channels, "input channels")
    divides("groups", groups, filters, "filters")
    if depth * groups != channels:
        raise ValueError(
            f"`w` has {depth} channels a filter; {channels // groups} are needed "
            f"({channels} input channels, `groups` = {groups})"
        )
    if b is not None:
        has_shape("b", b, (filters,))
    same_kind(x=x, w=w, b=b)
    return window2d((height, width), (kernel_height, kernel_width), stride, padding, dilation)


def window2d(size, kernel_size, stride=1, padding=0, dilation=1):
    """Return `(stride, padding, dilation, (OH, OW))` as pairs, for an image of `size` (H, W)."""
    stride = pair("stride", stride, 1)
    padding = pair("padding", padding, 0)
    dilation = pair("dilation", dilation, 1)
    places = tuple(
        output_size(size[i], kernel_size[i], stride=stride[i], padding=padding[i], dilation=dilation[i])
        for i in (0, 1)
    )
    return stride, padding, dilation, places
