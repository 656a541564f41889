"""The tables of the command line's page, read off the code that they are about."""

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from imitation_lab.scripts import _engine, _schema, _values, console

OTHERS = {
    "eval": ("eval_policy", ["eval_policy"]),
    "analyze": ("analyze", ["analyze_imitation", "gather_tb_directories"]),
    "parallel": ("parallel", ["parallel"]),
    "tune": ("tuning", ["tune"]),
}
"""Experiments that are no algorithm: module and commands."""


def experiments() -> dict[str, tuple[list[str], list[Any]]]:
    """By module: how it is called from the shell, and its commands, the first being what runs by default."""
    found: dict[str, tuple[list[str], list[Any]]] = {}
    named = [(f"train {name}", module, [command]) for name, (module, command) in console.TRAIN.items()]
    named += [(name, module, commands) for name, (module, commands) in OTHERS.items()]
    for name, module, commands in named:
        calls, functions = found.setdefault(module, ([], []))
        calls.append(name)
        functions += [getattr(importlib.import_module(f"imitation_lab.scripts.{module}"), name) for name in commands]
    return found


def page() -> str:
    """All experiments with their keys and named configurations, then the groups of keys that they share."""
    parts, groups = [], {}
    for module, (calls, functions) in experiments().items():
        schema = _schema.of(functions)
        own = {key: entry for key, entry in schema.items() if isinstance(entry, _schema.Key)}
        inner = {key: entry for key, entry in schema.items() if isinstance(entry, _schema.Group)}
        groups |= {key: entry for key, entry in inner.items() if key not in groups}
        parts += [f"### {', '.join(f'`imitation-lab {call}`' for call in calls)}", ""]
        if len(calls) < len(functions):
            parts += [f"Commands: {', '.join(f'`{function.__name__}`' for function in functions)}.", ""]
        parts += list(_keys(own))
        if inner:
            listed = ", ".join(f"[`{key}`](#{key.replace('_', '-')}-keys)" for key in inner)
            parts += ["", f"Shared keys: {listed}."]
        named = importlib.import_module(f"imitation_lab.scripts.config.{module}").NAMED
        parts += ["", *_configs(named), ""]
    parts += ["## Shared keys", "", "Written with their group: `environment.num_vec=2`.", ""]
    for key, group in groups.items():
        parts += [f"({key.replace('_', '-')}-keys)=", f"### {key}", "", group.doc, "", *_keys(group.keys), ""]
        ingredient = _engine._ingredients.get(group.cls)
        own_named = {} if isinstance(ingredient, _engine.Missing | None) else ingredient.named_configs
        if own_named:
            parts += [f"Named: {', '.join(f'`{key}.{name}`' for name in own_named)}.", ""]
    return "\n".join(parts)


def _keys(keys: Mapping[str, _schema.Key]) -> Iterator[str]:
    if not keys:
        return
    yield from ("| key | default | meaning |", "|---|---|---|")
    for name, key in keys.items():
        default = _schema._plain(key.default)
        shown = "" if default in ({}, None, [], ()) else f"`{default}`".replace("|", r"\|")
        yield f"| `{name}` | {shown} | {_escaped(key.doc)} |"


def _configs(named: Mapping[str, _values.Named]) -> Iterator[str]:
    """Those of one meaning in one line; those that choose an environment and no more are all of one meaning."""
    if not named:
        return
    by_doc: dict[str, list[str]] = {}
    for name, config in named.items():
        doc = "one environment" if re.fullmatch(r"[\w/]+-v\d+", config.doc) else config.doc
        by_doc.setdefault(doc, []).append(f"`{name}`")
    yield from ("| named configuration | for |", "|---|---|")
    for doc, names in by_doc.items():
        yield f"| {', '.join(names)} | {_escaped(doc)} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", r"\<").replace("*", r"\*")
