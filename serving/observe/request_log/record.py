"""One logged request: what a sample of the core becomes, and what a file's line says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from serving.observe.request_log import tensors
from serving.observe.request_log.tensors import LoggedTensor

OK = "OK"


class Sample(Protocol):
    """What the core hands over of one finished request; times in seconds, ``at`` since the
    epoch, ``word`` "" where it was answered; tensors as (name, datatype, shape, bytes)."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def total_s(self) -> float: ...
    @property
    def queue_s(self) -> float: ...
    @property
    def compute_s(self) -> float: ...
    @property
    def word(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def inputs(self) -> Sequence[tuple[str, str, Sequence[int], bytes]]: ...
    @property
    def outputs(self) -> Sequence[tuple[str, str, Sequence[int], bytes]]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Record:
    """``at``: when it arrived, in seconds since the epoch; durations in seconds. ``id``: the
    client's; ``request_id``: the one in the log. ``status``: OK, or the word of the error
    that ``message`` tells."""

    at: float
    model: str
    version: int
    protocol: str
    id: str
    request_id: str
    status: str
    message: str
    total_s: float
    queue_s: float
    compute_s: float
    parameters: Mapping[str, Any]
    inputs: tuple[LoggedTensor, ...]
    outputs: tuple[LoggedTensor, ...]


def record_of(sample: Sample, hidden: Callable[[str], bool]) -> Record:
    """``hidden``: whether a tensor of this name goes without its values."""

    def kept(given: Iterable[tuple[str, str, Sequence[int], bytes]]) -> tuple[LoggedTensor, ...]:
        return tuple(
            LoggedTensor(name, datatype, tuple(shape), None if hidden(name) else bytes(data))
            for name, datatype, shape, data in given
        )

    return Record(
        at=sample.at,
        model=sample.model,
        version=sample.version,
        protocol=sample.protocol,
        id=sample.id or "",
        request_id=sample.request_id or "",
        status=sample.word or OK,
        message=sample.message or "",
        total_s=sample.total_s,
        queue_s=sample.queue_s,
        compute_s=sample.compute_s,
        parameters=dict(sample.parameters or {}),
        inputs=kept(sample.inputs),
        outputs=kept(sample.outputs),
    )


def to_line(record: Record) -> bytes:
    """One line of JSON Lines, its end included; what is empty is left out."""
    head = {
        "time": time_text(record.at),
        "model": record.model,
        "version": record.version,
        "protocol": record.protocol,
        "id": record.id,
        "request_id": record.request_id,
        "status": record.status,
        "message": record.message,
        "total_s": round(record.total_s, 7),
        "queue_s": round(record.queue_s, 7),
        "compute_s": round(record.compute_s, 7),
        "parameters": record.parameters,
    }
    document = {key: value for key, value in head.items() if value not in ("", {})}
    document["inputs"] = [tensors.to_json(tensor) for tensor in record.inputs]
    document["outputs"] = [tensors.to_json(tensor) for tensor in record.outputs]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Record:
    """The reverse of ``to_line``. Raises ValueError saying what is wrong."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(given, dict):
        raise ValueError("it is no object")
    return Record(
        at=at_of(_field(given, "time", str)),
        model=_field(given, "model", str),
        version=_field(given, "version", int),
        protocol=_field(given, "protocol", str, ""),
        id=_field(given, "id", str, ""),
        request_id=_field(given, "request_id", str, ""),
        status=_field(given, "status", str),
        message=_field(given, "message", str, ""),
        total_s=float(_field(given, "total_s", (int, float), 0.0)),
        queue_s=float(_field(given, "queue_s", (int, float), 0.0)),
        compute_s=float(_field(given, "compute_s", (int, float), 0.0)),
        parameters=_field(given, "parameters", dict, {}),
        inputs=tuple(tensors.from_json(one) for one in _field(given, "inputs", list)),
        outputs=tuple(tensors.from_json(one) for one in _field(given, "outputs", list)),
    )


def _field(given: Mapping[str, Any], key: str, kind: Any, otherwise: Any = None) -> Any:
    value = given.get(key, otherwise)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"it has no '{key}'" if key not in given else f"its '{key}' is wrong")
    return value


def time_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def at_of(text: str) -> float:
    """Raises ValueError for what is no time."""
    return datetime.fromisoformat(text).timestamp()
