"""The doors of packages: what one can see, reach and import, and what is not loaded for it."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import imitation_lab
from imitation_lab.util import doors

MODULES = [name for _, name, _ in pkgutil.walk_packages(imitation_lab.__path__, "imitation_lab.")]
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]
ROOMS = [name for name in PUBLIC if name.count(".") == 1]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_everything_is_reached_from_one_import():
    told = run(
        "import sys, imitation_lab as lab\n"
        "assert not {'torch', 'stable_baselines3', 'pandas', 'matplotlib'} & sys.modules.keys()\n"
        "print(dir(lab))\n"
        "assert not {'torch', 'stable_baselines3'} & sys.modules.keys()\n"
        "for name in dir(lab): getattr(lab, name)\n"
        "print(lab.BC.__module__, lab.algorithms.bc.BC is lab.BC, lab.data.rollout.rollout is lab.rollout)\n"
        "from imitation_lab import GAIL\n"
        "print(lab.load_demonstrations('CartPole', n=1)[0].acts.shape)\n"
    )
    for name in ("'BC'", "'GAIL'", "'load_demonstrations'", "'rollout'", "'data'", "'algorithms'"):
        assert name in told
    assert "imitation_lab.algorithms.bc.bc True True" in told
    assert "(500,)" in told


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_shows_what_it_offers_and_nothing_else(name):
    room = importlib.import_module(name)
    shown = dir(room)
    assert shown == sorted(room.__all__)
    assert shown
    for each in shown:
        assert not each.startswith("_")
        assert getattr(room, each) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_this_name'"):
        _ = room.nothing_of_this_name


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_module_says_what_it_offers(name):
    module = importlib.import_module(name)
    offered = module.__all__
    assert len(set(offered)) == len(offered)
    for each in offered:
        assert hasattr(module, each), each


def test_names_are_read_without_loading_the_module():
    assert "BC" in doors.names_of("imitation_lab.algorithms.bc")
    told = run(
        "import sys\nfrom imitation_lab.util import doors\nimport imitation_lab.rewards\n"
        "print(doors.names_of('imitation_lab.rewards.serialize'))\nassert 'torch' not in sys.modules\n"
    )
    assert "load_reward" in told
