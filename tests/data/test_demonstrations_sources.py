"""Each source gives the same demonstrations back, says what is wrong with bad ones, and trains a policy."""

import dataclasses
import types as std_types

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc
from imitation_lab.data import demonstrations as demos
from imitation_lab.data import huggingface_utils, serialize, types
from imitation_lab.util import logger

OBS = spaces.Box(-1, 1, (3,), np.float32)
ACT = spaces.Discrete(2)
SPACES = (OBS, ACT)
LENGTHS = (20, 1, 30)


def act(obs):
    return int(obs[0] > obs[1])


@pytest.fixture
def episodes(rng) -> list[types.TrajectoryWithRew]:
    """The expert's action tells whether the first number is larger than the second."""
    made = []
    for n, terminal in zip(LENGTHS, (True, True, False), strict=True):
        obs = rng.uniform(-1, 1, (n + 1, 3)).astype(np.float32)
        acts = (obs[:-1, 0] > obs[:-1, 1]).astype(np.int64)
        made.append(types.TrajectoryWithRew(obs, acts, None, terminal, rng.normal(size=n)))
    return made


@pytest.fixture
def flat(episodes) -> dict:
    return {
        "obs": np.concatenate([t.obs[:-1] for t in episodes]),
        "next_obs": np.concatenate([t.obs[1:] for t in episodes]),
        "acts": np.concatenate([t.acts for t in episodes]),
        "rews": np.concatenate([t.rews for t in episodes]),
        "terminals": np.array([t.terminal and i == len(t) - 1 for t in episodes for i in range(len(t))]),
    }


def same_bits(found, expected) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert type(a) is type(b)
        assert a.terminal is b.terminal
        for name in ("obs", "acts", "rews"):
            x, y = getattr(a, name), getattr(b, name)
            parts = zip(x.values(), y.values(), strict=True) if isinstance(x, types.DictObs) else [(x, y)]
            for left, right in parts:
                assert left.dtype == right.dtype
                assert left.shape == right.shape
                assert left.tobytes() == right.tobytes()


def train(trajectories, env=SPACES, accuracy=0.9) -> None:
    """The trajectories are valid and teach the rule."""
    bad = [f for f in demos.validate(trajectories, env).findings if f.field != "horizon"]
    assert bad == []
    trainer = bc.BC(
        observation_space=env[0] if isinstance(env, tuple) else env.observation_space,
        action_space=env[1] if isinstance(env, tuple) else env.action_space,
        rng=np.random.default_rng(0),
        demonstrations=trajectories,
        batch_size=10,
        optimizer_kwargs={"lr": 3e-3},
        custom_logger=logger.configure(format_strs=[]),
    )
    trainer.train(n_epochs=60, progress_bar=False)
    right = [trainer.policy.predict(t.obs[:-1], deterministic=True)[0] == t.acts for t in trajectories]
    assert np.concatenate(right).mean() > accuracy


# Arrays


def test_arrays_with_next_observations(flat, episodes):
    found = demos.from_arrays(**flat, env=SPACES)
    same_bits(found, episodes)
    train(found)


def test_arrays_with_lengths(flat, episodes):
    obs = np.concatenate([t.obs for t in episodes])
    found = demos.from_arrays(obs, flat["acts"], rews=flat["rews"], terminals=flat["terminals"], lengths=LENGTHS)
    same_bits(found, episodes)
    assert [t.terminal for t in demos.from_arrays(obs, flat["acts"], lengths=LENGTHS)] == [True] * 3
    assert type(demos.from_arrays(obs, flat["acts"], lengths=LENGTHS)[0]) is types.Trajectory


def test_arrays_without_last_observations(flat, episodes):
    with pytest.warns(UserWarning, match=r"1 of 3 episodes, the first is episode 1, have a single action"):
        found = demos.from_arrays(flat["obs"], flat["acts"], timeouts=flat["terminals"], drop_last=True)
    assert [len(t) for t in found] == [19, 29]  # nothing is left of the episode of length 1
    assert [t.terminal for t in found] == [False, False]
    np.testing.assert_array_equal(found[1].obs, episodes[2].obs[:-1])


def test_arrays_are_cast_to_the_spaces(flat, episodes):
    wide = {**flat, "obs": flat["obs"].astype(float), "next_obs": flat["next_obs"].astype(float)}
    wide["acts"] = flat["acts"].astype(float)[:, None]
    same_bits(demos.from_arrays(**wide, env=SPACES), episodes)


def test_arrays_of_dictionaries(flat):
    obs, following = ({"a": flat[k][:, :2], "b": flat[k][:, 2:]} for k in ("obs", "next_obs"))
    found = demos.from_arrays(obs, flat["acts"], next_obs=following, terminals=flat["terminals"])
    assert found[0].obs.shape == {"a": (21, 2), "b": (21, 1)}
    following["b"] = following["b"] + 1
    with pytest.raises(ValueError, match="Episode 0: next_obs of step 0 is not obs of step 1"):
        demos.from_arrays(obs, flat["acts"], next_obs=following, terminals=flat["terminals"])


BAD_ARRAYS = {
    "no ends": (lambda f: {"terminals": None}, "not said where episodes end: give lengths=, terminals= or timeouts="),
    "no last": (
        lambda f: {"next_obs": None},
        "observation after each episode's last action is missing: give next_obs=",
    ),
    "short": (lambda f: {"rews": f["rews"][:-1]}, "rews has length 50, expected 51, the length of acts"),
    "lengths": (lambda f: {"lengths": [20, 20]}, "lengths add up to 40, but there are 51 actions"),
    "whole": (lambda f: {"lengths": [51.0]}, "lengths is .* expected whole numbers"),
    "middle": (lambda f: {"lengths": [21, 30]}, "Episode 0 is marked as ended at step 19, but goes on to step 20: cut"),
    "gap": (
        lambda f: {k: np.delete(f[k], 25, 0) for k in f},
        "Episode 2: next_obs of step 3 is not obs of step 4: rows are missing there",
    ),
    "flags": (
        lambda f: {"terminals": f["rews"]},
        r"terminals has shape \(51,\) of float64, expected one True or False",
    ),
    "obs rows": (lambda f: {"obs": f["obs"][:-3]}, "obs has length 48 for 51 actions, expected 51"),
    "text": (lambda f: {"acts": ["left"] * 51}, "acts holds <U4, expected numbers"),
    "ragged": (lambda f: {"obs": [[1.0], [1.0, 2.0]]}, "obs is ragged: its rows differ in shape"),
    "outside": (lambda f: {"acts": f["acts"] + 1, "env": SPACES}, "episode 0: acts: found 2 at step"),
    "nan": (
        lambda f: {"obs": f["obs"] * np.nan, "next_obs": f["obs"] * np.nan, "env": SPACES},
        "obs: found nan at step",
    ),
    "empty": (lambda f: {k: f[k][:0] for k in f}, "acts is empty"),
    "nothing left": (
        lambda f: {"next_obs": None, "terminals": np.ones(len(f["acts"]), bool), "drop_last": True},
        "drop_last leaves nothing: each of the 51 episodes has a single action",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case, flat):
    change, text = BAD_ARRAYS[case]
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=text):
        demos.from_arrays(**{**flat, **change(flat)})


# Lists of episodes


def test_episodes_in_every_form(episodes):
    def flags(t):
        return [t.terminal and i == len(t) - 1 for i in range(len(t))]

    forms = {
        "trajectory": lambda t: t,
        "dictionary": dataclasses.asdict,
        "other names": lambda t: {
            "observations": t.obs.tolist(),
            "actions": t.acts.tolist(),
            "rewards": t.rews.tolist(),
            "terminations": flags(t),
            "truncations": [False] * len(t),
        },
        "object": lambda t: std_types.SimpleNamespace(
            observations=t.obs, actions=t.acts, rewards=t.rews, dones=flags(t)
        ),
        "rows": lambda t: {"obs": list(t.obs), "acts": list(t.acts), "rews": list(t.rews), "terminal": t.terminal},
    }
    for make in forms.values():
        same_bits(demos.from_episodes([make(t) for t in episodes], env=SPACES), episodes)
    pairs = demos.from_episodes([(t.obs, t.acts) for t in episodes], terminal=False)
    assert [t.terminal for t in pairs] == [False] * 3
    train(pairs)


def test_episodes_with_dictionary_observations():
    env = (spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}), ACT)
    steps = [{"a": [0.5, 0.25], "b": i} for i in range(3)]
    (found,) = demos.from_episodes([{"obs": steps, "acts": [0, 1]}], env=env)
    assert found.obs.dtype == {"a": np.float32, "b": np.int64}
    (columns,) = demos.from_episodes([{"obs": {"a": [[0.5, 0.25]] * 3, "b": [0, 1, 2]}, "acts": [0, 1]}], env=env)
    assert found == columns


@pytest.mark.parametrize(
    ("episode", "text"),
    [
        ({"obs": np.zeros((3, 3))}, r"Episode 0: it has no 'acts' or 'actions', only \['obs'\]"),
        ({"obs": [[0.0], [1.0, 2.0]], "acts": [0]}, "Episode 0: obs is ragged"),
        ({"obs": np.zeros((2, 3)), "acts": [0, 1]}, "Episode 0: This trajectory has 2 observations and 2 actions"),
        ({"obs": np.zeros((3, 3)), "acts": [0, 1], "dones": [1, 0]}, "Episode 0: it is marked as ended at step 0 of 2"),
        (
            {"obs": np.zeros((3, 3)), "acts": [0, 1], "dones": [True]},
            r"flags of the end have shape \(1,\), expected \(2,\)",
        ),
        ((1, 2, 3, 4), "Episode 0: a tuple of 4, expected"),
    ],
)
def test_bad_episodes(episode, text):
    with pytest.raises((ValueError, TypeError), match=text):
        demos.from_episodes([episode])
    with pytest.raises(ValueError, match="episodes is empty"):
        demos.from_episodes([])


# Tables


def test_frames_and_csv_there_and_back(episodes, tmp_path):
    frame = demos.to_frame(episodes)
    assert list(frame) == ["episode", "step", "obs_0", "obs_1", "obs_2", "act", "rew", "terminal"]
    assert len(frame) == sum(LENGTHS) + 3
    same_bits(demos.from_frame(frame, env=SPACES), episodes)
    frame.to_csv(tmp_path / "runs.csv", index=False)
    found = demos.from_csv(tmp_path / "runs.csv", env=SPACES)
    same_bits(found, episodes)
    train(found)


def test_vectors_of_one_stay_vectors(tmp_path):
    env = (spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)))
    made = [types.Trajectory(np.float32([[0.1], [0.2]]), np.float32([[0.3]]), None, True)]
    demos.to_frame(made).to_csv(tmp_path / "x.csv", index=False)
    assert demos.from_csv(tmp_path / "x.csv", env=env) == made
    assert demos.from_csv(tmp_path / "x.csv")[0].acts.shape == (1, 1)


def test_frames_with_columns_of_your_own(episodes, flat):
    frame = pd.DataFrame({name: flat["obs"][:, i] for i, name in enumerate("xyz")})
    for i, name in enumerate("xyz"):
        frame[f"{name}'"] = flat["next_obs"][:, i]
    frame["push"] = flat["acts"]
    frame["gain"] = flat["rews"]
    frame["end"] = flat["terminals"]
    frame["run"] = np.repeat(["b", "a", "c"], LENGTHS)
    columns = {"obs": list("xyz"), "acts": "push", "rews": "gain", "next_obs": ["x'", "y'", "z'"]}
    same_bits(demos.from_frame(frame, **columns, episode="run", terminal="end", env=SPACES), episodes)
    same_bits(demos.from_frame(frame, **columns, terminal="end", env=SPACES), episodes)
    parted = demos.from_frame(
        frame,
        **columns | {"obs": {"p": ["x", "y"], "q": "z"}, "next_obs": {"p": ["x'", "y'"], "q": "z'"}},
        timeout="end",
    )
    assert parted[0].obs.shape == {"p": (21, 2), "q": (21,)}
    with pytest.warns(UserWarning, match="1 of 3 episodes"):
        cut = demos.from_frame(frame, obs=list("xyz"), acts="push", episode="run", drop_last=True)
    assert [len(t) for t in cut] == [19, 29]


def changed(**change):
    return lambda frame: frame.assign(**change)


BAD_FRAMES = {
    "missing": (
        lambda f: f,
        {"obs": ["obs_0", "obs1"]},
        r"no column 'obs1'. Did you mean 'obs_1'\? It has \['episode'",
    ),
    "unnamed": (lambda f: f.rename(columns={"act": "push"}), {}, "none of them act_0, act_1, …: say which .* in acts="),
    "text": (changed(obs_1="fast"), {}, "Column 'obs_1' is of type (str|object), expected numbers: row 0 holds 'fast'"),
    "gaps": (
        lambda f: f.assign(obs_2=f.obs_2.where(f.index != 7)),
        {},
        "'obs_2' has 1 missing values, the first in row 7",
    ),
    "reward": (lambda f: f.assign(rew=f.rew.where(f.index != 3)), {}, "'rew' has 1 missing values, the first in row 3"),
    "flags": (changed(terminal=2.5), {}, "Column 'terminal' is of type float64, expected True and False"),
    "rows": (lambda f: f.drop(index=5), {}, r"Episode 0 goes from step 4 to 6 \(rows 4 and 5\): rows are missing"),
    "apart": (
        lambda f: pd.concat([f[30:], f[:30]], ignore_index=True),
        {},
        r"Episode 2 goes on in row 47 after rows of another: sort the table first, as by frame.sort_values\(\['ep",
    ),
    "cut": (lambda f: f.drop(index=20), {}, "Episode 0 has an action in its last row, where other episodes have only"),
    "hole": (
        lambda f: f.assign(act=f.act.where(f.index != 4)),
        {},
        "Row 4 has no action, but Episode 0 goes on after it",
    ),
    "no action": (lambda f: f.drop(index=21), {"step": "step"}, "Episode 1 has no action: leave it out"),
    "middle": (lambda f: f.assign(terminal=f.index == 4), {}, "Episode 0 is marked as ended at step 4, but goes on"),
    "end": (lambda f: f[f.act.notna()], {}, "last action is missing: name its columns in next_obs=, or append"),
    "alone": (
        lambda f: f[f.act.notna()].drop(columns=["episode", "terminal"]),
        {"step": None, "drop_last": True},
        "Nothing tells episodes apart in the columns",
    ),
    "empty": (lambda f: f[:0], {}, "The table has no rows"),
    "no names": (lambda f: f, {"obs": []}, "empty list of columns"),
    "no episode": (
        lambda f: f.assign(episode=f.episode.where(f.index.isin([0, 1, 2, 30]))),
        {"drop_last": True, "step": None},
        "Column 'episode' has 50 missing values, the first in row 3: fill them in",
    ),
    "no name": (
        lambda f: f.assign(episode=["a", None] * 27),
        {},
        "Column 'episode' has 27 missing values, the first in row 1",
    ),
    "twice": (lambda f: pd.concat([f, f[["rew"]]], axis=1), {}, "The table has 2 columns 'rew': rename all but one"),
    "reward of no action": (
        lambda f: f.assign(rew=f.rew.fillna(1.5)),
        {},
        r"Row 20 has the reward 1.5 but no action .*: shift",
    ),
}


def test_rows_of_a_table_are_numbered_not_named(episodes):
    frame = demos.to_frame(episodes).rename(columns={"rew": 7})
    same_bits(demos.from_frame(frame, rews="7", env=SPACES), episodes)


def test_a_reward_of_zero_may_stand_beside_the_last_observation(episodes):
    frame = demos.to_frame(episodes)
    same_bits(demos.from_frame(frame.assign(rew=frame.rew.fillna(0.0)), env=SPACES), episodes)


def test_columns_of_a_csv_are_not_shifted(episodes, tmp_path):
    demos.to_frame(episodes).to_csv(tmp_path / "x.csv", index=True, index_label=False)  # one name fewer than columns
    with pytest.raises(ValueError, match="x.csv' has more columns than names: give the header line"):
        demos.from_csv(tmp_path / "x.csv")


def test_rewards_are_not_dropped(episodes):
    mixed = [episodes[0], types.Trajectory(episodes[1].obs, episodes[1].acts, None, True)]
    with pytest.raises(ValueError, match="Trajectory 1 has no rewards while others do, expected all or none"):
        demos.to_frame(mixed)


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames(case, episodes):
    change, kwargs, text = BAD_FRAMES[case]
    with pytest.raises(ValueError, match=text):
        demos.from_frame(change(demos.to_frame(episodes)), **kwargs)


def test_partly_missing_actions():
    frame = pd.DataFrame({"obs": [1.0, 2, 3], "act_0": [1.0, 2, np.nan], "act_1": [1.0, np.nan, np.nan]})
    with pytest.raises(
        ValueError, match=r"Row 1 has some of its actions and lacks others \(columns \['act_0', 'act_1'\]"
    ):
        demos.from_frame(frame)


def test_bad_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*none.csv"):
        demos.from_csv(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="empty.csv' is no CSV table: No columns to parse"):
        demos.from_csv(tmp_path / "empty.csv")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"x.csv': The table has the columns \['a', 'b'\]"):
        demos.from_csv(tmp_path / "x.csv")
    with pytest.raises(TypeError, match="frame is a list, expected a pandas DataFrame"):
        demos.from_frame([1])
    with pytest.raises(ValueError, match="more than one dimension per step"):
        demos.to_frame([types.Trajectory(np.zeros((2, 2, 2)), np.zeros(1), None, True)])
    with pytest.raises(ValueError, match="no trajectories"):
        demos.to_frame([])
    with pytest.raises(ValueError, match="Trajectory 0: act holds 1152921504606846977, which float64"):
        demos.to_frame([types.Trajectory(np.zeros((2, 1)), np.array([2**60 + 1]), None, True)])
    with pytest.raises(ValueError, match="obs holds no number per step"):
        demos.to_frame([types.Trajectory(np.zeros((2, 0)), np.zeros(1), None, True)])


# Anything that acts


class Guess(gym.Env):
    """Episodes of ten steps, in which the action that the rule gives is rewarded."""

    observation_space = OBS
    action_space = ACT

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.obs = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.obs, {}

    def step(self, action):
        reward = float(action == act(self.obs))
        self.t += 1
        self.obs = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return self.obs, reward, False, self.t == 10, {}


def test_callable_in_an_environment(rng):
    found = demos.from_policy(act, Guess(), 6, rng)
    assert [len(t) for t in found] == [10] * 6
    assert all(t.rews.sum() == 10 and t.terminal for t in found)
    assert (found[0].obs.dtype, found[0].acts.dtype) == (np.float32, np.int64)
    train(found, Guess())
    again = demos.from_policy(act, Guess(), 6, np.random.default_rng(0))
    same_bits(again, found)


def test_policies_in_environments(rng):
    many = demos.from_policy(lambda obs: (obs[:, 0] > obs[:, 1]).astype(int), DummyVecEnv([Guess] * 3), 6, rng)
    assert len(many) >= 6
    assert all(t.rews.sum() == 10 for t in many)
    assert len(demos.from_policy(None, "CartPole-v1", 2, rng)) == 2
    policy = bc.BC(
        observation_space=OBS, action_space=ACT, rng=rng, custom_logger=logger.configure(format_strs=[])
    ).policy
    assert len(demos.from_policy(policy, Guess(), 2, rng, deterministic=True)) == 2
    box = demos.from_policy(lambda obs: 0.5, "Pendulum-v1", 1, rng)
    assert box[0].acts.shape == (200, 1)
    assert box[0].acts.dtype == np.float32


def test_bad_policies(rng):
    with pytest.raises(ValueError, match=r"returned an action of shape \(3,\) for one observation, expected \(\)"):
        demos.from_policy(lambda obs: obs, Guess(), 1, rng)
    with pytest.raises(TypeError, match="policy is a int, expected a callable obs -> action"):
        demos.from_policy(3, Guess(), 1, rng)
    with pytest.raises(TypeError, match="env is a int"):
        demos.from_policy(act, 3, 1, rng)
    with pytest.raises(ValueError, match="n is 0, expected at least 1"):
        demos.from_policy(act, Guess(), 0, rng)


# From one form to another


def test_every_form_goes_through_a_native_file(episodes, tmp_path):
    data_set = huggingface_utils.TrajectoryDatasetSequence(huggingface_utils.trajectories_to_dataset(episodes))
    serialize.save(tmp_path / "a", data_set)
    same_bits(serialize.load(tmp_path / "a"), episodes)
    train(serialize.load(tmp_path / "a"))
