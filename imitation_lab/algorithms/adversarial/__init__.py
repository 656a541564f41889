"""Adversarial imitation: a discriminator learns to tell the learner from the expert, and rewards who deceives it."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__, "gail", "airl", "common", "losses", "penalties", "presets", "diagnosis")
