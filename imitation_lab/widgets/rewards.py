"""A view of any reward function over two dimensions of the state."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from imitation_lab.data.spaces import bounds as space_bounds
from imitation_lab.viz.rewards import UNBOUNDED, Key, RewardSlice, as_reward_fn, pearson
from imitation_lab.viz.style import LabFigure, ends, frame_pngs
from imitation_lab.widgets.base import FrameStack, Row, View, control, ipw, on_change

__all__ = ["RewardHeatmap", "RewardSlice", "as_reward_fn", "pearson"]

Comparison = Callable[[Any, Any], float]
POOLED = ("mean", "max")


class RewardHeatmap(View):
    """A reward over two state dimensions, with sliders for the others and a selector for the action.

    Args:
        reward_fn: a reward network or function ``(state, action, next_state, done) -> (batch,)``.
        observation_space: a ``Box`` of shape ``(dims,)``.
        action_space: ``Discrete``, ``Box``, ``MultiDiscrete`` or ``MultiBinary``.
        x_dim: number or name of the horizontal dimension.
        y_dim: number or name of the vertical dimension.
        true_reward: drawn beside it, and Pearson's r is printed.
        comparison: further measures, ``{"EPIC distance": f}`` or one function, called once as
            ``f(reward_fn, true_reward) -> float``.
        shared_scale: one colour scale for both pictures; a learned reward's scale means nothing, so not by default.
        title: heading of the learned reward's picture.
        true_title: heading of the true reward's picture.
        **kwargs: as in ``RewardSlice``: ``bounds``, ``from_data``, ``dim_names``, ``units``, ``action_names``,
            ``resolution``, ``transition_fn``.

    Attributes:
        slice: the model, a ``RewardSlice``.
        x, y: dropdowns of the dimensions on the axes.
        dims: ``{name: slider}`` of every state dimension; those on the axes are hidden.
        action: a dropdown (``Discrete``), else None; ``action_parts`` are the sliders of other spaces.
        resolution: slider of the grid points per axis.
        image: the ``Picture``.
        numbers: the table.
        values: rewards on the grid ``[y, x]``.
        true_values: the true ones, or None.
        correlation: Pearson's r over this slice, or None.
    """

    def __init__(
        self,
        reward_fn: Any,
        observation_space: Any,
        action_space: Any,
        x_dim: Key = 0,
        y_dim: Key = 1,
        *,
        true_reward: Any = None,
        comparison: Comparison | Mapping[str, Comparison] | None = None,
        shared_scale: bool = False,
        title: str = "learned reward",
        true_title: str = "true reward",
        **kwargs: Any,
    ) -> None:
        self.slice = RewardSlice(
            reward_fn, observation_space, action_space, x_dim, y_dim, true_reward=true_reward, **kwargs
        )
        self.shared_scale, self._titles = shared_scale, {"title": title, "true_title": true_title}
        self.title = title
        self.comparisons = self._compare(comparison)
        self._make_controls()
        self._compute()
        on_change(self._changed, self.x, self.y, *self.dims.values(), *self._action_widgets, self.resolution)
        others = Row([*self._action_widgets, *self.dims.values()])
        super().__init__(Row([self.x, self.y, self.resolution]), others)

    def _compare(self, comparison: Comparison | Mapping[str, Comparison] | None) -> dict[str, float]:
        if comparison is None:
            return {}
        if self.slice.true_reward is None:
            raise ValueError("comparison needs something to compare with: pass true_reward too.")
        if not isinstance(comparison, Mapping):
            comparison = {getattr(comparison, "__name__", "comparison").replace("_", " "): comparison}
        return {n: float(f(self.slice.reward_fn, self.slice.true_reward)) for n, f in comparison.items()}

    def _make_controls(self) -> None:
        s = self.slice
        options = [(name, i) for i, name in enumerate(s.names)]
        self.x = control(ipw.Dropdown, "x", "State dimension across.", options=options, value=s.x_dim)
        self.y = control(ipw.Dropdown, "y", "State dimension upwards.", options=options, value=s.y_dim)
        self.resolution = control(
            ipw.IntSlider, "resolution", "Grid points per axis.", min=5, max=max(101, s.resolution), value=s.resolution
        )
        self.dims = {
            name: _slider(s.dims.label(i), f"Hold {name} at this value.", s.low[i], s.high[i], s.fixed[i], steps=100)
            for i, name in enumerate(s.names)
        }
        self.action: ipw.Dropdown | None = None
        self.action_parts: list[Any] = []
        space = s.action_space
        if isinstance(space, spaces.Discrete):
            numbers = range(int(space.start), int(space.start + space.n))
            named: list[tuple[str, Any]] = list(zip(s.action_names, numbers, strict=True))
            self.action = control(
                ipw.Dropdown, "action", "Which action the reward is for.",
                options=[*named, *((f"{p} over actions", p) for p in POOLED)], value=s.action,
            )  # fmt: skip
        else:
            ends = (np.broadcast_to(end, space.shape or ()).ravel() for end in space_bounds(space))
            parts = zip(s.action_names, *ends, np.ravel(s.action), strict=True)
            self.action_parts = [_part(space, *part) for part in parts]
        self._action_widgets = [self.action] if self.action is not None else self.action_parts
        self._hide_axes()

    def _hide_axes(self) -> None:
        for i, slider in enumerate(self.dims.values()):
            slider.layout.display = "none" if i in (self.x.value, self.y.value) else None

    def _changed(self, change: Any) -> None:
        s = self.slice
        if self.x.value == self.y.value:  # choosing the other axis's dimension swaps the two
            other = self.y if change["owner"] is self.x else self.x
            other.value = change["old"]  # which comes here too
            return
        self._hide_axes()
        s.x_dim, s.y_dim, s.resolution = self.x.value, self.y.value, self.resolution.value
        s.fixed = np.array([slider.value for slider in self.dims.values()])
        if self.action is not None:
            s.action = self.action.value
        else:
            parts = np.array([part.value for part in self.action_parts])
            s.action = parts.reshape(s.action_space.shape).astype(s.action_space.dtype)
        self._compute()
        self.refresh()

    def _compute(self) -> None:
        self.values, self.true_values = self.slice.values(), self.slice.true_values()
        self.correlation = None if self.true_values is None else pearson(self.values, self.true_values)

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return self._draw(self.slice, self.values, self.true_values)

    def _draw(self, of: RewardSlice, values: np.ndarray, true: np.ndarray | None, **kwargs: Any) -> LabFigure:
        return of.draw(values, true, shared_scale=self.shared_scale, **self._titles, **kwargs)

    def frames_over(self, dim: Key, n: int = 10) -> FrameStack:
        """Return a kernel-free stack that sweeps one other dimension, or "action" for each discrete action.

        All frames share their colour scales, so that they can be compared.

        Args:
            dim: number or name of a dimension that is not on an axis, or "action".
            n: frames.

        Raises:
            ValueError: a dimension on an axis, or "action" for a space that is not ``Discrete``.
        """
        s = self.slice
        labels, slices = zip(*self._moved(dim, n), strict=True)
        drawn = [(one, one.values(), one.true_values()) for one in slices]
        limits = [ends(*(values for _, values, _ in drawn)), ends(*(true for *_, true in drawn if true is not None))]
        figures = (self._draw(*three, limits=limits) for three in drawn)
        alt = f"The {self.title} over {s.names[s.x_dim]} and {s.names[s.y_dim]}, swept over {dim}."
        name = dim if isinstance(dim, str) else s.names[dim]
        return FrameStack(frame_pngs(figures), labels=labels, description=name, alt=alt)

    def _moved(self, dim: Key, n: int) -> list[tuple[str, RewardSlice]]:
        s = self.slice
        if dim == "action" and "action" not in s.names:
            if self.action is None:
                raise ValueError("frames_over('action') needs Discrete actions; sweep a state dimension instead.")
            return [(text, s.moved(value)) for text, value in self.action.options if value not in POOLED]
        i = s.index(dim)
        if i in (s.x_dim, s.y_dim):
            raise ValueError(f"{s.names[i]!r} is on an axis: sweep one of the other dimensions, or 'action'.")
        values = np.linspace(s.low[i], s.high[i], n)
        return [(s.dims.value(i, f"{value:.3g}"), s.moved(value, i)) for value in values]

    def rows(self) -> dict[str, Any]:
        """Return the numbers under the picture."""
        finite = self.values[np.isfinite(self.values)]
        low, high = (finite.min(), finite.max()) if finite.size else (float("nan"),) * 2
        rows: dict[str, Any] = {f"{self.title}, lowest": low, f"{self.title}, highest": high}
        if self.true_values is not None:
            rows |= {
                f"{self._titles['true_title']}, lowest": np.nanmin(self.true_values),
                f"{self._titles['true_title']}, highest": np.nanmax(self.true_values),
                "Pearson r over this slice": self.correlation,
            }
        return rows | self.comparisons

    def _caption(self) -> str | None:
        return self.slice.describe() or None

    def _summary(self) -> str:
        s = self.slice
        return f"{s.names[s.y_dim]} against {s.names[s.x_dim]}"


def _part(space: Any, name: str, low: Any, high: Any, value: Any) -> Any:
    if not isinstance(space, spaces.Box):
        return control(ipw.IntSlider, name, f"Value of {name}.", min=int(low), max=int(high), value=int(value))
    low, high = (float(end) if abs(end) < UNBOUNDED else beyond for end, beyond in ((low, -1.0), (high, 1.0)))
    return _slider(name, f"Value of {name}.", low, high, float(value), steps=50)


def _slider(label: str, tooltip: str, low: float, high: float, value: float, steps: int) -> ipw.FloatSlider:
    return control(
        ipw.FloatSlider, label, tooltip, min=low, max=high, step=(high - low) / steps, value=value, readout_format=".3g"
    )
