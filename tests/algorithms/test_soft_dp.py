"""Values, policies and occupancies against closed forms and enumeration."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import seals  # noqa: F401
from scipy.special import logsumexp

from imitation_lab.algorithms import mce_irl
from imitation_lab.algorithms.mce_irl import planning as _soft_dp
from imitation_lab.envs import grid_worlds, tabular


def small(horizon=4, n_states=3, n_actions=2, branch_factor=2, **kwargs):
    return grid_worlds.RandomMDP(n_states, n_actions, branch_factor, horizon, generator_seed=1, **kwargs)


def enumerate_paths(env, pi):
    """Every path (states, actions) of positive probability under `pi`, with it."""
    states, actions = range(env.state_dim), range(env.action_dim)
    for path in itertools.product(states, repeat=env.horizon + 1):
        for acts in itertools.product(actions, repeat=env.horizon):
            p = env.initial_state_dist[path[0]]
            for t, a in enumerate(acts):
                p *= pi[t, path[t], a] * env.transition_matrix[path[t], a, path[t + 1]]
            if p > 0:
                yield path, acts, p


def test_one_step_is_a_softmax():
    reward = np.array([[1.0, 2.0, 0.5]])
    env = tabular.TabularEnv(transition_matrix=np.ones((1, 3, 1)), reward_matrix=reward, horizon=1)
    v, q, pi = mce_irl.mce_partition_fh(env)
    np.testing.assert_allclose(q, reward[None])
    np.testing.assert_allclose(v, [[np.log(np.exp(reward).sum())]])
    np.testing.assert_allclose(pi[0, 0], np.exp(reward[0]) / np.exp(reward).sum())


def test_chain_by_hand():
    # 0 -> 1 -> 2 -> 2, two equal actions: V_t is the sum of the rewards ahead plus log 2 a step.
    transitions = np.zeros((3, 2, 3))
    transitions[[0, 1, 2], :, [1, 2, 2]] = 1
    env = tabular.TabularEnv(transition_matrix=transitions, reward_matrix=np.array([1.0, 2.0, 4.0]), horizon=3)
    v, q, pi = mce_irl.mce_partition_fh(env, discount=0.5)
    log2 = np.log(2)
    assert v[2, 0] == pytest.approx(1 + log2)
    assert v[0, 0] == pytest.approx(1 + 0.5 * 2 + 0.25 * 4 + log2 * 1.75)
    assert q[0, 0, 0] == pytest.approx(v[0, 0] - log2)
    np.testing.assert_allclose(pi, 0.5)
    d, total = mce_irl.mce_occupancy_measures(env, discount=0.5)
    np.testing.assert_array_equal(d, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(total, [1, 0.5, 0.25 + 0.125])


@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_recursion_against_scipy_for_all_reward_shapes(discount, rng):
    env = small()
    p = env.transition_matrix
    for shape in ((3,), (3, 2), (3, 2, 3)):
        reward = rng.normal(size=shape)
        pairs = {1: lambda r: r[:, None] + np.zeros((3, 2)), 2: lambda r: r, 3: lambda r: (p * r).sum(-1)}[len(shape)](
            reward
        )
        v, q, pi = mce_irl.mce_partition_fh(env, reward=reward, discount=discount)
        following = np.zeros(3)
        for t in reversed(range(4)):
            expected = pairs + discount * p @ following
            following = logsumexp(expected, axis=1)
            np.testing.assert_allclose(q[t], expected)
            np.testing.assert_allclose(v[t], following)
            np.testing.assert_allclose(pi[t], np.exp(expected - following[:, None]))


def test_partition_of_a_deterministic_mdp_sums_over_all_paths(rng):
    # Without chance exp V_0(s) is the sum of exp(return) over all paths from s.
    targets = rng.integers(3, size=(3, 2))
    env = tabular.TabularEnv(transition_matrix=np.eye(3)[targets], reward_matrix=rng.normal(size=3), horizon=5)
    v = mce_irl.mce_partition_fh(env)[0]
    for start in range(3):
        returns = []
        for acts in itertools.product(range(2), repeat=5):
            state, total = start, 0.0
            for a in acts:
                total += env.reward_matrix[state]
                state = targets[state, a]
            returns.append(total)
        assert v[0, start] == pytest.approx(logsumexp(returns))


@pytest.mark.parametrize("discount", [1.0, 0.6])
def test_occupancy_counts_every_path(discount):
    env = small(horizon=3)
    _, _, pi = mce_irl.mce_partition_fh(env, discount=discount)
    expected = np.zeros((4, 3))
    for path, _, p in enumerate_paths(env, pi):
        expected[range(4), path] += p
    d, total = mce_irl.mce_occupancy_measures(env, discount=discount)
    np.testing.assert_allclose(d, expected)
    np.testing.assert_allclose(total, discount ** np.arange(4) @ expected)
    np.testing.assert_allclose(mce_irl.mce_occupancy_measures(env, pi=pi, discount=discount)[0], expected)


def test_derivative_of_the_value_is_the_occupancy(rng):
    env, discount, eps = small(horizon=6), 0.8, 1e-6
    reward = rng.normal(size=3)

    def value(r):
        return env.initial_state_dist @ mce_irl.mce_partition_fh(env, reward=r, discount=discount)[0][0]

    numeric = [(value(reward + eps * e) - value(reward - eps * e)) / (2 * eps) for e in np.eye(3)]
    d, _ = mce_irl.mce_occupancy_measures(env, reward=reward, discount=discount)
    np.testing.assert_allclose(numeric, discount ** np.arange(6) @ d[:-1], rtol=1e-6)


@pytest.mark.parametrize("path", ["sparse", "counted"])
def test_sparse_products_agree_with_dense_ones(path, monkeypatch):
    if path == "counted":
        monkeypatch.setattr(_soft_dp, "_torch_csr", lambda *_: None)
    env = grid_worlds.GridWorld(["S" + "." * 11] * 12, horizon=10)
    dynamics = _soft_dp.dynamics_of(env)
    assert dynamics.expect.dense is None
    assert (dynamics.expect.sparse is None) == (path == "counted")
    p = env.transition_matrix
    v, _, pi = mce_irl.mce_partition_fh(env, discount=0.9)
    following = np.zeros(144)
    for t in reversed(range(10)):
        following = logsumexp(env.reward_matrix[:, None] + 0.9 * p @ following, axis=1)
        np.testing.assert_allclose(v[t], following)
    d = mce_irl.mce_occupancy_measures(env, pi=pi)[0]
    for t in range(10):
        np.testing.assert_allclose(d[t + 1], np.einsum("s,sa,sap->p", d[t], pi[t], p), atol=1e-15)


def test_large_rewards_do_not_overflow():
    v, _, pi = mce_irl.mce_partition_fh(small(), reward=np.array([1e5, -1e5, 0.0]))
    assert np.isfinite(v).all()
    np.testing.assert_allclose(pi.sum(-1), 1)


def test_a_changed_matrix_is_noticed():
    class Env(SimpleNamespace):
        __hash__ = object.__hash__

    source = small()
    env = Env(
        transition_matrix=source.transition_matrix.copy(),
        reward_matrix=source.reward_matrix,
        initial_state_dist=source.initial_state_dist,
        horizon=4,
    )
    before = mce_irl.mce_occupancy_measures(env)[1]
    np.testing.assert_array_equal(mce_irl.mce_occupancy_measures(env)[1], before)
    env.transition_matrix[0] = env.transition_matrix[1]
    assert np.abs(mce_irl.mce_occupancy_measures(env)[1] - before).max() > 0.05
    env.transition_matrix[2] *= 0.5
    with pytest.raises(ValueError, match="sums to 0.5"):
        mce_irl.mce_occupancy_measures(env)
