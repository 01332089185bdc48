"""Which version answers whom, through every door: shares, keys, names, and why each answered."""

from __future__ import annotations

import http.client
import json
import math
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.wire import tfs_messages
from tests.clients import forked, oip, tfs
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import refusal, stub
from tests.small_models import scale, write

X = np.array([[1, 2]], np.float32)
USERS = [f"user-{number}" for number in range(150)]
BODY = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
# Of a draw's number: more would be once in a million runs.
SIGMAS = 5.0


class Doors:
    """One connection to each port, kept for all requests."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.connection = http.client.HTTPConnection(gateway.http, timeout=20)
        self.channel = grpc.insecure_channel(gateway.grpc)
        self.stub = stub(self.channel)

    def close(self) -> None:
        self.connection.close()
        self.channel.close()

    def tell(self, verb: str, **body: object) -> None:
        """A command on the admin port."""
        path, data = f"/api/v1/models/m/{verb}", json.dumps(body).encode()
        answer = self.gateway.get(path, data, "POST", port=self.gateway.admin_port)
        assert answer.status == 200, answer.body

    def route(self, **body: object) -> None:
        self.tell("route", **body)

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(
            "POST", path, json.dumps(body), {"Content-Type": "application/json", **named}
        )
        answer = self.connection.getresponse()
        return answer.status, dict(answer.headers.items()), answer.read()

    def by_http(self, path: str = "/v2/models/m/infer", body: object = BODY, **headers: str) -> Any:
        """(version, why) as the answer's head tells them."""
        status, told, content = self.post(path, body, **headers)
        assert status == 200, content
        return int(told["x-model-version"]), told["x-model-route"]

    def by_grpc(self, version: str = "", alias: str = "", **metadata: str) -> Any:
        given = {"alias": alias} if alias else {}
        request = oip.grpc_request("m", {"X": X}, version=version, parameters=given)
        pairs = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        answer, call = self.stub.ModelInfer.with_call(request, timeout=20, metadata=pairs)
        return int(answer.model_version), dict(call.initial_metadata())["x-model-route"]

    def by_stream(self, version: str = "", alias: str = "") -> Any:
        """What an answer on a stream says of itself; beside an alias it says much else."""
        given = {f"p{number}": "v" for number in range(40)} | {"alias": alias} if alias else {}
        request = oip.grpc_request("m", {"X": X}, version=version, parameters=given)
        [told] = self.stub.ModelStreamInfer(iter([request]), timeout=20)
        answer = told.infer_response
        return int(answer.model_version), answer.parameters["x-model-route"].string_param


@pytest.fixture
def doors(start_gateway, repository, tmp_path: Path) -> Iterator[Doors]:
    for number in (1, 2, 3):
        write(repository, "m", scale(number), number, yaml="version_policy: all\n")
    logged = {"log.access_rate": "1", "request_log.path": str(tmp_path / "requests")}
    settings = {"rollout.forced_version": "true", "request_log.rate": "1", **logged}
    made = Doors(start_gateway(repository, settings))
    yield made
    made.close()


def test_what_is_named_goes_before_what_is_drawn_and_every_answer_says_why(doors: Doors) -> None:
    gateway = doors.gateway
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    for command in (("models", "label", "m", "champion", 1), ("rollout", "weights", "m", "2=1")):
        assert forked.run(*command, environment=environment).returncode == 0
    forced, alias = {"x_serving_version": "3"}, {"x_serving_alias": "champion"}
    named = {"parameters": {"alias": "champion"}, **BODY}
    row = {"instances": [[1, 2]]}
    table = {"inputs": [[1, 2]]}
    for found, expected in (
        (doors.by_http(), (2, "weight")),
        (doors.by_grpc(), (2, "weight")),
        (doors.by_http("/v1/models/m:predict", row), (2, "weight")),
        (doors.by_http("/models/m/invocations", table), (2, "weight")),
        (doors.by_http(**forced), (3, "forced")),
        (doors.by_grpc(**forced), (3, "forced")),
        (doors.by_grpc(x_serving_version="champion"), (1, "forced")),
        (doors.by_http("/v1/models/m:predict", row, **forced), (3, "forced")),
        (doors.by_http(**alias, **forced), (1, "alias")),
        (doors.by_grpc(**alias, **forced), (1, "alias")),
        (doors.by_http(body=named, **forced), (1, "alias")),
        (doors.by_grpc(alias="champion", **forced), (1, "alias")),
        (doors.by_stream(alias="champion"), (1, "alias")),
        (doors.by_stream(), (2, "weight")),
        (doors.by_stream("3"), (3, "named")),
        (doors.by_grpc("champion"), (1, "alias")),
        (doors.by_http("/models/m@champion/invocations", table, **forced), (1, "alias")),
        (doors.by_http("/v1/models/m/labels/champion:predict", row), (1, "alias")),
        (doors.by_http("/v2/models/m/versions/3/infer", **alias), (3, "named")),
        (doors.by_grpc("3", alias="champion"), (3, "named")),
    ):
        assert found == expected
    assert forked.run("models", "default", "m", "1", environment=environment).returncode == 0
    assert (doors.by_http(), doors.by_grpc(**forced)) == ((1, "default"), (3, "forced"))
    # Told of what went wrong, too.
    absent = refusal(doors.stub.ModelInfer, oip.grpc_request("m", {"X": X}, version="9"))
    assert (absent.code(), "x-model-route" in dict(absent.initial_metadata())) == (
        grpc.StatusCode.NOT_FOUND,
        False,
    )
    status, told, _ = doors.post("/v2/models/m/infer", {"inputs": []}, **{"x-serving-version": "3"})
    assert (status, told["x-model-version"], told["x-model-route"]) == (400, "3", "forced")
    status, _, content = doors.post("/v2/models/m/infer", BODY, **{"x-serving-alias": "other"})
    assert (status, json.loads(content)["error"]) == (
        404,
        "Request for unknown model: 'm' has no alias 'other'",
    )
    _counted_and_logged(gateway)


def _counted_and_logged(gateway: Gateway) -> None:
    for version, route, count in (("2", "weight", 5), ("3", "forced", 5), ("1", "alias", 8)):
        assert gateway.metric("serving_route_total", version=version, route=route) == count
    assert gateway.metric("serving_route_total", version="1", route="default") == 1
    kinds = {
        (2, "weight"),
        (3, "forced"),
        (1, "alias"),
        (1, "forced"),
        (3, "named"),
        (1, "default"),
    }

    def told() -> set[tuple[int, str]]:
        return {(one.get("version", 0), one.get("route", "")) for one in gateway.events("request")}

    wait_until(lambda: kinds <= told(), 20, "every kind of route is in the access log")
    folder = Path(gateway.settings["request_log.path"])

    def sampled() -> set[tuple[int, str]]:
        text = "".join(file.read_text() for file in folder.iterdir())
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return {(one["version"], one["route"]) for one in found}

    wait_until(lambda: sampled() == kinds, 20, "every kind of route is in the request log")


def test_shares_are_drawn_within_what_chance_allows(doors: Doors) -> None:
    doors.route(weights={"1": 70, "2": 20, "3": 10})
    count = 600
    for ask in (doors.by_http, doors.by_grpc):
        found = [ask()[0] for _ in range(count)]
        for version, share in ((1, 0.7), (2, 0.2), (3, 0.1)):
            sigma = math.sqrt(count * share * (1 - share))
            assert abs(found.count(version) - count * share) < SIGMAS * sigma, (version, found)


def test_a_client_keeps_its_version_while_a_canary_grows_whatever_names_its_key(
    doors: Doors,
) -> None:
    doors.route(weights={"1": 95, "2": 5}, sticky="x-user")

    def versions() -> dict[str, int]:
        return {user: doors.by_grpc(x_user=user)[0] for user in USERS}

    before, shares = versions(), []
    for weight in (10, 50, 100):
        doors.route(weights={"1": 100 - weight, "2": weight})
        after = versions()
        back = [user for user in USERS if before[user] == 2 and after[user] == 1]
        assert back == [], f"at {weight}"
        shares.append(list(after.values()).count(2))
        before = after
    assert shares[0] < shares[1] < shares[2] == len(USERS)
    doors.route(weights={"1": 50, "2": 50})
    body: dict[str, Any]
    for user in USERS[:20]:
        body = {"parameters": {"x-user": user}, **BODY}
        same = {
            doors.by_grpc(x_user=user)[0],
            doors.by_http(x_user=user)[0],
            doors.by_http(body=body)[0],
            doors.by_http("/v1/models/m:predict", {"instances": [[1, 2]]}, x_user=user)[0],
            _predicted(doors, user),
        }
        assert len(same) == 1, user


def test_a_stream_that_was_there_before_the_key_was_keeps_its_version(doors: Doors) -> None:
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = doors.stub.ModelStreamInfer(
        iter(requests.get, None), timeout=60, metadata=[("x-user", "somebody")]
    )

    def version() -> int:
        requests.put(oip.grpc_request("m", {"X": X}))
        return int(next(stream).infer_response.model_version)

    assert version() == 3
    doors.route(weights={"1": 50, "2": 50}, sticky="x-user")
    assert {version() for _ in range(20)} == {doors.by_grpc(x_user="somebody")[0]}
    requests.put(None)


def test_of_three_versions_one_that_grows_moves_nobody_between_the_others(doors: Doors) -> None:
    doors.route(weights={"1": 60, "2": 35, "3": 5}, sticky="x-user")
    before = {user: doors.by_grpc(x_user=user)[0] for user in USERS}
    doors.route(weights={"1": 60, "2": 35, "3": 60})
    after = {user: doors.by_grpc(x_user=user)[0] for user in USERS}
    moved = {user for user in USERS if before[user] != after[user]}
    assert len(moved) > 20
    assert {after[user] for user in moved} == {3}


def _predicted(doors: Doors, user: str) -> int:
    call = doors.channel.unary_unary(f"{tfs.PREDICTION}Predict")
    request = tfs.predict_request("m", {"X": X}).SerializeToString()
    answer = call(request, 20, [("x-user", user)])
    return int(tfs_messages.PredictResponse.FromString(answer).model_spec.version.value)


def test_a_swap_changes_no_draw_and_loses_no_request(doors: Doors, repository: Path) -> None:
    doors.route(weights={"1": 50, "2": 50}, sticky="x-user")
    expected = {user: doors.by_grpc(x_user=user)[0] for user in USERS[:40]}
    wrong: list[object] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            for user, version in expected.items():
                try:
                    found = doors.by_grpc(x_user=user)[0]
                except grpc.RpcError as error:
                    found = error
                if found != version:
                    wrong.append((user, version, found))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    for factor in (5, 6):
        write(repository, "m", scale(factor), "2.new")
        (repository / "m" / "2.new" / "model.onnx").replace(repository / "m" / "2" / "model.onnx")
        doors.tell("load", version=2)
    ended.set()
    for one in asking:
        one.join()
    assert wrong == []
    user = next(user for user, version in expected.items() if version == 2)
    answer = doors.stub.ModelInfer(oip.grpc_request("m", {"X": X}), metadata=[("x-user", user)])
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [6, 12]
