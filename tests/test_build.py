"""What the book decides when it is built: links, buttons, copies for Colab, MathJax."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cvnotes import book, notebooks, shapes

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/someone/book"


def build(folder, address):
    """Build a book of two pages with the book's own settings; return the folder of its pages."""
    chapters = folder / "chapters"
    chapters.mkdir()
    for name in ("images", "_static", "references.bib"):
        (chapters / name).symlink_to(ROOT / "chapters" / name)
    (chapters / "intro.md").write_text("# Intro\n\n$a^2$\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: chapters/intro\nchapters:\n- file: chapters/chapter\n")
    source = notebooks.show_source(shapes.same_padding)
    output = nbformat.v4.new_output(
        "execute_result", {"text/markdown": source._repr_markdown_(), "text/plain": repr(source)}, execution_count=1
    )
    cells = [
        nbformat.v4.new_markdown_cell("# Chapter\n\nSee {cite:t}`dumoulin2016guide`.\n\n```{bibliography}\n"
                                      ":filter: docname in docnames\n```"),
        nbformat.v4.new_code_cell("show_source(shapes.same_padding)", outputs=[output]),
    ]
    notebook = notebooks.normalise(nbformat.v4.new_notebook(cells=cells))
    (chapters / "chapter.ipynb").write_text(notebooks.written(notebook))
    shutil.copy(ROOT / "_config.yml", folder)
    result = subprocess.run(
        [str(Path(sys.executable).with_name("jupyter-book")), "build", str(folder), "-W", "--keep-going"],
        capture_output=True, text=True, env={**os.environ, "CVNOTES_REPOSITORY": address},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    return build(tmp_path_factory.mktemp("linked"), ADDRESS + ".git")


@pytest.fixture(scope="module")
def unlinked(tmp_path_factory):
    return build(tmp_path_factory.mktemp("unlinked"), "")


def test_build_links_the_source_that_a_page_shows(linked):
    page = (linked / "chapters" / "chapter.html").read_text("utf-8")
    first, last = map(int, re.search(rf'href="{ADDRESS}/blob/main/cvnotes/shapes\.py#L(\d+)-L(\d+)"', page).groups())
    lines = Path(shapes.__file__).read_text("utf-8").splitlines()
    assert "\n".join(lines[first - 1:last]) + "\n" == notebooks.show_source(shapes.same_padding).code


def test_build_has_buttons_where_the_address_is_known(linked):
    page = (linked / "chapters" / "chapter.html").read_text("utf-8")
    assert "https://mybinder.org/v2/gh/someone/book/main?urlpath=lab/tree/chapters/chapter.ipynb" in page
    assert "https://colab.research.google.com/github/someone/book/blob/gh-pages/colab/chapters/chapter.ipynb" in page


def test_build_installs_the_package_on_colab_alone(linked):
    copy = json.loads((linked / "colab" / "chapters" / "chapter.ipynb").read_text("utf-8"))
    nbformat.validate(copy)
    assert ADDRESS in "".join(copy["cells"][0]["source"])
    assert "pip install" not in (linked / "_sources" / "chapters" / "chapter.ipynb").read_text("utf-8")
    assert [path.name for path in (linked / "colab").rglob("*.*")] == ["chapter.ipynb"]


def test_build_has_no_links_where_no_address_is_known(unlinked):
    page = (unlinked / "chapters" / "chapter.html").read_text("utf-8")
    assert "mybinder" not in page and "colab" not in page and "github.com" not in page
    assert not (unlinked / "colab").exists()
    assert "cvnotes/shapes.py" in page


@pytest.mark.parametrize("name", ["intro", "chapter"])
def test_build_loads_nothing_from_another_host(linked, name):
    page = (linked / "chapters" / f"{name}.html").read_text("utf-8")
    assert not re.search(r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*href="(?:https?:)?//', page)
    assert "THEBE_JS_URL" not in page and 'rel="preload"' not in page


def test_build_carries_little_of_mathjax(unlinked):
    files = [path for path in (unlinked / "_static" / "mathjax").rglob("*") if path.is_file()]
    assert any(path.suffix == ".woff" for path in files)
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert "mathjax/tex-chtml.js" in (unlinked / "chapters" / "intro.html").read_text("utf-8")


@pytest.mark.parametrize("remote, address", [
    ("https://github.com/someone/book.git\n", ADDRESS),
    ("git@github.com:someone/book.git", ADDRESS),
    ("ssh://git@github.com/someone/book", ADDRESS),
    ("https://user:token@github.com/someone/book/", ADDRESS),
    ("https://gitlab.com/someone/book", "https://gitlab.com/someone/book"),
    ("/srv/git/book", ""),
    ("https://example.org/book", ""),
    ("", ""),
])
def test_web_address_of_remotes(remote, address):
    assert book.web_address(remote) == address


def test_repository_prefers_the_environment(monkeypatch):
    monkeypatch.setenv("CVNOTES_REPOSITORY", ADDRESS)
    assert book.repository() == ADDRESS
    monkeypatch.setenv("CVNOTES_REPOSITORY", "")
    assert book.repository() == ""


def test_definitions_span_methods_and_modules():
    assert book.span("cvnotes/notebooks.py", "Figure.__repr__")[0] > book.span("cvnotes/notebooks.py", "Figure")[0]
    assert book.span("cvnotes/notebooks.py", None)[0] == 1
    assert book.span("cvnotes/notebooks.py", "no_such_name") is None and book.span("cvnotes/no_such.py", None) is None


def test_requirements_are_exact():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if line)
    assert "index" not in (ROOT / "requirements.txt").read_text()


def test_make_shows_what_it_would_do():
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for target in ("book", "test", "live", "run", "bench"):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
