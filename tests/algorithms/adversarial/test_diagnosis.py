import numpy as np
import pytest

from imitation_lab.algorithms.adversarial.diagnosis import diagnose
from imitation_lab.data import types
from imitation_lab.rewards.reward_nets import BasicRewardNet

HEALTHY = {
    "disc_acc": 0.7,
    "disc_acc_gen": 0.7,
    "disc_entropy": 0.6,
    "logit_expert_mean": 0.5,
    "logit_gen_mean": -0.5,
    "reward_std": 0.5,
    "reward_min": 0.1,
    "reward_max": 2.0,
    "gen_state_spread": 0.9,
    "gen_action_spread": 1.1,
    "gen_ep_len_mean": 200.0,
    "gen_ep_len_std": 0.0,
    "expert_ep_len_mean": 200.0,
}


def history(**late):
    """Healthy at first, then as told."""
    return [HEALTHY] * 10 + [{**HEALTHY, **late}] * 5


def names(rows):
    return [finding.name for finding in diagnose(rows)]


def test_a_healthy_run():
    found = diagnose(history())
    assert found == []
    assert str(found) == "Nothing stands out in 15 rows."
    assert names([{"disc_acc": 0.7}]) == []


@pytest.mark.parametrize(
    ("late", "name", "text"),
    [
        (
            {"disc_acc": 1.0, "disc_entropy": 0.001, "logit_expert_mean": 9.0, "logit_gen_mean": -11.0},
            "discriminator saturated",
            "20.0 apart.*fewer n_disc_updates_per_round",
        ),
        ({"gen_action_spread": 0.02, "disc_acc_gen": 0.95}, "generator collapsed", "actions vary 2.0% as much.*95%"),
        ({"gen_state_spread": 0.0, "disc_acc_gen": 0.95}, "generator collapsed", "states vary 0.0%"),
        ({"reward_std": 1e-4}, "reward scale off", "varies by 0.0001 only"),
        ({"reward_std": 1e3, "reward_min": -5e3}, "reward scale off", "varies by 1e[+]03, between -5e[+]03 and 2"),
        (
            {"gen_ep_len_mean": 100.0, "gen_ep_len_std": 40.0},
            "horizon leak",
            "100 ± 40 steps.*200.*positive.*to live long",
        ),
        (
            {"gen_ep_len_mean": 9.0, "reward_min": -4.0, "reward_max": -1.0},
            "horizon leak",
            "negative.*end the episode soon",
        ),
    ],
)
def test_each_failure_is_named(late, name, text):
    found = diagnose(history(**late))
    assert [finding.name for finding in found] == [name]
    import re

    assert re.search(text, str(found), re.DOTALL)


def test_what_is_past_or_explained_is_not_reported():
    assert names([{**HEALTHY, "disc_acc": 1.0, "disc_entropy": 0.0}] * 5 + [HEALTHY] * 10) == []
    assert names(history(gen_action_spread=0.02, disc_acc_gen=0.5)) == []  # it fools the discriminator
    assert names(history(gen_ep_len_std=40.0, reward_min=-1.0)) == []
    with pytest.raises(ValueError, match="history is empty: train for at least one round"):
        diagnose([])


# Runs made to fail.


def far_demonstrations(length=8):
    """States that the environment never gives, but within its space: the discriminator cannot fail."""
    rng = np.random.default_rng(0)

    def obs():
        return (0.9 + 0.1 * rng.uniform(size=(length + 1, 3))).astype(np.float32)

    return [types.TrajectoryWithRew(obs(), rng.integers(0, 3, length), None, True, np.zeros(length)) for _ in range(6)]


def test_a_discriminator_that_cannot_fail(build):
    trainer = build(demonstrations=far_demonstrations(), n_disc_updates_per_round=100, disc_opt_kwargs={"lr": 0.05})
    trainer.train(16 * 40, progress_bar=False)
    assert "discriminator saturated" in names(trainer.history)


def test_a_generator_that_does_one_thing(build):
    trainer = build(n_disc_updates_per_round=30, disc_opt_kwargs={"lr": 0.03}, gen_replay_buffer_capacity=16)
    bias = trainer.policy.action_net.bias
    trainer.gen_algo.policy.optimizer.param_groups[0]["lr"] = 0.0
    trainer.gen_algo.lr_schedule = lambda _: 0.0
    bias.data[0] = 50.0
    trainer.train(16 * 20, progress_bar=False)
    found = names(trainer.history)
    assert "generator collapsed" in found


def test_a_reward_without_scale(build):
    trainer = build(disc_opt_kwargs={"lr": 0.0})
    for parameter in trainer._reward_net.parameters():
        parameter.data.zero_()
    trainer.train(64, progress_bar=False)
    assert names(trainer.history) == ["reward scale off"]

    def loud(obs_space, act_space):
        net = BasicRewardNet(obs_space, act_space, hid_sizes=())
        next(net.parameters()).data.mul_(1000)
        return net

    trainer = build(net=loud, disc_opt_kwargs={"lr": 0.0})
    trainer.train(64, progress_bar=False)
    assert "reward scale off" in names(trainer.history)


def test_a_horizon_that_leaks(build):
    trainer = build(demonstrations=far_demonstrations(30), horizon=6, allow_variable_horizon=True)
    trainer.train(96, progress_bar=False)
    assert "horizon leak" in names(trainer.history)
