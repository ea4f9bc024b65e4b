"""The chapter's blocks in NumPy, to be read beside their equations."""

import numpy as np

from cvnotes import shapes
from cvnotes.conv_types.reference import conv2d
from cvnotes.inception import formulas


def inception_module(x, weights):
    """Look at an image with kernels of several sizes at once, and put what they find side by side.

    y = [ f(x; w1), f(f(x; w3_reduce); w3), f(f(x; w5_reduce); w5), f(max pool(x); w_pool) ]

    where f(x; w) = max(0, conv(x, w) + b) keeps the image's size, the max pool is 3×3 with stride 1,
    and [ … ] lays channels after channels. A convolution whose weights are None is left out: with no
    reduction and no projection this is the paper's naive module.

    - x: the images, (N, C, H, W)
    - weights: an `InceptionWeights`; each of its fields is documented there

    Returns (N, O1 + O3 + O5 + Op, H, W), with C for Op where there is no projection. The pool sees −∞
    outside the image, so it never prefers the border to a negative pixel. NaN reaches each output
    whose window holds it.

    Raises ValueError where ranks, channels or dtypes don't fit, a kernel's size is even, or a
    convolution that can't be left out is None.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 4 and figure 2.

    >>> from cvnotes.inception.weights import InceptionWeights
    >>> one, no = np.ones((1, 1, 1, 1)), np.zeros(1)
    >>> naive = InceptionWeights(one, no, None, None, np.ones((1, 1, 3, 3)), no, None, None, np.ones((1, 1, 5, 5)), no,
    ...                          None, None)
    >>> inception_module(np.array([[[[1.0, -2.0, 4.0]]]]), naive)[0, :, 0]      # 1×1, 3×3, 5×5, pool
    array([[1., 0., 4.],
           [0., 3., 2.],
           [3., 3., 3.],
           [1., 4., 4.]])
    """
    formulas.inception_module(x, weights)
    w = weights
    branches = [
        _layer(x, w.w1, w.b1),
        _layer(_layer(x, w.w3_reduce, w.b3_reduce), w.w3, w.b3),
        _layer(_layer(x, w.w5_reduce, w.b5_reduce), w.w5, w.b5),
        _layer(_max_pool3(x), w.w_pool, w.b_pool),
    ]
    return np.concatenate(branches, axis=1)  # (N, O1 + O3 + O5 + Op, H, W)


def _layer(x, w, b):
    """Return max(0, conv(x, w) + b) of the size of x; x itself where w is None."""
    if w is None:
        return x
    KH, KW = w.shape[2:]
    return np.maximum(conv2d(x, w, b, padding=(KH // 2, KW // 2)), 0)  # (N, O, H, W)


def _max_pool3(x):
    """Return the largest of each pixel and its neighbours, (N, C, H, W)."""
    H, W = x.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.max([x[:, :, i:i + H, j:j + W] for i in range(3) for j in range(3)], axis=0)


def mlpconv(x, weights, *, stride=1, padding=0):
    """Slide a small network over the image in place of a filter.

    h = max(0, conv(x, w) + b);  h1[n, :, p, q] = max(0, W1 h[n, :, p, q] + b1);  y = the same with W2

    A convolution, and after it one fully connected layer or two at each pixel: 1×1 convolutions. So it
    is a multilayer perceptron that reads a window, with the same weights at all places.

    - x: the images, (N, C, H, W)
    - weights: an `MlpconvWeights`; a hidden layer that is None is left out
    - stride, padding: of the convolution; pixels, an int or a pair (vertical, horizontal)

    Returns (N, O2, OH, OW), sizes as in `conv2d`. NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels, sizes or dtypes don't fit.

    Source: Lin et al., Network in network (2014), section 3.1 and equation 2.

    >>> from cvnotes.inception.weights import MlpconvWeights
    >>> w = np.array([[[[1.0, -1.0]]], [[[-1.0, 1.0]]]])        # differences to the right, both signs
    >>> add = MlpconvWeights(w, np.zeros(2), np.ones((1, 2, 1, 1)), np.zeros(1))
    >>> mlpconv(np.array([[[[5.0, 2.0, 2.0, 6.0]]]]), add)      # their absolute values
    array([[[[3., 0., 4.]]]])
    """
    stride, padding, _, _ = formulas.mlpconv(x, weights, stride, padding)
    y = np.maximum(conv2d(x, weights.w, weights.b, stride=stride, padding=padding), 0)  # (N, O, OH, OW)
    for w, b in ((weights.w1, weights.b1), (weights.w2, weights.b2)):
        if w is not None:
            y = np.maximum(np.einsum("oc,ncpq->nopq", w[:, :, 0, 0], y) + b[:, None, None], 0)
    return y


def global_average_pool2d(x):
    """Average each channel over the whole image.

    y[n, c] = 1/(H·W) · Σ_h Σ_w x[n, c, h, w]

    With one channel a class this is a classifier's head without a single weight.

    - x: the images, (N, C, H, W)

    Returns (N, C). NaN reaches the average of its channel.

    Raises ValueError where x has no four axes, no pixel, or is not of floats.

    Source: Lin et al., Network in network (2014), section 3.2.

    >>> global_average_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
    array([[3.]])
    """
    formulas.global_average_pool2d(x)
    return x.mean(axis=(2, 3))  # (N, C)


def fire_module(x, weights):
    """Squeeze the channels by 1×1, then expand them by 1×1 and by 3×3, side by side.

    s = f(x; w_squeeze);  y = [ f(s; w1), f(s; w3) ]

    where f(x; w) = max(0, conv(x, w) + b) keeps the image's size. Most of the kernels are 1×1, and
    the 3×3 ones read few channels.

    - x: the images, (N, C, H, W)
    - weights: a `FireWeights`; each of its fields is documented there

    Returns (N, O1 + O3, H, W). NaN reaches each output whose window holds it.

    Raises ValueError where ranks, channels or dtypes don't fit, a kernel's size is even, or a field is None.

    Source: Iandola et al., SqueezeNet (2016), section 3.2.

    >>> from cvnotes.inception.weights import FireWeights
    >>> fire = FireWeights(np.ones((1, 2, 1, 1)), np.zeros(1), np.ones((1, 1, 1, 1)), np.ones(1),
    ...                    np.ones((1, 1, 3, 3)), np.zeros(1))
    >>> x = np.array([[[[1.0, 2.0, 0.0]], [[1.0, -5.0, 3.0]]]])
    >>> fire_module(x, fire)[0, :, 0]                           # squeezed to 2, 0, 3
    array([[3., 1., 4.],
           [2., 5., 3.]])
    """
    formulas.fire_module(x, weights)
    squeezed = _layer(x, weights.w_squeeze, weights.b_squeeze)  # (N, R, H, W)
    expanded = [_layer(squeezed, weights.w1, weights.b1), _layer(squeezed, weights.w3, weights.b3)]
    return np.concatenate(expanded, axis=1)  # (N, O1 + O3, H, W)


shapes.only("numpy", globals())
