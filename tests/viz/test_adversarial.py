import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from imitation_lab.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet, NormalizedRewardNet
from imitation_lab.util.networks import RunningNorm
from imitation_lab.viz import adversarial
from imitation_lab.viz.episodes import Episode
from imitation_lab.viz.rewards import RewardSlice
from imitation_lab.viz.style import figure_to_png

BOX, TWO = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)


def rows(n=4):
    """Accuracies fall to chance, and the expert's logits from 2 to 0."""
    return [
        {
            "round": i + 1,
            "disc_acc": 1 - i / (2 * n),
            "disc_acc_expert": 1 - i / (2 * n),
            "disc_acc_gen": 1 - i / (2 * n),
            "disc_entropy": 0.1 * i,
            "logit_expert_mean": 2.0 - i,
            "logit_gen_mean": -2.0,
            "gen_return_mean": 100.0 * i,
            "logits_expert": np.full(20, 2.0 - i),
            "logits_gen": np.linspace(-3, -1, 20),
        }
        for i in range(n)
    ]


class FakeTrainer:
    """Pays −1 per action 1, and always takes it."""

    def __init__(self):
        self.on_round = None

    @staticmethod
    def policy(obs):
        return np.ones(len(obs), int)

    @staticmethod
    def reward_train(state, action, next_state, done):
        return -np.asarray(action, float)


def test_health_has_one_histogram_per_kind_that_sums_to_one():
    panel = adversarial.HealthPanel(rows(), {"expert": 500.0})
    drawn = {artist.get_label(): artist for artist in panel.artists if isinstance(artist, StepPatch)}
    assert list(drawn) == ["expert", "learner"]
    for index in (0, 3):
        panel.show(index)
        for name, bars in drawn.items():
            values, edges, _ = bars.get_data()
            assert values.sum() == pytest.approx(1), name
        values, edges, _ = drawn["expert"].get_data()
        peak = int(values.argmax())
        assert edges[peak] <= 2.0 - index <= edges[peak + 1]
        assert f"round {index + 1}" in panel.figure.alt
        cursors = [artist for artist in panel.artists if isinstance(artist, Line2D)]
        assert [cursor.get_xdata()[0] for cursor in cursors] == [index + 1] * 2


def test_health_draws_accuracies_and_the_return():
    figure = adversarial.discriminator_health(rows(), 0)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["expert"], [1, 0.875, 0.75, 0.625])
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), [0, 100, 200, 300])
    assert "round 1" in figure.alt


def test_health_without_logits_says_how_to_record_them():
    bare = [{k: v for k, v in row.items() if not k.startswith("logits_")} for row in rows()]
    figure = adversarial.discriminator_health(bare)
    assert any("record_logits=256" in text.get_text() for text in figure.axes[1].texts)


def test_health_of_one_round_and_of_none():
    assert len(adversarial.HealthPanel(rows(1)).pngs([0])) == 1
    with pytest.raises(ValueError, match="train for at least one round"):
        adversarial.HealthPanel([])


def test_frames_differ_from_round_to_round():
    panel = adversarial.HealthPanel(rows(9))
    assert len(set(panel.pngs([0, 4, 8]))) == 3


def test_health_rows_give_the_gap_of_the_logits():
    found = adversarial.health_rows(rows(), [0, 3])
    assert [row["logit gap"] for row in found] == [4.0, 1.0]


def test_callbacks_of_a_round_are_chained_in_order():
    trainer, called = FakeTrainer(), []
    for name in "ab":
        adversarial.chain_on_round(trainer, lambda row, name=name: called.append((name, row["round"])))
    trainer.on_round({"round": 3})
    assert called == [("a", 3), ("b", 3)]


def test_rewards_of_an_episode_see_the_next_state():
    episode = Episode(obs=np.array([[1.0], [2.0], [4.0]]), acts=np.zeros(3, int))
    found = adversarial.with_reward(episode, lambda s, a, n, d: (n - s)[:, 0])
    np.testing.assert_allclose(found.rews, [1, 2, 0])
    with pytest.raises(ValueError, match="needs its obs and acts"):
        adversarial.with_reward(Episode(rews=np.zeros(2)), None)


def recorder_of(rounds):
    env = gym.make("imitation_lab/CartPole-v0")
    return adversarial.ReplayRecorder(env, lambda obs: (obs[:, 2] > 0).astype(int), rounds, max_steps=30)


def test_recorder_keeps_the_chosen_rounds_with_the_reward_of_then():
    trainer, recorder = FakeTrainer(), recorder_of([0, 2])
    recorder.attach(trainer)
    trainer.on_round({"round": 1})
    trainer.reward_train = lambda s, a, n, d: 5.0 * np.asarray(a, float)
    trainer.on_round({"round": 2})
    assert list(recorder.pairs) == [0, 2]
    learner, expert = recorder.pairs[0]
    np.testing.assert_array_equal(learner.rews, -1.0)
    np.testing.assert_array_equal(expert.rews, -recorder.expert.acts.astype(float))
    np.testing.assert_array_equal(recorder.pairs[2][0].rews, 5.0)
    np.testing.assert_array_equal(learner.obs[0], expert.obs[0])
    # always pushing right topples the pole within a dozen steps
    assert 5 < recorder.returns[0] < 15


def test_recording_uses_up_none_of_torchs_random_numbers():
    from stable_baselines3 import PPO

    trainer = FakeTrainer()
    trainer.policy = PPO("MlpPolicy", gym.make("imitation_lab/CartPole-v0"), device="cpu").policy
    th.manual_seed(0)
    expected = th.rand(3)
    th.manual_seed(0)
    recorder_of([0]).attach(trainer)
    assert th.equal(th.rand(3), expected)


def test_recorder_and_replay_say_what_is_missing():
    with pytest.raises(ValueError, match="rounds is empty"):
        recorder_of([])
    recorder = recorder_of([1])
    with pytest.raises(RuntimeError, match="attach"):
        recorder.record(1)
    with pytest.raises(ValueError, match="round 7 was not recorded"):
        adversarial.replay_figure(recorder, 7)


def test_replay_figure_shows_the_learned_reward_on_one_scale():
    trainer, recorder = FakeTrainer(), recorder_of([0])
    recorder.attach(trainer)
    figure = adversarial.replay_figure(recorder, 0, step=-1)
    left, right = figure.axes[4:6]
    assert left.get_ylabel() == "learned\nreward"
    assert left.get_ylim() == right.get_ylim()
    assert figure_to_png(figure).startswith(b"\x89PNG")


def shaped():
    th.manual_seed(0)
    net = BasicShapedRewardNet(BOX, TWO, use_action=False, discount_factor=0.9)
    return NormalizedRewardNet(net, RunningNorm)


def test_parts_add_up():
    parts = adversarial.airl_parts(shaped())
    rng = np.random.default_rng(0)
    state, following = rng.uniform(-1, 1, (2, 7, 3)).astype(np.float32)
    action, done = np.zeros(7, int), np.zeros(7, bool)
    g, f = (parts[name](state, action, following, done) for name in ("g", "f"))
    h, h_next = parts["h"](state, action, following, done), parts["h"](following, action, state, done)
    np.testing.assert_allclose(f, g + 0.9 * h_next - h, atol=1e-5)
    assert np.ptp(h) > 1e-4


def test_a_network_without_shaping_has_no_parts():
    with pytest.raises(TypeError, match="holds no ShapedRewardNet"):
        adversarial.airl_parts(BasicRewardNet(BOX, TWO))


def test_maps_draw_each_part_with_its_values():
    grid = RewardSlice(lambda s, a, n, d: s[:, 0], BOX, TWO, resolution=5, from_data=np.zeros((4, 3)),
                       bounds=[(-1, 1)] * 3)  # fmt: skip
    values = adversarial.airl_values(adversarial.airl_parts(shaped()), grid)
    assert list(values) == ["g", "h", "f"]
    figure = adversarial.airl_maps(values, grid)
    for axes, value in zip(figure.axes[:3], values.values(), strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), value)
    assert "g, h, f" in figure.alt
