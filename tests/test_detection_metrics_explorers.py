"""The explorers of the chapter on metrics: what they say agrees with the reference, and the curve with NumPy."""

import random
import re

import numpy as np
import pytest

from cvnotes.detection_metrics import explorers, formulas, reference

NAMES = ("threshold_walk", "three_papers")
PLACES = {"all": range(12), "the surest half": range(6), "the least sure half": range(6, 12)}
ANY = [(0, np.inf)]


def states(name, count):
    """Yield random states of an explorer."""
    explorer, draw = getattr(explorers, name), random.Random(name)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def numbers(sentence):
    """Return the numbers of a sentence, in order."""
    return [float(text) for text in re.findall(r"\d+(?:\.\d+)?", sentence)]


def named(name, sentence):
    """Return the first number with three decimals after a name."""
    return float(re.search(rf"{name}[^.]*? (\d\.\d\d\d)", sentence)[1])


# --- what all have in common -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(name):
    explorer = getattr(explorers, name)
    for state in states(name, 60):
        picture, sentence, failed = explorer.render(state)
        assert (picture, sentence, failed) == explorer.render(state)
        assert not failed and picture.startswith("<svg") and picture.count("<") - picture.count("</") <= 150
        assert "NaN" not in picture + sentence and re.search(r"\d", sentence)
        assert not re.search(r' (?:width|height|r|x|y|cx|cy)="-', picture)


def test_a_click_gives_controls_values_that_they_have():
    seen = set()
    for state in states("threshold_walk", 10):
        for pair in re.findall(r'data-set="([^"]+)"', explorers.threshold_walk(**state)[0]):
            control, value = pair.split("=")
            assert value in [str(one) for one in explorers.threshold_walk.controls[control]]
            seen.add((control, value))
    assert len(seen) == 20 + 3


def test_a_drag_moves_the_threshold_by_one_detection_a_step():
    for state in states("threshold_walk", 30):
        picture, _ = explorers.threshold_walk(**state)
        (x, origin, step), = re.findall(r'<circle cx="(\d+)"[^>]*? data-drag-x="step (\d+) (\d+)"', picture)
        assert int(x) == int(origin) + state["step"] * int(step)


# --- the threshold walks -----------------------------------------------------------------


def curve(ranking, step):
    """Return recall and precision of the first detections, by NumPy."""
    marks, objects = explorers.RANKINGS[ranking]
    found = np.cumsum([mark == "+" for mark in marks[:step]])
    return found / objects, found / np.arange(1, step + 1)


def test_rankings_can_be():
    for marks, objects in explorers.RANKINGS.values():
        assert len(marks) == explorers.DETECTIONS and set(marks) == {"+", "-"} and marks.count("+") <= objects
    assert explorers.SCORES == sorted(explorers.SCORES, reverse=True) and min(explorers.SCORES) > 0


def test_threshold_walk_says_the_figures_of_the_reference():
    for state in states("threshold_walk", 60):
        step = state["step"]
        if not step:
            continue
        recall, precision = curve(state["ranking"], step)
        _, sentence = explorers.threshold_walk(**state)
        assert f"precision {int(round(precision[-1] * step))} / {step} = {precision[-1]:.3f}" in sentence
        assert named("recall", sentence) == pytest.approx(recall[-1], abs=0.000501)
        for name, interpolation in (("VOC07", "voc07"), ("VOC10", "voc10"), ("COCO", "coco")):
            value = reference.average_precision(recall, precision, interpolation=interpolation)
            assert named(name, sentence.partition("so far:")[2]) == pytest.approx(value, abs=0.000501)
        if state["interpolation"] != "VOC10":
            points = {"VOC07": np.arange(11) / 10, "COCO": np.arange(101) * 0.01}[state["interpolation"]]
            reached = int((points <= recall[-1]).sum())
            assert f"at {len(points)} recalls; {reached} of them are reached" in sentence


def test_threshold_walk_draws_the_curve():
    for state in states("threshold_walk", 30):
        recall, precision = curve(state["ranking"], state["step"])
        picture, _ = explorers.threshold_walk(**state)
        dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="(?:3.5|6)" fill="var\(--cv-(\w+)', picture)
        across = [(float(x) - explorers.PLOT) / (explorers.RIGHT - explorers.PLOT) for x, _, _ in dots]
        up = [(explorers.FLOOR - float(y)) / (explorers.FLOOR - explorers.ROOF) for _, y, _ in dots]
        assert across == pytest.approx(recall.tolist(), abs=1e-4) and up == pytest.approx(precision.tolist(), abs=1e-4)
        marks = explorers.RANKINGS[state["ranking"]][0][:state["step"]]
        assert [role for _, _, role in dots] == [{"+": "output", "-": "negative"}[mark] for mark in marks]


def test_threshold_walk_draws_what_an_interpolation_reads():
    high, wide = explorers.FLOOR - explorers.ROOF, explorers.RIGHT - explorers.PLOT
    for state in states("threshold_walk", 60):
        recall, precision = curve(state["ranking"], state["step"])
        if not state["step"]:
            continue
        kind = explorers.NAMES[state["interpolation"]]
        value = reference.average_precision(recall, precision, interpolation=kind)
        picture, _ = explorers.threshold_walk(**state)
        if kind == "voc10":  # the drawn area
            d, = re.findall(r'<path d="([^"]*)z" fill="var\(--cv-kernel', picture)
            area = 0
            for x, y, to in re.findall(r"[ML]([\d.]+) ([\d.]+)H([\d.]+)", d):
                area += (float(to) - float(x)) * (explorers.FLOOR - float(y)) / (high * wide)
            assert area == pytest.approx(value, abs=1e-3)
            continue
        lines = re.findall(r"M[\d.]+ ([\d.]+)V304", picture.rpartition('stroke-width="2.5"')[2])
        total = sum((explorers.FLOOR - float(y)) / high for y in lines)
        assert total / {"voc07": 11, "coco": 101}[kind] == pytest.approx(value, abs=1e-3)
        if kind == "voc07":
            assert picture.count('width="9" height="9"') == 11


def test_threshold_walk_before_the_first_detection():
    for ranking, (_, objects) in explorers.RANKINGS.items():
        picture, sentence = explorers.threshold_walk(ranking=ranking, step=0)
        assert sentence == f"No detection counts yet: recall 0 of {objects} objects, and average precision 0."
        assert picture.count("0.000<") == 3


def test_threshold_walk_shows_the_cases_that_it_is_for():
    # the eleven points and the area differ by half a tenth where half is found
    _, sentence = explorers.threshold_walk(ranking="finds half", step=20)
    assert "VOC07 0.501, VOC10 0.451, COCO 0.457" in sentence
    # misses at the end of the list cost nothing
    _, before = explorers.threshold_walk(ranking="good", step=14)
    _, after = explorers.threshold_walk(ranking="good", step=20)
    for sentence in (before, after):
        assert "VOC07 0.806, VOC10 0.786, COCO 0.788" in sentence
    # misses at its beginning do
    assert "VOC07 0.538, VOC10 0.532, COCO 0.532" in explorers.threshold_walk(ranking="sure of its misses", step=20)[1]


# --- three papers ------------------------------------------------------------------------


def images(state):
    """Return ground truth and detections for the reference, placed by NumPy."""
    objects = np.array(explorers.OBJECTS, float)
    rows = []
    for i, (_, thing, direction, off) in enumerate(explorers.FOUND):
        box = objects[thing] if isinstance(thing, int) else np.array(thing, float)
        share = (off + state["shift"] * (i in PLACES[state["shifted"]])) / 100
        rows.append(box + np.tile(np.array(direction) * share * (box[2:] - box[:2]), 2))
    scores = np.array([found[0] for found in explorers.FOUND])
    ones = np.ones(len(objects), int), np.ones(len(rows), int)
    return [{"boxes": objects, "labels": ones[0]}], [{"boxes": np.array(rows), "labels": ones[1], "scores": scores}]


def figures(state, interpolation, thresholds, inclusive):
    """Return the average precisions of the reference."""
    result = reference.evaluate(
        *images(state), iou_thresholds=thresholds, interpolation=interpolation, areas=ANY, max_detections=[None],
        inclusive=inclusive,
    )
    return result["average_precision"].ravel()


def test_scene_stays_in_the_picture():
    scores = [found[0] for found in explorers.FOUND]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == len(scores) == len(PLACES["all"])
    for shift in (0, 40):
        boxes = np.array(explorers.detections(shift, "all"))
        assert boxes[:, :2].min() >= 0 and boxes[:, 2].max() <= 390 and boxes[:, 3].max() <= 214


def test_three_papers_say_the_figures_of_the_reference():
    for state in states("three_papers", 50):
        truth, found = images(state)
        _, sentence = explorers.three_papers(**state)
        own = np.array(explorers.detections(state["shift"], state["shifted"]))
        assert abs(own - found[0]["boxes"]).max() < 1e-9
        for name in ("VOC07", "VOC10"):
            value = figures(state, name.lower(), [state["iou_threshold"]], state["plus_one"])[0]
            assert named(name, sentence) == pytest.approx(value, abs=0.000501)
        each = figures(state, "coco", list(formulas.IOU_THRESHOLDS), False)
        assert named("ten IoUs", sentence) == pytest.approx(each.mean(), abs=0.000501)
        assert numbers(sentence)[-6::2] == pytest.approx(each[[0, 5, 9]], abs=0.000501)
        summary = reference.coco_summary(truth, found)
        assert summary["AP"] == pytest.approx(each.mean())  # no area that COCO leaves out


def test_three_papers_colour_the_hits_of_voc():
    for state in states("three_papers", 30):
        picture, sentence = explorers.three_papers(**state)
        recall = reference.evaluate(
            *images(state), iou_thresholds=[state["iou_threshold"]], interpolation="voc10", areas=ANY,
            max_detections=[None], inclusive=state["plus_one"],
        )["recall"].item()
        hits = len(re.findall(r'fill="none" stroke="var\(--cv-output', picture))
        assert hits == round(8 * recall) and f"12 detections find {hits} of 8 objects" in sentence
        assert len(re.findall(r'fill="none" stroke="var\(--cv-negative', picture)) == 12 - hits


def test_three_papers_show_what_they_are_for():
    # VOC does not see that boxes are badly placed, as long as they pass; COCO does
    for shift, coco in ((0, "0.671"), (10, "0.405")):
        _, sentence = explorers.three_papers(shift=shift)
        assert "VOC07 0.844, VOC10 0.844" in sentence and f"over ten IoUs is {coco}" in sentence
    # a shift of the surest boxes costs more than the same of the others
    surest, others = (explorers.three_papers(shift=30, shifted=name)[1] for name in tuple(PLACES)[1:])
    assert named("ten IoUs", surest) == 0.178 and named("ten IoUs", others) == 0.434
    # a pixel more saves the smallest object, 12 pixels wide, and changes nothing for COCO
    found = [explorers.three_papers(shift=20, shifted="the least sure half", plus_one=on)[1] for on in (False, True)]
    assert [named("VOC10", sentence) for sentence in found] == [0.75, 0.844]
    assert named("ten IoUs", found[0]) == named("ten IoUs", found[1])
    # a detection that has slid onto a neighbour, which is taken: VOC gives it nothing
    state = {"shift": 25, "shifted": "the least sure half", "iou_threshold": 0.3, "plus_one": False}
    coco = reference.evaluate(
        *images(state), iou_thresholds=[0.3], interpolation="voc10", areas=ANY, max_detections=[None], matching="coco"
    )
    assert coco["recall"].item() == 1 and "find 7 of 8 objects" in explorers.three_papers(**state)[1]
    _, sentence = explorers.three_papers(shift=0, shifted="all")
    assert sentence.startswith("No box is shifted. ")


# --- what the page says ----------------------------------------------------------------


def test_try_this_of_threshold_walk_happens():
    for step, precision in ((14, "9 / 14 = 0.643"), (20, "9 / 20 = 0.450")):
        _, sentence = explorers.threshold_walk("good", step)
        assert f"precision {precision}" in sentence and "VOC07 0.806, VOC10 0.786, COCO 0.788" in sentence
    good, unsure = (explorers.RANKINGS[name][0] for name in ("good", "sure of its misses"))
    assert set(good[14:]) == {"-"} and unsure.startswith("---") and unsure.count("+") == good.count("+")
    _, sentence = explorers.threshold_walk("sure of its misses", 20)
    assert "VOC07 0.538, VOC10 0.532, COCO 0.532" in sentence
    for before, after in ((0.806, 0.538), (0.786, 0.532), (0.788, 0.532)):
        assert abs(after / before - 2 / 3) < 0.02
    _, sentence = explorers.threshold_walk("finds half", 20, "VOC07")
    assert "recall 5 / 10" in sentence and "VOC07 0.501, VOC10 0.451, COCO 0.457" in sentence
    assert "at 11 recalls; 6 of them are reached" in sentence


def test_try_this_of_three_papers_happens():
    for shift, coco in ((0, "0.671"), (10, "0.405")):
        _, sentence = explorers.three_papers(shift)
        assert "find 8 of 8 objects: VOC07 0.844, VOC10 0.844" in sentence and f"over ten IoUs is {coco}" in sentence
    for plus_one, found, voc in ((False, 7, "0.750"), (True, 8, "0.844")):
        _, sentence = explorers.three_papers(20, "the least sure half", plus_one=plus_one)
        assert f"find {found} of 8 objects" in sentence and f"VOC10 {voc}" in sentence
        assert "over ten IoUs is 0.469" in sentence
    x1, y1, x2, y2 = small = min(explorers.OBJECTS, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    assert (x2 - x1, y2 - y1) == (12, 12)
    # it is the one that is lost
    (i,) = [i for i, found in enumerate(explorers.FOUND) if found[1] == explorers.OBJECTS.index(small)]
    box = explorers.detections(20, "the least sure half")[i]
    for more, found in ((0, False), (1, True)):
        ours, theirs = ((*one[:2], one[2] + more, one[3] + more) for one in (box, small))
        assert (formulas.overlap(ours, theirs) >= 0.5) == found
