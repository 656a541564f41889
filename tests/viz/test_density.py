import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from imitation_lab.data import types
from imitation_lab.viz.density import BandwidthModel, bandwidth_panel


def trajectory(rng, n=40, dims=3):
    obs = rng.normal([0, 5, -2][:dims], [1, 2, 0.1][:dims], size=(n + 1, dims)).astype(np.float32)
    return types.Trajectory(obs=obs, acts=np.zeros(n, int), infos=None, terminal=True)


@pytest.fixture
def demonstrations(rng):
    return [trajectory(rng) for _ in range(6)]


def test_whole_episodes_are_held_out(demonstrations):
    model = BandwidthModel(demonstrations)
    fitted = np.concatenate([t.obs[:-1] for t in demonstrations[::2]]).astype(np.float64)
    assert model.fitted.shape == model.held_out.shape == (120, 3)
    np.testing.assert_allclose(model.fitted, (fitted - fitted.mean(0)) / fitted.std(0), atol=1e-6)
    np.testing.assert_allclose(model.fitted.std(axis=0), 1)


def test_scores_are_mean_log_densities(demonstrations):
    model = BandwidthModel(demonstrations, bandwidths=[0.1, 0.5, 2.0])
    for k, h in enumerate(model.bandwidths):
        theirs = KernelDensity(bandwidth=h, leaf_size=200).fit(model.fitted)  # one leaf: the tree loses far tails
        assert model.scores()[0, k] == pytest.approx(theirs.score_samples(model.fitted).mean(), rel=1e-5)
        assert model.scores()[1, k] == pytest.approx(theirs.score_samples(model.held_out).mean(), rel=1e-5)
    # what was fitted always looks likelier, the more so the sharper the estimate
    gaps = model.scores()[0] - model.scores()[1]
    assert gaps[0] > gaps[1] > gaps[2]
    assert model.bandwidths[model.best] == 0.5


def test_the_map_is_of_two_dimensions_alone(demonstrations):
    model = BandwidthModel(demonstrations, x_dim=2, y_dim=0, bandwidths=[0.3], resolution=5)
    xs, ys = model.grid()
    fitted = np.concatenate([t.obs[:-1] for t in demonstrations[::2]])
    assert xs[0] < fitted[:, 2].min() < fitted[:, 2].max() < xs[-1] + 0.1
    cell = np.array([[(xs[3] - model.mean[2]) / model.std[2], (ys[1] - model.mean[0]) / model.std[0]]])
    expected = KernelDensity(bandwidth=0.3).fit(model.fitted[:, [2, 0]]).score_samples(cell)
    assert model.density_map(0)[1, 3] == pytest.approx(expected[0], rel=1e-5)


def test_a_bounded_kernel_may_reach_nobody(demonstrations):
    model = BandwidthModel(demonstrations, kernel="tophat", bandwidths=[0.01, 3.0])
    assert model.scores()[1, 0] == -np.inf
    assert model.best == 1
    assert np.isnan(model.numbers(0)[0]["gap"])
    assert bandwidth_panel(model, 0).alt.endswith("the best is 3.")


def test_the_panel_says_what_it_shows(demonstrations):
    model = BandwidthModel(demonstrations, names=["a", "b", "c"], units=["m", None, "s"], x_dim="c", y_dim="b")
    figure = bandwidth_panel(model, 3)
    left, right = figure.axes[:2]
    assert (left.get_xlabel(), left.get_ylabel()) == ("c [s]", "b")
    assert "h = 0.06 sd" in left.get_title(loc="left")
    assert right.get_xscale() == "log"
    assert figure.alt.startswith("Log density of c and b at bandwidth")


def test_arrays_of_states(rng):
    model = BandwidthModel(rng.normal(size=(200, 2)))
    assert model.fitted.shape == model.held_out.shape == (100, 2)


def test_mistakes(demonstrations, rng):
    with pytest.raises(ValueError, match="at least two trajectories"):
        BandwidthModel(demonstrations[:1])
    with pytest.raises(ValueError, match=r"n of at least 100, got shape \(20, 2\)"):
        BandwidthModel(np.zeros((20, 2)))
    with pytest.raises(ValueError, match="2 names .* for 3 dimensions"):
        BandwidthModel(demonstrations, names=["a", "b"])
    with pytest.raises(ValueError, match="unknown state dimension 'z': expected 0 to 2 or one of"):
        BandwidthModel(demonstrations, x_dim="z")
    with pytest.raises(ValueError, match="kernel must be one of gaussian"):
        BandwidthModel(demonstrations, kernel="box")
    with pytest.raises(ValueError, match="bandwidths must be positive"):
        BandwidthModel(demonstrations, bandwidths=[0.0])
    with pytest.raises(ValueError, match="at least two dimensions"):
        BandwidthModel([trajectory(rng, dims=1), trajectory(rng, dims=1)])
