"""Registers the environments with Gymnasium by name; importing this loads Gymnasium alone."""

from gymnasium.envs.registration import register, registry

_SPECS: dict[str, dict] = {
    "CartPole": {"entry_point": "classic:FixedHorizonCartPole", "max_episode_steps": 500, "reward_threshold": 475.0},
    "MountainCar": {
        "entry_point": "classic:FixedHorizonMountainCar", "max_episode_steps": 200, "reward_threshold": -110.0
    },
    **{name: {"entry_point": f"grid_worlds:{name}"} for name in ("CliffWorld", "FrozenLake", "GridWorld", "RandomMDP")},
    **{
        name: {"entry_point": "mujoco:make", "kwargs": {"name": name}, "max_episode_steps": 1000}
        for name in ("Ant", "HalfCheetah", "Hopper", "Swimmer", "Walker2d")
    },
}  # fmt: skip


def register_all() -> None:
    """Registers each environment that is not registered yet."""
    for name, spec in _SPECS.items():
        if (env_id := f"imitation_lab/{name}-v0") not in registry:
            register(id=env_id, **{**spec, "entry_point": f"imitation_lab.envs.{spec['entry_point']}"})


register_all()
