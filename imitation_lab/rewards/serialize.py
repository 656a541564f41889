"""Saving and loading rewards, as data and never as code.

Two kinds of file are read: the native format, written by `save_reward`, and files of `torch.save(net, path)`, always
opened with `weights_only=True`. A native file holds the network's class names and constructor arguments as JSON beside
its tensors; attributes changed after construction are not in it.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.rewards._inspect import RewardFileInfo, describe_native, describe_torch, scan_torch
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    NormalizedRewardNet,
    RewardEnsemble,
    RewardNet,
    RewardNetWrapper,
    ShapedRewardNet,
    wrapper_chain,
)
from imitation_lab.rewards.reward_nets.constructor import arguments, check_layout, describe, rebuild, replace_submodule
from imitation_lab.util import artifacts, codec
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.errors import MisshapenError
from imitation_lab.util.paths import AnyPath
from imitation_lab.util.registry import Registry

__all__ = [
    "RewardFileInfo", "RewardLoader", "RewardFnLoaderFn", "WrapperPrefix", "ValidateRewardFn", "inspect_reward",
    "load_net", "load_reward", "load_zero", "reward_registry", "save_reward",
]  # fmt: skip

KIND = "reward"
VERSION = 1

RewardLoader = Callable[..., RewardFn]
"""`loader(path, venv, **kwargs)`, which returns a reward function."""

reward_registry: Registry[RewardLoader] = Registry()
"""Loaders by reward type; register your own under a new name."""


RewardFnLoaderFn = RewardLoader
WrapperPrefix = Sequence[type[RewardNetWrapper]]


class ValidateRewardFn(RewardFn):
    """Checks the shape of what a reward function returns.

    Args:
        reward_fn: the function to check.
    """

    def __init__(self, reward_fn: RewardFn):
        super().__init__()
        self.reward_fn = reward_fn

    def __call__(self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Rewards `(batch,)`; arguments as in `RewardFn`.

        Raises:
            MisshapenError: (a ValueError and an AssertionError) if the function returns another shape.
        """
        rewards = self.reward_fn(state, action, next_state, done)
        if np.shape(rewards) != (len(done),):
            raise MisshapenError(
                f"The reward function {self.reward_fn!r} returned shape {np.shape(rewards)} for {len(done)} "
                f"transitions; expected ({len(done)},)."
            )
        return rewards


def save_reward(net: RewardNet, path: AnyPath) -> None:
    """Saves a reward network, wrappers and all, in the native format; parent folders are created.

    Args:
        net: the network. Classes of your own are saved by name: import them before loading.
        path: the file to write.

    Raises:
        TypeError: if `net` is no `RewardNet`, or an argument of a constructor is not data, such as a plain function.
        ValueError: if a network built from the saved arguments would have other tensors than `net`.
    """
    if not isinstance(net, RewardNet):
        raise TypeError(f"save_reward saves a RewardNet, got a {type(net).__name__}.")
    spec, state = describe(net), net.state_dict()
    dtypes = {name: leaf.dtype for name, leaf in state.items() if leaf.is_floating_point()}
    # NumPy has no bfloat16, and float32 holds every such number.
    tensors = {name: leaf.float() if leaf.dtype is th.bfloat16 else leaf for name, leaf in state.items()}
    try:
        check_layout(spec, tensors)
    except ArtifactError as error:
        raise ValueError(
            f"This {type(net).__name__} cannot be rebuilt from its constructor's arguments ({error}); was it changed "
            "after construction? torch.save keeps it as it is."
        ) from error
    spaces = {"observation_space": net.observation_space, "action_space": net.action_space}
    meta = {"net": spec, "dtype": codec.encode(net.dtype), "dtypes": codec.encode(dtypes)}
    meta |= {name: codec.encode_space(space) for name, space in spaces.items()}
    artifacts.write(path, kind=KIND, version=VERSION, meta=meta, tensors=tensors)


def load_net(path: AnyPath, device: th.device | str = "cpu") -> RewardNet:
    """Loads a reward network that `save_reward` or `torch.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: (a ValueError) if the file is damaged, was tampered with, names an unknown class, would run code
            or holds something else; the text names the cause.
    """
    path = os.fsdecode(path)
    match artifacts.sniff(path):
        case "native":
            artifact = artifacts.read(path, kind=KIND, version=VERSION)
            spec = artifact.meta.get("net")
            check_layout(spec, artifact.tensors)
            net = rebuild(spec)
            dtype = codec.decode(artifact.meta.get("dtype"))
            if not (isinstance(dtype, th.dtype) and dtype.is_floating_point):
                raise ArtifactError(f"{path} gives no dtype of the network: its description is damaged.")
            net.to(dtype)
            _cast(net, codec.decode(artifact.meta.get("dtypes", {})))  # older files have none
            artifacts.load_state_dict(net, artifact.tensors)
        case "zip":
            net = _load_torch(path, device)
        case "pickle":
            raise ArtifactError(
                f"{path} is a bare pickle. Opening one runs whatever code it names, so it is refused. Save rewards "
                "with save_reward(net, path) or torch.save(net, path)."
            )
        case other:
            raise ArtifactError(f"{path} is no reward network: its format is {other}.")
    if not isinstance(net, RewardNet):
        raise ArtifactError(f"{path} holds a {type(net).__name__}, not a RewardNet.")
    return net.to(device)


def _cast(net: th.nn.Module, dtypes: Any) -> None:
    """Gives each tensor named its dtype: layers may have others than the network."""
    leaves = net.state_dict(keep_vars=True)
    for name, dtype in dtypes.items() if isinstance(dtypes, dict) else [("dtypes", dtypes)]:
        leaf = leaves.get(name)
        if leaf is None or not (leaf.is_floating_point() and isinstance(dtype, th.dtype) and dtype.is_floating_point):
            raise ArtifactError(
                f"the file gives no floating-point dtype of a tensor of the network: {name!r}: {dtype!r}"
            )
        leaf.data = leaf.data.to(dtype)


def inspect_reward(path: AnyPath) -> RewardFileInfo:
    """Reads what a reward file holds, and builds nothing: no network, no space, no pickle.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if the file is damaged or no reward file.
    """
    path = os.fsdecode(path)
    match artifacts.sniff(path):
        case "zip":
            return describe_torch(path)
        case "native":
            return describe_native(path, kind=KIND, version=VERSION)
        case other:
            raise ArtifactError(f"{path} is no reward network: its format is {other}.")


def _load_torch(path: str, device: th.device | str) -> Any:
    scan_torch(path)
    try:
        net = th.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds; each means that the file is not to be trusted
        raise ArtifactError(
            f"{path} was refused by torch.load(weights_only=True): it names code or classes that reward files do not "
            f"need, or is damaged. Nothing of it was run. A RewardNet class of your own must be imported first. "
            f"{_cause(error)}"
        ) from error
    if isinstance(net, RewardNet):
        try:
            arguments(net)
            spec = describe(net)
        except TypeError:
            return net  # not rebuildable from data: there is nothing to compare with
        check_layout(spec, net.state_dict())
    return net


def _cause(error: Exception) -> str:
    """What torch found; not its advice to open the file regardless."""
    if named := re.search(r"\bGLOBAL (\S+)", str(error)):
        return f"It names {named[1]}."
    advice = ("Weights only load failed", "Check the documentation", "(1)", "(2)")
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith(advice)), type(error).__name__)


def load_reward(reward_type: str, reward_path: AnyPath, venv: VecEnv, **kwargs: Any) -> RewardFn:
    """Loads a reward as a function for `RewardVecEnvWrapper`.

    | type | reward |
    |---|---|
    | `RewardNet_normalized` | `predict_processed` of the whole network, which must be normalized |
    | `RewardNet_unnormalized` | `predict_processed` without the normalization, wherever it is in the chain |
    | `RewardNet_shaped` | `predict` of the network, which must be shaped: raw scale, no `PredictProcessedWrapper` |
    | `RewardNet_unshaped` | the same without the shaping |
    | `RewardNet_std_added` | `predict_processed` of the network, which must have an `AddSTDRewardWrapper` |
    | `zero` | zeros; the path is ignored |

    Where the chain ends in an ensemble and holds no such wrapper itself, the one of each member counts.

    Args:
        reward_type: one of these, or a type of your own in `reward_registry`.
        reward_path: file of `save_reward` or `torch.save`.
        venv: the environments to reward; their spaces must be those of the network.
        **kwargs: for the loader: `update_stats=True` lets running statistics move with the rewards given, by default
            they are frozen; `alpha` for `RewardNet_std_added`.

    Returns:
        `reward_fn(state, action, next_state, done)`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the type is unknown, the network lacks the wrapper asked for, the spaces differ, or as in
            `load_net`.
    """
    return reward_registry.get(reward_type)(reward_path, venv, **kwargs)


def load_zero(path: AnyPath, venv: VecEnv) -> RewardFn:
    """A reward that is 0 everywhere; both arguments are ignored."""
    del path, venv
    return ValidateRewardFn(_zero)


def _zero(state: np.ndarray, action: np.ndarray, next_state: np.ndarray, done: np.ndarray) -> np.ndarray:
    return np.zeros(len(done), dtype=np.float32)


def _load_for(path: AnyPath, venv: VecEnv, needs: type[RewardNet] | None) -> RewardNet:
    path = os.fsdecode(path)
    net = load_net(path)
    for name in ("observation_space", "action_space"):
        theirs, ours = getattr(venv, name), getattr(net, name)
        if not _same_layout(theirs, ours):
            raise ValueError(
                f"The reward network in {path} has the {name} {ours}, the environment has {theirs}: load it for the "
                "kind of environment that it was trained on."
            )
    if needs is not None and not _has(net, needs):
        names = " → ".join(type(link).__name__ for link in wrapper_chain(net))
        raise ValueError(f"The network in {path} has no {needs.__name__}. It has, outermost first: {names}.")
    return net


def _same_layout(a: gym.Space, b: gym.Space) -> bool:
    """Whether elements of both have one meaning to a network; a `Box`'s bounds may differ."""
    if isinstance(a, gym.spaces.Box) and isinstance(b, gym.spaces.Box):
        return a.shape == b.shape and (a.dtype == np.uint8) == (b.dtype == np.uint8)
    if isinstance(a, gym.spaces.Dict) and isinstance(b, gym.spaces.Dict):
        return a.keys() == b.keys() and all(_same_layout(a[key], b[key]) for key in a)
    return a == b


def _has(net: Any, kind: type[RewardNet]) -> bool:
    """Whether the chain has a link of this kind, or every member of the ensemble that ends it."""
    chain: list[Any] = wrapper_chain(net)
    if any(isinstance(link, kind) for link in chain):
        return True
    return isinstance(chain[-1], RewardEnsemble) and all(_has(member, kind) for member in chain[-1].members)


def _strip(net: Any, kind: type[RewardNetWrapper]) -> RewardNet:
    """The network without its wrappers of one kind: those in the chain or, where there are none, in the members."""
    chain: list[Any] = wrapper_chain(net)
    if isinstance(chain[-1], RewardEnsemble) and not any(isinstance(link, kind) for link in chain):
        for i, member in enumerate(chain[-1].members):
            replace_submodule(chain[-1], f"members.{i}", _strip(member, kind))
    while isinstance(net, kind):
        net = net.base
    for link in wrapper_chain(net):
        while isinstance(link, RewardNetWrapper) and isinstance(link.base, kind):
            replace_submodule(link, "_base", link.base.base)
    return net


def _processed(net: RewardNet, **kwargs: Any) -> RewardFn:
    return ValidateRewardFn(lambda *transition: net.predict_processed(*transition, **kwargs))


def _load_normalized(path: AnyPath, venv: VecEnv, *, update_stats: bool = False) -> RewardFn:
    return _processed(_load_for(path, venv, NormalizedRewardNet), update_stats=update_stats)


def _load_unnormalized(path: AnyPath, venv: VecEnv, *, update_stats: bool = False) -> RewardFn:
    return _processed(_strip(_load_for(path, venv, None), NormalizedRewardNet), update_stats=update_stats)


def _load_shaped(path: AnyPath, venv: VecEnv) -> RewardFn:
    return ValidateRewardFn(_load_for(path, venv, ShapedRewardNet).predict)


def _load_unshaped(path: AnyPath, venv: VecEnv) -> RewardFn:
    return ValidateRewardFn(_strip(_load_for(path, venv, None), ShapedRewardNet).predict)


def _load_std_added(path: AnyPath, venv: VecEnv, *, update_stats: bool = False, alpha: float | None = None) -> RewardFn:
    return _processed(_load_for(path, venv, AddSTDRewardWrapper), update_stats=update_stats, alpha=alpha)


for _key, _loader in (
    ("RewardNet_normalized", _load_normalized),
    ("RewardNet_unnormalized", _load_unnormalized),
    ("RewardNet_shaped", _load_shaped),
    ("RewardNet_unshaped", _load_unshaped),
    ("RewardNet_std_added", _load_std_added),
    ("zero", load_zero),
):
    reward_registry.register(_key, value=_loader)
