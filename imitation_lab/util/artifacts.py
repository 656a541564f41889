"""The native file format: named tensors and JSON in one file, and never code.

A file is valid safetensors, so any reader of that format opens it: eight bytes of header length, a JSON header, raw
little-endian numbers. Our own facts (kind, format version, and whatever the kind needs to be rebuilt) are JSON inside
the header's ``__metadata__``, and so is a SHA-256 over header and data. Reading checks every declared size against the
file's length before memory is taken. (The package safetensors does neither stream nor sum, and its refusals do not say
which tensor is wrong: nothing of this module would go if it were used.)
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch as th
from torch import nn

from imitation_lab.util.paths import AnyPath, atomic_path

__all__ = [
    "Header", "Artifact", "ArtifactError", "write", "read", "read_header", "sniff", "state_arrays", "load_state_dict",
    "check_shapes", "MAX_HEADER_BYTES",
]  # fmt: skip

ArrayOrChunks = np.ndarray | th.Tensor | Sequence[np.ndarray]

MAX_HEADER_BYTES = 64 << 20
_META_KEY = "imitation_lab"
_NO_DIGEST = "0" * 64
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip
_DTYPE_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


class ArtifactError(ValueError):
    """A file cannot be read as what it was asked to be; the text says why and what to do."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: kind, format version, metadata, and each tensor's dtype name and shape."""

    kind: str
    version: int
    meta: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Artifact:
    """A file's contents: kind, format version, metadata and arrays by name."""

    kind: str
    version: int
    meta: dict[str, Any]
    tensors: dict[str, np.ndarray]


class _Layout(NamedTuple):
    header: Header
    spans: dict[str, tuple[int, int]]
    data_start: int
    digest: str


def write(
    path: AnyPath,
    *,
    kind: str,
    version: int,
    meta: Mapping[str, Any],
    tensors: Mapping[str, ArrayOrChunks],
) -> None:
    """Write tensors and JSON to `path`, atomically; parent folders are created.

    Args:
        path: The file to write.
        kind: What the file holds, such as ``"policy"``.
        version: The format version of that kind, at least 1.
        meta: Plain JSON values.
        tensors: Arrays by name. A sequence of arrays is streamed as its concatenation along the first axis, so that
            nothing is held twice.

    Raises:
        TypeError: If `meta` is not JSON or a dtype has no place in the format.
        ValueError: If the arrays of a sequence differ in dtype or trailing shape.
    """
    chunks = {name: _as_chunks(name, value) for name, value in tensors.items()}
    specs = {name: _spec(name, parts) for name, parts in chunks.items()}
    order = sorted(specs, key=lambda name: (-specs[name][0].itemsize, name))  # widest first keeps each aligned
    entries: dict[str, Any] = {}
    offset = 0
    for name in order:
        dtype, shape = specs[name]
        end = offset + dtype.itemsize * math.prod(shape)
        entries[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    about = json.dumps({"kind": kind, "version": version, "meta": meta}, allow_nan=False)

    def header_bytes(digest: str) -> bytes:
        raw = json.dumps({"__metadata__": {_META_KEY: about, "sha256": digest}, **entries}).encode()
        raw += b" " * (-len(raw) % 8)
        return len(raw).to_bytes(8, "little") + raw

    blank = header_bytes(_NO_DIGEST)
    if len(blank) > MAX_HEADER_BYTES:
        raise ValueError(
            f"the metadata of {_name(path)} takes {len(blank)} bytes; at most {MAX_HEADER_BYTES} are allowed"
        )
    digest = hashlib.sha256(blank)
    with atomic_path(path) as temporary, open(temporary, "wb", buffering=1 << 20) as file:
        file.write(blank)
        for name in order:
            for part in chunks[name]:
                if part.size:
                    raw = np.ascontiguousarray(part, dtype=specs[name][0]).reshape(-1).view(np.uint8).data
                    file.write(raw)
                    digest.update(raw)
        file.seek(0)
        file.write(header_bytes(digest.hexdigest()))


def read(path: AnyPath, *, kind: str, version: int, mmap: bool = False, verify: bool = True) -> Artifact:
    """Read a file that `write` wrote.

    Args:
        path: The file.
        kind: The kind expected.
        version: The newest format version that the caller understands.
        mmap: Give read-only memory maps in place of copies in memory.
        verify: Check the SHA-256 over the whole file.

    Raises:
        FileNotFoundError: If there is no such file.
        ArtifactError: If the file is truncated, tampered with, of another kind, of a newer version, or not ours.
    """
    with _open(path) as file:
        layout = _layout(file, path)
        if layout.header.kind != kind:
            raise ArtifactError(f"{_name(path)} holds a {layout.header.kind!r}, expected a {kind!r}")
        if layout.header.version > version:
            raise ArtifactError(
                f"{_name(path)} is in version {layout.header.version} of the {kind!r} format; this imitation_lab reads "
                f"up to version {version}. Upgrade imitation_lab to open it"
            )
        if mmap:
            size = os.fstat(file.fileno()).st_size
            everything = np.memmap(file, dtype=np.uint8, mode="r", shape=(size,))
            data = everything[layout.data_start :]
        else:
            file.seek(layout.data_start)
            data = np.fromfile(file, dtype=np.uint8)
        if verify:
            _verify(file, layout, None if mmap else data, path)
    arrays = {}
    for name, (begin, end) in layout.spans.items():
        code, shape = layout.header.tensors[name]
        arrays[name] = np.asarray(data[begin:end]).view(_DTYPES[code]).reshape(shape)
    return Artifact(layout.header.kind, layout.header.version, layout.header.meta, arrays)


def read_header(path: AnyPath) -> Header:
    """Read what a file says of itself, and build nothing.

    Raises:
        FileNotFoundError: If there is no such file.
        ArtifactError: If the header is damaged or not ours.
    """
    with _open(path) as file:
        return _layout(file, path).header


def sniff(path: AnyPath) -> str:
    """Tell a file's format by its bytes.

    Returns:
        ``"native"``, ``"npz"``, ``"zip"``, ``"pickle"``, ``"directory"`` or ``"unknown"``.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if os.path.isdir(path):
        return "directory"
    with _open(path) as file:
        return _sniff(file)


def state_arrays(module: nn.Module, *, prefix: str = "") -> dict[str, np.ndarray]:
    """Give a module's parameters and buffers as NumPy arrays, named as in its state dict after `prefix`."""
    arrays = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, th.Tensor):
            raise TypeError(f"state {name!r} of {type(module).__name__} is a {type(value).__name__}, not a tensor")
        arrays[prefix + name] = _to_numpy(prefix + name, value)
    return arrays


def load_state_dict(module: nn.Module, tensors: Mapping[str, np.ndarray], *, prefix: str = "") -> None:
    """Copy arrays into a module after names, shapes and dtypes have been checked; float32 ones fit bfloat16.

    Raises:
        ArtifactError: Naming the first leaf that is missing, unexpected, or of another shape or dtype.
    """
    given = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    state = {prefix + name: leaf for name, leaf in module.state_dict().items()}
    owner = type(module).__name__
    check_shapes(owner, state, given)
    for name, leaf in state.items():
        expected = _to_numpy(name, leaf.float() if leaf.dtype is th.bfloat16 else leaf).dtype
        if given[name].dtype != expected:
            raise ArtifactError(f"{owner}: {name!r} is {given[name].dtype} in the file, expected {expected}")
    module.load_state_dict({name[len(prefix) :]: th.from_numpy(np.array(given[name])) for name in state})


def check_shapes(owner: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Compares the shapes of arrays or tensors that `owner` has with those of a file.

    Raises:
        ArtifactError: Naming the first that is missing, unexpected, or of another shape.
    """
    for name, leaf in wanted.items():
        shape = tuple(leaf.shape)
        if name not in given:
            raise ArtifactError(f"{owner}: the file lacks {name!r}, of shape {shape}")
        if given[name].shape != shape:
            raise ArtifactError(f"{owner}: {name!r} has shape {tuple(given[name].shape)} in the file, expected {shape}")
    if extra := sorted(given.keys() - wanted.keys()):
        raise ArtifactError(f"{owner}: the file holds {extra[0]!r}, which this {owner} does not have")


def _name(path: AnyPath) -> str:
    return repr(os.fsdecode(path))


def _to_numpy(name: str, tensor: th.Tensor) -> np.ndarray:
    if tensor.dtype == th.bfloat16 or tensor.is_complex():
        raise TypeError(
            f"{name!r} is {tensor.dtype}, which the format does not hold; convert it first, e.g. with .float()"
        )
    return tensor.detach().cpu().numpy()


def _as_chunks(name: str, value: ArrayOrChunks) -> Sequence[np.ndarray]:
    if isinstance(value, th.Tensor):
        return [_to_numpy(name, value)]
    return [value] if isinstance(value, np.ndarray | np.generic) else value


def _spec(name: str, parts: Sequence[np.ndarray]) -> tuple[np.dtype, tuple[int, ...]]:
    if len(parts) == 0:
        raise ValueError(f"tensor {name!r} is an empty sequence: its dtype and shape are unknown; give an empty array")
    first = parts[0]
    dtype = first.dtype.newbyteorder("<")
    if dtype not in _DTYPE_NAMES:
        raise TypeError(
            f"tensor {name!r} is {first.dtype}; the format holds {', '.join(sorted(map(str, _DTYPE_NAMES)))}"
        )
    if len(parts) == 1:
        return dtype, first.shape
    rows = 0
    for part in parts:
        if part.dtype != first.dtype or part.ndim == 0 or part.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"tensor {name!r}: {part.dtype} of shape {part.shape} cannot follow "
                f"{first.dtype} of shape {first.shape}"
            )
        rows += part.shape[0]
    return dtype, (rows, *first.shape[1:])


def _open(path: AnyPath) -> io.BufferedReader:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {_name(path)}") from None
    except IsADirectoryError:
        raise ArtifactError(f"{_name(path)} is a folder; expected a file") from None


def _sniff(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(9)
    if start[:2] == b"PK":
        with contextlib.suppress(zipfile.BadZipFile):
            names = zipfile.ZipFile(file).namelist()
            if names and all(name.endswith(".npy") for name in names):
                return "npz"
        return "zip"
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES:
        return "native"
    # Protocol 2 and later begin with the PROTO opcode; older ones end with STOP and begin with a few printable opcodes.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    file.seek(0, os.SEEK_END)
    if start[:1] in (b"(", b"]", b"}", b"c", b"l", b"d") and file.tell() > 1:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b".":
            return "pickle"
    return "unknown"


_INSTEAD = {
    "pickle": "it is a pickle: opening one runs whatever code its author put inside, so it is refused. Load it with "
    "the program that wrote it, in a place you trust, and save it again in the native format",
    "zip": "it is a zip archive (a Stable-Baselines3 model or a torch.save file?), not a file of the native format",
    "npz": "it is a NumPy .npz archive, not a file of the native format",
    "unknown": "it is not a file that imitation_lab wrote, or its beginning is lost",
}


def _layout(file: BinaryIO, path: AnyPath) -> _Layout:
    def refuse(why: str) -> ArtifactError:
        return ArtifactError(f"cannot read {_name(path)}: {why}")

    form = _sniff(file)
    if form != "native":
        raise refuse(_INSTEAD[form])
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        raise refuse(f"it is truncated: its header should take {length} bytes, the file has {size} in all")
    try:
        raw = json.loads(file.read(length))
        metadata = raw.pop("__metadata__")
        about = json.loads(metadata[_META_KEY])
        digest = metadata["sha256"]
        kind, version, meta = about["kind"], about["version"], about["meta"]
        if [type(kind), type(version), type(meta), type(digest)] != [str, int, dict, str] or version < 1:
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise refuse("its header is damaged, or it is a safetensors file that imitation_lab did not write") from None
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    spans: dict[str, tuple[int, int]] = {}
    position = 0
    for name, entry in raw.items():
        try:
            code, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        except (KeyError, TypeError, ValueError):
            raise refuse(f"the header's entry for tensor {name!r} is damaged") from None
        if code not in _DTYPES or not whole:
            raise refuse(f"tensor {name!r} declares dtype {code!r} and shape {list(shape)}, which make no sense")
        declared = np.dtype(_DTYPES[code]).itemsize * math.prod(shape)  # Python integers: no shape can overflow
        if end - begin != declared or end > size:
            raise refuse(
                f"tensor {name!r} declares shape {list(shape)}, which takes {declared} bytes, but the file has "
                f"{max(0, min(end, size) - begin)} bytes for it: it is truncated or tampered with"
            )
        if begin != position:
            raise refuse(f"its tensors overlap or leave a gap at byte {position}")
        tensors[name], spans[name], position = (code, shape), (begin, end), end
    if 8 + length + position != size:
        raise refuse(
            f"its tensors take {position} bytes, but {size - 8 - length} follow the header: truncated or tampered with"
        )
    return _Layout(Header(kind, version, meta, tensors), spans, 8 + length, digest)


def _verify(file: io.BufferedReader, layout: _Layout, data: np.ndarray | None, path: AnyPath) -> None:
    """Compares checksums; without `data` it reads piece by piece, since a map's pages stay in memory."""
    file.seek(0)
    header = file.read(layout.data_start)
    found = hashlib.sha256(header.replace(layout.digest.encode(), _NO_DIGEST.encode(), 1))
    if data is None:
        hashlib.file_digest(file, lambda: found)
    else:
        found.update(data.data)
    if found.hexdigest() != layout.digest:
        raise ArtifactError(
            f"cannot read {_name(path)}: its checksum does not match: it was changed or damaged after it was saved"
        )
