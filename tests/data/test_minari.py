"""Minari data sets, read and written."""

import pathlib

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from imitation_lab.algorithms import bc
from imitation_lab.data import demonstrations, minari_io, serialize, types
from imitation_lab.util import logger

minari = pytest.importorskip("minari")
pytestmark = pytest.mark.filterwarnings(r"ignore:(`\w+` is set to None|env_spec is None):UserWarning")
SPACES = (spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2))


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (tmp_path / "minari").mkdir()
    return tmp_path / "minari"


@pytest.fixture
def episodes(rng) -> list[types.TrajectoryWithRew]:
    made = []
    for n, terminal in ((30, True), (1, True), (40, False)):
        obs = rng.uniform(-1, 1, (n + 1, 3)).astype(np.float32)
        acts = (obs[:-1, 0] > obs[:-1, 1]).astype(np.int64)
        made.append(types.TrajectoryWithRew(obs, acts, None, terminal, rng.normal(size=n)))
    return made


def same_bits(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a == b
        for name in ("obs", "acts", "rews"):
            assert getattr(a, name).dtype == getattr(b, name).dtype


def test_there_and_back_without_an_environment(episodes, root, tmp_path):
    data_set = demonstrations.to_minari(episodes, "lab/test-v0", env=SPACES, author="somebody")
    assert data_set.env_spec is None
    assert data_set.storage.metadata["author"] == "somebody" or "somebody" in data_set.storage.metadata["author"]
    for source in (data_set, "lab/test-v0", root / "lab" / "test-v0", root / "lab" / "test-v0" / "data"):
        same_bits(demonstrations.from_minari(source), episodes)
    found = demonstrations.from_minari("lab/test-v0")
    assert found == episodes
    same_bits(found[::2], episodes[::2])
    same_bits([found[-1]], episodes[-1:])
    assert repr(found) == "<3 trajectories of the Minari data set 'lab/test-v0'>"
    assert found.dataset.id == "lab/test-v0"
    serialize.save(tmp_path / "native", found)
    same_bits(serialize.load(tmp_path / "native"), episodes)


def test_with_an_environment(rng):
    made = demonstrations.from_policy(lambda obs: int(obs[2] + obs[3] > 0), "CartPole-v1", 2, rng)
    for env in ("CartPole-v1", gym.make("CartPole-v1")):
        data_set = minari_io.to_minari(made, "lab/cartpole-v0", env=env, overwrite=True)
        assert data_set.recover_environment().spec.id == "CartPole-v1"
        same_bits(minari_io.from_minari("lab/cartpole-v0", env=gym.make("CartPole-v1")), made)


def test_what_minari_records_itself():
    """Its own buffers: terminated, truncated, unfinished; infos with an entry for the reset."""
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.zeros((3, 3), np.float32),
            actions=np.array([0, 1]),
            rewards=[1, 2],
            terminations=[False, name == "terminated"],
            truncations=[False, name == "truncated"],
            infos={"t": [0, 1, 2], "deep": {"s": ["a", "b", "c"]}},
        )
        for name in ("terminated", "truncated", "unfinished")
    ]
    minari.create_dataset_from_buffers("x-v0", buffers, observation_space=SPACES[0], action_space=SPACES[1])
    found = list(minari_io.from_minari("x-v0"))
    assert [t.terminal for t in found] == [True, True, False]
    assert list(found[0].infos) == [{"t": 1, "deep": {"s": "b"}}, {"t": 2, "deep": {"s": "c"}}]
    np.testing.assert_array_equal(found[0].rews, [1.0, 2.0])


def test_images_dictionaries_and_infos(rng):
    env = (
        spaces.Dict({"image": spaces.Box(0, 255, (8, 8, 3), np.uint8), "n": spaces.Discrete(9)}),
        spaces.Box(-1, 1, (2,), np.float32),
    )
    obs = types.DictObs({"image": rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8), "n": np.arange(5)})
    infos = [{"v": float(i), "a": np.arange(i, i + 2), "s": f"s{i}", "deep": {"b": True}} for i in range(4)]
    made = [types.TrajectoryWithRew(obs, rng.uniform(-1, 1, (4, 2)).astype(np.float32), infos, True, np.ones(4))]
    minari_io.to_minari(made, "x-v0", env=env)
    same = minari_io.from_minari("x-v0")
    assert list(same) == made
    assert same[0].obs.dtype == obs.dtype
    minari_io.to_minari(made, "y-v0", env=env, infos=False)
    assert minari_io.from_minari("y-v0")[0].infos is None


def test_the_end_that_was_a_truncation(episodes):
    infos = [{"TimeLimit.truncated": False}] * 29 + [{"TimeLimit.truncated": True}]
    made = [types.TrajectoryWithRew(episodes[0].obs, episodes[0].acts, infos, True, episodes[0].rews)]
    (episode,) = minari_io.to_minari(made, "x-v0", env=SPACES).iterate_episodes()
    assert (episode.truncations[-1], episode.terminations.any()) == (True, False)
    assert list(minari_io.from_minari("x-v0")) == made


def test_a_policy_learns(episodes, rng):
    minari_io.to_minari(episodes, "x-v0", env=SPACES)
    found = minari_io.from_minari("x-v0", env=SPACES)
    assert [f for f in demonstrations.validate(found, SPACES).findings if f.field != "horizon"] == []
    trainer = bc.BC(
        observation_space=SPACES[0],
        action_space=SPACES[1],
        rng=rng,
        demonstrations=minari_io.from_minari("x-v0"),
        batch_size=10,
        optimizer_kwargs={"lr": 3e-3},
        custom_logger=logger.configure(format_strs=[]),
    )
    trainer.train(n_epochs=60, progress_bar=False)
    right = [trainer.policy.predict(t.obs[:-1], deterministic=True)[0] == t.acts for t in found]
    assert np.concatenate(right).mean() > 0.9


def test_errors(episodes, root, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"cannot open the Minari data set 'none-v0': .*On this computer are \[\]"
    ):
        minari_io.from_minari("none-v0")
    minari_io.to_minari(episodes, "x-v0", env=SPACES)
    with pytest.raises(FileExistsError, match="'x-v0' already: pass overwrite=True"):
        minari_io.to_minari(episodes, "x-v0", env=SPACES)
    with pytest.raises(ValueError, match="Got no trajectories"):
        minari_io.to_minari([], "y-v0", env=SPACES)
    with pytest.raises(ValueError, match=r"episode 0: acts: found 1 at step .* expected values from 0 to 0"):
        minari_io.to_minari(episodes, "y-v0", env=(SPACES[0], spaces.Discrete(1)))
    uneven = [types.Trajectory(np.zeros((3, 3)), np.zeros(2, int), [{"a": 1}, {"b": 1}], True)]
    with pytest.raises(
        ValueError, match=r"Trajectory 0: its infos cannot be written.*\(entries differ\): pass infos=False"
    ):
        minari_io.to_minari(uneven, "y-v0", env=SPACES)
    with pytest.raises(ValueError, match="expected arrays, or for observations a Dict of arrays: flatten"):
        minari_io.to_minari(episodes, "y-v0", env=(spaces.Tuple([SPACES[0]]), SPACES[1]))
    monkeypatch.setattr(minari.MinariDataset, "__init__", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        minari_io.to_minari(episodes, "y-v0", env=SPACES)
    assert [path.name for path in root.iterdir() if path.is_dir()] == ["x-v0"]


def test_an_episode_that_goes_on_after_its_end():
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.zeros((3, 3), np.float32),
        actions=np.array([0, 1]),
        rewards=[1.0, 2.0],
        terminations=[True, False],
        truncations=[False, False],
    )
    minari.create_dataset_from_buffers("x-v0", [buffer], observation_space=SPACES[0], action_space=SPACES[1])
    with pytest.raises(ValueError, match="Episode 0 ends at step 0, but goes on to step 1: split it there"):
        list(minari_io.from_minari("x-v0"))
