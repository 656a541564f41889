"""References for the assignment `gail`."""

from collections.abc import Callable

import torch as th

from imitation_lab.algorithms.adversarial import losses

__all__ = ["discriminator_loss", "reward", "update", "gradient_penalty"]


def discriminator_loss(expert_logits: th.Tensor, learner_logits: th.Tensor) -> th.Tensor:
    """Cross-entropy, a scalar, of logits that are high for the expert: `(expert_batch,)`, `(learner_batch,)`."""
    labels = th.cat([th.ones_like(expert_logits), th.zeros_like(learner_logits)])
    return losses.discriminator_loss(th.cat([expert_logits, learner_logits]), labels)[0]


def reward(logits: th.Tensor, form: str) -> th.Tensor:
    """Rewards `(batch,)` of logits `(batch,)`; `form` is "gail", "log_d" or "airl"."""
    return losses.LOGIT_TO_REWARD[form](logits)


def update(network: th.nn.Module, optimizer: th.optim.Optimizer, expert: th.Tensor, learner: th.Tensor) -> float:
    """One optimizer step on two batches `(batch, features)`; returns the loss before it."""
    optimizer.zero_grad()
    loss = discriminator_loss(network(expert), network(learner))
    loss.backward()
    optimizer.step()
    return float(loss)


def gradient_penalty(
    network: Callable[[th.Tensor], th.Tensor], expert: th.Tensor, learner: th.Tensor, mix: th.Tensor
) -> th.Tensor:
    """Mean of (‖∇z network(z)‖ − 1)², a scalar, for z between rows of the batches at the shares `mix`, `(batch,)`."""
    terms = []
    for one, other, share in zip(expert, learner, mix, strict=True):
        point = th.lerp(other, one, share)[None].requires_grad_()
        (gradient,) = th.autograd.grad(network(point)[0], point, create_graph=True)
        terms.append((gradient.square().sum().sqrt() - 1) ** 2)
    return th.stack(terms).mean()
