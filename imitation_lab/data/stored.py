"""Trajectories that lie one after another in flat arrays, mapped from a file."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from imitation_lab.data import types
from imitation_lab.data._lazy import LazyInfos, LazyTrajectories
from imitation_lab.util import artifacts, codec


class StoredTrajectories(LazyTrajectories):
    """A lazy sequence of trajectories over the tensors that `serialize` documents.

    An integer index makes one trajectory of views, in constant time; a slice is again lazy.

    Args:
        name: of the file, for errors.
        tensors: the file's tensors, mapped or in memory.

    Raises:
        ArtifactError: if the tensors do not fit together.
    """

    def __init__(self, name: str, tensors: Mapping[str, np.ndarray]) -> None:
        self._name = name
        check_tensors(name, tensors)
        self._lengths = np.asarray(tensors["lengths"], dtype=np.int64)
        self._ends = np.cumsum(self._lengths)
        self._terminal = tensors["terminal"]
        obs = {key.removeprefix("obs/"): value for key, value in sorted(tensors.items()) if key.startswith("obs/")}
        self._obs: types.Observation = types.DictObs(obs) if obs else tensors["obs"]
        self._acts = tensors["acts"]
        self._rews = tensors.get("rews")
        self._infos = tensors.get("infos")
        self._infos_ends = tensors.get("infos_end")
        super().__init__(range(len(self._lengths)))

    def _trajectory(self, i: int) -> types.Trajectory:
        end = int(self._ends[i])
        begin = end - int(self._lengths[i])
        common = (self._obs[begin + i : end + i + 1], self._acts[begin:end], self._infos_of(i), bool(self._terminal[i]))
        if self._rews is None:
            return types.Trajectory(*common)
        return types.TrajectoryWithRew(*common, self._rews[begin:end])

    def _infos_of(self, i: int) -> LazyInfos | None:
        if self._infos is None or self._infos_ends is None:
            return None
        line = self._infos[self._infos_ends[i - 1] if i else 0 : self._infos_ends[i]].tobytes()
        if line == b"null\n":
            return None
        n = int(self._lengths[i])
        return LazyInfos(n, functools.partial(_decode_infos, f"trajectory {i} in {self._name!r}", line, n))

    def __repr__(self) -> str:
        return f"<{len(self)} trajectories of {self._name!r}>"

    def arrays(self) -> dict[str, Any]:
        """The arrays of all episodes, mapped: obs, acts, lengths, terminal, and rews where there are rewards.

        Raises:
            ValueError: of a slice.
        """
        if self._episodes != range(len(self._lengths)):
            raise ValueError("This is a slice of a file's trajectories, expected all of them: save the slice first.")
        found = {"obs": self._obs, "acts": self._acts, "lengths": self._lengths, "terminal": self._terminal}
        return found if self._rews is None else {**found, "rews": self._rews}

    def flat_fields(self, with_rew: bool) -> dict[str, Any] | None:
        """The fields of all trajectories as transitions, one copy each; None where a run through them is needed.

        Raises:
            ValueError: if rewards are asked for and there are none.
        """
        if self._episodes != range(len(self._lengths)) or self._infos is not None:
            return None
        if with_rew and self._rews is None:
            raise ValueError(
                f"The trajectories in {self._name!r} have no rewards, expected TrajectoryWithRew: use "
                "flatten_trajectories where rewards are not needed."
            )
        n = int(self._ends[-1])
        follows = np.ones(n + len(self), dtype=bool)  # observations that follow an action
        first = self._ends - self._lengths + np.arange(len(self))
        follows[first] = False
        precedes = np.ones_like(follows)
        precedes[first + self._lengths] = False
        dones = np.zeros(n, dtype=bool)
        dones[self._ends - 1] = self._terminal
        fields = {
            "obs": self._obs[precedes],
            "acts": np.array(self._acts),
            "infos": types.infos_array(None, n),
            "next_obs": self._obs[follows],
            "dones": dones,
        }
        if with_rew:
            fields["rews"] = np.array(self._rews)
        return fields


def _decode_infos(where: str, line: bytes, length: int) -> list[dict[str, Any]]:
    try:
        infos = json.loads(line)
    except (ValueError, RecursionError):
        infos = None
    if not isinstance(infos, list) or len(infos) != length:
        raise artifacts.ArtifactError(f"The infos of {where} are damaged.")
    return codec.decode(infos) if b'"__' in line else infos


def check_tensors(name: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises an ArtifactError unless the tensors' shapes and dtypes fit together."""

    def refuse(why: str) -> artifacts.ArtifactError:
        return artifacts.ArtifactError(f"Cannot read trajectories from {name!r}: {why}.")

    obs = [key for key in tensors if key == "obs" or key.startswith("obs/")]
    missing = [key for key in ("acts", "lengths", "terminal") if key not in tensors]
    if missing or not obs or ("obs" in obs and len(obs) > 1):
        raise refuse(f"it holds the tensors {sorted(tensors)}, expected obs (or obs/<key>), acts, lengths, terminal")
    lengths = tensors["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or len(lengths) == 0 or lengths.min() < 1:
        raise refuse("lengths must be a list of whole numbers of at least 1")
    n, steps = len(lengths), sum(map(int, lengths))
    rows = {"acts": steps, "rews": steps, "terminal": n, "infos_end": n}
    rows.update(dict.fromkeys(obs, steps + n))
    for key, expected in rows.items():
        if key in tensors and tensors[key].shape[:1] != (expected,):
            raise refuse(f"{key} has shape {tensors[key].shape}, expected {expected} rows by the episodes' lengths")
    if "rews" in tensors and (tensors["rews"].ndim != 1 or tensors["rews"].dtype.kind != "f"):
        raise refuse("rews must be one floating-point number per step")
    if ("infos" in tensors) != ("infos_end" in tensors):
        raise refuse("of infos and infos_end it holds one, expected both or neither")
    if "infos" in tensors:
        infos, ends = tensors["infos"], tensors["infos_end"]
        if infos.dtype != np.uint8 or ends.dtype.kind not in "iu":
            raise refuse("infos must be bytes and infos_end whole numbers")
        if np.any(np.diff(ends.astype(np.int64), prepend=0) < 1) or ends[-1] != len(infos):
            raise refuse("infos_end must rise to the number of bytes in infos")
