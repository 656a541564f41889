import gymnasium as gym
import numpy as np
import pytest

from imitation_lab.algorithms import bc
from imitation_lab.data.types import Transitions
from imitation_lab.regularization.regularizers import WeightDecayRegularizer
from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.util import logger
from imitation_lab.viz.regularization import RegularizationTrace, example_training
from imitation_lab.widgets.regularization import RegularizationDashboard


@pytest.fixture
def dashboard():
    return RegularizationDashboard()


@pytest.fixture
def trainer(rng):
    env = gym.make("CartPole-v1")
    obs = rng.normal(size=(60, 4)).astype(np.float32)
    demos = Transitions(
        obs=obs, acts=(obs[:, 2] > 0).astype(int), next_obs=obs, dones=np.zeros(60, bool), infos=np.array([{}] * 60)
    )
    return bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        demonstrations=demos,
        batch_size=10,
        rng=rng,
        custom_logger=logger.configure(format_strs=[]),
        regularizer_factory=WeightDecayRegularizer.create(1.0, IntervalParamScaler(0.1, (0.99, 1.01)), 0.5),
    )


def test_buttons_train_on(dashboard):
    picture = dashboard.image.value
    assert repr(dashboard) == "RegularizationDashboard(LpRegularizer; 0 updates)"
    dashboard.step_button.click()
    assert len(dashboard.trace) == 1
    assert dashboard.image.value != picture
    assert "validation mean squared error" in dashboard.numbers.value
    dashboard.many_button.click()
    assert len(dashboard.trace) == 21
    assert dashboard.table().splitlines()[2].split() == ["update", "21"]
    assert len(dashboard.figure().axes) == 5


def test_sliders_change_the_updater_and_the_picture(dashboard):
    dashboard.step()
    picture = dashboard.image.value
    dashboard.factor.value = 0.5
    assert dashboard.table().splitlines()[-1].split() == ["factor", "of", "the", "next", "update", "0.5"]
    dashboard.band.value = (0.1, 0.2)
    assert dashboard.trace.updater == IntervalParamScaler(0.5, (0.1, 0.2))
    assert dashboard.image.value != picture
    before = dashboard.trace.lambda_
    dashboard.step_button.click()
    assert dashboard.trace.lambda_ == pytest.approx(1.5 * before)


def test_a_band_without_width_is_taken_back(dashboard):
    dashboard.band.value = (1.0, 1.0)
    assert dashboard.band.value == (0.9, 1.5)
    assert dashboard.trace.interval == (0.9, 1.5)


def test_start_over_keeps_the_sliders(dashboard):
    dashboard.step(2)
    first = dashboard.trace.series("val_loss")
    dashboard.factor.value = 0.3
    dashboard.restart_button.click()
    assert (len(dashboard.trace), dashboard.trace.factor) == (0, 0.3)
    assert "weight norm" in dashboard.numbers.value
    dashboard.step()
    assert dashboard.trace.series("val_loss")[0] == first[0]


def test_it_watches_a_trainer_and_steers_it(trainer):
    dashboard = RegularizationDashboard(trainer.regularizer)
    assert dashboard.step_button.disabled
    assert dashboard.restart_button.disabled
    trainer.train(n_epochs=4, progress_bar=False, on_epoch_end=dashboard.refresh)
    assert len(dashboard.trace) == 4
    dashboard.band.value = (0.0, 3.0)
    before = trainer.regularizer.lambda_
    trainer.train(n_epochs=1, progress_bar=False)
    assert trainer.regularizer.lambda_ == before


def test_it_trains_a_trainer_on(trainer):
    trace = RegularizationTrace(trainer.regularizer, train=lambda: trainer.train(n_epochs=1, progress_bar=False))
    dashboard = RegularizationDashboard(trace)
    dashboard.step_button.click()
    dashboard.step_button.click()
    assert len(trace) == 2
    assert dashboard.restart_button.disabled


def test_an_updater_of_ones_own_has_no_sliders():
    trace = example_training()
    trace.updater = lambda lambda_, train_loss, val_loss: lambda_
    dashboard = RegularizationDashboard(trace)
    assert dashboard.band.disabled
    assert dashboard.factor.disabled
    dashboard.step_button.click()
    assert "λ stays" in dashboard.table()


def test_a_wide_interval_fits_the_slider():
    assert RegularizationDashboard(example_training(tolerable_interval=(1.0, 8.0))).band.value == (1.0, 8.0)
