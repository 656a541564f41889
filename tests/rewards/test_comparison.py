import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from imitation_lab.data.types import DictObs, Transitions
from imitation_lab.rewards.comparison import canonicalize, compare_rewards, epic_distance, pearson, spearman
from imitation_lab.rewards.reward_nets import BasicPotentialMLP, BasicRewardNet, ShapedRewardNet

OBS = spaces.Box(-2, 2, (3,), np.float32)
ACT = spaces.Discrete(3)


@pytest.fixture
def transitions(rng):
    return Transitions(
        obs=rng.normal(size=(300, 3)).astype(np.float32),
        acts=rng.integers(3, size=300),
        infos=np.array([{}] * 300),
        next_obs=rng.normal(size=(300, 3)).astype(np.float32),
        dones=rng.random(300) < 0.1,
    )


def net(seed=0, **kwargs):
    with th.random.fork_rng():
        th.manual_seed(seed)
        return BasicRewardNet(OBS, ACT, use_next_state=True, **kwargs)


def first(state, action, next_state, done):
    return state[:, 0]


def second(state, action, next_state, done):
    return state[:, 1]


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, 20, elements=st.integers(-5, 5)), arrays(np.float64, 20, elements=st.floats(-3, 3, width=16)))
def test_correlations_agree_with_scipy(x, y):
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(pearson(x, y))
        assert np.isnan(spearman(x, y))
        return
    if np.ptp(y) > 1e-3:
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


def test_spearman_by_hand():
    assert spearman([1, 2, 2, 5], [10, 30, 30, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)


def test_equal_rewards_are_equal(transitions, rng):
    result = compare_rewards(net(), net(), transitions, rng=rng)
    assert (result.pearson, result.spearman, result.epic) == pytest.approx((1, 1, 0), abs=1e-6)
    assert str(result) == "Pearson +1.000  Spearman +1.000  EPIC 0.000  (300 transitions)"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("discount", [0.5, 0.99, 1.0])
def test_shaped_and_rescaled_copies_have_distance_zero(transitions, seed, discount):
    base = net(seed)
    with th.random.fork_rng():
        th.manual_seed(100 + seed)
        potential = BasicPotentialMLP(OBS, (16,))
    with th.no_grad():
        next(iter(potential.parameters())).mul_(5)
    shaped = ShapedRewardNet(base, potential, discount)
    rescaled = lambda *transition: 7 * shaped.predict(*transition) - 3
    distance = lambda a, b: epic_distance(a, b, transitions, rng=np.random.default_rng(seed), discount=discount)
    assert distance(base, shaped) < 2e-3
    assert distance(base, rescaled) < 2e-3
    assert compare_rewards(base, shaped, transitions, rng=np.random.default_rng(0)).pearson < 0.95  # which sees shaping
    other = 0.9 * discount
    assert epic_distance(base, shaped, transitions, rng=np.random.default_rng(0), discount=other) > 0.02


def test_unrelated_and_opposite_rewards(transitions, rng):
    assert epic_distance(first, second, transitions, rng=rng) == pytest.approx(np.sqrt(0.5), abs=0.06)
    opposite = lambda *transition: -first(*transition)
    assert epic_distance(first, opposite, transitions, rng=rng) == pytest.approx(1, abs=1e-6)
    result = compare_rewards(first, opposite, transitions, rng=rng)
    assert (result.pearson, result.spearman) == pytest.approx((-1, -1))


def test_canonical_reward_by_hand():
    """Two states 0 and 1, R = s: C(R) = s + γ s′ − s − γ E[S] = γ s′ − γ E[S], the same for every s."""
    data = Transitions(
        obs=np.array([[0.0], [0.0], [1.0], [1.0]]),
        acts=np.zeros(4, int),
        infos=np.array([{}] * 4),
        next_obs=np.array([[0.0], [1.0], [0.0], [1.0]]),
        dones=np.zeros(4, bool),
    )
    values = canonicalize(first_of_one, data, rng=np.random.default_rng(0), discount=0.5, n_canonical=4000)
    np.testing.assert_allclose(values, [-0.25, 0.25, -0.25, 0.25], atol=0.01)


def first_of_one(state, action, next_state, done):
    assert not done.any()
    return state[:, 0]


def test_dict_observations(rng):
    space = spaces.Dict(a=OBS, b=ACT)
    draw = lambda: DictObs({"a": rng.normal(size=(50, 3)).astype(np.float32), "b": rng.integers(3, size=50)})
    data = Transitions(
        obs=draw(),
        acts=rng.integers(3, size=50),
        infos=np.array([{}] * 50),
        next_obs=draw(),
        dones=np.zeros(50, bool),
    )
    reward = BasicRewardNet(space, ACT)
    assert compare_rewards(reward, reward, data, rng=rng).epic == pytest.approx(0, abs=1e-6)


def test_seeded_and_chunked(transitions, monkeypatch):
    run = lambda: epic_distance(first, net(), transitions, rng=np.random.default_rng(3), n_canonical=32)
    whole = run()
    assert run() == whole
    monkeypatch.setattr("imitation_lab.rewards.comparison._CHUNK", 100)
    assert run() == pytest.approx(whole, abs=1e-6)


def test_constant_rewards_have_no_correlation(transitions, rng):
    constant = lambda s, a, n, d: np.full(len(d), 0.1, np.float32)
    assert np.isnan(compare_rewards(constant, net(), transitions, rng=rng).epic)


def test_mistakes_are_named(transitions, rng):
    with pytest.raises(ValueError, match=r"discount must lie in \[0, 1\], got 2"):
        epic_distance(first, second, transitions, rng=rng, discount=2)
    with pytest.raises(ValueError, match="at least two transitions"):
        epic_distance(first, second, transitions[:1], rng=rng)
    with pytest.raises(TypeError, match="Expected a reward function or a RewardNet"):
        compare_rewards(first, 3, transitions, rng=rng)
    with pytest.raises(ValueError, match=r"one shape \(n,\)"):
        pearson([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="NaN or infinite"):
        compare_rewards(first, lambda s, a, n, d: np.full(len(d), np.nan), transitions, rng=rng)
