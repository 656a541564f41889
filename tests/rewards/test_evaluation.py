"""What is changed after the first prediction shows in the next: `predict` and `forward` never disagree."""

import copy

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from imitation_lab.rewards.reward_nets import (
    BasicPotentialMLP,
    BasicRewardNet,
    BasicShapedRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
    ShapedRewardNet,
)
from imitation_lab.util.networks import EMANorm, RunningNorm, evaluating

OBS = spaces.Box(-2, 2, (3,), np.float32)
ACT = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (4, 4, 3), np.uint8)


def basic(obs=OBS, **kwargs):
    return BasicRewardNet(obs, ACT, normalize_input_layer=RunningNorm, **kwargs)


def shaped():
    return BasicShapedRewardNet(OBS, ACT, normalize_input_layer=EMANorm)


def twice():
    return ShapedRewardNet(shaped(), BasicPotentialMLP(OBS, (4,)), 0.9)


def by_modules(net, data):
    """The processed rewards as the modules compute them, statistics left alone."""
    if isinstance(net, RewardEnsemble):
        return np.mean([by_modules(member, data) for member in net.members], axis=0)
    if isinstance(net, NormalizedRewardNet):
        rewards = by_modules(net.base, data)
        with evaluating(net), th.no_grad():
            return net.normalize_output_layer(th.from_numpy(rewards)[:, None])[:, 0].numpy()
    with evaluating(net), th.no_grad():
        return net(*net.preprocess(*data)).numpy()


def predicted(net, data):
    return net.predict_processed(*data, update_stats=False)


def doubled(module):
    """A forward that answers twice what the module's own does."""
    own = type(module).forward
    return lambda *args, **kwargs: 2 * own(module, *args, **kwargs)


def hook(module, args, output):
    return output + 1


def pre_hook(module, args):
    return tuple(2 * arg if isinstance(arg, th.Tensor) else arg for arg in args)


def reshape_data(linear, change):
    linear.weight.data = change(linear.weight.data)


def shrink(mlp):
    """Half of the second hidden layer goes: the same memory, other shapes."""
    mlp.dense1.weight.data, mlp.dense1.bias.data = mlp.dense1.weight.data[:16], mlp.dense1.bias.data[:16]
    mlp.dense_final.weight.data = mlp.dense_final.weight.data[:, :16]


def from_numpy(linear):
    linear.weight.detach().numpy()[:] += 1


def assigned(net):
    net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()}, assign=True)


def swapped_inputs(net):
    net.use_state, net.use_next_state = False, True


OF_MLPS = {
    "eps": lambda mlp: setattr(mlp.normalize_input, "eps", 10.0),
    "statistics": lambda mlp: mlp.normalize_input.update_stats(3 + th.rand(9, mlp.normalize_input.num_features)),
    "other statistics": lambda mlp: setattr(mlp.normalize_input, "running_mean", mlp.normalize_input.running_mean + 1),
    "forgotten statistics": lambda mlp: mlp.normalize_input.reset_running_stats(),
    "forward of a layer": lambda mlp: setattr(mlp.dense0, "forward", doubled(mlp.dense0)),
    "forward of an activation": lambda mlp: setattr(mlp.act0, "forward", th.tanh),
    "forward of the norm": lambda mlp: setattr(mlp.normalize_input, "forward", lambda x: 3 * x),
    "forward of all": lambda mlp: setattr(mlp, "forward", doubled(mlp)),
    "hook": lambda mlp: mlp.dense0.register_forward_hook(hook),
    "hook on all": lambda mlp: mlp.register_forward_hook(hook),
    "pre-hook": lambda mlp: mlp.squeeze.register_forward_pre_hook(pre_hook),
    "class of a layer": lambda mlp: setattr(mlp.act0, "__class__", nn.Tanh),
    "another layer": lambda mlp: setattr(mlp, "act0", nn.Tanh()),
    "one more layer": lambda mlp: mlp.append(nn.Tanh()),
    "one layer less": lambda mlp: mlp.__delitem__(2),
    "in place": lambda mlp: mlp.dense0.weight.data.add_(1),
    "through numpy": lambda mlp: from_numpy(mlp.dense0),
    "other parameter": lambda mlp: setattr(mlp.dense0, "bias", nn.Parameter(th.ones(32))),
    "no bias": lambda mlp: setattr(mlp.dense0, "bias", None),
    "other data": lambda mlp: setattr(mlp.dense0.bias, "data", th.ones(32)),
    "shared memory": lambda mlp: (mlp.share_memory(), mlp.dense0.weight.data.add_(1)),
    "weight norm": lambda mlp: weight_norm(mlp.dense0).parametrizations.weight.original0.data.mul_(2),
    "pruned": lambda mlp: prune.random_unstructured(mlp.dense0, "weight", 0.5),
    "frozen, then changed": lambda mlp: mlp.requires_grad_(False).dense0.weight.mul_(2),
}
CHANGES = {
    **{f"basic: {name}": (basic, lambda net, change=change: change(net.mlp)) for name, change in OF_MLPS.items()},
    **{
        f"base: {name}": (shaped, lambda net, change=change: change(net.base.mlp))
        for name, change in OF_MLPS.items()
        if name in ("eps", "forward of a layer", "hook", "another layer", "in place")
    },
    **{
        f"potential: {name}": (twice, lambda net, change=change: change(net.base.potential._potential_net))
        for name, change in OF_MLPS.items()
        if name in ("eps", "forward of all", "hook on all", "another layer", "other data")
    },
    "transposed in place": (
        lambda: basic(hid_sizes=(32, 32)),
        lambda net: reshape_data(net.mlp.dense1, lambda data: data.T),
    ),
    "shrunk in place": (basic, lambda net: shrink(net.mlp)),
    "state loaded": (basic, lambda net: net.load_state_dict(basic().state_dict())),
    "state assigned": (shaped, assigned),
    "inputs": (basic, swapped_inputs),
    "double": (basic, lambda net: net.double()),
    "double and back": (basic, lambda net: net.double().float()),
    "γ": (shaped, lambda net: setattr(net, "discount_factor", 0.1)),
    "inner γ": (twice, lambda net: setattr(net.base, "discount_factor", 0.1)),
    "forward": (basic, lambda net: setattr(net, "forward", doubled(net))),
    "forward of the base": (shaped, lambda net: setattr(net.base, "forward", doubled(net.base))),
    "forward of the inmost": (twice, lambda net: setattr(net.base.base, "forward", doubled(net.base.base))),
    "forward of the potential": (shaped, lambda net: setattr(net.potential, "forward", doubled(net.potential))),
    "hook on the base": (shaped, lambda net: net.base.register_forward_hook(hook)),
    "hook on the potential": (shaped, lambda net: net.potential.register_forward_hook(hook)),
    "preprocess of the base": (
        shaped,
        lambda net: setattr(net.base, "preprocess", lambda s, a, n, d: type(net.base).preprocess(net.base, n, a, s, d)),
    ),
    "join": (basic, lambda net: setattr(net, "join", lambda s, a, n, d: type(net).join(net, n, a, s, d))),
    "potential": (shaped, lambda net: setattr(net, "potential", BasicPotentialMLP(OBS, (4,)))),
    "base": (shaped, lambda net: setattr(net, "_base", basic())),
    "scaling of images": (lambda: basic(IMAGE), lambda net: setattr(net, "normalize_images", False)),
    "scaling of the base's images": (
        lambda: ShapedRewardNet(basic(IMAGE), BasicPotentialMLP(IMAGE, (4,)), 0.9),
        lambda net: setattr(net.base, "normalize_images", False),
    ),
    "first value of an action": (
        basic,
        lambda net: (setattr(net, "action_space", spaces.Discrete(2, start=-1)), net.mlp.dense0.weight.data.add_(1)),
    ),
}
KINDS = {
    "alone": lambda make: make(),
    "normalized": lambda make: NormalizedRewardNet(make(), RunningNorm),
    "ensemble": lambda make: one_ensemble([make() for _ in range(3)]),
    "ensemble of normalized": lambda make: one_ensemble([NormalizedRewardNet(make(), RunningNorm) for _ in range(2)]),
}


def one_ensemble(members):
    return RewardEnsemble(members[0].observation_space, members[0].action_space, members)


def inmost(net):
    """What `CHANGES` changes: the net itself, or that of an ensemble's last member."""
    net = net.members[-1] if isinstance(net, RewardEnsemble) else net
    return net.base if isinstance(net, NormalizedRewardNet) else net


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_shows(name, kind, batch):
    make, change = CHANGES[name]
    net = KINDS[kind](make)
    for module in net.modules():
        if isinstance(module, RunningNorm | EMANorm):
            module.update_stats(th.randn(20, module.num_features))
    data = batch(net)
    if name == "first value of an action":
        data = (data[0], np.zeros_like(data[1]), *data[2:])
    before = predicted(net, data)
    np.testing.assert_allclose(before, by_modules(net, data), rtol=1e-4, atol=1e-5)
    change(inmost(net))
    for _ in range(2):
        np.testing.assert_allclose(predicted(net, data), by_modules(net, data), rtol=1e-4, atol=1e-5)
    if name not in ("double", "double and back"):
        assert not np.allclose(before, predicted(net, data), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["normalized", "ensemble of normalized"])
@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net.normalize_output_layer, "eps", 10.0),
        lambda net: setattr(net.normalize_output_layer, "forward", lambda x: 3 * x),
        lambda net: net.normalize_output_layer.register_forward_hook(hook),
        lambda net: setattr(net, "normalize_output_layer", nn.Identity()),
        lambda net: net.normalize_output_layer.running_mean.add_(1),
    ],
)
def test_every_change_of_the_output_norm_shows(change, kind, batch):
    net = KINDS[kind](basic)
    data = batch(net)
    net.predict_processed(*data)
    before = predicted(net, data)
    change(net.members[-1] if isinstance(net, RewardEnsemble) else net)
    np.testing.assert_allclose(predicted(net, data), by_modules(net, data), rtol=1e-4, atol=1e-5)
    assert not np.allclose(before, predicted(net, data), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("call", ["predict", "predict_processed", "predict_th", "normalize"])
@pytest.mark.parametrize("early", [True, False])
def test_a_patched_method_of_a_member_is_called(call, early, batch):
    net = KINDS["ensemble of normalized"](basic)
    data = batch(net)
    if not early:
        predicted(net, data)
    target = net.members[1] if call in ("predict_processed", "normalize") else net.members[1].base
    answer = th.full((8,), 7.0) if call == "predict_th" else np.full(8, 7, np.float32)
    setattr(target, call, lambda *args, **kwargs: answer)
    expected = by_modules(net.members[1], data) if target is net.members[1].base else answer
    if target is net.members[1].base:
        expected = net.members[1].normalize(np.full(8, 7, np.float32), False)
    np.testing.assert_allclose(net.predict_processed_all(*data, update_stats=False)[:, 1], expected, rtol=1e-5)


@pytest.mark.parametrize("cls", [BasicRewardNet, nn.Linear, RunningNorm, BasicPotentialMLP, ShapedRewardNet])
@pytest.mark.parametrize("early", [True, False])
def test_a_patched_class_shows(cls, early, batch, monkeypatch):
    net = ShapedRewardNet(basic(), BasicPotentialMLP(OBS, (4,)), 0.9)
    data = batch(net)
    if not early:
        net.predict(*data)
    own = cls.forward
    monkeypatch.setattr(cls, "forward", lambda *args: 2 * own(*args))
    np.testing.assert_allclose(net.predict(*data), by_modules(net, data), rtol=1e-4, atol=1e-5)


def test_hooks_of_all_modules_are_called(batch):
    net = basic()
    data = batch(net)
    net.predict(*data)
    calls = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: calls.append(module))
    try:
        net.predict(*data)
        assert net in calls
    finally:
        handle.remove()


def test_arrays_among_the_members_attributes(batch):
    net = KINDS["ensemble"](shaped)
    for member in net.members:
        member.note = np.ones(3)
    data = batch(net)
    np.testing.assert_allclose(predicted(net, data), by_modules(net, data), rtol=1e-4, atol=1e-5)


def test_members_may_differ_in_numbers(batch):
    members = [BasicShapedRewardNet(OBS, ACT, discount_factor=gamma) for gamma in (0.1, 0.9)]
    members[0].base.mlp[0] = nn.Linear(5, 32)
    net = one_ensemble(members)
    data = batch(net)
    np.testing.assert_allclose(predicted(net, data), by_modules(net, data), rtol=1e-4, atol=1e-5)


def test_a_copy_shares_nothing_with_the_first(batch):
    net = KINDS["ensemble"](shaped)
    data = batch(net)
    before = predicted(net, data)
    twin = copy.deepcopy(net)
    inmost(net).base.mlp.dense0.weight.data.add_(1)
    np.testing.assert_array_equal(predicted(twin, data), before)


@pytest.mark.parametrize("n", [1, 64, 65, 1024, 1025])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [basic, shaped, twice])
def test_every_batch_size(n, make, kind, batch):
    net = KINDS[kind](make)
    data = batch(net, n)
    np.testing.assert_allclose(predicted(net, data), by_modules(net, data), rtol=1e-4, atol=1e-5)
