"""The figures and tables of the chapter on networks as budgets."""

from cvnotes import cost, layer_times
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
    picture = Picture(400, 2 * PANEL - 12, "")
    size, channels, *_ = module
    unit = 96 / cost.conv2d(channels, module[4], 3, size).macs
    wide = 380 / formulas.module_width(channels, module[2], module[4], module[6], None)
    for top, words, arguments in ((0, "naive", naive(module)), (PANEL, "reduced", module)):
        total = sum(formulas.module_cost(*arguments).values()).macs
        picture.text(10, top + 20, words, 17, "start", weight="600")
        picture.text(390, top + 20, f"{number(total)} multiply-adds", 15, "end")
        picture.rect(10, top + 30, channels * wide, 22, "input", "input", opacity=0.3)
        picture.text(10 + channels * wide / 2, top + 46, f"{channels} channels", 15)
        at, floor = 10, top + 222
        for i, steps in enumerate(_steps(channels, *arguments[2:])):
            middle, y = 58 + i * 95, top + 76
            picture.line(10 + channels * wide * (i + 0.5) / 4, top + 52, middle, y - 14, "padding", 1.5)
            for k, (name, kernel_size, given, made) in enumerate(steps):
                macs = kernel_size and cost.conv2d(given, made, kernel_size, size).macs
                picture.line(middle, y - 14 - 6 * (k > 0), middle, y - 14, "padding", 1.5)
                picture.text(middle, y, name + (f" → {made}" if kernel_size else ""), 15)
                picture.rect(middle - 32, y + 6, 64, max(macs * unit, 1.5), "kernel" if macs else "muted", opacity=0.8)
                y += 6 + macs * unit + 16
                picture.text(middle, y, f"{number(macs / 1e6, 1)} M" if macs else "0", 15, fill="muted")
                y += 26
            width = made * wide
            picture.line(middle, y - 20, middle, floor - 14, "padding", 1.5)
            picture.line(middle, floor - 14, at + width / 2, floor, "padding", 1.5)
            picture.rect(at, floor, width, 22, "output", "output", opacity=0.3)
            picture.text(at + width / 2, floor + 16, str(made), 15)
            at += width
        made = formulas.module_width(channels, *(arguments[k] for k in (2, 4, 6, 7)))
        picture.text(10, floor + 40, f"{made} channels", 15, "start", "output")
    return picture.svg()


PANEL = 284  # units of one of the two modules


def _steps(channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj):
    """Return for each branch its steps: name, kernel (0 for the pool), channels before and after."""
    def reduced(width):
        return [] if width is None else [("1×1", 1, channels, width)]

    return [
        [("1×1", 1, channels, ch1x1)], reduced(ch3x3red) + [("3×3", 3, ch3x3red or channels, ch3x3)],
        reduced(ch5x5red) + [("5×5", 5, ch5x5red or channels, ch5x5)],
        [("max pool", 0, channels, channels)] + reduced(pool_proj),
    ]


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


# --- classifiers -----------------------------------------------------------------------


def draw_classifiers(networks):
    """Return SVG text: for each (name, parameters before the classifier, parameters of it), a bar of both."""
    picture = Picture(400, 34 + 58 * len(networks), "")
    picture.rect(10, 6, 14, 14, "input", opacity=0.75)
    picture.text(29, 18, "before the classifier", 15, "start")
    picture.rect(214, 6, 14, 14, "negative", opacity=0.75)
    picture.text(233, 18, "the classifier", 15, "start")
    unit = 380 / max(body + classifier for _, body, classifier in networks)
    for i, (name, body, classifier) in enumerate(networks):
        y = 36 + 58 * i
        picture.text(10, y + 14, name, 16, "start", weight="600")
        picture.text(390, y + 14, f"{number(body / 1e6, 1)} M + {number(classifier / 1e6, 1)} M", 15, "end")
        picture.rect(10, y + 22, max(body * unit, 1), 20, "input", opacity=0.75)
        picture.rect(10 + body * unit, y + 22, max(classifier * unit, 1), 20, "negative", opacity=0.75)
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
    picture = Picture(400, 240, "")
    for i, segments in enumerate(counts):
        left, step, part = 12 + i * 132, 112 / (channels - 1), channels // segments
        name = f"{segments} branch" + ("es" if segments > 1 else "")
        picture.text(left + 56, 20, name, 16, weight="600")
        x = [left + c * step for c in range(channels)]
        mixing = "".join(f"M{a:.0f} 40L{b:.0f} 110" for a in x for b in x)
        picture.path(mixing, "none", "padding", 1)
        within = "".join(
            f"M{x[a]:.0f} 110L{x[b]:.0f} 180"
            for a in range(channels) for b in range(channels) if a // part == b // part
        )
        picture.path(within, "none", "kernel", 1.4)
        for c in range(channels):
            picture.circle(x[c], 40, 5, "input")
            picture.circle(x[c], 110, 5, "muted")
            picture.circle(x[c], 180, 5, "output")
        mix, spatial = formulas.segments_cost(1, channels, channels, 3, segments)
        picture.text(left + 56, 208, f"1×1: {number(mix.params)}", 15, fill="muted")
        picture.text(left + 56, 230, f"3×3: {number(spatial.params)}", 15, fill="kernel", weight="600")
    return picture.svg()


# --- what the budgets bought -----------------------------------------------------------

# Shares of ImageNet's validation images that are right at the first and within the first five answers, in percent.
ACCURACY = {
    "AlexNet": (57.2, 80.3),  # Iandola et al. (2016), table 2
    "VGG-16": (71.5, 90.1),  # Chollet (2017), table 1
    "GoogLeNet": (None, 89.93),  # Szegedy et al. (2015), table 3: an error of 10.07% with one network and one crop
    "SqueezeNet": (57.5, 80.3),  # Iandola et al. (2016), table 2
    "Xception": (79.0, 94.5),  # Chollet (2017), table 1
}


def accuracy_table(costs):
    """Return what networks cost, a `Cost` by name, and the accuracy that papers report, as Markdown."""
    from IPython.display import Markdown

    lines = ["| network | parameters, M | multiply-adds, G | top 1 | top 5 |", "|:--|--:|--:|--:|--:|"]
    for name, found in costs.items():
        cells = [number(found.params / 1e6, 1), number(found.macs / 1e9, 2)]
        cells += ["–" if share is None else number(share, 1) + "%" for share in ACCURACY[name]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines))


# --- three 1×1 convolutions as one -----------------------------------------------------


def speed_table(speed):
    """Return what `benchmarks/inception.py` measured, as Markdown."""
    from IPython.display import Markdown

    default, kept = speed["default"]["results"], speed["keep_pages"]["results"]
    lines = [
        "| module | three 1×1 apart | as one | pages kept | the whole, branch by branch | as one | pages kept |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for case in default:
        cells = []
        for task, apart, one in (
            ("three 1×1", "apart", "as one"), ("module", "branch by branch", "fast.inception_module"),
        ):
            cells.append(f"{number(1000 * default[case][task][apart]['seconds'], 2)}\u00a0ms")
            cells += [f"{number(r[case][task][one]['ratio'][apart], 2)}\u00a0×" for r in (default, kept)]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines + ["", f"{layer_times.hardware(speed)}, forward."]))
