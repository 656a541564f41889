"""How a network remembers its constructor's arguments, so that a file of plain data can rebuild it.

Each class made known here is (1) named in the codec's registry, for the native format, and (2) allowed in
`torch.load` under its default `weights_only=True`. Both hold classes alone: nothing in a file can run code.
"""

import copy
import functools
import inspect
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.util import artifacts, codec, networks

__all__ = ["Recorded", "register_module", "arguments", "describe", "rebuild", "check_layout", "replace_submodule"]

ModuleT = TypeVar("ModuleT", bound=type[nn.Module])
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
_PUBLIC = "imitation_lab.rewards.reward_nets"


class Recorded(nn.Module):
    """Module whose constructor arguments are kept as they come in; subclasses make themselves known to files."""

    _transient: tuple[str, ...] = ()
    """Attributes that are rebuilt when needed and stay out of files and copies."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keeps the arguments."""
        self = object.__new__(cls)
        self.__dict__["_init_args"] = (args, kwargs)
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _make_known(cls)

    def __getstate__(self) -> dict[str, Any]:
        """What `torch.save` writes: no functions, no random generators, arguments as JSON.

        Raises:
            TypeError: if an attribute is a plain function, which is code and not data.
        """
        state = _lasting(self)
        for name, value in state.items():
            if isinstance(value, _FUNCTIONS):
                raise TypeError(_function_text(f"{type(self).__name__}.{name}", value))
            if isinstance(value, gym.Space):
                state[name] = _without_generator(value)
        try:
            state["_init_args"] = arguments(self)
        except TypeError as error:
            state["_init_args"] = {"__error__": str(error)}
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(_lasting(self), memo))
        return twin


def _lasting(module: nn.Module) -> dict[str, Any]:
    transient = getattr(module, "_transient", ())
    return {name: value for name, value in vars(module).items() if name not in transient}


def register_module(cls: ModuleT) -> ModuleT:
    """Lets files hold a module class of your own, such as a potential; usable as a decorator.

    `RewardNet` subclasses need it not: they register themselves. Submodules that `cls` is given as arguments must be
    reward networks or decorated too.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"register_module expected a class derived from torch.nn.Module, got {cls!r}.")
    for name in ("__new__", "__getstate__", "__deepcopy__"):
        setattr(cls, name, Recorded.__dict__[name])
    _make_known(cls)
    return cls


def _make_known(cls: type) -> None:
    module = _PUBLIC if cls.__module__.startswith(_PUBLIC + ".") else cls.__module__
    codec.register_class(cls, name=f"{module}.{cls.__qualname__}")
    # Where a notebook cell ran twice, torch must not find the older class of the name.
    path = lambda known: (known.__module__, known.__qualname__) if isinstance(known, type) else known
    others = [known for known in th.serialization.get_safe_globals() if path(known) != path(cls)]
    th.serialization.clear_safe_globals()
    th.serialization.add_safe_globals([*others, cls])


def _function_text(where: str, function: Any) -> str:
    name = getattr(function, "__qualname__", repr(function))
    return (
        f"{where} is the plain function {name!r}. A function is code, and files hold only data: make it a "
        "torch.nn.Module and decorate its class with imitation_lab.rewards.reward_nets.register_module."
    )


def _without_generator(space: gym.Space) -> gym.Space:
    twin = copy.copy(space)
    twin._np_random = None  # type: ignore[assignment]
    if isinstance(twin, gym.spaces.Dict):
        twin.spaces = {key: _without_generator(sub) for key, sub in twin.spaces.items()}
    elif isinstance(twin, gym.spaces.Tuple):
        twin.spaces = tuple(_without_generator(sub) for sub in twin.spaces)
    return twin


def arguments(module: nn.Module) -> dict[str, Any]:
    """The constructor's arguments by name, as JSON; a submodule as its path.

    Raises:
        TypeError: naming the argument that is not data.
    """
    recorded = module.__dict__.get("_init_args")
    if isinstance(recorded, dict):  # came out of a file
        if "__error__" in recorded:
            raise TypeError(recorded["__error__"])
        return recorded
    owner = type(module).__name__
    if recorded is None:
        raise TypeError(
            f"The constructor arguments of {owner} were not recorded, so a file cannot rebuild it: decorate its class "
            "with imitation_lab.rewards.reward_nets.register_module, or use torch.save."
        )
    args, kwargs = recorded
    bound = inspect.signature(type(module).__init__).bind(module, *args, **kwargs)
    named = list(bound.arguments.items())[1:]
    return {name: _encode(module, value, f"{owner}'s argument {name!r}") for name, value in named}


def _encode(owner: nn.Module, value: Any, where: str) -> Any:
    if isinstance(value, nn.Module):
        path = next((path for path, module in owner.named_modules() if module is value), None)
        if not path:
            raise TypeError(
                f"{where} is a {type(value).__name__} that is no longer among the network's submodules: it cannot be "
                "rebuilt as it is now. Build a new network around the replacement."
            )
        return {"__submodule__": path}
    if isinstance(value, _FUNCTIONS):
        raise TypeError(_function_text(where, value))
    if isinstance(value, list | tuple) and any(isinstance(item, nn.Module) for item in value):
        return [_encode(owner, item, f"{where}[{i}]") for i, item in enumerate(value)]
    return codec.encode(value, where=where)


def replace_submodule(owner: nn.Module, path: str, new: nn.Module) -> None:
    """Puts `new` in the place of a submodule, in the owner's record of arguments as well."""
    old = owner.get_submodule(path)

    def swap(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(swap, value))
        if isinstance(value, dict):
            return {key: swap(item) for key, item in value.items()}
        return new if value is old else value

    recorded = owner.__dict__.get("_init_args")
    if isinstance(recorded, tuple):  # else it came out of a file, and names submodules by their path
        owner.__dict__["_init_args"] = swap(recorded)
    owner.set_submodule(path, new)


def describe(module: nn.Module) -> dict[str, Any]:
    """A module as nested JSON: registered class name and arguments.

    Raises:
        TypeError: naming the part that is not data.
    """

    def expand(value: Any) -> Any:
        if isinstance(value, list):
            return [expand(item) for item in value]
        if isinstance(value, dict) and "__submodule__" in value:
            return {"__module__": describe(module.get_submodule(value["__submodule__"]))}
        return value

    name = codec.class_name(type(module))
    return {"class": name, "args": {key: expand(value) for key, value in arguments(module).items()}}


def rebuild(spec: Any) -> nn.Module:
    """Builds the module that `describe` described, newly initialised.

    Raises:
        ArtifactError: if the description is damaged, names an unknown class or does not fit the class.
    """
    try:
        with th.random.fork_rng(devices=[]):
            return _rebuild(spec)
    except RecursionError:
        raise artifacts.ArtifactError("the file's description of the network is nested too deeply") from None


def _rebuild(spec: Any) -> nn.Module:
    if not (isinstance(spec, dict) and isinstance(spec.get("args"), dict) and isinstance(spec.get("class"), str)):
        raise artifacts.ArtifactError("the file's description of the network is damaged: no class and arguments")
    cls = codec.find_class(spec["class"])
    if not (issubclass(cls, nn.Module) and cls.__new__ is Recorded.__new__):
        raise artifacts.ArtifactError(f"the file names the class {spec['class']!r} as a network, which it is not")
    signature = inspect.signature(cls.__init__)
    first, *names = signature.parameters
    unknown = spec["args"].keys() - set(names)
    if unknown:
        raise artifacts.ArtifactError(f"{cls.__name__} has no argument {min(unknown)!r}, which the file gives")

    def decode(value: Any) -> Any:
        if isinstance(value, dict) and "__module__" in value:
            return _rebuild(value["__module__"])
        if isinstance(value, list):
            return [decode(item) for item in value]
        return codec.decode(value)

    args = {name: decode(value) for name, value in spec["args"].items()}
    bound = inspect.BoundArguments(signature, OrderedDict({first: None, **args}))
    try:
        return cls(*bound.args[1:], **bound.kwargs)
    except artifacts.ArtifactError:
        raise
    except Exception as error:  # whatever a constructor makes of arguments that do not fit
        raise artifacts.ArtifactError(f"the file's arguments do not fit {cls.__name__}: {error}") from error


def check_layout(spec: Any, tensors: Mapping[str, Any]) -> None:
    """Compares the shapes of the tensors that `spec` asks for with those at hand, without taking memory for the first.

    Raises:
        ArtifactError: as `rebuild`, or naming the first tensor that is missing, unexpected or of another shape.
    """
    try:
        with th.device("meta"):
            net = rebuild(spec)
    except artifacts.ArtifactError as error:
        if error.__cause__ is not None and "meta" in str(error.__cause__):
            return  # a user's constructor that computes with its tensors; building it in earnest checks the rest
        raise
    artifacts.check_shapes(type(net).__name__, net.state_dict(), tensors)


_array, _number = np.array(0.0), np.float64(0)
# What a saved network is made of, beside the library's own classes: layers, spaces, arrays, and what rebuilds these.
_parts: list[Any] = [
    *codec.LAYERS,
    *(networks.SqueezeLayer, networks.RunningNorm, networks.EMANorm),
    *(getattr(gym.spaces, name) for name in ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple")),
    *(np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefdUS"}),
    *(_array.__reduce__()[0], _number.__reduce__()[0]),
]
th.serialization.add_safe_globals(_parts)
