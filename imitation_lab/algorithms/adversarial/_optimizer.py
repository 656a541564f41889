"""The discriminator's optimizer."""

from collections.abc import Mapping
from typing import Any

import torch as th

from imitation_lab.rewards.reward_nets import RewardNet


def make_optimizer(cls: type[th.optim.Optimizer], net: RewardNet, kwargs: Mapping[str, Any]) -> th.optim.Optimizer:
    """An optimizer of all parameters of `net`; ValueError if there are none."""
    options = dict(kwargs)
    if cls in (th.optim.Adam, th.optim.AdamW) and not options.keys() & {
        "fused",
        "foreach",
        "differentiable",
        "capturable",
    }:
        options["fused"] = True  # the same steps with fewer kernels
    parameters = list(net.parameters())
    if not parameters:
        raise ValueError(f"reward_net ({type(net).__name__}) has no parameters: there is nothing to train.")
    return cls(parameters, **options)
