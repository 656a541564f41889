"""Named configurations of `train_imitation`."""

import dataclasses

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.tuned import tuned

_CARTPOLE = {
    "dagger": {"total_timesteps": 10_000},
    "sqil": {
        "total_timesteps": 24_000,
        "rl_kwargs": {
            "learning_rate": 1e-3,
            "batch_size": 64,
            "train_freq": 1,
            "gradient_steps": 2,
            "learning_starts": 400,
            "target_update_interval": 200,
            "buffer_size": 50_000,
            "exploration_fraction": 0.3,
            "exploration_final_eps": 0.02,
            "policy_kwargs": {"net_arch": [64, 64], "features_extractor_class": "NormalizeFeaturesExtractor"},
        },
    },
}
_PENDULUM_BC = {
    "bc": {
        "batch_size": 64,
        "l2_weight": 0.0,
        "optimizer_kwargs": {"lr": 1e-3},
        "train_kwargs": {"n_epochs": 100},
    },
}
_PENDULUM_SQIL = {
    "environment": {"num_vec": 4},
    "policy_evaluation": {"deterministic": True},
    "sqil": {
        "total_timesteps": 16_000,
        "rl_kwargs": {
            "learning_rate": 1e-3,
            "gamma": 0.95,
            "batch_size": 256,
            "learning_starts": 400,
            "policy_kwargs": {"net_arch": [64, 64]},
        },
    },
}

_ENVIRONMENTS = by_environment(
    {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": {"dagger": {"total_timesteps": 10_000}}},
    experts=True,
)

NAMED = {
    **_ENVIRONMENTS,
    "pendulum": dataclasses.replace(_ENVIRONMENTS["pendulum"], by_command={"bc": _PENDULUM_BC, "sqil": _PENDULUM_SQIL}),
    **tuned("bc", "dagger"),
    **fast(
        ("environment", "demonstrations", "policy_evaluation"),
        {
            "bc": {"batch_size": 8, "train_kwargs": {"n_epochs": 1}},
            "dagger": {
                "total_timesteps": 60,
                "rollout_round_min_episodes": 1,
                "rollout_round_min_timesteps": 20,
            },
            "sqil": {
                "total_timesteps": 100,
                "rl_kwargs": {"learning_starts": 10, "buffer_size": 100, "batch_size": 16},
            },
        },
    ),
}
