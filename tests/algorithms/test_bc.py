"""Behavioral cloning: learning, reproducibility, the training loop, mistakes."""

import dataclasses
import threading

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc
from imitation_lab.algorithms._shared import run as _run
from imitation_lab.data import types
from imitation_lab.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation_lab.regularization.regularizers import LpRegularizer, WeightDecayRegularizer
from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.util import logger

S = gym.spaces
BOX_OBS = S.Box(-np.inf, np.inf, (3,), np.float32)
BOX_ACT = S.Box(-2.0, 2.0, (2,), np.float32)


@pytest.fixture
def log(tmp_path):
    return logger.configure(tmp_path / "log", [])


def _linear_demos(act_space: gym.Space, n: int = 512) -> types.TransitionsMinimal:
    """A linear expert: continuous actions are W s, discrete ones the largest of three scores."""
    rng = np.random.default_rng(7)
    obs = rng.standard_normal((n, 3)).astype(np.float32)
    if isinstance(act_space, S.Box):
        acts = np.clip(obs @ np.array([[0.5, 0.1], [-0.3, 0.2], [0.0, 0.4]]), -2, 2).astype(np.float32)
    else:
        acts = np.argmax(obs, 1)
    return types.TransitionsMinimal(obs=obs, acts=acts, infos=None)


def _zeros(obs_shape, act_shape, act=0.0, n=24):
    acts = np.full((n, *act_shape), act, np.float32)
    return types.TransitionsMinimal(obs=np.zeros((n, *obs_shape), np.float32), acts=acts, infos=None)


def _make(log, demos=None, obs_space=BOX_OBS, act_space=BOX_ACT, seed=0, **kwargs) -> bc.BC:
    return bc.BC(
        observation_space=obs_space,
        action_space=act_space,
        rng=np.random.default_rng(seed),
        demonstrations=demos,
        custom_logger=log,
        **{"device": "cpu", **kwargs},
    )


def _weights(trainer: bc.BC) -> th.Tensor:
    return th.cat([w.detach().flatten() for w in trainer.policy.state_dict().values()])


class TestLearning:
    def test_continuous(self, log):
        demos = _linear_demos(BOX_ACT)
        trainer = _make(log, demos, optimizer_kwargs={"lr": 3e-3})
        trainer.train(n_epochs=20, progress_bar=False)
        acts, _ = trainer.policy.predict(demos.obs, deterministic=True)
        assert np.mean((acts - demos.acts) ** 2) < 0.05 * demos.acts.var()

    def test_discrete(self, log):
        demos = _linear_demos(S.Discrete(3))
        trainer = _make(log, demos, act_space=S.Discrete(3), optimizer_kwargs={"lr": 3e-3})
        history = trainer.train(n_epochs=10, log_interval=150, progress_bar=False)
        acts, _ = trainer.policy.predict(demos.obs, deterministic=True)
        assert np.mean(acts == demos.acts) > 0.95
        assert history[-1]["prob_true_act"] > 0.8 > history[0]["prob_true_act"]

    def test_squashed_actions_are_learned_in_the_environments_units(self, log):
        demos = _linear_demos(BOX_ACT)
        policy = ActorCriticPolicy(BOX_OBS, BOX_ACT, lambda _: 1.0, use_sde=True, squash_output=True, log_std_init=-2)
        trainer = _make(log, demos, policy=policy, optimizer_kwargs={"lr": 3e-3})
        trainer.train(n_epochs=20, progress_bar=False)
        acts, _ = trainer.policy.predict(demos.obs, deterministic=True)
        assert np.mean((acts - demos.acts) ** 2) < 0.1 * demos.acts.var()


class TestReproducibility:
    @pytest.mark.parametrize("act_space", [BOX_ACT, S.Discrete(3)])
    def test_same_seeds_are_bit_equal(self, act_space, log):
        def run(seed):
            trainer = _make(log, _linear_demos(act_space, 128), act_space=act_space, seed=seed)
            trainer.train(n_epochs=3, progress_bar=False, validation_fraction=0.2)
            return _weights(trainer)

        first = run(0)
        th.rand(7)  # the global generator plays no part
        assert th.equal(first, run(0))
        assert not th.equal(first, run(1))

    def test_dropout_too(self, log):
        def run():
            with th.random.fork_rng():
                th.manual_seed(0)
                policy = FeedForward32Policy(BOX_OBS, BOX_ACT, lambda _: 1.0, activation_fn=th.nn.Dropout)
            trainer = _make(log, _linear_demos(BOX_ACT, 128), policy=policy)
            trainer.train(n_epochs=1, progress_bar=False)
            return _weights(trainer)

        assert th.equal(run(), run())

    def test_the_global_generator_is_left_alone(self, log):
        before = th.random.get_rng_state()
        _make(log, _linear_demos(BOX_ACT, 64)).train(n_batches=1, progress_bar=False)
        assert th.equal(before, th.random.get_rng_state())

    @pytest.mark.parametrize("l2_weight", [0.0, 0.1])
    def test_minibatches_add_up_to_the_batch(self, l2_weight, log):
        grads = []
        for minibatch_size in (32, 8):
            trainer = _make(
                log,
                _linear_demos(BOX_ACT, 64),
                minibatch_size=minibatch_size,
                l2_weight=l2_weight,
                optimizer_cls=th.optim.SGD,
            )
            (row,) = trainer.train(n_batches=1, progress_bar=False)
            grads.append(([w.grad for w in trainer.policy.parameters() if w.grad is not None], row))
        for whole, parts in zip(grads[0][0], grads[1][0], strict=True):
            th.testing.assert_close(whole, parts, rtol=1e-6, atol=1e-6)
        assert grads[0][1] == pytest.approx(grads[1][1], rel=1e-5)


class TestPolicyInPlace:
    def test_ppo_goes_on_from_it(self, log):
        ppo = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")
        rng = np.random.default_rng(0)
        obs = rng.uniform(-1, 1, (64, 4)).astype(np.float32)
        demos = types.TransitionsMinimal(obs=obs, acts=(obs[:, 2] > 0).astype(np.int64), infos=None)
        before = [w.clone() for w in ppo.policy.value_net.parameters()]
        trainer = _make(log, demos, ppo.observation_space, ppo.action_space, policy=ppo.policy, device="auto")
        trainer.train(n_epochs=50, progress_bar=False)
        assert trainer.policy is ppo.policy
        assert np.mean(ppo.predict(obs, deterministic=True)[0] == demos.acts) > 0.95
        assert all(th.equal(a, b) for a, b in zip(before, ppo.policy.value_net.parameters(), strict=True))
        ppo.learn(16)

    def test_normalization_counts_each_batch_once_and_rollouts_not_at_all(self, log):
        venv = DummyVecEnv([lambda: gym.make("CartPole-v1")])
        policy = FeedForward32Policy(
            venv.observation_space,
            venv.action_space,
            lambda _: 1.0,
            features_extractor_class=NormalizeFeaturesExtractor,
        )
        demos = types.TransitionsMinimal(
            obs=np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32),
            acts=np.arange(24) % 2,
            infos=None,
        )
        trainer = _make(log, demos, venv.observation_space, venv.action_space, policy=policy, batch_size=8)
        policy.set_training_mode(False)
        modes = []
        history = trainer.train(
            n_epochs=2,
            log_rollouts_venv=venv,
            log_rollouts_n_episodes=2,
            log_interval=2,
            progress_bar=False,
            on_batch_end=lambda: modes.append(policy.training),
            validation_fraction=0.3,
        )
        assert modes == [True] * 4  # 24 less 7 for validation make two batches
        assert not policy.training
        assert int(policy.features_extractor.normalize.count) == 4 * 8
        assert history[0]["rollout/return_mean"] > 0
        venv.close()


class TestTrainingLoop:
    def test_history_and_log_agree(self, tmp_path):
        out = logger.configure(tmp_path, ["csv"])
        trainer = _make(out, _linear_demos(BOX_ACT, 96))
        history = trainer.train(n_epochs=4, log_interval=5, progress_bar=False)
        out.close()
        table = pd.DataFrame(history)
        assert table["batch"].tolist() == [0, 5, 10]
        assert table["epoch"].tolist() == [0, 1, 3]
        assert table["samples_so_far"].tolist() == [32, 192, 352]
        written = pd.read_csv(tmp_path / "progress.csv")
        fields = [f.name for f in dataclasses.fields(bc.BCTrainingMetrics)]
        for name in ("batch", "epoch", "samples_so_far", *fields):
            np.testing.assert_allclose(written[f"bc/{name}"], table[name], rtol=1e-6)

    def test_callbacks(self, log):
        calls = []
        _make(log, _linear_demos(BOX_ACT, 64)).train(
            n_epochs=2,
            on_epoch_end=lambda: calls.append("epoch"),
            on_batch_end=lambda: calls.append("batch"),
            progress_bar=False,
        )
        assert calls == ["batch", "batch", "epoch"] * 2

    @pytest.mark.parametrize("how", ["batch", "epoch", "event"])
    def test_stops_on_request(self, how, log):
        event = threading.Event()
        batches = []

        def on_batch_end():
            batches.append(1)
            if how == "event" and len(batches) == 3:
                event.set()
            return not (how == "batch" and len(batches) == 3)

        _make(log, _linear_demos(BOX_ACT, 128)).train(
            n_epochs=100,
            on_batch_end=on_batch_end,
            on_epoch_end=lambda: how != "epoch",
            stop=event,
            progress_bar=False,
        )
        assert len(batches) == (4 if how == "epoch" else 3)

    def test_interrupt_leaves_a_usable_trainer(self, tmp_path):
        out = logger.configure(tmp_path, ["log"])
        trainer = _make(out, _linear_demos(BOX_ACT))
        trainer.policy.set_training_mode(False)
        count = []

        def interrupt():
            count.append(1)
            if len(count) == 5:
                raise KeyboardInterrupt

        history = trainer.train(n_epochs=100, log_interval=2, on_batch_end=interrupt, lr_schedule=lambda left: left)
        assert [row["batch"] for row in history] == [0, 2, 4]
        assert not trainer.policy.training
        assert trainer.optimizer.param_groups[0]["lr"] == 1e-3
        assert len(trainer.train(n_batches=3, log_interval=1, progress_bar=False)) == 3
        out.close()
        assert "Interrupted" in (tmp_path / "log.txt").read_text()

    def test_learning_rate_follows_the_schedule(self, log):
        trainer = _make(log, _linear_demos(BOX_ACT, 64), optimizer_cls=th.optim.SGD, optimizer_kwargs={"lr": 0.5})
        rates = []
        trainer.train(
            n_epochs=2,
            lr_schedule=lambda left: 0.1 * left,
            on_batch_end=lambda: rates.append(trainer.optimizer.param_groups[0]["lr"]),
            progress_bar=False,
        )
        assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
        assert trainer.optimizer.param_groups[0]["lr"] == 0.5

    def test_early_stop_goes_back_to_the_best_weights(self, log):
        rng = np.random.default_rng(0)
        obs = rng.standard_normal((60, 3)).astype(np.float32)
        noise = types.TransitionsMinimal(obs=obs, acts=rng.integers(0, 3, 60), infos=None)
        trainer = _make(log, noise, act_space=S.Discrete(3), batch_size=8, optimizer_kwargs={"lr": 0.02})
        history = trainer.train(
            n_epochs=500, validation_fraction=0.3, early_stop_patience=4, log_interval=1000, progress_bar=False
        )
        val = [row["val_loss"] for row in history if "val_loss" in row]
        best = int(np.argmin(val))
        assert len(val) == best + 1 + 4  # labels are noise, so validation soon gets worse
        held_out = trainer._parts()[1]
        again = trainer.loss_calculator(trainer.policy, held_out["obs"], held_out["acts"])
        assert float(again.loss.detach()) == pytest.approx(min(val), rel=1e-5)

    def test_the_users_own_loss_is_trained(self, log):
        demos = _linear_demos(BOX_ACT, 64)
        usual = bc.BehaviorCloningLossCalculator(0.0, 0.0)

        def squared(policy, obs, acts):
            metrics = usual(policy, obs, acts)
            return dataclasses.replace(metrics, loss=(policy.get_distribution(obs).mode() - acts).square().mean())

        trainer = _make(log, demos, loss_calculator=squared)
        log_std = trainer.policy.log_std.detach().clone()
        history = trainer.train(n_epochs=30, log_interval=59, progress_bar=False)
        assert history[-1]["loss"] < history[0]["loss"]
        assert th.equal(log_std, trainer.policy.log_std.detach())

    def test_progress_shows_loss_and_rate(self, log, capfd, monkeypatch):
        monkeypatch.setattr(_run.Run, "delay", 0)
        _make(log, _linear_demos(BOX_ACT, 64)).train(n_epochs=1)
        shown = capfd.readouterr().err
        assert "2/2" in shown
        assert "loss=" in shown
        assert "batch/s" in shown

    def test_logged_steps_go_on_where_a_training_ended(self, log, monkeypatch):
        trainer = _make(log, _linear_demos(BOX_ACT, 64))
        steps = []
        monkeypatch.setattr(log, "dump", lambda step=0: steps.append(step))
        for _ in range(3):
            trainer.train(n_batches=6, log_interval=5, progress_bar=False)
        assert steps == [0, 5, 6, 11, 12, 17]

    def test_a_policy_without_likelihood_trains_by_a_loss_of_its_own(self, log):
        from stable_baselines3 import TD3

        env = gym.make("Pendulum-v1")
        policy = TD3("MlpPolicy", env, buffer_size=1, device="cpu", policy_kwargs={"net_arch": [8]}).policy
        obs = np.stack([env.observation_space.sample() for _ in range(64)])
        data = types.TransitionsMinimal(obs=obs, acts=obs[:, :1] / 2, infos=None)
        kwargs = {"observation_space": env.observation_space, "action_space": env.action_space, "custom_logger": log}
        with pytest.raises(TypeError, match="evaluate_actions"):
            bc.BC(policy=policy, demonstrations=data, rng=np.random.default_rng(0), **kwargs)

        def squared(policy, obs, acts):
            error = (policy.actor(obs) - acts).square().mean()
            return {"loss": error, "worst": (policy.actor(obs) - acts).abs().max().detach()}

        trainer = bc.BC(
            policy=policy, demonstrations=data, rng=np.random.default_rng(0), loss_calculator=squared, **kwargs
        )
        history = trainer.train(n_epochs=30, validation_fraction=0.25, log_interval=8, progress_bar=False)
        rows = [row for row in history if "val_loss" in row]
        assert rows[-1]["val_loss"] < 0.7 * rows[0]["val_loss"]
        assert "worst" in history[0]

    def test_ready_made_batches(self, log):
        demos = _linear_demos(BOX_ACT, 64)
        batches = [{"obs": demos.obs[i : i + 8], "acts": demos.acts[i : i + 8]} for i in range(0, 64, 8)]
        sizes = []
        trainer = _make(log, batches, batch_size=16, minibatch_size=8)
        history = trainer.train(n_epochs=2, log_interval=1, on_batch_end=lambda: sizes.append(1), progress_bar=False)
        assert len(sizes) == 8
        assert history[-1]["samples_so_far"] == 128

    def test_a_generator_of_batches_serves_one_epoch(self, log):
        demos = _linear_demos(BOX_ACT, 32)
        trainer = _make(log, iter([{"obs": demos.obs, "acts": demos.acts}]))
        with pytest.raises(ValueError, match=r"Epoch 1 gave no batch.*runs only once"):
            trainer.train(n_epochs=2, progress_bar=False)


class TestRegularizer:
    def test_lambda_adapts_to_the_validation_split(self, log):
        factory = LpRegularizer.create(0.1, IntervalParamScaler(0.5, (0.0, 1e-6)), val_split=0.25, p=2)
        trainer = _make(log, _linear_demos(BOX_ACT, 128), regularizer_factory=factory)
        history = trainer.train(n_epochs=2, progress_bar=False)
        assert sum("val_loss" in row for row in history) == 2
        assert len(trainer._parts()[1]) == 32
        assert trainer.regularizer.lambda_ == pytest.approx(0.1 * 1.5**2)  # far above the interval, twice

    @pytest.mark.parametrize("act_space", [BOX_ACT, S.Discrete(3)], ids=["Box", "Discrete"])
    def test_the_updater_sees_losses_that_are_never_negative(self, log, act_space):
        seen = []

        def spy(lambda_, train_loss, val_loss):
            seen.append((train_loss, val_loss))
            return lambda_

        factory = WeightDecayRegularizer.create(1e-6, spy, val_split=0.25)
        trainer = _make(
            log,
            _linear_demos(act_space, 128),
            act_space=act_space,
            optimizer_kwargs={"lr": 1e-2},
            regularizer_factory=factory,
        )
        history = trainer.train(n_epochs=200, progress_bar=False)
        assert len(seen) == 200
        assert min(min(pair) for pair in seen) >= 0
        assert seen[-1][1] < 0.2 * seen[0][1]  # it falls as the policy learns
        if act_space is BOX_ACT:
            assert history[-1]["val_neglogp"] < 0  # while the likelihood of a density passes zero
            rows = trainer._parts()[1]
            mean = trainer.policy._predict(rows["obs"], deterministic=True).detach()
            assert seen[-1][1] == pytest.approx((mean - rows["acts"]).square().mean().item(), rel=1e-5)

    def test_the_penalty_counts_once_whatever_the_minibatches(self, log):
        for create in (lambda: LpRegularizer.create(0.1, p=2), lambda: WeightDecayRegularizer.create(0.1)):
            weights = []
            for minibatch_size in (32, 8):
                trainer = _make(
                    log,
                    _linear_demos(BOX_ACT, 64),
                    minibatch_size=minibatch_size,
                    optimizer_cls=th.optim.SGD,
                    regularizer_factory=create(),
                )
                trainer.train(n_batches=2, progress_bar=False)
                weights.append(_weights(trainer))
            th.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)

    def test_two_splits_contradict(self, log):
        factory = LpRegularizer.create(0.1, IntervalParamScaler(0.5, (0.5, 2.0)), val_split=0.25, p=2)
        trainer = _make(log, _linear_demos(BOX_ACT, 128), regularizer_factory=factory)
        with pytest.raises(ValueError, match=r"validation_fraction=0.1 contradicts the regularizer's val_split=0.25"):
            trainer.train(n_epochs=1, validation_fraction=0.1)


class TestMistakes:
    @pytest.mark.parametrize(
        ("kwargs", "error", "text"),
        [
            ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator"),
            ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1"),
            ({"batch_size": 10, "minibatch_size": 4}, ValueError, "multiple of minibatch_size, got 10 and 4"),
            ({"optimizer_kwargs": {"weight_decay": 0.1}}, ValueError, "use l2_weight"),
            ({"observation_space": S.Tuple([BOX_OBS])}, ValueError, "observation_space is Tuple.*not supported"),
            ({"observation_space": S.Dict(a=S.Text(3))}, ValueError, r"observation_space\['a'\] is Text"),
            ({"action_space": S.Dict(a=BOX_ACT)}, ValueError, "action_space is Dict.*not supported"),
            ({"action_space": S.Discrete(3, start=1)}, ValueError, "count from 0"),
            ({"action_space": S.MultiBinary([2, 2])}, ValueError, "expected one dimension"),
            ({"policy": th.nn.Linear(1, 1)}, TypeError, "policy is a Linear.*evaluate_actions"),
            ({"demonstrations": []}, ValueError, "demonstrations is empty"),
            ({"demonstrations": _linear_demos(BOX_ACT, 31)}, ValueError, "31 transitions, fewer than one batch of 32"),
            ({"demonstrations": _zeros((4,), (2,))}, ValueError, r"obs has shape \(24, 4\)"),
            ({"demonstrations": _zeros((3,), ())}, ValueError, r"acts has shape \(24,\)"),
            ({"demonstrations": _zeros((3,), (2,), 5.0)}, ValueError, "acts: 48 of 48 values are outside"),
        ],
    )
    def test_at_construction(self, kwargs, error, text, log):
        given = {
            "observation_space": BOX_OBS,
            "action_space": BOX_ACT,
            "rng": np.random.default_rng(0),
            "custom_logger": log,
        }
        with pytest.raises(error, match=text):
            bc.BC(**{**given, **kwargs})

    def test_nan(self, log):
        demos = _linear_demos(BOX_ACT, 64)
        demos.obs[40, 1] = np.nan
        with pytest.raises(ValueError, match="obs: 1 of 192 values are not finite; the first in row 40"):
            _make(log, demos)

    def test_policy_for_other_spaces(self, log):
        policy = FeedForward32Policy(BOX_OBS, BOX_ACT, lambda _: 1.0)
        with pytest.raises(ValueError, match="policy was made for actions in Box.*action_space is Discrete"):
            _make(log, policy=policy, act_space=S.Discrete(2))
        with pytest.raises(ValueError, match="policy was made for observations in Box.*is Discrete"):
            _make(log, policy=policy, obs_space=S.Discrete(2))

    @pytest.mark.parametrize(
        ("kwargs", "text"),
        [
            ({}, "exactly one of n_epochs and n_batches, got n_epochs=None and n_batches=None"),
            ({"n_epochs": 1, "n_batches": 1}, "exactly one of n_epochs and n_batches, got n_epochs=1 and n_batches=1"),
            ({"n_epochs": 0}, "n_epochs must be an integer of at least 1, got 0"),
            ({"n_batches": 1.5}, "n_batches must be an integer of at least 1, got 1.5"),
            ({"n_epochs": 1, "log_interval": 0}, "log_interval must be at least 1"),
            ({"n_epochs": 1, "validation_fraction": 1.0}, r"validation_fraction must be in \[0, 1\)"),
            ({"n_epochs": 1, "validation_fraction": 0.9}, "leaves 6 transitions for training"),
            ({"n_epochs": 1, "early_stop_patience": 3}, "needs a validation_fraction"),
        ],
    )
    def test_at_training(self, kwargs, text, log):
        trainer = _make(log, _linear_demos(BOX_ACT, 64))
        with pytest.raises(ValueError, match=text):
            trainer.train(**kwargs)

    def test_no_demonstrations(self, log):
        with pytest.raises(ValueError, match="There are no demonstrations"):
            _make(log).train(n_epochs=1)

    def test_ready_made_batches_allow_neither_split_nor_schedule_by_epochs(self, log):
        demos = _linear_demos(BOX_ACT, 32)
        trainer = _make(log, [{"obs": demos.obs, "acts": demos.acts}])
        with pytest.raises(ValueError, match="A validation split needs demonstrations given as transitions"):
            trainer.train(n_epochs=1, validation_fraction=0.2)
        with pytest.raises(ValueError, match="lr_schedule needs the number of updates"):
            trainer.train(n_epochs=1, lr_schedule=lambda left: left)

    def test_reconstruct_policy(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            bc.reconstruct_policy(tmp_path / "none")
        th.save({"a": 1}, tmp_path / "pickle.pt")
        with pytest.raises(ValueError, match="pickle"):
            bc.reconstruct_policy(tmp_path / "pickle.pt")


def test_logged_steps_are_batches_and_go_on_over_trainings(log):
    trainer = _make(log, _linear_demos(BOX_ACT, 128))
    steps = []
    trainer.logger.dump = steps.append
    trainer.train(n_batches=9, log_interval=4, progress_bar=False)
    trainer.train(n_batches=5, log_interval=4, progress_bar=False)
    assert steps == [0, 4, 8, 9, 13]
    trainer.train(n_batches=1, log_interval=4, progress_bar=False, reset_tensorboard=True)
    assert steps[-1] == 0


def test_the_decay_of_adamw_can_be_turned_off(log):
    trainer = _make(log, optimizer_cls=th.optim.AdamW, optimizer_kwargs={"weight_decay": 0})
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0
