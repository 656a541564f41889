"""Reading and linking the folders that Sacred's `FileStorageObserver` writes. Only JSON is read."""

import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from imitation_lab.util.paths import AnyPath
from imitation_lab.util.util import parse_path

if TYPE_CHECKING:
    import sacred.run

__all__ = [
    "SacredDicts", "load_runs", "dir_contains_sacred_jsons", "filter_subdirs", "get_sacred_dir_from_run",
    "build_sacred_symlink", "dict_get_nested",
]  # fmt: skip


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is not valid JSON ({e}): the run was cut short, or the file is damaged.") from e
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(data).__name__}.")
    return data


class SacredDicts(NamedTuple):
    """What a run's folder says: its path, its configuration and its course (command, status, result)."""

    sacred_dir: pathlib.Path
    config: dict[str, Any]
    run: dict[str, Any]

    @classmethod
    def load_from_dir(cls, sacred_dir: AnyPath) -> "SacredDicts":
        """Reads `config.json` and `run.json` of a run's folder.

        Raises:
            FileNotFoundError: if one of them is missing.
            ValueError: if one of them is not a JSON object; the text names the file.
        """
        path = parse_path(sacred_dir)
        return cls(path, _read_json(path / "config.json"), _read_json(path / "run.json"))


def dir_contains_sacred_jsons(dir_path: AnyPath) -> bool:
    """Whether `dir_path` holds both `config.json` and `run.json`."""
    path = parse_path(dir_path)
    return (path / "config.json").is_file() and (path / "run.json").is_file()


def filter_subdirs(
    root_dir: AnyPath,
    filter_fn: Callable[[pathlib.Path], bool] = dir_contains_sacred_jsons,
    *,
    nested_ok: bool = False,
) -> Sequence[pathlib.Path]:
    """Finds the folders in and below `root_dir` for which `filter_fn` is true, sorted.

    Symbolic links are not followed.

    Args:
        root_dir: where to start.
        filter_fn: says which folders count; by default those of Sacred runs.
        nested_ok: whether one of them may lie inside another.

    Raises:
        FileNotFoundError: if `root_dir` is no folder.
        ValueError: if one lies inside another and `nested_ok` is False.
    """
    root = parse_path(root_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}.")
    found = sorted(path for path in map(pathlib.Path, (d for d, _, _ in os.walk(root))) if filter_fn(path))
    if not nested_ok:
        matches = set(found)
        for path in found:
            outer = next((parent for parent in path.parents if parent in matches), None)
            if outer is not None:
                raise ValueError(f"{path} lies inside {outer}, and both match; allow this with nested_ok=True.")
    return found


def load_runs(*root_dirs: AnyPath, only_completed_runs: bool = False) -> Iterator[SacredDicts]:
    """Reads the Sacred runs in and below the folders, each once, in the order of their paths.

    Args:
        *root_dirs: where to start.
        only_completed_runs: leaves out runs whose status is not "COMPLETED".

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a file is not a JSON object; the text names it.
    """
    folders = [folder for root in root_dirs for folder in filter_subdirs(root, nested_ok=True)]
    runs = map(SacredDicts.load_from_dir, dict.fromkeys(folders))
    return (dicts for dicts in runs if not only_completed_runs or dicts.run.get("status") == "COMPLETED")


def get_sacred_dir_from_run(run: "sacred.run.Run") -> pathlib.Path | None:
    """The folder that the run's first `FileStorageObserver` writes, or None if it has no such observer."""
    from sacred.observers import FileStorageObserver

    for observer in run.observers:
        if isinstance(observer, FileStorageObserver):
            return None if observer.dir is None else parse_path(observer.dir)
    return None


def build_sacred_symlink(log_dir: AnyPath, run: "sacred.run.Run") -> None:
    """Makes `log_dir/sacred` a relative link to the run's folder; an older link is replaced.

    Warns if the run has no `FileStorageObserver`.

    Raises:
        FileExistsError: if `log_dir/sacred` is something other than a link.
    """
    sacred_dir = get_sacred_dir_from_run(run)
    if sacred_dir is None:
        warnings.warn("The run has no FileStorageObserver, so there is no folder to link to.", stacklevel=2)
        return
    folder = parse_path(log_dir)
    link = folder / "sacred"
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} exists and is not a link: move it away or choose another log_dir.")
    folder.mkdir(parents=True, exist_ok=True)
    # Relative, so that the whole output can be moved. Both ends are resolved: a link on the way would lead astray.
    target = os.path.relpath(sacred_dir.resolve(), folder.resolve())
    temp = folder / f".sacred-{os.getpid()}"
    temp.unlink(missing_ok=True)
    temp.symlink_to(target, target_is_directory=True)
    temp.replace(link)


def dict_get_nested(d: Mapping[str, Any], nested_key: str, *, sep: str = ".", default: Any = None) -> Any:
    """Looks up "a.b.c" as `d["a"]["b"]["c"]`; `default` where a step is missing or leads into no mapping."""
    value: Any = d
    for key in nested_key.split(sep):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value
