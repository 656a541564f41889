"""Collecting what runs recorded, and tables of it: CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import pathlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.scripts._values import flat
from imitation_lab.testing.intervals import interquartile_mean
from imitation_lab.util import sacred
from imitation_lab.util.paths import atomic_path
from imitation_lab.util.sacred import dict_get_nested
from imitation_lab.viz.tables import format_number

Row = dict[str, Any]


def collect(source_dirs: Iterable[str]) -> list[Any]:
    """All Sacred runs in and below the folders, in the order of their paths, as `SacredDicts`.

    Raises:
        FileNotFoundError: if there is no such folder, or no run in any.
        ValueError: if a run's files are damaged; the text names the file.
    """
    runs = list(sacred.load_runs(*source_dirs))
    if not runs:
        raise FileNotFoundError(
            f"there are no recorded runs in {', '.join(map(str, source_dirs))}: a run's folder holds config.json and "
            "run.json, such as output/sacred/train_rl/1."
        )
    return runs


def describe(dicts: Any) -> Row:
    """One run as a row: what was run, and the returns of policy and expert.

    Raises:
        ValueError: if the run's record lacks what every record has; the text names the folder.
    """
    config, run = dicts.config, dicts.run
    for where, found, key in (("config.json", config, "environment"), ("run.json", run, "command")):
        if key not in found:
            raise ValueError(f"the run in {dicts.sacred_dir} is damaged: {where} has no {key!r}.")
    result = run.get("result")
    result = result if isinstance(result, Mapping) else {}
    learner = next((result[key] for key in ("imit_stats", "rollout") if isinstance(result.get(key), Mapping)), result)
    expert = result.get("expert_stats") or {}
    # Under a learned reward the environment's own is what the monitor saw.
    statistic = "monitor_return" if "monitor_return_mean" in learner else "return"
    return {
        "algorithm": run["command"],
        "environment": dict_get_nested(config, "environment.gym_id"),
        "run_name": dict_get_nested(run, "meta.comment"),
        "seed": config.get("seed"),
        "status": run.get("status"),
        "n_expert_demos": dict_get_nested(config, "demonstrations.n_expert_demos"),
        "n_episodes": learner.get("n_traj"),
        "return_mean": learner.get(f"{statistic}_mean"),
        "return_std": learner.get(f"{statistic}_std"),
        "expert_return_mean": expert.get("return_mean"),
        "expert_return_std": expert.get("return_std"),
        "folder": str(dicts.sacred_dir),
    }


def numbers(values: Mapping[str, Any]) -> Row:
    """The numbers in nested dictionaries, under dotted names."""
    return {key: value for key, value in flat(values).items() if isinstance(value, int | float)}


def summarize(rows: Sequence[Row]) -> list[Row]:
    """One row for each algorithm and environment: the runs' mean returns, and their mean and spread.

    `return_std` is the standard deviation over runs (n − 1), None for a single one. `return_iqm` is the interquartile
    mean of the runs, see `testing.intervals`, None where a run's return is not finite.
    """
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["algorithm"], row["environment"]].append(row)
    summary = []
    for (algorithm, environment), members in sorted(groups.items(), key=lambda item: tuple(map(str, item[0]))):
        returns = np.array([row["return_mean"] for row in members if row["return_mean"] is not None], dtype=float)
        experts = [row["expert_return_mean"] for row in members if row["expert_return_mean"] is not None]
        finite = len(returns) and np.isfinite(returns).all()
        summary.append(
            {
                "algorithm": algorithm,
                "environment": environment,
                "runs": len(members),
                "finished": len(returns),
                "return_mean": float(returns.mean()) if len(returns) else None,
                "return_std": float(returns.std(ddof=1)) if len(returns) > 1 else None,
                "return_iqm": float(interquartile_mean(returns)) if finite else None,
                "expert_return_mean": float(np.mean(experts)) if experts else None,
            }
        )
    return summary


def to_csv(rows: Sequence[Row]) -> str:
    """Comma-separated values with full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table with rounded numbers."""
    lines = [["---"] * len(columns(rows)), *_cells(rows, lambda text: text.replace("|", r"\|"))]
    return "".join(f"| {' | '.join(line)} |\n" for line in [columns(rows), *lines])


def to_latex(rows: Sequence[Row]) -> str:
    """A LaTeX table (booktabs) with rounded numbers."""

    def escape(text: str) -> str:
        plain = text.replace("\\", r"\textbackslash ").replace("−", "-").replace("–", "--")
        return "".join(f"\\{c}" if c in "&%$#_{}" else c for c in plain)

    head = " & ".join(map(escape, columns(rows)))
    body = "".join(f"{' & '.join(line)} \\\\\n" for line in _cells(rows, escape))
    align = "l" * len(columns(rows))
    return f"\\begin{{tabular}}{{{align}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"


def columns(rows: Sequence[Row]) -> list[str]:
    """All keys, in order of first mention."""
    return list(dict.fromkeys(key for row in rows for key in row))


def write(path: str, text: str) -> None:
    """Writes a table to a file, atomically; parent folders are created."""
    with atomic_path(pathlib.Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cells(rows: Sequence[Row], escape: Callable[[str], str]) -> list[list[str]]:
    return [[escape(format_number(row.get(key))) for key in columns(rows)] for row in rows]
