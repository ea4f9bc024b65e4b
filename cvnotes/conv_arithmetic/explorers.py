"""The explorers of convolution arithmetic: plain Python on the chapter's formulas."""

import math

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas
from cvnotes.explorer import Picture, explorer, number

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone


@explorer(size=range(3, 13), kernel=range(1, 8), stride=range(1, 5), padding=range(0, 5), dilation=range(1, 4))
def output_size(size=7, kernel=3, stride=1, padding=0, dilation=1):
    """The window's walk along one axis: what each place sees, and what no place ever sees."""
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    places = shapes.output_size(size, kernel, **options)
    counts = formulas.touches(size, kernel, **options)
    unseen = [pixel for pixel in range(size) if not counts[pixel]]
    label = f"{places} places of a kernel of {kernel} on {size} input pixels"
    return _walk(label, size, kernel, places, unseen, options), _walk_in_words(
        size, kernel, places, unseen, options
    )


def _walk(label, size, kernel, places, unseen, options):
    """Return the picture: the padded input on top, below it a row for each place of the kernel."""
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    cells = size + 2 * padding
    cell = min(34, 328 // cells)
    gap, row = 22, 24 if places <= 10 else 17
    left = (WIDTH - cells * cell - gap - 34) / 2
    top, first = 30, 30 + cell + 12
    right = left + cells * cell + gap
    picture = Picture(WIDTH, max(first + places * row + 28, 170), label)
    for pixel in unseen:
        x = left + (padding + pixel) * cell
        picture.rect(x, top, cell, first - top + places * row, "ignore", opacity=0.22)
    picture.cells(left, top, 1, cells, cell, "padding", opacity=0.25, stroke="padding")
    picture.cells(left + padding * cell, top, 1, size, cell, "input", opacity=0.4, stroke="input")
    for pixel in range(size):
        x = left + (padding + pixel) * cell
        if pixel in unseen:
            picture.rect(x, top, cell, cell, "ignore", "ink", 1.5)
        picture.text(x + cell / 2, top + cell / 2 + 5, str(pixel), 15 if cell > 20 else 13)
    for i in range(padding):
        for x in (left + i * cell, left + (padding + size + i) * cell):
            picture.text(x + cell / 2, top + cell / 2 + 5, "0", 14, fill="muted")
    picture.text(left, 20, "input with padding" if padding else "input", 15, "start")
    picture.text(right + 34, 20, "output", 15, "end", fill="output")
    bar = row - 7
    for place in range(places):
        x, y = left + place * stride * cell, first + place * row
        span = ((kernel - 1) * dilation + 1) * cell
        picture.line(x + 4, y + bar / 2, right, y + bar / 2, "faint", 1.5)
        picture.line(x + 4, y + bar / 2, x + span - 4, y + bar / 2, "kernel", 2)
        taps = "".join(f"M{x + tap * dilation * cell + 2} {y}h{cell - 4}v{bar}h{4 - cell}z" for tap in range(kernel))
        picture.path(taps, "kernel")
        picture.rect(right, y - 2, 34, bar + 4, "output", radius=3)
        picture.text(right + 17, y + bar / 2 + 5, str(place), 14, fill="paper", weight="600")
    dropped = formulas.remainder(size, kernel, **options)
    if dropped:
        x, y = left + (cells - dropped) * cell, first + places * row + 2
        picture.path(f"M{x + 1} {y}v6h{dropped * cell - 2}v-6", "none", "ink", 1.5)
        picture.text(min(x + dropped * cell / 2, WIDTH - 80), y + 22, "dropped by the floor", 14)
    return picture.svg()


def _walk_in_words(size, kernel, places, unseen, options):
    """Return the formula with its numbers, what is never seen, and the call in PyTorch."""
    stride, padding, dilation = options["stride"], options["padding"], options["dilation"]
    top = size + 2 * padding - dilation * (kernel - 1) - 1
    words = f"⌊({size} + 2·{padding} − {dilation}·({kernel} − 1) − 1) / {stride}⌋ + 1 = ⌊{top}/{stride}⌋ + 1 = "
    words += "1 output. " if places == 1 else f"{places} outputs. "
    if not unseen:
        words += "Every input pixel is seen. "
    elif len(unseen) == 1:
        words += f"Pixel {unseen[0]} is never seen. "
    else:
        words += "Pixels " + ", ".join(str(pixel) for pixel in unseen) + " are never seen. "
    return words + (
        f"In PyTorch: nn.Conv2d(C, O, kernel_size={kernel}, stride={stride}, padding={padding}, dilation={dilation})"
    )


# --- the size of a transposed convolution ------------------------------------------------


@explorer(size=range(1, 6), kernel=range(1, 6), stride=range(1, 5), padding=range(0, 3), output_padding=range(0, 4))
def transposed_size(size=3, kernel=3, stride=2, padding=0, output_padding=0):
    """Each input of a transposed convolution lays down a kernel; the padding is cut off at the ends."""
    options = {"stride": stride, "padding": padding}
    made = shapes.transposed_output_size(size, kernel, output_padding=output_padding, **options)
    full = (size - 1) * stride + kernel
    cells = max(full, padding + made)
    cell = min(34, 336 // cells)
    left, top, row = 50 + (340 - cells * cell) / 2, 38, 24
    picture = Picture(WIDTH, top + 5 * row + 78, f"{size} inputs become {made} outputs")
    picture.text(left - 26, 22, "input", 15, fill="input")
    counts = [0] * cells
    for place in range(size):
        x, y = left + place * stride * cell, top + place * row
        for tap in range(kernel):
            counts[place * stride + tap] += 1
        picture.line(left - 26, y + 8, x, y + 8, "faint", 1.5)
        picture.rect(left - 40, y - 2, 28, 20, "input", radius=3)
        picture.text(left - 26, y + 13, str(place), 14, fill="paper", weight="600")
        picture.path("".join(f"M{x + tap * cell + 2} {y}h{cell - 4}v16h{4 - cell}z" for tap in range(kernel)), "kernel")
    y = top + size * row + 8
    for i in range(cells):
        x, kept = left + i * cell, padding <= i < padding + made
        role = ("output" if counts[i] else "ignore") if kept else "padding"
        picture.rect(x, y, cell, cell, role, role, 1.5, opacity=0.4 if kept else 0.12)
        if kept and (cell > 19 or (i - padding) % 2 == 0):  # too narrow cells: every other number
            picture.text(x + cell / 2, y + cell / 2 + 5, str(i - padding), 15 if cell > 20 else 13)
        if not kept:
            picture.line(x + 3, y + 3, x + cell - 3, y + cell - 3, "padding", 1.5)
            picture.line(x + 3, y + cell - 3, x + cell - 3, y + 3, "padding", 1.5)
    picture.text(left + (padding + made / 2) * cell, y + cell + 20, "output", 15, fill="output")
    return picture.svg(), _transposed_in_words(size, kernel, made, output_padding, counts, options)


def _transposed_in_words(size, kernel, made, output_padding, counts, options):
    """Return the formula, the sizes that share these outputs, and the call in PyTorch."""
    stride, padding = options["stride"], options["padding"]
    words = f"({size} − 1)·{stride} − 2·{padding} + ({kernel} − 1) + {output_padding} + 1 = {made}. "
    sizes = formulas.sizes_with_output(size, kernel, **options)
    if len(sizes) == 1:
        words += f"Only {sizes[0]} pixels become {size} in the convolution that this one turns back. "
    else:
        listed = ", ".join(str(one) for one in sizes[:-1]) + " and " + str(sizes[-1])
        words += f"The convolution that this one turns back makes {size} of {listed} pixels alike; you chose {made}. "
    bare = [str(i) for i in range(made) if not counts[padding + i]]
    if bare:
        words += f"No kernel reaches output {', '.join(bare)}: only the bias stands there. "
    return words + (
        f"In PyTorch: nn.ConvTranspose2d(C, O, kernel_size={kernel}, stride={stride}, padding={padding}, "
        f"output_padding={output_padding})"
    )


# --- the receptive field -----------------------------------------------------------------


@explorer(network=("AlexNet", "VGG-16", "ResNet-18"), layer=range(1, 19), play="layer")
def receptive_field(network="VGG-16", layer=7):
    """What one output sees of the image, layer by layer through three well-known networks."""
    layers, size = formulas.layers_of(network), formulas.INPUT_SIZES[network]
    asked, layer = layer, min(layer, len(layers))
    fields = shapes.receptive_field(layers)
    field, jump, start = fields[layer - 1]
    outputs = formulas.stack_sizes(size, layers[:layer])[-1]
    name = formulas.NETWORKS[network][layer - 1][0]
    label = f"One output of {name} of {network} sees {field} by {field} of {size} by {size} pixels"
    picture = Picture(WIDTH, 352, label)
    _draw_field(picture, size, fields, layer, outputs)
    lines = (
        (f"{layer}  {name}", "ink"), (f"field {field} × {field}", "kernel"), (f"jump {jump}", "output"),
        (f"start {_plain(start)}", "ink"), (f"{outputs} × {outputs} outputs", "ink"),
    )
    for i, (line, role) in enumerate(lines):
        picture.text(236, 44 + 28 * i, line, 17, "start", role, "600" if i < 2 else None)
    _draw_growth(picture, fields, layer)
    words = f"{network} has {len(layers)} layers, so this is the last. " if asked > layer else ""
    words += f"{name} is layer {layer} of {len(layers)} in {network}. One output sees {field} × {field} pixels"
    if field > size:
        words += f", more than the image has with its {size} × {size}; the rest is padding. "
    else:
        words += f" of {size} × {size}. "
    apart = "1 pixel" if jump == 1 else f"{jump} pixels"
    words += f"The centres of two neighbours lie {apart} apart; the first is at {_plain(start)}. "
    kernel, stride, padding, _ = layers[layer - 1]
    kind = "nn.MaxPool2d(" if name.startswith("pool") else "nn.Conv2d(C, O, "
    return picture.svg(), words + f"In PyTorch: {kind}kernel_size={kernel}, stride={stride}, padding={padding})"


def _draw_field(picture, size, fields, layer, outputs):
    """Draw the image, the field of the middle output, that of its neighbour, and the centres."""
    field, jump, start = fields[layer - 1]
    middle = (outputs - 1) // 2
    place = lambda p: start + p * jump - field / 2  # noqa: E731  the first pixel that output p sees
    whole = max(size, fields[-1][0])
    scale, x0 = 200 / whole, 10 + 200 * (whole - size) / 2 / whole
    y0 = x0 - 2
    picture.rect(x0, y0, size * scale, size * scale, "input", "input", 2, opacity=0.22)
    if outputs <= 14:
        centres = [(start + i * jump) * scale - 1.5 for i in range(outputs)]
        columns = [_place(x0 + centre) for centre in centres]
        rows = [_place(y0 + centre) for centre in centres]
        picture.path("".join("M" + x + " " + y + "h3v3h-3z" for x in columns for y in rows), "output")
    corner, side = place(middle) * scale, field * scale
    if outputs > 1:
        picture.rect(x0 + place(middle + 1) * scale, y0 + corner, side, side, "none", "kernel", 1.5, dash="5 4")
    picture.rect(x0 + corner, y0 + corner, side, side, "kernel", "kernel", 2.5, opacity=0.3)


def _draw_growth(picture, fields, layer):
    """Draw a bar for the field after each layer; a click on a bar goes to its layer."""
    width, base, tallest = 380 / len(fields), 328, 78
    picture.text(10, 238, "field after each layer", 15, "start", "muted")
    for i, (field, _, _) in enumerate(fields):
        x, height = 10 + i * width, max(2, field * tallest / fields[-1][0])
        here = i == layer - 1
        picture.rect(
            x + 1.5, base - height, width - 3, height, "kernel", opacity=1 if here else 0.4, set={"layer": i + 1},
            title=str(field),
        )
        if here or len(fields) < 12:
            picture.text(x + width / 2, base - height - 5, str(field), 14, weight="600" if here else None)
        picture.text(x + width / 2, base + 17, str(i + 1), 13, fill="ink" if here else "muted")


def _plain(x):
    """Return a number that is a multiple of a half as text."""
    return number(x, 0 if x == int(x) else 1)


def _place(x):
    """Return a coordinate as text with one decimal, as a path takes it."""
    return number(x, 1).replace("−", "-")


# --- the effective receptive field -------------------------------------------------------


@explorer(layers=range(1, 21), weights=("equal", "random", "random with ReLU"), play="layers")
def effective_field(data, layers=8, weights="equal"):
    """How strongly the middle output depends on each column of pixels, under the theoretical field.

    `data` holds, for each kind of weights, one profile a depth: from the middle pixel to the
    border of the theoretical field, the middle being 1.
    """
    half = data[weights][layers - 1]
    profile = half[:0:-1] + half
    field, total = len(profile), sum(profile)
    spread = math.sqrt(sum(value * (i - layers) ** 2 for i, value in enumerate(profile)) / total)
    cell, base, tallest = 9, 206, 180
    left = (WIDTH - field * cell) / 2
    picture = Picture(WIDTH, 282, f"The gradient at the input of {layers} layers, with a bell curve over it")
    for i, value in enumerate(profile):
        inside = abs(i - layers) <= 2 * spread
        height, opacity = value * tallest, 0.85 if inside else 0.35
        picture.rect(left + i * cell + 1, base - height, cell - 2, height, "input", opacity=opacity)
    middle = WIDTH / 2
    points = []
    for step in range(-40, 41):
        offset = step * (layers + 0.5) / 40
        points.append((middle + offset * cell, base - math.exp(-(offset**2) / (2 * spread**2)) * tallest))
    picture.curve(points, "ink", 1.5, dash="4 3")
    picture.line(8, base, WIDTH - 8, base, "faint", 1.5)
    for y, width, role, words in (
        (base + 16, field * cell, "kernel", f"theoretical {field}"),
        (base + 52, 4 * spread * cell, "input", f"effective {number(4 * spread, 1)}"),
    ):
        picture.line(middle - width / 2, y, middle + width / 2, y, role, 4)
        picture.text(middle, y + 19, words, 16, fill=role, weight="600")
    share = number(400 * spread / field)
    end = f"as √({layers}·(3² − 1)/12) says. " if weights == "equal" else "measured by the gradient. "
    stack = "1 layer" if layers == 1 else f"{layers} layers"
    return picture.svg(), (
        f"{stack} of 3 × 3, {weights} weights: an output can see {field} pixels. Its standard deviation is "
        f"{number(spread, 2)} pixels, {end}Four of them, {number(4 * spread, 1)} pixels, are {share}% of the field."
    )


# --- a convolution as a matrix -----------------------------------------------------------

IMAGE = [0, 0, 7, 9, 0, 0, 0, 6, 9, 9, 0, 0, 4, 9, 5, 9, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 9, 2, 0, 0, 6, 9, 9, 9, 7]
SIDE = 6  # of `IMAGE`, a handwritten one


@explorer(kernel=range(1, SIDE + 1), row=range(0, SIDE * SIDE), play="kernel")
def toeplitz(kernel=3, row=5):
    """A convolution as a matrix on a 6 × 6 image, and what equal weights leave of the image."""
    places = SIDE - kernel + 1
    row = min(row, places * places - 1)
    rows = [formulas.matrix_row(SIDE, kernel, i) for i in range(places * places)]
    output = [sum(IMAGE[column] for column in columns) / kernel**2 for columns in rows]
    picture = Picture(WIDTH, 300, f"The matrix of a {kernel} by {kernel} kernel on a {SIDE} by {SIDE} image")
    picture.text(59, 22, "input", 15, fill="input")
    _draw_image(picture, 8, 32, 17, SIDE, IMAGE, "input")
    top, left = row // places, row % places
    picture.rect(8 + left * 17, 32 + top * 17, kernel * 17, kernel * 17, "none", "kernel", 3)
    picture.text(59, 168, "output", 15, fill="output")
    corner = 59 - places * 8
    for i, value in enumerate(output):
        x, y = corner + i % places * 16, 178 + i // places * 16
        picture.rect(x, y, 16, 16, "output", "faint", 1, opacity=value / 9, set={"row": i})
    picture.rect(corner + left * 16, 178 + top * 16, 16, 16, "none", "kernel", 3)
    x0, y0, cell = 134, 32, 7
    width, height = SIDE * SIDE * cell, places * places * cell
    picture.text(x0 + width / 2, 22, f"matrix {places * places} × {SIDE * SIDE}", 15)
    picture.rect(x0, y0, width, height, "paper")
    for tap in range(kernel * kernel):
        d = "".join(f"M{x0 + columns[tap] * cell} {y0 + i * cell}h6v6h-6z" for i, columns in enumerate(rows))
        picture.path(d, "kernel", opacity=1 - 0.65 * tap / (kernel * kernel))
    picture.path(
        "".join(f"M{x0 + i * SIDE * cell - 1} {y0}v{height}" for i in range(SIDE + 1))
        + "".join(f"M{x0} {y0 + i * places * cell - 1}h{width}" for i in range(places + 1)),
        "none", "padding", 1,
    )
    picture.rect(x0 - 3, y0 + row * cell - 3, width + 5, cell + 4, "none", "ink", 1.5)
    return picture.svg(), _matrix_in_words(kernel, places, row, output)


def _draw_image(picture, x, y, cell, side, values, role):
    """Draw a square image of whole numbers from 0 to 9, the more the darker; a path for each number."""
    picture.rect(x, y, side * cell, side * cell, "paper")
    for value in range(1, 10):
        d = "".join(
            f"M{x + i % side * cell} {y + i // side * cell}h{cell}v{cell}h-{cell}z"
            for i in range(side * side) if values[i] == value
        )
        if d:
            picture.path(d, role, opacity=value / 9)
    picture.cells(x, y, side, side, cell)


def _matrix_in_words(kernel, places, row, output):
    """Return what is in the matrix, what the chosen row does, and the call in PyTorch."""
    entries, used, different = formulas.weights_in_matrix(1, 1, SIDE, kernel)
    words = f"Of {number(entries)} entries {used} are not zero, made of {different} "
    words += "weight. " if different == 1 else "weights. "
    words += f"Row {row} makes output ({row // places}, {row % places}) = {number(output[row], 2)}"
    if kernel == 1:
        words += ": the matrix is the identity, and the image stays as it is. "
    elif places == 1:
        words += ": one row of equal weights, and only the mean of the image is left. "
    else:
        words += f", the mean of {kernel} × {kernel} pixels. "
    return words + f"In PyTorch: F.conv2d(x, torch.full((1, 1, {kernel}, {kernel}), 1 / {kernel * kernel}))"
