"""The weights of the chapter's blocks, as named tuples of arrays.

Arrays of NumPy for the reference, of Torch for the fast version; all of one dtype. Every convolution
has a bias. Where a network has a batch norm after it, that is thought to be folded in: at inference it
is one factor and one summand a channel, so it is part of the weights and the bias.
"""

from typing import Any, NamedTuple


class InceptionWeights(NamedTuple):
    """The weights of an Inception module: C input channels; None leaves a 1×1 convolution out.

    - w1: (O1, C, 1, 1), b1: (O1,): the 1×1 branch
    - w3_reduce: (R3, C, 1, 1), b3_reduce: (R3,), or None and None: before the 3×3
    - w3: (O3, R3, 3, 3), b3: (O3,), with C for R3 where the reduction is None
    - w5_reduce: (R5, C, 1, 1), b5_reduce: (R5,), or None and None: before the 5×5
    - w5: (O5, R5, 5, 5), b5: (O5,), with C for R5 where the reduction is None
    - w_pool: (Op, C, 1, 1), b_pool: (Op,), or None and None: after the max pool

    The paper's kernels are 3×3 and 5×5; any odd size is taken, as published weights have 3×3 in both.
    """

    w1: Any
    b1: Any
    w3_reduce: Any
    b3_reduce: Any
    w3: Any
    b3: Any
    w5_reduce: Any
    b5_reduce: Any
    w5: Any
    b5: Any
    w_pool: Any
    b_pool: Any


class MlpconvWeights(NamedTuple):
    """The weights of an mlpconv: a convolution, then 1×1 convolutions; None leaves one of those out.

    - w: (O, C, KH, KW), b: (O,): the convolution
    - w1: (O1, O, 1, 1), b1: (O1,), or None and None: the first hidden layer
    - w2: (O2, O1, 1, 1), b2: (O2,), or None and None: the second, with O for O1 where the first is None
    """

    w: Any
    b: Any
    w1: Any = None
    b1: Any = None
    w2: Any = None
    b2: Any = None


class FireWeights(NamedTuple):
    """The weights of a fire module: C input channels, R squeezed ones.

    - w_squeeze: (R, C, 1, 1), b_squeeze: (R,)
    - w1: (O1, R, 1, 1), b1: (O1,): expand by 1×1
    - w3: (O3, R, 3, 3), b3: (O3,): expand by 3×3 (any odd size is taken)
    """

    w_squeeze: Any
    b_squeeze: Any
    w1: Any
    b1: Any
    w3: Any
    b3: Any
