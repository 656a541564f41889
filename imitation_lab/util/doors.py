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
from collections.abc import Callable
from typing import Any

__all__ = ["door", "names_of"]

_ALL = re.compile(r"^__all__(?:: [^=]+)? = (\[.*?\])", re.MULTILINE | re.DOTALL)


def door(package: str, *shown: str, **chosen: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its `__name__`.
        *shown: modules whose names are offered beside the modules themselves; without any, all that are public.
        **chosen: names to offer instead, and the module of each, relative to the package.
    """

    @functools.cache
    def modules() -> list[str]:
        return sorted(name for _, name, _ in pkgutil.iter_modules(sys.modules[package].__path__) if name[0] != "_")

    @functools.cache
    def table() -> dict[str, str]:
        if chosen:
            return chosen
        return {name: module for module in shown or modules() for name in names_of(f"{package}.{module}")}

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted({*table(), *modules()})
        if not name.startswith("__"):
            if name in modules():  # before a name of the same spelling, as an import of it would
                return importlib.import_module(f"{package}.{name}")
            if name in table():
                value = getattr(importlib.import_module(f"{package}.{table()[name]}"), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*table(), *modules()})


def names_of(module: str) -> list[str]:
    """The `__all__` of a module, which is not loaded for it; a package is, which costs nothing if it has a door."""
    package, _, name = module.rpartition(".")
    for folder in sys.modules[package].__path__:
        file = pathlib.Path(folder) / f"{name}.py"
        if file.is_file():
            found = _ALL.search(file.read_text(encoding="utf-8"))
            return ast.literal_eval(found[1]) if found else []
    submodules = {name for _, name, _ in pkgutil.iter_modules(importlib.import_module(module).__path__)}
    return [name for name in importlib.import_module(module).__all__ if name not in submodules]
