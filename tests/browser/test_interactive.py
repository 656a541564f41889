"""The interactive expert in a real JupyterLab: buttons, keys, undo and save while a cell runs."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """\
import pathlib, time
import numpy as np
from imitation_lab import experts
from imitation_lab.algorithms.dagger import InteractiveSession
from imitation_lab.util import util
from imitation_lab.widgets.interactive import InteractiveExpert

rng = np.random.default_rng(0)
venv = util.make_vec_env("CartPole-v1", rng=rng, n_envs=1, env_make_kwargs={"render_mode": "rgb_array"})
session = InteractiveSession(venv, experts.load_expert("CartPole-standard"), rng)
expert = InteractiveExpert(session, actions={"left": 0, "right": 1}, save_to="mine", watch_steps=3)
expert""",
    """\
print("busy now")
end = time.monotonic() + 120
while not pathlib.Path("expert-stop").exists() and time.monotonic() < end:
    np.linalg.norm(np.random.default_rng(0).normal(size=(200, 200)))
pathlib.Path("expert-seen").write_text(str(session.counts()))""",
]
OUTPUT = ".jp-OutputArea-output"


def wait_for(page, text):
    page.get_by_text(text, exact=False).first.wait_for(timeout=60_000)


def test_interactive_expert(lab):
    lab.write("interactive", CELLS)
    page = lab.open("interactive")
    lab.run_all(page)
    page.locator(OUTPUT, has_text="busy now").wait_for(timeout=90_000)
    picture = page.locator("img.jupyter-widgets:visible")
    picture.wait_for(timeout=30_000)
    before = picture.get_attribute("src")

    # All of this while the second cell runs.
    page.get_by_role("button", name="→ right").click()
    wait_for(page, "1 demonstrated, 0 labelled")
    page.get_by_role("group", name="Keys of the interactive expert").click()
    for n, key in enumerate(["ArrowLeft", *["ArrowRight"] * 5], 2):  # a cart moves few pixels a step
        page.keyboard.press(key)
        wait_for(page, f"{n} demonstrated")
    assert picture.get_attribute("src") != before
    page.keyboard.press("Backspace")
    wait_for(page, "6 demonstrated")
    page.keyboard.press("t")
    wait_for(page, "The policy is in control")
    page.keyboard.press("ArrowLeft")
    wait_for(page, "6 demonstrated, 1 labelled")
    page.keyboard.press("w")
    wait_for(page, "3 watched")
    page.get_by_role("button", name="Take over").click()
    wait_for(page, "You are in control")
    page.get_by_role("button", name="Save", exact=True).click()
    wait_for(page, "Saved 7 labelled steps to demo-00000.safetensors")
    lab.screenshot(page, "interactive-expert")
    assert (lab.folder / "mine" / "demo-00000.safetensors").exists()
    (lab.folder / "expert-stop").touch()
    seen = lab.folder / "expert-seen"
    for _ in range(100):
        if seen.exists() and seen.read_text():
            break
        page.wait_for_timeout(200)
    assert seen.read_text() == "{'demonstrated': 6, 'labelled': 1, 'watched': 3, 'unsaved': 0}"
    page.close()
