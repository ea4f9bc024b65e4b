"""The chapter's functions in NumPy, written to be read beside the equations."""

import numpy as np

from cvnotes import shapes
from cvnotes.conv_types.reference import conv2d
from cvnotes.fpn import formulas


def upsample_nearest(x, size):
    """Enlarge maps by repeating their places.

    y[n, c, i, j] = x[n, c, ⌊i·H / OH⌋, ⌊j·W / OW⌋]

    - x: (N, C, H, W)
    - size: (OH, OW), or one number for both, in places; no smaller than x

    Returns (N, C, OH, OW).

    Raises ValueError where x is no array of floats with four axes, or size is not two integers, or smaller than x.

    Source: Lin et al., Feature pyramid networks (2017), section 3, with OH = 2·H; other sizes as in PyTorch's
    interpolate, but in integers: a rounded H / OH can take the place before.

    >>> upsample_nearest(np.array([[[[1.0, 2.0]]]]), (2, 4))[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    OH, OW = formulas.upsampling(x, size)
    H, W = x.shape[2:]
    rows = [formulas.source(i, H, OH) for i in range(OH)]
    columns = [formulas.source(j, W, OW) for j in range(OW)]
    return x[:, :, rows][:, :, :, columns]  # (N, C, OH, OW)


def feature_pyramid(features, lateral, output):
    """Give every map the meaning of the coarsest, from the top down.

    M_l = lateral_l(C_l) + upsample(M_{l+1}),  P_l = output_l(M_l)

    The coarsest has no map above it: there M is lateral(C) alone. Upsampling is `upsample_nearest`, to the size of C_l.

    - features: the maps C_l, from fine to coarse, each (N, C, H, W) with its own C, H and W; none larger than the
      one before
    - lateral: for each map a pair (weight, bias) of a 1×1 convolution, (D, C, 1, 1) and (D,) or None
    - output: for each map a pair of a 3×3 convolution with a padding of 1, (O, D, 3, 3) and (O,) or None

    Returns a list: the levels P_l from fine to coarse, each (N, O, H, W) with the H and W of its C_l.

    Raises ValueError where the lists differ in length or are empty, a map is larger than the one before, images,
    channels, kernels, dtypes or devices don't fit.

    Source: Lin et al., Feature pyramid networks (2017), section 3 and figure 3.

    >>> fine, coarse = np.zeros((1, 1, 2, 2)), np.array([[[[5.0]]]])
    >>> one, middle = np.ones((1, 1, 1, 1)), np.zeros((1, 1, 3, 3))
    >>> middle[0, 0, 1, 1] = 1                                  # a 3×3 that changes nothing
    >>> feature_pyramid([fine, coarse], [(one, None)] * 2, [(middle, None)] * 2)[0][0, 0]
    array([[5., 5.],
           [5., 5.]])
    """
    formulas.pyramid(features, lateral, output)
    M, levels = None, []
    for C, (w1, b1), (w3, b3) in zip(features[::-1], lateral[::-1], output[::-1]):
        above, M = M, conv2d(C, w1, b1)  # (N, D, H, W)
        if above is not None:
            M = M + upsample_nearest(above, C.shape[2:])
        levels.insert(0, conv2d(M, w3, b3, padding=1))  # (N, O, H, W)
    return levels


def box_level(boxes, *, k0=4, size0=224, lowest=2, highest=5):
    """Tell from which level of a pyramid each box is read.

    k = ⌊k0 + log₂(√(w·h) / size0)⌋, at least `lowest` and at most `highest`

    - boxes: (N, 4), (x1, y1, x2, y2) in pixels
    - k0: the level of a box of size0 × size0 pixels, from −100 to 100; size0: from 10⁻⁶ to 10⁶
    - lowest, highest: the levels there are, from −100 to 100

    Returns (N,) of int64. A box without area has the lowest level. Computed in float64, without a logarithm, which
    would put a box that stands just at a border on one side or the other.

    Raises ValueError where boxes are none (see `boxes.reference.box_area`), or a number is none of these.

    Source: Lin et al., Feature pyramid networks (2017), equation 1.

    >>> box_level(np.array([[0.0, 0.0, 224.0, 224.0], [0.0, 0.0, 100.0, 100.0], [0.0, 0.0, 900.0, 600.0]]))
    array([4, 2, 5])
    """
    k0, size0, lowest, highest = formulas.levels(boxes, k0, size0, lowest, highest)
    sides = [(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes.astype(float).tolist()]
    return np.array([formulas.box_level(w, h, k0, size0, lowest, highest) for w, h in sides], np.int64)


shapes.only("numpy", globals())
