"""How a regularizer's strength λ follows the losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from numbers import Real
from typing import Protocol, SupportsFloat, runtime_checkable

import torch as th

from imitation_lab.util.errors import ArgumentError

__all__ = ["LambdaUpdater", "IntervalParamScaler", "LossType"]

LossType = th.Tensor | float


@runtime_checkable
class LambdaUpdater(Protocol):
    """Any callable that gives the next λ, from this one and the two losses."""

    def __call__(self, lambda_: float, train_loss: SupportsFloat, val_loss: SupportsFloat) -> float:
        """Return the new λ.

        Args:
            lambda_: λ until now.
            train_loss: mean loss on the training data, without the penalty (scalar tensors are accepted).
            val_loss: mean loss on the validation data, without the penalty.

        Returns:
            A finite λ of at least 0.
        """


@dataclasses.dataclass(frozen=True)
class IntervalParamScaler(LambdaUpdater):
    """Holds validation loss / training loss inside an interval (Christiano et al. 2017, section 2.2.3: [1.1, 1.5]).

    With ratio r = val_loss / train_loss, factor f and interval [low, high]::

        λ ← λ · (1 + f)   if r > high     (it overfits: regularize more)
        λ ← λ · (1 − f)   if r < low      (it underfits: regularize less)
        λ ← λ             otherwise

    A training loss of 0 counts as r = ∞ when the validation loss is above 0; two zeros leave λ as it is, and so does a
    step that would take λ to 0 or to infinity.

    λ grows without end while no λ brings the ratio back, as where the validation part is harder by chance: choose a
    small factor, such as 0.1, a wide interval and a large validation split.

    Attributes:
        scaling_factor: f, inside (0, 1).
        tolerable_interval: (low, high) with 0 ≤ low < high.

    Raises:
        TypeError: the factor or a bound is no number, or the interval is no pair.
        ValueError: the factor or the interval is out of range.
    """

    scaling_factor: float
    tolerable_interval: tuple[float, float]

    def __post_init__(self) -> None:
        """Check the arguments and store them as plain floats."""
        factor, interval = self.scaling_factor, self.tolerable_interval
        if not _is_number(factor):
            raise ArgumentError(f"scaling_factor must be a number inside (0, 1), got {factor!r}.")
        if not 0.0 < factor < 1.0:
            raise ValueError(
                f"scaling_factor must lie inside (0, 1), got {factor!r}: λ is multiplied by 1 ± scaling_factor."
            )
        if not isinstance(interval, Sequence) or len(interval) != 2 or not all(map(_is_number, interval)):
            raise ArgumentError(f"tolerable_interval must be a pair of numbers (low, high), got {interval!r}.")
        low, high = float(interval[0]), float(interval[1])
        if math.isnan(low) or math.isnan(high):
            raise ValueError(f"tolerable_interval must not contain NaN, got {interval!r}.")
        if low < 0:
            raise ValueError(
                f"tolerable_interval must not be negative, got {interval!r}: a ratio of losses is at least 0."
            )
        if low >= high:
            hint = f"did you mean {(high, low)!r}?" if low > high else "leave room between the two."
            raise ValueError(f"tolerable_interval must be in ascending order with low < high, got {interval!r}; {hint}")
        object.__setattr__(self, "scaling_factor", float(factor))
        object.__setattr__(self, "tolerable_interval", (low, high))

    def __call__(self, lambda_: float, train_loss: SupportsFloat, val_loss: SupportsFloat) -> float:
        """Return λ scaled up, down or not at all.

        Raises:
            TypeError: λ is no float.
            ValueError: λ is not positive and finite, or a loss is negative, NaN or infinite.
        """
        if not isinstance(lambda_, float):
            raise ArgumentError(f"lambda_ must be a float, got {lambda_!r} of type {type(lambda_).__name__}.")
        if lambda_ == 0:
            raise ValueError("lambda_ is 0, which no factor can scale: start from a positive initial_lambda.")
        if not 0 < lambda_ < math.inf:
            raise ValueError(f"lambda_ must be positive and finite, got {lambda_!r}.")
        train, val = _checked_loss("train_loss", train_loss), _checked_loss("val_loss", val_loss)
        if train == val == 0:
            return lambda_
        ratio = val / train if train > 0 else math.inf
        low, high = self.tolerable_interval
        if train == 0 or ratio > high:
            scaled = lambda_ * (1 + self.scaling_factor)
        elif ratio < low:
            scaled = lambda_ * (1 - self.scaling_factor)
        else:
            return lambda_
        return scaled if 0 < scaled < math.inf else lambda_


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _checked_loss(name: str, loss: SupportsFloat) -> float:
    try:
        value = float(loss)
    except (TypeError, ValueError, RuntimeError):  # a tensor's error for more than one entry is a RuntimeError
        raise ArgumentError(f"{name} must be a number or a tensor of one, got {loss!r}.") from None
    if math.isnan(value):
        raise ValueError(f"{name} is NaN: training has diverged; lower the learning rate or look at the data.")
    if value < 0:
        raise ValueError(
            f"{name} must not be negative, got {value}: a ratio of losses says how far training overfits only "
            "where both are at least 0. Shift the loss, or pass a LambdaUpdater of your own."
        )
    if math.isinf(value):
        raise ValueError(f"{name} is infinite: training has diverged; lower the learning rate.")
    return value
