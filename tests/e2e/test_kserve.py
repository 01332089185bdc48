"""KServe's own client, REST and gRPC, against the gateway."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import numpy as np
import pytest

from tests.clients import environments, kserve_environment
from tests.clients.gateway import ROOT, Gateway
from tests.clients.witness import EXPECTED

# The first time, the client and all it needs are installed.
pytestmark = [pytest.mark.kserve, pytest.mark.timeout(900)]

CALLS = ROOT / "tests" / "clients" / "kserve_calls.py"
EVENTS = ROOT / "tests" / "clients" / "kserve_events.py"
STRINGS = ["plain", "é 漢字"]


@pytest.fixture(scope="module")
def seen(gateway: Gateway) -> dict[str, Any]:
    """What the client made of every answer: door -> call -> result."""
    return dict(_said(str(CALLS), f"http://{gateway.http}", gateway.grpc))


def _said(*command: str, given: object = None) -> Any:
    python = kserve_environment.python()
    done = subprocess.run(
        [str(python), *command],
        env=environments.variables(),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_kserves_client_sees_what_is_live_and_ready(seen: dict[str, Any], door: str) -> None:
    found = seen[door]
    assert found["live"] is True
    assert found["ready"] is True
    assert found["model ready"] is True
    assert found["broken model ready"] is False


@pytest.mark.parametrize(
    ("door", "way"),
    [
        ("rest", "json"),
        ("rest", "binary"),
        ("rest", "binary in"),
        ("grpc", "typed"),
        ("grpc", "raw"),
    ],
)
def test_kserves_client_reads_answers(seen: dict[str, Any], door: str, way: str) -> None:
    found = seen[door][f"infer {way}"]
    assert (found["id"], found["model"]) == ("mine", "tiny")
    # The REST client does not take the version over from the answer.
    assert found["version"] == ("1" if door == "grpc" else None)
    assert (found["name"], found["datatype"], found["shape"]) == ("y", "FP32", [1, 3])
    np.testing.assert_allclose(found["data"], EXPECTED[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("door", "way"),
    [("rest", "json"), ("rest", "binary"), ("grpc", "typed"), ("grpc", "raw")],
)
def test_kserves_client_reads_strings(seen: dict[str, Any], door: str, way: str) -> None:
    found = seen[door][f"strings {way}"]
    assert (found["name"], found["datatype"], found["shape"]) == ("Y", "BYTES", [1, 2])
    assert found["data"] == STRINGS


@pytest.mark.parametrize(("door", "code"), [("rest", 400), ("grpc", "INVALID_ARGUMENT")])
def test_kserves_client_shows_our_words_of_an_error(
    seen: dict[str, Any], door: str, code: int | str
) -> None:
    found, text = seen[door]["error"]
    assert found == code
    assert "unexpected shape for input 'x'" in text


EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "here", "ce-type": "asked"}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
ASKED = [
    (EVENT, BODY),
    # What the attributes say makes no difference to it.
    ({**EVENT, "ce-specversion": "9.9", "ce-more": "x", "ce-time": "never"}, BODY),
    *(({k: v for k, v in EVENT.items() if k != left_out}, BODY) for left_out in EVENT),
    ({}, BODY),
    (EVENT, {}),
]


def test_events_are_answered_as_kserves_own_server_does(gateway: Gateway) -> None:
    theirs = _said(str(EVENTS), given=ASKED)
    for (headers, body), (status, answered, _) in zip(ASKED, theirs, strict=True):
        ours = gateway.post("/v2/models/tiny/infer", body, **headers)
        # Of a wrong body only that it is the client's fault: 422 there, 400 here.
        assert ours.status // 100 == status // 100, headers
        said = [
            {k: v for k, v in one.items() if k[:3] == "ce-"} for one in (ours.headers, answered)
        ]
        assert said[0].keys() == said[1].keys(), headers
        for name in said[0].keys() - {"ce-id", "ce-time"}:
            assert said[0][name] == said[1][name]
