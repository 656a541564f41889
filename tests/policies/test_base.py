import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO, SAC

from imitation_lab.policies.base import (
    FeedForward32Policy,
    NonTrainablePolicy,
    NormalizeFeaturesExtractor,
    RandomPolicy,
    SAC1024Policy,
    ZeroPolicy,
)
from imitation_lab.util.networks import EMANorm

OBS = {
    "box": spaces.Box(-1, 1, (3,)),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([2, 5]),
    "multi_binary": spaces.MultiBinary(4),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}),
}
ACTS = {
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(4),
    "box": spaces.Box(-2, 2, (2,)),
    "unbounded": spaces.Box(-np.inf, np.inf, (2, 2)),
}


def batch(space, n):
    if isinstance(space, spaces.Dict):
        return {key: batch(sub, n) for key, sub in space.spaces.items()}
    return np.stack([space.sample() for _ in range(n)])


@pytest.mark.parametrize("cls", [RandomPolicy, ZeroPolicy])
@pytest.mark.parametrize("acts", ACTS)
@pytest.mark.parametrize("obs", OBS)
def test_actions_lie_in_the_space_for_one_and_for_many(cls, obs, acts):
    policy = cls(OBS[obs], ACTS[acts])
    many, _ = policy.predict(batch(OBS[obs], 5))
    assert many.shape == (5, *ACTS[acts].shape)
    assert many.dtype == ACTS[acts].dtype
    assert all(ACTS[acts].contains(act) for act in many)
    one, state = policy.predict(OBS[obs].sample())
    assert ACTS[acts].contains(one)
    assert state is None
    if cls is ZeroPolicy:
        assert not many.any()


def test_random_actions_are_uniform_and_repeatable(rng):
    make = lambda seed: RandomPolicy(OBS["box"], spaces.Discrete(3, start=2), rng=np.random.default_rng(seed))
    first, again, other = (make(seed).predict(np.zeros((3000, 3)))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # Each of 2, 3, 4 has probability 1/3: 1000 ± 4 standard deviations of √(3000·2/9) ≈ 26.
    assert np.abs(np.bincount(first, minlength=5)[2:] - 1000).max() < 4 * 26


def test_random_actions_differ_between_calls_and_environments():
    policy = RandomPolicy(OBS["box"], ACTS["box"])
    acts = np.concatenate([policy.predict(np.zeros((2, 3)))[0] for _ in range(3)])
    assert len(np.unique(acts)) == acts.size


def test_seeding_the_action_space_repeats_the_random_policy():
    drawn = []
    for _ in range(2):
        space = spaces.Discrete(100)
        space.seed(7)
        drawn.append(RandomPolicy(OBS["box"], space).predict(np.zeros((10, 3)))[0])
    np.testing.assert_array_equal(*drawn)


def test_zero_policy_refuses_a_space_without_zero():
    with pytest.raises(ValueError, match="ZeroPolicy needs an action space that contains zeros, got Discrete"):
        ZeroPolicy(OBS["box"], spaces.Discrete(3, start=1))


def test_policies_without_parameters_say_so():
    policy = ZeroPolicy(OBS["box"], ACTS["box"])
    with pytest.raises(NotImplementedError, match="ZeroPolicy has no parameters and cannot be trained"):
        policy(th.zeros(1, 3))
    assert policy._predict(th.zeros(2, 3)).tolist() == [[0, 0], [0, 0]]


def test_a_rule_of_ones_own_sees_single_observations():
    class Sign(NonTrainablePolicy):
        def _choose_action(self, obs):
            assert obs["a"].shape == (2,)
            return int(obs["a"][0] > 0)

    policy = Sign(OBS["dict"], spaces.Discrete(2))
    obs = {"a": np.array([[1, 0], [-1, 0], [2, 0]], np.float32), "b": np.zeros(3, int)}
    assert policy.predict(obs)[0].tolist() == [1, 0, 1]
    assert policy.predict({key: value[1] for key, value in obs.items()})[0] == 0


def hidden_sizes(module):
    return [layer.out_features for layer in module if isinstance(layer, th.nn.Linear)]


def test_network_sizes():
    ppo = PPO(FeedForward32Policy, "CartPole-v1", device="cpu")
    assert hidden_sizes(ppo.policy.mlp_extractor.policy_net) == [32, 32]
    assert hidden_sizes(ppo.policy.mlp_extractor.value_net) == [32, 32]
    sac = SAC(SAC1024Policy, "Pendulum-v1", buffer_size=1, device="cpu")
    assert hidden_sizes(sac.policy.actor.latent_pi) == [1024, 1024]
    assert hidden_sizes(sac.policy.critic.qf0) == [1024, 1024, 1]


@pytest.mark.parametrize("kwargs", [{}, {"normalize_class": EMANorm}])
def test_extractor_normalizes_flat_features_and_learns_in_training_only(kwargs):
    extractor = NormalizeFeaturesExtractor(spaces.Box(-9, 9, (2, 2)), **kwargs)
    data = th.tensor([[[0.0, 10], [2, 5]], [[2.0, 30], [2, 5]]])
    extractor.eval()
    np.testing.assert_allclose(extractor(data), data.reshape(2, 4), rtol=1e-4)
    extractor.train()
    # Means (1, 20, 2, 5), standard deviations (1, 10, 0, 0); constants give 0.
    np.testing.assert_allclose(extractor(data), [[-1, -1, 0, 0], [1, 1, 0, 0]], atol=1e-4)
    extractor.eval()
    np.testing.assert_allclose(extractor(data + 1)[0], [0, -0.9, 1 / 1e-5**0.5, 1 / 1e-5**0.5], rtol=1e-4, atol=1e-4)


def test_extractor_refuses_dict_observations():
    with pytest.raises(TypeError, match="normalizes one flat vector, got Dict"):
        NormalizeFeaturesExtractor(OBS["dict"])


def test_statistics_move_in_training_and_stand_still_in_prediction():
    model = PPO(
        FeedForward32Policy,
        "CartPole-v1",
        n_steps=64,
        n_epochs=1,
        batch_size=64,
        policy_kwargs={"features_extractor_class": NormalizeFeaturesExtractor},
        device="cpu",
    )
    norm = model.policy.features_extractor.normalize
    model.policy.predict(np.zeros(4, np.float32))
    assert norm.count == 0
    model.learn(64)
    assert norm.count == 64
