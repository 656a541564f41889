"""The native format: what goes in comes out, and nothing else is let in."""

import json
import os
import pickle
import re

import numpy as np
import pytest
import safetensors.numpy
import torch as th
from torch import nn

from imitation_lab.util import artifacts

ARRAYS = {
    "a": np.arange(6, dtype=np.float64).reshape(2, 3),
    "b": np.array([True, False, True]),
    "c": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "h": np.arange(3, dtype=np.float16),
}
META = {"text": "γ", "list": [1, 2.5, None], "nested": {"x": True}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.safetensors"
    artifacts.write(path, kind="test", version=1, meta=META, tensors=ARRAYS)
    return path


def read(path, **kwargs):
    return artifacts.read(path, kind="test", version=1, **kwargs)


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip_is_exact(path, mmap):
    artifact = read(path, mmap=mmap)
    assert artifact.meta == META
    assert artifact.tensors.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        found = artifact.tensors[name]
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
        assert found.flags.writeable is not mmap
        assert found.flags.aligned


def test_any_safetensors_reader_opens_it(path):
    found = safetensors.numpy.load_file(path)
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(found[name], expected)


def test_a_sequence_is_streamed_as_its_concatenation(tmp_path):
    parts = [np.full((n, 2), n, np.float32) for n in (3, 0, 5)]
    artifacts.write(tmp_path / "x", kind="test", version=1, meta={}, tensors={"x": parts})
    np.testing.assert_array_equal(read(tmp_path / "x").tensors["x"], np.concatenate(parts))


def test_unlike_parts_cannot_be_streamed(tmp_path):
    with pytest.raises(ValueError, match=r"float32 of shape \(3, 3\) cannot follow float32 of shape \(3, 2\)"):
        artifacts.write(
            tmp_path / "x",
            kind="test",
            version=1,
            meta={},
            tensors={"x": [np.zeros((3, 2), np.float32), np.zeros((3, 3), np.float32)]},
        )
    assert os.listdir(tmp_path) == []


def test_header_tells_shapes_and_builds_nothing(path):
    header = artifacts.read_header(path)
    assert (header.kind, header.version, header.meta) == ("test", 1, META)
    assert header.tensors["a"] == ("F64", (2, 3))


def test_an_interrupted_write_leaves_the_old_file(path):
    old = path.read_bytes()

    class Bomb(list):
        visits = 0

        def __iter__(self):
            self.visits += 1
            if self.visits > 1:  # the first visit measures, the second writes
                raise KeyboardInterrupt
            return super().__iter__()

    parts = Bomb([np.zeros(3), np.zeros(3)])
    with pytest.raises(KeyboardInterrupt):
        artifacts.write(path, kind="test", version=1, meta={}, tensors={"x": parts})
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


def test_every_truncation_is_refused(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(artifacts.ArtifactError, match="truncated|not a file that|its beginning is lost|damaged"):
            read(path)


def test_every_changed_byte_is_refused(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(artifacts.ArtifactError, match=re.escape(str(path))):
            read(path)


def test_trailing_bytes_are_refused(path):
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(artifacts.ArtifactError, match="truncated or tampered"):
        read(path)


def test_a_huge_declared_tensor_takes_no_memory(path):
    header = {
        "__metadata__": {
            "imitation_lab": json.dumps({"kind": "test", "version": 1, "meta": {}}),
            "sha256": "0" * 64,
        },
        "x": {"dtype": "F32", "shape": [25_000_000_000], "data_offsets": [0, 100_000_000_000]},
    }
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(16))
    with pytest.raises(artifacts.ArtifactError, match="takes 100000000000 bytes, but the file has"):
        read(path)


@pytest.mark.parametrize(
    ("shape", "offsets", "text"),
    [
        ([-1], [0, 8], "make no sense"),
        ([2.0], [0, 8], "make no sense"),
        ([2], [4, 8], "takes 8 bytes"),
        (3, [0], "damaged"),
    ],
)
def test_absurd_entries_are_refused(path, shape, offsets, text):
    about = {"imitation_lab": json.dumps({"kind": "test", "version": 1, "meta": {}}), "sha256": "0" * 64}
    raw = json.dumps({"__metadata__": about, "x": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8))
    with pytest.raises(artifacts.ArtifactError, match=text):
        read(path)


def test_deeply_nested_json_is_refused(path):
    raw = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(artifacts.ArtifactError, match="header is damaged"):
        read(path)


def test_kind_and_version_are_checked(path):
    with pytest.raises(artifacts.ArtifactError, match="holds a 'test', expected a 'policy'"):
        artifacts.read(path, kind="policy", version=1)
    artifacts.write(path, kind="test", version=3, meta={}, tensors={})
    with pytest.raises(artifacts.ArtifactError, match="version 3 .* reads up to version 1. Upgrade"):
        read(path)


class _Touch:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    evil, mark = tmp_path / "evil", tmp_path / "mark"
    evil.write_bytes(pickle.dumps(_Touch(mark), protocol=protocol))
    assert artifacts.sniff(evil) == "pickle"
    with pytest.raises(artifacts.ArtifactError, match="opening one runs whatever code"):
        read(evil)
    assert not mark.exists()


def test_other_formats_are_named(tmp_path, path):
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    th.save({"a": th.zeros(2)}, tmp_path / "x.pt")
    (tmp_path / "x.txt").write_text("hello there")
    forms = {name: artifacts.sniff(tmp_path / name) for name in ("x.npz", "x.pt", "x.txt", "folder")}
    assert forms == {"x.npz": "npz", "x.pt": "zip", "x.txt": "unknown", "folder": "directory"}
    assert artifacts.sniff(path) == "native"
    with pytest.raises(artifacts.ArtifactError, match="zip archive"):
        read(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none")


def test_unsupported_values_are_refused_before_writing(tmp_path):
    with pytest.raises(TypeError, match="bfloat16"):
        artifacts.write(tmp_path / "x", kind="t", version=1, meta={}, tensors={"w": th.zeros(2, dtype=th.bfloat16)})
    with pytest.raises(TypeError, match="complex128"):
        artifacts.write(tmp_path / "x", kind="t", version=1, meta={}, tensors={"w": np.zeros(2, complex)})
    assert os.listdir(tmp_path) == []


def test_state_round_trip_and_its_refusals():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    arrays = artifacts.state_arrays(net, prefix="net.")
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    artifacts.load_state_dict(other, arrays, prefix="net.")
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert th.equal(a, b)
    with pytest.raises(
        artifacts.ArtifactError, match=r"'net.0.weight' has shape \(2, 3\) in the file, expected \(5, 3\)"
    ):
        artifacts.load_state_dict(nn.Sequential(nn.Linear(3, 5)), arrays, prefix="net.")
    with pytest.raises(artifacts.ArtifactError, match="lacks 'net.0.weight'"):
        artifacts.load_state_dict(net, {}, prefix="net.")
    with pytest.raises(artifacts.ArtifactError, match="holds 'net.1.bias', which this Sequential does not have"):
        artifacts.load_state_dict(nn.Sequential(nn.Linear(3, 2)), arrays, prefix="net.")
    arrays["net.0.bias"] = arrays["net.0.bias"].astype(np.float64)
    with pytest.raises(artifacts.ArtifactError, match="'net.0.bias' is float64 in the file, expected float32"):
        artifacts.load_state_dict(net, arrays, prefix="net.")
