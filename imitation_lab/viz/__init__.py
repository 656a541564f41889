"""Pure functions from data to a matplotlib ``Figure``, and the plain-Python models behind the widgets."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
