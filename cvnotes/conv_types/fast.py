"""The chapter's convolutions in Torch: any float dtype, any device, differentiable."""

import warnings

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.conv_types import formulas


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Same contract as `reference.conv2d`.

    Torch has the operation, so this calls it. Nothing the size of the windows is stored.
    """
    stride, padding, dilation, _ = shapes.conv2d(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return F.conv2d(x, w, b, stride, padding, dilation, groups)  # (N, O, OH, OW)


def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Same contract as `reference.conv_transpose2d`.

    Torch has the operation, so this calls it: the very code that computes a convolution's
    gradient towards its input.
    """
    stride, padding, dilation, _ = formulas.conv_transpose2d(
        x, w, b, stride, padding, output_padding, groups, dilation
    )
    output_padding = shapes.pair("output_padding", output_padding)
    return F.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)  # (N, O, OH, OW)


def dilate_kernel(w, dilation):
    """Same contract as `reference.dilate_kernel`.

    One strided assignment, which autograd follows.
    """
    DH, DW = formulas.dilate_kernel(w, dilation)
    *rest, KH, KW = w.shape
    v = w.new_zeros(*rest, DH * (KH - 1) + 1, DW * (KW - 1) + 1)
    v[..., ::DH, ::DW] = w
    return v


def separate_kernel(kernel):
    """Same contract as `reference.separate_kernel`.

    The pair comes from an SVD that autograd doesn't see. Its gradient is that of one Newton step
    on K v = σ u, Kᵀ u = σ v, which stands still at the solution but has the right derivative. The
    gradient of the SVD itself divides by the gaps between all singular values, and so is NaN for
    a kernel of rank 1; this one needs only that σ₁ stands apart. At the kernel 0 there is none.
    """
    formulas.separate_kernel(kernel)
    formulas.all_finite("kernel", bool(kernel.isfinite().all()))
    u, sigma, vt = torch.linalg.svd(kernel.detach(), full_matrices=False)
    u, sigma, v = u[:, 0], sigma[0], vt[0]
    largest = int((u.abs() >= 0.999 * u.abs().max()).int().argmax())
    if u[largest] < 0:
        u, v = -u, -v
    if kernel.requires_grad:
        off = torch.cat([kernel @ v - sigma * u, kernel.T @ u - sigma * v])  # what is not solved: 0
        zero = torch.zeros_like(kernel)
        jacobian = torch.cat([
            torch.cat([torch.diag(-sigma.expand(len(u))), zero + kernel.detach()], 1),
            torch.cat([kernel.detach().T, torch.diag(-sigma.expand(len(v)))], 1),
        ])  # (KH + KW, KH + KW)
        step = torch.linalg.pinv(jacobian, hermitian=True, rtol=1e-6) @ (off - off.detach())
        sigma = u @ kernel @ v  # its gradient is u vᵀ
        u, v = u - step[:len(u)], v - step[len(u):]
    column, row = sigma.sqrt() * u, sigma.sqrt() * v
    return column, row, kernel - torch.outer(column, row)


def spatially_separable_conv2d(x, column, row, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.spatially_separable_conv2d`.

    Two convolutions of torch, one group a channel. Stores what stands between the two:
    N·C·OH·W numbers.
    """
    (SH, SW), (PH, PW), (DH, DW), _ = formulas.spatially_separable_conv2d(
        x, column, row, stride, padding, dilation
    )
    C = x.shape[1]
    column = column.view(1, 1, -1, 1).expand(C, -1, -1, -1)  # (C, 1, KH, 1)
    row = row.view(1, 1, 1, -1).expand(C, -1, -1, -1)  # (C, 1, 1, KW)
    t = F.conv2d(x, column, None, (SH, 1), (PH, 0), (DH, 1), groups=C)  # (N, C, OH, W)
    return F.conv2d(t, row, None, (1, SW), (0, PW), (1, DW), groups=C)  # (N, C, OH, OW)


def depthwise_separable_conv2d(x, depthwise, pointwise, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.depthwise_separable_conv2d`.

    Two convolutions of torch. Stores what stands between the two: N·C·M·OH·OW numbers.
    """
    stride, padding, dilation, _ = formulas.depthwise_separable_conv2d(
        x, depthwise, pointwise, stride, padding, dilation
    )
    t = F.conv2d(x, depthwise, None, stride, padding, dilation, groups=x.shape[1])  # (N, C·M, OH, OW)
    return F.conv2d(t, pointwise)  # (N, O, OH, OW)


def deform_conv2d(x, offset, w, b=None, *, stride=1, padding=0, dilation=1, mask=None):
    """Same contract as `reference.deform_conv2d`.

    With the channels last, the four corners of a sample are four rows of a table of pixels. So
    all samples together are one sparse matrix, four weights a row, times that table: a product
    for which MKL and cuSPARSE have kernels, as for its two gradients. A frame of zeros round the
    image answers for what lies outside. Then one dense product, as for any convolution. (Where
    there are no such kernels, `embedding_bag` adds up the rows, some four times slower.)

    Works in blocks of images of about 8 MB of samples. Without gradients the memory is that of
    one block, KH·KW·C·OH·OW numbers an image at least; with gradients it is N·KH·KW·C·OH·OW.
    """
    geometry = formulas.deform_conv2d(x, offset, w, b, stride, padding, dilation, mask)
    (_, C, H, W), (O, _, KH, KW), (OH, OW), groups = x.shape, w.shape, geometry[3], geometry[4]
    block = max(1, 2**21 // (C * max(OH * OW * KH * KW, (H + 3) * (W + 3))))
    w = w.reshape(groups, O // groups, -1, KH * KW).permute(0, 3, 2, 1)  # (groups, K, C / groups, O / groups)
    w = w.flatten(1, 2)
    masks = [None] * max(1, len(x)) if mask is None else mask.split(block)
    parts = zip(x.split(block), offset.split(block), masks)
    y = torch.cat([_deform_block(*part, w, (KH, KW), geometry) for part in parts])  # (N, O, OH, OW)
    return y if b is None else y + b.view(-1, 1, 1)


def _deform_block(x, offset, mask, w, kernel_size, geometry):
    stride, padding, dilation, (OH, OW), groups, G = geometry
    (N, C, H, W), (KH, KW), L = x.shape, kernel_size, OH * OW
    table = F.pad(x, (1, 2, 1, 2)).permute(0, 2, 3, 1).reshape(-1, C // G)  # (N·(H + 3)·(W + 3)·G, C / G)

    # Where each sample lies: low precisions cannot tell pixels of a large image apart.
    place = torch.float32 if x.dtype.itemsize < 4 else x.dtype
    grid = [
        torch.arange(n, dtype=place, device=x.device) * s - p for n, s, p in zip((OH, OW), stride, padding)
    ]
    taps = [torch.arange(n, dtype=place, device=x.device) * d for n, d in zip((KH, KW), dilation)]
    offset = offset.reshape(N, G, KH * KW, 2, L).permute(0, 4, 2, 1, 3)  # (N, L, K, G, 2)
    row = (grid[0].repeat_interleave(OW)[:, None] + taps[0].repeat_interleave(KW))[..., None] + offset[..., 0]
    column = (grid[1].repeat(OH)[:, None] + taps[1].repeat(KH))[..., None] + offset[..., 1]  # (N, L, K, G)

    # A sample outside reads four zeros at the bottom right of the frame; NaN stays NaN.
    outside = (row <= -1) | (row >= H) | (column <= -1) | (column >= W)
    outside &= ~(row.isnan() | column.isnan())
    row, column = row.masked_fill(outside, H), column.masked_fill(outside, W)
    top, left = row.detach().floor(), column.detach().floor()
    down, right = row - top, column - left  # how far from the upper left corner, 0 to 1
    pixel = (top.int() + 1) * (W + 3) + left.int() + 1
    pixel += torch.arange(N, dtype=torch.int32, device=x.device).view(N, 1, 1, 1) * ((H + 3) * (W + 3))
    pixel = pixel * G + torch.arange(G, dtype=torch.int32, device=x.device)
    pixel = pixel.clamp_(0, max(0, len(table) - (W + 4) * G - 1))  # a NaN has come to any integer
    corners = torch.stack([pixel, pixel + G, pixel + (W + 3) * G, pixel + (W + 4) * G], -1)

    if mask is None:
        upper, lower = 1 - down, down
    else:
        mask = mask.reshape(N, G, KH * KW, L).permute(0, 3, 2, 1)  # (N, L, K, G)
        lower = mask * down
        upper = mask - lower
    weights = torch.stack([upper - upper * right, upper * right, lower - lower * right, lower * right], -1)
    columns = _sample(table, corners.view(-1, 4), weights.view(-1, 4)).view(
        N * L, KH * KW, groups, C // groups
    )
    if groups == 1:
        y = columns.flatten(1) @ w[0]  # (N·L, O)
    else:
        y = torch.einsum("lkgc,gkco->lgo", columns, w.unflatten(1, (KH * KW, C // groups)))
    return y.reshape(N, OH, OW, groups * w.shape[2]).permute(0, 3, 1, 2)  # (N, O, OH, OW)


def _sample(table, rows, weights):
    """Return Σ_q weights[:, q] · table[rows[:, q]], for table (R, C), rows and weights (M, 4)."""
    kind = table.device.type
    if kind == "cuda" or kind == "cpu" and torch.backends.mkl.is_available():
        return _SparseSample.apply(table.to(weights.dtype), rows, weights).to(table.dtype)  # (M, C)
    weights = weights.to(table.dtype)
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)  # (M, C)


class _SparseSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, rows, weights):
        ctx.save_for_backward(table, rows, weights)
        return _four_a_row(rows, weights, len(table)) @ table

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        table, rows, weights = ctx.saved_tensors
        grad, dtable, dweights = grad.contiguous(), None, None
        if ctx.needs_input_grad[0]:  # the transposed matrix: its entries in the order of their pixel
            order = rows.view(-1).argsort(stable=True)
            counts = torch.bincount(rows.view(-1), minlength=len(table))
            ends = F.pad(counts.cumsum(0), (1, 0)).to(rows.dtype)
            entries = (order // 4).to(rows.dtype), weights.view(-1)[order]
            dtable = _sparse(ends, *entries, (len(table), len(rows))) @ grad
        if ctx.needs_input_grad[2]:  # products of gradient and pixel, only where the matrix has entries
            pattern = _four_a_row(rows, weights, len(table))
            dweights = torch.sparse.sampled_addmm(pattern, grad, table.T, beta=0).values().view_as(weights)
        return dtable, None, dweights


def _four_a_row(rows, weights, count):
    starts = torch.arange(0, rows.numel() + 1, 4, dtype=rows.dtype, device=rows.device)
    return _sparse(starts, rows.view(-1), weights.view(-1), (len(rows), count))


def _sparse(starts, columns, values, shape):
    with warnings.catch_warnings():  # torch calls this layout a beta, each time a process begins
        warnings.filterwarnings("ignore", "Sparse CSR tensor support")
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def involution2d(x, kernel, *, stride=1, dilation=1):
    """Same contract as `reference.involution2d`.

    No window is ever copied: for each tap of the kernel, the whole image is shifted (a view),
    multiplied with that tap's weights and added to the output in place. One image at a time, so
    that image and output stay in the cache while all taps pass over them. The gradient is written
    by hand in the same way. Extra memory: the padded input, and as much again for its gradient.
    """
    return _Involution.apply(x, kernel, formulas.involution2d(x, kernel, stride, dilation))


class _Involution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel, geometry):
        ctx.save_for_backward(x, kernel)
        ctx.geometry = geometry
        padded, kernel = _by_group(x, kernel, geometry)
        y = x.new_zeros(*padded.shape[:3], *kernel.shape[-2:])  # (N, G, C / G, OH, OW)
        for n in range(len(x)):
            for tap, window in _taps(padded[n], kernel[n], geometry):
                y[n].addcmul_(window, tap)
        return y.flatten(1, 2)  # (N, C, OH, OW)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, kernel = ctx.saved_tensors
        padded, kernel = _by_group(x, kernel, ctx.geometry)
        grad = grad.reshape(*padded.shape[:3], *grad.shape[-2:])  # (N, G, C / G, OH, OW)
        dx, dkernel = torch.zeros_like(padded), torch.zeros_like(kernel)
        for n in range(len(x)):
            places = _taps(padded[n], kernel[n], ctx.geometry)
            if ctx.needs_input_grad[0]:
                for (tap, _), (_, target) in zip(places, _taps(dx[n], kernel[n], ctx.geometry)):
                    target.addcmul_(grad[n], tap)
            if ctx.needs_input_grad[1]:
                for (target, _), (_, window) in zip(_taps(padded[n], dkernel[n], ctx.geometry), places):
                    torch.sum(grad[n] * window, 1, keepdim=True, out=target)
        (PH, PW), (H, W) = ctx.geometry[1], x.shape[2:]
        dx = dx[..., PH:PH + H, PW:PW + W].flatten(1, 2)  # (N, C, H, W)
        return dx, dkernel.squeeze(2), None


def _by_group(x, kernel, geometry):
    """Return x as (N, G, C / G, H + 2P, W + 2P) and the kernel as (N, G, 1, KH, KW, OH, OW)."""
    PH, PW = geometry[1]
    return F.pad(x, (PW, PW, PH, PH)).unflatten(1, (kernel.shape[1], -1)), kernel.unsqueeze(2)


def _taps(x, kernel, geometry):
    """Return, for each tap of one image's kernels, its weights and what they are multiplied with."""
    (SH, SW), _, (DH, DW), (OH, OW) = geometry
    _, _, KH, KW, _, _ = kernel.shape
    return [
        (kernel[:, :, k, l], x[..., DH * k:, DW * l:][..., ::SH, ::SW][..., :OH, :OW])
        for k in range(KH) for l in range(KW)
    ]


shapes.only("torch", globals())
