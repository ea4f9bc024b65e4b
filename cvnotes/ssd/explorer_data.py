"""What the explorers of the SSD chapter need from NumPy and Torch. Everything is the same to the byte from run to run.

The scores of `hard_negatives` and `pipeline` are those of `made_up()`, unless they are given others: `real(path)` has
those of a trained small detector, from a file of its weights. What is made up says so in its `source`.
"""

import base64
import struct
from typing import NamedTuple

import numpy as np
import torch

from cvnotes import data
from cvnotes.boxes import fast as boxes_fast
from cvnotes.ssd import explorers, fast, formulas

SCENE = dict(objects=(3, 6), sizes=(8, 80), crowds=0, contrast=90)  # beside its size
SEED, INDEX = 3, 78


def picked(size):
    """Return the scene that the explorers show, of a size in pixels."""
    return data.scene(SEED, INDEX, size=size, **SCENE)


def scene():
    """Return the data of `default_boxes`, `matching` and `patches`: the image, and its objects' names and boxes."""
    return _scene(picked(96))


def _scene(example):
    size = len(example.image)
    boxes = (example.boxes / size).tolist()
    names = [data.CLASSES[label] for label in example.labels]
    return {"image": bitmap(example.image), "objects": [[name, box] for name, box in zip(names, boxes)]}


def bitmap(image):
    """Return an image (H, W, 3) of bytes as a `data:` URI: a bitmap of 24 bits, rows from the top."""
    height, width, _ = image.shape
    rows = np.zeros((height, -(-3 * width // 4) * 4), np.uint8)
    rows[:, :3 * width] = image[..., ::-1].reshape(height, -1)  # blue, green, red
    header = struct.pack("<2sIHHI", b"BM", 54 + rows.size, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return "data:image/bmp;base64," + base64.b64encode(header + rows.tobytes()).decode()


# --- scores ------------------------------------------------------------------------------


class Outputs(NamedTuple):
    """What a detector says of an image.

    - example: the scene, a `data.Example`
    - scores: logits (D, C + 1), background first; offsets (D, 4); default_boxes (D, 4), fractions of the image
    - places: for each map how many places it has in a row, and how many boxes in a place
    - source: in words, where the scores come from
    """

    example: data.Example
    scores: torch.Tensor
    offsets: torch.Tensor
    default_boxes: torch.Tensor
    places: tuple
    source: str


def made_up(trained=True):
    """Return `Outputs` for SSD300's 8,732 default boxes that no network computed: a formula of the overlaps, and noise.

    The logit of an object's class grows with the IoU of default box and object. With `trained` False, scores
    are noise, as those of a network before its first step.
    """
    example = picked(96)
    boxes = torch.from_numpy(example.boxes / 96)
    scales = explorers.SCALES["its code, for COCO"]
    defaults = fast.default_boxes(formulas.MAP_SIZES, scales, formulas.RATIOS).double()
    noise = torch.from_numpy(np.random.default_rng(5).standard_normal((len(defaults), len(data.CLASSES) + 5)))
    scores = 0.02 * noise[:, :-4]
    offsets = torch.zeros_like(noise[:, -4:])
    if trained:
        iou = boxes_fast.box_iou(defaults, boxes)  # (D, M)
        best = iou.argmax(1)
        scores = 0.7 * noise[:, :-4]
        scores[:, 0] += 8
        for j, label in enumerate(example.labels.tolist()):
            sure = 18 * iou[:, j]
            scores[:, label + 1] += sure
            scores[:, (label + 2) % 6 + 1] += 0.75 * sure  # it takes it for something else, now and then
        target = boxes_fast.encode(boxes[best], defaults, weights=formulas.CODE)
        right = (iou.amax(1) > 0.3)[:, None]
        offsets = torch.where(right, target + 0.4 * noise[:, -4:], 0.4 * noise[:, -4:])
    places = tuple((n, 2 + 2 * len(ratios)) for n, ratios in zip(formulas.MAP_SIZES, formulas.RATIOS))
    return Outputs(example, scores, offsets, defaults, places, "made up by a formula, not computed by a network")


def real(path):
    """Return `Outputs` of a trained small SSD for the scene, from the file of its weights."""
    from cvnotes import train

    detector, example = train.load_weights(path), picked(128)
    with torch.no_grad():
        scores, offsets = detector(train._normalised(train.prepared(example, detector.image_size)[0][None]))
    in_place = 2 + 2 * len(detector.RATIOS)
    strides = [(8, 16, 32, 64)[m] for m in detector.maps]
    places = tuple((detector.image_size // stride, in_place) for stride in strides)
    return Outputs(
        example, scores[0].double(), offsets[0].double(), detector.boxes.double(), places, "those of a small trained SSD"
    )


# --- what explorers show of them ---------------------------------------------------------

EDGES = [0.001 * 10 ** (k / 4) for k in range(17)]  # of the bars of the histogram, 0.001 to 10


def hard_negatives(later=None, first=None):
    """Return the data of that explorer: losses of the scene's default boxes, in thousandths.

    Two sets of `Outputs`, of a trained network and of one before its first step; `made_up()` where none are given.
    """
    found = {}
    for stage, outputs in (("first step", first or made_up(trained=False)), ("later", later or made_up())):
        example, size = outputs.example, len(outputs.example.image)
        index = fast.match(torch.from_numpy(example.boxes / size), outputs.default_boxes)
        labels = torch.where(index >= 0, torch.from_numpy(example.labels)[index] + 1, 0)
        losses = torch.nn.functional.cross_entropy(outputs.scores, labels, reduction="none").numpy()
        positives, negatives = losses[index >= 0], np.sort(losses[index < 0])[::-1]
        bars = np.histogram(negatives.clip(EDGES[0], EDGES[-1] * 0.999), EDGES)[0]
        marks = 4 * np.log10(positives.clip(EDGES[0], None) / EDGES[0])
        most = 10 * len(positives)
        found[stage] = {
            "positives": _thousandths(positives), "count": len(negatives), "total": round(float(negatives.sum()), 3),
            "hardest": _thousandths(negatives[:most]), "bars": bars.tolist(), "edges": [round(edge, 4) for edge in EDGES],
            "marks": [round(float(mark), 2) for mark in marks],
        }
    found["source"] = (later or made_up()).source
    return found


def _thousandths(values):
    return np.rint(1000 * np.asarray(values)).astype(int).tolist()


LIMIT = 40  # candidates of a class
FINE = explorers.FINE


def pipeline(outputs=None):
    """Return the data of that explorer: the candidates, by falling score, and whom of its class each overlaps.

    `outputs` are `Outputs`, `made_up()` where none are given. Lengths are in thousandths, scores in 100,000ths.
    """
    outputs = outputs or made_up()
    example = outputs.example
    p = outputs.scores.softmax(1)[:, 1:]  # (D, C)
    boxes = boxes_fast.decode(
        outputs.offsets, outputs.default_boxes, weights=formulas.CODE, max_log_scale=formulas.MAX_LOG_SCALE
    ).clamp(0, 1)
    rounded = (FINE * p).round()
    chosen = []
    for c in range(p.shape[1]):
        best = p[:, c].argsort(descending=True, stable=True)[:LIMIT]
        chosen += [(-int(rounded[d, c]), c, d.item()) for d in best if rounded[d, c] > FINE * explorers.SCORES[0]]
    chosen.sort()
    overlap = boxes_fast.box_iou(boxes, boxes[[d for _, _, d in chosen]])[[d for _, _, d in chosen]]
    overlap = (1000 * overlap).ceil().int().tolist()
    first, in_place = outputs.places[0]
    seen = rounded[:first * first * in_place].amax(1).view(first, first, in_place).amax(2)
    heat = sum((seen > FINE * score).int() for score in (0.05, 0.2, 0.5))
    return {
        **_scene(example), "classes": list(data.CLASSES), "boxes": len(p), "limit": LIMIT, "source": outputs.source,
        "over": [int((rounded > FINE * score).sum()) for score in explorers.SCORES],
        "heat": ["".join(map(str, row)) for row in heat.tolist()],
        "candidates": [
            {
                "id": i, "class": c, "score": -score, "default": _thousandths(outputs.default_boxes[d]),
                "box": _thousandths(boxes[d]),
                "over": [[j, overlap[i][j]] for j in range(i + 1, len(chosen)) if chosen[j][1] == c and overlap[i][j] > 100],
            }
            for i, (score, c, d) in enumerate(chosen)
        ],
    }
