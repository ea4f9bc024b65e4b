"""im2col in NumPy: from seven loops to one matrix product, and back for the gradients.

NaN and infinities are numbers like others here: each spreads to what is computed from it, by
IEEE 754's rules (0 · NaN and 0 · ∞ are NaN), and to nothing else.
"""

import numpy as np

from cvnotes import shapes
from cvnotes.im2col import formulas


def conv2d_loops(x, w, b=None, *, stride=1, padding=0, dilation=1):
    """Convolve as the definition says, one multiply-add at a time: seven nested loops.

        y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j w[o, c, i, j] · x[n, c, p·S + i·D − P, q·S + j·D − P]

    where x is zero outside the image.

    Arguments: `x` (N, C, H, W); `w` (O, C, KH, KW); `b` (O,) or None; `stride` S, `padding` P and
    `dilation` D in pixels, one integer or a pair (vertical, horizontal).
    Returns y (N, O, OH, OW).
    Raises `ValueError` where shapes, dtypes or sizes don't fit.
    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016), 1.1.

    >>> conv2d_loops(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    array([[[[4., 4.],
             [4., 4.]]]])
    """
    checked = shapes.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation)
    (sv, sh), (pv, ph), (dv, dh), (OH, OW) = checked
    N, C, H, W = x.shape
    O, _, KH, KW = w.shape
    y = np.zeros((N, O, OH, OW), x.dtype)
    for n in range(N):
        for o in range(O):
            for p in range(OH):
                for q in range(OW):
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                u, v = p * sv + i * dv - pv, q * sh + j * dh - ph
                                inside = 0 <= u < H and 0 <= v < W
                                pixel = x[n, c, u, v] if inside else x.dtype.type(0)
                                y[n, o, p, q] += w[o, c, i, j] * pixel
    return y if b is None else y + b[:, None, None]  # (N, O, OH, OW)


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Write every patch that the kernel visits into a column of a matrix.

        columns[n, (c·KH + i)·KW + j, p·OW + q] = x[n, c, p·S + i·D − P, q·S + j·D − P]

    where x is zero outside the image: a row a tap of a channel, a column a place of the kernel.

    Arguments: `x` (N, C, H, W); `kernel_size` (KH, KW), `stride` S, `padding` P and `dilation` D
    in pixels, one integer or a pair (vertical, horizontal).
    Returns columns (N, C·KH·KW, OH·OW).
    Raises `ValueError` where the rank, the dtype or a size doesn't fit.
    Source: Chellapilla, Puri and Simard, High performance convolutional neural networks for
    document processing (2006), section 3.

    >>> im2col(np.arange(6.).reshape(1, 1, 2, 3), 2)      # 0 1 2 over 3 4 5: two patches
    array([[[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]]])
    """
    checked = formulas.check_im2col(x, kernel_size, stride, padding, dilation)
    (KH, KW), (sv, sh), (pv, ph), (dv, dh), (OH, OW) = checked
    N, C, H, W = x.shape
    columns = np.zeros((N, C, KH, KW, OH, OW), x.dtype)
    for i in range(KH):
        for j in range(KW):
            for p in range(OH):
                for q in range(OW):
                    u, v = p * sv + i * dv - pv, q * sh + j * dh - ph
                    if 0 <= u < H and 0 <= v < W:
                        columns[:, :, i, j, p, q] = x[:, :, u, v]
    return columns.reshape(N, C * KH * KW, OH * OW)  # (N, C·KH·KW, L)


def column_indices(channels, size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return the three index arrays that pick all columns out of a padded image at once.

        c[r, l] = r // (KH·KW)
        y[r, l] = (l // OW)·S + (r // KW mod KH)·D
        x[r, l] = (l mod OW)·S + (r mod KW)·D

    so that ``padded[:, c, y, x]`` is `im2col`. Each index is a row part plus a column part: the
    arrays c (R, 1), y and x (R, L) are broadcast sums.

    Arguments: `channels` C; `size` (H, W) before padding; the others as in `im2col`.
    Returns integer arrays c (R, 1), y (R, L) and x (R, L), with R = C·KH·KW and L = OH·OW; y and
    x count from the corner of the padded image.
    Raises `ValueError` where a size isn't positive or the kernel doesn't fit.
    Source: the assignments of Stanford's CS231n (2015), `get_im2col_indices`.

    >>> c, y, x = column_indices(1, (2, 3), 2)
    >>> [(int(v), int(h)) for v, h in zip(y[:, 1], x[:, 1])]      # the second patch
    [(0, 1), (0, 2), (1, 1), (1, 2)]
    """
    checked = formulas.check_indices(channels, size, kernel_size, stride, padding, dilation)
    C, (KH, KW), (sv, sh), _, (dv, dh), (OH, OW) = checked
    r = np.arange(C * KH * KW)[:, None]  # (R, 1)
    l = np.arange(OH * OW)[None, :]  # (1, L)
    c = r // (KH * KW)  # (R, 1)
    y = l // OW * sv + r // KW % KH * dv  # (R, L)
    x = l % OW * sh + r % KW * dh  # (R, L)
    return c, y, x


def windows(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Return all patches as a view: six axes over the memory of the padded image, nothing copied.

        windows[n, c, i, j, p, q] = x[n, c, p·S + i·D − P, q·S + j·D − P]

    A step along p moves S rows on in memory, a step along i moves D rows on: only strides differ.
    Without padding it is a view of `x` itself; with padding, of one padded copy.

    Arguments: as in `im2col`.
    Returns windows (N, C, KH, KW, OH, OW), read-only, since many of its elements are one in memory.
    Reshaped to (N, C·KH·KW, L) it is `im2col`: the reshape makes the copy.
    Raises `ValueError` where the rank, the dtype or a size doesn't fit.
    Source: `numpy.lib.stride_tricks.as_strided`.

    >>> x = np.arange(6.).reshape(1, 1, 2, 3)
    >>> v = windows(x, 2)
    >>> v[0, 0, :, :, 0, 1], np.shares_memory(v, x)
    (array([[1., 2.],
           [4., 5.]]), True)
    """
    checked = formulas.check_im2col(x, kernel_size, stride, padding, dilation)
    kernel, (sv, sh), (pv, ph), (dv, dh), places = checked
    if pv or ph:
        x = np.pad(x, ((0, 0), (0, 0), (pv, pv), (ph, ph)))  # (N, C, H + 2P, W + 2P)
    n, c, y, x_ = x.strides
    return np.lib.stride_tricks.as_strided(
        x, x.shape[:2] + kernel + places, (n, c, y * dv, x_ * dh, y * sv, x_ * sh), writeable=False
    )  # (N, C, KH, KW, OH, OW)


def col2im(columns, output_size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Add every column back onto the pixels that it was taken from: the adjoint of `im2col`.

        x[n, c, u, v] = Σ columns[n, (c·KH + i)·KW + j, p·OW + q]
                        over all i, j, p, q with p·S + i·D − P = u and q·S + j·D − P = v

    It is not the inverse: a pixel that k patches hold comes back k times as large.
    For all x and y: ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩.

    Arguments: `columns` (N, C·KH·KW, OH·OW); `output_size` (H, W) of the image; `kernel_size`,
    `stride`, `padding` and `dilation` as in `im2col`.
    Returns x (N, C, H, W).
    Raises `ValueError` where the rank, the dtype, the rows or the columns don't fit the sizes.
    Source: Caffe's `col2im` (Jia and others, 2014); PyTorch calls it `fold`.

    >>> col2im(np.ones((1, 4, 2)), (2, 3), 2)      # the middle pixels lie in both patches
    array([[[[1., 2., 1.],
             [1., 2., 1.]]]])
    """
    checked = formulas.check_col2im(columns, output_size, kernel_size, stride, padding, dilation)
    C, (H, W), (KH, KW), (sv, sh), (pv, ph), (dv, dh), (OH, OW) = checked
    N = columns.shape[0]
    columns = columns.reshape(N, C, KH, KW, OH, OW)
    x = np.zeros((N, C, H, W), columns.dtype)
    for i in range(KH):
        for j in range(KW):
            for p in range(OH):
                for q in range(OW):
                    u, v = p * sv + i * dv - pv, q * sh + j * dh - ph
                    if 0 <= u < H and 0 <= v < W:
                        x[:, :, u, v] += columns[:, :, i, j, p, q]
    return x  # (N, C, H, W)


def conv2d_gemm(x, w, b=None, *, stride=1, padding=0, dilation=1):
    """Convolve by one matrix product: the filters as rows times the patches as columns.

        Y[n] = W · im2col(x)[n] + b,   W = w as a matrix (O, C·KH·KW)

    Arguments: `x` (N, C, H, W); `w` (O, C, KH, KW); `b` (O,) or None; `stride`, `padding` and
    `dilation` in pixels, one integer or a pair (vertical, horizontal).
    Returns y (N, O, OH, OW).
    Raises `ValueError` where shapes, dtypes or sizes don't fit.
    Source: Chellapilla, Puri and Simard (2006), section 3.

    >>> x = np.arange(9.).reshape(1, 1, 3, 3)
    >>> conv2d_gemm(x, np.array([[[[1., 0.], [0., -1.]]]]))      # each pixel minus its lower right
    array([[[[-4., -4.],
             [-4., -4.]]]])
    """
    checked = shapes.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation)
    stride, padding, dilation, (OH, OW) = checked
    O = w.shape[0]
    columns = im2col(x, w.shape[2:], stride=stride, padding=padding, dilation=dilation)  # (N, R, L)
    y = w.reshape(O, -1) @ columns  # (N, O, L)
    if b is not None:
        y = y + b[:, None]
    return y.reshape(len(x), O, OH, OW)  # (N, O, OH, OW)


def conv2d_gemm_backward(grad_output, x, w, *, stride=1, padding=0, dilation=1):
    """Carry the loss's gradient back through `conv2d_gemm`: two matrix products and one sum.

        dW = Σ_n G[n] · columns[n]ᵀ,   dX = col2im(Wᵀ · G),   db = Σ_n Σ_l G[n, :, l]

    where G is `grad_output` as matrices (N, O, L), columns = im2col(x) and W = w as (O, C·KH·KW).

    Arguments: `grad_output` (N, O, OH, OW), the gradient with respect to y; `x` (N, C, H, W) and
    `w` (O, C, KH, KW) as they were given; `stride`, `padding`, `dilation` likewise.
    Returns (dx, dw, db): (N, C, H, W), (O, C, KH, KW), (O,).
    Raises `ValueError` where shapes, dtypes or sizes don't fit.
    Source: the chain rule; Goodfellow, Bengio and Courville, Deep Learning (2016), 9.5.

    >>> x = np.array([[[[1., 2., 3.]]]])
    >>> dx, dw, db = conv2d_gemm_backward(np.ones((1, 1, 1, 2)), x, np.array([[[[10., 20.]]]]))
    >>> dx.ravel(), dw.ravel(), db
    (array([10., 30., 20.]), array([3., 5.]), array([2.]))
    """
    checked = formulas.check_backward(grad_output, x, w, stride, padding, dilation)
    stride, padding, dilation, _ = checked
    N, O, kernel = x.shape[0], w.shape[0], w.shape[2:]
    sizes = {"stride": stride, "padding": padding, "dilation": dilation}
    g = grad_output.reshape(N, O, checked[3][0] * checked[3][1])  # (N, O, L)
    columns = im2col(x, kernel, **sizes)  # (N, R, L)
    dw = np.einsum("nol,nrl->or", g, columns).reshape(w.shape)  # (O, C, KH, KW)
    dx = col2im(w.reshape(O, -1).T @ g, x.shape[2:], kernel, **sizes)  # (N, C, H, W)
    return dx, dw, g.sum((0, 2))


shapes.only("numpy", globals())
