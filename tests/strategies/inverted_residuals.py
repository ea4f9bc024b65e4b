"""Arguments for the pairs of inverted_residuals: mostly fitting, now and then not."""

import numpy as np
from hypothesis import strategies as st

from cvnotes.inverted_residuals import formulas, weights
from strategies import normal, pairs, seeds

RARELY = st.sampled_from([False] * 15 + [True])


def block(draw, kind, shapes):
    """Return weights of these shapes; rarely one field too long, of another dtype, or left out."""
    random = np.random.default_rng(draw(seeds))
    fields = [None if shape is None else random.standard_normal(shape) for shape in shapes]
    if draw(RARELY):
        i = draw(st.integers(0, len(fields) - 1))
        if fields[i] is not None:
            shape = list(shapes[i])
            shape[draw(st.integers(0, len(shape) - 1))] += 1
            fields[i] = draw(st.sampled_from([random.standard_normal(shape), fields[i].astype("float32"), None]))
    return kind(*fields)


def images(draw, channels, smallest=1, largest=6):
    """Return a batch of images; rarely with one channel more, or with a NaN or an infinity in it."""
    N, H, W = draw(st.integers(0, 2)), draw(st.integers(smallest, largest)), draw(st.integers(smallest, largest))
    x = 3 * normal(draw(seeds), N, channels + draw(RARELY), H, W)
    if x.size and draw(RARELY):
        x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return x


KERNELS = st.sampled_from([1, 3, 3, 5] * 5 + [2])
STRIDES = st.sampled_from([1, 1, 2, 3, (1, 2)] * 4 + [0])


@st.composite
def activation(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    x = 4 * normal(draw(seeds), *shape)
    special = [np.nan, np.inf, -np.inf, -3.0, 0.0, 3.0, 6.0, -1000.0, 1000.0]
    if x.size and draw(st.booleans()):
        x = np.asarray(x)
        x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from(special))
    x = np.asarray(x)
    return (x.astype(int) if draw(RARELY) and np.isfinite(x).all() else x,), {}


@st.composite
def squeeze_excite(draw):
    C, R = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    given = block(draw, weights.SqueezeExciteWeights, formulas.squeeze_excite_shapes(C, R))
    return (images(draw, C), given), {}


@st.composite
def channel_shuffle(draw):
    G = draw(st.integers(1, 4))
    return (images(draw, G * draw(st.integers(1, 3))), G if not draw(RARELY) else draw(st.integers(0, 5))), {}


@st.composite
def depthwise_separable_block(draw):
    C, O = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shapes = formulas.depthwise_separable_shapes(C, O, draw(KERNELS))
    given = block(draw, weights.DepthwiseSeparableWeights, shapes)
    return (images(draw, C), given), draw(st.sampled_from([{}, {"stride": draw(STRIDES)}]))


@st.composite
def inverted_residual(draw):
    C, O = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    M = draw(st.sampled_from([None, None, 1, 2, 3, 5, 7]))
    O = draw(st.sampled_from([C, O]))
    given = block(draw, weights.InvertedResidualWeights, formulas.inverted_residual_shapes(C, M, O, draw(KERNELS)))
    settings = {"stride": draw(STRIDES)}
    if draw(st.booleans()):
        settings["splits"] = draw(st.integers(1, M or C)) if not draw(RARELY) else draw(st.sampled_from([0, 9, 1.0]))
    return (images(draw, C), given), settings


@st.composite
def linear_bottleneck_loss(draw):
    points = normal(draw(seeds), draw(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 20])), 2)
    matrix = normal(draw(seeds), draw(st.sampled_from([1] + [2, 2, 3, 5, 15, 30] * 4)), 2)
    if draw(st.booleans()):
        points[:, 1] -= 3  # in one half of the plane
    if draw(RARELY):
        points[...] = points[0]
    if draw(RARELY):
        matrix[:, 1] = 2 * matrix[:, 0]
    if draw(RARELY):
        draw(st.sampled_from([points, matrix]))[0, 0] = draw(st.sampled_from([np.nan, np.inf]))
    if draw(RARELY):
        points = points[:, :1]
    return (points, matrix), {}


@st.composite
def effnet_block(draw):
    C, M, O = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    given = block(draw, weights.EffNetWeights, formulas.effnet_shapes(C, M, O, draw(KERNELS)))
    slopes = st.sampled_from([{}, {"negative_slope": 0.3}, {"negative_slope": 0}, {"negative_slope": -0.5}])
    return (images(draw, C, draw(st.sampled_from([2] * 15 + [1]))), given), draw(slopes)


@st.composite
def shuffle_unit(draw):
    G, stride = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2] * 8 + [3]))
    C, M = G * draw(st.integers(1, 3)), G * draw(st.integers(1, 2))
    branch = C if stride == 1 and not draw(RARELY) else G * draw(st.integers(1, 3))
    first = draw(st.sampled_from([None, None, 1]))
    shapes = formulas.shuffle_unit_shapes(C, M, branch, G, draw(KERNELS), first)
    groups = G if not draw(RARELY) else draw(st.integers(0, 4))
    return (images(draw, C), block(draw, weights.ShuffleUnitWeights, shapes)), {"groups": groups, "stride": stride}


STRATEGIES = {
    "relu6": activation(),
    "swish": activation(),
    "hard_swish": activation(),
    "squeeze_excite": squeeze_excite(),
    "channel_shuffle": channel_shuffle(),
    "depthwise_separable_block": depthwise_separable_block(),
    "inverted_residual": inverted_residual(),
    "linear_bottleneck_loss": linear_bottleneck_loss(),
    "effnet_block": effnet_block(),
    "shuffle_unit": shuffle_unit(),
}


def _block(kind, shapes, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    return kind(*(None if shape is None else scale * random.standard_normal(shape) for shape in shapes))


# Away from the kinks at −3, 0, 3 and 6.
_NUMBERS = np.array([-7.0, -3.5, -2.2, -0.4, 0.3, 1.9, 2.7, 3.6, 5.1, 6.4])

GRADCHECK = {
    "relu6": [((_NUMBERS,), {})],
    "swish": [((_NUMBERS,), {})],
    "hard_swish": [((_NUMBERS,), {})],
    "squeeze_excite": [
        ((normal(1, 2, 4, 2, 3), _block(weights.SqueezeExciteWeights, formulas.squeeze_excite_shapes(4, 2))), {}),
    ],
    "channel_shuffle": [((normal(0, 2, 6, 2, 1), 3), {})],
    "depthwise_separable_block": [(
        (normal(1, 2, 2, 5, 4), _block(weights.DepthwiseSeparableWeights, formulas.depthwise_separable_shapes(2, 3))),
        {"stride": 2},
    )],
    "inverted_residual": [
        (
            (normal(1, 2, 2, 4, 3), _block(weights.InvertedResidualWeights, formulas.inverted_residual_shapes(2, 5, 2))),
            {"stride": 1, "splits": splits},
        ) for splits in (1, 2, 5)
    ] + [(
        (normal(2, 1, 3, 5, 4), _block(weights.InvertedResidualWeights, formulas.inverted_residual_shapes(3, None, 2))),
        {"stride": (2, 1), "splits": 2},
    )],
    "linear_bottleneck_loss": [((normal(1, 7, 2), normal(2, n, 2)), {}) for n in (2, 3, 5)],
    "effnet_block": [
        ((normal(1, 1, 2, 4, 5), _block(weights.EffNetWeights, formulas.effnet_shapes(2, 2, 3))), {"negative_slope": 0.2}),
    ],
    "shuffle_unit": [
        (
            (normal(1, 2, 4, 3, 4), _block(weights.ShuffleUnitWeights, formulas.shuffle_unit_shapes(4, 2, branch, 2))),
            {"groups": 2, "stride": stride},
        ) for stride, branch in ((1, 4), (2, 6))
    ],
}
