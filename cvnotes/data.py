"""Scenes to train a detector on: generated, without end, or read from a folder in COCO's format.

A scene is a textured ground with shapes on it, of many sizes, turned and stretched, one over another; what
there is to find is known exactly. `scene(seed, index)` always gives the same bytes, on every machine:

    >>> example = scene(0, 7)
    >>> example.image.shape, len(example.boxes) == len(example.labels) == len(example.masks)
    ((128, 128, 3), True)

`Scenes` is a set of them, `CocoFolder` a reader's own images with the same interface: `data.classes`
names the classes, `data[i]` is an `Example`. Scenes can be written to a folder, for other tools to read:

    python -m cvnotes.data FOLDER --count 200        # writes scenes, in COCO's format
    python -m cvnotes.data FOLDER                    # checks a folder, and says what it holds
"""

import base64
import hashlib
import json
import math
import os
import struct
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cvnotes import shapes

CLASSES = ("circle", "ring", "square", "triangle", "star", "cross")


class Example(NamedTuple):
    """An image and what is to be found in it.

    - image: (H, W, 3), integers from 0 to 255
    - boxes: (N, 4), x1, y1, x2, y2 in pixels
    - labels: (N,), the index of each object's class
    - iscrowd: (N,), true where one box stands for a whole crowd that nobody counted
    - area: (N,), pixels of each object
    - masks: (N, H, W), true where an object is seen; None where only boxes are known
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    area: np.ndarray
    masks: np.ndarray | None = None


# --- generated scenes --------------------------------------------------------------------
#
# The same bytes everywhere: only integers, and of floats only what IEEE 754 rounds exactly (+, ×, √), one
# operation at a time. Lengths are counted in sixteenths of a pixel, sines in 16,384ths. Random words
# come straight from PCG64, whose stream NumPy promises to keep.

UNIT = 16  # parts of a pixel
TURNS = 256  # rotations that a shape may have
SINES = [math.floor(16384 * math.sin(2 * math.pi * turn / TURNS) + 0.5) for turn in range(TURNS)]
FEWEST_PIXELS = 12  # that an object shows
TRIES = 20  # places at which an object is tried; if none will do, it is left out


def scene(
    seed, index, *, size=128, objects=(1, 8), sizes=(8, 96), turn=30, overlap=0.4, contrast=80, texture=32, noise=12,
    crowds=0.1,
):
    """Return the scene `index` of an endless row of scenes, as an `Example`.

    - seed, index: integers, at least 0, seeds below 2³²; two different pairs give two different scenes
    - size: pixels of a side
    - objects: the fewest and the most objects that are tried to be placed; a full scene holds fewer
    - sizes: the least and the greatest width of a shape in pixels, before it is stretched; as many objects
      from 8 to 16 pixels as from 16 to 32
    - turn: the most by which a shape is turned, in degrees to either side
    - overlap: the largest share of an object that others may hide
    - contrast: how much lighter than the ground a shape is, in levels of 255: on average, and in each colour by
      half of it at least
    - texture: how much the ground varies, in levels
    - noise: the most by which any pixel is changed, in levels
    - crowds: the share of scenes with a crowd, which is a heap of small shapes of a class with one box around

    What lies hidden or outside the image does not count: mask, area and box (the smallest around the mask)
    are of what is seen of an object. At least 1 − `overlap` of what lies within the image is.
    """
    difficulty = dict(
        size=size, objects=objects, sizes=sizes, turn=turn, overlap=overlap, contrast=contrast, texture=texture,
        noise=noise, crowds=crowds,
    )
    _check_difficulty(**difficulty)
    draw = _Draw(shapes.integer("seed", seed, 0, LAST_SEED), shapes.integer("index", index, 0, 2**63 - 1))
    base = [draw.between(40, 112) for _ in range(3)]
    canvas = _Canvas(_ground(draw, base, size, texture), overlap)
    labels, iscrowd = [], []

    def place(label, number, sizes, around=None):
        """Try to put an object with this number on the canvas; return whether it found a place."""
        for _ in range(TRIES):
            shape = _Shape(draw, label, sizes, turn, size, around)
            colour = [level + draw.between(contrast // 2, contrast * 3 // 2) for level in base]
            if canvas.paint(shape, colour, number):
                return True
        return False

    if draw.chance(crowds):
        label, around = draw.below(len(CLASSES)), [draw.between(size * UNIT // 4, size * UNIT * 3 // 4) for _ in "xy"]
        small = (sizes[0], min(sizes[1], sizes[0] * 3 // 2))
        if any([place(label, 0, small, around) for _ in range(draw.between(10, 20))]):
            labels, iscrowd = [label], [True]
    for _ in range(draw.between(*objects)):
        label = draw.below(len(CLASSES))
        if place(label, len(labels), sizes):
            labels.append(label)
            iscrowd.append(False)
    image = canvas.image + draw.levels(canvas.image.shape, noise)
    image = np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0)  # (size, size, 3)
    return _example(np.ascontiguousarray(image), canvas.owner, labels, iscrowd)


def _example(image, owner, labels, iscrowd):
    """Return the example in which the object i is seen where `owner` is i."""
    masks = owner == np.arange(len(labels), dtype=owner.dtype)[:, None, None]  # (N, H, W)
    rows, columns = masks.any(2), masks.any(1)  # (N, H), (N, W)
    boxes = [columns.argmax(1), rows.argmax(1)] if len(labels) else [np.zeros(0)] * 2
    boxes += [side.shape[1] - side[:, ::-1].argmax(1) for side in (columns, rows)] if len(labels) else boxes
    return Example(
        image, np.stack(boxes, 1).astype(float), np.array(labels, np.int64), np.array(iscrowd, bool),
        masks.sum((1, 2)).astype(float), masks,
    )


class _Draw:
    """Random integers of a scene."""

    def __init__(self, seed, index):
        self.bits = np.random.PCG64(np.random.SeedSequence((seed, index)))

    def below(self, n):
        return int(self.bits.random_raw()) * n >> 64

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def chance(self, share):
        return self.below(1 << 53) < share * (1 << 53)

    def levels(self, shape, most):
        """Return an array of integers from −`most` to `most` − 1; `most` is below 256."""
        count = math.prod(shape)
        words = self.bits.random_raw(-(-count // 8)).astype("<u8")  # eight bytes each
        return words.view(np.int8)[:count].reshape(shape) * np.int16(most) >> 7


def _ground(draw, base, size, texture):
    """Return a ground (3, size, size) that varies smoothly around `base`.

    Random levels at the nodes of a coarse lattice and of a fine one, linear between them. The products of
    matrices are exact, in whatever order they are summed: all that they hold are integers below 2²⁴.
    """
    ground = np.zeros((3, size, size), np.float32)
    for cell, amplitude in ((32, texture * 2 // 3), (8, texture // 3)):
        weights = _between_nodes(size, cell)  # (size, n)
        nodes = draw.levels((3,) + weights.shape[1:] * 2, amplitude).astype(np.float32)  # (3, n, n)
        ground += weights @ nodes @ weights.T
    return (ground.astype(np.int32) >> 10).astype(np.int16) + np.array(base, np.int16)[:, None, None]


@cache
def _between_nodes(size, cell):
    """Return in 32nds how much each node of a lattice counts for each pixel, (size, nodes)."""
    pixel = np.arange(size)
    weights = np.zeros((size, -(-size // cell) + 1), np.float32)
    weights[pixel, pixel // cell] = 32 - pixel % cell * (32 // cell)
    weights[pixel, pixel // cell + 1] = pixel % cell * (32 // cell)
    return weights


class _Shape:
    """A shape of a random size, place, rotation and stretch; all lengths in sixteenths of a pixel."""

    def __init__(self, draw, label, sizes, turn, side, around=None):
        low, high = (size * UNIT // 2 for size in sizes)
        self.label, self.radius = label, draw.between(low, high)
        while draw.below(self.radius) >= low:  # so each doubling of the size is as frequent as another
            self.radius = draw.between(low, high)
        edge, reach = self.radius // 2, side * UNIT // 6
        ends = [(edge, side * UNIT - edge)] * 2 if around is None else [(m - reach, m + reach) for m in around]
        self.x, self.y = (draw.between(*pair) for pair in ends)
        most = turn * TURNS // 360
        self.turn = draw.between(-most, most) % TURNS
        self.stretch = draw.between(52, 79)  # in 64ths: one side is up to one and a half times the other

    def window(self, size):
        """Return (x1, y1, x2, y2): the pixels of the image among which the shape lies."""
        reach = self.radius * 3 // 2 + UNIT
        low, high = ((m - reach) // UNIT for m in (self.x, self.y)), ((m + reach) // UNIT for m in (self.x, self.y))
        return [max(0, value) for value in low] + [min(size, value) for value in high]

    def depth(self, window):
        """Return how far within the shape the middle of each pixel is: negative outside."""
        x1, y1, x2, y2 = window
        x = np.arange(x1, x2, dtype=np.int64) * UNIT + (UNIT // 2 - self.x)
        y = (np.arange(y1, y2, dtype=np.int64) * UNIT + (UNIT // 2 - self.y))[:, None]
        sine, cosine = SINES[self.turn], SINES[(self.turn + TURNS // 4) % TURNS]
        u = ((cosine * x + sine * y) * self.stretch) >> 20
        v = ((cosine * y - sine * x) * 64 // self.stretch) >> 14
        return DEPTHS[CLASSES[self.label]](u, v, self.radius)


def _circle(u, v, r):
    return r - np.sqrt(u * u + v * v).astype(np.int64)


def _ring(u, v, r):
    depth = _circle(u, v, r)
    return np.minimum(depth, r * 5 // 9 - depth)


def _square(u, v, r):
    return r * 7 // 8 - np.maximum(abs(u), abs(v))


def _cross(u, v, r):
    u, v = abs(u), abs(v)
    return np.minimum(r - np.maximum(u, v), r * 3 // 8 - np.minimum(u, v))


def _triangle(u, v, r):
    return np.minimum.reduce(_half_planes(u, v, 3, r * 5 // 8))


def _star(u, v, r):
    # Five lines make it. The middle lies within all five, a ray within four.
    return np.sort(_half_planes(u, v, 5, r * 3 // 8), 0)[1]


def _half_planes(u, v, n, distance):
    """Return the depth within each of n half-planes that look at the middle from a `distance`."""
    turns = [(2 * k + 1) * TURNS // (2 * n) for k in range(n)]
    return [distance - ((u * SINES[turn] - v * SINES[(turn + TURNS // 4) % TURNS]) >> 14) for turn in turns]


DEPTHS = {
    "circle": _circle, "ring": _ring, "square": _square, "triangle": _triangle, "star": _star, "cross": _cross,
}


class _Canvas:
    """The image as far as it is painted, and whose pixel is whose."""

    def __init__(self, image, overlap):
        self.image, self.overlap = image, overlap
        self.owner = np.full(image.shape[1:], -1, np.int16)
        self.whole = {}  # pixels that each object had when it was painted

    def paint(self, shape, colour, number):
        """Paint a shape over what is there, unless it would hide too much; return whether it did.

        `number` is the object's. One that is there already is a crowd: it grows, and may hide itself.
        """
        x1, y1, x2, y2 = window = shape.window(len(self.owner))
        if x1 >= x2 or y1 >= y2:
            return False
        depth = shape.depth(window)  # (h, w)
        mask, owner = depth >= 0, self.owner[y1:y2, x1:x2]
        if mask.sum() < FEWEST_PIXELS:
            return False
        for other in set(owner[mask].tolist()) - {-1, number}:
            left = (self.owner == other).sum() - (owner[mask] == other).sum()
            if left < max(FEWEST_PIXELS, (1 - self.overlap) * self.whole[other]):
                return False
        cover = np.clip(depth + UNIT // 2, 0, UNIT).astype(np.int16)  # an edge is soft, a pixel wide
        image = self.image[:, y1:y2, x1:x2]  # (3, h, w)
        image += (np.array(colour, np.int16)[:, None, None] - image) * cover >> 4
        owner[mask] = number
        self.whole[number] = int((self.owner == number).sum())
        return True


LAST_SEED = 2**32 - 1  # one word; a longer one would run into the index
DIFFICULTY = {  # of a scene: what each parameter may be
    "size": (32, 1024), "objects": (0, 100), "sizes": (4, 512), "turn": (0, 180), "overlap": (0, 0.9),
    "contrast": (1, 120), "texture": (0, 120), "noise": (0, 120), "crowds": (0, 1),
}


def _check_difficulty(**difficulty):
    """Raise `ValueError` where a parameter makes no scene."""
    for name, value in difficulty.items():
        low, high = DIFFICULTY[name]
        if name in ("objects", "sizes"):
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise ValueError(f"`{name}` (={value!r}) must be two integers, the least and the greatest")
            for one in value:
                shapes.integer(name, one, low, high)
            if value[0] > value[1]:
                raise ValueError(f"`{name}` (={tuple(value)}) must give the least first")
        elif name in ("overlap", "crowds"):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"`{name}` (={value!r}) must be a number from {low} to {high}")
        else:
            shapes.integer(name, value, low, high)
    sizes, size = difficulty["sizes"], difficulty["size"]
    if sizes[1] > size:
        raise ValueError(f"`sizes` (={tuple(sizes)}) must not exceed the image's {size} pixels")


def bitmap(image):
    """Return an image (H, W, 3) of bytes as a `data:` URI: a bitmap of 5 bits for each colour, rows from the top."""
    height, width, _ = image.shape
    red, green, blue = image.astype("<u2").transpose(2, 0, 1) >> 3
    rows = np.zeros((height, width + width % 2), "<u2")  # a row takes a multiple of four bytes
    rows[:, :width] = red << 10 | green << 5 | blue
    header = struct.pack("<2sIHHI", b"BM", 54 + rows.nbytes, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 16, 0, rows.nbytes, 0, 0, 0, 0)
    return "data:image/bmp;base64," + base64.b64encode(header + rows.tobytes()).decode()


# --- sets of scenes ----------------------------------------------------------------------


class Scenes:
    """The scenes of a seed: `Scenes(0)[7]` is `scene(0, 7)`. They never end, unless `count` says how many there are.

    The first is the scene `first`. All other parameters are those of `scene`.
    """

    classes = CLASSES

    def __init__(self, seed=0, *, first=0, count=None, **difficulty):
        self.seed = shapes.integer("seed", seed, 0, LAST_SEED)
        self.first = shapes.integer("first", first, 0, 2**62)
        self.count = None if count is None else shapes.integer("count", count, 1)
        for name in difficulty:
            if name not in DIFFICULTY:
                raise ValueError(f"`{name}` is no parameter of a scene, which has {', '.join(DIFFICULTY)}")
        self.difficulty = difficulty
        self[0]  # raises where a parameter makes no scene

    def __getitem__(self, i):
        _check_index(i, self.count)
        return scene(self.seed, self.first + i, **self.difficulty)

    @property
    def identity(self):
        """A text that is the same for the same scenes."""
        said = {**scene.__kwdefaults__, **self.difficulty}
        return f"scenes of seed {self.seed} from {self.first}: " + ", ".join(f"{name} {said[name]}" for name in said)

    def __len__(self):
        if self.count is None:
            raise TypeError("scenes without end have no length; give `count`")
        return self.count

    def image_id(self, i):
        return self.first + i


def _check_index(i, count):
    shapes.integer("i", i, maximum=2**62)
    if i < 0 or count is not None and i >= count:  # also tells Python's loops where the set ends
        raise IndexError(f"there is no image {i}; they are counted from 0" + (f" to {count - 1}" if count else ""))


class CocoFolder:
    """Images and boxes of a folder in COCO's format, each annotation checked before the first image is read.

    - folder: holds the annotations and the images
    - annotations: the file, from `folder`; without it, `annotations.json`, or the only file of `annotations/`
    - images: where the names in the file begin, from `folder`; without it, `images` if there is one, else `folder`
    - skip_bad: leave out annotations that `problems_of` would refuse, and keep what was wrong in `.skipped`

    `classes` has the categories' names in the order of their ids. `data[i]` is the i-th image of the file.

    Raises `BadAnnotations`, a `ValueError`, that names file, index and reason where the annotations are bad;
    whatever `skip_bad` says where it is not a single annotation that is bad.
    """

    def __init__(self, folder, *, annotations=None, images=None, skip_bad=False):
        self.folder = Path(folder)
        self.path = self._annotations(annotations)
        images = images or ("images" if (self.folder / "images").is_dir() else "")
        self.images = self.folder / images
        content, self._digest = _read_json(self.path)
        found = problems_of(content, self.images)
        self.skipped = [problem for problem in found if skip_bad and problem.place[0] == "annotations"]
        if len(self.skipped) < len(found):
            raise BadAnnotations(self.path, found)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.classes = tuple(category["name"] for category in categories)
        self._labels = {category["id"]: label for label, category in enumerate(categories)}
        self._images = content["images"]
        self._of = {image["id"]: [] for image in self._images}
        bad = {problem.place[1] for problem in self.skipped}
        for number, annotation in enumerate(content["annotations"]):
            if number not in bad:
                self._of[annotation["image_id"]].append(annotation)

    def _annotations(self, given):
        if not self.folder.is_dir():
            raise ValueError(f"`folder` (={str(self.folder)!r}) must be a folder")
        choices = [self.folder / given] if given else [self.folder / "annotations.json"]
        if given is None and not choices[0].exists():
            choices = sorted((self.folder / "annotations").glob("*.json"))
        if len(choices) == 1 and choices[0].is_file():
            return choices[0]
        if given:
            raise ValueError(f"`annotations` (={str(given)!r}) must be a file in {self.folder}")
        names = ", ".join(path.relative_to(self.folder).as_posix() for path in choices) or "no annotations.json"
        raise ValueError(f"`folder` (={str(self.folder)!r}) holds {names}; name the file of the annotations")

    @property
    def count(self):
        return len(self._images)

    @property
    def identity(self):
        """A text that is the same for the same annotations, wherever the folder lies."""
        return f"{self.path.name}, sha256 {self._digest}, {len(self.skipped)} left out"

    def __len__(self):
        return self.count

    def image_id(self, i):
        return self._images[i]["id"]

    def __getitem__(self, i):
        _check_index(i, self.count)
        image = self._images[i]
        pixels = _read_image(self.images / image["file_name"])
        H, W = image["height"], image["width"]
        if pixels.shape != (H, W, 3):
            raise BadAnnotations(self.path, [Problem(
                ("images", i), f"{image['file_name']} has {pixels.shape[1]} × {pixels.shape[0]} pixels, not {W} × {H}"
            )])
        own = self._of[image["id"]]
        boxes = np.array([annotation["bbox"] for annotation in own], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return Example(
            pixels, np.clip(boxes, 0, (W, H, W, H)),  # COCO rounds to hundredths; see `SLACK`
            np.array([self._labels[annotation["category_id"]] for annotation in own], np.int64),
            np.array([annotation.get("iscrowd", 0) == 1 for annotation in own], bool),
            np.array([_area(annotation) for annotation in own], float),
        )


def _area(annotation):
    return annotation.get("area", annotation["bbox"][2] * annotation["bbox"][3])


def _read_image(path):
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} can't be read as an image: {error}") from error


# --- checking annotations -----------------------------------------------------------------

LONGEST = 1_000_000  # pixels of an image's side
NARROWEST = 0.01  # pixels of a box's side: COCO's last digit; in float32, less may become nothing
SLACK = 0.02  # pixels that a box may reach over the edge: COCO's files are rounded to hundredths
SHOWN = 10  # problems that one message names


class Problem(NamedTuple):
    """What is wrong with annotations: where, as ("annotations", 17), and why."""

    place: tuple
    reason: str

    def __str__(self):
        name, *index = self.place
        return f"{name}{''.join(f'[{i}]' for i in index)}: {self.reason}"


class BadAnnotations(ValueError):
    """Annotations that can't be trained on. `path` is the file, `problems` is all that is wrong with it."""

    def __init__(self, path, problems):
        self.path, self.problems = path, problems
        lines = [f"{path}: {problem}" for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            lines.append(f"and {len(problems) - SHOWN} more in this file")
        super().__init__("\n".join(lines))


def _read_json(path):
    """Return what a file of JSON holds, and the start of its digest."""
    try:
        content = path.read_bytes()
        return json.loads(content.decode("utf-8-sig")), hashlib.sha256(content).hexdigest()[:16]
    except OSError as error:
        raise BadAnnotations(path, [Problem(("file",), f"can't be read: {error.strerror}")]) from error
    except json.JSONDecodeError as error:
        raise BadAnnotations(path, [Problem(("line", error.lineno), f"is no JSON: {error.msg}")]) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of thousands of digits, lists in lists in lists
        raise BadAnnotations(path, [Problem(("file",), f"is no JSON: {error}")]) from error


def problems_of(content, images=None):
    """Return a list of all that is wrong with annotations, each a `Problem`; an empty one if nothing is.

    - content: what COCO's JSON holds: a dict of the lists `images`, `annotations` and `categories`
    - images: the folder of the images, to look whether they are there and of the size that is said; None: not to

    An image needs `id`, `file_name`, `width` and `height`; a category `id` and `name`; an annotation `id`,
    `image_id`, `category_id` and `bbox` (x, y, width, height), and may have `iscrowd` and `area`.
    Boxes must lie within the image (up to 0.02 pixels, as COCO rounds) and be at least 0.01 pixels wide and high. A
    `file_name` may also lead out of the folder. Images have 8 bits for each colour, or a palette.

    >>> content = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    >>> print(*problems_of(content))
    categories[0]: `name` is missing
    """
    if not isinstance(content, dict):
        return [Problem(("file",), f"must hold an object, not {_kind(content)}")]
    found = []
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            what = f"must be a list, not {_kind(content[name])}" if name in content else "is missing"
            found.append(Problem(("file",), f"`{name}` {what}"))
    if found:
        return found
    if not content["categories"]:
        found.append(Problem(("categories",), "there is none"))
    sizes = _checked(content["images"], "images", IMAGE, found, lambda image: _image_problem(image, images))
    classes = _checked(content["categories"], "categories", CATEGORY, found, lambda category: None)
    first = {}
    for number, category in enumerate(content["categories"]):
        name = category.get("name") if isinstance(category, dict) else None
        if isinstance(name, str) and first.setdefault(name, number) != number:
            reason = f"`name` (={name!r}) is also that of categories[{first[name]}]"
            found.append(Problem(("categories", number), reason))
    known = {key: None if image is None else (image["width"], image["height"]) for key, image in sizes.items()}
    _checked(content["annotations"], "annotations", ANNOTATION, found, lambda one: _box_problem(one, known, classes))
    return found


def _is_integer(value):
    return type(value) is int


def _is_side(value):
    return type(value) is int and 0 < value <= LONGEST


def _is_text(value):
    return isinstance(value, str) and value != "" and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_number(value):
    return type(value) in (int, float) and abs(value) < 1e300  # neither NaN nor infinite, nor soon so


def _is_area(value):
    return type(value) in (int, float) and 0 <= value <= LONGEST**2


def _is_box(value):
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


# Of each kind of record, the keys that it must have: what they must be, in words, and the test.
IMAGE = {
    "id": ("an integer", _is_integer), "file_name": ("a text", _is_text),
    **{side: (f"an integer from 1 to {LONGEST:,}", _is_side) for side in ("width", "height")},
}
CATEGORY = {"id": ("an integer", _is_integer), "name": ("a text", _is_text)}
ANNOTATION = {
    "id": ("an integer", _is_integer), "image_id": ("an integer", _is_integer),
    "category_id": ("an integer", _is_integer), "bbox": ("four finite numbers", _is_box),
}
OPTIONAL = {
    "iscrowd": ("0 or 1", lambda value: type(value) is int and value in (0, 1)),
    "area": (f"a number from 0 to {LONGEST**2:,}", _is_area),
}


def _checked(records, name, keys, found, more):
    """Add to `found` what is wrong with a list of records; return {id: record}, None for a record that is bad.

    `more(record)` says what else is wrong with one whose keys are right, or None.
    """
    by_id, first = {}, {}
    for number, record in enumerate(records):
        reason = _key_problem(record, keys) or more(record)
        key = record.get("id") if isinstance(record, dict) else None
        if _is_integer(key):
            if first.setdefault(key, number) != number:
                reason = reason or f"`id` (={key}) is also that of {name}[{first[key]}]"
            else:
                by_id[key] = None if reason else record
        if reason:
            found.append(Problem((name, number), reason))
    return by_id


def _key_problem(record, keys):
    if not isinstance(record, dict):
        return f"must be an object, not {_kind(record)}"
    for key, (needed, fits) in keys.items():
        if key not in record:
            return f"`{key}` is missing"
        if not fits(record[key]):
            return f"`{key}` (={_short(record[key])}) must be {needed}"
    if keys is ANNOTATION:
        for key, (needed, fits) in OPTIONAL.items():
            if key in record and not fits(record[key]):
                return f"`{key}` (={_short(record[key])}) must be {needed}"
    return None


def _image_problem(image, folder):
    if folder is None:
        return None
    path = folder / image["file_name"]
    try:
        if not path.is_file():
            return f"there is no file {path}"
    except OSError as error:  # a name that is too long
        return f"`file_name` (={_short(image['file_name'])}): {error.strerror}"
    size, mode = _image_size(path)
    if size is None:
        return f"{path} is no image that can be read"
    if mode[0] in "IF":  # Pillow would cut them off at 255
        return f"{path} has pixels of more than 8 bits; 8 bits for each colour are needed"
    if size != (image["width"], image["height"]):
        return f"{path} has {size[0]} × {size[1]} pixels, not {image['width']} × {image['height']}"
    return None


def _image_size(path):
    """Return (width, height) and the mode of an image file from its first bytes; None and None where it is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size, image.mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None, None


def _box_problem(annotation, sizes, classes):
    if annotation["image_id"] not in sizes:
        return f"`image_id` (={annotation['image_id']}) is that of no image"
    if annotation["category_id"] not in classes:
        return f"`category_id` (={annotation['category_id']}) is that of no category"
    x, y, w, h = annotation["bbox"]
    if w < 0 or h < 0:
        return f"`bbox` (={annotation['bbox']}) has a negative width or height; it holds x, y, width, height"
    if w == 0 or h == 0:
        return f"`bbox` (={annotation['bbox']}) has no area"
    if sizes[annotation["image_id"]] is not None:
        W, H = sizes[annotation["image_id"]]
        if min(x, y) < -SLACK or x + w > W + SLACK or y + h > H + SLACK:
            return f"`bbox` (={annotation['bbox']}; x, y, width, height) reaches outside its image of {W} × {H} pixels"
        if min(x + w, W) <= max(x, 0) or min(y + h, H) <= max(y, 0):
            return f"`bbox` (={annotation['bbox']}) has no area within its image"
        narrow = NARROWEST * (1 - 1e-6)  # x + w is rounded
        if min(x + w, W) - max(x, 0) < narrow or min(y + h, H) - max(y, 0) < narrow:
            return f"`bbox` (={annotation['bbox']}) is narrower than {NARROWEST} pixels"
    return None


def _kind(value):
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


# --- writing a folder ---------------------------------------------------------------------


def coco_annotations(data, examples):
    """Return what COCO's JSON holds for the first images of `data`; category ids are the labels plus one.

    - data: `Scenes`, or what has their `classes` and `image_id`
    - examples: its examples, an iterable; of each only the annotations are kept
    """
    images, annotations = [], []
    for i, example in enumerate(examples):
        H, W = example.image.shape[:2]
        images.append({"id": data.image_id(i), "file_name": f"{data.image_id(i):08d}.png", "width": W, "height": H})
        for n, (x1, y1, x2, y2) in enumerate(example.boxes.tolist()):
            annotations.append({
                "id": len(annotations) + 1, "image_id": data.image_id(i), "category_id": int(example.labels[n]) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(example.area[n]), "iscrowd": int(example.iscrowd[n]),
            })
            if example.masks is not None:
                annotations[-1]["segmentation"] = {"size": [H, W], "counts": run_lengths(example.masks[n])}
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(data.classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def run_lengths(mask):
    """Return how many pixels in a row are outside, then inside, then outside, …: COCO's form of a mask.

    - mask: (H, W), read column by column

    >>> run_lengths(np.array([[False, True], [True, True]]))
    [1, 3]
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [len(pixels)]])).tolist()
    return [0] + counts if len(pixels) and pixels[0] else counts


def write_folder(folder, scenes, *, progress=None):
    """Write scenes to a folder in COCO's format: `images/00000007.png`, …, and `annotations.json` at last.

    - folder: made if it isn't there; one that holds annotations.json is refused
    - scenes: `Scenes` with a `count`
    - progress: called with the range of indices, returns what is walked instead, as `tqdm` does

    The images go without loss, so that `CocoFolder(folder)[i]` has the pixels and boxes of `scenes[i]`.
    """
    from PIL import Image

    folder = Path(folder)
    if (folder / "annotations.json").exists():
        raise ValueError(f"`folder` (={str(folder)!r}) holds annotations.json already; it is not written over")
    (folder / "images").mkdir(parents=True, exist_ok=True)

    def written():
        for i in (progress or iter)(range(len(scenes))):
            example = scenes[i]
            Image.fromarray(example.image).save(folder / "images" / f"{scenes.image_id(i):08d}.png")
            yield example

    content = coco_annotations(scenes, written())
    with replacing(folder / "annotations.json") as file:
        file.write(json.dumps(content).encode())


@contextmanager
def replacing(path):
    """Open a file to write bytes to, that takes the place of `path` when all is written, and not before.

    Whatever happens, `path` is afterwards the old file or the new one, whole and on the disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")  # in the same folder: a file is not moved from disk to disk at once
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the name as well is on the disk only when the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# --- the command --------------------------------------------------------------------------

HELP = {
    "size": "pixels of a side", "objects": "the fewest and the most objects of a scene",
    "sizes": "the least and the greatest width of a shape, in pixels",
    "turn": "the most by which a shape is turned, in degrees",
    "overlap": "the largest share of an object that others may hide",
    "contrast": "how much lighter than the ground shapes are, in levels of 255",
    "texture": "how much the ground varies, in levels", "noise": "the most by which a pixel is changed, in levels",
    "crowds": "the share of scenes with a crowd",
}


def add_difficulty(parser, leave_out=()):
    """Add one option for each parameter of a scene to a parser, with `scene`'s own defaults."""
    group = parser.add_argument_group("difficulty of the scenes")
    for name, default in scene.__kwdefaults__.items():
        if name not in leave_out:
            many = dict(nargs=2, metavar=("LEAST", "MOST")) if isinstance(default, tuple) else {}
            kind = float if isinstance(default, float) else int
            said = "%s %s" % default if many else default
            group.add_argument(f"--{name}", type=kind, default=default, help=f"{HELP[name]} ({said})", **many)


def difficulty_of(options, leave_out=()):
    """Return the parameters of a scene that a parser has read, as a dict."""
    return {
        name: tuple(getattr(options, name)) if isinstance(default, tuple) else getattr(options, name)
        for name, default in scene.__kwdefaults__.items() if name not in leave_out
    }


def describe(data):
    """Return in a few lines what a folder holds: images, boxes of each class, and their sizes as COCO calls them."""
    examples = [annotation for own in data._of.values() for annotation in own]
    counts = [0] * len(data.classes)
    sizes = [0, 0, 0]
    for annotation in examples:
        counts[data._labels[annotation["category_id"]]] += 1
        area = _area(annotation)
        sizes[(area >= 32**2) + (area >= 96**2)] += 1
    crowds = sum(annotation.get("iscrowd", 0) for annotation in examples)
    lines = [
        f"{data.path}: {data.count} images, {len(examples)} boxes, {crowds} of them around crowds",
        f"below 32² pixels: {sizes[0]}; below 96²: {sizes[1]}; larger: {sizes[2]}",
    ]
    return "\n".join(lines + [f"{name}: {count}" for name, count in zip(data.classes, counts)])


def main(arguments=None):
    """Write scenes to a folder, or check one; return 1 where something is refused."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m cvnotes.data",
        description="With --count, write scenes to FOLDER in COCO's format; without, check the annotations of FOLDER.",
    )
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--count", type=int, help="how many scenes to write")
    parser.add_argument("--seed", type=int, default=0, help="of the row of scenes (0)")
    parser.add_argument("--first", type=int, default=0, help="the scene to begin with (0)")
    parser.add_argument("--annotations", help="the file to check, from FOLDER (annotations.json)")
    parser.add_argument("--images", help="where the images' names begin, from FOLDER (images)")
    add_difficulty(parser)
    options = parser.parse_args(arguments)
    try:
        if options.count is None:
            print(describe(CocoFolder(options.folder, annotations=options.annotations, images=options.images)))
        else:
            from tqdm import tqdm

            scenes = Scenes(options.seed, first=options.first, count=options.count, **difficulty_of(options))
            write_folder(options.folder, scenes, progress=lambda indices: tqdm(indices, unit="scene"))
    except (ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
