"""Wrappers that keep what passes through them."""

import itertools

import numpy as np
import pytest

from imitation_lab.data import types, wrapper, wrappers
from imitation_lab.data.wrappers import BufferingWrapper, RolloutInfoWrapper


def step(venv, n: int = 1) -> None:
    for _ in range(n):
        venv.step(np.array([1, 2]))


def test_finished_and_running_trajectories(counting_venv, check_counting):
    venv = BufferingWrapper(counting_venv([2, 3, 9], [4, 9]))
    venv.reset()
    step(venv, 4)
    assert venv.n_transitions == 8
    finished, lengths = venv.pop_finished_trajectories()
    assert [check_counting(t) for t in finished] == [(0, 0, 2), (1, 0, 4)]
    assert lengths == [2, 4]
    assert venv.n_transitions == 2
    (running,), lengths = venv.pop_trajectories()
    assert lengths == []
    assert (len(running), running.terminal) == (2, False)
    np.testing.assert_array_equal(running.obs, [[0, 1, 0], [0, 1, 1], [0, 1, 2]])
    assert venv.n_transitions == 0
    step(venv)
    trajectories, lengths = venv.pop_trajectories()
    assert [(len(t), t.terminal) for t in trajectories] == [(1, True), (1, False)]
    np.testing.assert_array_equal(trajectories[0].obs, [[0, 1, 2], [0, 1, 3]])
    assert lengths == [3]  # the episode's, of which two steps were popped before


@pytest.mark.parametrize("dictionary", [False, True], ids=["array", "dict"])
def test_transitions_are_complete_over_many_pops(counting_venv, dictionary):
    venv = BufferingWrapper(counting_venv(itertools.repeat(7), itertools.repeat(5), dictionary=dictionary))
    venv.reset()
    rows = []
    for n in (1, 3, 70, 130, 2):
        step(venv, n)
        part = venv.pop_transitions()
        assert len(part) == 2 * n
        obs, next_obs = (o["where"] if dictionary else o for o in (part.obs, part.next_obs))
        np.testing.assert_array_equal(next_obs[:, 2], obs[:, 2] + 1)
        np.testing.assert_array_equal(part.dones, next_obs[:, 2] == np.where(obs[:, 0] == 0, 7, 5))
        np.testing.assert_array_equal(part.rews, 10 * obs[:, 1] + obs[:, 2])
        np.testing.assert_array_equal(part.acts, obs[:, 0] + 1)
        rows += map(tuple, obs.astype(int).tolist())
    expected = [(0, t // 7, t % 7) for t in range(206)] + [(1, t // 5, t % 5) for t in range(206)]
    assert sorted(rows) == sorted(expected)


def test_premature_reset(counting_venv):
    venv = BufferingWrapper(counting_venv([3] * 3, [3] * 3))
    venv.reset()
    venv.reset()  # nothing is waiting
    step(venv)
    with pytest.raises(RuntimeError, match=r"2 transitions not popped yet: call pop_transitions"):
        venv.reset()
    venv.pop_transitions()
    venv.reset()


def test_premature_reset_may_keep_fragments(counting_venv):
    venv = BufferingWrapper(counting_venv([3] * 3, [3] * 3), error_on_premature_reset=False)
    venv.reset()
    step(venv, 2)
    venv.reset()
    step(venv, 3)
    trajectories, lengths = venv.pop_trajectories()
    assert [(len(t), t.terminal) for t in trajectories] == [(2, False), (2, False), (3, True), (3, True)]
    assert lengths == [3, 3]


def test_misuse(counting_venv):
    venv = BufferingWrapper(counting_venv([3] * 3, [3] * 3))
    with pytest.raises(RuntimeError, match="call reset"):
        step(venv)
    venv.reset()
    with pytest.raises(RuntimeError, match="no transitions to pop"):
        venv.pop_transitions()
    assert venv.pop_trajectories() == ([], [])


@pytest.mark.parametrize("dictionary", [False, True], ids=["array", "dict"])
def test_rollout_info(counting_venv, dictionary):
    venv = counting_venv([3, 2], [3, 2], wrap=RolloutInfoWrapper, dictionary=dictionary)
    venv.reset()
    infos = [venv.step(np.array([0, 0]))[3] for _ in range(3)]
    assert all("rollout" not in info for row in infos[:2] for info in row)
    for number, info in enumerate(infos[2]):
        obs, rews = info["rollout"]["obs"], info["rollout"]["rews"]
        if dictionary:
            assert isinstance(obs, types.DictObs)
            np.testing.assert_array_equal(obs["time"], [0, 1, 2, 3])
            obs = obs["where"]
        np.testing.assert_array_equal(obs, [[number, 0, t] for t in range(4)])
        assert obs.dtype == np.float32
        np.testing.assert_array_equal(rews, [0, 1, 2])


def test_wrapped_twice(counting_venv):
    venv = counting_venv([1, 1], [1, 1], wrap=lambda env: RolloutInfoWrapper(RolloutInfoWrapper(env)))
    venv.reset()
    with pytest.raises(RuntimeError, match="use one RolloutInfoWrapper, not two"):
        step(venv)


def test_alias():
    assert wrapper.BufferingWrapper is wrappers.BufferingWrapper
    assert wrapper.RolloutInfoWrapper is wrappers.RolloutInfoWrapper
