"""What adversarial training looks like: the discriminator's health, episodes on the way, and AIRL's reward in parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch as th
from matplotlib.axes import Axes

from imitation_lab.rewards.reward_nets import RewardNet, ShapedRewardNet, wrapper_chain
from imitation_lab.util.networks import evaluating
from imitation_lab.viz import style
from imitation_lab.viz.episodes import Episode, EpisodePanel, record_episode
from imitation_lab.viz.panel import Panel
from imitation_lab.viz.rewards import RewardSlice, as_reward_fn

__all__ = [
    "LOGITS", "HealthPanel", "discriminator_health", "health_rows", "chain_on_round", "ReplayRecorder",
    "with_reward", "ReplayPanel", "replay_figure", "airl_parts", "PART_TITLES", "airl_values", "airl_maps",
]  # fmt: skip

History = Sequence[Mapping[str, Any]]
LOGITS = {"expert": "logits_expert", "learner": "logits_gen"}
MIN_BINS, MAX_BINS = 8, 40


class HealthPanel(Panel):
    """Accuracy on each kind, the logits of one round, and the return, with a cursor at the round shown.

    Args:
        history: `trainer.history`, of a trainer with `record_logits` for histograms.
        references: environment returns to draw lines at, ``{"expert": 500.0}``.

    Raises:
        ValueError: an empty history.
    """

    @style.styled
    def __init__(self, history: History, references: Mapping[str, float] | None = None) -> None:
        if not history:
            raise ValueError("history is empty: train for at least one round, then pass trainer.history.")
        self.history = list(history)
        self.rounds = np.array([row["round"] for row in self.history], float)
        figure, ((accuracy, logits, returns),) = style.new_figure(1, 3, size=(9.6, 3.3))
        super().__init__(figure, len(self.history))
        accuracy.axhline(0.5, color=style.GREY, linestyle="--", linewidth=1.2, label="chance")
        self._lines(accuracy, "accuracy on …", {"expert": "disc_acc_expert", "learner": "disc_acc_gen"})
        accuracy.set_ylim(-0.04, 1.04)
        style.legend(accuracy, loc="lower right")
        self._logits(logits)
        self._lines(returns, "return per episode", {"learner": "gen_return_mean"})
        style.reference_lines(returns, references or {}, first=1)
        style.legend(returns, loc="center right")
        self.show(len(self.history) - 1)

    def column(self, key: str) -> np.ndarray:
        """One number of every row, NaN where it is missing, ``(rows,)``."""
        return np.array([row.get(key, np.nan) for row in self.history], float)

    def _lines(self, axes: Axes, title: str, lines: Mapping[str, str]) -> None:
        marker = "o" if len(self.rounds) <= 12 else ""
        for name, key in lines.items():
            axes.plot(self.rounds, self.column(key), color=style.color_of(name, 0), label=name, marker=marker, ms=4)
        axes.set(title=title, xlabel="round")
        axes.set_xlim(self.rounds[0] - 0.5, self.rounds[-1] + 0.5)
        self._cursor(axes, lambda index: self.rounds[index])

    def _logits(self, axes: Axes) -> None:
        samples = [np.asarray(row[key]) for row in self.history for key in LOGITS.values() if key in row]
        if samples:
            self._histograms(axes, samples)
        else:
            style.empty_note(axes, "no logits recorded:\nbuild the trainer with\nrecord_logits=256")
        axes.set(title="logits", xlabel="logit, high means “expert”", ylabel="share")
        self._text(axes, 0.02, 0.98, lambda index: f"round {self.history[index]['round']}", va="top", fontsize=9.5)

    def _histograms(self, axes: Axes, samples: Sequence[np.ndarray]) -> None:
        low, high = np.quantile(np.concatenate(samples), [0.002, 0.998])
        margin = 0.04 * (high - low) + 1e-3
        n_bins = int(np.clip(np.sqrt(max(map(len, samples))) * 2, MIN_BINS, MAX_BINS))
        edges = np.linspace(low - margin, high + margin, n_bins + 1)

        def shares(sample: Any) -> np.ndarray:
            inside = np.clip(np.asarray(sample, float), edges[0], edges[-1])  # outliers count in the outermost bins
            return np.histogram(inside, edges)[0] / max(1, len(sample))

        axes.axvline(0, color=style.GREY, linestyle="--", linewidth=1.2)
        for name, key in LOGITS.items():
            heights = partial(lambda key, index: shares(self.history[index].get(key, ())), key)
            look = {"color": style.color_of(name, 0), "fill": True, "alpha": 0.5, "linewidth": 1.5}
            self._histogram(axes, edges, heights, label=name, **look)
        top = max(shares(sample).max() for sample in samples)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, min(1.0, 1.25 * top)))
        style.legend(axes, loc="upper right")

    def show(self, index: int) -> None:
        """Move to row ``index`` of the history."""
        super().show(index)
        row = self.history[index]
        self.figure.alt = (
            f"Discriminator at round {row['round']}: accuracy {row['disc_acc_expert']:.2f} on the expert and "
            f"{row['disc_acc_gen']:.2f} on the learner; histograms of its logits; the learner's return."
        )


def discriminator_health(
    history: History, index: int = -1, references: Mapping[str, float] | None = None
) -> style.LabFigure:
    """Draw the discriminator's health at row ``index`` of the history; arguments as in :class:`HealthPanel`."""
    return HealthPanel(history, references).at(index)


def health_rows(history: History, indices: Sequence[int]) -> list[dict[str, Any]]:
    """Rows for a table: accuracy, entropy, logits and return at some row numbers of the history."""
    return [
        {
            "round": row["round"],
            "accuracy on expert": row["disc_acc_expert"],
            "on learner": row["disc_acc_gen"],
            "entropy [nats]": row["disc_entropy"],
            "logit gap": row["logit_expert_mean"] - row["logit_gen_mean"],
            "return": row.get("gen_return_mean", float("nan")),
        }
        for row in (history[i] for i in indices)
    ]


def chain_on_round(trainer: Any, callback: Callable[[dict[str, Any]], object]) -> None:
    """Has ``trainer`` call ``callback`` after each round, after what it calls already."""
    before = trainer.on_round

    def both(row: dict[str, Any]) -> None:
        before(row)
        callback(row)

    trainer.on_round = callback if before is None else both


class ReplayRecorder:
    """Keeps one episode of the learner at chosen rounds, with the reward learned until then, and the expert's.

    All episodes start in the same state. The learner takes its likeliest actions, so no random number of the
    training is used up.

    Args:
        env: an environment with vector states; with ``render_mode="rgb_array"`` for pictures.
        expert: the expert's policy.
        rounds: after which rounds to record; 0 is before training.
        seed: of the episodes.
        max_frames: the most pictures of an episode.
        **kwargs: as in ``record_episode``: ``obs_names``, ``action_names``, ``frame_width``, ``max_steps``.

    Attributes:
        expert: the expert's episode, with the environment's rewards.
        pairs: ``{round: (learner, expert)}``, two episodes whose rewards are the learned ones.
        returns: ``{round: environment return of the learner}``.
    """

    def __init__(
        self, env: Any, expert: Any, rounds: Sequence[int], *, seed: int = 0, max_frames: int = 16, **kwargs: Any
    ) -> None:
        if not rounds:
            raise ValueError("rounds is empty: name at least one, such as rounds=[0, 10].")
        self.env, self.rounds, self.seed = env, sorted(set(rounds)), seed
        self._kwargs = {"max_frames": max_frames, **kwargs}
        self._trainer: Any = None
        self.expert = record_episode(env, expert, seed, **self._kwargs)
        self.pairs: dict[int, tuple[Episode, Episode]] = {}
        self.returns: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"ReplayRecorder(rounds {list(self.pairs)} of {self.rounds})"

    def attach(self, trainer: Any) -> "ReplayRecorder":
        """Records ``trainer`` from now on."""
        self._trainer = trainer
        chain_on_round(trainer, self)
        if 0 in self.rounds:
            self.record(0)
        return self

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Takes a row of the history; records if its round was chosen."""
        if row["round"] in self.rounds:
            self.record(row["round"])

    def record(self, number: int) -> None:
        """Record now, as round ``number``."""
        if self._trainer is None:
            raise RuntimeError("there is no trainer to record: call attach(trainer) first.")
        learner = record_episode(self.env, self._trainer.policy, self.seed, **self._kwargs)
        reward = self._trainer.reward_train
        self.pairs[number] = (with_reward(learner, reward), with_reward(self.expert, reward))
        self.returns[number] = learner.total


def with_reward(episode: Episode, reward: Any) -> Episode:
    """Return the episode with rewards of a reward network or function, statistics left alone.

    An episode does not hold the state after its last step: there, the next state is the state.
    """
    if episode.obs is None or episode.acts is None:
        raise ValueError("the reward of an episode needs its obs and acts.")
    following = np.concatenate([episode.obs[1:], episode.obs[-1:]])
    done = np.zeros(len(episode), dtype=bool)
    rewards = as_reward_fn(reward)(episode.obs, episode.acts, following, done)
    return replace(episode, rews=np.asarray(rewards, float))


class ReplayPanel(EpisodePanel):
    """A learner's episode beside the expert's, in step, with the learned reward along the way.

    Args:
        learner: with learned rewards.
        expert: likewise.
        number: the round.
        total: the learner's environment return, or None.
    """

    def __init__(self, learner: Episode, expert: Episode, number: int, total: float | None = None) -> None:
        shown = "" if total is None else f", return {style.plain(total)}"
        super().__init__({f"learner, round {number}{shown}": learner, "expert": expert})
        left, right = self.figure.axes[4:6]  # the bottom row
        left.set_ylabel("learned\nreward")
        rewards = np.concatenate([e.rews for e in (learner, expert) if e.rews is not None])
        margin = 0.08 * float(np.ptp(rewards)) + 0.02
        for axes in (left, right):
            axes.set_ylim(rewards.min() - margin, rewards.max() + margin)
        self.figure.alt = f"Learner after round {number} beside the expert: picture, actions and learned reward."


def replay_figure(recorder: ReplayRecorder, number: int, step: int = 0) -> style.LabFigure:
    """Draw the episodes of one recorded round at one step; negative steps count from the end."""
    if number not in recorder.pairs:
        raise ValueError(f"round {number} was not recorded; recorded are {list(recorder.pairs)}.")
    return ReplayPanel(*recorder.pairs[number], number, recorder.returns[number]).at(step)


Part = Callable[..., np.ndarray]


def airl_parts(net: RewardNet) -> dict[str, Part]:
    """AIRL's f = g + γ h(s′) − h(s) in parts, each a function ``(state, action, next_state, done) -> (batch,)``.

    Args:
        net: a network with a ``ShapedRewardNet`` in it; wrappers outside of that are left out.

    Raises:
        TypeError: if there is none.
    """
    shaped = next((part for part in wrapper_chain(net) if isinstance(part, ShapedRewardNet)), None)
    if shaped is None:
        raise TypeError(
            f"{type(net).__name__} holds no ShapedRewardNet, so it has no g and h: build AIRL with a "
            "BasicShapedRewardNet or a ShapedRewardNet."
        )

    def potential(state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        with th.no_grad(), evaluating(shaped):
            return shaped.potential(shaped.preprocess(state, action, next_state, done)[0]).flatten().cpu().numpy()

    return {"g": shaped.base.predict, "h": potential, "f": shaped.predict}


PART_TITLES = {"g": "g(s, a): the reward", "h": "h(s): shaping", "f": "f = g + γ h(s′) − h(s)"}


def airl_values(parts: Mapping[str, Part], grid: RewardSlice) -> dict[str, np.ndarray]:
    """Values of each part on the grid of ``grid``, ``(resolution, resolution)`` as [y, x]."""
    return {name: grid.values(part) for name, part in parts.items()}


@style.styled
def airl_maps(
    values: Mapping[str, np.ndarray], grid: RewardSlice, limits: Mapping[str, tuple[float, float]] | None = None
) -> style.LabFigure:
    """Draw g, h and f side by side over two dimensions of the state, each with its own colour scale.

    Args:
        values: as ``airl_values`` gives them.
        grid: the grid they belong to; its data are drawn as dots.
        limits: lowest and highest value of each colour scale, by default those of the picture.
    """
    figure, axes_row = style.new_figure(1, len(values), size=(10.0, 3.7), sharey=True)
    figure.colors = 160
    x, y = grid.x_dim, grid.y_dim
    for axes, (name, panel) in zip(axes_row[0], values.items(), strict=True):
        style.color_map(axes, *grid.axes, panel, (limits or {}).get(name, style.ends(panel)), grid.points)
        axes.set(title=PART_TITLES.get(name, name), xlabel=grid.dims.label(x))
    axes_row[0, 0].set_ylabel(grid.dims.label(y))
    figure.suptitle(grid.describe(), fontsize=11, x=0.01, ha="left")
    figure.alt = f"Maps of {', '.join(values)} over {grid.names[x]} and {grid.names[y]}; {grid.describe()}."
    return figure
