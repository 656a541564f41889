"""Imitation learning and reward learning algorithms."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(
    __name__, "adversarial", "base", "bc", "dagger", "density", "mce_irl", "preference_comparisons", "sqil"
)
