"""Ring buffers against a plain list of the newest samples."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import types
from imitation_lab.data.buffer import Buffer, ReplayBuffer, num_samples


def numbers(start: int, n: int) -> dict[str, np.ndarray]:
    k = np.arange(start, start + n)
    return {"a": k, "b": np.stack([k, -k], axis=1).astype(np.float32)}


@given(st.integers(1, 7), st.lists(st.integers(1, 20), max_size=8))
def test_holds_the_newest_samples(capacity, sizes):
    buffer = Buffer(capacity, {"a": (), "b": (2,)}, {"a": np.int64, "b": np.float32}, rng=np.random.default_rng(0))
    total = 0
    for n in sizes:
        buffer.store(numbers(total, n), truncate_ok=True)
        total += n
        newest = set(range(max(0, total - capacity), total))
        assert buffer.size() == len(newest)
        drawn = buffer.sample(300)
        assert set(drawn["a"].tolist()) == newest  # a sample is missed with a chance below 7 exp(-300 / 7)
        np.testing.assert_array_equal(drawn["b"], np.stack([drawn["a"], -drawn["a"]], axis=1))
        assert drawn["b"].dtype == np.float32


def test_sampling_is_uniform_and_seeded():
    buffer = Buffer.from_data(numbers(0, 4))
    drawn = buffer.sample(4000, np.random.default_rng(0))["a"]
    np.testing.assert_allclose(np.bincount(drawn), 1000, atol=120)  # 4 standard deviations of 27
    np.testing.assert_array_equal(drawn, buffer.sample(4000, np.random.default_rng(0))["a"])


def test_samples_are_copies():
    buffer = Buffer.from_data(numbers(0, 4))
    buffer.sample(10)["a"][:] = -1
    assert buffer.sample(10)["a"].min() >= 0


def test_bad_data():
    buffer = Buffer.from_data(numbers(0, 4))
    with pytest.raises(ValueError, match="Got 5 samples for a capacity of 4: pass truncate_ok"):
        buffer.store(numbers(0, 5))
    with pytest.raises(ValueError, match=r"names \['a'\], expected \['a', 'b'\]"):
        buffer.store({"a": np.zeros(1)})
    with pytest.raises(ValueError, match=r"b has samples of shape \(3,\), expected \(2,\)"):
        buffer.store({"a": np.zeros(1), "b": np.zeros((1, 3))})
    with pytest.raises(ValueError, match="The arrays have lengths {'a': 1, 'b': 2}"):
        buffer.store({"a": np.zeros(1), "b": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="The data are empty"):
        buffer.store(numbers(0, 0))
    with pytest.raises(ValueError, match="capacity is 0"):
        Buffer(0, {}, {})
    with pytest.raises(ValueError, match=r"names \['a'\] and dtypes \['b'\]"):
        Buffer(1, {"a": ()}, {"b": float})
    with pytest.raises(ValueError, match="buffer is empty"):
        Buffer(1, {"a": ()}, {"a": float}).sample(1)
    with pytest.raises(ValueError, match="expected at least one array"):
        num_samples({})
    assert num_samples(numbers(0, 3)) == 3


def make_transitions(n: int, dictionary: bool = False) -> types.Transitions:
    obs = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    infos = [{"i": i} for i in range(n)]

    def observed(d):
        return types.DictObs({"x": obs + d, "y": np.arange(n) + d}) if dictionary else obs + d

    return types.Transitions(observed(0), np.arange(n), types.infos_array(infos, n), observed(1), np.arange(n) % 2 == 1)


@pytest.mark.parametrize("dictionary", [False, True], ids=["array", "dict"])
def test_replay_buffer_keeps_transitions_together(dictionary, rng):
    transitions = make_transitions(6, dictionary)
    buffer = ReplayBuffer.from_data(transitions, rng=rng)
    assert buffer.size() == buffer.capacity == 6
    drawn = buffer.sample(50)
    assert len(drawn) == 50
    assert drawn == transitions[drawn.acts]


def test_replay_buffer_from_spaces():
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    buffer = ReplayBuffer(2, venv)
    with pytest.raises(ValueError, match="acts has samples of shape"):
        buffer.store(make_transitions(3))
    good = types.Transitions(
        np.zeros((3, 3), np.float32), np.arange(3.0)[:, None], None, np.ones((3, 3), np.float32), np.zeros(3, bool)
    )
    buffer.store(good)  # truncating is fine for replay
    assert set(buffer.sample(40).acts[:, 0].tolist()) == {1.0, 2.0}
    with pytest.raises(ValueError, match="Got 3 samples for a capacity of 2"):
        buffer.store(good, truncate_ok=False)


def test_replay_buffer_construction():
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    with pytest.raises(ValueError, match="Got venv and obs_shape"):
        ReplayBuffer(2, venv, obs_shape=(3,))
    with pytest.raises(ValueError, match="Got no act_dtype, act_shape, obs_dtype, expected venv"):
        ReplayBuffer(2, obs_shape=(3,))
