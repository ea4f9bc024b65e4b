"""The chapter's convolutions in NumPy, to be read beside their equations."""

import numpy as np

from cvnotes import shapes
from cvnotes.conv_types import formulas


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Slide each filter over the image and sum what it covers, weighted.

    y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j w[o, c, i, j] · x[n, c, S·p + D·i − P, S·q + D·j − P]

    where x is 0 outside the image, and c runs over the C / G channels of the filter's own group.
    (Signal processing calls this a cross-correlation: the kernel is not flipped.)

    - x: the images, (N, C, H, W)
    - w: the filters, (O, C / G, KH, KW); the first O / G filters see the first C / G channels
    - b: one number a filter, (O,), or None for none
    - stride S, padding P (zeros on each side), dilation D: pixels, an int or a pair (vertical, horizontal)
    - groups: G, must divide C and O

    Returns (N, O, OH, OW) with OH = ⌊(H + 2P − D·(KH − 1) − 1) / S⌋ + 1, in the dtype of x. NaN
    reaches each output whose window holds it, a weight of 0 or not.

    Raises ValueError where ranks, channels, groups, sizes or dtypes don't fit.

    Source: Dumoulin and Visin (2016), chapters 1, 2 and section 5.1; groups: Krizhevsky et al. (2012), 3.2.

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)))        # 0 + 1 + 3 + 4 = 8
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    (SH, SW), (PH, PW), (DH, DW), (OH, OW) = shapes.conv2d(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    O, depth, KH, KW = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))  # (N, C, H + 2P, W + 2P)
    y = np.empty((len(x), O, OH, OW), x.dtype)
    for g in range(groups):
        mine = slice(g * O // groups, (g + 1) * O // groups)
        for p in range(OH):
            for q in range(OW):
                rows = slice(SH * p, SH * p + DH * (KH - 1) + 1, DH)
                columns = slice(SW * q, SW * q + DW * (KW - 1) + 1, DW)
                window = x[:, g * depth:(g + 1) * depth, rows, columns]  # (N, C / G, KH, KW)
                y[:, mine, p, q] = np.einsum("ncij,ocij->no", window, w[mine])
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Stamp each filter onto a canvas, once for each input pixel and times its value.

    y[n, o, S·p + D·i − P, S·q + D·j − P] += x[n, c, p, q] · w[c, o, i, j]    for all c, p, q, i, j

    It is the transpose of `conv2d` as a linear map, so its gradient towards x; it undoes the
    convolution's sizes, not the convolution.

    - x: the images, (N, C, H, W)
    - w: the filters, (C, O / G, KH, KW): the layout of the convolution that this is the transpose of
    - b: one number an output channel, (O,), or None for none
    - stride S, padding P (pixels cut away on each side), dilation D: an int or a pair
    - output_padding: pixels added at the bottom and right, below S or D
    - groups: G, must divide C

    Returns (N, O, OH, OW) with OH = (H − 1)·S − 2P + D·(KH − 1) + output_padding + 1.

    Raises ValueError where ranks, channels, groups, sizes or dtypes don't fit.

    Source: Dumoulin and Visin (2016), chapter 4; Zeiler et al. (2010).

    >>> conv_transpose2d(np.array([[[[1.0, 10.0]]]]), np.ones((1, 1, 1, 3)), stride=2)
    array([[[[ 1.,  1., 11., 10., 10.]]]])
    """
    (SH, SW), (PH, PW), (DH, DW), (OH, OW) = formulas.conv_transpose2d(
        x, w, b, stride, padding, output_padding, groups, dilation
    )
    (N, C, H, W), (_, depth, KH, KW) = x.shape, w.shape
    canvas = np.zeros((N, groups * depth, OH + 2 * PH, OW + 2 * PW), x.dtype)
    for g in range(groups):
        given = slice(g * C // groups, (g + 1) * C // groups)
        for p in range(H):
            for q in range(W):
                stamp = np.einsum("nc,coij->noij", x[:, given, p, q], w[given])  # (N, O / G, KH, KW)
                rows = slice(SH * p, SH * p + DH * (KH - 1) + 1, DH)
                columns = slice(SW * q, SW * q + DW * (KW - 1) + 1, DW)
                canvas[:, g * depth:(g + 1) * depth, rows, columns] += stamp
    y = canvas[:, :, PH:PH + OH, PW:PW + OW]  # (N, O, OH, OW)
    return y if b is None else y + b[:, None, None]


def dilate_kernel(w, dilation):
    """Put D − 1 zeros between the taps of a kernel.

    v[…, D·i, D·j] = w[…, i, j], and 0 elsewhere

    A convolution with v is the convolution with w and `dilation` D.

    - w: kernels, (KH, KW) or with up to three axes before these
    - dilation: D, an int or a pair (vertical, horizontal)

    Returns (…, D·(KH − 1) + 1, D·(KW − 1) + 1).

    Raises ValueError where w has fewer than two axes or more than five, or is not of floats, or
    D is below 1.

    Source: Chen et al., DeepLab (2017), section 3.1.

    >>> dilate_kernel(np.array([[1.0, 2.0]]), 3)
    array([[1., 0., 0., 2.]])
    """
    DH, DW = formulas.dilate_kernel(w, dilation)
    *rest, KH, KW = w.shape
    v = np.zeros((*rest, DH * (KH - 1) + 1, DW * (KW - 1) + 1), w.dtype)
    v[..., ::DH, ::DW] = w
    return v


def separate_kernel(kernel):
    """Write a kernel as a column times a row, as well as one such pair can.

    kernel = Σ_r σ_r u_r v_rᵀ;  column = √σ₁ u₁,  row = √σ₁ v₁,  residual = kernel − column rowᵀ

    By Eckart and Young no other pair leaves a residual of smaller norm. It is zero (to rounding)
    exactly where the kernel has rank 1. The column's entry of largest magnitude is positive (the
    first of them if several agree to 0.1%). Where σ₁ = σ₂ many pairs are equally good and any
    one of them may be returned.

    - kernel: (KH, KW), finite

    Returns (column, row, residual): (KH,), (KW,), (KH, KW).

    Raises ValueError where kernel is not a matrix of finite floats.

    Source: Eckart and Young (1936); Perona, Deformable kernels for early vision (1995), section 2.

    >>> column, row, residual = separate_kernel(np.array([[1.0, 2.0], [2.0, 4.0]]))
    >>> column.round(3), row.round(3), abs(residual).max() < 1e-9
    (array([1., 2.]), array([1., 2.]), np.True_)
    """
    formulas.separate_kernel(kernel)
    formulas.all_finite("kernel", np.isfinite(kernel).all())
    u, sigma, vt = np.linalg.svd(kernel, full_matrices=False)
    column, row = np.sqrt(sigma[0]) * u[:, 0], np.sqrt(sigma[0]) * vt[0]
    largest = np.argmax(abs(column) >= 0.999 * abs(column).max())
    sign = kernel.dtype.type(-1 if column[largest] < 0 else 1)
    return sign * column, sign * row, kernel - np.outer(column, row)


def spatially_separable_conv2d(x, column, row, *, stride=1, padding=0, dilation=1):
    """Convolve each channel with a column, then the result with a row.

    t[n, c, p, q] = Σ_i column[i] · x[n, c, S·p + D·i − P, q]
    y[n, c, p, q] = Σ_j row[j] · t[n, c, p, S·q + D·j − P]

    It equals one convolution of each channel with the kernel column rowᵀ, at KH + KW
    multiplications an output in place of KH·KW (with stride 1 and a large image).

    - x: the images, (N, C, H, W)
    - column: (KH,); row: (KW,); the same for all channels
    - stride S, padding P, dilation D: an int or a pair (vertical, horizontal)

    Returns (N, C, OH, OW), sizes as in `conv2d`.

    Raises ValueError where ranks, sizes or dtypes don't fit.

    Source: Perona (1995), section 2; Rigamonti et al., Learning separable filters (2013).

    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> spatially_separable_conv2d(x, np.ones(2), np.ones(2))     # as in `conv2d`
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    stride, padding, dilation, (OH, OW) = formulas.spatially_separable_conv2d(
        x, column, row, stride, padding, dilation
    )
    (SH, SW), (PH, PW), (DH, DW) = stride, padding, dilation
    x = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))
    t = sum(column[i] * x[:, :, DH * i:][:, :, ::SH][:, :, :OH] for i in range(len(column)))  # (N, C, OH, W + 2P)
    return sum(row[j] * t[..., DW * j:][..., ::SW][..., :OW] for j in range(len(row)))  # (N, C, OH, OW)


def depthwise_separable_conv2d(x, depthwise, pointwise, *, stride=1, padding=0, dilation=1):
    """Filter each channel by itself, then mix the channels at each pixel.

    t[n, c·M + m, p, q] = Σ_i Σ_j depthwise[c·M + m, 0, i, j] · x[n, c, S·p + D·i − P, S·q + D·j − P]
    y[n, o, p, q] = Σ_e pointwise[o, e, 0, 0] · t[n, e, p, q]

    - x: the images, (N, C, H, W)
    - depthwise: M filters for each channel (M is the depth multiplier, mostly 1), (C·M, 1, KH, KW)
    - pointwise: the 1×1 convolution that mixes, (O, C·M, 1, 1)
    - stride S, padding P, dilation D of the first step: an int or a pair (vertical, horizontal)

    Returns (N, O, OH, OW), sizes as in `conv2d`.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit.

    Source: Howard et al., MobileNets (2017), section 3.1; Sifre (2014).

    >>> x = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 10.0)])[None]
    >>> depthwise_separable_conv2d(x, np.ones((2, 1, 2, 2)), np.ones((1, 2, 1, 1)))    # 4·1 + 4·10
    array([[[[44.]]]])
    """
    formulas.depthwise_separable_conv2d(x, depthwise, pointwise, stride, padding, dilation)
    t = conv2d(x, depthwise, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1])  # (N, C·M, OH, OW)
    return np.einsum("nepq,oe->nopq", t, pointwise[:, :, 0, 0])  # (N, O, OH, OW)


def deform_conv2d(x, offset, w, b=None, *, stride=1, padding=0, dilation=1, mask=None):
    """Convolve, each tap reading the image where an offset has moved it, scaled by a mask.

    y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j w[o, c, i, j] · m · x(n, c, S·p + D·i − P + Δy, S·q + D·j − P + Δx)

    x(…) between pixels is bilinear; corners outside the image count as 0, and so does a whole
    sample at or beyond −1 or H (or W).

    - x: the images, (N, C, H, W)
    - offset: pixels, (N, 2·G·KH·KW, OH, OW): for each offset group, row and column of the kernel,
      Δy before Δx; the G groups share the channels evenly
    - w: the filters, (O, C / groups, KH, KW); how many groups is told by this shape
    - b: one number a filter, (O,), or None for none
    - stride S, padding P, dilation D: an int or a pair (vertical, horizontal)
    - mask: m, a factor for each sample, (N, G·KH·KW, OH, OW), or None for 1

    Returns (N, O, OH, OW), sizes as in `conv2d`. A NaN offset gives NaN; a NaN pixel reaches each
    sample that has it for a corner, with a weight of 0 or not.

    Raises ValueError where ranks, channels, groups, sizes or dtypes don't fit.

    Source: Dai et al. (2017), equations 2 to 4; mask: Zhu et al. (2019), equation 1; layout: torchvision.

    >>> x, w = np.array([[[[0.0, 10.0, 20.0]]]]), np.ones((1, 1, 1, 1))
    >>> offset = np.zeros((1, 2, 1, 3))
    >>> offset[0, 1] = [[0.5, -2.0, 0.5]]           # half a pixel right; out on the left; half out
    >>> deform_conv2d(x, offset, w)
    array([[[[ 5.,  0., 10.]]]])
    """
    (SH, SW), (PH, PW), (DH, DW), (OH, OW), groups, G = formulas.deform_conv2d(
        x, offset, w, b, stride, padding, dilation, mask
    )
    (N, C, H, W), (O, depth, KH, KW) = x.shape, w.shape
    offset = offset.reshape(N, G, KH, KW, 2, OH, OW)
    m = np.ones((N, G, KH, KW, OH, OW), x.dtype) if mask is None else mask.reshape(N, G, KH, KW, OH, OW)
    columns = np.zeros((N, C, KH, KW, OH, OW), x.dtype)
    for n, g, i, j, p, q in np.ndindex(m.shape):
        dy, dx = (float(shift) for shift in offset[n, g, i, j, :, p, q])
        mine = slice(g * C // G, (g + 1) * C // G)  # the channels of this offset group
        sample = _bilinear(x[n, mine], SH * p + DH * i - PH + dy, SW * q + DW * j - PW + dx)
        columns[n, mine, i, j, p, q] = m[n, g, i, j, p, q] * sample
    columns = columns.reshape(N, groups, depth, KH, KW, OH, OW)
    w = w.reshape(groups, O // groups, depth, KH, KW)
    y = np.einsum("ngcijpq,gocij->ngopq", columns, w).reshape(N, O, OH, OW)
    return y if b is None else y + b[:, None, None]


def _bilinear(x, row, column):
    """Return x of (C, H, W) at one place between its pixels, (C,)."""
    if row != row or column != column:
        return np.full(len(x), np.nan, x.dtype)
    corners = formulas.bilinear_corners(row, column, *x.shape[1:])
    return sum((weight * x[:, r, c] for r, c, weight in corners), np.zeros(len(x), x.dtype))


def involution2d(x, kernel, *, stride=1, dilation=1):
    """Sum each pixel's neighbours with a kernel of its own, shared by the channels of a group.

    y[n, c, p, q] = Σ_i Σ_j kernel[n, ⌊c·G / C⌋, i, j, p, q] · x[n, c, S·p + D·i − P, S·q + D·j − P]

    with P = D·(K − 1) / 2 and x = 0 outside the image. A convolution has one kernel for each pair
    of channels and the same at all places; an involution one for each place and the same for all
    channels of a group. Where the kernels come from is left open: in the paper a small network
    makes each one from the pixel that it stands on.

    - x: the images, (N, C, H, W)
    - kernel: (N, G, KH, KW, OH, OW), KH and KW odd
    - stride S, dilation D: an int or a pair (vertical, horizontal)

    Returns (N, C, OH, OW) with OH = ⌊(H − 1) / S⌋ + 1. NaN reaches each output whose window holds it.

    Raises ValueError where ranks, groups, sizes or dtypes don't fit, or a kernel size is even.

    Source: Li et al., Involution (2021), equation 4; groups in the order of its code.

    >>> x = np.array([[[[1.0, 2.0, 3.0]]]])
    >>> kernel = np.zeros((1, 1, 1, 3, 1, 3))
    >>> kernel[0, 0, 0, :, 0, 0] = 0, 1, 1              # at the left pixel: itself and its right
    >>> kernel[0, 0, 0, :, 0, 1] = 1, 0, 1              # in the middle: both neighbours
    >>> kernel[0, 0, 0, :, 0, 2] = 0, 5, 0              # at the right: five times itself
    >>> involution2d(x, kernel)
    array([[[[ 3.,  4., 15.]]]])
    """
    (SH, SW), (PH, PW), (DH, DW), (OH, OW) = formulas.involution2d(x, kernel, stride, dilation)
    (N, C, H, W), (_, G, KH, KW, _, _) = x.shape, kernel.shape
    x = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW))).reshape(N, G, C // G, H + 2 * PH, W + 2 * PW)
    y = np.empty((N, G, C // G, OH, OW), x.dtype)
    for p in range(OH):
        for q in range(OW):
            rows = slice(SH * p, SH * p + DH * (KH - 1) + 1, DH)
            columns = slice(SW * q, SW * q + DW * (KW - 1) + 1, DW)
            y[..., p, q] = np.einsum("ngcij,ngij->ngc", x[..., rows, columns], kernel[..., p, q])
    return y.reshape(N, C, OH, OW)


shapes.only("numpy", globals())
