"""The request log of a real gateway, and sending it again."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serving.observe.request_log.read import Entry, files_of, read
from serving.observe.request_log.record import Record
from tests import small_models
from tests.clients import forked, oip
from tests.clients.gateway import ROOT, Gateway, wait_until
from tests.clients.triton import channel, stub

if TYPE_CHECKING:
    from tests.conftest import StartGateway

X = np.array([[1, 2]], np.float32)
FORMS = ("jsonl", "parquet")


def settings(folder: Path, **more: str) -> dict[str, str]:
    given = {"path": str(folder), "rate": "1", **more}
    return {f"request_log.{key}": value for key, value in given.items()}


def ask(gateway: Gateway, model: str, inputs: dict[str, np.ndarray], **keywords: Any) -> Any:
    request = oip.grpc_request(model, inputs, **keywords)
    with channel(gateway) as one:
        return oip.grpc_arrays(stub(one).ModelInfer(request, timeout=20))


def ask_http(
    gateway: Gateway, model: str, inputs: dict[str, np.ndarray], datatypes: dict[str, str]
) -> None:
    body, headers = oip.binary_body(inputs, datatypes)
    answer = gateway.get(f"/v2/models/{model}/infer", body, "POST", headers)
    assert answer.status == 200, answer


def logged(folder: Path) -> list[Record]:
    """What whole files and those being written hold."""
    if not folder.exists():
        return []
    files = [*files_of(folder), *folder.glob("*.part")]
    found = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            found += [one.record for one in read(file) if isinstance(one, Entry)]
    return found


def wait_for(folder: Path, count: int) -> list[Record]:
    wait_until(lambda: len(logged(folder)) >= count, 20, f"{count} requests are logged")
    return logged(folder)


def replay(gateway: Gateway, *arguments: object) -> tuple[int, dict[str, Any]]:
    done = forked.run("replay", "--json", *arguments, environment={"NO_COLOR": "1"})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def doors(gateway: Gateway) -> Iterator[tuple[str, ...]]:
    yield "--protocol", "http", "--url", f"http://{gateway.http}"
    yield "--protocol", "grpc", "--url", gateway.grpc


def lay_every_datatype(repository: Path) -> None:
    for datatype in oip.SAMPLES:
        small_models.write(repository, f"id_{datatype.lower()}", small_models.identity(datatype))
    small_models.write(repository, "scalar", small_models.identity("FP32", []))
    small_models.write(repository, "constant", small_models.constant())
    small_models.write(repository, "optional_input", small_models.optional_input())
    small_models.write(repository, "gather", small_models.gather(), config=small_models.BATCHED)


def ask_everything(gateway: Gateway) -> int:
    """Through both doors; how many requests were answered well."""
    asked = 0
    for datatype, sample in oip.SAMPLES.items():
        model, datatypes = f"id_{datatype.lower()}", {"X": datatype}
        empty = np.zeros((0, 3), sample.dtype)
        for array in (sample, empty):
            ask(gateway, model, {"X": array}, datatypes=datatypes)
            ask_http(gateway, model, {"X": array}, datatypes)
            asked += 2
    nan = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    ask(gateway, "id_fp32", {"X": nan})
    ask(gateway, "id_fp16", {"X": nan.astype(np.float16)})
    ask(gateway, "id_bf16", {"X": np.array([[0x7FC0]], np.uint16)}, datatypes={"X": "BF16"})
    ask(gateway, "id_fp32", {"X": np.random.default_rng(0).random((50, 60), np.float32)})
    ask(gateway, "scalar", {"X": np.array(2.5, np.float32)})
    ask_http(gateway, "scalar", {"X": np.array(2.5, np.float32)}, {"X": "FP32"})
    ask(gateway, "constant", {})
    ask(gateway, "optional_input", {"X": X})
    ask(gateway, "optional_input", {"X": X, "factor": np.array([5], np.float32)})
    return asked + 9


@pytest.mark.parametrize("form", FORMS)
def test_a_replayed_request_log_reproduces_its_answers(
    repository: Path, start_gateway: StartGateway, tmp_path: Path, form: str
) -> None:
    lay_every_datatype(repository)
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, format=form, max_file_bytes="20000"))
    asked = ask_everything(gateway)
    gateway.infer("gather", {"inputs": [oip.json_input("I", np.array([99]))]})
    wait_for(folder, asked + 1)
    gateway.finish()
    assert len(list(folder.iterdir())) > 1
    assert {path.suffix for path in folder.iterdir()} == {f".{form}"}

    again = start_gateway(repository)
    for door in doors(again):
        code, told = replay(again, folder, *door)
        assert told["differences"] == []
        assert (code, told["same"], told["different"], told["failed"]) == (0, asked, 0, 0)
        assert (told["skipped_because"], told["damaged"]) == ({"refused then": 1}, 0)


def test_another_version_shows_its_differences(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    for version, factor in ((1, 2.0), (2, 3.0), (3, 2.0001)):
        small_models.write(
            repository, "m", small_models.scale(factor), version, "version_policy { all {} }\n"
        )
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder))
    for i in range(5):
        ask(gateway, "m", {"X": X * (i + 1)}, version="1")
    wait_for(folder, 5)
    door, grpc_door = doors(gateway)
    (written,) = folder.iterdir()
    part = Path(shutil.copy(written, tmp_path / "copy.jsonl"))

    code, told = replay(gateway, written, *door)
    assert (code, told["same"]) == (0, 5)
    code, told = replay(gateway, part, *door, "--version", 2)
    assert (code, told["same"], told["different"]) == (1, 0, 5)
    assert told["models"][0]["version_then"] == 1
    assert told["models"][0]["version_now"] == "2"
    assert "output 'Y': 2 of 2 values differ, by up to 2" in told["differences"][0]["words"]
    # The gateway's own choice is the newest, which differs less than the tolerance.
    code, told = replay(gateway, part, *grpc_door, "--version", "default")
    assert (code, told["models"][0]["version_now"], told["same"]) == (0, "3", 5)
    code, told = replay(gateway, part, *door, "--version", 3, "--rtol", "1e-6", "--atol", 0)
    assert (code, told["different"]) == (1, 5)
    code, told = replay(gateway, part, *door, "--version", 9)
    assert (code, told["failed"]) == (1, 5)
    code, told = replay(gateway, part, *door, "--model", "other")
    assert (code, told["same"]) == (1, 0)
    code, told = replay(gateway, part, *door, "--to-model", "other")
    assert (code, told["failed"]) == (1, 5)
    # What was sent again is not logged again.
    ask(gateway, "m", {"X": X * 7}, version="1")
    assert [one.inputs[0].data for one in wait_for(folder, 6)][5:] == [(X * 7).tobytes()]


def test_a_log_tells_who_asked_what_and_how_long_it_took(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2), 7)
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder))
    request = {"id": "mine", "inputs": [oip.json_input("X", X)]}
    answer = gateway.post("/v2/models/m/infer", request, **{"X-Request-Id": "r-77"})
    assert answer.status == 200
    (one,) = wait_for(folder, 1)
    assert (one.model, one.version, one.protocol, one.status) == ("m", 7, "http", "OK")
    assert one.id == "mine"
    assert one.request_id == answer.headers.get("x-request-id", one.request_id)
    assert 0 < one.compute_s <= one.total_s
    assert 0 <= one.queue_s <= one.total_s
    assert one.inputs[0].data == X.tobytes()
    assert one.outputs[0].data == (X * 2).tobytes()


def test_files_are_private_and_have_their_names_after_sigterm(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder))
    ask(gateway, "m", {"X": X})
    # Not waited for: what is on its way when it stops is written too.
    gateway.finish()
    (file,) = folder.iterdir()
    assert file.suffix == ".jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(logged(folder)) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_killed_gateway_leaves_files_that_can_be_read(
    repository: Path, start_gateway: StartGateway, tmp_path: Path, form: str
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, format=form))
    for i in range(4):
        ask(gateway, "m", {"X": X * i})
    wait_for(folder, 4)
    gateway.signal(signal.SIGKILL)
    gateway.process.wait()
    assert [path.suffix for path in folder.iterdir()] == [".part"]

    again = start_gateway(repository, settings(folder, format=form))
    wait_until(lambda: files_of(folder), 10, "what was left is taken over")
    (whole,) = files_of(folder)
    code, told = replay(again, whole, *next(doors(again)))
    assert (code, told["same"], told["damaged"]) == (0, 4, 0)


def test_without_a_path_nothing_is_kept(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    gateway = start_gateway(repository, {"request_log.rate": "1"})
    ask(gateway, "m", {"X": X})
    assert "serving_request_log" not in gateway.metrics_text()


def test_a_models_own_share_stands_and_a_change_applies_without_a_load(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "off", small_models.scale(2), yaml="request_log: {rate: 0}\n")
    small_models.write(repository, "plain", small_models.scale(2))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder))
    ask(gateway, "off", {"X": X})
    ask(gateway, "plain", {"X": X})
    assert {one.model for one in wait_for(folder, 1)} == {"plain"}

    since = gateway.metric("serving_model_ready_timestamp_seconds", model="off")
    (repository / "off" / "model.yaml").write_text("request_log: {rate: 1, redact: ['X*']}\n")

    def is_logged() -> bool:
        ask(gateway, "off", {"X": X})
        return any(one.model == "off" for one in logged(folder))

    wait_until(is_logged, 20, "the changed share applies", every=0.3)
    changed = [one for one in logged(folder) if one.model == "off"]
    assert {tensor.data for one in changed for tensor in one.inputs} == {None}
    assert {tensor.data for one in changed for tensor in one.outputs} == {(X * 2).tobytes()}
    assert gateway.metric("serving_model_ready_timestamp_seconds", model="off") == since


def test_the_settings_share_is_about_what_is_kept(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, rate="0.2"))
    request = oip.grpc_request("m", {"X": X})
    with channel(gateway) as one:
        for future in [stub(one).ModelInfer.future(request, timeout=20) for _ in range(1000)]:
            future.result()
    gateway.finish()
    # Six standard deviations.
    assert 125 < len(logged(folder)) < 275


def test_redacted_values_reach_no_file_and_such_requests_are_skipped(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.identity("BYTES"))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, redact="X,Z*"))
    secret = np.array([["tell nobody"]], np.object_)
    ask(gateway, "m", {"X": secret})
    (one,) = wait_for(folder, 1)
    (tensor,) = one.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("X", "BYTES", (1, 1))
    assert tensor.data is None
    assert one.outputs[0].data is not None
    code, told = replay(gateway, *folder.iterdir(), *next(doors(gateway)))
    assert (code, told["skipped_because"]) == (1, {"redacted": 1})


def test_requests_over_the_limit_are_not_kept_and_counted(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.identity("FP32"))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, max_request_bytes="1000"))
    ask(gateway, "m", {"X": np.zeros((1, 1000), np.float32)})
    ask(gateway, "m", {"X": X})
    (one,) = wait_for(folder, 1)
    assert one.inputs[0].shape == (1, 2)
    assert gateway.metric("serving_request_log_dropped_total", reason="too_large") == 1
    assert gateway.metric("serving_request_log_written_total") == 1


def test_files_follow_each_other_and_stay_within_the_bound(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    folder = tmp_path / "log"
    sizes = {"max_file_bytes": "2000", "max_bytes": "9000"}
    gateway = start_gateway(repository, settings(folder, **sizes))
    for i in range(100):
        ask(gateway, "m", {"X": X * i})
    wait_until(
        lambda: gateway.metric("serving_request_log_written_total") == 100, 20, "all are written"
    )
    held = sum(path.stat().st_size for path in folder.iterdir())
    assert held <= 9000
    assert gateway.metric("serving_request_log_bytes") == held
    files = files_of(folder)
    assert len(files) >= 3
    assert all(file.stat().st_size <= 2000 for file in files)
    last = max(logged(folder), key=lambda one: one.at)
    assert last.inputs[0].data == (X * 99).tobytes()


def test_fault_100_a_folder_that_cannot_be_written_costs_no_request(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    (tmp_path / "file").write_text("in the way")
    gateway = start_gateway(repository, settings(tmp_path / "file" / "log"))
    for _ in range(20):
        np.testing.assert_array_equal(ask(gateway, "m", {"X": X})["Y"], X * 2)
    wait_until(
        lambda: gateway.metric("serving_request_log_dropped_total", reason="write") == 20,
        20,
        "the drops are counted",
    )
    assert gateway.log().count("request_log_not_written") == 1


def _bounded_files(limit: int) -> Callable[[Gateway], None]:
    def set_limit(gateway: Gateway) -> None:
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (limit, limit))

    return set_limit


def test_fault_100_a_full_disk_costs_no_request_and_no_line(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.identity("FP32"))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder))
    big = np.random.default_rng(0).random((1, 40_000), np.float32)
    ask(gateway, "m", {"X": X})
    wait_for(folder, 1)
    # No file may grow beyond this: writing fails half-way, as on a disk that is full.
    _bounded_files(300_000)(gateway)
    for _ in range(3):
        np.testing.assert_array_equal(ask(gateway, "m", {"X": big})["Y"], big)
    wait_until(
        lambda: gateway.metric("serving_request_log_dropped_total", reason="write") == 3,
        20,
        "the drops are counted",
    )
    assert gateway.log().count("request_log_not_written") == 1
    # What was written before stands in a whole file; what could not be is in none.
    (file,) = files_of(folder)
    (one,) = read(file)
    assert isinstance(one, Entry)
    np.testing.assert_array_equal(ask(gateway, "m", {"X": X})["Y"], X)


def test_fault_100_a_writer_that_is_too_slow_drops_counts_and_stalls_nobody(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.identity("FP32"))
    folder = tmp_path / "log"
    folder.mkdir()
    gateway = start_gateway(repository, settings(folder, buffer_bytes="10000"))
    big = np.zeros((1, 1000), np.float32)
    request = oip.grpc_request("m", {"X": big})
    with channel(gateway) as one:
        for future in [stub(one).ModelInfer.future(request, timeout=20) for _ in range(400)]:
            np.testing.assert_array_equal(oip.grpc_arrays(future.result())["Y"], big)

    def counted() -> bool:
        text = gateway.metric
        written = text("serving_request_log_written_total")
        dropped = text("serving_request_log_dropped_total")
        return written + dropped == 400

    wait_until(counted, 20, "each is written or counted as dropped")
    assert gateway.metric("serving_request_log_dropped_total", reason="buffer") > 0
    assert gateway.metric("serving_request_log_written_total") > 0


def test_parquet_without_its_package_is_said_at_the_start(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "pyarrow.py").write_text("raise ImportError('not here')\n")
    gateway = start_gateway(
        repository,
        settings(tmp_path / "log", format="parquet"),
        wait=False,
        environment={"PYTHONPATH": f"{shadow}:{ROOT}"},
    )
    assert gateway.process.wait(30) == 1
    assert "install 'serving[parquet]'" in gateway.log()


def test_damaged_lines_are_counted_and_said_and_the_rest_is_sent(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    folder = tmp_path / "log"
    gateway = start_gateway(repository, settings(folder, replayed="true"))
    ask(gateway, "m", {"X": X})
    wait_for(folder, 1)
    (part,) = folder.iterdir()
    line = part.read_bytes()
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(line + b"not JSON\n" + line + line[:50])
    code, told = replay(gateway, broken, *next(doors(gateway)))
    assert (code, told["same"], told["damaged"]) == (0, 2, 2)
    assert told["damaged_lines"][0] == {"place": "broken.jsonl:2", "reason": "it is not JSON"}
    # This gateway was told to log what is sent again, too.
    assert len(wait_for(folder, 3)) == 3


def test_the_page_describes_every_reason_for_a_loss(
    repository: Path, start_gateway: StartGateway, tmp_path: Path
) -> None:
    small_models.write(repository, "m", small_models.scale(2))
    gateway = start_gateway(repository, settings(tmp_path / "log"))
    page = (ROOT / "docs" / "observability.md").read_text()
    lost = page[page.index("### What is lost") : page.index("### Sending it again")]
    reasons = re.findall(
        r'^serving_request_log_dropped_total{reason="(\w+)"} 0$',
        gateway.metrics_text(),
        re.MULTILINE,
    )
    assert sorted(reasons) == sorted(re.findall(r"^- `(\w+)`:", lost, re.MULTILINE))
