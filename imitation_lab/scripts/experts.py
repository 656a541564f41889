"""`imitation-lab experts`: the bundled experts and how well they act."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the console script's parser."""
    parser = commands.add_parser(
        "experts",
        help="list the bundled experts, or show the card of one",
        description="List the bundled experts with their environments, returns and demonstrations; with a name, show "
        "how that expert was trained.",
        epilog="example: imitation-lab experts CartPole",
    )
    parser.add_argument("name", nargs="?", help="an expert's name or its environment's id")
    parser.set_defaults(run=run, passes_on=False)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one card."""
    import json

    from imitation_lab import experts
    from imitation_lab.viz.tables import text_table

    if arguments.name is not None:
        print(json.dumps(experts.card(arguments.name), indent=2))
        return 0
    rows = []
    for name in experts.list_experts():
        card = experts.card(name)
        found = card["evaluation"]
        rows.append(
            {
                "expert": name,
                "environment": card["environment"]["id"],
                "algorithm": card["algorithm"],
                "return": f"{found['return_mean']:.1f} ± {found['return_std']:.1f}",
                "demonstrations": card["demonstrations"]["episodes"],
            }
        )
    print(text_table(rows))
    print("\nin Python: imitation_lab.experts.load_expert(NAME), load_demonstrations(NAME)")
    return 0
