"""Saving an adversarial trainer at a round's end, and going on from there."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch.nn.utils import parametrize

from imitation_lab.algorithms import checkpoint
from imitation_lab.algorithms.adversarial import _metrics
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets import _recording as recording
from imitation_lab.util import codec, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

if TYPE_CHECKING:
    from imitation_lab.algorithms.adversarial.common import AdversarialTrainer

VERSION = 1
FILE = "checkpoint.safetensors"


class Checkpoints:
    """`save` and `load` of `AdversarialTrainer`."""

    def save(self: AdversarialTrainer, path: AnyPath) -> pathlib.Path:  # type: ignore[misc]
        """Saves everything at the end of a round: before or after `train`, or in its callback.

        All environments are reset, with seeds drawn from the trainer's generator, before training goes on. A resumed
        run is bit-equal, on CPU, to one that was not interrupted and saved at the same rounds.

        Demonstrations that come as batches begin anew when the run is resumed, which ends this equality.

        Args:
            path: a folder, made if missing; a checkpoint in it is replaced.

        Returns:
            The file in the folder.

        Raises:
            TypeError: if a part cannot be expressed as data; the text names it.
        """
        if self.venv_buffering.n_transitions:
            self._store_generated()
        self._end_rounds()
        state = checkpoint.State()
        state.meta["trainer"] = {
            "class": type(self).__name__,
            "arguments": codec.encode(_arguments(self), where=f"{type(self).__name__}'s argument"),
            "optimizer": codec.encode((type(self._disc_opt), self._disc_opt_kwargs), where="disc_opt_kwargs"),
            "reward_net": _describe(lambda: recording.describe(self._reward_net), self._reward_net),
            "gen_algo": _describe(lambda: checkpoint.describe_algorithm(self.gen_algo)),
            "penalties": _describe(lambda: [_describe_penalty(penalty) for penalty in self.penalties]),
            "counters": [self._global_step, self._disc_step, self._rounds],
            "span": self._span,
            "horizon": self._horizon,
            "expert_ep_len": codec.encode(self._expert_ep_len),
            "has_batches": self._expert_batches is not None,
        }
        _pack_history(state, self.history)
        checkpoint.pack_module(state, "reward_net", self._reward_net)
        checkpoint.pack_optimizer(state, "disc_opt", self._disc_opt)
        checkpoint.pack_algorithm(state, "gen_algo", self.gen_algo)
        self._pool.pack(state, "pool")
        checkpoint.pack_randomness(state, "random", trainer=self._rng, batches=self._generator)
        file = pathlib.Path(os.fsdecode(path)) / FILE
        state.write(file, VERSION)
        _begin_anew(self)
        return file

    @classmethod
    def load(
        cls,
        path: AnyPath,
        venv: VecEnv,
        *,
        demonstrations: Any = None,
        gen_algo: BaseAlgorithm | None = None,
        reward_net: RewardNet | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
        device: th.device | str = "auto",
        **kwargs: Any,
    ) -> Self:
        """Goes on from a checkpoint; the global random states become those of the run that was saved.

        Schedules go on where they were if `train` is called with the timesteps that were left.

        Args:
            path: the folder given to `save`.
            venv: environments like those of the run.
            demonstrations: needed only where they came as batches; others are in the checkpoint.
            gen_algo: an algorithm built like that of the run, where one of its arguments is a function, or its class is
                not SB3's.
            reward_net: a network built like that of the run, where it cannot be described as data.
            custom_logger: where metrics go.
            device: of the algorithm that is built.
            **kwargs: arguments of the trainer to replace.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: it is damaged, or `gen_algo` or `reward_net` is needed and not given, or does not fit.
        """
        state = checkpoint.State.read(pathlib.Path(os.fsdecode(path)) / FILE, VERSION)
        meta = state.entry("trainer")
        if meta.get("class") != cls.__name__:
            raise ArtifactError(f"the checkpoint is of {meta.get('class')}: load it with {meta.get('class')}.load")
        if gen_algo is None:
            gen_algo = checkpoint.build_algorithm(_described(meta, "gen_algo"), venv, device)
        if reward_net is None:
            spec = _described(meta, "reward_net")
            shapes = {name: array.shape for name, array in state.under("reward_net/").items()}
            recording.check_layout(spec, shapes)
            net = recording.rebuild(spec)
            assert isinstance(net, RewardNet)
            reward_net = net.to(gen_algo.device)
        optimizer = codec.decode(meta.get("optimizer"))
        if not (isinstance(optimizer, tuple) and len(optimizer) == 2 and issubclass(optimizer[0], th.optim.Optimizer)):
            raise ArtifactError("the checkpoint names no optimizer")
        if "penalties" not in kwargs:
            kwargs["penalties"] = [_build_penalty(spec) for spec in _described(meta, "penalties")]
        trainer = cls(
            demonstrations=demonstrations,
            venv=venv,
            gen_algo=gen_algo,
            reward_net=reward_net,
            custom_logger=custom_logger,
            disc_opt_cls=optimizer[0],
            disc_opt_kwargs=optimizer[1],
            **{**codec.decode(meta.get("arguments")), **kwargs},
        )  # type: ignore[call-arg]
        _restore(trainer, state, demonstrations is not None)  # type: ignore[arg-type]
        return trainer


def _restore(trainer: AdversarialTrainer, state: checkpoint.State, own_demonstrations: bool) -> None:
    meta = state.entry("trainer")
    if meta.get("has_batches") and not own_demonstrations:
        raise ArtifactError("the run's demonstrations came as batches, which a checkpoint does not hold: pass them")
    checkpoint.unpack_module(state, "reward_net", trainer._reward_net)
    checkpoint.unpack_optimizer(state, "disc_opt", trainer._disc_opt)
    checkpoint.unpack_algorithm(state, "gen_algo", trainer.gen_algo)
    try:
        counters, span = meta["counters"], meta["span"]
        trainer._global_step, trainer._disc_step, trainer._rounds = (int(c) for c in counters)
        trainer._span = None if span is None else (int(span[0]), int(span[1]))
        trainer._horizon = meta["horizon"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's counters are damaged: {error!r}") from None
    trainer._resumed = True
    trainer.history = _unpack_history(state)
    if not own_demonstrations:
        trainer._pool.unpack(state, "pool")
        trainer._expert_ep_len = codec.decode(meta.get("expert_ep_len"))
        if trainer._pool.n_expert:
            trainer._expert_stds = _metrics.column_stds(trainer._pool.rows(trainer._pool.expert))
    checkpoint.unpack_randomness(state, "random", trainer=trainer._rng, batches=trainer._generator)
    _begin_anew(trainer)


def _begin_anew(trainer: AdversarialTrainer) -> None:
    """Done after saving and after loading alike, from the generator as it was saved."""
    checkpoint.new_boundary(trainer.gen_algo, trainer.venv, lambda: util.make_seeds(trainer._rng))


def _pack_history(state: checkpoint.State, history: list[dict[str, Any]]) -> None:
    columns = list(history[0]) if history else []
    for key in columns:
        state.tensors[f"history/{key}"] = np.stack([np.asarray(row[key]) for row in history])
    state.meta["history"] = columns


def _unpack_history(state: checkpoint.State) -> list[dict[str, Any]]:
    columns = {key: state.array(f"history/{key}") for key in state.entry("history", list)}
    if len({len(column) for column in columns.values()}) > 1:
        raise ArtifactError("the columns of the checkpoint's history differ in length")
    values = [[x.item() if x.ndim == 0 else x for x in map(np.asarray, column)] for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _describe_penalty(penalty: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(penalty) or isinstance(penalty, type):
        raise TypeError(f"{penalty!r} is a function, or no dataclass")
    return {"class": codec.class_name(type(penalty)), "fields": codec.encode(dataclasses.asdict(penalty))}


def _build_penalty(spec: Any) -> Any:
    try:
        cls = codec.find_class(spec["class"])
        if not dataclasses.is_dataclass(cls):
            raise ArtifactError(f"the checkpoint names {spec['class']!r} as a penalty, which it is not")
        return cls(**codec.decode(spec["fields"]))
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"the checkpoint's penalties are damaged: {error!r}") from None


def _arguments(trainer: AdversarialTrainer) -> dict[str, Any]:
    arguments = {
        "demo_batch_size": trainer.demo_batch_size,
        "demo_minibatch_size": trainer.demo_minibatch_size,
        "n_disc_updates_per_round": trainer.n_disc_updates_per_round,
        "gen_train_timesteps": trainer.gen_train_timesteps,
        "gen_replay_buffer_capacity": trainer._pool.capacity,
        "disc_warmup_rounds": trainer.disc_warmup_rounds,
        "debug_use_ground_truth": trainer.debug_use_ground_truth,
        "allow_variable_horizon": trainer.allow_variable_horizon,
        "record_logits": trainer._metrics.record_logits,
    }
    if hasattr(trainer, "_reward_form"):
        arguments["reward_form"] = trainer._reward_form
    return arguments


def _describe(describe: Any, module: th.nn.Module | None = None) -> dict[str, Any]:
    if module is not None and any(parametrize.is_parametrized(part) for part in module.modules()):
        return {"error": "it has parametrized layers, such as spectral normalization"}
    try:
        return {"spec": describe()}
    except TypeError as error:
        return {"error": str(error)}


def _described(meta: dict[str, Any], name: str) -> Any:
    found = meta.get(name)
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict | list):
        why = found.get("error") if isinstance(found, dict) else "the file is damaged"
        raise ArtifactError(
            f"the checkpoint cannot rebuild {name}: {why}. Build it as in the run that was saved, and pass {name}=."
        )
    return found["spec"]
