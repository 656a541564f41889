import numpy as np
import pytest
import torch as th

from imitation_lab.regularization.regularizers import LpRegularizer, WeightDecayRegularizer
from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.viz.regularization import RegularizationTrace, example_training, regularization_panel

LOSSES = [(1.0, 2.0), (1.0, 1.2), (1.0, 0.5), (0.0, 1.0), (0.0, 0.0)]


class Logger:
    def record(self, key, value):
        pass


def regularizer(updater=None, cls=WeightDecayRegularizer, weights=(3.0, -4.0), **kwargs):
    updater = updater or IntervalParamScaler(0.5, (0.9, 1.5))
    optimizer = th.optim.SGD([th.nn.Parameter(th.tensor(weights))], lr=0.1)
    return cls.create(1.0, updater, val_split=0.5, **kwargs)(optimizer=optimizer, logger=Logger())


@pytest.fixture
def trace():
    reg = regularizer()
    trace = RegularizationTrace(reg)
    for losses in LOSSES:
        reg.update_params(*losses)
    return trace


def test_it_records_what_the_updater_saw_and_said(trace):
    np.testing.assert_allclose(trace.series("lambda_"), [1, 1.5, 1.5, 0.75, 1.125])
    np.testing.assert_allclose(trace.series("next_lambda"), [1.5, 1.5, 0.75, 1.125, 1.125])
    np.testing.assert_array_equal(trace.series("ratio"), [2, 1.2, 0.5, np.inf, np.nan])
    np.testing.assert_allclose(trace.series("norm"), 5)
    assert trace.lambda_ == 1.125
    high, low = "ratio too high: λ grows", "ratio too low: λ shrinks"
    assert [trace.verdict(i) for i in range(5)] == [high, "λ stays", low, high, "λ stays"]
    assert trace.numbers(2)["update"] == 3
    assert trace.numbers(2)["ratio"] == 0.5
    assert repr(trace) == "RegularizationTrace(WeightDecayRegularizer, 5 updates)"


def test_before_the_first_update_it_knows_the_start():
    trace = RegularizationTrace(regularizer())
    assert trace.numbers() == {"updates": 0, "λ": 1.0, "weight norm": 5.0, "factor of the next update": 0.5}
    assert len(regularization_panel(trace).axes) == 5


def test_the_histograms_bins_hold_the_right_weights():
    trace = RegularizationTrace(regularizer())
    assert trace.edges[[0, -1]].tolist() == [-6.0, 6.0]
    for weight in (3.0, -4.0):
        assert trace.first_histogram[np.searchsorted(trace.edges, weight) - 1] == 0.5
    with th.no_grad():
        trace.regularizer.optimizer.param_groups[0]["params"][0].copy_(th.tensor([100.0, 0.0]))
    trace.regularizer.update_params(1.0, 1.0)
    assert trace.rows[-1].norm == 100
    assert trace.rows[-1].histogram[[20, -1]].tolist() == [0.5, 0.5]  # what lies outside counts at the edge


def test_params_choose_what_is_measured():
    assert RegularizationTrace(regularizer(), params=[th.tensor([6.0, 8.0])]).first_norm == 10
    with pytest.raises(ValueError, match="params is empty"):
        RegularizationTrace(regularizer(), params=[])


def test_updater_changes_from_the_next_update_on(trace):
    trace.set_updater(scaling_factor=0.1)
    trace.regularizer.update_params(1.0, 2.0)
    assert trace.lambda_ == pytest.approx(1.125 * 1.1)
    trace.set_updater(tolerable_interval=(1.0, 2.5))
    trace.regularizer.update_params(1.0, 2.0)
    assert trace.lambda_ == pytest.approx(1.125 * 1.1)
    with pytest.raises(ValueError, match="ascending order"):
        trace.set_updater(tolerable_interval=(2.0, 1.0))


def test_a_function_of_ones_own_as_updater():
    def twice(lambda_, train_loss, val_loss):
        return 2 * lambda_

    trace = RegularizationTrace(regularizer(twice))
    trace.regularizer.update_params(1.0, 1.0)
    assert (trace.lambda_, trace.verdict(), trace.interval, trace.factor) == (2.0, "λ grows", None, None)
    regularization_panel(trace)
    with pytest.raises(TypeError, match="only an IntervalParamScaler has a factor"):
        trace.set_updater(scaling_factor=0.5)


def test_a_second_trace_replaces_the_first(trace):
    other = RegularizationTrace(trace.regularizer)
    trace.regularizer.update_params(1.0, 2.0)
    assert (len(trace), len(other)) == (5, 1)
    assert "IntervalParamScaler" in repr(trace.regularizer.lambda_updater)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="expected a Regularizer"):
        RegularizationTrace(None)
    optimizer = th.optim.SGD([th.nn.Parameter(th.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="has no lambda_updater, so λ is constant"):
        RegularizationTrace(LpRegularizer(optimizer, 1.0, None, Logger(), p=2))
    trace = RegularizationTrace(regularizer())
    with pytest.raises(ValueError, match="this trace only watches"):
        trace.step()
    with pytest.raises(ValueError, match="cannot begin again"):
        trace.restarted()
    with pytest.raises(RuntimeError, match="without a λ update"):
        RegularizationTrace(regularizer(), train=lambda: None).step()


def test_panel_shows_the_trace(trace):
    losses, ratio, lambdas, norm, histogram = regularization_panel(trace).axes
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), [2, 1.2, 0.5, 1, 0])
    np.testing.assert_array_equal(ratio.lines[0].get_ydata(), [2, 1.2, 0.5, 20, np.nan])  # infinity is capped
    assert [line.get_ydata()[0] for line in ratio.lines[1:]] == [0.9, 1.5]
    np.testing.assert_array_equal(lambdas.lines[0].get_ydata(), trace.series("lambda_"))
    assert lambdas.get_yscale() == "log"
    np.testing.assert_allclose(norm.lines[0].get_ydata(), [5] * 6)
    np.testing.assert_array_equal(histogram.patches[1].get_data().values, trace.rows[-1].histogram)


def test_the_example_overfits_without_and_not_with_an_adaptive_lambda():
    adaptive, constant = example_training(), example_training()
    constant.updater = lambda lambda_, train_loss, val_loss: lambda_
    for trace in (adaptive, constant):
        trace.step(60)
    assert adaptive.series("train_loss")[0] == constant.series("train_loss")[0]  # λ acts from the second epoch on
    assert constant.series("ratio")[-1] > 10
    assert adaptive.series("ratio")[-1] < 3
    assert adaptive.series("val_loss")[-1] < 0.75 * constant.series("val_loss")[-1]
    assert adaptive.series("norm")[-1] < 0.7 * constant.series("norm")[-1]


def test_the_example_begins_again_with_the_updater_as_it_is():
    trace = example_training()
    trace.step(3)
    trace.set_updater(scaling_factor=0.4)
    again = trace.restarted()
    assert (len(again), again.factor, again.lambda_) == (0, 0.4, 1e-5)
    again.step()
    assert again.series("val_loss")[0] == trace.series("val_loss")[0]
