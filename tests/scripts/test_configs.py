"""The named configurations: all that were promised, each of which fits its experiment."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch as th

from imitation_lab.scripts import (
    _names,
    _schema,
    analyze,
    eval_policy,
    parallel,
    train_adversarial,
    train_density,
    train_imitation,
    train_mce_irl,
    train_preference_comparisons,
    train_rl,
    tuning,
)
from imitation_lab.scripts.config import (
    analyze as analyze_config,
)
from imitation_lab.scripts.config import (
    eval_policy as eval_config,
)
from imitation_lab.scripts.config import (
    parallel as parallel_config,
)
from imitation_lab.scripts.config import (
    train_adversarial as adversarial_config,
)
from imitation_lab.scripts.config import (
    train_density as density_config,
)
from imitation_lab.scripts.config import (
    train_imitation as imitation_config,
)
from imitation_lab.scripts.config import (
    train_mce_irl as mce_config,
)
from imitation_lab.scripts.config import (
    train_preference_comparisons as preferences_config,
)
from imitation_lab.scripts.config import (
    train_rl as rl_config,
)
from imitation_lab.scripts.config import (
    tuning as tuning_config,
)

CLASSIC = {"acrobot", "ant", "cartpole", "half_cheetah", "mountain_car", "pendulum", "reacher"}
MORE = {"hopper", "swimmer", "walker", "humanoid", "fixed_cartpole", "fixed_mountain_car"}
_FIXED = ("ant", "cartpole", "half_cheetah", "hopper", "humanoid", "mountain_car", "swimmer", "walker")
SEALS = {f"seals_{name}" for name in _FIXED}
TUNED = {"ant", "half_cheetah", "hopper", "swimmer", "walker"}
ALL = CLASSIC | MORE | SEALS | {"fast"}


def _flat(schema):
    groups = {key: entry.keys if isinstance(entry, _schema.Group) else {"": entry} for key, entry in schema.items()}
    return {f"{key}.{name}".strip("."): entry for key, keys in groups.items() for name, entry in keys.items()}


EXPERIMENTS = {
    "train_rl": (train_rl.train_rl_ex, rl_config, ALL),
    "train_imitation": (
        train_imitation.train_imitation_ex,
        imitation_config,
        ALL | {f"{algo}_seals_{env}" for algo in ("bc", "dagger") for env in TUNED} | {"fast_dagger_seals_cartpole"},
    ),
    "train_adversarial": (
        train_adversarial.train_adversarial_ex,
        adversarial_config,
        ALL | {f"{algo}_seals_{env}" for algo in ("gail", "airl") for env in TUNED},
    ),
    "train_preference_comparisons": (
        train_preference_comparisons.train_preference_comparisons_ex,
        preferences_config,
        ALL,
    ),
    "train_density": (train_density.train_density_ex, density_config, ALL),
    "train_mce_irl": (train_mce_irl.train_mce_irl_ex, mce_config, {"cliff_world", "frozen_lake", "fast"}),
    "eval_policy": (eval_policy.eval_policy_ex, eval_config, ALL | {"render", "explore_eps_greedy"}),
    "analyze": (analyze.analysis_ex, analyze_config, {"fast"}),
    "parallel": (parallel.parallel_ex, parallel_config, {"fast"}),
    "tuning": (tuning.tuning_ex, tuning_config, {"rl", "bc", "dagger", "gail", "airl", "pc", "fast"}),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_named_configurations_are_there_and_fit(name):
    experiment, config, promised = EXPERIMENTS[name]
    listed = {key for key, _ in experiment.gather_named_configs()}
    assert promised <= listed
    for key, named in config.NAMED.items():
        assert named.by_command.keys() <= experiment.functions.keys()
        for command in (None, *named.by_command):
            values = _schema.checked(experiment.schema, named.of(command))
            for group in values.values():
                _names.with_classes(group)
        assert named.doc, key


def test_ingredients_bring_their_own():
    listed = {key for key, _ in train_adversarial.train_adversarial_ex.gather_named_configs()}
    layers = ("input_disable", "input_running", "output_disable", "output_running", "output_ema")
    assert {f"reward.normalize_{layer}" for layer in layers} | {"reward.reward_ensemble"} <= listed
    assert {"environment.fast", "demonstrations.fast", "rl.fast", "rl.sac", "policy.sac"} <= listed
    assert {
        "policy.cnn_policy",
        "policy.normalize_running",
        "policy_evaluation.fast",
        "logging.wandb_logging",
    } <= listed


def test_commands_and_defaults_are_those_promised():
    commands = {name: list(found[0].functions) for name, found in EXPERIMENTS.items()}
    assert commands["train_imitation"] == ["bc", "dagger", "sqil"]
    assert commands["train_adversarial"] == ["gail", "airl"]
    assert commands["analyze"] == ["analyze_imitation", "gather_tb_directories"]
    assert commands["tuning"] == ["tune"]
    values = _schema.defaults(train_preference_comparisons.train_preference_comparisons_ex.schema)
    expected = {"fragment_length": 100, "total_timesteps": 1_000_000, "total_comparisons": 5000, "num_iterations": 5}
    assert expected.items() <= values.items()
    assert values["reward_trainer_kwargs"] == {"epochs": 3}
    values = _schema.defaults(train_imitation.train_imitation_ex.schema)
    assert (values["bc"]["batch_size"], values["bc"]["l2_weight"]) == (32, 3e-5)
    assert values["bc"]["optimizer_kwargs"] == {"lr": 4e-4}
    assert (values["sqil"]["total_timesteps"], values["dagger"]["total_timesteps"]) == (300_000, 100_000)
    assert (values["policy_evaluation"]["n_episodes_eval"], values["environment"]["num_vec"]) == (50, 8)
    values = _schema.defaults(train_adversarial.train_adversarial_ex.schema)
    assert values["algorithm_kwargs"] == {"demo_batch_size": 1024, "n_disc_updates_per_round": 4}


def test_tuned_values_are_those_published():
    named = adversarial_config.NAMED["gail_seals_hopper"].values
    assert named["rl"]["rl_kwargs"]["learning_rate"] == 4.3984856156897565e-5
    assert named["algorithm_kwargs"] == {
        "demo_batch_size": 128,
        "gen_replay_buffer_capacity": 4096,
        "n_disc_updates_per_round": 8,
    }
    assert named["policy"]["policy_kwargs"]["net_arch"] == {"pi": [64, 64], "vf": [64, 64]}
    assert imitation_config.NAMED["bc_seals_walker"].values["bc"]["l2_weight"] == 0.0014680228143404998
    assert imitation_config.NAMED["dagger_seals_hopper"].values["dagger"]["beta_schedule"] == {"exponential": 0.7}


def test_tuned_settings_build_their_networks(rng):
    from imitation_lab.scripts.ingredients.environment import Environment
    from imitation_lab.scripts.ingredients.policy import Policy
    from imitation_lab.scripts.ingredients.reward import Reward
    from imitation_lab.scripts.ingredients.rl import RL

    named = adversarial_config.NAMED["gail_seals_hopper"].values
    with Environment(gym_id="Pendulum-v1").venv(rng) as venv:
        algorithm = RL(**named["rl"]).make(venv, Policy(**named["policy"]), 0)
        assert algorithm.n_steps == 4096 // 8
        assert type(algorithm.policy.features_extractor).__name__ == "NormalizeFeaturesExtractor"
        assert type(Reward(**named["reward"]).make(venv, rng)).__name__ == "NormalizedRewardNet"


@pytest.mark.parametrize("command", ["gail", "airl"])
@pytest.mark.parametrize(("name", "preset_name"), [("cartpole", "CartPole"), ("pendulum", "Pendulum")])
def test_adversarial_settings_are_those_of_the_preset(command, name, preset_name, rng):
    from imitation_lab.algorithms import checkpoint
    from imitation_lab.algorithms.adversarial.presets import presets
    from imitation_lab.scripts.ingredients.environment import Environment
    from imitation_lab.scripts.ingredients.policy import Policy
    from imitation_lab.scripts.ingredients.reward import Reward
    from imitation_lab.scripts.ingredients.rl import RL

    preset = presets(preset_name, command)
    config = print_config(train_adversarial.train_adversarial_ex, name, about=command)
    assert config["total_timesteps"] == preset.total_timesteps
    assert config["demonstrations"]["n_expert_demos"] == preset.n_demonstrations
    assert config["environment"]["num_vec"] == preset.n_envs
    for key, value in preset.trainer_kwargs.items():
        assert config["algorithm_kwargs"][key] == value
    with Environment(gym_id=config["environment"]["gym_id"], num_vec=preset.n_envs).venv(rng) as venv:
        ours = RL(**config["rl"]).make(venv, Policy(**config["policy"]), 0)
        assert checkpoint.describe_algorithm(ours) == checkpoint.describe_algorithm(preset.make_gen_algo(venv, 0))
        default = "BasicRewardNet" if command == "gail" else "BasicShapedRewardNet"
        nets = [
            make(venv, np.random.default_rng(0))
            for make in (preset.make_reward_net, partial(Reward(**config["reward"]).make, default=default))
        ]
        assert repr(nets[0]) == repr(nets[1])
        for (key, weight), other in zip(nets[0].state_dict().items(), nets[1].state_dict().values(), strict=True):
            assert th.equal(weight, other), key


def print_config(experiment, *named, about=None, **updates):
    return experiment.run("print_config", updates, named, options={"--loglevel": "ERROR"}, about=about).config


def test_what_a_named_configuration_sets_may_depend_on_the_command():
    experiment = train_adversarial.train_adversarial_ex
    found = {about: print_config(experiment, "cartpole", about=about) for about in ("gail", "airl", None)}
    assert found["gail"]["reward"]["net_cls"] is None
    assert found["airl"]["reward"]["net_cls"] == "BoundedRewardNet"
    assert found[None] == {**found["gail"], "seed": found[None]["seed"]}
    assert print_config(experiment, "cartpole", about="airl", total_timesteps=7)["total_timesteps"] == 7
    assert print_config(experiment, "cartpole", "fast", about="airl")["total_timesteps"] == 128


def test_groups_cannot_be_changed_by_accident():
    from imitation_lab.scripts.ingredients.environment import Environment

    with pytest.raises(dataclasses.FrozenInstanceError):
        Environment().num_vec = 3


COUNTS = [
    (name, command, key)
    for name, (experiment, _, _) in EXPERIMENTS.items()
    for command, function in experiment.functions.items()
    for key, entry in _flat(_schema.read(function)).items()
    if set(_schema._alternatives(entry.annotation)) & {int} and key not in ("logging.log_level",)
]


@pytest.mark.parametrize(("name", "command", "key"), COUNTS)
def test_no_count_is_negative(name, command, key):
    experiment = EXPERIMENTS[name][0]
    with pytest.raises(ValueError, match=rf"{key} must be at least [012], got -5"):
        experiment.run(command, {key: -5}, ["fast"], options={"--loglevel": "CRITICAL"})
