"""Reward networks, their wrappers and files, and measures of how alike two rewards are."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
