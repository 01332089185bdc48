"""Triton's system shared memory with its own clients, over both doors."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import (
    InferenceServerException,
    serialize_byte_tensor,
    shared_memory,
    triton_to_np_dtype,
)

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import Witness
from tests.small_models import tiny, write

MIB = 1 << 20
LIMITS = {
    "shared_memory.enabled": "true",
    "shared_memory.max_regions": "4",
    "shared_memory.max_bytes": str(24 * MIB),
    "limits.max_message_bytes": str(8 * MIB),
}
A = np.arange(8, dtype=np.int32).reshape(2, 4)
B = np.full((2, 4), 3, np.int32)
_NUMBERS = itertools.count()


def key() -> str:
    """Nobody else's."""
    return f"/serving-{os.getpid()}-{next(_NUMBERS)}"


@contextlib.contextmanager
def region(name: str, size: int) -> Iterator[Any]:
    """A region of the client's own, not registered."""
    handle = shared_memory.create_shared_memory_region(name, key(), size, create_only=True)
    try:
        yield handle
    finally:
        with contextlib.suppress(FileNotFoundError):
            shared_memory.destroy_shared_memory_region(handle)


def path_of(handle: Any) -> Path:
    return Path("/dev/shm") / str(handle._shm_key).lstrip("/")


@dataclass
class Door:
    """One of tritonclient's modules, on the port that it speaks to."""

    name: str
    module: Any
    client: Any

    def register(self, handle: Any, size: int, offset: int = 0) -> None:
        name, key = handle._triton_shm_name, handle._shm_key
        self.client.register_system_shared_memory(name, key, size, offset)

    def input(self, name: str, array: np.ndarray, place: tuple[Any, ...]) -> Any:
        tensor = self.module.InferInput(name, list(array.shape), oip.datatype_of(array))
        tensor.set_shared_memory(*place)
        return tensor

    def output(self, name: str, *place: Any) -> Any:
        # The HTTP client's asks for binary data unless told otherwise.
        wanted = self.module.InferRequestedOutput(name)
        wanted.set_shared_memory(*place)
        return wanted

    def status(self) -> dict[str, tuple[str, int, int]]:
        found = self.client.get_system_shared_memory_status()
        if self.name == "grpc":
            regions = found.regions.values()
            return {one.name: (one.key, one.offset, one.byte_size) for one in regions}
        return {one["name"]: (one["key"], one["offset"], one["byte_size"]) for one in found}

    def refused(
        self, call: Callable[..., Any], *arguments: Any, **keywords: Any
    ) -> tuple[str, str]:
        with pytest.raises(InferenceServerException) as caught:
            call(*arguments, **keywords)
        return str(caught.value.status()), caught.value.message()

    def says(self, http: int, rpc: str) -> str:
        return str(http) if self.name == "http" else f"StatusCode.{rpc}"


@pytest.fixture(scope="module")
def shared(common_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(common_repository, tmp_path_factory.mktemp("shared"), settings=dict(LIMITS))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture(params=["grpc", "http"])
def door(shared: Gateway, request: pytest.FixtureRequest) -> Iterator[Door]:
    module = {"grpc": tritonclient.grpc, "http": tritonclient.http}[request.param]
    address = {"grpc": shared.grpc, "http": shared.http}[request.param]
    with module.InferenceServerClient(address) as client:
        client.unregister_system_shared_memory()
        yield Door(request.param, module, client)
        client.unregister_system_shared_memory()


def contents(handle: Any, array: np.ndarray, offset: int = 0) -> np.ndarray:
    dtype = triton_to_np_dtype(oip.datatype_of(array))
    return np.array(shared_memory.get_contents_as_numpy(handle, dtype, array.shape, offset))


def test_the_extension_is_told_where_it_is_on(shared: Gateway, gateway: Gateway) -> None:
    assert "system_shared_memory" in shared.get("/v2").json()["extensions"]
    assert "system_shared_memory" not in gateway.get("/v2").json()["extensions"]


def test_inputs_come_from_a_region_and_outputs_go_to_one(door: Door) -> None:
    """As NVIDIA's examples do it: two inputs in one region, two outputs in another."""
    with region("in", 64) as ins, region("out", 64) as outs:
        shared_memory.set_shared_memory_region(ins, [A])
        shared_memory.set_shared_memory_region(ins, [B], offset=32)
        door.register(ins, 64)
        door.register(outs, 64)
        assert door.status() == {"in": (ins._shm_key, 0, 64), "out": (outs._shm_key, 0, 64)}
        inputs = [door.input("INPUT0", A, ("in", 32)), door.input("INPUT1", B, ("in", 32, 32))]
        outputs = [door.output("OUTPUT0", "out", 32), door.output("OUTPUT1", "out", 32, 32)]
        result = door.client.infer("add_sub", inputs, outputs=outputs, request_id="one")
        np.testing.assert_array_equal(contents(outs, A), A + B)
        np.testing.assert_array_equal(contents(outs, A, 32), A - B)
        answer = result.get_output("OUTPUT1")
        if door.name == "http":
            assert answer == {"name": "OUTPUT1", "datatype": "INT32", "shape": [2, 4]}
        else:
            assert (answer.datatype, list(answer.shape)) == ("INT32", [2, 4])
            assert not answer.parameters
        door.client.unregister_system_shared_memory("in")
        assert list(door.status()) == ["out"]


def test_what_is_shared_and_what_is_sent_go_together(door: Door) -> None:
    with region("r", 32) as one:
        shared_memory.set_shared_memory_region(one, [A])
        door.register(one, 32)
        sent = door.module.InferInput("INPUT1", [2, 4], "INT32")
        sent.set_data_from_numpy(B)
        for inputs in ([door.input("INPUT0", A, ("r", 32)), sent],) * 2:
            outputs = [door.module.InferRequestedOutput("OUTPUT0"), door.output("OUTPUT1", "r", 32)]
            result = door.client.infer("add_sub", inputs, outputs=outputs)
            # The input's place is its output's, too: it was read before.
            np.testing.assert_array_equal(contents(one, A), A - B)
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)
            shared_memory.set_shared_memory_region(one, [A])


def test_classes_of_one_output_go_with_another_in_a_region(door: Door) -> None:
    with region("r", 64) as one:
        shared_memory.set_shared_memory_region(one, [A])
        shared_memory.set_shared_memory_region(one, [B], offset=32)
        door.register(one, 64)
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", B, ("r", 32, 32))]
        classes = door.module.InferRequestedOutput("OUTPUT0", class_count=1)
        outputs = [classes, door.output("OUTPUT1", "r", 32)]
        result = door.client.infer("add_sub", inputs, outputs=outputs)
        largest = [f"{row.max()}:{row.argmax()}".encode() for row in A + B]
        assert result.as_numpy("OUTPUT0").ravel().tolist() == largest
        np.testing.assert_array_equal(contents(one, A), A - B)


def test_inputs_may_overlap_and_of_outputs_the_later_one_stays(door: Door) -> None:
    with region("r", 64) as one:
        both = np.arange(16, dtype=np.int32)
        shared_memory.set_shared_memory_region(one, [both])
        door.register(one, 64)
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", A, ("r", 32, 4))]
        outputs = [door.output("OUTPUT0", "r", 32, 32), door.output("OUTPUT1", "r", 32, 32)]
        door.client.infer("add_sub", inputs, outputs=outputs)
        np.testing.assert_array_equal(contents(one, both)[:8], both[:8])
        np.testing.assert_array_equal(contents(one, both)[8:], np.full(8, -1))


def test_texts_are_behind_their_lengths(door: Door) -> None:
    texts = np.array([["", "plain", "é 漢字"]], np.object_)
    packed = serialize_byte_tensor(texts)
    size = len(packed.item())
    with region("in", size) as ins, region("out", 100) as outs:
        shared_memory.set_shared_memory_region(ins, [packed])
        door.register(ins, size)
        door.register(outs, 100)
        wanted = [door.output("Y", "out", 90, 10)]
        inputs = [door.input("X", texts, ("in", size))]
        door.client.infer("id_bytes", inputs, outputs=wanted)
        found = shared_memory.get_contents_as_numpy(outs, np.object_, texts.shape, 10)
        assert [one.decode() for one in found.reshape(-1)] == texts.reshape(-1).tolist()


def test_half_precision_goes_there_that_has_no_json(door: Door) -> None:
    half = np.array([[0.5, -2]], np.float16)
    with region("r", 8) as one:
        shared_memory.set_shared_memory_region(one, [half])
        door.register(one, 8)
        wanted = [door.output("Y", "r", 4, 4)]
        door.client.infer("id_fp16", [door.input("X", half, ("r", 4))], outputs=wanted)
        np.testing.assert_array_equal(contents(one, half, 4), half)


def test_a_large_tensor_comes_whole(door: Door) -> None:
    """So large that it is read away from the I/O threads."""
    large = np.arange(MIB, dtype=np.float32).reshape(1024, 1024)
    with region("r", 8 * MIB) as one:
        shared_memory.set_shared_memory_region(one, [large])
        door.register(one, 8 * MIB)
        wanted = [door.output("Y", "r", 4 * MIB, 4 * MIB)]
        door.client.infer("id_fp32", [door.input("X", large, ("r", 4 * MIB))], outputs=wanted)
        np.testing.assert_array_equal(contents(one, large, 4 * MIB), large)


def test_a_stream_takes_shared_tensors(shared: Gateway) -> None:
    with region("s", 64) as one, channel(shared) as open_channel:
        rpc = stub(open_channel)
        shared_memory.set_shared_memory_region(one, [A])
        shared_memory.set_shared_memory_region(one, [B], offset=32)
        message = pb.SystemSharedMemoryRegisterRequest(name="s", key=one._shm_key, byte_size=64)
        rpc.SystemSharedMemoryRegister(message, timeout=10)
        request = oip.grpc_request("add_sub", {"INPUT0": A, "INPUT1": B}, outputs=["OUTPUT0"])
        del request.raw_input_contents[:]
        for number, tensor in enumerate(request.inputs):
            oip.set_parameters(tensor.parameters, _place("s", 32, number * 32))
        answers = list(rpc.ModelStreamInfer(iter([request] * 3), timeout=10))
        for answer in answers:
            assert not answer.error_message
            found = oip.grpc_arrays(answer.infer_response)["OUTPUT0"]
            np.testing.assert_array_equal(found, A + B)
        assert len(answers) == 3
        rpc.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(), timeout=10)


def _place(region: str, size: int, offset: int | None = None) -> dict[str, Any]:
    place = {"shared_memory_region": region, "shared_memory_byte_size": size}
    return place if offset is None else {**place, "shared_memory_offset": offset}


def test_who_registers_twice_or_asks_for_what_is_not_there_is_told(door: Door) -> None:
    with region("r", 32) as one:
        door.register(one, 32)
        bad, missing = door.says(400, "INVALID_ARGUMENT"), door.says(404, "NOT_FOUND")
        words = "shared memory region 'r' already in manager"
        assert door.refused(door.register, one, 32) == (bad, words)
        status = door.client.get_system_shared_memory_status
        words = "Unable to find system shared memory region: 'none'"
        assert door.refused(status, "none") == (missing, words)
        lost = [door.input("X", A.astype(np.float32), ("none", 32))]
        words = "Unable to find shared memory region: 'none'"
        assert door.refused(door.client.infer, "id_fp32", lost) == (missing, words)
        door.client.unregister_system_shared_memory("none")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("r", 32, 32), "Invalid offset for shared memory region: 'r'"),
        (("r", 32, 2**63 - 1), "Invalid offset for shared memory region: 'r'"),
        (("r", 33), "Invalid offset + byte size for shared memory region: 'r'"),
        (("r", 2**63 - 1, 1), "Invalid offset + byte size for shared memory region: 'r'"),
        (("r", 16), "input byte size mismatch for input 'INPUT0' for model 'add_sub'"),
    ],
    ids=str,
)
def test_places_that_a_region_has_not_are_refused(
    shared: Gateway, door: Door, place: tuple[Any, ...], words: str
) -> None:
    with region("r", 32) as one, Witness(shared):
        door.register(one, 32)
        inputs = [door.input("INPUT0", A, place), door.input("INPUT1", A, ("r", 32))]
        status, found = door.refused(door.client.infer, "add_sub", inputs)
        assert status == door.says(400, "INVALID_ARGUMENT")
        assert found.startswith(words)
        if "mismatch" in words:
            return
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", A, ("r", 32))]
        outputs = [door.output("OUTPUT0", *place)]
        _, found = door.refused(door.client.infer, "add_sub", inputs, outputs=outputs)
        assert found == words


def test_an_output_that_does_not_fit_its_place_is_refused(door: Door) -> None:
    with region("r", 64) as one:
        shared_memory.set_shared_memory_region(one, [np.arange(16, dtype=np.int32)])
        door.register(one, 64)
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", A, ("r", 32))]
        wanted = [door.output("OUTPUT0", "r", 31, 32)]
        status, words = door.refused(door.client.infer, "add_sub", inputs, outputs=wanted)
        assert status == door.says(400, "INVALID_ARGUMENT")
        assert words == (
            "shared memory size specified with the request for output 'OUTPUT0' (31 bytes) should"
            " be at least 32 bytes to hold the results"
        )
        np.testing.assert_array_equal(
            contents(one, np.arange(16, dtype=np.int32))[8:], range(8, 16)
        )


def test_a_refused_request_has_written_to_no_region(door: Door) -> None:
    with region("r", 64) as one:
        was = np.arange(16, dtype=np.int32)
        shared_memory.set_shared_memory_region(one, [was])
        door.register(one, 64)
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", A, ("r", 32))]
        wanted = [door.output("OUTPUT0", "r", 32), door.output("OUTPUT1", "r", 31, 32)]
        status, words = door.refused(door.client.infer, "add_sub", inputs, outputs=wanted)
        assert status == door.says(400, "INVALID_ARGUMENT")
        assert "'OUTPUT1' (31 bytes)" in words
        np.testing.assert_array_equal(contents(one, was), was)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, 33), (32, 1), (2**63, 1), (2**64 - 1, 2**64 - 1)]
)
def test_more_than_there_is_cannot_be_registered(door: Door, offset: int, size: int) -> None:
    with region("r", 32) as one:
        refused = door.refused(door.register, one, size, offset)
        words = "failed to register shared memory region 'r': invalid args"
        assert refused == (door.says(400, "INVALID_ARGUMENT"), words)


@pytest.mark.parametrize("bad", ["../etc/passwd", "a/b", "/dev/null", "..", "/", "", "a\nb"])
def test_fault_61_a_key_leads_to_shared_memory_only(door: Door, bad: str) -> None:
    register = door.client.register_system_shared_memory
    status, words = door.refused(register, "r", bad, 1)
    assert status == door.says(400, "INVALID_ARGUMENT")
    assert "is no key of shared memory" in words


def test_fault_109_fifos_links_and_folders_are_no_regions(door: Door) -> None:
    made = [Path("/dev/shm") / key().lstrip("/") for _ in range(4)]
    fifo, link, folder, missing = made
    try:
        os.mkfifo(fifo)
        link.symlink_to("/etc/hostname")
        folder.mkdir()
        for path in (fifo, link, folder, missing):
            register = door.client.register_system_shared_memory
            refused = door.refused(register, "r", f"/{path.name}", 1)
            words = f"Unable to open shared memory region: '/{path.name}'"
            assert refused == (door.says(400, "INVALID_ARGUMENT"), words)
    finally:
        fifo.unlink()
        link.unlink()
        folder.rmdir()


def test_a_region_that_shrinks_costs_its_requests_only(shared: Gateway, door: Door) -> None:
    """Mapped, it would be a SIGBUS; and what is written behind its end would make it grow."""
    with region("r", 4 * MIB) as one, region("out", 64) as outs, Witness(shared):
        door.register(one, 4 * MIB)
        door.register(outs, 64)
        os.truncate(path_of(one), 8)
        os.truncate(path_of(outs), 8)
        bad = door.says(400, "INVALID_ARGUMENT")
        large = np.zeros((1024, 1024), np.float32)
        inputs = [door.input("X", large, ("r", 4 * MIB))]
        status, words = door.refused(door.client.infer, "id_fp32", inputs)
        assert status == bad
        assert "shared memory region 'r' is smaller than it was registered" in words
        sent = door.module.InferInput("X", [1, 4], "FP32")
        sent.set_data_from_numpy(np.zeros((1, 4), np.float32))
        wanted = [door.output("Y", "out", 16)]
        status, words = door.refused(door.client.infer, "id_fp32", [sent], outputs=wanted)
        assert status == bad
        assert "shared memory region 'out' is smaller than it was registered" in words
        assert path_of(outs).stat().st_size == 8


def test_a_region_that_vanished_or_was_replaced_stays_what_it_was(door: Door) -> None:
    with region("r", 32) as one:
        shared_memory.set_shared_memory_region(one, [A])
        door.register(one, 32)
        path_of(one).unlink()
        os.mkfifo(path_of(one))
        inputs = [door.input("INPUT0", A, ("r", 32)), door.input("INPUT1", A, ("r", 32))]
        result = door.client.infer("add_sub", inputs)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + A)


def test_regions_are_few_and_of_bounded_size(shared: Gateway, door: Door) -> None:
    full = door.says(503, "RESOURCE_EXHAUSTED")
    with contextlib.ExitStack() as stack:
        large = stack.enter_context(region("large", 25 * MIB))
        status, words = door.refused(door.register, large, 24 * MIB + 1)
        assert status == full
        assert "shared_memory.max_bytes" in words
        for number in range(4):
            door.register(stack.enter_context(region(str(number), 8)), 8)
        status, words = door.refused(door.register, stack.enter_context(region("5", 8)), 8)
        assert status == full
        assert "shared_memory.max_regions" in words
    door.client.unregister_system_shared_memory()
    files = Path(f"/proc/{shared.process.pid}/fd")

    def are_closed() -> bool:
        return not any("/dev/shm/serving-" in str(one.readlink()) for one in files.iterdir())

    wait_until(are_closed, 5, "no region is open")


def test_what_is_read_counts_as_a_body_does(door: Door) -> None:
    with region("r", 12 * MIB) as one:
        door.register(one, 12 * MIB)
        inputs = [door.input("X", np.zeros((1, 3 * MIB), np.float32), ("r", 12 * MIB))]
        status, words = door.refused(door.client.infer, "id_fp32", inputs)
        assert status == door.says(413, "RESOURCE_EXHAUSTED")
        assert "limits.max_message_bytes" in words


def test_a_request_says_its_places_whole(shared: Gateway) -> None:
    one = {"name": "X", "shape": [1, 1], "datatype": "FP32"}
    data = {"data": [1.0]}
    for inputs, outputs, words in [
        ({"parameters": {"shared_memory_region": "r"}}, None, "must be specified along with"),
        ({**data, "parameters": {"shared_memory_offset": 1}}, None, "can not be specified without"),
        ({**data, "parameters": _place("r", 4)}, None, "Input must set only one"),
        ({"parameters": _place("r", -4)}, None, "shared_memory_byte_size"),
        ({"parameters": _place("r", 2**64)}, None, "shared_memory_byte_size"),
        ({"parameters": _place("r", 4, 2**64)}, None, "shared_memory_offset"),
        (data, {**_place("r", 4), "binary_data": True}, "can't set both"),
        (data, {"shared_memory_byte_size": 4}, "can not be specified without"),
    ]:
        body: dict[str, Any] = {"inputs": [{**one, **inputs}]}
        if outputs is not None:
            body["outputs"] = [{"name": "Y", "parameters": outputs}]
        answer = shared.infer("id_fp32", body)
        assert answer.status == 400, answer
        assert words in answer.json()["error"]


def test_json_requests_use_regions_too(shared: Gateway) -> None:
    with region("j", 8) as one:
        shared_memory.set_shared_memory_region(one, [np.array([[2.5]], np.float32)])
        body = {"key": one._shm_key, "byte_size": 8}
        assert shared.post("/v2/systemsharedmemory/region/j%20j/register", body).status == 200
        tensor = {"name": "X", "shape": [1, 1], "datatype": "FP32", "parameters": _place("j j", 4)}
        wanted = [{"name": "Y", "parameters": _place("j j", 4, 4)}]
        answer = shared.infer("id_fp32", {"inputs": [tensor], "outputs": wanted})
        assert answer.json()["outputs"] == [{"name": "Y", "datatype": "FP32", "shape": [1, 1]}]
        assert contents(one, np.zeros((1, 1), np.float32), 4).item() == 2.5
        assert shared.post("/v2/systemsharedmemory/unregister", {}).status == 200
        assert shared.get("/v2/systemsharedmemory/status").json() == []


@pytest.mark.parametrize(
    "body",
    [
        {"byte_size": 4},
        {"key": 5, "byte_size": 4},
        {"key": "/k"},
        {"key": "\ud800", "byte_size": 4},
        {"key": "/k", "byte_size": -1},
    ],
)
def test_a_registration_says_what_it_is_of(shared: Gateway, body: dict[str, Any]) -> None:
    answer = shared.post("/v2/systemsharedmemory/region/r/register", body)
    assert answer.status == 400, answer


def test_a_gpu_s_memory_is_refused_in_words(door: Door) -> None:
    found = door.client.get_cuda_shared_memory_status()
    assert not (found.regions if door.name == "grpc" else found)
    refused = door.refused(door.client.register_cuda_shared_memory, "g", b"aGFuZGxl", 0, 4)
    words = "failed to register CUDA shared memory region: 'g', GPUs not supported"
    assert refused == (door.says(400, "INVALID_ARGUMENT"), words)
    door.client.unregister_cuda_shared_memory()


def test_fault_63_registering_passes_the_gate(
    start_gateway: Callable[..., Gateway], repository: Path, tmp_path: Path
) -> None:
    write(repository, "tiny", tiny())
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    settings = {"shared_memory.enabled": "true", "admin_token_file": str(token)}
    gateway = start_gateway(repository, settings)
    with region("r", 8) as one, channel(gateway) as open_channel:
        rpc = stub(open_channel)
        message = pb.SystemSharedMemoryRegisterRequest(name="r", key=one._shm_key, byte_size=8)
        nothing = pb.SystemSharedMemoryUnregisterRequest()
        for call, request in [
            (rpc.SystemSharedMemoryRegister, message),
            (rpc.SystemSharedMemoryUnregister, nothing),
            (rpc.CudaSharedMemoryRegister, pb.CudaSharedMemoryRegisterRequest(name="r")),
        ]:
            error = refusal(call, request)
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        base = "/v2/systemsharedmemory"
        body = {"key": one._shm_key, "byte_size": 8}
        assert gateway.post(f"{base}/region/r/register", body).status == 401
        assert gateway.post(f"{base}/unregister", {}).status == 401
        foreign = [("authorization", "Bearer secret"), ("origin", "http://elsewhere")]
        error = refusal(rpc.SystemSharedMemoryRegister, message, metadata=foreign)
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert gateway.get(f"{base}/status").json() == []
        rpc.SystemSharedMemoryRegister(message, timeout=10, metadata=foreign[:1])
        assert gateway.get(f"{base}/region/r/status").json()[0]["key"] == one._shm_key
