"""Behavioral cloning's checkpoints: bit-equal resume, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.algorithms import bc
from imitation_lab.algorithms.checkpoint import State
from imitation_lab.algorithms.saved import VERSION
from imitation_lab.data import types
from imitation_lab.regularization.regularizers import WeightDecayRegularizer
from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.util import logger
from imitation_lab.util.artifacts import ArtifactError

S = gym.spaces
SPACES = {
    "box": (S.Box(-np.inf, np.inf, (3,), np.float32), S.Box(-2.0, 2.0, (2,), np.float32)),
    "image": (S.Box(0, 255, (36, 36, 3), np.uint8), S.Discrete(3)),
    "dict": (S.Dict({"a": S.Box(-1, 1, (2,), np.float32), "b/c": S.Discrete(3)}), S.MultiDiscrete([2, 3])),
}


@pytest.fixture
def log(tmp_path):
    return logger.configure(tmp_path / "log", [])


def demonstrations(obs_space, act_space, n=64):
    obs_space.seed(0), act_space.seed(0)
    obs = [obs_space.sample() for _ in range(n)]
    if isinstance(obs_space, S.Dict):
        obs = types.DictObs({key: np.stack([o[key] for o in obs]) for key in obs_space})
    else:
        obs = np.stack(obs)
    return types.TransitionsMinimal(obs=obs, acts=np.stack([act_space.sample() for _ in range(n)]), infos=None)


def make(log, kind="box", *, demos=True, **kwargs):
    obs, act = SPACES[kind]
    kwargs = {"device": "cpu", "batch_size": 16, "rng": np.random.default_rng(0), "custom_logger": log, **kwargs}
    if demos:
        kwargs["demonstrations"] = demonstrations(obs, act)
    return bc.BC(observation_space=obs, action_space=act, **kwargs)


def same(a, b):
    ours, theirs = a.policy.state_dict(), b.policy.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(th.equal(ours[name], theirs[name]) for name in ours)
    np.testing.assert_equal(a.rng.bit_generator.state, b.rng.bit_generator.state)


def policy(space_kind, **kwargs):
    obs, act = SPACES[space_kind]
    return ActorCriticPolicy(obs, act, lambda _: 1.0, net_arch=[8], **kwargs)


@pytest.mark.parametrize(
    ("kind", "kwargs", "train"),
    [
        ("box", {"l2_weight": 1e-3, "optimizer_kwargs": {"lr": 1e-2}}, {"n_epochs": 2}),
        ("box", {"optimizer_cls": th.optim.SGD, "optimizer_kwargs": {"lr": 0.1, "momentum": 0.9}}, {"n_batches": 5}),
        ("box", {"rng": np.random.Generator(np.random.MT19937(3)), "minibatch_size": 8}, {"n_epochs": 1}),
        ("dict", {}, {"n_epochs": 2}),
        ("box", {}, {"n_epochs": 2, "validation_fraction": 0.25}),
    ],
)
def test_a_resumed_training_is_bit_equal(kind, kwargs, train, tmp_path, log):
    whole = make(log, kind, **kwargs)
    whole.train(**train, progress_bar=False)
    whole.save(tmp_path / "half")
    whole.train(**train, progress_bar=False)
    np.random.default_rng().random()
    th.manual_seed(99)
    resumed = bc.BC.load(tmp_path / "half", custom_logger=log, device="cpu")
    assert resumed.batch_size == whole.batch_size
    assert resumed.minibatch_size == whole.minibatch_size
    history = resumed.train(**train, progress_bar=False)
    same(whole, resumed)
    if "validation_fraction" in train:  # on the split of the run, which training has not seen
        assert len(resumed._parts()[1]) == 16
        assert th.equal(resumed._parts()[1]["obs"], whole._parts()[1]["obs"])
        assert any("val_loss" in row for row in history)


def test_policies_that_squash_or_see_images_come_back(tmp_path, log):
    squashing = policy("box", use_sde=True, squash_output=True)
    images = ActorCriticPolicy(*SPACES["image"], lambda _: 1.0, net_arch=[8], normalize_images=False)
    for kind, network in (("box", squashing), ("image", images)):
        whole = make(log, kind, policy=network)
        whole.train(n_epochs=1, progress_bar=False)
        whole.save(tmp_path / kind)
        resumed = bc.BC.load(tmp_path / kind, custom_logger=log, device="cpu")
        for field in ("obs", "acts"):
            assert th.equal(whole._data[field], resumed._data[field])
        for trainer in (whole, resumed):
            trainer.train(n_epochs=1, progress_bar=False)
        same(whole, resumed)


def test_what_is_no_data_is_given_again(tmp_path, log):
    factory = WeightDecayRegularizer.create(
        initial_lambda=0.5, lambda_updater=IntervalParamScaler(0.1, (0.9, 1.1)), val_split=0.25
    )
    whole = make(log, regularizer_factory=factory)
    whole.train(n_epochs=2, progress_bar=False)
    whole.save(tmp_path)
    with pytest.raises(ArtifactError, match=r"cannot rebuild regularizer_factory: .* pass regularizer_factory="):
        bc.BC.load(tmp_path, custom_logger=log)
    other = bc.BC.load(tmp_path, custom_logger=log, regularizer_factory=factory)
    assert other.regularizer.lambda_ == whole.regularizer.lambda_
    other = make(log, demos=False, regularizer_factory=factory, rng=np.random.default_rng(5))
    resumed = bc.BC.load(tmp_path, bc_trainer=other)
    assert resumed is other
    assert resumed.regularizer.lambda_ == whole.regularizer.lambda_ != 0.5
    for trainer in (whole, resumed):
        trainer.train(n_epochs=2, progress_bar=False)
    same(whole, resumed)


def test_batches_are_given_again(tmp_path, log):
    data = demonstrations(*SPACES["box"])
    batches = [{"obs": data.obs[i : i + 16], "acts": data.acts[i : i + 16]} for i in (0, 16, 32, 48)]
    whole = make(log, demos=False, demonstrations=batches)
    whole.train(n_epochs=1, progress_bar=False)
    whole.save(tmp_path)
    with pytest.raises(ArtifactError, match="came as batches, which are not saved: pass demonstrations="):
        bc.BC.load(tmp_path, custom_logger=log)
    resumed = bc.BC.load(tmp_path, bc_trainer=make(log, demos=False, demonstrations=batches))
    for trainer in (whole, resumed):
        trainer.train(n_epochs=1, progress_bar=False)
    same(whole, resumed)


def test_logged_steps_go_on(tmp_path, log):
    trainer = make(log)
    trainer.train(n_epochs=1, log_interval=2, progress_bar=False)
    trainer.save(tmp_path)
    resumed = bc.BC.load(tmp_path, custom_logger=log, device="cpu")
    assert (resumed._bc_logger._before, resumed._bc_logger._batch) == (4, -1)


def test_damaged_and_missing_checkpoints_are_refused(tmp_path, log):
    with pytest.raises(FileNotFoundError):
        bc.BC.load(tmp_path / "nowhere")
    file = make(log).save(tmp_path / "run")
    damages = {
        "known": lambda state: state.meta["arguments"]["rng"]["rng"].update(kind="Evil"),
        "lacks": lambda state: state.meta.pop("bc_logger.before"),
        "differ in length": lambda state: state.tensors.update(
            {"demonstrations/fields/acts": state.array("demonstrations/fields/acts")[:3]}
        ),
        "do not fit": lambda state: state.tensors.update({"demonstrations/fields/obs": np.zeros((64, 4), np.float32)}),
        "does not take from a file": lambda state: state.meta["arguments"].update(custom_logger={"data": "csv"}),
        "here it is None": lambda state: state.meta["parts"].update(regularizer="state"),
    }
    for text, damage in damages.items():
        state = State.read(file, VERSION)
        damage(state)
        state.write(tmp_path / "bad" / file.name, VERSION)
        with pytest.raises(ArtifactError, match=text):
            bc.BC.load(tmp_path / "bad", custom_logger=log)


def test_demonstrations_are_saved_once(tmp_path, log):
    plain = make(log)
    split = make(log)
    split.train(n_epochs=1, validation_fraction=0.25, progress_bar=False)
    sizes = [trainer.save(tmp_path / name).stat().st_size for name, trainer in (("a", plain), ("b", split))]
    fields = sum(value.nbytes for value in plain._data.fields.values())
    moments = 2 * sum(p.numel() * 4 for p in plain.policy.parameters())
    assert sizes[1] - sizes[0] < moments + fields / 2 + 8 * 64 + 4000
