"""COCO's twelve figures: `fast.coco_summary` beside pycocotools, the tool that everybody uses."""

import contextlib
import io

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvnotes import bench
from cvnotes.detection_metrics import fast

CASES = {  # images, objects, detections, classes
    "100; 2,000; 10,000; 20 classes": (100, 2_000, 10_000, 20),
    "500; 10,000; 50,000; 20 classes": (500, 10_000, 50_000, 20),
    "500; 10,000; 50,000; 80 classes": (500, 10_000, 50_000, 80),
}


def scenes(images, objects, detections, classes):
    """Return ground truth and detections as lists of tensors; six of ten detections lie near an object."""
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(8), np.log(200), (objects, 2)))
    corners = rng.random((objects, 2)) * (640 - sides)
    boxes = np.concatenate([corners, corners + sides], 1)
    image, label = rng.integers(0, images, objects), rng.integers(0, classes, objects)
    crowd = rng.random(objects) < 0.02
    source, near = rng.integers(0, objects, detections), rng.random(detections) < 0.6
    found = boxes[source] + rng.normal(0, 0.08, (detections, 4)) * np.tile(sides[source], 2)
    found = np.concatenate([np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])], 1)
    where = np.where(near, image[source], rng.integers(0, images, detections))
    kind = np.where(near & (rng.random(detections) < 0.9), label[source], rng.integers(0, classes, detections))
    score = np.round(rng.beta(1 + 2 * near, 2), 3)
    pick = lambda mask, **columns: {name: torch.from_numpy(x[mask]) for name, x in columns.items()}  # noqa: E731
    return (
        [pick(image == i, boxes=boxes, labels=label, iscrowd=crowd) for i in range(images)],
        [pick(where == i, boxes=found, labels=kind, scores=score) for i in range(images)],
    )


def as_coco(truth, found, classes):
    """Return the same as objects of pycocotools."""

    def entries(images):
        for i, image in enumerate(images):
            columns = {name: x.tolist() for name, x in image.items()}
            for j, (x1, y1, x2, y2) in enumerate(columns["boxes"]):
                yield {
                    "image_id": i, "category_id": columns["labels"][j], "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1), **{k: columns[v][j] for k, v in KEYS.items() if v in columns},
                }

    KEYS = {"score": "scores", "iscrowd": "iscrowd"}
    ours = COCO()
    ours.dataset = {
        "images": [{"id": i} for i in range(len(truth))], "categories": [{"id": k} for k in range(classes)],
        "annotations": [
            {**entry, "id": n, "iscrowd": int(entry["iscrowd"])} for n, entry in enumerate(entries(truth), 1)
        ],
    }
    ours.createIndex()
    return ours, ours.loadRes(list(entries(found)))


def measure():
    cases = {}
    for name, (images, objects, detections, classes) in CASES.items():
        truth, found = scenes(images, objects, detections, classes)
        with contextlib.redirect_stdout(io.StringIO()):
            ours, theirs = as_coco(truth, found, classes)

        def pycocotools():
            evaluation = COCOeval(ours, theirs, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            return evaluation

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = pycocotools()
            evaluation.summarize()
            np.testing.assert_allclose(list(fast.coco_summary(truth, found).values()), evaluation.stats, atol=1e-9)
            times = bench.compare(
                {"pycocotools": pycocotools, "fast": lambda: fast.coco_summary(truth, found)}, rounds=7, warmup=1,
            )
        cases[name] = {"times": times, "memory": bench.peak_memory(lambda: fast.coco_summary(truth, found))}
    return {"cases": cases}


if __name__ == "__main__":
    bench.main(measure, "chapters/data/detection_metrics_speed.json")
