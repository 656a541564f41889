"""Named configurations of `train_imitation`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named(
    {"bc": "bc", "dagger": "dagger", "sqil": "sqil"},
    groups=("environment", "demonstrations", "expert", "policy_evaluation"),
)
