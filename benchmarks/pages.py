"""How soon the built pages answer: writes chapters/data/pages.json. Run `make book` first.

Each explorer is taken through random states in headless Chromium on `file://`, from the input
event to the finished layout, and through the same states in a kernel's widget. The sizes are
those of the files that a page asks for.
"""

import ast
import gzip
import importlib
import random
import re
import statistics
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from cvnotes import bench
from cvnotes.explorer import widget

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "_build" / "html"
STATES = 60

# Sets all the controls, lets the last one speak, and waits for the layout of the new picture.
STEP = """(box, indices) => {
  const fields = [...box.querySelectorAll("input, select")];
  fields.forEach((f, i) => {
    if (f.type === "checkbox") f.checked = indices[i] === 1;
    else if (f.type === "range") f.value = indices[i];
    else f.selectedIndex = indices[i];
  });
  const start = performance.now();
  fields[0].dispatchEvent(new Event("input", { bubbles: true }));
  box.querySelector("[data-part=picture]").getBoundingClientRect();
  return performance.now() - start;
}"""


def explorers(page):
    """Yield the dotted names of the explorers of a page."""
    yield from re.findall(r'class="cv-explorer" data-function="([^"]+)"', page.read_text("utf-8"))


def measure_explorer(box, path):
    """Return milliseconds a step in the page and in a kernel, the median and the slowest."""
    module, _, name = path.partition(":")
    this = getattr(importlib.import_module(module), name)
    data = box.locator("[data-part=data]")
    if data.count():
        this = this.with_data(ast.literal_eval(data.text_content()))
    choose = random.Random(path)
    states = [[choose.randrange(len(values)) for values in this.controls.values()] for _ in range(STATES)]
    in_page = [box.evaluate(STEP, state) for state in states]
    controls = widget.show(this).children
    in_kernel = []
    for state in states:
        start = time.perf_counter()
        for control, i in zip(controls, state):
            if hasattr(control, "options"):
                control.index = i
            else:
                control.value = bool(i)
        in_kernel.append(1000 * (time.perf_counter() - start) / max(1, len(state)))
    return {
        "page_ms": statistics.median(in_page), "page_slowest_ms": max(in_page),
        "kernel_ms": statistics.median(in_kernel), "kernel_slowest_ms": max(in_kernel),
    }


def measure():
    """Return the sizes and the times of all pages that hold an explorer."""
    results = {"explorers": {}, "pages": {}}
    beside = [path.read_bytes() for path in (BOOK / "_static" / "cvnotes").iterdir()]
    results["beside"] = {"bytes": sum(map(len, beside)), "gzipped": sum(len(gzip.compress(b)) for b in beside)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for page in sorted(BOOK.rglob("*.html")):
            names = list(explorers(page))
            if not names:
                continue
            view = browser.new_context(offline=True).new_page()
            view.goto(page.as_uri())
            start = time.perf_counter()
            view.locator(".cv-explorer").first.scroll_into_view_if_needed()
            view.wait_for_selector(".cv-explorer[data-ready]")
            awake = time.perf_counter() - start
            results["pages"][page.stem] = {"bytes": page.stat().st_size, "awake_s": awake}
            for name in names:
                box = view.locator(f'.cv-explorer[data-function="{name}"]').first
                results["explorers"][f"{page.stem} {name}"] = measure_explorer(box, name)
            view.context.close()
        browser.close()
    return {"hardware": bench.hardware(), "results": results}


if __name__ == "__main__":
    target = ROOT / "chapters" / "data" / "pages.json"
    target.parent.mkdir(exist_ok=True)
    bench.save(measure(), target)
    print(target)
