"""Named configurations of `train_mce_irl`."""

from imitation_lab.scripts._values import Named

_WORLDS = {
    "cliff_world": ("imitation_lab/CliffWorld-v0", 1.0),
    "frozen_lake": ("imitation_lab/FrozenLake-v0", 0.001),  # one reward in 100 slippery steps
    "grid_world": ("imitation_lab/GridWorld-v0", 0.1),
    "random_mdp": ("imitation_lab/RandomMDP-v0", 0.1),
}
"""Environment, and the temperature at which its expert is no longer random."""

NAMED = {
    **{
        name: Named(gym_id, {"environment": {"gym_id": gym_id}, "expert_temperature": temperature})
        for name, (gym_id, temperature) in _WORLDS.items()
    },
    "fast": Named("seconds, for tests", {"max_iter": 5, "n_expert_demos": 4, "n_episodes_eval": 4}),
}
