"""TFX's messages of data (``tensorflow.metadata.v0``): their classes, and what files hold them.

The source of the contract are the files of ``protos/tensorflow_metadata/``, whose descriptors lie
beside this module. The classes are made when the first of them is needed, in a pool of their own
(``docs/decisions/0002``), so that they bear with TFX's own package in the same process.

    messages.DatasetFeatureStatisticsList, messages.Schema, messages.Anomalies, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

from google.protobuf import json_format, unknown_fields
from google.protobuf.descriptor_pool import DescriptorPool

from serving.errors import ConfigError
from serving.wire import Messages, build_pool

DESCRIPTORS = "tensorflow_metadata.binpb"
# Of a file: as bytes, and as text, which takes a hundred times as long to read.
MOST_BINARY_BYTES = 64 * 1024 * 1024
MOST_TEXT_BYTES = 16 * 1024 * 1024
_MOST_NAMED = 8
# Messages that are looked at for fields of later releases: a tenth of a second.
_MOST_LOOKED_AT = 100_000


class Kind(StrEnum):
    """The messages that files hold."""

    STATISTICS = "DatasetFeatureStatisticsList"
    SCHEMA = "Schema"
    ANOMALIES = "Anomalies"


class Form(StrEnum):
    """How a message stands in a file; RECORD: as the only record of a TFRecord file."""

    BINARY = "binary"
    TEXT = "text"
    JSON = "json"
    RECORD = "record"


SUFFIXES = {
    ".pb": Form.BINARY,
    ".binpb": Form.BINARY,
    ".pbtxt": Form.TEXT,
    ".textproto": Form.TEXT,
    ".json": Form.JSON,
    ".tfrecord": Form.RECORD,
}


class FormatError(ConfigError):
    """What a file holds is not the message it should be. The text has no path."""


@cache
def _pool() -> DescriptorPool:
    ours = resources.files("serving.statistics").joinpath(DESCRIPTORS)
    return build_pool(ours.read_bytes())  # file: of the package


messages: Any = Messages("tensorflow.metadata.v0", _pool)


def form_of(name: str) -> Form:
    """By a file's name: its suffix, or ``stats_tfrecord`` as older releases of TFX write.
    Raises FormatError."""
    for suffix, form in SUFFIXES.items():
        if name.endswith(suffix):
            return form
    if name.endswith("tfrecord"):
        return Form.RECORD
    raise FormatError(f"its form is not known by its name: expected {', '.join(SUFFIXES)}")


def most_bytes(form: Form) -> int:
    """That a file of the form may have."""
    return MOST_TEXT_BYTES if form in (Form.TEXT, Form.JSON) else MOST_BINARY_BYTES


def to_json(message: Any, indent: int | None = 2) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=indent, descriptor_pool=messages.pool
    )


def unknown(message: Any) -> list[str]:
    """Fields in ``message``, and in those that it holds, that its descriptor does not have:
    ``Feature.99``, each once, the first few; of a very large one in its first messages only."""
    found: dict[str, None] = {}
    for part in islice(_parts(message), _MOST_LOOKED_AT):
        later = unknown_fields.UnknownFieldSet(part)
        for at in range(len(later)):
            found[f"{part.DESCRIPTOR.name}.{later[at].field_number}"] = None
            if len(found) >= _MOST_NAMED:
                return list(found)
    return list(found)


def _parts(message: Any) -> Iterator[Any]:
    """The message, and those that it holds, however deep."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for one in value.values():
                    yield from _parts(one)
        elif isinstance(value, list) or hasattr(value, "append"):
            for one in value:
                yield from _parts(one)
        else:
            yield from _parts(value)
