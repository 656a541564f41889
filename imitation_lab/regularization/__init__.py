"""Regularization whose strength adapts to the gap between validation and training loss."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
