"""Constructor arguments as JSON, so that objects can be rebuilt from a file without running code from it.

Plain values stay as they are; a tuple, an array, a Gymnasium space, a torch dtype or a registered class becomes a dict
with one ``__tag__``. A class is stored by name and looked up in a registry: a name that nobody registered is refused.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

import numpy as np
import torch as th
from gymnasium import spaces
from torch import nn, optim

from imitation_lab.util.artifacts import ArtifactError

__all__ = [
    "register_class", "class_name", "known_class", "find_class", "encode", "decode", "encode_space", "decode_space",
    "LAYERS",
]  # fmt: skip

T = TypeVar("T", bound=type)

_classes: dict[str, type] = {}
_names: dict[type, str] = {}


@overload
def register_class(cls: T, *, name: str | None = None) -> T: ...
@overload
def register_class(cls: None = None, *, name: str | None = None) -> Callable[[T], T]: ...
def register_class(cls: Any = None, *, name: str | None = None) -> Any:
    """Allow a class to be named in files; usable as a decorator.

    Args:
        cls: The class.
        name: The name in files; by default module and qualified name. A later class of the same name replaces the
            earlier one, so that a notebook cell can be run twice.
    """
    if cls is None:
        return lambda actual: register_class(actual, name=name)
    full_name = f"{cls.__module__}.{cls.__qualname__}"
    _names[cls] = name or full_name
    _classes[full_name] = _classes[_names[cls]] = cls
    return cls


def class_name(cls: type) -> str:
    """Give the registered name of a class.

    Raises:
        TypeError: If it was never registered.
    """
    try:
        return _names[cls]
    except KeyError:
        raise TypeError(
            f"class {cls.__module__}.{cls.__qualname__} is not registered, so a file cannot name it; "
            "decorate it with imitation_lab.util.codec.register_class"
        ) from None


def known_class(name: str) -> type | None:
    """Give the class that was registered under `name`, or whose module and qualified name that is; None if none is."""
    return _classes.get(name)


def find_class(name: str) -> type:
    """Give what `known_class` gives.

    Raises:
        ArtifactError: If there is none.
    """
    try:
        return _classes[name]
    except (KeyError, TypeError):
        raise ArtifactError(
            f"the file names the class {name!r}, which is not registered here; import the module that defines it "
            "(and registers it with imitation_lab.util.codec.register_class) before loading"
        ) from None


def encode(value: Any, *, where: str = "value") -> Any:
    """Turn a value into JSON.

    Raises:
        TypeError: Naming the path of a part that cannot be expressed as data.
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"__float__": repr(value)}
    if isinstance(value, list):
        return [encode(item, where=f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) is tuple:
        return {"__tuple__": [encode(item, where=f"{where}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return _encode_dict(value, where)
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value, where)
    if isinstance(value, spaces.Space):
        return {"__space__": encode_space(value)}
    if isinstance(value, th.dtype):
        return {"__dtype__": str(value).removeprefix("torch.")}
    if isinstance(value, enum.Enum):
        return {"__enum__": [class_name(type(value)), value.name]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"__object__": class_name(type(value)), "fields": encode(fields, where=where)}
    if isinstance(value, type):
        try:
            return {"__class__": class_name(value)}
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
    raise TypeError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot be saved as data; "
        "use numbers, text, lists, dicts, arrays, spaces or registered classes"
    )


def decode(data: Any) -> Any:
    """Rebuild what `encode` turned into JSON.

    Raises:
        ArtifactError: If the data is damaged or names an unknown class.
    """
    with _damage_named("the file's description"):
        return _decode(data)


def encode_space(space: spaces.Space) -> dict[str, Any]:
    """Turn a Gymnasium space into JSON.

    Raises:
        TypeError: If the kind of space is not supported.
    """
    if isinstance(space, spaces.Box):
        bounds = {"low": _encode_bound(space.low), "high": _encode_bound(space.high)}
        return {"type": "Box", **bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else [int(n) for n in space.n]}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": [[key, encode_space(sub)] for key, sub in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [encode_space(sub) for sub in space.spaces]}
    raise TypeError(f"spaces of type {type(space).__name__} cannot be saved; supported are {', '.join(_SPACES)}")


def decode_space(data: dict[str, Any]) -> spaces.Space:
    """Rebuild a space that `encode_space` turned into JSON.

    Raises:
        ArtifactError: If the data is damaged.
    """
    with _damage_named("the file's description of a space"):
        return _SPACES[data["type"]](data)


@contextlib.contextmanager
def _damage_named(what: str) -> Iterator[None]:
    try:
        yield
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RecursionError) as error:
        raise ArtifactError(f"{what} is damaged: {error!r}") from None


def _encode_dict(value: dict, where: str) -> Any:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{where} has the key {key!r}; only text keys can be saved as data")
    items = {key: encode(item, where=f"{where}[{key!r}]") for key, item in value.items()}
    return {"__dict__": items} if any(key.startswith("__") for key in items) else items


def _encode_array(value: np.ndarray | np.generic, where: str) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        raise TypeError(f"{where} is an array of {array.dtype}, which cannot be saved as data")
    return {
        "__array__": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(),
        "dtype": array.dtype.newbyteorder("<").str,
        "shape": list(array.shape),
        "scalar": isinstance(value, np.generic),
    }


def _decode_array(data: dict[str, Any]) -> np.ndarray | np.generic:
    dtype = np.dtype(str(data["dtype"]))
    if dtype.kind not in "biufU":
        raise ArtifactError(f"the file holds an array of {dtype}, which is refused")
    array = np.frombuffer(base64.b64decode(data["__array__"], validate=True), dtype).reshape(data["shape"]).copy()
    return array[()] if data["scalar"] else array


def _decode(data: Any) -> Any:
    if isinstance(data, list):
        return [_decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    tag = next((key for key in data if key.startswith("__")), None)
    if tag is None:
        return {key: _decode(item) for key, item in data.items()}
    match tag:
        case "__float__":
            return float(data[tag])
        case "__tuple__":
            return tuple(_decode(item) for item in data[tag])
        case "__dict__":
            return {key: _decode(item) for key, item in data[tag].items()}
        case "__array__":
            return _decode_array(data)
        case "__space__":
            return decode_space(data[tag])
        case "__dtype__":
            return _DTYPES[data[tag]]
        case "__class__":
            return find_class(data[tag])
        case "__enum__":
            return find_class(data[tag][0])[data[tag][1]]  # type: ignore[index]
        case "__object__":
            cls = find_class(data[tag])
            if not dataclasses.is_dataclass(cls):
                raise ArtifactError(f"the file names {data[tag]!r} as an object's class, which it cannot be")
            return cls(**_decode(data["fields"]))
    raise ArtifactError(f"the file uses the unknown tag {tag!r}")


def _encode_bound(bound: np.ndarray) -> Any:
    """Store a uniform bound as one number: image spaces would otherwise repeat it for each pixel."""
    if bound.size and np.all(bound == bound.flat[0]):
        return encode(bound.flat[0].item())
    return encode(bound)


def _decode_box(data: dict[str, Any]) -> spaces.Box:
    shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
    if dtype.kind not in "biuf":
        raise ArtifactError(f"a Box of {dtype} is refused")
    if math.prod(shape) > _MAX_BOX_SIZE:
        raise ArtifactError(f"a Box of shape {list(shape)} is refused: at most {_MAX_BOX_SIZE} entries are allowed")
    low, high = _decode(data["low"]), _decode(data["high"])
    return spaces.Box(np.full(shape, low, dtype), np.full(shape, high, dtype), shape, dtype.type)


_MAX_BOX_SIZE = 1 << 26
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        th.float16, th.bfloat16, th.float32, th.float64, th.uint8, th.int8, th.int16, th.int32, th.int64, th.bool,
    )
}  # fmt: skip
_SPACES: dict[str, Callable[[dict[str, Any]], spaces.Space]] = {
    "Box": _decode_box,
    "Discrete": lambda data: spaces.Discrete(data["n"], start=data["start"]),
    "MultiDiscrete": lambda data: spaces.MultiDiscrete(data["nvec"], start=data["start"]),
    "MultiBinary": lambda data: spaces.MultiBinary(data["n"]),
    "Dict": lambda data: spaces.Dict([(key, decode_space(sub)) for key, sub in data["spaces"]]),
    "Tuple": lambda data: spaces.Tuple([decode_space(sub) for sub in data["spaces"]]),
}

_LAYER_NAMES = (
    "Linear Bilinear Identity Flatten Unflatten Sequential ModuleList ModuleDict ParameterList ParameterDict "
    "Embedding Conv1d Conv2d Conv3d ConvTranspose2d AvgPool1d AvgPool2d MaxPool1d MaxPool2d AdaptiveAvgPool1d "
    "AdaptiveAvgPool2d AdaptiveMaxPool2d ZeroPad2d BatchNorm1d BatchNorm2d InstanceNorm1d InstanceNorm2d LayerNorm "
    "GroupNorm RMSNorm Dropout Dropout1d Dropout2d AlphaDropout ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU SiLU "
    "Mish Sigmoid LogSigmoid Softplus Softsign Softmax LogSoftmax Tanh Hardtanh Hardsigmoid Hardswish Tanhshrink"
)
_OPTIMIZER_NAMES = "Adam AdamW NAdam RAdam Adamax Adagrad SGD RMSprop"
LAYERS = [getattr(nn, name) for name in _LAYER_NAMES.split()]
"""Layers that files may name."""

for _package, _known in (("nn", LAYERS), ("optim", [getattr(optim, name) for name in _OPTIMIZER_NAMES.split()])):
    for _class in _known:
        register_class(_class, name=f"torch.{_package}.{_class.__name__}")
