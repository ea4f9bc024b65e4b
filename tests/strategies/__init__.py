"""What the parity test draws: one module a chapter, and here what they share.

A module of this package is named as its chapter, and holds

- ``STRATEGIES = {"conv2d": strategy}``: for each public function of the chapter's ``reference``, a
  hypothesis strategy of ``(args, kwargs)`` with float64 NumPy arrays in them;
- ``GRADCHECK = {"conv2d": [(args, kwargs), ...]}``: a few tiny cases for `torch.autograd.gradcheck`, or
  in place of the list a text that says why the function has no gradient.
"""

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    """Return float64 numbers of a standard normal distribution, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape)


def arrays(*shape):
    """Return a strategy of normal float64 arrays of a shape; only the seed is drawn."""
    return seeds.map(lambda seed: normal(seed, *shape))


def sizes(low, high):
    """Return a strategy of integers from `low` to `high`, both included."""
    return st.integers(low, high)


def pairs(low, high):
    """Return a strategy of an integer, or a tuple of two, as stride, padding and dilation take."""
    one = st.integers(low, high)
    return one | st.tuples(one, one)


def now_and_then(strategy, usual, once_in=16):
    """Return a strategy of `usual`, and once in a while a value of `strategy` in its place."""
    return st.integers(1, once_in).flatmap(lambda i: strategy if i == once_in else st.just(usual))
