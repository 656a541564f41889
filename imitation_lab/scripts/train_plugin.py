"""Trains a policy by an algorithm of another package; see `algorithms.plugins`.

imitation-lab train NAME with pendulum seed=0
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from imitation_lab.algorithms import plugins
from imitation_lab.scripts import _engine, _schema
from imitation_lab.scripts._frame import Imitation, Result
from imitation_lab.scripts.config import named
from imitation_lab.scripts.output import streams
from imitation_lab.util import util

__all__ = ["train_plugin", "experiment"]


def train_plugin(frame: Imitation, algorithm: plugins.Algorithm, settings: Mapping[str, Any]) -> Result:
    """Trains by an algorithm of another package.

    Args:
        frame: the shared keys.
        algorithm: what the package has registered.
        settings: its keys.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    environment, (rng, _) = frame.environment, streams(frame.seed)
    trajectories = frame.demonstrations.load(environment, frame.expert, rng)
    with contextlib.ExitStack() as open_:
        out = open_.enter_context(frame.logging.start(f"train_{algorithm.name}", environment.gym_id))

        def make_venv(n_envs: int | None) -> Any:
            changes = {} if n_envs is None else {"num_vec": n_envs}
            return open_.enter_context(environment.venv(rng, out.folder, **changes))

        setup = plugins.Setup(
            make_env=functools.partial(gym.make, environment.gym_id, **environment.env_make_kwargs),
            make_venv=make_venv,
            load_expert=lambda: frame.expert.load(make_venv(1), environment.gym_id),
            demonstrations=trajectories,
            seed=util.make_seeds(rng),
            logger=out.logger,
            folder=out.folder,
        )
        *_, look = algorithm.run(setup, settings)
        try:
            out.save_policy(look.policy)
        except TypeError as error:  # of a class that no file can name
            out.logger.warn(f"the policy is not saved: {error}")
    return frame.compare(look.policy, trajectories)


def experiment(name: str) -> Any:
    """The experiment of an installed algorithm, whose keys are its settings and the shared groups.

    Raises:
        ImportError: if its package cannot be imported.
        TypeError: if a setting has no default.
    """
    algorithm = plugins.load(name)
    values = {name: {task: {"values": settings} for task, settings in algorithm.presets.items()}}
    groups = ("environment", "demonstrations", "expert", "policy_evaluation")
    return _engine.experiment(f"train_{name}", [_command(algorithm)], named(values, groups=groups))


def _command(algorithm: plugins.Algorithm) -> Callable[..., Any]:
    """A main function whose keys and explanations are those of `make`, `train` and the frame."""

    def run(**values: Any) -> Any:
        shared = {key: values.pop(key) for key in Imitation.__dataclass_fields__}
        return train_plugin(Imitation(**shared), algorithm, values)

    doc = (algorithm.cls.__doc__ or "").partition("\n")[0]
    return _schema.keyed(run, algorithm.name, doc, algorithm.make, algorithm.train, Imitation)
