"""What the chapter's explorers need and plain Python is too slow for."""

import numpy as np
import torch

from cvnotes.boxes import fast as boxes_fast
from cvnotes.focal_loss import explorers, fast


def anchors():
    """Return for each level [[place, anchor in it, ⌊10,000·IoU⌋], …] of the anchors with an IoU of `KEPT` or more."""
    objects = torch.tensor([box for _, box in explorers.OBJECTS], dtype=torch.float64)
    found = {}
    for level, stride, size in zip(explorers.LEVELS, explorers.STRIDES, explorers.SIZES):
        boxes = fast.retinanet_anchors(explorers.SCENE, strides=(stride,), sizes=(size,), dtype="float64")
        best = boxes_fast.box_iou(boxes, objects).amax(1).numpy()
        index = np.flatnonzero(best >= explorers.KEPT)
        overlaps = np.floor(10_000 * best[index] + 1e-9).astype(int)
        found[level] = [[int(i) // 9, int(i) % 9, int(overlap)] for i, overlap in zip(index, overlaps)]
    return found
