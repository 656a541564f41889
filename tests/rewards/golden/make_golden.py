"""Writes `reward_v<version>.safetensors` and the rewards it must predict. Run once per format version, never again."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch as th
from gymnasium import spaces

from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicPotentialMLP,
    BasicRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
    ShapedRewardNet,
)
from imitation_lab.rewards.serialize import VERSION, save_reward
from imitation_lab.util.networks import EMANorm, RunningNorm

HERE = Path(__file__).parent


def example_batch():
    """Inputs of the recorded rewards, without a random generator: it may change between versions of NumPy."""
    t = np.arange(6, dtype=np.float32)
    state = {"a": np.stack([np.sin(t), np.cos(t)], axis=1), "b": np.arange(6) % 3}
    next_state = {"a": np.stack([np.sin(t + 1), np.cos(t + 1)], axis=1), "b": (np.arange(6) + 1) % 3}
    return state, np.arange(6) % 2, next_state, np.arange(6) == 5


def main() -> None:
    th.manual_seed(0)
    obs = spaces.Dict(a=spaces.Box(-1, 1, (2,), np.float32), b=spaces.Discrete(3))
    acts = spaces.Discrete(2)

    def member():
        base = BasicRewardNet(obs, acts, hid_sizes=[4], activation=th.nn.Tanh, use_done=True)
        return NormalizedRewardNet(ShapedRewardNet(base, BasicPotentialMLP(obs, (3,)), 0.9), RunningNorm)

    net = NormalizedRewardNet(
        AddSTDRewardWrapper(RewardEnsemble(obs, acts, [member(), member()]), default_alpha=0.5), EMANorm
    )
    for _ in range(3):
        net.predict_processed(*example_batch())
    save_reward(net, HERE / f"reward_v{VERSION}.safetensors")
    calls = {"predict": net.predict, "predict_processed": partial(net.predict_processed, update_stats=False)}
    rewards = {name: call(*example_batch()).tolist() for name, call in calls.items()}
    (HERE / f"reward_v{VERSION}.json").write_text(json.dumps(rewards, indent=1) + "\n")


if __name__ == "__main__":
    main()
