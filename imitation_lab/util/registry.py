"""Registries: names for values, which may be imported only when they are asked for."""

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from imitation_lab.util import checks

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

__all__ = [
    "LoaderFn", "RegistryError", "load_attr", "Registry", "build_loader_fn_require_space",
    "build_loader_fn_require_env",
]  # fmt: skip

T = TypeVar("T")
LoaderFn = Callable[..., T]
"""Function that takes a `VecEnv` first, and keywords, and returns the thing loaded."""


class RegistryError(KeyError, ValueError):
    """A key that is unknown or taken. Both kinds of error, since a user's mistake is a ValueError everywhere."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0])


def load_attr(name: str) -> Any:
    """Imports what `name` says, "module.path:attribute", and returns it.

    Raises:
        ValueError: if `name` has not that form, or the module has no such attribute.
        ImportError: if the module cannot be imported.
    """
    module_name, colon, attr_path = name.partition(":")
    if not (colon and module_name and attr_path) or ":" in attr_path:
        raise ValueError(f'Expected a name like "module.path:attribute", got {name!r}.')
    value = importlib.import_module(module_name)
    for attr in attr_path.split("."):
        try:
            value = getattr(value, attr)
        except AttributeError:
            raise ValueError(f"{name!r}: module {module_name!r} has no attribute {attr_path!r}.") from None
    return value


class Registry(Generic[T]):
    """Maps keys to values, given directly or as "module.path:attribute" to import at the first `get`."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._indirect: dict[str, str] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._values or key in self._indirect

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._values.keys() | self._indirect.keys())

    def get(self, key: str) -> T:
        """Returns the value of `key`, importing it if need be.

        Raises:
            RegistryError: (a KeyError and a ValueError) if `key` is unknown; the text names the nearest keys.
        """
        if key not in self._values:
            if key not in self._indirect:
                hint = checks.did_you_mean(key, self.keys())
                raise RegistryError(f"Unknown key {key!r}.{hint} Registered are: {', '.join(self.keys())}.")
            self._values[key] = load_attr(self._indirect[key])
        return self._values[key]

    def register(self, key: str, *, value: T | None = None, indirect: str | None = None) -> None:
        """Adds `key` with either a `value` or an `indirect` "module.path:attribute".

        Raises:
            RegistryError: if `key` is taken.
            ValueError: if both or neither of `value` and `indirect` are given, or `indirect` is malformed.
        """
        if key in self:
            raise RegistryError(f"Key {key!r} is already registered; choose another.")
        if (value is None) == (indirect is None):
            given = "neither" if value is None else "both"
            raise ValueError(f"register({key!r}) needs value= or indirect=, got {given}.")
        if value is not None:
            self._values[key] = value
        else:
            assert indirect is not None
            if ":" not in indirect:
                raise ValueError(f'Expected indirect="module.path:attribute", got {indirect!r}.')
            self._indirect[key] = indirect


def build_loader_fn_require_space(fn: Callable[..., T], **kwargs: Any) -> LoaderFn[T]:
    """Makes a loader out of `fn(observation_space, action_space, **kwargs)`.

    Args:
        fn: called with the spaces of the loader's environment.
        **kwargs: passed to `fn` at each load, unless the load's own keywords say otherwise.

    Returns:
        `loader(venv, **load_kwargs)`.
    """

    def load(venv: "VecEnv", **load_kwargs: Any) -> T:
        return fn(venv.observation_space, venv.action_space, **{**kwargs, **load_kwargs})

    return load


def build_loader_fn_require_env(fn: Callable[..., T], **kwargs: Any) -> LoaderFn[T]:
    """Makes a loader out of `fn(venv, **kwargs)`; the rest as in `build_loader_fn_require_space`."""

    def load(venv: "VecEnv", **load_kwargs: Any) -> T:
        return fn(venv, **{**kwargs, **load_kwargs})

    return load
