"""All algorithms on one task, in runs as short as can be."""

import json

import gymnasium as gym
import numpy as np
import pytest

from imitation_lab.scripts import _tasks, algorithms, compare

TINY = {
    "BC": {"n_batches": 2},
    "DAgger": {"n_batches": 2},
    "MCE IRL": {"iterations": 2},
    "SQIL": {"steps": 64, "dqn": {"learning_starts": 16}},
    "Preferences": {"comparisons": 8},
}
SMALL = {"seeds": [0], "n_demonstrations": 2, "n_episodes": 4, "progress_bar": False, "settings": TINY}
TIMES = ("cpu_s", "wall_s")


def without_times(rows):
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def row(**changes):
    given = {"task": "t", "algorithm": "A", "seed": 0, "n_demonstrations": 1, "look": 1, "labels": 3, "env_steps": 0}
    return {**given, "return": 1.0, "score": 0.5, "cpu_s": 1.0, "wall_s": 2.0, **changes}


def test_every_algorithm_and_what_it_used():
    rows = compare.compare("GridWorld", budget=0.01, **SMALL)
    used = {row["algorithm"]: (row["labels"], row["env_steps"]) for row in rows}
    assert list(used) == list(compare.ALGORITHMS)
    assert used["BC"] == used["MCE IRL"] == (60, 0)  # two demonstrations of 30 steps
    assert used["DAgger"] == (60, 60)
    assert used["GAIL"] == used["AIRL"] == (60, 480)  # one round of PPO: 16 environments, 30 steps
    assert used["SQIL"] == (60, 16)  # of at least one step in each environment
    assert used["Preferences"] == (8, 8 * 480)  # in eight rounds
    assert np.isfinite([row["score"] for row in rows]).all()


def test_log_densities_are_standardised_for_the_learner():
    venv = algorithms._Standardised(_tasks.grid_world().make_venv(0, 2))
    paid = iter(np.array([[-40.0, -50.0], [-30.0, -40.0]]))
    venv.venv.step_wait = lambda: (np.zeros(2), next(paid), np.zeros(2, dtype=bool), [{}, {}])
    np.testing.assert_allclose(venv.step_wait()[1], [1, -1], rtol=1e-3)
    # all four so far: mean -40, variance 50
    np.testing.assert_allclose(venv.step_wait()[1], np.array([10, 0]) / 50**0.5, atol=1e-3)
    venv.close()


def test_seeds_make_the_rows():
    few = {**SMALL, "settings": {"BC": {"n_batches": 100}, "DAgger": {"n_batches": 50}}}
    first, again, other = (
        without_times(compare.compare("GridWorld", ["BC", "DAgger"], **{**few, "seeds": [seed]})) for seed in (0, 0, 1)
    )
    assert first == again
    assert [row["return"] for row in other] != [row["return"] for row in first]


def test_looks_and_numbers_of_demonstrations():
    rows = compare.compare("GridWorld", ["SQIL"], **{**SMALL, "n_demonstrations": [1, 2]}, n_looks=2)
    seen = [(row["n_demonstrations"], row["look"], row["labels"], row["env_steps"]) for row in rows]
    assert seen == [(1, 1, 30, 32), (1, 2, 30, 64), (2, 1, 60, 32), (2, 2, 60, 64)]


def test_fewer_demonstrations_are_the_first_of_more():
    task = _tasks.grid_world()
    few, many = task.demonstrations(1, 3), task.demonstrations(3, 3)
    assert len(many) == 3
    assert np.array_equal(few[0].obs, many[0].obs)
    assert not np.array_equal(many[0].obs, many[1].obs)


def test_the_expert_walks_a_corridor():
    env = _tasks.grid_worlds.GridWorld(["S..G"], noise=0.0)
    best = _tasks.greedy_policy(env)
    right = _tasks.grid_worlds.ACTIONS.index("right")
    assert best[:3].tolist() == [right] * 3


def test_a_task_of_ones_own():
    task = compare.Task("mine", lambda: gym.make("imitation_lab/CartPole-v0"), lambda obs: (obs[:, 2] > 0).astype(int))
    rows = compare.compare(task, ["BC"], **SMALL)
    assert rows[0]["task"] == "mine"
    assert rows[0]["labels"] == 1000


def test_summary_by_hand():
    rows = [row(seed=i, score=s, look=look) for i, s in enumerate([0.0, 0.4, 0.6, 1.0]) for look in (1, 2)]
    rows += [row(seed=i, score=9.0, look=1, algorithm="B") for i in range(2)]
    a, b = compare.summary(rows)
    assert a["score"] == pytest.approx(0.5)  # the middle two
    assert 0 <= a["from"] < 0.5 < a["to"] <= 1
    assert (a["runs"], a["labels"]) == (4, 3)
    assert (b["from"], b["score"], b["to"]) == (9, 9, 9)
    assert compare.scores(rows)["A"].tolist() == [0.0, 0.4, 0.6, 1.0]


def test_references_are_the_ends_of_the_scale():
    low, high = compare.references("GridWorld")
    assert 0 <= low < 1
    assert 16 < high < 19


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"task": "Chess"}, "no task 'Chess', expected one of GridWorld, CartPole"),
        ({"algorithms": ["XYZ"]}, "no algorithm 'XYZ', expected some of BC"),
        ({"task": "CartPole", "algorithms": "MCE IRL"}, "cannot learn CartPole: its states cannot be listed"),
        ({"n_demonstrations": 0}, "n_demonstrations must be at least 1, got 0"),
        ({"n_looks": 0}, "n_looks must be at least 1"),
        ({"budget": 0}, "budget must be positive"),
        ({"seeds": []}, "nothing to compare: seeds"),
        ({"n_demonstrations": []}, "nothing to compare"),
        ({"algorithms": []}, "nothing to compare"),
    ],
)
def test_mistakes(arguments, text):
    with pytest.raises(ValueError, match=text):
        compare.compare(**arguments, progress_bar=False)


def test_settings_that_do_not_exist_or_are_missing():
    for given, text in (
        ({"n_batch": 3}, "bc has no setting 'n_batch'; it has batch_size"),
        ({}, "needs the setting 'n_b"),
    ):
        task = compare.Task(
            "t", compare.TASKS["GridWorld"]().make_env, lambda obs: np.zeros(len(obs), int), {"BC": given}
        )
        with pytest.raises(ValueError, match=text):
            compare.compare(task, "BC", seeds=[0], progress_bar=False)


def test_the_old_place_is_the_same_module():
    from imitation_lab.testing import compare as old

    assert old is compare


def test_a_task_with_continuous_actions():
    (row,) = compare.compare("Pendulum", ["BC"], **SMALL)
    assert row["labels"] == 400
    with pytest.raises(ValueError, match="SQIL cannot learn Pendulum: no settings are known yet"):
        compare.compare("Pendulum", "SQIL")


def test_the_command_makes_what_its_file_lacks(tmp_path, capsys):
    file = tmp_path / "rows.json"
    given = ["--algorithms", "BC", "--demonstrations", "1", "2", "--output", str(file), "--seeds"]
    first = compare.main([*given, "0"])
    both = compare.main([*given, "0", "1"])
    assert both[:2] == first  # times too: they were not made again
    assert [(row["seed"], row["n_demonstrations"]) for row in both] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert compare.load(file) == both
    assert without_times(both[2:]) == without_times(
        compare.compare("GridWorld", ["BC"], seeds=[1], n_demonstrations=[1, 2], progress_bar=False)
    )
    commands = json.loads(file.read_text())["commands"]
    assert [command.rpartition("--seeds ")[2] for command in commands] == ["0", "0 1"]
    assert capsys.readouterr().out.count("demonstrations 2\nBC") == 2


@pytest.mark.parametrize("text", ["[]", "", '{"commands": [], "rows": [{"task"'], ids=["other", "empty", "truncated"])
def test_a_file_of_another_kind(tmp_path, text):
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="holds no comparison: expected JSON with commands and rows"):
        compare.load(file)
    with pytest.raises(FileNotFoundError):
        compare.load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no folder .*none for --output: make it first"):
        compare.main(["--output", str(tmp_path / "none" / "rows.json")])


def test_different_things_are_no_sample():
    with pytest.raises(ValueError, match=r"the n_demonstrations 1, 2: choose .*row\[\"n_demonstrations\"\] == 1"):
        compare.summary([row(), row(n_demonstrations=2)])


def test_a_closer_look_at_each_policy():
    seen = []
    rows = compare.compare("GridWorld", budget=0.01, **SMALL, on_look=lambda row, look: seen.append((row, look)))
    assert [row for row, _ in seen] == rows
    states, actions, done = np.array([0, 1]), np.array([2, 3]), np.zeros(2, dtype=bool)
    without = []
    for row, look in seen:
        assert look.policy.predict(states)[0].shape == (2,)
        if look.reward is None:
            without.append(row["algorithm"])
        else:
            assert np.isfinite(look.reward(states, actions, states, done)).all()
    assert without == ["BC", "DAgger", "SQIL"]


def test_an_interrupt_while_writing_loses_no_run(tmp_path, monkeypatch):
    file = tmp_path / "rows.json"
    kept = compare._Kept(str(file), "command")
    kept.add([{"seed": 0}])

    def interrupted(path, text, **kwargs):
        path.write_bytes(text[:20].encode())
        raise KeyboardInterrupt

    monkeypatch.setattr(compare.pathlib.Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept.add([{"seed": 1}])
    assert compare.load(file) == [{"seed": 0}]
