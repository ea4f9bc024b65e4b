"""The chapter's blocks in Torch: any float dtype, any device, differentiable."""

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.inverted_residuals import formulas


def relu6(x):
    """Same contract as `reference.relu6`.

    Torch has the operation, so this calls it. At 0 and at 6 its gradient is 0.
    """
    formulas.any_floats("x", x)
    return F.relu6(x)


def swish(x):
    """Same contract as `reference.swish`.

    Torch has the operation, and calls it SiLU. Keeps x for the gradient, and computes the sigmoid again.
    """
    formulas.any_floats("x", x)
    return F.silu(x)


def hard_swish(x):
    """Same contract as `reference.hard_swish`.

    Torch has the operation, so this calls it. At −3 its gradient is 0, at 3 it is 1.
    """
    formulas.any_floats("x", x)
    return F.hardswish(x)


def squeeze_excite(x, weights):
    """Same contract as `reference.squeeze_excite`.

    The gate is N·C numbers; only the product at the end is as large as x.
    """
    formulas.squeeze_excite(x, weights)
    s = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    z = F.relu(F.conv2d(s, weights.w_reduce, weights.b_reduce))  # (N, R, 1, 1)
    return F.hardsigmoid(F.conv2d(z, weights.w_expand, weights.b_expand)) * x


def channel_shuffle(x, groups):
    """Same contract as `reference.channel_shuffle`.

    Torch has the operation, so this calls it: it transposes a view and copies once.
    """
    formulas.channel_shuffle(x, groups)
    return F.channel_shuffle(x, groups)


def depthwise_separable_block(x, weights, *, stride=1):
    """Same contract as `reference.depthwise_separable_block`.

    Two convolutions of torch, each ReLU in place. Stores what stands between the two: N·C·OH·OW numbers.
    """
    stride, padding = formulas.depthwise_separable_block(x, weights, stride)
    t = F.conv2d(x, weights.w_depthwise, weights.b_depthwise, stride, padding, groups=x.shape[1]).relu_()
    return F.conv2d(t, weights.w_pointwise, weights.b_pointwise).relu_()  # (N, O, OH, OW)


def inverted_residual(x, weights, *, stride, splits=1):
    """Same contract as `reference.inverted_residual`.

    With the channels last, a 1×1 convolution is one product of matrices, pixels × channels, and the
    depthwise kernels read that layout as it is. The output is made once, as bias and shortcut, and each
    part's projection is added to it in place by `addmm_`: no second map of O channels. Both ReLU6 work
    in place. So without gradients the extra memory is `formulas.inverted_extra` and a copy of x in this
    layout, or at the very end two outputs, in this layout and the usual one; neither copy is made where
    x has the layout already. With gradients all parts are kept, and splits save nothing.
    """
    stride, padding, parts, shortcut = formulas.inverted_residual(x, weights, stride, splits)
    w_expand, b_expand, w_depthwise, b_depthwise, w_project, b_project = weights
    N, C, H, W = x.shape
    pixels, y = x.permute(0, 2, 3, 1).reshape(-1, C), None  # (N·H·W, C)
    for first, end in parts:
        if w_expand is None:
            t = pixels[:, first:end].contiguous()  # a copy only where it is a part
        else:
            t = F.relu6(F.linear(pixels, w_expand[first:end, :, 0, 0], b_expand[first:end]), inplace=True)
        t = t.view(N, H, W, end - first).permute(0, 3, 1, 2)  # (N, part, H, W)
        u = F.conv2d(t, w_depthwise[first:end], b_depthwise[first:end], stride, padding, groups=end - first)
        u = F.relu6(u, inplace=True)  # (N, part, OH, OW)
        del t
        size = u.shape[2:]
        u = u.permute(0, 2, 3, 1).reshape(-1, end - first)  # (N·OH·OW, part)
        if y is None:
            y = pixels + b_project if shortcut else b_project.repeat(len(u), 1)
        y = y.addmm_(u, w_project[:, first:end, 0, 0].T)  # (N·OH·OW, O)
        del u
    del pixels
    y = y.view(N, *size, len(w_project)).permute(0, 3, 1, 2)  # (N, O, OH, OW)
    return y if x.is_contiguous(memory_format=torch.channels_last) else y.contiguous()


def linear_bottleneck_loss(points, matrix):
    """Same contract as `reference.linear_bottleneck_loss`.

    Torch has the pseudo-inverse, with a gradient wherever the rank does not change.
    """
    thin = formulas.linear_bottleneck_loss(points, matrix)
    formulas.finite("points", bool(points.isfinite().all()))
    formulas.finite("matrix", bool(matrix.isfinite().all()))
    sigma = torch.linalg.svdvals(matrix.detach())
    formulas.spread(bool((points != points[0]).any()), len(sigma) > 1 and bool(sigma[1] > thin * sigma[0]))
    recovered = F.relu(points @ matrix.T) @ torch.linalg.pinv(matrix, rtol=thin).T  # (POINTS, 2)
    wanted, given = points - points.mean(0), recovered - recovered.mean(0)
    missing = wanted - given @ (torch.linalg.pinv(given, rtol=thin) @ wanted)
    return recovered, missing.square().sum() / wanted.square().sum()


def effnet_block(x, weights, *, negative_slope=0.01):
    """Same contract as `reference.effnet_block`.

    Four convolutions and a pooling of torch, each leaky ReLU in place where its slope allows it.
    """
    row, column = formulas.effnet_block(x, weights, negative_slope)
    M, leaky = len(weights.w_pointwise), torch.nn.LeakyReLU(negative_slope, inplace=negative_slope > 0)
    t = leaky(F.conv2d(x, weights.w_pointwise, weights.b_pointwise))  # (N, M, H, W)
    t = leaky(F.conv2d(t, weights.w_row, weights.b_row, padding=row, groups=M))
    t = F.max_pool2d(t, (1, 2))  # (N, M, H, W / 2)
    t = leaky(F.conv2d(t, weights.w_column, weights.b_column, padding=column, groups=M))
    return leaky(F.conv2d(t, weights.w_project, weights.b_project, (2, 1)))  # (N, O, H / 2, W / 2)


def shuffle_unit(x, weights, *, groups, stride):
    """Same contract as `reference.shuffle_unit`.

    Three convolutions of torch; sum and ReLU in place.
    """
    stride, padding, first = formulas.shuffle_unit(x, weights, groups, stride)
    t = F.conv2d(x, weights.w_reduce, weights.b_reduce, groups=first).relu_()
    t = F.channel_shuffle(t, groups)  # (N, M, H, W)
    t = F.conv2d(t, weights.w_depthwise, weights.b_depthwise, stride, padding, groups=t.shape[1])
    u = F.conv2d(t, weights.w_expand, weights.b_expand, groups=groups)  # (N, O, OH, OW)
    if stride == (1, 1):
        return u.add_(x).relu_()
    return torch.cat([F.avg_pool2d(x, 3, 2, 1), u], 1).relu_()  # (N, C + O, OH, OW)


shapes.only("torch", globals())
