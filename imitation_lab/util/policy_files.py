"""Files of Stable-Baselines3 policies: class name, constructor arguments and tensors, and never code.

SB3's own `policy.save` and `BasePolicy.load` pickle, so a file from a stranger could run anything. Here a
file is an artifact of kind "policy" (see `util.artifacts`) whose metadata name a registered class and give
its arguments as JSON.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import ConstantSchedule, get_device
from stable_baselines3.dqn import policies as dqn
from stable_baselines3.sac import policies as sac
from stable_baselines3.td3 import policies as td3
from torch.overrides import TorchFunctionMode

from imitation_lab.util import artifacts, codec
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

__all__ = ["save_policy", "load_policy_file", "describe", "rebuild", "build_policy", "KIND", "VERSION"]

KIND = "policy"
VERSION = 1

for _class in (
    ActorCriticPolicy, ActorCriticCnnPolicy, MultiInputActorCriticPolicy,
    sac.SACPolicy, sac.CnnPolicy, sac.MultiInputPolicy,
    td3.TD3Policy, td3.CnnPolicy, td3.MultiInputPolicy,
    dqn.DQNPolicy, dqn.CnnPolicy, dqn.MultiInputPolicy,
    FlattenExtractor, NatureCNN, CombinedExtractor,
):  # fmt: skip
    codec.register_class(_class)


def save_policy(policy: BasePolicy, path: AnyPath) -> None:
    """Writes a policy to one file in the native format; parents are created, the write is atomic.

    The file holds weights, statistics, spaces and the current learning rate, but no optimizer state. A class
    of your own needs `util.codec.register_class`, and `_get_constructor_parameters` if its constructor takes
    more arguments than its base's.

    Args:
        policy: an SB3 policy: actor-critic (PPO, A2C), SAC, TD3, DDPG or DQN, `RandomPolicy`, `ZeroPolicy`,
            or a registered class.
        path: the file to write.

    Raises:
        TypeError: `policy` is not an SB3 policy, its class is not registered, or an argument of its
            constructor cannot be expressed as data.
    """
    if not isinstance(policy, BasePolicy):
        hint = "; pass its .policy" if isinstance(getattr(policy, "policy", None), BasePolicy) else ""
        raise TypeError(f"save_policy expected a Stable-Baselines3 policy, got {type(policy).__name__}{hint}.")
    artifacts.write(path, kind=KIND, version=VERSION, meta=describe(policy), tensors=artifacts.state_arrays(policy))


def describe(policy: BasePolicy) -> dict[str, Any]:
    """A policy's class and constructor arguments as JSON, for `rebuild`.

    Raises:
        TypeError: its class is not registered, or an argument cannot be expressed as data.
    """
    arguments = {k: v for k, v in policy._get_constructor_parameters().items() if v is not None}
    takes_schedule = arguments.pop("lr_schedule", None) is not None
    if hasattr(policy, "share_features_extractor"):  # which SB3 forgets for some classes
        arguments["share_features_extractor"] = policy.share_features_extractor
    return {
        "class": codec.class_name(type(policy)),
        "arguments": codec.encode(arguments, where=f"{type(policy).__name__} argument"),
        "learning_rate": _learning_rate(policy) if takes_schedule else None,
    }


def load_policy_file(path: AnyPath, device: th.device | str = "auto") -> BasePolicy:
    """Rebuilds the policy that `save_policy` wrote to `path`, in evaluation mode.

    Args:
        path: a file of the native format.
        device: where to put it; "auto" is CUDA where there is one.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: (a ValueError) the file is damaged, newer, of another kind, or names an unregistered
            class; or its tensors do not fit the class, in which case the first that differs is named.
    """
    artifact = artifacts.read(path, kind=KIND, version=VERSION)
    return rebuild(artifact.meta, artifact.tensors, device, source=str(path))


def rebuild(
    meta: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    device: th.device | str = "auto",
    *,
    source: str = "policy",
) -> BasePolicy:
    """The policy that `describe` described, with `tensors` in it, in evaluation mode.

    Raises:
        ArtifactError: the description is damaged or names an unregistered class, or the tensors do not fit the class.
    """
    try:
        policy_class = codec.find_class(meta["class"])
        arguments, learning_rate = codec.decode(meta["arguments"]), meta["learning_rate"]
    except (KeyError, TypeError):
        raise ArtifactError(f"cannot read {source!r}: its description of the policy is damaged.") from None
    if not issubclass(policy_class, BasePolicy) or not isinstance(arguments, dict):
        raise ArtifactError(f"cannot read {source!r}: {meta['class']!r} is not a policy class.")
    if learning_rate is not None:
        arguments["lr_schedule"] = ConstantSchedule(float(learning_rate))
    return build_policy(policy_class, arguments, dict(tensors)).to(get_device(device))


def build_policy(
    policy_class: type[BasePolicy], arguments: dict[str, Any], tensors: dict[str, np.ndarray]
) -> BasePolicy:
    """Makes `policy_class(**arguments)` on the CPU and copies `tensors` into it; torch's random state stays as is.

    Raises:
        ArtifactError: the arguments are refused by the class, ask for more memory than `tensors` can fill, or
            `tensors` do not fit.
    """
    elements = sum(array.size for array in tensors.values())
    try:
        with th.random.fork_rng(devices=[]), _Budget(4 * elements + (1 << 20)):
            policy = policy_class(**arguments)
    except ArtifactError:
        raise
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"{policy_class.__name__} refuses the arguments in the file: {error}") from error
    artifacts.load_state_dict(policy, tensors)
    policy.set_training_mode(False)
    return policy


class _Budget(TorchFunctionMode):
    """Stops a file that declares huge layers before their memory is taken."""

    _FACTORIES = (th.empty, th.zeros, th.ones, th.full, th.rand, th.randn)

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.left = elements

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in self._FACTORIES:
            self.left -= math.prod(_sizes(args[:1] if func is th.full else args), start=1)
            if self.left < 0:
                raise ArtifactError(
                    "the file declares layers far larger than the tensors it holds; it was tampered with."
                )
        return func(*args, **kwargs)


def _sizes(args: Any) -> Iterator[int]:
    for arg in args:
        if isinstance(arg, int):
            yield arg
        elif isinstance(arg, tuple | list):
            yield from _sizes(arg)


def _learning_rate(policy: BasePolicy) -> float:
    for owner in (policy, getattr(policy, "actor", None)):
        optimizer = getattr(owner, "optimizer", None)
        if optimizer is not None:
            return float(optimizer.param_groups[0]["lr"])
    return 0.0
