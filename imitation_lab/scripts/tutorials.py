"""Where the tutorials are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil

__all__ = ["folder", "checkout", "copy_to"]

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_MANIFEST = ".imitation_lab.json"


def folder() -> pathlib.Path:
    """Give the folder that holds the tutorials.

    Raises:
        FileNotFoundError: If this installation carries none.
    """
    for candidate in (checkout(), _PACKAGE / "_notebooks"):
        if candidate is not None and candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no tutorials beside or inside {_PACKAGE}; reinstall imitation-lab")


def checkout() -> pathlib.Path | None:
    """Give the checkout's own `notebooks` folder, or None for an installed wheel."""
    root = _PACKAGE.parent
    return root / "notebooks" if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def copy_to(target: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Copy the tutorials to `target`, and never over a file that its user has changed.

    A manifest in `target` remembers what was copied: a file that is still as it was copied is brought up to date.

    Returns:
        The files written and the files left alone because they were changed, relative to `target`.
    """
    manifest_path = target / _MANIFEST
    manifest: dict[str, str] = json.loads(manifest_path.read_text()) if manifest_path.is_file() else {}
    written, kept = [], []
    source = folder()
    for file in sorted(source.rglob("*")):
        relative = file.relative_to(source)
        if not file.is_file() or file.suffix == ".py" or any(part.startswith((".", "__")) for part in relative.parts):
            continue
        if relative.parts[0] == "assignments":  # with their answers: for teachers, by `imitation-lab classroom`
            continue
        goal, new = target / relative, _digest(file)
        old = _digest(goal) if goal.is_file() else None
        if old is not None and old not in (new, manifest.get(str(relative))):
            kept.append(relative)
            continue
        if old != new:
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, goal)
            written.append(relative)
        manifest[str(relative)] = new
    target.mkdir(parents=True, exist_ok=True)
    manifest_path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return written, kept


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
