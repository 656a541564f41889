"""Helpers for users' own tests: significance tests, mock reward networks, expert data, hypothesis strategies."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
