import json
import os
import shutil
import warnings
from types import SimpleNamespace

import pytest

from imitation_lab.util import sacred as lib_sacred
from imitation_lab.util import sacred_file_parsing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # sacred imports pkg_resources, which is deprecated
    from sacred.observers import FileStorageObserver


def make_run(folder, command="bc", env="CartPole-v1", status="COMPLETED", **run):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"environment": {"gym_id": env}, "seed": 1}))
    (folder / "run.json").write_text(json.dumps({"command": command, "status": status, **run}))
    return folder


def test_load_from_dir(tmp_path):
    folder = make_run(tmp_path / "1", result=3)
    dicts = lib_sacred.SacredDicts.load_from_dir(folder)
    assert dicts.sacred_dir == folder
    assert dicts.config == {"environment": {"gym_id": "CartPole-v1"}, "seed": 1}
    assert dicts.run["result"] == 3


@pytest.mark.parametrize("content", [b'{"a": ', b"", b"\xff\xfe", b"cos\nsystem\n"])
def test_corrupt_json_names_the_file(tmp_path, content):
    folder = make_run(tmp_path / "1")
    (folder / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"1.run\.json is not valid JSON"):
        lib_sacred.SacredDicts.load_from_dir(folder)
    with pytest.raises(ValueError, match=r"run\.json is not valid JSON"):
        list(sacred_file_parsing.find_sacred_runs(tmp_path))


def test_other_bad_input(tmp_path):
    folder = make_run(tmp_path / "1")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json: expected a JSON object, got list"):
        lib_sacred.SacredDicts.load_from_dir(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError):
        lib_sacred.SacredDicts.load_from_dir(folder)


def test_filter_subdirs(tmp_path):
    first, second = make_run(tmp_path / "b" / "sacred"), make_run(tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{}")
    assert lib_sacred.dir_contains_sacred_jsons(first)
    assert not lib_sacred.dir_contains_sacred_jsons(tmp_path / "c")
    assert lib_sacred.filter_subdirs(tmp_path) == [second, first]
    assert lib_sacred.filter_subdirs(tmp_path, lambda path: path.name == "c") == [tmp_path / "c"]
    assert lib_sacred.filter_subdirs(first) == [first]
    inner = make_run(second / "deep" / "inner")
    with pytest.raises(ValueError, match=r"inner lies inside .*a, and both match; allow this with nested_ok=True"):
        lib_sacred.filter_subdirs(tmp_path)
    assert lib_sacred.filter_subdirs(tmp_path, nested_ok=True) == [second, inner, first]
    with pytest.raises(FileNotFoundError, match="No such folder"):
        lib_sacred.filter_subdirs(tmp_path / "none")


def fake_run(folder):
    observer = FileStorageObserver(folder.parent)
    observer.dir = str(folder)
    return SimpleNamespace(observers=[object(), observer])


def test_build_sacred_symlink(tmp_path):
    run_dir = make_run(tmp_path / "out" / "sacred_runs" / "1")
    log_dir = tmp_path / "out" / "logs" / "new"
    assert lib_sacred.get_sacred_dir_from_run(fake_run(run_dir)) == run_dir
    lib_sacred.build_sacred_symlink(log_dir, fake_run(run_dir))
    assert os.readlink(log_dir / "sacred") == "../../sacred_runs/1"
    assert (log_dir / "sacred" / "run.json").is_file()
    # A second run replaces the link; a moved tree keeps it whole.
    second = make_run(tmp_path / "out" / "sacred_runs" / "2")
    lib_sacred.build_sacred_symlink(log_dir, fake_run(second))
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert (tmp_path / "moved/logs/new/sacred").resolve() == tmp_path.resolve() / "moved/sacred_runs/2"
    assert os.listdir(tmp_path / "moved/logs/new") == ["sacred"]


def test_build_sacred_symlink_refusals(tmp_path):
    run = SimpleNamespace(observers=[])
    assert lib_sacred.get_sacred_dir_from_run(run) is None
    with pytest.warns(UserWarning, match="no FileStorageObserver"):
        lib_sacred.build_sacred_symlink(tmp_path, run)
    (tmp_path / "sacred").mkdir()
    run_dir = make_run(tmp_path / "runs" / "1")
    with pytest.raises(FileExistsError, match="sacred exists and is not a link"):
        lib_sacred.build_sacred_symlink(tmp_path, fake_run(run_dir))


def test_dict_get_nested():
    d = {"a": {"b": {"c": 1}, "n": None}, "a.b": 2}
    assert lib_sacred.dict_get_nested(d, "a.b.c") == 1
    assert lib_sacred.dict_get_nested(d, "a/b", sep="/") == {"c": 1}
    assert lib_sacred.dict_get_nested(d, "a.n", default=3) is None
    assert lib_sacred.dict_get_nested(d, "a.x.c") is None
    assert lib_sacred.dict_get_nested(d, "a.b.c.d", default=3) == 3


def test_find_and_group_runs(tmp_path):
    make_run(tmp_path / "1", result=1)
    make_run(tmp_path / "2", result=2, status="FAILED")
    make_run(tmp_path / "x" / "3", result=3, command="gail")
    make_run(tmp_path / "x" / "4", result=4, env="Pendulum-v1")
    runs = list(sacred_file_parsing.find_sacred_runs(tmp_path))
    assert [run["result"] for _, run in runs] == [1, 2, 3, 4]
    assert runs[3][0]["environment"]["gym_id"] == "Pendulum-v1"
    done = sacred_file_parsing.find_sacred_runs(tmp_path, only_completed_runs=True)
    assert [run["result"] for _, run in done] == [1, 3, 4]

    grouped = sacred_file_parsing.group_runs_by_algo_and_env(tmp_path)
    results = {a: {e: [r["result"] for r in runs] for e, runs in by_env.items()} for a, by_env in grouped.items()}
    assert results == {"bc": {"CartPole-v1": [1, 2], "Pendulum-v1": [4]}, "gail": {"CartPole-v1": [3]}}
    assert type(grouped["bc"]) is dict
    completed = sacred_file_parsing.group_runs_by_algo_and_env(tmp_path, only_completed_runs=True)
    assert len(completed["bc"]["CartPole-v1"]) == 1


def test_grouping_needs_command_and_environment(tmp_path):
    folder = make_run(tmp_path / "1")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r'1 lacks "environment.gym_id" in config.json'):
        sacred_file_parsing.group_runs_by_algo_and_env(tmp_path)
    (folder / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r'1 lacks a "command" in run.json'):
        sacred_file_parsing.group_runs_by_algo_and_env(tmp_path)
