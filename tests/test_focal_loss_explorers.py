"""The explorers of the focal loss: what they say agrees with torch and the reference."""

import math
import random
import re

import pytest
import torch
import torch.nn.functional as F

from cvnotes.boxes import fast as boxes_fast
from cvnotes.focal_loss import explorer_data, explorers, fast, formulas
from cvnotes.models.retinanet_resnet50_fpn import STRIDES

NAMES = ("loss_curves", "anchors", "prior_bias")


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    return {
        "loss_curves": explorers.loss_curves, "prior_bias": explorers.prior_bias,
        "anchors": explorers.anchors.with_data(explorer_data.anchors()),
    }


def states(explorer, seed, count):
    """Yield random states of an explorer."""
    draw = random.Random(seed)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def numbers(sentence):
    """Return all numbers of a sentence, thousands joined."""
    return [float(text.replace(",", "").replace("−", "-")) for text in re.findall(r"−?\d[\d,]*(?:\.\d+)?", sentence)]


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    shown = 0
    for state in states(made[name], name, 150):
        picture, sentence, failed = made[name].render(state)
        explorers._curves.clear()
        assert (picture, sentence, failed) == made[name].render(state)
        assert "`" in sentence if failed else picture.startswith("<svg")
        assert picture.count("<") - picture.count("</") <= 150
        assert re.search(r"\d", sentence) and "nan" not in (picture + sentence).lower() and "∞" not in sentence
        places = [float(x) for x in re.findall(r'[ "]c?x="([-\d.]+)"', picture)]
        assert all(-1 <= x <= 401 for x in places)
        shown += not failed
    assert shown >= 60


@pytest.mark.parametrize("name", ("loss_curves", "prior_bias"))
def test_explorer_does_not_hang_on_the_last_digit_of_exp_and_log(made, name, monkeypatch):
    """Another Python may round exp and log up or down; what is said stays the same, and so does the picture."""
    wanted = [(state, made[name].render(state)) for state in states(made[name], name, 60)]
    for towards in (-math.inf, math.inf):
        monkeypatch.setattr(formulas, "exp", lambda x: math.nextafter(math.exp(x), towards))
        monkeypatch.setattr(formulas, "log", lambda x: math.nextafter(math.log(x), towards))
        monkeypatch.setattr(explorers, "log", lambda x: math.nextafter(math.log(x), towards))
        monkeypatch.setattr(formulas, "log1p", lambda x: math.nextafter(math.log1p(x), towards))
        explorers._curves.clear()
        for state, rendered in wanted:
            assert made[name].render(state) == rendered
    explorers._curves.clear()


# --- the loss and the shares -------------------------------------------------------------


def both_losses(gamma, alpha, p, positive):
    """Return loss and slope of one example, by torch: cross entropy times the factor."""
    x = torch.tensor(math.log(p / (1 - p)) * (1 if positive else -1), dtype=torch.float64, requires_grad=True)
    t = torch.tensor(float(positive), dtype=torch.float64)
    loss = F.binary_cross_entropy_with_logits(x, t) * (1 - (x.sigmoid() if positive else 1 - x.sigmoid())) ** gamma
    if alpha != "none":
        loss = loss * (float(alpha) if positive else 1 - float(alpha))
    return loss.item(), abs(torch.autograd.grad(loss, x)[0].item())


def close(said, value):
    """Tell whether a percentage that is said is this share, with the digits that it has."""
    digits = len(said.partition(".")[2])
    return abs(float(said) - 100 * value) <= 0.5001 * 10**-digits


def test_shares_are_those_of_torch():
    for state in states(explorers.loss_curves, "shares", 60):
        _, sentence = explorers.loss_curves(**state)
        shares = []
        for kind in (0, 1):
            for gamma, alpha in ((0, "none"), (state["gamma"], state["alpha"])):
                easy = state["easy"] * both_losses(gamma, alpha, state["easy_p"] / 100, False)[kind]
                hard = state["hard"] * both_losses(gamma, alpha, state["hard_p"] / 100, True)[kind]
                shares.append(easy / (easy + hard))
        said = re.findall(r"([\d.]+)%", sentence)
        assert len(said) == 4 and all(close(a, b) for a, b in zip(said, shares))


def test_loss_curves_show_the_figures_of_the_notes():
    _, sentence = explorers.loss_curves(easy_p=90, hard_p=50)
    assert "multiplied by 0.010 at p_t = 0.9, and by 0.25 at 0.5" in sentence
    _, sentence = explorers.loss_curves(easy_p=96.8)
    assert "multiplied by 0.0010 at p_t = 0.968" in sentence  # about a thousandth


def test_curves_pass_through_their_points():
    """The marks lie where the loss and the slope are, and so do the curves' own points."""
    for gamma in explorers.GAMMAS:
        picture, _ = explorers.loss_curves(gamma=gamma, hard_p=40)
        marks = [tuple(map(float, m)) for m in re.findall(r'circle cx="([\d.]+)" cy="([\d.]+)"', picture)]
        for i, (left, most, _) in enumerate(explorers.PLOTS):
            for p, (x, y) in zip((0.99, 0.4), marks[2 * i:2 * i + 2]):
                value = both_losses(gamma, "none", p, True)[i]
                assert x == pytest.approx(left + p * 158, abs=0.01)
                assert y == pytest.approx(44 + 128 * (1 - value / most), abs=0.01)
            path = explorers._curve(i, gamma)
            for x, y in (map(float, point.split(" ")) for point in path[1:].split("L")[6:-1]):
                value = both_losses(gamma, "none", (x - left) / 158, True)[i]
                assert y == pytest.approx(44 + 128 * (1 - value / most), abs=0.05)


# --- anchors -----------------------------------------------------------------------------


def test_anchors_are_counted_as_match_anchors_does(made):
    objects = torch.tensor([box for _, box in explorers.OBJECTS])
    assert explorers.STRIDES == STRIDES
    for state in states(made["anchors"], "counts", 60):
        picture, sentence, failed = made["anchors"].render(state)
        assert failed == (state["negative_iou"] > state["positive_iou"])
        if failed:
            continue
        i = explorers.LEVELS.index(state["level"])
        limits = {name: state[name] for name in ("positive_iou", "negative_iou")}
        counts = []
        for stride, size in zip(STRIDES, explorers.SIZES):
            boxes = fast.retinanet_anchors(explorers.SCENE, strides=(stride,), sizes=(size,))
            index = fast.match_anchors(objects, boxes, **limits)
            counts.append(((index >= 0).sum().item(), (index == -2).sum().item(), len(index), index.view(-1, 9), boxes))
        matched, ignored, whole, index, boxes = counts[i]
        assert f"and {whole:,} anchors; {matched:,} match an object, {ignored:,} are ignored" in sentence
        total, everything = sum(c[0] for c in counts), sum(c[2] for c in counts)
        assert f"{total:,} of {everything:,} anchors match: {100 * total / everything:.2f}%" in sentence
        column, row = map(int, re.search(r"At the place (\d+), (\d+)", sentence).groups())
        place = row * -(-640 // STRIDES[i]) + column
        nine = index[place]
        for name, of_kind in (("match", nine >= 0), ("ignored", nine == -2), ("background", nine == -1)):
            found = re.search(rf"(\d) {name}[,;]", sentence)
            assert (int(found[1]) if found else 0) == of_kind.sum()
        best = boxes_fast.box_iou(boxes.view(-1, 9, 4)[place], objects).max().item()
        assert f"the best IoU is {best:.2f}" in sentence or best == 0
        assert abs(column * STRIDES[i] - state["x"]) <= STRIDES[i] and abs(row * STRIDES[i] - state["y"]) <= STRIDES[i]


def test_the_ball_is_too_small_for_every_anchor(made):
    """A square of 20 pixels in one of 32 has an IoU of 0.39: nothing is forced, so nothing learns it."""
    assert max(overlap for level in made["anchors"].data.values() for place, _, overlap in level) < 10_000
    _, sentence = made["anchors"](level="P3", x=64, y=416)
    assert "9 background; the best IoU is 0.39, with the ball" in sentence


# --- the prior ---------------------------------------------------------------------------


def test_prior_bias_is_the_first_step_of_torch():
    for state in states(explorers.prior_bias, "prior", 40):
        _, sentence = explorers.prior_bias(**state)
        x = torch.full((2,), -math.log((1 - state["prior"]) / state["prior"]), dtype=torch.float64, requires_grad=True)
        t = torch.tensor([0.0, 1.0], dtype=torch.float64)
        negatives = state["anchors"] * state["classes"] - state["positives"]
        gamma, alpha = (0, None) if state["loss"] == "cross entropy" else (2, 0.25)
        counts = torch.tensor([negatives, state["positives"]], dtype=torch.float64)
        losses = counts * fast.sigmoid_focal_loss(x, t, alpha=alpha, gamma=gamma)
        slopes = torch.autograd.grad(losses.sum(), x)[0].abs()
        mean = losses.sum().item() / state["positives"]
        wanted = [
            state["prior"], x[0].item(), negatives, losses[0].item(), state["positives"], losses[1].item(),
            state["positives"], mean, *slopes.tolist(), state["anchors"] * state["classes"] / state["positives"],
        ]
        said = numbers(sentence)
        assert len(said) == 11 and said[10] == round(wanted[10])
        assert said[:10] == pytest.approx(wanted[:10], rel=0.08, abs=1e-3)
        assert sentence.startswith(f"π = {state['prior']}: the bias is ".replace("1e-04", "0.0001"))


def test_prior_of_a_hundredth_is_where_the_focal_loss_starts_lowest():
    """With COCO's 80 classes and a hundred thousand anchors, of which about 30 match."""
    def first(prior):
        _, sentence = explorers.prior_bias(prior=prior, loss=explorers.LOSSES[1])
        return numbers(re.search(r"the first loss is ([\d,.]+)\. ", sentence)[0])[0]

    assert min((p for p in explorers.PRIORS), key=first) == 0.01

    def between(prior, positives):
        x, negatives = formulas.logit(prior), 8_000_000 - positives
        losses = (formulas.sigmoid_focal_loss(x, t, 0.25, 2) for t in (1.0, 0.0))
        return sum(n * loss for n, loss in zip((positives, negatives), losses))

    stops = [k / 10_000 for k in range(10, 300)]
    lowest = [min(stops, key=lambda prior: between(prior, positives)) for positives in (30, 300)]
    assert lowest[0] == 0.0076 < lowest[1]  # "near 0.0076, and moves with the counts"


# --- what the chapter's "Try this" says --------------------------------------------------


def test_chapter_predicts_what_the_explorers_say(made):
    none = "alpha", "none"
    few = ("classes", 1), ("anchors", 1000), ("positives", 300)
    said = {
        ("loss_curves", none, ("gamma", 0)): ("have 81% of the cross entropy", "of the gradient, 91.7%"),
        ("loss_curves", none, ("gamma", 0), ("easy_p", 99.9)):
            ("have 30% of the cross entropy", "of the gradient, 53%"),
        ("loss_curves", none, ("gamma", 1)): ("and 4.6% of the focal loss",),
        ("loss_curves", ("gamma", 1)): ("and 13% of the focal loss",),
        ("loss_curves", ("gamma", 2)): ("and 0.2% of the focal loss",),
        ("loss_curves", ("gamma", 0), ("easy_p", 99.9), ("hard_p", 50)):
            ("have 59% of the cross entropy", "of the gradient, 67%"),
        ("prior_bias",): ("the first loss is 184,839.", "One logit in 266,667"),
        ("prior_bias", ("prior", 0.01)): ("the first loss is 2,685.",),
        ("prior_bias", ("prior", 0.2), *few): ("the first loss is 2.13.",),
        ("prior_bias", ("prior", 0.5), *few): ("the first loss is 2.31.",),
        ("anchors",): ("2 match", "5 match an object", "74 of 57,600 anchors match"),
        ("anchors", ("level", "P3"), ("x", 64), ("y", 416), ("positive_iou", 0.3), ("negative_iou", 0.3)):
            ("1 match, 8 background", "696 of 57,600"),
        ("anchors", ("positive_iou", 0.4), ("negative_iou", 0.3)): (f"{696 - 449} of 57,600",),
    }
    for (name, *state), parts in said.items():
        _, sentence = made[name](**dict(state))
        for part in parts:
            assert part in sentence, (name, state, sentence)
    best = [
        int(re.search(r": (?:(\d) match)?", made["anchors"](level="P6", x=x, y=y)[1])[1] or 0)
        for x in range(0, 641, 16) for y in range(0, 481, 16)
    ]
    assert max(best) == 2
