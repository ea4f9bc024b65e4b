"""What the explorers and figures show of a trained network: from chapters/data/fpn_outputs.safetensors, never computed.

`benchmarks/fpn_outputs.py` made the file. Everything here is the same to the byte from run to run.
"""

import json
from pathlib import Path

import numpy as np

from cvnotes import data, train
from cvnotes.fpn import explorers

LEVELS = (2, 3, 4, 5)
WHITE, HIGH, LOW = (250, 250, 250), (0, 92, 150), (200, 84, 0)  # of the middle, of what is large, of what is below 0


def outputs(path):
    """Return the arrays of the file by their names, and what it says about them."""
    from safetensors import safe_open

    with safe_open(Path(path), "np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["cvnotes"])


def shown_scene(about):
    """Return the scene that is shown, an `Example`."""
    return train.unseen(about["scene"])


def coloured(values, most):
    """Return a map (H, W) as an image of bytes: white is 0, blue is `most`, orange is −`most`."""
    share = np.clip(np.asarray(values, np.float64) / (most or 1.0), -1, 1)[..., None]
    end = np.where(share < 0, LOW, HIGH)
    return np.rint(WHITE + np.abs(share) * (end - np.array(WHITE, float))).astype(np.uint8)


def at_centre(arrays, level, box):
    """Return the best score in the place of a box's centre, and its class, without and with what comes from above."""
    column, row = ((box[:2] + box[2:]) / 2 // 2**level).astype(int)
    scores, classes = arrays[f"view {level} score of the head"][:2, row, column], arrays[f"class {level}"][:, row, column]
    return [[round(float(score), 6), data.CLASSES[k]] for score, k in zip(scores, classes)]


def top_down(path):
    """Return the data of that explorer."""
    arrays, about = outputs(path)
    example = shown_scene(about)
    levels = {}
    for level in LEVELS:
        views = {}
        for name in explorers.VIEWS:
            maps = arrays[f"view {level} {name}"].astype(np.float64)  # (3, H, W): without, with, difference
            most, change = float(np.abs(maps[:2]).max()), float(np.abs(maps[2]).max())
            views[name] = {
                "most": round(most, 6), "change": round(change, 6),
                "images": [data.bitmap(coloured(m, limit)) for m, limit in zip(maps, (most, most, change))],
            }
        lengths = arrays[f"view {level} length of the vector"].astype(np.float64)
        means = np.sqrt((lengths**2).mean((1, 2)))
        levels[f"P{level}"] = {
            "places": lengths.shape[1], "lengths": [round(float(mean), 6) for mean in means], "views": views,
            "found": [at_centre(arrays, level, box) for box in example.boxes],
        }
    objects = [[data.CLASSES[label], box] for label, box in zip(example.labels.tolist(), example.boxes.tolist())]
    image = example.image.reshape(64, 2, 64, 2, 3).astype(int).sum((1, 3)) // 4
    return {"scene": data.bitmap(image.astype(np.uint8)), "size": len(example.image), "objects": objects, "levels": levels}
