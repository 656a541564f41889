"""The state of a preference comparison between two iterations, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imitation_lab.algorithms import checkpoint
from imitation_lab.algorithms.preference_comparisons.dataset import (
    PreferenceDataset,
    pair_tensors,
    pairs_of,
    trajectory_tensors,
)
from imitation_lab.algorithms.preference_comparisons.gatherers import AsynchronousGatherer
from imitation_lab.algorithms.preference_comparisons.generators import AgentTrainer, TrajectoryDataset
from imitation_lab.algorithms.preference_comparisons.trainers import BasicRewardTrainer
from imitation_lab.data.stored import StoredTrajectories
from imitation_lab.util.artifacts import ArtifactError

if TYPE_CHECKING:
    from imitation_lab.algorithms.preference_comparisons.comparisons import PreferenceComparisons

VERSION = 1


def pack(run: PreferenceComparisons) -> checkpoint.State:
    """All that training changes."""
    for part, known in (
        (run.trajectory_generator, (AgentTrainer, TrajectoryDataset)),
        (run.reward_trainer, (BasicRewardTrainer,)),
    ):
        if not isinstance(part, known):
            names = " or ".join(cls.__name__ for cls in known)
            raise TypeError(f"Cannot save the state of a {type(part).__name__}, expected {names}.")
    state = checkpoint.State()
    state.meta["run"] = {
        "class": type(run).__name__,
        "iteration": run.iteration,
        "reward_trained": run._reward_trained,
        "horizon": run._horizon,
        "plan": run._plan,
        "labels": len(run.dataset),
    }
    checkpoint.pack_module(state, "reward", run.model)
    for i, learner in enumerate(_learners(run)):
        checkpoint.pack_optimizer(state, f"optimizer{i}", learner.optimizer)
        if learner.regularizer is not None:
            state.meta[f"regularizer{i}"] = learner.regularizer.state_dict()
    if len(run.dataset):
        tensors = {**_flat(pair_tensors(run.dataset.pairs)), "preferences": run.dataset.preferences}
        state.tensors.update({f"dataset/{name}": array for name, array in tensors.items()})
    if isinstance(run.preference_gatherer, AsynchronousGatherer):
        state.meta["gatherer"] = run.preference_gatherer.state()
    generator = run.trajectory_generator
    if isinstance(generator, AgentTrainer):
        checkpoint.pack_algorithm(state, "agent", generator.algorithm)
        if generator._collected:
            tensors = _flat(trajectory_tensors(generator._collected))
            state.tensors.update({f"collected/{name}": array for name, array in tensors.items()})
        wrapped = generator.reward_venv_wrapper.episode_rewards
        state.tensors["wrapped_returns"] = np.array(wrapped, dtype=np.float64)
    checkpoint.pack_randomness(state, "random", **_generators(run))
    return state


def unpack(run: PreferenceComparisons, state: checkpoint.State) -> None:
    """Inverse of `pack`."""
    meta = state.entry("run")
    if meta.get("class") != type(run).__name__:
        raise ArtifactError(f"the checkpoint is of {meta.get('class')}, not of {type(run).__name__}")
    checkpoint.unpack_module(state, "reward", run.model)
    for i, learner in enumerate(_learners(run)):
        checkpoint.unpack_optimizer(state, f"optimizer{i}", learner.optimizer)
        if learner.regularizer is not None:
            learner.regularizer.load_state_dict(state.entry(f"regularizer{i}"))
    dataset = PreferenceDataset(run.dataset.max_size)
    if meta.get("labels"):
        tensors = state.under("dataset/")
        preferences = tensors.pop("preferences", np.empty(0))
        dataset.push(pairs_of("dataset", tensors), preferences)
    run.dataset = dataset
    if isinstance(run.preference_gatherer, AsynchronousGatherer):
        run.preference_gatherer.restore(state.entry("gatherer"))
    generator = run.trajectory_generator
    if isinstance(generator, AgentTrainer):
        checkpoint.unpack_algorithm(state, "agent", generator.algorithm)
        collected = state.under("collected/")
        generator._collect()
        generator._collected = list(StoredTrajectories("collected", collected)) if collected else []
        wrapped = generator.reward_venv_wrapper.episode_rewards
        wrapped.clear()
        wrapped.extend(state.array("wrapped_returns").tolist())
    run.iteration, run._reward_trained = meta["iteration"], meta["reward_trained"]
    run._horizon, run._plan = meta["horizon"], meta["plan"]
    checkpoint.unpack_randomness(state, "random", **_generators(run))
    if isinstance(generator, AgentTrainer):
        generator.begin_anew()


def _learners(run: PreferenceComparisons) -> Any:
    return run.reward_trainer._learners if isinstance(run.reward_trainer, BasicRewardTrainer) else ()


def _generators(run: PreferenceComparisons) -> dict[str, np.random.Generator]:
    """Every part's source of randomness; some may be one and the same."""
    parts = {
        "run": run,
        "generator": run.trajectory_generator,
        "fragmenter": run.fragmenter,
        "candidates": getattr(run.fragmenter, "base_fragmenter", None),
        "gatherer": run.preference_gatherer,
        "trainer": run.reward_trainer,
    }
    found = {name: getattr(part, "rng", None) for name, part in parts.items()}
    return {name: rng for name, rng in found.items() if isinstance(rng, np.random.Generator)}


def _flat(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(value) if isinstance(value, list) else value for name, value in tensors.items()}
