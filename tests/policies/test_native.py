import json
import pathlib

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)

from imitation_lab.policies.base import (
    FeedForward32Policy,
    NormalizeFeaturesExtractor,
    RandomPolicy,
    SAC1024Policy,
    ZeroPolicy,
)
from imitation_lab.policies.native import build_policy, load_policy_file, save_policy
from imitation_lab.util import artifacts, codec
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import EMANorm

BOX = spaces.Box(np.array([-1, -2, -3], np.float32), np.array([1, 2, np.inf], np.float32))
TORQUE = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 9.0], np.float32))


def constant(_):
    return 2e-4


def actor_critic(cls=ActorCriticPolicy, obs=BOX, act=TORQUE, **kwargs):
    return cls(obs, act, constant, **kwargs)


POLICIES = {
    "ppo": lambda: actor_critic(),
    "ppo_options": lambda: actor_critic(
        net_arch={"pi": [5], "vf": [7, 3]},
        activation_fn=th.nn.ReLU,
        share_features_extractor=False,
        optimizer_class=th.optim.SGD,
        optimizer_kwargs={"momentum": 0.5},
        log_std_init=-1.0,
    ),
    "gsde": lambda: actor_critic(use_sde=True, full_std=False, squash_output=True),
    "feed_forward_32": lambda: actor_critic(FeedForward32Policy, act=spaces.MultiDiscrete([2, 3])),
    "normalized": lambda: actor_critic(
        features_extractor_class=NormalizeFeaturesExtractor, features_extractor_kwargs={"normalize_class": EMANorm}
    ),
    "multi_binary": lambda: actor_critic(obs=spaces.MultiBinary(4), act=spaces.MultiBinary(3)),
    "cnn": lambda: actor_critic(
        ActorCriticCnnPolicy, obs=spaces.Box(0, 255, (3, 36, 36), np.uint8), act=spaces.Discrete(2)
    ),
    "dict": lambda: actor_critic(
        MultiInputActorCriticPolicy, obs=spaces.Dict({"a": BOX, "b": spaces.Discrete(3)}), act=spaces.Discrete(4)
    ),
    "sac": lambda: SAC("MlpPolicy", "Pendulum-v1", buffer_size=1, policy_kwargs={"net_arch": [9, 5]}).policy,
    "sac_1024": lambda: SAC(SAC1024Policy, "Pendulum-v1", buffer_size=1).policy,
    "td3": lambda: TD3("MlpPolicy", "Pendulum-v1", buffer_size=1, policy_kwargs={"net_arch": [8]}).policy,
    "ddpg": lambda: DDPG("MlpPolicy", "Pendulum-v1", buffer_size=1, policy_kwargs={"net_arch": [8]}).policy,
    "dqn": lambda: DQN("MlpPolicy", "CartPole-v1", buffer_size=1, policy_kwargs={"net_arch": [8]}).policy,
    "a2c": lambda: A2C("MlpPolicy", "CartPole-v1", device="cpu").policy,
    "random": lambda: RandomPolicy(BOX, spaces.Discrete(3)),
    "zero": lambda: ZeroPolicy(BOX, TORQUE),
}


def observations(space, n=16):
    space.seed(0)
    if isinstance(space, spaces.Dict):
        return {key: observations(sub, n) for key, sub in space.spaces.items()}
    return np.stack([space.sample() for _ in range(n)])


@pytest.mark.parametrize("name", POLICIES)
def test_round_trip_is_bit_equal(name, tmp_path):
    policy = POLICIES[name]()
    for buffer_name, buffer in policy.named_buffers():
        if "running" in buffer_name:
            buffer.uniform_(0.5, 2)
    path = tmp_path / "new" / "policy.safetensors"
    save_policy(policy, path)
    before = th.random.get_rng_state()
    again = load_policy_file(path, device="cpu")
    assert th.equal(before, th.random.get_rng_state())
    assert type(again) is type(policy)
    assert again.observation_space == policy.observation_space
    assert again.action_space == policy.action_space
    assert not again.training
    for (key, old), (new_key, new) in zip(policy.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == new_key
        assert th.equal(old.cpu(), new)
    if name != "random":
        obs = observations(policy.observation_space)
        np.testing.assert_array_equal(
            policy.to("cpu").predict(obs, deterministic=True)[0], again.predict(obs, deterministic=True)[0]
        )
    save_policy(again, tmp_path / "twice")
    assert path.read_bytes() == (tmp_path / "twice").read_bytes()


def test_arguments_that_shape_training_survive(tmp_path):
    policy = POLICIES["ppo_options"]()
    save_policy(policy, tmp_path / "p")
    again = load_policy_file(tmp_path / "p", "cpu")
    assert again.net_arch == {"pi": [5], "vf": [7, 3]}
    assert again.activation_fn is th.nn.ReLU
    assert again.share_features_extractor is False
    assert again.pi_features_extractor is not again.vf_features_extractor
    assert isinstance(again.optimizer, th.optim.SGD)
    assert again.optimizer.param_groups[0]["momentum"] == 0.5
    assert again.optimizer.param_groups[0]["lr"] == 2e-4
    again.evaluate_actions(th.zeros(2, 3), th.zeros(2, 2))[1].sum().backward()
    again.optimizer.step()


def test_sac_actions_reach_the_bounds_of_the_space(tmp_path):
    policy = POLICIES["sac"]()
    with th.no_grad():
        policy.actor.mu.bias.fill_(100.0)
    save_policy(policy, tmp_path / "p")
    acts, _ = load_policy_file(tmp_path / "p", "cpu").predict(np.zeros((1, 3), np.float32), deterministic=True)
    assert acts.tolist() == [[2.0]]


def test_class_of_ones_own_needs_registration(tmp_path):
    class Mine(ActorCriticPolicy):
        pass

    with pytest.raises(TypeError, match="Mine is not registered, so a file cannot name it"):
        save_policy(actor_critic(Mine), tmp_path / "p")
    assert not list(tmp_path.iterdir())
    codec.register_class(Mine, name="tests.Mine")
    save_policy(actor_critic(Mine), tmp_path / "p")
    assert type(load_policy_file(tmp_path / "p", "cpu")) is Mine


def test_a_model_in_place_of_a_policy_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"expected a Stable-Baselines3 policy, got PPO; pass its \.policy"):
        save_policy(PPO("MlpPolicy", "CartPole-v1", device="cpu"), tmp_path / "p")


def rewrite(path, change, tensors=None):
    """Writes the file again, valid as a container, with its description changed."""
    artifact = artifacts.read(path, kind="policy", version=1)
    meta = json.loads(json.dumps(artifact.meta))
    change(meta)
    artifacts.write(path, kind="policy", version=1, meta=meta, tensors=artifact.tensors if tensors is None else tensors)


@pytest.fixture
def saved(tmp_path):
    save_policy(actor_critic(), tmp_path / "p")
    return tmp_path / "p"


def test_missing_truncated_and_tampered_files_are_refused(saved):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_policy_file(saved.with_name("missing"))
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-10])
    with pytest.raises(ArtifactError, match="truncated"):
        load_policy_file(saved)
    saved.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="checksum does not match"):
        load_policy_file(saved)


def test_newer_version_and_other_kind_are_refused(tmp_path):
    artifacts.write(tmp_path / "a", kind="policy", version=2, meta={}, tensors={})
    with pytest.raises(ArtifactError, match="version 2 .* reads up to version 1"):
        load_policy_file(tmp_path / "a")
    artifacts.write(tmp_path / "b", kind="reward", version=1, meta={}, tensors={})
    with pytest.raises(ArtifactError, match="holds a 'reward', expected a 'policy'"):
        load_policy_file(tmp_path / "b")
    artifacts.write(tmp_path / "c", kind="policy", version=1, meta={}, tensors={})
    with pytest.raises(ArtifactError, match="its description of the policy is damaged"):
        load_policy_file(tmp_path / "c")


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    actor_critic().save(str(tmp_path / "p"))
    with pytest.raises(ArtifactError, match="zip archive"):
        load_policy_file(tmp_path / "p")


def test_wrong_shape_names_the_leaf(saved):
    rewrite(saved, lambda meta: meta["arguments"].update(net_arch={"pi": [64, 32], "vf": [64, 64]}))
    with pytest.raises(ArtifactError, match=r"'mlp_extractor.policy_net.2.weight' has shape \(64, 64\) in the file"):
        load_policy_file(saved)


def test_unknown_and_unfit_classes_are_refused(saved):
    rewrite(saved, lambda meta: meta.update({"class": "os.system"}))
    with pytest.raises(ArtifactError, match="'os.system', which is not registered"):
        load_policy_file(saved)
    rewrite(saved, lambda meta: meta.update({"class": "torch.nn.Linear"}))
    with pytest.raises(ArtifactError, match=r"'torch\.nn\.Linear' is not a policy class"):
        load_policy_file(saved)


def test_unknown_argument_is_refused(saved):
    rewrite(saved, lambda meta: meta["arguments"].update(colour="red"))
    with pytest.raises(ArtifactError, match="ActorCriticPolicy refuses the arguments in the file: .*'colour'"):
        load_policy_file(saved)


@pytest.mark.parametrize("layers", [[10**7, 10**7], [4096] * 1000])
def test_huge_layers_are_refused_before_memory_is_taken(saved, layers):
    rewrite(saved, lambda meta: meta["arguments"].update(net_arch=layers))
    with pytest.raises(ArtifactError, match="declares layers far larger than the tensors it holds"):
        load_policy_file(saved)


def test_build_policy_leaves_nothing_trainable_behind():
    source = actor_critic()
    arguments = {"observation_space": BOX, "action_space": TORQUE, "lr_schedule": constant}
    policy = build_policy(ActorCriticPolicy, arguments, artifacts.state_arrays(source))
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_golden_file_of_version_1():
    golden = pathlib.Path(__file__).parent / "golden" / "policy_v1.safetensors"
    policy = load_policy_file(golden, "cpu")
    assert type(policy) is FeedForward32Policy
    obs = np.array([[0, 0.5, -0.5], [1, -1, 0.25]], np.float32)
    # Parameter number i of a tensor is (i mod 5 − 1.75) / 4; inputs are normalized by the stored statistics.
    fill = lambda *shape: ((np.arange(np.prod(shape)) % 5 - 1.75) / 4).reshape(shape)
    x = (obs - [0.1, 0.2, 0.3]) / np.sqrt(np.array([1, 2, 3]) + 1e-5)
    expected = np.tanh(x @ fill(4, 3).T + fill(4)) @ fill(1, 4).T + fill(1)
    np.testing.assert_allclose(policy.predict(obs, deterministic=True)[0], expected, rtol=1e-5)
    assert policy.features_extractor.normalize.count == 7
