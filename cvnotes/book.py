"""The Sphinx extension for what is decided when the book is built.

- Where the repository has an address (`CVNOTES_REPOSITORY`, else git's remote `origin`), pages
  get links to the source that they show, and buttons to Binder and Colab; elsewhere, neither.
- `colab/` of the built book holds the chapters once more, each with a first cell that installs
  the package: the Colab buttons open these, so that the cell stands nowhere else.
- MathJax is copied into the book: the few of its 24 MB that pages load.
"""

import ast
import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
BRANCH = "main"        # what the links to the source and Binder show
PUBLISHED = "gh-pages"  # where the built book is published, with its copies for Colab

# The files of MathJax that a page loads: the script, its fonts, and what TeX loads when needed.
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2/*", "input/tex/extensions/*.js")
MATHJAX_LEFT_OUT = ("all-packages.js", "bussproofs.js", "mhchem.js", "physics.js")


def repository():
    """Return the web address of the repository, without a slash at its end, or ""."""
    if "CVNOTES_REPOSITORY" in os.environ:
        return web_address(os.environ["CVNOTES_REPOSITORY"])
    try:
        remote = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return web_address(remote)


def web_address(remote):
    """Return the web address of a git remote on GitHub or GitLab; "" for every other.

    A user's name or token in the remote stays out of the book.

    >>> web_address("git@github.com:someone/book.git")
    'https://github.com/someone/book'
    >>> web_address("/srv/git/book")
    ''
    """
    form = r"(?:(?:https?|ssh|git)://)?(?:[^@/\s]+@)?(git(?:hub|lab)\.com)[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?"
    match = re.fullmatch(form, remote.strip())
    return f"https://{match[1]}/{match[2]}" if match else ""


def set_repository(app, config):
    """Tell the theme the address and which buttons to show."""
    address = repository()
    config.cvnotes_repository = address
    if not address:
        return
    options = {"repository_url": address, "use_source_button": True, "use_issues_button": True}
    buttons = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
    if address.startswith("https://github.com/"):
        buttons["colab_url"] = "https://colab.research.google.com"
    config.html_theme_options = {**config.html_theme_options, **options, "launch_buttons": buttons}


def point_to_colab(app, pagename, templatename, context, doctree):
    """Let the Colab button open the copy that installs the package."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                path = f"{app.config.cvnotes_repository.removeprefix('https://github.com/')}/blob/{PUBLISHED}"
                button["url"] = f"https://colab.research.google.com/github/{path}/colab/{pagename}.ipynb"


def write_colab(app, exception):
    """Write the copies for Colab into the built book."""
    if exception or app.builder.format != "html" or not app.config.cvnotes_repository:
        return
    folder = Path(app.outdir) / "colab"
    folder.mkdir(exist_ok=True)
    for docname in sorted(app.env.found_docs):
        path = Path(app.env.doc2path(docname))
        if path.suffix == ".ipynb":
            copy = for_colab(json.loads(path.read_text("utf-8")), app.config.cvnotes_repository)
            (folder / docname).parent.mkdir(exist_ok=True)
            (folder / f"{docname}.ipynb").write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", "utf-8")


def for_colab(notebook, address):
    """Return the notebook with a first cell that installs the package and fetches the data."""
    source = [
        "# Colab has no cvnotes: install it, and work beside the chapters' data.\n",
        f"!git clone -q --depth 1 {address} cvnotes-book\n",
        '%pip install -q "./cvnotes-book[all]"\n',
        "%cd cvnotes-book/chapters",
    ]
    cell = {"cell_type": "code", "execution_count": None, "id": "install", "metadata": {}, "outputs": [], "source": source}
    return {**notebook, "cells": [cell, *notebook["cells"]]}


def link_sources(app, doctree):
    """Give the captions of `show_source` their links to the repository."""
    from docutils import nodes

    for block in list(doctree.findall(nodes.literal_block)):
        place = block.parent.index(block)
        caption = block.parent[place - 1] if place else None
        if not isinstance(caption, nodes.paragraph):
            continue
        match = re.fullmatch(r"(cvnotes/[\w/]+\.py)(?: · ([\w.]+))?", caption.astext())
        if not match:
            continue
        caption["classes"].append("cv-source")
        if app.config.cvnotes_repository and (lines := span(match[1], match[2])):
            target = f"{app.config.cvnotes_repository}/blob/{BRANCH}/{match[1]}#L{lines[0]}-L{lines[1]}"
            link = nodes.reference("", "", *caption.children, refuri=target, internal=False)
            caption.children = []
            caption += link


def span(path, name):
    """Return the first and last line of a function or class in a file of the package, or None."""
    spans = definitions(path)
    return spans.get(name or "")


@cache
def definitions(path):
    """Return the lines of each definition of a file of the package: a dict from dotted name."""
    file = PACKAGE.parent / path
    if not file.is_file():
        return {}
    text = file.read_text("utf-8")
    spans = {"": (1, text.count("\n"))}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                spans[prefix + child.name] = (first, child.end_lineno)
                visit(child, prefix + child.name + ".")

    visit(ast.parse(text), "")
    return spans


def copy_mathjax(app, exception):
    """Copy the files of MathJax that pages load into the built book."""
    if exception or app.builder.format != "html":
        return
    import importlib.util
    import shutil

    spec = importlib.util.find_spec("sphinx-mathjax-offline")  # a name that no import statement takes
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for pattern in MATHJAX:
        for path in source.glob(pattern):
            copy = target / path.relative_to(source)
            if path.name not in MATHJAX_LEFT_OUT and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)


def set_mathjax(app, config):
    """Let pages load MathJax from the book itself."""
    config.mathjax_path = "mathjax/tex-chtml.js"
    # Without its menu, MathJax asks for nothing more; the formulas are read out from hidden MathML.
    # `textmacros` makes the underscore of `output\_padding` in a formula what it is in LaTeX.
    config.mathjax3_config = {
        "loader": {"load": ["[tex]/textmacros"]},
        "tex": {"packages": {"[+]": ["textmacros"]}},
        "options": {"enableMenu": False},
    }


# What the theme and docutils write into pages, and what should stand there instead.
MENDED = (
    # Fonts asked for ahead of time: `file://` refuses it, and the style sheet asks for them anyway.
    (r'\s*<link rel="preload" as="(?:font|script)"[^>]*>', ""),
    # A list whose children are no items, for screen readers.
    (r'<div role="list" class="(citation-list|footnote-list)">', r'<div class="\1">'),
    (r'(<div class="citation"[^>]*) role="doc-biblioentry"', r"\1"),
)


def mend_pages(app, exception):
    """Put right what no setting of the theme does."""
    if exception or app.builder.format != "html":
        return
    for path in Path(app.outdir).glob("**/*.html"):
        text = path.read_text("utf-8")
        mended = text
        for pattern, replacement in MENDED:
            mended = re.sub(pattern, replacement, mended)
        if mended != text:
            path.write_text(mended, "utf-8")


def setup(app):
    app.add_config_value("cvnotes_repository", "", "env")
    app.connect("config-inited", set_repository)
    app.connect("config-inited", set_mathjax)
    app.connect("doctree-read", link_sources)
    app.connect("html-page-context", point_to_colab, priority=900)
    app.connect("build-finished", write_colab)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
