"""The preference model against formulas by hand."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.preference_comparisons.model import Together
from imitation_lab.data import rollout, types
from imitation_lab.rewards import reward_nets
from imitation_lab.util import networks

OBS = gym.spaces.Box(-10, 10, (2,), np.float32)
ACT = gym.spaces.Discrete(2)


def fragment(states, rews=None):
    obs = np.array([*states, [9, 9]], dtype=np.float32)
    acts = np.zeros(len(states), dtype=np.int64)
    if rews is None:
        return types.Trajectory(obs, acts, None, False)
    return types.TrajectoryWithRew(obs, acts, None, False, np.array(rews, dtype=np.float32))


def test_probability_and_gradient_by_hand(linear) -> None:
    # r = s0 / 2 − s1: rewards (0.5, −0.5) and (0.25,); with γ = 0.5 returns 0.25 and 0.25 − …
    first, second = fragment([[1, 0], [1, 1]], [1, 2]), fragment([[0.5, 0.5]], [3])
    model = pc.PreferenceModel(linear, noise_prob=0.2, discount_factor=0.5)
    probs, true = model([(first, second)])
    # returns: 0.5 + 0.5 · (−0.5) = 0.25, and −0.25; the difference is 0.5
    sigma = 1 / (1 + math.exp(-0.5))
    assert probs.tolist() == pytest.approx([0.1 + 0.8 * sigma])
    # true returns: 1 + 0.5 · 2 = 2, and 3
    assert true.tolist() == pytest.approx([0.1 + 0.8 / (1 + math.exp(1))])
    probs.sum().backward()
    # dP/dw = 0.8 σ(1 − σ) (Σ γᵗ s₁ₜ − Σ γᵗ s₂ₜ), the sums (1.5, 0.5) and (0.5, 0.5)
    assert linear.w.grad.tolist() == pytest.approx([0.8 * sigma * (1 - sigma), 0.0])


def test_clipped_differences_have_no_gradient(linear) -> None:
    model = pc.PreferenceModel(linear, threshold=3)
    probs, true = model([(fragment([[10, 0]]), fragment([[0, 0]]))])
    assert true is None
    assert probs.item() == pytest.approx(1 / (1 + math.exp(-3)))
    probs.sum().backward()
    assert linear.w.grad.tolist() == [0, 0]


def test_probability_of_rewards_of_unequal_length(linear) -> None:
    model = pc.PreferenceModel(linear, discount_factor=0.9)
    p = model.probability(th.tensor([1.0, 2.0, 3.0]), th.tensor([4.0]))
    assert p.item() == pytest.approx(1 / (1 + math.exp(4 - (1 + 1.8 + 2.43))))
    both = model.probability(th.tensor([[1.0, 0.0], [1.0, 0.0]]), th.tensor([[0.0, 1.9]]))
    assert both.tolist() == pytest.approx([1 / (1 + math.exp(-1.9)), 1 / (1 + math.exp(1.9))])


def test_no_saturation_at_large_differences() -> None:
    d = th.tensor([40.0, -40.0], requires_grad=True)
    losses = pc.cross_entropy(d, th.tensor([0.0, 1.0]))
    assert losses.tolist() == [40, 40]
    losses.sum().backward()
    assert d.grad.tolist() == [1, -1]


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_cross_entropy_is_that_of_the_probability(noise: float) -> None:
    d = th.linspace(-4, 4, 9, dtype=th.float64, requires_grad=True)
    y = th.tensor([0, 0.5, 1] * 3, dtype=th.float64)
    p = noise / 2 + (1 - noise) * th.sigmoid(d)
    expected = th.nn.functional.binary_cross_entropy(p, y, reduction="none")
    found = pc.cross_entropy(d, y, noise)
    th.testing.assert_close(found, expected)
    (grad_found,) = th.autograd.grad(found.sum(), d)
    (grad_expected,) = th.autograd.grad(expected.sum(), d)
    th.testing.assert_close(grad_found, grad_expected)


def test_gradient_of_the_loss_is_sigma_minus_label(linear) -> None:
    pairs = [(fragment([[1, 0]], [1]), fragment([[0, 1]], [0])), (fragment([[0, 0]], [0]), fragment([[2, 1]], [0]))]
    loss, metrics = pc.CrossEntropyRewardLoss()(pairs, np.array([0, 0.5]), pc.PreferenceModel(linear))
    loss.backward()
    # differences 0.5 − (−1) = 1.5 and 0 − 0 = 0; differences of states (1, −1) and (−2, −1); a mean over two pairs
    first, second = 1 / (1 + math.exp(-1.5)) - 0, 0.5 - 0.5
    expected = [(first * 1 + second * -2) / 2, (first * -1 + second * -1) / 2]
    assert linear.w.grad.tolist() == pytest.approx(expected)
    assert loss.item() == pytest.approx((math.log1p(math.exp(1.5)) + math.log(2)) / 2)
    assert metrics["accuracy"].item() == 0.25  # one wrong; a tie, predicted as a tie, is half right
    assert metrics["gt_reward_loss"].item() == pytest.approx((math.log1p(math.exp(1)) + math.log(2)) / 2)
    assert not metrics["accuracy"].requires_grad


def test_a_model_of_the_users_own_is_asked_for_probabilities(linear, make_pairs) -> None:
    class Certain(pc.PreferenceModel):
        def forward(self, fragment_pairs):
            return th.full((len(fragment_pairs),), 0.8, requires_grad=True), None

    loss, metrics = pc.CrossEntropyRewardLoss()(make_pairs(2), np.array([1.0, 0.0]), Certain(linear))
    assert loss.item() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert set(metrics) == {"accuracy"}


def test_numbers_of_pairs_and_preferences_must_agree(linear, make_pairs) -> None:
    with pytest.raises(ValueError, match="preferences of shape \\(3,\\) for 2 pairs"):
        pc.CrossEntropyRewardLoss()(make_pairs(2), np.zeros(3), pc.PreferenceModel(linear))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lengths", [(5,), (3, 7, 1)])
def test_one_pass_equals_pair_by_pair(make_pairs, lengths, gamma: float) -> None:
    net = reward_nets.BasicRewardNet(OBS, ACT, use_next_state=True, use_done=True)
    model = pc.PreferenceModel(net, discount_factor=gamma)
    pairs = make_pairs(6, lengths)
    probs, _ = model(pairs)
    for i, pair in enumerate(pairs):
        rews = [model.rewards(rollout.flatten_trajectories([f])) for f in pair]
        assert model.probability(*rews).item() == pytest.approx(probs[i].item(), abs=1e-6)


@pytest.mark.parametrize("lengths", [(5,), (3, 7, 1)])
def test_batches_of_batches(make_pairs, lengths) -> None:
    model = pc.PreferenceModel(reward_nets.BasicRewardNet(OBS, ACT, use_next_state=True, use_done=True))
    pairs = make_pairs(6, lengths)
    whole, true = model(pairs)
    batch = model.batch(pairs)
    part = batch.take(np.array([4, 1, 1]))
    probs, part_true = model(part)
    th.testing.assert_close(probs, whole[[4, 1, 1]])
    th.testing.assert_close(part_true, true[[4, 1, 1]])
    assert [pair is pairs[i] for pair, i in zip(part, (4, 1, 1), strict=True)] == [True] * 3
    assert batch[2] is pairs[2]
    assert len(batch[1:3]) == 2


def test_no_padding_reaches_the_network(make_pairs) -> None:
    net = reward_nets.BasicRewardNet(OBS, ACT, normalize_input_layer=networks.RunningNorm)
    net.train()
    pc.PreferenceModel(net)(make_pairs(3, (2, 6)))
    assert net.mlp[0].count == 3 * 8


def test_many_rows_without_gradients_equal_one_pass(make_pairs) -> None:
    ensemble = reward_nets.RewardEnsemble(OBS, ACT, [reward_nets.BasicRewardNet(OBS, ACT) for _ in range(2)])
    model = pc.PreferenceModel(ensemble)
    pairs = make_pairs(30, (100,))
    with th.no_grad():
        chunks = model(pairs)[0]
    th.testing.assert_close(chunks, model(pairs)[0])
    assert chunks.shape == (30, 2)


SPACES = {
    "dict": gym.spaces.Dict({"a": OBS, "b": gym.spaces.Discrete(3)}),
    "discrete": gym.spaces.Discrete(4),
    "multi_binary": gym.spaces.MultiBinary(3),
    "image_hwc": gym.spaces.Box(0, 255, (8, 8, 3), np.uint8),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("lengths", [(4,), (4, 2)])
def test_observation_spaces(make_pairs, silent, name: str, lengths) -> None:
    cls = reward_nets.CnnRewardNet if "image" in name else reward_nets.BasicRewardNet
    net = cls(SPACES[name], ACT, use_next_state=True)
    pairs = make_pairs(3, lengths, space=SPACES[name])
    model = pc.PreferenceModel(net)
    probs, _ = model(pairs)
    probs.sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in net.parameters())
    with th.no_grad():
        for i, pair in enumerate(pairs):
            rews = [model.rewards(rollout.flatten_trajectories([f])) for f in pair]
            assert model.probability(*rews).item() == pytest.approx(probs[i].item(), abs=1e-6)
    dataset = pc.PreferenceDataset()
    dataset.push(pairs, np.array([1, 0, 0.5]))
    trainer = pc.BasicRewardTrainer(model, pc.CrossEntropyRewardLoss(), np.random.default_rng(0), custom_logger=silent)
    assert np.isfinite(trainer.train(dataset)["train/loss"])


@pytest.mark.cuda
@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("lengths", [(4,), (4, 2)])
def test_cuda(make_pairs, silent, lengths) -> None:
    ensemble = reward_nets.RewardEnsemble(OBS, ACT, [reward_nets.BasicRewardNet(OBS, ACT) for _ in range(2)])
    pairs = make_pairs(6, lengths)
    expected = pc.PreferenceModel(ensemble)(pairs)[0].detach()
    model = pc.PreferenceModel(ensemble.to("cuda"))
    th.testing.assert_close(model(pairs)[0].detach().cpu(), expected)
    dataset = pc.PreferenceDataset()
    dataset.push(pairs, np.ones(6))
    trainer = pc.EnsembleTrainer(model, pc.CrossEntropyRewardLoss(), np.random.default_rng(0), 4, custom_logger=silent)
    assert np.isfinite(trainer.train(dataset)["train/loss"])


def test_rewards_of_an_ensemble_are_what_its_members_are_trained_on(make_pairs) -> None:
    members = [
        reward_nets.NormalizedRewardNet(reward_nets.BasicRewardNet(OBS, ACT), networks.RunningNorm) for _ in range(3)
    ]
    ensemble = reward_nets.RewardEnsemble(OBS, ACT, members)
    model = pc.PreferenceModel(reward_nets.AddSTDRewardWrapper(ensemble))
    assert model.ensemble_model is ensemble
    transitions = rollout.flatten_trajectories(make_pairs(1)[0])
    rewards = model.rewards(transitions)
    arguments = (transitions.obs, transitions.acts, transitions.next_obs, transitions.dones)
    assert rewards.shape == (10, 3)
    for i, member in enumerate(members):
        np.testing.assert_allclose(rewards[:, i].detach(), member.base.predict(*arguments), rtol=1e-5)
        assert member.normalize_output_layer.count == 0


@pytest.mark.parametrize("kind", ["basic", "shaped", "norm", "conv", "own", "unlike"])
def test_members_together(kind: str, linear, rng) -> None:
    make = {
        "basic": lambda i: reward_nets.BasicRewardNet(OBS, ACT, use_done=True),
        "shaped": lambda i: reward_nets.BasicShapedRewardNet(OBS, ACT),
        "norm": lambda i: reward_nets.BasicRewardNet(OBS, ACT, normalize_input_layer=networks.RunningNorm),
        "conv": lambda i: reward_nets.CnnRewardNet(SPACES["image_hwc"], ACT),
        "own": lambda i: type(linear)(OBS, ACT),
        "unlike": lambda i: reward_nets.BasicRewardNet(OBS, ACT, hid_sizes=(4 + i,)),
    }[kind]
    members = [make(i) for i in range(3)]
    together = Together.of(members)
    if kind not in ("basic", "shaped"):
        assert together is None
        return
    from imitation_lab.algorithms.preference_comparisons._batch import Transitions

    state, next_state = th.randn(2, 12, 2)
    rows = Transitions(state, th.randint(2, (12,)), next_state, th.rand(12) < 0.3)
    expected = th.stack([m(*m.preprocess(*rows)) for m in members])
    th.testing.assert_close(together.shared(rows), expected)
    blocks = [Transitions(*(x[i * 4 : (i + 1) * 4] for x in rows)) for i in range(3)]
    own = th.stack([m(*m.preprocess(*block)) for m, block in zip(members, blocks, strict=True)])
    found = together.each(rows)
    th.testing.assert_close(found, own)
    grads = [th.autograd.grad(x.square().sum(), [p for m in members for p in m.parameters()]) for x in (found, own)]
    for a, b in zip(*grads, strict=True):
        th.testing.assert_close(a, b)


def test_wrappers_around_an_ensemble() -> None:
    ensemble = reward_nets.RewardEnsemble(OBS, ACT, [reward_nets.BasicRewardNet(OBS, ACT) for _ in range(2)])
    with pytest.raises(ValueError, match="can only be wrapped by AddSTDRewardWrapper, but found NormalizedRewardNet"):
        pc.PreferenceModel(reward_nets.NormalizedRewardNet(ensemble, networks.RunningNorm))
    std = reward_nets.AddSTDRewardWrapper(ensemble)
    outside = pc.PreferenceModel(reward_nets.NormalizedRewardNet(std, networks.RunningNorm))
    assert outside.ensemble_model is ensemble
    assert pc.get_base_model(std) is ensemble


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"noise_prob": 1.5}, "noise_prob must lie in"),
        ({"discount_factor": 0}, "discount_factor must lie in \\(0, 1\\]"),
        ({"threshold": -1}, "threshold must be positive"),
    ],
)
def test_bad_numbers(linear, kwargs, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        pc.PreferenceModel(linear, **kwargs)


def test_nothing_to_compare(linear) -> None:
    with pytest.raises(ValueError, match="no pairs of fragments"):
        pc.PreferenceModel(linear)([])
    with pytest.raises(TypeError, match="needs a RewardNet"):
        pc.PreferenceModel(th.nn.Linear(1, 1))


def test_fragments_of_different_environments(linear, make_pairs) -> None:
    other = make_pairs(1, space=gym.spaces.Box(0, 1, (3,), np.float32))
    with pytest.raises(ValueError, match="differ in the shape of obs"):
        pc.PreferenceModel(linear)(make_pairs(1) + other)
