"""Where the time of a network goes: tables and figures from what `benchmarks/layers.py` measured.

`speed` is its file as read; `networks` maps names of `cvnotes.models` to their titles.
"""

from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.notebooks import show_figure, style

KINDS = {  # of layers: their colour and its opacity in bars, and their mark among points
    "standard": ("kernel", 1, "o"), "1×1": ("kernel", 0.4, "s"), "grouped": ("negative", 1, "D"),
    "grouped 1×1": ("negative", 0.5, "D"), "depthwise": ("match", 1, "^"), "fully connected": ("ink", 0.6, "v"),
    "batch norm": ("padding", 0.9, None), "other": ("padding", 0.45, None),  # without multiply-adds
}


def network_table(speed, networks):
    """Return the times of networks as wholes, of their layers one by one, and prepared for inference, as Markdown."""
    from IPython.display import Markdown

    lines = [
        "| network | images | multiply-adds, G | time, ms | G a second | layers one by one | for inference |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for name, title in networks.items():
        for batch, found in _results(speed)["networks"][name].items():
            whole, giga = found["times"]["whole"]["seconds"], found["macs"] / 1e9
            ratios = [found["times"][how]["ratio"]["whole"] for how in ("layers one by one", "for inference")]
            cells = [number(giga, 2), number(1000 * whole, 1), number(giga / whole, 1)]
            cells += [number(ratio, 2) + "\u00a0×" for ratio in ratios]
            lines.append(f"| {title if batch == '1' else ''} | {batch} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines + ["", f"{hardware(speed)}, evaluation mode."]))


def hardware(speed):
    """Return in words what the times were measured on."""
    facts = speed["default"]["hardware"]
    return f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}, float32"


def shares(speed, name, batch):
    """Return for each kind of layer of a network its share of the multiply-adds and of the layers' time."""
    kinds = _results(speed)["networks"][name][str(batch)]["kinds"]
    totals = [sum(kind[what] for kind in kinds.values()) for what in ("macs", "seconds")]
    return {
        kind: (kinds[kind]["macs"] / totals[0], kinds[kind]["seconds"] / totals[1]) for kind in KINDS if kind in kinds
    }


def show_shares(speed, networks, batch):
    """Return a figure: for each network two bars, its multiply-adds and its time, one part a kind of layer."""
    found = {title: shares(speed, name, batch) for name, title in networks.items()}
    there = [kind for kind in KINDS if any(kind in parts for parts in found.values())]
    picture, x, y = Picture(400, 70 + 84 * len(found), ""), 10, 10
    for kind in there:
        width = 26 + 8.2 * len(kind)
        if x + width > 396:
            x, y = 10, y + 22
        picture.rect(x, y, 14, 14, KINDS[kind][0], opacity=KINDS[kind][1])
        picture.text(x + 19, y + 12, kind, 15, "start")
        x += width + 8
    words = []
    for title, parts in found.items():
        y += 84 if words else 46
        picture.text(10, y, title, 16, "start", weight="600")
        for i, what in enumerate(("multiply-adds", "time")):
            _draw_shares(picture, y + 8 + 27 * i, what, {kind: parts[kind][i] for kind in parts})
        words.append(f"{title}: " + ", ".join(
            f"{kind} {number(100 * a)}% of the multiply-adds, {number(100 * b)}% of the time"
            for kind, (a, b) in parts.items()
        ))
    picture.height = y + 70
    return show_figure(picture.svg(), f"Shares of kinds of layers, {_images(batch)}. " + ". ".join(words) + ".")


def _draw_shares(picture, y, what, parts):
    picture.text(112, y + 17, what, 15, "end")
    x = 120
    for kind, share in parts.items():
        role, opacity, _ = KINDS[kind]
        picture.rect(x, y, 270 * share, 23, role, opacity=opacity)
        if share > 0.12:
            ink = "paper" if opacity == 1 else "ink"
            picture.text(x + 135 * share, y + 17, f"{number(100 * share)}%", 15, fill=ink)
        x += 270 * share


def show_roofline(speed, name, title, batch):
    """Return a figure: the time of a multiply-add in each layer against the layer's intensity, and the machine's limit.

    The limit is that of the roofline model: what is multiplied at the speed of a large matrix product,
    or moved at that of a long copy, whichever takes longer.
    """
    from matplotlib.figure import Figure

    balance = _results(speed)["balance"]
    points = intensities(speed, name, batch)
    with style(figure_figsize=(5.4, 4.2)):
        figure = Figure()
        axes = figure.add_subplot()
        for kind in (kind for kind in KINDS if kind in points):
            role, opacity, mark = KINDS[kind]
            face = COLOURS[role] if opacity == 1 else "none"
            axes.plot(*zip(*points[kind]), mark, label=kind, mfc=face, mec=COLOURS[role], mew=1.4, ms=6.5)
        reached = [x for kind in points.values() for x, _ in kind]
        ends, corner = (min(*reached, 1) / 1.4, max(reached) * 1.4), balance["operations a byte"]
        across = sorted({ends[0], min(max(corner, ends[0]), ends[1]), ends[1]})
        line = [limit(balance, x) for x in across]
        axes.plot(across, line, color=COLOURS["ink"], label="the machine's limit", zorder=1)
        axes.axvline(corner, color=COLOURS["ink"], linewidth=1, linestyle=":", label="its balance", zorder=0)
        axes.set(xscale="log", yscale="log", xlim=ends)
        axes.set(xlabel="operations for each byte moved", ylabel="picoseconds a multiply-add")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: number(value, 0 if value >= 1 else 1 if value >= 0.1 else 2))
            axis.set_minor_formatter(lambda value, _: "")
        figure.legend(loc="outside upper left", ncols=3, fontsize=11, handletextpad=0.4, columnspacing=1.2)
    words = f"The layers of {title}, {_images(batch)}: the time of a multiply-add against the operations for each byte "
    words += f"moved, both logarithmic. The machine's balance is {number(corner, 1)} operations a byte."
    return show_figure(figure, words)


def intensities(speed, name, batch):
    """Return for each kind of layer a list of (operations for each byte, picoseconds for each multiply-add)."""
    points = {}
    for layer in _results(speed)["networks"][name][str(batch)]["layers"]:
        point = 2 * layer["macs"] / layer["bytes"], 1e12 * layer["seconds"] / layer["macs"]
        points.setdefault(layer["kind"], []).append(point)
    return points


def limit(balance, intensity):
    """Return the picoseconds that a multiply-add, two operations, takes at least by the roofline model."""
    return 2e12 * max(1 / balance["operations"], 1 / (intensity * balance["bytes"]))


def _results(speed):
    return speed["default"]["results"]


def _images(batch):
    return "one image" if batch == 1 else f"{batch} images at once"
