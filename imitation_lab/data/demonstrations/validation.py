"""Checking demonstrations before anything is trained on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import types
from imitation_lab.data.spaces import Misfit, as_array, conform, misfits, not_finite
from imitation_lab.util import tree

__all__ = ["AnyEnv", "Finding", "Report", "validate", "fit"]

AnyEnv = gym.Env | VecEnv | tuple[spaces.Space, spaces.Space]
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
    env: AnyEnv,
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
        get = episode.get if isinstance(episode, Mapping) else functools.partial(getattr, episode)
        given = ((name, get(name, _MISSING)) for name in ("obs", "acts", "rews", "infos", "terminal"))
        fields = {name: value for name, value in given if value is not _MISSING}
        findings += [Finding(i, *parts) for parts in _check_episode(fields, observation_space, action_space)]
        n = _length(fields.get("acts"))
        if n and fields.get("terminal") is not False:
            lengths[i] = n
            if max_steps is not None and n > max_steps:
                expected = f"at most {max_steps}, the environment's time limit"
                findings.append(Finding(i, "horizon", f"{n} steps", expected, "split the episode at the time limit"))
    if n_episodes == 0:
        fix = "check the file or the rollout they come from"
        findings.append(Finding(None, "demonstrations", "no episodes", "at least one", fix))
    if len(set(lengths.values())) > 1:
        least, most = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        found = f"episodes of {lengths[least]} (episode {least}) to {lengths[most]} steps (episode {most})"
        expected = "one length, since the moment of ending tells a reward learner about the reward"
        fix = (
            "record them in a fixed-horizon environment (imitation_lab.envs), or pass allow_variable_horizon=True to "
            "the algorithm if you accept that"
        )
        findings.append(Finding(None, "horizon", found, expected, fix))
    return Report(findings, n_episodes)


def fit(trajectories: Sequence[types.Trajectory], env: AnyEnv | None) -> Any:
    """Casts trajectories to the spaces of `env` where that loses nothing but float precision; raises on findings.

    Returns:
        A list; without `env` the trajectories as they are.

    Raises:
        ValueError: with the report of `validate`; a variable horizon alone is not raised.
    """
    if env is None:
        return trajectories
    observation_space, action_space, _ = _spaces_and_limit(env)
    fitted = [
        dataclasses.replace(t, obs=conform(t.obs, observation_space), acts=conform(t.acts, action_space))
        for t in trajectories
    ]
    report = validate(fitted, env)
    bad = [f for f in report.findings if not (f.episode is None and f.field == "horizon")]
    Report(bad, report.n_episodes).raise_if_bad()
    return fitted


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


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, ValueError):
        return None


def _check_episode(fields: Mapping[str, Any], observation_space: Any, action_space: Any) -> Iterator[Misfit]:
    for name, space in (("obs", observation_space), ("acts", action_space)):
        if name in fields:
            yield from misfits(name, fields[name], space)
        else:
            yield name, "none", f"an array of {space}", f"give each episode an attribute or key {name!r}"
    n = _length(fields.get("acts"))
    if n is not None:
        yield from _check_lengths(fields, n)
    if "rews" in fields:
        array = as_array(fields["rews"])
        if array.ndim != 1 or array.dtype.kind != "f":
            fix = "give one float per action, by np.asarray(rews, dtype=np.float32).reshape(-1)"
            yield "rews", f"shape {array.shape} of {array.dtype}", "shape (T,) of floats", fix
        else:
            yield from not_finite("rews", array)
    yield from _check_terminal(fields.get("terminal", _MISSING), fields.get("infos"))


def _check_lengths(fields: Mapping[str, Any], n: int) -> Iterator[Misfit]:
    if n == 0:
        yield "acts", "no actions", "at least one", "leave the empty episode out"
    for name, part in tree.named("obs", fields.get("obs")).items():
        found = _length(part)
        if found not in (None, n + 1):
            fix = "append the observation after the last action" if found == n else "cut the episode anew"
            yield name, f"{found} observations for {n} actions", f"{n + 1}, one more than actions", fix
    for name, what, fix in (("rews", "rewards", ""), ("infos", "infos", ", or None")):
        found = _length(fields.get(name))
        if found not in (None, n):
            yield name, f"{found} {what} for {n} actions", f"{n}", f"give one per action{fix}"


def _check_terminal(terminal: Any, infos: Any) -> Iterator[Misfit]:
    if not isinstance(terminal, bool | np.bool_):
        found = "none" if terminal is _MISSING else f"{terminal!r} ({type(terminal).__name__})".replace("\n", " ")
        fix = "set it to True where the last observation ended the episode, to False for a fragment"
        yield "terminal", found, "True or False", fix
        return
    if infos is None:
        return
    ends = [t for t, info in enumerate(infos) if isinstance(info, Mapping) and "terminal_observation" in info]
    if ends and ends[0] < len(infos) - 1:
        found = f"an end of episode in the info of step {ends[0]}"
        yield "terminal", found, f"none before step {len(infos) - 1}", "split the episode after that step"
    elif ends and not terminal:
        yield "terminal", "False, but the last info says that the episode ended", "True", "set terminal=True"
