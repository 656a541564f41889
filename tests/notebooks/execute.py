"""Execute notebooks in place, without timing metadata: `python tests/notebooks/execute.py FILE…`."""

import os
import pathlib
import sys
import time

import nbclient
import nbformat

CELL_TIMEOUT = 300


def execute(path: pathlib.Path) -> None:
    """Run all cells of one notebook and store outputs and widget state; nothing is written if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    begin = time.perf_counter()
    nbclient.NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    # What differs from one machine to the next has no place in a stored notebook.
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, path)
    print(f"{path}: {time.perf_counter() - begin:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    for name in sys.argv[1:]:
        execute(pathlib.Path(name))
