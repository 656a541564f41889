"""What a package offers, without loading it: names are looked up in its modules when they are asked for.

A package's `__init__` says `__getattr__, __dir__ = door(__name__)`. Then all that its public modules name in `__all__`
can be imported from the package, shows in `dir()` and completes by Tab, and nothing is loaded before it is used. The
names are read from the modules' files: they are said once.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pathlib
import pkgutil
import re
import sys
from collections.abc import Callable, Container
from typing import Any

__all__ = ["door", "names_of"]

_ALL = re.compile(r"^__all__(?:: [^=]+)? = (\[.*?\])", re.MULTILINE | re.DOTALL)


def door(
    package: str, *shown: str, hidden: Container[str] = (), **chosen: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        *shown: modules whose names are offered beside the modules themselves; without any, all that are public.
        hidden: modules that are not offered, as their import alone does something.
        **chosen: names to offer, and the module of each, relative to the package or from the root; in place of all that
            are public, or beside those that are `shown`.
    """

    @functools.cache
    def modules() -> list[str]:
        found = [name for _, name, _ in pkgutil.iter_modules(sys.modules[package].__path__)]
        return sorted(name for name in found if name[0] != "_" and name not in hidden)

    @functools.cache
    def table() -> dict[str, str]:
        listed = shown or (() if chosen else modules())
        return {name: module for module in listed for name in names_of(f"{package}.{module}")} | chosen

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted({*table(), *modules()})
        if not name.startswith("_"):
            if name in modules():  # before a name of the same spelling, as an import of it would
                return importlib.import_module(f"{package}.{name}")
            if name in table():
                module = table()[name]
                absolute = module.startswith(package.partition(".")[0] + ".")
                value = getattr(importlib.import_module(module if absolute else f"{package}.{module}"), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*table(), *modules()})


def names_of(module: str) -> list[str]:
    """The `__all__` of a module, which is not loaded for it; a package is if it has a door, which costs nothing."""
    package, _, name = module.rpartition(".")
    folder = pathlib.Path(sys.modules[package].__path__[0])
    file = folder / f"{name}.py"
    text = (file if file.is_file() else folder / name / "__init__.py").read_text(encoding="utf-8")
    if found := _ALL.search(text):
        return ast.literal_eval(found[1])
    if "door(" not in text:
        return []
    loaded = importlib.import_module(module)
    submodules = {name for _, name, _ in pkgutil.iter_modules(loaded.__path__)}
    return [name for name in loaded.__all__ if name not in submodules]
