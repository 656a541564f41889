"""Named configurations of `train_density`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("train_density")
