"""Named configurations of `tuning`: an algorithm and the space to search."""

from typing import Any

from imitation_lab.scripts._values import Named, nested

_PPO = {
    "rl.batch_size": {"choice": [512, 1024, 2048, 4096, 8192]},
    "rl.rl_kwargs.learning_rate": {"loguniform": [1e-5, 1e-2]},
    "rl.rl_kwargs.batch_size": {"choice": [64, 128, 256, 512]},
    "rl.rl_kwargs.n_epochs": {"choice": [5, 10, 20]},
    "rl.rl_kwargs.gamma": {"choice": [0.9, 0.95, 0.98, 0.99, 0.995, 0.999]},
    "rl.rl_kwargs.gae_lambda": {"choice": [0.8, 0.9, 0.95, 0.98, 1.0]},
    "rl.rl_kwargs.clip_range": {"choice": [0.1, 0.2, 0.3]},
    "rl.rl_kwargs.ent_coef": {"loguniform": [1e-8, 0.1]},
    "rl.rl_kwargs.max_grad_norm": {"choice": [0.3, 0.5, 0.7, 0.9, 2.0]},
    "rl.rl_kwargs.vf_coef": {"uniform": [0.1, 1.0]},
}
_BC = {
    "bc.batch_size": {"choice": [8, 16, 32, 64]},
    "bc.l2_weight": {"loguniform": [1e-6, 1e-2]},
    "bc.optimizer_kwargs.lr": {"loguniform": [1e-5, 1e-2]},
    "bc.train_kwargs.n_epochs": {"choice": [1, 5, 10, 20]},
}
_DAGGER = {
    **_BC,
    "dagger.rollout_round_min_episodes": {"choice": [3, 5, 10]},
    "dagger.beta_schedule.exponential": {"choice": [0.1, 0.3, 0.5, 0.7]},
}
_ADVERSARIAL = {
    **_PPO,
    "algorithm_kwargs.demo_batch_size": {"choice": [128, 512, 2048, 8192]},
    "algorithm_kwargs.n_disc_updates_per_round": {"choice": [4, 8, 16, 32]},
}
_PREFERENCES = {
    "total_comparisons": {"choice": [500, 1000, 2000]},
    "fragment_length": {"choice": [20, 50, 100]},
    "initial_comparison_frac": {"choice": [0.1, 0.25]},
    "reward_trainer_kwargs.epochs": {"choice": [1, 3, 6]},
    "query_schedule": {"choice": ["constant", "hyperbolic", "inverse_quadratic"]},
    **{key: _PPO[key] for key in ("rl.rl_kwargs.learning_rate", "rl.rl_kwargs.ent_coef")},
}


def _named(doc: str, experiment: str, command: str, space: dict[str, Any], metric: str) -> Named:
    values = {
        "sacred_ex_name": experiment,
        "command_name": command,
        "search_space": {"config_updates": nested(space)},
        "metric": metric,
    }
    return Named(doc, values)


NAMED = {
    "rl": _named("reinforcement learning", "train_rl", "train_rl", _PPO, "return_mean"),
    "bc": _named("behavioral cloning", "train_imitation", "bc", _BC, "imit_stats.return_mean"),
    "dagger": _named("DAgger", "train_imitation", "dagger", _DAGGER, "imit_stats.return_mean"),
    "gail": _named("GAIL", "train_adversarial", "gail", _ADVERSARIAL, "imit_stats.return_mean"),
    "airl": _named("AIRL", "train_adversarial", "airl", _ADVERSARIAL, "imit_stats.return_mean"),
    "pc": _named(
        "preference comparisons",
        "train_preference_comparisons",
        "train_preference_comparisons",
        _PREFERENCES,
        "rollout.return_mean",
    ),
    "fast": Named(
        "three tiny trials, for tests",
        {
            "base_named_configs": ["fast"],
            "num_samples": 2,
            "num_eval_seeds": 1,
            "init_kwargs": {"num_cpus": 2},
        },
    ),
}
