"""The inverted residual in parts: its peak memory and its time, beside the block as it is usually written."""

import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.inverted_residuals import fast, formulas
from cvnotes.inverted_residuals.weights import InvertedResidualWeights

N, C, M, O, SIZE = 8, 24, 144, 24, 56
CASE = f"N {N}, {C} → {M} → {O}, {SIZE} × {SIZE}, 3 × 3, forward"
SPLITS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 144)
TIMED = (1, 2, 4, 8)


def as_usual(x, weights):
    """The block from torch's own convolutions, both ReLU6 in place."""
    t = F.relu6(F.conv2d(x, weights.w_expand, weights.b_expand), inplace=True)
    t = F.relu6(F.conv2d(t, weights.w_depthwise, weights.b_depthwise, padding=1, groups=M), inplace=True)
    return F.conv2d(t, weights.w_project, weights.b_project).add_(x)


def without_gradients(function):
    def call():
        with torch.no_grad():
            return function()

    return call


def measure():
    torch.manual_seed(0)
    weights = InvertedResidualWeights(*(torch.randn(s) / 5 for s in formulas.inverted_residual_shapes(C, M, O)))
    x = torch.randn(N, C, SIZE, SIZE)
    last = x.contiguous(memory_format=torch.channels_last)
    parts = {
        splits: without_gradients(lambda splits=splits: fast.inverted_residual(x, weights, stride=1, splits=splits))
        for splits in SPLITS
    }
    calls = {
        "F.conv2d": without_gradients(lambda: as_usual(x, weights)),
        "F.conv2d, channels last": without_gradients(lambda: as_usual(last, weights)),
        **{f"splits={splits}": parts[splits] for splits in TIMED},
    }
    return {
        "case": CASE,
        "times": bench.compare(calls),
        "memory": {name: bench.peak_memory(call) for name, call in calls.items()},
        "splits": {str(splits): bench.peak_memory(parts[splits]) for splits in SPLITS},
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/inverted_residuals_speed.json")
