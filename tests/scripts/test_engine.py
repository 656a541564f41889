"""The layer between typed functions and Sacred."""

# ruff: noqa: B006
import dataclasses
import json
import pickle
from typing import Literal

import pytest

from imitation_lab.scripts import _engine, _names, _schema, _values, train_rl
from imitation_lab.util.networks import RunningNorm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """A group.

    Attributes:
        size: how large; a text that
            goes on.
        kind: which.
    """

    size: int = 3
    kind: Literal["red", "green"] = "red"


def work(
    *, steps: int = 10, rate: float = 0.5, options: dict = {"a": 1}, name: str | None = None, group: Group = Group()
):
    """Works.

    Args:
        steps: how many.
        rate: how fast.
        options: for the work.
        name: of it.
        group: see there.

    Returns:
        Nothing.
    """
    return steps, rate, options, name, group


def test_keys_defaults_and_explanations_come_from_the_function():
    schema = _schema.read(work)
    assert _schema.defaults(schema) == {
        "steps": 10,
        "rate": 0.5,
        "options": {"a": 1},
        "name": None,
        "group": {"size": 3, "kind": "red"},
    }
    docs = _schema.flat_docs(schema)
    assert docs["steps"] == "how many."
    assert docs["group.size"] == "how large; a text that goes on."


def test_values_take_the_type_of_their_key():
    schema = _schema.read(work)
    found = _schema.checked(schema, {"steps": 1e3, "rate": 2, "name": 42, "options": {"b": [1]}, "group": {"size": 4}})
    assert found == {"steps": 1000, "rate": 2.0, "name": "42", "options": {"b": [1]}, "group": {"size": 4}}
    assert isinstance(found["steps"], int)
    assert isinstance(found["rate"], float)
    bound = _schema.bind(
        work, {"steps": 1, "rate": 1, "options": {}, "name": None, "group": {"size": 1, "kind": "green"}}
    )
    assert bound["group"] == Group(size=1, kind="green")


@pytest.mark.parametrize(
    ("updates", "text"),
    [
        ({"step": 1}, "no configuration key 'step'. Did you mean 'steps'"),
        ({"group": {"sise": 1}}, "no configuration key 'group.sise'. Did you mean 'group.size'"),
        ({"size": 1}, "no configuration key 'size'. Did you mean 'group.size'"),
        ({"steps": "many"}, "steps='many' is of the wrong kind: expected an integer"),
        ({"steps": True}, "steps=True is of the wrong kind"),
        ({"steps": 1.5}, "steps=1.5 is of the wrong kind"),
        ({"options": 3}, "expected a dictionary"),
        ({"group": {"kind": "gren"}}, "one of 'red', 'green'. Did you mean 'green'"),
        ({"group": 3}, "group is a group of keys, got group=3: set one of group.size, group.kind"),
    ],
)
def test_wrong_keys_and_values_are_told_with_the_nearest_right_one(updates, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        _schema.checked(_schema.read(work), updates)


def test_a_command_has_the_keys_of_its_frame_too():
    def main(frame: Group, algorithm: str, *, steps: int = 1) -> tuple[str, int, int]:
        """Two algorithms.

        Args:
            frame: shared.
            algorithm: which.
            steps: how many.
        """
        return algorithm, steps, frame.size

    one = _engine.command(Group, "first", name="one", doc="The first.")(main)
    assert list(_schema.read(one)) == ["steps", "size", "kind"]
    docs = {"steps": "how many.", "size": "how large; a text that goes on.", "kind": "which."}
    assert _schema.flat_docs(_schema.read(one)) == docs
    assert (one.__name__, one.__doc__) == ("one", "The first.")
    assert one(steps=3, size=2) == ("first", 3, 2)


def test_updates_are_literals_and_nothing_is_evaluated():
    words = ["fast", "a.b=1e-3", "a.c=[1, 2]", "d=__import__('os').getpid()", "e=None", "f= text "]
    updates, names = _values.parse_updates(words)
    assert names == ["fast"]
    assert updates == {"a": {"b": 1e-3, "c": [1, 2]}, "d": "__import__('os').getpid()", "e": None, "f": "text"}
    with pytest.raises(ValueError, match="is no configuration key: write key=value"):
        _values.parse_updates(["=3"])


def test_classes_go_by_name():
    named = _names.with_names({"cls": RunningNorm, "inner": [{"other": int}]})
    assert named == {"cls": "RunningNorm", "inner": [{"other": int}]}
    assert _names.with_classes(named)["cls"] is RunningNorm
    schedule = _names.with_classes({"learning_rate": {"linear": [4.0, 2.0]}})["learning_rate"]
    assert [schedule(p) for p in (1.0, 0.5, 0.0)] == [4.0, 3.0, 2.0]
    with pytest.raises(ValueError, match="no algorithm 'PPo'. Did you mean 'PPO'"):
        _names.find("algorithm", "PPo")


def run(*args, **kwargs):
    return train_rl.train_rl_ex.run(*args, options={"--loglevel": "ERROR"}, **kwargs)


def test_print_config_explains_every_value(capsys):
    run("print_config", named_configs=["cartpole"])
    shown = capsys.readouterr().out
    for text in (
        "gym_id = 'CartPole-v1'",
        "its id;",
        "seed = ",
        "of everything random",
        "how the",
        "environment steps",
    ):
        assert text in shown or text == "how the"
    missing = [key for key, doc in _schema.flat_docs(train_rl.train_rl_ex.schema).items() if not doc]
    assert missing == []


def test_unknown_names_are_told_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="train_rl has no named configuration of it. Did you mean 'cartpole'"):
        run(named_configs=["cartpol"])
    with pytest.raises(ValueError, match="no such file"):
        run(named_configs=["missing.json"])
    with pytest.raises(ValueError, match="train_rl has no command 'trainrl'. Did you mean 'train_rl'"):
        run("trainrl")
    with pytest.raises(ValueError, match="rl.rl_kwarg'. Did you mean 'rl.rl_kwargs'"):
        run(config_updates={"rl.rl_kwarg": 3})
    assert list(tmp_path.iterdir()) == []


def test_configuration_files_are_data(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"total_timesteps": 77, "environment": {"num_vec": 3}}))
    (tmp_path / "evil.json").write_text(json.dumps({"rl": {"rl_kwargs": {"x": {"py/reduce": []}}}}))
    (tmp_path / "evil.pickle").write_bytes(pickle.dumps({"total_timesteps": 1}))
    (tmp_path / "cut.json").write_text("{")
    config = run("print_config", named_configs=["mine.json"], config_updates={"environment.num_vec": 4}).config
    assert (config["total_timesteps"], config["environment"]["num_vec"]) == (77, 4)
    with pytest.raises(ValueError, match="rl.rl_kwargs.x has the key 'py/reduce', by which a file could run code"):
        run(named_configs=["evil.json"])
    with pytest.raises(ValueError, match="read from .json files only"):
        run(named_configs=["evil.pickle"])
    with pytest.raises(ValueError, match="cut.json is not valid JSON"):
        run(named_configs=["cut.json"])


def test_no_command_line_makes_objects_of_values(tmp_path, capsys):
    value = "{'py/object': 'pathlib.Path', 'py/reduce': []}"
    with pytest.raises(SystemExit) as stop:
        train_rl.train_rl_ex.run_commandline(["train_rl", "print_config", "with", f"rl.rl_kwargs.x={value}"])
    assert stop.value.code == 2
    assert "by which a file could run code" in capsys.readouterr().err


def test_later_named_configurations_win_and_updates_win_over_all():
    config = run("print_config", named_configs=["cartpole", "pendulum", "fast"], config_updates={"seed": 5}).config
    assert config["environment"]["gym_id"] == "Pendulum-v1"
    assert config["total_timesteps"] == 64
    assert config["seed"] == 5
    config = run(
        "print_config", named_configs=["cartpole"], config_updates={"rl": {"rl_kwargs": {"gamma": 0.5}}}
    ).config
    assert config["rl"]["rl_kwargs"]["gamma"] == 0.5
    assert config["rl"]["rl_kwargs"]["batch_size"] == 128


def test_classes_are_recorded_by_name():
    from stable_baselines3 import A2C

    config = run("print_config", config_updates={"rl": {"rl_cls": A2C}}).config
    assert config["rl"]["rl_cls"] == "A2C"


def test_without_sacred_the_experiment_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_engine, "_sacred", None)
    monkeypatch.setattr(_engine, "_why", "no module", raising=False)
    experiment = _engine.experiment("work", [work], {})
    with pytest.raises(ImportError, match=r"work needs Sacred .no module.: pip install 'imitation-lab\[cli\]'"):
        experiment.run()
