"""The functions of `reference` in Torch: any floating-point dtype, any device, differentiable."""

import torch
import torch.nn.functional as F

from cvnotes.conv_arithmetic import formulas


def conv_matrix(w, input_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.conv_matrix`.

    From one output to the next, a tap moves by a constant distance in memory. So all entries
    that are not zero are one strided view of the matrix, and one copy fills them; no loop runs.
    Memory: the matrix, and where there is padding once more, with columns for the padding.
    """
    (H, W), S, P, D, (OH, OW) = formulas.conv_matrix_arguments(w, input_size, stride, padding, dilation)
    O, C, KH, KW = w.shape
    matrix = w.new_zeros(O, OH, OW, C, H + 2 * P[0], W + 2 * P[1])
    o, y, x, c, row, column = matrix.stride()
    taps = matrix.as_strided(
        (O, OH, OW, C, KH, KW), (o, y + S[0] * row, x + S[1] * column, c, D[0] * row, D[1] * column)
    )
    taps.copy_(w[:, None, None])
    matrix = matrix[..., P[0] : P[0] + H, P[1] : P[1] + W]
    return matrix.reshape(O * OH * OW, C * H * W)  # (O·OH·OW, C·H·W)


def effective_receptive_field(x, weights, *, strides=1, paddings=0, relu=False):
    """Same contract as `reference.effective_receptive_field`.

    Autograd carries the gradient back, layer by layer, through torch's own convolutions. Memory:
    the planes of all layers, as in training. The result can be differentiated in turn.
    """
    layers, (OH, OW) = formulas.stack_arguments(x, weights, strides, paddings)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights))
    with torch.enable_grad():
        image = x if x.requires_grad else x.detach().requires_grad_()
        y = image
        for number, (w, (stride, padding)) in enumerate(zip(weights, layers)):
            y = F.conv2d(F.relu(y) if relu and number else y, w, stride=stride, padding=padding)
        (gradient,) = torch.autograd.grad(y[:, :, OH // 2, OW // 2].sum(), image, create_graph=wanted)
        field = gradient.abs().sum((0, 1))  # (H, W)
    return field if wanted else field.detach()
