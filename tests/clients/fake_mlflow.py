"""A server that answers as MLflow's registry and artifact proxy do, in this process.

What of its API a gateway asks, in the shapes that MLflow 3.17 was seen to give. It can fail in
every way that is asked of it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests

API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass
class Trouble:
    """``delay_s``: before each answer; ``status``: in place of each; ``said``: the body in place of
    each of the registry; ``cut``: bytes of artifacts that are sent at most; ``extra``: bytes behind
    each artifact; ``denied``: paths that get no artifact; ``forbidden``: a model that may not be
    asked about."""

    delay_s: float = 0.0
    status: int = 0
    said: bytes = b""
    cut: int | None = None
    extra: bytes = b""
    denied: str = "\0"
    forbidden: str = ""


@dataclass
class FakeMlflow:
    """``proxied`` False: artifacts lie in a store that only the server can read."""

    proxied: bool = True
    token: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=Trouble)
    asked: list[str] = field(default_factory=list)
    # Of runs, by their ids; of one that is not there nothing is taken.
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Again on the same port, where it had one."""
        fake = self

        class Bound(_Handler):
            server_fake = fake

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Connections are refused from now on; what is stored stays."""
        self.server.shutdown()
        self.server.server_close()

    def post(self, path: str, body: object) -> Any:
        answer = requests.post(f"{self.uri}{API}{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def count(self, part: str) -> int:
        """Of the questions so far those whose path holds it."""
        return sum(part in path for path in list(self.asked))

    # What it answers.

    def answer(self, method: str, path: str, asked: dict[str, str], body: Any) -> Any:
        match method, path:
            case "POST", "registered-models/create":
                self.models[body["name"]] = {"name": body["name"], "aliases": {}}
                self.versions[body["name"]] = []
                return {"registered_model": {"name": body["name"]}}
            case "POST", "logged-models":
                number = f"m-{len(self.artifacts):032x}"
                folder = f"{body['experiment_id']}/models/{number}/artifacts"
                self.artifacts[f"{folder}/.made"] = b""
                uri = f"mlflow-artifacts:/{folder}"
                return {"model": {"info": {"model_id": number, "artifact_uri": uri}}}
            case "POST", "runs/log-batch":
                if body["run_id"] not in self.metrics:
                    words = f"Run with id={body['run_id']} not found"
                    return 404, "RESOURCE_DOES_NOT_EXIST", words
                self.metrics[body["run_id"]] += body["metrics"]
                return {}
            case "GET", _ if path.startswith("logged-models/"):
                return self.logged(path.split("/")[1], asked.get("artifact_directory_path", ""))
        name = body.get("name", asked.get("name", ""))
        if (model := self.models.get(name)) is None:
            words = f"Registered Model with name={name} not found"
            return 404, "RESOURCE_DOES_NOT_EXIST", words
        if path.startswith("registered-models/"):
            return self.of_model(method, path, model, body)
        return self.of_version(path, self.versions[name], asked, body)

    def of_model(self, method: str, path: str, model: dict[str, Any], body: Any) -> Any:
        if path == "registered-models/get":
            aliases = [{"alias": a, "version": str(v)} for a, v in model["aliases"].items()]
            found = {
                "name": model["name"],
                "creation_timestamp": 1,
                "latest_versions": self.versions[model["name"]][-1:],
                **({"aliases": aliases} if aliases else {}),
            }
            return {"registered_model": found}
        assert path == "registered-models/alias"
        if method == "POST":
            model["aliases"][body["alias"]] = int(body["version"])
        else:
            model["aliases"].pop(body["alias"], None)
        return {}

    def of_version(
        self, path: str, versions: list[dict[str, Any]], asked: dict[str, str], body: Any
    ) -> Any:
        if path == "model-versions/create":
            made = {
                "name": body["name"],
                "version": str(len(versions) + 1),
                "creation_timestamp": time.time_ns() // 1_000_000,
                "current_stage": "None",
                "source": body["source"],
                "run_id": body.get("run_id", ""),
                "status": "READY",
                "tags": body.get("tags", []),
            }
            versions.append(made)
            return {"model_version": made}
        one = versions[int(body.get("version", asked.get("version", "1"))) - 1]
        if path == "model-versions/get":
            return {"model_version": one}
        if path in ("model-versions/set-tag", "model-versions/delete-tag"):
            tags = [tag for tag in one["tags"] if tag["key"] != body["key"]]
            if path.endswith("set-tag"):
                tags.append({"key": body["key"], "value": body["value"]})
            one["tags"] = tags
            return {}
        assert path == "model-versions/get-download-uri"
        scheme = "mlflow-artifacts:/" if self.proxied else "file:///srv/mlflow/"
        return {"artifact_uri": f"{scheme}{self.folder(one)}"}

    def search(self, asked: dict[str, str]) -> Any:
        """Newest first, page by page."""
        name = asked["filter"].removeprefix("name=").strip("'\"")
        assert asked["order_by"] == "version_number DESC"
        found = list(reversed(self.versions.get(name, [])))
        start, count = int(asked.get("page_token", "0")), int(asked["max_results"])
        rest = {"next_page_token": str(start + count)} if len(found) > start + count else {}
        return {"model_versions": found[start : start + count], **rest}

    def folder(self, version: dict[str, Any]) -> str:
        return f"0/models/{version['source'].removeprefix('models:/')}/artifacts"

    def listed(self, folder: str, prefix: str) -> dict[str, Any]:
        """What lies in it; ``prefix`` goes before the names."""
        files: dict[str, dict[str, Any]] = {}
        for path, content in self.artifacts.items():
            if path.startswith(f"{folder}/") and not path.endswith("/.made"):
                name, _, below = path.removeprefix(f"{folder}/").partition("/")
                size = {} if below else {"file_size": len(content)}
                files[name] = {"path": f"{prefix}{name}", "is_dir": bool(below), **size}
        return {"files": [files[name] for name in sorted(files)]}

    def logged(self, model_id: str, below: str) -> dict[str, Any]:
        root = f"0/models/{model_id}/artifacts"
        folder, prefix = (f"{root}/{below}", f"{below}/") if below else (root, "")
        return {"root_uri": f"file:///srv/mlflow/{root}", **self.listed(folder, prefix)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_fake: FakeMlflow

    def __getattr__(self, name: str) -> Any:
        if name in ("do_GET", "do_POST", "do_PUT", "do_DELETE"):
            return self._do
        raise AttributeError(name)

    def _do(self) -> None:
        fake, parts = self.server_fake, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = {key: one[-1] for key, one in parse_qs(parts.query).items()}
        own = self.headers.get("User-Agent", "").startswith("serving/")
        trouble = fake.trouble if own else Trouble()
        if own:
            fake.asked.append(self.path)
        time.sleep(trouble.delay_s)
        if own and fake.token and self.headers.get("Authorization") != f"Bearer {fake.token}":
            return self._send(401, b'{"error_code": "UNAUTHENTICATED", "message": "who?"}')
        if trouble.status:
            return self._send(trouble.status, b"<html>down for repair</html>")
        if parts.path.startswith(PROXY) or parts.path == "/model-versions/get-artifact":
            return self._artifact(parts.path, asked, body, trouble)
        if trouble.said:
            return self._send(200, trouble.said)
        path = parts.path.removeprefix(API)
        with fake.lock:
            if path == "model-versions/search":
                found: Any = fake.search(asked)
            else:
                found = fake.answer(self.command, path, asked, json.loads(body or b"{}"))
        if trouble.forbidden and asked.get("name") == trouble.forbidden:
            found = 403, "PERMISSION_DENIED", "it is not yours"
        if isinstance(found, tuple):
            status, code, words = found
            said = {"error_code": code, "message": words}
            return self._send(status, json.dumps(said).encode())
        return self._send(200, json.dumps(found).encode())

    def _artifact(self, path: str, asked: dict[str, str], body: bytes, trouble: Trouble) -> None:
        fake = self.server_fake
        if path == "/model-versions/get-artifact":
            version = fake.versions[asked["name"]][int(asked["version"]) - 1]
            name = f"{fake.folder(version)}/{asked['path']}"
        elif path == PROXY:
            return self._send(200, json.dumps(fake.listed(asked["path"], "")).encode())
        else:
            name = unquote(path.removeprefix(f"{PROXY}/"))
        if self.command == "PUT":
            fake.artifacts[name] = body
            return self._send(200, b"{}")
        content = fake.artifacts.get(name)
        if content is None or trouble.denied in name:
            return self._send(500, b'{"error_code": "INTERNAL_ERROR", "message": "no such file"}')
        return self._send(200, content + trouble.extra, trouble.cut)

    def _send(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


def serving_fake(**more: Any) -> Iterator[FakeMlflow]:
    """For a fixture."""
    fake = FakeMlflow(**more)
    try:
        yield fake
    finally:
        fake.stop()
