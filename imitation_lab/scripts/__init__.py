"""The command line: the console script `imitation-lab` and what it starts."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
