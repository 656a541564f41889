"""A human at a terminal."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import rollout
from imitation_lab.policies.interactive import (
    ATARI_KEYS,
    AtariInteractivePolicy,
    DiscreteInteractivePolicy,
    ImageObsDiscreteInteractivePolicy,
    terminal_picture,
)

OBS = spaces.Box(-1, 1, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (4, 6, 3), np.uint8)
TWO = spaces.Discrete(2)
KEYS = {"a": "left", "d": "right"}


@pytest.fixture
def type_in(monkeypatch):
    """Lets `input` give prepared answers."""

    def prepare(*answers):
        rest = iter(answers)
        monkeypatch.setattr("builtins.input", lambda prompt="": next(rest))

    return prepare


def test_keys_choose_actions_and_others_are_asked_for_again(type_in, capsys):
    type_in("x", " d ", "a")
    policy = DiscreteInteractivePolicy(OBS, TWO, KEYS, clear_screen_on_query=False)
    acts, _ = policy.predict(np.array([[0.5, 0, 0], [0.25, 0, 0]], np.float32))
    np.testing.assert_array_equal(acts, [1, 0])
    out = capsys.readouterr().out
    assert "Environment 1 of 2" in out
    assert "0.25" in out
    assert "[a] left, [d] right" in out
    assert "'x' is none of a, d." in out
    assert "\033" not in out


def test_the_screen_is_cleared_and_single_and_dict_observations_are_shown(type_in, capsys):
    type_in("d", "a")
    policy = DiscreteInteractivePolicy(OBS, spaces.Discrete(2, start=5), KEYS)
    act, _ = policy.predict(np.zeros(3, np.float32))
    assert act == 6
    assert "\033[2J" in capsys.readouterr().out
    both = spaces.Dict({"near": OBS, "far": OBS})
    DiscreteInteractivePolicy(both, TWO, KEYS).predict({"near": np.ones(3), "far": np.zeros(3)})
    assert "near: [1. 1. 1.]" in capsys.readouterr().out


def test_it_rolls_out_like_any_policy(type_in, capsys):
    venv = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=3)])
    type_in("d", "a", "d")
    policy = DiscreteInteractivePolicy(venv.observation_space, venv.action_space, KEYS)
    (episode,) = rollout.generate_trajectories(policy, venv, rollout.make_min_episodes(1), np.random.default_rng(0))
    assert episode.acts.tolist() == [1, 0, 1]


def test_without_a_terminal_the_error_says_what_to_do(monkeypatch, capsys):
    def nobody(prompt=""):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(EOFError, match="asks for actions at a terminal, and there is none.*InteractiveExpert"):
        DiscreteInteractivePolicy(OBS, TWO, KEYS).predict(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("space", "keys", "text"),
    [
        (spaces.Box(-1, 1, (1,)), KEYS, "expected Discrete"),
        (spaces.Discrete(3), KEYS, r"has 2 keys, \['a', 'd'\], expected 3"),
        (TWO, {"a": "left", " ": "right"}, "The key ' ' cannot be typed"),
    ],
)
def test_mistakes(space, keys, text):
    with pytest.raises(ValueError, match=text):
        DiscreteInteractivePolicy(OBS, space, keys)


def test_a_picture_is_two_pixels_a_character():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0], image[1, 0], image[0, 1] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert terminal_picture(image) == ("\033[38;2;255;0;0;48;2;0;255;0m▀\033[38;2;0;0;255;48;2;0;0;0m▀\033[0m")
    stack = np.zeros((3, 2, 4), np.uint8)
    stack[..., -1] = 7  # the latest frame
    lines = terminal_picture(stack).split("\n")
    assert len(lines) == 2
    assert lines[1].count("38;2;7;7;7;48;2;0;0;0") == 2  # an odd row has black below
    assert terminal_picture(np.zeros((40, 100), np.uint8), columns=25).split("\n")[0].count("▀") == 25


@pytest.mark.parametrize("space", [IMAGE, spaces.Box(0, 255, (3, 4, 6), np.uint8)])
def test_image_observations_are_shown(space, type_in, capsys):
    type_in("a")
    image = np.zeros(space.shape, np.uint8)
    image[(0, 0) if space is IMAGE else (slice(None), 0, 0)] = 9
    ImageObsDiscreteInteractivePolicy(space, TWO, KEYS).predict(image)
    out = capsys.readouterr().out
    assert "38;2;9;9;9" in out
    assert out.count("▀") == 12
    with pytest.raises(ValueError, match="expected a Box of images"):
        ImageObsDiscreteInteractivePolicy(OBS, TWO, KEYS)


class Arcade(gym.Env):
    observation_space = IMAGE
    action_space = spaces.Discrete(3)
    meanings = ("NOOP", "FIRE", "UPRIGHTFIRE")

    def get_action_meanings(self):
        return list(self.meanings)


def test_atari_knows_its_keys(type_in, capsys):
    for env in (Arcade(), DummyVecEnv([Arcade])):
        policy = AtariInteractivePolicy(env, clear_screen_on_query=False)
        assert policy.action_keys_names == {"n": "NOOP", "f": "FIRE", "E": "UPRIGHTFIRE"}
        type_in("E")
        assert policy.predict(np.zeros((4, 6, 3), np.uint8))[0] == 2
    assert len(set(ATARI_KEYS.values())) == len(ATARI_KEYS) == 18
    with pytest.raises(ValueError, match="no get_action_meanings"):
        AtariInteractivePolicy(gym.make("CartPole-v1"))


def test_an_action_without_a_key(monkeypatch):
    monkeypatch.setattr(Arcade, "meanings", ("NOOP", "JUMP", "FIRE"))
    with pytest.raises(ValueError, match="no key for the action 'JUMP'"):
        AtariInteractivePolicy(Arcade())
