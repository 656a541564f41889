"""Named configurations of `train_rl`."""

from imitation_lab.scripts.config.environments import by_environment, fast

_CARTPOLE = {
    "total_timesteps": 60_000,
    "normalize_reward": False,
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {
        "batch_size": 1024,
        "rl_kwargs": {
            "batch_size": 128,
            "n_epochs": 10,
            "gae_lambda": 0.9,
            "gamma": 0.98,
            "learning_rate": {"linear": 1e-3},
        },
    },
}
_FIXED_CARTPOLE = {
    "total_timesteps": 300_000,
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {
        "batch_size": 4000,
        "rl_kwargs": {
            "batch_size": 500,
            "n_epochs": 20,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "clip_range": 0.3,
            "learning_rate": {"linear": [3e-3, 1e-4]},
        },
    },
}
_PENDULUM = {
    "total_timesteps": 300_000,
    "rl": {"batch_size": 4096, "rl_kwargs": {"gamma": 0.9, "learning_rate": 1e-3}},
}

NAMED = {
    **by_environment({"cartpole": _CARTPOLE, "fixed_cartpole": _FIXED_CARTPOLE, "pendulum": _PENDULUM}),
    **fast(
        ("environment", "rl", "policy_evaluation"),
        {"total_timesteps": 64, "policy_save_interval": 32, "rollout_save_n_timesteps": 20},
    ),
}
