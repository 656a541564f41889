"""Opens the bundled experts: policies and demonstrations in the native format, with a JSON card each."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imitation_lab.util import checks

if TYPE_CHECKING:
    import torch as th
    from stable_baselines3.common.policies import BasePolicy

    from imitation_lab.data.types import TrajectoryWithRew

__all__ = [
    "DATA", "POLICY_FILE", "DEMONSTRATIONS_FILE", "CARD_FILE", "list_experts", "card", "load_expert",
    "load_demonstrations",
]  # fmt: skip

DATA = Path(__file__).parent / "data"
POLICY_FILE = "policy.safetensors"
DEMONSTRATIONS_FILE = "demonstrations.safetensors"
CARD_FILE = "card.json"


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
    return json.loads((_folder(name) / CARD_FILE).read_text(encoding="utf-8"))


def load_expert(name: str, device: "th.device | str" = "auto") -> "BasePolicy":
    """The trained policy of an expert, in evaluation mode; use it with `predict(obs, deterministic=True)`.

    Args:
        name: the expert's name or its environment's id.
        device: where to put it.

    Raises:
        ValueError: there is no such expert; the text lists them.
    """
    from imitation_lab.policies.native import load_policy_file

    return load_policy_file(_folder(name) / POLICY_FILE, device)


def load_demonstrations(name: str, n: int | None = None) -> "list[TrajectoryWithRew]":
    """Episodes of an expert acting deterministically, with the environment's rewards.

    Args:
        name: the expert's name or its environment's id.
        n: how many, from the first; all if None.

    Raises:
        ValueError: there is no such expert, or `n` is not between 1 and the number bundled.
    """
    from imitation_lab.data import serialize

    folder = _folder(name)
    trajectories = serialize.load_with_rewards(folder / DEMONSTRATIONS_FILE)
    if n is not None and not 1 <= n <= len(trajectories):
        raise ValueError(
            f"n must be between 1 and {len(trajectories)}, the number of demonstrations bundled for {folder.name!r}, "
            f"got {n}. For more, roll out load_expert({folder.name!r})."
        )
    return [trajectories[i] for i in range(len(trajectories) if n is None else n)]


def _folder(name: str) -> Path:
    """Finds an expert by name or environment id."""
    names = list_experts()
    if name in names:
        return DATA / name
    by_env = {json.loads((DATA / n / CARD_FILE).read_text(encoding="utf-8"))["environment"]["id"]: n for n in names}
    if name in by_env:
        return DATA / by_env[name]
    hint = checks.did_you_mean(name, [*names, *by_env], n=1, cutoff=0.5)
    listed = ", ".join(f"{n} ({env_id})" for env_id, n in sorted(by_env.items(), key=lambda item: item[1]))
    raise ValueError(f"no expert {name!r}.{hint} Bundled are: {listed}.")
