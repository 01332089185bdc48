"""The calls that the example programs of Triton's client make, by its own library: each way to
infer, on both doors."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from tests import triton_models
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub

A = np.arange(16, dtype=np.int32).reshape(1, 16)
B = np.ones((1, 16), np.int32)
# On one gateway together.
pytestmark = pytest.mark.slow

DOORS = {"grpc": tritonclient.grpc, "http": tritonclient.http}
AIO = {"grpc": tritonclient.grpc.aio, "http": tritonclient.http.aio}


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    repository.mkdir()
    triton_models.lay(repository)
    # Its programs look for that name.
    one = Gateway(repository, folder / "gateway", settings={"name": "triton"})
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def address(gateway: Gateway, door: str) -> str:
    return gateway.grpc if door == "grpc" else gateway.http


def inputs(kind: Any, *arrays: np.ndarray, datatype: str = "INT32", **data: Any) -> list[Any]:
    made = []
    for place, array in enumerate(arrays):
        tensor = kind.InferInput(f"INPUT{place}", list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **data)
        made.append(tensor)
    return made


def outputs(kind: Any, **more: Any) -> list[Any]:
    return [kind.InferRequestedOutput(f"OUTPUT{place}", **more) for place in (0, 1)]


def check(result: Any, a: np.ndarray = A, b: np.ndarray = B) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), a + b)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), a - b)


# One after another


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("listed", [True, False])
def test_grpc_infers(triton: Gateway, algorithm: str | None, listed: bool) -> None:
    kind = tritonclient.grpc
    with kind.InferenceServerClient(triton.grpc) as client:
        result = client.infer(
            "simple",
            inputs(kind, A, B),
            outputs=outputs(kind) if listed else None,
            client_timeout=20,
            headers={"test": "1"},
            compression_algorithm=algorithm,
        )
        check(result)
        assert len(client.get_inference_statistics("simple").model_stats) == 1


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("listed", [True, False])
def test_http_infers_with_json_and_binary_tensors_in_one_request(
    triton: Gateway, algorithm: str | None, listed: bool
) -> None:
    kind = tritonclient.http
    asked = [
        *inputs(kind, A, binary_data=False),
        inputs(kind, A, B, binary_data=True)[1],
    ]
    wanted = [
        kind.InferRequestedOutput("OUTPUT0", binary_data=True),
        kind.InferRequestedOutput("OUTPUT1", binary_data=False),
    ]
    with kind.InferenceServerClient(triton.http) as client:
        result = client.infer(
            "simple",
            asked,
            outputs=wanted if listed else None,
            query_params={"test_1": 1, "test_2": 2},
            headers={"test": "1"},
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        check(result)
        found = client.get_inference_statistics("simple", headers={"test": "1"})
        assert len(found["model_stats"]) == 1


@pytest.mark.parametrize("door", DOORS)
def test_many_clients_one_after_the_other_leave_no_connection(triton: Gateway, door: str) -> None:
    kind = DOORS[door]
    for _ in range(20):
        client = kind.InferenceServerClient(address(triton, door))
        check(client.infer("simple", inputs(kind, A, B), outputs=outputs(kind)))
        client.close()
    wait_until(lambda: triton.metric("serving_connections") < 10, 20, "clients that left are gone")


# Channels with arguments


def test_keepalive_pings_are_answered(triton: Gateway) -> None:
    """More of them than a server has to bear, beside a run that takes its time."""
    kind = tritonclient.grpc
    options = kind.KeepAliveOptions(
        keepalive_time_ms=100,
        keepalive_timeout_ms=2000,
        keepalive_permit_without_calls=True,
        http2_max_pings_without_data=0,
    )
    with kind.InferenceServerClient(triton.grpc, keepalive_options=options) as client:
        check(client.infer("simple", inputs(kind, A, B), outputs=outputs(kind)))
        np.testing.assert_array_equal(slow_call(kind, client).as_numpy("Y"), SLOW)
        check(client.infer("simple", inputs(kind, A, B), outputs=outputs(kind)))


SLOW = np.ones((1, 1), np.float32)


def slow_input(kind: Any) -> list[Any]:
    tensor = kind.InferInput("X", [1, 1], "FP32")
    tensor.set_data_from_numpy(SLOW)
    return [tensor]


def slow_call(kind: Any, client: Any) -> Any:
    return client.infer("slow", slow_input(kind), client_timeout=20)


def test_channel_arguments_are_the_clients_own(triton: Gateway) -> None:
    kind = tritonclient.grpc
    arguments = [
        ("grpc.max_send_message_length", 1024 * 1024),
        ("grpc.max_receive_message_length", 1024 * 1024),
        ("grpc.keepalive_time_ms", 2**31 - 1),
        ("grpc.keepalive_timeout_ms", 20000),
        ("grpc.keepalive_permit_without_calls", False),
        ("grpc.http2.max_pings_without_data", 2),
        ("grpc.dns_enable_srv_queries", 1),
    ]
    with kind.InferenceServerClient(triton.grpc, channel_args=arguments) as client:
        result = client.infer(
            "simple", inputs(kind, A, B), outputs=outputs(kind), headers={"test": "1"}
        )
        check(result)


# Many at once


def test_grpc_calls_back(triton: Gateway) -> None:
    kind = tritonclient.grpc
    answered: queue.Queue[Any] = queue.Queue()
    with kind.InferenceServerClient(triton.grpc) as client:
        for place in range(8):
            client.async_infer(
                "simple",
                inputs(kind, A + place, B),
                callback=lambda result, error, place=place: answered.put((place, result, error)),
                outputs=outputs(kind),
                client_timeout=20,
            )
        for _ in range(8):
            place, result, error = answered.get(timeout=20)
            assert error is None
            check(result, A + place)


def test_http_has_as_many_at_once_as_asked_for(triton: Gateway) -> None:
    kind = tritonclient.http
    with kind.InferenceServerClient(triton.http, concurrency=4) as client:
        asked = [
            client.async_infer("simple", inputs(kind, A + place, B), outputs=outputs(kind))
            for place in range(8)
        ]
        for place, one in enumerate(asked):
            check(one.get_result(), A + place)


def test_grpc_cancels_what_nobody_waits_for(triton: Gateway) -> None:
    kind = tritonclient.grpc
    answered: queue.Queue[Any] = queue.Queue()
    with kind.InferenceServerClient(triton.grpc) as client:
        call = client.async_infer(
            "slow", slow_input(kind), callback=lambda result, error: answered.put((result, error))
        )
        call.cancel()
        result, error = answered.get(timeout=20)
    assert result is None
    assert error.status() == "StatusCode.CANCELLED"
    assert "Locally cancelled" in error.message()


# Streams


def test_a_stream_answers_in_order_and_tells_what_failed(triton: Gateway) -> None:
    kind = tritonclient.grpc
    answered: queue.Queue[Any] = queue.Queue()
    with kind.InferenceServerClient(triton.grpc) as client:
        client.start_stream(
            callback=lambda result, error: answered.put((result, error)), headers={"test": "1"}
        )
        for place in range(6):
            client.async_stream_infer(
                "nowhere" if place == 3 else "simple",
                inputs(kind, A + place, B),
                request_id=str(place),
                outputs=outputs(kind),
            )
        for place in range(6):
            result, error = answered.get(timeout=20)
            if place == 3:
                assert "Request for unknown model" in error.message()
                continue
            assert error is None
            assert result.get_response().id == str(place)
            check(result, A + place)
        client.stop_stream()


def test_a_stream_is_cancelled(triton: Gateway) -> None:
    kind = tritonclient.grpc
    answered: queue.Queue[Any] = queue.Queue()
    with kind.InferenceServerClient(triton.grpc) as client:
        client.start_stream(callback=lambda result, error: answered.put((result, error)))
        client.async_stream_infer("slow", slow_input(kind))
        client.stop_stream(cancel_requests=True)
        _, error = answered.get(timeout=20)
        assert error.status() == "StatusCode.CANCELLED"


# asyncio


async def _grpc(client: Any, kind: Any) -> Any:
    return await client.infer(
        "simple",
        inputs(kind, A, B),
        outputs=outputs(kind),
        client_timeout=20,
        headers={"test": "1"},
        compression_algorithm="gzip",
    )


async def _http(client: Any, kind: Any) -> Any:
    return await client.infer(
        "simple",
        [*inputs(kind, A, binary_data=False), inputs(kind, A, B, binary_data=True)[1]],
        outputs=outputs(kind, binary_data=True),
        query_params={"test_1": 1},
        request_compression_algorithm="gzip",
        response_compression_algorithm="deflate",
    )


_INFER: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {"grpc": _grpc, "http": _http}


@pytest.mark.parametrize("door", AIO)
def test_asyncio_infers_many_at_once(triton: Gateway, door: str) -> None:
    async def ask() -> None:
        kind = AIO[door]
        async with kind.InferenceServerClient(address(triton, door)) as client:
            assert await client.is_server_live()
            assert await client.is_model_ready("simple")
            results = await asyncio.gather(*(_INFER[door](client, kind) for _ in range(8)))
            for result in results:
                check(result)
            check(await client.infer("simple", inputs(kind, A, B)))
            metadata = await client.get_server_metadata()
            name = metadata["name"] if door == "http" else metadata.name
            assert name == "triton"
            with pytest.raises(InferenceServerException, match="Request for unknown model"):
                await client.get_model_metadata("wrong_model_name")

    asyncio.run(ask())


def test_asyncio_streams_and_cancels(triton: Gateway) -> None:
    kind = tritonclient.grpc.aio

    async def ask() -> None:
        async with kind.InferenceServerClient(triton.grpc) as client:

            async def questions() -> Any:
                for place in range(4):
                    yield {
                        "model_name": "simple",
                        "inputs": inputs(kind, A + place, B),
                        "outputs": outputs(kind),
                        "request_id": str(place),
                    }

            place = 0
            async for result, error in client.stream_infer(questions(), stream_timeout=20):
                assert error is None
                check(result, A + place)
                place += 1
            assert place == 4

            task = asyncio.ensure_future(client.infer("slow", slow_input(kind)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())


# Texts, and tensors in typed fields


def texts(array: np.ndarray) -> np.ndarray:
    spelt = [str(number).encode() for number in array.reshape(-1)]
    return np.array(spelt, np.object_).reshape(array.shape)


WAYS = {
    "grpc": (tritonclient.grpc, {}, {}),
    "http binary": (tritonclient.http, {"binary_data": True}, {"binary_data": True}),
    "http json": (tritonclient.http, {"binary_data": False}, {"binary_data": False}),
}


@pytest.mark.parametrize("way", WAYS)
def test_texts_are_reckoned_with(triton: Gateway, way: str) -> None:
    kind, given, wanted = WAYS[way]
    with kind.InferenceServerClient(address(triton, way.split(maxsplit=1)[0])) as client:
        result = client.infer(
            "simple_string",
            inputs(kind, texts(A), texts(B), datatype="BYTES", **given),
            outputs=outputs(kind, **wanted),
        )
        for name, expected in (("OUTPUT0", A + B), ("OUTPUT1", A - B)):
            found = result.as_numpy(name)
            assert [int(one) for one in found.reshape(-1)] == expected.reshape(-1).tolist()


@pytest.mark.parametrize("way", ["grpc", "http binary"])
def test_texts_keep_zeros_within(triton: Gateway, way: str) -> None:
    kind, given, wanted = WAYS[way]
    objects = np.array([b"he\x00llo"] * 16, np.object_).reshape(1, 16)
    fixed = np.array([b"\x00\x01\x02\x03"] * 16, np.bytes_).reshape(1, 16)
    with kind.InferenceServerClient(address(triton, way.split(maxsplit=1)[0])) as client:
        for array in (objects, fixed):
            result = client.infer(
                "simple_identity",
                inputs(kind, array, datatype="BYTES", **given),
                outputs=outputs(kind, **wanted)[:1],
            )
            assert result.as_numpy("OUTPUT0").tolist() == array.tolist()


@pytest.mark.parametrize(
    ("model", "datatype", "field"),
    [
        ("simple", "INT32", "int_contents"),
        ("simple_int8", "INT8", "int_contents"),
        ("simple_string", "BYTES", "bytes_contents"),
    ],
)
def test_tensors_come_in_typed_fields_and_go_raw(
    triton: Gateway, model: str, datatype: str, field: str
) -> None:
    request = pb.ModelInferRequest(model_name=model)
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        values = texts(array) if datatype == "BYTES" else array
        getattr(tensor.contents, field).extend(values.reshape(-1).tolist())
    request.outputs.add(name="OUTPUT0")
    request.outputs.add(name="OUTPUT1")
    with channel(triton) as one:
        answer = stub(one).ModelInfer(request, timeout=20)
    assert [tuple(one.shape) for one in answer.outputs] == [(1, 16)] * 2
    for raw, expected in zip(answer.raw_output_contents, (A + B, A - B), strict=True):
        if datatype == "BYTES":
            found = [int(one) for one in deserialize_bytes_tensor(raw)]
        else:
            found = np.frombuffer(raw, np.int8 if datatype == "INT8" else np.int32).tolist()
        assert found == expected.reshape(-1).tolist()


# Health, metadata, control


@pytest.mark.parametrize("door", DOORS)
def test_health_and_metadata(triton: Gateway, door: str) -> None:
    more: dict[str, Any] = {"headers": {"test": "1", "dummy": "2"}}
    if door == "http":
        more["query_params"] = {"test_1": 1, "test_2": 2}
    read = partial(_field, door)
    with DOORS[door].InferenceServerClient(address(triton, door)) as client:
        assert client.is_server_live(**more)
        assert client.is_server_ready()
        assert client.is_model_ready("simple")
        assert read(client.get_server_metadata(), "name") == "triton"
        assert read(client.get_model_metadata("simple", **more), "name") == "simple"
        for ask in (client.get_model_metadata, client.get_model_config):
            with pytest.raises(InferenceServerException, match="Request for unknown model"):
                ask("wrong_model_name")
        config = client.get_model_config("simple")
        config = config if door == "http" else config.config
        assert (read(config, "name"), read(config, "max_batch_size")) == ("simple", 8)


def _field(door: str, message: Any, name: str) -> Any:
    return message[name] if door == "http" else getattr(message, name)


@pytest.mark.parametrize("door", DOORS)
def test_models_are_controlled(start_gateway: Any, repository: Path, door: str) -> None:
    triton_models.lay(repository)
    settings = {"model_control": "explicit", "control.uploads": "true"}
    gateway = start_gateway(repository, settings)
    with DOORS[door].InferenceServerClient(address(gateway, door)) as client:
        assert len(gateway.index()) == 5
        client.load_model("simple")
        assert client.is_model_ready("simple")
        broken = '"parameters": {"config": {{"max_batch_size": "16"}}}'
        with pytest.raises(InferenceServerException, match="failed to load"):
            client.load_model("simple", config=broken)
        # An integer as a text.
        client.load_model("simple", config='{"max_batch_size":"16"}')
        config = client.get_model_config("simple")
        config = config if door == "http" else config.config
        assert _field(door, config, "max_batch_size") == 16
        client.unload_model("simple")
        assert not client.is_model_ready("simple")
        # A name that no file can have.
        words = "failed to load.*failed to poll from model repository"
        with pytest.raises(InferenceServerException, match=words):
            client.load_model("simple", config="{}", files={"file:" + "A" * 256: b"a"})
        assert client.is_server_live()
        with pytest.raises(InferenceServerException, match="failed to load"):
            client.load_model("wrong_model_name")
