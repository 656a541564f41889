"""Trajectories, transitions and dictionary observations."""

import dataclasses

import numpy as np
import pytest
import torch as th
from torch.utils.data import DataLoader

from imitation_lab.data import types
from imitation_lab.data.types import DictObs


def make_transitions(n: int = 5) -> types.TransitionsWithRew:
    obs = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    infos = types.infos_array([{"step": i} for i in range(n)], n)
    return types.TransitionsWithRew(obs, np.arange(n), infos, obs + 1, np.arange(n) == n - 1, np.ones(n))


def make_dictobs(n: int = 4) -> DictObs:
    return DictObs({"a": np.arange(3 * n).reshape(n, 3), "b": np.arange(n) * 0.5})


class TestDictObs:
    def test_behaves_like_an_array(self):
        obs = make_dictobs()
        assert len(obs) == 4
        assert obs.dict_len == 2
        assert obs.shape == {"a": (4, 3), "b": (4,)}
        assert obs.dtype == {"a": np.int64, "b": np.float64}
        assert list(obs.keys()) == ["a", "b"]
        assert obs[1:3] == DictObs({"a": np.array([[3, 4, 5], [6, 7, 8]]), "b": np.array([0.5, 1.0])})
        assert obs[2] == DictObs({"a": np.array([6, 7, 8]), "b": np.float64(1.0)})
        assert [o.get("b") for o in obs] == [0.0, 0.5, 1.0, 1.5]
        np.testing.assert_array_equal(obs["b"], obs.get("b"))
        assert np.shares_memory(obs[1:]["a"], obs["a"])
        assert obs.map_arrays(lambda x: x * 2)["b"].tolist() == [0.0, 1.0, 2.0, 3.0]

    def test_joins(self):
        obs = make_dictobs()
        assert DictObs.stack(list(obs)) == obs
        assert DictObs.concatenate([obs[:1], obs[1:]]) == obs
        assert DictObs.stack([obs, obs], axis=1).shape == {"a": (4, 2, 3), "b": (4, 2)}
        assert DictObs.from_obs_list([{"x": 1, "y": [0.0]}, {"x": 2, "y": [1.0]}]).shape == {"x": (2,), "y": (2, 1)}

    def test_inequality(self):
        obs = make_dictobs()
        assert obs != obs.map_arrays(lambda x: x + 1)
        assert obs != DictObs({"a": obs["a"]})
        assert obs != obs["a"]

    def test_errors(self):
        with pytest.raises(ValueError, match=r"no single length; its arrays have {'a': 4, 'b': 3}"):
            len(DictObs({"a": np.zeros(4), "b": np.zeros(3)}))
        with pytest.raises(ValueError, match=r"None is a scalar"):
            len(make_dictobs()[0])
        with pytest.raises(TypeError, match=r"under 'a' is a dict, expected an array"):
            DictObs({"a": {"b": 1}})
        with pytest.raises(TypeError, match=r"got a ndarray, expected a dict"):
            DictObs(np.zeros(3))
        with pytest.raises(KeyError, match=r"No 'c' in this DictObs; it has \['a', 'b'\]"):
            make_dictobs().get("c")
        with pytest.raises(ValueError, match=r"DictObs 1 has keys \['a'\], expected \['a', 'b'\]"):
            DictObs.stack([make_dictobs(), DictObs({"a": np.zeros(3)})])
        with pytest.raises(ValueError, match="Got no DictObs"):
            DictObs.concatenate([])


def test_functions_of_either_kind():
    array, obs = np.arange(3), make_dictobs()
    assert types.assert_not_dictobs(array) is array
    with pytest.raises(ValueError, match=r"keys \['a', 'b'\].*FlattenObservation"):
        types.assert_not_dictobs(obs)
    assert types.maybe_wrap_in_dictobs(obs.unwrap()) == obs
    assert types.maybe_wrap_in_dictobs(array) is array
    assert types.maybe_unwrap_dictobs(obs) is obs.unwrap()
    assert types.maybe_unwrap_dictobs(array) is array
    assert types.map_maybe_dict(lambda x: x + 1, {"a": 1}) == {"a": 2}
    assert types.map_maybe_dict(len, array) == 3
    assert types.map_maybe_dict(lambda x: x[:1], obs) == obs[:1]
    assert types.stack_maybe_dictobs(list(obs)) == obs
    np.testing.assert_array_equal(types.concatenate_maybe_dictobs([array, array]), [0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match="mixture of arrays and DictObs"):
        types.concatenate_maybe_dictobs([array, obs])


class TestTrajectory:
    def test_length_is_the_number_of_actions(self):
        assert len(types.Trajectory(np.zeros((4, 2)), np.zeros(3), None, True)) == 3

    @pytest.mark.parametrize(
        ("change", "error", "text"),
        [
            ({"obs": np.zeros((3, 2))}, ValueError, "3 observations and 3 actions, expected 4 observations"),
            ({"infos": [{}]}, ValueError, "1 infos and 3 actions"),
            ({"acts": np.zeros(0), "obs": np.zeros((1, 2))}, ValueError, "no actions, expected at least one"),
            ({"rews": np.zeros((3, 1))}, ValueError, r"rews has shape \(3, 1\), expected \(3,\)"),
            ({"rews": np.zeros(3, dtype=int)}, ValueError, "rews has dtype int64, expected floating point"),
            ({"obs": [[0, 0]] * 4}, TypeError, r"obs is a list, expected an array: pass np.asarray\(obs\)"),
            ({"obs": {"a": np.zeros(4)}}, TypeError, "obs is a dict, expected an array: wrap it in DictObs"),
        ],
    )
    def test_checks(self, change, error, text):
        good = types.TrajectoryWithRew(np.zeros((4, 2)), np.zeros(3), None, True, np.zeros(3))
        with pytest.raises(error, match=text):
            dataclasses.replace(good, **change)

    def test_equality_looks_into_arrays(self):
        def make(info=None, **change):
            fields = {"obs": np.zeros((3, 2)), "acts": np.zeros(2), "infos": info, "terminal": True}
            return types.Trajectory(**(fields | change))

        assert make() == make()
        assert make() == make([{}, {}])
        assert make() != make([{}, {"a": 1}])
        assert make([{"a": np.ones(2)}, {}]) == make([{"a": np.ones(2)}, {}])
        assert make([{"a": np.ones(2)}, {}]) != make([{"a": np.zeros(2)}, {}])
        assert make() != make(terminal=False)
        assert make() != make(acts=np.ones(2))
        assert make() != types.TrajectoryWithRew(**types.dataclass_quick_asdict(make()), rews=np.zeros(2))


class TestTransitions:
    def test_integer_index_is_a_dictionary(self):
        row = make_transitions()[3]
        assert set(row) == {"obs", "acts", "infos", "next_obs", "dones", "rews"}
        np.testing.assert_array_equal(row["obs"], [6, 7])
        assert row["infos"] == {"step": 3}
        with pytest.raises(IndexError):
            make_transitions()[5]

    def test_slices_are_views_of_the_same_class(self):
        whole = make_transitions()
        part = whole[1:4]
        assert type(part) is types.TransitionsWithRew
        assert len(part) == 3
        assert np.shares_memory(part.obs, whole.obs)

    @pytest.mark.parametrize(
        "key", [[0, 2], (0, 2), np.array([0, 2]), np.array([True, False, True, False, False])], ids=str
    )
    def test_arrays_index_rows(self, key):
        part = make_transitions()[key]
        assert type(part) is types.TransitionsWithRew
        np.testing.assert_array_equal(part.acts, [0, 2])

    def test_empty_selection(self):
        assert len(make_transitions()[[]]) == 0
        assert len(make_transitions()[5:]) == 0

    def test_infos_may_be_none_or_a_list(self):
        obs, acts = np.zeros((2, 1)), np.zeros(2)
        assert types.TransitionsMinimal(obs, acts, None).infos.tolist() == [{}, {}]
        assert types.TransitionsMinimal(obs, acts, [{"a": 1}, {}]).infos.dtype == object

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"acts": np.zeros(3)}, "acts has length 3, expected 5"),
            ({"infos": [{}]}, "infos has length 1, expected 5"),
            ({"next_obs": np.zeros((5, 3), np.float32)}, r"next_obs has shape \(5, 3\), expected \(5, 2\)"),
            ({"next_obs": np.zeros((5, 2))}, "next_obs has dtype float64, expected float32"),
            ({"dones": np.zeros(5)}, "dones has dtype float64, expected bool"),
            ({"dones": np.zeros((5, 1), bool)}, r"dones has shape \(5, 1\), expected \(5,\)"),
            ({"rews": np.zeros(4)}, r"rews has shape \(4,\), expected \(5,\)"),
        ],
    )
    def test_checks(self, change, text):
        fields = types.dataclass_quick_asdict(make_transitions()) | change
        if "acts" in change:
            fields["infos"] = fields["infos"][: len(change["acts"])]
        with pytest.raises(ValueError, match=text):
            types.TransitionsWithRew(**fields)

    def test_data_loader(self):
        loader = DataLoader(make_transitions(), batch_size=2, collate_fn=types.transitions_collate_fn)
        batches = list(loader)
        assert [len(b["acts"]) for b in batches] == [2, 2, 1]
        assert isinstance(batches[0]["obs"], th.Tensor)
        assert batches[1]["infos"] == [{"step": 2}, {"step": 3}]
        assert batches[1]["dones"].dtype == th.bool

    def test_data_loader_of_dictionary_observations(self):
        obs = make_dictobs()
        batch = types.TransitionsMinimal(obs, np.zeros(4), None)
        assert batch[1:3].obs == obs[1:3]
        collated = types.transitions_collate_fn([batch[0], batch[1]])
        assert isinstance(collated["obs"]["a"], th.Tensor)
        assert collated["obs"].shape == {"a": (2, 3), "b": (2,)}

    def test_collating_nothing(self):
        with pytest.raises(ValueError, match="empty batch"):
            types.transitions_collate_fn([])


def test_quick_asdict_copies_nothing():
    transitions = make_transitions()
    assert types.dataclass_quick_asdict(transitions)["obs"] is transitions.obs
