"""The chapter's measurements of the effective receptive field, and its figures."""

import numpy as np

from cvnotes.conv_arithmetic import fast
from cvnotes.explorer import Picture, image_uri
from cvnotes.notebooks import style

KINDS = ("equal", "random", "random with ReLU")


def effective_fields(depths, channels=8, runs=20):
    """Return the fields of stacks of 3×3 layers: ``{kind: [array (2n + 1, 2n + 1) for n in depths]}``.

    "equal" is one channel of equal weights. The random ones have `channels` channels with normal
    weights, as for training (He et al. 2015), and are the mean of `runs` draws, as in Luo et al.
    (2016); the images are normal too. Each field has 1 as its largest value.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the planes are too small to be worth sharing out
    fields = {kind: [] for kind in KINDS}
    for depth in depths:
        size, random = 2 * depth + 1, np.random.default_rng(depth)
        found = {kind: np.zeros((size, size)) for kind in KINDS}
        box = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
        image = torch.zeros(1, 1, size, size, dtype=torch.float64)
        found["equal"] += fast.effective_receptive_field(image, [box] * depth).numpy()
        for _ in range(runs):
            inputs = [1] + [channels] * (depth - 1)
            weights = [random.standard_normal((channels, C, 3, 3)) * (2 / (9 * C)) ** 0.5 for C in inputs]
            weights = [torch.from_numpy(w) for w in weights]
            x = torch.from_numpy(random.standard_normal((4, 1, size, size)))
            for kind in KINDS[1:]:
                field = fast.effective_receptive_field(x, weights, relu=kind == KINDS[2]).numpy()
                found[kind] += field / field.max()
        for kind in KINDS:
            fields[kind].append(found[kind] / found[kind].max())
    torch.set_num_threads(threads)
    return fields


def spread(field):
    """Return the standard deviation of a field along its rows, in pixels."""
    profile = field.sum(0)
    offset = np.arange(len(profile)) - len(profile) // 2
    return float(np.sqrt((profile * offset**2).sum() / profile.sum()))


def profiles(fields):
    """Return what the explorer `effective_field` takes: each field's profile, from its middle outwards."""
    found = {}
    for kind, stack in fields.items():
        found[kind] = []
        for field in stack:
            profile = field.sum(0)
            profile = (profile + profile[::-1]) / 2
            half = profile[len(profile) // 2 :]
            found[kind].append([round(float(value), 4) for value in half / half[0]])
    return found


def draw_fields(fields, depths):
    """Return SVG text: for each kind a row, for each of the listed depths an image of the field."""
    side, left, top = 132, 12, 34
    picture = Picture(3 * 150 + left, top + len(KINDS) * 160, "")
    for column, depth in enumerate(depths):
        picture.text(left + column * 150 + side / 2, 18, f"{depth} layers", 15)
        for row, kind in enumerate(KINDS):
            field = fields[kind][depth - 1]
            x, y = left + column * 150, top + row * 160
            grey = [[int(255.5 + 1e-6 - 255 * value) for value in line] for line in field]
            picture.image(x, y, side, side, image_uri(grey))
            picture.rect(x, y, side, side, "none", "kernel", 2)
            if column == 0:
                picture.text(x, y + side + 16, kind, 14, "start")
    return picture.svg()


def plot_spread(spreads, depths):
    """Plot the theoretical field and four standard deviations of the measured ones against depth."""
    from matplotlib.figure import Figure

    with style(figure_figsize=(5.4, 3.6)):
        figure = Figure()
        axes = figure.add_subplot()
        depths = np.array(depths)
        axes.plot(depths, 2 * depths + 1, color="#d55e00", label="theoretical: 2n + 1")
        axes.plot(depths, 4 * np.sqrt(2 * depths / 3), "--", color="#1f2937", linewidth=1.5, label="4·√(2n/3)")
        for kind, marker, colour in zip(KINDS, "osD", ("#0072b2", "#00805f", "#aa3377")):
            axes.plot(depths, 4 * np.array(spreads[kind]), marker, color=colour, markersize=4, label=kind)
        axes.set(xlabel="layers of 3 × 3, n", ylabel="pixels", xlim=(0, depths[-1] + 0.5), ylim=(0, None))
        axes.set_xticks(range(0, depths[-1] + 1, 5))
        axes.legend()
        return figure


def speed_table(speed):
    """Return what `benchmarks/conv_arithmetic.py` measured, as lines of text."""
    hardware, results = speed["default"]["hardware"], speed["default"]["results"]
    lines = [f"{hardware['processor']}, {hardware['threads']} threads, torch {hardware['torch']}"]
    for task in results:
        if task in ("case", "memory"):
            continue
        lines.append(f"{task:38}{'default':>9}{'keeps pages':>13}")
        for name in results[task]:
            usual, kept = (1000 * speed[way]["results"][task][name]["seconds"] for way in ("default", "keep_pages"))
            lines.append(f"  {name:36}{usual:9.3f}{kept:13.3f} ms")
    lines.append("memory, 24×24")
    lines += [f"  {name:36}{size / 1e6:9.2f} MB" for name, size in results["memory"].items()]
    return "\n".join(lines)
