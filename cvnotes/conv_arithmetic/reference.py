"""A convolution as a matrix, and the effective receptive field, written to be read."""

import numpy as np

from cvnotes.conv_arithmetic import formulas


def conv_matrix(w, input_size, *, stride=1, padding=0, dilation=1):
    """Return the matrix by which a convolution multiplies an image laid out as one long vector.

    M[(o, y, x), (c, y·S + i·D − P, x·S + j·D − P)] = w[o, c, i, j], and 0 elsewhere

    so that ``conv_matrix(w, (H, W)) @ image.reshape(-1)`` is the convolution, laid out likewise.

    - `w`: the kernels, (O, C, KH, KW); its floating-point dtype is the matrix's.
    - `input_size`: H and W of the image, in pixels; one integer where they are the same.
    - `stride`, `padding`, `dilation`: in pixels, an integer or (vertical, horizontal).

    Returns an array of the shape (O·OH·OW, C·H·W): rows are outputs, columns are inputs, both
    in the order channel, row, column. Taps that fall on padding have no column. A NaN in `w`
    stands where its tap stands and nowhere else.

    Raises `ValueError` where `w` has not four axes or is not floating-point, a number is not an
    integer or below its minimum, or the kernel is larger than the padded input.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016),
    section 4.1.

    >>> conv_matrix(np.array([[[[1.0, 2.0]]]]), (1, 3))     # a kernel of 1×2 on three pixels
    array([[1., 2., 0.],
           [0., 1., 2.]])
    """
    (H, W), S, P, D, (OH, OW) = formulas.conv_matrix_arguments(w, input_size, stride, padding, dilation)
    O, C, KH, KW = w.shape
    matrix = np.zeros((O, OH, OW, C, H, W), w.dtype)
    for y, x in np.ndindex(OH, OW):
        for i, j in np.ndindex(KH, KW):
            row = y * S[0] + i * D[0] - P[0]
            column = x * S[1] + j * D[1] - P[1]
            if 0 <= row < H and 0 <= column < W:
                matrix[:, y, x, :, row, column] = w[:, :, i, j]
    return matrix.reshape(O * OH * OW, C * H * W)  # (O·OH·OW, C·H·W)


def effective_receptive_field(x, weights, *, strides=1, paddings=0, relu=False):
    """Return how strongly the middle output of a stack of convolutions depends on each input pixel.

    E[h, w] = Σₙ Σ_c |∂y_mid / ∂x[n, c, h, w]|,  y_mid = Σ_o y[n, o, ⌊OH/2⌋, ⌊OW/2⌋]

    - `x`: the images, (N, C, H, W). Without `relu` the stack is linear, and `x` gives only the
      size of the field, not its values.
    - `weights`: a list of kernels, each (O, C, KH, KW) with the C of the layer before; no biases.
    - `strides`, `paddings`: in pixels, an integer for all layers or a list with one entry a
      layer, each an integer or (vertical, horizontal).
    - `relu`: whether max(0, ·) stands between the layers; there is none after the last one.

    Returns an array (H, W). The middle output is the one at (⌊OH/2⌋, ⌊OW/2⌋), of two middle ones
    the later; the gradient of the sum of its O filters is taken, as its magnitude in each channel
    of each image, and added up. No images (N = 0) give zeros. At a pre-activation of exactly 0
    the gradient of the ReLU is 0. A NaN in `x` is without effect in a linear stack.

    Raises `ValueError` where an axis, a dtype, a number of channels or of entries does not fit,
    or a kernel is larger than its padded input.

    Source: Luo et al., Understanding the effective receptive field in deep convolutional neural
    networks (2016), section 2: a gradient of 1 at the centre of the output, carried back.

    >>> box = np.ones((1, 1, 1, 3))                         # two layers of [1, 1, 1]
    >>> effective_receptive_field(np.zeros((1, 1, 1, 5)), [box, box])
    array([[1., 2., 3., 2., 1.]])
    """
    layers, (OH, OW) = formulas.stack_arguments(x, weights, strides, paddings)
    planes = [x]
    for number, (w, (S, P)) in enumerate(zip(weights, layers)):
        y = _forward(planes[-1], w, S, P)
        planes.append(np.maximum(y, 0) if relu and number < len(weights) - 1 else y)
    gradient = np.zeros_like(planes[-1])
    gradient[:, :, OH // 2, OW // 2] = 1  # (N, O, OH, OW)
    for number in reversed(range(len(weights))):
        if relu and number < len(weights) - 1:
            gradient = np.where(planes[number + 1] <= 0, 0, gradient)
        S, P = layers[number]
        gradient = _backward(gradient, weights[number], S, P, planes[number].shape)
    return np.abs(gradient).sum((0, 1))  # (H, W)


def _forward(x, w, S, P):
    """Return the convolution of `x` with `w`."""
    x = np.pad(x, ((0, 0), (0, 0), (P[0], P[0]), (P[1], P[1])))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))  # (N, C, H', W', KH, KW)
    return np.einsum("nchwij,ocij->nohw", windows[:, :, :: S[0], :: S[1]], w)  # (N, O, OH, OW)


def _backward(gradient, w, S, P, shape):
    """Return the gradient at the input, of `shape`, for the `gradient` at the output."""
    N, C, H, W = shape
    KH, KW = w.shape[2:]
    padded = np.zeros((N, C, H + 2 * P[0], W + 2 * P[1]), w.dtype)
    for y, x in np.ndindex(gradient.shape[2:]):
        window = padded[:, :, y * S[0] : y * S[0] + KH, x * S[1] : x * S[1] + KW]
        window += np.einsum("no,ocij->ncij", gradient[:, :, y, x], w)
    return padded[:, :, P[0] : P[0] + H, P[1] : P[1] + W]  # (N, C, H, W)
