"""What an import costs, which way imports run, and what plain modules keep off."""

import ast
import importlib.util
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cvnotes

PACKAGE = Path(cvnotes.__file__).parent
REPOSITORY = Path(__file__).parent.parent
CHAPTERS = [
    module.name for module in pkgutil.iter_modules(cvnotes.__path__)
    if module.ispkg and module.name not in ("explorer", "models")
]
REFERENCES = [name for name in CHAPTERS if importlib.util.find_spec(f"cvnotes.{name}.reference")]
LONGEST = 0.15  # seconds

# --- what an import costs ----------------------------------------------------------------


def seconds(module, after="sys"):
    """Return the seconds that `import module` takes in a fresh process that has `after`; the best of several."""
    code = (
        f"import {after}, sys, time\nstart = time.perf_counter()\nimport {module}\n"
        f"print(time.perf_counter() - start, 'torch' in sys.modules)"
    )
    best = float("inf")
    for _ in range(8):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        took, has_torch = run.stdout.split()
        assert has_torch == "False", f"`import {module}` imports torch"
        best = min(best, float(took))
        if best < LONGEST / 2:
            break
    return best


def test_import_of_the_package_is_quick_and_without_torch():
    assert seconds("cvnotes") < LONGEST


@pytest.mark.parametrize("chapter", REFERENCES)
def test_import_of_a_reference_is_quick_and_without_torch(chapter):
    assert seconds(f"cvnotes.{chapter}.reference", after="numpy") < LONGEST


# --- which way imports run ---------------------------------------------------------------

# For each kind of module, what it may import at its top, beside `math` and what is of its own
# kind. "formulas" stands for the formulas of any chapter, and so on. What works on arrays may
# have all of Python's standard library as well.
PLAIN = {
    "shapes": set(),
    "cost": {"shapes", "explorer"},
    "checking": {"sys", "explorer"},
    "formulas": {"shapes", "cost"},
    "explorers": {"shapes", "cost", "formulas", "explorer"},
    "exercises": {"shapes", "cost", "formulas", "checking"},
    "explorer": {"sys", "browser"},
}
ARRAYS = {
    "weights": set(),  # what a block's named tuple of arrays holds
    "reference": {"shapes", "cost", "formulas", "weights", "numpy"},
    "fast": {"shapes", "cost", "formulas", "weights", "numpy", "torch", "einops"},
    "models": {"shapes", "cost", "formulas", "torch", "fast"},
}
NOT_PLAIN = ("explorer/book.py", "explorer/widget.py")  # Sphinx and the kernel; never in the page
LATE = ("exercises.py", "cost.py", "explorer/declaration.py")  # may import more, inside a function


def kind_of(path):
    """Return the kind of a module of the package, or None where the rules say nothing of it."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if path.relative_to(PACKAGE).as_posix() in NOT_PLAIN:
        return None
    if parts[0] in ("explorer", "models"):
        return parts[0]
    return parts[-1] if parts[-1] in PLAIN or parts[-1] in ARRAYS else None


def imported(node):
    """Return what an import statement names, as dotted names; `from a import b` is `a.b`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return ["." * node.level + (node.module or "") + "." + alias.name for alias in node.names]


def kinds_imported(name):
    """Return the kind of a dotted name: `cvnotes.boxes.formulas.iou` is `formulas`."""
    parts = name.split(".")
    if parts[0] != "cvnotes":
        return parts[0]
    if len(parts) > 1 and parts[1] in ("shapes", "cost", "checking", "explorer", "models"):
        return parts[1]
    return parts[2] if len(parts) > 2 else name


def broken_import_rules(source, kind, late=False):
    """Return a list of the imports in `source` that a module of a `kind` must not have."""
    allowed = {"math", kind} | PLAIN.get(kind, set()) | ARRAYS.get(kind, set())
    if kind in ARRAYS:
        allowed |= sys.stdlib_module_names
    tree = ast.parse(source)
    nodes = tree.body if late else ast.walk(tree)
    return [
        f"line {node.lineno}: {name}"
        for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in imported(node) if kinds_imported(name) not in allowed
    ]


FLOAT_FORMAT = re.compile(r"%[-+ #0-9.*]*[eEfFgG]")
REFUSED_CALLS = {"round", "hypot", "erf", "erfc", "format"}


def broken_plain_rules(source):
    """Return a list of what in `source` does not run in Brython as in CPython."""
    found = []
    for node in ast.walk(ast.parse(source)):
        said = None
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            said = "a format in an f-string"
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            said = f"{name}()" if name in REFUSED_CALLS else None
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} & REFUSED_CALLS
            said = "from __future__" if node.module == "__future__" else ", ".join(sorted(names)) or None
        elif isinstance(node, ast.Match):
            said = "match"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            sides = (node.left, node.right)
            text = node.left.value if isinstance(node.left, ast.Constant) else None
            if isinstance(text, str):
                said = "a float format" if FLOAT_FORMAT.search(text) else None
            elif any(isinstance(getattr(side, "value", None), float) for side in sides):
                said = "% of a float"
            elif any(isinstance(side, ast.BinOp) and isinstance(side.op, ast.Div) for side in sides):
                said = "% of a quotient"
        if said:
            found.append(f"line {node.lineno}: {said}")
    return found


MODULES = [pytest.param(path, id=path.relative_to(PACKAGE).as_posix()) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES)
def test_imports_run_one_way(path):
    if kind_of(path):
        late = path.relative_to(PACKAGE).as_posix().endswith(LATE)
        assert broken_import_rules(path.read_text(), kind_of(path), late) == []


@pytest.mark.parametrize("path", MODULES)
def test_plain_modules_write_no_float_and_need_no_library(path):
    if kind_of(path) in PLAIN:
        assert broken_plain_rules(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES)
def test_package_checks_its_callers_without_assert(path):
    tree = ast.parse(path.read_text())
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


def test_chapter_packages_only_say_what_they_are_about():
    for chapter in CHAPTERS:
        body = ast.parse((PACKAGE / chapter / "__init__.py").read_text()).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), chapter


def test_every_chapter_has_its_package_and_its_test():
    for notebook in (REPOSITORY / "chapters").glob("*.ipynb"):
        assert (PACKAGE / notebook.stem / "__init__.py").exists(), notebook.name
        assert (REPOSITORY / "tests" / f"test_{notebook.stem}.py").exists(), notebook.name


@pytest.mark.parametrize("kind, source", [
    ("reference", "import torch"),
    ("reference", "from cvnotes.boxes import fast"),
    ("fast", "from cvnotes.boxes.reference import iou"),
    ("formulas", "import numpy as np"),
    ("formulas", "def f():\n    import numpy"),
    ("explorers", "from cvnotes.boxes import reference"),
    ("explorers", "import itertools"),
    ("shapes", "from . import cost"),
    ("exercises", "import cvnotes.boxes.fast"),
])
def test_scan_refuses_an_import(kind, source):
    assert broken_import_rules(source, kind)


@pytest.mark.parametrize("source", [
    "f'{x:.2f}'", "f'{x:5}'", "'{:.1f}'.format(x)", "'%.3f' % x", "round(x)", "math.hypot(a, b)", "math.erf(x)",
    "from math import erf", "from __future__ import annotations", "x % 0.5", "(a / b) % c",
    "match x:\n    case 1:\n        pass", "format(x)",
])
def test_scan_refuses_what_brython_does_otherwise(source):
    assert broken_plain_rules(source)


def test_scan_passes_what_is_plain():
    source = "import math\nfrom cvnotes.boxes.formulas import iou\nf'{number(x, 2)} {n} {s!r}'\n'%s' % n\na % b"
    assert broken_plain_rules(source) == [] and broken_import_rules(source, "explorers") == []
