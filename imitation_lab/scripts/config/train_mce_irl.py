"""Named configurations of `train_mce_irl`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("train_mce_irl")
