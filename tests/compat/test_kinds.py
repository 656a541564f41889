"""What scripts written for `imitation` rely on: types that are accepted, types of errors, and names, kind by kind."""

import pathlib

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import ReplayBuffer

from imitation_lab.algorithms import base, bc, sqil
from imitation_lab.algorithms.preference_comparisons import AgentTrainer, TrajectoryDataset
from imitation_lab.data import rollout, types
from imitation_lab.policies.interactive import ATARI_ACTION_NAMES_TO_KEYS, ATARI_KEYS, AtariInteractivePolicy
from imitation_lab.policies.serialize import STABLE_BASELINES_CLASSES, load_policy
from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet, RewardNet
from imitation_lab.rewards.serialize import ValidateRewardFn
from imitation_lab.scripts import train_rl
from imitation_lab.scripts.convert_trajs import update_traj_file_in_place
from imitation_lab.util import checks, networks, registry, util
from imitation_lab.util import logger as lab_logger

FIELDS = {
    "obs": np.zeros((2, 3)), "acts": np.zeros(2, int), "infos": None, "next_obs": np.zeros((2, 3)),
    "dones": np.zeros(2, bool), "rews": np.zeros(2),
}  # fmt: skip


@pytest.fixture(scope="module")
def venv():
    made = util.make_vec_env("CartPole-v1", rng=np.random.default_rng(0), n_envs=2)
    yield made
    made.close()


@pytest.fixture
def logger(tmp_path):
    made = lab_logger.configure(tmp_path / "log", [])
    yield made
    made.close()


def both(call, *kinds):
    for kind in kinds:
        with pytest.raises(kind):
            call()


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_without_dimension_is_a_value_error_that_names_it(field):
    with pytest.raises(ValueError, match=field):
        types.TransitionsWithRew(**{**FIELDS, field: np.zeros(())})
    trajectory = {"obs": np.zeros((3, 3)), "acts": np.zeros(2), "infos": None, "terminal": True, "rews": np.zeros(2)}
    if field in trajectory:
        with pytest.raises(ValueError, match=field):
            types.TrajectoryWithRew(**{**trajectory, field: np.zeros(())})


def test_errors_are_of_both_types(venv, tmp_path, logger):
    both(lambda: ValidateRewardFn(lambda *args: np.zeros(1))(None, None, None, np.zeros(2)), ValueError, AssertionError)
    both(lambda: checks.optional("no_such_package", "all", "This needs"), ImportError, ModuleNotFoundError)
    rng = np.random.default_rng(0)
    trajectories = rollout.rollout(load_policy("random", venv), venv, rollout.make_min_episodes(1), rng, unwrap=False)
    both(lambda: TrajectoryDataset(trajectories, rng).sample(10**6), ValueError, RuntimeError)
    spaces = {"observation_space": venv.observation_space, "action_space": venv.action_space}
    batch = {"obs": th.zeros(2, 4), "acts": th.zeros(2, dtype=th.int64)}
    for kind in (ValueError, AssertionError):
        trainer = bc.BC(**spaces, rng=rng, demonstrations=(b for b in [batch]), batch_size=2, custom_logger=logger)
        with pytest.raises(kind, match="gave no batch"):
            trainer.train(n_epochs=2)
    (tmp_path / "vec_normalize.pkl").write_bytes(b"")
    (tmp_path / "model.zip").write_bytes(b"")
    both(lambda: load_policy("ppo", venv, path=tmp_path), ValueError, FileExistsError)


def test_base_classes_are_generic():
    class Mine(base.DemonstrationAlgorithm[types.Transitions]):
        pass

    assert issubclass(bc.BC, base.DemonstrationAlgorithm)
    assert Mine.__orig_bases__ == (base.DemonstrationAlgorithm[types.Transitions],)


def test_paths_are_taken_wherever_text_is(tmp_path):
    assert isinstance(tmp_path, pathlib.Path)
    updates = {"logging": {"log_root": tmp_path}, "agent_path": None}
    config = train_rl.train_rl_ex.run("print_config", config_updates=updates).config
    assert config["logging"]["log_root"] == str(tmp_path)


def test_sqil_refuses_its_own_arguments_before_it_looks_at_the_environment():
    with pytest.raises(ValueError, match="replay_buffer_class"):
        sqil.SQIL(
            venv=object(), demonstrations=None, policy="MlpPolicy", rl_kwargs={"replay_buffer_class": ReplayBuffer}
        )


def test_sqil_shows_its_expert_as_a_buffer_of_sb3(venv, logger):
    rng = np.random.default_rng(0)
    trajectories = rollout.rollout(load_policy("random", venv), venv, rollout.make_min_episodes(2), rng, unwrap=False)
    expert = rollout.flatten_trajectories(trajectories)
    settings = {"policy": "MlpPolicy", "rl_kwargs": {"buffer_size": 100}, "custom_logger": logger}
    learner = sqil.SQIL(venv=venv, demonstrations=None, **settings)
    with pytest.raises(ValueError, match="no demonstrations yet"):
        _ = learner.replay_buffer.expert_buffer
    learner.set_demonstrations(expert)
    buffer = learner.replay_buffer.expert_buffer
    assert isinstance(buffer, ReplayBuffer)
    assert buffer.size() == len(expert)
    np.testing.assert_array_equal(buffer.observations[:, 0], expert.obs.astype(np.float32))
    np.testing.assert_array_equal(buffer.next_observations[:, 0], expert.next_obs.astype(np.float32))
    np.testing.assert_array_equal(buffer.actions[:, 0, 0], expert.acts)
    batch = buffer.sample(8)
    assert batch.observations.shape == (8, 4)
    assert th.all(batch.rewards == 1)


def test_a_reward_network_of_other_spaces_is_refused_at_once(venv, logger):
    other = BasicRewardNet(gym.spaces.Box(-1, 1, (2,)), venv.action_space)
    agent = PPO("MlpPolicy", venv, n_steps=8, batch_size=8)
    with pytest.raises(ValueError, match="The reward network is for"):
        AgentTrainer(agent, other, venv, np.random.default_rng(0), custom_logger=logger)


def test_a_network_that_knows_no_update_stats_can_be_normalized(venv):
    class Own(RewardNet):
        def forward(self, state, action, next_state, done):
            return state.sum(dim=1)

        def predict_processed(self, state, action, next_state, done):
            return self.predict(state, action, next_state, done)

    net = NormalizedRewardNet(Own(venv.observation_space, venv.action_space), networks.RunningNorm)
    batch = (np.ones((3, 4), np.float32), np.zeros(3, int), np.ones((3, 4), np.float32), np.zeros(3, bool))
    assert net.predict_processed(*batch).shape == (3,)


@pytest.mark.parametrize("norm", [networks.RunningNorm, networks.EMANorm])
def test_norms_without_eps(norm):
    layer = norm(2, eps=0.0)
    assert th.isfinite(layer(th.tensor([[0.0, 1.0], [2.0, 3.0]]))).all()


def test_modes_give_the_network():
    net = th.nn.Linear(1, 1)
    with networks.evaluating(net) as inside:
        assert inside is net
        assert not net.training


def test_names_and_keys():
    assert registry.load_attr(STABLE_BASELINES_CLASSES["ppo"]) is PPO
    assert set(ATARI_ACTION_NAMES_TO_KEYS) == set(ATARI_KEYS)
    assert len(set(ATARI_ACTION_NAMES_TO_KEYS.values())) == 18

    class Game(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
        action_space = gym.spaces.Discrete(2)

        def get_action_meanings(self):
            return ["NOOP", "FIRE"]

    policy = AtariInteractivePolicy(Game(), keys=ATARI_ACTION_NAMES_TO_KEYS)
    assert policy.action_keys_names == {"1": "NOOP", "2": "FIRE"}


def test_a_converted_file_stays(tmp_path):
    from imitation_lab.data import serialize

    trajectory = types.TrajectoryWithRew(np.zeros((3, 2)), np.zeros(2), None, True, np.zeros(2))
    serialize.save(tmp_path / "native", [trajectory])
    assert update_traj_file_in_place(str(tmp_path / "native")) == tmp_path / "native"
