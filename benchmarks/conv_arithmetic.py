"""The matrix of a convolution, and the effective receptive field: the twins beside each other."""

import numpy as np
import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.conv_arithmetic import fast, reference

CASE = {"O": 8, "C": 4, "K": 3, "sizes": [12, 24], "padding": 1, "dtype": "float32"}


def apart(calls):
    return {name: bench.compare({name: call}, warmup=9)[name] for name, call in calls.items()}


def measure():
    random = np.random.default_rng(0)
    w = random.standard_normal((8, 4, 3, 3), dtype=np.float32)
    kernel = torch.from_numpy(w)

    def ways_to_make(size):
        identity = torch.eye(4 * size * size)
        return {
            "reference.conv_matrix": lambda: reference.conv_matrix(w, size, padding=1),
            "F.conv2d of the identity": lambda: F.conv2d(
                identity.view(-1, 4, size, size), kernel, padding=1
            ).flatten(1).T.contiguous(),
            "fast.conv_matrix": lambda: fast.conv_matrix(kernel, size, padding=1),
        }

    image = torch.from_numpy(random.standard_normal((1, 4, 24, 24), dtype=np.float32))
    matrix, vector = fast.conv_matrix(kernel, 24, padding=1), image.reshape(-1)
    use = {"matrix @ image": lambda: matrix @ vector, "F.conv2d": lambda: F.conv2d(image, kernel, padding=1)}
    x = random.standard_normal((1, 1, 41, 41), dtype=np.float32)
    stack = [random.standard_normal((8, 1 if i == 0 else 8, 3, 3), dtype=np.float32) for i in range(20)]
    tensors = torch.from_numpy(x), [torch.from_numpy(layer) for layer in stack]
    field = {
        "reference.effective_receptive_field": lambda: reference.effective_receptive_field(x, stack),
        "fast.effective_receptive_field": lambda: fast.effective_receptive_field(*tensors),
    }
    large = ways_to_make(24)
    return {
        "case": CASE,
        "make the matrix, 12×12": bench.compare(ways_to_make(12)),
        "make the matrix, 24×24": bench.compare(large),
        # Apart from each other: where two libraries of threads take turns, the first calls after a
        # change wait for the other's threads, for longer than these small calls take.
        "use it, 24×24": apart(use),
        "measure a field": apart(field),
        "memory": {name: bench.peak_memory(call) for name, call in {**large, **use}.items()},
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/conv_arithmetic_speed.json")
