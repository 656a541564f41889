"""Named configurations of `train_adversarial`."""

from typing import Any, Literal

from stable_baselines3.common.utils import LinearSchedule

from imitation_lab.algorithms.adversarial.presets import presets
from imitation_lab.scripts._values import Named, merged
from imitation_lab.scripts.config.environments import by_environment, fast
from imitation_lab.scripts.config.tuned import tuned


def _preset(name: str, algorithm: Literal["gail", "airl"]) -> dict[str, Any]:
    """A preset of `algorithms.adversarial.presets` as configuration values."""
    preset = presets(name, algorithm)
    rl_kwargs = {
        key: {"linear": [value.start, value.end]} if isinstance(value, LinearSchedule) else value
        for key, value in preset.gen_kwargs.items()
        if key != "n_steps"
    }
    net_kwargs = dict(preset.reward_net_kwargs)
    layer = "RunningNorm" if preset.normalize_reward else None
    reward: dict[str, Any] = {"net_kwargs": net_kwargs, "normalize_output_layer": layer}
    if "discount_factor" in net_kwargs:
        reward["shaping"] = {"discount_factor": net_kwargs.pop("discount_factor")}
        reward["net_cls"] = "BoundedRewardNet" if "bound" in net_kwargs else "BasicRewardNet"
    return {
        "total_timesteps": preset.total_timesteps,
        "demonstrations": {"n_expert_demos": preset.n_demonstrations},
        "environment": {"num_vec": preset.n_envs},
        "policy": {"policy_cls": "MlpPolicy"},
        "rl": {"batch_size": preset.gen_kwargs["n_steps"] * preset.n_envs, "rl_kwargs": rl_kwargs},
        "reward": reward,
        "algorithm_kwargs": dict(preset.trainer_kwargs),
    }


CARTPOLE_GENERATOR = {key: _preset("CartPole", "gail")[key] for key in ("environment", "policy", "rl")}
"""What trains the policy in GAIL's preset: it suits other learned rewards, too."""


def _by_environment() -> dict[str, Named]:
    """As `by_environment`, with presets where there are some; what they set depends on the algorithm."""
    named = by_environment(experts=True, variable={"algorithm_kwargs": {"allow_variable_horizon": True}})
    for name, preset in (("cartpole", "CartPole"), ("fixed_cartpole", "CartPole"), ("pendulum", "Pendulum")):
        plain = named[name]
        own = {command: merged(plain.values, _preset(preset, command)) for command in ("gail", "airl")}
        named[name] = Named(plain.doc, plain.values, own)
    return named


NAMED = {
    **_by_environment(),
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
