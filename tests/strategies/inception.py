"""Arguments for the pairs of inception: mostly fitting, now and then not."""

import numpy as np
from hypothesis import strategies as st

from cvnotes.inception import formulas
from cvnotes.inception.weights import FireWeights, InceptionWeights, MlpconvWeights

from . import normal, now_and_then, pairs, seeds, sizes

RARELY = now_and_then(st.just(True), False, 150)


def arrays(draw, *shape):
    """Return random numbers; rarely with one axis too long, or of another dtype."""
    if draw(RARELY):
        axis = draw(sizes(0, len(shape) - 1))
        shape = shape[:axis] + (shape[axis] + 1,) + shape[axis + 1:]
    x = normal(draw(seeds), *shape)
    return x.astype(draw(st.sampled_from([np.int64, np.float32]))) if draw(RARELY) else x


def filled(draw, kind, shapes):
    """Return the named tuple of arrays with the shapes (None stays None); rarely one field is None."""
    fields = [None if shape is None or draw(RARELY) else arrays(draw, *shape) for shape in shapes]
    weights = kind(*fields)
    return tuple(weights) if draw(RARELY) else weights


def images(draw):
    return [draw(sizes(low, high)) for low, high in ((0, 2), (1, 4), (1, 6), (1, 6))]


@st.composite
def inception_module(draw):
    N, C, H, W = images(draw)
    wide, left = sizes(1, 3), st.none() | sizes(1, 3)
    widths = [draw(strategy) for strategy in (wide, left, wide, left, wide, left)]
    shapes = formulas.inception_shapes(C, *widths)
    odd = now_and_then(st.just(2), 1, 60).flatmap(lambda size: st.sampled_from([size, 3, 5]))
    for field in (4, 8):  # any odd size is taken
        if draw(st.booleans()):
            shapes[field] = shapes[field][:2] + (draw(odd), draw(odd))
    return (arrays(draw, N, C, H, W), filled(draw, InceptionWeights, shapes)), {}


@st.composite
def mlpconv(draw):
    N, C, H, W = images(draw)
    O, O1, O2 = (draw(sizes(1, 3)) for _ in range(3))
    shapes = [(O, C, draw(sizes(1, 3)), draw(sizes(1, 3))), (O,)]
    width = O
    for filters in (O1, O2):
        if draw(st.integers(1, 3)) == 1:
            shapes += [None, None]
        else:
            shapes += [(filters, width, 1, 1), (filters,)]
            width = filters
    numbers = {
        name: draw(pairs(low - draw(RARELY), high))
        for name, low, high in (("stride", 1, 3), ("padding", 0, 2)) if draw(st.booleans())
    }
    return (arrays(draw, N, C, H, W), filled(draw, MlpconvWeights, shapes)), numbers


@st.composite
def global_average_pool2d(draw):
    return (arrays(draw, *images(draw)),), {}


@st.composite
def fire_module(draw):
    N, C, H, W = images(draw)
    R, O1, O3 = (draw(sizes(1, 3)) for _ in range(3))
    shapes = [(R, C, 1, 1), (R,), (O1, R, 1, 1), (O1,), (O3, R, 3, 3), (O3,)]
    return (arrays(draw, N, C, H, W), filled(draw, FireWeights, shapes)), {}


STRATEGIES = {
    "inception_module": inception_module(),
    "mlpconv": mlpconv(),
    "global_average_pool2d": global_average_pool2d(),
    "fire_module": fire_module(),
}


def random(kind, *shapes):
    """Return a named tuple of normal arrays; all numbers differ, so the max pool has no ties."""
    return kind(*(None if shape is None else normal(seed, *shape) for seed, shape in enumerate(shapes)))


X = normal(100, 2, 3, 4, 3)

GRADCHECK = {
    "inception_module": [
        ((X, random(InceptionWeights, *formulas.inception_shapes(3, 2, 2, 1, 1, 2, 1))), {}),
        ((X, random(InceptionWeights, *formulas.inception_shapes(3, 1, None, 2, None, 1, None))), {}),
    ],
    "mlpconv": [
        (
            (X, random(MlpconvWeights, (2, 3, 3, 2), (2,), (3, 2, 1, 1), (3,), (2, 3, 1, 1), (2,))),
            {"stride": (2, 1), "padding": 1},
        ),
        ((X, random(MlpconvWeights, (2, 3, 2, 2), (2,), None, None, None, None)), {}),
    ],
    "global_average_pool2d": [((X,), {})],
    "fire_module": [((X, random(FireWeights, (2, 3, 1, 1), (2,), (1, 2, 1, 1), (1,), (2, 2, 3, 3), (2,))), {})],
}
