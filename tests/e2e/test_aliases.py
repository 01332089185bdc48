"""A version asked for by its alias, through every door that takes one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import forked, oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, refusal, stub
from tests.small_models import scale, write

X = np.array([[1, 2]], np.float32)


@pytest.fixture
def gateway(start_gateway, repository) -> Gateway:
    write(repository, "m", scale(1), 1, config="version_policy: { latest: { num_versions: 2 } }")
    write(repository, "m", scale(2), 2)
    gateway: Gateway = start_gateway(repository)
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    done = forked.run("models", "label", "m", "stable", 1, environment=environment)
    assert done.returncode == 0, done
    return gateway


def asked(version: str, model: str = "m") -> Any:
    request = oip.grpc_request(model, {"X": X})
    request.model_version = version
    return request


def test_the_open_inference_protocols_calls_take_an_alias_for_a_version(gateway: Gateway) -> None:
    with channel(gateway) as one:
        rpc = stub(one)
        answer = rpc.ModelInfer(asked("stable"), timeout=20)
        (streamed,) = rpc.ModelStreamInfer(iter([asked("stable")]), timeout=20)
        ready = rpc.ModelReady(pb.ModelReadyRequest(name="m", version="stable"), timeout=20)
        told = rpc.ModelMetadata(pb.ModelMetadataRequest(name="m", version="stable"), timeout=20)
        none = rpc.ModelReady(pb.ModelReadyRequest(name="nobody", version="stable"), timeout=20)
        errors: list[Any] = [
            refusal(rpc.ModelInfer, asked("other")),
            refusal(rpc.ModelInfer, asked("stable", "nobody")),
            refusal(rpc.ModelMetadata, pb.ModelMetadataRequest(name="nobody", version="stable")),
        ]
    numbers = (answer.model_version, streamed.infer_response.model_version, *told.versions)
    assert numbers == ("1", "1", "1")
    assert (ready.ready, none.ready) == (True, False)
    codes = [error.code().name for error in errors]
    assert codes == ["INVALID_ARGUMENT", "NOT_FOUND", "NOT_FOUND"]
    assert all("Request for unknown model: 'nobody'" in error.details() for error in errors[1:])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_serving_infer_takes_an_alias_for_a_version(gateway: Gateway, protocol: str) -> None:
    url = f"http://{gateway.http}" if protocol == "http" else f"grpc://{gateway.grpc}"

    def infer(version: str) -> Any:
        return forked.run("infer", "m", "--url", url, "--generate", "--version", version)

    done = infer("stable")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "m 1"), done
    refused = infer("other")
    assert (refused.returncode, "other" in refused.stderr) == (1, True), refused
    assert infer("007").returncode == 2
