"""Bundled expert policies and demonstrations, trained here; each has a card and a recipe that reproduces it."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
