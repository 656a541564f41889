import threading

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc, dagger
from imitation_lab.algorithms.dagger.collector import demonstration_files
from imitation_lab.data import serialize
from imitation_lab.util import logger
from imitation_lab.viz.interactive import session_figure
from imitation_lab.widgets.interactive import InteractiveExpert

ACTIONS = {"left": 0, "right": 1}


class Walk(gym.Env):
    """A white pixel on a line."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    horizon = 6

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.x += 2 * int(np.sum(action) > 0) - 1
        self.t += 1
        return np.array([self.x], np.float32), 0.0, False, self.t == self.horizon, {}

    def render(self):
        picture = np.zeros((4, 21, 3), np.uint8)
        picture[:, 10 + self.x] = 255
        return picture


def left(obs):
    return np.zeros(len(obs), np.int64)


def make(env=Walk, policy=left, **kwargs):
    session = dagger.InteractiveSession(DummyVecEnv([env]), policy, np.random.default_rng(0))
    return InteractiveExpert(session, **{"actions": ACTIONS, **kwargs})


def test_a_key_that_follows_the_text_is_meant_for_the_frame_shown():
    expert, order = make(), []
    for widget, name in ((expert.picture, "value"), (expert.key_catcher, "place"), (expert.status, "value")):
        widget.observe(lambda _, which=widget: order.append(which), name)
    expert.act("left")
    assert order == [expert.picture, expert.key_catcher, expert.status]


def test_buttons_steer_and_the_frame_follows():
    expert = make()
    assert repr(expert) == "InteractiveExpert(0 demonstrated, 0 labelled, 0 unsaved)"
    assert expert.undo.disabled
    assert expert.save.disabled
    assert expert.take_over.disabled
    first = bytes(expert.picture.value)
    assert first.startswith(b"\x89PNG")
    expert.action_buttons["right"].click()
    assert bytes(expert.picture.value) != first
    assert expert.session.obs == 1
    expert.hand_back.click()
    assert "The policy is in control" in expert.status.value
    expert.action_buttons["right"].click()  # a label; the policy goes left
    assert expert.session.obs == 0
    expert.watch.click()  # four steps to the end of the episode
    assert "Watched 4 steps, to the end of the episode" in expert.status.value
    expert.take_over.click()
    assert "Episode 1, step 0. You are in control. 1 demonstrated, 1 labelled, 4 watched" in expert.status.value
    assert "demonstrated" in expert.table()
    expert.restart.click()
    assert expert.session.position == (2, 0)
    for _ in range(Walk.horizon):
        expert.act("left")
    assert "The episode ended" in expert.status.value


def test_undo_shows_the_frame_again():
    expert = make()
    expert.action_buttons["right"].click()
    shown = bytes(expert.picture.value)
    expert.action_buttons["left"].click()
    expert.undo.click()
    assert bytes(expert.picture.value) == shown
    expert.undo.click()
    assert expert.undo.disabled
    expert.do("undo")
    assert "Nothing to undo" in expert.status.value


def test_keys_do_what_the_buttons_do():
    expert = make()
    for key in ("ArrowRight", "x", "ArrowRight", "Backspace", "t", "ArrowLeft", "w", "t", "ArrowLeft"):
        expert.press(key)
    steps = [step for episode in expert.session.episodes for step in episode]
    said = [None if step.label is None else int(step.label) for step in steps]
    assert said == [1, 0, None, None, None, None, 0]
    assert [step.by_human for step in steps] == [True, *5 * [False], True]
    assert set(expert.key_catcher.bindings) == {"ArrowLeft", "ArrowRight", "Backspace", "t", "w"}
    assert "← left · → right" in expert.key_catcher.text


def test_a_key_meant_for_an_earlier_frame_does_not_label_the_next():
    expert = make()
    press = {"key": "ArrowRight", "place": expert.key_catcher.place}
    for _ in range(2):
        expert.key_catcher._handle_custom_msg(press, [])
    assert expert.session.position == (0, 1)
    expert.key_catcher._handle_custom_msg("nonsense", [])
    expert.undo.click()
    expert.act("left")
    expert.key_catcher._handle_custom_msg(press, [])
    assert expert.session.position == (0, 1)


def test_the_keys_are_those_of_this_widget():
    expert = make()
    assert expert.key_catcher.root in expert._dom_classes
    assert expert.key_catcher.label == "Keys of the interactive expert"
    assert expert.key_catcher.play is None  # there is no loop to start


@pytest.fixture
def trainer(tmp_path):
    rng = np.random.default_rng(0)
    log = logger.configure(tmp_path / "log", [])
    venv = DummyVecEnv([Walk])
    spaces_ = {"observation_space": venv.observation_space, "action_space": venv.action_space}
    learner = bc.BC(**spaces_, rng=rng, batch_size=8, device="cpu", custom_logger=log)
    return dagger.DAggerTrainer(venv=venv, scratch_dir=tmp_path / "run", rng=rng, bc_trainer=learner)


def test_labels_are_trained_on(trainer):
    expert = InteractiveExpert(trainer, actions=ACTIONS)
    for _ in range(5):
        expert.action_buttons["left"].click()
    expert.hand_back.click()
    for _ in range(5):
        expert.action_buttons["right"].click()
    expert.save.click()
    assert "Saved 10 labelled steps to round 0, demo-00000.safetensors" in expert.status.value
    assert expert.save.disabled
    expert.do("save")
    assert "Nothing to save yet" in expert.status.value
    assert trainer.extend_and_update({"log_rollouts_venv": None, "progress_bar": False}) == 1
    assert trainer.n_labels == 10
    assert trainer.bc_trainer._data["acts"].tolist() == 5 * [0] + 5 * [1]
    expert.update_policy()
    expert.action_buttons["right"].click()
    expert.save.click()
    assert "round 1" in expert.status.value


def test_saving_elsewhere(tmp_path):
    expert = make(save_to=tmp_path / "mine")
    expert.act("right")
    expert.save.click()
    (path,) = demonstration_files(tmp_path / "mine")
    (trajectory,) = serialize.load(path)
    assert trajectory.infos[0] == {"by_human": True}
    kept = []
    expert = make(save_to=kept.extend)
    expert.act("right")
    expert.save.click()
    assert len(kept) == 1
    nowhere = make()
    nowhere.act("right")
    nowhere.save.click()
    assert "nowhere to save to" in nowhere.status.value
    assert nowhere.session.counts()["unsaved"] == 1

    def full(trajectories):
        raise OSError("No space left on device")

    full_disk = make(save_to=full)
    full_disk.act("right")
    full_disk.save.click()
    assert "Not saved: No space left" in full_disk.status.value
    assert full_disk.session.counts()["unsaved"] == 1


def test_without_a_policy_the_human_stays_in_control():
    expert = make(policy=None)
    assert expert.hand_back.disabled
    assert expert.watch.disabled
    for word, text in (("hand_back", "no policy to hand back"), ("watch", "no policy to watch")):
        expert.do(word)
        assert text in expert.status.value
    assert expert.session.in_control


def test_continuous_actions_are_offered_by_name():
    class Push(Walk):
        action_space = spaces.Box(-1, 1, (1,), np.float32)

    three = {"push left": [-1.0], "rest": [0.0], "push right": [1.0]}
    expert = make(Push, None, actions=three)
    expert.press("ArrowRight")
    (trajectory,) = expert.session.trajectories()
    np.testing.assert_array_equal(trajectory.acts, [[1.0]])
    assert [text.get_text() for text in expert.figure().axes[1].get_yticklabels()] == list(three)
    with pytest.raises(ValueError, match="name the actions that buttons shall offer"):
        make(Push, None, actions=None)


def test_the_static_figure_says_the_same():
    expert = make(actions=None)
    assert list(expert.actions) == ["action 0", "action 1"]
    assert "0 demonstrated" in session_figure(expert.session).alt
    for name in ("action 1", "action 0"):
        expert.act(name)
    expert.do("turn")
    expert.act("action 1")
    figure = expert.figure()
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[1].lines}
    assert lines["done by the human"] == [[0, 1], [1, 0]]
    assert lines["done by the policy"] == [[2, 0]]
    assert lines["label by the human"] == [[2, 1]]
    assert "2 demonstrated, 1 labelled" in figure.alt


def test_clicks_in_another_thread_are_all_counted():
    expert = make()
    threads = [threading.Thread(target=lambda: [expert.act("right") for _ in range(5)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert expert.session.counts()["demonstrated"] == 10


@pytest.mark.parametrize(
    ("make_it", "text"),
    [
        (lambda: make(lambda: Walk(None)), "render_mode None, expected 'rgb_array'"),
        (lambda: make(keys=["a"]), "There are 1 keys for 2 actions"),
        (lambda: make(keys=["a", "w"]), "must differ from each other"),
        (lambda: make().act("up"), "There is no action 'up', expected one of left, right"),
        (lambda: make().do("jump"), "There is no button 'jump'"),
    ],
)
def test_mistakes(make_it, text):
    with pytest.raises(ValueError, match=text):
        make_it()


def test_many_actions_get_digits_and_letters():
    class Many(Walk):
        action_space = spaces.Discrete(18)

    expert = make(Many, actions=None)
    assert len(set(expert.key_catcher.bindings)) == 18 + 3
    assert expert.bindings["1"] == "action 0"
