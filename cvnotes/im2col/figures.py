"""The figures and tables of the chapter on im2col."""

import numpy as np

from cvnotes.explorer import Picture, number
from cvnotes.notebooks import style

LOOPS = "seven loops in Python"


def draw_shifts(side=3, kernel=3):
    """Return SVG text: a padded image as one strip of pixels, and the slices that its taps meet."""
    pitch = side + kernel - 1
    count = (side - 1) * pitch + side
    cell, left = 18, 15
    taps = [(0, 0), (0, 1), (1, 1), (2, 2)]
    picture = Picture(480, 66 + 44 * len(taps), "")
    picture.text(left, 20, "the padded image, row after row", 15, "start")
    numbers = iter(range(1, side * side + 1))
    for pixel in range(pitch * pitch):
        y, x = pixel // pitch, pixel % pitch
        inside = kernel // 2 <= y < kernel // 2 + side and kernel // 2 <= x < kernel // 2 + side
        role = "input" if inside else "padding"
        picture.rect(left + pixel * cell, 30, cell, 24, role, role, 1, opacity=0.35 if inside else 0.18)
        words = str(next(numbers)) if inside else "0"
        picture.text(left + (pixel + 0.5) * cell, 47, words, 14, fill="ink" if inside else "muted")
    for k, (i, j) in enumerate(taps):
        shift, top = i * pitch + j, 64 + k * 44
        picture.text(left + shift * cell, top + 13, f"tap ({i}, {j})", 14, "start")
        for place in range(count):
            used = place % pitch < side
            x = left + (shift + place) * cell
            picture.rect(
                x, top + 19, cell, 18, "output" if used else "none",
                "output" if used else "padding", 1, opacity=0.5 if used else 0,
            )
    return picture.svg()


def table(run):
    """Return the table of all steps, from the loops to `F.conv2d`, as Markdown."""
    from IPython.display import Markdown

    results = run["results"]
    steps = results["forward"]
    last = results["loops"]["seconds"]
    best = steps["F.conv2d"]["seconds"]
    lines = [
        "| step | time | gain over the step before | against `F.conv2d` | peak memory |",
        "|:--|--:|--:|--:|--:|",
        f"| {LOOPS} (computed, see above) | {number(last, 0)}\u00a0s | | {number(last / best, 0)}\u00a0× | |",
    ]
    for name, step in steps.items():
        seconds = step["seconds"]
        gain = last / seconds
        lines.append(
            f"| {name} | {number(1000 * seconds, 1)}\u00a0ms | {number(gain, 0 if gain > 100 else 2)}\u00a0× "
            f"| {number(seconds / best, 2)}\u00a0× | {number(step['peak_bytes'] / 1e6, 1)}\u00a0MB |"
        )
        last = seconds
    return Markdown("\n".join(lines))


def ratios(speed):
    """Return what the version without columns needs of the others' time and memory, as Markdown."""
    from IPython.display import Markdown

    ours, columns, best = "fast.conv2d_gemm: no columns", "F.unfold, matrix product", "F.conv2d"
    lines = ["| needs of the time (or memory) of | fresh pages (default) | pages kept |", "|:--|--:|--:|"]
    for words, part, name, other in (
        ("forward: of unfold and product", "forward", ours, columns),
        ("forward: of `F.conv2d`", "forward", ours, best),
        ("forward and backward: of unfold and product", "forward and backward", ours, columns),
        ("forward and backward: of `F.conv2d`", "forward and backward", ours, best),
        ("`fast.col2im`: of `F.fold`", "col2im", "fast.col2im", "F.fold"),
    ):
        found = [speed[habit]["results"][part][name]["ratio"][other] for habit in ("default", "keep_pages")]
        lines.append(f"| {words} | " + " | ".join(number(ratio, 2) for ratio in found) + " |")
    peaks = [speed[habit]["results"]["forward"] for habit in ("default", "keep_pages")]
    shares = [number(steps[ours]["peak_bytes"] / steps[columns]["peak_bytes"], 2) for steps in peaks]
    lines.append("| forward, peak memory: of unfold and product | " + " | ".join(shares) + " |")
    return Markdown("\n".join(lines))


def plot_steps(speed):
    """Plot the time of each step, with both habits of the allocator."""
    from matplotlib.figure import Figure

    names = list(speed["default"]["results"]["forward"])
    places = np.arange(len(names))
    with style(figure_figsize=(5.8, 3.8)):
        figure = Figure()
        axes = figure.add_subplot()
        for offset, habit, colour, words in (
            (-0.2, "default", "#d55e00", "fresh pages (default)"), (0.2, "keep_pages", "#0072b2", "pages kept"),
        ):
            times = [1000 * speed[habit]["results"]["forward"][name]["seconds"] for name in names]
            axes.barh(places + offset, times, 0.38, color=colour, label=words)
        axes.set(yticks=places, xlabel="milliseconds", ylim=(len(names) - 0.4, -0.6))
        axes.set_yticklabels([name.replace(", ", ",\n", 1).replace(": ", ":\n") for name in names])
        axes.legend()
        return figure


def explorer_data(run):
    """Return what the explorer `memory_and_time` takes."""
    hardware = run["hardware"]
    processor = f"{hardware['processor']}, {hardware['threads']} threads"
    case = f"float32, 2 images of 64 channels, 56 × 56, 64 filters; {processor}"
    return {"case": case, "cases": run["results"]["kernel and stride"]}
