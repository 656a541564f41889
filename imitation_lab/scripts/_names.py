"""Classes by name: configurations are plain data, in which "RunningNorm" stands for the class.

A class of your own is known under its full name once it is registered with `util.codec.register_class`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from stable_baselines3.common.utils import LinearSchedule

from imitation_lab.scripts._schema import nearest
from imitation_lab.util import artifacts, codec
from imitation_lab.util.registry import load_attr

T = TypeVar("T")

_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "algorithm": ("stable_baselines3", ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")),
    "optimizer": ("torch.optim", ("Adam", "AdamW", "RMSprop", "SGD")),
    "norm": ("imitation_lab.util.networks", ("EMANorm", "RunningNorm")),
    "layer": ("torch.nn", ("ELU", "Identity", "LayerNorm", "LeakyReLU", "ReLU", "SiLU", "Tanh")),
    "policy": (
        "imitation_lab.policies.base",
        ("FeedForward32Policy", "NormalizeFeaturesExtractor", "SAC1024Policy"),
    ),
    "reward network": (
        "imitation_lab.rewards.reward_nets",
        (
            "BasicRewardNet",
            "BasicShapedRewardNet",
            "CnnRewardNet",
            "imitation_lab.algorithms.adversarial.bounded:BoundedRewardNet",
        ),
    ),
    "preference gatherer": ("imitation_lab.algorithms.preference_comparisons", ("SyntheticGatherer",)),
}
"""By kind: a module and names in it; a name of another module is `module:name`."""
_WHERE = {
    name.rpartition(":")[2]: name if ":" in name else f"{module}:{name}"
    for module, names in _KINDS.values()
    for name in names
}
SB3_POLICIES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")


def find(kind: str, value: Any) -> Any:
    """The class of one kind that a name stands for; classes pass.

    Raises:
        ValueError: if there is none; the text names the nearest.
    """
    if not isinstance(value, str):
        return value
    names = [name.rpartition(":")[2] for name in _KINDS[kind][1]]
    if value in names:
        return load_attr(_WHERE[value])
    registered = _registered(value)
    if registered is None:
        raise ValueError(f"There is no {kind} {value!r}. {nearest(value, names)}")
    return registered


def with_classes(value: Any) -> Any:
    """Arguments in which each text that is a class's name is that class.

    `{"linear": x}` is a schedule from x to 0, `{"linear": [x, y]}` one from x to y.
    """
    if isinstance(value, Mapping):
        if set(value) == {"linear"}:
            start, end = value["linear"] if isinstance(value["linear"], list | tuple) else (value["linear"], 0.0)
            return LinearSchedule(float(start), float(end), 1.0)
        return {key: with_classes(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_classes(part) for part in value]
    if isinstance(value, str):
        return load_attr(_WHERE[value]) if value in _WHERE else _registered(value) or value
    return value


def with_names(value: Any) -> Any:
    """The inverse of `with_classes`, as far as the classes have names; what is recorded is then plain data."""
    if isinstance(value, Mapping):
        return {key: with_names(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_names(part) for part in value]
    if isinstance(value, type):
        if value.__name__ in _WHERE and load_attr(_WHERE[value.__name__]) is value:
            return value.__name__
        name = f"{value.__module__}.{value.__qualname__}"
        return name if _registered(name) is value else value
    return value


def call(where: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls a class or function whose keyword arguments come from the configuration.

    Raises:
        ValueError: if it has no such argument; the text names the key and the nearest argument.
    """
    check(where, kwargs, function)
    return function(*args, **kwargs)


def check(where: str, kwargs: Mapping[str, Any], *functions: Callable[..., Any]) -> None:
    """Checks that at least one of the functions has each argument; those that take any are not asked.

    Raises:
        ValueError: naming the key and the nearest argument.
    """
    signatures = [inspect.signature(function).parameters for function in functions]
    if any(p.kind is p.VAR_KEYWORD for p in signatures[-1].values()):
        return
    known = list(dict.fromkeys(name for parameters in signatures for name in parameters))
    for key in kwargs:
        if key not in known:
            name = getattr(functions[0], "__qualname__", str(functions[0]))
            raise ValueError(f"{where}.{key}: {name} has no argument {key!r}. {nearest(key, known)}")


def _registered(name: str) -> type | None:
    try:
        return codec.find_class(name)
    except artifacts.ArtifactError:
        return None
