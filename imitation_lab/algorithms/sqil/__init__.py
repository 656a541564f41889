"""SQIL: soft Q imitation learning."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__, "sqil")
