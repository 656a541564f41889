from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from imitation_lab.data.types import DictObs
from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicRewardNet,
    NormalizedRewardNet,
    PredictProcessedWrapper,
    RewardEnsemble,
)
from imitation_lab.util.networks import EMANorm, RunningNorm
from imitation_lab.viz.normalization import (
    NormalizationPanel,
    NormalizationRecorder,
    NormalizationTrace,
    normalization_panel,
)


@pytest.fixture
def batches(rng):
    return [rng.normal(3.0 + i / 4, 2.0, size=(32, 2)) for i in range(8)]


def test_running_norm_trace_equals_numpy_over_all_data_so_far(batches):
    layer = RunningNorm(2)
    trace = NormalizationTrace.feed(layer, batches)
    series = trace.series["RunningNorm", True]
    for i in (0, 4, 7):
        seen = np.concatenate(batches[: i + 1]).astype(np.float32)
        np.testing.assert_allclose(series.mean[i], seen.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(series.var[i], seen.var(axis=0), rtol=1e-4)
        assert series.count[i] == 32 * (i + 1)
    np.testing.assert_allclose(trace.batch_mean[4], batches[4].mean(axis=0), rtol=1e-5)
    assert layer.count == 0  # the layer itself was copied


def test_frozen_statistics_stand_still_and_updating_ones_centre_better(batches):
    trace = NormalizationTrace.feed({"a": RunningNorm(2), "b": EMANorm(2, decay=0.5)}, batches)
    for name in ("a", "b"):
        frozen, moving = trace.series[name, False], trace.series[name, True]
        np.testing.assert_array_equal(frozen.mean, np.broadcast_to(frozen.mean[0], frozen.mean.shape))
        assert abs(moving.output_mean[-1, 0]) < abs(frozen.output_mean[-1, 0])
    # the decaying average follows a drift that the running one lags behind
    assert abs(trace.series["b", True].output_mean[-1, 0]) < abs(trace.series["a", True].output_mean[-1, 0])


def test_trained_layers_freeze_where_they_are(batches):
    layer = RunningNorm(2)
    layer.update_stats(th.as_tensor(batches[0]))
    frozen = NormalizationTrace.feed(layer, batches[1:]).series["RunningNorm", False]
    np.testing.assert_allclose(frozen.mean[-1], batches[0].mean(axis=0), rtol=1e-6)
    later = NormalizationTrace.feed(layer, batches[1:], freeze_after=2).series["RunningNorm", False]
    assert later.count[-1] == 96


def test_histograms_are_shares_of_the_batch(batches):
    trace = NormalizationTrace.feed(RunningNorm(2), batches, bins=10)
    assert trace.raw_histogram.shape == (8, 2, 10)
    np.testing.assert_allclose(trace.raw_histogram.sum(axis=2), 1)
    np.testing.assert_allclose(trace.series["RunningNorm", True].histogram.sum(axis=2), 1)


@pytest.mark.parametrize("layer", [nn.LayerNorm(2), nn.Identity()])
def test_layers_without_statistics_are_shown_without(layer, batches):
    trace = NormalizationTrace.feed(layer, batches)
    assert np.isnan(trace.series[type(layer).__name__, True].mean).all()
    assert trace.numbers(0, 0)[1]["mean"] is None
    normalization_panel(trace)


def test_torch_batch_norm_is_understood(batches):
    trace = NormalizationTrace.feed(nn.BatchNorm1d(2, momentum=1.0), batches)
    series = trace.series["BatchNorm1d", True]
    np.testing.assert_allclose(series.mean, trace.batch_mean, rtol=1e-4)
    np.testing.assert_array_equal(series.count, np.arange(1, 9))


def test_read_only_batches_are_taken_and_no_batch_is_changed(batches):
    class Doubling(nn.Module):
        def forward(self, x):
            return x.mul_(2)

    inputs = [batch.astype(np.float32) for batch in batches]
    kept = [batch.copy() for batch in inputs]
    inputs[0].flags.writeable = False  # PyTorch warns when it is handed such memory
    NormalizationTrace.feed({"RunningNorm": RunningNorm(2), "Doubling": Doubling()}, inputs)
    np.testing.assert_array_equal(inputs, kept)


def test_mistakes_are_named(batches):
    with pytest.raises(ValueError, match="no batches given"):
        NormalizationTrace.feed(RunningNorm(2), [])
    with pytest.raises(ValueError, match="batch 1 is empty or holds NaN"):
        NormalizationTrace.feed(RunningNorm(2), [batches[0], np.full((2, 2), np.nan)])
    with pytest.raises(ValueError, match="batch 1 has 3 features, the batches before 2"):
        NormalizationTrace.feed(RunningNorm(2), [batches[0], np.zeros((4, 3))])
    with pytest.raises(ValueError, match=r"'Linear' turned shape \(32, 2\) into \(32, 1\)"):
        NormalizationTrace.feed(nn.Linear(2, 1), batches)
    with pytest.raises(TypeError, match="must be a torch.nn.Module"):
        NormalizationTrace.feed({"a": 3}, batches)
    with pytest.raises(ValueError, match="for 2 features: give one name per feature"):
        NormalizationTrace.feed(RunningNorm(2), batches, features=["x"])
    with pytest.raises(ValueError, match="unknown feature 'z'"):
        NormalizationTrace.feed(RunningNorm(2), batches).index("z")


def test_panel_shows_the_trace(batches):
    trace = NormalizationTrace.feed(RunningNorm(2), batches, features=["x", "v"], units=["m", None])
    figure = normalization_panel(trace, "x", 3)
    mean, _, count, raw, _ = figure.axes
    line = next(line for line in mean.lines if line.get_label() == "RunningNorm")
    np.testing.assert_array_equal(line.get_ydata(), trace.series["RunningNorm", True].mean[:, 0])
    assert mean.get_title(loc="left") == "mean [m]"
    np.testing.assert_array_equal(count.lines[-1].get_xdata(), [3, 3])
    np.testing.assert_array_equal(raw.patches[0].get_data().values, trace.raw_histogram[3, 0])
    (label,) = raw.texts
    assert label.get_text().startswith("batch 3: mean ")
    assert label.get_window_extent().y0 >= raw.get_window_extent().y1  # no bar runs through it
    pngs = NormalizationPanel(trace, 0).pngs([0, 7])
    assert pngs[0] != pngs[1]


def test_recorder_follows_training_by_callback_and_by_hook(batches):
    layer = RunningNorm(2)
    recorder = NormalizationRecorder(layer, every=2)
    for batch in batches:
        layer(th.as_tensor(batch))
        recorder("any", key="argument")
    assert [count for _, _, count in recorder.snapshots] == [32, 96, 160, 224]
    assert repr(recorder) == "NormalizationRecorder(RunningNorm, 4 snapshots)"

    hooked = NormalizationRecorder(layer)
    with hooked:
        layer(th.as_tensor(batches[0]))
        layer.eval()
        layer(th.as_tensor(batches[0]))
        layer.train()
    layer(th.as_tensor(batches[0]))
    assert len(hooked.snapshots) == 1


def test_recorder_trace_normalizes_fixed_data_with_the_recorded_statistics(batches):
    layer = RunningNorm(2)
    recorder = NormalizationRecorder(layer)
    with recorder:
        for batch in batches:
            layer(th.as_tensor(batch))
    data = batches[0]
    trace = recorder.trace(data, features=["x", "v"])
    layer.eval()
    expected = layer(th.as_tensor(data)).numpy().mean(axis=0)
    np.testing.assert_allclose(trace.series["RunningNorm", True].output_mean[-1], expected, atol=1e-5)
    assert len(trace) == 8


def test_recorder_refuses_layers_without_statistics():
    with pytest.raises(TypeError, match="LayerNorm keeps no running statistics"):
        NormalizationRecorder(nn.LayerNorm(2))
    with pytest.raises(ValueError, match="nothing recorded"):
        NormalizationRecorder(RunningNorm(2)).trace(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="every must be at least 1"):
        NormalizationRecorder(RunningNorm(2), every=0)


def test_reward_network_output_is_traced(rng):
    class Base:
        def predict_processed(self, state, action, next_state, done, update_stats=True):
            assert not update_stats
            return state[:, 0] * 2

    net = SimpleNamespace(base=Base(), normalize_output_layer=RunningNorm(1))
    obs = rng.normal(size=(100, 3)).astype(np.float32)
    data = SimpleNamespace(obs=obs, acts=np.zeros(100), next_obs=obs, dones=np.zeros(100, bool))
    trace = NormalizationTrace.from_reward_net(net, data, batch_size=30)
    assert trace.features == ("reward",)
    assert trace.series["RunningNorm", True].count[-1] == 100
    np.testing.assert_allclose(trace.series["RunningNorm", True].mean[-1], 2 * obs[:, 0].mean(), rtol=1e-4)
    with pytest.raises(TypeError, match="expected a NormalizedRewardNet"):
        NormalizationTrace.from_reward_net(Base(), data)


def test_the_trace_of_a_reward_network_is_what_predict_processed_gives(rng):
    obs = rng.normal(size=(90, 3)).astype(np.float32)
    acts, dones = rng.integers(2, size=90), np.zeros(90, bool)
    data = SimpleNamespace(obs=obs, acts=acts, next_obs=obs, dones=dones)
    core = BasicRewardNet(spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    for norm in (RunningNorm, EMANorm):
        net = NormalizedRewardNet(core, norm)
        trace = NormalizationTrace.from_reward_net(net, data, batch_size=30)
        assert net.normalize_output_layer.count == 0
        series = trace.series[norm.__name__, True]
        for i in range(3):
            rows = slice(30 * i, 30 * i + 30)
            rewards = net.predict_processed(obs[rows], acts[rows], obs[rows], dones[rows])
            assert series.output_mean[i, 0] == pytest.approx(rewards.mean(), rel=1e-4, abs=1e-6)
            assert series.mean[i, 0] == pytest.approx(net.normalize_output_layer.running_mean.item(), rel=1e-5)
        frozen = trace.series[norm.__name__, False]
        assert frozen.output_mean[0, 0] == pytest.approx(series.output_mean[0, 0])
        assert (frozen.count == 30).all()


def test_the_normalization_is_found_anywhere_in_the_chain(rng):
    spaces_ = spaces.Dict({"x": spaces.Box(-1, 1, (2,))}), spaces.Discrete(2)
    inner = NormalizedRewardNet(BasicRewardNet(*spaces_), RunningNorm)
    ensemble = RewardEnsemble(*spaces_, [inner, BasicRewardNet(*spaces_)])
    outer = PlusOne(NormalizedRewardNet(AddSTDRewardWrapper(ensemble, 1.0), RunningNorm))
    obs = DictObs({"x": rng.normal(size=(20, 2)).astype(np.float32)})
    data = SimpleNamespace(obs=obs, acts=np.zeros(20, int), next_obs=obs, dones=np.zeros(20, bool))
    trace = NormalizationTrace.from_reward_net(outer, data, batch_size=10)
    assert trace.series["RunningNorm", True].count[-1] == 20
    assert inner.normalize_output_layer.count == 0


class PlusOne(PredictProcessedWrapper):
    def predict_processed(self, state, action, next_state, done, **kwargs):
        return self.base.predict_processed(state, action, next_state, done, **kwargs) + 1
