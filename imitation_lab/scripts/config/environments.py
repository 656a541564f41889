"""Named configurations by environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imitation_lab.scripts import ingredients
from imitation_lab.scripts._values import Named, merged
from imitation_lab.scripts.ingredients import demonstrations, environment, policy_evaluation, rl  # noqa: F401 (fast)

CLASSIC = {
    "acrobot": "Acrobot-v1",
    "ant": "Ant-v5",
    "cartpole": "CartPole-v1",
    "half_cheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "mountain_car": "MountainCar-v0",
    "pendulum": "Pendulum-v1",
    "reacher": "Reacher-v5",
    "swimmer": "Swimmer-v5",
    "walker": "Walker2d-v5",
}
FIXED = {"fixed_cartpole": "imitation_lab/CartPole-v0", "fixed_mountain_car": "imitation_lab/MountainCar-v0"}
SEALS = {
    "seals_ant": "seals/Ant-v1",
    "seals_cartpole": "seals/CartPole-v0",
    "seals_half_cheetah": "seals/HalfCheetah-v1",
    "seals_hopper": "seals/Hopper-v1",
    "seals_humanoid": "seals/Humanoid-v1",
    "seals_mountain_car": "seals/MountainCar-v0",
    "seals_swimmer": "seals/Swimmer-v1",
    "seals_walker": "seals/Walker2d-v1",
}
ALL = {**CLASSIC, **FIXED, **SEALS}
# Nothing is bundled for these; the hub has experts and demonstrations.
HUB = {"demonstrations": {"source": "huggingface"}, "expert": {"policy_type": "ppo-huggingface"}}
# An episode's length tells a learner how well it does, and so spoils a comparison; here it is the user's choice.
VARIABLE_HORIZON = {"acrobot", "ant", "cartpole", "hopper", "humanoid", "mountain_car", "walker"}


def by_environment(
    settings: Mapping[str, Mapping[str, Any]] = {},
    *,
    experts: bool = False,
    variable: Mapping[str, Any] | None = None,
) -> dict[str, Named]:
    """One named configuration for each environment.

    Args:
        settings: more values, nested, by name.
        experts: whether the experiment uses experts and demonstrations.
        variable: values for environments whose episodes end early.
    """
    named = {}
    for name, gym_id in ALL.items():
        values: dict[str, Any] = {"environment": {"gym_id": gym_id}}
        if experts and name in SEALS:
            values = merged(values, HUB)
        if variable is not None and name in VARIABLE_HORIZON:
            values = merged(values, variable)
        named[name] = Named(gym_id, merged(values, settings.get(name, {})))
    return named


def fast(groups: Iterable[str], values: Mapping[str, Any]) -> dict[str, Named]:
    """The named configuration `fast`: those of the groups, and more values."""
    found = {name: getattr(ingredients, name).FAST for name in groups}
    return {"fast": Named("seconds, for tests", merged(found, values))}
