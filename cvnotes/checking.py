"""Exercises: a stub, a check that explains a wrong answer, hints, and a solution.

Plain Python: the check of an exercise without arrays runs in the built page, in the reader's own
browser, as it runs in a notebook.
"""

import sys

from cvnotes.explorer.drawing import escape

STEPS = 100_000  # lines that an answer typed into the page may run for one case
ANSWER = "<string>"  # the file name that `exec` gives to the code of such an answer
WHOLE = "The value is right, but it must be a whole number: divide with //, not with /."


class Exercise:
    """An exercise: the reader writes the function `name`, and `check` says how it went.

    - `name`: the function to write, and the variable of the exercises module that holds this;
    - `stub`, `solution`: source text of a module that defines the function;
    - `cases`: a list of tuples of arguments, smallest first, or a function that returns one;
    - `expected`: the oracle, called with the same arguments; it may raise `ValueError`, and then
      the answer must too;
    - `wrong`: a dict from a hint to the source text of the mistake that it is for;
    - `hint`: for every other mistake; `notice`: what to see once the answer is right;
    - `plain`: whether the answer needs nothing but plain Python.
    """

    def __init__(self, *, name, stub, solution, cases, expected, wrong, hint, notice, plain=True):
        self.name, self.stub, self.solution = name, stub, solution
        self.cases, self.expected, self.wrong = cases, expected, wrong
        self.hint, self.notice, self.plain = hint, notice, plain
        self.path = sys._getframe(1).f_globals["__name__"] + ":" + name

    def check(self, answer):
        """Return the `Verdict` on a function that a reader wrote."""
        return self._check(answer, _outcome)

    def check_source(self, source):
        """Return the `Verdict` on source text, as typed into the page.

        An error of syntax, and a loop that does not end, are named with their line.
        """
        namespace = {"__name__": "answer"}
        outcome = _limited(lambda: exec(source, namespace))
        if outcome[0] != "value":
            return Verdict(self, "wrong", "Your code " + _told(outcome) + ".")
        if not callable(namespace.get(self.name)):
            return Verdict(self, "wrong", "Your code must define the function `" + self.name + "`.")
        return self._check(namespace[self.name], _outcome_limited)

    def _check(self, answer, run):
        cases = self.cases() if callable(self.cases) else self.cases
        passed = []
        for case in cases:
            wanted = _outcome(self.expected, _copy(case))
            given = run(answer, _copy(case))
            if not passed and _is_missing(given):
                return Verdict(self, "not yet", "Not yet: `" + self.name + "` is still to be written.")
            if not _same(given, wanted):
                call = self.name + "(" + ", ".join(_shown(argument) for argument in case) + ")"
                words = "Not quite: `" + call + "` should " + _should(wanted) + "; yours " + _told(given) + ". "
                return Verdict(self, "wrong", words + self._hint_for(passed + [(case, given)], wanted))
            passed.append((case, given))
        count = str(len(cases)) + (" cases agree. " if len(cases) > 1 else " case agrees. ")
        return Verdict(self, "right", "Right: " + count + self.notice)

    def _hint_for(self, outcomes, wanted):
        """Return the hint of the listed mistake that gives the same so far, or the general one.

        Where the last outcome has the right value as a float, only a mistake that gives a float fits.
        """
        whole = _is_float_of(outcomes[-1][1], wanted)
        for hint in self.wrong:
            namespace = {}
            exec(self.wrong[hint], namespace)
            for case, given in outcomes:
                mistaken = _outcome(namespace[self.name], _copy(case))
                if not _same(mistaken, given) or (whole and not _same(given, mistaken)):
                    break
            else:
                return hint
        return WHOLE if whole else self.hint


class Verdict:
    """What a check says: `status` is "not yet", "wrong" or "right"; `message` says it in words."""

    def __init__(self, exercise, status, message):
        self.exercise, self.status, self.message = exercise, status, message

    def __repr__(self):
        return self.message

    def _repr_html_(self):
        this = self.exercise
        status = f'<p role="status" data-status="{self.status}">{_with_code(self.message)}</p>'
        editor = ""
        if this.plain:
            rows = this.stub.count("\n") + 5
            editor = (
                f'<div class="cv-editor" hidden><textarea rows="{rows}" spellcheck="false" '
                f'autocapitalize="off" aria-label="Your answer: the function {this.name}">'
                f"{escape(this.stub)}</textarea><p>"
                f'<button type="button" data-action="check">Check</button> '
                f'<button type="button" data-action="reset">Start again</button></p></div>'
            )
        return (
            f'<div class="{"cv-exercise" if this.plain else "cv-checked"}" data-exercise="{this.path}">'
            f"{editor}{status}<details><summary>Solution</summary>"
            f'<pre tabindex="0"><code>{escape(this.solution)}</code></pre></details></div>'
        )


def _with_code(message):
    """Return a message as HTML, what stands in backticks as code."""
    parts = escape(message).split("`")
    return "".join("<code>" + part + "</code>" if i % 2 else part for i, part in enumerate(parts))


# --- running an answer -----------------------------------------------------------------

# An outcome is ("value", the value), or ("error", name of the type, message, line or None).


class _Endless(BaseException):
    """An answer ran for too many lines. No `except Exception` of a reader's stops it."""


def _outcome(function, arguments):
    try:
        return "value", function(*arguments)
    except (Exception, SystemExit) as error:
        return _failure(error)


def _failure(error):
    try:
        message = str(error)
    except Exception:
        message = ""
    return "error", type(error).__name__, message, _line(error)


def _outcome_limited(function, arguments):
    return _limited(lambda: function(*arguments))


def _limited(action):
    """Return the outcome of an action, stopped after `STEPS` lines of the answer's own code."""
    steps, stopped = 0, None

    def trace(frame, event, argument):
        nonlocal steps, stopped
        if frame.f_code.co_filename == ANSWER:
            if sys.implementation.name == "cpython":
                # It sees no new line in `while True: pass`, but new operations.
                frame.f_trace_opcodes = True
            cost = {"line": 20, "opcode": 1}.get(event, 0)
            steps += cost
            if cost and steps > 20 * STEPS:
                stopped = stopped or frame.f_lineno
                raise _Endless(stopped)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        outcome = "value", action()
    except _Endless:
        outcome = None
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        outcome = _failure(error)
    finally:
        sys.settrace(before)
    # An answer may have caught the exception that was to stop it.
    return outcome if stopped is None else ("error", "Endless", "", stopped)


def _line(error):
    """Return the last line of the answer that an error passed through, or None."""
    if isinstance(error, SyntaxError):
        return error.lineno
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == ANSWER:
            line = step.tb_lineno
        step = step.tb_next
    return line


def _is_missing(outcome):
    """Tell whether an outcome is that of a function that is still to be written."""
    if outcome[0] == "error":
        return outcome[1] == "NotImplementedError"
    return outcome[1] is None or outcome[1] is Ellipsis


def _copy(value):
    """Return a copy, so that an answer that writes into its arguments harms nobody."""
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make([_copy(item) for item in value])
    if isinstance(value, (list, tuple)):
        return type(value)([_copy(item) for item in value])
    for method in ("clone", "copy"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value


def _same(given, wanted):
    if wanted[0] == "error" or given[0] == "error":
        return given[:2] == wanted[:2]
    try:
        return bool(_equal(given[1], wanted[1]))
    except Exception:  # a value that can't even be compared is not the one that is wanted
        return False


def _is_float_of(given, wanted):
    """Tell whether an outcome has the right values, but floats where whole numbers are wanted."""
    try:
        return given[0] == wanted[0] == "value" and bool(_equal(given[1], _floats(wanted[1], given[1])))
    except Exception:
        return False


def _floats(wanted, given):
    """Return what is wanted with a float for each integer for which a float of that very value is given."""
    if isinstance(wanted, (list, tuple)):
        return [_floats(a, b) for a, b in zip(wanted, given)] if len(wanted) == len(given) else wanted
    is_float = hasattr(given, "__float__") and not hasattr(given, "__index__")
    return float(wanted) if type(wanted) is int and is_float and given == wanted else wanted


def _equal(given, wanted):
    """Tell whether two values agree: sizes and whole numbers exactly, floats to 5 digits."""
    if hasattr(wanted, "shape"):
        if not hasattr(given, "shape") or tuple(given.shape) != tuple(wanted.shape):
            return False
        return _equal(given.tolist(), wanted.tolist())
    if isinstance(wanted, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(wanted):
            return False
        return all(_equal(a, b) for a, b in zip(given, wanted))
    if isinstance(wanted, bool) or isinstance(given, bool):
        return isinstance(wanted, bool) and isinstance(given, bool) and given == wanted
    if isinstance(wanted, float):
        if isinstance(given, str) or not hasattr(given, "__float__"):
            return False
        given = float(given)
        if wanted != wanted:
            return given != given
        # a tolerance in proportion to infinity would let everything pass
        infinite = abs(wanted) == float("inf")
        return given == wanted or (not infinite and abs(given - wanted) <= 1e-8 + 1e-5 * abs(wanted))
    if isinstance(wanted, int) and not hasattr(given, "__index__"):
        return False
    return given == wanted


# --- saying it -------------------------------------------------------------------------


def _shown(value):
    """Return a value as a reader would write it, shortened where it is long."""
    if hasattr(value, "shape") and hasattr(value, "tolist"):
        value, kind = value.tolist(), "array of shape " + str(tuple(value.shape)) + ", "
    else:
        kind = ""
    try:
        text = repr(value)
    except Exception:
        text = "a " + type(value).__name__
    if " object at 0x" in text:  # an address differs from run to run
        text = "a " + type(value).__name__
    return kind + (text if len(text) <= 120 else text[:110] + " …")


def _should(outcome):
    return "give `" + _shown(outcome[1]) + "`" if outcome[0] == "value" else "raise `" + outcome[1] + "`"


def _told(outcome):
    if outcome[0] == "value":
        return "gives `" + _shown(outcome[1]) + "`"
    _, kind, message, line = outcome
    where = "" if line is None else " in line " + str(line)
    if kind == "Endless":
        return "does not come to an end: it was stopped" + where + " after " + str(STEPS) + " steps"
    return "stops" + where + " with `" + kind + (": " + message if message else "") + "`"
