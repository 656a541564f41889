"""GAIL, generative adversarial imitation learning.

J. Ho and S. Ermon, "Generative adversarial imitation learning", NeurIPS 2016.

A discriminator D tells the expert's pairs of state and action from the learner's; the learner is paid for taking it in:

    min over π, max over D:  E_expert[log D(s, a)] + E_π[log(1 − D(s, a))] − λ H(π)
    reward = −log(1 − D) = softplus(logit)          D = σ(logit), logit = reward_net(s, a, s′, done)

Departures from the paper:

1. D is the probability of the expert; in the paper, of the learner.
2. The learner is any algorithm of Stable-Baselines3, not TRPO. λ is that algorithm's entropy coefficient.
3. The network may see the next state and the done flag.
4. The discriminator takes several steps of Adam per round, on minibatches of the learner's latest transitions, and not
   one full-batch gradient step.
5. Other rewards can be had of the same logit (`reward_form`), and gradient penalties.
6. `PredictProcessedWrapper`s of the network, such as normalization, are applied to the reward, not to the logit.
"""

from typing import Any

import torch as th

from imitation_lab.algorithms.adversarial import common, losses
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets.base import PredictProcessedWrapper, RewardNetWrapper, to_numpy, wrapper_chain

__all__ = ["RewardNetFromDiscriminatorLogit", "GAIL"]


class RewardNetFromDiscriminatorLogit(RewardNetWrapper):
    """The reward that GAIL makes of the logit, by default −log(1 − D) = −logsigmoid(−logit).

    Args:
        base: gives the logit, high for the expert.
        reward_form: key of `losses.LOGIT_TO_REWARD`.

    Raises:
        ValueError: if there is no such form.
    """

    def __init__(self, base: RewardNet, reward_form: str = "gail"):
        super().__init__(base)
        if reward_form not in losses.LOGIT_TO_REWARD:
            known = ", ".join(map(repr, losses.LOGIT_TO_REWARD))
            raise ValueError(f"reward_form={reward_form!r} is not known; expected one of {known}.")
        self.reward_form = reward_form

    def forward(self, state: Any, action: Any, next_state: Any, done: th.Tensor) -> th.Tensor:
        """Rewards, `(batch,)`; arguments as in `RewardNet.forward`."""
        return losses.LOGIT_TO_REWARD[self.reward_form](self.base(state, action, next_state, done))

    def predict_th(self, *transition: Any, **kwargs: Any) -> th.Tensor:
        """As `RewardNet.predict_th`."""
        return losses.LOGIT_TO_REWARD[self.reward_form](self.base.predict_th(*transition, **kwargs))

    def predict(self, *transition: Any, **kwargs: Any) -> Any:
        """As `RewardNet.predict`."""
        logits = th.from_numpy(self.base.predict(*transition, **kwargs))  # small batches stay arrays there
        return to_numpy(losses.LOGIT_TO_REWARD[self.reward_form](logits))


class GAIL(common.AdversarialTrainer):
    """Generative adversarial imitation learning; see the module's text.

    Args:
        demonstrations: see `AdversarialTrainer`, and so are the other five.
        demo_batch_size: see there.
        venv: see there.
        gen_algo: see there.
        reward_net: gives the discriminator's logit.
        reward_form: reward as a function of the logit: "gail" −log(1 − D), the default; "log_d" log D; "airl"
            log D − log(1 − D); "fairl" −logit · exp(logit).
        **kwargs: for `AdversarialTrainer`.
    """

    _name = "GAIL"

    def __init__(
        self,
        *,
        demonstrations: Any,
        demo_batch_size: int,
        venv: Any,
        gen_algo: Any,
        reward_net: RewardNet,
        reward_form: str = "gail",
        **kwargs: Any,
    ):
        self.reward_form = reward_form
        self._reward = _as_reward(reward_net, reward_form) if isinstance(reward_net, RewardNet) else reward_net
        super().__init__(
            demonstrations=demonstrations,
            demo_batch_size=demo_batch_size,
            venv=venv,
            gen_algo=gen_algo,
            reward_net=reward_net,
            **kwargs,
        )

    def logits_expert_is_high(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: th.Tensor,
        log_policy_act_prob: th.Tensor | None = None,
    ) -> th.Tensor:
        """The network's output; `log_policy_act_prob` is not needed. Arguments as in `AdversarialTrainer`."""
        del log_policy_act_prob
        return self._reward_net(state, action, next_state, done)

    @property
    def reward_train(self) -> RewardNet:
        """The logit as a reward, under the network's `PredictProcessedWrapper`s."""
        return self._reward

    @property
    def reward_test(self) -> RewardNet:
        """The same as `reward_train`. To leave statistics as they are, pass `update_stats=False`."""
        return self._reward


def _as_reward(net: RewardNet, form: str) -> RewardNet:
    """`net` with the conversion inside of its `PredictProcessedWrapper`s, whose submodules are shared."""
    chain = wrapper_chain(net)
    outer = [part for part in chain if isinstance(part, PredictProcessedWrapper)]
    reward: RewardNet = RewardNetFromDiscriminatorLogit(chain[len(outer)], form)
    for wrapper in reversed(outer):
        reward = _rewrapped(wrapper, reward)
    return reward


def _rewrapped(wrapper: PredictProcessedWrapper, base: RewardNet) -> PredictProcessedWrapper:
    """The same wrapper, sharing parameters, buffers and submodules, around another network."""
    twin = object.__new__(type(wrapper))
    skipped = getattr(wrapper, "_transient", ())
    twin.__dict__.update({name: value for name, value in wrapper.__dict__.items() if name not in skipped})
    twin.__dict__["_modules"] = {**wrapper._modules, "_base": base}
    _, kwargs = wrapper.__dict__["_init_args"]
    args = wrapper.__dict__["_init_args"][0]
    twin.__dict__["_init_args"] = (
        tuple(base if arg is wrapper.base else arg for arg in args),
        {key: base if arg is wrapper.base else arg for key, arg in kwargs.items()},
    )
    return twin
