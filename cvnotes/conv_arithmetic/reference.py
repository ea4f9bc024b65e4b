"""A convolution as a matrix, and the effective receptive field, written to be read."""

import numpy as np

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas


def conv_matrix(w, input_size, *, stride=1, padding=0, dilation=1):
    """Return the matrix of a convolution of images laid out as one long vector.

    M[(o, y, x), (c, y·S + i·D − P, x·S + j·D − P)] = w[o, c, i, j], and 0 elsewhere,

    so that ``conv_matrix(w, (H, W)) @ image.reshape(-1)`` is the convolution,
    laid out likewise.

    - `w`: the kernels, (O, C, KH, KW), of any floating-point dtype, which is the
      matrix's too.
    - `input_size`: H and W of the image, in pixels; one integer where H = W.
    - `stride`, `padding`, `dilation`: in pixels, an integer or
      (vertical, horizontal).

    Returns an array of the shape (O·OH·OW, C·H·W). Rows are outputs, columns are
    inputs, both in the order channel, row, column. A tap that falls on padding
    has no column. A NaN in `w` stands where its tap stands and nowhere else.

    Raises `ValueError` where `w` has not four axes or is not floating-point, a
    number is not an integer or below its minimum, or the kernel is larger than
    the padded input.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep
    learning (2016), section 4.1.

    >>> conv_matrix(np.array([[[[1.0, 2.0]]]]), (1, 3))     # 1×2 on three pixels
    array([[1., 2., 0.],
           [0., 1., 2.]])
    """
    (H, W), S, P, D, (OH, OW) = formulas.conv_matrix_arguments(
        w, input_size, stride, padding, dilation
    )
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
    """Return how much the middle output of a stack depends on each input pixel.

    E[h, w] = Σₙ Σ_c |∂y_mid / ∂x[n, c, h, w]|,
    y_mid = Σ_o y[n, o, ⌊OH/2⌋, ⌊OW/2⌋]

    - `x`: the images, (N, C, H, W). Without `relu` the stack is linear, and `x`
      gives the size of the field alone, not its values.
    - `weights`: a list of kernels, each (O, C, KH, KW) with the C of the layer
      before it; there are no biases.
    - `strides`, `paddings`: in pixels, an integer for all layers, or a list with
      one entry a layer, each an integer or (vertical, horizontal).
    - `relu`: whether max(0, ·) stands between the layers (not after the last).

    Returns an array (H, W). The middle output is the one at (⌊OH/2⌋, ⌊OW/2⌋), of
    two middle ones the later. The gradient of the sum of its O filters is taken,
    and its magnitudes in all channels of all images are added up; no images
    (N = 0) give zeros. Where a ReLU gets exactly 0, its gradient is 0. A NaN in
    `x` has no effect on a linear stack.

    Raises `ValueError` where an axis, a dtype, a number of channels or of entries
    does not fit, or a kernel is larger than its padded input.

    Source: Luo et al., Understanding the effective receptive field in deep
    convolutional neural networks (2016), section 2: a gradient of 1 at the
    centre of the output, carried back to the input.

    >>> box = np.ones((1, 1, 1, 3))                  # two layers of [1, 1, 1]
    >>> effective_receptive_field(np.zeros((1, 1, 1, 5)), [box, box])
    array([[1., 2., 3., 2., 1.]])
    """
    layers, (OH, OW) = formulas.stack_arguments(x, weights, strides, paddings, relu)
    planes = [x]
    for w, (S, P) in zip(weights, layers):
        y = _forward(planes[-1], w, S, P)
        planes.append(np.maximum(y, 0) if relu and len(planes) < len(weights) else y)
    gradient = np.zeros_like(planes.pop())
    gradient[:, :, OH // 2, OW // 2] = 1  # (N, O, OH, OW)
    for w, (S, P) in zip(reversed(weights), reversed(layers)):
        plane = planes.pop()  # what this layer was given
        gradient = _backward(gradient, w, S, P, plane.shape)
        if relu and planes:  # it came out of a ReLU
            gradient = np.where(plane <= 0, 0, gradient)
    return np.abs(gradient).sum((0, 1))  # (H, W)


def _forward(x, w, S, P):
    """Return the convolution of `x` with `w`."""
    x = np.pad(x, ((0, 0), (0, 0), (P[0], P[0]), (P[1], P[1])))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    windows = windows[:, :, :: S[0], :: S[1]]  # (N, C, OH, OW, KH, KW)
    return np.einsum("nchwij,ocij->nohw", windows, w)  # (N, O, OH, OW)


def _backward(gradient, w, S, P, shape):
    """Return the gradient at the input, of `shape`, for the `gradient` at the output."""
    N, C, H, W = shape
    KH, KW = w.shape[2:]
    padded = np.zeros((N, C, H + 2 * P[0], W + 2 * P[1]), w.dtype)
    for y, x in np.ndindex(gradient.shape[2:]):
        window = padded[:, :, y * S[0] : y * S[0] + KH, x * S[1] : x * S[1] + KW]
        window += np.einsum("no,ocij->ncij", gradient[:, :, y, x], w)
    return padded[:, :, P[0] : P[0] + H, P[1] : P[1] + W]  # (N, C, H, W)


shapes.only("numpy", globals())
