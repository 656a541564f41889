"""Tables and a plot of recorded runs.

python -m imitation_lab.scripts.analyze with source_dirs=output/sacred
python -m imitation_lab.scripts.analyze with summary csv_output_path=results.csv plot_output_path=results.png
python -m imitation_lab.scripts.analyze gather_tb_directories with env_name=CartPole-v1
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from imitation_lab.scripts import _engine, _results
from imitation_lab.scripts._values import read_json
from imitation_lab.util import util
from imitation_lab.util.paths import atomic_path
from imitation_lab.viz import style
from imitation_lab.viz.tables import text_table

__all__ = ["analyze_imitation", "gather_tb_directories", "analysis_ex", "main_console"]

_ABOUT_RUNS = ("analyze", "parallel", "tuning")
"""Experiments that have no returns of their own."""
_FOLDERS = ("output/sacred", "output/parallel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """Which recorded runs are meant.

    Attributes:
        source_dirs: folder to search for runs, or a list of them; None takes output/sacred and output/parallel.
        run_name: only runs of this name: the comment they were started with, or the name of their sweep.
        env_name: only runs in this environment.
        skip_failed_runs: whether to leave out runs that did not complete.
    """

    source_dirs: Sequence[str] | str | None = None
    run_name: str | None = None
    env_name: str | None = None
    skip_failed_runs: bool = False

    def find(self) -> list[tuple[Any, _results.Row]]:
        """The runs, and what describes each.

        Raises:
            ValueError: if there are none.
        """
        folders = self.source_dirs or [folder for folder in _FOLDERS if pathlib.Path(folder).is_dir()] or _FOLDERS[:1]
        runs = _results.collect([folders] if isinstance(folders, str) else folders)
        runs = [run for run in runs if run.run.get("experiment", {}).get("name") not in _ABOUT_RUNS]
        described = [(run, _results.describe(run)) for run in runs]
        kept = [
            (run, row)
            for run, row in described
            if self.run_name in (None, row["run_name"])
            and self.env_name in (None, row["environment"])
            and not (self.skip_failed_runs and row["status"] != "COMPLETED")
        ]
        if not kept:
            names = sorted({str(row["run_name"]) for _, row in described if row["run_name"]})
            environments = sorted({str(row["environment"]) for _, row in described})
            raise ValueError(
                f"none of the {len(runs)} recorded runs has run_name={self.run_name!r}, env_name={self.env_name!r}"
                f"{' and completed' if self.skip_failed_runs else ''}. There are names {names} and environments "
                f"{environments}."
            )
        return kept


@_engine.command(Runs)
def analyze_imitation(
    frame: Runs,
    *,
    csv_output_path: str | None = None,
    tex_output_path: str | None = None,
    md_output_path: str | None = None,
    plot_output_path: str | None = None,
    print_table: bool = True,
    table_verbosity: Literal[0, 1, 2] = 1,
) -> list[dict[str, Any]]:
    """Tables, and a plot, of recorded runs.

    Args:
        frame: which runs.
        csv_output_path: file for the table as CSV, with full precision.
        tex_output_path: file for the table in LaTeX.
        md_output_path: file for the table in Markdown.
        plot_output_path: file for a plot of the returns, such as returns.png.
        print_table: whether to print the table.
        table_verbosity: 0 for one row for each algorithm and environment, 1 for one for each run, 2 for one for each
            run with all its numbers.

    Returns:
        The rows.
    """
    found = frame.find()
    rows = single = [row for _, row in found]
    if table_verbosity == 0:
        rows = _results.summarize(single)
    elif table_verbosity == 2:
        rows = [{**row, **_results.numbers(run.run.get("result") or {})} for run, row in found]
    for path, write in (
        (csv_output_path, _results.to_csv),
        (tex_output_path, _results.to_latex),
        (md_output_path, _results.to_markdown),
    ):
        if path is not None:
            _results.write(path, write(rows))
    if plot_output_path is not None:
        _plot(single, plot_output_path)
    if print_table:
        shown = [{**row, "folder": os.path.relpath(row["folder"])} if "folder" in row else row for row in rows]
        print(text_table(shown))
    return rows


@_engine.command(Runs)
def gather_tb_directories(frame: Runs) -> dict[str, Any]:
    """Links the TensorBoard files of recorded runs into one folder.

    Args:
        frame: which runs.

    Returns:
        `gather_dir`, the folder for `tensorboard --logdir`, and `n_tb_dirs`, how many runs it links.
    """
    target = pathlib.Path("output", "analysis", "tb", util.make_unique_timestamp())
    number = 0
    for run, row in frame.find():
        info = run.sacred_dir / "info.json"
        log_dir = read_json(info).get("log_dir") if info.is_file() else None
        if log_dir is None or not any(pathlib.Path(log_dir).rglob("events.out.tfevents*")):
            continue
        link = target / f"{row['algorithm']}_{str(row['environment']).replace('/', '_')}_{pathlib.Path(log_dir).name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(pathlib.Path(log_dir).resolve(), target_is_directory=True)
        number += 1
    if number:
        print(f"tensorboard --logdir {target}")
    return {"gather_dir": str(target), "n_tb_dirs": number}


@style.styled
def _plot(rows: Sequence[_results.Row], path: str) -> None:
    """Mean return of each run, by environment and algorithm, with the expert's."""
    found = [row for row in rows if row["return_mean"] is not None]
    if not found:
        raise ValueError("no run has a return to plot.")
    environments = sorted({str(row["environment"]) for row in found})
    figure, grid = style.new_figure(1, len(environments), size=(max(4.5, 3.2 * len(environments)), 3.6))
    for axes, environment in zip(grid[0], environments, strict=True):
        here = [row for row in found if str(row["environment"]) == environment]
        algorithms = sorted({str(row["algorithm"]) for row in here})
        for index, algorithm in enumerate(algorithms):
            returns = [row["return_mean"] for row in here if row["algorithm"] == algorithm]
            spread = [index + 0.08 * (i - (len(returns) - 1) / 2) for i in range(len(returns))]
            axes.plot(spread, returns, "o", color=style.BLUE, alpha=0.7)
            axes.plot([index - 0.25, index + 0.25], [np.mean(returns)] * 2, color=style.BLUE)
        experts = [row["expert_return_mean"] for row in here if row["expert_return_mean"] is not None]
        if experts:
            style.reference_lines(axes, {"expert": float(np.mean(experts))})
            axes.legend(frameon=False)
        axes.set_xticks(range(len(algorithms)), algorithms, rotation=30, ha="right")
        axes.set_xlim(-0.5, len(algorithms) - 0.5)
        axes.set_title(environment.rpartition("/")[2])
        axes.set_ylabel("mean return of a run")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


analysis_ex, main_console = _engine.script("analyze", analyze_imitation, gather_tb_directories)

if __name__ == "__main__":
    main_console()
