"""Named configurations of `eval_policy`."""

from imitation_lab.scripts._values import Named
from imitation_lab.scripts.config import FAST, named

NAMED = {
    **named(groups=("environment", "expert")),
    "fast": Named("seconds, for tests", {"environment": FAST["environment"], "eval_n_timesteps": 40}),
    "video": Named(
        "a video of one copy's first episodes",
        {"videos": True, "eval_n_timesteps": 500, "environment": {"num_vec": 1}},
    ),
    "render": Named("show it on the screen", {"render": True, "environment": {"num_vec": 1}}),
    "explore_eps_greedy": Named(
        "a random action now and then", {"explore_kwargs": {"switch_prob": 1.0, "random_prob": 0.1}}
    ),
}
