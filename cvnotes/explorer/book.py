"""The Sphinx extension that brings explorers and exercises into the built page.

It writes the package's plain modules, with what they need of Brython's library, into one script,
and adds it, Brython itself, the page's script and its style to the book's static files. Pages
without an explorer or exercise get the style alone.
"""

import ast
import importlib
import importlib.resources
import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import cvnotes
from cvnotes.explorer import markup

PACKAGE = Path(cvnotes.__file__).parent
LIBRARY = ("math", "sys")  # all that plain modules import beside each other
NOT_PLAIN = ("explorer/book.py", "explorer/widget.py")


def plain_modules():
    """Return the modules that run in the page, as a dict from dotted name to path."""
    chapters = [path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "models"]
    paths = [PACKAGE / "__init__.py", *(PACKAGE / name for name in ("shapes.py", "cost.py", "checking.py"))]
    for chapter in sorted(chapters):
        if chapter == "explorer":
            paths += sorted(PACKAGE.glob("explorer/*.py"))
        else:
            names = ("__init__", "formulas", "explorers", "exercises")
            paths += [PACKAGE / chapter / f"{name}.py" for name in names]
    modules = {}
    for path in paths:
        if path.exists() and path.relative_to(PACKAGE).as_posix() not in NOT_PLAIN:
            parts = ("cvnotes", *path.relative_to(PACKAGE).with_suffix("").parts)
            modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


def minified(source):
    """Return source text without docstrings, comments and blank lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def imports(source, modules):
    """Return the dotted names among `modules` that source text imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(names & set(modules))


def virtual_files():
    """Return Brython's virtual file system for the page: module to `[ext, source, imports(, 1)]`."""
    modules = plain_modules()
    library = importlib.resources.files("brython").joinpath("data/brython_stdlib.js").read_text("utf-8")
    library, _ = json.JSONDecoder().raw_decode(library, library.index("{"))
    files = {name: library[name] for name in (*LIBRARY, "browser")}
    for name, path in modules.items():
        source = path.read_text("utf-8")
        files[name] = [".py", minified(source), imports(source, modules)]
        if path.name == "__init__.py":
            files[name].append(1)
    return files


class ExplorerDirective(SphinxDirective):
    """``{explorer} module:name`` puts an explorer into a page that is no notebook."""

    required_arguments = 1

    def run(self):
        module, _, name = self.arguments[0].partition(":")
        html = markup.explorer(getattr(importlib.import_module(module), name))
        return [nodes.raw("", html, format="html")]


def write_static(app, exception):
    """Write the scripts and the style into the built book."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static" / "cvnotes"
    static.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    for name in ("page.js", "style.css"):
        (static / name).write_text((here / name).read_text("utf-8"), "utf-8")
    brython = importlib.resources.files("brython").joinpath("data/brython.js").read_text("utf-8")
    (static / "brython.js").write_text(brython, "utf-8")
    script = f"__BRYTHON__.use_VFS = true;\n__BRYTHON__.update_VFS({json.dumps(virtual_files())});\n"
    (static / "cvnotes-python.js").write_text(script, "utf-8")


def add_page_files(app, pagename, templatename, context, doctree):
    """Give a page the style, and the script where it has something to wake."""
    app.add_css_file("cvnotes/style.css")
    if 'class="cv-ex' in context.get("body", ""):
        app.add_js_file("cvnotes/page.js", loading_method="defer")


def setup(app):
    app.add_directive("explorer", ExplorerDirective)
    app.connect("html-page-context", add_page_files)
    app.connect("build-finished", write_static)
    return {"version": cvnotes.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
