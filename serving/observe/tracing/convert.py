"""The core's spans as an OTLP export request.

The core writes the spans; here is what is told once: where they come from, and what their
attributes are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from serving import __version__, _core
from serving.observe.tracing.semantics import (
    DOORS,
    ERROR,
    MESSAGE,
    PREFIX,
    Address,
    Door,
    Value,
    address_of,
)

# Tags of ``ExportTraceServiceRequest.resource_spans`` and ``ResourceSpans.scope_spans``.
_RESOURCE_SPANS, _SCOPE_SPANS = 0x0A, 0x12
_MAX_TEXT = 1024


class SpanConverter:
    """``resource``: what is told once of where spans come from.
    ``addresses``: of the doors, by protocol."""

    def __init__(
        self, resource: Mapping[str, Value], addresses: Mapping[str, Address] | None = None
    ) -> None:
        # Messages whose last field, the spans, is written after them.
        where = Resource(attributes=_key_values(resource))
        self._resource = ResourceSpans(resource=where).SerializeToString()
        scope = InstrumentationScope(name="serving", version=__version__)
        self._scope = ScopeSpans(scope=scope).SerializeToString()
        given = addresses or {}
        doors = {name: _door(door, given.get(name)) for name, door in DOORS.items()}
        self._encoder = _core.SpanEncoder(prefix=PREFIX, message=MESSAGE, error=ERROR, doors=doors)

    def request(self, spans: Sequence[_core.Span]) -> bytes:
        """One export request for spans as ``Server.spans`` gives them."""
        encoded = self._encoder.encode(spans)
        in_scope = len(self._scope) + len(encoded)
        scope_head = _head(_SCOPE_SPANS, in_scope)
        in_resource = len(self._resource) + len(scope_head) + in_scope
        head = _head(_RESOURCE_SPANS, in_resource)
        return b"".join((head, self._resource, scope_head, self._scope, encoded))


def _door(door: Door, address: Address | None) -> tuple[bytes, bytes, str, str, list[int]]:
    """As ``SpanEncoder`` takes it."""
    after = {} if address is None else address_of(address)
    before, after_it = _attributes(door.fixed), _attributes(after)
    return before, after_it, door.method, door.code, list(door.faults)


def _attributes(values: Mapping[str, Value]) -> bytes:
    """As fields of a span."""
    return Span(attributes=_key_values(values)).SerializeToString()


def _head(tag: int, length: int) -> bytes:
    """What a field begins with."""
    head = bytearray((tag,))
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _key_values(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in values.items()]


def _any(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=_text(value))


def _text(value: str) -> str:
    """protobuf takes no lone surrogates; texts that clients chose are cut."""
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
