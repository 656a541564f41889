"""Policies on the Hugging Face hub, in the native format."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import BasePolicy

from imitation_lab.policies.native import save_policy
from imitation_lab.util import hub

__all__ = ["FILE", "push_policy"]

FILE = "policy.safetensors"


def push_policy(
    policy: BasePolicy, repo_id: str, *, env_name: str | None = None, algorithm: str | None = None, **options: Any
) -> str:
    """Writes a policy and a card into a model repository, in one commit.

        push_policy(trainer.policy, "me/ppo-CartPole-v1", env_name="CartPole-v1", algorithm="BC")
        load_policy("ppo-huggingface", venv, env_name="CartPole-v1", organization="me")

    Args:
        policy: an SB3 policy, see `serialize.save_policy`.
        repo_id: "organization/name"; made if it is not there. `load_policy("ppo-huggingface", venv, env_name=…,
            organization=…)` looks for "organization/ppo-<env_name>".
        env_name: id of the environment, for the card.
        algorithm: what trained it, for the card.
        **options: `results` (measured numbers by name), `license`, `card`, `private`, `revision`, `token` and `message`
            of `util.hub.push`.

    Returns:
        The commit's hash, for `load_policy("ppo-huggingface", venv, repo_id=repo_id, revision=…)`.

    Raises:
        TypeError: if the policy cannot be saved as data; as `util.hub.push` besides.
    """
    return hub.push(
        lambda path: save_policy(policy, path),
        FILE,
        repo_id,
        facts=lambda: {"trained by": algorithm, "class": type(policy).__name__, **hub.network_facts(policy)},
        usage="from imitation_lab.policies import serialize\n\n"
        f'policy = serialize.load_policy("ppo-huggingface", venv, repo_id={repo_id!r})',
        tags=["reinforcement-learning"],
        env_name=env_name,
        **options,
    )
