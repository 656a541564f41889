"""Registers the environments with Gymnasium by name; importing this loads Gymnasium alone."""

from gymnasium.envs.registration import register, registry

_SPECS: dict[str, dict] = {
    "imitation_lab/CartPole-v0": {
        "entry_point": "imitation_lab.envs.classic:FixedHorizonCartPole",
        "max_episode_steps": 500,
        "reward_threshold": 475.0,
    },
    "imitation_lab/MountainCar-v0": {
        "entry_point": "imitation_lab.envs.classic:FixedHorizonMountainCar",
        "max_episode_steps": 200,
        "reward_threshold": -110.0,
    },
    **{
        f"imitation_lab/{name}-v0": {"entry_point": f"imitation_lab.envs.grid_worlds:{name}"}
        for name in ("CliffWorld", "FrozenLake", "GridWorld", "RandomMDP")
    },
    **{
        f"imitation_lab/{name}-v0": {
            "entry_point": "imitation_lab.envs.mujoco:make",
            "kwargs": {"name": name},
            "max_episode_steps": 1000,
        }
        for name in ("Ant", "HalfCheetah", "Hopper", "Swimmer", "Walker2d")
    },
}


def register_all() -> None:
    """Registers each environment that is not registered yet."""
    for env_id, spec in _SPECS.items():
        if env_id not in registry:
            register(id=env_id, **spec)


register_all()
