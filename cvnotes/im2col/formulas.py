"""Sizes, places and costs of im2col, on plain integers; and the checks that both versions share."""

from cvnotes import shapes


def columns_shape(channels, size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return `(rows, columns)` of the matrix that im2col makes of one image.

    rows = C·KH·KW, one for each tap of each channel; columns = L = OH·OW, one for each place of
    the kernel. `size` is the image's `(H, W)`; the others are one integer or two.

    Raises `ValueError` where a size isn't positive or the kernel doesn't fit.

    >>> columns_shape(64, (56, 56), 3, padding=1)
    (576, 3136)
    """
    channels = shapes.integer("channels", channels, 1)
    size = shapes.pair("size", size, 1)
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    places = shapes.window2d(size, kernel, stride, padding, dilation)[3]
    return channels * kernel[0] * kernel[1], places[0] * places[1]


def blow_up(size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return how many times larger than the image its columns are: KH·KW·OH·OW / (H·W).

    KH·KW / stride² is what this comes to where OH·OW = H·W / stride², as with "same" padding.

    >>> blow_up((56, 56), 3, padding=1), blow_up((56, 56), 3)
    (9.0, 8.368622448979592)
    """
    height, width = shapes.pair("size", size, 1)
    rows, columns = columns_shape(1, size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    return rows * columns / (height * width)


def rule_of_thumb(kernel_size, stride=1):
    """Return KH·KW / (stride vertical · stride horizontal), the usual estimate of `blow_up`.

    >>> rule_of_thumb(3), rule_of_thumb(7, stride=2)
    (9.0, 12.25)
    """
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    stride = shapes.pair("stride", stride, 1)
    return kernel[0] * kernel[1] / (stride[0] * stride[1])


def patch_of(column, size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return `(y, x)`, the pixel of the image under the kernel's first tap, for a column's number.

    Columns follow the output row by row. With padding, the pixel may lie outside: −1, say.

    Raises `ValueError` where there is no such column.

    >>> patch_of(4, (5, 5), 3, stride=2)     # OW = 2: column 4 would be the third row of places
    Traceback (most recent call last):
    ValueError: `column` (=4) must be below 4
    >>> patch_of(3, (5, 5), 3, stride=2)
    (2, 2)
    """
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    stride, padding, dilation, places = shapes.window2d(
        shapes.pair("size", size, 1), kernel, stride, padding, dilation
    )
    column = shapes.integer("column", column, 0)
    if column >= places[0] * places[1]:
        raise ValueError(f"`column` (={column}) must be below {places[0] * places[1]}")
    return column // places[1] * stride[0] - padding[0], column % places[1] * stride[1] - padding[1]


def tap_of(row, channels, kernel_size):
    """Return `(c, i, j)`, the channel and the tap of the kernel that a row's number stands for.

    Raises `ValueError` where there is no such row.

    >>> tap_of(13, 2, 3)     # 13 = 1·9 + 1·3 + 1: the middle tap of the second channel
    (1, 1, 1)
    """
    channels = shapes.integer("channels", channels, 1)
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    row = shapes.integer("row", row, 0)
    taps = kernel[0] * kernel[1]
    if row >= channels * taps:
        raise ValueError(f"`row` (={row}) must be below {channels * taps}")
    return row // taps, row % taps // kernel[1], row % kernel[1]


# --- checks of the arrays' arguments, the same for both versions -----------------------


def check_im2col(x, kernel_size, stride, padding, dilation):
    """Check the arguments of `im2col`; return `(kernel, stride, padding, dilation, (OH, OW))`."""
    _, _, height, width = shapes.array("x", x, "N C H W")
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    return (kernel,) + shapes.window2d((height, width), kernel, stride, padding, dilation)


def check_indices(channels, size, kernel_size, stride, padding, dilation):
    """Check the arguments of `column_indices`; return what `check_im2col` returns, C before it."""
    channels = shapes.integer("channels", channels, 1)
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    size = shapes.pair("size", size, 1)
    return (channels, kernel) + shapes.window2d(size, kernel, stride, padding, dilation)


def check_col2im(columns, output_size, kernel_size, stride, padding, dilation):
    """Check the arguments of `col2im`.

    Returns `(C, (H, W), kernel, stride, padding, dilation, (OH, OW))`.
    """
    _, rows, count = shapes.array("columns", columns, "N R L")
    size = shapes.pair("output_size", output_size, 1)
    kernel = shapes.pair("kernel_size", kernel_size, 1)
    stride, padding, dilation, places = shapes.window2d(size, kernel, stride, padding, dilation)
    taps = kernel[0] * kernel[1]
    if rows % taps:
        raise ValueError(
            f"`columns` has {rows} rows; a multiple of the {taps} taps of `kernel_size` is needed"
        )
    if count != places[0] * places[1]:
        raise ValueError(
            f"`columns` has {count} columns; {places[0] * places[1]} are needed "
            f"({places[0]} × {places[1]} places of the kernel)"
        )
    return rows // taps, size, kernel, stride, padding, dilation, places


def check_backward(grad_output, x, w, stride, padding, dilation):
    """Check the arguments of `conv2d_gemm_backward`; return what `shapes.conv2d` returns."""
    checked = shapes.conv2d(x, w, stride=stride, padding=padding, dilation=dilation)
    shapes.has_shape("grad_output", grad_output, (x.shape[0], w.shape[0]) + checked[3])
    shapes.same_kind(x=x, grad_output=grad_output)
    return checked
