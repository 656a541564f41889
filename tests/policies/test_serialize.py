import base64
import io
import json
import os
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import EveryNTimesteps
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from imitation_lab.policies import serialize
from imitation_lab.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor, RandomPolicy, ZeroPolicy
from imitation_lab.util import registry
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import EMANorm, RunningNorm
from imitation_lab.util.util import make_vec_env


@pytest.fixture
def cartpole(rng):
    venv = make_vec_env("CartPole-v1", rng=rng, n_envs=2)
    yield venv
    venv.close()


@pytest.fixture
def pendulum(rng):
    venv = make_vec_env("Pendulum-v1", rng=rng, n_envs=2)
    yield venv
    venv.close()


def ppo(venv, policy="MlpPolicy", **kwargs):
    model = PPO(policy, venv, n_steps=16, batch_size=32, n_epochs=1, device="cpu", **kwargs)
    return model.learn(32)


def sac(venv, **kwargs):
    kwargs = {"buffer_size": 50, "learning_starts": 4, "policy_kwargs": {"net_arch": [8, 6]}, **kwargs}
    return SAC("MlpPolicy", venv, device="cpu", **kwargs).learn(12)


def actions(policy, venv):
    venv.observation_space.seed(1)
    obs = np.stack([venv.observation_space.sample() for _ in range(16)])
    return policy.predict(np.clip(obs, -10, 10), deterministic=True)[0]


def assert_same_actions(a, b, venv):
    np.testing.assert_array_equal(actions(a, venv), actions(b, venv))


def rezip(path, change):
    """Rewrites a zip with `change(dict of name -> bytes)` applied."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def change_data(path, change):
    def apply(entries):
        data = json.loads(entries["data"])
        change(data)
        entries["data"] = json.dumps(data).encode()

    rezip(path, apply)


# The registry and policies that need no file


def test_registry_has_the_documented_keys():
    assert {"random", "zero", "ppo", "sac", "ppo-huggingface", "sac-huggingface"} <= set(
        serialize.policy_registry.keys()
    )


def test_random_and_zero(cartpole):
    assert type(serialize.load_policy("random", cartpole)) is RandomPolicy
    assert type(serialize.load_policy("zero", cartpole)) is ZeroPolicy
    assert serialize.load_policy("zero", cartpole).action_space == cartpole.action_space


def test_unknown_type_names_the_known_ones(cartpole):
    with pytest.raises(registry.RegistryError, match="Unknown key 'pppo'. Did you mean 'ppo'.*sac"):
        serialize.load_policy("pppo", cartpole)
    assert issubclass(registry.RegistryError, ValueError)


# SB3 zips without unpickling


@pytest.fixture
def no_unpickling(monkeypatch):
    """Fails the test where SB3 or anyone else opens a pickle outside torch's weights-only reader."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    import cloudpickle

    monkeypatch.setattr(cloudpickle, "loads", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)


PPO_KWARGS = {
    "defaults": {},
    "schedule": {"learning_rate": lambda progress: 1e-3 * progress, "clip_range": 0.1},
    "net": {"policy_kwargs": {"net_arch": {"pi": [5], "vf": [6, 7]}, "activation_fn": th.nn.ReLU, "ortho_init": False}},
    "normalized": {
        "policy": FeedForward32Policy,
        "policy_kwargs": {
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": EMANorm},
            "optimizer_class": th.optim.AdamW,
        },
    },
}


@pytest.mark.usefixtures("no_unpickling")
@pytest.mark.parametrize("name", PPO_KWARGS)
def test_ppo_round_trip_is_bit_equal(name, cartpole, tmp_path):
    model = ppo(cartpole, **PPO_KWARGS[name])
    serialize.save_stable_model(tmp_path / "run", model)
    for path in (tmp_path / "run", tmp_path / "run" / "model.zip", str(tmp_path / "run" / "model.zip")):
        policy = serialize.load_policy("ppo", cartpole, path=path, device="cpu")
        assert type(policy) is type(model.policy)
        for key, value in model.policy.state_dict().items():
            assert th.equal(value, policy.state_dict()[key])
        assert_same_actions(policy, model.policy, cartpole)


@pytest.mark.usefixtures("no_unpickling")
def test_sac_round_trip_is_bit_equal(pendulum, tmp_path):
    model = sac(pendulum)
    serialize.save_stable_model(tmp_path, model)
    policy = serialize.load_policy("sac", pendulum, path=tmp_path, device="cpu")
    assert_same_actions(policy, model.policy, pendulum)
    assert np.abs(actions(policy, pendulum)).max() <= 2


@pytest.mark.usefixtures("no_unpickling")
def test_gsde_round_trip(pendulum, tmp_path):
    model = ppo(pendulum, use_sde=True, policy_kwargs={"net_arch": [8], "log_std_init": -2.0})
    serialize.save_stable_model(tmp_path, model)
    assert_same_actions(serialize.load_policy("ppo", pendulum, path=tmp_path, device="cpu"), model.policy, pendulum)


@pytest.mark.usefixtures("no_unpickling")
def test_model_goes_on_training_from_where_it_was(cartpole, tmp_path):
    model = ppo(cartpole, gamma=0.9, learning_rate=lambda progress: 2e-3, clip_range=0.15)
    serialize.save_stable_model(tmp_path, model)
    again = serialize.load_stable_baselines_model(PPO, tmp_path, cartpole, device="cpu", ent_coef=0.5)
    assert (again.gamma, again.n_steps, again.ent_coef) == (0.9, 16, 0.5)
    assert again.clip_range(1.0) == 0.15
    assert again.lr_schedule(1.0) == 2e-3
    assert again.num_timesteps == 32
    saved, loaded = (m.policy.optimizer.state_dict()["state"] for m in (model, again))
    assert th.equal(saved[0]["exp_avg"], loaded[0]["exp_avg"])
    assert_same_actions(again, model, cartpole)
    again.learn(32, reset_num_timesteps=False)
    assert again.num_timesteps == 64


@pytest.mark.usefixtures("no_unpickling")
@pytest.mark.parametrize("algorithm", [PPO, SAC, A2C, DQN, TD3])
def test_algorithm_is_inferred_from_the_file(algorithm, cartpole, pendulum, tmp_path):
    venv = cartpole if algorithm in (PPO, A2C, DQN) else pendulum
    kwargs = {"buffer_size": 100} if algorithm in (SAC, DQN, TD3) else {}
    kwargs |= {"n_steps": 32, "batch_size": 32} if algorithm is PPO else {}
    model = algorithm("MlpPolicy", venv, device="cpu", **kwargs)
    serialize.save_stable_model(tmp_path, model, "agent.zip")
    again = serialize.load_stable_baselines_model(tmp_path / "agent.zip", venv, device="cpu")
    assert type(again) is algorithm
    assert_same_actions(again, model, venv)
    by_keyword = serialize.load_stable_baselines_model(path=tmp_path / "agent.zip", venv=venv, device="cpu")
    assert_same_actions(by_keyword, model, venv)


@pytest.mark.usefixtures("no_unpickling")
def test_sac_entropy_coefficient_comes_back(pendulum, tmp_path):
    model = sac(pendulum)
    with th.no_grad():
        model.log_ent_coef.fill_(-1.25)
    serialize.save_stable_model(tmp_path, model)
    again = serialize.load_stable_baselines_model(SAC, tmp_path, pendulum, device="cpu")
    assert again.log_ent_coef.item() == -1.25
    assert again.replay_buffer.size() == 0


def test_native_file_loads_by_the_same_name(cartpole, pendulum, tmp_path):
    model = ppo(cartpole)
    serialize.save_policy(model.policy, tmp_path / "policy.safetensors")
    policy = serialize.load_policy("ppo", cartpole, path=tmp_path / "policy.safetensors", device="cpu")
    assert_same_actions(policy, model.policy, cartpole)
    with pytest.raises(ValueError, match="is for the observation space Box.*the environment's is Box"):
        serialize.load_policy("ppo", pendulum, path=tmp_path / "policy.safetensors")


# What is refused


class Bomb:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.fixture
def zipped(cartpole, tmp_path):
    serialize.save_stable_model(tmp_path, ppo(cartpole))
    return tmp_path / "model.zip"


def test_hostile_pickles_in_the_json_never_run(zipped, cartpole, tmp_path):
    payload = base64.b64encode(pickle.dumps(Bomb(tmp_path / "touched"))).decode()

    def poison(data):
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = payload
        data["extra"] = {":type:": "<class 'dict'>", ":serialized:": payload}

    change_data(zipped, poison)
    serialize.load_policy("ppo", cartpole, path=zipped, device="cpu")
    serialize.load_stable_baselines_model(PPO, zipped, cartpole, device="cpu")
    assert not (tmp_path / "touched").exists()
    # The payload is a live one: SB3's own reader, which trust=True asks for, runs it.
    with pytest.raises(Exception, match=".*"):
        serialize.load_policy("ppo", cartpole, path=zipped, trust=True)
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("entry", ["policy.pth", "pytorch_variables.pth", "policy.optimizer.pth", "new.pth"])
def test_hostile_tensor_files_never_run(entry, zipped, cartpole, tmp_path):
    content = io.BytesIO()
    th.save({"weight": Bomb(tmp_path / "touched")}, content)
    rezip(zipped, lambda entries: entries.update({entry: content.getvalue()}))
    message = f"{entry}' holds more than tensors; .* refused.*trust=True"
    with pytest.raises(ArtifactError, match=message):
        serialize.load_policy("ppo", cartpole, path=zipped)
    with pytest.raises(ArtifactError, match=message):
        serialize.load_stable_baselines_model(PPO, zipped, cartpole)
    assert not (tmp_path / "touched").exists()


def test_trust_opens_with_sb3(cartpole, tmp_path):
    class Custom(ActorCriticPolicy):
        pass

    model = ppo(cartpole, policy=Custom)
    serialize.save_stable_model(tmp_path, model)
    with pytest.raises(ArtifactError, match="needs the policy class .* not among the registered ones.*trust=True"):
        serialize.load_policy("ppo", cartpole, path=tmp_path)
    with pytest.raises(ArtifactError, match=r"give policy_class="):
        serialize.load_stable_baselines_model(PPO, tmp_path, cartpole)
    trusted = serialize.load_policy("ppo", cartpole, path=tmp_path, trust=True, device="cpu")
    assert_same_actions(trusted, model.policy, cartpole)
    given = serialize.load_policy("ppo", cartpole, path=tmp_path, policy_class=Custom, device="cpu")
    assert_same_actions(given, model.policy, cartpole)
    assert_same_actions(
        serialize.load_stable_baselines_model(tmp_path, cartpole, trust=True, device="cpu"), model, cartpole
    )


def test_unreadable_policy_argument_is_refused(cartpole, tmp_path):
    class OwnNorm(RunningNorm):
        pass

    kwargs = {
        "features_extractor_class": NormalizeFeaturesExtractor,
        "features_extractor_kwargs": {"normalize_class": OwnNorm},
    }
    model = ppo(cartpole, policy_kwargs=kwargs)
    serialize.save_stable_model(tmp_path, model)
    with pytest.raises(ArtifactError, match="policy argument features_extractor_kwargs=.*Give policy_kwargs= yourself"):
        serialize.load_policy("ppo", cartpole, path=tmp_path)
    given = serialize.load_policy("ppo", cartpole, path=tmp_path, policy_kwargs=kwargs, device="cpu")
    assert_same_actions(given, model.policy, cartpole)


@pytest.mark.parametrize("name", ["/tmp/evil.pth", "../evil.pth", "a/../../evil", "..\\evil", "C:\\evil"])
def test_paths_that_leave_the_archive_are_refused(name, zipped, cartpole):
    rezip(zipped, lambda entries: entries.update({name: b"x"}))
    with pytest.raises(ArtifactError, match="which leaves the archive: refused"):
        serialize.load_policy("ppo", cartpole, path=zipped)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.001])
def test_truncated_zip_is_refused(kept, zipped, cartpole):
    whole = zipped.read_bytes()
    zipped.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ArtifactError, match="it is truncated"):
        serialize.load_policy("ppo", cartpole, path=zipped)


def test_flipped_byte_is_refused(zipped, cartpole):
    content = bytearray(zipped.read_bytes())
    with zipfile.ZipFile(zipped) as archive:
        start = archive.getinfo("policy.pth").header_offset
    content[start + 3000] ^= 0xFF
    zipped.write_bytes(content)
    with pytest.raises(ArtifactError, match="truncated, or not a zip|damaged"):
        serialize.load_policy("ppo", cartpole, path=zipped)


def test_zip_bomb_is_refused(zipped, cartpole):
    with zipfile.ZipFile(zipped, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.pth", bytes(50 << 20))
    with pytest.raises(ArtifactError, match="unpacks to more than twenty times its size"):
        serialize.load_policy("ppo", cartpole, path=zipped)


def test_huge_networks_and_buffers_are_bounded(zipped, cartpole):
    change_data(zipped, lambda data: data.update(policy_kwargs={"net_arch": [10**7, 10**7]}))
    with pytest.raises(ArtifactError, match="declares layers far larger than the tensors it holds"):
        serialize.load_policy("ppo", cartpole, path=zipped)


def test_other_zips_are_refused(tmp_path, cartpole):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(
        ArtifactError, match="is no Stable-Baselines3 model, or it is truncated: it lacks 'data' or 'policy.pth'"
    ):
        serialize.load_policy("ppo", cartpole, path=tmp_path / "x.zip")


def test_missing_file(tmp_path, cartpole):
    for path in (tmp_path, tmp_path / "none.zip"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            serialize.load_policy("ppo", cartpole, path=path)


def test_another_environment_is_refused(zipped, pendulum):
    with pytest.raises(ValueError, match=r"trained with another observation_space: its shape is \[4\]"):
        serialize.load_policy("ppo", pendulum, path=zipped)


def test_other_action_bounds_are_refused(pendulum, tmp_path):
    serialize.save_stable_model(tmp_path, sac(pendulum))
    env = gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1))
    rescaled = DummyVecEnv([lambda: env])
    with pytest.raises(ValueError, match="trained with another action_space: its low is"):
        serialize.load_policy("sac", rescaled, path=tmp_path)
    rescaled.close()


def test_folder_with_vec_normalize_statistics_is_refused(zipped, cartpole):
    (zipped.parent / "vec_normalize.pkl").write_bytes(b"")
    with pytest.raises(ArtifactError, match="normalized with statistics that only a pickle restores.*model.zip"):
        serialize.load_policy("ppo", cartpole, path=zipped.parent)
    serialize.load_policy("ppo", cartpole, path=zipped)


def test_wrong_calls_are_refused(zipped, cartpole):
    with pytest.raises(TypeError, match=r"call load_stable_baselines_model\(cls, path, venv\) or \(path, venv\)"):
        serialize.load_stable_baselines_model(PPO, zipped)
    with pytest.raises(TypeError, match="expected a Stable-Baselines3 algorithm class such as PPO, got dict"):
        serialize.load_stable_baselines_model(dict, zipped, cartpole)


# Saving


def test_saving_is_atomic(cartpole, tmp_path, monkeypatch):
    model = ppo(cartpole)
    serialize.save_stable_model(tmp_path / "new" / "folder", model)
    path = tmp_path / "new" / "folder" / "model.zip"
    before = path.read_bytes()

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        serialize.save_stable_model(tmp_path / "new" / "folder", model)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_normalized_observations_are_warned_of(cartpole, tmp_path):
    serialize.save_stable_model(tmp_path, ppo(VecNormalize(cartpole, norm_obs=False)))
    with pytest.warns(UserWarning, match="statistics are not saved with it.*NormalizeFeaturesExtractor"):
        serialize.save_stable_model(tmp_path, ppo(VecNormalize(cartpole)))


def test_callback_saves_every_so_many_steps(cartpole, tmp_path):
    model = PPO("MlpPolicy", cartpole, n_steps=16, batch_size=32, n_epochs=1, device="cpu")
    model.learn(64, callback=EveryNTimesteps(32, serialize.SavePolicyCallback(tmp_path / "policies")))
    assert sorted(p.name for p in (tmp_path / "policies").iterdir()) == ["000000000032", "000000000064"]
    last = serialize.load_policy("ppo", cartpole, path=tmp_path / "policies" / "000000000032", device="cpu")
    assert last.action_space == spaces.Discrete(2)
