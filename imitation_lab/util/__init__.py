"""What every other part uses: networks, logging, files, seeds, registries, vectorized environments and video."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
