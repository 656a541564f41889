"""The named configurations: `algorithms.presets` by environment; `named.json` holds the others.

`named.json` says under `experiments` how those of an experiment are made, see `named`, and under the name of an
experiment, or of a group of keys, what it has besides.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from imitation_lab.algorithms import presets
from imitation_lab.scripts._values import Named, merged

__all__ = ["named", "of"]

_NAMED = json.loads(pathlib.Path(__file__).with_name("named.json").read_text(encoding="utf-8"))
ENVIRONMENTS: dict[str, str] = _NAMED["environments"]
"""Ids by name."""
# An episode's length tells a learner how well it does, and so spoils a comparison; here it is the user's choice.
VARIABLE_HORIZON = {"acrobot", "ant", "cartpole", "hopper", "humanoid", "mountain_car", "walker"}
# Nothing is bundled for these; the hub has experts and demonstrations.
HUB = {"demonstrations": {"source": "huggingface"}, "expert": {"policy_type": "ppo-huggingface"}}


def named(
    commands: Mapping[str, str | Mapping[str, Any]],
    *,
    groups: Iterable[str] = (),
    variable: Mapping[str, Any] = {},
    environments: Mapping[str, str] = ENVIRONMENTS,
) -> dict[str, Named]:
    """One named configuration for each environment, and one for each other preset.

    Args:
        commands: by name of a command, the algorithm whose presets it takes, or these presets.
        groups: groups of keys that the experiment shares: for `fast` those with fast settings take them, for `seals`
            environments the expert and the demonstrations are the hub's.
        variable: values for environments whose episodes end early.
        environments: ids by name.
    """
    made = {}
    known = {command: _presets(found) if isinstance(found, str) else found for command, found in commands.items()}
    for name in dict.fromkeys([*environments, *(name for found in known.values() for name in found)]):
        found = {command: preset for command, own in known.items() if "values" in (preset := _preset(own, name))}
        first = next(iter(found.values()), {})
        values = _base(name, first, groups, variable)
        if "gym_id" in first.get("values", {}).get("environment", {}):  # a whole configuration, for every command
            made[name] = Named(first["doc"], first["values"])
        elif found or name in environments:
            own = {command: merged(values, preset["values"]) for command, preset in found.items()}
            doc = first.get("doc") or values.get("environment", {}).get("gym_id", f"the preset {name}")
            made[name] = Named(doc, values, own)
    return made


def of(name: str) -> dict[str, Named]:
    """Those of an experiment or of a group of keys."""
    made = named(**_NAMED["experiments"][name]) if name in _NAMED["experiments"] else {}
    return made | {key: Named(**found) for key, found in _NAMED.get(name, {}).items()}


def _presets(algorithm: str) -> dict[str, Any]:
    return {name: presets.read(algorithm, name) for name in presets.available(algorithm)}


def _preset(known: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is known for an environment; a fixed horizon takes what the other one has, but for its explanation."""
    other = known.get(name.removeprefix("fixed_"), {})
    return known.get(name) or {key: other[key] for key in ("values",) if key in other}


def _base(
    name: str, preset: Mapping[str, Any], groups: Iterable[str], variable: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What a configuration holds for every command."""
    if name == "fast":
        return {group: _NAMED[group][name]["values"] for group in groups if name in _NAMED.get(group, {})}
    gym_id = ENVIRONMENTS.get(name, preset.get("env_name"))
    if gym_id is None:
        return {}
    values: dict[str, Any] = {"environment": {"gym_id": gym_id}}
    if name.startswith("seals_"):
        values |= {group: HUB[group] for group in HUB if group in groups}
    return merged(values, variable) if name in VARIABLE_HORIZON else values
