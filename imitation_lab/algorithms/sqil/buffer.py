"""SQIL's replay buffer: half of each batch are the expert's transitions with reward 1, half the learner's with 0."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from imitation_lab.algorithms._shared.demonstrations import TensorSpec, all_tensors
from imitation_lab.algorithms.base import AnyTransitions, NotReadyError
from imitation_lab.data.spaces import check_supported
from imitation_lab.policies.replay_buffer_wrapper import OuterReplayBuffer
from imitation_lab.util import util

__all__ = ["NEEDED", "SQILReplayBuffer"]

NEEDED = ("obs", "acts", "next_obs", "dones")
_NAMES = {"obs": "observations", "acts": "actions", "next_obs": "next_observations"}


class SQILReplayBuffer(OuterReplayBuffer):
    """Keeps the learner's transitions and samples them together with the expert's.

    A batch of n holds n/2 of each, drawn with replacement (the expert gets the odd one). The rewards are 1 for the
    expert's and 0 for the learner's, whatever the environment pays, and are not normalized by a `VecNormalize`;
    observations are, those of the expert too, which are therefore given as they are in the environment.

    Episodes that were cut off by a time limit (`infos` say "TimeLimit.truncated") do not count as ended, since the
    value of their last state goes on, as in SB3; demonstrations without `infos` count as ended where `dones` say so.

    Args:
        buffer_size: the learner's transitions to keep.
        observation_space: the environment's, `Dict` spaces included.
        action_space: the environment's; `Box` actions must be bounded.
        demonstrations: trajectories, transitions, or finitely many batches of them; None to set them later.
        device: where batches go.
        n_envs: environments that the learner acts in.
        optimize_memory_usage: whether to keep the learner's next observations only once. Then `Dict` observations and
            `handle_timeout_termination` are not supported.
        handle_timeout_termination: whether episodes that were cut off count as not ended; by default True unless
            `optimize_memory_usage`.

    Raises:
        ValueError: if demonstrations do not fit the spaces, or the options each other.
        TypeError: if demonstrations are of no known kind.

    Attributes:
        expert: the expert's transitions as SB3 stores its own, `(n, *shape)` each: observations, actions (those of a
            `Box` scaled to [−1, 1]), next_observations, dones; empty before they are set.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        demonstrations: AnyTransitions | None,
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool | None = None,
    ) -> None:
        check_supported(observation_space, action_space)
        if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
            raise ValueError(f"action_space is {action_space}: SB3 scales actions to [−1, 1], which needs bounds.")
        if handle_timeout_termination is None:
            handle_timeout_termination = not optimize_memory_usage
        is_dict = isinstance(observation_space, spaces.Dict)
        if optimize_memory_usage and (is_dict or handle_timeout_termination):
            what = "Dict observations" if is_dict else "handle_timeout_termination=True"
            raise ValueError(f"optimize_memory_usage=True does not work with {what}: leave one of them out.")
        cls: Any = DictReplayBuffer if is_dict else ReplayBuffer
        options = {"optimize_memory_usage": optimize_memory_usage}
        options["handle_timeout_termination"] = handle_timeout_termination
        super().__init__(cls(buffer_size, observation_space, action_space, device, n_envs, **options))
        self.expert: dict[str, Any] = {}
        self._n_expert = 0
        self._no_reward = np.zeros(n_envs, dtype=np.float32)
        self._rewards: dict[int, th.Tensor] = {}
        if demonstrations is not None:
            self.set_demonstrations(demonstrations)

    def set_demonstrations(self, demonstrations: AnyTransitions) -> None:
        """Sets the expert's transitions; earlier ones are forgotten, the learner's stay.

        Raises:
            ValueError: if they are none, lack a field, or do not fit the spaces.
            TypeError: if they are of no known kind.
        """
        spec = TensorSpec(NEEDED, observation_space=self.observation_space, action_space=self.action_space)
        found = all_tensors(demonstrations, spec, optional=("infos",))
        inner, n = self.replay_buffer, len(found)

        def stored(tensor: th.Tensor, like: np.ndarray) -> np.ndarray:
            return tensor.numpy().astype(like.dtype, copy=True).reshape(n, *like.shape[2:])

        expert: dict[str, Any] = {}
        for name in ("obs", "next_obs"):
            like = inner.observations
            if isinstance(like, dict):
                expert[_NAMES[name]] = {key: stored(found[name][key], part) for key, part in like.items()}
            else:
                expert[_NAMES[name]] = stored(found[name], like)
        acts = stored(found["acts"], inner.actions)
        if isinstance(self.action_space, spaces.Box):
            low, high = (bound.reshape(-1) for bound in (self.action_space.low, self.action_space.high))
            acts = (2 * (acts - low) / (high - low) - 1).astype(acts.dtype)
        expert["actions"] = acts
        dones = found["dones"].numpy().astype(np.float32)
        if inner.handle_timeout_termination and "infos" in found.fields:
            for row in np.flatnonzero(dones).tolist():
                dones[row] = not (found["infos"][row] or {}).get("TimeLimit.truncated", False)
        expert["dones"] = dones.reshape(n, 1)
        self.set_expert(expert)

    @property
    def expert_buffer(self) -> ReplayBuffer:
        """The expert's transitions as a buffer of SB3's own kind, for one environment; it shares their arrays."""
        if self._n_expert == 0:
            raise NotReadyError("There are no demonstrations yet: call set_demonstrations first.")
        cls: Any = DictReplayBuffer if isinstance(self.observation_space, spaces.Dict) else ReplayBuffer
        buffer = cls(1, self.observation_space, self.action_space, self.device)
        for name, array in self.expert.items():
            rows = {k: v[:, None] for k, v in array.items()} if isinstance(array, dict) else array[:, None]
            setattr(buffer, name, rows)
        buffer.dones = buffer.dones.reshape(-1, 1)
        buffer.rewards = np.ones_like(buffer.dones)
        buffer.timeouts = np.zeros_like(buffer.dones)
        buffer.buffer_size, buffer.full = self._n_expert, True
        return buffer

    def set_expert(self, expert: dict[str, Any]) -> None:
        """Sets `expert` as it is, of the shapes and dtypes of `blank_expert`."""
        self.expert, self._n_expert = expert, len(expert["dones"])

    def blank_expert(self) -> dict[str, Any]:
        """What `expert` looks like, without a row."""

        def blank(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: blank(part) for key, part in value.items()}
            return np.zeros((0, *value.shape[2:]), value.dtype)

        inner = self.replay_buffer
        expert = {"observations": blank(inner.observations), "next_observations": blank(inner.observations)}
        return {**expert, "actions": blank(inner.actions), "dones": np.zeros((0, 1), np.float32)}

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: list[dict]
    ) -> None:
        """Adds the learner's transitions; `reward` is not kept."""
        del reward
        self.replay_buffer.add(obs, next_obs, action, self._no_reward, done, infos)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Samples the learner's transitions, then the expert's.

        Args:
            batch_size: how many in all, at least 2.
            env: normalizes the observations, where given.

        Returns:
            `ReplayBufferSamples` or `DictReplayBufferSamples`.

        Raises:
            ValueError: if `batch_size` is below 2.
            NotReadyError: a ValueError, if there are no demonstrations, or no transitions of the learner, yet.
        """
        inner, n = self.replay_buffer, self._n_expert
        if batch_size < 2:
            raise ValueError(f"batch_size is {batch_size}, expected at least 2: one transition of each kind.")
        if n == 0:
            raise NotReadyError("There are no demonstrations yet: call set_demonstrations first.")
        if not (inner.full or inner.pos):
            raise NotReadyError("The learner has no transitions yet: let it act first, with learning_starts above 0.")
        half, rest = util.split_in_half(batch_size)
        n_envs, size = inner.n_envs, inner.buffer_size
        # One number per stored transition, row by row: no gather by two indices.
        if not inner.optimize_memory_usage:
            rows = np.random.randint(0, (size if inner.full else inner.pos) * n_envs, half)  # noqa: NPY002 (SB3's own)
            following = rows
        else:
            if inner.full:  # what follows the row at `pos` is no longer there
                steps = (np.random.randint(1, size, half) + inner.pos) % size  # noqa: NPY002
            else:
                steps = np.random.randint(0, inner.pos, half)  # noqa: NPY002
            envs = np.random.randint(0, n_envs, half)  # noqa: NPY002
            rows, following = steps * n_envs + envs, (steps + 1) % size * n_envs + envs
        expert_rows = np.random.randint(0, n, rest)  # noqa: NPY002

        def batch(learner: Any, name: str, index: np.ndarray) -> Any:
            expert = self.expert[name]
            if isinstance(learner, dict):
                return {key: _gather(part, index, expert[key], expert_rows) for key, part in learner.items()}
            return _gather(learner, index, expert, expert_rows)

        next_stored = inner.observations if inner.optimize_memory_usage else inner.next_observations
        obs = batch(inner.observations, "observations", rows)
        next_obs = batch(next_stored, "next_observations", following)
        actions = batch(inner.actions, "actions", rows)
        dones = _gather(inner.dones[..., None], rows, self.expert["dones"], expert_rows)
        if inner.handle_timeout_termination:
            dones[:half, 0] *= 1 - inner.timeouts.reshape(-1)[rows]
        if env is not None:
            obs, next_obs = env.normalize_obs(obs), env.normalize_obs(next_obs)
        cls = DictReplayBufferSamples if isinstance(obs, dict) else ReplayBufferSamples
        return cls(
            observations=self._tensors(obs),
            actions=self._tensors(actions),
            next_observations=self._tensors(next_obs),
            dones=self._tensors(dones),
            rewards=self._rewards_of(half, rest),
        )

    def _tensors(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._tensors(part) for key, part in value.items()}
        return th.as_tensor(value, device=self.device)  # fresh memory already: no copy

    def _rewards_of(self, half: int, rest: int) -> th.Tensor:
        if half + rest not in self._rewards:
            rewards = th.cat([th.zeros(half, 1), th.ones(rest, 1)])
            self._rewards[half + rest] = rewards.to(self.device)
        return self._rewards[half + rest].clone()


def _gather(learner: np.ndarray, rows: np.ndarray, expert: np.ndarray, expert_rows: np.ndarray) -> np.ndarray:
    """Rows of the learner's array `(buffer_size, n_envs, *shape)`, then of the expert's, in one new array."""
    half = len(rows)
    out = np.empty((half + len(expert_rows), *expert.shape[1:]), dtype=expert.dtype)
    flat = learner.reshape(-1, *learner.shape[2:])
    # The indices are in range; "clip" spares NumPy a buffer.
    np.take(flat, rows, axis=0, out=out[:half], mode="clip")
    np.take(expert, expert_rows, axis=0, out=out[half:], mode="clip")
    return out
