"""A human teacher's labels: given out once, kept through crashes, refused where they do not belong."""

import json
import threading
import warnings

import gymnasium as gym
import numpy as np
import pytest

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.preference_comparisons import human
from imitation_lab.util import artifacts
from imitation_lab.util.util import make_vec_env


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "session"


@pytest.fixture
def gatherer(folder, silent) -> pc.HumanGatherer:
    return pc.HumanGatherer(folder, "Pendulum-v1", custom_logger=silent)


def reopened(gatherer: pc.HumanGatherer) -> pc.HumanGatherer:
    return pc.HumanGatherer(gatherer.folder, gatherer.environment["id"])


def test_submit_answer_poll(gatherer, make_pairs) -> None:
    pairs = make_pairs(4)
    ids = gatherer.submit(pairs)
    assert ids == gatherer.pending == ["0000-00", "0000-01", "0000-02", "0000-03"]
    assert gatherer.poll()[0] == []
    gatherer.answer(ids[2], "left", seconds=1.23456)
    gatherer.answer(ids[0], 0.5)
    gatherer.answer(ids[1], "skip")
    assert gatherer.pending == [ids[3]]
    assert gatherer.seconds[ids[2]] == 1.235
    found, preferences = gatherer.poll()
    assert found == [pairs[2], pairs[0]]
    assert preferences.tolist() == [1, 0.5]
    assert preferences.dtype == np.float32
    assert gatherer.poll()[0] == []
    assert repr(gatherer) == "<HumanGatherer: 3 answered, 1 pending>"


def test_undo(gatherer, make_pairs) -> None:
    ids = gatherer.submit(make_pairs(3))
    assert gatherer.undo() is None
    gatherer.answer(ids[0], 1)
    gatherer.answer(ids[1], 0)
    assert gatherer.undo() == ids[1]
    assert gatherer.pending == ids[1:]
    assert reopened(gatherer).pending == ids[1:]
    gatherer.answer(ids[1], "tie")
    gatherer.poll()
    assert gatherer.undo() is None  # given out: it may be trained on
    assert gatherer.answers == {ids[0]: 1.0, ids[1]: 0.5}


@pytest.mark.parametrize("rews", [True, False])
@pytest.mark.parametrize(
    "space", [None, gym.spaces.Dict({"a": gym.spaces.Box(0, 1, (2,)), "b": gym.spaces.Discrete(3)})]
)
def test_goes_on_after_a_restart(gatherer, make_pairs, rews: bool, space) -> None:
    kwargs = {"rews": rews} if space is None else {"rews": rews, "space": space}
    pairs = make_pairs(3, (4, 2), **kwargs)
    ids = gatherer.submit(pairs)
    gatherer.answer(ids[1], "right")
    again = reopened(gatherer)
    assert again.pending == [ids[0], ids[2]]
    assert again.pair(ids[2]) == pairs[2]
    found, preferences = again.poll()
    assert found == [pairs[1]]
    assert preferences.tolist() == [0]
    assert again.submit(pairs[:1]) == ["0001-00"]


def test_frames_are_kept(folder, make_pairs) -> None:
    def render(fragment):
        return np.full((len(fragment), 4, 6, 3), len(fragment), dtype=np.uint8)

    gatherer = pc.HumanGatherer(folder, "Pendulum-v1", render=render)
    ids = gatherer.submit(make_pairs(2, (4, 2)))
    for each in (gatherer, reopened(gatherer)):
        left, right = each.frames(ids[1])
        assert left.shape == (4, 4, 6, 3)
        assert right.shape == (2, 4, 6, 3)
        assert (left == 4).all()
    assert reopened(pc.HumanGatherer(folder.parent / "other", "Pendulum-v1")).poll()[0] == []
    wrong = pc.HumanGatherer(folder, "Pendulum-v1", render=lambda f: np.zeros((2, 2)))
    with pytest.raises(ValueError, match="render gave float64 of shape \\(2, 2\\), expected uint8 frames"):
        wrong.submit(make_pairs(1))


def test_a_cut_off_last_line_loses_that_label_alone(gatherer, make_pairs) -> None:
    ids = gatherer.submit(make_pairs(3))
    gatherer.answer(ids[0], 1)
    gatherer.answer(ids[1], 0)
    path = gatherer.folder / human.LABELS_FILE
    whole = path.read_bytes()
    for cut in range(1, 30):
        path.write_bytes(whole[:-cut])
        if cut == 1:  # only the end of the line is missing
            again = reopened(gatherer)
            assert again.pending == ids[2:]
        else:
            with pytest.warns(UserWarning, match="is cut off, .* that one label is dropped"):
                again = reopened(gatherer)
            assert again.pending == ids[1:]
        again.answer(again.pending[-1], 0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert reopened(gatherer).answers[ids[0]] == 1.0


def test_a_damaged_line_is_named(gatherer, make_pairs) -> None:
    ids = gatherer.submit(make_pairs(2))
    gatherer.answer(ids[0], 1)
    path = gatherer.folder / human.LABELS_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "{oops", lines[2]]) + "\n")
    with pytest.raises(artifacts.ArtifactError, match="Line 3 of .* is damaged"):
        reopened(gatherer)
    path.write_text("\n".join([*lines, lines[2]]) + "\n")
    with pytest.raises(artifacts.ArtifactError, match="does not fit what comes before it"):
        reopened(gatherer)
    path.write_text("\n".join([*lines, '{"event": "answer", "id": "0000-01", "preference": 7}']) + "\n")
    with pytest.raises(ValueError, match="A preference is a number from 1"):
        reopened(gatherer)


def test_another_environment_or_format(gatherer, make_pairs, tmp_path) -> None:
    gatherer.submit(make_pairs(1))
    with pytest.raises(
        artifacts.ArtifactError, match="another environment: its id is 'Pendulum-v1', this one's is 'Car"
    ):
        pc.HumanGatherer(gatherer.folder, "CartPole-v1")
    path = gatherer.folder / human.LABELS_FILE
    head, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(head), "version": 2}), *rest]) + "\n")
    with pytest.raises(artifacts.ArtifactError, match="version 2 of its format"):
        reopened(gatherer)
    for foreign in ("step,reward\n1,2\n", "step,reward\n1,2", "a note", "{}", "\n"):  # left as they are
        path.write_text(foreign)
        with pytest.raises(artifacts.ArtifactError, match="not a file of preference labels"):
            reopened(gatherer)
        assert path.read_text() == foreign


def test_a_first_line_that_is_cut_off_begins_anew(gatherer) -> None:
    path = gatherer.folder / human.LABELS_FILE
    whole = path.read_bytes()
    for cut in (2, 20, len(whole) - 1):
        path.write_bytes(whole[:-cut])
        with pytest.warns(UserWarning, match="is cut off"):
            reopened(gatherer)
        assert path.read_bytes() == whole


def test_spaces_belong_to_the_environment(folder, rng) -> None:
    venv = make_vec_env("Pendulum-v1", rng=rng, n_envs=1)
    pc.HumanGatherer(folder, venv)
    pc.HumanGatherer(folder, venv.envs[0])
    pc.HumanGatherer(folder, "Pendulum-v1")
    changed = gym.wrappers.FlattenObservation(gym.wrappers.TimeAwareObservation(gym.make("Pendulum-v1")))
    with pytest.raises(artifacts.ArtifactError, match="its observation_space is"):
        pc.HumanGatherer(folder, changed)
    venv.close()
    with pytest.raises(TypeError, match="must be a VecEnv, a gymnasium.Env or an id"):
        pc.HumanGatherer(folder, 3)


@pytest.mark.parametrize("preference", [2, -0.1, float("nan"), "up", None, True])
def test_bad_answers(gatherer, make_pairs, preference) -> None:
    (key,) = gatherer.submit(make_pairs(1))
    with pytest.raises(ValueError, match="A preference is a number from 1"):
        gatherer.answer(key, preference)
    assert gatherer.pending == [key]


def test_wrong_ids_and_no_pairs(gatherer, make_pairs) -> None:
    (key,) = gatherer.submit(make_pairs(1))
    for call in (gatherer.pair, gatherer.frames, lambda k: gatherer.answer(k, 1)):
        with pytest.raises(ValueError, match="no pair '0007-00'; pending are"):
            call("0007-00")
    gatherer.answer(key, 1)
    with pytest.raises(ValueError, match=r"has been answered already, 1.0: undo\(\) that first"):
        gatherer.answer(key, 0)
    with pytest.raises(ValueError, match="no pairs of fragments"):
        gatherer.submit([])
    with pytest.raises(TypeError, match=r"answers later and cannot be called: .* PreferenceComparisons\.step\(\)"):
        gatherer(make_pairs(1))


def test_export_import_and_replay(gatherer, make_pairs, tmp_path) -> None:
    with pytest.raises(ValueError, match="no labels to export"):
        gatherer.export(tmp_path / "none")
    pairs = make_pairs(3)
    ids = gatherer.submit(pairs)
    for key, answer in zip(ids, ("left", "skip", 0.25), strict=True):
        gatherer.answer(key, answer)
    path = tmp_path / "labels.safetensors"
    assert gatherer.export(path) == 2
    dataset = pc.PreferenceDataset.load(path)
    assert dataset.pairs == [pairs[0], pairs[2]]
    assert dataset.preferences.tolist() == [1, 0.25]

    imported = pc.HumanGatherer(tmp_path / "imported", "Pendulum-v1")
    imported.import_labels(path)
    assert imported.poll()[1].tolist() == [1, 0.25]
    assert imported.pending == []

    replaying = pc.HumanGatherer(tmp_path / "replayed", "Pendulum-v1")
    first, second = replaying.replay(path)
    assert replaying.pending == [first, second]
    assert replaying.recorded == {first: 1.0, second: 0.25}
    assert replaying.answer_recorded(1) == [first]
    again = reopened(replaying)
    assert again.recorded == {second: 0.25}
    again.answer(second, 0)  # the learner disagrees
    assert again.recorded == {}
    assert again.poll()[1].tolist() == [1, 0]

    other = pc.HumanGatherer(tmp_path / "other", "CartPole-v1")
    with pytest.raises(artifacts.ArtifactError, match="labels of another environment"):
        other.import_labels(path)


def test_answers_from_another_thread(gatherer, make_pairs) -> None:
    ids = gatherer.submit(make_pairs(40))
    taken: list[float] = []

    def click() -> None:
        for i, key in enumerate(ids):
            gatherer.answer(key, i / 40)

    thread = threading.Thread(target=click)
    thread.start()
    while thread.is_alive():
        taken += gatherer.poll()[1].tolist()
    thread.join()
    taken += gatherer.poll()[1].tolist()
    assert taken == pytest.approx([i / 40 for i in range(40)])
    assert len(reopened(gatherer).answers) == 40


def test_state_gives_nothing_out_twice(gatherer, make_pairs) -> None:
    ids = gatherer.submit(make_pairs(2))
    gatherer.answer(ids[0], 1)
    gatherer.poll()
    state = json.loads(json.dumps(gatherer.state()))
    gatherer.answer(ids[1], 0)
    again = reopened(gatherer)
    again.restore(state)
    assert again.poll()[1].tolist() == [0]
    empty = pc.HumanGatherer(gatherer.folder.parent / "empty", "Pendulum-v1")
    with pytest.raises(artifacts.ArtifactError, match="trained on the answer to pair '0000-00'"):
        empty.restore(state)
