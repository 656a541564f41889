import numpy as np
import pytest

from imitation_lab.util.networks import EMANorm, RunningNorm
from imitation_lab.widgets.normalization import NormalizationDashboard, NormalizationTrace


@pytest.fixture
def dashboard(rng):
    batches = [rng.normal(i, 1 + i / 4, size=(50, 2)) for i in range(9)]
    layers = {"RunningNorm": RunningNorm(2), "EMANorm": EMANorm(2, decay=0.5)}
    return NormalizationDashboard(layers, batches, features=["angle", "speed"], n_frames=5)


def test_slider_moves_the_batch_and_its_numbers(dashboard):
    assert dashboard.batches == [0, 2, 4, 6, 8]
    assert dashboard.batch == 8
    picture, numbers = dashboard.frames.png, dashboard.numbers.value
    dashboard.slider.value = 1
    assert dashboard.batch == 2
    assert dashboard.frames.png != picture
    assert dashboard.numbers.value != numbers
    assert "angle, batch 2, statistics updating" in dashboard.numbers.value
    assert ">150<" in dashboard.numbers.value


def test_freezing_shows_the_first_statistics(dashboard):
    picture = dashboard.frames.png
    dashboard.updating.value = False
    assert dashboard.frames.png != picture
    assert "statistics frozen" in dashboard.numbers.value
    assert ">50<" in dashboard.numbers.value
    mean = dashboard.trace.batch_mean[0, 0]
    row = dashboard.table().splitlines()[3].split()
    assert row[0] == "RunningNorm"
    assert float(row[1].replace("−", "-")) == pytest.approx(mean, abs=1e-3)
    dashboard.updating.value = True
    assert dashboard.frames.png == picture


def test_feature_selector_changes_the_picture(dashboard):
    picture = dashboard.frames.png
    dashboard.feature.value = 1
    assert dashboard.frames.png != picture
    assert "speed" in dashboard.numbers.value
    assert dashboard.figure().get_suptitle() == "speed: statistics updating"
    assert repr(dashboard) == "NormalizationDashboard(RunningNorm, EMANorm; 9 batches, 2 features)"


def test_it_takes_a_trace_or_layers_with_batches(rng):
    trace = NormalizationTrace.feed(RunningNorm(1), [rng.normal(size=20)])
    assert len(NormalizationDashboard(trace, feature="feature 0").frames) == 1
    with pytest.raises(ValueError, match="layers together with the batches"):
        NormalizationDashboard(RunningNorm(1))
    with pytest.raises(ValueError, match="pass it alone"):
        NormalizationDashboard(trace, [np.zeros(3)])
