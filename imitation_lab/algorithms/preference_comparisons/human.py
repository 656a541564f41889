"""A human teacher: pairs wait in a folder for answers that come when they come.

The folder holds `labels.jsonl`, to which a line is added for each answer before anything else happens, and
`clips/0000.safetensors` and so on, one file for each submission. A gatherer on the same folder, in the same process
or after a restart, goes on with what waits and what has been answered.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms.preference_comparisons._label_file import LabelFile, check_environment
from imitation_lab.algorithms.preference_comparisons.dataset import pair_tensors, pairs_of, read_pairs, write_pairs
from imitation_lab.algorithms.preference_comparisons.gatherers import AsynchronousGatherer
from imitation_lab.data import types
from imitation_lab.util import artifacts, codec
from imitation_lab.util import logger as lab_logger

__all__ = ["HumanGatherer"]

KIND = "preference-clips"
VERSION = 1
SKIP = "skip"
LABELS_FILE = "labels.jsonl"
WORDS = {"left": 1.0, "right": 0.0, "tie": 0.5}
Answer = float | str
Render = Callable[[types.Trajectory], np.ndarray]


class HumanGatherer(AsynchronousGatherer):
    """Pairs wait until somebody answers; training goes on in the meantime. Nothing blocks, all calls are thread-safe.

    An answer is on the disk when `answer` returns. It is given out once, by the next `poll`, and can be undone until
    then.

    Args:
        folder: made if missing.
        environment: what the clips show, an environment or its id. A folder of another one is refused.
        render: makes pictures of a fragment when it is submitted, `(frames, height, width, 3)` uint8, and they are
            kept beside the clip; for environments whose pictures cannot be drawn from observations later.
        custom_logger: where metrics go; None makes a new one.

    Raises:
        TypeError: if `environment` is neither an environment nor a text.
        ArtifactError: a ValueError, if the folder holds labels of another environment or format, or damaged ones. A
            cut-off last line is dropped with a warning.
    """

    def __init__(
        self,
        folder: types.AnyPath,
        environment: VecEnv | gym.Env | str,
        *,
        render: Render | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        super().__init__(None, custom_logger)
        self.folder = pathlib.Path(os.fsdecode(folder))
        self.environment = describe_environment(environment)
        self.render = render
        self._lock = threading.RLock()
        self._pairs: dict[str, types.TrajectoryPair] = {}
        self._frames: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._answers: dict[str, Answer] = {}  # in the order of answering
        self._seconds: dict[str, float | None] = {}
        self._delivered: set[str] = set()
        self._recorded: dict[str, float] = {}
        self._batches = 0
        self._file = LabelFile(self.folder / LABELS_FILE, self.environment)
        for event in self._file:
            self._replay_event(event)

    # What the training loop calls.

    def submit(self, fragment_pairs: Sequence[types.TrajectoryPair]) -> list[str]:
        """Queues pairs; they are on the disk when this returns.

        Returns:
            An id for each, such as "0003-07": seventh pair of the third submission, both counted from 0.

        Raises:
            ValueError: if there are no pairs.
        """
        return self._submit(fragment_pairs, None)

    def poll(self) -> tuple[list[types.TrajectoryPair], np.ndarray]:
        """What has been answered since the last poll, in the order of answering, skipped pairs left out.

        Returns:
            Pairs, and preferences float32 `(pairs,)`; possibly none.
        """
        with self._lock:
            fresh = [(key, answer) for key, answer in self._answers.items() if key not in self._delivered]
            self._delivered.update(key for key, _ in fresh)
            labels = [(self._pairs[key], answer) for key, answer in fresh if answer != SKIP]
            return [pair for pair, _ in labels], np.array([answer for _, answer in labels], dtype=np.float32)

    # What whoever answers calls.

    @property
    def pending(self) -> list[str]:
        """Ids of the pairs that wait for an answer, the oldest first."""
        with self._lock:
            return [key for key in self._pairs if key not in self._answers]

    @property
    def answers(self) -> dict[str, Answer]:
        """Id to preference, or "skip", in the order of answering."""
        with self._lock:
            return dict(self._answers)

    @property
    def seconds(self) -> dict[str, float | None]:
        """Id to the time that the answer took, None where it was not measured."""
        with self._lock:
            return dict(self._seconds)

    def pair(self, key: str) -> types.TrajectoryPair:
        """The two fragments under an id.

        Raises:
            ValueError: if there is no such id.
        """
        with self._lock:
            self._check(key)
            return self._pairs[key]

    def frames(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The pictures that `render` made of both fragments, `(frames, height, width, 3)` uint8; None without."""
        with self._lock:
            self._check(key)
            return self._frames.get(key)

    def answer(self, key: str, preference: Answer, *, seconds: float | None = None) -> None:
        """Answers a pair; the label is on the disk when this returns.

        Args:
            key: the pair's id.
            preference: 1 or "left" where the first fragment is better, 0 or "right" the second, 0.5 or "tie" neither,
                any number between for an opinion held with less certainty; or "skip".
            seconds: how long it took, if known.

        Raises:
            ValueError: if there is no such id, it has been answered, or the preference is none of these.
        """
        value = check_preference(preference)
        with self._lock:
            self._check(key)
            if key in self._answers:
                raise ValueError(f"Pair {key!r} has been answered already, {self._answers[key]!r}: undo() that first.")
            event: dict[str, Any] = {"event": "answer", "id": key, "preference": value}
            if seconds is not None:
                event["seconds"] = round(float(seconds), 3)
            self._file.append(event)
            self._replay_event(event)

    def undo(self) -> str | None:
        """Takes the last answer back; its pair waits again, in its old place.

        Returns:
            Its id; None if there is no answer, or the last has been given out by `poll` and may be trained on.
        """
        with self._lock:
            last = next(reversed(self._answers), None)
            if last is None or last in self._delivered:
                return None
            event = {"event": "undo", "id": last}
            self._file.append(event)
            self._replay_event(event)
            return last

    # Recorded answers, and labels from elsewhere.

    def export(self, path: types.AnyPath) -> int:
        """Writes all labelled pairs, skipped ones left out, to a file that `PreferenceDataset.load` reads too.

        Returns:
            How many.

        Raises:
            ValueError: if there are none.
        """
        with self._lock:
            labels = [(self._pairs[key], answer) for key, answer in self._answers.items() if answer != SKIP]
            if not labels:
                raise ValueError("There are no labels to export: answer at least one pair first.")
            pairs = [pair for pair, _ in labels]
            preferences = np.array([answer for _, answer in labels], dtype=np.float32)
            write_pairs(path, pairs, preferences, {"environment": self.environment})
            return len(labels)

    def import_labels(self, path: types.AnyPath) -> list[str]:
        """Adds the pairs and labels of an exported file, as if they had been answered here.

        Returns:
            Their ids.

        Raises:
            FileNotFoundError: if there is no such file.
            ArtifactError: a ValueError, if it cannot be read, or is about another environment.
        """
        pairs, preferences = self._read(path)
        with self._lock:
            keys = self.submit(pairs)
            for key, preference in zip(keys, preferences.tolist(), strict=True):
                self.answer(key, preference)
            return keys

    def replay(self, path: types.AnyPath) -> list[str]:
        """Queues the pairs of an exported file together with their recorded answers, which are not given yet.

        `recorded` has them, for whoever clicks; `answer_recorded` gives them without clicks.

        Returns:
            The ids.

        Raises:
            FileNotFoundError: if there is no such file.
            ArtifactError: a ValueError, if it cannot be read, or is about another environment.
        """
        pairs, preferences = self._read(path)
        return self._submit(pairs, preferences.tolist())

    @property
    def recorded(self) -> dict[str, float]:
        """Id to recorded answer, of the pending pairs that have one."""
        with self._lock:
            return {key: value for key, value in self._recorded.items() if key not in self._answers}

    def answer_recorded(self, n: int | None = None) -> list[str]:
        """Gives the next `n` recorded answers, all if None; returns their ids."""
        with self._lock:
            keys = list(self.recorded)[:n]
            for key in keys:
                self.answer(key, self._recorded[key])
            return keys

    # What a checkpoint needs: the labels themselves are in the folder.

    def state(self) -> dict[str, Any]:
        """Which answers have been given out."""
        with self._lock:
            return {"delivered": sorted(self._delivered)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Does not give out again what had been given out by then.

        Raises:
            ArtifactError: if the folder lacks one of these answers.
        """
        with self._lock:
            delivered = set(state.get("delivered", ()))
            lost = sorted(delivered - self._answers.keys())
            if lost:
                raise artifacts.ArtifactError(
                    f"The checkpoint has trained on the answer to pair {lost[0]!r}, which {str(self.folder)!r} does "
                    "not have: restore from the folder that belongs to it."
                )
            self._delivered = delivered

    def __repr__(self) -> str:
        with self._lock:
            return f"<HumanGatherer: {len(self._answers)} answered, {len(self.pending)} pending>"

    def _submit(self, fragment_pairs: Sequence[types.TrajectoryPair], recorded: list[float] | None) -> list[str]:
        pairs = list(fragment_pairs)
        tensors: dict[str, Any] = dict(pair_tensors(pairs))
        if self.render is not None:
            frames = [_check_frames(self.render(fragment)) for pair in pairs for fragment in pair]
            tensors["frames"] = frames
            tensors["frames_lengths"] = np.array([len(part) for part in frames], dtype=np.int64)
        with self._lock:
            name = f"{self._batches:04d}"
            meta = {"pairs": len(pairs), "environment": self.environment}
            artifacts.write(self._clips(name), kind=KIND, version=VERSION, meta=meta, tensors=tensors)
            event: dict[str, Any] = {"event": "submit", "clips": name, "pairs": len(pairs)}
            if recorded is not None:
                event["recorded"] = recorded
            self._file.append(event)
            # From the file: a fragment in memory may be a view of a whole episode.
            return self._replay_event(event)

    def _clips(self, name: str) -> pathlib.Path:
        return self.folder / "clips" / f"{name}.safetensors"

    def _read(self, path: types.AnyPath) -> tuple[list[types.TrajectoryPair], np.ndarray]:
        pairs, preferences, meta = read_pairs(path)
        if "environment" in meta:  # a PreferenceDataset's file does not say
            check_environment(os.fsdecode(path), meta["environment"], self.environment)
        return pairs, preferences

    def _check(self, key: str) -> None:
        if key not in self._pairs:
            raise ValueError(f"There is no pair {key!r}; pending are {self.pending[:10]}.")

    def _replay_event(self, event: Mapping[str, Any]) -> list[str]:
        """Does in memory what a line of the file says."""
        try:
            kind = event["event"]
            if kind == "submit":
                return self._load_clips(event)
            key = event["id"]
            if kind == "answer" and key in self._pairs and key not in self._answers:
                self._answers[key] = check_preference(event["preference"])
                self._seconds[key] = event.get("seconds")
                return [key]
            if kind == "undo" and key in self._answers:
                del self._answers[key], self._seconds[key]
                return [key]
        except (KeyError, TypeError):
            pass
        raise artifacts.ArtifactError(
            f"{str(self._file.path)!r} says {dict(event)}, which does not fit what comes before it. Restore the file "
            "from a copy, or delete that line."
        )

    def _load_clips(self, event: Mapping[str, Any]) -> list[str]:
        name, n = str(event["clips"]), event["pairs"]
        if not (name.isdigit() and type(n) is int):
            raise TypeError
        path = self._clips(name)
        artifact = artifacts.read(path, kind=KIND, version=VERSION)
        tensors = dict(artifact.tensors)
        frames, lengths = tensors.pop("frames", None), tensors.pop("frames_lengths", None)
        pairs = pairs_of(str(path), tensors)
        if len(pairs) != n or (lengths is not None and len(lengths) != 2 * n):
            raise artifacts.ArtifactError(f"cannot read {str(path)!r}: it holds {len(pairs)} pairs, expected {n}")
        keys = [f"{name}-{i:02d}" for i in range(n)]
        self._pairs.update(zip(keys, pairs, strict=True))
        if frames is not None and lengths is not None:
            parts = np.split(frames, np.cumsum(lengths)[:-1])
            self._frames.update(zip(keys, zip(parts[0::2], parts[1::2], strict=True), strict=True))
        self._recorded.update(zip(keys, map(float, event.get("recorded", [])), strict=False))
        self._batches = int(name) + 1
        return keys


def describe_environment(environment: Any) -> dict[str, Any]:
    """Id and spaces of an environment, as JSON; of a text, the id alone.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(environment, str):
        return {"id": environment}
    if isinstance(environment, VecEnv):
        try:
            spec = environment.get_attr("spec", indices=0)[0]
        except AttributeError:
            spec = None
    elif isinstance(environment, gym.Env):
        spec = environment.spec
    else:
        raise TypeError(f"environment must be a VecEnv, a gymnasium.Env or an id, got {environment!r}.")
    described = {
        "id": None if spec is None else spec.id,
        "observation_space": codec.encode_space(environment.observation_space),
        "action_space": codec.encode_space(environment.action_space),
    }
    return json.loads(json.dumps(described))  # as it comes out of a file: lists for tuples


def check_preference(preference: Any) -> Answer:
    """A preference as a number in [0, 1], or "skip".

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(preference, str):
        if preference == SKIP:
            return SKIP
        if preference in WORDS:
            return WORDS[preference]
    elif isinstance(preference, int | float | np.number) and not isinstance(preference, bool):
        value = float(preference)
        if math.isfinite(value) and 0 <= value <= 1:
            return value
    raise ValueError(
        f"A preference is a number from 1 (the first is better) to 0 (the second), 'left', 'right', 'tie' or 'skip'; "
        f"got {preference!r}."
    )


def _check_frames(frames: Any) -> np.ndarray:
    array = np.asarray(frames)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or len(array) == 0:
        raise ValueError(
            f"render gave {array.dtype} of shape {array.shape}, expected uint8 frames (frames, height, width, 3)."
        )
    return array
