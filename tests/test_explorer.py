import ast
import math
import re

import ipywidgets
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cvnotes.explorer import Picture, explorer, image_uri, number
from cvnotes.explorer import book, markup, widget


@explorer(size=range(3, 6), rate=(0.5, 1.0), kind=("plain", "a<b"), flip=(False, True), play="size")
def sample(size=4, rate=0.5, kind="plain", flip=False):
    """A small explorer."""
    if size == 5:
        raise ValueError("`size` (=5) must be at most 4")
    return f"<svg><text>{size}</text></svg>", f"{size} & {number(rate, 1)} {kind} {flip}"


@explorer(row=range(2))
def table(data, row=0):
    return "<svg></svg>", f"row {row} is {data['rows'][row]}"


# --- the declaration -------------------------------------------------------------------


def test_explorer_stays_callable_and_tells_its_controls():
    assert sample() == ("<svg><text>4</text></svg>", "4 & 0.5 plain False")
    assert sample(3, flip=True) == ("<svg><text>3</text></svg>", "3 & 0.5 plain True")
    assert sample.controls == {"size": (3, 4, 5), "rate": (0.5, 1.0), "kind": ("plain", "a<b"), "flip": (False, True)}
    assert sample.kinds == {"size": "slider", "rate": "slider", "kind": "select", "flip": "toggle"}
    assert sample.__doc__ == "A small explorer." and sample.name == "sample"
    with pytest.raises(ValueError, match="at most 4"):
        sample(size=5)


@pytest.mark.parametrize(
    "controls, message",
    [
        ({"a": ()}, "control `a` of explorer `f` has no values"),
        ({"a": range(2, 2)}, "control `a` of explorer `f` has no values"),
        ({"a": range(3, 5)}, "the default 2 of `a` is none of its values in explorer `f`"),
        ({"a": (1.0, 2.0)}, "the default 2 of `a` is none of its values in explorer `f`"),
        ({"a": (2, "x")}, "control `a` of explorer `f` has values of the wrong type"),
        ({"a": (1, 2, 2)}, "control `a` of explorer `f` has a value twice"),
        ({"a": {1, 2}}, "a range or a tuple is needed"),
        ({"a": (2, float("nan"))}, "has values of the wrong type"),
        ({"a": ("x|y",)}, "has a value with a `|`"),
        ({"a": (2, True)}, "control `a` of explorer `f` has values of the wrong type"),
        ({"a": (True, False)}, "(False, True) is a toggle"),
        ({"a": (np.int64(2),)}, "control `a` of explorer `f` has values of the wrong type"),
        ({"a": range(3), "b": range(3)}, "control `b` is no parameter of explorer `f`"),
        ({}, "parameter `a` of explorer `f` has no control"),
        ({"a": range(3), "play": "b"}, "`play` of explorer `f` names 'b'; a slider is needed"),
    ],
)
def test_explorer_refuses_a_bad_declaration_and_names_it(controls, message):
    def f(a=2):
        return "", ""

    with pytest.raises(ValueError, match=re.escape(message)):
        explorer(**controls)(f)


def test_explorer_refuses_a_parameter_without_default():
    with pytest.raises(ValueError, match="`f` needs plain parameters"):

        @explorer(a=range(3))
        def f(a):
            return "", ""


def test_with_data_binds_and_leaves_the_first_alone():
    bound = table.with_data({"rows": [1.5, "two"]})
    assert bound(row=1) == ("<svg></svg>", "row 1 is two")
    assert table.data is None and table({"rows": [0]}) == ("<svg></svg>", "row 0 is 0")


@pytest.mark.parametrize(
    "data, message",
    [
        ({"rows": ["x" * 150_000]}, "are allowed"),
        ({"rows": [np.float64(1)]}, "`data.rows[0]` of explorer `table` is of type float64"),
        ({"rows": [math.inf]}, "a finite number is needed"),
        ({1: 2}, "has the key 1; strings are needed"),
        ({"rows": (1, 2)}, "`data.rows` of explorer `table` is of type tuple"),
    ],
)
def test_with_data_refuses_what_the_page_cannot_take(data, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        table.with_data(data)


def test_explorer_without_its_data_says_so():
    with pytest.raises(ValueError, match="explorer `table` needs `data`"):
        table(row=0)


def test_with_data_keeps_a_copy():
    data = {"rows": [1, 2]}
    bound = table.with_data(data)
    data["rows"][0] = object()
    assert bound(row=0)[1] == "row 0 is 1"


def test_with_data_refuses_an_explorer_without_data():
    with pytest.raises(ValueError, match="explorer `sample` takes no `data`"):
        sample.with_data({})


# --- the HTML --------------------------------------------------------------------------


def test_markup_holds_controls_picture_and_sentence():
    html = markup.explorer(sample)
    assert f'data-function="{__name__}:sample"' in html
    assert html.count('type="range"') == 2 and html.count("<select") == 1 and html.count("checkbox") == 1
    assert '<div class="cv-picture" data-part="picture"><svg><text>4</text></svg></div>' in html
    assert 'data-part="sentence" aria-live="polite">4 &amp; 0.5 plain False</p>' in html
    assert '<option value="a&lt;b">a&lt;b</option>' in html


def test_markup_lets_no_data_end_its_script():
    html = markup.explorer(table.with_data({"rows": ["</script><b>", 1]}))
    source = re.search(r'data-part="data">(.*?)</script>', html)[1]
    assert eval(source) == {"rows": ["</script><b>", 1]}


def test_mimebundle_has_a_widget_view_and_fixed_text():
    bundle = sample._repr_mimebundle_()
    assert bundle["text/plain"] == f"Explorer {__name__}:sample"
    assert bundle["text/html"] == markup.explorer(sample)
    assert "application/vnd.jupyter.widget-view+json" in bundle


# --- the widget ------------------------------------------------------------------------


def test_widget_moves_with_its_controls_and_shows_an_error_as_a_sentence():
    box = widget.show(sample)
    size, rate, kind, flip, player, picture, sentence, _ = box.children
    assert [type(c) for c in (size, kind, flip, player)] == [
        ipywidgets.SelectionSlider, ipywidgets.Dropdown, ipywidgets.Checkbox, ipywidgets.Play
    ]
    size.value, flip.value = 3, True
    assert "<text>3</text>" in picture.value and "3 &amp; 0.5 plain True" in sentence.value
    player.value = 2
    assert size.value == 5 and "<svg" not in picture.value and "must be at most 4" in sentence.value


# --- numbers and pictures --------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), st.integers(0, 6))
@example(0.05, 1)
@example(2.5, 0)
@example(-0.004, 2)
@example(999999.5, 0)
def test_number_writes_what_python_writes(x, digits):
    expected = f"{x:,.{digits}f}"
    if not expected.strip("-0.,"):
        expected = expected.lstrip("-")
    assert number(x, digits) == expected.replace("-", "−")


@given(st.integers(-(10**12), 10**12))
def test_number_of_an_integer_keeps_every_digit(n):
    assert number(n) == f"{n:,}".replace("-", "−")
    assert number(n, 2) == f"{n:,}.00".replace("-", "−")


def test_number_of_what_is_not_finite():
    assert [number(float(x), 2) for x in ("nan", "inf", "-inf")] == ["NaN", "∞", "−∞"]


@given(st.floats(-1e6, 1e6))
def test_coordinate_is_within_half_a_hundredth(x):
    from cvnotes.explorer.drawing import coordinate

    assert abs(float(coordinate(x)) - x) <= 0.005000001 and not coordinate(x).endswith((".", "-0"))


def test_picture_escapes_text():
    svg = Picture(10, 10, 'a "b"').text(1, 2, "x < y & z", title="<t>").svg()
    assert "x &lt; y &amp; z<title>&lt;t&gt;</title></text>" in svg and 'aria-label="a &quot;b&quot;"' in svg


def test_image_uri_is_a_bitmap_that_others_read():
    import base64
    import io

    from PIL import Image

    rows = np.arange(3 * 5).reshape(3, 5) * 17
    image = Image.open(io.BytesIO(base64.b64decode(image_uri(rows.tolist()).partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(image.convert("L")), rows)


def test_image_uri_refuses_what_is_no_image():
    for rows in ([], [[]], [[1, 2], [3]], [[256]], [[-1]]):
        with pytest.raises(ValueError):
            image_uri(rows)


# --- the script for the page -----------------------------------------------------------


def test_virtual_files_hold_all_that_plain_modules_import():
    files = book.virtual_files()
    assert {"cvnotes", "cvnotes.shapes", "cvnotes.checking", "cvnotes.explorer.page", "math"} <= set(files)
    for name in book.plain_modules():
        tree = ast.parse(files[name][1])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module in files, (name, node.module)


def test_minified_source_does_the_same():
    source = 'def f(x):\n    """Twice."""\n    # a comment\n    return 2 * x\n\n\nclass A:\n    """Only words."""\n'
    namespace = {}
    exec(book.minified(source), namespace)
    assert namespace["f"](4) == 8 and '"""' not in book.minified(source)
