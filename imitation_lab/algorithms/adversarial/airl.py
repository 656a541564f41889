"""AIRL, adversarial inverse reinforcement learning.

J. Fu, K. Luo and S. Levine, "Learning robust rewards with adversarial inverse reinforcement learning", ICLR 2018.

The discriminator has a form that makes a reward of its own network f:

    D(s, a, s′) = exp f / (exp f + π(a|s)),    so    logit = f(s, a, s′) − log π(a|s)
    f(s, a, s′) = g(s, a) + γ h(s′) − h(s)

f is `reward_net` (`reward_train`); with a `ShapedRewardNet` g is its base (`reward_test`) and h its potential. With a
state-only g (`use_action=False`), deterministic dynamics and at the optimum, g is the expert's reward up to a constant.

Departures from the paper:

1. The learner is paid f, and any entropy bonus is its own, where the paper's reward is f − log π.
2. The learner is any stochastic algorithm of Stable-Baselines3, not TRPO; its transitions are the latest round's (or
   `gen_replay_buffer_capacity`), where the paper mixes those of the last 20 iterations.
3. h(s′) is left out where an episode ended, by time limit too; see `ShapedRewardNet`.
4. π(a|s) of an action that was clipped to its bounds is the density at the bound.
5. Without a `ShapedRewardNet`, f is any network of s, a, s′ and done.
"""

from typing import Any

import torch as th

from imitation_lab.algorithms.adversarial import common
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets.base import wrapper_chain

__all__ = ["AIRL"]


class AIRL(common.AdversarialTrainer):
    """Adversarial inverse reinforcement learning; see the module's text.

    Arguments as of `AdversarialTrainer`; the policy of `gen_algo` must be stochastic (PPO, A2C, SAC), and `reward_net`
    is f, best a `BasicShapedRewardNet`.

    Raises:
        TypeError: if the generator's policy cannot tell the probability of an action.
    """

    _name = "AIRL"
    _needs_log_prob = True

    def logits_expert_is_high(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: th.Tensor,
        log_policy_act_prob: th.Tensor | None = None,
    ) -> th.Tensor:
        """f(s, a, s′) − log π(a|s), `(batch,)`; arguments as in `AdversarialTrainer`.

        Raises:
            TypeError: if `log_policy_act_prob` is None.
        """
        if log_policy_act_prob is None:
            raise TypeError("AIRL's logits need log_policy_act_prob, log π(a|s) of shape (batch,), got None.")
        return self._reward_net(state, action, next_state, done) - log_policy_act_prob

    @property
    def reward_train(self) -> RewardNet:
        """The whole network, f, with its wrappers."""
        return self._reward_net

    @property
    def reward_test(self) -> RewardNet:
        """The innermost network, without shaping and normalization: g."""
        return wrapper_chain(self._reward_net)[-1]
