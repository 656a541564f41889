"""A real JupyterLab in headless Chromium. Skipped only where Chromium is not installed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, ElementHandle, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "output" / "browser"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const session = panel?.sessionContext;
  const kernel = session?.session?.kernel;
  return !!(session?.isReady && panel.context?.isReady
    && kernel?.connectionStatus === 'connected' && kernel.status === 'idle');
}"""
ALL_RAN = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const code = panel.content.widgets.filter(cell => cell.model.type === 'code');
  return code.every(cell => cell.model.executionCount) && panel.sessionContext.session.kernel.status === 'idle';
}"""
FORGET = """() => {
  for (const cell of window.jupyterapp.shell.currentWidget.content.widgets)
    if (cell.model.type === 'code') cell.model.executionCount = null;
}"""
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
  cell => cell.model.type === 'code' ? cell.model.outputs.toJSON() : [])"""


class Lab:
    """A running JupyterLab: write a notebook, open it, run it."""

    def __init__(self, url: str, folder: Path, browser: Browser, environment: dict[str, str]) -> None:
        self.url, self.folder, self.browser, self.environment = url, folder, browser, environment

    def write(self, name: str, cells: list[str]) -> Path:
        """Write a notebook with these cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        path = self.folder / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    def execute(self, name: str) -> None:
        """Run a written notebook outside the browser and trust it; outputs and widget state are stored in it."""
        self._command("nbconvert", "--to", "notebook", "--execute", "--inplace", f"{name}.ipynb")
        self.trust(name)

    def trust(self, name: str) -> None:
        """Trust a notebook's stored outputs, as who ran it does."""
        self._command("jupyter", "trust", f"{name}.ipynb")

    def _command(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self.environment,
            check=True,
            timeout=180,
            capture_output=True,
        )

    def open(self, name: str, errors: list[str] | None = None) -> Page:
        """Open a written notebook and wait for its kernel; what the console calls an error is added to `errors`."""
        page = self.browser.new_page(viewport={"width": 1280, "height": 1100})
        if errors is not None:
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.url}/lab/tree/{name}.ipynb?reset", timeout=60_000)
        self.wait_ready(page)
        return page

    def close(self, page: Page) -> None:
        """Close a notebook and end its kernel, which would outlive the page."""
        page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        page.close()

    def wait_ready(self, page: Page) -> None:
        """Wait until the notebook on the page is connected to an idle kernel."""
        page.wait_for_function(READY, timeout=90_000)

    def run_all(self, page: Page) -> None:
        """Run menu, Run All Cells."""
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator("li.lm-Menu-item[data-command='runmenu:run-all']").click()

    def run_from(self, page: Page, cell: int, command: str = "notebook:run-all-below") -> None:
        """Choose a cell and run it and what follows, or another command of the Run menu."""
        page.evaluate(
            """([cell, command]) => {
              window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
              window.jupyterapp.commands.execute(command);
            }""",
            [cell, command],
        )

    def forget_runs(self, page: Page) -> None:
        """Take the stored execution counts away, so that `wait_all_ran` sees those of now."""
        page.evaluate(FORGET)

    def wait_all_ran(self, page: Page, timeout: float) -> list[str]:
        """Wait, at most so many milliseconds, until every code cell has run; returns what each cell printed."""
        page.wait_for_function(ALL_RAN, timeout=timeout)
        cells = page.evaluate(OUTPUTS)
        errors = [output["evalue"] for outputs in cells for output in outputs if output["output_type"] == "error"]
        assert errors == []
        return ["".join("".join(output.get("text", "")) for output in outputs) for outputs in cells]

    def screenshot(self, page: Page | ElementHandle, name: str) -> Path:
        """Keep a picture of the page, or of what is on it, for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")
        return SCREENSHOTS / f"{name}.png"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer at {url}:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "work"
    folder.mkdir()
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "MPLBACKEND", "PYTEST_"))},
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    port = _free_port()
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
        f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    log = home / "lab.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/api", server, log)
        yield Lab(url, folder, browser, environment)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
