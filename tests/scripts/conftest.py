"""Runs of the experiments in a folder of their own."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("hub", pathlib.Path(__file__).parents[1] / "util/conftest.py")
_hub = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hub)
hub_server = _hub.hub_server


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quiet():
    """Named configurations and options that keep a run off the screen."""
    return {"named_configs": ["logging.quiet"], "options": {"--loglevel": "ERROR"}}


@pytest.fixture
def without_ray(monkeypatch):
    """Sweeps whose trials run here, one after the other."""
    from imitation_lab.scripts import _space, _sweep, _values

    def sweep(frame, plan, space, folder, *, num_samples, repeat, metric, **others):
        if frame.resume:
            state = json.loads((folder / _sweep.STATE).read_text())
            plan, points = _sweep.Plan(**state["plan"]), state["points"]
        else:
            drawn = _space.points(space, num_samples, np.random.default_rng(0))
            points = [_sweep._seeded(point, seed) for point in drawn for seed in range(repeat)]
            _values.write_json(folder / _sweep.STATE, {"plan": vars(plan), "points": points})
        for i, point in enumerate(points):
            if (folder / f"trials/{i:05d}.json").exists():
                continue
            row = {"trial": i, "tries": 1, "point": point, "drawn": {}, "error": None, "status": "COMPLETED"}
            result = _sweep.run_one(plan, point, folder)
            _values.write_json(folder / f"trials/{i:05d}.json", {**row, "result": result})
        return _sweep._report(plan, folder, len(points), metric, frame.mode)

    monkeypatch.setattr(_sweep, "run", sweep)
