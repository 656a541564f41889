import contextlib
import copy
import csv
import json
import math
import pathlib
import sys
import tempfile
from types import ModuleType

import numpy as np
import pytest
import torch as th
from stable_baselines3.common import logger as sb_logger

from imitation_lab.util import logger as lib_logger


class Memory(sb_logger.KVWriter):
    def __init__(self):
        self.dumps = []

    def write(self, key_values, key_excluded, step=0):
        self.dumps.append((step, dict(key_values)))

    def close(self):
        pass


@pytest.fixture
def logger(tmp_path):
    with contextlib.closing(lib_logger.configure(tmp_path / "logs", ["csv", "json"])) as logger:
        yield logger


def read_csv(path):
    with open(path, newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_record_and_dump(logger):
    logger.record("a", 1)
    logger.record("a", 2)
    logger.record_mean("m", 1.0)
    logger.record_mean("m", 4.0)
    logger.dump(step=1)
    logger.record("b", 3)
    logger.dump(step=2)
    folder = pathlib.Path(logger.get_dir())
    assert read_csv(folder / "progress.csv") == [{"a": 2, "m": 2.5}, {"b": 3}]
    lines = (folder / "progress.json").read_text().splitlines()
    assert json.loads(lines[0]) == {"a": 2, "m": 2.5}


def test_accumulate_means(logger):
    logger.record("outside", 5)
    with logger.accumulate_means("gen"):
        assert logger.current_logger is not None
        for step, value in enumerate([1.0, 2.0, 6.0]):
            logger.record("x", value)
            logger.record_mean("y", value)
            logger.record_mean("y", value + 1)
            logger.dump(step)
    assert logger.current_logger is None
    with logger.accumulate_means("disc"):
        logger.record("x", 10.0)
        logger.dump(0)
    logger.dump(1)
    logger.record("outside", 6)
    logger.dump(2)  # the means start afresh

    folder = pathlib.Path(logger.get_dir())
    assert read_csv(folder / "raw" / "gen" / "progress.csv") == [
        {"raw/gen/x": 1.0, "raw/gen/y": 1.5},
        {"raw/gen/x": 2.0, "raw/gen/y": 2.5},
        {"raw/gen/x": 6.0, "raw/gen/y": 6.5},
    ]
    assert read_csv(folder / "raw" / "disc" / "progress.csv") == [{"raw/disc/x": 10.0}]
    assert read_csv(folder / "progress.csv") == [
        {"mean/gen/x": 3.0, "mean/gen/y": 3.5, "mean/disc/x": 10.0, "outside": 5.0},
        {"outside": 6.0},
    ]


def test_means_cover_several_visits(logger):
    memory = Memory()
    logger.default_logger.output_formats.append(memory)
    for value in (1.0, 2.0):
        with logger.accumulate_means("gen"):
            logger.record("x", value)
            logger.dump()
    logger.dump(7)
    assert memory.dumps == [(7, {"mean/gen/x": 1.5})]


def test_prefixes(logger):
    memory = Memory()
    logger.output_formats.append(memory)
    assert logger.get_accumulate_prefixes() == ""
    with logger.add_accumulate_prefix("a"), logger.add_accumulate_prefix("b"):
        assert logger.get_accumulate_prefixes() == "a/b/"
        with logger.accumulate_means("c"), logger.add_key_prefix("k"):
            logger.record("x", 1.0)
            with logger.add_key_prefix("l"):
                logger.record_mean("x", 2.0)
            logger.dump()
    with logger.add_key_prefix("k"):
        logger.record("plain", 3.0)
    logger.record("bare", 4.0)
    logger.dump()
    folder = pathlib.Path(logger.get_dir())
    assert read_csv(folder / "raw/a/b/c/progress.csv") == [{"raw/a/b/c/k/x": 1.0, "raw/a/b/c/k/l/x": 2.0}]
    assert memory.dumps == [(0, {"mean/a/b/c/k/x": 1.0, "mean/a/b/c/k/l/x": 2.0, "k/plain": 3.0, "bare": 4.0})]


def test_nesting_is_refused_and_the_context_survives(logger):
    with logger.accumulate_means("gen"):
        text = r"accumulate_means\('x'\) cannot start inside accumulate_means \('gen'\)"
        with pytest.raises(RuntimeError, match=text), logger.accumulate_means("x"):
            pass
        text = r"add_accumulate_prefix\('x'\) cannot start inside"
        with pytest.raises(RuntimeError, match=text), logger.add_accumulate_prefix("x"):
            pass
        assert logger.current_logger is not None
    with pytest.raises(KeyError), logger.accumulate_means("gen"):
        raise KeyError
    assert logger.current_logger is None
    with logger.accumulate_means("gen"):
        pass


def test_tensors_are_converted_only_at_dump(logger, monkeypatch):
    memory = Memory()
    logger.output_formats.append(memory)
    conversions = []
    for name in ("item", "tolist", "__float__", "numpy"):
        original = getattr(th.Tensor, name)

        def spy(self, *args, _original=original, **kwargs):
            conversions.append(1)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(th.Tensor, name, spy)
    weight = th.ones((), requires_grad=True)
    logger.record("loss", weight * 2)
    logger.record("one", th.tensor([[4.0]]))
    logger.record("int", th.tensor(3))
    logger.record("flag", th.tensor(True))
    for value in (1.0, 2.0, 6.0):
        logger.record_mean("mean", weight * value)
    assert not conversions
    logger.dump(3)
    assert len(conversions) == 2  # one for the values, one for the means
    assert memory.dumps == [(3, {"loss": 2.0, "one": 4.0, "int": 3, "flag": 1, "mean": 3.0})]
    assert all(isinstance(value, int | float) for value in memory.dumps[0][1].values())


def test_tensor_edge_cases(logger):
    memory = Memory()
    logger.output_formats.append(memory)
    changing = th.tensor(1.0)
    logger.record("snapshot", changing)
    logger.record_mean("snapshot_mean", changing)
    changing.fill_(100.0)
    logger.record_mean("mixed", 1.0)
    logger.record_mean("mixed", th.tensor(2.0))
    logger.record_mean("mixed", 6)
    logger.record_mean("mixed", th.tensor(7, dtype=th.int64))
    logger.record("later_number", th.tensor(1.0))
    logger.record("later_number", 2.0)
    logger.record("later_tensor", 1.0)
    logger.record("later_tensor", th.tensor(2.0))
    logger.record_mean("later_record", 1.0)
    logger.record("later_record", 5.0)
    logger.record_mean("nothing", None)
    logger.record("nan", th.tensor(float("nan")))
    big = 2.0**24
    for value in (big, 1.0, 1.0):
        logger.record_mean("float64", th.tensor(value, dtype=th.float32))
    with logger.accumulate_means("gen"):
        logger.record("x", th.tensor(2.0))
        logger.dump()
        logger.record("x", th.tensor(3.0))
        logger.dump()
    logger.dump()
    ((_, values),) = memory.dumps
    assert math.isnan(values.pop("nan"))
    assert values == {
        "snapshot": 1.0,
        "snapshot_mean": 1.0,
        "mixed": 4.0,
        "later_number": 2.0,
        "later_tensor": 2.0,
        "later_record": 5.0,
        "nothing": None,
        "float64": (big + 2) / 3,
        "mean/gen/x": 2.5,
    }
    with pytest.raises(ValueError, match=r"The mean of 'v' needs numbers or one-element tensors, got shape \(3,\)"):
        logger.record_mean("v", th.ones(3))


def test_what_is_no_number_has_no_mean(logger):
    memory = Memory()
    logger.output_formats.append(memory)
    with logger.accumulate_means("gen"):
        for number in (np.True_, np.True_, np.float32(1), np.int64(2), 5):
            logger.record("text", "abc")
            logger.record("number", number)
            logger.dump()
    logger.dump()
    assert memory.dumps == [(0, {"mean/gen/number": 2.0})]


def test_exclude(logger):
    logger.record("shown", th.tensor(1.0), exclude=("json",))
    logger.record_mean("hidden", 1.0, exclude="csv")
    logger.dump()
    folder = pathlib.Path(logger.get_dir())
    assert read_csv(folder / "progress.csv") == [{"shown": 1.0}]
    assert json.loads((folder / "progress.json").read_text()) == {"hidden": 1.0}


def test_stdout_log_and_levels(tmp_path, capsys):
    logger = lib_logger.configure(tmp_path)
    assert logger.get_dir() == str(tmp_path)
    with logger.accumulate_means("gen"):
        logger.record("loss", th.tensor(0.25))
        logger.dump()
    logger.log("a line")
    logger.log("debug line", level=sb_logger.DEBUG)
    logger.dump()
    out = capsys.readouterr().out
    assert "0.25" in out
    assert "raw/" in out
    assert "mean/" in out
    assert "a line" in out
    assert "debug line" not in out
    logger.set_level(sb_logger.DISABLED)
    for name in ("gen", "new"):
        with logger.accumulate_means(name):
            logger.record("loss", 1.0)
            logger.dump()
    logger.record("x", 1.0)
    logger.dump()
    assert capsys.readouterr().out == ""
    logger.close()
    assert "0.25" in (tmp_path / "log.txt").read_text()
    assert "0.25" in (tmp_path / "raw" / "gen" / "log.txt").read_text()


def test_long_keys_are_told_apart(tmp_path):
    logger = lib_logger.configure(tmp_path, ["log"])
    logger.record("a" * 40 + "1", 1)
    logger.record("a" * 40 + "2", 2)
    logger.dump()
    logger.close()


def test_configure_makes_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logger = lib_logger.configure(format_strs=[])
    folder = pathlib.Path(logger.get_dir())
    assert folder.parent == tmp_path
    assert folder.name.startswith("imitation_lab-")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_unknown_formats_name_the_known_ones(tmp_path):
    text = "Unknown log format 'cvs'; expected one of stdout, log, csv, json, tensorboard, wandb"
    with pytest.raises(ValueError, match=text):
        lib_logger.configure(tmp_path / "new", ["csv", "cvs"])
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=text):
        lib_logger.make_output_format("cvs", tmp_path)
    with pytest.raises(ValueError, match=text):
        lib_logger.HierarchicalLogger(sb_logger.Logger(None, []), ["cvs"])


def test_make_output_format_suffix(tmp_path):
    for fmt in ("csv", "json", "log"):
        lib_logger.make_output_format(fmt, tmp_path / "new", log_suffix="_a").close()
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["log_a.txt", "progress_a.csv", "progress_a.json"]


def test_tensorboard(tmp_path):
    logger = lib_logger.configure(tmp_path, ["tensorboard"])
    with logger.accumulate_means("gen"):
        logger.record("x", th.tensor(1.5))
        logger.dump(4)
    logger.dump(5)
    logger.close()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder, key, step in ((tmp_path, "mean/gen/x", 5), (tmp_path / "raw" / "gen", "raw/gen/x", 4)):
        events = EventAccumulator(str(folder))
        events.Reload()
        (event,) = events.Scalars(key)
        assert (event.step, event.value) == (step, 1.5)


def test_wandb_gets_the_default_logger_only(tmp_path, monkeypatch):
    calls = []
    fake = ModuleType("wandb")
    fake.run = object()
    fake.log = lambda values, step: calls.append((values, step))
    fake.finish = lambda: calls.append("finish")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    logger = lib_logger.configure(tmp_path, ["wandb"])
    with logger.accumulate_means("gen"):
        logger.record("x", 1.0)
        logger.dump(0)
    logger.record("hidden", 1.0, exclude="wandb")
    logger.dump(9)
    logger.close()
    assert calls == [({"mean/gen/x": 1.0}, 9), "finish"]


def test_wandb_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r'pip install "imitation-lab\[wandb\]"'):
        lib_logger.make_output_format("wandb", tmp_path)


def test_the_public_maps_show_at_once_what_is_recorded(logger):
    logger.record("a", th.tensor(2.0), exclude="stdout")
    assert logger.name_to_value == {"a": 2.0} == logger.default_logger.name_to_value
    assert isinstance(dict(logger.name_to_value)["a"], float)
    assert logger.name_to_excluded["a"] == ("stdout",)
    with logger.accumulate_means("foo"):
        for value in (1.0, th.tensor(3.0)):
            logger.record("A", value)
            assert logger.name_to_value["raw/foo/A"] == float(value)
        assert list(logger.name_to_value) == ["raw/foo/A"]
        assert logger.default_logger.name_to_value["mean/foo/A"] == 2.0
        assert logger.default_logger.name_to_count["mean/foo/A"] == 2
    assert logger.name_to_value["mean/foo/A"] == 2.0
    assert logger.name_to_count["mean/foo/A"] == 2
    copied = copy.deepcopy(dict(logger.name_to_value))
    logger.dump(1)
    assert copied == {"a": 2.0, "mean/foo/A": 2.0}
    assert not {**logger.name_to_value, **logger.name_to_count, **logger.name_to_excluded}


def test_means_that_sb3_began_go_on(logger):
    logger.default_logger.record_mean("a", 1.0)
    logger.record_mean("a", th.tensor(2.0))
    logger.default_logger.record_mean("a", 3.0)
    logger.record_mean("a", 4.0)
    assert (logger.name_to_value["a"], logger.name_to_count["a"]) == (pytest.approx(2.5), 4)
    logger.record("a", 7)
    logger.record_mean("a", 1.0)
    assert logger.name_to_value.get("a") == 1.0
    values = copy.deepcopy(logger.default_logger.name_to_value)
    assert values == {"a": 1.0}
    assert "b" not in values


def test_all_ways_to_look_at_the_map_and_to_change_it(logger):
    def fresh():
        logger.name_to_value.clear()
        logger.record("a", th.tensor(2.0))
        return logger.name_to_value

    looks = (
        lambda m: m["a"], lambda m: m.get("a"), lambda m: dict(m)["a"], lambda m: {**m}["a"], lambda m: (m | {})["a"],
        lambda m: ({} | m)["a"], lambda m: m.copy()["a"], lambda m: next(iter(m.values())), lambda m: m.pop("a"),
        lambda m: m.popitem()[1], lambda m: m.setdefault("a", 5.0), lambda m: json.loads(json.dumps(m))["a"],
        lambda m: len(m) + 1, lambda m: 2 if "a" in m else 0, lambda m: 0 if m != {"a": 2.0} else 2,
        lambda m: 2 if [*reversed(m)] == ["a"] else 0, lambda m: 2 if repr(m).endswith("{'a': 2.0})") else 0,
    )  # fmt: skip
    for number, look in enumerate(looks):
        assert look(fresh()) == 2.0, number
    values = fresh()
    values.update(a=7.0)
    assert values["a"] == 7.0
    logger.record("a", th.tensor(2.0))
    values |= {"a": 8.0}
    assert values["a"] == 8.0
    logger.record("a", th.tensor(2.0))
    del values["a"]
    assert not values


def test_two_hierarchies_on_one_logger_lose_nothing():
    seen = Memory()
    default = sb_logger.Logger(None, [seen])
    first, second = (lib_logger.HierarchicalLogger(default, []) for _ in range(2))
    first.record("a", th.tensor(1.0))
    second.record("b", th.tensor(2.0))
    first.record_mean("c", 1.0)
    second.record_mean("c", th.tensor(3.0))
    assert dict(first.name_to_value) == dict(second.name_to_value) == {"a": 1.0, "b": 2.0, "c": 2.0}
    first.dump(1)
    assert not second.name_to_value
