"""`imitation-lab experts`: the bundled experts and how well they act."""

from __future__ import annotations

import json
from collections.abc import Sequence

from imitation_lab import experts
from imitation_lab.scripts import _console
from imitation_lab.viz.tables import text_table


def run(argv: Sequence[str], program: str) -> int:
    """Print the table, or one card."""
    parser = _console.parser(
        program,
        "List the bundled experts with their environments, returns and demonstrations; with a name, show "
        "how that expert was trained.",
        f"example: {program} CartPole",
    )
    parser.add_argument("name", nargs="?", help="an expert's name or its environment's id")
    arguments = parser.parse_args(argv)
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
