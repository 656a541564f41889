"""An algorithm of somebody else's package: installed, it is a command and takes part in comparisons."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

from imitation_lab.algorithms import plugins
from imitation_lab.scripts import console

EXAMPLE = pathlib.Path(__file__).parents[2] / "docs/examples/huber_cloning"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder for `sys.path` into which pip has installed the example of the developers' page."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    source.mkdir()
    for file in EXAMPLE.glob("*.*"):
        (source / file.name).write_bytes(file.read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "lib", source], check=True, timeout=300
    )
    return folder / "lib"


@pytest.fixture
def shell(installed, tmp_path):
    """Runs the command line in a process that knows the package; gives exit status and what was told."""
    path = os.pathsep.join([str(installed), str(EXAMPLE.parents[2])])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def run(*words, module="imitation_lab.scripts.console"):
        program = [sys.executable, "-m", module, *words]
        done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    return run


def test_it_trains_from_the_command_line(shell, tmp_path):
    status, told, wrong = shell(
        "train", "huber", "with", "pendulum", "n_epochs=3", "logging.quiet", "seed=0", "-l", "ERROR"
    )
    assert status == 0, wrong
    assert "imit_stats: n_traj" in told
    (log,) = tmp_path.glob("output/train_huber/Pendulum-v1/*/log/progress.csv")
    assert "huber/loss" in log.read_text().partition("\n")[0]
    recorded = json.loads((tmp_path / "output/sacred/train_huber/1/config.json").read_text())
    assert (recorded["n_epochs"], recorded["lr"], recorded["environment"]["gym_id"]) == (3, 1e-3, "Pendulum-v1")


def test_its_keys_and_configurations_are_told(installed, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(installed))
    assert console.main(["train", "huber", "print_config", "with", "pendulum", "-l", "ERROR"]) == 0
    told = capsys.readouterr().out
    assert "n_epochs = 40" in told
    assert "from where on an error counts as a slip" in told
    with pytest.raises(SystemExit):
        console.main(["train", "huber", "--help"])
    told = capsys.readouterr().out
    assert "Clones a deterministic policy by the Huber loss" in told
    assert "pendulum" in told
    assert console.main(["train", "--help"]) == 0
    assert "mce_irl, huber" in capsys.readouterr().out
    for words, text in ((["huber", "with", "ephochs=3"], "'n_epochs'"), (["hubber"], "'huber'")):
        assert console.main(["train", *words]) == 2
        assert f"Did you mean {text}" in capsys.readouterr().err


def test_it_takes_part_in_comparisons(shell, tmp_path):
    words = ["compare", "--task", "Pendulum", "--algorithms", "huber", "--seeds", "0", "--demonstrations", "20"]
    status, told, wrong = shell(*words, "--output", "rows.json")
    assert status == 0, wrong
    assert told.splitlines()[1].startswith("huber  score")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["labels"] == 4000
    assert row["score"] > 0.9  # random actions are 0, the expert 1


CONTRACT = ("-o", "addopts=", "-p", "no:cacheprovider", "-q", "--pyargs", "imitation_lab.testing.contract")


def test_it_keeps_the_contract(shell):
    status, told, wrong = shell(*CONTRACT, module="pytest")
    assert status == 0, told + wrong
    found = dict(reversed(part.split()) for part in told.splitlines()[-1].partition(" in ")[0].split(", "))
    assert found.keys() == {"passed"}, told  # none was left out
    assert int(found["passed"]) > 40


def test_the_contract_finds_what_breaks_it(shell, tmp_path):
    text = (EXAMPLE / "huber_cloning.py").read_text()
    (tmp_path / "huber_cloning.py").write_text(
        text.replace('"optimizer", "rng"', '"optimizer"').replace("callback and callback(), ", "")
    )
    status, told, _ = shell(*CONTRACT, module="pytest")  # whose folder comes first
    assert status == 1
    for check in ("goes_on_bit_equal[huber-PCG64]", "ends_training_by_returning_false[huber]"):
        assert any(line.startswith("FAILED") and check in line for line in told.splitlines()), told


def test_little_of_it_is_not_the_algorithm():
    """Checks, saving, demonstrations, registration; the algorithm is its loss, its policy, and how it trains."""
    text = (EXAMPLE / "huber_cloning.py").read_text()
    module = ast.parse(text)
    (trainer,) = (node for node in module.body if getattr(node, "name", "") == "HuberCloning")
    algorithm = [node for node in module.body if getattr(node, "name", "") in ("huber_loss", "MeanPolicy")]
    algorithm += [node for node in trainer.body if getattr(node, "name", "") in ("train", "_epoch")]
    assert len(algorithm) == 4
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    docs = [node for node in ast.walk(module) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    elsewhere = {n for node in algorithm + imports + docs for n in range(node.lineno, node.end_lineno + 1)}
    lines = {n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    assert len(lines - elsewhere) <= 30


def entry(monkeypatch, name, value):
    """Only one entry point is installed."""
    found = plugins.metadata.EntryPoints([plugins.metadata.EntryPoint(name, value, plugins.GROUP)])
    monkeypatch.setattr(plugins.metadata, "entry_points", found.select)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("missing_module:ALGORITHM", "the algorithm 'mine' .missing_module:ALGORITHM. cannot be loaded: ModuleNotF"),
        ("json:missing", "cannot be loaded: AttributeError"),
        ("json:dumps", "the entry point 'mine' .json:dumps. is <function dumps .*expected its Algorithm"),
    ],
)
def test_a_package_that_is_broken(monkeypatch, capsys, value, text):
    entry(monkeypatch, "mine", value)
    with pytest.raises((ImportError, TypeError), match=text):
        plugins.load("mine")
    assert console.main(["train", "mine", "with", "pendulum"]) == 2
    with pytest.warns(UserWarning, match=text):
        assert plugins.found() == {}  # the others are not stopped by it
    with pytest.raises(ImportError, match="no installed package has an algorithm 'huber'"):
        plugins.load("huber")
