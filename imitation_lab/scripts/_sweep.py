"""Running many trials of one experiment on Ray Tune.

A sweep's folder is plain data: `sweep.json`, what shall be run; `trials/<n>.json`, what each trial gave; `results.csv`,
all of them; `sacred/<n>`, their records; `runs/`, their files. To go on with a sweep is to run the trials that are not
finished: no state of Ray's is read, which would be unpickled.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import os
import pathlib
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from imitation_lab.scripts import _results, _schema, _space, _values
from imitation_lab.viz.tables import text_table

STATE = "sweep.json"
_PARTS = ("named_configs", "config_updates")
_STARTS = 3
"""How often Ray is started before giving up: on a busy machine its 30 seconds may not be enough."""
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean here
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(_schema.Keys):
    """What a sweep and a search are both told.

    Attributes:
        init_kwargs: for `ray.init`: num_cpus; address for a running cluster.
        run_name: name of the sweep, recorded with each run; None takes the time.
        resources_per_trial: of one trial: cpu, gpu.
        base_named_configs: named configurations of every trial, such as the environment.
        base_config_updates: values of every trial.
        search_space: named_configs, a list, or one of the forms of `parallel` with lists to choose from; and
            config_updates, nested values, some of them in one of those forms.
        tune_run_kwargs: for Ray's `TuneConfig`, such as max_concurrent_trials and time_budget_s.
        mode: whether the metric shall be large or small.
        resume: whether to go on with the sweep of this run_name: finished trials are kept, failed ones tried again.
    """

    init_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    run_name: str | None = None
    resources_per_trial: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"cpu": 1})
    base_named_configs: Sequence[str] = ()
    base_config_updates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    search_space: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"named_configs": [], "config_updates": {}}
    )
    tune_run_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mode: Literal["max", "min"] = "max"
    resume: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all trials have in common."""

    experiment: str
    command: str | None
    run_name: str
    named_configs: Sequence[str]
    updates: Mapping[str, Any]

    def check(self, point: Mapping[str, Any]) -> None:
        """Checks names and keys of one trial.

        Raises:
            ValueError: naming the nearest.
        """
        experiment, (names, updates) = load(self.experiment), self.arguments(point)
        experiment.check_names(self.command, names)
        experiment.check_updates(updates)

    def arguments(self, point: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Named configurations and updates of one trial."""
        names = [*self.named_configs, *point.get("named_configs", [])]
        return names, _values.merged(self.updates, point.get("config_updates", {}))


def load(name: str) -> Any:
    """The experiment of a script."""
    return getattr(importlib.import_module(f"imitation_lab.scripts.{name}"), f"{name}_ex")


def check_space(plan: Plan, space: Mapping[str, Any]) -> dict[str, Any]:
    """The search space with nested keys, after a point of it has been checked.

    Raises:
        ValueError: if a name, key or form does not exist.
    """
    space = {"named_configs": [], "config_updates": {}, **_schema.known("search_space", space, *_PARTS)}
    space["config_updates"] = _values.nested(space["config_updates"])
    for point in _space.points(space, 1, np.random.default_rng(0)):
        plan.check(point)
    return space


def run(
    frame: Sweep,
    plan: Plan,
    space: Mapping[str, Any],
    folder: pathlib.Path,
    *,
    num_samples: int,
    repeat: int,
    search: str,
    metric: str | None,
    max_failures: int,
) -> dict[str, Any]:
    """Runs a sweep, or the rest of it; see `parallel`."""
    for name, value in _RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray import tune
    except ImportError as error:
        raise ImportError(f"sweeps need Ray ({error}): pip install 'imitation-lab[parallel]'.") from error

    if frame.resume:
        state = _values.read_json(folder / STATE)
        plan, space, search = Plan(**state["plan"]), state["space"], state["search"]
    else:
        drawn = _space.points(space, num_samples, np.random.default_rng(0))
        points = [_seeded(point, i) for point in drawn for i in range(repeat)] if search == "random" else []
        state = {"plan": dataclasses.asdict(plan), "space": space, "points": points, "search": search}
        state["num_samples"] = num_samples
        _values.write_json(folder / STATE, state)
    total = len(state["points"]) or state["num_samples"]
    before = read_trials(folder)
    done = {row["trial"] for row in before if row["status"] == "COMPLETED"}
    left = [i for i in range(total) if i not in done]
    if left:
        settings: dict[str, Any] = {"num_samples": 1, "reuse_actors": True, **frame.tune_run_kwargs}
        parameters: dict[str, Any] = {"trial": tune.grid_search(left)}
        if search == "optuna":
            settings |= {"num_samples": len(left), "search_alg": _optuna(space, before, metric, frame.mode)}
            settings.setdefault("max_concurrent_trials", 4)
            parameters = {}
        trainable = tune.with_parameters(_trial, state=state, folder=folder)
        failures = tune.FailureConfig(max_failures=max_failures)
        ours = _start(ray, frame.init_kwargs)
        try:
            tune.Tuner(
                tune.with_resources(trainable, dict(frame.resources_per_trial)),
                param_space=parameters,
                tune_config=tune.TuneConfig(**settings),
                run_config=tune.RunConfig(name="ray", storage_path=str(folder), failure_config=failures, verbose=0),
            ).fit()
        finally:
            if ours:
                ray.shutdown()
    return _report(plan, folder, total, metric, frame.mode)


def _start(ray: Any, init_kwargs: Mapping[str, Any]) -> bool:
    """Starts Ray here, or joins a cluster; says whether it is ours to end."""
    if ray.is_initialized():
        return False
    # Errors of trials are in the table; Ray would print each of them with its traceback.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    kwargs: dict[str, Any] = {"log_to_driver": False, "logging_level": "critical", **init_kwargs}
    if "address" not in kwargs:
        kwargs = {"include_dashboard": False, "object_store_memory": 1 << 27, **kwargs}
    for attempt in range(_STARTS):
        try:
            ray.init(**kwargs)
            break
        except Exception as error:  # Ray raises no more special one
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt + 1 == _STARTS:
                raise RuntimeError(f"Ray did not start: {error}") from error
    return True


def _optuna(space: Mapping[str, Any], before: Sequence[Mapping[str, Any]], metric: str | None, mode: str) -> Any:
    """Optuna's search, which knows what earlier trials gave."""
    from ray.tune.search.optuna import OptunaSearch

    known = [row for row in before if row["status"] == "COMPLETED" and metric in row["result"]]
    past: dict[str, Any] = {
        "points_to_evaluate": [row["drawn"] for row in known],
        "evaluated_rewards": [row["result"][metric] for row in known],
    }
    domains = _space.ray_domains(space)
    return OptunaSearch(domains, metric=metric, mode=mode, seed=len(known), **(past if known else {}))


def _seeded(point: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A point with a seed of its own, unless it has one."""
    return {**point, "config_updates": {"seed": seed, **point["config_updates"]}}


def _trial(config: dict[str, Any], *, state: Mapping[str, Any], folder: pathlib.Path) -> None:
    """One trial, in a process of Ray's: its result, or its error, goes to a file and to Ray."""
    from ray import tune

    if state["points"]:
        index, drawn = config["trial"], {}
        name, point = f"{index:05d}", state["points"][index]
    else:  # the search makes points as it goes, and Ray names them
        index = name = tune.get_context().get_trial_id()
        point, drawn = _seeded(_space.filled(state["space"], config), 0), dict(config)
    file = folder / "trials" / f"{name}.json"
    tries = _values.read_json(file)["tries"] if file.exists() else 0
    row = {"trial": index, "tries": tries + 1, "point": point, "drawn": drawn, "result": {}, "error": None}
    try:
        result = run_one(Plan(**state["plan"]), point, folder)
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        _values.write_json(file, {**row, "status": "FAILED", "error": text})
        raise
    _values.write_json(file, {**row, "status": "COMPLETED", "result": result})
    tune.report(result)


def run_one(plan: Plan, point: Mapping[str, Any], folder: pathlib.Path) -> dict[str, float]:
    """Runs one trial's experiment here and gives the numbers of its result, under dotted names."""
    experiment = load(plan.experiment)
    names, updates = plan.arguments(point)
    updates = _values.merged({"logging": {"log_root": str(folder / "runs"), "log_format_strs": ["csv"]}}, updates)
    options = {"--comment": plan.run_name, "--loglevel": "WARNING"}
    with experiment.recorded(folder / "sacred"):
        result = experiment.run(plan.command, updates, names, options=options).result
    return _results.numbers(result if isinstance(result, Mapping) else {"result": result})


def read_trials(folder: pathlib.Path) -> list[dict[str, Any]]:
    """What the trials of a sweep gave so far.

    Raises:
        ValueError: if a file is damaged.
    """
    rows = []
    for path in sorted((folder / "trials").glob("*.json")):
        try:
            rows.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): remove it, and the trial runs again.") from None
    return rows


def _report(plan: Plan, folder: pathlib.Path, total: int, metric: str | None, mode: str) -> dict[str, Any]:
    """Writes and prints the table."""
    trials = read_trials(folder)
    points = [
        {"named_configs": " ".join(trial["point"]["named_configs"]), **_values.flat(trial["point"]["config_updates"])}
        for trial in trials
    ]
    about = ("trial", "status", "tries")
    rows = [
        {**{key: trial[key] for key in about}, **point, **trial["result"], "error": trial["error"]}
        for trial, point in zip(trials, points, strict=True)
    ]
    table = folder / "results.csv"
    _results.write(str(table), _results.to_csv(rows))
    failed = sum(trial["status"] == "FAILED" for trial in trials)
    finished = len(trials) - failed
    summary: dict[str, Any] = {"table": str(table), "trials": max(total, len(trials))}
    summary |= {"finished": finished, "failed": failed}
    scored = [trial for trial in trials if metric in trial["result"]]
    if scored:
        best = (max if mode == "max" else min)(scored, key=lambda trial: trial["result"][metric])
        summary["best"] = {"trial": best["trial"], "point": best["point"], metric: best["result"][metric]}
    varied = [key for key in _results.columns(points) if len({repr(point.get(key)) for point in points}) > 1]
    shown = [
        {key: row[key] for key in row if key in about or key in varied or key.endswith("return_mean")} for row in rows
    ]
    print(text_table(shown) if shown else "no trial has ended")
    print(f"table:  {os.path.relpath(table)}")
    if len(trials) < total or failed:
        name = plan.run_name.partition("/")[0]  # of what the user has started
        print(f"{finished} of {total} trials finished; go on with: run_name={name} resume=True")
    return summary
