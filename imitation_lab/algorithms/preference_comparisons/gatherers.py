"""Who says which fragment is better: the interface, and a teacher who knows the true reward."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from imitation_lab.algorithms._shared.logged import Logged
from imitation_lab.algorithms.preference_comparisons.model import check_discount
from imitation_lab.data import types
from imitation_lab.util import checks
from imitation_lab.util import logger as lab_logger

__all__ = ["PreferenceGatherer", "SyntheticGatherer", "AsynchronousGatherer"]


class PreferenceGatherer(Logged, abc.ABC):
    """Gives a preference for each pair of fragments.

    Args:
        rng: for gatherers that draw random numbers.
        custom_logger: where metrics go; None makes a new one.
    """

    _state: tuple[str, ...] = ("rng",)

    def __init__(
        self, rng: np.random.Generator | None = None, custom_logger: lab_logger.AnyLogger | None = None
    ) -> None:
        super().__init__(custom_logger)
        self.rng = rng

    @abc.abstractmethod
    def __call__(self, fragment_pairs: Sequence[types.TrajectoryWithRewPair]) -> np.ndarray:
        """Preferences, float32 `(pairs,)`: 1 where the first fragment is better, 0 the second, 0.5 neither."""


class AsynchronousGatherer(PreferenceGatherer):
    """A gatherer whose answers come later: `submit` pairs, then `poll` now and then. Neither waits."""

    @abc.abstractmethod
    def submit(self, fragment_pairs: Sequence[types.TrajectoryPair]) -> list[str]:
        """Queues pairs for the teacher; returns an id for each."""

    @abc.abstractmethod
    def poll(self) -> tuple[list[types.TrajectoryPair], np.ndarray]:
        """Takes out what has been answered since: pairs and preferences, float32 `(pairs,)`, possibly none."""

    @property
    @abc.abstractmethod
    def pending(self) -> Sequence[str]:
        """Ids of the pairs that wait for an answer, in the order of submission."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """What a checkpoint has to know of this gatherer, as JSON."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave."""

    def state_dict(self) -> dict[str, Any]:
        """As `state`."""
        return self.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `restore`."""
        self.restore(state)

    def __call__(self, fragment_pairs: Sequence[types.TrajectoryWithRewPair]) -> np.ndarray:
        """Raises a TypeError: this gatherer's answers cannot be waited for.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{type(self).__name__} answers later and cannot be called: use submit() and poll(), or "
            "PreferenceComparisons.step(), which does both."
        )


class SyntheticGatherer(PreferenceGatherer):
    """Prefers by the true reward: P(1 ≻ 2) = σ((Σₜ γᵗ r₁ₜ − Σₜ γᵗ r₂ₜ) / temperature).

    Args:
        temperature: how irrational the teacher is. At 0 the better fragment always wins, and ties give 0.5.
        discount_factor: γ.
        sample: whether preferences are drawn, 0 or 1, or are the probabilities themselves.
        rng: draws them.
        threshold: the quotient is clipped to ±threshold.
        custom_logger: gets `entropy`, of the mean pair in nats; None makes a new one.

    Raises:
        ValueError: if a number is out of range, or `sample` is set and there is no `rng`.
    """

    def __init__(
        self,
        temperature: float = 1,
        discount_factor: float = 1,
        sample: bool = True,
        rng: np.random.Generator | None = None,
        threshold: float = 50,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        super().__init__(rng, custom_logger)
        checks.at_least(0, temperature=temperature)
        check_discount(discount_factor)
        checks.positive(threshold=threshold)
        if sample and rng is None:
            raise ValueError("sample=True draws preferences at random: pass rng=np.random.default_rng(seed).")
        if rng is not None:
            checks.generator(rng)
        self.temperature = temperature
        self.discount_factor = discount_factor
        self.sample = sample
        self.threshold = threshold

    def __call__(self, fragment_pairs: Sequence[types.TrajectoryWithRewPair]) -> np.ndarray:
        """Preferences, float32 `(pairs,)`.

        Raises:
            ValueError: if there are no pairs, or a fragment has no rewards.
        """
        differences = self._differences(fragment_pairs)
        if self.temperature == 0:
            return ((np.sign(differences) + 1) / 2).astype(np.float32)
        logits = np.clip(differences / self.temperature, -self.threshold, self.threshold)
        small = np.exp(-np.abs(logits))
        p_other = small / (1 + small)  # of the less likely answer
        p = np.where(logits > 0, 1 - p_other, p_other)
        entropy = np.log1p(small) + np.abs(logits) * p_other  # −p ln p − (1 − p) ln(1 − p), without ln 0
        self.logger.record("entropy", float(entropy.mean()))
        if not self.sample:
            return p.astype(np.float32)
        assert self.rng is not None
        return (self.rng.random(len(p)) < p).astype(np.float32)

    def _differences(self, pairs: Sequence[types.TrajectoryWithRewPair]) -> np.ndarray:
        """Discounted returns of the first fragments minus those of the second."""
        if len(pairs) == 0:
            raise ValueError("Got no pairs of fragments, expected at least one to compare.")
        try:
            parts = [fragment.rews for pair in pairs for fragment in pair]
        except AttributeError:
            raise ValueError(
                "SyntheticGatherer prefers by the true rewards, but a fragment has none: sample TrajectoryWithRew, or "
                "use HumanGatherer."
            ) from None
        rews = np.concatenate(parts).astype(np.float64)
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        gamma = self.discount_factor
        if (lengths == lengths[0]).all():
            returns = rews.reshape(len(parts), -1) @ gamma ** np.arange(lengths[0])
        else:
            begins = np.cumsum(lengths) - lengths
            steps = np.arange(len(rews)) - np.repeat(begins, lengths)
            returns = np.add.reduceat(rews * gamma**steps, begins)
        return returns[0::2] - returns[1::2]
