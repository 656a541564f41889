"""Saving a DAgger run as data, and going on from there."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import _bc_save, checkpoint
from imitation_lab.policies.serialize import load_policy_file, save_policy
from imitation_lab.util import codec
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

if TYPE_CHECKING:
    from imitation_lab.algorithms.dagger import DAggerTrainer

VERSION = 1
EXPERT_FILE = "expert.safetensors"
_DEMONSTRATIONS = re.compile(r"round-\d{3,}/demo-\d{5,}\.safetensors")


def save(trainer: DAggerTrainer) -> tuple[pathlib.Path, pathlib.Path]:
    """See `DAggerTrainer.save_trainer`."""
    learner = trainer.bc_trainer
    number = f"{trainer.round_num:03d}"
    state = checkpoint.State()
    meta: dict[str, Any] = {
        "class": type(trainer).__name__,
        "round": trainer.round_num,
        "demonstrations": _names(trainer, trainer._files),
        "pending": _names(trainer, [path for path in _on_disk(trainer) if path not in trainer._files]),
        "n_labels": trainer.n_labels,
        "beta_schedule": _bc_save.described(lambda: _describe_schedule(trainer.beta_schedule)),
        "bc_trainer": _bc_save.described(lambda: _bc_save.describe(learner)),
        "bc_logger": [learner._bc_logger._before, learner._bc_logger._batch],
        "one_rng": learner.rng is trainer.rng,
        "generators": [type(rng.bit_generator).__name__ for rng in (trainer.rng, learner.rng)],
    }
    if hasattr(trainer, "expert_policy"):
        meta["expert_policy"] = _bc_save.described(lambda: _save_expert(trainer))
    state.meta["trainer"] = meta
    _bc_save.pack_learner(state, learner)
    checkpoint.pack_randomness(state, "random", trainer=trainer.rng, bc=learner.rng)
    paths = []
    for name in (number, "latest"):
        policy, file = _paths(trainer.scratch_dir, name)
        save_policy(learner.policy, policy)
        state.write(file, VERSION)
        paths.append((file, policy))
    return paths[0]


def load(
    classes: Mapping[str, type[DAggerTrainer]],
    scratch_dir: pathlib.Path,
    venv: VecEnv,
    *,
    custom_logger: lab_logger.AnyLogger | None,
    device: th.device | str,
    given: Mapping[str, Any],
) -> DAggerTrainer:
    """See `dagger.reconstruct_trainer`."""
    policy_path, file = _paths(scratch_dir, "latest")
    if not file.exists():
        raise FileNotFoundError(
            f"There is no checkpoint {str(file)!r}: give the scratch_dir of a run that called save_trainer()."
        )
    state = checkpoint.State.read(file, VERSION)
    meta = state.entry("trainer")
    cls = classes.get(meta.get("class", ""))
    if cls is None:
        raise ArtifactError(f"the checkpoint is of a {meta.get('class')!r}, expected one of {', '.join(classes)}")
    try:
        kinds, one_rng, round_num = meta["generators"], bool(meta["one_rng"]), int(meta["round"])
        files, pending = ([str(name) for name in meta[key]] for key in ("demonstrations", "pending"))
        before, batch = (int(n) for n in meta["bc_logger"])
        rngs = [_bc_save.generator(name) for name in kinds]
        if len(rngs) != 2 or round_num < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's description of the run is damaged: {error!r}") from None
    rng = rngs[0]
    learner = given["bc_trainer"]
    if custom_logger is not None:
        custom_logger = lab_logger.as_logger(custom_logger)  # one for both trainers
    if learner is None:
        spec = _bc_save.found(meta, "bc_trainer")
        learner = _bc_save.rebuild(spec, policy_path, device, rng if one_rng else rngs[1], custom_logger)
    elif one_rng:
        rng = learner.rng
    schedule = given["beta_schedule"] or _build_schedule(_bc_save.found(meta, "beta_schedule"))
    kwargs: dict[str, Any] = {"venv": venv, "rng": rng, "beta_schedule": schedule, "bc_trainer": learner}
    if "expert_policy" in meta:
        kwargs["expert_policy"] = given["expert_policy"]
        if kwargs["expert_policy"] is None:
            _bc_save.found(meta, "expert_policy")
            kwargs["expert_policy"] = load_policy_file(scratch_dir / EXPERT_FILE, device)
    trainer = cls(scratch_dir=scratch_dir, custom_logger=custom_logger, **kwargs, _resumed=True)
    _bc_save.unpack_learner(state, learner)
    for name in files:
        if not _DEMONSTRATIONS.fullmatch(name):
            raise ArtifactError(f"the checkpoint names {name!r}, which is no file of demonstrations")
        path = scratch_dir / "demos" / name
        if not path.exists():
            raise FileNotFoundError(f"The run was trained on {str(path)!r}, which is missing: put it back to go on.")
        trainer._append(path)
    if trainer.n_labels != meta.get("n_labels"):
        raise ArtifactError(
            f"the run was trained on {meta.get('n_labels')} transitions, its demonstrations in "
            f"{str(scratch_dir / 'demos')!r} are {trainer.n_labels}: they have been changed since"
        )
    learner._bc_logger._before, learner._bc_logger._batch = before, batch
    trainer.round_num = round_num
    if "expert_policy" in meta:
        _set_aside(trainer, {*files, *pending})
    checkpoint.unpack_randomness(state, "random", trainer=rng, bc=learner.rng)
    return trainer


def _paths(scratch_dir: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    return scratch_dir / f"policy-{name}.safetensors", scratch_dir / f"checkpoint-{name}.safetensors"


def _on_disk(trainer: DAggerTrainer) -> list[pathlib.Path]:
    return sorted((trainer.scratch_dir / "demos").glob("round-*/demo-*.safetensors"))


def _names(trainer: DAggerTrainer, paths: list[pathlib.Path]) -> list[str]:
    return [path.relative_to(trainer.scratch_dir / "demos").as_posix() for path in paths]


def _set_aside(trainer: DAggerTrainer, known: set[str]) -> None:
    """Renames demonstrations of rounds that are to be run again, which the expert will give again."""
    late = [path for path in _on_disk(trainer) if _names(trainer, [path])[0] not in known]
    for path in late:
        number = 0
        while (target := path.with_name(f"unused-{number}-{path.name}")).exists():
            number += 1
        path.rename(target)
    if late:
        trainer.logger.log(f"{len(late)} files of demonstrations made after the checkpoint are renamed to unused-...")


def _describe_schedule(schedule: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(schedule) or isinstance(schedule, type):
        raise TypeError(f"{schedule!r} is a function, or no dataclass, and so no data")
    return {"class": codec.class_name(type(schedule)), "fields": codec.encode(dataclasses.asdict(schedule))}


def _build_schedule(spec: Any) -> Any:
    try:
        cls = codec.find_class(spec["class"])
        if not dataclasses.is_dataclass(cls):
            raise ArtifactError(f"the checkpoint names {spec['class']!r} as beta_schedule, which it is not")
        return cls(**codec.decode(spec["fields"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the checkpoint's beta_schedule is damaged: {error!r}") from None


def _save_expert(trainer: Any) -> str:
    expert = getattr(trainer.expert_policy, "policy", trainer.expert_policy)
    if not isinstance(expert, BasePolicy):
        raise TypeError("it is a function, and so no data")
    path = trainer.scratch_dir / EXPERT_FILE
    if not path.exists():
        save_policy(expert, path)
    return EXPERT_FILE
