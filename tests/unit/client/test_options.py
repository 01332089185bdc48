"""What calls are given beside the inputs, and what they give back."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import numpy as np
import pytest

from serving_client.exchange import InferOptions
from serving_client.options import infer_options, options_of
from serving_client.results import InferResult
from serving_client.transports.grpc_channel import channel_options
from serving_client.transports.http_answer import keepalive_options


def options(parameters: dict[str, Any], priority: Any = None) -> InferOptions:
    return infer_options(None, None, parameters, priority, None, None, 1.0)


def test_scalars_of_numpy_are_parameters_too() -> None:
    given = {"n": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True), "s": np.str_("x")}
    taken = options(given, np.int32(2)).parameters
    assert taken == {"n": 3, "f": 0.5, "b": True, "s": "x", "priority": 2}
    assert [type(value) for value in taken.values()] == [int, float, bool, str, int]


@pytest.mark.parametrize("value", [None, [1], b"x", np.zeros(2), np.datetime64("2020-01-01")])
def test_what_is_no_parameter_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match="parameter 'p': expected bool, int, float or str, got"):
        options({"p": value})


@pytest.mark.parametrize("keepalive", [1e-9, 60.0, 86_400.0])
def test_both_libraries_take_every_keepalive(keepalive: float) -> None:
    chosen = options_of("h:1", 60.0, None, None, keepalive, 1)
    grpc.insecure_channel("localhost:1", options=channel_options(chosen)).close()
    with socket.socket() as one:
        for option in keepalive_options(chosen.keepalive):
            one.setsockopt(*option)


def test_a_result_is_equal_to_itself_alone() -> None:
    one, other = (InferResult("m", "1", "", {}, {"y": np.zeros(3)}, {"y": "FP64"}) for _ in "12")
    assert one == one
    assert one != other
    assert len({one, other}) == 2
