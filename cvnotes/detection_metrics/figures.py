"""The example sets, figures and tables of the chapter on metrics of detection."""

import numpy as np

from cvnotes.detection_metrics import formulas
from cvnotes.explorer import Picture, number
from cvnotes.notebooks import style

# --- example sets ----------------------------------------------------------------------------


def _image(boxes, labels, scores=None, **more):
    image = {"boxes": np.array(boxes, float).reshape(-1, 4), "labels": np.array(labels, np.int64)}
    if scores is not None:
        image["scores"] = np.array(scores, float)
    return {**image, **{field: np.array(values) for field, values in more.items()}}


def hand_example():
    """Return two images with five objects of one class, and seven detections."""
    truth = [
        _image([[8, 30, 38, 68], [45, 10, 65, 40], [70, 40, 95, 70]], [1] * 3),
        _image([[10, 12, 40, 40], [55, 35, 90, 68]], [1] * 2),
    ]
    found = [
        _image([[9, 31, 39, 66], [10, 3, 34, 20], [45, 28, 67, 58], [68, 42, 94, 72]], [1] * 4, [0.95, 0.8, 0.5, 0.4]),
        _image([[11, 11, 42, 39], [58, 34, 92, 66], [4, 8, 37, 37]], [1] * 3, [0.9, 0.7, 0.6]),
    ]
    return truth, found


def tiny_set():
    """Return two images with a large, a small and a medium object, for COCO's twelve figures by hand."""
    truth = [_image([[0, 0, 100, 100], [200, 0, 220, 20]], [1, 1]), _image([[0, 0, 50, 50]], [2])]
    found = [
        _image([[0, 0, 100, 90], [200, 0, 220, 20]], [1, 1], [0.9, 0.8]),
        _image([[100, 100, 120, 120], [0, 0, 50, 40], [150, 150, 180, 180]], [2, 2, 3], [0.9, 0.7, 0.6]),
    ]
    return truth, found


def crowd_example():
    """Return an image with an object, a crowd and an ignored object, and eight detections."""
    objects = [[5, 15, 33, 65], [55, 10, 141, 70], [158, 20, 186, 60]]
    truth = [_image(objects, [1] * 3, iscrowd=[0, 1, 0], ignore=[0, 0, 1])]
    boxes = [
        [7, 14, 34, 64], [58, 20, 77, 60], [80, 18, 99, 62], [102, 16, 121, 58], [124, 42, 143, 79],
        [159, 21, 187, 62], [156, 18, 183, 57], [35, 40, 54, 70],
    ]
    return truth, [_image(boxes, [1] * 8, [0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55])]


def scenes(images=120, classes=4, seed=0):
    """Return ground truth and detections of generated scenes, in whole pixels as VOC has them.

    Objects stand close together now and then, some are difficult ("ignore"); the detector misses some, finds some
    twice, places boxes with an error in proportion to their size, and sees things where nothing is.
    """
    rng = np.random.default_rng(seed)
    truth, found = [], []

    def inside(boxes):
        boxes = np.round(np.array(boxes).reshape(-1, 4)).clip(0, [319, 239, 319, 239])
        return np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 4)], 1)

    for _ in range(images):
        boxes, labels, difficult = [], [], []
        for _ in range(rng.integers(1, 5)):
            side = np.exp(rng.uniform(np.log(8), np.log(90), 2))
            side[1] = side[0] * np.exp(rng.normal(0, 0.3))
            corner = rng.random(2) * (np.array([320, 240]) - side).clip(1)
            label = int(rng.integers(1, classes + 1))
            for neighbour in range(1 + (rng.random() < 0.35)):
                corner = corner + neighbour * side * rng.uniform(0.2, 0.5, 2)
                boxes.append([*corner, *(corner + side)])
                labels.append(label)
                difficult.append(rng.random() < (0.4 if side.min() < 20 else 0.08))
        boxes = inside(boxes)
        truth.append(_image(boxes, labels, ignore=np.array(difficult, np.int64)))
        seen, kinds, scores = [], [], []
        for box, label, hard in zip(boxes, labels, difficult):
            side = box[2:] - box[:2]
            for copy in range(1 + (rng.random() < 0.25)):
                if rng.random() < (0.5 if hard else 0.88):
                    seen.append(box + rng.normal(0, rng.uniform(0.02, 0.17 + 0.06 * copy), 4) * np.tile(side, 2))
                    kinds.append(label if rng.random() < 0.93 else int(rng.integers(1, classes + 1)))
                    scores.append(rng.beta(4 - copy, 2))
        for _ in range(rng.poisson(1.5)):
            corner, side = rng.random(2) * [280, 200], np.exp(rng.uniform(np.log(8), np.log(80), 2))
            seen.append([*corner, *(corner + side)])
            kinds.append(int(rng.integers(1, classes + 1)))
            scores.append(rng.beta(2, 3.5))
        found.append(_image(inside(seen), kinds, np.round(scores, 3)))
    return truth, found


def real_sets(path, zoom=2.0):
    """Return what is to be found in 200 scenes, and what two trained detectors found there: (truth, {name: found}).

    What `benchmarks/detection_metrics_outputs.py` wrote down. Coordinates are multiplied by `zoom` and areas by its
    square: overlaps stay what they are, but COCO's limits of sizes lie at 16 and 48 pixels of these small scenes.
    """
    from safetensors.numpy import load_file

    stored, sets = load_file(path), {}
    images = range(int(stored["truth.image"].max()) + 1)
    for name in sorted({key.partition(".")[0] for key in stored}):
        rows = {key.partition(".")[2]: x for key, x in stored.items() if key.startswith(f"{name}.")}
        where = rows.pop("image")
        rows["labels"] = rows["labels"].astype(np.int64)
        for field, factor in (("boxes", zoom), ("area", zoom**2)):
            if field in rows:
                rows[field] = rows[field].astype(np.float64) * factor
        sets[name] = [{field: x[where == i] for field, x in rows.items()} for i in images]
    return sets.pop("truth"), sets


def of_class(images, label):
    """Return the images with the boxes of one class alone."""
    return [{field: x[image["labels"] == label] for field, x in image.items()} for image in images]


def to_tensors(images):
    """Return the images with tensors in place of arrays, for the fast version."""
    import torch

    return [{field: torch.from_numpy(x) for field, x in image.items()} for image in images]


# --- outcomes --------------------------------------------------------------------------------


def outcomes(truth, found, iou_threshold=0.5, matching="coco", use_ignore=True):
    """Return, for each image, a list with True for a hit, False for a miss, None where a detection is left out.

    For sets of one class; the detections of an image must stand by falling score.
    """
    out = []
    for objects, own in zip(truth, found):
        count = len(objects["boxes"])
        crowd = np.array(objects.get("iscrowd", np.zeros(count)), bool).tolist()
        hidden = np.array(objects.get("ignore", np.zeros(count)), bool).tolist() if use_ignore else [False] * count
        ignored = [a or b for a, b in zip(crowd, hidden)]
        overlaps = [
            [formulas.overlap(box, thing, many) for thing, many in zip(objects["boxes"].tolist(), crowd)]
            for box in own["boxes"].tolist()
        ]
        taken = formulas.match(overlaps, ignored, crowd, iou_threshold, matching)
        out.append([False if j < 0 else None if ignored[j] else True for j in taken])
    return out


def ranking(truth, found, iou_threshold=0.5):
    """Return the (score, hit or miss, image) of all detections of one class, by falling score."""
    rows = [
        (score, outcome, i) for i, (own, results) in enumerate(zip(found, outcomes(truth, found, iou_threshold)))
        for score, outcome in zip(own["scores"].tolist(), results)
    ]
    return sorted(rows, key=lambda row: -row[0])


def ranking_table(truth, found):
    """Return the detections by falling score with recall and precision after each, as Markdown."""
    from IPython.display import Markdown

    rows = ranking(truth, found)
    recall, precision = formulas.precision_recall([hit for _, hit, _ in rows], sum(len(own["boxes"]) for own in truth))
    lines = ["| score | | hits | recall | precision |", "|--:|:--|--:|--:|--:|"]
    for i, (score, hit, _) in enumerate(rows):
        count = sum(outcome for _, outcome, _ in rows[:i + 1])
        lines.append(
            f"| {number(score, 2)} | {'hit' if hit else 'miss'} | {count}\u00a0of\u00a0{i + 1} "
            f"| {number(recall[i], 2)} | {number(precision[i], 3)} |"
        )
    return Markdown("\n".join(lines))


ROLES = {True: "output", False: "negative", None: "ignore"}


def draw_hand_example(truth, found):
    """Return SVG text: the two images, objects filled, detections as frames with their scores."""
    picture, scale = Picture(400, 176, ""), 1.95
    for i, (objects, own, results) in enumerate(zip(truth, found, outcomes(truth, found))):
        left = i * 203
        picture.rect(left + 1, 1, 195, 148, "none", "faint")
        _draw_boxes(picture, objects, own, results, left, 1, scale, 20)
    _legend(picture, 169, [("input", "object"), ("output", "hit"), ("negative", "miss")])
    return picture.svg()


def draw_crowd(truth, found):
    """Return SVG text: an object, a crowd and an ignored object, and what becomes of eight detections."""
    picture = Picture(400, 184, "")
    (objects,), (own,) = truth, found
    _draw_boxes(picture, objects, own, outcomes(truth, found)[0], 3, -14, 2.1, -7)
    for j, words in ((1, "crowd"), (2, "ignored")):
        x1, _, x2, y2 = (objects["boxes"][j] * 2.1).tolist()
        picture.text(3 + (x1 + x2) / 2, y2 + 4, words, 15)
    _legend(picture, 176, [("input", "object"), ("output", "hit"), ("negative", "miss"), ("ignore", "left out")])
    return picture.svg()


def _draw_boxes(picture, objects, own, results, left, top, scale, below):
    flags = [objects.get(field, np.zeros(len(objects["boxes"]))).tolist() for field in ("iscrowd", "ignore")]
    for (x1, y1, x2, y2), crowd, ignored in zip((objects["boxes"] * scale).tolist(), *flags):
        role, dash = ("ignore" if crowd or ignored else "input"), ("7 4" if crowd else None)
        picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, role, role, 1, opacity=0.22, dash=dash)
    labels = []
    for (x1, y1, x2, y2), score, outcome in zip((own["boxes"] * scale).tolist(), own["scores"].tolist(), results):
        dash = None if outcome else "6 3" if outcome is False else "2 3"
        picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, "none", ROLES[outcome], 2.5, dash=dash)
        x, y = (x1 + x2) / 2, y1 + 17
        if any(abs(x - a) < 34 and abs(y - b) < 16 for a, b in labels):  # where one stands already
            y = y2 + below
        labels.append((x, y))
        picture.text(left + x, top + y, number(score, 2), 14, fill=ROLES[outcome], weight="600")


def _legend(picture, y, entries):
    x = 4
    for role, words in entries:
        picture.rect(x, y - 12, 16, 13, role if role == "input" else "none", role, 2, opacity=0.3)
        picture.text(x + 22, y, words, 15, "start")
        x += 38 + 8.2 * len(words)


# --- curves ----------------------------------------------------------------------------------


def plot_interpolations(recall, precision):
    """Plot a curve and what each of the three interpolations reads from it."""
    from matplotlib.figure import Figure

    highest = formulas.envelope(precision)
    with style(figure_figsize=(5.6, 5.4)):
        figure = Figure()
        panels = figure.subplots(3, 1, sharex=True)
        for axes, name in zip(panels, formulas.INTERPOLATIONS):
            axes.step([0, *recall, recall[-1]], [highest[0], *highest, 0], where="pre", color="#57606e", lw=1)
            axes.plot(recall, precision, "o-", color="#0072b2", ms=4, lw=1.2)
            if name == "voc10":
                axes.fill_between([0, *recall], [highest[0], *highest], step="pre", color="#00805f", alpha=0.3, lw=0)
            else:
                points = formulas.recall_points(name)
                values = [max([p for r, p in zip(recall, precision) if r >= point], default=0) for point in points]
                axes.vlines(points, 0, values, color="#00805f", lw=2 if name == "voc07" else 0.7)
                axes.plot(points, values, "o", color="#00805f", ms=6 if name == "voc07" else 2.5)
            ap = formulas.average_precision(recall, precision, name)
            words = {"voc07": "voc07: 11 points", "voc10": "voc10: the area", "coco": "coco: 101 points"}[name]
            axes.set_title(f"{words}, AP {number(ap, 3)}", loc="left")
            axes.set(ylim=(0, 1.06), xlim=(-0.015, 1.015), ylabel="precision", yticks=[0, 0.5, 1])
        panels[-1].set(xlabel="recall")
        return figure


def class_curve(truth, found, label, iou_threshold=0.5):
    """Return recall and precision of the detections of one class, at one IoU; what lies in a crowd is left out."""
    truth, found = of_class(truth, label), of_class(found, label)
    hits = [hit for _, hit, _ in ranking(truth, found, iou_threshold) if hit is not None]
    counted = sum(int((image["iscrowd"] == 0).sum()) for image in truth)
    return formulas.precision_recall(hits, counted)


DETECTORS = {"ssd": ("SSD", "#0072b2"), "retinanet": ("RetinaNet", "#d55e00")}


def plot_detectors(curves):
    """Plot {detector: (recall, precision)}, each with its envelope."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.6, 3.6)):
        figure = Figure()
        axes = figure.add_subplot()
        for name, (recall, precision) in curves.items():
            word, colour = DETECTORS[name]
            axes.plot(recall, precision, color=colour, lw=0.8, alpha=0.5)
            axes.step(
                [0, *recall, recall[-1]], [1, *formulas.envelope(precision), 0], where="pre", color=colour, label=word
            )
        axes.set(xlim=(0, 1.015), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        axes.set(xticks=[i / 5 for i in range(6)], yticks=[i / 5 for i in range(6)])
        axes.legend(loc="lower left")
        return figure


def steps():
    """Return the settings from VOC 2007 to COCO, one change at a time: a list of (words, options)."""
    everything = {"areas": [(0, float("inf"))], "max_detections": [None]}
    options = {
        "iou_thresholds": [0.5], "interpolation": "voc07", "inclusive": True, "use_ignore": True, "matching": "voc",
        **everything,
    }
    rows = [("VOC 2007", options)]
    for words, change in (
        ("all points: VOC 2010", {"interpolation": "voc10"}),
        ("continuous boxes", {"inclusive": False}),
        ("difficult objects count", {"use_ignore": False}),
        ("the next best object", {"matching": "coco"}),
        ("101 points: COCO's AP50", {"interpolation": "coco"}),
        ("ten thresholds: COCO's AP", {"iou_thresholds": list(formulas.IOU_THRESHOLDS)}),
    ):
        options = {**options, **change}
        rows.append((words, options))
    return rows


def mean_average_precision(result):
    """Return the mean over thresholds and classes of one size and limit, without the −1 of classes without objects."""
    values = result["average_precision"]
    return formulas.mean_of_counted(np.asarray(values).ravel().tolist())


def plot_steps(rows):
    """Plot (words, AP) as bars, one below the other."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.6, 3.2)):
        figure = Figure()
        axes = figure.add_subplot()
        places = range(len(rows))
        axes.barh(places, [ap for _, ap in rows], 0.62, color="#0072b2")
        for i, (_, ap) in enumerate(rows):
            axes.text(ap + 0.008, i, number(ap, 3), va="center")
        axes.set(yticks=places, ylim=(len(rows) - 0.5, -0.5), xlabel="mean average precision", xlim=(0, 0.9))
        axes.set_yticklabels([words for words, _ in rows])
        return figure


def plot_pixel(sides):
    """Plot the IoU of two squares of n pixels, one moved aside so that it is ½ in continuous coordinates."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 2.6)):
        figure = Figure()
        axes = figure.add_subplot()
        axes.axhline(0.5, color="#00805f", label="continuous")
        axes.plot(sides, [pixel_iou(side) for side in sides], color="#d55e00", label="with one pixel more")
        axes.set(xlabel="x₂ − x₁, in pixels", ylabel="IoU", ylim=(0.48, 0.6), xlim=(0, sides[-1]))
        axes.legend()
        return figure


def pixel_iou(side):
    """Return the IoU with one pixel more of two squares whose IoU without it is ½: moved aside by a third."""
    return formulas.overlap((0, 0, side + 1, side + 1), (side / 3, 0, side / 3 + side + 1, side + 1))


# --- tables ----------------------------------------------------------------------------------

SAID = {
    "AP": "the mean over all ten thresholds", "AP50": "at 0.5", "AP75": "at 0.75", "APs": "small objects, up to 32²",
    "APm": "medium objects, up to 96²", "APl": "large objects",
    "AR1": "recall, the best detection of an image and class",
    "AR10": "recall, the best ten", "AR100": "recall, the best hundred", "ARs": "recall, small objects",
    "ARm": "recall, medium objects", "ARl": "recall, large objects",
}


def summary_table(summary):
    """Return COCO's twelve figures as Markdown."""
    from IPython.display import Markdown

    lines = ["| name | | value |", "|:--|:--|--:|"]
    lines += [f"| {name} | {SAID[name]} | {number(value, 4)} |" for name, value in summary.items()]
    return Markdown("\n".join(lines))


def summaries_table(summaries):
    """Return COCO's twelve figures of several detectors as Markdown, a column for each."""
    from IPython.display import Markdown

    lines = ["| |" + "".join(f" {DETECTORS[name][0]} |" for name in summaries), "|:--|" + "--:|" * len(summaries)]
    for name in formulas.SUMMARY:
        lines.append(f"| {name} |" + "".join(f" {number(summary[name], 3)} |" for summary in summaries.values()))
    return Markdown("\n".join(lines))


def speed_table(speed):
    """Return what `benchmarks/detection_metrics.py` measured, as Markdown."""
    from IPython.display import Markdown

    lines = [
        "| images; objects; detections | pycocotools | `fast.coco_summary` | | peak memory |", "|:--|--:|--:|--:|--:|",
    ]
    for name, case in speed["default"]["results"]["cases"].items():
        theirs, ours = case["times"]["pycocotools"], case["times"]["fast"]
        lines.append(
            f"| {name} | {number(1000 * theirs['seconds'])}\u00a0ms | {number(1000 * ours['seconds'], 1)}\u00a0ms "
            f"| {number(theirs['ratio']['fast'])} times as fast | {number(case['memory'] / 1e6, 1)}\u00a0MB |"
        )
    hardware = speed["default"]["hardware"]
    lines += ["", f"{hardware['processor']}, {hardware['threads']} threads, NumPy {hardware['numpy']}."]
    return Markdown("\n".join(lines))


