import copy
from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import nn

from imitation_lab.data.types import DictObs
from imitation_lab.rewards import reward_nets
from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicPotentialCNN,
    BasicPotentialMLP,
    BasicRewardNet,
    BasicShapedRewardNet,
    CnnRewardNet,
    ForwardWrapper,
    NormalizedRewardNet,
    PredictProcessedWrapper,
    RewardEnsemble,
    RewardNet,
    ShapedRewardNet,
    cnn_transpose,
)
from imitation_lab.util.networks import BaseNorm, EMANorm, RunningNorm

OBS = spaces.Box(-2, 2, (3,), np.float32)
ACT = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (6, 5, 3), np.uint8)


class FirstFeature(RewardNet):
    """Reward: scale times the first feature of the state."""

    def __init__(self, observation_space, action_space, scale=1.0):
        super().__init__(observation_space, action_space)
        self.scale = nn.Parameter(th.tensor(float(scale)))
        self.modes = []

    def forward(self, state, action, next_state, done):
        self.modes.append((self.training, th.is_grad_enabled()))
        return self.scale * state[:, 0]


class Constant(RewardNet):
    def forward(self, state, action, next_state, done):
        return th.full_like(done, 3.0)


class Double(ForwardWrapper):
    def forward(self, state, action, next_state, done):
        return 2 * self.base(state, action, next_state, done)


class PlusOne(PredictProcessedWrapper):
    def predict_processed(self, state, action, next_state, done, **kwargs):
        return self.base.predict_processed(state, action, next_state, done, **kwargs) + 1


class Recorder(Constant):
    def predict_processed(self, state, action, next_state, done, **kwargs):
        self.seen = kwargs
        return super().predict_processed(state, action, next_state, done, **kwargs)


# -- what each call returns --


def test_each_call_applies_the_wrappers_that_the_design_says(batch):
    base = FirstFeature(OBS, ACT, scale=3)
    net = PlusOne(Double(base))
    data = batch(net)
    first = data[0][:, 0]
    np.testing.assert_allclose(net.predict(*data), 6 * first, rtol=1e-6)
    np.testing.assert_allclose(net.predict_th(*data).numpy(), 6 * first, rtol=1e-6)
    np.testing.assert_allclose(net.predict_processed(*data), 6 * first + 1, rtol=1e-6)
    np.testing.assert_allclose(net.base.predict_processed(*data), 6 * first, rtol=1e-6)
    rewards = net(*net.preprocess(*data))
    rewards.sum().backward()
    assert base.scale.grad.item() == pytest.approx(2 * first.sum(), rel=1e-5)
    assert not net.predict_th(*data).requires_grad


@pytest.mark.parametrize("call", ["predict", "predict_processed"])
@pytest.mark.parametrize("make", [BasicRewardNet, BasicShapedRewardNet, FirstFeature, Constant])
def test_arrays_are_float32_of_their_own_memory(call, make, batch):
    for net in (make(OBS, ACT), make(OBS, ACT).double()):
        data = batch(net)
        rewards = getattr(net, call)(*data)
        assert rewards.dtype == np.float32
        assert rewards.shape == (8,)
        assert rewards.flags.writeable
        before = copy.deepcopy(data)
        rewards[:] = -1
        np.testing.assert_array_equal(data[0], before[0])
        assert not (getattr(net, call)(*data) == -1).all()


def test_a_reward_that_is_its_input_shares_no_memory(batch):
    class Identity(RewardNet):
        def forward(self, state, action, next_state, done):
            return done

    net = Identity(OBS, ACT)
    state, action, next_state, _ = batch(net)
    done = np.zeros(8, np.float32)
    net.predict(state, action, next_state, done)[:] = 5
    assert (done == 0).all()


def test_predict_runs_in_evaluation_mode_and_restores_each_mode(batch):
    base = FirstFeature(OBS, ACT)
    base.frozen = nn.BatchNorm1d(2).eval()
    base.thawed = nn.Sequential(nn.Dropout(0.5))
    net = NormalizedRewardNet(Double(base), RunningNorm)
    net.normalize_output_layer.eval()
    before = [module.training for module in net.modules()]
    assert True in before
    assert False in before
    for call in (net.predict_th, net.predict, net.predict_processed):
        call(*batch(net))
        assert [module.training for module in net.modules()] == before
    assert base.modes == [(False, False)] * 3
    net.eval()
    net.predict(*batch(net))
    assert not any(module.training for module in net.modules())


def test_modes_are_restored_after_an_error(batch):
    class Broken(Constant):
        def forward(self, state, action, next_state, done):
            raise RuntimeError("as asked")

    net = Broken(OBS, ACT)
    with pytest.raises(RuntimeError, match="as asked"):
        net.predict(*batch(net))
    assert net.training


@pytest.mark.parametrize("make", [BasicRewardNet, BasicShapedRewardNet])
@pytest.mark.parametrize("norm", [RunningNorm, EMANorm])
def test_input_norm_moves_in_forward_in_training_mode_only(make, norm, batch):
    net = make(OBS, ACT, normalize_input_layer=norm)
    data = batch(net)
    counts = lambda: [module.count.item() for module in net.modules() if isinstance(module, BaseNorm)]
    zero = counts()
    for call in (net.predict, net.predict_th, net.predict_processed):
        call(*data)
    assert counts() == zero
    net(*net.preprocess(*data))
    moved = counts()
    assert min(moved) > 0
    net.eval()
    net(*net.preprocess(*data))
    assert counts() == moved


@pytest.mark.parametrize("wrong", ["column", "scalar"])
def test_forward_of_the_wrong_shape_is_an_error_that_says_so(wrong, batch):
    class Wrong(RewardNet):
        def forward(self, state, action, next_state, done):
            return done[:, None] if wrong == "column" else done.sum()

    net = Wrong(OBS, ACT)
    with pytest.raises(ValueError, match=r"Wrong.forward returned shape .* expected \(8,\)"):
        net.predict(*batch(net))


# -- preprocessing --


def test_preprocess_agrees_with_sb3(any_space, batch):
    net = Constant(any_space, ACT)
    data = shifted = batch(net)
    theirs = any_space
    if isinstance(any_space, spaces.Discrete) and any_space.start:  # which SB3 ignores
        shifted = (data[0] - any_space.start, data[1], data[2] - any_space.start)
        theirs = spaces.Discrete(any_space.n)
    state, action, next_state, done = net.preprocess(*data)

    def expected(x):
        return {k: expected(v) for k, v in x.items()} if isinstance(x, dict) else th.as_tensor(x)

    def check(ours, other):
        if isinstance(other, dict):
            assert list(ours) == list(other)
            for key in ours:
                check(ours[key], other[key])
        else:
            assert ours.dtype == th.float32
            th.testing.assert_close(ours, other, rtol=0, atol=0)

    check(state, preprocess_obs(expected(shifted[0]), theirs))
    check(next_state, preprocess_obs(expected(shifted[2]), theirs))
    check(action, preprocess_obs(th.as_tensor(data[1]), ACT))
    assert done.tolist() == data[3].astype(float).tolist()


def test_preprocess_takes_tensors_as_well(any_space, batch):
    net = BasicRewardNet(any_space, ACT if isinstance(any_space, spaces.Dict) else any_space)
    data = batch(net)
    tensors = [_tensors(x) if isinstance(x, dict) else th.tensor(x) for x in data]
    np.testing.assert_allclose(net.predict(*data), net.predict(*tensors), rtol=1e-4, atol=1e-6)


def _tensors(x):
    return {key: _tensors(value) if isinstance(value, dict) else th.tensor(value) for key, value in x.items()}


def test_one_hot_honours_start():
    net = Constant(spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 2], start=[5, 0]))
    state, action, _, _ = net.preprocess(np.array([-1, 1]), np.array([[6, 0], [5, 1]]), np.array([0, 0]), np.zeros(2))
    assert state.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert action.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


def test_images_can_stay_unscaled(batch):
    class Raw(Constant):
        def __init__(self, observation_space, action_space):
            super().__init__(observation_space, action_space, normalize_images=False)

    data = batch(Raw(IMAGE, ACT))
    assert Raw(IMAGE, ACT).preprocess(*data)[0].max() > 1
    assert Constant(IMAGE, ACT).preprocess(*data)[0].max() <= 1


@pytest.mark.parametrize("change", ["readonly", "reversed", "float64", "list", "big_endian", "fortran"])
def test_any_memory_layout_is_taken(change, batch):
    net = BasicRewardNet(OBS, ACT)
    state, action, next_state, done = batch(net)
    expected = net.predict(state, action, next_state, done)
    if change == "readonly":
        state.flags.writeable = False
    elif change == "reversed":
        state = np.ascontiguousarray(state[::-1])[::-1]
    elif change == "float64":
        state = state.astype(np.float64)
    elif change == "list":
        state = state.tolist()
    elif change == "big_endian":
        state = state.astype(">f4")
    else:
        state = np.asfortranarray(state)
    np.testing.assert_array_equal(net.predict(state, action, next_state, done), expected)


def test_dict_observations_may_be_dictobs(batch):
    net = BasicRewardNet(spaces.Dict(a=OBS, b=ACT), ACT)
    state, action, next_state, done = batch(net)
    wrapped = net.predict(DictObs(state), action, DictObs(next_state), done)
    np.testing.assert_array_equal(wrapped, net.predict(state, action, next_state, done))


@pytest.mark.parametrize(
    ("index", "value", "text"),
    [
        (0, np.zeros(3, np.float32), r"state of shape \(3,\) does not fit .* expected \(batch, \*\(3,\)\)"),
        (0, np.zeros((8, 4), np.float32), r"state of shape \(8, 4\) does not fit"),
        (1, np.zeros((8, 2), int), r"action of shape \(8, 2\) does not fit Discrete\(2\)"),
        (1, np.full(8, 2), r"action holds values outside Discrete\(2\): it ranges from 2 to 2"),
        (1, np.full(8, -1), r"action holds values outside"),
        (1, np.zeros(7, int), r"Batch sizes differ: state 8, action 7"),
        (2, np.zeros((7, 3), np.float32), r"Batch sizes differ: .* next_state 7"),
        (3, np.zeros(7), r"done has shape \(7,\); expected \(8,\)"),
        (3, np.zeros((8, 1)), r"done has shape \(8, 1\); expected \(8,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(index, value, text, batch):
    net = BasicRewardNet(OBS, ACT)
    data = list(batch(net))
    data[index] = value
    with pytest.raises(ValueError, match=text):
        net.predict(*data)


def test_dict_observations_with_other_keys_are_named(batch):
    net = BasicRewardNet(spaces.Dict(a=OBS, b=ACT), ACT)
    state, action, next_state, done = batch(net)
    with pytest.raises(ValueError, match=r"state is the keys \['a'\]; expected a mapping with the keys \['a', 'b'\]"):
        net.predict({"a": state["a"]}, action, next_state, done)
    with pytest.raises(ValueError, match=r"state is a ndarray"):
        net.predict(state["a"], action, next_state, done)


def test_unsupported_spaces_are_refused_at_construction():
    with pytest.raises(ValueError, match="Tuple are not supported"):
        BasicRewardNet(spaces.Tuple([OBS, ACT]), ACT)
    with pytest.raises(TypeError, match="observation_space must be a gymnasium Space"):
        BasicRewardNet(3, ACT)


def test_nan_in_gives_nan_out(batch):
    net = BasicRewardNet(OBS, ACT)
    state, action, next_state, done = batch(net)
    state[2, 1] = np.nan
    assert np.flatnonzero(np.isnan(net.predict(state, action, next_state, done))).tolist() == [2]
    with pytest.raises(ValueError, match="NaN"):
        NormalizedRewardNet(net, RunningNorm).predict_processed(state, action, next_state, done)


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_batches(n, batch):
    for net in (BasicRewardNet(OBS, ACT), NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), RunningNorm)):
        assert net.predict_processed(*batch(net, n) if n else [x[:0] for x in batch(net, 1)]).shape == (n,)


# -- BasicRewardNet --


def test_basic_net_on_every_space(any_space, batch):
    for acts in (ACT, OBS, spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)):
        net = BasicRewardNet(any_space, acts, use_next_state=True, use_done=True)
        data = batch(net)
        with th.no_grad():
            slow = net.eval()(*net.preprocess(*data)).numpy()
        np.testing.assert_allclose(net.predict(*data), slow, rtol=1e-5, atol=1e-6)
        assert net.predict_processed(*data).shape == (8,)


def test_basic_net_uses_what_it_is_told(batch):
    inputs = ("use_state", "use_action", "use_next_state", "use_done")
    for used in inputs:
        net = BasicRewardNet(OBS, ACT, **{name: name == used for name in inputs})
        data, other = batch(net, seed=0), batch(net, seed=1)
        for i, name in enumerate(inputs):
            mixed = [*data[:i], other[i] if i != 3 else ~data[3], *data[i + 1 :]]
            assert np.array_equal(net.predict(*mixed), net.predict(*data)) == (name != used)
    with pytest.raises(ValueError, match="reward of nothing"):
        BasicRewardNet(OBS, ACT, use_state=False, use_action=False)


def test_basic_net_by_hand():
    net = BasicRewardNet(spaces.Box(-1, 1, (1,)), ACT, use_done=True, hid_sizes=())
    with th.no_grad():
        net.mlp[0].weight[:] = th.tensor([[2.0, 10.0, 20.0, 100.0]])
        net.mlp[0].bias[:] = 1
    rewards = net.predict(np.array([[0.5], [-0.5]]), np.array([0, 1]), np.zeros((2, 1)), np.array([False, True]))
    assert rewards.tolist() == [1 + 1 + 10, 1 - 1 + 20 + 100]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.SiLU, nn.PReLU, nn.GELU])
@pytest.mark.parametrize("norm", [None, RunningNorm, EMANorm, nn.LayerNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("n", [8, 2000])  # evaluated by NumPy, and by torch
def test_fast_evaluation_equals_forward(n, activation, norm, batch):
    def make(cls):
        return cls(OBS, ACT, activation=activation, dropout_prob=0.5, normalize_input_layer=norm)

    for net in (make(BasicRewardNet), make(BasicShapedRewardNet)):
        for seed in range(3):
            net(*net.preprocess(*batch(net, seed=seed)))  # moves the norms
        data = batch(net, n, seed=4)
        fast = net.predict(*data)
        net.eval()
        np.testing.assert_allclose(fast, net(*net.preprocess(*data)).detach().numpy(), rtol=1e-5, atol=1e-6)
    ensemble = RewardEnsemble(OBS, ACT, [make(BasicRewardNet) for _ in range(3)])
    for member in ensemble.members:
        member(*member.preprocess(*batch(ensemble)))
    np.testing.assert_allclose(
        ensemble.predict_processed_all(*data), np.stack([m.predict(*data) for m in ensemble.members], 1), atol=1e-6
    )


@pytest.mark.parametrize("n", [8, 2000])
def test_fast_evaluation_sees_every_change(n, batch):
    net = BasicRewardNet(OBS, ACT)
    data = batch(net, n)

    def slow():
        return net.eval()(*net.preprocess(*data)).detach().numpy()

    net.predict(*data)
    with th.no_grad():
        net.mlp[0].weight += 1
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.mlp[-2].weight.data *= 2  # moves no version counter
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.mlp[2] = nn.Linear(32, 32)
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.mlp[2].bias = nn.Parameter(th.ones(32))
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.double()
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.float()
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()}, assign=True)
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    calls = []
    handle = net.mlp[0].register_forward_hook(lambda *args: calls.append(1))
    net.predict(*data)
    assert calls == [1]
    handle.remove()
    nn.utils.parametrizations.weight_norm(net.mlp[0])
    np.testing.assert_allclose(net.predict(*data), slow(), rtol=1e-5)
    net.forward = lambda *args: args[3]
    np.testing.assert_array_equal(net.predict(*data), data[3].astype(np.float32))


def test_infinite_inputs_raise_no_warning(batch):
    net = BasicRewardNet(OBS, ACT)
    state, action, next_state, done = batch(net)
    state[0], state[1, :2] = np.inf, [np.inf, -np.inf]
    assert np.isfinite(net.predict(state, action, next_state, done)[2:]).all()


def test_copies_are_independent(batch):
    net = NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), RunningNorm)
    data = batch(net)
    net.predict_processed(*data)
    twin = copy.deepcopy(net)
    with th.no_grad():
        next(net.parameters()).add_(1)
    assert not np.allclose(twin.predict(*data), net.predict(*data))
    assert twin.normalize_output_layer.count.item() == 8


# -- CNN --


@pytest.mark.parametrize("acts", [ACT, OBS, spaces.MultiDiscrete([2, 3])], ids=["discrete", "box", "multidiscrete"])
@pytest.mark.parametrize("used", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("use_done", [False, True])
def test_cnn_net_depends_on_what_it_uses(acts, used, use_done, batch):
    net = CnnRewardNet(IMAGE, acts, use_state=used[0], use_next_state=used[1], use_done=use_done)
    data, other = batch(net, seed=0), batch(net, seed=1)
    depends = [used[0], True, used[1], use_done]
    for i, expected in enumerate(depends):
        mixed = [*data[:i], other[i] if i != 3 else ~data[3], *data[i + 1 :]]
        assert np.array_equal(net.predict(*mixed), net.predict(*data)) != expected
    assert net(*net.preprocess(*data)).shape == (8,)


def test_cnn_net_reads_both_image_formats(batch):
    hwc = CnnRewardNet(IMAGE, ACT)
    chw = CnnRewardNet(spaces.Box(0, 255, (3, 6, 5), np.uint8), ACT, hwc_format=False)
    chw.load_state_dict(hwc.state_dict())
    state, action, next_state, done = batch(hwc)
    turned = [np.moveaxis(images, 3, 1) for images in (state, next_state)]
    np.testing.assert_allclose(
        hwc.predict(state, action, next_state, done), chw.predict(turned[0], action, turned[1], done), atol=1e-6
    )
    assert hwc.get_num_channels_obs(IMAGE) == chw.get_num_channels_obs(chw.observation_space) == 3


def test_cnn_net_selects_one_output_per_action_and_done(batch):
    net = CnnRewardNet(IMAGE, spaces.Discrete(3), use_done=True)
    with th.no_grad():
        net.cnn[-1].weight.zero_()
        net.cnn[-1].bias[:] = th.arange(6.0)
    state, _, next_state, _ = batch(net, 4)
    rewards = net.predict(state, np.array([0, 2, 0, 2]), next_state, np.array([False, False, True, True]))
    assert rewards.tolist() == [0, 2, 3, 5]


def test_cnn_needs_images():
    with pytest.raises(ValueError, match="needs image observations"):
        CnnRewardNet(OBS, ACT)
    with pytest.raises(ValueError, match="needs an image: set use_state or use_next_state"):
        CnnRewardNet(IMAGE, ACT, use_state=False)
    with pytest.raises(ValueError, match="needs image observations"):
        BasicPotentialCNN(OBS, (8,))
    assert reward_nets.CNNRewardNet is CnnRewardNet


def test_cnn_transpose():
    images = th.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert cnn_transpose(images).shape == (2, 5, 3, 4)
    assert cnn_transpose(images)[1, 4, 2, 3] == images[1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"got \(3, 4, 5\)"):
        cnn_transpose(images[0])


# -- wrappers --


def test_illegal_order_says_what_to_move():
    normalized = NormalizedRewardNet(Constant(OBS, ACT), RunningNorm)
    text = r"ShapedRewardNet is a ForwardWrapper and cannot wrap NormalizedRewardNet.*Move NormalizedRewardNet outside"
    with pytest.raises(ValueError, match=text):
        ShapedRewardNet(normalized, BasicPotentialMLP(OBS, (4,)), 0.9)
    ensemble = RewardEnsemble(OBS, ACT, [Constant(OBS, ACT), Constant(OBS, ACT)])
    with pytest.raises(ValueError, match=r"RewardEnsemble has no forward\(\) for ShapedRewardNet to change: wrap each"):
        ShapedRewardNet(ensemble, BasicPotentialMLP(OBS, (4,)), 0.9)
    with pytest.raises(ValueError, match="Move PlusOne outside"):
        Double(PlusOne(Constant(OBS, ACT)))
    with pytest.raises(TypeError, match="wraps a RewardNet, got a Linear"):
        PlusOne(nn.Linear(1, 1))


def test_normalized_net_by_hand():
    net = NormalizedRewardNet(FirstFeature(OBS, ACT), partial(RunningNorm, eps=1e-8))

    def rewards(*values, **kwargs):
        state = np.zeros((len(values), 3), np.float32)
        state[:, 0] = values
        return net.predict_processed(state, np.zeros(len(values), int), state, np.zeros(len(values)), **kwargs)

    np.testing.assert_allclose(rewards(1, 3), [1, 3])  # under mean 0, variance 1
    np.testing.assert_allclose(rewards(2, 3, 5), [0, 1, 3], atol=1e-6)  # under mean 2, variance 1
    data = [1, 3, 2, 3, 5]
    np.testing.assert_allclose(rewards(4, update_stats=False), (4 - np.mean(data)) / np.std(data), rtol=1e-5)
    np.testing.assert_allclose(net.normalize_output_layer.running_var.item(), np.var(data))
    assert net.normalize_output_layer.count.item() == 5


@pytest.mark.parametrize("norm", [RunningNorm, EMANorm])
def test_normalized_net_equals_its_layer(norm, batch):
    """The shortcut for one feature gives what the layer itself would."""
    net, layer = NormalizedRewardNet(BasicRewardNet(OBS, ACT), norm), norm(1).eval()
    for seed in range(5):
        data = batch(net, n=3 + seed, seed=seed)
        raw = th.from_numpy(net.predict(*data))[:, None]
        np.testing.assert_allclose(net.predict_processed(*data), layer(raw)[:, 0].numpy(), rtol=1e-5, atol=1e-6)
        layer.update_stats(raw)
        for name, value in layer.state_dict().items():
            th.testing.assert_close(net.normalize_output_layer.state_dict()[name], value)


@pytest.mark.parametrize("layer", [nn.Identity, nn.LayerNorm, lambda n: nn.Sequential(nn.Linear(n, n))])
def test_any_shape_preserving_layer_normalizes(layer, batch):
    net = NormalizedRewardNet(BasicRewardNet(OBS, ACT), layer)
    data = batch(net)
    with th.no_grad():
        expected = net.normalize_output_layer(net.predict_th(*data)[:, None])[:, 0]
    np.testing.assert_allclose(net.predict_processed(*data), expected.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Linear, lambda n: nn.Linear(n, 2), lambda n: 3])
def test_other_layers_are_refused(layer):
    with pytest.raises(TypeError, match="normalize_output_layer must"):
        NormalizedRewardNet(Constant(OBS, ACT), layer)


def test_keywords_reach_everything_underneath(batch):
    inner = [Recorder(OBS, ACT) for _ in range(2)]
    net = NormalizedRewardNet(PlusOne(AddSTDRewardWrapper(RewardEnsemble(OBS, ACT, inner))), RunningNorm)
    net.predict_processed(*batch(net), update_stats=False, alpha=2.0, mine="x")
    assert [member.seen for member in inner] == [{"update_stats": False, "alpha": 2.0, "mine": "x"}] * 2
    net.predict_processed(*batch(net))
    assert [member.seen for member in inner] == [{}] * 2


@pytest.mark.parametrize("alike", [True, False])
def test_update_stats_false_moves_no_norm_anywhere(alike, batch):
    bases = [BasicRewardNet(OBS, ACT), BasicRewardNet(OBS, ACT, hid_sizes=(32, 32) if alike else (8,))]
    members = [NormalizedRewardNet(base, RunningNorm) for base in bases]
    net = NormalizedRewardNet(AddSTDRewardWrapper(RewardEnsemble(OBS, ACT, members), 1.0), EMANorm)
    net.predict_processed(*batch(net))
    counts = lambda: [module.count.item() for module in net.modules() if isinstance(module, BaseNorm)]
    assert counts() == [8, 8, 8]
    state = copy.deepcopy(net.state_dict())
    frozen = partial(net.predict_processed, update_stats=False)
    first, second = frozen(*batch(net, seed=1)), frozen(*batch(net, seed=1))
    np.testing.assert_array_equal(first, second)
    net.base.base.predict(*batch(net))
    net.predict(*batch(net))
    for name, value in net.state_dict().items():
        th.testing.assert_close(value, state[name], rtol=0, atol=0)
    net.predict_processed(*batch(net))
    assert counts() == [16, 16, 16]


def test_processing_wrappers_leave_the_rest_to_the_base(batch):
    base = FirstFeature(OBS, ACT, 2)
    net = NormalizedRewardNet(base, RunningNorm)
    data = batch(net)
    for call in ("predict", "predict_th"):
        np.testing.assert_array_equal(getattr(net, call)(*data), getattr(base, call)(*data))
    inputs = net.preprocess(*data)
    th.testing.assert_close(net(*inputs), base(*inputs))
    assert net.normalize_output_layer.count.item() == 0


# -- shaping --


def test_shaping_by_hand():
    net = ShapedRewardNet(Constant(OBS, ACT), lambda state: state[:, 1] ** 2, 0.9)
    state, next_state = np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32)
    state[:, 1], next_state[:, 1] = [1, 2, 0, 1], [3, 1, 2, 3]
    done = np.array([False, False, True, True])
    data = (state, np.zeros(4, int), next_state, done)
    expected = [3 + 0.9 * 9 - 1, 3 + 0.9 * 1 - 4, 3 - 0, 3 - 1]
    np.testing.assert_allclose(net.predict(*data), expected, rtol=1e-6)
    cut = np.array([False, False, False, True])
    expected[3] = 3 + 0.9 * 9 - 1
    np.testing.assert_allclose(net.predict(*data, truncated=cut), expected, rtol=1e-6)
    np.testing.assert_allclose(net.predict_processed(*data, truncated=cut), expected, rtol=1e-6)
    np.testing.assert_allclose(
        NormalizedRewardNet(net, nn.Identity).predict_processed(*data, truncated=cut), expected, 1e-5
    )
    twice = ShapedRewardNet(net, lambda state: state[:, :1], 0.5)  # a column is taken too; its potential is 0 here
    np.testing.assert_allclose(twice.predict(*data, truncated=cut), expected, rtol=1e-6)


def test_shaping_sums_to_the_difference_of_potentials(batch):
    """Over an episode, Σ γᵗ (γ Φ(s_{t+1}) − Φ(s_t)) telescopes to −Φ(s_0) when the end has potential 0."""
    potential = BasicPotentialMLP(OBS, (8,))
    net = ShapedRewardNet(Constant(OBS, ACT), potential, 0.9)
    states = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    done = np.arange(10) == 9
    shaped = net.predict(states[:-1], np.zeros(10, int), states[1:], done) - 3
    with th.no_grad():
        start = potential(th.from_numpy(states[:1])).item()
    assert np.sum(0.9 ** np.arange(10) * shaped) == pytest.approx(-start, abs=1e-5)


def test_shaping_is_differentiable_in_both_networks(batch):
    net = BasicShapedRewardNet(OBS, ACT, reward_hid_sizes=(7,), potential_hid_sizes=(5, 4), discount_factor=0.5)
    net(*net.preprocess(*batch(net))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert [tuple(p.shape) for p in net.parameters() if p.ndim == 2] == [(7, 5), (1, 7), (5, 3), (4, 5), (1, 4)]
    assert net.discount_factor == 0.5


def test_shaping_of_images_and_dicts(batch):
    image = ShapedRewardNet(CnnRewardNet(IMAGE, ACT), BasicPotentialCNN(IMAGE, (4,)), 0.9)
    mapping = spaces.Dict(a=OBS, b=ACT)
    for net in (image, BasicShapedRewardNet(mapping, ACT)):
        assert net.predict_processed(*batch(net)).shape == (8,)


def test_shaping_refuses_nonsense(batch):
    base = Constant(OBS, ACT)
    with pytest.raises(ValueError, match=r"discount_factor must lie in \[0, 1\], got 1.5"):
        ShapedRewardNet(base, BasicPotentialMLP(OBS, (4,)), 1.5)
    with pytest.raises(TypeError, match="potential must be callable"):
        ShapedRewardNet(base, 3, 0.9)
    net = ShapedRewardNet(base, lambda state: state, 0.9)
    with pytest.raises(ValueError, match=r"potential returned shape \(16, 3\) for 16 states; expected \(16,\)"):
        net.predict(*batch(net))


# -- device and dtype --


def test_device_and_dtype_of_networks_without_parameters():
    net = Constant(OBS, ACT)
    assert net.device == th.device("cpu")
    assert net.dtype == th.float32
    wrapped = NormalizedRewardNet(net, RunningNorm)
    assert wrapped.dtype == th.float32  # not that of the norm's statistics
    net.to(th.float64)
    assert net.dtype == wrapped.dtype == th.float64
    net.to("meta")
    assert net.device.type == wrapped.device.type == "meta"
    assert not list(Constant(OBS, ACT).state_dict())


@pytest.mark.cuda
@pytest.mark.skipif(not th.cuda.is_available(), reason="needs CUDA")
def test_everything_runs_on_cuda(any_space, batch):
    nets = [BasicRewardNet(any_space, ACT), BasicShapedRewardNet(any_space, ACT), Constant(any_space, ACT)]
    nets.append(NormalizedRewardNet(BasicRewardNet(any_space, ACT), RunningNorm))
    nets.append(
        NormalizedRewardNet(
            AddSTDRewardWrapper(
                RewardEnsemble(any_space, ACT, [BasicRewardNet(any_space, ACT) for _ in range(3)]), 0.5
            ),
            EMANorm,
        )
    )
    for net in nets:
        data = batch(net)
        expected = [net.predict_processed(*data, update_stats=False), net.predict(*data)]
        net.to("cuda")
        assert net.device.type == "cuda"
        found = [net.predict_processed(*data, update_stats=False), net.predict(*data)]
        for ours, theirs in zip(found, expected, strict=True):
            assert isinstance(ours, np.ndarray)
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
        net.predict_processed(*data)


@pytest.mark.parametrize("dtype", [th.float16, th.bfloat16, th.float32, th.float64])
@pytest.mark.parametrize("layer", [RunningNorm, EMANorm, nn.LayerNorm, nn.Identity])
def test_every_dtype_predicts(dtype, layer, batch):
    net = NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT, normalize_input_layer=RunningNorm), layer)
    data = batch(net)
    expected = net.predict_processed(*data, update_stats=False)
    net.to(dtype)
    assert net.dtype == dtype
    found = net.predict_processed(*data)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.isfinite(net.predict_processed(*data)).all()
