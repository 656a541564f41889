"""Named configurations of `train_density`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named(
    {"train_density": "density"},
    groups=("environment", "demonstrations", "expert", "rl", "policy_evaluation"),
    variable={"allow_variable_horizon": True},
)
