"""The figures and tables of the chapter on types of convolution."""

from cvnotes.conv_types import formulas
from cvnotes.explorer import Picture, number
from cvnotes.notebooks import style


def draw_types():
    """Return SVG text: the inputs that feed one output, for six types of convolution."""
    regular = formulas.bent_taps(1, 0)
    panels = [
        ("standard", regular), ("dilated", formulas.bent_taps(2, 0)), ("1 × 1", [(0, 0)]),
        ("column, then row", regular), ("deformable", formulas.bent_taps(1.3, 0.75)), ("involution", regular),
    ]
    cell, side = 20, 7
    picture = Picture(480, 382, "")
    for i, (name, taps) in enumerate(panels):
        left, top = 10 + i % 3 * 160, 34 + i // 3 * 190
        picture.text(left + side * cell / 2, top - 10, name, 16)
        picture.cells(left, top, side, side, cell, "input", opacity=0.12)
        middle = left + 3.5 * cell, top + 3.5 * cell
        if name == "column, then row":
            picture.rect(left + 2 * cell, top + 2 * cell, 3 * cell, 3 * cell, "kernel", opacity=0.25)
            picture.rect(left + 3 * cell, top + 2 * cell, cell, 3 * cell, "none", "kernel", 3)
            picture.rect(left + 2 * cell, top + 3 * cell, 3 * cell, cell, "none", "output", 3)
            continue
        for j, (y, x) in enumerate(taps):
            px, py = middle[0] + x * cell, middle[1] + y * cell
            if name == "deformable":
                sy, sx = regular[j]
                picture.line(middle[0] + sx * cell, middle[1] + sy * cell, px, py, "muted", 1.5)
                picture.circle(px, py, 6, "kernel")
            else:
                weight = (0.9, 0.5, 0.25, 0.6, 1.0, 0.4, 0.15, 0.7, 0.3)[j] if name == "involution" else 0.75
                picture.rect(px - cell / 2 + 1, py - cell / 2 + 1, cell - 2, cell - 2, "kernel", opacity=weight)
    return picture.svg()


def draw_overlaps(cases, size=5):
    """Return SVG text: for each (kernel, stride), how often each output of 2D upsampling is written."""
    picture = Picture(480, 226, "")
    width = 480 / len(cases)
    for i, (kernel, stride) in enumerate(cases):
        counts = formulas.overlaps(size, kernel, stride)
        cell = int((width - 24) / len(counts))
        left, top = i * width + (width - cell * len(counts)) / 2, 40
        picture.text(i * width + width / 2, 24, f"kernel {kernel}, stride {stride}", 16)
        most = max(counts) ** 2
        for y, down in enumerate(counts):
            for x, right in enumerate(counts):
                picture.rect(
                    left + x * cell, top + y * cell, cell, cell, "output", "paper", 0.5,
                    opacity=0.1 + 0.8 * down * right / most, title=f"written {down * right} times",
                )
        picture.text(i * width + width / 2, top + cell * len(counts) + 22, "written once" if most == 1 else f"written 1 to {most} times", 15)
    return picture.svg()


def draw_paths(stacks):
    """Return SVG text: on how many ways each pixel reaches one output, a panel for each stack."""
    picture = Picture(480, 216, "")
    width = 480 / len(stacks)
    for i, dilations in enumerate(stacks):
        counts = formulas.paths(dilations)
        cell = int((width - 16) / len(counts))
        left, top = i * width + (width - cell * len(counts)) / 2, 36
        picture.text(i * width + width / 2, 22, "dilations " + ", ".join(str(d) for d in dilations), 15)
        most = max(counts) ** 2
        picture.cells(left, top, len(counts), len(counts), cell, "none")
        for y, down in enumerate(counts):
            d = "".join(
                f"M{left + x * cell:.0f} {top + y * cell}h{cell}v{cell}h-{cell}z"
                for x, right in enumerate(counts) if down * right
            )
            if d:
                picture.path(d, "input", opacity=0.25)
            for x, right in enumerate(counts):
                if down * right * 4 >= most:
                    picture.rect(left + x * cell, top + y * cell, cell, cell, "input", opacity=down * right / most)
        seen = sum(1 for count in counts if count) ** 2
        words = f"{seen} of {len(counts) ** 2} pixels"
        picture.text(i * width + width / 2, top + cell * len(counts) + 22, words, 15)
    return picture.svg()


def draw_training(training, step):
    """Return SVG text: the taps as learned up to `step`, and as wanted, for each state."""
    found, wanted = training["points"][str(step)], training["wanted"]
    scale, side = 27, 118
    picture = Picture(480, 300, "")
    for i, name in enumerate(wanted):
        left, top = 0 + i % 2 * 240 + 60, 26 + i // 2 * 150
        picture.text(left + side / 2, top - 8, name, 15)
        picture.rect(left, top, side, side, "none", "faint")
        middle = left + side / 2, top + side / 2
        for (y, x), (v, u) in zip(wanted[name], found[name]):
            a, b = (middle[0] + x * scale, middle[1] + y * scale), (middle[0] + u * scale, middle[1] + v * scale)
            picture.line(*a, *b, "muted", 1.5)
            picture.circle(*a, 6, "none", "ink", 1.5)
            picture.circle(*b, 3.5, "kernel")
    return picture.svg()


def distance(training, step, name):
    """Return how far the learned taps lie from the wanted ones: root mean square, in pixels."""
    pairs = zip(training["points"][str(step)][name], training["wanted"][name])
    return (sum((a - b) ** 2 for tap, other in pairs for a, b in zip(tap, other)) / 9) ** 0.5


def plot_loss(training):
    """Plot the loss of the student against its steps."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 2.6)):
        figure = Figure()
        axes = figure.add_subplot()
        steps = [training["every"] * (i + 0.5) for i in range(len(training["loss"]))]
        axes.semilogy(steps, training["loss"])
        axes.set(xlabel="step", ylabel="error, relative", xlim=(0, training["steps"]))
        return figure


def speed_table(speed):
    """Return what `benchmarks/conv_types.py` measured, as Markdown."""
    from IPython.display import Markdown

    lines = [
        "| case | | time | against the first | pages kept |",
        "|:--|:--|--:|--:|--:|",
    ]
    default, kept = speed["default"]["results"], speed["keep_pages"]["results"]
    for case in default["cases"]:
        for task in ("forward", "forward and backward"):
            if task not in default[case]:
                continue
            first = next(iter(default[case][task]))
            for name, result in default[case][task].items():
                ratios = ["1" if name == first else number(r[case][task][name]["ratio"][first], 2) for r in (default, kept)]
                label = f"{case}, {task}" if name == first else ""
                lines.append(
                    f"| {label} | `{name}` | {number(1000 * result['seconds'], 1)} ms | {ratios[0]} × | {ratios[1]} × |"
                )
    hardware = speed["default"]["hardware"]
    lines += ["", f"{hardware['processor']}, {hardware['threads']} threads, torch {hardware['torch']}, float32."]
    return Markdown("\n".join(lines))
