"""Named configurations of `train_imitation`."""

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.tuned import tuned

_CARTPOLE = {"dagger": {"total_timesteps": 10_000}, "sqil": {"total_timesteps": 50_000}}

NAMED = {
    **by_environment({"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE}, experts=True),
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
