"""Every example in a docstring of the package gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import cvnotes

RUNS_IN_THE_PAGE_ALONE = {"cvnotes.explorer.page"}  # imports what only a browser has

MODULES = sorted(
    {"cvnotes"} | {module.name for module in pkgutil.walk_packages(cvnotes.__path__, "cvnotes.")}
)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in RUNS_IN_THE_PAGE_ALONE])
def test_doctests_of_module(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
