"""What the chapters show, and how they are kept honest.

In a chapter: `show_source` shows the package's own source, `show_figure` a picture that follows
the page's theme. On the command line, with a chapter's name, several, or none for all of them:

    python -m cvnotes.notebooks run im2col      # execute from a clean kernel, normalise, write
    python -m cvnotes.notebooks check           # refuse what `run` would not have written

A chapter is committed executed, and the book is built from what is committed. `run` and `check`
keep out what would differ from one machine or day to the next; nbval executes every cell again
and compares each output with the stored one.
"""

import hashlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

from cvnotes.explorer.declaration import LARGEST_DATA

PACKAGE = Path(__file__).resolve().parent

MAX_OUTPUTS = 1_000_000   # bytes of HTML and Markdown that one chapter may put out

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# nbval compares these byte for byte, and the book shows them; an image it would pass over.
OUTPUT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex")

# What loads something from another host as a page opens: in a tag, a style, a script, Markdown.
ELSEWHERE = re.compile(
    r"""(?:<(?:script|img|link|iframe|image|source|video|audio|object|embed)\b[^>]*?(?:src|href|srcset|data)\s*=\s*["']?"""
    r"""|url\(\s*["']?|@import\s+["']|fetch\(\s*["']|!\[[^\]]*\]\(\s*)((?:https?:)?//[^"'\s)>]*)""", re.I,
)

# What the normalised notebook says of the kernel: nothing that differs between machines.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}

# A cell with one of these would not be compared, so no cell may have one.
EXEMPTING_TAG = re.compile(r"nbval|pytest-validate-ignore-output|raises-exception|skip-execution", re.I)
EXEMPTING_COMMENT = re.compile(r"^\s*#+\s*(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.M)


# --- shown in a chapter ----------------------------------------------------------------


class Source:
    """Source text that a notebook shows as a highlighted block under its file and name."""

    def __init__(self, caption, code):
        self.caption, self.code = caption, code

    def __repr__(self):
        return "Source: " + self.caption.replace("`", "")

    def _repr_markdown_(self):
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", self.code) or [""]))
        return f"{self.caption}\n\n{fence}python\n{self.code}{fence}\n"


def show_source(obj):
    """Return the source of a function, class or module, to be shown under its file and name.

    The link to the repository is added when the book is built, so that what is stored stays the
    same wherever it is run.

    Raises `ValueError` where `obj` has no source in Python.
    """
    unwrapped = inspect.unwrap(obj) if callable(obj) else obj
    try:
        code = textwrap.dedent(inspect.getsource(unwrapped)).rstrip() + "\n"
        path = Path(inspect.getsourcefile(unwrapped)).resolve()
    except (TypeError, OSError) as error:
        raise ValueError(f"`obj` (a {type(obj).__name__}) must have its source in a Python file") from error
    name = "" if inspect.ismodule(unwrapped) else f" · `{unwrapped.__qualname__}`"
    if path.is_relative_to(PACKAGE):
        return Source(f"`{path.relative_to(PACKAGE.parent).as_posix()}`{name}", code)
    return Source(name.removeprefix(" · ") or "`module`", code)


class Figure:
    """A picture that a notebook shows as inline SVG."""

    def __init__(self, html, label):
        self.html, self.label = html, label

    def __repr__(self):
        return f"Figure: {self.label}"

    def _repr_html_(self):
        return self.html


def show_figure(figure, label):
    """Return a matplotlib figure, or SVG text, as a picture that follows the page's theme.

    `label` says in words what is to be seen; it is the picture's name for a screen reader. The
    same picture is the same to the byte in every process. Colours that are a role's (see
    `cvnotes.explorer.drawing.COLOURS`) follow the theme; use `style()` to draw in them.

    Raises `ValueError` where `label` is empty or `figure` is neither a figure nor SVG.
    """
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"`label` (={label!r}) must say in words what the figure shows")
    if hasattr(figure, "savefig"):
        svg = _matplotlib_svg(figure)
    elif isinstance(figure, str) and figure.lstrip().startswith("<svg"):
        svg = _drawn_svg(figure.strip())
    else:
        raise ValueError(f"`figure` (a {type(figure).__name__}) must be a matplotlib figure or SVG text")
    svg = _own_ids(svg, label)
    from html import escape

    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    return Figure(f'<div class="cv-figure">{svg}</div>', label)


def table(head, rows):
    """Return rows of text as a Markdown table: the first column to the left, the others to the right."""
    from IPython.display import Markdown

    lines = ["| " + " | ".join(head) + " |", "|:--|" + "--:|" * (len(head) - 1)]
    return Markdown("\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]))


def style(**more):
    """Return a matplotlib context with the book's colours and sizes: ``with style(): …``.

    `more` are further rc parameters with ``_`` for the dot, as in ``figure_figsize=(5, 2)``.
    """
    import matplotlib
    from cvnotes.explorer.drawing import COLOURS

    ink, faint = COLOURS["ink"], COLOURS["faint"]
    names = {parameter.replace(".", "_"): parameter for parameter in matplotlib.rcParams}
    cycle = [COLOURS[role] for role in ("input", "kernel", "output", "negative", "ignore", "padding")]
    return matplotlib.rc_context({
        "figure.figsize": (5.4, 3.2), "figure.constrained_layout.use": True,
        "font.size": 12, "axes.titlesize": 12, "axes.labelsize": 12, "legend.fontsize": 11,
        "xtick.labelsize": 11, "ytick.labelsize": 11, "lines.linewidth": 2,
        "text.color": ink, "axes.labelcolor": ink, "axes.titlecolor": ink, "axes.edgecolor": ink,
        "xtick.color": ink, "ytick.color": ink, "grid.color": faint, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "axes.prop_cycle": matplotlib.cycler(color=cycle),
        **{names.get(name, name): value for name, value in more.items()},
    })


def _matplotlib_svg(figure):
    """Return the figure's SVG without date, sizes or fonts of its own, in the roles' colours."""
    import io

    import matplotlib
    from cvnotes.explorer.drawing import COLOURS

    stream = io.StringIO()
    fixed = {"svg.hashsalt": "cvnotes", "svg.fonttype": "none", "svg.image_inline": True}
    with matplotlib.rc_context(fixed):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    if "matplotlib.pyplot" in sys.modules:
        # Else Jupyter shows an open figure once more under the cell, as an image.
        sys.modules["matplotlib.pyplot"].close(figure)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg"):].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"<style[^>]*>.*?</style>", "<style></style>", svg, flags=re.S).replace("<style></style>", "")
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    # Two decimals of a point are finer than any screen, and the last ones differ by machine.
    number = re.compile(r"-?\d+\.\d{3,}")
    shorten = lambda match: _short(match.group())  # noqa: E731
    svg = re.sub(r'\b(?:d|x|y|width|height|transform)="[^"]*"', lambda m: number.sub(shorten, m.group()), svg)
    # The page's own font: its letters are narrower than the ones that the layout counted with.
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    svg = re.sub(r'\bd="[^"]*"', lambda match: re.sub(r"\s+", " ", match.group()).replace(' "', '"'), svg)
    roles = {value.lower(): role for role, value in COLOURS.items() if value.startswith("#")}
    roles["#000000"] = "ink"

    def follow(match):
        role = roles.get(match.group().lower())
        return f"var(--cv-{role}, {COLOURS[role]})" if role else match.group()

    svg = re.sub(r"(?<=: )#[0-9a-fA-F]{6}\b", follow, svg)
    svg = re.sub(r">\s+<", "><", svg)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="0 0 (\S+) (\S+)"', head)
    width, height = (float(side) for side in box.groups())
    # Black is not written by matplotlib, so the root says what it is: the text's colour.
    ink = COLOURS["ink"]
    root = (
        f'<svg viewBox="0 0 {_short(str(width))} {_short(str(height))}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" fill="var(--cv-ink, {ink})" stroke-linejoin="round" '
        f'style="display: block; width: 100%; max-width: {round(width * 4 / 3)}px; height: auto; margin: 0 auto"'
    )
    return root + ">" + rest


def _short(text):
    """Return a decimal number with at most two decimals."""
    value = f"{float(text):.2f}".rstrip("0").rstrip(".")
    return "0" if value in ("-0", "") else value


def _drawn_svg(svg):
    """Return SVG text whose root has no name and no size of its own."""
    head, rest = svg.split(">", 1)
    natural = re.search(r'\swidth="([\d.]+)"', head) or re.search(r'viewBox="\S+ \S+ (\S+) \S+"', head)
    head = re.sub(r'\s(?:role|aria-label|width|height|style)="[^"]*"', "", head)
    widest = f" max-width: {round(float(natural[1]))}px;" if natural else ""
    return f'{head} style="display: block; width: 100%;{widest} height: auto; margin: 0 auto">{rest}'


def _own_ids(svg, label):
    """Name the ids that something refers to by their order, with a prefix of this picture alone; drop the others.

    matplotlib makes its ids of coordinates with all their digits, of which the last differ by machine.
    """
    names = {name: str(i) for i, name in enumerate(dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)))}
    svg = re.sub(r'\sid="([^"]*)"', lambda match: f' id="@{names[match[1]]}"' if match[1] in names else "", svg)
    svg = re.sub(r'(href="#|url\(#)([^")]+)', lambda match: f"{match[1]}@{names[match[2]]}", svg)
    prefix = "cv" + hashlib.sha256((label + svg).encode()).hexdigest()[:8] + "-"
    return re.sub(r'(\sid="|href="#|url\(#)@', rf"\g<1>{prefix}", svg)


# --- run and check ---------------------------------------------------------------------


class Refused(Exception):
    """A notebook that is not as `run` writes it; the message names the notebook, cell and rule."""


def chapters_folder():
    """Return the folder of the chapters: beside the package, or below the current folder."""
    beside = PACKAGE.parent / "chapters"
    return beside if beside.is_dir() else Path.cwd() / "chapters"


def find(names=()):
    """Return the paths of the named chapters, or of all; a name may also be a path to a notebook."""
    folder = chapters_folder()
    if not names:
        return sorted(folder.glob("*.ipynb"))
    paths = [Path(name) if name.endswith(".ipynb") else folder / f"{name}.ipynb" for name in names]
    for path in paths:
        if not path.is_file():
            known = ", ".join(sorted(other.stem for other in folder.glob("*.ipynb"))) or "none"
            raise Refused(f"{path.name}: no such chapter; the chapters are: {known}")
    return paths


def normalise(notebook):
    """Return the notebook without what differs from run to run: it is changed in place."""
    notebook.metadata.clear()
    notebook.metadata.update(_nodes(METADATA))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = {}
    for cell in notebook.cells:
        cell.source = "\n".join(line.rstrip() for line in cell.source.split("\n")).strip("\n")
        # The id is the text's own, so that it moves with its cell and doesn't change by itself.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        tags = sorted(set(cell.metadata.get("tags", [])))
        cell.metadata.clear()
        if tags:
            cell.metadata["tags"] = tags
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = _normal_outputs(cell.outputs, count)
    return notebook


def _nodes(value):
    """Return nested dicts as nbformat's nodes."""
    import nbformat

    return nbformat.from_dict(value)


def _normal_outputs(outputs, count):
    """Return the outputs without widget views and metadata, pieces of one stream put together."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if "data" in output:
            output.data.pop(WIDGET_VIEW, None)
            output.metadata = _nodes({})
            if not output.data:
                continue
        if output.output_type == "execute_result":
            output.execution_count = count
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def written(notebook):
    """Return the notebook as the text of its file."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def run(path):
    """Execute a notebook from a clean kernel in its own folder, normalise it and write it.

    Nothing is written where a cell fails or writes to stderr.
    """
    import os
    import tempfile

    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.from_dict(_read(path))
    with tempfile.TemporaryDirectory() as profile:
        # The reader's own IPython profile could print, import or configure something.
        # One number of threads, because the last digit of a sum of floats depends on it.
        environment = {"OMP_NUM_THREADS": "2", **os.environ, "IPYTHONDIR": profile}
        client = NotebookClient(
            notebook, timeout=1200, kernel_name="python3", store_widget_state=False,
            resources={"metadata": {"path": str(path.parent)}}, extra_arguments=["--log-level=ERROR"],
        )
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            number = _failed_cell(notebook)
            raise Refused(f"{path.name}, cell {number}: the cell failed\n{error}") from None
    for number, cell in _code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                raise Refused(f"{path.name}, cell {number}: the cell writes to stderr: {output.text.strip()}")
    text = written(normalise(notebook))
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _failed_cell(notebook):
    """Return the number of the first cell with an error among its outputs."""
    for number, cell in _code_cells(notebook):
        if any(output.output_type == "error" for output in cell.outputs):
            return number
    return "?"


def _code_cells(notebook):
    """Yield each code cell with its number, where the notebook's first cell of any kind is 1."""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            yield number, cell


def _read(path, validate=False):
    """Return the notebook in a file, or refuse the file."""
    import warnings

    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing cell id, which `normalise` gives
            notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
            if validate:
                nbformat.validate(notebook)
            return notebook
    except Exception as error:
        raise Refused(f"{path.name}: it can't be read as a notebook: {error}") from None


def check(path):
    """Return what is wrong with a notebook as sentences, each with notebook, cell and rule."""
    try:
        notebook = _read(path, validate=True)
    except Refused as refused:
        return [str(refused)]
    problems = []

    def refuse(number, rule):
        place = f", cell {number}" if number else ""
        problems.append(f"{path.name}{place}: {rule}")

    total = 0
    for position, (number, cell) in enumerate(_code_cells(notebook), 1):
        if cell.execution_count != position:
            refuse(number, f"cells must be executed in order: execution count {position} is needed, "
                           f"not {cell.execution_count}")
        for tag in cell.metadata.get("tags", []):
            if EXEMPTING_TAG.search(tag):
                refuse(number, f"no tag may exempt a cell from its test: {tag}")
        for comment in EXEMPTING_COMMENT.findall(cell.source):
            refuse(number, f"no comment may exempt a cell from its test: {comment}")
        for output in cell.outputs:
            total += _check_output(output, lambda rule, number=number: refuse(number, rule))
    if total > MAX_OUTPUTS:
        refuse(None, f"the outputs of a chapter must stay under {MAX_OUTPUTS} bytes, not {total}")
    if "widgets" in notebook.metadata:
        refuse(None, "no widget state may be stored")
    elif notebook.metadata != METADATA:
        refuse(None, "the metadata must be as `run` writes it: kernel python3 and nothing of the machine")
    for number, rule in _check_exercises(path, notebook):
        refuse(number, rule)
    if not problems and path.read_text(encoding="utf-8") != written(normalise(notebook)):
        refuse(None, f"the file must be as `python -m cvnotes.notebooks run {path.stem}` writes it")
    return problems


def _check_output(output, refuse):
    """Check one output, calling `refuse(rule)` for what is wrong; return its size in bytes."""
    if output.output_type == "error":
        refuse(f"no cell may fail: {output.get('ename')}: {output.get('evalue')}")
        return 0
    if output.output_type == "stream":
        if output.name != "stdout":
            refuse(f"nothing may be written to {output.name}: {output.text.strip()[:80]}")
        return len(output.text.encode())
    size = 0
    for kind, value in output.data.items():
        if kind == WIDGET_VIEW:
            refuse("no widget view may be stored")
        elif kind not in OUTPUT_TYPES:
            refuse(f"an output must be text, HTML or Markdown, not {kind}; show pictures by `show_figure`")
        elif kind == "text/html":
            size += len(value.encode())
            _check_html(value, refuse)
        elif kind == "text/markdown":
            size += len(value.encode())
            for address in ELSEWHERE.findall(value):
                refuse(f"nothing may be loaded from another host: {address}")
    return size


def _check_html(html, refuse):
    """Check what a page will hold: named pictures, nothing from another host, little data."""
    for tag in re.findall(r"<svg\b[^>]*>", html):
        if not re.search(r"""role=["']img["']""", tag) or not re.search(r"""aria-label=["'][^"']""", tag):
            refuse("each picture must have role=\"img\" and an aria-label")
    for address in ELSEWHERE.findall(html):
        refuse(f"nothing may be loaded from another host: {address}")
    for size in _explorer_data(html):
        if size > LARGEST_DATA:
            refuse(f"an explorer's data must stay under {LARGEST_DATA} bytes, not {size}")


def _explorer_data(html):
    """Return the size in bytes of the data of each explorer in some HTML."""
    found = re.findall(r'<script\b[^>]*\bdata-part="data"[^>]*>(.*?)</script>', html, re.S)
    return [len(data.encode()) for data in found]


def _check_exercises(path, notebook):
    """Yield (cell number, rule) where the chapter's stubs are not the exercises' own."""
    import importlib.util

    module = f"cvnotes.{path.stem}.exercises"
    try:
        if importlib.util.find_spec(module) is None:
            return
    except (ModuleNotFoundError, ValueError):
        return
    exercises = {
        name: value for name, value in vars(importlib.import_module(module)).items()
        if type(value).__name__ == "Exercise"
    }
    found, before = set(), None
    for number, cell in _code_cells(notebook):
        for name in re.findall(r"\bexercises\.(\w+)\.check\(", cell.source):
            found.add(name)
            if name not in exercises:
                yield number, f"`{module}` has no exercise `{name}`"
            elif before is None or before[1].strip() != exercises[name].stub.strip():
                yield before[0] if before else number, f"the cell above the check of `{name}` must be its stub"
        before = number, cell.source
    for name in exercises:
        if name not in found:
            yield None, f"the exercise `{name}` has no check cell"


def main(arguments=None):
    """Run or check chapters; return 1 where something is refused."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cvnotes.notebooks", description="Run or check the chapters.")
    parser.add_argument("command", choices=("run", "check"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="a chapter's name; none for all of them")
    options = parser.parse_args(arguments)
    refused = 0
    try:
        for path in find(options.names):
            if options.command == "run":
                run(path)
                print(f"{path.name}: run")
            problems = check(path)
            refused += len(problems)
            for problem in problems:
                print(problem, file=sys.stderr)
    except Refused as problem:
        print(problem, file=sys.stderr)
        return 1
    if refused:
        print(f"{refused} refused", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
