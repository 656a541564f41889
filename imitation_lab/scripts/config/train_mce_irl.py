"""Named configurations of `train_mce_irl`."""

from imitation_lab.scripts._engine import Named

_WORLDS = {
    "cliff_world": "imitation_lab/CliffWorld-v0",
    "frozen_lake": "imitation_lab/FrozenLake-v0",
    "grid_world": "imitation_lab/GridWorld-v0",
    "random_mdp": "imitation_lab/RandomMDP-v0",
}

NAMED = {
    **{name: Named(gym_id, {"environment": {"gym_id": gym_id}}) for name, gym_id in _WORLDS.items()},
    "fast": Named("seconds, for tests", {"max_iter": 5, "n_expert_demos": 4, "n_episodes_eval": 4}),
}
