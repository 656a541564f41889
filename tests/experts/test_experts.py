import dataclasses
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
from imitation_lab.experts import bundle, recipe

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
    assert card["hyperparameters"] == recipe.RECIPES[name].hyperparameters
    assert card["training"]["timesteps"] == recipe.RECIPES[name].timesteps
    assert card["training"]["seed"] == recipe.RECIPES[name].seed
    assert card["command"].endswith(name)
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
    episodes = recipe.sample(policy, card["environment"]["id"], n, seed=3)
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


def test_recipe_writes_all_three_files_and_repeats_itself(tmp_path, monkeypatch, capsys):
    small = recipe.Recipe(
        "CartPole-v1", "CartPole-v1", "PPO", "FeedForward32Policy", 256, 2, 5, 3, None,
        {"n_steps": 32, "batch_size": 64, "learning_rate": {"linear": 1e-3}},
    )  # fmt: skip
    monkeypatch.setitem(recipe.RECIPES, "Tiny", small)
    monkeypatch.setattr(recipe, "EPISODES", 4)
    threads = th.get_num_threads()
    for run in ("a", "b"):
        recipe.main(["Tiny", "--output", str(tmp_path / run)])
    assert "Tiny: return" in capsys.readouterr().out
    assert th.get_num_threads() == threads == 1
    files = ["card.json", "demonstrations.safetensors", "policy.safetensors"]
    assert sorted(path.name for path in (tmp_path / "a" / "Tiny").iterdir()) == files
    for file in files:
        assert (tmp_path / "a" / "Tiny" / file).read_bytes() == (tmp_path / "b" / "Tiny" / file).read_bytes()
    monkeypatch.setattr(bundle, "DATA", tmp_path / "a")
    assert experts.list_experts() == ["Tiny"]
    assert len(experts.load_demonstrations("Tiny")) == 3
    assert json.loads((tmp_path / "a" / "Tiny" / "card.json").read_text()) == experts.card("CartPole-v1")


def test_a_recipe_trains_with_the_activation_it_names(monkeypatch):
    hopper = recipe.RECIPES["Hopper"]
    assert hopper.hyperparameters["policy_kwargs"] == {"activation_fn": "ReLU"}
    small = {**hopper.hyperparameters, "n_steps": 16, "batch_size": 16, "n_epochs": 1}
    changes = {"train_env_id": "Pendulum-v1", "timesteps": 16, "n_envs": 1, "hyperparameters": small}
    monkeypatch.setitem(recipe.RECIPES, "Hopper", dataclasses.replace(hopper, **changes))
    layers = {type(layer).__name__ for layer in recipe.train("Hopper").mlp_extractor.modules()}
    assert "ReLU" in layers
    assert "Tanh" not in layers
