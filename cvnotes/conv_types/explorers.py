"""The explorers of the types of convolution: plain Python on the chapter's formulas.

What needs the photograph or a singular value decomposition is made by `image_data`.
"""

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas as arithmetic
from cvnotes.conv_types import formulas
from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import colour

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone

# --- all types side by side --------------------------------------------------------------

SIDE, SMALL = 7, 3  # of the image, and of the one that a transposed convolution makes larger
CHANNELS = 4  # in and out
TYPES = {  # each with the parameters that count for it
    "standard": ("kernel", "stride"),
    "dilated": ("kernel", "stride", "dilation"),
    "transposed": ("kernel", "stride"),
    "grouped": ("kernel", "stride", "dilation", "groups"),
    "1×1": ("stride",),
    "spatially separable": ("kernel", "stride"),
    "depthwise separable": ("kernel", "stride", "dilation"),
    "deformable": ("kernel", "stride", "dilation"),
    "involution": ("kernel", "stride", "dilation", "groups"),
}


@explorer(
    type=tuple(TYPES), kernel=range(1, 6), stride=range(1, 4), dilation=range(1, 4), groups=(1, 2, 4),
    place=range(0, SIDE * SIDE),
)
def all_types(type="standard", kernel=3, stride=1, dilation=2, groups=2, place=0):
    """Which inputs feed an output, how often each is used, and over which channels, for each type."""
    given = {"kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups}
    neutral = {"kernel": 1, "stride": 1, "dilation": 1, "groups": 1}
    used = {name: given[name] if name in TYPES[type] else neutral[name] for name in given}
    if type == "involution" and kernel % 2 == 0:
        raise ValueError(f"`kernel` (={kernel}) must be odd for an involution, so that it has a middle")
    size = SMALL if type == "transposed" else SIDE
    across = _places_of(type, size, used)
    place = min(place, across * across - 1)
    fed, counts = _uses(type, size, across, used, place)
    picture = Picture(WIDTH, 358, f"A convolution ({type}) from {size} by {size} to {across} by {across} pixels")
    _draw_grids(picture, type, size, across, counts, fed, place)
    if type == "deformable":
        _draw_samples(picture, used, place, across)
    _draw_channels(picture, type, used["groups"])
    return picture.svg(), _type_in_words(type, size, across, used, place, fed, counts)


def _places_of(type, size, used):
    """Return how many outputs there are along one axis."""
    kernel, stride, dilation = used["kernel"], used["stride"], used["dilation"]
    if type == "transposed":
        return shapes.transposed_output_size(size, kernel, stride=stride)
    padding = dilation * (kernel // 2) if type == "involution" else 0
    return shapes.output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)


def _uses(type, size, across, used, place):
    """Return the inputs that feed the output `place`, as {row · size + column: weights}, and the counts.

    The counts say how often all places use each input; for a transposed convolution, how many
    inputs write into each output.
    """
    kernel, stride, dilation = used["kernel"], used["stride"], used["dilation"]
    row, column = place // across, place % across
    if type == "deformable":
        wide = size + 2  # with one more pixel on each side, for the samples that fall outside
        padded, chosen = [0] * (wide * wide), [0] * (wide * wide)
        for one in range(across * across):
            for y, x in _samples(used, one, across):
                at = (y // 2 + 1) * wide + x // 2 + 1
                corners = [at, at + 1] if x % 2 else [at]
                if y % 2:
                    corners += [corner + wide for corner in corners]
                for corner in corners:
                    padded[corner] += 1
                    if one == place:
                        chosen[corner] = 1
        inner = [(i + 1) * wide + j + 1 for i in range(size) for j in range(size)]
        counts = [padded[i] for i in inner]
        fed = {i: 1 for i in range(size * size) if chosen[inner[i]]}
        return fed, counts
    if type == "transposed":
        line = formulas.overlaps(size, kernel, stride)
        down = [i for i in range(size) if 0 <= row - i * stride < kernel]
        right = [i for i in range(size) if 0 <= column - i * stride < kernel]
    else:
        padding = dilation * (kernel // 2) if type == "involution" else 0
        line = arithmetic.touches(size, kernel, stride=stride, padding=padding, dilation=dilation)
        taps = [tap * dilation - padding for tap in range(kernel)]
        down = [row * stride + tap for tap in taps if 0 <= row * stride + tap < size]
        right = [column * stride + tap for tap in taps if 0 <= column * stride + tap < size]
    return {i * size + j: 1 for i in down for j in right}, [a * b for a in line for b in line]


def _samples(used, place, across):
    """Return where the taps of one place read, [(y, x), …] in half pixels.

    Each offset is −1, 0 or 1 half pixels, by a fixed rule that stands in for learned ones.
    """
    kernel, stride, dilation = used["kernel"], used["stride"], used["dilation"]
    row, column = place // across, place % across
    samples = []
    for k in range(kernel):
        for l in range(kernel):
            tap = k * kernel + l
            y = 2 * (row * stride + k * dilation) + (tap * 5 + place * 3) % 11 % 3 - 1
            samples.append((y, 2 * (column * stride + l * dilation) + (tap * 7 + place * 3 + 2) % 11 % 3 - 1))
    return samples


def _draw_grids(picture, type, size, across, counts, fed, place):
    """Draw input and output; a click on an output chooses it. Counts stand in the cells."""
    transposed = type == "transposed"
    left, top, cell = 10, 30, 26
    paper, ink = colour("paper"), colour("ink")
    picture.text(left, 20, "input" if transposed else "input, times used", 15, "start", "input", "600")
    picture.cells(left, top, size, size, cell, "input", "input", opacity=0.15)
    marks = "".join(f"M{left + i % size * cell} {top + i // size * cell}h{cell}v{cell}h-{cell}z" for i in fed)
    if marks:
        picture.path(marks, "kernel", "kernel", 2, opacity=0.35)
    if not transposed:
        for i in range(size * size):
            x, y = left + i % size * cell, top + i // size * cell
            if not counts[i]:
                picture.rect(x + 1, y + 1, cell - 2, cell - 2, "ignore", opacity=0.4)
            if type != "deformable" or i not in fed:
                picture.text(x + cell / 2, y + cell / 2 + 5, str(counts[i]), 14)
    cell = min(26, 200 // across)
    left = WIDTH - 10 - across * cell
    title = "output, times written" if transposed else "output"
    picture.text(WIDTH - 10, 20, title, 15, "end", "output", "600")
    picture.cells(left, top, across, across, cell, "output", "output", opacity=0.15)
    x, y = left + place % across * cell, top + place // across * cell
    picture.rect(x, y, cell, cell, "output", opacity=0.9)
    if transposed:
        for i in range(across * across):
            x, y = left + i % across * cell, top + i // across * cell
            if not counts[i] and i != place:
                picture.rect(x + 1, y + 1, cell - 2, cell - 2, "ignore", opacity=0.4)
            # by hand, as there are many: a transparent square to click on, and its count
            picture.parts.append(
                f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" fill-opacity="0" data-set="place={i}"/>'
                f'<text x="{x + cell // 2}" y="{y + cell // 2 + 5}" font-size="14" text-anchor="middle" '
                f'pointer-events="none" fill="{paper if i == place else ink}">{counts[i]}</text>'
            )
        return
    for i in range(across * across):
        x, y = left + i % across * cell, top + i // across * cell
        picture.rect(x, y, cell, cell, "output", opacity=0, set={"place": i})


def _draw_samples(picture, used, place, across):
    """Draw a dot where each tap of a deformable convolution reads, with its way from the grid."""
    for k, (y, x) in enumerate(_samples(used, place, across)):
        row = place // across * used["stride"] + k // used["kernel"] * used["dilation"]
        column = place % across * used["stride"] + k % used["kernel"] * used["dilation"]
        picture.line(23 + column * 26, 43 + row * 26, 23 + x * 13, 43 + y * 13, "kernel", 2)
        picture.circle(23 + x * 13, 43 + y * 13, 4, "kernel", "paper", 1)


def _draw_channels(picture, type, groups):
    """Draw which input channels feed which output channels, those of the first output strong."""
    stages = _wires(type, groups)
    rows = len(stages) + 1
    top, gap = 246, 84 / (rows - 1)
    for s, wires in enumerate(stages):
        y = top + s * gap
        for c, o in wires:
            strong = o == 0 or (rows == 3 and s == 0)
            picture.line(
                106 + c * 62, y, 106 + o * 62, y + gap, "kernel" if strong else "faint", 3 if strong else 1.5,
            )
    if type == "involution":
        for g in range(groups):
            x, width = 106 + g * 62 * CHANNELS / groups, 62 * (CHANNELS / groups - 1)
            picture.rect(x - 20, top - 16, width + 40, 116, "kernel", "kernel", 1.5, 10, opacity=0.1)
    for r in range(rows):
        role = "input" if r == 0 else "output" if r == rows - 1 else "kernel"
        words = "channels" if r == 0 else "filters" if r == rows - 1 else ""
        if type in ("spatially separable", "involution") and r == rows - 1:
            words = "channels"
        picture.text(80, top + r * gap + 5, words, 15, "end", role)
        for c in range(CHANNELS):
            picture.circle(106 + c * 62, top + r * gap, 10, "paper")
            picture.circle(106 + c * 62, top + r * gap, 10, role, role, 2, opacity=0.9 if c == 0 and r == rows - 1 else 0.3)


def _wires(type, groups):
    """Return for each step of a type the pairs (from, to) of channels that it joins."""
    single = [(c, c) for c in range(CHANNELS)]
    mixed = [(c, o) for o in range(CHANNELS) for c in range(CHANNELS)]
    if type in ("spatially separable", "involution"):
        return [single]
    if type == "depthwise separable":
        return [single, mixed]
    size = CHANNELS // groups
    return [[(c, o) for c, o in mixed if c // size == o // size]]


def _type_cost(type, size, across, used):
    """Return the weights and the multiply-adds for four channels, without biases."""
    kernel, groups, places = used["kernel"], used["groups"], across * across
    full = formulas.weights(CHANNELS, CHANNELS, kernel, groups)
    if type == "transposed":
        return full, full * size * size
    if type == "spatially separable":
        return 2 * kernel, CHANNELS * kernel * (across * size + places)
    if type == "depthwise separable":
        full = formulas.separable_weights(CHANNELS, CHANNELS, kernel)
    if type == "involution":
        return groups * kernel * kernel * CHANNELS, CHANNELS * kernel * kernel * places
    return full, full * places


def _type_in_words(type, size, across, used, place, fed, counts):
    kernel, stride, dilation, groups = used["kernel"], used["stride"], used["dilation"], used["groups"]
    many = "1 input pixel feeds" if len(fed) == 1 else f"{len(fed)} input pixels feed"
    words = f"{many} output ({place // across}, {place % across}) of {across} × {across}. "
    low, high = min(counts), max(counts)
    what = "Each output is written" if type == "transposed" else "Inputs are used"
    words += f"{what} {low} to {high} times. " if low < high else f"{what} {_times(low)}. "
    weights, work = _type_cost(type, size, across, used)
    if type == "deformable":
        words += "The offsets here are fixed; a layer learns them, and they differ from place to place. "
        words += f"{number(weights)} weights beside those that make the offsets, "
    elif type == "involution":
        words += f"One kernel a place and group; if a 1×1 convolution makes them it has {number(weights)} weights; "
    else:
        words += f"{number(weights)} weights, "
    words += f"{number(work)} multiply-adds. "
    if type == "grouped" and groups == CHANNELS:
        words += "With a group for each channel it is the depthwise convolution. "
    idle = [name for name in ("kernel", "dilation", "groups") if name not in TYPES[type]]
    if idle:
        words += "Idle here: " + ", ".join(idle) + ". "
    return words + "In PyTorch: " + _type_call(type, kernel, stride, dilation, groups)


def _times(count):
    return "once" if count == 1 else f"{count} times"


def _type_call(type, kernel, stride, dilation, groups):
    """Return the call of PyTorch that does it."""
    step = f", stride={stride}" if stride > 1 else ""
    apart = f", dilation={dilation}" if dilation > 1 else ""
    if type == "transposed":
        return f"nn.ConvTranspose2d(4, 4, {kernel}{step})"
    if type == "spatially separable":
        down, right = f", stride=({stride}, 1)" if stride > 1 else "", f", stride=(1, {stride})" if stride > 1 else ""
        return (
            f"F.conv2d(F.conv2d(x, column.expand(4, 1, {kernel}, 1){down}, groups=4), "
            f"row.expand(4, 1, 1, {kernel}){right}, groups=4)"
        )
    if type == "depthwise separable":
        return f"nn.Sequential(nn.Conv2d(4, 4, {kernel}{step}{apart}, groups=4), nn.Conv2d(4, 4, 1))"
    if type == "deformable":
        return f"torchvision.ops.deform_conv2d(x, offset, w{step}{apart})"
    if type == "involution":
        return (
            f"no layer; F.unfold(x, {kernel}{apart}, padding={dilation * (kernel // 2)}{step}) "
            f"times the kernels, summed over the {kernel * kernel} taps"
        )
    return f"nn.Conv2d(4, 4, {kernel}{step}{apart}" + (f", groups={groups})" if groups > 1 else ")")


# --- groups ------------------------------------------------------------------------------

PLACES = 56  # outputs along each axis, for the multiply-adds


@explorer(channels_in=range(1, 13), channels_out=range(1, 13), groups=range(1, 13), kernel=(1, 3, 5, 7), play="groups")
def groups(channels_in=8, channels_out=8, groups=2, kernel=3):
    """Which channels a filter sees when the channels are shared out to groups, and what that saves."""
    weights = formulas.weights(channels_in, channels_out, kernel, groups)
    whole = formulas.weights(channels_in, channels_out, kernel)
    label = f"{channels_in} channels, {channels_out} filters, {groups} groups"
    picture = Picture(WIDTH, 300, label)
    top, bottom = 46, 166
    width = 380 / groups
    into, out = channels_in // groups, channels_out // groups
    picture.text(10, 20, f"{channels_in} channels", 15, "start", "input", "600")
    picture.text(10, bottom + 36, f"{channels_out} filters", 15, "start", "output", "600")
    for g in range(groups):
        left = 10 + g * width
        picture.rect(left + 2, top - 16, width - 4, bottom - top + 32, "kernel", "none", 0, 8, opacity=0.12)
        wires = ""
        for c in range(into):
            for o in range(out):
                x, y = left + width * (c + 0.5) / into, left + width * (o + 0.5) / out
                wires += f"M{_place(x)} {top}L{_place(y)} {bottom}"
        picture.path(wires, "none", "kernel", 1.5)
        for count, y, role in ((into, top, "input"), (out, bottom, "output")):
            for c in range(count):
                picture.circle(left + width * (c + 0.5) / count, y, 9, role, "paper", 1.5)
    picture.text(10, 234, "weights", 15, "start")
    picture.text(10, 262, f"groups = {groups}", 15, "start")
    picture.text(10, 290, "groups = 1", 15, "start", "muted")
    for y, count, role in ((248, weights, "kernel"), (276, whole, "padding")):
        length = 206 * count / whole
        picture.rect(112, y, length, 18, role, radius=2)
        picture.text(118 + length, y + 14, number(count), 15, "start", weight="600" if role == "kernel" else None)
    return picture.svg(), _groups_in_words(channels_in, channels_out, groups, kernel, weights)


def _groups_in_words(channels_in, channels_out, groups, kernel, weights):
    into = channels_in // groups
    sees = "one channel" if into == 1 else f"{into} channels"
    words = f"{channels_out} · {channels_in}/{groups} · {kernel}² = {number(weights)} weights"
    if groups > 1:
        words += f", 1/{groups} of those of one group"
    words += f"; {number(weights * PLACES * PLACES)} multiply-adds for {PLACES} × {PLACES} outputs. "
    words += f"Each filter sees {sees}"
    words += ": the depthwise convolution. " if groups == channels_in and groups > 1 else ". "
    return words + (
        f"In PyTorch: nn.Conv2d({channels_in}, {channels_out}, {kernel}, padding={kernel // 2}, groups={groups}, "
        f"bias=False)"
    )


def _place(x):
    """Return a coordinate as text with one decimal, as a path takes it."""
    return number(x, 1).replace("−", "-")


# --- pixels in the data ------------------------------------------------------------------

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
VALUES = {LETTERS[i]: i for i in range(64)}


def _byte(text, index):
    """Return one byte of base64 text: a pixel of an image in the data."""
    start, part = index // 3 * 4, index % 3
    if part == 0:
        return VALUES[text[start]] * 4 + VALUES[text[start + 1]] // 16
    if part == 1:
        return VALUES[text[start + 1]] % 16 * 16 + VALUES[text[start + 2]] // 4
    return VALUES[text[start + 2]] % 4 * 64 + VALUES[text[start + 3]]


def _pixel(text, side, y, x):
    """Return a grey of a square image, 0 outside it."""
    return _byte(text, y * side + x) if 0 <= y < side and 0 <= x < side else 0


def _thinned(text, side, stride):
    """Return the base64 text of every `stride`-th pixel of every `stride`-th row."""
    out = []
    bits, filled = 0, 0
    for y in range(0, side, stride):
        for x in range(0, side, stride):
            index = y * side + x
            start, part = index // 3 * 4, index % 3
            if part == 0:
                value = VALUES[text[start]] * 4 + VALUES[text[start + 1]] // 16
            elif part == 1:
                value = VALUES[text[start + 1]] % 16 * 16 + VALUES[text[start + 2]] // 4
            else:
                value = VALUES[text[start + 2]] % 4 * 64 + VALUES[text[start + 3]]
            bits = bits * 256 + value
            filled += 1
            if filled == 3:
                out.append(LETTERS[bits // 262144] + LETTERS[bits // 4096 % 64])
                out.append(LETTERS[bits // 64 % 64] + LETTERS[bits % 64])
                bits, filled = 0, 0
    if filled == 1:
        out.append(LETTERS[bits // 4] + LETTERS[bits % 4 * 16] + "==")
    elif filled == 2:
        out.append(LETTERS[bits // 1024] + LETTERS[bits // 16 % 64] + LETTERS[bits % 16 * 4] + "=")
    return "".join(out)


def _grey(value):
    """Return the CSS colour of a grey from 0 to 255."""
    shade = str(min(255, max(0, int(value + 0.5))))
    return "rgb(" + shade + "," + shade + "," + shade + ")"


def _near(value):
    """Return a number with as many decimals as it needs, at most two."""
    return number(value, 0 if value == int(value) else 1 if value * 10 == int(value * 10) else 2)


# --- kernels on a photograph -------------------------------------------------------------

KERNELS = {  # taps row by row, what they are divided by, and how the sum becomes a grey
    "identity": ((0, 0, 0, 0, 1, 0, 0, 0, 0), 1),
    "box blur": ((1, 1, 1, 1, 1, 1, 1, 1, 1), 9),
    "Gaussian": ((1, 2, 1, 2, 4, 2, 1, 2, 1), 16),
    "sharpen": ((0, -1, 0, -1, 5, -1, 0, -1, 0), 1),
    "Sobel x": ((-1, 0, 1, -2, 0, 2, -1, 0, 1), 1),
    "Sobel y": ((-1, -2, -1, 0, 0, 0, 1, 2, 1), 1),
    "Laplacian": ((0, 1, 0, 1, -4, 1, 0, 1, 0), 1),
    "emboss": ((-2, -1, 0, -1, 1, 1, 0, 1, 2), 1),
}
DILATIONS = (1, 2, 4)
EYE = (24, 40)  # row and column of the pixel whose sum is written out


@explorer(kernel=tuple(KERNELS), dilation=DILATIONS, stride=(1, 2, 4))
def kernels_on_photograph(data, kernel="Sobel x", dilation=1, stride=1):
    """What well-known 3 × 3 kernels make of a photograph, with their taps apart and their steps long.

    `data` is that of `image_data.kernels_on_photograph`.
    """
    side = data["side"]
    taps, divisor = KERNELS[kernel]
    photograph = data["pixels"]["identity"][0]
    result = photograph if kernel == "identity" else data["pixels"][kernel][DILATIONS.index(dilation)]
    if stride > 1:
        result = _thinned(result, side, stride)
    places = shapes.output_size(side, 3, stride=stride, padding=dilation, dilation=dilation)
    picture = Picture(WIDTH, 352, f"A photograph and what the kernel {kernel} makes of it")
    edge = 186
    unit = edge / side
    picture.text(8, 20, f"input {side} × {side}", 15, "start", "input", "600")
    picture.text(WIDTH - 8, 20, f"output {places} × {places}", 15, "end", "output", "600")
    picture.image(8, 28, edge, edge, data["headers"][0] + photograph)
    picture.image(WIDTH - 8 - edge, 28, edge, edge, data["headers"][(1, 2, 4).index(stride)] + result)
    y, x = EYE
    total = 0
    for k in range(3):
        for l in range(3):
            v, u = y + (k - 1) * dilation, x + (l - 1) * dilation
            total += taps[3 * k + l] * _pixel(photograph, side, v, u)
            picture.rect(8 + u * unit - 0.5, 28 + v * unit - 0.5, unit + 1, unit + 1, "kernel", "paper", 0.7)
    picture.rect(
        WIDTH - 8 - edge + x * unit, 28 + y * unit, unit * stride, unit * stride, "none", "kernel", 2,
    )
    _draw_taps(picture, 8, 240, taps, divisor)
    mean = total / divisor
    zero = sum(taps) == 0
    for i, (line, role) in enumerate((
        (f"at row {y}, column {x}", "muted"),
        ("sum " + number(mean, 0 if divisor == 1 else 1), "kernel"),
        ("grey: 128 + sum / 4" if zero else "grey: the sum, 0 to 255", "ink"),
        (f"spans {2 * dilation + 1} × {2 * dilation + 1} pixels", "ink"),
    )):
        picture.text(192, 258 + 26 * i, line, 16, "start", role, "600" if i == 1 else None)
    call = f"F.conv2d(x, w, stride={stride}, padding={dilation}, dilation={dilation})"
    words = f"{kernel}: at row {y}, column {x} of the photograph the nine products sum to "
    words += number(mean, 0 if divisor == 1 else 1) + ". "
    words += "Its taps sum to 0, so an even area gives 0, shown as middle grey. " if zero else (
        "Its taps sum to 1, so an even area stays as it is. "
    )
    return picture.svg(), words + f"{places} × {places} outputs. In PyTorch: {call}"


def _draw_taps(picture, left, top, taps, divisor):
    """Draw a 3 × 3 kernel with its numbers: orange for positive taps, purple for negative ones."""
    width, height, largest = 44, 32, max(abs(tap) for tap in taps)
    for i, tap in enumerate(taps):
        x, y = left + i % 3 * width, top + i // 3 * height
        role = "negative" if tap < 0 else "kernel"
        picture.rect(x, y, width, height, role, "faint", 1, opacity=0.55 * abs(tap) / largest)
        picture.text(x + width / 2, y + height / 2 + 6, number(tap), 16, weight="600" if tap else None)
    if divisor > 1:
        picture.text(left + 3 * width + 6, top + 54, f"/ {divisor}", 16, "start")


# --- the rank of a kernel ----------------------------------------------------------------

RANKED = ("Gaussian", "Sobel", "Laplacian of Gaussian", "disc", "diagonal", "Gabor at 45°", "random")
SIZE = 7  # of these kernels


@explorer(kernel=RANKED, terms=range(1, SIZE + 1), play="terms")
def rank(data, kernel="disc", terms=1):
    """A kernel as a sum of columns times rows: what the first terms give, and what they cost.

    `data` is that of `image_data.rank`: for each kernel its taps and its singular triplets.
    """
    case = data[kernel]
    sigma = case["sigma"]
    whole = case["taps"]
    near = [0] * (SIZE * SIZE)
    for t in range(terms):
        column, row = case["u"][t], case["v"][t]
        for k in range(SIZE):
            for l in range(SIZE):
                near[k * SIZE + l] += sigma[t] * column[k] * row[l]
    energy = sum(value * value for value in sigma)
    error = (sum(value * value for value in sigma[terms:]) / energy) ** 0.5
    full = sum(1 for value in sigma if value > 0)
    cost = 2 * SIZE * terms
    picture = Picture(WIDTH, 330, f"The kernel {kernel} and its best sum of {terms} separable terms")
    largest = max(abs(value) for value in whole)
    kept = "1 term" if terms == 1 else f"{terms} terms"
    for i, (title, role, values) in enumerate((
        ("kernel", "kernel", whole), (kept, "output", near), ("left over", "ignore", None),
    )):
        left = 10 + i * 130
        picture.text(left + 60, 20, title, 15, fill=role, weight="600")
        if values is None:
            values = [whole[j] - near[j] for j in range(SIZE * SIZE)]
        _draw_values(picture, left, 28, SIZE, 17, values, largest)
    picture.text(10, 180, "singular values", 15, "start")
    for t in range(SIZE):
        x, height = 10 + t * 24, 74 * sigma[t] / sigma[0]
        role = "output" if t < terms else "ignore"
        picture.rect(x, 186, 21, 92, "paper", opacity=0, set={"terms": t + 1}, title=number(sigma[t], 3))
        picture.rect(x, 276 - max(2, height), 21, max(2, height), role, set={"terms": t + 1})
        picture.text(x + 10.5, 294, str(t + 1), 14, fill="ink" if t < terms else "muted")
    picture.text(200, 180, "multiplications a pixel", 15, "start")
    for y, count, role, words in ((192, cost, "output", kept), (236, SIZE * SIZE, "kernel", "whole")):
        picture.rect(200, y, 140 * count / (2 * SIZE * SIZE), 18, role, radius=2)
        picture.text(206 + 140 * count / (2 * SIZE * SIZE), y + 14, str(count), 15, "start", weight="600")
        picture.text(200, y + 35, words, 14, "start", "muted")
    picture.text(200, 300, f"error {number(100 * error, 1)}%", 17, "start", "ignore" if error > 0.0005 else "output", "600")
    words = f"{kernel}, {SIZE} × {SIZE}, has rank {full}. "
    words += f"The best sum of {kept} leaves {number(100 * error, 1)}% of its norm, at {cost} multiplications a pixel"
    words += f" (2 · {SIZE} a term) against {SIZE * SIZE}. "
    if terms >= full:
        words += "Nothing is lost. " if terms == full else "The last terms add nothing. "
    return picture.svg(), words + "In PyTorch: U, S, Vh = torch.linalg.svd(kernel)"


def _draw_values(picture, left, top, side, cell, values, largest):
    """Draw a matrix as cells: orange for positive values, purple for negative, the larger the stronger."""
    shades = {}  # cells of one shade are one path: forty steps, from purple to orange
    for i, value in enumerate(values):
        shade = int(min(20.5, abs(value) * 20 / largest + 0.5))
        if shade:
            d = f"M{left + i % side * cell} {top + i // side * cell}h{cell}v{cell}h-{cell}z"
            shade = -shade if value < 0 else shade
            shades[shade] = shades.get(shade, "") + d
    picture.cells(left, top, side, side, cell, "paper", "faint", 0.7)
    for shade in shades:
        picture.path(shades[shade], "negative" if shade < 0 else "kernel", opacity=abs(shade) / 20)


# --- the sampling points of a deformable convolution -------------------------------------

SPACING = 8  # the dilation: pixels between neighbouring taps
FREE = (-3, 2, 1, -2, -3, 1, 2, 3, 0, 0, 3, -1, -1, -3, 2, 2, 1, 3)  # Δy, Δx of each tap for amount 3


@explorer(
    shape=("regular", "scaled", "rotated", "bent", "free"), amount=range(0, 9), y=range(0, 96), x=range(0, 96),
    play="amount",
)
def sampling_points(data, shape="rotated", amount=3, y=42, x=38):
    """Where the nine taps of a deformable convolution read a photograph.

    `data` is that of `image_data.sampling_points`.
    """
    side, text = data["side"], data["pixels"]
    offsets = _offsets(shape, amount)
    scale = 276 / side
    left, top = 8, 8
    picture = Picture(WIDTH, 292, f"Nine sampling points, {shape}, round row {y} and column {x}")
    picture.image(left, top, 276, 276, data["header"] + text)
    plain, moved, dots, outside = [], [], [], 0
    for i in range(9):
        v, u = y + (i // 3 - 1) * SPACING, x + (i % 3 - 1) * SPACING
        plain.append(_pixel(text, side, v, u))
        dy, dx = offsets[i]
        corners = formulas.bilinear_corners(v + dy, u + dx, side, side)
        outside += len(corners) == 0
        moved.append(sum(weight * _pixel(text, side, r, c) for r, c, weight in corners))
        at = left + (u + 0.5) * scale, top + (v + 0.5) * scale
        to = left + (u + dx + 0.5) * scale, top + (v + dy + 0.5) * scale
        if 0 <= at[0] <= left + 276 and 0 <= at[1] <= 284 and shape != "regular":
            picture.line(at[0], at[1], min(to[0], 392), min(max(to[1], 2), 290), "paper", 2)
            picture.circle(at[0], at[1], 3.5, "input", "paper", 1.2)
        dots.append(to)
    drag = {"x": ("x", left + 0.5 * scale, scale), "y": ("y", top + 0.5 * scale, scale)}
    for i, (u, v) in enumerate(dots):
        if 2 <= u <= 290 and 2 <= v <= 290:
            picture.circle(u, v, 6.5, "kernel", "paper", 1.8)
    picture.rect(
        left + (x + 0.5) * scale - 14, top + (y + 0.5) * scale - 14, 28, 28, "paper", "output", 2.5, 5, opacity=0,
        drag=drag, title="drag the place",
    )
    for top, title, role, values in ((30, "regular", "input", plain), (176, shape, "kernel", moved)):
        picture.text(344, top - 10, title, 15, fill=role, weight="600")
        for i, value in enumerate(values):
            picture.rect(296 + i % 3 * 32, top + i // 3 * 32, 32, 32, _grey(value), "none")
        picture.rect(296, top, 96, 96, "none", role, 2)
    listed = ", ".join(f"({_near(dy)}, {_near(dx)})" for dy, dx in offsets)
    words = f"At row {y}, column {x} the mean of the nine samples is {number(sum(moved) / 9, 1)}"
    words += f"; of the regular grid {number(sum(plain) / 9, 1)}. " if shape != "regular" else ". "
    words += "All offsets are 0. " if shape == "regular" else f"Offsets (Δy, Δx): {listed}. "
    if outside:
        many = "1 point lies" if outside == 1 else f"{outside} points lie"
        words += f"{many} outside the photograph and count as 0. "
    return picture.svg(), words + (
        f"In PyTorch: torchvision.ops.deform_conv2d(x, offset, w, padding={SPACING}, dilation={SPACING})"
    )


def _offsets(shape, amount):
    """Return [(Δy, Δx), …] in pixels for the nine taps, the same at each place."""
    if shape == "scaled":
        return [((i // 3 - 1) * amount, (i % 3 - 1) * amount) for i in range(9)]
    if shape == "rotated":  # by 7.5° a step; three decimals, so that every machine has the same
        a, b = COSINES[amount] / 1000, COSINES[12 - amount] / 1000
        turned = formulas.bent_taps(a, -b)
        return [
            ((turned[i][0] - (i // 3 - 1)) * SPACING, (turned[i][1] - (i % 3 - 1)) * SPACING) for i in range(9)
        ]
    if shape == "bent":  # the side columns sink, the middle one rises
        return [(amount * (1 if i % 3 != 1 else -1), 0) for i in range(9)]
    if shape == "free":
        return [(FREE[2 * i] * amount / 4, FREE[2 * i + 1] * amount / 4) for i in range(9)]
    return [(0, 0)] * 9


COSINES = (1000, 991, 966, 924, 866, 793, 707, 609, 500, 383, 259, 131, 0)  # of 0°, 7.5° … 90°, thousandths


# --- the kernels of an involution --------------------------------------------------------

NAMES = ("grey", "red", "green", "blue")  # the four channels; a group has two of them
# A kernel is W₁ · ReLU(W₀ · pixel + bias): two hidden numbers, dark = 1 − v and light = v, where v is
# the mean of the group's two channels at the pixel (0 to 1); each is a template's share.
TEMPLATES = (
    ((1, 2, 1, 2, 4, 2, 1, 2, 1), 16, (0, -1, 0, -1, 5, -1, 0, -1, 0), 1),  # dark: blur; light: sharpen
    ((-1, 0, 1, -2, 0, 2, -1, 0, 1), 4, (-1, -2, -1, 0, 0, 0, 1, 2, 1), 4),  # dark: Sobel x; light: Sobel y
)
SPOTS = ((12, 6), (13, 32), (30, 36), (30, 58), (58, 32))  # row and column: a flag, the cap, the face, the sky, the coat


def involution_kernel(pixel, group):
    """Return the nine taps that a pixel's four channels (0 to 255) generate for a group."""
    v = (pixel[2 * group] + pixel[2 * group + 1]) / 510
    dark, by, light, over = TEMPLATES[group]
    return [(1 - v) * dark[i] / by + v * light[i] / over for i in range(9)]


@explorer(y=range(0, 64), x=range(0, 64), group=(0, 1))
def involution_kernels(data, y=30, x=36, group=0):
    """The kernel that a pixel makes for its own place, and those of five other places.

    `data` is that of `image_data.involution_kernels`.
    """
    side = data["side"]
    pixels = data["pixels"]
    at = lambda v, u: [_pixel(channel, side, v, u) for channel in pixels]  # noqa: E731
    taps = involution_kernel(at(y, x), group)
    scale, left, top, edge = 3, 8, 28, 192
    picture = Picture(WIDTH, 398, f"The kernel of group {group} that the pixel at row {y}, column {x} makes")
    picture.text(left, 20, "drag the place", 15, "start", "muted")
    picture.image(left, top, edge, edge, data["photograph"])
    for i, (v, u) in enumerate(SPOTS):
        picture.circle(left + (u + 0.5) * scale, top + (v + 0.5) * scale, 10, "paper", "ink", 1, set={"y": v, "x": u})
        picture.text(left + (u + 0.5) * scale, top + (v + 0.5) * scale + 5, str(i + 1), 14, set={"y": v, "x": u})
    half = 1.5 * scale + 4
    cx, cy = left + (x + 0.5) * scale, top + (y + 0.5) * scale
    drag = {"x": ("x", left + 0.5 * scale, scale), "y": ("y", top + 0.5 * scale, scale)}
    picture.rect(cx - half, cy - half, 2 * half, 2 * half, "paper", "kernel", 3, 2, opacity=0.1, drag=drag)
    picture.text(WIDTH - 8, 20, "its kernel", 15, "end", "kernel", "600")
    for i, tap in enumerate(taps):
        u, v = 218 + i % 3 * 58, 28 + i // 3 * 34
        role = "negative" if tap < 0 else "kernel"
        picture.rect(u, v, 58, 34, role, "faint", 1, opacity=min(0.8, abs(tap) / (3, 0.8)[group]))
        picture.text(u + 29, v + 23, number(tap, 2), 16)
    outputs = []
    for c in (0, 1):
        channel = pixels[2 * group + c]
        patch = [_pixel(channel, side, y + i // 3 - 1, x + i % 3 - 1) for i in range(9)]
        outputs.append(sum(patch[i] * taps[i] for i in range(9)))
        u = 218 + c * 93
        picture.text(u + 39, 160, NAMES[2 * group + c], 15, fill="input", weight="600")
        for i, value in enumerate(patch):
            picture.rect(u + i % 3 * 27, 168 + i // 3 * 18, 27, 18, _grey(value), "none")
        picture.rect(u, 168, 81, 54, "none", "input", 1.5)
        picture.text(u + 40, 246, "→ " + number(outputs[c], 1), 16, fill="output", weight="600")
    picture.line(8, 262, WIDTH - 8, 262, "faint", 1)
    picture.text(8, 284, "involution: another kernel at each place", 15, "start")
    for i, (v, u) in enumerate(SPOTS):
        _draw_values(picture, 24 + i * 76, 292, 3, 17, involution_kernel(at(v, u), group), (2, 0.5)[group])
        picture.text(49 + i * 76, 362, str(i + 1), 15, fill="muted")
    picture.text(8, 388, "convolution: the same kernel at all five", 15, "start", "muted")
    made = ", ".join(str(value) for value in at(y, x))
    return picture.svg(), (
        f"The pixel at row {y}, column {x} ({made} in grey, red, green, blue) makes the kernel of group {group}, "
        f"shared by {NAMES[2 * group]} and {NAMES[2 * group + 1]}: outputs {number(outputs[0], 1)} and "
        f"{number(outputs[1], 1)}. A convolution has the same kernels at each place, and others for each channel. "
        f"In PyTorch: (F.unfold(x, 3, padding=1).view(N, G, C // G, 9, H, W) * kernel.view(N, G, 1, 9, H, W)).sum(3)"
    )
