"""`imitation-lab quickstart`: execute the quickstart notebook and keep what it made."""

from __future__ import annotations

import base64
import importlib.util
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from imitation_lab.scripts import _console, tutorials
from imitation_lab.util.paths import atomic_path

__all__ = ["CELL_TIMEOUT", "run"]

CELL_TIMEOUT = 300
"""Seconds that one cell may take: generous, but finite (a kernel that hangs must not hang the command)."""


def run(argv: Sequence[str], program: str) -> int:
    """Execute the notebook, print its results, and say how to go on."""
    parser = _console.parser(
        program,
        "Execute the quickstart notebook on the bundled demonstrations, print its table (random, learner, "
        "expert), and write the executed notebook, an HTML page and the figures.",
        f"example: {program} --output output/quickstart",
    )
    parser.add_argument("--output", default="output/quickstart", help="folder for the results (default: %(default)s)")
    arguments = parser.parse_args(argv)
    for module in ("nbclient", "nbconvert", "ipykernel", "ipywidgets"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f'{module} is not installed; run: pip install "imitation-lab[notebooks]"')
    output = pathlib.Path(arguments.output).resolve()
    source, shown = tutorials.folder() / "00_quickstart.ipynb", os.path.relpath(output)
    start = time.perf_counter()
    print("imitation_lab quickstart: behavioral cloning of the bundled CartPole expert")
    notebook, failure = _execute(source, output)
    figures = _write(notebook, output)
    if failure is not None:
        raise ValueError(f"the notebook failed; see {shown}/quickstart.ipynb\n{failure}")
    print("\n" + _tagged_text(notebook, "results"))
    print(f"finished in {time.perf_counter() - start:.0f} s\n")
    print(f"  executed notebook  {shown}/quickstart.ipynb")
    print(f"  page to read       {shown}/quickstart.html")
    print(f"  figures            {shown}/figures ({figures} files)")
    print("\nnext: `imitation-lab lab` opens this notebook and the other tutorials in JupyterLab")
    return 0


def _execute(source: pathlib.Path, output: pathlib.Path) -> tuple[Any, str | None]:
    """Run all cells with a progress bar; give the notebook as far as it got, and the error if there was one."""
    import nbclient
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    output.mkdir(parents=True, exist_ok=True)
    code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    # Frozen modules make the debugger of the kernel complain on stderr; nobody debugs here.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    with tqdm(total=code_cells, unit="cell", desc="quickstart") as bar:
        client = nbclient.NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(output)}},
            on_cell_start=lambda cell, cell_index: bar.set_postfix_str(_section(notebook, cell_index)),
            on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(cell.cell_type == "code"),
        )
        try:
            client.execute()
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError) as error:
            return notebook, str(error)
        bar.set_postfix_str("")
    return notebook, None


def _section(notebook: Any, index: int) -> str:
    """Give the heading under which a cell stands."""
    text = "\n".join(cell.source for cell in notebook.cells[:index] if cell.cell_type == "markdown")
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    return headings[-1] if headings else ""


def _write(notebook: Any, output: pathlib.Path) -> int:
    """Write the executed notebook, the page and each figure; give the number of figures."""
    import nbconvert
    import nbformat

    with atomic_path(output / "quickstart.ipynb") as path:
        nbformat.write(notebook, path)
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    with atomic_path(output / "quickstart.html") as path:
        path.write_text(page, encoding="utf-8")
    results = [result for cell in notebook.cells for result in cell.get("outputs", [])]
    pictures = [png for result in results if (png := result.get("data", {}).get("image/png"))]
    for number, png in enumerate(pictures, 1):
        with atomic_path(output / "figures" / f"figure_{number:02d}.png") as path:
            path.write_bytes(base64.b64decode(png))
    return len(pictures)


def _tagged_text(notebook: Any, tag: str) -> str:
    """Give what the cells with a tag printed."""
    return "".join(
        result.text
        for cell in notebook.cells
        if tag in cell.metadata.get("tags", [])
        for result in cell.get("outputs", [])
        if result.output_type == "stream" and result.name == "stdout"
    )
