import numpy as np
import pytest
from gymnasium import spaces

from imitation_lab.widgets.rewards import RewardHeatmap

BOX = spaces.Box(-1.0, 1.0, (3,))
TWO = spaces.Discrete(2)


def true(state, action, next_state, done):
    return state[:, 0] + state[:, 1]


def learned(state, action, next_state, done):
    return state[:, 0] * (1 - 2 * action) + state[:, 1] + state[:, 2] * state[:, 0]


@pytest.fixture
def heatmap():
    return RewardHeatmap(
        learned, BOX, TWO, true_reward=true, dim_names=["x", "v", "w"], units=["m", None, None],
        action_names=["left", "right"], resolution=11,
    )  # fmt: skip


def test_action_selector_changes_picture_numbers_and_correlation(heatmap):
    # action 0 gives x + v, the true reward; action 1 gives v − x, which is uncorrelated with it
    assert heatmap.correlation == pytest.approx(1)
    picture = heatmap.image.value
    heatmap.action.value = 1
    assert heatmap.correlation == pytest.approx(0, abs=1e-6)
    assert heatmap.image.value != picture
    assert "action: right" in heatmap.numbers.value
    heatmap.action.value = "mean"
    np.testing.assert_allclose(heatmap.values[:, 0], np.linspace(-1, 1, 11), atol=1e-6)


def test_other_dimensions_have_sliders_and_the_axes_have_not(heatmap):
    assert [s.layout.display for s in heatmap.dims.values()] == ["none", "none", None]
    heatmap.dims["w"].value = 1.0
    # now 2 x + v against x + v: r = 3 / sqrt(5·2)
    assert heatmap.correlation == pytest.approx(3 / 10**0.5)
    assert "0.949" in heatmap.numbers.value
    assert "0.949" in heatmap.table()
    assert heatmap.dims["x"].description == "x [m]"


def test_axes_and_resolution_can_be_changed(heatmap):
    heatmap.x.value = 1
    assert (heatmap.x.value, heatmap.y.value) == (1, 0)
    np.testing.assert_allclose(heatmap.true_values[0], np.linspace(-2, 0, 11), atol=1e-6)
    heatmap.resolution.value = 5
    assert heatmap.values.shape == (5, 5)
    heatmap.y.value = 2
    assert [s.layout.display for s in heatmap.dims.values()] == [None, "none", "none"]
    assert repr(heatmap) == "RewardHeatmap(w against v)"
    assert heatmap.figure().axes[0].get_ylabel() == "w"


def test_one_call_per_redraw():
    calls = []

    def counted(state, action, next_state, done):
        calls.append(len(state))
        return state[:, 0]

    heatmap = RewardHeatmap(counted, BOX, TWO, resolution=7)
    heatmap.action.value = 1
    assert calls == [49, 49]


def test_frames_sweep_a_dimension_or_the_actions_and_leave_the_view_alone(heatmap):
    values = heatmap.values.copy()
    frames = heatmap.frames_over("w", n=3)
    assert [frames._row._labels.children[i].value for i in range(3)] == ["-1", "0", "1"]
    assert len(set(frames.pngs)) == 3
    actions = heatmap.frames_over("action")
    assert len(actions) == 2
    np.testing.assert_array_equal(heatmap.slice.values(), values)
    with pytest.raises(ValueError, match="'x' is on an axis"):
        heatmap.frames_over("x")


def test_comparisons_are_computed_once_on_the_functions():
    seen = []

    def epic_distance(first, second):
        seen.append((first, second))
        return 0.125

    heatmap = RewardHeatmap(learned, BOX, TWO, true_reward=true, comparison=epic_distance, resolution=5)
    heatmap.action.value = 1
    assert seen == [(learned, true)]
    assert "epic distance" in heatmap.table()
    assert ">0.125<" in heatmap.numbers.value
    with pytest.raises(ValueError, match="pass true_reward too"):
        RewardHeatmap(learned, BOX, TWO, comparison=epic_distance)


def test_other_actions_have_a_slider_per_component():
    heatmap = RewardHeatmap(lambda s, a, n, d: a[:, 0] * s[:, 0], BOX, spaces.Box(-2, 2, (2,)), resolution=5)
    heatmap.action_parts[0].value = 2.0
    assert heatmap.values.max() == pytest.approx(2)
    multi = RewardHeatmap(lambda s, a, n, d: 1.0 * a[:, 1], BOX, spaces.MultiDiscrete([2, 4]), resolution=5)
    multi.action_parts[1].value = 3
    assert multi.values.min() == 3
    shifted = RewardHeatmap(lambda s, a, n, d: 1.0 * a[:, 0], BOX, spaces.MultiDiscrete([3], start=[2]), resolution=5)
    assert (shifted.values.max(), shifted.action_parts[0].min, shifted.action_parts[0].max) == (2, 2, 4)
    with pytest.raises(ValueError, match="needs Discrete actions"):
        multi.frames_over("action")


def test_constant_rewards_have_no_correlation():
    heatmap = RewardHeatmap(lambda s, a, n, d: np.ones(len(s)), BOX, TWO, true_reward=true, resolution=5)
    assert np.isnan(heatmap.correlation)
    assert "not defined" in heatmap.numbers.value


def test_controls_are_labelled(heatmap):
    controls = [heatmap.x, heatmap.y, heatmap.resolution, heatmap.action, *heatmap.dims.values()]
    assert all(c.description and c.tooltip for c in controls)
    assert "Heatmap of the learned reward" in heatmap.image.alt.value
