"""The explorers of im2col: plain Python on the chapter's formulas."""

from cvnotes import shapes
from cvnotes.explorer import Picture, explorer, number
from cvnotes.im2col import formulas

WIDTH = 480
SIDE, CHANNELS = 4, 2  # the small image: two channels of 4 × 4 pixels, numbered 0 to 31
KERNELS, STRIDES = (1, 3, 5, 7, 11), (1, 2, 3, 4)


@explorer(kernel=(1, 2, 3), stride=(1, 2), padding=(0, 1), column=range(0, 36), row=range(0, 18), play="column")
def columns(kernel=2, stride=1, padding=0, column=4, row=5):
    """One column of the matrix is a patch; one row is a tap of one channel."""
    sizes = {"stride": stride, "padding": padding}
    rows, count = formulas.columns_shape(CHANNELS, (SIDE, SIDE), kernel, **sizes)
    row, column = min(row, rows - 1), min(column, count - 1)
    c, i, j = formulas.tap_of(row, CHANNELS, kernel)
    y, x = formulas.patch_of(column, (SIDE, SIDE), kernel, **sizes)
    across = shapes.output_size(SIDE, kernel, **sizes)
    picture = Picture(WIDTH, 0, f"An image and its {rows} × {count} matrix of columns")
    _images(picture, kernel, stride, padding, across, (c, i, j), (y, x))
    _kernel(picture, kernel, row)
    _places(picture, across, column)
    picture.height = _matrix(picture, kernel, sizes, rows, count, row, column)
    return picture.svg(), _columns_in_words(kernel, sizes, rows, count, row, column, across)


def _value(c, y, x):
    """Return the number of a pixel of the small image, from 1 on; 0 outside it."""
    inside = 0 <= y < SIDE and 0 <= x < SIDE
    return (c * SIDE + y) * SIDE + x + 1 if inside else 0


def _images(picture, kernel, stride, padding, across, tap, corner):
    """Draw the two channels: what the column holds, and what the row holds of one channel."""
    side, cell = SIDE + 2 * padding, 20 if padding else 28
    for c in range(CHANNELS):
        left, top = 10 + c * 138, 28
        picture.text(left, 19, "channel " + str(c), 15, "start")
        if padding:
            picture.cells(left, top, side, side, cell, "padding", stroke="padding", opacity=0.2)
        inner = left + padding * cell, top + padding * cell
        picture.cells(inner[0], inner[1], SIDE, SIDE, cell, "input", stroke="input", opacity=0.2)
        if c == tap[0]:
            marks = ""
            for p in range(across):
                for q in range(across):
                    x, y = left + (q * stride + tap[2]) * cell, top + (p * stride + tap[1]) * cell
                    marks += f"M{x} {y}h{cell}v{cell}h-{cell}z"
            picture.path(marks, "match", opacity=0.45)
        x, y = left + (corner[1] + padding) * cell, top + (corner[0] + padding) * cell
        picture.rect(x, y, kernel * cell, kernel * cell, "kernel", "kernel", 2.5, opacity=0.3)
        if c == tap[0]:
            picture.rect(x + tap[2] * cell, y + tap[1] * cell, cell, cell, "none", "ink", 2.5)
        for y in range(SIDE):
            for x in range(SIDE):
                words = str(_value(c, y, x))
                picture.text(inner[0] + (x + 0.5) * cell, inner[1] + (y + 0.5) * cell + 5, words, 13 if padding else 15)


def _kernel(picture, kernel, row):
    """Draw the taps of both channels; a click chooses the row."""
    cell, left = 18, 298
    picture.text(left, 19, "taps", 15, "start")
    for other in range(CHANNELS * kernel * kernel):
        c, i, j = formulas.tap_of(other, CHANNELS, kernel)
        chosen = other == row
        picture.rect(
            left + j * cell, 28 + (c * (kernel + 0.5) + i) * cell, cell, cell, "match" if chosen else "paper",
            "ink" if chosen else "muted", 2.5 if chosen else 1, set={"row": other},
            title=f"row {other}: channel {c}, tap ({i}, {j})",
        )


def _places(picture, across, column):
    """Draw the output's places; a click chooses the column."""
    cell, left = min(20, 108 // across), 368
    picture.text(left, 19, "places", 15, "start")
    for place in range(across * across):
        p, q = place // across, place % across
        chosen = place == column
        picture.rect(
            left + q * cell, 28 + p * cell, cell, cell, "kernel" if chosen else "paper",
            "ink" if chosen else "output", 2.5 if chosen else 1, set={"column": place},
            title=f"column {place}: place ({p}, {q})",
        )


def _matrix(picture, kernel, sizes, rows, count, row, column):
    """Draw the matrix with its chosen row and column, and return the picture's height."""
    wide, high = min(34, 432 // count), 19
    left, top = 40 + (432 - wide * count) / 2, 192
    picture.text(left + (column + 0.5) * wide, top - 7, str(column), 15, fill="kernel", weight="600")
    picture.text(left - 8, top + row * high + 15, str(row), 15, "end", "match", weight="600")
    picture.rect(left, top, wide * count, rows * high, "input", "faint", opacity=0.12)
    picture.rect(left, top + row * high, wide * count, high, "match", opacity=0.45)
    picture.rect(left + column * wide, top, wide, rows * high, "kernel", opacity=0.35)
    lines = "".join(f"M{left} {top + r * high}h{wide * count}" for r in range(1, rows))
    lines += "".join(f"M{left + k * wide} {top}v{rows * high}" for k in range(1, count))
    picture.path(lines, "none", "faint")
    taps = [formulas.tap_of(r, CHANNELS, kernel) for r in range(rows)]
    corners = [formulas.patch_of(k, (SIDE, SIDE), kernel, **sizes) for k in range(count)]
    for k in range(count):
        y, x = corners[k]
        for r in range(rows):
            chosen = k == column or r == row
            if (k == column and wide >= 17) or (wide >= 20 and (chosen or rows * count <= 130)):
                c, i, j = taps[r]
                words, fill = str(_value(c, y + i, x + j)), "ink" if chosen else "muted"
                picture.text(left + (k + 0.5) * wide, top + r * high + 15, words, 15 if wide >= 24 else 13, fill=fill)
    picture.rect(left + column * wide, top + row * high, wide, high, "none", "ink", 2.5)
    for k in range(count):
        picture.rect(left + k * wide, top, wide, rows * high, "paper", opacity=0, set={"column": k})
    for r in range(rows):
        picture.rect(left - 36, top + r * high, 36, high, "paper", opacity=0, set={"row": r})
    return top + rows * high + 8


def _columns_in_words(kernel, sizes, rows, count, row, column, across):
    c, i, j = formulas.tap_of(row, CHANNELS, kernel)
    y, x = formulas.patch_of(column, (SIDE, SIDE), kernel, **sizes)
    place = f"({column // across}, {column % across})"
    pixel = f"({y + i}, {x + j})"
    inside = 0 <= y + i < SIDE and 0 <= x + j < SIDE
    meeting = f"pixel {pixel} of channel {c}: {_value(c, y + i, x + j)}" if inside else "the padding: 0"
    call = f"F.unfold(x, {kernel}, stride={sizes['stride']}, padding={sizes['padding']})"
    return (
        f"Column {column} of {count} is the patch at place {place} of the output. Row {row} of {rows} is tap "
        f"({i}, {j}) of channel {c}, at every place. They meet in {meeting}. The matrix is {call}."
    )


@explorer(kernel=KERNELS, stride=STRIDES)
def memory_and_time(data, kernel=3, stride=1):
    """How large the columns are, and what was measured with them and without."""
    case = [case for case in data["cases"] if case["kernel"] == kernel and case["stride"] == stride][0]
    picture = Picture(WIDTH, 426, f"Columns against the image for a {kernel} × {kernel} kernel, stride {stride}")
    picture.text(10, 20, "columns, times as large as the image", 15, "start")
    for k in range(len(KERNELS)):
        picture.text(76, 53 + k * 27, f"{KERNELS[k]} × {KERNELS[k]}", 15, "end")
    for s in range(len(STRIDES)):
        picture.text(88 + s * 94 + 46, 206 - 18, "stride " + str(STRIDES[s]), 15)
    for other in data["cases"]:
        k, s = KERNELS.index(other["kernel"]), STRIDES.index(other["stride"])
        chosen = other is case
        value = other["blow_up"]
        strength = min(0.85, 0.08 + value / 60)
        picture.rect(
            88 + s * 94, 34 + k * 27, 92, 25, "kernel", "ink" if chosen else "faint", 3 if chosen else 1,
            opacity=strength, set={"kernel": other["kernel"], "stride": other["stride"]},
        )
        fill = "paper" if strength > 0.6 else "ink"
        picture.text(88 + s * 94 + 46, 52 + k * 27, number(value, 2), 15, fill=fill, weight="600" if chosen else None)
    _bars(picture, 222, "peak memory, MB", case["megabytes"])
    _bars(picture, 328, "time, ms", case["milliseconds"])
    return picture.svg(), _memory_in_words(data, case)


def _bars(picture, top, title, values):
    """Draw one bar for each way, the longest over the whole width."""
    names = {"columns": "columns", "implicit": "implicit", "torch": "F.conv2d"}
    roles = {"columns": "kernel", "implicit": "output", "torch": "input"}
    picture.text(10, top, title, 15, "start", weight="600")
    longest = max(values[name] for name in values)
    y = top + 8
    for name in names:
        picture.text(84, y + 17, names[name], 15, "end")
        length = 300 * values[name] / longest
        picture.rect(92, y + 2, length, 20, roles[name], radius=2)
        picture.text(98 + length, y + 17, number(values[name], 1), 15, "start")
        y += 26


def _memory_in_words(data, case):
    kernel, stride = case["kernel"], case["stride"]
    rule = formulas.rule_of_thumb(kernel, stride)
    megabytes, time = case["megabytes"], case["milliseconds"]
    return (
        f"The columns are {number(case['blow_up'], 2)} times as large as the image; KH·KW/stride² says "
        f"{number(rule, 2)}. Unfold and matrix product: {number(megabytes['columns'], 1)} MB, "
        f"{number(time['columns'], 1)} ms; without columns: {number(megabytes['implicit'], 1)} MB, "
        f"{number(time['implicit'], 1)} ms; F.conv2d: {number(megabytes['torch'], 1)} MB, "
        f"{number(time['torch'], 1)} ms ({data['case']})."
    )
