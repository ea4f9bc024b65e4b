"""The explorers of the chapter: plain Python on its formulas. What needs NumPy is made by `explorer_data`."""

from math import log

from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate
from cvnotes.focal_loss import formulas

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone

# --- the loss, its gradient, and whose share of it a batch has -----------------------------

GAMMAS = (0, 0.5, 1, 1.5, 2, 3, 4, 5)
ALPHAS = ("none", "0.1", "0.25", "0.5", "0.75", "0.9")
COUNTS = (1, 10, 100, 1000, 10_000, 100_000)
EASY, HARD = (50, 60, 70, 80, 90, 95, 96.8, 98, 99, 99.5, 99.9), (1, 2, 5, 10, 20, 30, 40, 50)  # p_t in percent
TOP, SIDE, HIGH = 44, 158, 128  # of both plots: upper edge, width and height
PLOTS = (  # of the loss and of its slope: left edge, the largest value, ticks
    (30, 5.0, (0, 1, 2, 3, 4, 5)),
    (234, 1.5, (0, 0.5, 1, 1.5)),
)

_curves = {}  # by γ: made once


@explorer(gamma=GAMMAS, alpha=ALPHAS, easy=COUNTS, easy_p=EASY, hard=COUNTS, hard_p=HARD, play="gamma")
def loss_curves(gamma=2, alpha="0.25", easy=100_000, easy_p=99, hard=100, hard_p=10):
    """The focal loss and its slope over p_t, and whose share of both easy negatives and hard positives have.

    `easy_p` and `hard_p` are the p_t of the two kinds, in percent.
    """
    weights = (1.0, 1.0) if alpha == "none" else (1 - float(alpha), float(alpha))
    kinds = [(easy, easy_p / 100, weights[0], "easy"), (hard, hard_p / 100, weights[1], "hard")]
    label = f"Focal loss with γ = {_near(gamma)}, α {alpha}, for {number(easy)} easy and {number(hard)} hard examples"
    picture = Picture(WIDTH, 398, label)
    for i, name in enumerate(("loss", "slope")):
        _draw_plot(picture, i, name, gamma, kinds)
    shares = []
    for i, name in enumerate(("loss", "gradient")):
        for j, focus in enumerate((0, gamma)):
            parts = [count * (weight if focus or j else 1.0) * _value(i, p, focus) for count, p, weight, _ in kinds]
            shares.append(parts[0] / (parts[0] + parts[1]))
    _draw_shares(picture, shares)
    return picture.svg(), _curves_in_words(gamma, alpha, kinds, shares)


def _value(i, p, gamma):
    """Return the loss (i = 0) or how steep it is (1), without α."""
    return formulas.focal_loss(p, gamma) if i == 0 else -formulas.focal_slope(p, gamma)


def _curve(i, gamma):
    """Return the path of a curve over p_t."""
    key = (i, str(gamma))
    if key not in _curves:
        left, most, _ = PLOTS[i]
        steps = [0.0067, 0.01, 0.02, 0.03, 0.05, 0.07] if i == 0 else [0.001, 0.01, 0.02, 0.03, 0.05, 0.07]
        steps += [step / 100 for step in range(10, 97, 3)] + [0.98, 0.9999]
        points = [(left + p * SIDE, TOP + HIGH * (1 - min(1.0, _value(i, p, gamma) / most))) for p in steps]
        _curves[key] = "M" + "L".join(coordinate(x) + " " + coordinate(y) for x, y in points)
    return _curves[key]


def _draw_plot(picture, i, name, gamma, kinds):
    left, most, ticks = PLOTS[i]
    picture.text(left - 22, 18, name, 16, "start", "ink", "600")
    if i == 0:
        picture.text(left + SIDE, 18, "cross entropy", 14, "end", "muted")
    else:
        picture.text(left + SIDE, 18, "focal, γ = " + _near(gamma), 14, "end", "kernel", "600")
    for tick in ticks:
        y = TOP + HIGH * (1 - tick / most)
        picture.line(left, y, left + SIDE, y, "faint" if tick else "padding", 1)
        picture.text(left - 5, y + 5, _near(tick), 14, "end", "muted")
    for p in (0, 0.5, 1):
        picture.text(left + p * SIDE, TOP + HIGH + 18, _near(p), 14, fill="muted")
    picture.text(left + 0.75 * SIDE, TOP + HIGH + 18, "p_t", 14, fill="ink")
    picture.path(_curve(i, 0), "none", "padding", 2.5)
    picture.path(_curve(i, gamma), "none", "kernel", 2.5)
    for _, p, _, kind in kinds:
        x, y = left + p * SIDE, TOP + HIGH * (1 - min(1.0, _value(i, p, gamma) / most))
        role = "input" if kind == "easy" else "negative"
        picture.line(x, TOP, x, TOP + HIGH, role, 1, dash="3 3")
        picture.circle(x, y, 5, role, "paper", 1.5)


def _draw_shares(picture, shares):
    """Draw four bars: of the loss and of the gradient, for cross entropy and for the focal loss."""
    picture.rect(8, 210, 12, 12, "input")
    picture.text(25, 221, "easy negatives", 14, "start")
    picture.rect(272, 210, 12, 12, "negative")
    picture.text(289, 221, "hard positives", 14, "start")
    for row, share in enumerate(shares):
        y = 236 + 41 * row
        name = ("loss", "gradient")[row // 2]
        picture.text(8, y + 20, name + ",", 14, "start")
        picture.text(78, y + 20, ("CE", "focal")[row % 2], 14, "start", ("muted", "kernel")[row % 2], "600")
        wide = 268 * share
        picture.rect(124, y, wide, 30, "input")
        picture.rect(124 + wide, y, 268 - wide, 30, "negative")
        for part, x, anchor in ((share, 132, "start"), (1 - share, 384, "end")):
            if part >= 0.25:
                picture.text(x, y + 20, _percent(part), 15, anchor, "paper", "600")


UP = 1 + 1e-9  # times a number that lies between two roundings: it then goes up, whatever its last digit


def _percent(share):
    """Return a share in percent, with more digits where it is close to 0 or 1."""
    far = min(share, 1 - share) * UP
    return number(100 * share * UP, 0 if far >= 0.1 else 1 if far >= 0.001 else 3) + "%"


def _near(value):
    """Return a number with as many decimals as it needs, at most three."""
    text = number(value, 3)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _small(value):
    """Return a number with two or three digits, also where it is small."""
    digits, value = 2, value * UP
    while digits < 12 and value < 10 ** (1 - digits):
        digits += 1
    return number(value, digits)


def _s(count):
    return "" if count == 1 else "s"


def _curves_in_words(gamma, alpha, kinds, shares):
    (easy, p, _, _), (hard, q, _, _) = kinds
    words = f"With γ = {_near(gamma)} the cross entropy is multiplied by {_small((1 - p) ** gamma)} "
    words += f"at p_t = {_near(p)}, and by {_small((1 - q) ** gamma)} at {_near(q)}. "
    words += f"{number(easy)} easy negative{_s(easy)} against {number(hard)} hard positive{_s(hard)}"
    words += f" ha{'s' if easy == 1 else 've'} {_percent(shares[0])} of the cross entropy"
    words += f" and {_percent(shares[1])} of the focal loss"
    words += f"; of the gradient, {_percent(shares[2])} and {_percent(shares[3])}. "
    if alpha == "none":
        return words + "No α: both kinds weigh the same."
    return words + f"α = {alpha}: a positive weighs {alpha}, a negative {_near(1 - float(alpha))}."


# --- anchors over a scene ------------------------------------------------------------------

SCENE = (480, 640)  # height and width, in pixels
OBJECTS = (  # name and box, in pixels
    ("bus", (300.0, 130.0, 590.0, 290.0)),
    ("person", (120.0, 150.0, 190.0, 350.0)),
    ("dog", (215.0, 290.0, 285.0, 350.0)),
    ("ball", (60.0, 400.0, 80.0, 420.0)),
)
LEVELS = ("P3", "P4", "P5", "P6", "P7")
STRIDES, SIZES = (8, 16, 32, 64, 128), (32, 64, 128, 256, 512)
KEPT = 0.3  # IoUs below it are not in the data
SCALE = 0.6  # units of the picture for a pixel


@explorer(
    level=LEVELS, x=range(0, 641, 16), y=range(0, 481, 16), positive_iou=(0.3, 0.4, 0.5, 0.6, 0.7),
    negative_iou=(0.3, 0.4, 0.5),
)
def anchors(data, level="P6", x=448, y=208, positive_iou=0.5, negative_iou=0.4):
    """The nine anchors of a place over a scene, and the places of the level where an anchor finds an object.

    `data` is that of `explorer_data.anchors`: for each level all anchors with an IoU of `KEPT` or more.
    """
    if negative_iou > positive_iou:
        raise ValueError(f"`negative_iou` (={negative_iou}) must not be more than `positive_iou` (={positive_iou})")
    i = LEVELS.index(level)
    stride = STRIDES[i]
    rows, columns = formulas.places(SCENE, stride)
    column, row = min(columns - 1, (x + stride // 2) // stride), min(rows - 1, (y + stride // 2) // stride)
    counts = [_counts(data[name], positive_iou, negative_iou) for name in LEVELS]
    nine = _nine(i, column, row, positive_iou, negative_iou)
    picture = Picture(WIDTH, 452, f"Anchors of {level} over a scene, at the place {column}, {row}")
    _draw_scene(picture)
    _draw_places(picture, data[level], i, positive_iou, negative_iou)
    _draw_nine(picture, nine)
    cx, cy = 8 + column * stride * SCALE, 36 + row * stride * SCALE
    drag = {"x": ("x", 8, 16 * SCALE), "y": ("y", 36, 16 * SCALE)}
    picture.circle(cx, cy, 6, "ink", "paper", 2, drag=drag, title="drag")
    _draw_legend(picture, counts, i)
    return picture.svg(), _anchors_in_words(level, i, column, row, nine, counts, positive_iou)


def _nine(i, column, row, positive_iou, negative_iou):
    """Return (anchor, the best object, its IoU, the kind) for the anchors of a place."""
    cx, cy, found = column * STRIDES[i], row * STRIDES[i], []
    for x1, y1, x2, y2 in formulas.anchor_cell(SIZES[i]):
        anchor = (cx + x1, cy + y1, cx + x2, cy + y2)
        overlaps = [formulas.iou(box, anchor) for _, box in OBJECTS]
        best = max(overlaps)
        kind = "match" if best >= positive_iou else "negative" if best < negative_iou else "ignore"
        found.append((anchor, OBJECTS[overlaps.index(best)][0], best, kind))
    return found


def _counts(found, positive_iou, negative_iou):
    """Return how many anchors of a level match, and how many are ignored."""
    high, low = 10_000 * positive_iou, 10_000 * negative_iou
    matched = len([1 for _, _, overlap in found if overlap >= high - 1e-6])
    return matched, len([1 for _, _, overlap in found if overlap >= low - 1e-6]) - matched


def _draw_scene(picture):
    picture.rect(8, 36, SCENE[1] * SCALE, SCENE[0] * SCALE, "paper", "faint", 1)
    picture.rect(8, 36 + 340 * SCALE, SCENE[1] * SCALE, 140 * SCALE, "faint", opacity=0.35)
    place = lambda v, start: start + v * SCALE  # noqa: E731
    for name, (x1, y1, x2, y2) in OBJECTS:
        left, top, w, h = place(x1, 8), place(y1, 36), (x2 - x1) * SCALE, (y2 - y1) * SCALE
        if name == "bus":
            picture.rect(left, top, w, h - 10, "padding", radius=8, opacity=0.6)
            for k in range(4):
                picture.rect(left + 10 + k * 40, top + 14, 32, 26, "paper", radius=3)
            for k in (32, w - 32):
                picture.circle(left + k, top + h - 12, 12, "muted")
        elif name == "person":
            picture.circle(left + w / 2, top + 15, 15, "padding", opacity=0.6)
            coat = f"M{coordinate(left)} {coordinate(top + h)}L{coordinate(left + 6)} {coordinate(top + 32)}"
            coat += f"H{coordinate(left + w - 6)}L{coordinate(left + w)} {coordinate(top + h)}z"
            picture.path(coat, "padding", opacity=0.6)
        elif name == "dog":
            picture.rect(left, top + 12, w - 8, 14, "padding", radius=6, opacity=0.6)
            picture.circle(left + w - 9, top + 9, 9, "padding", opacity=0.6)
            picture.path(f"M{coordinate(left + 5)} {coordinate(top + 24)}v12m26 -12v12", "none", "padding", 6)
        else:
            picture.circle(left + w / 2, top + h / 2, w / 2, "padding", opacity=0.8)
        picture.rect(left, top, w, h, "none", "output", 2)
        picture.text(left + w / 2 if name != "ball" else left + w + 6, top - 5 if name != "ball" else top + h, name, 14,
                     "middle" if name != "ball" else "start", "output", "600")


def _draw_places(picture, found, i, positive_iou, negative_iou):
    """Mark the places of the level that have a matching or an ignored anchor."""
    columns = formulas.places(SCENE, STRIDES[i])[1]
    best = {}
    for place, _, overlap in found:
        best[place] = max(overlap, best.get(place, 0))
    for role, low, high in (("ignore", negative_iou, positive_iou), ("match", positive_iou, 2)):
        d = ""
        for place in best:
            if 10_000 * low - 1e-6 <= best[place] < 10_000 * high - 1e-6:
                cx, cy = 8 + place % columns * STRIDES[i] * SCALE, 36 + place // columns * STRIDES[i] * SCALE
                d += f"M{coordinate(cx - 2)} {coordinate(cy - 2)}h4v4h-4z"
        if d:
            picture.path(d, role)


def _draw_nine(picture, nine):
    """Draw the anchors of a place, the matching ones last; of an edge, what lies within the scene."""
    order, (bottom, right) = {"negative": 0, "ignore": 1, "match": 2}, SCENE
    for (x1, y1, x2, y2), _, overlap, kind in sorted(nine, key=lambda one: (order[one[3]], one[2])):
        left, top, d = max(x1, 0), max(y1, 0), ""
        for x in (x1, x2):
            if 0 <= x <= right:
                d += "M" + _at(x, top) + "L" + _at(x, min(y2, bottom))
        for y in (y1, y2):
            if 0 <= y <= bottom:
                d += "M" + _at(left, y) + "L" + _at(min(x2, right), y)
        line, dash = (3, None) if kind == "match" else (2, None) if kind == "ignore" else (1.5, "4 3")
        if d:
            picture.path(d, "none", kind, line, dash=dash, title="IoU " + number(overlap, 2))


def _at(x, y):
    """Return a pixel's place in the picture, as SVG has it."""
    return coordinate(8 + x * SCALE) + " " + coordinate(36 + y * SCALE)


def _draw_legend(picture, counts, i):
    picture.text(8, 22, LEVELS[i], 17, "start", "ink", "700")
    words = f"stride {STRIDES[i]}, sides {SIZES[i]} to {number(SIZES[i] * 2 ** (2 / 3))}"
    picture.text(392, 22, words, 14, "end", "muted")
    for k, (name, role) in enumerate((("match", "match"), ("ignored", "ignore"), ("background", "negative"))):
        left = (8, 92, 190)[k]
        picture.rect(left, 336, 14, 14, "none", role, 2.5 if k < 2 else 1.5, dash=None if k < 2 else "4 3")
        picture.text(left + 20, 348, name, 14, "start", role, "600")
    picture.text(8, 378, "anchors that match, by level", 14, "start", "muted")
    most = max(1, max(matched for matched, _ in counts))
    for k, (matched, _) in enumerate(counts):
        left, tall = 8 + 78 * k, 26 * matched / most
        picture.rect(left, 430 - tall, 40, tall, "match", opacity=1 if k == i else 0.45)
        picture.line(left, 430, left + 66, 430, "faint", 1)
        picture.text(left + 44, 427, number(matched), 14, "start", "ink", "600" if k == i else None)
        picture.text(left + 20, 447, LEVELS[k], 14, "middle", "ink" if k == i else "muted", "600" if k == i else None)


def _anchors_in_words(level, i, column, row, nine, counts, positive_iou):
    rows, columns = formulas.places(SCENE, STRIDES[i])
    whole = sum(9 * r * c for r, c in (formulas.places(SCENE, stride) for stride in STRIDES))
    matched, ignored = counts[i]
    words = f"{level} has {columns} × {rows} places and {number(9 * columns * rows)} anchors; "
    words += f"{number(matched)} match an object, {number(ignored)} are ignored. At the place {column}, {row}: "
    said = []
    for kind, name in (("match", "match"), ("ignore", "ignored"), ("negative", "background")):
        own = [one for one in nine if one[3] == kind]
        if own:
            said.append(f"{len(own)} {name}")
    best = max(nine, key=lambda one: one[2])
    words += ", ".join(said)
    found = f"the best IoU is {number(best[2], 2)}, with the {best[1]}" if best[2] else "none touches an object"
    words += "; " + found + ". "
    total = sum(matched for matched, _ in counts)
    return words + f"On all levels {number(total)} of {number(whole)} anchors match: {number(100 * total / whole, 2)}%."


# --- the prior, and the first step ---------------------------------------------------------

PRIORS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0001)
LOSSES = ("cross entropy", "focal, γ = 2, α = 0.25")
DEEP = 4  # decades of π that are drawn, from 1 down


@explorer(
    prior=PRIORS, anchors=(1000, 10_000, 100_000), classes=(1, 20, 80), positives=(1, 3, 10, 30, 100, 300), loss=LOSSES,
)
def prior_bias(prior=0.5, anchors=100_000, classes=80, positives=30, loss="cross entropy"):
    """What the first step of training costs, for each probability π with which all logits start."""
    gamma, alpha = (0, None) if loss == LOSSES[0] else (2, 0.25)
    negatives = anchors * classes - positives
    bias = formulas.prior_bias(prior)
    sums = _first_step(prior, negatives, positives, gamma, alpha)
    label = f"The loss of the first step over the prior π, by {loss}, with π = {_plain(prior)}"
    picture = Picture(WIDTH, 420, label)
    picture.text(8, 20, "first loss, for each matched anchor", 16, "start", "ink", "600")
    _draw_first_loss(picture, prior, negatives, positives, gamma, alpha)
    _draw_pushes(picture, sums)
    return picture.svg(), _prior_in_words(prior, bias, sums, negatives, positives)


def _first_step(prior, negatives, positives, gamma, alpha):
    """Return the losses of all negatives and of all positives, and the two sums of their slopes."""
    x = formulas.logit(prior)
    return [
        count * function(x, target, alpha, gamma) * sign
        for function, signs in ((formulas.sigmoid_focal_loss, (1, 1)), (formulas.sigmoid_focal_slope, (1, -1)))
        for count, target, sign in ((negatives, 0.0, signs[0]), (positives, 1.0, signs[1]))
    ]


def _draw_first_loss(picture, prior, negatives, positives, gamma, alpha):
    """Draw the loss over π, both in powers of ten."""
    left, top, wide, high = 60, 40, 332, 190
    at = [10 ** (-DEEP * k / 40) * (0.5 if k == 0 else 1) for k in range(41)]
    at = [p for p in at if p <= 0.5]
    parts = [_first_step(p, negatives, positives, gamma, alpha)[:2] for p in at]
    lines = {"negatives": [a / positives for a, _ in parts], "positives": [b / positives for _, b in parts]}
    whole = [a + b for a, b in zip(lines["negatives"], lines["positives"])]
    ceiling = _power_above(max(whole))
    floor = ceiling - 6
    place = lambda p, y: (  # noqa: E731
        left + wide * (1 + _log10(p) / DEEP), top + high * (1 - (_log10(y) - floor) / 6)
    )
    for k in range(7):
        y = top + high * (1 - k / 6)
        picture.line(left, y, left + wide, y, "faint", 1)
        if k % 2 == 0:
            picture.text(left - 6, y + 5, _power_text(floor + k), 14, "end", "muted")
    for k in range(DEEP + 1):
        x = left + wide * (1 - k / DEEP)
        picture.text(min(x, 388), top + high + 19, _power_text(-k), 14, "middle" if 0 < k else "end", "muted")
    picture.text(left + wide * (1 - 0.5 / DEEP), top + high + 19, "π", 15, "middle", "ink", "600")
    for name, role in (("negatives", "input"), ("positives", "negative")):
        seen = [place(p, y) for p, y in zip(at, lines[name]) if _log10(y) >= floor]
        if len(seen) > 1:
            picture.curve(seen, role, 2, dash="5 4")
    picture.curve([place(p, y) for p, y in zip(at, whole)], "ink", 2.5)
    now = sum(_first_step(prior, negatives, positives, gamma, alpha)[:2]) / positives
    x, y = place(prior, now)
    picture.circle(x, y, 6, "kernel", "paper", 1.5)
    for k, p in enumerate(PRIORS):  # to click on
        x = left + wide * (1 + _log10(p) / DEEP)
        picture.rect(x - 8, top, 16, high, "paper", opacity=0, set={"prior": _plain(p)})
    for k, (name, role) in enumerate((("all", "ink"), ("negatives", "input"), ("positives", "negative"))):
        picture.rect((8, 84, 210)[k], 272, 22, 3, role)
        picture.text((36, 112, 238)[k], 279, name, 14, "start", role)


def _draw_pushes(picture, sums):
    """Draw how hard negatives push all logits down, and positives up."""
    picture.text(8, 318, "pull on the bias in the first step", 16, "start", "ink", "600")
    down, up = sums[2], sums[3]
    most = max(down, up)
    for k, (name, size, role) in enumerate((("down", down, "input"), ("up", up, "negative"))):
        y = 332 + 42 * k
        picture.text(8, y + 20, name, 15, "start", role, "600")
        picture.rect(60, y, max(1.0, 220 * size / most), 30, role)
        picture.text(392, y + 20, _three(size), 15, "end", "ink", "600")


def _log10(x):
    return log(x) / log(10)


def _power_above(x):
    """Return the smallest integer k with 10^k ≥ x, for x > 0."""
    k = -12
    while 10**k < x * (1 - 1e-9):
        k += 1
    return k


def _power_text(k):
    """Return 10^k as text: 1, 10, 100, 1,000, then 10⁴."""
    if 0 <= k <= 3:
        return number(10**k)
    raised = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(abs(k)))
    return "10" + ("⁻" if k < 0 else "") + raised


def _plain(p):
    """Return a prior as its control has it, and a link."""
    return number(p, 4).rstrip("0")


def _three(x):
    """Return a number with about three digits."""
    x = x * UP
    return number(x) if x >= 100 else number(x, 1) if x >= 10 else _small(x)


def _prior_in_words(prior, bias, sums, negatives, positives):
    several = _s(positives)
    words = f"π = {_plain(prior)}: the bias is {number(bias, 3)}. {number(negatives)} negatives cost {_three(sums[0])} "
    words += f"and {number(positives)} positive{several} {_three(sums[1])}; "
    words += f"divided by the {number(positives)} matched anchor{several}, the first loss is "
    words += f"{_three((sums[0] + sums[1]) / positives)}. The negatives pull the bias down with {_three(sums[2])}, "
    words += f"the positive{several} up with {_three(sums[3])}. "
    return words + f"One logit in {number((negatives + positives) / positives)} is a positive."
