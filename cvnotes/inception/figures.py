"""The figures and tables of the chapter on networks as budgets."""

from cvnotes import cost
from cvnotes.explorer import Picture, number
from cvnotes.inception import formulas

# --- the module ------------------------------------------------------------------------

NAIVE = {"ch3x3red": None, "ch5x5red": None, "pool_proj": None}
WIDTHS = ("size", "in_channels", "ch1x1", "ch3x3red", "ch3x3", "ch5x5red", "ch5x5", "pool_proj")


def naive(module):
    """Return the arguments of `formulas.module_cost` without reductions and projection."""
    return tuple(NAIVE.get(name, width) for name, width in zip(WIDTHS, module))


def draw_modules(module):
    """Return SVG text: an Inception module naive and reduced; the height of a box is its multiply-adds."""
    picture = Picture(400, 488, "")
    size, channels, *_ = module
    unit = 96 / cost.conv2d(channels, module[4], 3, size).macs
    wide = 380 / formulas.module_width(channels, module[2], module[4], module[6], None)
    for top, words, arguments in ((0, "naive", naive(module)), (242, "reduced", module)):
        _, _, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj = arguments
        total = sum(formulas.module_cost(*arguments).values()).macs
        picture.text(10, top + 20, words, 17, "start", weight="600")
        picture.text(390, top + 20, f"{number(total)} multiply-adds", 15, "end")
        picture.rect(10, top + 30, channels * wide, 22, "input", "input", opacity=0.3)
        picture.text(10 + channels * wide / 2, top + 46, f"{channels} channels", 15)
        branches = [
            [("1×1", 1, channels, ch1x1)],
            ([] if ch3x3red is None else [("1×1", 1, channels, ch3x3red)])
            + [("3×3", 3, ch3x3red or channels, ch3x3)],
            ([] if ch5x5red is None else [("1×1", 1, channels, ch5x5red)])
            + [("5×5", 5, ch5x5red or channels, ch5x5)],
            [("max pool", 0, channels, channels)]
            + ([] if pool_proj is None else [("1×1", 1, channels, pool_proj)]),
        ]
        at = 10
        for i, steps in enumerate(branches):
            middle, y, price = 58 + i * 95, top + 58, 0
            for name, kernel_size, given, made in steps:
                picture.text(middle, y + 14, name + ("" if name == "max pool" else f" · {made}"), 15)
                macs = kernel_size and cost.conv2d(given, made, kernel_size, size).macs
                picture.rect(middle - 32, y + 20, 64, max(macs * unit, 1.5), "kernel" if macs else "muted", opacity=0.8)
                y, price = y + 26 + macs * unit, price + macs
            words = f"{number(price / 1e6, 1)} M" if price else "0"
            picture.text(middle, y + 11, words, 14, fill="muted")
            width = steps[-1][3] * wide
            picture.rect(at, top + 204, width, 22, "output", "output", opacity=0.3)
            picture.text(at + width / 2, top + 220, str(steps[-1][3]), 15)
            at += width
        if at < 300:
            picture.text(at + 8, top + 220, f"{number((at - 10) / wide)} channels", 15, "start")
    return picture.svg()


def module_table(module):
    """Return what each branch of a module costs, naive and reduced, as Markdown."""
    from IPython.display import Markdown

    lines = [
        "| branch | naive, multiply-adds | weights | reduced, multiply-adds | weights | naive / reduced |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    before, after = formulas.module_cost(*naive(module)), formulas.module_cost(*module)
    rows = [(name, before[name], after[name]) for name in before]
    for name, a, b in rows + [("**all**", sum(before.values()), sum(after.values()))]:
        counts = " | ".join(number(count) for count in (a.macs, a.params, b.macs, b.params))
        lines.append(f"| {name} | {counts} | {number(a.macs / b.macs, 2) if a.macs else '–'} |")
    return Markdown("\n".join(lines))


# --- heads -----------------------------------------------------------------------------


def draw_heads(networks):
    """Return SVG text: for each (name, parameters before the head, parameters of the head), a bar of both."""
    picture = Picture(400, 12 + 62 * len(networks), "")
    unit = 380 / max(body + head for _, body, head in networks)
    for i, (name, body, head) in enumerate(networks):
        y = 10 + 62 * i
        picture.text(10, y + 14, name, 16, "start", weight="600")
        words = f"{number(body / 1e6, 1)} M + " + (f"{number(head / 1e6, 1)} M" if head else "none") + " in the head"
        picture.text(390, y + 14, words, 15, "end")
        picture.rect(10, y + 22, max(body * unit, 1), 22, "input", opacity=0.75)
        picture.rect(10 + body * unit, y + 22, head * unit, 22, "negative", opacity=0.75)
    return picture.svg()


# --- GoogLeNet and its table -----------------------------------------------------------

# Szegedy et al., Going deeper with convolutions (2015), table 1: params in K and ops in M of each row.
PAPER = {
    "7×7": (2.7, 34), "1×1, 3×3": (112, 360), "3a": (159, 128), "3b": (380, 304), "4a": (364, 73), "4b": (437, 88),
    "4c": (463, 100), "4d": (580, 119), "4e": (840, 170), "5a": (1072, 54), "5b": (1388, 71), "linear": (1000, 1),
}


def googlenet_modules(network):
    """Return the arguments of `formulas.module_cost` for each Inception module of a GoogLeNet, by its name.

    Widths are those of its convolutions, sizes those of its trace at 224 × 224.
    """
    sizes = {row.name.split(".")[0]: row.output_shape[-1] for row in cost.trace(network, (1, 3, 224, 224))}
    modules = {}
    for name, block in network.named_children():
        if name.startswith("inception"):
            convolutions = [layer for layer in block.modules() if hasattr(layer, "out_channels")]
            widths = [layer.out_channels for layer in convolutions]
            modules[name.removeprefix("inception")] = (sizes[name], convolutions[0].in_channels, *widths)
    return modules


def googlenet_rows(modules):
    """Return the `Cost` of each row of the paper's table that has weights, without biases."""
    return {
        "7×7": sum(formulas.separable_cost(112, 3, 64, 7, multiplier=8)),
        "1×1, 3×3": sum(formulas.chain(56, (64, 64, 192), (1, 3))),
        **{name: sum(formulas.module_cost(*module).values()) for name, module in modules.items()},
        "linear": cost.linear(1024, 1000),
    }


def googlenet_table(rows):
    """Return the computed rows beside the paper's, as Markdown."""
    from IPython.display import Markdown

    lines = [
        "| row | weights | / 1,024 | paper, K | Δ | multiply-adds | paper, M | Δ |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in rows.items():
        kilos, millions = PAPER[name]
        cells = [
            number(found.params), number(found.params / 1024, 1), number(kilos, 1 if kilos < 10 else 0),
            _percent(found.params / 1024 / kilos), number(found.macs), str(millions),
            _percent(found.macs / 1e6 / millions),
        ]
        lines.append(f"| {name.replace(' ', chr(160))} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines))


def _percent(ratio):
    change = number(100 * (ratio - 1), 1)
    return ("" if change.startswith("−") or change == "0.0" else "+") + change + "%"


# --- what followed ---------------------------------------------------------------------


def draw_segments(channels, counts):
    """Return SVG text: which channels meet in a 1×1 convolution and in the 3×3 ones after it, cut into branches."""
    picture = Picture(400, 226, "")
    for i, segments in enumerate(counts):
        left, step, part = 12 + i * 132, 112 / (channels - 1), channels // segments
        name = f"{segments} branch" + ("es" if segments > 1 else "")
        picture.text(left + 56, 20, name, 16, weight="600")
        x = [left + c * step for c in range(channels)]
        mixing = "".join(f"M{a:.0f} 40L{b:.0f} 110" for a in x for b in x)
        picture.path(mixing, "none", "faint", 0.7)
        within = "".join(
            f"M{x[a]:.0f} 110L{x[b]:.0f} 180"
            for a in range(channels) for b in range(channels) if a // part == b // part
        )
        picture.path(within, "none", "kernel", 1.3)
        for c in range(channels):
            picture.circle(x[c], 40, 4, "input")
            picture.circle(x[c], 110, 4, "muted")
            picture.circle(x[c], 180, 4, "output")
        _, spatial = formulas.segments_cost(1, channels, channels, 3, segments)
        picture.text(left + 56, 208, f"{number(spatial.params)} weights", 15)
    return picture.svg()
