r"""Tabular MDPs: finitely many states and actions, with all their probabilities in arrays.

An environment counts as tabular if it (its `unwrapped`) has these attributes; nothing else about its class matters:

| attribute | shape | is |
|---|---|---|
| `transition_matrix` | `(S, A, S)` | P(s′\|s, a) |
| `reward_matrix` | `(S,)`, `(S, A)` or `(S, A, S)` | R(s), R(s, a) or R(s, a, s′) |
| `observation_matrix` | `(S, *obs_shape)` | what is observed in s; may be missing where the state itself is observed |
| `initial_state_dist` | `(S,)` | P(s₀) |
| `horizon` | int | steps of every episode |
"""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from imitation_lab.util import checks

__all__ = [
    "TabularModel", "tabular_model", "check_transition_matrix", "check_distributions", "TabularEnv", "StateObservation",
    "from_toy_text", "toy_text_arrays",
]  # fmt: skip

_SUM_TOLERANCE = 1e-5  # of probabilities; a float32 matrix passes


class _Sizes:
    transition_matrix: np.ndarray

    @property
    def state_dim(self) -> int:
        """S, the number of states."""
        return self.transition_matrix.shape[0]

    @property
    def action_dim(self) -> int:
        """A, the number of actions."""
        return self.transition_matrix.shape[1]


@dataclasses.dataclass(frozen=True)
class TabularModel(_Sizes):
    """The arrays of a tabular environment, in float64 (observations in their own dtype); S states and A actions.

    Attributes:
        transition_matrix: `(S, A, S)`.
        reward_matrix: `(S,)`, `(S, A)` or `(S, A, S)`.
        observation_matrix: `(S, *obs_shape)`, or None.
        initial_state_dist: `(S,)`.
        horizon: steps of an episode.
    """

    transition_matrix: np.ndarray
    reward_matrix: np.ndarray
    observation_matrix: np.ndarray | None
    initial_state_dist: np.ndarray
    horizon: int


_NEEDED = ("transition_matrix", "reward_matrix", "initial_state_dist", "horizon")


def tabular_model(env: Any) -> TabularModel:
    """Reads the arrays of a tabular environment and checks them, but for `check_transition_matrix`.

    Args:
        env: any environment with the attributes that the module's text lists, wrapped or not.

    Raises:
        TypeError: if attributes are missing, or `env` is vectorized.
        ValueError: if the actions are not discrete, the horizon is not finite, or an array has the wrong shape or is
            no distribution.
    """
    core = getattr(env, "unwrapped", env)
    missing = [name for name in _NEEDED if getattr(core, name, None) is None]
    if missing == ["horizon"]:
        raise ValueError(
            f"{type(core).__name__} has no horizon, so its episodes never end; give it one, such as horizon=20."
        )
    space = getattr(core, "action_space", None)
    if hasattr(env, "num_envs") and missing:
        raise TypeError(
            f"env is a vectorized environment ({type(env).__name__}), expected the tabular environment itself: pass "
            "one of those that it was made of."
        )
    if isinstance(space, spaces.Space) and not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"{type(core).__name__} has the action space {space}, expected Discrete: tabular methods list every "
            "action. Discretise the actions, or use an algorithm for continuous actions, such as BC or AIRL."
        )
    if missing:
        raise TypeError(
            f"{type(core).__name__} is not tabular: it has no {', '.join(missing)}. Expected an environment whose "
            "probabilities are known arrays; build one with imitation_lab.envs.tabular.TabularEnv, or convert one of "
            "Gymnasium's toy-text environments with imitation_lab.envs.tabular.from_toy_text."
        )
    transitions = np.asarray(core.transition_matrix, dtype=np.float64)
    if transitions.ndim != 3 or transitions.shape[0] != transitions.shape[2] or 0 in transitions.shape:
        raise ValueError(
            f"transition_matrix has shape {transitions.shape}, expected (S, A, S): P[s, a, s'] is the probability of "
            "reaching s' from s by a."
        )
    n_states, n_actions, _ = transitions.shape
    rewards = np.asarray(core.reward_matrix, dtype=np.float64)
    if rewards.shape not in (transitions.shape[:1], transitions.shape[:2], transitions.shape):
        raise ValueError(
            f"reward_matrix has shape {rewards.shape}, expected ({n_states},), ({n_states}, {n_actions}) or "
            f"({n_states}, {n_actions}, {n_states}), for {n_states} states and {n_actions} actions."
        )
    if not np.isfinite(rewards).all():
        raise ValueError("reward_matrix holds NaN or infinity; expected finite rewards.")
    observations = getattr(core, "observation_matrix", None)
    if observations is not None and (np.ndim(observations) < 1 or len(observations) != n_states):
        raise ValueError(
            f"observation_matrix has shape {np.shape(observations)}, expected ({n_states}, *obs_shape): one row for "
            "each state."
        )
    horizon = core.horizon
    checks.integers(1, horizon=horizon)
    start = np.asarray(core.initial_state_dist, dtype=np.float64)
    if start.shape != (n_states,):
        raise ValueError(f"initial_state_dist has shape {start.shape}, expected ({n_states},), one for each state.")
    check_distributions("initial_state_dist", start)
    return TabularModel(
        transitions, rewards, None if observations is None else np.asarray(observations), start, int(horizon)
    )


def check_transition_matrix(matrix: np.ndarray) -> None:
    """Checks that P(·|s, a) is a distribution for every s and a; `matrix` is `(S, A, S)`.

    Raises:
        ValueError: naming the first row that is none.
    """
    check_distributions("transition_matrix", matrix, "; where an episode is over, let the state lead to itself")


def check_distributions(name: str, rows: np.ndarray, hint: str = "") -> None:
    """Checks that `rows`, `(…, n)`, are probabilities; the `hint` goes to the end of the error.

    Raises:
        ValueError: naming the first row whose sum is not 1, or that holds a negative number.
    """
    sums = rows.sum(axis=-1)
    wrong = ~(np.abs(sums - 1) <= _SUM_TOLERANCE) | ~(rows.min(axis=-1) >= 0)  # so written, NaN is wrong
    if not np.any(wrong):
        return
    where = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    row = f"{name}[{', '.join(map(str, where))}]" if where else name
    low = rows[where].min()
    what = f"sums to {sums[where]:.6g}" if not low < 0 else f"holds the negative value {low:.6g}"
    raise ValueError(
        f"{row} {what}, expected probabilities that sum to 1 ({int(np.sum(wrong))} of {wrong.size} rows are wrong). "
        f"Divide each row by its sum{hint}."
    )


class TabularEnv(_Sizes, gym.Env[Any, np.int64]):
    """A finite-horizon MDP given by arrays. Episodes are truncated at the horizon and never end earlier.

    The observation is the row of `observation_matrix` for the state, or the state itself, an integer, if there is
    none. The arrays are copied and read-only.

    Args:
        transition_matrix: `(S, A, S)`, P(s′|s, a).
        reward_matrix: `(S,)`, `(S, A)` or `(S, A, S)`.
        observation_matrix: `(S, *obs_shape)`, or None to observe the state.
        horizon: steps of an episode.
        initial_state_dist: `(S,)`; None starts in state 0.

    Attributes:
        state: where it is now.
        state_space: `Discrete(S)`.

    Raises:
        ValueError: if an array has the wrong shape, a row is no distribution, or the horizon is no positive integer.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as gymnasium.Env has it

    def __init__(
        self,
        *,
        transition_matrix: np.ndarray,
        reward_matrix: np.ndarray,
        observation_matrix: np.ndarray | None = None,
        horizon: int,
        initial_state_dist: np.ndarray | None = None,
    ) -> None:
        self.transition_matrix = _frozen(transition_matrix, np.float64)
        self.reward_matrix = _frozen(reward_matrix, np.float64)
        n_states = self.transition_matrix.shape[0] if self.transition_matrix.ndim else 1
        observed = observation_matrix is not None
        self.observation_matrix = _frozen(observation_matrix if observed else np.eye(n_states, dtype=np.float32))
        self.horizon = horizon
        start = np.eye(n_states)[0] if initial_state_dist is None else initial_state_dist
        self.initial_state_dist = _frozen(start, np.float64)
        model = tabular_model(self)
        check_transition_matrix(model.transition_matrix)
        self.state_space = spaces.Discrete(model.state_dim)
        self.action_space = spaces.Discrete(model.action_dim)
        self.observation_space: spaces.Space = self.state_space
        if observed:
            low, high = self.observation_matrix.min(), self.observation_matrix.max()
            shape, dtype = self.observation_matrix.shape[1:], self.observation_matrix.dtype
            self.observation_space = spaces.Box(low, high if high > low else low + 1, shape, dtype=dtype.type)
        self._observes_state = not observed
        self.state = 0
        self.n_actions_taken = 0

    @property
    def obs_dim(self) -> int:
        """Features of an observation; of its one-hot code where the state is observed."""
        return int(np.prod(self.observation_matrix.shape[1:]))

    @property
    def obs_dtype(self) -> np.dtype:
        """Dtype of `observation_matrix`."""
        return self.observation_matrix.dtype

    def obs_from_state(self, state: int) -> Any:
        """What is observed in `state`."""
        return np.int64(state) if self._observes_state else self.observation_matrix[state].copy()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode in a state drawn from `initial_state_dist`."""
        super().reset(seed=seed)
        self.state = self._draw(self.initial_state_dist)
        self.n_actions_taken = 0
        return self.obs_from_state(self.state), {"state": self.state}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Moves on; `info["state"]` is the new state.

        Raises:
            ValueError: if there is no such action.
        """
        if not 0 <= action < self.action_dim:
            raise ValueError(f"action is {action!r}, expected an integer from 0 to {self.action_dim - 1}.")
        old, action = self.state, int(action)
        self.state = self._draw(self.transition_matrix[old, action])
        self.n_actions_taken += 1
        reward = float(self.reward_matrix[(old, action, self.state)[: self.reward_matrix.ndim]])
        truncated = self.n_actions_taken >= self.horizon
        return self.obs_from_state(self.state), reward, False, truncated, {"state": self.state}

    def _draw(self, probabilities: np.ndarray) -> int:
        cumulative = probabilities.cumsum()
        # Among the possible states only: the sum may be a hair below 1.
        last = int(cumulative.searchsorted(cumulative[-1]))
        return min(int(cumulative.searchsorted(self.np_random.random(), side="right")), last)


def _frozen(array: Any, dtype: Any = None) -> np.ndarray:
    copy = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy


class StateObservation(gym.ObservationWrapper):
    """Shows the state, an integer, instead of the observation: for policies over states such as `TabularPolicy`.

    Args:
        env: tabular, with the attribute `state`.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Discrete(tabular_model(env).state_dim)

    def observation(self, observation: Any) -> np.int64:
        """The state, whatever is observed."""
        return np.int64(self.env.unwrapped.state)  # type: ignore[attr-defined]


def from_toy_text(env: gym.Env, horizon: int) -> TabularEnv:
    """Converts one of Gymnasium's toy-text environments (FrozenLake, CliffWalking, Taxi) exactly.

    Episodes that end there go on here, without reward: in the state where they ended if nothing leads out of it and
    nothing is won in it, as in FrozenLake, and else in one more state, the last.

    Args:
        env: has `P`, where `P[s][a]` lists `(probability, next state, reward, terminated)`, and
            `initial_state_distrib`.
        horizon: steps of an episode.

    Returns:
        An environment that observes the state, with rewards `(S, A, S)`.

    Raises:
        TypeError: if `env` has no `P`.
    """
    return TabularEnv(**toy_text_arrays(env), horizon=horizon)


def toy_text_arrays(env: gym.Env) -> dict[str, np.ndarray]:
    """The arrays of `from_toy_text`, by the names of `TabularEnv`'s arguments."""
    core: Any = env.unwrapped
    outcomes = getattr(core, "P", None)
    if outcomes is None or not hasattr(core, "initial_state_distrib"):
        raise TypeError(
            f"{type(core).__name__} has no P and initial_state_distrib, expected a toy-text environment of Gymnasium "
            "such as FrozenLake-v1."
        )
    n_states, n_actions = len(outcomes), len(outcomes[0])
    rows = np.array(
        [(s, a, *outcome) for s in range(n_states) for a in range(n_actions) for outcome in outcomes[s][a]],
        dtype=np.float64,
    )
    s, following = rows[:, 0].astype(int), rows[:, 3].astype(int)
    leaves = (following != s) | (rows[:, 4] != 0)
    absorbing = np.bincount(s, leaves, n_states) == 0
    redirected = (rows[:, 5] > 0) & ~absorbing[following]
    if redirected.any():
        rows[redirected, 3] = n_states
        rows = np.append(rows, [(n_states, a, 1, n_states, 0, 0) for a in range(n_actions)], axis=0)
        n_states += 1
    s, a, following = rows[:, [0, 1, 3]].T.astype(int)
    probability, reward = rows[:, 2], rows[:, 4]
    transitions = np.zeros((n_states, n_actions, n_states))
    rewards = np.zeros_like(transitions)
    np.add.at(transitions, (s, a, following), probability)
    np.add.at(rewards, (s, a, following), probability * reward)
    np.divide(rewards, transitions, out=rewards, where=transitions > 0)
    start = np.zeros(n_states)
    start[: len(core.initial_state_distrib)] = core.initial_state_distrib
    return {"transition_matrix": transitions, "reward_matrix": rewards, "initial_state_dist": start}
