"""DAgger: schedules, collecting, rounds, learning, mistakes, interrupts."""

import dataclasses
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc, dagger
from imitation_lab.algorithms.dagger.collector import RobotActs, demonstration_files
from imitation_lab.data import rollout, serialize, types
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.util import logger, paths

HORIZON = 8


class Line(gym.Env):
    """A point on a line, pushed left or right; the reward is minus its distance from 0."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-1, 1), 0
        return self._obs(), {}

    def _obs(self):
        return np.array([self.x], np.float32)

    def step(self, action):
        self.x += 0.2 * float(np.sum(action) * 2 - 1)
        self.t += 1
        return self._obs(), -abs(self.x), False, self.t == HORIZON, {"anything": object()}


class DictLine(Line):
    observation_space = spaces.Dict({"x": Line.observation_space, "pixels": spaces.Box(0, 255, (3, 36, 36), np.uint8)})
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def _obs(self):
        return {"x": super()._obs(), "pixels": np.zeros((3, 36, 36), np.uint8)}


def expert(obs):
    """Pushes towards 0."""
    return (obs[:, 0] < 0).astype(np.int64)


@pytest.fixture
def venv():
    return DummyVecEnv([Line, Line])


@pytest.fixture
def log(tmp_path):
    return logger.configure(tmp_path / "log", [])


def make_bc(log, seed=1, env=Line, **kwargs):
    spaces_ = {"observation_space": env.observation_space, "action_space": env.action_space}
    defaults = {"device": "cpu", "batch_size": 16, "optimizer_kwargs": {"lr": 1e-2}}
    return bc.BC(rng=np.random.default_rng(seed), custom_logger=log, **{**spaces_, **defaults, **kwargs})


def make(venv, folder, log, cls=dagger.SimpleDAggerTrainer, seed=0, **kwargs):
    if cls is dagger.SimpleDAggerTrainer:
        kwargs.setdefault("expert_policy", expert)
    kwargs.setdefault("bc_trainer", make_bc(log))
    return cls(venv=venv, scratch_dir=folder, rng=np.random.default_rng(seed), **kwargs)


QUIET = {"log_rollouts_venv": None, "progress_bar": False}
ROUND = {"rollout_round_min_episodes": 1, "rollout_round_min_timesteps": 16, "progress_bar": False}


def run(trainer, n_rounds, **kwargs):
    trainer.train(16 * n_rounds, **{**ROUND, "bc_train_kwargs": QUIET, **kwargs})


def weights(trainer):
    return th.cat([w.detach().flatten() for w in trainer.policy.state_dict().values()])


def collect(collector, n_steps, act=expert):
    obs = collector.reset()
    for _ in range(n_steps):
        obs, *_ = collector.step(act(obs))


def everything(files):
    return [trajectory for path in files for trajectory in serialize.load(path)]


class TestBeta:
    def test_linear(self):
        schedule = dagger.LinearBetaSchedule(4)
        assert [schedule(i) for i in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]

    def test_exponential(self):
        schedule = dagger.ExponentialBetaSchedule(0.5)
        assert [schedule(i) for i in range(4)] == [1, 0.5, 0.25, 0.125]

    @pytest.mark.parametrize(
        ("make_it", "text"),
        [
            (lambda: dagger.LinearBetaSchedule(0), "rampdown_rounds is 0, expected at least 1"),
            (lambda: dagger.ExponentialBetaSchedule(1.5), r"decay_probability is 1.5, expected a number in \(0, 1\]"),
            (lambda: dagger.LinearBetaSchedule(3)(-1), "round_num is -1, expected at least 0"),
        ],
    )
    def test_mistakes(self, make_it, text):
        with pytest.raises(ValueError, match=text):
            make_it()


class TestCollector:
    def make(self, venv, folder, beta=0.0, robot=None):
        right = lambda obs: np.ones(len(obs), np.int64)
        return dagger.InteractiveTrajectoryCollector(venv, robot or right, beta, folder, np.random.default_rng(0))

    def test_the_learner_acts_and_the_expert_labels(self, venv, tmp_path):
        collector = self.make(venv, tmp_path)
        collect(collector, HORIZON)
        files = demonstration_files(tmp_path)
        assert [path.name for path in files] == ["demo-00000.safetensors", "demo-00001.safetensors"]
        assert (collector.n_episodes, collector.n_timesteps) == (2, 2 * HORIZON)
        for trajectory in everything(files):
            assert trajectory.terminal
            np.testing.assert_allclose(np.diff(trajectory.obs[:, 0]), 0.2, atol=1e-6)  # always right, as the learner
            np.testing.assert_array_equal(trajectory.acts, expert(trajectory.obs[:-1]))
            np.testing.assert_allclose(trajectory.rews, -np.abs(trajectory.obs[1:, 0]), atol=1e-6)

    def test_at_beta_1_the_expert_acts_alone(self, venv, tmp_path):
        def never(obs):
            raise AssertionError

        collect(self.make(venv, tmp_path, 1.0, never), HORIZON)
        for trajectory in everything(demonstration_files(tmp_path)):
            np.testing.assert_allclose(np.diff(trajectory.obs[:, 0]), 0.4 * trajectory.acts - 0.2, atol=1e-6)

    def test_in_between_each_acts_as_often_as_beta_says(self, venv, tmp_path):
        left = lambda obs: np.zeros(len(obs), np.int64)
        collector = self.make(venv, tmp_path, 0.3, left)
        collect(collector, 100 * HORIZON, act=lambda obs: np.ones(len(obs), np.int64))
        moves = np.concatenate([np.diff(t.obs[:, 0]) for t in everything(demonstration_files(tmp_path))])
        assert np.mean(moves > 0) == pytest.approx(0.3, abs=0.04)  # 1600 draws: 3.5 standard errors

    def test_seed_repeats_what_happens(self, venv, tmp_path):
        collector = self.make(venv, tmp_path, 0.5)
        seen = []
        for _ in range(2):
            assert collector.seed(3) == [3, 4]
            collect(collector, HORIZON)
            seen.append(collector._last_obs)
        np.testing.assert_array_equal(*seen)

    def test_running_episodes_can_be_saved_as_fragments(self, venv, tmp_path):
        collector = self.make(venv, tmp_path)
        assert collector.save_running() == 0
        collect(collector, 3)
        assert collector.save_running() == 6
        assert collector.save_running() == 0
        fragments = everything(demonstration_files(tmp_path))
        assert [(len(t), t.terminal) for t in fragments] == [(3, False)] * 2
        for env, fragment in enumerate(fragments):
            np.testing.assert_array_equal(fragment.obs[-1], collector._last_obs[env])

    def test_an_interrupt_while_saving_leaves_no_part_of_a_file(self, venv, tmp_path, monkeypatch):
        collector = self.make(venv, tmp_path)
        collect(collector, HORIZON)
        kept = demonstration_files(tmp_path)

        def interrupted(*args):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(paths.os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                collect(collector, HORIZON)
        assert sorted(tmp_path.iterdir()) == kept
        collect(collector, HORIZON)
        assert len(everything(demonstration_files(tmp_path))) == 4

    @pytest.mark.parametrize(
        ("acts", "text"),
        [
            (np.array([0, 2]), "the expert's actions: 1 of 2 values are outside of Discrete"),
            (np.array([0.5, 0]), "no whole number"),
            (np.array([[0], [1]]), r"has shape \(2, 1\), expected \(n\)"),
            (np.array([0]), "Got 1 actions of the expert, expected 2"),
        ],
    )
    def test_bad_labels_never_reach_the_disk(self, venv, tmp_path, acts, text):
        collector = self.make(venv, tmp_path)
        collector.reset()
        with pytest.raises(ValueError, match=text):
            collector.step(acts)

    def test_mistakes(self, venv, tmp_path):
        with pytest.raises(ValueError, match="stepped before reset"):
            self.make(venv, tmp_path).step(np.array([0, 0]))
        with pytest.raises(ValueError, match=r"beta is 1.5, expected a probability in \[0, 1\]"):
            self.make(venv, tmp_path, 1.5)


def test_robot_actions_draw_from_a_stream_of_their_own():
    venv = DummyVecEnv([Line] * 32)  # 32 coins of two sides: two draws are hardly ever equal
    policy = ActorCriticPolicy(Line.observation_space, Line.action_space, lambda _: 1e-3)
    obs = np.zeros((32, 1), np.float32)
    before = th.get_rng_state()
    act, again = (RobotActs(policy, venv, np.random.default_rng(0)) for _ in range(2))
    first, second = act(obs), act(obs)
    assert not np.array_equal(first, second)  # the stream goes on
    th.manual_seed(99)
    np.testing.assert_array_equal([again(obs), again(obs)], [first, second])
    th.manual_seed(99)
    untouched = th.get_rng_state()
    act(obs)
    assert th.equal(th.get_rng_state(), untouched)
    th.set_rng_state(before)


class TestRounds:
    def test_by_hand(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log, dagger.DAggerTrainer, beta_schedule=dagger.LinearBetaSchedule(2))
        assert trainer.batch_size == 16
        assert trainer.logger is log
        with pytest.raises(dagger.NeedsDemosException, match=r"(?s)Round 0 has no demonstrations.*save_running.*again"):
            trainer.extend_and_update(QUIET)
        betas = []
        for i in range(3):
            collector = trainer.create_trajectory_collector()
            betas.append(collector.beta)
            collect(collector, HORIZON)
            assert trainer.extend_and_update(QUIET) == trainer.round_num == i + 1
            assert trainer.n_labels == 2 * HORIZON * (i + 1)
        assert betas == [1, 0.5, 0]
        with pytest.raises(dagger.NeedsDemosException, match="Round 3"):
            trainer.extend_and_update(QUIET)

    def test_each_file_is_read_once_and_all_are_trained_on(self, venv, tmp_path, log, monkeypatch):
        trainer = make(venv, tmp_path / "run", log)
        read = []
        load = serialize.load
        monkeypatch.setattr(serialize, "load", lambda path: read.append(path) or load(path))
        run(trainer, 5)
        assert len(read) == len(set(read)) == 10
        demos = rollout.flatten_trajectories([t for path in read for t in load(path)])
        assert len(demos) == 5 * 16
        data = trainer.bc_trainer._data
        np.testing.assert_array_equal(data["obs"], demos.obs)
        np.testing.assert_array_equal(data["acts"], demos.acts)

    def test_fewer_labels_than_a_batch(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log, dagger.DAggerTrainer, bc_trainer=make_bc(log, batch_size=32))
        collector = trainer.create_trajectory_collector()
        collect(collector, HORIZON)
        with pytest.raises(ValueError, match="There are 16 transitions, fewer than one batch of 32"):
            trainer.extend_and_update(QUIET)
        assert trainer.round_num == 0
        collect(collector, HORIZON)
        assert trainer.extend_and_update(QUIET) == 1
        assert trainer.n_labels == 32

    def test_demonstrations_from_elsewhere(self, venv, tmp_path, log):
        demos = rollout.generate_trajectories(expert, venv, rollout.make_min_episodes(2), np.random.default_rng(0))
        trainer = make(venv, tmp_path / "run", log, expert_trajs=demos)
        assert trainer.extend_and_update(QUIET) == 1
        assert trainer.n_labels == 16
        with pytest.raises(ValueError, match="Got no trajectories"):
            trainer.add_demonstrations([])
        wrong = dataclasses.replace(demos[0], acts=np.full(HORIZON, 7))
        with pytest.raises(ValueError, match="outside of Discrete"):
            trainer.add_demonstrations([wrong])
        assert not trainer.demos_dir().exists()

    def test_bc_logs_rollouts_unless_told_otherwise(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log)
        seen = []
        train = trainer.bc_trainer.train
        trainer.bc_trainer.train = lambda **kwargs: seen.append(kwargs) or train(**{**kwargs, **QUIET})
        run(trainer, 1, bc_train_kwargs=None)
        run(trainer, 1, bc_train_kwargs={"n_batches": 2})
        assert seen[0] == {"log_rollouts_venv": venv, "n_epochs": 4, "progress_bar": False}
        assert seen[1] == {"log_rollouts_venv": venv, "n_batches": 2, "progress_bar": False}

    def test_what_is_logged(self, venv, tmp_path):
        log = logger.configure(tmp_path / "log", ["csv"])
        run(make(venv, tmp_path / "run", log), 3)
        log.close()
        header, *rows = (tmp_path / "log" / "progress.csv").read_text().splitlines()
        columns = header.split(",")
        values = [[row.split(",")[columns.index(f"dagger/{name}")] for row in rows] for name in (
            "total_timesteps", "round_num", "round_episode_count", "round_timestep_count")]  # fmt: skip
        assert values == [["16", "32", "48"], ["0", "1", "2"], ["2"] * 3, ["16"] * 3]
        assert "bc/loss" in columns


class TestLearning:
    def returns(self, policy, venv):
        venv.seed(1)
        until = rollout.make_min_episodes(40)
        rng = np.random.default_rng(0)
        kwargs = {"deterministic_policy": True} if hasattr(policy, "predict") else {}
        episodes = rollout.generate_trajectories(policy, venv, until, rng, **kwargs)
        return np.mean([t.rews.sum() for t in episodes])

    def test_the_learner_beats_random_and_comes_near_the_expert(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log, beta_schedule=dagger.LinearBetaSchedule(3))
        run(trainer, 12)
        random = self.returns(RandomPolicy(venv.observation_space, venv.action_space), venv)
        best, learned = self.returns(expert, venv), self.returns(trainer.policy, venv)
        assert random < best - 1
        assert learned > best - 0.1

    @pytest.mark.parametrize("beta_schedule", [dagger.LinearBetaSchedule(2), lambda round_num: 0.5])
    def test_same_seeds_are_bit_equal(self, beta_schedule, tmp_path, log):
        ends = []
        for i in range(2):
            th.manual_seed(i)  # the global state plays no part
            trainer = make(DummyVecEnv([Line, Line]), tmp_path / str(i), log, beta_schedule=beta_schedule)
            before = th.get_rng_state()
            run(trainer, 4)
            assert th.equal(before, th.get_rng_state())
            ends.append(weights(trainer))
        assert th.equal(*ends)

    def test_dict_observations_and_continuous_actions(self, tmp_path, log):
        venv = DummyVecEnv([DictLine, DictLine])
        act = lambda obs: np.repeat(np.clip(-obs["x"], -1, 1), 2, 1)
        trainer = make(venv, tmp_path / "run", log, expert_policy=act, bc_trainer=make_bc(log, env=DictLine))
        run(trainer, 3)
        assert trainer.n_labels == 48
        demo = everything(demonstration_files(trainer.demos_dir(0)))[0]
        assert isinstance(demo.obs, types.DictObs)
        assert demo.acts.shape == (HORIZON, 2)

    @pytest.mark.skipif(not th.cuda.is_available(), reason="needs CUDA")
    def test_on_a_gpu(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log, bc_trainer=make_bc(log, device="cuda"))
        run(trainer, 4)
        assert trainer.bc_trainer._data["obs"].is_cuda
        trainer.save_trainer()
        resumed = dagger.reconstruct_trainer(tmp_path / "run", venv, log, expert_policy=expert)
        assert resumed.policy.device.type == "cuda"
        run(resumed, 1)


class TestStopping:
    def test_an_interrupt_while_collecting_keeps_the_labels(self, venv, tmp_path, log):
        calls = []

        def tired(obs):
            calls.append(1)
            if len(calls) == 12:
                raise KeyboardInterrupt
            return expert(obs)

        trainer = make(venv, tmp_path / "run", log, expert_policy=tired)
        run(trainer, 2)
        assert (trainer.round_num, trainer.n_labels) == (1, 16)
        assert [len(t) for t in everything(demonstration_files(trainer.demos_dir()))] == [3, 3]
        run(trainer, 1)
        assert (trainer.round_num, trainer.n_labels) == (2, 38)

    def test_an_interrupt_of_the_training_ends_it_all(self, venv, tmp_path, log):
        def interrupt():
            raise KeyboardInterrupt

        trainer = make(venv, tmp_path / "run", log)
        run(trainer, 5, bc_train_kwargs={**QUIET, "on_batch_end": interrupt})
        assert trainer.bc_trainer.interrupted
        assert trainer.round_num == 1
        run(trainer, 1)
        assert not trainer.bc_trainer.interrupted
        assert trainer.round_num == 2

    def test_by_callback_or_event(self, venv, tmp_path, log):
        trainer = make(venv, tmp_path / "run", log)
        rounds = []
        run(trainer, 5, on_round_end=lambda i: rounds.append(i) or i < 1)
        assert rounds == [0, 1]
        stop = threading.Event()
        stop.set()
        run(trainer, 5, stop=stop)
        assert trainer.round_num == 3


class TestMistakes:
    def test_learner(self, venv, tmp_path, log):
        with pytest.raises(ValueError, match=r"bc_trainer's action_space is Box.*environment's is Discrete\(2\)"):
            make(venv, tmp_path, log, bc_trainer=make_bc(log, env=DictLine, observation_space=Line.observation_space))
        with pytest.raises(TypeError, match="bc_trainer is a str"):
            make(venv, tmp_path, log, bc_trainer="bc")

    def test_environments_and_rng(self, venv, tmp_path, log):
        with pytest.raises(TypeError, match="venv is a Line, expected a VecEnv"):
            make(Line(), tmp_path, log)
        with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
            dagger.DAggerTrainer(venv=venv, scratch_dir=tmp_path, rng=0, bc_trainer=make_bc(log))

    def test_experts(self, venv, tmp_path, log):
        other = ActorCriticPolicy(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), lambda _: 1.0)
        with pytest.raises(ValueError, match="The policy's observation_space is Box.*but the environment's is Box"):
            make(venv, tmp_path, log, expert_policy=other)
        other = ActorCriticPolicy(Line.observation_space, spaces.Discrete(3), lambda _: 1.0)
        with pytest.raises(ValueError, match=r"action_space is Discrete\(3\), but the environment's is Discrete\(2\)"):
            make(venv, tmp_path, log, expert_policy=other)
        with pytest.raises(TypeError, match="expert_policy is None"):
            make(venv, tmp_path, log, expert_policy=None)
        with pytest.raises(TypeError, match="The policy is a str"):
            make(venv, tmp_path, log, expert_policy="me")

    def test_an_earlier_run_is_not_mixed_in(self, venv, tmp_path, log):
        run(make(venv, tmp_path, log), 1)
        with pytest.raises(ValueError, match="holds demonstrations of an earlier run.*reconstruct_trainer"):
            make(venv, tmp_path, log)

    def test_demonstrations_of_the_learners_own_are_replaced_with_a_warning(self, venv, tmp_path):
        log = logger.configure(tmp_path / "log", ["log"])
        learner = make_bc(log)
        obs = np.zeros((16, 1), np.float32)
        learner.set_demonstrations(types.TransitionsMinimal(obs, np.zeros(16, int), None))
        make(venv, tmp_path / "run", log, bc_trainer=learner)
        log.close()
        assert "demonstrations of its own, which the first round replaces" in (tmp_path / "log" / "log.txt").read_text()

    @pytest.mark.parametrize("name", ["total_timesteps", "rollout_round_min_episodes", "rollout_round_min_timesteps"])
    def test_numbers(self, venv, tmp_path, log, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            make(venv, tmp_path, log).train(**{"total_timesteps": 1, **ROUND, name: 0})
