"""What an adaptive λ does: losses, their ratio, λ and the weights over λ updates."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsFloat

import numpy as np
import torch as th
from stable_baselines3.common.logger import Logger
from torch import nn

from imitation_lab.regularization.regularizers import LpRegularizer, Regularizer
from imitation_lab.regularization.updaters import IntervalParamScaler, LambdaUpdater
from imitation_lab.viz import style

__all__ = ["RegularizationTrace", "example_training", "regularization_panel"]

BINS = 41
RATIO_CAP = 20.0  # a training loss near 0 would push everything else out of sight


@dataclass(frozen=True)
class _Row:
    train_loss: float
    val_loss: float
    lambda_: float
    next_lambda: float
    norm: float
    histogram: np.ndarray

    @property
    def ratio(self) -> float:
        if self.train_loss == 0:
            return float("nan") if self.val_loss == 0 else float("inf")
        return self.val_loss / self.train_loss


class RegularizationTrace:
    """Records each λ update of a training, whatever trainer owns it, and can change the updater meanwhile.

    It takes the place of ``regularizer.lambda_updater``, asks that one, and keeps what it saw and said::

        trace = RegularizationTrace(trainer.regularizer)
        trainer.train(n_epochs=100)
        regularization_panel(trace)

    Args:
        regularizer: with a ``lambda_updater``; one that returns its λ unchanged records a constant λ.
        train: trains up to the next λ update, such as ``lambda: trainer.train(n_epochs=1)``; ``step`` calls it.
        params: the weights to measure; by default every trainable parameter of the optimizer.
        again: returns a fresh trace of the same training, for ``restarted``.
        loss_label: what the losses are, with their unit.

    Attributes:
        regularizer: as given.
        updater: what chooses λ; may be replaced at any time, and acts from the next update on.
        rows: one record per update.
        edges: histogram bin edges ``(bins + 1,)``; weights outside count in the outermost bins.
        first_histogram: share of the weights per bin at the start ``(bins,)``.

    Raises:
        TypeError: no regularizer.
        ValueError: a regularizer without an updater, or no weights.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        *,
        train: Callable[[], Any] | None = None,
        params: Iterable[th.Tensor] | None = None,
        again: Callable[[], "RegularizationTrace"] | None = None,
        loss_label: str = "loss",
    ) -> None:
        if not isinstance(regularizer, Regularizer):
            given = type(regularizer).__name__
            raise TypeError(
                f"expected a Regularizer, such as BC(..., regularizer_factory=...).regularizer; got {given}."
            )
        inner = regularizer.lambda_updater
        if inner is None:
            raise ValueError(
                "this regularizer has no lambda_updater, so λ is constant and there is nothing to follow: create it "
                "with a lambda_updater and a val_split."
            )
        if params is None:
            params = [p for group in regularizer.optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._params = list(params)
        if not self._params:
            raise ValueError("params is empty: pass the weights to measure, such as policy.parameters().")
        self.regularizer, self._train, self._again, self.loss_label = regularizer, train, again, loss_label
        self.updater: LambdaUpdater = inner.trace.updater if isinstance(inner, _Recording) else inner
        regularizer.lambda_updater = _Recording(self)
        self.rows: list[_Row] = []
        reach = max(1e-6, float(1.5 * self._weights().abs().max()))
        self.edges = np.linspace(-reach, reach, BINS + 1)
        self.first_norm, self.first_histogram = self._measure()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"RegularizationTrace({type(self.regularizer).__name__}, {len(self)} updates)"

    @property
    def lambda_(self) -> float:
        """λ now: what the next epoch trains with."""
        return self.regularizer.lambda_

    @property
    def interval(self) -> tuple[float, float] | None:
        """The tolerated ratios, or None for an updater without an interval."""
        return getattr(self.updater, "tolerable_interval", None)

    @property
    def factor(self) -> float | None:
        """The scaling factor, or None for an updater without one."""
        return getattr(self.updater, "scaling_factor", None)

    @property
    def can_step(self) -> bool:
        """Whether the trace knows how to train on."""
        return self._train is not None

    @property
    def can_restart(self) -> bool:
        """Whether the trace knows how to begin again."""
        return self._again is not None

    def series(self, name: str) -> np.ndarray:
        """One column of the record, ``(updates,)``: train_loss, val_loss, ratio, lambda_, next_lambda or norm."""
        return np.array([getattr(row, name) for row in self.rows], dtype=float)

    def set_updater(
        self, *, scaling_factor: float | None = None, tolerable_interval: tuple[float, float] | None = None
    ) -> None:
        """Change factor or interval from the next update on.

        Raises:
            TypeError: the updater is no ``IntervalParamScaler``.
            ValueError: as ``IntervalParamScaler``.
        """
        old = self.updater
        if not isinstance(old, IntervalParamScaler):
            raise TypeError(f"only an IntervalParamScaler has a factor and an interval; this updater is {old!r}.")
        factor = old.scaling_factor if scaling_factor is None else scaling_factor
        interval = old.tolerable_interval if tolerable_interval is None else tolerable_interval
        self.updater = IntervalParamScaler(factor, interval)

    def step(self, n: int = 1) -> None:
        """Train until `n` more updates were recorded.

        Raises:
            ValueError: the trace was made without ``train``.
            RuntimeError: ``train`` ran and updated no λ.
        """
        if self._train is None:
            raise ValueError(
                "this trace only watches: pass train=lambda: trainer.train(n_epochs=1), and it can train on by itself."
            )
        wanted = len(self) + n
        while (before := len(self)) < wanted:
            self._train()
            if len(self) == before:
                raise RuntimeError(
                    "train() came back without a λ update: it must call regularizer.update_params, as BC does after "
                    "each epoch."
                )

    def restarted(self) -> "RegularizationTrace":
        """A trace of the same training from its beginning, with the updater as it is now.

        Raises:
            ValueError: the trace was made without ``again``.
        """
        if self._again is None:
            raise ValueError("this trace cannot begin again: pass again=, a function that returns a fresh trace.")
        fresh = self._again()
        fresh.updater = self.updater
        return fresh

    def verdict(self, i: int = -1) -> str:
        """What update `i` did to λ, in words."""
        row = self.rows[i]
        if row.next_lambda == row.lambda_:
            return "λ stays"
        ratio, what = ("high", "λ grows") if row.next_lambda > row.lambda_ else ("low", "λ shrinks")
        return what if self.interval is None else f"ratio too {ratio}: {what}"

    def numbers(self, i: int = -1) -> dict[str, Any]:
        """The key numbers of update `i`; before the first one, λ and the norm alone."""
        settings = {} if self.factor is None else {"factor of the next update": self.factor}
        if not self.rows:
            return {"updates": 0, "λ": self.lambda_, "weight norm": self.first_norm, **settings}
        row, number = self.rows[i], range(len(self))[i] + 1
        return {
            "update": number,
            f"training {self.loss_label}": row.train_loss,
            f"validation {self.loss_label}": row.val_loss,
            "ratio": row.ratio,
            "λ until now": row.lambda_,
            "λ from now on": row.next_lambda,
            "why": self.verdict(i),
            "weight norm": row.norm,
            **settings,
        }

    def _weights(self) -> th.Tensor:
        return th.cat([param.detach().reshape(-1) for param in self._params])

    def _measure(self) -> tuple[float, np.ndarray]:
        weights = self._weights().double()
        reach = float(self.edges[-1])
        counts = th.histc(weights.clamp(-reach, reach), BINS, -reach, reach)
        return float(weights.norm()), (counts / len(weights)).cpu().numpy()


@dataclass(repr=False)
class _Recording:
    """The updater that a trace puts in place of the one it asks."""

    trace: RegularizationTrace

    def __call__(self, lambda_: float, train_loss: SupportsFloat, val_loss: SupportsFloat) -> float:
        trace = self.trace
        new = trace.updater(lambda_, train_loss, val_loss)
        losses = float(train_loss), float(val_loss)
        trace.rows.append(_Row(*losses, float(lambda_), float(new), *trace._measure()))
        return new

    def __repr__(self) -> str:
        return repr(self.trace.updater)


def example_training(
    seed: int = 1,
    *,
    n: int = 24,
    noise: float = 0.4,
    width: int = 64,
    initial_lambda: float = 1e-5,
    scaling_factor: float = 0.2,
    tolerable_interval: tuple[float, float] = (0.9, 1.5),
    steps_per_update: int = 25,
) -> RegularizationTrace:
    """A training small enough to play with: a network that is far too large for `n` noisy points of a sine.

    Minimises the mean squared error plus λ·Σw² with Adam; λ follows 200 fresh noisy points.

    Args:
        seed: of the points and the initial weights.
        n: training points.
        noise: standard deviation of the noise on the sine, whose amplitude is 1.
        width: units of each of the two hidden layers.
        initial_lambda: λ at the start.
        scaling_factor: the updater's.
        tolerable_interval: the updater's.
        steps_per_update: gradient steps from one λ update to the next.
    """
    again = partial(example_training, **locals())
    generator = th.Generator().manual_seed(seed)

    def points(size: int) -> tuple[th.Tensor, th.Tensor]:
        x = 2 * th.rand(size, 1, generator=generator) - 1
        return x, th.sin(3 * x) + noise * th.randn(size, 1, generator=generator)

    (x, y), (x_val, y_val) = points(n), points(200)
    with th.random.fork_rng(devices=[]):
        th.manual_seed(seed)
        layers = [nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)]
    net = nn.Sequential(*layers)
    optimizer = th.optim.Adam(net.parameters(), lr=1e-2)
    updater = IntervalParamScaler(scaling_factor, tolerable_interval)
    create = LpRegularizer.create(initial_lambda, updater, val_split=200 / (n + 200), p=2)
    regularizer = create(optimizer=optimizer, logger=Logger(None, []))  # type: ignore[arg-type]

    def train() -> None:
        for _ in range(steps_per_update):
            optimizer.zero_grad()
            regularizer.regularize_and_backward((net(x) - y).square().mean())
            optimizer.step()
        with th.no_grad():
            regularizer.update_params((net(x) - y).square().mean(), (net(x_val) - y_val).square().mean())

    return RegularizationTrace(regularizer, train=train, again=again, loss_label="mean squared error")


@style.styled
def regularization_panel(trace: RegularizationTrace, *, size: tuple[float, float] = (9.0, 5.2)) -> style.LabFigure:
    """Losses, their ratio with the tolerated band, λ, the weights' norm and their histogram.

    Args:
        trace: what happened; the histogram is of the last update.
        size: inches.
    """
    figure, (losses, ratio, lambdas), (norm, histogram) = style.three_over_two(size)
    updates = np.arange(1, len(trace) + 1)
    losses.plot(updates, trace.series("train_loss"), color=style.BLUE, label="training")
    losses.plot(updates, trace.series("val_loss"), color=style.PURPLE, linestyle="--", label="validation")
    losses.set(title=trace.loss_label)
    losses.set_ylim(bottom=0)
    ratio.plot(updates, np.minimum(trace.series("ratio"), RATIO_CAP), color=style.BLUE)
    ratio.set(title="validation ÷ training")
    if trace.interval is not None:
        low, top = np.minimum(trace.interval, [np.inf, RATIO_CAP])
        ratio.axhspan(low, top, color=style.GREEN, alpha=0.2, linewidth=0, label="tolerated")
        for edge in (low, top):
            ratio.axhline(edge, color=style.GREEN, linewidth=1)
    lambdas.plot(updates, trace.series("lambda_"), color=style.BLACK)
    lambdas.set(title="λ")
    if len(trace) and trace.series("lambda_").min() > 0:
        lambdas.set_yscale("log")
    norm.plot(np.arange(len(trace) + 1), [trace.first_norm, *trace.series("norm")], color=style.GREEN)
    norm.set(title="weight norm √Σw²")
    norm.set_ylim(bottom=0)
    for axes in (losses, ratio, lambdas, norm):
        axes.set(xlabel="λ update", xlim=(0, max(5, len(trace))))
        if len(trace):
            style.legend(axes, fontsize=9)
        elif axes is not norm:
            style.empty_note(axes, "no update yet")
    histogram.stairs(trace.first_histogram, trace.edges, color=style.GREY, linewidth=1.5, label="at the start")
    if len(trace):
        last = trace.rows[-1].histogram
        histogram.stairs(last, trace.edges, fill=True, color=style.GREEN, alpha=0.55, label="now")
    histogram.set(yscale="log", title="share of the weights [log scale]", xlabel="weight")
    histogram.legend(loc="upper right", fontsize=9)
    when = f" after {len(trace)} updates" if len(trace) else ""
    figure.alt = (
        f"Training and validation loss, their ratio and the tolerated band, λ (now {style.plain(trace.lambda_, 3)}), "
        f"weight norm and weight histogram{when}."
    )
    return figure
