"""A local stand-in for the Hugging Face hub: repositories of models made, committed to and read, kept in memory.

It answers the requests that huggingface_hub sends for `create_repo`, `upload_folder` and downloads, large files by the
LFS protocol; a request without the right token is refused as the hub does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "x" * 34
REVISION = "f" * 40


class HubServer:
    """Runs on a free port of this machine inside a `with`."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.large: dict[str, bytes] = {}
        self.unknown: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def commit(self, repo: str, lines: list[dict]) -> None:
        """Applies the lines of a commit."""
        files = self.repos[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
            else:
                self.unknown.append(line["key"])


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, body: object, status: int = 200, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_POST(self) -> None:
            path, body = urlsplit(self.path).path, self.body()
            if path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer({"error": "Invalid username or password."}, 401)
            elif path == "/api/repos/create":
                wanted = json.loads(body)
                repo = f"{wanted['organization']}/{wanted['name']}"
                hub.repos.setdefault(repo, {})
                hub.private[repo] = wanted.get("visibility") == "private"
                self.answer({"url": f"{hub.url}/{repo}", "id": repo})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                modes = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith((".pt", ".onnx", ".safetensors")) else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for file in files
                ]
                self.answer({"files": modes})
            elif path.endswith(".git/info/lfs/objects/batch"):
                objects = [
                    {**item, "actions": {"upload": {"href": f"{hub.url}/large/{item['oid']}"}}}
                    for item in json.loads(body)["objects"]
                ]
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in path:
                repo = path.removeprefix("/api/models/").partition("/commit/")[0]
                hub.commit(repo, [json.loads(line) for line in body.splitlines() if line])
                self.answer(
                    {"commitUrl": f"{hub.url}/{repo}/commit/{REVISION}", "commitOid": REVISION, "success": True}
                )
            else:
                self.missing()

        def do_PUT(self) -> None:
            oid, body = self.path.rpartition("/")[2], self.body()
            assert hashlib.sha256(body).hexdigest() == oid
            hub.large[oid] = body
            self.answer(b"")

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if path.startswith("/api/models/"):
                self.about(path.removeprefix("/api/models/"))
                return
            repo, _, rest = path.strip("/").partition("/resolve/")
            name = rest.partition("/")[2]
            if name not in hub.repos.get(repo, {}):
                self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=REVISION)
                return
            data = hub.repos[repo][name]
            etag = hashlib.sha256(data).hexdigest()
            self.answer(data, ETag=f'"{etag}"', X_Repo_Commit=REVISION)

        do_HEAD = do_GET

        def about(self, path: str) -> None:
            repo = "/".join(path.split("/")[:2])
            files = hub.repos.get(repo)
            if files is None:
                self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            elif "/tree/" in path:
                rows = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                self.answer(rows)
            else:
                siblings = [{"rfilename": name} for name in files]
                self.answer({"id": repo, "modelId": repo, "sha": REVISION, "siblings": siblings, "tags": []})

        def missing(self) -> None:
            hub.unknown.append(f"{self.command} {self.path}")
            self.answer({"error": "not known here"}, 404)

    return Handler
