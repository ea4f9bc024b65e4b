"""Time and memory of each step from seven loops to F.conv2d; see the chapter on im2col.

    python benchmarks/im2col.py        # writes chapters/data/im2col_speed.json, some two minutes
"""

import numpy as np
import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.im2col import fast, formulas, reference

N, C, O, SIZE, KERNEL, PADDING = 8, 64, 64, 56, 3, 1
KERNELS, STRIDES = (1, 3, 5, 7, 11), (1, 2, 3, 4)


def seconds_of_loops():
    """Return the seconds of a multiply-add in seven loops, and how many the case has.

    The case itself would take the loops minutes, so they are timed on a small one.
    """
    x, w = np.ones((1, 2, 8, 8), np.float32), np.ones((2, 2, 3, 3), np.float32)
    time = bench.compare({"loops": lambda: reference.conv2d_loops(x, w, padding=1)})["loops"]["seconds"]
    return time / (2 * 2 * 9 * 64), N * O * SIZE**2 * C * KERNEL**2


def with_memory(calls, **options):
    """Return what `bench.compare` says of the calls, and the peak memory of each."""
    times = bench.compare(calls, **options)
    return {name: {**times[name], "peak_bytes": bench.peak_memory(call)} for name, call in calls.items()}


def steps(x, w):
    """Return the calls of the table in two groups: NumPy's and Torch's.

    The groups are timed apart: for a while after a matrix product, NumPy's threads wait busily for
    the next one, and would take the cores from Torch's.
    """
    a, b = x.numpy(), w.numpy()
    rows = b.reshape(O, -1)
    padded = np.pad(a, ((0, 0), (0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    indices = reference.column_indices(C, (SIZE, SIZE), KERNEL, padding=PADDING)
    shape = N, rows.shape[1], SIZE * SIZE
    image = N, O, SIZE, SIZE

    def by_indices():
        c, y, u = indices
        return (rows @ padded[:, c, y, u]).reshape(image)

    def by_view():
        return (rows @ reference.windows(a, KERNEL, padding=PADDING).reshape(shape)).reshape(image)

    flat = w.view(O, -1)
    return {
        "index arrays, matrix product (NumPy)": by_indices,
        "strided view, copy, matrix product (NumPy)": by_view,
    }, {
        "F.unfold, matrix product": lambda: (flat @ F.unfold(x, KERNEL, padding=PADDING)).view(image),
        "fast.im2col, matrix product": lambda: (flat @ fast.im2col(x, KERNEL, padding=PADDING)).view(image),
        "fast.conv2d_gemm: no columns": lambda: fast.conv2d_gemm(x, w, padding=PADDING),
        "F.conv2d": lambda: F.conv2d(x, w, padding=PADDING),
    }


def training(x, w):
    """Return the calls that go forward and backward."""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    g = torch.randn(N, O, SIZE, SIZE)

    def unfold():
        return (w.view(O, -1) @ F.unfold(x, KERNEL, padding=PADDING)).view(g.shape)

    def both(call):
        return lambda: torch.autograd.grad(call(), (x, w), g)

    return {
        "F.unfold, matrix product": both(unfold),
        "fast.conv2d_gemm: no columns": both(lambda: fast.conv2d_gemm(x, w, padding=PADDING)),
        "F.conv2d": both(lambda: F.conv2d(x, w, padding=PADDING)),
    }


def against_kernel_and_stride():
    """Return, for each kernel and stride, the fastest milliseconds and the peak of three ways."""
    found = []
    x = torch.randn(2, C, SIZE, SIZE)
    for kernel in KERNELS:
        w = torch.randn(O, C, kernel, kernel)
        for stride in STRIDES:
            sizes = {"stride": stride, "padding": kernel // 2}
            results = with_memory({
                "columns": lambda: w.view(O, -1) @ F.unfold(x, kernel, **sizes),
                "implicit": lambda: fast.conv2d_gemm(x, w, **sizes),
                "torch": lambda: F.conv2d(x, w, **sizes),
            }, rounds=7, patience=5)
            found.append({
                "kernel": kernel, "stride": stride,
                "blow_up": formulas.blow_up((SIZE, SIZE), kernel, **sizes),
                "milliseconds": {name: 1000 * results[name]["fastest"] for name in results},
                "megabytes": {name: results[name]["peak_bytes"] / 1e6 for name in results},
            })
    return found


def measure():
    torch.manual_seed(0)
    x, w = torch.randn(N, C, SIZE, SIZE), torch.randn(O, C, KERNEL, KERNEL)
    columns = torch.randn(N, C * KERNEL**2, SIZE**2)
    seconds, count = seconds_of_loops()
    with_numpy, with_torch = steps(x, w)
    return {
        "case": f"N{N} C{C} O{O} {SIZE}×{SIZE}, {KERNEL}×{KERNEL}, padding {PADDING}, float32",
        "loops": {"seconds_of_a_multiply_add": seconds, "multiply_adds": count, "seconds": seconds * count},
        "forward": {**with_memory(with_numpy), **with_memory(with_torch, rounds=15)},
        "forward and backward": with_memory(training(x, w)),
        "col2im": with_memory({
            "F.fold": lambda: F.fold(columns, (SIZE, SIZE), KERNEL, padding=PADDING),
            "fast.col2im": lambda: fast.col2im(columns, (SIZE, SIZE), KERNEL, padding=PADDING),
        }),
        "kernel and stride": against_kernel_and_stride(),
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/im2col_speed.json")
