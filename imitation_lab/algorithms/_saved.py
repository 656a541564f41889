"""Saving a run and going on from it, once for all algorithms: each says by name what makes it, and what training changes.

An algorithm derives from `Saved` and lists in `_state` the attributes that training changes. Each is a network, an
optimizer, an SB3 algorithm, a random generator, anything with `state_dict` and `load_state_dict`, or plain values.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn
from torch.nn.utils import parametrize

from imitation_lab.algorithms import checkpoint
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_nets import constructor as recording
from imitation_lab.util import codec
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

FILE = "checkpoint.safetensors"
_NEVER = {"self", "custom_logger", "demonstrations", "venv", "env", "device"}
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class Saved:
    """What can be saved between two calls of `train`, and gone on from bit-equal on CPU."""

    _state: ClassVar[tuple[str, ...]]
    """Attributes that training changes."""

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments that a file shall hold; by default the attributes of their names."""
        return {name: getattr(self, name) for name in _parameters(type(self)) if hasattr(self, name)}

    def _fits(self) -> None:
        """Completes the object when its state is back; raises ArtifactError where that does not fit."""

    def _begin_anew(self) -> None:
        """Runs after saving and after loading alike: environments' own states are not saved."""

    def save(self, path: AnyPath) -> pathlib.Path:
        """Saves to the folder `path`, made if missing; a checkpoint in it is replaced. Returns the file."""
        state = checkpoint.State()
        state.meta["class"] = type(self).__name__
        state.meta["arguments"] = {name: describe(name, value) for name, value in self._arguments().items()}
        for name in self._state:
            pack(state, name.strip("_"), getattr(self, name))
        checkpoint.pack_randomness(state, "random")
        file = pathlib.Path(os.fsdecode(path)) / FILE
        state.write(file, 1)
        self._begin_anew()
        return file

    def restore(self, path: AnyPath) -> Self:
        """Puts back what was saved, into an object that was built as the one that saved it.

        The global random states become those of the run that was saved.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ArtifactError: it is damaged, or of something else.
        """
        return self._take(checkpoint.State.read(pathlib.Path(os.fsdecode(path)) / FILE, 1))

    def _take(self, state: checkpoint.State) -> Self:
        for name in self._state:
            own = getattr(self, name)
            new = unpack(state, name.strip("_"), own)
            if new is not own:
                setattr(self, name, new)
        self._fits()
        checkpoint.unpack_randomness(state, "random")
        self._begin_anew()
        return self

    @classmethod
    def load(
        cls, path: AnyPath, venv: Any = None, *, custom_logger: lab_logger.AnyLogger | None = None,
        device: th.device | str = "auto", **given: Any,
    ) -> Self:  # fmt: skip
        """Builds the object that was saved and restores it.

        Args:
            path: the folder given to `save`.
            venv: environments like those of the run, where it has any.
            custom_logger: where metrics go.
            device: of what is built.
            **given: arguments of the constructor, in place of those in the file, or that a file cannot hold.
        """
        state = checkpoint.State.read(pathlib.Path(os.fsdecode(path)) / FILE, 1)
        if state.meta.get("class") != cls.__name__:
            kind = state.meta.get("class")
            raise ArtifactError(f"the checkpoint is of {kind}: load it with {kind}.load")
        demonstrations = given.get("demonstrations")
        own = {"demonstrations": None, "venv": venv, "env": venv, "device": device, "custom_logger": custom_logger}
        signature = inspect.signature(cls.__init__).parameters
        arguments = {name: value for name, value in own.items() if name in signature or name == "custom_logger"}
        for name, spec in state.entry("arguments").items():
            if name not in given:
                arguments[name] = build(name, spec, state, venv, device)
        try:
            self = cls(**{**arguments, **given})
        except TypeError as error:
            raise ArtifactError(f"the checkpoint's arguments are damaged: {error!r}") from None
        self._take(state)
        if demonstrations is not None:
            self.set_demonstrations(demonstrations)  # type: ignore[attr-defined]
        return self


def _parameters(cls: type) -> list[str]:
    """Names of the constructor's arguments, and of those that it passes on, which a file may hold."""
    names: list[str] = []
    for base in cls.__mro__:
        if "__init__" in vars(base):
            own = inspect.signature(base.__init__).parameters
            names += [name for name in own if name not in _NEVER]
            if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in own.values()):
                break
    return names


def describe(name: str, value: Any) -> dict[str, Any]:
    """An argument as data, or why it is none."""
    try:
        if isinstance(value, RewardNet):
            if any(parametrize.is_parametrized(part) for part in value.modules()):
                return {"error": "it has parametrized layers, such as spectral normalization"}
            return {"net": recording.describe(value)}
        if isinstance(value, BaseAlgorithm):
            return {"sb3": checkpoint.describe_algorithm(value)}
        if isinstance(value, np.random.Generator):
            return {"rng": type(value.bit_generator).__name__}
        return {"data": checkpoint.encode(value, name)}
    except TypeError as error:
        return {"error": str(error)}


def build(name: str, spec: Any, state: checkpoint.State, venv: Any, device: th.device | str) -> Any:
    """The argument that `describe` described, networks and algorithms untrained."""
    kind, value = next(iter(spec.items())) if isinstance(spec, dict) and len(spec) == 1 else (None, None)
    if kind == "net":
        recording.check_layout(value, {key: array.shape for key, array in state.under(f"{name}/").items()})
        return recording.rebuild(value)
    if kind == "sb3":
        return checkpoint.build_algorithm(value, venv, device)
    if kind == "rng" and value in _GENERATORS:
        return np.random.Generator(getattr(np.random, value)(0))
    if kind == "data":
        return checkpoint.decode(value)
    why = value if kind == "error" else "the file is damaged"
    raise ArtifactError(
        f"the checkpoint cannot rebuild {name}: {why}. Make it as in the run that was saved, and pass {name}=."
    )


def pack(state: checkpoint.State, name: str, part: Any) -> None:
    """Saves a part under `name`."""
    if isinstance(part, nn.Module):
        checkpoint.pack_module(state, name, part)
    elif isinstance(part, th.optim.Optimizer):
        checkpoint.pack_optimizer(state, name, part)
    elif isinstance(part, BaseAlgorithm):
        checkpoint.pack_algorithm(state, name, part)
    elif isinstance(part, np.random.Generator):
        state.meta[name] = codec.encode(dict(part.bit_generator.state))
    elif isinstance(part, th.Generator):
        state.tensors[name] = part.get_state().cpu().numpy().copy()
    elif hasattr(part, "load_state_dict"):
        pack(state, name, part.state_dict())
    elif isinstance(part, np.ndarray | th.Tensor):
        state.tensors[name] = np.array(part.detach().cpu().numpy() if isinstance(part, th.Tensor) else part)
    elif isinstance(part, Mapping) and any(isinstance(v, np.ndarray | th.Tensor | Mapping) for v in part.values()):
        state.meta[name] = {"__keys__": list(part)}
        for key, value in part.items():
            pack(state, f"{name}/{key}", value)
    elif isinstance(part, list) and part and (isinstance(part[0], dict) or dataclasses.is_dataclass(part[0])):
        pack_rows(state, name, part)
    else:
        state.meta[name] = codec.encode(part, where=name)


def unpack(state: checkpoint.State, name: str, part: Any) -> Any:
    """What `pack` saved: copied into `part` where that has an identity, else as a new value."""
    if part is None and name not in state.meta and name not in state.tensors:
        raise ArtifactError(f"the checkpoint lacks {name!r}")
    if isinstance(part, nn.Module):
        checkpoint.unpack_module(state, name, part)
    elif isinstance(part, th.optim.Optimizer):
        checkpoint.unpack_optimizer(state, name, part)
    elif isinstance(part, BaseAlgorithm):
        checkpoint.unpack_algorithm(state, name, part)
    elif isinstance(part, np.random.Generator):
        try:
            part.bit_generator.state = codec.decode(state.entry(name))
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"the checkpoint's {name!r} does not fit: {error}") from None
    elif isinstance(part, th.Generator):
        part.set_state(th.from_numpy(np.array(state.array(name))))
    elif hasattr(part, "load_state_dict"):
        part.load_state_dict(unpack(state, name, None))
    else:
        return _value(state, name)
    return part


def _value(state: checkpoint.State, name: str) -> Any:
    if name in state.tensors:
        return np.array(state.array(name))
    saved = state.meta.get(name)
    if isinstance(saved, dict) and "__rows__" in saved:
        return unpack_rows(state, name)
    if isinstance(saved, dict) and "__keys__" in saved:
        return {key: _value(state, f"{name}/{key}") for key in saved["__keys__"]}
    return codec.decode(saved)


def pack_rows(state: checkpoint.State, name: str, rows: list[Any]) -> None:
    """Saves rows of numbers and arrays, dictionaries or dataclasses, column by column; keys may come and go."""
    kind = codec.class_name(type(rows[0])) if dataclasses.is_dataclass(rows[0]) else None
    dicts = [row if isinstance(row, dict) else vars(row) for row in rows]
    columns = list(dict.fromkeys(key for row in dicts for key in row))
    state.meta[name] = {"__rows__": len(rows), "columns": columns, "class": kind}
    for key in columns:
        found = [np.asarray(row.get(key, np.nan)) for row in dicts]
        same = len({part.shape for part in found}) == 1
        if same:
            state.tensors[f"{name}/{key}"] = np.stack(found)
        else:
            state.meta[f"{name}/{key}"] = [codec.encode(part) for part in found]


def unpack_rows(state: checkpoint.State, name: str) -> list[Any]:
    """Inverse of `pack_rows`."""
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
