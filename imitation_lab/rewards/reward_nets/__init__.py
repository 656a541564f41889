"""Reward networks: what reward learning learns, and the wrappers around it.

`ForwardWrapper`s, such as shaping, come first and act in training too; `PredictProcessedWrapper`s, such as
normalization, come outside of these and change only what a policy is rewarded with.
"""

from imitation_lab.rewards.reward_nets.base import (
    ForwardWrapper,
    PredictProcessedWrapper,
    RewardNet,
    RewardNetWithVariance,
    RewardNetWrapper,
    wrapper_chain,
)
from imitation_lab.rewards.reward_nets.basic import (
    BasicPotentialCNN,
    BasicPotentialMLP,
    BasicRewardNet,
    CNNRewardNet,
    CnnRewardNet,
    cnn_transpose,
)
from imitation_lab.rewards.reward_nets.constructor import register_module
from imitation_lab.rewards.reward_nets.ensemble import RewardEnsemble
from imitation_lab.rewards.reward_nets.wrappers import (
    AddSTDRewardWrapper,
    BasicShapedRewardNet,
    NormalizedRewardNet,
    ShapedRewardNet,
)

__all__ = [
    "RewardNet", "RewardNetWrapper", "ForwardWrapper", "PredictProcessedWrapper", "RewardNetWithVariance",
    "BasicRewardNet", "CnnRewardNet", "CNNRewardNet", "BasicPotentialMLP", "BasicPotentialCNN",
    "ShapedRewardNet", "BasicShapedRewardNet", "NormalizedRewardNet", "RewardEnsemble", "AddSTDRewardWrapper",
    "cnn_transpose", "register_module", "wrapper_chain",
]  # fmt: skip
