"""The horizon check, demonstrations as tensors, and batches."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch.utils import data as th_data

from imitation_lab.algorithms import base
from imitation_lab.data import types
from imitation_lab.util import logger


@pytest.fixture
def quiet(tmp_path):
    made = logger.configure(tmp_path, ["csv"])
    yield made
    made.close()


def _transitions(n: int = 10) -> types.TransitionsWithRew:
    rows = np.arange(n, dtype=np.float32)
    return types.TransitionsWithRew(
        obs=np.stack([rows, -rows], 1),
        acts=np.arange(n),
        infos=[{"i": i} for i in range(n)],
        next_obs=np.stack([rows + 1, -rows - 1], 1),
        dones=rows % 5 == 4,
        rews=rows * 10,
    )


def _trajectory(length: int, terminal: bool = True) -> types.Trajectory:
    return types.Trajectory(
        obs=np.zeros((length + 1, 2), np.float32), acts=np.zeros(length, np.int64), infos=None, terminal=terminal
    )


class TestHorizon:
    def test_the_error_gives_reason_and_both_ways_out(self, quiet):
        algo = base.BaseImitationAlgorithm(custom_logger=quiet)
        algo._check_fixed_horizon([_trajectory(5), _trajectory(5), _trajectory(3, terminal=False)])
        with pytest.raises(
            ValueError, match=r"one has 6 steps, an earlier one 5.*leaks information about the reward"
        ) as e:
            algo._check_fixed_horizon([_trajectory(6)])
        for way_out in ("AbsorbAfterDone", "AutoReset", "allow_variable_horizon=True"):
            assert way_out in str(e.value)

    def test_allowed_on_request_with_a_warning(self, quiet, monkeypatch):
        lines = []
        monkeypatch.setattr(quiet, "log", lambda *args, **kwargs: lines.append(" ".join(map(str, args))))
        algo = base.BaseImitationAlgorithm(custom_logger=quiet, allow_variable_horizon=True)
        algo._check_fixed_horizon([_trajectory(5), _trajectory(6)])
        assert any("allow_variable_horizon=True" in line for line in lines)

    def test_logger_can_be_set(self, quiet, tmp_path):
        algo = base.BaseImitationAlgorithm(custom_logger=quiet)
        assert algo.logger is quiet
        other = logger.configure(tmp_path / "other", ["csv"])
        algo.logger = other
        assert algo.logger is other
        other.close()


def test_wrappers_named_in_the_error_exist():
    from imitation_lab.envs import wrappers

    assert wrappers.AbsorbAfterDone
    assert wrappers.AutoReset


class TestMakeDataLoader:
    def test_rows_stay_together_and_each_comes_once(self):
        loader = base.make_data_loader(_transitions(12), 4)
        seen = []
        for batch in loader:
            assert set(batch) == {"obs", "acts", "infos", "next_obs", "dones", "rews"}
            acts = batch["acts"]
            assert acts.shape == (4,)
            assert acts.dtype == th.int64
            assert batch["obs"].dtype == th.float32
            assert th.equal(batch["obs"], th.stack([acts, -acts], 1).float())
            assert th.equal(batch["next_obs"][:, 0], acts + 1.0)
            assert th.equal(batch["rews"], acts * 10.0)
            assert th.equal(batch["dones"], acts % 5 == 4)
            assert [info["i"] for info in batch["infos"]] == acts.tolist()
            seen += acts.tolist()
        assert sorted(seen) == list(range(12))

    def test_each_pass_has_its_own_order_and_the_generator_decides_it(self):
        def passes(seed):
            options = {"generator": th.Generator().manual_seed(seed)}
            loader = base.make_data_loader(_transitions(12), 4, options)
            return [th.cat([b["acts"] for b in loader]).tolist() for _ in range(2)]

        first, second = passes(0)
        assert first != second
        assert passes(0) == [first, second]
        assert passes(1) != [first, second]

    def test_incomplete_batches_are_dropped_unless_asked_for(self):
        assert [len(b["acts"]) for b in base.make_data_loader(_transitions(10), 4)] == [4, 4]
        loader = base.make_data_loader(_transitions(10), 4, {"drop_last": False, "shuffle": False})
        assert len(loader) == 3
        assert [b["acts"].tolist() for b in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    def test_blocks_do_not_change_the_batches(self, monkeypatch):
        monkeypatch.setattr("imitation_lab.algorithms._shared.demonstrations._GATHER_BYTES", 1)
        options = {"generator": th.Generator().manual_seed(3)}
        one_by_one = [b["acts"].tolist() for b in base.make_data_loader(_transitions(10), 3, options)]
        monkeypatch.undo()
        options = {"generator": th.Generator().manual_seed(3)}
        assert [b["acts"].tolist() for b in base.make_data_loader(_transitions(10), 3, options)] == one_by_one

    def test_trajectories_are_flattened(self):
        trajs = [_trajectory(3), _trajectory(5)]
        loader = base.make_data_loader(iter(trajs), 8, fields=["obs", "dones"])
        (batch,) = loader
        assert set(batch) == {"obs", "dones"}
        assert int(batch["dones"].sum()) == 2

    def test_dictionary_observations_are_dictionaries_of_tensors(self):
        obs = types.DictObs({"a": np.arange(6.0), "b": np.zeros((6, 2, 2), np.uint8)})
        data = types.TransitionsMinimal(obs=obs, acts=np.arange(6), infos=None)
        for batch in base.make_data_loader(data, 3):
            assert batch["obs"]["a"].tolist() == batch["acts"].tolist()
            assert batch["obs"]["b"].shape == (3, 2, 2)
            assert batch["obs"]["b"].dtype == th.uint8

    def test_other_options_go_to_a_real_data_loader(self):
        loader = base.make_data_loader(_transitions(8), 4, {"sampler": th_data.SequentialSampler(range(8))})
        assert [b["acts"].tolist() for b in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert len(list(base.make_data_loader(_transitions(8), 4, {"num_workers": 2, "pin_memory": True}))) == 2

    def test_ready_made_batches_pass_through(self):
        made = th_data.DataLoader(
            _transitions(9), batch_size=3, collate_fn=types.transitions_collate_fn, drop_last=True
        )
        loader = base.make_data_loader(made, 3, fields=["obs", "acts"])
        for _ in range(2):
            assert [b["acts"].tolist() for b in loader] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]

    def test_endless_batches_are_read_one_at_a_time(self):
        def endless():
            while True:
                yield {"obs": np.zeros((2, 3), np.float32), "acts": np.zeros(2)}

        batches = iter(base.make_data_loader(endless(), 2))
        assert [len(next(batches)["acts"]) for _ in range(5)] == [2] * 5

    @pytest.mark.parametrize(
        ("data", "batch_size", "kwargs", "error", "text"),
        [
            (_transitions(3), 4, {}, ValueError, "3 transitions, fewer than one batch of 4"),
            (_transitions(3), 0, {}, ValueError, "batch_size must be an integer of at least 1, got 0"),
            (_transitions(3), 2.5, {}, ValueError, "batch_size must be an integer of at least 1, got 2.5"),
            ([], 4, {}, ValueError, "demonstrations is empty"),
            (_transitions(4)[:0], 4, {}, ValueError, "holds no transition"),
            (3, 4, {}, TypeError, "demonstrations is a int"),
            (_trajectory(4), 4, {}, TypeError, "wrap a single trajectory in a list"),
            ([1, 2], 1, {}, TypeError, "Batch 0 of the demonstrations is a int"),
            ([_transitions(3)], 4, {}, ValueError, "Batch 0 of the demonstrations holds 3 transitions, expected 4"),
            ([_transitions(4)], 4, {"data_loader_kwargs": {"shuffle": False}}, ValueError, "batches that are made"),
            ([{"obs": np.zeros(2)}], 2, {"fields": ["obs", "acts"]}, ValueError, r"\['acts'\] are needed"),
            ([{"obs": np.zeros(2), "acts": np.zeros(3)}], 2, {}, ValueError, "differ in length"),
        ],
    )
    def test_mistakes(self, data, batch_size, kwargs, error, text):
        with pytest.raises(error, match=text):
            base.make_data_loader(data, batch_size, **kwargs)

    def test_a_later_batch_of_another_size_is_named(self):
        loader = base.make_data_loader([_transitions(3), _transitions(2)], 3)
        with pytest.raises(ValueError, match="Batch 1 of the demonstrations holds 2 transitions, expected 3"):
            list(loader)


BOX = gym.spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("field", "value", "space", "text"),
    [
        ("obs", [[0.0, np.nan]], BOX, "obs: 1 of 2 values are not finite; the first in row 0"),
        ("obs", [[0.0, 1.0, 2.0]], BOX, r"obs has shape \(1, 3\), expected \(n, 2\)"),
        ("obs", [3], gym.spaces.Discrete(3), r"obs: 1 of 1 values are outside of Discrete\(3\)"),
        ("obs", [[0, 2]], gym.spaces.MultiBinary(2), r"outside of MultiBinary\(2\)"),
        ("obs", [[0.0, 0.0]], gym.spaces.Dict(a=BOX), "obs is no dictionary"),
        ("obs", {"b": [[0.0, 0.0]]}, gym.spaces.Dict(a=BOX), r"obs has the keys \['b'\], expected.*\['a'\]"),
        ("obs", {"a": [[0.0, np.inf]]}, gym.spaces.Dict(a=BOX), r"obs\['a'\]: 1 of 2 values are not finite"),
        ("obs", {"a": [[0.0, 0.0]]}, BOX, "obs is a dictionary"),
        ("acts", [[0.0, 1.5]], BOX, r"acts: 1 of 2 values are outside of Box.*row 0: \[1.5\].*np.clip"),
        ("acts", [[0.5, -np.inf]], BOX, "not finite"),
        ("acts", [0.5], gym.spaces.Discrete(3), "no whole number"),
        ("acts", [[1, 3]], gym.spaces.MultiDiscrete([2, 3]), "outside of MultiDiscrete"),
        ("acts", [-1], gym.spaces.Discrete(3), r"outside of Discrete\(3\)"),
    ],
)
def test_data_that_does_not_fit_the_space(field, value, space, text):
    values = {k: np.asarray(v) for k, v in value.items()} if isinstance(value, dict) else np.asarray(value)
    batch = {"obs": np.zeros((1, 2), np.float32), "acts": np.zeros(1), field: values}
    spaces = {"observation_space" if field == "obs" else "action_space": space}
    with pytest.raises(ValueError, match=text):
        base.make_data_loader([batch], 1, **spaces)


def test_casts():
    image = gym.spaces.Box(0, 255, (3, 4, 5), np.uint8)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 5, 3), dtype=np.uint8)
    batch = {"obs": pixels, "acts": np.array([[0.1, 1.0 + 1e-7]] * 2)}
    (out,) = base.make_data_loader([batch], 2, observation_space=image, action_space=BOX)
    assert out["obs"].dtype == th.uint8
    assert np.array_equal(out["obs"].numpy(), pixels.transpose(0, 3, 1, 2))
    assert out["acts"].dtype == th.float32


def test_batches_that_lack_an_optional_field_are_joined_without_it():
    spec = base.TensorSpec(("obs",), observation_space=gym.spaces.Discrete(4))
    batches = [
        {"obs": np.arange(2), "acts": np.ones(2)},
        {"obs": np.arange(2), "infos": [{}, {}]},
        {"obs": np.arange(2)},
    ]
    for order in ([0, 1, 2], [2, 1, 0]):
        found = base.all_tensors([batches[i] for i in order], spec, optional=("acts", "infos"))
        assert set(found.fields) == {"obs"}
        assert found.fields["obs"].shape[0] == 6
    found = base.all_tensors([batches[0], batches[0]], spec, optional=("acts", "infos"))
    assert set(found.fields) == {"obs", "acts"}


def test_split_parts_are_disjoint_and_complete(rng):
    spec = base.TensorSpec(("acts",))
    first, second = base.demonstration_tensors(_transitions(10), spec, 2).split(0.3, rng)
    assert (len(first), len(second)) == (7, 3)
    assert sorted(first["acts"].tolist() + second["acts"].tolist()) == list(range(10))


def test_seeded_torch_is_determined_by_rng_and_leaves_no_trace():
    before = th.random.get_rng_state()
    draws = []
    for _ in range(2):
        with base.seeded_torch(np.random.default_rng(5)):
            draws.append(th.rand(3))
    assert th.equal(*draws)
    assert th.equal(before, th.random.get_rng_state())


def test_what_has_to_come_first_is_an_error_of_both_kinds():
    for kind in (ValueError, RuntimeError):
        with pytest.raises(kind):
            raise base.NotReadyError("There are no demonstrations yet: call set_demonstrations first.")
