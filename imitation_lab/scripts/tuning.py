r"""Tunes hyperparameters: a search on Ray Tune, then the best settings again with other seeds.

python -m imitation_lab.scripts.tuning with bc base_named_configs="['cartpole']" num_samples=6 num_eval_seeds=2 \
    run_name=bc_cartpole
python -m imitation_lab.scripts.train_imitation bc with cartpole output/tuning/bc_cartpole/best.json
"""

from __future__ import annotations

import json
import pathlib
from typing import Any, Literal

import numpy as np

from imitation_lab.scripts import _engine, _sweep, _values
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.parallel import parallel
from imitation_lab.util import util

__all__ = ["tune", "tuning_ex", "main_console"]


@_engine.command(_sweep.Sweep)
def tune(
    frame: _sweep.Sweep,
    *,
    sacred_ex_name: str = "train_imitation",
    command_name: str | None = "bc",
    search: Literal["random", "optuna"] = "optuna",
    metric: str = "imit_stats.return_mean",
    num_samples: Count = 20,
    num_eval_seeds: Natural = 5,
    storage_path: str = "output/tuning",
) -> dict[str, Any]:
    """Tunes hyperparameters.

    Args:
        frame: shared keys.
        sacred_ex_name: the experiment; the named configurations rl, bc, dagger, gail, airl and pc set this and more.
        command_name: its command.
        search: draws points by Optuna from what was found, or at random.
        metric: number of the result that shall become large or small.
        num_samples: trials of the search.
        num_eval_seeds: runs of the best settings, with seeds that the search has not seen; 0 makes none.
        storage_path: folder for the searches.

    Returns:
        `best`, the settings, also in best.json, a configuration file; and what their runs gave: `mean`, `std`.
    """
    run_name = frame.run_name or util.make_unique_timestamp()
    folder = pathlib.Path(storage_path).absolute() / run_name
    shared = {**vars(frame), "run_name": run_name, "sacred_ex_name": sacred_ex_name, "command_name": command_name}
    shared |= {"metric": metric, "storage_path": storage_path}

    def run(**settings: Any) -> dict[str, Any]:
        found = parallel(**{**shared, **settings})
        missing = found["trials"] - found["finished"] - found["failed"]
        if missing and "time_budget_s" not in frame.tune_run_kwargs:  # Ray ends quietly on Ctrl-C
            raise KeyboardInterrupt
        return found

    found = run(search=search, num_samples=num_samples)
    if "best" not in found:
        raise RuntimeError(f"no trial gave {metric}: see {found['table']}.")
    point = found["best"]["point"]
    updates = {key: value for key, value in point["config_updates"].items() if key != "seed"}
    best = {"named_configs": [*frame.base_named_configs, *point["named_configs"]], "config_updates": updates}
    result: dict[str, Any] = {"best": best, "search_table": found["table"], metric: found["best"][metric]}
    _values.write_json(folder / "best.json", _values.merged(frame.base_config_updates, updates))
    if num_eval_seeds:
        again = (folder / "evaluation").exists()
        seeds = list(range(1000, 1000 + num_eval_seeds))
        space = {"named_configs": point["named_configs"], "config_updates": {**updates, "seed": {"grid": seeds}}}
        run(search_space=space, run_name=f"{run_name}/evaluation", resume=again)
        trials = _sweep.read_trials(folder / "evaluation")
        scores = [trial["result"][metric] for trial in trials if metric in trial["result"]]
        result |= {"mean": float(np.mean(scores)), "std": float(np.std(scores)), "scores": scores}
    print(f"best settings: {json.dumps(best)}")
    return result


tuning_ex, main_console = _engine.script("tuning", tune)

if __name__ == "__main__":
    main_console()
