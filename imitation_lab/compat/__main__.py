"""`python -m imitation_lab.compat SCRIPT [ARGUMENT…]`: runs a script or module in which `imitation` is this library."""

import os
import runpy
import sys


def main() -> None:
    """Runs what the command line names."""
    given = sys.argv[1:]
    if not given or given[0] in ("-h", "--help") or given == ["-m"]:
        print("usage: python -m imitation_lab.compat (SCRIPT | -m MODULE) [ARGUMENT...]")
        sys.exit(0 if given[:1] not in ([], ["-m"]) else 2)
    if given[0] == "-m":
        sys.argv = given[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(given[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = given
        sys.path.insert(0, os.path.dirname(os.path.abspath(given[0])))
        runpy.run_path(given[0], run_name="__main__")


if __name__ == "__main__":
    main()
