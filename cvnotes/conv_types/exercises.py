"""The exercises on types of convolution: stubs, solutions, and the mistakes that their checks know."""

from cvnotes.checking import Exercise
from cvnotes.conv_types import formulas

_OVERLAPS = "def overlaps(size, kernel, stride):\n    "

overlaps = Exercise(
    name="overlaps",
    stub=_OVERLAPS + "# return a list: how many inputs write into each output\n    ...\n",
    solution=_OVERLAPS + """\
counts = [0] * ((size - 1) * stride + kernel)
    for i in range(size):
        for k in range(kernel):
            counts[i * stride + k] += 1
    return counts
""",
    cases=[(1, 2, 1), (2, 2, 2), (3, 2, 1), (3, 3, 2), (4, 4, 2), (3, 5, 3)],
    expected=formulas.overlaps,
    wrong={
        "Each input is one stride further on than the input before it.": _OVERLAPS + """\
counts = [0] * ((size - 1) * stride + kernel)
    for i in range(size):
        for k in range(kernel):
            counts[i + k] += 1
    return counts
""",
        "The last input still writes a whole kernel: the output has (size − 1)·stride + kernel pixels.": _OVERLAPS + """\
counts = [0] * (size * stride)
    for i in range(size):
        for k in range(kernel):
            if i * stride + k < len(counts):
                counts[i * stride + k] += 1
    return counts
""",
        "Those are the windows of a convolution; here each input writes, and the output grows.": _OVERLAPS + """\
counts = [0] * size
    for i in range(0, size - kernel + 1, stride):
        for k in range(kernel):
            counts[i + k] += 1
    return counts
""",
    },
    hint="Input i writes into the outputs i·stride, i·stride + 1, … as many as the kernel has taps.",
    notice="Away from the ends the counts are all the same exactly where the stride divides the kernel.",
)

_SEPARABLE = "def separable_weights(channels, filters, kernel):\n    "

separable_weights = Exercise(
    name="separable_weights",
    stub=_SEPARABLE + "...\n",
    solution=_SEPARABLE + """\
depthwise = channels * kernel * kernel
    pointwise = channels * filters
    return depthwise + pointwise
""",
    cases=[(2, 3, 3), (3, 128, 3), (64, 64, 5), (512, 512, 3)],
    expected=formulas.separable_weights,
    wrong={
        "Something must mix the channels: add the 1×1 convolution.": _SEPARABLE + """\
return channels * kernel * kernel
""",
        "That is the standard convolution.": _SEPARABLE + """\
return filters * channels * kernel * kernel
""",
        "The kernel has two sides.": _SEPARABLE + """\
return channels * kernel + channels * filters
""",
        "The depthwise step has one kernel for each input channel, not for each filter.": _SEPARABLE + """\
return filters * kernel * kernel + channels * filters
""",
        "The two steps come one after the other: their weights add up.": _SEPARABLE + """\
return channels * kernel * kernel * channels * filters
""",
    },
    hint="One K × K kernel for each input channel; then a 1×1 convolution from all channels to all filters.",
    notice="With 512 channels 3 × 3, nearly all of the weights are in the 1×1 convolution: 262,144 of 266,752.",
)

_SEEN = "def seen(dilations):\n    "

seen = Exercise(
    name="seen",
    stub=_SEEN + "# return the sorted list of the offsets\n    ...\n",
    solution=_SEEN + """\
offsets = {0}
    for dilation in dilations:
        offsets = {place + tap * dilation for place in offsets for tap in (-1, 0, 1)}
    return sorted(offsets)
""",
    cases=[([],), ([1],), ([2],), ([1, 1],), ([2, 2],), ([1, 2, 4],), ([2, 4, 8],), ([1, 2, 5],)],
    expected=lambda dilations: [
        place - len(formulas.paths(dilations)) // 2 for place, count in enumerate(formulas.paths(dilations)) if count
    ],
    wrong={
        "Not all pixels between the first and the last are seen: dilation leaves holes.": _SEEN + """\
reach = sum(dilations)
    return list(range(-reach, reach + 1))
""",
        "The taps lie on both sides of the middle: −1, 0 and 1 times the dilation.": _SEEN + """\
offsets = {0}
    for dilation in dilations:
        offsets = {place + tap * dilation for place in offsets for tap in (0, 1, 2)}
    return sorted(offsets)
""",
        "Each layer reads what the layer before it has read: its offsets add to those.": _SEEN + """\
offsets = {0}
    for dilation in dilations:
        offsets = offsets | {-dilation, dilation}
    return sorted(offsets)
""",
        "The output depends on each pixel once: list each offset once.": _SEEN + """\
offsets = [0]
    for dilation in dilations:
        offsets = [place + tap * dilation for place in offsets for tap in (-1, 0, 1)]
    return sorted(offsets)
""",
    },
    hint="Start from the set {0}. Each layer adds −dilation, 0 and dilation to every offset in it.",
    notice="With 1, 2, 4 all 15 pixels are seen. With 2, 4, 8 there are just as many, but every other one is missing.",
)

_BILINEAR = "def bilinear(image, y, x):\n    "


def _sample(image, y, x):
    corners = formulas.bilinear_corners(y, x, len(image), len(image[0]))
    return float(sum(weight * image[row][column] for row, column, weight in corners))


_SMALL = [[0.0, 10.0], [20.0, 40.0]]
_LOOP = """\
from math import floor
    total = 0.0
    for row in (floor(y), floor(y) + 1):
        for column in (floor(x), floor(x) + 1):
            """

bilinear = Exercise(
    name="bilinear",
    stub=_BILINEAR + "# image is a list of rows; pixels outside it are 0\n    ...\n",
    solution=_BILINEAR + _LOOP + """\
if 0 <= row < len(image) and 0 <= column < len(image[0]):
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row][column]
    return total
""",
    cases=[(_SMALL, 0.0, 1.0), (_SMALL, 0.0, 0.25), (_SMALL, 0.75, 0.0), (_SMALL, 0.5, 0.25), (_SMALL, 1.0, 1.5),
           (_SMALL, -0.25, 0.0), (_SMALL, 5.0, 0.0), (_SMALL, -2.0, 0.5)],
    expected=_sample,
    wrong={
        "Mix the four corners; yours takes the nearest pixel alone.": _BILINEAR + """\
row, column = int(y + 0.5), int(x + 0.5)
    return image[row][column] if 0 <= row < len(image) and 0 <= column < len(image[0]) else 0.0
""",
        "y counts the rows and x the columns.": _BILINEAR + "y, x = x, y\n    " + _LOOP + """\
if 0 <= row < len(image) and 0 <= column < len(image[0]):
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row][column]
    return total
""",
        "A corner outside counts as 0; yours repeats the border's pixel.": _BILINEAR + _LOOP + """\
inside = image[min(max(row, 0), len(image) - 1)][min(max(column, 0), len(image[0]) - 1)]
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * inside
    return total
""",
        "A negative index reads the image from its other end.": _BILINEAR + _LOOP + """\
if row < len(image) and column < len(image[0]):
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row][column]
    return total
""",
    },
    hint="The corner (row, column) weighs (1 − |y − row|)·(1 − |x − column|).",
    notice="The weights are linear in y and in x: this is why a network can learn where to look.",
)

_RANK = "import numpy as np\n\n\ndef rank_one(kernel):\n    "


def _kernels():
    import numpy as np

    random = np.random.default_rng(0)
    return [(np.array([[2.0]]),), (np.array([[1.0, 2.0], [2.0, 4.0]]),), (np.array([[3.0, 0.0], [0.0, 1.0]]),),
            (random.standard_normal((3, 4)),), (random.standard_normal((5, 2)),)]


def _rank_one(kernel):
    import numpy as np

    from cvnotes.conv_types import reference

    column, row, _ = reference.separate_kernel(kernel)
    return np.outer(column, row)


rank_one = Exercise(
    name="rank_one",
    stub=_RANK + "# return the closest matrix of the form column · row\n    ...\n",
    solution=_RANK + """\
u, sigma, vt = np.linalg.svd(kernel)
    return sigma[0] * np.outer(u[:, 0], vt[0])
""",
    cases=_kernels,
    expected=_rank_one,
    wrong={
        "u and v have length 1; the size of the kernel is in the singular value.": _RANK + """\
u, sigma, vt = np.linalg.svd(kernel)
    return np.outer(u[:, 0], vt[0])
""",
        "NumPy returns vᵀ: its rows are the singular vectors.": _RANK + """\
u, sigma, vt = np.linalg.svd(kernel)
    return sigma[0] * np.outer(u[:, 0], vt[:, 0])
""",
        "The singular values come in falling order: keep the first, not the last.": _RANK + """\
u, sigma, vt = np.linalg.svd(kernel, full_matrices=False)
    return sigma[-1] * np.outer(u[:, -1], vt[-1])
""",
        "The kernel's own middle row and column are not the best pair unless its rank is 1.": _RANK + """\
i, j = kernel.shape[0] // 2, kernel.shape[1] // 2
    return np.outer(kernel[:, j], kernel[i]) / kernel[i, j] if kernel[i, j] else 0 * kernel
""",
    },
    hint="np.linalg.svd gives u, the singular values, and vᵀ; keep the first of each.",
    notice="What is lost has the norm √(σ₂² + σ₃² + …), and no other pair loses less.",
    plain=False,
)
