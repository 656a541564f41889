"""Named configurations of `train_density`."""

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.train_adversarial import CARTPOLE_GENERATOR

_CARTPOLE = {
    "total_timesteps": 300_000,
    "density_type": "STATE_DENSITY",
    "normalize_reward": True,
    **CARTPOLE_GENERATOR,
}
_PENDULUM = {
    "total_timesteps": 20_000,
    "density_type": "STATE_DENSITY",
    "environment": {"num_vec": 4},
    "policy": {"policy_cls": "MlpPolicy", "policy_kwargs": {"net_arch": [64, 64]}},
    "policy_evaluation": {"deterministic": True},
    "rl": {
        "rl_cls": "SAC",
        "batch_size": 128,
        "rl_kwargs": {
            "learning_rate": {"linear": 2e-3},
            "gamma": 0.95,
            "gradient_steps": 2,
            "learning_starts": 400,
        },
    },
}

NAMED = {
    **by_environment(
        {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _PENDULUM},
        experts=True,
        variable={"allow_variable_horizon": True},
    ),
    **fast(
        ("environment", "demonstrations", "rl", "policy_evaluation"),
        {"total_timesteps": 64, "allow_variable_horizon": True},
    ),
}
