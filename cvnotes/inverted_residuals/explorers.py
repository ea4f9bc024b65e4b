"""The explorers of inverted residuals: plain Python on the chapter's formulas.

What needs NumPy, or a whole network, is made by `explorer_data`.
"""

from math import log

from cvnotes import cost
from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import colour, coordinate
from cvnotes.inverted_residuals import formulas

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone

_parts = {}  # what the states of an explorer share: made once for its data


def _kept(data, key, make):
    """Return what `make` returns, from the second time on as it was for the same data and key."""
    owner, made = _parts.get(key, (None, None))
    if owner is not data:
        made = make()
        _parts[key] = data, made
    return made


# --- the block designer ------------------------------------------------------------------

BLOCKS = {  # each with the controls that count for it, beside the widths, the kernel and the size
    "bottleneck": ("reduction", "stride"),
    "inverted": ("expansion", "stride"),
    "separable": ("stride",),
    "EffNet": ("reduction",),
    "shuffle": ("reduction", "stride", "groups"),
}
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 240, 256, 384, 480, 512)


@explorer(
    block=tuple(BLOCKS), in_channels=WIDTHS, out_channels=WIDTHS, expansion=range(1, 11), reduction=(1, 2, 4, 8),
    stride=(1, 2), kernel=(3, 5, 7), groups=(1, 2, 3, 4, 8), size=(7, 14, 28, 56, 112),
)
def block_designer(
    block="inverted", in_channels=24, out_channels=24, expansion=6, reduction=4, stride=1, kernel=3, groups=3, size=56,
):
    """A block drawn to width, what each step of it costs, and a standard convolution beside it."""
    given = {"expansion": expansion, "reduction": reduction, "stride": stride, "groups": groups}
    used = {name: given[name] for name in BLOCKS[block]}
    make = {
        "bottleneck": formulas.bottleneck_steps, "inverted": formulas.inverted_steps,
        "separable": formulas.separable_steps, "EffNet": formulas.effnet_steps, "shuffle": formulas.shuffle_steps,
    }[block]
    steps = make(size, in_channels, out_channels, kernel_size=kernel, **used)
    return _designed(block, in_channels, out_channels, size, kernel, groups, steps)


def _designed(block, in_channels, out_channels, size, kernel, groups, steps):
    """Return picture and sentence of a block, from its steps."""
    place, joins = steps[-1][2], _joined(block, in_channels, out_channels, size, steps)
    waits = joins != "no"
    until = [formulas.peak(in_channels, size, steps[:i + 1], shortcut=waits) for i in range(len(steps))]
    whole, standard = formulas.total(steps), cost.conv2d(in_channels, out_channels, kernel, place)
    bare = formulas.peak(in_channels, size, [("", out_channels, place, standard)])
    counts = (
        ("weights", whole.params, standard.params), ("multiply-adds", whole.macs, standard.macs),
        ("peak", until[-1], bare),
    )
    picture = Picture(WIDTH, 466, f"The {block} block from {in_channels} to {out_channels} channels, drawn to width")
    maps, layers = _drawn_parts(block, in_channels, out_channels, size, kernel, groups, steps)
    _draw_block(picture, maps, layers, joins, until.index(until[-1]), steps)
    _draw_counts(picture, kernel, counts)
    return picture.svg(), _block_in_words(block, maps, layers, joins, until, steps, kernel, counts)


def _joined(block, in_channels, out_channels, size, steps):
    """Return how the input joins the output: "no", "added", "projected" by a 1×1 before, or "beside" it."""
    if block == "bottleneck":
        return "projected" if steps[-1][0].startswith("shortcut") else "added"
    if block == "shuffle":
        return "beside" if steps[-1][0] == "pool" else "added"
    same = in_channels == out_channels and steps[-1][2] == (size, size)
    return "added" if block == "inverted" and same else "no"


def _drawn_parts(block, in_channels, out_channels, size, kernel, groups, steps):
    """Return the maps, [(channels, (height, width)), …], and the layers between, [(name, its kind, groups), …]."""
    maps, layers = [(in_channels, (size, size))], []
    for i, (name, channels, place, _) in enumerate(steps):
        if name.startswith("shortcut") or (block == "shuffle" and name == "pool"):
            continue
        maps.append((channels, place))
        if name.startswith("depthwise"):
            shape = name.split(" ")[1].replace("K", str(kernel)) if " " in name else f"{kernel}×{kernel}"
            layers.append(("depthwise " + shape, "depthwise", channels))
        elif name == "pool":
            layers.append(("pool 1×2", "pool", channels))
        elif name.startswith("grouped"):
            layers.append(("1×1" + (f" · {groups} groups" if groups > 1 else ""), "dense", groups))
        else:
            layers.append((name.split(" ")[-1].replace("K", str(kernel)), "dense", 1))
    if block == "shuffle" and out_channels > maps[-1][0]:
        maps[-1] = (out_channels, maps[-1][1])
    return maps, layers


def _draw_block(picture, maps, layers, joins, highest, steps):
    """Draw the maps as bars, the layers as what leads from one to the next, the shortcut on the left."""
    middle, most = 126, max(channels for channels, _ in maps)
    gap = min(74, (280 - 12 * len(maps)) / len(layers))
    top = 36 + (280 - 12 * len(maps) - gap * len(layers)) / 2
    ys = [top + i * (gap + 12) for i in range(len(maps))]
    half = [max(1.5, 74 * channels / most) for channels, _ in maps]
    ends = [(middle - h, middle + h) for h in half]  # of each bar
    picture.text(392, 20, "weights · multiply-adds", 14, "end", "muted")
    for i, (name, kind, groups) in enumerate(layers):
        to = ends[i + 1]
        if joins == "beside" and i == len(layers) - 1:  # the branch is the right part of the output
            to = (to[1] - 2 * half[-1] * steps[i][1] / maps[-1][0], to[1])
        _draw_layer(picture, kind, groups, maps[i][0], ends[i], to, ys[i] + 12, ys[i + 1])
        at, made = (ys[i] + 12 + ys[i + 1]) / 2, steps[i][3]
        picture.text(218, at - 4 if made.params else at + 5, name, 14, "start", "ink", "600")
        if made.params:
            picture.text(218, at + 13, number(made.params) + " · " + _short(made.macs), 14, "start", "muted")
        if i == highest:
            picture.path(f"M202 {coordinate(ys[i])}h5V{coordinate(ys[i + 1] + 12)}h-5", "none", "ink", 2)
            picture.text(392, at + 13, "peak", 14, "end", "ink", "600")
        elif kind == "dense" and groups > 1 and i == 0:
            picture.text(392, at + 13, "shuffle", 14, "end", "kernel")
    _draw_shortcut(picture, ends, ys, joins, highest >= len(layers), steps[-1][3])
    for i in range(len(maps)):
        _draw_map(picture, maps, i, ends[i], ys[i], joins)


def _draw_layer(picture, kind, groups, channels, start, end, y, below):
    """Draw one layer: solid where it mixes channels, in as many parts as groups; lines where it doesn't."""
    if kind != "dense":
        lines = max(1, min(channels, int((start[1] - start[0]) / 6)))
        down, step = coordinate(below - y), (start[1] - start[0]) / lines
        d = "M" + coordinate(start[0] + step / 2) + " " + coordinate(y)
        d += ("v" + down + "m" + coordinate(step) + " -" + down) * (lines - 1) + "v" + down
        picture.path(d, "none", "kernel" if kind == "depthwise" else "muted", 1.5)
        return
    wide, narrow = (start[1] - start[0]) / groups, (end[1] - end[0]) / groups
    inset, d = 1 if groups > 1 and min(wide, narrow) > 4 else 0, ""
    for g in range(groups):
        d += "M" + coordinate(start[0] + g * wide + inset) + " " + coordinate(y)
        d += "H" + coordinate(start[0] + (g + 1) * wide - inset)
        d += "L" + coordinate(end[0] + (g + 1) * narrow - inset) + " " + coordinate(below)
        d += "H" + coordinate(end[0] + g * narrow + inset) + "z"
    picture.path(d, "kernel", opacity=0.3)


def _draw_map(picture, maps, i, ends, y, joins):
    """Draw one map as a bar, thinner where the image is smaller, and say its size."""
    (channels, (height, width)), last = maps[i], i == len(maps) - 1
    tall = 12 if width == maps[0][1][1] else 6 if height < maps[0][1][0] else 9
    role = "input" if i == 0 else "output" if last else "muted"
    words = f"{number(channels)} × {height} × {width}"
    title = words + f" = {number(channels * height * width)} elements"
    wide, top = ends[1] - ends[0], y + (12 - tall) / 2
    picture.rect(ends[0], top, wide, tall, role, "none", 0, 1.5, title=title)
    if last and joins == "beside":
        part = wide * maps[0][0] / channels
        picture.rect(ends[0], top, part, tall, "input", "none", 0, 1.5, title="the input, pooled")
    if i == 0 or last or maps[i] != maps[i - 1]:
        picture.text(218, y + 11, words, 14, "start", role)


def _draw_shortcut(picture, ends, ys, joins, peaks, made):
    """Draw the way of the input past the layers; `peaks` says whether its own step is the peak."""
    if joins == "no":
        return
    start, end = ys[0] + 6, ys[-1] + 6
    picture.path(f"M{coordinate(ends[0][0])} {coordinate(start)}H20V{coordinate(end)}", "none", "input", 2)
    picture.arrow(20, end, ends[-1][0] - (0 if joins == "beside" else 2), end, "input", 2)
    if joins != "added":
        picture.rect(2, (start + end) / 2 - 13, 38, 26, "paper", "input", 1.5, 5)
        picture.text(21, (start + end) / 2 + 5, "pool" if joins == "beside" else "1×1", 14, fill="input")
    if joins != "beside":
        picture.circle(20, end, 9, "paper", "input", 2)
        picture.path(f"M15 {coordinate(end)}h10M20 {coordinate(end - 5)}v10", "none", "input", 2)
    if joins == "projected":
        picture.text(218, end + 24, number(made.params) + " · " + _short(made.macs), 14, "start", "input")
    if peaks:
        picture.text(392, end + 24, "peak", 14, "end", "ink", "600")


def _draw_counts(picture, kernel, counts):
    """Draw what the block costs, over what a standard convolution costs."""
    picture.line(8, 350, 392, 350, "faint", 1)
    picture.text(112, 370, "this block", 14, "start", "kernel", "600")
    picture.text(392, 370, f"standard {kernel}×{kernel}", 14, "end", "muted")
    for i, (name, ours, theirs) in enumerate(counts):
        y, most = 380 + 29 * i, max(ours, theirs)
        picture.text(8, y + 16, name, 14, "start")
        for row, count, role in ((0, ours, "kernel"), (1, theirs, "padding")):
            length = max(1.5, 196 * count / most)
            picture.rect(112, y + 11 * row, length, 10, role, title=number(count))
        ratio = ours / theirs
        picture.text(392, y + 16, number(ratio, 2 if ratio >= 0.1 else 3) + " ×", 14, "end", "ink", "600")


def _short(count):
    """Return a count with three digits and a letter: 10.8M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return number(count / size, 2 if count < 10 * size else 1 if count < 100 * size else 0) + letter
    return number(count)


def _block_in_words(block, maps, layers, joins, until, steps, kernel, counts):
    widths = " → ".join(number(channels) for channels, _ in maps)
    (_, weights, plain), (_, macs, plain_macs), (_, peak, plain_peak) = counts
    words = f"{widths} channels: {number(weights)} weights, {number(macs)} multiply-adds, "
    words += f"at most {number(peak)} activations at once"
    step = steps[until.index(peak)][0].replace("K", str(kernel))
    words += f" (in the step {step}" + (", with the input kept for the shortcut). " if joins != "no" else "). ")
    words += f"A standard {kernel}×{kernel} convolution from {number(maps[0][0])} to {number(maps[-1][0])} channels "
    words += f"takes {number(plain)}, {number(plain_macs)} and {number(plain_peak)}. "
    idle = [name for name in ("expansion", "reduction", "stride", "groups") if name not in BLOCKS[block]]
    return words + "Idle here: " + ", ".join(idle) + "."


# --- a spiral through ReLU ---------------------------------------------------------------

DIMENSIONS = (2, 3, 5, 15, 30)  # those of the first figure of MobileNetV2's paper
PIECES = 12  # of the spiral, each with a colour of its own
REACH = 1060  # half the side of a square that holds the spiral and some air, in thousandths of its radius


@explorer(dimensions=DIMENSIONS, draw=range(1, 9), activation=("ReLU", "none"), point=range(1, 97), play="draw")
def spiral(data, dimensions=2, draw=1, activation="ReLU", point=60):
    """A spiral into n dimensions by a random matrix, through ReLU, and back by the pseudo-inverse.

    `data` is that of `explorer_data.spiral`: coordinates in thousandths of the spiral's radius.
    """
    case, relu = data["cases"][str(dimensions)][draw - 1], activation == "ReLU"
    loss = case["loss"] if relu else 0
    label = f"A spiral before and after {dimensions} dimensions with {activation}, {number(100 * loss, 1)}% lost"
    picture = Picture(WIDTH, 384, label)
    picture.text(8, 20, "before", 16, "start", "ink", "600")
    picture.text(206, 20, "after", 16, "start", "ink", "600")
    lost, role = number(100 * loss, 1 if loss else 0) + "% lost", "kernel" if loss else "output"
    picture.text(392, 20, lost, 16, "end", role, "600")
    before = data["points"].split(" ")
    _draw_spiral(picture, 8, before, REACH, point - 1)
    for i in range(3, len(before) // 2, 4):  # to click on
        x, y = 101 + int(before[2 * i]) * 89 // REACH, 121 - int(before[2 * i + 1]) * 89 // REACH
        picture.parts.append(f'<circle cx="{x}" cy="{y}" r="7" fill-opacity="0" data-set="point={i + 1}"/>')
    if relu:
        _draw_spiral(picture, 206, case["recovered"].split(" "), case["reach"], point - 1, data["points"])
    else:
        _draw_spiral(picture, 206, before, REACH, point - 1)
    x, y = int(before[2 * point - 2]), int(before[2 * point - 1])
    values = [a * x + b * y for a, b in case["matrix"]]  # millionths
    _draw_values(picture, values, relu)
    picture.parts += _kept(data, "losses" + activation, lambda: _losses(data, relu))
    x, y = _loss_at(data, dimensions, loss)
    picture.circle(x, y, 6.5, "kernel", "ink", 2)
    picture.rect(x - 10, 372, 20, 2.5, "kernel")
    return picture.svg(), _spiral_in_words(case, dimensions, values, relu, loss)


def _draw_spiral(picture, left, points, reach, chosen, ghost=None):
    """Draw a spiral in a square, its colour going from blue over purple to orange on the way out.

    The points are texts, "x", "y", "x", …, up to `reach` away from the middle.
    """
    middle, scale = left + 93, 89 / reach
    picture.rect(left, 28, 186, 186, "paper", "faint", 1, 6)
    picture.path(f"M{middle} 34v174M{left + 6} 121h174", "none", "faint", 1)
    scale_text = number(scale, 5)
    picture.parts.append(
        f'<g transform="translate({middle} 121) scale({scale_text} -{scale_text})" fill="none" '
        f'stroke-linecap="round" stroke-linejoin="round" stroke-width="{coordinate(3.5 / scale)}">'
    )
    if ghost is not None:
        thin, gap = coordinate(1.5 / scale), coordinate(4.5 / scale)
        picture.parts.append(
            f'<path d="M{ghost}" stroke="{colour("padding")}" stroke-width="{thin}" stroke-dasharray="0 {gap}"/>'
        )
    size = len(points) // PIECES
    for piece in range(PIECES):
        d = "M" + " ".join(points[piece * size:piece * size + size + 2])
        share = 2 * piece / (PIECES - 1)
        first, second = ("input", "negative") if share < 1 else ("negative", "kernel")
        opacity = coordinate(share if share < 1 else share - 1)
        picture.parts.append(f'<path d="{d}" stroke="{colour(first)}"/>')
        if piece:
            picture.parts.append(f'<path d="{d}" stroke="{colour(second)}" stroke-opacity="{opacity}"/>')
    picture.parts.append("</g>")
    x, y = int(points[2 * chosen]), int(points[2 * chosen + 1])
    picture.circle(middle + x * scale, 121 - y * scale, 7, "paper", "ink", 2.5)


def _draw_values(picture, values, relu):
    """Draw the chosen point's numbers in n dimensions: what ReLU cuts off is hollow."""
    picture.text(8, 242, f"point, n = {len(values)}", 15, "start", "ink", "600")
    width, largest = 186 / len(values), max(1, max(abs(value) for value in values))
    gap, base, full, hollow = 1 if len(values) > 15 else 3, 306, "", ""
    for i, value in enumerate(values):
        height = coordinate(max(1.5, abs(value) * 50 / largest))
        across = coordinate(min(width - gap, 40))
        d = "M" + coordinate(8 + i * width + gap / 2) + f" {base}v" + ("-" if value > 0 else "") + height
        d += "h" + across + "v" + ("" if value > 0 else "-") + height + "z"
        if relu and value <= 0:
            hollow += d
        else:
            full += d
    if full:
        picture.path(full, "output")
    if hollow:
        picture.path(hollow, "none", "ignore", 1.5)
    picture.line(8, base, 194, base, "muted", 1)
    kept = sum(1 for value in values if value > 0)
    words = f"{kept} of {len(values)} above 0" if relu else "all pass"
    picture.text(8, 378, words, 15, "start", "output" if kept > 1 or not relu else "ignore")


def _loss_at(data, dimensions, loss):
    """Return where a loss stands in the small plot."""
    most = max(0.5, max(case["loss"] for n in data["cases"] for case in data["cases"][n]))
    return 254 + 30 * DIMENSIONS.index(dimensions), 350 - 92 * loss / most


def _losses(data, relu):
    """Return the elements of the small plot: the loss of each draw for each n; a click chooses it."""
    picture = Picture(WIDTH, 384, "")
    picture.text(206, 242, "% lost, all draws", 15, "start", "ink", "600")
    for share in (0, 0.25, 0.5):
        y = _loss_at(data, 2, share)[1]
        picture.line(236, y, 392, y, "faint" if share else "muted", 1)
        picture.text(230, y + 5, number(100 * share), 14, "end", "muted")
    for n in DIMENSIONS:
        picture.text(_loss_at(data, n, 0)[0], 369, str(n), 14, fill="muted")
        for i, case in enumerate(data["cases"][str(n)]):
            loss = case["loss"] if relu else 0
            x, y = _loss_at(data, n, loss)
            picture.circle(
                x, y, 4.5, "kernel", opacity=0.4, set={"dimensions": n, "draw": i + 1},
                title=f"n = {n}, draw {i + 1}: {number(100 * loss, 1)}%",
            )
    return picture.parts


def _spiral_in_words(case, dimensions, values, relu, loss):
    if not relu:
        return (
            f"Without an activation {dimensions} dimensions give the spiral back, and 0% is lost in each draw. So "
            f"MobileNetV2's narrow layers have none. In PyTorch: x @ T.mT @ torch.linalg.pinv(T).mT"
        )
    none, one, more = case["active"]
    words = f"Through ReLU in {dimensions} dimensions {number(100 * loss, 1)}% of the spiral's variance is lost. "
    if not none + one:
        words += f"All {more} points keep at least two dimensions above 0, enough to compute each of them back. "
    else:
        words += f"Of {none + one + more} points {more} keep at least two dimensions above 0, enough to compute them "
        words += "back; " + ", ".join(
            f"{count} {'keeps' if count == 1 else 'keep'} {kept} and {'falls' if count == 1 else 'fall'} on {where}"
            for count, kept, where in ((one, "one", "a line"), (none, "none", "the origin")) if count
        ) + ". "
    kept = sum(1 for value in values if value > 0)
    words += f"The chosen point keeps {kept} of {dimensions}. "
    return words + "In PyTorch: F.relu(x @ T.mT) @ torch.linalg.pinv(T).mT"


# --- channel shuffle as wires ------------------------------------------------------------

GROUP_ROLES = ("input", "kernel", "output", "negative", "ignore", "padding")  # a colour for each group of inputs


@explorer(
    channels=range(4, 17), groups=range(1, 7), layers=(1, 2, 3, 4), shuffle=(False, True), output=range(0, 16),
)
def shuffle_wires(channels=12, groups=3, layers=2, shuffle=True, output=5):
    """Which inputs reach an output through grouped 1×1 layers, with and without a shuffle between them."""
    order = formulas.shuffle_permutation(channels, groups)
    output = min(output, channels - 1)
    steps = _steps(channels, groups, layers, order if shuffle else None)
    seen, used = _seen(channels, steps), _used(steps, output)
    label = f"{channels} channels, {groups} groups, layers of 1×1: {layers}; the inputs that reach output {output}"
    picture = Picture(WIDTH, 344, label)
    _draw_wires(picture, channels, groups, steps, seen, used, output)
    bare = channels // groups
    return picture.svg(), _wires_in_words(channels, groups, layers, shuffle, output, order, len(seen[-1][output]), bare)


def _steps(channels, groups, layers, order):
    """Return for each step its name and, for each of its outputs, the list of channels that it reads."""
    size = channels // groups
    steps = []
    for layer in range(layers):
        if layer and order:
            steps.append(("shuffle", [[c] for c in order]))
        own = [list(range(g * size, g * size + size)) for g in range(groups)]
        steps.append((f"layer {layer + 1}", [own[o // size] for o in range(channels)]))
    return steps


def _seen(channels, steps):
    """Return for each row of channels, from the inputs down, the inputs that each channel depends on."""
    rows = [[[c] for c in range(channels)]]
    for _, reads in steps:
        row = []
        for o, read in enumerate(reads):
            same = o and read is reads[o - 1]  # those of a group see the same
            row.append(row[-1] if same else sorted({i for c in read for i in rows[-1][c]}))
        rows.append(row)
    return rows


def _used(steps, output):
    """Return for each row the channels that the chosen output depends on."""
    rows = [[output]]
    for _, reads in reversed(steps):
        rows.insert(0, sorted({c for o in rows[0] for c in reads[o]}))
    return rows


def _draw_wires(picture, channels, groups, steps, seen, used, output):
    """Draw rows of channels and the wires between them; a channel shows the groups that it comes from."""
    heights = [62 if name == "shuffle" else 74 for name, _ in steps]
    stretch = min(1.6, 262 / sum(heights))
    gap, left, size = 312 / channels, 82, channels // groups
    side = min(22 if len(steps) < 7 else 14, gap - 5)  # four layers leave less room between the rows
    place = lambda c: left + gap * (c + 0.5)  # noqa: E731
    across = [coordinate(place(c)) for c in range(channels)]
    top = 40 + (262 - stretch * sum(heights)) / 2
    tops = [top]
    for height in heights:
        tops.append(tops[-1] + stretch * height)
    for s, (name, reads) in enumerate(steps):
        y, below = tops[s] + side / 2, tops[s + 1] - side / 2
        start, middle, end = coordinate(y), coordinate((y + below) / 2), coordinate(below)
        picture.text(8, (y + below) / 2 + 5, name, 15, "start", "muted")
        if name != "shuffle":
            for g in range(groups):
                picture.rect(
                    left + gap * size * g + 2, y - side - 3, gap * size - 4, below - y + 2 * side + 6, "padding",
                    radius=6, opacity=0.14,
                )
        faint, strong = "", {}
        roles = ["ink"] * channels
        for c, inputs in enumerate(seen[s]):
            if inputs[0] // size == inputs[-1] // size:
                roles[c] = GROUP_ROLES[inputs[0] // size]
        for o, read in enumerate(reads):
            for c in read:
                d = "M" + across[c] + " " + start
                if name == "shuffle":  # in a soft curve
                    d += "C" + across[c] + " " + middle + " " + across[o] + " " + middle + " " + across[o] + " " + end
                else:
                    d += "L" + across[o] + " " + end
                if o in used[s + 1]:
                    strong[roles[c]] = strong.get(roles[c], "") + d
                else:
                    faint += d
        if faint:
            picture.path(faint, "none", "faint", 1.2)
        for role in strong:
            picture.path(strong[role], "none", role, 2.2 if len(used[s]) <= 9 else 1.2)
    square = coordinate(side)
    for r, row in enumerate(seen):
        over = " " + coordinate(tops[r] - side / 2) + "h"
        bright, pale, whole = {}, {}, ""
        for c, inputs in enumerate(row):
            origins = sorted({i // size for i in inputs})
            width, x = side / len(origins), place(c) - side / 2
            strips, wide = bright if c in used[r] else pale, coordinate(width)
            for k, g in enumerate(origins):
                d = "M" + coordinate(x + k * width) + over + wide + "v" + square + "h-" + wide + "z"
                strips[g] = strips.get(g, "") + d
            whole += "M" + coordinate(x) + over + square + "v" + square + "h-" + square + "z"
        picture.path(whole, "paper")
        for g in pale:
            picture.path(pale[g], GROUP_ROLES[g], opacity=0.28)
        for g in bright:
            picture.path(bright[g], GROUP_ROLES[g])
    ring = side + 5
    picture.rect(place(output) - ring / 2, tops[-1] - ring / 2, ring, ring, "none", "ink", 2.5, 2)
    picture.text(8, tops[0] + 5, "inputs", 15, "start", "ink", "600")
    picture.text(8, tops[-1] + 5, "outputs", 15, "start", "ink", "600")
    for c in range(channels):
        here, all_fit = c == output, gap > 22
        if all_fit or c % 2 == 0:
            picture.text(place(c), tops[0] - side / 2 - 10, str(c), 14, fill="ink" if c in used[0] else "muted")
        if all_fit or here or (c % 2 == 0 and abs(c - output) > 1):
            role, weight = ("ink", "600") if here else ("muted", None)
            picture.text(place(c), tops[-1] + side / 2 + 22, str(c), 14, fill=role, weight=weight)
        picture.rect(
            place(c) - gap / 2, tops[-1] - side / 2 - 6, gap, side + 36, "paper", opacity=0, set={"output": c},
            title=f"output {c} sees " + ", ".join(str(i) for i in seen[-1][c]),
        )


def _wires_in_words(channels, groups, layers, shuffle, output, order, count, bare):
    size = channels // groups
    into = "1 group" if groups == 1 else f"{groups} groups of {size}"
    words = f"{channels} channels in {into}: {number(channels * size)} weights a layer"
    words += f" in place of {number(channels * channels)}. " if groups > 1 else ". "
    if groups == 1:
        words += "One group mixes all channels by itself, so there is nothing to shuffle. "
    elif size == 1:
        words += "Each group has one channel, and the shuffle leaves all in their places. "
    else:
        listed = ", ".join(str(c) for c in order[:2 * groups]) + (" and so on" if 2 * groups < channels else "")
        words += f"The shuffle {'puts' if shuffle and layers > 1 else 'would put'} the channels in the order {listed}. "
    words += f"Output {output} sees {count} of the {channels} inputs"
    if layers == 1:
        words += "; with one layer, nothing stands between layers to be shuffled. "
    elif shuffle:
        words += f"; without the shuffle, {bare}. "
    else:
        words += ": those of its own group. "
    return words + f"In PyTorch: nn.ChannelShuffle({groups})"


# --- activations and their derivatives ---------------------------------------------------

ACTIVATIONS = {  # for each its function, its slopes, where they jump, and its name in PyTorch
    "ReLU": (formulas.relu, formulas.relu_slopes, (0,), "F.relu"),
    "ReLU6": (formulas.relu6, formulas.relu6_slopes, (0, 6), "F.relu6"),
    "swish": (formulas.swish, formulas.swish_slopes, (), "F.silu"),
    "h-swish": (formulas.hard_swish, formulas.hard_swish_slopes, (-3, 3), "F.hardswish"),
    "sigmoid": (formulas.sigmoid, formulas.sigmoid_slopes, (), "torch.sigmoid"),
    "hard sigmoid": (formulas.hard_sigmoid, formulas.hard_sigmoid_slopes, (-3, 3), "F.hardsigmoid"),
}
FAR = 8  # the axis runs from −8 to 8
QUARTERS = tuple(k / 4 for k in range(-4 * FAR, 4 * FAR + 1))
LEFT, STEP = 36, 22  # where −8 stands, and the units for one of x


@explorer(function=tuple(ACTIVATIONS), compare=tuple(ACTIVATIONS), x=QUARTERS)
def activations(function="h-swish", compare="swish", x=2.0):
    """An activation and its derivative at x, beside a second one, and how far the two are apart."""
    names = (function,) if function == compare else (function, compare)
    bounded = all("sigmoid" in name for name in names)
    base, unit = (206, 130) if bounded else (208, STEP)
    flat, rise = (386, 300) if bounded else (366, 44)
    picture = Picture(WIDTH, 422, f"{' and '.join(names)} and their derivatives at {_near(x)}")
    _draw_axes(picture, base, unit, (0, 0.5, 1) if bounded else (0, 2, 4, 6, 8))
    _draw_axes(picture, flat, rise, (0, 0.1, 0.2) if bounded else (0, 1))
    here, roles = LEFT + (x + FAR) * STEP, ("output", "kernel")
    curves = [_kept(ACTIVATIONS, (name, unit), lambda: _curve(name, base, unit)) for name in names]
    if len(names) == 2:
        picture.path("M" + "L".join(curves[0] + curves[1][::-1]) + "z", "ignore", opacity=0.35)
    picture.path(f"M{coordinate(here)} 30v208M{coordinate(here)} 298v96", "none", "input", 1.5, dash="4 3")
    for i in reversed(range(len(names))):
        picture.path("M" + "L".join(curves[i]), "none", roles[i], 2.5)
        slope = _kept(ACTIVATIONS, ("slope", names[i], unit), lambda: _slope_curve(names[i], flat, rise))
        picture.path(slope, "none", roles[i], 2.5)
    for i in reversed(range(len(names))):
        value, (before, after) = (f(x) for f in ACTIVATIONS[names[i]][:2])
        picture.circle(here, base - value * unit, 5.5, roles[i], "paper", 1.5)
        words = number(after, 3) if before == after else _near(before) + " → " + _near(after)
        for slope in (before,) if before == after else (before, after):
            picture.circle(here, flat - slope * rise, 5.5, roles[i], "paper", 1.5)
        side, anchor = (8, "start") if i == 0 else (392, "end")
        picture.text(side, 20, names[i] + " " + number(value, 3), 16, anchor, roles[i], "600")
        picture.text(side, 288, "slope " + words, 16, anchor, roles[i], "600")
    drag = {"x": ("x", LEFT, STEP / 4)}
    picture.rect(here - 14, 28, 28, 368, "paper", opacity=0, drag=drag)
    held = min(max(here, 42), 358)
    picture.rect(held - 40, 238, 80, 26, "input", "paper", 1.5, 13, drag=drag, title="drag")
    picture.text(held, 256, "x = " + _near(x), 15, fill="paper", weight="600", drag=drag)
    for tick in range(-FAR, FAR + 1, 4):
        picture.text(LEFT + (tick + FAR) * STEP, 414, number(tick), 14, fill="muted")
    return picture.svg(), _activations_in_words(names, x)


def _draw_axes(picture, base, unit, ticks):
    """Draw level lines with their numbers; the one at 0 is stronger."""
    for tick in ticks:
        y = base - tick * unit
        picture.line(LEFT, y, LEFT + 2 * FAR * STEP, y, "faint" if tick else "padding", 1)
        picture.text(LEFT - 6, y + 5, _near(tick), 14, "end", "muted")


def _curve(name, base, unit):
    """Return the points of an activation's curve, ["x y", …]."""
    function, _, kinks, _ = ACTIVATIONS[name]
    at = QUARTERS if "swish" in name or not kinks else (-FAR, *kinks, FAR)
    return [coordinate(LEFT + (x + FAR) * STEP) + " " + coordinate(base - function(x) * unit) for x in at]


def _slope_curve(name, base, unit):
    """Return the path of a derivative: a piece between each two jumps."""
    _, slopes, kinks, _ = ACTIVATIONS[name]
    ends, d = (-FAR, *kinks, FAR), ""
    for start, end in zip(ends, ends[1:]):
        at = (start, end) if kinks else QUARTERS
        values = [slopes(x)[1 if x == start else 0] for x in at]
        points = [(LEFT + (x + FAR) * STEP, base - value * unit) for x, value in zip(at, values)]
        d += "M" + "L".join(coordinate(x) + " " + coordinate(y) for x, y in points)
    return d


def _widest(names):
    """Return the largest difference of two activations from −8 to 8, and the places where it is."""
    first, second = ACTIVATIONS[names[0]][0], ACTIVATIONS[names[1]][0]
    apart = lambda x: abs(first(x) - second(x))  # noqa: E731
    best = max(QUARTERS, key=apart)
    low, high = max(-FAR, best - 0.25), min(FAR, best + 0.25)
    for _ in range(50):  # a third of the interval less in each round
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if apart(a) < apart(b) else (low, b)
    best = max((best, (low + high) / 2), key=apart)
    both = best != 0 and abs(apart(-best) - apart(best)) < 1e-9
    return apart(best), "±" + _near(abs(best)) if both else _near(best)


def _near(value):
    """Return a number with as many decimals as it needs, at most two."""
    text = number(value, 2)
    return text.rstrip("0").rstrip(".")


def _activations_in_words(names, x):
    said = []
    for name in names:
        before, after = ACTIVATIONS[name][1](x)
        slope = number(after, 3) if before == after else f"jumping from {_near(before)} to {_near(after)}"
        said.append(f"{name} is {number(ACTIVATIONS[name][0](x), 3)} with slope {slope}")
    words = f"At x = {_near(x)} {said[0]}"
    if len(names) == 2:
        apart = abs(ACTIVATIONS[names[0]][0](x) - ACTIVATIONS[names[1]][0](x))
        largest, where = _kept(ACTIVATIONS, names, lambda: _widest(names))
        words += f", and {said[1]}: {number(apart, 3)} apart. From −{FAR} to {FAR} they are at most "
        words += f"{number(largest, 3)} apart, at x = {where}"
    return words + ". In PyTorch: " + ", ".join(f"{ACTIVATIONS[name][3]}(x)" for name in names)


# --- width and resolution multipliers ----------------------------------------------------

MULTIPLIERS, RESOLUTIONS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.4), (96, 128, 160, 192, 224)
# What the papers report: millions of multiply-adds, millions of parameters, top-1 in %. Widths are texts
# here: Brython does not find a float that is a key of a dict.
PAPERS = {
    "MobileNetV1": {  # Howard et al. (2017), tables 6, 7 and 9
        ("1.0", 224): (569, 4.2, 70.6), ("0.75", 224): (325, 2.6, 68.4), ("0.5", 224): (149, 1.3, 63.7),
        ("0.25", 224): (41, 0.5, 50.6), ("1.0", 192): (418, 4.2, 69.1), ("1.0", 160): (290, 4.2, 67.2),
        ("1.0", 128): (186, 4.2, 64.4), ("0.5", 160): (76, 1.32, 60.2),
    },
    "MobileNetV2": {("1.0", 224): (300, 3.4, 72.0), ("1.4", 224): (585, 6.9, 74.7)},  # Sandler et al. (2018), table 4
}
# Top-1 in % of the weights that the authors released, from the resolution 224 down.
# github.com/tensorflow/models: research/slim/nets/mobilenet_v1.md and mobilenet/README.md.
RELEASED = {
    "MobileNetV1": {
        "1.0": (70.9, 70.0, 68.0, 65.2), "0.75": (68.4, 67.2, 65.3, 62.1), "0.5": (63.3, 61.7, 59.1, 56.3),
        "0.25": (49.8, 47.7, 45.5, 41.5),
    },
    "MobileNetV2": {
        "1.4": (75.0,), "1.0": (71.8, 70.7, 68.8, 65.3, 60.3), "0.75": (69.8, 68.7, 66.4, 63.2, 58.8),
        "0.5": (65.4, 63.9, 61.0, 57.7, 51.2), "0.35": (60.3, 58.2, 55.7, 50.8, 45.5),
    },
}
NETWORKS = tuple(PAPERS)
PLANE = (46, 36, 384, 300)  # left, top, right and bottom of the plane
WORK = (6, 1300)  # millions of multiply-adds from left to right, a logarithmic axis


@explorer(network=NETWORKS, width=MULTIPLIERS, resolution=RESOLUTIONS, against=("accuracy", "parameters"))
def multipliers(data, network="MobileNetV1", width=0.75, resolution=224, against="accuracy"):
    """Both multipliers of the first two MobileNets: what they save, and what the papers report.

    `data` is that of `explorer_data.multipliers`: what each width costs at 224 × 224, counted by a trace.
    """
    label = f"Multiply-adds of MobileNets against their {against}; {network} × {_near(width)} at {resolution}"
    picture = Picture(WIDTH, 344, label)
    picture.parts += _kept(data, network + against, lambda: _plane(data, network, against))
    _draw_chosen(picture, data, network, width, resolution, against)
    return picture.svg(), _multipliers_in_words(data, network, width, resolution)


def _plane(data, network, against):
    """Return the elements of the plane, which the choice of a dot does not change."""
    picture, other = Picture(WIDTH, 344, ""), NETWORKS[1 - NETWORKS.index(network)]
    _draw_plane(picture, network, other, against)
    for name in (other, network):
        _draw_network(picture, data, name, against, name == network)
    _draw_papers(picture, network, against)
    return picture.parts


def macs_of(counted, resolution):
    """Return the multiply-adds at a resolution that 32 divides, from what was counted at 224.

    Each map's side is a multiple of resolution / 32, so the convolutions go with its square exactly.
    """
    return counted["convolutions"] * (resolution // 32) ** 2 // 49 + counted["classifier"]


def accuracy(network, width, resolution):
    """Return the top-1 accuracy of the released weights in %, or None where none were released."""
    known, i = RELEASED[network].get(str(width), ()), RESOLUTIONS[::-1].index(resolution)
    return known[i] if i < len(known) else None


def _across(millions):
    """Return where a number of multiply-adds stands."""
    left, _, right, _ = PLANE
    return left + (right - left) * log(millions / WORK[0]) / log(WORK[1] / WORK[0])


def _up(value, against):
    """Return where an accuracy in %, or a number of parameters in millions, stands."""
    _, top, _, bottom = PLANE
    if against == "accuracy":
        return bottom - (bottom - top) * (value - 40) / 38
    return bottom - (bottom - top) * log(value / 0.35) / log(10 / 0.35)


def _draw_plane(picture, network, other, against):
    left, top, right, bottom = PLANE
    picture.text(8, 20, "top-1 in %" if against == "accuracy" else "million parameters", 14, "start", "muted")
    picture.text(right, 20, network, 15, "end", "output", "600")
    picture.text(right - 2, bottom - 7, other, 15, "end", "muted")
    for value in (40, 50, 60, 70) if against == "accuracy" else (0.5, 1, 2, 5, 10):
        y = _up(value, against)
        picture.line(left, y, right, y, "faint", 1)
        picture.text(left - 6, y + 5, _near(value), 14, "end", "muted")
    for value in (10, 30, 100, 300, 1000):
        x = _across(value)
        picture.line(x, top, x, bottom, "faint", 1)
        picture.text(x, bottom + 18, number(value), 14, fill="muted")
    picture.text(right, bottom + 38, "million multiply-adds", 14, "end", "muted")


def _dots(data, name, width, against):
    """Return the dots of one width, from the smallest resolution up: [(x, y, resolution), …]."""
    counted = data[name][str(width)]
    dots = []
    for resolution in RESOLUTIONS:
        value = accuracy(name, width, resolution) if against == "accuracy" else counted["params"] / 1e6
        if value is not None:
            dots.append((_across(macs_of(counted, resolution) / 1e6), _up(value, against), resolution))
    return dots


def _draw_network(picture, data, name, against, strong):
    """Draw a line for each width, its dots the resolutions; a click on a dot chooses it."""
    for width in MULTIPLIERS:
        dots = _dots(data, name, width, against)
        if len(dots) > 1:
            picture.curve([(x, y) for x, y, _ in dots], "output" if strong else "padding", 1.5)
        _draw_dots(picture, dots, name, width, 5 if strong else 3.5, "output" if strong else "padding")


def _draw_dots(picture, dots, name, width, radius, role):
    for x, y, resolution in dots:
        picture.circle(
            x, y, radius, role, set={"network": name, "width": width, "resolution": resolution},
            title=f"{name} × {_near(width)} at {resolution}",
        )


def _draw_papers(picture, network, against):
    """Draw a cross for each figure in the network's paper."""
    d = ""
    for macs, params, top in PAPERS[network].values():
        x, y = _across(macs), _up(top if against == "accuracy" else params, against)
        for a, b in ((-5, -5), (-5, 5)):
            d += "M" + coordinate(x + a) + " " + coordinate(y + b) + "L" + coordinate(x - a) + " " + coordinate(y - b)
    picture.path(d, "none", "paper", 4.5)
    picture.path(d, "none", "ink", 2)
    _, _, _, bottom = PLANE
    picture.circle(13, bottom + 33, 5, "output")
    picture.text(23, bottom + 38, "released" if against == "accuracy" else "counted", 14, "start")
    picture.path(f"M92 {bottom + 29}l8 8m0 -8l-8 8", "none", "ink", 2)
    picture.text(106, bottom + 38, "in its paper", 14, "start")


def _draw_chosen(picture, data, network, width, resolution, against):
    """Mark the chosen combination and its width's curve; without a published accuracy, by an upright line."""
    counted = data[network][str(width)]
    x = _across(macs_of(counted, resolution) / 1e6)
    value = accuracy(network, width, resolution) if against == "accuracy" else counted["params"] / 1e6
    left, top, _, bottom = PLANE
    dots = _dots(data, network, width, against)
    if len(dots) > 1:
        picture.curve([(a, b) for a, b, _ in dots], "kernel", 3)
        _draw_dots(picture, dots, network, width, 5, "kernel")  # over the curve, which would catch their clicks
    if value is None:
        picture.line(x, top + 52, x, bottom - 26, "kernel", 2, dash="5 4")
        words = "none published"
    else:
        picture.circle(x, _up(value, against), 7.5, "kernel", "paper", 2)
        words = number(value, 1) + "%" if against == "accuracy" else number(value, 2) + "M"
    picture.text(left + 10, top + 20, f"× {_near(width)} at {resolution}", 16, "start", "kernel", "600")
    picture.text(left + 10, top + 40, words, 15, "start", "kernel")


def _multipliers_in_words(data, network, width, resolution):
    counted = data[network][str(width)]
    macs, params = macs_of(counted, resolution), counted["params"]
    words = f"{network} × {_near(width)} at {resolution} × {resolution}: {number(macs / 1e6, 1)} million multiply-adds "
    words += f"and {number(params)} parameters, counted here. "
    published = PAPERS[network].get((str(width), resolution))
    if published:
        words += f"Its paper reports {published[0]} million ({_apart(macs / 1e6, published[0])}), "
        words += f"{_near(published[1])} million ({_apart(params / 1e6, published[1])}) "
        words += f"and {_near(published[2])}% top-1. "
    else:
        words += "Its paper's tables don't have this one. "
    released = accuracy(network, width, resolution)
    if released is None:
        words += "No weights of it were released. "
    else:
        words += f"The released weights reach {number(released, 1)}% top-1. "
    whole = macs_of(data[network]["1.0"], 224)
    rule = width * width * resolution * resolution / (224 * 224)
    return words + (
        f"Of the multiply-adds of × 1 at 224 it takes {number(100 * macs / whole, 1)}%; width² · resolution² says "
        f"{number(100 * rule, 1)}%."
    )


def _apart(ours, theirs):
    """Return how far a count lies from a published one: "counted 2.5% less"."""
    share = 100 * (ours / theirs - 1)
    return f"we count {number(abs(share), 1)}% {'more' if share > 0 else 'less'}"
