"""Named configurations of `train_rl`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("train_rl")
