import json

import numpy as np
import pytest

import imitation_lab  # noqa: F401  (registers the environments)
from imitation_lab.algorithms.preference_comparisons import HumanGatherer, SyntheticGatherer
from imitation_lab.data.types import TrajectoryWithRew
from imitation_lab.widgets.preferences import KEYS, PreferenceLabeler, bradley_terry_stack

ENV = "imitation_lab/CartPole-v0"


def fragment(angle, length=4):
    obs = np.zeros((length + 1, 4), np.float32)
    obs[:, 2] = angle * np.linspace(0, 1, length + 1)
    return TrajectoryWithRew(obs, np.zeros(length, int), None, False, np.full(length, 0.25 - angle, np.float32))


def pairs(n=3):
    return [(fragment(0.01 * i), fragment(-0.2)) for i in range(n)]


@pytest.fixture
def gatherer(tmp_path):
    gatherer = HumanGatherer(tmp_path / "labels", ENV)
    gatherer.submit(pairs())
    return gatherer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_buttons_answer_and_the_labels_are_on_the_disk_at_once(gatherer, tmp_path):
    clock = Clock()
    labeler = PreferenceLabeler(gatherer, n_frames=3, clock=clock)
    assert repr(labeler) == "PreferenceLabeler(0 answered, 3 waiting)"
    first = bytes(labeler.stack.children[-1].value)
    clock.now = 2.5
    labeler.left.click()
    assert labeler.stack.children[-1].value != first
    assert gatherer.seconds == {"0000-00": 2.5}
    labeler.tie.click()
    labeler.skip.click()
    lines = [json.loads(line) for line in (tmp_path / "labels" / "labels.jsonl").read_text().splitlines()]
    assert [line["preference"] for line in lines if line.get("event") == "answer"] == [1.0, 0.5, "skip"]
    assert labeler.key is None
    assert labeler.left.disabled
    assert "No pair is waiting" in labeler.status.value
    assert (labeler.progress.value, labeler.progress.max) == (3, 3)
    assert "left 1" in " ".join(labeler.table().split())
    labeler.act("left")  # does nothing
    assert len(gatherer.answers) == 3
    gatherer.submit(pairs(1))
    labeler.refresh()
    assert labeler.key == "0001-00"
    assert not labeler.left.disabled


def test_a_key_that_follows_the_text_is_meant_for_the_pair_shown(gatherer):
    labeler, order = PreferenceLabeler(gatherer, n_frames=2), []
    for widget in (labeler.key_catcher, labeler.status):
        name = "place" if widget is labeler.key_catcher else "value"
        widget.observe(lambda _, which=widget: order.append(which), name)
    labeler.left.click()
    assert order == [labeler.key_catcher, labeler.status]


def test_undo_shows_the_pair_again_until_it_has_been_trained_on(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=2)
    assert labeler.undo.disabled
    labeler.right.click()
    assert gatherer.answers == {"0000-00": 0.0}
    labeler.undo.click()
    assert labeler.key == "0000-00"
    assert gatherer.answers == {}
    labeler.left.click()
    gatherer.poll()
    labeler.undo.click()
    assert gatherer.answers == {"0000-00": 1.0}
    assert "Nothing to undo" in labeler.status.value


def test_keys_do_what_the_buttons_do(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=2)
    for key in ("ArrowLeft", "x", "ArrowRight", "Backspace", "ArrowUp", "ArrowDown"):
        labeler.press(key)
    assert list(gatherer.answers.values()) == [1.0, 0.5, "skip"]
    assert set(labeler.key_catcher.bindings) == set(KEYS)
    with pytest.raises(ValueError, match="no button 'up'"):
        labeler.act("up")


def test_a_key_meant_for_an_earlier_pair_does_not_answer_the_next(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=2)
    press = {"key": "ArrowLeft", "place": labeler.key_catcher.place}
    for _ in range(2):
        labeler.key_catcher._handle_custom_msg(press, [])
    assert list(gatherer.answers) == ["0000-00"]
    assert labeler.key_catcher.place == "0000-01"
    labeler.key_catcher._handle_custom_msg("nonsense", [])
    assert len(gatherer.answers) == 1


def test_true_returns_are_hidden_until_asked_for_and_again_with_the_next_pair(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=2)
    assert labeler.returns.value == ""
    labeler.reveal.value = True
    assert labeler.returns.value == "left 1, right 1.8"
    labeler.left.click()
    assert not labeler.reveal.value
    assert labeler.returns.value == ""


def test_recorded_answers_replay_through_the_widget(gatherer, tmp_path):
    for key, answer in zip(gatherer.pending, ["left", "right", "tie"], strict=True):
        gatherer.answer(key, answer)
    gatherer.export(tmp_path / "answers.safetensors")
    other = HumanGatherer(tmp_path / "other", ENV)
    other.replay(tmp_path / "answers.safetensors")
    labeler = PreferenceLabeler(other, n_frames=2)
    assert labeler.recorded.layout.display is None
    assert "Enter" in labeler.key_catcher.text
    labeler.recorded.click()
    labeler.left.click()  # not as recorded
    assert labeler.answer_recorded() == 1
    assert list(other.answers.values()) == [1.0, 1.0, 0.5]
    assert labeler.recorded.layout.display == "none"  # none is left
    labeler.undo.click()
    assert labeler.recorded.layout.display is None


def test_a_pair_without_a_recorded_answer_says_so(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=2)
    assert labeler.recorded.disabled
    assert labeler.recorded.layout.display == "none"
    assert "Enter" not in labeler.key_catcher.text
    labeler.act("recorded")
    assert "Nothing has been recorded" in labeler.status.value
    assert labeler.answer_recorded() == 0


def test_two_labelers_on_one_gatherer(gatherer):
    first, second = (PreferenceLabeler(gatherer, n_frames=2) for _ in range(2))
    first.left.click()
    second.right.click()
    assert gatherer.answers == {"0000-00": 1.0}
    assert "answered elsewhere" in second.status.value
    assert second.key == "0000-01"


def test_pictures_come_from_the_gatherer_the_environment_or_the_states(gatherer, tmp_path):
    assert len(PreferenceLabeler(gatherer, n_frames=2).figure().axes) == 10  # film strips
    assert len(PreferenceLabeler(gatherer, n_frames=2, render="trace").figure().axes) == 2
    unknown = HumanGatherer(tmp_path / "unknown", "NoSuchEnv-v0")
    unknown.submit(pairs(1))
    assert len(PreferenceLabeler(unknown, n_frames=2).figure().axes) == 2
    red = np.zeros((1, 8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    kept = HumanGatherer(tmp_path / "kept", "NoSuchEnv-v0", render=lambda _: red)
    kept.submit(pairs(1))
    labeler = PreferenceLabeler(kept, n_frames=2)
    np.testing.assert_array_equal(labeler.figure().axes[0].images[0].get_array()[0, 0], [255, 0, 0])
    labeler.left.click()
    with pytest.raises(ValueError, match="No pair is waiting"):
        labeler.figure()
    assert len(labeler.figure("0000-00").axes) == 10


def test_play_loops_the_stack_and_close_removes_all(gatherer):
    labeler = PreferenceLabeler(gatherer, n_frames=4)
    assert (labeler.play.max, labeler.play.repeat, len(labeler.stack.children)) == (3, True, 4)
    assert len({bytes(image.value) for image in labeler.stack.children}) == 4
    labeler.close()
    assert labeler.key_catcher.comm is None


def test_wrong_arguments(gatherer, rng):
    with pytest.raises(TypeError, match="HumanGatherer, got a SyntheticGatherer"):
        PreferenceLabeler(SyntheticGatherer(rng=rng))
    with pytest.raises(ValueError, match="n_frames must be at least 2"):
        PreferenceLabeler(gatherer, n_frames=1)


def test_bradley_terry_slider():
    stack = bradley_terry_stack((0, 1, 10), index=1, differences=[2.0])
    assert stack.label == "temperature 1: rationality 1"
    before = stack.png
    stack.slider.value = 0
    assert stack.png != before
    assert stack.label == "temperature 0: rationality ∞"
