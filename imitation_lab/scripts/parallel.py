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

import dataclasses
import pathlib
from typing import Any, Literal

from imitation_lab.scripts import _engine, _schema, _space, _sweep, _values
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


@_engine.command(_sweep.Sweep)
def parallel(
    frame: _sweep.Sweep,
    *,
    sacred_ex_name: str = "train_rl",
    command_name: str | None = None,
    num_samples: Count = 1,
    repeat: Count = 1,
    experiment_checkpoint_path: str | None = None,
    search: Literal["random", "optuna"] = "random",
    metric: str | None = None,
    max_failures: Natural = 1,
    storage_path: str = "output/parallel",
) -> dict[str, Any]:
    """A sweep on Ray Tune.

    Args:
        frame: shared keys.
        sacred_ex_name: the experiment: train_rl, train_imitation, and so on.
        command_name: its command, such as bc; None is its first.
        num_samples: how often the search space is drawn from; a grid is run through each time.
        repeat: how often each point is run, each time with another seed.
        experiment_checkpoint_path: folder of an earlier sweep to go on with; implies resume.
        search: draws points at random, or by Optuna from what was found; the latter takes no grid and needs a metric.
        metric: number of the result to search by, such as imit_stats.return_mean.
        max_failures: how often a failed trial is tried again; it then stays in the table, with its error.
        storage_path: folder for the sweeps.

    Returns:
        `table`, the path of the results; `trials` and `failed`, their numbers; `best`, if there is a metric.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: if a name, a key or a form does not exist.
        FileNotFoundError: if there is no sweep to go on with.
    """
    if sacred_ex_name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {sacred_ex_name!r}. {_schema.nearest(sacred_ex_name, EXPERIMENTS)}")
    run_name, updates = frame.run_name or util.make_unique_timestamp(), _values.nested(frame.base_config_updates)
    plan = _sweep.Plan(sacred_ex_name, command_name, run_name, list(frame.base_named_configs), updates)
    space = _sweep.check_space(plan, frame.search_space)
    if search == "optuna" and (metric is None or any(form == "grid" for _, form, _ in _space.varying(space))):
        raise ValueError('search="optuna" needs a metric, such as imit_stats.return_mean, and takes no grid.')
    folder = pathlib.Path(storage_path).absolute() / run_name
    if experiment_checkpoint_path is not None:
        folder = pathlib.Path(experiment_checkpoint_path).absolute()
        frame = dataclasses.replace(frame, resume=True)
    if frame.resume and not (folder / _sweep.STATE).exists():
        raise FileNotFoundError(f"there is no sweep to go on with in {folder}: check run_name and storage_path.")
    if not frame.resume and folder.exists():
        raise FileExistsError(f"{folder} exists already: add resume=True, or choose another run_name.")
    return _sweep.run(
        frame,
        plan,
        space,
        folder,
        num_samples=num_samples,
        repeat=repeat,
        search=search,
        metric=metric,
        max_failures=max_failures,
    )


parallel_ex, main_console = _engine.script("parallel", parallel)

if __name__ == "__main__":
    main_console()
