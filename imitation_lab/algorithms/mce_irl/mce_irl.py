"""Maximum causal entropy inverse reinforcement learning for tabular MDPs.

B. D. Ziebart, "Modeling Purposeful Adaptive Behavior with the Principle of Maximum Causal Entropy", PhD thesis, CMU
2010, chapter 9; B. D. Ziebart, A. Maas, J. A. Bagnell and A. K. Dey, "Maximum entropy inverse reinforcement learning",
AAAI 2008.

Of all policies that visit states as often as the expert, take the one with the most causal entropy. It is the soft
optimum of a reward R with weights w: for t = T − 1, …, 0 and V_T = 0,

    Q_t(s, a) = R(s) + γ E[V_{t+1}(s′) | s, a]      V_t(s) = log Σ_a exp Q_t(s, a)      π_t = exp(Q_t − V_t)

and the gradient of the expert's negative log-likelihood under π, per episode, is the difference of occupancies

    ∇_w loss = Σ_s (D(s) − D_expert(s)) ∇_w R(s)        D(s) = Σ_t γᵗ P(s_t = s)

with Q, V, π from `mce_partition_fh`, D from `mce_occupancy_measures`, γ `discount`, D − D_expert computed in `train`.

Departures from the papers:

1. R is any reward network of the state, or of state and action (then D is over pairs), not only linear in features. For
   a network the loss is not convex.
2. Adam instead of exponentiated gradient steps.
3. A discount: γ weighs later steps less in values and occupancies alike, which keeps the gradient exact.
4. The MDP has a horizon, and π depends on the time; the thesis also treats the stationary case.
5. `mce_occupancy_measures` counts T + 1 states, the last of which no action follows. Neither does a reward: learning
   counts the T states in which an action was chosen, unless the expert is given as an array that counts T + 1.
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from imitation_lab.algorithms import base, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.mce_irl.occupancy import occupancy
from imitation_lab.algorithms.mce_irl.planning import Solver, dynamics_of
from imitation_lab.algorithms.mce_irl.reward import network_inputs, squeeze_r, uses_action
from imitation_lab.envs import tabular
from imitation_lab.policies.tabular import TabularPolicy
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import codec, networks
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

__all__ = [
    "MCEIRL",
    "MCEDemonstrations",
    "Snapshot",
    "TabularPolicy",
    "mce_occupancy_measures",
    "mce_partition_fh",
    "squeeze_r",
]


def mce_partition_fh(
    env: Any, *, reward: np.ndarray | None = None, discount: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Soft value iteration over the environment's horizon T.

    Args:
        env: a tabular environment, see `imitation_lab.envs.tabular`, with S states and A actions.
        reward: R(s), R(s, a) or R(s, a, s′): `(S,)`, `(S, A)` or `(S, A, S)`; None takes the environment's.
        discount: γ, at least 0.

    Returns:
        V `(T, S)`, Q `(T, S, A)` and the policy π `(T, S, A)`.

    Raises:
        TypeError: if `env` is not tabular.
        ValueError: if its arrays are no probabilities, or `reward` does not fit or is not finite.
    """
    model, solver = _solver(env, discount, keep_q=True)
    by_state = _solve(model, solver, reward)
    solver.q += by_state
    return solver.v[:-1], solver.q.transpose(0, 2, 1), solver.pi.transpose(0, 2, 1)


def mce_occupancy_measures(
    env: Any, *, reward: np.ndarray | None = None, pi: np.ndarray | None = None, discount: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """How often each state is visited.

    Args:
        env: a tabular environment, see `imitation_lab.envs.tabular`, with S states, A actions and horizon T.
        reward: the policy is the soft optimum of this one, see `mce_partition_fh`, unless `pi` is given.
        pi: the policy, `(T, S, A)`.
        discount: γ, at least 0.

    Returns:
        The probability of each state at times 0 to T, `(T + 1, S)`, and its sum over time weighted by γᵗ, `(S,)`.

    Raises:
        TypeError: if `env` is not tabular.
        ValueError: if its arrays are no probabilities, or `pi` or `reward` does not fit.
    """
    model, solver = _solver(env, discount)
    if pi is None:
        _solve(model, solver, reward)
        solver.occupancy()
    else:
        expected = (model.horizon, model.state_dim, model.action_dim)
        pi = np.asarray(pi, dtype=np.float64)
        if pi.shape != expected:
            raise ValueError(f"pi has shape {pi.shape}, expected (horizon, states, actions) = {expected}.")
        solver.occupancy(np.ascontiguousarray(pi.transpose(0, 2, 1)))
    return solver.d, solver.weights @ solver.d


def _solver(env: Any, discount: float, keep_q: bool = False) -> tuple[tabular.TabularModel, Solver]:
    if not 0 <= discount < np.inf:
        raise ValueError(f"discount must be a finite number of at least 0, usually at most 1, got {discount!r}.")
    model = tabular.tabular_model(env)
    dynamics = dynamics_of(env)
    return model, Solver(dynamics, model.horizon, model.initial_state_dist, discount, keep_q)


def _solve(model: tabular.TabularModel, solver: Solver, reward: np.ndarray | None) -> np.ndarray | float:
    """Runs the partition for a reward of any of the three shapes; returns the part that `q` lacks."""
    values = model.reward_matrix if reward is None else np.asarray(reward, dtype=np.float64)
    shape = model.transition_matrix.shape
    if values.shape not in (shape[:1], shape[:2], shape):
        raise ValueError(f"reward has shape {values.shape}, expected {shape[:1]}, {shape[:2]} or {shape}.")
    if not np.isfinite(values).all():
        raise ValueError("reward holds NaN or infinity; expected finite rewards.")
    if values.ndim == 3:
        values = (values * model.transition_matrix).sum(axis=-1)
    by_state, by_pair = (values, None) if values.ndim == 1 else (0.0, np.ascontiguousarray(values.T))
    solver.partition(by_state, by_pair)
    return by_state


@codec.register_class
@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What was learned at one iteration, before its update.

    Attributes:
        iteration: how many updates came before.
        reward: `(S,)` or `(S, A)`.
        state_om: the model's occupancy, `(S,)`, counted as `MCEIRL.demo_state_om`.
        linf_delta: largest difference of occupancies.
        weight_norm: Euclidean norm of the reward network's weights.
        grad_norm: of the gradient; NaN at the end of training, where none is taken.
    """

    iteration: int
    reward: np.ndarray
    state_om: np.ndarray
    linf_delta: float
    weight_norm: float
    grad_norm: float


MCEDemonstrations = base.AnyTransitions | np.ndarray


class MCEIRL(saved.Saved, base.DemonstrationAlgorithm):
    """Tabular maximum causal entropy inverse reinforcement learning.

    Args:
        demonstrations: trajectories; transitions; batches of transitions (mappings with `obs`); or the expert's
            occupancy `(S,)`, as `mce_occupancy_measures(...)[1]` or without the last state, or `(S, A)` over states
            and actions. Observations are states, integers, or rows of the environment's `observation_matrix`.
            Transitions in any order will do if `discount` is 1, whole episodes in order otherwise.
        env: a tabular environment, see `imitation_lab.envs.tabular`.
        reward_net: R(s) or R(s, a), over the environment's observations.
        rng: draws the policy's actions.
        optimizer_cls: of the reward network's parameters.
        optimizer_kwargs: its arguments besides; None is a learning rate of 0.01.
        discount: γ, at least 0.
        linf_eps: stop where no state's occupancy differs more than this.
        grad_l2_eps: stop where the gradient's norm is at most this.
        log_interval: iterations between logs; None logs nothing.
        custom_logger: where metrics go.

    Attributes:
        demo_state_om: the expert's occupancy, `(S,)` or, for R(s, a), `(S, A)`; None before `set_demonstrations`.
        state_om: the model's, counted alike; None before `train`.
        reward: the learned reward, `(S,)` or `(S, A)`, under which the policy is optimal; None before `train`.
        linf_deltas: one number for each iteration so far.
        history: snapshots, see `train`.
        iteration: updates so far.
        env: as given.
        reward_net: as given.
        optimizer: of its parameters.

    Raises:
        TypeError: if the environment is not tabular, or the demonstrations are of no such kind.
        ValueError: if its arrays are no probabilities, the actions are not discrete, the reward network does not fit or
            depends on more than state and action, or the demonstrations do not fit.
    """

    _state = (
        "reward_net", "optimizer", "rng", "demo_state_om", "_weights", "linf_deltas", "iteration", "reward", "history",
    )  # fmt: skip

    def __init__(
        self,
        demonstrations: base.AnyTransitions | np.ndarray | None,
        env: Any,
        reward_net: RewardNet,
        rng: np.random.Generator,
        optimizer_cls: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        discount: float = 1.0,
        linf_eps: float = 1e-3,
        grad_l2_eps: float = 1e-4,
        log_interval: int | None = 100,
        *,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        self._model, self._solver = _solver(env, discount)
        self.env = env
        self.discount = discount
        self.reward_net = reward_net
        self.linf_eps = linf_eps
        self.grad_l2_eps = grad_l2_eps
        self.log_interval = log_interval
        self.rng = rng
        self._parameters = [p for p in reward_net.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError(f"{type(reward_net).__name__} has no parameters that could be learned.")
        self._uses_action = uses_action(reward_net, self._model)
        options = dict({"lr": 1e-2} if optimizer_kwargs is None else optimizer_kwargs)
        self.optimizer = learner.optimizer_of(optimizer_cls, self._parameters, options)
        self.demo_state_om: np.ndarray | None = None
        self.state_om: np.ndarray | None = None
        self.reward: np.ndarray | None = None
        self._weights: Any = None
        self.linf_deltas: list[float] = []
        self.history: list[Snapshot] = []
        self.iteration = 0
        shape = (self._model.horizon, self._model.state_dim, self._model.action_dim)
        uniform = np.full(shape, 1 / self._model.action_dim)
        self._policy = TabularPolicy(spaces.Discrete(shape[1]), spaces.Discrete(shape[2]), uniform, rng)
        super().__init__(demonstrations=demonstrations, custom_logger=custom_logger)

    @property
    def policy(self) -> TabularPolicy:
        """The soft optimum of the learned reward, over states; uniform before `train`."""
        return self._policy

    def set_demonstrations(self, demonstrations: base.AnyTransitions | np.ndarray) -> None:
        """Sets the expert's occupancy; see the class for what is taken."""
        self.demo_state_om, last_counts = occupancy(
            demonstrations, self._model, self._solver.weights, over_actions=self._uses_action
        )
        weights = self._solver.weights.copy()
        weights[-1] *= last_counts
        self._weights = weights

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "optimizer_cls": type(self.optimizer)}

    def _fits(self) -> None:
        shape = (self._model.state_dim, self._model.action_dim)[: 2 if self._uses_action else 1]
        if (
            self.demo_state_om is not None
            and self._weights is not None
            and (self.demo_state_om.shape != shape or self._weights.shape != self._solver.weights.shape)
        ):
            raise ArtifactError(
                f"the checkpoint's occupancy has shape {self.demo_state_om.shape} over {len(self._weights) - 1} steps, "
                f"but the environment's would have {shape} over {self._model.horizon}: give the environment of the run"
            )
        if self.reward is not None:
            history = self.history
            self._conclude(network_inputs(self.reward_net, self._model, self._uses_action))
            self.history = history

    def train(
        self,
        max_iter: int = 1000,
        *,
        progress_bar: bool = True,
        snapshots: int | Iterable[int] | None = None,
        on_iteration_end: Callable[[], Any] | None = None,
        stop: threading.Event | None = None,
    ) -> np.ndarray:
        """Learns until the occupancies agree, and sets `policy`, `reward` and `state_om`.

        Calling again goes on from there. An interrupt ends training; what was learned is kept.

        Args:
            max_iter: most updates in this call.
            progress_bar: whether to show one.
            snapshots: iterations at which to add to `history`: these, or each so many, counted over all calls. None
                takes every `log_interval`. The end is always added.
            on_iteration_end: called after each update; training ends where it returns False.
            stop: training ends once it is set.

        Returns:
            The occupancy of the learned policy, `state_om`, summed over actions: `(S,)`.

        Raises:
            ValueError: if there are no demonstrations yet, or the reward becomes NaN or infinite.
        """
        if self.demo_state_om is None:
            raise ValueError("There are no demonstrations yet: pass them at construction or to set_demonstrations().")
        if snapshots is None:
            snapshots = self.log_interval
        chosen = frozenset(snapshots) if isinstance(snapshots, Iterable) else frozenset()
        every = 0 if isinstance(snapshots, Iterable) else snapshots or 0
        inputs = network_inputs(self.reward_net, self._model, self._uses_action)
        with (
            Run(self, max_iter, "it", progress_bar, stop) as run,
            networks.training(self.reward_net),
            base.seeded_torch(self.rng),
        ):
            for _ in range(max_iter):
                wanted = self.iteration in chosen or (every > 0 and self.iteration % every == 0)
                logged = self.log_interval is not None and self.iteration % self.log_interval == 0
                if self._iterate(inputs, wanted, logged):
                    break
                ended = on_iteration_end is not None and on_iteration_end() is False
                if not run.step(1, not ended, linf_delta=self.linf_deltas[-1]):
                    break
        self._conclude(inputs)
        assert self.state_om is not None
        return self.state_om.sum(axis=1) if self._uses_action else self.state_om

    def _conclude(self, inputs: tuple) -> None:
        """Sets what is learned, without an update."""
        with networks.evaluating(self.reward_net), th.no_grad():
            reward = squeeze_r(self.reward_net(*inputs))
        self.state_om = self._solve(reward)
        self.reward = self._table(reward)
        self._policy.set_pi(self._pi.copy())
        linf_delta = float(np.abs(self.state_om - self.demo_state_om).max())
        self._snapshot(self.reward, self.state_om, linf_delta, float("nan"))

    def soft_policy(self, reward: np.ndarray) -> np.ndarray:
        """The soft optimum of a reward; `train` calls it at each iteration. Override it to plan in another way.

        Args:
            reward: `(S,)` or, for R(s, a), `(S, A)`.

        Returns:
            π, `(T, S, A)`. The next call may overwrite it.
        """
        if reward.ndim == 1:
            self._solver.partition(reward)
        else:
            self._solver.partition(0.0, np.ascontiguousarray(reward.T))
        return self._solver.pi.transpose(0, 2, 1)

    def _iterate(self, inputs: tuple, wanted: bool, logged: bool) -> bool:
        """One update; returns whether the occupancies agree already, without one."""
        self.optimizer.zero_grad()
        reward = squeeze_r(self.reward_net(*inputs))
        om = self._solve(reward.detach())
        difference = om - self.demo_state_om
        linf_delta = float(np.abs(difference).max())
        self.linf_deltas.append(linf_delta)
        reward.backward(th.from_numpy(difference.reshape(-1)).to(reward))
        grad_norm = float("nan")
        if self.grad_l2_eps > 0 or wanted or logged:
            grad_norm = _norm([p.grad for p in self._parameters if p.grad is not None])
        if logged:
            self.logger.record("iteration", self.iteration)
            self.logger.record("linf_delta", linf_delta)
            self.logger.record("weight_norm", _norm(self._parameters))
            self.logger.record("grad_norm", grad_norm)
            self.logger.dump(self.iteration)
        if wanted:
            self._snapshot(self._table(reward.detach()), om, linf_delta, grad_norm)
        if linf_delta <= self.linf_eps or grad_norm <= self.grad_l2_eps:
            return True
        self.optimizer.step()
        self.iteration += 1
        return False

    def _solve(self, reward: th.Tensor) -> np.ndarray:
        """The model's occupancy under a reward `(S,)` or `(S·A,)`; fills the solver's buffers."""
        values = reward.to("cpu", th.float64).numpy()
        if not np.isfinite(values).all():
            raise ValueError(
                f"The reward became NaN or infinite after {self.iteration} iterations: lower the learning rate, or "
                "check the observations."
            )
        self._pi = self.soft_policy(self._shaped(values))
        pi = self._pi.transpose(0, 2, 1)
        self._solver.occupancy(pi)
        if not self._uses_action:
            return self._weights @ self._solver.d
        pairs = pi * self._solver.d[:-1, None]
        return np.tensordot(self._weights[:-1], pairs, axes=1).T

    def _table(self, reward: th.Tensor) -> np.ndarray:
        return self._shaped(reward.to("cpu", th.float64).numpy().copy())

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, self._model.action_dim) if self._uses_action else values

    def _snapshot(self, reward: np.ndarray, om: np.ndarray, linf_delta: float, grad_norm: float) -> None:
        state_om = om.sum(axis=1) if self._uses_action else om
        taken = Snapshot(self.iteration, reward, state_om, linf_delta, _norm(self._parameters), grad_norm)
        if self.history and self.history[-1].iteration == self.iteration:
            self.history.pop()  # the same weights, but for the gradient
        self.history.append(taken)


def _norm(tensors: list[Any]) -> float:
    if any(t.device.type != "cpu" for t in tensors):
        return float(th.nn.utils.get_total_norm([t.detach() for t in tensors]))
    arrays = [t.detach().numpy().reshape(-1) for t in tensors]
    return math.sqrt(sum(float(x.dot(x)) for x in arrays))
