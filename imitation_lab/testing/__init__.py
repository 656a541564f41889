"""Helpers for users' own tests: significance tests, mock reward networks, expert data, hypothesis strategies.

And the contract that algorithms keep, the library's own and those of other packages.
"""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
