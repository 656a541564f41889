"""Collects facts about the public names of a package: what tests/compat/imitation-1.0.1.json holds of `imitation`.

    python tests/compat/collect.py imitation tests/compat/imitation-1.0.1.json

Run it where `imitation` 1.0.1 is installed. What it needs and today's stack has not (old gymnasium, ray, shimmy, an old
client of the hub) is stood in for by empty modules: only names and signatures are read.
"""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import warnings

MISSING = (
    "huggingface_sb3", "ray", "ray.air", "ray.air.config", "ray.tune", "ray.tune.registry", "ray.tune.search",
    "ray.tune.search.optuna", "shimmy", "shimmy.atari_env", "gymnasium.wrappers.monitoring",
    "gymnasium.wrappers.monitoring.video_recorder",
)  # fmt: skip


class Anything(type):
    """A class that has whatever class one asks it for."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {"__init__": lambda self, *args, **kwargs: None})


class StandIn(types.ModuleType):
    """A module that has whatever class one asks it for."""

    __path__ = ()
    __getattr__ = Anything.__getattr__


def signature(function):
    """Parameters as text: "name", "name=default", "*args", "**kwargs", "name (keyword)=default"; None if unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    return [
        stars.get(p.kind.name, "") + p.name + " (keyword)" * (p.kind.name == "KEYWORD_ONLY")
        + ("" if p.default is p.empty else "=" + re.sub(r" at 0x\w+", "", repr(p.default)))
        for p in parameters
    ]  # fmt: skip


def fact(value, root):
    """What is compared of a public name."""
    if inspect.isclass(value):
        members = {}
        for name in dir(value):
            owner = next((c for c in value.__mro__ if name in vars(c)), None)
            if name.startswith("_") or owner is None or owner.__module__.partition(".")[0] != root:
                continue
            member = getattr(value, name)
            members[name] = signature(member) if callable(member) else type(vars(owner)[name]).__name__
        return {"class": signature(value), "bases": [c.__name__ for c in value.__mro__[1:-1]], "members": members}
    if inspect.isfunction(value):
        return {"function": signature(value)}
    return {"value": type(value).__name__}


def defined(module):
    """The public names that a module's text defines, rather than imports."""
    names = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return sorted(name for name in names if not name.startswith("_") and name in vars(module))


def collect(root):
    """Module, relative to `root`, to public name to fact."""
    facts = {}
    for found in pkgutil.walk_packages(importlib.import_module(root).__path__, root + "."):
        module = importlib.import_module(found.name)
        facts[found.name.partition(".")[2]] = {name: fact(vars(module)[name], root) for name in defined(module)}
    return facts


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import gymnasium.wrappers

    for name in MISSING:
        sys.modules[name] = StandIn(name)
    gymnasium.wrappers.monitoring = sys.modules["gymnasium.wrappers.monitoring"]
    rows = []
    for module, names in sorted(collect(sys.argv[1]).items()):
        lines = [f"  {json.dumps(name)}: {json.dumps(about)}" for name, about in names.items()]
        rows.append(f"{json.dumps(module)}: {{\n" + ",\n".join(lines) + "\n}")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(rows) + "\n}\n")
