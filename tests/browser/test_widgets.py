import time

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STOP_CELLS = [
    """\
import time
from imitation_lab.widgets.training import TrainingDashboard
dashboard = TrainingDashboard(["loss", "accuracy"], title="Stop me", x_label="batch", min_interval=0.2)
dashboard""",
    """\
print("loop begins")
end, batch = time.monotonic() + 60, 0
with dashboard:
    while time.monotonic() < end and dashboard.update({"loss": 1 / (1 + batch), "accuracy": batch / 999}, batch):
        batch += 1
        time.sleep(0.01)
print("loop ended, stopped:", dashboard.stopped)""",
]
FRAME_CELLS = [
    """\
import numpy as np
from imitation_lab.util.networks import EMANorm, RunningNorm
from imitation_lab.widgets.normalization import NormalizationDashboard
rng = np.random.default_rng(0)
batches = [rng.normal(i / 5, 1, size=(64, 1)) for i in range(20)]
dashboard = NormalizationDashboard({"RunningNorm": RunningNorm(1), "EMANorm": EMANorm(1, decay=0.7)}, batches,
                                   features=["speed"], n_frames=6)
dashboard""",
]
OUTPUT = ".jp-OutputArea-output"
VISIBLE = "img.jupyter-widgets:visible"
OTHER_PICTURE = """src => {
  const visible = [...document.querySelectorAll('img.jupyter-widgets')].filter(image => image.offsetParent);
  return visible.length === 1 && visible[0].src !== src;
}"""


def drag_back(page, pixels):
    """Pull the slider's handle to the left."""
    box = page.locator(".noUi-handle").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - pixels, y, steps=8)
    page.mouse.up()


def test_stop_ends_a_running_cell_within_two_seconds(lab):
    lab.write("stop", STOP_CELLS)
    page = lab.open("stop")
    lab.run_all(page)
    page.locator(OUTPUT, has_text="loop begins").wait_for(timeout=60_000)
    image = page.locator(VISIBLE)
    image.wait_for(timeout=20_000)
    page.wait_for_function(OTHER_PICTURE, arg=image.get_attribute("src"), timeout=20_000)  # it is live
    lab.screenshot(page, "training-running")
    button = page.get_by_role("button", name="Stop", exact=True)
    start = time.monotonic()
    button.click()
    page.locator(OUTPUT, has_text="loop ended, stopped: True").wait_for(timeout=2_000)
    print(f"Stop took {time.monotonic() - start:.2f} s")
    lab.screenshot(page, "training-stopped")
    page.close()


def test_slider_changes_the_picture_and_the_kernel_hears_of_it(lab):
    lab.write("frames", FRAME_CELLS)
    page = lab.open("frames")
    lab.run_all(page)
    image = page.locator(VISIBLE)
    image.wait_for(timeout=60_000)
    assert page.get_by_role("img", name="Normalization of speed").count() == 1
    table = page.locator(".jp-OutputArea-output table")
    before, numbers = image.get_attribute("src"), table.inner_text()
    drag_back(page, 150)
    page.wait_for_function(OTHER_PICTURE, arg=before, timeout=5_000)
    page.wait_for_function(
        "text => document.querySelector('.jp-OutputArea-output table').innerText !== text", arg=numbers, timeout=10_000
    )
    lab.screenshot(page, "frames-moved")
    page.close()


def test_slider_of_a_saved_notebook_moves_without_its_kernel(lab):
    """The kernel of the reopened notebook never ran a cell: the links live in the browser."""
    lab.write("saved", FRAME_CELLS)
    lab.execute("saved")
    page = lab.open("saved")
    image = page.locator(VISIBLE)
    image.wait_for(timeout=30_000)
    before = image.get_attribute("src")
    page.get_by_text("batch 19 of 19", exact=True).wait_for()
    drag_back(page, 150)
    page.wait_for_function(OTHER_PICTURE, arg=before, timeout=5_000)
    assert page.get_by_text("batch 19 of 19", exact=True).is_hidden()
    lab.screenshot(page, "frames-without-kernel")
    page.close()
