"""The preference labeler in a real JupyterLab: clicks, keys, undo, answers while a cell trains, reload without loss."""

import json
import time

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """\
import pathlib, time
import numpy as np
import imitation_lab
from imitation_lab.algorithms.preference_comparisons import HumanGatherer
from imitation_lab.data.types import TrajectoryWithRew
from imitation_lab.widgets.preferences import PreferenceLabeler

def clip(angle, length=8):
    obs = np.zeros((length + 1, 4), np.float32)
    obs[:, 2] = angle * np.linspace(0, 1, length + 1)
    return TrajectoryWithRew(obs, np.zeros(length, int), None, False, np.full(length, 1 - abs(angle), np.float32))

gatherer = HumanGatherer("labels", "imitation_lab/CartPole-v0")
if not gatherer.answers and not gatherer.pending:
    gatherer.submit([(clip(0.02 * i), clip(0.2)) for i in range(10)])
labeler = PreferenceLabeler(gatherer, n_frames=8)
labeler""",
    """\
print("training begins")
end = time.monotonic() + 180
while not pathlib.Path("stop").exists() and time.monotonic() < end:
    np.linalg.norm(np.random.default_rng(0).normal(size=(200, 200)))  # busy, as training is
pairs, preferences = gatherer.poll()
pathlib.Path("seen").write_text(str(preferences.tolist()))""",
]
OUTPUT = ".jp-OutputArea-output"
VISIBLE = "img.jupyter-widgets:visible"
OTHER_PICTURE = """src => {
  const visible = [...document.querySelectorAll('img.jupyter-widgets')].filter(image => image.offsetParent);
  return visible.length === 1 && visible[0].src !== src;
}"""


def answers(lab):
    """What is on the disk: the preferences that stand."""
    standing = {}
    for line in (lab.folder / "labels" / "labels.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event.get("event") == "answer":
            standing[event["id"]] = event["preference"]
        elif event.get("event") == "undo":
            del standing[event["id"]]
    return list(standing.values())


def wait_answered(page, n):
    page.get_by_text(f"{n} answered", exact=False).first.wait_for(timeout=60_000)


def test_labeler(lab):
    lab.write("labeler", CELLS)
    page = lab.open("labeler")
    lab.run_all(page)
    page.locator(OUTPUT, has_text="training begins").wait_for(timeout=90_000)
    image = page.locator(VISIBLE)
    image.wait_for(timeout=30_000)
    page.wait_for_function(OTHER_PICTURE, arg=image.get_attribute("src"), timeout=20_000)  # the clips loop

    # All of this while the second cell runs.
    page.get_by_role("button", name="← Left").click()
    wait_answered(page, 1)
    catcher = page.get_by_role("group", name="Keys of the preference labeler")
    catcher.click()
    for n, key in enumerate(["ArrowRight", "ArrowUp", "ArrowDown"], 2):
        page.keyboard.press(key)
        wait_answered(page, n)
    assert answers(lab) == [1.0, 0.0, 0.5, "skip"]
    page.keyboard.press("Backspace")
    wait_answered(page, 3)
    page.get_by_role("button", name="Undo").click()
    wait_answered(page, 2)
    assert answers(lab) == [1.0, 0.0]
    page.get_by_label("show true returns").check()
    page.get_by_text("left 7.", exact=False).wait_for(timeout=60_000)
    lab.screenshot(page, "labeler-while-training")
    page.keyboard.press("ArrowLeft")  # keys act wherever the focus is in the widget
    wait_answered(page, 3)
    assert page.get_by_text("left 7.", exact=False).count() == 0
    (lab.folder / "stop").touch()
    seen = lab.folder / "seen"
    end = time.monotonic() + 20
    while not (seen.exists() and seen.read_text()) and time.monotonic() < end:
        page.wait_for_timeout(200)
    assert seen.read_text() == "[1.0, 0.0, 1.0]"  # given while the cell ran, and kept

    # The page goes away, the kernel stays: the same labeler goes on.
    lab.wait_ready(page)
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload(timeout=60_000)
    lab.wait_ready(page)
    wait_answered(page, 3)
    page.locator(VISIBLE).wait_for(timeout=60_000)
    page.get_by_role("button", name="Right →").click()
    wait_answered(page, 4)
    assert answers(lab) == [1.0, 0.0, 1.0, 0.0]

    # Kernel and page go away: a new labeler has the answers from the disk.
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    lab.wait_ready(page)
    lab.run_all(page)
    wait_answered(page, 4)
    page.get_by_text("Pair 0000-04", exact=False).first.wait_for(timeout=60_000)
    page.locator(VISIBLE).wait_for(timeout=60_000)
    lab.screenshot(page, "labeler-after-restart")
    page.close()
