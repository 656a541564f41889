"""A reward network over all states of a tabular environment at once."""

import numpy as np
import torch as th
from gymnasium import spaces

from imitation_lab.envs.tabular import TabularModel
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import networks

__all__ = ["squeeze_r", "network_inputs", "uses_action"]


def squeeze_r(r_output: th.Tensor) -> th.Tensor:
    """A reward network's output, `(batch,)` or `(batch, 1)`, as `(batch,)`.

    Raises:
        ValueError: if it has another shape.
    """
    if r_output.ndim == 1:
        return r_output
    if r_output.ndim == 2 and r_output.shape[1] == 1:
        return r_output.squeeze(1)
    raise ValueError(f"The reward has shape {tuple(r_output.shape)}, expected (batch,) or (batch, 1).")


def network_inputs(net: RewardNet, model: TabularModel, over_actions: bool) -> tuple[th.Tensor, ...]:
    """The network's inputs for every state, or every state and action, states first."""
    n_states, n_actions = model.state_dim, model.action_dim
    space = net.observation_space
    if isinstance(space, spaces.Discrete) and space.n == n_states:
        observations = int(space.start) + np.arange(n_states)
    elif model.observation_matrix is not None:
        observations = model.observation_matrix
    else:
        raise ValueError(
            f"The reward network takes observations of {space}, but the environment has no observation_matrix: make "
            f"the network with Discrete({n_states}), the states."
        )
    actions = np.zeros(n_states, dtype=np.int64)
    if over_actions:
        observations, actions = np.repeat(observations, n_actions, axis=0), np.tile(np.arange(n_actions), n_states)
    done = np.zeros(len(actions), dtype=np.float32)
    return net.preprocess(observations, actions, observations, done)


def uses_action(net: RewardNet, model: TabularModel) -> bool:
    """Finds out by gradients what the network depends on."""
    inputs = [x.detach().clone().requires_grad_() for x in network_inputs(net, model, False)]
    with networks.evaluating(net), th.enable_grad():
        output = squeeze_r(net(*inputs))
    if output.shape != (model.state_dim,):
        raise ValueError(f"The reward has shape {tuple(output.shape)} for {model.state_dim} states, expected one each.")
    _, action, next_state, done = th.autograd.grad(output.sum(), inputs, allow_unused=True)
    surplus = [name for name, grad in (("next_state", next_state), ("done", done)) if grad is not None]
    if surplus:
        raise ValueError(
            f"{type(net).__name__} depends on {' and '.join(surplus)}, expected a reward of state, or state and "
            "action: pass use_next_state=False and use_done=False, and no shaping around it."
        )
    return action is not None
