"""The core's spans as an OTLP export request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from serving import __version__
from serving.observe.tracing import wire
from serving.observe.tracing.semantics import Address, Value, attributes_of, is_fault, link_of

_KINDS: dict[str, Span.SpanKind.ValueType] = {
    "server": Span.SPAN_KIND_SERVER,
    "internal": Span.SPAN_KIND_INTERNAL,
}
# The caller may be traced elsewhere: what is known of a parent's or link's place.
_HAS_IS_REMOTE = 0x100
_IS_REMOTE = 0x200
_SAMPLED = 0x01
# Differs from request to request: not worth remembering.
_OWN = frozenset({"request_id", "batch.trace_id", "batch.span_id"})
_REQUEST_ID = b"serving.request_id"
_MESSAGE = b"serving.message"
# Texts that clients chose are cut.
_MAX_TEXT = 1024


class SpanConverter:
    """``resource``: what is told once of where spans come from. ``addresses``: of the doors,
    by protocol."""

    def __init__(
        self, resource: Mapping[str, Value], addresses: Mapping[str, Address] | None = None
    ) -> None:
        # Messages whose last field, the spans, is written after them.
        where = Resource(attributes=_key_values(resource))
        self._resource = ResourceSpans(resource=where).SerializeToString()
        scope = InstrumentationScope(name="serving", version=__version__)
        self._scope = ScopeSpans(scope=scope).SerializeToString()
        addresses = dict(addresses or {})

        # Spans of a model differ in ids and times, and hardly in anything else: building
        # the same attributes again takes most of a conversion.
        @lru_cache(1024)
        def template(name: str, kind: str, items: tuple[tuple[str, Value], ...]) -> bytes:
            span = Span(name=name, kind=_KINDS.get(kind, Span.SPAN_KIND_UNSPECIFIED))
            span.attributes.extend(_key_values(attributes_of(items, addresses)))
            return span.SerializeToString()

        self._template = template

    def request(self, spans: Sequence[Mapping[str, Any]]) -> bytes:
        """One export request for spans as ``Server.spans`` gives them."""
        scoped = self._scope + b"".join([wire.field(wire.INSIDE, self._span(s)) for s in spans])
        return wire.field(wire.TEXT, self._resource + wire.field(wire.INSIDE, scoped))

    def _span(self, given: Mapping[str, Any]) -> bytes:
        attributes: dict[str, Value] = given["attributes"]
        common = tuple([item for item in attributes.items() if item[0] not in _OWN])
        parent, flags = given["parent_id"], _SAMPLED
        if parent:
            remote = _IS_REMOTE if given["kind"] == "server" else 0
            flags = _SAMPLED | _HAS_IS_REMOTE | remote
        parts = [
            self._template(given["name"], given["kind"], common),
            wire.span_head(given["trace_id"], given["span_id"], parent),
            wire.span_times(given["start_ns"], given["end_ns"], flags),
        ]
        if "request_id" in attributes:
            parts.append(wire.attribute(_REQUEST_ID, _text(attributes["request_id"])))
        batch = link_of(attributes)
        links = given["links"] if batch is None else (*given["links"], batch)
        parts += [wire.link(trace_id, span_id, _SAMPLED) for trace_id, span_id in links]
        if given["error"]:
            parts.append(_conclusion(given["error"], attributes))
        return b"".join(parts)


def _conclusion(error: str, attributes: Mapping[str, Value]) -> bytes:
    protocol = attributes.get("protocol")
    if protocol is None or is_fault(str(protocol), str(attributes.get("status", ""))):
        status = Status(code=Status.STATUS_CODE_ERROR, message=_text(error))
        return Span(status=status).SerializeToString()
    return wire.attribute(_MESSAGE, _text(error))


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


def _text(value: object) -> str:
    """protobuf takes no lone surrogates."""
    return str(value)[:_MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
