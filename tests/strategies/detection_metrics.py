"""Sets of images with objects and detections: many ties, crowds and empty ones; now and then one that is spoiled."""

import math

import numpy as np
from hypothesis import strategies as st

from cvnotes.detection_metrics import formulas

from . import now_and_then, seeds

SIDES = (8, 16, 19.2, 32, 40, 64, 96, 100)


def random_coco(seed, most=150):
    """Return COCO's JSON, ground truth and results, with up to four images and three categories.

    Scores and sides repeat, so that scores, overlaps and areas are often equal to each other or to a limit;
    some coordinates are whole, some tenths, some any. Now and then an image has `most` detections.
    """
    rng = np.random.default_rng(seed)
    images = [int(i) for i in rng.permutation(50)[:rng.integers(0, 5)]]
    categories = [int(i) + 1 for i in rng.permutation(9)[:rng.integers(1, 4)]]
    style = rng.integers(3)

    def box():
        if style == 0:
            corner, sides = rng.integers(0, 40, 2), rng.integers(0, 120, 2)
        elif style == 1:
            corner, sides = rng.integers(0, 400, 2) / 10, rng.choice(SIDES, 2)
        else:
            corner, sides = 30 * rng.random(2), 120 * rng.random(2)
        return [float(value) for value in (*corner, *sides)]

    annotations = []
    for image in images:
        for _ in range(rng.integers(0, 7) if rng.random() < 0.8 else 0):
            x, y, w, h = box()
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "bbox": [x, y, w, h],
                "category_id": int(rng.choice(categories[:max(1, len(categories) - 1)])),  # the last may have no object
                "area": float(w * h * (rng.random() if rng.random() < 0.3 else 1)),
                "iscrowd": int(rng.random() < 0.2), "ignore": int(rng.random() < 0.15),
            })
    results = []
    for image in images:
        if rng.random() < 0.15:
            continue
        own = [entry for entry in annotations if entry["image_id"] == image]
        for _ in range(rng.integers(0, 12) if rng.random() < 0.95 else most):
            category, found = int(rng.choice(categories)), box()
            if own and rng.random() < 0.7:
                entry = own[rng.integers(len(own))]
                shift = rng.integers(-4, 5, 4) if style < 2 else rng.normal(0, 5, 4)
                found = [float(value) for value in np.array(entry["bbox"]) + shift * (rng.random() < 0.8)]
                found[2:] = [abs(side) for side in found[2:]]
                category = entry["category_id"] if rng.random() < 0.9 else category
            score = float(rng.integers(0, 8) / 8 if rng.random() < 0.7 else rng.random())
            results.append({"image_id": image, "category_id": category, "bbox": found, "score": score})
    results = [results[i] for i in rng.permutation(len(results))]
    truth = {
        "images": [{"id": image} for image in images], "categories": [{"id": category} for category in categories],
        "annotations": annotations,
    }
    return truth, results


def as_lists(truth, results):
    """Return COCO's JSON as two lists with one dict of float64 arrays an image."""

    def arrays(entries, fields):
        boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        image = {"boxes": boxes, "labels": np.array([entry["category_id"] for entry in entries], np.int64)}
        for name, key, dtype in fields:
            image[name] = np.array([entry[key] for entry in entries], dtype)
        return image

    ids = sorted(image["id"] for image in truth["images"])
    objects = (("iscrowd", "iscrowd", bool), ("ignore", "ignore", np.int64), ("area", "area", float))
    return (
        [arrays([e for e in truth["annotations"] if e["image_id"] == i], objects) for i in ids],
        [arrays([e for e in results if e["image_id"] == i], (("scores", "score", float),)) for i in ids],
    )


# Each spoils a set of lists in one way, where there is something to spoil.
SPOILED = {
    "corners": lambda truth, found: found[0]["boxes"].__setitem__((0, 2), -1e3),
    "nan": lambda truth, found: found[0]["boxes"].__setitem__((0, 1), np.nan),
    "score": lambda truth, found: found[-1]["scores"].__setitem__(0, np.inf),
    "area": lambda truth, found: truth[0]["area"].__setitem__(0, -1.0),
    "length": lambda truth, found: found[0].__setitem__("scores", np.zeros(1000)),
    "labels": lambda truth, found: found[0].__setitem__("labels", found[0]["labels"].astype(float)),
    "missing": lambda truth, found: truth[0].pop("labels"),
    "images": lambda truth, found: found.append(dict(found[0])),
    "flags": lambda truth, found: truth[0].__setitem__("iscrowd", truth[0]["boxes"][:, 0]),
    "shape": lambda truth, found: truth[0].__setitem__("boxes", truth[0]["boxes"].T),
    "dict": lambda truth, found: truth.__setitem__(0, [1]),
}
SPOILED_COCO = {
    "id": lambda truth, results: results[0].__setitem__("image_id", 77),
    "category": lambda truth, results: truth["annotations"][0].__setitem__("category_id", -5),
    "key": lambda truth, results: results[-1].pop("score"),
    "box": lambda truth, results: results[0]["bbox"].pop(),
    "side": lambda truth, results: truth["annotations"][-1]["bbox"].__setitem__(3, -1.0),
    "images": lambda truth, results: truth.pop("images"),
}
RARELY = now_and_then(st.just(True), False, 12)


@st.composite
def sets(draw):
    """Return ground truth and detections, as lists or as COCO's JSON, rarely spoiled."""
    pair = random_coco(draw(seeds), most=30)
    coco = draw(st.integers(1, 3)) == 1
    if not coco:
        pair = as_lists(*pair)
        for field in ("iscrowd", "ignore", "area"):
            if draw(st.booleans()):
                for image in pair[0]:
                    del image[field]
    if draw(RARELY):
        spoil = draw(st.sampled_from(sorted((SPOILED_COCO if coco else SPOILED).items())))[1]
        try:
            spoil(*pair)
        except (IndexError, KeyError):  # there is nothing that it could spoil
            pass
    return pair


thresholds = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]) | st.floats(0, 1), min_size=1, max_size=4)
areas = st.lists(
    st.sampled_from([(0, math.inf), (0, 1024), (1024, 9216), (9216, 1e10), (0.0, 500.0)]), min_size=1, max_size=4
)
limits = st.lists(st.sampled_from([1, 2, 10, 100, None]), min_size=1, max_size=3)


@st.composite
def evaluate(draw):
    options = {
        "iou_thresholds": draw(thresholds), "interpolation": draw(st.sampled_from(formulas.INTERPOLATIONS)),
        "areas": draw(areas), "max_detections": draw(limits),
    }
    for name in ("inclusive", "use_ignore"):
        if draw(st.booleans()):
            options[name] = draw(st.booleans())
    if draw(st.booleans()):
        options["matching"] = draw(st.sampled_from(["voc", "coco", None]))
    if draw(RARELY):
        name = draw(st.sampled_from(sorted(options)))
        options[name] = draw(st.sampled_from(["other", [1.5], [], [[5, 2]], [0.5, math.nan]]))
    return draw(sets()), options


@st.composite
def coco_summary(draw):
    return draw(sets()), {"use_ignore": draw(st.booleans())} if draw(st.booleans()) else {}


@st.composite
def average_precision(draw):
    rng, count = np.random.default_rng(draw(seeds)), draw(st.integers(0, 12))
    objects = draw(st.integers(1, 20))
    hits = np.cumsum(rng.random(count) < 0.5).clip(0, objects)
    recall, precision = hits / objects, hits / np.arange(1, count + 1)
    if draw(RARELY) and count:
        value, i = draw(st.sampled_from([np.nan, -0.1, 1.5, 0.0])), draw(st.integers(0, count - 1))
        draw(st.sampled_from([recall, precision]))[i] = value
    if draw(RARELY):
        recall = recall[1:] if draw(st.booleans()) else recall.astype(np.float32)
    name = draw(now_and_then(st.sampled_from(["VOC07", None]), "coco"))
    if name == "coco":
        name = draw(st.sampled_from(formulas.INTERPOLATIONS))
    return (recall, precision), {"interpolation": name}


STRATEGIES = {"average_precision": average_precision(), "evaluate": evaluate(), "coco_summary": coco_summary()}

COUNTS = "figures are made of counts: they stand still when a box moves a little, and then they jump"
GRADCHECK = {"average_precision": COUNTS, "evaluate": COUNTS, "coco_summary": COUNTS}
