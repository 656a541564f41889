"""A reward over two state dimensions: the data behind the heatmap, and the heatmap."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from imitation_lab.data.spaces import ARRAYS
from imitation_lab.data.spaces import bounds as space_bounds
from imitation_lab.util import correlation
from imitation_lab.viz import style
from imitation_lab.viz.dimensions import Dimensions

__all__ = ["pearson", "as_reward_fn", "RewardSlice", "reward_heatmap"]

Key = int | str
Bounds = Mapping[Any, tuple[float, float]] | Sequence[tuple[float, float]]
UNBOUNDED = 1e6  # Gymnasium writes "no bound" also as the largest float


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """`util.correlation.pearson` over the entries finite in both; not a number where fewer than two are left."""
    a, b = np.ravel(first), np.ravel(second)
    finite = np.isfinite(a) & np.isfinite(b)
    return correlation.pearson(a[finite], b[finite]) if np.count_nonzero(finite) > 1 else float("nan")


def as_reward_fn(reward: Any) -> Callable[..., Any]:
    """Return ``reward`` itself, or a reward network's ``predict_processed`` with its statistics left alone."""
    if hasattr(reward, "predict_processed"):
        return partial(reward.predict_processed, update_stats=False)
    if not callable(reward):
        raise TypeError(
            f"a reward must be a function (state, action, next_state, done) -> (batch,) or a RewardNet; "
            f"got {type(reward).__name__}."
        )
    return reward


class RewardSlice:
    """A reward function on a grid over two dimensions of the state, all else fixed.

    Args:
        reward_fn: a reward network or a function of ``state (batch, dims)``, ``action (batch, *action_shape)``,
            ``next_state (batch, dims)`` and ``done (batch,)`` that returns rewards ``(batch,)``.
        observation_space: a ``Box`` of one axis with at least two dimensions.
        action_space: ``Discrete``, ``Box``, ``MultiDiscrete`` or ``MultiBinary``.
        x_dim: number or name of the horizontal dimension.
        y_dim: number or name of the vertical dimension.
        true_reward: the reward to compare with, of the same kind as ``reward_fn``.
        bounds: ``(low, high)`` of dimensions, by number or name; needed where the space has none.
        from_data: transitions, trajectories or an array ``(n, dims)``: their range serves as bounds, their mean as the
            starting point, and their states are drawn as dots.
        dim_names: name of every state dimension.
        units: unit of every state dimension.
        action_names: name of every discrete action, or of every action component.
        resolution: grid points per axis.
        transition_fn: ``(state, action) -> next_state`` in batches; without it the next state is the state.

    Attributes:
        fixed: the state ``(dims,)`` that supplies the other dimensions.
        action: the action: a number for ``Discrete`` (or "mean" or "max" over all actions), else an array.

    Raises:
        TypeError: a space or reward that cannot be drawn.
        ValueError: missing bounds, unknown dimension, or a reward that returns the wrong shape.
    """

    def __init__(
        self,
        reward_fn: Any,
        observation_space: gym.Space,
        action_space: gym.Space,
        x_dim: Key = 0,
        y_dim: Key = 1,
        *,
        true_reward: Any = None,
        bounds: Bounds | None = None,
        from_data: Any = None,
        dim_names: Sequence[str] | None = None,
        units: Sequence[str | None] | None = None,
        action_names: Sequence[str] | None = None,
        resolution: int = 41,
        transition_fn: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        space = observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise TypeError(
                f"a heatmap needs states that are vectors, a Box of shape (dims,); got {space}. "
                "Wrap the reward in a function of such a vector."
            )
        if space.shape[0] < 2:
            raise ValueError("a heatmap needs at least two state dimensions; this space has one: plot a curve instead.")
        if resolution < 2:
            raise ValueError(f"resolution must be at least 2 grid points per axis; got {resolution}.")
        self.reward_fn = as_reward_fn(reward_fn)
        self.true_reward = None if true_reward is None else as_reward_fn(true_reward)
        self.observation_space, self.action_space, self.n_dims = space, action_space, space.shape[0]
        self.dims = Dimensions(self.n_dims, dim_names, units)
        self.names, self.units = self.dims.names, self.dims.units
        self.resolution = int(resolution)
        self.transition_fn = transition_fn
        self.data = None if from_data is None else _states_of(from_data, self.n_dims)
        self.low, self.high = self._bounds(bounds, space)
        centre = (self.low + self.high) / 2 if self.data is None else self.data.mean(axis=0)
        self.fixed: np.ndarray = np.clip(centre, self.low, self.high)
        self.x_dim, self.y_dim = self.index(x_dim), self.index(y_dim)
        if self.x_dim == self.y_dim:
            raise ValueError(f"x_dim and y_dim are both {self.names[self.x_dim]!r}: choose two different dimensions.")
        self.action_names = self._action_names(action_names)
        least, most = space_bounds(action_space)
        self.action: Any = np.clip(np.zeros(action_space.shape or ()), least, most).astype(action_space.dtype)
        if isinstance(action_space, spaces.Discrete):
            self.action = int(action_space.start)

    def index(self, dim: Key) -> int:
        """Return the number of a dimension given by number or name."""
        return self.dims.index(dim)

    def _bounds(self, bounds: Bounds | None, space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
        low, high = space.low.astype(float), space.high.astype(float)
        if self.data is not None:
            low, high = self.data.min(axis=0).astype(float), self.data.max(axis=0).astype(float)
            margin = np.where(high > low, 0.05 * (high - low), 0.5)
            low, high = low - margin, high + margin
        items = bounds.items() if isinstance(bounds, Mapping) else enumerate(bounds or ())
        for dim, (lower, upper) in items:
            if not (np.isfinite(lower) and np.isfinite(upper) and lower < upper):
                raise ValueError(f"bounds of {dim!r} must be finite with low < high; got ({lower}, {upper}).")
            low[self.index(dim)], high[self.index(dim)] = lower, upper
        for i in range(self.n_dims):
            if not (abs(low[i]) < UNBOUNDED and abs(high[i]) < UNBOUNDED):
                raise ValueError(
                    f"state dimension {i} ({self.names[i]!r}) has no finite bounds, the space says "
                    f"({low[i]:g}, {high[i]:g}): pass bounds={{{i}: (low, high)}}, or from_data=transitions to take "
                    "them from data."
                )
        return low, high

    def _action_names(self, names: Sequence[str] | None) -> list[str]:
        space = self.action_space
        if not isinstance(space, ARRAYS):
            raise TypeError(f"cannot draw actions of {space}: expected Discrete, Box, MultiDiscrete or MultiBinary.")
        n, word = int(np.prod(space.shape or ())), "action component"
        if isinstance(space, spaces.Discrete):
            n, word = int(space.n), "action"
        if names is None:
            return [word] if n == 1 else [f"{word} {i}" for i in range(n)]
        if len(names) != n:
            raise ValueError(f"action_names has {len(names)} entries, the action space needs {n}.")
        return list(names)

    def moved(self, value: Any, dim: int | None = None) -> "RewardSlice":
        """Return a copy with another action, or another value of dimension number ``dim``."""
        other = copy.copy(self)
        if dim is None:
            other.action = value
        else:
            other.fixed = np.where(np.arange(self.n_dims) == dim, value, self.fixed)
        return other

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid points along x and y, ``(resolution,)`` each."""
        xs, ys = (np.linspace(self.low[i], self.high[i], self.resolution) for i in (self.x_dim, self.y_dim))
        return xs, ys

    @property
    def points(self) -> np.ndarray | None:
        """States of ``from_data`` in the two dimensions shown, ``(n, 2)``, or None."""
        return None if self.data is None else self.data[:, [self.x_dim, self.y_dim]]

    def states(self) -> np.ndarray:
        """Return the grid's states, ``(resolution², dims)``, y varying slowest."""
        xs, ys = self.axes
        grid = np.tile(self.fixed, (self.resolution**2, 1))
        grid[:, self.x_dim] = np.tile(xs, self.resolution)
        grid[:, self.y_dim] = np.repeat(ys, self.resolution)
        return grid.astype(self.observation_space.dtype)

    def values(self, reward: Any = None) -> np.ndarray:
        """Return the rewards on the grid, ``(resolution, resolution)`` as [y, x], in one batched call.

        Args:
            reward: another reward function; ``reward_fn`` by default.
        """
        function = self.reward_fn if reward is None else as_reward_fn(reward)
        states, space = self.states(), self.action_space
        pooled = isinstance(self.action, str)
        if pooled:
            if self.action not in ("mean", "max") or not isinstance(space, spaces.Discrete):
                raise ValueError(f"action must be an action, or 'mean' or 'max' for Discrete; got {self.action!r}.")
            actions = np.repeat(np.arange(space.start, space.start + space.n), len(states)).astype(space.dtype)
            states = np.tile(states, (int(space.n), 1))
        else:
            action = np.asarray(self.action, dtype=space.dtype)
            actions = np.broadcast_to(action, (len(states), *action.shape)).copy()
        next_states = states if self.transition_fn is None else self.transition_fn(states, actions)
        rewards = function(states, actions, next_states, np.zeros(len(states), dtype=bool))
        rewards = np.asarray(rewards.detach().cpu() if hasattr(rewards, "detach") else rewards, dtype=float)
        if rewards.shape != (len(states),):
            raise ValueError(
                f"the reward function returned shape {rewards.shape} for a batch of {len(states)} states; "
                f"expected ({len(states)},), one reward per state."
            )
        if pooled:
            rewards = rewards.reshape(int(space.n), -1)  # type: ignore[attr-defined]
            rewards = rewards.mean(axis=0) if self.action == "mean" else rewards.max(axis=0)
        return rewards.reshape(self.resolution, self.resolution)

    def true_values(self) -> np.ndarray | None:
        """Return the true rewards on the same grid, or None."""
        return None if self.true_reward is None else self.values(self.true_reward)

    def describe(self) -> str:
        """Return the fixed dimensions and the action in words."""
        others = (i for i in range(self.n_dims) if i not in (self.x_dim, self.y_dim))
        parts = [f"{self.names[i]} = {self.dims.value(i, self._rounded(i))}" for i in others]
        if isinstance(self.action, str):
            parts.append(f"{self.action} over actions")
        elif isinstance(self.action_space, spaces.Discrete):
            name = self.action_names[int(self.action) - int(self.action_space.start)]
            parts.append(f"action: {name}" if not name.startswith("action") else name)
        else:
            values = np.ravel(self.action)
            parts += [f"{n} = {style.plain(v, 3)}" for n, v in zip(self.action_names, values, strict=True)]
        return ", ".join(parts)

    def _rounded(self, i: int) -> str:
        grain = 10.0 ** np.floor(np.log10((self.high[i] - self.low[i]) / 100))
        return style.plain(round(self.fixed[i] / grain) * grain + 0.0, 3)

    def draw(self, values: np.ndarray, true_values: np.ndarray | None = None, **kwargs: Any) -> style.LabFigure:
        """Draw rewards of this slice's grid; further arguments as in :func:`reward_heatmap`."""
        return reward_heatmap(
            values, *self.axes, true_values=true_values, x_label=self.dims.label(self.x_dim),
            y_label=self.dims.label(self.y_dim), subtitle=self.describe(), points=self.points, **kwargs,
        )  # fmt: skip

    def figure(self, **kwargs: Any) -> style.LabFigure:
        """Evaluate and draw this slice, beside the true reward where it is known; arguments as in :meth:`draw`."""
        return self.draw(self.values(), self.true_values(), **kwargs)


def _states_of(data: Any, n_dims: int) -> np.ndarray:
    items = [data] if hasattr(data, "obs") or isinstance(data, np.ndarray) else data
    array = np.concatenate([np.asarray(getattr(item, "obs", item)) for item in items])
    if array.ndim != 2 or array.shape[1] != n_dims or not len(array):
        raise ValueError(
            f"from_data must give states of shape (n, {n_dims}): transitions, trajectories or an array; "
            f"got {array.shape}."
        )
    return array


@style.styled
def reward_heatmap(
    values: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    true_values: np.ndarray | None = None,
    x_label: str = "state 0",
    y_label: str = "state 1",
    title: str = "learned reward",
    true_title: str = "true reward",
    subtitle: str = "",
    points: np.ndarray | None = None,
    shared_scale: bool = False,
    limits: Sequence[tuple[float, float] | None] = (None, None),
) -> style.LabFigure:
    """A reward over two dimensions, and the true one beside it.

    A learned reward is known up to scale (and shaping), so each picture has its own colour scale unless
    ``shared_scale``; the heading gives Pearson's r, which scale and offset do not change.

    Args:
        values: ``(len(y), len(x))``; entries that are not finite stay white.
        x: grid points ``(n_x,)``, ascending.
        y: grid points ``(n_y,)``, ascending.
        true_values: like ``values``, or None.
        x_label: dimension and unit.
        y_label: dimension and unit.
        title: heading of the first picture.
        true_title: heading of the second.
        subtitle: what is held fixed.
        points: states ``(n, 2)`` to mark, such as demonstrations; at most 400 are drawn.
        shared_scale: one colour scale for both.
        limits: lowest and highest value of each picture's colour scale, by default its own.
    """
    panels = {title: np.asarray(values, dtype=float)}
    if true_values is not None:
        panels[true_title] = np.asarray(true_values, dtype=float)
    shape = (len(y), len(x))
    for name, panel in panels.items():
        if panel.shape != shape:
            raise ValueError(f"{name}: values have shape {panel.shape}, expected (len(y), len(x)) = {shape}.")
    figure, grid = style.new_figure(1, len(panels), size=(9.0 if len(panels) == 2 else 5.6, 3.9), sharey=True)
    figure.colors = 240
    scales = [limits[k] or style.ends(panel) for k, panel in enumerate(panels.values())]
    if shared_scale:
        scales = [style.ends(np.array(scales))] * len(scales)
    for axes, (name, panel), scale in zip(grid[0], panels.items(), scales, strict=True):
        style.color_map(axes, x, y, panel, scale, points)
        axes.set(title=name, xlabel=x_label)
    grid[0, 0].set_ylabel(y_label)
    heading = [subtitle] if subtitle else []
    if true_values is not None:
        r = pearson(values, true_values)
        words = "not defined (constant)" if np.isnan(r) else f"{r:.2f}".replace("-", "−")
        heading.append(f"Pearson r = {words}; {'one colour scale' if shared_scale else 'each its own colour scale'}")
    if heading:
        figure.suptitle("\n".join(heading), fontsize=11, x=0.01, ha="left")
    figure.alt = f"Heatmap of the {title} over {x_label} and {y_label}; {'; '.join(heading)}."
    return figure
