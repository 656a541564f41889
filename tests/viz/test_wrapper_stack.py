import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
    RewardNet,
    ShapedRewardNet,
)
from imitation_lab.util.networks import RunningNorm
from imitation_lab.viz.tables import text_table
from imitation_lab.viz.wrapper_stack import RewardStack, stack_layers, stack_rows, wrapper_stack_figure

BOX, TWO = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2)


class FirstState(RewardNet):
    def forward(self, state, action, next_state, done):
        return state[:, 0]


def first(states):
    return 10 * states[:, 0]


@pytest.fixture
def batch(rng):
    state, next_state = rng.uniform(-1, 1, (2, 6, 2)).astype(np.float32)
    return state, rng.integers(2, size=6), next_state, np.zeros(6, bool)


def test_each_call_sees_the_wrappers_that_concern_it(batch):
    state, _, next_state, _ = batch
    net = NormalizedRewardNet(ShapedRewardNet(FirstState(BOX, TWO), first, 0.5), RunningNorm)
    net.normalize_output_layer.update_stats(th.tensor([[1.0], [3.0]]))  # mean 2, variance 1
    inner, shaped, outer = stack_layers(net, batch)
    shaping = state[:, 0] + 5 * next_state[:, 0] - 10 * state[:, 0]
    assert (inner.kind, shaped.kind, outer.kind) == ("network", "ForwardWrapper", "PredictProcessedWrapper")
    for call in ("forward", "predict", "predict_processed"):
        np.testing.assert_allclose(inner.values[call], state[:, 0], rtol=1e-6)
        np.testing.assert_allclose(shaped.values[call], shaping, rtol=1e-5)
    np.testing.assert_allclose(outer.values["forward"], shaping, rtol=1e-5)
    np.testing.assert_allclose(outer.values["predict"], shaping, rtol=1e-5)
    np.testing.assert_allclose(outer.values["predict_processed"], shaping - 2, rtol=1e-4, atol=1e-4)
    assert outer.statistics == (2.0, 1.0, 2.0)
    assert net.normalize_output_layer.count == 2  # looking changes nothing
    assert net.training

    top = stack_rows([inner, shaped, outer], transition=3)[0]
    assert top["layer, outermost first"] == "NormalizedRewardNet"
    assert top["predict_processed"] == pytest.approx(float(shaping[3]) - 2, rel=1e-3)
    assert "ShapedRewardNet" in text_table(stack_rows([inner, shaped, outer]))


def test_norms_inside_the_network_are_left_alone(batch):
    net = BasicRewardNet(BOX, TWO, normalize_input_layer=RunningNorm)
    stack_layers(net, batch)
    assert net.mlp[0].count == 0


def test_ensembles_have_no_forward(batch):
    ensemble = RewardEnsemble(BOX, TWO, [BasicRewardNet(BOX, TWO) for _ in range(3)])
    layers = stack_layers(AddSTDRewardWrapper(ensemble, default_alpha=2.0), batch)
    assert [layer.values["forward"] for layer in layers] == ["NotImplementedError"] * 2
    mean, variance = ensemble.predict_reward_moments(*batch)
    np.testing.assert_allclose(layers[1].values["predict_processed"], mean + 2 * np.sqrt(variance), rtol=1e-5)
    figure = wrapper_stack_figure(layers, 2)
    assert [text.get_text() for text in figure.axes[0].texts] == ["NotImplementedError"] * 2
    assert len(figure.axes[1].lines) == 6 + 1


def test_the_picture_shows_the_values(batch):
    layers = stack_layers(NormalizedRewardNet(FirstState(BOX, TWO), RunningNorm), batch)
    figure = wrapper_stack_figure(layers, 4)
    bold = figure.axes[2].lines[-1]
    np.testing.assert_allclose(bold.get_xdata(), [layer.values["predict_processed"][4] for layer in layers])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["FirstState", "NormalizedRewardNet"]
    assert "FirstState, NormalizedRewardNet, innermost first" in figure.alt


def test_a_stack_is_built_as_far_as_it_is_legal(batch):
    base = FirstState(BOX, TWO)
    stack = RewardStack(base, batch, batch_size=3)
    assert stack.n_batches == 2
    stack.build(["shaping", "RunningNorm"])
    assert repr(stack) == "RewardStack(NormalizedRewardNet(ShapedRewardNet(FirstState)))"
    assert stack.error is None
    assert stack.layers()[-1].statistics[2] == 6  # all transitions, once
    stack.update(1)
    assert stack.layers()[-1].statistics[2] == 9
    stack.build(["RunningNorm", "shaping", "EMANorm"])
    assert stack.error.startswith("ValueError: ShapedRewardNet is a ForwardWrapper and cannot wrap NormalizedRewardNet")
    assert repr(stack) == "RewardStack(NormalizedRewardNet(FirstState))"
    stack.build(["added std"])
    assert "needs the variance" in stack.error
    assert stack.net is not base


def test_own_wrappers_and_several_networks(batch):
    stack = RewardStack(
        {"a": FirstState(BOX, TWO), "b": BasicRewardNet(BOX, TWO)},
        batch,
        wrappers={"ten": lambda base: ShapedRewardNet(base, first, 1.0)},
    )
    stack.build(["ten", "ten"], base="b")
    assert repr(stack) == "RewardStack(ShapedRewardNet(ShapedRewardNet(BasicRewardNet)))"


def test_mistakes_are_named(batch):
    stack = RewardStack(FirstState(BOX, TWO), batch)
    with pytest.raises(ValueError, match="unknown wrapper 'x'; there are"):
        stack.build(["x"])
    with pytest.raises(ValueError, match="unknown network 'y'"):
        stack.build([], base="y")
    with pytest.raises(ValueError, match=r"batch must lie in \[0, 1\), got 1"):
        stack.batch(1)
    with pytest.raises(ValueError, match="got 3 parts"):
        stack_layers(FirstState(BOX, TWO), batch[:3])
    with pytest.raises(ValueError, match="got none"):
        RewardStack(FirstState(BOX, TWO), tuple(part[:0] for part in batch))
