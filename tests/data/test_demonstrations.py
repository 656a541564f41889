"""One finding for each way in which demonstrations can be wrong."""

import types as std_types

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import rollout, types
from imitation_lab.data.demonstrations import Finding, validate

OBS = spaces.Box(np.float32([-1, -np.inf]), np.float32([1, np.inf]))
ACT = spaces.Box(-2, 2, (1,), np.float32)


def episode(**change) -> dict:
    good = {
        "obs": np.zeros((4, 2), np.float32),
        "acts": np.zeros((3, 1), np.float32),
        "rews": np.zeros(3, np.float32),
        "infos": [{}, {}, {}],
        "terminal": True,
    }
    return {k: v for k, v in (good | change).items() if v is not ...}


def with_value(shape, where, value) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    array[where] = value
    return array


def test_good_demonstrations_in_every_form():
    traj = types.TrajectoryWithRew(**episode())
    report = validate([traj, episode(), std_types.SimpleNamespace(**episode(infos=None, rews=...))], (OBS, ACT))
    assert report.ok
    assert str(report) == "3 episodes, nothing to mend."
    report.raise_if_bad()


BAD = {
    "too few observations": (
        {"obs": np.zeros((3, 2))},
        "obs: found 3 observations for 3 actions, expected 4, one more .*append",
    ),
    "too many observations": (
        {"obs": np.zeros((6, 2))},
        "obs: found 6 observations for 3 actions",
    ),
    "no actions": (
        {"acts": np.zeros((0, 1)), "obs": np.zeros((1, 2)), "rews": np.zeros(0), "infos": None},
        "acts: found no actions",
    ),
    "rewards": (
        {"rews": np.zeros(4)},
        "rews: found 4 rewards for 3 actions, expected 3",
    ),
    "infos": (
        {"infos": [{}]},
        "infos: found 1 infos for 3 actions",
    ),
    "obs missing": (
        {"obs": ...},
        "obs: found none, expected an array of Box",
    ),
    "acts missing": (
        {"acts": ...},
        "acts: found none",
    ),
    "obs shape": (
        {"obs": np.zeros((4, 3))},
        r"obs: found shape \(4, 3\), expected \(T \+ 1, 2\) for Box",
    ),
    "acts shape": (
        {"acts": np.zeros(3)},
        r"acts: found shape \(3,\), expected \(T, 1\)",
    ),
    "ragged": (
        {"obs": [[0, 0], [0], [0, 0], [0, 0]]},
        "obs: found an array of object",
    ),
    "text": (
        {"acts": np.full((3, 1), "left")},
        "acts: found an array of <U4",
    ),
    "dtype": (
        {"obs": np.zeros((4, 2), complex)},
        "obs: found an array of complex128",
    ),
    "NaN": (
        {"obs": with_value((4, 2), (2, 1), np.nan)},
        r"obs: found nan at step 2, index \[1\], expected finite",
    ),
    "infinity": (
        {"obs": with_value((4, 2), (3, 1), np.inf)},
        r"obs: found inf at step 3",
    ),
    "obs bounds": (
        {"obs": with_value((4, 2), (1, 0), 1.5)},
        r"obs: found 1.5 at step 1, index \[0\] \(1 such values\), expected values from -1.0 to 1.0;",
    ),
    "act bounds": (
        {"acts": with_value((3, 1), (1, 0), -3)},
        "acts: found -3.0 at step 1.*from -2.0 to 2.0; to mend it, clip the actions",
    ),
    "rews shape": (
        {"rews": np.zeros((3, 1))},
        r"rews: found shape \(3, 1\) of float64",
    ),
    "rews dtype": (
        {"rews": np.zeros(3, int)},
        "rews: found .* of int64, expected shape .* of floats",
    ),
    "rews NaN": (
        {"rews": np.array([0, np.nan, 0])},
        "rews: found nan at step 1",
    ),
    "terminal missing": (
        {"terminal": ...},
        "terminal: found none, expected True or False",
    ),
    "terminal array": (
        {"terminal": np.array([False, True])},
        r"terminal: found array.*\(ndarray\)",
    ),
    "two in one": (
        {"infos": [{}, {"terminal_observation": 0}, {}]},
        "terminal: found an end of episode in the info of step 1, expected none before step 2; to mend it, split",
    ),
    "terminal wrong": (
        {"terminal": False, "infos": [{}, {}, {"terminal_observation": 0}]},
        "terminal: found False, but the last info says .* set terminal=True",
    ),
    "dict": (
        {"obs": {"a": np.zeros((4, 2))}},
        r"obs: found a dict with the keys \['a'\], expected an array of Box",
    ),
}


@pytest.mark.parametrize(("change", "text"), BAD.values(), ids=BAD)
def test_one_finding_in_one_line(change, text):
    report = validate([episode(), episode(**change)], (OBS, ACT))
    (finding,) = report.findings
    assert not report.ok
    assert "\n" not in str(finding)
    with pytest.raises(ValueError, match=f"1 finding in 2 episodes:\n- episode 1: {text}"):
        report.raise_if_bad()


@pytest.mark.parametrize(
    ("space", "acts", "text"),
    [
        (spaces.Discrete(2), np.array([0, 2, 1]), "2 at step 1 .*values from 0 to 1"),
        (spaces.Discrete(2, start=1), np.array([0, 2, 1]), "0 at step 0 .*values from 1 to 2"),
        (spaces.Discrete(2), np.array([0.0, 1.0, 1.0]), r"dtype float64, expected int64; .*astype\(np.int64\)"),
        (spaces.MultiDiscrete([2, 3]), np.array([[0, 0], [1, 2], [0, 3]]), r"3 at step 2, index \[1\] .*from 0 to 2"),
        (spaces.MultiBinary(2), np.array([[0, 0], [1, 2], [0, 1]]), r"2 at step 1, index \[1\]"),
        (spaces.Box(0, 255, (1,), np.uint8), np.zeros((3, 1), np.float32), "dtype float32, expected uint8"),
    ],
    ids=str,
)
def test_other_spaces(space, acts, text):
    good = np.stack([space.sample() for _ in range(3)])
    assert validate([episode(acts=good)], (OBS, space)).ok
    (finding,) = validate([episode(acts=acts)], (OBS, space)).findings
    with pytest.raises(ValueError, match=f"acts: found {text}"):
        validate([episode(acts=acts)], (OBS, space)).raise_if_bad()
    assert finding.field == "acts"


def test_dictionary_observations():
    space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float32)})
    good = {"a": np.zeros(4, int), "b": np.zeros((4, 2), np.float32)}
    assert validate([episode(obs=good), episode(obs=types.DictObs(good))], (space, ACT)).ok
    cases = [
        (good | {"a": np.full(4, 3)}, "obs/a: found 3 at step 0"),
        (good | {"b": np.zeros((3, 2))}, "obs/b: found 3 observations"),
        ({"a": good["a"]}, r"obs: found keys \['a'\], expected \['a', 'b'\]"),
        (np.zeros((4, 3)), "obs: found a ndarray, expected a DictObs"),
        ([{"a": 0, "b": np.zeros(2)}] * 4, "obs: found a list of dicts.*from_obs_list"),
    ]
    for obs, text in cases:
        report = validate([episode(obs=obs)], (space, ACT))
        assert len(report.findings) == 1
        with pytest.raises(ValueError, match=text):
            report.raise_if_bad()


def test_no_episodes():
    with pytest.raises(ValueError, match="demonstrations: demonstrations: found no episodes, expected at least one"):
        validate([], (OBS, ACT)).raise_if_bad()


def short(n: int, **change) -> dict:
    return episode(obs=np.zeros((n + 1, 2)), acts=np.zeros((n, 1)), rews=np.zeros(n), infos=None, **change)


def test_horizon():
    (finding,) = validate([short(3), short(5), short(4)], (OBS, ACT)).findings
    assert finding.episode is None
    assert finding.field == "horizon"
    assert finding.found == "episodes of 3 (episode 0) to 5 steps (episode 1)"
    assert "allow_variable_horizon=True" in str(finding)
    assert validate([short(3), short(5, terminal=False)], (OBS, ACT)).ok  # a fragment says nothing of the horizon


def test_time_limit_of_the_environment():
    env = gym.make("Pendulum-v1")
    obs, acts = np.zeros((202, 3), np.float32), np.zeros((201, 1), np.float32)
    for where in (env, DummyVecEnv([lambda: gym.make("Pendulum-v1")])):
        (finding,) = validate([episode(obs=obs, acts=acts, rews=..., infos=None)], where).findings
        assert str(finding).startswith("episode 0: horizon: found 201 steps, expected at most 200")


def test_real_rollouts_have_nothing_to_mend(rng):
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1") for _ in range(2)])
    trajs = rollout.generate_trajectories(None, venv, rollout.make_min_episodes(4), rng)
    assert str(validate(trajs, venv)) == "4 episodes, nothing to mend."


def test_long_reports_are_cut():
    report = validate([episode(terminal=None)] * 30, (OBS, ACT))
    assert len(report.findings) == 30
    assert len(str(report).splitlines()) == 22
    assert str(report).endswith("and 10 more, in .findings")


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"env is a int, expected an environment.*\(observation_space, action_space\)"):
        validate([], 3)
    transitions = types.TransitionsMinimal(np.zeros((1, 2)), np.zeros((1, 1)), None)
    with pytest.raises(TypeError, match="validate them before flatten_trajectories"):
        validate(transitions, (OBS, ACT))


def test_finding_reads_as_a_sentence():
    finding = Finding(3, "acts", "2", "0 or 1", "count from 0")
    assert str(finding) == "episode 3: acts: found 2, expected 0 or 1; to mend it, count from 0."
