import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import imitation_lab.envs._register  # noqa: F401
from imitation_lab.envs import grid_worlds, tabular

MATRIX = np.array([[[0.5, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.25, 0.75]]])


def make(**changes):
    return tabular.TabularEnv(
        **{"transition_matrix": MATRIX, "reward_matrix": np.array([0.0, 1.0]), "horizon": 3} | changes
    )


@pytest.mark.parametrize("name", ["CliffWorld", "FrozenLake", "GridWorld", "RandomMDP"])
def test_registered_environments_are_sound(name):
    env = gym.make(f"imitation_lab/{name}-v0")
    core = env.unwrapped
    assert core.transition_matrix.shape == (core.state_dim, core.action_dim, core.state_dim)
    assert core.observation_matrix.shape == (core.state_dim, core.obs_dim)
    assert core.initial_state_dist.sum() == pytest.approx(1)
    check_env(core)
    sb3_check_env(core)
    assert isinstance(env.reset(seed=0)[0], np.int64)


@pytest.mark.parametrize("observe", ["onehot", "xy"])
def test_feature_observations_are_sound(observe):
    env = gym.make("imitation_lab/CliffWorld-v0", observe=observe)
    check_env(env.unwrapped)
    obs, info = env.reset(seed=0)
    np.testing.assert_array_equal(obs, env.unwrapped.observation_matrix[info["state"]])
    states = tabular.StateObservation(env)
    assert states.reset(seed=0)[0] == info["state"]
    assert states.observation_space.n == 28
    state, _, _, _, info = states.step(2)
    assert state == info["state"]


def test_steps_follow_the_probabilities_and_the_horizon():
    env = make(horizon=20_000)
    env.reset(seed=0)
    counts = np.zeros((2, 2, 2))
    rng = np.random.default_rng(0)
    for i in range(20_000):
        state, action = env.state, int(rng.integers(2))
        obs, reward, terminated, truncated, _ = env.step(action)
        counts[state, action, obs] += 1
        assert reward == float(state)
        assert not terminated
        assert truncated == (i == 19_999)
    np.testing.assert_allclose(counts / counts.sum(-1, keepdims=True), MATRIX, atol=0.03)
    assert (counts[MATRIX == 0] == 0).all()


def test_same_seed_same_episode():
    def episode():
        env = grid_worlds.RandomMDP(obs_dim=3)
        return [env.reset(seed=3)[0], *(env.step(i % 3)[0] for i in range(20))]

    np.testing.assert_array_equal(episode(), episode())


def test_rewards_of_all_three_kinds():
    by_pair, by_target = np.arange(4.0).reshape(2, 2), np.arange(8.0).reshape(2, 2, 2)
    for rewards in (by_pair, by_target):
        env = make(reward_matrix=rewards)
        env.reset(seed=0)
        old = env.state
        _, reward, *_ = env.step(1)
        assert reward == rewards[(old, 1, env.state)[: rewards.ndim]]


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        make().transition_matrix[0, 0, 0] = 1


def test_walls_slips_and_absorbing_cells_by_hand():
    env = grid_worlds.GridWorld(["S.", "#G"], noise=0.2, absorbing="G")
    assert env.state_dim == 3  # S, . and G
    right, down = grid_worlds.ACTIONS.index("right"), grid_worlds.ACTIONS.index("down")
    np.testing.assert_allclose(env.transition_matrix[0, right], [0.2, 0.8, 0])  # slips end at the wall and the rim
    np.testing.assert_allclose(env.transition_matrix[0, down], [0.9, 0.1, 0])
    np.testing.assert_allclose(env.transition_matrix[1, down], [0.1, 0.1, 0.8])
    np.testing.assert_array_equal(env.transition_matrix[2, :, 2], np.ones(4))
    np.testing.assert_array_equal(env.reward_matrix, [0, 0, 1])
    np.testing.assert_array_equal(env.to_grid(np.array([1.0, 2, 3])), [[1, 2], [np.nan, 3]])
    assert env.state_at(1, 1) == 2
    with pytest.raises(ValueError, match="no state at row 1, column 0: it is a wall"):
        env.state_at(1, 0)


def test_cliff_world_blows_down():
    env = grid_worlds.CliffWorld(width=3, height=2, wind=0.25)
    up = grid_worlds.ACTIONS.index("up")
    np.testing.assert_allclose(env.transition_matrix[4, up], [0, 0.75, 0, 0, 0.25, 0])
    np.testing.assert_array_equal(env.reward_matrix, [-1, -1, -1, -1, -10, 10])


def test_rendering_as_text():
    env = grid_worlds.GridWorld(["S.", "#G"], render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "@.\n#G"


@pytest.mark.parametrize("slippery", [True, False])
def test_frozen_lake_is_gymnasiums(slippery):
    lake = gym.make("FrozenLake-v1", is_slippery=slippery).unwrapped
    env = grid_worlds.FrozenLake(is_slippery=slippery)
    assert env.layout == ("SFFF", "FHFH", "FFFH", "HFFG")
    for s, actions in lake.P.items():
        for a, outcomes in actions.items():
            expected = np.zeros(16)
            mean = sum(p * r for p, _, r, _ in outcomes)
            for p, following, _, _ in outcomes:
                expected[following] += p
            np.testing.assert_allclose(env.transition_matrix[s, a], expected)
            assert (env.transition_matrix[s, a] * env.reward_matrix[s, a]).sum() == pytest.approx(mean)
    np.testing.assert_array_equal(env.initial_state_dist, lake.initial_state_distrib)


def test_an_end_elsewhere_gets_a_state_of_its_own():
    cliff = gym.make("CliffWalking-v1")
    env = tabular.from_toy_text(cliff, horizon=50)
    assert env.state_dim == 49
    right = 1
    assert env.transition_matrix[35, 2, 48] == 1  # from above the goal, down
    assert env.reward_matrix[35, 2, 48] == -1
    np.testing.assert_array_equal(env.transition_matrix[48, :, 48], np.ones(4))
    assert env.transition_matrix[0, right, 1] == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"transition_matrix": MATRIX * 0.9}, r"transition_matrix\[0, 0\] sums to 0.9, expected probabilities"),
        ({"transition_matrix": MATRIX - [0.5, -0.5]}, r"transition_matrix\[0, 1\] holds the negative value -0.5"),
        ({"transition_matrix": MATRIX * np.nan}, "sums to nan"),
        ({"transition_matrix": np.eye(2)}, r"has shape \(2, 2\), expected \(S, A, S\)"),
        ({"reward_matrix": np.zeros(3)}, r"reward_matrix has shape \(3,\), expected \(2,\), \(2, 2\) or \(2, 2, 2\)"),
        ({"reward_matrix": np.array([0, np.inf])}, "reward_matrix holds NaN or infinity"),
        ({"observation_matrix": np.zeros((3, 1))}, r"observation_matrix has shape \(3, 1\), expected \(2, "),
        ({"initial_state_dist": np.array([0.5, 0.6])}, "initial_state_dist sums to 1.1"),
        ({"initial_state_dist": np.ones(3)}, r"initial_state_dist has shape \(3,\)"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"horizon": None}, "has no horizon, so its episodes never end"),
    ],
)
def test_bad_arrays(changes, text):
    with pytest.raises(ValueError, match=text):
        make(**changes)


def test_bad_environments():
    with pytest.raises(TypeError, match="CartPoleEnv is not tabular: it has no transition_matrix, reward_matrix"):
        tabular.tabular_model(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="action space Box.*expected Discrete"):
        tabular.tabular_model(gym.make("Pendulum-v1"))
    with pytest.raises(TypeError, match="CartPoleEnv has no P and initial_state_distrib"):
        tabular.from_toy_text(gym.make("CartPole-v1"), 10)
    with pytest.raises(TypeError, match="vectorized environment"):
        tabular.tabular_model(gym.make_vec("imitation_lab/RandomMDP-v0", 2, vectorization_mode="sync"))
    env = make()
    env.reset()
    with pytest.raises(ValueError, match="action is 2, expected an integer from 0 to 1"):
        env.step(2)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: grid_worlds.GridWorld(["S.", "."]), "2 rows of 1 and 2 characters"),
        (lambda: grid_worlds.GridWorld([".."]), 'no start: mark at least one cell with "S"'),
        (lambda: grid_worlds.GridWorld(noise=1.5), "expected a probability from 0 to 1"),
        (lambda: grid_worlds.GridWorld(observe="pixels"), "observe is 'pixels', expected \"state\""),
        (lambda: grid_worlds.GridWorld().to_grid(np.zeros(3)), r"values has shape \(3,\)"),
        (lambda: grid_worlds.CliffWorld(width=2), "width >= 3"),
        (lambda: grid_worlds.CliffWorld(wind=2), r"wind must lie in \[0, 1\], got 2"),
        (lambda: grid_worlds.RandomMDP(branch_factor=17), "branch_factor must be from 1 to n_states=16"),
    ],
)
def test_bad_grids(build, text):
    with pytest.raises(ValueError, match=text):
        build()
