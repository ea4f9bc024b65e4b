"""What a layer costs: parameters, multiply-adds, activations, bytes moved, arithmetic intensity.

Plain integers: the formulas run in a page of the book as they run here. `trace` finds the same
numbers for any torch module, by running it.

A multiply-add is one multiplication and the addition that follows; where others count operations
(FLOPs), it counts as two. Only products with weights, or of two arrays, count: convolutions and
matrix products. A bias, a batch norm, an activation, a pooling or a sum of two branches has no
multiply-adds here, as in the papers; what it moves through memory shows in `bytes_moved`.
"""

from cvnotes import shapes
from cvnotes.explorer.drawing import number


class Cost:
    """What one layer, or several together, cost.

    - params: learned numbers
    - macs: multiply-adds
    - activations: elements of the output; of the outputs of all layers, in a sum

    Costs add up: ``a + b``, ``sum(costs)``, ``3 * a`` for three such layers. Printed, a cost is a
    row of a table: parameters, multiply-adds, activations.

    Raises `ValueError` where one of the three is not an integer, or is negative.

    >>> a = Cost(params=10, macs=1_000, activations=100)
    >>> a + 2 * a
    Cost(params=30, macs=3000, activations=300)
    >>> print(a)
                10             1,000           100
    """

    __slots__ = ("params", "macs", "activations")

    def __init__(self, params=0, macs=0, activations=0):
        for name, value in (("params", params), ("macs", macs), ("activations", activations)):
            object.__setattr__(self, name, shapes.integer(name, value, 0, None))

    def __setattr__(self, name, value):
        raise AttributeError(f"a cost does not change: `{name}` can't be set")

    __delattr__ = lambda self, name: self.__setattr__(name, None)  # noqa: E731

    def __add__(self, other):
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.params + other.params, self.macs + other.macs, self.activations + other.activations)

    def __radd__(self, other):  # `sum` begins with 0
        return self if type(other) is int and other == 0 else NotImplemented

    def __mul__(self, times):
        times = shapes.integer("times", times, 0, None)
        return Cost(self.params * times, self.macs * times, self.activations * times)

    __rmul__ = __mul__

    def __eq__(self, other):
        if not isinstance(other, Cost):
            return NotImplemented
        return (self.params, self.macs, self.activations) == (other.params, other.macs, other.activations)

    def __hash__(self):
        return hash((self.params, self.macs, self.activations))

    def __reduce__(self):  # a copy or a pickle is made as a new cost
        return Cost, (self.params, self.macs, self.activations)

    def __repr__(self):
        return f"Cost(params={self.params}, macs={self.macs}, activations={self.activations})"

    def __str__(self):
        return number(self.params).rjust(14) + number(self.macs).rjust(18) + number(self.activations).rjust(14)


# --- layers ----------------------------------------------------------------------------


def conv2d(in_channels, out_channels, kernel_size, output_size, *, groups=1, bias=False):
    """Return the `Cost` of a convolution for one image.

    params = O · C/G · KH · KW (+ O with a bias);  macs = O · C/G · KH · KW · OH · OW

    - in_channels C, out_channels O, groups G (divides both): integers
    - kernel_size, output_size: pixels, an integer or a pair (vertical, horizontal)
    - bias: whether each filter has one; it adds parameters, not multiply-adds

    Raises `ValueError` where an argument is not an integer, is below 1, or G does not divide.

    >>> conv2d(192, 32, 5, 28).macs         # the 5×5 branch of an Inception module, not reduced
    120422400
    """
    kernel_height, kernel_width, height, width = _window(kernel_size, output_size)
    filters, weights = _weights(in_channels, out_channels, kernel_height * kernel_width, groups)
    return Cost(weights + filters * _flag("bias", bias), weights * height * width, filters * height * width)


def conv_transpose2d(in_channels, out_channels, kernel_size, input_size, output_size, *, groups=1, bias=False):
    """Return the `Cost` of a transposed convolution for one image: each input is used K² times.

    params = C · O/G · KH · KW (+ O with a bias);  macs = C · O/G · KH · KW · H · W

    Arguments as in `conv2d`; input_size is (H, W) before, output_size (OH, OW) after it.

    >>> conv_transpose2d(8, 4, 2, 14, 28)
    Cost(params=128, macs=25088, activations=3136)
    """
    kernel_height, kernel_width, height, width = _window(kernel_size, output_size)
    rows, columns = shapes.pair("input_size", input_size, 1)
    filters, weights = _weights(in_channels, out_channels, kernel_height * kernel_width, groups)
    return Cost(weights + filters * _flag("bias", bias), weights * rows * columns, filters * height * width)


def linear(in_features, out_features, *, bias=False):
    """Return the `Cost` of a fully connected layer for one vector: in · out.

    Raises `ValueError` where an argument is not an integer or is below 1.

    >>> linear(1024, 1000, bias=True)
    Cost(params=1025000, macs=1024000, activations=1000)
    """
    given = shapes.integer("in_features", in_features, 1)
    made = shapes.integer("out_features", out_features, 1)
    return Cost(given * made + made * _flag("bias", bias), given * made, made)


def batch_norm2d(channels, output_size):
    """Return the `Cost` of a batch norm for one image: a scale and a shift a channel, no multiply-adds.

    At inference it can be folded into the convolution before it, and then costs nothing at all.

    >>> batch_norm2d(64, 112)
    Cost(params=128, macs=0, activations=802816)
    """
    return Cost(2 * shapes.integer("channels", channels, 1)) + elementwise(channels, output_size)


def elementwise(channels, output_size):
    """Return the `Cost` of an activation, a pooling or an addition for one image: its output alone.

    >>> elementwise(64, 112)
    Cost(params=0, macs=0, activations=802816)
    """
    height, width = shapes.pair("output_size", output_size, 1)
    return Cost(activations=shapes.integer("channels", channels, 1) * height * width)


def _window(kernel_size, output_size):
    return shapes.pair("kernel_size", kernel_size, 1) + shapes.pair("output_size", output_size, 1)


def _weights(in_channels, out_channels, taps, groups):
    """Return the filters and how many weights they have in all."""
    channels = shapes.integer("in_channels", in_channels, 1)
    filters = shapes.integer("out_channels", out_channels, 1)
    groups = shapes.integer("groups", groups, 1)
    shapes.divides("groups", groups, channels, "input channels")
    shapes.divides("groups", groups, filters, "filters")
    return filters, filters * (channels // groups) * taps


def _flag(name, value):
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` (={value!r}) must be True or False")
    return 1 if value else 0


# --- memory ----------------------------------------------------------------------------


def bytes_moved(cost, inputs, *, bytes_per_element=4):
    """Return how many bytes a layer moves at least: it reads inputs and parameters, and writes its output.

    - cost: the layer's `Cost`
    - inputs: elements that it reads beside its parameters
    - bytes_per_element: 4 for float32, 2 for float16

    Each element is counted once, as if a cache held whatever is used again; a real machine moves more.

    >>> bytes_moved(conv2d(1, 1, 3, 4), inputs=36)      # 36 inputs, 9 weights, 16 outputs
    244
    """
    if not isinstance(cost, Cost):
        raise ValueError(f"`cost` (={cost!r}) must be a Cost")
    inputs = shapes.integer("inputs", inputs, 0, None)
    return shapes.integer("bytes_per_element", bytes_per_element, 1) * (inputs + cost.params + cost.activations)


def intensity(cost, inputs, *, bytes_per_element=4):
    """Return the arithmetic intensity of a layer: operations (two a multiply-add) for each byte moved.

    A machine that can do B operations in the time in which it moves a byte is limited by its
    arithmetic where the intensity is above B, and by its memory where it is below: the roofline
    model. A layer that moves nothing has the intensity 0.

    Source: Williams, Waterman and Patterson, Roofline (2009).

    >>> intensity(conv2d(4, 4, 1, 1), inputs=4)                 # 2 · 16 operations, 4 · (4 + 16 + 4) bytes
    0.3333333333333333
    >>> size = 128 * 28 * 28                                    # 1×1 and depthwise 3×3 on the same map
    >>> int(intensity(conv2d(128, 128, 1, 28), size)), int(intensity(conv2d(128, 128, 3, 28, groups=128), size))
    (29, 2)
    """
    moved = bytes_moved(cost, inputs, bytes_per_element=bytes_per_element)
    return 2 * cost.macs / moved if moved else 0.0


# --- any module ------------------------------------------------------------------------


def trace(module, input_size):
    """Run a torch module once and return what each of its layers costs, a `Trace`.

    - module: any `torch.nn.Module`, with its parameters on any device; on `meta` nothing is
      computed, and the trace of a large network takes a moment
    - input_size: the shape of its input with the batch, as in ``(1, 3, 224, 224)``; for a module of
      several inputs a list of shapes; in place of a shape a tensor, where its values matter

    The trace is a table of rows in order of execution, with `.total`. A row has `name`, `kind`,
    `output_shape`, `cost`, and `inputs`, the elements that it reads; from these `bytes_moved()` and
    `intensity()`. A layer without children is one row; what a larger module computes by itself (a
    sum of two branches, a concatenation, `F.relu`) is one too, under that module's name. Views
    cost nothing and have no row. A parameter counts where it is first used; one that is never used
    does not count.

    Costs are those of the whole batch. The module is run as it stands, in training mode or
    evaluation mode, without gradients; its buffers are as before afterwards, and so is the state of
    the random numbers.

    Raises `ValueError` where `module` is none or `input_size` is no shape, list of shapes or tensor.
    """
    from cvnotes import tracing  # torch, which a page has not

    return tracing.trace(module, input_size)
