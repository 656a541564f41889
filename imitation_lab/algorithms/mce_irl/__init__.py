"""Maximum causal entropy inverse reinforcement learning, in tabular environments."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__, "mce_irl")
