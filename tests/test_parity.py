"""The law of the book: every reference has a fast twin, and the two are the same function."""

import ast
import copy
import importlib
import importlib.util
import inspect
import pkgutil
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

import cvnotes

EXAMPLES = 200
LONGEST_BODY = 40


def chapters():
    """Return the chapters that have a reference."""
    names = [module.name for module in pkgutil.iter_modules(cvnotes.__path__) if module.ispkg]
    return [name for name in names if importlib.util.find_spec(f"cvnotes.{name}.reference")]


def functions(chapter):
    """Return the names of the public functions that a chapter's reference defines itself."""
    module = importlib.import_module(f"cvnotes.{chapter}.reference")
    return [
        name for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


PAIRS = [pytest.param(chapter, name, id=f"{chapter}.{name}") for chapter in chapters() for name in functions(chapter)]


def twins(chapter, name):
    reference = importlib.import_module(f"cvnotes.{chapter}.reference")
    fast = importlib.import_module(f"cvnotes.{chapter}.fast")
    assert hasattr(fast, name), f"cvnotes.{chapter}.fast has no `{name}`"
    return getattr(reference, name), getattr(fast, name)


def registered(chapter, table, name):
    module = importlib.import_module(f"strategies.{chapter}")
    assert name in getattr(module, table), f"tests/strategies/{chapter}.py: `{table}` has no entry for `{name}`"
    return getattr(module, table)[name]


def mapped(value, change):
    """Return `value` with `change` applied to every array in it."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_make"):  # the weights of a block
        return value._make(mapped(item, change) for item in value)
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return value


def to_tensors(value):
    return mapped(value, lambda array: torch.from_numpy(array.copy()))


def outcome(function, args, kwargs):
    """Return the result and None, or None and the sentence of the `ValueError`."""
    try:
        return function(*args, **kwargs), None
    except ValueError as error:
        return None, str(error)


def assert_same(ours, theirs, where="result"):
    """Assert that a result of the reference and one of the fast version are the same value."""
    if isinstance(ours, np.ndarray) or isinstance(theirs, torch.Tensor):
        assert isinstance(ours, np.ndarray), f"{where}: the reference gives a {type(ours).__name__}"
        assert isinstance(theirs, torch.Tensor), f"{where}: the fast version gives a {type(theirs).__name__}"
        assert str(theirs.dtype) == f"torch.{ours.dtype}", f"{where}: {ours.dtype} and {theirs.dtype}"
        theirs = theirs.detach().numpy()
        assert ours.shape == theirs.shape, f"{where}: {ours.shape} and {theirs.shape}"
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-10, equal_nan=True, err_msg=where)
    elif isinstance(ours, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs), f"{where}: {ours!r} and {theirs!r}"
        for i, (a, b) in enumerate(zip(ours, theirs)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(ours, dict):
        assert isinstance(theirs, dict) and list(ours) == list(theirs), f"{where}: {ours!r} and {theirs!r}"
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(ours, float):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-10, equal_nan=True, err_msg=where)
    else:
        assert ours == theirs, f"{where}: {ours!r} and {theirs!r}"


@pytest.mark.parametrize("chapter, name", PAIRS)
def test_fast_has_the_twin_with_the_same_signature(chapter, name):
    reference, fast = twins(chapter, name)
    assert inspect.signature(fast) == inspect.signature(reference)


@pytest.mark.parametrize("chapter, name", PAIRS)
def test_reference_tells_its_contract_and_is_short(chapter, name):
    reference, fast = twins(chapter, name)
    words = inspect.getdoc(reference) or ""
    for needed in ("Raises", "Source", ">>> "):
        assert needed in words, f"the docstring of reference.{name} has no `{needed}`"
    assert f"reference.{name}" in (inspect.getdoc(fast) or ""), f"the docstring of fast.{name} names no contract"
    body = ast.parse(textwrap.dedent(inspect.getsource(reference))).body[0].body[1:]
    assert body[-1].end_lineno - body[0].lineno + 1 < LONGEST_BODY


@pytest.mark.parametrize("chapter, name", PAIRS)
def test_fast_equals_reference(chapter, name):
    reference, fast = twins(chapter, name)
    agreed = []

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=registered(chapter, "STRATEGIES", name))
    def compare(case):
        args, kwargs = case
        tensors = to_tensors((args, kwargs))
        before = copy.deepcopy(case)
        ours, our_sentence = outcome(reference, args, kwargs)
        theirs, their_sentence = outcome(fast, *tensors)
        assert our_sentence == their_sentence
        assert_same((args, kwargs), tensors, "arguments")  # neither wrote into what it was given,
        assert_same(before, to_tensors((args, kwargs)), "arguments")  # alike or by itself
        if our_sentence is None:
            assert_same(ours, theirs)
        agreed.append(our_sentence is None)

    compare()
    assert len(agreed) >= EXAMPLES, f"the strategy of `{name}` has only {len(agreed)} different cases"
    assert sum(agreed) >= len(agreed) / 2, f"more than half of the cases of `{name}` are invalid"


@pytest.mark.parametrize("chapter, name", PAIRS)
def test_fast_passes_gradcheck(chapter, name):
    _, fast = twins(chapter, name)
    cases = registered(chapter, "GRADCHECK", name)
    if isinstance(cases, str):
        assert len(cases.split()) >= 3, f"`GRADCHECK` must say why `{name}` has no gradient"
        return
    assert cases, f"`GRADCHECK` has no case for `{name}`"
    for args, kwargs in cases:
        inputs = []

        def collect(array):
            inputs.append(torch.from_numpy(array.copy()))
            if inputs[-1].is_floating_point():
                inputs[-1].requires_grad_()
            return inputs[-1]

        mapped((args, kwargs), collect)
        assert any(tensor.requires_grad for tensor in inputs), f"a case of `{name}` has no floating-point array"

        def call(*tensors):
            left = iter(tensors)
            new_args, new_kwargs = mapped((args, kwargs), lambda array: next(left))
            return fast(*new_args, **new_kwargs)

        assert torch.autograd.gradcheck(call, inputs)


def test_strategies_are_of_functions_that_exist():
    for chapter in chapters():
        module = importlib.import_module(f"strategies.{chapter}")
        assert set(module.STRATEGIES) | set(module.GRADCHECK) <= set(functions(chapter))


def test_parity_itself_sees_a_difference():
    one = np.ones((2, 3))
    assert_same([one, (1, 2.0)], [torch.ones(2, 3, dtype=torch.float64), (1, 2.0)])
    for other in (
        torch.ones(3, 2, dtype=torch.float64), torch.ones(2, 3), torch.ones(2, 3, dtype=torch.float64) + 1e-8, one,
    ):
        with pytest.raises(AssertionError):
            assert_same(one, other)


@pytest.mark.parametrize("chapter, name", PAIRS)
def test_each_version_refuses_the_arrays_of_the_other(chapter, name):
    cases = registered(chapter, "GRADCHECK", name)
    if isinstance(cases, str):  # why there is no gradient: no argument is an array
        return
    reference, fast = twins(chapter, name)
    args, kwargs = cases[0]
    with pytest.raises(ValueError, match=r"^`\w+` \(an array of numpy\) must be an array of torch$"):
        fast(*args, **kwargs)
    with pytest.raises(ValueError, match=r"^`\w+` \(an array of torch\) must be an array of numpy$"):
        reference(*to_tensors(args), **to_tensors(kwargs))
