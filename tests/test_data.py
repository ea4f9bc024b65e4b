"""Scenes are what they say, and the same everywhere; folders in COCO's format are read, or refused with a reason."""

import copy
import hashlib
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from cvnotes import data

OLD_NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' masks

# --- scenes ------------------------------------------------------------------------------


@st.composite
def difficulties(draw):
    size = draw(st.integers(32, 160))
    least = draw(st.integers(4, size))
    fewest = draw(st.integers(0, 6))
    return dict(
        size=size, sizes=(least, draw(st.integers(least, size))), objects=(fewest, draw(st.integers(fewest, 12))),
        overlap=draw(st.floats(0, 0.9)), contrast=draw(st.integers(1, 120)), texture=draw(st.integers(0, 120)),
        noise=draw(st.integers(0, 120)), crowds=draw(st.sampled_from([0, 0.5, 1])), turn=draw(st.integers(0, 180)),
    )


def digest(example):
    parts = (example.image, example.boxes, example.labels, example.iscrowd, example.area, example.masks)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]


def test_scene_has_the_same_bytes_everywhere():
    # They have stood here since the scenes were first made. Where one differs, weights trained on them don't fit.
    assert digest(data.scene(0, 0)) == "b9eb984b19385091"
    assert digest(data.scene(7, 2**40 + 3, size=97, objects=(3, 20), crowds=1)) == "64fe65012d0c3ec4"


def test_scene_does_not_depend_on_what_was_drawn_before():
    first = digest(data.scene(3, 5))
    for index in range(4):
        data.scene(3, index)
    assert digest(data.scene(3, 5)) == first


def test_scene_differs_with_seed_and_index():
    found = {digest(data.scene(seed, index)) for seed in range(5) for index in range(5)}
    assert len(found) == 25


def test_sines_are_far_from_a_tie():
    # A last digit of the machine's own sine can't change them, then.
    exact = 16384 * np.sin(2 * np.pi * np.arange(data.TURNS) / data.TURNS)
    assert (abs(exact - np.floor(exact) - 0.5) > 1e-6).all()
    assert (np.rint(exact) == data.SINES).all()


@settings(max_examples=60, deadline=None)
@given(difficulties(), st.integers(0, 2**63 - 1))
def test_boxes_and_areas_are_those_of_the_masks(difficulty, index):
    example = data.scene(1, index, **difficulty)
    size, N = difficulty["size"], len(example.labels)
    assert example.image.shape == (size, size, 3) and example.image.dtype == np.uint8
    assert example.boxes.shape == (N, 4) and example.masks.shape == (N, size, size)
    assert len(example.iscrowd) == len(example.area) == N <= difficulty["objects"][1] + 1
    assert (example.masks.sum(0) <= 1).all()  # a pixel shows one object
    for box, area, mask in zip(example.boxes, example.area, example.masks):
        y, x = np.nonzero(mask)
        assert list(box) == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert area == len(x) >= data.FEWEST_PIXELS


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_shapes_are_seen_against_the_ground(index):
    example = data.scene(0, index, noise=0, texture=0, contrast=60, overlap=0)
    ground = example.image[~example.masks.any(0)].astype(int)
    level = np.median(ground, 0)
    for mask in example.masks:
        inside = example.image[mask].astype(int)
        assert abs(inside - level).max(1).mean() > 20


@pytest.mark.parametrize("overlap", [0, 0.4, 0.9])
def test_no_object_hides_more_of_another_than_allowed(monkeypatch, overlap):
    whole, paint = {}, data._Canvas.paint

    def watched(canvas, shape, colour, number):
        done = paint(canvas, shape, colour, number)
        if done:
            whole[number] = int((shape.depth(shape.window(len(canvas.owner))) >= 0).sum())
        return done

    monkeypatch.setattr(data._Canvas, "paint", watched)
    shares = []
    for index in range(30):
        whole.clear()
        example = data.scene(0, index, objects=(8, 8), sizes=(12, 96), overlap=overlap, crowds=0)
        shares += [area / whole[number] for number, area in enumerate(example.area)]
    assert min(shares) >= 1 - overlap - 1e-9
    assert (min(shares) < 1 - overlap / 2) == (overlap > 0)  # and what is allowed happens


def test_crowds_are_one_box_around_many():
    examples = [data.scene(0, index, crowds=1, objects=(0, 0)) for index in range(20)]
    assert all(e.iscrowd.tolist() == [True] for e in examples)
    assert np.mean([e.area[0] for e in examples]) > 300  # of members of 8 to 12 pixels
    assert not any(data.scene(0, index, crowds=0).iscrowd.any() for index in range(20))


def test_scene_may_be_empty():
    example = data.scene(0, 0, objects=(0, 0), crowds=0)
    assert example.boxes.shape == (0, 4) and example.masks.shape == (0, 128, 128)
    assert example.labels.dtype == np.int64


def test_sizes_double_as_often_anywhere():
    widths = np.concatenate([
        (e.boxes[:, 2:] - e.boxes[:, :2]).max(1)
        for e in (data.scene(0, index, objects=(1, 1), crowds=0, sizes=(8, 64)) for index in range(600))
    ])
    small, middle, large = (((low <= widths) & (widths < 2 * low)).mean() for low in (8, 16, 32))
    assert 0.2 < small < 0.45 and 0.2 < middle < 0.45 and 0.2 < large < 0.45


def test_classes_are_all_drawn_and_look_different():
    shown = {}
    for label, name in enumerate(data.CLASSES):
        depth = data.DEPTHS[name](*np.meshgrid(np.arange(-200, 200), np.arange(-200, 200)), 160)
        shown[name] = depth >= 0
        assert 0.1 < shown[name].mean() < 0.65
    pairs = [(a, b) for a in shown for b in shown if a < b]
    assert all((shown[a] != shown[b]).mean() > 0.05 for a, b in pairs)
    labels = np.concatenate([data.scene(0, index).labels for index in range(60)])
    assert set(labels.tolist()) == set(range(len(data.CLASSES)))


@pytest.mark.parametrize("options, said", [
    (dict(size=16), "`size` (=16) must be at least 32"),
    (dict(size=128.0), "`size` (=128.0) must be an integer"),
    (dict(objects=3), "`objects` (=3) must be two integers"),
    (dict(objects=(4, 2)), "`objects` (=(4, 2)) must give the least first"),
    (dict(sizes=(2, 20)), "`sizes` (=2) must be at least 4"),
    (dict(sizes=(8, 200)), "`sizes` (=(8, 200)) must not exceed the image's 128 pixels"),
    (dict(overlap=1.5), "`overlap` (=1.5) must be a number from 0 to 0.9"),
    (dict(overlap=float("nan")), "`overlap` (=nan) must be a number"),
    (dict(turn=181), "`turn` (=181) must be at most 180"),
    (dict(noise=-1), "`noise` (=-1) must be at least 0"),
    (dict(crowds=True), "`crowds` (=True) must be a number"),
    (dict(contrast=0), "`contrast` (=0) must be at least 1"),
])
def test_scene_refuses_a_difficulty(options, said):
    with pytest.raises(ValueError) as refused:
        data.scene(0, 0, **options)
    assert said in str(refused.value)
    with pytest.raises(ValueError):
        data.Scenes(0, **options)


@pytest.mark.parametrize("seed, index", [(-1, 0), (0, -1), (0.5, 0), (0, "1"), (2**63, 0)])
def test_scene_refuses_a_seed_or_an_index(seed, index):
    with pytest.raises(ValueError, match="`seed`|`index`"):
        data.scene(seed, index)


def test_scenes_are_those_of_the_seed():
    endless, few = data.Scenes(4, size=64, sizes=(8, 32)), data.Scenes(4, first=10, count=2, size=64, sizes=(8, 32))
    assert digest(few[1]) == digest(endless[11]) == digest(data.scene(4, 11, size=64, sizes=(8, 32)))
    assert len(few) == len(list(few)) == 2 and few.image_id(1) == 11
    for i in (2, -1):
        with pytest.raises(IndexError, match=f"no image {i}"):
            few[i]
    with pytest.raises(TypeError, match="`count`"):
        len(endless)
    with pytest.raises(ValueError, match="`colour` is no parameter of a scene"):
        data.Scenes(0, colour=1)


# --- a folder ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    data.write_folder(path, data.Scenes(2, first=5, count=6, crowds=0.5))
    return path


def test_folder_gives_the_scenes_that_were_written(folder):
    scenes, read = data.Scenes(2, first=5, count=6, crowds=0.5), data.CocoFolder(folder)
    assert len(read) == 6 and read.classes == scenes.classes
    for i in range(6):
        for field in ("image", "boxes", "labels", "iscrowd", "area"):
            ours, theirs = getattr(scenes[i], field), getattr(read[i], field)
            assert ours.dtype == theirs.dtype and (ours == theirs).all(), field
        assert read.image_id(i) == scenes.image_id(i)


@OLD_NUMPY
def test_folder_is_read_by_pycocotools(folder, capsys):
    coco = COCO(str(folder / "annotations.json"))
    capsys.readouterr()
    scenes = data.Scenes(2, first=5, count=6, crowds=0.5)
    assert any(example.iscrowd.any() for example in scenes)
    for i in range(6):
        example = scenes[i]
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[scenes.image_id(i)]))
        assert len(annotations) == len(example.labels)
        for annotation, mask, box in zip(annotations, example.masks, example.boxes):
            rle = coco.annToRLE(annotation)
            assert (coco_mask.decode(rle).astype(bool) == mask).all()
            assert coco_mask.area(rle) == annotation["area"]
            x, y, w, h = coco_mask.toBbox(rle)
            assert [x, y, x + w, y + h] == list(box)


def test_folder_is_not_written_over(folder):
    with pytest.raises(ValueError, match="is not written over"):
        data.write_folder(folder, data.Scenes(0, count=1))


def test_folder_laid_out_as_coco_is_found(folder, tmp_path):
    content = json.loads((folder / "annotations.json").read_text())
    (tmp_path / "annotations").mkdir()
    os.symlink(folder / "images", tmp_path / "val2017")
    one = tmp_path / "annotations" / "instances_val2017.json"
    one.write_text(json.dumps(content))
    read = data.CocoFolder(tmp_path, images="val2017")
    assert read.path == one and len(read) == 6
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="instances_train2017.json, annotations/instances_val2017.json; name the file"):
        data.CocoFolder(tmp_path, images="val2017")
    assert len(data.CocoFolder(tmp_path, annotations="annotations/instances_val2017.json", images="val2017")) == 6


def test_folder_takes_sparse_ids_and_other_images(tmp_path):
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / "grey.jpg")
    content = {
        "images": [{"id": 900, "file_name": "grey.jpg", "width": 8, "height": 6}],
        "categories": [{"id": 44, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 900, "category_id": 44, "bbox": [-0.01, 1, 8.02, 5]}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    read = data.CocoFolder(tmp_path)
    assert read.classes == ("cat", "dog")
    example = read[0]
    assert example.image.shape == (6, 8, 3) and example.labels.tolist() == [1]
    assert example.boxes.tolist() == [[0, 1, 8, 6]]  # a hundredth over the edge is rounding, and put on it
    assert example.area.tolist() == [8.02 * 5] and example.masks is None


def bad(path, content, change, skip_bad=False):
    """Return the problems that a folder is refused with whose annotations were changed."""
    content = copy.deepcopy(content)
    change(content)
    (path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(data.BadAnnotations) as refused:
        data.CocoFolder(path, skip_bad=skip_bad)
    assert isinstance(refused.value, ValueError)
    assert str(refused.value).startswith(str(path / "annotations.json"))
    return [str(problem) for problem in refused.value.problems]


@pytest.fixture()
def changeable(folder, tmp_path):
    os.symlink(folder / "images", tmp_path / "images")
    return tmp_path, json.loads((folder / "annotations.json").read_text())


def setting(kind, number, key, value):
    return lambda content: content[kind][number].__setitem__(key, value)


@pytest.mark.parametrize("change, said", [
    (lambda c: c.pop("images"), "file: `images` is missing"),
    (lambda c: c.update(annotations={}), "file: `annotations` must be a list, not an object"),
    (lambda c: c["images"].append(3), "images[6]: must be an object, not a number"),
    (lambda c: c["images"][1].pop("width"), "images[1]: `width` is missing"),
    (setting("images", 1, "height", 0), "images[1]: `height` (=0) must be an integer from 1 to 1,000,000"),
    (setting("images", 1, "height", 100), "00000006.png has 128 × 128 pixels, not 128 × 100"),
    (setting("images", 2, "file_name", "none.png"), "images[2]: there is no file"),
    (setting("images", 2, "id", 5), "images[2]: `id` (=5) is also that of images[0]"),
    (lambda c: c["categories"].clear(), "categories: there is none"),
    (lambda c: c["categories"][0].pop("name"), "categories[0]: `name` is missing"),
    (setting("categories", 1, "name", "circle"), "categories[1]: `name` (='circle') is also that of categories[0]"),
    (setting("categories", 1, "id", 1), "categories[1]: `id` (=1) is also that of categories[0]"),
    (lambda c: c["annotations"][3].pop("bbox"), "annotations[3]: `bbox` is missing"),
    (setting("annotations", 3, "id", 1), "annotations[3]: `id` (=1) is also that of annotations[0]"),
    (setting("annotations", 3, "image_id", 99), "annotations[3]: `image_id` (=99) is that of no image"),
    (setting("annotations", 3, "category_id", 0), "annotations[3]: `category_id` (=0) is that of no category"),
    (setting("annotations", 3, "category_id", True), "annotations[3]: `category_id` (=true) must be an integer"),
    (setting("annotations", 3, "bbox", [1, 2, 3]), "annotations[3]: `bbox` (=[1, 2, 3]) must be four finite numbers"),
    (setting("annotations", 3, "bbox", [1, 2, 3, float("nan")]), "`bbox` (=[1, 2, 3, NaN]) must be four finite"),
    (setting("annotations", 3, "bbox", [1, 2, float("inf"), 3]), "`bbox` (=[1, 2, Infinity, 3]) must be four finite"),
    (setting("annotations", 3, "bbox", [1, 2, 10**400, 3]), "must be four finite numbers"),
    (setting("annotations", 3, "bbox", ["1", 2, 3, 4]), 'annotations[3]: `bbox` (=["1", 2, 3, 4]) must be four finite'),
    (setting("annotations", 3, "bbox", [1, 2, 0, 4]), "annotations[3]: `bbox` (=[1, 2, 0, 4]) has no area"),
    (setting("annotations", 3, "bbox", [90, 9, 50, 4]), "reaches outside its image of 128 × 128 pixels"),
    (setting("annotations", 3, "bbox", [-1, 9, 50, 4]), "reaches outside its image of 128 × 128 pixels"),
    (setting("annotations", 3, "bbox", [90, 80, 30, -4]), "has a negative width or height; it holds x, y, width"),
    (setting("annotations", 3, "bbox", [128, 80, 0.01, 4]), "has no area within its image"),
    (setting("annotations", 3, "bbox", [40, 40, 1e-6, 10]), "`bbox` (=[40, 40, 1e-06, 10]) is narrower than 0.01 pixels"),
    (setting("annotations", 3, "area", 1e200), "annotations[3]: `area` (=1e+200) must be a number from 0 to"),
    (setting("images", 1, "file_name", "x" * 5000), "images[1]: `file_name` (="),
    (setting("images", 1, "file_name", "a\0b"), "images[1]: there is no file"),
    (setting("images", 1, "width", 10**400), "images[1]: `width` (=1"),
    (setting("categories", 1, "name", "\ud800"), "must be a text"),
    (setting("annotations", 3, "iscrowd", 2), "annotations[3]: `iscrowd` (=2) must be 0 or 1"),
    (setting("annotations", 3, "area", -1), "annotations[3]: `area` (=-1) must be a number from 0 to 1,000,000,000,000"),
])
def test_folder_is_refused_with_place_and_reason(changeable, change, said):
    found = bad(*changeable, change)
    assert any(said in problem for problem in found)
    assert len(found) == 1 or "categor" in said or "`id` (=5)" in said  # nothing else is blamed but what hangs on it


@pytest.mark.parametrize("content, said", [
    (b"", "is no JSON"), (b"[" * 100_000, "is no JSON"), (b'{"images": ' + b"1" * 5000 + b"}", "is no JSON"),
    ('{"images": []}'.encode("utf-16"), "is no JSON"), (b"\xef\xbb\xbf[]", "must hold an object, not a list"),
])
def test_file_that_is_no_json_is_refused_by_its_name(tmp_path, content, said):
    (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(data.BadAnnotations, match=said) as refused:
        data.CocoFolder(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / "annotations.json"))


@pytest.mark.parametrize("pixels", [np.full((6, 8), 77 * 257, np.uint16), np.full((6, 8), 0.3, np.float32)])
def test_image_of_more_than_8_bits_is_refused(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "deep.tiff")
    content = {
        "images": [{"id": 1, "file_name": "deep.tiff", "width": 8, "height": 6}], "annotations": [],
        "categories": [{"id": 1, "name": "dog"}],
    }
    assert "has pixels of more than 8 bits" in data.problems_of(content, tmp_path)[0].reason


def test_image_of_billions_of_pixels_is_no_image(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    content = {
        "images": [{"id": 1, "file_name": "bomb.png", "width": 60_000, "height": 60_000}], "annotations": [],
        "categories": [{"id": 1, "name": "dog"}],
    }
    assert data.problems_of(content, tmp_path)[0].reason.endswith("is no image that can be read")


def test_narrowest_box_is_still_one_in_float32():
    for side in (64, 300, 2048):
        x = np.array([side - data.NARROWEST, side], np.float32)
        assert x[1] > x[0] and x[1] / np.float32(side) > x[0] / np.float32(side)


def test_refusal_names_many_problems_and_counts_the_rest(changeable):
    path, content = changeable
    for annotation in content["annotations"]:
        annotation["bbox"][2] = 0
    (path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError) as refused:
        data.CocoFolder(path)
    lines = str(refused.value).splitlines()
    assert len(lines) == data.SHOWN + 1
    assert lines[-1] == f"and {len(content['annotations']) - data.SHOWN} more in this file"
    assert f"{path / 'annotations.json'}: annotations[4]: " in lines[4]


def test_bad_annotations_are_left_out_only_when_asked(changeable):
    path, content = changeable
    whole = sum(len(example.labels) for example in data.CocoFolder(path.joinpath("images").resolve().parent))
    content["annotations"][0]["bbox"][3] = 0
    (path / "annotations.json").write_text(json.dumps(content))
    read = data.CocoFolder(path, skip_bad=True)
    assert [str(problem)[:15] for problem in read.skipped] == ["annotations[0]:"]
    assert sum(len(example.labels) for example in read) == whole - 1
    assert bad(path, content, lambda c: c["images"][1].pop("width"), skip_bad=True)  # this is no bad annotation


@pytest.mark.parametrize("text, said", [
    ("{\n\"images\": [,]}", "line[2]: is no JSON"),
    ("[]", "file: must hold an object, not a list"),
    ("", "line[1]: is no JSON"),
])
def test_file_that_is_no_json_is_refused(tmp_path, text, said):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(data.BadAnnotations) as refused:
        data.CocoFolder(tmp_path)
    assert said in str(refused.value)


def test_file_that_is_no_image_is_refused(changeable):
    path, content = changeable
    (path / "images").unlink()
    (path / "images").mkdir()
    for image in content["images"]:
        (path / "images" / image["file_name"]).write_bytes(b"no image")
    (path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is no image that can be read"):
        data.CocoFolder(path)


def test_folder_that_is_none_is_refused(tmp_path):
    for arguments, said in (
        (dict(folder=tmp_path / "none"), "must be a folder"),
        (dict(folder=tmp_path), "holds no annotations.json; name the file"),
        (dict(folder=tmp_path, annotations="a.json"), "must be a file in"),
    ):
        with pytest.raises(ValueError, match=said):
            data.CocoFolder(**arguments)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_is_refused_or_read(draw):
    junk = st.recursive(
        st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.sampled_from(["", "a"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "name"]), inner),
        max_leaves=5,
    )
    content = {
        "images": [{"id": 1, "file_name": "a", "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}],
    }
    assert data.problems_of(content) == []
    where = draw.draw(st.sampled_from(["images", "categories", "annotations", ""]))
    if where == "":
        content[draw.draw(st.sampled_from(list(content)))] = draw.draw(junk)
    else:
        key = draw.draw(st.sampled_from(["", *content[where][0]]))
        if key:
            content[where][0][key] = draw.draw(junk)
        else:
            content[where].append(draw.draw(junk))
    for problem in data.problems_of(content):
        assert problem.reason


# --- masks, files, the command -------------------------------------------------------------


@OLD_NUMPY
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_run_lengths_are_those_of_pycocotools(H, W, random):
    mask = np.array([[random.random() < 0.5 for _ in range(W)] for _ in range(H)])
    rle = coco_mask.frPyObjects({"size": [H, W], "counts": data.run_lengths(mask)}, H, W)
    assert (coco_mask.decode(rle).astype(bool) == mask).all()


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        with data.replacing(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
            raise RuntimeError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
    with data.replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "cvnotes.data", *arguments], capture_output=True, text=True)


def test_command_writes_checks_and_refuses(tmp_path):
    wrote = run(str(tmp_path / "new"), "--count", "3", "--seed", "9", "--objects", "2", "3", "--crowds", "0")
    assert wrote.returncode == 0, wrote.stderr
    assert (data.CocoFolder(tmp_path / "new")[2].image == data.scene(9, 2, objects=(2, 3), crowds=0).image).all()
    checked = run(str(tmp_path / "new"))
    assert checked.returncode == 0 and "3 images" in checked.stdout and "circle: " in checked.stdout
    refused = run(str(tmp_path / "none"))
    assert refused.returncode == 1 and refused.stdout == "" and "must be a folder" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_import_of_the_data_is_without_torch():
    code = "import sys, cvnotes.data; print({'torch', 'PIL', 'tqdm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
