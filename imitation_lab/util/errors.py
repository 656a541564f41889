"""Errors that are of two types: what is caught by `except ValueError` here, and by the type that older code expects.

A user's mistake is a `ValueError` or a `TypeError` in this library. Code written for the `imitation` package names
other types for some mistakes, in `except` and in tests; an error of both types serves both readers.
"""

__all__ = ["ArgumentError", "EmptyError", "MisshapenError", "ShortageError"]


class ArgumentError(ValueError, TypeError):
    """An argument of the wrong kind: a type says so best, but the range check of older code said `ValueError`."""


class EmptyError(ValueError, AssertionError):
    """Data without a single batch or episode: older code asserted that there is one."""


class MisshapenError(ValueError, AssertionError):
    """An array that a function of the user's returned has the wrong shape: older code asserted the right one."""


class ShortageError(ValueError, RuntimeError):
    """More was asked for than there is: `RuntimeError` in older code."""
