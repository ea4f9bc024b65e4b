"""The types of convolution: each beside what a reader would use instead."""

import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.conv_types import fast

CASES = {
    "deformable": "N 4, C 64, O 64, 56 × 56, 3 × 3, padding 1, mask",
    "involution": "N 8, C 64, G 4, 56 × 56, 7 × 7",
    "separable": "N 8, C 64, O 128, 56 × 56, 3 × 3, padding 1",
    "column and row": "N 8, C 16, 112 × 112, 11 × 11",
}


def forward(function):
    def call():
        with torch.no_grad():
            return function()

    return call


def both_ways(function, *inputs):
    """Return a call that computes `function()` and the gradients of all inputs."""
    gradient = torch.randn_like(function())

    def call():
        return torch.autograd.grad(function(), inputs, gradient)

    return call


def compare(calls, inputs):
    """Time the calls forward, and forward and backward; and their peak memory forward."""
    ahead = {name: forward(call) for name, call in calls.items()}
    return {
        "forward": bench.compare(ahead),
        "forward and backward": bench.compare({name: both_ways(calls[name], *inputs[name]) for name in calls}),
        "memory": {name: bench.peak_memory(call) for name, call in ahead.items()},
    }


def deformable():
    N, C, O, H = 4, 64, 64, 56
    x, offset, w, mask = (
        t.requires_grad_() for t in (
            torch.randn(N, C, H, H), 2 * torch.randn(N, 18, H, H), torch.randn(O, C, 3, 3) / 24, torch.rand(N, 9, H, H)
        )
    )
    calls = {
        "F.conv2d": lambda: F.conv2d(x, w, padding=1),
        "fast.deform_conv2d": lambda: fast.deform_conv2d(x, offset, w, padding=1, mask=mask),
    }
    return compare(calls, {"F.conv2d": (x, w), "fast.deform_conv2d": (x, offset, w, mask)})


def unfold_and_multiply(x, kernel):
    """The usual involution: all windows are copied, multiplied and summed."""
    (N, C, H, W), (_, G, K, _, _, _) = x.shape, kernel.shape
    windows = F.unfold(x, K, padding=K // 2).view(N, G, C // G, K * K, H, W)
    return (windows * kernel.view(N, G, 1, K * K, H, W)).sum(3).view(N, C, H, W)


def involution():
    x, kernel = torch.randn(8, 64, 56, 56).requires_grad_(), torch.randn(8, 4, 7, 7, 56, 56).requires_grad_()
    calls = {
        "F.unfold, multiply, sum": lambda: unfold_and_multiply(x, kernel),
        "fast.involution2d": lambda: fast.involution2d(x, kernel),
    }
    return compare(calls, dict.fromkeys(calls, (x, kernel)))


def separable():
    x, w = torch.randn(8, 64, 56, 56), torch.randn(128, 64, 3, 3)
    depthwise, pointwise = torch.randn(64, 1, 3, 3), torch.randn(128, 64, 1, 1)
    return {"forward": bench.compare({
        "F.conv2d": lambda: F.conv2d(x, w, padding=1),
        "fast.depthwise_separable_conv2d": lambda: fast.depthwise_separable_conv2d(x, depthwise, pointwise, padding=1),
        "its depthwise step": lambda: F.conv2d(x, depthwise, padding=1, groups=64),
        "its pointwise step": lambda: F.conv2d(x, pointwise),
    })}


def column_and_row():
    x, taps = torch.randn(8, 16, 112, 112), torch.randn(11)
    kernel = torch.outer(taps, taps).expand(16, 1, 11, 11).contiguous()
    return {"forward": bench.compare({
        "F.conv2d": lambda: F.conv2d(x, kernel, groups=16),
        "fast.spatially_separable_conv2d": lambda: fast.spatially_separable_conv2d(x, taps, taps),
    })}


def measure():
    torch.manual_seed(0)
    return {
        "cases": CASES, "deformable": deformable(), "involution": involution(), "separable": separable(),
        "column and row": column_and_row(),
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/conv_types_speed.json")
