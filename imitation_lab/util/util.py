"""Small tools: vectorized environments, seeds, tensor and array conversion, paths, iterators."""

import contextlib
import datetime
import importlib
import itertools
import os
import pathlib
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import gymnasium as gym
import numpy as np
import torch as th

from imitation_lab.util import checks
from imitation_lab.util.paths import AnyPath

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy
    from stable_baselines3.common.vec_env import VecEnv

__all__ = [
    "seeded_torch",
    "save_policy", "oric", "make_unique_timestamp", "make_vec_env", "make_seeds", "docstring_parameter", "endless_iter",
    "get_first_iter_element", "safe_to_tensor", "safe_to_numpy", "tensor_iter_norm", "parse_path",
    "parse_optional_path", "split_in_half", "clear_screen",
]  # fmt: skip

T = TypeVar("T")
_MAX_SEED = 2**31 - 1


def save_policy(policy: "BasePolicy", policy_path: AnyPath) -> None:
    """Writes `policy` to the file `policy_path` in the native, code-free format; parents are created."""
    from imitation_lab.util import policy_files

    policy_files.save_policy(policy, policy_path)


def oric(x: np.ndarray) -> np.ndarray:
    """Optimal rounding under an integer constraint: rounds `x` so that its sum stays as it is.

    All entries are rounded down, then those with the largest fractions up, until the sum is reached.

    Args:
        x: shape `(n,)`, not negative, with an integer sum.

    Returns:
        Integers of shape `(n,)`, each within 1 of its entry in `x`, with the same sum.

    Raises:
        ValueError: if `x` is not a vector, has negative or non-finite entries, or its sum is no integer.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or (x < 0).any():
        raise ValueError(f"oric expected a vector of finite numbers of at least 0, got {x}.")
    total = round(float(x.sum()))
    if not np.isclose(x.sum(), total, rtol=1e-9, atol=1e-6):
        raise ValueError(f"oric expected an integer sum, got {x.sum()} for {x}.")
    # The tiny amount keeps 2.9999999 of floating-point sums from being taken for 2 with the largest fraction.
    rounded = np.floor(x + 1e-9)
    short = total - int(rounded.sum())
    if short > 0:
        rounded[np.argsort(rounded - x, kind="stable")[:short]] += 1
    return rounded.astype(np.int64)


def make_unique_timestamp() -> str:
    """Time to the second and six random hexadecimal digits, such as "20260131_235959_0a1b2c"."""
    return f"{datetime.datetime.now():%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:6]}"


def _find_spec(env_name: str) -> gym.envs.registration.EnvSpec:
    """The specification of a registered environment; "module:Name-v0" imports `module` first."""
    if not isinstance(env_name, str):
        raise TypeError(
            f"env_name must be the id of a registered environment, such as 'CartPole-v1', got {env_name!r}. "
            "Register yours: gymnasium.register('My-v0', entry_point=...), with a function or class; or wrap what you "
            "have in Stable-Baselines3's DummyVecEnv."
        )
    module, _, env_id = env_name.rpartition(":")
    if module:
        importlib.import_module(module)
    try:
        return gym.spec(env_id)
    except gym.error.Error as e:
        raise ValueError(
            f"Unknown environment {env_name!r}.{checks.did_you_mean(env_id, gym.registry)} An environment of another "
            "package exists once that is "
            f'imported: write `import package`, or env_name="package:{env_id}".'
        ) from e


def make_vec_env(
    env_name: str,
    *,
    rng: np.random.Generator,
    n_envs: int = 8,
    parallel: bool = False,
    log_dir: AnyPath | None = None,
    max_episode_steps: int | None = None,
    post_wrappers: Sequence[Callable[[gym.Env, int], gym.Env]] | None = None,
    env_make_kwargs: Mapping[str, Any] | None = None,
) -> "VecEnv":
    """Makes `n_envs` monitored copies of a registered environment, each seeded with a number of its own.

    The seeds apply at the first `reset`; the action spaces are seeded at once. The same `rng` state gives the
    same episodes.

    Args:
        env_name: id of a registered environment, or "module:id" to import `module` first.
        rng: the seeds are drawn from it.
        n_envs: number of copies.
        parallel: runs each copy in a process of its own (`SubprocVecEnv`). Worth it only where a step is slow.
        log_dir: folder for the monitors' files, `mon000.monitor.csv` and so on; None writes none.
        max_episode_steps: truncates episodes after so many steps; None keeps the environment's own limit.
        post_wrappers: functions `(env, i) -> env` applied in order to copy number `i`, after the `Monitor`.
        env_make_kwargs: passed to `gymnasium.make`.

    Raises:
        ValueError: if the environment is unknown (the text names near ids), or `n_envs` or `max_episode_steps` is
            not positive.
        TypeError: if `rng` is not a `numpy.random.Generator`, or `env_name` not a text.
    """
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    checks.generator(rng)
    checks.at_least(1, n_envs=n_envs)
    checks.at_least(1, or_none=True, max_episode_steps=max_episode_steps)
    # The specification rather than the id: a child process may not have imported what registered it.
    spec = _find_spec(env_name)
    kwargs: dict[str, Any] = dict(env_make_kwargs or {})
    if max_episode_steps is not None:
        kwargs["max_episode_steps"] = max_episode_steps
    base_seed = int(rng.integers(_MAX_SEED - n_envs))
    folder = parse_optional_path(log_dir)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)

    def make_one(i: int) -> Callable[[], gym.Env]:
        def make() -> gym.Env:
            env = gym.make(spec, **kwargs)
            env = Monitor(env, None if folder is None else str(folder / f"mon{i:03d}"))
            for wrapper in post_wrappers or ():
                env = wrapper(env, i)
            env.action_space.seed(base_seed + i)
            return env

        return make

    makers = [make_one(i) for i in range(n_envs)]
    venv: VecEnv = SubprocVecEnv(makers) if parallel else DummyVecEnv(makers)
    venv.seed(base_seed)
    return venv


@overload
def make_seeds(rng: np.random.Generator, n: None = None) -> int: ...


@overload
def make_seeds(rng: np.random.Generator, n: int) -> list[int]: ...


def make_seeds(rng: np.random.Generator, n: int | None = None) -> int | list[int]:
    """Draws one seed from `rng`, or a list of `n` seeds, each an int in [0, 2³¹ − 1).

    Raises:
        TypeError: if `rng` is not a `numpy.random.Generator`.
        ValueError: if `n` is negative.
    """
    checks.generator(rng)
    if n is None:
        return int(rng.integers(_MAX_SEED))
    checks.at_least(0, n=n)
    return rng.integers(_MAX_SEED, size=n).tolist()


def docstring_parameter(*args: Any, **kwargs: Any) -> Callable[[T], T]:
    """Decorator that fills the placeholders of a docstring: `doc.format(*args, **kwargs)`."""

    def decorate(obj: T) -> T:
        if obj.__doc__ is not None:
            obj.__doc__ = obj.__doc__.format(*args, **kwargs)
        return obj

    return decorate


def endless_iter(iterable: Iterable[T]) -> Iterator[T]:
    """Iterates over `iterable` again and again.

    Raises:
        ValueError: at once if it is empty; later, if a pass finds nothing because `iterable` is an iterator, which
            runs only once.
    """
    passes = iter(iterable)
    try:
        first = next(passes)
    except StopIteration:
        raise ValueError(f"endless_iter got an empty iterable: {iterable!r}.") from None

    def run() -> Iterator[T]:
        yield first
        yield from passes
        while True:
            n_items = 0
            for item in iterable:
                n_items += 1
                yield item
            if n_items == 0:
                raise ValueError(
                    f"{type(iterable).__name__} gave nothing on its second pass: give endless_iter a list or another "
                    "collection, not an iterator, which runs only once."
                )

    return run()


def get_first_iter_element(iterable: Iterable[T]) -> tuple[T, Iterable[T]]:
    """Looks at the first element of `iterable`.

    Returns:
        The element, and an iterable over all elements, the first included: `iterable` itself, unless that is an
        iterator, from which the first is then gone.

    Raises:
        ValueError: if `iterable` is empty.
    """
    iterator = iter(iterable)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError(f"Expected at least one element, got an empty iterable: {iterable!r}.") from None
    return first, itertools.chain([first], iterator) if iterator is iterable else iterable


def safe_to_tensor(array: np.ndarray | th.Tensor, **kwargs: Any) -> th.Tensor:
    """Turns an array into a tensor of the same dtype, sharing memory where that is safe.

    Arrays that are read-only (such as memory-maps), or have negative strides or a foreign byte order, are copied.

    Args:
        array: array or tensor of any shape.
        **kwargs: `dtype` and `device`, as for `torch.as_tensor`.
    """
    if not isinstance(array, np.ndarray):
        return th.as_tensor(array, **kwargs)
    if not array.flags.writeable:
        array = array.copy()
    try:
        tensor = th.from_numpy(array)  # half the time of `th.as_tensor`
    except ValueError:  # strides or byte order
        tensor = th.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    return tensor.to(**kwargs) if kwargs else tensor


@overload
def safe_to_numpy(obj: np.ndarray | th.Tensor, warn: bool = False) -> np.ndarray: ...


@overload
def safe_to_numpy(obj: None, warn: bool = False) -> None: ...


def safe_to_numpy(obj: np.ndarray | th.Tensor | None, warn: bool = False) -> np.ndarray | None:
    """Turns a tensor into an array on the CPU, outside the graph; arrays and None pass through.

    Args:
        obj: array, tensor or None.
        warn: warns where a tensor is converted, which drops its graph and may copy it from its device.
    """
    if not isinstance(obj, th.Tensor):
        return obj
    if warn:
        warnings.warn(
            "A tensor was converted to a NumPy array: its graph is dropped, and it is copied off its device.",
            stacklevel=2,
        )
    return obj.detach().cpu().numpy()


def tensor_iter_norm(tensor_iter: Iterable[th.Tensor], ord: int | float = 2) -> th.Tensor:
    """The norm (Σ|x|ᵖ)^(1/p), p = `ord`, of all entries of all tensors as one vector; 0 if there are none.

    Args:
        tensor_iter: tensors of any shapes on one device.
        ord: p, not 0; `float("inf")` gives the largest absolute value.

    Raises:
        ValueError: if `ord` is 0, which counts entries and is no norm.
    """
    if ord == 0:
        raise ValueError("tensor_iter_norm needs ord other than 0, such as 1, 2 or float('inf').")
    norms = [th.linalg.vector_norm(tensor, ord=ord) for tensor in tensor_iter if tensor.numel()]
    return th.linalg.vector_norm(th.stack(norms), ord=ord) if norms else th.zeros(())


def parse_path(path: AnyPath, allow_relative: bool = True, base_directory: pathlib.Path | None = None) -> pathlib.Path:
    """Turns `path` into an absolute `pathlib.Path`.

    Args:
        path: str, bytes or `os.PathLike`.
        allow_relative: whether `path` may be relative.
        base_directory: what a relative `path` starts from; None is the working directory.

    Raises:
        ValueError: if `path` is relative and `allow_relative` is False, or `base_directory` is given then.
        TypeError: if `path` is no path.
    """
    if base_directory is not None and not allow_relative:
        raise ValueError("base_directory is for relative paths: leave it out with allow_relative=False.")
    parsed = pathlib.Path(os.fsdecode(path))
    if parsed.is_absolute():
        return parsed
    if not allow_relative:
        raise ValueError(f"Expected an absolute path, got {str(parsed)!r}.")
    return (base_directory or pathlib.Path.cwd()).absolute() / parsed


def parse_optional_path(
    path: AnyPath | None, allow_relative: bool = True, base_directory: pathlib.Path | None = None
) -> pathlib.Path | None:
    """`parse_path`, with None for None."""
    if path is None:
        return None
    return parse_path(path, allow_relative, base_directory)


def split_in_half(x: int) -> tuple[int, int]:
    """Two halves of `x` that sum to `x`; of an odd number the second is larger by 1."""
    return x // 2, x - x // 2


def clear_screen() -> None:
    """Clears the terminal."""
    # The ANSI sequences "erase display" and "cursor home".
    print("\033[2J\033[H", end="", flush=True)


@contextlib.contextmanager
def seeded_torch(rng: np.random.Generator) -> Iterator[None]:
    """PyTorch draws inside are determined by `rng`; the global random states are put back afterwards."""
    devices = range(th.cuda.device_count()) if th.cuda.is_available() else ()
    with th.random.fork_rng(devices=devices):
        th.manual_seed(make_seeds(rng))
        yield
