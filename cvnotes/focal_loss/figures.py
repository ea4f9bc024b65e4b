"""The figures and tables of the chapter on the focal loss."""

import numpy as np

from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.focal_loss import formulas
from cvnotes.notebooks import style, table

# --- easy and hard -------------------------------------------------------------------------


def draw_shares(rows):
    """Return SVG text: a bar a row, {name: (share of the easy, its number, that of the hard)}, each cut in two."""
    picture = Picture(480, 62 + 52 * len(rows), "")
    picture.rect(130, 10, 14, 14, "input")
    picture.text(150, 22, "easy background", 15, "start")
    picture.rect(310, 10, 14, 14, "negative")
    picture.text(330, 22, "hard objects", 15, "start")
    for i, (name, (share, easy, hard)) in enumerate(rows.items()):
        y = 40 + 52 * i
        picture.text(8, y + 24, name, 15, "start", weight="600")
        picture.rect(130, y, 342 * share, 36, "input")
        picture.rect(130 + 342 * share, y, 342 * (1 - share), 36, "negative")
        for part, words, x, anchor in ((share, easy, 138, "start"), (1 - share, hard, 464, "end")):
            if part > 0.16:
                picture.text(x, y + 23, words, 15, anchor, "paper", "600")
    return picture.svg()


def plot_losses(gammas=(0, 0.5, 1, 2, 5)):
    """Plot the focal loss and its slope in the logit, over p_t."""
    from matplotlib.figure import Figure

    at = np.linspace(0.002, 0.9999, 300)
    with style(figure_figsize=(6.4, 3.1)):
        figure = Figure()
        loss, slope = figure.subplots(1, 2)
        for gamma in gammas:
            loss.plot(at, [formulas.focal_loss(p, gamma) for p in at], label=f"γ = {gamma}")
            slope.plot(at, [-formulas.focal_slope(p, gamma) for p in at])
        loss.set(xlabel="$p_t$", ylabel="loss", ylim=(0, 5), xlim=(0, 1))
        slope.set(xlabel="$p_t$", ylabel="slope, in the logit", ylim=(0, 1.5), xlim=(0, 1))
        loss.legend()
        return figure


def cumulative(losses):
    """Return the share of all loss that the cheapest 0, 1, 2, … examples have together, (M + 1,)."""
    ordered = np.sort(np.asarray(losses, np.float64).ravel())
    total = np.concatenate([[0.0], np.cumsum(ordered)])
    return total / total[-1] if total[-1] else total


def plot_cumulative(weighed, is_object, points=200):
    """Plot which share of all loss and gradient the easiest examples have, as the paper's figure 4 does of the loss.

    - weighed: {γ: (losses, slopes)}, arrays of M numbers each
    - is_object: (M,), true for the examples that are an object's, false for background
    """
    from matplotlib.figure import Figure

    at = np.linspace(0, 1, points)
    with style(figure_figsize=(6.4, 5.4)):
        figure = Figure()
        panels = figure.subplots(2, 2, sharex=True, sharey=True)
        for row, quantity in enumerate(("loss", "gradient")):
            for axes, name, own in zip(panels[row], ("objects", "background"), (is_object, ~is_object)):
                for gamma, values in weighed.items():
                    share = cumulative(values[row][own])
                    axes.plot(at, np.interp(at, np.linspace(0, 1, len(share)), share), label=f"γ = {gamma}")
                axes.set(xlim=(0, 1), ylim=(0, 1), title=name if row == 0 else "")
            panels[row][0].set_ylabel(f"share of the {quantity}")
        panels[0][0].legend(loc="upper left")
        figure.supxlabel("share of the examples, easiest first", fontsize=12)
        return figure


# --- training ------------------------------------------------------------------------------


def plot_training(curves, ylabel="loss", log=True):
    """Plot curves over steps: {name: values}."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.0)):
        figure = Figure()
        axes = figure.add_subplot()
        for name, values in curves.items():
            axes.plot(range(len(values)), values, label=name)
        axes.set(xlabel="step", ylabel=ylabel, **({"yscale": "log"} if log else {}))
        axes.legend()
        return figure


# Variants of `benchmarks/detectors_training.py`: what each is called here, and its colour's role.
TRAINED = {
    "full": ("focal loss, π = 0.01", "input"),
    "focal, prior 0.5": ("focal loss, π = 0.5", "negative"),
    "cross-entropy": ("cross entropy, π = 0.01", "kernel"),
    "cross-entropy, prior 0.5": ("cross entropy, π = 0.5", "ignore"),
    "hard-negatives": ("hard negatives, π = 0.01", "output"),
}
RESULTS = ("AP", "AP50", "APs", "APm", "APl")


def plot_priors(training):
    """Plot the classes' loss with both priors, of the first steps and of all: means of the seeds, from least to most."""
    from matplotlib.figure import Figure

    every = training["settings"]["every"]
    with style(figure_figsize=(6.4, 5.6)):
        figure = Figure()
        panels = figure.subplots(2, 2, sharey="col")
        for column, names in enumerate((("full", "focal, prior 0.5"), ("cross-entropy", "cross-entropy, prior 0.5"))):
            for row, kind in enumerate(("first", "mean")):
                axes = panels[row][column]
                for name in names:
                    runs = np.array(training["variants"][name]["losses"]["classes"][kind])  # (seeds, steps)
                    title, role = TRAINED[name]
                    at = np.arange(runs.shape[1]) if kind == "first" else every * (np.arange(runs.shape[1]) + 0.5)
                    axes.fill_between(at, runs.min(0), runs.max(0), color=COLOURS[role], alpha=0.25, linewidth=0)
                    axes.plot(at, runs.mean(0), color=COLOURS[role], label=title.split(", ")[1])
                axes.set(yscale="log", xlabel="step", xlim=(0, at[-1]))
            panels[0][column].set(title=title.split(", ")[0])
            panels[0][column].legend()
        panels[0][0].set_ylabel("loss, first steps")
        panels[1][0].set_ylabel(f"loss, means of {every} steps")
        return figure


def plot_results(training, names):
    """Plot AP and its relatives of some variants: the mean of the seeds, a deviation to either side, and each seed."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(6.4, 3.4)):
        figure = Figure()
        axes = figure.add_subplot()
        for i, name in enumerate(names):
            title, role = TRAINED[name]
            shift = 0.8 * ((i + 0.5) / len(names) - 0.5)
            found = [training["variants"][name]["summary"][which] for which in RESULTS]
            at = [k + shift for k in range(len(RESULTS))]
            means, deviations = ([100 * one[key] for one in found] for key in ("mean", "deviation"))
            axes.errorbar(at, means, deviations, fmt="o", color=COLOURS[role], capsize=4, label=title)
            for x, one in zip(at, found):
                seeds = [100 * value for value in one["seeds"]]
                axes.plot([x + 0.05] * len(seeds), seeds, "_", color=COLOURS[role], markersize=5, markeredgewidth=1)
        axes.set(ylabel="percent", ylim=(0, None), xticks=range(len(RESULTS)), xticklabels=RESULTS)
        axes.legend(loc="upper right")
        return figure


def results_table(training, names):
    """Return AP and its relatives of some variants in percent, with the deviation between seeds, as Markdown."""
    rows = []
    for name in names:
        summary = training["variants"][name]["summary"]
        cells = [f"{number(100 * summary[which]['mean'], 1)} ± {number(100 * summary[which]['deviation'], 1)}"
                 for which in RESULTS]
        rows.append((TRAINED[name][0], *cells))
    return table(("trained with", *RESULTS), rows)


# --- RetinaNet -----------------------------------------------------------------------------


def draw_retinanet(size=640, classes=80):
    """Return SVG text: the levels P3 to P7 for a square image, and the two subnets that read each of them."""
    picture = Picture(480, 336, "")
    picture.text(62, 22, "pyramid", 16, weight="600")
    picture.text(220, 22, "shared subnets", 16, weight="600")
    picture.text(410, 22, "anchors", 16, weight="600")
    for i, stride in enumerate((8, 16, 32, 64, 128)):
        side, y, half = size // stride, 62 + 56 * (4 - i), 44 - 8 * i
        slant = half * 0.45
        shape = f"M{62 - half - slant / 2:.1f} {y + 12}h{2 * half}l{slant:.1f} -24h-{2 * half}z"
        picture.path(shape, "output", opacity=0.35).path(shape, "none", "output", 1.5)
        picture.text(62, y + 5, f"P{i + 3}", 15, weight="600")
        picture.arrow(62 + half + slant, y, 142, y, "muted")
        for k, (name, role) in enumerate((("classes", "kernel"), ("boxes", "input"))):
            picture.rect(148 + 76 * k, y - 15, 70, 30, role, radius=5, opacity=0.2)
            picture.text(183 + 76 * k, y + 5, name, 15, fill=role, weight="600")
        picture.arrow(298, y, 330, y, "muted")
        picture.text(410, y + 5, f"{side}² · 9 = {number(9 * side * side)}", 15)
    picture.text(240, 328, f"classes: 9 · {classes} numbers a place, boxes: 9 · 4", 15, fill="muted")
    return picture.svg()


# --- other losses --------------------------------------------------------------------------


def plot_pair(at, curves, slopes, xlabel, names=("loss", "slope"), ylim=(None, None)):
    """Plot losses and their slopes side by side: {name: values at the places `at`}."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(6.4, 3.0)):
        figure = Figure()
        for axes, chosen, name, limits in zip(figure.subplots(1, 2), (curves, slopes), names, ylim):
            for key, values in chosen.items():
                axes.plot(at, values, label=key)
            axes.set(xlabel=xlabel, ylabel=name)
            if limits:
                axes.set_ylim(*limits)
        figure.axes[0].legend()
        return figure


SPEED_NAMES = {
    "fast, none": "`fast`, each loss", "fast, sum": "`fast`, their sum", "fast.match_anchors": "`fast.match_anchors`",
    "torch.mm, 1,024²": "`torch.mm`, 1,024²",
}


def speed_table(speed):
    """Return what `benchmarks/focal_loss.py` measured, as Markdown."""
    from IPython.display import Markdown

    results, lines = speed["default"]["results"], []
    for key, first, title in (
        ("losses", "the plain formula", f"{number(results['logits'])} logits, forward and backward"),
        ("matching", "torch.mm, 1,024²",
         f"{results['images']} × {results['objects']} boxes × {number(results['anchors'])} anchors"),
    ):
        lines += [f"| {title} | time | against the first | peak memory |", "|:--|--:|--:|--:|"]
        for name, result in results[key]["times"].items():
            ratio = 1.0 if name == first else result["ratio"][first]
            memory = number(results[key]["memory"][name] / 1e6, 1)
            name = SPEED_NAMES.get(name, name)
            lines.append(f"| {name} | {number(1000 * result['seconds'], 1)} ms | {number(ratio, 2)} × | {memory} MB |")
        lines.append("")
    if "step" in results:
        lines += ["| RetinaNet, one image of 512 × 512 pixels, 91 classes | time | share of the step |", "|:--|--:|--:|"]
        for name, result in results["step"]["times"].items():
            share = result["ratio"].get("a step", 1.0)
            lines.append(f"| {name} | {number(1000 * result['seconds'], 1)} ms | {number(100 * share, 1)}% |")
        lines.append("")
    hardware = speed["default"]["hardware"]
    lines.append(f"{hardware['processor']}, {hardware['threads']} threads, torch {hardware['torch']}, float32.")
    return Markdown("\n".join(lines))
