"""What a user may get wrong about adversarial training, each with its cause and the way out."""

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms.adversarial._pool import Rows, TransitionEncoder, count
from imitation_lab.algorithms.base import NotReadyError
from imitation_lab.data import types
from imitation_lab.rewards.reward_nets import RewardEnsemble, RewardNet
from imitation_lab.rewards.reward_nets.base import wrapper_chain
from imitation_lab.util import checks


def check_sizes(**sizes: int | None) -> None:
    """Raises ValueError unless each is a positive integer, or None, and the minibatch divides the batch."""
    for name, size in sizes.items():
        if size is None and name != "demo_batch_size":
            continue
        checks.integers(0 if name in ("n_disc_updates_per_round", "disc_warmup_rounds") else 1, **{name: size})
    batch, piece = sizes["demo_batch_size"], sizes["demo_minibatch_size"]
    if piece is not None and batch % piece:  # type: ignore[operator]
        raise ValueError(
            f"demo_minibatch_size={piece} does not divide demo_batch_size={batch}: the pieces of a batch have one size."
        )


def check_reward_net(net: RewardNet, venv: VecEnv, gen_algo: BaseAlgorithm) -> None:
    """Raises TypeError or ValueError unless `net` can be the discriminator's network."""
    if not isinstance(net, RewardNet):
        raise TypeError(f"reward_net must be a RewardNet, such as BasicRewardNet, got {net!r}.")
    if not list(net.parameters()):
        raise ValueError(f"reward_net ({type(net).__name__}) has no parameters: there is nothing to train.")
    if any(isinstance(part, RewardEnsemble) for part in wrapper_chain(net)):
        raise ValueError(
            "reward_net is a RewardEnsemble, which has no single output to train as a discriminator. Use one of its "
            "members."
        )
    for name in ("observation_space", "action_space"):
        own, other = getattr(net, name), getattr(venv, name)
        if own != other:
            raise ValueError(
                f"reward_net was built for the {name} {own}, but that of venv is {other}. Build it from "
                f"venv.observation_space and venv.action_space."
            )
    if net.device != gen_algo.device and net.device.type != gen_algo.device.type:
        raise ValueError(
            f"reward_net is on the device {net.device}, but gen_algo on {gen_algo.device}. Move it with "
            f"reward_net.to({str(gen_algo.device)!r}), or build gen_algo with device={str(net.device)!r}."
        )


def check_enough(n: int, batch_size: int) -> None:
    """Raises ValueError if `n` demonstrated transitions fill no batch."""
    if n < batch_size:
        raise ValueError(
            f"There are {n} demonstrated transitions, fewer than demo_batch_size={batch_size}. Give more "
            f"demonstrations, or a demo_batch_size of at most {n}."
        )


def check_has_rows(n: int, what: str, call: str) -> None:
    """Raises NotReadyError if `n` is 0."""
    if n == 0:
        raise NotReadyError(f"There are no {what} yet: call {call} first.")


def sample_rows(name: str, samples: Any, encoder: TransitionEncoder, size: int) -> Rows:
    """Samples that were given to `train_disc`, as rows.

    Raises:
        ValueError: if they are not `size` in number, or do not fit.
    """
    fields = encoder.spec.fields
    assert fields is not None
    if isinstance(samples, types.Transitions):
        samples = {field: getattr(samples, field) for field in fields}
    rows = encoder.rows(samples)
    if count(rows) != size:
        raise ValueError(f"{name} holds {count(rows)} transitions, expected demo_batch_size={size}.")
    return rows
