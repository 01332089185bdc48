"""One logged request: what a sample of the core becomes, and what a file's line says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.observe.request_log import tensors
from serving.observe.request_log.tensors import LoggedTensor

if TYPE_CHECKING:
    from serving import _core

OK = "OK"

# The tensors of a model that go with their values; None: all.
Shown = tuple[str, ...] | None


class Record(NamedTuple):
    """``at``: when it arrived, in seconds since the epoch; durations in seconds. ``id``: the
    client's; ``request_id``: the one in the log. ``route``: why this version answered, "" where an
    older log does not say. ``status``: OK, or the word of the error that ``message`` tells.
    ``anomaly``: in what way a value is not as the model's schema says, where that was answered all
    the same."""

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
    route: str = ""
    anomaly: str = ""


def record_of(sample: _core.Sample, shown: Shown) -> Record:
    return Record(
        sample.at,
        sample.model,
        sample.version,
        sample.protocol,
        sample.id,
        sample.request_id,
        sample.word or OK,
        sample.message,
        sample.total_s,
        sample.queue_s,
        sample.compute_s,
        sample.parameters,
        _kept(sample.inputs, shown),
        _kept(sample.outputs, shown),
        sample.route,
        _anomaly(sample, shown),
    )


def _anomaly(sample: _core.Sample, shown: Shown) -> str:
    """Without the value, of a tensor that goes without its own."""
    if sample.anomaly is None:
        return ""
    tensor, words, brief = sample.anomaly
    return words if shown is None or tensor in shown else brief


def _kept(
    given: Iterable[tuple[str, str, tuple[int, ...], bytes]], shown: Shown
) -> tuple[LoggedTensor, ...]:
    return tuple(
        LoggedTensor(name, datatype, shape, data if shown is None or name in shown else None)
        for name, datatype, shape, data in given
    )


def from_line(line: bytes) -> Record:
    """The reverse of ``_core.json_lines``, of one line. Raises ValueError saying what is wrong."""
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
        route=_field(given, "route", str, ""),
        anomaly=_field(given, "anomaly", str, ""),
    )


def _field(given: Mapping[str, Any], key: str, kind: Any, otherwise: Any = None) -> Any:
    value = given.get(key, otherwise)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"it has no '{key}'" if key not in given else f"its '{key}' is wrong")
    return value


def at_of(text: str) -> float:
    """Raises ValueError for what is no time."""
    return datetime.fromisoformat(text).timestamp()
