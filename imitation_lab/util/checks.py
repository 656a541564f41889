"""Checks of arguments, and packages that may be missing: each with one text for the whole library.

::

    checks.generator(rng)
    checks.at_least(1, n_envs=n_envs)
    checks.between(0, 1, random_prob=random_prob, switch_prob=switch_prob)
    raise ValueError(f"Unknown key {key!r}.{checks.did_you_mean(key, known)}")
    minari = checks.optional("minari", "minari", "Minari data sets need")
"""

import difflib
import importlib
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["generator", "at_least", "integers", "positive", "between", "inside", "did_you_mean", "optional", "lacking"]


def generator(rng: object) -> None:
    """Asks for a random generator.

    Raises:
        TypeError: if `rng` is not a `numpy.random.Generator`.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}: pass np.random.default_rng(0).")


def at_least(least: float, *, or_none: bool = False, **values: Any) -> None:
    """Asks for numbers of at least `least`, given by name.

    Args:
        least: the smallest that is allowed; NaN never is.
        or_none: whether None may stand for a number.
        **values: numbers by the name of their argument.

    Raises:
        ValueError: naming the first that is smaller.
    """
    for name, value in values.items():
        if not (or_none and value is None) and not value >= least:
            raise ValueError(f"{name} must be at least {least}{', or None' * or_none}, got {value!r}.")


def integers(least: int, **values: Any) -> None:
    """Asks for integers of at least `least`, given by name; NumPy's count, bools do not.

    Raises:
        ValueError: naming the first that is none.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or not int(value) >= least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")


def positive(**values: Any) -> None:
    """Asks for numbers above 0, given by name.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")


def between(low: float, high: float, **values: Any) -> None:
    """Asks for numbers of at least `low` and at most `high`, given by name.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in [{low}, {high}], got {value!r}.")


def inside(low: float, high: float, **values: Any) -> None:
    """Asks for numbers above `low` and below `high`, given by name.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in values.items():
        if not low < value < high:
            raise ValueError(f"{name} must lie inside ({low}, {high}), got {value!r}.")


def did_you_mean(name: object, known: Iterable[str], *, n: int = 3, cutoff: float = 0.6) -> str:
    """A hint at the at most `n` known names nearest to a wrong one, " Did you mean 'a' or 'b'?"; else ""."""
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=cutoff)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def optional(module: str, extra: str, who: str) -> Any:
    """Imports a module of an optional package; name the submodule that is used, since packages load theirs lazily.

    Args:
        module: such as "huggingface_hub.errors".
        extra: the extra of imitation_lab that installs the package.
        who: the text's beginning: "Minari data sets need".

    Raises:
        ModuleNotFoundError: (an ImportError) if it cannot be imported; the text names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise lacking(module.partition(".")[0], extra, who) from error


def lacking(package: str, extra: str, who: str) -> ModuleNotFoundError:
    """The error of `optional`, to raise where something else has found that the package is missing."""
    return ModuleNotFoundError(f'{who} the package {package}: pip install "imitation-lab[{extra}]".', name=package)
