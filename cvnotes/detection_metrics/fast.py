"""The chapter's metrics for many images at once.

Detections, objects and their pairs lie in flat arrays, and what the reference decides one by one is decided
for all classes, images, thresholds and sizes in one step. That is sorting and indexing, with little arithmetic,
and NumPy does it, on the processor. Tensors of any device may come in.
"""

import json
import os

import numpy as np
import torch

from cvnotes import shapes
from cvnotes.detection_metrics import formulas

PAIRS = 2**18  # of a detection and an object that are looked at at once
BITS = 62  # in a word of 64, with the sign left alone
POINTS = {name: np.array(formulas.recall_points(name)) for name in ("voc07", "coco")}


def average_precision(recall, precision, *, interpolation):
    """Same contract as `reference.average_precision`.

    The envelope is a running maximum from the end; the points find their places by bisection.
    """
    formulas.curve(recall, precision, interpolation)
    recall, precision = (x.detach().cpu().double().numpy() for x in (recall, precision))
    if not (_within(recall, 0, 1) and _within(precision, 0, 1) and (np.diff(recall) >= 0).all()):
        formulas.curve_values(recall.tolist(), precision.tolist())
    return _average(recall, precision, interpolation)


def evaluate(
    ground_truth, detections, *, iou_thresholds, interpolation, areas, max_detections, inclusive=False,
    use_ignore=False, matching=None,
):
    """Same contract as `reference.evaluate`; what is returned is on the processor.

    Only pairs of one image and class are compared, and only those that overlap enough are kept: few. These
    have their turns in the order of the score, in all images and classes at once; and at all thresholds and
    sizes at once, for whether a detection has an object there, and an object is taken, is a bit of an integer.
    A curve is then drawn from its hits alone.

    Memory: some 350 bytes for each detection, 100 for each pair that overlaps enough, and 60 MB to compare pairs.
    """
    thresholds, areas, limits, matching = formulas.settings(
        iou_thresholds, interpolation, areas, max_detections, inclusive, use_ignore, matching
    )
    truth, found, labels = _read(ground_truth, detections, inclusive, use_ignore)
    asked = [(limit, interpolation, range(len(areas))) for limit in limits]
    figures = _figures(truth, found, len(labels), thresholds, areas, matching, asked)
    ap, recall, objects = (torch.from_numpy(each) for each in figures)
    return {"labels": labels, "average_precision": ap, "recall": recall, "objects": objects}


def coco_summary(ground_truth, detections, *, use_ignore=False):
    """Same contract as `reference.coco_summary`.

    As `evaluate`, but with an average precision only where one of the twelve asks for it.
    """
    thresholds, areas, limits, matching = formulas.settings(
        formulas.IOU_THRESHOLDS, "coco", list(formulas.AREAS.values()), formulas.MAX_DETECTIONS, False, use_ignore, None
    )
    truth, found, labels = _read(ground_truth, detections, False, use_ignore)
    names, summary, asked = list(formulas.AREAS), {}, []
    for limit in limits:
        own = [(figure, names.index(area)) for figure, _, area, most in formulas.SUMMARY.values() if most == limit]
        curve = "coco" if "average_precision" in dict(own) else None
        asked.append((limit, curve, sorted({area for _, area in own})))
    ap, recall, _ = _figures(truth, found, len(labels), thresholds, areas, matching, asked)
    for name, (figure, threshold, area, limit) in formulas.SUMMARY.items():
        values = ap if figure == "average_precision" else recall
        values = values[:, :, names.index(area), limits.index(limit)]  # (T, K)
        values = values if threshold is None else values[thresholds.index(threshold)]
        counted = values[values != -1]
        summary[name] = float(counted.mean()) if counted.size else -1.0
    return summary


def _figures(truth, found, classes, thresholds, areas, matching, asked):
    """Return average precision and recall (T, K, A, M), and how many objects count (K, A).

    `asked` holds, for each limit, that limit, the interpolation or None, and for which of the areas to look.
    """
    truth, found, order = _sorted(truth, found, max(limit for limit, _, _ in asked))
    hits, misses, ignored = _matched(truth, found, thresholds, areas, matching)
    objects = np.stack([np.bincount(truth["class"][~flags], minlength=classes) for flags in ignored], 1)
    each = [_curves(found, order, hits, misses, objects, len(thresholds), *ask) for ask in asked]
    return *(np.stack(values, -1) for values in zip(*each)), objects


# --- reading -------------------------------------------------------------------------------


def _read(ground_truth, detections, inclusive, use_ignore):
    """Return the objects and the detections of all images, two dicts of flat arrays, and the list of classes."""
    if isinstance(ground_truth, (str, os.PathLike, dict)):
        *both, labels = formulas.from_coco(_loaded(ground_truth), _loaded(detections), inclusive)
        truth, found = ({"boxes": _flat(images, "boxes"), "sides": _flat(images, "sides")} for images in both)
    else:
        both, labels = (ground_truth, detections), None
        formulas.images("torch", *both)
        truth, found = ({"boxes": _flat(images, "boxes")} for images in both)
        if not _fine(*both, truth["boxes"], found["boxes"]):
            formulas.image_values(*both)  # image by image, to say where
        for part in (truth, found):
            part["boxes"][:, 2:] += inclusive
            part["sides"] = part["boxes"][:, 2:] - part["boxes"][:, :2]
    for images, part in zip(both, (truth, found)):
        part["labels"] = _flat(images, "labels")
        part["image"] = np.repeat(np.arange(len(images)), [len(image["labels"]) for image in images])
        part["own"] = part["sides"][:, 0] * part["sides"][:, 1]
    if labels is None:
        labels = np.unique(np.concatenate([truth["labels"], found["labels"]])).tolist()
    for part in (truth, found):
        classes = np.searchsorted(labels, part["labels"])
        part["class"], part["group"] = _small(classes), _small(classes * len(both[0]) + part["image"])
    found["scores"] = _flat(both[1], "scores")
    truth["area"] = _optional(both[0], "area", truth["own"])
    truth["crowd"] = _optional(both[0], "iscrowd", np.zeros(len(truth["own"]), bool))
    truth["ignore"] = _optional(both[0], "ignore", truth["crowd"]) | truth["crowd"] if use_ignore else truth["crowd"]
    return truth, found, labels


def _loaded(value):
    """Return what a JSON file holds, or the value itself where it is no path."""
    if isinstance(value, (str, os.PathLike)):
        return formulas.read(value, json.loads)
    return value


FIELDS = {
    "boxes": (torch.float64, (-1, 4)), "sides": (torch.float64, (-1, 2)), "labels": (torch.int64, -1),
    "scores": (torch.float64, -1), "area": (torch.float64, -1), "iscrowd": (torch.bool, -1), "ignore": (torch.bool, -1),
}


def _flat(images, field):
    """Return a field of all images that have it, tensors or lists, as one array."""
    dtype, shape = FIELDS[field]
    parts = [image[field] for image in images if field in image]
    if parts and isinstance(parts[0], torch.Tensor):
        joined = torch.cat(parts).detach().cpu().to(dtype)  # always a copy
    else:
        joined = torch.tensor([x for part in parts for x in part], dtype=dtype)
    return joined.reshape(shape).numpy()


def _optional(images, field, otherwise):
    """Return a field of all images; where an image has none, what stands in `otherwise`."""
    has = [field in image for image in images]
    if any(has):
        otherwise = otherwise.copy()
        otherwise[np.repeat(has, [len(image["labels"]) for image in images])] = _flat(images, field)
    return otherwise


def _fine(ground_truth, detections, *boxes):
    """Tell at one glance whether all numbers are as they must be, for sure; if not, each needs a look."""
    numbers = [*boxes, _flat(detections, "scores"), _flat(ground_truth, "area")]
    return (
        all((np.abs(x) <= 1e18).all() for x in numbers) and (numbers[-1] >= 0).all()
        and all((x[:, :2] <= x[:, 2:]).all() for x in boxes)
    )


def _small(x):
    """Return integers of 0 or more in the smallest dtype: those of up to 16 bits are sorted in linear time."""
    return x.astype(np.min_scalar_type(x.max(initial=0)))


# --- who takes what ------------------------------------------------------------------------


def _sorted(truth, found, most):
    """Return the objects by class and image, the detections by class, image and falling score, and an order.

    A detection's "rank" is that in its class and image; only the first `most` are kept. The order of the
    detections is the one in which curves are drawn: by class and falling score.
    """
    by_group = np.argsort(truth["group"], kind="stable")
    truth = {field: x[by_group] for field, x in truth.items()}
    by_score = np.argsort(-found["scores"], kind="stable")
    by_group = by_score[np.argsort(found["group"][by_score], kind="stable")]
    by_class = by_score[np.argsort(found["class"][by_score], kind="stable")]
    first = np.flatnonzero(np.diff(found["group"][by_group].astype(np.int64), prepend=-1))
    rank = np.arange(len(by_group)) - np.repeat(first, np.diff(first, append=len(by_group)))
    kept = rank < most
    place = np.full(len(by_group), -1)
    place[by_group[kept]] = np.arange(kept.sum())
    order = place[by_class]
    found = {field: found[field][by_group[kept]] for field in ("boxes", "own", "class", "group")}
    return truth, {**found, "rank": rank[kept]}, order[order >= 0]


def _matched(truth, found, thresholds, areas, matching):
    """Return which detections are hits, and which misses, in words of a bit for each threshold and size.

    The bit of threshold t and size a is number a · T + t, 62 of them in a word. Also returns the objects that
    are ignored, for each size.
    """
    least = np.minimum(thresholds, 1 - 1e-10)
    owner, thing, overlap = _pairs(truth, found, least.min(), matching)
    ignored = [truth["ignore"] | (truth["area"] < small) | (truth["area"] > large) for small, large in areas]
    outside = [(found["own"] < small) | (found["own"] > large) for small, large in areas]
    hits, misses = [], []
    bits = [(t, a) for a in range(len(areas)) for t in least]
    for i in range(0, len(bits), BITS):
        word = bits[i:i + BITS]
        reached = _word([overlap >= t for t, _ in word])
        skipped = _word([ignored[a] for _, a in word])
        endless = skipped if matching == "voc" else np.where(truth["crowd"], -1, 0)
        turns = _turns(found["group"][owner])
        hit = _take(turns, owner, thing, reached & ~skipped[thing], endless, len(found["own"]))
        rest = _take(turns, owner, thing, reached & skipped[thing] & ~hit[owner], endless, len(found["own"]))
        hits.append(hit)
        misses.append(~(hit | rest | _word([outside[a] for _, a in word])))
    return hits, misses, ignored


def _word(flags):
    """Return booleans as the bits of integers, the first as the lowest."""
    word = np.zeros(len(flags[0]), np.int64)
    for i, flag in enumerate(flags):
        word |= flag.astype(np.int64) << i
    return word


def _turns(group):
    """Return a list of arrays: the first pair of each group, then the second of each that has one, and so on."""
    first = np.flatnonzero(np.diff(group.astype(np.int64), prepend=-1))
    turn = np.arange(len(group)) - np.repeat(first, np.diff(first, append=len(group)))
    return np.split(np.argsort(_small(turn), kind="stable"), np.cumsum(np.bincount(turn))[:-1])


def _take(turns, owner, thing, reached, endless, count):
    """Return, for each of `count` detections, the bits at which it takes a thing.

    Pairs have their turn in all images and classes at once, each detection's in the order of its preference.
    At the bits where a pair is near enough, where the detection has nothing and the thing is left, it is taken.
    """
    has, taken = np.zeros(count, np.int64), np.zeros(len(endless), np.int64)
    for pairs in turns:
        d, g = owner[pairs], thing[pairs]
        bits = reached[pairs] & ~has[d] & ~taken[g]
        has[d] |= bits
        taken[g] |= bits & ~endless[g]
    return has


def _pairs(truth, found, least, matching):
    """Return owner, thing and overlap of the pairs from `least` on, each detection's by falling preference."""
    first, end = (np.searchsorted(truth["group"], found["group"], side) for side in ("left", "right"))
    total = np.concatenate([[0], np.cumsum(end - first)])
    cuts = [*np.searchsorted(total, np.arange(0, total[-1], PAIRS)), len(first)]
    kept = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for a, b in zip(cuts, cuts[1:]):
        owner = np.repeat(np.arange(a, b), (end - first)[a:b])
        place = np.arange(total[a], total[b]) - total[owner]
        # Of equal overlaps the first in this order is taken: the last object for COCO, the first for VOC.
        thing = end[owner] - 1 - place if matching == "coco" else first[owner] + place
        overlap = _overlaps(truth, found, owner, thing)
        near = overlap >= least
        kept.append((owner[near], thing[near], overlap[near]))
    owner, thing, overlap = map(np.concatenate, zip(*kept))
    several = np.flatnonzero(np.diff(owner, prepend=-1) * np.diff(owner, append=-1) == 0)  # most have one alone
    order = np.arange(len(owner))
    order[several] = several[np.lexsort((-overlap[several], owner[several]))]
    if matching == "voc":  # there is one object for each, whatever happens
        order = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
    return owner[order], thing[order], overlap[order]


def _overlaps(truth, found, owner, thing):
    """Return the overlap of each pair: the IoU, or the share of the detection that lies in a crowd."""
    a, b = found["boxes"][owner].T, truth["boxes"][thing].T
    shared = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    shared *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    own = found["own"][owner]
    whole = np.where(truth["crowd"][thing], own, own + truth["own"][thing] - shared)
    return np.divide(shared, whole, out=np.zeros(len(owner)), where=whole > 0)


# --- from outcomes to figures --------------------------------------------------------------


def _curves(found, order, hits, misses, objects, T, limit, interpolation, areas):
    """Return average precision (−1 where interpolation is None) and recall, (T, K, A), of some areas.

    A curve is made of its hits alone: between them the recall stands still and the precision falls.
    """
    K, A = objects.shape
    ap, recall = np.full((T, K, A), -1.0), np.full((T, K, A), -1.0)
    order = order[found["rank"][order] < limit]
    bounds = np.searchsorted(found["class"][order], np.arange(K + 1))
    hits, misses = ([word[order] for word in words] for words in (hits, misses))
    for a, t in ((a, t) for a in areas for t in range(T)):
        word, bit = divmod(a * T + t, BITS)
        at = np.flatnonzero(hits[word] & 1 << bit != 0)
        ends = np.searchsorted(at, bounds)
        some = np.flatnonzero(objects[:, a])
        recall[t, some, a] = np.diff(ends)[some] / objects[some, a]
        if interpolation is None:
            continue
        missed = np.concatenate([[0], np.cumsum(misses[word] & 1 << bit != 0)])
        for k in some:
            own = at[ends[k]:ends[k + 1]]
            hits_so_far = np.arange(1, len(own) + 1)
            precision = hits_so_far / (hits_so_far + missed[own] - missed[bounds[k]])
            ap[t, k, a] = _average(hits_so_far / objects[k, a], precision, interpolation)
    return ap, recall


def _average(recall, precision, interpolation):
    """Return the average precision of a curve."""
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "voc10":
        return float((np.diff(recall, prepend=0) * highest).sum())
    places = np.searchsorted(recall, POINTS[interpolation])
    return float(highest[places[places < len(highest)]].sum() / len(places))


def _within(x, small, large):
    return bool(((x >= small) & (x <= large)).all())


shapes.only("torch", globals())
