"""The one table of presets: data that holds together."""

import pytest

from imitation_lab.algorithms import presets
from imitation_lab.algorithms.presets.names import with_classes, with_names

FILES = [(algorithm, name) for algorithm in presets.algorithms() for name in presets.available(algorithm)]


def at(values, path):
    for key in path.split("."):
        values = values[key]
    return values


@pytest.mark.parametrize(("algorithm", "name"), FILES, ids=lambda value: value)
def test_a_file_holds_what_it_may(algorithm, name):
    found = presets.read(algorithm, name)
    assert found.keys() <= {"doc", "env_name", "expert", "n_demonstrations", "notes", "values", "result", "compare"}
    assert found.keys() & {"values", "compare"}
    for path in found.get("notes", {}):
        at(found if path.startswith("compare.") else found["values"], path)
    again = with_names(with_classes(found.get("values", {}).get("policy", {})))
    assert again == found.get("values", {}).get("policy", {})


def test_every_reader_gets_its_own():
    presets.read("gail", "cartpole")["values"].clear()
    assert presets.read("gail", "cartpole")["values"]["total_timesteps"] == 180_000


def test_unknown_presets_say_what_there_is():
    with pytest.raises(ValueError, match=r"no preset 'chess' of sqil; there are cartpole"):
        presets.read("sqil", "chess")
