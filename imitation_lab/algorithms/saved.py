"""Saving a run and going on from it, once for all algorithms: each names what makes it, and what training changes.

An algorithm derives from `Saved` and lists in `_state` the attributes that training changes, `a.b` for one of a part.
Each is a network, an optimizer, an SB3 algorithm, a random generator, anything with `state_dict` and `load_state_dict`
or a `_state` of its own, a list of these, or plain values. Constructor arguments are attributes of the same names.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import os
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.nn.utils import parametrize

from imitation_lab.algorithms import checkpoint
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets import constructor as recording
from imitation_lab.util import codec, policy_files, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

__all__ = ["FILE", "VERSION", "Saved"]

FILE = "checkpoint.safetensors"
VERSION = 2
# What whoever loads decides, never a file: where things are and go.
_NEVER = {
    *("self", "custom_logger", "demonstrations", "venv", "env", "device", "expert_trajs"),
    *("log_dir", "init_tensorboard", "init_tensorboard_graph", "scratch_dir"),
}
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Saved:
    """What can be saved between two calls of `train`, and gone on from: on CPU the result is that of one long run."""

    _state: ClassVar[tuple[str, ...]] = ()
    """Attributes that training changes."""

    _kinds: ClassVar[dict[str, type[Saved]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Saved._kinds[cls.__name__] = cls

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments that a file shall hold; by default the attributes of their names."""
        return {name: getattr(self, name) for name in _for_files(type(self)) if hasattr(self, name)}

    @classmethod
    def _make(cls, arguments: dict[str, Any]) -> Self:
        """Builds the object that was saved, from what `_arguments` gave and what whoever loads adds."""
        return cls(**arguments)

    @classmethod
    def _from_file(cls, name: str, value: Any) -> Any:
        """An argument as a file gives it; raises ArtifactError where it may not choose that."""
        return value

    @classmethod
    def _upgrade(cls, state: checkpoint.State, file: pathlib.Path) -> checkpoint.State:
        """A `file` of version 1 as one of today's; refused unless overridden."""
        raise ArtifactError("the checkpoint was written by an earlier release, in a form that is no longer read")

    @classmethod
    def _file(cls, path: AnyPath) -> pathlib.Path:
        """The file of a checkpoint."""
        return pathlib.Path(os.fsdecode(path)) / FILE

    def _fits(self) -> None:
        """Completes the object when its state is back; raises ArtifactError where that does not fit."""

    def _begin_anew(self) -> None:
        """Runs after saving and after loading alike: environments' own states are not saved."""

    def save(self, path: AnyPath) -> pathlib.Path:
        """Saves all that training changes, as data: networks, optimizers, demonstrations, random states.

        Args:
            path: a folder, made if missing; a checkpoint in it is replaced, whole or not at all.

        Returns:
            The file in it.
        """
        file = self._file(path)
        self._checkpoint().write(file, VERSION)
        self._begin_anew()
        return file

    def restore(self, path: AnyPath) -> Self:
        """Puts back what was saved, into an object that was built as the one that saved it.

        The global random states become those of the run that was saved.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: a ValueError, if it is damaged, or of something else.
        """
        return self._take(self._read(path))

    @classmethod
    def load(
        cls,
        path: AnyPath,
        venv: Any = None,
        *,
        custom_logger: lab_logger.AnyLogger | None = None,
        device: th.device | str = "auto",
        **given: Any,
    ) -> Self:
        """Builds the object that was saved, and restores it.

        Args:
            path: as given to `save`.
            venv: environments like those of the run, where it has any.
            custom_logger: where metrics go.
            device: of what is built.
            **given: arguments of the constructor, in place of those in the file, or that a file cannot hold. Networks
                and learners among them are changed.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: a ValueError, if it is damaged or of something else, or an argument is needed and not given.
        """
        state = cls._read(path)
        if (kind := state.meta.get("class")) != cls.__name__:
            raise ArtifactError(f"the checkpoint is of {kind}: load it with {kind}.load")
        logger = None if custom_logger is None else lab_logger.as_logger(custom_logger)  # one for all parts
        own = {"venv": venv, "env": venv, "device": device, "custom_logger": logger, "demonstrations": None}
        self = _Builder(state, own).build(cls, "", state.entry("arguments"), given)
        self._take(state)
        if given.get("demonstrations") is not None:
            self.set_demonstrations(given["demonstrations"])
        return self

    def _checkpoint(self) -> checkpoint.State:
        state = checkpoint.State({"class": type(self).__name__, "arguments": _describe_all(self, {}), "parts": {}})
        _pack_parts(state, "", self)
        checkpoint.pack_randomness(state, "random")
        return state

    @classmethod
    def _read(cls, path: AnyPath) -> checkpoint.State:
        file = cls._file(path)
        state = checkpoint.State.read(file, VERSION)
        with checkpoint.damage_told():
            return state if state.version == VERSION else cls._upgrade(state, file)

    def _take(self, state: checkpoint.State) -> Self:
        with checkpoint.damage_told():
            _unpack_parts(state, "", self)
            self._fits()
        checkpoint.unpack_randomness(state, "random")
        self._begin_anew()
        return self


def _parameters(cls: type) -> list[str]:
    """Names of the constructor's arguments, and of those that it passes on."""
    names: list[str] = []
    for base in cls.__mro__:
        if "__init__" in vars(base):
            own = inspect.signature(base.__init__).parameters  # type: ignore[misc]
            names += own
            if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in own.values()):
                break
    return names


def _for_files(cls: type) -> list[str]:
    """Names of those arguments that a file may hold."""
    return [name for name in _parameters(cls) if name not in _NEVER and not name.startswith("_")]


# Arguments: described as data, and built again from that.


def _describe_all(part: Saved, shared: dict[int, int]) -> dict[str, Any]:
    """The arguments of `part` as data, each one or why it is none."""
    return {name: _describe(name, value, shared) for name, value in part._arguments().items()}


def _describe(name: str, value: Any, shared: dict[int, int]) -> dict[str, Any]:
    try:
        if isinstance(value, Exception):
            raise value
        if isinstance(value, Saved):
            return {"saved": {"class": type(value).__name__, "arguments": _describe_all(value, shared)}}
        if isinstance(value, RewardNet):
            if any(parametrize.is_parametrized(part) for part in value.modules()):
                raise TypeError("it has parametrized layers, such as spectral normalization")
            return {"net": recording.describe(value)}
        if isinstance(value, BasePolicy):
            return {"policy": policy_files.describe(value)}
        if isinstance(value, BaseAlgorithm):
            return {"sb3": checkpoint.describe_algorithm(value)}
        if isinstance(value, np.random.Generator):
            kind = type(value.bit_generator).__name__
            return {"rng": {"kind": kind, "number": shared.setdefault(id(value), len(shared))}}
        if inspect.isroutine(value) or isinstance(value, functools.partial):
            raise TypeError("it is a function, and so no data")
        return {"data": checkpoint.encode(value, name)}
    except TypeError as error:
        return {"error": str(error)}


@dataclasses.dataclass
class _Builder:
    """Builds from a file: `own` are the arguments of whoever loads, `made` generators by number, which parts share."""

    state: checkpoint.State
    own: dict[str, Any]
    made: dict[int, np.random.Generator] = dataclasses.field(default_factory=dict)

    def build(self, cls: type[Any], prefix: str, specs: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        """An object of class `cls`, whose parts are untrained: `given`, and for the rest what `specs` describe."""
        accepted, allowed = _parameters(cls), _for_files(cls)
        if unknown := given.keys() - accepted:
            raise TypeError(f"{cls.__name__}.load() got an unexpected argument {min(unknown)!r}")
        wanted = {name: value for name, value in given.items() if value is not None}
        arguments = {name: value for name, value in self.own.items() if name in accepted}
        for name, spec in specs.items():
            if name not in allowed:
                raise ArtifactError(f"the checkpoint gives {name!r}, which {cls.__name__} does not take from a file")
            if name not in wanted:
                arguments[name] = cls._from_file(name, self._rebuild(prefix + name, spec))
        try:
            return cls._make({**arguments, **wanted})
        except ValueError:  # whose text tells what does not fit
            raise
        except checkpoint.DAMAGED as error:
            raise ArtifactError(f"the checkpoint's arguments do not fit {cls.__name__}: {error!r}") from error

    def _rebuild(self, name: str, spec: Any) -> Any:
        """The argument that `_describe` described, networks and algorithms untrained."""
        why = "the file is damaged"
        with checkpoint.damage_told(f"the checkpoint's {name!r} is damaged"):
            match spec:
                case {"saved": value}:
                    return self.build(Saved._kinds[value["class"]], f"{name}.", value["arguments"], {})
                case {"net": value}:
                    recording.check_layout(value, self.state.under(f"{name}/"))
                    return recording.rebuild(value)
                case {"policy": value}:
                    return policy_files.rebuild(value, self.state.under(f"{name}/"), self.own["device"])
                case {"sb3": value}:
                    return checkpoint.build_algorithm(value, self.own["venv"], self.own["device"])
                case {"rng": {"kind": kind, "number": number}}:
                    if kind not in _GENERATORS:
                        raise ArtifactError(f"the checkpoint names the random generator {kind!r}, which is not known")
                    return self.made.setdefault(int(number), np.random.Generator(getattr(np.random, kind)(0)))
                case {"data": value}:
                    return checkpoint.decode(value)
                case {"error": str(text)}:
                    why = text
        owner, _, inner = name.rpartition(".")
        argument, part = (owner, f"its {inner}: ") if owner else (name, "")
        raise ArtifactError(
            f"the checkpoint cannot rebuild {argument}: {part}{why}. Make it as in the run that was saved, and pass "
            f"{argument}=, or build the whole and call its restore(path)."
        )


# State: parts with an identity are filled, values are replaced.


def _pack_parts(state: checkpoint.State, prefix: str, owner: Any) -> None:
    for path in owner._state:
        _pack(state, prefix + path.strip("_"), operator.attrgetter(path)(owner))


def _unpack_parts(state: checkpoint.State, prefix: str, owner: Any) -> None:
    for path in owner._state:
        holder, _, name = path.rpartition(".")
        target = operator.attrgetter(holder)(owner) if holder else owner
        own = getattr(target, name)
        new = _unpack(state, prefix + path.strip("_"), own)
        if new is not own:
            setattr(target, name, new)


_KINDS: dict[str, tuple[type, Any, Any]] = {
    "network": (nn.Module, checkpoint.pack_module, checkpoint.unpack_module),
    "optimizer": (th.optim.Optimizer, checkpoint.pack_optimizer, checkpoint.unpack_optimizer),
    "algorithm": (BaseAlgorithm, checkpoint.pack_algorithm, checkpoint.unpack_algorithm),
    "generator": (np.random.Generator, checkpoint.pack_generator, checkpoint.unpack_generator),
    "torch generator": (th.Generator, checkpoint.pack_generator, checkpoint.unpack_generator),
}


def _kind(part: Any) -> str | None:
    """What kind of thing with an identity `part` is, None for a value."""
    for kind, (cls, _, _) in _KINDS.items():
        if isinstance(part, cls):
            return kind
    if hasattr(part, "load_state_dict"):
        return "state"
    if hasattr(type(part), "_state"):
        return "parts"
    if isinstance(part, list) and part and all(one is None or _kind(one) for one in part):
        return f"list of {len(part)}"
    return None


def _pack(state: checkpoint.State, name: str, part: Any) -> None:
    """Saves a part under `name`."""
    kind = _kind(part)
    if kind is not None:
        state.meta["parts"][name] = kind
    if kind is None:
        _pack_value(state, name, part)
    elif kind in _KINDS:
        _KINDS[kind][1](state, name, part)
    elif kind == "state":
        _pack_value(state, name, part.state_dict())
    elif kind == "parts":
        _pack_parts(state, f"{name}.", part)
    else:
        for i, one in enumerate(part):
            _pack(state, f"{name}.{i}", one)


def _unpack(state: checkpoint.State, name: str, part: Any) -> Any:
    """What `_pack` saved: copied into `part` where that has an identity, else as a new value."""
    kind, saved = _kind(part), state.entry("parts").get(name)
    if kind != saved:
        raise ArtifactError(
            f"the checkpoint's {name!r} is {saved or 'no part to restore'}, here it is {kind or repr(part)}: build it "
            "as in the run that was saved"
        )
    if kind is None:
        return _unpack_value(state, name)
    if kind in _KINDS:
        _KINDS[kind][2](state, name, part)
    elif kind == "state":
        part.load_state_dict(_unpack_value(state, name))
    elif kind == "parts":
        _unpack_parts(state, f"{name}.", part)
    else:
        for i, one in enumerate(part):
            _unpack(state, f"{name}.{i}", one)
    return part


def _pack_value(state: checkpoint.State, name: str, value: Any) -> None:
    """Saves arrays, mappings of them, rows of numbers and arrays, or anything that is data."""
    if isinstance(value, np.ndarray | th.Tensor):
        state.tensors[name] = util.safe_to_numpy(value)
    elif isinstance(value, Mapping) and any(isinstance(v, np.ndarray | th.Tensor | Mapping) for v in value.values()):
        state.meta[name] = {"__keys__": list(value)}
        for key, part in value.items():
            _pack_value(state, f"{name}/{key}", part)
    elif isinstance(value, list) and value and (isinstance(value[0], dict) or dataclasses.is_dataclass(value[0])):
        _pack_rows(state, name, value)
    else:
        state.meta[name] = codec.encode(value, where=name)


def _unpack_value(state: checkpoint.State, name: str) -> Any:
    """Inverse of `_pack_value`."""
    if name in state.tensors:
        return np.array(state.array(name))
    if name not in state.meta:
        raise ArtifactError(f"the checkpoint lacks {name!r}")
    saved = state.meta[name]
    if isinstance(saved, dict) and "__rows__" in saved:
        return _unpack_rows(state, name)
    if isinstance(saved, dict) and "__keys__" in saved:
        return {key: _unpack_value(state, f"{name}/{key}") for key in saved["__keys__"]}
    return codec.decode(saved)


def _pack_rows(state: checkpoint.State, name: str, rows: list[Any]) -> None:
    """Rows of numbers and arrays, dictionaries or dataclasses, column by column; keys may come and go."""
    kind = codec.class_name(type(rows[0])) if dataclasses.is_dataclass(rows[0]) else None
    dicts = [row if isinstance(row, dict) else vars(row) for row in rows]
    columns = list(dict.fromkeys(key for row in dicts for key in row))
    state.meta[name] = {"__rows__": len(rows), "columns": columns, "class": kind}
    for key in columns:
        found = [np.asarray(row.get(key, np.nan)) for row in dicts]
        if len({part.shape for part in found}) == 1:
            state.tensors[f"{name}/{key}"] = np.stack(found)
        else:
            state.meta[f"{name}/{key}"] = [codec.encode(part) for part in found]


def _unpack_rows(state: checkpoint.State, name: str) -> list[Any]:
    about = state.entry(name)
    columns = {}
    for key in about["columns"]:
        path = f"{name}/{key}"
        column = state.array(path) if path in state.tensors else map(codec.decode, state.entry(path, list))
        columns[key] = [x.item() if x.ndim == 0 else x for x in map(np.array, column)]
    if any(len(column) != about["__rows__"] for column in columns.values()):
        raise ArtifactError(f"the columns of the checkpoint's {name!r} differ in length")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return rows if about["class"] is None else [codec.find_class(about["class"])(**row) for row in rows]
