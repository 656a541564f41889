"""Named configurations of `eval_policy`."""

from imitation_lab.scripts.config import named, of

__all__ = ["NAMED"]

NAMED = {**named(groups=("environment", "expert")), **of("eval_policy")}
