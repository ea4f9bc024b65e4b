"""What the page's script asks of Python; runs in Brython alone.

The script finds two functions on `window.cvnotes`: `load` and `check`. Everything that crosses
between the two languages is a string, a list or a small whole number.
"""

import sys

from browser import window

_explorers = {}


def _find(path):
    """Return the object of a dotted name ``module:name``."""
    module, _, name = path.partition(":")
    __import__(module)
    return getattr(sys.modules[module], name)


def load(key, path, data):
    """Make the explorer of a dotted name ready to be drawn under `key`; `data` is its source."""
    this = _find(path)
    _explorers[key] = this.with_data(eval(data)) if data else this


def draw(key, indices):
    """Return `[picture, sentence, failed]` for the indices of the controls' values."""
    this = _explorers[key]
    picture, sentence, failed = this.render(this.state(indices))
    return [picture, sentence, 1 if failed else 0]


def check(path, source):
    """Return `[status, message]` of an exercise for a reader's source text."""
    verdict = _find(path).check_source(source)
    return [verdict.status, verdict.message]


window.cvnotes = {"load": load, "draw": draw, "check": check}
