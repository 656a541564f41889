"""Learning a reward from which of two clips is better, by a synthetic teacher or by you."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
