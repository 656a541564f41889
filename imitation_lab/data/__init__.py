"""Trajectories and transitions: their types, how they are rolled out, buffered, checked, saved and loaded."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
