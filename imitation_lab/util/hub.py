"""Files from and to the Hugging Face hub, with errors that say what to do.

`download` leaves a whole file in the client's cache or none. `push` makes one commit of all files, after they have been
made here: the hub has the old state or the new one. The hub is huggingface.co, or where `HF_ENDPOINT` says.

What is pushed and pulled: `data.hub` has demonstrations, `policies.hub` and `policies.serialize.load_policy` policies,
`rewards.hub` reward networks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from imitation_lab.util import artifacts, checks
from imitation_lab.util.paths import AnyPath

__all__ = ["download", "cached", "files", "push", "network_facts"]

_LOG_IN = "log in by `hf auth login` or pass token="


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
    folder = None if cache_dir is None else os.fsdecode(cache_dir)
    with _explained(repo_id, repo_type, revision, filename):
        return _api(token).hf_hub_download(repo_id, filename, revision=revision, repo_type=repo_type, cache_dir=folder)


def cached(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    repo_type: str = "model",
    cache_dir: AnyPath | None = None,
) -> bool:
    """Whether `download` would find the file in the cache."""
    folder = None if cache_dir is None else os.fsdecode(cache_dir)
    return isinstance(_client().try_to_load_from_cache(repo_id, filename, folder, revision, repo_type), str)


def files(
    repo_id: str, *, revision: str | None = None, repo_type: str = "model", token: str | bool | None = None
) -> list[str]:
    """The names of a repository's files; raises as `download` does."""
    with _explained(repo_id, repo_type, revision):
        return _api(token).list_repo_files(repo_id, revision=revision, repo_type=repo_type)


def push(
    save: Callable[[pathlib.Path], None],
    filename: str,
    repo_id: str,
    *,
    facts: Callable[[], Mapping[str, Any]] = dict,
    usage: str = "",
    tags: Sequence[str] = (),
    env_name: str | None = None,
    results: Mapping[str, float] | None = None,
    license: str | None = None,
    card: str | None = None,
    repo_type: str = "model",
    revision: str | None = None,
    private: bool = False,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Writes a file of the native format and a card in one commit, into a repository that is made if it is not there.

    The card says what the file is, how to load it, what was measured, and its checksum.

    Args:
        save: writes the file to the path it is given.
        filename: its name in the repository.
        repo_id: "organization/name".
        facts: makes, once the file is written, a table of names and values for the card; None leaves a fact out.
        usage: Python that loads the file, for the card.
        tags: beside "imitation-lab" and the environment.
        env_name: id of the environment, for the card.
        results: measured numbers for the card, by name.
        license: such as "mit".
        card: a text of your own in place of the card.
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
        if card is None:
            tags = ["imitation-lab", *tags, *([] if env_name is None else [re.sub(r"[^\w.-]+", "-", env_name)])]
            about = hub.ModelCardData(library_name="imitation-lab", license=license, tags=tags).to_yaml()
            title, shown = repo_id.rpartition("/")[2], {"environment": env_name, **facts(), **_file_facts(path)}
            card = _card(about, title, shown, usage, results)
        operations = [hub.CommitOperationAdd("README.md", card.encode()), hub.CommitOperationAdd(filename, str(path))]
        with _explained(repo_id, repo_type, revision, doing="write to"):
            api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
            commit = api.create_commit(
                repo_id,
                operations,
                commit_message=message or f"Upload {filename}",
                repo_type=repo_type,
                revision=revision,
            )
    return commit.oid


def network_facts(network: Any) -> dict[str, Any]:
    """What a card says of a module with spaces: a policy or a reward network."""
    return {
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "observations": network.observation_space,
        "actions": network.action_space,
    }


def _file_facts(path: pathlib.Path) -> dict[str, str]:
    header = artifacts.read_header(path)
    try:
        ours = version("imitation-lab")
    except PackageNotFoundError:  # run from a checkout that is not installed
        ours = "(not installed)"
    return {
        "file": f"`{path.name}`, {path.stat().st_size:,} bytes, kind `{header.kind}`, version {header.version}",
        "SHA-256": f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`",
        "written by": f"imitation_lab {ours}",
    }


def _card(about: str, title: str, facts: Mapping[str, Any], usage: str, results: Mapping[str, float] | None) -> str:
    lines = ["---", about, "---", "", f"# {title}", "", *_table("", "", facts)]
    lines += ["", "The file holds tensors and JSON: loading it runs no code.", "", "```python", usage.strip(), "```"]
    if results:
        measured = {name: f"{value:.6g}" for name, value in results.items()}
        lines += ["", "## Measured", "", *_table("what", "value", measured)]
    return "\n".join(lines) + "\n"


def _table(left: str, right: str, rows: Mapping[str, Any]) -> list[str]:
    cell = lambda value: re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
    body = [f"| {cell(name)} | {cell(value)} |" for name, value in rows.items() if value is not None]
    return [f"| {left} | {right} |", "|---|---|", *body]


def _client(module: str = "huggingface_hub") -> Any:
    return checks.optional(module, "hub", "The hub needs")


def _api(token: str | bool | None) -> Any:
    return _client().HfApi(endpoint=_endpoint(), token=token)


def _endpoint() -> str | None:
    """As the environment says now; the client looks when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextlib.contextmanager
def _explained(
    repo_id: str, repo_type: str, revision: str | None, filename: str | None = None, *, doing: str = "read"
) -> Iterator[None]:
    """Turns the client's errors into Python's own, with the cause and what to do."""
    errors = _client("huggingface_hub.errors")
    try:
        yield
    except Exception as error:
        site = _endpoint() or _client("huggingface_hub.constants").ENDPOINT
        page = f"{site}/{repo_id}"
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        cause = f"{type(root).__name__}: {root}".rstrip(": ")
        status = getattr(getattr(error, "response", None), "status_code", None)
        ours: type[OSError] = ConnectionError
        match error:
            case _ if isinstance(root, errors.OfflineModeIsEnabled):
                why = ": HF_HUB_OFFLINE is set. Unset it; what was downloaded once is in the cache."
            case errors.GatedRepoError():
                ours = PermissionError
                why = f": it is open only to accounts that asked for it. Ask on {page}, then {_LOG_IN}."
            case errors.RepositoryNotFoundError():
                ours = FileNotFoundError
                why = (
                    f": {site} has no such {repo_type}, or it is private. Check the name; for a private one {_LOG_IN}."
                )
            case errors.RevisionNotFoundError():
                ours = FileNotFoundError
                why = (
                    f": it has no revision {revision!r}. Give a branch, tag or commit that is listed on {page}, "
                    "or leave revision= out for 'main'."
                )
            case errors.LocalEntryNotFoundError():
                why = (
                    f": {site} could not be reached ({cause}), and the file is not in the cache. Check the connection, "
                    "the proxy and HF_ENDPOINT, or download the file elsewhere and load it by its path."
                )
            case errors.EntryNotFoundError():
                ours = FileNotFoundError
                found = _listed(repo_id, repo_type, revision)
                why = f" at revision {revision or 'main'!r}: there is no such file{found}. Say which one in filename=."
            case errors.HfHubHTTPError() if status in (401, 403):
                ours = PermissionError
                why = f": {site} refuses (status {status}). Log in by `hf auth login` or pass a token= that may."
            case errors.HfHubHTTPError():
                why = f": {site} answers with an error ({error}). Try again later."
            case OSError() if "onsistency check" in str(error):
                why = f": it arrived incomplete or too long. Nothing was kept; try again. ({error})"
            case RuntimeError() if "Error while uploading" in str(error):
                why = f": the connection to {site} broke ({cause}). Nothing was committed; try again."
            case errors.HTTPError() | ConnectionError() | EOFError():
                why = f": the connection to {site} broke ({cause}). Nothing was kept; try again."
            case _:
                raise
        what = f"the {repo_type} {repo_id!r}"
        raise ours(f"cannot {doing} {what if filename is None else f'{filename!r} of {what}'}{why}") from error


def _listed(repo_id: str, repo_type: str, revision: str | None) -> str:
    try:
        return f"; there are {sorted(_api(None).list_repo_files(repo_id, revision=revision, repo_type=repo_type))}"
    except Exception:  # the listing is a help and no more
        return ""
