"""Which of MLflow's webhook deliveries are believed, by MLflow's own signing: HMAC-SHA256 with the
webhook's secret over ``<delivery id>.<timestamp>.<body>``. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
from collections import OrderedDict
from collections.abc import Mapping

from serving.errors import ErrorCode, ServingError

MOST_BYTES = 64 * 1024
# How far its time may be off, seconds: MLflow's documentation has five minutes, too.
WINDOW_S = 300
# Deliveries that are remembered; a flood of valid ones forgets the oldest.
_MOST = 10_000
_MOST_ID = 128
_VERSION = "v1,"
_ENTITIES = frozenset(
    {"registered_model", "model_version", "model_version_tag", "model_version_alias"}
)


class Deliveries:
    """``secret`` "": only this machine's own processes are believed, without a signature."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        # Delivery id -> when it was taken, oldest first.
        self._taken: OrderedDict[str, float] = OrderedDict()

    def take(self, headers: Mapping[str, str], body: bytes, peer: str, now: float) -> str:
        """The model that it is about; "" where it is about none. ``headers`` by lower-case name;
        ``peer``: the caller's address; ``now``: seconds since the epoch.

        Raises ServingError for one that is not believed, came before, or is not MLflow's.
        """
        if self._secret:
            self._check_signature(headers, body, now)
        elif not _is_loopback(peer):
            raise _refused(
                "without a secret (registry.mlflow.webhook_secret) only this machine's own"
                " processes are believed"
            )
        number = headers.get("x-mlflow-delivery-id", "")
        if len(number) > _MOST_ID:
            raise _refused(f"its delivery id has more than {_MOST_ID} characters")
        name = _model_of(body)
        self._note(number, now)
        return name

    def _check_signature(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        number = headers.get("x-mlflow-delivery-id", "")
        stamp = headers.get("x-mlflow-timestamp", "")
        said = headers.get("x-mlflow-signature", "")
        signed = f"{number}.{stamp}.".encode() + body
        digest = hmac.new(self._secret, signed, hashlib.sha256).digest()
        right = _VERSION + base64.b64encode(digest).decode()
        if not hmac.compare_digest(said.encode(), right.encode()):
            raise _refused("its signature is not that of the webhook's secret")
        if not number:
            raise _refused("it has no delivery id")
        is_number = stamp.isascii() and stamp.isdigit() and len(stamp) < 16
        if not is_number or abs(int(stamp) - now) > WINDOW_S:
            raise _refused(f"its time is more than {WINDOW_S} s off")

    def _note(self, number: str, now: float) -> None:
        if number in self._taken:
            raise _refused("that delivery was taken before")
        if number:
            self._taken[number] = now
        # A copy that comes later than this is too old by its time.
        while self._taken and next(iter(self._taken.values())) < now - 2 * WINDOW_S:
            self._taken.popitem(last=False)
        while len(self._taken) > _MOST:
            self._taken.popitem(last=False)


def _model_of(body: bytes) -> str:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("data"), dict):
        raise ServingError(ErrorCode.BAD_REQUEST, "it is no delivery of an MLflow webhook")
    entity, name = said.get("entity"), said["data"].get("name")
    if not (isinstance(entity, str) and isinstance(name, str)):
        return ""
    return name if entity in _ENTITIES else ""


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refused(words: str) -> ServingError:
    return ServingError(ErrorCode.PERMISSION_DENIED, f"the delivery is refused: {words}")
