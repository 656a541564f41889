"""What adversarial training tells its history, its logger, TensorBoard and its progress bar."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th

from imitation_lab.algorithms.adversarial._metrics import NUMBERS, nan_row, numbers, spreads
from imitation_lab.util import util
from imitation_lab.util.paths import AnyPath


class Reports:
    """The reports of `AdversarialTrainer`."""

    def _shown(self: Any) -> dict[str, float]:
        row = self.history[-1] if self.history else {}
        return {"disc_acc": row.get("disc_acc", np.nan), "return": row.get("gen_return_mean", np.nan)}

    def _end_rounds(self: Any) -> None:
        """Makes numbers of the metrics since the last time: a row of history, and the logger's."""
        updates = self._metrics.updates
        if not updates and (self.n_disc_updates_per_round or not self._metrics.rounds):
            return
        self._metrics.rounds = 0
        tensors, recorded = self._metrics.pop_updates()
        disc_keys = list(tensors) if updates else []
        tensors.update(self._metrics.generator)
        gradients = [p.grad for p in self._reward_net.parameters() if p.grad is not None]
        tensors["disc_grad_norm"] = util.tensor_iter_norm(gradients)
        if self._expert_stds is not None and self._pool.size:
            tensors.update(spreads(self._pool.rows(self._pool.learner), self._expert_stds))
        row = {
            "round": self._rounds,
            "timesteps": self.gen_algo.num_timesteps,
            **nan_row(),
            **numbers(tensors),
            **self._metrics.pop_generator(),
            "expert_ep_len_mean": self._expert_ep_len,
        }
        with self.logger.accumulate_means("disc"):
            for key in disc_keys:
                self.logger.record(key, row[key])
            self.logger.record("disc_grad_norm", row["disc_grad_norm"])
            self.logger.record("global_step", self._global_step)
            self.logger.dump(self._disc_step)
        for key in NUMBERS:
            if key != "disc_grad_norm" and row[key] == row[key]:
                self.logger.record(f"adversarial/{key}", row[key])
        self._write_summaries(row, recorded)
        self.history.append({**row, **recorded})
        if self.on_round is not None:
            self.on_round(self.history[-1])

    def _make_writer(self: Any, log_dir: AnyPath, wanted: bool) -> Any:
        if not wanted:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(util.parse_path(log_dir) / "summary"))

    def _write_summaries(self: Any, row: Mapping[str, Any], recorded: Mapping[str, np.ndarray]) -> None:
        if self._writer is None:
            return
        for key, value in row.items():
            if value == value:
                self._writer.add_scalar(f"adversarial/{key}", value, self._global_step)
        for key, value in recorded.items():
            self._writer.add_histogram(key, value, self._global_step)
        if self._graph_pending:
            self._graph_pending = False
            inputs = self._encoder.inputs(self._pool.rows(th.arange(2)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracing is deprecated, and warns of what it unrolls
                self._writer.add_graph(self._reward_net, inputs)
        self._writer.flush()
