import json

import numpy as np
import pytest
import torch as th
from torch import nn

from imitation_lab.algorithms import checkpoint
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.adversarial.penalties import R1Penalty, spectral_normalize
from imitation_lab.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet, NormalizedRewardNet, ShapedRewardNet
from imitation_lab.util import artifacts
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import RunningNorm

CASES = [
    (GAIL, "PPO", "discrete"),
    (AIRL, "PPO", "discrete"),
    (GAIL, "DQN", "discrete"),
    (AIRL, "SAC", "box"),
    (GAIL, "TD3", "box"),
]
IDS = [f"{cls.__name__}-{gen}" for cls, gen, _ in CASES]


def net(obs_space, act_space):
    with th.random.fork_rng():
        th.manual_seed(7)
        shaped = BasicShapedRewardNet(
            obs_space, act_space, reward_hid_sizes=(8,), potential_hid_sizes=(8,), normalize_input_layer=RunningNorm
        )
    return NormalizedRewardNet(shaped, RunningNorm)


def everything(trainer):
    state = {f"policy/{k}": v for k, v in trainer.policy.state_dict().items()}
    state.update({f"net/{k}": v for k, v in trainer._reward_net.state_dict().items()})
    return {name: value.clone() for name, value in state.items()}


def start(build, cls, gen, act):
    return build(cls, "box", act, gen, net=net, penalties=[R1Penalty(0.1)], record_logits=3, seed=1)


@pytest.mark.parametrize(("cls", "gen", "act"), CASES, ids=IDS)
def test_a_resumed_run_is_bit_equal(build, quiet, tmp_path, cls, gen, act):
    def save_at(trainer, folder):
        return lambda r: trainer.save(tmp_path / folder) if r == 2 else None

    whole = start(build, cls, gen, act)
    whole.train(16 * 6, save_at(whole, "whole"), progress_bar=False)

    first = start(build, cls, gen, act)
    first.train(16 * 6, lambda r: (save_at(first, "part")(r), r < 2)[1], progress_bar=False)
    th.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - what happens in between must not matter
    venv = build(cls, "box", act, gen, seed=5).venv
    second = cls.load(tmp_path / "part", venv, custom_logger=quiet)
    assert second.gen_algo.num_timesteps == 48
    second.train(16 * 3, progress_bar=False)

    expected, found = everything(whole), everything(second)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert th.equal(value, found[name]), name
    np.testing.assert_equal(second.history, whole.history)
    assert isinstance(second.penalties[0], R1Penalty)


def test_the_checkpoint_holds_what_the_constructor_was_given(build, quiet, tmp_path):
    trainer = build(GAIL, reward_form="airl", demo_minibatch_size=4, n_disc_updates_per_round=5)
    trainer.train(32, progress_bar=False)
    file = trainer.save(tmp_path)
    assert artifacts.read_header(file).kind == "checkpoint"
    loaded = GAIL.load(tmp_path, build().venv, custom_logger=quiet)
    for name in ("demo_batch_size", "demo_minibatch_size", "n_disc_updates_per_round", "gen_train_timesteps"):
        assert getattr(loaded, name) == getattr(trainer, name)
    assert loaded.reward_form == "airl"
    assert loaded._disc_opt_kwargs == {"lr": 1e-2}
    batch = (np.ones((4, 3), np.float32), np.arange(4) % 3, np.ones((4, 3), np.float32), np.zeros(4, bool))
    np.testing.assert_array_equal(loaded.reward_train.predict(*batch), trainer.reward_train.predict(*batch))


def test_what_is_no_data_must_be_given_again(build, quiet, tmp_path):
    def potential(state):
        return state.sum(1)

    def with_function(obs_space, act_space):
        return ShapedRewardNet(BasicRewardNet(obs_space, act_space), potential, 0.9)

    trainer = build(AIRL, net=with_function)
    trainer.train(32, progress_bar=False)
    trainer.save(tmp_path)
    venv = build().venv
    with pytest.raises(ArtifactError, match="cannot rebuild reward_net.*function.*pass reward_net="):
        AIRL.load(tmp_path, venv, custom_logger=quiet)
    fresh = with_function(venv.observation_space, venv.action_space)
    loaded = AIRL.load(tmp_path, venv, reward_net=fresh, custom_logger=quiet)
    assert th.equal(loaded._reward_net.base.mlp[-2].weight, trainer._reward_net.base.mlp[-2].weight)


def test_parametrized_networks_must_be_given_again(build, quiet, tmp_path):
    trainer = build(net=lambda o, a: spectral_normalize(BasicRewardNet(o, a)))
    trainer.save(tmp_path)
    with pytest.raises(ArtifactError, match="spectral normalization"):
        GAIL.load(tmp_path, build().venv, custom_logger=quiet)


def test_wrong_checkpoints_are_refused(build, quiet, tmp_path):
    trainer = build()
    trainer.train(32, progress_bar=False)
    file = trainer.save(tmp_path)
    venv = build().venv
    with pytest.raises(FileNotFoundError):
        GAIL.load(tmp_path / "nowhere", venv)
    with pytest.raises(ArtifactError, match="the checkpoint is of GAIL: load it with GAIL.load"):
        AIRL.load(tmp_path, venv, custom_logger=quiet)
    other = build(net=BasicRewardNet(venv.observation_space, venv.action_space, hid_sizes=(9,)))._reward_net
    with pytest.raises(ArtifactError, match="mlp"):
        GAIL.load(tmp_path, venv, reward_net=other, custom_logger=quiet)
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError):
        GAIL.load(tmp_path, venv, custom_logger=quiet)


def test_a_forged_class_is_not_built(build, quiet, tmp_path):
    trainer = build()
    file = trainer.save(tmp_path)
    found = artifacts.read(file, kind="checkpoint", version=2)
    text = json.dumps(found.meta).replace("imitation_lab.rewards.reward_nets.BasicRewardNet", "os.system")
    artifacts.write(file, kind="checkpoint", version=2, meta=json.loads(text), tensors=found.tensors)
    with pytest.raises(ArtifactError, match="not registered"):
        GAIL.load(tmp_path, build().venv, custom_logger=quiet)


def test_batches_must_be_given_again(build, quiet, tmp_path):
    fields = {"obs": np.zeros((8, 3), np.float32), "acts": np.zeros(8, int), "dones": np.zeros(8, bool)}
    batches = [{**fields, "next_obs": fields["obs"]}]
    trainer = build(demonstrations=batches)
    trainer.save(tmp_path)
    venv = build().venv
    with pytest.raises(ArtifactError, match="came as batches"):
        GAIL.load(tmp_path, venv, custom_logger=quiet)
    GAIL.load(tmp_path, venv, demonstrations=batches, custom_logger=quiet).train(16, progress_bar=False)


def test_optimizers_without_state_and_modules_alone(tmp_path):
    module = nn.Linear(2, 1)
    optimizer = th.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(th.ones(1, 2)).sum().backward()
    optimizer.step()
    state = checkpoint.State()
    checkpoint.pack_optimizer(state, "opt", optimizer)
    checkpoint.pack_module(state, "module", module)
    state.write(tmp_path / "x", 1)
    state = checkpoint.State.read(tmp_path / "x", 1)
    twin = nn.Linear(2, 1)
    other = th.optim.SGD(twin.parameters(), lr=0.5)
    checkpoint.unpack_module(state, "module", twin)
    checkpoint.unpack_optimizer(state, "opt", other)
    assert th.equal(twin.weight, module.weight)
    assert other.param_groups[0]["lr"] == 0.1
    assert th.equal(other.state[twin.weight]["momentum_buffer"], th.ones(1, 2))
    with pytest.raises(ArtifactError, match="optimizes other parameters"):
        checkpoint.unpack_optimizer(state, "opt", th.optim.SGD([twin.weight], lr=0.1))


def test_schedules_go_on_where_they_were(build, quiet, tmp_path):
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import LinearSchedule

    def trainer():
        venv = build.venv(seed=1)
        algo = PPO(
            "MlpPolicy", venv, LinearSchedule(1e-2, 1e-3, 0.9), n_steps=8, batch_size=8, n_epochs=2, device="cpu",
            seed=1, clip_range=LinearSchedule(0.3, 0.1, 1.0), policy_kwargs={"net_arch": [8], "activation_fn": nn.ReLU},
        )  # fmt: skip
        return build(gen=algo, venv=venv, seed=1)

    whole = trainer()
    whole.train(16 * 6, lambda r: r != 1 or whole.save(tmp_path / "a"), progress_bar=False)
    part = trainer()
    part.train(16 * 6, lambda r: r != 1 or (part.save(tmp_path / "b"), False)[1], progress_bar=False)
    resumed = GAIL.load(tmp_path / "b", build.venv(seed=2), custom_logger=quiet)
    resumed.train(16 * 4, progress_bar=False)
    assert resumed.policy.optimizer.param_groups[0]["lr"] == whole.policy.optimizer.param_groups[0]["lr"] == 1e-3
    for a, b in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert th.equal(a, b)


def test_a_function_as_schedule_must_be_given_again(build, quiet, tmp_path):
    from stable_baselines3 import PPO

    venv = build.venv(seed=1)
    algo = PPO("MlpPolicy", venv, lambda progress: 1e-3 * progress, n_steps=8, batch_size=8, device="cpu")
    build(gen=algo, venv=venv).save(tmp_path)
    with pytest.raises(ArtifactError, match="cannot rebuild gen_algo: PPO's argument 'learning_rate' is the function"):
        GAIL.load(tmp_path, build.venv(seed=2), custom_logger=quiet)


@pytest.mark.parametrize("keeps", [0, 8])
def test_other_rows_of_history_join_those_that_were_saved(build, quiet, tmp_path, keeps):
    trainer = start(build, GAIL, "PPO", "discrete")
    trainer.train(32, progress_bar=False)
    trainer.save(tmp_path / "first")
    venv = build().venv
    other = GAIL.load(tmp_path / "first", venv, custom_logger=quiet, record_logits=keeps)
    other.train(32, progress_bar=False)
    other.save(tmp_path / "second")
    again = GAIL.load(tmp_path / "second", venv, custom_logger=quiet)
    assert len(again.history) == len(other.history)
    assert again.history[-1]["disc_loss"] == other.history[-1]["disc_loss"]


def test_numbers_in_an_optimizers_state_stay_with_their_parameters():
    def build(first):
        parameters = [th.nn.Parameter(th.zeros(2)) for _ in range(3)]
        optimizer = th.optim.SGD(parameters, lr=0.1)
        for i, parameter in enumerate(parameters):
            optimizer.state[parameter] = {"calls": first + i, "mean": th.full((2,), float(first + i))}
        return parameters, optimizer

    state = checkpoint.State()
    checkpoint.pack_optimizer(state, "opt", build(5)[1])
    parameters, other = build(0)
    checkpoint.unpack_optimizer(state, "opt", other)
    assert [other.state[p]["calls"] for p in parameters] == [5, 6, 7]
    assert [other.state[p]["mean"].tolist() for p in parameters] == [[5, 5], [6, 6], [7, 7]]
