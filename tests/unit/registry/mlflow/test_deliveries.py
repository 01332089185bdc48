"""Which of MLflow's webhook deliveries are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from serving.errors import ErrorCode, ServingError
from serving.registry.mlflow.deliveries import WINDOW_S, Deliveries

NOW = 1_800_000_000.0
BODY = json.dumps(
    {
        "entity": "model_version_alias",
        "action": "created",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "data": {"name": "toy", "alias": "champion", "version": "1"},
    }
).encode()


def signed(
    secret: str = "hush", number: str = "one", at: float = NOW, body: bytes = BODY
) -> dict[str, str]:
    stamp = str(int(at))
    text = f"{number}.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return {
        "x-mlflow-delivery-id": number,
        "x-mlflow-timestamp": stamp,
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def refusal(deliveries: Deliveries, headers: dict[str, str], body: bytes = BODY) -> str:
    with pytest.raises(ServingError) as error:
        deliveries.take(headers, body, "127.0.0.1", NOW)
    assert error.value.code is ErrorCode.PERMISSION_DENIED
    return error.value.message


def test_one_that_mlflow_signed_is_taken_once_from_anywhere() -> None:
    deliveries = Deliveries("hush")
    assert deliveries.take(signed(), BODY, "203.0.113.9", NOW) == "toy"
    assert "taken before" in refusal(deliveries, signed())
    assert deliveries.take(signed(number="two"), BODY, "203.0.113.9", NOW) == "toy"


def test_a_forged_one_is_refused_and_leaves_no_trace() -> None:
    deliveries = Deliveries("hush")
    words = "its signature is not"
    assert words in refusal(deliveries, signed("guess"))
    assert words in refusal(deliveries, {})
    assert words in refusal(deliveries, {**signed(), "x-mlflow-delivery-id": "other"})
    assert words in refusal(deliveries, {**signed(), "x-mlflow-timestamp": str(int(NOW) + 1)})
    assert words in refusal(deliveries, signed(), BODY.replace(b"toy", b"boy"))
    assert words in refusal(deliveries, {**signed(), "x-mlflow-signature": "v1,\N{SNOWMAN}"})
    # It would have been a replay had any of these been noted.
    assert deliveries.take(signed(), BODY, "127.0.0.1", NOW) == "toy"


@pytest.mark.parametrize("off", [-WINDOW_S - 1, WINDOW_S + 1])
def test_one_of_another_time_is_refused(off: float) -> None:
    assert "s off" in refusal(Deliveries("hush"), signed(at=NOW + off))
    almost = off - 2 if off > 0 else off + 2
    assert Deliveries("hush").take(signed(at=NOW + almost), BODY, "", NOW) == "toy"


def test_a_copy_is_known_for_as_long_as_its_time_would_pass() -> None:
    deliveries = Deliveries("hush")
    early = signed(at=NOW + WINDOW_S)
    deliveries.take(early, BODY, "", NOW)
    for later in (1.0, WINDOW_S, 2 * WINDOW_S - 1.0):
        with pytest.raises(ServingError, match="taken before"):
            deliveries.take(early, BODY, "", NOW + later)
    with pytest.raises(ServingError, match="s off"):
        deliveries.take(early, BODY, "", NOW + 2 * WINDOW_S + 1.0)


def test_how_many_are_remembered_is_bounded() -> None:
    deliveries = Deliveries("")
    for number in range(10_100):
        deliveries.take({"x-mlflow-delivery-id": str(number)}, BODY, "127.0.0.1", NOW)
    assert len(deliveries._taken) == 10_000
    assert "delivery id" in refusal(deliveries, {"x-mlflow-delivery-id": "x" * 129})
    assert "delivery id" in refusal(Deliveries("hush"), signed(number="x" * 129))


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        ("testclient", False),
    ],
)
def test_without_a_secret_only_this_machine_is_believed(peer: str, believed: bool) -> None:
    if believed:
        assert Deliveries("").take({}, BODY, peer, NOW) == "toy"
        return
    with pytest.raises(ServingError, match="only this machine's own"):
        Deliveries("").take({}, BODY, peer, NOW)


def test_what_is_about_no_model_hints_at_none_and_what_is_no_delivery_is_said_so() -> None:
    other = json.dumps({"entity": "prompt", "data": {"name": "toy"}}).encode()
    assert Deliveries("").take({}, other, "::1", NOW) == ""
    odd = json.dumps({"entity": ["model_version"], "data": {"name": "toy"}}).encode()
    assert Deliveries("").take({}, odd, "::1", NOW) == ""
    for body in (b"", b"[]", b"{", b'{"entity": "model_version"}', b"[" * 60_000, b"\xff"):
        with pytest.raises(ServingError) as error:
            Deliveries("").take({}, body, "::1", NOW)
        assert error.value.code is ErrorCode.BAD_REQUEST
