"""Classes by name: presets and configurations are plain data, in which "RunningNorm" stands for the class.

A class of your own is known under its full name once it is registered with `util.codec.register_class`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.utils import LinearSchedule

from imitation_lab.util import artifacts, codec
from imitation_lab.util.registry import load_attr

__all__ = ["KINDS", "find_class", "with_classes", "with_names"]

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
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
    for module, names in KINDS.values()
    for name in names
}


def find_class(name: str) -> Any:
    """The class that a short name in `KINDS`, or a registered full one, stands for; None if there is none."""
    if name in _WHERE:
        return load_attr(_WHERE[name])
    try:
        return codec.find_class(name)
    except artifacts.ArtifactError:
        return None


def with_classes(value: Any) -> Any:
    """Arguments in which each text that is a class's name is that class.

    `{"linear": x}` is a schedule from x to 0, `{"linear": [x, y]}` one from x to y; `{"__object__": …}` is as in
    `util.codec`.
    """
    if isinstance(value, Mapping):
        if "__object__" in value:
            return codec.decode(value)
        if set(value) == {"linear"}:
            start, end = value["linear"] if isinstance(value["linear"], list | tuple) else (value["linear"], 0.0)
            return LinearSchedule(float(start), float(end), 1.0)
        return {key: with_classes(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_classes(part) for part in value]
    return (find_class(value) or value) if isinstance(value, str) else value


def with_names(value: Any) -> Any:
    """The inverse of `with_classes`, as far as the classes have names; what is recorded is then plain data."""
    if isinstance(value, Mapping):
        return {key: with_names(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_names(part) for part in value]
    if isinstance(value, type):
        names = (value.__name__, f"{value.__module__}.{value.__qualname__}")
        return next((name for name in names if find_class(name) is value), value)
    return value
