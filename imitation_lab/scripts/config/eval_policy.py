"""Named configurations of `eval_policy`."""

from imitation_lab.scripts.config import of

__all__ = ["NAMED"]

NAMED = of("eval_policy")
