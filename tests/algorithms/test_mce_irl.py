import gymnasium as gym
import numpy as np
import pytest
import seals  # noqa: F401
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import mce_irl
from imitation_lab.algorithms._shared import run as _run
from imitation_lab.algorithms.mce_irl.reward import network_inputs
from imitation_lab.data import rollout, types
from imitation_lab.envs import grid_worlds, tabular
from imitation_lab.rewards import reward_nets
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.networks import RunningNorm

QUIET = {"progress_bar": False}


def quiet():
    return lab_logger.HierarchicalLogger(lab_logger.sb_logger.Logger(None, []), [])


def small(horizon=4, n_states=3, n_actions=2, branch_factor=2, **kwargs):
    return grid_worlds.RandomMDP(n_states, n_actions, branch_factor, horizon, generator_seed=1, **kwargs)


def net_for(env, seed=0, **kwargs):
    th.manual_seed(seed)
    options = {"use_action": False, "hid_sizes": []} | kwargs
    return reward_nets.BasicRewardNet(env.observation_space, env.action_space, **options)


def trainer(demonstrations, env, net=None, **kwargs):
    net = net_for(env) if net is None else net
    kwargs = {"custom_logger": quiet(), "rng": np.random.default_rng(0)} | kwargs
    return mce_irl.MCEIRL(demonstrations, env, net, **kwargs)


def expert_trajectories(env, n=200, seed=0):
    pi = mce_irl.mce_partition_fh(env)[2]
    rng = np.random.default_rng(seed)
    core = env.unwrapped
    policy = mce_irl.TabularPolicy(spaces.Discrete(core.state_dim), core.action_space, pi, rng)
    venv = DummyVecEnv([lambda: tabular.StateObservation(env)])
    venv.seed(seed)
    return rollout.rollout(policy, venv, rollout.make_sample_until(min_episodes=n), rng=rng, unwrap=False)


def test_gradient_is_that_of_the_likelihood():
    env, discount = small(horizon=3), 0.7
    trajectories = expert_trajectories(env, 30)
    net = net_for(env, hid_sizes=[4])
    learner = trainer(
        trajectories, env, net, discount=discount, optimizer_cls=th.optim.SGD, optimizer_kwargs={"lr": 0.0}
    )
    learner.train(1, **QUIET)
    gradient = [p.grad.double().clone() for p in net.parameters()]
    net.double()
    inputs = network_inputs(net, tabular.tabular_model(env), False)

    def loss():  # E_demo[sum gamma^t R(s_t)] against the soft value
        reward = net(*inputs).detach().numpy()
        value = env.initial_state_dist @ mce_irl.mce_partition_fh(env, reward=reward, discount=discount)[0][0]
        return value - learner.demo_state_om @ reward

    for parameter, grad in zip(net.parameters(), gradient, strict=True):
        flat = parameter.data.view(-1)
        for i, expected in enumerate(grad.view(-1)):
            kept, values = flat[i].item(), []
            for step in (1e-5, -1e-5):
                flat[i] = kept + step
                values.append(loss())
            flat[i] = kept
            assert (values[0] - values[1]) / 2e-5 == pytest.approx(expected.item(), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_demonstrations_of_every_kind_count_alike(discount):
    env = small(horizon=5)
    trajectories = expert_trajectories(env, 40)
    weights = discount ** np.arange(5)
    expected = sum(np.bincount(t.obs[:-1], weights, 3) for t in trajectories) / 40
    transitions = rollout.flatten_trajectories(trajectories)
    kinds = [trajectories, iter(trajectories), transitions]
    if discount == 1:
        kinds += [transitions[np.random.default_rng(0).permutation(200)]]
        kinds += [[{"obs": th.as_tensor(transitions.obs[i : i + 50])} for i in range(0, 200, 50)]]
        kinds += [types.TransitionsMinimal(transitions.obs, transitions.acts, transitions.infos)]
    for kind in [*kinds, expected]:
        np.testing.assert_allclose(trainer(kind, env, discount=discount).demo_state_om, expected)


def test_feature_observations_become_states():
    env = small(horizon=5, obs_dim=2)
    states = expert_trajectories(env, 20)
    features = [types.Trajectory(env.observation_matrix[t.obs], t.acts, None, t.terminal) for t in states]
    by_state, by_feature = trainer(states, env), trainer(features, env)
    np.testing.assert_array_equal(by_state.demo_state_om, by_feature.demo_state_om)


def test_both_ways_to_count_an_occupancy():
    env = small(horizon=5)
    d, total = mce_irl.mce_occupancy_measures(env)
    for om in (total, d[:-1].sum(0), th.as_tensor(total)):
        learner = trainer(om, env, linf_eps=1e-2)
        returned = learner.train(500, **QUIET)
        assert returned.sum() == pytest.approx(float(om.sum()))
        assert np.abs(returned - np.asarray(om)).max() <= 1e-2


@pytest.mark.parametrize("kind", ["linear", "mlp", "normalized", "input_norm"])
def test_learned_reward_reproduces_the_expert_on_a_grid(kind):
    env = grid_worlds.GridWorld(["S..", ".#.", "..G"], horizon=10, observe="onehot")
    net = net_for(env, hid_sizes=[] if kind == "linear" else [16])
    if kind == "normalized":
        net = reward_nets.NormalizedRewardNet(net, RunningNorm)
    elif kind == "input_norm":
        net = net_for(env, hid_sizes=[16], normalize_input_layer=RunningNorm)
    d, _ = mce_irl.mce_occupancy_measures(env)
    expert = d[:-1].sum(0)
    learner = trainer(expert, env, net, linf_eps=1e-2, optimizer_kwargs={"lr": 0.03})
    om = learner.train(600, **QUIET)
    assert np.abs(om - expert).max() < 0.02
    assert np.abs(mce_irl.mce_occupancy_measures(env, reward=np.zeros(8))[0][:-1].sum(0) - expert).max() > 0.3
    pi = mce_irl.mce_partition_fh(env, reward=learner.reward)[2]
    np.testing.assert_array_equal(learner.policy.pi, pi)
    np.testing.assert_array_equal(om, learner.state_om)
    if kind == "linear":
        true = mce_irl.mce_partition_fh(env)[2]
        assert np.abs(pi - true)[d[:-1] > 0.01].max() < 0.05


def test_rewards_of_state_and_action():
    env = small(horizon=6)
    env = tabular.TabularEnv(
        transition_matrix=env.transition_matrix,
        reward_matrix=np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]),
        horizon=6,
        initial_state_dist=env.initial_state_dist,
    )
    trajectories = expert_trajectories(env, 500)
    learner = trainer(trajectories, env, net_for(env, use_action=True, hid_sizes=[16]), linf_eps=1e-3)
    om = learner.train(600, **QUIET)
    assert learner.reward.shape == (3, 2)
    assert learner.demo_state_om.shape == (3, 2)
    assert np.abs(learner.state_om - learner.demo_state_om).max() < 0.02
    np.testing.assert_allclose(om, learner.state_om.sum(1))
    assert om.sum() == pytest.approx(6)
    with pytest.raises(ValueError, match=r"occupancy has shape \(3,\), expected \(3, 2\), as the reward depends"):
        learner.set_demonstrations(om)
    learner.set_demonstrations(learner.state_om)


@pytest.mark.parametrize("use_action", [False, True])
def test_planning_can_be_replaced(use_action):
    class ByHand(mce_irl.MCEIRL):
        def soft_policy(self, reward):
            value, tables = np.zeros(env.state_dim), []
            by_pair = reward if reward.ndim == 2 else reward[:, None]
            for _ in range(env.horizon):
                q = by_pair + self.discount * env.transition_matrix @ value
                value = np.log(np.exp(q).sum(axis=1))
                tables.append(np.exp(q - value[:, None]))
            return np.array(tables[::-1])

    class Idle(mce_irl.MCEIRL):
        def soft_policy(self, reward):
            return np.full((env.horizon, env.state_dim, env.action_dim), 1 / env.action_dim)

    env = small()
    trajectories, found = expert_trajectories(env, 30), {}
    for cls in (mce_irl.MCEIRL, ByHand, Idle):
        net = net_for(env, use_action=use_action)
        learner = cls(trajectories, env, net, np.random.default_rng(0), discount=0.9, custom_logger=quiet())
        learner.train(20, **QUIET)
        found[cls] = learner
    usual, by_hand, idle = found.values()
    np.testing.assert_allclose(by_hand.reward, usual.reward, atol=1e-5)
    np.testing.assert_allclose(by_hand.policy.pi, usual.policy.pi, atol=1e-6)
    np.testing.assert_allclose(idle.policy.pi, 0.5)
    uniform = mce_irl.mce_occupancy_measures(env, pi=idle.policy.pi, discount=0.9)[0][:-1]
    expected = 0.9 ** np.arange(env.horizon) @ uniform
    np.testing.assert_allclose(idle.state_om.reshape(env.state_dim, -1).sum(axis=1), expected)


def test_same_seeds_same_bits():
    def run():
        env = small(horizon=5)
        learner = trainer(expert_trajectories(env, 20), env, net_for(env, hid_sizes=[8]))
        learner.train(30, **QUIET)
        return learner.reward, learner.policy.predict(np.arange(3))[0], learner.linf_deltas

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_runs_are_one_long_one():
    env = small(horizon=5)
    om = mce_irl.mce_occupancy_measures(env)[1]
    once, twice = trainer(om, env), trainer(om, env)
    once.train(20, **QUIET)
    twice.train(12, **QUIET)
    twice.train(8, **QUIET)
    np.testing.assert_array_equal(once.reward, twice.reward)
    assert twice.iteration == 20


def test_history_and_log():
    rows = []

    class Writer(lab_logger.sb_logger.KVWriter):
        def write(self, key_values, key_excluded, step=0):
            rows.append(dict(key_values))

    env = small(horizon=5)
    om = mce_irl.mce_occupancy_measures(env)[1]
    log = lab_logger.HierarchicalLogger(lab_logger.sb_logger.Logger(None, [Writer()]), [])
    learner = trainer(om, env, custom_logger=log, log_interval=10, grad_l2_eps=0.0, linf_eps=0.0)
    learner.train(25, snapshots=[0, 1, 4], **QUIET)
    assert [row["iteration"] for row in rows] == [0, 10, 20]
    assert rows[1].keys() == {"iteration", "linf_delta", "weight_norm", "grad_norm"}
    assert rows[1]["linf_delta"] == learner.linf_deltas[10]
    assert [s.iteration for s in learner.history] == [0, 1, 4, 25]
    assert learner.history[0].reward.shape == learner.history[0].state_om.shape == (3,)
    assert learner.history[-1].linf_delta < learner.history[0].linf_delta
    np.testing.assert_array_equal(learner.history[-1].reward, learner.reward)
    learner.train(5, snapshots=2, **QUIET)
    assert [s.iteration for s in learner.history][4:] == [26, 28, 30]


def test_stopping():
    env = small(horizon=5)
    om = mce_irl.mce_occupancy_measures(env)[1]
    learner = trainer(om, env)
    learner.train(50, on_iteration_end=lambda: learner.iteration < 3, **QUIET)
    assert learner.iteration == 3

    def interrupt():
        raise KeyboardInterrupt

    before = learner.reward
    learner.train(50, on_iteration_end=interrupt, **QUIET)
    assert learner.iteration == 4
    assert (learner.reward != before).any()
    np.testing.assert_array_equal(learner.policy.pi, mce_irl.mce_partition_fh(env, reward=learner.reward)[2])
    easy = trainer(om, env, linf_eps=100.0)
    easy.train(50, **QUIET)
    assert easy.iteration == 0
    flat = trainer(om, env, grad_l2_eps=100.0, linf_eps=0.0)
    flat.train(50, **QUIET)
    assert flat.iteration == 0


def test_progress_bar(capsys, monkeypatch):
    monkeypatch.setattr(_run.Run, "delay", 0)
    env = small()
    trainer(mce_irl.mce_occupancy_measures(env)[1], env).train(20)
    shown = capsys.readouterr().err
    assert "MCEIRL: 100%" in shown
    assert "20/20" in shown


def test_squeeze_r():
    assert mce_irl.squeeze_r(th.zeros(3, 1)).shape == (3,)
    assert mce_irl.squeeze_r(th.zeros(3)).shape == (3,)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(batch,\) or \(batch, 1\)"):
        mce_irl.squeeze_r(th.zeros(3, 2))


# Bad input


def test_bad_environments_and_networks():
    env = small()
    om = mce_irl.mce_occupancy_measures(env)[1]
    with pytest.raises(TypeError, match="CartPoleEnv is not tabular"):
        trainer(om, gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="action space Box.*expected Discrete"):
        mce_irl.mce_partition_fh(gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="BasicRewardNet depends on next_state and done"):
        trainer(om, env, net_for(env, use_next_state=True, use_done=True))
    shaped = reward_nets.ShapedRewardNet(net_for(env), lambda s: s.sum(1), 0.9)
    with pytest.raises(ValueError, match="ShapedRewardNet depends on next_state"):
        trainer(om, env, shaped)
    frozen = net_for(env).requires_grad_(False)
    with pytest.raises(ValueError, match="no parameters that could be learned"):
        trainer(om, env, frozen)
    with pytest.raises(ValueError, match="does not fit"):
        trainer(om, small(obs_dim=2), net_for(small(obs_dim=4)))
    with pytest.raises(ValueError, match="discount must be a finite number of at least 0"):
        trainer(om, env, discount=-1)
    with pytest.raises(ValueError, match=r"pi has shape \(4, 2, 3\), expected .* \(4, 3, 2\)"):
        mce_irl.mce_occupancy_measures(env, pi=np.ones((4, 2, 3)))
    with pytest.raises(ValueError, match=r"reward has shape \(2,\), expected \(3,\), \(3, 2\) or"):
        mce_irl.mce_partition_fh(env, reward=np.zeros(2))
    with pytest.raises(ValueError, match="reward holds NaN"):
        mce_irl.mce_partition_fh(env, reward=np.full(3, np.nan))


def test_bad_demonstrations():
    env = small(horizon=5)
    trajectories = expert_trajectories(env, 4)
    transitions = rollout.flatten_trajectories(trajectories)
    learner = trainer(None, env)
    with pytest.raises(ValueError, match="no demonstrations yet"):
        learner.train()
    bad = [
        (ValueError, "demonstrations is empty", []),
        (TypeError, "wrap a single trajectory in a list", trajectories[0]),
        (TypeError, "demonstrations is a int", 3),
        (TypeError, "Demonstration 0 is a int, expected a mapping with obs", [3]),
        (ValueError, "sums to 1, expected 6, .* or 5 without the last state", np.full(3, 1 / 3)),
        (ValueError, r"shape \(4,\), expected \(3,\)", np.ones(4)),
        (ValueError, "negative", np.array([8.0, -1.0, -1.0])),
        (ValueError, "obs holds 0 to 7, expected integers from 0 to 2", [{"obs": np.array([0, 7])}]),
        (
            ValueError,
            "Trajectory 0 has 2 steps, but the environment's horizon is 5",
            [types.Trajectory(np.zeros(3, int), np.zeros(2, int), None, True)],
        ),
    ]
    for error, text, demonstrations in bad:
        with pytest.raises(error, match=text):
            learner.set_demonstrations(demonstrations)
    discounted = trainer(None, env, discount=0.9)
    with pytest.raises(ValueError, match="not whole episodes of 5 steps in order"):
        discounted.set_demonstrations(transitions[::-1])
    with pytest.raises(ValueError, match="Batches of transitions do not tell the time step"):
        discounted.set_demonstrations([{"obs": transitions.obs}])
    alike = tabular.TabularEnv(
        transition_matrix=env.transition_matrix,
        reward_matrix=env.reward_matrix,
        observation_matrix=np.array([[0.0], [0.0], [1.0]]),
        horizon=5,
    )
    with pytest.raises(ValueError, match="3 states have only 2 different observations"):
        trainer([{"obs": np.zeros((4, 1))}], alike)
    other = small(horizon=5, obs_dim=2)
    with pytest.raises(ValueError, match="no row of the environment's observation_matrix"):
        trainer([{"obs": np.full((4, 2), 9.0)}], other)


def test_a_diverging_reward_is_named():
    env = small(horizon=5)
    learner = trainer(mce_irl.mce_occupancy_measures(env)[1], env, optimizer_kwargs={"lr": 1e39})
    with pytest.raises(ValueError, match="became NaN or infinite after 1 iterations: lower the learning rate"):
        learner.train(5, **QUIET)


def test_environments_of_seals_work_unchanged():
    env = gym.make("seals/CliffWorld7x4-v0")
    _, total = mce_irl.mce_occupancy_measures(env)
    assert total.sum() == pytest.approx(env.unwrapped.horizon + 1)
    learner = trainer(total, env.unwrapped, optimizer_kwargs={"lr": 0.2})
    learner.train(300, **QUIET)
    assert learner.linf_deltas[-1] < 0.1 * learner.linf_deltas[0]
