"""im2col in Torch: the same functions, and a convolution that never builds the columns.

`conv2d_gemm` calls no convolution, unfold or fold of Torch: matrix products and copies alone.
"""

import torch
import torch.nn.functional as F
from torch.autograd import Function

from cvnotes import shapes
from cvnotes.im2col import formulas

CACHE = 8 << 20  # bytes that are written again and again stay below this, to stay in the cache


def conv2d_loops(x, w, b=None, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.conv2d_loops`.

    Torch's own kernel. On a processor oneDNN compiles it for the very shape: the loops stand in
    another order, in blocks that fit the caches, and the innermost is one vector instruction.
    Memory: the output, and a copy of what has to be laid out in blocks.
    """
    stride, padding, dilation, _ = shapes.conv2d(
        x, w, b, stride=stride, padding=padding, dilation=dilation
    )
    return F.conv2d(x, w, b, stride, padding, dilation)


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.im2col`.

    One copy out of the strided view of `windows`; backward is `col2im`. Memory: the columns
    (N, C·KH·KW, L) and, with padding, the padded image.
    """
    formulas.check_im2col(x, kernel_size, stride, padding, dilation)
    return _Columns.apply(x, kernel_size, stride, padding, dilation)


def column_indices(channels, size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.column_indices`, in tensors of int64 on the processor.

    Memory: two indices of 8 bytes for each element of a channel's columns, so twice to four
    times what the columns of one image take; that is why the strided view replaces them.
    """
    checked = formulas.check_indices(channels, size, kernel_size, stride, padding, dilation)
    C, (KH, KW), (sv, sh), _, (dv, dh), (OH, OW) = checked
    r = torch.arange(C * KH * KW)[:, None]  # (R, 1)
    l = torch.arange(OH * OW)[None, :]  # (1, L)
    return r // (KH * KW), l // OW * sv + r // KW % KH * dv, l % OW * sh + r % KW * dh


def windows(x, kernel_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.windows`; Torch doesn't know read-only, so don't write into it.

    A view: no memory without padding, one padded image with it.
    """
    checked = formulas.check_im2col(x, kernel_size, stride, padding, dilation)
    kernel, (sv, sh), (pv, ph), (dv, dh), places = checked
    if pv or ph:
        x = F.pad(x, (ph, ph, pv, pv))  # (N, C, H + 2P, W + 2P)
    n, c, y, x_ = x.stride()
    strides = (n, c, y * dv, x_ * dh, y * sv, x_ * sh)
    return x.as_strided(x.shape[:2] + kernel + places, strides)  # (N, C, KH, KW, OH, OW)


def col2im(columns, output_size, kernel_size, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.col2im`.

    One shifted addition a tap, over as many images at a time as stay in the cache (`CACHE`) while
    their columns stream past once; what falls into the padding is never read. Backward is
    `im2col`. Memory: the image alone.
    """
    formulas.check_col2im(columns, output_size, kernel_size, stride, padding, dilation)
    return _Image.apply(columns, output_size, kernel_size, stride, padding, dilation)


def conv2d_gemm(x, w, b=None, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.conv2d_gemm`.

    Implicit im2col: the rows of the column matrix that belong to one tap (i, j) are the image
    itself, shifted. So each image is written once as a matrix with a pixel a row, (pixels, C),
    zeros round it; a shift is then a slice of that matrix, no copy, and the output is the sum of
    KH·KW products (pixels, C) · (C, O), each added in place to the last. Where the stride is S,
    the pixels are first sorted into S·S smaller images, and shifts are slices again. Both
    gradients are sums of KH·KW products over the same slices.

    Memory: the output, and for a few images at a time (`CACHE`) their pixels and sums. Places
    where a slice runs over the end of a row are computed and dropped, which costs
    (KW − 1)·D / OW more multiplications. A floating dtype of 16 bits is rounded after each tap. A
    NaN or infinity in `x`, `w` or the gradient spreads as in the reference in the output; in the
    gradients it may also spread to neighbours that it doesn't touch, since 0 · ∞ is NaN.
    """
    checked = shapes.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation)
    return _Output.apply(x, w, b, _Plan(x, w, *checked))


def conv2d_gemm_backward(grad_output, x, w, *, stride=1, padding=0, dilation=1):
    """Same contract as `reference.conv2d_gemm_backward`.

    As `conv2d_gemm` without columns: dx adds the products of each tap into shifted slices, dw
    multiplies the shifted slices with the gradient. Itself differentiable, as often as wanted.
    One exception to the contract: a NaN or infinity may also reach gradients that it doesn't
    touch in the reference, since 0 · ∞ is NaN.
    Memory: the results, and for a few images at a time their pixels and gradients.
    """
    checked = formulas.check_backward(grad_output, x, w, stride, padding, dilation)
    plan = _Plan(x, w, *checked)
    dx = _InputGradient.apply(w, grad_output, plan)  # (N, C, H, W)
    dw = _WeightGradient.apply(x, grad_output, plan)  # (O, C, KH, KW)
    return dx, dw, grad_output.sum((0, 2, 3))


# --- columns and back ------------------------------------------------------------------


def _meeting(offset, size, stride, padding, count):
    """Return two slices: of `count` places, those with place·stride + offset − padding inside
    the image's `size`, and the pixels that they meet."""
    first = max(0, -((offset - padding) // stride))
    last = min(count, -((offset - padding - size) // stride))
    start = first * stride + offset - padding
    number = max(0, last - first)
    if not number:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(start, start + (number - 1) * stride + 1, stride)


class _Columns(Function):
    @staticmethod
    def forward(ctx, x, kernel_size, *sizes):
        ctx.arguments = x.shape[2:], kernel_size, *sizes
        stride, padding, dilation = sizes
        view = windows(x, kernel_size, stride=stride, padding=padding, dilation=dilation)
        N, C, KH, KW, OH, OW = view.shape
        columns = view.reshape(N, C * KH * KW, OH * OW)  # (N, R, L)
        return columns.clone() if columns.data_ptr() == x.data_ptr() else columns

    @staticmethod
    def backward(ctx, grad):
        size, *rest = ctx.arguments
        return _Image.apply(grad, tuple(size), *rest), None, None, None, None


class _Image(Function):
    @staticmethod
    def forward(ctx, columns, output_size, kernel_size, *sizes):
        ctx.arguments = kernel_size, *sizes
        checked = formulas.check_col2im(columns, output_size, kernel_size, *sizes)
        C, (H, W), (KH, KW), (sv, sh), (pv, ph), (dv, dh), (OH, OW) = checked
        columns = columns.unflatten(2, (OH, OW)).unflatten(1, (C, KH, KW))
        x = columns.new_zeros(len(columns), C, H, W)
        batch = max(1, CACHE // (C * H * W * x.element_size()))
        for images, patches in zip(x.split(batch), columns.split(batch)):
            for i in range(KH):
                p, u = _meeting(i * dv, H, sv, pv, OH)
                for j in range(KW):
                    q, v = _meeting(j * dh, W, sh, ph, OW)
                    images[:, :, u, v].add_(patches[:, :, i, j, p, q])
        return x  # (N, C, H, W)

    @staticmethod
    def backward(ctx, grad):
        return _Columns.apply(grad, *ctx.arguments), None, None, None, None, None


# --- implicit im2col -------------------------------------------------------------------


class _Plan:
    """Where the pixels and the taps of a convolution lie when an image is a matrix of pixels.

    Pixel (y, x) of the padded image lies in the smaller image of phase (y mod S, x mod S), at
    (y // S, x // S). In its phase, a tap meets the pixels from `shift` on, one for each place of
    the output laid out with the same `pitch`: rows of places stand `pitch` apart, and what is
    computed between OW and `pitch` is dropped.
    """

    def __init__(self, x, w, stride, padding, dilation, places):
        self.shape, self.filters, self.kernel = tuple(x.shape), w.shape[0], tuple(w.shape[2:])
        self.places = places
        (KH, KW), (sv, sh), (dv, dh) = self.kernel, stride, dilation
        self.height = places[0] + (KH - 1) * dv // sv
        self.pitch = places[1] + (KW - 1) * dh // sh
        self.phases = []  # of each phase in use: where its pixels go, where they come from
        self.taps = []  # of each tap: the number of its phase, and its shift there
        numbers = {}
        for i in range(KH):
            for j in range(KW):
                phase = i * dv % sv, j * dh % sh
                if phase not in numbers:
                    numbers[phase] = len(self.phases)
                    rows = _meeting(phase[0], x.shape[2], sv, padding[0], self.height)
                    columns = _meeting(phase[1], x.shape[3], sh, padding[1], self.pitch)
                    self.phases.append(((rows[0], columns[0]), (rows[1], columns[1])))
                self.taps.append((numbers[phase], i * dv // sv * self.pitch + j * dh // sh))
        image = self.height * self.pitch * (w.shape[1] * len(self.phases) + self.filters)
        most = max(1, min(len(x), CACHE // (image * x.element_size())))
        self.batch = next(n for n in range(most, 0, -1) if len(x) % n == 0)  # so all are alike
        rows = (self.batch - 1) * self.height + places[0] - 1
        self.count = rows * self.pitch + places[1]  # places of a batch, from the first to the last
        self.batches = [slice(n, n + self.batch) for n in range(0, len(x), self.batch)]

    def pixels(self, like):
        """Return zeros for the pixels of a batch, (phases, pixels, C), and a list of slices of
        them, (count, C): for each tap the pixels that it meets."""
        pixels = like.new_zeros(len(self.phases), self.batch * self.height * self.pitch, self.shape[1])
        return pixels, [pixels[phase].narrow(0, shift, self.count) for phase, shift in self.taps]

    def grid(self, rows):
        """Return a view of rows (.., pixels, channels) as (.., images, channels, height, pitch)."""
        return rows.unflatten(-2, (self.batch, self.height, self.pitch)).movedim(-1, -3)

    def fill(self, pixels, x):
        """Write a batch of images into `pixels`."""
        for phase, ((rows, columns), (ys, xs)) in zip(self.grid(pixels), self.phases):
            phase[:, :, rows, columns] = x[:, :, ys, xs]

    def sums(self, new):
        """Return room for the outputs of a batch, (count, O), and a view of it, (n, O, OH, OW)."""
        sums = new(self.batch * self.height * self.pitch, self.filters)
        return sums[: self.count], self.grid(sums)[:, :, : self.places[0], : self.places[1]]

    def matrices(self, w):
        """Return `w` as a list of one matrix (C, O) a tap."""
        return w.permute(2, 3, 1, 0).flatten(0, 1).contiguous().unbind()


class _Output(Function):
    """y of (x, w): its gradients are the other two, and theirs again, since ⟨y, g⟩ is linear in
    x, in w and in g; so all three are differentiable without end."""

    @staticmethod
    def forward(ctx, x, w, b, plan):
        ctx.save_for_backward(x, w)
        ctx.plan, ctx.bias = plan, b is not None
        y = x.new_empty(plan.shape[0], plan.filters, *plan.places)
        (pixels, shifted), (sums, view) = plan.pixels(x), plan.sums(x.new_empty)
        first, *rest = zip(shifted, plan.matrices(w))
        for images in plan.batches:
            plan.fill(pixels, x[images])
            torch.mm(*first, out=sums)
            for tap in rest:
                sums.addmm_(*tap)
            y[images] = view if b is None else view.add_(b[:, None, None])
        return y  # (N, O, OH, OW)

    @staticmethod
    def backward(ctx, g):
        (x, w), plan, needs = ctx.saved_tensors, ctx.plan, ctx.needs_input_grad
        dx = _InputGradient.apply(w, g, plan) if needs[0] else None
        dw = _WeightGradient.apply(x, g, plan) if needs[1] else None
        return dx, dw, g.sum((0, 2, 3)) if ctx.bias and needs[2] else None, None


class _InputGradient(Function):
    """dx of (w, g)."""

    @staticmethod
    def forward(ctx, w, g, plan):
        ctx.save_for_backward(w, g)
        ctx.plan = plan
        dx = g.new_zeros(plan.shape)
        (pixels, shifted), (sums, view) = plan.pixels(g), plan.sums(g.new_zeros)
        matrices = plan.matrices(w)
        for images in plan.batches:
            view.copy_(g[images])
            pixels.zero_()
            for target, matrix in zip(shifted, matrices):
                target.addmm_(sums, matrix.t())
            for phase, ((rows, columns), (ys, xs)) in zip(plan.grid(pixels), plan.phases):
                dx[images, :, ys, xs] = phase[:, :, rows, columns]
        return dx  # (N, C, H, W)

    @staticmethod
    def backward(ctx, v):
        (w, g), plan = ctx.saved_tensors, ctx.plan
        return _WeightGradient.apply(v, g, plan), _Output.apply(v, w, None, plan), None


class _WeightGradient(Function):
    """dw of (x, g)."""

    @staticmethod
    def forward(ctx, x, g, plan):
        ctx.save_for_backward(x, g)
        ctx.plan = plan
        (pixels, shifted), (sums, view) = plan.pixels(x), plan.sums(x.new_zeros)
        dw = x.new_zeros(len(plan.taps), plan.filters, plan.shape[1])  # (KH·KW, O, C)
        for images in plan.batches:
            plan.fill(pixels, x[images])
            view.copy_(g[images])
            for matrix, met in zip(dw, shifted):
                matrix.addmm_(sums.t(), met)
        return dw.unflatten(0, plan.kernel).permute(2, 3, 0, 1).contiguous()  # (O, C, KH, KW)

    @staticmethod
    def backward(ctx, u):
        (x, g), plan = ctx.saved_tensors, ctx.plan
        return _InputGradient.apply(u, g, plan), _Output.apply(x, u, None, plan), None


shapes.only("torch", globals())
