"""Checking demonstrations before anything is trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import types

_MISSING = object()
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing wrong with demonstrations.

    Attributes:
        episode: its index, or None for all of them together.
        field: such as `obs`, `acts`, `obs/<key>`, `terminal`, `horizon`.
        found: what is there.
        expected: what should be.
        fix: how to mend it.
    """

    episode: int | None
    field: str
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        where = "demonstrations" if self.episode is None else f"episode {self.episode}"
        return f"{where}: {self.field}: found {self.found}, expected {self.expected}; to mend it, {self.fix}."


@dataclasses.dataclass(frozen=True)
class Report:
    """What `validate` found.

    Attributes:
        findings: in the order of the episodes.
        n_episodes: how many episodes were looked at.
    """

    findings: list[Finding]
    n_episodes: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        if self.ok:
            return f"{self.n_episodes} episodes, nothing to mend."
        found, played = len(self.findings), self.n_episodes
        lines = [f"{found} finding{'s' * (found > 1)} in {played} episode{'s' * (played > 1)}:"]
        lines += [f"- {finding}" for finding in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            lines.append(f"- and {len(self.findings) - _SHOWN} more, in .findings")
        return "\n".join(lines)

    def raise_if_bad(self) -> None:
        """Raises a ValueError with the whole report unless it is `ok`."""
        if not self.ok:
            raise ValueError(str(self))


def validate(
    demonstrations: Iterable[Any],
    env: gym.Env | VecEnv | tuple[spaces.Space, spaces.Space],
) -> Report:
    """Checks demonstrations against an environment and reports instead of raising.

    Checked are lengths (one more observation than actions), shapes, dtypes, membership in the spaces, NaN and infinity,
    action bounds, terminal flags and the horizon.

    Args:
        demonstrations: episodes: `Trajectory` objects, or any objects or dictionaries with `obs`, `acts` and perhaps
            `rews`, `infos` and `terminal`.
        env: an environment, a vectorized one, or a pair of observation and action space.

    Raises:
        TypeError: if `env` has no spaces or `demonstrations` is a batch of transitions.
    """
    observation_space, action_space, max_steps = _spaces_and_limit(env)
    if isinstance(demonstrations, types.TransitionsMinimal):
        raise TypeError(
            "demonstrations is a batch of transitions, in which episodes cannot be told apart, expected trajectories: "
            "validate them before flatten_trajectories."
        )
    findings: list[Finding] = []
    lengths: dict[int, int] = {}
    n_episodes = 0
    for i, episode in enumerate(demonstrations):
        n_episodes += 1
        fields = {name: _field(episode, name) for name in ("obs", "acts", "rews", "infos", "terminal")}
        findings += [Finding(i, *parts) for parts in _check_episode(fields, observation_space, action_space)]
        n = _length(fields["acts"])
        if n is not None and n > 0 and fields["terminal"] is not False:
            lengths[i] = n
            if max_steps is not None and n > max_steps:
                expected = f"at most {max_steps}, the environment's time limit"
                findings.append(Finding(i, "horizon", f"{n} steps", expected, "split the episode at the time limit"))
    if n_episodes == 0:
        fix = "check the file or the rollout they come from"
        findings.append(Finding(None, "demonstrations", "no episodes", "at least one", fix))
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        findings.append(
            Finding(
                None,
                "horizon",
                f"episodes of {lengths[shortest]} (episode {shortest}) to {lengths[longest]} steps (episode {longest})",
                "one length, since the moment of ending tells a reward learner about the reward",
                "record them in a fixed-horizon environment (imitation_lab.envs), or pass allow_variable_horizon=True "
                "to the algorithm if you accept that",
            )
        )
    return Report(findings, n_episodes)


Parts = tuple[str, str, str, str]


def _spaces_and_limit(env: Any) -> tuple[spaces.Space, spaces.Space, int | None]:
    if isinstance(env, tuple) and len(env) == 2 and all(isinstance(space, spaces.Space) for space in env):
        return (*env, None)
    try:
        observation_space, action_space = env.observation_space, env.action_space
    except AttributeError:
        raise TypeError(
            f"env is a {type(env).__name__}, expected an environment, a vectorized one, or a tuple "
            "(observation_space, action_space)."
        ) from None
    try:
        spec = env.get_attr("spec", 0)[0] if isinstance(env, VecEnv) else env.spec
    except (AttributeError, NotImplementedError):
        spec = None
    return observation_space, action_space, getattr(spec, "max_episode_steps", None)


def _field(episode: Any, name: str) -> Any:
    return episode.get(name, _MISSING) if isinstance(episode, Mapping) else getattr(episode, name, _MISSING)


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, ValueError):
        return None


def _check_episode(fields: Mapping[str, Any], observation_space: Any, action_space: Any) -> Iterator[Parts]:
    obs, acts = fields["obs"], fields["acts"]
    for name, space in (("obs", observation_space), ("acts", action_space)):
        if fields[name] is _MISSING:
            yield name, "none", f"an array of {space}", f"give each episode an attribute or key {name!r}"
    if obs is not _MISSING:
        yield from _check_values("obs", obs, observation_space)
    if acts is not _MISSING:
        yield from _check_values("acts", acts, action_space)
        yield from _check_lengths(fields, _length(acts))
    rews = fields["rews"]
    if rews is not _MISSING:
        yield from _check_rewards(rews)
    yield from _check_terminal(fields["terminal"], fields["infos"])


def _check_lengths(fields: Mapping[str, Any], n: int | None) -> Iterator[Parts]:
    if n is None:
        return
    if n == 0:
        yield "acts", "no actions", "at least one", "leave the empty episode out"
    obs = fields["obs"]
    parts = obs.items() if isinstance(obs, types.DictObs | Mapping) else [(None, obs)]
    for key, part in parts:
        found = None if part is _MISSING else _length(part)
        if found is not None and found != n + 1:
            fix = "append the observation after the last action" if found == n else "cut the episode anew"
            name = "obs" if key is None else f"obs/{key}"
            yield name, f"{found} observations for {n} actions", f"{n + 1}, one more than actions", fix
    for name, what in (("rews", "rewards"), ("infos", "infos")):
        found = None if fields[name] is _MISSING else _length(fields[name])
        if found is not None and found != n:
            fix = "give one per action" if name == "rews" else "give one per action, or None"
            yield name, f"{found} {what} for {n} actions", f"{n}", fix


def _check_values(name: str, values: Any, space: Any) -> Iterator[Parts]:
    """Shape, dtype and membership of a whole array at once."""
    if isinstance(space, spaces.Dict):
        if isinstance(values, Sequence) and all(isinstance(v, Mapping | types.DictObs) for v in values) and values:
            yield name, "a list of dicts", "a dict of arrays", "build it by types.DictObs.from_obs_list"
        elif not isinstance(values, types.DictObs | Mapping):
            keys = list(space.spaces)
            yield name, f"a {type(values).__name__}", f"a DictObs with the keys {keys}", "keep the dict observations"
        elif set(values.keys()) != set(space.spaces):
            yield name, f"keys {sorted(values.keys())}", f"{sorted(space.spaces)}", "add the missing, drop the others"
        else:
            for key, part in values.items():
                yield from _check_values(f"{name}/{key}", part, space.spaces[key])
        return
    if isinstance(values, types.DictObs | Mapping):
        fix = "flatten it as the environment does, or use the environment it was recorded in"
        yield name, f"a dict with the keys {sorted(values.keys())}", f"an array of {space}", fix
        return
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        fix = "make it one array of numbers, every step of one shape"
        yield name, f"an array of {array.dtype}", f"numbers of dtype {space.dtype}", fix
        return
    if space.shape is None or array.shape[1:] != space.shape or array.ndim == 0:
        expected = f"{('T + 1' if name.startswith('obs') else 'T', *(space.shape or ()))} for {space}".replace("'", "")
        yield name, f"shape {array.shape}", expected, "reshape it, or use the environment it was recorded in"
        return
    if space.dtype is not None and not np.can_cast(array.dtype, space.dtype, "same_kind"):
        yield name, f"dtype {array.dtype}", f"{space.dtype}", f"convert it by .astype(np.{space.dtype})"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = _first(~np.isfinite(array))
        yield name, f"{array[where]} at {_at(where)}", "finite numbers", "drop the episode or find what produced it"
    yield from _check_membership(name, array, space)


def _check_membership(name: str, array: np.ndarray, space: Any) -> Iterator[Parts]:
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        if array.dtype.kind == "f":
            array = array.astype(space.dtype) if space.dtype.kind == "f" else array  # equal up to the space's precision
    elif isinstance(space, spaces.Discrete):
        low, high = np.asarray(space.start), np.asarray(space.start + space.n - 1)
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec - 1
    elif isinstance(space, spaces.MultiBinary):
        low, high = np.zeros(space.shape), np.ones(space.shape)
    else:
        for step, value in enumerate(array):
            if not space.contains(value):
                yield name, f"{value} at step {step}", f"an element of {space}", "record it in this environment"
                return
        return
    outside = (array < low) | (array > high)
    if not outside.any():
        return
    where = _first(outside)
    low, high = (np.broadcast_to(bound, array.shape[1:])[where[1:]] for bound in (low, high))
    fix = "clip the actions" if name == "acts" and isinstance(space, spaces.Box) else "record in this environment"
    found = f"{array[where]} at {_at(where)} ({int(outside.sum())} such values)"
    yield name, found, f"values from {low} to {high}", f"{fix}, or check that numbering and units are the same"


def _check_rewards(rews: Any) -> Iterator[Parts]:
    try:
        array = np.asarray(rews)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.ndim != 1 or array.dtype.kind != "f":
        fix = "give one float per action, by np.asarray(rews, dtype=np.float32).reshape(-1)"
        yield "rews", f"shape {array.shape} of {array.dtype}", "shape (T,) of floats", fix
    elif not np.isfinite(array).all():
        where = _first(~np.isfinite(array))
        yield "rews", f"{array[where]} at {_at(where)}", "finite numbers", "drop the episode or find what produced it"


def _check_terminal(terminal: Any, infos: Any) -> Iterator[Parts]:
    fix = "set it to True where the last observation ended the episode, to False for a fragment"
    if terminal is _MISSING:
        yield "terminal", "none", "True or False", fix
        return
    if not isinstance(terminal, bool | np.bool_):
        yield "terminal", f"{terminal!r} ({type(terminal).__name__})".replace("\n", " "), "True or False", fix
        return
    if infos is _MISSING or infos is None:
        return
    ends = [t for t, info in enumerate(infos) if isinstance(info, Mapping) and "terminal_observation" in info]
    if ends and ends[0] < len(infos) - 1:
        found = f"an end of episode in the info of step {ends[0]}"
        yield "terminal", found, f"none before step {len(infos) - 1}", "split the episode after that step"
    elif ends and not terminal:
        yield "terminal", "False, but the last info says that the episode ended", "True", "set terminal=True"


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _at(where: tuple[int, ...]) -> str:
    return f"step {where[0]}" + (f", index {list(where[1:])}" if where[1:] else "")
