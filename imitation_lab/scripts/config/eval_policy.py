"""Named configurations of `eval_policy`."""

from imitation_lab.scripts.config import named, of

NAMED = {**named(groups=("environment", "expert")), **of("eval_policy")}
