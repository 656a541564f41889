"""Opens the bundled experts: policies and demonstrations in the native format, with a JSON card each."""

from typing import TYPE_CHECKING

from imitation_lab.util.bundled import CARD_FILE, DATA, DEMONSTRATIONS_FILE, POLICY_FILE, card, folder, list_experts

if TYPE_CHECKING:
    import torch as th
    from stable_baselines3.common.policies import BasePolicy

    from imitation_lab.data.types import TrajectoryWithRew

__all__ = [
    "DATA", "POLICY_FILE", "DEMONSTRATIONS_FILE", "CARD_FILE", "list_experts", "card", "load_expert",
    "load_demonstrations",
]  # fmt: skip


def load_expert(name: str, device: "th.device | str" = "auto") -> "BasePolicy":
    """The trained policy of an expert, in evaluation mode; use it with `predict(obs, deterministic=True)`.

    Args:
        name: the expert's name or its environment's id.
        device: where to put it.

    Raises:
        ValueError: there is no such expert; the text lists them.
    """
    from imitation_lab.policies.native import load_policy_file

    return load_policy_file(folder(name) / POLICY_FILE, device)


def load_demonstrations(name: str, n: int | None = None) -> "list[TrajectoryWithRew]":
    """Episodes of an expert acting deterministically, with the environment's rewards.

    Args:
        name: the expert's name or its environment's id.
        n: how many, from the first; all if None.

    Raises:
        ValueError: there is no such expert, or `n` is not between 1 and the number bundled.
    """
    from imitation_lab.data import serialize

    home = folder(name)
    trajectories = serialize.load_with_rewards(home / DEMONSTRATIONS_FILE)
    if n is not None and not 1 <= n <= len(trajectories):
        raise ValueError(
            f"n must be between 1 and {len(trajectories)}, the number of demonstrations bundled for {home.name!r}, "
            f"got {n}. For more, roll out load_expert({home.name!r})."
        )
    return [trajectories[i] for i in range(len(trajectories) if n is None else n)]
