"""What the discriminator asks the generator's policy, and how far an update moved it."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import Actor as SACActor

from imitation_lab.algorithms._shared.likelihood import log_prob_and_entropy
from imitation_lab.algorithms.adversarial._pool import Rows, SamplePool, TransitionEncoder

LogProb = Callable[[Any, th.Tensor], th.Tensor]
_LOG_PROB_ROWS = 2048


def make_log_prob(gen_algo: BaseAlgorithm, name: str) -> LogProb:
    """Log π(a|s) of the generator's policy, as a function of tensors `(batch, ...)`, without gradients.

    Densities of `Box` actions are per unit of the action space, also where the policy works in [−1, 1].

    Raises:
        TypeError: if the policy is deterministic, or not known to give probabilities.
    """
    policy = gen_algo.policy
    if isinstance(getattr(policy, "actor", None), SACActor):
        return functools.partial(_sac_log_prob, policy)
    if not hasattr(policy, "evaluate_actions"):
        raise TypeError(
            f"{name} needs a stochastic policy that can tell the probability of an action, such as that of PPO, A2C or "
            f"SAC; {type(gen_algo).__name__}'s {type(policy).__name__} cannot. Use another generator, or GAIL, which "
            "needs no probabilities."
        )

    return functools.partial(_policy_log_prob, policy)


@th.no_grad()
def _policy_log_prob(policy: Any, obs: Any, acts: th.Tensor) -> th.Tensor:
    if policy.training:
        policy.set_training_mode(False)
    acts, offset = _scaled(policy, acts) if policy.squash_output else (acts, 0.0)
    return log_prob_and_entropy(policy, obs, acts)[0] - offset


def _scaled(policy: Any, acts: th.Tensor) -> tuple[th.Tensor, float]:
    """Actions in [−1, 1], and the logarithm of how much larger the action space is."""
    space = policy.action_space
    low, high = (th.as_tensor(bound, dtype=acts.dtype, device=acts.device) for bound in (space.low, space.high))
    return 2 * (acts - low) / (high - low) - 1, float(np.log((space.high - space.low) / 2).sum())


@th.no_grad()
def _sac_log_prob(policy: Any, obs: Any, acts: th.Tensor) -> th.Tensor:
    actor = policy.actor
    acts, offset = _scaled(policy, acts)
    if actor.training:
        actor.set_training_mode(False)
    mean, log_std, kwargs = actor.get_action_dist_params(obs)
    return actor.action_dist.proba_distribution(mean, log_std, **kwargs).log_prob(acts) - offset


class LogProbs:
    """Log-probabilities of pool rows under the generator's policy, which between its updates are the same.

    Rows are evaluated batch by batch until as many have been as there are; then all are, once, and looked up.

    Args:
        log_prob: as `make_log_prob` gives it.
        policy: the policy behind it.
    """

    def __init__(self, log_prob: LogProb, policy: th.nn.Module):
        self._log_prob = log_prob
        self._parameters = [*policy.parameters(), *policy.buffers()]
        self._state: Any = None
        self._seen = 0
        self._known: th.Tensor | None = None

    def __call__(self, obs: Any, acts: th.Tensor) -> th.Tensor:
        """Of any transitions, `(batch,)`."""
        return self._log_prob(obs, acts)

    def of_pool(self, pool: SamplePool, encoder: TransitionEncoder, index: th.Tensor, rows: Rows) -> th.Tensor:
        """Of the rows at `index`, `(batch,)`."""
        state = (pool.version, *(tensor._version for tensor in self._parameters))
        if state != self._state:
            self._state, self._seen, self._known = state, 0, None
        if self._known is None:
            self._seen += len(index)
            if self._seen <= pool.n_expert + pool.size:
                return self._log_prob(*encoder.policy_inputs(rows))
            parts = [
                self._log_prob(*encoder.policy_inputs(pool.rows(slice(start, start + _LOG_PROB_ROWS))))
                for start in range(0, pool.n_expert + pool.size, _LOG_PROB_ROWS)
            ]
            self._known = th.cat(parts)[: pool.n_expert + pool.size]
        return self._known.index_select(0, index.to(self._known.device))


@th.no_grad()
def policy_change(gen_algo: BaseAlgorithm, max_rows: int = 1024) -> dict[str, th.Tensor]:
    """How far the last update moved an on-policy generator, and the entropy it has now.

    Returns:
        `gen_kl`, an unbiased estimate of KL(old ‖ new) on the rollout, r − 1 − log r with r = new / old (Schulman),
        and `gen_entropy`; nothing for off-policy algorithms and policies of unknown kinds.
    """
    policy = gen_algo.policy
    buffer = getattr(gen_algo, "rollout_buffer", None)
    if buffer is None or not buffer.full or not isinstance(policy, ActorCriticPolicy):
        return {}
    if not getattr(buffer, "generator_ready", False):
        return {}
    if policy.training:
        policy.set_training_mode(False)
    rows = slice(None, None, max(1, len(buffer.actions) // max_rows))
    observations = buffer.observations
    obs = (
        {key: buffer.to_torch(part[rows]) for key, part in observations.items()}
        if isinstance(observations, dict)
        else buffer.to_torch(observations[rows])
    )
    acts = buffer.to_torch(buffer.actions[rows])
    if isinstance(gen_algo.action_space, spaces.Discrete):
        acts = acts.long().flatten()
    old = buffer.to_torch(buffer.log_probs[rows]).flatten()
    log_prob, entropy = log_prob_and_entropy(policy, obs, acts)
    difference = log_prob - old
    return {
        "gen_kl": (difference.exp() - 1 - difference).mean(),
        "gen_entropy": -log_prob.mean() if entropy is None else entropy,
    }
