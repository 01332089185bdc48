"""Whether a schema's feature says what can be meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.validation.anomalies import Anomaly
from serving.validation.schemas import SchemaView, type_of, unused
from serving.validation.views import (
    SCHEMA_BYTES,
    SCHEMA_FLOAT,
    SCHEMA_INT,
    SCHEMA_STRUCT,
    TYPE_NAMES,
)

# Which types a domain may be of; any other domain is of no certain type.
_TYPES_OF = {
    "domain": {SCHEMA_BYTES},
    "string_domain": {SCHEMA_BYTES},
    "bool_domain": {SCHEMA_INT, SCHEMA_BYTES, SCHEMA_FLOAT},
    "int_domain": {SCHEMA_INT, SCHEMA_BYTES},
    "float_domain": {SCHEMA_FLOAT, SCHEMA_BYTES},
    "struct_domain": {SCHEMA_STRUCT},
    "natural_language_domain": {SCHEMA_BYTES, SCHEMA_INT},
    "image_domain": {SCHEMA_BYTES},
    "mid_domain": {SCHEMA_BYTES},
    "url_domain": {SCHEMA_BYTES},
    "time_domain": {SCHEMA_INT, SCHEMA_BYTES},
}
_OF_TEXTS = ("domain", "string_domain")


def faults(schema: SchemaView, feature: Any) -> list[Anomaly]:
    """What is wrong with what the schema says of ``feature``, apart from any data."""
    if unused(feature):
        return []
    if not feature.HasField("name"):
        return [_fault("FEATURE_MISSING_NAME", "the feature has no name")]
    if not usable(feature):
        return [_fault("FEATURE_MISSING_TYPE", "no type is given")]
    return [*_type(feature), *_presence(feature), *_valency(feature), *_domain(schema, feature)]


def usable(feature: Any) -> bool:
    """Whether data can be held against it at all."""
    return feature.HasField("name") and type_of(feature) != 0


def _type(feature: Any) -> Iterator[Anomaly]:
    if feature.type == 0:
        yield _fault("FEATURE_MISSING_TYPE", "no type is given; its domain makes it BYTES")


def _presence(feature: Any) -> Iterator[Anomaly]:
    fraction = feature.presence.min_fraction
    if not 0 <= fraction <= 1:
        yield _wrong(f"presence.min_fraction is {fraction:g}: expected 0 to 1")


def _valency(feature: Any) -> Iterator[Anomaly]:
    single = [feature.value_count] if feature.HasField("value_count") else []
    for count in (*single, *feature.value_counts.value_count):
        if count.min < 0:
            yield _wrong(f"value_count.min is {count.min}: expected 0 or more")
        if count.HasField("max") and count.max < count.min:
            yield _wrong(f"value_count.max is {count.max}, less than its min {count.min}")
    for dim in feature.shape.dim:
        if dim.size <= 0:
            yield _wrong(f"shape has a dimension of {dim.size}: expected 1 or more")


def domain_of(schema: SchemaView, feature: Any) -> str | None:
    """Which kind of domain it has; None for one that can't be meant."""
    domain: str | None = feature.WhichOneof("domain_info")
    named = domain == "domain"
    unknown = named and feature.domain not in schema.string_domains
    return None if unknown or not _fits(feature, domain) else domain


def _fits(feature: Any, domain: str | None) -> bool:
    return type_of(feature) in _TYPES_OF.get(domain or "", TYPE_NAMES)


def _domain(schema: SchemaView, feature: Any) -> Iterator[Anomaly]:
    domain = feature.WhichOneof("domain_info")
    if not _fits(feature, domain):
        words = f"a {domain} doesn't go with the type {TYPE_NAMES[type_of(feature)]}"
        yield _fault("DOMAIN_INVALID_FOR_TYPE", words)
        domain = None
    if domain == "domain" and feature.domain not in schema.string_domains:
        words = f"the schema has no string_domain named {feature.domain!r}"
        yield _fault("INVALID_DOMAIN_SPECIFICATION", words)
    if feature.HasField("distribution_constraints") and domain not in _OF_TEXTS:
        yield _wrong("distribution_constraints are of string domains only")


def _wrong(words: str) -> Anomaly:
    return _fault("INVALID_SCHEMA_SPECIFICATION", words)


def _fault(kind: str, words: str) -> Anomaly:
    return Anomaly(kind, "The schema is wrong", f"In the schema: {words}.")
