"""Trains a policy by an algorithm of another package; see `algorithms.plugins`.

imitation-lab train NAME with pendulum seed=0
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from imitation_lab.algorithms import plugins
from imitation_lab.scripts import _engine, _schema
from imitation_lab.scripts._schema import Natural
from imitation_lab.scripts.config import named
from imitation_lab.scripts.ingredients import Demonstrations, Environment, Expert, Logging, PolicyEvaluation
from imitation_lab.scripts.output import streams
from imitation_lab.util import util

__all__ = ["train_plugin", "experiment"]


def train_plugin(
    algorithm: plugins.Algorithm,
    settings: Mapping[str, Any],
    *,
    environment: Environment = Environment(),
    demonstrations: Demonstrations = Demonstrations(),
    expert: Expert = Expert(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: Natural | None = None,
) -> dict[str, dict[str, float]]:
    """Trains by an algorithm of another package.

    Args:
        algorithm: what the package has registered.
        settings: its keys.
        environment: see there.
        demonstrations: see there.
        expert: see there.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    rng, evaluation_rng = streams(seed)
    trajectories = demonstrations.load(environment, expert, rng)
    with contextlib.ExitStack() as open_:
        out = open_.enter_context(logging.start(f"train_{algorithm.name}", environment.gym_id))

        def make_venv(n_envs: int | None) -> Any:
            changes = {} if n_envs is None else {"num_vec": n_envs}
            return open_.enter_context(environment.venv(rng, out.folder, **changes))

        def load_expert() -> Any:
            return expert.load(make_venv(1), environment.gym_id)

        setup = plugins.Setup(
            make_env=functools.partial(gym.make, environment.gym_id, **environment.env_make_kwargs),
            make_venv=make_venv,
            load_expert=load_expert,
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
    return policy_evaluation.compare(look.policy, trajectories, environment, evaluation_rng)


def experiment(name: str) -> Any:
    """The experiment of an installed algorithm, whose keys are its settings and the shared groups.

    Raises:
        ImportError: if its package cannot be imported.
        TypeError: if a setting has no type or default.
    """
    algorithm = plugins.load(name)
    values = {name: {task: {"values": settings} for task, settings in algorithm.presets.items()}}
    groups = ("environment", "demonstrations", "expert", "policy_evaluation")
    return _engine.experiment(f"train_{name}", [_command(algorithm)], named(values, groups=groups))


def _command(algorithm: plugins.Algorithm) -> Callable[..., Any]:
    """A main function whose keys and explanations are those of `make`, `train` and `train_plugin`."""
    functions = (algorithm.make, algorithm.train, train_plugin)
    own = [key for function in functions[:2] for key in _schema.read(function)]

    def run(**values: Any) -> Any:
        settings = {key: values.pop(key) for key in own}
        return train_plugin(algorithm, settings, **values)

    parameters = {key: value for function in functions for key, value in inspect.signature(function).parameters.items()}
    kept = [value for value in parameters.values() if value.kind is value.KEYWORD_ONLY]
    for parameter in kept:
        if parameter.default is parameter.empty:
            raise TypeError(f"{algorithm.name}: the setting {parameter.name!r} needs a default for the command line.")
    hints = {key: hint for function in functions for key, hint in typing.get_type_hints(function).items()}
    run.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: hints.get(parameter.name, Any) for parameter in kept}
    docs = {
        key: doc for function in functions for key, doc in _schema.explained(function.__doc__ or "", "Args").items()
    }
    lines = [f"    {key}: {docs.get(key, '')}" for key in run.__annotations__]
    run.__doc__ = "\n".join([(algorithm.cls.__doc__ or "").partition("\n")[0], "", "Args:", *lines])
    run.__name__ = run.__qualname__ = algorithm.name
    return run
