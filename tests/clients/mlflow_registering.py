"""Models put into an MLflow server's registry by its REST API: into the fake's, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import requests

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class Server(Protocol):
    @property
    def uri(self) -> str: ...

    def post(self, path: str, body: object) -> Any: ...


def files_of(model: bytes, mlmodel: str = "") -> dict[str, bytes]:
    """As MLflow lays a model in ONNX's format."""
    said = mlmodel or (
        "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.19.0\n"
        "mlflow_version: 3.17.2\n"
    )
    return {"MLmodel": said.encode(), "model.onnx": model}


def register(
    server: Server,
    name: str,
    files: Mapping[str, bytes],
    tags: Mapping[str, str] | None = None,
    *,
    new: bool = False,
) -> int:
    """A logged model with these files, as the next version of a registered one, which is made
    where it is ``new``; its number."""
    if new:
        server.post("registered-models/create", {"name": name})
    made = server.post("logged-models", {"experiment_id": "0", "name": name})
    info = made["model"]["info"]
    folder = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path, content in files.items():
        url = f"{server.uri}{PROXY}/{quote(folder)}/{quote(path)}"
        requests.put(url, data=content, timeout=30).raise_for_status()
    body = {
        "name": name,
        "source": f"models:/{info['model_id']}",
        "model_id": info["model_id"],
        "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
    }
    return int(server.post("model-versions/create", body)["model_version"]["version"])


def set_alias(server: Server, name: str, alias: str, version: int) -> None:
    server.post("registered-models/alias", {"name": name, "alias": alias, "version": str(version)})


def set_tag(server: Server, name: str, version: int, key: str, value: str) -> None:
    body = {"name": name, "version": str(version), "key": key, "value": value}
    server.post("model-versions/set-tag", body)
