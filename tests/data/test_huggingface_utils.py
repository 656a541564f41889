"""Data sets of the Hugging Face package, those that the field's library wrote among them."""

import builtins
import os
import pathlib

import datasets
import numpy as np
import pytest
from gymnasium import spaces

from imitation_lab.algorithms import bc
from imitation_lab.data import demonstrations, serialize, types
from imitation_lab.data import huggingface_utils as hub
from imitation_lab.util import artifacts, logger

GOLDEN = pathlib.Path(__file__).parent / "golden" / "huggingface_v1"


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()


def trajectory(rng, n=4, obs_dtype=np.float32, infos=None, terminal=True):
    obs = (rng.uniform(0, 100, (n + 1, 3))).astype(obs_dtype)
    return types.TrajectoryWithRew(obs, rng.integers(0, 2, n), infos, terminal, rng.normal(size=n))


def same_bits(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a == b
        for name in ("obs", "acts", "rews"):
            assert getattr(a, name).dtype == getattr(b, name).dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int16, np.int64, bool])
def test_there_and_back(rng, tmp_path, dtype):
    made = [trajectory(rng, n, dtype, terminal=n != 3) for n in (4, 1, 3)]
    data_set = hub.trajectories_to_dataset(made, info=datasets.DatasetInfo(description="ours"))
    assert data_set.info.description == "ours"
    same_bits(hub.TrajectoryDatasetSequence(data_set), made)
    data_set.save_to_disk(tmp_path / "folder")
    for found in (serialize.load(tmp_path / "folder"), demonstrations.from_huggingface(tmp_path / "folder")):
        same_bits(found, made)
        same_bits(found[1:], made[1:])
        assert found == made
        assert repr(found) == "<3 trajectories of a data set>"
    assert hub.trajectories_to_dataset(found) is found.dataset


def test_images_dictionaries_and_numbers(rng):
    image = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    dictionary = types.DictObs({"a": rng.normal(size=(5, 2)), "b": np.arange(5)})
    for obs in (image, dictionary, np.arange(5)):
        made = [types.Trajectory(obs, np.ones((4, 2), np.float32), None, True)] * 2
        found = hub.TrajectoryDatasetSequence(hub.trajectories_to_dataset(made))
        assert list(found) == made
        assert found[0].obs.dtype == obs.dtype


def test_no_features_and_no_rounding(rng):
    empty = [types.Trajectory(np.zeros((n + 1, 0), np.float32), np.zeros((n, 2, 0)), None, True) for n in (2, 1)]
    found = hub.TrajectoryDatasetSequence(hub.trajectories_to_dataset(empty))
    assert list(found) == empty
    assert (found[0].obs.shape, found[0].acts.shape) == ((3, 0), (2, 2, 0))
    with pytest.raises(
        ValueError, match=r"Trajectory 0: obs has shape \(0, 2\) .* no numbers but dimensions after them"
    ):
        hub.trajectories_to_dataset([types.Trajectory(np.zeros((2, 0, 2)), np.zeros(1), None, True)])
    mixed = [
        types.Trajectory(np.array([n, 0], dtype), np.zeros(1), None, True)
        for n, dtype in ((2**60 + 1, int), (1, float))
    ]
    with pytest.raises(ValueError, match="Trajectory 0: obs holds 1152921504606846977, which float64"):
        hub.trajectories_to_dataset(mixed)


def test_infos_are_kept_as_data(rng):
    infos = [{"x": np.arange(3), "y": float("nan"), "__odd__": (1, 2)}, {}, {"s": "text"}, {"d": {"n": None}}]
    (found,) = hub.TrajectoryDatasetSequence(hub.trajectories_to_dataset([trajectory(rng, infos=infos)]))
    np.testing.assert_equal(list(found.infos), infos)
    np.testing.assert_equal(found.infos[1:3], infos[1:3])
    with pytest.raises(TypeError, match=r"Trajectory 0, step 1, info\['bad'\] is a builtins.object.*replace"):
        hub.trajectories_to_dict([trajectory(rng, n=2, infos=[{}, {"bad": object()}])])


def test_shuffled_and_selected(rng):
    made = [trajectory(rng, n) for n in (1, 2, 3, 4)]
    found = hub.TrajectoryDatasetSequence(hub.trajectories_to_dataset(made).select([3, 1]))
    same_bits(found, [made[3], made[1]])
    assert [len(t) for t in found] == [4, 2]


def test_datasets_own_constructor_takes_the_dictionary(rng):
    made = [trajectory(rng, n) for n in (1, 2)]
    found = hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict(hub.trajectories_to_dict(made)))
    same_bits(found, made)


def test_a_folder_of_the_fields_library():
    """Written by imitation 1.0.1, with infos by jsonpickle."""
    whole, fragment = serialize.load(GOLDEN)
    assert (whole.terminal, fragment.terminal) == (True, False)
    assert fragment.infos is None
    assert whole.obs.dtype == np.float32
    np.testing.assert_array_equal(whole.acts, [0, 1, 1])
    np.testing.assert_allclose(whole.rews, [-1.245911, -0.7322674, -0.544259], rtol=1e-6)
    expected = {
        "x": 1.5,
        "y": 2.5,
        "arr": np.arange(3.0),
        "arr2": np.arange(2, dtype=np.float32),
        "t": (1, 2),
        "b": True,
        "n": None,
        "i": 7,
        "nb": True,
        "s": "text",
    }
    for info in whole.infos:
        np.testing.assert_equal(info, expected)
        assert (info["arr2"].dtype, info["i"].dtype) == (np.float32, np.int64)


EVIL = {
    "reduce": '{"x": {"py/reduce": [{"py/function": "posix.system"}, {"py/tuple": ["touch pwned"]}]}}',
    "object": '{"x": {"py/object": "os.system", "py/newargs": {"py/tuple": ["touch pwned"]}}}',
    "repr": '{"x": {"py/repr": "os/os.system(\'touch pwned\')"}}',
    "function": '{"x": {"py/function": "os.system"}}',
    "type": '{"x": {"py/type": "os.system"}}',
    "dtype": '{"x": {"py/reduce": [{"py/type": "numpy.dtype"}, {"py/tuple": ["O", false]}, {"py/tuple": [3, "|"]}]}}',
    "array": '{"x": {"py/reduce": [{"py/function": "numpy._core.multiarray._reconstruct"}, {"py/tuple": [{"py/type": '
    '"os.system"}, {"py/tuple": [0]}, {"py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple": [9]}, {"py/id": 0}, false, '
    '{"py/b64": ""}]}]}}',
}


@pytest.mark.parametrize("name", EVIL)
def test_infos_never_run(name, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(os, "system", lambda *args: ran.append(args))
    monkeypatch.setattr(builtins, "eval", lambda *args: ran.append(args))
    columns = hub.trajectories_to_dict([trajectory(rng, n=1)])
    columns["infos"] = [[EVIL[name]]]
    (found,) = hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict(columns))
    assert found.infos[0]["x"].keys() <= {
        "py/reduce",
        "py/object",
        "py/newargs",
        "py/repr",
        "py/function",
        "py/type",
    }
    assert ran == []
    assert list(tmp_path.iterdir()) == []


def test_references_after_something_unknown_stay_data(rng):
    """What cannot be counted cannot be referred to: a guess could give a wrong number."""
    columns = hub.trajectories_to_dict([trajectory(rng, n=1)])
    columns["infos"] = [['{"a": {"py/object": "some.Class"}, "b": [1], "c": {"py/id": 1}}']]
    (found,) = hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict(columns))
    assert found.infos[0] == {"a": {"py/object": "some.Class"}, "b": [1], "c": {"py/id": 1}}


@pytest.mark.parametrize("text", ["not json", "[1]", '{"__class__": "os.system"}', "[" * 100_000])
def test_damaged_infos(text, rng):
    columns = hub.trajectories_to_dict([trajectory(rng, n=1)])
    columns["infos"] = [[text]]
    (found,) = hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict(columns))
    with pytest.raises(artifacts.ArtifactError, match="The info of step 0 in row 0 of the data set is damaged"):
        list(found.infos)


def test_columns_that_say_their_shape(rng):
    made = [trajectory(rng, n=2)]
    columns = hub.trajectories_to_dict(made)
    plain = hub.trajectories_to_dataset(made).features
    width = made[0].obs.shape[1]
    for obs in (
        datasets.Array2D((3, width), str(made[0].obs.dtype)),
        datasets.Sequence(datasets.Sequence(datasets.Value(str(made[0].obs.dtype)), length=width), length=3),
    ):
        features = datasets.Features({**plain, "obs": obs})
        assert list(hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict(columns, features=features))) == made


BAD = {
    "columns": ({"acts": None, "actions": [[0]]}, "lacks .'acts'.*rename them by dataset.rename_columns"),
    "ragged": ({"obs": [[[1.0], [1.0, 2.0]]]}, "Row 0 of the data set: obs is ragged"),
    "text": ({"acts": [["left"]]}, "Row 0 of the data set: acts holds string values"),
    "gap": ({"rews": [[None]]}, "Row 0 of the data set: rews holds null values"),
    "cut": ({"obs": [[[1.0]]]}, "Row 0 of the data set: This trajectory has 1 observations and 1 actions"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_columns(case, rng):
    change, text = BAD[case]
    columns = hub.trajectories_to_dict([trajectory(rng, n=1)]) | change
    with pytest.raises(ValueError, match=text):
        hub.TrajectoryDatasetSequence(datasets.Dataset.from_dict({k: v for k, v in columns.items() if v is not None}))[
            0
        ]


def test_bad_sources(rng, tmp_path):
    made = [trajectory(rng)]
    with pytest.raises(ValueError, match="Got no trajectories"):
        hub.trajectories_to_dict([])
    with pytest.raises(ValueError, match="Trajectory 1 has no rewards while others do"):
        hub.trajectories_to_dict([*made, types.Trajectory(made[0].obs, made[0].acts, None, True)])
    with pytest.raises(ValueError, match=r"Trajectory 1: obs has shape \(2,\) of float64 per step"):
        hub.trajectories_to_dataset(
            [*made, types.TrajectoryWithRew(np.zeros((2, 2)), np.zeros(1), None, True, np.zeros(1))]
        )
    with pytest.raises(TypeError, match="dataset is a DatasetDict, expected a datasets.Dataset: choose a split"):
        hub.TrajectoryDatasetSequence(datasets.DatasetDict(train=hub.trajectories_to_dataset(made)))
    with pytest.raises(FileNotFoundError, match="cannot open the data set .*nowhere': there is no such folder"):
        hub.from_huggingface(str(tmp_path / "nowhere"))
    datasets.DatasetDict(test=hub.trajectories_to_dataset(made)).save_to_disk(tmp_path / "dict")
    with pytest.raises(ValueError, match=r"no split 'train', only \['test'\]"):
        hub.from_huggingface(tmp_path / "dict")
    assert list(hub.from_huggingface(tmp_path / "dict", split="test")) == made
    with pytest.raises(ValueError, match="episode 0: obs: found"):
        hub.from_huggingface(tmp_path / "dict", split="test", env=(spaces.Box(0, 1, (3,)), spaces.Discrete(2)))


def test_a_policy_learns_from_a_data_set(rng, tmp_path):
    made = []
    for _ in range(5):
        obs = rng.uniform(-1, 1, (41, 3)).astype(np.float32)
        made.append(types.Trajectory(obs, (obs[:-1, 0] > obs[:-1, 1]).astype(int), None, True))
    hub.trajectories_to_dataset(made).save_to_disk(tmp_path / "folder")
    env = (spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    found = demonstrations.from_huggingface(tmp_path / "folder", env=env)
    assert demonstrations.validate(found, env).ok
    trainer = bc.BC(
        observation_space=env[0],
        action_space=env[1],
        rng=rng,
        demonstrations=demonstrations.from_huggingface(tmp_path / "folder"),
        optimizer_kwargs={"lr": 3e-3},
        custom_logger=logger.configure(format_strs=[]),
    )
    trainer.train(n_epochs=40, progress_bar=False)
    right = [trainer.policy.predict(t.obs[:-1], deterministic=True)[0] == t.acts for t in found]
    assert np.mean(right) > 0.9
