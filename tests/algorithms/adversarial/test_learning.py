"""Does it learn? A task of seconds: the expert picks 1 where the first entry of the observation is positive, else 0."""

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN, PPO, SAC

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.data import types
from imitation_lab.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet


def expert_action(obs, kind):
    right = obs[..., 0] > 0
    if kind == "discrete":
        return right.astype(int)
    return np.stack([np.where(right, 1.5, -1.5), np.where(right, -1.0, 1.0)], -1).astype(np.float32)


def demonstrations(kind, n=20, length=8):
    rng = np.random.default_rng(0)
    out = []
    for _ in range(n):
        obs = rng.uniform(-1, 1, (length + 1, 3)).astype(np.float32)
        out.append(types.TrajectoryWithRew(obs, expert_action(obs[:-1], kind), None, True, np.zeros(length)))
    return out


def trained(build, cls, gen, kind, steps, flip=False, **kwargs):
    def generator(venv):
        if gen == "PPO":
            return PPO(
                "MlpPolicy", venv, n_steps=64, batch_size=64, learning_rate=3e-3, gamma=0.5, seed=0, device="cpu"
            )
        off = {"learning_rate": 3e-3, "gamma": 0.0, "seed": 0, "device": "cpu", "learning_starts": 100, "train_freq": 1}
        if gen == "DQN":
            return DQN("MlpPolicy", venv, target_update_interval=50, exploration_fraction=0.5, **off)
        return SAC("MlpPolicy", venv, policy_kwargs={"net_arch": [32]}, **off)

    def net(obs_space, act_space):
        with th.random.fork_rng():
            th.manual_seed(0)
            return (BasicShapedRewardNet if cls is AIRL else BasicRewardNet)(obs_space, act_space)

    venv = build.venv("box", kind, n_envs=4)
    arguments = {"gen_train_timesteps": 256, "gen_replay_buffer_capacity": 512, "n_disc_updates_per_round": 8}
    trainer = build(
        cls, "box", kind, generator(venv), net, demonstrations=demonstrations(kind), demo_batch_size=64, venv=venv,
        **{**arguments, **kwargs},
    )  # fmt: skip
    if flip:
        trainer._piece_labels = 1 - trainer._piece_labels
    trainer.train(steps, progress_bar=False)
    return trainer


def agreement(trainer, kind):
    obs = np.random.default_rng(1).uniform(-1, 1, (500, 3)).astype(np.float32)
    acts, _ = trainer.policy.predict(obs, deterministic=True)
    right = expert_action(obs, kind)
    return float((acts == right).mean() if kind == "discrete" else (np.sign(acts) == np.sign(right)).all(-1).mean())


CASES = [(GAIL, "PPO", "discrete", 12_000), (AIRL, "PPO", "discrete", 12_000), (GAIL, "PPO", "box", 20_000)]
OFF = [(GAIL, "DQN", "discrete", 6_000)]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "gen", "kind", "steps"), CASES + OFF, ids=lambda x: getattr(x, "__name__", x))
def test_learns_what_the_expert_does(build, cls, gen, kind, steps):
    assert agreement(trained(build, cls, gen, kind, steps), kind) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "gen", "kind", "steps"), CASES[:2], ids=lambda x: getattr(x, "__name__", x))
def test_flipped_labels_do_not_learn(build, cls, gen, kind, steps):
    assert agreement(trained(build, cls, gen, kind, steps, flip=True), kind) < 0.5
