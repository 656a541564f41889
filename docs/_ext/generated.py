"""Pages made of other files: the tutorials, their index, and the API, each in a folder that git ignores."""

import importlib
import json
import pathlib
import pkgutil
import re
import shutil

import command_line

from imitation_lab.util.doors import names_of

HIDDEN = {"imitation_lab.scripts"}
"""Packages without an API page: the command line has a page of its own."""

INDEX = """\
# Tutorials

One path, each tutorial a step: it learns something real within about a minute or two on two cores, shows what it
learned, and asserts it. You may leave the path: *after 05* names what a tutorial builds on. Every page below is the
notebook as it was executed. Sliders over stored pictures move here too; what computes anew needs a kernel:
`imitation-lab lab` opens the tutorials in JupyterLab.

| tutorial | level and prerequisites | minutes |
|---|---|---|
{rows}

```{{toctree}}
:hidden:
:glob:

[0-9]*
```
"""


def write(docs: pathlib.Path) -> None:
    """Write all of them below `docs`; files that would not change keep their times."""
    _tutorials(docs.parent / "notebooks", docs / "notebooks")
    _api(docs / "api")
    _presets(docs / "_build")
    (docs / "_build" / "command_line.md").write_text(command_line.page(), encoding="utf-8")


def _tutorials(source: pathlib.Path, target: pathlib.Path) -> None:
    rows, files = [], {}
    for path in sorted(source.glob("[0-9]*.ipynb")):
        text = path.read_text(encoding="utf-8")
        files[path.name] = text
        rows.append(_row(path.name, "".join(json.loads(text)["cells"][0]["source"])))
    files["index.md"] = INDEX.format(rows="\n".join(rows))
    _store(target, files)


def _row(name: str, opening: str) -> str:
    facts = dict(re.findall(r"^\| \*\*(\w+)\*\* \| (.+) \|$", opening, flags=re.M))
    title = opening.split("\n", 1)[0].removeprefix("# ")
    return f"| [{name[:2]} {title}]({name}) | {facts.get('Level', '')} | {facts.get('Minutes', '')} |"


def public_modules() -> list[str]:
    """Modules with a public name; of a package within a room that names its exports, the package alone."""
    found: list[str] = []

    def visit(package: str) -> None:
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            name = f"{package}.{info.name}"
            if info.name.startswith("_") or name in HIDDEN:
                continue
            if info.ispkg and (package == "imitation_lab" or not names_of(name)):
                visit(name)
            else:
                found.append(name)

    visit("imitation_lab")
    return sorted(found)


def _api(target: pathlib.Path) -> None:
    modules = public_modules()
    files = {}
    for module in modules:
        title = module.removeprefix("imitation_lab.")
        files[f"{module}.rst"] = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {module}\n"
    listed = "\n".join(f"   {module}" for module in modules)
    files["index.rst"] = (
        "API reference\n=============\n\nEvery public module, from the docstrings in the code. Shapes are written "
        f"``(batch, *obs_shape)``.\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    )
    _store(target, files)


def _store(folder: pathlib.Path, files: dict[str, str]) -> None:
    """Write the files, and remove what else there is."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _presets(target: pathlib.Path) -> None:
    """A table of what the presets of GAIL and AIRL reached."""
    from imitation_lab.algorithms.adversarial.presets import available, presets

    target.mkdir(exist_ok=True)
    for algorithm in ("gail", "airl"):
        rows = ["| preset | returns, one seed each | expert | timesteps | CPU seconds |", "|---|---|---|---|---|"]
        for env in (name for name, other in available() if other == algorithm):
            preset = presets(env, algorithm)
            if preset.result is not None:
                returns = ", ".join(f"{value:.0f}" for value in preset.result.returns)
                expert, seconds = preset.result.expert_return, preset.result.cpu_seconds
                rows.append(f"| {env} | {returns} | {expert:.0f} | {preset.total_timesteps:,} | {seconds:.0f} |")
        (target / f"presets-{algorithm}.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
