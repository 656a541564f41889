"""An expert's occupancy of states, from whatever it was recorded in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th

from imitation_lab.algorithms._shared.demonstrations import TensorSpec, all_tensors, sort_out
from imitation_lab.data import types
from imitation_lab.envs.tabular import TabularModel
from imitation_lab.util import util

__all__ = ["occupancy"]


def occupancy(
    demonstrations: Any, model: TabularModel, weights: np.ndarray, *, over_actions: bool
) -> tuple[np.ndarray, bool]:
    """Expected discounted visits in an episode.

    Args:
        demonstrations: see `MCEIRL`.
        model: S states, A actions, horizon T.
        weights: `(T + 1,)`, γᵗ.
        over_actions: whether to count pairs of state and action.

    Returns:
        The visits `(S,)` or `(S, A)`, and whether they count the last state, which no action follows.

    Raises:
        TypeError: if `demonstrations` is of no known kind.
        ValueError: if it is empty, or does not fit the environment.
    """
    if isinstance(demonstrations, np.ndarray | th.Tensor):
        return _from_array(np.asarray(demonstrations, dtype=np.float64), model, weights, over_actions)
    kind, demonstrations = sort_out(
        demonstrations, "trajectories, transitions, batches of transitions, or an occupancy array (S,)"
    )
    states, actions, steps = _read(kind, demonstrations, model, discounted=not (weights == 1).all())
    if len(states) == 0:
        raise ValueError("demonstrations holds no transition: at least one is needed.")
    index, size = states, model.state_dim
    if over_actions:
        if actions is None:
            raise ValueError("The reward depends on the action, but the batches of the demonstrations hold no acts.")
        actions = _integers("acts", actions, model.action_dim)
        index, size = states * model.action_dim + actions, size * model.action_dim
    visits = np.bincount(index, None if steps is None else weights[steps], size).astype(np.float64)
    visits *= weights[:-1].sum() / visits.sum()
    return (visits.reshape(model.state_dim, -1) if over_actions else visits), False


def _from_array(
    array: np.ndarray, model: TabularModel, weights: np.ndarray, over_actions: bool
) -> tuple[np.ndarray, bool]:
    n_states, pairs = model.state_dim, (model.state_dim, model.action_dim)
    if array.shape != pairs and (over_actions or array.shape != (n_states,)):
        expected = f"{pairs}, as the reward depends on the action" if over_actions else f"({n_states},)"
        raise ValueError(f"The occupancy has shape {array.shape}, expected {expected}.")
    if not (array >= 0).all():
        raise ValueError("The occupancy holds negative values or NaN, expected numbers of visits.")
    without, with_last = float(weights[:-1].sum()), float(weights.sum())
    total = float(array.sum())
    last_counts = array.ndim == 1 and abs(total - with_last) < abs(total - without)
    nearest = with_last if last_counts else without
    if abs(total - nearest) > 1e-3 * nearest:
        raise ValueError(
            f"The occupancy sums to {total:.6g}, expected {with_last:.6g}, the discounted number of states in an "
            f"episode of {model.horizon} steps as mce_occupancy_measures counts them, or {without:.6g} without the "
            "last state. Multiply a normalised one by that, and use the same discount."
        )
    return (array if over_actions or array.ndim == 1 else array.sum(axis=1)), last_counts


def _read(
    kind: str, demonstrations: Any, model: TabularModel, *, discounted: bool
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """States `(n,)`, actions `(n, …)` where there are any, and where they matter time steps `(n,)`."""
    if kind == "batches":
        if discounted:
            raise ValueError(
                "Batches of transitions do not tell the time step, which a discount needs: pass trajectories, or "
                "discount=1."
            )
        demonstrations = list(demonstrations)
    for i, part in enumerate(() if kind == "transitions" else demonstrations):
        if kind == "batches" and not (isinstance(part, Mapping) and "obs" in part):
            raise TypeError(f"Demonstration {i} is a {type(part).__name__}, expected a mapping with obs.")
        if kind == "trajectories" and not isinstance(part, types.Trajectory):
            raise TypeError(f"Demonstration {i} is a {type(part).__name__}, the first was a Trajectory.")
        if kind == "trajectories" and len(part) != model.horizon:
            raise ValueError(
                f"Trajectory {i} has {len(part)} steps, but the environment's horizon is {model.horizon}: record whole "
                "episodes in the tabular environment, whose episodes all have that length."
            )
    found = all_tensors(demonstrations, TensorSpec(("obs",)), ("acts", "next_obs", "dones")).fields
    fields = {name: types.map_maybe_dict(util.safe_to_numpy, value) for name, value in found.items()}
    states = _states(fields["obs"], model)
    return states, fields.get("acts"), _steps_of(fields, states, model) if discounted else None


def _steps_of(fields: Mapping[str, Any], states: np.ndarray, model: TabularModel) -> np.ndarray:
    """The time steps of whole episodes in order."""
    steps = np.arange(len(states)) % model.horizon
    whole = {"dones", "next_obs"} <= fields.keys() and len(states) % model.horizon == 0
    if whole:
        ends = steps == model.horizon - 1
        # A flag may be missing at the end of an episode that was cut off, but never be there before.
        following = _states(fields["next_obs"], model)
        whole = not np.any(fields["dones"] & ~ends) and not np.any((following[:-1] != states[1:]) & ~ends[:-1])
    if not whole:
        raise ValueError(
            f"The transitions are not whole episodes of {model.horizon} steps in order, so that their time steps, "
            "which a discount needs, are unknown: pass trajectories, or discount=1."
        )
    return steps


def _states(observations: Any, model: TabularModel) -> np.ndarray:
    """States by number, from numbers or from rows of the observation matrix."""
    observations = np.asarray(observations)
    table = model.observation_matrix
    if (
        observations.ndim == 1
        or table is None
        or (observations.shape[1:] == (1,) and table.shape[1:] != (1,) and observations.dtype.kind in "iu")
    ):
        return _integers("obs", observations.reshape(len(observations), -1), model.state_dim)
    if observations.shape[1:] != table.shape[1:]:
        raise ValueError(
            f"obs has shape {observations.shape}, expected states, integers (n,), or observations "
            f"(n, {', '.join(map(str, table.shape[1:]))})."
        )
    rows = table.reshape(len(table), -1).astype(np.float64)
    given = observations.reshape(len(observations), -1).astype(table.dtype).astype(np.float64)
    labels = np.unique(np.concatenate([rows, given]), axis=0, return_inverse=True)[1].reshape(-1)
    state_of = np.full(labels.max() + 1, -1)
    state_of[labels[: len(rows)]] = np.arange(len(rows))
    distinct = int((state_of >= 0).sum())
    if distinct < len(rows):
        raise ValueError(
            f"The {len(rows)} states have only {distinct} different observations, so that states cannot be told from "
            "them: record states, with imitation_lab.envs.tabular.StateObservation around the environment."
        )
    states = state_of[labels[len(rows) :]]
    if (states < 0).any():
        raise ValueError("obs holds observations that are no row of the environment's observation_matrix.")
    return states


def _integers(name: str, values: np.ndarray, n: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}, expected integers (n,).")
    whole = values.astype(np.int64)
    if np.any(whole != values) or np.any(whole < 0) or np.any(whole >= n):
        raise ValueError(f"{name} holds {values.min()} to {values.max()}, expected integers from 0 to {n - 1}.")
    return whole
