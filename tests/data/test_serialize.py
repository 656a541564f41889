"""Trajectories to files and back, and every way in which a file can be wrong."""

import dataclasses
import io
import json
import os
import pathlib
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch as th
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imitation_lab.data import rollout, serialize, types
from imitation_lab.util import artifacts

GOLDEN = pathlib.Path(__file__).parent / "golden" / "trajectories_v1.safetensors"
DTYPES = st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int8, np.uint8, np.uint16, np.bool_])
INFO_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=4,
)


def bits(array: np.ndarray) -> tuple:
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


def assert_bit_equal(found: types.Trajectory, expected: types.Trajectory) -> None:
    assert type(found) is type(expected)
    assert found.terminal is expected.terminal
    assert (found.infos is None) == (expected.infos is None)
    if expected.infos is not None:
        assert repr(list(found.infos)) == repr(list(expected.infos))  # NaN is not equal to itself
    for name in ("obs", "acts", "rews"):
        a, b = getattr(found, name, None), getattr(expected, name, None)
        if isinstance(b, types.DictObs):
            assert {k: bits(v) for k, v in a.items()} == {k: bits(v) for k, v in b.items()}
        elif b is not None:
            assert bits(a) == bits(b)


@st.composite
def trajectory_lists(draw) -> list[types.Trajectory]:
    def array(n, shape, dtype):
        return draw(hnp.arrays(dtype, (n, *shape)))

    obs_keys = draw(st.none() | st.just(("a", "b/c")))
    obs_spec = {
        key: (draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)), draw(DTYPES)) for key in obs_keys or [0]
    }
    act_spec = draw(hnp.array_shapes(min_dims=0, max_dims=1)), draw(DTYPES)
    rew_dtype = draw(st.none() | st.sampled_from([np.float32, np.float64]))
    trajectories = []
    for n in draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)):
        obs = {key: array(n + 1, *spec) for key, spec in obs_spec.items()}
        infos = draw(st.none() | st.lists(st.dictionaries(st.text(), INFO_VALUES, max_size=2), min_size=n, max_size=n))
        common = (types.DictObs(obs) if obs_keys else obs[0], array(n, *act_spec), infos, draw(st.booleans()))
        if rew_dtype is None:
            trajectories.append(types.Trajectory(*common))
        else:
            trajectories.append(types.TrajectoryWithRew(*common, array(n, (), rew_dtype)))
    return trajectories


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(trajectory_lists())
def test_round_trip_is_bit_equal(tmp_path, trajectories):
    path = tmp_path / "t.safetensors"
    serialize.save(path, trajectories)
    loaded = serialize.load(path)
    assert len(loaded) == len(trajectories)
    for found, expected in zip(loaded, trajectories, strict=True):
        assert_bit_equal(found, expected)
    flat, expected_flat = (rollout.flatten_trajectories(t) for t in (loaded, trajectories))
    for name in ("obs", "next_obs", "acts", "dones"):
        for a, b in zip(*(_leaves(getattr(x, name)) for x in (flat, expected_flat)), strict=True):
            assert bits(a) == bits(b)
    assert repr(flat.infos.tolist()) == repr(expected_flat.infos.tolist())
    again = tmp_path / "again.safetensors"
    serialize.save(again, loaded)
    assert again.read_bytes() == path.read_bytes()


def _leaves(obs) -> list[np.ndarray]:
    return [obs[key] for key in sorted(obs.keys())] if isinstance(obs, types.DictObs) else [obs]


def golden_trajectories() -> list[types.TrajectoryWithRew]:
    """Changing this needs a new format version and a new golden file."""
    first = types.TrajectoryWithRew(
        obs=np.array([[0, 0.5], [1, 1.5], [2, 2.5]], np.float32),
        acts=np.array([1, 0]),
        infos=[
            {"TimeLimit.truncated": False},
            {"terminal_observation": np.array([2, 2.5], np.float32), "t": (1, None)},
        ],
        terminal=True,
        rews=np.array([0.25, -1.0]),
    )
    second = types.TrajectoryWithRew(
        np.array([[3, 3.5], [4, np.inf]], np.float32), np.array([2]), None, False, np.array([1e-300])
    )
    return [first, second]


def make(n: int = 3) -> list[types.TrajectoryWithRew]:
    rng = np.random.default_rng(0)
    return [
        types.TrajectoryWithRew(
            rng.normal(size=(5, 3)).astype(np.float32),
            rng.integers(2, size=4),
            [{"i": i} for i in range(4)],
            i % 2 == 0,
            rng.normal(size=4),
        )
        for i in range(n)
    ]


@pytest.fixture
def saved(tmp_path) -> pathlib.Path:
    path = tmp_path / "saved.safetensors"
    serialize.save(path, make())
    return path


def test_golden_file_of_version_1(tmp_path):
    loaded = serialize.load(GOLDEN)
    for found, expected in zip(loaded, golden_trajectories(), strict=True):
        assert_bit_equal(found, expected)
    serialize.save(tmp_path / "t", golden_trajectories())
    assert (tmp_path / "t").read_bytes() == GOLDEN.read_bytes()


def test_loaded_sequence(saved):
    loaded, whole = serialize.load(saved), make()
    assert loaded == whole
    assert loaded[-1] == whole[-1]
    assert list(loaded[1:]) == whole[1:]
    assert list(loaded[::-1]) == whole[::-1]
    assert len(loaded[:2][:1]) == 1
    assert repr(loaded) == f"<3 trajectories of {str(saved)!r}>"
    with pytest.raises(IndexError):
        loaded[3]
    assert loaded[0].infos[-1] == {"i": 3}
    assert loaded[0].infos[1:3] == [{"i": 1}, {"i": 2}]


def test_loading_maps_the_file(saved):
    loaded = serialize.load(saved)
    assert np.shares_memory(loaded[0].obs, loaded[0].obs)  # two views, made apart
    assert not loaded[0].obs.flags.writeable
    assert not loaded[0].obs.flags.owndata


@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(None, None, -1)], ids=str)
@pytest.mark.parametrize("infos", [False, True])
def test_flattening_a_loaded_sequence(tmp_path, part, infos):
    whole = make() if infos else [dataclasses.replace(t, infos=None) for t in make()]
    serialize.save(tmp_path / "t", whole)
    loaded = serialize.load(tmp_path / "t")
    flat = rollout.flatten_trajectories_with_rew(loaded[part])
    assert flat == rollout.flatten_trajectories_with_rew(whole[part])
    flat.obs[:] = 0  # a copy


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("new/folder/t", b"bytes", pathlib.Path("relative")):
        serialize.save(path, make())
        assert serialize.load(path) == make()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bytes", "new", "relative"]


def test_saving_over_the_file_one_loads_from(saved):
    loaded = serialize.load(saved)
    serialize.save(saved, loaded[1:])
    assert list(serialize.load(saved)) == make()[1:]
    assert list(loaded) == make()


def test_mixed_dtypes_are_widened(tmp_path):
    first, second = make(2)
    second = dataclasses.replace(second, obs=second.obs.astype(np.float64))
    serialize.save(tmp_path / "t", [first, second])
    loaded = serialize.load(tmp_path / "t")
    assert loaded[0].obs.dtype == np.float64
    assert list(loaded) == [first, second]


@pytest.mark.parametrize("other", [np.uint64, np.float64, np.float32])
def test_mixed_dtypes_never_round(tmp_path, other):
    small, large = (types.Trajectory(np.array([n, n + 1]), np.zeros(1), None, True) for n in (3, 2**60))
    beside = types.Trajectory(np.array([5, 6], other), np.zeros(1), None, True)
    serialize.save(tmp_path / "t", [beside, small])
    assert list(serialize.load(tmp_path / "t")) == [beside, small]
    with pytest.raises(ValueError, match=r"Trajectory 1: obs holds 1152921504606846977, which float64, .* would round"):
        serialize.save(tmp_path / "t", [beside, large])


def test_unwrapped_rollout_info_is_data(tmp_path):
    (traj,) = make(1)
    traj.infos[-1]["rollout"] = {"obs": traj.obs, "rews": traj.rews}
    serialize.save(tmp_path / "t", [traj])
    assert serialize.load(tmp_path / "t")[0] == traj


BARE = types.Trajectory(np.zeros((2, 3)), np.zeros(1), None, True)


def replaced(**change):
    return [*make(2), dataclasses.replace(make(1)[0], **change)]


@pytest.mark.parametrize(
    ("trajectories", "error", "text"),
    [
        ([], ValueError, "no trajectories, expected at least one"),
        (replaced(infos=[{}, {"x": st}, {}, {}]), TypeError, r"Trajectory 2, step 1: info\['x'\] is a .*exclude_infos"),
        (replaced(infos=[{}, {3: 1}, {}, {}]), TypeError, "Trajectory 2, step 1: info has the key 3"),
        (replaced(obs=np.zeros((5, 4), np.float32)), ValueError, r"Trajectory 2: obs has shape \(4,\) per step"),
        (replaced(obs=np.full((5, 3), "a")), TypeError, "Trajectory 2: obs has dtype <U1"),
        (replaced(obs=types.DictObs({"a": np.zeros(5)})), ValueError, r"observations \['a'\], expected None"),
        ([*make(1), BARE], ValueError, "Trajectory 1 has no rewards"),
        ([BARE, *make(1)], ValueError, "Trajectory 1 has rewards"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_leaves_the_old_file(saved, trajectories, error, text):
    with pytest.raises(error, match=text):
        serialize.save(saved, trajectories)
    assert serialize.load(saved) == make()
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_rewards_missing(tmp_path):
    serialize.save(tmp_path / "t", [types.Trajectory(t.obs, t.acts, None, True) for t in make()])
    assert type(serialize.load(tmp_path / "t")[0]) is types.Trajectory
    with pytest.raises(ValueError, match="Trajectory 0 in .* has no rewards"):
        serialize.load_with_rewards(tmp_path / "t")
    with pytest.raises(ValueError, match="have no rewards"):
        rollout.flatten_trajectories_with_rew(serialize.load(tmp_path / "t"))


def test_rewards_present(saved):
    assert serialize.load_with_rewards(saved) == make()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        serialize.load(tmp_path / "nowhere")


def test_truncated_anywhere(saved):
    raw = saved.read_bytes()
    for end in [*range(0, len(raw), 37), len(raw) - 1]:
        saved.write_bytes(raw[:end])
        with pytest.raises(artifacts.ArtifactError):
            serialize.load(saved)


def test_tampered_anywhere(saved):
    raw = bytearray(saved.read_bytes())
    for at in range(9, len(raw), 41):
        raw[at] ^= 1
        saved.write_bytes(raw)
        with pytest.raises(artifacts.ArtifactError):
            serialize.load(saved)
        raw[at] ^= 1


def test_the_checksum_is_compared_once_and_after_each_change(saved, monkeypatch):
    compared = []
    verify = artifacts._verify
    monkeypatch.setattr(artifacts, "_verify", lambda *args: compared.append(1) or verify(*args))
    for _ in range(2):  # just written: not trusted yet
        assert serialize.load(saved) == make()
    assert len(compared) == 2
    now = time.time_ns()
    monkeypatch.setattr(serialize.time, "time_ns", lambda: now + 10**10)
    for _ in range(3):
        assert serialize.load(saved) == make()
    assert len(compared) == 3
    raw = bytearray(saved.read_bytes())
    raw[-1] ^= 1
    saved.write_bytes(raw)
    os.utime(saved, ns=(now, now))
    with pytest.raises(artifacts.ArtifactError, match="checksum"):
        serialize.load(saved)
    with pytest.raises(artifacts.ArtifactError, match="checksum"):
        serialize.load(saved)
    assert len(compared) == 5


def good_tensors() -> dict[str, np.ndarray]:
    return {
        "obs": np.zeros((5, 1)), "acts": np.zeros(3), "rews": np.zeros(3), "lengths": np.array([2, 1]),
        "terminal": np.ones(2, bool),
        "infos": np.frombuffer(b"[{},{}]\nnull\n", np.uint8), "infos_end": np.array([8, 13]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"obs": np.zeros((4, 1))}, r"obs has shape \(4, 1\), expected 5 rows"),
        ({"acts": np.zeros(2)}, "acts has shape .*expected 3 rows"),
        ({"acts": np.zeros(())}, "acts has shape .*expected 3 rows"),
        ({"rews": np.zeros((3, 1))}, "rews must be one floating-point number per step"),
        ({"lengths": np.array([3, 0])}, "lengths must be a list of whole numbers of at least 1"),
        ({"lengths": np.array([2**62, 2**62])}, "expected"),
        ({"lengths": np.array([1.0, 2.0])}, "whole numbers"),
        ({"terminal": np.ones(3, bool)}, "terminal has shape"),
        ({"infos_end": np.array([8, 14])}, "infos_end must rise to"),
        ({"infos_end": np.array([20, 13])}, "infos_end must rise to"),
        ({"infos": np.zeros(13)}, "infos must be bytes"),
        ({"obs/a": np.zeros(5)}, "it holds the tensors"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, change, text):
    path = tmp_path / "t"
    artifacts.write(path, kind="trajectories", version=1, meta={}, tensors=good_tensors())
    assert [len(t) for t in serialize.load(path)] == [2, 1]
    artifacts.write(path, kind="trajectories", version=1, meta={}, tensors=good_tensors() | change)
    with pytest.raises(artifacts.ArtifactError, match=text):
        serialize.load(path)


@pytest.mark.parametrize("line", [b"[{},{}\n", b"[{}]  \n", b'{"a":1}', b'[{"__class__":"os.system"},{}]\n'])
def test_damaged_infos_are_refused_when_looked_at(tmp_path, line):
    tensors = good_tensors() | {
        "infos": np.frombuffer(line + b"null\n", np.uint8),
        "infos_end": np.array([len(line), len(line) + 5]),
    }
    artifacts.write(tmp_path / "t", kind="trajectories", version=1, meta={}, tensors=tensors)
    traj = serialize.load(tmp_path / "t")[0]
    with pytest.raises(artifacts.ArtifactError, match=r"infos of trajectory 0 in .* damaged|'os.system', which is not"):
        traj.infos[0]


def test_other_kinds_and_newer_versions(tmp_path):
    path = tmp_path / "t"
    artifacts.write(path, kind="policy", version=1, meta={}, tensors=good_tensors())
    with pytest.raises(artifacts.ArtifactError, match="holds a 'policy', expected a 'trajectories'"):
        serialize.load(path)
    artifacts.write(path, kind="trajectories", version=2, meta={}, tensors=good_tensors())
    with pytest.raises(artifacts.ArtifactError, match="version 2"):
        serialize.load(path)


def write_npz(path, **change) -> None:
    """The field's older format."""
    trajs = make()
    data = {
        "obs": np.concatenate([t.obs for t in trajs]),
        "acts": np.concatenate([t.acts for t in trajs]),
        "rews": np.concatenate([t.rews for t in trajs]),
        "terminal": np.array([t.terminal for t in trajs]),
        "indices": np.cumsum([len(t) for t in trajs[:-1]]),
    }
    np.savez_compressed(path, **{k: v for k, v in (data | change).items() if v is not None})


def without_infos() -> list[types.TrajectoryWithRew]:
    return [dataclasses.replace(t, infos=None) for t in make()]


def test_npz(tmp_path):
    write_npz(tmp_path / "old.npz")
    assert serialize.load_with_rewards(tmp_path / "old.npz") == without_infos()
    write_npz(tmp_path / "old.npz", rews=None)
    with pytest.raises(ValueError, match="has no rewards"):
        serialize.load_with_rewards(tmp_path / "old.npz")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a file ran code",))


def test_npz_with_pickled_infos_loads_without_them(tmp_path):
    write_npz(tmp_path / "old.npz", infos=np.array([Bomb()] * 12, dtype=object))
    with pytest.warns(UserWarning, match="infos as a pickle, which could run code: they are left out"):
        loaded = serialize.load(tmp_path / "old.npz")
    assert loaded == without_infos()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"terminal": None}, "has no terminal, expected the arrays"),
        ({"acts": np.array([Bomb()] * 12, dtype=object)}, "Cannot read .*allow_pickle=False"),
        ({"indices": np.array([4, 3])}, "lengths must be"),
        ({"indices": np.array([4])}, r"terminal has shape \(3,\), expected 2 rows"),
    ],
)
def test_bad_npz(tmp_path, change, text):
    write_npz(tmp_path / "old.npz", **change)
    with pytest.raises(artifacts.ArtifactError, match=text):
        serialize.load(tmp_path / "old.npz")


def test_npz_that_declares_more_than_it_holds(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("obs.npy", header.getvalue() + bytes(80))
    with pytest.raises(artifacts.ArtifactError, match=r"obs.npy .*declares shape \(1125899906842624,\)"):
        serialize.load(tmp_path / "bomb.npz")


def test_npz_that_holds_more_than_it_declares_takes_no_memory_for_it(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("obs.npy", header.getvalue() + bytes(1 << 26))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(artifacts.ArtifactError, match=r"obs.npy declares shape \(2,\) of float64, but holds more"):
            serialize.load(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_truncated_npz(tmp_path):
    path = tmp_path / "old.npz"
    write_npz(path)
    raw = path.read_bytes()
    for end in range(0, len(raw), 101):
        path.write_bytes(raw[:end])
        with pytest.raises(artifacts.ArtifactError):
            serialize.load(path)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_refused(tmp_path, protocol):
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps([{"obs": [0.0]}, Bomb()], protocol))
    with pytest.raises(artifacts.ArtifactError, match=r"runs whatever code.*save it from there as \.npz"):
        serialize.load(path)


def test_folders(tmp_path):
    with pytest.raises(artifacts.ArtifactError, match="is a folder, expected a file"):
        serialize.load(tmp_path)


def test_header_with_absurd_sizes(saved):
    raw = saved.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + n])
    header["obs"]["shape"] = [1 << 60, 1 << 60]
    text = json.dumps(header).encode()
    saved.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])
    with pytest.raises(artifacts.ArtifactError, match="obs"):
        serialize.load(saved)


def test_tensors_of_loaded_trajectories_make_no_noise(saved):
    """PyTorch warns about arrays it may not write to, and warnings are errors here."""
    assert th.as_tensor(rollout.flatten_trajectories(serialize.load(saved)).obs).shape == (12, 3)
