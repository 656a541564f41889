"""Sweeps: points of a search space, and a real local Ray with two workers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from imitation_lab.scripts import _space, _sweep, parallel, train_mce_irl, tuning

SPACE = {
    "named_configs": {"choice": [["a"], ["b"]]},
    "config_updates": {
        "x": {"grid": [1, 2, 3]},
        "deep": {"y": {"grid": ["p", "q"]}, "z": {"uniform": [0.0, 1.0]}},
        "same": 7,
    },
}


def test_a_grid_is_run_through_and_the_rest_is_drawn():
    points = _space.points(SPACE, 2, np.random.default_rng(0))
    pairs = [(point["config_updates"]["x"], point["config_updates"]["deep"]["y"]) for point in points]
    assert pairs == [(x, y) for _ in range(2) for x in (1, 2, 3) for y in ("p", "q")]
    drawn = [point["config_updates"]["deep"]["z"] for point in points]
    assert len(set(drawn)) == 12
    assert all(0 <= z < 1 for z in drawn)
    assert all(point["config_updates"]["same"] == 7 for point in points)
    assert {point["named_configs"][0] for point in points} == {"a", "b"}
    assert points == _space.points(SPACE, 2, np.random.default_rng(0))


def test_forms_draw_what_they_say():
    space = {
        "config_updates": {"a": {"loguniform": [1e-4, 1.0]}, "b": {"randint": [2, 5]}, "c": {"quniform": [0, 1, 0.25]}}
    }
    points = [point["config_updates"] for point in _space.points(space, 2000, np.random.default_rng(0))]
    assert np.log10([point["a"] for point in points]).mean() == pytest.approx(-2, abs=0.1)
    assert {point["b"] for point in points} == {2, 3, 4}
    assert {point["c"] for point in points} == {0, 0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ({"config_updates": {"a": {"grid": []}}}, "a: grid takes a list"),
        ({"config_updates": {"a": {"uniform": [1]}}}, "a: uniform takes 2 numbers"),
        ({"config_updates": {"a": {"uniform": [2, 1]}}}, "the lower bound first"),
        ({"config_updates": {"a": {"loguniform": [0, 1]}}}, "needs positive bounds"),
    ],
)
def test_wrong_forms(space, text):
    with pytest.raises(ValueError, match=text):
        _space.points(space, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("updates", "text"),
    [
        ({"sacred_ex_name": "train_imitatoin"}, "no experiment 'train_imitatoin'. Did you mean 'train_imitation'"),
        ({"sacred_ex_name": "train_imitation", "command_name": "bcc"}, "no command 'bcc'. Did you mean 'bc'"),
        ({"base_named_configs": ["cartpol"]}, "Did you mean 'cartpole'"),
        ({"base_config_updates": {"totl_timesteps": 3}}, "Did you mean 'total_timesteps'"),
        ({"search_space": {"config_updates": {"rl.batchsize": {"grid": [1]}}}}, "Did you mean 'rl.batch_size'"),
        ({"search_space": {"config_updates": {"rl.batch_size": {"grid": ["x"]}}}}, "expected an integer"),
        ({"search_space": {"config_update": {}}}, "search_space.config_update does not exist. Did you mean"),
        ({"search": "optuna"}, "needs a metric"),
        ({"repeat": 0}, "repeat must be at least 1, got 0"),
        ({"run_name": "none", "resume": True}, "there is no sweep to go on with"),
    ],
)
def test_mistakes_are_told_before_ray_starts(updates, text):
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        parallel.parallel_ex.run(None, updates, options={"--loglevel": "CRITICAL"})


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"sweeps need Ray .*pip install 'imitation-lab\[parallel\]'"):
        parallel.parallel(sacred_ex_name="train_mce_irl")


def test_a_damaged_trial_is_told(tmp_path):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/00000.json").write_text("{")
    with pytest.raises(ValueError, match=r"00000.json is damaged .* remove it"):
        _sweep.read_trials(tmp_path)


def start(*words):
    command = [sys.executable, "-m", "imitation_lab.scripts.parallel", "with", *words, "-u", "-l", "WARNING"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_sweep_of_eight_trials_on_two_workers_resumes_after_an_interrupt(tmp_path):
    grid = "search_space.config_updates.expert_temperature.grid=[4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, -1.0]"
    words = ["sacred_ex_name=train_mce_irl", "base_named_configs=['fast']", "base_config_updates.max_iter=200"]
    words += ["init_kwargs.num_cpus=2", "run_name=eight"]
    folder = tmp_path / "output/parallel/eight"
    process = start(*words, grid)
    deadline = time.monotonic() + 240
    while len(list((folder / "trials").glob("*.json"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=240)
    first = {row["trial"]: row for row in _sweep.read_trials(folder)}
    assert 2 <= len(first) < 8, said
    assert "go on with: run_name=eight resume=True" in said
    process = start("run_name=eight", "resume=True", "init_kwargs.num_cpus=2", "max_failures=1")
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    rows = _sweep.read_trials(folder)
    assert [row["status"] for row in rows] == ["COMPLETED"] * 7 + ["FAILED"], said  # −1 is refused
    assert rows[7]["tries"] == 2
    assert "-1" in rows[7]["error"]
    for trial, row in first.items():
        assert rows[trial] == row  # not run again
    with open(folder / "results.csv") as file:
        table = list(csv.DictReader(file))
    assert [float(row["expert_temperature"]) for row in table] == [4, 5, 6, 7, 8, 9, 10, -1]
    assert all(float(row["imit_stats.return_mean"]) < 100 for row in table[:7])
    records = [json.loads(path.read_text()) for path in folder.glob("sacred/*/run.json")]
    assert sum(record["status"] == "COMPLETED" for record in records) == 7
    assert {record["meta"]["comment"] for record in records} == {"eight"}


def test_tuning_takes_the_best_and_runs_it_again_with_new_seeds(tmp_path, without_ray):
    updates = {"sacred_ex_name": "train_mce_irl", "command_name": "train_mce_irl", "num_samples": 1, "run_name": "t"}
    updates["search_space"] = {"config_updates": {"max_iter": {"grid": [1, 200]}, "n_episodes_eval": 40}}
    updates |= {"search": "random", "num_eval_seeds": 2}
    result = tuning.tuning_ex.run(None, updates, ["fast"], options={"--loglevel": "ERROR"}).result
    found = {
        row["point"]["config_updates"]["max_iter"]: row for row in _sweep.read_trials(tmp_path / "output/tuning/t")
    }
    assert found[200]["result"]["imit_stats.return_mean"] > found[1]["result"]["imit_stats.return_mean"] + 5
    best = json.loads((tmp_path / "output/tuning/t/best.json").read_text())
    assert best == {"max_iter": 200, "n_episodes_eval": 40}
    again = _sweep.read_trials(tmp_path / "output/tuning/t/evaluation")
    assert [row["point"]["config_updates"]["seed"] for row in again] == [1000, 1001]
    scores = [row["result"]["imit_stats.return_mean"] for row in again]
    assert result["mean"] == pytest.approx(np.mean(scores))
    # the best settings are a configuration file
    train_mce_irl.train_mce_irl_ex.run(
        "print_config", named_configs=[str(tmp_path / "output/tuning/t/best.json")], options={"--loglevel": "ERROR"}
    )


def test_an_interrupted_search_chooses_nothing(tmp_path, monkeypatch, without_ray, capsys):
    whole = tuning.parallel

    def interrupted(**settings):
        found = whole(**settings)
        sorted((tmp_path / "output/tuning/t/trials").glob("*.json"))[-1].unlink()
        return found | {"finished": found["finished"] - 1}

    updates = {"sacred_ex_name": "train_mce_irl", "command_name": "train_mce_irl", "run_name": "t", "search": "random"}
    updates |= {"search_space": {"config_updates": {"max_iter": {"grid": [1, 2]}}}, "num_samples": 1}
    monkeypatch.setattr(tuning, "parallel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuning.tuning_ex.run(None, updates, ["fast"], options={"--loglevel": "CRITICAL"})
    assert not (tmp_path / "output/tuning/t/best.json").exists()
    capsys.readouterr()
    monkeypatch.setattr(tuning, "parallel", whole)
    tuning.tuning_ex.run(None, {**updates, "resume": True}, ["fast"], options={"--loglevel": "CRITICAL"})
    assert (tmp_path / "output/tuning/t/best.json").exists()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_search_goes_on_from_what_earlier_trials_gave():
    space = {"named_configs": [], "config_updates": {"x": {"uniform": [0.0, 1.0]}, "kind": {"choice": ["a", "b"]}}}
    drawn = {"config_updates.x": 0.25, "config_updates.kind": "b"}
    before = [
        {"status": "COMPLETED", "drawn": drawn, "result": {"m": 3.0}},
        {"status": "FAILED", "drawn": drawn, "result": {}},
    ]
    search = _sweep._optuna(space, before, "m", "max")
    suggested = search.suggest("one")
    assert suggested.keys() == drawn.keys()
    assert [trial.value for trial in search._ot_study.trials if trial.value is not None] == [3.0]
    assert _space.filled(space, drawn)["config_updates"] == {"x": 0.25, "kind": "b"}
