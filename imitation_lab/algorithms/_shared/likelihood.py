"""log π(a|s) and the entropy of a policy, without what only reinforcement learning needs.

SB3's `evaluate_actions` runs the value network too and builds distribution objects. For plain actor-critic policies the
same numbers come from the actor alone, in closed form; all others are asked through `evaluate_actions`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch as th
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common import distributions
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import MlpExtractor

__all__ = ["LOG_SQRT_2PI", "LogProbEntropy", "log_prob_and_entropy", "policy_actions"]

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
LogProbEntropy = tuple[th.Tensor, th.Tensor | None]


def log_prob_and_entropy(policy: ActorCriticPolicy, obs: Any, acts: th.Tensor) -> LogProbEntropy:
    """The log-probabilities of actions and the policy's mean entropy.

    Args:
        policy: has `evaluate_actions`.
        obs: tensor `(batch, *obs_shape)`, or a dict of them.
        acts: tensor `(batch, *act_shape)`, as the policy's `evaluate_actions` takes them.

    Returns:
        log π(a|s) of shape `(batch,)`, and the entropy averaged over the batch, a scalar; None if it has no closed
        form.
    """
    head = _HEADS.get(type(getattr(policy, "action_dist", None)))
    if head is not None and _is_plain(policy):
        features = BasePolicy.extract_features(policy, obs, policy.pi_features_extractor)
        return head(policy, policy.action_net(policy.mlp_extractor.forward_actor(features)), acts)
    _, log_prob, entropy = policy.evaluate_actions(obs, acts)
    return log_prob, None if entropy is None else entropy.mean()


def policy_actions(policy: BasePolicy, acts: th.Tensor) -> th.Tensor:
    """Actions as the policy's distribution takes them: `(batch, action_dim)` for `Box`, in [−1, 1] if squashed."""
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        return acts
    if policy.squash_output:
        low, high = (th.as_tensor(bound, device=acts.device) for bound in (space.low, space.high))
        acts = 2 * (acts - low) / (high - low) - 1
    return acts.flatten(1)


def _is_plain(policy: ActorCriticPolicy) -> bool:
    """Whether the actor alone decides `evaluate_actions`, with no side effect in the critic."""
    return (
        _is_plain_class(type(policy)) and policy.share_features_extractor and type(policy.mlp_extractor) is MlpExtractor
    )


@functools.cache
def _is_plain_class(cls: type) -> bool:
    names = ("evaluate_actions", "extract_features", "_get_action_dist_from_latent")
    return issubclass(cls, ActorCriticPolicy) and all(
        getattr(cls, name) is getattr(ActorCriticPolicy, name) for name in names
    )


def _gaussian(policy: ActorCriticPolicy, mean: th.Tensor, acts: th.Tensor) -> LogProbEntropy:
    log_std = policy.log_std
    constant = log_std.sum() + mean.shape[1] * LOG_SQRT_2PI
    z = (acts - mean) * th.exp(-log_std)
    return z.square().sum(1) * -0.5 - constant, constant + 0.5 * mean.shape[1]


def _categorical(policy: ActorCriticPolicy, logits: th.Tensor, acts: th.Tensor) -> LogProbEntropy:
    log_p = F.log_softmax(logits, 1)
    log_prob = log_p.gather(1, acts.long().view(-1, 1)).squeeze(1)
    return log_prob, _categorical_entropy(log_p)


def _categorical_entropy(log_p: th.Tensor) -> th.Tensor:
    # −∞ for an impossible action would give 0·∞; SB3's Categorical clamps in the same way.
    log_p = log_p.clamp(min=th.finfo(log_p.dtype).min)
    return (log_p.exp() * log_p).sum() / -len(log_p)


def _multi_categorical(policy: ActorCriticPolicy, logits: th.Tensor, acts: th.Tensor) -> LogProbEntropy:
    sizes = list(policy.action_dist.action_dims)  # type: ignore[attr-defined]
    parts = [_categorical(policy, *pair) for pair in zip(logits.split(sizes, 1), acts.unbind(1), strict=True)]
    log_probs, entropies = zip(*parts, strict=True)
    return th.stack(log_probs).sum(0), th.stack(entropies).sum()


def _bernoulli(policy: ActorCriticPolicy, logits: th.Tensor, acts: th.Tensor) -> LogProbEntropy:
    log_prob = -F.binary_cross_entropy_with_logits(logits, acts.to(logits.dtype), reduction="none").sum(1)
    entropy = F.binary_cross_entropy_with_logits(logits, th.sigmoid(logits), reduction="sum") / len(logits)
    return log_prob, entropy


_HEADS: dict[type, Callable[[ActorCriticPolicy, th.Tensor, th.Tensor], LogProbEntropy]] = {
    distributions.DiagGaussianDistribution: _gaussian,
    distributions.CategoricalDistribution: _categorical,
    distributions.MultiCategoricalDistribution: _multi_categorical,
    distributions.BernoulliDistribution: _bernoulli,
}
