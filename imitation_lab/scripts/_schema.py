"""What an experiment can be told: keys, types, defaults and explanations, read off typed functions and dataclasses.

A main function's keyword parameters are the keys of its experiment. A parameter whose type is a dataclass is a group of
keys (an ingredient). The explanations are those of the docstrings, under `Args:` and `Attributes:`.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from imitation_lab.util import checks
from imitation_lab.util.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """The least that a number may be."""

    low: int


Count = Annotated[int, AtLeast(1)]
Natural = Annotated[int, AtLeast(0)]


@dataclasses.dataclass(frozen=True)
class Key:
    """One value: its type, its default and what it means."""

    annotation: Any
    default: Any
    doc: str


@dataclasses.dataclass(frozen=True)
class Group:
    """The keys of one ingredient, and the dataclass they are for."""

    cls: type
    doc: str
    keys: dict[str, Key]


Schema = dict[str, Key | Group]


class Keys:
    """What the dataclass of a group derives from: its numbers are checked as it is made."""

    def __post_init__(self) -> None:
        for name, key in read(type(self), self).items():
            if isinstance(key, Key):
                _bounded(key.default, key.annotation, name)


def read(function: Callable[..., Any], instance: Any = None) -> Schema:
    """The keys of a function or dataclass: its keyword-only parameters, all of which have a type and a default.

    Args:
        function: or a dataclass.
        instance: of the dataclass, which has the defaults; None makes one.
    """
    if isinstance(known := getattr(function, "schema", None), dict):
        return known
    if made := isinstance(function, type):
        instance = instance or function()
    hints = typing.get_type_hints(function, include_extras=True)
    docs = explained(function.__doc__ or "", "Attributes" if made else "Args")
    schema: Schema = {}
    for name, parameter in _parameters(function).items():
        kind, default = hints.get(name, Any), getattr(instance, name, parameter.default)
        schema[name] = group(default) if dataclasses.is_dataclass(kind) else Key(kind, default, docs.get(name, ""))
    return schema


def group(instance: Any) -> Group:
    """The keys of an ingredient, whose defaults are those of an instance."""
    keys = typing.cast(dict[str, Key], read(type(instance), instance))
    return Group(type(instance), (instance.__doc__ or "").strip().partition("\n")[0], keys)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}


def keyed(run: Callable[..., Any], name: str, doc: str | None, *parts: Callable[..., Any]) -> Callable[..., Any]:
    """A main function of `run(**values)`, whose keys are those of the parts: functions and dataclasses.

    Raises:
        TypeError: if a key has no default.
    """
    parameters = {key: parameter for part in parts for key, parameter in _parameters(part).items()}
    for parameter in parameters.values():
        if parameter.default is parameter.empty:
            raise TypeError(f"{name}: the setting {parameter.name!r} needs a default for the command line.")
    made: Any = run
    made.__name__, made.__qualname__, made.__module__, made.__doc__ = name, name, parts[0].__module__, doc
    made.__signature__ = inspect.Signature(list(parameters.values()))
    made.schema = {key: entry for part in parts for key, entry in read(part).items()}
    return made


def of(commands: Iterable[Callable[..., Any]]) -> Schema:
    """All keys of an experiment's commands; what they share must be the same in all, but the first explains it."""
    result: Schema = {}
    for command in commands:
        for name, entry in read(command).items():
            known = result.setdefault(name, entry)
            same = dataclasses.replace(entry, doc=known.doc) == known if type(entry) is type(known) else False
            assert same, f"the commands disagree on {name!r}"
    return result


def defaults(schema: Mapping[str, Key | Group]) -> dict[str, Any]:
    """All defaults, nested."""
    return {name: defaults(e.keys) if isinstance(e, Group) else _plain(e.default) for name, e in schema.items()}


def flat_docs(schema: Mapping[str, Key | Group]) -> dict[str, str]:
    """All explanations, by dotted name."""
    docs = {}
    for name, entry in schema.items():
        docs[name] = entry.doc
        if isinstance(entry, Group):
            docs |= {f"{name}.{key}": inner.doc for key, inner in entry.keys.items()}
    return docs


def checked(schema: Schema, updates: Mapping[str, Any]) -> dict[str, Any]:
    """The updates with each value in its key's type.

    Args:
        schema: what there is.
        updates: nested.

    Raises:
        ValueError: if a key does not exist, the text names the nearest; or a value is of another type.
    """
    result: dict[str, Any] = {}
    for name, value in updates.items():
        entry = _entry(schema, name, "")
        if isinstance(entry, Group):
            if not isinstance(value, Mapping):
                keys = ", ".join(f"{name}.{key}" for key in entry.keys)
                raise ValueError(f"{name} is a group of keys, got {name}={value!r}: set one of {keys}.")
            found = {key: (_entry(entry.keys, key, f"{name}."), inner) for key, inner in value.items()}
            result[name] = {k: convert(v, e.annotation, f"{name}.{k}") for k, (e, v) in found.items()}
        else:
            result[name] = convert(value, entry.annotation, name)
    return result


def bind(function: Callable[..., Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function out of a configuration that may hold more."""
    schema = read(function)
    given = {
        name: {key: config[name][key] for key in entry.keys} if isinstance(entry, Group) else config[name]
        for name, entry in schema.items()
    }
    values = checked(schema, given)
    return {name: e.cls(**values[name]) if isinstance(e, Group) else values[name] for name, e in schema.items()}


def convert(value: Any, annotation: Any, where: str) -> Any:
    """The value in the type of its key: integral floats such as 1e6 become integers, numbers become text.

    Raises:
        ValueError: if it is of another type.
    """
    value = _plain(value)
    for kind in _alternatives(annotation):
        fits, result = _fit(value, kind)
        if fits:
            return _bounded(result, annotation, where)
    if any(kind is str for kind in _alternatives(annotation)) and isinstance(value, int | float):
        return str(value)  # a name such as 42 reads as a number on a command line
    literals = [kind for kind in _alternatives(annotation) if typing.get_origin(kind) is Literal]
    choices = [choice for kind in literals for choice in typing.get_args(kind)]
    hint = f" {nearest(value, choices)}" if isinstance(value, str) else ""
    raise ArgumentError(f"{where}={value!r} is of the wrong kind: expected {describe(annotation)}.{hint}")


def nearest(name: object, known: Iterable[object]) -> str:
    """A hint at the known names nearest to a wrong one: "Did you mean …?", or all there are."""
    names = [str(item) for item in known]
    tail = str(name).rpartition(".")[2]
    same = [item for item in names if item.rpartition(".")[2] == tail][:2]  # the last part alone may be right
    hint = checks.did_you_mean(name, names, n=2, cutoff=0.5).strip()
    return hint or (f"Did you mean {' or '.join(map(repr, same))}?" if same else f"There are: {', '.join(names)}.")


def known(where: str, given: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What is given, after its keys have been checked.

    Raises:
        ValueError: if one of them does not exist, naming the nearest.
    """
    for key in given:
        if key not in keys:
            raise ValueError(f"{where}.{key} does not exist. {nearest(key, keys)}")
    return given


def describe(annotation: Any) -> str:
    """A type in words."""
    words = {
        int: "an integer",
        float: "a number",
        bool: "True or False",
        str: "text",
        type(None): "None",
        type: "a class or its name",
    }
    named = []
    for kind in _alternatives(annotation):
        origin = typing.get_origin(kind) or kind
        if origin is Literal:
            named.append("one of " + ", ".join(map(repr, typing.get_args(kind))))
        elif kind not in words and isinstance(origin, type) and issubclass(origin, Mapping | Sequence):
            named.append("a dictionary" if issubclass(origin, Mapping) else "a list")
        else:
            named.append(words.get(origin, getattr(kind, "__name__", str(kind))))
    return " or ".join(dict.fromkeys(named))


def _entry(keys: Mapping[str, Any], name: str, prefix: str) -> Any:
    if name not in keys:
        known = [*keys]
        if not prefix:
            known += [f"{g}.{key}" for g, entry in keys.items() if isinstance(entry, Group) for key in entry.keys]
        hint = nearest(name, known)
        hint = re.sub(r"'([^']+)'", rf"'{prefix}\1'", hint) if prefix else hint
        raise ValueError(f"There is no configuration key {prefix + name!r}. {hint} The command print_config lists all.")
    return keys[name]


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(part for kind in typing.get_args(annotation) for part in _alternatives(kind))
    return (typing.get_args(annotation)[0],) if typing.get_origin(annotation) is Annotated else (annotation,)


def _bounded(value: Any, annotation: Any, where: str) -> Any:
    low = _least(annotation)
    if isinstance(value, int) and value < low:
        raise ValueError(f"{where} must be at least {low}, got {value}.")
    return value


def _least(annotation: Any) -> float:
    """The bound in an annotation, or in a part of it."""
    if isinstance(annotation, AtLeast):
        return annotation.low
    parts = getattr(annotation, "__metadata__", ()) or typing.get_args(annotation)
    return max(map(_least, parts), default=float("-inf"))


def _fit(value: Any, kind: Any) -> tuple[bool, Any]:
    origin = typing.get_origin(kind) or kind
    if kind is Any:
        return True, value
    if origin is Literal:
        return value in typing.get_args(kind), value
    if kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (True, kind(value)) if number and (kind is float or value % 1 == 0) else (False, value)
    text = isinstance(value, str) and origin is not str  # which is a sequence too
    return isinstance(origin, type) and isinstance(value, origin) and not text, value


def _plain(value: Any) -> Any:
    """Plain, writable dictionaries and lists, paths as text; all else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return os.fsdecode(value) if isinstance(value, os.PathLike) else value


def explained(docstring: str, section: str) -> dict[str, str]:
    """The entries of one section of a Google docstring, each as one line."""
    _, _, rest = inspect.cleandoc(docstring).partition(f"\n{section}:\n")
    body = re.split(r"\n(?=\S)", rest)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", body, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
