"""What the explorers of the Inception chapter need from NumPy and from the networks themselves.

Everything is the same to the byte from run to run.
"""

import base64
import struct

import numpy as np

from cvnotes.conv_types.image_data import photograph
from cvnotes.inception.explorers import KINDS

SIDE = 96  # of the photograph


def pixel_mixer():
    """Return the data of that explorer: three maps of each kind as the colours of a bitmap, and their sums.

    `colours` are those of the photograph; `edges` what three Sobel kernels and a ReLU make of its grey,
    half of it, at most 255.
    """
    edges = np.stack(_edges(photograph(SIDE)), -1)
    return {
        "side": SIDE, "header": _header(SIDE), "colours": _maps(photograph(SIDE, grey=False)), "edges": _maps(edges),
    }


def _edges(image):
    """Return how much lighter each pixel's neighbours are right than left, left than right, below than above."""
    padded = np.pad(image, 1, mode="edge")
    across = padded[:, 2:] - padded[:, :-2]  # (SIDE + 2, SIDE)
    across = across[:-2] + 2 * across[1:-1] + across[2:]
    down = padded[2:] - padded[:-2]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return [np.clip(edges // 2, 0, 255) for edges in (across, -across, down)]


def _maps(maps):
    """Return three maps `(SIDE, SIDE, 3)` as the pixels of a bitmap, in base64, and the sum of each."""
    pixels = np.ascontiguousarray(maps[..., ::-1], dtype=np.uint8)  # blue, green, red
    return {"pixels": base64.b64encode(pixels.tobytes()).decode(), "sums": maps.sum((0, 1)).tolist()}


def _header(side):
    """Return the start of a `data:` URI of a bitmap of 24 bits, rows from the top; base64 of its pixels follows."""
    length = 3 * side * side
    header = struct.pack("<2sIHHI", b"BM", 54 + length, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, side, -side, 1, 24, 0, length, 0, 0, 0, 0)
    return "data:image/bmp;base64," + base64.b64encode(header).decode()


# --- networks stage by stage -------------------------------------------------------------

# Which modules make a stage: the starts of their names, in order of execution.
STAGES = {
    "googlenet": {
        "stem 1": ("conv1", "maxpool1"), "stem 2": ("conv2", "conv3", "maxpool2"),
        "3a": ("inception3a",), "3b": ("inception3b", "maxpool3"), "4a": ("inception4a",), "4b": ("inception4b",),
        "4c": ("inception4c",), "4d": ("inception4d",), "4e": ("inception4e", "maxpool4"), "5a": ("inception5a",),
        "5b": ("inception5b",), "head": ("avgpool", "dropout", "fc"),
    },
    "squeezenet1_0": {
        "conv1": ("features.0", "features.1", "features.2"), "fire2": ("features.3",), "fire3": ("features.4",),
        "fire4": ("features.5", "features.6"), "fire5": ("features.7",), "fire6": ("features.8",),
        "fire7": ("features.9",), "fire8": ("features.10", "features.11"), "fire9": ("features.12",),
        "conv10": ("classifier",),
    },
    "xception": {
        "stem": tuple(f"entry.{i}" for i in range(6)), **{f"block {i + 1}": (f"entry.{6 + i}",) for i in range(3)},
        **{f"block {i + 4}": (f"middle.{i}",) for i in range(8)}, "block 12": ("exit.0",),
        "exit": tuple(f"exit.{i}" for i in range(1, 5)), "head": ("avgpool", "dropout", "fc"),
    },
}
SIZES = {"googlenet": 224, "squeezenet1_0": 224, "xception": 299}


def stages():
    """Return the data of that explorer: for each network its stages, what they cost, and what each kind of layer.

    Costs are those of `cost.trace`, in evaluation mode: [parameters, multiply-adds, activations] of a
    stage; before them the number of layers, of a kind.
    """
    return {name: _network(name) for name in STAGES}


def _network(name):
    import torch

    from cvnotes import cost, models

    with torch.device("meta"):
        network = models.build(name).eval()
    modules = dict(network.named_modules())
    shape = [3, SIZES[name], SIZES[name]]
    found = []
    rows = cost.trace(network, (1, *shape)).rows
    for stage, starts in STAGES[name].items():
        parts, before = {}, shape
        while rows and any(f"{rows[0].name}.".startswith(f"{start}.") for start in starts):
            row = rows.pop(0)
            part = parts.setdefault(_kind(modules[row.name]), [0, 0, 0, 0])
            for i, value in enumerate((1, row.cost.params, row.cost.macs, row.cost.activations)):
                part[i] += value
            shape = list(row.output_shape[1:])
        parts = {kind: parts[kind] for kind in KINDS if kind in parts}
        total = [sum(column) for column in zip(*parts.values())][1:]
        found.append({"name": stage, "before": before, "after": shape, "parts": parts, "cost": total})
    if rows:
        raise ValueError(f"`{rows[0].name}` of {name} is in no stage")
    return found


def _kind(module):
    """Return the kind of a layer, one of `KINDS`."""
    if hasattr(module, "kernel_size") and hasattr(module, "weight"):
        if module.groups > 1:
            return "depthwise"
        return f"{module.kernel_size[0]}×{module.kernel_size[1]}"
    return "fully connected" if hasattr(module, "in_features") else "rest"
