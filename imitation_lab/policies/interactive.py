"""Experts of flesh and blood, at a terminal: the observation is printed, a key and Enter give the action.

`input` waits for the answer. In a notebook, where nothing should wait, use `widgets.interactive.InteractiveExpert`.
"""

import shutil
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.policies.base import NonTrainablePolicy, Obs
from imitation_lab.util.util import clear_screen

__all__ = [
    "ATARI_KEYS", "ATARI_ACTION_NAMES_TO_KEYS", "DiscreteInteractivePolicy", "ImageObsDiscreteInteractivePolicy",
    "terminal_picture", "AtariInteractivePolicy",
]  # fmt: skip

ATARI_KEYS = {
    "NOOP": "n", "FIRE": "f", "UP": "w", "LEFT": "a", "DOWN": "s", "RIGHT": "d",
    "UPLEFT": "q", "UPRIGHT": "e", "DOWNLEFT": "z", "DOWNRIGHT": "c",
    "UPFIRE": "W", "LEFTFIRE": "A", "DOWNFIRE": "S", "RIGHTFIRE": "D",
    "UPLEFTFIRE": "Q", "UPRIGHTFIRE": "E", "DOWNLEFTFIRE": "Z", "DOWNRIGHTFIRE": "C",
}  # fmt: skip
"""Keys for Atari's actions: where they lie on the keyboard is where they go; a capital letter fires as well."""

ATARI_ACTION_NAMES_TO_KEYS = {
    "NOOP": "1", "FIRE": "2", "UP": "w", "RIGHT": "d", "LEFT": "a", "DOWN": "x",
    "UPRIGHT": "e", "UPLEFT": "q", "DOWNRIGHT": "c", "DOWNLEFT": "z",
    "UPFIRE": "t", "RIGHTFIRE": "h", "LEFTFIRE": "f", "DOWNFIRE": "b",
    "UPRIGHTFIRE": "y", "UPLEFTFIRE": "r", "DOWNRIGHTFIRE": "n", "DOWNLEFTFIRE": "v",
}  # fmt: skip
"""The keys of `imitation`, for hands that know them: `AtariInteractivePolicy(env, keys=ATARI_ACTION_NAMES_TO_KEYS)`."""


class DiscreteInteractivePolicy(NonTrainablePolicy):
    """Asks a human for each action. A key that is none of the choices is asked for again.

    A subclass may define `_render`, which shows the observation; here its numbers are printed.

    Args:
        observation_space: any space.
        action_space: a `Discrete` space.
        action_keys_names: what to type for each action and what the action is called, in the order of the actions, such
            as `{"a": "left", "d": "right"}`.
        clear_screen_on_query: whether the terminal is cleared before each question.

    Raises:
        ValueError: the action space is not `Discrete`, there is not one key per action, or a key cannot be typed.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        action_keys_names: Mapping[str, str],
        clear_screen_on_query: bool = True,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"action_space is {action_space}, expected Discrete: one key chooses one of its actions.")
        if len(action_keys_names) != action_space.n:
            raise ValueError(
                f"action_keys_names has {len(action_keys_names)} keys, {list(action_keys_names)}, expected "
                f"{action_space.n}, one for each action of {action_space}."
            )
        unfit = [key for key in action_keys_names if not key or key != key.strip()]
        if unfit:
            raise ValueError(f"The key {unfit[0]!r} cannot be typed before Enter: choose letters or digits.")
        self.action_keys_names = dict(action_keys_names)
        self.clear_screen_on_query = clear_screen_on_query

    def _choose_actions(self, obs: Obs, n: int) -> np.ndarray:
        self._number, self._of = 0, n
        return super()._choose_actions(obs, n)

    def _choose_action(self, obs: Obs) -> np.ndarray | int:
        self._number += 1
        if self.clear_screen_on_query:
            clear_screen()
        if self._of > 1:
            print(f"Environment {self._number} of {self._of}")
        self._render(obs)
        keys = list(self.action_keys_names)
        print("Your action:", ", ".join(f"[{key}] {name}" for key, name in self.action_keys_names.items()))
        while True:
            try:
                answer = input("> ").strip()
            except (EOFError, NotImplementedError) as error:
                raise EOFError(
                    f"{type(self).__name__} asks for actions at a terminal, and there is none: run it in one, or use "
                    "imitation_lab.widgets.interactive.InteractiveExpert in a notebook."
                ) from error
            if answer in keys:
                return int(self.action_space.start) + keys.index(answer)  # type: ignore[attr-defined]
            print(f"{answer!r} is none of {', '.join(keys)}.")

    def _render(self, obs: Obs) -> None:
        """Shows one observation `obs_shape` (or a dict of such)."""
        for name, value in obs.items() if isinstance(obs, dict) else [("observation", obs)]:
            print(f"{name}: {np.array2string(np.asarray(value), precision=3, suppress_small=True)}")


class ImageObsDiscreteInteractivePolicy(DiscreteInteractivePolicy):
    """Shows the observation, an image, in the terminal's colours; see `DiscreteInteractivePolicy` for the arguments.

    Images are `(height, width)`, `(height, width, channels)` or `(channels, height, width)`, uint8. With three channels
    they are RGB; with any other number the last is shown, which is the latest frame of a stack.

    Raises:
        ValueError: the observation space is no space of images.
    """

    def __init__(self, observation_space: spaces.Space, *args: Any, **kwargs: Any) -> None:
        shape = observation_space.shape
        if not isinstance(observation_space, spaces.Box) or shape is None or len(shape) not in (2, 3):
            raise ValueError(
                f"observation_space is {observation_space}, expected a Box of images, (height, width) with or without "
                "channels: for other observations use DiscreteInteractivePolicy."
            )
        super().__init__(observation_space, *args, **kwargs)

    def _render(self, obs: Obs) -> None:
        image = np.asarray(obs)
        if image.ndim == 3 and image.shape[0] < min(image.shape[1:]):
            image = image.transpose(1, 2, 0)
        print(terminal_picture(image, shutil.get_terminal_size().columns))


def terminal_picture(image: np.ndarray, columns: int = 80) -> str:
    """An image as text for a terminal that shows 24-bit colours, two pixels a character, one above the other.

    Args:
        image: `(height, width)` or `(height, width, channels)` uint8; three channels are RGB, of others the last
            counts.
        columns: characters per line, at most.
    """
    pixels = image if image.ndim == 3 else image[..., None]
    pixels = np.broadcast_to(pixels[..., -1:], (*pixels.shape[:2], 3)) if pixels.shape[2] != 3 else pixels
    step = max(1.0, pixels.shape[1] / columns)
    rows, cols = (np.arange(0, n, step).astype(int) for n in pixels.shape[:2])
    pixels = pixels[rows][:, cols]
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    lines = []
    for upper, lower in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = (
            f"\033[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\033[0m")
    return "\n".join(lines)


class AtariInteractivePolicy(ImageObsDiscreteInteractivePolicy):
    """Asks for Atari's actions with `ATARI_KEYS`.

    Args:
        env: an Atari environment, or a VecEnv of such.
        *args: further arguments of `DiscreteInteractivePolicy`, after `action_keys_names`.
        keys: what to type for each of Atari's actions.
        **kwargs: the same as `*args`.

    Raises:
        ValueError: the environment does not say what its actions mean.
    """

    def __init__(self, env: gym.Env | VecEnv, *args: Any, keys: Mapping[str, str] = ATARI_KEYS, **kwargs: Any) -> None:
        try:
            meanings = (
                env.env_method("get_action_meanings", indices=[0])[0]
                if isinstance(env, VecEnv)
                else env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
            )
        except AttributeError:
            raise ValueError(
                f"{env} has no get_action_meanings, so it is no Atari environment: use "
                "ImageObsDiscreteInteractivePolicy with keys of your own."
            ) from None
        unknown = [meaning for meaning in meanings if meaning not in keys]
        if unknown:
            raise ValueError(f"There is no key for the action {unknown[0]!r}; known are {', '.join(keys)}.")
        typed = {keys[meaning]: meaning for meaning in meanings}
        super().__init__(env.observation_space, env.action_space, typed, *args, **kwargs)
