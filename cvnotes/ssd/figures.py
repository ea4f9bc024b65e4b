"""The figures and tables of the chapter on SSD."""

from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.notebooks import style
from cvnotes.ssd import formulas

LAYERS = ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11_2")  # that the six maps come from


def table(head, rows):
    """Return rows of text as Markdown; the first column is on the left, the others on the right."""
    from IPython.display import Markdown

    lines = ["| " + " | ".join(head) + " |", "|:--|" + "--:|" * (len(head) - 1)]
    return Markdown("\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]))


def draw_maps():
    """Return SVG text: the six maps of SSD300 as grids, the default boxes of one place on each, and how many there are."""
    picture = Picture(480, 350, "")
    for k, (n, ratios) in enumerate(zip(formulas.MAP_SIZES, formulas.RATIOS)):
        left, top, side = 12 + k % 3 * 158, 30 + k // 3 * 172, 108
        picture.text(left, top - 9, f"{LAYERS[k]}: {n} × {n}", 15, "start", weight="600")
        lines = "".join(
            f"M{left + side * i / n:.1f} {top}v{side}M{left} {top + side * i / n:.1f}h{side}" for i in range(n + 1)
        )
        picture.path(lines, "none", "faint", 0.6 if n > 10 else 1)
        scales = formulas.percent_scales(10, 20, 90, 6)
        middle = formulas.centre(n // 2, n)
        for i, (w, h) in enumerate(formulas.box_sizes(scales[k], scales[k + 1], ratios)):
            x1, y1, x2, y2 = formulas.default_box(middle, middle, w, h, clip=True)
            role = ("input", "output", "kernel", "kernel", "negative", "negative")[i]
            picture.rect(left + side * x1, top + side * y1, side * (x2 - x1), side * (y2 - y1), "none", role, 2)
        boxes = 2 + 2 * len(ratios)
        picture.text(left, top + side + 20, f"{n * n * boxes:,} boxes, {boxes} a place", 14, "start", "muted")
    return picture.svg()


def draw_fc6():
    """Return SVG text: the taps of fc6 over the image, in VGG and in SSD, both to one scale."""
    picture = Picture(480, 290, "")
    for left, title, taps, apart in ((14, "VGG: 7 × 7, 32 pixels apart", 7, 32), (254, "SSD: 3 × 3, 6 · 16 pixels apart", 3, 96)):
        side, top = 212, 40
        picture.text(left, 22, title, 15, "start", weight="600")
        picture.rect(left, top, side, side, "none", "faint", 1)
        start = left + (side - 192) / 2
        for i in range(taps):
            for j in range(taps):
                picture.circle(start + j * apart, top + (side - 192) / 2 + i * apart, 5, "kernel")
        picture.arrow(left + 12, 268, start + 190, 268, "muted")
        picture.text(left + side / 2, 286, "192 pixels", 14, fill="muted")
    return picture.svg()


def plot_best_overlaps(sizes, found):
    """Plot the best IoU that an object of a size has with a default box: `found` has (low, mean, high) for each name."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.2)):
        figure = Figure()
        axes = figure.add_subplot()
        for (name, rows), role in zip(found.items(), ("input", "kernel")):
            low, mean, high = zip(*rows)
            axes.fill_between(sizes, low, high, color=COLOURS[role], alpha=0.2, linewidth=0)
            axes.plot(sizes, mean, color=COLOURS[role], label=name)
        axes.axhline(0.5, color=COLOURS["muted"], linewidth=1, linestyle="--")
        axes.set(xscale="log", xlabel="side of the object, % of the image", ylabel="best IoU", ylim=(0, 1))
        axes.set_xticks([2, 5, 10, 20, 50, 90])
        axes.set_xticklabels([2, 5, 10, 20, 50, 90])
        axes.minorticks_off()
        axes.legend(loc="lower right")
        return figure


# Liu et al. (2016), table 2: mAP in percent of SSD300 on the test set of VOC 2007, with one part taken away at a time.
ABLATION = {
    "everything": 74.3, "without dilation: all of fc6 and fc7": 74.2, "without the ratios 3 and 1/3": 73.7,
    "squares alone": 71.6, "with fewer patches and distortions": 65.5,
}


def speed_table(speed):
    """Return what `benchmarks/ssd.py` measured, as Markdown."""
    yardstick = "torch.mm, 1,024²"
    rows, results = [], speed["default"]["results"]
    for part in ("match", "loss", "detect"):
        times, memory = results[part]["times"], results[part]["memory"]
        for name, result in times.items():
            if name != yardstick:
                rows.append((
                    f"`{name}`" if name.startswith("fast.") else name, number(1000 * result["seconds"], 1) + " ms",
                    number(result["ratio"][yardstick], 2) + " M", number(memory[name] / 1e6, 1) + " MB",
                ))
    found = table(("", "time", "against M", "peak memory"), rows)
    hardware = speed["default"]["hardware"]
    found.data += (
        f"\n\nM is `torch.mm` of two 1,024 × 1,024 matrices. {hardware['processor']}, {hardware['threads']} threads, "
        f"torch {hardware['torch']}, float32."
    )
    return found
