"""Windows as JSON Lines and as OTLP; the machine's own figures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA
from pydantic import SecretStr

from serving.errors import ConfigError
from serving.observe.errors import ExportError
from serving.observe.tracking.exporter import RunFacts
from serving.observe.tracking.jsonl import JsonLinesExporter
from serving.observe.tracking.otlp import OtlpExporter, request
from serving.observe.tracking.system import SystemFigures, gpu_figures
from serving.settings import JsonLinesSettings, OtlpMetricsSettings
from tests.unit.tracking_world import window

FACTS = RunFacts("m", 1, 1.0, {"server": "s"}, "abc", "run", "m-1")


def _files(tmp_path: Path, **settings: Any) -> JsonLinesExporter:
    return JsonLinesExporter(JsonLinesSettings(**settings), tmp_path / "windows")


def _prepared(exporter: JsonLinesExporter, *numbers: int) -> list[dict[str, Any]]:
    return exporter.prepare([window(number) for number in numbers], {("m", 1): FACTS})


def _lines(tmp_path: Path) -> dict[str, list[int]]:
    return {
        file.name: [json.loads(line)["number"] for line in file.read_text().splitlines()]
        for file in sorted((tmp_path / "windows").iterdir())
    }


def test_a_window_is_a_line_with_its_origin(tmp_path: Path) -> None:
    exporter = _files(tmp_path)
    assert exporter.send(_prepared(exporter, 1)) == 0
    (line,) = (tmp_path / "windows" / "windows-000001.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        **window(1).to_json(),
        "server": "s",
        "git_commit": "abc",
        "mlflow_run_id": "run",
        "mlflow_model_id": "m-1",
    }


def test_files_are_rotated_by_size_and_the_newest_kept(tmp_path: Path) -> None:
    exporter = _files(tmp_path, max_file_bytes=500, max_files=2)
    for number in range(1, 8):
        exporter.send(_prepared(exporter, number))
    found = _lines(tmp_path)
    assert list(found) == ["windows-000003.jsonl", "windows-000004.jsonl"]
    assert found["windows-000004.jsonl"] == [7]
    # The next process goes on where this one ended.
    _files(tmp_path, max_file_bytes=500, max_files=3).send(_prepared(exporter, 8))
    assert _lines(tmp_path)["windows-000004.jsonl"] == [7, 8]


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "windows"
    folder.mkdir()
    (folder / "windows-mine.jsonl").write_text("mine")
    exporter = _files(tmp_path, max_file_bytes=1, max_files=1)
    for number in range(3):
        exporter.send(_prepared(exporter, number))
    assert (folder / "windows-mine.jsonl").read_text() == "mine"
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written_keeps_the_windows(tmp_path: Path) -> None:
    (tmp_path / "windows").write_text("a file in the way")
    exporter = _files(tmp_path)
    with pytest.raises(ExportError) as error:
        exporter.send(_prepared(exporter, 1))
    assert str(tmp_path) not in str(error.value)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    folder = tmp_path / "windows"
    folder.mkdir()
    (folder / "windows-000001.jsonl").symlink_to("/dev/full")
    exporter = _files(tmp_path)
    with pytest.raises(ExportError, match="no space left"):
        exporter.send(_prepared(exporter, 1))


def test_counts_are_delta_sums_and_the_rest_gauges() -> None:
    sent = request(
        [
            window(1, **{"requests": 3.0, "total_ms/p99": 1.5, "system/cpu": 7.0}).to_json(),
            window(2, "other", 4, requests=5.0).to_json(),
        ],
        "s",
    )
    message = ExportMetricsServiceRequest.FromString(sent)
    (resource,) = message.resource_metrics
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "s"
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    requests = found["serving.model.requests"].sum
    assert requests.is_monotonic
    assert requests.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
    assert [point.as_double for point in requests.data_points] == [3.0, 5.0]
    point = requests.data_points[1]
    assert (point.start_time_unix_nano, point.time_unix_nano) == (102 * 10**9, 103 * 10**9)
    assert point.attributes[0].value.string_value == "other"
    assert point.attributes[1].value.int_value == 4
    p99 = found["serving.model.total_ms.p99"]
    assert (p99.gauge.data_points[0].as_double, p99.unit) == (1.5, "ms")
    assert "system.cpu" in found


class _Collector:
    """Takes metrics over HTTP and gRPC; ``rejects``: how many points it says it refused."""

    def __init__(self) -> None:
        self.got: list[ExportMetricsServiceRequest] = []
        self.rejects = 0
        self.keys: list[str | None] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                good = self.path == "/v1/metrics"
                answer = collector.take(body, self.headers["api-key"]) if good else b""
                self.send_response(200 if good else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Nothing to be read."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()
        self.rpc = grpc.server(futures.ThreadPoolExecutor(1))
        export = grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.take(
                request, dict(context.invocation_metadata()).get("api-key")
            )
        )
        service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
        self.rpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Export": export}),)
        )
        self.rpc_port = self.rpc.add_insecure_port("127.0.0.1:0")
        self.rpc.start()

    def take(self, body: bytes, key: str | None) -> bytes:
        self.keys.append(key)
        self.got.append(ExportMetricsServiceRequest.FromString(body))
        response = ExportMetricsServiceResponse()
        response.partial_success.rejected_data_points = self.rejects
        return response.SerializeToString()

    def endpoint(self, protocol: str) -> str:
        port = self.rpc_port if protocol == "grpc" else self.http.server_address[1]
        return f"http://127.0.0.1:{port}"

    def close(self) -> None:
        self.rpc.stop(None).wait()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def collector() -> Iterator[_Collector]:
    one = _Collector()
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_changed_setting_changes_the_headers_that_it_gets(
    collector: _Collector, protocol: Any
) -> None:
    for text in ("", "Api-Key=hush%20hush,x=y"):
        settings = OtlpMetricsSettings(
            endpoint=collector.endpoint(protocol), protocol=protocol, headers=SecretStr(text)
        )
        exporter = OtlpExporter(settings, "s")
        exporter.send([window(1).to_json()])
        exporter.close()
    assert collector.keys == [None, "hush hush"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_gets_windows_by_the_protocol_that_is_set(
    collector: _Collector, protocol: Any
) -> None:
    settings = OtlpMetricsSettings(endpoint=collector.endpoint(protocol), protocol=protocol)
    exporter = OtlpExporter(settings, "s")
    try:
        prepared = exporter.prepare([window(1, requests=3.0)], {})
        assert exporter.send(prepared) == 0
        collector.rejects = 40
        assert exporter.send(prepared) == 1, "what it refuses is counted, as windows"
    finally:
        exporter.close()
    (metric,) = collector.got[0].resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.sum.data_points[0].as_double) == ("serving.model.requests", 3.0)
    assert len(collector.got) == 2


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_that_is_not_there_gets_it_all_later(protocol: Any) -> None:
    settings = OtlpMetricsSettings(endpoint="http://127.0.0.1:1", protocol=protocol)
    exporter = OtlpExporter(settings, "s")
    try:
        with pytest.raises(ExportError):
            exporter.send([window(1).to_json()])
        assert exporter.target == f"http://127.0.0.1:1 ({protocol})"
    finally:
        exporter.close()


def test_an_endpoint_that_is_no_address_is_told_at_start() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.otlp\.endpoint"):
        OtlpExporter(OtlpMetricsSettings(endpoint="udp://host"), "s")


def _proc(folder: Path, busy: int, idle: int) -> Path:
    (folder / "net").mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
    (folder / "meminfo").write_text(
        "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable: 6000000 kB\n"
    )
    (folder / "net" / "dev").write_text(
        "Inter-| Receive | Transmit\n face |bytes\n"
        "    lo: 9000000 0 0 0 0 0 0 0 9000000 0 0 0 0 0 0 0\n"
        "  eth0: 2000000 0 0 0 0 0 0 0 3000000 0 0 0 0 0 0 0\n"
    )
    return folder


def test_the_machines_figures_have_mlflows_names(tmp_path: Path) -> None:
    figures = SystemFigures(_proc(tmp_path, 100, 100), lambda: "0, 37, 1024, 4096, 55.5\n")
    _proc(tmp_path, 125, 175)
    assert figures.read() == {
        "system/cpu_utilization_percentage": 25.0,
        "system/system_memory_usage_megabytes": 2048.0,
        "system/system_memory_usage_percentage": 25.0,
        "system/network_receive_megabytes": 2.0,
        "system/network_transmit_megabytes": 3.0,
        "system/gpu_0_utilization_percentage": 37.0,
        "system/gpu_0_memory_usage_megabytes": pytest.approx(1073.741824),
        "system/gpu_0_memory_usage_percentage": 25.0,
        "system/gpu_0_power_usage_watts": 55.5,
    }


def test_a_machine_that_tells_nothing_has_no_figures(tmp_path: Path) -> None:
    assert SystemFigures(tmp_path, lambda: "").read() == {}
    (tmp_path / "stat").write_text("intr 3\n")
    assert SystemFigures(tmp_path, lambda: "").read() == {}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", {}),
        ("NVIDIA-SMI has failed\n", {}),
        ("1, [N/A], 10, [N/A], [N/A]", {"system/gpu_1_memory_usage_megabytes": 10.48576}),
        ("x, 1, 2, 3, 4", {}),
    ],
)
def test_what_a_gpu_does_not_tell_is_left_out(answer: str, expected: dict[str, float]) -> None:
    assert gpu_figures(answer) == expected
