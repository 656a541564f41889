"""A replay buffer whose rewards are computed when a batch is sampled, so that none is ever stale."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples

from imitation_lab.rewards.reward_function import RewardFn


class OuterReplayBuffer(ReplayBuffer):
    """A replay buffer around another, which keeps the transitions; subclasses sample in a way of their own.

    Args:
        inner: the buffer that keeps them.
    """

    def __init__(self, inner: ReplayBuffer) -> None:
        self.replay_buffer = inner
        # Not ReplayBuffer.__init__, which would allocate a second set of arrays.
        BaseBuffer.__init__(
            self, inner.buffer_size, inner.observation_space, inner.action_space, inner.device, inner.n_envs
        )

    def __getattr__(self, name: str) -> Any:
        if name == "replay_buffer":  # not there yet, or while being copied
            raise AttributeError(name)
        return getattr(self.replay_buffer, name)

    @property
    def pos(self) -> int:
        """Where the next transition goes."""
        return self.replay_buffer.pos

    @pos.setter
    def pos(self, pos: int) -> None:
        self.replay_buffer.pos = pos

    @property
    def full(self) -> bool:
        """Whether old transitions are being overwritten."""
        return self.replay_buffer.full

    @full.setter
    def full(self, full: bool) -> None:
        self.replay_buffer.full = full

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores transitions in the wrapped buffer, as `ReplayBuffer.add` does."""
        self.replay_buffer.add(*args, **kwargs)

    def reset(self) -> None:
        """Empties the buffer."""
        self.replay_buffer.reset()

    def truncate_last_trajectory(self) -> None:
        """Marks the last stored steps as cut off, for buffers that know of trajectories."""
        self.replay_buffer.truncate_last_trajectory()  # type: ignore[attr-defined]


class ReplayBufferRewardWrapper(OuterReplayBuffer):
    """Stores what the environment gives and relabels each sampled batch with `reward_fn`.

    Give it to an off-policy algorithm: `SAC(..., replay_buffer_class=ReplayBufferRewardWrapper,
    replay_buffer_kwargs={"replay_buffer_class": ReplayBuffer, "reward_fn": reward_net.predict_processed})`.

    What `reward_fn` gets:
        Observations and next observations in the shapes of the observation space, a dict of arrays for `Dict` spaces,
        normalized if the algorithm samples under `VecNormalize`. Actions in the units of the action space: SB3
        stores `Box` actions scaled to [−1, 1], and here they are scaled back. `done` as SB3 samples it: True where an
        episode terminated; where it was truncated, False, as long as the wrapped buffer handles timeouts (its
        default), since the value of the state goes on there.

    Args:
        buffer_size: transitions to keep.
        observation_space: the environment's.
        action_space: the environment's.
        replay_buffer_class: the buffer to wrap, `ReplayBuffer` or `DictReplayBuffer`.
        reward_fn: `(state, action, next_state, done) -> (batch,)` rewards.
        actions_are_scaled: whether stored `Box` actions lie in [−1, 1], as those of SB3's algorithms do.
        **kwargs: for `replay_buffer_class`.

    Raises:
        TypeError: `reward_fn` cannot be called, or `replay_buffer_class` is not a replay buffer.
        ValueError: `replay_buffer_class` sums several steps into one reward, or does not suit the observation space.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        *,
        replay_buffer_class: type[ReplayBuffer],
        reward_fn: RewardFn,
        actions_are_scaled: bool = True,
        **kwargs: Any,
    ) -> None:
        _check(replay_buffer_class, observation_space, reward_fn)
        super().__init__(replay_buffer_class(buffer_size, observation_space, action_space, **kwargs))
        self.reward_fn = reward_fn
        self.actions_are_scaled = actions_are_scaled

    def sample(self, *args: Any, **kwargs: Any) -> ReplayBufferSamples | DictReplayBufferSamples:  # type: ignore[override]
        """Samples a batch from the wrapped buffer and puts `reward_fn`'s rewards in place of the stored ones.

        Fields of the sample other than `rewards` pass through.

        Raises:
            ValueError: `reward_fn` returned another shape than `(batch,)`.
        """
        samples = self.replay_buffer.sample(*args, **kwargs)
        batch = len(samples.actions)
        rewards = np.asarray(
            self.reward_fn(
                self._observations(samples.observations),
                self._actions(samples.actions),
                self._observations(samples.next_observations),
                samples.dones.cpu().numpy().reshape(batch).astype(bool),
            )
        )
        if rewards.shape != (batch,):
            raise ValueError(f"reward_fn returned shape {rewards.shape} for a batch of {batch}, expected ({batch},).")
        return samples._replace(
            rewards=th.as_tensor(rewards, dtype=samples.rewards.dtype, device=samples.rewards.device).unsqueeze(1)
        )

    def _get_samples(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("ReplayBufferRewardWrapper gives relabelled batches: call sample().")

    def _observations(self, observations: Any) -> Any:
        if isinstance(observations, dict):
            return {key: value.cpu().numpy() for key, value in observations.items()}
        return observations.cpu().numpy().reshape(len(observations), *(self.observation_space.shape or ()))

    def _actions(self, actions: th.Tensor) -> np.ndarray:
        space = self.action_space
        array = actions.cpu().numpy().reshape(len(actions), *(space.shape or ()))
        if self.actions_are_scaled and isinstance(space, spaces.Box) and space.is_bounded():
            return space.low + 0.5 * (array + 1) * (space.high - space.low)
        return array


def _check(replay_buffer_class: Any, observation_space: spaces.Space, reward_fn: Any) -> None:
    if not (isinstance(replay_buffer_class, type) and issubclass(replay_buffer_class, ReplayBuffer)):
        raise TypeError(f"replay_buffer_class must be a ReplayBuffer class, got {replay_buffer_class!r}.")
    if not callable(reward_fn):
        raise TypeError(f"reward_fn must be callable as (state, action, next_state, done), got {reward_fn!r}.")
    if issubclass(replay_buffer_class, NStepReplayBuffer):
        raise ValueError(
            "NStepReplayBuffer samples sums of several steps' rewards, which cannot be relabelled one transition at a "
            "time. Use ReplayBuffer and n_steps=1."
        )
    is_dict = isinstance(observation_space, spaces.Dict)
    if is_dict != issubclass(replay_buffer_class, DictReplayBuffer):
        needed = "DictReplayBuffer" if is_dict else "ReplayBuffer"
        raise ValueError(
            f"{replay_buffer_class.__name__} does not suit the observation space {observation_space}; use {needed}."
        )
