"""How a trainer takes hold of a Stable-Baselines3 learner, lets it learn, and lets it go.

A learner is put into the trainer's environments, its metrics go to the trainer's logger, and off-policy its rewards are
computed when a batch is sampled. Nothing of this outlasts `set_env`, and all that a learner itself carries can be
saved, pickled and copied meanwhile.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import inspect
import math
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.utils import get_latest_run_id
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper
from stable_baselines3.her import HerReplayBuffer

from imitation_lab.data.spaces import channels_first
from imitation_lab.data.wrappers import BufferingWrapper
from imitation_lab.policies.replay_buffer_wrapper import ReplayBufferRewardWrapper
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.util import util

__all__ = [
    "check_venv", "check_learner", "take", "new_boundary", "rollout_steps", "whole_steps", "callback_list", "learn",
    "seeded", "tensorboard", "only_acting", "schedules_over", "optimizer_of",
]  # fmt: skip

_DRIFTS: dict[type[VecEnvWrapper], str] = {
    VecNormalize: "its statistics would drift away from demonstrations and from the rewards that a teacher judges by, "
    "which are not normalized. Normalize inside instead: policy_kwargs={'features_extractor_class': "
    "NormalizeFeaturesExtractor}, and NormalizedRewardNet for the reward",
}
_ADDED: dict[type[VecEnvWrapper], str] = {
    RewardVecEnvWrapper: "the trainer adds its own. Pass the environments without it",
    BufferingWrapper: "the trainer adds its own. Pass the environments without it",
}


def check_venv(name: str, venv: VecEnv | None, refused: Mapping[type[VecEnvWrapper], str] = _DRIFTS | _ADDED) -> None:
    """Raises ValueError if `venv` is wrapped in what would spoil training on a learned reward."""
    while isinstance(venv, VecEnvWrapper):
        for cls, why in refused.items():
            if isinstance(venv, cls):
                raise ValueError(f"{name} is wrapped in {cls.__name__}: {why}.")
        venv = venv.venv


def check_learner(name: str, algorithm: BaseAlgorithm, venv: VecEnv, *, relabelled: bool) -> None:
    """Raises TypeError or ValueError unless `algorithm` can learn in `venv`, from a reward of a trainer's.

    Args:
        name: the argument, for the text.
        algorithm: the learner. What an earlier trainer hung on it does no harm: it is taken off.
        venv: the environments without wrappers of the library's.
        relabelled: whether rewards are computed when an off-policy learner samples.
    """
    if not isinstance(algorithm, BaseAlgorithm):
        raise TypeError(f"{name} must be a Stable-Baselines3 algorithm, such as PPO, got {algorithm!r}.")
    check_venv("venv", venv, _DRIFTS)
    check_venv(f"The environment of {name} ({name}.env)", algorithm.get_env(), _DRIFTS)
    for space, own, other in (
        ("observation_space", algorithm.observation_space, venv.observation_space),
        ("action_space", algorithm.action_space, venv.action_space),
    ):
        if own not in (other, channels_first(other)):
            raise ValueError(
                f"{name} was built for the {space} {_short(own)}, but that of venv is {_short(other)}. Build {name} "
                "with this venv."
            )
    if algorithm.n_envs != venv.num_envs:
        raise ValueError(
            f"{name} was built for {algorithm.n_envs} environments, but venv has {venv.num_envs}. Build {name} with "
            "this venv."
        )
    buffer = getattr(algorithm, "replay_buffer", None)
    if relabelled and isinstance(buffer, HerReplayBuffer | NStepReplayBuffer):
        raise ValueError(
            f"{name} stores transitions in a {type(buffer).__name__}, whose rewards cannot be relabelled one by one "
            "with the learned reward. Use ReplayBuffer, and n_steps=1."
        )


def _short(space: spaces.Space) -> str:
    return str(space).replace("\n", "")


def take(
    algorithm: BaseAlgorithm, venv: VecEnv, logger: Logger, reward_fn: RewardFn | None = None, *, forget: bool = False
) -> None:
    """Puts a learner into a trainer's environments, in place of those of an earlier trainer and their rewards.

    Does nothing where it is there already, so that a trainer may do it each time before the learner learns.

    Args:
        algorithm: the learner.
        venv: the trainer's environments.
        logger: where the learner's metrics go.
        reward_fn: off-policy, the reward of all that is sampled from now on; None leaves what is stored. `venv` must
            have a `RewardVecEnvWrapper` then.
        forget: whether transitions with other rewards are forgotten when the learner is taken.
    """
    new = not _acts_in(algorithm, venv)
    if new:
        algorithm.set_env(venv)
        algorithm.set_logger(logger)
        env: Any = algorithm.get_env()
        while isinstance(env, VecEnvWrapper):
            _let_copy(type(env))
            env = env.venv
    buffer = getattr(algorithm, "replay_buffer", None)
    if buffer is None:
        return
    own = isinstance(buffer, ReplayBufferRewardWrapper) and buffer.reward_fn == reward_fn and buffer.held is not None
    if not own:
        buffer = ReplayBufferRewardWrapper.released(buffer)
        if reward_fn is not None:
            held = functools.partial(_acts_in, algorithm, venv)
            buffer = ReplayBufferRewardWrapper.around(buffer, reward_fn, venv.observation_space, held)
        algorithm.replay_buffer = buffer  # type: ignore[attr-defined]
    if forget and new and buffer.size():
        logger.warn(
            f"The replay buffer holds {buffer.size() * buffer.n_envs} transitions whose rewards are not this "
            "algorithm's: they are forgotten."
        )
        buffer.reset()


def _let_copy(cls: type[VecEnvWrapper]) -> None:
    """Lets environments be pickled and copied with their learner, as of SB3's wrappers only `VecNormalize` can be."""
    if not hasattr(cls, "__setstate__"):
        copyreg.pickle(cls, _reduced)


def _reduced(env: VecEnvWrapper) -> tuple[Any, ...]:
    return _blank, (type(env),), {key: value for key, value in vars(env).items() if key != "class_attributes"}


def _blank(cls: type[VecEnvWrapper]) -> VecEnvWrapper:
    env = cls.__new__(cls)
    vars(env).update(venv=None, class_attributes=dict(inspect.getmembers(cls)))
    return env


def _acts_in(algorithm: BaseAlgorithm, venv: VecEnv) -> bool:
    env: Any = algorithm.get_env()
    # SB3 and users may add their own, all but other rewards.
    while env is not venv and isinstance(env, VecEnvWrapper) and not isinstance(env, RewardVecEnvWrapper):
        env = env.venv
    return env is venv


def new_boundary(algorithm: BaseAlgorithm, venv: VecEnv, draw_seed: Callable[[], int]) -> None:
    """Makes the next step of `algorithm` begin with a reset of all environments, from seeds that `draw_seed` gives.

    This is what makes a resumed run equal to one that was not interrupted: environments' own states are not saved.
    """
    venv.seed(draw_seed())
    algorithm.action_space.seed(draw_seed())
    algorithm._last_obs = None


def rollout_steps(algorithm: BaseAlgorithm) -> int:
    """Steps in all environments together between two updates: a learner cannot make fewer.

    For one that acts for whole episodes, one step each.
    """
    steps = getattr(algorithm, "n_steps", 1)
    if (freq := getattr(algorithm, "train_freq", None)) is not None:
        steps = freq.frequency if freq.unit == TrainFrequencyUnit.STEP else 1
    return steps * algorithm.n_envs


def whole_steps(algorithm: BaseAlgorithm, name: str, steps: int) -> int:
    """A budget of environment steps, rounded up to whole rollouts.

    Raises:
        ValueError: if it is less than one, which would be exceeded several times.
    """
    rollout = rollout_steps(algorithm)
    if steps < rollout:
        raise ValueError(
            f"{name}={steps} is less than one rollout of {type(algorithm).__name__}, which takes {rollout} steps in "
            f"{algorithm.n_envs} environments. Ask for at least as many, or build it with a smaller "
            f"{'train_freq' if hasattr(algorithm, 'train_freq') else 'n_steps'}."
        )
    return math.ceil(steps / rollout) * rollout


def callback_list(given: Any, *more: BaseCallback) -> CallbackList:
    """What a user gives `learn` as `callback`: None, a callback, a function or a list of them; and `more`."""
    listed = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    return CallbackList([c if isinstance(c, BaseCallback) else _Function(c) for c in [*listed, *more]])


class _Function(ConvertCallback):
    """A function of locals and globals, which ends training by returning False; SB3's own ends on None too."""

    def _on_step(self) -> bool:
        return super()._on_step() is not False


def learn(algorithm: BaseAlgorithm, steps: int, *callbacks: BaseCallback, callback: Any = None, **kwargs: Any) -> None:
    """The learner's `learn`, with the user's `callback` beside the library's, and TensorBoard."""
    name, anew = kwargs.get("tb_log_name", type(algorithm).__name__), kwargs.get("reset_num_timesteps", True)
    with tensorboard(algorithm, name, anew=anew):
        algorithm.learn(steps, callback_list(callback, *callbacks), **kwargs)


@contextlib.contextmanager
def seeded(algorithm: BaseAlgorithm, rng: np.random.Generator) -> Iterator[None]:
    """Lets `rng` determine how the learner acts inside; the global random states are put back afterwards."""
    before = np.random.get_state()  # noqa: NPY002 (SB3's ε-greedy policies draw from it)
    algorithm.action_space.seed(util.make_seeds(rng))
    with util.seeded_torch(rng):
        np.random.seed(util.make_seeds(rng))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


@contextlib.contextmanager
def tensorboard(algorithm: BaseAlgorithm, name: str, *, anew: bool) -> Iterator[None]:
    """Lets the learner's metrics go to its `tensorboard_log` too, which SB3 forgets when it is given a logger.

    Args:
        algorithm: the learner, whose logger is set.
        name: of the run, a folder in `tensorboard_log` with a number behind it.
        anew: whether this is a new run, or the latest goes on.
    """
    if algorithm.tensorboard_log is None:
        yield
        return
    number = max(1, get_latest_run_id(algorithm.tensorboard_log, name) + anew)
    writer = TensorBoardOutputFormat(os.path.join(algorithm.tensorboard_log, f"{name}_{number}"))
    formats = algorithm.logger.output_formats
    formats.append(writer)
    try:
        yield
    finally:
        formats.remove(writer)
        writer.close()


@contextlib.contextmanager
def only_acting(algorithm: BaseAlgorithm) -> Iterator[None]:
    """Lets the learner's `learn` collect transitions, but update nothing."""
    with _instead(algorithm, "train", lambda *args, **kwargs: None):
        yield


@contextlib.contextmanager
def schedules_over(algorithm: BaseAlgorithm, start: int, end: int) -> Iterator[None]:
    """Lets schedules, such as that of the learning rate, run from timestep `start` to `end`.

    A round is one call of `learn`, and SB3 would run each schedule to its end within every call.
    """

    def update(num_timesteps: int, total_timesteps: int) -> None:
        done = (num_timesteps - start) / max(1, end - start)
        algorithm._current_progress_remaining = min(1.0, max(0.0, 1.0 - done))

    with _instead(algorithm, "_update_current_progress_remaining", update):
        yield


_INSTEAD: weakref.WeakKeyDictionary[BaseAlgorithm, dict[str, Callable[..., None]]] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def _instead(algorithm: BaseAlgorithm, name: str, function: Callable[..., None]) -> Iterator[None]:
    """Calls `function` in place of a method of one learner.

    Were it an attribute of the learner, `save` would write it, and a copy made meanwhile would keep it for good.
    """
    _ask_first(type(algorithm), name)
    own = _INSTEAD.setdefault(algorithm, {})
    before = own.get(name)
    own[name] = function
    try:
        yield
    finally:
        own.pop(name)
        if before is not None:
            own[name] = before


def _ask_first(cls: type[BaseAlgorithm], name: str) -> None:
    """Makes a method of a class look whether there is one to be called instead; otherwise it is as before."""
    method = getattr(cls, name)
    if getattr(method, "asks_first", False):
        return

    @functools.wraps(method)
    def ask(self: BaseAlgorithm, *args: Any, **kwargs: Any) -> None:
        instead = _INSTEAD.get(self, {}).get(name)
        if instead is None:
            return method(self, *args, **kwargs)
        return instead(*args, **kwargs)

    ask.asks_first = True  # type: ignore[attr-defined]
    setattr(cls, name, ask)


def optimizer_of(
    cls: type[th.optim.Optimizer], parameters: Iterable[th.nn.Parameter], options: Mapping[str, Any]
) -> th.optim.Optimizer:
    """An optimizer; Adam, AdamW and SGD take the same steps with fewer kernels, unless `options` choose otherwise."""
    fused = cls in (th.optim.Adam, th.optim.AdamW, th.optim.SGD) and not options.keys() & {
        *("fused", "foreach", "differentiable", "capturable")
    }
    return cls(parameters, **{**({"fused": True} if fused else {}), **options})
