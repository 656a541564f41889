"""Search spaces as data: what varies in a sweep, and the points that are drawn from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from imitation_lab.scripts._schema import nearest

FORMS = ("grid", "grid_search", "choice", "uniform", "loguniform", "randint", "quniform")
_NUMBERS = {"uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3}
Path = tuple[str, ...]


def varying(space: Any, path: Path = ()) -> Iterator[tuple[Path, str, list[Any]]]:
    """The values that vary: path, form, arguments.

    Raises:
        ValueError: if a form's arguments are wrong.
    """
    if not isinstance(space, Mapping):
        return
    if len(space) == 1 and next(iter(space)) in FORMS:
        ((form, arguments),) = space.items()
        yield path, form, _checked(form, arguments, ".".join(path))
        return
    for key, value in space.items():
        yield from varying(value, (*path, str(key)))


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


def check_keys(space: Mapping[str, Any]) -> None:
    """Checks the space's own keys.

    Raises:
        ValueError: naming the nearest.
    """
    for key in space:
        if key not in ("named_configs", "config_updates"):
            raise ValueError(f"search_space.{key} does not exist. {nearest(key, ('named_configs', 'config_updates'))}")


def is_grid(form: str) -> bool:
    """Whether all values of a form are run through."""
    return form in ("grid", "grid_search")


def points(space: Mapping[str, Any], num_samples: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """All points of a sweep, each the space with values in place of forms.

    A grid is run through once per sample; the other values are drawn anew for each point.
    """
    found = list(varying(space))
    grids = [(path, arguments) for path, form, arguments in found if is_grid(form)]
    result = []
    for _ in range(num_samples):
        for chosen in itertools.product(*(arguments for _, arguments in grids)):
            point = dict(space)
            for (path, _), value in zip(grids, chosen, strict=True):
                point = replaced(point, path, value)
            for path, form, arguments in found:
                if not is_grid(form):
                    point = replaced(point, path, _draw(form, arguments, rng))
            result.append(point)
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


def replaced(space: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The space with another value at a path; nothing is changed in place."""
    first, *rest = path
    return {**space, first: replaced(space[first], tuple(rest), value) if rest else value}


def ray_domains(space: Mapping[str, Any]) -> dict[str, Any]:
    """The varying values as Ray's domains, by dotted path."""
    from ray import tune

    return {".".join(path): getattr(tune, form)(*_ray_arguments(form, args)) for path, form, args in varying(space)}


def _ray_arguments(form: str, arguments: list[Any]) -> list[Any]:
    return [arguments] if form == "choice" else arguments


def filled(space: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The space with values by dotted path in place of forms."""
    point = dict(space)
    for path, _, _ in varying(space):
        point = replaced(point, path, values[".".join(path)])
    return point
