"""The explorers of the Inception chapter: plain Python on the chapter's formulas.

What needs the photograph or a whole network is made by `explorer_data`.
"""

from cvnotes.explorer import Picture, explorer, number
from cvnotes.explorer.drawing import coordinate, escape
from cvnotes.inception import formulas

WIDTH = 400  # of every picture: narrow, so that its text is large enough on a phone

# --- the module as a budget --------------------------------------------------------------

# The Inception modules of GoogLeNet: side and channels of the input, then the widths in the order of
# the paper's table (Szegedy et al. 2015, table 1).
MODULES = {
    "3a": (28, 192, 64, 96, 128, 16, 32, 32),
    "3b": (28, 256, 128, 128, 192, 32, 96, 64),
    "4a": (14, 480, 192, 96, 208, 16, 48, 64),
    "4b": (14, 512, 160, 112, 224, 24, 64, 64),
    "4c": (14, 512, 128, 128, 256, 24, 64, 64),
    "4d": (14, 512, 112, 144, 288, 32, 64, 64),
    "4e": (14, 528, 256, 160, 320, 32, 128, 128),
    "5a": (7, 832, 256, 160, 320, 32, 128, 128),
    "5b": (7, 832, 384, 192, 384, 48, 128, 128),
}
WIDTHS = ("ch1x1", "ch3x3red", "ch3x3", "ch5x5red", "ch5x5", "pool_proj")
INPUTS = {name: f"{name}: {case[0]}×{case[0]}×{case[1]}" for name, case in MODULES.items()}
STAGES = {INPUTS[name]: name for name in INPUTS}
LEFT, MIDDLE, OUT, RIGHT, END = 10, 76, 142, 196, 390  # where channels stand, and where bars begin and end
ROW, TALL = 68, 42  # units of a branch, and of its largest channels
LIGHT = 0.4  # of the first of two steps


@explorer(
    input=tuple(STAGES), module=("reduced", "naive"), ch1x1=range(16, 385, 16), ch3x3red=range(16, 257, 16),
    ch3x3=range(16, 385, 16), ch5x5red=range(8, 193, 8), ch5x5=range(16, 161, 16), pool_proj=range(16, 161, 16),
)
def module_budget(input="3a: 28×28×192", module="reduced", ch1x1=64, ch3x3red=96, ch3x3=128, ch5x5red=16, ch5x5=32,
                  pool_proj=32):
    """An Inception module drawn to scale, and what each of its branches costs, reduced and naive."""
    name = STAGES[input]
    size, channels = MODULES[name][:2]
    widths = (ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj)
    forms = {form: _branches(size, channels, widths, form == "naive") for form in ("reduced", "naive")}
    this, other = forms[module], forms[_other(module)]
    picture = Picture(WIDTH, 412, f"The Inception module {name}, {module}: its branches and what they cost")
    its = widths == MODULES[name][2:]
    picture.parts += [_chip(name, True, its) if other == name else CHIPS[other] for other in CHIPS]
    picture.text(LEFT, 56, f"{channels} channels", 15, "start", "input", "600")
    picture.text(RIGHT, 56, "multiply-adds", 15, "start", "kernel", "600")
    picture.text(END, 56, "weights", 15, "end", "muted")
    picture.line(LEFT + 5, 104, LEFT + 5, 104 + 3 * ROW, "input", 1.5)
    longest = max([branch.total for branch in this + other])
    scale = TALL / max(channels, *widths)
    for i in range(4):
        top = 64 + i * ROW
        _draw_channels(picture, top + 40, scale, this[i])
        _draw_bar(picture, top, this[i].macs, this[i].weights, other[i].total, (END - RIGHT) / longest)
        if i > 0:
            picture.text(RIGHT, top + 58, f"{_other(module)} {number(other[i].total)}", 15, "start", "muted")
    totals = {
        form: (sum([branch.total for branch in forms[form]]), sum([branch.weights for branch in forms[form]]))
        for form in forms
    }
    _draw_total(picture, 64 + 4 * ROW, this, totals, module)
    return picture.svg(), _module_in_words(name, size, channels, widths, module, forms, totals)


class Branch:
    """A branch: its `steps` by name, the `widths` before and after them, the `macs` of each; `total` and `weights`."""

    def __init__(self, size, widths, kernels, pool=False):
        costs = formulas.chain(size, widths[1:] if pool else widths, kernels) if kernels else []
        self.steps = ["pool"] * pool + [f"{kernel}×{kernel}" for kernel in kernels]
        self.widths = widths
        self.macs = [0] * pool + [step.macs for step in costs]
        self.total, self.weights = sum(self.macs), sum([step.params for step in costs])


def _branches(size, channels, widths, naive):
    """Return the four branches of a module; the naive one has no 1×1 but that of the first branch."""
    ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj = widths
    if naive:
        return [
            Branch(size, (channels, ch1x1), (1,)), Branch(size, (channels, ch3x3), (3,)),
            Branch(size, (channels, ch5x5), (5,)), Branch(size, (channels, channels), (), pool=True),
        ]
    return [
        Branch(size, (channels, ch1x1), (1,)), Branch(size, (channels, ch3x3red, ch3x3), (1, 3)),
        Branch(size, (channels, ch5x5red, ch5x5), (1, 5)),
        Branch(size, (channels, channels, pool_proj), (1,), pool=True),
    ]


def _chip(name, here=False, chosen=False):
    """Return a module of GoogLeNet as an element that takes its input and its widths at a click."""
    size, channels, *widths = MODULES[name]
    x = 10 + 42.5 * list(MODULES).index(name)
    chip = Picture(WIDTH, 40, name)
    chip.rect(x, 6, 40, 26, "input", "input", 1.5, 5, opacity=1 if chosen else 0.12)
    chip.text(x + 20, 24, name, 15, fill="paper" if chosen else "ink", weight="600" if here else None)
    all_its = "&".join([f"input={INPUTS[name]}"] + [f"{WIDTHS[k]}={widths[k]}" for k in range(6)])
    words = f"GoogLeNet {name}: {size} × {size} × {channels}; {', '.join(str(width) for width in widths)}"
    return f'<g data-set="{escape(all_its)}"><title>{words}</title>{"".join(chip.parts)}</g>'


CHIPS = {name: _chip(name) for name in MODULES}  # most of them are the same in each picture


def _draw_channels(picture, middle, scale, branch):
    """Draw the channels of a branch as bars, and each step as a funnel from one bar to the next."""
    widths = branch.widths
    places = (LEFT, MIDDLE, OUT) if len(widths) == 3 else (LEFT, OUT)
    heights = [max(0.75, width * scale / 2) for width in widths]  # from the middle
    for i in range(len(branch.steps)):
        x, to, step = places[i] + 10, places[i + 1], branch.steps[i]
        d = f"M{x} {coordinate(middle - heights[i])}V{coordinate(middle + heights[i])}"
        d += f"L{to} {coordinate(middle + heights[i + 1])}V{coordinate(middle - heights[i + 1])}z"
        pool = step == "pool"
        words = "no weights" if pool else f"{number(branch.macs[i])} multiply-adds"
        picture.path(
            d, "padding" if pool else "kernel", opacity=LIGHT if pool or i < len(branch.steps) - 1 else 1,
            title=f"{step}, {widths[i]} → {widths[i + 1]}: {words}",
        )
        role = "muted" if pool else "kernel"
        if len(branch.steps) == 1:
            picture.text((x + to) / 2, middle - 25, step, 15, fill=role, weight="600")
        else:  # the channels between the steps stand between their names
            picture.text(x + 1 if i == 0 else to - 1, middle - 25, step, 15, "end" if i else "start", role, "600")
    for i in range(len(widths)):
        role = "input" if i == 0 else "output" if i == len(widths) - 1 else "ink"
        picture.rect(places[i], middle - heights[i], 10, 2 * heights[i], role)
    if len(widths) == 3:
        picture.text(MIDDLE + 5, middle - 25, str(widths[1]), 15)
    picture.text(OUT + 14, middle + 5, str(widths[-1]), 15, "start", "output", "600")


def _draw_bar(picture, top, macs, weights, otherwise, unit):
    """Draw a bar of multiply-adds, one part a step, with its numbers; behind it that of the other form."""
    total, x = sum(macs), RIGHT
    picture.text(x if total < 10**9 else x - 18, top + 18, number(total), 15, "start", weight="600")
    picture.text(END, top + 18, number(weights), 15, "end", "muted")
    if otherwise > total:
        picture.rect(RIGHT + total * unit, top + 26, (otherwise - total) * unit, 14, "faint", opacity=0.7)
    for i in range(len(macs)):
        if macs[i]:
            width = macs[i] * unit
            picture.rect(x, top + 26, width, 14, "kernel", opacity=1 if i == len(macs) - 1 else LIGHT)
            x += width
    if 0 < otherwise < total:
        picture.rect(RIGHT + otherwise * unit - 1, top + 23, 2, 20, "ink")


def _draw_total(picture, top, this, totals, module):
    """Draw the channels of the output, one part a branch, and the totals; a click on them changes the form."""
    picture.line(LEFT, top + 1, END, top + 1, "faint", 1)
    outputs = [branch.widths[-1] for branch in this]
    picture.text(LEFT, top + 20, f"{number(sum(outputs))} channels", 15, "start", "output", "600")
    x, unit = LEFT, (OUT + 10 - LEFT) / sum(outputs)
    for i in range(4):
        picture.rect(x, top + 28, outputs[i] * unit, 14, "output", "paper", 1.5)
        x += outputs[i] * unit
    ours, theirs = totals[module], totals[_other(module)]
    words = f"{number(100 * ours[0] / theirs[0], 0)}% of {_other(module)}"
    picture.text(LEFT, top + 66, words, 17, "start", "output" if ours[0] <= theirs[0] else "negative", "600")
    _draw_bar(picture, top, ours[:1], ours[1], theirs[0], (END - RIGHT) / max(ours[0], theirs[0]))
    picture.text(RIGHT, top + 58, f"{_other(module)} {number(theirs[0])}", 15, "start", "muted")
    picture.rect(
        RIGHT, top + 4, END - RIGHT, 58, "paper", opacity=0, set={"module": _other(module)},
        title=f"show it {_other(module)}",
    )


def _other(module):
    return "naive" if module == "reduced" else "reduced"


def _module_in_words(name, size, channels, widths, module, forms, totals):
    out = {form: sum(branch.widths[-1] for branch in forms[form]) for form in forms}
    other = _other(module)
    (macs, weights), (other_macs, other_weights) = totals[module], totals[other]
    words = f"Module {name}, {module}: {number(macs)} multiply-adds and {number(weights)} weights give "
    words += f"{number(out[module])} channels of {size} × {size}; {other}, it takes {number(other_macs)} and "
    words += f"{number(other_weights)}, and gives {number(out[other])}. "
    ratio = totals["naive"][0] / totals["reduced"][0]
    if ratio >= 1:
        words += f"The 1×1 convolutions save {number(100 - 100 / ratio, 1)}% of the multiply-adds. "
    else:
        words += f"The 1×1 convolutions add {number(100 / ratio - 100, 1)}% to the multiply-adds. "
    for i, kernel, reduced, width in ((1, 3, widths[1], widths[2]), (2, 5, widths[3], widths[4])):
        before, after = forms["naive"][i].total, forms["reduced"][i].total
        if after >= before:
            most = formulas.break_even(channels, width, kernel)
            words += f"Through {reduced} channels the {kernel}×{kernel} branch gains nothing; up to {most} would save. "
        elif kernel == 5:
            words += f"The 5×5 branch falls from {number(before)} to {number(after)}. "
    if widths == MODULES[name][2:]:
        words += f"These are GoogLeNet's widths for {name}. "
    if module == "naive":
        words += "The naive module has no reductions and no projection: their three widths are the reduced one's. "
    return words + "Biases are not counted."


# --- when a reduction pays ---------------------------------------------------------------

SIDE = 28  # of the image; the break-even is the same for any
PLOT, FAR, ROOF, FLOOR = 14, 386, 84, 250  # the plot: left, right, top, bottom


@explorer(kernel=(1, 3, 5, 7), channels_in=range(16, 513, 16), channels_out=range(16, 385, 16), reduction=range(1, 513))
def break_even(kernel=5, channels_in=192, channels_out=32, reduction=16):
    """What a K × K convolution costs through R channels of a 1×1, for each R, against its cost alone."""
    direct, = formulas.chain(SIDE, (channels_in, channels_out), (kernel,))
    first, second = formulas.chain(SIDE, (channels_in, reduction, channels_out), (1, kernel))
    taps = kernel * kernel
    top, bottom = taps * channels_in * channels_out, channels_in + taps * channels_out
    most = formulas.break_even(channels_in, channels_out, kernel)
    label = f"A {kernel} by {kernel} convolution from {channels_in} to {channels_out} channels, through {reduction}"
    picture = Picture(WIDTH, 460, label)
    wide = 32
    while wide < max(channels_in, reduction):
        wide *= 2
    _draw_legend(picture)
    _draw_plot(picture, wide, channels_in, reduction, direct.macs, first.macs, second.macs, top / bottom, most)
    _draw_prices(picture, kernel, reduction, direct.macs, first.macs, second.macs)
    price = first.macs + second.macs
    words = f"Direct, {kernel}×{kernel} from {channels_in} to {channels_out} channels of {SIDE} × {SIDE}: "
    words += f"{number(direct.macs)} multiply-adds. Through {_channels(reduction)}: "
    words += f"{number(first.macs)} + {number(second.macs)} = {number(price)}, "
    words += f"{number(100 * price / direct.macs, 1)}% of it. "
    words += f"Both cost the same at K²·C·O / (C + K²·O) = {number(top)} / {number(bottom)} = "
    words += f"{_decimal(top / bottom)}: a reduction to at most {_channels(most)} saves, "
    words += "whatever the size of the image."
    return picture.svg(), words


def _channels(count):
    return "1 channel" if count == 1 else f"{count} channels"


def _decimal(value):
    return number(value, 0 if value == int(value) else 1)


def _draw_legend(picture):
    """Name the lines and the areas of the plot above it, where nothing crosses them."""
    picture.text(10, 20, "multiply-adds against R", 15, "start", weight="600")
    picture.rect(10, 39, 16, 2, "ink")
    picture.text(31, 45, "direct", 15, "start")
    picture.rect(88, 38.5, 16, 3, "kernel")
    picture.text(109, 45, "through R", 15, "start", "kernel")
    picture.rect(198, 33, 16, 14, "output", opacity=0.3)
    picture.text(219, 45, "saves", 15, "start", "output")
    picture.rect(274, 33, 16, 14, "negative", opacity=0.3)
    picture.text(295, 45, "costs more", 15, "start", "negative")


def _draw_plot(picture, wide, channels, reduction, direct, first, second, even, most):
    """Draw the cost against R: level for the direct convolution, a rising line through R, and R itself."""
    price = first + second
    highest = max(1.2 * direct, 1.05 * price, min(price / reduction * wide, 2 * direct))
    across, up = (FAR - PLOT) / wide, (FLOOR - ROOF) / highest
    level, cross = FLOOR - direct * up, PLOT + even * across
    end = min(wide, highest / price * reduction)  # of the line, in R
    to = PLOT + end * across, FLOOR - price / reduction * end * up
    corner = lambda x, y: coordinate(x) + " " + coordinate(y)  # noqa: E731
    picture.path(f"M{PLOT} {FLOOR}L{corner(cross, level)}L{corner(PLOT, level)}z", "output", opacity=0.14)
    edge = "" if to[0] == FAR else f"L{FAR} {corner(FAR, to[1]).split(' ')[1]}"
    picture.path(f"M{corner(cross, level)}L{corner(*to)}{edge}L{corner(FAR, level)}z", "negative", opacity=0.14)
    picture.line(PLOT, FLOOR, FAR, FLOOR, "muted", 1)
    x = PLOT + channels * across
    picture.line(x, ROOF, x, FLOOR, "input", 1, dash="2 4")
    picture.text(min(max(x, 46), FAR - 32), ROOF - 10, f"C = {channels}", 15, fill="input", weight="600")
    picture.line(PLOT, level, FAR, level, "ink", 2)
    picture.line(PLOT, FLOOR, to[0], to[1], "kernel", 2.5)
    at = PLOT + reduction * across
    picture.rect(at - 5, FLOOR - first * up, 10, first * up, "kernel", opacity=LIGHT)
    picture.rect(at - 5, FLOOR - price * up, 10, second * up, "kernel")
    picture.line(cross, level, cross, FLOOR, "ink", 1.2, dash="4 3")
    picture.circle(cross, level, 5.5, "paper", "ink", 2, set={"reduction": most}, title=f"take R = {most}")
    drag = {"x": ("reduction", PLOT + across, across)}
    picture.circle(at, FLOOR + 10, 8, "kernel", "paper", 2, drag=drag, title="drag R")
    picture.text(min(max(at, PLOT + 24), FAR - 24), FLOOR + 36, f"R = {reduction}", 15, fill="kernel", weight="600")
    if at > PLOT + 64:
        picture.text(PLOT, FLOOR + 36, "0", 15, fill="muted")
    if at < FAR - 68:
        picture.text(FAR - 2, FLOOR + 36, str(wide), 15, "end", "muted")
    words = f"break-even at {_decimal(even)}"
    picture.text(min(max(cross, 94), 306), FLOOR + 60, words, 15, weight="600", set={"reduction": most})


def _draw_prices(picture, kernel, reduction, direct, first, second):
    """Draw both costs as bars with their numbers, the one through R in its two parts."""
    unit = 380 / max(direct, first + second)
    picture.text(10, 350, f"direct {kernel}×{kernel}", 15, "start")
    picture.text(390, 350, number(direct), 15, "end", weight="600")
    picture.rect(10, 357, direct * unit, 14, "ink", opacity=0.6)
    picture.text(10, 400, f"through {_channels(reduction)}", 15, "start", "kernel", "600")
    picture.text(390, 400, number(first + second), 15, "end", weight="600")
    picture.rect(10, 407, first * unit, 14, "kernel", opacity=LIGHT)
    picture.rect(10 + first * unit, 407, second * unit, 14, "kernel")
    picture.text(10, 444, f"1×1: {number(first)}, {kernel}×{kernel}: {number(second)}", 15, "start", "muted")


# --- what a 1×1 convolution mixes --------------------------------------------------------

TENTHS = tuple(tenth / 10 for tenth in range(-20, 21))
MIXES = {  # for each kind of maps: names, and weights in tenths, bias and ReLU of mixes worth a look
    "colours": (("red", "green", "blue"), {
        "grey": (3, 6, 1, 0, True), "reddish": (20, -10, -10, 0, True), "bluish": (-10, -10, 20, 0, True),
        "inverted": (-3, -6, -1, 250, True),
    }),
    "edges": (("lighter right", "lighter left", "lighter below"), {
        "right only": (10, 0, 0, 0, True), "both sides": (10, 10, 0, 0, True), "signed": (10, -10, 0, 0, False),
        "below only": (-10, -10, 10, 0, True),
    }),
}


@explorer(
    maps=tuple(MIXES), w1=TENTHS, w2=TENTHS, w3=TENTHS, bias=range(-250, 251, 10), relu=(False, True),
    y=range(0, 96), x=range(0, 96),
)
def pixel_mixer(data, maps="colours", w1=2.0, w2=-1.0, w3=-1.0, bias=0, relu=True, y=36, x=44):
    """What one filter of a 1×1 convolution makes of three maps: the same weighted sum at each pixel.

    `data` is that of `explorer_data.pixel_mixer`.
    """
    side, text = data["side"], data[maps]["pixels"]
    weights = [_tenths(weight) for weight in (w1, w2, w3)]
    place = 3 * (y * side + x)
    values = [_byte(text, place + 2 - c) for c in range(3)]  # a bitmap has blue, green, red
    total = sum(weights[c] * values[c] for c in range(3)) / 10 + bias
    result = max(0, total) if relu else total
    picture = Picture(WIDTH, 456, "Three maps, and the map that one filter of a 1×1 convolution mixes from them")
    _draw_maps(picture, maps, data["header"] + text, side, weights, bias, relu, (y, x))
    _draw_sum(picture, weights, values, bias, total, result, relu)
    _draw_mixes(picture, maps, weights + [bias, relu])
    terms = " + ".join(f"{_signed(weights[c] / 10)} · {values[c]}" for c in range(3))
    words = f"At row {y}, column {x}: {terms} + {_signed(bias)} = {_decimal(total)}"
    words += f", and ReLU makes it {_decimal(result)}. " if relu else ". "
    means = [total / (side * side) for total in data[maps]["sums"]]
    mean = sum(weights[c] * means[c] for c in range(3)) / 10 + bias
    words += f"The same 3 weights and bias mix each of the {number(side * side)} pixels, {number(3 * side * side)} "
    words += f"multiply-adds, and so they mix the maps' means: {', '.join(number(value, 1) for value in means)} give "
    words += f"{number(mean, 1)}" + (" before ReLU. " if relu else ". ")
    return picture.svg(), words + "In PyTorch: nn.Conv2d(3, 1, 1)" + (", then F.relu." if relu else ".")


def _tenths(value):
    """Return a number of tenths as an integer."""
    return int(value * 10 + 1000.5) - 1000


def _signed(value):
    """Return a number as a term of a sum: a negative one in brackets."""
    words = _decimal(value)
    return f"({words})" if value < 0 else words


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _byte(text, index):
    """Return one byte of base64 text."""
    start, part = index // 3 * 4, index % 3
    first, second = LETTERS.index(text[start + part]), LETTERS.index(text[start + part + 1])
    return (first * 4 ** (part + 1) + second // 4 ** (2 - part)) % 256


def _draw_maps(picture, maps, href, side, weights, bias, relu, place):
    """Draw the three maps and their mix: one bitmap, four times, its colours mixed by the page itself.

    The names of the filters tell their numbers, so that a page with two pictures mixes each by its own.
    """
    picture.parts.append(
        f'<defs><image id="mix-{maps}" width="{side}" height="{side}" style="image-rendering:pixelated" href="'
        + href + '"/></defs>'
    )
    for c in range(3):
        row = " ".join("1" if c == i else "0" for i in range(3)) + " 0 0"
        _draw_map(picture, maps, side, 10 + c * 130, 28, 120, f"map-{c}", [(row, row, row)])
        picture.text(70 + c * 130, 20, MIXES[maps][0][c], 15, fill="input", weight="600")
        picture.text(70 + c * 130, 170, "× " + _decimal(weights[c] / 10), 17, fill="kernel", weight="600")
        _draw_marker(picture, 10 + c * 130, 28, 120 / side, place, "kernel")
        if c:
            picture.text(5 + c * 130, 170, "+", 17, fill="muted")
    key = "-".join(str(part) for part in ["mix", *weights, bias, int(relu)])
    row = " ".join(_plain(weight / 10) for weight in weights) + " 0 " + _plain(bias / 255)
    if relu:
        steps = [(row, row, row)]
    else:  # red: what is positive, green: what is negative; then both as grey and purple
        less = " ".join(_plain(-weight / 10) for weight in weights) + " 0 " + _plain(-bias / 255)
        steps = [(row, less, "0 0 0 0 0"), ("1 0.67 0 0 0", "1 0.2 0 0 0", "1 0.47 0 0 0")]
    _draw_map(picture, maps, side, 10, 188, 192, key, steps)
    _draw_marker(picture, 10, 188, 192 / side, place, "output")


def _plain(value):
    """Return a number as SVG takes it, with four decimals."""
    return number(value, 4).replace("−", "-")


def _draw_map(picture, maps, side, left, top, edge, key, steps):
    """Draw the bitmap `edge` units wide through steps of mixing: for each the rows for red, green and blue."""
    mixing = "".join(f'<feColorMatrix values="{" ".join(rows)} 0 0 0 1 0"/>' for rows in steps)
    scale = coordinate(edge / side)
    picture.parts.append(
        f'<filter id="{key}" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">{mixing}</filter>'
        f'<use href="#mix-{maps}" filter="url(#{key})" transform="translate({left} {top}) scale({scale})"/>'
    )


def _draw_marker(picture, left, top, unit, place, role):
    """Draw a frame round the chosen pixel, which may be dragged."""
    cx, cy = left + (place[1] + 0.5) * unit, top + (place[0] + 0.5) * unit
    drag = {"x": ("x", left + 0.5 * unit, unit), "y": ("y", top + 0.5 * unit, unit)}
    half = unit / 2 + 5
    picture.rect(cx - half, cy - half, 2 * half, 2 * half, "none", "paper", 4.5, 2)
    picture.rect(cx - half, cy - half, 2 * half, 2 * half, "none", role, 2.5, 2)
    picture.circle(cx, cy, 15, "paper", opacity=0, drag=drag, title="drag the pixel")


def _draw_sum(picture, weights, values, bias, total, result, relu):
    """Write the sum of the chosen pixel, a line for each term."""
    for c in range(3):
        y = 188 + c * 26
        picture.rect(212, y, 20, 20, _grey(values[c]), "input", 1.5, 3)
        picture.text(268, y + 16, str(values[c]), 15, "end")
        picture.text(328, y + 16, "× " + _decimal(weights[c] / 10), 15, "end", "kernel")
        picture.text(390, y + 16, number(weights[c] * values[c] / 10, 1), 15, "end")
    picture.text(212, 282, "bias", 15, "start", "kernel")
    picture.text(390, 282, number(bias, 1), 15, "end")
    picture.line(212, 292, 390, 292, "muted", 1)
    picture.text(212, 314, "sum", 16, "start")
    picture.text(390, 314, number(total, 1), 16, "end", weight=None if relu else "600")
    if relu:
        picture.text(240, 348, "ReLU", 16, "start")
        picture.text(390, 348, number(result, 1), 16, "end", weight="600")
        picture.text(390, 374, "white: 255 or more", 15, "end", "muted")
    else:
        picture.text(240, 348, "no ReLU", 16, "start", "muted")
        picture.text(390, 374, "purple: below 0", 15, "end", "negative")
    shade = _grey(result) if result >= 0 else "rgb(" + ",".join(
        str(int(min(255, -result) * part + 0.5)) for part in (0.67, 0.2, 0.47)) + ")"
    picture.rect(212, 332, 20, 20, shade, "output", 1.5, 3)


def _grey(value):
    """Return the CSS colour of a grey from 0 to 255."""
    shade = str(min(255, max(0, int(value + 0.5))))
    return "rgb(" + shade + "," + shade + "," + shade + ")"


def _draw_mixes(picture, maps, chosen):
    """Draw mixes worth a look, a row for each kind of maps; a click takes one, and its maps."""
    for row, kind in enumerate(MIXES):
        mixes = MIXES[kind][1]
        for i, name in enumerate(mixes):
            mix, x, y = mixes[name], 10 + i * 96.5, 390 + row * 32
            same = kind == maps and list(mix) == chosen
            its = {"w1": mix[0] / 10, "w2": mix[1] / 10, "w3": mix[2] / 10, "bias": mix[3], "relu": mix[4]}
            its = {"maps": kind, **its}
            picture.rect(x, y, 90.5, 26, "kernel", "kernel", 1.5, 5, opacity=0.85 if same else 0.12, set=its)
            picture.text(x + 45, y + 18, name, 15, fill="paper" if same else "ink", set=its)


# --- networks stage by stage -------------------------------------------------------------

NETWORKS = {"GoogLeNet": "googlenet", "SqueezeNet": "squeezenet1_0", "Xception": "xception"}
COUNTED = ("parameters", "multiply-adds", "activations")
KINDS = {  # of layers: their colour and its opacity
    "1×1": ("kernel", LIGHT), "3×3": ("kernel", 1), "7×7": ("kernel", 1), "depthwise": ("match", 1),
    "fully connected": ("ink", 0.6), "rest": ("padding", 0.6),
}
LONGEST = 15  # stages of a network


@explorer(network=tuple(NETWORKS), counted=COUNTED, stage=range(1, LONGEST + 1), play="stage")
def stages(data, network="GoogLeNet", counted="activations", stage=1):
    """Where a network spends its parameters, its multiply-adds and its activations, stage by stage.

    `data` is that of `explorer_data.stages`.
    """
    found = data[NETWORKS[network]]
    which = COUNTED.index(counted)
    stage = min(stage, len(found))
    totals = [sum([one["cost"][i] for one in found]) for i in range(3)]
    picture = Picture(WIDTH, 456, f"The stages of {network} and their {counted}")
    picture.text(10, 22, network, 17, "start", weight="600")
    picture.text(390, 22, f"{number(totals[which])} {counted}", 15, "end", "kernel", "600")
    _draw_stages(picture, found, which, stage)
    _draw_stage(picture, found[stage - 1], totals, which)
    return picture.svg(), _stage_in_words(network, found, totals, stage)


def _draw_stages(picture, found, which, chosen):
    """Draw a bar for each stage, one part a kind of layer; a click chooses the stage."""
    pitch = 300 / len(found)
    high = coordinate(min(18, pitch - 5))
    unit = 170 / max([one["cost"][which] for one in found])
    paths = {kind: "" for kind in KINDS}
    picture.rect(4, 36 + (chosen - 1) * pitch, 392, pitch, "none", "input", 2, 4)
    for i in range(len(found)):
        middle, x, left = 36 + (i + 0.5) * pitch, 88, "88"
        weight = "600" if i == chosen - 1 else None
        picture.text(81, middle + 5, found[i]["name"], 15, "end", weight=weight)
        top = coordinate(middle - min(18, pitch - 5) / 2)
        parts = found[i]["parts"]
        for kind in parts:
            x += parts[kind][1 + which] * unit
            right = coordinate(x)
            paths[kind] += "M" + left + " " + top + "H" + right + "v" + high + "H" + left + "z"
            left = right
        picture.text(x + 7, middle + 5, number(found[i]["cost"][which]), 15, "start", weight=weight)
    for kind in KINDS:
        if paths[kind]:
            picture.path(paths[kind], KINDS[kind][0], opacity=KINDS[kind][1])
    for i in range(len(found)):  # by hand, as there are many: a transparent strip to click on
        picture.parts.append(
            '<rect x="4" y="' + coordinate(36 + i * pitch) + '" width="392" height="' + coordinate(pitch)
            + '" fill-opacity="0" data-set="stage=' + str(i + 1) + '"/>'
        )


def _draw_stage(picture, one, totals, which):
    """Draw the chosen stage: its shares of the network, and what kinds of layers they are made of."""
    picture.line(10, 344, 390, 344, "faint", 1)
    picture.text(10, 366, f"{one['name']}: {_shape(one['before'])} → {_shape(one['after'])}", 15, "start", weight="600")
    x = 10
    for kind in one["parts"]:
        role, opacity = KINDS[kind]
        picture.rect(x, 374, 14, 14, role, opacity=opacity)
        picture.text(x + 19, 386, kind, 15, "start")
        x += 34 + 8.2 * len(kind)
    for i in range(3):
        y, bold = 396 + i * 20, "600" if i == which else None
        picture.text(126, y + 13, COUNTED[i], 15, "end", weight=bold, set={"counted": COUNTED[i]})
        picture.text(188, y + 13, number(100 * one["cost"][i] / totals[i], 1) + "%", 15, "end", weight=bold)
        x = 196
        for kind in one["parts"]:
            width = 194 * one["parts"][kind][1 + i] / max(1, one["cost"][i])
            if width:
                picture.rect(x, y + 1, width, 14, KINDS[kind][0], opacity=KINDS[kind][1])
            x += width


def _shape(shape):
    return "×".join(str(size) for size in shape[1:] + shape[:1])


def _stage_in_words(network, found, totals, stage):
    one = found[stage - 1]
    words = f"Stage {stage} of {len(found)} of {network}, {one['name']}, turns {_shape(one['before'])} into "
    words += f"{_shape(one['after'])}: " + ", ".join(
        f"{number(one['cost'][i])} {COUNTED[i]} ({number(100 * one['cost'][i] / totals[i], 1)}% of {number(totals[i])})"
        for i in range(3)
    )
    parts = one["parts"]
    words += ". Its layers: " + ", ".join(f"{kind} ({parts[kind][0]})" for kind in parts if kind != "rest")
    words += f", and the rest ({parts['rest'][0]}), such as batch norm, ReLU and pooling, without multiply-adds. "
    if "1×1" in parts and len(parts) > 2:
        words += f"The 1×1 convolutions do {number(100 * parts['1×1'][2] / one['cost'][1], 1)}% of the multiply-adds. "
    if network == "GoogLeNet" and one["name"][0] in "345":
        words += "(The published weights, and so this network, have a 3×3 where the paper has its 5×5.) "
    return words.strip()
