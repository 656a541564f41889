"""Says in words what goes wrong in adversarial training, from the rows of `trainer.history`.

| finding | what it looks at, over the latest third of the rows |
|---|---|
| discriminator saturated | it is right nearly always, and sure of it, and the logits lie far apart |
| generator collapsed | the learner's states or actions hardly vary while the discriminator still tells them apart |
| reward scale off | the reward hardly varies, or varies by orders of magnitude more than policies are tuned for |
| horizon leak | the length of episodes differs while the reward has one sign |
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "SATURATED_ACCURACY", "SATURATED_ENTROPY", "COLLAPSED_SPREAD", "SMALL_REWARD_STD", "LARGE_REWARD_STD", "Finding",
    "Diagnosis", "diagnose",
]  # fmt: skip

SATURATED_ACCURACY = 0.99
SATURATED_ENTROPY = 0.05
COLLAPSED_SPREAD = 0.1
SMALL_REWARD_STD = 0.01
LARGE_REWARD_STD = 30.0


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        name: "discriminator saturated", "generator collapsed", "reward scale off" or "horizon leak".
        evidence: the numbers that show it.
        advice: what usually helps.
    """

    name: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence} {self.advice}"


class Diagnosis(list[Finding]):
    """What `diagnose` found; prints as text."""

    def __init__(self, findings: Sequence[Finding], n_rows: int):
        super().__init__(findings)
        self.n_rows = n_rows

    def __str__(self) -> str:
        if not self:
            return f"Nothing stands out in {self.n_rows} rows."
        return "\n".join(map(str, self))

    __repr__ = __str__


def diagnose(history: Sequence[Mapping[str, Any]]) -> Diagnosis:
    """What is wrong with a run, if anything.

    Args:
        history: `trainer.history`, or its last rows; what is missing in a row is not judged.

    Returns:
        A list of `Finding`s that prints as text.

    Raises:
        ValueError: if there are no rows.
    """
    if not history:
        raise ValueError("history is empty: train for at least one round, then pass trainer.history.")
    late = history[-max(1, len(history) // 3) :]

    def median(key: str) -> float:
        values = np.array([row.get(key, np.nan) for row in late], float)
        return float(np.median(values[~np.isnan(values)])) if not np.isnan(values).all() else float("nan")

    findings = [judge(median) for judge in (_saturated, _collapsed, _reward_scale, _horizon)]
    return Diagnosis([finding for finding in findings if finding is not None], len(history))


def _saturated(median: Any) -> Finding | None:
    accuracy, entropy = median("disc_acc"), median("disc_entropy")
    if not (accuracy >= SATURATED_ACCURACY and entropy <= SATURATED_ENTROPY):
        return None
    gap = median("logit_expert_mean") - median("logit_gen_mean")
    return Finding(
        "discriminator saturated",
        f"it is right about {accuracy:.1%} of all transitions with an entropy of {entropy:.3f} nats, and the logits of "
        f"expert and learner lie {gap:.1f} apart, so that all the learner does is equally bad.",
        "Slow it down: fewer n_disc_updates_per_round, a smaller learning rate, a gradient penalty (penalties="
        "[WGANGPPenalty()]), more of the learner's past (gen_replay_buffer_capacity). If it is sure at once, look for "
        "what gives the learner away: another preparation of observations, or actions clipped differently.",
    )


def _collapsed(median: Any) -> Finding | None:
    states, actions = median("gen_state_spread"), median("gen_action_spread")
    narrow = {name: x for name, x in (("states", states), ("actions", actions)) if x < COLLAPSED_SPREAD}
    if not narrow or not median("disc_acc_gen") > 0.7:
        return None
    shown = " and ".join(f"{name} vary {value:.1%}" for name, value in narrow.items())
    return Finding(
        "generator collapsed",
        f"the learner's {shown} as much as the expert's, and the discriminator recognizes "
        f"{median('disc_acc_gen'):.0%} of them.",
        "Keep it exploring: a larger ent_coef, a smaller learning rate or clip_range of the generator; or begin again, "
        "perhaps from a behavioral clone.",
    )


def _reward_scale(median: Any) -> Finding | None:
    std = median("reward_std")
    if std < SMALL_REWARD_STD:
        return Finding(
            "reward scale off",
            f"the reward varies by {std:.2g} only, which the generator's value function hardly sees.",
            "Normalize it: NormalizedRewardNet(reward_net, RunningNorm). If it stays flat, the discriminator has not "
            "learned: raise its learning rate or n_disc_updates_per_round.",
        )
    if std > LARGE_REWARD_STD:
        return Finding(
            "reward scale off",
            f"the reward varies by {std:.3g}, between {median('reward_min'):.3g} and {median('reward_max'):.3g}.",
            "Normalize it: NormalizedRewardNet(reward_net, RunningNorm), or bound the logits by a gradient penalty.",
        )
    return None


def _horizon(median: Any) -> Finding | None:
    mean, std, expert = median("gen_ep_len_mean"), median("gen_ep_len_std"), median("expert_ep_len_mean")
    differ = std > 0.01 * mean or abs(mean - expert) > 0.05 * expert
    low, high = median("reward_min"), median("reward_max")
    if not differ or not (low > 0 or high < 0):
        return None
    which, what = ("positive", "to live long") if low > 0 else ("negative", "to end the episode soon")
    text = f"the learner's episodes take {mean:.0f} ± {std:.0f} steps"
    if not np.isnan(expert):
        text += f", the expert's {expert:.0f}"
    return Finding(
        "horizon leak",
        f"{text}, and every reward is {which}, which teaches {what}, whatever the expert did.",
        "Make the horizon fixed with imitation_lab.envs.wrappers.AbsorbAfterDone, or use a reward of both signs "
        "(GAIL's reward_form='airl', or NormalizedRewardNet).",
    )
