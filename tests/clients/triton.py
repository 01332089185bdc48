"""Channels and stubs on tritonclient's generated classes, without its wrappers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.clients.gateway import Gateway


@contextlib.contextmanager
def channel(gateway: Gateway, **options: Any) -> Iterator[grpc.Channel]:
    """A channel of its own connection, with no message limits of the client's."""
    settings = {
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        "grpc.use_local_subchannel_pool": 1,
        **{f"grpc.{key}": value for key, value in options.items()},
    }
    with grpc.insecure_channel(gateway.grpc, options=list(settings.items())) as open_channel:
        yield open_channel


def stub(open_channel: grpc.Channel) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(open_channel)


def refusal(call: Any, *arguments: Any, **keywords: Any) -> grpc.RpcError:
    """The error that this call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **{"timeout": 20, **keywords})
    return caught.value
