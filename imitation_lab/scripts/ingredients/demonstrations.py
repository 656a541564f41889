"""Where the expert's demonstrations come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from imitation_lab import experts
from imitation_lab.data import huggingface_utils, minari_io, rollout, serialize
from imitation_lab.data.types import Trajectory
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import Count, Keys
from imitation_lab.scripts.ingredients.environment import Environment
from imitation_lab.scripts.ingredients.expert import Expert

__all__ = ["Demonstrations", "demonstrations_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demonstrations(Keys):
    """Where the expert's demonstrations come from.

    Attributes:
        source: "bundled" with the library; a "local" file; a dataset on the hub of "huggingface"; a "minari" dataset;
            or "generated" by the expert policy.
        path: of the local file; or the dataset's name, or the bundled expert's.
        loader_kwargs: more arguments of the loader.
        organization: owner of the Hugging Face dataset, where no path is given.
        algo_name: the algorithm in that dataset's name.
        n_expert_demos: how many episodes to use; None takes all (generated: 50).
    """

    source: Literal["bundled", "local", "huggingface", "minari", "generated"] = "bundled"
    path: str | None = None
    loader_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    organization: str = "HumanCompatibleAI"
    algo_name: str = "ppo"
    n_expert_demos: Count | None = None

    def load(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        """The demonstrations.

        Raises:
            ValueError: if there are fewer than asked for, or a path is missing.
            FileNotFoundError: if there is no such file or dataset.
            ImportError: naming the extra that is needed.
        """
        wanted = self.n_expert_demos
        found = getattr(self, f"_{self.source}")(environment, expert, rng)
        if wanted is None:
            return found
        if len(found) < wanted:
            raise ValueError(
                f"demonstrations.n_expert_demos={wanted}, but {self.path or self.source} has {len(found)} episodes."
            )
        return found[:wanted]

    def _bundled(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        try:
            return experts.load_demonstrations(self.path or environment.gym_id)
        except ValueError as error:
            raise ValueError(f"{error} Other sources: demonstrations.source=local, generated, huggingface.") from None

    def _local(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        return serialize.load(self._needs_path("a file"))

    def _huggingface(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        name = self.path or f"{self.organization}/{self.algo_name}-{environment.gym_id.replace('/', '-')}"
        return self._open(huggingface_utils.from_huggingface, name)

    def _minari(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        return self._open(minari_io.from_minari, self._needs_path("a data set, such as mujoco/hopper/expert-v0"))

    def _generated(self, environment: Environment, expert: Expert, rng: np.random.Generator) -> Sequence[Trajectory]:
        n = self.n_expert_demos or 50
        with environment.venv(rng) as venv:
            policy = expert.load(venv, environment.gym_id)
            kwargs = {"deterministic_policy": expert.policy_type == "bundled", "verbose": False, **self.loader_kwargs}
            return rollout.rollout(policy, venv, rollout.make_min_episodes(n), rng, **kwargs)

    def _open(self, opener: Any, name: str) -> Sequence[Trajectory]:
        return _names.call("demonstrations.loader_kwargs", opener, name, **self.loader_kwargs)

    def _needs_path(self, what: str) -> str:
        if self.path is None:
            raise ValueError(f"demonstrations.source={self.source!r} needs demonstrations.path={what}.")
        return self.path


demonstrations_ingredient = _engine.ingredient("demonstrations", Demonstrations)
