import copy

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch import nn

from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicPotentialCNN,
    BasicPotentialMLP,
    BasicRewardNet,
    BasicShapedRewardNet,
    CnnRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
    RewardNet,
    ShapedRewardNet,
)
from imitation_lab.util.networks import EMANorm, RunningNorm

OBS = spaces.Box(-2, 2, (3,), np.float32)
ACT = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (6, 5, 3), np.uint8)


class Value(RewardNet):
    def __init__(self, observation_space, action_space, value=0.0):
        super().__init__(observation_space, action_space)
        self.value = value

    def forward(self, state, action, next_state, done):
        return th.full_like(done, self.value)


def ensemble(make, n=3, obs=OBS):
    return RewardEnsemble(obs, ACT, [make() for _ in range(n)])


MAKERS = {
    "basic": lambda: BasicRewardNet(OBS, ACT),
    "linear": lambda: BasicRewardNet(OBS, ACT, hid_sizes=()),
    "done": lambda: BasicRewardNet(OBS, ACT, use_done=True, use_next_state=True, activation=nn.Tanh),
    "input norm": lambda: BasicRewardNet(OBS, ACT, normalize_input_layer=RunningNorm),
    "layer norm": lambda: BasicRewardNet(OBS, ACT, normalize_input_layer=nn.LayerNorm),
    "prelu": lambda: BasicRewardNet(OBS, ACT, activation=nn.PReLU, dropout_prob=0.3),
    "shaped": lambda: BasicShapedRewardNet(OBS, ACT),
    "shaped twice": lambda: ShapedRewardNet(BasicShapedRewardNet(OBS, ACT), BasicPotentialMLP(OBS, (4,)), 0.9),
    "normalized": lambda: NormalizedRewardNet(BasicRewardNet(OBS, ACT), RunningNorm),
    "normalized shaped": lambda: NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), EMANorm),
    "normalized twice": lambda: NormalizedRewardNet(
        NormalizedRewardNet(BasicRewardNet(OBS, ACT), RunningNorm), nn.Identity
    ),
    "own class": lambda: Value(OBS, ACT, float(np.random.default_rng().normal())),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
@pytest.mark.parametrize("n", [8, 2000])  # evaluated by NumPy, and by torch
def test_together_equals_one_by_one(n, make, batch):
    net = ensemble(make)
    twins = copy.deepcopy(net)
    for seed in range(4):
        data = batch(net, n, seed=seed)
        expected = np.stack([member.predict_processed(*data) for member in twins.members], axis=1)
        np.testing.assert_allclose(net.predict_processed_all(*data), expected, rtol=1e-4, atol=1e-5)
    for name, value in net.state_dict().items():
        th.testing.assert_close(value, twins.state_dict()[name])


def shaped_image():
    return ShapedRewardNet(CnnRewardNet(IMAGE, ACT, hid_channels=(4,)), BasicPotentialCNN(IMAGE, (4,)), 0.9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CnnRewardNet(IMAGE, ACT, use_done=True),
        lambda: NormalizedRewardNet(CnnRewardNet(IMAGE, OBS), RunningNorm),
        shaped_image,
    ],
)
def test_image_members_together(make, batch):
    members = [make() for _ in range(3)]
    net = RewardEnsemble(IMAGE, members[0].action_space, members)
    data = batch(net)
    expected = np.stack([m.predict_processed(*data, update_stats=False) for m in net.members], axis=1)
    before = [module.training for module in net.modules()]
    np.testing.assert_allclose(net.predict_processed_all(*data, update_stats=False), expected, rtol=1e-4, atol=1e-5)
    assert [module.training for module in net.modules()] == before


@pytest.mark.parametrize(
    "second",
    [
        lambda: BasicRewardNet(OBS, ACT, hid_sizes=(8,)),
        lambda: BasicRewardNet(OBS, ACT, activation=nn.Tanh),
        lambda: BasicRewardNet(OBS, ACT, use_action=False),
        lambda: BasicShapedRewardNet(OBS, ACT, discount_factor=0.5),
        lambda: Value(OBS, ACT, 2.0),
    ],
)
def test_members_that_differ_are_evaluated_one_by_one(second, batch):
    net = RewardEnsemble(OBS, ACT, [BasicRewardNet(OBS, ACT), second(), BasicRewardNet(OBS, ACT)])
    data = batch(net)
    expected = np.stack([member.predict_processed(*data) for member in net.members], axis=1)
    np.testing.assert_array_equal(net.predict_processed_all(*data), expected)


def test_discounts_that_differ_are_seen(batch):
    members = [BasicShapedRewardNet(OBS, ACT, discount_factor=gamma) for gamma in (0.1, 0.9)]
    net = RewardEnsemble(OBS, ACT, members)
    data = batch(net)
    np.testing.assert_allclose(
        net.predict_processed_all(*data), np.stack([m.predict(*data) for m in members], axis=1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("n", [8, 2000])
def test_changes_of_members_are_seen(n, batch):
    net = ensemble(lambda: BasicRewardNet(OBS, ACT))
    data = batch(net, n)
    check = lambda: np.testing.assert_allclose(
        net.predict_processed_all(*data),
        np.stack([m.predict_processed(*data) for m in net.members], axis=1),
        rtol=1e-4,
        atol=1e-5,
    )
    check()
    net.members[1].mlp[0].weight.data.add_(1)
    check()
    net.members[2] = BasicRewardNet(OBS, ACT)
    check()
    net.members[0].mlp[0] = nn.Linear(5, 32)
    check()
    net.members[0].mlp[1] = nn.Tanh()
    check()
    net.members[0].predict_processed = lambda *args, **kwargs: np.full(n, 7, np.float32)
    assert (net.predict_processed_all(*data)[:, 0] == 7).all()


def test_moments_by_hand(batch):
    net = RewardEnsemble(OBS, ACT, [Value(OBS, ACT, value) for value in (1.0, 2.0, 6.0)])
    data = batch(net)
    mean, variance = net.predict_reward_moments(*data)
    np.testing.assert_allclose(mean, np.full(8, 3))
    np.testing.assert_allclose(variance, np.full(8, 7))  # (4 + 1 + 9) / 2
    np.testing.assert_allclose(net.predict(*data), np.full(8, 3))
    np.testing.assert_allclose(net.predict_processed(*data), np.full(8, 3))
    assert net.predict_processed_all(*data).tolist() == [[1, 2, 6]] * 8
    assert net.num_members == 3
    for array in (mean, variance, net.predict(*data), net.predict_processed_all(*data)):
        assert array.dtype == np.float32


def test_added_std_by_hand(batch):
    net = AddSTDRewardWrapper(RewardEnsemble(OBS, ACT, [Value(OBS, ACT, value) for value in (1.0, 3.0)]), 0.5)
    data = batch(net)
    np.testing.assert_allclose(net.predict_processed(*data), 2 + 0.5 * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(net.predict_processed(*data, alpha=-1), 2 - np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(net.predict_processed(*data, alpha=0.0), 2)
    np.testing.assert_allclose(net.predict(*data), 2)
    assert net.predict_processed(*data).dtype == np.float32


def test_an_ensemble_has_no_forward(batch):
    net = ensemble(lambda: Value(OBS, ACT))
    with pytest.raises(NotImplementedError, match=r"no forward\(\): train each of its members"):
        net(*net.preprocess(*batch(net)))
    with pytest.raises(NotImplementedError, match=r"no predict_th\(\)"):
        net.predict_th(*batch(net))
    with pytest.raises(NotImplementedError):
        AddSTDRewardWrapper(net).predict_th(*batch(net))


def test_mistakes_are_named():
    net = Value(OBS, ACT)
    with pytest.raises(ValueError, match="at least two members, got 1"):
        RewardEnsemble(OBS, ACT, [net])
    with pytest.raises(ValueError, match="Member 1 has the spaces"):
        RewardEnsemble(OBS, ACT, [net, Value(ACT, ACT)])
    with pytest.raises(TypeError, match="Member 0 is a Linear"):
        RewardEnsemble(OBS, ACT, [nn.Linear(1, 1), net])
    with pytest.raises(TypeError, match="needs the variance of a RewardNetWithVariance.*got a Value"):
        AddSTDRewardWrapper(net)
    with pytest.raises(TypeError, match="normalize outside"):
        AddSTDRewardWrapper(NormalizedRewardNet(ensemble(lambda: Value(OBS, ACT)), RunningNorm))


def test_members_keep_their_modes(batch):
    net = ensemble(lambda: NormalizedRewardNet(BasicRewardNet(OBS, ACT, dropout_prob=0.5), RunningNorm))
    net.members[1].eval()
    before = [module.training for module in net.modules()]
    first = net.predict(*batch(net))
    np.testing.assert_array_equal(first, net.predict(*batch(net)))
    assert [module.training for module in net.modules()] == before


@pytest.mark.cuda
@pytest.mark.skipif(not th.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "own class"])
def test_together_equals_one_by_one_on_cuda(name, batch):
    net = ensemble(MAKERS[name])
    data = batch(net)
    twins = copy.deepcopy(net)
    net.to("cuda")
    for _ in range(2):
        expected = np.stack([member.predict_processed(*data) for member in twins.members], axis=1)
        np.testing.assert_allclose(net.predict_processed_all(*data), expected, rtol=1e-3, atol=1e-3)
