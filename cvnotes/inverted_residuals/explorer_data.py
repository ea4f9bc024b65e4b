"""What the chapter's explorers need from NumPy and from whole networks, the same to the byte from run to run."""

import numpy as np

from cvnotes.inverted_residuals import explorers, formulas, reference

POINTS, DRAWS = 96, 8  # of the spiral; random matrices for each number of dimensions


def spiral():
    """Return the data of that explorer: the spiral, and what `DRAWS` matrices for each n make of it.

    In thousandths: the points and those that come back, as the text of an SVG path; the matrices,
    normally distributed; `reach`, half the side of a square that holds the points that come back.
    `active` counts the points with none, one, and more dimensions above 0.
    """
    points = np.array(formulas.spiral(POINTS)).round(3)  # (P, 2)
    cases = {}
    for n in explorers.DIMENSIONS:
        cases[str(n)] = []
        for draw in range(DRAWS):
            matrix = np.random.RandomState(100 * draw + n).standard_normal((n, 2)).round(3)
            recovered, loss = reference.linear_bottleneck_loss(points, matrix)
            above = (points @ matrix.T > 0).sum(1)  # (P,)
            cases[str(n)].append({
                "matrix": _thousandths(matrix).tolist(), "recovered": _text(recovered), "loss": round(float(loss), 6),
                "reach": max(explorers.REACH, 60 + int(abs(_thousandths(recovered)).max())),
                "active": [int((above == 0).sum()), int((above == 1).sum()), int((above > 1).sum())],
            })
    return {"points": _text(points), "cases": cases}


def _thousandths(array):
    return np.round(1000 * array).astype(int)


def _text(points):
    return " ".join(str(value) for value in _thousandths(points).ravel())


def multipliers():
    """Return the data of that explorer: what each width costs at 224 × 224.

    The multiply-adds of the convolutions and of the classifier are told apart: the first go with the
    square of the resolution, exactly where 32 divides it, the second don't. The networks have shapes
    and no numbers (torch's `meta` device), and a trace counts.
    """
    import torch

    from cvnotes import cost, models

    counted = {}
    for name, built in zip(explorers.NETWORKS, ("mobilenet_v1", "mobilenet_v2")):
        counted[name] = {}
        for width in explorers.MULTIPLIERS:
            with torch.device("meta"):
                network = models.build(built, width_mult=width).eval()
            trace = cost.trace(network, (1, 3, 224, 224))
            images = sum(row.cost.macs for row in trace if len(row.output_shape) == 4)
            counted[name][str(width)] = {
                "params": trace.total.params, "convolutions": images, "classifier": trace.total.macs - images,
            }
    return counted
