"""Our own client against a real gateway: blocking and awaiting, over both doors, the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving_client import (
    AsyncClient,
    Client,
    DeadlineError,
    InputError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnreachableError,
    WrongServerError,
)
from serving_client.transports.http_answer import MAX_CONNECTIONS
from tests.clients import forked, oip, sdk
from tests.clients.gateway import Gateway, free_ports, wait_until
from tests.small_models import scale, tiny_expected, write


@pytest.fixture(params=sdk.KINDS)
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[Any]:
    with sdk.client(request.param, gateway) as one:
        yield one


def test_arrays_go_in_and_arrays_come_out(client: Any) -> None:
    x = np.random.default_rng(1).random((3, 4), dtype=np.float32)
    result = client.infer("tiny", x=x)
    assert (result.model, result.version, list(result)) == ("tiny", "1", ["y"])
    assert np.allclose(result["y"], tiny_expected(x), atol=1e-6)
    with pytest.raises(KeyError, match=r"no output 'z' was answered \(those are: y\)"):
        result["z"]


@pytest.mark.parametrize("datatype", [name for name in oip.DTYPES if name != "BF16"])
def test_every_datatype_comes_back_as_it_went(client: Any, datatype: str) -> None:
    sample = oip.SAMPLES[datatype]
    result = client.infer(f"id_{datatype.lower()}", X=sample)
    assert result["Y"].tobytes() == sample.tobytes() or result["Y"].tolist() == sample.tolist()
    assert result["Y"].shape == sample.shape
    assert result.datatypes == {"Y": datatype}


def test_bf16_comes_back_as_it_went(client: Any) -> None:
    import ml_dtypes

    sample = oip.SAMPLES["BF16"].view(ml_dtypes.bfloat16)
    assert client.infer("id_bf16", X=sample)["Y"].tobytes() == sample.tobytes()
    assert client.infer("id_bf16", X=[[1, 2.5]])["Y"].tolist() == [[1.0, 2.5]]


def test_lists_and_scalars_become_what_the_model_takes(client: Any) -> None:
    assert client.infer("add_sub", INPUT0=[[1, 2, 3, 4]], INPUT1=[[1, 1, 1, 1]])[
        "OUTPUT1"
    ].tolist() == [[0, 1, 2, 3]]
    assert client.infer("scalar", X=2.5)["Y"] == np.float32(2.5)
    assert client.infer("id_bytes", X=[["a", "é"]])["Y"].tolist() == [["a", "é"]]


def test_large_tensors_pass(client: Any) -> None:
    x = np.random.default_rng(1).random((64, 4096), dtype=np.float32)
    assert np.array_equal(client.infer("id_fp32", X=x)["Y"], x)


def test_versions_outputs_and_ids_are_as_asked(client: Any) -> None:
    for version, factor in ((None, 7), (1, 1), ("2", 2)):
        result = client.infer("versions", X=[[1, 1]], version=version)
        assert result["Y"].tolist() == [[factor, factor]]
        assert result.version == str(version or 7)
    inputs = {"INPUT0": [[4, 3, 2, 1]], "INPUT1": [[1, 1, 1, 1]]}
    result = client.infer("add_sub", inputs, outputs=["OUTPUT1"], request_id="one", priority=0)
    assert list(result) == ["OUTPUT1"]
    assert result.id == "one"
    assert list(client.infer("add_sub", inputs, outputs="OUTPUT0")) == ["OUTPUT0"]


def test_a_version_may_be_named_by_its_alias(start_gateway: Any, repository: Path) -> None:
    """Over gRPC, which is where the protocol's version is a text."""
    both = "version_policy: { latest: { num_versions: 2 } }"
    write(repository, "m", scale(1), 1, config=both)
    write(repository, "m", scale(2), 2)
    gateway = start_gateway(repository)
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    assert forked.run("models", "label", "m", "stable", 1, environment=environment).returncode == 0
    with Client(gateway.grpc) as client:
        result = client.infer("m", X=[[1, 1]], version="stable")
        assert (result.version, result["Y"].tolist()) == ("1", [[1, 1]])
        assert client.metadata("m", version="stable").versions == ("1",)
        with pytest.raises(InvalidRequestError, match="should be an integral value"):
            client.infer("m", X=[[1, 1]], version="other")


def test_an_id_stands_in_the_servers_errors_too(client: Any) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        client.infer("gather", I=[99], request_id="mine")
    assert refused.value.request_id == "mine"
    # Told when the model's inputs are asked for, before anything is inferred.
    with pytest.raises(NotFoundError) as unknown:
        client.infer("nowhere", X=[1], request_id="yours")
    assert unknown.value.request_id == "yours"


def test_the_server_tells_about_itself_and_its_models(client: Any) -> None:
    assert client.live()
    assert client.ready()
    assert client.model_ready("versions", version=2)
    assert not client.model_ready("versions", version=3)
    assert not client.model_ready("nowhere")
    assert client.server_metadata().name == "serving"
    metadata = client.metadata("add_sub")
    assert [tensor.name for tensor in metadata.inputs] == ["INPUT0", "INPUT1"]
    assert (metadata.outputs[0].datatype, metadata.outputs[0].shape) == ("INT32", (-1, 4))
    states = {(one.name, one.version): one for one in client.models()}
    assert states["tiny", "1"].state == "READY"
    assert states["broken", "1"].reason


def test_statistics_count_what_was_asked(client: Any) -> None:
    (before,) = client.statistics("vector_fp32")
    client.infer("vector_fp32", X=[1.0, 2.0])
    (after,) = client.statistics("vector_fp32", version=1)
    assert after.execution_count == before.execution_count + 1
    assert after.success.count == before.success.count + 1
    assert after.success.ns > before.success.ns
    assert sum(batch.count for batch in after.batches.values()) == after.execution_count
    assert len(client.statistics()) > 20


@pytest.mark.parametrize(
    ("model", "inputs", "kind", "words"),
    [
        ("nowhere", {"X": [1]}, NotFoundError, "Request for unknown model: 'nowhere'"),
        ("tiny", {"X": [[1, 2, 3, 4]]}, InvalidRequestError, "did you mean 'x'"),
        ("tiny", {"x": [[1, 2, 3]]}, InvalidRequestError, r"Expected \[-1,4\], got \[1,3\]"),
        ("tiny", {}, InvalidRequestError, "expected 1 inputs but got 0"),
        ("tiny", {"x": [["a"] * 4]}, InputError, "input 'x' of model 'tiny': expected FP32"),
        ("id_int8", {"X": [[300]]}, InputError, "out of INT8's range"),
        ("id_int8", {"X": [[1.0]]}, InputError, r"expected INT8 \(int8\), got float64"),
        ("gather", {"I": [99]}, InvalidRequestError, "."),
    ],
)
def test_what_is_wrong_is_said_in_the_servers_words(
    client: Any, model: str, inputs: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as refused:
        client.infer(model, inputs)
    assert type(refused.value) is kind


def test_a_deadline_is_kept_and_the_model_is_spared(client: Any, gateway: Gateway) -> None:
    """The server ends the run whose answer nobody waits for."""
    client.metadata("slow")
    before = gateway.metric("serving_execution_abandoned_total", model="slow")

    def a_run_was_ended() -> bool:
        with pytest.raises(DeadlineError):
            client.infer("slow", X=[[0]], timeout=0.1)
        return gateway.metric("serving_execution_abandoned_total", model="slow") > before

    # Whose time is over before its run begins ends none.
    wait_until(a_run_was_ended, 20, "a run is ended")


@pytest.mark.parametrize("kind", sdk.KINDS)
def test_an_answer_over_the_clients_limit_is_refused(kind: str, gateway: Gateway) -> None:
    with sdk.client(kind, gateway, max_message_bytes=10_000) as client:
        # Over gRPC the request may not be larger either.
        assert client.infer("id_fp32", X=np.zeros((1, 100), np.float32))["Y"].size == 100
        with pytest.raises(TooLargeError):
            client.infer("id_fp32", X=np.zeros((1, 5000), np.float32))


@pytest.mark.parametrize("kind", ["blocking http", "awaiting http"])
def test_answers_over_the_limit_cost_no_connection_for_ever(kind: str, gateway: Gateway) -> None:
    """More of them than a client has connections."""
    with sdk.client(kind, gateway, max_message_bytes=10) as client:
        for _ in range(MAX_CONNECTIONS + 1):
            with pytest.raises(TooLargeError):
                client.server_metadata(timeout=5)


@pytest.mark.parametrize("kind", sdk.KINDS)
def test_a_closed_client_says_so(kind: str, gateway: Gateway) -> None:
    with sdk.client(kind, gateway) as client:
        assert client.live()
        client.close()
        with pytest.raises(RuntimeError, match="the client is closed"):
            client.live()


@pytest.mark.parametrize(
    ("form", "kind", "words"),
    [
        ("{http}", WrongServerError, "gRPC is on port {grpc_port}"),
        ("http://{grpc}", InvalidRequestError, "HTTP is on port {http_port}"),
        ("{admin}", WrongServerError, "it speaks HTTP: try http://{admin}"),
        ("localhost:{free}", UnreachableError, "nothing listens at localhost:{free}"),
        ("http://localhost:{free}", UnreachableError, "nothing listens at http://localhost"),
    ],
)
def test_a_wrong_address_says_what_is_there(
    gateway: Gateway, form: str, kind: type[Exception], words: str
) -> None:
    names = ("http", "grpc", "admin", "http_port", "grpc_port")
    places = {name: getattr(gateway, name) for name in names} | {"free": free_ports(1)[0]}
    with (
        Client(form.format(**places), retry=None, timeout=10) as client,
        pytest.raises(kind, match=words.format(**places)),
    ):
        client.infer("tiny", x=[[1, 2, 3, 4]])


@pytest.mark.parametrize("kind", ["blocking grpc", "blocking http"])
def test_threads_share_a_client_and_its_connections(kind: str, gateway: Gateway) -> None:
    before = gateway.metric("serving_connections_total", door=kind.split()[1])
    with sdk.client(kind, gateway) as client, ThreadPoolExecutor(8) as pool:
        rows = [np.full((1, 4), number, np.float32) for number in range(64)]
        results = list(pool.map(lambda row: client.infer("id_fp32", X=row)["Y"], rows))
    assert all(map(np.array_equal, results, rows))
    opened = gateway.metric("serving_connections_total", door=kind.split()[1]) - before
    assert opened <= (1 if "grpc" in kind else 8)


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_many_calls_are_awaited_at_once(door: str, gateway: Gateway) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(sdk.address(gateway, door)) as client:
            rows = (np.full((1, 4), number, np.float32) for number in range(200))
            return await asyncio.gather(*(client.infer("id_fp32", X=row) for row in rows))

    results = asyncio.run(ask())
    assert [int(result["Y"][0, 0]) for result in results] == list(range(200))


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_many_calls_at_once_ask_for_the_models_metadata_once(door: str, gateway: Gateway) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(sdk.address(gateway, door)) as client:
            asked: list[str] = []
            send = client._transport.send

            async def noted(attempt: Any) -> Any:
                asked.append(attempt.exchange.target)
                return await send(attempt)

            client._transport.send = noted  # type: ignore[method-assign]  # seen from outside
            x = np.ones((1, 4), np.float32)
            answers = await asyncio.gather(*(client.infer("tiny", x=x) for _ in range(50)))
            assert {answer.version for answer in answers} == {"1"}
            return asked

    asked = asyncio.run(ask())
    assert len(asked) == 51
    assert len(set(asked)) == 2


def test_headers_go_with_every_call(gateway: Gateway) -> None:
    for address in (gateway.grpc, f"http://{gateway.http}"):
        with Client(address, headers={"X-Request-Id": "always"}) as client:
            with pytest.raises(NotFoundError) as refused:
                client.metadata("nowhere")
            assert refused.value.request_id == "always"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout: seconds, above 0"),
        ({"keepalive": -1}, "keepalive"),
        ({"keepalive": float("inf")}, "keepalive: seconds, above 0 and at most 86400"),
        ({"max_message_bytes": 0}, "max_message_bytes"),
        ({"headers": {"a b": "c"}}, "no header's name"),
        ({"headers": {"a": "c\n"}}, "printable ASCII only"),
    ],
)
def test_options_that_cant_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Client("localhost:1", **options)


def test_an_input_given_twice_is_refused(gateway: Gateway) -> None:
    with Client(gateway.grpc) as client, pytest.raises(TypeError, match="input given twice: x"):
        client.infer("tiny", {"x": [[1, 2, 3, 4]]}, x=[[1, 2, 3, 4]])
