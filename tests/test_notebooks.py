"""What the chapters show is the same on every machine, and nothing stored escapes its test."""

import copy
import json
import os
import re
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import nbformat
import pytest

from cvnotes import notebooks, shapes
from cvnotes.checking import Exercise
from cvnotes.notebooks import check, main, run, show_figure, show_source, style

CHAPTERS = notebooks.chapters_folder()

SAMPLE = [
    ("markdown", "# A sample\n\nIt holds one of each kind of output."),
    ("code", "from cvnotes import shapes\nfrom cvnotes.notebooks import show_figure, show_source, style"),
    ("code", "shapes.output_size(7, 3, stride=2)"),
    ("code", "print('one line')\nprint('and another')"),
    ("code", "show_source(shapes.same_padding)"),
    ("code", "import matplotlib.pyplot as plt\nwith style():\n    figure, axes = plt.subplots()\n"
             "    axes.plot([0, 1, 2], [0, 1, 4])\nshow_figure(figure, 'a curve that rises')"),
    ("code", "from cvnotes.explorer import Picture, explorer, number\n@explorer(size=range(1, 9))\n"
             "def square(data, size=3):\n    picture = Picture(9, 9, 'a square').rect(0, 0, size, size)\n"
             "    return picture.svg(), f'{number(size * size * data)} cells.'\nsquare.with_data(7)"),
]


def write(path, cells):
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    nbformat.write(nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells]), path)
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("sample") / "sample.ipynb", SAMPLE)
    run(path)
    return path


# --- shown in a chapter ----------------------------------------------------------------


def test_show_source_is_the_package_s_own():
    shown = show_source(shapes.same_padding)._repr_markdown_()
    assert shown.startswith("`cvnotes/shapes.py` · `same_padding`\n\n```python\ndef same_padding(")
    assert shown.endswith("return total // 2, total - total // 2\n```\n")


def test_show_source_of_a_method_is_dedented():
    assert "\ndef _repr_html_(self):\n    return" in show_source(notebooks.Figure._repr_html_)._repr_markdown_()


def test_show_source_fences_code_that_holds_a_fence():
    assert notebooks.Source("caption", "'''```'''\n")._repr_markdown_().count("````") == 2


@pytest.mark.parametrize("obj", [len, 3])
def test_show_source_refuses_what_has_no_source(obj):
    with pytest.raises(ValueError, match=r"`obj` \(a \w+\) must have its source in a Python file"):
        show_source(obj)


DRAW = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from cvnotes.notebooks import show_figure, style
with style():
    figure, axes = plt.subplots()
    axes.plot([0, 1, 2], [0, 1, 4], marker="o", label="$x^2$")
    axes.imshow([[0, 1], [2, 3]])
    axes.legend()
print(show_figure(figure, "a curve")._repr_html_())
"""


def draw(seed="0", change=("", "")):
    return subprocess.run(
        [sys.executable, "-c", DRAW.replace(*change)], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC{seed}"},
    ).stdout


def test_show_figure_is_the_same_in_every_process():
    first = draw("0")
    assert first == draw("7")
    assert first != draw("0", ("[0, 1, 4]", "[0, 1, 4.1]"))


def test_show_figure_follows_the_theme_and_scales():
    html = draw()
    root = re.match(r'<div class="cv-figure"><svg ([^>]*)>', html)[1]
    assert 'role="img" aria-label="a curve"' in root and "viewBox=" in root
    assert not re.search(r'(?<![-\w])(width|height)="', root)
    assert "var(--cv-ink, #1f2937)" in html and "var(--cv-input, #0072b2)" in html
    assert not re.search(r"(?<!, )#(000000|1f2937|0072b2)", html)
    assert "<metadata" not in html and "<!--" not in html


def test_show_figure_ids_are_of_one_figure_alone():
    first, second = draw(), draw("0", ('"a curve"', '"another"'))
    ids = [set(re.findall(r'\bid="([^"]+)"', html)) for html in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', first)) == ids[0]


def test_show_figure_names_drawn_svg():
    html = show_figure('<svg viewBox="0 0 9 9" role="img" aria-label="old" width="3"><g/></svg>', 'a "b"')._repr_html_()
    assert 'aria-label="a &quot;b&quot;"' in html and "old" not in html and 'width="3"' not in html


def test_show_figure_is_not_shown_twice():
    import matplotlib.pyplot as plt

    with style(figure_figsize=(2, 2)):
        show_figure(plt.figure(), "nothing")
    assert not plt.get_fignums()


@pytest.mark.parametrize("figure, label, sentence", [
    ("<svg></svg>", " ", "`label` (=' ') must say in words"),
    ("<p>", "text", "`figure` (a str) must be a matplotlib figure or SVG text"),
])
def test_show_figure_refuses(figure, label, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        show_figure(figure, label)


def test_notebooks_import_is_cheap():
    code = "import sys, cvnotes.notebooks; print(sorted({'numpy', 'torch', 'matplotlib', 'nbformat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# --- run -------------------------------------------------------------------------------


def test_run_writes_the_same_bytes_again(sample):
    before = sample.read_bytes()
    run(sample)
    assert sample.read_bytes() == before and check(sample) == []


def test_run_leaves_no_widget(sample):
    text = sample.read_text()
    assert "cv-explorer" in text and "widget" not in text


@pytest.mark.parametrize("source, rule", [
    ("1 / 0", "cell 2: the cell failed"),
    ("import sys\nprint('look out', file=sys.stderr)", "cell 2: the cell writes to stderr: look out"),
    ("import warnings\nwarnings.warn('old')", "cell 2: the cell writes to stderr: "),
])
def test_run_refuses_and_writes_nothing(tmp_path, capsys, source, rule):
    path = write(tmp_path / "broken.ipynb", [("markdown", "text"), ("code", source)])
    before = path.read_bytes()
    assert main(["run", str(path)]) == 1
    assert f"broken.ipynb, {rule}" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_run_names_the_chapters_where_there_is_no_such(capsys):
    assert main(["run", "no_such_chapter"]) == 1
    assert "no_such_chapter.ipynb: no such chapter; the chapters are: " in capsys.readouterr().err


# --- check -----------------------------------------------------------------------------


def output(notebook, position):
    return notebook.cells[position].outputs[0]


def html_output(html):
    return nbformat.v4.new_output("display_data", {"text/html": html, "text/plain": "x"})


TAMPERED = {
    "order": (lambda nb: nb.cells[2].update(execution_count=5), "cell 3: cells must be executed in order"),
    "not executed": (lambda nb: nb.cells[2].update(execution_count=None), "cell 3: cells must be executed in order"),
    "error": (
        lambda nb: nb.cells[2].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])),
        "cell 3: no cell may fail: E: v",
    ),
    "stderr": (
        lambda nb: nb.cells[3].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="oh")),
        "cell 4: nothing may be written to stderr: oh",
    ),
    "widget view": (
        lambda nb: output(nb, 6).data.update({notebooks.WIDGET_VIEW: {"model_id": "1"}}),
        "cell 7: no widget view may be stored",
    ),
    "widget state": (lambda nb: nb.metadata.update(widgets={}), "no widget state may be stored"),
    "metadata": (lambda nb: nb.metadata.language_info.update(version="3.11.7"), "the metadata must be as `run`"),
    "png": (lambda nb: output(nb, 2).data.update({"image/png": "iVBORw0="}), "cell 3: an output must be text"),
    "svg file": (lambda nb: output(nb, 2).data.update({"image/svg+xml": "<svg/>"}), "cell 3: an output must be text"),
    "unnamed picture": (lambda nb: nb.cells[2].outputs.append(html_output("<svg></svg>")), "cell 3: each picture must"),
    "another host": (
        lambda nb: nb.cells[2].outputs.append(html_output('<img src="https://example.org/a.png">')),
        "cell 3: nothing may be loaded from another host: https://example.org/a.png",
    ),
    "data": (
        lambda nb: output(nb, 6).data.update(
            {"text/html": output(nb, 6).data["text/html"].replace(">7</script>", ">" + "7" * 150_001 + "</script>")}
        ),
        "cell 7: an explorer's data must stay under 150000 bytes, not 150001",
    ),
    "page size": (
        lambda nb: nb.cells[2].outputs.append(html_output("x" * 1_000_001)),
        "the outputs of a chapter must stay under 1000000 bytes",
    ),
    "tag": (lambda nb: nb.cells[2].metadata.update(tags=["nbval-skip"]), "cell 3: no tag may exempt a cell"),
    "raising": (lambda nb: nb.cells[2].metadata.update(tags=["raises-exception"]), "cell 3: no tag may exempt a cell"),
    "comment": (
        lambda nb: nb.cells[2].update(source="# NBVAL_IGNORE_OUTPUT\n" + nb.cells[2].source),
        "cell 3: no comment may exempt a cell from its test: NBVAL_IGNORE_OUTPUT",
    ),
    "cell id": (lambda nb: nb.cells[2].update(id="random"), "the file must be as `python -m cvnotes.notebooks run"),
    "cell metadata": (lambda nb: nb.cells[2].metadata.update(collapsed=True), "the file must be as `python -m"),
    "split stream": (
        lambda nb: nb.cells[3].outputs.append(nbformat.v4.new_output("stream", name="stdout", text="x")),
        "the file must be as `python -m",
    ),
}


@pytest.mark.parametrize("change, sentence", TAMPERED.values(), ids=TAMPERED)
def test_check_refuses(sample, tmp_path, capsys, change, sentence):
    notebook = nbformat.read(sample, as_version=4)
    change(notebook)
    path = tmp_path / "copy.ipynb"
    path.write_text(notebooks.written(notebook))
    assert main(["check", str(path)]) == 1
    assert re.search(rf"^copy\.ipynb(, |: ){re.escape(sentence)}", capsys.readouterr().err, re.M)


def test_check_refuses_other_formatting(sample, tmp_path):
    path = tmp_path / "copy.ipynb"
    path.write_text(json.dumps(json.loads(sample.read_text()), indent=4))
    assert check(path) == ["copy.ipynb: the file must be as `python -m cvnotes.notebooks run copy` writes it"]


def test_check_refuses_what_is_no_notebook(tmp_path):
    path = tmp_path / "copy.ipynb"
    path.write_text("{")
    assert check(path)[0].startswith("copy.ipynb: it can't be read as a notebook: ")


STUB = "def double(x):\n    ...\n"


@pytest.mark.parametrize("cells, sentences", [
    ([STUB.strip(), "exercises.double.check(double)"], []),
    (["def double(x):\n    pass", "exercises.double.check(double)"],
     ["pond.ipynb, cell 1: the cell above the check of `double` must be its stub"]),
    ([STUB.strip(), "exercises.triple.check(double)"],
     ["pond.ipynb, cell 2: `cvnotes.pond.exercises` has no exercise `triple`",
      "pond.ipynb: the exercise `double` has no check cell"]),
])
def test_check_refuses_a_stub_that_is_not_the_exercise_s(tmp_path, monkeypatch, cells, sentences):
    module = types.ModuleType("cvnotes.pond.exercises")
    module.__spec__ = ModuleSpec(module.__name__, None)
    module.double = Exercise(
        name="double", stub=STUB, solution=STUB, cases=[(1,)], expected=lambda x: 2 * x, wrong={}, hint="", notice="",
    )
    package = types.ModuleType("cvnotes.pond")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "cvnotes.pond", package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    path = tmp_path / "pond.ipynb"
    path.write_text(notebooks.written(notebooks.normalise(notebook)))
    assert check(path) == sentences


def test_check_accepts_every_chapter():
    assert [problem for path in notebooks.find() for problem in check(path)] == []


# --- nbval compares what is stored -----------------------------------------------------


def nbval(folder):
    """Return the code cells of each notebook in `folder` that nbval fails, counted from 0."""
    report = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", str(folder), "-n", "2", "--dist", "loadfile", "--rootdir",
         str(folder), "-c", "/dev/null", "-p", "no:cacheprovider", "-q", "--color=no", "--tb=no", "-rf"],
        capture_output=True, text=True, env={**os.environ, "IPYTHONDIR": str(folder / ".ipython")},
    )
    assert report.returncode in (0, 1), report.stdout + report.stderr
    failed = {path.stem: [] for path in folder.glob("*.ipynb")}
    for name, number in re.findall(r"^FAILED (?:\S*/)?(\w+)\.ipynb::Cell (\d+)", report.stdout, re.M):
        failed[name].append(int(number))
    return {name: sorted(numbers) for name, numbers in failed.items()}


def replaced(notebook, kind, old, new):
    """Change the only output that has `old` in it."""
    changed = 0
    for cell in notebook.cells:
        for stored in cell.get("outputs", []):
            fields = stored.data if "data" in stored else stored
            if old in fields.get(kind, ""):
                fields[kind] = fields[kind].replace(old, new, 1)
                changed += 1
    assert changed == 1
    return notebook


def test_nbval_fails_where_one_output_was_changed(sample, tmp_path):
    original = nbformat.read(sample, as_version=4)
    curve = re.search(r'd="(M [\d.]+ [\d.]+ L [\d.]+ )([\d.]+)', original.cells[5].outputs[0].data["text/html"][1500:])
    copies = {
        "untouched": (None, []),
        "number": (("text/plain", "3", "4"), [1]),
        "line": (("text", "another", "a other"), [2]),
        "source": (("text/markdown", "total // 2", "total / 2"), [3]),
        "point": (("text/html", curve[0], curve[0] + "1"), [4]),
        "label": (("text/html", "that rises", "that falls"), [4]),
        "sentence": (("text/html", "63 cells.", "64 cells."), [5]),
        "picture": (("text/html", '<rect x="0" y="0" width="3"', '<rect x="0" y="0" width="4"'), [5]),
        "data": (("text/html", ">7</script>", ">8</script>"), [5]),
        "state": (("text/html", 'value="2"', 'value="3"'), [5]),
    }
    for name, (change, _) in copies.items():
        notebook = copy.deepcopy(original)
        if change:
            replaced(notebook, *change)
        (tmp_path / f"{name}.ipynb").write_text(notebooks.written(notebook))
    assert nbval(tmp_path) == {name: failed for name, (_, failed) in copies.items()}


def tamper(text):
    """Return the text with its middle letter or digit changed."""
    places = [match.start() for match in re.finditer(r"\w", text)] or [0]
    place = places[len(places) // 2]
    return text[:place] + ("0" if text[place:place + 1] != "0" else "1") + text[place + 1:]


@pytest.mark.parametrize("name", [path.stem for path in notebooks.find()])
def test_nbval_compares_every_output_of_a_chapter(tmp_path, name):
    path = CHAPTERS / f"{name}.ipynb"
    for beside in CHAPTERS.iterdir():
        if beside.suffix not in (".ipynb", ".md"):
            (tmp_path / beside.name).symlink_to(beside)
    notebook, expected = nbformat.read(path, as_version=4), []
    for number, (_, cell) in enumerate(notebooks._code_cells(notebook)):
        for stored in cell.outputs[:1]:
            fields = stored.data if "data" in stored else stored
            kind = [kind for kind in ("text/html", "text/markdown", "text/plain", "text") if kind in fields][0]
            fields[kind] = tamper(fields[kind])
            expected.append(number)
    (tmp_path / path.name).write_text(notebooks.written(notebook))
    assert nbval(tmp_path) == {name: expected}
