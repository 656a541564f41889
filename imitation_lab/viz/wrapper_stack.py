"""What each layer of a wrapped reward network returns: the model behind the picture, and the picture."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch as th

from imitation_lab.rewards import reward_nets
from imitation_lab.rewards.reward_nets import ForwardWrapper, NormalizedRewardNet, RewardNet, wrapper_chain
from imitation_lab.util.networks import EMANorm, RunningNorm, evaluating
from imitation_lab.viz import style
from imitation_lab.viz.normalization_trace import as_batch, statistics_of

__all__ = [
    "CALLS", "StackLayer", "as_batch", "stack_layers", "stack_rows", "wrapper_stack_figure", "default_wrappers",
    "RewardStack", "stack_name",
]  # fmt: skip

CALLS = ("forward", "predict", "predict_processed")
Factory = Callable[[RewardNet], RewardNet]


@dataclass(frozen=True)
class StackLayer:
    """One layer of a chain and what it returns for a batch.

    Attributes:
        name: its class.
        kind: "network", "ForwardWrapper" or "PredictProcessedWrapper".
        values: by call, rewards ``(batch,)``, or the name of the error that the call raises.
        statistics: ``(mean, variance, count)`` of a normalization with running statistics, else None.
    """

    name: str
    kind: str
    values: Mapping[str, np.ndarray | str] = field(repr=False)
    statistics: tuple[float, float, float] | None = None


def stack_layers(net: RewardNet, batch: Any) -> list[StackLayer]:
    """Ask every layer of ``net`` for the rewards of a batch; nothing is changed, statistics included.

    Args:
        net: a reward network, wrapped or not.
        batch: ``Transitions``, or ``(state, action, next_state, done)``.

    Returns:
        The layers, innermost first.
    """
    inputs = as_batch(batch)

    def ask(link: RewardNet, call: str) -> np.ndarray:
        if call == "predict_processed":
            return link.predict_processed(*inputs, update_stats=False)
        if call == "predict":
            return link.predict(*inputs)
        with evaluating(link), th.no_grad():
            return link(*link.preprocess(*inputs)).cpu().numpy()

    layers = []
    for link in reversed(wrapper_chain(net)):
        values: dict[str, np.ndarray | str] = {}
        for call in CALLS:
            try:
                values[call] = ask(link, call)
            except NotImplementedError as error:  # an ensemble has no forward
                values[call] = type(error).__name__
        kinds = (ForwardWrapper, reward_nets.PredictProcessedWrapper)
        kind = next((k.__name__ for k in kinds if isinstance(link, k)), "network")
        stats = statistics_of(link.normalize_output_layer) if isinstance(link, NormalizedRewardNet) else None
        short = None if stats is None else (float(stats[0][0]), float(stats[1][0]), stats[2])
        layers.append(StackLayer(type(link).__name__, kind, values, short))
    return layers


def stack_rows(layers: Sequence[StackLayer], transition: int = 0) -> list[dict[str, Any]]:
    """One row per layer, outermost first, for :func:`imitation_lab.viz.tables.text_table`.

    Args:
        layers: of :func:`stack_layers`.
        transition: which one of the batch the calls are shown for.
    """
    rows = []
    for layer in reversed(layers):
        shown = {call: v if isinstance(v, str) else float(v[transition]) for call, v in layer.values.items()}
        processed = layer.values["predict_processed"]
        mean, std = (None, None) if isinstance(processed, str) else (processed.mean(), processed.std())
        spread = {"processed: mean": mean, "std": std}
        rows.append({"layer, outermost first": layer.name, "kind": layer.kind, **shown, **spread})
    return rows


@style.styled
def wrapper_stack_figure(layers: Sequence[StackLayer], transition: int = 0) -> style.LabFigure:
    """The way of each reward up the stack, for the three calls: it bends where a layer changes it.

    Args:
        layers: of :func:`stack_layers`; the innermost is drawn at the bottom.
        transition: the one that is drawn bold, with its numbers.
    """
    figure, grid = style.new_figure(1, 3, size=(9.6, 1.5 + 0.55 * len(layers)), sharey=True, sharex=True)
    heights = range(len(layers))
    for axes, call, color in zip(grid[0], CALLS, (style.BLUE, style.GREEN, style.PURPLE), strict=True):
        known: dict[int, np.ndarray] = {}
        for height, layer in enumerate(layers):
            value = layer.values[call]
            if isinstance(value, str):
                axes.text(0.5, height, value, transform=axes.get_yaxis_transform(), ha="center", va="center",
                          fontsize=9.5, color="#555555")  # fmt: skip
            else:
                known[height] = value
        if known:
            xs = np.stack(list(known.values()))  # (layers, batch)
            axes.plot(xs, list(known), color=style.GREY, linewidth=0.9, alpha=0.45)
            axes.plot(xs[:, transition], list(known), "o-", color=color, markersize=6)
            for x, y in zip(xs[:, transition], known, strict=True):
                axes.annotate(
                    style.plain(float(x), 3), (x, y), xytext=(0, 7), textcoords="offset points", ha="center",
                    fontsize=9.5, color=style.BLACK, bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5},
                )  # fmt: skip
        axes.set(title=call, xlabel="reward", ylim=(-0.4, len(layers) - 0.35))
        axes.margins(x=0.18)
    grid[0, 0].set_yticks(heights, [layer.name for layer in layers])
    names = ", ".join(layer.name for layer in layers)
    figure.alt = f"Rewards of a batch at each layer ({names}, innermost first) for {', '.join(CALLS)}."
    return figure


def default_wrappers() -> dict[str, Factory]:
    """Wrappers to try: shaping with a random potential, two normalizations, one standard deviation added."""

    def shaped(base: RewardNet) -> RewardNet:
        with th.random.fork_rng(devices=[]):  # the same potential each time
            th.manual_seed(0)
            potential = reward_nets.BasicPotentialMLP(base.observation_space, (32,))
        return reward_nets.ShapedRewardNet(base, potential, 0.99)

    return {
        "shaping": shaped,
        "RunningNorm": lambda base: NormalizedRewardNet(base, RunningNorm),
        "EMANorm": lambda base: NormalizedRewardNet(base, EMANorm),
        "added std": lambda base: reward_nets.AddSTDRewardWrapper(base, default_alpha=1.0),  # type: ignore[arg-type]
    }


class RewardStack:
    """Stacks wrappers on a reward network and says what each layer returns, or why the order is illegal.

    Args:
        base: a network, or ``{name: network}`` to choose from. Copies are used.
        transitions: ``Transitions``, or ``(state, action, next_state, done)``.
        wrappers: ``{name: function from network to wrapped network}``; by default :func:`default_wrappers`.
        batch_size: transitions per batch.

    Attributes:
        net: the stack, as far as it is legal.
        error: the text of the error, or None.
        chosen: names of the wrappers asked for, innermost first.
        n_batches: number of batches.

    Raises:
        ValueError: no transitions.
    """

    def __init__(
        self,
        base: RewardNet | Mapping[str, RewardNet],
        transitions: Any,
        *,
        wrappers: Mapping[str, Factory] | None = None,
        batch_size: int = 16,
    ) -> None:
        self.bases = dict(base) if isinstance(base, Mapping) else {type(base).__name__: base}
        self.wrappers = dict(wrappers) if wrappers is not None else default_wrappers()
        self.transitions = as_batch(transitions)
        n = len(self.transitions[3])
        if not n:
            raise ValueError("a stack is shown on transitions, got none.")
        self.batch_size = min(batch_size, n)
        self.n_batches = n // self.batch_size
        self.build()

    def build(self, wrappers: Sequence[str] = (), base: str | None = None) -> RewardNet:
        """Stack wrappers anew, innermost first; stop at the first that is refused.

        New running statistics see all transitions once, so that there is something to show.

        Raises:
            ValueError: a name that is not among ``wrappers`` or ``bases``.
        """
        base = base if base is not None else next(iter(self.bases))
        if base not in self.bases:
            raise ValueError(f"unknown network {base!r}; there are {sorted(self.bases)}.")
        for name in wrappers:
            if name not in self.wrappers:
                raise ValueError(f"unknown wrapper {name!r}; there are {sorted(self.wrappers)}.")
        self.base, self.chosen, self.error = base, tuple(wrappers), None
        self.net: RewardNet = copy.deepcopy(self.bases[base])
        for name in wrappers:
            try:
                net = self.wrappers[name](self.net)
                net.predict_processed(*self.batch(), update_stats=False)  # shaping needs a forward that ensembles lack
            except (TypeError, ValueError, NotImplementedError) as error:
                self.error = f"{type(error).__name__}: {error}"
                break
            self.net = net
            if isinstance(net, NormalizedRewardNet):
                net.normalize(net.base.predict_processed(*self.transitions, update_stats=False), True)
        return self.net

    def batch(self, number: int = 0) -> tuple[Any, ...]:
        """The transitions of one batch."""
        if not 0 <= number < self.n_batches:
            raise ValueError(f"batch must lie in [0, {self.n_batches}), got {number}.")
        return as_batch(self.transitions, slice(number * self.batch_size, (number + 1) * self.batch_size))

    def layers(self, number: int = 0) -> list[StackLayer]:
        """What each layer returns for one batch, innermost first."""
        return stack_layers(self.net, self.batch(number))

    def update(self, number: int = 0) -> None:
        """Reward one batch with ``update_stats=True``: running statistics move."""
        self.net.predict_processed(*self.batch(number), update_stats=True)

    def __repr__(self) -> str:
        return f"RewardStack({stack_name(self.net)})"


def stack_name(net: RewardNet) -> str:
    """The nested class names, as one would write the constructors."""
    names = [type(link).__name__ for link in wrapper_chain(net)]
    return "(".join(names) + ")" * (len(names) - 1)
