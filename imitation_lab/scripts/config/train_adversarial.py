"""Named configurations of `train_adversarial`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named(
    {"gail": "gail", "airl": "airl"},
    groups=("environment", "demonstrations", "expert", "rl", "policy_evaluation"),
    variable={"algorithm_kwargs": {"allow_variable_horizon": True}},
)
