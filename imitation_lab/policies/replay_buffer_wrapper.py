"""A replay buffer whose rewards are computed when a batch is sampled, so that none is ever stale."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.her import HerReplayBuffer

from imitation_lab.rewards.reward_function import RewardFn

__all__ = ["OuterReplayBuffer", "ReplayBufferRewardWrapper"]


def _of_inner(name: str, doc: str) -> Any:
    """An attribute of the buffer inside."""
    return property(
        lambda self: getattr(self.replay_buffer, name),
        lambda self, value: setattr(self.replay_buffer, name, value),
        doc=doc,
    )


class OuterReplayBuffer(ReplayBuffer):
    """A replay buffer around another, which keeps the transitions; subclasses sample in a way of their own.

    Args:
        inner: the buffer that keeps them.
    """

    def __init__(self, inner: ReplayBuffer) -> None:
        self.replay_buffer = inner
        pos, full = inner.pos, inner.full  # which BaseBuffer sets to those of an empty one
        # Not ReplayBuffer.__init__, which would allocate a second set of arrays.
        BaseBuffer.__init__(
            self, inner.buffer_size, inner.observation_space, inner.action_space, inner.device, inner.n_envs
        )
        self.pos, self.full = pos, full

    def __getattr__(self, name: str) -> Any:
        if name == "replay_buffer":  # not there yet, or while being copied
            raise AttributeError(name)
        return getattr(self.replay_buffer, name)

    pos = _of_inner("pos", "Where the next transition goes.")
    full = _of_inner("full", "Whether old transitions are being overwritten.")

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores transitions in the wrapped buffer, as `ReplayBuffer.add` does."""
        self.replay_buffer.add(*args, **kwargs)

    def reset(self) -> None:
        """Empties the buffer."""
        self.replay_buffer.reset()


class ReplayBufferRewardWrapper(OuterReplayBuffer):
    """Stores what the environment gives and relabels each sampled batch with `reward_fn`.

    Give it to an off-policy algorithm: `SAC(..., replay_buffer_class=ReplayBufferRewardWrapper,
    replay_buffer_kwargs={"replay_buffer_class": ReplayBuffer, "reward_fn": reward_net.predict_processed})`; or put it
    `around` the buffer of one that exists.

    What `reward_fn` gets:
        Observations and next observations in the shapes of the observation space, a dict of arrays for `Dict` spaces,
        normalized if the algorithm samples under `VecNormalize`. SB3 puts the channels of images first; where
        `reward_fn` is a method of a network that has them last, they are turned back. Actions in the units of the
        action space: SB3 stores `Box` actions scaled to [−1, 1], and here they are scaled back. `done` as SB3 samples
        it: True where an episode terminated; where it was truncated, False, as long as the wrapped buffer handles
        timeouts (its default), since the value of the state goes on there.

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

    Attributes:
        held: whether the trainer that set `reward_fn` still has the learner; None where no trainer set it.
        before: the buffer that was there before.
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
        own = getattr(getattr(reward_fn, "__self__", None), "observation_space", observation_space)
        buffer = replay_buffer_class(buffer_size, observation_space, action_space, **kwargs)
        self._put_around(buffer, reward_fn, own)
        self.actions_are_scaled = actions_are_scaled

    @classmethod
    def around(
        cls,
        buffer: ReplayBuffer,
        reward_fn: RewardFn,
        observation_space: spaces.Space | None = None,
        held: Callable[[], bool] | None = None,
    ) -> ReplayBufferRewardWrapper:
        """Relabels the batches of a buffer that exists, in place of another wrapper; what it holds stays.

        `done` is the environment's flag here, terminated or truncated, as in `RewardVecEnvWrapper`.

        Args:
            buffer: the buffer.
            reward_fn: the reward.
            observation_space: of what `reward_fn` gets, the environment's; by default that of the buffer.
            held: asked at each step and batch whether `reward_fn` is still in force. While it is, stored are the
                environment's own rewards, which `RewardVecEnvWrapper` tells; afterwards batches have the stored ones.

        Raises:
            TypeError: `reward_fn` cannot be called.
            ValueError: the buffer sums several steps into one reward.
        """
        inner = buffer.replay_buffer if isinstance(buffer, ReplayBufferRewardWrapper) else buffer
        _check(type(inner), inner.observation_space, reward_fn)
        self = cls.__new__(cls)
        self._put_around(inner, reward_fn, observation_space or inner.observation_space)
        self.held, self.before, self._done_of_env = held, buffer, True
        return self

    def _put_around(self, inner: ReplayBuffer, reward_fn: RewardFn, observation_space: spaces.Space) -> None:
        super().__init__(inner)
        self.reward_fn = reward_fn
        self.actions_are_scaled = True
        self.held: Callable[[], bool] | None = None
        self.before = inner
        self._done_of_env = False
        self._reward_space = observation_space
        if isinstance(inner, HerReplayBuffer):
            self.__class__ = _AroundHer

    @classmethod
    def released(cls, buffer: ReplayBuffer) -> ReplayBuffer:
        """The buffer as it was before a trainer put a wrapper around it."""
        return buffer.before if isinstance(buffer, cls) and buffer.held is not None else buffer

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: list[dict]
    ) -> None:
        """Stores transitions in the wrapped buffer, as `ReplayBuffer.add` does."""
        if self.held is not None and self.held():
            reward = np.array([info["original_env_rew"] for info in infos], dtype=np.float32)
        self.replay_buffer.add(obs, next_obs, action, reward, done, infos)

    def sample(self, *args: Any, **kwargs: Any) -> ReplayBufferSamples | DictReplayBufferSamples:  # type: ignore[override]
        """Samples a batch from the wrapped buffer and puts `reward_fn`'s rewards in place of the stored ones.

        Fields of the sample other than `rewards` pass through.

        Raises:
            ValueError: `reward_fn` returned another shape than `(batch,)`.
        """
        if self.held is not None and not self.held():
            return self.before.sample(*args, **kwargs)
        samples, dones = self._batch(*args, **kwargs)
        batch = len(samples.actions)
        rewards = np.asarray(
            self.reward_fn(
                self._observations(samples.observations),
                self._actions(samples.actions),
                self._observations(samples.next_observations),
                dones.reshape(batch).astype(bool),
            )
        )
        if rewards.shape != (batch,):
            raise ValueError(f"reward_fn returned shape {rewards.shape} for a batch of {batch}, expected ({batch},).")
        return samples._replace(
            rewards=th.as_tensor(rewards, dtype=samples.rewards.dtype, device=samples.rewards.device).unsqueeze(1)
        )

    def _batch(self, *args: Any, **kwargs: Any) -> tuple[Any, np.ndarray]:
        """A batch of the wrapped buffer, and the flags `done` for the reward."""
        inner = self.replay_buffer
        if not self._done_of_env or "dones" not in vars(inner):
            samples = inner.sample(*args, **kwargs)
            return samples, samples.dones.cpu().numpy()
        dones = inner.dones
        inner.dones = noting = dones.view(_Noting)  # SB3 does not say which rows it drew
        try:
            samples = inner.sample(*args, **kwargs)
        finally:
            inner.dones = dones
        return samples, samples.dones.cpu().numpy() if noting.index is None else dones[noting.index]

    def _get_samples(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("ReplayBufferRewardWrapper gives relabelled batches: call sample().")

    def _observations(self, observations: Any) -> Any:
        if isinstance(observations, dict):
            parts = getattr(self._reward_space, "spaces", {})
            return {key: _turned_back(value.cpu().numpy(), parts.get(key)) for key, value in observations.items()}
        array = observations.cpu().numpy().reshape(len(observations), *(self.observation_space.shape or ()))
        return _turned_back(array, self._reward_space)

    def _actions(self, actions: th.Tensor) -> np.ndarray:
        space = self.action_space
        array = actions.cpu().numpy().reshape(len(actions), *(space.shape or ()))
        if not (self.actions_are_scaled and isinstance(space, spaces.Box)):
            return array
        if space.bounded_below.all() and space.bounded_above.all():  # `is_bounded`, at a third of its cost
            return space.low + 0.5 * (array + 1) * (space.high - space.low)
        return array

    def __deepcopy__(self, memo: dict[int, Any]) -> ReplayBufferRewardWrapper:
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.held is None:
            return super().__reduce_ex__(protocol)
        return _itself, (self.before,)  # a file of transitions shall not hold the trainer


@HerReplayBuffer.register
class _AroundHer(ReplayBufferRewardWrapper):
    """One around a `HerReplayBuffer`: SB3 gives those the environments again that it does not save."""


class _Noting(np.ndarray):
    """Notes which entries are read."""

    index: Any = None

    def __getitem__(self, index: Any) -> Any:
        self.index = index
        return self.view(np.ndarray)[index]


def _turned_back(array: np.ndarray, space: spaces.Space | None) -> np.ndarray:
    """A batch of images with the channels last, if `space` has them so and the batch does not."""
    shape = getattr(space, "shape", None) or ()
    if array.shape[1:] != shape and array.shape[1:] == (*shape[-1:], *shape[:-1]):
        return np.moveaxis(array, 1, -1)
    return array


def _itself(buffer: ReplayBuffer) -> ReplayBuffer:
    return buffer


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
