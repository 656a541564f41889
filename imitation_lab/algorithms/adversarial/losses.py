"""Pure functions of the discriminator's logits: its loss, its metrics, and the rewards made of it.

D(s, a, s′) = σ(logit) is the probability that a transition is the expert's: a high logit means expert, and label 1 is
the expert's. Everything is finite at logits of ±80 in float32.
"""

from collections.abc import Callable

import torch as th
import torch.nn.functional as F

__all__ = [
    "Metrics", "LogitToReward", "FAIRL_MAX_LOGIT", "discriminator_loss", "discriminator_metrics", "gail_reward",
    "log_d_reward", "airl_reward", "fairl_reward", "LOGIT_TO_REWARD",
]  # fmt: skip

Metrics = dict[str, th.Tensor]
LogitToReward = Callable[[th.Tensor], th.Tensor]

FAIRL_MAX_LOGIT = 20.0


def discriminator_loss(logits: th.Tensor, labels: th.Tensor, *, metrics: bool = True) -> tuple[th.Tensor, Metrics]:
    """Binary cross-entropy, −mean(y log D + (1 − y) log(1 − D)).

    Args:
        logits: shape `(batch,)`, high for the expert.
        labels: shape `(batch,)`, float, 1 for the expert and 0 for the learner.
        metrics: whether to compute them; training does so for many updates at once.

    Returns:
        The loss, a scalar with its graph, and `discriminator_metrics`, empty if not wanted.
    """
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return loss, discriminator_metrics(logits.detach(), labels, loss.detach()) if metrics else {}


def discriminator_metrics(logits: th.Tensor, labels: th.Tensor, loss: th.Tensor) -> Metrics:
    """How well logits separate the two kinds.

    Args:
        logits: shape `(*updates, batch)`, high for the expert.
        labels: shape `(batch,)`, 1 for the expert.
        loss: shape `(*updates,)`.

    Returns:
        Tensors of shape `(*updates,)` under the names that `compute_train_stats` documents.
    """
    expert = labels.bool()
    predicted = logits > 0
    right = (predicted == expert).float()
    n_expert = expert.sum()
    n = labels.numel()
    right_expert = (right * expert).sum(-1)
    # The entropy of a coin with log-odds x is softplus(x) − x σ(x).
    entropy = F.softplus(logits) - logits * th.sigmoid(logits)
    return {
        "disc_loss": loss,
        "disc_acc": right.mean(-1),
        "disc_acc_expert": right_expert / n_expert,
        "disc_acc_gen": (right.sum(-1) - right_expert) / (n - n_expert),
        "disc_entropy": entropy.mean(-1),
        "disc_proportion_expert_true": (n_expert / n).expand(loss.shape),
        "disc_proportion_expert_pred": predicted.float().mean(-1),
        "n_expert": n_expert.float().expand(loss.shape),
        "n_generated": (n - n_expert).float().expand(loss.shape),
    }


def gail_reward(logits: th.Tensor) -> th.Tensor:
    """−log(1 − D) = softplus(logit), always positive (Ho and Ermon, 2016, with the labels the other way round)."""
    return F.softplus(logits)


def log_d_reward(logits: th.Tensor) -> th.Tensor:
    """Log D = −softplus(−logit), always negative."""
    return F.logsigmoid(logits)


def airl_reward(logits: th.Tensor) -> th.Tensor:
    """Log D − log(1 − D) = logit, of either sign (Fu, Luo and Levine, 2018)."""
    return logits


def fairl_reward(logits: th.Tensor, max_logit: float = FAIRL_MAX_LOGIT) -> th.Tensor:
    """−x · exp(x) for the logit x: the forward KL divergence (FAIRL; Ghasemipour, Zemel and Gu, 2020).

    Args:
        logits: shape `(batch,)`.
        max_logit: x is cut off here, since the reward falls exponentially.
    """
    x = logits.clamp(max=max_logit)
    return -x * x.exp()


LOGIT_TO_REWARD: dict[str, LogitToReward] = {
    "gail": gail_reward,
    "log_d": log_d_reward,
    "airl": airl_reward,
    "fairl": fairl_reward,
}
