"""The core's spans as an OTLP export request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from serving import __version__
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
_OWN = ("request_id", "batch.trace_id", "batch.span_id")
# Texts that clients chose are cut.
_MAX_TEXT = 1024


class SpanConverter:
    """``resource``: what is told once of where spans come from. ``addresses``: of the doors,
    by protocol."""

    def __init__(
        self, resource: Mapping[str, Value], addresses: Mapping[str, Address] | None = None
    ) -> None:
        self._resource = Resource(attributes=_key_values(resource))
        self._scope = InstrumentationScope(name="serving", version=__version__)
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
        scoped = ScopeSpans(scope=self._scope, spans=[self._span(span) for span in spans])
        resourced = ResourceSpans(resource=self._resource, scope_spans=[scoped])
        return ExportTraceServiceRequest(resource_spans=[resourced]).SerializeToString()

    def _span(self, given: Mapping[str, Any]) -> Span:
        attributes: dict[str, Value] = given["attributes"]
        common = tuple((key, attributes[key]) for key in attributes if key not in _OWN)
        span = Span.FromString(self._template(given["name"], given["kind"], common))
        span.trace_id = bytes.fromhex(given["trace_id"])
        span.span_id = bytes.fromhex(given["span_id"])
        span.start_time_unix_nano = given["start_ns"]
        span.end_time_unix_nano = given["end_ns"]
        span.flags = _SAMPLED
        if given["parent_id"]:
            span.parent_span_id = bytes.fromhex(given["parent_id"])
            remote = _IS_REMOTE if given["kind"] == "server" else 0
            span.flags = _SAMPLED | _HAS_IS_REMOTE | remote
        if "request_id" in attributes:
            key = span.attributes.add(key="serving.request_id")
            key.value.string_value = _text(attributes["request_id"])
        _link(span, given["links"], link_of(attributes))
        _conclude(span, given["error"], attributes)
        return span


def _link(span: Span, links: Sequence[tuple[str, str]], batch: tuple[str, str] | None) -> None:
    for trace_id, span_id in (*links, batch) if batch else links:
        span.links.add(
            trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id), flags=_SAMPLED
        )


def _conclude(span: Span, error: str, attributes: Mapping[str, Value]) -> None:
    if not error:
        return
    protocol = attributes.get("protocol")
    if protocol is None or is_fault(str(protocol), str(attributes.get("status", ""))):
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = _text(error)
    else:
        span.attributes.add(key="serving.message").value.string_value = _text(error)


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
