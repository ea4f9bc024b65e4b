"""The explorers of the Inception chapter: what they say agrees with torch's own count and with NumPy."""

import base64
import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cvnotes import cost, models
from cvnotes.conv_types.image_data import photograph
from cvnotes.inception import explorer_data, explorers

DATA = {"pixel_mixer": explorer_data.pixel_mixer, "stages": explorer_data.stages}
NAMES = ("module_budget", "break_even", "pixel_mixer", "stages")


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    bound = {name: getattr(explorers, name) for name in NAMES}
    return {name: bound[name].with_data(DATA[name]()) if name in DATA else bound[name] for name in NAMES}


def states(explorer, count):
    """Yield random states of an explorer."""
    draw = random.Random(explorer.name)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def numbers(sentence):
    """Return the numbers of a sentence, in order."""
    found = re.findall(r"−?\d[\d,]*(?:\.\d+)?", sentence)
    return [float(text.replace(",", "").replace("−", "-")) for text in found]


def counted(module, shape):
    """Return multiply-adds and weights of a module, by torch's own counter (two operations a multiply-add)."""
    with FlopCounterMode(display=False) as counter:
        module.to("meta")(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2, sum(weight.numel() for weight in module.parameters())


def conv(channels, filters, kernel):
    return nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False)


# --- what all have in common -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    for state in states(made[name], 60):
        picture, sentence, failed = made[name].render(state)
        assert (picture, sentence, failed) == made[name].render(state)
        assert not failed and picture.startswith("<svg") and picture.count("<") - picture.count("</") <= 150
        assert "NaN" not in picture + sentence and re.search(r"\d", sentence)
        assert not re.search(r' (?:width|height|r)="-', picture)


@pytest.mark.parametrize("name", DATA)
def test_data_are_the_same_to_the_byte(made, name):
    assert repr(DATA[name]()) == repr(made[name].data)


@pytest.mark.parametrize("name", NAMES)
def test_a_click_gives_controls_values_that_they_have(made, name):
    seen = set()
    for state in states(made[name], 30):
        for pairs in re.findall(r'data-set="([^"]+)"', made[name](**state)[0]):
            for pair in pairs.replace("&amp;", "&").split("&"):
                control, value = pair.split("=")
                assert value in [str(one) for one in made[name].controls[control]]
                seen.add(control)
    assert seen


@pytest.mark.parametrize("name", ("break_even", "pixel_mixer"))
def test_a_drag_moves_a_control_by_one_value_a_step(made, name):
    for state in states(made[name], 30):
        picture = made[name](**state)[0]
        drags = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*? data-drag-x="(\w+) ([\d.]+) ([\d.]+)"', picture)
        assert drags
        for x, _, control, origin, step in drags:
            index = made[name].controls[control].index(state[control])
            # coordinates have two decimals, and so has the step: 511 steps may be 2.5 units off
            assert abs(float(x) - float(origin) - index * float(step)) <= 0.02 + 0.005 * index


# --- the module --------------------------------------------------------------------------


class Module(nn.Module):
    """An Inception module of one's own: convolutions without biases, for their sizes alone."""

    def __init__(self, channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, naive):
        super().__init__()
        if naive:
            branches = [conv(channels, ch1x1, 1), conv(channels, ch3x3, 3), conv(channels, ch5x5, 5)]
            self.branches = nn.ModuleList([*branches, nn.MaxPool2d(3, 1, 1)])
        else:
            self.branches = nn.ModuleList([
                conv(channels, ch1x1, 1),
                nn.Sequential(conv(channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
                nn.Sequential(conv(channels, ch5x5red, 1), conv(ch5x5red, ch5x5, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(channels, pool_proj, 1)),
            ])

    def forward(self, x):
        self.outputs = [branch(x) for branch in self.branches]
        return torch.cat(self.outputs, 1)


def test_module_budget_agrees_with_the_count_of_torch():
    seen = set()
    wide = {**explorers.module_budget.defaults, "ch3x3red": 256, "ch5x5red": 192}
    for state in (*states(explorers.module_budget, 25), wide):
        size, _, channels = [int(text) for text in re.findall(r"\d+", state["input"].partition(":")[2])]
        widths = [state[name] for name in explorers.WIDTHS]
        found = {}
        for form in ("reduced", "naive"):
            module = Module(channels, *widths, form == "naive")
            macs, weights = counted(module, (1, channels, size, size))
            found[form] = macs, weights, sum(output.shape[1] for output in module.outputs)
        this, other = state["module"], {"naive": "reduced", "reduced": "naive"}[state["module"]]
        picture, sentence = explorers.module_budget(**state)
        head = sentence.partition(": ")[2]
        assert numbers(head)[:8] == [*found[this], size, size, *found[other]]
        share = 100 * (1 - found["reduced"][0] / found["naive"][0])
        verb = "save" if share >= 0 else "add"
        assert f"convolutions {verb} {explorers.number(abs(share), 1)}% " in sentence
        for branch in module.branches:  # the naive ones: their numbers stand in the picture, whatever the form
            macs, _ = counted(branch, (1, channels, size, size))
            assert f"{macs:,}<" in picture
        seen.add((this, share >= 0))
    assert len(seen) >= 3


def test_module_budget_shows_the_case_of_the_paper():
    _, sentence = explorers.module_budget()
    for words in ("128,049,152", "163,328", "303,464,448", "387,072", "from 120,422,400 to 12,443,648",
                  "57.8%", "256 channels", "416", "GoogLeNet's widths for 3a"):
        assert words in sentence
    _, sentence = explorers.module_budget(ch5x5red=160)
    assert "Through 160 channels the 5×5 branch gains nothing; up to 154 would save. " in sentence


def test_module_budget_has_the_widths_of_googlenet():
    with torch.device("meta"):
        network = models.build("googlenet").eval()
    sizes = {row.name: row.output_shape for row in cost.trace(network, (1, 3, 224, 224))}
    for name, (size, channels, *widths) in explorers.MODULES.items():
        module = getattr(network, f"inception{name}")
        ones = [module.branch1, *module.branch2, *module.branch3, module.branch4[1]]
        assert widths == [one.conv.out_channels for one in ones] and channels == module.branch1.conv.in_channels
        assert sizes[f"inception{name}"] == (1, widths[0] + widths[2] + widths[4] + widths[5], size, size)
        state = {"input": explorers.INPUTS[name], **dict(zip(explorers.WIDTHS, widths))}
        assert f"GoogLeNet's widths for {name}." in explorers.module_budget(**state)[1]


def test_module_budget_refuses_what_is_no_width():
    for state in ({"ch5x5red": 0}, {"ch3x3": -16}, {"ch1x1": 1.5}):
        with pytest.raises(ValueError, match="`out_channels`|`in_channels`"):
            explorers.module_budget(**state)


# --- break-even --------------------------------------------------------------------------


def test_break_even_agrees_with_the_count_of_torch():
    for state in states(explorers.break_even, 40):
        kernel, channels, filters, reduction = state.values()
        shape = (1, channels, 28, 28)
        direct, _ = counted(conv(channels, filters, kernel), shape)
        first, second = conv(channels, reduction, 1), conv(reduction, filters, kernel)
        through, _ = counted(nn.Sequential(first, second), shape)
        _, sentence = explorers.break_even(**state)
        assert f": {direct:,} multiply-adds. " in sentence and f" = {through:,}, " in sentence
        each = np.arange(1, 600)  # by trying all
        costs = 784 * each * (channels + kernel * kernel * filters)
        most = int(each[costs < direct].max())
        assert f"a reduction to at most {most} channels saves" in sentence
        assert (through < direct) == (reduction <= most)


def test_break_even_shows_the_case_of_the_notes():
    _, sentence = explorers.break_even()
    assert "120,422,400 multiply-adds. Through 16 channels: " in sentence
    assert "2,408,448 + 10,035,200 = 12,443,648, 10.3% of it" in sentence
    assert "= 153,600 / 992 = 154.8: a reduction to at most 154 channels saves" in sentence
    _, sentence = explorers.break_even(kernel=1, channels_in=16, channels_out=16, reduction=8)
    assert "100.0% of it" in sentence and "= 8: a reduction to at most 7 channels" in sentence  # the same is not less


def test_break_even_marks_the_crossing_where_the_costs_meet():
    for state in states(explorers.break_even, 40):
        picture, _ = explorers.break_even(**state)
        # the line through R, from nothing at R = 0, the level line, and the ring where they meet
        (x1, y1, x2, y2), = re.findall(
            r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" stroke="var\(--cv-kernel', picture
        )
        level = float(re.search(r'<line x1="14" y1="([\d.]+)" x2="386" y2="\1" stroke="var\(--cv-ink', picture)[1])
        x, y = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5.5"', picture).groups()
        slope = (float(y2) - float(y1)) / (float(x2) - float(x1))
        assert abs(float(y1) + slope * (float(x) - float(x1)) - float(y)) < 0.5 and abs(float(y) - level) < 0.02


def test_break_even_refuses_what_is_no_channel():
    with pytest.raises(ValueError, match="`out_channels` .=0."):
        explorers.break_even(reduction=0)


# --- the pixel mixer ---------------------------------------------------------------------


def maps_of(data, kind):
    """Return the three maps `(3, side, side)`, read from the bitmap as a browser does."""
    file = base64.b64decode(data["header"].partition(",")[2] + data[kind]["pixels"])
    start, width, height = (int.from_bytes(file[i:i + 4], "little", signed=True) for i in (10, 18, 22))
    assert (width, -height, start) == (data["side"], data["side"], 54) and file[:2] == b"BM"
    pixels = np.frombuffer(file[start:], np.uint8).reshape(-height, width, 3)
    return pixels[..., ::-1].transpose(2, 0, 1).astype(float)


def test_pixel_mixer_maps_are_the_photograph_and_its_edges(made):
    data = made["pixel_mixer"].data
    assert (maps_of(data, "colours") == photograph(96, grey=False).transpose(2, 0, 1)).all()
    grey = torch.from_numpy(photograph(96)).double()[None, None]
    sobel = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).double()
    w = torch.stack([sobel, -sobel, sobel.T])[:, None]
    edges = F.relu(F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), w))[0]
    assert (maps_of(data, "edges") == np.minimum(255, (edges.numpy() / 2) // 1)).all()
    for kind in explorers.MIXES:
        assert data[kind]["sums"] == maps_of(data, kind).sum((1, 2)).tolist()


def test_pixel_mixer_sum_agrees_with_a_convolution(made):
    data = made["pixel_mixer"].data
    for state in states(made["pixel_mixer"], 60):
        weights, place = [state[name] for name in ("w1", "w2", "w3")], (state["y"], state["x"])
        x = torch.from_numpy(maps_of(data, state["maps"]))[None]
        w = torch.tensor(weights, dtype=torch.float64).reshape(1, 3, 1, 1)
        y = F.conv2d(x, w, torch.tensor([float(state["bias"])], dtype=torch.float64))[0, 0]
        _, sentence = made["pixel_mixer"](**state)
        at, mean = y[place].item(), y.mean().item()
        equation = sentence.partition(", and ReLU")[0].partition(". The same")[0]
        assert numbers(equation)[-1] == pytest.approx(at, abs=1e-9)
        assert numbers(equation)[3:8:2] == x[0, :, place[0], place[1]].tolist()
        if state["relu"]:
            assert numbers(sentence.partition("makes it ")[2])[0] == pytest.approx(max(0, at), abs=1e-9)
        assert numbers(sentence.partition(" give ")[2])[0] == pytest.approx(mean, abs=0.0501)


def mixed(picture, x):
    """Return the last map of a picture as a browser mixes it from x `(3, H, W)`, with values from 0 to 1."""
    (steps,) = re.findall(r'<filter id="mix-[^>]*>(.*?)</filter>', picture)
    colours = np.concatenate([x, np.ones((2, *x.shape[1:]))])  # red, green, blue, opacity, one
    for step in re.findall(r'values="([^"]*)"', steps):
        matrix = np.array(step.split(), float).reshape(4, 5)
        colours = np.concatenate([np.clip(np.einsum("oc,chw->ohw", matrix, colours), 0, 1), np.ones((1, *x.shape[1:]))])
    assert (colours[3] == 1).all()
    return colours[:3]


def test_pixel_mixer_shows_the_convolution(made):
    data = made["pixel_mixer"].data
    for state in states(made["pixel_mixer"], 30):
        x = maps_of(data, state["maps"])
        y = sum(state[f"w{c + 1}"] * x[c] for c in range(3)) + state["bias"]
        shown = 255 * mixed(made["pixel_mixer"](**state)[0], x / 255)
        light, dark = np.clip(y, 0, 255), np.clip(-y, 0, 255)
        if state["relu"]:
            assert abs(shown - light).max() < 0.1
        else:  # what is negative is purple
            assert abs(shown - (light + np.reshape([0.67, 0.2, 0.47], (3, 1, 1)) * dark)).max() < 0.1


def test_pixel_mixer_names_of_filters_tell_what_they_do(made):
    found = {}
    for state in states(made["pixel_mixer"], 60):
        for name, filter in re.findall(r'<filter id="([^"]*)"(.*?)</filter>', made["pixel_mixer"](**state)[0]):
            assert found.setdefault(name, filter) == filter
    assert len(found) > 50


# --- stages ------------------------------------------------------------------------------


@pytest.mark.parametrize("network", explorers.NETWORKS)
def test_stages_add_up_to_the_network(made, network):
    name = explorers.NETWORKS[network]
    size = explorer_data.SIZES[name]
    with torch.device("meta"):
        module = models.build(name).eval()
    parts = [item for stage in made["stages"].data[name] for item in stage["parts"].items()]
    _, params, macs, activations = np.sum([part for _, part in parts], 0).tolist()
    total = cost.trace(module, (1, 3, size, size)).total
    assert (params, macs, activations) == (total.params, total.macs, total.activations)
    heads = [key for key, _ in module.named_parameters() if key.startswith("aux")]  # not run in evaluation mode
    used = {key: weight for key, weight in module.named_parameters() if key not in heads}
    assert params == sum(weight.numel() for weight in used.values())
    assert macs == counted(module, (1, 3, size, size))[0]
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    unused = 6 if heads else 0  # three layers in each of the two heads
    assert sum(part[0] for kind, part in parts if kind != "rest") == len(layers) - unused


def test_stages_shapes_follow_each_other(made):
    for found in made["stages"].data.values():
        for before, after in zip(found, found[1:]):
            assert before["after"] == after["before"]
        assert found[-1]["after"][0] == 1000


def test_stages_say_the_shares(made):
    data = made["stages"].data
    for state in states(made["stages"], 60):
        _, sentence = made["stages"](**state)
        found = data[explorers.NETWORKS[state["network"]]]
        one = found[min(state["stage"], len(found)) - 1]
        sums = np.sum(list(one["parts"].values()), 0)[1:]
        totals = sum(np.sum(list(stage["parts"].values()), 0) for stage in found)[1:]
        for i, words in enumerate(explorers.COUNTED):
            share = explorers.number(100 * sums[i].item() / totals[i].item(), 1)
            assert f"{sums[i]:,} {words} ({share}% of {totals[i]:,})" in sentence
        if "1×1" in one["parts"] and len(one["parts"]) > 2:
            share = 100 * one["parts"]["1×1"][2] / sums[1].item()
            assert f"The 1×1 convolutions do {explorers.number(share, 1)}% of the multiply-adds" in sentence


def test_stages_count_the_kinds_of_layers(made):
    data = made["stages"].data
    assert all(list(stage["parts"]) == [kind for kind in explorers.KINDS if kind in stage["parts"]]
               for found in data.values() for stage in found)
    module = data["googlenet"][2]["parts"]
    assert (module["1×1"][0], module["3×3"][0], len(module)) == (4, 2, 3)
    assert data["squeezenet1_0"][1]["parts"]["3×3"][1] == 16 * 64 * 9 + 64
    assert data["xception"][4]["parts"]["depthwise"][:2] == [3, 3 * 9 * 728]
    assert max(len(found) for found in data.values()) == explorers.LONGEST
