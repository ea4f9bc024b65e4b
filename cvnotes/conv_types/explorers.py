"""The explorers of the types of convolution: plain Python on the chapter's formulas.

What needs the photograph or a singular value decomposition is made by `image_data`.
"""

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas as arithmetic
from cvnotes.conv_types import formulas
from cvnotes.explorer import Picture, explorer, number

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


def _shift(tap, place, turn):
    """Return the offset of a tap in half pixels, −1 to 1, a fixed stand-in for learned ones."""
    return (tap * (3 + turn) + place * (2 + turn) + turn) % 3 - 1


def _uses(type, size, across, used, place):
    """Return the inputs that feed the output `place`, as {row · size + column: weights}, and the counts.

    The counts say how often all places use each input; for a transposed convolution, how many
    inputs write into each output.
    """
    kernel, stride, dilation = used["kernel"], used["stride"], used["dilation"]
    row, column = place // across, place % across
    if type == "deformable":
        counts, fed = [0] * (size * size), {}
        for one in range(across * across):
            for y, x in _samples(used, one, across):
                for v in (y // 2, y // 2 + 1) if y % 2 else (y // 2,):
                    for u in (x // 2, x // 2 + 1) if x % 2 else (x // 2,):
                        if 0 <= v < size and 0 <= u < size:
                            counts[v * size + u] += 1
                            if one == place:
                                fed[v * size + u] = fed.get(v * size + u, 0) + 1
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
    """Return where the taps of one place read, [(y, x), …] in half pixels."""
    kernel, stride, dilation = used["kernel"], used["stride"], used["dilation"]
    row, column = place // across, place % across
    return [
        (
            2 * (row * stride + k * dilation) + _shift(k * kernel + l, place, 0),
            2 * (column * stride + l * dilation) + _shift(k * kernel + l, place, 1),
        )
        for k in range(kernel) for l in range(kernel)
    ]


def _draw_grids(picture, type, size, across, counts, fed, place):
    """Draw input and output; a click on an output chooses it. Counts stand in the cells."""
    transposed = type == "transposed"
    left, top, cell = 10, 30, 26
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
            picture.text(x + cell / 2, y + cell / 2 + 5, str(counts[i]), 14)
    room = 260 if transposed else 182
    cell = min(26, room // across)
    left = WIDTH - 10 - across * cell
    title = "output, times written" if transposed else "output"
    picture.text(WIDTH - 10, 20, title, 15, "end", "output", "600")
    for i in range(across * across):
        x, y = left + i % across * cell, top + i // across * cell
        chosen = i == place
        picture.rect(
            x, y, cell, cell, "output", "output", 1, opacity=0.9 if chosen else 0.15, set={"place": i},
        )
        if transposed:
            empty = not counts[i]
            if empty and not chosen:
                picture.rect(x + 1, y + 1, cell - 2, cell - 2, "ignore", opacity=0.4, set={"place": i})
            fill = "paper" if chosen else "ink"
            picture.text(x + cell / 2, y + cell / 2 + 5, str(counts[i]), 14, fill=fill, set={"place": i})


def _draw_samples(picture, used, place, across):
    """Draw a dot where each tap of a deformable convolution reads, with its way from the grid."""
    for k, (y, x) in enumerate(_samples(used, place, across)):
        across_x, down_y = 23 + x * 13, 43 + y * 13
        from_x = across_x - _shift(k, place, 1) * 13
        from_y = down_y - _shift(k, place, 0) * 13
        picture.line(from_x, from_y, across_x, down_y, "kernel", 2)
        picture.circle(across_x, down_y, 4, "kernel", "paper", 1)


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
    words += f"{what} {low} to {high} times. " if low < high else f"{what} {_times(low)} each. ".replace(
        "written " + _times(low) + " each", "written " + _times(low)
    )
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
