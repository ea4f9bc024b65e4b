"""The matrix of a convolution, and the effective receptive field: the twins beside each other."""

import numpy as np
import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.conv_arithmetic import fast, reference

CASE = {"O": 8, "C": 4, "K": 3, "size": 24, "padding": 1, "dtype": "float32"}


def measure():
    random = np.random.default_rng(0)
    w = random.standard_normal((8, 4, 3, 3), dtype=np.float32)
    image = torch.from_numpy(random.standard_normal((1, 4, 24, 24), dtype=np.float32))
    kernel = torch.from_numpy(w)
    identity = torch.eye(4 * 24 * 24)

    def of_identity():
        return F.conv2d(identity.view(-1, 4, 24, 24), kernel, padding=1).flatten(1).T.contiguous()

    matrix = fast.conv_matrix(kernel, 24, padding=1)
    vector = image.reshape(-1)
    x = random.standard_normal((1, 1, 41, 41), dtype=np.float32)
    stack = [random.standard_normal((8, 1 if i == 0 else 8, 3, 3), dtype=np.float32) for i in range(20)]
    tensors = torch.from_numpy(x), [torch.from_numpy(layer) for layer in stack]
    make = {
        "reference.conv_matrix": lambda: reference.conv_matrix(w, 24, padding=1),
        "F.conv2d of the identity": of_identity,
        "fast.conv_matrix": lambda: fast.conv_matrix(kernel, 24, padding=1),
    }
    use = {"matrix @ image": lambda: matrix @ vector, "F.conv2d": lambda: F.conv2d(image, kernel, padding=1)}
    field = {
        "reference.effective_receptive_field": lambda: reference.effective_receptive_field(x, stack),
        "fast.effective_receptive_field": lambda: fast.effective_receptive_field(*tensors),
    }
    return {
        "case": CASE,
        "make": bench.compare(make),
        "use": bench.compare(use),
        "field": bench.compare(field),
        "memory": {name: bench.peak_memory(call) for name, call in {**make, **use}.items()},
        "matrix": matrix.nbytes,
    }


if __name__ == "__main__":
    bench.main(measure, "chapters/data/conv_arithmetic_speed.json")
