"""The figures and tables of the chapter on feature pyramids."""

import numpy as np

from cvnotes import data
from cvnotes.explorer import Picture, number
from cvnotes.explorer.drawing import COLOURS
from cvnotes.fpn import formulas
from cvnotes.notebooks import style, table

CHANNELS = {2: 256, 3: 512, 4: 1024, 5: 2048}  # of ResNet-50's C2 to C5


# --- the pyramid ---------------------------------------------------------------------------


def _plate(picture, x, y, wide, role, dash=None):
    """Draw a map that lies flat, its middle at (x, y)."""
    tall, slant = wide * 0.36, wide * 0.2
    d = f"M{x - (wide - slant) / 2:.1f} {y - tall / 2:.1f}h{wide:.1f}l{-slant:.1f} {tall:.1f}h{-wide:.1f}z"
    picture.path(d, role, opacity=0.3).path(d, "none", role, 1.5, dash=dash)


def draw_pyramid(height=800, width=1344):
    """Return SVG text: the bottom-up way, the lateral connections, the top-down way and the levels, with their sizes."""
    picture = Picture(480, 450, "")
    for x, name, role in ((76, "bottom-up", "input"), (262, "top-down", "kernel"), (418, "levels", "output")):
        picture.text(x, 20, name, 16, fill=role, weight="600")
    for i, level in enumerate((5, 4, 3, 2)):
        y, wide = 64 + 92 * i + (0, 0, 2, 10)[i], (30, 44, 66, 98)[i]
        rows, columns = (formulas.level_size(side, level) for side in (height, width))
        _plate(picture, 76, y, wide, "input")
        _plate(picture, 262, y, wide, "kernel")
        _plate(picture, 418, y, wide, "output")
        half = wide * 0.6
        picture.arrow(76 + half, y, 262 - half, y, "muted")
        picture.text((338 if level > 2 else 336) / 2, y - 8, "1×1", 14, fill="muted")
        picture.arrow(262 + half, y, 418 - half, y, "muted")
        picture.text(341, y - 8, "3×3", 14, fill="muted")
        below = y + wide * 0.18 + 17
        picture.text(76, below, f"C{level}: {CHANNELS[level]} channels", 14)
        picture.text(262, below, f"M{level}: 256", 14)
        picture.text(418, below, f"P{level}: {rows} × {columns}", 14)
        if i:
            above = 64 + 92 * (i - 1) + (0, 0, 2, 10)[i - 1]
            last = (30, 44, 66, 98)[i - 1]
            picture.arrow(262, above + last * 0.18 + 22, 262, y - wide * 0.18 - 3, "kernel", 2)
            picture.text(274, (above + last * 0.18 + 22 + y - wide * 0.18) / 2 + 2, "× 2, +", 14, "start", "kernel", "600")
            picture.arrow(76, y - wide * 0.18 - 3, 76, above + last * 0.18 + 22, "input", 2)
            picture.text(64, (above + last * 0.18 + 22 + y - wide * 0.18) / 2 + 4, "stride 2", 14, "end", "input")
    picture.arrow(76, 424, 76, 404, "input", 2)
    picture.text(64, 419, "stride 4", 14, "end", "input")
    picture.text(76, 441, f"image: {height} × {width}", 14)
    return picture.svg()


# --- spectra -------------------------------------------------------------------------------


def two_waves(periods=3, n=32):
    """Return a wave of n samples, each repeated once, and the two waves that it is the sum of, each (2n,).

    The slow one has as many periods as the samples; the other is the ripple of the steps.
    """
    fine = np.repeat(np.cos(2 * np.pi * periods * np.arange(n) / n), 2)
    spectrum = np.fft.rfft(fine)
    slow = np.fft.irfft(np.where(np.arange(n + 1) == periods, spectrum, 0))
    return fine, slow, fine - slow


def plot_copy(periods=3, n=32, shown=22):
    """Plot a repeated wave as the staircase that it is, and the two waves whose sum it is."""
    from matplotlib.figure import Figure

    fine, slow, ripple = two_waves(periods, n)
    at = np.arange(shown)
    with style(figure_figsize=(6.4, 3.4)):
        figure = Figure()
        stairs, parts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        stairs.step(at, fine[:shown], where="mid", color=COLOURS["kernel"], label="repeated")
        stairs.plot(at[::2] + 0.5, fine[:shown:2], "o", color=COLOURS["ink"], markersize=4, label="coarse places")
        parts.plot(at, slow[:shown], color=COLOURS["input"], label=f"{periods}/{2 * n}")
        parts.plot(at, ripple[:shown], ".-", color=COLOURS["negative"], label=f"{n - periods}/{2 * n}")
        parts.set(xlabel="places of the fine map")
        for axes in (stairs, parts):
            axes.set_yticks((-1, 0, 1))
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure


def plot_gains():
    """Plot what is left of a coarse wave and of its copy after nearest upsampling, and after a filter of ¼, ½, ¼."""
    from matplotlib.figure import Figure

    f = np.linspace(0, 0.25, 101)
    with style(figure_figsize=(5.6, 3.5)):
        figure = Figure()
        axes = figure.add_subplot()
        for name, at, colour in (("the wave, f", f, "input"), ("its copy, ½ − f", 0.5 - f, "negative")):
            gain = np.array([formulas.nearest_gain(x) for x in at])
            axes.plot(f, gain, color=COLOURS[colour], label=f"{name}: repeated")
            after = gain * [formulas.binomial_gain(x) for x in at]
            axes.plot(f, after, "--", color=COLOURS[colour], label="and ¼, ½, ¼")
        axes.set(xlabel="f, periods a place of the fine map", ylabel="what is left", xlim=(0, 0.25), ylim=(0, 1.02))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return figure


def share_above(power, limit=0.25):
    """Return the share of a spectrum (H, W) that lies above a frequency, across or down, in periods a place."""
    across, down = (np.abs(np.fft.fftfreq(n)) > limit for n in (power.shape[1], power.shape[0]))
    above = down[:, None] | across
    return float(power[above].sum() / power.sum())


def smoothed(power):
    """Return what a filter of ¼, ½, ¼ across and down would leave of a spectrum (H, W)."""
    down, across = ([formulas.binomial_gain(f) ** 2 for f in np.fft.fftfreq(n)] for n in power.shape)
    return power * np.outer(down, across)


BANDS = (1 / 8, 1 / 4, 3 / 8, 1 / 2)  # in periods a place, across or down, whichever is faster: where each band ends


def gain_by_band(before, after):
    """Return by how much a step multiplies the waves of each band (root mean square), from two spectra (H, W)."""
    down, across = (np.abs(np.fft.fftfreq(n)) for n in before.shape)
    fastest = np.maximum(down[:, None], across)
    gains, low = [], 0.0  # frequency 0, the mean, belongs to no band
    for high in BANDS:
        own = (fastest > low) & (fastest <= high)
        gains.append(float(np.sqrt(after[own].sum() / before[own].sum())))
        low = high
    return gains


def gain_table(arrays, level=2):
    """Return what the trained 3×3 of a level does to waves from above, and to the whole level, by band, as Markdown."""
    rows = [[name, *(number(x, 2) for x in gain_by_band(arrays[f"spectrum {level} {a}"], arrays[f"spectrum {level} {b}"]))]
            for name, a, b in (("from above", "U", "added"), ("the whole level", "M", "P"))]
    return table((f"multiplied by (P{level})", "up to ⅛", "⅛ to ¼", "¼ to ⅜", "⅜ to ½"), rows)


def draw_spectra(rows, decades=3):
    """Return SVG text of spectra, {name: {name: power (H, H)}}: each map's own largest is dark, white 1/10^`decades`."""
    width, side = 480, 136
    picture = Picture(width, 26 + (side + 34) * len(rows), "")
    for i, (name, row) in enumerate(rows.items()):
        y = 34 + (side + 34) * i
        picture.text(8, y + side / 2, name, 16, "start", weight="700")
        for j, (title, power) in enumerate(row.items()):
            x = 48 + (side + 10) * j
            picture.text(x + side / 2, y - 8, title, 14)
            shown = np.fft.fftshift(np.asarray(power, np.float64))
            shown = np.where(shown > 0, np.log10(np.maximum(shown, 1e-30) / shown.max()), -decades)
            share = np.clip(1 + shown / decades, 0, 1)[..., None]
            image = np.rint((250, 250, 250) + share * (np.array((0, 60, 110.0)) - 250)).astype(np.uint8)
            picture.image(x, y, side, side, data.bitmap(image))
            picture.rect(x, y, side, side, "none", "faint", 1)
            n = len(power)
            half = (n // 4 + 0.5) * side / n  # what lies within is not above ¼
            middle = (n // 2 + 0.5) * side / n
            low = max(0.0, middle - half)
            picture.rect(x + low, y + low, middle + half - low, middle + half - low, "none", "kernel", 2, dash="5 4")
    return picture.svg()


# --- what is read from a place ---------------------------------------------------------------

GROUPS = ("all", "below 16", "16 to 48", "48 and more")


def plot_read_outs(arrays):
    """Plot which class is told right, by size of the object, from C2 to C5; and of which cells the cover is told wrong."""
    from matplotlib.figure import Figure

    right, count = arrays["right"] / arrays["objects"], arrays["objects"]
    with style(figure_figsize=(6.4, 3.3)):
        figure = Figure()
        what, where = figure.subplots(1, 2)
        at = np.arange(4)
        for g, colour in ((1, "input"), (2, "kernel"), (3, "output")):
            share = right[:4, g]
            error = np.sqrt(share * (1 - share) / count[g])
            what.errorbar(at, share, error, color=COLOURS[colour], marker="o", capsize=3, label=f"{GROUPS[g]} px")
        what.axhline(1 / 6, color=COLOURS["padding"], linestyle=":", label="guessed")
        what.set(title="what: class told right", ylim=(0, 1))
        what.legend(fontsize=9, loc="lower left", ncols=2, handlelength=1.4, columnspacing=1)
        where.plot(at, 100 * arrays["cells"][:4], marker="o", color=COLOURS["negative"], label="read from the place")
        where.axhline(100 * arrays["cells_always"].item(), color=COLOURS["padding"], linestyle=":", label="always “no”")
        where.set(title="where: cells told wrong, %", ylim=(0, 30))
        where.legend(fontsize=9, loc="upper left")
        for axes in (what, where):
            axes.set_xticks(at, ["C2", "C3", "C4", "C5"])
        return figure


def read_out_table(arrays):
    """Return the shares of C2 to C5 and P2 to P5 whose class is told right, by size, as Markdown."""
    right = arrays["right"] / arrays["objects"]
    rows = []
    for k in range(4):
        cells = [f"{100 * right[k, g]:.0f} → {100 * right[4 + k, g]:.0f}" for g in (1, 2, 3, 0)]
        centre = f"{arrays['near'][k, 0]:.1f} → {arrays['near'][4 + k, 0]:.1f}"
        cell = f"{100 * arrays['cells'][k]:.1f} → {100 * arrays['cells'][4 + k]:.1f}"
        rows.append([text.replace(" ", "\u00a0") for text in (f"C{k + 2} → P{k + 2}", *cells, centre, cell)])
    heads = [f"{GROUPS[g]} px, %" for g in (1, 2, 3)] + ["all, %", "centre, px", "cells wrong, %"]
    return table(["level"] + heads, rows)


def found_table(arrays):
    """Return of how many objects the place of the centre scores above ½, by level and size, as Markdown."""
    share = 100 * arrays["found"] / arrays["scored"][:, None]  # (4, 4, 2)
    rows = [[f"P{k + 2}", *(f"{share[k, g, 0]:.0f}\u00a0→\u00a0{share[k, g, 1]:.0f}" for g in (1, 2, 3))] for k in range(4)]
    return table(["level"] + [f"{GROUPS[g]} px, %" for g in (1, 2, 3)], rows)


def crossed_table(arrays):
    """Return how well a read-out of one level tells classes on the others, as Markdown."""
    share = 100 * arrays["crossed"] / arrays["owned"]  # (2, 4, 4)
    rows = [[f"fitted to P{k + 2}", *(f"{share[0, k, j]:.0f}\u00a0→\u00a0{share[1, k, j]:.0f}" for j in range(4))]
            for k in range(4)]
    return table(["right, %"] + [f"on P{j + 2}" for j in range(4)], rows)


# --- the ablations ---------------------------------------------------------------------------

ABLATIONS = {
    "full": ("the whole pyramid", "output"), "no-top-down": ("no top-down", "input"),
    "no-lateral": ("no lateral", "kernel"), "finest": ("finest level only", "negative"),
}
FIGURES = {"AP": "all", "APs": "small", "APm": "medium", "APl": "large"}


def plot_ablations(training):
    """Plot AP by size of the object for each kind of pyramid: mean and standard deviation over seeds, and each seed."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(6.0, 3.6)):
        figure = Figure()
        axes = figure.add_subplot()
        for i, (variant, (name, colour)) in enumerate(ABLATIONS.items()):
            summary = training["variants"][variant]["summary"]
            at = np.arange(len(FIGURES)) + 0.2 * (i - 1.5)
            mean, deviation = (100 * np.array([summary[key][what] for key in FIGURES]) for what in ("mean", "deviation"))
            axes.bar(at, mean, 0.17, color=COLOURS[colour], alpha=0.55, label=name)
            axes.errorbar(at, mean, deviation, fmt="none", color=COLOURS["ink"], capsize=3, linewidth=1.5)
            for x, key in zip(at, FIGURES):
                seeds = summary[key]["seeds"]
                axes.plot([x] * len(seeds), 100 * np.array(seeds), "o", color=COLOURS[colour], markersize=3.5)
        axes.set_xticks(range(len(FIGURES)), [f"{key}\n{name}" for key, name in FIGURES.items()])
        axes.set(ylabel="AP, percent")
        axes.set_ylim(0, None)
        axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return figure


def ablation_table(training):
    """Return the same as numbers: mean ± standard deviation over seeds, in percent, as Markdown."""
    rows = []
    for variant, (name, _) in ABLATIONS.items():
        own = training["variants"][variant]
        cells = [f"{number(100 * own['summary'][key]['mean'], 1)} ± {number(100 * own['summary'][key]['deviation'], 1)}"
                 for key in FIGURES]
        cells = [cell.replace(" ", "\u00a0") for cell in cells]
        rows.append([name, *cells, number(own["boxes"]), number(own["params"])])
    return table(["pyramid", *(f"{key}" for key in FIGURES), "anchors", "parameters"], rows)


def longer_table(training):
    """Return the AP of each seed after the longer training, in percent, as Markdown."""
    rows = []
    for variant in ("full", "no-top-down"):
        own = training["longer"][variant]
        seeds = [", ".join(number(100 * value, 1) for value in own["summary"][key]["seeds"]) for key in FIGURES]
        rows.append([ABLATIONS[variant][0], number(own["steps"]), *seeds])
    return table(["pyramid", "steps", *FIGURES], rows)
