"""Reward networks on the Hugging Face hub, in the native format."""

from __future__ import annotations

from typing import Any

from imitation_lab.rewards.reward_nets import RewardNet, wrapper_chain
from imitation_lab.rewards.serialize import save_reward
from imitation_lab.util import hub

__all__ = ["FILE", "push_reward", "fetch_reward"]

FILE = "reward.safetensors"


def push_reward(
    net: RewardNet, repo_id: str, *, env_name: str | None = None, algorithm: str | None = None, **options: Any
) -> str:
    """Writes a reward network, wrappers and all, and a card into a model repository, in one commit.

        push_reward(net, "me/cartpole-reward", env_name="CartPole-v1", algorithm="AIRL")
        load_reward("RewardNet_unshaped", fetch_reward("me/cartpole-reward"), venv)

    Args:
        net: the network, see `serialize.save_reward`.
        repo_id: "organization/name"; made if it is not there.
        env_name: id of the environment, for the card.
        algorithm: what learned it, for the card.
        **options: `results` (measured numbers by name), `license`, `card`, `private`, `revision`, `token` and `message`
            of `util.hub.push`.

    Returns:
        The commit's hash, for `fetch_reward(repo_id, revision=…)`.

    Raises:
        TypeError: if the network cannot be saved as data.
        ValueError: if it cannot be rebuilt from its constructor's arguments; as `util.hub.push` besides.
    """
    network = lambda: " → ".join(type(link).__name__ for link in wrapper_chain(net))
    return hub.push(
        lambda path: save_reward(net, path),
        FILE,
        repo_id,
        facts=lambda: {"learned by": algorithm, "network": network(), **hub.network_facts(net)},
        usage="from imitation_lab.rewards import hub, serialize\n\n"
        f"path = hub.fetch_reward({repo_id!r})\n"
        "net = serialize.load_net(path)  # or, as a function: serialize.load_reward(type, path, venv)",
        tags=["reward-model"],
        env_name=env_name,
        **options,
    )


def fetch_reward(repo_id: str, *, filename: str = FILE, revision: str | None = None, **options: Any) -> str:
    """Fetches a reward network's file and returns its path, for `serialize.load_net` and `serialize.load_reward`.

    Args:
        repo_id: "organization/name".
        filename: a file of `save_reward` or `torch.save`.
        revision: branch, tag or commit; None is the main branch.
        **options: `cache_dir` and `token` of `util.hub.download`.

    Raises:
        ConnectionError: if the hub cannot be reached.
        FileNotFoundError: if there is no such repository, revision or file.
    """
    return hub.download(repo_id, filename, revision=revision, **options)
