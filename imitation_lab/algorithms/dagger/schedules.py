"""How DAgger's mixture moves from the expert to the learner."""

import abc
import dataclasses

from imitation_lab.util.codec import register_class

__all__ = ["BetaSchedule", "LinearBetaSchedule", "ExponentialBetaSchedule"]


class BetaSchedule(abc.ABC):
    """βᵢ, the probability that the expert acts in round i.

    One of your own can be saved with its trainer if it is a dataclass and registered with `util.codec.register_class`.
    """

    @abc.abstractmethod
    def __call__(self, round_num: int) -> float:
        """β of the round, counted from 0; in [0, 1]."""


@register_class(name="dagger.LinearBetaSchedule")
@dataclasses.dataclass(frozen=True)
class LinearBetaSchedule(BetaSchedule):
    """β falls from 1 in round 0 to 0 in round `rampdown_rounds`, and stays there.

    Raises:
        ValueError: `rampdown_rounds` is below 1.
    """

    rampdown_rounds: int

    def __post_init__(self) -> None:
        if not self.rampdown_rounds >= 1:
            raise ValueError(f"rampdown_rounds is {self.rampdown_rounds}, expected at least 1.")

    def __call__(self, round_num: int) -> float:
        """max(0, 1 − i / rampdown_rounds)."""
        return max(0.0, 1 - _check_round(round_num) / self.rampdown_rounds)


@register_class(name="dagger.ExponentialBetaSchedule")
@dataclasses.dataclass(frozen=True)
class ExponentialBetaSchedule(BetaSchedule):
    """β is `decay_probability` to the power of the round: 1 in round 0.

    Raises:
        ValueError: `decay_probability` is not in (0, 1].
    """

    decay_probability: float

    def __post_init__(self) -> None:
        if not 0 < self.decay_probability <= 1:
            raise ValueError(f"decay_probability is {self.decay_probability}, expected a number in (0, 1].")

    def __call__(self, round_num: int) -> float:
        """decay_probability^i."""
        return float(self.decay_probability ** _check_round(round_num))


def _check_round(round_num: int) -> int:
    if round_num < 0:
        raise ValueError(f"round_num is {round_num}, expected at least 0.")
    return round_num
