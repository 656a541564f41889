"""The documentation as it is built, with no kernel and no network: widgets show, sliders move, formulas are set."""

import functools
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = DOCS / "_build" / "html"
SCREENSHOTS = ROOT / "output" / "browser"
PICTURES = "[...document.querySelectorAll('img.jupyter-widgets')].filter(i => i.offsetParent).map(i => i.src).join()"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    """The address of the site, built as CI builds it; what is built already is not built again."""
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(SITE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if not (DOCS / "_build" / "vendor" / "static" / "vendor" / "embed-amd.js").exists():
        pytest.skip(f"npm cannot be reached, so the pages would need a CDN: {done.stdout}")
    handler = functools.partial(_Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser):
    """A page that reaches this machine alone; `page.refused` lists what it asked of others."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.refused, page.mistakes = [], []

    def gate(route):
        if route.request.url.startswith("http://127.0.0.1"):
            route.continue_()
        else:
            page.refused.append(route.request.url)
            route.abort()

    page.route("http*://**/*", gate)
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    page.on("response", lambda answer: page.mistakes.append(answer.url) if answer.status >= 400 else None)
    yield page
    page.close()


@pytest.mark.parametrize(("name", "label"), [("00_quickstart", "frame"), ("04_regularization", "epoch")])
def test_a_linked_slider_moves_without_a_kernel(site, page, name, label):
    page.goto(f"{site}/notebooks/{name}.html", timeout=60_000)
    handle = page.locator(".widget-hslider", has_text=label).locator(".noUi-handle:visible").first
    handle.wait_for(timeout=30_000)
    handle.scroll_into_view_if_needed()
    page.wait_for_function(f"{PICTURES}.length > 0", timeout=10_000)
    before = page.evaluate(PICTURES)
    track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]").bounding_box()
    box = handle.bounding_box()
    middle = track["x"] + track["width"] / 2
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * (0.2 if x > middle else 0.8), y, steps=8)
    page.mouse.up()
    page.wait_for_function(f"before => {PICTURES} !== before", arg=before, timeout=10_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"docs-{name}.png")
    assert page.refused == []
    assert page.mistakes == []


def test_formulas_are_set_and_pages_need_no_other_site(site, page):
    page.goto(f"{site}/notebooks/05_gail.html", timeout=60_000)
    page.locator("mjx-container svg").first.wait_for(timeout=30_000)
    for name in ("index", "algorithms/gail", "api/imitation_lab.algorithms.bc"):
        page.goto(f"{site}/{name}.html", timeout=60_000)
        assert page.locator("h1").count() == 1
        page.screenshot(path=SCREENSHOTS / f"docs-{name.replace('/', '-')}.png")
    assert page.refused == []
    assert page.mistakes == []
