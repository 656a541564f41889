"""Rolling out policies: from a policy and a vectorized environment to trajectories and transitions."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from tqdm.auto import tqdm

from imitation_lab.data import types
from imitation_lab.data.acting import AnyPolicy, PolicyCallable, policy_to_callable
from imitation_lab.data.recorder import StepRecorder, as_vec_env, check_observation, last_observation
from imitation_lab.data.stored import StoredTrajectories, joined_infos
from imitation_lab.util import tree

__all__ = [
    "rollout", "generate_trajectories", "generate_transitions", "unwrap_traj", "TrajectoryAccumulator",
    "GenTrajTerminationFn", "make_min_episodes", "make_min_timesteps", "make_sample_until",
    "AnyPolicy", "PolicyCallable", "policy_to_callable", "rollout_stats",
    "flatten_trajectories", "flatten_trajectories_with_rew", "flatten_fields", "discounted_sum",
]  # fmt: skip

_FIELDS = ("obs", "acts", "infos", "next_obs", "dones")

GenTrajTerminationFn = Callable[[Sequence[types.TrajectoryWithRew]], bool]

_MISSING_ROLLOUT = (
    "The last info of an episode has no 'rollout' entry, so its unwrapped observations and rewards are unknown: wrap "
    "each environment in imitation_lab.data.wrappers.RolloutInfoWrapper, e.g. make_vec_env(..., "
    "post_wrappers=[lambda env, _: RolloutInfoWrapper(env)]), or pass unwrap=False."
)


def unwrap_traj(traj: types.TrajectoryWithRew) -> types.TrajectoryWithRew:
    """The trajectory with the observations and rewards from below all wrappers, as `RolloutInfoWrapper` kept them.

    Raises:
        ValueError: if the trajectory's last info has none.
    """
    if not traj.infos or "rollout" not in traj.infos[-1]:
        raise ValueError(_MISSING_ROLLOUT)
    original = traj.infos[-1]["rollout"]
    return dataclasses.replace(traj, obs=original["obs"], rews=original["rews"])


class TrajectoryAccumulator:
    """Builds trajectories out of single steps, for several running episodes at once, told apart by a key.

    `generate_trajectories` has a faster way of its own; this one serves loops written by hand.
    """

    def __init__(self) -> None:
        self.partial_trajectories: dict[Hashable, list[Mapping[str, Any]]] = collections.defaultdict(list)

    def add_step(self, step_dict: Mapping[str, Any], key: Hashable = None) -> None:
        """Adds a step to the episode `key`.

        Args:
            step_dict: the first one of an episode holds `obs` alone; each later one `acts`, the `obs` and `rews` that
                followed, and `infos`.
            key: names the episode.
        """
        self.partial_trajectories[key].append(step_dict)

    def finish_trajectory(self, key: Hashable, terminal: bool) -> types.TrajectoryWithRew:
        """Ends the episode `key` and returns it; the next step under that key begins a new one."""
        first, *steps = self.partial_trajectories.pop(key)
        obs = [types.maybe_wrap_in_dictobs(step["obs"]) for step in (first, *steps)]
        return types.TrajectoryWithRew(
            obs=types.stack_maybe_dictobs(obs),
            acts=np.stack([step["acts"] for step in steps]) if steps else np.empty(0),
            infos=[step["infos"] for step in steps],
            terminal=terminal,
            rews=np.stack([step["rews"] for step in steps]).astype(np.float32, copy=False) if steps else np.empty(0),
        )

    def add_steps_and_auto_finish(
        self,
        acts: np.ndarray,
        obs: Any,
        rews: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
    ) -> list[types.TrajectoryWithRew]:
        """Adds a vectorized step, each environment's under its index as key, and returns the episodes it ended.

        The first observation of each environment must have been added by `add_step` before.
        """
        wrapped = types.maybe_wrap_in_dictobs(obs)
        finished = []
        for env, done in enumerate(dones):
            following = last_observation(env, infos) if done else wrapped[env]
            self.add_step({"acts": acts[env], "rews": rews[env], "obs": following, "infos": infos[env]}, env)
            if done:
                finished.append(self.finish_trajectory(env, terminal=True))
                self.add_step({"obs": wrapped[env]}, env)
        return finished


class _Timesteps:
    """Counts the timesteps in a growing list of trajectories, looking at each trajectory once."""

    def __init__(self) -> None:
        self._count = self._total = 0
        self._last: types.Trajectory | None = None

    def __call__(self, trajectories: Sequence[types.Trajectory]) -> int:
        grew = 0 < self._count <= len(trajectories) and trajectories[self._count - 1] is self._last
        if not grew:
            self._count = self._total = 0
        self._total += sum(map(len, trajectories[self._count :]))
        self._count, self._last = len(trajectories), trajectories[-1] if trajectories else None
        return self._total


def make_min_episodes(n: int) -> GenTrajTerminationFn:
    """A condition that ends sampling after at least `n` episodes."""
    return _at_least("n", n, len)


def make_min_timesteps(n: int) -> GenTrajTerminationFn:
    """A condition that ends sampling after at least `n` timesteps in finished episodes."""
    return _at_least("n", n, _Timesteps())


def make_sample_until(min_timesteps: int | None = None, min_episodes: int | None = None) -> GenTrajTerminationFn:
    """A condition that ends sampling once every given minimum is reached.

    Raises:
        ValueError: if both are None, or one is below 1.
    """
    if min_timesteps is None and min_episodes is None:
        raise ValueError("Got neither min_timesteps nor min_episodes, expected at least one: sampling would not end.")
    conditions = [
        _at_least(name, n, count)
        for name, n, count in (("min_timesteps", min_timesteps, _Timesteps()), ("min_episodes", min_episodes, len))
        if n is not None
    ]
    return lambda trajectories: all(condition(trajectories) for condition in conditions)


def _at_least(name: str, n: int, count: Callable[[Sequence[Any]], int]) -> GenTrajTerminationFn:
    if not n >= 1:
        raise ValueError(f"{name} is {n}, expected at least 1.")
    return lambda trajectories: count(trajectories) >= n


def generate_trajectories(
    policy: AnyPolicy,
    venv: VecEnv | gym.Env,
    sample_until: GenTrajTerminationFn,
    rng: np.random.Generator,
    *,
    deterministic_policy: bool = False,
    progress_bar: bool = False,
) -> Sequence[types.TrajectoryWithRew]:
    """Rolls out whole episodes.

    Once `sample_until` holds, the episodes still running are finished and kept, but no new ones begin: stopping at once
    would leave out long episodes more often than short ones.

    Args:
        policy: see `policy_to_callable`; None acts at random.
        venv: the vectorized environment, or a single one. It is reset first.
        sample_until: called with all finished episodes whenever one has finished.
        rng: draws random actions and shuffles the result.
        deterministic_policy: whether an SB3 policy takes its most likely action instead of sampling.
        progress_bar: whether to show the number of timesteps in finished episodes.

    Returns:
        The episodes in random order (in the order of finishing short ones would come first), all with
        `terminal=True`, observations and actions in the environment's dtypes.

    Raises:
        ValueError: if the policy's spaces are not the environment's, or its actions do not fit the environments.
        TypeError: if the policy is nothing that acts, or the environment of another kind.
    """
    venv = as_vec_env(venv)
    act = policy_to_callable(policy, venv, deterministic_policy, rng=rng)
    trajectories: list[types.TrajectoryWithRew] = []
    recorder = StepRecorder(venv.num_envs)
    active = np.ones(venv.num_envs, dtype=bool)
    obs = venv.reset()
    check_observation(obs)
    state = None
    starts = np.ones(venv.num_envs, dtype=bool)
    with tqdm(desc="rollout", unit="step", disable=not progress_bar) as bar:
        while active.any():
            acts, state = act(obs, state, starts)
            next_obs, rews, starts, infos = venv.step(acts)
            recorder.add(obs, acts, rews, infos)
            if starts.any():
                ended = np.flatnonzero(starts & active).tolist()
                for env in ended:
                    trajectories.append(recorder.cut(env, last_observation(env, infos), terminal=True))
                    bar.update(len(trajectories[-1]))
                if sample_until(trajectories):
                    recorder.stop(ended)
                    active &= ~starts
            obs = next_obs
    return [trajectories[i] for i in rng.permutation(len(trajectories))]


def rollout_stats(trajectories: Sequence[types.TrajectoryWithRew]) -> Mapping[str, float]:
    """Statistics of undiscounted returns and lengths.

    Returns:
        `n_traj`, `return_{min,mean,std,max}`, `len_{min,mean,std,max}`; and where a `Monitor` wrapper left its record
        in the infos, `monitor_return_{min,mean,std,max}` of the rewards below the wrappers above it, with their number
        `monitor_return_len`.

    Raises:
        ValueError: if there are no trajectories.
    """
    if len(trajectories) == 0:
        raise ValueError("Got no trajectories, expected at least one to take statistics of.")
    stats: dict[str, float] = {"n_traj": len(trajectories)}
    values = {
        "return": [float(np.sum(t.rews, dtype=np.float64)) for t in trajectories],
        "len": [len(t) for t in trajectories],
    }
    last_infos = [t.infos[-1] for t in trajectories if t.infos is not None]
    monitored = [info["episode"]["r"] for info in last_infos if "episode" in info]
    if monitored:
        values["monitor_return"] = monitored
        stats["monitor_return_len"] = len(monitored)
    for name, numbers in values.items():
        for statistic in ("min", "mean", "std", "max"):
            stats[f"{name}_{statistic}"] = getattr(np, statistic)(numbers).item()
    return stats


def flatten_trajectories(trajectories: Iterable[types.Trajectory]) -> types.Transitions:
    """All trajectories' steps as one batch of transitions, in order: one allocation and copy per field.

    `dones` is True at the last step of a `terminal` trajectory and False elsewhere.

    Raises:
        ValueError: if there are no trajectories, or their observations or actions differ in shape.
    """
    return types.Transitions(**flatten_fields(trajectories, _FIELDS))


def flatten_trajectories_with_rew(trajectories: Iterable[types.TrajectoryWithRew]) -> types.TransitionsWithRew:
    """Like `flatten_trajectories`, with rewards.

    Raises:
        ValueError: if a trajectory has no rewards.
    """
    return types.TransitionsWithRew(**flatten_fields(trajectories, (*_FIELDS, "rews")))


def flatten_fields(trajectories: Iterable[types.Trajectory], fields: Iterable[str]) -> dict[str, Any]:
    """Like `flatten_trajectories`, for some fields of the transitions alone.

    Args:
        trajectories: the episodes.
        fields: names among obs, acts, infos, next_obs, dones, rews.

    Returns:
        Field to array `(ΣT, *shape)`, or `DictObs` of such.

    Raises:
        ValueError: as `flatten_trajectories`; or if rewards are wanted and a trajectory has none.
    """
    if isinstance(trajectories, StoredTrajectories) and trajectories.whole:  # they lie flat in the file
        return {name: trajectories.field(name) for name in fields}
    episodes = list(trajectories)
    if not episodes:
        raise ValueError("Got no trajectories, expected at least one.")
    return {name: _field(episodes, name) for name in fields}


def _field(trajectories: Sequence[Any], name: str) -> Any:
    """One field of all transitions."""
    if name in ("obs", "next_obs"):
        rows = slice(-1) if name == "obs" else slice(1, None)
        return _join("obs", [t.obs[rows] for t in trajectories])
    if name == "acts":
        return _join("acts", [t.acts for t in trajectories])
    if name == "rews":
        for i, t in enumerate(trajectories):
            if not isinstance(t, types.TrajectoryWithRew):
                raise ValueError(
                    f"Trajectory {i} is a {type(t).__name__} without rewards, expected TrajectoryWithRew: use "
                    "flatten_trajectories where rewards are not needed."
                )
        return np.concatenate([t.rews for t in trajectories])
    lengths = np.fromiter(map(len, trajectories), np.int64, len(trajectories))
    if name == "infos":
        return joined_infos([t.infos for t in trajectories], lengths)
    dones = np.zeros(lengths.sum(), dtype=bool)
    dones[np.cumsum(lengths) - 1] = [t.terminal for t in trajectories]
    return dones


def _join(name: str, parts: Sequence[Any]) -> Any:
    """Concatenates one field of all trajectories; an error names the first that does not fit."""
    try:
        return types.concatenate_maybe_dictobs(parts)
    except ValueError as error:
        shapes = [tree.map(lambda array: array.shape[1:], types.maybe_unwrap_dictobs(part)) for part in parts]
        for i, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ValueError(
                    f"Trajectory {i} has {name} of shape {shape} per step, expected {shapes[0]} like the first."
                ) from error
        raise


def generate_transitions(
    policy: AnyPolicy,
    venv: VecEnv | gym.Env,
    n_timesteps: int,
    rng: np.random.Generator,
    *,
    truncate: bool = True,
    **kwargs: Any,
) -> types.TransitionsWithRew:
    """Rolls out episodes of at least `n_timesteps` in all and flattens them.

    Args:
        policy: see `policy_to_callable`.
        venv: the vectorized environment.
        n_timesteps: the number of transitions wanted.
        rng: see `generate_trajectories`.
        truncate: whether to drop what exceeds `n_timesteps`.
        **kwargs: passed to `generate_trajectories`.
    """
    trajectories = generate_trajectories(policy, venv, make_min_timesteps(n_timesteps), rng, **kwargs)
    transitions = flatten_trajectories_with_rew(trajectories)
    return transitions[:n_timesteps] if truncate else transitions


def rollout(
    policy: AnyPolicy,
    venv: VecEnv | gym.Env,
    sample_until: GenTrajTerminationFn,
    rng: np.random.Generator,
    *,
    unwrap: bool = True,
    exclude_infos: bool = True,
    verbose: bool = True,
    **kwargs: Any,
) -> Sequence[types.TrajectoryWithRew]:
    """Rolls out episodes for keeping, such as demonstrations.

    Args:
        policy: see `policy_to_callable`.
        venv: the vectorized environment, or a single one.
        sample_until: see `generate_trajectories`.
        rng: see `generate_trajectories`.
        unwrap: whether to return the observations and rewards from below all wrappers; each environment of a
            vectorized one must then be wrapped in `RolloutInfoWrapper`.
        exclude_infos: whether to drop the infos, which take most of the space.
        verbose: whether to log the statistics of the returned trajectories.
        **kwargs: passed to `generate_trajectories`.

    Raises:
        ValueError: after the first episode, if `unwrap` and there is no `RolloutInfoWrapper`.
    """

    def until(trajectories: Sequence[types.TrajectoryWithRew]) -> bool:
        if unwrap:
            unwrap_traj(trajectories[-1])  # complain now, not after hours of sampling
        return sample_until(trajectories)

    trajectories = generate_trajectories(policy, as_vec_env(venv, record=unwrap), until, rng, **kwargs)
    if verbose:
        logging.getLogger(__name__).info("Rollout stats: %s", rollout_stats(trajectories))
    if unwrap:
        trajectories = [unwrap_traj(t) for t in trajectories]
    if exclude_infos:
        trajectories = [dataclasses.replace(t, infos=None) for t in trajectories]
    return trajectories


def discounted_sum(arr: np.ndarray, gamma: float) -> np.ndarray | float:
    """The discounted sum over time, `Σ_t gamma^t arr[t]`.

    Args:
        arr: `(T,)` or `(T, n)`.
        gamma: the discount factor in [0, 1].

    Returns:
        A number, or an array `(n,)`.
    """
    if arr.ndim not in (1, 2):
        raise ValueError(f"arr has shape {arr.shape}, expected (T,) or (T, n).")
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}, expected a discount factor between 0 and 1.")
    if gamma == 1.0:
        return arr.sum(axis=0)
    return np.power(gamma, np.arange(len(arr))) @ arr
