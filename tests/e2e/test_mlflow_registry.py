"""Models of MLflow's registry, followed: of a fake that answers as the real one was seen to, and
that can fail in every way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clients.fake_mlflow import FakeMlflow, Trouble, serving_fake
from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import BODY, Load
from tests.clients.mlflow_registering import files_of, register, set_alias, set_tag
from tests.small_models import scale, write


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    yield from serving_fake()


def lay(mlflow: FakeMlflow, name: str, *factors: int) -> None:
    """Versions of a model that multiplies by their number."""
    for factor in factors:
        files = files_of(scale(factor).SerializeToString())
        register(mlflow, name, files, new=name not in mlflow.models)


def following(mlflow: FakeMlflow, **more: str) -> dict[str, str]:
    return {"registry.mlflow.uri": mlflow.uri, "registry.mlflow.poll_s": "0.2", **more}


def arguments(*models: str) -> tuple[str, ...]:
    return ("--registry", "mlflow", *(part for model in models for part in ("--model", model)))


def answers(gateway: Gateway, model: str, version: int, by: str = "") -> None:
    """``by``: an alias."""
    path = f"/v2/models/{model}/infer" if not by else f"/v1/models/{model}/labels/{by}:predict"

    def answered() -> bool:
        if by:
            aliases = gateway.get(f"/api/v1/models/{model}", port=gateway.admin_port).json()
            return bool(aliases.get("aliases", {}).get(by) == version)
        answer = gateway.get(path, BODY, "POST")
        return answer.status == 200 and answer.json()["model_version"] == str(version)

    wait_until(answered, 20, f"version {version} of {model} answers{f' to {by}' if by else ''}")


def source(gateway: Gateway) -> dict[str, Any]:
    answer = gateway.get("/api/v1/sources", port=gateway.admin_port).json()
    (found,) = answer["sources"]
    return dict(found)


def test_an_alias_that_is_moved_moves_the_answer_and_loses_no_request(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "digits", 1, 2, 3)
    lay(mlflow, "newest", 1)
    set_alias(mlflow, "digits", "champion", 1)
    set_alias(mlflow, "digits", "challenger", 2)
    write(repository, "local", scale(1))
    gateway = start_gateway(
        repository, following(mlflow), arguments=arguments("digits@champion", "newest")
    )
    answers(gateway, "digits", 1)
    answers(gateway, "digits", 2, by="challenger")
    answers(gateway, "newest", 1)
    answers(gateway, "local", 1)
    with Load(gateway, "digits", clients=1) as load:
        wait_until(lambda: load.versions["1"] > 3, 20, "version 1 answers")
        set_alias(mlflow, "digits", "champion", 3)
        wait_until(lambda: load.versions["3"] > 3, 20, "the champion is version 3")
        answers(gateway, "digits", 3, by="champion")
        # Back to a lower one.
        before = load.versions["1"]
        set_alias(mlflow, "digits", "champion", 1)
        wait_until(lambda: load.versions["1"] > before + 3, 20, "it is version 1 again")
    assert not load.failures
    assert not load.refused
    lay(mlflow, "newest", 2)
    answers(gateway, "newest", 2)
    history = gateway.get("/api/v1/models/digits/history", port=gateway.admin_port).json()
    assert any("MLflow's registry says so" in one["reason"] for one in history["events"])
    route = gateway.get("/api/v1/models/digits/route/history", port=gateway.admin_port).json()
    assert "alias 'champion' names version 3" in str(route)
    told = b'{"alias": "champion", "version": 2}'
    refused = gateway.get("/api/v1/models/digits/label", told, "POST", port=gateway.admin_port)
    assert refused.status == 400
    assert "MLflow's registry says what 'champion'" in refused.json()["error"]


def test_only_versions_whose_tags_pass_are_taken(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    set_tag(mlflow, "m", 1, "validation_status", "passed")
    set_alias(mlflow, "m", "champion", 1)
    rules = {"registry.mlflow.tags": "validation_status=passed, !quarantined"}
    gateway = start_gateway(
        repository, following(mlflow, **rules), arguments=arguments("m@champion")
    )
    answers(gateway, "m", 1)
    set_alias(mlflow, "m", "champion", 2)
    words = "alias 'champion' names version 2, which is not taken (no tag 'validation_status'"
    wait_until(lambda: words in gateway.log(), 20, "the log says why")
    answers(gateway, "m", 1)
    set_tag(mlflow, "m", 2, "validation_status", "passed")
    answers(gateway, "m", 2)


def test_fault_17_a_registry_that_is_down_slow_or_lies_takes_nothing_away(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1)
    write(repository, "local", scale(1))
    settings = following(mlflow, **{"registry.mlflow.timeout_s": "0.5", "model_control": "both"})
    gateway = start_gateway(repository, settings, arguments=arguments("m"))
    answers(gateway, "m", 1)
    with Load(gateway, "m", clients=1) as load:
        for trouble in (
            Trouble(status=503),
            Trouble(delay_s=2.0),
            Trouble(said=b'{"registered_model": {"name": "other"}}'),
        ):
            mlflow.trouble = trouble
            wait_until(lambda: source(gateway)["error"], 20, f"{trouble} is told of")
            assert "since" in source(gateway)["error"]
            # Nobody else's commands wait for it.
            assert gateway.post("/v2/repository/models/local/load", {}).status == 200
            mlflow.trouble = Trouble()
            wait_until(lambda: not source(gateway)["error"], 20, "it answers again")
        # It says, in good form, that there is nothing any more.
        kept = mlflow.versions.pop("m"), mlflow.models.pop("m")
        wait_until(lambda: "not found" in gateway.log(), 20, "that is told of")
        mlflow.versions["m"], mlflow.models["m"] = kept
        lay(mlflow, "m", 2)
        wait_until(lambda: load.versions["2"] > 5, 20, "version 2 answers")
    assert not load.failures
    assert not load.refused
    assert gateway.ready()


def test_fault_17_a_start_without_the_registry_serves_the_last_good_copies(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    set_alias(mlflow, "m", "champion", 1)
    settings = following(mlflow, state_dir=str(tmp_path / "state"))
    told = arguments("m@champion", "unknown")
    first = start_gateway(repository, settings, arguments=told)
    answers(first, "m", 1)
    # What the alias names now can't be had: the one before is kept for a start.
    mlflow.trouble = Trouble(denied="model.onnx")
    set_alias(mlflow, "m", "champion", 2)
    wait_until(lambda: first.index().get(("m", "2"), {}).get("reason"), 20, "version 2 fails")
    assert first.stop() == 0
    again = start_gateway(repository, settings, arguments=told)
    answers(again, "m", 1)
    assert again.stop() == 0
    mlflow.stop()
    alone = start_gateway(repository, settings, arguments=told)
    answers(alone, "m", 1)
    assert "connection refused" in source(alone)["error"]
    assert alone.get("/v2/models/unknown/infer", BODY, "POST").status == 503
    assert alone.get("/v2/models/never/infer", BODY, "POST").status == 404
    # It comes back, with what was asked for.
    mlflow.trouble = Trouble()
    mlflow.start()
    answers(alone, "m", 2)


def test_fault_17_a_start_has_the_last_version_that_was_ready_where_the_aliass_own_is_corrupt(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1)
    register(mlflow, "m", files_of(b"corrupt"), new=False)
    set_alias(mlflow, "m", "champion", 1)
    settings = following(mlflow, state_dir=str(tmp_path / "state"))
    gateway = start_gateway(repository, settings, arguments=arguments("m@champion"))
    answers(gateway, "m", 1)
    set_alias(mlflow, "m", "champion", 2)
    wait_until(lambda: gateway.index().get(("m", "2"), {}).get("reason"), 20, "version 2 fails")
    answers(gateway, "m", 1)
    for _ in range(2):
        assert gateway.stop() == 0
        gateway = start_gateway(repository, settings, arguments=arguments("m@champion"))
        answers(gateway, "m", 1)
        mlflow.trouble = Trouble(status=503)


def test_one_model_that_is_not_answered_as_it_should_be_keeps_no_other_back(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "a", 1)
    lay(mlflow, "b", 1)
    gateway = start_gateway(repository, following(mlflow), arguments=arguments("a", "b"))
    answers(gateway, "a", 1)
    answers(gateway, "b", 1)
    mlflow.versions["a"][-1]["creation_timestamp"] = 10**400
    lay(mlflow, "b", 2)
    answers(gateway, "b", 2)
    answers(gateway, "a", 1)
    wait_until(lambda: "no time in milliseconds" in gateway.log(), 20, "the log says why")


def test_fault_17_a_model_that_may_not_be_asked_about_at_the_first_look_serves_its_last_good_copy(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1)
    lay(mlflow, "other", 1)
    settings = following(mlflow, state_dir=str(tmp_path / "state"))
    told = arguments("m", "other")
    first = start_gateway(repository, settings, arguments=told)
    answers(first, "m", 1)
    answers(first, "other", 1)
    assert first.stop() == 0
    mlflow.trouble = Trouble(forbidden="m")
    lay(mlflow, "other", 2)
    again = start_gateway(repository, settings, arguments=told)
    answers(again, "m", 1)
    answers(again, "other", 2)
    wait_until(lambda: "it is not yours; the copies that were kept serve" in again.log(), 20, "why")


@pytest.mark.slow
def test_what_comes_otherwise_than_listed_is_never_served_and_is_told_in_words(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1)
    settings = following(mlflow, **{"loading.retry_first_s": "0.2", "loading.retry_max_s": "0.2"})
    gateway = start_gateway(repository, settings, arguments=arguments("m"))
    answers(gateway, "m", 1)
    for factor, trouble in ((2, Trouble(cut=20)), (3, Trouble(extra=b"more"))):
        mlflow.trouble = trouble
        lay(mlflow, "m", factor)
        failed = ("m", str(factor))
        reason = wait_until(lambda: gateway.index().get(failed, {}).get("reason"), 20, "it fails")  # noqa: B023 - called at once
        assert "could not be had from MLflow" in reason
        assert str(mlflow.port) not in reason
        answers(gateway, "m", 1)
        mlflow.trouble = Trouble()
        answers(gateway, "m", factor)
        mlflow.versions["m"].pop()
        mlflow.versions["m"].append(dict(mlflow.versions["m"][0], version=str(factor), status="X"))
        answers(gateway, "m", 1)


@pytest.mark.parametrize("proxied", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_all_files_of_a_version_come_from_the_proxy_or_through_the_server(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow, proxied: bool
) -> None:
    mlflow.proxied, mlflow.token = proxied, "secret-token"
    deep = {"code/lib/a b.txt": b"text", "input_example.json": b'{"inputs": {"X": [[1.0, 2.0]]}}'}
    files = {**files_of(scale(4).SerializeToString()), **deep}
    register(mlflow, "m", files, new=True)
    settings = following(mlflow, **{"registry.mlflow.token": "secret-token"})
    gateway = start_gateway(repository, settings, arguments=arguments("models:/m/1"))
    answers(gateway, "m", 1)
    entries = gateway.folder / "state" / "versions" / "entries"
    (folder,) = (path for path in entries.iterdir() if path.is_dir())
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == files
    assert "secret-token" not in gateway.log()
    # What is on the disk is looked at before it is used again.
    shutil.rmtree(folder)
    loaded = gateway.get("/api/v1/models/m/load", b"{}", "POST", port=gateway.admin_port)
    assert loaded.status == 200, loaded.body


@pytest.mark.slow
def test_a_model_that_a_directory_has_too_is_its_own_error(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1)
    gateway = start_gateway(repository, following(mlflow), arguments=arguments("m"))
    answers(gateway, "m", 1)
    write(repository, "m", scale(7), 7)
    write(repository, "other", scale(1))
    wait_until(lambda: "it is there more than once" in gateway.log(), 20, "the log says so")
    answers(gateway, "other", 1)
    answers(gateway, "m", 1)


def delivery(secret: str, number: str, at: float, name: str = "m") -> tuple[bytes, dict[str, str]]:
    """As MLflow sends it."""
    data = {"name": name, "alias": "champion", "version": "2"}
    said = {"entity": "model_version_alias", "action": "created", "data": data}
    body, stamp = json.dumps(said).encode(), str(int(at))
    digest = hmac.new(secret.encode(), f"{number}.{stamp}.".encode() + body, hashlib.sha256)
    signature = base64.b64encode(digest.digest()).decode()
    return body, {
        "X-MLflow-Delivery-Id": number,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": f"v1,{signature}",
    }


def test_a_webhook_moves_the_answer_at_once_and_nobody_else_can_send_one(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    set_alias(mlflow, "m", "champion", 1)
    set_alias(mlflow, "m", "challenger", 2)
    hour = {"registry.mlflow.poll_s": "3600", "registry.mlflow.webhook_secret": "hush"}
    gateway = start_gateway(
        repository, following(mlflow, **hour), arguments=arguments("m@champion")
    )
    answers(gateway, "m", 1)
    answers(gateway, "m", 2, by="challenger")

    def send(body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        path = "/api/v1/sources/mlflow/webhook"
        answer = gateway.get(path, body, "POST", headers, port=gateway.admin_port)
        return answer.status, answer.json()

    set_alias(mlflow, "m", "champion", 2)
    before = mlflow.count("registered-models/get")
    now = time.time()
    right = delivery("hush", "one", now)
    assert send(*delivery("guess", "one", now))[0] == 403
    assert send(*delivery("hush", "late", now - 600))[0] == 403
    assert send(right[0], {})[0] == 403
    assert send(b"x" * 70_000, right[1])[0] in (403, 413)
    assert send(*delivery("hush", "other", now, "not followed")) == (200, {"followed": False})
    assert mlflow.count("registered-models/get") == before
    with Load(gateway, "m", clients=1) as load:
        wait_until(lambda: load.versions["1"] > 5, 20, "version 1 still answers")
        sent = time.monotonic()
        assert send(*right) == (200, {"followed": True})
        wait_until(lambda: load.versions["2"] > 0, 20, "version 2 answers", every=0.01)
        # It was ready: two seconds are promised, and a busy machine gets some more.
        assert time.monotonic() - sent < 6
    assert not load.failures
    asked = mlflow.count("registered-models/get")
    assert send(*right)[0] == 403
    assert mlflow.count("registered-models/get") == asked


@pytest.mark.slow
def test_a_command_about_another_model_waits_for_no_registry(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "far", 1)
    write(repository, "near", scale(1))
    patient = following(mlflow, **{"registry.mlflow.timeout_s": "6"})
    gateway = start_gateway(repository, patient, arguments=arguments("far"))
    answers(gateway, "far", 1)
    answers(gateway, "near", 1)
    mlflow.trouble = Trouble(delay_s=60.0)

    def load(model: str) -> int:
        path = f"/api/v1/models/{model}/load"
        return int(gateway.get(path, b"{}", "POST", port=gateway.admin_port, timeout=30).status)

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(load, "far")
        time.sleep(0.3)
        began = time.monotonic()
        assert load("near") == 200
        assert time.monotonic() - began < 4.0
        assert not slow.done()
        mlflow.trouble = Trouble()
