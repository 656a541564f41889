"""`import imitation` by the alias: the same objects, from scripts and modules, off unless asked for."""

import subprocess
import sys


def run(*arguments, code=0, cwd=None):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, done.stderr
    return done.stdout.strip(), done.stderr


def test_both_names_give_the_same_objects():
    out, _ = run("-c", """
import imitation_lab.compat
import imitation.algorithms.bc as old
import imitation.data.types
from imitation.algorithms import bc, dagger
from imitation.policies.serialize import load_policy
import imitation_lab
from imitation_lab.algorithms import bc as new
from imitation_lab.data.types import Trajectory
assert old is bc is new and old.BC is new.BC
assert imitation.data.types.Trajectory is Trajectory
assert imitation is imitation_lab and imitation.__spec__.name == "imitation_lab"
assert new.__spec__.name == new.__name__ == "imitation_lab.algorithms.bc"
print("same")
""")  # fmt: skip
    assert out == "same"


def test_what_does_not_exist_is_an_import_error():
    code = "import imitation_lab.compat, importlib\nimportlib.import_module('imitation.nonsense')"
    assert "No module named 'imitation.nonsense'" in run("-c", code, code=1)[1]


def test_off_unless_asked_for_and_off_again():
    run("-c", """
import sys
from imitation_lab import *
import imitation_lab.scripts.port
assert "BC" in dir() and "compat" not in dir()
assert not any(type(finder).__module__ == "imitation_lab.compat.alias" for finder in sys.meta_path)
from imitation_lab import compat
import imitation.data.types
compat.alias.install()
assert sum(type(finder).__module__ == "imitation_lab.compat.alias" for finder in sys.meta_path) == 1
compat.alias.remove()
assert "imitation.data.types" not in sys.modules and "imitation_lab.data.types" in sys.modules
""")  # fmt: skip


def test_a_package_of_that_name_that_is_loaded_is_not_replaced(tmp_path):
    (tmp_path / "imitation.py").write_text("")
    assert (
        "import imitation_lab.compat first"
        in run("-c", "import imitation, imitation_lab.compat", code=1, cwd=tmp_path)[1]
    )
    assert (
        run("-c", "import imitation_lab.compat, imitation; print(imitation.__name__)", cwd=tmp_path)[0]
        == "imitation_lab"
    )


SCRIPT = """
import sys
import helper
import numpy as np
from imitation.algorithms import bc
from imitation.data import rollout
from imitation.data.wrappers import RolloutInfoWrapper
from imitation.policies.serialize import load_policy
from imitation.util.util import make_vec_env

rng = np.random.default_rng(0)
venv = make_vec_env("CartPole-v1", rng=rng, n_envs=2, post_wrappers=[lambda env, _: RolloutInfoWrapper(env)])
expert = load_policy("random", venv)
rollouts = rollout.rollout(expert, venv, rollout.make_sample_until(min_timesteps=None, min_episodes=4), rng=rng)
trainer = bc.BC(
    observation_space=venv.observation_space,
    action_space=venv.action_space,
    demonstrations=rollout.flatten_trajectories(rollouts),
    rng=rng,
)
trainer.train(n_epochs=1, progress_bar=False)
assert __name__ == "__main__" and helper.HERE
print("trained", type(trainer).__module__, sys.argv[1:])
"""


def test_an_unmodified_script_runs(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("HERE = True")
    out, _ = run("-m", "imitation_lab.compat", str(tmp_path / "script.py"), "--seed", "1")
    assert out.splitlines()[-1] == "trained imitation_lab.algorithms.bc.bc ['--seed', '1']"


def test_an_experiment_runs_as_a_module():
    out, _ = run("-m", "imitation_lab.compat", "-m", "imitation.scripts.train_imitation", "bc", "print_config")
    assert "n_epochs" in out
    assert "usage" in run("-m", "imitation_lab.compat", "--help")[0]
    run("-m", "imitation_lab.compat", code=2)
