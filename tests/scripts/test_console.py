"""The console script: the tutorials' copy, and short messages for a user's mistakes."""

import json

import pytest

from imitation_lab.scripts import console, tutorials


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package that carries two tutorials."""
    source = tmp_path / "carried"
    (source / "assets").mkdir(parents=True)
    (source / "00_quickstart.ipynb").write_text("first")
    (source / "assets" / "x.json").write_text("{}")
    (source / "conftest.py").write_text("")
    monkeypatch.setattr(tutorials, "folder", lambda: source)
    return source


def test_copy_brings_everything_but_code(carried, tmp_path):
    written, kept = tutorials.copy_to(tmp_path / "here")
    assert sorted(map(str, written)) == ["00_quickstart.ipynb", "assets/x.json"]
    assert kept == []
    assert (tmp_path / "here/00_quickstart.ipynb").read_text() == "first"


def test_a_changed_file_is_never_overwritten_and_an_untouched_one_is_renewed(carried, tmp_path):
    here = tmp_path / "here"
    tutorials.copy_to(here)
    (here / "00_quickstart.ipynb").write_text("my notes")
    (carried / "00_quickstart.ipynb").write_text("second")
    (carried / "assets/x.json").write_text("[1]")
    for _ in range(2):  # also when run again
        _, kept = tutorials.copy_to(here)
        assert [str(name) for name in kept] == ["00_quickstart.ipynb"]
    assert (here / "00_quickstart.ipynb").read_text() == "my notes"
    assert (here / "assets/x.json").read_text() == "[1]"


def test_a_users_own_file_of_the_same_name_is_kept(carried, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "00_quickstart.ipynb").write_text("mine, from before")
    _, kept = tutorials.copy_to(here)
    assert [str(name) for name in kept] == ["00_quickstart.ipynb"]
    assert (here / "00_quickstart.ipynb").read_text() == "mine, from before"


def test_lab_copy_only_says_what_it_did(carried, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert console.main(["lab", "--copy-only"]) == 0
    assert "2 files written" in capsys.readouterr().out


def test_unknown_arguments_and_commands_exit_with_2(capsys):
    for arguments in (["quickstart", "--nonsense"], ["nonsense"], []):
        with pytest.raises(SystemExit) as stop:
            console.main(arguments)
        assert stop.value.code == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


def test_a_failing_notebook_is_told_in_short_and_kept(tmp_path, monkeypatch, capsys):
    import nbformat

    source = tmp_path / "broken"
    source.mkdir()
    cells = [nbformat.v4.new_code_cell("print('so far')"), nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "00_quickstart.ipynb")
    monkeypatch.setattr(tutorials, "folder", lambda: source)
    assert console.main(["quickstart", "--output", str(tmp_path / "out")]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    executed = json.loads((tmp_path / "out/quickstart.ipynb").read_text())
    assert executed["cells"][0]["outputs"][0]["text"] == ["so far\n"]


def test_import_is_light():
    import subprocess
    import sys

    heavy = ("torch", "stable_baselines3", "matplotlib")
    code = f"import sys, imitation_lab; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
