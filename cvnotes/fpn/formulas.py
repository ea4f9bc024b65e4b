"""The equations of the chapter on plain numbers, and the arguments that its functions accept.

Level l has places that lie 2^l pixels apart: C2 and P2 are a quarter of the image's size, C5 and P5 a 32nd.
"""

from math import cos, frexp, pi, sqrt

from cvnotes import shapes
from cvnotes.boxes.formulas import box_set, real

# --- sizes ---------------------------------------------------------------------------------


def level_size(size, level):
    """Return ⌈size / 2^level⌉: how many places a level has along a side of so many pixels.

    Each halving is rounded up, which comes to the same as one rounding at the end.

    >>> [level_size(800, level) for level in (2, 3, 4, 5, 6, 7)]
    [200, 100, 50, 25, 13, 7]
    """
    size = shapes.integer("size", size, 1)
    return -(-size // 2 ** shapes.integer("level", level, 0, 30))


def source(i, size, larger):
    """Return ⌊i·size / larger⌋: the place that place i of an upsampled side is a copy of.

    >>> [source(i, 3, 7) for i in range(7)]
    [0, 0, 0, 1, 1, 2, 2]
    """
    return i * size // larger


# --- the level of a box --------------------------------------------------------------------


def box_level(width, height, k0=4, size0=224, lowest=2, highest=5):
    """Return ⌊k0 + log₂(√(w·h) / size0)⌋, at least `lowest` and at most `highest`.

    The logarithm is never rounded: r = m·2^e with ½ ≤ m < 1 has ⌊log₂ r⌋ = e − 1. A box without area, of which
    it would be −∞, has the lowest level.

    >>> box_level(224, 224), box_level(112, 112), box_level(111, 112)
    (4, 3, 2)
    """
    ratio = sqrt(width * height) / size0
    if not ratio:
        return lowest
    return min(max(k0 + frexp(ratio)[1] - 1, lowest), highest)


# --- what upsampling does to a spectrum ------------------------------------------------------


def nearest_gain(frequency):
    """Return |cos(ω/2)|, ω = 2π·frequency: what is left of a wave after each sample was repeated once.

    - frequency: in periods a sample of the upsampled signal, from 0 to ½

    A wave of f < ¼ comes with a copy of it at ½ − f that the coarse map didn't have; the gain is of both.

    >>> nearest_gain(0.0), nearest_gain(1 / 3)
    (1.0, 0.5000000000000001)
    """
    return abs(cos(pi * frequency))


def binomial_gain(frequency):
    """Return cos²(ω/2), ω = 2π·frequency: what is left of a wave after a filter of ¼, ½, ¼.

    >>> binomial_gain(0.0), binomial_gain(1 / 3)
    (1.0, 0.2500000000000001)
    """
    return cos(pi * frequency) ** 2


# --- argument checks -------------------------------------------------------------------------


def upsampling(x, size):
    """Check the arguments of `upsample_nearest`; return the size (OH, OW)."""
    _, _, H, W = shapes.array("x", x, "N C H W")
    size = shapes.pair("size", size, 1)
    if size[0] < H or size[1] < W:
        raise ValueError(f"`size` (={size}) must not be below the {H} × {W} of `x`")
    return size


def levels(boxes, k0, size0, lowest, highest):
    """Check the arguments of `box_level`; return the four numbers."""
    box_set("boxes", boxes)
    k0 = shapes.integer("k0", k0, -100, 100)
    size0 = real("size0", size0, 1e-6, 10**6)
    lowest = shapes.integer("lowest", lowest, -100, 100)
    return k0, size0, lowest, shapes.integer("highest", highest, lowest, 100)


def pyramid(features, lateral, output):
    """Check the arguments of `feature_pyramid`."""
    for name, value in (("features", features), ("lateral", lateral), ("output", output)):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"`{name}` ({_kind(value)}) must be a list")
    if not features:
        raise ValueError("`features` is empty; at least 1 map is needed")
    for name, value in (("lateral", lateral), ("output", output)):
        if len(value) != len(features):
            raise ValueError(f"`{name}` has {len(value)} convolutions; {len(features)} are needed, as `features` has")
    arrays = {f"features[{i}]": c for i, c in enumerate(features)}
    sizes = [shapes.array(name, c, "N C H W") for name, c in arrays.items()]
    for i, (N, _, H, W) in enumerate(sizes[1:], 1):
        if N != sizes[0][0]:
            raise ValueError(f"`features[{i}]` has {N} images; `features[0]` has {sizes[0][0]}")
        if H > sizes[i - 1][2] or W > sizes[i - 1][3]:
            raise ValueError(
                f"`features[{i}]` is {H} × {W}; it must not exceed the {sizes[i - 1][2]} × {sizes[i - 1][3]} "
                f"of `features[{i - 1}]`: maps go from fine to coarse"
            )
    width = None
    for i, (_, C, _, _) in enumerate(sizes):
        width = _convolution(f"lateral[{i}]", lateral[i], f"features[{i}]", C, (1, 1), width, arrays)
    for i in range(len(sizes)):
        _convolution(f"output[{i}]", output[i], "lateral[0]", width, (3, 3), None, arrays)
    shapes.same_kind(**arrays)


def _kind(value):
    """Return what a value is, the same for NumPy's arrays and torch's."""
    return "an array" if hasattr(value, "shape") else "of type " + type(value).__name__


def _convolution(name, pair, before, channels, kernel, width, arrays):
    """Check a weight and a bias (or None), and note them in `arrays`; return how many channels they give."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"`{name}` ({_kind(pair)}) must be a pair: a weight, and a bias or None")
    weight, bias = pair
    O, C, KH, KW = shapes.array(f"{name}[0]", weight, "O C KH KW")
    if C != channels:
        raise ValueError(f"`{name}` takes {C} channels; `{before}` {'has' if before[0] == 'f' else 'gives'} {channels}")
    if (KH, KW) != kernel:
        raise ValueError(f"`{name}` is {KH} × {KW}; {kernel[0]} × {kernel[1]} is needed")
    if width is not None and O != width:
        raise ValueError(f"`{name}` gives {O} channels; `lateral[0]` gives {width}, and they are added")
    arrays[f"{name}[0]"] = weight
    if bias is not None:
        shapes.has_shape(f"{name}[1]", bias, (O,))
        arrays[f"{name}[1]"] = bias
    return O
