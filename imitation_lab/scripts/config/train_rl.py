"""Named configurations of `train_rl`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named({"train_rl": "rl"}, groups=("environment", "rl", "policy_evaluation"))
