"""Named configurations of `train_adversarial`."""

from typing import Any

from stable_baselines3.common.utils import LinearSchedule

from imitation_lab.algorithms.adversarial.presets import presets
from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.tuned import tuned


def _from_preset(name: str) -> dict[str, Any]:
    """GAIL's preset as a configuration, with what AIRL's trainer has in its place."""
    gail, airl = presets(name, "gail"), presets(name, "airl")
    rl_kwargs = {
        key: {"linear": [value.start, value.end]} if isinstance(value, LinearSchedule) else value
        for key, value in gail.gen_kwargs.items()
        if key != "n_steps"
    }
    for_airl = {key: value for key, value in airl.trainer_kwargs.items() if gail.trainer_kwargs.get(key) != value}
    return {
        "total_timesteps": gail.total_timesteps,
        "demonstrations": {"n_expert_demos": gail.n_demonstrations},
        "environment": {"num_vec": gail.n_envs},
        "policy": {"policy_cls": "MlpPolicy"},
        "rl": {"batch_size": gail.gen_kwargs["n_steps"] * gail.n_envs, "rl_kwargs": rl_kwargs},
        "algorithm_kwargs": dict(gail.trainer_kwargs),
        "algorithm_specific": {"airl": for_airl},
    }


_CARTPOLE = _from_preset("CartPole")

NAMED = {
    **by_environment(
        {"cartpole": _CARTPOLE, "fixed_cartpole": _CARTPOLE, "pendulum": _from_preset("Pendulum")},
        experts=True,
        variable={"algorithm_kwargs": {"allow_variable_horizon": True}},
    ),
    **tuned("gail", "airl"),
    **fast(
        ("environment", "demonstrations", "rl", "policy_evaluation"),
        {
            "total_timesteps": 128,
            "algorithm_kwargs": {
                "demo_batch_size": 16,
                "n_disc_updates_per_round": 1,
                "allow_variable_horizon": True,
            },
        },
    ),
}
