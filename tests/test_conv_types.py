"""The chapter conv_types against torch's own operations, other oracles, and bad input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cvnotes.conv_types import fast, formulas, reference


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def both(name, *args, **kwargs):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    arrays = [a.numpy() if isinstance(a, torch.Tensor) else a for a in args]
    named = {k: a.numpy() if isinstance(a, torch.Tensor) else a for k, a in kwargs.items()}
    return (
        torch.from_numpy(np.asarray(getattr(reference, name)(*arrays, **named))),
        getattr(fast, name)(*args, **kwargs),
    )


def check(results, oracle, **tolerance):
    for result in results:
        torch.testing.assert_close(result, oracle, **tolerance)


# --- convolution and its transpose -----------------------------------------------------


@pytest.mark.parametrize("settings", [
    {}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": (2, 1)},
    {"stride": (2, 3), "padding": 2, "dilation": 2, "groups": 2}, {"groups": 4},
])
def test_conv2d_equals_torch(settings):
    x, w, b = randn(2, 4, 7, 8), randn(8, 4 // settings.get("groups", 1), 3, 2), randn(8)
    check(both("conv2d", x, w, b, **settings), F.conv2d(x, w, b, **settings))


def test_conv2d_pointwise_is_a_linear_layer_at_each_pixel():
    x, w = randn(2, 5, 3, 4), randn(7, 5, 1, 1)
    linear = F.linear(x.permute(0, 2, 3, 1), w[:, :, 0, 0]).permute(0, 3, 1, 2)
    check(both("conv2d", x, w), linear)


def test_conv2d_passes_nan_to_each_window_that_holds_it():
    x, w = torch.zeros(1, 1, 5, 5, dtype=torch.float64), torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    x[0, 0, 1, 2] = torch.nan
    seen = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    seen[..., :2, :] = True
    for result in both("conv2d", x, w):
        assert torch.equal(result.isnan(), seen)


@pytest.mark.parametrize("settings", [
    {}, {"stride": 2}, {"stride": (3, 2), "padding": (1, 2), "output_padding": (2, 1)},
    {"dilation": (1, 3), "output_padding": (0, 2)}, {"groups": 2, "stride": 2, "padding": 1},
])
def test_conv_transpose2d_equals_torch(settings):
    groups = settings.get("groups", 1)
    x, w, b = randn(2, 4, 4, 5), randn(4, 3, 3, 3), randn(3 * groups)
    check(both("conv_transpose2d", x, w, b, **settings), F.conv_transpose2d(x, w, b, **settings))


@pytest.mark.parametrize("stride, padding, dilation, groups", [(1, 0, 1, 1), (2, 1, 1, 2), (3, 2, 2, 1), (2, 0, (1, 2), 2)])
def test_conv_transpose2d_is_the_adjoint_of_conv2d(stride, padding, dilation, groups):
    x, w = randn(2, 4, 9, 8), randn(6, 4 // groups, 3, 3)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = fast.conv2d(x, w, **settings)
    z = randn(*y.shape, seed=1)
    sizes = fast.conv_transpose2d(z, w, **settings).shape[2:]
    rest = tuple(n - m for n, m in zip(x.shape[2:], sizes))  # the pixels that the floor cut away
    for back in both("conv_transpose2d", z, w, output_padding=rest, **settings):
        torch.testing.assert_close((y * z).sum(), (x * back).sum())


# --- dilated and separable -------------------------------------------------------------


@pytest.mark.parametrize("dilation", [1, 2, 3, (1, 4)])
def test_dilate_kernel_gives_the_dilated_convolution(dilation):
    x, w = randn(1, 2, 9, 11), randn(3, 2, 3, 3)
    for wide in both("dilate_kernel", w, dilation):
        torch.testing.assert_close(F.conv2d(x, wide), F.conv2d(x, w, dilation=dilation))
        assert int((wide != 0).sum()) == w.numel()


@pytest.mark.parametrize("shape", [(3, 3), (1, 4), (5, 2)])
def test_separate_kernel_leaves_what_eckart_and_young_say(shape):
    kernel = randn(*shape)
    sigma = torch.linalg.svdvals(kernel)
    for column, row, residual in (
        map(torch.from_numpy, reference.separate_kernel(kernel.numpy())), fast.separate_kernel(kernel)
    ):
        torch.testing.assert_close(residual.square().sum(), sigma[1:].square().sum())
        torch.testing.assert_close(torch.outer(column, row) + residual, kernel)
        torch.testing.assert_close(column.norm(), row.norm())
        assert column[column.abs().argmax()] > 0


def test_separate_kernel_finds_sobel():
    sobel = np.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0])
    column, row, residual = reference.separate_kernel(sobel)
    scale = 3 ** -0.25  # |(1, 2, 1)| = √6, |(1, 0, −1)| = √2: √σ on each
    np.testing.assert_allclose(column, np.array([1, 2, 1]) * scale, atol=1e-12)
    np.testing.assert_allclose(row, np.array([1, 0, -1]) / scale, atol=1e-12)
    np.testing.assert_allclose(residual, 0, atol=1e-12)


def test_separate_kernel_of_zeros_is_zeros():
    for part in reference.separate_kernel(np.zeros((2, 3))):
        assert not part.any()


def test_spatially_separable_conv2d_equals_one_convolution_with_the_product():
    x, column, row = randn(2, 3, 8, 9), randn(3), randn(4)
    settings = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    kernel = torch.outer(column, row).expand(3, 1, 3, 4)
    check(both("spatially_separable_conv2d", x, column, row, **settings), F.conv2d(x, kernel, groups=3, **settings))


def test_depthwise_separable_conv2d_equals_one_full_convolution():
    x, depthwise, pointwise = randn(2, 3, 7, 6), randn(6, 1, 3, 3), randn(5, 6, 1, 1)
    # The full filter that it stands for: w[o, c] = Σ_m pointwise[o, c·M + m] · depthwise[c·M + m].
    w = torch.einsum("ocm,cmkl->ockl", pointwise.view(5, 3, 2), depthwise.view(3, 2, 3, 3))
    settings = {"stride": 2, "padding": 1}
    check(both("depthwise_separable_conv2d", x, depthwise, pointwise, **settings), F.conv2d(x, w, **settings))


# --- deformable ------------------------------------------------------------------------


def deform_by_grid_sample(x, offset, w, b, stride, padding, dilation, mask):
    """An oracle from `grid_sample`, which looks where it is told with zeros outside, one tap at a time."""
    (N, C, H, W), (O, depth, KH, KW) = x.shape, w.shape
    OH, OW = offset.shape[2:]
    G = offset.shape[1] // (2 * KH * KW)
    y = 0
    for g in range(G):
        channels = torch.arange(g * C // G, (g + 1) * C // G)
        for tap in range(KH * KW):
            q = g * KH * KW + tap
            down = torch.arange(OH)[:, None] * stride - padding + tap // KW * dilation + offset[:, 2 * q]
            right = torch.arange(OW) * stride - padding + tap % KW * dilation + offset[:, 2 * q + 1]
            places = torch.stack([(2 * right + 1) / W - 1, (2 * down + 1) / H - 1], -1)
            sample = F.grid_sample(x[:, channels], places, align_corners=False)
            if mask is not None:
                sample = sample * mask[:, q:q + 1]
            full = torch.zeros(N, C, OH, OW, dtype=x.dtype)
            full[:, channels] = sample
            tap_weights = w[:, :, tap // KW, tap % KW][..., None, None]
            y = y + F.conv2d(full, tap_weights, groups=C // depth)
    return y if b is None else y + b.view(-1, 1, 1)


@pytest.mark.parametrize("G, depth, with_mask", [(1, 4, False), (2, 4, True), (4, 2, True), (1, 1, True)])
def test_deform_conv2d_equals_grid_sample(G, depth, with_mask):
    x, w, b = randn(2, 4, 6, 5), randn(4, depth, 3, 2), randn(4)
    geometry = {"stride": 2, "padding": 1, "dilation": 1}
    OH, OW = F.conv2d(x, randn(1, 4, 3, 2), **geometry).shape[2:]
    offset = 2 * randn(2, G * 12, OH, OW)
    mask = randn(2, G * 6, OH, OW) if with_mask else None
    oracle = deform_by_grid_sample(x, offset, w, b, **geometry, mask=mask)
    check(both("deform_conv2d", x, offset, w, b, **geometry, mask=mask), oracle)


def test_deform_conv2d_without_offsets_is_conv2d():
    x, w = randn(2, 4, 7, 6), randn(6, 2, 3, 3)
    settings = {"stride": 2, "padding": 2, "dilation": 2}
    oracle = F.conv2d(x, w, groups=2, **settings)
    offset = torch.zeros(2, 18, *oracle.shape[2:], dtype=torch.float64)
    check(both("deform_conv2d", x, offset, w, **settings), oracle)
    half = torch.full((2, 9, *oracle.shape[2:]), 0.5, dtype=torch.float64)
    check(both("deform_conv2d", x, offset, w, **settings, mask=half), oracle / 2)


def test_deform_conv2d_puts_y_before_x():
    x = torch.arange(9.0, dtype=torch.float64).view(1, 1, 3, 3)
    offset = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    offset[:, 0] = 1  # one row down
    down = torch.tensor([[3.0, 4, 5], [6, 7, 8], [0, 0, 0]], dtype=torch.float64)
    check(both("deform_conv2d", x, offset, torch.ones(1, 1, 1, 1, dtype=torch.float64)), down[None, None])


@pytest.mark.parametrize("place, value", [
    (-1.0, 0.0), (-0.75, 0.25), (0.0, 1.0), (1.5, 2.5), (2.0, 3.0), (2.75, 0.75), (3.0, 0.0), (np.inf, 0.0), (-1e9, 0.0),
])
def test_deform_conv2d_fades_to_zero_within_a_pixel_of_the_border(place, value):
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for x, axis in ((torch.tensor([1.0, 2, 3]).double().view(1, 1, 3, 1), 0), (torch.tensor([1.0, 2, 3]).double().view(1, 1, 1, 3), 1)):
        offset = torch.zeros(1, 2, *x.shape[2:], dtype=torch.float64)
        offset[0, axis].view(-1)[0] = place
        for result in both("deform_conv2d", x, offset, one):
            assert result.view(-1)[0] == value


def test_deform_conv2d_decides_nan():
    x, w = randn(1, 1, 4, 4), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    offset = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    offset[0, 0, 1, 2] = torch.nan  # gives NaN in that place alone
    offset[0, :, 3, 3] = torch.tensor([torch.nan, torch.inf])
    for result in both("deform_conv2d", x, offset, w):
        assert result.isnan().nonzero().tolist() == [[0, 0, 1, 2], [0, 0, 3, 3]]
    x[0, 0, 0, 0] = torch.nan  # an image's corner: neither far samples nor masked ones may touch it
    offset = torch.full((1, 2, 4, 4), 99.0, dtype=torch.float64)
    for result in both("deform_conv2d", x, offset, w):
        assert torch.equal(result, torch.zeros_like(result))


def test_deform_conv2d_samples_the_same_without_sparse_kernels(monkeypatch):
    x, offset, w, mask = randn(3, 4, 5, 5), 2 * randn(3, 18, 5, 5), randn(2, 4, 3, 3), randn(3, 9, 5, 5)

    def gradients():
        inputs = [t.clone().requires_grad_() for t in (x, offset, w, mask)]
        y = fast.deform_conv2d(*inputs[:3], padding=1, mask=inputs[3])
        return [y.detach(), *torch.autograd.grad(y.square().sum(), inputs)]

    ours = gradients()
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    for a, b in zip(ours, gradients()):
        torch.testing.assert_close(a, b)


def test_deform_conv2d_is_the_same_in_blocks_of_images():
    x, w = randn(5, 64, 24, 24, dtype=torch.float32), randn(8, 64, 3, 3, dtype=torch.float32)
    offset = randn(5, 18, 24, 24, dtype=torch.float32)
    one_by_one = torch.cat([fast.deform_conv2d(x[n:n + 1], offset[n:n + 1], w, padding=1) for n in range(5)])
    torch.testing.assert_close(fast.deform_conv2d(x, offset, w, padding=1), one_by_one)


@pytest.mark.parametrize("y, x", [(0.25, 1.0), (-0.5, 2.9), (3.5, -0.1), (-1.0, 1.0), (0.0, 4.0), (2.0, 2.0)])
def test_bilinear_corners_equal_grid_sample(y, x):
    image = randn(1, 1, 4, 4)
    place = torch.tensor([[[[(2 * x + 1) / 4 - 1, (2 * y + 1) / 4 - 1]]]], dtype=torch.float64)
    sample = sum(w * image[0, 0, r, c].item() for r, c, w in formulas.bilinear_corners(y, x, 4, 4))
    assert sample == pytest.approx(F.grid_sample(image, place, align_corners=False).item(), abs=1e-12)


# --- involution ------------------------------------------------------------------------


@pytest.mark.parametrize("G, K, stride, dilation", [(1, 3, 1, 1), (2, 5, 2, 1), (4, 3, 1, 2), (2, 1, 3, 1)])
def test_involution2d_equals_unfold_and_multiply(G, K, stride, dilation):
    x = randn(2, 4, 7, 6)
    OH, OW = (7 - 1) // stride + 1, (6 - 1) // stride + 1
    kernel = randn(2, G, K, K, OH, OW)
    # As in the authors' code: unfold, view by group, multiply, sum over the taps.
    windows = F.unfold(x, K, dilation, dilation * (K - 1) // 2, stride).view(2, G, 4 // G, K * K, OH, OW)
    oracle = (windows * kernel.view(2, G, 1, K * K, OH, OW)).sum(3).view(2, 4, OH, OW)
    check(both("involution2d", x, kernel, stride=stride, dilation=dilation), oracle)


def test_involution2d_with_one_kernel_everywhere_is_a_depthwise_convolution():
    x, taps = randn(2, 6, 5, 5), randn(3, 3, 3)
    kernel = taps[None, :, :, :, None, None].expand(2, 3, 3, 3, 5, 5)
    w = taps.repeat_interleave(2, 0)[:, None]
    check(both("involution2d", x, kernel), F.conv2d(x, w, padding=1, groups=6))


def test_involution2d_passes_nan_to_each_window_that_holds_it():
    x = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    x[0, 1, 0, 0] = torch.nan
    for result in both("involution2d", x, torch.zeros(1, 1, 3, 3, 5, 5, dtype=torch.float64)):
        assert result.isnan().nonzero().tolist() == [[0, 1, i, j] for i in (0, 1) for j in (0, 1)]


# --- all of them -----------------------------------------------------------------------

X, W = randn(2, 4, 6, 6), randn(4, 4, 3, 3)
CALLS = {
    "conv2d": ((X, W), {"padding": 1}),
    "conv_transpose2d": ((X, W), {"stride": 2}),
    "dilate_kernel": ((W, 2), {}),
    "separate_kernel": ((W[0, 0],), {}),
    "spatially_separable_conv2d": ((X, W[0, 0, 0], W[0, 0, 1]), {}),
    "depthwise_separable_conv2d": ((X, W[:, :1], W[:, :, :1, :1]), {}),
    "deform_conv2d": ((X, randn(2, 18, 6, 6), W), {"padding": 1, "mask": randn(2, 9, 6, 6)}),
    "involution2d": ((X, randn(2, 2, 3, 3, 6, 6)), {}),
}


def as_list(result):
    return list(result) if isinstance(result, tuple) else [result]


def change(value, function):
    return function(value) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", CALLS)
def test_all_keep_float32(name):
    args, kwargs = CALLS[name]
    wide = as_list(getattr(fast, name)(*args, **kwargs))
    args = [change(a, torch.Tensor.float) for a in args]
    kwargs = {k: change(a, torch.Tensor.float) for k, a in kwargs.items()}
    for result, exact in zip(as_list(getattr(fast, name)(*args, **kwargs)), wide):
        torch.testing.assert_close(result, exact.float(), rtol=1e-4, atol=1e-4)
    args = [change(a, torch.Tensor.numpy) for a in args]
    kwargs = {k: change(a, torch.Tensor.numpy) for k, a in kwargs.items()}
    for result, exact in zip(as_list(getattr(reference, name)(*args, **kwargs)), wide):
        torch.testing.assert_close(torch.from_numpy(result), exact.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "separate_kernel"])
def test_all_run_in_bfloat16(name):
    args, kwargs = CALLS[name]
    exact = getattr(fast, name)(*args, **kwargs)
    args = [change(a, torch.Tensor.bfloat16) for a in args]
    result = getattr(fast, name)(*args, **{k: change(a, torch.Tensor.bfloat16) for k, a in kwargs.items()})
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), exact, rtol=0.1, atol=0.6)


@pytest.mark.parametrize("name", CALLS)
def test_all_take_arrays_that_are_not_contiguous(name):
    def scatter(t):
        return t.repeat_interleave(2, -1).mT.contiguous().mT[..., ::2] if t.dim() > 1 else t.repeat_interleave(2)[::2]

    args, kwargs = CALLS[name]
    args_ = [change(a, scatter) for a in args]
    kwargs_ = {k: change(a, scatter) for k, a in kwargs.items()}
    for a, b in zip(as_list(getattr(fast, name)(*args_, **kwargs_)), as_list(getattr(fast, name)(*args, **kwargs))):
        torch.testing.assert_close(a, b)
    args_ = [change(a, torch.Tensor.numpy) for a in args_]
    result = getattr(reference, name)(*args_, **{k: change(a, torch.Tensor.numpy) for k, a in kwargs_.items()})
    for a, b in zip(as_list(result), as_list(getattr(fast, name)(*args, **kwargs))):
        torch.testing.assert_close(torch.from_numpy(a), b)


# --- bad input: one sentence, the same from both ---------------------------------------

ONE = torch.ones(1, 2, 4, 4, dtype=torch.float64)
BAD = [
    ("conv2d", (ONE[0], ONE), {}, "`x` has the shape (2, 4, 4); 4 axes (N, C, H, W) are needed"),
    ("conv2d", (ONE, ONE), {"groups": 3}, "`groups` (=3) must divide the 2 input channels"),
    ("conv2d", (ONE.long(), ONE), {}, "`x` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    ("conv2d", (ONE, ONE.float()), {}, "`w` (dtype float32) must match `x` (dtype float64)"),
    ("conv2d", (ONE, ONE), {"stride": 0}, "`stride` (=0) must be at least 1"),
    ("conv2d", (ONE, ONE), {"dilation": 2}, "`kernel_size` (=4) with `dilation` (=2) spans 7 pixels; the padded input has 4"),
    ("conv_transpose2d", (ONE, ONE), {}, "`w` has 1 input channels on its first axis; `x` has 2"),
    ("conv_transpose2d", (ONE, ONE[0][:, None]), {"groups": 3}, "`groups` (=3) must divide the 2 input channels"),
    ("conv_transpose2d", (ONE, ONE[0][:, None], ONE[0, 0, 0]), {}, "`b` has the shape (4,); (1,) is needed"),
    (
        "conv_transpose2d", (ONE, ONE[0][:, None]), {"stride": 2, "output_padding": 2},
        "`output_padding` (=2) must be smaller than `stride` (=2) or `dilation` (=1)",
    ),
    ("conv_transpose2d", (ONE, ONE[0][:, None]), {"padding": 4}, "`padding` (=4) leaves an output of -1 pixels; at least 1 is needed"),
    ("dilate_kernel", (ONE, 0), {}, "`dilation` (=0) must be at least 1"),
    ("dilate_kernel", (ONE[0, 0, 0], 1), {}, "`w` has the shape (4,); 2 axes (KH, KW) are needed"),
    ("dilate_kernel", (ONE[None, None], 1), {}, "`w` has the shape (1, 1, 1, 2, 4, 4); 5 axes (A, O, C, KH, KW) are needed"),
    ("separate_kernel", (ONE,), {}, "`kernel` has the shape (1, 2, 4, 4); 2 axes (KH, KW) are needed"),
    ("separate_kernel", (ONE[0, 0] / 0,), {}, "`kernel` holds NaN or infinity; finite numbers are needed"),
    ("spatially_separable_conv2d", (ONE, ONE[0, 0], ONE[0, 0, 0]), {}, "`column` has the shape (4, 4); 1 axes (KH,) are needed"),
    ("depthwise_separable_conv2d", (ONE, ONE, ONE), {}, "`depthwise` has the shape (1, 2, 4, 4); (CM, 1, KH, KW) is needed"),
    (
        "depthwise_separable_conv2d", (ONE, ONE[:, :1], ONE), {},
        "`depthwise` has 1 filters; a multiple of the 2 input channels is needed",
    ),
    (
        "depthwise_separable_conv2d", (ONE, ONE[0][:, None], ONE[:, :1, :1, :1]), {},
        "`pointwise` takes 1 channels; `depthwise` gives 2",
    ),
    ("deform_conv2d", (ONE, ONE, ONE[:, :, :1, :1]), {"mask": ONE}, "`mask` has the shape (1, 2, 4, 4); (1, 1, 4, 4) is needed"),
    ("deform_conv2d", (ONE, ONE[:, :1], ONE[:, :, :1, :1]), {}, "`offset` has 1 channels; 2·G·1 are needed, where G divides the 2 input channels"),
    ("deform_conv2d", (ONE, ONE[..., :3], ONE[:, :, :1, :1]), {}, "`offset` has the shape (1, 2, 4, 3); (1, 2, 4, 4) is needed"),
    (
        "deform_conv2d", (ONE, ONE, ONE[:, :1, :1, :1]), {},
        "`w` has 1 filters; a multiple of the 2 groups is needed (2 input channels, 1 a filter)",
    ),
    ("deform_conv2d", (ONE[:, :1], ONE, ONE[:, :, :1, :1]), {}, "`w` has 2 channels a filter; a divisor of the 1 input channels is needed"),
    ("involution2d", (ONE, ONE), {}, "`kernel` has the shape (1, 2, 4, 4); 6 axes (N, G, KH, KW, OH, OW) are needed"),
    ("involution2d", (ONE, torch.ones(1, 3, 3, 3, 4, 4).double()), {}, "`kernel` has 3 groups; a divisor of the 2 input channels is needed"),
    ("involution2d", (ONE, torch.ones(1, 1, 3, 2, 4, 4).double()), {}, "`kernel` is 3 × 2; odd sizes are needed"),
    (
        "involution2d", (ONE, torch.ones(1, 1, 3, 3, 4, 4).double()), {"stride": 2},
        "`kernel` has the shape (1, 1, 3, 3, 4, 4); (1, 1, 3, 3, 2, 2) is needed",
    ),
]


@pytest.mark.parametrize("name, args, kwargs, sentence", BAD, ids=[f"{i}-{case[0]}" for i, case in enumerate(BAD)])
def test_all_refuse_bad_input_with_one_sentence(name, args, kwargs, sentence):
    with pytest.raises(ValueError) as theirs:
        getattr(fast, name)(*args, **kwargs)
    args = [change(a, torch.Tensor.numpy) for a in args]
    with pytest.raises(ValueError) as ours:
        getattr(reference, name)(*args, **{k: change(a, torch.Tensor.numpy) for k, a in kwargs.items()})
    assert str(ours.value) == str(theirs.value) == sentence


def test_all_refuse_what_is_no_array():
    with pytest.raises(ValueError, match="`x` .a list. must be an array"):
        fast.conv2d([1.0], W)


# --- formulas, exercises ---------------------------------------------------------------


@pytest.mark.parametrize("size, kernel, stride", [(4, 3, 2), (5, 4, 2), (1, 1, 1), (3, 2, 3), (6, 5, 3)])
def test_overlaps_equal_a_transposed_convolution_of_ones(size, kernel, stride):
    written = F.conv_transpose2d(torch.ones(1, 1, 1, size), torch.ones(1, 1, 1, kernel), stride=(1, stride))
    assert formulas.overlaps(size, kernel, stride) == written.view(-1).tolist()


@pytest.mark.parametrize("dilations", [[], [1, 1], [2, 2, 2], [1, 2, 5], [1, 2, 4, 8]])
def test_paths_equal_the_gradient_of_a_stack_of_ones(dilations):
    size = 2 * sum(dilations) + 1
    x = torch.ones(1, 1, 1, size, requires_grad=True)
    y = x
    for dilation in dilations:
        y = F.conv2d(y, torch.ones(1, 1, 1, 3), dilation=(1, dilation))
    y.sum().backward()
    assert formulas.paths(dilations) == x.grad.view(-1).tolist()


@pytest.mark.parametrize("C, O, K, groups", [(4, 6, 3, 1), (4, 6, 3, 2), (6, 6, 5, 6), (3, 8, 1, 1)])
def test_weights_equal_those_of_torch(C, O, K, groups):
    assert formulas.weights(C, O, K, groups) == torch.nn.Conv2d(C, O, K, groups=groups, bias=False).weight.numel()
    layers = torch.nn.Conv2d(C, C, K, groups=C, bias=False), torch.nn.Conv2d(C, O, 1, bias=False)
    assert formulas.separable_weights(C, O, K) == sum(layer.weight.numel() for layer in layers)
    assert formulas.separable_ratio(O, K) == pytest.approx(1 / O + 1 / K**2)


def test_bent_taps_turn_by_the_angle():
    quarter = formulas.bent_taps(0, 1)
    assert quarter[:3] == [(-1, 1), (0, 1), (1, 1)]  # the upper row stands on the right
