"""The loss of behavioral cloning against numbers derived by hand, and its short path against SB3's."""

import dataclasses
import math

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.algorithms import bc
from imitation_lab.algorithms._shared.likelihood import log_prob_and_entropy

BOX_OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
BOX_ACT = spaces.Box(-2.0, 2.0, (2,), np.float32)
ACT_SPACES = {
    "box": BOX_ACT,
    "matrix": spaces.Box(-1, 1, (2, 2), np.float32),
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
}


class TestLoss:
    """A policy whose last layer is set by hand has a known distribution in every state."""

    def _policy(self, act_space, bias):
        policy = ActorCriticPolicy(BOX_OBS, act_space, lambda _: 1.0, net_arch=[4])
        with th.no_grad():
            for weight in policy.parameters():
                weight.zero_()
            policy.action_net.bias.copy_(th.as_tensor(bias))
        return policy

    def test_categorical(self):
        policy = self._policy(spaces.Discrete(3), np.log([0.5, 0.3, 0.2]))
        metrics = bc.BehaviorCloningLossCalculator(0.1, 0.01)(policy, np.zeros((2, 3), np.float32), np.array([0, 2]))
        neglogp = -(math.log(0.5) + math.log(0.2)) / 2
        entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
        l2 = 0.5 * sum(math.log(p) ** 2 for p in (0.5, 0.3, 0.2))
        expected = (neglogp, entropy, -0.1 * entropy, (0.5 + 0.2) / 2, l2, 0.01 * l2)
        got = [getattr(metrics, f.name).item() for f in dataclasses.fields(metrics)]
        assert got == pytest.approx([*expected, neglogp - 0.1 * entropy + 0.01 * l2], abs=1e-6)

    def test_gaussian(self):
        policy = self._policy(BOX_ACT, [1.0, -1.0])
        with th.no_grad():
            policy.log_std.copy_(th.tensor([0.0, math.log(2.0)]))
        acts = np.array([[1.0, 1.0], [2.0, -1.0]], np.float32)
        metrics = bc.BehaviorCloningLossCalculator(0.5, 0.0)(policy, np.zeros((2, 3), np.float32), acts)
        # z² per row: (0 + 1) and (1 + 0); each density is exp(−½ z²) / (2π · 1 · 2).
        neglogp = 0.5 + math.log(2 * math.pi) + math.log(2)
        entropy = 1 + math.log(2 * math.pi) + math.log(2)
        assert metrics.neglogp.item() == pytest.approx(neglogp, abs=1e-6)
        assert metrics.entropy.item() == pytest.approx(entropy, abs=1e-6)
        assert metrics.prob_true_act.item() == pytest.approx(math.exp(-0.5) / (4 * math.pi), abs=1e-7)
        assert metrics.l2_norm.item() == pytest.approx(0.5 * (1 + 1 + math.log(2) ** 2), abs=1e-6)
        assert metrics.l2_loss.item() == 0
        assert metrics.loss.item() == pytest.approx(neglogp - 0.5 * entropy, abs=1e-6)

    @pytest.mark.parametrize("act_space", ACT_SPACES.values(), ids=ACT_SPACES)
    def test_the_short_path_agrees_with_evaluate_actions(self, act_space):
        th.manual_seed(0)
        policy = ActorCriticPolicy(BOX_OBS, act_space, lambda _: 1.0, ortho_init=False)
        obs = th.randn(16, 3)
        act_space.seed(0)
        acts = th.as_tensor(np.stack([act_space.sample() for _ in range(16)]))
        acts = acts.float().flatten(1) if isinstance(act_space, spaces.Box) else acts
        log_prob, entropy = log_prob_and_entropy(policy, obs, acts)
        _, expected, expected_entropy = policy.evaluate_actions(obs, acts.float())
        th.testing.assert_close(log_prob, expected, rtol=1e-5, atol=1e-6)
        th.testing.assert_close(entropy, expected_entropy.mean(), rtol=1e-5, atol=1e-6)
        actor = [w for name, w in policy.named_parameters() if "value" not in name]
        short = th.autograd.grad(log_prob.mean() + entropy, actor)
        full = th.autograd.grad(expected.mean() + expected_entropy.mean(), actor)
        for a, b in zip(short, full, strict=True):
            th.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)

    def test_policies_that_override_evaluate_actions_are_asked(self):
        class Shifted(ActorCriticPolicy):
            def evaluate_actions(self, obs, actions):
                values, log_prob, _ = super().evaluate_actions(obs, actions)
                return values, log_prob - 100, None

        policy = Shifted(BOX_OBS, BOX_ACT, lambda _: 1.0)
        metrics = bc.BehaviorCloningLossCalculator(1.0, 0.0)(policy, np.zeros((1, 3), np.float32), np.zeros((1, 2)))
        assert metrics.neglogp.item() > 90
        assert metrics.entropy is None
        assert metrics.loss.item() == metrics.neglogp.item()

    @pytest.mark.parametrize("weights", [(0.0, 0.0), (0.1, 0.0), (0.1, 0.01)])
    def test_metrics_do_not_change_the_gradients(self, weights):
        policy = ActorCriticPolicy(BOX_OBS, BOX_ACT, lambda _: 1.0)
        calculator = bc.BehaviorCloningLossCalculator(*weights)
        grads = []
        for loss in (calculator.loss, lambda *args: calculator(*args).loss):
            policy.zero_grad()
            loss(policy, th.ones(4, 3), th.ones(4, 2)).backward()
            grads.append([w.grad for w in policy.parameters()])
        for a, b in zip(*grads, strict=True):
            assert (a is None and b is None) or th.equal(a, b)
        metrics = calculator(policy, th.ones(4, 3), th.ones(4, 2))
        assert [f.name for f in dataclasses.fields(metrics) if getattr(metrics, f.name).requires_grad] == ["loss"]
