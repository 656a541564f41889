"""Every kind of policy as one kind of function."""

import functools

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import rollout
from imitation_lab.data.acting import _fast_actor


def make_venv(env_id: str = "CartPole-v1", n_envs: int = 3) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make(env_id) for _ in range(n_envs)])


def constant_rate(_progress: float) -> float:
    return 1e-3


OBS_SPACES = [spaces.Box(-1, 1, (5,), np.float32), spaces.Box(-1, 1, (2, 3), np.float64), spaces.Discrete(4)]
ACT_SPACES = [spaces.Discrete(3), spaces.Box(-0.5, 0.25, (2,), np.float32)]


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("act_space", ACT_SPACES, ids=["discrete", "box"])
@pytest.mark.parametrize("obs_space", OBS_SPACES, ids=["vector", "matrix", "discrete"])
def test_fast_actor_is_bit_equal_to_predict(obs_space, act_space, deterministic):
    th.manual_seed(0)
    policy = ActorCriticPolicy(obs_space, act_space, constant_rate, log_std_init=-1.0)
    act = _fast_actor(policy, deterministic)
    assert act is not None
    obs = np.stack([obs_space.sample() for _ in range(64)])
    starts = np.zeros(64, dtype=bool)
    th.manual_seed(1)
    expected = [policy.predict(obs, deterministic=deterministic)[0] for _ in range(3)]
    th.manual_seed(1)
    found = [act(obs, None, starts)[0] for _ in range(3)]
    np.testing.assert_array_equal(found, expected)
    assert found[0].dtype == expected[0].dtype


def test_fast_actor_with_squashed_output():
    policy = ActorCriticPolicy(
        OBS_SPACES[0], ACT_SPACES[1], constant_rate, use_sde=True, squash_output=True
    )  # squashing needs gSDE, which the fast path leaves to SB3
    assert _fast_actor(policy, False) is None


def test_fast_actor_leaves_overridden_policies_alone():
    class Mine(ActorCriticPolicy):
        def _predict(self, observation, deterministic=False):
            return th.zeros(len(observation), dtype=th.long)

    venv = make_venv()
    policy = Mine(venv.observation_space, venv.action_space, constant_rate)
    assert _fast_actor(policy, False) is None
    acts, _ = rollout.policy_to_callable(policy, venv)(venv.reset(), None, np.ones(3, dtype=bool))
    np.testing.assert_array_equal(acts, [0, 0, 0])


def test_algorithms_act():
    venv = make_venv()
    for algorithm in (A2C("MlpPolicy", venv, device="cpu", seed=0), DQN("MlpPolicy", venv, device="cpu", seed=0)):
        act = rollout.policy_to_callable(algorithm, venv, deterministic_policy=True)
        obs = venv.reset()
        np.testing.assert_array_equal(
            act(obs, None, np.ones(3, dtype=bool))[0], algorithm.predict(obs, deterministic=True)[0]
        )


def test_evaluation_mode_during_rollouts():
    venv = make_venv()
    policy = ActorCriticPolicy(venv.observation_space, venv.action_space, constant_rate)
    act = rollout.policy_to_callable(policy, venv)
    policy.set_training_mode(True)
    act(venv.reset(), None, np.ones(3, dtype=bool))
    assert not any(m.training for m in policy.modules())


def zeros_of_obs(obs):
    return np.zeros(len(obs), dtype=np.int64)


def counting(obs, state, episode_start):
    return zeros_of_obs(obs), 1 if state is None else state + 1


@pytest.mark.parametrize(
    "policy", [zeros_of_obs, lambda obs, deterministic=False: zeros_of_obs(obs), functools.partial(counting)]
)
def test_callables_are_told_apart_by_signature(policy):
    venv = make_venv()
    act = rollout.policy_to_callable(policy, venv)
    obs, starts = venv.reset(), np.ones(3, dtype=bool)
    acts, state = act(obs, None, starts)
    np.testing.assert_array_equal(acts, [0, 0, 0])
    if isinstance(policy, functools.partial):
        assert act(obs, state, starts)[1] == 2


def test_bad_policies():
    venv = make_venv()
    obs, starts = venv.reset(), np.ones(3, dtype=bool)
    with pytest.raises(TypeError, match=r"takes \(a, b\), expected \(obs, state, episode_start\)"):
        rollout.policy_to_callable(lambda a, b: a, venv)
    with pytest.raises(TypeError, match="The policy is a int, expected"):
        rollout.policy_to_callable(3, venv)
    with pytest.raises(ValueError, match="make the callable itself deterministic"):
        rollout.policy_to_callable(zeros_of_obs, venv, deterministic_policy=True)
    with pytest.raises(ValueError, match=r"actions of shape \(\), expected \(3, \.\.\.\)"):
        rollout.policy_to_callable(lambda obs: 0, venv)(obs, None, starts)
    with pytest.raises(ValueError, match=r"returned a ndarray, expected \(acts, state\)"):
        rollout.policy_to_callable(lambda obs, state, start: zeros_of_obs(obs), venv)(obs, None, starts)


def test_policy_of_other_spaces():
    policy = A2C("MlpPolicy", make_venv(), device="cpu")
    with pytest.raises(ValueError, match=r"(?s)policy's observation_space is Box.*4,.*environment's is Box.*3,"):
        rollout.policy_to_callable(policy, make_venv("Pendulum-v1"))


class SpaceEnv(gym.Env):
    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, action_space):
        self.action_space = action_space


SKEWED = spaces.Box(np.float32([-1.0, 0.0]), np.float32([0.0, 5.0]))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=-2),
        SKEWED,
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiBinary(3),
        spaces.Box(0, 7, (2,), np.uint8),
    ],
    ids=str,
)
def test_random_actions_fill_the_space(space):
    venv = DummyVecEnv([lambda: SpaceEnv(space) for _ in range(500)])
    draws = [
        rollout.policy_to_callable(None, venv, rng=np.random.default_rng(s))(None, None, None)[0] for s in (0, 0, 1)
    ]
    acts = draws[0]
    assert acts.dtype == space.dtype
    assert all(space.contains(a) for a in acts)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    if isinstance(space, spaces.Discrete):
        np.testing.assert_allclose(np.unique(acts, return_counts=True)[1], 125, atol=40)
    if space == SKEWED:
        np.testing.assert_allclose(acts.mean(0), [-0.5, 2.5], atol=0.25)


@pytest.mark.parametrize("dictionary", [False, True], ids=["image", "dict"])
def test_policies_that_see_channels_first(dictionary):
    """SB3 transposes images for its policies; an environment as it is has them last."""
    image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    env_space = spaces.Dict({"image": image, "x": spaces.Discrete(2)}) if dictionary else image

    class Images(SpaceEnv):
        observation_space = env_space

    venv = DummyVecEnv([lambda: Images(spaces.Discrete(2)) for _ in range(2)])
    policy = A2C("MultiInputPolicy" if dictionary else "CnnPolicy", venv, device="cpu").policy
    assert policy.observation_space != venv.observation_space
    act = rollout.policy_to_callable(policy, venv, deterministic_policy=True)
    obs = [env_space.sample() for _ in range(2)]
    batch = {key: np.stack([o[key] for o in obs]) for key in env_space} if dictionary else np.stack(obs)
    acts, _ = act(batch, None, np.ones(2, dtype=bool))
    np.testing.assert_array_equal(acts, policy.predict(batch, deterministic=True)[0])
