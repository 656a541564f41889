"""Named configurations of `parallel`."""

from imitation_lab.scripts.config import of

NAMED = of("parallel")
