"""Named configurations of `parallel`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("parallel")
