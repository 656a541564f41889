"""DAgger (dataset aggregation): let the learner act, let the expert say what it should have done, and learn from that.

S. Ross, G. J. Gordon, J. A. Bagnell, "A reduction of imitation learning and structured prediction to no-regret online
learning", AISTATS 2011. A policy cloned from the expert's own episodes errs, reaches states the expert never showed,
and errs the more. In round i DAgger collects states s with a mixture of expert π* and learner π̂ᵢ, labels all of them
with the expert's action, and trains on everything so far:

    πᵢ = βᵢ π* + (1 − βᵢ) π̂ᵢ        D ← D ∪ {(s, π*(s)) : s visited by πᵢ}        π̂ᵢ₊₁ ← behavioral cloning on D
    βᵢ  `BetaSchedule`               s, π*(s)  `InteractiveTrajectoryCollector`       `extend_and_update`

Departures from the paper:

1. The learner goes on from its weights, and makes a few passes over D; the paper trains anew to the optimum.
2. π̂ᵢ samples its actions, as a stochastic policy does; its most likely actions are for evaluation.
3. The last policy is the result, not the best of all rounds on held-out data.
4. The first round may have the expert alone, or demonstrations made before (`expert_trajs`), whatever β₀ is.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import base, checkpoint, saved
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.bc.bc import BC
from imitation_lab.algorithms.dagger.collector import (
    InteractiveTrajectoryCollector,
    RobotActs,
    demonstration_files,
    save_demonstrations,
)
from imitation_lab.algorithms.dagger.schedules import BetaSchedule, ExponentialBetaSchedule, LinearBetaSchedule
from imitation_lab.algorithms.dagger.session import InteractiveSession, SessionStep
from imitation_lab.data import rollout, serialize, types
from imitation_lab.data.spaces import channels_first
from imitation_lab.policies.serialize import save_policy
from imitation_lab.util import artifacts, checks, policy_files, tree, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

__all__ = [
    "BetaSchedule",
    "DAggerTrainer",
    "ExponentialBetaSchedule",
    "InteractiveSession",
    "InteractiveTrajectoryCollector",
    "LinearBetaSchedule",
    "NeedsDemosException",
    "SessionStep",
    "SimpleDAggerTrainer",
    "reconstruct_trainer",
]


_DEMONSTRATIONS = re.compile(r"round-\d{3,}/demo-\d{5,}\.safetensors")
_LATEST = "latest"


class NeedsDemosException(Exception):  # noqa: N818 (the name the field knows)
    """A round is to be trained on, and nothing has been demonstrated in it."""


class DAggerTrainer(saved.Saved, base.BaseImitationAlgorithm):
    """DAgger by hand: you collect each round's labels, from whomever, and train when you like.

    A round is `collector = trainer.create_trajectory_collector()`, steps of the collector with the expert's actions
    until episodes end, and `trainer.extend_and_update()`. Demonstrations go to `scratch_dir/demos`, a folder for each
    round, and are appended to what `bc_trainer` learns from: they are read once.

    Args:
        venv: the environments.
        scratch_dir: where demonstrations and checkpoints go, made if missing. One run each.
        rng: draws who acts, what the learner does, and the environments' seeds.
        beta_schedule: round, from 0, to the probability that the expert acts; None is `LinearBetaSchedule(15)`.
        bc_trainer: the learner, without demonstrations of its own.
        custom_logger: where metrics go, also `bc_trainer`'s; None is the logger of `bc_trainer`.

    Attributes:
        venv: as given.
        scratch_dir: as given, a path.
        rng: as given.
        beta_schedule: as given.
        bc_trainer: as given.
        round_num: the current round, from 0.
        n_labels: transitions in the demonstrations trained on so far.

    Raises:
        TypeError: `venv` is no VecEnv, `bc_trainer` no BC, or `rng` no Generator.
        ValueError: the spaces of `bc_trainer` are not the environments', or `scratch_dir` holds an earlier run.
    """

    # The learner's demonstrations are in the files that `_labels` names.
    _state = ("round_num", "rng", *(f"bc_trainer.{name}" for name in BC._learned), "_labels")

    DEFAULT_N_EPOCHS = 4
    """Passes over all demonstrations in `extend_and_update`, unless told otherwise."""

    def __init__(
        self,
        *,
        venv: VecEnv,
        scratch_dir: types.AnyPath,
        rng: np.random.Generator,
        beta_schedule: Callable[[int], float] | None = None,
        bc_trainer: BC,
        custom_logger: lab_logger.AnyLogger | None = None,
        _resumed: bool = False,
    ) -> None:
        if not isinstance(venv, VecEnv):
            raise TypeError(f"venv is a {type(venv).__name__}, expected a VecEnv: see util.util.make_vec_env.")
        if not isinstance(bc_trainer, BC):
            raise TypeError(f"bc_trainer is a {type(bc_trainer).__name__}, expected an imitation_lab.algorithms.bc.BC.")
        checks.generator(rng)
        if not (beta_schedule is None or (callable(beta_schedule) and not isinstance(beta_schedule, type))):
            raise TypeError(f"beta_schedule is {beta_schedule!r}, expected a function from the round to a probability.")
        for name in ("observation_space", "action_space"):
            found, expected = getattr(bc_trainer, name), getattr(venv, name)
            if found not in (expected, channels_first(expected)):
                raise ValueError(
                    f"bc_trainer's {name} is {found}, but the environment's is {expected}: make it with "
                    f"BC({name}=venv.{name}, ...)."
                )
        self.scratch_dir = util.parse_path(scratch_dir)
        if not _resumed and any((self.scratch_dir / "demos").glob("round-*/demo-*")):
            raise ValueError(
                f"{str(self.scratch_dir)!r} holds demonstrations of an earlier run. Go on with that one by "
                "reconstruct_trainer(scratch_dir, venv), or give another scratch_dir; what was demonstrated can be "
                "loaded with data.serialize.load and passed to add_demonstrations."
            )
        self.venv = venv
        self.rng = rng
        self.beta_schedule = LinearBetaSchedule(15) if beta_schedule is None else beta_schedule
        self.bc_trainer = bc_trainer
        self.round_num = 0
        self._data: base.TransitionTensors | None = None  # of all rounds
        self._files: list[pathlib.Path] = []  # what is in it, in order
        super().__init__(custom_logger=custom_logger or bc_trainer.logger)
        self._share(self.logger)
        if bc_trainer._data is not None:
            self.logger.warn(
                "bc_trainer has demonstrations of its own, which the first round replaces. To keep them, pass them to "
                "add_demonstrations (or as expert_trajs) instead."
            )

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        if self.bc_trainer.logger is not logger:
            self.bc_trainer.logger = logger

    @property
    def policy(self) -> ActorCriticPolicy:
        """The learner."""
        return self.bc_trainer.policy

    @property
    def batch_size(self) -> int:
        """Transitions per update."""
        return self.bc_trainer.batch_size

    @property
    def n_labels(self) -> int:
        """Transitions in the demonstrations trained on so far."""
        return 0 if self._data is None else len(self._data)

    def demos_dir(self, round_num: int | None = None) -> pathlib.Path:
        """Where the demonstrations of a round are, by default the current one."""
        return self._demos / f"round-{self.round_num if round_num is None else round_num:03d}"

    def add_demonstrations(self, trajectories: Sequence[types.Trajectory]) -> pathlib.Path:
        """Saves demonstrations made elsewhere as part of the current round; they are on the disk when this returns.

        Args:
            trajectories: observations and what the expert does there; each may be a part of an episode.

        Raises:
            ValueError: there are none, or they do not fit the spaces.
        """
        plain = [dataclasses.replace(trajectory, infos=None) for trajectory in trajectories]
        if plain:
            self.bc_trainer._tensors(plain)  # complains before a file is written that could not be trained on
        return save_demonstrations(self.demos_dir(), plain)

    def create_trajectory_collector(self) -> InteractiveTrajectoryCollector:
        """The environments of the current round, freshly seeded, to be reset and stepped with the expert's actions.

        Raises:
            ValueError: `beta_schedule` gives no probability.
        """
        beta = self.beta_schedule(self.round_num)
        robot = RobotActs(self.policy, self.venv, self.rng)
        collector = InteractiveTrajectoryCollector(self.venv, robot, beta, self.demos_dir(), self.rng)
        self.venv.seed(util.make_seeds(self.rng))
        return collector

    def create_session(self) -> InteractiveSession:
        """What a human labels in, a click or a key at a time: see `widgets.interactive.InteractiveExpert`.

        Raises:
            ValueError: `venv` has more than one environment.
        """
        return InteractiveSession(self.venv, self.policy, self.rng)

    def extend_and_update(self, bc_train_kwargs: Mapping[str, Any] | None = None) -> int:
        """Appends the round's new demonstrations, trains on all there are, and begins the next round.

        Args:
            bc_train_kwargs: for `BC.train`. Unless given, `n_epochs` is `DEFAULT_N_EPOCHS` and episodes in `venv` are
                logged (`log_rollouts_venv=None` turns that off).

        Returns:
            The number of the next round.

        Raises:
            NeedsDemosException: nothing has been demonstrated in this round.
            ValueError: there are fewer transitions than a batch, or arguments contradict each other.
        """
        found = demonstration_files(self.demos_dir())
        if not found:
            raise NeedsDemosException(
                f"Round {self.round_num} has no demonstrations in {str(self.demos_dir())!r}. Step "
                "create_trajectory_collector() with the expert's actions until an episode ends (or call its "
                "save_running()), or pass trajectories to add_demonstrations; then call extend_and_update again."
            )
        known = set(self._files)
        self._append([path for path in found if path not in known])
        kwargs: dict[str, Any] = {"log_rollouts_venv": self.venv, **(bc_train_kwargs or {})}
        if kwargs.get("n_epochs") is None and kwargs.get("n_batches") is None:
            kwargs["n_epochs"] = self.DEFAULT_N_EPOCHS
        self.venv.seed(util.make_seeds(self.rng))  # for the episodes that are logged
        self.bc_trainer.train(**kwargs)
        self.round_num += 1
        return self.round_num

    def _append(self, files: Sequence[pathlib.Path]) -> None:
        """Adds files of demonstrations to what `bc_trainer` learns from; together they may be fewer than a batch."""
        parts = [self.bc_trainer._tensors(serialize.load(path)) for path in files]
        rows = [part.fields for part in (self._data, *parts) if isinstance(part, base.TransitionTensors)]
        self._data = base.TransitionTensors(tree.cat(rows)) if rows else None
        self._files += files
        self.bc_trainer._data, self.bc_trainer._split = self._data, None

    def save_trainer(self) -> tuple[pathlib.Path, pathlib.Path]:
        """Saves all that a run needs to go on, as data; `reconstruct_trainer` reads it.

        Save between rounds: labels of episodes that are running are not part of it.

        Returns:
            The checkpoint of this round and the policy, `checkpoint-002.safetensors` and `policy-002.safetensors` of
            round 2 in `scratch_dir`. The same files are there under the number `latest`.

        Raises:
            TypeError: the policy cannot be expressed as data.
        """
        written = []
        for name in (f"{self.round_num:03d}", _LATEST):
            policy, file = (self.scratch_dir / f"{kind}-{name}.safetensors" for kind in ("policy", "checkpoint"))
            save_policy(self.policy, policy)
            self._checkpoint().write(file, saved.VERSION)
            written.append((file, policy))
        return written[0]

    @classmethod
    def _make(cls, arguments: dict[str, Any]) -> Self:
        return cls(**arguments, _resumed=True)

    @classmethod
    def _file(cls, path: types.AnyPath) -> pathlib.Path:
        given = util.parse_path(path)
        return given if given.suffix == ".safetensors" else given / saved.FILE

    @property
    def _labels(self) -> dict[str, Any]:
        pending = [name for name in self._on_disk() if self._demos / name not in self._files]
        trained_on = [path.relative_to(self._demos).as_posix() for path in self._files]
        return {"demonstrations": trained_on, "pending": pending, "n_labels": self.n_labels}

    @_labels.setter
    def _labels(self, saved: dict[str, Any]) -> None:
        self._data, self._files = None, []
        paths: list[pathlib.Path] = []
        for name in saved["demonstrations"]:
            if not _DEMONSTRATIONS.fullmatch(name):
                raise ArtifactError(f"the checkpoint names {name!r}, which is no file of demonstrations")
            path = self._demos / name
            if not path.exists():
                raise FileNotFoundError(
                    f"The run was trained on {str(path)!r}, which is missing: put it back to go on."
                )
            paths.append(path)
        self._append(paths)
        if self.n_labels != saved["n_labels"]:
            raise ArtifactError(
                f"the run was trained on {saved['n_labels']} transitions, its demonstrations in {str(self._demos)!r} "
                f"are {self.n_labels}: they have been changed since"
            )
        if hasattr(self, "expert_policy"):
            self._set_aside({*saved["demonstrations"], *saved["pending"]})

    @property
    def _demos(self) -> pathlib.Path:
        return self.scratch_dir / "demos"

    def _on_disk(self) -> list[str]:
        return sorted(
            path.relative_to(self._demos).as_posix() for path in self._demos.glob("round-*/demo-*.safetensors")
        )

    def _set_aside(self, known: set[str]) -> None:
        """Renames demonstrations of rounds that are to be run again, which the expert will give again."""
        late = [self._demos / name for name in self._on_disk() if name not in known]
        for path in late:
            number = 0
            while (target := path.with_name(f"unused-{number}-{path.name}")).exists():
                number += 1
            path.rename(target)
        if late:
            self.logger.log(f"{len(late)} files of demonstrations made after the checkpoint are renamed to unused-...")

    @classmethod
    def _upgrade(cls, state: checkpoint.State, file: pathlib.Path) -> checkpoint.State:
        return _from_version_1(state, file.parent)


class SimpleDAggerTrainer(DAggerTrainer):
    """DAgger with an expert that can be asked at any time.

    Args:
        venv: see `DAggerTrainer`.
        scratch_dir: see `DAggerTrainer`.
        expert_policy: whoever knows what to do: an SB3 policy or algorithm, which acts deterministically, a callable as
            in `data.rollout.policy_to_callable`, or a human in a terminal (`policies.interactive`). For a human in a
            notebook see `widgets.interactive.InteractiveExpert`, with `DAggerTrainer`.
        rng: see `DAggerTrainer`.
        expert_trajs: demonstrations to begin with, part of round 0.
        **dagger_trainer_kwargs: see `DAggerTrainer`.

    Attributes:
        expert_policy: as given.

    Raises:
        TypeError: `expert_policy` is nothing that acts.
        ValueError: the expert's spaces are not the environments', or `expert_trajs` do not fit them.
    """

    def __init__(
        self,
        *,
        venv: VecEnv,
        scratch_dir: types.AnyPath,
        expert_policy: Any,
        rng: np.random.Generator,
        expert_trajs: Sequence[types.Trajectory] | None = None,
        **dagger_trainer_kwargs: Any,
    ) -> None:
        super().__init__(venv=venv, scratch_dir=scratch_dir, rng=rng, **dagger_trainer_kwargs)
        if expert_policy is None:
            raise TypeError("expert_policy is None, expected an SB3 policy or algorithm, or a callable.")
        rollout.policy_to_callable(expert_policy, venv)  # complains about what does not act, or acts elsewhere
        self.expert_policy = expert_policy
        if expert_trajs is not None:
            self.add_demonstrations(expert_trajs)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "expert_policy": getattr(self.expert_policy, "policy", self.expert_policy)}

    def _checkpoint(self) -> checkpoint.State:
        state = super()._checkpoint()
        expert = self._arguments()["expert_policy"]
        if isinstance(expert, BasePolicy):
            checkpoint.pack_module(state, "expert_policy", expert)
        return state

    def train(
        self,
        total_timesteps: int,
        *,
        rollout_round_min_episodes: int = 3,
        rollout_round_min_timesteps: int = 500,
        bc_train_kwargs: Mapping[str, Any] | None = None,
        on_round_end: Callable[[int], Any] | None = None,
        progress_bar: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        """Runs rounds until enough labels have been collected. Call again to go on.

        An interrupt (Ctrl-C, a notebook's stop button) ends training after a line in the log. Labels of running
        episodes are saved, and count in the round that `train` goes on with.

        Args:
            total_timesteps: labelled steps to collect in this call, at least; the last round is finished.
            rollout_round_min_episodes: episodes per round, at least.
            rollout_round_min_timesteps: labelled steps per round, at least; and no fewer than a batch.
            bc_train_kwargs: for `BC.train`, see `extend_and_update`.
            on_round_end: called with the number of the round that ended; training stops if it returns False.
            progress_bar: whether to show the labelled steps; that of `BC.train` is off unless asked for.
            stop: training ends after the round during which this event is set.

        Raises:
            ValueError: a number is below 1, or a label is not in the action space.
        """
        checks.at_least(
            1,
            total_timesteps=total_timesteps,
            rollout_round_min_episodes=rollout_round_min_episodes,
            rollout_round_min_timesteps=rollout_round_min_timesteps,
        )
        min_timesteps = max(rollout_round_min_timesteps, self.batch_size)
        kwargs = {"progress_bar": False, **(bc_train_kwargs or {})}
        done = 0
        with Run(self, total_timesteps, "label", progress_bar, stop) as run:
            going_on = True
            while going_on and done < total_timesteps:
                round_num = self.round_num
                collector = self._collect(min_timesteps, rollout_round_min_episodes)
                done += collector.n_timesteps
                self.logger.record("dagger/total_timesteps", done)
                self.logger.record("dagger/round_num", round_num)
                self.logger.record("dagger/round_episode_count", collector.n_episodes)
                self.logger.record("dagger/round_timestep_count", collector.n_timesteps)
                self.extend_and_update(kwargs)
                if self.bc_trainer.interrupted:
                    raise KeyboardInterrupt
                going_on = run.step(collector.n_timesteps, on_round_end and on_round_end(round_num))

    def _collect(self, min_timesteps: int, min_episodes: int) -> InteractiveTrajectoryCollector:
        """Collects until the minima are reached; labels of running episodes are kept if interrupted."""
        collector = self.create_trajectory_collector()
        sample_until = rollout.make_sample_until(min_timesteps, min_episodes)
        try:
            with base.seeded_torch(self.rng):
                rollout.generate_trajectories(
                    self.expert_policy,
                    collector,
                    sample_until,
                    self.rng,
                    deterministic_policy=hasattr(self.expert_policy, "predict"),
                )
        except KeyboardInterrupt:
            kept = collector.save_running()
            self.logger.log(f"Interrupted while collecting: the {kept} labels of unfinished episodes are saved too.")
            raise
        return collector


def reconstruct_trainer(
    scratch_dir: types.AnyPath,
    venv: VecEnv,
    custom_logger: lab_logger.AnyLogger | None = None,
    device: th.device | str = "auto",
    *,
    bc_trainer: BC | None = None,
    beta_schedule: Callable[[int], float] | None = None,
    expert_policy: Any = None,
) -> DAggerTrainer:
    """Goes on from the latest checkpoint of `DAggerTrainer.save_trainer`; nothing is unpickled.

    On CPU the run goes on bit-equal to one that never stopped. Demonstrations are read from `scratch_dir`, each once.
    Those made after the checkpoint count in their rounds; where the expert can be asked again (`SimpleDAggerTrainer`)
    they are renamed to `unused-...` instead.

    Args:
        scratch_dir: of the run that was saved.
        venv: environments like those of the run.
        custom_logger: where metrics go.
        device: of the policy.
        bc_trainer: built as in the run, where it cannot be rebuilt: with a regularizer, a loss of its own, or an
            optimizer or policy of an unregistered class.
        beta_schedule: as in the run, where it is a function.
        expert_policy: the expert of a `SimpleDAggerTrainer`, where it is no SB3 policy, which is saved with the run.

    Raises:
        FileNotFoundError: there is no checkpoint, or a demonstration is missing.
        ArtifactError: a ValueError, if a file is damaged, or an argument is needed and not given.
        ValueError: the spaces of the run are not the environments'.
    """
    folder = util.parse_path(scratch_dir)
    file = folder / f"checkpoint-{_LATEST}.safetensors"
    if not file.exists():
        raise FileNotFoundError(
            f"There is no checkpoint {str(file)!r}: give the scratch_dir of a run that called save_trainer()."
        )
    kind = str(DAggerTrainer._read(file).meta.get("class"))
    classes = {cls.__name__: cls for cls in (DAggerTrainer, SimpleDAggerTrainer)}
    if kind not in classes:
        raise ArtifactError(f"the checkpoint is of a {kind!r}, expected one of {', '.join(classes)}")
    given = {"bc_trainer": bc_trainer, "beta_schedule": beta_schedule, "expert_policy": expert_policy}
    return classes[kind].load(
        file,
        venv,
        scratch_dir=folder,
        custom_logger=None if custom_logger is None else lab_logger.as_logger(custom_logger),  # one for both trainers
        device=device,
        **{name: part for name, part in given.items() if part is not None},
    )


def _from_version_1(state: checkpoint.State, folder: pathlib.Path) -> checkpoint.State:
    """A checkpoint of the first release: entries had other names, policy and expert lay in files of their own."""
    meta, found = state.meta["trainer"], state.meta["random"]["generators"]
    numbers = (0, 0 if meta["one_rng"] else 1)
    rng, learner_rng = ({"rng": {"kind": k, "number": n}} for k, n in zip(meta["generators"], numbers, strict=True))
    learner: dict[str, Any] = meta["bc_trainer"]
    if "spec" in learner:
        about = artifacts.read(
            folder / f"policy-{_LATEST}.safetensors", kind=policy_files.KIND, version=policy_files.VERSION
        ).meta
        arguments = {name: {"data": value} for name, value in learner["spec"].items()}
        learner = {
            "saved": {"class": "BC", "arguments": {**arguments, "rng": learner_rng, "policy": {"policy": about}}}
        }
    schedule = meta["beta_schedule"]
    if "spec" in schedule:
        schedule = {"data": {"__object__": schedule["spec"]["class"], "fields": schedule["spec"]["fields"]}}
    arguments = {"rng": rng, "beta_schedule": schedule, "bc_trainer": learner}
    tensors = {name: array for name, array in state.tensors.items() if name.startswith("random/")}
    for name in ("policy", "optimizer"):
        tensors.update({f"bc_trainer.{name}/{key}": array for key, array in state.under(f"{name}/").items()})
    if "expert_policy" in meta:
        arguments["expert_policy"] = meta["expert_policy"]
        if "spec" in meta["expert_policy"]:
            expert = artifacts.read(folder / "expert.safetensors", kind=policy_files.KIND, version=policy_files.VERSION)
            arguments["expert_policy"] = {"policy": expert.meta}
            tensors.update({f"expert_policy/{key}": array for key, array in expert.tensors.items()})
    before, batch = meta["bc_logger"]
    regularizer = state.meta.get("regularizer")
    parts = {"rng": "generator", "bc_trainer.rng": "generator", "bc_trainer.policy": "network"}
    parts |= {"bc_trainer.optimizer": "optimizer", "bc_trainer._bc_logger": "parts"}
    return checkpoint.State(
        {
            "class": meta["class"],
            "arguments": arguments,
            "parts": parts if regularizer is None else {**parts, "bc_trainer.regularizer": "state"},
            "round_num": meta["round"],
            "rng": found["trainer"],
            "bc_trainer.rng": found["bc"],
            "bc_trainer.optimizer": state.meta["optimizer"],
            "bc_trainer.regularizer": regularizer,
            "bc_trainer._bc_logger.before": before,
            "bc_trainer._bc_logger.batch": batch,
            "labels": {key: meta[key] for key in ("demonstrations", "pending", "n_labels")},
            "random": state.meta["random"],
        },
        tensors,
    )
