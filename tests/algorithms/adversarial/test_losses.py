import math

import pytest
import torch as th
from torch import nn

from imitation_lab.algorithms.adversarial import losses, penalties
from imitation_lab.algorithms.adversarial.common import compute_train_stats

LN2, LN3 = math.log(2), math.log(3)


def test_loss_and_metrics_by_hand():
    # D = 3/4 and 1/2 for the expert, 1/4 and 3/4 for the learner.
    logits = th.tensor([LN3, -1e-9, -LN3, LN3])
    labels = th.tensor([1.0, 1.0, 0.0, 0.0])
    loss, metrics = losses.discriminator_loss(logits, labels)
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(3 / 4) + math.log(1 / 4)) / 4
    assert loss.item() == pytest.approx(expected)
    entropy_quarter = -(3 / 4 * math.log(3 / 4) + 1 / 4 * math.log(1 / 4))
    numbers = {name: value.item() for name, value in metrics.items()}
    assert numbers == pytest.approx(
        {
            "disc_loss": expected,
            "disc_acc": 0.5,
            "disc_acc_expert": 0.5,
            "disc_acc_gen": 0.5,
            "disc_entropy": (3 * entropy_quarter + LN2) / 4,
            "disc_proportion_expert_true": 0.5,
            "disc_proportion_expert_pred": 0.5,
            "n_expert": 2,
            "n_generated": 2,
        }
    )


def test_train_stats_are_numbers_of_an_unbalanced_batch():
    stats = compute_train_stats(th.tensor([1.0, -1.0, -1.0]), th.tensor([1.0, 0.0, 0.0]), th.tensor(0.25))
    assert stats["disc_loss"] == 0.25
    assert stats["disc_acc"] == 1.0
    assert stats["disc_proportion_expert_true"] == pytest.approx(1 / 3)
    assert stats["disc_proportion_expert_pred"] == pytest.approx(1 / 3)
    assert (stats["n_expert"], stats["n_generated"]) == (1, 2)
    assert all(isinstance(value, float | int) for value in stats.values())


def test_the_gradient_raises_the_experts_logits():
    logits = th.zeros(2, requires_grad=True)
    loss, _ = losses.discriminator_loss(logits, th.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(LN2)
    assert logits.grad.tolist() == pytest.approx([-0.25, 0.25])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # D = 3/4 at ln 3, 1/4 at −ln 3.
        ("gail", [math.log(4), math.log(4 / 3)]),
        ("log_d", [math.log(3 / 4), math.log(1 / 4)]),
        ("airl", [LN3, -LN3]),
        ("fairl", [-3 * LN3, LN3 / 3]),
    ],
)
def test_logit_to_reward_by_hand(form, expected):
    rewards = losses.LOGIT_TO_REWARD[form](th.tensor([LN3, -LN3]))
    assert rewards.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("form", losses.LOGIT_TO_REWARD)
def test_rewards_and_gradients_are_finite_at_80(form):
    logits = th.tensor([80.0, -80.0], requires_grad=True)
    rewards = losses.LOGIT_TO_REWARD[form](logits)
    rewards.sum().backward()
    assert th.isfinite(rewards).all()
    assert th.isfinite(logits.grad).all()


def test_rewards_at_80():
    logits = th.tensor([80.0, -80.0])
    assert losses.gail_reward(logits).tolist() == pytest.approx([80.0, math.exp(-80)], rel=1e-5)
    assert losses.log_d_reward(logits).tolist() == pytest.approx([-math.exp(-80), -80.0], rel=1e-5)
    assert losses.fairl_reward(logits)[1].item() == pytest.approx(80 * math.exp(-80), rel=1e-5)
    assert losses.fairl_reward(logits)[0].item() == pytest.approx(-20 * math.exp(20), rel=1e-5)
    assert losses.fairl_reward(logits[:1], max_logit=2.0).item() == pytest.approx(-2 * math.exp(2))


def test_loss_is_finite_at_80():
    loss, metrics = losses.discriminator_loss(th.tensor([-80.0, 80.0]), th.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(80.0)
    assert all(th.isfinite(value).all() for value in metrics.values())


def quadratic(state, action, next_state, done):
    return 0.5 * (state.square().sum(1) + action.square().sum(1)) + 0 * done


def batch(state, action):
    state, action = th.tensor(state), th.tensor(action)
    return state, action, th.zeros_like(state), th.zeros(len(state))


def test_r1_by_hand():
    # The gradient of the quadratic is its input: |(3, 0, 4)|² = 25, |(1, 0, 0)|² = 1.
    expert = batch([[3.0, 0.0], [1.0, 0.0]], [[4.0], [0.0]])
    learner = batch([[9.0, 9.0], [9.0, 9.0]], [[9.0], [9.0]])
    value = penalties.R1Penalty(weight=2.0)(quadratic, expert, learner)
    assert value.item() == pytest.approx(0.5 * 2 * (25 + 1) / 2)


def test_wgan_gp_by_hand():
    # Where expert and learner agree, every mixture is that point: (5 − 1)² and (1 − 1)².
    both = batch([[3.0, 0.0], [1.0, 0.0]], [[4.0], [0.0]])
    assert penalties.WGANGPPenalty(weight=10.0)(quadratic, both, both).item() == pytest.approx(10 * 16 / 2, rel=1e-5)


def test_wgan_gp_mixes_between_both():
    expert, learner = batch([[1.0]] * 2000, [[0.0]] * 2000), batch([[3.0]] * 2000, [[0.0]] * 2000)
    th.manual_seed(0)
    # |gradient| is uniform on [1, 3]: E(u − 1)² = 4/3.
    assert penalties.WGANGPPenalty(1.0)(quadratic, expert, learner).item() == pytest.approx(4 / 3, rel=0.05)


def test_penalty_gradients_reach_the_network():
    weight = nn.Parameter(th.tensor([2.0]))

    def net(state, action, next_state, done):
        return weight * state["a"].squeeze(1)

    inputs = ({"a": th.ones(3, 1)}, th.zeros(3, 1), {"a": th.ones(3, 1)}, th.zeros(3))
    penalties.R1Penalty(1.0)(net, inputs, inputs).backward()  # w²/2, of which the derivative is w
    assert weight.grad.item() == pytest.approx(2.0)


def test_spectral_normalization_bounds_and_bakes():
    th.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    with th.no_grad():
        for parameter in net.parameters():
            parameter.mul_(10)
    assert penalties.spectral_normalize(net) is net
    penalties.spectral_normalize(net)  # a second time changes nothing
    x = th.randn(4, 3)
    for _ in range(50):
        net(x)
    net.eval()
    outputs = net(x)
    penalties.bake_spectral_norm(net)
    assert th.allclose(net(x), outputs)
    assert th.linalg.matrix_norm(net[0].weight, 2).item() == pytest.approx(1.0, abs=1e-3)
    assert set(net.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
