"""Files from and to the Hugging Face hub, with errors that say what to do.

`download` leaves a whole file in the client's cache or none. `push` makes one commit of all files, after they have been
made here: the hub has the old state or the new one. The hub is huggingface.co, or where `HF_ENDPOINT` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from imitation_lab.util import artifacts
from imitation_lab.util.paths import AnyPath

_EXTRA = 'The hub needs the package huggingface_hub: pip install "imitation-lab[hub]".'
_MAIN = "main"


def download(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    repo_type: str = "model",
    cache_dir: AnyPath | None = None,
    token: str | bool | None = None,
) -> str:
    """Fetches a file of a repository into the client's cache and returns its path; a cached one serves offline.

    Args:
        repo_id: "organization/name".
        filename: path of the file in the repository.
        revision: branch, tag or commit; None is the main branch.
        repo_type: "model" or "dataset".
        cache_dir: None is the client's own.
        token: of your account, for private repositories; None takes the one of `hf auth login`.

    Raises:
        ConnectionError: if the hub cannot be reached, or the transfer breaks off.
        FileNotFoundError: if there is no such repository, revision or file.
        PermissionError: if the account may not read it.
        ImportError: if huggingface_hub is not installed.
    """
    hub = _client()
    with _explained(repo_id, repo_type, revision, filename):
        return hub.hf_hub_download(
            repo_id,
            filename,
            revision=revision,
            repo_type=repo_type,
            cache_dir=None if cache_dir is None else os.fsdecode(cache_dir),
            token=token,
            endpoint=_endpoint(),
        )


def cached(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    repo_type: str = "model",
    cache_dir: AnyPath | None = None,
) -> bool:
    """Whether `download` would find the file in the cache."""
    directory = None if cache_dir is None else os.fsdecode(cache_dir)
    return isinstance(_client().try_to_load_from_cache(repo_id, filename, directory, revision, repo_type), str)


def files(
    repo_id: str, *, revision: str | None = None, repo_type: str = "model", token: str | bool | None = None
) -> list[str]:
    """The names of a repository's files; raises as `download` does."""
    with _explained(repo_id, repo_type, revision, None):
        return _api(token).list_repo_files(repo_id, revision=revision, repo_type=repo_type)


def push(
    save: Callable[[pathlib.Path], None],
    filename: str,
    repo_id: str,
    *,
    card: Callable[[pathlib.Path], str] | str,
    repo_type: str = "model",
    revision: str | None = None,
    private: bool = False,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Writes a file and a card in one commit, into a repository that is made if it is not there.

    Args:
        save: writes the file to the path it is given.
        filename: its name in the repository.
        repo_id: "organization/name".
        card: the text of README.md, or a function of the file's path that makes it.
        repo_type: "model" or "dataset".
        revision: branch to commit to; None is the main branch.
        private: whether a repository made here is private.
        token: of your account; None takes the one of `hf auth login`.
        message: of the commit.

    Returns:
        The commit's hash, with which `download` gets exactly this file.

    Raises:
        ConnectionError: if the hub cannot be reached.
        FileNotFoundError: if there is no such branch.
        PermissionError: if the account may not write there.
        ImportError: if huggingface_hub is not installed.
    """
    hub, api = _client(), _api(token)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, filename)
        save(path)
        text = card if isinstance(card, str) else card(path)
        operations = [hub.CommitOperationAdd("README.md", text.encode()), hub.CommitOperationAdd(filename, str(path))]
        with _explained(repo_id, repo_type, revision, None, doing="write to"):
            api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
            commit = api.create_commit(
                repo_id,
                operations,
                commit_message=message or f"Upload {filename}",
                repo_type=repo_type,
                revision=revision,
            )
    return commit.oid


def card_text(
    title: str,
    *,
    facts: Mapping[str, Any],
    usage: str,
    path: AnyPath,
    tags: Sequence[str] = (),
    results: Mapping[str, float] | None = None,
    license: str | None = None,
) -> str:
    """The Markdown of a card: what the file is, how to load it, what was measured, and its checksum.

    Args:
        title: its heading.
        facts: a table of names and values.
        usage: Python that loads the file.
        path: the file, of the native format.
        tags: beside "imitation-lab".
        results: measured numbers, by name.
        license: such as "mit".
    """
    header = artifacts.read_header(path)
    file = pathlib.Path(os.fsdecode(path))
    about = {"library_name": "imitation-lab", "tags": ["imitation-lab", *tags]}
    about |= {} if license is None else {"license": license}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in about.items()), "---", "", f"# {title}", ""]
    shown = {
        **facts,
        "file": f"`{file.name}`, {file.stat().st_size:,} bytes, kind `{header.kind}`, version {header.version}",
        "SHA-256": f"`{hashlib.sha256(file.read_bytes()).hexdigest()}`",
        "written by": f"imitation_lab {_version()}",
    }
    lines += _table(("", ""), shown)
    lines += ["", "The file holds tensors and JSON: loading it runs no code.", "", "```python", usage.strip(), "```"]
    if results:
        lines += ["", "## Measured", "", *_table(("what", "value"), {k: f"{v:.6g}" for k, v in results.items()})]
    return "\n".join(lines) + "\n"


def tag(text: str) -> str:
    """Text as the hub takes it for a tag or a repository's name: "seals/CartPole-v0" is "seals-CartPole-v0"."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")


def _table(head: tuple[str, str], rows: Mapping[str, Any]) -> list[str]:
    cell = lambda value: re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows.items())]


def _version() -> str:
    try:
        return version("imitation-lab")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


def _client() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(_EXTRA) from error


def _api(token: str | bool | None) -> Any:
    return _client().HfApi(endpoint=_endpoint(), token=token)


def _endpoint() -> str | None:
    """As the environment says now; the client looks when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextlib.contextmanager
def _explained(
    repo_id: str, repo_type: str, revision: str | None, filename: str | None, *, doing: str = "read"
) -> Iterator[None]:
    """Turns the client's errors into Python's own, with the cause and what to do."""
    errors = importlib.import_module("huggingface_hub.errors")
    what = f"{repo_type} {repo_id!r}" if filename is None else f"{filename!r} of the {repo_type} {repo_id!r}"
    where = _endpoint() or _client().constants.ENDPOINT
    start = f"cannot {doing} the {what}" if filename is None else f"cannot {doing} {what}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{start}: it is open only to accounts that asked for it. Ask on {where}/{repo_id}, then log in by "
            "`hf auth login` or pass token=."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{start}: {where} has no such {repo_type}, or it is private. Check the name; for a private one log in by "
            "`hf auth login` or pass token=."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{start}: it has no revision {revision!r}. Give a branch, tag or commit that is listed on "
            f"{where}/{repo_id}, or leave revision= out for {_MAIN!r}."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if _client().constants.HF_HUB_OFFLINE:
            fix = "HF_HUB_OFFLINE is set and the file is not in the cache: unset it once to download the file"
        else:
            fix = (
                f"{where} could not be reached ({_root(error)}), and the file is not in the cache. Check the "
                "connection, the proxy and HF_ENDPOINT, or download the file elsewhere and load it by its path"
            )
        raise ConnectionError(f"{start}: {fix}.") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{start} at revision {revision or _MAIN!r}: there is no such file{_listed(repo_id, repo_type, revision)}. "
            "Say which one in filename=."
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise PermissionError(
                f"{start}: {where} refuses (status {status}). Log in by `hf auth login`, or pass a token= that may "
                f"{doing} it."
            ) from error
        raise ConnectionError(f"{start}: {where} answers with an error ({error}). Try again later.") from error
    except errors.OfflineModeIsEnabled as error:
        raise ConnectionError(f"{start}: HF_HUB_OFFLINE is set. Unset it.") from error
    except (errors.HTTPError, ConnectionError, EOFError) as error:
        raise ConnectionError(
            f"{start}: the connection to {where} broke ({_root(error)}). Nothing was kept; try again."
        ) from error
    except RuntimeError as error:
        if "Error while uploading" not in str(error):
            raise
        raise ConnectionError(
            f"{start}: the connection to {where} broke ({_root(error)}). Nothing was committed; try again."
        ) from error
    except OSError as error:
        if "onsistency check" not in str(error):
            raise
        raise ConnectionError(
            f"{start}: it arrived incomplete or too long. Nothing was kept; try again. ({error})"
        ) from error


def _listed(repo_id: str, repo_type: str, revision: str | None) -> str:
    try:
        found = _api(None).list_repo_files(repo_id, revision=revision, repo_type=repo_type)
    except Exception:  # the listing is a help and no more
        return ""
    return f"; there are {sorted(found)}"


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".rstrip(": ")
