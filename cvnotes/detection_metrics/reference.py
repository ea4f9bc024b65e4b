"""The chapter's metrics in NumPy, to be read beside their equations.

What works on the detections of one image, or on one curve, is written on plain lists in `formulas`:
`match`, `precision_recall`, `average_precision`. Here it is done for every class, size, threshold and limit.
"""

import json
import os

import numpy as np

from cvnotes import shapes
from cvnotes.detection_metrics import formulas


def average_precision(recall, precision, *, interpolation):
    """Average the precision of a detector over its recalls.

    p̂(r) = the largest precision of all points whose recall is r or more; 0 where there are none

    - "voc07": AP = mean of p̂(r) over r = 0, 0.1, …, 1
    - "voc10": AP = Σᵢ (rᵢ − rᵢ₋₁) · p̂(rᵢ), the area under p̂, with r₋₁ = 0
    - "coco": AP = mean of p̂(r) over r = 0, 0.01, …, 1

    - recall: (N,), for each detection by falling score the share of objects found so far; never falling
    - precision: (N,), the share of the detections so far that found one

    Returns a float, 0.0 for a curve without points. The tenths are exact; the hundredths are those of
    COCO's tool, see `formulas.recall_points`.

    Raises ValueError where the two are no floating-point arrays of one length, hold a number outside
    [0, 1] or NaN, the recall falls, or the interpolation has another name.

    Source: Everingham et al., The PASCAL visual object classes challenge (2010), for 11 points; the development
    kit of VOC 2010 for all points; pycocotools, `COCOeval.accumulate`, for 101.

    >>> recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.75])
    >>> average_precision(recall, precision, interpolation="voc10")         # 0.5 · 1 + 0.5 · 0.75
    0.875
    """
    formulas.curve(recall, precision, interpolation)
    recall, precision = recall.tolist(), precision.tolist()
    formulas.curve_values(recall, precision)
    return formulas.average_precision(recall, precision, interpolation)


def evaluate(
    ground_truth, detections, *, iou_thresholds, interpolation, areas, max_detections, inclusive=False,
    use_ignore=False, matching=None,
):
    """Score the detections of a set of images, for each class, at each threshold, size and limit.

    In each image and class, detections take objects by falling score (`formulas.match`). Over all
    images, again by falling score, each is a hit, a miss, or left out; from these come recall and
    precision (`formulas.precision_recall`) and their average.

    An object is left out, *ignored*, where it is a crowd, where its area is outside the range, and
    with `use_ignore` where it says so. A detection is left out where it takes such an object, or
    takes none and its own box has an area outside the range. Left out: neither hit nor miss.

    - ground_truth: a list with one dict an image: "boxes" (N, 4), x1, y1, x2, y2 in pixels; "labels" (N,),
      integers; and where wanted "iscrowd" (N,), "ignore" (N,), of bool or integers, and "area" (N,),
      in square pixels, in place of the box's own. Or COCO's JSON, an object or the path of a file.
    - detections: a list with one dict an image: "boxes", "labels", "scores" (N,). Or COCO's results, a
      list or the path of a file, where the ground truth is COCO's JSON.
    - iou_thresholds: a list of T numbers from 0 to 1. Over a crowd, the overlap is not the IoU but the
      share of the detection that lies in it.
    - interpolation: "voc07", "voc10" or "coco"
    - areas: a list of A pairs (least, most), both included, in square pixels
    - max_detections: a list of M integers, or None for all; for each image *and class* the best count
    - inclusive: the corners are pixels that belong to the box: a width is x2 − x1 + 1, as in VOC's tools
    - use_ignore: whether "ignore" counts. COCO's tool overwrites it by "iscrowd"; VOC's *difficult* is it.
    - matching: "voc" or "coco", see `formulas.match`; None: the rule that goes with the interpolation

    Returns a dict: "labels", the list of the K classes, sorted: those of COCO's categories, or all that occur;
    "average_precision" and "recall" (that of all detections), (T, K, A, M), −1 where no object counts;
    "objects", (K, A), how many count. Equal scores keep the order of images and boxes. Computed in float64.

    Raises ValueError where a field is missing or doesn't fit, x2 < x1 or y2 < y1, a number is NaN or infinite, an
    area negative, an id unknown, or an option out of its range; it names image and field. All may be empty.

    Source: pycocotools, `COCOeval`; Lin et al., Microsoft COCO (2014); the development kit of VOC 2007.

    >>> truth = [{"boxes": np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]), "labels": np.array([3, 3])}]
    >>> found = [{"boxes": np.array([[0.0, 0, 10, 9], [50, 0, 60, 10]]), "labels": np.array([3, 3]),
    ...           "scores": np.array([0.9, 0.8])}]
    >>> result = evaluate(truth, found, iou_thresholds=[0.5, 0.95], interpolation="voc10",
    ...                   areas=[(0, np.inf)], max_detections=[None])
    >>> result["labels"], result["average_precision"].ravel()           # the overlap is 0.9
    ([3], array([0.5, 0. ]))
    """
    thresholds, areas, limits, matching = formulas.settings(
        iou_thresholds, interpolation, areas, max_detections, inclusive, use_ignore, matching
    )
    images, labels = _read(ground_truth, detections, inclusive, use_ignore)
    shape = len(thresholds), len(labels), len(areas), len(limits)
    ap, recall, objects = np.full(shape, -1.0), np.full(shape, -1.0), np.zeros(shape[1:3], np.int64)
    for k, label in enumerate(labels):
        groups = [_of_class(image, label) for image in images]
        for a, area in enumerate(areas):
            ignored = [_ignored(group, area) for group in groups]
            objects[k, a] = sum(len(flags) - sum(flags) for flags in ignored)
            for t, threshold in enumerate(thresholds):
                outcomes = [_outcomes(group, flags, area, threshold, matching) for group, flags in zip(groups, ignored)]
                for m, limit in enumerate(limits):
                    if objects[k, a]:
                        curve = _curve(groups, outcomes, int(objects[k, a]), limit)
                        ap[t, k, a, m] = formulas.average_precision(*curve, interpolation)
                        recall[t, k, a, m] = max(curve[0], default=0.0)
    return {"labels": labels, "average_precision": ap, "recall": recall, "objects": objects}


def _of_class(image, label):
    """Return the objects and the detections of one class in one image, these by falling score, and their overlaps."""
    objects, found = ({field: x[part["labels"] == label] for field, x in part.items()} for part in image)
    order = np.argsort(-found["scores"], kind="stable")
    found = {field: x[order] for field, x in found.items()}
    things = list(zip(objects["boxes"].tolist(), objects["iscrowd"], objects["sides"].prod(1).tolist()))
    overlaps = [
        [formulas.overlap(box, thing, crowd, (own, other)) for thing, crowd, other in things]
        for box, own in zip(found["boxes"].tolist(), found["sides"].prod(1).tolist())
    ]
    return {"objects": objects, "found": found, "overlaps": overlaps}


def _ignored(group, area):
    """Return, for each object, whether it is left out."""
    least, most = area
    size = group["objects"]["area"]
    return (group["objects"]["ignore"] | (size < least) | (size > most)).tolist()


def _outcomes(group, ignored, area, threshold, matching):
    """Return, for each detection, True for a hit, False for a miss, None where it is left out."""
    least, most = area
    taken = formulas.match(group["overlaps"], ignored, group["objects"]["iscrowd"].tolist(), threshold, matching)
    size = group["found"]["sides"].prod(1).tolist()
    return [
        (None if ignored[j] else True) if j >= 0 else (False if least <= s <= most else None)
        for j, s in zip(taken, size)
    ]


def _curve(groups, outcomes, objects, limit):
    """Return recall and precision over all images, of at most `limit` detections in each."""
    scores = np.concatenate([group["found"]["scores"][:limit] for group in groups])
    hits = [outcome for own in outcomes for outcome in own[:limit]]
    hits = [hits[i] for i in np.argsort(-scores, kind="stable") if hits[i] is not None]
    return formulas.precision_recall(hits, objects)


def coco_summary(ground_truth, detections, *, use_ignore=False):
    """Return COCO's twelve figures of a set of detections.

    The average precision with 101 points, and the recall, each as a mean over all classes that have
    objects and over ten IoU thresholds, 0.5, 0.55, …, 0.95, unless a name says otherwise:

    - AP; AP50 and AP75 at one threshold; APs, APm, APl for areas up to 32², up to 96², above (square pixels)
    - AR1, AR10, AR100, with at most so many detections for each image and class; ARs, ARm, ARl

    All but AR1 and AR10 take at most 100 detections.

    - ground_truth, detections, use_ignore: as in `evaluate`

    Returns a dict of twelve floats, by these names and in this order; −1.0 where no object counts.

    Raises ValueError as `evaluate` does.

    Source: pycocotools, `COCOeval.summarize`, which prints the same twelve.

    >>> truth = [{"boxes": np.array([[0.0, 0, 10, 10]]), "labels": np.array([1])}]
    >>> found = [{"boxes": np.array([[0.0, 0, 10, 8]]), "labels": np.array([1]), "scores": np.array([0.9])}]
    >>> summary = coco_summary(truth, found)                # an IoU of 0.8 passes seven of ten thresholds
    >>> summary["AP"], summary["AP75"], summary["APl"]
    (0.7, 1.0, -1.0)
    """
    names, areas = list(formulas.AREAS), list(formulas.AREAS.values())
    result = evaluate(
        ground_truth, detections, iou_thresholds=formulas.IOU_THRESHOLDS, interpolation="coco", areas=areas,
        max_detections=formulas.MAX_DETECTIONS, use_ignore=use_ignore,
    )
    summary = {}
    for name, (figure, threshold, area, limit) in formulas.SUMMARY.items():
        values = result[figure][:, :, names.index(area), formulas.MAX_DETECTIONS.index(limit)]  # (T, K)
        if threshold is not None:
            values = values[formulas.IOU_THRESHOLDS.index(threshold)]
        summary[name] = formulas.mean_of_counted(values.ravel().tolist())
    return summary


# --- reading ---------------------------------------------------------------------------------


def _read(ground_truth, detections, inclusive, use_ignore):
    """Return a list with (objects, detections) of each image, dicts of arrays, and the list of classes."""
    if isinstance(ground_truth, (str, os.PathLike, dict)):
        truth, found, labels = formulas.from_coco(_loaded(ground_truth), _loaded(detections), inclusive)
    else:
        formulas.images("numpy", ground_truth, detections)
        formulas.image_values(ground_truth, detections)
        truth, found = ([_with_sides(image, inclusive) for image in images] for images in (ground_truth, detections))
        labels = sorted({int(label) for images in (truth, found) for image in images for label in image["labels"]})
    images = [(_arrays(objects), _arrays(own)) for objects, own in zip(truth, found)]
    for objects, _ in images:
        ignored = objects.get("ignore", False) if use_ignore else False
        objects["iscrowd"] = objects.get("iscrowd", np.zeros(len(objects["labels"]), bool))
        objects["ignore"] = objects["iscrowd"] | ignored
        objects.setdefault("area", objects["sides"].prod(1))
    return images, labels


def _loaded(value):
    """Return what a JSON file holds, or the value itself where it is no path."""
    if isinstance(value, (str, os.PathLike)):
        return formulas.read(value, json.loads)
    return value


def _with_sides(image, inclusive):
    """Return an image with the sides of its boxes; an inclusive box is one pixel wider and higher."""
    boxes = image["boxes"].astype(np.float64)
    boxes[:, 2:] += inclusive
    return {**image, "boxes": boxes, "sides": boxes[:, 2:] - boxes[:, :2]}


def _arrays(image):
    """Return the fields of an image as arrays of the dtypes that the rest works with."""
    dtypes = {"labels": np.int64, "iscrowd": bool, "ignore": bool}
    columns = {"boxes": (-1, 4), "sides": (-1, 2)}
    return {
        field: np.asarray(image[field], dtypes.get(field, np.float64)).reshape(columns.get(field, -1))
        for field in ("boxes", "sides", "labels", "scores", "iscrowd", "ignore", "area") if field in image
    }


shapes.only("numpy", globals())
