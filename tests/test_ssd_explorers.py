"""The explorers of SSD: what they say agrees with the reference and the fast version."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cvnotes import data, train
from cvnotes.boxes import fast as boxes_fast
from cvnotes.models import small_detectors
from cvnotes.ssd import explorer_data, explorers, fast, figures, formulas, reference

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "chapters" / "data" / "ssd_outputs.safetensors"
NAMES = ("default_boxes", "matching", "hard_negatives", "patches", "pipeline")


@pytest.fixture(scope="module")
def stored():
    """What the small trained SSD says."""
    return explorer_data.stored(STORED)


@pytest.fixture(scope="module")
def made(stored):
    """All explorers, bound to their data."""
    scene = explorer_data.scene()
    found = {name: getattr(explorers, name).with_data(scene) for name in ("default_boxes", "matching", "patches")}
    found["hard_negatives"] = explorers.hard_negatives.with_data(explorer_data.hard_negatives(stored.first, stored.later))
    found["pipeline"] = explorers.pipeline.with_data(explorer_data.pipeline(stored.later))
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
    stored = explorer_data.stored(STORED)
    assert explorer_data.pipeline(stored.later) == made["pipeline"].data
    assert explorer_data.hard_negatives(stored.first, stored.later) == made["hard_negatives"].data
    assert explorer_data.scene() == made["matching"].data
    assert sum(len(repr(made[name].data)) for name in NAMES) < 300_000  # all are on one page


def test_sentences_say_where_scores_come_from(made):
    for name in ("hard_negatives", "pipeline"):
        for state in states(made[name], name, 20):
            words = "a small SSD before its training" if state.get("stage") == "first step" else "a small trained SSD"
            assert f"those of {words}" in made[name].render(state)[1]


def test_a_bitmap_is_the_image_but_for_three_bits():
    from io import BytesIO
    from urllib.request import urlopen

    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with urlopen(data.bitmap(image)) as file:
        shown = np.asarray(Image.open(BytesIO(file.read())).convert("RGB"))
    assert shown.shape == image.shape and (shown >> 3 == image >> 3).all()


# --- what is stored ----------------------------------------------------------------------


def test_stored_outputs_are_those_of_the_weights(stored, benchmark):
    fresh = benchmark("ssd_outputs").outputs(ROOT / "chapters" / "data" / "detectors_ssd.safetensors")
    for name, rows in (("first", [stored.first]), ("later", [stored.later, *stored.shown])):
        for kind in ("scores", "offsets"):
            ours = np.stack([getattr(outputs, kind).numpy() for outputs in rows])
            # Half precision has 11 bits; a sum of another processor may fall on the other side of one.
            np.testing.assert_allclose(ours, fresh[f"{name}.{kind}"].astype(float), rtol=2e-3, atol=2e-3)
    assert not np.allclose(stored.first.scores, stored.later.scores, atol=1)


def test_stored_outputs_belong_to_the_boxes_of_the_detector(stored):
    detector = train.load_weights(ROOT / "chapters" / "data" / "detectors_ssd.safetensors")
    assert len(stored.shown) == explorer_data.SHOWN
    for outputs in (stored.first, stored.later, *stored.shown):
        torch.testing.assert_close(outputs.default_boxes.float(), detector.boxes)
        assert sum(n * n * in_place for n, in_place in outputs.places) == len(outputs.scores) == len(outputs.offsets) == 1360
        own = detector.detect((outputs.scores[None], outputs.offsets[None]), min_score=0.3)[0]
        found = explorer_data.detections(outputs, 0.3)
        assert [label for label, _, _ in found] == own["labels"].tolist() and len(found) > 0 or outputs is stored.first
        np.testing.assert_allclose([box for _, _, box in found], (own["boxes"] / 128).reshape(-1, 4), atol=1e-6)


def test_without_a_file_nothing_is_shown(tmp_path):
    with pytest.raises(FileNotFoundError):
        explorer_data.stored(tmp_path / "ssd_outputs.safetensors")


def test_verdicts_count_each_object_once_and_pass_over_crowds():
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 40, 40], [0, 40, 30, 64]])
    image, masks = np.zeros((64, 64, 3), np.uint8), None
    example = data.Example(image, boxes, np.array([2, 3, 4]), np.array([False, False, True]), np.zeros(3), masks)
    outputs = explorer_data.Outputs(example, None, None, None, (), "")
    one, two, crowd = boxes / 64
    for found, expected in (
        ([(2, 0.9, one), (2, 0.8, one), (3, 0.7, two)], ["right", "wrong", "right"]),
        ([(3, 0.9, one), (2, 0.8, one), (2, 0.7, two)], ["wrong", "right", "wrong"]),
        ([(2, 0.9, [0, 0, 0.06, 0.06]), (2, 0.8, [0, 0, 10 / 64, 0.09])], ["wrong", "right"]),
        ([(4, 0.9, crowd), (4, 0.8, [0, 0.7, 0.1, 0.8]), (3, 0.7, crowd), (4, 0.6, two)], ["crowd", "crowd", "wrong", "wrong"]),
    ):
        assert explorer_data.verdicts(outputs, [(c, score, list(box)) for c, score, box in found]) == expected


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
        assert (f"{near} more with 0.3 or more don't match" in sentence) == (near > 0)
    assert 10 < forced < 70


# --- hard negatives ----------------------------------------------------------------------


def test_hard_negatives_say_what_mining_keeps(made, stored):
    for stage, outputs in (("first step", stored.first), ("later", stored.later)):
        example = outputs.example
        index = fast.match(torch.from_numpy(example.boxes / len(example.image)), outputs.default_boxes)
        labels = torch.where(index >= 0, torch.from_numpy(example.labels)[index] + 1, 0)
        loss = torch.nn.functional.cross_entropy(outputs.scores, labels, reduction="none")
        for ratio in (1, 3, 10):
            kept = fast.hard_negative_mining(loss[None], index[None] >= 0, ratio=ratio)[0] & (index < 0)
            _, sentence = made["hard_negatives"](stage=stage, ratio=ratio)
            found = numbers(sentence)
            positives = int((index >= 0).sum())
            assert found[:3] == [positives, 1360 - positives, kept.sum()] and kept.sum() == ratio * positives
            assert found[3] == pytest.approx(loss[kept].min().item(), abs=0.0011)
            assert found[4:7] == pytest.approx(
                [loss[kept].sum().item(), loss[index >= 0].sum().item(), loss[index < 0].sum().item()], abs=0.06, rel=1e-3
            )


def test_bars_hold_all_negatives(made):
    for own in (made["hard_negatives"].data[stage] for stage in explorers.STAGES):
        assert sum(own["bars"]) == own["count"] == 1360 - len(own["positives"])
        assert own["hardest"] == sorted(own["hardest"], reverse=True)
        assert [explorers._tick(edge) for edge in own["edges"][::4]] == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]


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


def test_pipeline_ends_where_detect_ends(made, stored):
    outputs = stored.later
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


def test_pipeline_counts_the_scores_over_the_threshold(made, stored):
    p = stored.later.scores.softmax(1)[:, 1:]
    for min_score in explorers.SCORES:
        _, sentence = made["pipeline"](step=2, min_score=min_score)
        assert numbers(sentence)[1] == pytest.approx((p > min_score).sum().item(), abs=2)
        assert numbers(sentence)[2] == 8160 == 1360 * 6


def test_the_surest_box_of_a_place_is_that_of_any_map():
    scores = torch.zeros(80)
    scores[4 * (4 * 1 + 2) + 3], scores[64 + 4 * 2] = 0.5, 0.25  # map 1, row 1, column 2; map 2, row 1, column 0
    expected = torch.zeros(4, 4)
    expected[1, 2], expected[2:, :2] = 0.5, 0.25
    assert torch.equal(explorer_data._surest(scores, ((4, 4), (2, 4))), expected)


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


def test_matched_by_size_is_what_the_variants_match():
    found = explorer_data.matched_by_size(20)
    assert [boxes for boxes, _ in found.values()] == [1360, 1024, 4096]
    for (variant, (boxes, matched)), maps in zip(found.items(), ("all", "middle", "fine")):
        detector = small_detectors.build("ssd", len(data.CLASSES), image_size=128, maps=maps)
        assert len(detector.boxes) == boxes
        counts = {"small": [], "medium": [], "large": []}
        for i in range(20):
            example = train.unseen(i)
            boxes_ = torch.from_numpy(example.boxes[~example.iscrowd]).float()
            index = detector.match(boxes_ / 128)
            for j, area in enumerate(example.area[~example.iscrowd]):
                counts["small" if area < 256 else "medium" if area < 2304 else "large"].append((index == j).sum().item())
        assert matched == pytest.approx([np.mean(each) for each in counts.values()], abs=0.02)


# --- figures -----------------------------------------------------------------------------


def made_up_training():
    """Return what `benchmarks/detectors_training.py` writes, as far as the figures read it, with numbers of a test."""
    def summary(mean):
        return {"seeds": [mean - 0.01, mean, mean + 0.01], "mean": mean, "deviation": 0.01}

    return {"variants": {
        variant: {"boxes": 1000 + i, "params": 5000, "summary": {size: summary(0.1 * i + 0.25) for size in figures.FIGURES}}
        for i, variant in enumerate(figures.VARIANTS)
    }}


def test_table_by_size_has_means_and_deviations_in_percent():
    rows = figures.size_table(made_up_training()).data.splitlines()
    assert rows[2] == "| four maps | 1,000 | 5,000 | 25.0 ± 1.0 | 25.0 ± 1.0 | 25.0 ± 1.0 | 25.0 ± 1.0 |"
    assert rows[4].startswith("| the fine map | 1,002 | 5,000 | 45.0 ± 1.0 |")


def test_plot_by_size_shows_each_seed_and_the_deviation():
    (axes,) = figures.plot_by_size(made_up_training()).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([25] * 4 + [35] * 4 + [45] * 4)
    dots = [line.get_ydata() for line in axes.lines if line.get_marker() == "."]
    assert len(dots) == 12 and list(dots[0]) == pytest.approx([24, 25, 26])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(figures.VARIANTS.values())


def test_detections_are_drawn_with_names_and_scores(stored):
    picture = figures.draw_detections(stored.shown)
    for outputs in stored.shown:
        for i, (c, score, _) in enumerate(explorer_data.detections(outputs, 0.5)):
            assert f">{i + 1} {data.CLASSES[c]} {score:.2f}<" in picture
    assert picture.count("<image") == picture.count("<use") == len(stored.shown)


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
    assert "33 hardest negatives, " in mined()[1] and "7.06 together" in mined()[1]
    assert "2.4% of them carry 82.7% of it" in mined()[1] and "2.4% of them carry 3.1% of it" in mined(stage="first step")[1]
    assert "33 negatives at random have 0.21 together, in the mean" in mined(negatives="at random")[1]
    shares = [["0.8%", "20.7%"], ["48.6%", "53.4%"]]
    for stage, wanted in zip(("first step", "later"), shares):
        shown = [mined(stage=stage, negatives=choice)[0] for choice in ("all", "the hardest")]
        assert all(f">{share} positives<" in picture for share, picture in zip(wanted, shown))
    assert "73 more with 0.3 or more" in matching()[1]
    first = mined.data["first step"]
    assert first["total"] / first["count"] == pytest.approx(np.log(7), rel=0.02)
    assert first["hardest"][0] < 1000 * (np.log(7) + 1) and sum(first["bars"][16:18]) == first["count"]  # 1 to 3.2


def test_hardest_negatives_nearly_match(stored):
    outputs = stored.later
    boxes = torch.from_numpy(outputs.example.boxes / 128)
    negative = fast.match(boxes, outputs.default_boxes) < 0
    loss = torch.nn.functional.cross_entropy(outputs.scores, torch.zeros(1360, dtype=torch.long), reduction="none") * negative
    hardest = loss.argsort(descending=True)[:12]
    overlap = boxes_fast.box_iou(outputs.default_boxes[hardest], boxes).amax(1)
    assert (round(overlap.min().item(), 2), round(overlap.max().item(), 2)) == (0.34, 0.48)
    assert loss[hardest].sum() > 0.75 * loss.sum()
    overlap = boxes_fast.box_iou(outputs.default_boxes, boxes).amax(1)
    counting = loss.argsort(descending=True)[:33]
    assert (overlap[counting] < 0.3).sum() == 15 and negative.sum() - (negative & (overlap >= 0.3)).sum() > 1300
    assert loss[overlap < 0.3].sum() / loss.sum() == pytest.approx(0.2, abs=0.01)


def test_small_ssd_finds_what_the_chapter_says(stored):
    found = [explorer_data.detections(outputs, 0.5) for outputs in stored.shown]
    verdicts = [explorer_data.verdicts(outputs, own) for outputs, own in zip(stored.shown, found)]
    assert [(~outputs.example.iscrowd).sum() for outputs in stored.shown] == [1, 4, 1, 8]
    assert [own.count("right") for own in verdicts] == [1, 3, 1, 7]
    assert [[i + 1 for i, word in enumerate(own) if word == "crowd"] for own in verdicts] == [[], [], [], [7, 9]]
    assert [[i + 1 for i, word in enumerate(own) if word == "wrong"] for own in verdicts] == [[], [], [], [10]]
    assert data.CLASSES[found[3][9][0]] == "cross" and {data.CLASSES[found[3][i][0]] for i in (6, 8)} == {"square"}
    circles = [[box for box, label in zip(o.example.boxes, o.example.labels) if data.CLASSES[label] == "circle"] for o in stored.shown]
    assert [[data.CLASSES[c] for c, _, _ in own].count("circle") for own in found] == [0, 1, 0, 0]
    assert [len(own) for own in circles] == [0, 2, 0, 1] and (circles[3][0][2:] - circles[3][0][:2]).tolist() == [8, 9]
    x1, y1, x2, y2 = (128 * x for x in next(box for c, _, box in found[1] if data.CLASSES[c] == "circle"))
    assert max(x2 - x1, y2 - y1) < 20  # the small one of the two
    assert _best_score(stored.shown[1], circles[1][0]) == pytest.approx(0.18, abs=0.005)
    assert _best_score(stored.shown[3], circles[3][0]) < 0.003


def _best_score(outputs, circle):
    """Return the best score as a circle of all boxes with an IoU of 0.5 or more with this one, given in pixels."""
    boxes = boxes_fast.decode(outputs.offsets, outputs.default_boxes, weights=formulas.CODE, max_log_scale=formulas.MAX_LOG_SCALE)
    near = boxes_fast.box_iou(boxes.clamp(0, 1), torch.from_numpy(circle[None] / 128))[:, 0] >= 0.5
    assert near.any()
    return outputs.scores.softmax(1)[near, 1 + data.CLASSES.index("circle")].max().item()


def test_long_objects_fall_between_the_scales():
    squares, long = (explorer_data.best_overlaps(explorers.SCALES["its code, for COCO"], [0.0983, 0.2159], r) for r in (1.0, 3.0))
    assert all(mean > 0.7 for _, mean, _ in squares) and all(0.45 < mean < 0.5 for _, mean, _ in long)
    assert len(explorer_data.best_overlaps(explorers.SCALES["its code, for COCO"], [0.5, 0.6, 0.7], 3.0)) == 1  # wider than the image


def test_few_scores_of_the_trained_detector_reach_the_threshold(stored):
    generator = torch.Generator().manual_seed(0)
    chance = (3 * torch.randn(8732, 21, generator=generator)).softmax(1)[:, 1:] > 0.01  # as benchmarks/ssd.py has them
    assert chance.double().mean() == pytest.approx(0.31, abs=0.005)
    assert all((outputs.scores.softmax(1)[:, 1:] > 0.01).double().mean() < 0.03 for outputs in (stored.later, *stored.shown))


def test_a_looser_suppression_lets_the_fitting_square_stay(stored):
    outputs, square = stored.later, data.CLASSES.index("square")
    found = {
        limit: fast.detect(
            outputs.scores[None], outputs.offsets[None], outputs.default_boxes, min_score=0.1, iou_threshold=limit
        )[0] for limit in (0.45, 0.6)
    }
    assert [len(one["scores"]) for one in found.values()] == [7, 8]
    real = outputs.example.boxes[outputs.example.labels == square] / 128
    mine = found[0.6]["labels"] == square + 1
    boxes, scores = found[0.6]["boxes"][mine], found[0.6]["scores"][mine]
    assert [round(score, 2) for score in scores.tolist()] == [0.23, 0.14]
    overlap = boxes_fast.box_iou(boxes, torch.from_numpy(real))[:, 0].tolist()
    assert overlap[0] < 0.5 and round(overlap[1], 2) == 0.70
    assert 0.45 < boxes_fast.box_iou(boxes[:1], boxes[1:]).item() < 0.6


def test_more_than_half_of_the_near_misses_are_below_04():
    _, near, _ = explorers.matches(formulas.default_box(0.55, 0.67, 0.35, 0.35, True), 0.5)
    overlaps = [overlap for own in near for overlap, _ in own]
    assert len(overlaps) == 73 and sum(overlap < 0.4 for overlap in overlaps) == 40


def test_try_this_says_what_becomes_of_patches_and_scores(made):
    patches, pipeline = made["patches"], made["pipeline"]
    assert "42% of the ring is to be seen too, but its box is gone" in patches(draw=8)[1]
    draws = patches.controls["draw"]
    assert sum("0 of 5 objects" in patches(overlap="any", draw=draw)[1] for draw in draws) == 11
    for overlap, failed in (("0.7", 31), ("0.9", 40)):
        assert sum(patches(overlap=overlap, draw=draw)[1].startswith("None of 50") for draw in draws) == failed
    words = [pipeline(step=step)[1] for step in range(1, 7)]
    for step, count in ((2, "21 of 8,160"), (4, "21 in all"), (5, "14 go, 7 stay"), (6, "the 7 best")):
        assert count in words[step - 1]
    assert "the 21 best" in pipeline(step=6, iou_threshold=1.0)[1]
    picture, sentence = pipeline(step=6, min_score=0.3)
    names = re.findall(r"([a-z]+) 0", sentence)
    assert "the 5 best" in sentence and sorted(names) == ["circle", "cross", "star", "star", "triangle"]


def test_one_box_holds_cross_and_square(stored):
    found = explorer_data.detections(stored.later, 0.1)
    assert explorer_data.verdicts(stored.later, found)[:5] == ["right"] * 4 + ["wrong"] and len(found) == 7
    names = [data.CLASSES[c] for c, _, _ in found]
    assert names[4:] == ["cross", "square", "triangle"] and round(found[4][1], 2) == 0.54
    boxes = {data.CLASSES[label]: box / 128 for label, box in zip(stored.later.example.labels, stored.later.example.boxes)}
    both = np.concatenate([np.minimum(boxes["cross"], boxes["square"])[:2], np.maximum(boxes["cross"], boxes["square"])[2:]])
    for _, _, box in found[4:]:
        assert np.abs(np.array(box) - both).max() < 2 / 128
