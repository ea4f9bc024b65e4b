"""What the explorers of the SSD chapter need from NumPy and Torch. Everything is the same to the byte from run to run.

Scores and offsets are those of a small trained SSD, from the file that `benchmarks/ssd_outputs.py` writes: computed
anew, they would differ in their last digits from one processor to another.
"""

from typing import NamedTuple

import numpy as np
import torch

from cvnotes import data, train
from cvnotes.boxes import fast as boxes_fast
from cvnotes.boxes.formulas import iou
from cvnotes.models.small_detectors import SmallSSD
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
    return {"image": data.bitmap(example.image), "objects": [[name, box] for name, box in zip(names, boxes)]}


def best_overlaps(scales, sizes, ratio=1.0):
    """Return (least, mean, greatest) for each size: the best IoU that an object has with a default box of SSD300.

    - scales: of the default boxes; sizes: roots of the objects' areas, in fractions of the image, until one is as wide as
      the image; 40 at random places of each; ratio: of their width to their height, at least 1
    """
    centres = torch.from_numpy(np.random.default_rng(0).random((40, 2))).float()
    boxes = fast.default_boxes(formulas.MAP_SIZES, scales, formulas.RATIOS)
    rows = []
    for size in sizes:
        sides = size * torch.tensor([ratio**0.5, ratio**-0.5])
        if sides[0] > 1:
            break
        middle = sides / 2 + (1 - sides) * centres
        best = boxes_fast.box_iou(torch.cat([middle - sides / 2, middle + sides / 2], 1).float(), boxes).amax(1)
        rows.append([part(best).item() for part in (torch.min, torch.mean, torch.max)])
    return rows


VARIANTS = {"ssd": "all", "ssd, middle map": "middle", "ssd, fine map": "fine"}  # from which maps boxes are read


def matched_by_size(count=200):
    """Return by variant of the small SSD how many boxes there are, and how many match an object, small, medium and large.

    Counted on the first scenes to validate on. Small is less than 16² pixels, large 48² or more.
    """
    scenes = [train.unseen(i) for i in range(count)]
    found = {}
    for variant, maps in VARIANTS.items():
        defaults = SmallSSD.layout(maps=maps)[1].double()
        matched = [[], [], []]
        for scene_ in scenes:
            own = ~scene_.iscrowd
            index = fast.match(torch.from_numpy(scene_.boxes[own] / 128), defaults)
            for j, area in enumerate(scene_.area[own]):
                matched[int(np.searchsorted((16**2, 48**2), area, "right"))].append(int((index == j).sum()))
        found[variant] = len(defaults), [float(np.mean(each)) for each in matched]
    return found


# --- scores ------------------------------------------------------------------------------

SHOWN = 4  # scenes of those to validate on, the first ones


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


class Stored(NamedTuple):
    """What is stored of the small SSD.

    `first` and `later` are `Outputs` for the chapter's scene, before training and after; `shown` are those of some
    scenes to validate on, after training.
    """

    first: Outputs
    later: Outputs
    shown: list


def examples():
    """Return the scenes of which outputs are stored: the chapter's, then some to validate on."""
    return [picked(128)] + [train.unseen(i) for i in range(SHOWN)]


def stored(path):
    """Return what is stored in a file of `benchmarks/ssd_outputs.py`."""
    from safetensors.numpy import load_file

    arrays = {name: torch.from_numpy(array.astype(np.float64)) for name, array in load_file(path).items()}
    sides, defaults = SmallSSD.layout()
    defaults, places = defaults.double(), tuple((side, 2 + 2 * len(SmallSSD.RATIOS)) for side in sides)
    scene, *others = examples()

    def outputs(name, i, example, source):
        return Outputs(example, arrays[name + ".scores"][i], arrays[name + ".offsets"][i], defaults, places, source)

    later = "those of a small trained SSD"
    return Stored(
        outputs("first", 0, scene, "those of a small SSD before its training"), outputs("later", 0, scene, later),
        [outputs("later", i + 1, example, later) for i, example in enumerate(others)],
    )


def detections(outputs, min_score):
    """Return what is found: a list of (class, score, box in fractions of the image), by falling score."""
    (found,) = fast.detect(
        outputs.scores[None], outputs.offsets[None], outputs.default_boxes, min_score=min_score, iou_threshold=0.5
    )
    return list(zip((found["labels"] - 1).tolist(), found["scores"].tolist(), found["boxes"].tolist()))


def verdicts(outputs, found):
    """Return for each detection, by falling score, "right", "crowd" or "wrong".

    Right is one that has an IoU of 0.5 or more with an object of its class that none before it has found. One that lies
    by half or more in a crowd of its class counts for nothing, as with COCO.
    """
    example, size = outputs.example, len(outputs.example.image)
    boxes, left, answers = (example.boxes / size).tolist(), set(np.flatnonzero(~example.iscrowd).tolist()), []
    for c, _, box in found:
        best, j = max(((iou(box, boxes[j]), j) for j in left if example.labels[j] == c), default=(0.0, None))
        crowds = [crowd for crowd, label, is_one in zip(boxes, example.labels, example.iscrowd) if is_one and label == c]
        if best >= 0.5:
            left.remove(j)
        answers.append("right" if best >= 0.5 else "crowd" if any(_share(box, one) >= 0.5 for one in crowds) else "wrong")
    return answers


def _share(box, area):
    """Return the share of a box that lies in an area."""
    w, h = min(box[2], area[2]) - max(box[0], area[0]), min(box[3], area[3]) - max(box[1], area[1])
    return max(0.0, w) * max(0.0, h) / ((box[2] - box[0]) * (box[3] - box[1]) or 1.0)


# --- what explorers show of them ---------------------------------------------------------

EDGES = [0.0001 * 10 ** (k / 4) for k in range(21)]  # of the bars of the histogram, 0.0001 to 10; the first has all below


def hard_negatives(first, later):
    """Return the data of that explorer: losses of the scene's default boxes, in thousandths.

    - first, later: `Outputs` of a network before its first step, and of one that is trained
    """
    found = {}
    for stage, outputs in (("first step", first), ("later", later)):
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
            "marks": [round(float(mark), 2) for mark in marks], "source": outputs.source,
        }
    return found


def _surest(scores, places):
    """Return for each place of the first map the best score (D,) of all boxes whose place, on any map, holds it."""
    side, start = places[0][0], 0
    best = scores.new_zeros(side, side)
    for n, in_place in places:
        own = scores[start:start + n * n * in_place].view(n, n, in_place).amax(2)  # (n, n)
        where = torch.arange(side) * n // side
        best, start = torch.maximum(best, own[where][:, where]), start + n * n * in_place
    return best


def _thousandths(values):
    return np.rint(1000 * np.asarray(values)).astype(int).tolist()


LIMIT = 40  # candidates of a class
FINE = explorers.FINE


def pipeline(outputs):
    """Return the data of that explorer: the candidates, by falling score, and whom of its class each overlaps.

    `outputs` are `Outputs`. Lengths are in thousandths, scores in 100,000ths.
    """
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
    seen = _surest(rounded.amax(1), outputs.places)
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
