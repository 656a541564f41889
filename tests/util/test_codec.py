"""Constructor arguments survive the trip through JSON; unknown names and odd objects do not."""

import functools
import json

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from imitation_lab.util import codec
from imitation_lab.util.artifacts import ArtifactError

SPACES = [
    spaces.Box(-1.0, 2.0, (3,), np.float32),
    spaces.Box(np.array([-np.inf, 0.0]), np.array([1.0, np.inf]), dtype=np.float64),
    spaces.Box(0, 255, (84, 84, 3), np.uint8),
    spaces.Discrete(4, start=-1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(5),
    spaces.MultiBinary([2, 3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (2,))}),
    spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(1)]),
]


def trip(value):
    return codec.decode(json.loads(json.dumps(codec.encode(value), allow_nan=False)))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces(space):
    found = trip(space)
    assert found == space
    assert found.dtype == space.dtype
    assert len(json.dumps(codec.encode(space))) < 1000


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        0.1,
        float("inf"),
        "text",
        [1, [2]],
        (1, (2.5, "x")),
        {"a": {"b": [()]}},
        {"__class__": "harmless", "__tuple__": 1},
        th.float32,
        nn.ReLU,
        th.optim.Adam,
    ],
)
def test_values(value):
    found = trip(value)
    assert found == value
    assert type(found) is type(value)


def test_a_dict_space_keeps_the_order_of_its_keys():
    # Policies flatten Dict observations in this order: another one would permute a loaded policy's inputs.
    space = spaces.Dict([("z", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    assert list(trip(space).spaces) == list(space.spaces) == ["z", "a"]


def test_arrays_keep_dtype_and_shape():
    for value in (np.arange(6, dtype=np.int16).reshape(2, 3), np.zeros((0, 2)), np.array(["a", "bc"]), np.array(2.5)):
        found = trip(value)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
    assert type(trip(np.float32(2.5))) is np.float32


def test_what_is_not_data_is_refused_by_path():
    with pytest.raises(TypeError, match=r"kwargs\['f'\]\[1\] is a functools.partial, which cannot be saved as data"):
        codec.encode({"f": [1, functools.partial(print)]}, where="kwargs")
    with pytest.raises(TypeError, match="is not registered, so a file cannot name it"):
        codec.encode(functools.partial)
    with pytest.raises(TypeError, match="only text keys"):
        codec.encode({1: 2})
    with pytest.raises(TypeError, match="array of object"):
        codec.encode(np.array([None]))


@pytest.mark.parametrize(
    "data",
    [
        {"__class__": "os.system"},
        {"__class__": ["x"]},
        {"__class__": "torch.nn.Module"},
    ],
)
def test_unknown_classes_are_refused(data):
    with pytest.raises(ArtifactError, match="is not registered here"):
        codec.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        {"__array__": "AAAA", "dtype": "|O", "shape": [1], "scalar": False},
        {"__array__": "AAAA", "dtype": "<f8", "shape": [1000000000000], "scalar": False},
        {"__space__": {"type": "Box", "low": 0, "high": 1, "shape": [10**12], "dtype": "float32"}},
        {"__space__": {"type": "Box", "low": 0, "high": 1, "shape": [1], "dtype": "object"}},
        {"__space__": {"type": "Discrete", "n": -1, "start": 0}},
        {"__space__": {"type": "Graph"}},
        {"__space__": 3},
        {"__unknown__": 3},
        {"__dtype__": "quint8"},
        {"__float__": "x"},
    ],
)
def test_damaged_descriptions_are_refused(data):
    with pytest.raises(ArtifactError, match="damaged|refused|unknown tag"):
        codec.decode(data)


def test_users_classes_are_named_once_registered():
    @codec.register_class(name="mine")
    class Mine:
        pass

    assert codec.encode(Mine) == {"__class__": "mine"}
    assert trip(Mine) is Mine
