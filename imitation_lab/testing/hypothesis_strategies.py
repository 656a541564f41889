"""Hypothesis strategies for spaces and trajectories (needs the `hypothesis` package, which the `dev` extra holds).

::

    @given(trajectories_with_rew(observation_space=gym.spaces.Discrete(3)))
    def test_something(trajectory): ...
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imitation_lab.data import types

__all__ = [
    "ACTION_SPACES", "OBSERVATION_SPACES", "observation_spaces", "action_spaces", "space_samples", "infos",
    "trajectories", "trajectories_with_rew", "trajectory_lists", "gym_spaces", "info_dict_contents",
    "trajectory_length", "trajectory", "trajectories_without_reward_list", "trajectories_with_reward_list",
    "trajectories_list",
]  # fmt: skip

_BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
_BOUNDED_BOX = gym.spaces.Box(-1.0, 2.0, (2,), np.float32)
_IMAGE = gym.spaces.Box(0, 255, (4, 5, 3), np.uint8)
_DISCRETE = gym.spaces.Discrete(4)
_MULTI_DISCRETE = gym.spaces.MultiDiscrete([2, 3])
_MULTI_BINARY = gym.spaces.MultiBinary(3)
_DICT = gym.spaces.Dict({"position": _BOX, "image": _IMAGE, "door": _DISCRETE})

ACTION_SPACES: tuple[gym.Space, ...] = (_BOUNDED_BOX, _DISCRETE, _MULTI_DISCRETE, _MULTI_BINARY)
"""One action space of each kind that the library supports."""

OBSERVATION_SPACES: tuple[gym.Space, ...] = (_BOX, _IMAGE, *ACTION_SPACES, _DICT)
"""One observation space of each kind that the library supports."""


def observation_spaces() -> st.SearchStrategy[gym.Space]:
    """One of `OBSERVATION_SPACES`."""
    return st.sampled_from(OBSERVATION_SPACES)


def action_spaces() -> st.SearchStrategy[gym.Space]:
    """One of `ACTION_SPACES`."""
    return st.sampled_from(ACTION_SPACES)


@st.composite
def space_samples(draw: st.DrawFn, space: gym.Space, length: int) -> types.Observation:
    """`length` elements of `space` as one array `(length, *shape)`, or a `DictObs` for a Dict space.

    The values come from a drawn seed: they do not shrink, but they cost next to nothing.
    """
    batched = batch_space(space, length)
    batched.seed(draw(st.integers(0, 2**31 - 1)))
    return types.maybe_wrap_in_dictobs(batched.sample())


def infos(length: int) -> st.SearchStrategy[np.ndarray | None]:
    """None, or an object array `(length,)` of small dictionaries."""
    values = st.integers(-9, 9) | st.floats(-1, 1) | st.text("ab", max_size=3)
    dictionaries = st.dictionaries(st.sampled_from(["a", "b"]), values, max_size=2)
    return st.none() | st.lists(dictionaries, min_size=length, max_size=length).map(
        lambda items: types.infos_array(items, length)
    )


def trajectories(
    *,
    observation_space: gym.Space | None = None,
    action_space: gym.Space | None = None,
    min_length: int = 1,
    max_length: int = 10,
    terminal: bool | None = None,
    with_infos: bool | None = None,
) -> st.SearchStrategy[types.Trajectory]:
    """Trajectories without rewards.

    Args:
        observation_space: None draws one of `OBSERVATION_SPACES`.
        action_space: None draws one of `ACTION_SPACES`.
        min_length: fewest actions, at least 1.
        max_length: most actions.
        terminal: None draws it.
        with_infos: True for dictionaries, False for None, None for either.

    Raises:
        ValueError: not 1 ≤ min_length ≤ max_length.
    """
    if not 1 <= min_length <= max_length:
        raise ValueError(
            f"A trajectory has at least one action: expected 1 <= min_length <= max_length, got "
            f"min_length={min_length} and max_length={max_length}."
        )

    @st.composite
    def build(draw: st.DrawFn) -> types.Trajectory:
        length = draw(st.integers(min_length, max_length))
        obs_space = draw(observation_spaces()) if observation_space is None else observation_space
        act_space = draw(action_spaces()) if action_space is None else action_space
        info_strategy = infos(length)
        if with_infos is not None:
            info_strategy = info_strategy.filter(lambda i: i is not None) if with_infos else st.none()
        return types.Trajectory(
            obs=draw(space_samples(obs_space, length + 1)),
            acts=draw(space_samples(act_space, length)),  # type: ignore[arg-type]
            infos=draw(info_strategy),  # type: ignore[arg-type]
            terminal=draw(st.booleans()) if terminal is None else terminal,
        )

    return build()


def trajectories_with_rew(
    *, rewards: st.SearchStrategy[float] | None = None, **kwargs: Any
) -> st.SearchStrategy[types.TrajectoryWithRew]:
    """Trajectories with float32 rewards.

    Args:
        rewards: strategy of one reward; by default floats inside [−1e6, 1e6].
        **kwargs: passed to `trajectories`.

    Raises:
        ValueError: as `trajectories`.
    """
    reward = st.floats(-1e6, 1e6, width=32) if rewards is None else rewards

    def rewarded(trajectory: types.Trajectory) -> st.SearchStrategy[types.TrajectoryWithRew]:
        fields = types.dataclass_quick_asdict(trajectory)
        drawn = hnp.arrays(np.float32, len(trajectory), elements=reward)
        return drawn.map(lambda rews: types.TrajectoryWithRew(**fields, rews=rews))

    return trajectories(**kwargs).flatmap(rewarded)


@st.composite
def trajectory_lists(
    draw: st.DrawFn,
    *,
    with_rewards: bool = True,
    min_size: int = 1,
    max_size: int = 4,
    observation_space: gym.Space | None = None,
    action_space: gym.Space | None = None,
    **kwargs: Any,
) -> list[types.Trajectory]:
    """Lists of trajectories that share their spaces, as one environment would give.

    Args:
        draw: given by hypothesis.
        with_rewards: `TrajectoryWithRew`s rather than `Trajectory`s.
        min_size: fewest trajectories.
        max_size: most trajectories.
        observation_space: None draws one of `OBSERVATION_SPACES` for the whole list.
        action_space: None draws one of `ACTION_SPACES` for the whole list.
        **kwargs: passed to `trajectories` or `trajectories_with_rew`.
    """
    strategy = trajectories_with_rew if with_rewards else trajectories
    element = strategy(
        observation_space=draw(observation_spaces()) if observation_space is None else observation_space,
        action_space=draw(action_spaces()) if action_space is None else action_space,
        **kwargs,
    )
    return draw(st.lists(element, min_size=min_size, max_size=max_size))


# The names of `imitation`, which are strategies rather than functions that make them.
gym_spaces = observation_spaces()
info_dict_contents = st.dictionaries(st.text(max_size=3), st.integers() | st.floats(allow_nan=False) | st.text())
trajectory_length = st.integers(1, 10)
trajectory = trajectories() | trajectories_with_rew()
trajectories_without_reward_list = trajectory_lists(with_rewards=False)
trajectories_with_reward_list = trajectory_lists()
trajectories_list = trajectories_without_reward_list | trajectories_with_reward_list
