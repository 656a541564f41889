"""Configurations as data: values are literals, files are JSON, and nothing is evaluated or unpickled."""

from __future__ import annotations

import ast
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from imitation_lab.util.paths import AnyPath, atomic_path


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
        updates = merged(updates, _unfolded(key.strip(), value))
    return updates, names


def _unfolded(dotted: str, value: Any) -> dict[str, Any]:
    """The value of "a.b" as `{"a": {"b": value}}`."""
    parts = dotted.split(".")
    if not all(parts):
        raise ValueError(f"{dotted!r} is no configuration key: write key=value, such as environment.num_vec=2.")
    for part in reversed(parts):
        value = {part: value}
    return value


def nested(updates: Mapping[str, Any]) -> dict[str, Any]:
    """Updates with dotted keys as nested dictionaries."""
    result: dict[str, Any] = {}
    for key, value in updates.items():
        result = merged(result, _unfolded(key, nested(value) if isinstance(value, Mapping) else value))
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
    values = read_json(file)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, expected an object of configuration keys.")
    return values


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: if it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from None


def write_json(path: AnyPath, content: Any) -> None:
    """Writes plain data as a JSON file, atomically; parent folders are created."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


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


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dictionaries under dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested_ones = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{key}.") if nested_ones else {f"{prefix}{key}": value}
    return found
