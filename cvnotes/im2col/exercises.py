"""The exercises of im2col: stubs, solutions, and the mistakes that their checks recognise."""

from cvnotes.checking import Exercise
from cvnotes.im2col import formulas


def _shape(channels, size, kernel, stride, padding):
    return formulas.columns_shape(channels, size, kernel, stride=stride, padding=padding)


_SHAPE = "def columns_shape(channels, size, kernel, stride, padding):\n    "

columns_shape = Exercise(
    name="columns_shape",
    stub=_SHAPE + "...\n",
    solution=_SHAPE + """\
places = [(s + 2 * padding - kernel) // stride + 1 for s in size]
    return channels * kernel * kernel, places[0] * places[1]
""",
    cases=[(1, (3, 3), 2, 1, 0), (2, (4, 4), 3, 1, 0), (3, (5, 7), 3, 2, 1), (64, (56, 56), 3, 1, 1),
           (3, (227, 227), 11, 4, 0)],
    expected=_shape,
    wrong={
        "A column holds the patch of every channel: the rows are channels · kernel · kernel.": _SHAPE + """\
places = [(s + 2 * padding - kernel) // stride + 1 for s in size]
    return kernel * kernel, places[0] * places[1]
""",
        "A column for each place of the kernel, not for each pixel: use the output's size.": _SHAPE + """\
return channels * kernel * kernel, size[0] * size[1]
""",
        "Rows and columns are swapped: a patch is a column.": _SHAPE + """\
places = [(s + 2 * padding - kernel) // stride + 1 for s in size]
    return places[0] * places[1], channels * kernel * kernel
""",
        "The stride leaves fewer places; divide by it and round down.": _SHAPE + """\
places = [s + 2 * padding - kernel + 1 for s in size]
    return channels * kernel * kernel, places[0] * places[1]
""",
        "The padding adds to both sides of both axes.": _SHAPE + """\
places = [(s - kernel) // stride + 1 for s in size]
    return channels * kernel * kernel, places[0] * places[1]
""",
    },
    hint="Rows: one for each tap of each channel. Columns: one for each place, OH · OW.",
    notice="The last case is AlexNet's first layer: 363 rows, where the image has 3 channels.",
)


def _patches(image, kernel):
    height, width = len(image), len(image[0])
    return [
        [image[p + i][q + j] for p in range(height - kernel + 1) for q in range(width - kernel + 1)]
        for i in range(kernel)
        for j in range(kernel)
    ]


_IM2COL = "def im2col(image, kernel):\n    "
_SMALL = [[1, 2, 3], [4, 5, 6]]

im2col = Exercise(
    name="im2col",
    stub=_IM2COL + "# image is a list of rows; return the matrix as a list of rows too\n    ...\n",
    solution=_IM2COL + """\
OH, OW = len(image) - kernel + 1, len(image[0]) - kernel + 1
    matrix = []
    for i in range(kernel):
        for j in range(kernel):
            matrix.append([image[p + i][q + j] for p in range(OH) for q in range(OW)])
    return matrix
""",
    cases=[([[7]], 1), (_SMALL, 2), (_SMALL, 1), ([[4 * y + x for x in range(4)] for y in range(5)], 3)],
    expected=_patches,
    wrong={
        "Yours is the transpose: a patch is a column, and a row of the matrix is one tap at all places.": _IM2COL + """\
OH, OW = len(image) - kernel + 1, len(image[0]) - kernel + 1
    return [[image[p + i][q + j] for i in range(kernel) for j in range(kernel)]
            for p in range(OH) for q in range(OW)]
""",
        "Within a patch go row by row: the tap to the right comes before the tap below.": _IM2COL + """\
OH, OW = len(image) - kernel + 1, len(image[0]) - kernel + 1
    return [[image[p + i][q + j] for p in range(OH) for q in range(OW)]
            for j in range(kernel) for i in range(kernel)]
""",
        "Go over the places row by row: the place to the right comes before the place below.": _IM2COL + """\
OH, OW = len(image) - kernel + 1, len(image[0]) - kernel + 1
    return [[image[p + i][q + j] for q in range(OW) for p in range(OH)]
            for i in range(kernel) for j in range(kernel)]
""",
        "Patches overlap: with stride 1 the kernel moves one pixel at a time.": _IM2COL + """\
return [[image[p + i][q + j] for p in range(0, len(image) - kernel + 1, kernel)
             for q in range(0, len(image[0]) - kernel + 1, kernel)]
            for i in range(kernel) for j in range(kernel)]
""",
    },
    hint="Row i·kernel + j of the matrix is the image seen through tap (i, j) alone: the image, shifted.",
    notice="Each row is the image itself, shifted and cropped. The implicit convolution lives on just that.",
)


def _signals():
    import numpy as np

    return [(np.array([[1.0]]), 1), (np.array([[1.0, 2.0], [10.0, 20.0]]), 3), (np.ones((3, 4)), 6),
            (np.arange(12.0).reshape(3, 4), 6)]


def _col2im(columns, size):
    from cvnotes.im2col import reference

    return reference.col2im(columns[None], (1, size), (1, len(columns)))[0, 0, 0]


_COL2IM = "import numpy as np\n\n\ndef col2im(columns, size):\n    "

col2im = Exercise(
    name="col2im",
    stub=_COL2IM + "# columns (K, L) of a signal of `size` numbers, stride 1, no padding\n    ...\n",
    solution=_COL2IM + """\
K, L = columns.shape
    x = np.zeros(size)
    for j in range(K):
        x[j:j + L] += columns[j]
    return x
""",
    cases=_signals,
    expected=_col2im,
    wrong={
        "Where patches overlap, add. An assignment keeps only what came last; so does x[index] += … where the "
        "index names a pixel twice.": _COL2IM + """\
K, L = columns.shape
    x = np.zeros(size)
    x[np.arange(K)[:, None] + np.arange(L)] += columns
    return x
""",
        "The first row of the columns belongs to the first tap: it goes back to x[l], not to the last pixels.": _COL2IM + """\
K, L = columns.shape
    x = np.zeros(size)
    for j in range(K):
        x[j:j + L] += columns[K - 1 - j]
    return x
""",
        "The adjoint adds; it takes no mean. It is not the inverse of im2col.": _COL2IM + """\
K, L = columns.shape
    x, count = np.zeros(size), np.zeros(size)
    for j in range(K):
        x[j:j + L] += columns[j]
        count[j:j + L] += 1
    return x / count
""",
    },
    hint="Element (j, l) of the columns was taken from x[l + j]. Add it there.",
    notice="The columns of ones gave 1 2 3 3 2 1: how many patches hold each pixel.",
    plain=False,
)


def _gradients():
    import numpy as np

    random = np.random.default_rng(0)
    return [(np.array([[[2.0]]]), np.array([[[3.0]]]))] + [
        (random.integers(-3, 4, (n, o, l)) * 1.0, random.integers(-3, 4, (n, r, l)) * 1.0)
        for n, o, r, l in ((1, 1, 1, 3), (1, 2, 2, 2), (2, 2, 2, 2), (2, 2, 3, 4))
    ]


def _weight_gradient(g, columns):
    import numpy as np

    return np.einsum("nol,nrl->or", g, columns)


_GRADIENT = "import numpy as np\n\n\ndef weight_gradient(g, columns):\n    "

weight_gradient = Exercise(
    name="weight_gradient",
    stub=_GRADIENT + "# g (N, O, L), columns (N, R, L); return dW (O, R)\n    ...\n",
    solution=_GRADIENT + "return (g @ columns.transpose(0, 2, 1)).sum(0)\n",
    cases=_gradients,
    expected=_weight_gradient,
    wrong={
        "Every image of the batch went through the same weights: sum over the batch.": _GRADIENT + """\
return (g @ columns.transpose(0, 2, 1))[0]
""",
        "dW has two axes, (O, R): sum over the batch.": _GRADIENT + """\
return g @ columns.transpose(0, 2, 1)
""",
        "Turn the columns round first: (O, L) is multiplied with (L, R).": _GRADIENT + """\
return (g @ columns).sum(0)
""",
        "Sum over the batch; the mean belongs into the loss, if you want one.": _GRADIENT + """\
return (g @ columns.transpose(0, 2, 1)).mean(0)
""",
        "dW has the shape of W: a row for each filter.": _GRADIENT + """\
return (columns @ g.transpose(0, 2, 1)).sum(0)
""",
    },
    hint="W[o, r] meets columns[n, r, l] for every n and l, and what comes out carries the gradient g[n, o, l].",
    notice="One matrix product an image. For the loops of the definition this gradient would be seven loops again.",
    plain=False,
)
