"""Each stored notebook has truly been executed, says what it learned, and keeps to the template."""

import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
TUTORIALS = sorted(path for path in FOLDER.glob("*.ipynb"))
MAX_BYTES = 1_000_000
HIDING_TAGS = {"raises-exception", "nbval-raises-exception", "nbval-skip", "skip-execution", "NBVAL_SKIP"}
WIDGET = "application/vnd.jupyter.widget-view+json"
SECTIONS = [
    "What you will learn",
    "Predict first",
    "Exercise",
    "When it breaks",
    "How this differs from the paper",
    "References",
]


def problems(notebook: dict) -> list[str]:
    """Say what keeps a notebook's stored outputs from being trusted, one line each."""
    found = []
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"cells were not executed in order from a fresh kernel: {counts}")
    ignored = 0
    for number, cell in enumerate(code, 1):
        source, outputs = "".join(cell["source"]), cell["outputs"]
        tags = set(cell["metadata"].get("tags", []))
        where = f"code cell {number}"
        if not source.strip():
            found.append(f"{where} is empty")
        if tags & HIDING_TAGS or re.search(r"#\s*NBVAL_(SKIP|RAISES)", source):
            found.append(f"{where} hides a failure or is skipped: {sorted(tags)}")
        if any(output["output_type"] == "error" for output in outputs):
            found.append(f"{where} stores an error")
        if any(output.get("name") == "stderr" for output in outputs):
            found.append(f"{where} stores stderr, which differs from machine to machine")
        if _shows_something(source) and not outputs:
            found.append(f"{where} should show something and stores no output")
        if "execution" in cell["metadata"] or "timestamp" in json.dumps(cell["metadata"]):
            found.append(f"{where} stores timing metadata")
        ignored += "nbval-ignore-output" in tags
    if ignored * 2 > len(code):
        found.append(f"{ignored} of {len(code)} cells ignore their outputs: nothing would be compared")
    return found


def _shows_something(source: str) -> bool:
    last = source.strip().splitlines()[-1] if source.strip() else ""
    return bool(re.match(r"(print|display)\(", last) or re.fullmatch(r"[A-Za-z_][\w.]*(\.figure\(\))?", last))


def template_problems(notebook: dict) -> list[str]:
    """Say where a tutorial leaves the template, one line each."""
    found = []
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    source = "\n".join("".join(cell["source"]) for cell in code)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    found += [f"no section {name!r}" for name in SECTIONS if not any(name in heading for heading in headings)]
    for word in ("Level", "Minutes", "Seed", "Offline"):
        if word not in text:
            found.append(f"the title's table does not tell {word!r}")
    if "expected" not in source and not any("expected" in json.dumps(cell["outputs"]) for cell in code):
        found.append("no check cell that prints expected … got …")
    if "assert" not in source:
        found.append("asserts nothing")
    mimes = {mime for cell in code for output in cell["outputs"] for mime in output.get("data", {})}
    if WIDGET not in mimes:
        found.append("shows no widget")
    if "image/png" not in mimes:
        found.append("shows no figure")
    stored = (
        notebook["metadata"].get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    )
    views = [output.get("data", {}).get(WIDGET, {}).get("model_id") for cell in code for output in cell["outputs"]]
    lost = [model for model in views if model and model not in stored]
    if lost or not stored:
        found.append(f"stores no widget state for {len(lost)} of its views")
    if re.search(r"increase this|for (good|better) results|1[_,]?000[_,]?000 (time)?steps", text, flags=re.I):
        found.append("asks the reader to train longer for good results")
    return found


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_executed_and_complete(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = problems(notebook) + template_problems(notebook)
    if path.stat().st_size > MAX_BYTES:
        found.append(f"takes {path.stat().st_size} bytes, at most {MAX_BYTES} are allowed")
    assert not found, f"{path.name}:\n  " + "\n  ".join(found)


def test_there_are_tutorials():
    assert TUTORIALS


def cell(source="1 + 1", count=1, outputs=(), tags=(), **metadata):
    return {
        "cell_type": "code",
        "source": source,
        "execution_count": count,
        "outputs": list(outputs),
        "metadata": {"tags": list(tags), **metadata},
    }


STREAM = {"output_type": "stream", "name": "stdout", "text": "x"}


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([cell(count=None)], "not executed in order"),
        ([cell(count=2), cell(count=1)], "not executed in order"),
        ([cell("print(1)")], "stores no output"),
        ([cell("net.figure()")], "stores no output"),
        ([cell(outputs=[{"output_type": "error"}])], "stores an error"),
        ([cell(outputs=[{"output_type": "stream", "name": "stderr"}])], "stores stderr"),
        ([cell(tags=["raises-exception"])], "hides a failure"),
        ([cell("# NBVAL_SKIP\n1")], "hides a failure"),
        ([cell(execution={"iopub.execute_input": "2026"})], "timing metadata"),
        ([cell(tags=["nbval-ignore-output"])], "nothing would be compared"),
        ([cell(" ")], "is empty"),
    ],
)
def test_the_gate_catches(cells, text):
    assert any(text in problem for problem in problems({"cells": cells}))


def test_the_gate_lets_an_executed_notebook_through():
    assert problems({"cells": [cell("x = 1"), cell("print('x')", count=2, outputs=[STREAM])]}) == []


def test_a_time_out_in_a_notebook_fails_the_run(tmp_path, monkeypatch):
    """Nbval marks the cells after a time-out as expected failures; our conftest makes them failures."""
    import shutil
    import subprocess
    import sys

    import nbformat

    shutil.copy(FOLDER / "conftest.py", tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("while True: pass"), nbformat.v4.new_code_cell("1")]
    )
    nbformat.write(notebook, tmp_path / "x.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--nbval", "--nbval-current-env"]
    done = subprocess.run(
        [*command, "--nbval-cell-timeout=2", "x.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "xfailed" not in done.stdout
    assert re.search(r"2 failed", done.stdout), done.stdout
