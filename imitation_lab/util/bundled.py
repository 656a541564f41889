"""Where the bundled experts lie and what their cards say; `imitation_lab.experts` opens them."""

import json
from pathlib import Path
from typing import Any

from imitation_lab.util import checks

__all__ = ["DATA", "POLICY_FILE", "DEMONSTRATIONS_FILE", "CARD_FILE", "ALIKE", "list_experts", "card", "folder"]

DATA = Path(__file__).parents[1] / "experts" / "data"
POLICY_FILE = "policy.safetensors"
DEMONSTRATIONS_FILE = "demonstrations.safetensors"
CARD_FILE = "card.json"

ALIKE = {"seals/CartPole-v0": "CartPole", "seals/MountainCar-v0": "MountainCar"}
"""Environments of other packages in which an expert does as in its own; bounds of spaces differ, and what follows a
fall of the pole. Over ten episodes it earns the same in both, 500 and -100.5 on average."""


def list_experts() -> list[str]:
    """The names of the bundled experts, sorted."""
    return sorted(path.parent.name for path in DATA.glob(f"*/{CARD_FILE}"))


def card(name: str) -> dict[str, Any]:
    """The card of an expert: environment, algorithm, settings, measured returns, checksums.

    Args:
        name: the expert's name or its environment's id.

    Raises:
        ValueError: there is no such expert; the text lists them.
    """
    return json.loads((folder(name) / CARD_FILE).read_text(encoding="utf-8"))


def folder(name: str) -> Path:
    """Finds an expert's folder by its name or an environment's id.

    Raises:
        ValueError: there is no such expert; the text lists them.
    """
    names = list_experts()
    if name in names:
        return DATA / name
    by_env = {json.loads((DATA / n / CARD_FILE).read_text(encoding="utf-8"))["environment"]["id"]: n for n in names}
    if found := (by_env | ALIKE).get(name):
        return DATA / found
    hint = checks.did_you_mean(name, [*names, *by_env], n=1, cutoff=0.5)
    listed = ", ".join(f"{n} ({env_id})" for env_id, n in sorted(by_env.items(), key=lambda item: item[1]))
    raise ValueError(f"no expert {name!r}.{hint} Bundled are: {listed}.")
