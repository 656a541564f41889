"""Batches of demonstrations that stay on disk."""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imitation_lab.data import serialize, types
from imitation_lab.data.stored import StoredTrajectories
from imitation_lab.util import tree

__all__ = ["DiskBatches"]

_CHUNKS = 64
_FIELDS = ("obs", "acts", "next_obs", "dones", "rews")


class DiskBatches:
    """Batches out of a native file larger than memory, for any algorithm that takes ready-made batches.

        batches = DiskBatches("demonstrations.safetensors", batch_size=256, rng=rng)
        bc.BC(..., demonstrations=batches, batch_size=256).train(n_epochs=1)

    Each pass reads pieces of the file in random order, 64 at a time, and shuffles the transitions of these 64 among
    each other: sequential reads, and a batch still mixes episodes from all over the file. What was read is given back
    to the system, so that memory stays near `memory` bytes, however long the file.

    Args:
        path: a file of `serialize.save`.
        batch_size: transitions in a batch; those that fill none at the end of a pass are left out.
        rng: draws the order, anew for each pass.
        fields: which of obs, acts, next_obs, dones and rews a batch holds.
        memory: bytes of transitions that are held at once.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if the file is damaged or of another kind.
        ValueError: if there are fewer transitions than `batch_size`, `memory` holds less than a batch, or a field is
            unknown.
    """

    def __init__(
        self,
        path: types.AnyPath,
        batch_size: int,
        rng: np.random.Generator,
        *,
        fields: Sequence[str] = ("obs", "acts"),
        memory: int = 64 << 20,
    ) -> None:
        stored = serialize.load(path)
        name = os.fsdecode(path)
        if not isinstance(stored, StoredTrajectories):
            raise ValueError(
                f"{name!r} is no native file: write one by serialize.save(path, serialize.load({name!r}))."
            )
        self._stored, arrays = stored, stored.arrays()
        known = [f for f in _FIELDS if f != "rews" or f in arrays]
        if unknown := [field for field in fields if field not in known]:
            raise ValueError(f"{name!r} gives no {unknown}, only {known}.")
        self._n = int(arrays["lengths"].sum())
        if not 1 <= batch_size <= self._n:
            raise ValueError(f"batch_size is {batch_size}, expected 1 to {self._n}, the number of transitions.")
        self.batch_size = batch_size
        self._fields = tuple(fields)
        self._maps = list({id(m): m for leaf in tree.leaves(arrays) for m in _map_of(leaf)}.values())
        self._rng = rng
        held = [arrays["obs" if f == "next_obs" else f] for f in fields if f != "dones"]
        row = sum(leaf[:1].nbytes for leaf in tree.leaves(dict(enumerate(held)))) + 1
        self._window = min(memory // row, self._n)
        if self._window < batch_size:
            raise ValueError(
                f"memory={memory} holds {memory // row} transitions of {row} bytes, fewer than a batch of "
                f"{batch_size}: give at least {batch_size * row}."
            )
        self._chunk = max(1, self._window // _CHUNKS)

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return self._n // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(self._rng.integers(2**63))
        begins = rng.permutation(np.arange(0, self._n, self._chunk))
        per_window = max(1, self._window // self._chunk)
        left: dict[str, Any] | None = None
        for start in range(0, len(begins), per_window):
            rows, n = self._join(left, begins[start : start + per_window])
            order = rng.permutation(n)
            full = n - n % self.batch_size
            for first in range(0, full, self.batch_size):
                yield tree.take(rows, order[first : first + self.batch_size])
            left = tree.take(rows, order[full:])
            del rows

    def _join(self, left: dict[str, Any] | None, begins: np.ndarray) -> tuple[dict[str, Any], int]:
        """What was left and the chunks that begin there, each read into its place; and how many rows that makes."""
        n = int(np.minimum(begins + self._chunk, self._n).sum() - begins.sum())
        n += 0 if left is None else tree.length(left)
        rows: dict[str, Any] = {}
        at = 0
        for part in itertools.chain([] if left is None else [left], map(self._read, begins.tolist())):
            rows = rows or tree.map(lambda like: np.empty((n, *like.shape[1:]), like.dtype), part)
            end = at + tree.length(part)
            for target, source in zip(tree.leaves(rows), tree.leaves(part), strict=True):
                target[at:end] = source
            at = end
        return rows, n

    def _read(self, begin: int) -> dict[str, Any]:
        end = min(begin + self._chunk, self._n)
        rows = {f: types.maybe_unwrap_dictobs(self._stored.field(f, begin, end)) for f in self._fields}
        self._give_back()
        return rows

    def _give_back(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)


def _map_of(array: Any) -> list[mmap.mmap]:
    """The map of a file in which an array lies."""
    while isinstance(array, np.ndarray):
        array = array.base
    return [array] if isinstance(array, mmap.mmap) else []
