import itertools
import pathlib
import re

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.util import util
from imitation_lab.util.networks import build_mlp
from imitation_lab.util.policy_files import load_policy_file


def roll(venv, n_steps=12):
    """Observations, and actions drawn from the environments' own action spaces."""
    observations = [venv.reset()]
    actions = []
    for _ in range(n_steps):
        acts = np.array([space.sample() for space in venv.get_attr("action_space")])
        observations.append(venv.step(acts)[0])
        actions.append(acts)
    venv.close()
    return np.stack(observations), np.stack(actions)


def make(seed, **kwargs):
    kwargs = {"n_envs": 3, "max_episode_steps": 5, **kwargs}
    return util.make_vec_env("CartPole-v1", rng=np.random.default_rng(seed), **kwargs)


def test_make_vec_env_same_rng_same_rollouts():
    obs, acts = roll(make(0))
    again_obs, again_acts = roll(make(0))
    np.testing.assert_array_equal(obs, again_obs)
    np.testing.assert_array_equal(acts, again_acts)
    other_obs, other_acts = roll(make(1))
    assert (obs[0] != other_obs[0]).all()
    assert (acts != other_acts).any()
    # Copies differ from each other, in their starts and in their random actions.
    assert len(np.unique(obs[0], axis=0)) == 3
    assert len(np.unique(acts.T, axis=0)) == 3


def test_make_vec_env_draws_new_seeds_at_each_call(rng):
    first = util.make_vec_env("CartPole-v1", rng=rng, n_envs=1)
    second = util.make_vec_env("CartPole-v1", rng=rng, n_envs=1)
    assert (first.reset() != second.reset()).all()


@pytest.mark.slow
def test_make_vec_env_parallel_gives_the_same_episodes():
    venv = make(0, n_envs=2, parallel=True)
    obs = venv.reset()
    venv.close()
    np.testing.assert_array_equal(obs, make(0, n_envs=2).reset())


def test_make_vec_env_options(tmp_path):
    seen = []

    def wrapper(env, i):
        seen.append(i)
        return gym.wrappers.TransformReward(env, lambda reward: reward + i)

    venv = make(0, n_envs=2, log_dir=tmp_path / "logs", post_wrappers=[wrapper], env_make_kwargs={"render_mode": None})
    venv.reset()
    for step in range(5):
        _, rewards, dones, infos = venv.step(np.array([step % 2] * 2))
    assert seen == [0, 1]
    np.testing.assert_array_equal(rewards, [1.0, 2.0])
    assert dones.all()
    assert infos[0]["TimeLimit.truncated"]
    assert infos[1]["episode"] == {"r": 5.0, "l": 5, "t": infos[1]["episode"]["t"]}
    venv.close()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["mon000.monitor.csv", "mon001.monitor.csv"]


def test_make_vec_env_wants_an_id(rng):
    with pytest.raises(TypeError, match=r"must be the id of a registered environment.*got <function.*register"):
        util.make_vec_env(lambda: None, rng=rng)


def test_make_vec_env_takes_other_namespaces(rng):
    gym.register("some_space/Cart-v3", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=2)
    try:
        venv = util.make_vec_env("some_space/Cart-v3", rng=rng, n_envs=1)
        venv.reset()
        venv.step([0])
        assert venv.step([0])[2].all()
    finally:
        del gym.registry["some_space/Cart-v3"]
    venv = util.make_vec_env("gymnasium.envs.classic_control:CartPole-v1", rng=rng, n_envs=1)
    assert venv.num_envs == 1


def test_make_vec_env_errors(rng):
    with pytest.raises(ValueError, match=r"Unknown environment 'CarPole-v1'. Did you mean 'CartPole-v1'"):
        util.make_vec_env("CarPole-v1", rng=rng)
    with pytest.raises(ValueError, match='env_name="package:nowhere/Env-v0"'):
        util.make_vec_env("nowhere/Env-v0", rng=rng)
    with pytest.raises(ValueError, match="n_envs must be at least 1, got 0"):
        util.make_vec_env("CartPole-v1", rng=rng, n_envs=0)
    with pytest.raises(ValueError, match="max_episode_steps must be at least 1, or None, got 0"):
        util.make_vec_env("CartPole-v1", rng=rng, max_episode_steps=0)
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator"):
        util.make_vec_env("CartPole-v1", rng=0)


def test_make_seeds():
    one = util.make_seeds(np.random.default_rng(0))
    assert isinstance(one, int)
    many = util.make_seeds(np.random.default_rng(0), 5)
    assert many == util.make_seeds(np.random.default_rng(0), 5)
    assert len(set(many)) == 5
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in many)
    assert util.make_seeds(np.random.default_rng(0), 0) == []
    with pytest.raises(TypeError, match=r"np.random.default_rng\(0\)"):
        util.make_seeds(np.random.RandomState(0))
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        util.make_seeds(np.random.default_rng(0), -1)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 200))
def test_oric_keeps_the_sum_and_stays_near(weights, total):
    weights = np.array(weights, dtype=float)
    if weights.sum() == 0:
        weights += 1
    x = weights / weights.sum() * total
    rounded = util.oric(x)
    assert rounded.dtype == np.int64
    assert rounded.sum() == total
    assert (np.abs(rounded - x) < 1 + 1e-6).all()


def test_oric_by_hand():
    np.testing.assert_array_equal(util.oric(np.array([0.2, 1.7, 2.6, 0.5])), [0, 2, 3, 0])
    np.testing.assert_array_equal(util.oric(np.array([0.5, 0.5])), [1, 0])
    np.testing.assert_array_equal(util.oric(np.array([2.9999999999, 1.0000000001])), [3, 1])
    with pytest.raises(ValueError, match="expected an integer sum, got 0.75"):
        util.oric(np.array([0.5, 0.25]))
    for bad in ([-1.0, 2.0], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="expected a vector of finite numbers of at least 0"):
            util.oric(np.array(bad))


def test_make_unique_timestamp():
    stamps = {util.make_unique_timestamp() for _ in range(20)}
    assert len(stamps) == 20
    assert all(re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{6}", stamp) for stamp in stamps)


def test_docstring_parameter():
    @util.docstring_parameter("x", b=3)
    def documented():
        """Has {0} and {b}."""

    assert documented.__doc__ == "Has x and 3."
    assert util.docstring_parameter("x")(lambda: None).__doc__ is None


def test_endless_iter():
    assert list(itertools.islice(util.endless_iter([1, 2, 3]), 7)) == [1, 2, 3, 1, 2, 3, 1]
    with pytest.raises(ValueError, match="empty iterable"):
        util.endless_iter([])
    once = util.endless_iter(iter([1, 2]))
    assert [next(once), next(once)] == [1, 2]
    with pytest.raises(ValueError, match="gave nothing on its second pass"):
        next(once)
    assert next(util.endless_iter(itertools.count())) == 0


def test_get_first_iter_element():
    items = [1, 2, 3]
    first, same = util.get_first_iter_element(items)
    assert first == 1
    assert same is items
    first, rest = util.get_first_iter_element(iter(items))
    assert first == 1
    assert list(rest) == [1, 2, 3]
    with pytest.raises(ValueError, match="Expected at least one element"):
        util.get_first_iter_element(iter(()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, np.bool_, np.float16])
def test_safe_to_tensor_keeps_dtype_and_shares_memory(dtype):
    array = np.ones((2, 3), dtype=dtype)
    tensor = util.safe_to_tensor(array)
    assert tensor.numpy().dtype == dtype
    array[0, 0] = 0
    assert tensor[0, 0] == 0
    assert util.safe_to_tensor(tensor) is tensor


def test_safe_to_tensor_copies_where_it_must():
    frozen = np.arange(3)
    frozen.flags.writeable = False
    tensor = util.safe_to_tensor(frozen)  # torch would warn, and warnings are errors here
    tensor[0] = 7
    np.testing.assert_array_equal(frozen, [0, 1, 2])
    np.testing.assert_array_equal(util.safe_to_tensor(np.arange(3)[::-1]), [2, 1, 0])
    np.testing.assert_array_equal(util.safe_to_tensor(np.arange(3, dtype=">i4")), [0, 1, 2])


def test_safe_to_tensor_options():
    assert util.safe_to_tensor(np.ones(2), dtype=th.float32).dtype == th.float32
    assert util.safe_to_tensor(np.ones(2), device="meta").device.type == "meta"
    assert util.safe_to_tensor(th.ones(2), device="meta").device.type == "meta"


def test_safe_to_numpy():
    array = np.arange(3)
    assert util.safe_to_numpy(array, warn=True) is array
    assert util.safe_to_numpy(None) is None
    tensor = th.ones(2, requires_grad=True)
    np.testing.assert_array_equal(util.safe_to_numpy(tensor), [1, 1])
    with pytest.warns(UserWarning, match="converted to a NumPy array"):
        util.safe_to_numpy(tensor, warn=True)


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, float("inf")])
def test_tensor_iter_norm(p):
    net = build_mlp(3, [5, 4])
    flat = th.cat([param.flatten() for param in net.parameters()]).detach().double().numpy()
    expected = np.abs(flat).max() if p == float("inf") else (np.abs(flat) ** p).sum() ** (1 / p)
    assert util.tensor_iter_norm(net.parameters(), ord=p).item() == pytest.approx(expected, rel=1e-4)


def test_tensor_iter_norm_edges():
    assert util.tensor_iter_norm([th.tensor([[3.0]]), th.zeros(0), th.tensor(4.0)]).item() == pytest.approx(5.0)
    assert util.tensor_iter_norm([]).item() == 0
    x = th.tensor([3.0, 4.0], requires_grad=True)
    util.tensor_iter_norm([x]).backward()
    np.testing.assert_allclose(x.grad, [0.6, 0.8], rtol=1e-6)
    with pytest.raises(ValueError, match="needs ord other than 0"):
        util.tensor_iter_norm([th.ones(1)], ord=0)


def test_parse_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = pathlib.Path.cwd()
    assert util.parse_path("a/b") == here / "a" / "b"
    assert util.parse_path(b"a") == here / "a"
    assert util.parse_path(pathlib.Path("/x")) == pathlib.Path("/x")
    assert util.parse_path("a", base_directory=pathlib.Path("/base")) == pathlib.Path("/base/a")
    assert util.parse_path("/a", base_directory=pathlib.Path("/base")) == pathlib.Path("/a")
    assert util.parse_path("a", base_directory=pathlib.Path("base")) == here / "base" / "a"
    assert util.parse_path("/a", allow_relative=False) == pathlib.Path("/a")
    with pytest.raises(ValueError, match="Expected an absolute path, got 'a'"):
        util.parse_path("a", allow_relative=False)
    with pytest.raises(ValueError, match="leave it out with allow_relative=False"):
        util.parse_path("/a", allow_relative=False, base_directory=pathlib.Path("/b"))
    with pytest.raises(TypeError):
        util.parse_path(3)
    assert util.parse_optional_path(None) is None
    assert util.parse_optional_path("a") == here / "a"


def test_split_in_half_and_clear_screen(capsys):
    assert util.split_in_half(6) == (3, 3)
    assert util.split_in_half(7) == (3, 4)
    util.clear_screen()
    assert capsys.readouterr().out == "\033[2J\033[H"


def test_save_policy(tmp_path):
    space = gym.spaces.Discrete(2)
    policy = ActorCriticPolicy(space, space, lambda _: 1e-3)
    util.save_policy(policy, tmp_path / "folder" / "p")
    again = load_policy_file(tmp_path / "folder" / "p", device="cpu")
    assert all(th.equal(a, b) for a, b in zip(policy.parameters(), again.parameters(), strict=True))
