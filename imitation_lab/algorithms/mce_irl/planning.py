"""Soft value iteration and state occupancy over a finite horizon, in float64, on buffers that are made once.

Arrays are laid out `(A, S)` inside, so that sums over actions run along memory. Products with the transition matrix
are dense where it is small, and over its non-zero entries else: a step then costs as much as there are entries.
"""

import functools
import itertools
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

from imitation_lab.envs import tabular

__all__ = ["Step", "Matrix", "Dynamics", "dynamics_of", "Solver"]

Step = Callable[[], Any]


class Matrix:
    """A matrix `(rows, columns)` that is multiplied with many vectors.

    Args:
        shape: rows and columns.
        row: of each non-zero entry, ascending.
        column: of each.
        value: of each.
        dense: whether to keep all entries.
    """

    def __init__(
        self, shape: tuple[int, int], row: np.ndarray, column: np.ndarray, value: np.ndarray, dense: bool
    ) -> None:
        self.shape, self.row, self.column, self.value = shape, row, column, value
        self.dense: np.ndarray | None = None
        self.sparse: th.Tensor | None = None
        if dense:
            self.dense = np.zeros(shape)
            self.dense[row, column] = value
        else:
            self.sparse = _torch_csr(shape, row, column, value)

    def scaled(self, factor: float) -> "Matrix":
        """This matrix times a number."""
        if factor == 1:
            return self
        return Matrix(self.shape, self.row, self.column, self.value * factor, self.dense is not None)

    def products(self, xs: np.ndarray, outs: np.ndarray) -> list[Step]:
        """Functions that write the product with what a row of `xs` then holds to the row of `outs`.

        Args:
            xs: `(n, columns)`, or `(columns,)` for the same one in all.
            outs: `(n, rows)`.
        """
        if self.sparse is not None:
            x, out = th.from_numpy(xs), th.from_numpy(outs).unbind(0)
            vectors = itertools.repeat(x, len(out)) if x.ndim == 1 else x.unbind(0)
            return [functools.partial(th.mv, self.sparse, v, out=o) for v, o in zip(vectors, out, strict=True)]
        arrays = itertools.repeat(xs, len(outs)) if xs.ndim == 1 else xs
        if self.dense is not None:
            return [functools.partial(np.dot, self.dense, v, o) for v, o in zip(arrays, outs, strict=True)]
        return [functools.partial(self._count, v, o) for v, o in zip(arrays, outs, strict=True)]

    def _count(self, x: np.ndarray, out: np.ndarray) -> None:
        out[:] = np.bincount(self.row, self.value * x[self.column], len(out))


def _torch_csr(shape: tuple[int, int], row: np.ndarray, column: np.ndarray, value: np.ndarray) -> th.Tensor | None:
    """A sparse tensor, or None where this build of torch cannot multiply with one (without MKL)."""
    starts = np.searchsorted(row, np.arange(shape[0] + 1)).astype(np.int32)  # int64 would be converted at each product
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "in beta state"
        try:
            parts = (th.from_numpy(starts), th.from_numpy(column.astype(np.int32)), th.from_numpy(value))
            sparse = th.sparse_csr_tensor(*parts, shape)
            th.mv(sparse, th.zeros(shape[1], dtype=th.float64), out=th.empty(shape[0], dtype=th.float64))
        except RuntimeError:
            return None
    return sparse


class Dynamics:
    """The products that a transition matrix `(S, A, S)` takes part in.

    Raises:
        ValueError: if a row of the matrix is no distribution.
    """

    def __init__(self, source: np.ndarray) -> None:
        self.source = source
        matrix = np.asarray(source, dtype=np.float64)
        tabular.check_transition_matrix(matrix)
        self.n_states, self.n_actions, _ = matrix.shape
        self._where = np.flatnonzero(matrix)
        self._values = matrix.ravel()[self._where]
        pair, target = np.divmod(self._where, self.n_states)
        state, action = np.divmod(pair, self.n_actions)
        # Below a few thousand entries a dense product costs less than the call of a sparse one.
        dense = 4 * (self._where.size + 4000) > matrix.size
        n_pairs = self.n_actions * self.n_states
        row = action * self.n_states + state
        order = np.argsort(row, kind="stable")
        self.expect = Matrix((n_pairs, self.n_states), row[order], target[order], self._values[order], dense)
        order = np.argsort(target, kind="stable")
        self.flow = Matrix((self.n_states, n_pairs), target[order], row[order], self._values[order], dense)
        self._scaled: tuple[float, Matrix] = (1.0, self.expect)

    def is_of(self, matrix: np.ndarray) -> bool:
        """Whether `matrix` is what this was made of, unchanged.

        It is enough to compare the entries that were not zero: they sum to one, so that any other that changed would
        make the matrix invalid.
        """
        return matrix is self.source and np.array_equal(matrix.reshape(-1)[self._where], self._values)

    def discounted(self, discount: float) -> Matrix:
        """`(A·S, S)`: from values of states to discounted expectations for each action and state."""
        if self._scaled[0] != discount:
            self._scaled = (discount, self.expect.scaled(discount))
        return self._scaled[1]


_known: weakref.WeakKeyDictionary[Any, Dynamics] = weakref.WeakKeyDictionary()


def dynamics_of(env: Any) -> Dynamics:
    """The dynamics of a tabular environment; made anew only if its transition matrix has changed."""
    core = getattr(env, "unwrapped", env)
    source = core.transition_matrix
    known = _known.get(core)
    if known is None or not known.is_of(source):
        known = _known[core] = Dynamics(source)
    return known


class Solver:
    """Finite-horizon soft dynamic programming; every call overwrites the buffers.

    Args:
        dynamics: of S states and A actions.
        horizon: T, in steps.
        initial: `(S,)`, the distribution of the first state.
        discount: γ.
        keep_q: whether `q` is wanted.

    Attributes:
        v: `(T + 1, S)`, soft values; the last row is 0.
        q: `(T, A, S)`, soft action values, without rewards that depend on the state alone; if they are not kept, `pi`.
        pi: `(T, A, S)`, the policy.
        d: `(T + 1, S)`, probabilities of the states.
        weights: `(T + 1,)`, γᵗ.
    """

    def __init__(
        self, dynamics: Dynamics, horizon: int, initial: np.ndarray, discount: float, keep_q: bool = False
    ) -> None:
        shape = (horizon, dynamics.n_actions, dynamics.n_states)
        self.dynamics = dynamics
        self.initial = initial
        self.discount = discount
        self.weights = discount ** np.arange(horizon + 1.0)
        self.v = np.zeros((horizon + 1, dynamics.n_states))
        self.d = np.zeros((horizon + 1, dynamics.n_states))
        self.pi = np.empty(shape)
        self.q = np.empty(shape) if keep_q else self.pi  # half the memory to go through
        self._flow = np.empty(shape[1:])
        self._backward: list[tuple] = []
        self._forward: list[Step] = []

    def partition(self, state_reward: np.ndarray | float, reward: np.ndarray | None = None) -> None:
        """Fills `v`, `q` and `pi` under the reward R(s) + R(s, a).

        Args:
            state_reward: R(s), `(S,)`, or a number.
            reward: R(s, a), `(A, S)`, or None.
        """
        if not self._backward:
            matrix = self.dynamics.discounted(self.discount)
            steps = matrix.products(self.v[1:], self.q.reshape(len(self.q), -1))
            self._backward = list(zip(steps, self.q, self.pi, self.v[:-1], strict=True))[::-1]
        top, total = np.empty((2, self.dynamics.n_states))
        ones = np.ones(self.dynamics.n_actions)
        for look_ahead, q, pi, v in self._backward:
            look_ahead()
            if reward is not None:
                q += reward
            np.maximum.reduce(q, axis=0, out=top)
            np.subtract(q, top, pi)
            np.exp(pi, pi)
            np.dot(ones, pi, total)
            np.reciprocal(total, v)
            np.multiply(pi, v, pi)  # a division of the table would take four times as long
            np.log(total, total)
            np.add(total, top, total)
            np.add(total, state_reward, v)

    def occupancy(self, pi: np.ndarray | None = None) -> None:
        """Fills `d` under the policy `pi`, `(T, A, S)`, by default the one found last."""
        if not self._forward:
            self._forward = self.dynamics.flow.products(self._flow.reshape(-1), self.d[1:])
        self.d[0] = self.initial
        for move, chances, d in zip(self._forward, self.pi if pi is None else pi, self.d, strict=False):
            np.multiply(chances, d, self._flow)
            move()
