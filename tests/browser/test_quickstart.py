"""The quickstart in a real JupyterLab: stored widgets show, all cells run, the player moves."""

import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "00_quickstart.ipynb"
ALL_CELLS_RAN = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const code = panel.content.widgets.filter(cell => cell.model.type === 'code');
  return code.every(cell => cell.model.executionCount) && panel.sessionContext.session.kernel.status === 'idle';
}"""
CLEAR_COUNTS = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  panel.content.widgets.forEach(cell => { if (cell.model.type === 'code') cell.model.executionCount = null; });
}"""


def test_quickstart_runs_whole(lab):
    shutil.copy(NOTEBOOK, lab.folder)
    page = lab.open(NOTEBOOK.stem)
    page.evaluate(CLEAR_COUNTS)
    lab.run_all(page)
    page.wait_for_function(ALL_CELLS_RAN, timeout=150_000)
    assert (
        page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(cell =>
        cell.model.type === 'code' ? cell.model.outputs.toJSON() : []).filter(o => o.output_type === 'error').length"""
        )
        == 0
    )
    player = page.get_by_role("img", name="learner").last
    player.scroll_into_view_if_needed(timeout=20_000)
    lab.screenshot(page, "quickstart")
    page.close()
