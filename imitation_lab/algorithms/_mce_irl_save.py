"""Saving maximum entropy inverse reinforcement learning as data, and going on from there."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch as th

from imitation_lab.algorithms import checkpoint
from imitation_lab.algorithms._bc_save import FILE, described, found, generator
from imitation_lab.algorithms._tabular_reward import network_inputs
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets import _recording as recording
from imitation_lab.util import codec
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

if TYPE_CHECKING:
    from imitation_lab.algorithms.mce_irl import MCEIRL

VERSION = 1
_SETTINGS = ("discount", "linf_eps", "grad_l2_eps", "log_interval")


class Checkpoints:
    """`save` and `load` of `MCEIRL`."""

    def save(self: MCEIRL, path: AnyPath) -> pathlib.Path:  # type: ignore[misc]
        """Saves reward, optimizer, the expert's occupancy, history and random states, between calls of `train`.

        On CPU a resumed run is bit-equal to one that went on.

        Args:
            path: a folder, made if missing; a checkpoint in it is replaced.

        Returns:
            The file in the folder.
        """
        state = checkpoint.State()
        state.meta["mce_irl"] = {
            "settings": {name: codec.encode(getattr(self, name)) for name in _SETTINGS},
            "optimizer_cls": codec.encode(type(self.optimizer)),
            "reward_net": described(lambda: recording.describe(self.reward_net)),
            "generator": type(self.rng.bit_generator).__name__,
            "iteration": self.iteration,
            "trained": self.reward is not None,
        }
        checkpoint.pack_module(state, "reward_net", self.reward_net)
        checkpoint.pack_optimizer(state, "optimizer", self.optimizer)
        checkpoint.pack_randomness(state, "random", mce_irl=self.rng)
        state.tensors["linf_deltas"] = np.asarray(self.linf_deltas, dtype=np.float64)
        if self.demo_state_om is not None:
            state.tensors |= {"demo_state_om": self.demo_state_om.copy(), "weights": self._weights.copy()}
        for field in [] if not self.history else dataclasses.fields(self.history[0]):
            rows = [np.asarray(getattr(snapshot, field.name)) for snapshot in self.history]
            state.tensors[f"history/{field.name}"] = np.stack(rows)
        file = pathlib.Path(os.fsdecode(path)) / FILE
        state.write(file, VERSION)
        return file

    @classmethod
    def load(
        cls,
        path: AnyPath,
        env: Any,
        *,
        reward_net: RewardNet | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> Self:
        """Goes on from a checkpoint; the global random states become those of the run that was saved.

        Args:
            path: the folder given to `save`.
            env: an environment like that of the run.
            reward_net: a network built like that of the run, where it cannot be described as data.
            custom_logger: where metrics go.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: a ValueError, if it is damaged or of another environment, or `reward_net` is needed and not
                given, or does not fit.
        """
        state = checkpoint.State.read(pathlib.Path(os.fsdecode(path)) / FILE, VERSION)
        meta = state.entry("mce_irl")
        if reward_net is None:
            spec = found(meta, "reward_net")
            recording.check_layout(spec, {name: array.shape for name, array in state.under("reward_net/").items()})
            net = recording.rebuild(spec)
            if not isinstance(net, RewardNet):
                raise ArtifactError("the checkpoint's reward_net is none")
            reward_net = net
        try:
            optimizer = codec.decode(meta["optimizer_cls"])
            settings = {name: codec.decode(meta["settings"][name]) for name in _SETTINGS}
            iteration, trained = int(meta["iteration"]), bool(meta["trained"])
            if not (isinstance(optimizer, type) and issubclass(optimizer, th.optim.Optimizer)):
                raise TypeError("it names no optimizer")
            self: Any = cls(
                None,  # type: ignore[call-arg]
                env,
                reward_net,
                generator(meta.get("generator")),
                optimizer_cls=optimizer,
                optimizer_kwargs={},  # they come back with its state
                custom_logger=custom_logger,
                **settings,
            )
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the checkpoint's settings are damaged: {error!r}") from None
        checkpoint.unpack_module(state, "reward_net", self.reward_net)
        checkpoint.unpack_optimizer(state, "optimizer", self.optimizer)
        self.linf_deltas = state.array("linf_deltas").tolist()
        self.iteration = iteration
        if "demo_state_om" in state.tensors:
            model = self._model
            shape = (model.state_dim, model.action_dim) if self._uses_action else (model.state_dim,)
            occupancy, weights = state.array("demo_state_om"), state.array("weights")
            if occupancy.shape != shape or weights.shape != (model.horizon + 1,):
                raise ArtifactError(
                    f"the checkpoint's occupancy has shape {occupancy.shape} over {len(weights) - 1} steps, but the "
                    f"environment's would have {shape} over {model.horizon}: give the environment of the run"
                )
            self.demo_state_om, self._weights = np.array(occupancy), np.array(weights)
        if trained:
            self._conclude(network_inputs(self.reward_net, self._model, self._uses_action))
            self.history = _history(state)
        checkpoint.unpack_randomness(state, "random", mce_irl=self.rng)
        return self


def _history(state: checkpoint.State) -> list[Any]:
    from imitation_lab.algorithms.mce_irl import Snapshot

    names = [field.name for field in dataclasses.fields(Snapshot)]
    columns = [np.array(state.array(f"history/{name}")) for name in names]
    if len({len(column) for column in columns}) > 1:
        raise ArtifactError("the columns of the checkpoint's history differ in length")
    rows = zip(*([row.item() if row.ndim == 0 else row for row in column] for column in columns), strict=True)
    return [Snapshot(*row) for row in rows]
