"""Tabular environments to learn with: grid worlds with walls, a windy cliff, Gymnasium's FrozenLake, random MDPs."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from imitation_lab.envs.tabular import TabularEnv, toy_text_arrays
from imitation_lab.util import checks

__all__ = ["ACTIONS", "WALL", "GridEnv", "GridWorld", "CliffWorld", "FrozenLake", "RandomMDP"]

ACTIONS = ("left", "down", "right", "up")
"""The actions of every grid, in FrozenLake's order."""

_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # rows, columns
_ROOMS = ("S...#....", "....#....", ".........", "....#....", "##.####.#", "....#....", "....#....", "....#...G")
WALL = "#"


class GridEnv(TabularEnv):
    """A tabular environment whose states are the cells of a map, row by row, without the walls.

    Args:
        layout: the map, one string for each row, all of one length.
        observe: "state" for the state's number, "onehot" for its one-hot code `(S,)`, "xy" for column and row, each
            from 0 to 1, `(2,)`.
        render_mode: "ansi" makes `render` return the map as text, with `@` for the agent.
        **arrays: as in `TabularEnv`.

    Attributes:
        layout: the map, a tuple of strings.
        height: its rows.
        width: its columns.
        cells: `(S, 2)` int, row and column of each state.
        kinds: the map's character at each state, a string of length S.

    Raises:
        ValueError: if the map is not rectangular or has no free cell, or `observe` is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as gymnasium.Env has it

    def __init__(
        self, layout: Sequence[str], *, observe: str = "state", render_mode: str | None = None, **arrays: Any
    ) -> None:
        self._set_map(layout)
        self.render_mode = render_mode
        super().__init__(observation_matrix=self._observations(observe), **arrays)

    def _set_map(self, layout: Sequence[str]) -> None:
        self.layout = (layout,) if isinstance(layout, str) else tuple(layout)
        widths = sorted({len(row) for row in self.layout})
        if len(widths) != 1 or not "".join(self.layout).strip(WALL):
            raise ValueError(
                f"The map has {len(self.layout)} rows of {' and '.join(map(str, widths)) or 'no'} characters, expected "
                f'rows of one length with at least one cell that is no wall ("{WALL}").'
            )
        self.height, self.width = len(self.layout), widths[0]
        self.cells = np.argwhere(np.array([list(row) for row in self.layout]) != WALL)
        self.kinds = "".join(self.layout[row][column] for row, column in self.cells)

    def _observations(self, observe: str) -> np.ndarray | None:
        if observe == "state":
            return None
        if observe == "onehot":
            return np.eye(len(self.cells), dtype=np.float32)
        if observe == "xy":
            size = np.maximum([self.width - 1, self.height - 1], 1)
            return (self.cells[:, ::-1] / size).astype(np.float32)
        raise ValueError(f'observe is {observe!r}, expected "state", "onehot" or "xy".')

    def to_grid(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Lays one number for each state out on the map: `(S,)` to `(height, width)`, `fill` in walls."""
        values = np.asarray(values)
        if values.shape != (self.state_dim,):
            raise ValueError(f"values has shape {values.shape}, expected ({self.state_dim},), one for each state.")
        grid = np.full((self.height, self.width), fill, dtype=np.float64)
        grid[tuple(self.cells.T)] = values
        return grid

    def state_at(self, row: int, column: int) -> int:
        """The state at a cell, both counted from 0.

        Raises:
            ValueError: if there is a wall or the map's outside.
        """
        found = np.flatnonzero((self.cells == (row, column)).all(axis=1))
        if not found.size:
            raise ValueError(f"There is no state at row {row}, column {column}: it is a wall or outside of the map.")
        return int(found[0])

    def render(self) -> str | None:
        """The map as text, if `render_mode` is "ansi"."""
        if self.render_mode != "ansi":
            return None
        rows = [list(row) for row in self.layout]
        row, column = self.cells[self.state]
        rows[row][column] = "@"
        return "\n".join("".join(row) for row in rows)


class GridWorld(GridEnv):
    """A map to walk on, in four directions. Whoever walks into a wall or off the map stays.

    On the map `#` is a wall and `S` a start (several: one at random); the reward of a step is that of the cell it
    begins in, R(s), by the cell's character.

    Args:
        layout: the map; None is one of four rooms.
        rewards: reward by character; characters not listed give 0.
        noise: probability of slipping to one of the two sides, half each; or a matrix `(4, 4)` of the
            probabilities of the real direction (column) given the intended one (row), in the order of `ACTIONS`.
        absorbing: characters of cells that are never left.
        horizon: steps of an episode.
        observe: see `GridEnv`.
        render_mode: see `GridEnv`.

    Raises:
        ValueError: if the map is not rectangular or has no `S`, or `noise` is no probability.
    """

    def __init__(
        self,
        layout: Sequence[str] | None = None,
        rewards: Mapping[str, float] | None = None,
        noise: float | np.ndarray = 0.1,
        absorbing: str = "",
        horizon: int = 30,
        observe: str = "state",
        render_mode: str | None = None,
    ) -> None:
        self._set_map(_ROOMS if layout is None else layout)
        starts = np.array([kind == "S" for kind in self.kinds], dtype=np.float64)
        if not starts.any():
            raise ValueError('The map has no start: mark at least one cell with "S".')
        worth = {"G": 1.0} if rewards is None else dict(rewards)
        still = np.array([kind in absorbing for kind in self.kinds])
        super().__init__(
            self.layout,
            observe=observe,
            render_mode=render_mode,
            transition_matrix=_walks(self.layout, self.cells, _noise_matrix(noise), still),
            reward_matrix=np.array([worth.get(kind, 0.0) for kind in self.kinds]),
            horizon=horizon,
            initial_state_dist=starts / starts.sum(),
        )


class CliffWorld(GridWorld):
    """From one end of a cliff's edge to the other, with a wind that blows over it.

    The bottom row is the start, the cliff (`C`) and the goal (`G`). Falling costs, but does not end the episode. A
    careful walker takes the long way through the upper rows.

    Args:
        width: columns, at least 3.
        height: rows, at least 2.
        wind: probability of being blown one cell down instead of moving as intended.
        horizon: steps of an episode; None is twice the width.
        rewards: as in `GridWorld`; by default −1 a step, −10 on the cliff, 10 at the goal.
        observe: see `GridEnv`.
        render_mode: see `GridEnv`.
    """

    def __init__(
        self,
        width: int = 7,
        height: int = 4,
        wind: float = 0.3,
        horizon: int | None = None,
        rewards: Mapping[str, float] | None = None,
        observe: str = "state",
        render_mode: str | None = None,
    ) -> None:
        if width < 3 or height < 2:
            raise ValueError(f"A cliff world needs width >= 3 and height >= 2, got width={width}, height={height}.")
        checks.between(0, 1, wind=wind)
        blown = (1 - wind) * np.eye(4)
        blown[:, ACTIONS.index("down")] += wind
        super().__init__(
            layout=["." * width] * (height - 1) + ["S" + "C" * (width - 2) + "G"],
            rewards={".": -1.0, "S": -1.0, "C": -10.0, "G": 10.0} if rewards is None else rewards,
            noise=blown,
            horizon=2 * width if horizon is None else horizon,
            observe=observe,
            render_mode=render_mode,
        )


class FrozenLake(GridEnv):
    """Gymnasium's FrozenLake with a fixed horizon: holes and goal hold whoever gets there.

    Args:
        map_name: "4x4" or "8x8".
        is_slippery: whether each move goes to one of the two sides in two of three cases.
        horizon: steps of an episode.
        desc: another map, instead of `map_name`.
        observe: see `GridEnv`.
        render_mode: see `GridEnv`.
        **kwargs: further ones of Gymnasium's environment, such as `success_rate`.
    """

    def __init__(
        self,
        map_name: str = "4x4",
        is_slippery: bool = True,
        horizon: int = 100,
        desc: Sequence[str] | None = None,
        observe: str = "state",
        render_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        lake: Any = gym.make("FrozenLake-v1", map_name=map_name, desc=desc, is_slippery=is_slippery, **kwargs).unwrapped
        layout = ["".join(cell.decode() for cell in row) for row in lake.desc]
        arrays = toy_text_arrays(lake)
        super().__init__(layout, observe=observe, render_mode=render_mode, horizon=horizon, **arrays)


class RandomMDP(TabularEnv):
    """An MDP drawn at random.

    Each action in each state leads to `branch_factor` states with random probabilities; rewards R(s) are standard
    normal, initial states random.

    Args:
        n_states: how many.
        n_actions: how many.
        branch_factor: successors of a state and action, at most `n_states`.
        horizon: steps of an episode.
        obs_dim: standard normal features `(obs_dim,)` are observed; None observes the state.
        generator_seed: what the MDP is drawn from.

    Raises:
        ValueError: if `branch_factor` is not between 1 and `n_states`.
    """

    def __init__(
        self,
        n_states: int = 16,
        n_actions: int = 3,
        branch_factor: int = 2,
        horizon: int = 20,
        obs_dim: int | None = None,
        generator_seed: int = 0,
    ) -> None:
        if not 1 <= branch_factor <= n_states:
            raise ValueError(f"branch_factor must be from 1 to n_states={n_states}, got {branch_factor}.")
        rng = np.random.default_rng(generator_seed)
        order = rng.random((n_states, n_actions, n_states)).argpartition(branch_factor - 1, axis=-1)
        transitions = np.zeros((n_states, n_actions, n_states))
        chances = rng.dirichlet(np.ones(branch_factor), size=(n_states, n_actions))
        np.put_along_axis(transitions, order[..., :branch_factor], chances, axis=-1)
        rewards = rng.standard_normal(n_states)
        observations = None if obs_dim is None else rng.standard_normal((n_states, obs_dim)).astype(np.float32)
        super().__init__(
            transition_matrix=transitions,
            reward_matrix=rewards,
            observation_matrix=observations,
            horizon=horizon,
            initial_state_dist=rng.dirichlet(np.ones(n_states)),
        )


def _noise_matrix(noise: float | np.ndarray) -> np.ndarray:
    matrix = np.asarray(noise, dtype=np.float64)
    if matrix.ndim == 0:
        sides = 0.5 * (np.roll(np.eye(4), 1, axis=1) + np.roll(np.eye(4), -1, axis=1))
        matrix = (1 - matrix) * np.eye(4) + matrix * sides
    if matrix.shape != (4, 4) or not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1):
        raise ValueError(
            f"noise is {noise!r}, expected a probability from 0 to 1, or a (4, 4) matrix whose rows sum to 1."
        )
    return matrix


def _walks(layout: Sequence[str], cells: np.ndarray, noise: np.ndarray, still: np.ndarray) -> np.ndarray:
    """The transition matrix `(S, 4, S)`."""
    n = len(cells)
    number = np.full((len(layout) + 2, len(layout[0]) + 2), -1)  # with a rim, so that no step leaves the array
    number[tuple(cells.T + 1)] = np.arange(n)
    transitions = np.zeros((n, 4, n))
    for real, move in enumerate(_MOVES):
        target = number[tuple((cells + move).T + 1)]
        target = np.where((target < 0) | still, np.arange(n), target)
        for intended in range(4):
            transitions[np.arange(n), intended, target] += noise[intended, real]
    return transitions
