"""The built pages as a reader opens them: headless Chromium, `file://`, the network cut.

`make book` builds what is looked at here. Each test names its page, so that a failure says where.
"""

import ast
import importlib
import random
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from cvnotes.explorer import markup

BOOK = Path(__file__).parents[1] / "_build" / "html"
# The page index.html only sends its reader on to the first page.
PAGES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if "_static" not in path.parts and path.name != "index.html"
)
EXPLORERS = [
    (page, name)
    for page in PAGES
    for name in re.findall(r'class="cv-explorer" data-function="([^"]+)"', (BOOK / page).read_text("utf-8"))
]
EXERCISES = [
    (page, name)
    for page in PAGES
    for name in re.findall(r'class="cv-exercise" data-exercise="([^"]+)"', (BOOK / page).read_text("utf-8"))
]
STATES = 20

each_page = pytest.mark.parametrize("page", PAGES)
each_explorer = pytest.mark.parametrize("page, name", EXPLORERS)
each_exercise = pytest.mark.parametrize("page, name", EXERCISES)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


class Tab:
    """A tab with the network cut, which remembers what went wrong in it."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.trouble = []
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.trouble.append(m.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("requestfailed", lambda request: self.trouble.append(f"failed: {request.url}"))
        self.page.on(
            "request",
            lambda request: request.url.startswith("http") and self.trouble.append(f"asked for: {request.url}"),
        )

    def open(self, name, link=""):
        self.page.goto((BOOK / name).as_uri() + link)
        return self.page


@pytest.fixture
def tab(browser):
    tabs = []

    def new(**options):
        tabs.append(Tab(browser, **options))
        return tabs[-1]

    yield new
    for one in tabs:
        one.context.close()


def awake(page):
    """Wake what the page holds, by scrolling to it as a reader does, and wait until it is awake."""
    first = page.locator(".cv-explorer, .cv-exercise").first
    if first.count():
        first.scroll_into_view_if_needed()
        page.wait_for_function(
            "document.querySelectorAll('.cv-explorer:not([data-ready]), .cv-exercise:not([data-ready])').length === 0"
        )


def find(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def test_book_is_built():
    assert PAGES, f"{BOOK} holds no page: run `make book` first"
    assert EXPLORERS and EXERCISES


# --- every page ------------------------------------------------------------------------


@each_page
def test_page_loads_without_trouble_and_typesets_its_formulas(tab, page):
    reader = tab(color_scheme="light")
    view = reader.open(page)
    awake(view)
    if view.locator(".math").count():
        view.wait_for_selector("mjx-container", timeout=20_000)
        view.wait_for_function("MathJax.startup.promise.then(() => true)")
    assert view.locator(".math:not(:has(mjx-container))").count() == 0
    assert view.locator("mjx-merror").count() == 0
    assert view.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)") == []
    assert reader.trouble == []


@each_page
def test_page_links_lead_somewhere(page):
    html = (BOOK / page).read_text("utf-8")
    for target in set(re.findall(r'(?:href|src)="([^"#?:]+)[^":]*"', html)):
        assert (BOOK / page).parent.joinpath(target).exists(), target


@each_page
def test_page_is_under_a_megabyte(page):
    assert (BOOK / page).stat().st_size < 1_000_000


@each_page
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_passes_axe(tab, page, theme):
    view = tab(color_scheme=theme).open(page)
    awake(view)
    assert view.locator("html").get_attribute("data-theme") == theme
    # Without `preload`, axe does not ask for the style sheets once more, which `file://` refuses.
    found = Axe().run(view, options={"preload": False}).response["violations"]
    serious = [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    assert serious == []


@each_page
def test_page_fits_a_phone(tab, page):
    view = tab(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).open(page)
    awake(view)
    assert view.evaluate("document.scrollingElement.scrollWidth") <= 360
    wide = """() => [...document.querySelectorAll('.cv-explorer, .cv-exercise, .cv-checked, .cv-figure')]
        .filter(box => box.getBoundingClientRect().right > 360 || box.scrollWidth > box.clientWidth + 1)
        .map(box => box.outerHTML.slice(0, 120))"""
    assert view.evaluate(wide) == []


# --- explorers -------------------------------------------------------------------------

# The picture is compared as parsed DOM: browsers write attributes and entities in their own way.
COMPARE = """(box, [picture, sentence]) => {
  const [a, b] = [document.createElement("div"), document.createElement("div")];
  a.innerHTML = picture;
  b.innerHTML = box.querySelector("[data-part=picture]").innerHTML;
  const words = box.querySelector("[data-part=sentence]").textContent;
  return [a.isEqualNode(b) || b.innerHTML, words === sentence || words];
}"""


def bound(box, name):
    """Return the explorer of the page as CPython has it, with the data that the page holds."""
    this = find(name)
    data = box.locator("[data-part=data]")
    return this.with_data(ast.literal_eval(data.text_content())) if data.count() else this


def compare(box, this, state):
    picture, sentence, _ = this.render(state)
    assert box.evaluate(COMPARE, [picture, sentence]) == [True, True], state


def move(box, this, name, i):
    """Move one control to its value number `i` by the keyboard alone."""
    field, last = box.locator(f"[name={name}]"), len(this.controls[name]) - 1
    if this.kinds[name] == "toggle":
        if field.is_checked() != bool(i):
            field.press("Space")
    else:
        field.press("Home" if i <= last // 2 else "End")
        for _ in range(min(i, last - i)):
            field.press("ArrowRight" if this.kinds[name] == "slider" and i <= last // 2 else
                        "ArrowLeft" if this.kinds[name] == "slider" else
                        "ArrowDown" if i <= last // 2 else "ArrowUp")


@each_explorer
def test_explorer_shows_what_cpython_computes(tab, page, name):
    reader = tab()
    view = reader.open(page)
    awake(view)
    box = view.locator(f'.cv-explorer[data-function="{name}"]').first
    this, choose = bound(box, name), random.Random(name)
    compare(box, this, this.defaults)
    for _ in range(STATES):
        state = {}
        for control, values in this.controls.items():
            i = choose.randrange(len(values))
            move(box, this, control, i)
            state[control] = values[i]
        compare(box, this, state)
    box.locator("[data-action=reset]").click()
    compare(box, this, this.defaults)
    assert reader.trouble == []


@each_explorer
def test_explorer_opens_in_the_state_of_a_link(tab, page, name):
    choose = random.Random(name + "link")
    state = {control: choose.choice(values) for control, values in find(name).controls.items()}
    view = tab().open(page, f"#{name.partition(':')[2]}?{urlencode(state)}")
    awake(view)
    box = view.locator(f'.cv-explorer[data-function="{name}"]').first
    compare(box, bound(box, name), state)


@each_explorer
def test_explorer_writes_its_state_into_the_link(tab, page, name):
    view = tab().open(page)
    awake(view)
    box = view.locator(f'.cv-explorer[data-function="{name}"]').first
    this = bound(box, name)
    control = next(iter(this.controls))
    move(box, this, control, len(this.controls[control]) - 1)
    state = urlencode({**this.defaults, control: this.controls[control][-1]}).replace("+", "%20")
    view.wait_for_function("wanted => location.hash === wanted", arg=f"#{this.name}?{state}", timeout=3000)


@each_explorer
def test_explorer_without_javascript_shows_its_default(tab, page, name):
    view = tab(java_script_enabled=False).open(page)
    box = view.locator(f'.cv-explorer[data-function="{name}"]').first
    this = bound(box, name)
    assert box.locator("[data-part=sentence]").text_content() == this.render(this.defaults)[1]
    assert box.locator("[data-part=picture] svg").is_visible()


def test_explorer_controls_have_labels_for_values():
    for page, name in EXPLORERS:
        for values in find(name).controls.values():
            assert len({markup.label(value) for value in values}) == len(values)


# --- exercises -------------------------------------------------------------------------


def answer(view, name, source):
    """Type an answer into the page, have it checked, and return what the page says."""
    box = view.locator(f'.cv-exercise[data-exercise="{name}"]')
    box.locator("textarea").fill(source)
    box.locator("[data-action=check]").click()
    status = box.locator("[role=status]")
    view.wait_for_function("status => status.dataset.status !== 'running'", arg=status.element_handle())
    return status.get_attribute("data-status"), status.text_content()


@each_exercise
def test_exercise_is_checked_in_the_page(tab, page, name):
    view = tab().open(page)
    awake(view)
    this = find(name)
    assert answer(view, name, this.stub)[0] == "not yet"
    for hint, source in this.wrong.items():
        status, words = answer(view, name, source)
        assert status == "wrong" and words.endswith(hint.replace("`", ""))
    assert answer(view, name, this.solution) == ("right", this.check_source(this.solution).message.replace("`", ""))


@each_exercise
def test_exercise_names_the_line_of_a_mistake_in_the_page(tab, page, name):
    view = tab().open(page)
    awake(view)
    head = find(name).stub.splitlines()
    start = next(i for i, line in enumerate(head, 1) if line.startswith("def "))
    head = "\n".join(head[:start])
    assert f"in line {start + 1} with SyntaxError" in answer(view, name, head + "\n    return 2 *\n")[1]
    status, words = answer(view, name, head + "\n    while True:\n        pass\n")
    assert status == "wrong" and f"stopped in line {start + 1} " in words
    assert f"stops in line {start + 1} with ZeroDivisionError" in answer(view, name, head + "\n    return 1 / 0\n")[1]
