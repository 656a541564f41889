"""Named configurations of `parallel`."""

from imitation_lab.scripts._values import Named

NAMED = {
    "bc_seeds": Named(
        "behavioral cloning on CartPole with five seeds",
        {
            "sacred_ex_name": "train_imitation",
            "command_name": "bc",
            "base_named_configs": ["cartpole"],
            "repeat": 5,
        },
    ),
    "gail_batches": Named(
        "GAIL on CartPole, three batch sizes with three seeds each",
        {
            "sacred_ex_name": "train_adversarial",
            "command_name": "gail",
            "base_named_configs": ["fixed_cartpole"],
            "search_space": {"config_updates": {"algorithm_kwargs": {"demo_batch_size": {"grid": [256, 512, 1024]}}}},
            "repeat": 3,
        },
    ),
    "fast": Named(
        "four tiny trials, for tests",
        {
            "sacred_ex_name": "train_mce_irl",
            "base_named_configs": ["fast"],
            "search_space": {"config_updates": {"optimizer_kwargs": {"lr": {"grid": [0.01, 0.1]}}}},
            "repeat": 2,
            "init_kwargs": {"num_cpus": 2},
        },
    ),
}
