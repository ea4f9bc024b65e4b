"""The chapter inception against torch's own operations, the papers' figures, and bad input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cvnotes import cost, models, shapes
from cvnotes.inception import exercises, explorer_data, explorers, fast, figures, formulas, reference
from cvnotes.inception.weights import FireWeights, InceptionWeights, MlpconvWeights


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def filled(kind, *shapes):
    """Return a named tuple of random tensors with the shapes; None stays None."""
    return kind(*(None if shape is None else randn(*shape, seed=i) for i, shape in enumerate(shapes)))


def change(value, function):
    """Return a tensor, or a named tuple of tensors, with `function` applied to each."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(change(item, function) for item in value)
    return value


def both(name, *args, **kwargs):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    arrays = [change(a, torch.Tensor.numpy) for a in args]
    return torch.from_numpy(getattr(reference, name)(*arrays, **kwargs)), getattr(fast, name)(*args, **kwargs)


def check(results, oracle, **tolerance):
    for result in results:
        torch.testing.assert_close(result, oracle, **tolerance)


WIDTHS = 3, 2, 4, 5, 1, 2, 3  # in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj
NAIVE = 3, 2, None, 5, None, 2, None


# --- the Inception module --------------------------------------------------------------


class Inception(nn.Module):
    """The module of the paper's figure as a network of torch, without a look at ours."""

    def __init__(self, in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj):
        super().__init__()

        def conv(given, made, kernel_size):
            return [nn.Conv2d(given, made, kernel_size, padding="same"), nn.ReLU()]

        self.branch1 = nn.Sequential(*conv(in_channels, ch1x1, 1))
        self.branch2 = nn.Sequential(*conv(in_channels, ch3x3red, 1), *conv(ch3x3red, ch3x3, 3))
        self.branch3 = nn.Sequential(*conv(in_channels, ch5x5red, 1), *conv(ch5x5red, ch5x5, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv(in_channels, pool_proj, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


def test_inception_module_equals_a_network_of_torch():
    network = Inception(*WIDTHS).double()
    x, weights = randn(2, 3, 6, 5), InceptionWeights(*network.parameters())
    check(both("inception_module", x, change(weights, torch.Tensor.detach)), network(x).detach())


def test_inception_module_naive_equals_functional():
    x, w = randn(2, 3, 7, 4), filled(InceptionWeights, *formulas.inception_shapes(*NAIVE))
    parts = [F.conv2d(x, w.w1, w.b1), F.conv2d(x, w.w3, w.b3, padding=1), F.conv2d(x, w.w5, w.b5, padding=2)]
    oracle = torch.cat([part.clamp(min=0) for part in parts] + [F.max_pool2d(x, 3, 1, 1)], 1)
    check(both("inception_module", x, w), oracle)


def test_inception_module_reduced_by_the_identity_is_the_naive_one_on_input_without_negatives():
    x = randn(2, 3, 6, 6).abs()
    naive = filled(InceptionWeights, *formulas.inception_shapes(*NAIVE))
    eye, no = torch.eye(3, dtype=torch.float64)[:, :, None, None], torch.zeros(3, dtype=torch.float64)
    reduced = naive._replace(w3_reduce=eye, b3_reduce=no, w5_reduce=eye, b5_reduce=no, w_pool=eye, b_pool=no)
    check(both("inception_module", x, reduced), fast.inception_module(x, naive))
    differ = fast.inception_module(-x, reduced) != fast.inception_module(-x, naive)  # the ReLU cuts negatives
    assert differ.any()


@pytest.mark.parametrize("size", [1, 2, 3, 12])  # filters of 24 numbers beside 3 to 432 of an image
def test_inception_module_is_the_same_with_its_1x1_convolutions_apart_and_as_one(size, monkeypatch):
    x, w = randn(1, 3, size, size), filled(InceptionWeights, *formulas.inception_shapes(*WIDTHS))
    convolutions = []
    conv2d = F.conv2d

    def counted(*args, **kwargs):
        convolutions.append(args)
        return conv2d(*args, **kwargs)

    monkeypatch.setattr(fast.F, "conv2d", counted)
    result = fast.inception_module(x, w)
    assert len(convolutions) == (4 if x.numel() > 3 * (2 + 4 + 1) else 6)
    check([result], torch.from_numpy(reference.inception_module(x.numpy(), change(w, torch.Tensor.numpy))))


def test_inception_module_takes_a_3x3_in_the_5x5_branch():
    x, w = randn(1, 3, 5, 5), filled(InceptionWeights, *formulas.inception_shapes(*WIDTHS))
    small = w._replace(w5=w.w5[:, :, 1:-1, 1:-1].contiguous())
    framed = w._replace(w5=F.pad(small.w5, (1, 1, 1, 1)))
    check(both("inception_module", x, small), fast.inception_module(x, framed))


def test_inception_module_pools_negative_pixels_as_they_are():
    x, w = -1 - randn(1, 3, 4, 5).abs(), filled(InceptionWeights, *formulas.inception_shapes(*NAIVE))
    for result in both("inception_module", x, w):
        pooled = result[:, 9:]
        assert (pooled < 0).all()  # zeros round the image would win at its border
        torch.testing.assert_close(pooled, F.max_pool2d(x, 3, 1, 1))


def test_inception_module_passes_nan_to_each_window_that_holds_it():
    x, w = torch.zeros(1, 3, 9, 9, dtype=torch.float64), filled(InceptionWeights, *formulas.inception_shapes(*NAIVE))
    x[0, 1, 4, 4] = torch.nan
    windows = [torch.zeros(9, 9, dtype=torch.bool) for _ in range(3)]
    for reach, window in enumerate(windows):
        window[4 - reach:5 + reach, 4 - reach:5 + reach] = True
    nowhere = torch.zeros(9, 9, dtype=torch.bool)
    seen = [windows[0]] * 2 + [windows[1]] * 5 + [windows[2]] * 2 + [nowhere, windows[1], nowhere]
    for result in both("inception_module", x, w):
        assert torch.equal(result[0].isnan(), torch.stack(seen))


@pytest.mark.parametrize("widths", [WIDTHS, NAIVE])
def test_inception_module_gives_the_widths_and_weighs_what_the_formulas_say(widths):
    x, w = randn(1, 3, 4, 4), filled(InceptionWeights, *formulas.inception_shapes(*widths))
    channels = formulas.module_width(3, widths[1], widths[3], widths[5], widths[6])
    assert fast.inception_module(x, w).shape == (1, channels, 4, 4)
    counted = sum(field.numel() for field in w if field is not None)
    assert sum(formulas.module_cost(4, *widths, bias=True).values()).params == counted


# --- Network in Network, SqueezeNet ----------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"stride": (1, 2), "padding": (2, 1)}])
def test_mlpconv_equals_torch_convolutions(settings):
    network = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), **settings), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1), nn.ReLU()
    ).double()
    x, weights = randn(2, 3, 7, 6), MlpconvWeights(*(p.detach() for p in network.parameters()))
    check(both("mlpconv", x, weights, **settings), network(x).detach())


def test_mlpconv_is_a_multilayer_perceptron_on_each_window():
    x = randn(2, 3, 6, 5)
    w = filled(MlpconvWeights, (4, 3, 3, 3), (4,), (5, 4, 1, 1), (5,), (2, 5, 1, 1), (2,))
    h = F.unfold(x, 3).mT  # (N, L, C·9): the windows, one a row
    for weight, bias in ((w.w, w.b), (w.w1, w.b1), (w.w2, w.b2)):
        h = F.linear(h, weight.flatten(1), bias).clamp(min=0)
    check(both("mlpconv", x, w), h.mT.reshape(2, 2, 4, 3))


@pytest.mark.parametrize("left", [("w1", "b1"), ("w2", "b2"), ("w1", "b1", "w2", "b2")])
def test_mlpconv_leaves_hidden_layers_out(left):
    x = randn(1, 3, 5, 5)
    w = filled(MlpconvWeights, (2, 3, 3, 3), (2,), (2, 2, 1, 1), (2,), (2, 2, 1, 1), (2,))
    oracle = F.relu(F.conv2d(x, w.w, w.b))
    for name in ("1", "2"):
        if f"w{name}" not in left:
            oracle = F.relu(F.conv2d(oracle, getattr(w, f"w{name}"), getattr(w, f"b{name}")))
    check(both("mlpconv", x, w._replace(**dict.fromkeys(left))), oracle)


def test_mlpconv_passes_nan_to_each_window_that_holds_it():
    x, w = torch.zeros(1, 1, 4, 4, dtype=torch.float64), filled(MlpconvWeights, (1, 1, 3, 3), (1,), (2, 1, 1, 1), (2,))
    x[0, 0, 0, 1] = torch.nan
    for result in both("mlpconv", x, w):
        assert torch.equal(result.isnan(), torch.tensor([[True, True], [False, False]]).expand(1, 2, 2, 2))


def test_global_average_pool2d_equals_torch():
    x = randn(2, 3, 5, 4)
    check(both("global_average_pool2d", x), F.adaptive_avg_pool2d(x, 1).flatten(1))


def test_global_average_pool2d_passes_nan_to_its_channel():
    x = randn(2, 3, 5, 4)
    x[1, 2, 0, 0] = torch.nan
    for result in both("global_average_pool2d", x):
        assert result.isnan().nonzero().tolist() == [[1, 2]]


def test_fire_module_equals_a_network_of_torch():
    layers = [nn.Conv2d(4, 2, 1).double(), nn.Conv2d(2, 3, 1).double(), nn.Conv2d(2, 5, 3, padding=1).double()]
    squeeze, one, three = layers
    weights = FireWeights(*(parameter.detach() for layer in layers for parameter in layer.parameters()))
    x = randn(2, 4, 5, 6)
    squeezed = squeeze(x).relu()
    check(both("fire_module", x, weights), torch.cat([one(squeezed).relu(), three(squeezed).relu()], 1).detach())


def test_fire_module_passes_nan_to_each_window_that_holds_it():
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    w = filled(FireWeights, (2, 2, 1, 1), (2,), (1, 2, 1, 1), (1,), (1, 2, 3, 3), (1,))
    x[0, 0, 0, 0] = torch.nan
    for result in both("fire_module", x, w):
        assert result.isnan().nonzero().tolist() == [[0, 0, 0, 0]] + [[0, 1, i, j] for i in (0, 1) for j in (0, 1)]


# --- all of them -----------------------------------------------------------------------

X = randn(2, 3, 6, 6, seed=9)
INCEPTION = filled(InceptionWeights, *formulas.inception_shapes(*WIDTHS))
PLAIN = filled(InceptionWeights, *formulas.inception_shapes(*NAIVE))
MLPCONV = filled(MlpconvWeights, (4, 3, 3, 3), (4,), (5, 4, 1, 1), (5,), (2, 5, 1, 1), (2,))
FIRE = filled(FireWeights, (2, 3, 1, 1), (2,), (3, 2, 1, 1), (3,), (4, 2, 3, 3), (4,))
CALLS = {
    "inception_module": (X, INCEPTION), "mlpconv": (X, MLPCONV), "global_average_pool2d": (X,),
    "fire_module": (X, FIRE),
}


@pytest.mark.parametrize("name", CALLS)
def test_all_take_a_batch_of_no_images(name):
    _, *weights = CALLS[name]
    shape = getattr(fast, name)(*CALLS[name]).shape
    for result in both(name, X[:0], *weights):
        assert result.shape == (0, *shape[1:])


@pytest.mark.parametrize("name", CALLS)
def test_all_keep_float32(name):
    exact = getattr(fast, name)(*CALLS[name]).float()
    check(both(name, *(change(a, torch.Tensor.float) for a in CALLS[name])), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CALLS)
def test_all_run_in_bfloat16(name):
    result = getattr(fast, name)(*(change(a, torch.Tensor.bfloat16) for a in CALLS[name]))
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), getattr(fast, name)(*CALLS[name]), rtol=0.1, atol=0.6)


@pytest.mark.parametrize("name", CALLS)
def test_all_take_arrays_that_are_not_contiguous(name):
    def scatter(t):
        return t.repeat_interleave(2, -1)[..., ::2]

    check(both(name, *(change(a, scatter) for a in CALLS[name])), getattr(fast, name)(*CALLS[name]))


def test_all_leave_their_input_as_it_is():
    for name, args in CALLS.items():
        before = [change(a, torch.Tensor.clone) for a in args]
        both(name, *args)
        for a, b in zip(args, before):
            for one, other in zip(a, b) if isinstance(a, tuple) else [(a, b)]:
                assert torch.equal(one, other)


# --- bad input: one sentence, the same from both ---------------------------------------

FLOATS = "float16, bfloat16, float32, float64"
BAD = [
    ("inception_module", (X[0], INCEPTION), "`x` has the shape (3, 6, 6); 4 axes (N, C, H, W) are needed"),
    ("inception_module", (X[:, :0], INCEPTION), "`x` has the shape (2, 0, 6, 6): its axis C must not be empty"),
    ("inception_module", (X[..., :0], INCEPTION), "`x` has the shape (2, 3, 6, 0): its axis W must not be empty"),
    ("inception_module", (X.long(), INCEPTION), f"`x` (int64) must be of a floating-point dtype: {FLOATS}"),
    ("inception_module", (X, MLPCONV), "`weights` (a MlpconvWeights) must be a named tuple InceptionWeights"),
    ("inception_module", (X, None), "`weights` (a NoneType) must be a named tuple InceptionWeights"),
    ("inception_module", (X[:, :2], INCEPTION), "`weights.w1` takes 3 channels; `x` has 2"),
    (
        "inception_module", (X, INCEPTION._replace(w3=PLAIN.w3)),
        "`weights.w3` takes 3 channels; `weights.w3_reduce` gives 4",
    ),
    ("inception_module", (X, PLAIN._replace(w5=INCEPTION.w5)), "`weights.w5` takes 1 channels; `x` has 3"),
    (
        "inception_module", (X, INCEPTION._replace(w_pool=INCEPTION.w3_reduce[:, :2])),
        "`weights.w_pool` takes 2 channels; `x` has 3",
    ),
    ("inception_module", (X, INCEPTION._replace(b3=INCEPTION.b1)), "`weights.b3` has the shape (2,); (5,) is needed"),
    (
        "inception_module", (X, INCEPTION._replace(w1=INCEPTION.w1[0])),
        "`weights.w1` has the shape (3, 1, 1); 4 axes (O, C, 1, 1) are needed",
    ),
    (
        "inception_module", (X, INCEPTION._replace(w5_reduce=PLAIN.w3)),
        "`weights.w5_reduce` has the shape (5, 3, 3, 3); (R, C, 1, 1) is needed",
    ),
    ("inception_module", (X, PLAIN._replace(w3=PLAIN.w3[..., 1:])), "`weights.w3` is 3 × 2; odd sizes are needed"),
    ("inception_module", (X, INCEPTION._replace(w1=None)), "`weights.w1` is None; this convolution can't be left out"),
    ("inception_module", (X, INCEPTION._replace(b5=None)), "`weights.b5` is None; this convolution can't be left out"),
    (
        "inception_module", (X, INCEPTION._replace(w3_reduce=None)),
        "`weights.w3_reduce` is None and `weights.b3_reduce` is not; leave out both or neither",
    ),
    (
        "inception_module", (X, INCEPTION._replace(b_pool=None)),
        "`weights.b_pool` is None and `weights.w_pool` is not; leave out both or neither",
    ),
    (
        "inception_module", (X, INCEPTION._replace(w1=INCEPTION.w1.int())),
        f"`weights.w1` (int32) must be of a floating-point dtype: {FLOATS}",
    ),
    (
        "inception_module", (X, INCEPTION._replace(b_pool=INCEPTION.b_pool.float())),
        "`weights.b_pool` (dtype float32) must match `x` (dtype float64)",
    ),
    ("mlpconv", (X[:, 0], MLPCONV), "`x` has the shape (2, 6, 6); 4 axes (N, C, H, W) are needed"),
    ("mlpconv", (X, FIRE), "`weights` (a FireWeights) must be a named tuple MlpconvWeights"),
    ("mlpconv", (X, MLPCONV._replace(w=None)), "`weights.w` is None; this convolution can't be left out"),
    (
        "mlpconv", (X, MLPCONV._replace(w2=None)),
        "`weights.w2` is None and `weights.b2` is not; leave out both or neither",
    ),
    ("mlpconv", (X, MLPCONV._replace(w1=None, b1=None)), "`weights.w2` takes 5 channels; `weights.w` gives 4"),
    ("mlpconv", (X, MLPCONV._replace(b2=MLPCONV.b1)), "`weights.b2` has the shape (5,); (2,) is needed"),
    (
        "mlpconv", (X, MLPCONV._replace(b1=MLPCONV.b1.float())),
        "`weights.b1` (dtype float32) must match `x` (dtype float64)",
    ),
    ("mlpconv", (X, MLPCONV, {"stride": 0}), "`stride` (=0) must be at least 1"),
    ("mlpconv", (X, MLPCONV, {"padding": -1}), "`padding` (=-1) must be at least 0"),
    ("mlpconv", (X, MLPCONV, {"stride": 1.0}), "`stride` (=1.0) must be an integer"),
    (
        "mlpconv", (X[..., :2], MLPCONV),
        "`kernel_size` (=3) with `dilation` (=1) spans 3 pixels; the padded input has 2",
    ),
    ("global_average_pool2d", (X[0],), "`x` has the shape (3, 6, 6); 4 axes (N, C, H, W) are needed"),
    ("global_average_pool2d", (X[:, :, :0],), "`x` has the shape (2, 3, 0, 6): its axis H must not be empty"),
    ("global_average_pool2d", (X.long(),), f"`x` (int64) must be of a floating-point dtype: {FLOATS}"),
    ("global_average_pool2d", (None,), "`x` (a NoneType) must be an array"),
    ("fire_module", (X, INCEPTION), "`weights` (a InceptionWeights) must be a named tuple FireWeights"),
    ("fire_module", (X[:, :1], FIRE), "`weights.w_squeeze` takes 3 channels; `x` has 1"),
    (
        "fire_module", (X, FIRE._replace(w1=FIRE.w1[:, :1])),
        "`weights.w1` takes 1 channels; `weights.w_squeeze` gives 2",
    ),
    ("fire_module", (X, FIRE._replace(w3=None, b3=None)), "`weights.w3` is None; this convolution can't be left out"),
    ("fire_module", (X, FIRE._replace(w3=FIRE.w3[:, :, :2])), "`weights.w3` is 2 × 3; odd sizes are needed"),
    ("fire_module", (X.float(), FIRE), "`weights.w_squeeze` (dtype float64) must match `x` (dtype float32)"),
]


@pytest.mark.parametrize("name, args, sentence", BAD, ids=[f"{i}-{case[0]}" for i, case in enumerate(BAD)])
def test_all_refuse_bad_input_with_one_sentence(name, args, sentence):
    args, kwargs = (args[:-1], args[-1]) if isinstance(args[-1], dict) else (args, {})
    with pytest.raises(ValueError) as theirs:
        getattr(fast, name)(*args, **kwargs)
    with pytest.raises(ValueError) as ours:
        getattr(reference, name)(*(change(a, torch.Tensor.numpy) for a in args), **kwargs)
    assert str(ours.value) == str(theirs.value) == sentence


def test_all_refuse_the_weights_of_the_other_library():
    with pytest.raises(ValueError, match=r"`weights` \(an array of numpy\) must be an array of torch"):
        fast.fire_module(X, change(FIRE, torch.Tensor.numpy))


# --- costs -----------------------------------------------------------------------------


def test_costs_of_the_5x5_branch_are_those_of_the_issue():
    direct, (reduction, convolution) = formulas.chain(28, (192, 32), (5,)), formulas.chain(28, (192, 16, 32), (1, 5))
    assert direct[0].macs == 120_422_400
    assert (reduction.macs, convolution.macs) == (2_408_448, 10_035_200)
    assert (reduction + convolution).macs == 12_443_648
    assert formulas.module_cost(28, 192, 64, 96, 128, 16, 32, 32)["5×5"].macs == 12_443_648


@pytest.mark.parametrize("size, widths", [(7, WIDTHS), ((4, 9), WIDTHS), (28, (192, 64, 96, 128, 16, 32, 32))])
def test_module_cost_equals_the_trace_of_a_network_of_torch(size, widths):
    network = Inception(*widths)
    rows = [row for row in cost.trace(network, (1, widths[0], *shapes.pair("size", size))) if "ReLU" not in row.kind]
    ours = formulas.module_cost(size, *widths, bias=True)
    for number, branch in enumerate(ours, 1):
        assert ours[branch] == sum(row.cost for row in rows if row.name.startswith(f"branch{number}"))


def test_module_cost_naive_is_three_convolutions_and_a_pool():
    ours = formulas.module_cost(28, 192, 64, None, 128, None, 32, None)
    kernels = {"1×1": (64, 1), "3×3": (128, 3), "5×5": (32, 5)}
    assert list(ours) == [*kernels, "pool"]
    for branch, (filters, kernel_size) in kernels.items():
        assert ours[branch] == cost.conv2d(192, filters, kernel_size, 28)
    assert ours["pool"] == cost.elementwise(192, 28)


@pytest.mark.parametrize("C", [1, 2, 5, 16, 192])
@pytest.mark.parametrize("O", [1, 3, 32, 300])
@pytest.mark.parametrize("K", [1, 2, 3, 5, (1, 7)])
def test_break_even_is_the_last_that_saves(C, O, K):
    def saves(R):
        return sum(formulas.chain(9, (C, R, O), (1, K))).macs < formulas.chain(9, (C, O), (K,))[0].macs

    R = formulas.break_even(C, O, K)
    assert (R == 0 or saves(R)) and not saves(R + 1)
    assert R < C  # to more channels than before, no reduction pays


@pytest.mark.parametrize("K, numerator, denominator", [(5, 18, 25), (7, 27, 49), (3, 9, 9)])
def test_stack_of_3x3_costs_its_share_of_the_large_kernel(K, numerator, denominator):
    # Szegedy et al. (2016), section 3.1: two 3×3 for a 5×5 cost (9 + 9) / 25.
    depth, C = formulas.stack_depth(K), 6
    stack, direct = sum(formulas.chain(8, [C] * (depth + 1), [3] * depth)), formulas.chain(8, (C, C), (K,))[0]
    assert stack.macs * denominator == direct.macs * numerator
    assert shapes.receptive_field([(3, 1, 1, 1)] * depth)[-1][0] == K


@pytest.mark.parametrize("n", [3, 5, 7])
def test_row_and_column_cost_two_nths(n):
    # Szegedy et al. (2016), section 3.2: a 3×1 and a 1×3 are 33% cheaper than a 3×3.
    pair, direct = sum(formulas.chain(17, (8, 8, 8), ((1, n), (n, 1)))), formulas.chain(17, (8, 8), (n,))[0]
    assert pair.macs * n == direct.macs * 2 and pair.params * n == direct.params * 2


def test_stack_depth_refuses_an_even_kernel():
    with pytest.raises(ValueError, match=r"`kernel_size` \(=4\) must be odd"):
        formulas.stack_depth(4)


def test_separable_and_segments_equal_grouped_convolutions_of_torch():
    ours = sum(formulas.separable_cost(5, 6, 8, 3, multiplier=2, bias=True))
    layers = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1, groups=6), nn.Conv2d(12, 8, 1))
    assert ours == cost.trace(layers, (1, 6, 5, 5)).total
    for segments in (1, 2, 4, 8):
        layers = nn.Sequential(nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=segments))
        assert sum(formulas.segments_cost(5, 6, 8, 3, segments, bias=True)) == cost.trace(layers, (1, 6, 5, 5)).total
    channels = formulas.segments_cost(5, 6, 6, 3, 6)
    assert sum(channels).macs == sum(formulas.separable_cost(5, 6, 6, 3)).macs


def test_fire_cost_equals_the_table_of_squeezenet():
    # Iandola et al. (2016), table 1: parameters of fire2 to fire9 before pruning.
    published = [11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    squeezes, channels, found = (16, 16, 32, 32, 48, 48, 64, 64), 96, []
    for squeeze in squeezes:
        layers = formulas.fire_cost(27, channels, squeeze, 4 * squeeze, 4 * squeeze, bias=True)
        found.append(sum(layers.values()).params)
        channels = 8 * squeeze
    assert found == published


@pytest.mark.parametrize("call, sentence", [
    (
        lambda: formulas.chain(28, (192, 32), (1, 5)),
        "`widths` (=(192, 32)) must be one more than `kernel_sizes` (=(1, 5))",
    ),
    (lambda: formulas.chain(28, (192,), ()), "`widths` (=(192,)) must be one more than `kernel_sizes` (=())"),
    (lambda: formulas.chain(28, (192, 0), (1,)), "`out_channels` (=0) must be at least 1"),
    (lambda: formulas.module_cost(28, 192, 64, 0, 128, 16, 32, 32), "`ch3x3red` (=0) must be at least 1"),
    (lambda: formulas.module_cost(28, 192, 64, 96, 128, 16.0, 32, 32), "`ch5x5red` (=16.0) must be an integer"),
    (lambda: formulas.module_cost(0, 192, 64, 96, 128, 16, 32, 32), "`output_size` (=0) must be at least 1"),
    (lambda: formulas.module_width(192, 64, 128, 32, 0), "`pool_proj` (=0) must be at least 1"),
    (lambda: formulas.break_even(0, 32, 5), "`in_channels` (=0) must be at least 1"),
    (lambda: formulas.fire_cost(28, 96, 0, 64, 64), "`squeeze` (=0) must be at least 1"),
    (lambda: formulas.separable_cost(28, 96, 64, 3, multiplier=0), "`multiplier` (=0) must be at least 1"),
    (lambda: formulas.segments_cost(28, 96, 64, 3, 5), "`segments` (=5) must divide the 64 channels"),
])
def test_costs_refuse_bad_input(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence


# --- the networks of the chapter -------------------------------------------------------


def traced(name, size=224):
    with torch.device("meta"):
        network = models.build(name).eval()
    return network, cost.trace(network, (1, 3, size, size))


def test_googlenet_counts_as_its_paper_does():
    network, _ = traced("googlenet")
    modules = figures.googlenet_modules(network)
    # Szegedy et al. (2015), table 1: size, input channels (the row before), and the widths of three rows.
    assert modules["3a"] == (28, 192, 64, 96, 128, 16, 32, 32)
    assert modules["4d"] == (14, 512, 112, 144, 288, 32, 64, 64)
    assert modules["5b"] == (7, 832, 384, 192, 384, 48, 128, 128)
    rows = figures.googlenet_rows(modules)
    # The same table, columns params and ops.
    published = {
        "7×7": (2.7, 34), "1×1, 3×3": (112, 360), "3a": (159, 128), "3b": (380, 304), "4a": (364, 73), "4b": (437, 88),
        "4c": (463, 100), "4d": (580, 119), "4e": (840, 170), "5a": (1072, 54), "5b": (1388, 71), "linear": (1000, 1),
    }
    assert figures.PAPER == published
    for name, (kilos, millions) in published.items():
        assert abs(rows[name].macs / 1e6 - millions) < max(0.5, 0.01 * millions) or name == "5a"
        assert abs(rows[name].params / 1024 / kilos - 1) < 0.02 or name in ("4c", "5a")
    assert rows["5a"].macs / 1e6 / 54 == pytest.approx(1 - 0.054, abs=5e-4)
    assert rows["5a"].params / 1024 == 1018
    assert rows["4c"].params / 1024 == 497.5
    total = sum(rows.values())
    assert (total.macs, total.params) == (1_498_677_248, 6_983_576)
    widths = [formulas.module_width(m[1], m[2], m[4], m[6], m[7]) for m in modules.values()]
    # The same table, column output size.
    assert widths == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_googlenet_of_the_published_weights_differs_in_stem_and_5x5():
    network, trace = traced("googlenet")
    modules = figures.googlenet_modules(network)
    rows = figures.googlenet_rows(modules)
    stem = cost.conv2d(3, 64, 7, 112).macs - rows["7×7"].macs
    smaller = sum(
        cost.conv2d(m[5], m[6], 3, m[0]).macs - cost.conv2d(m[5], m[6], 5, m[0]).macs for m in modules.values()
    )
    assert sum(rows.values()).macs + stem + smaller == trace.total.macs


def test_googlenet_in_numbers_of_the_page():
    network, trace = traced("googlenet")
    modules = figures.googlenet_modules(network)
    stem = [name for name, layer in network.named_children() if name.startswith("conv") and list(layer.parameters())]
    assert len(stem) + 2 * len(modules) + 1 == 22  # Szegedy et al. (2015), section 5: layers with parameters, in depth
    assert sum(weight.numel() for weight in network.parameters()) == 13_004_888
    assert trace.total.params == 6_624_904
    rows = figures.googlenet_rows(modules)
    exact = [name for name, row in rows.items() if row.params == 1024 * figures.PAPER[name][0]]
    assert exact == ["1×1, 3×3", "linear"] and round(rows["7×7"].params / 1000, 1) == 2.7
    kilos = sum(kilos for kilos, _ in figures.PAPER.values())
    assert [round(60_965_224 / kilos / K, 1) for K in (1024, 1000)] == [8.8, 9.0]


def test_classifiers_of_the_networks():
    def params(trace, part):
        return sum(row.cost for row in trace if row.name.startswith(part)).params

    vgg16, nin, googlenet = (traced(name)[1] for name in ("vgg16", "nin", "googlenet"))
    assert vgg16.total.params == 138_357_544  # published with the weights
    assert params(vgg16, "classifier") == 123_642_856
    assert params(nin, "mlpconv4.4") == params(googlenet, "fc") == 1_025_000
    assert round(100 * 123_642_856 / 138_357_544) == 89 and round(100 * 58_631_144 / 60_965_224) == 96
    first = next(row for row in vgg16 if row.name.startswith("classifier") and row.cost.params)
    assert first.cost.params == (25_088 + 1) * 4096 and 1_025_000 == (1024 + 1) * 1000


def test_stacks_of_modules_keep_their_price_with_a_projection_alone():
    def stack(ch3x3red, ch5x5red, pool_proj):
        channels, prices = 192, []
        for _ in range(4):
            costs = formulas.module_cost(28, channels, 64, ch3x3red, 128, ch5x5red, 32, pool_proj)
            prices.append(round(sum(costs.values()).macs / 1e6))
            channels = formulas.module_width(channels, 64, 128, 32, pool_proj)
        return prices

    assert stack(None, None, None) == [303, 658, 1012, 1366] and stack(None, None, 32) == [308, 411, 411, 411]
    assert stack(96, 16, None) == [123, 154, 185, 216] and stack(96, 16, 32) == [128, 138, 138, 138]


def test_zeros_round_the_image_change_the_pool_only_where_there_are_negative_numbers():
    x = randn(2, 3, 5, 6)
    for given, same in ((x, False), (x.relu(), True)):
        assert torch.equal(F.max_pool2d(given, 3, 1, 1), F.max_pool2d(F.pad(given, (1,) * 4), 3, 1)) == same


def test_accuracies_are_those_of_the_papers():
    # Iandola et al. (2016), table 2; Chollet (2017), table 1; Szegedy et al. (2015), table 3 (10.07% of top-5 errors).
    assert figures.ACCURACY == {
        "AlexNet": (57.2, 80.3), "SqueezeNet": (57.5, 80.3), "VGG-16": (71.5, 90.1), "Xception": (79.0, 94.5),
        "GoogLeNet": (None, 100 - 10.07),
    }
    vgg16, googlenet, squeezenet = (traced(name)[1].total for name in ("vgg16", "googlenet", "squeezenet1_0"))
    assert 10 < vgg16.macs / googlenet.macs < 11 and 20 < vgg16.params / googlenet.params < 21
    assert 48 < 60_965_224 / squeezenet.params < 50
    table = figures.accuracy_table({"GoogLeNet": googlenet, "SqueezeNet": squeezenet}).data
    assert "| GoogLeNet | 6.6 | 1.50 | – | 89.9% |\n| SqueezeNet | 1.2 | 0.82 | 57.5% | 80.3% |" in table


def test_squeezenet_and_xception_have_the_parameters_of_their_papers():
    assert traced("squeezenet1_0")[1].total.params == 1_248_424  # Iandola et al. (2016), table 1
    assert traced("xception", 299)[1].total.params == 22_855_952  # Chollet (2017), table 3


def test_figures_draw_what_they_are_given():
    module = 28, 192, 64, 96, 128, 16, 32, 32
    assert figures.naive(module) == (28, 192, 64, None, 128, None, 32, None)
    drawn = figures.draw_modules(module)
    assert "303,464,448 multiply-adds" in drawn and "128,049,152 multiply-adds" in drawn and "256 channels" in drawn
    table = figures.module_table(module).data
    assert "| **all** | 303,464,448 | 387,072 | 128,049,152 | 163,328 | 2.37 |" in table
    assert all(words in drawn for words in ("3×3 → 128", "14.5 M", "86.7 M", "416 channels"))
    assert "2.3 M + 58.6 M" in figures.draw_classifiers([("a", 2_334_080, 58_631_144), ("b", 10, 5)])
    drawn = figures.draw_segments(6, (1, 3, 6))
    assert all(f"3×3: {weights}<" in drawn for weights in (324, 108, 54)) and drawn.count("1×1: 36<") == 3


def test_speed_table_says_what_was_measured():
    def results(ratio):
        return {"3a, N 1": {
            "three 1×1": {"apart": {"seconds": 0.004}, "as one": {"ratio": {"apart": ratio}}},
            "module": {"branch by branch": {"seconds": 0.01},
                       "fast.inception_module": {"ratio": {"branch by branch": 2 * ratio}}},
        }}

    hardware = {"processor": "P", "threads": 2, "torch": "2"}
    speed = {"default": {"hardware": hardware, "results": results(0.25)}, "keep_pages": {"results": results(0.5)}}
    table = figures.speed_table(speed).data.replace("\u00a0", " ")
    assert "| 3a, N 1 | 4.00 ms | 0.25 × | 0.50 × | 10.00 ms | 0.50 × | 1.00 × |" in table


# --- what the page says above its explorers --------------------------------------------


def test_page_says_of_break_even_what_it_shows():
    assert "at most 154" in explorers.break_even(reduction=154)[1]
    assert "100.1%" in explorers.break_even(reduction=155)[1]
    words = explorers.break_even(kernel=1, reduction=27)[1]
    assert "at most 27" in words and "98.4% of it" in words
    assert "at most 171" in explorers.break_even(kernel=7)[1]


def test_page_says_of_module_budget_what_it_shows():
    naive = formulas.module_cost(28, 192, 64, None, 128, None, 32, None)
    assert max(naive, key=lambda branch: naive[branch].macs) == "3×3"
    picture, words = explorers.module_budget()
    assert "57.8%" in words and ">42% of naive<" in picture
    picture, words = explorers.module_budget(module="naive")
    assert ">237% of reduced<" in picture and "their three widths are the reduced one's" in words
    words = explorers.module_budget(ch5x5red=96)[1]
    assert "37.3%" in words and "74,661,888" in words
    assert "154" in explorers.module_budget(ch5x5red=160)[1] and "154" not in explorers.module_budget(ch5x5red=152)[1]
    wide = formulas.module_cost(28, 192, 64, 96, 128, 160, 32, 32)
    assert wide["5×5"].macs > naive["5×5"].macs


def test_page_says_of_stages_what_it_shows():
    found = explorer_data.stages()
    this = explorers.stages.with_data(found)
    assert "GoogLeNet and their activations" in this()[0]  # what is to be guessed is not to be seen
    params, macs = zip(*[
        [sum(part[i] for part in one["parts"].values()) for i in (1, 2)] for one in found["googlenet"]
    ])
    assert macs.index(max(macs)) == 1 and found["googlenet"][params.index(max(params))]["name"] == "5b"
    assert all(share in this(stage=2)[1] for share in ("(24.0% of 1,498,376,192)", "(1.7% of 6,624,904)"))
    assert all(share in this(stage=11)[1] for share in ("(4.4% of 1,498,376,192)", "(20.3% of 6,624,904)"))
    assert "conv10" in this(network="SqueezeNet", stage=10)[1]
    assert "(41.1% of 1,248,424)" in this(network="SqueezeNet", stage=10)[1]
    assert "98.8%" in this(network="Xception", stage=8)[1]


def test_page_says_of_pixel_mixer_what_it_shows():
    names, mixes = explorers.MIXES["edges"]
    assert names == ("lighter right", "lighter left", "lighter below") and mixes["both sides"][:3] == (10, 10, 0)
    picture = explorers.pixel_mixer.with_data(explorer_data.pixel_mixer())()[0]
    assert 'data-set="maps=edges&amp;w1=1.0&amp;w2=0.0&amp;w3=0.0&amp;bias=0&amp;relu=True"' in picture
    controls = explorers.pixel_mixer.defaults
    assert [controls[name] for name in ("maps", "w1", "w2", "w3", "relu")] == ["colours", 2.0, -1.0, -1.0, True]


# --- exercises -------------------------------------------------------------------------


def test_widest_reduction_of_the_exercise_is_found_by_trying_all():
    for C, O, K, percent in exercises.widest_reduction.cases:
        most = percent * formulas.chain(1, (C, O), (K,))[0].macs
        within = [R for R in range(1, C + 2) if 100 * sum(formulas.chain(1, (C, R, O), (1, K))).macs <= most]
        assert exercises.widest_reduction.expected(C, O, K, percent) == max(within, default=0)
    assert exercises.widest_reduction.expected(192, 32, 5, 10) == 15


@pytest.mark.parametrize("answer", [
    "R = 0\n    while 100 * (R + 1) * (C + K * K * O) <= percent * K * K * C * O:\n        R += 1\n    return R",
    "return percent * K * K * C * O // (100 * C + 100 * K * K * O)",
])
def test_widest_reduction_takes_other_right_answers(answer):
    source = f"def widest_reduction(C, O, K, percent):\n    {answer}\n"
    assert exercises.widest_reduction.check_source(source).status == "right"


@pytest.mark.parametrize("name, source", [
    ("stack_weights", "def stack_weights(kernel, channels):\n    return (kernel - 1) / 2 * 9 * channels**2\n"),
    ("fire_params", "def fire_params(c, s, a, b):\n    return s * (c + 1) + a * (s + 1) + b * (s * 9 + 1.0)\n"),
])
def test_a_right_value_of_float_type_is_told_to_be_whole(name, source):
    assert "The value is right, but it must be a whole number" in getattr(exercises, name).check_source(source).message


def test_pool_branch_of_the_exercise_is_torchs_max_pool():
    for (x,) in exercises.pool_branch.cases():
        np.testing.assert_array_equal(exercises.pool_branch.expected(x), F.max_pool2d(torch.from_numpy(x), 3, 1, 1))
