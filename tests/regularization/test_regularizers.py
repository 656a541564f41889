"""Regularizers: hand-derived gradients and weights, gradient accumulation, λ, refusals."""

import math

import numpy as np
import pytest
import torch as th

from imitation_lab.regularization.regularizers import (
    LossRegularizer,
    LpRegularizer,
    Regularizer,
    Scalar,
    WeightDecayRegularizer,
    WeightRegularizer,
    lp_penalty,
)
from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.util.logger import configure

SCALER = IntervalParamScaler(0.5, (0.9, 1.1))


class Recorder:
    """Keeps what is logged."""

    def __init__(self):
        self.records = []

    def record(self, key, val, exclude=None):
        self.records.append((key, val))

    def of(self, key):
        return [val for name, val in self.records if name == key]


def params_of(*values):
    return [th.nn.Parameter(th.tensor(value, dtype=th.float64)) for value in values]


def build(cls, params, *, opt=th.optim.SGD, lr=0.1, initial_lambda=0.5, logger=None, **kwargs):
    factory = cls.create(initial_lambda, **kwargs)
    return factory(optimizer=opt(params, lr=lr), logger=logger or Recorder())


# ---- the Lp penalty --------------------------------------------------------------------------------------------

# loss 3·a₀ + 2·b, with w = (a₀, a₁, b) = (1, −2, 0); d/dw of λ·Σ|w|ᵖ = λ·p·|w|ᵖ⁻¹·sign(w), λ = 0.5
LP_TABLE = [
    (1, 1.5, [3.5, -0.5, 2.0]),
    (2, 2.5, [4.0, -2.0, 2.0]),
    (3, 4.5, [4.5, -6.0, 2.0]),
    (4, 8.5, [5.0, -16.0, 2.0]),
]


@pytest.mark.parametrize(("p", "penalty", "gradient"), LP_TABLE)
def test_lp_by_hand(p, penalty, gradient):
    a, b = params_of([1.0, -2.0], [[0.0]])
    logger = Recorder()
    regularizer = build(LpRegularizer, [a, b], p=p, logger=logger)
    returned = regularizer.regularize_and_backward(3 * a[0] + 2 * b.sum())
    np.testing.assert_allclose([*a.grad, b.grad.item()], gradient, atol=1e-6)
    assert returned.item() == pytest.approx(3.0 + penalty, abs=1e-6)
    assert returned.shape == ()
    assert not returned.requires_grad
    assert isinstance(logger.of("regularized_loss")[-1], th.Tensor)  # no transfer from the device
    assert logger.of("regularized_loss") == [returned]
    assert a.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_lp_penalty_matches_numerical_gradient(p):
    rng = np.random.default_rng(p)
    params = params_of(rng.normal(size=(3, 2)), rng.normal(size=4))
    assert th.autograd.gradcheck(lambda *ws: lp_penalty(ws, p), params)
    expected = sum((np.abs(w.detach().numpy()) ** p).sum() for w in params)
    assert lp_penalty(params, p).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_subgradient_at_zero(p):
    (w,) = params_of(np.zeros(3))
    lp_penalty([w], p).backward()
    assert w.grad.tolist() == [0.0, 0.0, 0.0]


def test_lp_covers_all_groups_and_leaves_frozen_parameters():
    a, b, frozen = params_of([1.0], [2.0], [10.0])
    frozen.requires_grad_(False)
    optimizer = th.optim.SGD([{"params": [a]}, {"params": [b, frozen]}], lr=0.1)
    regularizer = LpRegularizer(optimizer, 0.5, None, Recorder(), 2)
    returned = regularizer.regularize_and_backward(a.sum())
    assert returned.item() == pytest.approx(1.0 + 0.5 * (1.0 + 4.0))
    assert (a.grad.item(), b.grad.item()) == pytest.approx((2.0, 2.0))
    assert frozen.grad is None


def test_lp_with_nothing_trainable_adds_nothing():
    (frozen,) = params_of([10.0])
    frozen.requires_grad_(False)
    (other,) = params_of([1.0])
    assert build(LpRegularizer, [frozen], p=1).regularize_and_backward(other.sum()).item() == 1.0


# ---- decoupled weight decay ------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_tensor", [False, True])
def test_weight_decay_uses_each_groups_rate(as_tensor):
    a, b, frozen = params_of([1.0, -2.0], [[4.0]], [10.0])
    frozen.requires_grad_(False)
    rate = th.tensor(0.1, dtype=th.float64) if as_tensor else 0.1
    optimizer = th.optim.Adam([{"params": [a], "lr": rate}, {"params": [b, frozen]}], lr=0.02)
    logger = Recorder()
    regularizer = WeightDecayRegularizer(optimizer, 0.5, None, logger)
    assert regularizer.regularize_and_backward(3 * a[0] + 2 * b.sum()) is None
    np.testing.assert_allclose(a.detach(), [0.95, -1.9], atol=1e-6)  # 1 − 0.5·0.1
    np.testing.assert_allclose(b.detach(), [[3.96]], atol=1e-6)  # 1 − 0.5·0.02
    assert frozen.tolist() == [10.0]
    assert (a.grad.tolist(), b.grad.tolist()) == ([3.0, 0.0], [[2.0]])  # the gradient knows nothing of the decay
    assert logger.of("regularized_loss") == []
    assert logger.of("regularization_lambda")[-1] == 0.5


def test_weight_decay_then_step_by_hand():
    (w,) = params_of([2.0])
    regularizer = build(WeightDecayRegularizer, [w], lr=0.1, initial_lambda=0.3)
    regularizer.regularize_and_backward((w**2).sum())
    regularizer.optimizer.step()
    assert w.item() == pytest.approx(2.0 * (1 - 0.03) - 0.1 * 4.0, abs=1e-6)  # the gradient is of the old weight


def test_weight_decay_is_that_of_adamw():
    def run(make):
        th.manual_seed(0)
        net = th.nn.Linear(3, 2).double()
        step, data = make(net), th.randn(20, 5, 3, dtype=th.float64)
        for batch in data:
            net.zero_grad()
            step(net(batch).square().mean())
        return th.nn.utils.parameters_to_vector(net.parameters()).detach()

    def ours(net):
        regularizer = build(WeightDecayRegularizer, net.parameters(), opt=th.optim.Adam, lr=0.01)
        return lambda loss: (regularizer.regularize_and_backward(loss), regularizer.optimizer.step())

    def torchs(net):
        optimizer = th.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.5)
        return lambda loss: (loss.backward(), optimizer.step())

    np.testing.assert_allclose(run(ours), run(torchs), rtol=1e-10)


def test_weight_decay_follows_a_learning_rate_schedule():
    (w,) = params_of([1.0])
    regularizer = build(WeightDecayRegularizer, [w], lr=0.1)
    regularizer.optimizer.param_groups[0]["lr"] = 0.4
    regularizer.regularize_and_backward((0 * w).sum())
    assert w.item() == pytest.approx(0.8, abs=1e-6)


# ---- gradient accumulation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "kwargs"), [(LpRegularizer, {"p": 1}), (LpRegularizer, {"p": 2}), (WeightDecayRegularizer, {})]
)
@pytest.mark.parametrize("opt", [th.optim.SGD, th.optim.Adam])
def test_minibatches_of_unequal_size_equal_one_batch(cls, kwargs, opt):
    data = np.random.default_rng(0).normal(size=(4, 10, 3))

    def run(sizes):
        th.manual_seed(1)
        net, logger = th.nn.Linear(3, 2).double(), Recorder()
        regularizer = build(cls, net.parameters(), opt=opt, lr=0.05, logger=logger, **kwargs)
        returned = []
        for batch in th.as_tensor(data):
            regularizer.optimizer.zero_grad()
            parts = batch.split(sizes)
            for i, part in enumerate(parts):
                loss = net(part).square().mean() * (len(part) / len(batch))
                returned.append(regularizer.regularize_and_backward(loss, last=i == len(parts) - 1))
            regularizer.optimizer.step()
        logged = [value.item() for value in logger.of("regularized_loss")]
        return th.nn.utils.parameters_to_vector(net.parameters()).detach().numpy(), logged, returned

    whole, logged_whole, returned_whole = run([10])
    parts, logged_parts, returned_parts = run([4, 4, 2])
    np.testing.assert_allclose(parts, whole, rtol=1e-10)
    np.testing.assert_allclose(logged_parts, logged_whole, rtol=1e-10)
    if cls is LpRegularizer:
        assert len(logged_whole) == len(data)  # one record per optimizer step
        np.testing.assert_allclose(np.reshape(returned_parts, (-1, 3)).sum(1), np.array(returned_whole), rtol=1e-10)


def test_minibatches_see_the_weights_as_they_were():
    (w,) = params_of([1.0])
    regularizer = build(WeightDecayRegularizer, [w])
    for last, expected in [(False, 1.0), (False, 1.0), (True, 0.95)]:
        regularizer.regularize_and_backward(w.sum(), last=last)
        assert w.item() == pytest.approx(expected, abs=1e-12)
    assert w.grad.item() == 3.0


# ---- λ ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "kwargs"), [(LpRegularizer, {"p": 1}), (WeightDecayRegularizer, {})])
def test_lambda_trace_is_applied_and_logged(cls, kwargs):
    (w,) = params_of([1.0])
    logger = Recorder()
    regularizer = build(cls, [w], initial_lambda=0.4, lambda_updater=SCALER, val_split=0.2, logger=logger, **kwargs)
    assert regularizer.val_split == 0.2
    for train, val in [(1.0, 2.0), (th.tensor(1.0), th.tensor(1.0)), (1.0, 0.1)]:
        regularizer.update_params(train, val)
    np.testing.assert_allclose(logger.of("regularization_lambda"), [0.4, 0.6, 0.6, 0.3], rtol=1e-12)
    regularizer.regularize_and_backward((0 * w).sum())
    if cls is LpRegularizer:
        assert w.grad.item() == pytest.approx(0.3)
    else:
        assert w.item() == pytest.approx(1 - 0.3 * 0.1)


def test_without_updater_lambda_stays():
    regularizer = build(LpRegularizer, params_of([1.0]), p=2)
    regularizer.update_params(1.0, 100.0)
    assert regularizer.lambda_ == 0.5
    assert regularizer.val_split is None


def test_zero_lambda_with_an_updater_of_ones_own():
    updater = lambda lambda_, train_loss, val_loss: lambda_ + 0.1
    regularizer = build(LpRegularizer, params_of([1.0]), p=2, initial_lambda=0, lambda_updater=updater, val_split=0.5)
    regularizer.update_params(1.0, 1.0)
    assert regularizer.lambda_ == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-1.0, ValueError, "finite and at least 0, got -1.0"),
        (math.nan, ValueError, "got nan"),
        (None, TypeError, "NoneType"),
    ],
)
def test_refuses_what_an_updater_returned(value, error, text):
    regularizer = build(LpRegularizer, params_of([1.0]), p=2, lambda_updater=lambda *_: value, val_split=0.5)
    with pytest.raises(error, match=text):
        regularizer.update_params(1.0, 1.0)
    assert regularizer.lambda_ == 0.5


def test_state_round_trip_is_plain_data():
    params = params_of([1.0])
    regularizer = build(LpRegularizer, params, p=2, lambda_updater=SCALER, val_split=0.5)
    regularizer.update_params(1.0, 2.0)
    state = regularizer.state_dict()
    assert state == {"lambda_": 0.75}
    other = build(LpRegularizer, params, p=2, lambda_updater=SCALER, val_split=0.5)
    other.load_state_dict(state)
    assert other.lambda_ == 0.75


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ({}, ValueError, "one key 'lambda_'"),
        ({"lambda_": 1.0, "p": 2}, ValueError, "one key 'lambda_'"),
        ({"lambda_": -1.0}, ValueError, "got -1.0"),
        ({"lambda_": "1"}, TypeError, "of type str"),
    ],
)
def test_refuses_wrong_state(state, error, text):
    with pytest.raises(error, match=text):
        build(LpRegularizer, params_of([1.0]), p=2).load_state_dict(state)


# ---- construction ----------------------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    ({"initial_lambda": -0.1}, ValueError, "initial_lambda must be finite and at least 0, got -0.1"),
    ({"initial_lambda": math.nan}, ValueError, "got nan"),
    ({"initial_lambda": math.inf}, ValueError, "got inf"),
    ({"initial_lambda": "1"}, TypeError, "initial_lambda must be a number"),
    ({"initial_lambda": 0.0}, ValueError, "initial_lambda is 0 and there is no lambda_updater"),
    (
        {"initial_lambda": 0.0, "lambda_updater": SCALER, "val_split": 0.2},
        ValueError,
        "IntervalParamScaler cannot scale",
    ),
    ({"lambda_updater": SCALER}, ValueError, "there is no val_split: pass for example val_split=0.2"),
    ({"lambda_updater": 0.5, "val_split": 0.2}, TypeError, "lambda_updater must be None or a callable"),
    ({"val_split": 0.2}, ValueError, "would hold out data that nothing uses"),
    ({"lambda_updater": SCALER, "val_split": 1.0}, ValueError, r"inside \(0, 1\), got 1.0"),
    ({"lambda_updater": SCALER, "val_split": -0.2}, ValueError, r"inside \(0, 1\), got -0.2"),
    ({"lambda_updater": SCALER, "val_split": math.nan}, ValueError, "got nan"),
    ({"lambda_updater": SCALER, "val_split": "half"}, TypeError, "val_split must be a number"),
    ({"p": 0}, ValueError, "p must be an integer of at least 1, got 0"),
    ({"p": -1}, ValueError, "p must be an integer of at least 1, got -1"),
    ({"p": 1.5}, TypeError, "p must be an integer of at least 1, got 1.5"),
    ({"p": True}, TypeError, "p must be an integer of at least 1, got True"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD_ARGUMENTS)
def test_refuses_wrong_arguments_at_create_and_at_construction(arguments, error, text):
    arguments = {"initial_lambda": 0.5, "p": 2, **arguments}
    with pytest.raises(error, match=text):
        LpRegularizer.create(**arguments)
    optimizer = th.optim.SGD(params_of([1.0]), lr=0.1)
    with pytest.raises(error, match=text):
        LpRegularizer(optimizer=optimizer, logger=Recorder(), **{"lambda_updater": None, **arguments})


@pytest.mark.parametrize(("arguments", "error", "text"), [case for case in BAD_ARGUMENTS if "p" not in case[0]])
def test_weight_decay_refuses_the_same(arguments, error, text):
    with pytest.raises(error, match=text):
        WeightDecayRegularizer.create(**{"initial_lambda": 0.5, **arguments})


def test_zero_split_means_none_at_create_alone():
    optimizer = th.optim.SGD(params_of([1.0]), lr=0.1)
    assert LpRegularizer.create(0.5, None, 0.0, p=2)(optimizer=optimizer, logger=Recorder()).val_split is None
    assert LpRegularizer.create(0.5, None, None, p=2)(optimizer=optimizer, logger=Recorder()).val_split is None
    with pytest.raises(ValueError, match=r"inside \(0, 1\), got 0.0; None means no split"):
        LpRegularizer(optimizer, 0.5, SCALER, Recorder(), p=2, val_split=0.0)


def test_create_names_missing_and_unknown_arguments():
    with pytest.raises(TypeError, match="LpRegularizer.create: missing a required argument: 'p'"):
        LpRegularizer.create(0.5)
    with pytest.raises(TypeError, match="WeightDecayRegularizer.create: got an unexpected keyword argument 'p'"):
        WeightDecayRegularizer.create(0.5, p=2)


@pytest.mark.parametrize("cls", [Regularizer, LossRegularizer, WeightRegularizer])
def test_create_refuses_abstract_classes(cls):
    with pytest.raises(TypeError, match=f"{cls.__name__} is abstract: call create on LpRegularizer"):
        cls.create(0.5)


def test_one_factory_serves_many_optimizers():
    factory = LpRegularizer.create(0.5, SCALER, 0.25, p=2)
    first, second = (factory(optimizer=th.optim.SGD(params_of([1.0]), lr=0.1), logger=Recorder()) for _ in range(2))
    first.update_params(1.0, 2.0)
    assert (first.lambda_, second.lambda_) == (0.75, 0.5)


def test_own_subclasses():
    class Bias(LossRegularizer):
        def __init__(self, optimizer, initial_lambda, lambda_updater, logger, target, val_split=None):
            super().__init__(optimizer, initial_lambda, lambda_updater, logger, val_split)
            self.target = target

        def loss_penalty(self, loss):
            return self.lambda_ * (self.optimizer.param_groups[0]["params"][0] - self.target).square().sum()

    class Clip(WeightRegularizer):
        def regularize_weights(self, params, group):
            for param in params:
                param.clamp_(-self.lambda_, self.lambda_)

    (w,) = params_of([3.0])
    assert build(Bias, [w], target=1.0).regularize_and_backward(w.sum()).item() == pytest.approx(5.0)
    assert w.grad.item() == pytest.approx(3.0)
    build(Clip, [w]).regularize_and_backward(w.sum())
    assert w.item() == 0.5


def test_subclasses_written_for_imitation():
    class Plain(Regularizer[None]):
        def regularize_and_backward(self, loss):
            loss.backward()

    class Bias(LossRegularizer):
        def _loss_penalty(self, loss):
            return self.lambda_ * loss.detach()

    class Shrink(WeightRegularizer):
        def _weight_penalty(self, weight, group):
            return -self.lambda_ * weight

    assert LossRegularizer.__orig_bases__ == (Regularizer[Scalar],)
    (w,) = params_of([3.0])
    plain = build(Plain, [w])
    plain.regularize_and_backward(w.sum(), last=False)
    plain.regularize_and_backward(w.sum())
    assert w.grad.item() == 2.0
    assert build(Bias, [w]).regularize_and_backward(w.sum()).item() == pytest.approx(4.5)
    build(Shrink, [w]).regularize_and_backward(w.sum())
    assert w.item() == 1.5


def test_the_older_names_of_the_penalties_serve_both_ways():
    (w,) = params_of([2.0, -1.0])
    assert build(LpRegularizer, [w], p=2)._loss_penalty(w.sum()).item() == pytest.approx(2.5)
    decay = build(WeightDecayRegularizer, [w])
    np.testing.assert_allclose(decay._weight_penalty(w, {"lr": 0.1}), [-0.1, 0.05])
    assert w.tolist() == [2.0, -1.0]


def test_a_split_that_is_no_number_or_no_split_is_a_value_error():
    for split in ("half", 1e-100, True):
        with pytest.raises(ValueError, match="val_split must"):
            LpRegularizer.create(0.5, SCALER, split, p=2)


def test_with_the_real_logger(tmp_path):
    logger = configure(tmp_path, ["csv"])
    (w,) = params_of([1.0])
    regularizer = build(LpRegularizer, [w], p=2, logger=logger)
    with logger.accumulate_means("reward"):
        for _ in range(2):
            regularizer.regularize_and_backward(w.sum())
            regularizer.optimizer.step()
    # step 1: 1 + 0.5·1 at w = 1, which moves w by −0.1·(1 + 2·0.5·1) to 0.8; step 2: 0.8 + 0.5·0.64
    regularizer.regularize_and_backward((0 * w).sum())
    logger.dump(1)
    header, row = (tmp_path / "progress.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
    assert logged["mean/reward/regularized_loss"] == pytest.approx((1.5 + 1.12) / 2)
    # gradients add up: the second step saw (1 + 2·0.5·1) + (1 + 2·0.5·0.8) = 3.8, w = 0.42
    assert logged["regularized_loss"] == pytest.approx(0.5 * 0.42**2)
    assert logged["regularization_lambda"] == 0.5
    logger.close()
