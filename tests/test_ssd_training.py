"""What the chapter on SSD says of trained detectors holds for what was measured."""

import json
from pathlib import Path

import pytest

from cvnotes import train
from cvnotes.ssd import explorer_data, figures

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
FOUR, MIDDLE, FINE = "ssd", "ssd, middle map", "ssd, fine map"


@pytest.fixture(scope="module")
def training():
    return json.loads((DATA / "detectors_training.json").read_text())


def clearly_better(training, first, second, size):
    """Tell whether one variant has more than another, by more than the deviations of both together."""
    one, two = (training["variants"][variant]["summary"][size] for variant in (first, second))
    return one["mean"] - two["mean"] > one["deviation"] + two["deviation"]


def test_training_is_the_one_that_the_chapter_describes(training):
    settings = training["settings"]
    assert (settings["steps"], settings["seeds"], settings["scenes"], settings["tested"]) == (800, 3, 4000, 500)
    assert (settings["small_below"], settings["large_from"], settings["batch"]) == (16, 48, 16)
    kept = training["kept"]["ssd"]["settings"]
    assert (kept["steps"], kept["batch"], kept["seed"], kept["flip"]) == (4800, 16, 0, True)
    assert train.Settings._field_defaults["steps"] == 1500
    for variant, boxes in ((FOUR, 1360), (MIDDLE, 1024), (FINE, 4096)):
        own = training["variants"][variant]
        assert own["boxes"] == boxes and all(len(own["summary"][size]["seeds"]) == 3 for size in figures.FIGURES)


def test_kept_detector_is_better_by_far_than_the_shorter_trainings(training):
    summary, short = training["kept"]["ssd"]["summary"], training["variants"][FOUR]["summary"]
    for size in figures.FIGURES:
        assert summary[size] > max(short[size]["seeds"]) + 0.05
    assert summary["APl"] > 2 * short["APl"]["mean"]


def test_four_maps_are_better_at_small_objects_alone(training):
    for other in (MIDDLE, FINE):
        assert clearly_better(training, FOUR, other, "APs")
        assert clearly_better(training, other, FOUR, "APm") and clearly_better(training, other, FOUR, "APl")

    assert clearly_better(training, FINE, FOUR, "AP")
    ahead = training["variants"][FINE]["summary"]["AP"]["mean"] - training["variants"][FOUR]["summary"]["AP"]["mean"]
    assert 0.015 < ahead < 0.03


def test_few_default_boxes_match_a_large_object_with_four_maps():
    found = explorer_data.matched_by_size()
    assert [round(counts[2]) for _, counts in found.values()] == [2, 17, 69]
    assert 2.5 < found[FINE][0] / found[FOUR][0] < 3.5
