"""The console script `imitation-lab`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from imitation_lab import __version__
from imitation_lab.scripts import lab, quickstart

_DESCRIPTION = """\
Imitation learning and reward learning: the library's command line.

  imitation-lab quickstart     clone an expert from its demonstrations and see how well it went (about a minute)
  imitation-lab lab            open the tutorials in JupyterLab
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Returns:
        The exit status: 0 for success, 2 for a user's mistake, which is told in a short message on stderr.
    """
    parser = argparse.ArgumentParser(
        prog="imitation-lab", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"imitation_lab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (quickstart, lab):
        module.add_parser(commands)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and not arguments.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.rest = unknown
    try:
        return arguments.run(arguments)
    except (FileNotFoundError, ImportError, ValueError) as error:
        print(f"imitation-lab {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
