"""The weights of the chapter's blocks, as named tuples of arrays.

Arrays of NumPy for the reference, of Torch for the fast version; all of one dtype. Every convolution
has a bias. Where a network has a batch norm after it, that is thought to be folded in: at inference it
is one factor and one summand a channel, so it is part of the weights and the bias.

C counts the input channels, M those in the middle of the block, O those of the output.
"""

from typing import Any, NamedTuple


class DepthwiseSeparableWeights(NamedTuple):
    """The weights of MobileNetV1's block.

    - w_depthwise: (C, 1, KH, KW), odd sizes, b_depthwise: (C,)
    - w_pointwise: (O, C, 1, 1), b_pointwise: (O,)
    """

    w_depthwise: Any
    b_depthwise: Any
    w_pointwise: Any
    b_pointwise: Any


class InvertedResidualWeights(NamedTuple):
    """The weights of MobileNetV2's block.

    - w_expand: (M, C, 1, 1), b_expand: (M,), or None and None: no expansion, M = C
    - w_depthwise: (M, 1, KH, KW), odd sizes, b_depthwise: (M,)
    - w_project: (O, M, 1, 1), b_project: (O,)
    """

    w_expand: Any
    b_expand: Any
    w_depthwise: Any
    b_depthwise: Any
    w_project: Any
    b_project: Any


class SqueezeExciteWeights(NamedTuple):
    """The weights of a squeeze-and-excite step, with R channels in between (V3 takes a quarter of C).

    - w_reduce: (R, C, 1, 1), b_reduce: (R,)
    - w_expand: (C, R, 1, 1), b_expand: (C,)
    """

    w_reduce: Any
    b_reduce: Any
    w_expand: Any
    b_expand: Any


class EffNetWeights(NamedTuple):
    """The weights of EffNet's block.

    - w_pointwise: (M, C, 1, 1), b_pointwise: (M,)
    - w_row: (M, 1, 1, KW), an odd size, b_row: (M,)
    - w_column: (M, 1, KH, 1), an odd size, b_column: (M,)
    - w_project: (O, M, 2, 1), b_project: (O,)
    """

    w_pointwise: Any
    b_pointwise: Any
    w_row: Any
    b_row: Any
    w_column: Any
    b_column: Any
    w_project: Any
    b_project: Any


class ShuffleUnitWeights(NamedTuple):
    """The weights of a ShuffleNet unit of G groups.

    - w_reduce: (M, C/G, 1, 1), or (M, C, 1, 1) where this convolution alone is not grouped, as in the
      network's first unit; b_reduce: (M,)
    - w_depthwise: (M, 1, KH, KW), odd sizes, b_depthwise: (M,)
    - w_expand: (O, M/G, 1, 1), b_expand: (O,); with stride 1, O = C
    """

    w_reduce: Any
    b_reduce: Any
    w_depthwise: Any
    b_depthwise: Any
    w_expand: Any
    b_expand: Any
