"""TensorFlow Serving's model config lists: a file that a gateway follows, and reloads by call."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import service_pb2 as pb

from serving.wire import tfs_messages
from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.clients.tfs import MODELS, model_spec, predict_request, stub
from tests.clients.triton import channel, refusal
from tests.clients.triton import stub as oip_stub
from tests.small_models import UNBATCHED, scale, slow_to_load, write

X = np.array([[1, 2]], np.float32)


def entry(name: str, base: Path, more: str = "", platform: str = "tensorflow") -> str:
    return f"config {{ name: '{name}' base_path: '{base}' model_platform: '{platform}' {more} }}"


def listed(*configs: str) -> str:
    return f"model_config_list {{ {' '.join(configs)} }}"


def label(name: str, version: int) -> str:
    return f"version_labels {{ key: '{name}' value: {version} }}"


def predict(gateway: Gateway, model: str, version: int | str | None = None) -> Any:
    """The version that answered, or the error's code."""
    request = predict_request(model, {"X": X}, version=version)
    with channel(gateway) as one:
        try:
            return stub(one, "Predict")(request, timeout=20).model_spec.version.value
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()  # type: ignore[attr-defined]  # an error of a call has one
            return code.name


def request_of(text: str, metrics: Sequence[str] = ()) -> Any:
    request = tfs_messages.ReloadConfigRequest(metric_names=metrics)
    text_format.Parse(text, request.config, descriptor_pool=tfs_messages.pool)
    return request


def reload(gateway: Gateway, text: str, timeout: float = 30, metrics: Sequence[str] = ()) -> Any:
    with channel(gateway) as one:
        call = stub(one, "HandleReloadConfigRequest", of=MODELS)
        return call(request_of(text, metrics), timeout=timeout)


def refused(gateway: Gateway, text: str, timeout: float = 30) -> tuple[str, str]:
    with channel(gateway) as one:
        call = stub(one, "HandleReloadConfigRequest", of=MODELS)
        error: Any = refusal(call, request_of(text), timeout=timeout)
    return error.code().name, error.details()


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    """Base paths: of ``a`` versions 1 and 2, of ``b`` version 5."""
    folder = tmp_path / "bases"
    write(folder, "a", scale(1), 1)
    write(folder, "a", scale(2), 2)
    write(folder, "b", scale(5), 5)
    (folder / "a" / "2").rename(folder / "a" / "00000002")
    return folder


def test_a_list_is_served_and_followed_when_its_file_changes(
    start_gateway, repository: Path, bases: Path, tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    file.write_text(listed(entry("alpha", bases / "a", label("stable", 1))))
    settings = {"tensorflow_serving.config_file": str(file)}
    settings |= {"tensorflow_serving.config_poll_s": "0.1", "registry.scan_interval_s": "0.1"}
    gateway = start_gateway(repository, settings)
    assert [predict(gateway, "alpha", one) for one in (None, "stable", 1)] == [2, 1, 1]
    assert predict(gateway, "alpha", "canary") == "INVALID_ARGUMENT"
    both = listed(
        entry("alpha", bases / "a", label("stable", 2)), entry("beta", bases / "b", platform="onnx")
    )
    file.write_text(both)
    wait_until(lambda: predict(gateway, "alpha", "stable") == 2, 20, "the label moved")
    wait_until(lambda: predict(gateway, "beta") == 5, 20, "the other model is served")
    file.write_text("model_config_list { config { name: 'alpha' } }")
    wait_until(lambda: gateway.events("registry_entry_ignored"), 20, "what is wrong is said")
    assert [predict(gateway, "alpha"), predict(gateway, "beta")] == [2, 5]
    file.write_text(listed(entry("beta", bases / "b", platform="onnx")))
    wait_until(lambda: predict(gateway, "alpha") == "NOT_FOUND", 20, "it was taken out")
    error = refused(gateway, both)
    assert error == (
        "UNAVAILABLE",
        "explicit model load / unload is not allowed if polling is enabled",
    )


def test_without_a_poll_the_file_is_read_at_sighup(
    start_gateway, repository: Path, bases: Path, tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    file.write_text(listed(entry("alpha", bases / "a")))
    settings = {"tensorflow_serving.config_file": str(file)}
    settings |= {"tensorflow_serving.config_poll_s": "0", "registry.scan_interval_s": "0.1"}
    gateway = start_gateway(repository, settings)
    file.write_text(listed(entry("beta", bases / "b")))
    write(repository, "later", scale(3), 3)
    wait_until(lambda: predict(gateway, "later") == 3, 20, "all else was looked at meanwhile")
    assert predict(gateway, "beta") == "NOT_FOUND"
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: predict(gateway, "beta") == 5, 20, "it was read")


def test_a_reload_by_call_is_answered_when_its_models_are(start_gateway, bases: Path) -> None:
    write(bases, "slow", slow_to_load(0.05), config=UNBATCHED)
    gateway = start_gateway(bases, {"model_control": "explicit"})
    text = listed(
        entry("alpha", bases / "a", label("stable", 1)), entry("slow-one", bases / "slow")
    )
    names = ["/tensorflow/serving/request_count", "serving_connection_total"]
    said = reload(gateway, text, metrics=names)
    assert (said.HasField("status"), said.status.error_code) == (True, 0)
    # Of connections the call's own, where it was not counted before.
    told = {one.name: one.int64_value_increase for one in said.metric}
    assert (list(told), told[names[0]], told[names[1]] <= 1) == (names, 0, True)
    with channel(gateway) as one:
        asked = tfs_messages.GetModelStatusRequest(model_spec=model_spec("slow-one"))
        answer = stub(one, "GetModelStatus", of=MODELS)(asked, timeout=10)
    assert [(one.version, one.state) for one in answer.model_version_status] == [(1, 30)]
    assert [predict(gateway, "alpha", one) for one in (None, "stable")] == [2, 1]
    # Nothing of a list that is wrong anywhere counts.
    for wrong, code in (
        (entry("beta", bases / "b", label("x", 9)), "FAILED_PRECONDITION"),
        (entry("beta", bases / "nowhere"), "NOT_FOUND"),
        (entry("beta", Path("/usr")), "PERMISSION_DENIED"),
        (entry("alpha", bases / "a"), "INVALID_ARGUMENT"),
    ):
        assert refused(gateway, listed(entry("alpha", bases / "a"), wrong))[0] == code
    assert predict(gateway, "alpha", "stable") == 1
    assert reload(gateway, listed(entry("beta", bases / "b"))).status.error_code == 0
    assert predict(gateway, "beta") == 5
    wait_until(lambda: predict(gateway, "alpha") == "NOT_FOUND", 20, "it was left out")


def test_fault_86_a_reload_ends_with_its_deadline_and_says_which_model_failed(
    start_gateway, repository: Path
) -> None:
    write(repository, "good", scale(1))
    write(repository, "broken", b"not a model")
    write(repository, "slow", slow_to_load(0.2), config=UNBATCHED)
    gateway = start_gateway(repository, {"model_control": "explicit"})
    good, slow = entry("g", repository / "good"), entry("s", repository / "slow")
    code, words = refused(gateway, listed(good, entry("b", repository / "broken")))
    assert (code, "load failed for model 'b': version 1" in words) == ("INVALID_ARGUMENT", True)
    assert predict(gateway, "g") == 1, "it is not held up by the other"
    assert refused(gateway, listed(good, slow), timeout=0.1)[0] == "DEADLINE_EXCEEDED"
    assert predict(gateway, "g") == 1
    assert reload(gateway, listed(good, slow)).status.error_code == 0, "the load went on"


def test_a_stop_waits_for_no_reload_and_no_load(start_gateway, repository: Path) -> None:
    for name in ("slow", "slower"):
        write(repository, name, slow_to_load(20), config=UNBATCHED)
    settings = {"model_control": "explicit", "shutdown.drain_delay_s": "0"}
    gateway = start_gateway(repository, settings)
    load = pb.RepositoryModelLoadRequest(model_name="slower")
    with ThreadPoolExecutor(2) as pool, channel(gateway) as one:
        calls: list[Future[Any]] = [
            pool.submit(refused, gateway, listed(entry("s", repository / "slow"))),
            pool.submit(refusal, oip_stub(one).RepositoryModelLoad, load, timeout=30),
        ]
        wait_until(lambda: len(gateway.events("model_command")) == 2, 20, "both are under way")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        (code, words), error = calls[0].result(), calls[1].result()
        took = time.monotonic() - began
    assert (code, words) == ("UNAVAILABLE", "the list is followed; the server is stopping")
    assert (error.code().name, error.details()) == ("UNAVAILABLE", "the server is stopping")
    assert took < 2
    gateway.process.kill()
    gateway.process.wait()


def test_a_file_that_cannot_be_followed_ends_the_start_in_words(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n  config { nane: 'm' } }")
    done = forked.run("start", "--model-config-file", str(file), "--http-port", "0")
    assert done.returncode == 1
    assert f'serving: {file}: line 2: Message type "tensorflow.serving.ModelConfig"' in done.stderr
    nothing = forked.run("start", "--http-port", "0")
    assert (nothing.returncode, "nothing to serve: name a directory" in nothing.stderr) == (2, True)
