import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.rewards import comparison
from imitation_lab.viz import rewards

BOX = spaces.Box(-1.0, 1.0, (3,))
TWO = spaces.Discrete(2)


def linear(state, action, next_state, done):
    return state[:, 0] + 10 * state[:, 1] + 100 * state[:, 2] + 1000 * np.asarray(action, dtype=float)


def test_values_are_the_reward_on_the_grid_in_one_call():
    calls = []

    def reward(state, action, next_state, done):
        calls.append((state.shape, action.dtype, done.dtype))
        return linear(state, action, next_state, done)

    view = rewards.RewardSlice(reward, BOX, TWO, x_dim=1, y_dim=0, resolution=3)
    view.fixed[2], view.action = 0.5, 1
    values = view.values()
    # rows are y (dimension 0), columns x (dimension 1): 1000 + 50 + y + 10 x
    expected = 1050 + np.array([-1, 0, 1])[:, None] + 10 * np.array([-1, 0, 1])[None, :]
    np.testing.assert_allclose(values, expected)
    assert calls == [((9, 3), np.dtype(np.int64), np.dtype(bool))]
    view.action = "mean"
    np.testing.assert_allclose(view.values(), expected - 500)
    view.action = "max"
    np.testing.assert_allclose(view.values(), expected)
    assert len(calls) == 3


def test_transition_function_supplies_the_next_state():
    view = rewards.RewardSlice(
        lambda s, a, n, d: n[:, 0] - s[:, 0], BOX, TWO, resolution=4, transition_fn=lambda s, a: s + 1 + a[:, None]
    )
    np.testing.assert_allclose(view.values(), 1.0, atol=1e-6)


def test_reward_networks_are_asked_without_moving_their_statistics():
    class Net:
        def predict_processed(self, state, action, next_state, done, update_stats=True):
            assert not update_stats
            return th.as_tensor(state[:, 0])

    values = rewards.RewardSlice(Net(), BOX, TWO, resolution=3).values()
    np.testing.assert_allclose(values[0], [-1, 0, 1])


def test_box_actions_reach_the_reward_with_their_shape():
    view = rewards.RewardSlice(lambda s, a, n, d: a[:, 1], BOX, spaces.Box(-2, 2, (2,)), resolution=3)
    view.action = np.array([0.0, 1.5])
    np.testing.assert_allclose(view.values(), 1.5)
    assert "action component 1 = 1.5" in view.describe()


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_other_discrete_actions_work(space):
    view = rewards.RewardSlice(lambda s, a, n, d: a.sum(axis=1), BOX, space, resolution=3)
    view.action = np.ones(2, dtype=space.dtype)
    np.testing.assert_allclose(view.values(), 2)


def test_pearson_by_hand_and_undefined_for_constants():
    # deviations (−1, 0, 1) and (−1, −1, 2): 3 / sqrt(2·6)
    assert rewards.pearson([1, 2, 3], [0, 0, 3]) == pytest.approx(3 / 12**0.5)
    assert rewards.pearson([1, 2, 3, np.nan], [2, 4, 6, 0]) == pytest.approx(1)
    assert np.isnan(rewards.pearson([1, 2, 3], [5, 5, 5]))


def test_one_definition_of_the_correlation():
    noise = 1000 + 1e-4 * np.random.default_rng(0).standard_normal(50)
    for dtype in (np.float64, np.float32):  # in float32 all that is left is rounding
        x = noise.astype(dtype)
        np.testing.assert_equal(rewards.pearson(x, x), comparison.pearson(x, x))
    assert rewards.pearson(noise, noise) == pytest.approx(1)
    assert np.isnan(rewards.pearson(noise.astype(np.float32), noise))
    assert np.isnan(rewards.pearson([np.nan, 1], [1, 2]))


def test_missing_bounds_name_the_dimension_and_both_ways_out():
    space = spaces.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32))
    with pytest.raises(ValueError, match=r"dimension 1 \('velocity'\).*bounds=\{1: \(low, high\)\}.*from_data"):
        rewards.RewardSlice(linear, space, TWO, dim_names=["position", "velocity"])
    view = rewards.RewardSlice(linear, space, TWO, dim_names=["position", "velocity"], bounds={"velocity": (-2, 3)})
    np.testing.assert_array_equal([view.low[1], view.high[1]], [-2, 3])


def test_bounds_from_data_are_its_range_with_a_margin():
    data = np.array([[0.0, 10.0], [2.0, 30.0]])
    view = rewards.RewardSlice(linear, spaces.Box(-np.inf, np.inf, (2,)), TWO, from_data=data)
    np.testing.assert_allclose([view.low, view.high], [[-0.1, 9], [2.1, 31]])
    np.testing.assert_allclose(view.fixed, [1, 20])


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"observation_space": spaces.Discrete(4)}, TypeError, r"a Box of shape \(dims,\)"),
        ({"observation_space": spaces.Box(0, 1, (1,))}, ValueError, "at least two state dimensions"),
        ({"action_space": spaces.Tuple([TWO])}, TypeError, "cannot draw actions"),
        ({"x_dim": "speed"}, ValueError, "unknown state dimension 'speed'"),
        ({"x_dim": 1, "y_dim": 1}, ValueError, "choose two different dimensions"),
        ({"bounds": {0: (1, 1)}}, ValueError, "finite with low < high"),
        ({"reward_fn": 3}, TypeError, "must be a function"),
        ({"resolution": 1}, ValueError, "at least 2 grid points"),
        ({"action_names": ["a"]}, ValueError, "has 1 entries, the action space needs 2"),
        ({"from_data": np.zeros((3, 2))}, ValueError, r"states of shape \(n, 3\)"),
        ({"dim_names": ["a"]}, ValueError, "one name per dimension"),
    ],
)
def test_mistakes_are_named(change, error, text):
    arguments = {"reward_fn": linear, "observation_space": BOX, "action_space": TWO, **change}
    with pytest.raises(error, match=text):
        rewards.RewardSlice(**arguments)


def test_a_reward_of_the_wrong_shape_is_named():
    view = rewards.RewardSlice(lambda s, a, n, d: s, BOX, TWO, resolution=3)
    with pytest.raises(ValueError, match=r"returned shape \(9, 3\).*expected \(9,\)"):
        view.values()


def test_figure_draws_both_rewards_and_prints_the_correlation():
    view = rewards.RewardSlice(
        linear, BOX, TWO, true_reward=lambda s, a, n, d: -linear(s, a, n, d), resolution=5, units=["m", None, "rad"]
    )
    figure = view.figure()
    learned, true = figure.axes[:2]
    np.testing.assert_allclose(learned.images[0].get_array(), view.values())
    np.testing.assert_allclose(true.images[0].get_array(), view.true_values())
    assert "Pearson r = −1.00" in figure.get_suptitle()
    assert "state 2 = 0 rad" in figure.get_suptitle()
    assert learned.get_xlabel() == "state 0 [m]"
    shared = view.figure(shared_scale=True)
    assert shared.axes[0].images[0].get_clim() == shared.axes[1].images[0].get_clim()


def test_heatmap_leaves_out_what_is_not_finite_and_checks_shapes():
    values = np.array([[0.0, np.inf], [1.0, np.nan]])
    image = rewards.reward_heatmap(values, np.arange(2), np.arange(2)).axes[0].images[0]
    assert image.get_clim() == (0, 1)
    np.testing.assert_array_equal(image.get_array().mask, [[False, True], [False, True]])
    with pytest.raises(ValueError, match=r"values have shape \(2, 2\), expected"):
        rewards.reward_heatmap(values, np.arange(3), np.arange(2))
