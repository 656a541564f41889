"""The finder behind `import imitation_lab.compat`: `imitation` and all below it are the modules of this library."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence

__all__ = ["install", "remove"]

_OLD, _NEW = "imitation", "imitation_lab"


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds `imitation.x` as the module object `imitation_lab.x`: both names give the same classes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != _OLD:
            return None
        found = importlib.util.find_spec(_NEW + fullname.removeprefix(_OLD))
        if found is None:
            return None
        is_package = found.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(fullname, self, loader_state=found, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return importlib.import_module(_NEW + spec.name.removeprefix(_OLD))

    def exec_module(self, module: types.ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # the import system has put the alias's there

    def get_source(self, fullname: str) -> str | None:
        """The text of the module that `fullname` stands for, as `python -m` needs it."""
        found = importlib.util.find_spec(_NEW + fullname.removeprefix(_OLD))
        loader = None if found is None else found.loader
        return loader.get_source(found.name) if found and isinstance(loader, importlib.abc.InspectLoader) else None


def install() -> None:
    """Lets `imitation` stand for this library from now on; a second call changes nothing.

    Raises:
        ImportError: if another package of that name is imported already.
    """
    loaded = sys.modules.get(_OLD)
    if loaded is not None and loaded.__name__ != _NEW:
        raise ImportError(
            f"{_OLD} is imported already, from {getattr(loaded, '__file__', None)}: import imitation_lab.compat first."
        )
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())


def remove() -> None:
    """Undoes `install`; what was imported by the old name stays what it is."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Alias)]
    for name in [name for name in sys.modules if name.partition(".")[0] == _OLD]:
        del sys.modules[name]
