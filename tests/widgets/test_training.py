import gymnasium as gym
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common import logger as sb3_logger

from imitation_lab.util import logger as lab_logger
from imitation_lab.widgets.training import DashboardWriter, TrainingDashboard


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def make(**kwargs):
    return TrainingDashboard(clock=Clock(), **kwargs)


def test_updates_reach_history_numbers_and_picture():
    dashboard = make(total=10, x_label="batch", labels={"bc/loss": "loss <nats>"})
    blank = dashboard.image.value
    assert dashboard.update({"bc/loss": 2.5, "acc": th.tensor(0.25), "name": "x", "flag": True, "bad": th.ones(3)}, 4)
    assert dashboard.history == {"bc/loss": ([4], [2.5]), "acc": ([4], [0.25])}
    assert dashboard.image.value != blank
    assert ">2.5<" in dashboard.numbers.value
    assert "loss &lt;nats&gt;" in dashboard.numbers.value
    assert dashboard.heading.value == "<b>Training</b>: running, batch 4 of 10"
    dashboard.update({"acc": 0.5})
    assert dashboard.step == 5


def test_drawing_is_rate_limited_and_the_last_state_is_drawn():
    dashboard = make(min_interval=0.5)
    for i in range(5):
        dashboard.update({"loss": float(i)}, i)
    assert dashboard.draws == 1
    drawn = dashboard.image.value
    dashboard._clock.now = 0.6
    dashboard.update({"loss": 9.0}, 6)
    assert dashboard.draws == 2
    assert dashboard.image.value != drawn
    dashboard.update({"loss": 123.0}, 7)
    assert ">123<" not in dashboard.numbers.value
    dashboard.finish()
    assert ">123<" in dashboard.numbers.value
    assert dashboard.stop_button.disabled
    assert repr(dashboard) == "TrainingDashboard(1 metrics, finished)"


def test_stop_only_sets_the_event_and_callbacks_say_no():
    dashboard = make()
    callback = dashboard.callback()
    assert callback("any", key=1) is True
    before = (dashboard.image.value, dashboard.heading.value)
    dashboard.stop_button.click()
    assert dashboard.stop_event.is_set()
    assert dashboard.stopped
    assert callback() is False
    assert (dashboard.image.value, dashboard.heading.value) == before
    assert dashboard.update({"loss": 1.0}) is False
    assert "stopping" in dashboard.heading.value
    with dashboard:
        pass
    assert "stopped, step 1" in dashboard.heading.value
    dashboard.reset()
    assert not dashboard.stopped
    assert dashboard.history == {}
    assert not dashboard.stop_button.disabled


@pytest.mark.parametrize("make_logger", [lambda: sb3_logger.Logger(None, []), None], ids=["sb3", "hierarchical"])
def test_loggers_feed_it(make_logger, tmp_path):
    logger = lab_logger.configure(tmp_path, ["csv"]) if make_logger is None else make_logger()
    dashboard = make().attach(logger)
    dashboard.attach(logger)
    logger.record("bc/loss", 1.5)
    logger.record("bc/text", "words")
    logger.dump(3)
    assert dashboard.history == {"bc/loss": ([3], [1.5])}
    logger.close()


def test_means_of_the_hierarchical_logger_arrive(tmp_path):
    logger = lab_logger.configure(tmp_path, ["csv"])
    dashboard = make().attach(logger)
    with logger.accumulate_means("disc"):
        for value in (1.0, 3.0):
            logger.record("loss", value)
            logger.dump()
    logger.dump(7)
    assert dashboard.history == {"mean/disc/loss": ([7], [2.0])}
    logger.close()


def test_excluded_keys_stay_out():
    dashboard = make()
    DashboardWriter(dashboard).write({"a": 1.0, "b": 2.0}, {"a": ("dashboard",), "b": ("csv",)}, 1)
    assert list(dashboard.history) == ["b"]
    with pytest.raises(TypeError, match="expected a logger with output_formats, got str"):
        dashboard.attach("logger")


def test_sb3_learns_until_stop():
    dashboard = make()
    model = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    callback = dashboard.sb3_callback()
    model.learn(64, callback=callback)
    assert dashboard.finished
    assert "rollout/ep_len_mean" in dashboard.history
    dashboard.reset()
    dashboard.stop_button.click()
    model.learn(1000, callback=dashboard.sb3_callback())
    assert model.num_timesteps == 1


def test_chosen_keys_get_panels_before_any_number_arrives():
    dashboard = make(keys=[("train", "val"), "return"], references={"return": {"expert": 5.0}})
    assert len(dashboard.figure().axes) == 2
    dashboard.update({"train": 1.0, "other": 3.0}, 0)
    assert len(dashboard.figure().axes) == 2
    assert dashboard.table().splitlines()[-1].split() == ["other", "3"]
    assert all(w.tooltip and w.description for w in [dashboard.stop_button])
