import numpy as np
import pytest

from imitation_lab.data import types
from imitation_lab.widgets.density import BandwidthExplorer, BandwidthModel


@pytest.fixture
def model(rng):
    trajectories = [
        types.Trajectory(obs=rng.normal(size=(31, 2)), acts=np.zeros(30, int), infos=None, terminal=True)
        for _ in range(4)
    ]
    return BandwidthModel(trajectories, names=["angle", "speed"], bandwidths=np.geomspace(0.1, 2, 9), resolution=15)


@pytest.fixture
def explorer(model):
    return BandwidthExplorer(model, n_frames=3)


def test_it_begins_with_the_best_and_can_show_it(explorer, model):
    assert model.best in explorer.indices
    assert {0, 4, 8} <= set(explorer.indices)
    assert explorer.index == model.best
    assert repr(explorer) == f"BandwidthExplorer(gaussian kernel; {len(explorer.indices)} bandwidths)"


def test_the_slider_moves_picture_and_numbers(explorer):
    picture, numbers = explorer.frames.png, explorer.numbers.value
    explorer.slider.value = 0
    assert explorer.bandwidth == pytest.approx(0.1)
    assert explorer.frames.png != picture
    assert explorer.numbers.value != numbers
    assert "0.1" in explorer.table()
    assert "h = 0.1 sd" in explorer.frames.label
    assert "h = 0.1 sd" in explorer.figure().axes[0].get_title(loc="left")


def test_another_kernel_is_drawn_anew(explorer):
    pictures = explorer.frames.pngs
    explorer.kernel.value = "epanechnikov"
    assert all(a != b for a, b in zip(explorer.frames.pngs, pictures, strict=True))
    assert "epanechnikov kernel" in explorer.numbers.value
    explorer.kernel.value = "gaussian"
    assert explorer.frames.pngs == pictures


def test_it_takes_a_model_or_what_makes_one(model, rng):
    explorer = BandwidthExplorer(rng.normal(size=(200, 2)), n_frames=2, bandwidths=[0.5, 1.0], kernel="exponential")
    assert explorer.kernel.value == "exponential"
    with pytest.raises(ValueError, match="pass it alone"):
        BandwidthExplorer(model, kernel="tophat")
