"""Faults 12, 62, 63, 64, 66, 68, 83, 86 and 88: control as a hostile or careless caller meets it,
and the row of the status contract that says who may."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.clients.load import Load
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import Witness
from tests.small_models import scale, tiny, write

BASE = "/api/v1/models"
LOAD = "/v2/repository/models/m/load"
POLLING = "explicit model load / unload is not allowed if polling is enabled"
BEARER = {"Authorization": "Bearer sesame"}


def load(gateway: Gateway, parameters: Any = None, **headers: str) -> HttpAnswer:
    return gateway.post(LOAD, {"parameters": parameters or {}}, **headers)


def admin(gateway: Gateway, path: str, body: object = None, **headers: str) -> HttpAnswer:
    """``body`` None: asks; else commands."""
    return gateway.get(
        f"{BASE}{path}",
        None if body is None else json.dumps(body).encode(),
        "GET" if body is None else "POST",
        headers,
        gateway.admin_port,
    )


def over_grpc(gateway: Gateway, unload: bool = False, **metadata: str) -> grpc.RpcError:
    with channel(gateway) as one:
        rpc = stub(one).RepositoryModelUnload if unload else stub(one).RepositoryModelLoad
        kind = pb.RepositoryModelUnloadRequest if unload else pb.RepositoryModelLoadRequest
        return refusal(rpc, kind(model_name="m"), metadata=list(metadata.items()))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("sesame\n")
    file.chmod(0o600)
    return file


def test_fault_63_exposed_without_a_token_nobody_controls(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    settings = {"host": "0.0.0.0", "admin_host": "0.0.0.0", "model_control": "both"}
    gateway = start_gateway(repository, settings)
    for unload in (False, True):
        error = over_grpc(gateway, unload, authorization="Bearer sesame")
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "no token is configured" in error.details()
    for answer in (load(gateway), admin(gateway, "/m/load", {}), admin(gateway, "")):
        assert (answer.status, set(answer.json())) == (403, {"error"})
    assert gateway.get("/v2/repository/index", b"", "POST").status == 200
    assert gateway.get("/metrics", port=gateway.admin_port).status == 200
    assert "model_repository" not in gateway.get("/v2").json()["extensions"]
    assert gateway.get("/v2/models/m/ready").status == 200
    assert gateway.log().count('"control_refused"') == 2, "once for each address"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_fault_63_with_a_token_control_is_for_who_has_it(
    start_gateway, repository, token_file, host
) -> None:
    write(repository, "m", scale(1))
    settings = {
        "host": host,
        "admin_host": host,
        "model_control": "both",
        "admin_token_file": str(token_file),
    }
    gateway = start_gateway(repository, settings)
    for metadata in ({}, {"authorization": "Bearer wrong"}, {"authorization": "sesame"}):
        for unload in (False, True):
            error = over_grpc(gateway, unload, **metadata)
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        headers = {key.title(): value for key, value in metadata.items()}
        for answer in (
            load(gateway, **headers),
            admin(gateway, "/m/unload", {}, **headers),
            admin(gateway, "/m", **headers),
        ):
            assert (answer.status, set(answer.json())) == (401, {"error"})
            assert answer.headers["www-authenticate"] == "Bearer"
    assert gateway.get("/v2/models/m/ready").status == 200, "nobody unloaded it"
    assert gateway.get("/metrics", port=gateway.admin_port).status == 200
    assert load(gateway, **BEARER).status == 200
    assert admin(gateway, "/m/load", {}, **BEARER).status == 200
    with channel(gateway) as one:
        request = pb.RepositoryModelLoadRequest(model_name="m")
        stub(one).RepositoryModelLoad(
            request, timeout=20, metadata=[("authorization", "Bearer sesame")]
        )
    assert "model_repository" in gateway.get("/v2").json()["extensions"]
    fresh = token_file.with_name("fresh")
    fresh.write_text("open")
    fresh.chmod(0o600)
    fresh.replace(token_file)
    wait_until(
        lambda: admin(gateway, "/m", Authorization="Bearer open").status == 200, 5, "rotated"
    )
    assert admin(gateway, "/m", **BEARER).status == 401
    assert "sesame" not in gateway.log()


def test_fault_63_with_a_token_nothing_that_shows_data_is_for_everybody(
    start_gateway, repository, token_file
) -> None:
    """Metrics, health, the entrance and the document are, which show none."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"admin_token_file": str(token_file)})
    port = gateway.admin_port
    for path, calls in gateway.get("/api/openapi.json", port=port).json()["paths"].items():
        if not path.startswith("/api/v1/") or "get" not in calls:
            continue
        asked = path.replace("{name}", "m").replace("{version}", "1").replace("{alias}", "a")
        answer = gateway.get(asked, port=port)
        assert answer.status == 401, (path, answer)


def test_fault_63_by_default_no_call_changes_what_is_served(gateway: Gateway) -> None:
    answer = gateway.post("/v2/repository/models/tiny/unload", {})
    assert (answer.status, answer.json()) == (503, {"error": POLLING})
    error = over_grpc(gateway)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, POLLING)
    assert gateway.get("/v2/models/tiny/ready").status == 200


def test_fault_63_a_web_page_cannot_reach_through_a_browser(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"model_control": "both"})
    for headers, on_admin in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "rebound.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert load(gateway, **headers).status == 403
        assert admin(gateway, "/m/unload", {}, **headers).status == on_admin
        assert admin(gateway, "", **headers).status == on_admin
    assert gateway.get("/v2/models/m/ready").status == 200


def test_a_token_file_that_is_none_stops_the_start(start_gateway, repository, tmp_path) -> None:
    gateway = start_gateway(repository, {"admin_token_file": str(tmp_path / "nothing")}, wait=False)
    assert gateway.process.wait(30) == 1
    assert "admin_token_file" in gateway.log()
    gateway.assert_clean_log()


@pytest.fixture
def uploads(start_gateway, repository) -> Gateway:
    write(repository, "m", scale(1))
    settings = {"model_control": "both", "control.uploads": "true"}
    return start_gateway(repository, settings)


def _file(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_fault_12_62_files_elsewhere_and_code_are_refused_before_writing(
    uploads: Gateway,
) -> None:
    before = _everything(uploads.folder)
    for name in (
        "../../../escape.onnx",
        "1/../../escape.onnx",
        "/tmp/escape.onnx",
        "1/" + "x" * 256,
        "1/libops.so",
        "config.pbtxt",
    ):
        files = {"file:1/model.onnx": _file(b"x"), f"file:{name}": ""}
        assert load(uploads, {"config": "{}", **files}).status == 400, name
        with channel(uploads) as one:
            request = pb.RepositoryModelLoadRequest(model_name="m")
            request.parameters["config"].string_param = "{}"
            request.parameters[f"file:{name}"].bytes_param = b"x"
            error = refusal(stub(one).RepositoryModelLoad, request)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, name
    assert _everything(uploads.folder) == before
    assert uploads.get("/v2/models/m/ready").status == 200


def _everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name != "gateway.log"}


def test_fault_64_nothing_in_a_request_names_a_place_to_fetch_from(uploads: Gateway) -> None:
    url = "http://127.0.0.1:9/model.onnx"
    for parameters in (
        {"url": url},
        {"model_url": url},
        {"config": json.dumps({"default_model_filename": url})},
        {"config": json.dumps({"url": url})},
        {"config": "{}", f"file:{url}": ""},
        {"config": "{}", "file:file:///etc/passwd": ""},
    ):
        assert load(uploads, parameters).status == 400, parameters
    assert uploads.post(LOAD, {"url": url}).status == 400
    assert admin(uploads, "/m/load", {"url": url}).status == 400
    name = "http:%2f%2f127.0.0.1:9%2fm"
    assert uploads.post(f"/v2/repository/models/{name}/load", {}).status == 400
    assert uploads.get("/v2/models/m/ready").status == 200


def test_fault_66_names_reach_no_shell(uploads: Gateway) -> None:
    for name in ("$(touch%20hit)", "%60touch%20hit%60", "a;touch%20hit", "-rf"):
        for path in (f"/v2/repository/models/{name}/load", f"/v2/repository/models/{name}/unload"):
            assert uploads.post(path, {}).status in {200, 404}, path
        assert admin(uploads, f"/{name}/load", {}).status == 404
    assert admin(uploads, "/a%0ab/load", {}).status == 400
    assert not list(uploads.folder.rglob("hit"))


def test_fault_68_what_was_uploaded_lies_in_private_folders(uploads: Gateway) -> None:
    content = scale(3).SerializeToString()
    answer = load(uploads, {"config": "{}", "file:4/model.onnx": _file(content)})
    assert answer.status == 200, answer
    kept = [path.parents[1] for path in uploads.folder.rglob("4/model.onnx")]
    assert kept, "the sent files are below the state directory"
    for folder in {parent for path in kept for parent in path.parents}:
        if uploads.folder / "state" in (folder, *folder.parents):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    uploads.stop()
    assert not list(uploads.folder.rglob("4/model.onnx"))


def test_fault_83_readiness_does_not_flap_on_reload_and_ends_with_the_last_version(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"model_control": "both"})
    seen: set[tuple[int, int]] = set()
    with Load(gateway, "m", clients=2) as traffic:
        for turn in range(6):
            config = json.dumps({"max_batch_size": turn + 1})
            waiting = admin_async(gateway, config)
            while not waiting.done():
                seen.add((ready(gateway, "/v2/health/ready"), ready(gateway, "/v2/models/m/ready")))
            assert waiting.result().status == 200
    assert seen == {(200, 200)}
    assert not traffic.failures
    assert admin(gateway, "/m/unload", {}).status == 200
    assert ready(gateway, "/v2/models/m/ready") == 503
    assert gateway.infer("m", {"inputs": []}).status == 503
    assert admin(gateway, "/m/load", {}).status == 200
    assert ready(gateway, "/v2/models/m/ready") == 200


def ready(gateway: Gateway, path: str) -> int:
    return gateway.get(path).status


def admin_async(gateway: Gateway, config: str) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(load, gateway, {"config": config})
    finally:
        pool.shutdown(wait=False)


def test_fault_86_a_path_that_cannot_be_read_fails_its_own_reload_soon(
    start_gateway, repository
) -> None:
    """A named pipe never gives a byte; a link to itself never ends."""
    write(repository, "tiny", tiny())
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"model_control": "both"})
    (repository / "m" / "1" / "model.onnx").unlink()
    os.mkfifo(repository / "m" / "1" / "model.onnx")
    (repository / "loop" / "1").mkdir(parents=True)
    (repository / "loop" / "1" / "model.onnx").symlink_to("model.onnx")
    with Witness(gateway):
        started = time.monotonic()
        answers = {name: admin(gateway, f"/{name}/load", {}) for name in ("m", "loop", "tiny")}
        assert time.monotonic() - started < 30
    assert answers["tiny"].status == 200
    for name in ("m", "loop"):
        assert answers[name].status in {400, 404, 503}, answers[name]
        assert answers[name].json()["error"]
    assert admin(gateway, "").status == 200
    assert gateway.get("/v2/models/m/ready").status == 200, "what served serves on"


def test_fault_88_lists_show_what_lives_and_history_is_bounded(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"model_control": "both"})
    for turn in range(40):
        config = json.dumps({"max_batch_size": turn + 1})
        assert load(gateway, {"config": config}).status == 200
    (model,) = admin(gateway, "").json()["models"]
    assert [(v["version"], v["state"]) for v in model["versions"]] == [(1, "READY")]
    assert len(gateway.index()) == 1
    events = admin(gateway, "/m/history").json()["events"]
    assert 0 < len(events) <= 256
    assert events == sorted(events, key=lambda event: event["at"])
    assert admin(gateway, "/m/unload", {}).status == 200
    (model,) = admin(gateway, "").json()["models"]
    assert "READY" not in {v["state"] for v in model["versions"]}
    assert gateway.get("/v2/models/m").status == 503, "200 is for what answers"
