"""DAgger's checkpoints: bit-equal resume, files that are data, and what is refused."""

import dataclasses
import json
import pathlib
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc, dagger
from imitation_lab.algorithms.checkpoint import State
from imitation_lab.algorithms.saved import VERSION
from imitation_lab.data import types
from imitation_lab.policies.base import FeedForward32Policy
from imitation_lab.policies.serialize import save_policy
from imitation_lab.regularization.regularizers import WeightDecayRegularizer
from imitation_lab.util import artifacts, logger
from imitation_lab.util.artifacts import ArtifactError

GOLDEN = pathlib.Path(__file__).parent / "golden" / "dagger_v1"
OBS, ACT = spaces.Box(-np.inf, np.inf, (1,), np.float32), spaces.Discrete(2)
QUIET = {"log_rollouts_venv": None, "progress_bar": False}


class Line(gym.Env):
    observation_space, action_space = OBS, ACT

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-1, 1), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += 0.4 * float(action) - 0.2
        self.t += 1
        return np.array([self.x], np.float32), -abs(self.x), False, self.t == 8, {}


def expert(obs):
    return (obs[:, 0] < 0).astype(np.int64)


@pytest.fixture
def log(tmp_path):
    return logger.configure(tmp_path / "log", [])


def venv():
    return DummyVecEnv([Line, Line])


def learner(log, rng, **kwargs):
    defaults = {"device": "cpu", "batch_size": 16, "optimizer_kwargs": {"lr": 1e-2}}
    return bc.BC(observation_space=OBS, action_space=ACT, rng=rng, custom_logger=log, **{**defaults, **kwargs})


def make(folder, log, *, rng=None, expert_policy=expert, bc_trainer=None, **kwargs):
    rng = rng or np.random.default_rng(0)
    bc_trainer = bc_trainer or learner(log, rng)
    return dagger.SimpleDAggerTrainer(
        venv=venv(), scratch_dir=folder, expert_policy=expert_policy, rng=rng, bc_trainer=bc_trainer, **kwargs
    )


def run(trainer, n_rounds):
    trainer.train(
        16 * n_rounds, rollout_round_min_episodes=1, rollout_round_min_timesteps=16, bc_train_kwargs=QUIET,
        progress_bar=False,
    )  # fmt: skip


def resume(folder, log, **kwargs):
    return dagger.reconstruct_trainer(folder, venv(), log, "cpu", **kwargs)


def same(a, b):
    ours, theirs = a.policy.state_dict(), b.policy.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(th.equal(ours[name], theirs[name]) for name in ours)
    for field in ("obs", "acts"):
        assert th.equal(a.bc_trainer._data[field], b.bc_trainer._data[field])
    assert a.round_num == b.round_num


def policy(seed, net_arch=(8,)):
    th.manual_seed(seed)
    return ActorCriticPolicy(OBS, ACT, lambda _: 1.0, net_arch=list(net_arch))


@dataclasses.dataclass(frozen=True)
class Halves(dagger.BetaSchedule):
    def __call__(self, round_num):
        return 0.5


@pytest.mark.parametrize(
    "kwargs",
    [
        {"one_rng": True},
        {"one_rng": False, "optimizer_cls": th.optim.SGD, "optimizer_kwargs": {"lr": 0.1, "momentum": 0.9}},
        {"one_rng": False, "rng": "MT19937", "ent_weight": 0.1, "l2_weight": 1e-3, "minibatch_size": 8},
        {"one_rng": True, "optimizer_cls": th.optim.AdamW, "optimizer_kwargs": {"lr": 0.01, "weight_decay": 0}},
        {"one_rng": True, "train": {"validation_fraction": 0.25, "n_epochs": 2, "log_interval": 1}},
        {"one_rng": True, "train": {"log_rollouts_venv": "own"}},
    ],
)
def test_a_resumed_run_is_bit_equal(kwargs, tmp_path, log, monkeypatch):
    kwargs = dict(kwargs)
    one, kind, train = kwargs.pop("one_rng"), kwargs.pop("rng", "PCG64"), kwargs.pop("train", {})
    rngs = [np.random.Generator(getattr(np.random, kind)(i)) for i in range(2)]
    trainer = make(tmp_path / "run", log, rng=rngs[0], bc_trainer=learner(log, rngs[0 if one else 1], **kwargs))

    def go_on(trainer, n_rounds):
        options = {**QUIET, **train}
        if options["log_rollouts_venv"] == "own":
            options["log_rollouts_venv"] = trainer.venv
        trainer.train(
            16 * n_rounds, rollout_round_min_timesteps=16, bc_train_kwargs=options, progress_bar=False
        )  # fmt: skip

    go_on(trainer, 2)
    trainer.save_trainer()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    go_on(trainer, 3)
    th.manual_seed(99)
    resumed = resume(tmp_path / "copy", log, expert_policy=expert)
    assert type(resumed) is dagger.SimpleDAggerTrainer
    assert resumed.scratch_dir == tmp_path / "copy"
    assert (resumed.rng is resumed.bc_trainer.rng) == one
    go_on(resumed, 3)
    same(trainer, resumed)


def test_rounds_after_the_checkpoint_are_run_again_and_what_they_left_is_kept_apart(tmp_path, log):
    trainer = make(tmp_path / "run", log)
    run(trainer, 2)
    trainer.save_trainer()
    run(trainer, 2)
    resumed = resume(tmp_path / "run", log, expert_policy=expert)
    left = sorted(path.name for path in (tmp_path / "run" / "demos").glob("*/unused-*"))
    assert left == sorted(2 * ["unused-0-demo-00000.safetensors", "unused-0-demo-00001.safetensors"])
    run(resumed, 2)
    same(trainer, resumed)
    again = resume(tmp_path / "run", log, expert_policy=expert)
    assert len(list((tmp_path / "run" / "demos").glob("*/unused-1-*"))) == 4
    run(again, 2)
    same(trainer, again)


def test_labels_by_hand_survive_the_end_of_the_process(tmp_path, log):
    rng = np.random.default_rng(0)
    trainer = dagger.DAggerTrainer(
        venv=venv(), scratch_dir=tmp_path / "run", rng=rng, bc_trainer=learner(log, rng), beta_schedule=Halves()
    )
    trainer.save_trainer()
    collector = trainer.create_trajectory_collector()
    obs = collector.reset()
    for _ in range(8):
        obs, *_ = collector.step(expert(obs))
    resumed = resume(tmp_path / "run", log, beta_schedule=Halves())
    assert type(resumed) is dagger.DAggerTrainer
    assert resumed.extend_and_update(QUIET) == 1
    assert resumed.n_labels == 16


def test_labels_that_wait_for_their_round_to_end_are_part_of_a_checkpoint(tmp_path, log):
    trainer = make(tmp_path / "run", log)
    demos = [types.Trajectory(np.zeros((9, 1), np.float32), np.zeros(8, int), None, True)]
    trainer.add_demonstrations(demos)
    trainer.save_trainer()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for each in (trainer, resume(tmp_path / "copy", log, expert_policy=expert)):
        run(each, 1)
        assert each.n_labels == 24


def test_an_sb3_expert_is_saved_with_the_run(tmp_path, log):
    teacher = policy(3)
    trainer = make(tmp_path / "run", log, expert_policy=teacher, beta_schedule=dagger.ExponentialBetaSchedule(0.5))
    run(trainer, 1)
    trainer.save_trainer()
    resumed = resume(tmp_path / "run", log)
    assert resumed.beta_schedule == dagger.ExponentialBetaSchedule(0.5)
    obs = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(*(e.predict(obs, deterministic=True)[0] for e in (teacher, resumed.expert_policy)))


def test_the_files(tmp_path, log):
    trainer = make(tmp_path / "run", log)
    run(trainer, 1)
    checkpoint, saved = trainer.save_trainer()
    assert (checkpoint.name, saved.name) == ("checkpoint-001.safetensors", "policy-001.safetensors")
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        *("demos", "checkpoint-001.safetensors", "policy-001.safetensors"),
        *("checkpoint-latest.safetensors", "policy-latest.safetensors"),
    }
    assert {artifacts.sniff(path) for path in folder.rglob("*.safetensors")} == {"native"}
    loaded = bc.reconstruct_policy(saved, "cpu")
    assert isinstance(loaded, FeedForward32Policy)
    assert all(th.equal(a, b) for a, b in zip(loaded.parameters(), trainer.policy.parameters(), strict=True))


def test_weights_come_from_the_checkpoint_where_the_policy_file_is_another(tmp_path, log):
    """As after an interrupt between the two files."""
    trainer = make(tmp_path / "run", log)
    trainer.save_trainer()
    kept = {name: value.clone() for name, value in trainer.policy.state_dict().items()}
    run(trainer, 1)
    save_policy(trainer.policy, tmp_path / "run" / "policy-latest.safetensors")
    resumed = resume(tmp_path / "run", log, expert_policy=expert)
    assert all(th.equal(value, kept[name]) for name, value in resumed.policy.state_dict().items())


@pytest.mark.parametrize(
    ("made", "given", "text"),
    [
        ({}, {}, "cannot rebuild expert_policy: it is a function, and so no data. Make it .* pass expert_policy="),
        (
            {"beta_schedule": lambda i: 0.5},
            {"expert_policy": expert},
            "cannot rebuild beta_schedule: it is a function",
        ),
        (
            {"beta_schedule": Halves()},
            {"expert_policy": expert},
            "cannot rebuild beta_schedule: .*class .*Halves is not registered",
        ),
        (
            {"bc": {"loss_calculator": lambda *args: None}},
            {"expert_policy": expert},
            "cannot rebuild bc_trainer: its loss_calculator: it is a function",
        ),
    ],
)
def test_what_is_no_data_must_be_given_again(made, given, text, tmp_path, log):
    made = dict(made)
    rng = np.random.default_rng(0)
    make(tmp_path / "run", log, rng=rng, bc_trainer=learner(log, rng, **made.pop("bc", {})), **made).save_trainer()
    with pytest.raises(ArtifactError, match=text):
        resume(tmp_path / "run", log, **given)


def test_a_learner_with_a_regularizer_is_given_again_and_goes_on_bit_equal(tmp_path, log):
    factory = WeightDecayRegularizer.create(0.1)
    build = lambda seed: learner(log, np.random.default_rng(seed), regularizer_factory=factory)
    trainer = make(tmp_path / "run", log, bc_trainer=build(1))
    run(trainer, 2)
    trainer.save_trainer()
    run(trainer, 1)
    with pytest.raises(ArtifactError, match="bc_trainer: its regularizer_factory: it is a function"):
        resume(tmp_path / "run", log, expert_policy=expert)
    resumed = resume(tmp_path / "run", log, expert_policy=expert, bc_trainer=build(7))
    run(resumed, 1)
    same(trainer, resumed)


def test_missing_files(tmp_path, log):
    with pytest.raises(FileNotFoundError, match=r"There is no checkpoint .* called save_trainer\(\)"):
        resume(tmp_path / "nothing", log)
    trainer = make(tmp_path / "run", log)
    run(trainer, 1)
    trainer.save_trainer()
    (tmp_path / "run" / "demos" / "round-000" / "demo-00000.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"was trained on .*demo-00000.safetensors', which is missing"):
        resume(tmp_path / "run", log, expert_policy=expert)


def test_other_spaces(tmp_path, log):
    make(tmp_path / "run", log).save_trainer()
    other = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    with pytest.raises(ValueError, match="bc_trainer's observation_space is Box.*the environment's is Box"):
        dagger.reconstruct_trainer(tmp_path / "run", other, log, expert_policy=expert)


def tamper(folder, change):
    file = folder / "checkpoint-latest.safetensors"
    state = State.read(file, VERSION)
    state.meta = json.loads(json.dumps(state.meta))
    change(state.meta)
    state.write(file, VERSION)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m["labels"].update({"demonstrations": ["../../secret"]}), "names '../../secret', which is no file"),
        (lambda m: m.update({"class": "Popen"}), "is of a 'Popen', expected one of DAggerTrainer"),
        (
            lambda m: m["arguments"]["rng"]["rng"].update({"kind": "default_rng"}),
            "generator 'default_rng', which is not known",
        ),
        (lambda m: m.pop("round_num"), "lacks 'round_num'"),
        (lambda m: m["labels"].update({"n_labels": 3}), "was trained on 3 transitions, its demonstrations .* are 16"),
        (
            lambda m: m["arguments"].update({"beta_schedule": {"data": {"__class__": "torch.nn.Linear"}}}),
            "arguments do not fit SimpleDAggerTrainer: .*beta_schedule is <class",
        ),
        (
            lambda m: m["arguments"]["bc_trainer"]["saved"]["arguments"].update(
                {"optimizer_cls": {"data": {"__class__": "torch.nn.Linear"}}}
            ),
            "arguments do not fit BC",
        ),
        (lambda m: m["arguments"].update({"scratch_dir": {"data": "/elsewhere"}}), "gives 'scratch_dir', which"),
    ],
)
def test_tampering(change, text, tmp_path, log):
    trainer = make(tmp_path / "run", log)
    run(trainer, 1)
    trainer.save_trainer()
    tamper(tmp_path / "run", change)
    with pytest.raises(ArtifactError, match=text):
        resume(tmp_path / "run", log, expert_policy=expert)


def test_changed_bytes(tmp_path, log):
    make(tmp_path / "run", log).save_trainer()
    file = tmp_path / "run" / "checkpoint-latest.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ArtifactError, match="checksum"):
        resume(tmp_path / "run", log, expert_policy=expert)


def test_golden(tmp_path, log):
    """A run of two rounds, saved by version 1 of the format; `make_golden` wrote it."""
    shutil.copytree(GOLDEN, tmp_path / "run")
    trainer = resume(tmp_path / "run", log)
    assert (trainer.round_num, trainer.n_labels) == (2, 32)
    assert trainer.beta_schedule == dagger.LinearBetaSchedule(3)
    expected = json.loads((GOLDEN / "expected.json").read_text())
    obs = np.array(expected["obs"], np.float32)[:, None]
    _, log_prob, _ = trainer.policy.evaluate_actions(th.tensor(obs), th.tensor(expected["acts"]))
    np.testing.assert_allclose(log_prob.detach().numpy(), expected["log_prob"], atol=1e-5)
    run(trainer, 1)
    assert trainer.n_labels == 48


def make_golden(log):
    """Writes the golden files; for a new version of the format give GOLDEN a new name first."""
    rng = np.random.default_rng(0)
    trainer = make(
        GOLDEN, log, rng=rng, expert_policy=policy(1, (2,)), bc_trainer=learner(log, rng, policy=policy(0, (4,))),
        beta_schedule=dagger.LinearBetaSchedule(3),
    )  # fmt: skip
    run(trainer, 2)
    for path in trainer.save_trainer():
        path.unlink()
    obs = np.linspace(-1, 1, 5, dtype=np.float32)
    acts = [0, 1, 0, 1, 0]
    _, log_prob, _ = trainer.policy.evaluate_actions(th.tensor(obs[:, None]), th.tensor(acts))
    expected = {"obs": obs.tolist(), "acts": acts, "log_prob": log_prob.tolist()}
    (GOLDEN / "expected.json").write_text(json.dumps(expected))
