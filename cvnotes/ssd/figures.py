"""The figures and tables of the chapter on SSD."""

from cvnotes import data
from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.notebooks import style, table
from cvnotes.ssd import formulas

LAYERS = ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11_2")  # that the six maps come from


def draw_maps():
    """Return SVG text: the six maps of SSD300 as grids, the default boxes of one place on each, and how many there are."""
    picture = Picture(400, 366, "")
    for k, (n, ratios) in enumerate(zip(formulas.MAP_SIZES, formulas.RATIOS)):
        left, top, side = 4 + k % 3 * 136, 44 + k // 3 * 184, 112
        picture.text(left, top - 27, LAYERS[k], 14, "start", weight="600")
        picture.text(left, top - 9, f"{n} × {n}, {2 + 2 * len(ratios)} boxes", 14, "start")
        lines = "".join(
            f"M{left + side * i / n:.1f} {top}v{side}M{left} {top + side * i / n:.1f}h{side}" for i in range(n + 1)
        )
        picture.path(lines, "none", "faint", 0.6 if n > 10 else 1)
        scales = formulas.percent_scales(7, 15, 90, 6)
        middle = formulas.centre(n // 2, n)
        for i, (w, h) in enumerate(formulas.box_sizes(scales[k], scales[k + 1], ratios)):
            x1, y1, x2, y2 = formulas.default_box(middle, middle, w, h, clip=True)
            role = ("input", "output", "kernel", "kernel", "negative", "negative")[i]
            picture.rect(left + side * x1, top + side * y1, side * (x2 - x1), side * (y2 - y1), "none", role, 2)
        picture.text(left, top + side + 18, f"{n * n * (2 + 2 * len(ratios)):,} in all", 14, "start", "muted")
    return picture.svg()


def draw_fc6():
    """Return SVG text: the taps of fc6 over the image, in VGG and in SSD, both to one scale."""
    picture = Picture(400, 280, "")
    for left, title, apart_in_words, taps, apart in (
        (4, "VGG: 7 × 7 taps", "32 pixels apart", 7, 32), (208, "SSD: 3 × 3 taps", "6 · 16 = 96 pixels apart", 3, 96),
    ):
        side, top, scale = 188, 48, 164 / 192
        picture.text(left, 18, title, 15, "start", weight="600")
        picture.text(left, 38, apart_in_words, 14, "start")
        picture.rect(left, top, side, side, "none", "faint", 1)
        start = (side - 192 * scale) / 2
        for i in range(taps):
            for j in range(taps):
                picture.circle(left + start + j * apart * scale, top + start + i * apart * scale, 5, "kernel")
        for ahead, behind in ((start, side - start), (side - start, start)):
            picture.arrow(left + ahead, 248, left + behind, 248, "muted")
        picture.text(left + side / 2, 270, "192 pixels", 14, fill="muted")
    return picture.svg()


def draw_distortions(image, kinds):
    """Return SVG text: an image of bytes (H, W, 3) as each of some distortions makes it, by name."""
    import torch

    from cvnotes.ssd import explorer_data, fast

    pixels = torch.from_numpy(image).double().permute(2, 0, 1) / 255
    picture = Picture(400, 162 * -(-len(kinds) // 3), "")
    for k, (name, numbers) in enumerate(kinds.items()):
        left, top = 4 + k % 3 * 134, 24 + k // 3 * 162
        picture.text(left, top - 7, name, 14, "start", weight="600")
        made = (255 * fast.photometric_distortion(pixels, **numbers)).round().byte().permute(1, 2, 0)
        picture.image(left, top, 124, 124, data.bitmap(made.numpy()))
    return picture.svg()


CLASS_ROLES = ("input", "kernel", "output", "negative", "ignore", "ink")


def draw_detections(shown, min_score=0.5):
    """Return SVG text: for each of some `Outputs`, its objects on the left, and on the right what is found.

    Boxes have the colour of their class; those that are found have a number, and under the pictures a name and a score.
    """
    from cvnotes.ssd import explorer_data

    found = [explorer_data.detections(outputs, min_score) for outputs in shown]
    side, lines = 194, [-(-len(own) // 3) for own in found]
    picture = Picture(400, 62 + sum(side + 14 + 20 * count for count in lines), "")
    for k, name in enumerate(data.CLASSES):
        x, y = 6 + k % 3 * 132, 14 + k // 3 * 20
        picture.rect(x, y - 10, 12, 12, "none", CLASS_ROLES[k], 3)
        picture.text(x + 18, y + 1, name, 14, "start", CLASS_ROLES[k], "600")
    picture.text(2, 58, "what there is", 15, "start", weight="700")
    picture.text(206, 58, "what is found", 15, "start", weight="700")
    top = 66
    for i, (outputs, own, count) in enumerate(zip(shown, found, lines)):
        example = outputs.example
        size = len(example.image)
        picture.parts.append(f'<g id="cv-ssd-scene-{i}">')
        picture.image(2, top, side, side, data.bitmap(example.image))
        picture.parts.append(f'</g><use href="#cv-ssd-scene-{i}" x="202"/>')
        for label, box, crowd in zip(example.labels, example.boxes / size, example.iscrowd):
            _box(picture, 2, top, side, box, label, dash="4 4" if crowd else None)
        for number_, (label, _, box) in enumerate(own):
            _box(picture, 204, top, side, box, label)
        for number_, (label, score, box) in enumerate(own):
            x, y = 204 + min(max(side * box[0], 0), side - 17), top + min(max(side * box[1], 0), side - 17)
            picture.rect(x, y, 17, 17, CLASS_ROLES[label])
            picture.text(x + 8.5, y + 13.5, f"{number_ + 1}", 14, fill="paper", weight="700")
            x, y = 2 + 134 * (number_ % 3), top + side + 18 + 20 * (number_ // 3)
            picture.text(x, y, f"{number_ + 1} {data.CLASSES[label]} {number(score, 2)}", 14, "start", CLASS_ROLES[label], "600")
        top += side + 14 + 20 * count
    return picture.svg()


def _box(picture, left, top, side, box, label, dash=None):
    x1, y1, x2, y2 = (side * float(x) for x in box)
    for role, line in (("paper", 4.5), (CLASS_ROLES[label], 2.5)):
        picture.rect(left + x1, top + y1, x2 - x1, y2 - y1, "none", role, line, dash=dash if role != "paper" else None)


def plot_best_overlaps(sizes, found):
    """Plot the best IoU that an object of a size has with a default box: `found` has (low, mean, high) for each name."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.2)):
        figure = Figure()
        axes = figure.add_subplot()
        for (name, rows), role in zip(found.items(), ("input", "kernel", "negative")):
            low, mean, high = zip(*rows)
            axes.fill_between(sizes[:len(rows)], low, high, color=COLOURS[role], alpha=0.2, linewidth=0)
            axes.plot(sizes[:len(rows)], mean, color=COLOURS[role], label=name)
        axes.axhline(0.5, color=COLOURS["muted"], linewidth=1, linestyle="--")
        axes.set(xscale="log", xlabel="√area of the object, % of the image", ylabel="best IoU", ylim=(0, 1))
        axes.set_xticks([2, 5, 10, 20, 50, 90])
        axes.set_xticklabels([2, 5, 10, 20, 50, 90])
        axes.minorticks_off()
        axes.legend(loc="lower right")
        return figure


VARIANTS = {"ssd": "four maps", "ssd, middle map": "the middle map", "ssd, fine map": "the fine map"}
FIGURES = {"AP": "all", "APs": "small", "APm": "medium", "APl": "large"}


def plot_by_size(training):
    """Plot the AP of `benchmarks/detectors_training.py`, by the size of objects: each seed, and mean and deviation of them."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.6)):
        figure = Figure()
        axes = figure.add_subplot()
        for k, ((variant, name), role) in enumerate(zip(VARIANTS.items(), ("output", "input", "kernel"))):
            summary = training["variants"][variant]["summary"]
            x = [i + 0.22 * (k - 1) for i in range(len(FIGURES))]
            mean, deviation = ([100 * summary[size][part] for size in FIGURES] for part in ("mean", "deviation"))
            axes.bar(x, mean, 0.2, color=COLOURS[role], alpha=0.35, label=name)
            axes.errorbar(x, mean, deviation, fmt="none", ecolor=COLOURS["ink"], capsize=4, linewidth=1.2)
            for i, size in enumerate(FIGURES):
                seeds = summary[size]["seeds"]
                axes.plot([x[i]] * len(seeds), [100 * y for y in seeds], ".", color=COLOURS[role], markersize=5)
        axes.set_xticks(range(len(FIGURES)), FIGURES.values())
        axes.set(xlabel="objects", ylabel="AP, %")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        return figure


def size_table(training):
    """Return the same numbers as Markdown: AP in percent, mean ± deviation over the seeds."""
    rows = []
    for variant, name in VARIANTS.items():
        own = training["variants"][variant]
        cells = (f"{number(100 * s['mean'], 1)} ± {number(100 * s['deviation'], 1)}" for s in map(own["summary"].get, FIGURES))
        rows.append((name, number(own["boxes"]), number(own["params"]), *cells))
    return table(("boxes from", "boxes", "weights", *FIGURES.values()), rows)


def matched_table(found):
    """Return what `explorer_data.matched_by_size` counted, as Markdown."""
    rows = [
        (VARIANTS[variant], number(boxes), *(number(count, 1) for count in matched))
        for variant, (boxes, matched) in found.items()
    ]
    return table(("boxes from", "boxes", "a small object has", "a medium one", "a large one"), rows)


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
