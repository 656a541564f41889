"""A course folder for nbgrader, and the check of one submission."""

import os
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Any

__all__ = ["TIMEOUT", "assignments", "new_course", "check_submission"]

TIMEOUT = 120
"""Seconds that one cell may take when it is graded; the slowest cell of our assignments takes a few."""

_PATIENCE = 60
_QUIET = "--IPKernelApp.log_level=ERROR"

_CONFIG = '''\
"""nbgrader's settings for this course; see https://nbgrader.readthedocs.io."""

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "{name}"
# A cell that runs longer is interrupted and earns nothing; the rest of the notebook is graded all the same.
c.ExecutePreprocessor.timeout = {timeout}
c.ExecutePreprocessor.startup_timeout = 120
c.ExecutePreprocessor.interrupt_on_timeout = True
# How long it may take to react to that, or to show its output on a busy machine, before the submission is put aside.
c.ExecutePreprocessor.iopub_timeout = {patience}
# Without this each notebook begins with a warning about the kernel's connection, which stays on this machine.
c.ExecutePreprocessor.extra_arguments = ["{quiet}"]
'''

_README = """\
# {name}

`source/` holds the assignments with their answers: keep it to yourself. In this folder, with the Python environment
activated (nbgrader calls other programs by name), for example with `{first}`:

1. `nbgrader generate_assignment {first}` writes the students' version, without answers and hidden tests, to `release/`.
2. Hand `release/{first}` out. What comes back goes to `submitted/STUDENT/{first}/{first}.ipynb`
   (nbgrader's exchange can do both).
3. `nbgrader autograde {first}` grades everything but the written answers. That checksums of test cells have changed is
   no fault: the hidden tests come back.
4. In JupyterLab, started in this folder, *Nbgrader → Formgrader* shows the written answers; each question states its
   rubric.
5. `nbgrader generate_feedback {first}` and `nbgrader export` write pages to `feedback/` and a table to `grades.csv`.

A student checks a notebook with `imitation-lab classroom check {first}.ipynb`.
"""


def assignments(source: str | os.PathLike[str]) -> list[str]:
    """The ids of the assignments in a `source` folder, sorted."""
    return sorted(path.parent.name for path in pathlib.Path(source).glob("*/*.ipynb"))


def new_course(
    target: str | os.PathLike[str], source: str | os.PathLike[str], chosen: Sequence[str] | None = None
) -> list[str]:
    """Makes a course folder: nbgrader's settings, the assignments with their answers, and a README of the steps.

    Args:
        target: the folder; its name becomes the course's id.
        source: the assignments to choose from.
        chosen: their ids; all if None.

    Returns:
        The ids of the assignments in the course.

    Raises:
        FileExistsError: if the folder has something in it.
        ValueError: if an id is unknown, or the folder's name cannot be a course's id.
    """
    target, source = pathlib.Path(target), pathlib.Path(source)
    known = assignments(source)
    wanted = list(known if chosen is None else chosen)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        what = f"unknown assignment {unknown[0]!r}" if unknown else "no assignment chosen"
        raise ValueError(f"{what}: expected some of {', '.join(known)}.")
    name = target.resolve().name
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"a course's folder is named by letters, digits, '-', '_' and '.', got {name!r}.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not empty; name a new folder.")
    for assignment in wanted:
        into = target / "source" / assignment
        shutil.copytree(source / assignment, into, ignore=shutil.ignore_patterns(".*", "__*"))
    config = _CONFIG.format(name=name, timeout=TIMEOUT, patience=_PATIENCE, quiet=_QUIET)
    (target / "nbgrader_config.py").write_text(config, encoding="utf-8")
    (target / "README.md").write_text(_README.format(name=name, first=wanted[0]), encoding="utf-8")
    return wanted


def check_submission(path: str | os.PathLike[str]) -> list[str]:
    """Runs a notebook as nbgrader's validation does.

    Args:
        path: an assignment's notebook, the student's or the teacher's version.

    Returns:
        What fails, one text each; nothing if all visible tests pass.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no notebook, or has no graded cell.
        ImportError: if nbgrader is not installed.
    """
    path = pathlib.Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(f"{path.name} is no notebook ({type(error).__name__}); expected an .ipynb file.") from error
    if not any(cell.metadata.get("nbgrader", {}).get("grade") for cell in notebook.cells):
        raise ValueError(f"{path.name} has no graded cells: it is no assignment, or its cells' metadata were lost.")
    from nbgrader.validator import Validator
    from traitlets.config import Config

    settings = {
        "timeout": TIMEOUT,
        "startup_timeout": 120,
        "interrupt_on_timeout": True,
        "iopub_timeout": _PATIENCE,
        "extra_arguments": [_QUIET],
    }
    results = Validator(config=Config({"ExecutePreprocessor": settings})).validate(str(path))
    parts = _parts(notebook)
    part = lambda cell: parts.get(cell["source"].strip(), "a test")
    changed = (*results.get("changed", []), *results.get("type_changed", []))
    problems = [f"{part(cell)}: a locked cell has changed" for cell in changed]
    for cell in results.get("failed", []):
        lines = [line.strip() for line in re.sub(r"\x1b\[[\d;]*m", "", cell["raw_error"]).splitlines() if line.strip()]
        found = lines[-1] if lines else "no answer"
        problems.append(f"{part(cell)}: {'not written yet' if found.startswith('NotImplementedError') else found}")
    return problems


def _parts(notebook: Any) -> dict[str, str]:
    """The heading above each cell, without its points, by the cell's text."""
    found, heading = {}, "the first part"
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (title := re.match(r"#+ (.+)", cell.source)):
            heading = re.sub(r" \(.*points?\)$", "", title[1])
        found[cell.source.strip()] = heading
    return found
