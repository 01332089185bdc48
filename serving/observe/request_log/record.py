"""One logged request: what a sample of the core becomes, and what a file's line says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from serving.observe.request_log import tensors
from serving.observe.request_log.tensors import LoggedTensor, quoted

OK = "OK"

_Tensor = tuple[str, str, Sequence[int], bytes]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
    def inputs(self) -> Sequence[_Tensor]: ...
    @property
    def outputs(self) -> Sequence[_Tensor]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


class Record(NamedTuple):
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

    return Record(
        sample.at,
        sample.model,
        sample.version,
        sample.protocol,
        sample.id or "",
        sample.request_id or "",
        sample.word or OK,
        sample.message or "",
        sample.total_s,
        sample.queue_s,
        sample.compute_s,
        sample.parameters,
        _kept(sample.inputs, hidden),
        _kept(sample.outputs, hidden),
    )


def _kept(given: Iterable[_Tensor], hidden: Callable[[str], bool]) -> tuple[LoggedTensor, ...]:
    return tuple(
        LoggedTensor(name, datatype, tuple(shape), None if hidden(name) else data)
        for name, datatype, shape, data in given
    )


def to_line(record: Record) -> bytes:
    """One line of JSON Lines, its end included; texts that say nothing are left out."""
    head = (
        f'{{"time":"{time_text(record.at)}","model":{quoted(record.model)},'
        f'"version":{record.version},"protocol":{quoted(record.protocol)},'
    )
    parts = [head]
    if record.id:
        parts.append(f'"id":{quoted(record.id)},')
    if record.request_id:
        parts.append(f'"request_id":{quoted(record.request_id)},')
    parts.append(f'"status":{quoted(record.status)},')
    if record.message:
        parts.append(f'"message":{quoted(record.message)},')
    parts.append(
        f'"total_s":{record.total_s:.7f},"queue_s":{record.queue_s:.7f},'
        f'"compute_s":{record.compute_s:.7f},'
    )
    if record.parameters:
        parts.append(f'"parameters":{_encode(dict(record.parameters))},')
    inputs = ",".join(map(tensors.to_text, record.inputs))
    outputs = ",".join(map(tensors.to_text, record.outputs))
    parts.append(f'"inputs":[{inputs}],"outputs":[{outputs}]}}\n')
    return "".join(parts).encode()


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
    micros = round(at * 1e6)
    return f"{_second(micros // 10**6)}.{micros % 10**6:06d}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def at_of(text: str) -> float:
    """Raises ValueError for what is no time."""
    return datetime.fromisoformat(text).timestamp()
