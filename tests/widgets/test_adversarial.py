import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.algorithms.adversarial.presets import presets
from imitation_lab.rewards.reward_nets import BasicShapedRewardNet
from imitation_lab.util import logger
from imitation_lab.widgets.adversarial import AdversarialReplay, AIRLMaps, DiscriminatorHealth, ReplayRecorder

BOX, TWO = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)


def row(number, gap=2.0, accuracy=0.7):
    return {
        "round": number,
        "disc_acc": accuracy,
        "disc_acc_expert": accuracy,
        "disc_acc_gen": accuracy,
        "disc_entropy": 0.4 if accuracy < 0.99 else 0.0,
        "logit_expert_mean": gap / 2,
        "logit_gen_mean": -gap / 2,
        "gen_return_mean": 10.0 * number,
        "logits_expert": np.linspace(0, gap, 16),
        "logits_gen": np.linspace(-gap, 0, 16),
    }


class FakeTrainer:
    on_round = None

    @staticmethod
    def policy(obs):
        return np.ones(len(obs), int)

    @staticmethod
    def reward_train(state, action, next_state, done):
        return state[:, 2]


@pytest.fixture
def clock():
    """A clock that stands still unless told otherwise."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def test_health_is_live_and_then_leaves_a_slider(clock):
    trainer, health = FakeTrainer(), DiscriminatorHealth(total=3, clock=clock, n_frames=5)
    assert "waiting" in health.heading.value
    health.attach(trainer)
    with health:
        for number in (1, 2, 3):
            trainer.on_round(row(number))
            clock.now += 2
            assert f"round {number} of 3" in health.heading.value
            assert health.picture in health.children
        assert health.draws == 3
        assert "running" in health.heading.value
    assert "finished" in health.heading.value
    assert health.stop_button.disabled
    assert health.picture is None
    assert health.frames in health.children
    assert [health.history[i]["round"] for i in health.indices] == [1, 2, 3]
    assert repr(health) == "DiscriminatorHealth(3 rounds, finished)"


def test_slider_changes_the_picture_and_the_static_figure():
    health = DiscriminatorHealth([row(n, gap=n) for n in range(1, 7)], n_frames=3)
    newest = health.frames.png
    health.slider.value = 0
    assert health.frames.png != newest
    assert "round 1" in health.figure().alt
    assert "round 6" in health.figure(-1).alt
    assert "logit gap" in health.table()
    assert len(health.table(2).splitlines()) == 4


def test_drawing_is_rate_limited(clock):
    health = DiscriminatorHealth(clock=clock, min_interval=1.0)
    for number in range(5):
        health.update(row(number))
    assert health.draws == 1
    clock.now = 1.5
    health.update(row(5))
    assert health.draws == 2
    assert len(health.history) == 6


def test_stop_ends_training_and_says_so():
    health = DiscriminatorHealth()
    go_on = health.callback()
    assert go_on(0)
    health.stop_button.click()
    assert not go_on(1)
    health.update(row(1))
    health.finish()
    assert "stopped" in health.heading.value


def test_diagnosis_is_shown_in_words():
    assert "Nothing stands out" in DiscriminatorHealth([row(1)]).words.value
    saturated = DiscriminatorHealth([row(n, gap=20, accuracy=1.0) for n in range(3)])
    assert "discriminator saturated" in saturated.words.value
    assert saturated.diagnosis[0].name == "discriminator saturated"


def test_training_on_after_the_end_goes_live_again():
    health = DiscriminatorHealth([row(1)])
    health.update(row(2))
    assert not health.finished
    assert not health.stop_button.disabled
    health.finish()
    assert health.finished


def test_nothing_but_an_empty_widget_without_rounds():
    health = DiscriminatorHealth()
    health.finish()
    assert health.slider is None
    assert health.diagnosis is None
    with pytest.raises(ValueError, match="n_frames must be at least 1"):
        DiscriminatorHealth(n_frames=0)


def test_health_and_replay_follow_a_real_trainer():
    preset = presets("CartPole", "gail")
    rng = np.random.default_rng(0)
    venv = preset.make_venv(rng)
    trainer = preset.build(
        rng, 0, venv=venv, gen_algo=preset.make_gen_algo(venv, 0, n_steps=8, batch_size=64, n_epochs=1),
        demo_batch_size=16, n_disc_updates_per_round=1, record_logits=8,
        custom_logger=logger.configure(format_strs=[]),
    )  # fmt: skip
    health = DiscriminatorHealth().attach(trainer)
    env = gym.make("imitation_lab/CartPole-v0")
    recorder = ReplayRecorder(env, trainer.policy, [0, 5], max_steps=5).attach(trainer)
    with health:
        trainer.train(5 * trainer.gen_train_timesteps, health.callback(), progress_bar=False)
    assert len(health.history) == len(trainer.history)
    assert list(recorder.pairs) == [0, 5]
    assert len(health.history[-1]["logits_expert"]) == 8


@pytest.fixture
def replay():
    env = gym.make("imitation_lab/CartPole-v0")
    recorder = ReplayRecorder(env, lambda obs: (obs[:, 2] > 0).astype(int), [0, 3, 6], max_steps=25)
    trainer = FakeTrainer()
    recorder.attach(trainer)
    trainer.on_round({"round": 3})
    return AdversarialReplay(recorder, n_frames=4)


def test_replay_leafs_through_rounds_and_steps(replay):
    assert replay.rounds == [0, 3]
    assert replay.round == 3
    assert replay.steps == [0, 8, 16, 24]
    first = replay.png
    replay.slider.value = 3
    assert replay.step == 24
    assert replay.png != first
    second = replay.png
    replay.round_slider.value = 0
    assert replay.png != second
    assert "round 0" in replay.figure().alt
    assert repr(replay) == "AdversarialReplay(rounds [0, 3], 4 steps)"
    assert "learned reward, expert" in replay.table()


def test_replay_needs_no_kernel_to_move(replay):
    rounds, steps = replay.children[:2]
    assert replay.stack in [link.target[0] for link in rounds._links]
    targets = [link.target[0] for link in steps._links]
    assert all(inner in targets for inner in replay.stack.children)
    assert replay.slider in targets  # of the play button
    assert [inner.children[0].format for inner in replay.stack.children] == ["png", "png"]


def test_replay_keeps_to_its_bytes(replay):
    small = AdversarialReplay(replay.recorder, n_frames=4, max_bytes=1)
    assert len(small.steps) == 2
    with pytest.raises(ValueError, match="n_frames must be at least 1"):
        AdversarialReplay(replay.recorder, n_frames=0)
    small.close()


def test_replay_of_nothing_says_what_to_do():
    env = gym.make("imitation_lab/CartPole-v0")
    recorder = ReplayRecorder(env, None, [1], max_steps=3)
    with pytest.raises(ValueError, match="attach"):
        AdversarialReplay(recorder)


def test_maps_have_a_slider_over_a_third_dimension():
    th.manual_seed(0)
    net = BasicShapedRewardNet(BOX, TWO)
    maps = AIRLMaps(net, BOX, TWO, n_frames=3, resolution=5, dim_names=["x", "v", "w"])
    assert repr(maps) == "AIRLMaps(g, h, f over x and v)"
    assert maps.frames.label == "0"
    middle = maps.frames.png
    maps.slider.value = 2
    assert maps.frames.png != middle
    assert "w = 1" in maps.figure().axes[0].figure.alt
    # next state = state: f = g − (1 − γ) h, with γ = 0.99
    values = maps.values[2]
    np.testing.assert_allclose(values["f"], values["g"] - 0.01 * values["h"], atol=1e-5)
    assert "highest" in maps.table()
    with pytest.raises(ValueError, match="choose a third dimension"):
        AIRLMaps(net, BOX, TWO, sweep_dim=1)
