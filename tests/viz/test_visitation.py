import numpy as np
import pytest

from imitation_lab.viz.visitation import visitation, visitation_distance, visitation_figure

EDGES = [np.array([0.0, 1, 2]), np.array([0.0, 1, 2])]


def test_shares_by_hand():
    points = np.array([[0.5, 0.5], [0.1, 0.9], [1.5, 0.2], [9.0, -3.0]])
    np.testing.assert_allclose(visitation(points, EDGES), [[0.5, 0], [0.5, 0]])


def test_distance_by_hand():
    here, there = np.array([[0.5, 0.5]]), np.array([[1.5, 1.5]])
    assert visitation_distance(here, here, EDGES) == 0
    assert visitation_distance(here, there, EDGES) == 1
    assert visitation_distance(here, np.concatenate([here, here, there]), EDGES) == pytest.approx(1 / 3)


def test_figure():
    visits = {"expert": np.array([[0.5, 0.5]]), "learner": np.array([[0.5, 0.5], [1.5, 1.5]])}
    figure = visitation_figure(visits, EDGES, reference="expert", names=["x", "y"], units=["m", None])
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["expert", "learner: distance 0.50"]
    assert figure.axes[0].get_xlabel() == "x [m]"
    assert "learner: distance 0.50" in figure.alt
    assert visitation_figure(visits, EDGES).axes[1].get_title(loc="left") == "learner"


def test_mistakes():
    with pytest.raises(ValueError, match=r"points must have the shape \(n, 2\).*got \(3,\)"):
        visitation(np.zeros(3), EDGES)
    with pytest.raises(ValueError, match="reference 'me' is none of"):
        visitation_figure({"expert": np.zeros((1, 2))}, EDGES, reference="me")
