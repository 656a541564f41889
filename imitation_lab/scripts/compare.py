"""Every algorithm of the library on one task, with one command.

    rows = compare("GridWorld", seeds=range(5), n_demonstrations=5)
    print(summary(rows))

or `imitation-lab compare --task GridWorld --seeds 0 1 2 3 4 --output rows.json` in a terminal.

Each row is one look at one run: what it had used so far (the expert's labels, steps in the environment), and how well
its policy then did, as a return and as a score on which random actions are 0 and the expert is 1. Seeds and settings
make the rows; on one machine only the times differ from run to run.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import pathlib
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from tqdm.auto import tqdm

from imitation_lab.algorithms.plugins import Look, Setup
from imitation_lab.data import rollout, types
from imitation_lab.scripts import _console
from imitation_lab.scripts._tasks import ALGORITHMS, OWN, TASKS, Task
from imitation_lab.testing import intervals
from imitation_lab.util import checks, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.paths import atomic_path

__all__ = ["ALGORITHMS", "TASKS", "Task", "compare", "final", "load", "references", "returns_of", "scores", "summary"]

_RUN = ("task", "algorithm", "seed", "n_demonstrations")
_REFERENCE_SEED, _REFERENCE_EPISODES = 10_000, 200
Row = dict[str, Any]


def compare(
    task: str | Task = "GridWorld",
    algorithms: Iterable[str] | None = None,
    *,
    seeds: Iterable[int] = range(3),
    n_demonstrations: int | Sequence[int] = 5,
    n_looks: int = 1,
    budget: float = 1.0,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    n_episodes: int = 100,
    on_look: Callable[[Row, Look], Any] | None = None,
    progress_bar: bool = True,
) -> list[Row]:
    """Trains algorithms on a task over seeds, and evaluates them alike.

    Each seed draws demonstrations, environments and networks of its own; the demonstrations of a seed are the same for
    all algorithms, and fewer of them are the first of more. All policies play the same episodes, with the actions that
    they deem best. Set `torch.set_num_threads(1)` first, for speed and for the same rows again.

    Args:
        task: one of `TASKS`, or one of your own.
        algorithms: names in `ALGORITHMS`; None takes all of ours that the task allows, and those of other packages that
            know it.
        seeds: one run each.
        n_demonstrations: whole episodes, or several such numbers.
        n_looks: into how many parts training is divided, for curves; the policy is evaluated after each. Algorithms
            that take no steps in the environment are looked at once.
        budget: multiplies the steps in the environment that the task grants each algorithm.
        settings: of each algorithm, to replace those of the task.
        n_episodes: of an evaluation.
        on_look: called with each row and its look, to see more than its return: `policy`, which goes on learning, and
            `reward`, the learned `RewardFn`, or None where none is learned.
        progress_bar: whether to show one.

    Returns:
        One row per look: task, algorithm, seed, n_demonstrations, look (from 1), labels (what the expert answered:
        actions, or comparisons), env_steps (of the learner while it trained), return, score, cpu_s and wall_s (of
        training, so far).

    Raises:
        ValueError: if a name is not known, a number is out of range, or the task does not allow an algorithm: the text
            says why.
    """
    chosen = _task(task)
    names = _names(chosen, algorithms)
    numbers = [n_demonstrations] if isinstance(n_demonstrations, int) else list(n_demonstrations)
    seeds = list(seeds)
    checks.at_least(1, n_looks=n_looks, n_episodes=n_episodes)
    for number in numbers:
        checks.at_least(1, n_demonstrations=number)
    checks.positive(budget=budget)
    if not (seeds and numbers and names):
        raise ValueError("There is nothing to compare: seeds, n_demonstrations and algorithms must not be empty.")
    ends = references(chosen)
    rows: list[Row] = []
    runs = [(seed, number, name) for seed in seeds for number in numbers for name in names]
    bar = tqdm(runs, desc=chosen.name, unit="run", disable=not progress_bar)
    for seed, number, name in bar:
        bar.set_postfix_str(name)
        options = {**chosen.settings.get(name, {}), **(settings or {}).get(name, {})}
        with th.random.fork_rng(devices=()), tempfile.TemporaryDirectory() as folder:
            setup = Setup(
                make_env=chosen.make_env,
                make_venv=functools.partial(lambda first, n: chosen.make_venv(first, n or 16), seed + 1000),
                load_expert=lambda: chosen.expert,
                demonstrations=chosen.demonstrations(max(numbers), seed)[:number],
                seed=seed,
                n_looks=n_looks,
                budget=budget,
                logger=lab_logger.configure(format_strs=[]),
                folder=pathlib.Path(folder),
            )
            th.manual_seed(seed)
            for look_number, (look, cpu, wall) in enumerate(_timed(ALGORITHMS[name].run(setup, options)), 1):
                mean = float(returns_of(chosen, look.policy, n_episodes).mean())
                row = {
                    **dict(zip(_RUN, (chosen.name, name, seed, number), strict=True)),
                    "look": look_number,
                    "labels": look.labels,
                    "env_steps": look.env_steps,
                    "return": mean,
                    "score": float(intervals.normalized_score(mean, *ends)),
                    "cpu_s": round(cpu, 2),
                    "wall_s": round(wall, 2),
                }
                rows.append(row)
                if on_look is not None:
                    on_look(row, look)
    return rows


def _timed(run: Iterator[Look]) -> Iterator[tuple[Look, float, float]]:
    """Each look with the processor's and the clock's seconds that training took so far."""
    cpu = wall = 0.0
    while True:
        cpu_before, wall_before = time.process_time(), time.perf_counter()
        look = next(run, None)
        cpu += time.process_time() - cpu_before
        wall += time.perf_counter() - wall_before
        if look is None:
            return
        yield look, cpu, wall


def returns_of(task: str | Task, policy: Any, n_episodes: int = 100, seed: int = _REFERENCE_SEED) -> np.ndarray:
    """Returns `(n_episodes,)` of a policy; None acts at random. The same seed gives everybody the same starts."""
    task = _task(task)
    with contextlib.closing(task.make_venv(seed, min(20, n_episodes))) as venv:
        episodes = rollout.generate_trajectories(
            policy,
            venv,
            rollout.make_min_episodes(n_episodes),
            np.random.default_rng(seed),
            deterministic_policy=hasattr(policy, "predict"),
        )
    return np.array([episode.rews.sum() for episode in episodes[:n_episodes]])


def references(task: str | Task) -> tuple[float, float]:
    """Mean returns of random actions and of the expert: the score's 0 and 1."""
    return _references(_task(task))


@functools.lru_cache(maxsize=16)
def _references(task: Task) -> tuple[float, float]:
    low, high = (returns_of(task, policy, _REFERENCE_EPISODES).mean() for policy in (None, task.expert))
    return float(low), float(high)


def final(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The last look of each run."""
    in_order = sorted(rows, key=lambda row: row["look"])
    return list({tuple(row[name] for name in _RUN): dict(row) for row in in_order}.values())


def scores(rows: Iterable[Mapping[str, Any]], key: str = "score") -> dict[str, np.ndarray]:
    """The final `key` of each algorithm's runs, in the order of the seeds.

    Raises:
        ValueError: if the rows are of several tasks or numbers of demonstrations, which are no sample of one thing.
    """
    rows = list(rows)
    for name in ("task", "n_demonstrations"):
        if len(different := sorted({row[name] for row in rows})) > 1:
            raise ValueError(
                f"The rows have the {name} {', '.join(map(str, different))}: choose those of one, such as "
                f'[row for row in rows if row["{name}"] == {different[0]!r}].'
            )
    found: dict[str, list[float]] = {row["algorithm"]: [] for row in rows}
    for row in sorted(final(rows), key=lambda row: row["seed"]):
        found[row["algorithm"]].append(row[key])
    return {name: np.array(values) for name, values in found.items()}


def summary(rows: Iterable[Mapping[str, Any]], confidence: float = 0.95) -> list[Row]:
    """One row per algorithm: interquartile mean of the final scores with its bootstrap interval, and what it took.

    Raises:
        ValueError: as `scores`.
    """
    rows = list(rows)
    took = {key: scores(rows, key) for key in ("labels", "env_steps", "cpu_s", "wall_s")}
    table = []
    for name, values in scores(rows).items():
        low, high = intervals.bootstrap_interval(values, confidence=confidence)
        score = float(intervals.interquartile_mean(values))
        means = {key: float(found[name].mean()) for key, found in took.items()}
        table.append({"algorithm": name, "score": score, "from": low, "to": high, "runs": len(values), **means})
    return table


def load(path: types.AnyPath) -> list[Row]:
    """The rows in a file that the command has written.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is another kind of file.
    """
    return _read(util.parse_path(path))["rows"]


def _task(task: str | Task) -> Task:
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"There is no task {task!r}, expected one of {', '.join(TASKS)}, or a Task of your own.")
    return TASKS[task]()


def _names(task: Task, algorithms: Iterable[str] | None) -> list[str]:
    if algorithms is None:
        return [name for name in ALGORITHMS if name not in task.not_for and (name in OWN or name in task.settings)]
    if isinstance(algorithms, str):
        algorithms = [algorithms]
    names = list(algorithms)
    for name in names:
        if name not in ALGORITHMS:
            raise ValueError(f"There is no algorithm {name!r}, expected some of {', '.join(ALGORITHMS)}.")
        if name in task.not_for:
            raise ValueError(f"{name} cannot learn {task.name}: {task.not_for[name]}")
    return names


def run(argv: Sequence[str], program: str) -> int:
    """The command `imitation-lab compare`."""
    main(argv, program)
    return 0


def main(arguments: Sequence[str] | None = None, program: str = "imitation-lab compare") -> list[Row]:
    """The command line; prints a table and, with `--output`, writes the rows as JSON."""
    example = f"example: {program} --algorithms BC DAgger --seeds 0 1 2 --output rows.json"
    parser = _console.parser(program, "Train every algorithm on one task, and compare.", example)
    parser.add_argument("--task", default="GridWorld", choices=list(TASKS))
    parser.add_argument("--algorithms", nargs="*", choices=list(ALGORITHMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demonstrations", type=int, nargs="+", default=[5], help="numbers of whole episodes")
    parser.add_argument("--looks", type=int, default=1, help="how often each policy is looked at")
    parser.add_argument("--budget", type=float, default=1.0, help="multiplies the steps in the environment")
    parser.add_argument("--output", help="JSON file for the rows; runs that it holds already are not made again")
    given = parser.parse_args(arguments)
    th.set_num_threads(1)
    words = sys.argv[1:] if arguments is None else arguments
    kept = _Kept(given.output, shlex.join([*program.split(), *words]))
    names = _names(_task(given.task), given.algorithms)
    rows: list[Row] = []
    bar = tqdm(list(itertools.product(given.seeds, given.demonstrations, names)), desc=given.task, unit="run")
    for seed, number, name in bar:
        bar.set_postfix_str(name)
        wanted = (given.task, name, seed, number)
        found = [row for row in kept.rows if tuple(row[key] for key in _RUN) == wanted]
        if not found:
            found = compare(
                given.task,
                name,
                seeds=[seed],
                n_demonstrations=number,
                n_looks=given.looks,
                budget=given.budget,
                progress_bar=False,
            )
            kept.add(found)  # at once: whoever stops the command loses one run
        rows += found
    for number in given.demonstrations:
        print(f"demonstrations {number}")
        for line in summary(row for row in rows if row["n_demonstrations"] == number):
            parts = (f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in line.items())
            print("  ".join(parts))
    return rows


def _read(file: pathlib.Path) -> dict[str, list]:
    text = file.read_text(encoding="utf-8")
    with contextlib.suppress(json.JSONDecodeError):
        found = json.loads(text)
        if isinstance(found, dict) and set(found) == {"commands", "rows"}:
            return found
    raise ValueError(f"{file} holds no comparison: expected JSON with commands and rows, as --output writes it.")


class _Kept:
    """The rows in the command's file, if there is one, and the commands that made them."""

    def __init__(self, path: str | None, command: str) -> None:
        self._file = util.parse_optional_path(path)
        found: dict[str, list] = {"commands": [], "rows": []}
        if self._file is not None:
            if not self._file.parent.is_dir():
                raise FileNotFoundError(f"There is no folder {self._file.parent} for --output: make it first.")
            found = _read(self._file) if self._file.exists() else found
        self.rows: list[Row] = found["rows"]
        self._commands = list(dict.fromkeys([*found["commands"], command]))

    def add(self, rows: list[Row]) -> None:
        """Writes the rows too, one per line, so that changes can be read."""
        self.rows += rows
        if self._file is None:
            return
        body = ",\n".join(json.dumps(row) for row in self.rows)
        commands = json.dumps(self._commands, indent=1)
        with atomic_path(self._file) as temporary:  # an interrupt loses no run
            temporary.write_text(f'{{"commands": {commands},\n"rows": [\n{body}\n]}}\n', encoding="utf-8")
