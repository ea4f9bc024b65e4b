"""The chapter's blocks in NumPy, to be read beside their equations.

The convolution is that of the chapter on types of convolution. Activations are written once, on single
numbers, in `formulas`; here they are lifted over arrays.
"""

import numpy as np

from cvnotes import shapes
from cvnotes.conv_types.reference import conv2d as _conv2d
from cvnotes.inverted_residuals import formulas


def _lift(function, x):
    """Return x with a function of one number applied to each."""
    return np.array([function(value) for value in x.ravel().tolist()], x.dtype).reshape(x.shape)


def relu6(x):
    """Cut each number off at 0 and at 6.

    y = min(max(x, 0), 6)

    - x: an array of any shape

    Returns an array of that shape. A NaN stays NaN; infinities are cut off as all numbers are.

    Raises ValueError where x is no array of floats.

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10 (2010); Sandler et al. (2018), section 4.

    >>> relu6(np.array([-1.0, 2.5, 7.0]))
    array([0. , 2.5, 6. ])
    """
    formulas.any_floats("x", x)
    return _lift(formulas.relu6, x)


def swish(x):
    """Multiply each number by its sigmoid; also called SiLU.

    y = x · σ(x),  σ(x) = 1 / (1 + e⁻ˣ)

    - x: an array of any shape

    Returns an array of that shape. A NaN stays NaN; −∞ gives NaN too, as −∞ · 0 does.

    Raises ValueError where x is no array of floats.

    Source: Ramachandran et al., Searching for activation functions (2017); Elfwing et al. (2018).

    >>> swish(np.array([-3.0, 0.0, 3.0])).round(3)
    array([-0.142,  0.   ,  2.858])
    """
    formulas.any_floats("x", x)
    return _lift(formulas.swish, x)


def hard_swish(x):
    """Multiply each number by three straight pieces in place of the sigmoid.

    y = x · ReLU6(x + 3) / 6

    - x: an array of any shape

    Returns an array of that shape. A NaN stays NaN; −∞ gives NaN too, as −∞ · 0 does.

    Raises ValueError where x is no array of floats.

    Source: Howard et al., Searching for MobileNetV3 (2019), section 5.2.

    >>> hard_swish(np.array([-1.5, 0.0, 3.0]))
    array([-0.375,  0.   ,  3.   ])
    """
    formulas.any_floats("x", x)
    return _lift(formulas.hard_swish, x)


def squeeze_excite(x, weights):
    """Scale each channel by a factor that a small network finds from the means of all channels.

    s[n, c] = 1 / (H·W) · Σ_h Σ_w x[n, c, h, w]
    z = ReLU(w_reduce s + b_reduce)
    y[n, c, h, w] = hard_sigmoid(w_expand z + b_expand)[n, c] · x[n, c, h, w]

    with hard_sigmoid(x) = ReLU6(x + 3) / 6, as in MobileNetV3; where the step was invented it is a sigmoid.

    - x: the images, (N, C, H, W)
    - weights: a `SqueezeExciteWeights`

    Returns (N, C, H, W). A NaN makes its whole image NaN, through the means.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit.

    Source: Hu et al., Squeeze-and-excitation networks (2018); Howard et al. (2019), section 5.3.

    >>> from cvnotes.inverted_residuals.weights import SqueezeExciteWeights
    >>> one, none = np.ones((1, 1, 1, 1)), np.zeros(1)
    >>> squeeze_excite(np.array([[[[1.0, 3.0]]]]), SqueezeExciteWeights(one, none, one, none - 2))  # mean 2: half
    array([[[[0.5, 1.5]]]])
    """
    formulas.squeeze_excite(x, weights)
    s = x.mean((2, 3), keepdims=True)  # (N, C, 1, 1)
    z = np.maximum(_conv2d(s, weights.w_reduce, weights.b_reduce), 0)  # (N, R, 1, 1)
    gate = _lift(formulas.hard_sigmoid, _conv2d(z, weights.w_expand, weights.b_expand))
    return gate * x


def channel_shuffle(x, groups):
    """Transpose the channels, seen as a table with a row for each group.

    y[n, i·G + g, h, w] = x[n, g·(C/G) + i, h, w]

    It is a fixed permutation, the same for each image and each call.

    - x: the images, (N, C, H, W)
    - groups: G, must divide C

    Returns (N, C, H, W).

    Raises ValueError where x is no array of four axes, or groups don't divide its channels.

    Source: Zhang et al., ShuffleNet (2018), section 3.1.

    >>> channel_shuffle(np.arange(6.0).reshape(1, 6, 1, 1), 2).ravel()      # rows 0 1 2 and 3 4 5
    array([0., 3., 1., 4., 2., 5.])
    """
    return x[:, formulas.channel_shuffle(x, groups)]


def depthwise_separable_block(x, weights, *, stride=1):
    """Filter each channel by itself, then mix the channels at each pixel; a ReLU after both: MobileNetV1's block.

    t = ReLU(depthwise(x) + b_depthwise);  y = ReLU(pointwise(t) + b_pointwise)

    The depthwise padding keeps the size at stride 1: P = (K − 1) / 2.

    - x: the images, (N, C, H, W)
    - weights: a `DepthwiseSeparableWeights`; the kernel's size is told by them
    - stride S of the depthwise step: pixels, an int or a pair (vertical, horizontal)

    Returns (N, O, OH, OW) with OH = ⌈H / S⌉. NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit, or a kernel size is even.

    Source: Howard et al., MobileNets (2017), section 3.2 and figure 3.

    >>> from cvnotes.inverted_residuals.weights import DepthwiseSeparableWeights
    >>> x = np.stack([np.full((3, 3), 1.0), np.full((3, 3), 10.0)])[None]
    >>> weights = DepthwiseSeparableWeights(np.ones((2, 1, 3, 3)), np.zeros(2), np.ones((1, 2, 1, 1)), np.zeros(1))
    >>> depthwise_separable_block(x, weights, stride=2)             # 4·1 + 4·10 in each corner
    array([[[[44., 44.],
             [44., 44.]]]])
    """
    stride, padding = formulas.depthwise_separable_block(x, weights, stride)
    t = _conv2d(x, weights.w_depthwise, weights.b_depthwise, stride=stride, padding=padding, groups=x.shape[1])
    t = np.maximum(t, 0)  # (N, C, OH, OW)
    return np.maximum(_conv2d(t, weights.w_pointwise, weights.b_pointwise), 0)  # (N, O, OH, OW)


def inverted_residual(x, weights, *, stride, splits=1):
    """Widen, filter each channel, narrow without an activation, add the input: MobileNetV2's block.

    t = ReLU6(expand(x) + b_expand)
    u = ReLU6(depthwise(t) + b_depthwise)
    y = project(u) + b_project  (+ x where the stride is 1 and O = C)

    Each channel of t and u goes its own way until `project` adds them up. So they can be worked
    through in parts, y = b_project + Σ_part project[:, part] · u[part], and t and u never exist whole.

    - x: the images, (N, C, H, W)
    - weights: an `InvertedResidualWeights`; where w_expand and b_expand are None, t = x
    - stride S of the depthwise step: pixels, an int or a pair (vertical, horizontal)
    - splits: into how many parts the M channels are cut, from 1 to M; the result is the same but for
      rounding. Where it doesn't divide M, the first parts are one channel wider.

    Returns (N, O, OH, OW) with OH = ⌈H / S⌉. NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit, a kernel size is even, or
    splits is out of its range.

    Source: Sandler et al., MobileNetV2 (2018), table 1; parts: section 5.1.

    >>> from cvnotes.inverted_residuals.weights import InvertedResidualWeights
    >>> expand, project = np.ones((2, 1, 1, 1)), np.array([1.0, -2.0]).reshape(1, 2, 1, 1)
    >>> weights = InvertedResidualWeights(expand, np.zeros(2), np.ones((2, 1, 1, 1)), np.zeros(2), project, np.zeros(1))
    >>> inverted_residual(np.array([[[[2.0, 9.0]]]]), weights, stride=1)    # 2 + (2 − 2·2), 9 + (6 − 2·6)
    array([[[[0., 3.]]]])
    """
    stride, padding, parts, shortcut = formulas.inverted_residual(x, weights, stride, splits)
    w_expand, b_expand, w_depthwise, b_depthwise, w_project, b_project = weights
    y = 0
    for first, end in parts:
        t = x[:, first:end]
        if w_expand is not None:
            t = relu6(_conv2d(x, w_expand[first:end], b_expand[first:end]))  # (N, part, H, W)
        filters, b = w_depthwise[first:end], b_depthwise[first:end]
        u = relu6(_conv2d(t, filters, b, stride=stride, padding=padding, groups=end - first))  # (N, part, OH, OW)
        y = y + _conv2d(u, w_project[:, first:end])  # (N, O, OH, OW)
    y = y + b_project[:, None, None]
    return y + x if shortcut else y


def linear_bottleneck_loss(points, matrix):
    """Send points of a plane through a random matrix and a ReLU, bring them back, and say what is lost.

    recovered = ReLU(points Tᵀ) (T⁺)ᵀ
    loss = min over A, b of Σ |points − (recovered A + b)|² / Σ |points − mean|²

    T⁺ is the pseudo-inverse: without the ReLU all points would come back to their places. The loss is the
    share of the points' variance that no affine map of the recovered points explains: 0 where they are
    as good as the points, 1 where they tell nothing. (Merely smaller, or turned, is no loss.)
    Directions along which the recovered points are thinner than √ε of their widest count as flat.

    - points: (POINTS, 2), finite, not all the same
    - matrix: T, (n, 2), finite, of rank 2

    Returns (recovered, loss): (POINTS, 2), and an array of one number, ().

    Raises ValueError where shapes or dtypes don't fit, a number is not finite, all points are the
    same, or the matrix has a rank below 2, as one with a single row has.

    Source: Sandler et al. (2018), figure 1; the loss is ours.

    >>> square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> recovered, loss = linear_bottleneck_loss(square, np.eye(2))         # the corners move, and stay apart
    >>> recovered.tolist(), loss.round(6).item()
    ([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], 0.0)
    >>> _, loss = linear_bottleneck_loss(square + [0.0, -2.0], np.eye(2))   # below the axis: one side is lost
    >>> loss.round(6).item()
    0.5
    """
    thin = formulas.linear_bottleneck_loss(points, matrix)
    formulas.finite("points", np.isfinite(points).all())
    formulas.finite("matrix", np.isfinite(matrix).all())
    sigma = np.linalg.svd(matrix, compute_uv=False)
    formulas.spread((points != points[0]).any(), len(sigma) > 1 and sigma[1] > thin * sigma[0])
    recovered = np.maximum(points @ matrix.T, 0) @ np.linalg.pinv(matrix, rcond=thin).T  # (POINTS, 2)
    wanted, given = points - points.mean(0), recovered - recovered.mean(0)
    missing = wanted - given @ (np.linalg.pinv(given, rcond=thin) @ wanted)
    return recovered, np.asarray(np.square(missing).sum() / np.square(wanted).sum())


def effnet_block(x, weights, *, negative_slope=0.01):
    """Filter each channel along its rows, halve the width, filter along its columns, halve the height.

    t = f(pointwise(x) + b_pointwise)                           1×1, C → M
    t = max of each two neighbours in a row of f(row(t) + b_row)            depthwise 1 × KW
    t = f(column(t) + b_column)                                             depthwise KH × 1
    y = f(project(t) + b_project)                               2×1 with stride 2 down, M → O

    with f the leaky ReLU: x where it is positive, else negative_slope · x. A 3×3 depthwise step is
    pulled apart into a row and a column, and so is the halving: the pooling takes the width, the last
    convolution the height. (Which side comes first is our reading: each is halved after its own filter.)

    - x: the images, (N, C, H, W), H and W at least 2
    - weights: an `EffNetWeights`
    - negative_slope: a number

    Returns (N, O, ⌊H/2⌋, ⌊W/2⌋). NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit, a kernel size is even, or a
    side is below 2.

    Source: Freeman et al., EffNet (2018), figure 1.

    >>> from cvnotes.inverted_residuals.weights import EffNetWeights
    >>> one, none = np.ones((1, 1, 1, 1)), np.zeros(1)
    >>> weights = EffNetWeights(one, none, one, none, one, none, np.ones((1, 1, 2, 1)), none)
    >>> effnet_block(np.array([[[[1.0, 2.0], [30.0, 40.0]]]]), weights)     # max of 1, 2 + max of 30, 40
    array([[[[42.]]]])
    """
    row, column = formulas.effnet_block(x, weights, negative_slope)
    M = len(weights.w_pointwise)
    leaky = lambda t: np.where(t < 0, t * x.dtype.type(negative_slope), t)  # noqa: E731
    t = leaky(_conv2d(x, weights.w_pointwise, weights.b_pointwise))  # (N, M, H, W)
    t = leaky(_conv2d(t, weights.w_row, weights.b_row, padding=row, groups=M))
    width = t.shape[3] // 2 * 2
    t = np.maximum(t[..., 0:width:2], t[..., 1:width:2])  # (N, M, H, W / 2)
    t = leaky(_conv2d(t, weights.w_column, weights.b_column, padding=column, groups=M))
    return leaky(_conv2d(t, weights.w_project, weights.b_project, stride=(2, 1)))  # (N, O, H / 2, W / 2)


def shuffle_unit(x, weights, *, groups, stride):
    """Narrow in groups, shuffle, filter each channel, widen in groups, join the input: ShuffleNet's unit.

    t = shuffle(ReLU(reduce(x) + b_reduce))
    u = expand(depthwise(t) + b_depthwise) + b_expand
    y = ReLU(u + x) with stride 1;  y = ReLU(pool(x), u) with stride 2, side by side

    The three variants of the paper's figure 2: (a) is groups = 1 (there is nothing to shuffle then),
    (b) is stride 1, (c) is stride 2, where `pool` is the mean over 3 × 3 (zeros outside count) and the
    channels add up. There is no ReLU after the depthwise step.

    - x: the images, (N, C, H, W)
    - weights: a `ShuffleUnitWeights`
    - groups: G of both 1×1 convolutions; divides C, M and O. Where w_reduce takes all C channels,
      the first one is not grouped
    - stride of the depthwise step and of the pooling: 1 or 2

    Returns (N, O, H, W) with stride 1, where O = C, and (N, C + O, ⌈H/2⌉, ⌈W/2⌉) with stride 2.
    NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels, groups, sizes or dtypes don't fit, a kernel size is
    even, or the stride is neither 1 nor 2.

    Source: Zhang et al. (2018), section 3.2 and figure 2.

    >>> from cvnotes.inverted_residuals.weights import ShuffleUnitWeights
    >>> two, none = np.ones((2, 1, 1, 1)), np.zeros(2)                      # two groups of one channel
    >>> weights = ShuffleUnitWeights(two, none, two, none, -2 * two, none)
    >>> shuffle_unit(np.array([[[[1.0]], [[-1.0]]]]), weights, groups=2, stride=1).ravel()  # 1 − 2, −1 − 0
    array([0., 0.])
    >>> shuffle_unit(np.array([[[[9.0]], [[-1.0]]]]), weights, groups=2, stride=2).ravel()  # means, then the branch
    array([1., 0., 0., 0.])
    """
    stride, padding, first = formulas.shuffle_unit(x, weights, groups, stride)
    t = np.maximum(_conv2d(x, weights.w_reduce, weights.b_reduce, groups=first), 0)
    t = channel_shuffle(t, groups)  # (N, M, H, W)
    M = t.shape[1]
    t = _conv2d(t, weights.w_depthwise, weights.b_depthwise, stride=stride, padding=padding, groups=M)
    u = _conv2d(t, weights.w_expand, weights.b_expand, groups=groups)  # (N, O, OH, OW)
    if stride == (1, 1):
        return np.maximum(u + x, 0)
    C = x.shape[1]
    pooled = _conv2d(x, np.full((C, 1, 3, 3), 1 / 9, x.dtype), stride=2, padding=1, groups=C)
    return np.maximum(np.concatenate([pooled, u], 1), 0)  # (N, C + O, OH, OW)


shapes.only("numpy", globals())
