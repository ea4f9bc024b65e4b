"""The figures and tables of the chapter on inverted residuals."""

from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.inverted_residuals import formulas
from cvnotes.notebooks import style, table

# --- blocks --------------------------------------------------------------------------------


def draw_blocks():
    """Return SVG text: ResNet's bottleneck and the inverted residual, each map as wide as its channels."""
    picture = Picture(480, 330, "")
    _draw_block(picture, 104, (256, 64, 64, 256), ("1×1", "3×3", "1×1"), "ResNet's bottleneck")
    _draw_block(picture, 306, (24, 144, 144, 24), ("1×1", "3×3, depthwise", "1×1, no ReLU"), "inverted residual")
    return picture.svg()


def _draw_block(picture, middle, widths, names, title):
    scale, top, gap, thick = 0.5, 62, 70, 18
    picture.text(middle, 24, title, 17, weight="600")
    for i, name in enumerate(names):
        a, b = (widths[j] * scale / 2 for j in (i, i + 1))
        y, below = top + i * gap + thick, top + (i + 1) * gap
        if "depthwise" in name:
            steps = [-1 + 2 * (k + 0.5) / 12 for k in range(12)]
            lines = "".join(f"M{middle + a * s:.1f} {y}V{below}" for s in steps)
            picture.path(lines, "none", "kernel", 1.5)
        else:
            shape = f"M{middle - a:.1f} {y}H{middle + a:.1f}L{middle + b:.1f} {below}H{middle - b:.1f}z"
            picture.path(shape, "kernel", opacity=0.22)
        picture.text(middle + (a + b) / 2 + 10, (y + below) / 2 + 5, name, 15, "start")
    for i, width in enumerate(widths):
        role = "input" if i == 0 else "output" if i == len(widths) - 1 else "padding"
        half, y = width * scale / 2, top + i * gap
        picture.rect(middle - half, y, 2 * half, thick, role, radius=2)
        picture.text(middle + half + 6, y + 14, str(width), 15, "start", "muted")
    far = middle - max(widths) * scale / 2 - 22
    first, last = middle - widths[0] * scale / 2, middle - widths[-1] * scale / 2
    y, end = top + thick / 2, top + 3 * gap + thick / 2
    way = f"M{first - 3:.1f} {y}H{far + 8:.1f}Q{far:.1f} {y} {far:.1f} {y + 8}V{end - 8}Q{far:.1f} {end} {far + 8:.1f} {end}"
    picture.path(way, "none", "ink", 2)
    picture.arrow(far + 8, end, last - 4, end, "ink", 2, 8)
    words = "wide to wide" if widths[0] > widths[1] else "narrow to narrow"
    picture.text(middle, 318, f"shortcut: {words}", 15, fill="muted")


# --- what a ReLU keeps -------------------------------------------------------------------------

CURVE = ("input", "kernel", "output", "negative")  # along the spiral, a quarter each


def draw_spirals(panels):
    """Return SVG text: a panel for each title in `panels`, with the points along a curve in it, each to its own scale."""
    picture = Picture(480, 352, "")
    for i, (title, points) in enumerate(panels.items()):
        left, top, side = 8 + i % 3 * 160, 30 + i // 3 * 174, 140
        picture.text(left + side / 2, top - 9, title, 16)
        picture.rect(left, top, side, side, "none", "faint")
        xs, ys = [x for x, _ in points], [y for _, y in points]
        scale = 0.9 * side / max(max(xs) - min(xs), max(ys) - min(ys))
        x0, y0 = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
        place = lambda p: (left + side / 2 + scale * (p[0] - x0), top + side / 2 - scale * (p[1] - y0))  # noqa: E731
        quarter = -(-len(points) // 4)
        for k, role in enumerate(CURVE):
            picture.curve([place(p) for p in points[k * quarter:(k + 1) * quarter + 1]], role, 2.2)
    return picture.svg()


def plot_losses(losses):
    """Plot the loss for each number of dimensions, and the share of directions that can't be computed back.

    `losses` maps the number of dimensions to a list of losses, one for each random matrix.
    """
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.1)):
        figure = Figure()
        axes = figure.add_subplot()
        dimensions = list(losses)
        ranked = [sorted(losses[n]) for n in dimensions]
        means = [sum(row) / len(row) for row in ranked]
        low, high = ([row[int(share * (len(row) - 1))] for row in ranked] for share in (0.1, 0.9))
        axes.fill_between(dimensions, low, high, alpha=0.2, linewidth=0)
        axes.plot(dimensions, means, "o-", label="lost, mean and 80% of the matrices")
        steps = range(2, 31)
        axes.plot(steps, [formulas.lost_directions(n) for n in steps], "--", label="(n + 1) / 2ⁿ: not to be computed back")
        axes.set(xlabel="dimensions n", ylabel="share", xlim=(1.5, 30.5), ylim=(0, 0.8), xticks=dimensions)
        axes.legend()
        return figure


def plot_fixed_point(curves):
    """Plot what eight bits make of numbers from 0 to 2: `curves` maps a label to a function of one number."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 2.8)):
        figure = Figure()
        axes = figure.add_subplot()
        numbers = [i / 400 for i in range(801)]
        for label, function in curves.items():
            axes.plot(numbers, [function(x) for x in numbers], label=label, linewidth=1.6)
        axes.set(xlabel="x", ylabel="stored", xlim=(0, 2), ylim=(0, 2.1), xticks=(0, 0.5, 1, 1.5, 2), yticks=(0, 0.5, 1, 1.5, 2))
        axes.legend(loc="upper left")
        return figure


# --- memory and time ---------------------------------------------------------------------------


def plot_memory(speed, N=8, C=24, M=144, size=56):
    """Plot the peak memory that `benchmarks/inverted_residuals.py` measured against the number of splits."""
    from matplotlib.figure import Figure

    measured = speed["default"]["results"]["splits"]
    with style(figure_figsize=(5.4, 2.9)):
        figure = Figure()
        axes = figure.add_subplot()
        splits = range(1, M + 1)
        counted = [4e-6 * N * formulas.inverted_extra(size, C, M, C, splits=t) for t in splits]
        axes.plot(splits, counted, label="counted")
        axes.plot([int(t) for t in measured], [found / 1e6 for found in measured.values()], "o", label="measured")
        axes.set(xscale="log", xlabel="splits", ylabel="MB beside the input", ylim=(0, 34), xticks=[1, 2, 4, 8, 24, 144])
        axes.set_xticklabels([1, 2, 4, 8, 24, 144])
        axes.minorticks_off()
        axes.legend()
        return figure


def speed_table(speed):
    """Return what `benchmarks/inverted_residuals.py` measured, as Markdown."""
    from IPython.display import Markdown

    default, kept = speed["default"]["results"], speed["keep_pages"]["results"]
    lines = ["| | time, ms | from–to | against splits=1 | pages kept | peak memory |", "|:--|--:|--:|--:|--:|--:|"]
    for name, result in default["times"].items():
        ratios = ["1" if name == "splits=1" else number(r["times"][name]["ratio"]["splits=1"], 2) for r in (default, kept)]
        time, fastest, slowest = (_milliseconds(result[which]) for which in ("seconds", "fastest", "slowest"))
        lines.append(
            f"| `{name}` | {time} | {fastest}–{slowest} | {ratios[0]} × | {ratios[1]} × "
            f"| {number(default['memory'][name] / 1e6, 1)} MB |"
        )
    hardware = speed["default"]["hardware"]
    lines += ["", f"{default['case']}. {hardware['processor']}, {hardware['threads']} threads, torch {hardware['torch']}, float32."]
    return Markdown("\n".join(lines))


def _milliseconds(seconds):
    return number(1000 * seconds, 0 if seconds >= 0.1 else 1)


# --- four blocks, trained -------------------------------------------------------------------------

# Blocks of `benchmarks/blocks_training.py`: the role of each one's curve.
BLOCKS = {"residual": "input", "inverted residual": "kernel", "shuffle": "negative", "inception": "output"}


def plot_training(training):
    """Plot the test error of each block against the epochs: the mean of the seeds, and from worst to best."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 4.6)):
        figure = Figure()
        panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
        means = {name: _by_epoch(training["blocks"][name]["error"], lambda e: sum(e) / len(e)) for name in BLOCKS}
        epochs = range(1, training["settings"]["epochs"] + 1)
        for axes, (name, role) in zip(panels, BLOCKS.items()):
            errors = training["blocks"][name]["error"]
            for other in means.values():
                axes.plot(epochs, other, color=COLOURS["faint"], linewidth=1.2)
            axes.fill_between(epochs, _by_epoch(errors, min), _by_epoch(errors, max), color=COLOURS[role], alpha=0.25, linewidth=0)
            axes.plot(epochs, means[name], color=COLOURS[role])
            axes.set(title=name, yscale="log", ylim=(0.3, 100), xlim=(1, len(epochs)))
            axes.set_yticks([1, 10, 100], ["1%", "10%", "100%"])
        figure.supxlabel("epoch", fontsize=12)
        figure.supylabel("wrong on the test images", fontsize=12)
        return figure


def _by_epoch(runs, reduce):
    return [reduce(values) for values in zip(*runs)]


def training_table(training):
    """Return what `benchmarks/blocks_training.py` found for each block, as Markdown."""
    rows = []
    for name in BLOCKS:
        found, step = training["blocks"][name], training["times"][name]
        last, slower = found["last"], 1 if name == "residual" else step["ratio"]["residual"]
        rows.append((
            name, ",\N{NO-BREAK SPACE}".join(str(width) for width in found["widths"]),
            number(found["macs"]), number(found["params"]), number(found["activations"]),
            f"{number(last['mean'], 2)} ± {number(last['deviation'], 2)}%", number(slower, 1) + " ×",
        ))
    head = "block", "widths", "multiply-adds", "parameters", "activations", "wrong at the end, ± deviation", "time of a step"
    return table(head, rows)


# --- channels that meet --------------------------------------------------------------------------


def draw_flow(channels, groups, layers=2):
    """Return SVG text: which inputs reach which outputs of grouped layers, without and with a shuffle."""
    picture = Picture(480, 286, "")
    cell = 200 // channels
    for i, shuffled in enumerate((False, True)):
        left, top = 30 + i * 240, 50
        side = cell * channels
        picture.text(left + side / 2, 22, "with the shuffle" if shuffled else "without", 17, weight="600")
        picture.text(left + side / 2, 43, "inputs →", 14, fill="muted")
        d = "".join(
            f"M{left + c * cell} {top + o * cell}h{cell}v{cell}h-{cell}z"
            for o, seen in enumerate(formulas.flow(channels, groups, layers, shuffled)) for c in seen
        )
        picture.path(d, "output", opacity=0.75)
        picture.cells(left, top, channels, channels, cell, "none")
        seen = len(formulas.flow(channels, groups, layers, shuffled)[0])
        picture.text(left + side / 2, top + side + 24, f"each output (row) sees {seen}", 15)
    return picture.svg()


# --- tables ----------------------------------------------------------------------------------------


def steps_table(steps):
    """Return the steps of a block as a Markdown table."""
    rows = [
        (name, f"{channels} × {height} × {width}", number(cost.params), number(cost.macs))
        for name, channels, (height, width), cost in steps
    ]
    total = formulas.total(steps)
    rows.append(("**together**", "", f"**{number(total.params)}**", f"**{number(total.macs)}**"))
    return table(("step", "output", "weights", "multiply-adds"), rows)
