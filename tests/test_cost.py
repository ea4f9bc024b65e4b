"""The cost engine: formulas on integers, and the trace of any module, against torch's own counter."""

import copy
import pickle
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cvnotes import cost, models
from cvnotes.cost import Cost

# --- Cost ------------------------------------------------------------------------------


def test_cost_adds_up():
    a, b = Cost(1, 20, 300), Cost(4, 50, 600)
    assert a + b == Cost(5, 70, 900) == sum([a, b])
    assert 3 * a == a * 3 == a + a + a
    assert sum([], Cost()) == Cost() == 0 * a
    assert len({a, Cost(1, 20, 300), b}) == 2


def test_cost_prints_as_a_row_of_a_table():
    assert str(Cost(138_357_544, 15_470_264_320, 28_676_072)) == "   138,357,544    15,470,264,320    28,676,072"
    assert repr(Cost(1, 2, 3)) == "Cost(params=1, macs=2, activations=3)" and eval(repr(Cost(1, 2, 3))) == Cost(1, 2, 3)
    assert len({len(str(c)) for c in (Cost(), Cost(9, 9, 9), Cost(10**9, 10**12, 10**9))}) == 1


def test_cost_does_not_change_and_can_be_copied():
    a = Cost(1, 2, 3)
    with pytest.raises(AttributeError, match="`params` can't be set"):
        a.params = 5
    with pytest.raises(AttributeError, match="`params` can't be set"):
        del a.params
    assert copy.deepcopy(a) == pickle.loads(pickle.dumps(a)) == a


@pytest.mark.parametrize("wrong, sentence", [
    ((1.0, 2, 3), r"`params` \(=1.0\) must be an integer"), ((1, True, 3), r"`macs` \(=True\) must be an integer"),
    ((1, 2, "3"), r"`activations` \(='3'\) must be an integer"), ((-1, 2, 3), r"`params` \(=-1\) must be at least 0"),
])
def test_cost_takes_integers_only(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Cost(*wrong)


@pytest.mark.parametrize("operation", [
    lambda a: a + 1, lambda a: 1 + a, lambda a: a + None, lambda a: sum([a], 1), lambda a: 0.0 + a,
])
def test_cost_does_not_add_to_what_is_no_cost(operation):
    with pytest.raises(TypeError):
        operation(Cost(1, 2, 3))


@pytest.mark.parametrize("times", [1.5, -1, True])
def test_cost_times_is_a_count(times):
    with pytest.raises(ValueError, match="`times`"):
        Cost(1, 2, 3) * times


# --- formulas --------------------------------------------------------------------------


def test_conv2d_counts_the_inception_paper_s_branch():
    # Szegedy et al. (2015), module 3a: 5×5 on 28×28×192, directly and through 16 channels.
    assert cost.conv2d(192, 32, 5, 28) == Cost(153_600, 120_422_400, 25_088)
    assert cost.conv2d(192, 16, 1, 28).macs == 2_408_448 and cost.conv2d(16, 32, 5, 28).macs == 10_035_200
    assert (cost.conv2d(192, 16, 1, 28) + cost.conv2d(16, 32, 5, 28)).macs == 12_443_648


def counted(module, *shape):
    """Return parameters, multiply-adds by torch's counter, and output elements of a module."""
    counter = FlopCounterMode(display=False)
    module = module.to("meta")
    with counter, torch.no_grad():
        y = module(torch.zeros(*shape, device="meta"))
    return Cost(sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2, y.numel())


@pytest.mark.parametrize("C, O, K, size, groups, bias, stride, padding, dilation", [
    (3, 8, 3, (9, 11), 1, True, 2, 1, 1), (6, 4, (1, 5), (7, 8), 2, False, (1, 2), (0, 2), 1),
    (8, 8, 3, 14, 8, True, 1, 2, 2), (5, 7, 1, (1, 3), 1, True, 1, 0, 1),
])
def test_conv2d_equals_torch(C, O, K, size, groups, bias, stride, padding, dilation):
    size = size if isinstance(size, tuple) else (size, size)
    module = nn.Conv2d(C, O, K, stride, padding, dilation, groups, bias)
    places = tuple(module.to("meta")(torch.zeros(1, C, *size, device="meta")).shape[2:])
    assert cost.conv2d(C, O, K, places, groups=groups, bias=bias) == counted(module, 1, C, *size)


@pytest.mark.parametrize("groups, bias", [(1, True), (2, False)])
def test_conv_transpose2d_equals_torch(groups, bias):
    module = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups, bias)
    ours = cost.conv_transpose2d(4, 6, 3, (5, 7), (10, 14), groups=groups, bias=bias)
    assert ours == counted(module, 1, 4, 5, 7)


def test_other_layers_equal_torch():
    assert cost.linear(7, 5) == counted(nn.Linear(7, 5, bias=False), 1, 7)
    assert cost.linear(7, 5, bias=True) == counted(nn.Linear(7, 5), 1, 7)
    assert cost.batch_norm2d(6, (4, 5)) == counted(nn.BatchNorm2d(6).eval(), 1, 6, 4, 5)
    assert cost.elementwise(6, (4, 5)) == counted(nn.ReLU(), 1, 6, 4, 5)


@pytest.mark.parametrize("call, sentence", [
    (lambda: cost.conv2d(6, 4, 3, 8, groups=4), r"`groups` \(=4\) must divide the 6 input channels"),
    (lambda: cost.conv2d(8, 6, 3, 8, groups=4), r"`groups` \(=4\) must divide the 6 filters"),
    (lambda: cost.conv2d(0, 4, 3, 8), r"`in_channels` \(=0\) must be at least 1"),
    (lambda: cost.conv2d(4, 2.0, 3, 8), r"`out_channels` \(=2.0\) must be an integer"),
    (lambda: cost.conv2d(4, 4, (3, 0), 8), r"`kernel_size` \(=0\) must be at least 1"),
    (lambda: cost.conv2d(4, 4, 3, (8, 8, 8)), r"`output_size` \(=\(8, 8, 8\)\) must be one integer or two"),
    (lambda: cost.conv2d(4, 4, 3, 8, bias=1), r"`bias` \(=1\) must be True or False"),
    (lambda: cost.conv2d(4, 4, 3, 8, groups=0), r"`groups` \(=0\) must be at least 1"),
    (lambda: cost.conv_transpose2d(4, 6, 3, 0, 8), r"`input_size` \(=0\) must be at least 1"),
    (lambda: cost.linear(4, -1), r"`out_features` \(=-1\) must be at least 1"),
    (lambda: cost.batch_norm2d(None, 4), r"`channels` \(=None\) must be an integer"),
    (lambda: cost.elementwise(4, 0), r"`output_size` \(=0\) must be at least 1"),
    (lambda: cost.bytes_moved(None, 1), r"`cost` \(=None\) must be a Cost"),
    (lambda: cost.bytes_moved(Cost(1, 1, 1), -1), r"`inputs` \(=-1\) must be at least 0"),
    (lambda: cost.intensity(Cost(1, 1, 1), 1, bytes_per_element=0), r"`bytes_per_element` \(=0\) must be at least 1"),
])
def test_formulas_refuse_what_is_impossible(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_intensity_is_operations_for_each_byte():
    layer = cost.conv2d(2, 3, 1, 4)  # 2 · 16 inputs, 6 weights, 3 · 16 outputs, 96 multiply-adds
    assert cost.bytes_moved(layer, 32) == 4 * (32 + 6 + 48) == 2 * cost.bytes_moved(layer, 32, bytes_per_element=2)
    assert cost.intensity(layer, 32) == 2 * 96 / 344
    assert cost.intensity(Cost(), 0) == 0.0


# --- the trace of networks -------------------------------------------------------------

SIZES = {"xception": 299}


@pytest.fixture(scope="module", params=models.NETWORKS)
def network(request):
    with torch.device("meta"):
        return request.param, models.build(request.param)


@pytest.mark.parametrize("training", [False, True])
def test_trace_equals_torch_s_counter_on_every_network(network, training):
    name, module = network
    module.train(training)
    size = SIZES.get(name, 224)
    table = cost.trace(module, (2, 3, size, size))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(2, 3, size, size, device="meta"))
    assert 2 * table.total.macs == counter.get_total_flops()
    unused = 0
    if name == "googlenet" and not training:  # its auxiliary heads do not run
        unused = sum(p.numel() for key, p in module.named_parameters() if key.startswith("aux"))
    assert table.total.params == sum(p.numel() for p in module.parameters()) - unused


def test_trace_equals_the_formulas_on_every_layer(network):
    name, module = network
    module.eval()
    size = SIZES.get(name, 224)
    layers, seen, counted = dict(module.named_modules()), set(), 0
    for row in cost.trace(module, (1, 3, size, size)):
        layer, sizes = layers[row.name], row.output_shape
        first = row.name not in seen
        seen.add(row.name)
        if row.kind == "Conv2d":
            wanted = cost.conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, sizes[2:], groups=layer.groups,
                bias=layer.bias is not None,
            )
        elif row.kind == "Linear":
            wanted = cost.linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        elif row.kind == "BatchNorm2d":
            wanted = cost.batch_norm2d(layer.num_features, sizes[2:])
        elif len(sizes) == 4:
            wanted = cost.elementwise(*sizes[1:2], sizes[2:])
        else:
            continue
        counted += 1
        assert first or not wanted.params, f"{row.name} runs twice"
        assert row.cost == wanted, row
    assert counted > 15


def test_trace_of_resnet50_is_quick():
    """0.5 s is the aim; five times that leaves room for a busy machine, not for another algorithm."""
    with torch.device("meta"):
        module = models.build("resnet50").eval()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        cost.trace(module, (1, 3, 224, 224))
        best = min(best, time.perf_counter() - start)
    assert best < 2.5


# --- the trace of other modules --------------------------------------------------------


class Odd(nn.Module):
    """Parameters of its own, a shared layer, functional operations, a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.Linear(10, 10)

    def forward(self, x):
        y = self.conv(self.conv(x)) + x
        y = F.conv2d(y, self.conv.weight[:2], stride=2) * self.scale[:2]
        return torch.cat([y, y], 1).flatten(1) @ torch.ones(4, 3)


def test_trace_of_a_module_with_operations_of_its_own():
    table = cost.trace(Odd(), (1, 4, 4, 4))
    rows = [(row.name, row.kind, row.output_shape) for row in table]
    assert rows == [
        ("conv", "Conv2d", (1, 4, 4, 4)), ("conv", "Conv2d", (1, 4, 4, 4)), ("", "add", (1, 4, 4, 4)),
        ("", "convolution", (1, 2, 1, 1)), ("", "mul", (1, 2, 1, 1)), ("", "cat", (1, 4, 1, 1)), ("", "mm", (1, 3)),
    ]
    assert [row.cost.params for row in table] == [4 * 4 * 9 + 4, 0, 0, 0, 4, 0, 0]  # each where it is first used
    assert [row.cost.macs for row in table] == [144 * 16, 144 * 16, 0, 2 * 36, 0, 0, 12]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_trace_is_the_same_with_real_tensors(device):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    real = cost.trace(module, (2, 3, 8, 8))
    other = cost.trace(module.to(device), torch.zeros(2, 3, 8, 8, device=device))
    assert repr(real) == repr(other)
    assert real.total == Cost(3 * 4 * 9 + 4 + 8 + 720 + 5, 2 * (108 * 36 + 720), 2 * (4 * 36 * 4 + 5))


def test_trace_leaves_no_trace():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    cost.trace(module, (2, 3, 8, 8))
    assert torch.equal(torch.rand(2), wanted)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not module[0]._forward_hooks and not module[0]._forward_pre_hooks and module.training


def test_trace_takes_its_hooks_away_when_the_module_fails():
    module = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        cost.trace(module, (1, 5))
    assert not module[0]._forward_hooks and not module[0]._forward_pre_hooks


def test_trace_of_several_inputs_and_of_whole_numbers():
    both = nn.Bilinear(3, 4, 5)
    assert cost.trace(both, [(2, 3), (2, 4)]).total.params == 3 * 4 * 5 + 5
    words = cost.trace(nn.Embedding(10, 4), torch.tensor([[1, 2, 3]]))
    assert words.total == Cost(40, 0, 12)


def test_trace_is_the_same_in_inference_mode():
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    wanted = cost.trace(layer, (1, 3, 8, 8))
    with torch.inference_mode():
        assert repr(cost.trace(layer, (1, 3, 8, 8))) == repr(wanted)


@pytest.mark.parametrize("make, sizes, macs", [
    (lambda: nn.LSTM(5, 7), (2, 3, 5), 6 * 4 * 7 * (5 + 7)),
    (lambda: nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], 2 * 5 * 3 * 4),
    (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [(1, 3, 8)] * 3, 4 * 3 * 64 + 2 * 9 * 8),
])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("training", [False, True])
def test_trace_counts_what_runs_as_one_operation(make, sizes, macs, device, training):
    layer = make().to(device).train(training)
    total = cost.trace(layer, sizes).total
    assert total.macs == macs and total.params == sum(p.numel() for p in layer.parameters())


def test_trace_leaves_buffers_of_any_module_as_they_were():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(()))
            self.register_buffer("m", torch.zeros(()))

        def forward(self, x):
            self.n.add_(1)
            self.m = self.m + 1
            return x * 2

    module = nn.Sequential(nn.BatchNorm2d(3), Counter()).eval()
    module[0].train()
    before = copy.deepcopy(module.state_dict())
    kept = module[1].m
    cost.trace(module, (2, 3, 4, 4))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert module[1].m is kept


def test_trace_goes_on_after_an_exception_that_is_caught():
    class Bad(nn.Module):
        def forward(self, x):
            raise KeyError

    class Try(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.layer = Bad(), nn.Linear(4, 4)

        def forward(self, x):
            try:
                x = self.bad(x)
            except KeyError:
                pass
            return self.layer(x + 1) * 2

    table = cost.trace(Try(), (1, 4))
    assert [(row.name, row.kind) for row in table] == [("", "add"), ("layer", "Linear"), ("", "mul")]


def test_trace_counts_an_outer_product():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Identity()

        def forward(self, a, b):
            return torch.addr(torch.zeros(4, 5), a, self.part(b))

    assert cost.trace(Outer(), [(4,), (5,)]).total.macs == 20


def test_trace_counts_attention():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    total = cost.trace(layer, (2, 5, 16)).total
    # projections 4 · 16², two products of 5 × 5 × 16, the two linear layers
    assert total.macs == 2 * (5 * 4 * 256 + 2 * 25 * 16 + 5 * 2 * 16 * 32)
    assert total.params == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("module, size, sentence", [
    (nn.ReLU, (1, 2), "`module` .a type. must be a torch.nn.Module"),
    (nn.ReLU(), 5, "`input_size` .=5. must be a shape"), (nn.ReLU(), (1, 2.5), "`input_size` .=2.5. must be an integer"),
    (nn.ReLU(), (), "`input_size` .=... must be a shape"), (nn.ReLU(), [], "`input_size` .=... must be a shape"),
    (nn.ReLU(), (1, -2), "`input_size` .=-2. must be at least 0"), (nn.ReLU(), "12", "`input_size` .='12'. must be a shape"),
])
def test_trace_refuses_what_it_cannot_run(module, size, sentence):
    with pytest.raises(ValueError, match=sentence):
        cost.trace(module, size)


# --- the table -------------------------------------------------------------------------


@pytest.fixture
def table():
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    return cost.trace(nn.Sequential(inner, nn.MaxPool2d(2), nn.Sequential(nn.Flatten(), nn.Linear(36, 5))), (1, 3, 8, 8))


def test_trace_reads_as_a_table(table):
    lines = repr(table).splitlines()
    assert lines[0].split() == ["name", "kind", "output", "parameters", "multiply-adds", "activations"]
    assert lines[2] == "0.0    Conv2d     1 × 4 × 6 × 6         112          3,888          144"
    assert lines[-1].split() == ["total", "297", "4,068", "365"] and len(lines[-1]) == len(lines[0])
    html = table._repr_html_()
    assert html.count("<tr>") == len(table) + 2 and "3,888" in html and "1 × 4 × 6 × 6" in html


def test_trace_groups_by_module(table):
    grouped = table.grouped()
    assert [(row.name, row.kind) for row in grouped] == [("0", "2 layers"), ("1", "1 layer"), ("2", "2 layers")]
    assert grouped.total == table.total and grouped[0].cost == table[0].cost + table[1].cost
    assert [row.name for row in table.grouped(2)] == [row.name for row in table]


def test_row_knows_its_bytes_and_intensity(table):
    row = table[0]
    assert row.inputs == 192 and row.bytes_moved() == 4 * (192 + 112 + 144)
    assert row.intensity(2) == 2 * 3888 / (2 * 448)
