"""What the commands share that learn from demonstrations."""

# ruff: noqa: RUF009 (defaults are never changed)
from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data.types import Trajectory
from imitation_lab.scripts._schema import Keys, Natural
from imitation_lab.scripts.ingredients import Demonstrations, Environment, Expert, Logging, PolicyEvaluation
from imitation_lab.scripts.output import Output, streams

Result = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imitation(Keys):
    """The keys of all commands that learn from demonstrations.

    Attributes:
        environment: see there.
        demonstrations: see there.
        expert: see there; used where demonstrations are generated, and by DAgger.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.
    """

    environment: Environment = Environment()
    demonstrations: Demonstrations = Demonstrations()
    expert: Expert = Expert()
    policy_evaluation: PolicyEvaluation = PolicyEvaluation()
    logging: Logging = Logging()
    seed: Natural | None = None

    @contextlib.contextmanager
    def start(
        self, script: str, *, demonstrated: bool = True
    ) -> Iterator[tuple[np.random.Generator, Sequence[Trajectory], Output, VecEnv]]:
        """The source of randomness of training, the demonstrations, the run's folder, the environments.

        Args:
            script: its name.
            demonstrated: whether demonstrations are needed; else there are none.
        """
        rng, _ = streams(self.seed)
        trajectories = self.demonstrations.load(self.environment, self.expert, rng) if demonstrated else []
        with (
            self.logging.start(script, self.environment.gym_id) as out,
            self.environment.venv(rng, out.folder) as venv,
        ):
            yield rng, trajectories, out, venv

    def compare(self, policy: Any, expert: Any) -> Result:
        """See `PolicyEvaluation.compare`; after a resumed training the policy plays as after an uninterrupted one."""
        return self.policy_evaluation.compare(policy, expert, self.environment, streams(self.seed)[1])
