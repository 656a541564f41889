"""Demonstrations on the Hugging Face hub, in the native format.

For data sets of the package `datasets` see `demonstrations.from_huggingface`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.data import rollout, serialize, types
from imitation_lab.data.demonstrations import validation as _episodes
from imitation_lab.util import hub

__all__ = ["FILE", "push_demonstrations", "load_demonstrations"]

FILE = "demonstrations.safetensors"


def push_demonstrations(
    trajectories: Sequence[types.Trajectory],
    repo_id: str,
    *,
    env_name: str | None = None,
    expert: str | None = None,
    results: Mapping[str, float] | None = None,
    **options: Any,
) -> str:
    """Writes demonstrations and a card into a data set repository, in one commit.

        push_demonstrations(trajectories, "me/cartpole-expert", env_name="CartPole-v1", expert="PPO, 20,000 steps")

    Args:
        trajectories: all with rewards, or all without.
        repo_id: "organization/name"; made if it is not there.
        env_name: id of the environment, for the card.
        expert: who acted, for the card.
        results: measured numbers for the card, by name; None gives the statistics of the returns, where there are
            rewards.
        **options: `license`, `card`, `private`, `revision`, `token` and `message` of `util.hub.push`.

    Returns:
        The commit's hash, for `load_demonstrations(repo_id, revision=…)`.

    Raises:
        TypeError: if an info cannot be expressed as data.
        ValueError: if the trajectories do not go together; as `util.hub.push` besides.
    """
    rewarded = [t for t in trajectories if isinstance(t, types.TrajectoryWithRew)]
    if results is None and rewarded:
        results = {name: float(value) for name, value in rollout.rollout_stats(rewarded).items()}

    def facts() -> dict[str, Any]:
        first = trajectories[0]
        lengths = [len(t) for t in trajectories]
        return {
            "episodes": len(trajectories),
            "steps": sum(lengths),
            "length of episodes": f"{min(lengths)} to {max(lengths)}",
            "observations": _shape(first.obs),
            "actions": _shape(first.acts),
            "rewards": "yes" if rewarded else "no",
            "expert": expert,
        }

    return hub.push(
        lambda path: serialize.save(path, trajectories),
        FILE,
        repo_id,
        facts=facts,
        usage=f"from imitation_lab.data import hub\n\ntrajectories = hub.load_demonstrations({repo_id!r})",
        tags=["demonstrations"],
        env_name=env_name,
        results=results,
        repo_type="dataset",
        **options,
    )


def load_demonstrations(
    repo_id: str,
    *,
    filename: str = FILE,
    revision: str | None = None,
    env: _episodes.AnyEnv | None = None,
    **options: Any,
) -> Sequence[Any]:
    """Fetches demonstrations from a data set repository and opens them, mapped from the client's cache.

    Args:
        repo_id: "organization/name".
        filename: a file of the native format.
        revision: branch, tag or commit; None is the main branch.
        env: fit to its spaces, and raise where `validate` finds something, but for a variable horizon; this reads all.
        **options: `cache_dir` and `token` of `util.hub.download`.

    Raises:
        ConnectionError: if the hub cannot be reached.
        FileNotFoundError: if there is no such repository, revision or file.
        ArtifactError: a ValueError, if the file is damaged or no native file.
    """
    path = hub.download(repo_id, filename, revision=revision, repo_type="dataset", **options)
    return _episodes.fit(serialize.load(path), env)


def _shape(value: Any) -> str:
    if isinstance(value, types.DictObs):
        return ", ".join(f"{key}: {_shape(part)}" for key, part in value.items())
    return f"{np.asarray(value).dtype} {tuple(value.shape[1:])}"
