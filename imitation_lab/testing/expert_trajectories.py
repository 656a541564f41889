"""Demonstrations from the bundled experts, generated when needed and cached."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy

from imitation_lab import experts
from imitation_lab.algorithms import base
from imitation_lab.data import rollout, serialize, types
from imitation_lab.data.wrappers import RolloutInfoWrapper
from imitation_lab.policies.serialize import load_policy
from imitation_lab.util import checks, util

__all__ = [
    "EXPERT_DATA_TYPES", "DucktypedBatches", "generate_expert_trajectories", "lazy_generate_expert_trajectories",
    "make_expert_transition_loader",
]  # fmt: skip

EXPERT_DATA_TYPES = ("data_loader", "ducktyped_data_loader", "trajectories", "transitions")


@dataclasses.dataclass(frozen=True)
class DucktypedBatches:
    """A loader that is nothing but iterable, to test that nothing else is asked of one."""

    _batches: Iterable[Mapping[str, Any]]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._batches)


def generate_expert_trajectories(
    env_id: str, num_trajectories: int, rng: np.random.Generator
) -> Sequence[types.TrajectoryWithRew]:
    """Rolls out the expert of an environment, acting deterministically: a bundled one, or the hub's `ppo-<env_id>`.

    Args:
        env_id: id of an environment, or the name of a bundled expert.
        num_trajectories: number of episodes.
        rng: seeds the environments and the rollout.

    Raises:
        ValueError: there is no environment `env_id` (the text lists the bundled experts), or `num_trajectories` is
            less than 1.
        ConnectionError: the hub cannot be reached.
        FileNotFoundError: the hub has no such expert.
    """
    checks.integers(1, num_trajectories=num_trajectories)
    try:
        bundled: BasePolicy | None = experts.load_expert(env_id)
        env_id = experts.card(env_id)["environment"]["id"]
    except ValueError:
        if env_id not in gym.registry:
            raise
        bundled = None
    until = rollout.make_min_episodes(num_trajectories)
    wrappers = [lambda env, _: RolloutInfoWrapper(env)]
    venv = util.make_vec_env(env_id, rng=rng, n_envs=min(8, num_trajectories), post_wrappers=wrappers)
    with contextlib.closing(venv):
        expert = load_policy("ppo-huggingface", venv, env_name=env_id) if bundled is None else bundled
        trajectories = rollout.rollout(expert, venv, until, rng, verbose=False, deterministic_policy=True)
    return trajectories[:num_trajectories]


def lazy_generate_expert_trajectories(
    cache_path: types.AnyPath, env_id: str, num_trajectories: int, rng: np.random.Generator
) -> Sequence[types.TrajectoryWithRew]:
    """Like `generate_expert_trajectories`, but from a file in the native format where an earlier call left one.

    Args:
        cache_path: folder of the cache, made when needed; one file per environment and number of episodes.
        env_id: id of an environment that has a bundled expert, or that expert's name.
        num_trajectories: number of episodes.
        rng: used only where nothing is cached.

    Raises:
        ValueError: as `generate_expert_trajectories`; also if the cached file is damaged or holds another number of
            episodes.
    """
    folder = util.parse_path(cache_path)
    file = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', env_id)}_{num_trajectories}.trajectories"
    if not file.exists():
        serialize.save(file, generate_expert_trajectories(env_id, num_trajectories, rng))
    trajectories = serialize.load_with_rewards(file)
    if len(trajectories) != num_trajectories:
        raise ValueError(
            f"{file} holds {len(trajectories)} trajectories, expected {num_trajectories}: delete it, and it will be "
            "generated anew."
        )
    return trajectories


def make_expert_transition_loader(
    cache_dir: types.AnyPath,
    batch_size: int,
    expert_data_type: str,
    env_name: str,
    rng: np.random.Generator,
    num_trajectories: int = 1,
    shuffle: bool = True,
) -> Iterable[Mapping[str, Any]] | types.Transitions | Sequence[types.TrajectoryWithRew]:
    """Expert transitions in each form that the algorithms accept as demonstrations.

    Args:
        cache_dir: folder of the cache, see `lazy_generate_expert_trajectories`.
        batch_size: transitions in a batch of the loaders.
        expert_data_type: "trajectories" for the episodes; "transitions" for `Transitions` of all of them;
            "data_loader" for a loader of batches; "ducktyped_data_loader" for an object that can only be iterated over.
        env_name: id of an environment that has a bundled expert, or that expert's name.
        rng: seeds the generation, and the loaders' order.
        num_trajectories: number of episodes; as many more as a batch takes.
        shuffle: whether each pass over a loader has an order of its own.

    Raises:
        ValueError: the type is unknown, or as `generate_expert_trajectories`.
    """
    if expert_data_type not in EXPERT_DATA_TYPES:
        raise ValueError(f"Unknown expert_data_type {expert_data_type!r}, expected one of {EXPERT_DATA_TYPES}.")
    checks.integers(1, batch_size=batch_size)
    trajectories = lazy_generate_expert_trajectories(cache_dir, env_name, num_trajectories, rng)
    if expert_data_type == "trajectories":
        return trajectories
    while (transitions := rollout.flatten_trajectories(trajectories)) and len(transitions) < batch_size:
        per_episode = len(transitions) // len(trajectories)
        more = max(-(-batch_size // per_episode), len(trajectories) + 1)
        trajectories = lazy_generate_expert_trajectories(cache_dir, env_name, more, rng)
    if expert_data_type == "transitions":
        return transitions
    generator = th.Generator().manual_seed(int(rng.integers(2**63)))
    loader = base.make_data_loader(transitions, batch_size, {"shuffle": shuffle, "generator": generator})
    return loader if expert_data_type == "data_loader" else DucktypedBatches(loader)
