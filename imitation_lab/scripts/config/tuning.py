"""Named configurations of `tuning`."""

from imitation_lab.scripts.config import of

NAMED = of("tuning")
