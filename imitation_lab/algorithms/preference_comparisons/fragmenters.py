"""Which pieces of which trajectories are compared."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th

from imitation_lab.algorithms._shared.logged import Logged
from imitation_lab.algorithms.preference_comparisons._batch import discounts
from imitation_lab.algorithms.preference_comparisons.model import PreferenceModel, logistic
from imitation_lab.data import types
from imitation_lab.util import checks
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.networks import evaluating

__all__ = ["Fragmenter", "RandomFragmenter", "ActiveSelectionFragmenter"]


class Fragmenter(Logged, abc.ABC):
    """Cuts pairs of fragments out of trajectories.

    Args:
        custom_logger: where metrics go; None makes a new one.
    """

    _state: tuple[str, ...] = ("rng",)
    rng: Any = None  # a generator, if it draws

    @abc.abstractmethod
    def __call__(
        self, trajectories: Sequence[types.TrajectoryWithRew], fragment_length: int, num_pairs: int
    ) -> Sequence[types.TrajectoryWithRewPair]:
        """Cuts fragments.

        Args:
            trajectories: the source.
            fragment_length: steps in each fragment.
            num_pairs: how many pairs.

        Returns:
            The pairs. A fragment is `terminal` if it ends where its episode did.
        """


class RandomFragmenter(Fragmenter):
    """Draws each fragment uniformly from all there are: each start in each trajectory is equally likely.

    Fragments are views of the trajectories.

    Args:
        rng: draws them, with replacement.
        warning_threshold: warns when fewer than this many times the requested transitions are there to draw from; 0
            never warns.
        custom_logger: where the warning goes; None makes a new one.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        warning_threshold: int = 10,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        super().__init__(custom_logger)
        checks.generator(rng)
        self.rng = rng
        self.warning_threshold = warning_threshold

    def __call__(
        self, trajectories: Sequence[types.TrajectoryWithRew], fragment_length: int, num_pairs: int
    ) -> Sequence[types.TrajectoryWithRewPair]:
        """Cuts `num_pairs` random pairs; see `Fragmenter`.

        Raises:
            ValueError: if a number is not positive, or no trajectory is as long as a fragment. Shorter ones are left
                out, with a line in the log.
        """
        check_counts(fragment_length, num_pairs)
        lengths = np.fromiter(map(len, trajectories), np.int64, len(trajectories))
        usable = np.flatnonzero(lengths >= fragment_length)
        if len(usable) == 0:
            longest = f"the longest has {lengths.max()} steps" if len(lengths) else "there are none"
            raise ValueError(
                f"No trajectory is long enough for a fragment of {fragment_length} steps: {longest} (of "
                f"{len(lengths)} trajectories). Lower fragment_length, or sample longer trajectories."
            )
        if len(usable) < len(lengths):
            self.logger.log(
                f"Left out {len(lengths) - len(usable)} of {len(lengths)} trajectories, shorter than a fragment of "
                f"{fragment_length} steps."
            )
        needed, there = 2 * num_pairs * fragment_length, int(lengths[usable].sum())
        if there < self.warning_threshold * needed:
            self.logger.warn(
                f"{num_pairs} pairs of fragments take {needed} transitions, drawn from {there}: many will be drawn "
                "more than once. A higher transition_oversampling gives more to draw from."
            )
        starts = lengths[usable] - fragment_length + 1
        ends = np.cumsum(starts)
        drawn = self.rng.integers(ends[-1], size=2 * num_pairs)
        which = np.searchsorted(ends, drawn, side="right")
        begins = drawn - (ends - starts)[which]
        chosen = usable[which].tolist()
        sources = {i: _Source(trajectories[i]) for i in set(chosen)}
        fragments = [sources[i].cut(begin, fragment_length) for i, begin in zip(chosen, begins.tolist(), strict=True)]
        return list(zip(fragments[0::2], fragments[1::2], strict=True))


class _Source:
    """A trajectory to cut from; its fields are looked up once, for cutting takes little more than that."""

    __slots__ = ("acts", "end", "infos", "kind", "obs", "others", "rews")

    def __init__(self, trajectory: types.TrajectoryWithRew) -> None:
        fields = dict(trajectory.__dict__)
        self.kind = type(trajectory)
        self.end = len(trajectory.acts) if fields.pop("terminal") else -1
        self.obs, self.acts, self.infos = fields.pop("obs"), fields.pop("acts"), fields.pop("infos")
        self.rews = fields.pop("rews", None)
        self.others = fields  # of a subclass

    def cut(self, begin: int, length: int) -> types.TrajectoryWithRew:
        """The steps from `begin` on, as views."""
        end = begin + length
        part: types.TrajectoryWithRew = object.__new__(self.kind)  # of what was checked: no second check
        fields = part.__dict__
        fields["obs"] = self.obs[begin : end + 1]
        fields["acts"] = self.acts[begin:end]
        fields["infos"] = None if self.infos is None else self.infos[begin:end]
        fields["terminal"] = end == self.end
        if self.rews is not None:
            fields["rews"] = self.rews[begin:end]
        if self.others:
            fields.update(self.others)
        return part


UNCERTAINTIES = ("logit", "probability", "label")


class ActiveSelectionFragmenter(Fragmenter):
    """Keeps, of many candidate pairs, those on which the members of an ensemble disagree most.

    Disagreement is the members' variance of: the difference of returns ("logit"), the preference probability
    ("probability"; Christiano et al. 2017 draw on it too), or the predicted label ("label"). Candidates are evaluated
    by all members in one pass.

    Args:
        preference_model: around an ensemble.
        base_fragmenter: cuts the candidates.
        fragment_sample_factor: candidates per pair kept, at least 1.
        uncertainty_on: "logit", "probability" or "label".
        custom_logger: where metrics go; None makes a new one.

    Raises:
        ValueError: if there is no ensemble, or an argument has no such value.
    """

    _state = ("base_fragmenter",)

    def __init__(
        self,
        preference_model: PreferenceModel,
        base_fragmenter: Fragmenter,
        fragment_sample_factor: float,
        uncertainty_on: str = "logit",
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        super().__init__(custom_logger)
        if preference_model.ensemble_model is None:
            raise ValueError(
                "Active selection goes by the disagreement of an ensemble, but this PreferenceModel has a "
                f"{type(preference_model.model).__name__}: build it around a RewardEnsemble."
            )
        checks.at_least(1, fragment_sample_factor=fragment_sample_factor)
        self.preference_model = preference_model
        self.base_fragmenter = base_fragmenter
        self.fragment_sample_factor = fragment_sample_factor
        self._uncertainty_on = uncertainty_on
        if uncertainty_on not in UNCERTAINTIES:
            self.raise_uncertainty_on_not_supported()

    @property
    def uncertainty_on(self) -> str:
        """What the variance is taken of."""
        return self._uncertainty_on

    def raise_uncertainty_on_not_supported(self) -> None:
        """Raises the ValueError about `uncertainty_on`."""
        raise ValueError(
            f"uncertainty_on={self.uncertainty_on!r} is not supported, expected 'logit', 'probability' or 'label'."
        )

    def __call__(
        self, trajectories: Sequence[types.TrajectoryWithRew], fragment_length: int, num_pairs: int
    ) -> Sequence[types.TrajectoryWithRewPair]:
        """Cuts candidates and keeps the `num_pairs` most uncertain, the most uncertain first; see `Fragmenter`."""
        check_counts(fragment_length, num_pairs)
        candidates = self.base_fragmenter(trajectories, fragment_length, int(self.fragment_sample_factor * num_pairs))
        model = self.preference_model
        with evaluating(model), th.no_grad():
            variances = self._variance(model.differences(model.batch(candidates)))
        best = th.argsort(variances, descending=True, stable=True)[:num_pairs]
        return [candidates[i] for i in best.tolist()]

    def variance_estimate(self, rews1: th.Tensor, rews2: th.Tensor) -> float:
        """The members' disagreement on one pair.

        Args:
            rews1: rewards of the first fragment by each member, `(T1, members)`.
            rews2: of the second, `(T2, members)`.
        """
        with th.no_grad():
            gamma = self.preference_model.discount_factor
            returns = [discounts(len(rews), gamma, rews) @ rews for rews in (rews1, rews2)]
            return float(self._variance((returns[0] - returns[1])[:, None]))

    def _variance(self, differences: th.Tensor) -> th.Tensor:
        """Over the members, from differences `(members, pairs)`: `(pairs,)`, unbiased but for labels, p(1 − p)."""
        if self.uncertainty_on == "logit":
            return differences.var(0)
        if self.uncertainty_on == "probability":
            model = self.preference_model
            return logistic(model.clip(differences), model.noise_prob).var(0)
        share = (differences > 0).to(differences.dtype).mean(0)
        return share * (1 - share)


def check_counts(fragment_length: int, num_pairs: int) -> None:
    """Raises a ValueError unless both are positive."""
    checks.at_least(1, fragment_length=fragment_length)
    if num_pairs < 1:
        raise ValueError(f"num_pairs must be at least 1, got {num_pairs}: there is nothing to compare.")
