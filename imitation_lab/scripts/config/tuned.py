"""Tuned hyperparameters that were published for the `seals` environments, as named configurations.

`tuned.json` holds, by name, values under dotted keys. Classes are given by their names.
"""

import json
import pathlib
from typing import Any

from imitation_lab.scripts._values import Named, nested

_FILE = pathlib.Path(__file__).with_name("tuned.json")
_VERSION = 1


def tuned(*algorithms: str) -> dict[str, Named]:
    """The named configurations of some algorithms: `<algorithm>_seals_<environment>`."""
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    assert content["version"] == _VERSION
    return {
        name: Named(f"tuned for {values['environment.gym_id']}", nested(values))
        for name, values in content["configurations"].items()
        if any(part in algorithms for part in name.split("_")[:2])
    }
