"""The explorers of SSD: what they say agrees with the reference and the fast version."""

import random
import re

import numpy as np
import pytest
import torch

from cvnotes import data
from cvnotes.boxes import fast as boxes_fast
from cvnotes.ssd import explorer_data, explorers, fast, formulas, reference

NAMES = ("default_boxes", "matching", "hard_negatives", "patches", "pipeline")


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    scene = explorer_data.scene()
    found = {name: getattr(explorers, name).with_data(scene) for name in ("default_boxes", "matching", "patches")}
    found["hard_negatives"] = explorers.hard_negatives.with_data(explorer_data.hard_negatives())
    found["pipeline"] = explorers.pipeline.with_data(explorer_data.pipeline())
    return found


def states(explorer, seed, count):
    """Yield random states of an explorer."""
    draw = random.Random(seed)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def numbers(text):
    """Return all numbers of a text, thousands joined."""
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    for state in states(made[name], name, 120):
        picture, sentence, failed = made[name].render(state)
        explorers._layouts.clear()
        assert (picture, sentence, failed) == made[name].render(state) and not failed
        assert picture.startswith("<svg") and picture.count("<") - picture.count("</") <= 150
        assert re.search(r"\d", sentence) and "nan" not in sentence.lower() and "∞" not in sentence
        places = [float(x) for x in re.findall(r'<(?:text|rect|circle) c?x="([-\d.]+)"', picture)]
        assert all(-1 <= x <= 401 for x in places)


def test_data_are_the_same_every_time_and_small_enough(made):
    assert explorer_data.pipeline() == made["pipeline"].data
    assert explorer_data.hard_negatives() == made["hard_negatives"].data
    assert explorer_data.scene() == made["matching"].data
    assert sum(len(repr(made[name].data)) for name in NAMES) < 300_000  # all are on one page


def test_what_is_made_up_says_so(made):
    for name in ("hard_negatives", "pipeline"):
        for state in states(made[name], name, 20):
            assert "made up by a formula, not computed by a network" in made[name].render(state)[1]


# --- default boxes -----------------------------------------------------------------------


def test_scales_are_those_of_paper_and_code():
    # Liu et al. (2016), section 2.2, and the authors' ssd_pascal.py (20 to 90, 10 first) and ssd_coco.py (15 to 90, 7).
    assert explorers.SCALES["the paper's formula"][1:6] == pytest.approx(reference.scales(5, 0.2, 0.9))
    assert explorers.SCALES["its code, for VOC"] == (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)
    assert explorers.SCALES["its code, for COCO"] == (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)


def test_default_boxes_say_what_the_reference_lays_out(made):
    offsets = np.cumsum([0] + explorers.COUNTS)
    assert offsets[-1] == 8732
    for state in states(made["default_boxes"], "boxes", 40):
        _, sentence = made["default_boxes"](**state)
        k, scales = state["level"] - 1, explorers.SCALES[state["scales"]]
        boxes = reference.default_boxes(formulas.MAP_SIZES, scales, formulas.RATIOS, clip=state["clip"])
        n, own = formulas.MAP_SIZES[k], boxes[offsets[k]:offsets[k + 1]]
        column, row = map(int, re.search(r"column (\d+), row (\d+)", sentence).groups())
        assert (column, row) == (state["x"] * n // 100, state["y"] * n // 100)
        place = own.reshape(n, n, -1, 4)[row, column]
        assert f"Map {k + 1} has {n} × {n} places with {len(place)} default boxes each: {len(own):,} of 8,732" in sentence
        if not state["clip"]:
            sides = 100 * (place[:, 2:] - place[:, :2])
            said = [float(x) for x in re.findall(r"([\d.]+)%", sentence)]
            wanted = [sides[0, 0], sides[1, 0], *sides[2], *(sides[4] if len(place) == 6 else [])]
            assert said == pytest.approx(wanted, abs=0.51) and said[1:] == pytest.approx(wanted[1:], abs=0.051)
            out = int(((place < 0) | (place > 1)).any(1).sum())
            assert f"{out or 'None'} of the {len(place)} reach" in sentence


# --- matching ----------------------------------------------------------------------------


def exact_defaults():
    layout = formulas.layout(formulas.MAP_SIZES, explorers.SCALES["its code, for COCO"], formulas.RATIOS)
    return torch.tensor([
        box for boxes_map in layout for i in range(boxes_map[0][0]) for j in range(boxes_map[0][0])
        for box in formulas.place_boxes(boxes_map, i, j)
    ], dtype=torch.float64)


def test_matching_says_what_match_finds(made):
    defaults = exact_defaults()
    levels = np.repeat(np.arange(6), explorers.COUNTS)
    forced = 0
    for state in states(made["matching"], "matching", 80):
        _, sentence = made["matching"](**state)
        side = state["size"] / 100
        w, h = side * explorers.SHAPES[state["shape"]] ** 0.5, side / explorers.SHAPES[state["shape"]] ** 0.5
        x, y = state["x"] / 100, state["y"] / 100
        box = torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], dtype=torch.float64).clamp(0, 1)
        matched = (fast.match(box, defaults, iou_threshold=state["iou_threshold"]) == 0).numpy()
        iou = boxes_fast.box_iou(box, defaults)[0].numpy()
        best = iou.argmax()
        assert f"on map {levels[best] + 1}, has {iou[best]:.2f}" in sentence
        if iou[best] < state["iou_threshold"]:
            forced += 1
            assert matched.sum() == 1 and sentence.startswith("No default box reaches")
        else:
            counts = np.bincount(levels[matched], minlength=6)
            where = ", ".join(f"{count} on map {k + 1}" for k, count in enumerate(counts) if count)
            assert sentence.startswith(f"{matched.sum()} of 8,732 default boxes reach") and f": {where}; the best" in sentence
        near = ((iou >= explorers.NEAR) & (iou < state["iou_threshold"])).sum()
        assert (f"{near} more with 0.3 or more are left out" in sentence) == (near > 0)
    assert 10 < forced < 70


# --- hard negatives ----------------------------------------------------------------------


def test_hard_negatives_say_what_mining_keeps(made):
    for stage, outputs in (("first step", explorer_data.made_up(trained=False)), ("later", explorer_data.made_up())):
        example = outputs.example
        index = fast.match(torch.from_numpy(example.boxes / len(example.image)), outputs.default_boxes)
        labels = torch.where(index >= 0, torch.from_numpy(example.labels)[index] + 1, 0)
        loss = torch.nn.functional.cross_entropy(outputs.scores, labels, reduction="none")
        for ratio in (1, 3, 10):
            kept = fast.hard_negative_mining(loss[None], index[None] >= 0, ratio=ratio)[0] & (index < 0)
            _, sentence = made["hard_negatives"](stage=stage, ratio=ratio)
            found = numbers(sentence)
            positives = int((index >= 0).sum())
            assert found[:3] == [positives, 8732 - positives, kept.sum()] and kept.sum() == ratio * positives
            assert found[3] == pytest.approx(loss[kept].min().item(), abs=0.0061)
            assert found[4:7] == pytest.approx(
                [loss[kept].sum().item(), loss[index >= 0].sum().item(), loss[index < 0].sum().item()], abs=0.06, rel=1e-3
            )


def test_bars_hold_all_negatives(made):
    for own in (made["hard_negatives"].data[stage] for stage in explorers.STAGES):
        assert sum(own["bars"]) == own["count"] == 8732 - len(own["positives"])
        assert own["hardest"] == sorted(own["hardest"], reverse=True)


def test_heights_are_logarithms():
    for count in (1, 2, 9, 10, 37, 99, 100, 5000, 10_000):
        assert explorers._log_height(count) == pytest.approx((np.log10(count) + 0.3) / 4.3, abs=0.02)
    assert explorers._log_height(0) == 0


# --- patches -----------------------------------------------------------------------------


def test_patches_are_those_of_sample_patch(made):
    objects = made["patches"].data["objects"]
    boxes = np.array([box for _, box in objects])
    kept = set()
    for state in states(made["patches"], "patches", 60):
        _, sentence = made["patches"](**state)
        wanted = {"any": 0.0, "whole image": None}.get(state["overlap"], state["overlap"])
        wanted = float(wanted) if wanted is not None else None
        uniforms = np.array(explorers.uniforms(state["draw"], explorers.TRIES))
        patch, cut, labels = reference.sample_patch(boxes, np.arange(len(boxes)), min_iou=wanted, uniforms=uniforms)
        assert f"{len(labels)} of {len(boxes)} objects" in sentence
        kept.add(len(labels))
        if sentence.startswith("Try"):
            w, h = 100 * (patch[2:] - patch[:2])
            assert numbers(sentence)[1:3] == pytest.approx([w, h], abs=0.51)
            assert formulas.patch(uniforms[int(numbers(sentence)[0]) - 1].tolist()) == pytest.approx(tuple(patch))
        else:
            assert patch.tolist() == [0, 0, 1, 1]
    assert {0, 1, len(boxes)} <= kept


def test_uniforms_are_spread_evenly():
    values = np.array([explorers.uniforms(draw, explorers.TRIES) for draw in range(1, 41)])
    assert values.min() >= 0 and values.max() <= 1
    counts = np.histogram(values, 10, (0, 1))[0]
    assert abs(counts / values.size - 0.1).max() < 0.01
    assert len(np.unique(values[:, 0, 0])) == 40


# --- the pipeline ------------------------------------------------------------------------


def test_pipeline_ends_where_detect_ends(made):
    outputs = explorer_data.made_up()
    for state in states(made["pipeline"], "pipeline", 25):
        _, sentence = made["pipeline"](**{**state, "step": 6})
        (found,) = fast.detect(
            outputs.scores[None], outputs.offsets[None], outputs.default_boxes, min_score=state["min_score"],
            iou_threshold=state["iou_threshold"], candidates=explorer_data.LIMIT, most=state["most"],
        )
        said = re.findall(r"([a-z]+) (\d\.\d\d)", sentence.partition(":")[2].partition("In the scene")[0])
        names = [data.CLASSES[label - 1] for label in found["labels"]]
        assert f"the {len(names)} best boxes are the result" in sentence
        assert len(said) == min(6, len(names)) and {name for name, _ in said} <= set(names)
        for (_, score), p in zip(said, found["scores"].tolist()):
            assert float(score) == pytest.approx(p, abs=0.0051)


def test_pipeline_counts_the_scores_over_the_threshold(made):
    p = explorer_data.made_up().scores.softmax(1)[:, 1:]
    for min_score in explorers.SCORES:
        _, sentence = made["pipeline"](step=2, min_score=min_score)
        assert numbers(sentence)[1] == pytest.approx((p > min_score).sum().item(), abs=2)
        assert numbers(sentence)[2] == 52_392 == 8732 * 6


def test_explorers_take_the_outputs_of_any_detector():
    example = data.scene(0, 3, size=64, sizes=(8, 48))
    generator = torch.Generator().manual_seed(0)
    defaults = fast.default_boxes([4, 2], [0.2, 0.4, 0.8], [[2], [2]]).double()
    outputs = explorer_data.Outputs(
        example, torch.randn(80, 7, generator=generator).double(), torch.randn(80, 4, generator=generator).double(),
        defaults, ((4, 4), (2, 4)), "those of a test",
    )
    shown = explorers.pipeline.with_data(explorer_data.pipeline(outputs))
    for step in range(1, 7):
        assert "those of a test" in shown(step=step)[1]
    mined = explorers.hard_negatives.with_data(explorer_data.hard_negatives(outputs, outputs))
    assert "(those of a test)" in mined()[1]


# --- what the chapter says of them -------------------------------------------------------


def test_try_this_says_what_then_happens(made):
    rings = sorted((box for name, box in made["patches"].data["objects"] if name == "ring"), key=lambda box: box[2] - box[0])
    sides = [[round(100 * (box[i + 2] - box[i])) for i in (0, 1)] for box in rings]
    assert sides == [[11, 10], [56, 59]]
    boxes, matching, mined = made["default_boxes"], made["matching"], made["hard_negatives"]
    assert "7% and 10.2%" in boxes(level=1)[1] and "51% and 59.3%" in boxes(level=4)[1] and "123.0% by" in boxes(level=6)[1]
    assert "on map 1, has 0.33, and is matched all the same" in matching(size=4)[1]
    assert matching()[1].startswith("8 of 8,732") and matching(iou_threshold=0.7)[1].startswith("2 of 8,732")
    assert [re.findall(r"on map (\d)", matching(size=size)[1].partition("; the best")[0]) for size in (60, 35, 18)] == [
        ["4", "5"], ["3"], ["2"],
    ]
    assert "117.39 together" in mined()[1] and "1.4% of them carry 51.3% of it" in mined()[1]
    assert "the loss is 3.24 in the mean" in mined(negatives="at random")[1]
    assert mined.data["first step"]["hardest"][-1] == pytest.approx(1000 * np.log(7), abs=60)


def test_try_this_says_what_becomes_of_patches_and_scores(made):
    patches, pipeline = made["patches"], made["pipeline"]
    assert "42% of the ring is to be seen too, but its box is gone" in patches(draw=8)[1]
    draws = patches.controls["draw"]
    assert sum("0 of 5 objects" in patches(overlap="any", draw=draw)[1] for draw in draws) == 11
    for overlap, failed in (("0.7", 31), ("0.9", 40)):
        assert sum(patches(overlap=overlap, draw=draw)[1].startswith("None of 50") for draw in draws) == failed
    words = [pipeline(step=step)[1] for step in range(1, 7)]
    for step, count in ((2, "394 of 52,392"), (4, "155 in all"), (5, "18 stay"), (6, "the 18 best")):
        assert count in words[step - 1]
    assert "the 155 best" in pipeline(step=6, iou_threshold=1.0)[1]
    picture, sentence = pipeline(step=6, iou_threshold=0.1, min_score=0.3)
    names = re.findall(r"([a-z]+) 0", sentence)
    assert "the 7 best" in sentence and sorted(names) == ["ring", "ring", "star", "star", "triangle", "triangle"]
