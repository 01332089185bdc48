"""Models on a WebDAV server, by ``http://``: what a folder there holds is followed and served."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import serving
from serving.registry.copying import PublishError
from tests.clients import environments
from tests.clients.gateway import free_ports, wait_until
from tests.clients.load import BODY
from tests.small_models import scale, write

REQUIREMENT = "wsgidav==4.4.0"
_NEEDS = ("cheroot==11.1.2", "defusedxml", "Jinja2", "json5", "PyYAML")

pytestmark = [pytest.mark.object_store, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def webdav(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The folder that it serves, and its URL."""
    interpreter = environments.interpreter(REQUIREMENT, 600, _NEEDS)
    root, (port,) = tmp_path / "served", free_ports(1)
    root.mkdir()
    where = ["--host", "127.0.0.1", "--port", str(port), "--root", str(root)]
    with (tmp_path / "webdav.log").open("wb") as log:
        process = subprocess.Popen(
            [
                interpreter.with_name("wsgidav"),
                *where,
                "--auth",
                "anonymous",
                "--server",
                "cheroot",
            ],
            env={**environments.variables(), "HOME": str(tmp_path)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, (tmp_path / "webdav.log").read_text()
        try:
            return requests.options(url, timeout=5).status_code < 500
        except requests.RequestException:
            return False

    try:
        wait_until(up, 60, "it answers", every=0.2)
        yield root, url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("below", ["", "/some/models"])
def test_a_folder_of_models_is_followed_and_served(
    webdav: tuple[Path, str], start_gateway: Any, tmp_path: Path, below: str
) -> None:
    root, url = webdav
    models = root / below.strip("/")
    models.mkdir(parents=True, exist_ok=True)
    write(models, "m", scale(1), 1)
    write(models, "m", scale(2), 2, yaml="version_policy: all\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {"registry.store_poll_s": "0.5", "registry.store_timeout_s": "5"}
    gateway = start_gateway(empty, settings, arguments=(f"{url}{below}",))

    def answers(version: int) -> bool:
        answer = gateway.get("/v2/models/m/infer", BODY, "POST")
        return bool(answer.status == 200 and answer.json()["model_version"] == str(version))

    wait_until(lambda: answers(2), 60, "version 2 answers")
    assert gateway.get("/v2/models/m/versions/1/infer", BODY, "POST").status == 200
    write(models, "m", scale(3), 3)
    wait_until(lambda: answers(3), 60, "version 3 answers")
    gateway.assert_clean_log()


def test_publishing_there_is_refused_in_words(webdav: tuple[Path, str], tmp_path: Path) -> None:
    """It can't write a file only where none is, so two publishers could get one version."""
    root, url = webdav
    (root / "models").mkdir()
    file = tmp_path / "scale.onnx"
    file.write_bytes(scale(1).SerializeToString())
    with pytest.raises(PublishError, match="it cannot write a file only where none is yet"):
        serving.publish(file, f"{url}/models", "m")
    assert not list(root.rglob("*.onnx"))
