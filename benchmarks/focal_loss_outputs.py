"""Write down what the trained small RetinaNet says at each anchor of sixteen scenes: a batch that it never learned from.

    python benchmarks/focal_loss_outputs.py        # writes chapters/data/focal_loss_outputs.safetensors, some seconds

The last digits of a network's outputs differ from one processor to another, so the chapter reads them from the file.
"""

from pathlib import Path

import torch
from safetensors.numpy import save

from cvnotes import data, train

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
WEIGHTS, TARGET = DATA / "detectors_retinanet.safetensors", DATA / "focal_loss_outputs.safetensors"
SCENES = 16  # as many as a step of training has


@torch.no_grad()
def outputs(weights=WEIGHTS, count=SCENES):
    """Return arrays: the logits (N, A, K) in half precision, and the labels (N, A) of the anchors of N scenes.

    A label is 0 for background, the class plus one for an object's, and −1 for what has no part in the loss.
    """
    detector = train.load_weights(weights)
    scenes = [train.unseen(i) for i in range(count)]
    images, targets = train.batch_of(scenes, detector.image_size)
    logits, _ = detector(images)
    labels, _ = detector.assign(targets)
    return {"logits": logits.half().numpy(), "labels": labels.to(torch.int8).numpy()}


def main():
    with data.replacing(TARGET) as file:
        file.write(save(outputs()))
    print(TARGET)


if __name__ == "__main__":
    main()
