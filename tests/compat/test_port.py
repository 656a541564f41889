"""`imitation-lab port`: only imports change, and each line that behaves differently is told."""

import json
import stat

import pytest

from imitation_lab.scripts import console
from imitation_lab.scripts.port import port, ported

SCRIPT = '''"""An imitation of a script: ä."""
import imitation.algorithms.bc, os
import imitation.data.rollout as rollout
from imitation.algorithms.adversarial import gail  # imitation stays here
from  imitation import data
from .imitation import other
from mine import imitation as its
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
from mine import imitation as its
s = "ä"; t = imitation_lab.algorithms.bc.BC
importlib.import_module("imitation_lab.util.logger")
print("imitation learning", "imitation", my.imitation, imitation_learning)
PPO.load("x.zip")
'''


def changed(text):
    return ported(text)[0]


def test_only_imports_and_what_they_bound_change():
    text, count, notes = ported(SCRIPT)
    assert (text, count) == (EXPECTED, 6)
    assert [(line, row.topic) for line, row in notes] == [(11, "SB3 zips")]
    assert ported(EXPECTED)[1] == 0


@pytest.mark.parametrize(
    "text",
    [
        "from mine import imitation\nimitation.x\n",
        'x = ("imi" "tation.data")\ny = "imitation"\n',
        "import imitation_learning, my.imitation\n",
    ],
)
def test_what_is_no_import_of_it_stays(text):
    assert ported(text)[:2] == (text, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "%matplotlib inline\n!pip install imitation\nimport imitation",
            "%matplotlib inline\n!pip install imitation\n{}",
        ),
        ("a = 1\n\x0c\nimport imitation\r\n", "a = 1\n\x0c\n{}\r\n"),
        ("s = '\u2028'\nimport imitation", "s = '\u2028'\n{}"),
    ],
)
def test_lines_are_counted_as_python_counts_them(old, new):
    assert changed(old) == new.format("import imitation_lab")


@pytest.mark.parametrize("quote", ["'", '"""'])
def test_names_in_formatted_text_change(quote):
    line = "imitation" if quote == "'" else "imitation\nof imitation"
    old = f"import imitation\nprint(f{quote}{line} {{imitation.__version__:>9}} {{1}}{quote}, imitation)\n"
    new = f"import imitation_lab\nprint(f{quote}{line} {{imitation_lab.__version__:>9}} {{1}}{quote}, imitation_lab)\n"
    assert changed(old) == new


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
    assert "a.py:11: SB3 zips: opened without unpickling" in told
    broken.write_text("def")
    assert console.main(["port", str(broken)]) == 2
    assert "c.py" in capsys.readouterr().err


def test_marks_modes_and_line_ends_stay(tmp_path):
    file = tmp_path / "a.py"
    file.write_bytes("\ufeff#!/usr/bin/env python\r\nimport imitation\r\n".encode())
    file.chmod(0o755)
    port(str(file))
    assert file.read_bytes() == "\ufeff#!/usr/bin/env python\r\nimport imitation_lab\r\n".encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_cells_of_other_languages_stay_and_places_are_cells(tmp_path):
    sources = ["%%bash\nfor x in imitation; do echo $x; done", "import imitation\n\nPPO.load('x')"]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    cells.insert(1, {"cell_type": "markdown", "source": "import imitation"})
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    first, second = port(str(file))
    assert first.endswith("1 place changed")
    assert "a.ipynb:cell 2, line 3: SB3 zips" in second
    cells[2]["source"] = sources[1].replace("imitation", "imitation_lab")
    assert file.read_text() == json.dumps({"cells": cells})


@pytest.mark.parametrize("text", ["[]", "", "{", '{"cells": [{"cell_type": "code", "source": "def"}]}', "\x00"])
def test_what_is_no_notebook_or_python_is_refused(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ValueError, match="a.ipynb: "):
        port(str(tmp_path / "a.ipynb"))
    (tmp_path / "a.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="a.py: "):
        port(str(tmp_path / "a.py"))
