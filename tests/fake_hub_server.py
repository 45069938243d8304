"""Fake Hugging Face hub: the requests of huggingface_hub that create, fill and read model repositories, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = "hf_fake"
USER, ORGANIZATION = "someone", "lab"
LARGE = 100_000
"""Bytes from which a file is stored as a large one, by its sha256."""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listed_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_hash(content)


@dataclass
class Repository:
    """Files by commit, and commits by branch or tag."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str = "") -> str:
        content = {**self.files(), **files}
        name = hashlib.sha1(repr((len(self.commits), sorted(content.items()))).encode()).hexdigest()
        self.commits[name], self.refs["main"] = content, name
        self.messages.append(message)
        return name

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits.get(self.refs.get(revision, revision), {})


class FakeHubServer(ThreadingHTTPServer):
    """Server on a free port of this machine.

    Attributes:
        url: address of the server, for ``HF_ENDPOINT``.
        repositories: by id.
        requests: ``<method> <path>`` of the received requests.
        swapped: content that is served instead of that of a path, with the hash of the original.
        refuse: beginning of paths whose requests are answered by 403.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.large: dict[str, bytes] = {}
        self.swapped: dict[str, bytes] = {}
        self.refuse = "-"

    def add(self, repo_id: str, **files: bytes | str) -> Repository:
        """Add a repository with files, named by their names with ``__`` for a dot."""
        self.repositories[repo_id] = repository = Repository()
        content = {name.replace("__", "."): value.encode() if isinstance(value, str) else value for name, value in files.items()}
        repository.commit(content)
        return repository

    def downloads(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.requests if path.startswith("GET") and "/resolve/" in path}


class _Handler(BaseHTTPRequestHandler):
    server: FakeHubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {path}")
        if path.startswith(self.server.refuse):
            self._answer({"error": "you may not write here"}, 403)
            return
        for pattern, answer in _ROUTES.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                answer(self, *match.groups())
                return
        self._answer({"error": f"no route {self.command} {path}"}, 404)

    @property
    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, repo_id: str) -> Repository | None:
        found = self.server.repositories.get(repo_id)
        if found is None or (found.private and not self._may_write):
            self._answer({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            return None
        return found

    def _whoami(self) -> None:
        if self._may_write:
            self._answer({"type": "user", "name": USER, "orgs": [{"type": "org", "name": ORGANIZATION}]})
        else:
            self._answer({"error": "Invalid credentials"}, 401)

    def _create(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        if not self._may_write:
            self._answer({"error": "Unauthorized"}, 401)
            return
        status = 409 if repo_id in self.server.repositories else 200
        if status == 200:
            repository = self.server.repositories[repo_id] = Repository(asked.get("visibility") == "private")
            repository.commit({".gitattributes": b""})
        self._answer({"url": f"{self.server.url}/{repo_id}", "name": repo_id, "id": repo_id}, status)

    def _check_card(self) -> None:
        self._answer({"errors": [], "warnings": []})

    def _preupload(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        present = repository.files(revision)
        files = [
            {
                "path": one["path"], "uploadMode": "lfs" if one["size"] >= LARGE else "regular", "shouldIgnore": False,
                "oid": listed_hash(present[one["path"]]) if one["path"] in present else None,
            }
            for one in json.loads(self.body)["files"]
        ]  # fmt: skip
        self._answer({"files": files})

    def _batch(self, repo_id: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _store(self, name: str) -> None:
        self.server.large[name] = self.body
        self._answer({}, 200 if hashlib.sha256(self.body).hexdigest() == name else 400)

    def _commit(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        name = repository.commit(files, lines[0]["value"]["summary"])
        self._answer({"commitUrl": f"{self.server.url}/{repo_id}/commit/{name}", "commitOid": name, "success": True})

    def _info(self, repo_id: str, revision: str | None = None) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        name = repository.refs.get(revision or "main", revision or "main")
        if name not in repository.commits:
            self._answer({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = [{"rfilename": path} for path in repository.commits[name]]
        self._answer({"id": repo_id, "modelId": repo_id, "sha": name, "siblings": siblings, "private": repository.private})

    def _tree(self, repo_id: str, revision: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        listed: list[dict[str, Any]] = []
        for path, content in repository.files(revision).items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            listed.append(entry)
        self._answer(listed)

    def _resolve(self, repo_id: str, revision: str, path: str) -> None:
        if (repository := self._repository(repo_id)) is None:
            return
        name = repository.refs.get(revision, revision)
        content = repository.files(name).get(path)
        if content is None:
            code = "EntryNotFound" if name in repository.commits else "RevisionNotFound"
            self._answer({"error": code}, 404, {"X-Error-Code": code, "X-Repo-Commit": name})
            return
        large = len(content) >= LARGE
        tag = listed_hash(content)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": name}
        headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))} if large else {}
        self._send(self.server.swapped.get(path, content), 200, headers)

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


_ID = r"([\w.-]+/[\w.-]+)"
_ROUTES: dict[str, Any] = {
    r"GET /api/whoami-v2": _Handler._whoami,
    r"POST /api/repos/create": _Handler._create,
    r"POST /api/validate-yaml": _Handler._check_card,
    rf"POST /api/models/{_ID}/preupload/(.+)": _Handler._preupload,
    rf"POST /{_ID}\.git/info/lfs/objects/batch": _Handler._batch,
    r"PUT /large/(\w+)": _Handler._store,
    rf"POST /api/models/{_ID}/commit/(.+)": _Handler._commit,
    rf"GET /api/models/{_ID}": _Handler._info,
    rf"GET /api/models/{_ID}/revision/(.+)": _Handler._info,
    rf"GET /api/models/{_ID}/tree/(\w+)": _Handler._tree,
    rf"(?:GET|HEAD) /{_ID}/resolve/([^/]+)/(.+)": _Handler._resolve,
}


@contextmanager
def used_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHubServer]:
    """Yield a hub that the client in this process uses with a token and an empty cache; large files go by LFS, not by Xet."""
    with fake_hub_server() as server:
        values = {
            "ENDPOINT": server.url, "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(folder / "cache"), "HF_HUB_DISABLE_XET": True,
            "HF_TOKEN_PATH": str(folder / "no token"), "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }  # fmt: skip
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@contextmanager
def fake_hub_server() -> Iterator[FakeHubServer]:
    server = FakeHubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
