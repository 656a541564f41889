"""Converts trajectory files, of whatever age, to the native format.

    python -m imitation_lab.scripts.convert_trajs old.npz more.npz
    python -m imitation_lab.scripts.convert_trajs huggingface_folder --output demonstrations.safetensors

Files are read without unpickling, and are left as they are.
"""

from __future__ import annotations

import pathlib
import sys
import warnings
from collections.abc import Sequence

from imitation_lab.data import serialize
from imitation_lab.scripts import _console
from imitation_lab.util import artifacts

__all__ = ["SUFFIX", "convert_trajs", "update_traj_file_in_place", "run", "main_console"]

SUFFIX = ".safetensors"


def convert_trajs(path: str, output: str | None = None) -> pathlib.Path:
    """Converts one file of trajectories.

    Args:
        path: a file or folder that `data.serialize.load` reads.
        output: the new file; None is the old name with the suffix .safetensors.

    Returns:
        The new file.

    Raises:
        FileNotFoundError: if there is no such file.
        FileExistsError: if the new file exists already.
        ValueError: if the file holds no trajectories, is damaged, or would run code.
    """
    source = pathlib.Path(path)
    target = source.with_suffix(SUFFIX) if output is None else pathlib.Path(output)
    trajectories = serialize.load(source)
    if target.exists():
        raise FileExistsError(f"{target} exists already: give another --output, or remove it.")
    serialize.save(target, trajectories)
    return target


def update_traj_file_in_place(path_str: str) -> pathlib.Path:
    """Converts one file and gives the path of the new one beside it; what is in the native format stays.

    Raises:
        FileNotFoundError: as `convert_trajs`, whose other errors are raised too.
    """
    native = artifacts.sniff(path_str) == "native"
    return pathlib.Path(path_str) if native else convert_trajs(path_str)


def run(argv: Sequence[str], program: str = "python -m imitation_lab.scripts.convert_trajs") -> int:
    """The command line; gives the exit status."""
    description, _, example = (__doc__ or "").partition("\n\n")
    parser = _console.parser(program, description, f"examples:\n{example}")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder of trajectories")
    parser.add_argument("--output", metavar="FILE", help="the new file, for a single PATH")
    given = parser.parse_args(argv)

    if given.output is not None and len(given.paths) > 1:
        raise ValueError(f"--output names one file, but {len(given.paths)} paths are given.")
    for path in given.paths:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            print(f"{path} -> {convert_trajs(path, given.output)}")
        for warning in told:
            print(f"warning: {warning.message}", file=sys.stderr)
    return 0


def main_console() -> None:
    """Runs the command line and exits."""
    sys.exit(_console.guarded(lambda: run(sys.argv[1:]), "--debug" in sys.argv))


if __name__ == "__main__":
    main_console()
