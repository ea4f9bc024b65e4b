"""The chapter inverted_residuals against torch's own modules, the book's networks, other oracles, and bad input."""

from math import exp

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvnotes import bench, cost, models
from cvnotes.conv_types import formulas as conv_types
from cvnotes.inverted_residuals import explorers, fast, formulas, reference
from cvnotes.inverted_residuals.weights import (
    DepthwiseSeparableWeights, EffNetWeights, InvertedResidualWeights, ShuffleUnitWeights, SqueezeExciteWeights,
)
from cvnotes.models import effnet, mobilenet_v1, mobilenet_v2, mobilenet_v3, resnet, shufflenet_v1


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def block(kind, shapes, seed=0, scale=0.5):
    """Return random weights of the shapes that `formulas` gives."""
    return kind(*(None if shape is None else scale * randn(*shape, seed=seed + i) for i, shape in enumerate(shapes)))


def mapped(value, change):
    """Return `value` with `change` applied to each tensor, also inside weights."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if hasattr(value, "_make"):
        return value._make(mapped(item, change) for item in value)
    return value


def both(name, *args, **kwargs):
    """Return what the reference and the fast version give for tensors, both as tensors."""
    arrays = [mapped(a, torch.Tensor.numpy) for a in args]
    return torch.from_numpy(np.asarray(getattr(reference, name)(*arrays, **kwargs))), getattr(fast, name)(*args, **kwargs)


def check(results, oracle, **tolerance):
    for result in results:
        torch.testing.assert_close(result, oracle, **tolerance)


def folded(module, seed=0):
    """Give a module's batch norms some statistics; return weight and bias of each convolution with its norm folded in."""
    torch.manual_seed(seed)
    module.double().eval()
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    fields = []
    for conv, norm in zip(layers[::2], layers[1::2]):
        for statistic in (norm.running_mean, norm.bias.data, norm.weight.data):
            statistic.copy_(torch.randn_like(statistic))
        norm.running_var.copy_(torch.rand_like(norm.running_var) + 0.5)
        fused = fuse_conv_bn_eval(conv, norm)
        fields += [fused.weight.detach(), fused.bias.detach()]
    return fields


# --- activations -------------------------------------------------------------------------

ACTIVATIONS = {"relu6": F.relu6, "swish": F.silu, "hard_swish": F.hardswish}
SCALARS = {
    "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "swish": F.silu, "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
}
EDGES = [-np.inf, -1000.0, -6.0, -3.0, -1.0, -0.0, 0.0, 1.0, 3.0, 6.0, 7.0, 1000.0, np.inf, np.nan]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(), (0,), (14,), (2, 0, 3), (2, 3, 4, 5)])
def test_activations_equal_torch(name, shape):
    x = torch.tensor(EDGES, dtype=torch.float64) if shape == (14,) else 5 * randn(*shape)
    check(both(name, x), ACTIVATIONS[name](x), equal_nan=True)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("x", EDGES + [-2.3, 0.4, 2.9, 4.5])
def test_scalar_activations_equal_torch(name, x):
    oracle = SCALARS[name](torch.tensor(x, dtype=torch.float64)).item()
    assert getattr(formulas, name)(x) == pytest.approx(oracle, rel=1e-14, abs=1e-300, nan_ok=True)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("x", [-8.0, -3.0, -2.3, 0.0, 0.4, 2.9, 3.0, 4.5, 6.0, 9.0])
def test_slopes_equal_differences_on_either_side(name, x):
    f, small = getattr(formulas, name), 1e-6
    before, after = getattr(formulas, f"{name}_slopes")(x)
    assert before == pytest.approx((f(x) - f(x - small)) / small, abs=1e-5)
    assert after == pytest.approx((f(x + small) - f(x)) / small, abs=1e-5)


@pytest.mark.parametrize("name", SCALARS)
def test_slopes_equal_autograd_away_from_kinks(name):
    x = torch.tensor([-8.0, -2.3, -0.4, 0.4, 2.9, 4.5, 9.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(SCALARS[name](x).sum(), x)
    slopes = [getattr(formulas, f"{name}_slopes")(value) for value in x.tolist()]
    # torch's hard sigmoid multiplies by a 1/6 of float32, whatever the dtype
    np.testing.assert_allclose(slopes, np.stack([gradient.numpy()] * 2, 1), rtol=1e-7, atol=1e-15)


def test_hard_swish_differs_from_swish_most_at_3():
    x = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    difference = (fast.hard_swish(x) - fast.swish(x)).abs()
    assert difference.max().item() == pytest.approx(3 / (exp(3) + 1), abs=1e-12)
    assert abs(x[difference.argmax()].item()) == pytest.approx(3)


# --- squeeze and excite, shuffle -----------------------------------------------------------


def test_squeeze_excite_equals_the_module_of_mobilenet_v3():
    module = mobilenet_v3.SqueezeExcite(6, 2).double()
    x = 4 * randn(3, 6, 4, 5)
    weights = SqueezeExciteWeights(*(p.detach() for p in module.parameters()))
    check(both("squeeze_excite", x, weights), module(x).detach())


def test_squeeze_excite_leaves_an_image_alone_or_takes_it_away():
    x = randn(1, 2, 3, 3)
    for bias, factor in ((3.0, 1.0), (-3.0, 0.0), (0.0, 0.5)):
        zero = torch.zeros(2, 2, 1, 1, dtype=torch.float64)
        weights = SqueezeExciteWeights(zero, zero[0, :, 0, 0], zero, zero[0, :, 0, 0] + bias)
        check(both("squeeze_excite", x, weights), factor * x)


@pytest.mark.parametrize("channels, groups", [(6, 1), (6, 2), (6, 3), (6, 6), (12, 4), (240, 3)])
def test_channel_shuffle_equals_torch(channels, groups):
    x = randn(2, channels, 2, 3)
    check(both("channel_shuffle", x, groups), nn.ChannelShuffle(groups)(x))
    order = formulas.shuffle_permutation(channels, groups)
    assert order == torch.arange(channels).view(groups, -1).T.flatten().tolist()
    back = formulas.shuffle_permutation(channels, channels // groups)
    assert [order[i] for i in back] == list(range(channels))  # the transposed table, transposed


@pytest.mark.parametrize("channels, groups, layers", [(12, 3, 1), (12, 3, 2), (12, 6, 2), (12, 6, 4), (16, 4, 3), (8, 8, 5)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_flow_equals_the_product_of_the_layers(channels, groups, layers, shuffled):
    block_diagonal = np.kron(np.eye(groups), np.ones((channels // groups,) * 2))
    shuffle = np.eye(channels)[formulas.shuffle_permutation(channels, groups)]
    reach = block_diagonal
    for _ in range(layers - 1):
        reach = block_diagonal @ (shuffle if shuffled else np.eye(channels)) @ reach
    assert formulas.flow(channels, groups, layers, shuffled) == [np.flatnonzero(row).tolist() for row in reach]


def test_flow_stays_in_its_group_without_a_shuffle():
    assert all(len(seen) == 4 for seen in formulas.flow(12, 3, 9, False))
    assert all(len(seen) == 12 for seen in formulas.flow(12, 3, 2, True))
    assert [len(formulas.flow(16, 8, layers, True)[0]) for layers in (1, 2, 3, 4)] == [2, 4, 8, 16]


# --- blocks against the networks of the book, batch norm folded ------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_separable_block_equals_the_module_of_mobilenet_v1(stride):
    module = mobilenet_v1.DepthwiseSeparable(4, 6, stride)
    weights = DepthwiseSeparableWeights(*folded(module))
    x = randn(2, 4, 7, 6)
    check(both("depthwise_separable_block", x, weights, stride=stride), module(x).detach())


def test_depthwise_separable_block_without_relus_is_that_of_conv_types():
    from cvnotes.conv_types import fast as types

    weights = block(DepthwiseSeparableWeights, formulas.depthwise_separable_shapes(3, 4))
    # Large biases keep both ReLUs open; then they are taken away again.
    high = weights._replace(b_depthwise=weights.b_depthwise + 100, b_pointwise=weights.b_pointwise * 0 + 1000)
    x = randn(1, 3, 5, 5)
    plain = types.depthwise_separable_conv2d(x, weights.w_depthwise, weights.w_pointwise, padding=1)
    shift = F.conv2d(high.b_depthwise.view(1, 3, 1, 1), weights.w_pointwise) + 1000
    check(both("depthwise_separable_block", x, high), plain + shift)


@pytest.mark.parametrize("channels, filters, stride, expansion", [(4, 4, 1, 6), (4, 5, 1, 3), (4, 4, 2, 2), (6, 3, 1, 1), (3, 3, 1, 1)])
def test_inverted_residual_equals_the_module_of_mobilenet_v2(channels, filters, stride, expansion):
    module = mobilenet_v2.InvertedResidual(channels, filters, stride, expansion)
    fields = folded(module)
    weights = InvertedResidualWeights(*([None, None] if expansion == 1 else []), *fields)
    x = 3 * randn(2, channels, 7, 6)
    check(both("inverted_residual", x, weights, stride=stride), module(x).detach())


@pytest.mark.parametrize("middle", [7, None])
def test_inverted_residual_is_the_same_for_every_splits(middle):
    weights = block(InvertedResidualWeights, formulas.inverted_residual_shapes(6, middle, 6, 5))
    x = 3 * randn(2, 6, 6, 5)
    whole = fast.inverted_residual(x, weights, stride=1)
    for splits in range(1, (middle or 6) + 1):  # most of them don't divide the width
        check(both("inverted_residual", x, weights, stride=1, splits=splits), whole)


def test_parts_are_all_channels_in_order_and_nearly_alike():
    for channels in range(1, 20):
        for splits in range(1, channels + 1):
            parts = formulas.parts(channels, splits)
            assert parts[0][0] == 0 and parts[-1][1] == channels and len(parts) == splits
            assert all(a[1] == b[0] for a, b in zip(parts, parts[1:]))
            widths = [end - first for first, end in parts]
            assert max(widths) - min(widths) <= 1 and widths == sorted(widths, reverse=True)


def test_inverted_residual_adds_the_input_only_where_it_fits():
    zero = [torch.zeros(s, dtype=torch.float64) for s in formulas.inverted_residual_shapes(3, 6, 3)]
    x = randn(1, 3, 4, 4)
    check(both("inverted_residual", x, InvertedResidualWeights(*zero), stride=1), x)
    for stride in (2, (1, 2)):
        result = fast.inverted_residual(x, InvertedResidualWeights(*zero), stride=stride)
        assert not result.any() and result.shape[3] == 2
    wider = [torch.zeros(s, dtype=torch.float64) for s in formulas.inverted_residual_shapes(3, 6, 4)]
    assert not fast.inverted_residual(x, InvertedResidualWeights(*wider), stride=1).any()


@pytest.mark.parametrize("splits", [1, 3])
def test_inverted_residual_writes_into_none_of_its_arguments(splits):
    weights = block(InvertedResidualWeights, formulas.inverted_residual_shapes(1, None, 1, 1) if splits == 1 else formulas.inverted_residual_shapes(3, 4, 2))
    x = randn(1, len(weights.w_depthwise) if splits == 1 else 3, 1, 1)  # one pixel: an expanded bias is the bias itself
    before = mapped(weights, torch.clone), x.clone()
    fast.inverted_residual(x, weights, stride=2, splits=splits)
    assert torch.equal(x, before[1])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(weights, before[0]))


def test_inverted_residual_keeps_the_layout_of_its_input():
    weights = block(InvertedResidualWeights, formulas.inverted_residual_shapes(4, 8, 4))
    x = randn(2, 4, 5, 6)
    assert fast.inverted_residual(x, weights, stride=1).is_contiguous()
    last = x.contiguous(memory_format=torch.channels_last)
    result = fast.inverted_residual(last, weights, stride=1, splits=2)
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, fast.inverted_residual(x, weights, stride=1))


def test_inverted_residual_in_parts_takes_little_memory():
    weights = block(InvertedResidualWeights, formulas.inverted_residual_shapes(24, 144, 24))
    weights, x = mapped(weights, torch.Tensor.float), randn(8, 24, 56, 56, dtype=torch.float32)

    def peak(splits):
        with torch.no_grad():
            return bench.peak_memory(lambda: fast.inverted_residual(x, weights, stride=1, splits=splits))

    measured = {splits: peak(splits) for splits in (1, 2, 4, 5, 12)}  # 5 does not divide 144
    assert measured[4] <= measured[1] / 2
    for splits, found in measured.items():
        counted = 4 * 8 * formulas.inverted_extra(56, 24, 144, 24, splits=splits)
        copy = 4 * x.numel() if splits > 1 else 0  # x with the channels last; the first time before there is an output
        assert found == pytest.approx(counted + copy, rel=0.01)


@pytest.mark.parametrize("in_channels, out_channels", [(3, 8), (6, 4)])
def test_effnet_block_equals_the_module_of_effnet(in_channels, out_channels):
    module = effnet.EffNetBlock(in_channels, out_channels)
    weights = EffNetWeights(*folded(module))
    for size in ((6, 8), (7, 5), (2, 3)):
        x = randn(2, in_channels, *size)
        check(both("effnet_block", x, weights), module(x).detach())


@pytest.mark.parametrize("channels, width, groups, stride, first_groups", [
    (8, 8, 1, 1, None), (24, 24, 3, 1, None), (12, 24, 3, 2, None), (24, 40, 2, 2, 1), (8, 24, 1, 2, None),
])
def test_shuffle_unit_equals_the_module_of_shufflenet(channels, width, groups, stride, first_groups):
    module = shufflenet_v1.ShuffleUnit(channels, width, groups, stride, first_groups)
    weights = ShuffleUnitWeights(*folded(module))
    x = randn(2, channels, 5, 4)
    check(both("shuffle_unit", x, weights, groups=groups, stride=stride), module(x).detach())


def test_shuffle_unit_with_one_group_is_a_plain_bottleneck():
    weights = block(ShuffleUnitWeights, formulas.shuffle_unit_shapes(4, 2, 4, 1))
    x = randn(2, 4, 5, 5)
    t = F.relu(F.conv2d(x, weights.w_reduce, weights.b_reduce))
    t = F.conv2d(t, weights.w_depthwise, weights.b_depthwise, padding=1, groups=2)
    check(both("shuffle_unit", x, weights, groups=1, stride=1), F.relu(F.conv2d(t, weights.w_expand, weights.b_expand) + x))


def test_shuffle_unit_lets_an_output_see_all_groups():
    """With the shuffle a group's outputs depend on the inputs of all groups, as `flow` says."""
    weights = block(ShuffleUnitWeights, formulas.shuffle_unit_shapes(9, 9, 9, 3, 1))
    weights = weights._replace(b_reduce=weights.b_reduce + 50)  # the ReLU stays open
    x = randn(1, 9, 1, 1).requires_grad_()
    y = fast.shuffle_unit(x, weights._replace(b_expand=weights.b_expand + 500), groups=3, stride=1)
    (gradient,) = torch.autograd.grad(y[0, 0].sum(), x)
    assert gradient.flatten().count_nonzero() == len(formulas.flow(9, 3, 2, True)[0]) == 9


# --- the bottleneck that loses -----------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 15, 30])
def test_linear_bottleneck_loss_equals_least_squares(n):
    points, matrix = randn(40, 2, seed=n), randn(n, 2, seed=n + 1)
    recovered = np.maximum(points.numpy() @ matrix.numpy().T, 0) @ np.linalg.pinv(matrix.numpy()).T
    design = np.column_stack([recovered, np.ones(40)])
    residual = points.numpy() - design @ np.linalg.lstsq(design, points.numpy(), rcond=None)[0]
    loss = (residual**2).sum() / ((points - points.mean(0)) ** 2).sum().item()
    for version, change in ((reference, torch.Tensor.numpy), (fast, lambda t: t)):
        found, lost = version.linear_bottleneck_loss(change(points), change(matrix))
        np.testing.assert_allclose(found, recovered)
        assert lost.shape == () and float(lost) == pytest.approx(loss)


def test_linear_bottleneck_loss_knows_nothing_lost_and_all_lost():
    points = randn(30, 2)
    eye = torch.eye(2, dtype=torch.float64)
    _, none = fast.linear_bottleneck_loss(points.abs(), eye)  # the ReLU never cuts
    assert none < 1e-25
    recovered, all_of_it = fast.linear_bottleneck_loss(-points.abs(), eye)  # it cuts everything
    assert not recovered.any() and all_of_it == 1


def test_linear_bottleneck_loss_does_not_mind_size_turn_and_shift_of_what_comes_back():
    points, matrix = randn(30, 2), randn(3, 2, seed=1)
    _, loss = fast.linear_bottleneck_loss(points, matrix)
    _, scaled = fast.linear_bottleneck_loss(points, 100 * matrix)
    _, smaller = fast.linear_bottleneck_loss(points / 7, matrix)
    turn = torch.linalg.qr(randn(2, 2, seed=2))[0]
    _, turned = fast.linear_bottleneck_loss(points @ turn.T, matrix @ turn.T)
    for other in (scaled, smaller, turned):
        torch.testing.assert_close(other, loss)


def test_linear_bottleneck_loss_falls_with_the_dimensions():
    points = randn(60, 2)
    means = [
        torch.stack([fast.linear_bottleneck_loss(points, randn(n, 2, seed=s))[1] for s in range(60)]).mean()
        for n in (2, 3, 5, 15, 30)
    ]
    assert all(a > 1.2 * b for a, b in zip(means, means[1:]))


def test_linear_bottleneck_loss_of_points_that_come_back_on_a_line():
    points = torch.tensor([[1.0, 1.0], [2.0, -1.0], [3.0, -2.0], [4.0, 0.0]], dtype=torch.float64) - torch.tensor([0.0, 5.0])
    for recovered, loss in (
        fast.linear_bottleneck_loss(points, torch.eye(2, dtype=torch.float64)),
        reference.linear_bottleneck_loss(points.numpy(), np.eye(2)),
    ):
        assert not recovered[:, 1].any()
        y, x = points[:, 1] - points[:, 1].mean(), points[:, 0] - points[:, 0].mean()
        missing = (y - x * (x @ y) / (x @ x)).square().sum() / (x.square().sum() + y.square().sum())
        assert float(loss) == pytest.approx(missing.item())


def test_lost_directions_equals_a_count():
    for n in (1, 2, 3, 5):
        angles = (torch.arange(3600, dtype=torch.float64) + 0.5) * 2 * np.pi / 3600
        directions = torch.stack([angles.cos(), angles.sin()])
        matrices = randn(2000, n, 2, seed=n)
        share = ((matrices @ directions > 0).sum(1) < 2).double().mean().item()
        assert share == pytest.approx(formulas.lost_directions(n), abs=0.01)


# --- costs ---------------------------------------------------------------------------------


def convolutions(module, channels, size):
    """Return the cost of each convolution of a module, in order, by the trace; without batch norms."""
    return [row.cost for row in cost.trace(module, (1, channels, *size)) if row.kind == "Conv2d"]


def priced(steps):
    return [step[3] for step in steps if step[3].macs]


@pytest.mark.parametrize("size", [(12, 9), (7, 7)])
def test_steps_equal_the_trace_of_the_networks_modules(size):
    C = 12
    for stride in (1, 2):
        assert priced(formulas.separable_steps(size, C, 20, stride=stride)) == convolutions(
            mobilenet_v1.DepthwiseSeparable(C, 20, stride), C, size)
        for expansion in (1, 6):
            assert priced(formulas.inverted_steps(size, C, 20, expansion=expansion, stride=stride)) == convolutions(
                mobilenet_v2.InvertedResidual(C, 20, stride, expansion), C, size)
        assert priced(formulas.bottleneck_steps(size, C, 16, stride=stride)) == convolutions(
            resnet.Bottleneck(C, 4, stride), C, size)
        for first in (None, 1):
            O = 24 if stride == 2 else C
            assert priced(formulas.shuffle_steps(size, C, O, groups=3, stride=stride, first_groups=first)) == convolutions(
                shufflenet_v1.ShuffleUnit(C, O, 3, stride, first), C, size)
    assert priced(formulas.bottleneck_steps(size, 16, 16)) == convolutions(resnet.Bottleneck(16, 4), 16, size)
    assert priced(formulas.effnet_steps(size, C, 10)) == convolutions(effnet.EffNetBlock(C, 10), C, size)


def test_steps_with_biases_equal_the_weights_of_the_blocks():
    def elements(shapes):
        return sum(int(np.prod(shape)) for shape in shapes if shape)

    for steps, shapes in (
        (formulas.separable_steps(8, 3, 5, bias=True, kernel_size=5), formulas.depthwise_separable_shapes(3, 5, 5)),
        (formulas.inverted_steps(8, 3, 5, expansion=4, bias=True), formulas.inverted_residual_shapes(3, 12, 5)),
        (formulas.inverted_steps(8, 3, 5, expansion=1, bias=True), formulas.inverted_residual_shapes(3, None, 5)),
        (formulas.effnet_steps(8, 3, 6, bias=True), formulas.effnet_shapes(3, 3, 6)),
        (formulas.shuffle_steps(8, 12, 24, stride=2, bias=True), formulas.shuffle_unit_shapes(12, 6, 12, 3)),
        (
            formulas.shuffle_steps(8, 24, 24, groups=2, reduction=3, first_groups=1, bias=True),
            formulas.shuffle_unit_shapes(24, 8, 24, 2, 3, 1),
        ),
    ):
        assert formulas.total(steps).params == elements(shapes)


def test_separable_steps_cost_the_ratio_of_conv_types():
    for C, O, K in ((32, 64, 3), (512, 512, 3), (16, 40, 5)):
        standard = cost.conv2d(C, O, K, 14)
        separable = formulas.total(formulas.separable_steps(14, C, O, kernel_size=K))
        assert separable.macs / standard.macs == pytest.approx(conv_types.separable_ratio(O, K), rel=1e-12)
        assert separable.params / standard.params == pytest.approx(1 / O + 1 / K**2, rel=1e-12)


def test_peak_by_hand():
    assert formulas.peak(4, 10, formulas.inverted_steps(10, 4, 4, expansion=3)) == 2 * 12 * 100
    assert formulas.peak(4, 10, formulas.inverted_steps(10, 4, 4, expansion=3), shortcut=True) == (2 * 12 + 4) * 100
    assert formulas.peak(4, 10, formulas.inverted_steps(10, 4, 4, expansion=3, stride=2)) == (4 + 12) * 100
    assert formulas.peak(3, 10, formulas.separable_steps(10, 3, 8)) == (3 + 8) * 100
    assert formulas.peak(16, 10, formulas.bottleneck_steps(10, 16, 16), shortcut=True) == (16 + 4 + 16) * 100


def test_published_counts_of_shufflenet():
    # Zhang et al. (2018), table 1, in millions, for 1, 2, 3, 4 and 8 groups.
    for groups, complexity in ((1, 143), (2, 140), (3, 137), (4, 133), (8, 137)):
        with torch.device("meta"):
            network = models.build("shufflenet_v1", groups=groups)
        rows = cost.trace(network, (1, 3, 224, 224))
        assert round(sum(row.cost.macs for row in rows if row.kind == "Conv2d") / 1e6) == pytest.approx(complexity, abs=0.51)


# --- all of them -----------------------------------------------------------------------------

X = 3 * randn(2, 4, 6, 5)
CALLS = {
    "relu6": ((X,), {}),
    "swish": ((X,), {}),
    "hard_swish": ((X,), {}),
    "squeeze_excite": ((X, block(SqueezeExciteWeights, formulas.squeeze_excite_shapes(4, 2))), {}),
    "channel_shuffle": ((X, 2), {}),
    "depthwise_separable_block": (
        (X, block(DepthwiseSeparableWeights, formulas.depthwise_separable_shapes(4, 3))), {"stride": 2},
    ),
    "inverted_residual": (
        (X, block(InvertedResidualWeights, formulas.inverted_residual_shapes(4, 6, 4))), {"stride": 1, "splits": 4},
    ),
    "effnet_block": ((X, block(EffNetWeights, formulas.effnet_shapes(4, 2, 3))), {}),
    "shuffle_unit": (
        (X, block(ShuffleUnitWeights, formulas.shuffle_unit_shapes(4, 2, 6, 2))), {"groups": 2, "stride": 2},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_all_keep_float32(name):
    args, kwargs = CALLS[name]
    exact = getattr(fast, name)(*args, **kwargs).float()
    for result in both(name, *(mapped(a, torch.Tensor.float) for a in args), **kwargs):
        torch.testing.assert_close(result, exact, rtol=1e-4, atol=1e-4)


def test_linear_bottleneck_loss_keeps_float32():
    points, matrix = randn(30, 2), randn(5, 2, seed=1)
    exact = fast.linear_bottleneck_loss(points, matrix)
    for results in (
        reference.linear_bottleneck_loss(points.float().numpy(), matrix.float().numpy()),
        fast.linear_bottleneck_loss(points.float(), matrix.float()),
    ):
        for result, wanted in zip(results, exact):
            torch.testing.assert_close(torch.as_tensor(result), wanted.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_all_run_in_bfloat16(name):
    args, kwargs = CALLS[name]
    exact = getattr(fast, name)(*args, **kwargs)
    result = getattr(fast, name)(*(mapped(a, torch.Tensor.bfloat16) for a in args), **kwargs)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), exact, rtol=0.1, atol=0.3)


@pytest.mark.parametrize("name", CALLS)
def test_all_take_arrays_that_are_not_contiguous(name):
    def scatter(t):
        return t.repeat_interleave(2, -1).mT.contiguous().mT[..., ::2] if t.dim() > 1 else t.repeat_interleave(2)[::2]

    args, kwargs = CALLS[name]
    check(both(name, *(mapped(a, scatter) for a in args), **kwargs), getattr(fast, name)(*args, **kwargs))


@pytest.mark.parametrize("name", CALLS)
def test_all_take_a_batch_of_no_images(name):
    args, kwargs = CALLS[name]
    wanted = getattr(fast, name)(*args, **kwargs).shape
    for result in both(name, args[0][:0], *args[1:], **kwargs):
        assert result.shape == (0, *wanted[1:])


@pytest.mark.parametrize("name, reached", [
    # Of 6 × 5 pixels; the NaN stands at row 2, column 3, of the channel 1.
    ("depthwise_separable_block", [(1, 1), (1, 2)]),
    ("inverted_residual", [(h, w) for h in (1, 2, 3) for w in (2, 3, 4)]),
    ("effnet_block", [(0, 1), (1, 1)]),
    ("shuffle_unit", [(1, 1), (1, 2)]),
])
def test_blocks_pass_nan_to_each_output_whose_window_holds_it(name, reached):
    (x, weights), kwargs = CALLS[name]
    x = x.clone()
    x[0, 1, 2, 3] = torch.nan
    for result in both(name, x, weights, **kwargs):
        assert sorted({(h, w) for _, _, h, w in result.isnan().nonzero().tolist()}) == reached
        assert not result[1].isnan().any()


def test_squeeze_excite_passes_nan_to_the_whole_image():
    (x, weights), _ = CALLS["squeeze_excite"]
    x = x.clone()
    x[0, 1, 2, 3] = torch.nan
    for result in both("squeeze_excite", x, weights):
        assert result[0].isnan().all() and not result[1].isnan().any()


# --- bad input: one sentence, the same from both ---------------------------------------------

ONE = torch.ones(1, 2, 4, 4, dtype=torch.float64)
SEPARABLE = block(DepthwiseSeparableWeights, formulas.depthwise_separable_shapes(2, 3))
INVERTED = block(InvertedResidualWeights, formulas.inverted_residual_shapes(2, 6, 2))
EXCITE = block(SqueezeExciteWeights, formulas.squeeze_excite_shapes(2, 1))
EFFNET = block(EffNetWeights, formulas.effnet_shapes(2, 4, 3))
SHUFFLE = block(ShuffleUnitWeights, formulas.shuffle_unit_shapes(2, 2, 2, 2))
PLANE = randn(5, 2)
STRIDE = {"stride": 1}
BAD = [
    ("relu6", (ONE.long(),), {}, "`x` (int64) must be of a floating-point dtype: float16, bfloat16, float32, float64"),
    ("squeeze_excite", (ONE[:, :1], EXCITE), {}, "`weights.w_reduce` takes 2 channels; `x` has 1"),
    ("squeeze_excite", (ONE, EXCITE._replace(w_expand=EXCITE.w_expand[:1], b_expand=EXCITE.b_expand[:1])), {},
     "`weights.w_expand` gives 1 channels; `x` has 2"),
    ("squeeze_excite", (ONE, SEPARABLE), {}, "`weights` (a DepthwiseSeparableWeights) must be a named tuple SqueezeExciteWeights"),
    ("channel_shuffle", (ONE, 3), {}, "`groups` (=3) must divide the 2 channels"),
    ("channel_shuffle", (ONE, 0), {}, "`groups` (=0) must be at least 1"),
    ("channel_shuffle", (ONE[0], 2), {}, "`x` has the shape (2, 4, 4); 4 axes (N, C, H, W) are needed"),
    ("depthwise_separable_block", (ONE[:, :1], SEPARABLE), {}, "`weights.w_depthwise` has 2 filters; `x` has 1 channels"),
    ("depthwise_separable_block", (ONE, SEPARABLE._replace(w_depthwise=SEPARABLE.w_depthwise[..., :2])), {},
     "`weights.w_depthwise` is 3 × 2; odd sizes are needed"),
    ("depthwise_separable_block", (ONE, SEPARABLE._replace(w_depthwise=None)), {},
     "`weights.w_depthwise` is None; this convolution can't be left out"),
    ("depthwise_separable_block", (ONE, SEPARABLE._replace(b_pointwise=SEPARABLE.b_depthwise)), {},
     "`weights.b_pointwise` has the shape (2,); (3,) is needed"),
    ("depthwise_separable_block", (ONE, SEPARABLE), {"stride": 0}, "`stride` (=0) must be at least 1"),
    ("inverted_residual", (ONE, tuple(INVERTED)), STRIDE, "`weights` (a tuple) must be a named tuple InvertedResidualWeights"),
    ("inverted_residual", (ONE[:, :1], INVERTED), STRIDE, "`weights.w_expand` takes 2 channels; `x` has 1"),
    ("inverted_residual", (ONE, INVERTED._replace(b_expand=None)), STRIDE,
     "`weights.b_expand` is None and `weights.w_expand` is not; leave out both or neither"),
    ("inverted_residual", (ONE, INVERTED._replace(w_expand=None, b_expand=None)), STRIDE,
     "`weights.w_depthwise` has 6 filters; `x` has 2 channels"),
    ("inverted_residual", (ONE, INVERTED._replace(w_expand=INVERTED.w_expand[:5], b_expand=INVERTED.b_expand[:5])), STRIDE,
     "`weights.w_depthwise` has 6 filters; `weights.w_expand` gives 5 channels"),
    ("inverted_residual", (ONE, INVERTED._replace(w_project=INVERTED.w_project[:, :4])), STRIDE,
     "`weights.w_project` takes 4 channels; `weights.w_depthwise` gives 6"),
    ("inverted_residual", (ONE, INVERTED), {"stride": 1, "splits": 7},
     "`splits` (=7) must be at most 6, the channels in the middle of the block"),
    ("inverted_residual", (ONE, INVERTED), {"stride": 1, "splits": 0}, "`splits` (=0) must be at least 1"),
    ("inverted_residual", (ONE.float(), INVERTED), STRIDE, "`weights.w_expand` (dtype float64) must match `x` (dtype float32)"),
    ("linear_bottleneck_loss", (PLANE[:, :1], PLANE), {}, "`points` has the shape (5, 1); (POINTS, 2) is needed"),
    ("linear_bottleneck_loss", (PLANE[:0], PLANE), {}, "`points` has the shape (0, 2): its axis POINTS must not be empty"),
    ("linear_bottleneck_loss", (PLANE, PLANE[:1]), {}, "`matrix` has a rank below 2: it loses a direction before the ReLU does"),
    ("linear_bottleneck_loss", (PLANE, PLANE[:, :1] * torch.ones(1, 2).double()), {},
     "`matrix` has a rank below 2: it loses a direction before the ReLU does"),
    ("linear_bottleneck_loss", (0 * PLANE, PLANE), {}, "`points` are all the same point; at least two that differ are needed"),
    ("linear_bottleneck_loss", (PLANE, PLANE / 0), {}, "`matrix` holds NaN or infinity; finite numbers are needed"),
    ("linear_bottleneck_loss", (PLANE * torch.nan, PLANE), {}, "`points` holds NaN or infinity; finite numbers are needed"),
    ("effnet_block", (ONE[..., :1], EFFNET), {}, "`x` is 4 × 1; EffNet's block halves both sides, so 2 × 2 is the least"),
    ("effnet_block", (ONE, EFFNET._replace(w_row=EFFNET.w_row[..., :2])), {}, "`weights.w_row` is 1 × 2; odd sizes are needed"),
    ("effnet_block", (ONE, EFFNET._replace(w_project=EFFNET.w_project[:, :, :1])), {},
     "`weights.w_project` has the shape (3, 4, 1, 1); (O, M, 2, 1) is needed"),
    ("effnet_block", (ONE, EFFNET), {"negative_slope": "steep"}, "`negative_slope` (='steep') must be a number"),
    ("shuffle_unit", (ONE, SHUFFLE), {"groups": 3, "stride": 1}, "`groups` (=3) must divide the 2 input channels"),
    ("shuffle_unit", (ONE, SHUFFLE), {"groups": 2, "stride": 3}, "`stride` (=3) must be 1 or 2"),
    ("shuffle_unit", (ONE, SHUFFLE), {"groups": 1, "stride": 1},
     "`weights.w_reduce` takes 1 channels; `x` has 2"),
    ("shuffle_unit", (torch.ones(1, 8, 2, 2).double(), SHUFFLE), {"groups": 2, "stride": 1},
     "`weights.w_reduce` takes 1 channels for each of 2 groups; `x` has 8"),
    ("shuffle_unit", (ONE, block(ShuffleUnitWeights, formulas.shuffle_unit_shapes(2, 2, 4, 2))), {"groups": 2, "stride": 1},
     "`weights.w_expand` gives 4 channels; with `stride` = 1 `x` is added, which has 2"),
    ("shuffle_unit", (ONE, SHUFFLE._replace(w_reduce=SHUFFLE.w_reduce[:1], b_reduce=SHUFFLE.b_reduce[:1])),
     {"groups": 2, "stride": 1}, "`groups` (=2) must divide the 1 filters of `weights.w_reduce`"),
    ("shuffle_unit", (ONE, SHUFFLE._replace(w_reduce=None)), {"groups": 2, "stride": 1},
     "`weights.w_reduce` is None; this convolution can't be left out"),
]


@pytest.mark.parametrize("name, args, kwargs, sentence", BAD, ids=[f"{i}-{case[0]}" for i, case in enumerate(BAD)])
def test_all_refuse_bad_input_with_one_sentence(name, args, kwargs, sentence):
    with pytest.raises(ValueError) as theirs:
        getattr(fast, name)(*args, **kwargs)
    with pytest.raises(ValueError) as ours:
        getattr(reference, name)(*(mapped(a, torch.Tensor.numpy) if not isinstance(a, tuple) or hasattr(a, "_make") else
                                   tuple(t.numpy() for t in a) for a in args), **kwargs)
    assert str(ours.value) == str(theirs.value) == sentence


@pytest.mark.parametrize("call, sentence", [
    (lambda: formulas.inverted_steps(8, 4, 4, expansion=0), "`expansion` (=0) must be at least 1"),
    (lambda: formulas.inverted_steps(8, 0, 4), "`in_channels` (=0) must be at least 1"),
    (lambda: formulas.inverted_steps(8, 4, 4, kernel_size=2), "`kernel_size` is 2 × 2; odd sizes are needed"),
    (lambda: formulas.inverted_extra(8, 4, 8, 4, splits=9), "`splits` (=9) must be at most 8, the channels in the middle of the block"),
    (lambda: formulas.bottleneck_steps(8, 4, 6), "`reduction` (=4) must divide the 6 output channels"),
    (lambda: formulas.effnet_steps(1, 3, 4), "`size` is 1 × 1; EffNet's block halves both sides, so 2 × 2 is the least"),
    (lambda: formulas.shuffle_steps(8, 12, 24), "`out_channels` (=24) must equal the 12 input channels where `stride` is 1"),
    (lambda: formulas.shuffle_steps(8, 12, 12, stride=2), "`out_channels` (=12) must be more than the 12 input channels where `stride` is 2"),
    (lambda: formulas.shuffle_steps(8, 12, 12, stride=3), "`stride` (=3) must be 1 or 2"),
    (lambda: formulas.shuffle_steps(8, 16, 16), "`groups` (=3) must divide the 16 input channels"),
    (lambda: formulas.shuffle_permutation(8, 3), "`groups` (=3) must divide the 8 channels"),
    (lambda: formulas.flow(8, 2, 0, True), "`layers` (=0) must be at least 1"),
    (lambda: formulas.lost_directions(0), "`dimensions` (=0) must be at least 1"),
])
def test_formulas_refuse_impossible_widths(call, sentence):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == sentence


# --- exercises ---------------------------------------------------------------------------------


def test_fixed_point_equals_torch_quantisation():
    x = torch.tensor([0.0, 1.0, 1.01, 5.99, 7.99, 40.2])
    for whole_bits in (3, 6):
        step = 2.0 ** (whole_bits - 8)
        oracle = torch.fake_quantize_per_tensor_affine(x, step, 0, 0, 255)
        assert [formulas.fixed_point(value, whole_bits) for value in x.tolist()] == pytest.approx(oracle.tolist())


# --- what the chapter says above its explorers ----------------------------------------------------


@pytest.fixture(scope="module")
def data():
    from cvnotes.inverted_residuals import explorer_data

    return explorer_data


def said(explorer, **settings):
    return explorer(**settings)[1]


def test_try_this_multipliers(data):
    explorer = explorers.multipliers.with_data(data.multipliers())
    assert "it takes 26.3%" in said(explorer, width=0.5)
    for settings, share, top1 in (({"width": 0.75}, "57.2%", "68.4% top-1"), ({"width": 1.0, "resolution": 160}, "51.1%", "67.2% top-1")):
        sentence = said(explorer, **settings)
        assert f"it takes {share}" in sentence and top1 in sentence.split("The released")[0]


def test_try_this_block_designer():
    designer = explorers.block_designer
    assert " 8,208 weights" in said(designer) and " 4,104 weights" in said(designer, expansion=3)
    for width, block_name, weights in ((256, "inverted", "800,256"), (256, "bottleneck", "69,632"), (240, "bottleneck", "61,200"), (240, "shuffle", "10,140")):
        assert f" {weights} weights" in said(designer, block=block_name, in_channels=width, out_channels=width)


def test_try_this_spiral(data):
    explorer = explorers.spiral.with_data(data.spiral())
    losses = [float(said(explorer, dimensions=2, draw=draw).split("dimensions ")[1].split("%")[0]) for draw in range(1, 9)]
    assert (min(losses), max(losses)) == (16.7, 50.9)
    assert "0% is lost in each draw" in said(explorer, activation="none")
    assert "79 keep at least two" in said(explorer, dimensions=5) and 96 - 79 == 17
    assert "All 96 points keep" in said(explorer, dimensions=15)


def test_try_this_activations():
    explorer = explorers.activations
    assert "0.000 apart" in said(explorer, x=0.0)
    assert "jumping from 1.5 to 1" in said(explorer, x=3.0) and "0.142 apart" in said(explorer, x=3.0)
    assert "h-swish is −0.375 with slope 0.000" in said(explorer, x=-1.5)
    pair = {"function": "ReLU6", "compare": "ReLU"}
    assert "0.000 apart" in said(explorer, x=6.0, **pair) and "0.250 apart" in said(explorer, x=6.25, **pair)


def test_try_this_shuffle_wires():
    explorer = explorers.shuffle_wires
    assert "sees 4 of the 12" in said(explorer, shuffle=False) and "sees 12 of the 12" in said(explorer)
    assert "sees 4 of the 12" in said(explorer, groups=6) and "sees 8 of the 12" in said(explorer, groups=6, layers=3)
    assert len(formulas.flow(12, 6, 4, True)[5]) == 12
