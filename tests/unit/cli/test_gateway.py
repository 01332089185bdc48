"""The commands against a real gateway and real directories of models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import crash_models, small_models
from tests.clients import forked

if TYPE_CHECKING:
    from tests.clients.gateway import Gateway

ROOT = Path(__file__).resolve().parents[3]


def serving(
    *arguments: object, stdin: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, stdin=stdin, cwd=cwd)


def _door(gateway: Gateway, protocol: str) -> tuple[str, ...]:
    url = f"http://{gateway.http}" if protocol == "http" else gateway.grpc
    return ("--protocol", protocol, "--url", url)


def _answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
class TestInfer:
    """``serving infer`` gives the same answers over both doors."""

    def test_inputs_come_as_json_by_name(self, gateway: Gateway, protocol: str) -> None:
        content = json.dumps({"X": [[1.0, 2.0, 3.0, 4.0]]})
        door = _door(gateway, protocol)
        done = serving("infer", "fixed", *door, "--json", "-", "--output", "json", stdin=content)
        answer = _answer(done)
        assert answer["model_name"] == "fixed"
        assert answer["model_version"] == "1"
        (output,) = answer["outputs"]
        assert output["shape"] == [1, 4]
        assert output["data"] == [2.0, 4.0, 6.0, 8.0]

    def test_inputs_come_as_a_request_of_the_protocol(
        self, gateway: Gateway, protocol: str, tmp_path: Path
    ) -> None:
        one = {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
        file = tmp_path / "request.json"
        file.write_text(json.dumps({"inputs": [one]}))
        done = serving(
            "infer", "fixed", *_door(gateway, protocol), "--json", file, "--output", "json"
        )
        assert _answer(done)["outputs"][0]["data"] == [2.0, 4.0, 6.0, 8.0]

    def test_a_version_may_be_named(self, gateway: Gateway, protocol: str) -> None:
        for version, factor in (("", 7.0), ("1", 1.0), ("2", 2.0)):
            done = serving(
                "infer",
                "versions",
                *_door(gateway, protocol),
                *(("--version", version) if version else ()),
                *("--json", "-", "--output", "json"),
                stdin='{"X": [[1, 1]]}',
            )
            answer = _answer(done)
            assert answer["outputs"][0]["data"] == [factor, factor]
            assert answer["model_version"] == (version or "7")

    def test_arrays_come_from_npy_and_npz_and_go_to_npz(
        self, gateway: Gateway, protocol: str, tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(1)
        array = rng.random((5, 3), dtype=np.float32)
        np.save(tmp_path / "x.npy", array)
        np.savez(tmp_path / "x.npz", X=array)
        for source in (("--npy", f"X={tmp_path / 'x.npy'}"), ("--npz", tmp_path / "x.npz")):
            out = tmp_path / "out.npz"
            done = serving(
                *("infer", "id_fp32", *_door(gateway, protocol), *source),
                *("--output", "npz", "--out", out),
            )
            assert done.returncode == 0, done.stderr
            with np.load(out) as found:
                assert np.array_equal(found["Y"], array)

    def test_a_file_that_cant_be_written_is_told_in_a_line(
        self, gateway: Gateway, protocol: str, tmp_path: Path
    ) -> None:
        out = tmp_path / "nowhere" / "out"
        done = serving(
            *("infer", "tiny", *_door(gateway, protocol), "--generate"),
            *("--output", "json", "--out", out),
        )
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith(f"--out {out}: No such file or directory")
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("datatype", ["fp16", "bf16", "bool", "bytes", "int64", "uint8"])
    def test_inputs_are_generated_for_every_kind(
        self, gateway: Gateway, protocol: str, datatype: str
    ) -> None:
        door = _door(gateway, protocol)
        done = serving(
            *("infer", f"id_{datatype}", *door, "--generate", "--rows", 3, "--output", "json")
        )
        (output,) = _answer(done)["outputs"]
        assert output["datatype"] == datatype.upper()
        assert output["shape"][0] == 3
        assert len(output["data"]) == 3

    def test_the_table_is_plain_text(self, gateway: Gateway, protocol: str) -> None:
        done = serving("infer", "odd name", *_door(gateway, protocol), "--generate")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("odd name 1\n")
        assert "FP32" in done.stdout

    def test_the_gateways_error_is_the_commands(self, gateway: Gateway, protocol: str) -> None:
        door = _door(gateway, protocol)
        unknown = serving("infer", "nowhere", *door, "--generate")
        assert unknown.returncode == 1
        assert "Request for unknown model" in unknown.stderr
        guilty = serving("infer", "gather", *door, "--json", "-", stdin='{"I": [[99]]}')
        assert guilty.returncode == 1
        assert "Traceback" not in guilty.stderr

    def test_an_unknown_input_is_named_with_the_known(
        self, gateway: Gateway, protocol: str
    ) -> None:
        door = _door(gateway, protocol)
        done = serving("infer", "fixed", *door, "--json", "-", stdin='{"Z": [1]}')
        assert done.returncode == 2
        assert "no input 'Z' (its inputs: X)" in done.stderr


def test_models_are_listed_with_state_and_reason(gateway: Gateway) -> None:
    done = serving("models", "--admin-url", f"http://{gateway.admin}", "--json")
    listed = {model["name"]: model for model in json.loads(done.stdout)}
    assert [v["version"] for v in listed["versions"]["versions"]] == [1, 2, 7]
    assert listed["versions"]["default"] == 7
    assert listed["tiny"]["versions"][0]["provider"] == "CPUExecutionProvider"
    assert listed["broken"]["versions"][0]["state"] == "FAILED"
    table = serving("models", "--admin-url", gateway.admin).stdout
    (broken,) = [line for line in table.splitlines() if line.startswith("broken")]
    assert "FAILED" in broken
    assert any(line.split()[:4] == ["versions", "7", "*", "READY"] for line in table.splitlines())


def test_the_admin_port_tells_what_the_gateway_does(gateway: Gateway) -> None:
    assert gateway.get("/v2/health/ready", port=gateway.admin_port).json() == {"ready": True}
    assert gateway.metric("serving_model_state", model="tiny", state="READY") == 1
    assert gateway.metric("serving_model_state", model="broken", state="FAILED") == 1
    nodes = gateway.metric(
        "serving_model_provider_nodes", model="tiny", provider="CPUExecutionProvider"
    )
    assert nodes >= 1
    assert gateway.metric("serving_model_load_seconds", model="tiny") > 0
    assert gateway.metric("process_resident_memory_bytes") > 1e6
    text = gateway.metrics_text()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert len(names) == text.count("# TYPE"), "a family came twice"
    ours = ("serving_", "nv_inference_", "process_", "python_")
    assert [name for name in names if not name.startswith(ours)] == []


def test_check_explains_what_would_be_served_and_exits_0(repository: Path, tmp_path: Path) -> None:
    small_models.write(repository, "good", small_models.tiny())
    small_models.write(repository, "time", small_models.cumulative())
    small_models.write(repository, "grows", crash_models.allocate())
    (repository / "good" / "not a version").mkdir()
    done = serving("check", repository, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version 1: ready; answers unnamed requests" in done.stdout
    assert "FP32[-1,4] -> " in done.stdout
    assert "batching: batched" in done.stdout
    assert "batching: unbatched" in done.stdout
    assert "isolated: requests' values decide how much it makes: node 'ones'" in done.stdout
    assert "CPUExecutionProvider" in done.stdout
    assert "a version is a positive integer without leading zeros" in done.stdout
    assert done.stdout.endswith("all is well\n")


def test_check_names_what_is_wrong_and_exits_1(repository: Path) -> None:
    small_models.write(repository, "good", small_models.tiny())
    small_models.write(repository, "broken", b"not a model")
    small_models.write(repository, "worse", small_models.tiny(), config="max_batch_sise: 3\n")
    (repository / "high").mkdir()
    (repository / "high" / "iris.onnx").write_bytes(b"one level too high")
    done = serving("check", repository, "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    problems = "\n".join(report["problems"])
    assert "broken 1: " in problems
    assert "high: " in problems
    assert "max_batch_size" in problems
    assert "good" not in problems
    states = {m["name"]: [v["state"] for v in m["versions"]] for m in report["models"]}
    assert states["good"] == ["ready"]
    assert states["broken"] == ["failed"]


def test_check_notes_what_is_other_than_asked_for(repository: Path) -> None:
    small_models.write(repository, "m", small_models.tiny())
    done = serving("check", repository, "--set", "providers.prefer=cuda,cpu")
    assert done.returncode == 0, done.stderr
    assert "    note: preferred provider " in done.stdout
    assert " is missing\n" in done.stdout


@pytest.mark.parametrize("policy", ["latest: 1", "all"])
def test_check_notes_what_callers_of_the_version_below_would_be_wrong_with(
    repository: Path, policy: str
) -> None:
    """Whether that one is loaded too, or not."""
    config = f"version_policy: {policy if policy == 'all' else '{' + policy + '}'}\n"
    for number, datatype in enumerate(("FP32", "INT64"), 1):
        model = small_models.identity(datatype)
        small_models.write(repository, "m", model, version=number, yaml=config)
    done = serving("check", repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("note: ") == 1
    assert (
        "    note: callers of version 1 would be wrong with it: input 'X' is INT64, was FP32"
        in (done.stdout)
    )
    assert "until: serving models accept m 2\n" in done.stdout
    assert done.stdout.endswith("all is well\n")


def test_check_may_only_look(repository: Path) -> None:
    small_models.write(repository, "broken", b"not a model")
    done = serving("check", repository, "--no-load", "--json")
    assert done.returncode == 0
    (model,) = json.loads(done.stdout)["models"]
    (version,) = model["versions"]
    assert (version["state"], version["reason"]) == ("found", "")


def test_check_of_a_directory_without_models_exits_1(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = serving("check", tmp_path / "empty")
    assert done.returncode == 1
    assert "no model was found" in done.stdout


def test_start_picks_free_ports_and_prints_them(repository: Path, tmp_path: Path) -> None:
    small_models.write(repository, "m", small_models.tiny())
    command = [sys.executable, "-m", "serving", "start", str(repository)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
    quick = ["--set", "shutdown.drain_delay_s=0"]
    process = subprocess.Popen(
        [*command, *ports, *quick],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = map(json.loads, process.stdout)
        listening = next(lines)
        # How far it is, where that takes a while.
        ready = next(line for line in lines if line["event"] != "loading")
        assert (listening["event"], listening["pid"]) == ("listening", process.pid)
        assert (ready["event"], ready["models"]) == ("ready", ["m 1"])
        assert ready["try"].startswith("curl ")
        url = listening["http"]
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(":0")
        done = serving("infer", "m", "--url", url, "--generate", "--output", "json")
        assert _answer(done)["model_name"] == "m"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_taken_port_is_one_line_that_names_the_setting_before_anything_is_started(
    repository: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--http-port=0", "--grpc-port=0", f"--admin-port={port}"]
        done = serving("start", repository, *flags, "--state-dir", tmp_path / "state")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"port {port} is held by process {os.getpid()}" in line
    assert "--admin-port PORT (setting admin_port)" in line


@pytest.mark.parametrize("shared", [False, True])
def test_fault_75_threads_and_pools_follow_their_settings(repository: Path, shared: bool) -> None:
    small_models.write(repository, "m", small_models.tiny())
    program = f"""
import sys, threading
from pathlib import Path
from serving.app import Gateway
from serving.execution.runtime import global_pool
from serving.settings import load_settings

flags = {{"http_port": 0, "grpc_port": 0, "admin_port": 0, "shutdown.drain_delay_s": 0,
         "threads.switch_interval_s": 0.004, "threads.calls": 3, "threads.intra_op": 1,
         "threads.inter_op": 2, "threads.shared_pool": {shared}}}
settings, origins = load_settings(flags, None, {{}})
gateway = Gateway(settings, [Path({str(repository)!r})], origins)
gateway.start()
assert not gateway.ready
assert gateway.wait_loaded()
assert gateway.ready
assert sys.getswitchinterval() == 0.004
assert sum(t.name.startswith("calls-") for t in threading.enumerate()) == 3
assert global_pool() == {(1, 2) if shared else None}
assert gateway.models()[0].versions[0].facts.threads == 1
assert gateway.stop()
assert not gateway.ready
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
