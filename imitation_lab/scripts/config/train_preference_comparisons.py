"""Named configurations of `train_preference_comparisons`."""

import dataclasses

from imitation_lab.scripts._values import merged
from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.train_adversarial import CARTPOLE_GENERATOR

_CARTPOLE = {
    "total_timesteps": 300_000,
    "total_comparisons": 4000,
    "num_iterations": 20,
    "fragment_length": 10,
    "fragmenter_kwargs": {"warning_threshold": 0},  # overlapping clips do no harm here
    "initial_comparison_frac": 0.25,
    "initial_epoch_multiplier": 2.0,
    "reward_trainer_kwargs": {"epochs": 10, "lr": 2e-3},
    **merged(
        CARTPOLE_GENERATOR,
        {"rl": {"rl_kwargs": {"clip_range": 0.2, "ent_coef": 0.01, "learning_rate": {"linear": 2e-3}}}},
    ),
}
_PENDULUM = {
    "total_timesteps": 136_000,
    "total_comparisons": 1500,
    "fragment_length": 25,
    "transition_oversampling": 2.0,
    "fragmenter_kwargs": {"warning_threshold": 0},
    "initial_comparison_frac": 0.3,
    "initial_epoch_multiplier": 2.0,
    "reward_trainer_kwargs": {"epochs": 10, "lr": 2e-3},
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {
        "batch_size": 3200,
        "rl_kwargs": {
            "batch_size": 200,
            "n_epochs": 10,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "learning_rate": {"linear": 2.5e-3},
        },
    },
}

_ENVIRONMENTS = by_environment(
    {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _PENDULUM},
    variable={"allow_variable_horizon": True},
)

NAMED = {
    **_ENVIRONMENTS,
    "cartpole": dataclasses.replace(
        _ENVIRONMENTS["cartpole"], doc="CartPole-v1, whose clips of one length all tie: take fixed_cartpole"
    ),
    **fast(
        ("environment", "rl", "policy_evaluation"),
        {
            "total_timesteps": 64,
            "total_comparisons": 8,
            "num_iterations": 2,
            "fragment_length": 4,
            "transition_oversampling": 1.0,
            "initial_comparison_frac": 0.2,
            "initial_epoch_multiplier": 1.0,
            "fragmenter_kwargs": {"warning_threshold": 0},
        },
    ),
}
