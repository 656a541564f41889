"""Files that version 1 of each format wrote are read for ever."""

import pathlib
import shutil

import numpy as np

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.data import types

GOLDEN = pathlib.Path(__file__).parent / "golden"


def fragment(n: int, offset: int, terminal: bool) -> types.TrajectoryWithRew:
    obs = (np.arange((n + 1) * 2, dtype=np.float32).reshape(n + 1, 2) + offset) / 8
    return types.TrajectoryWithRew(obs, np.arange(n) % 2, None, terminal, np.arange(n, dtype=np.float32) + offset)


PAIRS = [(fragment(2, 0, False), fragment(3, 1, True)), (fragment(1, 2, True), fragment(2, 3, False))]


def test_preferences() -> None:
    dataset = pc.PreferenceDataset.load(GOLDEN / "preferences_v1.safetensors")
    assert dataset.max_size == 9
    assert dataset.pairs == PAIRS
    assert dataset.preferences.tolist() == [1, 0.5]


def test_labels(tmp_path) -> None:
    shutil.copytree(GOLDEN / "labels_v1", tmp_path / "labels")
    gatherer = pc.HumanGatherer(tmp_path / "labels", "Pendulum-v1")
    assert gatherer.pending == ["0000-01"]
    assert gatherer.answers == {"0000-00": 1.0}
    assert gatherer.seconds == {"0000-00": 2.5}
    assert [gatherer.pair(key) for key in ("0000-00", "0000-01")] == PAIRS
    assert [frames.max() for frames in gatherer.frames("0000-01")] == [1, 2]
