"""Named configurations of `train_rl`."""

from imitation_lab.scripts.config.environments import by_environment, fast

_PPO = {"gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "batch_size": 256, "learning_rate": {"linear": 1e-3}}
_CARTPOLE = {
    "total_timesteps": 30_000,
    "normalize_reward": False,
    "policy": {"policy_cls": "MlpPolicy"},
    "rl": {"batch_size": 256, "rl_kwargs": {**_PPO, "clip_range": {"linear": 0.2}}},
}
_PENDULUM = {
    "total_timesteps": 300_000,
    "rl": {"batch_size": 4096, "rl_kwargs": {"gamma": 0.9, "learning_rate": 1e-3}},
}

NAMED = {
    **by_environment({"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _PENDULUM}),
    **fast(
        ("environment", "rl", "policy_evaluation"),
        {"total_timesteps": 64, "policy_save_interval": 32, "rollout_save_n_timesteps": 20},
    ),
}
