"""Reward trainers: gradients, batches, ensembles, regularization."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.regularization import regularizers, updaters
from imitation_lab.rewards import reward_nets
from imitation_lab.util import networks

OBS = gym.spaces.Box(-10, 10, (2,), np.float32)
ACT = gym.spaces.Discrete(2)


@pytest.fixture
def dataset(make_pairs) -> pc.PreferenceDataset:
    """60 pairs, labelled by the true reward, the first feature of the state."""
    pairs = make_pairs(60)
    data = pc.PreferenceDataset()
    data.push(pairs, np.array([float(a.rews.sum() > b.rews.sum()) for a, b in pairs]))
    return data


def make_ensemble(n: int = 3, cls=reward_nets.BasicRewardNet, **kwargs) -> reward_nets.RewardEnsemble:
    with th.random.fork_rng():
        th.manual_seed(0)
        return reward_nets.RewardEnsemble(OBS, ACT, [cls(OBS, ACT, **kwargs) for _ in range(n)])


def trainer(net, silent, cls=pc.BasicRewardTrainer, seed: int = 0, **kwargs):
    kwargs = {"loss": pc.CrossEntropyRewardLoss(), "custom_logger": silent, **kwargs}
    return cls(pc.PreferenceModel(net), rng=np.random.default_rng(seed), **kwargs)


def state(net) -> list[th.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def assert_alike(net, other) -> None:
    """Up to rounding. A constant added to all rewards has no effect on the loss, and its gradient is noise alone."""
    for a, b in zip(state(net), state(other), strict=True):
        if a.numel() > 1:
            th.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_learns_the_order(dataset, silent) -> None:
    net = reward_nets.BasicRewardNet(OBS, ACT)
    result = trainer(net, silent, epochs=30, lr=3e-3).train(dataset)
    assert result["train/accuracy"] > 0.95
    assert result["train/loss"] < 0.3
    states = np.random.default_rng(3).uniform(-10, 10, (200, 2)).astype(np.float32)
    learned = net.predict(states, np.zeros(200, dtype=np.int64), states, np.zeros(200, dtype=bool))
    assert np.corrcoef(learned, states[:, 0])[0, 1] > 0.8


def test_one_step_by_hand(make_pairs, linear, silent) -> None:
    data = pc.PreferenceDataset()
    pairs = make_pairs(4)
    data.push(pairs, np.array([1, 0, 0.5, 1]))
    twin = copy.deepcopy(linear)
    loss = pc.CrossEntropyRewardLoss()(pairs, data.preferences, pc.PreferenceModel(twin)).loss
    loss.backward()
    trainer(linear, silent, lr=0.01).train(data)
    # Adam's first step has the size of the learning rate, against the sign of the gradient
    th.testing.assert_close(linear.w.detach(), twin.w.detach() - 0.01 * twin.w.grad.sign(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("minibatch_size", [1, 5])
def test_minibatches_do_not_change_the_step(dataset, silent, minibatch_size: int) -> None:
    # 60 pairs in batches of 25: the last batch is smaller
    nets = [reward_nets.BasicRewardNet(OBS, ACT).double()]
    nets.append(copy.deepcopy(nets[0]))
    for net, size in zip(nets, (None, minibatch_size), strict=True):
        trainer(net, silent, batch_size=25, minibatch_size=size, epochs=2).train(dataset)
    assert_alike(*nets)


def test_bit_equal_with_equal_seeds(dataset, silent) -> None:
    results = []
    for seed in (0, 0, 1):
        net = make_ensemble(2)
        trainer(net, silent, pc.EnsembleTrainer, seed, epochs=2, batch_size=16).train(dataset)
        results.append(th.cat([p.ravel() for p in state(net)]))
    assert th.equal(results[0], results[1])
    assert not th.equal(results[0], results[2])


def test_members_see_their_own_samples(dataset, silent) -> None:
    net = make_ensemble(2)
    net.members[1].load_state_dict(net.members[0].state_dict())
    trainer(net, silent, pc.EnsembleTrainer).train(dataset)
    assert not th.equal(state(net.members[0])[0], state(net.members[1])[0])


@pytest.mark.parametrize("cls", [reward_nets.BasicRewardNet, reward_nets.BasicShapedRewardNet])
@pytest.mark.parametrize("minibatch_size", [20, 10])
def test_members_together_equal_one_by_one(dataset, silent, cls, minibatch_size: int, monkeypatch) -> None:
    nets = [make_ensemble(3, cls).double(), make_ensemble(3, cls).double()]
    for i, net in enumerate(nets):
        one = trainer(net, silent, pc.EnsembleTrainer, epochs=3, batch_size=20, minibatch_size=minibatch_size)
        if i:
            monkeypatch.setattr(one, "_fit", lambda pairs, one=one: one._fit_each)
        one.train(dataset)
    assert_alike(*nets)


def test_unlike_members_and_unequal_fragments(make_pairs, silent) -> None:
    members = [reward_nets.BasicRewardNet(OBS, ACT, hid_sizes=(4 + i,)) for i in range(2)]
    data = pc.PreferenceDataset()
    data.push(make_pairs(10, (3, 6)), np.ones(10))
    net = reward_nets.RewardEnsemble(OBS, ACT, members)
    before = state(net)
    result = trainer(net, silent, pc.EnsembleTrainer, epochs=3).train(data)
    assert np.isfinite(result["train/loss"])
    assert all(not th.equal(a, b) for a, b in zip(before[::2], state(net)[::2], strict=True))
    alike = make_ensemble(2)
    assert np.isfinite(trainer(alike, silent, pc.EnsembleTrainer).train(data)["train/loss"])


def test_trains_in_training_mode_and_puts_modes_back(dataset, silent) -> None:
    net = reward_nets.BasicRewardNet(OBS, ACT, normalize_input_layer=networks.RunningNorm)
    net.eval()
    trainer(net, silent).train(dataset)
    assert net.mlp[0].count == 60 * 2 * 5
    assert not net.training


def test_a_loss_of_the_users_own(dataset, silent) -> None:
    class Hinge(pc.RewardLoss):
        def forward(self, fragment_pairs, preferences, preference_model):
            assert len(list(fragment_pairs)) == len(preferences)
            probs, _ = preference_model(fragment_pairs)
            loss = (1 - (2 * preferences - 1) * (2 * probs - 1)).clamp(min=0).mean()
            return pc.LossAndMetrics(loss, {"hinge": loss.detach()})

    result = trainer(make_ensemble(2), silent, pc.EnsembleTrainer, loss=Hinge(), epochs=20).train(dataset)
    assert result["train/hinge"] < 0.7


def recorded(logger) -> dict[str, float]:
    found: dict[str, float] = {}
    original = logger.record
    logger.record = lambda key, value, exclude=None: (found.update({key: float(value)}), original(key, value))[1]
    return found


def test_logged_keys(dataset, silent) -> None:
    found = recorded(silent)
    trainer(make_ensemble(2), silent, pc.EnsembleTrainer, epochs=2).train(dataset)
    metrics = ("loss", "accuracy", "gt_reward_loss")
    for prefix in ("epoch-0", "epoch-1", "final", "final/member-0", "final/member-1"):
        where = "reward/final/{}/train/{}" if "member" in prefix else "reward/{}/train/{}"
        assert {where.format(prefix.removeprefix("final/"), m) for m in metrics} <= found.keys()
    assert found["reward/final/train/loss"] == pytest.approx(found["reward/epoch-1/train/loss"])


class TestRegularization:
    def test_penalty_by_hand(self, make_pairs, linear, silent) -> None:
        data = pc.PreferenceDataset()
        data.push([(pair[0], pair[0]) for pair in make_pairs(4)], np.full(4, 0.5))  # no gradient from the loss
        factory = regularizers.LpRegularizer.create(0.1, p=2)
        one = trainer(linear, silent, regularizer_factory=factory, lr=0.01)
        one.train(data)
        # the penalty's gradient 2 · 0.1 · w has the sign of w = (0.5, −1)
        th.testing.assert_close(linear.w.detach(), th.tensor([0.49, -0.99]), rtol=1e-4, atol=1e-6)
        assert not one.requires_regularizer_update

    def test_lambda_follows_the_losses_without_penalty(self, dataset, silent) -> None:
        given = []

        def updater(lambda_, train_loss, val_loss):
            given.append((train_loss, val_loss))
            return lambda_ * 2

        factory = regularizers.LpRegularizer.create(0.1, updater, val_split=0.25, p=2)
        found = recorded(silent)
        one = trainer(reward_nets.BasicRewardNet(OBS, ACT), silent, regularizer_factory=factory, epochs=3)
        assert one.requires_regularizer_update
        one.train(dataset)
        assert one.regularizer.lambda_ == pytest.approx(0.8)
        assert given[-1] == (found["reward/final/train/loss"], pytest.approx(found["reward/final/val/loss"]))

    def test_each_member_has_its_own(self, dataset, silent) -> None:
        factory = regularizers.WeightDecayRegularizer.create(
            0.1, updaters.IntervalParamScaler(0.5, (0.5, 1.5)), val_split=0.2
        )
        one = trainer(make_ensemble(3), silent, pc.EnsembleTrainer, regularizer_factory=factory, epochs=2)
        found = recorded(silent)
        one.train(dataset)
        assert len({id(learner.regularizer) for learner in one._learners}) == 3
        assert "reward/final/val/accuracy" in found

    def test_no_bootstrap_sample_holds_a_held_out_pair(self, dataset, silent, monkeypatch) -> None:
        factory = regularizers.LpRegularizer.create(0.1, lambda lambda_, train, val: lambda_, val_split=0.5, p=2)
        one = trainer(make_ensemble(2), silent, pc.EnsembleTrainer, regularizer_factory=factory)
        seen, held = [], []
        monkeypatch.setattr(one, "_fit_each", lambda data, order: (seen.append(order), {"loss": th.zeros(2)})[1])
        monkeypatch.setattr(one, "_validate", lambda data, rows: (held.append(rows), {"loss": th.zeros(2)})[1])
        one.train(dataset)
        assert len(held[0]) == 30
        assert not np.isin(seen[0], held[0]).any()

    def test_too_few_pairs_to_split(self, make_pairs, silent) -> None:
        data = pc.PreferenceDataset()
        data.push(make_pairs(2), np.ones(2))
        factory = regularizers.LpRegularizer.create(0.1, lambda lambda_, train, val: lambda_, val_split=0.1, p=2)
        one = trainer(reward_nets.BasicRewardNet(OBS, ACT), silent, regularizer_factory=factory)
        with pytest.raises(ValueError, match="2 pairs cannot be split .* val_split=0.1"):
            one.train(data)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 4, "minibatch_size": 3}, "must be a multiple of minibatch_size, got 4 and 3"),
        ({"lr": 0}, "lr must be positive"),
    ],
)
def test_bad_numbers(silent, kwargs, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        trainer(reward_nets.BasicRewardNet(OBS, ACT), silent, **kwargs)


def test_errors(dataset, silent) -> None:
    with pytest.raises(TypeError, match="of a RewardEnsemble expected by EnsembleTrainer"):
        trainer(reward_nets.BasicRewardNet(OBS, ACT), silent, pc.EnsembleTrainer)
    with pytest.raises(TypeError, match="use EnsembleTrainer"):
        trainer(make_ensemble(), silent)
    one = trainer(reward_nets.BasicRewardNet(OBS, ACT), silent)
    with pytest.raises(ValueError, match="PreferenceDataset is empty"):
        one.train(pc.PreferenceDataset())
    with pytest.raises(ValueError, match="rounds to no epoch at all"):
        one.train(dataset, epoch_multiplier=0.1)
