"""Which version of a model answers, by a route's data, on both doors."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import numpy as np
import pytest

from serving import _core
from serving.errors import ServingError
from serving.protocols.views import decode_name, find_model, find_version, parse_version
from serving.wire import messages, tfs_messages
from tests.clients.tfs import PREDICTION, predict_request
from tests.unit.core.test_observe import SERVICE, SETTINGS, grpc_message
from tests.unit.protocol_views import Models
from tests.unit.protocol_views import model as described
from tests.unit.protocol_views import version as loaded

KEYS = [f"client-{number}" for number in range(16)]
DESCRIBED = described("echo", loaded(3), loaded(4))


class Two:
    """A server whose model ``echo`` has the versions 3 and 4."""

    def __init__(self) -> None:
        x = [_core.TensorSpec("x", "BYTES", [-1])]
        self.queues = {
            version: _core.Queue(model="echo", version=version, inputs=x, outputs=x)
            for version in (3, 4)
        }
        self.server = _core.Server(SETTINGS.core())
        self.server.start()
        self.runners = [
            threading.Thread(target=_run, args=(queue,), daemon=True)
            for queue in self.queues.values()
        ]
        for runner in self.runners:
            runner.start()
        self.channel = grpc.insecure_channel("{}:{}".format(*self.server.grpc_address))

    def publish(self, **rules: Any) -> None:
        self.server.publish([_core.Route("echo", self.queues, 3, **rules)])

    def by_grpc(self, key: str = "", version: str = "") -> str:
        request = messages.ModelInferRequest.FromString(grpc_message(["a"]))
        request.model_version = version
        call = self.channel.unary_unary(SERVICE + "ModelInfer")
        answer = call(request.SerializeToString(), 10, [("x-routing-key", key)])
        return str(messages.ModelInferResponse.FromString(answer).model_version)

    def by_predict(self, key: str = "", **named: Any) -> int:
        request = predict_request("echo", {"x": np.array(["a"], object)}, **named)
        call = self.channel.unary_unary(f"{PREDICTION}Predict")
        answer = call(request.SerializeToString(), 10, [("x-routing-key", key)])
        return int(tfs_messages.PredictResponse.FromString(answer).model_spec.version.value)

    def by_http(self, key: str = "") -> str:
        host, port = self.server.http_address
        x = {"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}
        request = urllib.request.Request(
            f"http://{host}:{port}/v2/models/echo/infer",
            json.dumps({"inputs": [x]}).encode(),
            {"X-Routing-Key": key},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["model_version"])

    def refusal(self, path: str) -> str:
        host, port = self.server.http_address
        request = urllib.request.Request(f"http://{host}:{port}{path}", b'{"inputs": []}')
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        with caught.value as error:
            return str(json.load(error)["error"])

    def close(self) -> None:
        self.channel.close()
        for queue in self.queues.values():
            queue.close()
        self.server.stop()
        for runner in self.runners:
            runner.join(10)


def _run(queue: _core.Queue) -> None:
    while (batch := queue.next_batch()) is not None:
        batch.complete([batch.inputs["x"]])


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with closing(Two()) as made:
        yield made


def test_one_version_answers_all_where_nothing_divides_them(two: Two) -> None:
    two.publish()
    assert {two.by_grpc(key) for key in KEYS} == {two.by_http()} == {"3"}


def test_weights_say_who_answers_those_that_name_no_version(two: Two) -> None:
    two.publish(weights=[(3, 0), (4, 1)])
    assert (two.by_grpc(), two.by_http(), two.by_grpc(version="3")) == ("4", "4", "3")


def test_a_client_with_a_key_stays_with_its_version_on_both_doors(two: Two) -> None:
    two.publish(weights=[(3, 1), (4, 1)], sticky="X-Routing-Key")
    before = [two.by_grpc(key) for key in KEYS]
    assert [two.by_http(key) for key in KEYS] == before
    assert set(before) == {"3", "4"}
    two.publish(weights=[(3, 1), (4, 3)], sticky="X-Routing-Key")
    after = [two.by_grpc(key) for key in KEYS]
    assert [number for number, then in zip(after, before, strict=True) if then == "4"] == (
        ["4"] * before.count("4")
    )


def test_a_version_answers_to_its_alias(two: Two) -> None:
    two.publish(aliases={"next": 4})
    assert two.by_grpc(version="next") == "4"
    with pytest.raises(grpc.RpcError, match="not an integer"):
        two.by_grpc(version="other")


def test_a_label_of_tensorflow_serving_is_an_alias_and_never_a_number(two: Two) -> None:
    two.publish(aliases={"next": 4})
    assert two.by_predict(version="next") == 4
    assert (two.by_predict(), two.by_predict(version=3)) == (3, 3)
    for label in ("other", "4"):
        with pytest.raises(grpc.RpcError, match=f"servable version label: {label}"):
            two.by_predict(version=label)


def test_predict_falls_to_the_version_that_weights_and_keys_say(two: Two) -> None:
    two.publish(weights=[(3, 1), (4, 1)], sticky="X-Routing-Key")
    assert [str(two.by_predict(key)) for key in KEYS] == [two.by_grpc(key) for key in KEYS]


@pytest.mark.parametrize("name", ["m" * 256, "a%2fb", "%ff", "..", "ecko", "absent"])
def test_a_wrong_name_is_told_the_same_whether_it_is_to_infer_or_to_be_described(
    two: Two, name: str
) -> None:
    two.publish()
    with pytest.raises(ServingError) as caught:
        find_model(Models(DESCRIBED), decode_name(name))
    assert two.refusal(f"/v2/models/{name}/infer") == caught.value.message


@pytest.mark.parametrize("version", ["0", "9", "9" * 20])
def test_a_wrong_version_is_told_the_same_whether_it_is_to_infer_or_to_be_described(
    two: Two, version: str
) -> None:
    two.publish()
    with pytest.raises(ServingError) as caught:
        find_version(DESCRIBED, parse_version(version))
    assert two.refusal(f"/v2/models/echo/versions/{version}/infer") == caught.value.message


@pytest.mark.parametrize(
    "rules", [{"aliases": {"4": 4}}, {"aliases": {"": 4}}, {"shadows": [(4, 1.5)]}]
)
def test_a_route_that_says_nothing_sensible_is_refused(two: Two, rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no"):
        two.publish(**rules)
