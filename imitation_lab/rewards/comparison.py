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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imitation_lab.data.types import Transitions, maybe_unwrap_dictobs
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_nets import RewardNet
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
    dones = np.zeros(len(transitions), dtype=bool)
    values = []
    for reward in (reward_a, reward_b):
        values.append(_evaluate(_as_function(reward), transitions.obs, transitions.acts, transitions.next_obs, dones))
    epic = epic_distance(reward_a, reward_b, transitions, rng=rng, discount=discount, n_canonical=n_canonical)
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
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], got {discount!r}.")
    if len(transitions) < 2 or n_canonical < 1:
        raise ValueError(
            f"EPIC needs at least two transitions and one sample, got {len(transitions)} and n_canonical={n_canonical}."
        )
    reward_fn = _as_function(reward)
    n, m = len(transitions), n_canonical
    obs, next_obs = maybe_unwrap_dictobs(transitions.obs), maybe_unwrap_dictobs(transitions.next_obs)
    acts = transitions.acts
    start, end, drawn = rng.integers(n, size=(3, m))  # S, S′ and A, as rows of the transitions
    sampled_next, sampled_acts = _take(next_obs, end), acts[drawn]

    def mean_from(states: Any, count: int) -> np.ndarray:
        """E[R(s, A, S′)] for each of `count` states."""
        rows = max(1, _CHUNK // m)
        means = [np.zeros(0)]
        for begin in range(0, count, rows):
            part = np.arange(begin, min(begin + rows, count))
            rewards = reward_fn(
                _take(states, np.repeat(part, m)),
                np.concatenate([sampled_acts] * len(part)),
                _take(sampled_next, np.tile(np.arange(m), len(part))),
                np.zeros(len(part) * m, dtype=bool),
            )
            means.append(np.asarray(rewards, dtype=np.float64).reshape(len(part), m).mean(axis=1))
        return np.concatenate(means)

    values = _evaluate(reward_fn, obs, acts, next_obs, np.zeros(n, dtype=bool)).astype(np.float64)
    constant = reward_fn(_take(obs, start), sampled_acts, sampled_next, np.zeros(m, dtype=bool))
    mean_constant = np.asarray(constant, dtype=np.float64).mean()
    return values + discount * mean_from(next_obs, n) - mean_from(obs, n) - discount * mean_constant


def _as_function(reward: RewardFn | RewardNet) -> RewardFn:
    if isinstance(reward, RewardNet):
        return reward.predict
    if not callable(reward):
        raise TypeError(f"Expected a reward function or a RewardNet, got {reward!r}.")
    return reward


def _evaluate(reward_fn: RewardFn, obs: Any, acts: np.ndarray, next_obs: Any, dones: np.ndarray) -> np.ndarray:
    obs, next_obs = maybe_unwrap_dictobs(obs), maybe_unwrap_dictobs(next_obs)
    parts = [slice(begin, begin + _CHUNK) for begin in range(0, len(dones), _CHUNK)]
    rewards = [
        np.asarray(reward_fn(_take(obs, part), acts[part], _take(next_obs, part), dones[part])) for part in parts
    ]
    return np.concatenate(rewards) if rewards else np.zeros(0)


def _take(obs: Any, index: Any) -> Any:
    return {key: value[index] for key, value in obs.items()} if isinstance(obs, Mapping) else obs[index]
