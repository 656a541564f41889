"""`imitation-lab classroom`: make a course folder, check a submission."""

from __future__ import annotations

from collections.abc import Sequence

from imitation_lab.scripts import _console, tutorials

__all__ = ["run"]

try:
    from imitation_lab.classroom import course
except ImportError as error:
    raise ImportError(
        f"the classroom is not installed ({error}); run: pip install 'imitation-lab[classroom]'"
    ) from error


def run(argv: Sequence[str], program: str) -> int:
    """The command line; 0 for success, 1 where a submission fails. A user's mistake raises."""
    top = _console.parser(program, "Hand out and grade assignments.", f"example: {program} new spring")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    new = commands.add_parser("new", help="make a course folder for nbgrader")
    new.add_argument("course", metavar="COURSE", help="the folder to make; its name becomes the course's id")
    new.add_argument("--assignments", nargs="+", metavar="ID", help="which ones (default: all)")
    check = commands.add_parser("check", help="run a submission's visible tests; exits with 1 if one fails")
    check.add_argument("files", metavar="FILE", nargs="+", help="an assignment's notebook")
    arguments = top.parse_args(argv)
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
