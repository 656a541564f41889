import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from imitation_lab.util import codec
from imitation_lab.util.networks import (
    BaseNorm,
    EMANorm,
    RunningNorm,
    SqueezeLayer,
    build_cnn,
    build_mlp,
    evaluating,
    training,
    training_mode,
)

NORMS = (RunningNorm, EMANorm)


def make_mixed_mode_net() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), RunningNorm(2)))
    net.train()
    net[1][1].eval()  # frozen by the user
    return net


def modes(net):
    return [m.training for m in net.modules()]


@pytest.mark.parametrize("mode", [True, False])
def test_training_mode_restores_every_submodule(mode):
    net = make_mixed_mode_net()
    before = modes(net)
    assert before == [True, True, True, True, False]
    with training_mode(net, mode):
        assert modes(net) == [mode] * 5
    assert modes(net) == before


def test_training_mode_restores_after_an_error_and_nests():
    net = make_mixed_mode_net()
    before = modes(net)
    with evaluating(net):
        with training(net):
            assert all(modes(net))
        assert not any(modes(net))
    assert modes(net) == before
    with pytest.raises(RuntimeError, match="stop"), evaluating(net):
        raise RuntimeError("stop")
    assert modes(net) == before
    with training_mode(net):
        assert not any(modes(net))


def test_squeeze_layer():
    x = th.arange(3.0).reshape(3, 1)
    assert th.equal(SqueezeLayer()(x), th.arange(3.0))
    with pytest.raises(ValueError, match=r"expected shape \(batch, 1\), got \(3, 2\)"):
        SqueezeLayer()(th.zeros(3, 2))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    offset=st.sampled_from([0.0, -3.0, 1e4]),
    scale=st.sampled_from([0.1, 1.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_running_norm_equals_numpy_over_all_data(sizes, offset, scale, seed):
    data = np.random.default_rng(seed).normal(offset, scale, size=(sum(sizes), 3)).astype(np.float32)
    norm = RunningNorm(3)
    for batch in np.split(data, np.cumsum(sizes)[:-1]):
        norm.update_stats(th.as_tensor(batch))
    assert norm.count == len(data)
    if len(data):
        wide = data.astype(np.float64)
        np.testing.assert_allclose(norm.running_mean, wide.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(norm.running_var, wide.var(axis=0), rtol=1e-6, atol=1e-12)


def test_running_norm_normalizes_large_offsets_without_losing_digits(rng):
    data = th.as_tensor(rng.normal(1e4, 1.0, size=(5000, 2)).astype(np.float32))
    norm = RunningNorm(2)
    for batch in data.split(7):
        norm(batch)
    norm.eval()
    out = norm(data).numpy()
    assert out.dtype == np.float32
    wide = data.numpy().astype(np.float64)
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_running_norm_by_hand():
    norm = RunningNorm(1)
    norm.update_stats(th.tensor([[1.0], [3.0]]))  # mean 2, var 1
    norm.update_stats(th.tensor([[8.0]]))  # of 1, 3, 8: mean 4, var (9 + 1 + 16) / 3
    assert norm.running_mean.item() == pytest.approx(4.0, rel=1e-12)
    assert norm.running_var.item() == pytest.approx(26 / 3, rel=1e-12)
    assert norm.count.item() == 3
    assert norm.count.dtype == th.int64


def test_forward_normalizes_with_the_updated_statistics():
    norm = RunningNorm(1, eps=1e-8)
    out = norm(th.tensor([[1.0], [3.0]]))
    np.testing.assert_allclose(out, [[-1.0], [1.0]], rtol=1e-6)


def test_ema_norm_against_a_hand_computed_series():
    # decay 0.5; batch means 2, 6, 0; batch variances 1, 4, 0.
    norm = EMANorm(1, decay=0.5)
    norm.update_stats(th.tensor([[1.0], [3.0]]))
    assert norm.running_mean.item() == pytest.approx(2.0)
    assert norm.running_var.item() == pytest.approx(1.0)
    # Weights after correction 1/3, 2/3: mean 14/3; E[x²] = (5 + 2·40)/3, var = 85/3 − 196/9 = 59/9.
    norm.update_stats(th.tensor([[4.0], [8.0]]))
    assert norm.running_mean.item() == pytest.approx(14 / 3, rel=1e-12)
    assert norm.running_var.item() == pytest.approx(59 / 9, rel=1e-12)
    # Weights 1/7, 2/7, 4/7: mean 2; E[x²] = (5 + 80 + 0)/7, var = 85/7 − 4 = 57/7.
    norm.update_stats(th.tensor([[0.0]]))
    assert norm.running_mean.item() == pytest.approx(2.0, rel=1e-12)
    assert norm.running_var.item() == pytest.approx(57 / 7, rel=1e-12)
    assert norm.count.item() == 5


def test_ema_norm_equals_adams_bias_correction(rng):
    decay = 0.9
    norm = EMANorm(2, decay=decay)
    first = second = np.zeros(2)
    for t in range(1, 40):
        batch = rng.normal(t / 10, 1.0, size=(5, 2))
        norm.update_stats(th.as_tensor(batch))
        first = decay * first + (1 - decay) * batch.mean(0)
        second = decay * second + (1 - decay) * (batch**2).mean(0)
        mean, square = first / (1 - decay**t), second / (1 - decay**t)
        np.testing.assert_allclose(norm.running_mean, mean, rtol=1e-9)
        np.testing.assert_allclose(norm.running_var, square - mean**2, rtol=1e-8)


def test_ema_norm_follows_a_drift_and_running_norm_does_not(rng):
    ema, running = EMANorm(1, decay=0.9), RunningNorm(1)
    for mean in [0.0] * 100 + [10.0] * 100:
        batch = th.as_tensor(rng.normal(mean, 1.0, size=(8, 1)))
        ema.update_stats(batch)
        running.update_stats(batch)
    assert ema.running_mean.item() == pytest.approx(10.0, abs=0.6)
    assert running.running_mean.item() == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("norm_cls", NORMS)
def test_statistics_move_in_training_mode_only(norm_cls, rng):
    norm = norm_cls(3)
    batch = th.as_tensor(rng.normal(5.0, 2.0, size=(8, 3)).astype(np.float32))
    norm.eval()
    np.testing.assert_allclose(norm(batch), batch, rtol=1e-4)
    assert norm.count == 0
    norm.train()
    norm(batch)
    assert norm.count == 8
    stats = {k: v.clone() for k, v in norm.state_dict().items()}
    norm.eval()
    norm(batch + 100)
    assert all(th.equal(stats[k], v) for k, v in norm.state_dict().items())


@pytest.mark.parametrize("norm_cls", NORMS)
def test_batches_of_one_and_none_never_give_nan(norm_cls):
    norm = norm_cls(2)
    assert norm(th.zeros(0, 2)).shape == (0, 2)
    assert norm.count == 0
    first = norm(th.tensor([[1.0, -7.0]]))
    np.testing.assert_allclose(first, np.zeros((1, 2)))
    for _ in range(20):
        assert norm(th.tensor([[1.0, -7.0]])).isfinite().all()
    np.testing.assert_allclose(norm.running_mean, [1.0, -7.0])
    np.testing.assert_allclose(norm.running_var, [0.0, 0.0], atol=1e-20)
    stats = norm.running_mean.clone()
    norm(th.zeros(0, 2))
    assert th.equal(norm.running_mean, stats)
    assert norm.count == 21


@pytest.mark.parametrize("norm_cls", NORMS)
def test_shapes(norm_cls, rng):
    flat, wide = norm_cls(1), norm_cls(1)
    values = th.as_tensor(rng.normal(3.0, 2.0, size=6).astype(np.float32))
    assert th.equal(flat(values), wide(values[:, None])[:, 0])

    deep, rows = norm_cls(2), norm_cls(2)
    values = th.as_tensor(rng.normal(3.0, 2.0, size=(3, 4, 2)).astype(np.float32))
    assert th.equal(deep(values), rows(values.reshape(12, 2)).reshape(3, 4, 2))
    assert deep.count == 12

    for bad in (th.zeros(2), th.zeros(4, 3), th.zeros(())):
        for mode in (True, False):
            deep.train(mode)
            with pytest.raises(ValueError, match=r"num_features=2 expected shape \(batch, 2\), got"):
                deep(bad)


@pytest.mark.parametrize("norm_cls", NORMS)
def test_integers_and_gradients(norm_cls):
    out = norm_cls(1)(th.tensor([[1], [3]], dtype=th.uint8))
    assert out.dtype == th.float32
    np.testing.assert_allclose(out, [[-1.0], [1.0]], rtol=1e-4)

    norm = norm_cls(1, eps=1e-12)
    norm.update_stats(th.tensor([[0.0], [4.0]]))  # standard deviation 2
    norm.eval()
    x = th.tensor([[1.0]], requires_grad=True)
    norm(x).backward()
    assert x.grad.item() == pytest.approx(0.5)
    assert not norm.running_mean.requires_grad


@pytest.mark.parametrize("norm_cls", NORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nonfinite_batches_do_not_reach_the_statistics(norm_cls, bad):
    norm = norm_cls(2)
    norm.update_stats(th.tensor([[1.0, 2.0], [3.0, 4.0]]))
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    with pytest.raises(ValueError, match=rf"{norm_cls.__name__}.update_stats got a batch with NaN or infinite"):
        norm(th.tensor([[1.0, bad]]))
    assert all(th.equal(before[k], v) for k, v in norm.state_dict().items())


@pytest.mark.parametrize("norm_cls", NORMS)
def test_reset_and_state_dict(norm_cls, rng):
    data = th.as_tensor(rng.normal(3.0, 2.0, size=(10, 2)))
    norm, fresh = norm_cls(2), norm_cls(2)
    norm(data)
    copy = norm_cls(2)
    copy.load_state_dict(norm.state_dict())
    assert th.equal(copy(data * 2), norm(data * 2))
    norm.reset_running_stats()
    assert all(th.equal(fresh.state_dict()[k], v) for k, v in norm.state_dict().items())
    assert th.equal(norm(data), fresh(data))


def test_norm_arguments():
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="num_features must be a positive integer"):
            RunningNorm(bad)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        RunningNorm(2, eps=-1e-9)
    for bad in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"decay must lie in \(0, 1\)"):
            EMANorm(2, decay=bad)
    assert repr(EMANorm(2)) == "EMANorm(2, decay=0.99, eps=1e-05)"
    assert codec.decode(codec.encode(RunningNorm)) is RunningNorm
    assert codec.decode(codec.encode(EMANorm)) is EMANorm


@pytest.mark.cuda
@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("norm_cls", NORMS)
def test_norms_on_cuda_equal_those_on_cpu(norm_cls, rng):
    cpu, gpu = norm_cls(3), norm_cls(3).cuda()
    for _ in range(5):
        batch = th.as_tensor(rng.normal(100.0, 2.0, size=(8, 3)).astype(np.float32))
        np.testing.assert_allclose(gpu(batch.cuda()).cpu(), cpu(batch), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gpu.running_var.cpu(), cpu.running_var, rtol=1e-12)


def test_build_mlp_layers():
    net = build_mlp(4, [8, 6], 2, name="net", activation=nn.Tanh, dropout_prob=0.1, normalize_input_layer=RunningNorm)
    assert [name for name, _ in net.named_children()] == [
        "net_normalize_input",
        "net_dense0",
        "net_act0",
        "net_dropout0",
        "net_dense1",
        "net_act1",
        "net_dropout1",
        "net_dense_final",
    ]
    assert isinstance(net.net_normalize_input, BaseNorm)
    assert isinstance(net.net_act0, nn.Tanh)
    assert net(th.zeros(3, 4)).shape == (3, 2)


def test_build_mlp_computes_the_written_formula(rng):
    net = build_mlp(3, [5], 1, squeeze_output=True)
    x = th.as_tensor(rng.normal(size=(7, 3)).astype(np.float32))
    w0, b0, w1, b1 = net.parameters()
    expected = th.relu(x @ w0.T + b0) @ w1[0] + b1
    np.testing.assert_allclose(net(x).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert build_mlp(3, []).dense_final.in_features == 3


def test_build_mlp_flattens_before_it_normalizes(rng):
    net = build_mlp(6, [4], flatten_input=True, normalize_input_layer=RunningNorm)
    assert [type(layer) for layer in net][:2] == [nn.Flatten, RunningNorm]
    assert net(th.as_tensor(rng.normal(size=(5, 2, 3)).astype(np.float32))).shape == (5, 1)
    assert net.normalize_input.count == 5


def test_build_cnn():
    net = build_cnn(3, [4, 5], 2, name="c", dropout_prob=0.5)
    assert [name for name, _ in net.named_children()] == [
        "c_conv0",
        "c_act0",
        "c_dropout0",
        "c_conv1",
        "c_act1",
        "c_dropout1",
        "c_avg_pool",
        "c_flatten",
        "c_dense_final",
    ]
    for size in (8, 13):
        assert net(th.zeros(2, 3, size, size)).shape == (2, 2)
    squeezed = build_cnn(1, [2], squeeze_output=True, kernel_size=2, stride=2, padding=0)
    x = th.rand(3, 1, 6, 6)
    pooled = th.relu(squeezed.conv0(x)).mean(dim=(2, 3))
    np.testing.assert_allclose(squeezed(x).detach(), squeezed.dense_final(pooled)[:, 0].detach(), rtol=1e-5, atol=1e-6)
    assert squeezed.conv0(x).shape == (3, 2, 3, 3)


@pytest.mark.parametrize("build", [build_mlp, build_cnn])
def test_builders_refuse(build):
    with pytest.raises(ValueError, match="squeeze_output=True needs out_size=1, got out_size=2"):
        build(3, [4], 2, squeeze_output=True)
    with pytest.raises(ValueError, match=r"dropout_prob must lie in \[0, 1\)"):
        build(3, [4], dropout_prob=1.0)
    with pytest.raises(ValueError, match='padding="same" needs stride=1, got stride=2'):
        build_cnn(3, [4], stride=2)


@pytest.mark.parametrize("norm_cls", NORMS)
@pytest.mark.parametrize("dtype", [th.float32, th.float16, th.bfloat16])
def test_statistics_keep_their_dtype_and_digits(norm_cls, dtype, rng):
    norm = norm_cls(2)
    norm.update_stats(th.from_numpy(rng.normal(1e6, 1e-3, size=(100, 2))))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.to(dtype).half().float()
    for name, value in norm.state_dict().items():
        assert value.dtype == before[name].dtype
        assert th.equal(value, before[name])
    assert norm(th.zeros(3, 2, dtype=dtype)).dtype == dtype


def test_the_count_outgrows_float16():
    norm = RunningNorm(1).half()
    for value in (0.0, 2.0):
        norm.update_stats(th.full((50_000, 1), value, dtype=th.float16))
    assert (norm.count.item(), norm.running_mean.item(), norm.running_var.item()) == (100_000, 1, 1)


@pytest.mark.parametrize("norm_cls", NORMS)
def test_values_whose_variance_overflows_are_named_as_such(norm_cls):
    norm = norm_cls(1)
    with pytest.raises(ValueError, match=r"values as large as 1e\+200, whose variance float64 cannot hold"):
        norm.update_stats(th.tensor([[1e200], [-1e200]], dtype=th.float64))
    assert norm.count.item() == 0


def test_a_train_method_of_ones_own_is_called():
    class Frozen(nn.Module):
        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

        def __init__(self):
            super().__init__()
            self.norm = RunningNorm(1)

    net = nn.Sequential(Frozen(), nn.Linear(1, 1)).eval()
    with training(net):
        assert [module.training for module in net.modules()] == [True, True, False, True]
    assert not any(module.training for module in net.modules())
