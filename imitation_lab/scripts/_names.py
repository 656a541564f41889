"""Classes by name and arguments by key, with the nearest right one where a user's is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from imitation_lab.algorithms.presets.names import KINDS, find_class, with_classes, with_names
from imitation_lab.scripts._schema import nearest
from imitation_lab.util.errors import ArgumentError

__all__ = ["SB3_POLICIES", "find", "with_classes", "with_names", "call", "check"]

T = TypeVar("T")
SB3_POLICIES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")


def find(kind: str, value: Any) -> Any:
    """The class of one kind that a name stands for; classes pass.

    Raises:
        ValueError: if there is none; the text names the nearest.
    """
    if not isinstance(value, str):
        return value
    names = [name.rpartition(":")[2] for name in KINDS[kind][1]]
    found = find_class(value)
    if found is None:
        raise ValueError(f"There is no {kind} {value!r}. {nearest(value, names)}")
    return found


def call(where: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls a class or function whose keyword arguments come from the configuration.

    Raises:
        ValueError: if it has no such argument; the text names the key and the nearest argument.
    """
    return function(*args, **check(where, kwargs, function))


def check(where: str, kwargs: dict[str, Any], *functions: Callable[..., Any]) -> dict[str, Any]:
    """Checks that at least one of the functions has each argument, and gives them; those that take any are not asked.

    Raises:
        ValueError: naming the key and the nearest argument.
    """
    signatures = [inspect.signature(function).parameters for function in functions]
    if any(p.kind is p.VAR_KEYWORD for p in signatures[-1].values()):
        return kwargs
    known = list(dict.fromkeys(name for parameters in signatures for name in parameters))
    for key in kwargs:
        if key not in known:
            name = getattr(functions[0], "__qualname__", str(functions[0]))
            raise ArgumentError(f"{where}.{key}: {name} has no argument {key!r}. {nearest(key, known)}")
    return kwargs
