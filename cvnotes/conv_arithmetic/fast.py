"""The functions of `reference` in Torch: any floating-point dtype, any device, differentiable."""

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas


def conv_matrix(w, input_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.conv_matrix`.

    Which tap of which place meets which pixel is the same for every filter and
    channel. So it is found once, and one indexed assignment writes all weights;
    no loop runs. Memory: the matrix, the weights that are written, and a few
    integers for each of the OH·OW·KH·KW meetings.
    """
    (H, W), S, P, D, (OH, OW) = formulas.conv_matrix_arguments(
        w, input_size, stride, padding, dilation
    )
    O, C, KH, KW = w.shape
    row = _pixels(OH, KH, S[0], P[0], D[0], w.device)  # (OH, KH)
    column = _pixels(OW, KW, S[1], P[1], D[1], w.device)  # (OW, KW)
    in_height, in_width = (row >= 0) & (row < H), (column >= 0) & (column < W)
    meetings = in_height[:, None, :, None] & in_width[:, None, :]  # (OH, OW, KH, KW)
    y, x, i, j = meetings.nonzero(as_tuple=True)
    matrix = w.new_zeros(O, OH, OW, C, H, W)
    found = w[:, :, i, j].permute(2, 0, 1)  # (meetings, O, C)
    matrix[:, y, x, :, row[y, i], column[x, j]] = found
    return matrix.view(O * OH * OW, C * H * W)  # (O·OH·OW, C·H·W)


def _pixels(places, taps, stride, padding, dilation, device):
    """Return the pixel that each tap of each place meets, along one axis."""
    place = torch.arange(places, device=device)[:, None]
    return place * stride + torch.arange(taps, device=device) * dilation - padding


def effective_receptive_field(x, weights, *, strides=1, paddings=0, relu=False):
    """Same contract as `reference.effective_receptive_field`.

    Autograd carries the gradient back, layer by layer, through torch's own
    convolutions. Memory: the planes of all layers, as in training. The result
    can be differentiated in turn.
    """
    layers, (OH, OW) = formulas.stack_arguments(x, weights, strides, paddings, relu)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights))
    with torch.inference_mode(False), torch.enable_grad():
        # What was made in inference mode takes no part in a gradient; a copy does.
        x, *weights = (t.clone() if t.is_inference() else t for t in (x, *weights))
        image = x if x.requires_grad else x.detach().requires_grad_()
        y = image
        for number, (w, (stride, padding)) in enumerate(zip(weights, layers)):
            y = F.conv2d(F.relu(y) if relu and number else y, w, stride=stride, padding=padding)
        (gradient,) = torch.autograd.grad(y[:, :, OH // 2, OW // 2].sum(), image, create_graph=wanted)
        field = gradient.abs().sum((0, 1))  # (H, W)
    return field if wanted else field.detach()


shapes.only("torch", globals())
