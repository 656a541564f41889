"""Named configurations of `train_rl`."""

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.train_adversarial import CARTPOLE_GENERATOR

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
_FIXED_CARTPOLE = {"total_timesteps": 300_000, **CARTPOLE_GENERATOR}
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
