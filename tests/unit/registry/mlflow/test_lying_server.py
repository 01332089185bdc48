"""An MLflow server that lies about what it has: its lists end, and its names lead nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from serving.http_client import HttpAnswer
from serving.mlflow_rest import MlflowError
from serving.registry.mlflow.answers import RegisteredVersion
from serving.registry.mlflow.api import MlflowRegistry
from serving.registry.mlflow.artifacts import MlflowRemote
from serving.registry.remote.listing import RemoteError, checked

Said = Mapping[str, Any]


class Server:
    """In place of an HTTP client: ``answer`` of the path; each takes as long as it may."""

    def __init__(self, answer: Callable[[str], Said]) -> None:
        self.answer, self.now, self.asked = answer, 0.0, 0

    def request(self, method: str, path: str, *_: object) -> HttpAnswer:
        self.asked += 1
        self.now += 9.9
        return HttpAnswer(200, {}, json.dumps(self.answer(path)).encode())

    def close(self) -> None:
        """Nothing is open."""


def registry(server: Server) -> MlflowRegistry:
    return MlflowRegistry(server, (), 100.0, lambda: server.now)  # type: ignore[arg-type]  # a stand-in


def test_versions_without_end_are_ended() -> None:
    def page(path: str) -> Said:
        number = server.asked
        version = {"name": "m", "version": str(number)}
        return {"model_versions": [version], "next_page_token": f"t{number}"}

    server = Server(page)
    with pytest.raises(MlflowError, match="its versions did not all come in 100 s"):
        registry(server).versions("m")
    assert server.asked < 15


def remote(files: list[Any] | Callable[[], list[Any]]) -> tuple[Server, MlflowRemote]:
    def answer(path: str) -> Said:
        if "get-download-uri" in path:
            return {"artifact_uri": "mlflow-artifacts:/1/m"}
        return {"files": files() if callable(files) else files}

    server = Server(answer)
    return server, MlflowRemote(registry(server), "m", RegisteredVersion(1))


def file(path: object, size: object = 5, *, folder: bool = False) -> dict[str, object]:
    return {"path": path, "is_dir": folder, "file_size": size}


def test_folders_without_end_are_ended() -> None:
    wide = [file(f"d{number}", folder=True) for number in range(900)]
    server, one = remote(lambda: wide if server.asked == 2 else [file("x")])
    with pytest.raises(RemoteError) as caught:
        one.listing()
    assert "the list of its files did not all come in 100 s" in (caught.value.detail or "")
    assert server.asked < 15


@pytest.mark.parametrize(
    "entry",
    [
        *(file(path) for path in ("..", ".", "", "../x", "/etc/passwd", "a/b", "a\\..\\b")),
        *(file(path) for path in ("a\0b", "a\nb", "a\ud800", "a" * 5000, None, 5, [])),
        *(file("a", size) for size in (-1, 1.5, True, None, "9" * 5000, "1e3", [])),
        *("x", 5, None, {}),
    ],
)
def test_files_by_odd_names_and_sizes_are_refused(entry: object) -> None:
    _, one = remote([file("model.onnx"), entry])
    with pytest.raises(RemoteError):
        checked(one.listing())
