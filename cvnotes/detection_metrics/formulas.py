"""The equations of the chapter on plain numbers and lists, and the arguments that its functions accept."""

from cvnotes import shapes
from cvnotes.boxes import formulas as boxes

INTERPOLATIONS = ("voc07", "voc10", "coco")
MATCHINGS = ("coco", "voc")

# --- what COCO measures --------------------------------------------------------------------

# The numbers of COCO's own tool, to the last bit: a tenth of them is not what is written in papers.
# The IoU of 0.9 is a hair less, and ten of the 101 recalls are a hair more than hundredths.
IOU_THRESHOLDS = tuple(0.5 + i * ((0.95 - 0.5) / 9) for i in range(9)) + (0.95,)
MAX_DETECTIONS = (1, 10, 100)
AREAS = {  # in square pixels; both ends belong to a range
    "all": (0, 100_000**2), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 100_000**2),
}
# Each figure: of the average precision or the recall, at which IoU (None: the mean of all ten), for
# which sizes, with at most how many detections.
SUMMARY = {
    "AP": ("average_precision", None, "all", 100),
    "AP50": ("average_precision", 0.5, "all", 100),
    "AP75": ("average_precision", 0.75, "all", 100),
    "APs": ("average_precision", None, "small", 100),
    "APm": ("average_precision", None, "medium", 100),
    "APl": ("average_precision", None, "large", 100),
    "AR1": ("recall", None, "all", 1),
    "AR10": ("recall", None, "all", 10),
    "AR100": ("recall", None, "all", 100),
    "ARs": ("recall", None, "small", 100),
    "ARm": ("recall", None, "medium", 100),
    "ARl": ("recall", None, "large", 100),
}


# --- from matches to average precision -----------------------------------------------------


def overlap(box, thing, crowd=False, areas=None):
    """Return the IoU of a detection's box and an object's; for a crowd, the share of the box that lies in it.

    `areas` are those of both, where they are known better than from the corners.

    >>> overlap((0.0, 0.0, 4.0, 4.0), (2.0, 0.0, 10.0, 4.0)), overlap((0.0, 0.0, 4.0, 4.0), (2.0, 0.0, 10.0, 4.0), True)
    (0.2, 0.5)
    """
    own, other = areas or (boxes.area(box), boxes.area(thing))
    shared = boxes.intersection(box, thing)
    whole = own if crowd else own + other - shared
    return shared / whole if whole else 0.0


def match(overlaps, ignored, crowd, iou_threshold, matching):
    """Return, for each detection of an image by falling score, the index of the object it takes, or −1.

    An overlap counts from the threshold on; one within 1e-10 of 1 counts as 1. Two rules:

    - "coco": of the objects that are left, the detection takes the one that it overlaps most (of
      equals the last), and one that is ignored only where no other is left. A crowd is never used up.
    - "voc": the detection has one object, which it overlaps most (of equals the first), whether
      that is left or not. If an earlier one has taken it, the detection takes nothing. An ignored
      object is never used up.

    `overlaps` is a list with one list for each detection, its overlap with each object.

    >>> match([[0.8, 0.6], [0.7, 0.6]], [False, False], [False, False], 0.5, "coco")
    [0, 1]
    >>> match([[0.8, 0.6], [0.7, 0.6]], [False, False], [False, False], 0.5, "voc")
    [0, -1]
    """
    least = min(iou_threshold, 1 - 1e-10)
    taken, found = set(), []
    for row in overlaps:
        near = [j for j in range(len(row)) if row[j] >= least]
        if matching == "coco":
            left = [j for j in near if crowd[j] or j not in taken]
            best = max(left, key=lambda j: (not ignored[j], row[j], j), default=-1)
        else:
            best = max(near, key=lambda j: (row[j], -j), default=-1)
            if best in taken and not ignored[best]:
                best = -1
        if best >= 0:
            taken.add(best)
        found.append(best)
    return found


def precision_recall(hits, objects):
    """Return the lists of recalls and precisions after each detection, by falling score.

    recall = hits so far / objects;  precision = hits so far / detections so far

    - hits: for each detection whether it found an object; those that are left out are not in it
    - objects: how many there are to be found, at least one

    >>> precision_recall([True, False, True], 4)
    ([0.25, 0.25, 0.5], [1.0, 0.5, 0.6666666666666666])
    """
    objects = shapes.integer("objects", objects, 1)
    recall, precision, found = [], [], 0
    for i in range(len(hits)):
        found += 1 if hits[i] else 0
        recall.append(found / objects)
        precision.append(found / (i + 1))
    return recall, precision


def envelope(precision):
    """Return, for each place of the list, the largest precision there or later.

    >>> envelope([1.0, 0.5, 0.6, 0.2])
    [1.0, 0.6, 0.6, 0.2]
    """
    best, highest = 0.0, []
    for p in reversed(precision):
        best = max(best, p)
        highest.append(best)
    return highest[::-1]


def recall_points(interpolation):
    """Return the recalls at which "voc07" and "coco" read the envelope: eleven tenths, 101 hundredths.

    The hundredths are those of COCO's tool, i · 0.01 in floating point. Ten of them are a hair more
    than i / 100, so that a recall of exactly 35 of 100 doesn't reach the point 0.35. The tenths are exact.

    >>> [i for i in range(101) if recall_points("coco")[i] != i / 100]
    [35, 41, 47, 57, 69, 70, 82, 83, 94, 95]
    """
    if interpolation == "voc07":
        return [i / 10 for i in range(11)]
    return [i * 0.01 for i in range(101)]


def average_precision(recall, precision, interpolation):
    """Return the average precision of a curve of two lists, as `reference.average_precision`.

    >>> average_precision([0.5, 0.5, 1.0], [1.0, 0.5, 0.6], "voc10")
    0.8
    """
    highest = envelope(precision)
    if interpolation == "voc10":
        before = [0.0] + list(recall[:-1])
        return sum([(r - b) * p for r, b, p in zip(recall, before, highest)], 0.0)
    total, i, points = 0.0, 0, recall_points(interpolation)
    for point in points:
        while i < len(recall) and recall[i] < point:
            i += 1
        total += highest[i] if i < len(recall) else 0.0
    return total / len(points)


def mean_of_counted(values):
    """Return the mean of the values that are not −1, or −1 where there are none.

    >>> mean_of_counted([0.5, -1.0, 1.0]), mean_of_counted([-1.0])
    (0.75, -1.0)
    """
    counted = [value for value in values if value != -1]
    return sum(counted) / len(counted) if counted else -1.0


# --- arguments -----------------------------------------------------------------------------


def curve(recall, precision, interpolation):
    """Check the shapes of a curve: two floating-point arrays of one length, which may be 0."""
    boxes.one_of("interpolation", interpolation, INTERPOLATIONS)
    (count,) = shapes.array("recall", recall, "N")
    if shapes.array("precision", precision, "N") != (count,):
        raise ValueError(f"`precision` has the shape {tuple(precision.shape)}; ({count},) is needed, as `recall` has")
    shapes.same_kind(recall=recall, precision=precision)


def curve_values(recall, precision):
    """Check the values of a curve, given as lists."""
    for name, values in (("recall", recall), ("precision", precision)):
        for i, value in enumerate(values):
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}[{i}]` (={value}) must be from 0 to 1")
    for i in range(1, len(recall)):
        if recall[i] < recall[i - 1]:
            raise ValueError(f"`recall[{i}]` (={recall[i]}) must not be below the {recall[i - 1]} before it")


def settings(iou_thresholds, interpolation, areas, max_detections, inclusive, use_ignore, matching):
    """Check the options of an evaluation; return thresholds, areas, limits and the rule of matching."""
    boxes.one_of("interpolation", interpolation, INTERPOLATIONS)
    for name, value in (("inclusive", inclusive), ("use_ignore", use_ignore)):
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` (={value!r}) must be True or False")
    if matching is None:
        matching = "coco" if interpolation == "coco" else "voc"
    boxes.one_of("matching", matching, MATCHINGS)
    thresholds = [
        boxes.threshold(f"iou_thresholds[{i}]", value)
        for i, value in enumerate(_items("iou_thresholds", iou_thresholds))
    ]
    ranges = [_range(f"areas[{i}]", area) for i, area in enumerate(_items("areas", areas))]
    limits = [
        shapes.LARGEST if limit is None else shapes.integer(f"max_detections[{i}]", limit, 1)
        for i, limit in enumerate(_items("max_detections", max_detections))
    ]
    return thresholds, ranges, limits, matching


def _items(name, value):
    """Return a list, tuple or array of one axis as a list with at least one item."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"`{name}` (={value!r}) must be a list of at least one")
    return value


def _range(name, value):
    """Return a pair of numbers, the first not negative and not above the second, which may be infinite."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        if all(hasattr(end, "__float__") and not isinstance(end, bool) for end in value):
            least, most = float(value[0]), float(value[1])
            if 0 <= least <= most:
                return least, most
    raise ValueError(f"`{name}` (={value!r}) must be a pair (least, most) of areas in square pixels")


# --- one dict an image ---------------------------------------------------------------------

FIELDS = {
    "ground_truth": (("boxes", "labels"), ("iscrowd", "ignore", "area")),
    "detections": (("boxes", "labels", "scores"), ()),
}


def images(kind, ground_truth, detections):
    """Check two lists with one dict an image, of arrays of a `kind` of library: all but what numbers they hold."""
    for name, value in (("ground_truth", ground_truth), ("detections", detections)):
        if not isinstance(value, (list, tuple)):
            kind = type(value).__name__
            raise ValueError(f"`{name}` (a {kind}) must be a list with one dict an image, or COCO's JSON")
        needed, optional = FIELDS[name]
        for i, image in enumerate(value):
            _image(kind, f"{name}[{i}]", image, needed, optional)
    if len(detections) != len(ground_truth):
        raise ValueError(f"`detections` has {len(detections)} images; `ground_truth` has {len(ground_truth)}")


def _image(kind, name, image, needed, optional):
    if not isinstance(image, dict):
        raise ValueError(f"`{name}` (a {type(image).__name__}) must be a dict of arrays")
    for field in needed:
        if field not in image:
            raise ValueError(f"`{name}` has no {field!r}")
    count = None
    for field in needed + optional:
        if field not in image:
            continue
        x, words = image[field], f"{name}[{field!r}]"
        found = shapes.library(words, x)
        if found != kind:
            raise ValueError(f"`{words}` (an array of {found}) must be an array of {kind}")
        dtype, shape = shapes.dtype_name(x), tuple(x.shape)
        if field in ("boxes", "scores", "area"):
            if dtype not in shapes.FLOATS:
                raise ValueError(f"`{words}` ({dtype}) must be of a floating-point dtype: {', '.join(shapes.FLOATS)}")
        elif "int" not in dtype and (field == "labels" or dtype != "bool"):
            more = "" if field == "labels" else " or bool"
            raise ValueError(f"`{words}` ({dtype}) must be of an integer dtype{more}")
        if count is None:
            if len(shape) != 2 or shape[1] != 4:
                raise ValueError(f"`{words}` has the shape {shape}; (N, 4) is needed")
            count = shape[0]
        elif shape != (count,):
            raise ValueError(f"`{words}` has the shape {shape}; ({count},) is needed, one for each box")


def image_values(ground_truth, detections):
    """Check the numbers in two lists with one dict an image, whose shapes fit."""
    for name, value in (("ground_truth", ground_truth), ("detections", detections)):
        for i, image in enumerate(value):
            count = boxes.box_set(f"{name}[{i}]['boxes']", image["boxes"])
            for field, minimum in (("scores", None), ("area", 0)):
                if field in FIELDS[name][0] + FIELDS[name][1] and field in image:
                    boxes.scores(f"{name}[{i}][{field!r}]", image[field], count, minimum)


# --- COCO's JSON ---------------------------------------------------------------------------

FARTHEST = boxes.FARTHEST["float64"]  # areas stay finite


def from_coco(ground_truth, detections, inclusive):
    """Return `(ground_truth, detections, categories)` of COCO's JSON objects: two lists with one dict an image.

    Images are in the order of their ids, boxes in the order of the file. The dicts hold plain lists,
    and beside the corners of boxes their "sides", width and height as the file has them: x + w − x is
    not always w. `categories` is the sorted list of ids. With `inclusive`, a box is one pixel wider and higher.

    Raises `ValueError` where a key is missing, an id is unknown, or a box or a score is none.
    """
    if not isinstance(ground_truth, dict):
        raise ValueError(f"`ground_truth` (a {type(ground_truth).__name__}) must be COCO's JSON, an object with images")
    for key in ("images", "annotations", "categories"):
        _listed("ground_truth", ground_truth, key)
    places = {}
    for i, image in enumerate(ground_truth["images"]):
        places[_id(f"ground_truth['images'][{i}]", image, "id", None)] = None
    for place, image in enumerate(sorted(places)):
        places[image] = place
    categories = {
        _id(f"ground_truth['categories'][{i}]", category, "id", None)
        for i, category in enumerate(ground_truth["categories"])
    }
    objects = [{"boxes": [], "sides": [], "labels": [], "iscrowd": [], "ignore": [], "area": []} for _ in places]
    for i, entry in enumerate(ground_truth["annotations"]):
        name = f"ground_truth['annotations'][{i}]"
        image, (width, height) = _entry(name, entry, places, categories, objects, inclusive)
        for key in ("iscrowd", "ignore"):
            image[key].append(_flag(name, key, entry.get(key, 0)))
        image["area"].append(_finite(name, "area", entry["area"], 0) if "area" in entry else width * height)
    if not isinstance(detections, (list, tuple)):
        raise ValueError(f"`detections` (a {type(detections).__name__}) must be COCO's JSON, a list of results")
    found = [{"boxes": [], "sides": [], "labels": [], "scores": []} for _ in places]
    for i, entry in enumerate(detections):
        name = f"detections[{i}]"
        image, _ = _entry(name, entry, places, categories, found, inclusive)
        image["scores"].append(_finite(name, "score", _value(name, entry, "score")))
    return objects, found, sorted(categories)


def _flag(name, key, value):
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise ValueError(f"`{name}[{key!r}]` (={value!r}) must be 0 or 1")
    return bool(value)


def read(path, opened):
    """Return what a file of JSON holds, or say which file holds none; `opened` is the function that parses text."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return opened(file.read())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def _listed(name, value, key):
    if not isinstance(_value(name, value, key), (list, tuple)):
        raise ValueError(f"`{name}[{key!r}]` (a {type(value[key]).__name__}) must be a list")


def _value(name, entry, key):
    if not isinstance(entry, dict):
        raise ValueError(f"`{name}` (a {type(entry).__name__}) must be an object with keys")
    if key not in entry:
        raise ValueError(f"`{name}` has no {key!r}")
    return entry[key]


def _id(name, entry, key, known):
    """Return an id, and check that it is one of those that are `known` (None: any)."""
    value = shapes.integer(f"{name}[{key!r}]", _value(name, entry, key), None, None)
    if known is not None and value not in known:
        raise ValueError(f"`{name}[{key!r}]` (={value}) is not among the ids of `ground_truth`")
    return value


def _finite(name, key, value, least=None):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= FARTHEST:
        raise ValueError(f"`{name}[{key!r}]` (={value!r}) must be a number from {-FARTHEST} to {FARTHEST}")
    if least is not None and value < least:
        raise ValueError(f"`{name}[{key!r}]` (={value!r}) must be at least {least}")
    return float(value)


def _entry(name, entry, places, categories, images, inclusive):
    """Add the box and the label of an entry to its image; return the image and the box's sides."""
    image = images[places[_id(name, entry, "image_id", places)]]
    label = _id(name, entry, "category_id", categories)
    box = _value(name, entry, "bbox")
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        raise ValueError(f"`{name}['bbox']` (={box!r}) must be [x, y, width, height]")
    x, y, width, height = (_finite(name, "bbox", value) for value in box)
    if width < 0 or height < 0:
        raise ValueError(f"`{name}['bbox']` (={box!r}) must not have a negative width or height")
    width, height = width + inclusive, height + inclusive
    image["boxes"].append([x, y, x + width, y + height])
    image["sides"].append([width, height])
    image["labels"].append(label)
    return image, (width, height)
