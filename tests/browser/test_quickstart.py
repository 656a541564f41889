"""The quickstart in a real JupyterLab: stored widgets show, all cells run, the player moves."""

import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "00_quickstart.ipynb"


def test_quickstart_runs_whole(lab):
    shutil.copy(NOTEBOOK, lab.folder)
    page = lab.open(NOTEBOOK.stem)
    lab.forget_runs(page)
    lab.run_all(page)
    lab.wait_all_ran(page, 150_000)
    player = page.get_by_role("img", name="learner").last
    player.scroll_into_view_if_needed(timeout=20_000)
    lab.screenshot(page, "quickstart")
    page.close()
