import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.rewards.implicit import policy_log_prob_reward

BOX = spaces.Box(-1.0, 1.0, (3,))


def make(action_space):
    with th.random.fork_rng():
        th.manual_seed(0)
        return ActorCriticPolicy(BOX, action_space, lambda _: 1e-3)


def test_discrete_log_probabilities_sum_to_one_and_match_the_policy(rng):
    policy = make(spaces.Discrete(4))
    reward = policy_log_prob_reward(policy)
    states = rng.uniform(-1, 1, (5, 3)).astype(np.float32)
    table = np.stack([reward(states, np.full(5, a), states, np.zeros(5, bool)) for a in range(4)])
    assert table.shape == (4, 5)
    np.testing.assert_allclose(np.exp(table).sum(axis=0), 1, rtol=1e-5)
    assert np.ptp(table) > 0


def test_gaussian_log_density_by_hand(rng):
    policy = make(spaces.Box(-1, 1, (2,)))
    states = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
    actions = rng.uniform(-1, 1, (4, 2)).astype(np.float32)
    mean = policy.predict(states, deterministic=True)[0]
    # an untrained policy has standard deviation 1
    expected = (-0.5 * (actions - mean) ** 2 - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    rewards = policy_log_prob_reward(policy)(states, actions, states, np.zeros(4, bool))
    np.testing.assert_allclose(rewards, expected, rtol=1e-4)


def test_mode_is_put_back():
    policy = make(spaces.Discrete(2))
    policy.set_training_mode(True)
    policy_log_prob_reward(policy)(np.zeros((1, 3), np.float32), np.zeros(1, int), None, None)
    assert policy.training


def test_policies_without_a_distribution_are_refused():
    model = SAC("MlpPolicy", gym.make("Pendulum-v1"), buffer_size=10, policy_kwargs={"net_arch": [4]}, device="cpu")
    with pytest.raises(TypeError, match="needs an ActorCriticPolicy.*got SACPolicy"):
        policy_log_prob_reward(model.policy)
    with pytest.raises(TypeError, match=r"pass its \.policy"):
        policy_log_prob_reward(model)


def test_its_former_place():
    from imitation_lab.policies import implicit_reward

    assert implicit_reward.policy_log_prob_reward is policy_log_prob_reward
