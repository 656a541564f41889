"""One contract, which every algorithm keeps: spaces, devices, seeds, logging, interrupts, saving and resuming.

What is particular to one algorithm is tested beside it.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common import logger as sb_logger

from imitation_lab.util import logger as lab_logger

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
def test_an_interrupt_leaves_it_usable(build, name):
    run = build(name)
    run.train()
    with pytest.raises(KeyboardInterrupt) if run.interrupt_is_raised else contextlib.nullcontext():
        run.train_interrupted()
    middle = run.state()
    assert th.isfinite(middle).all()
    run.train()
    assert th.isfinite(run.state()).all()
    assert not th.equal(middle, run.state())


@each_algorithm
def test_what_was_saved_loads_again_and_goes_on(build, name, tmp_path):
    other, run = build(name, seed=17), build(name)
    run.train()
    folder = tmp_path / "saved"
    folder.mkdir()
    run.save(folder)
    saved = run.state()
    assert not th.equal(other.state(), saved)
    if not run.resumes:
        other.load(folder)
        assert th.equal(other.state(), saved)
        return
    run.train()
    other.load(folder)
    assert th.equal(other.state(), saved)
    other.train()
    assert th.equal(other.state(), run.state())
    assert not th.equal(run.state(), saved)
