"""The metrics of adversarial training: collected as tensors while it runs, made numbers once per round.

A round's row in `trainer.history` holds, beside what `compute_train_stats` documents (means over the round's updates):

| key | meaning |
|---|---|
| `round`, `timesteps` | rounds and generator timesteps so far |
| `logit_expert_mean`, `logit_expert_std` | of the discriminator's logits on the expert's batches |
| `logit_gen_mean`, `logit_gen_std` | the same for the learner's |
| `disc_grad_norm` | norm of the discriminator's gradient at the round's last update |
| `reward_mean`, `reward_std`, `reward_min`, `reward_max` | of the reward that the generator got |
| `gen_kl`, `gen_entropy` | on-policy: KL(old ‖ new) of the generator's last update in nats; its entropy now |
| `gen_state_spread`, `gen_action_spread` | spread of the learner's states and actions by the expert's; 1 is alike |
| `gen_return_mean` | environment return of the episodes that ended (the learner does not see it) |
| `gen_ep_len_mean`, `gen_ep_len_std`, `expert_ep_len_mean` | steps per episode |
| `logits_expert`, `logits_gen` | with `record_logits=N`: arrays of N logits of the last batch |

What a round has no value for is NaN.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch as th

from imitation_lab.algorithms.adversarial._pool import Rows
from imitation_lab.algorithms.adversarial.losses import discriminator_metrics

NUMBERS = (
    "disc_grad_norm", "reward_mean", "reward_std", "reward_min", "reward_max", "gen_kl", "gen_entropy",
    "gen_state_spread", "gen_action_spread", "gen_return_mean", "gen_ep_len_mean", "gen_ep_len_std",
    "expert_ep_len_mean",
)  # fmt: skip
_COUNTS = ("n_expert", "n_generated")


def compute_train_stats(
    disc_logits_expert_is_high: th.Tensor, labels_expert_is_one: th.Tensor, disc_loss: th.Tensor
) -> Mapping[str, float]:
    """The discriminator's health on one batch.

    Args:
        disc_logits_expert_is_high: shape `(batch,)`.
        labels_expert_is_one: shape `(batch,)`, 1 for the expert, 0 for the learner.
        disc_loss: a scalar.

    Returns:
        `disc_loss`; `disc_acc`, `disc_acc_expert` and `disc_acc_gen`: the share classified rightly, of all, of the
        expert's and of the learner's; `disc_entropy`: of its verdict, in nats, at most log 2;
        `disc_proportion_expert_true` and `disc_proportion_expert_pred`: the share that is, and that it takes for, the
        expert's; `n_expert` and `n_generated`: how many there are of each. NaN where a kind is absent.
    """
    with th.no_grad():
        metrics = discriminator_metrics(disc_logits_expert_is_high, labels_expert_is_one, disc_loss)
        return numbers(metrics)


def numbers(metrics: Mapping[str, th.Tensor]) -> dict[str, float]:
    """Scalars as Python numbers, in one transfer."""
    values = th.stack([value.detach().double() for value in metrics.values()]).tolist()
    return {k: int(v) if k in _COUNTS and v == v else v for k, v in zip(metrics, values, strict=True)}


class BatchStats(Mapping[str, float]):
    """`compute_train_stats` of one update, computed when it is first looked at."""

    def __init__(self, logits: th.Tensor, labels: th.Tensor, loss: th.Tensor, global_step: int):
        self._batch = (logits, labels, loss)
        self._global_step = global_step
        self._values: dict[str, float] | None = None

    def _read(self) -> dict[str, float]:
        if self._values is None:
            self._values = {**compute_train_stats(*self._batch), "global_step": self._global_step}
        return self._values

    def __getitem__(self, key: str) -> float:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"BatchStats({self._read()})"


class RoundMetrics:
    """Collects a round's metrics.

    Args:
        labels: of every batch, the expert's first.
        record_logits: how many logits of the last batch to keep of each kind.
    """

    def __init__(self, labels: th.Tensor, record_logits: int):
        self.labels = labels
        self.record_logits = record_logits
        self.rewards: list[np.ndarray] = []
        self.episodes: list[tuple[float, int]] = []
        self.generator: dict[str, th.Tensor] = {}
        self.rounds = 0
        self._logits: list[th.Tensor] = []
        self._losses: list[th.Tensor] = []

    def add(self, logits: th.Tensor, loss: th.Tensor) -> None:
        """Keeps an update's logits `(batch,)`, the expert's first, and its loss."""
        self._logits.append(logits)
        self._losses.append(loss)

    @property
    def updates(self) -> int:
        """Updates since the last `pop`."""
        return len(self._logits)

    def pop_updates(self) -> tuple[dict[str, th.Tensor], dict[str, np.ndarray]]:
        """Means over the updates, as scalar tensors, and the recorded logits; begins anew. NaN without updates."""
        if not self._logits:
            like = discriminator_metrics(self.labels[None], self.labels, self.labels[:1])
            names = [*like, *(f"logit_{kind}_{moment}" for kind in ("expert", "gen") for moment in ("mean", "std"))]
            return dict.fromkeys(names, th.full((), th.nan, device=self.labels.device)), {}
        logits, losses = th.stack(self._logits), th.stack(self._losses)
        self._logits, self._losses = [], []
        values = {k: v.mean() for k, v in discriminator_metrics(logits, self.labels, losses).items()}
        half = int(self.labels.sum())
        recorded = {}
        for name, part in (("expert", logits[:, :half]), ("gen", logits[:, half:])):
            values[f"logit_{name}_mean"] = part.mean()
            values[f"logit_{name}_std"] = part.std(1, correction=0).mean()
            if self.record_logits:
                recorded[f"logits_{name}"] = part[-1, : self.record_logits].float().cpu().numpy().copy()
        return values, recorded

    def pop_generator(self) -> dict[str, float]:
        """Numbers about rewards and episodes since the last call."""
        out: dict[str, float] = {}
        if self.rewards:
            rewards = np.concatenate(self.rewards)
            out["reward_mean"], out["reward_std"] = float(rewards.mean()), float(rewards.std())
            out["reward_min"], out["reward_max"] = float(rewards.min()), float(rewards.max())
        if self.episodes:
            returns, lengths = (np.asarray(column, float) for column in zip(*self.episodes, strict=True))
            out["gen_ep_len_mean"], out["gen_ep_len_std"] = float(lengths.mean()), float(lengths.std())
            if not np.isnan(returns).all():
                out["gen_return_mean"] = float(np.nanmean(returns))
        self.rewards, self.episodes = [], []
        return out


def column_stds(rows: Rows) -> dict[str, th.Tensor]:
    """Standard deviations of each column of states and actions, `(features,)` each."""
    out = {}
    for name, prefixes in (("state", ("state", "obs")), ("action", ("action", "acts"))):
        parts = [row for key, row in rows.items() if key.split("/")[0] in prefixes]
        columns = [part.reshape(len(part), -1).float() for part in parts]
        out[name] = th.cat([part.std(0, correction=0) for part in columns])
    return out


def spreads(rows: Rows, expert: Mapping[str, th.Tensor]) -> dict[str, th.Tensor]:
    """Mean ratio of the learner's standard deviations to the expert's, over the columns that vary there."""
    out = {}
    for name, own in column_stds(rows).items():
        varies = expert[name] > 1e-6
        out[f"gen_{name}_spread"] = (own[varies] / expert[name][varies]).mean()
    return out


def nan_row() -> dict[str, Any]:
    """NaN under every key that a round may have no value for."""
    return dict.fromkeys(NUMBERS, float("nan"))
