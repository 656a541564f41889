"""Reads Stable-Baselines3 zips without unpickling.

Such a zip holds a JSON file `data`, in which what JSON cannot express is a base64 pickle with readable
remarks beside it, and tensors in `*.pth` files. Only the readable JSON, the remarks (a class's name, say) and
the tensors are used; no pickle is opened. The spaces come from the caller's environment.
"""

import ast
import json
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from imitation_lab.util import codec
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

__all__ = ["Sb3Zip", "read_sb3_zip", "TRUST_HINT"]

TRUST_HINT = (
    "If you trust whoever made the file, pass trust=True: it is then opened by Stable-Baselines3, which runs any code "
    "inside."
)
_SERIALIZED = ":serialized:"
_OPAQUE = object()


@dataclass(frozen=True)
class Sb3Zip:
    """What a zip says without being unpickled: JSON, and state dicts by name."""

    path: str
    data: dict[str, Any]
    states: dict[str, dict[str, Any]]
    variables: dict[str, th.Tensor]

    def scalars(self) -> dict[str, Any]:
        """The entries of `data` that are plain JSON, and constant schedules as numbers."""
        found = {name: _readable(value) for name, value in self.data.items()}
        return {name: value for name, value in found.items() if value is not _OPAQUE}

    def learning_rate(self) -> float | None:
        """The rate at which the model was saved, also where the schedule itself is not readable."""
        optimizers = (state for name, state in self.states.items() if name.endswith("optimizer"))
        return next((float(state["param_groups"][0]["lr"]) for state in optimizers), None)

    def policy_class(self) -> type[BasePolicy]:
        """The class of the policy, found among those registered.

        Raises:
            ArtifactError: its name is not readable, or it is not registered.
        """
        entry = self.data.get("policy_class")
        entry = entry if isinstance(entry, dict) else {}
        module, texts = entry.get("__module__"), [v for v in entry.values() if isinstance(v, str)]
        # The remarks on a class name its functions: "<function ActorCriticPolicy.__init__ at 0x...>".
        names = {m[1] for text in texts if (m := re.match(r"<function ([\w.]+)\.\w+ at 0x", text))}
        found = [c for name in sorted(names) if (c := codec.known_class(f"{module}.{name}"))]
        if len(found) == 1 and issubclass(found[0], BasePolicy):
            return found[0]
        what = f"{module}.{' or '.join(sorted(names)) or '?'}"
        raise ArtifactError(
            f"{self.path!r} needs the policy class {what}, which is not among the registered ones. Import its module, "
            f"register it with imitation_lab.util.codec.register_class, or give policy_class=. {TRUST_HINT}"
        )

    def policy_kwargs(self) -> dict[str, Any]:
        """The policy's keyword arguments.

        Raises:
            ArtifactError: one of them is not readable without unpickling.
        """
        entry = self.data.get("policy_kwargs", {})
        kwargs = {}
        for name, value in entry.items():
            if name.startswith(":"):
                continue
            try:
                kwargs[name] = _parse(value) if _SERIALIZED in entry else value
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                raise ArtifactError(
                    f"{self.path!r}: the policy argument {name}={str(value)[:100]} cannot be read without running the "
                    f"pickle inside. Give policy_kwargs= yourself. {TRUST_HINT}"
                ) from None
        return kwargs

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        """Compares the spaces that the zip remarks on with the environment's.

        Raises:
            ValueError: they differ.
        """
        for name, space in (("observation_space", observation_space), ("action_space", action_space)):
            remarks = self.data.get(name)
            if not isinstance(remarks, dict):
                continue
            for key, here in _remarks(space).items():
                saved = remarks.get(key)
                if saved is not None and not _same(saved, here):
                    raise ValueError(
                        f"{self.path!r} was trained with another {name}: its {key.strip('_')} is {saved}, the "
                        f"environment's is {here}. Load it with the environment it was trained on."
                    )


def read_sb3_zip(path: AnyPath) -> Sb3Zip:
    """Reads a zip that `model.save` wrote; runs nothing that is inside.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is no zip, truncated, not from SB3, too large when unpacked, holds absolute or
            parent paths, or tensors that only a pickle could restore.
    """
    name = os.fsdecode(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"no such file: {name!r}.")
    try:
        with zipfile.ZipFile(name) as archive:
            return _read(archive, name)
    except zipfile.BadZipFile as error:
        raise ArtifactError(f"cannot read {name!r}: it is truncated, or not a zip ({error}).") from None
    except (EOFError, OSError, NotImplementedError, zipfile.LargeZipFile) as error:
        raise ArtifactError(f"cannot read {name!r}: it is damaged ({error}).") from None


def _read(archive: zipfile.ZipFile, path: str) -> Sb3Zip:
    infos = archive.infolist()
    for info in infos:
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or re.match(r"[A-Za-z]:", info.filename):
            raise ArtifactError(f"{path!r} holds the path {info.filename!r}, which leaves the archive: refused.")
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise ArtifactError(f"{path!r} holds the same name twice: refused.")
    if sum(info.file_size for info in infos) > 20 * os.path.getsize(path) + (1 << 20):
        raise ArtifactError(f"{path!r} unpacks to more than twenty times its size: refused.")
    if "data" not in names or "policy.pth" not in names:
        raise ArtifactError(
            f"{path!r} is no Stable-Baselines3 model, or it is truncated: it lacks 'data' or 'policy.pth'."
        )
    try:
        data = json.loads(archive.read("data"))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ArtifactError(f"cannot read {path!r}: its 'data' is not a JSON object.")
    states = {i.filename[:-4]: _tensors(archive, i, path) for i in infos if i.filename.endswith(".pth")}
    variables = states.pop("pytorch_variables", None) or states.pop("tensors", None) or {}
    return Sb3Zip(path, data, states, variables)


def _tensors(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> Any:
    try:
        with archive.open(info) as file:
            loaded = th.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ArtifactError(
            f"{path!r}: {info.filename!r} holds more than tensors; opening it could run code, so it is refused. "
            + TRUST_HINT
        ) from None
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(f"cannot read {path!r}: {info.filename!r} is damaged ({error}).") from None
    for tensor in (loaded or {}).values():
        # A storage may claim to be larger than the bytes behind it.
        if isinstance(tensor, th.Tensor) and tensor.untyped_storage().nbytes() > info.file_size:
            raise ArtifactError(f"{path!r}: {info.filename!r} declares more than it holds: refused.")
    return loaded


def _readable(value: Any) -> Any:
    if not isinstance(value, dict) or _SERIALIZED not in value:
        return value
    match = re.fullmatch(r"ConstantSchedule\(val=([-+.\deE]+)\)", str(value.get("value_schedule", "")))
    return float(match[1]) if match else _OPAQUE


def _parse(value: Any) -> Any:
    """Reads the remark on a policy argument: JSON, or text such as "<class 'torch.nn.modules.activation.ReLU'>"."""
    if not isinstance(value, str) or ("<" not in value and not value.startswith(("{", "[", "("))):
        return value
    literal = re.sub(r"<class '([\w.]+)'>", r"{'__class__': '\1'}", value)
    return _resolve(ast.literal_eval(literal))


def _resolve(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__class__"}:
            return codec.find_class(value["__class__"])
        return {key: _resolve(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolve(item) for item in value)
    return value


def _remarks(space: spaces.Space) -> Mapping[str, Any]:
    if isinstance(space, spaces.Box):
        return {"_shape": list(space.shape), "dtype": str(space.dtype), "low": space.low, "high": space.high}
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"nvec": space.nvec}
    return {}


def _same(saved: Any, here: Any) -> bool:
    if isinstance(here, np.ndarray):
        # Arrays are remarked on as NumPy prints them, rounded, and long ones with their middle left out.
        numbers = re.findall(r"-?inf|[-+]?\d[\d.]*(?:e[-+]?\d+)?", str(saved))
        if "..." in str(saved) or len(numbers) != here.size:
            return True
        return np.allclose([float(n) for n in numbers], here.reshape(-1).astype(float), rtol=1e-4)
    return str(saved) == str(here)
