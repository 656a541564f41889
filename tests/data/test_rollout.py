"""Rollouts against episodes worked out by hand."""

import dataclasses
import itertools

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import rollout, types
from imitation_lab.data.wrappers import RolloutInfoWrapper


def make_trajectory(n: int, rng: np.random.Generator, infos: bool = False) -> types.TrajectoryWithRew:
    return types.TrajectoryWithRew(
        rng.normal(size=(n + 1, 2)).astype(np.float32),
        rng.integers(3, size=n),
        [{"i": i} for i in range(n)] if infos else None,
        bool(rng.integers(2)),
        rng.normal(size=n).astype(np.float32),
    )


@pytest.mark.parametrize("dictionary", [False, True], ids=["array", "dict"])
@pytest.mark.parametrize("longest", [3, 200], ids=["short", "outgrows the record"])
def test_generated_episodes_are_the_environments(counting_venv, check_counting, rng, longest, dictionary):
    lengths = [[int(n) for n in rng.integers(1, longest + 1, size=400)] for _ in range(3)]
    venv = counting_venv(*lengths, dictionary=dictionary)
    trajs = rollout.generate_trajectories(None, venv, rollout.make_min_timesteps(500), rng)
    seen = [check_counting(t) for t in trajs]
    assert all(lengths[number][episode] == n for number, episode, n in seen)
    for number in range(3):  # no episode is left out
        episodes = sorted(e for n, e, _ in seen if n == number)
        assert episodes == list(range(len(episodes)))
    assert sum(map(len, trajs)) >= 500


def test_dtypes_are_kept(counting_venv, rng):
    venv = counting_venv([4])
    (traj,) = rollout.generate_trajectories(None, venv, rollout.make_min_episodes(1), rng)
    assert traj.obs.dtype == np.float32
    assert traj.acts.dtype == np.int64


def test_running_episodes_are_finished_and_no_new_ones_begun(counting_venv, check_counting, rng):
    """Stopping at the fifth episode would leave out the one long episode each time."""
    venv = counting_venv(itertools.repeat(2), [9, 9])
    trajs = rollout.generate_trajectories(None, venv, rollout.make_min_episodes(3), rng)
    assert sorted(check_counting(t) for t in trajs) == [(0, 0, 2), (0, 1, 2), (0, 2, 2), (1, 0, 9)]


def test_an_environment_that_finishes_late_may_not_start_again(counting_venv, check_counting, rng):
    venv = counting_venv([5, 5], [2, 2], [7, 7])
    trajs = rollout.generate_trajectories(None, venv, rollout.make_min_episodes(1), rng)
    assert sorted(check_counting(t) for t in trajs) == [(0, 0, 5), (1, 0, 2), (2, 0, 7)]


def test_order_is_shuffled_by_rng(counting_venv):
    def firsts(seed):
        venv = counting_venv(itertools.repeat(1))
        trajs = rollout.generate_trajectories(
            lambda obs: np.zeros(1, int), venv, rollout.make_min_episodes(20), np.random.default_rng(seed)
        )
        return [int(t.obs[0, 1]) for t in trajs]

    assert sorted(firsts(0)) == list(range(20))
    assert firsts(0) == firsts(0) != firsts(1)
    assert firsts(0) != list(range(20))


def test_stateful_policies_see_state_and_episode_starts(counting_venv, rng):
    seen = []

    def policy(obs, state, episode_start):
        seen.append((state, episode_start.tolist()))
        return np.zeros(2, int), (state or 0) + 1

    venv = counting_venv([2, 2], [3, 3])
    rollout.generate_trajectories(policy, venv, rollout.make_min_episodes(2), rng)
    assert seen[:3] == [(None, [True, True]), (1, [False, False]), (2, [True, False])]


def test_actions_that_change_dtype_are_widened(counting_venv, rng):
    acts = iter([np.array([1]), np.array([0.5]), np.array([2])])
    venv = counting_venv([3])
    (traj,) = rollout.generate_trajectories(lambda obs: next(acts), venv, rollout.make_min_episodes(1), rng)
    np.testing.assert_array_equal(traj.acts, [1, 0.5, 2])


def test_sample_until():
    trajs = [make_trajectory(n, np.random.default_rng(0)) for n in (3, 4, 5)]
    assert [rollout.make_min_timesteps(7)(trajs[:n]) for n in range(4)] == [False, False, True, True]
    assert [rollout.make_min_episodes(2)(trajs[:n]) for n in range(4)] == [False, False, True, True]
    both = rollout.make_sample_until(min_timesteps=3, min_episodes=3)
    assert [both(trajs[:n]) for n in range(4)] == [False, False, False, True]


def test_min_timesteps_counts_one_growing_list_and_others():
    rng = np.random.default_rng(0)
    until = rollout.make_min_timesteps(10)
    grown = []
    for n, expected in ((4, False), (5, False), (1, True)):
        grown.append(make_trajectory(n, rng))
        assert until(grown) is expected
    assert until(grown) is True
    assert until([make_trajectory(9, rng)]) is False
    assert until([make_trajectory(3, rng)] * 3) is False
    assert until([make_trajectory(3, rng)] * 4) is True
    assert until([]) is False


@pytest.mark.parametrize("n", [0, -1])
def test_sample_until_needs_positive_numbers(n):
    with pytest.raises(ValueError, match=f"n is {n}, expected at least 1"):
        rollout.make_min_episodes(n)
    with pytest.raises(ValueError, match=f"n is {n}, expected at least 1"):
        rollout.make_min_timesteps(n)
    with pytest.raises(ValueError, match=f"min_episodes is {n}"):
        rollout.make_sample_until(min_episodes=n)
    with pytest.raises(ValueError, match="neither min_timesteps nor min_episodes"):
        rollout.make_sample_until()


class DoublingWrapper(gym.Wrapper):
    """Changes observations and rewards above the RolloutInfoWrapper."""

    def reset(self, **kwargs):
        obs, info = self.env.reset(**kwargs)
        return 2 * obs, info

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return 2 * obs, 2 * reward, terminated, truncated, info


def test_rollout_unwraps_and_drops_infos(counting_venv, check_counting, rng, caplog):
    def make():
        return counting_venv([3] * 9, [4] * 9, wrap=lambda env: DoublingWrapper(RolloutInfoWrapper(env)))

    until = rollout.make_min_episodes(4)
    with caplog.at_level("INFO"):
        trajs = rollout.rollout(None, make(), until, rng)
    assert "'n_traj': " in caplog.text
    assert all(t.infos is None for t in trajs)
    caplog.clear()
    kept = rollout.rollout(None, make(), until, rng, exclude_infos=False, verbose=False)
    assert not caplog.records
    for traj in kept:
        check_counting(traj)
    doubled = rollout.rollout(None, make(), until, rng, unwrap=False, verbose=False)
    assert all(t.obs[-1, 2] == 2 * len(t) for t in doubled)


def test_rollout_without_info_wrapper_says_so_after_one_episode(counting_venv, rng):
    venv = counting_venv([1, 10**9])
    with pytest.raises(ValueError, match=r"no 'rollout' entry.*RolloutInfoWrapper.*post_wrappers.*unwrap=False"):
        rollout.rollout(None, venv, rollout.make_min_episodes(2), rng)


def test_unwrapping_without_infos(rng):
    with pytest.raises(ValueError, match="RolloutInfoWrapper"):
        rollout.unwrap_traj(make_trajectory(2, rng))


def test_missing_terminal_observation(counting_venv, rng):
    venv = counting_venv([2])
    step_wait = venv.step_wait

    def forgetful():
        obs, rews, dones, infos = step_wait()
        return obs, rews, dones, [{} for _ in infos]

    venv.step_wait = forgetful
    with pytest.raises(ValueError, match="Environment 0 is done but its info has no 'terminal_observation'"):
        rollout.generate_trajectories(None, venv, rollout.make_min_episodes(1), rng)


def test_tuple_observations_are_refused(counting_venv, rng):
    venv = counting_venv([2])
    venv.reset = lambda: (np.zeros((1, 2)), np.zeros(1))
    with pytest.raises(TypeError, match="contain a tuple, expected an array or a flat dict"):
        rollout.generate_trajectories(None, venv, rollout.make_min_episodes(1), rng)


def test_rollout_stats():
    rewards = [[1.0, 2.0], [3.0], [0.0, 0.0, -3.0]]
    trajs = [
        types.TrajectoryWithRew(np.zeros((len(r) + 1, 1)), np.zeros(len(r)), None, True, np.array(r)) for r in rewards
    ]
    stats = rollout.rollout_stats(trajs)
    expected = {
        "n_traj": 3, "return_min": -3, "return_mean": 1, "return_std": 8**0.5, "return_max": 3,
        "len_min": 1, "len_mean": 2, "len_std": (2 / 3) ** 0.5, "len_max": 3,
    }  # fmt: skip
    assert stats == pytest.approx(expected)
    assert all(type(v) in (int, float) for v in stats.values())
    with pytest.raises(ValueError, match="no trajectories"):
        rollout.rollout_stats([])


def test_rollout_stats_of_monitored_environments(rng):
    venv = DummyVecEnv([lambda: DoublingRewards(Monitor(gym.make("CartPole-v1"))) for _ in range(2)])
    trajs = rollout.generate_trajectories(None, venv, rollout.make_min_episodes(5), rng)
    stats = rollout.rollout_stats(trajs)
    assert stats["monitor_return_len"] == stats["n_traj"]
    for statistic in ("min", "mean", "std", "max"):
        assert stats[f"return_{statistic}"] == pytest.approx(2 * stats[f"monitor_return_{statistic}"])


class DoublingRewards(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans(), st.integers(0, 2**31))
def test_flattening_is_concatenation(lengths, infos, seed):
    rng = np.random.default_rng(seed)
    trajs = [make_trajectory(n, rng, infos) for n in lengths]
    flat = rollout.flatten_trajectories_with_rew(trajs)
    row = 0
    for traj in trajs:
        for t in range(len(traj)):
            np.testing.assert_array_equal(flat.obs[row], traj.obs[t])
            np.testing.assert_array_equal(flat.next_obs[row], traj.obs[t + 1])
            assert flat.acts[row] == traj.acts[t]
            assert flat.rews[row] == traj.rews[t]
            assert flat.dones[row] == (traj.terminal and t == len(traj) - 1)
            assert flat.infos[row] == ({"i": t} if infos else {})
            row += 1
    assert len(flat) == row
    assert flat.obs.dtype == np.float32
    assert type(rollout.flatten_trajectories(trajs)) is types.Transitions


def test_flattening_some_infos_and_dictionary_observations(rng):
    first = types.Trajectory(types.DictObs({"a": np.arange(3)}), np.zeros(2), [{"x": 1}, {"x": 2}], False)
    second = types.Trajectory(types.DictObs({"a": np.arange(10, 12)}), np.zeros(1), None, True)
    flat = rollout.flatten_trajectories(iter([first, second]))
    assert flat.obs == types.DictObs({"a": np.array([0, 1, 10])})
    assert flat.next_obs == types.DictObs({"a": np.array([1, 2, 11])})
    assert flat.infos.tolist() == [{"x": 1}, {"x": 2}, {}]
    assert flat.dones.tolist() == [False, False, True]


def test_flattening_what_does_not_fit(rng):
    traj = make_trajectory(3, rng)
    with pytest.raises(ValueError, match="no trajectories"):
        rollout.flatten_trajectories([])
    other = dataclasses.replace(traj, obs=np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"Trajectory 2 has obs of shape \(5,\) per step, expected \(2,\)"):
        rollout.flatten_trajectories([traj, traj, other])
    bare = types.Trajectory(traj.obs, traj.acts, None, True)
    with pytest.raises(ValueError, match="Trajectory 1 is a Trajectory without rewards"):
        rollout.flatten_trajectories_with_rew([traj, bare])


def test_generate_transitions(counting_venv, rng):
    def venv():
        return counting_venv(itertools.repeat(4), itertools.repeat(3))

    assert len(rollout.generate_transitions(None, venv(), 10, rng)) == 10
    whole = rollout.generate_transitions(None, venv(), 10, rng, truncate=False)
    assert len(whole) >= 10
    assert whole.dones.sum() == len(np.unique(whole.obs[:, :2], axis=0))


def test_accumulator_agrees_with_generate_trajectories(counting_venv, check_counting):
    venv = counting_venv([2, 3, 9], [4, 4])
    accumulator = rollout.TrajectoryAccumulator()
    for env, obs in enumerate(venv.reset()):
        accumulator.add_step({"obs": obs}, env)
    finished = []
    for _ in range(5):
        acts = np.array([1, 2])
        obs, rews, dones, infos = venv.step(acts)
        finished += accumulator.add_steps_and_auto_finish(acts, obs, rews, dones, infos)
    assert [check_counting(t) for t in finished] == [(0, 0, 2), (1, 0, 4), (0, 1, 3)]
    running = accumulator.finish_trajectory(1, terminal=False)
    assert (len(running), running.terminal) == (1, False)


def test_discounted_sum():
    assert rollout.discounted_sum(np.array([1.0, 2.0, 4.0]), 0.5) == 1 + 1 + 1
    assert rollout.discounted_sum(np.array([1.0, 2.0, 4.0]), 1.0) == 7
    assert rollout.discounted_sum(np.array([3.0, 2.0]), 0.0) == 3
    np.testing.assert_allclose(rollout.discounted_sum(np.array([[1.0, 10.0], [2.0, 20.0]]), 0.1), [1.2, 12.0])
    with pytest.raises(ValueError, match="gamma is 1.5"):
        rollout.discounted_sum(np.zeros(2), 1.5)
    with pytest.raises(ValueError, match=r"arr has shape \(1, 1, 1\)"):
        rollout.discounted_sum(np.zeros((1, 1, 1)), 0.5)


def test_fields_are_flattened_one_by_one(rng):
    trajectories = [make_trajectory(n, rng, infos=n == 2) for n in (3, 2)]
    whole = rollout.flatten_trajectories_with_rew(trajectories)
    found = rollout.flatten_fields(trajectories, ("acts", "rews", "infos"))
    assert list(found) == ["acts", "rews", "infos"]
    assert all(np.array_equal(found[name], getattr(whole, name)) for name in found)
    assert found["infos"].tolist() == [{}, {}, {}, {"i": 0}, {"i": 1}]


def test_infos_in_arrays_are_flattened(rng):
    trajectories = [make_trajectory(n, rng, infos=True) for n in (3, 2)]
    in_arrays = [dataclasses.replace(t, infos=np.array(t.infos)) for t in trajectories]
    assert rollout.flatten_trajectories(in_arrays) == rollout.flatten_trajectories(trajectories)
