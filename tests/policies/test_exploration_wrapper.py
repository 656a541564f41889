import numpy as np
import pytest

from imitation_lab.policies.exploration_wrapper import ExplorationWrapper
from imitation_lab.util.util import make_vec_env

START = np.zeros(2, bool)


@pytest.fixture
def venv(rng):
    env = make_vec_env("Pendulum-v1", rng=rng, n_envs=2)
    yield env
    env.close()


def policy(obs):
    """Marks its actions: no random one is exactly 0.25."""
    return np.full((len(obs), 1), 0.25, np.float32)


def who(wrapper, steps):
    """For each step, whether the action was random."""
    obs = np.zeros((2, 3), np.float32)
    random = []
    for _ in range(steps):
        acts, _ = wrapper(obs, None, START)
        assert acts.shape == (2, 1)
        assert len({bool(a == 0.25) for a in acts[:, 0]}) == 1
        random.append(acts[0, 0] != 0.25)
    return np.array(random)


@pytest.mark.parametrize("random_prob", [0.0, 1.0])
def test_extremes(venv, rng, random_prob):
    assert who(ExplorationWrapper(policy, venv, random_prob, 0.5, rng), 50).mean() == random_prob


def test_without_switching_the_first_decision_stays(venv):
    firsts = [who(ExplorationWrapper(policy, venv, 0.5, 0.0, np.random.default_rng(s)), 20) for s in range(20)]
    assert all(len(set(random)) == 1 for random in firsts)
    assert 4 <= sum(random[0] for random in firsts) <= 16


def test_share_and_length_of_random_stretches(venv, rng):
    random = who(ExplorationWrapper(policy, venv, 0.3, 0.2, rng), 20_000)
    assert abs(random.mean() - 0.3) < 0.03
    # A random stretch goes on with probability 1 − 0.2 · (1 − 0.3) = 0.86, so it lasts 1 / 0.14 ≈ 7.1 steps.
    stretches = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], random, [0]]))))[::2]
    assert abs(stretches.mean() - 1 / 0.14) < 0.6


def test_same_generator_same_actions(venv):
    obs = np.zeros((2, 3), np.float32)
    runs = []
    for _ in range(2):
        wrapper = ExplorationWrapper(policy, venv, 0.5, 0.5, np.random.default_rng(3))
        runs.append([wrapper(obs, None, START)[0] for _ in range(20)])
    np.testing.assert_array_equal(*runs)


def test_state_passes_through_random_actions(venv, rng):
    wrapper = ExplorationWrapper(policy, venv, 1.0, 0.0, rng)
    state = (np.ones(2),)
    assert wrapper(np.zeros((2, 3), np.float32), state, START)[1] is state


@pytest.mark.parametrize(("name", "value"), [("random_prob", -0.1), ("switch_prob", 1.5)])
def test_wrong_probabilities_are_refused(venv, rng, name, value):
    kwargs = {"random_prob": 0.5, "switch_prob": 0.5, name: value}
    with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\], got {value}"):
        ExplorationWrapper(policy, venv, rng=rng, **kwargs)


def test_wrong_generator_is_refused(venv):
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator, got 0"):
        ExplorationWrapper(policy, venv, 0.5, 0.5, rng=0)
