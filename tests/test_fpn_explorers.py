"""The explorers of feature pyramids: what they say agrees with torch, the models and the reference."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cvnotes.data import CLASSES
from cvnotes.fpn import explorer_data, explorers, fast, formulas
from cvnotes.models import fpn as models

NAMES = ("pyramid", "which_level", "top_down")
OUTPUTS = Path(__file__).parent.parent / "chapters" / "data" / "fpn_outputs.safetensors"


@pytest.fixture(scope="module")
def made():
    """All explorers, bound to their data."""
    return {
        "pyramid": explorers.pyramid, "which_level": explorers.which_level,
        "top_down": explorers.top_down.with_data(explorer_data.top_down(OUTPUTS)),
    }


def states(explorer, seed, count):
    """Yield random states of an explorer."""
    draw = random.Random(seed)
    for _ in range(count):
        yield {control: draw.choice(values) for control, values in explorer.controls.items()}


def integers(text):
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)]


@pytest.mark.parametrize("name", NAMES)
def test_explorer_shows_a_picture_and_a_sentence_in_random_states(made, name):
    for state in states(made[name], name, 150):
        picture, sentence, failed = made[name].render(state)
        assert not failed and picture.startswith("<svg")
        assert picture.count("<") - picture.count("</") <= 150
        assert re.search(r"\d", sentence) and "nan" not in (picture + sentence).lower() and "∞" not in sentence
        width, height = (float(x) for x in re.search(r'viewBox="0 0 (\S+) (\S+)"', picture).groups())
        assert width == 400
        for x, y in re.findall(r'[ "]c?x="([-\d.]+)" c?y="([-\d.]+)"', picture):
            assert -0.01 <= float(x) <= 400.01 and 0 <= float(y) <= height
        for x, wide in re.findall(r'rect x="([-\d.]+)" y="[-\d.]+" width="([-\d.]+)"', picture):
            assert float(wide) >= 0 and float(x) + float(wide) <= 400.01
        for d in re.findall(r'path d="([^"]+)"', picture):
            assert all(-0.01 <= float(x) <= 400.01 for x in re.findall(r"M([-\d.]+) ", d))


# --- the pyramid -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    with torch.device("meta"):
        return models.BackboneWithFPN(2, models.Subsampling()), models.P6P7(256, 256)


def test_pyramid_has_the_sizes_of_the_network(made, backbone):
    """On meta tensors, also with sides that don't divide."""
    network, further = backbone
    for state in list(states(made["pyramid"], "sizes", 25)) + [{"height": 800, "width": 1333, "pad": False}]:
        full = {**made["pyramid"].defaults, **state}
        H, W = (math.ceil(side / 32) * 32 if full["pad"] else side for side in (full["height"], full["width"]))
        with torch.device("meta"):
            levels = network(torch.empty(1, 3, H, W))[:4]
            levels += further(levels[-1])
        sizes = [tuple(level.shape[2:]) for level in levels][full["lowest"] - 2:full["highest"] - 1]
        picture, sentence = made["pyramid"](**state)
        drawn = [tuple(map(int, pair)) for pair in re.findall(r">(\d+) × (\d+)</text>", picture)]
        assert drawn == sizes[::-1]
        total = sum(a * b for a, b in sizes)
        share = 100 * sizes[0][0] * sizes[0][1] / total
        assert f"has {share:.1f}% of all {total:,} places; with 3 anchors in each there are {3 * total:,}." in sentence
        uneven = [
            f"{b[k]} to {a[k]} {('rows', 'columns')[k]} of P{level}"
            for level, (a, b) in enumerate(zip(sizes, sizes[1:]), full["lowest"]) if level < 5
            for k in (0, 1) if a[k] != 2 * b[k]
        ]
        assert all(words in sentence for words in uneven)
        assert ("each side exactly doubles" in sentence) == (not uneven)
        assert not (full["pad"] and uneven)


# --- the level of a box --------------------------------------------------------------------


def test_which_level_is_that_of_box_level(made):
    for state in states(made["which_level"], "levels", 200):
        w, h, k0, size0 = (state[name] for name in ("width", "height", "k0", "size0"))
        box = torch.tensor([[0.0, 0.0, w, h]], dtype=torch.float64)
        level = fast.box_level(box, k0=k0, size0=size0).item()
        free = fast.box_level(box, k0=k0, size0=size0, lowest=-30, highest=30).item()
        picture, sentence = made["which_level"](**state)
        said = re.search(r"= (−?[\d.]+), rounded down to (−?\d+)", sentence)
        exact = k0 + math.log2(math.sqrt(w * h) / size0)
        assert float(said[1].replace("−", "-")) == pytest.approx(exact, abs=0.0051)
        assert int(said[2].replace("−", "-")) == free
        assert f"On P{level} a place is {2**level} pixels wide" in sentence
        assert ("the finest level is P2" in sentence) == (free < 2)
        assert ("the coarsest level is P5" in sentence) == (free > 5)
        wide, tall = (float(x) for x in re.search(r"measures ([\d.]+) × ([\d.]+) places", sentence).groups())
        assert (wide, tall) == pytest.approx((w / 2**level, h / 2**level), abs=0.0501)


def test_which_level_draws_the_places_that_the_box_touches(made):
    for state in states(made["which_level"], "places", 60):
        picture, sentence = made["which_level"](**state)
        level = int(re.search(r"On P(\d)", sentence)[1])
        stride, w, h = 2**level, state["width"], state["height"]
        x1, y1 = (640 - w) / 2, (480 - h) / 2
        columns = math.ceil((x1 + w) / stride) - math.floor(x1 / stride)
        rows = math.ceil((y1 + h) / stride) - math.floor(y1 / stride)
        grid = max(re.findall(r'path d="([^"]+)"', picture), key=len)
        assert grid.count("V") == columns + 1 and grid.count("H") == rows + 1


def test_explorer_does_not_hang_on_the_last_digit_of_log(made, monkeypatch):
    wanted = [(state, made["which_level"].render(state)) for state in states(made["which_level"], "log", 60)]
    for towards in (-math.inf, math.inf):
        monkeypatch.setattr(explorers, "log", lambda x: math.nextafter(math.log(x), towards))
        for state, rendered in wanted:
            assert made["which_level"].render(state) == rendered


def test_log2_is_exact_at_powers_of_two():
    assert [explorers._log2(2.0**k) for k in range(-5, 6)] == list(range(-5, 6))
    assert explorers._log2(3.0) == pytest.approx(np.log2(3.0))


# --- what top-down adds --------------------------------------------------------------------


def pixels(uri):
    """Return the bytes of a bitmap of 24 bits that a `data:` URI holds, (H, W, 3), read by Pillow."""
    import base64
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_coloured_maps_are_white_at_nothing_and_blue_and_orange_at_the_ends():
    image = explorer_data.coloured(np.array([[0.0, 2.0, -2.0, 9.0, 1.0]]), 2.0)
    assert image[0, :4].tolist() == [list(c) for c in (
        explorer_data.WHITE, explorer_data.HIGH, explorer_data.LOW, explorer_data.HIGH
    )]
    assert (abs(2.0 * image[0, 4] - np.add(explorer_data.WHITE, explorer_data.HIGH)) <= 1).all()
    assert (explorer_data.coloured(np.zeros((2, 2)), 0.0) == explorer_data.WHITE[0]).all()


def test_top_down_shows_what_is_stored(made):
    """The images are the stored maps, the places of P2 to P5, and the numbers those of the arrays."""
    arrays, about = explorer_data.outputs(OUTPUTS)
    data = made["top_down"].data
    assert len(repr(data)) <= 150_000
    example = explorer_data.shown_scene(about)
    assert [box for _, box in data["objects"]] == example.boxes.tolist()
    assert np.abs(pixels(data["scene"]).astype(int) - example.image[::2, ::2]).mean() < 12
    for level, places in zip((2, 3, 4, 5), (32, 16, 8, 4)):
        for show in explorers.VIEWS:
            maps = arrays[f"view {level} {show}"].astype(float)
            view = data["levels"][f"P{level}"]["views"][show]
            most, change = np.abs(maps[:2]).max(), np.abs(maps[2]).max()
            for values, limit, uri in zip(maps, (most, most, change), view["images"]):
                image = pixels(uri)
                assert image.shape == (places, places, 3)
                if limit:
                    peak = np.unravel_index(np.abs(values).argmax(), values.shape)
                    end = explorer_data.HIGH if values[peak] > 0 else explorer_data.LOW
                    share = abs(values[peak]) / limit
                    wanted = np.array(explorer_data.WHITE) + share * (np.array(end) - explorer_data.WHITE)
                    assert (abs(image[peak] - wanted) <= 9).all()  # 5 bits a colour
            picture, sentence = made["top_down"](level=level, show=show)
            assert all(uri in picture for uri in view["images"]) and f"P{level} has {places} × {places} places" in sentence
            assert level < 5 or (not maps[2].any() and ("both maps are the same" in sentence or "nothing is added" in sentence))
        assert "length" in show  # the last of both
        lengths = np.sqrt((arrays[f"view {level} {show}"].astype(float) ** 2).mean((1, 2)))
        if level < 5:
            assert f"alone are {lengths[0]:.2f} long" in sentence and f"together {lengths[1]:.2f}." in sentence
        sentence, told = made["top_down"](level=level)[1], 0
        for i, (x1, y1, x2, y2) in enumerate(example.boxes):
            row, column = int((y1 + y2) / 2 // 2**level), int((x1 + x2) / 2 // 2**level)
            alone, both = arrays[f"view {level} score of the head"][:2, row, column].astype(float)
            name, found = CLASSES[example.labels[i]], CLASSES[arrays[f"class {level}"][1, row, column]]
            if max(alone, both) >= 0.05:
                words = f"{i + 1} ({name}) {alone:.2f}" + (f" → {both:.2f}" if level < 5 else "")
                words += "" if found == name else f", as {found}"
                assert words + ";" in sentence or words + ". The others" in sentence
                told += 1
        assert len(re.findall(r"\d \(", sentence)) == told


# --- what the chapter's "Try this" says --------------------------------------------------


def test_chapter_predicts_what_the_explorers_say(made):
    said = {
        ("pyramid",): ("padded to 800 × 1344", "P2 has 75.1% of all 89,523 places", "each side exactly doubles"),
        ("pyramid", ("pad", False)): ("not all sides double: 84 to 167 columns of P3.",),
        ("which_level", ("width", 112), ("height", 112)): ("On P3", "measures 14 × 14 places"),
        ("which_level",): ("On P4", "measures 14 × 14 places"),
        ("which_level", ("width", 440), ("height", 440)): ("On P4", "measures 27.5 × 27.5 places"),
        ("which_level", ("width", 640), ("height", 480)): ("rounded down to 5. On P5", "measures 20 × 15 places"),
        ("which_level", ("width", 640), ("height", 480), ("k0", 5)): ("rounded down to 6; the coarsest level is P5",),
        ("pyramid", ("lowest", 3), ("highest", 7)): ("P3 has 100 × 168 places",),
        ("top_down",): ("1 (triangle) 0.10 → 0.34; 2 (cross) 0.08 → 0.77; 4 (cross) 0.06 → 0.28, as triangle.",),
        ("top_down", ("level", 3)): ("1 (triangle) 0.56 → 0.90;", "5 (ring) 0.99 → 1.00;", "6 (triangle) 0.13 → 0.20, as square."),
        ("top_down", ("level", 4)): ("pixels. The best", "6 (triangle) 0.62 → 0.52."),
        ("top_down", ("level", 5)): ("nothing lies above", "3 (cross) 0.73;"),
        ("top_down", ("show", "length of the vector")): ("alone are 7.65 long", "adds 5.06, and both together 6.83."),
        ("which_level", ("width", 32), ("height", 32)): ("the finest level is P2", "measures 8 × 8 places"),
    }
    for (name, *state), parts in said.items():
        _, sentence = made[name](**dict(state))
        for part in parts:
            assert part in sentence, (name, state, sentence)
    for state in states(made["which_level"], "same", 100):
        w, h = state["width"], state["height"]
        assert formulas.box_level(w, h, 5, 448) == formulas.box_level(w, h, 4, 224)
    for i in range(167):  # the last place alone has no twin, and nothing is shifted
        assert formulas.source(i, 84, 167) == i // 2
