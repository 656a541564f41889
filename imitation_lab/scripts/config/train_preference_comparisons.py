"""Named configurations of `train_preference_comparisons`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("train_preference_comparisons")
