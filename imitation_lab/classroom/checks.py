"""Checks that assignments call: they run an answer quietly, and say what was expected and what came.

nbgrader gives no points for a graded cell that writes to stderr, even one warning. So answers run inside `quiet`: a
right answer that warns is right. `NotImplementedError`, of a part not written yet, goes through every check unchanged.
"""

import contextlib
import copy
import inspect
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch as th

__all__ = ["quiet", "call", "expect", "expect_close", "expect_same", "passed"]

_SHOWN = 8  # values in a message


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings, log messages and everything else that is written to stderr away from the cell."""
    disabled = logging.root.manager.disable
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)  # what compiled code writes
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """`function(*arguments, **keywords)` inside `quiet`."""
    with quiet():
        return function(*arguments, **keywords)


def expect(condition: bool, message: str) -> None:
    """Raises an AssertionError with `message` unless `condition`."""
    if not condition:
        raise AssertionError(message)


def expect_close(name: str, got: Any, expected: Any, *, tolerance: float = 1e-5) -> None:
    """Compares kind, shape and values.

    Args:
        name: what is compared, for the message.
        got: the answer's result.
        expected: a tensor, an array, a number, or a tuple, list or dict of these. NaN never matches.
        tolerance: relative and absolute.

    Raises:
        AssertionError: "NAME: expected …, got …".
    """
    if isinstance(expected, dict):
        right = isinstance(got, dict) and got.keys() == expected.keys()
        expect(right, f"{name}: expected a dict with the keys {list(expected)}, got {_shown(got)}")
        for key, value in expected.items():
            expect_close(f"{name}[{key!r}]", got[key], value, tolerance=tolerance)
        return
    if isinstance(expected, tuple | list):
        right = isinstance(got, tuple | list) and len(got) == len(expected)
        expect(right, f"{name}: expected {len(expected)} results, got {_shown(got)}")
        for i, (one, other) in enumerate(zip(got, expected, strict=True)):
            expect_close(f"{name}, result {i + 1}", one, other, tolerance=tolerance)
        return
    kind = _kind(expected)
    number = kind == "a number"
    right = _kind(got) == kind or (number and isinstance(got, th.Tensor | np.ndarray) and _array(got).size == 1)
    hint = " — is there a return?" if got is None else ""
    what = "the number" if number else kind
    expect(right, f"{name}: expected {what} {_shown(expected)}, got {_shown(got)}{hint}")
    ours, theirs = _array(expected), _array(got)
    if number:
        theirs = theirs.reshape(())
    expect(theirs.shape == ours.shape, f"{name}: expected the shape {ours.shape}, got {theirs.shape}")
    near = np.isclose(theirs, ours, rtol=tolerance, atol=tolerance)
    if near.all():
        return
    if ours.size <= _SHOWN:
        raise AssertionError(f"{name}: expected {_shown(expected)}, got {_shown(got)}")
    where = tuple(int(i) for i in np.argwhere(~near)[0])
    raise AssertionError(
        f"{name}: expected {_number(ours[where])}, got {_number(theirs[where])} at index {list(where)} "
        f"({int((~near).sum())} of {near.size} values differ)"
    )


def expect_same(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *arguments: Any,
    given: str = "",
    gradients: bool = False,
    tolerance: float = 1e-5,
) -> None:
    """Calls answer and reference on equal arguments, and compares results, gradients and the arguments afterwards.

    Args:
        function: the answer.
        reference: gives what is expected; its parameters' names appear in messages.
        *arguments: for both; each gets its own copies.
        given: words for the message, such as "with a batch of one".
        gradients: whether to compare the gradients with respect to tensors that require one.
        tolerance: relative and absolute.

    Raises:
        AssertionError: naming the first difference.
    """
    name = f"{getattr(function, '__name__', 'answer')}{' ' + given if given else ''}"
    theirs, ours = ([_copied(argument) for argument in arguments] for _ in range(2))
    got = call(function, *theirs)
    expected = call(reference, *ours)
    expect_close(name, got, expected, tolerance=tolerance)
    names = list(inspect.signature(reference).parameters)
    for label, before, after in zip(names, arguments, theirs, strict=False):
        if isinstance(before, th.Tensor | np.ndarray):
            same = np.array_equal(_array(before), _array(after), equal_nan=True)
            expect(same, f"{name}: expected {label} to be left as it was, got it changed in place")
    if not gradients:
        return
    wanted = [i for i, x in enumerate(ours) if isinstance(x, th.Tensor) and x.requires_grad]
    expect(
        isinstance(got, th.Tensor) and got.requires_grad,
        f"{name}: expected a result with a gradient, got one without (.item(), .detach(), .numpy() and th.no_grad() "
        "cut it off)",
    )
    right = _gradients(expected, [ours[i] for i in wanted])
    with quiet():
        found = _gradients(got, [theirs[i] for i in wanted])
    for i, one, other in zip(wanted, found, right, strict=True):
        expect_close(f"{name}: gradient with respect to {names[i]}", one, other, tolerance=tolerance)


def passed(part: str) -> None:
    """Says that the visible checks of a part are passed."""
    print(f"{part}: the visible checks pass.")


def _gradients(result: th.Tensor, inputs: list[th.Tensor]) -> list[th.Tensor]:
    """Of a fixed weighted sum, so that entries cannot cancel."""
    weights = th.linspace(1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
    found = th.autograd.grad((result * weights).sum(), inputs, allow_unused=True)
    return [th.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _copied(value: Any) -> Any:
    if isinstance(value, th.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return copy.deepcopy(value)


def _kind(value: Any) -> str:
    if isinstance(value, th.Tensor):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "an array"
    if isinstance(value, bool | int | float | np.generic):
        return "a number"
    return f"a {type(value).__name__}"


def _array(value: Any) -> np.ndarray:
    if isinstance(value, th.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _number(value: Any) -> str:
    return f"{float(value):.5g}"


def _shown(value: Any) -> str:
    kind = _kind(value)
    if kind == "a number":
        return _number(value)
    if not isinstance(value, th.Tensor | np.ndarray):
        return "None" if value is None else kind
    array = _array(value)
    if array.size > _SHOWN:
        return f"{kind} of shape {array.shape}"
    return np.array2string(array, precision=5, separator=", ").replace("\n", "")
