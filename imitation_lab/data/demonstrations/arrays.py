"""Episodes out of plain arrays and lists, fitted to an environment's spaces."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.data import types
from imitation_lab.data.demonstrations.validation import AnyEnv, fit
from imitation_lab.data.stored import trajectory

__all__ = ["from_arrays", "from_episodes"]

_NAMES = {
    "obs": ("obs", "observations"),
    "acts": ("acts", "actions"),
    "rews": ("rews", "rewards"),
    "infos": ("infos",),
    "terminal": ("terminal",),
}
_ENDS = ("dones", "terminals", "terminations", "timeouts", "truncations")


def from_arrays(
    obs: Any,
    acts: Any,
    *,
    rews: Any = None,
    infos: Sequence[Mapping[str, Any]] | None = None,
    next_obs: Any = None,
    terminals: Any = None,
    timeouts: Any = None,
    lengths: Sequence[int] | np.ndarray | None = None,
    drop_last: bool = False,
    env: AnyEnv | None = None,
) -> list[Any]:
    """Cuts flat arrays, all episodes one after another, into trajectories.

    Episodes are told apart by `lengths`, or end wherever `terminals` or `timeouts` is True; rows after the last end
    are a fragment. The observation after an episode's last action must come from somewhere: from `next_obs`; from `obs`
    itself, with one row more for each episode (then with `lengths`); or `drop_last` does without it.

        trajectories = from_arrays(
            data["observations"], data["actions"], rews=data["rewards"], next_obs=data["next_observations"],
            terminals=data["terminals"], timeouts=data["timeouts"], env=env,
        )

    Args:
        obs: `(n, *obs_shape)`, or `(n + n_episodes, *obs_shape)`; or a dict of such.
        acts: `(n, *act_shape)`.
        rews: `(n,)`, or None.
        infos: n dictionaries, or None.
        next_obs: `(n, *obs_shape)`, the observation after each action.
        terminals: `(n,)` bool, whether the step reached a terminal state.
        timeouts: `(n,)` bool, whether the episode was truncated after the step.
        lengths: the number of actions in each episode; without flags all are taken for whole episodes.
        drop_last: leave out the last action of each episode, which leaves fragments, and with a warning nothing of
            episodes that have a single one.
        env: fit to its spaces, and raise where `validate` finds something, but for a variable horizon.

    Returns:
        `TrajectoryWithRew` objects with rewards, else `Trajectory` objects.

    Raises:
        ValueError: if lengths differ, an episode ends in its middle or rows are missing from it, it is not said where
            episodes end or what the last observation is, nothing is left, or what `validate` finds.
    """
    obs, next_obs = _array("obs", obs), None if next_obs is None else _array("next_obs", next_obs)
    acts = _array("acts", acts)
    n = len(acts)
    fields = {"rews": rews, "next_obs": next_obs, "terminals": terminals, "timeouts": timeouts, "infos": infos}
    for name, value in fields.items():
        if value is not None and len(value) != n:
            raise ValueError(f"{name} has length {len(value)}, expected {n}, the length of acts.")
    flags = [_flags(name, fields[name]) for name in ("terminals", "timeouts") if fields[name] is not None]
    done = np.logical_or.reduce(flags) if flags else None
    ends = _ends(n, done, lengths)
    begins = np.concatenate([[0], ends[:-1]])
    extra = len(obs) - n
    if extra not in (0, len(ends)) or (extra and lengths is None):
        raise ValueError(
            f"obs has length {len(obs)} for {n} actions, expected {n}, or with lengths= {n + len(ends)}: one more for "
            f"each of the {len(ends)} episodes."
        )
    if not extra and next_obs is None and not drop_last:
        raise ValueError(
            "The observation after each episode's last action is missing: give next_obs=, or obs with one row more for "
            "each episode together with lengths=, or drop_last=True to leave the last actions out."
        )
    episodes: list[types.Trajectory] = []
    left_out = []
    for i, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        if done is not None and done[begin : end - 1].any():
            step = int(np.argmax(done[begin:end]))
            raise ValueError(
                f"Episode {i} is marked as ended at step {step}, but goes on to step {end - begin - 1}: cut it there, "
                "or leave out lengths= so that the marks decide."
            )
        terminal = done is None or bool(done[end - 1])
        if extra:
            own = obs[begin + i : end + i + 1]
        elif next_obs is not None:
            _check_chain(i, obs[begin + 1 : end], next_obs[begin : end - 1])
            own = types.concatenate_maybe_dictobs([obs[begin:end], next_obs[end - 1 : end]])
        elif end - begin == 1:
            left_out.append(i)
            continue
        else:
            own, end, terminal = obs[begin:end], end - 1, False
        part = slice(begin, end)
        episodes.append(trajectory(own, acts[part], _part(infos, part), terminal, _part(rews, part)))
    if not episodes:
        raise ValueError(
            f"drop_last leaves nothing: each of the {len(left_out)} episodes has a single action. Give next_obs=, or "
            "say otherwise where episodes end."
        )
    if left_out:
        warnings.warn(
            f"{len(left_out)} of {len(ends)} episodes, the first is episode {left_out[0]}, have a single action, of "
            "which drop_last leaves nothing: they are left out. Check that the ends of episodes are right.",
            stacklevel=2,
        )
    return fit(episodes, env)


def from_episodes(episodes: Iterable[Any], *, terminal: bool = True, env: AnyEnv | None = None) -> list[Any]:
    """Makes trajectories of episodes in whatever form they were recorded.

        trajectories = from_episodes([{"observations": [...], "actions": [...], "rewards": [...]}, ...], env=env)

    Args:
        episodes: dictionaries or objects with `obs` (or `observations`: `T + 1` of them, arrays, or dictionaries for
            dictionary observations), `acts` (or `actions`), and perhaps `rews` (or `rewards`), `infos`, and `terminal`
            or one flag per step under `dones`, `terminals`, `terminations`, `timeouts` or `truncations`; or tuples
            `(obs, acts)` or `(obs, acts, rews)`.
        terminal: for episodes that do not tell themselves whether they are whole.
        env: fit to its spaces, and raise where `validate` finds something, but for a variable horizon.

    Raises:
        TypeError: if an episode is none of these.
        ValueError: naming the episode, if it lacks observations or actions, is ragged or ended in its middle, or what
            `validate` finds.
    """
    made = []
    for i, episode in enumerate(episodes):
        try:
            made.append(_episode(episode, terminal))
        except (TypeError, ValueError) as error:
            raise type(error)(f"Episode {i}: {error}") from None
    if not made:
        raise ValueError("episodes is empty, expected at least one.")
    return fit(made, env)


def _episode(episode: Any, terminal: bool) -> types.Trajectory:
    if isinstance(episode, types.Trajectory):
        return episode
    if isinstance(episode, tuple):
        if len(episode) not in (2, 3):
            raise TypeError(f"a tuple of {len(episode)}, expected (obs, acts) or (obs, acts, rews).")
        episode = dict(zip(("obs", "acts", "rews"), episode, strict=False))
    get = episode.get if isinstance(episode, Mapping) else lambda name: getattr(episode, name, None)
    found = {name: next((get(n) for n in names if get(n) is not None), None) for name, names in _NAMES.items()}
    for name in ("obs", "acts"):
        if found[name] is None:
            has = sorted(episode) if isinstance(episode, Mapping) else f"a {type(episode).__name__}"
            raise ValueError(f"it has no {' or '.join(map(repr, _NAMES[name]))}, only {has}.")
    acts, rews = _array("acts", found["acts"]), found["rews"]
    flags = [_flags(name, get(name)) for name in _ENDS if get(name) is not None]
    if flags:
        done = np.logical_or.reduce(flags)
        if done.shape != (len(acts),):
            raise ValueError(f"its flags of the end have shape {done.shape}, expected ({len(acts)},), one per action.")
        if done[:-1].any():
            raise ValueError(f"it is marked as ended at step {int(np.argmax(done))} of {len(done)}: cut it there.")
        terminal = bool(done[-1])
    if found["terminal"] is not None:
        terminal = bool(found["terminal"])
    return trajectory(_array("obs", found["obs"]), acts, found["infos"], terminal, rews)


def _array(name: str, value: Any) -> Any:
    if isinstance(value, types.DictObs):
        return value
    if isinstance(value, Mapping):
        return types.DictObs({key: _array(f"{name}/{key}", part) for key, part in value.items()})
    if isinstance(value, Sequence) and len(value) and isinstance(value[0], Mapping):
        return types.DictObs.from_obs_list(value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is ragged: its rows differ in shape, expected one shape for all steps.") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}, expected numbers or booleans.")
    return array


def _flags(name: str, value: Any) -> np.ndarray:
    flags = np.asarray(value)
    if flags.ndim != 1 or not (flags.dtype == bool or (flags.dtype.kind in "iuf" and np.isin(flags, (0, 1)).all())):
        raise ValueError(f"{name} has shape {flags.shape} of {flags.dtype}, expected one True or False per step.")
    return flags.astype(bool)


def _ends(n: int, done: np.ndarray | None, lengths: Any) -> np.ndarray:
    """Index after the last action of each episode."""
    if n == 0:
        raise ValueError("acts is empty, expected at least one action.")
    if lengths is None:
        if done is None:
            raise ValueError("It is not said where episodes end: give lengths=, terminals= or timeouts=.")
        ends = np.flatnonzero(done) + 1
        return ends if len(ends) and ends[-1] == n else np.append(ends, n)
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise ValueError(f"lengths is {lengths!r}, expected whole numbers of at least 1, one per episode.")
    if lengths.sum() != n:
        raise ValueError(f"lengths add up to {lengths.sum()}, but there are {n} actions.")
    return np.cumsum(lengths)


def _check_chain(episode: int, obs: Any, before: Any) -> None:
    """Within an episode the observation after an action is the one before the next."""
    pairs = [(obs[k], before[k]) for k in list(obs.keys())] if isinstance(obs, types.DictObs) else [(obs, before)]
    for own, other in pairs:
        unequal = (own != other) & ~((own != own) & (other != other))  # NaN follows NaN
        if unequal.any():
            step = int(np.argmax(unequal.reshape(len(own), -1).any(axis=1)))
            raise ValueError(
                f"Episode {episode}: next_obs of step {step} is not obs of step {step + 1}: rows are missing there, or "
                "an episode ends there without a mark. Cut the episode, or mark the end in timeouts=."
            )


def _part(value: Any, part: slice) -> Any:
    return None if value is None else value[part]
