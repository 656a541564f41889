"""Episodes out of tables with named columns: pandas frames and CSV files."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imitation_lab.data import types
from imitation_lab.data.demonstrations.arrays import from_arrays
from imitation_lab.data.demonstrations.validation import AnyEnv
from imitation_lab.util import checks

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_frame", "from_csv", "to_frame"]

Columns = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def from_frame(
    frame: pd.DataFrame,
    *,
    obs: Columns | None = None,
    acts: str | Sequence[str] | None = None,
    rews: str | None = None,
    episode: str | None = None,
    step: str | None = None,
    terminal: str | None = None,
    timeout: str | None = None,
    next_obs: Columns | None = None,
    drop_last: bool = False,
    env: AnyEnv | None = None,
) -> list[Any]:
    """Makes trajectories of a table with one row per step.

    The observation after an episode's last action comes from the columns `next_obs`, or from a last row of the episode
    in which the actions are missing, or `drop_last` does without it.

        frame = pd.DataFrame({"run": …, "angle": …, "speed": …, "push": …})
        trajectories = from_frame(frame, obs=["angle", "speed"], acts="push", episode="run", drop_last=True, env=env)

    Args:
        frame: the table; rows of an episode lie together and in order.
        obs: columns of the observation: one name (a number per step), names (a vector), or a dict of either for
            dictionary observations. None takes obs_0, obs_1, … as `to_frame` writes them.
        acts: columns of the action, likewise; None takes act, or act_0, act_1, ….
        rews: column of the reward; None takes "rew" if it is there.
        episode: column that tells episodes apart; None takes "episode" if it is there.
        step: column that counts the steps of an episode, checked for gaps; None takes "step" if it is there.
        terminal: column of booleans, True where an episode ended; None takes "terminal" if it is there.
        timeout: column of booleans, True where an episode was truncated.
        next_obs: columns of the observation after the action, in the form of `obs`.
        drop_last: leave out the last action of each episode, which leaves fragments.
        env: fit to its spaces (a table does not keep the dtypes of images and discrete actions), and raise where
            `validate` finds something, but for a variable horizon.

    Returns:
        `TrajectoryWithRew` objects with rewards, else `Trajectory` objects.

    Raises:
        ValueError: if a column is missing, not numeric or has gaps, rows of an episode are missing or apart, or as in
            `from_arrays`.
    """
    table = _Table(frame)
    rews, episode, step, terminal = (
        name or (default if default in table.names else None)
        for name, default in ((rews, "rew"), (episode, "episode"), (step, "step"), (terminal, "terminal"))
    )
    act_columns = table.numbered("act") if acts is None else acts
    raw_acts = table.columns(act_columns, optional=True)
    observations = table.columns(table.numbered("obs") if obs is None else obs)
    following = None if next_obs is None else table.columns(next_obs)
    without = np.isnan(raw_acts.astype(np.float64)).reshape(len(raw_acts), -1)
    last = without.all(axis=1)
    if (row := _first(without.any(axis=1) & ~last)) is not None:
        raise ValueError(f"Row {row} has some of its actions and lacks others (columns {act_columns}): complete it.")
    named = {"terminals": terminal, "timeouts": timeout}
    flags = {argument: table.flags(name) for argument, name in named.items() if name is not None}
    ids, begins = table.episodes(episode, last, np.logical_or.reduce(list(flags.values())) if flags else None)
    counts = np.diff(np.append(begins, len(last)))
    number = np.repeat(np.arange(len(ids)), counts)
    goes_on = np.append(np.diff(number) == 0, False)
    if step is not None:
        steps = table.columns(step)
        if (row := _first((np.diff(steps) != 1) & goes_on[:-1])) is not None:
            raise ValueError(
                f"{ids[number[row]]} goes from {step} {steps[row]:g} to {steps[row + 1]:g} (rows {row} and {row + 1}): "
                "rows are missing or out of order. Sort the table, or cut the episode there."
            )
    if not last.any() and following is None and not drop_last:
        raise ValueError(
            "The observation after each episode's last action is missing: name its columns in next_obs=, or append to "
            "each episode a row without action, or pass drop_last=True to leave the last actions out."
        )
    if (row := _first(last & goes_on)) is not None:
        raise ValueError(
            f"Row {row} has no action, but {ids[number[row]]} goes on after it: only the last row of an episode may "
            "lack it. Complete it, or give the rows after it another episode."
        )
    keep = ~last
    rewards = None if rews is None else table.columns(rews, optional=last).astype(np.float64)
    if rewards is not None and (row := _first(last & (np.nan_to_num(rewards) != 0))) is not None:
        raise ValueError(
            f"Row {row} has the reward {rewards[row]:g} but no action (column {rews!r}): shift the rewards up by a "
            "row, so that each stands beside its action."
        )
    if last.any():
        counts = counts - 1
        if (where := _first(~last[~goes_on])) is not None:
            raise ValueError(
                f"{ids[where]} has an action in its last row, where other episodes have only the last observation: it "
                "was cut off. Append its last observation, or leave it out."
            )
    if (where := _first(counts < 1)) is not None:
        raise ValueError(f"{ids[where]} has no action: leave it out.")
    # A last row without action carries no flag of its own; one set there is about the step before.
    shifted: dict[str, Any] = {
        name: (marks | np.append(marks[1:] & last[1:], False))[keep] for name, marks in flags.items()
    }
    return from_arrays(
        observations,
        raw_acts[keep],
        rews=None if rewards is None else rewards[keep],
        next_obs=None if following is None else following[keep],
        lengths=counts,
        drop_last=drop_last,
        env=env,
        **shifted,
    )


def from_csv(path: types.AnyPath, **columns: Any) -> list[Any]:
    """Makes trajectories of a CSV file with named columns; numbers are read to the last bit.

        trajectories = from_csv("runs.csv", obs=["angle", "speed"], acts="push", episode="run", next_obs=["angle2", …])

    Args:
        path: the file.
        **columns: the keyword arguments of `from_frame`.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if pandas is not installed.
        ValueError: if it is no table, or as in `from_frame`.
    """
    name = os.fsdecode(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"no such file: {name!r}")
    pandas = checks.optional("pandas", "tables", "Tables need")
    try:
        # Newer versions read every bit by themselves, and complain when told to.
        exact = (
            {} if tuple(map(int, pandas.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
        )
        with warnings.catch_warnings():  # without index_col=False it would take a column without a name for row names
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = pandas.read_csv(name, index_col=False, **exact)
    except pandas.errors.ParserWarning:
        raise ValueError(f"{name!r} has more columns than names: give the header line one name for each.") from None
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{name!r} is no CSV table: {error}.") from None
    try:
        return from_frame(frame, **columns)
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None


def to_frame(trajectories: Sequence[types.Trajectory]) -> pd.DataFrame:
    """Writes trajectories into a table that `from_frame` reads as it is; `frame.to_csv(path, index=False)` keeps it.

    Columns are episode, step, obs_0, …, act_0, … (obs and act where a step has a single number without a shape), rew
    where there are rewards, and terminal. The last row of each episode holds the observation after the last action.
    Floats are widened to 64 bits, so that text keeps every bit. Infos are left out.

    Raises:
        ImportError: if pandas is not installed.
        ValueError: if there are no trajectories, some have rewards and others not, or observations or actions are no
            vectors of at least one number.
    """
    pandas = checks.optional("pandas", "tables", "Tables need")
    with_rew = types.all_have_rewards(trajectories)
    lengths = np.array([len(t) for t in trajectories])
    columns: dict[str, Any] = {
        "episode": np.repeat(np.arange(len(lengths)), lengths + 1),
        "step": np.concatenate([np.arange(n + 1) for n in lengths]),
    }
    columns.update(_split("obs", [t.obs for t in trajectories]))
    types.common_dtype("act", {np.dtype(float), *(t.acts.dtype for t in trajectories)}, (t.acts for t in trajectories))
    columns.update(_split("act", [_padded(t.acts) for t in trajectories]))
    if with_rew:
        columns.update(_split("rew", [_padded(t.rews) for t in trajectories]))  # type: ignore[attr-defined]
    terminal = np.zeros(len(columns["step"]), bool)
    terminal[np.cumsum(lengths + 1) - 1] = [t.terminal for t in trajectories]
    return pandas.DataFrame({**columns, "terminal": terminal})


class _Table:
    """Columns of a frame as arrays, with errors that name them."""

    def __init__(self, frame: Any) -> None:
        if not (hasattr(frame, "columns") and hasattr(frame, "__getitem__")):
            raise TypeError(f"frame is a {type(frame).__name__}, expected a pandas DataFrame with named columns.")
        self.frame = frame
        self.names = [str(name) for name in frame.columns]
        if len(frame) == 0:
            raise ValueError("The table has no rows, expected one per step.")

    def numbered(self, prefix: str) -> str | list[str]:
        if prefix in self.names:
            return prefix
        found = [name for name in self.names if re.fullmatch(rf"{prefix}_\d+", name)]
        if not found:
            what = {"obs": "obs", "act": "acts"}[prefix]
            raise ValueError(
                f"The table has the columns {self.names}, none of them {prefix}_0, {prefix}_1, …: say which hold the "
                f"{'observations' if prefix == 'obs' else 'actions'} in {what}=."
            )
        return sorted(found, key=lambda name: int(name.rpartition("_")[2]))

    def columns(self, names: Columns, *, optional: np.ndarray | bool = False) -> Any:
        """The values; only in the rows that `optional` marks may some be missing."""
        if isinstance(names, Mapping):
            return types.DictObs({key: self.columns(own) for key, own in names.items()})
        if isinstance(names, str):
            return self._column(names, optional)
        if not names:
            raise ValueError("Got an empty list of columns, expected at least one name.")
        return np.stack([self._column(name, optional) for name in names], axis=1)

    def _raw(self, name: str) -> Any:
        if name not in self.names:
            hint = checks.did_you_mean(name, self.names, n=1)
            raise ValueError(f"The table has no column {name!r}.{hint} It has {self.names}.")
        if self.names.count(name) > 1:
            raise ValueError(f"The table has {self.names.count(name)} columns {name!r}: rename all but one.")
        return self.frame.iloc[:, self.names.index(name)]

    def _complete(self, name: str, missing: np.ndarray) -> None:
        if missing.any():
            raise ValueError(
                f"Column {name!r} has {int(missing.sum())} missing values, the first in row {int(np.argmax(missing))}: "
                "fill them in, or leave those episodes out."
            )

    def _column(self, name: str, optional: np.ndarray | bool) -> np.ndarray:
        series = self._raw(name)
        if series.dtype.kind not in "biuf":
            bad = next((i for i, v in enumerate(series) if not isinstance(v, int | float | np.number)), 0)
            raise ValueError(
                f"Column {name!r} is of type {series.dtype}, expected numbers: row {bad} holds {series.iloc[bad]!r}. "
                "Convert it by pandas.to_numeric, or encode its categories as whole numbers."
            )
        values = series.to_numpy(dtype=np.float64, na_value=np.nan) if series.isna().any() else series.to_numpy()
        if values.dtype.kind == "f":
            self._complete(name, np.isnan(values) & ~np.asarray(optional))
        return values

    def flags(self, name: str) -> np.ndarray:
        series = self._raw(name)
        values = np.array(np.where(series.isna(), False, series).tolist())  # booleans may stand beside missing values
        if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
            raise ValueError(f"Column {name!r} is of type {series.dtype}, expected True and False, or 1 and 0.")
        return values.astype(bool)

    def episodes(self, name: str | None, last: np.ndarray, done: np.ndarray | None) -> tuple[list[str], np.ndarray]:
        """A name for each episode, and the row in which it begins."""
        if name is not None:
            series = self._raw(name)
            self._complete(name, series.isna().to_numpy())
            values = np.asarray(series)
            begins = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
            ids = values[begins].tolist()
            if (where := _first(series.iloc[begins].duplicated().to_numpy())) is not None:
                raise ValueError(
                    f"Episode {ids[where]!r} goes on in row {begins[where]} after rows of another: sort the table "
                    f"first, as by frame.sort_values([{name!r}, …], kind='stable')."
                )
            return [f"Episode {value!r}" for value in ids], begins
        ends = last if last.any() else done
        if ends is None:
            raise ValueError(
                f"Nothing tells episodes apart in the columns {self.names}: name a column in episode=, terminal= or "
                "timeout=."
            )
        begins = np.append(0, np.flatnonzero(ends) + 1)
        begins = begins[begins < len(ends)]
        return [f"Episode {i}" for i in range(len(begins))], begins


def _first(mask: np.ndarray) -> int | None:
    """The first row that is marked, if there is one."""
    return int(np.argmax(mask)) if mask.any() else None


def _padded(values: np.ndarray) -> np.ndarray:
    """With a row of NaN appended, since the last observation has neither action nor reward."""
    return np.concatenate([values.astype(np.float64), np.full((1, *values.shape[1:]), np.nan)])


def _split(prefix: str, parts: Sequence[Any]) -> dict[str, np.ndarray]:
    if any(isinstance(part, types.DictObs) or part.ndim > 2 for part in parts):
        raise ValueError(
            f"{prefix} has more than one dimension per step, which a table cannot hold: flatten it, or use "
            "serialize.save."
        )
    values = np.concatenate(parts)
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    if values.ndim == 1:
        return {prefix: values}
    if values.shape[1] == 0:
        raise ValueError(f"{prefix} holds no number per step, which a table cannot show: use serialize.save.")
    return {f"{prefix}_{i}": values[:, i] for i in range(values.shape[1])}
