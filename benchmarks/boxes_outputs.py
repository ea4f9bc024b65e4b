"""Write down all boxes that a trained detector proposes in one crowded scene, before suppression, for the chapter on boxes.

    python benchmarks/boxes_outputs.py           # some seconds

The weights are those that `benchmarks/detectors_training.py` keeps, the scene is one of those that detectors are
tested on. Boxes are rounded to sixteenths of a pixel, which half precision holds exactly.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from cvnotes import data, train

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
TARGET = DATA / "boxes_outputs.safetensors"
INDEX = 119  # of the scene; it holds two objects of one class that overlap
SCORE = 0.05  # from which on a box is a candidate


def scene():
    return train.unseen(INDEX)


@torch.no_grad()
def candidates(detector, example):
    """Return what a detector proposes, the surest first: a dict of arrays, one row a box."""
    outputs = detector(train.batch_of([example], detector.image_size)[0])
    # No IoU is over 1, so nothing is suppressed.
    (found,) = detector.detect(outputs, min_score=SCORE, iou_threshold=1.0, most=len(detector.boxes))
    return {
        "boxes": (np.round(found["boxes"].double().numpy() * 16) / 16).astype(np.float16),
        "scores": found["scores"].numpy(), "labels": found["labels"].numpy().astype(np.uint8),
    }


def main():
    torch.set_num_threads(1)
    example = scene()
    found = candidates(train.load_weights(DATA / "detectors_retinanet.safetensors"), example)
    truth = {"truth.boxes": example.boxes.astype(np.uint8), "truth.labels": example.labels.astype(np.uint8)}
    grey = example.image.mean(2).round().astype(np.uint8)
    with data.replacing(TARGET) as file:
        file.write(save({**found, **truth, "image": grey}))
    print(f"{TARGET}: {len(found['scores'])} candidates; {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
