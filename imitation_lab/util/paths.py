"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

__all__ = ["AnyPath", "atomic_path"]

AnyPath = str | bytes | os.PathLike


@contextlib.contextmanager
def atomic_path(path: AnyPath) -> Iterator[pathlib.Path]:
    """Yield a temporary sibling of `path` that replaces it on success and is removed on failure.

    Parent folders are created. A reader sees the old file whole or the new file whole, never a part.
    """
    target = pathlib.Path(os.fsdecode(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; saved files follow the user's umask
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
