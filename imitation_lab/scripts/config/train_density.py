"""Named configurations of `train_density`."""

from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.train_rl import NAMED as RL

_CARTPOLE = {"total_timesteps": 100_000, "rl": RL["cartpole"].values["rl"], "policy": RL["cartpole"].values["policy"]}
_PENDULUM = {"total_timesteps": 300_000, "rl": RL["pendulum"].values["rl"]}

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
