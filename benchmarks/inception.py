"""The Inception module's 1×1 convolutions of x as one: beside the same module with each convolution by itself."""

import torch
import torch.nn.functional as F

from cvnotes import bench
from cvnotes.inception import fast, formulas
from cvnotes.inception.weights import InceptionWeights

# Of GoogLeNet: the size of x, then channels and widths as in the paper's table.
MODULES = {"3a": (28, 192, 64, 96, 128, 16, 32, 32), "5b": (7, 832, 384, 192, 384, 48, 128, 128)}
BATCHES = (1, 8)


def layer(x, w, b):
    return F.conv2d(x, w, b, padding=w.shape[2] // 2).relu_()


def branch_by_branch(x, w):
    """The module as one would write it with torch's own convolutions."""
    return torch.cat([
        layer(x, w.w1, w.b1), layer(layer(x, w.w3_reduce, w.b3_reduce), w.w3, w.b3),
        layer(layer(x, w.w5_reduce, w.b5_reduce), w.w5, w.b5),
        layer(F.max_pool2d(x, 3, stride=1, padding=1), w.w_pool, w.b_pool),
    ], 1)


def three_apart(x, w):
    return [layer(x, w.w1, w.b1), layer(x, w.w3_reduce, w.b3_reduce), layer(x, w.w5_reduce, w.b5_reduce)]


def three_as_one(x, w):
    filters, biases = torch.cat([w.w1, w.w3_reduce, w.w5_reduce]), torch.cat([w.b1, w.b3_reduce, w.b5_reduce])
    return layer(x, filters, biases).split([len(w.w1), len(w.w3_reduce), len(w.w5_reduce)], 1)


def without_gradients(function, *args):
    def call():
        with torch.no_grad():
            return function(*args)

    return call


def measure():
    torch.manual_seed(0)
    results = {}
    for name, (size, channels, *widths) in MODULES.items():
        weights = InceptionWeights(*(torch.randn(shape) / 20 for shape in formulas.inception_shapes(channels, *widths)))
        for batch in BATCHES:
            x = torch.randn(batch, channels, size, size).relu()
            results[f"{name}, N {batch}"] = {
                "module": bench.compare({
                    "branch by branch": without_gradients(branch_by_branch, x, weights),
                    "fast.inception_module": without_gradients(fast.inception_module, x, weights),
                }),
                "three 1×1": bench.compare({
                    "apart": without_gradients(three_apart, x, weights),
                    "as one": without_gradients(three_as_one, x, weights),
                }),
            }
    return results


if __name__ == "__main__":
    bench.main(measure, "chapters/data/inception_speed.json")
