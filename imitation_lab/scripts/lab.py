"""`imitation-lab lab`: JupyterLab on the tutorials."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from imitation_lab.scripts import _console, tutorials

__all__ = ["run"]


def run(argv: Sequence[str], program: str) -> int:
    """Start JupyterLab on the tutorials, or only copy them."""
    parser = _console.parser(
        program,
        "Open the tutorials in JupyterLab. From an installed wheel they are first copied to "
        "./imitation_lab_tutorials; a file that you have changed is never overwritten. Other arguments go to "
        "JupyterLab.",
        f"example: {program} --no-browser --port=8889",
    )
    parser.add_argument("--copy-only", action="store_true", help="copy the tutorials here and do not start JupyterLab")
    arguments, others = parser.parse_known_args(argv)
    if importlib.util.find_spec("jupyterlab") is None and not arguments.copy_only:
        raise ImportError('JupyterLab is not installed; run: pip install "imitation-lab[notebooks]"')
    where = tutorials.checkout()
    if where is None or arguments.copy_only:
        where = pathlib.Path.cwd() / "imitation_lab_tutorials"
        written, kept = tutorials.copy_to(where)
        print(f"tutorials in {where}: {len(written)} files written")
        for name in kept:
            print(f"  left as you changed it: {name}")
    if arguments.copy_only:
        return 0
    _trust(where)
    command = [sys.executable, "-m", "jupyterlab", *others]
    first = where / "00_quickstart.ipynb"
    print(f"opening {first}; end JupyterLab with Ctrl-C")
    return subprocess.call([*command, str(first)], cwd=where)


def _trust(where: pathlib.Path) -> None:
    """Sign the tutorials, as `jupyter trust` does: JupyterLab shows stored widgets of trusted notebooks only."""
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    shipped = {path.name: path.read_bytes() for path in tutorials.folder().glob("*.ipynb")}
    for path in where.glob("*.ipynb"):
        if path.read_bytes() == shipped.get(path.name):  # what the user has changed is the user's to trust
            notary.sign(nbformat.read(path, as_version=4))
