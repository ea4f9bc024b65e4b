"""The explorers of convolution arithmetic: plain Python on the chapter's formulas."""

from cvnotes import shapes
from cvnotes.conv_arithmetic import formulas
from cvnotes.explorer import Picture, explorer

WIDTH = 480  # of every picture: at 330 pixels on a phone a text of 16 units is 11 pixels high


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
    cell = min(34, 396 // cells)
    gap, row = 30, 24 if places <= 10 else 17
    left = (WIDTH - cells * cell - gap - 34) / 2
    top, first = 30, 30 + cell + 12
    right = left + cells * cell + gap
    picture = Picture(WIDTH, max(first + places * row + 28, 210), label)
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
    words = f"⌊({size} + 2·{padding} − {dilation}·({kernel} − 1) − 1) / {stride}⌋ + 1 = ⌊{top}/{stride}⌋ + 1 = {places}"
    words += " output. " if places == 1 else " outputs. "
    if not unseen:
        words += "Every input pixel is seen. "
    elif len(unseen) == 1:
        words += f"Pixel {unseen[0]} is never seen. "
    else:
        words += "Pixels " + ", ".join(str(pixel) for pixel in unseen) + " are never seen. "
    return words + (
        f"In PyTorch: nn.Conv2d(C, O, kernel_size={kernel}, stride={stride}, padding={padding}, dilation={dilation})"
    )
