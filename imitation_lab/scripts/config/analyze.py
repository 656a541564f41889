"""Named configurations of `analyze`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("analyze")
