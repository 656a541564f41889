"""Policies: baselines, networks, exploration, replay relabelling, saving and loading."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
