"""You are the teacher: the tutorial, whole, in a real JupyterLab: twenty answers by mouse and keys, then all the rest.

The answers are the recorded ones, so that the notebook's own asserts about what was learned hold.
"""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NAME = "08_human_preferences"


def cell_with(notebook, text):
    (number,) = (i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and text in cell.source)
    return number


def wait_answered(page, n):
    page.get_by_text(f". {n} answered, {20 - n} to go", exact=False).first.wait_for(timeout=90_000)


def test_twenty_answers_by_hand_teach_a_policy(lab):
    notebook = nbformat.read(NOTEBOOKS / f"{NAME}.ipynb", as_version=4)
    labeler, result = cell_with(notebook, "PreferenceLabeler(gatherer"), cell_with(notebook, "results = {")
    shutil.copy(NOTEBOOKS / f"{NAME}.ipynb", lab.folder)
    shutil.copytree(NOTEBOOKS / "recorded", lab.folder / "recorded", dirs_exist_ok=True)
    page = lab.open(NAME)
    lab.forget_runs(page)
    lab.run_from(page, labeler + 1, "notebook:run-all-above")
    wait_answered(page, 0)

    page.get_by_role("button", name="← Left").click()
    wait_answered(page, 1)
    keys = page.get_by_role("group", name="Keys of the preference labeler")
    keys.click()
    page.keyboard.press("Backspace")
    wait_answered(page, 0)
    for n in range(1, 11):
        page.keyboard.press("Enter")
        wait_answered(page, n)
    lab.screenshot(page, "human-preferences-labeler")
    for n in range(11, 21):
        page.get_by_role("button", name="As recorded").click()
        wait_answered(page, n)

    lab.run_from(page, labeler + 1)
    printed = lab.wait_all_ran(page, 480_000)
    table = dict(re.findall(r"(\w+) +(\d+)\n", printed[labeler + 1]))
    assert table == {"left": "11", "right": "7", "tie": "2", "skip": "0", "waiting": "0"}
    share = re.search(r"normalized return of the learner: (\d+)%", printed[result])
    assert int(share[1]) > 70
    page.get_by_role("button", name="Undo").scroll_into_view_if_needed()
    lab.screenshot(page, "human-preferences-result")
    lab.close(page)
