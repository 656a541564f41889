"""What somebody could do to a saved reward: pure functions from a file's bytes to other bytes.

Nothing here is harmful: the payload, if anybody ran it, would create the empty file it is given. It serves to show
that nobody does.
"""

import io
import itertools
import json
import math
import pickletools
import re
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from imitation_lab.util import artifacts

__all__ = [
    "HUGE", "TAMPERINGS", "apply", "regions", "flip_byte", "truncate", "change_shape", "rename_class", "payload",
    "swap_in_pickle", "declare_100_gb",
]  # fmt: skip

HUGE = 25_000_000_000
"""Elements of the tensor that is declared: 100 GB of float32."""


def regions(data: bytes) -> list[tuple[str, int, int]]:
    """Tell a file's parts.

    Args:
        data: the file.

    Returns:
        ``(name, begin, end)`` of each part in order; one part, ``"unreadable"``, if there is no telling.
    """
    try:
        found = _zip_regions(data) if data[:2] == b"PK" else _native_regions(data)
    except Exception:  # damaged on purpose, in any way
        found = []
    return found or [("pickle" if data[:1] == b"\x80" else "unreadable", 0, len(data))]


def _native_regions(data: bytes) -> list[tuple[str, int, int]]:
    header, start = _header(data)
    spans = sorted((*entry["data_offsets"], name) for name, entry in header.items() if name != "__metadata__")
    parts = [(name, start + begin, min(start + end, len(data))) for begin, end, name in spans if begin < end]
    return [("description (JSON)", 0, start), *(part for part in parts if part[1] < part[2])]


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), start


def _zip_regions(data: bytes) -> list[tuple[str, int, int]]:
    parts = []
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for info in filter(lambda info: info.file_size, file.infolist()):
            lengths = struct.unpack_from("<HH", data, info.header_offset + 26)  # of the name and of what follows it
            begin = info.header_offset + 30 + sum(lengths)
            parts.append((info.filename.partition("/")[2], begin, begin + info.compress_size))
    return sorted(parts, key=lambda part: part[1])


def flip_byte(data: bytes) -> bytes:
    """Invert one byte in the middle of the largest tensor."""
    tensors = [part for part in regions(data) if part[0] != "description (JSON)" and not part[0].endswith(".pkl")]
    _, begin, end = max(tensors, key=lambda part: part[2] - part[1])
    changed = bytearray(data)
    changed[(begin + end) // 2] ^= 0xFF
    return bytes(changed)


def truncate(data: bytes) -> bytes:
    """Lose the last third, as a download that broke off does."""
    return data[: len(data) * 2 // 3]


def change_shape(data: bytes) -> bytes:
    """Give one tensor another shape, with a new and valid checksum."""
    if data[:2] == b"PK":
        net = th.load(io.BytesIO(data), weights_only=True)
        parameter = next(p for p in net.parameters() if p.ndim == 2)
        parameter.data = _other_shape(parameter.detach())
        out = io.BytesIO()
        th.save(net, out)
        return out.getvalue()

    def change(meta: Any, tensors: dict[str, np.ndarray]) -> None:
        name = next((name for name, array in sorted(tensors.items()) if array.ndim == 2), min(tensors))
        tensors[name] = np.ascontiguousarray(_other_shape(tensors[name]))

    return _sealed(data, change)


def _other_shape(array: Any) -> Any:
    if array.ndim == 2 and array.shape[0] != array.shape[1]:
        return array.reshape(array.shape[::-1])
    return array.reshape(math.prod(array.shape), *[1] * (1 + array.ndim))


def rename_class(data: bytes) -> bytes:
    """Name another class for the outermost network, with a new and valid checksum."""
    if data[:2] == b"PK":
        named = re.compile(rb"c[\w.]+\n\w+\n")  # pickle's GLOBAL
        return _rezipped(data, lambda program: named.sub(b"csomebodys.package\nRewardNet\n", program, count=1))
    return _sealed(data, lambda meta, tensors: meta["net"].update({"class": "somebodys.package.RewardNet"}))


def payload(command: str) -> bytes:
    """A pickle that runs a shell command when it is opened the usual way."""
    text = command.encode()
    return b"\x80\x02cos\nsystem\nX" + len(text).to_bytes(4, "little") + text + b"\x85R."


def swap_in_pickle(data: bytes, command: str) -> bytes:
    """Put a pickle that runs a command in the place of the file, or of the network inside a torch file."""
    return _rezipped(data, lambda program: payload(command)) if data[:2] == b"PK" else payload(command)


def declare_100_gb(data: bytes) -> bytes:
    """Declare the last tensor to be 100 GB large, in a file of the same size."""
    if data[:2] == b"PK":
        return _rezipped(data, _huge_storage)
    header, start = _header(data)
    begin, name = max((entry["data_offsets"][0], name) for name, entry in header.items() if name != "__metadata__")
    header[name].update(dtype="F32", shape=[HUGE], data_offsets=[begin, begin + 4 * HUGE])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[start:]


def _huge_storage(program: bytes) -> bytes:
    begin: int | None = 0
    end: int | None = 0
    for (opcode, argument, place), (*_, following) in itertools.pairwise(pickletools.genops(program)):
        if isinstance(argument, int) and opcode.name.startswith(("BININT", "LONG")):
            begin, end = place, following
        elif opcode.name == "BINPERSID":  # the number before it is the storage's length
            break
    return program[:begin] + b"\x8a\x08" + HUGE.to_bytes(8, "little") + program[end:]


def _rezipped(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info.filename)
            new.writestr(info.filename, change(content) if info.filename.endswith("data.pkl") else content)
    return out.getvalue()


def _sealed(data: bytes, change: Callable[[Any, dict[str, np.ndarray]], None]) -> bytes:
    """The file with other contents and their own valid checksum, as somebody who knows the format writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        header = artifacts.read_header(path)
        artifact = artifacts.read(path, kind=header.kind, version=header.version)
        meta, tensors = json.loads(json.dumps(artifact.meta)), dict(artifact.tensors)
        change(meta, tensors)
        artifacts.write(path, kind=header.kind, version=header.version, meta=meta, tensors=tensors)
        return path.read_bytes()


def apply(name: str, data: bytes, mark: Path) -> bytes:
    """Tamper with a file.

    Args:
        name: one of :data:`TAMPERINGS`.
        data: the file.
        mark: the file that the payload would create.

    Raises:
        ValueError: an unknown name.
    """
    if name not in TAMPERINGS:
        raise ValueError(f"unknown tampering {name!r}; there are {list(TAMPERINGS)}.")
    command = (f"touch '{mark}'",) if name == "swap in a pickle" else ()
    return TAMPERINGS[name](data, *command)


TAMPERINGS: Mapping[str, Callable[..., bytes]] = {
    "flip a byte": flip_byte,
    "change a shape": change_shape,
    "rename the class": rename_class,
    "swap in a pickle": swap_in_pickle,
    "truncate": truncate,
    "declare 100 GB": declare_100_gb,
}
"""What can be done to a file, by name."""
