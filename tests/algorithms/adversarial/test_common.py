import itertools

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL, RewardNetFromDiscriminatorLogit
from imitation_lab.algorithms.adversarial.penalties import R1Penalty, WGANGPPenalty, spectral_normalize
from imitation_lab.data import rollout, types
from imitation_lab.data.wrappers import BufferingWrapper
from imitation_lab.rewards.reward_nets import (
    BasicRewardNet,
    BasicShapedRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
)
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.util.networks import RunningNorm


def shaped(obs_space, act_space):
    return BasicShapedRewardNet(obs_space, act_space, reward_hid_sizes=(8,), potential_hid_sizes=(8,))


def normalized(obs_space, act_space):
    return NormalizedRewardNet(BasicRewardNet(obs_space, act_space, hid_sizes=(8,)), RunningNorm)


def numbers(*tensors):
    return [tensor.detach().clone() for tensor in tensors]


def same(first, second):
    return all(th.equal(a, b) for a, b in zip(first, second, strict=True))


# Defaults and attributes.


def test_defaults_follow_the_generator(build):
    trainer = build(gen_train_timesteps=None, gen_replay_buffer_capacity=None)
    assert trainer.gen_train_timesteps == 8 * 2
    assert trainer._pool.capacity == 16
    assert trainer.demo_minibatch_size == trainer.demo_batch_size == 8
    assert trainer.policy is trainer.gen_algo.policy
    assert isinstance(trainer.venv_buffering, BufferingWrapper)
    assert isinstance(trainer.venv_train, RewardVecEnvWrapper)
    assert trainer.venv_buffering.venv is trainer.venv
    assert build(gen="DQN", gen_train_timesteps=None).gen_train_timesteps == 2


def test_ground_truth_leaves_the_rewards_alone(build):
    trainer = build(debug_use_ground_truth=True, horizon=16)
    assert trainer.venv_train is trainer.venv_buffering
    trainer.train_gen()
    assert set(np.unique(trainer.gen_algo.rollout_buffer.rewards)) <= {0.0, 1.0, 2.0}


def test_callback_ends_training_and_gets_round_numbers(build):
    trainer, seen = build(), []
    trainer.train(16 * 10, lambda r: seen.append(r) or r < 2, progress_bar=False)
    assert seen == [0, 1, 2]
    assert trainer.gen_algo.num_timesteps == 48


def test_interrupt_keeps_state_and_training_can_go_on(build):
    trainer = build()

    def interrupt(_):
        raise KeyboardInterrupt

    trainer.train(160, interrupt, progress_bar=False)
    assert trainer.gen_algo.num_timesteps == 16
    calls = itertools.count()
    real = trainer.venv.step_wait

    def step_wait():
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real()

    trainer.venv.step_wait = step_wait
    trainer.train(160, progress_bar=False)
    assert trainer.gen_algo.num_timesteps == 16 + 6
    trainer.train(32, progress_bar=False)
    assert np.isfinite(trainer.history[-1]["disc_loss"])


def test_rows_logs_and_recorded_logits(build, quiet):
    dumped = []
    trainer = build(
        record_logits=5, n_disc_updates_per_round=3, gen_train_timesteps=256, gen_replay_buffer_capacity=300
    )
    quiet.dump = lambda step=0, dump=quiet.dump: (
        dumped.append({**quiet.default_logger.name_to_value, **quiet.name_to_value}),
        dump(step),
    )
    rows = []
    trainer.on_round = rows.append
    trainer.train(512, progress_bar=False)
    assert rows == trainer.history
    assert [row["round"] for row in rows] == [1, 2]
    row = rows[-1]
    assert row["logits_expert"].shape == row["logits_gen"].shape == (5,)
    assert row["n_expert"] == row["n_generated"] == 8
    assert row["expert_ep_len_mean"] == row["gen_ep_len_mean"] == 8
    assert row["gen_kl"] >= 0
    assert 0 < row["gen_entropy"] <= np.log(3) + 1e-6
    assert row["disc_grad_norm"] > 0
    assert 0.5 < row["gen_state_spread"] < 2
    keys = set().union(*dumped)
    wanted = (
        "disc_loss disc_acc disc_acc_expert disc_acc_gen disc_entropy disc_proportion_expert_true "
        "disc_proportion_expert_pred n_expert n_generated global_step"
    )
    assert {f"mean/disc/{key}" for key in wanted.split()} <= keys
    assert any(key.startswith("mean/gen/") for key in keys)
    assert {"adversarial/reward_mean", "adversarial/gen_kl"} <= keys


def test_short_rounds_share_a_row(build):
    trainer = build(gen="DQN", gen_train_timesteps=2, gen_replay_buffer_capacity=64)
    trainer.train(512, progress_bar=False)
    assert [row["round"] for row in trainer.history] == [128, 256]


def test_rewards_in_history_are_what_the_generator_got(build):
    trainer = build()
    got = []
    step_wait = trainer.venv_train.step_wait
    trainer.venv_train.step_wait = lambda: (lambda out: got.append(out[1].copy()) or out)(step_wait())
    trainer.gen_algo.set_env(trainer.venv_train)
    trainer.train(512 // 2, progress_bar=False)
    got = np.concatenate(got)
    assert trainer.history[-1]["reward_min"] == pytest.approx(got.min())
    assert trainer.history[-1]["reward_mean"] == pytest.approx(got.mean(), rel=1e-5)


def test_tensorboard_writes_files(build, tmp_path):
    trainer = build(log_dir=tmp_path, init_tensorboard=True, init_tensorboard_graph=True, record_logits=4)
    trainer.train(256, progress_bar=False)
    assert list((tmp_path / "summary").glob("events*"))


def test_schedules_run_over_the_whole_of_train(build):
    trainer = build()
    algo = trainer.gen_algo
    algo.learning_rate = LinearSchedule(1.0, 0.0, 1.0)
    algo._setup_lr_schedule()
    rates = []
    trainer.train(64, lambda _: rates.append(algo.policy.optimizer.param_groups[0]["lr"]), progress_bar=False)
    assert rates == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert "_update_current_progress_remaining" not in vars(algo)


# The discriminator's update.


def test_update_moves_the_logits_the_right_way(build):
    trainer = build(disc_opt_cls=th.optim.SGD, disc_opt_kwargs={"lr": 0.5})
    expert = {"obs": np.ones((8, 3), np.float32), "acts": np.zeros(8, int), "dones": np.zeros(8, bool)}
    expert["next_obs"] = expert["obs"]
    learner = {**expert, "obs": -expert["obs"], "next_obs": -expert["obs"]}
    for _ in range(200):
        stats = trainer.train_disc(expert_samples=expert, gen_samples=learner)
    assert stats["disc_acc"] == 1.0
    assert stats["global_step"] == 0
    assert stats["n_expert"] == 8
    net = trainer.reward_train
    high = net.predict_processed(expert["obs"], expert["acts"], expert["obs"], expert["dones"])
    low = net.predict_processed(learner["obs"], expert["acts"], learner["obs"], expert["dones"])
    assert (high > 1).all()
    assert (low < 0.5).all()


@pytest.mark.parametrize("cls", [GAIL, AIRL])
def test_minibatches_add_up_to_the_batch(build, cls):
    def weights(piece):
        trainer = build(cls, net=shaped, demo_minibatch_size=piece, disc_opt_cls=th.optim.SGD)
        trainer.train_gen()
        stats = trainer.train_disc()
        return numbers(*trainer._reward_net.parameters()), dict(stats)

    with th.random.fork_rng():
        th.manual_seed(0)
        whole, stats = weights(None)
        th.manual_seed(0)
        pieces, stats_again = weights(2)
    for a, b in zip(whole, pieces, strict=True):
        th.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert stats == pytest.approx(stats_again, rel=1e-5)


def test_expert_batches_are_passes_without_repeats(build):
    trainer = build()
    n = trainer._pool.n_expert  # 48: a pass is 6 batches of 8
    drawn = [trainer._pool.expert_index(8).tolist() for _ in range(2 * n // 8)]
    for i in (0, n // 8):
        assert sorted(itertools.chain(*drawn[i : i + n // 8])) == list(range(n))


def test_learner_samples_are_the_latest(build):
    trainer = build(gen_replay_buffer_capacity=20)
    seen = []
    pop = trainer.venv_buffering.pop_trajectories
    trainer.venv_buffering.pop_trajectories = lambda: (lambda out: seen.extend(out[0]) or out)(pop())
    for _ in range(3):
        trainer.train_gen()
    # The capacity of 20 holds the last round's 16 and 4 of the one before.
    obs = rollout.flatten_trajectories(seen).obs[-20:]
    held = trainer._pool.rows(trainer._pool.learner)["state"].numpy()
    assert sorted(map(tuple, held.tolist())) == sorted(map(tuple, obs.tolist()))


def test_airl_logit_is_f_minus_log_pi(build):
    trainer = build(AIRL, net=shaped)
    trainer.train_gen()
    rows = trainer._pool.rows(th.arange(trainer._pool.n_expert, trainer._pool.n_expert + 16))
    obs, acts = trainer._encoder.policy_inputs(rows)
    log_prob = trainer._log_prob(obs, acts)
    with th.no_grad():
        expected = trainer.policy.evaluate_actions(obs, acts)[1]
        logits = trainer.logits_expert_is_high(*trainer._encoder.inputs(rows), log_prob)
        f = trainer._reward_net(*trainer._encoder.inputs(rows))
    th.testing.assert_close(log_prob, expected)
    th.testing.assert_close(logits, f - expected)
    assert trainer.reward_test is trainer._reward_net.base
    assert trainer.reward_train is trainer._reward_net
    with pytest.raises(TypeError, match="need log_policy_act_prob"):
        trainer.logits_expert_is_high(*trainer._encoder.inputs(rows))


def test_sac_log_prob_is_a_density_over_the_action_space(build):
    trainer = build(AIRL, "box", "box", "SAC")
    grid = th.linspace(-1.999, 1.999, 201)
    acts = th.cartesian_prod(grid, grid)
    obs = th.zeros(len(acts), 3)
    density = trainer._log_prob(obs, acts).exp().reshape(201, 201)
    assert th.trapezoid(th.trapezoid(density, grid), grid).item() == pytest.approx(1.0, abs=0.02)


def test_gail_computes_no_log_probabilities(build):
    trainer = build(GAIL)
    assert trainer._log_prob is None
    assert not any(name.startswith("policy") for name in trainer._pool.fields)


@pytest.mark.parametrize("penalty", [R1Penalty(10.0), WGANGPPenalty(10.0)])
def test_penalties_change_the_update(build, penalty):
    def weights(penalties):
        trainer = build(penalties=penalties)
        trainer.train(32, progress_bar=False)
        return numbers(*trainer._reward_net.parameters())

    assert not same(weights([]), weights([penalty]))


def test_r1_keeps_the_discriminator_flat(build):
    def logits(penalties):
        trainer = build(penalties=penalties, n_disc_updates_per_round=40)
        trainer.train(160, progress_bar=False)
        return trainer.history[-1]["logit_expert_std"]

    assert logits([R1Penalty(100.0)]) < 0.3 * logits([])


def test_spectral_normalization_in_a_trainer(build):
    def net(obs_space, act_space):
        return spectral_normalize(BasicRewardNet(obs_space, act_space, hid_sizes=(8,)))

    trainer = build(net=net)
    trainer.train(64, progress_bar=False)
    assert np.isfinite(trainer.history[-1]["disc_loss"])


# Rewards.


def test_gail_reward_is_softplus_of_the_logit(build):
    trainer = build()
    assert isinstance(trainer.reward_train, RewardNetFromDiscriminatorLogit)
    batch = (np.zeros((4, 3), np.float32), np.arange(4) % 3, np.zeros((4, 3), np.float32), np.zeros(4, bool))
    logits = trainer._reward_net.predict(*batch)
    np.testing.assert_allclose(trainer.reward_train.predict_processed(*batch), np.log1p(np.exp(logits)), rtol=1e-5)
    assert trainer.reward_test is trainer.reward_train
    fairl = build(reward_form="fairl").reward_train
    np.testing.assert_allclose(fairl.predict(*batch), -logits * np.exp(logits), rtol=1e-5)
    with pytest.raises(ValueError, match="reward_form='gial' is not known; expected one of 'gail'"):
        build(reward_form="gial")


def test_gail_normalizes_the_reward_and_not_the_logit(build):
    trainer = build(net=normalized)
    layer = trainer._reward_net.normalize_output_layer
    assert layer.count == 0
    trainer.train_gen()
    assert layer.count == 16  # one for each transition of the round
    batch = (np.zeros((4, 3), np.float32), np.arange(4) % 3, np.zeros((4, 3), np.float32), np.zeros(4, bool))
    logits = trainer._reward_net.base.predict(*batch)
    expected = (np.log1p(np.exp(logits)) - layer.running_mean.numpy()) / np.sqrt(layer.running_var.numpy() + layer.eps)
    rewards = trainer.reward_train.predict_processed(*batch, update_stats=False)
    np.testing.assert_allclose(rewards, expected, rtol=1e-4, atol=1e-5)
    assert layer.count == 16
    trainer.train_disc()
    assert layer.count == 16
    assert not np.allclose(trainer.reward_train.predict(*batch), logits)


def test_off_policy_rewards_are_never_stale(build):
    trainer = build(gen="DQN")
    trainer.train(64, progress_bar=False)
    buffer = trainer.gen_algo.replay_buffer
    with th.no_grad():
        for parameter in trainer._reward_net.parameters():
            parameter.mul_(-3.0)
    samples = buffer.sample(16)
    dones = samples.dones.numpy().flatten().astype(bool)
    arrays = [x.numpy() for x in (samples.observations, samples.actions.flatten(), samples.next_observations)]
    expected = trainer.reward_train.predict_processed(*arrays, dones, update_stats=False)
    np.testing.assert_allclose(samples.rewards.numpy().flatten(), expected, rtol=1e-5)


def test_relabelling_does_not_move_the_statistics(build):
    trainer = build(gen="DQN", net=normalized)
    trainer.train(64, progress_bar=False)
    assert trainer._reward_net.normalize_output_layer.count == 64


def test_relabelling_sees_images_as_the_environment_gives_them(build):
    trainer = build(obs="image_hwc", gen="DQN")
    trainer.train(32, progress_bar=False)
    assert trainer.gen_algo.replay_buffer.sample(8).rewards.shape == (8, 1)


# Demonstrations.


def test_ready_made_batches_are_used_in_turn(build):
    trainer = build()
    fields = {
        "obs": np.zeros((8, 3), np.float32),
        "acts": np.zeros(8, int),
        "next_obs": np.zeros((8, 3), np.float32),
        "dones": np.zeros(8, bool),
    }
    batches = [{**fields, "obs": np.full((8, 3), k / 10, np.float32)} for k in range(3)]
    trainer.set_demonstrations(batches)
    trainer.train_gen()
    seen = []
    for _ in range(4):
        trainer.train_disc()
        seen.append(round(trainer._pool.fields["state"][0, 0].item(), 1))
    assert seen == [0.0, 0.1, 0.2, 0.0]


def test_transitions_and_trajectories_are_alike(build):
    first = build()
    from_pool = first._pool.rows(first._pool.expert)["state"]
    assert len(from_pool) == 48


# Bad input: each is refused before work starts, with the cause and the way out.


def demos_of(n=6, length=8, obs_size=3):
    rng = np.random.default_rng(0)
    return [
        types.TrajectoryWithRew(
            rng.uniform(-1, 1, (length + 1, obs_size)).astype(np.float32),
            np.zeros(length, int),
            None,
            True,
            np.zeros(length),
        )
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"demonstrations": demos_of(obs_size=4)}, r"obs has shape \(48, 4\), expected \(n, 3\)"),
        (
            {"demonstrations": demos_of(n=1), "demo_batch_size": 9},
            "8 demonstrated transitions, fewer than demo_batch_size=9",
        ),
        ({"demonstrations": demos_of() + demos_of(length=5)}, "differ in length.*allow_variable_horizon"),
        ({"demonstrations": []}, "demonstrations is empty"),
        ({"demo_minibatch_size": 3}, "demo_minibatch_size=3 does not divide demo_batch_size=8"),
        ({"demo_batch_size": 0}, "demo_batch_size must be an integer of at least 1, got 0"),
        ({"gen_train_timesteps": 0}, "gen_train_timesteps must be an integer of at least 1"),
        (
            {"net": lambda o, a: RewardEnsemble(o, a, [BasicRewardNet(o, a) for _ in range(2)])},
            "RewardEnsemble, which has no single output",
        ),
        (
            {"net": lambda o, a: BasicRewardNet(spaces.Box(-1, 1, (5,)), a)},
            "reward_net was built for the observation_space",
        ),
        (
            {"net": lambda o, a: BasicRewardNet(o, a).to("meta")},
            r"device meta, but gen_algo on cpu.*reward_net.to\('cpu'\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, arguments, text):
    with pytest.raises(ValueError, match=text):
        build(**arguments)


def test_wrapped_environments_are_refused(build):
    trainer = build()
    plain = trainer.venv
    for wrapped, text in (
        (VecNormalize(plain), "venv is wrapped in VecNormalize.*NormalizeFeaturesExtractor"),
        (RewardVecEnvWrapper(plain, lambda *_: np.zeros(2)), "venv is wrapped in RewardVecEnvWrapper"),
        (BufferingWrapper(plain), "venv is wrapped in BufferingWrapper"),
    ):
        net = BasicRewardNet(plain.observation_space, plain.action_space)
        algo = PPO("MlpPolicy", plain, n_steps=8, batch_size=8, device="cpu")
        with pytest.raises(ValueError, match=text):
            GAIL(demonstrations=None, demo_batch_size=8, venv=wrapped, gen_algo=algo, reward_net=net)
    build(gen=trainer.gen_algo)  # one that another trainer has had is taken over


def test_too_few_timesteps_and_missing_data(build):
    trainer = build()
    with pytest.raises(ValueError, match="total_timesteps=15 is less than one round.*gen_train_timesteps=16"):
        trainer.train(15)
    with pytest.raises(RuntimeError, match=r"no transitions of the learner yet: call train_gen\(\) first"):
        trainer.train_disc()
    samples = {"obs": np.zeros((4, 3)), "acts": np.zeros(4, int), "next_obs": np.zeros((4, 3)), "dones": np.zeros(4)}
    with pytest.raises(ValueError, match="gen_samples holds 4 transitions, expected demo_batch_size=8"):
        trainer.train_disc(gen_samples=samples)


def test_generator_with_varying_horizon_is_refused(build):
    trainer = build(demonstrations=demos_of(length=7), horizon=8)
    with pytest.raises(ValueError, match="Episodes differ in length: one has 8 steps, an earlier one 7"):
        trainer.train(16, progress_bar=False)
    build(demonstrations=demos_of(length=7), horizon=8, allow_variable_horizon=True).train(16, progress_bar=False)


def test_wrong_kinds(build):
    with pytest.raises(TypeError, match="gen_algo must be a Stable-Baselines3 algorithm"):
        build(gen=object())
    with pytest.raises(TypeError, match="demonstrations is a int"):
        build(demonstrations=3)


def test_log_probabilities_are_looked_up_until_the_policy_changes(build):
    trainer = build(AIRL, net=shaped)
    trainer.train_gen()
    pool, encoder = trainer._pool, trainer._encoder
    calls = []
    real = trainer._log_prob._log_prob
    trainer._log_prob._log_prob = lambda obs, acts: calls.append(len(acts)) or real(obs, acts)

    def looked_up():
        index = th.cat([pool.expert_index(8), pool.learner_index(8)])
        rows = pool.rows(index)
        expected = real(*encoder.policy_inputs(rows))
        th.testing.assert_close(trainer._log_prob.of_pool(pool, encoder, index, rows), expected, rtol=1e-5, atol=1e-6)

    for _ in range(8):  # 48 + 16 rows: four batches of 16, then all at once, then none
        looked_up()
    assert calls == [16, 16, 16, 16, 64 + 16]
    for change in (trainer.train_gen, lambda: trainer.policy.load_state_dict(trainer.policy.state_dict())):
        calls.clear()
        change()
        looked_up()
        assert calls == [16]


@pytest.mark.parametrize("gen", ["PPO", "DQN"])
def test_in_warmup_rounds_only_the_discriminator_learns(build, gen):
    trainer = build(gen=gen, disc_warmup_rounds=2)
    policies, nets = [], []

    def keep(_):
        policies.append(numbers(*trainer.policy.parameters()))
        nets.append(numbers(*trainer._reward_net.parameters()))

    trainer.train(16 * 3, keep, progress_bar=False)
    assert same(policies[0], policies[1])
    assert not same(policies[1], policies[2])
    assert not same(nets[0], nets[1])
    assert "train" not in vars(trainer.gen_algo)


@pytest.mark.parametrize("penalties", [[], [R1Penalty(0.1)], [WGANGPPenalty(1.0)]], ids=["none", "R1", "WGAN-GP"])
def test_penalties_move_no_statistics(build, penalties):
    trainer = build(GAIL, "box", "discrete", "PPO", net=input_normalized, penalties=penalties)
    trainer.train_gen()
    norm = next(m for m in trainer._reward_net.modules() if isinstance(m, RunningNorm))
    before = int(norm.count)
    trainer.train_disc()
    assert int(norm.count) - before == 2 * trainer.demo_batch_size


def input_normalized(obs_space, act_space):
    return BasicRewardNet(obs_space, act_space, hid_sizes=(8,), normalize_input_layer=RunningNorm)
