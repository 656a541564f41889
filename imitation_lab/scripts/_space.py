"""Search spaces as data: what varies in a sweep, and the points that are drawn from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

FORMS = ("grid", "grid_search", "choice", "uniform", "loguniform", "randint", "quniform")
_NUMBERS = {"uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3}


def varying(space: Any, path: str = "") -> Iterator[tuple[str, str, list[Any]]]:
    """The values that vary: dotted path, form, arguments.

    Raises:
        ValueError: if a form's arguments are wrong.
    """
    if not isinstance(space, Mapping):
        return
    if len(space) == 1 and next(iter(space)) in FORMS:
        ((form, arguments),) = space.items()
        yield path, form.removesuffix("_search"), _checked(form, arguments, path)
        return
    for key, value in space.items():
        yield from varying(value, f"{path}.{key}" if path else str(key))


def _checked(form: str, arguments: Any, where: str) -> list[Any]:
    if not isinstance(arguments, list | tuple) or not arguments:
        raise ValueError(f"{where}: {form} takes a list, got {arguments!r}.")
    n = _NUMBERS.get(form)
    if n is not None:
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in arguments)
        if len(arguments) != n or not numbers or not arguments[0] < arguments[1]:
            raise ValueError(f"{where}: {form} takes {n} numbers, the lower bound first, got {list(arguments)!r}.")
        if form == "loguniform" and arguments[0] <= 0:
            raise ValueError(f"{where}: loguniform needs positive bounds, got {list(arguments)!r}.")
    return list(arguments)


def points(space: Mapping[str, Any], num_samples: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """All points of a sweep, each the space with values in place of forms.

    A grid is run through once per sample; the other values are drawn anew for each point.
    """
    found = list(varying(space))
    grids = [[(path, value) for value in arguments] for path, form, arguments in found if form == "grid"]
    result = []
    for _ in range(num_samples):
        for chosen in itertools.product(*grids):
            drawn = {path: _draw(form, arguments, rng) for path, form, arguments in found if form != "grid"}
            result.append(filled(space, {**dict(chosen), **drawn}))
    return result


def _draw(form: str, arguments: list[Any], rng: np.random.Generator) -> Any:
    if form == "choice":
        return arguments[int(rng.integers(len(arguments)))]
    low, high = arguments[:2]
    if form == "randint":
        return int(rng.integers(low, high))
    if form == "loguniform":
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    value = float(rng.uniform(low, high))
    return round(value / arguments[2]) * arguments[2] if form == "quniform" else value


def ray_domains(space: Mapping[str, Any]) -> dict[str, Any]:
    """The varying values as Ray's domains, by dotted path."""
    from ray import tune

    return {
        path: getattr(tune, form)(*([arguments] if form == "choice" else arguments))
        for path, form, arguments in varying(space)
    }


def filled(space: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The space with values by dotted path in place of forms."""
    point = dict(space)
    for path, _, _ in varying(space):
        point = _replaced(point, path.split("."), values[path])
    return point


def _replaced(space: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The space with another value at a path; nothing is changed in place."""
    first, *rest = path
    return {**space, first: _replaced(space[first], rest, value) if rest else value}
