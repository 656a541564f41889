"""The state of a training run as data: networks, optimizers, SB3 algorithms, replay buffers and random generators.

A `State` is plain JSON and arrays, written as one file in the native format. Each `pack_*` function puts a part under a
name, and the `unpack_*` of the same kind copies it back into an object that has been built in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import stable_baselines3 as sb3
import torch as th
from stable_baselines3.common import noise, utils
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

import imitation_lab.policies.native  # noqa: F401 (registers the policy classes that files may name)
from imitation_lab.algorithms._shared.learner import (  # noqa: F401 (for the command line too)
    new_boundary,
    rollout_steps,
    schedules_over,
    whole_steps,
)
from imitation_lab.util import artifacts, codec, util
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

__all__ = [
    "KIND", "DAMAGED", "State", "damage_told", "pack_module", "unpack_module", "pack_optimizer", "unpack_optimizer",
    "pack_generator", "unpack_generator", "pack_randomness", "unpack_randomness", "pack_algorithm", "unpack_algorithm",
    "pack_replay_buffer", "unpack_replay_buffer", "describe_algorithm", "build_algorithm", "check_choosable", "encode",
    "decode",
]  # fmt: skip

KIND = "checkpoint"

_ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    name: getattr(sb3, name) for name in ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
}
for _class in _ALGORITHMS.values():
    codec.register_class(_class)
_SCHEDULES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (utils.ConstantSchedule, ("val",)),
    (utils.LinearSchedule, ("start", "end", "end_fraction")),
)
# Where the environment or the caller decides, or what a file shall not decide.
_NOT_ARGUMENTS = {
    *("self", "policy", "env", "device", "tensorboard_log", "verbose", "_init_setup_model", "monitor_wrapper"),
    *("replay_buffer_class", "replay_buffer_kwargs", "rollout_buffer_class", "rollout_buffer_kwargs"),
}
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, AssertionError)
"""What a damaged file makes Python raise."""


@dataclasses.dataclass
class State:
    """JSON and arrays by name.

    Attributes:
        meta: plain JSON by name.
        tensors: arrays by name, which share memory with what was packed.
        version: of the format it was read in.
    """

    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    tensors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    version: int = 0

    def write(self, path: AnyPath, version: int) -> None:
        """Writes the state to one file, atomically."""
        artifacts.write(path, kind=KIND, version=version, meta=self.meta, tensors=self.tensors)

    @classmethod
    def read(cls, path: AnyPath, version: int) -> State:
        """Reads what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ArtifactError: the file is damaged, of another kind, or of a version above `version`.
        """
        found = artifacts.read(path, kind=KIND, version=version)
        return cls(found.meta, found.tensors, found.version)

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): array for name, array in self.tensors.items() if name.startswith(prefix)}

    def array(self, name: str, like: Any = None) -> np.ndarray:
        """One array; with `like`, of its shape and dtype.

        Raises:
            ArtifactError: it is missing, or another.
        """
        if name not in self.tensors:
            raise ArtifactError(f"the checkpoint lacks {name!r}")
        array = self.tensors[name]
        if like is not None and (array.shape != like.shape or array.dtype != like.dtype):
            raise ArtifactError(
                f"{name!r} is {array.dtype} of shape {array.shape} in the checkpoint, expected {like.dtype} of shape "
                f"{like.shape}"
            )
        return array

    def entry(self, name: str, kind: type | tuple[type, ...] = dict) -> Any:
        """One JSON value.

        Raises:
            ArtifactError: it is missing, or of another type.
        """
        value = self.meta.get(name)
        if not isinstance(value, kind):
            raise ArtifactError(f"the checkpoint's {name!r} is {type(value).__name__}, which does not fit")
        return value


@contextlib.contextmanager
def damage_told(text: str = "the checkpoint is damaged") -> Iterator[None]:
    """Raises ArtifactError, which begins with `text`, in place of one that is `DAMAGED`."""
    try:
        yield
    except ArtifactError:
        raise
    except DAMAGED as error:
        raise ArtifactError(f"{text}: {error!r}") from None


def pack_module(state: State, name: str, module: nn.Module) -> None:
    """Saves parameters and buffers under `name`."""
    state.tensors.update(artifacts.state_arrays(module, prefix=f"{name}/"))


def unpack_module(state: State, name: str, module: nn.Module) -> None:
    """Copies parameters and buffers back; ArtifactError names the first leaf that differs."""
    artifacts.load_state_dict(module, state.under(f"{name}/"), prefix="")


def pack_optimizer(state: State, name: str, optimizer: th.optim.Optimizer) -> None:
    """Saves an optimizer's moments and the options of its groups."""
    saved = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in saved["state"].items():
        for key, value in slots.items():
            if isinstance(value, th.Tensor):
                state.tensors[f"{name}/{index}/{key}"] = util.safe_to_numpy(value)
            else:
                numbers.setdefault(str(index), {})[key] = codec.encode(value, where=f"{name} {key}")
    groups = [{k: codec.encode(_number(v), where=f"{name} {k}") for k, v in g.items()} for g in saved["param_groups"]]
    state.meta[name] = {"groups": groups, "numbers": numbers}


def unpack_optimizer(state: State, name: str, optimizer: th.optim.Optimizer) -> None:
    """Puts an optimizer's state back.

    Raises:
        ArtifactError: a moment is not of its parameter's shape, or the groups differ.
    """
    saved = state.entry(name)
    own = optimizer.state_dict()
    groups = [{key: codec.decode(value) for key, value in group.items()} for group in saved.get("groups", [])]
    if [group.get("params") for group in groups] != [group["params"] for group in own["param_groups"]]:
        raise ArtifactError(f"the checkpoint's {name!r} optimizes other parameters")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Any]] = {}
    for key, array in state.under(f"{name}/").items():
        index, _, slot = key.partition("/")
        if not index.isdigit() or int(index) >= len(parameters):
            raise ArtifactError(f"the checkpoint's {name + '/' + key!r} belongs to no parameter")
        shape = tuple(parameters[int(index)].shape)
        if array.shape not in ((), shape):
            raise ArtifactError(f"{name + '/' + key!r} has shape {array.shape} in the checkpoint, expected {shape}")
        slots.setdefault(int(index), {})[slot] = th.tensor(array)
    for text, values in saved.get("numbers", {}).items():
        slots.setdefault(int(text), {}).update({key: codec.decode(value) for key, value in values.items()})
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def pack_generator(state: State, name: str, generator: np.random.Generator | th.Generator) -> None:
    """Saves the state of a random generator."""
    if isinstance(generator, th.Generator):
        state.tensors[name] = generator.get_state().numpy()
    else:
        state.meta[name] = codec.encode(dict(generator.bit_generator.state))


def unpack_generator(state: State, name: str, generator: np.random.Generator | th.Generator) -> None:
    """Puts the state of a random generator back."""
    with damage_told("the checkpoint's random states are damaged"):
        if isinstance(generator, th.Generator):
            generator.set_state(th.tensor(state.array(name)))
        else:
            generator.bit_generator.state = codec.decode(state.entry(name))


def pack_randomness(state: State, name: str, **generators: np.random.Generator) -> None:
    """Saves the random states of PyTorch, NumPy and Python, and of `generators`."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (SB3 draws from it)
    assert kind == "MT19937"
    version, words, gauss = random.getstate()
    state.tensors[f"{name}/torch"] = th.get_rng_state().numpy()
    state.tensors[f"{name}/numpy"] = np.asarray(keys).astype(np.int64)
    state.tensors[f"{name}/python"] = np.asarray(words, np.int64)
    if th.cuda.is_available() and th.cuda.is_initialized():
        state.tensors[f"{name}/cuda"] = np.stack([rng.cpu().numpy() for rng in th.cuda.get_rng_state_all()])
    own = State()
    for key, generator in generators.items():
        pack_generator(own, key, generator)
    state.meta[name] = {
        "numpy": [int(position), int(has_gauss), float(cached)],
        "python": [version, gauss],
        "generators": own.meta,
    }


def unpack_randomness(state: State, name: str, **generators: np.random.Generator) -> None:
    """Puts the random states back, the global ones included: the run goes on as if it had never stopped."""
    meta = state.entry(name)
    with damage_told("the checkpoint's random states are damaged"):
        for key, generator in generators.items():
            unpack_generator(State(meta["generators"]), key, generator)
        position, has_gauss, cached = meta["numpy"]
        keys = state.array(f"{name}/numpy").astype(np.uint32)
        np.random.set_state(("MT19937", keys, position, has_gauss, cached))  # noqa: NPY002
        version, gauss = meta["python"]
        random.setstate((version, tuple(state.array(f"{name}/python").tolist()), gauss))
        th.set_rng_state(th.tensor(state.array(f"{name}/torch")))
        if f"{name}/cuda" in state.tensors and th.cuda.is_available():
            saved = state.array(f"{name}/cuda")
            for device in range(min(len(saved), th.cuda.device_count())):
                th.cuda.set_rng_state(th.tensor(saved[device]), device)


def pack_algorithm(state: State, name: str, algorithm: BaseAlgorithm) -> None:
    """Saves what an SB3 algorithm has learned and counted, and its replay buffer.

    Running episodes are not part of it: the environments are reset where training goes on.
    """
    modules, variables = algorithm._get_torch_save_params()
    for path in modules:
        part = _find(algorithm, path)
        pack: Any = pack_optimizer if isinstance(part, th.optim.Optimizer) else pack_module
        pack(state, f"{name}/{path}", part)
    for path in variables:
        state.tensors[f"{name}/{path}"] = util.safe_to_numpy(_find(algorithm, path))
    state.meta[name] = {
        "class": type(algorithm).__name__,
        "counters": {k: codec.encode(v) for k, v in vars(algorithm).items() if _is_counter(k, v)},
        "episodes": _numbers(algorithm.ep_info_buffer),
        "successes": _numbers(algorithm.ep_success_buffer),
    }
    buffer = getattr(algorithm, "replay_buffer", None)
    if buffer is not None:
        pack_replay_buffer(state, f"{name}/replay", buffer)


def unpack_algorithm(state: State, name: str, algorithm: BaseAlgorithm) -> None:
    """Puts the state of an SB3 algorithm back; its environments will be reset before the next step.

    Raises:
        ArtifactError: the algorithm is of another class or has other parts.
    """
    meta = state.entry(name)
    if meta.get("class") != type(algorithm).__name__:
        raise ArtifactError(f"the checkpoint holds a {meta.get('class')}, not a {type(algorithm).__name__}")
    modules, variables = algorithm._get_torch_save_params()
    for path in modules:
        part = _find(algorithm, path)
        unpack: Any = unpack_optimizer if isinstance(part, th.optim.Optimizer) else unpack_module
        unpack(state, f"{name}/{path}", part)  # "policy/" begins no other name: optimizers are in "policy.optimizer/"
    for path in variables:
        own = _find(algorithm, path).detach()
        own.copy_(th.tensor(state.array(f"{name}/{path}", util.safe_to_numpy(own))))
    for key, value in meta["counters"].items():
        if _is_counter(key, vars(algorithm).get(key)):
            setattr(algorithm, key, codec.decode(value))
    window = algorithm._stats_window_size
    algorithm.ep_info_buffer = deque(meta["episodes"], maxlen=window)
    algorithm.ep_success_buffer = deque(meta["successes"], maxlen=window)
    algorithm._last_obs = None
    buffer = getattr(algorithm, "replay_buffer", None)
    if buffer is not None:
        unpack_replay_buffer(state, f"{name}/replay", buffer)


def pack_replay_buffer(state: State, name: str, buffer: ReplayBuffer) -> None:
    """Saves the transitions that a replay buffer holds."""
    buffer = getattr(buffer, "replay_buffer", buffer)
    rows = buffer.buffer_size if buffer.full else buffer.pos
    for key, array in _buffer_arrays(buffer):
        state.tensors[f"{name}/{key}"] = array[:rows]
    state.meta[name] = {"pos": buffer.pos, "full": buffer.full, "size": buffer.buffer_size}


def unpack_replay_buffer(state: State, name: str, buffer: ReplayBuffer) -> None:
    """Puts transitions back into a replay buffer of the same size.

    Raises:
        ArtifactError: the buffer is of another size, or its arrays are.
    """
    buffer = getattr(buffer, "replay_buffer", buffer)
    meta = state.entry(name)
    pos, full = meta.get("pos"), meta.get("full")
    if meta.get("size") != buffer.buffer_size or not isinstance(pos, int) or not 0 <= pos <= buffer.buffer_size:
        raise ArtifactError(f"the checkpoint's replay buffer has {meta.get('size')} rows, not {buffer.buffer_size}")
    rows = buffer.buffer_size if full else pos
    for key, array in _buffer_arrays(buffer):
        array[:rows] = state.array(f"{name}/{key}", array[:rows])
    buffer.pos, buffer.full = pos, bool(full)


def describe_algorithm(algorithm: BaseAlgorithm) -> dict[str, Any]:
    """The class and constructor arguments of an SB3 algorithm as JSON, for `build_algorithm`.

    Raises:
        TypeError: naming the argument that is no data, such as a schedule that is a function.
    """
    cls = type(algorithm)
    if _ALGORITHMS.get(cls.__name__) is not cls:
        raise TypeError(f"{cls.__name__} is none of {', '.join(_ALGORITHMS)}")
    arguments = {}
    for key in inspect.signature(cls.__init__).parameters:
        if key not in _NOT_ARGUMENTS and hasattr(algorithm, key):
            arguments[key] = encode(getattr(algorithm, key), f"{cls.__name__}'s argument {key!r}")
    # DQN, SAC and TD3 add what they derive from their own arguments; it must not be given twice.
    arguments["policy_kwargs"].pop("use_sde", None)
    return {"class": cls.__name__, "policy": codec.class_name(algorithm.policy_class), "arguments": arguments}


def build_algorithm(spec: Mapping[str, Any], venv: VecEnv, device: th.device | str = "auto") -> BaseAlgorithm:
    """Builds, untrained, the algorithm that `describe_algorithm` described.

    Raises:
        ArtifactError: the description is damaged or names an unknown class.
    """
    cls = _ALGORITHMS.get(spec.get("class", ""))
    if cls is None:
        raise ArtifactError(f"the checkpoint names the algorithm {spec.get('class')!r}, which is not known")
    policy = codec.find_class(spec.get("policy", ""))
    arguments = {key: decode(value) for key, value in dict(spec.get("arguments", {})).items()}
    check_choosable(arguments)
    try:
        return cls(policy, venv, device=device, **arguments)
    except (TypeError, AssertionError) as error:
        raise ArtifactError(f"the checkpoint's arguments do not fit {cls.__name__}: {error}") from error


def check_choosable(names: Iterable[str]) -> None:
    """Raises ArtifactError if one of these arguments of an SB3 algorithm is not for a file to choose."""
    if refused := _NOT_ARGUMENTS & set(names):
        raise ArtifactError(f"the checkpoint gives {min(refused)!r}, which a file may not choose")


def encode(value: Any, where: str) -> Any:
    """`codec.encode`, and schedules and action noises of SB3 as data."""
    if isinstance(value, utils.FloatSchedule):
        value = value.value_schedule
    for cls, names in _SCHEDULES:
        if type(value) is cls:
            return {"__schedule__": cls.__name__, "args": [float(getattr(value, name)) for name in names]}
    if isinstance(value, noise.VectorizedActionNoise):
        value = value.base_noise
    if isinstance(value, TrainFreq):
        value = (value.frequency, value.unit.value)
    if type(value) is noise.NormalActionNoise:
        return {"__noise__": [codec.encode(np.asarray(x)) for x in (value._mu, value._sigma)]}
    if isinstance(value, dict):
        return {key: encode(part, f"{where}[{key!r}]") for key, part in value.items()}
    if callable(value) and not isinstance(value, type) and not dataclasses.is_dataclass(value):
        raise TypeError(f"{where} is the function {value!r}, which is code and no data")
    return codec.encode(value, where=where)


def decode(data: Any) -> Any:
    """Inverse of `encode`; raises ArtifactError."""
    if isinstance(data, dict) and "__schedule__" in data:
        for cls, names in _SCHEDULES:
            if cls.__name__ == data["__schedule__"] and len(data["args"]) == len(names):
                return cls(*map(float, data["args"]))
        raise ArtifactError(f"the checkpoint names the schedule {data['__schedule__']!r}, which is not known")
    if isinstance(data, dict) and "__noise__" in data:
        return noise.NormalActionNoise(*map(codec.decode, data["__noise__"]))
    if isinstance(data, dict) and not any(key.startswith("__") for key in data):
        return {key: decode(part) for key, part in data.items()}
    return codec.decode(data)


def _find(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return getattr(root, "_orig_mod", root)


def _is_counter(name: str, value: Any) -> bool:
    """Numbers that training changes, such as `num_timesteps`; arguments are numbers too, and do no harm."""
    return type(value) in (int, float, bool) and name not in ("verbose", "start_time")


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, th.Tensor) and value.numel() == 1 else value


def _numbers(buffer: deque | None) -> list[Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(part) for key, part in value.items() if isinstance(part, int | float | np.number)}
        return value.item() if isinstance(value, np.generic) else value

    return [plain(value) for value in buffer or ()]


def _buffer_arrays(buffer: ReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    for key, value in vars(buffer).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, array in parts:
            if isinstance(array, np.ndarray) and array.shape[:2] == (buffer.buffer_size, buffer.n_envs):
                yield (f"{key}.{part}" if part else key), array
