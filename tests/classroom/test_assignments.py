"""What every assignment's source holds to, without running it."""

import re

import nbformat
import pytest

from imitation_lab.classroom import course
from imitation_lab.scripts import tutorials

SOURCE = tutorials.folder() / "assignments" / "source"
IDS = course.assignments(SOURCE)
MAX_LINES = 10


@pytest.fixture(params=IDS)
def cells(request):
    return nbformat.read(SOURCE / request.param / f"{request.param}.ipynb", as_version=4).cells


def test_all_five_are_there():
    assert IDS == ["airl-mce", "bc", "gail", "preferences", "reward-nets"]


def test_parts_are_short_and_each_is_tested_in_sight_and_hidden(cells):
    graded = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in cells}
    parts = [
        name
        for name, cell in graded.items()
        if name and cell.cell_type == "code" and cell.metadata.nbgrader.solution and not cell.metadata.nbgrader.grade
    ]
    assert len(parts) == 4
    for part in parts:
        regions = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", graded[part].source, re.DOTALL)
        assert regions
        assert sum(bool(line.strip()) for region in regions for line in region.splitlines()) <= MAX_LINES
        test = graded[f"{part}-test"]
        visible, hidden = test.source.split("### BEGIN HIDDEN TESTS")
        assert "checks.expect" in visible
        assert "checks.expect" in hidden
        assert 'checks.passed("' in visible
        assert test.metadata.nbgrader.locked
    points = [cell.metadata.nbgrader.points for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert sum(points) == 20
    assert "*Rubric.*" in "".join(cell.source for cell in cells)


def test_cells_are_nbgraders_and_hold_no_output_and_no_widget(cells):
    ids = [cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata]
    assert len(set(ids)) == len(ids)
    for cell in cells:
        meta = cell.metadata.get("nbgrader")
        assert meta is None or meta.schema_version == 3
        assert not cell.get("outputs")
        assert not re.search(r"widgets|matplotlib|tqdm", cell.source)
        if meta and meta.grade and cell.cell_type == "code":  # a bare number would count as points
            last = cell.source.split("### BEGIN HIDDEN TESTS")[1].splitlines()[-2]
            assert last.startswith((" ", ")", "checks.", "raise"))
