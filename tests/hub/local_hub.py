"""A server on 127.0.0.1 that answers as the Hugging Face hub and ModelScope do, and fails on request.

Large files (``LFS``) are redirected to a second host name, as the hubs redirect to their storage.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS = (".safetensors", ".bin", ".gguf", ".onnx")
TOKEN = "hf_local"


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """A model: its files by commit."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gated: bool = False
    private: bool = False


@dataclass
class Fault:
    """What goes wrong with the answers to paths that match ``path``, ``times`` times.

    cut: bytes of the body after which the connection ends. corrupt: a byte of the body is changed.
    status: answered in place of anything else. delay: seconds before the answer. plain: the Range
    header is not honoured. html: a login page comes in place of the hub's JSON.
    """

    path: str
    times: int = 1
    cut: int | None = None
    corrupt: bool = False
    status: int | None = None
    delay: float = 0.0
    plain: bool = False
    html: bool = False


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class LocalHub:
    """Starts serving at once; ``close`` ends it."""

    repos: dict[str, Repo] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    search_works: bool = True
    sizes: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        hub = self

        class Bound(_Handler):
            pass

        Bound.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """A model with one commit on main (master); returns the commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        repo = self.repos.setdefault(name, Repo({}, {}, **options))
        repo.commits[commit] = files
        repo.refs |= {"main": commit, "master": commit}
        return commit

    def got(self, pattern: str, method: str = "GET") -> list[Seen]:
        """The requests whose path matches."""
        return [s for s in self.seen if s.method == method and re.search(pattern, s.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        # A client that uses this server as a proxy names the whole address.
        url = urlsplit(self.path)
        path, query = unquote(url.path), {k: v[0] for k, v in parse_qs(url.query).items()}
        headers = {name.title(): value for name, value in self.headers.items()}
        self.hub.seen.append(Seen(self.command, self.path, headers))
        self.fault = self.take_fault(path + "?" + unquote(url.query))
        if self.fault.delay:
            time.sleep(self.fault.delay)
        if self.fault.status:
            self.json({"error": "out of order"}, status=self.fault.status)
        elif self.fault.html:
            self.send(b"<html>Please log in to this hotel's network</html>", "text/html")
        elif path.startswith("/cdn/"):
            self.storage(path)
        elif path.startswith(("/api/v1/", "/openapi/")):
            self.modelscope(path, query)
        elif path.startswith("/api/models"):
            self.api(path, query)
        elif match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self.resolve(*match.groups())
        else:
            self.json({"error": "Not Found"}, status=404)

    def take_fault(self, path: str) -> Fault:
        for fault in self.hub.faults:
            if fault.times > 0 and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return Fault("")

    # the Hugging Face hub

    def repo(self, name: str) -> Repo | None:
        """The repository, or None after an answer that it is not there."""
        repo = next((r for n, r in self.hub.repos.items() if n.lower() == name.lower()), None)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != TOKEN:
            message = "Invalid credentials in Authorization header"
            self.json({"error": message}, status=401, headers={"X-Error-Message": message})
            return None
        if repo is None or (repo.private and token != TOKEN):
            # Without a token the hub does not tell what exists: 401, with one 404.
            headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self.json({"error": "x"}, status=404 if token else 401, headers=headers)
            return None
        return repo

    def commit(self, repo: Repo, revision: str) -> str | None:
        commit = revision if revision in repo.commits else repo.refs.get(revision)
        if commit is None:
            headers = {"X-Error-Code": "RevisionNotFound"}
            self.json({"error": f"Invalid rev id: {revision}"}, status=404, headers=headers)
        return commit

    def api(self, path: str, query: dict[str, str]) -> None:
        words = path.removeprefix("/api/models").strip("/")
        if not words:
            return self.search(query)
        name, _, rest = re.fullmatch(r"([^/]+(?:/[^/]+)?)(/(.*))?", words).group(1, 2, 3)
        if rest and rest.split("/")[0] not in ("revision", "refs", "tree"):
            return self.json({"error": "?"}, status=404)
        repo = self.repo(name)
        if repo is None:
            return None
        if rest == "refs":
            branches = [
                {"name": n, "ref": f"refs/heads/{n}", "targetCommit": c}
                for n, c in repo.refs.items()
                if n != "master"
            ]
            return self.json({"branches": branches, "tags": [], "converts": []})
        commit = self.commit(repo, rest.split("/", 1)[1] if rest else "main")
        if commit is None:
            return None
        name = next(n for n, r in self.hub.repos.items() if r is repo)
        siblings = [self.sibling(p, c, "blobs" in query) for p, c in repo.commits[commit].items()]
        gated = "manual" if repo.gated else False
        return self.json(
            {"id": name, "modelId": name, "sha": commit, "private": repo.private,
             "gated": gated, "tags": [], "downloads": 1, "likes": 0, "siblings": siblings}
        )  # fmt: skip

    def sibling(self, path: str, content: bytes, blobs: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": path}
        if blobs:
            size = self.hub.sizes.get(path, len(content))
            entry |= {"size": size, "blobId": git_sha1(content)}
            if path.endswith(LFS):
                entry["lfs"] = {"sha256": sha256(content), "size": size, "pointerSize": 134}
        return entry

    def search(self, query: dict[str, str]) -> None:
        if not self.hub.search_works:
            return self.json({"error": "down"}, status=500)
        words, owner = query.get("search", "").lower(), query.get("author")
        names = [
            n for n in self.hub.repos
            if words in n.lower() and (owner is None or n.split("/")[0] == owner)
        ]  # fmt: skip
        return self.json([{"id": n, "modelId": n, "tags": []} for n in names])

    def resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.repo(name)
        if repo is None:
            return
        if repo.gated and self.headers.get("Authorization") is None:
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}
            return self.json({"error": "gated"}, status=401, headers=headers)
        if repo.gated:  # a valid token, of an account that was not let in
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Not in the list."}
            return self.json({"error": "gated"}, status=403, headers=headers)
        commit = self.commit(repo, revision)
        if commit is None:
            return
        content = repo.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return self.json({}, status=404, headers=headers | {"X-Error-Code": "EntryNotFound"})
        if path.endswith(LFS):
            digest = sha256(content)
            headers |= {
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"http://localhost:{self.hub.port}/cdn/{digest}/{path}",
            }
            return self.send(b"", status=302, headers=headers)
        return self.send(content, headers=headers | {"ETag": f'"{git_sha1(content)}"'}, ranges=True)

    def storage(self, path: str) -> None:
        digest = path.split("/")[2]
        for repo in self.hub.repos.values():
            for files in repo.commits.values():
                for content in files.values():
                    if sha256(content) == digest:
                        return self.send(content, headers={"ETag": f'"{digest}"'}, ranges=True)
        return self.json({}, status=404)

    # ModelScope

    def modelscope(self, path: str, query: dict[str, str]) -> None:
        if path == "/openapi/v1/models":
            words, owner = query.get("search", "").lower(), query.get("owner")
            found = [
                {"id": n} for n in self.hub.repos
                if words in n.lower() and (owner is None or n.split("/")[0] == owner)
            ]  # fmt: skip
            data = {"models": found, "total_count": len(found), "page_number": 1, "page_size": 50}
            return self.json({"success": True, "data": data})
        match = re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/(repo/files|repo|revisions)", path)
        if not match:
            return self.json({"Code": 404, "Message": "not found"}, status=404)
        repo = self.hub.repos.get(match.group(1))
        if repo is None:
            return self.json({"Code": 10010205001, "Message": "模型不存在"}, status=404)
        if (repo.gated or repo.private) and "Authorization" not in self.headers:
            return self.json({"Code": 10010205002, "Message": "no permission"}, status=403)
        if match.group(2) == "revisions":
            branches = [{"Revision": n, "CreatedAt": 0} for n in repo.refs if n != "main"]
            return self.json({"Code": 200, "Data": {"RevisionMap": {"Branches": branches}}})
        commit = repo.refs.get(query.get("Revision", "master"))
        if commit is None:
            return self.json({"Code": 10010205003, "Message": "no such revision"}, status=404)
        files = repo.commits[commit]
        if match.group(2) == "repo":
            name = query["FilePath"]
            if name not in files:
                return self.json({"Code": 404, "Message": "no such file"}, status=404)
            if not name.endswith(LFS):
                return self.send(files[name], ranges=True)
            place = f"http://localhost:{self.hub.port}/cdn/{sha256(files[name])}/{name}"
            return self.send(b"", status=302, headers={"Location": place})
        entries = [
            {"Name": p.split("/")[-1], "Path": p, "Type": "blob", "Size": len(c),
             "Sha256": sha256(c), "Revision": commit, "IsLFS": p.endswith(LFS)}
            for p, c in files.items()
        ]  # fmt: skip
        return self.json({"Code": 200, "Data": {"Files": entries}, "Success": True})

    # answers

    def json(self, data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(data).encode(), "application/json", status=status, headers=headers)

    def send(
        self,
        body: bytes,
        kind: str = "application/octet-stream",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        ranges: bool = False,
    ) -> None:
        headers = dict(headers or {})
        if self.fault.corrupt and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if ranges:
            headers["Accept-Ranges"] = "bytes"
        if ranges and asked and not self.fault.plain:
            start = int(asked.group(1))
            if start >= len(body):
                headers["Content-Range"] = f"bytes */{len(body)}"
                body, status = b"", 416
            else:
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                body, status = body[start:], 206
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault.cut is not None:
            body = body[: self.fault.cut]
            self.close_connection = True
        self.hub.sent += len(body) if ranges else 0
        self.wfile.write(body)
        if self.fault.cut is not None:
            self.wfile.flush()
            self.connection.close()
