"""Episodes: record them, and draw them with pictures, actions and rewards side by side."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.axes import Axes
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from imitation_lab.data import rollout
from imitation_lab.util import checks
from imitation_lab.viz import style
from imitation_lab.viz.panel import MAX_TRACES, Panel

__all__ = [
    "Episode", "record_episode", "draw_without_screen", "frame_renderer", "EpisodePanel", "films", "episode_figure",
]  # fmt: skip


@dataclass(frozen=True)
class Episode:
    """What happened in one episode of T steps; step t holds the state before the action, the action and its reward.

    Attributes:
        obs: ``(T, *obs_shape)``, or None.
        acts: ``(T, *action_shape)``, or None.
        rews: ``(T,)``, or None.
        frames: pictures ``(n, height, width, 3)`` uint8 of some of the steps, or None.
        frame_steps: the step of each picture ``(n,)``.
        obs_names: names of the state dimensions.
        action_names: names of the discrete actions, or of the action's components.
    """

    obs: np.ndarray | None = field(default=None, repr=False)
    acts: np.ndarray | None = field(default=None, repr=False)
    rews: np.ndarray | None = field(default=None, repr=False)
    frames: np.ndarray | None = field(default=None, repr=False)
    frame_steps: np.ndarray | None = field(default=None, repr=False)
    obs_names: Sequence[str] | None = None
    action_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.frames is not None:
            shape = np.shape(self.frames)
            if len(shape) != 4 or shape[3] != 3 or not shape[0]:
                raise ValueError(f"frames must have shape (n, height, width, 3); got {shape}.")
            if self.frame_steps is None:
                object.__setattr__(self, "frame_steps", np.arange(shape[0]))
            elif len(self.frame_steps) != shape[0]:
                raise ValueError(f"{shape[0]} frames but {len(self.frame_steps)} frame_steps: give one step each.")
        lengths = {name: len(a) for name in ("obs", "acts", "rews") if (a := getattr(self, name)) is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"obs, acts and rews must have one entry per step; got lengths {lengths}.")
        if not lengths and self.frames is None:
            raise ValueError("an episode needs at least frames, obs, acts or rews.")

    def __len__(self) -> int:
        lengths = [len(array) for array in (self.rews, self.acts, self.obs) if array is not None]
        return lengths[0] if lengths else int(np.asarray(self.frame_steps)[-1]) + 1

    @property
    def total(self) -> float:
        """The return: the undiscounted sum of rewards."""
        return float("nan") if self.rews is None else float(np.sum(self.rews))

    @classmethod
    def of(cls, source: Any, **kwargs: Any) -> "Episode":
        """Return an episode from an episode, a trajectory, or frames ``(n, height, width, 3)``.

        Args:
            source: what to show; a trajectory's last observation, after the last action, is left out.
            **kwargs: further attributes, such as ``acts`` and ``rews`` for frames.
        """
        if isinstance(source, Episode):
            return source
        if hasattr(source, "acts") and hasattr(source, "obs"):
            acts = np.asarray(source.acts)
            rews = getattr(source, "rews", None)
            return cls(obs=np.asarray(source.obs)[: len(acts)], acts=acts, rews=rews, **kwargs)
        return cls(frames=np.asarray(source), **kwargs)


def record_episode(
    env: gym.Env | VecEnv,
    policy: Any = None,
    seed: int = 0,
    *,
    deterministic: bool = True,
    max_steps: int = 1000,
    max_frames: int = 120,
    frame_width: int = 320,
    obs_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
) -> Episode:
    """Play one episode and keep what an episode player shows.

    Memory is bounded: when ``max_frames`` pictures are kept, every other one is dropped and from then on half as
    many are taken.

    Args:
        env: an environment, or a ``VecEnv`` whose first environment is recorded; with ``render_mode="rgb_array"``
            for pictures, without them the state is drawn over time.
        policy: an SB3 policy or algorithm, a callable ``obs -> actions`` on batches, or None for random actions.
        seed: of the environment (which is reset), and of random actions.
        deterministic: the most likely action instead of a sample, where the policy knows both.
        max_steps: stop there at the latest.
        max_frames: the most pictures kept.
        frame_width: pictures wider than this are scaled down to it [pixels].
        obs_names: names of the state dimensions.
        action_names: names of the discrete actions, or of the action's components.

    Raises:
        TypeError: ``env`` is neither an environment nor a ``VecEnv``.
    """
    if not isinstance(env, gym.Env | VecEnv):
        raise TypeError(f"env must be a gymnasium.Env or an SB3 VecEnv, got {type(env).__name__}.")
    checks.at_least(2, max_frames=max_frames)
    checks.at_least(1, max_steps=max_steps)
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    render = frame_renderer(venv, frame_width)
    likeliest = deterministic and hasattr(policy, "predict")
    act = rollout.policy_to_callable(policy, venv, likeliest, rng=np.random.default_rng(seed))
    venv.seed(seed)
    obs: Any = venv.reset()
    state, start = None, np.ones(venv.num_envs, dtype=bool)
    rows: list[tuple[Any, np.ndarray, float]] = []
    pictures: dict[int, np.ndarray] = {}
    stride = 1
    for step in range(max_steps):
        if render is not None and step % stride == 0:
            if len(pictures) >= max_frames:
                pictures, stride = dict(list(pictures.items())[::2]), stride * 2
            if step % stride == 0:
                pictures[step] = render()
        actions, state = act(obs, state, start)
        before = None if isinstance(obs, dict) else np.array(obs[0])
        obs, rewards, start, _ = venv.step(actions)
        rows.append((before, np.array(actions[0]), float(rewards[0])))
        if start[0]:
            break
    seen, acts, rews = zip(*rows, strict=True)
    return Episode(
        obs=None if seen[0] is None else np.stack(seen),
        acts=np.stack(acts),
        rews=np.asarray(rews),
        frames=np.stack(list(pictures.values())) if pictures else None,
        frame_steps=np.asarray(list(pictures)) if pictures else None,
        obs_names=obs_names,
        action_names=action_names,
    )


def draw_without_screen() -> None:
    """Keeps SDL, with which environments draw, from complaining about a missing screen."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def frame_renderer(venv: VecEnv, width: int) -> Callable[[], np.ndarray] | None:
    """Return a function that pictures the first environment, ``(height, width, 3)`` uint8; None if it makes none."""
    if venv.render_mode != "rgb_array":
        return None
    draw_without_screen()
    return lambda: np.asarray(style.scaled(np.asarray(venv.env_method("render", indices=0)[0]), width))


class EpisodePanel(Panel):
    """Episodes in columns, in step: a picture (or the state over time), actions and rewards, with a moving cursor.

    Args:
        episodes: one episode, or named episodes ``{"learner": ..., "expert": ...}``, three at most.
    """

    @style.styled
    def __init__(self, episodes: Episode | Mapping[str, Episode]) -> None:
        self.episodes = {"": episodes} if isinstance(episodes, Episode) else dict(episodes)
        if not 1 <= len(self.episodes) <= 3:
            raise ValueError(f"show one to three episodes side by side; got {len(self.episodes)}.")
        self.n_steps = max(len(e) for e in self.episodes.values())
        n = len(self.episodes)
        figure, grid = style.new_figure(3, n, size=(6.4 if n == 1 else 9.0, 5.2), height_ratios=(2.6, 1.0, 1.0))
        super().__init__(figure, self.n_steps)
        for column, (name, episode) in enumerate(self.episodes.items()):
            self._column(grid[:, column], name, episode, first=column == 0)
        names = ", ".join(name for name in self.episodes if name)
        self.figure.alt = f"Episode{f' of {names}' if names else ''}: picture, actions and rewards per step."

    def _column(self, axes: np.ndarray, name: str, episode: Episode, first: bool) -> None:
        top, middle, bottom = axes
        color = style.color_of(name, 0)
        if episode.frames is not None:
            steps = np.asarray(episode.frame_steps)
            latest = lambda step: max(0, int(np.searchsorted(steps, step, side="right")) - 1)
            self._picture(top, episode.frames, latest)
        elif episode.obs is not None and episode.obs.ndim == 2:
            self._traces(top, episode.obs, episode.obs_names)
            style.legend(top, fontsize=8.5, loc="upper right", ncols=2)
            top.tick_params(labelbottom=False)
            top.set_ylabel("state")
            self._step_cursor(top, len(episode))
        else:
            top.set_axis_off()
            style.empty_note(top, "no picture: the environment has\nno render_mode='rgb_array'")
        top.set_title(name or "episode")
        self._actions(middle, episode, color, first)
        self._rewards(bottom, episode, color, first)
        middle.sharex(bottom)
        if episode.frames is None and top.has_data():
            top.sharex(bottom)
        middle.tick_params(labelbottom=False)
        bottom.set_xlim(-0.5, max(1, self.n_steps) - 0.5)

    def _actions(self, axes: Axes, episode: Episode, color: str, first: bool) -> None:
        if first:
            axes.set_ylabel("action")
        if episode.acts is None:
            style.empty_note(axes, "no actions given")
            return
        acts = np.asarray(episode.acts)
        flat = acts.reshape(len(acts), -1)
        discrete = np.issubdtype(acts.dtype, np.integer)
        for i in range(min(flat.shape[1], MAX_TRACES)):
            label = episode.action_names[i] if episode.action_names and not discrete else f"component {i}"
            shade = color if flat.shape[1] == 1 else style.PALETTE[i % len(style.PALETTE)]
            if discrete:  # ticks, for a line that jumps at every step would fill the panel
                axes.plot(flat[:, i], "|", color=shade, markersize=9, markeredgewidth=0.8, label=label)
            else:
                axes.step(range(len(flat)), flat[:, i], where="mid", linewidth=1.3, label=label, color=shade)
        if discrete and flat.shape[1] == 1:
            names, top = episode.action_names, int(flat.max(initial=1))
            ticks = range(len(names) if names else top + 1)
            if len(ticks) <= 6:
                axes.set_yticks(list(ticks), list(names) if names else [str(t) for t in ticks])
                axes.set_ylim(-0.4, len(ticks) - 0.6)
        elif flat.shape[1] > 1 and first:
            style.legend(axes, fontsize=8, loc="upper right", ncols=3)
        self._step_cursor(axes, len(episode))

    def _rewards(self, axes: Axes, episode: Episode, color: str, first: bool) -> None:
        axes.set_xlabel("step")
        if first:
            axes.set_ylabel("reward")
        three, n, told = len(self.episodes) == 3, len(episode), lambda step: ""
        axes.set_title("\n " if three else " ", fontsize=9.5)  # keeps the note's place
        if episode.rews is None:
            style.empty_note(axes, "no rewards given")
        else:
            rews = np.asarray(episode.rews, dtype=float)
            axes.step(range(n), rews, where="mid", color=color, linewidth=1.3)
            if np.ptp(rews) < 1e-9:
                axes.set_ylim(min(0.0, rews[0]) - 0.1 * abs(rews[0]) - 0.05, max(0.0, rews[0]) * 1.3 + 0.05)
            sums, between = np.cumsum(rews), "\n" if three else ", "
            told = lambda at: f": reward {style.plain(rews[at], 3)}{between}return so far {style.plain(sums[at])}"

        def text(step: int) -> str:
            at = min(step, n - 1)
            return f"step {at + 1} of {n}{told(at)}"

        note = self._text(axes, 0, 1.04, text, va="bottom", fontsize=9.5)
        note.set_in_layout(False)  # its width must not squeeze the column
        self._step_cursor(axes, n)

    def _step_cursor(self, axes: Axes, length: int) -> None:
        self._cursor(axes, lambda step: min(step, length - 1))


def films(panels: Sequence[EpisodePanel], n_frames: int, max_bytes: int) -> tuple[list[int], list[list[bytes]]]:
    """Draw panels at the same steps.

    Args:
        panels: those of one slider.
        n_frames: the most steps, evenly spread over the longest panel.
        max_bytes: the most bytes all pictures take; if they take more, every other step is dropped.

    Returns:
        The steps, and each panel's PNGs.

    Raises:
        ValueError: no frames wanted.
    """
    checks.at_least(1, n_frames=n_frames)
    steps = style.evenly(max(panel.n_steps for panel in panels), n_frames)
    rows = [panel.pngs(steps) for panel in panels]
    while sum(len(png) for row in rows for png in row) > max_bytes and len(steps) > 2:
        steps, rows = steps[::2], [row[::2] for row in rows]
    return steps, rows


def episode_figure(episodes: Episode | Mapping[str, Episode], step: int = 0) -> style.LabFigure:
    """Draw episodes side by side at one step; negative steps count from the end of the longest.

    Args:
        episodes: one episode, or named episodes, three at most.
        step: the step shown.
    """
    return EpisodePanel(episodes).at(step)
