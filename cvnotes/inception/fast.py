"""The chapter's blocks in Torch: any float dtype, any device, differentiable."""

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.inception import formulas


def inception_module(x, weights):
    """Same contract as `reference.inception_module`.

    Where x has more numbers than the filters, all 1×1 convolutions that read x itself are one: the
    filters are laid on top of each other, and the channels of the result are dealt out again. So x is
    read once and not three times, for a copy of the filters. The rest is torch's own operations.
    Stores the outputs of the reductions and of the pool beside the result.
    """
    formulas.inception_module(x, weights)
    w = weights
    pairs = [(w.w1, w.b1), (w.w3_reduce, w.b3_reduce), (w.w5_reduce, w.b5_reduce)]
    found = _together(x, pairs)
    branches = [
        found[0],
        _layer(x if found[1] is None else found[1], w.w3, w.b3),
        _layer(x if found[2] is None else found[2], w.w5, w.b5),
        _layer(F.max_pool2d(x, 3, stride=1, padding=1), w.w_pool, w.b_pool),
    ]
    return torch.cat(branches, 1)  # (N, O1 + O3 + O5 + Op, H, W)


def _together(x, pairs):
    """Return the layer of x for each pair (w, b) of 1×1 filters, None for (None, None); as one where that moves less."""
    there = [(w, b) for w, b in pairs if w is not None]
    if len(there) > 1 and x.numel() > sum(w.numel() for w, _ in there):
        y = _layer(x, torch.cat([w for w, _ in there]), torch.cat([b for _, b in there]))
        parts = iter(y.split([len(w) for w, _ in there], 1))
    else:
        parts = iter([_layer(x, w, b) for w, b in there])
    return [None if w is None else next(parts) for w, _ in pairs]


def _layer(x, w, b):
    if w is None:
        return x
    KH, KW = w.shape[2:]
    return F.conv2d(x, w, b, padding=(KH // 2, KW // 2)).relu_()  # (N, O, H, W)


def mlpconv(x, weights, *, stride=1, padding=0):
    """Same contract as `reference.mlpconv`.

    Up to three convolutions of torch; a 1×1 one is a matrix product of the channels at each pixel. Stores what
    stands between them.
    """
    stride, padding, _, _ = formulas.mlpconv(x, weights, stride, padding)
    y = F.conv2d(x, weights.w, weights.b, stride, padding).relu_()  # (N, O, OH, OW)
    return _layer(_layer(y, weights.w1, weights.b1), weights.w2, weights.b2)


def global_average_pool2d(x):
    """Same contract as `reference.global_average_pool2d`.

    One mean of torch, no memory but the result.
    """
    formulas.global_average_pool2d(x)
    return x.mean((2, 3))  # (N, C)


def fire_module(x, weights):
    """Same contract as `reference.fire_module`.

    Three convolutions of torch. Stores what is squeezed, N·R·H·W numbers, and both parts beside the result.
    """
    formulas.fire_module(x, weights)
    squeezed = _layer(x, weights.w_squeeze, weights.b_squeeze)  # (N, R, H, W)
    return torch.cat([_layer(squeezed, weights.w1, weights.b1), _layer(squeezed, weights.w3, weights.b3)], 1)


shapes.only("torch", globals())
