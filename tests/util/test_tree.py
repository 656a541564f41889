"""Each function on each kind of tree, against the same done array by array."""

import numpy as np
import pytest
import torch as th

from imitation_lab.data.types import DictObs
from imitation_lab.util import tree

N = np.arange(12).reshape(6, 2)
TREES = {
    "array": N,
    "tensor": th.as_tensor(N),
    "objects": np.array([{"i": i} for i in range(6)], dtype=object),
    "dict": {"a": N, "b": th.arange(6.0)},
    "DictObs": DictObs({"a": N, "b": np.arange(6.0)}),
    "nested": {"a": {"c": N}, "b": DictObs({"c": N})},
}


@pytest.mark.parametrize("made", TREES.values(), ids=TREES)
def test_rows(made):
    assert tree.length(made) == 6
    for index, expected in (
        (slice(1, 4), [1, 2, 3]),
        (np.array([3, 3, 0]), [3, 3, 0]),
        (th.tensor([5, 0]), [5, 0]),
    ):
        found = tree.take(made, index)
        assert type(found) is type(made)
        for part, whole in zip(tree.leaves(found), tree.leaves(made), strict=True):
            assert type(part) is type(whole)
            assert part.dtype == whole.dtype
            assert [np.asarray(row).tolist() for row in part] == [np.asarray(whole[i]).tolist() for i in expected]
    pieces = tree.split(made, 4)
    assert [tree.length(piece) for piece in pieces] == [4, 2]
    again = tree.cat(pieces)
    assert type(again) is type(made)
    assert all((a == b).all() for a, b in zip(tree.leaves(again), tree.leaves(made), strict=True))


def test_slices_are_views_and_gathers_are_copies():
    for made in (N, th.as_tensor(N)):
        assert np.shares_memory(np.asarray(tree.take(made, slice(2))), N)
        assert not np.shares_memory(np.asarray(tree.take(made, np.array([0, 1]))), N)


def test_map_goes_through_several_at_once():
    first, second = DictObs({"a": N, "b": N}), {"a": 1, "b": 2}
    assert tree.map(lambda x, k: x + k, first, second) == DictObs({"a": N + 1, "b": N + 2})


def test_names():
    for made in (N, {"a": N, "b": N}):
        fields = {"acts": N} | tree.named("obs", made)
        assert tree.unnamed("obs", fields) is made or tree.unnamed("obs", fields) == made
    assert list(tree.named("obs", DictObs({"a": N}))) == ["obs/a"]
    assert tree.unnamed("next_obs", {"obs/a": N}) == {}


def test_nothing_to_join():
    with pytest.raises(ValueError, match="nothing to join"):
        tree.cat([])
