"""Named configurations of `train_preference_comparisons`."""

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.train_rl import NAMED as RL

_CARTPOLE = {
    "total_timesteps": 100_000,
    "total_comparisons": 500,
    "fragment_length": 50,
    "rl": RL["cartpole"].values["rl"],
    "policy": RL["cartpole"].values["policy"],
}
_PENDULUM = {
    "total_timesteps": 136_000,
    "total_comparisons": 1500,
    "fragment_length": 25,
    "transition_oversampling": 2.0,
    "fragmenter_kwargs": {"warning_threshold": 0},  # overlapping clips do no harm here
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

NAMED = {
    **by_environment(
        {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _PENDULUM},
        variable={"allow_variable_horizon": True},
    ),
    **fast(
        ("environment", "rl", "policy_evaluation"),
        {
            "total_timesteps": 64,
            "total_comparisons": 8,
            "num_iterations": 2,
            "fragment_length": 4,
            "initial_comparison_frac": 0.2,
            "initial_epoch_multiplier": 1.0,
            "fragmenter_kwargs": {"warning_threshold": 0},
        },
    ),
}
