"""The explorers of the chapter on boxes: what they say agrees with the reference and with torch's gradients."""

import math
import random
import re

import numpy as np
import pytest
import torch

from cvnotes.boxes import explorers, fast, reference

NAMES = ("two_boxes", "nms_scene")
FUNCTIONS = {
    "IoU": "iou", "GIoU": "generalized", "DIoU": "distance", "CIoU": "complete",
}
SIDES = ("x1", "y1", "x2", "y2")
BOXES = np.array(explorers.BOXES, float)
SCORES = np.array(explorers.SCORES)
CLASSES = np.array([sorted(set(explorers.CLASSES)).index(name) for name in explorers.CLASSES])


def states(name, count):
    """Yield random states of an explorer in which boxes have their corners in order."""
    explorer, draw = getattr(explorers, name), random.Random(name)
    for _ in range(count):
        state = {control: draw.choice(values) for control, values in explorer.controls.items()}
        if name == "two_boxes":
            for start in ("", "target_"):
                for axis in "xy":
                    low, high = sorted((state[f"{start}{axis}1"], state[f"{start}{axis}2"]))
                    state[f"{start}{axis}1"], state[f"{start}{axis}2"] = low, high
        yield state


def numbers(sentence):
    """Return the numbers of a sentence, in order."""
    found = re.findall(r"−?\d+(?:\.\d+)?", sentence)
    return [float(text.replace("−", "-")) for text in found]


def pair(state):
    """Return the box and its target as lists."""
    return [state[side] for side in SIDES], [state["target_" + side] for side in SIDES]


# --- what all have in common -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(name):
    explorer = getattr(explorers, name)
    for state in states(name, 80):
        picture, sentence, failed = explorer.render(state)
        assert (picture, sentence, failed) == explorer.render(state)
        assert not failed and picture.startswith("<svg") and picture.count("<") - picture.count("</") <= 150
        assert "NaN" not in picture + sentence and re.search(r"\d", sentence)
        assert not re.search(r' (?:width|height|r)="-', picture)


def test_a_click_gives_a_control_a_value_that_it_has():
    picture, _ = explorers.two_boxes()
    found = re.findall(r'data-set="measure=([^"]+)"', picture)
    assert tuple(found) == explorers.two_boxes.controls["measure"]


def test_a_drag_moves_a_control_by_one_value_a_step():
    for state in states("two_boxes", 30):
        picture, _ = explorers.two_boxes(**state)
        drags = re.findall(
            r'<circle cx="(\d+)" cy="(\d+)"[^>]*? data-drag-x="(\w+) (\d+) (\d+)" data-drag-y="(\w+) (\d+) (\d+)"',
            picture,
        )
        assert len(drags) == 4
        for x, y, across, left, dx, down, top, dy in drags:
            assert int(x) == int(left) + state[across] * int(dx) and int(y) == int(top) + state[down] * int(dy)


# --- two boxes ---------------------------------------------------------------------------


def test_two_boxes_say_the_measures_of_the_reference():
    for state in states("two_boxes", 60):
        a, b = pair(state)
        _, sentence = explorers.two_boxes(**state)
        head = sentence.partition(". ")[0]
        for name, kind in FUNCTIONS.items():
            value = reference.paired_iou(np.array([a], float), np.array([b], float), kind=kind)[0]
            assert numbers(re.search(rf" {name} (−?[\d.]+)", sentence)[1])[0] == pytest.approx(value, abs=0.000501)
        left, top, right, bottom = np.maximum(a, b)[0], np.maximum(a, b)[1], np.minimum(a, b)[2], np.minimum(a, b)[3]
        shared = max(0, right - left) * max(0, bottom - top)
        covered = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        assert numbers(head)[:2] == [shared, covered]


def test_two_boxes_say_the_slopes_of_torch():
    seen = set()
    for state in states("two_boxes", 120):
        a, b = pair(state)
        if any(x == y for x in a[::2] for y in b[::2]) or any(x == y for x in a[1::2] for y in b[1::2]):
            continue  # kinks
        if a[0] == a[2] or a[1] == a[3]:
            continue
        x = torch.tensor([a], dtype=torch.float64, requires_grad=True)
        fast.paired_iou(x, torch.tensor([b], dtype=torch.float64), kind=FUNCTIONS[state["measure"]]).sum().backward()
        slopes = x.grad[0].tolist()
        picture, sentence = explorers.two_boxes(**state)
        for side, slope in zip(SIDES, slopes):
            if max(map(abs, slopes)) > 1e-9:
                told = re.search(rf"(−?[\d.]+) in {side}", sentence)[1]
                assert numbers(told)[0] == pytest.approx(slope, abs=0.000501) and "jumps" not in sentence
        if max(map(abs, slopes)) < 1e-9:
            assert "The slope of" in sentence and "is 0 on all four sides" in sentence or "No side" in sentence
        # one line an arrow, and each towards a higher measure
        arrows = re.findall(
            r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" stroke="var\(--cv-kernel', picture
        )
        moves = [(float(x2) - float(x1)) + (float(y2) - float(y1)) for x1, y1, x2, y2 in arrows]
        steep = [slope for slope in slopes if abs(slope) >= 1e-9]
        assert [math.copysign(1, move) for move in moves] == [math.copysign(1, slope) for slope in steep]
        assert all(0 <= float(value) <= 400 for arrow in arrows for value in arrow)
        order = np.argsort(np.abs(steep), kind="stable")  # the steeper the longer
        lengths = np.abs(moves)[order]
        assert (np.diff(lengths) >= -0.03).all()
        seen.add((state["measure"], len(steep) > 0))
    assert len(seen) >= 5


def test_two_boxes_apart_have_no_slope_of_iou_but_of_the_others():
    apart = {"x1": 0, "y1": 0, "x2": 3, "y2": 3, "target_x1": 8, "target_y1": 6, "target_x2": 11, "target_y2": 9}
    _, sentence = explorers.two_boxes(measure="IoU", **apart)
    assert "IoU 0.000, GIoU −0.818, DIoU −0.495, CIoU −0.495" in sentence
    assert sentence.endswith("is 0 on all four sides: it doesn't tell the box where to go.")
    assert "where the slope jumps" in explorers.two_boxes(target_x1=2)[1]
    for measure in ("GIoU", "DIoU", "CIoU"):
        assert "The slope of " + measure in explorers.two_boxes(measure=measure, **apart)[1]


def test_two_boxes_have_no_measure_where_corners_are_crossed_but_can_be_dragged_back():
    for state, words in (
        ({"x1": 9, "x2": 8}, "x2 of the box (=8) lies left of its x1 (=9). Make x2 at least 9, or x1 at most 8."),
        ({"y2": 1}, "y2 of the box (=1) lies above its y1 (=2). Make y2 at least 2, or y1 at most 1."),
        ({"target_x1": 16}, "x2 of the target (=12) lies left of its x1 (=16). Make x2 at least 16, or x1 at most 12."),
        ({"target_y2": 3}, "y2 of the target (=3) lies above its y1 (=4). Make y2 at least 4, or y1 at most 3."),
    ):
        for measure in FUNCTIONS:
            picture, sentence = explorers.two_boxes(measure, **state)
            assert sentence == "This is no box: " + words
            assert picture.count("data-drag-x") == 4 and picture.count("data-set") == 4
            assert not re.search(r' (?:width|height)="-', picture) and not re.search(r">−?\d\.\d\d\d<", picture)
            assert picture.count("var(--cv-kernel") == 2  # two words, and no arrow
    assert explorers.two_boxes(x1=8, x2=8, y1=4, y2=4)[0]  # a box without area is one


# --- suppression -------------------------------------------------------------------------


def test_scene_is_one_that_can_be_read():
    assert explorers.SCORES == sorted(explorers.SCORES, reverse=True)
    assert set(explorers.CLASSES) == set(explorers.ROLES)
    places = [explorers.label_of(i) for i in range(explorers.COUNT)]
    for i in range(explorers.COUNT):
        assert 10 <= places[i][0] <= 390 and BOXES[i, 2] <= 392 and BOXES[i, 3] <= 220
        for other in places[:i]:
            assert math.dist(places[i], other) >= 20  # two circles of 10


def expected(state):
    """Return indices and scores as the reference takes them, in its order."""
    method, threshold = explorers.METHODS[state["kind"]], state["threshold"]
    if method == "greedy":
        if state["class_wise"]:
            kept = reference.batched_nms(BOXES, SCORES, CLASSES, threshold)
        else:
            kept = reference.nms(BOXES, SCORES, threshold)
        return kept.tolist(), SCORES[kept].tolist()
    groups = [np.flatnonzero(CLASSES == label) for label in set(CLASSES.tolist())]
    if not state["class_wise"]:
        groups = [np.arange(len(BOXES))]
    pairs = []
    for group in groups:
        indices, scores = reference.soft_nms(
            BOXES[group], SCORES[group], iou_threshold=threshold, sigma=explorers.SIGMA, min_score=explorers.MIN_SCORE,
            method=method,
        )
        pairs += zip((-scores).tolist(), group[indices].tolist())
    return [i for _, i in sorted(pairs)], [-score for score, _ in sorted(pairs)]


def test_nms_scene_takes_what_the_reference_takes():
    seen = set()
    for state in states("nms_scene", 120):
        indices, scores = expected(state)
        walk = explorers.suppress(explorers.METHODS[state["kind"]], state["threshold"], state["class_wise"])
        assert [best for best, _ in walk] == indices
        final = list(explorers.SCORES)
        for _, falls in walk:
            for i, before, after in falls:
                assert final[i] == before
                final[i] = after
        assert [final[i] for i in indices] == pytest.approx(scores)
        taken = indices[:state["step"]]
        _, sentence = explorers.nms_scene(**state)
        if taken:
            assert f"taken ({', '.join(str(i + 1) for i in taken)}) and" in sentence
        if 0 < state["step"] <= len(indices):
            score = explorers.number(final[taken[-1]], 3)
            assert f"Step {state['step']} takes box {taken[-1] + 1}, {score}" in sentence
        seen.add((state["kind"], state["class_wise"], state["step"] <= len(indices)))
    assert len(seen) >= 8


def test_nms_scene_says_who_suppressed_whom():
    for state in states("nms_scene", 60):
        state["kind"] = "greedy"
        overlaps = reference.box_iou(BOXES, BOXES)
        suppressor, kept = {}, expected(state)[0]
        for i in range(len(BOXES)):
            for k in kept:
                same = not state["class_wise"] or CLASSES[k] == CLASSES[i]
                if i not in kept and k < i and same and overlaps[k, i] > state["threshold"]:
                    suppressor.setdefault(i, k)
        found = {}
        for best, falls in explorers.suppress("greedy", state["threshold"], state["class_wise"]):
            found |= {i: best for i, _, after in falls if after == 0}
        assert found == suppressor and len(found) + len(kept) == len(BOXES)
        picture, sentence = explorers.nms_scene(**{**state, "step": 12})
        lines = re.findall(r'<path d="((?:M[\d.]+ [\d.]+L[\d.]+ [\d.]+)+)"', picture)
        assert "".join(lines).count("M") == len(suppressor)
        assert f"{len(kept)} box" in sentence and f"and {len(suppressor)} removed" in sentence


def test_nms_scene_shows_what_its_scene_is_for():
    end = {"step": 12}
    # at 0.5 the second neighbour stays, and the cow only where classes are apart
    assert "6 boxes taken (1, 2, 3, 5, 6, 8)" in explorers.nms_scene(**end)[1]
    assert "7 boxes taken (1, 2, 3, 5, 6, 8, 11)" in explorers.nms_scene(class_wise=True, **end)[1]
    # at 0.2 true people go, the rider with the horse unless classes are apart
    assert "taken (1, 2, 3)" in explorers.nms_scene(threshold=0.15, **end)[1]
    assert "taken (1, 2, 3, 5, 11)" in explorers.nms_scene(threshold=0.15, class_wise=True, **end)[1]
    assert "the threshold plays no part" in explorers.nms_scene(kind="soft, Gaussian")[1]
