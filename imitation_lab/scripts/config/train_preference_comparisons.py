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
    "total_timesteps": 500_000,
    "total_comparisons": 1000,
    "fragment_length": 50,
    "rl": RL["pendulum"].values["rl"],
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
