r"""Sweeps: many runs of one experiment, on Ray Tune.

    python -m imitation_lab.scripts.parallel with bc_seeds run_name=seeds
    python -m imitation_lab.scripts.parallel with run_name=seeds resume=True
    python -m imitation_lab.scripts.parallel with bc_seeds repeat=2 \
        search_space.config_updates.bc.batch_size.grid="[16, 64]"

Trials run on this machine's cores, or on a running cluster (`init_kwargs.address=auto`), all of whose machines see the
folder of the sweep. A search space is data: a value is a constant, or one of `{"grid": [...]}`, `{"choice": [...]}`,
`{"uniform": [a, b]}`, `{"loguniform": [a, b]}`, `{"randint": [a, b]}`, `{"quniform": [a, b, step]}`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from imitation_lab.scripts import _engine, _sweep, _values
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.util import util

__all__ = ["EXPERIMENTS", "parallel", "parallel_ex", "main_console"]

EXPERIMENTS = (
    "train_rl",
    "train_imitation",
    "train_adversarial",
    "train_preference_comparisons",
    "train_density",
    "train_mce_irl",
    "eval_policy",
)


def parallel(
    *,
    sacred_ex_name: str = "train_rl",
    command_name: str | None = None,
    init_kwargs: Mapping[str, Any] = {},
    run_name: str | None = None,
    resources_per_trial: Mapping[str, Any] = {"cpu": 1},
    base_named_configs: Sequence[str] = [],
    base_config_updates: Mapping[str, Any] = {},
    search_space: Mapping[str, Any] = {"named_configs": [], "config_updates": {}},
    num_samples: Count = 1,
    repeat: Count = 1,
    experiment_checkpoint_path: str | None = None,
    tune_run_kwargs: Mapping[str, Any] = {},
    search: Literal["random", "optuna"] = "random",
    metric: str | None = None,
    mode: Literal["max", "min"] = "max",
    max_failures: Natural = 1,
    resume: bool = False,
    storage_path: str = "output/parallel",
) -> dict[str, Any]:
    """A sweep on Ray Tune.

    Args:
        sacred_ex_name: the experiment: train_rl, train_imitation, and so on.
        command_name: its command, such as bc; None is its first.
        init_kwargs: for `ray.init`: num_cpus; address for a running cluster.
        run_name: name of the sweep, recorded with each run; None takes the time.
        resources_per_trial: of one trial: cpu, gpu.
        base_named_configs: named configurations of every trial.
        base_config_updates: values of every trial.
        search_space: named_configs, a list, or one of the forms above with lists to choose from; and config_updates,
            nested values, some of them in one of the forms above.
        num_samples: how often the search space is drawn from; a grid is run through each time.
        repeat: how often each point is run, each time with another seed.
        experiment_checkpoint_path: folder of an earlier sweep to go on with; implies resume.
        tune_run_kwargs: for Ray's `TuneConfig`, such as max_concurrent_trials and time_budget_s.
        search: draws points at random, or by Optuna from what was found; the latter takes no grid and needs a metric.
        metric: number of the result to search by, such as imit_stats.return_mean.
        mode: whether that shall be large or small.
        max_failures: how often a failed trial is tried again; it then stays in the table, with its error.
        resume: whether to go on with the sweep of this run_name: finished trials are kept, failed ones tried again.
        storage_path: folder for the sweeps.

    Returns:
        `table`, the path of the results; `trials` and `failed`, their numbers; `best`, if there is a metric.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: if a name, a key or a form does not exist.
        FileNotFoundError: if there is no sweep to go on with.
    """
    plan = _sweep.Plan(
        experiment=sacred_ex_name,
        command=command_name,
        run_name=run_name or util.make_unique_timestamp(),
        named_configs=tuple(base_named_configs),
        updates=_values.nested(base_config_updates),
    )
    plan.check(EXPERIMENTS)
    space = _sweep.check_space(plan, search_space)
    if search == "optuna" and (metric is None or _sweep.has_grid(space)):
        raise ValueError('search="optuna" needs a metric, such as imit_stats.return_mean, and takes no grid.')
    folder = pathlib.Path(storage_path).absolute() / plan.run_name
    if experiment_checkpoint_path is not None:
        folder, resume = pathlib.Path(experiment_checkpoint_path).absolute(), True
    if resume and not (folder / _sweep.STATE).exists() and not any(folder.glob("tuner.pkl")):
        raise FileNotFoundError(f"there is no sweep to go on with in {folder}: check run_name and storage_path.")
    if not resume and folder.exists():
        raise FileExistsError(f"{folder} exists already: add resume=True, or choose another run_name.")
    return _sweep.run(
        plan,
        space,
        folder,
        num_samples=num_samples,
        repeat=repeat,
        search=search,
        metric=metric,
        mode=mode,
        max_failures=max_failures,
        resume=resume,
        init_kwargs=dict(init_kwargs),
        resources=dict(resources_per_trial),
        tune_kwargs=dict(tune_run_kwargs),
    )


parallel_ex, main_console = _engine.script("parallel", parallel)

if __name__ == "__main__":
    main_console()
