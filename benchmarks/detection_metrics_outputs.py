"""Write down what two trained detectors find in 200 scenes that they have not seen, for the chapter on metrics.

    python benchmarks/detection_metrics_outputs.py           # some seconds

The weights are those that `benchmarks/detectors_training.py` keeps, the scenes those that detectors are tested
on. Boxes are rounded to sixteenths of a pixel, which half precision holds exactly; scores are left as they are,
as rounding would make them equal.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from cvnotes import data, train

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
TARGET = DATA / "detection_metrics_outputs.safetensors"
DETECTORS = ("ssd", "retinanet")
SCENES = 200
BATCH = 50


def examples(first, last):
    return [train.unseen(i) for i in range(first, last)]


def detector(name):
    return train.load_weights(DATA / f"detectors_{name}.safetensors")


def found(detector, first, last):
    """Return what a detector finds in the scenes from `first` up to `last`: a dict of arrays, one row a detection."""
    out = {"boxes": [], "scores": [], "labels": [], "image": []}
    for start in range(first, last, BATCH):
        scenes = examples(start, min(start + BATCH, last))
        for i, own in enumerate(train.detections_of(detector, scenes), start):
            out["boxes"].append(np.round(own["boxes"].double().numpy() * 16) / 16)
            out["scores"].append(own["scores"].numpy())
            out["labels"].append(own["labels"].numpy())
            out["image"].append(np.full(len(own["labels"]), i))
    return _arrays(out, {"boxes": np.float16, "scores": np.float32, "labels": np.uint8, "image": np.uint8})


def truth(scenes):
    """Return what is to be found in scenes: a dict of arrays, one row an object."""
    out = {name: [getattr(scene, name) for scene in scenes] for name in ("boxes", "labels", "iscrowd", "area")}
    out["image"] = [np.full(len(scene.labels), i) for i, scene in enumerate(scenes)]
    dtypes = {"boxes": np.uint8, "labels": np.uint8, "iscrowd": np.uint8, "area": np.uint16, "image": np.uint8}
    arrays = _arrays(out, dtypes)
    for name, parts in out.items():
        assert np.array_equal(arrays[name], np.concatenate(parts)), f"{name} is rounded"
    return arrays


def _arrays(out, dtypes):
    return {name: np.ascontiguousarray(np.concatenate(parts), dtypes[name]) for name, parts in out.items()}


def main():
    torch.set_num_threads(1)
    sets = {name: found(detector(name), 0, SCENES) for name in DETECTORS}
    sets["truth"] = truth(examples(0, SCENES))
    with data.replacing(TARGET) as file:
        file.write(save({f"{name}.{key}": x for name, arrays in sets.items() for key, x in arrays.items()}))
    counts = ", ".join(f"{len(arrays['labels']):,} of {name}" for name, arrays in sets.items())
    print(f"{TARGET}: {counts}; {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
