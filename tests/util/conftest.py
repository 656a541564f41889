"""A Hugging Face hub on loopback: the few routes that the real client needs to create, push, list and download."""

import base64
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

Repo = tuple[str, str]  # type in the plural, name


class Hub(http.server.ThreadingHTTPServer):
    """Repositories are lists of commits, each a dictionary of files.

    Attributes:
        commits: repository to its commits, `(hash, files)`, the newest last.
        log: method and path of each request.
        faults: "cut": downloads break off in their middle; "down": every answer is an error of the server;
            "no uploads": those to uploads are.
        token: what a writer must have.
        private: repositories that only writers see.
        gated: repositories that answer to nobody.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits: dict[Repo, list[tuple[str, dict[str, bytes]]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.log: list[str] = []
        self.faults: set[str] = set()
        self.token = "hf_test"
        self.private: set[str] = set()
        self.gated: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes], kind: str = "models") -> str:
        """Commits files, and returns the hash."""
        commits = self.commits.setdefault((kind, name), [])
        files = {**(commits[-1][1] if commits else {}), **files}
        commits.append((hashlib.sha1(repr((name, len(commits), sorted(files))).encode()).hexdigest(), files))
        return commits[-1][0]

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        return self.commits[kind, name][-1][1]

    def find(self, repo: Repo, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.commits[repo]
        if not commits:
            return ("0" * 40, {}) if revision == "main" else None
        return commits[-1] if revision == "main" else next((c for c in commits if c[0] == revision), None)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 (the base class looks for these names)

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        self.server.log.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        if "down" in self.server.faults or ("no uploads" in self.server.faults and path.startswith("blob/")):
            return self._json({"error": "out of order"}, 500)
        for pattern, handle in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                return handle(self, body, *match.groups())
        return self._json({"error": f"no route {path}"}, 404)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, data: Any, status: int = 200, code: str | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"X-Error-Code": code} if code else {}, "application/json")

    def _send(
        self, content: bytes, status: int, headers: dict[str, str], kind: str = "application/octet-stream"
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if "cut" in self.server.faults and kind == "application/octet-stream":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _writer(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def _seen(self, repo: Repo, revision: str = "main") -> tuple[str, dict[str, bytes]] | None:
        """The commit, or None after an error was sent."""
        if repo[1] in self.server.gated:
            self._json({"error": "gated"}, 403, "GatedRepo")
        elif repo not in self.server.commits or (repo[1] in self.server.private and not self._writer()):
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        elif (commit := self.server.find(repo, revision)) is None:
            self._json({"error": f"Invalid rev id: {revision}"}, 404, "RevisionNotFound")
        else:
            return commit
        return None

    def _resolve(self, _: bytes, kind: str | None, name: str, revision: str, file: str) -> None:
        commit = self._seen((kind or "models", name), revision)
        if commit is None:
            return
        sha, files = commit
        if file not in files:
            self._json({"error": "Entry not found"}, 404, "EntryNotFound")
            return
        etag = hashlib.sha256(files[file]).hexdigest()
        self._send(files[file], 200, {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"})

    def _info(self, _: bytes, kind: str, name: str, revision: str | None = None) -> None:
        commit = self._seen((kind, name), revision or "main")
        if commit is not None:
            siblings = [{"rfilename": file} for file in sorted(commit[1])]
            self._json({"_id": "0", "id": name, "sha": commit[0], "siblings": siblings, "private": False, "tags": []})

    def _tree(self, _: bytes, kind: str, name: str, revision: str, folder: str | None = None) -> None:
        commit = self._seen((kind, name), revision)
        if commit is None:
            return
        start = f"{folder}/" if folder else ""
        deep = "recursive=true" in self.path.lower()
        found = []
        for file, data in sorted(commit[1].items()):
            oid = hashlib.sha1(data).hexdigest()
            below, _, rest = file.removeprefix(start).partition("/")
            if not file.startswith(start):
                continue
            if rest and not any(entry["path"] == start + below for entry in found):
                found.append({"type": "directory", "path": start + below, "size": 0, "oid": oid})
            if deep or not rest:
                found.append({"type": "file", "path": file, "size": len(data), "oid": oid})
        self._json(found)

    def _create(self, body: bytes) -> None:
        if not self._writer():
            return self._json({"error": "Unauthorized"}, 401)
        asked = json.loads(body)
        kind, name = asked.get("type", "model") + "s", f"{asked['organization']}/{asked['name']}"
        there = (kind, name) in self.server.commits
        if asked.get("private") or asked.get("visibility") == "private":
            self.server.private.add(name)
        self.server.commits.setdefault((kind, name), [])
        where = f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}"
        return self._json({"url": where, "id": name, "name": name}, 409 if there else 200)

    def _preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if self._seen((kind, name), revision) is not None:
            mode = lambda path: "lfs" if path.endswith(".safetensors") else "regular"
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": mode(p), "shouldIgnore": False} for p in paths]})

    def _batch(self, body: bytes, kind: str | None, name: str) -> None:
        actions = lambda oid: {"upload": {"href": f"{self.server.url}/blob/{oid}"}}
        objects = [{**o, "actions": actions(o["oid"])} for o in json.loads(body)["objects"]]
        self._json({"transfer": "basic", "objects": objects})

    def _blob(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.blobs[oid] = body
        self._json({})

    def _commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if not self._writer():
            return self._json({"error": "Forbidden"}, 403)
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        sha = self.server.add(name, files, kind)
        where = f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}/commit/{sha}"
        return self._json({"commitUrl": where, "commitOid": sha})

    def _yaml(self, _: bytes) -> None:
        self._json({"errors": [], "warnings": []})


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Any]] = [
    (r"api/repos/create", Handler._create),
    (r"api/validate-yaml", Handler._yaml),
    (rf"api/(models|datasets)/{_NAME}/preupload/(.+)", Handler._preupload),
    (rf"api/(models|datasets)/{_NAME}/commit/(.+)", Handler._commit),
    (rf"api/(models|datasets)/{_NAME}/tree/([^/]+)(?:/(.+))?", Handler._tree),
    (rf"api/(models|datasets)/{_NAME}/revision/(.+)", Handler._info),
    (rf"api/(models|datasets)/{_NAME}", Handler._info),
    (rf"(?:(datasets)/)?{_NAME}\.git/info/lfs/objects/batch", Handler._batch),
    (r"blob/(\w+)", Handler._blob),
    (rf"(?:(datasets)/)?{_NAME}/resolve/([^/]+)/(.+)", Handler._resolve),
]


@pytest.fixture
def hub_server(monkeypatch, tmp_path) -> Iterator[Hub]:
    """A hub of its own for each test, which the client sees in place of the real one, with an empty cache."""
    from huggingface_hub import constants

    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files by plain HTTP, as Git LFS has them
    monkeypatch.setenv("HF_TOKEN", server.token)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits before it tries again
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
