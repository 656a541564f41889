"""`imitation-lab port`: only imports change, and each line that behaves differently is told."""

import json

import pytest

from imitation_lab.compat.port import notes, ported
from imitation_lab.scripts import console
from imitation_lab.scripts.port import port

SCRIPT = '''"""An imitation of a script: ä."""
import imitation.algorithms.bc, os
import imitation.data.rollout as rollout
from imitation.algorithms.adversarial import gail  # imitation stays here
from  imitation import data
from .imitation import other
s = "ä"; t = imitation.algorithms.bc.BC
importlib.import_module("imitation.util.logger")
print("imitation learning", "imitation", my.imitation, imitation_learning)
PPO.load("x.zip")
'''
EXPECTED = '''"""An imitation of a script: ä."""
import imitation_lab.algorithms.bc, os
import imitation_lab.data.rollout as rollout
from imitation_lab.algorithms.adversarial import gail  # imitation stays here
from  imitation_lab import data
from .imitation import other
s = "ä"; t = imitation_lab.algorithms.bc.BC
importlib.import_module("imitation_lab.util.logger")
print("imitation learning", "imitation", my.imitation, imitation_learning)
PPO.load("x.zip")
'''


def test_only_imports_and_what_they_bound_change():
    assert ported(SCRIPT) == (EXPECTED, 6)
    assert ported(EXPECTED) == (EXPECTED, 0)


def test_magics_stay():
    text = "%matplotlib inline\n!pip install imitation\nfrom imitation.algorithms import bc\n"
    assert ported(text) == (text.replace("from imitation", "from imitation_lab"), 1)


def test_lines_that_behave_differently_are_named():
    assert [(line, row.topic) for line, row in notes(SCRIPT)] == [(10, "SB3 zips")]


def test_the_command(tmp_path, capsys):
    script, notebook, broken = tmp_path / "a.py", tmp_path / "b.ipynb", tmp_path / "c.py"
    script.write_text(SCRIPT, encoding="utf-8")
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [{"text": ["from imitation"]}]}
    old = {"cells": [cell | {"source": ["%time\n", "from imitation.data import types"]}], "nbformat": 4}
    notebook.write_text(json.dumps(old, indent=1) + "\n")
    assert console.main(["port", "--dry-run", str(script)]) == 0
    assert script.read_text(encoding="utf-8") == SCRIPT
    assert console.main(["port", str(script), str(notebook)]) == 0
    assert script.read_text(encoding="utf-8") == EXPECTED
    new = {"cells": [cell | {"source": ["%time\n", "from imitation_lab.data import types"]}], "nbformat": 4}
    assert notebook.read_text() == json.dumps(new, indent=1) + "\n"
    told = capsys.readouterr().out
    assert "a.py: 6 places would change" in told
    assert "a.py: 6 places changed" in told
    assert "b.ipynb: 1 place changed" in told
    assert "a.py:10: SB3 zips: opened without unpickling" in told
    broken.write_text("def")
    assert console.main(["port", str(broken)]) == 2
    assert "c.py" in capsys.readouterr().err


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_text("[]")
    with pytest.raises(ValueError, match="this is no notebook"):
        port(str(tmp_path / "a.ipynb"))
