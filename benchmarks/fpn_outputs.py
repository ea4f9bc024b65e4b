"""What the trained small RetinaNet computes inside its pyramid: features, spectra, and what can be read from a place.

Writes chapters/data/fpn_outputs.safetensors from chapters/data/detectors_retinanet.safetensors. One minute; no training:

    python benchmarks/fpn_outputs.py
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from cvnotes import data, train
from cvnotes.fpn import fast
from cvnotes.fpn.reference import box_level
from cvnotes.models.small_detectors import SmallRetinaNet

DATA = Path(__file__).resolve().parent.parent / "chapters" / "data"
WEIGHTS, TARGET = DATA / "detectors_retinanet.safetensors", DATA / "fpn_outputs.safetensors"
SCENE = 102  # which of the scenes to validate on is shown: a large cross, small ones, and what is between
FIRST, FITTED, TESTED = 1000, 600, 300  # scenes that read-outs are fitted to and tested on: none was trained on
SPECTRA = 200  # scenes whose spectra are averaged
SCORED, FOUND = 200, 0.5  # scenes in which objects are looked for on each level, and the score from which one is found
RIDGE = 1e-3  # of each read-out, per example, for features of variance 1
LEVELS, STRIDES = (2, 3, 4, 5), (4, 8, 16, 32)
LIMITS = (16, 48)  # √area in pixels: small below, large from here on; as in detectors_training.json
VIEWS = ("length of the vector", "score of the head")


# --- the parts of a pyramid --------------------------------------------------------------


@torch.no_grad()
def parts(detector, examples):
    """Return what a pyramid is made of, each a list from the finest level on, (N, ·, H, W).

    C: the backbone's maps; L: the lateral 1×1 of them; U: what comes from above; M = L + U; P: the 3×3 of M; `alone`:
    the 3×3 of L; `added`: P − alone, the 3×3 of U. On the coarsest level U and what is added are 0.
    """
    C = detector.backbone(train.batch_of(examples, detector.image_size)[0])
    L = [conv(c) for conv, c in zip(detector.lateral, C)]
    U, M = [torch.zeros_like(L[-1])], [L[-1]]
    for lateral in L[-2::-1]:
        U.insert(0, fast.upsample_nearest(M[0], lateral.shape[2:]))
        M.insert(0, lateral + U[0])
    P, alone = ([conv(m) for conv, m in zip(detector.output, maps)] for maps in (M, L))
    added = [p - a for p, a in zip(P, alone)]
    return {"C": C, "L": L, "U": U, "M": M, "P": P, "alone": alone, "added": added}


@torch.no_grad()
def best(detector, level):
    """Return in each place of a level (N, 32, H, W) the best score of all anchors and classes, and its class: (N, H, W)."""
    scores, which = detector.logits(torch.relu(detector.tower(level))).sigmoid().max(1)  # (N, A·K, H, W) → (N, H, W)
    return scores, which % detector.num_classes


def found_at_centres(detector, first=FIRST, count=SCORED, batch=50):
    """Return of how many objects the place of the centre has a score above `FOUND`, on each level.

    - scored: (4,) objects: all, small, medium, large
    - found: (4, 4, 2) of them that are found: on P2 to P5; all, small, medium, large; by the lateral way alone, and with
      what comes from above
    """
    scored, found = np.zeros(4), np.zeros((4, 4, 2))
    for start in range(first, first + count, batch):
        examples = [train.unseen(i) for i in range(start, start + batch)]
        own = parts(detector, examples)
        scores = [[best(detector, own[name][k])[0].numpy() for name in ("alone", "P")] for k in range(4)]
        for n, example in enumerate(examples):
            _, centres, sizes = objects_of(example)
            groups = np.stack(groups_of(sizes))  # (4, M)
            scored += groups.sum(1)
            for k, stride in enumerate(STRIDES):
                column, row = (centres // stride).astype(int).T
                for j, maps in enumerate(scores[k]):
                    found[k, :, j] += groups[:, maps[n, row, column] > FOUND].sum(1)
    return {"scored": scored.astype(np.float32), "found": found.astype(np.float32)}


def shown(detector, i=SCENE):
    """Return what the explorer shows of a scene: name → array."""
    own, found = parts(detector, [train.unseen(i)]), {}
    for k, level in enumerate(LEVELS):
        alone, P, added = (own[name][k] for name in ("alone", "P", "added"))
        scores, classes = ([found[0] for found in pair] for pair in zip(*(best(detector, x) for x in (alone, P))))
        found[f"class {level}"] = torch.stack(classes).numpy().astype(np.uint8)  # (2, H, W)
        triples = {VIEWS[0]: [x[0].norm(dim=0) for x in (alone, P, added)], VIEWS[1]: [*scores, scores[1] - scores[0]]}
        for name, maps in triples.items():
            found[f"view {level} {name}"] = torch.stack(maps).numpy().astype(np.float16)  # (3, H, W)
    return found


# --- spectra -----------------------------------------------------------------------------


def power(maps):
    """Return the mean energy of each frequency over images and channels, (H, W); the channels' means are taken out."""
    maps = maps.double() - maps.double().mean((2, 3), keepdim=True)
    return (torch.fft.fft2(maps).abs() ** 2).mean((0, 1)).numpy() / maps.shape[2] ** 2 / maps.shape[3] ** 2


def spectra(detector, count=SPECTRA):
    """Return mean spectra of P2 to P4: of what comes from above before and after the 3×3, and of all."""
    totals, batch = {}, 50
    for first in range(0, count, batch):
        own = parts(detector, [train.unseen(i) for i in range(first, first + batch)])
        for k, level in enumerate(LEVELS[:3]):
            for name in ("L", "U", "M", "P", "added"):
                key = f"spectrum {level} {name}"
                totals[key] = totals.get(key, 0) + power(own[name][k]) * batch / count
    return {key: value.astype(np.float32) for key, value in totals.items()}


# --- what can be read from one place -----------------------------------------------------


class Ridge:
    """Least squares from features of one place, fitted to sums, so that no example is kept."""

    def __init__(self):
        self.sums = None

    def add(self, x, y):
        """Take examples x (n, C) and what is to be read from them, y (n, T), both float64."""
        ones = np.ones((len(x), 1))
        both = np.concatenate([ones, x, y], 1)
        self.sums = both.T @ both + (0 if self.sums is None else self.sums)
        self.channels = x.shape[1]

    def fit(self):
        C, n = self.channels, self.sums[0, 0]
        mean = self.sums[0, 1:] / n
        covariance = self.sums[1:, 1:] / n - np.outer(mean, mean)
        deviation = np.sqrt(np.diag(covariance)[:C]) + 1e-12
        gram = covariance[:C, :C] / np.outer(deviation, deviation) + RIDGE * np.eye(C)
        weights = np.linalg.solve(gram, covariance[:C, C:] / deviation[:, None]) / deviation[:, None]  # (C, T)
        self.weights, self.bias = weights, mean[C:] - mean[:C] @ weights
        return self

    def __call__(self, x):
        return x @ self.weights + self.bias


def objects_of(example):
    """Return labels (M,), centres (M, 2) in pixels and sizes √area (M,) of the objects that are no crowd."""
    own = ~example.iscrowd
    boxes = example.boxes[own]
    return example.labels[own], (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(example.area[own])


def groups_of(sizes):
    """Return which objects are in each group: all, small, medium, large."""
    return [sizes > 0, sizes < LIMITS[0], (sizes >= LIMITS[0]) & (sizes < LIMITS[1]), sizes >= LIMITS[1]]


def levels_of(boxes):
    """Return which level a box (x1, y1, x2, y2) is for, 0 for P2: the one whose anchors are nearest in size."""
    side = SmallRetinaNet.SIDES[0] / 2**0.5  # half way from an anchor of P2 to one of P1, if there were any
    return box_level(boxes.astype(float), k0=2, size0=side, lowest=2, highest=5) - 2


def covered(example):
    """Return which cells of 4 × 4 pixels an object covers by half or more, (32, 32)."""
    mask = example.masks.any(0) if len(example.masks) else np.zeros((128, 128), bool)
    return mask.reshape(32, 4, 32, 4).mean((1, 3)) >= 0.5


def rows_of(maps, examples, stride):
    """Return what read-outs learn from and what they should say, for the places of one level.

    At the place in which an object's centre lies: features, class, the centre as seen from the place's middle in
    pixels, and the object's size. At all places: features, and which of its cells of 4 × 4 pixels are covered.
    """
    at_centres, at_all = [], []
    for features, example in zip(maps, examples):
        labels, centres, sizes = objects_of(example)
        place = (centres // stride).astype(int)  # column, row
        at_centres.append((features[:, place[:, 1], place[:, 0]].T, labels, centres - (place + 0.5) * stride, sizes))
        n, cells = 128 // stride, stride // 4
        wanted = covered(example).reshape(n, cells, n, cells).transpose(0, 2, 1, 3).reshape(n * n, cells * cells)
        at_all.append((features.reshape(len(features), -1).T, wanted))
    return [np.concatenate(parts) for parts in zip(*at_centres)], [np.concatenate(parts) for parts in zip(*at_all)]


def read_outs(detector, first=FIRST, fitted=FITTED, tested=TESTED, batch=50):
    """Return what linear read-outs of one place of C2 to C5 and P2 to P5 tell of unseen scenes.

    - objects: (4,) tested objects: all, small, medium, large
    - right: (8, 4) of them whose class is told right; C2 to C5, then P2 to P5
    - near: (8, 4) root mean square error of an object's centre in pixels, across or down
    - nearest: (4, 4) the same where nothing is read but which place it is; for each stride
    - cells: (8,) share of the cells of 4 × 4 pixels of which it is told wrongly whether an object covers them
    - cells_always: (1,) the same error where one always says "no", or always "yes", whichever is better
    """
    names = [(kind, k) for kind in "CP" for k in range(4)]
    classes, centres, masks = ({name: Ridge() for name in names} for _ in range(3))
    found = {name: [] for name in names}
    for start in range(0, fitted + tested, batch):
        examples = [train.unseen(first + i) for i in range(start, start + batch)]
        own = parts(detector, examples)
        for kind, k in names:
            maps = own[kind][k].double().numpy()
            (x, labels, offsets, sizes), (every, wanted) = rows_of(maps, examples, STRIDES[k])
            if start < fitted:
                classes[kind, k].add(x, np.eye(6)[labels])
                centres[kind, k].add(x, offsets)
                masks[kind, k].add(every, wanted.astype(float))
                continue
            if start == fitted:
                for ridge in (classes, centres, masks):
                    ridge[kind, k].fit()
            found[kind, k].append((
                classes[kind, k](x).argmax(1) == labels, ((centres[kind, k](x) - offsets) ** 2).mean(1),
                (offsets**2).mean(1), sizes, ((masks[kind, k](every) > 0.5) != wanted).ravel(), wanted.ravel(),
            ))
    right, near, nearest, cells = np.zeros((8, 4)), np.zeros((8, 4)), np.zeros((4, 4)), np.zeros(8)
    for row, name in enumerate(names):
        hit, error, alone, sizes, wrong, wanted = map(np.concatenate, zip(*found[name]))
        groups = groups_of(sizes)
        for g, group in enumerate(groups):
            right[row, g], near[row, g] = hit[group].sum(), np.sqrt(error[group].mean())
            nearest[row % 4, g] = np.sqrt(alone[group].mean())
        cells[row] = wrong.mean()
    share = wanted.mean()
    return {
        "objects": np.array([group.sum() for group in groups], np.float32), "right": right.astype(np.float32),
        "near": near.astype(np.float32), "nearest": nearest.astype(np.float32), "cells": cells.astype(np.float32),
        "cells_always": np.array([min(share, 1 - share)], np.float32),
    }


def crossed(detector, first=FIRST, fitted=FITTED, tested=TESTED, batch=50):
    """Return how well a read-out of the class, fitted to one level, reads the others.

    Each level has the objects that it is for (`levels_of`), at the places of their centres.

    - owned: (4,) tested objects of P2 to P5
    - crossed: (2, 4, 4) of them whose class is told right: by the lateral way alone, and with what comes from above;
      fitted to P2 to P5; tested on P2 to P5
    """
    ways = ("alone", "P")
    ridges, kept = {(way, k): Ridge() for way in ways for k in range(4)}, {}
    for start in range(0, fitted + tested, batch):
        examples = [train.unseen(first + i) for i in range(start, start + batch)]
        own = parts(detector, examples)
        for way, k in ridges:
            x, y = [], []
            for features, example in zip(own[way][k].double().numpy(), examples):
                labels, centres, _ = objects_of(example)
                mine = levels_of(example.boxes[~example.iscrowd]) == k
                column, row = (centres[mine] // STRIDES[k]).astype(int).T
                x.append(features[:, row, column].T)
                y.append(labels[mine])
            x, y = np.concatenate(x), np.concatenate(y)
            if start < fitted:
                ridges[way, k].add(x, np.eye(6)[y])
            else:
                kept.setdefault((way, k), []).append((x, y))
    tests = {key: [np.concatenate(values) for values in zip(*rows)] for key, rows in kept.items()}
    right = np.zeros((2, 4, 4), np.float32)
    for (way, k), ridge in ridges.items():
        ridge.fit()
        for j in range(4):
            x, labels = tests[way, j]
            right[ways.index(way), k, j] = (ridge(x).argmax(1) == labels).sum()
    return {"owned": np.array([len(tests["P", j][1]) for j in range(4)], np.float32), "crossed": right}


def main():
    from safetensors.numpy import save

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = train.load_weights(options.weights)
    arrays = {}
    for make in (shown, spectra, found_at_centres, read_outs, crossed):
        arrays |= make(detector)
    about = {
        "scene": SCENE, "first": FIRST, "fitted": FITTED, "tested": TESTED, "spectra": SPECTRA, "limits": LIMITS,
        "scored": SCORED, "found": FOUND,
    }
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    with data.replacing(options.target) as file:
        file.write(save(arrays, {"cvnotes": json.dumps(about)}))
    print(f"{options.target}: {options.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
