"""The thin layer between typed functions and Sacred: experiments are made here, and run from Python or the shell.

A main function is plain Python and knows nothing of Sacred. `experiment` reads its keys, makes the Sacred experiment,
its ingredients and named configurations, and checks all that a user gives before a run begins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imitation_lab.scripts import _console, _schema, config
from imitation_lab.scripts._values import Named

try:
    from imitation_lab.scripts import _sacred
except ImportError as _error:  # Sacred is an extra; the main functions work without it
    _sacred = None  # type: ignore[assignment]
    _why = str(_error)


class Missing:
    """Stands where an experiment would be, if Sacred is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise ImportError(f"{self._name} needs Sacred ({_why}): pip install 'imitation-lab[cli]'.")


_ingredients: dict[type, Any] = {}


def ingredient(name: str, cls: type) -> Any:
    """Makes the Sacred ingredient of a group of keys, which all experiments share that have this group."""
    _ingredients[cls] = Missing(name) if _sacred is None else _sacred.make_ingredient(name, cls())
    return _ingredients[cls]


def experiment(name: str, commands: Sequence[Callable[..., Any]], named: Mapping[str, Named]) -> Any:
    """A `sacred.Experiment` of typed functions.

    Args:
        name: of the experiment, which is also the folder of its results.
        commands: main functions; the first is what runs if no command is named.
        named: its named configurations.
    """
    return Missing(name) if _sacred is None else _sacred.Experiment(name, commands, named, _ingredients)


def script(name: str, *commands: Callable[..., Any]) -> tuple[Any, Callable[..., None]]:
    """The experiment of a script, with the named configurations of `config.<name>`, and its `main_console`.

    The latter runs the experiment from `sys.argv` and exits.
    """
    made = experiment(name, commands, config.of(name))

    def main_console(argv: Sequence[str] | None = None) -> None:
        sys.exit(_console.run(made, sys.argv[1:] if argv is None else argv))

    return made, main_console


def command(frame: Any, *given: Any, name: str = "", doc: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Makes a main function of one that takes a frame: its keys are those of both.

    Args:
        frame: a dataclass of keys that commands share.
        *given: what the function takes after the frame.
        name: of the command, if it is not the function's.
        doc: its explanation, if it is not the function's.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        def run(**values: Any) -> Any:
            shared = {key: values.pop(key) for key in frame.__dataclass_fields__ if key in values}
            return function(frame(**shared), *given, **values)

        return _schema.keyed(run, name or function.__name__, doc or function.__doc__, function, frame)

    return decorate
