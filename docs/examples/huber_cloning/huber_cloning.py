"""Huber cloning: regress on the expert's actions, and forgive its slips.

    loss = mean(h(π(s) − a)),    h(x) = x²/2 for |x| < delta, delta (|x| − delta/2) beyond

with π the `policy`, s and a the expert's observations and actions (P. J. Huber, "Robust estimation of a location
parameter", 1964).
"""

import numpy as np
import torch as th
import torch.nn.functional as F
from gymnasium import spaces
from tqdm.auto import tqdm

from imitation_lab.algorithms import base
from imitation_lab.algorithms.plugins import Algorithm
from imitation_lab.policies.base import NonTrainablePolicy
from imitation_lab.util.networks import RunningNorm, build_mlp


def huber_loss(predicted, acts, delta=1.0):
    """The loss and its metrics: tensors `(batch, act_dim)` in, `(scalar, dict of detached scalars)` out."""
    loss = F.huber_loss(predicted, acts, delta=delta)
    with th.no_grad():
        slips = ((predicted - acts).abs() > delta).float().mean()
    return loss, {"loss": loss.detach(), "slips": slips}


class MeanPolicy(NonTrainablePolicy):
    """Acts as a network says; `net` maps `(batch, obs_dim)` to `(batch, act_dim)`."""

    def __init__(self, observation_space, action_space, net):
        super().__init__(observation_space, action_space)
        self.net = net

    def _choose_action(self, obs):
        return self._choose_actions(obs[None], 1)[0]

    def _choose_actions(self, obs, n):
        with th.no_grad():
            acts = self.net(th.as_tensor(obs, dtype=th.float32)).numpy()
        return np.clip(acts, self.action_space.low, self.action_space.high)


class HuberCloning(base.DemonstrationAlgorithm):
    """Clones a deterministic policy by the Huber loss, which forgives slips."""

    def __init__(self, *, demonstrations, venv, rng, batch_size=32, lr=1e-3, delta=1.0, custom_logger=None):
        for name in ("observation_space", "action_space"):
            space = getattr(venv, name)
            if not isinstance(space, spaces.Box) or len(space.shape) != 1:
                raise ValueError(f"{name} is {space}, expected a flat Box: flatten it with a Gymnasium wrapper.")
        self.venv, self.rng, self.batch_size, self.delta = venv, rng, batch_size, delta
        with base.seeded_torch(rng):  # leaves the global random states as they were
            net = build_mlp(
                venv.observation_space.shape[0],
                (32, 32),
                out_size=venv.action_space.shape[0],
                normalize_input_layer=RunningNorm,
            )
        self._policy = MeanPolicy(venv.observation_space, venv.action_space, net).eval()
        self.optimizer = th.optim.Adam(net.parameters(), lr=lr)
        super().__init__(demonstrations=demonstrations, custom_logger=custom_logger)

    @property
    def policy(self):
        """The clone."""
        return self._policy

    def set_demonstrations(self, demonstrations):
        """Checks the demonstrations against the spaces, and makes tensors of them once."""
        spec = base.TensorSpec(("obs", "acts"), "cpu", self.venv.observation_space, self.venv.action_space)
        self._data = base.demonstration_tensors(demonstrations, spec, self.batch_size)

    def train(self, n_epochs, *, progress_bar=True):
        """Trains; logs the means of each epoch."""
        generator = th.Generator().manual_seed(int(self.rng.integers(2**31)))
        batches = self._data.batches(self.batch_size, generator=generator)
        for epoch in tqdm(range(n_epochs), disable=not progress_bar):
            found = []
            self.policy.net.train()
            for batch in batches:
                loss, metrics = huber_loss(self.policy.net(batch["obs"]), batch["acts"], self.delta)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                found.append(metrics)
            self.policy.net.eval()
            for name in found[0]:  # numbers are read once per epoch
                self.logger.record(f"huber/{name}", th.stack([m[name] for m in found]).mean().item())
            self.logger.dump(epoch)


def make(setup, *, batch_size: int = 32, lr: float = 1e-3, delta: float = 1.0):
    """The trainer.

    Args:
        batch_size: transitions per update.
        lr: the optimizer's step size.
        delta: from where on an error counts as a slip, in the units of the actions.
    """
    return HuberCloning(
        demonstrations=setup.demonstrations,
        venv=setup.make_venv(None),
        rng=setup.rng,
        batch_size=batch_size,
        lr=lr,
        delta=delta,
        custom_logger=setup.logger,
    )


def train(trainer, setup, *, n_epochs: int = 20):
    """Trains it.

    Args:
        n_epochs: passes over the demonstrations.
    """
    trainer.train(n_epochs, progress_bar=False)


PRESETS = {"pendulum": {"n_epochs": 40}, "fast": {"n_epochs": 1}}
ALGORITHM = Algorithm("huber", HuberCloning, make, train, PRESETS)
