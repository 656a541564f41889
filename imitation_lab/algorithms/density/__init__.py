"""Imitation from a density of the expert's transitions."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__, "density")
