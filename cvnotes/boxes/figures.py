"""The figures and tables of the chapter on boxes."""

from cvnotes.boxes import formulas
from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import image_uri
from cvnotes.notebooks import style

NAMES = {"iou": "IoU", "generalized": "GIoU", "distance": "DIoU", "complete": "CIoU"}

# Pairs of a prediction and its target, in one frame of 10 × 8.
PAIRS = {
    "the same": ((3.0, 2.0, 7.0, 6.0), (3.0, 2.0, 7.0, 6.0)),
    "a little off": ((3.0, 2.0, 7.0, 6.0), (4.0, 3.0, 8.0, 7.0)),
    "inside, in the middle": ((4.0, 3.0, 6.0, 5.0), (3.0, 2.0, 7.0, 6.0)),
    "inside, in a corner": ((3.0, 2.0, 5.0, 4.0), (3.0, 2.0, 7.0, 6.0)),
    "side by side": ((1.0, 2.0, 5.0, 6.0), (5.0, 2.0, 9.0, 6.0)),
    "apart": ((0.5, 0.5, 3.5, 3.5), (6.0, 4.5, 9.0, 7.5)),
}

# Two people, one partly behind the other, and a dog; each was found several times.
SCENE = [
    ("person", 0.95, (20.0, 20.0, 110.0, 200.0)), ("person", 0.80, (28.0, 12.0, 118.0, 196.0)),
    ("person", 0.62, (12.0, 30.0, 106.0, 206.0)), ("person", 0.90, (60.0, 26.0, 150.0, 206.0)),
    ("person", 0.55, (68.0, 20.0, 158.0, 200.0)), ("dog", 0.85, (190.0, 110.0, 330.0, 206.0)),
    ("dog", 0.50, (202.0, 100.0, 326.0, 200.0)), ("cat", 0.40, (194.0, 112.0, 328.0, 204.0)),
]


def draw_formats(box):
    """Return SVG text: one box, and the numbers that each format stores of it."""
    picture = Picture(400, 272, "")
    left, top, unit = 60, 30, 26
    x1, y1, x2, y2 = (left + unit * box[0], top + unit * box[1], left + unit * box[2], top + unit * box[3])
    picture.cells(left, top, 7, 12, unit)
    picture.rect(x1, y1, x2 - x1, y2 - y1, "output", "output", 2, opacity=0.2)
    for x, y in ((x1, y1), (x2, y2)):
        picture.circle(x, y, 5, "input")
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    picture.circle(cx, cy, 5, "kernel")
    place = formulas.convert(box, "xyxy", "cxcywh")
    picture.text(x1, y1 - 8, f"({_short(box[0])}, {_short(box[1])})", 15, fill="input")
    picture.text(x2, y2 + 20, f"({_short(box[2])}, {_short(box[3])})", 15, fill="input")
    picture.text(cx, cy - 10, f"({_short(place[0])}, {_short(place[1])})", 15, fill="kernel")
    picture.arrow(cx, y2 + 8, x1, y2 + 8, "muted")
    picture.text(x1 + 14, y2 + 26, f"w {_short(place[2])}", 15, anchor="start", fill="muted")
    picture.arrow(x2 + 8, cy, x2 + 8, y1, "muted")
    picture.text(x2 + 14, cy - 10, f"h {_short(place[3])}", 15, anchor="start", fill="muted")
    for i, fmt in enumerate(formulas.FORMATS):
        values = ", ".join(_short(value) for value in formulas.convert(box, "xyxy", fmt))
        picture.text(60 + 120 * i, 240, fmt, 15, anchor="start", weight="bold")
        picture.text(60 + 120 * i, 260, values, 15, anchor="start")
    picture.text(left - 8, top + 6, "0", 14, anchor="end", fill="muted")
    return picture.svg()


def _short(value):
    return number(value, 0 if value == int(value) else 1)


def draw_pairs():
    """Return SVG text: the pairs of `PAIRS`, each with its box around both and its four measures."""
    picture = Picture(400, 608, "")
    scale = 16
    for i, (name, (a, b)) in enumerate(PAIRS.items()):
        left, top = 20 + i % 2 * 200, 28 + i // 2 * 204
        picture.text(left + 5 * scale, top - 10, name, 15)
        x1, y1, x2, y2 = formulas.enclosing(a, b)
        picture.rect(
            left + scale * x1, top + scale * y1, scale * (x2 - x1), scale * (y2 - y1), "none", "muted", 1.5, dash="4 3"
        )
        for box, role in ((b, "input"), (a, "output")):
            picture.rect(
                left + scale * box[0], top + scale * box[1], scale * (box[2] - box[0]), scale * (box[3] - box[1]),
                role, role, 2, opacity=0.3,
            )
        for j, (kind, word) in enumerate(NAMES.items()):
            x, y = left - 12 + j % 2 * 94, top + 8 * scale + 18 + j // 2 * 20
            picture.text(x, y, f"{word} {number(formulas.measure(kind, a, b), 2)}", 14, anchor="start")
    return picture.svg()


def descend(kind, box, target, *, steps=200):
    """Return the boxes of a walk up the gradient of a measure, from `box` towards `target`: steps + 1 of them.

    The walk is in centre and size, as a network predicts them. A step is rate·(2 − IoU) times the slopes,
    the rate being 0.1, then 0.01 and 0.001 for the last two tenths (Zheng et al., 2020).
    """
    boxes = [tuple(box)]
    for step in range(steps):
        rate = 0.1 if step < 0.8 * steps else 0.01 if step < 0.9 * steps else 0.001
        dx1, dy1, dx2, dy2 = formulas.gradient(kind, boxes[-1], target)
        slopes = dx1 + dx2, dy1 + dy2, (dx2 - dx1) / 2, (dy2 - dy1) / 2
        far = rate * (2 - formulas.iou(boxes[-1], target))
        x, y, w, h = (v + far * d for v, d in zip(formulas.convert(boxes[-1], "xyxy", "cxcywh"), slopes))
        boxes.append(formulas.convert((x, y, max(w, 0.01), max(h, 0.01)), "cxcywh", "xyxy"))
    return boxes


def draw_descent(walks, target, shown=(0, 15, 30, 45, 60)):
    """Return SVG text: for each measure, the walking box after some steps, and its target."""
    picture = Picture(400, 372, "")
    scale, last = 34, len(next(iter(walks.values()))) - 1
    for i, (kind, boxes) in enumerate(walks.items()):
        left, top = 18 + i % 2 * 200, 30 + i // 2 * 186
        picture.text(left + 82, top - 10, f"{NAMES[kind]}: {number(formulas.iou(boxes[last], target), 2)}", 15)
        picture.rect(left - 8, top, 182, 146, "none", "faint")
        for step in shown:
            x1, y1, x2, y2 = (scale * value for value in boxes[step])
            picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, "none", "output", 1.2)
        x1, y1, x2, y2 = (scale * value for value in target)
        picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, "input", "input", 2, opacity=0.25)
        x1, y1, x2, y2 = (scale * value for value in boxes[last])
        picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, "output", "output", 2.5, opacity=0.25)
    return picture.svg()


def plot_regression(data):
    """Plot the mean error of all cases against the steps, for each measure."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 2.9)):
        figure = Figure()
        axes = figure.add_subplot()
        for (kind, result), line in zip(data["measures"].items(), ("-", "--", "-.", ":")):
            steps = [data["every"] * i for i in range(len(result["error"]))]
            axes.semilogy(steps, result["error"], line, label=NAMES[kind])
        axes.set(xlabel="step", ylabel="mean error", xlim=(0, data["steps"]))
        axes.legend()
        return figure


def draw_anchors(columns=8, rows=5):
    """Return SVG text: a grid of places over an image, their centres, and the three anchors of one of them."""
    picture, cell, left, top = Picture(400, 272, ""), 46, 16, 8
    picture.cells(left, top, rows, columns, cell)
    for i in range(rows):
        for j in range(columns):
            picture.circle(left + cell * (j + 0.5), top + cell * (i + 0.5), 3, "muted")
    x, y = left + 2.5 * cell, top + 2.5 * cell
    for w, h in ((90, 90), (128, 64), (64, 128)):
        picture.rect(x - w / 2, y - h / 2, w, h, "input", "input", 2, opacity=0.1)
    picture.circle(x, y, 5, "input")
    x1, y1, x2, y2 = left + 1.6 * cell, top + 1.75 * cell, left + 4.45 * cell, top + 3.1 * cell
    picture.rect(x1, y1, x2 - x1, y2 - y1, "none", "output", 3, dash="7 4")
    picture.text(x2 + 8, y1 + 16, "object", 15, anchor="start", fill="output", weight="600")
    picture.text(x + 38, top + cell - 5, "anchors", 15, anchor="start", fill="input", weight="600")
    picture.text(200, top + rows * cell + 24, f"{columns * rows} places, three anchors at each: {3 * columns * rows}", 15, fill="muted")
    return picture.svg()


def draw_code():
    """Return SVG text: an anchor, a box, and what the offset between them measures."""
    anchor, box = (40.0, 60.0, 240.0, 180.0), (130.0, 40.0, 360.0, 120.0)
    tx, ty, tw, th = formulas.encode(box, anchor)
    picture = Picture(400, 246, "")
    for (x1, y1, x2, y2), role, word in ((anchor, "input", "anchor"), (box, "output", "box")):
        picture.rect(x1, y1, x2 - x1, y2 - y1, role, role, 2, opacity=0.15)
        picture.circle((x1 + x2) / 2, (y1 + y2) / 2, 4, role)
        picture.text(x1 + 8, y2 - 8, word, 15, anchor="start", fill=role)
    ax, ay, _, _ = formulas.convert(anchor, "xyxy", "cxcywh")
    x, y, _, _ = formulas.convert(box, "xyxy", "cxcywh")
    picture.arrow(ax, ay, x, ay, "ink", 2)
    picture.arrow(x, ay, x, y, "ink", 2)
    picture.text((ax + x) / 2, ay + 18, f"tx {number(tx, 3)}", 15)
    picture.text(x + 8, (ay + y) / 2 + 5, f"ty {number(ty, 3)}", 15, anchor="start")
    picture.text(200, 210, f"tw = ln(230 / 200) = {number(tw, 3)}", 15)
    picture.text(200, 232, f"th = ln(80 / 120) = {number(th, 3)}", 15)
    picture.text(200, 24, "in widths and heights of the anchor", 15, fill="muted")
    return picture.svg()


def draw_scene(kept):
    """Return SVG text: the boxes of `SCENE`, those that are kept with index and score, the others dashed."""
    picture = Picture(400, 226, "")
    for i, (_, _, (x1, y1, x2, y2)) in enumerate(SCENE):
        if i not in kept:
            picture.rect(x1 + 20, y1, x2 - x1, y2 - y1, "none", "ignore", 1.5, dash="5 4")
            places = {1: (x2 + 27, 17), 2: (x1 + 12, 120), 4: (x2 + 27, 36), 6: (x2 + 14, y1 - 4), 7: (x1 + 30, y1 + 18)}
            x, y = places.get(i, (x1 + 28, y1 + 16))
            picture.text(x, y, str(i), 14, fill="ignore", weight="600")
    for i in kept:
        word, score, (x1, y1, x2, y2) = SCENE[i]
        picture.rect(x1 + 20, y1, x2 - x1, y2 - y1, "match", "match", 2.5, opacity=0.12)
        words = f"{i}: {number(score, 2)}" if word == "person" else f"{i}: {word} {number(score, 2)}"
        if i in (0, 7):
            picture.text(x1 + 26, y1 + (20 if i else 60), words, 15, anchor="start", weight="bold")
        else:
            picture.text(x2 + 14, y2 - 10, words, 15, anchor="end", weight="bold")
    return picture.svg()


def scene():
    """Return the boxes, scores and classes of `SCENE` as lists."""
    words = sorted({word for word, _, _ in SCENE})
    return (
        [list(box) for _, _, box in SCENE], [score for _, score, _ in SCENE], [words.index(word) for word, _, _ in SCENE]
    )


def real_scene(path):
    """Return what a trained detector proposes in one scene: a dict of arrays, the surest box first.

    What `benchmarks/boxes_outputs.py` wrote down: boxes (N, 4) in pixels, scores and labels (N,); the scene in grey,
    `image` (128, 128), and what is to be found, `truth.boxes` and `truth.labels`.
    """
    from safetensors.numpy import load_file

    dtypes = {"boxes": "float64", "scores": "float64", "labels": "int64", "image": "int64"}
    return {name: x.astype(dtypes[name.removeprefix("truth.")]) for name, x in load_file(path).items()}


def objects_found(found, scores, least):
    """Return how many objects of a real scene have a box of their class, with IoU ½ or more and a score from `least`."""
    boxes, labels = found["boxes"].tolist(), found["labels"].tolist()
    objects = zip(found["truth.boxes"].tolist(), found["truth.labels"].tolist())
    return sum(
        any(
            score >= least and label == own and formulas.iou(box, thing) >= 0.5
            for box, label, score in zip(boxes, labels, scores)
        )
        for thing, own in objects
    )


def draw_real_scene(found, *sets, scale=1.5):
    """Return SVG text: for each of two sets of indices, the scene with those boxes; the surer, the thicker.

    A set of twelve or fewer is numbered from 1, the surest.
    """
    image = found["image"]
    height, width = image.shape
    picture, href = Picture(400, int(scale * height) + 32, ""), image_uri(image.tolist())
    for i, (words, indices) in enumerate(sets):
        left, top = 202 * i + 2, 26
        picture.text(left + scale * width / 2, 18, words, 15)
        picture.image(left, top, scale * width, scale * height, href)
        for j in reversed(list(indices)):
            x1, y1, x2, y2 = (scale * value for value in found["boxes"][j].tolist())
            picture.rect(
                left + x1, top + y1, x2 - x1, y2 - y1, "none", "kernel", 0.7 + 2.3 * float(found["scores"][j])
            )
        for n, j in enumerate(indices if len(indices) <= 12 else ()):
            x1, y1, x2, y2 = (scale * value for value in found["boxes"][j].tolist())
            x, y = left + (x1 if n % 2 == 0 else x2), top + (y1 if n < len(indices) / 2 else y2)
            picture.circle(x, y, 9, "paper", "kernel", 1.5)
            picture.text(x, y + 5, str(n + 1), 14, weight="600")
    return picture.svg()


def speed_table(speed):
    """Return what `benchmarks/boxes.py` measured, as Markdown."""
    from IPython.display import Markdown

    default, kept = speed["default"]["results"], speed["keep_pages"]["results"]
    lines = ["| case | | time | in units of `torch.mm` | pages kept |", "|:--|:--|--:|--:|--:|"]
    rows = [(name, default["nms"][name], kept["nms"][name]) for name in default["nms"]]
    for name, first, second in [*rows, ("IoU, 10,000 × 100", default["box_iou"], kept["box_iou"])]:
        unit, *calls = first["times"]
        for call in calls:
            ratios = [number(result["times"][call]["ratio"][unit], 2) for result in (first, second)]
            label = name if call == calls[0] else ""
            time = number(1000 * first["times"][call]["seconds"], 1)
            lines.append(f"| {label} | `{call}` | {time}\u00a0ms | {ratios[0]} | {ratios[1]} |")
    hardware = speed["default"]["hardware"]
    lines += ["", f"{hardware['processor']}, {hardware['threads']} threads, torch {hardware['torch']}, float32."]
    return Markdown("\n".join(lines))
