"""Dimensions of a state, or features of a layer, that one names and picks."""

from collections.abc import Sequence

from imitation_lab.viz.style import with_unit

__all__ = ["Names", "Units", "Dimensions"]

Names = Sequence[str] | None
Units = Sequence[str | None] | None
"""One per dimension, None for one without a unit; None for none at all."""


class Dimensions:
    """The names of ``n`` dimensions and the units of those that have one.

    Args:
        n: how many there are.
        names: ``state 0`` and so on by default.
        units: none by default.
        kind: what one of them is called.

    Raises:
        ValueError: not one name or unit per dimension.
    """

    def __init__(self, n: int, names: Names = None, units: Units = None, *, kind: str = "state") -> None:
        self.kind = "state dimension" if kind == "state" else kind
        self.names = list(names) if names is not None else [f"{kind} {i}" for i in range(n)]
        self.units: list[str | None] = list(units) if units is not None else [None] * n
        for what, given in (("name", self.names), ("unit", self.units)):
            if len(given) != n:
                word = self.kind.split()[-1]
                raise ValueError(f"{len(given)} {what}s {given} for {n} {word}s: give one {what} per {word}.")

    def index(self, dim: int | str) -> int:
        """Return the number of a dimension given by number or name."""
        if isinstance(dim, str) and dim in self.names:
            return self.names.index(dim)
        if not isinstance(dim, str) and 0 <= dim < len(self.names):
            return int(dim)
        raise ValueError(f"unknown {self.kind} {dim!r}: expected 0 to {len(self.names) - 1} or one of {self.names}.")

    def label(self, i: int) -> str:
        """Return name and unit of dimension ``i``."""
        return with_unit(self.names[i], self.units[i])

    def value(self, i: int, number: str) -> str:
        """Return ``number``, a value of dimension ``i``, with its unit."""
        return f"{number} {self.units[i]}" if self.units[i] else number
