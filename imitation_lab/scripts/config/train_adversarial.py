"""Named configurations of `train_adversarial`."""

from typing import Any

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.tuned import tuned

# As in `algorithms.adversarial.presets`, where it stands what they reach.
_CARTPOLE: dict[str, Any] = {
    "total_timesteps": 180_000,
    "demonstrations": {"n_expert_demos": 5},
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {
        "batch_size": 4000,
        "rl_kwargs": {
            "batch_size": 500,
            "n_epochs": 20,
            "learning_rate": {"linear": [3e-3, 1e-4]},
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "clip_range": 0.3,
        },
    },
    "algorithm_kwargs": {
        "demo_batch_size": 512,
        "n_disc_updates_per_round": 60,
        "gen_replay_buffer_capacity": 8000,
        "disc_opt_kwargs": {"lr": 1e-3},
    },
}
_PENDULUM: dict[str, Any] = {
    "total_timesteps": 160_000,
    "demonstrations": {"n_expert_demos": 20},
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {
        "batch_size": 1600,
        "rl_kwargs": {
            "batch_size": 200,
            "n_epochs": 10,
            "learning_rate": {"linear": [1e-3, 1e-4]},
            "gamma": 0.9,
            "gae_lambda": 0.95,
        },
    },
    "algorithm_kwargs": {
        "demo_batch_size": 512,
        "n_disc_updates_per_round": 30,
        "gen_replay_buffer_capacity": 8000,
        "disc_opt_kwargs": {"lr": 1e-3},
    },
}

NAMED = {
    **by_environment(
        {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _PENDULUM},
        experts=True,
        variable={"algorithm_kwargs": {"allow_variable_horizon": True}},
    ),
    **tuned("gail", "airl"),
    **fast(
        ("environment", "demonstrations", "rl", "policy_evaluation"),
        {
            "total_timesteps": 128,
            "algorithm_kwargs": {"demo_batch_size": 16, "n_disc_updates_per_round": 1, "allow_variable_horizon": True},
        },
    ),
}
