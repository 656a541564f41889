import numpy as np
import pytest

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.bounded import BoundedRewardNet
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.adversarial.presets import available, presets
from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet

KEYS = [("CartPole", "gail"), ("CartPole", "airl"), ("Pendulum", "gail"), ("Pendulum", "airl")]
MUJOCO = [("HalfCheetah", "gail"), ("Hopper", "gail")]


@pytest.mark.parametrize("key", KEYS + MUJOCO, ids="-".join)
def test_presets_build_and_run(quiet, key):
    if key in MUJOCO:
        pytest.importorskip("mujoco")
    preset = presets(*key)
    trainer = preset.build(np.random.default_rng(0), 0, custom_logger=quiet, gen_train_timesteps=None)
    assert isinstance(trainer, GAIL if key[1] == "gail" else AIRL)
    assert isinstance(trainer._reward_net, NormalizedRewardNet) == preset.normalize_reward
    assert preset.total_timesteps >= trainer.gen_train_timesteps
    assert presets(preset.env_name, key[1].upper()) is preset
    assert len(preset.result.seeds) == len(preset.result.returns) == (1 if key in MUJOCO else 3)
    trainer.train(trainer.gen_train_timesteps, progress_bar=False)
    assert np.isfinite(trainer.history[-1]["disc_loss"])


def test_two_builds_are_alike_and_arguments_are_not_shared(quiet):
    preset = presets("CartPole", "gail")

    def weight():
        trainer = preset.build(np.random.default_rng(0), 0, custom_logger=quiet, disc_opt_kwargs={"lr": 1e-4})
        assert trainer._disc_opt.param_groups[0]["lr"] == 1e-4
        return next(trainer._reward_net.parameters()).detach().numpy()

    np.testing.assert_array_equal(weight(), weight())
    assert preset.trainer_kwargs["disc_opt_kwargs"] == {"lr": 1e-3}


def test_unknown_presets():
    assert sorted(available()) == sorted(KEYS + MUJOCO)
    with pytest.raises(ValueError, match=r"no preset for \('Hopper', 'airl'\); there are \('CartPole', 'gail'\)"):
        presets("Hopper", "airl")


def test_bounded_reward(build):
    trainer = build(net=lambda o, a: BoundedRewardNet(o, a, bound=0.5, hid_sizes=(8,)))
    net = trainer._reward_net
    state = np.linspace(-50, 50, 30, dtype=np.float32).reshape(10, 3)
    batch = (state, np.arange(10) % 3, state, np.zeros(10, bool))
    plain = BasicRewardNet.forward(net, *net.preprocess(*batch)).detach().numpy()
    np.testing.assert_allclose(net.predict(*batch), 0.5 * np.tanh(plain / 0.5), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="bound must be a positive number, got 0"):
        BoundedRewardNet(net.observation_space, net.action_space, bound=0)
