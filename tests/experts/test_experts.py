import hashlib
import json

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy

from imitation_lab import experts
from imitation_lab.data.demonstrations import validate
from imitation_lab.data.types import TrajectoryWithRew
from imitation_lab.experts import bundle
from imitation_lab.scripts import console
from imitation_lab.scripts import experts as command
from imitation_lab.util import bundled

NAMES = ["CartPole", "CartPole-standard", "HalfCheetah", "Hopper", "MountainCar", "Pendulum"]
ENV_IDS = {name: f"imitation_lab/{name}-v0" for name in NAMES}
ENV_IDS |= {"CartPole-standard": "CartPole-v1", "Pendulum": "Pendulum-v1"}
MUJOCO = ("HalfCheetah", "Hopper")


def test_the_bundle_is_complete_and_small():
    assert set(NAMES) <= set(experts.list_experts())
    files = [path for name in NAMES for path in (bundle.DATA / name).iterdir()]
    assert len(files) == 3 * len(NAMES)
    assert sum(path.stat().st_size for path in files) < 4e6


@pytest.mark.parametrize("name", NAMES)
def test_card_matches_the_files_and_the_recipe(name):
    card = experts.card(name)
    assert card["name"] == name
    assert card["environment"]["id"] == ENV_IDS[name]
    for file, facts in card["files"].items():
        content = (bundle.DATA / name / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == facts["sha256"]
        assert len(content) == facts["bytes"]
    values = command.recipe(name)["values"]
    assert values["rl"]["rl_kwargs"] == {**card["hyperparameters"], "seed": card["training"]["seed"], "device": "cpu"}
    assert values["total_timesteps"] == card["training"]["timesteps"]
    assert values["seed"] == card["training"]["seed"]
    assert card["command"] == f"imitation-lab experts {name} --train"
    assert set(card["libraries"]) == {"python", "gymnasium", "numpy", "stable-baselines3", "torch"} | (
        {"mujoco"} if name in MUJOCO else set()
    )


@pytest.mark.parametrize("name", ["CartPole", "CartPole-standard"])
def test_cartpole_experts_never_fall(name):
    evaluation = experts.card(name)["evaluation"]
    assert evaluation["episodes"] == 100
    assert evaluation["return_min"] == 500
    assert experts.card(name)["demonstrations"]["return_min"] == 500


def test_pendulum_expert_is_good():
    evaluation = experts.card("Pendulum")["evaluation"]
    assert evaluation["episodes"] == 100
    assert evaluation["return_mean"] > -170


@pytest.mark.parametrize(("name", "bar"), [("HalfCheetah", 5000), ("Hopper", 2500), ("MountainCar", -120)])
def test_experts_of_longer_training_are_good(name, bar):
    evaluation = experts.card(name)["evaluation"]
    assert evaluation["episodes"] == 100
    assert evaluation["return_mean"] > bar


@pytest.mark.parametrize("name", NAMES)
def test_policy_acts_as_its_card_says(name):
    card = experts.card(name)
    policy = experts.load_expert(name, device="cpu")
    assert isinstance(policy, SACPolicy if name == "Pendulum" else ActorCriticPolicy)
    n = 10 if name in MUJOCO else 20
    episodes = command.sample(policy, card["environment"]["id"], n, seed=3)
    returns = np.array([episode.rews.sum() for episode in episodes])
    evaluation = card["evaluation"]
    # Four standard errors of the difference between `n` and 100 episodes.
    tolerance = 4 * evaluation["return_std"] * np.sqrt(1 / n + 1 / 100)
    assert abs(returns.mean() - evaluation["return_mean"]) <= tolerance


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_fit_the_environment(name):
    card = experts.card(name)
    demonstrations = experts.load_demonstrations(name)
    assert len(demonstrations) == card["demonstrations"]["episodes"]
    env = gym.make(card["environment"]["id"])
    for episode in demonstrations:
        assert isinstance(episode, TrajectoryWithRew)
        assert len(episode) == card["environment"]["horizon"]
        assert episode.obs.shape == (len(episode) + 1, *env.observation_space.shape)
        assert episode.obs.dtype == env.observation_space.dtype
        assert episode.terminal
        assert all(env.action_space.contains(act) for act in episode.acts)
        assert all(env.observation_space.contains(obs) for obs in episode.obs)
    assert "nothing to mend" in str(validate(demonstrations, env))
    env.close()
    returns = [float(episode.rews.sum(dtype=np.float64)) for episode in demonstrations]
    assert np.mean(returns) == pytest.approx(card["demonstrations"]["return_mean"], abs=1e-2)
    assert len({float(episode.obs[0, 0]) for episode in demonstrations}) == len(demonstrations)


def test_demonstrations_are_the_experts_own_actions():
    policy = experts.load_expert("Pendulum", device="cpu")
    episode = experts.load_demonstrations("Pendulum", n=1)[0]
    acts, _ = policy.predict(episode.obs[:-1], deterministic=True)
    np.testing.assert_allclose(acts, episode.acts, atol=1e-4)
    assert np.abs(episode.acts).max() > 1.5  # torques reach 2: scaled to the action space


def test_environment_ids_serve_as_names():
    for name, env_id in ENV_IDS.items():
        assert experts.card(env_id) == experts.card(name)


def test_n_takes_the_first():
    two = experts.load_demonstrations("Pendulum", n=2)
    assert len(two) == 2
    np.testing.assert_array_equal(two[1].obs, experts.load_demonstrations("Pendulum")[1].obs)


@pytest.mark.parametrize("n", [0, -1, 10_000])
def test_wrong_n_is_refused(n):
    with pytest.raises(ValueError, match=rf"n must be between 1 and 30, .* got {n}. For more, roll out load_expert"):
        experts.load_demonstrations("Pendulum", n=n)


def test_unknown_expert_is_refused_with_the_names():
    for load in (experts.load_expert, experts.load_demonstrations, experts.card):
        with pytest.raises(ValueError, match=r"no expert 'Pendulun'. Did you mean 'Pendulum'\?.*CartPole-standard"):
            load("Pendulun")


def test_the_command_writes_all_three_files_and_repeats_itself(tmp_path, monkeypatch, capsys):
    tiny = command.recipe("CartPole-standard")
    tiny |= {"expert": "Tiny", "n_demonstrations": 3}
    tiny["values"] |= {"total_timesteps": 256, "seed": 5, "environment": {"gym_id": "CartPole-v1", "num_vec": 2}}
    tiny["values"]["rl"]["rl_kwargs"] |= {"n_steps": 32, "batch_size": 64}
    monkeypatch.setattr(command, "recipe", lambda name: tiny)
    monkeypatch.setattr(command, "EPISODES", 4)
    threads = th.get_num_threads()
    for run in ("a", "b"):
        assert console.main(["experts", "Tiny", "--train", "--output", str(tmp_path / run)]) == 0
    assert "Tiny: return" in capsys.readouterr().out
    assert th.get_num_threads() == threads == 1
    files = ["card.json", "demonstrations.safetensors", "policy.safetensors"]
    assert sorted(path.name for path in (tmp_path / "a" / "Tiny").iterdir()) == files
    for file in files:
        assert (tmp_path / "a" / "Tiny" / file).read_bytes() == (tmp_path / "b" / "Tiny" / file).read_bytes()
    monkeypatch.setattr(bundled, "DATA", tmp_path / "a")
    assert experts.list_experts() == ["Tiny"]
    assert len(experts.load_demonstrations("Tiny")) == 3
    assert json.loads((tmp_path / "a" / "Tiny" / "card.json").read_text()) == experts.card("CartPole-v1")


def test_the_command_trains_with_the_activation_that_is_named():
    values = command.recipe("Hopper")["values"]
    assert values["rl"]["rl_kwargs"]["policy_kwargs"]["activation_fn"] == "ReLU"
    values["rl"]["rl_kwargs"] |= {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
    values |= {"environment": {"gym_id": "Pendulum-v1", "num_vec": 1}, "total_timesteps": 16}
    layers = {type(layer).__name__ for layer in command.train(values).mlp_extractor.modules()}
    assert "ReLU" in layers
    assert "Tanh" not in layers


@pytest.mark.parametrize("words", [["CartPol"], []])
def test_an_expert_that_nothing_makes(words, capsys):
    assert console.main(["experts", *words, "--train"]) == 2
    told = capsys.readouterr().err
    assert ("Did you mean 'CartPole'" in told) if words else ("needs the name" in told)


def test_environments_of_seals_have_the_expert_of_the_like():
    assert experts.card("seals/CartPole-v0")["environment"]["id"] == "imitation_lab/CartPole-v0"
    assert len(experts.load_demonstrations("seals/MountainCar-v0", n=1)) == 1
