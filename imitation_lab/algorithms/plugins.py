"""Algorithms of other packages: one object makes an algorithm a command, and a competitor in comparisons.

A package that installs one names it in its `pyproject.toml`:

    [project.entry-points."imitation_lab.algorithms"]
    huber = "huber_cloning:ALGORITHM"

Then `imitation-lab train huber with pendulum` trains it, and `imitation-lab compare` knows it. Nothing of the package
loads before its algorithm is asked for by name, or all are compared.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the command line's door asks for names, and loads no torch
    from stable_baselines3.common.vec_env import VecEnv

    from imitation_lab.data.types import Trajectory
    from imitation_lab.rewards.reward_function import RewardFn
    from imitation_lab.util.logger import HierarchicalLogger

__all__ = ["GROUP", "Algorithm", "Look", "Setup", "available", "found", "load"]

GROUP = "imitation_lab.algorithms"
"""The group of entry points."""


class Look(NamedTuple):
    """A policy, and what it took so far: the expert's answers, and steps in the environment.

    `reward` is what the algorithm learned to pay, a `RewardFn`, if it learns one.
    """

    policy: Any
    labels: int
    env_steps: int
    reward: RewardFn | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What one run is given.

    Attributes:
        make_env: makes one environment.
        make_venv: makes so many copies of it, seeded; None leaves the number to the user.
        load_expert: gives the expert, an SB3 policy or a function from observations to actions.
        demonstrations: its episodes.
        seed: of everything random.
        logger: where metrics go.
        folder: for files.
        n_looks: into how many parts training shall be divided, if it can.
        budget: multiplies the steps in the environment.
    """

    make_env: Callable[[], Any]
    make_venv: Callable[[int | None], VecEnv]
    load_expert: Callable[[], Any]
    demonstrations: Sequence[Trajectory]
    seed: int
    logger: HierarchicalLogger
    folder: pathlib.Path
    n_looks: int = 1
    budget: float = 1.0

    @property
    def rng(self) -> np.random.Generator:
        """The run's generator, from its beginning."""
        return np.random.default_rng(self.seed)

    @property
    def n_labels(self) -> int:
        """The expert's actions in the demonstrations."""
        return sum(map(len, self.demonstrations))

    def parts(self, steps: int, multiple: int = 1) -> list[int]:
        """The steps of each look: multiples of a number, at least that."""
        each = max(multiple, round(int(steps * self.budget) / self.n_looks / multiple) * multiple)
        return [each] * self.n_looks


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """An algorithm as command line and comparison see it.

    The keyword-only parameters of `make` and `train` are the algorithm's settings, with their types, defaults and the
    explanations under `Args:`; the command line needs a default for each.

    Attributes:
        name: a word, as in `imitation-lab train NAME`.
        cls: the trainer's class; its docstring's first line explains the command.
        make: `make(setup, **settings)` gives the trainer, whose `policy` is what it learned.
        train: `train(trainer, setup, **settings)` trains it, and gives looks, or None for one at the end.
        presets: settings by task: named configurations of the command (an environment's name, such as pendulum, or
            `fast`), and of the tasks that are compared on (grid_world, cartpole, pendulum).
    """

    name: str
    cls: type
    make: Callable[..., Any]
    train: Callable[..., Iterator[Look] | None]
    presets: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def run(self, setup: Setup, settings: Mapping[str, Any]) -> Iterator[Look]:
        """Trains once, and looks at the policy.

        Raises:
            ValueError: if there is no such setting, or one is missing.
        """
        for_make, for_train = self.split(settings)
        trainer = self.make(setup, **for_make)
        looks = self.train(trainer, setup, **for_train)
        yield from [Look(trainer.policy, setup.n_labels, 0)] if looks is None else looks

    def split(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings that `make` takes, and those that `train` takes.

        Raises:
            ValueError: if there is no such setting, or one is missing.
        """
        keys = [self._keys(function) for function in (self.make, self.train)]
        known = {key: parameter for own in keys for key, parameter in own.items()}
        for key in settings:
            if key not in known:
                raise ValueError(f"{self.name} has no setting {key!r}; it has {', '.join(known)}.")
        for key, parameter in known.items():
            if key not in settings and parameter.default is parameter.empty:
                raise ValueError(f"{self.name} needs the setting {key!r}, for which nothing is known on this task.")
        for_make, for_train = ({key: settings[key] for key in own if key in settings} for own in keys)
        return for_make, for_train

    @staticmethod
    def _keys(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(function).parameters
        return {key: value for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY}


def available() -> list[str]:
    """Names of the algorithms that other packages have installed; loads nothing of them."""
    return sorted(entry.name for entry in metadata.entry_points(group=GROUP))


def load(name: str) -> Algorithm:
    """The algorithm of another package.

    Raises:
        ImportError: if there is none, or its package cannot be imported: the text says why.
        TypeError: if the entry point is no `Algorithm` of this name.
    """
    for entry in metadata.entry_points(group=GROUP, name=name):
        try:
            algorithm = entry.load()
        except Exception as error:  # whatever a foreign module raises as it loads
            raise ImportError(f"the algorithm {name!r} ({entry.value}) cannot be loaded: {error!r}") from error
        if not isinstance(algorithm, Algorithm) or algorithm.name != name:
            raise TypeError(f"the entry point {name!r} ({entry.value}) is {algorithm!r}, expected its Algorithm.")
        return algorithm
    raise ImportError(f"no installed package has an algorithm {name!r} in the group {GROUP}.")


def found() -> dict[str, Algorithm]:
    """All algorithms of other packages; those that cannot be loaded are left out, with a warning."""
    algorithms = {}
    for name in available():
        try:
            algorithms[name] = load(name)
        except (ImportError, TypeError) as error:
            warnings.warn(str(error), stacklevel=2)
    return algorithms
