"""Tables from recorded runs, against one made by hand."""

import csv
import json
import re

import numpy as np
import pytest

from imitation_lab.scripts import _console, _results, analyze
from imitation_lab.scripts.train_imitation import train_imitation_ex
from imitation_lab.testing.intervals import interquartile_mean

QUIET = {"--loglevel": "ERROR"}


def record(root, number, algorithm, env, seed, learner, expert=500.0, status="COMPLETED", comment=None):
    """What Sacred writes for a run."""
    folder = root / str(number)
    folder.mkdir(parents=True)
    config = {"environment": {"gym_id": env}, "demonstrations": {"n_expert_demos": 5}, "seed": seed}
    (folder / "config.json").write_text(json.dumps(config))
    result = None
    if learner is not None:
        result = {
            "imit_stats": {"n_traj": 50, "return_mean": learner, "return_std": 1.5},
            "expert_stats": {"n_traj": 5, "return_mean": expert, "return_std": 0.0},
        }
    run = {"command": algorithm, "status": status, "result": result, "experiment": {"name": "train_imitation"}}
    (folder / "run.json").write_text(json.dumps({**run, "meta": {"comment": comment}}))
    return folder


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    record(root, 1, "bc", "CartPole-v1", 0, 400.0, comment="mine")
    record(root, 2, "bc", "CartPole-v1", 1, 500.0)
    record(root, 3, "dagger", "CartPole-v1", 0, 480.0)
    record(root, 4, "bc", "Pendulum-v1", 0, -200.0, expert=-150.0)
    record(root, 5, "bc", "CartPole-v1", 2, None, status="FAILED")
    return root


def table(**updates):
    return analyze.analysis_ex.run(None, updates, ["fast"], options=QUIET).result


def test_the_summary_is_the_one_made_by_hand(runs, tmp_path):
    rows = table(source_dirs=str(runs), table_verbosity=0, csv_output_path="t.csv", md_output_path="t.md",
                 tex_output_path="t.tex")  # fmt: skip
    sd = 100 / np.sqrt(2)
    expected = [
        ("bc", "CartPole-v1", 3, 2, 450.0, pytest.approx(sd), 450.0, 500.0),
        ("bc", "Pendulum-v1", 1, 1, -200.0, None, -200.0, -150.0),
        ("dagger", "CartPole-v1", 1, 1, 480.0, None, 480.0, 500.0),
    ]
    assert [tuple(row.values()) for row in rows] == expected
    with open(tmp_path / "t.csv") as file:
        first = next(csv.DictReader(file))
    assert (first["runs"], first["return_mean"]) == ("3", "450.0")
    assert float(first["return_std"]) == pytest.approx(sd, abs=0, rel=1e-12)
    assert (tmp_path / "t.md").read_text().splitlines()[:3] == [
        "| algorithm | environment | runs | finished | return_mean | return_std | return_iqm | expert_return_mean |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| bc | CartPole-v1 | 3 | 2 | 450 | 70.71 | 450 | 500 |",
    ]
    tex = (tmp_path / "t.tex").read_text()
    assert r"bc & Pendulum-v1 & 1 & 1 & -200 & -- & -200 & -150 \\" in tex
    assert r"return\_mean" in tex


def test_runs_as_the_scripts_record_them(capsys):
    """Two algorithms and a run that fails: the table holds what the runs have printed."""
    printed = {}
    for command, seed in (("bc", 0), ("bc", 1), ("sqil", 0)):
        words = [command, "with", "cartpole", "fast", "logging.quiet", f"seed={seed}"]
        assert _console.run(train_imitation_ex, words) == 0
        told = capsys.readouterr().out
        printed[command, seed] = [float(number) for number in re.findall(r"return_mean ([\d.]+)", told)]
    lost = ["demonstrations.source=local", "demonstrations.path=missing"]
    assert _console.run(train_imitation_ex, ["bc", "with", "cartpole", *lost]) == 2

    rows = analyze.analysis_ex.run(None, {"table_verbosity": 0}, options=QUIET).result
    (one, expert), (two, same) = printed["bc", 0], printed["bc", 1]
    assert expert == same == 500
    assert one != two
    assert [list(row.values())[:4] for row in rows] == [["bc", "CartPole-v1", 3, 2], ["sqil", "CartPole-v1", 1, 1]]
    assert rows[0]["return_mean"] == pytest.approx((one + two) / 2, rel=1e-3)
    assert rows[0]["return_std"] == pytest.approx(abs(one - two) / np.sqrt(2), rel=2e-2)
    assert rows[0]["expert_return_mean"] == 500
    assert rows[1]["return_mean"] == pytest.approx(printed["sqil", 0][0], rel=1e-3)


def test_one_row_for_each_run(runs):
    rows = table(source_dirs=[str(runs)])
    assert [(row["seed"], row["status"], row["return_mean"]) for row in rows] == [
        (0, "COMPLETED", 400.0),
        (1, "COMPLETED", 500.0),
        (0, "COMPLETED", 480.0),
        (0, "COMPLETED", -200.0),
        (2, "FAILED", None),
    ]
    assert len(table(source_dirs=str(runs), skip_failed_runs=True)) == 4
    assert [row["folder"] for row in table(source_dirs=str(runs), env_name="Pendulum-v1")] == [str(runs / "4")]
    assert [row["folder"] for row in table(source_dirs=str(runs), run_name="mine")] == [str(runs / "1")]
    full = table(source_dirs=str(runs), table_verbosity=2)[0]
    assert full["imit_stats.n_traj"] == 50


def test_the_interquartile_mean_is_that_of_compare():
    rows = [
        {"algorithm": "bc", "environment": "x", "return_mean": r, "expert_return_mean": None} for r in (0.1, 0.2, 0.9)
    ]
    assert _results.summarize(rows)[0]["return_iqm"] == interquartile_mean([0.1, 0.2, 0.9]) == pytest.approx(0.4)
    assert _results.summarize(rows[:1])[0]["return_iqm"] == 0.1
    rows[0]["return_mean"] = float("nan")
    assert _results.summarize(rows)[0]["return_iqm"] is None


def test_a_plot(runs, tmp_path):
    table(source_dirs=str(runs), plot_output_path="returns.png")
    assert (tmp_path / "returns.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda runs: (runs / "2/run.json").write_text("{"), "2/run.json is not valid JSON"),
        (lambda runs: (runs / "3/config.json").write_text("{}"), "3 is damaged: config.json has no 'environment'"),
        (lambda runs: (runs / "1/run.json").write_text("{}"), "1 is damaged: run.json has no 'command'"),
    ],
)
def test_a_corrupt_run_is_told_in_short(runs, damage, text, capsys):
    damage(runs)
    assert _console.run(analyze.analysis_ex, ["with", f"source_dirs={runs}", "-u", "-l", "CRITICAL"]) == 2
    told = capsys.readouterr().err
    assert text in told
    assert "Traceback" not in told


def test_nothing_to_analyze_is_told(tmp_path, runs):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no recorded runs in"):
        table(source_dirs=str(empty))
    with pytest.raises(FileNotFoundError, match="No such folder"):
        table(source_dirs="missing")
    with pytest.raises(ValueError, match="none of the 5 recorded runs has run_name=None, env_name='Ant-v5'"):
        table(source_dirs=str(runs), env_name="Ant-v5")


def test_tensorboard_folders_are_gathered(runs, tmp_path, capsys):
    log = tmp_path / "output/train_imitation/CartPole-v1/now"
    (log / "log").mkdir(parents=True)
    (log / "log/events.out.tfevents.1").write_bytes(b"")
    (runs / "1/info.json").write_text(json.dumps({"log_dir": str(log)}))
    found = analyze.analysis_ex.run("gather_tb_directories", {"source_dirs": str(runs)}, options=QUIET).result
    assert found["n_tb_dirs"] == 1
    (link,) = (tmp_path / found["gather_dir"]).iterdir()
    assert link.name == "bc_CartPole-v1_now"
    assert (link / "log/events.out.tfevents.1").is_file()
