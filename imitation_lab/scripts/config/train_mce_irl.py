"""Named configurations of `train_mce_irl`."""

from imitation_lab.scripts.config import named

__all__ = ["NAMED"]

NAMED = named({"train_mce_irl": "mce_irl"}, environments={})
