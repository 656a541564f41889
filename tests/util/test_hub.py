"""Pushing, loading and failing, with the real client against a hub on loopback."""

import io
import os
import pathlib
import pickle
import re
import subprocess
import sys
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc
from imitation_lab.data import demonstrations, huggingface_utils, types
from imitation_lab.data import hub as data_hub
from imitation_lab.policies import hub as policy_hub
from imitation_lab.policies import serialize as policies
from imitation_lab.policies.base import FeedForward32Policy, RandomPolicy
from imitation_lab.rewards import hub as reward_hub
from imitation_lab.rewards import serialize as rewards
from imitation_lab.rewards.reward_nets import BasicShapedRewardNet
from imitation_lab.util import hub, logger
from imitation_lab.util.artifacts import ArtifactError

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload raw:DeprecationWarning"
)  # the client's own


@pytest.fixture(scope="module")
def venv():
    return DummyVecEnv([lambda: gym.make("CartPole-v1")])


@pytest.fixture
def policy(venv):
    return FeedForward32Policy(venv.observation_space, venv.action_space, lambda _: 1e-3)


@pytest.fixture(scope="module")
def zipped(venv):
    buffer = io.BytesIO()
    model = PPO("MlpPolicy", venv, device="cpu", n_steps=8, batch_size=8)
    model.save(buffer)
    return model.policy, buffer.getvalue()


def same_weights(a, b):
    assert a.state_dict().keys() == b.state_dict().keys()
    assert all(th.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def load(venv, **kwargs):
    return policies.load_policy("ppo-huggingface", venv, device="cpu", **kwargs)


def whole_files(cache: str) -> list[str]:
    """Everything in the cache that is a file, locks and notes of the client apart."""
    ours = [p for p in pathlib.Path(cache).rglob("*") if p.is_file() and ".locks" not in p.parts]
    return sorted(p.name for p in ours if p.name != "CACHEDIR.TAG" and p.parent.name != "refs")


# Pushing and loading


def test_policy_there_and_back(hub_server, venv, policy):
    first = policy_hub.push_policy(
        policy,
        "me/ppo-CartPole-v1",
        env_name="CartPole-v1",
        algorithm="BC",
        results={"return_mean": 499.5},
        license="mit",
    )
    found = load(venv, env_name="CartPole-v1", organization="me")
    assert type(found) is FeedForward32Policy
    same_weights(found, policy)
    other = FeedForward32Policy(venv.observation_space, venv.action_space, lambda _: 1e-3)
    second = policy_hub.push_policy(other, "me/ppo-CartPole-v1")
    assert first != second
    same_weights(load(venv, repo_id="me/ppo-CartPole-v1"), other)
    same_weights(load(venv, repo_id="me/ppo-CartPole-v1", revision=first), policy)
    same_weights(load(venv, repo_id="me/ppo-CartPole-v1", filename="policy.safetensors", revision=second), other)
    assert [len(files) for _, files in hub_server.commits["models", "me/ppo-CartPole-v1"]] == [2, 2]


def test_policy_card(hub_server, venv, policy):
    policy_hub.push_policy(
        policy, "me/x", env_name="seals/CartPole-v0", algorithm="BC", results={"return_mean": 499.5}, license="mit"
    )
    card = hub_server.files("me/x")["README.md"].decode()
    assert card.startswith(
        "---\nlibrary_name: imitation-lab\nlicense: mit\ntags:\n- imitation-lab\n- reinforcement-learning\n"
        "- seals-CartPole-v0\n---\n\n# x\n"
    )
    for line in (
        "| environment | seals/CartPole-v0 |",
        "| trained by | BC |",
        "| class | FeedForward32Policy |",
        "| actions | Discrete(2) |",
        "| return_mean | 499.5 |",
        "kind `policy`, version 1",
        "repo_id='me/x'",
    ):
        assert line in card
    usage = card.split("```python\n")[1].split("```")[0].replace("venv, ", "venv, device='cpu', ")
    namespace = {"venv": venv}
    exec(usage, namespace)  # the card's own example
    same_weights(namespace["policy"], policy)
    policy_hub.push_policy(policy, "me/x", card="# My words\n", message="Mine")
    assert hub_server.files("me/x")["README.md"] == b"# My words\n"


def test_the_fields_zip_loads_without_unpickling(hub_server, venv, zipped):
    hub_server.add("HumanCompatibleAI/ppo-seals-CartPole-v0", {"ppo-seals-CartPole-v0.zip": zipped[1]})
    same_weights(load(venv, env_name="seals/CartPole-v0"), zipped[0])


def test_reward_there_and_back(hub_server, venv):
    net = BasicShapedRewardNet(venv.observation_space, venv.action_space)
    commit = reward_hub.push_reward(net, "me/reward", env_name="CartPole-v1", algorithm="AIRL")
    path = reward_hub.fetch_reward("me/reward", revision=commit)
    same_weights(rewards.load_net(path), net)
    batch = (np.zeros((2, 4), np.float32), np.array([0, 1]), np.ones((2, 4), np.float32), np.zeros(2, bool))
    np.testing.assert_array_equal(rewards.load_reward("RewardNet_shaped", path, venv)(*batch), net.predict(*batch))
    card = hub_server.files("me/reward")["README.md"].decode()
    assert "| network | BasicShapedRewardNet → BasicRewardNet |" in card
    namespace = {}
    exec(card.split("```python\n")[1].split("```")[0], namespace)
    same_weights(namespace["net"], net)


def test_demonstrations_there_and_back(hub_server, rng, venv):
    made = demonstrations.from_policy(lambda obs: int(obs[2] + obs[3] > 0), "CartPole-v1", 2, rng)
    commit = data_hub.push_demonstrations(made, "me/demos", env_name="CartPole-v1", expert="a rule", private=True)
    env = gym.make("CartPole-v1")
    for found in (
        data_hub.load_demonstrations("me/demos"),
        data_hub.load_demonstrations("me/demos", revision=commit, env=env),
    ):
        assert list(found) == made
        assert found[0].obs.dtype == np.float32
    assert hub_server.private == {"me/demos"}
    card = hub_server.files("me/demos", "datasets")["README.md"].decode()
    for line in ("| episodes | 2 |", "| expert | a rule |", "| observations | float32 (4,) |", "| return_mean | "):
        assert line in card
    trainer = bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        rng=rng,
        demonstrations=data_hub.load_demonstrations("me/demos"),
        optimizer_kwargs={"lr": 1e-2},
        custom_logger=logger.configure(format_strs=[]),
    )
    trainer.train(n_epochs=20, progress_bar=False)
    right = [trainer.policy.predict(t.obs[:-1], deterministic=True)[0] == t.acts for t in made]
    assert np.concatenate(right).mean() > 0.85


def test_demonstrations_without_rewards(hub_server):
    obs = types.DictObs({"a": np.zeros((2, 3)), "b": np.zeros(2, int)})
    data_hub.push_demonstrations([types.Trajectory(obs, np.zeros(1, int), None, True)], "me/plain")
    card = hub_server.files("me/plain", "datasets")["README.md"].decode()
    assert "| observations | a: float64 (3,), b: int64 () |" in card
    assert "| rewards | no |" in card
    assert "Measured" not in card


def test_a_data_set_of_the_field(hub_server, rng, tmp_path):
    """By the package `datasets`, in a process that knows this hub from its start."""
    made = demonstrations.from_policy(lambda obs: int(obs[2] > 0), "CartPole-v1", 3, rng)
    huggingface_utils.trajectories_to_dataset(made).to_parquet(tmp_path / "x.parquet")
    hub_server.add("me/set", {"data/train-00000-of-00001.parquet": (tmp_path / "x.parquet").read_bytes()}, "datasets")
    code = """
from imitation_lab.data import demonstrations
found = demonstrations.from_huggingface("me/set")
print([len(t) for t in found], found[0].obs.dtype, found[0].terminal)
for name, revision in (("me/none", None), ("me/set", "v9")):
    try:
        demonstrations.from_huggingface(name, revision=revision)
    except FileNotFoundError as error:
        print("cannot:", error)
"""
    env = os.environ | {
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stderr, hub_server.log)
    first, none, revision = done.stdout.splitlines()
    assert first == f"{[len(t) for t in made]} float32 True"
    assert none.startswith("cannot: cannot open the data set 'me/none': Dataset 'me/none' doesn't exist on the Hub")
    assert "'me/set' at revision 'v9'" in revision


FRESH = """
import sys
import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv
import imitation_lab.data.hub, imitation_lab.policies.serialize, imitation_lab.rewards.hub
from imitation_lab.util import hub

venv = DummyVecEnv([lambda: gym.make("CartPole-v1")])
calls = (
    lambda: hub.download("me/x", "x.zip"),
    lambda: hub.files("me/x"),
    lambda: hub.push(lambda path: path.touch(), "x", "me/x", card="# x"),
    lambda: imitation_lab.policies.serialize.load_policy("ppo-huggingface", venv, repo_id="me/x"),
    lambda: imitation_lab.rewards.hub.fetch_reward("me/x"),
    lambda: imitation_lab.data.hub.load_demonstrations("me/x"),
)
for call in calls:
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # so that no call finds what one before it imported
    try:
        call()
    except ConnectionError as error:
        print(error)
"""


def test_a_process_that_imports_nothing_else(tmp_path):
    """The client loads its submodules only when they are named, so who forgets one may find it by accident."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    env.pop("HF_ENDPOINT", None)
    done = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all(re.search(r"^cannot (read|write to) .*: HF_HUB_OFFLINE is set", line) for line in lines), lines


AWAY = """
import warnings
from stable_baselines3.common.env_util import make_vec_env
from imitation_lab.data import rollout
from imitation_lab.policies.serialize import load_policy

venv = make_vec_env("CartPole-v1", n_envs=2)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    policy = load_policy("ppo-huggingface", venv, env_name="CartPole-v1")
print([str(warning.message)[:11] for warning in told if "takes its place" in str(warning.message)])
print(policy.predict(venv.reset(), deterministic=True)[0].shape)
named = {"env_name": "CartPole-v1"}
for asked in (
    {"env_name": "Acrobot-v1"},
    {"env_name": "MountainCar"},
    named | {"revision": "v1"},
    named | {"filename": "other.zip"},
    named | {"organization": "me"},
    {"repo_id": "HumanCompatibleAI/ppo-CartPole-v1"},
):
    try:
        load_policy("ppo-huggingface", venv, **asked)
    except ConnectionError:
        print("away")
"""


def test_a_bundled_expert_serves_where_the_hub_is_away(tmp_path):
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", AWAY], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['cannot read']", "(2,)", *["away"] * 6]


# Caching


def test_what_is_cached_loads_without_a_hub(hub_server, venv, policy):
    policy_hub.push_policy(policy, "me/x")
    load(venv, repo_id="me/x")
    hub_server.faults.add("down")
    same_weights(load(venv, repo_id="me/x", filename="policy.safetensors"), policy)
    same_weights(load(venv, repo_id="me/x"), policy)


def test_a_cache_of_your_own(hub_server, venv, policy, tmp_path):
    policy_hub.push_policy(policy, "me/x")
    same_weights(load(venv, repo_id="me/x", cache_dir=tmp_path / "mine"), policy)
    assert (tmp_path / "mine" / "models--me--x").is_dir()


# Errors


def test_no_such_thing(hub_server, venv, policy):
    policy_hub.push_policy(policy, "me/x")
    hub_server.add("me/other", {"a.txt": b"a"})
    with pytest.raises(
        FileNotFoundError, match=r"cannot read the model 'me/none': http://127.* has no such model, or it is"
    ):
        load(venv, repo_id="me/none")
    with pytest.raises(FileNotFoundError, match=r"'me/x': it has no revision 'v9'. Give a branch, tag or commit"):
        load(venv, repo_id="me/x", revision="v9")
    with pytest.raises(FileNotFoundError, match=r"the model 'me/x': it has no revision 'v9'"):
        load(venv, repo_id="me/x", filename="policy.safetensors", revision="v9")
    with pytest.raises(
        FileNotFoundError, match=r"'y.zip' of the model 'me/x' at .* no such file; there are \['README.md', "
    ):
        load(venv, repo_id="me/x", filename="y.zip")
    with pytest.raises(
        FileNotFoundError, match=r"'me/other' \(revision 'main'\) holds \['a.txt'\], neither 'policy.*'other.zip'"
    ):
        load(venv, repo_id="me/other")
    with pytest.raises(FileNotFoundError, match="the dataset 'me/x': .* has no such dataset"):
        data_hub.load_demonstrations("me/x")
    with pytest.raises(ValueError, match=r"give either env_name= \(with organization=\) or repo_id="):
        load(venv)
    with pytest.raises(ValueError, match="Repo id must"):
        load(venv, repo_id="a/b/c", filename="x")


def test_an_unreachable_hub(hub_server, venv, policy, monkeypatch, tmp_path):
    hub_server.faults.add("down")
    with pytest.raises(ConnectionError, match="answers with an error .*500"):
        load(venv, repo_id="me/x")
    with pytest.raises(ConnectionError, match="cannot write to the model 'me/x': .* answers with an error"):
        policy_hub.push_policy(policy, "me/x")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"the connection to http://127.0.0.1:9 broke \(.*refused"):
        load(venv, repo_id="me/x")
    assert whole_files(str(tmp_path / "hub-cache")) == []


def test_an_unreachable_hub_for_a_file(hub_server, venv, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ConnectionError, match=r"could not be reached \(.*refused.*\), and the file is not in the cache. Check"
    ):
        load(venv, repo_id="me/x", filename="x.zip")
    assert whole_files(str(tmp_path / "hub-cache")) == []


def test_offline_mode(hub_server, venv, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        hub.download("me/x", "x.zip")


def test_a_transfer_that_breaks_off(hub_server, venv, policy, tmp_path):
    policy_hub.push_policy(policy, "me/x")
    hub_server.faults.add("cut")
    with pytest.raises(ConnectionError, match="cannot read 'policy.safetensors' of the model 'me/x'.*Nothing was kept"):
        load(venv, repo_id="me/x")
    assert whole_files(str(tmp_path / "hub-cache")) == []
    hub_server.faults.clear()
    same_weights(load(venv, repo_id="me/x"), policy)


def test_an_upload_that_fails_commits_nothing(hub_server, venv, policy):
    hub_server.faults.add("no uploads")
    with pytest.raises(ConnectionError, match="cannot write to the model 'me/x': the connection to .* broke .*500"):
        policy_hub.push_policy(policy, "me/x")
    assert hub_server.commits["models", "me/x"] == []


def test_permissions(hub_server, venv, policy, monkeypatch):
    policy_hub.push_policy(policy, "me/hidden", private=True)
    hub_server.gated.add("me/gated")
    with pytest.raises(PermissionError, match="'me/gated': it is open only to accounts that asked for it. Ask on http"):
        load(venv, repo_id="me/gated", filename="x.zip")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PermissionError, match=r"cannot write to the model 'me/x': .* refuses \(status 401\). Log in"):
        policy_hub.push_policy(policy, "me/x")
    with pytest.raises(FileNotFoundError, match="or it is private. Check the name; for a private one log in"):
        load(venv, repo_id="me/hidden")
    same_weights(load(venv, repo_id="me/hidden", token="hf_test"), policy)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_poisoned_files_are_refused(hub_server, venv, policy, zipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy_hub.push_policy(policy, "me/x")
    good = hub_server.files("me/x")["policy.safetensors"]
    hub_server.add("me/x", {"policy.safetensors": good[:-1] + bytes([good[-1] ^ 1])})
    with pytest.raises(ArtifactError, match="its checksum does not match: it was changed or damaged"):
        load(venv, repo_id="me/x")
    hub_server.add("me/x", {"policy.safetensors": pickle.dumps(Evil())})
    with pytest.raises(ArtifactError, match="truncated, or not a zip"):
        load(venv, repo_id="me/x")

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zipped[1])) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "policy.pth":
                own = io.BytesIO()
                th.save({"x": Evil()}, own)
                data = own.getvalue()
            new.writestr(name, data)
    hub_server.add("me/y", {"y.zip": buffer.getvalue()})
    with pytest.raises(ArtifactError, match="'policy.pth' holds more than tensors; opening it could run code"):
        load(venv, repo_id="me/y")
    assert not (tmp_path / "pwned").exists()

    hub_server.add("me/demos", {"demonstrations.safetensors": pickle.dumps(Evil())}, "datasets")
    with pytest.raises(ArtifactError, match="is a pickle, and unpickling runs whatever code"):
        data_hub.load_demonstrations("me/demos")
    hub_server.add("me/r", {"reward.safetensors": pickle.dumps(Evil())})
    with pytest.raises(ArtifactError, match="is a bare pickle"):
        rewards.load_net(reward_hub.fetch_reward("me/r"))
    assert not (tmp_path / "pwned").exists()


def test_trust_opens_what_pickles(hub_server, venv, zipped):
    hub_server.add("me/y", {"y.zip": zipped[1]})
    same_weights(load(venv, repo_id="me/y", trust=True), zipped[0])


def test_statistics_beside_the_zip(hub_server, venv, zipped):
    hub_server.add("me/y", {"y.zip": zipped[1], "vec_normalize.pkl": b"."})
    with pytest.raises(ArtifactError, match=r"holds vec_normalize.pkl: the policy expects .* pass filename='y.zip'"):
        load(venv, repo_id="me/y")
    same_weights(load(venv, repo_id="me/y", filename="y.zip"), zipped[0])


def test_nothing_is_pushed_that_cannot_be_saved(hub_server, venv):
    class Odd(RandomPolicy):
        pass

    with pytest.raises(TypeError, match="is not registered"):
        policy_hub.push_policy(Odd(venv.observation_space, venv.action_space), "me/x")
    assert hub_server.log == []


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'needs the package huggingface_hub: pip install "imitation-lab\[hub\]"'):
        hub.download("me/x", "x")
