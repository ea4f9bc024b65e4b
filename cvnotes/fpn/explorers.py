"""The explorers of the chapter: plain Python on its formulas. What needs a trained network is made by `explorer_data`."""

from math import log, sqrt

from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate
from cvnotes.fpn import formulas

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone

# --- the shapes of all levels --------------------------------------------------------------

SIDES = (64, 100, 128, 200, 224, 256, 300, 320, 400, 480, 500, 512, 600, 640, 720, 800, 900, 1000, 1024, 1200, 1280, 1333)
ANCHORS = 3  # in a place, as the proposal network of the paper has them
FLAT = 0.4  # how much lower than wide a square is drawn


@explorer(height=SIDES, width=SIDES, lowest=(2, 3), highest=(5, 6, 7), pad=(False, True), play="width")
def pyramid(height=800, width=1333, lowest=2, highest=6, pad=True):
    """The shapes of all levels of a pyramid over an image, drawn one above the other.

    `pad` adds zeros at the right and at the bottom until both sides are multiples of 32.
    """
    H, W = ((side + 31) // 32 * 32 if pad else side for side in (height, width))
    levels = list(range(lowest, highest + 1))
    sizes = [(formulas.level_size(H, level), formulas.level_size(W, level)) for level in levels]
    unit = min(150 / max(sizes[0]), 4.0)  # of the picture, for the distance of two places on the finest level
    drawn = [(columns * unit, rows * unit * FLAT) for rows, columns in sizes]
    pitch = [max(34, tall + 10) for _, tall in drawn]
    picture = Picture(WIDTH, 98 + sum(pitch), f"The levels of a pyramid over an image of {height} × {width} pixels")
    picture.text(292, 20, "rows × columns", 14, "end", "muted")
    picture.text(392, 20, "places", 14, "end", "muted")
    y, total = 30, sum(rows * columns for rows, columns in sizes)
    for i in range(len(levels) - 1, -1, -1):
        middle = y + pitch[i] / 2
        _draw_level(picture, 124, middle, *drawn[i])
        picture.text(8, middle + 5, f"P{levels[i]}", 16, "start", "output", "700")
        picture.text(292, middle + 5, f"{sizes[i][0]} × {sizes[i][1]}", 15, "end")
        picture.text(392, middle + 5, number(sizes[i][0] * sizes[i][1]), 15, "end", "ink", "600")
        y += pitch[i]
    left = 8
    for i, (rows, columns) in enumerate(sizes):
        wide = 384 * rows * columns / total
        picture.rect(left, y + 14, wide, 18, "output", "paper", 1, opacity=1 - 0.16 * i)
        if wide > 40:
            picture.text(left + wide / 2, y + 28, f"P{levels[i]}", 14, fill="paper" if i < 2 else "ink", weight="600")
        left += wide
    picture.text(8, y + 54, f"where the {number(total)} places are", 14, "start", "muted")
    return picture.svg(), _pyramid_in_words((height, width), (H, W), levels, sizes, total)


def _draw_level(picture, x, y, wide, tall):
    """Draw a level that lies flat, around (x, y)."""
    wide, tall = max(2.5, wide), max(2.5, tall)
    slant = tall * 0.4
    d = f"M{coordinate(x - (wide - slant) / 2)} {coordinate(y - tall / 2)}h{coordinate(wide)}"
    d += f"l{coordinate(-slant)} {coordinate(tall)}h{coordinate(-wide)}z"
    picture.path(d, "output", "output", 1.5, opacity=0.3)


def _pyramid_in_words(given, used, levels, sizes, total):
    rows, columns = sizes[0]
    words = f"{given[0]} × {given[1]} pixels"
    if used != given:
        words += f", padded to {used[0]} × {used[1]}"
    words += f": P{levels[0]} has {rows} × {columns} places, {2 ** levels[0]} pixels apart, and P{levels[-1]} has "
    words += f"{sizes[-1][0]} × {sizes[-1][1]}, {2 ** levels[-1]} apart. P{levels[0]} has "
    words += f"{number(100 * rows * columns / total, 1)}% of all {number(total)} places; with {ANCHORS} anchors in each "
    words += f"there are {number(ANCHORS * total)}. "
    odd = []
    for i in range(len(levels) - 1):
        if levels[i] > 4:  # above P5 nothing is added to anything
            break
        for k, name in enumerate(("rows", "columns")):
            if sizes[i][k] != 2 * sizes[i + 1][k]:
                odd.append(f"{sizes[i + 1][k]} to {sizes[i][k]} {name} of P{levels[i]}")
    if not odd:
        return words + "On the way down each side exactly doubles."
    return words + "On the way down not all sides double: " + ", ".join(odd) + "."


# --- the level of a box --------------------------------------------------------------------

SCENE = (640, 480)  # width and height, in pixels
SCALE = 0.6  # units a pixel
LEVELS = (2, 3, 4, 5)


@explorer(width=range(8, 641, 8), height=range(8, 481, 8), k0=(3, 4, 5), size0=(112, 160, 224, 320, 448), play="width")
def which_level(width=224, height=224, k0=4, size0=224):
    """Which level takes a box, on the places of that level. The box stands in the middle of 640 × 480 pixels."""
    level = formulas.box_level(width, height, k0, size0)
    free = formulas.box_level(width, height, k0, size0, -30, 30)
    stride = 2**level
    picture = Picture(WIDTH, 440, f"A box of {width} × {height} pixels on the places of P{level}")
    picture.text(8, 22, f"P{level}", 18, "start", "output", "700")
    picture.text(50, 22, f"a place is {stride} × {stride} pixels", 14, "start", "muted")
    left, top = 8, 36
    picture.rect(left, top, SCENE[0] * SCALE, SCENE[1] * SCALE, "paper", "faint", 1)
    x1, y1 = (SCENE[0] - width) / 2, (SCENE[1] - height) / 2
    _draw_places(picture, x1, y1, x1 + width, y1 + height, stride)
    x, y = left + x1 * SCALE, top + y1 * SCALE
    picture.rect(x, y, width * SCALE, height * SCALE, "none", "input", 3)
    drag = {"x": ("width", left + (SCENE[0] + 8) / 2 * SCALE, 4 * SCALE),
            "y": ("height", top + (SCENE[1] + 8) / 2 * SCALE, 4 * SCALE)}
    corner = min(x + width * SCALE + 5, 392), min(y + height * SCALE + 5, 328)  # beside it: a small box stays to be seen
    picture.circle(*corner, 7, "input", "paper", 2, drag=drag, title="drag")
    _draw_ruler(picture, width, height, k0, size0, level)
    return picture.svg(), _level_in_words(width, height, k0, size0, level, free)


def _draw_places(picture, x1, y1, x2, y2, stride):
    """Draw the places of a level that a box touches."""
    first = [int(v // stride) for v in (x1, y1)]
    last = [min(-(-SCENE[k] // stride), -int(-v // stride)) for k, v in enumerate((x2, y2))]
    right, bottom = min(SCENE[0], last[0] * stride), min(SCENE[1], last[1] * stride)
    left, top = first[0] * stride, first[1] * stride
    picture.rect(8 + left * SCALE, 36 + top * SCALE, (right - left) * SCALE, (bottom - top) * SCALE, "output", opacity=0.2)
    d = ""
    for i in range(first[0], last[0] + 1):
        at = coordinate(8 + min(SCENE[0], i * stride) * SCALE)
        d += f"M{at} {coordinate(36 + top * SCALE)}V{coordinate(36 + bottom * SCALE)}"
    for i in range(first[1], last[1] + 1):
        at = coordinate(36 + min(SCENE[1], i * stride) * SCALE)
        d += f"M{coordinate(8 + left * SCALE)} {at}H{coordinate(8 + right * SCALE)}"
    picture.path(d, "none", "output", 0.5 if stride < 16 else 1)


def _log2(x):
    """Return log₂ x, exact where x is a power of two."""
    mantissa, exponent = formulas.frexp(x)
    return exponent - 1 + (log(2 * mantissa) / log(2) if mantissa != 0.5 else 0.0)


def _draw_ruler(picture, width, height, k0, size0, level):
    """Draw for which √(w·h) each level is, each doubling as wide as another, and where the box is."""
    left, y, unit = 26, 372, 50  # of a doubling; the ruler begins at 8 pixels

    def at(size):
        return left + unit * (_log2(size) - 3)

    ends = [4.0] + [size0 * 2.0 ** (k - k0) for k in LEVELS[1:]] + [2000.0]
    for i, k in enumerate(LEVELS):
        x1, x2 = (min(max(at(end), 8), 392) for end in ends[i:i + 2])
        role, wide = ("output", x2 - x1) if k == level else ("padding", x2 - x1)
        if wide <= 0:
            continue
        picture.rect(x1, y, wide, 22, role, "paper", 1, opacity=1 if k == level else 0.35)
        if wide > 26:
            picture.text((x1 + x2) / 2, y + 16, f"P{k}", 14, fill="paper" if k == level else "ink", weight="600")
    for end in ends[1:-1]:
        if 20 < at(end) < 380:
            picture.text(at(end), y + 40, number(end), 14, fill="muted")
    x = at(sqrt(width * height))
    picture.path(f"M{coordinate(x)} {y - 2}l-7 -13h14z", "input")
    picture.text(min(max(x, 40), 360), y - 20, f"√(w·h) = {_short(sqrt(width * height))}", 14, fill="input", weight="600")
    picture.text(200, y + 58, "pixels, from one line to the next it doubles", 14, fill="muted")


def _short(x):
    return number(x) if x == int(x) else number(x, 1)


def _level_in_words(width, height, k0, size0, level, free):
    size = sqrt(width * height)
    exact = k0 + _log2(size / size0)
    words = f"A box of {width} × {height} pixels: √(w·h) = {_short(size)}, and {k0} + log₂({_short(size)} / {size0}) = "
    words += f"{number(exact, 2)}, rounded down to {number(free)}"
    if free < level:
        words += f"; the finest level is P{level}"
    elif free > level:
        words += f"; the coarsest level is P{level}"
    words += f". On P{level} a place is {2**level} pixels wide, so the box measures {_short(width / 2**level)} × "
    return words + f"{_short(height / 2**level)} places."


# --- what top-down adds --------------------------------------------------------------------

VIEWS = ("score of the head", "length of the vector")
LEAST = 0.05  # below it, a score isn't told
SIDE = 188  # of an image


@explorer(level=range(2, 6), show=VIEWS, play="level")
def top_down(data, level=2, show="score of the head"):
    """A level of the trained small net, without and with what comes from above; and the difference, or what is added.

    `data` is that of `explorer_data.top_down`: for each level and view three images and their limits.
    """
    own = data["levels"][f"P{level}"]
    view = own["views"][show]
    last = "the difference" if show == VIEWS[0] else "what is added"
    picture = Picture(WIDTH, 482, f"The {show} on P{level}, without and with the top-down way; and {last}")
    titles = ("the scene", f"P{level}, lateral alone", f"P{level}, with top-down", last)
    for k, image in enumerate([data["scene"]] + view["images"]):
        x, y = 8 + 196 * (k % 2), 28 + 222 * (k // 2)
        picture.text(x, y - 8, titles[k], 14, "start", "ink", "600")
        picture.image(x, y, SIDE, SIDE, image)
        picture.rect(x, y, SIDE, SIDE, "none", "faint", 1)
        scale = SIDE / data["size"]
        for i, (name, (x1, y1, x2, y2)) in enumerate(data["objects"]):
            box = [x + x1 * scale, y + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale]
            picture.rect(*box, "none", "#ffffff" if k == 0 else "#444444", 1, title=name)
            if k == 0:
                beside = x + x2 * scale + 4 if x2 < 0.9 * data["size"] else x + x2 * scale - 13
                picture.text(beside, y + y2 * scale - 3, str(i + 1), 14, "start", "#ffffff", "700")
    _draw_scale(picture, 8, "maps", view["most"], False)
    _draw_scale(picture, 204, last.split()[-1], view["change"], show == VIEWS[0])
    if show == VIEWS[0]:
        return picture.svg(), _scores_in_words(level, data, own)
    return picture.svg(), _lengths_in_words(level, data["size"], own)


def _draw_scale(picture, left, name, most, signed):
    """Say which value each colour stands for."""
    picture.text(left, 466, name + ":", 14, "start", "muted")
    at = left + (48 if name == "maps" else 80)
    if not most:
        picture.text(at, 466, "0", 14, "start", "ink")
        return
    for value, role in (((-most, "#c85400"),) if signed else ()) + ((most, "#005c96"),):
        text = number(value, 2 if most < 100 else 0)
        picture.rect(at, 455, 12, 12, role)
        picture.text(at + 16, 466, text, 14, "start", "ink")
        at += 24 + 8 * len(text)


def _places_in_words(level, size, own):
    return f"P{level} has {own['places']} × {own['places']} places, each for {size // own['places']} × {size // own['places']} pixels. "


def _scores_in_words(level, data, own):
    """Tell the best scores in the places of the objects' centres."""
    words, told = _places_in_words(level, data["size"], own), []
    for i, ((name, _), ((alone, first), (together, last))) in enumerate(zip(data["objects"], own["found"])):
        if max(alone, together) >= LEAST:
            text = f"{number(alone, 2)}"
            if own["lengths"][2]:
                text += f" → {number(together, 2)}"
            told.append(f"{i + 1} ({name}) {text}" + ("" if last == name else f", as {last}"))
    words += "The best score of any class where an object has its centre"
    if own["lengths"][2]:
        words += ", without → with top-down: "
    else:
        words += "; nothing lies above this level, so nothing is added: "
    return words + "; ".join(told) + f". The others have less than {number(LEAST, 2)}."


def _lengths_in_words(level, size, own):
    alone, together, added = own["lengths"]
    words = _places_in_words(level, size, own)
    if not added:
        return words + "Nothing lies above it, so nothing is added: both maps are the same."
    words += f"The vectors of the lateral way alone are {number(alone, 2)} long (root mean square), what top-down adds "
    return words + f"{number(added, 2)}, and both together {number(together, 2)}."
