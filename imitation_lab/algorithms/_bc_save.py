"""Saving behavioral cloning as data, and going on from there."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.algorithms import _loaders, checkpoint
from imitation_lab.policies.serialize import save_policy
from imitation_lab.util import codec
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

if TYPE_CHECKING:
    from imitation_lab.algorithms.bc import BC

VERSION = 1
FILE = "checkpoint.safetensors"
POLICY_FILE = "policy.safetensors"
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Checkpoints:
    """`save` and `load` of `BC`."""

    def save(self: BC, path: AnyPath) -> pathlib.Path:  # type: ignore[misc]
        """Saves policy, optimizer, demonstrations and all random states, between calls of `train`.

        On CPU a resumed run is bit-equal to one that went on. Demonstrations that come as batches are not saved.

        Args:
            path: a folder, made if missing; a checkpoint in it is replaced.

        Returns:
            The file in the folder; beside it is the policy, for `reconstruct_policy`.

        Raises:
            TypeError: if the policy cannot be expressed as data.
        """
        folder = pathlib.Path(os.fsdecode(path))
        state = checkpoint.State()
        state.meta["bc"] = {
            "trainer": described(lambda: describe(self)),
            "generator": type(self.rng.bit_generator).__name__,
            "logger": [self._bc_logger._before, self._bc_logger._batch],
            "has_batches": isinstance(self._data, _loaders.GroupedStream),
            "validation_fraction": None if self._split is None else self._split[0],
        }
        pack_learner(state, self)
        if isinstance(self._data, _loaders.TransitionTensors):
            _pack(state, "data", self._data)
        if self._split is not None:
            for name, part in zip(("training", "validation"), self._split[1], strict=True):
                _pack(state, name, part)
        checkpoint.pack_randomness(state, "random", bc=self.rng)
        save_policy(self.policy, folder / POLICY_FILE)
        state.write(folder / FILE, VERSION)
        return folder / FILE

    @classmethod
    def load(
        cls,
        path: AnyPath,
        *,
        bc_trainer: BC | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
        device: th.device | str = "auto",
    ) -> Self:
        """Goes on from a checkpoint; the global random states become those of the run that was saved.

        Args:
            path: the folder given to `save`.
            bc_trainer: built as in the run, where it cannot be rebuilt: with a regularizer, a loss of its own, an
                optimizer or policy of an unregistered class; or with demonstrations that come as batches.
            custom_logger: where metrics go.
            device: of the policy.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: a ValueError, if a file is damaged, or `bc_trainer` is needed and not given.
        """
        folder = pathlib.Path(os.fsdecode(path))
        state = checkpoint.State.read(folder / FILE, VERSION)
        meta = state.entry("bc")
        if bc_trainer is None:
            if meta.get("has_batches"):
                raise ArtifactError("the run's demonstrations came as batches, which are not saved: pass bc_trainer=")
            bc_trainer = rebuild(found(meta, "trainer", "bc_trainer"), folder / POLICY_FILE, device,
                                 generator(meta.get("generator")), custom_logger)  # fmt: skip
        elif custom_logger is not None:
            bc_trainer.logger = lab_logger.as_logger(custom_logger)
        unpack_learner(state, bc_trainer)
        if not meta.get("has_batches") and state.under("data/"):
            bc_trainer._data = _unpack(state, "data", bc_trainer)
        fraction = meta.get("validation_fraction")
        if fraction is not None:
            parts = _unpack(state, "training", bc_trainer), _unpack(state, "validation", bc_trainer)
            bc_trainer._split = (float(fraction), parts)
        checkpoint.unpack_randomness(state, "random", bc=bc_trainer.rng)
        try:
            before, batch = (int(n) for n in meta["logger"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the checkpoint's counters are damaged: {error!r}") from None
        bc_trainer._bc_logger._before, bc_trainer._bc_logger._batch = before, batch
        return bc_trainer  # type: ignore[return-value]


def pack_learner(state: checkpoint.State, learner: BC) -> None:
    """Saves weights, optimizer and the regularizer's λ."""
    # The weights are in the policy's file too: an interrupt between two files cannot make a pair that does not match.
    if learner.regularizer is not None:
        state.meta["regularizer"] = learner.regularizer.state_dict()
    checkpoint.pack_module(state, "policy", learner.policy)
    checkpoint.pack_optimizer(state, "optimizer", learner.optimizer)


def unpack_learner(state: checkpoint.State, learner: BC) -> None:
    """The inverse of `pack_learner`."""
    checkpoint.unpack_module(state, "policy", learner.policy)
    checkpoint.unpack_optimizer(state, "optimizer", learner.optimizer)
    if learner.regularizer is not None:
        learner.regularizer.load_state_dict(state.entry("regularizer"))


def describe(learner: BC) -> dict[str, Any]:
    """The constructor's arguments as data, for `rebuild`.

    Raises:
        TypeError: naming what is no data.
    """
    from imitation_lab.algorithms.bc import BC, BehaviorCloningLossCalculator

    if type(learner) is not BC:
        raise TypeError(f"it is a {type(learner).__name__}, and only BC itself is known")
    if learner.regularizer is not None:
        raise TypeError("its regularizer_factory is a function")
    if type(learner.loss_calculator) is not BehaviorCloningLossCalculator:
        raise TypeError("its loss_calculator is not BC's own")
    return codec.encode(
        {
            "observation_space": learner.observation_space,
            "action_space": learner.action_space,
            "batch_size": learner.batch_size,
            "minibatch_size": learner.minibatch_size,
            "optimizer_cls": type(learner.optimizer),
            "ent_weight": float(learner.loss_calculator.ent_weight),
            "l2_weight": float(learner.loss_calculator.l2_weight),
        },
        where="BC's argument",
    )


def rebuild(
    spec: Any,
    policy: AnyPath,
    device: th.device | str,
    rng: np.random.Generator,
    custom_logger: lab_logger.AnyLogger | None,
) -> BC:
    """Builds, without demonstrations, what `describe` described.

    Raises:
        ArtifactError: if the description is damaged.
    """
    from imitation_lab.algorithms.bc import BC, reconstruct_policy

    arguments = codec.decode(spec)
    network: ActorCriticPolicy = reconstruct_policy(policy, device)
    try:
        optimizer = arguments["optimizer_cls"]
        if not (isinstance(optimizer, type) and issubclass(optimizer, th.optim.Optimizer)):
            raise ArtifactError("the checkpoint names no optimizer")
        # The optimizer's own options, such as the learning rate, come back with its state.
        return BC(policy=network, rng=rng, custom_logger=custom_logger, **arguments)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"the checkpoint's arguments of bc_trainer are damaged: {error!r}") from None


def generator(name: Any) -> np.random.Generator:
    """A generator of the kind that a checkpoint names.

    Raises:
        ArtifactError: if there is no such kind.
    """
    if name not in _GENERATORS:
        raise ArtifactError(f"the checkpoint names the random generator {name!r}, which is not known")
    return np.random.Generator(getattr(np.random, name)(0))


def described(describe: Callable[[], Any]) -> dict[str, Any]:
    """What `describe` gives, or why it is no data."""
    try:
        return {"spec": describe()}
    except TypeError as error:
        return {"error": str(error)}


def found(meta: Mapping[str, Any], name: str, argument: str | None = None) -> Any:
    """What `described` put into a checkpoint.

    Args:
        meta: of the checkpoint.
        name: of the entry.
        argument: of the function that loads, by which the part can be given; None is `name`.

    Raises:
        ArtifactError: if it was no data.
    """
    entry = meta.get(name)
    argument = argument or name
    if not isinstance(entry, dict) or "spec" not in entry:
        why = entry.get("error") if isinstance(entry, dict) else "the file is damaged"
        raise ArtifactError(
            f"the checkpoint cannot rebuild {argument}: {why}. Make it as in the run that was saved, and pass "
            f"{argument}=."
        )
    return entry["spec"]


def _pack(state: checkpoint.State, name: str, data: _loaders.TransitionTensors) -> None:
    for field, value in data.fields.items():
        for key, tensor in value.items() if isinstance(value, dict) else [("", value)]:
            state.tensors[f"{name}/{field}" + (f"/{key}" if key else "")] = tensor.cpu().numpy()


def _unpack(state: checkpoint.State, name: str, learner: BC) -> _loaders.TransitionTensors:
    fields: dict[str, Any] = {}
    for key, array in state.under(f"{name}/").items():
        field, nested, part = key.partition("/")
        if nested:
            fields.setdefault(field, {})[part] = np.array(array)
        else:
            fields[field] = np.array(array)
    # Actions are as the policy takes them already, see `BC._policy_acts`.
    spec = _loaders.TensorSpec(("obs", "acts"), learner.policy.device, learner.policy.observation_space)
    try:
        return _loaders.TransitionTensors(spec.tensors(fields))
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's demonstrations do not fit: {error}") from None
