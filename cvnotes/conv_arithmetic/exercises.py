"""The exercises of convolution arithmetic."""

from cvnotes import shapes
from cvnotes.checking import Exercise
from cvnotes.conv_arithmetic import formulas

_OUTPUT_SIZE = "def output_size(size, kernel_size, stride, padding, dilation):\n    "
output_size = Exercise(
    name="output_size",
    stub=_OUTPUT_SIZE + "...\n",
    solution=_OUTPUT_SIZE
    + "window = dilation * (kernel_size - 1) + 1\n    return (size + 2 * padding - window) // stride + 1\n",
    cases=[(4, 1, 1, 0, 1), (7, 3, 1, 0, 1), (7, 3, 1, 1, 1), (8, 3, 2, 0, 1), (9, 3, 1, 0, 2), (224, 7, 2, 3, 1),
           (227, 11, 4, 0, 1), (32, 5, 3, 2, 2)],
    expected=lambda size, kernel_size, stride, padding, dilation: shapes.output_size(
        size, kernel_size, stride=stride, padding=padding, dilation=dilation
    ),
    wrong={
        "A count of places is a whole number: divide with `//`, which is the floor.":
            _OUTPUT_SIZE + "return (size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1\n",
        "One place is there before the first step: add 1 after the division.":
            _OUTPUT_SIZE + "return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride\n",
        "The padding stands on both sides: it counts twice.":
            _OUTPUT_SIZE + "return (size + padding - dilation * (kernel_size - 1) - 1) // stride + 1\n",
        "A dilated kernel spans `dilation * (kernel_size - 1) + 1` pixels.":
            _OUTPUT_SIZE + "return (size + 2 * padding - kernel_size) // stride + 1\n",
        "Between `kernel_size` taps are `kernel_size - 1` steps: the window is not `dilation * kernel_size`.":
            _OUTPUT_SIZE + "return (size + 2 * padding - dilation * kernel_size) // stride + 1\n",
        "A step that does not fit is not made: round down, not up.":
            _OUTPUT_SIZE + "return -(-(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride) + 1\n",
    },
    hint="Count the steps that the window can make from the first place to the last, then add the first place.",
    notice="The same line serves convolution and pooling, height and width.",
)

_UNSEEN = "def unseen(size, kernel_size, stride):\n    "
unseen = Exercise(
    name="unseen",
    stub=_UNSEEN + "...\n",
    solution="""\
def unseen(size, kernel_size, stride):
    seen = set()
    for start in range(0, size - kernel_size + 1, stride):
        seen.update(range(start, start + kernel_size))
    return [pixel for pixel in range(size) if pixel not in seen]
""",
    cases=[(3, 3, 1), (4, 3, 2), (6, 3, 2), (8, 3, 3), (8, 2, 4), (10, 1, 3), (12, 3, 4)],
    expected=lambda size, kernel_size, stride: [
        pixel for pixel, count in enumerate(formulas.touches(size, kernel_size, stride=stride)) if not count
    ],
    wrong={
        "The floor drops pixels at the end, but a stride larger than the kernel also steps over pixels between.":
            _UNSEEN + "return list(range(size - (size - kernel_size) % stride, size))\n",
        "The window may start at `size - kernel_size` too: the end of a `range` is not in it.": """\
def unseen(size, kernel_size, stride):
    seen = set()
    for start in range(0, size - kernel_size, stride):
        seen.update(range(start, start + kernel_size))
    return [pixel for pixel in range(size) if pixel not in seen]
""",
        "Only windows that lie wholly on the input count: the last may start at `size - kernel_size`.": """\
def unseen(size, kernel_size, stride):
    seen = set()
    for start in range(0, size, stride):
        seen.update(range(start, start + kernel_size))
    return [pixel for pixel in range(size) if pixel not in seen]
""",
        "Give the pixels themselves, as a list, not how many they are.":
            _UNSEEN + "return (size - kernel_size) % stride\n",
    },
    hint="Walk the window over the input and note each pixel that it touches; the others are the answer, in order.",
    notice="With a stride of at most the kernel, only the floor leaves pixels out, and at most stride − 1 of them.",
)

_OUTPUT_PADDING = "def output_padding(size, kernel_size, stride, padding):\n    "
output_padding = Exercise(
    name="output_padding",
    stub=_OUTPUT_PADDING + "...\n",
    solution=_OUTPUT_PADDING + "return (size + 2 * padding - kernel_size) % stride\n",
    cases=[(3, 3, 1, 0), (6, 3, 2, 0), (7, 3, 2, 0), (8, 3, 2, 1), (8, 3, 3, 1), (6, 3, 4, 1), (9, 2, 4, 0),
            (224, 7, 2, 3), (227, 11, 4, 2)],
    expected=lambda size, kernel_size, stride, padding: formulas.remainder(
        size, kernel_size, stride=stride, padding=padding
    ),
    wrong={
        "It depends on the size: only where the division leaves a remainder is something missing.":
            _OUTPUT_PADDING + "return stride - 1\n",
        "The padding is part of what is divided: it makes the input longer on both sides.":
            _OUTPUT_PADDING + "return (size - kernel_size) % stride\n",
        "Count both sides of the padding.":
            _OUTPUT_PADDING + "return (size + padding - kernel_size) % stride\n",
        "The kernel takes its share too: what is divided by the stride is `size + 2 * padding - kernel_size`.":
            _OUTPUT_PADDING + "return size % stride\n",
        "This is the number of places less one; what the division leaves over is wanted.":
            _OUTPUT_PADDING + "return (size + 2 * padding - kernel_size) // stride\n",
    },
    hint="Without it, the way back makes (OH − 1)·stride − 2·padding + kernel_size pixels; how many are missing?",
    notice="It is what the floor of the forward convolution dropped, and always less than the stride.",
)

_FIELD = "def receptive_field(layers):\n    "
receptive_field = Exercise(
    name="receptive_field",
    stub=_FIELD + "...\n",
    solution="""\
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * jump
        jump *= stride
    return size
""",
    cases=[([],), ([(3, 1)],), ([(3, 1), (3, 1)],), ([(3, 2), (3, 1)],), ([(7, 2), (3, 2), (3, 1), (3, 1)],),
           ([(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2)],)],
    expected=lambda layers: ([1] + [field[0] for field in shapes.receptive_field(
        [(kernel, stride, 0, 1) for kernel, stride in layers]
    )])[-1],
    wrong={
        "A layer's own stride only moves the layers after it: change the jump after the size.": """\
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride in layers:
        jump *= stride
        size += (kernel - 1) * jump
    return size
""",
        "The fields don't multiply: each layer adds (kernel − 1) steps.": """\
def receptive_field(layers):
    size = 1
    for kernel, stride in layers:
        size *= kernel
    return size
""",
        "A step of this layer is as long as the strides before it, multiplied: keep that product too.": """\
def receptive_field(layers):
    size = 1
    for kernel, stride in layers:
        size += kernel - 1
    return size
""",
        "Of a kernel of k only k − 1 pixels are new: neighbours share the rest.": """\
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride in layers:
        size += kernel * jump
        jump *= stride
    return size
""",
        "Strides multiply from layer to layer; they do not add.": """\
def receptive_field(layers):
    size, jump = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * jump
        jump += stride - 1
    return size
""",
    },
    hint="Carry two numbers from layer to layer: the size of the field, and the jump from one output to the next.",
    notice="The last case is AlexNet up to its last pooling: 195 pixels of its 227.",
)

_BANDED = "import numpy as np\n\n\ndef banded(kernel, size):\n    "


def _banded_cases():
    import numpy as np

    return [(np.array([2.0]), 2), (np.array([1.0, 2.0]), 3), (np.array([1.0, 2.0, 3.0]), 3),
            (np.array([1.0, -2.0, 4.0]), 6)]


def _banded(kernel, size):
    from cvnotes.conv_arithmetic import reference

    return reference.conv_matrix(kernel[None, None, None, :], (1, size))


banded = Exercise(
    name="banded",
    stub=_BANDED + "...\n",
    solution=_BANDED + """\
places = size - len(kernel) + 1
    matrix = np.zeros((places, size))
    for place in range(places):
        matrix[place, place:place + len(kernel)] = kernel
    return matrix
""",
    cases=_banded_cases,
    expected=_banded,
    wrong={
        "The kernel is not turned round here: in each place its first weight meets the first pixel.": _BANDED + """\
places = size - len(kernel) + 1
    matrix = np.zeros((places, size))
    for place in range(places):
        matrix[place, place:place + len(kernel)] = kernel[::-1]
    return matrix
""",
        "One row for each output, one column for each input: yours is the transpose.": _BANDED + """\
places = size - len(kernel) + 1
    matrix = np.zeros((size, places))
    for place in range(places):
        matrix[place:place + len(kernel), place] = kernel
    return matrix
""",
        "Only `size - len(kernel) + 1` places fit; the kernel does not come back in at the other end.": _BANDED + """\
matrix = np.zeros((size, size))
    for place in range(size):
        for tap in range(len(kernel)):
            matrix[place, (place + tap) % size] = kernel[tap]
    return matrix
""",
        "In each next row the kernel moves one pixel to the right.": _BANDED + """\
matrix = np.zeros((size - len(kernel) + 1, size))
    matrix[:, :len(kernel)] = kernel
    return matrix
""",
    },
    hint="Row i holds the kernel from column i on, and zeros elsewhere.",
    notice="The diagonals are constant: a Toeplitz matrix. An image has two axes, so its matrix is one of such blocks.",
    plain=False,
)
