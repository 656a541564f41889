"""Huber cloning: regress on the expert's actions, and forgive its slips.

    loss = mean(h(π(s) − a)),    h(x) = x²/2 for |x| < delta, delta (|x| − delta/2) beyond

with π the `policy`, s and a the expert's observations and actions (P. J. Huber, "Robust estimation of a location
parameter", 1964).
"""

import numpy as np
import torch as th
import torch.nn.functional as F
from gymnasium import spaces

from imitation_lab.algorithms import base
from imitation_lab.algorithms.plugins import Algorithm
from imitation_lab.policies.base import NonTrainablePolicy
from imitation_lab.util import checks, networks, util


def huber_loss(predicted, acts, delta=1.0):
    """The loss and its metrics: tensors `(batch, act_dim)` in, `(scalar, dict of detached scalars)` out."""
    loss = F.huber_loss(predicted, acts, delta=delta)
    with th.no_grad():
        slips = ((predicted - acts).abs() > delta).float().mean()
    return loss, {"loss": loss.detach(), "slips": slips}


class MeanPolicy(NonTrainablePolicy):
    """Acts as a network says, which maps `(batch, obs_dim)` to `(batch, act_dim)`; `rng` draws its weights."""

    def __init__(self, observation_space, action_space, rng):
        super().__init__(observation_space, action_space)
        sizes = {"in_size": observation_space.shape[0], "hid_sizes": (32, 32), "out_size": action_space.shape[0]}
        with util.seeded_torch(rng):  # leaves the global random states as they were
            self.net = networks.build_mlp(**sizes, normalize_input_layer=networks.RunningNorm).eval()

    def _choose_action(self, obs):
        return self._choose_actions(obs[None], 1)[0]

    def _choose_actions(self, obs, n):
        with th.no_grad():
            acts = self.net(th.as_tensor(obs, dtype=th.float32)).numpy()
        return np.clip(acts, self.action_space.low, self.action_space.high)


class HuberCloning(base.Saved, base.DemonstrationAlgorithm):
    """Clones a deterministic policy by the Huber loss, which forgives slips."""

    _state = ("policy.net", "optimizer", "rng", "_data", "history")

    def __init__(self, *, demonstrations=None, venv, rng, batch_size=32, lr=1e-3, delta=1.0, custom_logger=None):
        for space in (venv.observation_space, venv.action_space):
            if not isinstance(space, spaces.Box) or len(space.shape) != 1:
                raise ValueError(f"The space {space} is no flat Box: flatten it with a Gymnasium wrapper.")
        checks.integers(1, batch_size=batch_size)
        checks.positive(lr=lr, delta=delta)
        self.rng, self.batch_size, self.lr, self.delta, self.history = rng, batch_size, lr, delta, []
        self._policy = MeanPolicy(venv.observation_space, venv.action_space, rng)
        self.optimizer = th.optim.Adam(self.policy.net.parameters(), lr=lr)
        self._spec = base.TensorSpec(("obs", "acts"), "cpu", venv.observation_space, venv.action_space)
        self._data = base.TransitionTensors({}, self._spec)
        super().__init__(demonstrations=demonstrations, custom_logger=custom_logger)

    @property
    def policy(self):
        """The clone."""
        return self._policy

    def set_demonstrations(self, demonstrations):
        """Checks the demonstrations against the spaces, and makes tensors of them once."""
        self._data = base.all_tensors(demonstrations, self._spec)

    def train(self, n_epochs, *, progress_bar=True, callback=None, stop=None):
        """Trains until all epochs are done, `callback` returns False, `stop` is set, or Ctrl-C; gives the history."""
        checks.integers(1, n_epochs=n_epochs)
        with base.Run(self, n_epochs, "epoch", progress_bar, stop) as run:
            for _ in range(n_epochs):
                row = self._epoch()
                self.history.append(row)
                for name, value in row.items():
                    self.logger.record(f"huber/{name}", value)
                self.logger.dump(len(self.history))
                if not run.step(1, callback and callback(), loss=row["loss"]):
                    break
        return self.history

    def _epoch(self):
        order = th.Generator().manual_seed(util.make_seeds(self.rng))
        found = []
        with networks.training(self.policy.net):
            for batch in self._data.batches(self.batch_size, generator=order):
                loss, metrics = huber_loss(self.policy.net(batch["obs"]), batch["acts"], self.delta)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                found.append(metrics)
        # numbers are read once per epoch
        return {name: th.stack([metrics[name] for metrics in found]).mean().item() for name in found[0]}


def make(setup, *, batch_size: int = 32, lr: float = 1e-3, delta: float = 1.0):
    """The trainer.

    Args:
        batch_size: transitions per update.
        lr: the optimizer's step size.
        delta: from where on an error counts as a slip, in the units of the actions.
    """
    given = {"demonstrations": setup.demonstrations, "venv": setup.make_venv(None), "custom_logger": setup.logger}
    return HuberCloning(**given, rng=setup.rng, batch_size=batch_size, lr=lr, delta=delta)


def train(trainer, setup, *, n_epochs: int = 20):
    """Trains it.

    Args:
        n_epochs: passes over the demonstrations.
    """
    trainer.train(n_epochs, progress_bar=False)


PRESETS = {"pendulum": {"n_epochs": 40}, "fast": {"n_epochs": 2}}
ALGORITHM = Algorithm("huber", HuberCloning, make, train, PRESETS)
