"""Named configurations of `analyze`."""

from imitation_lab.scripts.config import of

NAMED = of("analyze")
