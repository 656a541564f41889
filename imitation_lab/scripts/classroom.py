"""`imitation-lab classroom`: make a course folder, check a submission."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from imitation_lab.scripts import tutorials


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="imitation-lab classroom", description="Hand out and grade assignments.")
    top.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    new = commands.add_parser("new", help="make a course folder for nbgrader")
    new.add_argument("course", metavar="COURSE", help="the folder to make; its name becomes the course's id")
    new.add_argument("--assignments", nargs="+", metavar="ID", help="which ones (default: all)")
    check = commands.add_parser("check", help="run a submission's visible tests; exits with 1 if one fails")
    check.add_argument("files", metavar="FILE", nargs="+", help="an assignment's notebook")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 for success, 1 where a submission fails. A user's mistake raises."""
    arguments = parser().parse_args(argv)
    from imitation_lab.classroom import course

    if arguments.command == "new":
        source = tutorials.folder() / "assignments" / "source"
        made = course.new_course(arguments.course, source, arguments.assignments)
        print(f"{arguments.course}: {', '.join(made)}. README.md there lists the steps.")
        return 0
    failed = False
    for file in arguments.files:
        problems = course.check_submission(file)
        failed = failed or bool(problems)
        print(f"{file}: {f'{len(problems)} not passed' if problems else 'all visible tests pass'}")
        for problem in problems:
            print(f"  {problem}")
    return int(failed)
