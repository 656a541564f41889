"""Fixed-horizon environments and the wrappers that make any environment fixed-horizon."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
