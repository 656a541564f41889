"""One contract, which every algorithm keeps: spaces, devices, seeds, logging, interrupts, saving and resuming.

What is particular to one algorithm is tested beside it.
"""

import contextlib
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common import logger as sb_logger

from imitation_lab.algorithms._shared import run as _run
from imitation_lab.algorithms.checkpoint import State
from imitation_lab.algorithms.saved import VERSION
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

sys.path.insert(0, str(Path(__file__).parent))
from contract_cases import ACTIONS, ALGORITHMS, OBSERVATIONS

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")],
    ),
]
# each observation with one kind of action, and each kind of action with one observation
SUPPORTED = [
    (name, obs, act)
    for name, case in ALGORITHMS.items()
    for obs, act in dict.fromkeys(
        [*((obs, case.actions[0]) for obs in case.observations), *(("box", act) for act in case.actions)]
    )
]
UNSUPPORTED = [
    *((name, "box", act) for name, case in ALGORITHMS.items() for act in sorted(ACTIONS.keys() - case.actions)),
    *(
        (name, obs, "discrete")
        for name, case in ALGORITHMS.items()
        for obs in sorted(OBSERVATIONS.keys() - case.observations)
    ),
]
REASONS = {
    "SQIL-DQN": "needs Discrete actions",
    "SQIL-SAC": r"needs continuous \(Box\) actions",
    "MCE IRL": "expected Discrete|is not tabular",
}


class Rows(sb_logger.KVWriter):
    """An output format that keeps what it is given."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append(dict(key_values))

    def close(self):
        pass


@pytest.fixture
def logged():
    return Rows()


@pytest.fixture
def log(tmp_path, logged):
    logger = lab_logger.configure(tmp_path / "log", [])
    logger.default_logger.output_formats.append(logged)
    return logger


@pytest.fixture
def build(log, tmp_path):
    def make(name, obs=None, act=None, **kwargs):
        case = ALGORITHMS[name]
        return case(OBSERVATIONS[obs or "box"], ACTIONS[act or case.actions[0]], log, tmp_path, **kwargs)

    return make


each_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@pytest.mark.parametrize(("name", "obs", "act"), SUPPORTED, ids=map("-".join, SUPPORTED))
def test_learns_and_acts_in_every_space(build, name, obs, act):
    run = build(name, obs, act)
    before = run.state()
    run.train()
    after = run.state()
    assert not th.equal(before, after)
    assert th.isfinite(after).all()
    run.obs.seed(1)
    samples = [run.obs.sample() for _ in range(3)]
    seen = {k: np.stack([s[k] for s in samples]) for k in samples[0]} if obs == "dict" else np.stack(samples)
    actions = run.act_on(seen)
    assert all(run.act.contains(action) for action in actions)


@pytest.mark.parametrize(("name", "obs", "act"), UNSUPPORTED, ids=map("-".join, UNSUPPORTED))
def test_other_spaces_are_refused_with_the_reason(build, name, obs, act):
    with pytest.raises((TypeError, ValueError), match=REASONS[name]):
        build(name, obs, act)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name != "MCE IRL"])
def test_numbers_that_do_not_begin_at_0_are_refused(build, name, monkeypatch):
    monkeypatch.setitem(OBSERVATIONS, "shifted", spaces.Discrete(3, start=1))
    with pytest.raises(ValueError, match="Shift the values so that they start at 0"):
        build(name, "shifted")


@each_algorithm
@pytest.mark.parametrize("device", DEVICES)
def test_everything_is_on_the_device(build, name, device):
    run = build(name, device=device)
    run.train()
    assert {p.device.type for module in run.modules() for p in module.parameters()} == {device}
    assert th.isfinite(run.state()).all()


@each_algorithm
def test_a_seed_decides_every_bit(build, name):
    states = []
    for seed, noise in ((3, 1), (3, 2), (4, 1)):
        th.manual_seed(noise)  # global generators must not matter
        run = build(name, seed=seed)
        run.train()
        states.append(run.state())
    assert th.equal(states[0], states[1])
    assert not th.equal(states[0], states[2])


@each_algorithm
def test_metrics_go_to_the_logger_and_nothing_is_printed(build, name, logged, capfd):
    run = build(name)
    run.train()
    assert logged.rows
    assert run.metric in set().union(*logged.rows)
    assert capfd.readouterr() == ("", "")


@each_algorithm
def test_an_interrupt_ends_training_quietly_and_leaves_it_usable(build, name):
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


@each_algorithm
def test_a_callback_ends_training_by_returning_false(build, name):
    run = build(name)
    assert run.calls(True) > 1
    assert run.calls(None) > 1
    assert run.calls(False) == 1
    before = run.state()
    assert run.calls(True) > 1  # a second training is as long as the first
    assert not th.equal(before, run.state())


@each_algorithm
def test_a_stop_button_ends_training(build, name):
    run, stop = build(name), threading.Event()
    stop.set()
    assert run.calls(True, stop=stop) == 1
    stop.clear()
    assert run.calls(True, stop=stop) > 1
    assert not run.trainer.interrupted


@each_algorithm
def test_what_takes_long_shows_its_progress(build, name, monkeypatch, capfd):
    monkeypatch.setattr(_run, "_DELAY", 0)
    run = build(name)
    run.train()
    assert capfd.readouterr().err == ""
    run.train(progress_bar=True)
    assert "100%" in capfd.readouterr().err


@each_algorithm
@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "SFC64"])
def test_what_was_saved_loads_again_and_goes_on_bit_equal(build, name, kind, tmp_path):
    generator = getattr(np.random, kind)
    other, run = build(name, seed=17), build(name, generator=generator)
    run.train()
    folder = tmp_path / "saved"
    folder.mkdir()
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


@each_algorithm
def test_what_was_saved_is_put_back_into_what_is_built_alike(build, name, tmp_path):
    run = build(name)
    run.train()
    folder = tmp_path / "saved"
    folder.mkdir()
    run.save(folder)
    file = folder / run.checkpoint
    saved = run.state()
    run.train()
    after = run.state()
    assert run.trainer.restore(file if file.suffix != ".safetensors" or name == "DAgger" else folder) is run.trainer
    assert th.equal(run.state(), saved)
    run.train()
    assert th.equal(run.state(), after)


@each_algorithm
@pytest.mark.parametrize(
    "argument", ["log_dir", "scratch_dir", "init_tensorboard", "venv", "custom_logger", "nonsense"]
)
def test_a_file_chooses_nothing_but_data(build, name, argument, tmp_path):
    run = build(name)
    folder = tmp_path / "saved"
    folder.mkdir()
    run.save(folder)
    file = folder / run.checkpoint
    state = State.read(file, VERSION)
    state.meta["arguments"] = {**state.meta["arguments"], argument: {"data": str(tmp_path / "chosen")}}
    state.write(file, VERSION)
    with pytest.raises(ArtifactError, match=f"gives '{argument}', which .* does not take from a file"):
        run.load(folder)
    assert not (tmp_path / "chosen").exists()


@each_algorithm
def test_damaged_checkpoints_are_refused(build, name, tmp_path):
    run = build(name)
    folder = tmp_path / "saved"
    folder.mkdir()
    run.save(folder)
    file = folder / run.checkpoint
    whole = State.read(file, VERSION)
    for entry in whole.meta:
        for damaged in (None, [], {}, "text", -1, {"__class__": "torch.nn.Linear"}):
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
