"""The environment that a run is about."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data.wrappers import RolloutInfoWrapper
from imitation_lab.scripts import _engine
from imitation_lab.scripts._schema import Count, Keys
from imitation_lab.util import checks, util

__all__ = ["Environment", "environment_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Environment(Keys):
    """The environment, and how many copies of it.

    Attributes:
        gym_id: its id; "module:id" imports a module first, "seals/…" imports seals.
        num_vec: copies that are stepped together.
        parallel: whether each copy runs in a process of its own, which pays only where a step is slow.
        max_episode_steps: episodes are cut after so many steps; None leaves the environment's own limit.
        env_make_kwargs: for `gymnasium.make`.
    """

    gym_id: str = "imitation_lab/CartPole-v0"
    num_vec: Count = 8
    parallel: bool = False
    max_episode_steps: Count | None = None
    env_make_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def venv(
        self, rng: np.random.Generator, folder: pathlib.Path | None = None, *, wrappers: Any = (), **changes: Any
    ) -> Iterator[VecEnv]:
        """The environments, closed afterwards.

        Args:
            rng: seeds them.
            folder: of the run; monitors write to `folder/monitor`.
            wrappers: see `make_vec_env`; episodes can be saved as they are below these.
            **changes: of these attributes.

        Raises:
            ValueError: if there is no such environment, or a number is not positive.
            ImportError: if seals is needed and not installed.
        """
        self.register()
        settings = {"env_make_kwargs": self.env_make_kwargs, "max_episode_steps": self.max_episode_steps, **changes}
        venv = util.make_vec_env(
            self.gym_id,
            rng=rng,
            n_envs=settings.pop("num_vec", self.num_vec),
            parallel=self.parallel,
            log_dir=None if folder is None else folder / "monitor",
            post_wrappers=[lambda env, _: RolloutInfoWrapper(env), *wrappers],
            **settings,
        )
        try:
            yield venv
        finally:
            venv.close()

    def register(self) -> None:
        """Imports what registers the environment."""
        if self.gym_id.startswith("seals/"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it extends environments that Gymnasium calls outdated
                checks.optional("seals", "seals", f"{self.gym_id} needs")


environment_ingredient = _engine.ingredient("environment", Environment)
