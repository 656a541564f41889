"""What a reward file holds, told without building anything of it."""

import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import artifacts
from imitation_lab.util.artifacts import ArtifactError


def scan_torch(path: str) -> tuple[list[str], dict[str, int]]:
    """Checks a torch file without opening its pickle.

    Returns:
        The classes and functions that it names, and the size in bytes of each of its tensors' storages.

    Raises:
        ArtifactError: if it is damaged, or declares more than it holds.
    """
    classes: list[str] = []
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ArtifactError(f"{path} has compressed members, which torch never writes: it is refused.")
            damaged = file.testzip()  # torch itself does not look at the checksums
            if damaged is not None:
                raise ArtifactError(f"{path} is damaged or was tampered with: the checksum of {damaged!r} is wrong.")
            programs = [member.filename for member in members if member.filename.endswith("data.pkl")]
            if len(programs) != 1:
                raise ArtifactError(f"{path} is no torch file: it holds {len(programs)} members named data.pkl.")
            program = file.read(programs[0])
        held = sum(member.file_size for member in members)
        number = 0
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name == "GLOBAL":
                classes.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                raise ArtifactError(f"{path} was not written by torch.save: it is refused.")
            elif isinstance(argument, int) and opcode.name.startswith(("BININT", "INT", "LONG")):
                number = argument
            elif opcode.name == "BINPERSID" and number > held:  # the last number before it is the storage's length
                raise ArtifactError(
                    f"{path} declares a storage of {number} elements, more than the whole file's {held} bytes: it is "
                    "refused."
                )
    except ArtifactError:
        raise
    except Exception as error:  # whatever the parsers make of bytes that are neither zip nor pickle
        raise ArtifactError(f"{path} is no torch file, or is damaged: {error}") from error
    storages = {m.filename.partition("/")[2]: m.file_size for m in members if "/data/" in m.filename}
    return list(dict.fromkeys(classes)), storages


@dataclass(frozen=True)
class RewardFileInfo:
    """What a reward file says of itself; nothing was built to read it.

    Attributes:
        format: "native" or "torch".
        version: format version; None for torch files.
        chain: class names, outermost wrapper first; of torch files, the reward network classes in order of first
            mention.
        observation_space: description of the observation space, None for torch files.
        action_space: likewise.
        tensors: dtype and shape by name; for torch files, sizes of the storages.
        statistics: values of running statistics by name, native files only.
        classes: every class or function that the file names.
        description: the network as nested JSON, class and arguments; None for torch files.
    """

    format: str
    version: int | None
    chain: tuple[str, ...]
    observation_space: dict[str, Any] | None
    action_space: dict[str, Any] | None
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    statistics: dict[str, Any]
    classes: tuple[str, ...]
    description: dict[str, Any] | None = None

    @property
    def net_type(self) -> str:
        """Class name of the outermost network."""
        return self.chain[0] if self.chain else "unknown"

    def __str__(self) -> str:
        lines = [f"{self.format} reward file" + ("" if self.version is None else f", format version {self.version}")]
        lines += ["  " * depth + f"  {name}" for depth, name in enumerate(self.chain)]
        for name, space in (("observations", self.observation_space), ("actions", self.action_space)):
            if space is not None:
                lines.append(f"{name}: {_describe_space(space)}")
        lines.append("tensors:")
        lines += [f"  {name}  {dtype} {list(shape)}" for name, (dtype, shape) in self.tensors.items()]
        if self.statistics:
            lines.append("statistics:")
            lines += [f"  {name} = {np.round(value, 4).tolist()}" for name, value in self.statistics.items()]
        return "\n".join(lines)


def _describe_space(space: dict[str, Any]) -> str:
    facts = ", ".join(f"{key}={value}" for key, value in space.items() if key in ("n", "nvec", "shape", "dtype"))
    if space.get("type") in ("Dict", "Tuple"):
        parts = space.get("spaces", [])
        facts = ", ".join(
            f"{part[0]}: {_describe_space(part[1])}" if isinstance(part, list) else _describe_space(part)
            for part in parts
        )
    return f"{space.get('type')}({facts})"


def describe_torch(path: str) -> RewardFileInfo:
    """What a file of `torch.save` holds."""
    classes, storages = scan_torch(path)
    known = {f"{cls.__module__}.{cls.__qualname__}" for cls in _subclasses(RewardNet)}
    chain = tuple(name.rpartition(".")[2] for name in classes if name in known)
    tensors = {name: ("bytes", (size,)) for name, size in storages.items()}
    return RewardFileInfo("torch", None, chain, None, None, dict(tensors), {}, tuple(classes))


def describe_native(path: str, *, kind: str, version: int) -> RewardFileInfo:
    """What a file of `save_reward` holds."""
    artifact = artifacts.read(path, kind=kind, version=version, mmap=True)
    header = artifacts.read_header(path)
    net = spec = artifact.meta.get("net")
    chain: list[str] = []
    while isinstance(spec, dict):
        chain.append(str(spec.get("class")).rpartition(".")[2])
        base = spec.get("args", {}).get("base")
        spec = base.get("__module__") if isinstance(base, dict) else None
    moving = ("running_mean", "running_var", "count", "num_batches_tracked")
    return RewardFileInfo(
        format="native",
        version=header.version,
        chain=tuple(chain),
        observation_space=artifact.meta.get("observation_space"),
        action_space=artifact.meta.get("action_space"),
        tensors=dict(sorted(header.tensors.items())),
        statistics={n: np.array(v) for n, v in artifact.tensors.items() if n.rpartition(".")[2] in moving},
        classes=tuple(dict.fromkeys(_classes(net))),
        description=net,
    )


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))


def _classes(spec: Any) -> Iterator[str]:
    if isinstance(spec, list):
        for item in spec:
            yield from _classes(item)
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("class", "__class__") and isinstance(value, str):
                yield value
            else:
                yield from _classes(value)
