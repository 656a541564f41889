"""Saving a density and its learner, and going on from there."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import _flat, _learner, checkpoint
from imitation_lab.util import codec, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

if TYPE_CHECKING:
    from imitation_lab.algorithms.density import DensityAlgorithm

VERSION = 1
_ARGUMENTS = ("kernel", "kernel_bandwidth", "is_stationary", "standardise_inputs", "min_log_density")


class Checkpoints:
    """`save` and `load` of `DensityAlgorithm`."""

    def save(self: DensityAlgorithm, path: AnyPath) -> pathlib.Path:  # type: ignore[misc]
        """Saves demonstrations, settings, the learner and all random states, between calls of `train_policy`.

        All environments are reset, with seeds drawn from `rng`, before training goes on. On CPU a resumed run is
        bit-equal to one that was saved at the same time and went on.

        Args:
            path: a folder, made if missing; a checkpoint in it is replaced.

        Returns:
            The file in the folder.
        """
        state = checkpoint.State()
        state.meta["density"] = {
            "density_type": self.density_type.name,
            "arguments": {name: codec.encode(getattr(self, name)) for name in _ARGUMENTS},
            "allow_variable_horizon": self.allow_variable_horizon,
            "horizon": self._horizon,
            "fitted": bool(self._models),
            "normalize_reward": self.reward_norm is not None,
            "learner": None if self.rl_algo is None else _learner.describe(self.rl_algo),
        }
        for name, tensor in (("points", self._points), ("times", self._times)):
            if tensor is not None:
                state.tensors[name] = tensor.cpu().numpy()
        if self.reward_norm is not None:
            checkpoint.pack_module(state, "reward_norm", self.reward_norm)
        if self.rl_algo is not None:
            checkpoint.pack_algorithm(state, "rl_algo", self.rl_algo)
        checkpoint.pack_randomness(state, "random", density=self.rng)
        file = _learner.checkpoint_file(path)
        state.write(file, VERSION)
        _begin_anew(self)
        return file

    @classmethod
    def load(
        cls,
        path: AnyPath,
        venv: VecEnv,
        *,
        rl_algo: BaseAlgorithm | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
        device: th.device | str = "auto",
    ) -> Self:
        """Goes on from a checkpoint; the global random states become those of the run that was saved.

        Args:
            path: the folder given to `save`.
            venv: environments like those of the run.
            rl_algo: an algorithm built like that of the run, where an argument of it is a function, or its class is not
                SB3's.
            custom_logger: where metrics go.
            device: of the algorithm that is built, and of the density.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: it is damaged, or `rl_algo` is needed and not given, or does not fit.
        """
        from imitation_lab.algorithms.density import DensityType

        state = checkpoint.State.read(_learner.checkpoint_file(path), VERSION)
        meta = state.entry("density")
        if rl_algo is None and meta.get("learner") is not None:
            rl_algo = _learner.build(meta["learner"], venv, device)
        try:
            arguments = {name: codec.decode(meta["arguments"][name]) for name in _ARGUMENTS}
            self: Any = cls(
                demonstrations=None,
                venv=venv,
                rng=np.random.default_rng(),
                rl_algo=rl_algo,
                density_type=DensityType[meta["density_type"]],
                custom_logger=custom_logger,
                allow_variable_horizon=meta["allow_variable_horizon"],
                device=device if rl_algo is None else None,
                normalize_reward=meta.get("normalize_reward", False),
                **arguments,
            )  # type: ignore[call-arg]
            self._horizon = meta["horizon"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"the checkpoint's settings are damaged: {error!r}") from None
        if "points" in state.tensors:
            _restore_points(self, state)
            if meta.get("fitted"):
                self.train()
        if self.reward_norm is not None:
            checkpoint.unpack_module(state, "reward_norm", self.reward_norm)
        if meta.get("learner") is not None:
            checkpoint.unpack_algorithm(state, "rl_algo", self.rl_algo)
        checkpoint.unpack_randomness(state, "random", density=self.rng)
        _begin_anew(self)
        return self


def _restore_points(self: DensityAlgorithm, state: checkpoint.State) -> None:
    points = np.array(state.array("points"))
    dims = sum(map(_flat.width, self._input_spaces()))
    if points.dtype != np.float64 or points.ndim != 2 or points.shape[1] != dims or not np.isfinite(points).all():
        raise ArtifactError(
            f"the checkpoint's points are {points.dtype} of shape {points.shape}, expected finite float64 of "
            f"(n, {dims}) for the spaces of venv"
        )
    self._points = th.from_numpy(points).to(self.device)
    if not self.is_stationary:
        times = np.array(state.array("times"))
        if times.dtype != np.int64 or times.shape != points.shape[:1] or not 0 <= times.min() <= times.max() < 2**24:
            raise ArtifactError("the checkpoint's time steps are damaged")
        self._times = th.from_numpy(times).to(self.device)


def _begin_anew(self: DensityAlgorithm) -> None:
    if self.rl_algo is not None:
        checkpoint.new_boundary(self.rl_algo, self.venv, lambda: util.make_seeds(self.rng))
