"""`imitation-lab classroom new` and `check`: folders, files, and a user's mistakes."""

import nbformat
import pytest

from imitation_lab.classroom import course
from imitation_lab.scripts import console, tutorials

SOURCE = tutorials.folder() / "assignments" / "source"
IDS = course.assignments(SOURCE)


def test_new_makes_a_course_of_all_assignments(tmp_path, capsys):
    assert console.main(["classroom", "new", str(tmp_path / "spring")]) == 0
    assert course.assignments(tmp_path / "spring" / "source") == IDS
    settings = {}

    class Section:
        def __setattr__(self, name, value):
            settings[name] = value

    class Config:
        CourseDirectory = ExecutePreprocessor = Section()

    text = (tmp_path / "spring" / "nbgrader_config.py").read_text()
    exec(compile(text, "config", "exec"), {"get_config": Config})
    assert settings == {
        "course_id": "spring",
        "timeout": course.TIMEOUT,
        "startup_timeout": 120,
        "interrupt_on_timeout": True,
        "iopub_timeout": 60,
        "extra_arguments": ["--IPKernelApp.log_level=ERROR"],
    }
    assert IDS[0] in (tmp_path / "spring" / "README.md").read_text()
    assert IDS[-1] in capsys.readouterr().out


def test_new_takes_a_choice_and_an_empty_folder(tmp_path):
    (tmp_path / "c").mkdir()
    assert course.new_course(tmp_path / "c", SOURCE, IDS[:1]) == IDS[:1]
    assert course.assignments(tmp_path / "c" / "source") == IDS[:1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["full"], "exists and is not empty"),
        (["a", "--assignments", "nonsense"], "unknown assignment 'nonsense': expected some of"),
        (["two words"], "letters, digits"),
    ],
)
def test_mistakes_with_new_leave_nothing_behind(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert console.main(["classroom", "new", *arguments]) == 2
    assert text in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_check_refuses_what_is_no_assignment(tmp_path, capsys):
    (tmp_path / "text.ipynb").write_text("text")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "plain.ipynb")
    for name, text in (("none", "there is no file"), ("text", "is no notebook"), ("plain", "has no graded cells")):
        assert console.main(["classroom", "check", str(tmp_path / f"{name}.ipynb")]) == 2
        assert text in capsys.readouterr().err


def test_tutorials_are_copied_without_the_answers(tmp_path):
    tutorials.copy_to(tmp_path)
    assert not (tmp_path / "assignments").exists()
