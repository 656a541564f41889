"""Named configurations of `train_preference_comparisons`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named(
    {"train_preference_comparisons": "preferences"},
    groups=("environment", "rl", "policy_evaluation"),
    variable={"allow_variable_horizon": True},
)
