"""The page of the command line leaves out no experiment, command, key or named configuration."""

import importlib
import pathlib
import re
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "_ext"))
        yield importlib.import_module("command_line")
    sys.modules.pop("command_line", None)


def test_every_experiment_is_there_with_all_that_it_has(generator):
    text = generator.page()
    scripts = pathlib.Path(importlib.import_module("imitation_lab.scripts").__file__).parent
    modules = {p.stem for p in scripts.glob("*.py") if "_engine.script(" in p.read_text(encoding="utf-8")}
    assert set(generator.experiments()) == modules
    for name in sorted(modules):
        module = importlib.import_module(f"imitation_lab.scripts.{name}")
        (experiment,) = (own for key, own in vars(module).items() if key.endswith("_ex"))
        assert {f.__name__ for f in generator.experiments()[name][1]} == set(experiment.functions)
        for word in [*experiment.schema, *experiment.named_configs]:
            assert f"`{word}`" in text, f"{name}: {word}"


def test_every_command_of_the_console_is_on_the_page():
    from imitation_lab.scripts import console

    text = (DOCS / "command_line.md").read_text(encoding="utf-8")
    for name in re.findall(r"^  imitation-lab (\w+)", console._DESCRIPTION, flags=re.M):
        assert re.search(rf"(imitation-lab |, `){name}\b", text), name
