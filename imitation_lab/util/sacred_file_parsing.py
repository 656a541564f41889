"""Collecting the results of many Sacred runs."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from imitation_lab.util.paths import AnyPath
from imitation_lab.util.sacred import dict_get_nested, load_runs

__all__ = ["find_sacred_runs", "group_runs_by_algo_and_env", "SacredRun", "SacredConfAndRun", "GroupedRuns"]

SacredRun = dict[str, Any]
SacredConfAndRun = tuple[dict[str, Any], SacredRun]
GroupedRuns = dict[str, dict[str, list[SacredRun]]]


def find_sacred_runs(
    run_path: AnyPath, only_completed_runs: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields `(config, run)` of all Sacred runs in and below `run_path`, in the order of their paths.

    Args:
        run_path: folder to search.
        only_completed_runs: leaves out runs whose status is not "COMPLETED".

    Raises:
        FileNotFoundError: if `run_path` is no folder.
        ValueError: if a file is not valid JSON; the text names it.
    """
    for dicts in load_runs(run_path, only_completed_runs=only_completed_runs):
        yield dicts.config, dicts.run


def group_runs_by_algo_and_env(
    path: AnyPath, only_completed_runs: bool = False
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Sorts the Sacred runs in and below `path` by algorithm and environment.

    Args:
        path: folder to search.
        only_completed_runs: leaves out runs whose status is not "COMPLETED".

    Returns:
        `result[algorithm][environment]` is a list of runs (the contents of `run.json`). The algorithm is the run's
        command, such as "bc"; the environment is the configuration's `environment.gym_id`.

    Raises:
        FileNotFoundError: if `path` is no folder.
        ValueError: if a file is not valid JSON, or a run names no command or environment; the text names the folder.
    """
    grouped: defaultdict[str, defaultdict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for sacred_dir, config, run in load_runs(path, only_completed_runs=only_completed_runs):
        algo = run.get("command")
        env = dict_get_nested(config, "environment.gym_id")
        if not algo or not env:
            missing = 'a "command" in run.json' if not algo else '"environment.gym_id" in config.json'
            raise ValueError(f"The run in {sacred_dir} lacks {missing}, so it cannot be grouped.")
        grouped[algo][env].append(run)
    return {algo: dict(by_env) for algo, by_env in grouped.items()}
