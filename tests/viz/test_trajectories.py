from types import SimpleNamespace

import numpy as np
import pytest

from imitation_lab.viz import trajectories


def walk(n=5):
    return np.stack([np.arange(n), np.arange(n) ** 2], axis=1).astype(float)


def test_trajectory_plot_has_a_panel_per_dimension_and_time_in_seconds():
    figure = trajectories.trajectory_plot(
        {"expert": [SimpleNamespace(obs=walk())], "learner": [walk(3), walk(4)]},
        names=["x", "v"],
        units=["m", "m/s"],
        seconds_per_step=0.5,
    )
    left, right = figure.axes
    assert right.get_title(loc="left") == "v [m/s]"
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [0, 0.5, 1, 1.5, 2])
    assert len(left.lines) == 3
    assert left.get_xlabel() == "time [s]"


def test_phase_plot_marks_start_and_end():
    axes = trajectories.phase_plot(walk(), 0, 1, names=["x", "v"]).axes[0]
    path, start, end = axes.lines
    np.testing.assert_array_equal(path.get_ydata(), [0, 1, 4, 9, 16])
    assert (start.get_ydata()[0], end.get_ydata()[0]) == (0, 16)
    assert axes.get_ylabel() == "v"


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match=r"vectors, observations of shape \(T\+1, dims\)"):
        trajectories.phase_plot([np.zeros((5, 2, 2))])
    with pytest.raises(ValueError, match="1 names .* for 2 dimensions"):
        trajectories.trajectory_plot(walk(), names=["x"])
