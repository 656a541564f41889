"""Batches from disk: every transition once a pass, whole memory never."""

import mmap

import numpy as np
import pytest
from gymnasium import spaces

from imitation_lab.algorithms import bc
from imitation_lab.data import demonstrations, rollout, serialize, types
from imitation_lab.util import artifacts, logger

LENGTHS = (7, 1, 12, 30)
N = sum(LENGTHS)


@pytest.fixture
def episodes(rng) -> list[types.TrajectoryWithRew]:
    made = []
    for i, n in enumerate(LENGTHS):
        obs = rng.uniform(-1, 1, (n + 1, 3)).astype(np.float32)
        acts = (obs[:-1, 0] > obs[:-1, 1]).astype(np.int64)
        made.append(types.TrajectoryWithRew(obs, acts, None, i != 2, rng.normal(size=n)))
    return made


@pytest.fixture
def path(episodes, tmp_path):
    serialize.save(tmp_path / "demonstrations", episodes)
    return tmp_path / "demonstrations"


def joined(batches, field):
    parts = [types.maybe_wrap_in_dictobs(batch[field]) for batch in batches]
    return types.concatenate_maybe_dictobs(parts)


ALL = ("obs", "acts", "next_obs", "dones", "rews")
ROW = 3 * 4 + 8 + 3 * 4 + 8 + 1


@pytest.mark.parametrize("window", [1, 3, 8, 49, 1000])
def test_every_transition_once(path, episodes, rng, window):
    """With batches of one nothing is left over, whatever the size of the window."""
    loader = demonstrations.DiskBatches(path, 1, rng, fields=ALL, memory=window * ROW)
    assert len(loader) == N
    expected = rollout.flatten_trajectories_with_rew(episodes)
    orders = []
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == N
        rews = joined(batches, "rews")
        order = np.array([int(np.flatnonzero(expected.rews == r)[0]) for r in rews])
        assert sorted(order) == list(range(N))
        orders.append(order.tolist())
        for field in ALL:
            found = joined(batches, field)
            assert found.dtype == getattr(expected, field).dtype
            np.testing.assert_array_equal(found, getattr(expected, field)[order])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("window", [8, 20, 1000])
def test_batches_are_full_and_mixed(path, rng, window):
    loader = demonstrations.DiskBatches(path, 8, rng, fields=("rews",), memory=window * 9)
    batches = list(loader)
    assert [len(b["rews"]) for b in batches] == [8] * (N // 8)
    assert len(np.unique(joined(batches, "rews"))) == N // 8 * 8


def test_same_seed_same_batches(path):
    first, second = (
        joined(demonstrations.DiskBatches(path, 8, np.random.default_rng(3)), "obs").tobytes() for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("window", [2, 3, 100])
def test_dictionary_observations(tmp_path, rng, window):
    obs = types.DictObs({"a": np.arange(12.0).reshape(6, 2), "n": np.arange(6)})
    serialize.save(tmp_path / "x", [types.Trajectory(obs, np.arange(5), None, True)])
    row = 2 * 24 + 8 + 1
    for batch in demonstrations.DiskBatches(
        tmp_path / "x", 2, rng, fields=("obs", "acts", "next_obs"), memory=window * row
    ):
        assert isinstance(batch["obs"], dict)
        np.testing.assert_array_equal(batch["obs"]["n"], batch["acts"])
        np.testing.assert_array_equal(batch["next_obs"]["n"], batch["acts"] + 1)
        np.testing.assert_array_equal(batch["obs"]["a"][:, 0], 2.0 * batch["acts"])


def test_pages_are_given_back(path, rng, monkeypatch):
    """The system is told after each piece; what that is worth the benchmark shows."""
    given = []
    monkeypatch.setattr(demonstrations.DiskBatches, "_give_back", lambda self: given.append(1))
    list(demonstrations.DiskBatches(path, 4, rng, fields=("rews",), memory=10 * 9))
    assert len(given) == N
    monkeypatch.undo()
    loader = demonstrations.DiskBatches(path, 4, rng)
    maps = {type(m) for m in loader._maps}
    assert maps == {mmap.mmap}


def test_a_policy_learns(path, rng):
    spaces_ = (spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    trainer = bc.BC(
        observation_space=spaces_[0],
        action_space=spaces_[1],
        rng=rng,
        demonstrations=demonstrations.DiskBatches(path, 10, rng, memory=20 * 21),
        batch_size=10,
        optimizer_kwargs={"lr": 3e-3},
        custom_logger=logger.configure(format_strs=[]),
    )
    trainer.train(n_epochs=60, progress_bar=False)
    found = serialize.load(path)
    assert [f for f in demonstrations.validate(found, spaces_).findings if f.field != "horizon"] == []
    right = [trainer.policy.predict(t.obs[:-1], deterministic=True)[0] == t.acts for t in found]
    assert np.concatenate(right).mean() > 0.9


def test_errors(path, episodes, rng, tmp_path):
    make = demonstrations.DiskBatches
    with pytest.raises(ValueError, match="batch_size is 51, expected 1 to 50, the number of transitions"):
        make(path, 51, rng)
    with pytest.raises(ValueError, match=r"gives no \['infos'\], only \['obs', 'acts', 'next_obs', 'dones', 'rews'\]"):
        make(path, 5, rng, fields=("obs", "infos"))
    with pytest.raises(
        ValueError, match="memory=100 holds 4 transitions of 21 bytes, fewer than a batch of 5: give at"
    ):
        make(path, 5, rng, memory=100)
    with pytest.raises(FileNotFoundError, match="no such file"):
        make(tmp_path / "none", 5, rng)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(artifacts.ArtifactError, match="its checksum does not match"):
        make(damaged, 5, rng)
    with pytest.raises(ValueError, match="This is a slice of a file's trajectories"):
        serialize.load(path)[1:].arrays()
    np.savez(
        tmp_path / "old.npz",
        obs=np.zeros((3, 1)),
        acts=np.zeros(2),
        terminal=np.array([True]),
        indices=np.zeros(0, int),
    )
    assert len(make(tmp_path / "old.npz", 2, rng)) == 1
