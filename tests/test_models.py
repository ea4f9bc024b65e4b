"""The networks against the published weights' names and shapes, published counts, and bad input.

`python tests/test_models.py` writes tests/data/golden_networks.json anew; see `fingerprint`.
"""

import copy
import importlib
import io
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cvnotes import cost, models
from cvnotes.models.effnet import EffNetBlock
from cvnotes.models.googlenet import GoogLeNetOutputs, Inception
from cvnotes.models.inference import foldable
from cvnotes.models.mobilenet_v1 import DepthwiseSeparable
from cvnotes.models.mobilenet_v2 import InvertedResidual
from cvnotes.models.mobilenet_v3 import InvertedResidual as InvertedResidualV3
from cvnotes.models.network import make_divisible
from cvnotes.models.resnet import BasicBlock, Bottleneck
from cvnotes.models.shufflenet_v1 import ShuffleUnit
from cvnotes.models.squeezenet1_0 import Fire
from cvnotes.models.xception import XceptionBlock

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden_networks.json"
NAMES = list(models.NETWORKS)
PUBLISHED = (
    "vgg16", "googlenet", "squeezenet1_0", "resnet18", "resnet50",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
)
SIDES = {"xception": 299, "effnet": 32}  # the papers' images, where they are not 224 × 224


def on_meta(name, num_classes=1000, **options):
    """Return the network as shapes alone, in evaluation mode."""
    with torch.device("meta"):
        return models.build(name, num_classes, **options).eval()


def images(*shape, seed=0, **how):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **how)


def multiply_adds(network, side):
    """Return what torch's own counter finds; it counts two operations for a multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def documentation(name):
    """Return the docstring of the network's module."""
    return importlib.import_module(f"cvnotes.models.{models.NETWORKS[name].split('.')[0]}").__doc__


# --- the published weights --------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_is_that_of_the_published_weights(name):
    published = json.loads((DATA / f"state_dict_{name}.json").read_text())
    network = on_meta(name)
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(ours.items()) == list(published["state_dict"].items())  # names, shapes and order
    assert parameters(network) == published["parameters"]


# --- counts -----------------------------------------------------------------------------

# Parameters, multiply-adds at the paper's image size, and what is published: (parameters, multiply-adds)
# in millions, None for none. Counts: torchvision's documentation of its weights where it has the network.
COUNTS = {
    "vgg16": (138_357_544, 15_470_264_320, (138, None)),  # Simonyan and Zisserman, table 2
    "nin": (7_595_176, 1_100_188_800, (None, None)),
    "googlenet": (13_004_888, 1_498_376_192, (None, 1500)),  # Szegedy et al. 2015: 1.5 billion
    "squeezenet1_0": (1_248_424, 818_924_576, (1.248424, None)),  # Iandola et al., table 1
    "xception": (22_855_952, 8_357_403_496, (22.855952, None)),  # Chollet, table 3
    "resnet18": (11_689_512, 1_814_073_344, (None, 1800)),  # He et al. 2016, table 1
    "resnet50": (25_557_032, 4_089_184_256, (None, 3800)),  # He et al. 2016, table 1; see below
    "mobilenet_v1": (4_231_976, 568_740_352, (4.2, 569)),  # Howard et al. 2017, table 4
    "mobilenet_v2": (3_504_872, 300_774_272, (3.4, 300)),  # Sandler et al., table 4
    "mobilenet_v3_large": (5_483_032, 216_589_760, (5.4, 219)),  # Howard et al. 2019, table 3
    "mobilenet_v3_small": (2_542_856, 56_510_400, (2.5, 56)),  # Howard et al. 2019, table 3
    "shufflenet_v1": (1_865_728, 137_460_672, (None, 137)),  # Zhang et al., table 1
    "effnet": (151_146, 5_640_192, (None, 5.7)),  # Freeman et al.: 11.4 million operations
}


def counted(name):
    return on_meta(name, 10 if name == "effnet" else 1000), SIDES.get(name, 224)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones(name):
    network, _ = counted(name)
    count, _, (published, _) = COUNTS[name]
    assert parameters(network) == count
    assert f"{count:,}" in documentation(name)
    if published:
        assert count / 1e6 == pytest.approx(published, rel=0.035)  # the papers round, V2's most


@pytest.mark.parametrize("name", NAMES)
def test_multiply_adds_are_the_published_ones(name):
    network, side = counted(name)
    _, count, (_, published) = COUNTS[name]
    assert multiply_adds(network, side) == count
    assert f"{count:,}" in documentation(name)
    if published:
        assert count / 1e6 == pytest.approx(published, rel=0.08 if name == "resnet50" else 0.012)


@pytest.mark.parametrize("name", NAMES)
def test_trace_counts_what_torch_counts(name):
    network, side = counted(name)
    total = cost.trace(network, (1, 3, side, side)).total
    heads = sum(parameters(head) for head in (getattr(network, "aux1", None), getattr(network, "aux2", None)) if head)
    assert (total.macs, total.params) == (COUNTS[name][1], COUNTS[name][0] - heads)


def test_googlenet_without_heads_has_the_published_parameters():
    network = on_meta("googlenet")
    assert parameters(network) - parameters(network.aux1) - parameters(network.aux2) == 6_624_904
    assert "6,624,904" in documentation("googlenet")


def test_resnet50_with_the_papers_strides_has_the_papers_multiply_adds():
    network = on_meta("resnet50")
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    count = multiply_adds(network, 224)
    assert count == 3_857_973_248 and f"{count:,}" in documentation("resnet50")
    assert math.floor(count / 1e8) == 38  # He et al. 2016, table 1: 3.8 · 10⁹


@pytest.mark.parametrize("width_mult, millions, params", [  # Howard et al. 2017, tables 6 and 7
    (1.0, 569, 4.2), (0.75, 325, 2.6), (0.5, 149, 1.3), (0.25, 41, 0.5),
])
def test_mobilenet_v1_thinned_costs_what_the_paper_says(width_mult, millions, params):
    network = on_meta("mobilenet_v1", width_mult=width_mult)
    assert multiply_adds(network, 224) // 1e6 in (millions - 1, millions)  # rounded by some, cut by others
    assert parameters(network) / 1e6 == pytest.approx(params, abs=0.05)


@pytest.mark.parametrize("side, millions", [(192, 418), (160, 290), (128, 186)])  # Howard et al. 2017, table 7
def test_mobilenet_v1_on_smaller_images_costs_what_the_paper_says(side, millions):
    assert round(multiply_adds(on_meta("mobilenet_v1"), side) / 1e6) in (millions, millions + 1)


@pytest.mark.parametrize("width_mult, widths", [  # Sandler et al. have 1.4 and 0.35 in their figures
    (1.0, (32, 16, 24, 32, 64, 96, 160, 320, 1280)),
    (0.35, (16, 8, 8, 16, 24, 32, 56, 112, 1280)),
    (1.4, (48, 24, 32, 48, 88, 136, 224, 448, 1792)),
])
def test_mobilenet_v2_rounds_widths_as_the_paper_does(width_mult, widths):
    network = on_meta("mobilenet_v2", width_mult=width_mult)
    blocks = [layer.conv[-1].num_features for layer in network.features if isinstance(layer, InvertedResidual)]
    ours = [network.features[0][0].out_channels]
    for first in (0, 1, 3, 6, 10, 13, 16):  # the first block of each row of the table
        ours.append(blocks[first])
    assert (*ours, network.features[-1][0].out_channels) == widths


def test_make_divisible_takes_at_most_a_tenth_away():
    for width in np.arange(1, 400, 0.25):
        rounded = make_divisible(width)
        assert rounded % 8 == 0 and rounded >= 0.9 * width and abs(rounded - width) <= 8


@pytest.mark.parametrize("groups, published", [  # Zhang et al., table 1
    (1, 143), (2, 140), (3, 137), (4, 133), (8, 137),
])
def test_shufflenet_has_the_papers_multiply_adds_without_its_linear_layer(groups, published):
    network = on_meta("shufflenet_v1", groups=groups)
    count = multiply_adds(network, 224) - network.fc.weight.numel()
    assert math.floor(count / 1e6 + 0.5) == published


# --- sizes, as the papers' tables have them ---------------------------------------------

# Channels and side after the named modules, in the papers' tables or figures.
STAGES = {
    "vgg16": {"features": (512, 7)},
    "nin": {"mlpconv1": (96, 54), "pool1": (96, 27), "pool2": (256, 13), "pool3": (384, 6)},
    "googlenet": {
        "conv1": (64, 112), "maxpool1": (64, 56), "conv3": (192, 56), "maxpool2": (192, 28),
        "inception3a": (256, 28), "inception3b": (480, 28), "maxpool3": (480, 14), "inception4a": (512, 14),
        "inception4b": (512, 14), "inception4c": (512, 14), "inception4d": (528, 14), "inception4e": (832, 14),
        "maxpool4": (832, 7), "inception5a": (832, 7), "inception5b": (1024, 7),
    },
    "squeezenet1_0": {"features.2": (96, 54), "features.6": (256, 27), "features.11": (512, 13)},
    "xception": {
        "entry.2": (32, 149), "entry.5": (64, 147), "entry.6": (128, 74), "entry.7": (256, 37), "entry.8": (728, 19),
        "middle": (728, 19), "exit.0": (1024, 10), "exit.2": (1536, 10), "exit": (2048, 10),
    },
    "resnet18": {"conv1": (64, 112), "layer1": (64, 56), "layer2": (128, 28), "layer3": (256, 14), "layer4": (512, 7)},
    "resnet50": {"layer1": (256, 56), "layer2": (512, 28), "layer3": (1024, 14), "layer4": (2048, 7)},
    "mobilenet_v1": {
        "features.0": (32, 112), "features.1": (64, 112), "features.3": (128, 56), "features.5": (256, 28),
        "features.11": (512, 14), "features.13": (1024, 7),
    },
    "mobilenet_v2": {
        "features.0": (32, 112), "features.1": (16, 112), "features.3": (24, 56), "features.6": (32, 28),
        "features.10": (64, 14), "features.13": (96, 14), "features.16": (160, 7), "features.17": (320, 7),
        "features.18": (1280, 7),
    },
    "mobilenet_v3_large": {
        "features.1": (16, 112), "features.3": (24, 56), "features.6": (40, 28), "features.10": (80, 14),
        "features.12": (112, 14), "features.15": (160, 7), "features.16": (960, 7),
    },
    "mobilenet_v3_small": {
        "features.1": (16, 56), "features.3": (24, 28), "features.6": (40, 14), "features.8": (48, 14),
        "features.11": (96, 7), "features.12": (576, 7),
    },
    "shufflenet_v1": {
        "conv1": (24, 112), "maxpool": (24, 56), "stage2": (240, 28), "stage3": (480, 14), "stage4": (960, 7),
    },
    "effnet": {"features.0": (64, 16), "features.1": (128, 8), "features.2": (256, 4)},
}


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_the_papers_table(name):
    network, side = counted(name)
    seen = {}
    for part in STAGES[name]:
        module = network.get_submodule(part)
        module.register_forward_hook(lambda _, __, y, part=part: seen.update({part: tuple(y.shape[1:])}))
    network(torch.empty(1, 3, side, side, device="meta"))
    assert seen == {part: (channels, side, side) for part, (channels, side) in STAGES[name].items()}


# --- golden values: the forward pass, digit by digit -------------------------------------


def noise(n, seed):
    """Return n numbers in −0.5 … 0.5, always the same on every machine: a hash (splitmix64) of their index.

    They repeat after 65,537, so that VGG16's 138 million are quickly there.
    """
    with np.errstate(over="ignore"):
        z = (np.arange(min(n, 65_537), dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return torch.from_numpy(np.resize((z >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 0.5, n))


@torch.no_grad()
def fill(network):
    """Set parameters and buffers, in the order of the state_dict, by the formula of their index."""
    for seed, (key, value) in enumerate(network.state_dict().items()):
        if not value.is_floating_point():
            value.zero_()
            continue
        u = noise(value.numel(), seed).reshape(value.shape)
        if value.dim() > 1:
            value.copy_(u * math.sqrt(24 / value[0].numel()))  # variance 2 / inputs
        elif key.endswith(("running_var", "weight")):
            value.copy_(1 + u)
        else:
            value.copy_(u / 4)


@torch.no_grad()
def fingerprint(network):
    """Return numbers that pin the forward pass, in float64, in evaluation and in training mode.

    The network is filled by `fill`, dropout is off, images are noise. In training mode
    one pass also moves the running statistics of batch norm, whose means over all layers are given.
    """
    network.double()
    x = 4 * noise(2 * 3 * 72 * 85, 999).reshape(2, 3, 72, 85)  # a size at which each rounding of a pooling shows
    found = {}
    fill(network)
    for mode in ("evaluation", "training"):
        network.train(mode == "training")
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        y = network(x)
        for i, logits in enumerate(y if isinstance(y, tuple) else (y,)):
            size = logits.square().mean().sqrt()
            found[f"{mode} {i}"] = [v.item() for v in (logits[0, 0], logits[1, -1], logits.mean(), size)]
    for end in ("running_mean", "running_var"):
        values = [value.mean() for key, value in network.state_dict().items() if key.endswith(end)]
        if values:
            found[end] = torch.stack(values).mean().item()
    return found


def empty(name):
    """Return the network with ten classes and whatever numbers lie in memory."""
    return on_meta(name, 10).to_empty(device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_forward_pass_gives_the_golden_values(name):
    golden = json.loads(GOLDEN.read_text())["networks"][name]
    found = fingerprint(empty(name))
    assert found.keys() == golden.keys()
    for key, numbers in golden.items():
        assert found[key] == pytest.approx(numbers, rel=1e-7, abs=1e-12), key


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_where_the_weights_were_trained_with_it(name):
    found = [module.p for module in on_meta(name).modules() if isinstance(module, nn.Dropout)]
    assert found == {
        "vgg16": [0.5, 0.5], "nin": [0.5], "googlenet": [0.7, 0.7, 0.2], "squeezenet1_0": [0.5], "xception": [0.5],
        "mobilenet_v2": [0.2], "mobilenet_v3_large": [0.2], "mobilenet_v3_small": [0.2],
    }.get(name, [])


# --- training ---------------------------------------------------------------------------


def waves(side=40):
    """Return eight images of waves, which run in one of four directions, and their directions."""
    axis = torch.linspace(-8, 8, side)
    labels = torch.arange(8) % 4
    angles = labels[:, None, None] * (math.pi / 4)
    x = torch.sin(axis * torch.cos(angles) + axis[:, None] * torch.sin(angles))  # (8, side, side)
    return x[:, None] + 0.3 * images(8, 3, side, side), labels


def loss_of(network, x, labels):
    y = network(x)
    logits, *heads = y if isinstance(y, tuple) else (y,)
    loss = nn.functional.cross_entropy
    return loss(logits, labels) + sum(0.3 * loss(head, labels) for head in heads)


@pytest.mark.parametrize("name", NAMES)
def test_network_trains(name):
    torch.manual_seed(0)
    thin = {"width_mult": 0.5} if name in ("mobilenet_v1", "mobilenet_v2") else {}
    network = models.build(name, 4, **thin)
    rate = 3e-4 if name in ("nin", "squeezenet1_0") else 1e-3  # without batch norm, smaller steps
    if name == "vgg16":  # Adam would hold 138 million parameters four times
        optimiser = torch.optim.SGD(network.parameters(), rate)
    else:
        optimiser = torch.optim.Adam(network.parameters(), rate)
    x, labels = waves()
    losses = []
    for _ in range(6):
        network.train()
        for module in network.modules():  # without dropout, whose chance could hide that the loss falls
            if isinstance(module, nn.Dropout):
                module.eval()
        losses.append(loss_of(network, x, labels))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1].item() < 0.95 * losses[0].item(), [loss.item() for loss in losses]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v1"])
def test_weights_are_drawn_as_it_is_said(name):
    torch.manual_seed(0)
    network = models.build(name)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            inputs = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.06)
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.02)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            assert not module.bias.any()


def test_seed_makes_the_weights_repeatable():
    def drawn(seed):
        torch.manual_seed(seed)
        return models.build("effnet").features[0][0].weight

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("name, last", [("nin", "mlpconv4.4"), ("squeezenet1_0", "classifier.1")])
def test_logits_before_a_relu_begin_alive(name, last):
    torch.manual_seed(0)
    network = models.build(name, 10).eval()
    assert network.get_submodule(last).bias.eq(1).all()
    assert network(images(4, 3, 64, 64)).min() > 0


# --- what a network is asked ------------------------------------------------------------


def test_import_is_cheap_and_without_torch():
    code = "import sys, cvnotes.models\nprint('torch' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_googlenet_gives_its_heads_in_training_mode_alone():
    network = on_meta("googlenet", 5)
    x = torch.empty(2, 3, 64, 64, device="meta")
    assert network(x).shape == (2, 5)
    outputs = network.train()(x)
    assert type(outputs) is GoogLeNetOutputs and outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [y.shape for y in outputs] == [(2, 5)] * 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_empty_batch_is_a_valid_batch(name, training):
    network = on_meta(name, 3).train(training)
    if name != "vgg16":  # numbers that are heavy, and change nothing here
        network = network.to_empty(device="cpu")
        network.load_state_dict({key: torch.zeros_like(value) for key, value in network.state_dict().items()})
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    y = network(torch.empty(0, 3, 64, 64, device=next(network.parameters()).device))
    for logits in y if isinstance(y, tuple) else (y,):
        assert logits.shape == (0, 3)
    if name != "vgg16":
        assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vgg16"])
def test_copies_and_stored_weights_compute_the_same(name):
    torch.manual_seed(0)
    network = models.build(name, 3).eval()
    x = images(1, 3, 64, 48)
    with torch.no_grad():
        y = network(x)
        assert torch.equal(copy.deepcopy(network)(x), y)
        assert torch.equal(pickle.loads(pickle.dumps(network))(x), y)
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        loaded = on_meta(name, 3)
        loaded.load_state_dict(torch.load(file), assign=True)
        assert torch.equal(loaded(x), y)
    assert network(x).requires_grad  # outside of no_grad


def test_network_runs_under_autocast():
    network = models.build("effnet", 3).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(images(1, 3, 32, 32)).dtype == torch.bfloat16


@pytest.mark.parametrize("block, channels, shape", [
    (BasicBlock(6, 6), 6, (6, 9, 7)),
    (BasicBlock(6, 8, stride=2), 6, (8, 5, 4)),
    (Bottleneck(6, 4), 6, (16, 9, 7)),
    (Bottleneck(16, 4), 16, (16, 9, 7)),
    (Bottleneck(6, 4, stride=2), 6, (16, 5, 4)),
    (InvertedResidual(6, 6), 6, (6, 9, 7)),
    (InvertedResidual(6, 10, stride=2, expansion=3), 6, (10, 5, 4)),
    (InvertedResidual(6, 4, expansion=1), 6, (4, 9, 7)),
    (InvertedResidualV3(6, 16, 6, kernel_size=5, excite=True, activation=nn.Hardswish), 6, (6, 9, 7)),
    (DepthwiseSeparable(6, 10, stride=2), 6, (10, 5, 4)),
    (Inception(6, 1, 2, 3, 4, 5, 6), 6, (15, 9, 7)),
    (Fire(6, 2, 3, 4), 6, (7, 9, 7)),
    (ShuffleUnit(12, 12, groups=3), 12, (12, 9, 7)),
    (ShuffleUnit(6, 24, groups=3, stride=2), 6, (24, 5, 4)),
    (ShuffleUnit(4, 16, groups=2, stride=2, first_groups=1), 4, (16, 5, 4)),
    (XceptionBlock(6, (4, 6)), 6, (6, 9, 7)),
    (XceptionBlock(6, (4, 10), halve=True), 6, (10, 5, 4)),
    (EffNetBlock(6, 10), 6, (10, 4, 3)),
])
def test_block_stands_by_itself(block, channels, shape):
    x = images(2, channels, 9, 7)
    given = x.clone()
    assert block(x).shape == (2, *shape)
    assert torch.equal(x, given)  # nothing is written into the input


def test_xception_shortcut_takes_the_input_before_its_relu():
    block = XceptionBlock(3, (3, 3)).eval()
    nn.init.zeros_(block.layers[-1].pointwise.weight)
    x = images(1, 3, 5, 5)
    assert torch.equal(block(x), x)


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize("name, options, message", [
    ("resnet34", {}, "`name` (='resnet34') must be one of the known networks: vgg16, nin, googlenet, squeezenet1_0, "
     "xception, resnet18, resnet50, mobilenet_v1, mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, "
     "shufflenet_v1, effnet"),
    (None, {}, "`name` (=None) must be one of"),
    ([], {}, "`name` (=[]) must be one of"),
    ("resnet18", {"groups": 2}, "`groups` is no option of resnet18, which has none"),
    ("mobilenet_v2", {"groups": 2}, "`groups` is no option of mobilenet_v2, which has `width_mult`"),
    ("effnet", {"num_classes": 0}, "`num_classes` (=0) must be at least 1"),
    ("effnet", {"num_classes": 2.0}, "`num_classes` (=2.0) must be an integer"),
    ("mobilenet_v1", {"width_mult": 0}, "`width_mult` (=0) must be a finite number above 0"),
    ("mobilenet_v2", {"width_mult": math.nan}, "`width_mult` (=nan) must be a finite number above 0"),
    ("mobilenet_v2", {"width_mult": math.inf}, "`width_mult` (=inf) must be a finite number above 0"),
    ("mobilenet_v2", {"width_mult": 1e308}, "`width_mult` (=1e+308) must be at most 1000"),
    ("mobilenet_v2", {"width_mult": True}, "`width_mult` (=True) must be a finite number above 0"),
    ("mobilenet_v2", {"width_mult": "1"}, "`width_mult` (='1') must be a finite number above 0"),
    ("shufflenet_v1", {"groups": 5}, "`groups` (=5) must be one of 1, 2, 3, 4, 8, as in the paper"),
    ("shufflenet_v1", {"groups": 3.0}, "`groups` (=3.0) must be an integer"),
])
def test_build_refuses(name, options, message):
    with pytest.raises(ValueError) as error:
        models.build(name, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("make, message", [
    (lambda: BasicBlock(0, 4), "`in_channels` (=0) must be at least 1"),
    (lambda: Bottleneck(4, 4, stride=0), "`stride` (=0) must be at least 1"),
    (lambda: InvertedResidual(4, 4, expansion=0), "`expansion` (=0) must be at least 1"),
    (lambda: InvertedResidual(4, 4.0), "`out_channels` (=4.0) must be an integer"),
    (lambda: InvertedResidualV3(4, 0, 4), "`expanded` (=0) must be at least 1"),
    (lambda: InvertedResidualV3(4, 4, 4, kernel_size=2), "`kernel_size` (=2) must be odd"),
    (lambda: DepthwiseSeparable(4, 0), "`out_channels` (=0) must be at least 1"),
    (lambda: Inception(4, 1, 1, 1, 1, 0, 1), "`c5` (=0) must be at least 1"),
    (lambda: Fire(4, 0, 1, 1), "`squeeze` (=0) must be at least 1"),
    (lambda: XceptionBlock(4, (4, 6)), "`widths` end at 6; 4 are needed, as the input is added"),
    (lambda: XceptionBlock(4, ()), "`widths` (=()) must hold at least one width"),
    (lambda: EffNetBlock(3, 7), "`out_channels` (=7) must be even"),
    (lambda: ShuffleUnit(8, 8, groups=3), "`groups` (=3) must divide the 8 input channels"),
    (lambda: ShuffleUnit(12, 12, groups=2), "`groups` (=2) must divide the 3 channels in the middle of the block"),
    (lambda: ShuffleUnit(3, 24, groups=2, stride=2, first_groups=1), "`groups` (=2) must divide the 21 channels that"),
    (lambda: ShuffleUnit(3, 24, groups=2, stride=2, first_groups=2), "`first_groups` (=2) must divide the 3 input"),
    (lambda: ShuffleUnit(12, 24, groups=3), "`out_channels` (=24) must equal the 12 input channels at stride 1"),
    (lambda: ShuffleUnit(12, 12, stride=2), "`out_channels` (=12) must be more than the 12 input channels"),
    (lambda: ShuffleUnit(6, 6, groups=1), "`out_channels` (=6) must be a multiple of 4"),
    (lambda: ShuffleUnit(12, 12, stride=3), "`stride` (=3) must be 1 or 2"),
])
def test_blocks_refuse(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize("x, message", [
    (images(3, 32, 32), "`x` has the shape (3, 32, 32); 4 axes (N, 3, H, W) are needed"),
    (images(1, 1, 32, 32), "`x` has the shape (1, 1, 32, 32); (N, 3, H, W) is needed"),
    (images(1, 3, 0, 32), "its axis H must not be empty"),
    (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "`x` (uint8) must be of a floating-point dtype"),
    (images(1, 3, 32, 32).double(), "`x` (dtype float64) must match the network's weights (dtype float32)"),
    (np.zeros((1, 3, 32, 32), np.float32), "`x` (a ndarray) must be a tensor"),
    ([1.0], "`x` (a list) must be a tensor"),
])
def test_network_refuses_what_is_no_batch_of_images(x, message):
    network = models.build("effnet", 3)
    with pytest.raises(ValueError) as error:
        network(x)
    assert message in str(error.value)


def test_network_without_numbers_says_so():
    with pytest.raises(ValueError, match=r"`x` \(device cpu\) must match the network's weights \(device meta\)"):
        on_meta("effnet", 3)(images(1, 3, 32, 32))


# The smallest square image: for the published weights their documentation says the same (1 where nothing is said).
SMALLEST = {"vgg16": 32, "nin": 39, "googlenet": 15, "squeezenet1_0": 21, "xception": 7, "effnet": 8}


@pytest.mark.parametrize("name", NAMES)
def test_smallest_image_is_known(name):
    network, side = on_meta(name, 3), SMALLEST.get(name, 1)
    with torch.no_grad():
        assert network(torch.empty(1, 3, side, side, device="meta")).shape == (1, 3)
        if side > 1:
            message = f"the smallest square image that works has {side} × {side} pixels"
            for shape in ((side - 1, side - 1), (side - 1, 200), (200, 1)):
                with pytest.raises(ValueError, match=message):
                    network(torch.empty(1, 3, *shape, device="meta"))


@pytest.mark.parametrize("name, shape, layer", [
    ("vgg16", (20, 40), "`features.30` (MaxPool2d), which gets 1 × 2"),
    ("nin", (38, 38), "`pool3` (MaxPool2d), which gets 1 × 1"),
    ("squeezenet1_0", (6, 30), "`features.0` (Conv2d), which gets 6 × 30"),
    ("effnet", (7, 16), "`features.2.10` (Conv2d), which gets 1 × 2"),
    ("effnet", (16, 7), "`features.2.6` (MaxPool2d), which gets 4 × 1"),
])
def test_too_small_an_image_names_the_layer_that_fails(name, shape, layer):
    network = on_meta(name, 3) if name == "vgg16" else models.build(name, 3).eval()
    device = next(network.parameters()).device
    with pytest.raises(ValueError) as error:
        network(torch.zeros(1, 3, *shape, device=device))
    assert str(error.value).startswith(f"`x` has the shape {(1, 3, *shape)}, too small for the layer {layer}")
    assert isinstance(error.value.__cause__, RuntimeError)


def test_one_value_a_channel_is_too_small_for_a_batch_norm_that_trains():
    network = models.build("resnet18", 3)
    message = r"too small for the layer `layer4.0.bn1` \(BatchNorm2d\), which gets 1 × 1; .* has 33 × 33 pixels"
    with pytest.raises(ValueError, match=message):
        network(images(1, 3, 32, 32))
    assert network(images(1, 3, 33, 33)).shape == network(images(2, 3, 32, 32))[:1].shape == (1, 3)


def test_other_errors_pass_unchanged():
    network = models.build("effnet", 3)

    def fails(*_):
        raise RuntimeError("out of memory")

    handle = network.features[1].register_forward_hook(fails)
    with pytest.raises(RuntimeError, match="^out of memory$"):
        network(images(1, 3, 32, 32))
    handle.remove()
    assert network(images(1, 3, 32, 32)).shape == (1, 3)


def test_search_for_the_reason_leaves_the_network_and_its_hooks_alone():
    network = models.build("effnet", 3)
    calls = []
    network.features[0][0].register_forward_hook(lambda *_: calls.append(1))
    network.features[0][0].register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match="too small"):
        network(images(2, 3, 4, 4))
    assert len(calls) == 2  # from the call itself
    assert network.features[0][1].num_batches_tracked == 1  # and so is this


# --- for inference ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_for_inference_computes_the_same_without_batch_norm(name):
    network = empty(name).double()
    fill(network)
    before = None if name == "vgg16" else copy.deepcopy(network.state_dict())
    folded = models.for_inference(network.train())
    x = images(2, 3, 65, 51, dtype=torch.float64)
    left = [key for key, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == (["aux1.conv.bn", "aux2.conv.bn"] if name == "googlenet" else [])  # its heads don't run
    assert not folded.training and network.training
    assert before is None or all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), network.eval()(x), rtol=1e-9, atol=1e-9)
    weights = [module.weight for module in folded.modules() if isinstance(module, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


class Small(nn.Module):
    """A convolution and a batch norm, and what a test makes of them."""

    def __init__(self, forward, **norm):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2, **norm)
        self.other = nn.BatchNorm2d(2)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


@pytest.mark.parametrize("forward, folds", [
    (lambda m, x: m.bn(m.conv(x)), True),
    (lambda m, x: m.bn(m.conv(x)) + x, True),
    (lambda m, x: (m.bn(m.conv(x)), x.shape[0]), True),
    (lambda m, x: m.bn(m.conv(m.other(x))), True),
    (lambda m, x: (lambda y: m.bn(y) if y.shape[1] == 2 and y.dim() == 4 else y)(m.conv(x)), True),  # a look is no use
    (lambda m, x: (lambda y: m.bn(y) + y)(m.conv(x)), False),  # used twice: by a sum
    (lambda m, x: (lambda y: torch.cat([m.bn(y), y], 1))(m.conv(x)), False),
    (lambda m, x: (lambda y: (m.bn(y), y))(m.conv(x)), False),  # and returned
    (lambda m, x: (lambda y: (m.bn(y), y[:, :1]))(m.conv(x)), False),  # a view of it is
    (lambda m, x: (lambda y: m.bn(y) + m.other(y))(m.conv(x)), False),  # two batch norms
    (lambda m, x: m.bn(m.conv(x).relu()), False),  # not the convolution's own output
    (lambda m, x: m.bn(m.conv(x).relu_()), False),  # nor here, though it is the same tensor
    (lambda m, x: m.bn(m.conv(x)) + m.conv(x), False),  # the convolution runs twice
    (lambda m, x: m.bn(m.conv(x)) + m.bn(x), False),  # the batch norm does
    (lambda m, x: m.conv(m.bn(x)), False),
])
def test_batch_norm_is_folded_only_where_nothing_else_sees_the_convolution(forward, folds):
    torch.manual_seed(0)
    network = Small(forward).double()
    fill(network)
    assert foldable(network, (1, 2, 5, 5)) == ([("conv", "bn")] if folds else [])
    folded = models.for_inference(network, (1, 2, 5, 5))
    assert isinstance(folded.bn, nn.Identity) == folds
    x = images(2, 2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(folded(x), network.eval()(x))


def alias(network):
    network.same = network.conv


def alias_of_the_norm(network):
    network.same = network.bn


@pytest.mark.parametrize("change", [
    alias, alias_of_the_norm,
    lambda m: m.conv.register_forward_hook(lambda module, args, y: 2 * y),
    lambda m: m.bn.register_forward_pre_hook(lambda module, args: (args[0] + 1,)),
    lambda m: nn.utils.parametrizations.weight_norm(m.conv),
    lambda m: setattr(m, "run", lambda m, x: m.bn(m.conv(x)) + m.conv.weight.sum()),
    lambda m: setattr(m, "run", lambda m, x: m.bn(m.conv(x)) + m.bn.running_var.sum()),
    lambda m: setattr(m, "run", lambda m, x: m.bn(input=m.conv(x))),
])
def test_batch_norm_is_left_alone_where_its_pair_is_more_than_a_pair(change):
    network = Small(lambda m, x: m.bn(m.conv(x))).double()
    fill(network)
    change(network)
    assert foldable(network, (1, 2, 5, 5)) == []
    x = images(2, 2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(models.for_inference(network, (1, 2, 5, 5))(x), network.eval()(x))


def test_for_inference_takes_a_network_without_parameters():
    assert models.for_inference(nn.Sequential(nn.ReLU()))(torch.ones(1, 3, 2, 2)).sum() == 12


def test_batch_norm_without_running_statistics_is_not_folded():
    network = Small(lambda m, x: m.bn(m.conv(x)), track_running_stats=False)
    assert foldable(network, (1, 2, 5, 5)) == []


@pytest.mark.parametrize("network, size, message", [
    (lambda x: x, (1, 3, 64, 64), "`network` (a function) must be a torch.nn.Module"),
    (nn.Conv2d(3, 3, 1), (3, 64, 64), "`input_size` (=(3, 64, 64)) must be a shape (N, C, H, W)"),
    (nn.Conv2d(3, 3, 1), (1, 3, 0, 64), "`input_size` (=0) must be at least 1"),
    (on_meta("nin", 3), (1, 3, 20, 20), "the smallest square image that works has 39 × 39 pixels"),
])
def test_for_inference_refuses(network, size, message):
    with pytest.raises(ValueError) as error:
        models.for_inference(network, size)
    assert message in str(error.value)


if __name__ == "__main__":
    note = (
        "What each network, with ten classes, gives when its state_dict and the images are filled by a formula: "
        "`fingerprint` in tests/test_models.py, which writes this file when it is run as a script. Where weights "
        "are published, the networks that they belong to gave the same numbers, filled in the same way."
    )
    found = {name: fingerprint(empty(name)) for name in NAMES}
    GOLDEN.write_text(json.dumps({"note": note, "networks": found}, indent=1) + "\n")
