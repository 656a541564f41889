"""Arrays and dictionaries of arrays alike, for NumPy and torch.

A tree here is an array, a mapping of trees, or a `data.types.DictObs`; what comes back is of the same kind. Arrays of
one tree share their leading dimension, the rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

__all__ = ["map", "leaves", "length", "take", "cat", "split", "named", "unnamed"]


_ARRAYS = (np.ndarray, th.Tensor)


def _parts(tree: Any) -> Mapping[str, Any] | None:
    """The branches by key, or None for an array."""
    if type(tree) in _ARRAYS:  # the usual case, without the cost of asking an abstract class
        return None
    if type(tree) is dict or isinstance(tree, Mapping):
        return tree
    return tree.unwrap() if hasattr(tree, "map_arrays") else None


def map(fn: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Applies `fn` to each array of `first`, together with those of `others` in the same place."""
    parts = _parts(first)
    if parts is None:
        return fn(first, *others)
    made = {key: map(fn, part, *(other[key] for other in others)) for key, part in parts.items()}
    return made if parts is first else type(first)(made)


def leaves(tree: Any) -> Iterator[Any]:
    """The arrays."""
    parts = _parts(tree)
    if parts is None:
        yield tree
    else:
        for part in parts.values():
            yield from leaves(part)


def length(tree: Any) -> int:
    """The number of rows, that of the first array."""
    return len(next(leaves(tree)))


def take(tree: Any, index: slice | np.ndarray | th.Tensor) -> Any:
    """Rows: views for a slice, else copies by one gather for each array.

    Args:
        tree: of arrays `(n, …)`, or tensors on any device.
        index: a slice, or whole numbers `(k,)` from 0 to n - 1.
    """

    def rows(array: Any) -> Any:
        if isinstance(index, slice):
            return array[index]
        if isinstance(array, th.Tensor):
            return array.index_select(0, th.as_tensor(index, device=array.device))
        where = index.cpu().numpy() if isinstance(index, th.Tensor) else index
        return array.take(where, 0) if array.ndim > 1 else array[where]  # each the faster one

    return map(rows, tree)


def cat(trees: Sequence[Any]) -> Any:
    """The rows of all, in order.

    Raises:
        ValueError: if there are none.
    """
    if len(trees) == 0:
        raise ValueError("Got nothing to join, expected at least one array.")
    return map(lambda *arrays: th.cat(arrays) if isinstance(arrays[0], th.Tensor) else np.concatenate(arrays), *trees)


def split(tree: Any, size: int) -> Sequence[Any]:
    """Consecutive pieces of `size` rows each, as views; the last may be shorter."""
    parts = _parts(tree)
    if parts is None:
        by_torch = isinstance(tree, th.Tensor)
        return tree.split(size) if by_torch else [tree[i : i + size] for i in range(0, len(tree), size)]
    pieces = zip(*(split(part, size) for part in parts.values()), strict=True)
    made = [dict(zip(parts, piece, strict=True)) for piece in pieces]
    return made if parts is tree else [type(tree)(piece) for piece in made]


def named(name: str, tree: Any) -> dict[str, Any]:
    """The arrays by names of their own, such as "obs", or "obs/camera" and "obs/speed"."""
    parts = _parts(tree)
    return {name: tree} if parts is None else {f"{name}/{key}": part for key, part in parts.items()}


def unnamed(name: str, arrays: Mapping[str, Any]) -> Any:
    """What `named` has named: an array, or a dictionary, which is empty where there is none of that name."""
    if name in arrays:
        return arrays[name]
    return {key.removeprefix(f"{name}/"): part for key, part in arrays.items() if key.startswith(f"{name}/")}
