"""The thin layer between typed functions and Sacred: experiments are made here, and run from Python or the shell.

A main function is plain Python and knows nothing of Sacred. `experiment` reads its keys, makes the Sacred experiment,
its ingredients and named configurations, and checks all that a user gives before a run begins. Configurations are data:
values are literals, files are JSON, and nothing is evaluated or unpickled.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imitation_lab.scripts import _schema

try:
    from imitation_lab.scripts import _sacred
except ImportError as _error:  # Sacred is an extra; the main functions work without it
    _sacred = None  # type: ignore[assignment]
    _why = str(_error)


@dataclasses.dataclass(frozen=True)
class Named:
    """A named configuration.

    Attributes:
        doc: what it is for.
        values: nested.
        by_command: more values, over those, where a certain command runs.
    """

    doc: str
    values: Mapping[str, Any]
    by_command: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def of(self, command: str | None) -> Mapping[str, Any]:
        """The values for one command."""
        return merged(self.values, self.by_command.get(command or "", {}))


class Missing:
    """Stands where an experiment would be, if Sacred is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise ImportError(f"{self._name} needs Sacred ({_why}): pip install 'imitation-lab[cli]'.")


_ingredients: dict[type, Any] = {}


def ingredient(name: str, cls: type, named: Mapping[str, Named] | None = None) -> Any:
    """Makes the Sacred ingredient of a group of keys, which all experiments share that have this group."""
    _ingredients[cls] = Missing(name) if _sacred is None else _sacred.make_ingredient(name, cls(), named or {})
    return _ingredients[cls]


def experiment(name: str, commands: Sequence[Callable[..., Any]], named: Mapping[str, Named] | None = None) -> Any:
    """A `sacred.Experiment` of typed functions.

    Args:
        name: of the experiment, which is also the folder of its results.
        commands: main functions; the first is what runs if no command is named.
        named: its named configurations.
    """
    return Missing(name) if _sacred is None else _sacred.make_experiment(name, commands, named or {}, _ingredients)


def variant(function: Callable[..., Any], name: str, doc: str, **bound: Any) -> Callable[..., Any]:
    """A command of its own name and first line, made of a main function by setting some of its arguments."""

    @functools.wraps(function)
    def run(**kwargs: Any) -> Any:
        return function(**bound, **kwargs)

    signature = inspect.signature(function)
    left = [parameter for key, parameter in signature.parameters.items() if key not in bound]
    run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{doc}\n{(function.__doc__ or '').partition(chr(10))[2]}"
    return run


def parse_updates(words: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Splits what follows `with` into updates (`key=value`, nested) and named configurations.

    A value that is no Python literal is text.

    Raises:
        ValueError: if a key is empty.
    """
    updates: dict[str, Any] = {}
    names = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            names.append(word)
            continue
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            value = text.strip()
        put(updates, key.strip(), value)
    return updates, names


def put(config: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets `config["a"]["b"]` for "a.b"; a dictionary is merged into the one that is there."""
    *path, last = dotted.split(".")
    if not all([*path, last]):
        raise ValueError(f"{dotted!r} is no configuration key: write key=value, such as environment.num_vec=2.")
    for part in path:
        inner = config.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = config[part] = {}
        config = inner
    if isinstance(value, Mapping) and isinstance(config.get(last), dict):
        config[last] = merged(config[last], value)
    else:
        config[last] = value


def nested(updates: Mapping[str, Any]) -> dict[str, Any]:
    """Updates with dotted keys as nested dictionaries."""
    result: dict[str, Any] = {}
    for key, value in updates.items():
        put(result, key, nested(value) if isinstance(value, Mapping) else value)
    return result


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both dictionaries in one, nested ones too; where both have a value, the second's."""
    result = dict(first)
    for key, value in second.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def read_config_file(path: str) -> dict[str, Any]:
    """A configuration from a JSON file, such as the `config.json` of an earlier run.

    Raises:
        ValueError: if it is no JSON file, or no object.
    """
    file = pathlib.Path(path)
    if file.suffix != ".json":
        raise ValueError(f"{path} is a file, but configurations are read from .json files only (a pickle runs code).")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, expected an object of configuration keys.")
    return values


def refuse_tags(value: Any, where: str = "") -> None:
    """Refuses what jsonpickle, which Sacred uses, would turn into objects.

    Raises:
        ValueError: naming the key.
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            if str(key).startswith(("py/", "json://")):
                raise ValueError(
                    f"{where or 'the configuration'} has the key {key!r}, by which a file could run code: it is "
                    "refused. Give a class by its name."
                )
            refuse_tags(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            refuse_tags(part, where)


def one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function with one torch thread, unless OMP_NUM_THREADS says otherwise.

    Small networks are faster so, and the number of threads changes results.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        import torch as th

        before = th.get_num_threads()
        th.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
        try:
            return function(*args, **kwargs)
        finally:
            th.set_num_threads(before)

    return run


def schema_of(commands: Iterable[Callable[..., Any]]) -> _schema.Schema:
    """All keys of an experiment."""
    return _schema.union(_schema.read(command) for command in commands)
