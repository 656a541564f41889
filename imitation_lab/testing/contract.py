"""The contract that every algorithm keeps: spaces, devices, seeds, logging, interrupts, stopping, saving and resuming.

For algorithms of installed packages (see `algorithms.plugins`), which train by their preset `fast`:

    pytest --pyargs imitation_lab.testing.contract

It needs the package `pytest`, which the `dev` extra holds. A subclass of `Contract` in a module of tests asks it of
other cases.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import functools
import inspect
import itertools
import operator
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from imitation_lab.algorithms import base, plugins
from imitation_lab.algorithms.checkpoint import State
from imitation_lab.algorithms.saved import VERSION
from imitation_lab.data import rollout, types
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

__all__ = [
    "OBSERVATIONS", "ACTIONS", "HORIZON", "QUIET", "RandomEnv", "make_venv", "demonstrations", "interrupt", "Case",
    "installed", "Contract",
]  # fmt: skip

OBSERVATIONS: dict[str, spaces.Space] = {
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(3),
    "image_hwc": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "image_chw": spaces.Box(0, 255, (3, 36, 36), np.uint8),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32), "b": spaces.Discrete(3)}),
}
ACTIONS: dict[str, spaces.Space] = {
    "box": spaces.Box(-2, 2, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(2),
}
HORIZON = 8
QUIET = {"progress_bar": False}


class RandomEnv(gym.Env):
    """Random observations for `HORIZON` steps. `interrupt_in` counts steps of all of them down to an interrupt."""

    interrupt_in: ClassVar[int | None] = None

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space = copy.deepcopy(observation_space)
        self.action_space = copy.deepcopy(action_space)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        """Begins an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """The action's first number is the reward."""
        if RandomEnv.interrupt_in is not None:
            RandomEnv.interrupt_in -= 1
            if RandomEnv.interrupt_in == 0:
                raise KeyboardInterrupt
        self._t += 1
        reward = float(np.asarray(action).flat[0])
        return self.observation_space.sample(), reward, False, self._t >= HORIZON, {}


def make_venv(obs: spaces.Space, act: spaces.Space, seed: int = 0, n_envs: int = 2) -> DummyVecEnv:
    """Environments of these spaces."""
    venv = DummyVecEnv([lambda: RandomEnv(obs, act)] * n_envs)
    venv.seed(seed)
    return venv


def demonstrations(obs: spaces.Space, act: spaces.Space) -> Sequence[types.Trajectory]:
    """Six episodes of random actions."""
    venv = make_venv(obs, act, seed=99)
    venv.action_space.seed(0)
    policy = RandomPolicy(venv.observation_space, venv.action_space)
    return rollout.rollout(policy, venv, rollout.make_min_episodes(6), np.random.default_rng(0), unwrap=False)


def interrupt(*args: Any) -> NoReturn:
    """As Ctrl-C, from a callback."""
    raise KeyboardInterrupt


class Case(abc.ABC):
    """What the contract asks of an algorithm: an adapter to one.

    Args:
        obs: observation space.
        act: action space.
        log: where metrics go.
        folder: of the run's own files.
        seed: of everything.
        device: of all networks.
        generator: kind of random generator that `rng` is.
    """

    trainer: Any
    actions: tuple[str, ...] = tuple(ACTIONS)
    observations: tuple[str, ...] = tuple(OBSERVATIONS)
    refusal = ""  # a pattern: why other spaces are refused
    shifted: str | None = "Shift the values so that they start at 0"  # a pattern: of discrete ones that do not
    on_cuda = True
    callback = "callback"  # the argument of `train` that is called now and then, and may end it
    checkpoint = "checkpoint.safetensors"
    restored_from = ""  # in the folder that was saved to
    metric = ""  # one of those that are logged

    def __init__(
        self,
        obs: spaces.Space,
        act: spaces.Space,
        log: lab_logger.HierarchicalLogger,
        folder: pathlib.Path,
        seed: int = 0,
        device: str = "cpu",
        generator: Callable[[int], np.random.BitGenerator] = np.random.PCG64,
    ) -> None:
        self.obs, self.act, self.log, self.folder, self.seed, self.device = obs, act, log, folder, seed, device
        self.rng = np.random.Generator(generator(seed))
        self.build()

    @classmethod
    def pairs(cls) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Kinds of observation and action that are learned from, and those that are refused."""
        first = cls.actions[0]
        supported = dict.fromkeys([*((obs, first) for obs in cls.observations), *(("box", a) for a in cls.actions)])
        refused = [
            *(("box", act) for act in sorted(ACTIONS.keys() - cls.actions)),
            *((obs, first) for obs in sorted(OBSERVATIONS.keys() - cls.observations)),
        ]
        return list(supported), refused

    @abc.abstractmethod
    def build(self) -> None:
        """Makes the `trainer`."""

    @abc.abstractmethod
    def train(self, **kwargs: Any) -> None:
        """A little, going on from where it is; `callback` is called at least twice."""

    def train_interrupted(self) -> None:
        """A training that is interrupted, by default by the callback."""
        self.train(**{self.callback: interrupt})

    def calls(self, answer: bool | None, **kwargs: Any) -> int:
        """How often `callback` is called in a training in which it gives this answer."""
        callback = mock.Mock(return_value=answer)
        self.train(**{self.callback: callback}, **kwargs)
        return callback.call_count

    def modules(self) -> list[nn.Module]:
        """All that is trained."""
        return [self.trainer.policy]

    def save(self, folder: pathlib.Path) -> None:
        """Saves the run."""
        self.trainer.save(folder)

    def load(self, folder: pathlib.Path) -> None:
        """Becomes what was saved."""
        venv = make_venv(self.obs, self.act, 5)
        self.trainer = type(self.trainer).load(folder, venv, custom_logger=self.log, device=self.device)

    def state(self) -> th.Tensor:
        """All numbers that are trained."""
        return th.cat([p.detach().flatten().cpu().double() for m in self.modules() for p in m.state_dict().values()])

    def act_on(self, obs: Any) -> Any:
        """Actions on a batch of observations."""
        return self.trainer.policy.predict(obs, deterministic=True)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setup(plugins.Setup):
    generator: np.random.Generator

    @property
    def rng(self) -> np.random.Generator:
        return self.generator


class _Plugin(Case):
    algorithm: ClassVar[plugins.Algorithm]
    refusal = r"(?i)obs|act|space"
    shifted = refusal
    on_cuda = False  # where it trains is the author's choice

    @classmethod
    @functools.cache
    def pairs(cls) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        supported, refused = [], []
        with tempfile.TemporaryDirectory() as folder:
            log = lab_logger.configure(folder, [])
            for obs, act in itertools.product(OBSERVATIONS, ACTIONS):
                try:
                    cls(OBSERVATIONS[obs], ACTIONS[act], log, pathlib.Path(folder))
                except (TypeError, ValueError):
                    refused.append((obs, act))
                else:
                    supported.append((obs, act))
        return supported, refused

    def build(self) -> None:
        self.setup = _Setup(
            make_env=lambda: RandomEnv(self.obs, self.act),
            make_venv=lambda n_envs: make_venv(self.obs, self.act, self.seed, n_envs or 2),
            load_expert=lambda: RandomPolicy(self.obs, self.act, np.random.default_rng(0)),
            demonstrations=demonstrations(self.obs, self.act),
            seed=self.seed,
            logger=self.log,
            folder=self.folder,
            generator=self.rng,
        )
        for_make, self.settings = self.algorithm.split(self.algorithm.presets.get("fast", {}))
        self.trainer = self.algorithm.make(self.setup, **for_make)
        names = inspect.signature(self.trainer.train).parameters
        self.callback = next((name for name in names if name == "callback" or name.startswith("on_")), "callback")

    def train(self, **kwargs: Any) -> None:
        own = self.trainer.train
        self.trainer.train = lambda *args, **given: own(*args, **{**given, **QUIET, **kwargs})
        try:
            for _ in self.algorithm.train(self.trainer, self.setup, **self.settings) or ():
                pass
        finally:
            del self.trainer.train

    def modules(self) -> list[nn.Module]:
        parts = [operator.attrgetter(path)(self.trainer) for path in getattr(self.trainer, "_state", ())]
        found = [module for part in parts for module in (part, getattr(part, "policy", None))]
        return [module for module in found if isinstance(module, nn.Module)] or super().modules()


@functools.cache
def installed() -> dict[str, type[Case]]:
    """A case for each algorithm of installed packages, by its name; those that cannot be loaded are an error."""
    names = plugins.available()
    return {name: type(f"{name}_case", (_Plugin,), {"algorithm": plugins.load(name)}) for name in names}


Build = Callable[..., Case]


class Contract:
    """The checks, for pytest, of each of `cases`."""

    @classmethod
    def cases(cls) -> Mapping[str, type[Case]]:
        """What is asked to keep the contract, by name."""
        return installed()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Asks each check of each case, kind of space, device."""
        cases = self.cases()
        for i, argument in enumerate(("supported", "refused")):
            if argument in metafunc.fixturenames:
                rows = [(name, *pair) for name, case in cases.items() for pair in case.pairs()[i]]
                metafunc.parametrize(argument, rows, ids=map("-".join, rows))
        if "counted" in metafunc.fixturenames:  # observations from 0
            metafunc.parametrize("counted", [name for name, case in cases.items() if case.shifted])
        if "device" in metafunc.fixturenames:
            skip = pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
            names = [name for name, case in cases.items() if case.on_cuda]  # without any, the mark may be unknown
            on_cuda = [pytest.param(name, "cuda", marks=(pytest.mark.cuda, skip)) for name in names]
            metafunc.parametrize(("name", "device"), [*((name, "cpu") for name in cases), *on_cuda])
        elif "name" in metafunc.fixturenames:
            metafunc.parametrize("name", cases)

    @pytest.fixture
    def log(self, tmp_path: pathlib.Path) -> Iterator[lab_logger.HierarchicalLogger]:
        logger = lab_logger.configure(tmp_path / "log", ["json"])
        yield logger
        logger.close()

    @pytest.fixture
    def folder(self, tmp_path: pathlib.Path) -> pathlib.Path:
        """Where runs are saved."""
        (tmp_path / "saved").mkdir()
        return tmp_path / "saved"

    @pytest.fixture
    def build(self, log: lab_logger.HierarchicalLogger, tmp_path: pathlib.Path) -> Build:
        """Makes a case, by default of the first spaces that it supports."""
        cases = self.cases()

        def make(name: str, obs: str = "", act: str = "", **kwargs: Any) -> Case:
            obs, act = (obs, act) if obs else cases[name].pairs()[0][0]
            return cases[name](OBSERVATIONS[obs], ACTIONS[act], log, tmp_path, **kwargs)

        return make

    def test_learns_and_acts_in_every_space(self, build: Build, supported: tuple[str, str, str]) -> None:
        run = build(*supported)
        before = run.state()
        run.train()
        after = run.state()
        assert not th.equal(before, after)
        assert th.isfinite(after).all()
        seen = batch_space(run.obs, 3)
        seen.seed(1)
        assert all(run.act.contains(action) for action in run.act_on(seen.sample()))

    def test_other_spaces_are_refused_with_the_reason(self, build: Build, refused: tuple[str, str, str]) -> None:
        with pytest.raises((TypeError, ValueError), match=self.cases()[refused[0]].refusal):
            build(*refused)

    def test_numbers_that_do_not_begin_at_0_are_refused(
        self, build: Build, counted: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = self.cases()[counted]
        monkeypatch.setitem(OBSERVATIONS, "shifted", spaces.Discrete(3, start=1))
        with pytest.raises(ValueError, match=case.shifted):
            build(counted, "shifted", case.pairs()[0][0][1])

    def test_everything_is_on_the_device(self, build: Build, name: str, device: str) -> None:
        run = build(name, device=device)
        run.train()
        assert {p.device.type for module in run.modules() for p in module.parameters()} == {device}
        assert th.isfinite(run.state()).all()

    def test_a_seed_decides_every_bit(self, build: Build, name: str) -> None:
        states = []
        for seed, noise in ((3, 1), (3, 2), (4, 1)):
            th.manual_seed(noise)  # global generators must not matter
            run = build(name, seed=seed)
            run.train()
            states.append(run.state())
        assert th.equal(states[0], states[1])
        assert not th.equal(states[0], states[2])

    def test_metrics_go_to_the_logger_and_nothing_is_printed(
        self, build: Build, name: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        run = build(name)
        run.train()
        assert f'"{run.metric}' in (run.folder / "log" / "progress.json").read_text()
        assert capfd.readouterr() == ("", "")

    def test_an_interrupt_ends_training_quietly_and_leaves_it_usable(self, build: Build, name: str) -> None:
        run = build(name)
        run.train()
        assert not run.trainer.interrupted
        run.train_interrupted()
        assert run.trainer.interrupted
        middle = run.state()
        assert th.isfinite(middle).all()
        run.train()
        assert not run.trainer.interrupted
        assert th.isfinite(run.state()).all()
        assert not th.equal(middle, run.state())

    def test_a_callback_ends_training_by_returning_false(self, build: Build, name: str) -> None:
        run = build(name)
        assert run.calls(True) > 1
        assert run.calls(None) > 1
        assert run.calls(False) == 1
        before = run.state()
        assert run.calls(True) > 1  # a second training is as long as the first
        assert not th.equal(before, run.state())

    def test_a_stop_button_ends_training(self, build: Build, name: str) -> None:
        run, stop = build(name), threading.Event()
        stop.set()
        assert run.calls(True, stop=stop) == 1
        stop.clear()
        assert run.calls(True, stop=stop) > 1
        assert not run.trainer.interrupted

    def test_what_takes_long_shows_its_progress(
        self, build: Build, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(base.Run, "delay", 0)
        run = build(name)
        run.train()
        assert capfd.readouterr().err == ""
        run.train(progress_bar=True)
        assert "100%" in capfd.readouterr().err

    @pytest.mark.parametrize("kind", ["PCG64", "MT19937", "SFC64"])
    def test_what_was_saved_loads_again_and_goes_on_bit_equal(
        self, build: Build, name: str, kind: str, folder: pathlib.Path
    ) -> None:
        generator = getattr(np.random, kind)
        other, run = build(name, seed=17), build(name, generator=generator)
        run.train()
        run.save(folder)
        saved = run.state()
        assert not th.equal(other.state(), saved)
        run.train()
        other.rng = np.random.Generator(generator(5))
        other.load(folder)
        assert th.equal(other.state(), saved)
        other.train()
        assert th.equal(other.state(), run.state())
        assert not th.equal(run.state(), saved)

    def test_what_was_saved_is_put_back_into_what_is_built_alike(
        self, build: Build, name: str, folder: pathlib.Path
    ) -> None:
        run = build(name)
        run.train()
        run.save(folder)
        saved = run.state()
        run.train()
        after = run.state()
        assert run.trainer.restore(folder / run.restored_from) is run.trainer
        assert th.equal(run.state(), saved)
        run.train()
        assert th.equal(run.state(), after)

    @pytest.mark.parametrize(
        "argument", ["log_dir", "scratch_dir", "init_tensorboard", "venv", "custom_logger", "nonsense"]
    )
    def test_a_file_chooses_nothing_but_data(
        self, build: Build, name: str, argument: str, folder: pathlib.Path
    ) -> None:
        run = build(name)
        run.save(folder)
        file = folder / run.checkpoint
        state = State.read(file, VERSION)
        state.meta["arguments"] = {**state.meta["arguments"], argument: {"data": str(folder / "chosen")}}
        state.write(file, VERSION)
        with pytest.raises(ArtifactError, match=f"gives '{argument}', which .* does not take from a file"):
            run.load(folder)
        assert not (folder / "chosen").exists()

    def test_damaged_checkpoints_are_refused(self, build: Build, name: str, folder: pathlib.Path) -> None:
        run = build(name)
        run.save(folder)
        file = folder / run.checkpoint
        whole = State.read(file, VERSION)
        damages: tuple[Any, ...] = (None, [], {}, "text", -1, {"__class__": "torch.nn.Linear"})
        for entry in whole.meta:
            for damaged in damages:
                if damaged == whole.meta[entry] or (damaged is None and entry in ("plan", "horizon")):
                    continue
                State({**whole.meta, entry: damaged}, whole.tensors).write(file, VERSION)
                with contextlib.suppress(ValueError):  # or is of no importance; but nothing else is raised
                    run.load(folder)
        for tensor in list(whole.tensors)[:: max(1, len(whole.tensors) // 8)]:
            kept = {key: value for key, value in whole.tensors.items() if key != tensor}
            State(whole.meta, kept).write(file, VERSION)
            with pytest.raises(ArtifactError):
                run.load(folder)


class TestInstalled(Contract):
    """What `pytest --pyargs imitation_lab.testing.contract` collects."""
