import importlib
import pkgutil

import numpy as np
import pytest

import cvnotes
from cvnotes.checking import Exercise

TWICE = dict(
    name="twice",
    stub="def twice(x):\n    ...\n",
    solution="def twice(x):\n    return 2 * x\n",
    cases=[(0,), (1,), (3,)],
    expected=lambda x: 2 * x,
    wrong={"That is the square.": "def twice(x):\n    return x * x\n"},
    hint="Add it to itself.",
    notice="It is even.",
)
twice = Exercise(**TWICE)


def test_check_says_not_yet_of_a_stub():
    for source in (twice.stub, "def twice(x):\n    pass\n", "def twice(x):\n    raise NotImplementedError\n"):
        assert twice.check_source(source).status == "not yet"


def test_check_accepts_a_right_answer():
    verdict = twice.check(lambda x: x + x)
    assert verdict.status == "right"
    assert verdict.message == "Right: 3 cases agree. It is even."


def test_check_names_the_smallest_failing_case_and_knows_the_mistake():
    verdict = twice.check(lambda x: x * x)
    assert verdict.message == "Not quite: `twice(1)` should give `2`; yours gives `1`. That is the square."


def test_check_gives_the_general_hint_for_an_unknown_mistake():
    assert twice.check(lambda x: x + 7).message.endswith("yours gives `7`. Add it to itself.")


def test_check_refuses_a_float_for_a_whole_number_and_a_bool():
    assert twice.check(lambda x: 2.0 * x).status == "wrong"
    assert twice.check(lambda x: False if x == 0 else 2 * x).status == "wrong"


@pytest.mark.parametrize("answer", [lambda x: 2.0 * x, lambda x: x * x * 1.0 if x < 1 else np.float32(2 * x)])
def test_check_says_of_a_right_float_that_it_must_be_a_whole_number(answer):
    # at 0 the square is right too: no listed mistake may be named for the type alone
    assert twice.check(answer).message == (
        "Not quite: `twice(0)` should give `0`; yours gives `0.0`. "
        "The value is right, but it must be a whole number: divide with //, not with /."
    )


def test_check_says_of_a_wrong_float_what_is_wrong_with_its_value():
    assert twice.check(lambda x: x * x if x == 0 else 1.0).message.endswith("That is the square.")
    assert twice.check(lambda x: 1.0 * x * x if x else 0).message.endswith("That is the square.")
    assert twice.check(lambda x: 0.1).message.endswith("Add it to itself.")


def test_check_says_of_right_floats_in_a_list_that_they_must_be_whole_numbers():
    pair = Exercise(**{**TWICE, "name": "pair", "expected": lambda x: [x, [x, True]], "wrong": {}})
    assert "whole number" in pair.check(lambda x: (x, [x / 1, True])).message
    for answer in (lambda x: [x / 1], lambda x: [x / 1, [x, 1.0]], lambda x: [x + 0.5, [x, True]], lambda x: 1.0):
        assert "whole number" not in pair.check(answer).message


def test_check_wants_a_float_where_the_oracle_gives_one():
    half = Exercise(**{**TWICE, "name": "half", "expected": lambda x: x / 2, "wrong": {}})
    assert half.check(lambda x: 0.5 * x).status == "right"


def test_check_source_names_the_line_of_an_error_of_syntax():
    verdict = twice.check_source("def twice(x):\n    y = 2 *\n    return y\n")
    assert verdict.status == "wrong" and "in line 2 with `SyntaxError" in verdict.message


def test_check_source_names_the_line_of_an_exception():
    assert "stops in line 3 with `ZeroDivisionError" in twice.check_source(
        "def twice(x):\n    y = 0\n    return x / y\n"
    ).message


@pytest.mark.parametrize(
    "source, line",
    [
        ("def twice(x):\n    while True:\n        pass\n", (2, 3)),
        ("def twice(x):\n    while True: x = x\n", (2,)),
        ("while True:\n    pass\n", (1, 2)),
        ("def twice(x):\n    while True: pass\n", (2,)),
        ("def twice(x):\n    try:\n        while True:\n            x = x\n    except BaseException:\n        return 2 * x\n", (3, 4)),
        ("def twice(x):\n    while True:\n        try:\n            x = x\n        except Exception:\n            pass\n",
         (2, 3, 4, 5, 6)),
    ],
)
def test_check_source_stops_an_endless_loop_and_names_its_line(source, line):
    message = twice.check_source(source).message
    assert any(f"it was stopped in line {n} after" in message for n in line), message


@pytest.mark.parametrize("source", ["import sys\nsys.exit()", "def twice(x):\n    raise SystemExit(1)"])
def test_check_source_outlives_an_exit(source):
    assert "SystemExit" in twice.check_source(source).message


class Odd:
    shape = 5

    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize("value", [np.array([0, 5]), Odd(), object(), 0j, "0", [0], iter([]), float("nan")])
def test_check_refuses_odd_values_in_words(value):
    message = twice.check(lambda x: value).message
    assert message.startswith("Not quite: `twice(0)` should give `0`; yours gives") and " at 0x" not in message


def test_check_source_wants_the_function():
    assert "must define the function `twice`" in twice.check_source("thrice = 3\n").message


def test_check_of_an_answer_that_writes_into_its_arguments():
    def answer(row):
        row.append(1)
        return len(row)

    length = Exercise(**{**TWICE, "name": "length", "cases": [([1, 2],), ([3],)], "expected": lambda r: len(r) + 1})
    assert length.check(answer).status == "right"


def test_check_compares_arrays_by_shape_and_value():
    rows = Exercise(
        **{**TWICE, "cases": lambda: [(np.ones((2, 3)),)], "expected": lambda x: 2 * x, "plain": False, "wrong": {}}
    )
    assert rows.check(lambda x: x + x).status == "right"
    assert rows.check(lambda x: (2 * x).T).status == "wrong"
    assert rows.check(lambda x: 2 * x + 1e-3).status == "wrong"
    assert rows.check(lambda x: np.full((2, 3), np.nan)).status == "wrong"


def test_check_takes_infinity_for_nothing_else():
    inverse = Exercise(**{
        **TWICE, "expected": lambda x: 1 / x if x else float("inf"),
        "wrong": {"That is zero.": "def twice(x):\n    return 0.0\n",
                  "That is below zero.": "def twice(x):\n    return -float('inf')\n"},
    })
    assert inverse.check(lambda x: 1 / x if x else float("inf")).status == "right"
    assert inverse.check(lambda x: 0.0).message.endswith("That is zero.")
    assert inverse.check(lambda x: -float("inf")).message.endswith("That is below zero.")
    # an infinite answer is none of the listed mistakes that give a number
    assert twice.check(lambda x: float("inf")).message.endswith("yours gives `inf`. Add it to itself.")
    halves = Exercise(**{**TWICE, "expected": lambda x: x / 2, "wrong": {"None.": "def twice(x):\n    return 3.0\n"}})
    assert halves.check(lambda x: float("inf")).message.endswith("Add it to itself.")


def test_check_wants_the_same_error_as_the_oracle():
    def oracle(x):
        if x == 0:
            raise ValueError("no zero")
        return 2 * x

    guarded = Exercise(**{**TWICE, "expected": oracle})
    assert "should raise `ValueError`" in guarded.check(lambda x: 2 * x).message
    assert guarded.check(oracle).status == "right"


def test_verdict_html_escapes_what_a_reader_wrote():
    html = twice.check(lambda x: "<script>")._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html


def exercises():
    for module in pkgutil.walk_packages(cvnotes.__path__, "cvnotes."):
        if module.name.endswith(".exercises"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Exercise):
                    yield pytest.param(name, value, id=value.path)


@pytest.mark.parametrize("name, exercise", list(exercises()))
def test_exercise_accepts_its_solution_and_explains_each_mistake(name, exercise):
    def in_a_kernel(source):
        namespace = {}
        exec(source, namespace)
        return exercise.check(namespace[name])

    assert name == exercise.name
    assert len(exercise.wrong) >= (1 if exercise.plain else 3)
    for check in (in_a_kernel, exercise.check_source):  # and as it is typed into a page
        assert check(exercise.stub).status == "not yet"
        assert check(exercise.solution).status == "right"
        for hint, source in exercise.wrong.items():
            verdict = check(source)
            assert verdict.status == "wrong" and verdict.message.endswith(hint)


def test_each_chapter_has_an_exercise_for_the_page():
    plain = {}
    for parameters in exercises():
        chapter = parameters.values[1].path.partition(".exercises")[0]
        plain[chapter] = plain.get(chapter, 0) + parameters.values[1].plain
    assert len(plain) >= 8 and min(plain.values()) >= 1
