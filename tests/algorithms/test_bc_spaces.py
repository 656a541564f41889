"""Behavioral cloning on every space, on the CPU and, where there is one, on a GPU."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.policies import ActorCriticCnnPolicy, MultiInputActorCriticPolicy

from imitation_lab.algorithms import bc
from imitation_lab.data import types
from imitation_lab.util import logger, util

S = gym.spaces
BOX_OBS = S.Box(-np.inf, np.inf, (3,), np.float32)
BOX_ACT = S.Box(-2.0, 2.0, (2,), np.float32)
OBS_SPACES = {
    "box": BOX_OBS,
    "discrete": S.Discrete(5),
    "multi-discrete": S.MultiDiscrete([2, 3]),
    "multi-binary": S.MultiBinary(4),
    "image-hwc": S.Box(0, 255, (36, 40, 3), np.uint8),
    "image-chw": S.Box(0, 255, (3, 36, 40), np.uint8),
    "dict": S.Dict(
        vector=S.Box(-1, 1, (2,), np.float64), number=S.Discrete(3), pixels=S.Box(0, 255, (1, 36, 36), np.uint8)
    ),
}
ACT_SPACES = {
    "box": BOX_ACT,
    "matrix": S.Box(-1, 1, (2, 2), np.float64),
    "discrete": S.Discrete(3),
    "multi-discrete": S.MultiDiscrete([2, 3]),
    "multi-binary": S.MultiBinary(3),
}


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


def _sample(space: gym.Space, n: int) -> np.ndarray:
    space.seed(0)
    if isinstance(space, S.Dict):
        return {key: _sample(part, n) for key, part in space.items()}
    return np.stack([space.sample() for _ in range(n)])


def _demos(obs_space: gym.Space, act_space: gym.Space, n: int = 24) -> types.TransitionsMinimal:
    obs = types.maybe_wrap_in_dictobs(_sample(obs_space, n))
    return types.TransitionsMinimal(obs=obs, acts=_sample(act_space, n), infos=None)


def _make(tmp_path, obs_space, act_space, device="cpu", policy=None) -> bc.BC:
    return bc.BC(
        observation_space=obs_space,
        action_space=act_space,
        rng=np.random.default_rng(0),
        demonstrations=_demos(obs_space, act_space),
        batch_size=8,
        device=device,
        policy=policy,
        custom_logger=logger.configure(tmp_path / "log", []),
    )


def _weights(trainer: bc.BC) -> th.Tensor:
    return th.cat([w.detach().flatten() for w in trainer.policy.state_dict().values()])


@pytest.mark.parametrize("obs_space", OBS_SPACES.values(), ids=OBS_SPACES)
@pytest.mark.parametrize("act_space", ACT_SPACES.values(), ids=ACT_SPACES)
@pytest.mark.parametrize("device", DEVICES)
def test_every_space_trains_and_saves(obs_space, act_space, device, tmp_path):
    trainer = _make(tmp_path, obs_space, act_space, device=device)
    data = trainer._data.fields["obs"]
    on_device = [
        *trainer.policy.parameters(),
        trainer._data["acts"],
        *(data.values() if isinstance(data, dict) else [data]),
    ]
    assert {tensor.device.type for tensor in on_device} == {device}
    before = _weights(trainer)
    history = trainer.train(n_epochs=2, log_interval=3, progress_bar=False)
    assert not th.equal(before, _weights(trainer))
    assert [row["batch"] for row in history] == [0, 3]
    assert all(math.isfinite(row["loss"]) for row in history)
    util.save_policy(trainer.policy, tmp_path / "policy")
    loaded = bc.reconstruct_policy(tmp_path / "policy", device="cpu")
    obs = _sample(obs_space, 4)
    expected, _ = trainer.policy.to("cpu").predict(obs, deterministic=True)
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], expected)


@pytest.mark.parametrize("nested", [False, True])
def test_channels_last_demonstrations_for_a_channels_first_policy(nested, tmp_path):
    hwc, chw = (OBS_SPACES[f"image-{layout}"] for layout in ("hwc", "chw"))
    policy_class = MultiInputActorCriticPolicy if nested else ActorCriticCnnPolicy
    if nested:
        hwc, chw = (S.Dict(n=S.Discrete(2), pixels=space) for space in (hwc, chw))
    trainer = _make(tmp_path, hwc, BOX_ACT, policy=policy_class(chw, BOX_ACT, lambda _: 1e-3))
    trainer.train(n_batches=1, progress_bar=False)
    obs = _sample(hwc, 24)  # predict transposes images by itself
    trained = trainer._data["obs"]
    seen, _ = trainer.policy.obs_to_tensor(obs)
    pixels = (trained["pixels"], seen["pixels"]) if nested else (trained, seen)
    assert th.equal(*pixels)
