"""How alike two rewards are: correlations, and the EPIC distance.

EPIC (Gleave, Dennis, Legg, Russell and Leike, 2021, "Quantifying differences in reward functions") compares rewards up
to potential shaping and positive scale, which leave optimal policies as they are. Each reward is first made canonical,

    C(R)(s, a, s′) = R(s, a, s′) + E[γ R(s′, A, S′) − R(s, A, S′) − γ R(S, A, S′)]

with S, S′ and A drawn independently, and then D(R₁, R₂) = √((1 − ρ) / 2), where ρ is the Pearson correlation of the
canonical rewards: 0 for equivalent rewards, √½ ≈ 0.71 for unrelated ones, 1 for opposite ones.

Departures from the paper:

1. The distributions of S, S′ and A are the states and actions of the transitions given.
2. Both rewards are made canonical with the same samples, so that shaping cancels exactly, not only in the mean.
3. `done` is False throughout: shaping that drops Φ(s′) at an episode's end would not be shaping here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imitation_lab.data.types import Transitions, maybe_unwrap_dictobs
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import checks, tree
from imitation_lab.util.correlation import pearson, spearman

__all__ = ["RewardComparison", "compare_rewards", "epic_distance", "canonicalize", "pearson", "spearman"]

_CHUNK = 1 << 16  # transitions per reward call


@dataclass(frozen=True)
class RewardComparison:
    """How alike two rewards are.

    Attributes:
        pearson: linear correlation on the transitions, in [−1, 1].
        spearman: correlation of the ranks, in [−1, 1].
        epic: EPIC distance, in [0, 1]; 0 means equivalent.
        n_transitions: number of transitions compared on.
    """

    pearson: float
    spearman: float
    epic: float
    n_transitions: int

    def __str__(self) -> str:
        return (
            f"Pearson {self.pearson:+.3f}  Spearman {self.spearman:+.3f}  EPIC {self.epic:.3f}  "
            f"({self.n_transitions} transitions)"
        )


def compare_rewards(
    reward_a: RewardFn | RewardNet,
    reward_b: RewardFn | RewardNet,
    transitions: Transitions,
    *,
    rng: np.random.Generator,
    discount: float = 0.99,
    n_canonical: int = 256,
) -> RewardComparison:
    """Compares two rewards on transitions.

    Args:
        reward_a: a reward function or network; of a network `predict` is used.
        reward_b: the other.
        transitions: what to compare on, and where EPIC draws states and actions from.
        rng: draws the samples for EPIC.
        discount: γ of the task, in [0, 1].
        n_canonical: number of samples (A, S, S′) in the expectation.

    Returns:
        Pearson and Spearman correlation and EPIC distance; NaN where a reward is constant.

    Raises:
        ValueError: if there are fewer than two transitions, γ lies elsewhere or a reward is not finite.
    """
    epic = epic_distance(reward_a, reward_b, transitions, rng=rng, discount=discount, n_canonical=n_canonical)
    step = (transitions.obs, transitions.acts, transitions.next_obs)
    values = [_going_on(reward)(*step) for reward in (reward_a, reward_b)]
    return RewardComparison(pearson(*values), spearman(*values), epic, len(transitions))


def epic_distance(
    reward_a: RewardFn | RewardNet,
    reward_b: RewardFn | RewardNet,
    transitions: Transitions,
    *,
    rng: np.random.Generator,
    discount: float = 0.99,
    n_canonical: int = 256,
) -> float:
    """EPIC distance, in [0, 1]; arguments and errors as in `compare_rewards`."""
    seed = int(rng.integers(2**63))  # the same samples for both
    canonical = [
        canonicalize(reward, transitions, rng=np.random.default_rng(seed), discount=discount, n_canonical=n_canonical)
        for reward in (reward_a, reward_b)
    ]
    return float(np.sqrt((1 - pearson(*canonical)) / 2))


def canonicalize(
    reward: RewardFn | RewardNet,
    transitions: Transitions,
    *,
    rng: np.random.Generator,
    discount: float = 0.99,
    n_canonical: int = 256,
) -> np.ndarray:
    """The canonically shaped reward of each transition, float64 `(n,)`; arguments as in `compare_rewards`.

    Calls the reward on about 2 · n · n_canonical transitions.
    """
    checks.between(0, 1, discount=discount)
    if len(transitions) < 2 or n_canonical < 1:
        raise ValueError(
            f"EPIC needs at least two transitions and one sample, got {len(transitions)} and n_canonical={n_canonical}."
        )
    evaluate = _going_on(reward)
    n, m = len(transitions), n_canonical
    obs, acts, next_obs = transitions.obs, transitions.acts, transitions.next_obs
    start, end, drawn = rng.integers(n, size=(3, m))  # S, S′ and A, as rows of the transitions

    def mean_from(states: Any) -> np.ndarray:
        """E[R(s, A, S′)] for each state."""
        means = []
        for rows in np.split(np.arange(n), range(max(1, _CHUNK // m), n, max(1, _CHUNK // m))):
            k = len(rows)
            ends = tree.take(next_obs, np.tile(end, k))
            rewards = evaluate(tree.take(states, np.repeat(rows, m)), acts[np.tile(drawn, k)], ends)
            means.append(rewards.reshape(k, m).mean(axis=1, dtype=np.float64))
        return np.concatenate(means)

    constant = evaluate(tree.take(obs, start), acts[drawn], tree.take(next_obs, end)).mean(dtype=np.float64)
    values = evaluate(obs, acts, next_obs).astype(np.float64)
    return values + discount * mean_from(next_obs) - mean_from(obs) - discount * constant


def _going_on(reward: RewardFn | RewardNet) -> Callable[[Any, np.ndarray, Any], np.ndarray]:
    """R(s, a, s′) of transitions that end no episode, evaluated piece by piece."""
    reward_fn = reward.predict if isinstance(reward, RewardNet) else reward
    if not callable(reward_fn):
        raise TypeError(f"Expected a reward function or a RewardNet, got {reward!r}.")

    def evaluate(*step: Any) -> np.ndarray:
        pieces = zip(*(tree.split(maybe_unwrap_dictobs(part), _CHUNK) for part in step), strict=True)
        return np.concatenate([reward_fn(s, a, after, np.zeros(len(a), dtype=bool)) for s, a, after in pieces])

    return evaluate
