"""Faults 61, 65, 67, 77 and the like: names, code-bearing content, what is not offered."""

from __future__ import annotations

import ast
import os
import pickle
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http1, oip
from tests.clients.gateway import ROOT, Gateway
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import Witness

TRAVERSALS = [
    "/v2/models/../../../etc/passwd",
    "/v2/models/..%2f..%2f..%2fetc%2fpasswd",
    "/v2/models/%2e%2e/%2e%2e/etc/passwd",
    "/v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/v2/models/%252e%252e%252fetc%252fpasswd",
    "/v2/models/..%5c..%5cetc%5cpasswd",
    "/v2/models/..\\..\\etc\\passwd",
    "/v2/models/tiny%00",
    "/v2/models/tiny%00/infer",
    "/v2/models/tiny%0d%0aX:y",
    "/v2/models/tiny/versions/..%2f1",
    "/v2/models/./tiny",
    "/v2/models//tiny",
    "/v2/models/%c0%ae%c0%ae/tiny",
    "/v2/models/%ff",
    "/v2/models/%",
    "/v2/models/%zz",
    "/v2/models/tiny%2f1",
    "/v2/models/" + "a" * 5000,
    "//v2/models/tiny",
    "/v2/../v2/models/tiny",
    "/../../etc/passwd",
    "/static/../../etc/passwd",
]


@pytest.mark.parametrize("path", TRAVERSALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_fault_61_traversal_in_urls(gateway: Gateway, path: str, method: str) -> None:
    reply = http1.exchange(gateway.http_port, http1.request(path, b"", method))
    assert reply is not None
    assert reply.status in {400, 404, 405}, reply
    assert b"root:" not in reply.body
    assert str(gateway.repository).encode() not in reply.body
    assert len(reply.body) < 2000


NAMES = [
    "..",
    "../tiny",
    "../../etc/passwd",
    "tiny/../tiny",
    "tiny/1",
    "/etc/passwd",
    "tiny\\..",
    "tiny\0",
    ".",
    "",
    " ",
    "%2e%2e",
    "a" * 30_000,
]

# Of a model, in bytes.
MOST_NAME = 255


@pytest.mark.parametrize("name", NAMES)
def test_fault_61_traversal_in_names_over_grpc(gateway: Gateway, name: str) -> None:
    allowed = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
    with channel(gateway) as one:
        rpc = stub(one)
        request = oip.grpc_request(name, {"x": np.zeros((1, 4), np.float32)})
        errors = [
            refusal(rpc.ModelInfer, request),
            refusal(rpc.ModelMetadata, pb.ModelMetadataRequest(name=name)),
            refusal(rpc.ModelConfig, pb.ModelConfigRequest(name=name)),
        ]
        asked = pb.ModelReadyRequest(name=name)
        if len(name) > MOST_NAME:
            errors.append(refusal(rpc.ModelReady, asked))
        else:
            assert not rpc.ModelReady(asked, timeout=10).ready
    for error in errors:
        assert error.code() in allowed, error
        assert str(gateway.repository) not in error.details()
        assert len(error.details()) < 2000


class _Bomb:
    """Makes the folder, wherever it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.folder),))


def test_fault_65_pickles_are_bytes_like_any_other(gateway: Gateway, tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Bomb(tmp_path / "here")))
    assert (tmp_path / "here").is_dir(), "the bomb itself is a dud"
    data = pickle.dumps(_Bomb(tmp_path / "there"), protocol=0)
    with Witness(gateway):
        answer = gateway.get("/v2/models/tiny/infer", data, "POST")
        assert answer.status == 400
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": "0",
        }
        raw = gateway.get("/v2/models/id_bytes/infer", data, "POST", headers)
        assert raw.status == 400 or data in raw.body
        text = np.array([[data.decode("latin-1")]], object)
        with channel(gateway) as one:
            response = stub(one).ModelInfer(oip.grpc_request("id_bytes", {"X": text}), timeout=10)
        assert oip.grpc_arrays(response)["Y"][0, 0] == text[0, 0]
    assert not (tmp_path / "there").exists(), "a request was unpickled"


CODE_BEARING = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
# Its pipes and queues carry pickles.
CODE_BEARING |= {"multiprocessing"}


def test_fault_65_the_gateway_imports_nothing_that_deserialises_code() -> None:
    for file in sorted((ROOT / "serving").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {one.name.split(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), file
                assert node.value.value is False, file
            assert not names & CODE_BEARING, f"{file} imports {names & CODE_BEARING}"


REGION = "a-secret-region"
PLACE = {"shared_memory_region": REGION, "shared_memory_byte_size": 16}


def test_fault_67_shared_memory_is_off(gateway: Gateway) -> None:
    with channel(gateway) as one:
        rpc = stub(one)
        for call, request in [
            (
                rpc.SystemSharedMemoryRegister,
                pb.SystemSharedMemoryRegisterRequest(name=REGION, key="/k", byte_size=4),
            ),
            (
                rpc.CudaSharedMemoryRegister,
                pb.CudaSharedMemoryRegisterRequest(name=REGION, byte_size=4),
            ),
        ]:
            error = refusal(call, request)
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED
            assert REGION not in error.details()
        for of in ("input", "output"):
            request = oip.grpc_request("tiny", {"x": np.zeros((1, 4), np.float32)}, outputs=["y"])
            tensor = request.inputs[0] if of == "input" else request.outputs[0]
            oip.set_parameters(tensor.parameters, PLACE)
            if of == "input":
                del request.raw_input_contents[:]
            error = refusal(rpc.ModelInfer, request)
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED
            assert error.details().startswith("Client shared memory is disabled")
            assert REGION not in error.details()
    one = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    data = {"data": [0] * 4}
    for body in (
        {"inputs": [{**one, "parameters": PLACE}]},
        {"inputs": [{**one, **data}], "outputs": [{"name": "y", "parameters": PLACE}]},
    ):
        answer = gateway.infer("tiny", body)
        assert answer.status == 501, answer
        assert REGION not in answer.json()["error"]
    for extension in gateway.get("/v2").json()["extensions"]:
        assert "shared_memory" not in extension


def test_fault_77_no_second_event_loop_on_a_grpc_core(gateway: Gateway) -> None:
    """The gateway loads no gRPC core of its own: the doors are one library's, in one place."""
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert "cygrpc" not in maps
    assert "_core.abi3" in maps


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/api/v1/models",
        "/api/v1/settings",
        "/v2/repository/models/tiny/load",
        "/admin",
        "/api/openapi.json",
    ],
)
def test_fault_63_control_is_not_on_the_data_ports(gateway: Gateway, path: str) -> None:
    assert gateway.get(path).status in {404, 405, 501}


def test_fault_63_every_port_is_on_loopback(gateway: Gateway) -> None:
    import psutil

    process = psutil.Process(gateway.process.pid)
    listening = {one.laddr for one in process.net_connections("inet") if one.status == "LISTEN"}
    assert {address.ip for address in listening} == {"127.0.0.1"}
    ports = {gateway.http_port, gateway.grpc_port, gateway.admin_port}
    assert {address.port for address in listening} == ports
    others = [one for one in process.net_connections("inet") if one.raddr]
    assert all(one.raddr.ip == "127.0.0.1" for one in others)
