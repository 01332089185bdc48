"""The core's spans as an OTLP export request.

The core writes what differs from span to span; here is what is told once: where spans come
from, and what those of one kind share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from serving import __version__, _core
from serving.observe.tracing.semantics import (
    MESSAGE,
    REQUEST_ID,
    Address,
    Value,
    attributes_of,
    is_fault,
)

_KINDS: dict[str, Span.SpanKind.ValueType] = {
    "server": Span.SPAN_KIND_SERVER,
    "internal": Span.SPAN_KIND_INTERNAL,
}
# Tags of ``ExportTraceServiceRequest.resource_spans`` and ``ResourceSpans.scope_spans``.
_RESOURCE_SPANS, _SCOPE_SPANS = 0x0A, 0x12
_MAX_TEXT = 1024


class SpanConverter:
    """For one thread. ``resource``: what is told once of where spans come from.
    ``addresses``: of the doors, by protocol."""

    def __init__(
        self, resource: Mapping[str, Value], addresses: Mapping[str, Address] | None = None
    ) -> None:
        # Messages whose last field, the spans, is written after them.
        where = Resource(attributes=_key_values(resource))
        self._resource = ResourceSpans(resource=where).SerializeToString()
        scope = InstrumentationScope(name="serving", version=__version__)
        self._scope = ScopeSpans(scope=scope).SerializeToString()
        addresses = dict(addresses or {})

        def template(name: str, kind: str, attributes: Mapping[str, Value]) -> tuple[bytes, bool]:
            span = Span(name=name, kind=_KINDS.get(kind, Span.SPAN_KIND_UNSPECIFIED))
            span.attributes.extend(_key_values(attributes_of(attributes.items(), addresses)))
            return span.SerializeToString(), _is_own_fault(attributes)

        self._encoder = _core.SpanEncoder(template, request_id=REQUEST_ID, message=MESSAGE)

    def request(self, spans: Sequence[_core.Span]) -> bytes:
        """One export request for spans as ``Server.spans`` gives them."""
        encoded = self._encoder.encode(spans)
        in_scope = len(self._scope) + len(encoded)
        scope_head = _head(_SCOPE_SPANS, in_scope)
        in_resource = len(self._resource) + len(scope_head) + in_scope
        head = _head(_RESOURCE_SPANS, in_resource)
        return b"".join((head, self._resource, scope_head, self._scope, encoded))


def _is_own_fault(attributes: Mapping[str, Value]) -> bool:
    """Of an error of such spans. Those of no door ("batch", "run") have nobody to blame."""
    protocol = attributes.get("protocol")
    return protocol is None or is_fault(str(protocol), str(attributes.get("status", "")))


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
