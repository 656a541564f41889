"""Named configurations of `tuning`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("tuning")
