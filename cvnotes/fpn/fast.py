"""The chapter's functions in Torch: any float dtype, any device; maps are differentiable."""

import torch
import torch.nn.functional as F

from cvnotes import shapes
from cvnotes.fpn import formulas


def upsample_nearest(x, size):
    """Same contract as `reference.upsample_nearest`.

    torch's own kernel where each side stays or doubles, as in a pyramid. Elsewhere that kernel multiplies by a rounded
    H / OH, and takes a place too early now and then (10 to 470 is such a case); there rows and columns are
    picked by their integers, with a copy of OH × W beside the result.
    """
    OH, OW = formulas.upsampling(x, size)
    H, W = x.shape[2:]
    if OH in (H, 2 * H) and OW in (W, 2 * W):
        return F.interpolate(x, (OH, OW), mode="nearest")
    rows, columns = (_sources(old, new, x.device) for old, new in ((H, OH), (W, OW)))
    return x.index_select(2, rows).index_select(3, columns)  # (N, C, OH, OW)


def _sources(size, larger, device):
    return formulas.source(torch.arange(larger, device=device), size, larger)


def feature_pyramid(features, lateral, output):
    """Same contract as `reference.feature_pyramid`.

    torch's own convolutions; the sum is written into the lateral's result, which no gradient needs.
    """
    formulas.pyramid(features, lateral, output)
    M, levels = None, []
    for C, (w1, b1), (w3, b3) in zip(features[::-1], lateral[::-1], output[::-1]):
        above, M = M, F.conv2d(C, w1, b1)  # (N, D, H, W)
        if above is not None:
            M += upsample_nearest(above, C.shape[2:])
        levels.insert(0, F.conv2d(M, w3, b3, padding=1))  # (N, O, H, W)
    return levels


@torch.no_grad()
def box_level(boxes, *, k0=4, size0=224, lowest=2, highest=5):
    """Same contract as `reference.box_level`.

    The exponent of √(w·h) / size0, as the processor stores it.
    """
    k0, size0, lowest, highest = formulas.levels(boxes, k0, size0, lowest, highest)
    x1, y1, x2, y2 = boxes.double().unbind(1)
    ratio = ((x2 - x1) * (y2 - y1)).sqrt() / size0
    level = (k0 + ratio.frexp().exponent.long() - 1).clamp(lowest, highest)
    return level.masked_fill(ratio == 0, lowest)


shapes.only("torch", globals())
