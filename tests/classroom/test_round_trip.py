"""Every assignment through real nbgrader: generate, submit, autograde, grade the written answer, export.

Six students hand in each assignment: `teacher`, the answers of the source; `untouched`, the release as it is; and
`mixed0` to `mixed3`. In `mixedK` part number K (modulo 4) is right and warns, all others are wrong: in the four
together each part is wrong in its three ways and right once, while its neighbours are wrong.
"""

import contextlib
import copy
import csv
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import warnings

import nbformat
import pytest

from imitation_lab.classroom import course
from imitation_lab.scripts import console

SOURCE = pathlib.Path(__file__).parents[2] / "notebooks" / "assignments" / "source"
WRONG = pathlib.Path(__file__).parent / "wrong_answers"
IDS = course.assignments(SOURCE)
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
NOISE = """\
import logging, sys, warnings
warnings.warn("a warning of a right answer")
logging.getLogger("student").warning("logged")
print("said", file=sys.stderr)
"""

pytestmark = pytest.mark.slow


def read(path):
    return nbformat.read(path, as_version=4)


def meta(cell):
    return cell.metadata.get("nbgrader", {})


def solutions(notebook):
    """Solution cells by part."""
    return {meta(c).grade_id: c for c in notebook.cells if meta(c).get("solution") and c.cell_type == "code"}


def graded_cells(notebook):
    return [c for c in notebook.cells if meta(c).get("grade") and c.cell_type == "code"]


def answered(release, source, change=lambda part, text: text):
    """The release with the source's answers, each passed through `change`."""
    notebook = copy.deepcopy(release)
    right = {meta(c).grade_id: c.source for c in source.cells if meta(c).get("solution")}
    for cell in notebook.cells:
        if meta(cell).get("solution"):
            cell.source = change(meta(cell).grade_id, right[meta(cell).grade_id])
    return notebook


def mixed(number, parts, wrong):
    def change(part, text):
        if part not in parts:
            return text
        index = parts.index(part)
        if index % 4 == number:  # right, and noisy
            indent = re.search(rf"^( *){BEGIN}", text, re.MULTILINE).group(1)
            return text.replace(BEGIN, BEGIN + "".join(f"\n{indent}{line}" for line in NOISE.splitlines()))
        old, new = wrong[part][(number - index) % 4 - 1]
        assert old in text, (part, old)
        return text.replace(old, new)

    return change


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A course made by the command, with an environment in which nbgrader reads no one's settings."""
    home = tmp_path_factory.mktemp("home")
    target = home / "course"
    assert console.main(["classroom", "new", str(target)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        scripts = pathlib.Path(sys.executable).parent  # nbgrader calls `alembic`, which is installed with it
        patch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("HOME", str(home))
        patch.setenv("JUPYTER_CONFIG_DIR", str(home / "config"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield target


def nbgrader(folder, *arguments):
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def graded(folder):
    """Grades an assignment once: `graded(id)` gives points by student and part, and the autograded notebooks."""
    done = {}

    def grade(assignment):
        if assignment not in done:
            done[assignment] = round_trip(folder, assignment)
        return done[assignment]

    return grade


def round_trip(folder, assignment):
    file = f"{assignment}.ipynb"
    nbgrader(folder, "generate_assignment", assignment)
    source, release = read(SOURCE / assignment / file), read(folder / "release" / assignment / file)
    wrong = runpy.run_path(WRONG / f"{assignment}.py")["WRONG"]
    parts = list(solutions(source))
    assert list(wrong) == parts, "each part has its wrong answers"
    handed_in = {"teacher": answered(release, source), "untouched": release}
    for number in range(4):
        handed_in[f"mixed{number}"] = answered(release, source, mixed(number, parts, wrong))
    for student, notebook in handed_in.items():
        target = folder / "submitted" / student / assignment / file
        target.parent.mkdir(parents=True)
        nbformat.write(notebook, target)
    nbgrader(folder, "autograde", assignment)
    with gradebook(folder) as book:
        points = {
            student: {
                grade.name: (grade.auto_score, grade.max_score)
                for grade in book.find_submission_notebook(assignment, assignment, student).grades
            }
            for student in handed_in
        }
    notebooks = {student: read(folder / "autograded" / student / assignment / file) for student in handed_in}
    return points, notebooks


@contextlib.contextmanager
def gradebook(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
            yield book


@pytest.mark.parametrize("assignment", IDS)
def test_teacher_gets_full_marks(graded, folder, assignment):
    points, notebooks = graded(assignment)
    for name, (score, most) in points["teacher"].items():
        assert score == (None if name == "written" else most), name
    for cell in notebooks["teacher"].cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            if meta(cell).get("grade"):
                assert output.output_type == "stream", cell.source
                assert output.name == "stdout", cell.source
    with gradebook(folder) as book:  # as the teacher does in the formgrader
        grade = book.find_grade("written", assignment, assignment, "teacher")
        grade.manual_score = grade.max_score
        book.db.commit()
    nbgrader(folder, "export", "--to", "grades.csv")
    with (folder / "grades.csv").open() as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream) if row["assignment"] == assignment}
    assert float(rows["teacher"]["score"]) == float(rows["teacher"]["max_score"]) == 20
    assert float(rows["untouched"]["score"]) == 0


@pytest.mark.parametrize("assignment", IDS)
def test_an_untouched_release_fails_only_with_not_implemented(graded, assignment):
    points, notebooks = graded(assignment)
    assert {score for score, _ in points["untouched"].values()} == {0}
    tests = graded_cells(notebooks["untouched"])
    for cell in notebooks["untouched"].cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr" or not meta(cell).get("grade"), cell.source
            if output.output_type == "error":
                assert output.ename == "NotImplementedError", cell.source
    assert all(any(output.output_type == "error" for output in cell.outputs) for cell in tests)


@pytest.mark.parametrize("assignment", IDS)
def test_wrong_answers_score_nothing_on_their_part_alone(graded, assignment):
    points, notebooks = graded(assignment)
    parts = list(solutions(notebooks["teacher"]))
    for number in range(4):
        for index, part in enumerate(parts):
            score, most = points[f"mixed{number}"][f"{part}-test"]
            assert score == (most if index % 4 == number else 0), (number, part)


@pytest.mark.parametrize("assignment", IDS)
def test_release_shows_no_solution_and_no_hidden_test(graded, folder, assignment):
    graded(assignment)
    source = read(SOURCE / assignment / f"{assignment}.ipynb")
    text = (folder / "release" / assignment / f"{assignment}.ipynb").read_text()
    assert not re.search(r"(BEGIN|END) (SOLUTION|HIDDEN)", text)
    release = read(folder / "release" / assignment / f"{assignment}.ipynb")
    shown = "\n".join(c.source for c in release.cells)
    for cell in solutions(source).values():
        for region in re.findall(rf"{BEGIN}\n(.*?) *{END}", cell.source, re.DOTALL):
            assert region.strip() not in shown
    for cell in graded_cells(source):
        assert re.search(r"HIDDEN TESTS\n(.*?)\n###", cell.source, re.DOTALL).group(1) not in shown
    written = next(c for c in source.cells if meta(c).get("grade_id") == "written")
    assert written.source not in shown


def test_check_fails_on_what_is_not_done_and_says_what(graded, folder, capsys):
    assignment = IDS[0]
    graded(assignment)
    shutil.copy(folder / "submitted/untouched" / assignment / f"{assignment}.ipynb", folder / "mine.ipynb")
    assert console.main(["classroom", "check", str(folder / "mine.ipynb")]) == 1
    assert re.search(r"Part 1: .+: not written yet", capsys.readouterr().out)
    shutil.copy(folder / "submitted/teacher" / assignment / f"{assignment}.ipynb", folder / "mine.ipynb")
    assert console.main(["classroom", "check", str(folder / "mine.ipynb")]) == 0
