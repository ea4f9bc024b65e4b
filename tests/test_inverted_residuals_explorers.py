"""The explorers of inverted residuals: what they say agrees with torch's own layers, NumPy and the reference."""

import math
import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cvnotes.inverted_residuals import explorer_data, explorers, formulas, reference
from cvnotes.models import build

DATA = {"spiral": explorer_data.spiral, "multipliers": explorer_data.multipliers}
NAMES = ("block_designer", "spiral", "shuffle_wires", "multipliers", "activations")


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    bound = {name: getattr(explorers, name) for name in NAMES}
    return {name: bound[name].with_data(DATA[name]()) if name in DATA else bound[name] for name in NAMES}


def states(explorer, seed, count):
    """Yield random states of an explorer."""
    draw = random.Random(seed)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def numbers(sentence):
    """Return all numbers of a sentence, thousands joined."""
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*(?:\.\d+)?", sentence)]


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    shown = 0
    for state in states(made[name], name, 120):
        picture, sentence, failed = made[name].render(state)
        explorers._parts.clear()
        assert (picture, sentence, failed) == made[name].render(state)
        assert "`" in sentence if failed else picture.startswith("<svg")
        assert picture.count("<") - picture.count("</") <= 190
        assert re.search(r"\d", sentence) and "NaN" not in picture + sentence and "∞" not in sentence
        shown += not failed
    assert shown >= 20


@pytest.mark.parametrize("name", DATA)
def test_data_are_the_same_to_the_byte(made, name):
    assert repr(DATA[name]()) == repr(made[name].data)


@pytest.mark.parametrize("name", ("activations", "multipliers", "spiral"))
def test_explorer_does_not_hang_on_the_last_digit_of_exp_and_log(made, name, monkeypatch):
    """Another Python may round exp and log up or down; what is shown stays the same."""
    wanted = [(state, made[name].render(state)) for state in states(made[name], name, 60)]
    for towards in (-math.inf, math.inf):
        monkeypatch.setattr(formulas, "exp", lambda x: math.nextafter(math.exp(x), towards))
        monkeypatch.setattr(explorers, "log", lambda x: math.nextafter(math.log(x), towards))
        explorers._parts.clear()
        for state, rendered in wanted:
            assert made[name].render(state) == rendered
    explorers._parts.clear()


# --- the block designer ------------------------------------------------------------------


def layers_of(block, C, O, expansion, reduction, stride, K, groups):
    """Return the block's layers in order, as torch has them: [(module, what it reads), …].

    What it reads is the last output, or the block's input for the layer of a shortcut.
    """
    conv = lambda c, o, k, s=1, g=1: nn.Conv2d(  # noqa: E731
        c, o, k, s, tuple(n // 2 for n in k) if isinstance(k, tuple) else k // 2, groups=g, bias=False
    )
    if block == "separable":
        return [(conv(C, C, K, stride, C), 0), (conv(C, O, 1), 0)]
    if block == "inverted":
        M = expansion * C
        widen = [(conv(C, M, 1), 0)] if expansion > 1 else []
        return widen + [(conv(M, M, K, stride, M), 0), (conv(M, O, 1), 0)]
    M = O // reduction
    if block == "bottleneck":
        layers = [(conv(C, M, 1), 0), (conv(M, M, K, stride), 0), (conv(M, O, 1), 0)]
        return layers + ([(conv(C, O, 1, stride), 1)] if C != O or stride > 1 else [])
    if block == "EffNet":
        last = nn.Conv2d(M, O, (2, 1), (2, 1), bias=False)
        return [
            (conv(C, M, 1), 0), (conv(M, M, (1, K), 1, M), 0), (nn.MaxPool2d((1, 2)), 0), (conv(M, M, (K, 1), 1, M), 0),
            (last, 0),
        ]
    branch = O if stride == 1 else O - C
    pool = [(nn.AvgPool2d(3, 2, 1), 1)] if stride == 2 else []
    return [(conv(C, M, 1, 1, groups), 0), (conv(M, M, K, stride, M), 0), (conv(M, branch, 1, 1, groups), 0)] + pool


def measured(layers, C, size, adds):
    """Run layers on the meta device; return parameters, multiply-adds and the most elements held at once."""
    x = y = torch.zeros(1, C, size, size, device="meta")
    most = 0
    with FlopCounterMode(display=False) as counter:
        for i, (module, reads) in enumerate(layers):
            given, before = x if reads else y, y
            y = module.to("meta")(given)
            waiting = [x] if adds and i and not reads else []  # the input of the block, for the shortcut
            waiting += [before] if reads else []  # what the other way gave
            most = max(most, given.numel() + y.numel() + sum(w.numel() for w in waiting))
    return sum(p.numel() for m, _ in layers for p in m.parameters()), counter.get_total_flops() // 2, most


@pytest.mark.parametrize("block", explorers.BLOCKS)
def test_block_designer_agrees_with_torch(block):
    checked = 0
    for state in states(explorers.block_designer, block, 200):
        state["block"] = block
        if checked == 12:
            break
        picture, sentence, failed = explorers.block_designer.render(state)
        if failed:
            continue
        C, O, stride, size = state["in_channels"], state["out_channels"], state["stride"], state["size"]
        rest = (state[name] for name in ("expansion", "reduction", "stride", "kernel", "groups"))
        layers = layers_of(block, C, O, *rest)
        adds = block in ("bottleneck", "shuffle") or (block == "inverted" and C == O and stride == 1)
        ours = measured(layers, C, size, adds)
        said = [int(n) for n in numbers(re.search(r": (.*?) activations", sentence)[1])]
        assert tuple(said) == ours
        half = size // 2 if block == "EffNet" else -(-size // stride)
        standard = state["kernel"] ** 2 * C * O
        plain = standard, standard * half * half, C * size * size + O * half * half
        said = re.search(r"channels takes ([\d,]+), ([\d,]+) and ([\d,]+)\.", sentence).groups()
        assert tuple(int(n.replace(",", "")) for n in said) == plain
        for mine, theirs in zip(ours, plain):
            ratio = mine / theirs
            assert f">{explorers.number(ratio, 2 if ratio >= 0.1 else 3)} ×<" in picture
        checked += 1
    assert checked == 12


@pytest.mark.parametrize("state, step, label", [
    ({}, "depthwise, with the input kept", "depthwise 3×3"),
    ({"block": "bottleneck", "in_channels": 256, "out_channels": 256}, "expand 1×1, with the input kept", "1×1"),
    ({"block": "bottleneck", "in_channels": 256, "stride": 2, "out_channels": 512}, "shortcut 1×1, with", None),
    ({"block": "separable", "kernel": 5}, "depthwise)", "depthwise 5×5"),
    ({"block": "EffNet"}, "1×1)", "1×1"),
    ({"expansion": 1, "out_channels": 240}, "project 1×1)", "1×1"),
    ({"block": "shuffle", "stride": 2, "out_channels": 48}, "depthwise, with the input kept", "depthwise 3×3"),
])
def test_block_designer_marks_the_step_of_the_peak(state, step, label):
    picture, sentence = explorers.block_designer(**state)
    assert f"at once (in the step {step}" in sentence
    at = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>peak<', picture)]
    assert len(at) == 2 and at[1] > 430  # at the step, and the row below
    names = [float(y) for y in re.findall(rf'y="([\d.]+)"[^>]*font-weight="600"[^>]*>{label}<', picture)]
    assert (at[0] - 17 in names) == (label is not None)


@pytest.mark.parametrize("block, idle", [
    ("bottleneck", "expansion, groups"), ("inverted", "reduction, groups"),
    ("separable", "expansion, reduction, groups"), ("EffNet", "expansion, stride, groups"), ("shuffle", "expansion"),
])
def test_block_designer_says_which_controls_are_idle(block, idle):
    state = {"block": block, "in_channels": 96, "out_channels": 192, "stride": 2}
    before = explorers.block_designer(**state)
    assert before[1].endswith(f"Idle here: {idle}.")
    other = {"expansion": 2, "reduction": 2, "groups": 4, "stride": 1}
    for name in idle.split(", "):
        assert explorers.block_designer(**{**state, name: other[name]}) == before


def test_block_designer_refuses_what_makes_no_block():
    with pytest.raises(ValueError, match=r"`out_channels` \(=48\) must equal the 24 input channels where `stride`"):
        explorers.block_designer(block="shuffle", out_channels=48)
    with pytest.raises(ValueError, match=r"`out_channels` \(=24\) must be more than the 24 input channels where"):
        explorers.block_designer(block="shuffle", stride=2)
    with pytest.raises(ValueError, match=r"`groups` \(=3\) must divide the 64 input channels"):
        explorers.block_designer(block="shuffle", in_channels=64, out_channels=64)


# --- the spiral --------------------------------------------------------------------------


def pairs(text):
    return np.array(text.split(), float).reshape(-1, 2) / 1000


def test_spiral_data_agree_with_the_reference_and_least_squares(made):
    data = made["spiral"].data
    points = pairs(data["points"])
    assert points.shape == (96, 2) and np.allclose(np.hypot(*points.T), np.sqrt((np.arange(96) + 0.5) / 96), atol=1e-3)
    for n in explorers.DIMENSIONS:
        assert len(data["cases"][str(n)]) == 8
        for case in data["cases"][str(n)]:
            matrix = np.array(case["matrix"]) / 1000
            recovered, loss = reference.linear_bottleneck_loss(points, matrix)
            assert np.abs(pairs(case["recovered"]) - recovered).max() <= 0.0005001
            assert case["loss"] == pytest.approx(float(loss), abs=1e-6)
            hidden = np.maximum(points @ matrix.T, 0)
            back = hidden @ np.linalg.inv(matrix.T @ matrix).dot(matrix.T).T
            design = np.column_stack([back, np.ones(96)])
            left = points - design @ np.linalg.lstsq(design, points, rcond=None)[0]
            assert case["loss"] == pytest.approx((left**2).sum() / ((points - points.mean(0)) ** 2).sum(), abs=1e-6)
            kept = (hidden > 0).sum(1)
            assert case["active"] == [(kept == 0).sum(), (kept == 1).sum(), (kept > 1).sum()]
            assert case["reach"] >= 1000 * np.abs(recovered).max()


def test_spiral_says_what_the_reference_computes(made):
    points = pairs(made["spiral"].data["points"])
    for state in states(made["spiral"], "says", 40):
        _, sentence = made["spiral"](**state)
        case = made["spiral"].data["cases"][str(state["dimensions"])][state["draw"] - 1]
        matrix = np.array(case["matrix"]) / 1000
        if state["activation"] == "none":
            back = points @ matrix.T @ np.linalg.pinv(matrix).T
            assert np.allclose(back, points) and "0% is lost" in sentence
            continue
        loss = reference.linear_bottleneck_loss(points, matrix)[1]
        assert f"{100 * loss:.1f}% of the spiral's variance" in sentence
        above = (points[state["point"] - 1] @ matrix.T > 0).sum()
        assert f"keeps {above} of {state['dimensions']}. " in sentence
        assert f" {case['active'][2]} " in sentence


def test_spiral_loses_less_in_more_dimensions(made):
    """What the first figure of MobileNetV2's paper shows."""
    cases = made["spiral"].data["cases"]
    means = [np.mean([case["loss"] for case in cases[str(n)]]) for n in explorers.DIMENSIONS]
    assert means[0] > means[1] > means[2] > means[3] and max(means[3:]) < means[0] / 4
    assert all(case["active"] == [0, 0, 96] for n in (15, 30) for case in cases[str(n)])


# --- channel shuffle ---------------------------------------------------------------------


def test_shuffle_wires_agree_with_torch():
    """Columns light one input each; torch's own shuffle stands between layers of ones in blocks."""
    checked = 0
    for state in states(explorers.shuffle_wires, "wires", 160):
        picture, sentence, failed = explorers.shuffle_wires.render(state)
        C, G = state["channels"], state["groups"]
        assert failed == (C % G > 0)
        if failed:
            assert f"`groups` (={G}) must divide the {C} channels" in sentence
            continue
        output, layer = min(state["output"], C - 1), np.kron(np.eye(G), np.ones((C // G, C // G)))
        order = nn.ChannelShuffle(G)(torch.arange(C).float().reshape(1, C, 1, 1)).flatten().int().tolist()
        reached = {}
        for shuffled in (False, True):
            y = layer
            for _ in range(state["layers"] - 1):
                y = layer @ (y[order] if shuffled else y)
            reached[shuffled] = y[output].nonzero()[0].tolist()
        wired = reached[state["shuffle"]]
        assert f"Output {output} sees {len(wired)} of the {C} inputs" in sentence
        assert f">output {output} sees {', '.join(map(str, wired))}<" in picture
        if state["shuffle"] and state["layers"] > 1:
            assert f"without the shuffle, {len(reached[False])}. " in sentence
        if 1 < G < C:
            assert f"in the order {', '.join(map(str, order[:2 * G]))}" in sentence
        checked += 1
    assert checked > 50


def test_shuffle_wires_draw_the_inputs_that_reach_the_output():
    """The wires into row r of the used channels, counted: each used channel reads its whole group."""
    steps = explorers._steps(12, 3, 2, formulas.shuffle_permutation(12, 3))
    seen, used = explorers._seen(12, steps), explorers._used(steps, 5)
    assert used[0] == list(range(12)) and used[-1] == [5]
    assert seen[-1] == formulas.flow(12, 3, 2, True)
    assert [len(row) for row in used] == [12, 4, 4, 1]


# --- activations -------------------------------------------------------------------------

TORCH = {
    "ReLU": F.relu, "ReLU6": F.relu6, "swish": F.silu, "h-swish": F.hardswish, "sigmoid": torch.sigmoid,
    "hard sigmoid": F.hardsigmoid,
}


def shown(value, digits=3):
    return explorers.number(float(f"{value:.12g}"), digits)


def test_activations_agree_with_torch():
    for state in states(explorers.activations, "torch", 120):
        _, sentence = explorers.activations(**state)
        names = (state["function"],) if state["function"] == state["compare"] else (state["function"], state["compare"])
        values = []
        for name in names:
            x = torch.tensor(state["x"], dtype=torch.float64, requires_grad=True)
            y = TORCH[name](x)
            values.append(y.item())
            assert f"{name} is {shown(y.item())} with slope " in sentence
            if state["x"] not in explorers.ACTIVATIONS[name][2]:
                slope = torch.autograd.grad(y, x)[0].item()
                assert f"{name} is {shown(y.item())} with slope {shown(slope)}" in sentence
            else:
                near = [(TORCH[name](x + h) - TORCH[name](x)).item() / h for h in (-1e-6, 1e-6)]
                said = re.search(rf"{name} is [^ ]+ with slope jumping from ([−\d.]+) to ([−\d.]+\d|\d)", sentence)
                assert [float(s.replace("−", "-")) for s in said.groups()] == pytest.approx(near, abs=0.006)
        if len(names) == 2:
            assert f": {shown(abs(values[0] - values[1]))} apart. " in sentence
            x = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
            most = (TORCH[names[0]](x) - TORCH[names[1]](x)).abs().max().item()
            assert f"at most {shown(most)} apart" in sentence


def test_activations_find_where_swish_and_hard_swish_differ_most():
    _, sentence = explorers.activations(function="swish", compare="h-swish", x=3.0)
    assert "at most 0.142 apart, at x = ±3. " in sentence
    assert 3 / (1 + math.exp(3)) == pytest.approx(0.142278, abs=1e-6)  # 3 − swish(3) = 3 · sigmoid(−3)


# --- multipliers -------------------------------------------------------------------------


@pytest.mark.parametrize("name, width, side", [
    ("MobileNetV1", 0.25, 128), ("MobileNetV1", 1.4, 224), ("MobileNetV1", 0.35, 160), ("MobileNetV2", 0.35, 96),
    ("MobileNetV2", 0.75, 192), ("MobileNetV2", 1.4, 128),
])
def test_multipliers_agree_with_torch(made, name, width, side):
    with torch.device("meta"):
        network = build(name.lower().replace("v", "_v"), width_mult=width).eval()
        x = torch.zeros(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        network(x)
    counted = made["multipliers"].data[name][str(width)]
    assert counted["params"] == sum(p.numel() for p in network.parameters())
    assert explorers.macs_of(counted, side) == counter.get_total_flops() // 2
    _, sentence = made["multipliers"](network=name, width=width, resolution=side)
    assert f"{counted['params']:,} parameters" in sentence
    assert f"{counter.get_total_flops() / 2e6:,.1f} million multiply-adds" in sentence


def test_multipliers_are_near_the_papers(made):
    """Multiply-adds within 2%, parameters within rounding; one of MobileNetV2's figures is not (see below)."""
    compared = 0
    for name, table in explorers.PAPERS.items():
        for (width, side), (macs, params, top) in table.items():
            counted = made["multipliers"].data[name][width]
            ours = explorers.macs_of(counted, side) / 1e6
            assert ours == pytest.approx(macs, rel=0.02)
            if (name, width) != ("MobileNetV2", "1.4"):
                assert counted["params"] / 1e6 == pytest.approx(params, abs=0.11)
            _, sentence = made["multipliers"](network=name, width=float(width), resolution=side)
            assert f"Its paper reports {macs} million" in sentence and f" and {top:g}% top-1. " in sentence
            compared += 1
    assert compared == 10


def test_multipliers_count_fewer_parameters_than_the_paper_for_the_widest(made):
    """MobileNetV2 × 1.4 has 6.9 M in the paper's table 4; the released network has 6.06 M, and ours as many."""
    _, sentence = made["multipliers"](network="MobileNetV2", width=1.4, resolution=224)
    assert "6,108,776 parameters" in sentence and "6.9 million (we count 11.5% less)" in sentence


def test_multipliers_tell_what_was_not_published(made):
    for state in states(made["multipliers"], "published", 60):
        picture, sentence = made["multipliers"](**state)
        key = (str(state["width"]), state["resolution"])
        assert ("Its paper reports" in sentence) == (key in explorers.PAPERS[state["network"]])
        known = explorers.accuracy(state["network"], state["width"], state["resolution"])
        assert ("No weights of it were released" in sentence) == (known is None)
        assert ("none published" in picture) == (known is None and state["against"] == "accuracy")
        rule = 100 * state["width"] ** 2 * (state["resolution"] / 224) ** 2
        assert numbers(sentence)[-1] == pytest.approx(rule, abs=0.051)


def test_multipliers_hold_the_released_accuracies():
    """As many as the authors' tables have: 16 and 22 less the one of width 1.3."""
    assert [sum(map(len, table.values())) for table in explorers.RELEASED.values()] == [16, 21]
    assert explorers.accuracy("MobileNetV1", 0.25, 128) == 41.5 and explorers.accuracy("MobileNetV2", 1.0, 96) == 60.3
    assert explorers.accuracy("MobileNetV1", 1.0, 96) is None and explorers.accuracy("MobileNetV2", 1.4, 192) is None
