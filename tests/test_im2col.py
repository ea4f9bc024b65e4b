"""im2col against Torch's own operators, bad input, NaN, memory, and what only the fast version can."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cvnotes.im2col import explorers, fast, formulas, reference
from strategies import normal

CASES = [
    # N, C, O, (H, W), kernel, stride, padding, dilation
    (2, 3, 4, (7, 8), (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 2, 5, (9, 7), (3, 2), (2, 1), (1, 0), (1, 2)),
    (1, 1, 1, (5, 5), (5, 5), (1, 1), (0, 0), (1, 1)),
    (2, 4, 3, (6, 7), (1, 1), (2, 2), (0, 0), (1, 1)),
    (2, 2, 3, (8, 9), (3, 3), (3, 2), (4, 2), (2, 3)),
    (2, 2, 2, (6, 7), (2, 3), (4, 5), (3, 3), (3, 2)),
]


def drawn(case):
    N, C, O, size, kernel, stride, padding, dilation = case
    x, w, b = normal(0, N, C, *size), normal(1, O, C, *kernel), normal(2, O)
    return x, w, b, {"stride": stride, "padding": padding, "dilation": dilation}


def tensors(*arrays):
    return [torch.from_numpy(array.copy()) for array in arrays]


# --- against Torch ---------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["conv2d_loops", "conv2d_gemm"])
def test_conv2d_equals_torch(name, case):
    x, w, b, sizes = drawn(case)
    expected = F.conv2d(*tensors(x, w, b), **sizes).numpy()
    np.testing.assert_allclose(getattr(reference, name)(x, w, b, **sizes), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(getattr(fast, name)(*tensors(x, w, b), **sizes), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_im2col_equals_torch_unfold(case):
    x, w, _, sizes = drawn(case)
    expected = F.unfold(torch.from_numpy(x), w.shape[2:], **sizes)
    np.testing.assert_array_equal(reference.im2col(x, w.shape[2:], **sizes), expected)
    assert torch.equal(fast.im2col(torch.from_numpy(x), w.shape[2:], **sizes), expected)


@pytest.mark.parametrize("case", CASES)
def test_col2im_equals_torch_fold(case):
    x, w, _, sizes = drawn(case)
    columns = normal(3, *reference.im2col(x, w.shape[2:], **sizes).shape)
    expected = F.fold(torch.from_numpy(columns), x.shape[2:], w.shape[2:], **sizes)
    np.testing.assert_allclose(reference.col2im(columns, x.shape[2:], w.shape[2:], **sizes), expected, atol=1e-12)
    got = fast.col2im(torch.from_numpy(columns), x.shape[2:], w.shape[2:], **sizes)
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_conv2d_gemm_backward_equals_torch_autograd(case):
    x, w, b, sizes = drawn(case)
    inputs = [tensor.requires_grad_() for tensor in tensors(x, w, b)]
    y = F.conv2d(*inputs, **sizes)
    g = normal(4, *y.shape)
    expected = torch.autograd.grad(y, inputs, torch.from_numpy(g))
    for got in (
        reference.conv2d_gemm_backward(g, x, w, **sizes),
        fast.conv2d_gemm_backward(*tensors(g, x, w), **sizes),
        torch.autograd.grad(fast.conv2d_gemm(*inputs, **sizes), inputs, torch.from_numpy(g)),
    ):
        for ours, theirs in zip(got, expected):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-11)


# --- the properties that the chapter states --------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_col2im_is_the_adjoint_of_im2col(case):
    x, w, _, sizes = drawn(case)
    columns = reference.im2col(x, w.shape[2:], **sizes)
    y = normal(5, *columns.shape)
    back = reference.col2im(y, x.shape[2:], w.shape[2:], **sizes)
    assert np.sum(columns * y) == pytest.approx(np.sum(x * back), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_windows_and_column_indices_are_im2col(case):
    x, w, _, sizes = drawn(case)
    columns = reference.im2col(x, w.shape[2:], **sizes)
    view = reference.windows(x, w.shape[2:], **sizes)
    np.testing.assert_array_equal(view.reshape(columns.shape), columns)
    pv, ph = sizes["padding"]
    padded = np.pad(x, ((0, 0), (0, 0), (pv, pv), (ph, ph)))
    c, y, u = reference.column_indices(x.shape[1], x.shape[2:], w.shape[2:], **sizes)
    np.testing.assert_array_equal(padded[:, c, y, u], columns)


def test_windows_copies_nothing():
    x = normal(0, 2, 3, 5, 6)
    assert np.shares_memory(reference.windows(x, 3, stride=2), x)
    assert not reference.windows(x, 3).flags.writeable
    tensor = torch.from_numpy(x)
    assert fast.windows(tensor, 3, stride=2).data_ptr() == tensor.data_ptr()


def test_im2col_never_shares_memory_with_its_argument():
    x = torch.ones(1, 2, 3, 3)
    fast.im2col(x, 1).zero_()
    assert x.sum() == 18
    y = np.ones((1, 2, 3, 3))
    reference.im2col(y, 1)[:] = 0
    assert y.sum() == 18


def test_columns_shape_patch_of_and_tap_of_say_what_im2col_does():
    size, kernel, sizes = (6, 7), (3, 2), {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 3)}
    x = normal(0, 1, 2, *size)
    columns = reference.im2col(x, kernel, **sizes)[0]
    assert columns.shape == formulas.columns_shape(2, size, kernel, **sizes)
    for row in range(columns.shape[0]):
        c, i, j = formulas.tap_of(row, 2, kernel)
        for column in range(columns.shape[1]):
            y, u = formulas.patch_of(column, size, kernel, **sizes)
            y, u = y + i * 2, u + j * 3
            inside = 0 <= y < size[0] and 0 <= u < size[1]
            assert columns[row, column] == (x[0, c, y, u] if inside else 0)


def test_blow_up_is_the_ratio_of_elements():
    for size, kernel, sizes in [((8, 8), 3, {"padding": 1}), ((9, 7), (5, 2), {"stride": (2, 3)})]:
        x = normal(0, 1, 2, *size)
        assert formulas.blow_up(size, kernel, **sizes) == reference.im2col(x, kernel, **sizes).size / x.size


@pytest.mark.parametrize("images", [1, 2, 3, 7])
def test_conv2d_gemm_is_the_same_in_batches_of_any_size(monkeypatch, images):
    x, w, b = tensors(normal(0, 7, 3, 6, 6), normal(1, 4, 3, 3, 3), normal(2, 4))
    expected = F.conv2d(x, w, b, padding=1)
    monkeypatch.setattr(fast, "CACHE", images * 8 * 8 * (3 + 4) * 8)
    torch.testing.assert_close(fast.conv2d_gemm(x, w, b, padding=1), expected)
    dx, dw, db = fast.conv2d_gemm_backward(torch.ones_like(expected), x, w, padding=1)
    inputs = [tensor.requires_grad_() for tensor in (x, w, b)]
    for ours, theirs in zip((dx, dw, db), torch.autograd.grad(F.conv2d(*inputs, padding=1).sum(), inputs)):
        torch.testing.assert_close(ours, theirs)


def test_conv2d_gemm_can_be_differentiated_twice():
    x, w, b = [t.requires_grad_() for t in tensors(normal(0, 2, 2, 5, 4), normal(1, 2, 2, 2, 3), normal(2, 2))]
    call = lambda *args: fast.conv2d_gemm(*args, stride=(2, 1), padding=1)  # noqa: E731
    assert torch.autograd.gradgradcheck(call, (x, w, b))


def test_conv2d_gemm_calls_no_convolution_unfold_or_fold():
    x, w, b = [t.requires_grad_() for t in tensors(normal(0, 2, 2, 6, 6), normal(1, 3, 2, 3, 3), normal(2, 3))]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        fast.conv2d_gemm(x, w, b, stride=2, padding=1).sum().backward()
    names = {event.key for event in record.key_averages()}
    assert "aten::addmm_" in names
    assert not [name for name in names if "conv" in name or "im2col" in name or "col2im" in name or "fold" in name]


@pytest.mark.parametrize("kernel, stride, padding", [(k, s, p) for k in (1, 2, 3) for s in (1, 2) for p in (0, 1)])
def test_columns_explorer_says_what_im2col_holds(kernel, stride, padding):
    image = np.arange(1.0, 33.0).reshape(1, 2, 4, 4)
    columns = reference.im2col(image, kernel, stride=stride, padding=padding)[0]
    for row, column in [(0, 0), (5, 4), (17, 35), (3, 8)]:
        picture, sentence = explorers.columns(kernel, stride, padding, column, row)
        row, column = min(row, columns.shape[0] - 1), min(column, columns.shape[1] - 1)
        assert f": {int(columns[row, column])}. The matrix is F.unfold(x, {kernel}," in sentence
        assert f"Column {column} of {columns.shape[1]} " in sentence and f"Row {row} of {columns.shape[0]} " in sentence
        assert sum(picture.count(tag) for tag in ("<rect", "<path", "<text")) < 250


# --- NaN, dtypes, layouts, emptiness ---------------------------------------------------


def test_im2col_and_conv2d_carry_nan_to_what_holds_it_alone():
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    w = np.ones((1, 1, 2, 2))
    expected = np.zeros((1, 1, 3, 3), bool)
    expected[0, 0, 0, 0] = True
    for function in (reference.conv2d_loops, reference.conv2d_gemm):
        np.testing.assert_array_equal(np.isnan(function(x, w)), expected)
    for function in (fast.conv2d_loops, fast.conv2d_gemm):
        np.testing.assert_array_equal(np.isnan(function(*tensors(x, w)).numpy()), expected)
    assert np.isnan(reference.im2col(x, 2)).sum() == np.isnan(fast.im2col(*tensors(x), 2).numpy()).sum() == 1
    columns = np.zeros((1, 4, 9))
    columns[0, 0, 0] = np.nan
    back = np.isnan(reference.col2im(columns, (4, 4), 2))
    assert back.sum() == 1 and back[0, 0, 0, 0]
    np.testing.assert_array_equal(np.isnan(fast.col2im(*tensors(columns), (4, 4), 2).numpy()), back)


def test_conv2d_gemm_backward_carries_nan():
    x, w, g = np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3))
    g[0, 0, 1, 1] = np.nan
    exact = reference.conv2d_gemm_backward(g, x, w)
    assert np.isnan(exact[0]).sum() == 4 and np.isnan(exact[1]).all() and np.isnan(exact[2]).all()
    for ours, theirs in zip(exact, fast.conv2d_gemm_backward(*tensors(g, x, w))):
        assert np.isnan(theirs.numpy())[np.isnan(ours)].all()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_conv2d_gemm_takes_any_float_dtype(dtype, tolerance):
    x, w, b = [t.to(dtype) for t in tensors(normal(0, 2, 3, 7, 7), normal(1, 4, 3, 3, 3), normal(2, 4))]
    y = fast.conv2d_gemm(x, w, b, padding=1)
    assert y.dtype == dtype
    expected = F.conv2d(x.double(), w.double(), b.double(), padding=1)
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)


def test_reference_keeps_float32():
    x, w = normal(0, 1, 2, 4, 4).astype(np.float32), normal(1, 3, 2, 2, 2).astype(np.float32)
    y = reference.conv2d_gemm(x, w)
    assert y.dtype == reference.conv2d_loops(x, w).dtype == reference.im2col(x, 2).dtype == np.float32
    assert all(gradient.dtype == np.float32 for gradient in reference.conv2d_gemm_backward(y, x, w))


def test_conv2d_gemm_takes_any_memory_layout():
    x = torch.from_numpy(normal(0, 2, 3, 6, 5)).to(memory_format=torch.channels_last)
    w = torch.from_numpy(normal(1, 3, 3, 4, 4)).permute(2, 1, 0, 3)
    y = fast.conv2d_gemm(x, w, padding=2)
    assert y.is_contiguous()
    torch.testing.assert_close(y, F.conv2d(x, w, padding=2).contiguous())


def test_empty_batch_gives_empty_results_of_the_right_shape():
    x, w, b = normal(0, 0, 2, 5, 5), normal(1, 3, 2, 3, 3), normal(2, 3)
    for module, arguments in ((reference, (x, w, b)), (fast, tensors(x, w, b))):
        y = module.conv2d_gemm(*arguments, padding=1)
        assert tuple(y.shape) == tuple(module.conv2d_loops(*arguments, padding=1).shape) == (0, 3, 5, 5)
        columns = module.im2col(arguments[0], 3)
        assert tuple(columns.shape) == (0, 18, 9)
        assert tuple(module.col2im(columns, (5, 5), 3).shape) == (0, 2, 5, 5)
        dx, dw, db = module.conv2d_gemm_backward(y, *arguments[:2], padding=1)
        assert tuple(dx.shape) == (0, 2, 5, 5) and not dw.any() and not db.any()


# --- bad input -------------------------------------------------------------------------

X, W, B, G = normal(0, 2, 3, 5, 6), normal(1, 4, 3, 3, 3), normal(2, 4), normal(3, 2, 4, 3, 4)
COLUMNS = normal(4, 2, 27, 12)
BAD = [
    ("conv2d_gemm", (X[0], W), {}, "`x` has the shape (3, 5, 6); 4 axes (N, C, H, W) are needed"),
    ("conv2d_gemm", (X, W[:, :2]), {}, "`w` has 2 channels a filter; 3 are needed (3 input channels, `groups` = 1)"),
    ("conv2d_gemm", (X, W, B[:3]), {}, "`b` has the shape (3,); (4,) is needed"),
    ("conv2d_gemm", (X, W), {"stride": 0}, "`stride` (=0) must be at least 1"),
    ("conv2d_gemm", (X, W), {"dilation": -1}, "`dilation` (=-1) must be at least 1"),
    ("conv2d_gemm", (X, W), {"padding": (1, 2, 3)}, "`padding` (=(1, 2, 3)) must be one integer or two, not 3"),
    ("conv2d_gemm", (X, W), {"dilation": 3}, "`kernel_size` (=3) with `dilation` (=3) spans 7 pixels; the padded input has 5"),
    ("conv2d_gemm", (X.astype(np.int64), W), {}, "`x` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    ("conv2d_gemm", (X, W.astype(np.float32)), {}, "`w` (dtype float32) must match `x` (dtype float64)"),
    ("conv2d_gemm", ([[1.0]], W), {}, "`x` (a list) must be an array"),
    ("conv2d_loops", (X, W[0]), {}, "`w` has the shape (3, 3, 3); 4 axes (O, C, KH, KW) are needed"),
    ("im2col", (X, 0), {}, "`kernel_size` (=0) must be at least 1"),
    ("im2col", (X, (3.0, 3)), {}, "`kernel_size` (=3.0) must be an integer"),
    ("im2col", (X, 6), {}, "`kernel_size` (=6) with `dilation` (=1) spans 6 pixels; the padded input has 5"),
    ("im2col", (X[:, :0], 3), {}, "`x` has the shape (2, 0, 5, 6): its axis C must not be empty"),
    ("windows", (X, 3), {"padding": -1}, "`padding` (=-1) must be at least 0"),
    ("column_indices", (0, (5, 6), 3), {}, "`channels` (=0) must be at least 1"),
    ("column_indices", (3, (5, 0), 3), {}, "`size` (=0) must be at least 1"),
    ("col2im", (COLUMNS[0], (5, 6), 3), {}, "`columns` has the shape (27, 12); 3 axes (N, R, L) are needed"),
    ("col2im", (COLUMNS[:, :26], (5, 6), 3), {},
     "`columns` has 26 rows; a multiple of the 9 taps of `kernel_size` is needed"),
    ("col2im", (COLUMNS, (5, 5), 3), {}, "`columns` has 12 columns; 9 are needed (3 × 3 places of the kernel)"),
    ("conv2d_gemm_backward", (G[:, :, 1:], X, W), {}, "`grad_output` has the shape (2, 4, 2, 4); (2, 4, 3, 4) is needed"),
    ("conv2d_gemm_backward", (G.astype(np.float32), X, W), {},
     "`grad_output` (dtype float32) must match `x` (dtype float64)"),
]


@pytest.mark.parametrize("name, args, sizes, sentence", BAD)
def test_bad_input_gives_one_sentence(name, args, sizes, sentence):
    converted = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args]
    for module, arguments in ((reference, args), (fast, converted)):
        with pytest.raises(ValueError) as error:
            getattr(module, name)(*arguments, **sizes)
        assert str(error.value) == sentence


def test_fast_refuses_arrays_of_two_libraries():
    with pytest.raises(ValueError, match="`x` .an array of numpy. must be an array of torch"):
        fast.conv2d_gemm(X, torch.from_numpy(W))


def test_formulas_refuse_what_does_not_exist():
    with pytest.raises(ValueError, match=r"`row` \(=18\) must be below 18"):
        formulas.tap_of(18, 2, 3)
    with pytest.raises(ValueError, match=r"`column` \(=9\) must be below 9"):
        formulas.patch_of(9, (5, 5), 3)
    with pytest.raises(ValueError, match=r"`channels` \(=0\) must be at least 1"):
        formulas.columns_shape(0, (5, 5), 3)
