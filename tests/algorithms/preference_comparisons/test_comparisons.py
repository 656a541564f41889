"""Trajectory generators and the whole loop: schedules, steps, seeds, checkpoints, learning."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.policies.replay_buffer_wrapper import ReplayBufferRewardWrapper
from imitation_lab.rewards import reward_nets
from imitation_lab.testing.reward_nets import MockRewardNet
from imitation_lab.util import artifacts, networks
from imitation_lab.util.util import make_vec_env


class Line(gym.Env):
    """State and reward are the time; episodes of 10 steps."""

    observation_space = gym.spaces.Box(-1, 100, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, horizon: int = 10) -> None:
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        self.t += 1
        return self._obs(), float(self.t), False, self.t == self.horizon, {}

    def _obs(self):
        return np.array([self.t, self.np_random.random()], dtype=np.float32)


def line_venv(horizons=(10, 10)) -> DummyVecEnv:
    venv = DummyVecEnv([lambda h=h: Line(h) for h in horizons])
    venv.seed(0)
    return venv


def ppo(venv, **kwargs) -> sb3.PPO:
    return sb3.PPO(
        "MlpPolicy", venv, **{"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0, "device": "cpu", **kwargs}
    )


class TestTrajectoryDataset:
    def test_sample(self, rng, make) -> None:
        trajectories = [make(rng, 4) for _ in range(5)]
        generator = pc.TrajectoryDataset(trajectories, rng)
        found = generator.sample(9)
        assert len(found) == 3
        assert len({id(t) for t in found}) == 3
        assert all(any(t is other for other in trajectories) for t in found)
        generator.train(10)
        with pytest.raises(ValueError, match="Asked for 21 transitions, but only 20 are available"):
            generator.sample(21)
        with pytest.raises(ValueError, match="no trajectories"):
            pc.TrajectoryDataset([], rng)


class TestAgentTrainer:
    def test_samples_what_was_learned_from_with_true_rewards(self, rng, silent) -> None:
        venv = line_venv()
        net = MockRewardNet(venv.observation_space, venv.action_space, value=7.0)
        trainer = pc.AgentTrainer(ppo(venv), net, venv, rng, custom_logger=silent)
        trainer.train(32)
        assert trainer.algorithm.num_timesteps == 32
        assert trainer.reward_venv_wrapper.episode_rewards[0] == 70
        found = trainer.sample(32)
        # 16 steps in each environment: an episode and 6 steps of another
        assert sorted((len(t), t.terminal) for t in found) == [(6, False)] * 2 + [(10, True)] * 2
        for t in found:
            assert t.rews.tolist() == [i + 1 for i in range(len(t))]
            assert t.obs[:, 0].tolist() == list(range(len(t) + 1))

    def test_rolls_out_what_is_missing_and_moves_no_statistics(self, rng, silent) -> None:
        venv = line_venv()
        net = reward_nets.NormalizedRewardNet(
            reward_nets.BasicRewardNet(venv.observation_space, venv.action_space), networks.RunningNorm
        )
        trainer = pc.AgentTrainer(ppo(venv), net, venv, rng, custom_logger=silent)
        found = trainer.sample(45)
        assert sum(map(len, found)) == 50
        assert all(t.terminal for t in found)
        assert net.normalize_output_layer.count == 0
        assert not trainer.reward_venv_wrapper.episode_rewards
        trainer.train(32)
        assert net.normalize_output_layer.count == 32

    def test_episodes_begin_anew_after_sampling(self, rng, silent) -> None:
        venv = line_venv()
        net = MockRewardNet(venv.observation_space, venv.action_space)
        trainer = pc.AgentTrainer(ppo(venv), net, venv, rng, custom_logger=silent)
        for _ in range(3):
            trainer.train(32)
            assert all(t.obs[0, 0] == 0 for t in trainer.sample(40))

    def test_exploration(self, rng, silent) -> None:
        venv = line_venv()
        net = MockRewardNet(venv.observation_space, venv.action_space)
        agent = ppo(venv)
        with th.no_grad():
            agent.policy.action_net.bias.copy_(th.tensor([0.0, 100.0]))  # alone it always takes action 1
        trainer = pc.AgentTrainer(agent, net, venv, rng, exploration_frac=0.5, random_prob=1, custom_logger=silent)
        acts = np.concatenate([t.acts for t in trainer.sample(400)])
        assert len(acts) == 400
        # half of the steps explore, half of those take action 0: 100, with a standard deviation of √(200 / 4) = 7
        assert abs((acts == 0).sum() - 100) < 5 * 7
        with pytest.raises(ValueError, match="exploration_frac must lie in"):
            pc.AgentTrainer(agent, net, venv, rng, exploration_frac=2, custom_logger=silent)

    def test_stored_transitions_are_relabelled(self, rng, silent) -> None:
        venv = line_venv((10,))
        net = reward_nets.NormalizedRewardNet(
            MockRewardNet(venv.observation_space, venv.action_space, value=1.0), networks.RunningNorm
        )
        agent = sb3.DQN("MlpPolicy", venv, learning_starts=5, train_freq=5, batch_size=8, buffer_size=100, seed=0)
        trainer = pc.AgentTrainer(agent, net, venv, rng, custom_logger=silent)
        assert isinstance(agent.replay_buffer, ReplayBufferRewardWrapper)
        trainer.train(20)
        assert agent.replay_buffer.size() == 20
        count = net.normalize_output_layer.count.clone()
        net.base.value = 5.0
        mean, var = net.normalize_output_layer.running_mean, net.normalize_output_layer.running_var
        expected = (5 - mean) / (var + 1e-5).sqrt()
        rewards = agent.replay_buffer.sample(6).rewards
        np.testing.assert_allclose(rewards.numpy(), expected.item(), rtol=1e-5)
        assert net.normalize_output_layer.count == count == 20
        assert len(trainer.sample(10)) >= 1

    def test_a_function_as_reward(self, rng, silent) -> None:
        venv = line_venv()
        trainer = pc.AgentTrainer(ppo(venv), lambda s, a, n, d: s[:, 0], venv, rng, custom_logger=silent)
        trainer.train(32)
        assert trainer.reward_venv_wrapper.episode_rewards[0] == 45
        with pytest.raises(TypeError, match="reward_fn must be a RewardNet or callable"):
            pc.AgentTrainer(ppo(venv), 3, venv, rng, custom_logger=silent)


def comparisons(silent, seed: int = 0, gatherer=None, venv=None, agent=None, ensemble: bool = False, **kwargs):
    rng = np.random.default_rng(seed)
    venv = venv or line_venv()
    th.manual_seed(seed)
    make = lambda: reward_nets.BasicRewardNet(venv.observation_space, venv.action_space)
    net = make()
    if ensemble:
        members = [reward_nets.NormalizedRewardNet(make(), networks.RunningNorm) for _ in range(2)]
        net = reward_nets.RewardEnsemble(venv.observation_space, venv.action_space, members)
        net = reward_nets.AddSTDRewardWrapper(net, 0.5)
    generator = pc.AgentTrainer(
        agent or ppo(venv, seed=seed), net, venv, rng, exploration_frac=0.2, custom_logger=silent
    )
    options = {"num_iterations": 2, "fragment_length": 5, "initial_epoch_multiplier": 2, **kwargs}
    return pc.PreferenceComparisons(
        generator, net, preference_gatherer=gatherer, rng=rng, custom_logger=silent, **options
    )


def weights(run) -> th.Tensor:
    agent = run.trajectory_generator.algorithm
    return th.cat([p.detach().ravel() for m in (run.model, agent.policy) for p in m.parameters()])


def test_train(silent) -> None:
    run = comparisons(silent)
    rounds = []
    result = run.train(200, 30, callback=rounds.append)
    assert rounds == [0, 1, 2]
    assert len(run.dataset) == 30
    # 200 over three rounds, in whole rollouts of 32 steps: after 66 there have been 96, after 132 160, after 200 224
    assert run.trajectory_generator.algorithm.num_timesteps == 224
    assert result.keys() == {"reward_loss", "reward_accuracy"}
    assert all(np.isfinite(value) for value in result.values())


@pytest.mark.parametrize("wanted", [True, False])
def test_progress_bar_is_that_of_the_reward_trainer_too(silent, wanted: bool) -> None:
    run = comparisons(silent)
    shown = []
    train = run.reward_trainer.train
    run.reward_trainer.train = lambda *args, **kwargs: (
        shown.append(run.reward_trainer.progress_bar),
        train(*args, **kwargs),
    )[1]
    run.train(200, 30, progress_bar=wanted)
    assert shown == [wanted] * 3
    assert run.reward_trainer.progress_bar


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # 90 after the first 10, in 3 parts at t = 0, 1/2, 1
        ("constant", [10, 30, 30, 30]),
        ("hyperbolic", [10, 41, 28, 21]),  # weights 1, 2/3, 1/2: 41.54, 27.69, 20.77 → 41, 28, 21
        ("inverse_quadratic", [10, 39, 31, 20]),  # 1, 4/5, 1/2: 39.13, 31.30, 19.57
        (lambda t: t, [10, 0, 30, 60]),
    ],
)
def test_schedules(silent, schedule, expected) -> None:
    run = comparisons(silent, num_iterations=3, query_schedule=schedule)
    assert run._rounds(100) == expected


def test_no_initial_comparisons_and_few_ones(silent) -> None:
    assert comparisons(silent, num_iterations=2, initial_comparison_frac=0.0, query_schedule="constant")._rounds(4) == [
        2,
        2,
    ]
    assert comparisons(silent, num_iterations=3)._rounds(1) == [1, 0, 0, 0]
    run = comparisons(silent, num_iterations=3)
    assert np.isfinite(run.train(100, 1)["reward_loss"])
    assert run.iteration == 4


def test_logged_keys(silent, tmp_path) -> None:
    from imitation_lab.util import logger as lab_logger

    logger = lab_logger.configure(tmp_path, ["json"])
    run = comparisons(logger)
    run.step(10, 32)
    logger.close()
    line = (tmp_path / "progress.json").read_text().splitlines()[-1]
    for key in (
        "preferences/entropy",
        "reward/epoch-0/train/loss",
        "reward/epoch-1/train/accuracy",
        "reward/final/train/gt_reward_loss",
        "mean/agent/time/total_timesteps",
    ):
        assert f'"{key}"' in line


def test_bit_equal_with_equal_seeds(silent) -> None:
    results = []
    for seed in (0, 0, 1):
        run = comparisons(silent, seed, ensemble=True)
        run.train(150, 20)
        results.append(weights(run))
    assert th.equal(results[0], results[1])
    assert not th.equal(results[0], results[2])


def test_schedules_run_once_over_all_rounds(silent) -> None:
    left = []

    def rate(progress_remaining: float) -> float:
        left.append(progress_remaining)
        return 1e-3

    venv = line_venv()
    run = comparisons(silent, venv=venv, agent=ppo(venv, learning_rate=rate))
    left.clear()
    run.train(150, 20)
    rollouts = run.trajectory_generator.algorithm.num_timesteps // 32
    assert rollouts > len(run._rounds(20))  # more than one in a round
    np.testing.assert_allclose(sorted(set(left))[::-1], 1 - np.arange(1, rollouts + 1) / rollouts)
    left.clear()
    run.train(150, 20)  # anew, over the second half
    np.testing.assert_allclose(sorted(set(left))[::-1], 1 - np.arange(1, rollouts + 1) / rollouts)


@pytest.mark.parametrize("kind", ["ppo", "dqn"])
def test_resumed_run_equals_an_uninterrupted_one(silent, tmp_path, kind: str) -> None:
    def make():
        venv = line_venv((10,)) if kind == "dqn" else line_venv()
        agent = ppo(venv, learning_rate=lambda left: 1e-2 * left) if kind == "ppo" else None
        if kind == "dqn":
            agent = sb3.DQN("MlpPolicy", venv, learning_starts=5, batch_size=8, buffer_size=60, seed=0, device="cpu")
        return comparisons(silent, venv=venv, agent=agent, ensemble=kind == "ppo", comparison_queue_size=15)

    whole = make()
    whole.train(150, 20, checkpoint_path=tmp_path / "whole")

    stopped = make()

    def stop(i: int) -> None:
        if i == 1:
            raise KeyboardInterrupt

    stopped.train(150, 20, checkpoint_path=tmp_path / "part", callback=stop)
    assert stopped.interrupted
    th.manual_seed(123)
    resumed = make()
    resumed.restore(tmp_path / "part")
    assert resumed.iteration == 1
    resumed.resume(checkpoint_path=tmp_path / "part")
    assert th.equal(weights(whole), weights(resumed))
    assert whole.dataset.pairs == resumed.dataset.pairs
    with pytest.raises(ValueError, match=r"no interrupted train\(\) to resume"):
        resumed.resume()


@pytest.mark.parametrize("moment", ["asking", "fitting", "acting"])
def test_resume_goes_on_within_the_round_that_was_interrupted(silent, moment, monkeypatch) -> None:
    whole, run = (comparisons(silent) for _ in range(2))
    whole.train(150, 20, progress_bar=False)
    part, name = {
        "asking": (run.fragmenter, "__call__"),
        "fitting": (run.reward_trainer, "_train"),
        "acting": (run.trajectory_generator.algorithm, "train"),
    }[moment]
    original, calls = getattr(type(part), name), []

    def once(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(part), name, once)
    run.train(150, 20, progress_bar=False)
    assert run.interrupted
    assert run.iteration < whole.iteration
    run.resume(progress_bar=False)
    assert not run.interrupted
    assert run.iteration == whole.iteration
    assert len(run.dataset) == len(whole.dataset) == 20
    steps = [r.trajectory_generator.algorithm.num_timesteps for r in (whole, run)]
    assert steps[1] - steps[0] in (0, 32)  # at most the rollout that was cut off


def test_restore_refuses(silent, tmp_path) -> None:
    run = comparisons(silent)
    run.step(4, 0)
    run.save(tmp_path / "saved")
    with pytest.raises(artifacts.ArtifactError):
        comparisons(silent, ensemble=True).restore(tmp_path / "saved")
    content = (tmp_path / "saved").read_bytes()
    (tmp_path / "saved").write_bytes(content[:-1])
    with pytest.raises(artifacts.ArtifactError, match="truncated"):
        run.restore(tmp_path / "saved")

    class Own(pc.TrajectoryGenerator):
        def sample(self, steps):
            return []

    run.trajectory_generator = Own(silent)
    with pytest.raises(TypeError, match="Cannot save the state of a Own, which does not name any"):
        run.save(tmp_path / "other")


class TestHumanLoop:
    def test_step_never_waits(self, silent, tmp_path) -> None:
        gatherer = pc.HumanGatherer(tmp_path / "labels", "Line", custom_logger=silent)
        run = comparisons(silent, gatherer=gatherer)
        before = weights(run)
        status = run.step(num_pairs=3, timesteps=32)
        assert (status.submitted, status.answered, status.pending, status.agent_steps) == (3, 0, 3, 0)
        assert np.isnan(status.reward_loss)
        assert th.equal(before, weights(run))  # nobody learns from a reward that knows nothing
        gatherer.answer(gatherer.pending[0], "left")
        gatherer.answer(gatherer.pending[0], "skip")
        status = run.step(num_pairs=3, timesteps=32)
        assert (status.submitted, status.answered, status.pending) == (2, 1, 3)
        assert (status.n_labels, status.agent_steps) == (1, 32)
        assert np.isfinite(status.reward_loss)
        after = th.cat([p.detach().ravel() for p in run.model.parameters()])
        status = run.step(num_pairs=0, timesteps=32)  # no answers: the agent goes on alone
        assert (status.submitted, status.answered, status.agent_steps) == (0, 0, 32)
        assert th.equal(after, th.cat([p.detach().ravel() for p in run.model.parameters()]))
        assert str(status).startswith("step 2: 0 submitted, 0 answered, 3 pending, 1 labels")

    def test_train_names_step(self, silent, tmp_path) -> None:
        run = comparisons(silent, gatherer=pc.HumanGatherer(tmp_path / "labels", "Line", custom_logger=silent))
        with pytest.raises(TypeError, match=r"would have to wait for HumanGatherer: call step\(num_pairs, timesteps\)"):
            run.train(100, 10)

    def test_restored_run_takes_new_answers_alone(self, silent, tmp_path) -> None:
        def make():
            return comparisons(silent, gatherer=pc.HumanGatherer(tmp_path / "labels", "Line", custom_logger=silent))

        run = make()
        run.step(2, 0)
        first, second = run.preference_gatherer.pending
        run.preference_gatherer.answer(first, 1)
        run.step(2, 32)
        run.save(tmp_path / "saved")
        run.preference_gatherer.answer(second, 0)
        again = make()
        again.restore(tmp_path / "saved")
        assert len(again.dataset) == 1
        assert again.step(0, 0).answered == 1
        assert again.dataset.preferences.tolist() == [1, 0]


def test_errors(silent, rng) -> None:
    run = comparisons(silent)
    with pytest.raises(ValueError, match="total_comparisons is 0: without a comparison there is nothing to learn"):
        run.train(100, 0)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        run.step(-1, 0)
    with pytest.raises(ValueError, match="no query_schedule 'cubic', expected one of constant, hyperbolic"):
        comparisons(silent, query_schedule="cubic")
    with pytest.raises(ValueError, match="pass rng="):
        pc.PreferenceComparisons(run.trajectory_generator, run.model, 1, custom_logger=silent)
    other = pc.PreferenceModel(MockRewardNet(run.model.observation_space, run.model.action_space))
    trainer = pc.BasicRewardTrainer.__new__(pc.BasicRewardTrainer)
    trainer._preference_model = other
    with pytest.raises(ValueError, match="trains another network than reward_model"):
        comparisons(silent, reward_trainer=trainer)
    with pytest.raises(ValueError, match="No trajectory is long enough for a fragment of 11 steps: the longest has 10"):
        comparisons(silent, fragment_length=11).train(32, 10)
    for name, value in (("transition_oversampling", 0.5), ("initial_comparison_frac", 2), ("num_iterations", 0)):
        with pytest.raises(ValueError, match=name):
            comparisons(silent, **{name: value})


def test_variable_horizon(silent) -> None:
    venv = line_venv((10, 7))
    with pytest.raises(ValueError, match="allow_variable_horizon=True"):
        comparisons(silent, venv=venv).train(100, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        comparisons(silent, venv=line_venv((10, 7)), allow_variable_horizon=True).step(4, 0)


def test_trajectories_of_a_dataset(silent, rng, make) -> None:
    trajectories = [make(rng, 20) for _ in range(20)]
    net = reward_nets.BasicRewardNet(gym.spaces.Box(-10, 10, (2,), np.float32), gym.spaces.Discrete(2))
    run = pc.PreferenceComparisons(
        pc.TrajectoryDataset(trajectories, rng, silent), net, 2, fragment_length=5, rng=rng, custom_logger=silent
    )
    run.train(10, 30)
    assert len(run.dataset) == 30


def learned_correlation(flip: bool, silent) -> float:
    """Correlation of learned and true reward on Pendulum, after comparisons of random behaviour alone."""

    class Teacher(pc.SyntheticGatherer):
        def __call__(self, fragment_pairs):
            found = super().__call__(fragment_pairs)
            return 1 - found if flip else found

    rng = np.random.default_rng(0)
    th.manual_seed(0)
    venv = make_vec_env("Pendulum-v1", rng=rng, n_envs=4)
    net = reward_nets.BasicRewardNet(venv.observation_space, venv.action_space)
    agent = sb3.PPO("MlpPolicy", venv, n_steps=64, batch_size=64, seed=0, device="cpu")
    generator = pc.AgentTrainer(agent, net, venv, rng, custom_logger=silent)
    trainer = pc.BasicRewardTrainer(
        pc.PreferenceModel(net), pc.CrossEntropyRewardLoss(), rng, epochs=30, lr=3e-3, custom_logger=silent
    )
    run = pc.PreferenceComparisons(
        generator,
        net,
        num_iterations=2,
        fragment_length=20,
        reward_trainer=trainer,
        preference_gatherer=Teacher(rng=rng, custom_logger=silent),
        initial_epoch_multiplier=1,
        custom_logger=silent,
        rng=rng,
    )
    run.train(1000, 300)
    from imitation_lab.data import rollout

    held_out = rollout.flatten_trajectories_with_rew(
        rollout.generate_trajectories(None, venv, rollout.make_min_timesteps(2000), np.random.default_rng(5))
    )
    learned = net.predict(held_out.obs, held_out.acts, held_out.next_obs, held_out.dones)
    venv.close()
    return float(np.corrcoef(learned, held_out.rews)[0, 1])


@pytest.mark.slow
def test_learns_the_reward_and_not_its_opposite(silent) -> None:
    assert learned_correlation(False, silent) > 0.8
    assert learned_correlation(True, silent) < -0.8


class Seen(Line):
    """The line with other observations."""

    def __init__(self, space: gym.Space) -> None:
        super().__init__()
        self.observation_space = space

    def _obs(self):
        self.observation_space.seed(int(self.np_random.integers(1000)))
        return self.observation_space.sample()


@pytest.mark.parametrize("kind", ["image", "dict", "discrete", "multi_discrete", "multi_binary"])
def test_observation_spaces(silent, kind: str) -> None:
    space = {
        "image": gym.spaces.Box(0, 255, (36, 36, 3), np.uint8),
        "dict": gym.spaces.Dict({"a": gym.spaces.Box(0, 1, (2,), np.float32), "b": gym.spaces.Discrete(3)}),
        "discrete": gym.spaces.Discrete(4),
        "multi_discrete": gym.spaces.MultiDiscrete([2, 3]),
        "multi_binary": gym.spaces.MultiBinary(3),
    }[kind]
    venv = DummyVecEnv([lambda: Seen(space)] * 2)
    policy = {"image": "CnnPolicy", "dict": "MultiInputPolicy"}.get(kind, "MlpPolicy")
    agent = sb3.PPO(policy, venv, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
    run = comparisons(silent, venv=venv, agent=agent)
    for _ in range(2):
        status = run.step(5, 32)
    assert status.n_labels == 10
    assert np.isfinite(status.reward_loss)
