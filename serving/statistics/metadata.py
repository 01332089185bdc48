"""TFX's messages of data (``tensorflow.metadata.v0``): their classes, and their bytes.

The source of the contract are the files of ``protos/tensorflow_metadata/``, whose descriptors lie
beside this module. The classes are made when the first of them is needed, in a pool of their own
(``docs/decisions/0002``), so that they bear with TFX's own package in the same process.

    messages.DatasetFeatureStatisticsList, messages.Schema, messages.Anomalies, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

from google.protobuf import json_format, text_format, unknown_fields
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from serving.errors import ConfigError
from serving.model_config.words import suggestion
from serving.statistics import records
from serving.wire import Messages, build_pool

DESCRIPTORS = "tensorflow_metadata.binpb"
# Of a file: as bytes, and as text, which takes a hundred times as long to read.
MOST_BINARY_BYTES = 64 * 1024 * 1024
MOST_TEXT_BYTES = 16 * 1024 * 1024
_MOST_NAMED = 8
# Messages that are looked at for fields of later releases: a tenth of a second.
_MOST_LOOKED_AT = 100_000
_MOST_WORDS = 300

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named "?(\w+)"?')
_POSITION = re.compile(r"^\d+:\d+ : ")


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


def parse(data: bytes, kind: Kind, form: Form) -> Any:
    """The message of ``kind`` that ``data`` is. Fields of later releases than ours are kept where
    the form is binary (``unknown`` names them), and refused by name where it is text.

    Raises FormatError.
    """
    if len(data) > most_bytes(form):
        raise FormatError(f"it has more than {most_bytes(form):,} bytes")
    match form:
        case Form.BINARY:
            message = _from_binary(data, kind)
        case Form.RECORD:
            message = _from_binary(_only_record(data), kind)
        case Form.TEXT:
            message = _from_text(_utf8(data), kind)
        case Form.JSON:
            message = _from_json(_utf8(data), kind)
    if kind is Kind.STATISTICS and not message.datasets:
        raise FormatError("it holds no data set's statistics")
    return message


def dump(message: Any, form: Form) -> bytes:
    """The bytes of a file; the same each time for the same message. JSON is protobuf's own, with
    the fields' names as in the .proto files, and integers of 64 bits as text."""
    match form:
        case Form.BINARY:
            return bytes(message.SerializeToString(deterministic=True))
        case Form.RECORD:
            return records.write([dump(message, Form.BINARY)])
        case Form.TEXT:
            return text_format.MessageToString(message).encode()
        case Form.JSON:
            return (to_json(message) + "\n").encode()


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


def _only_record(data: bytes) -> bytes:
    try:
        found = records.read(data)
    except ValueError as error:
        raise FormatError(f"it is not a TFRecord file that can be read: {error}") from None
    if len(found) != 1:
        raise FormatError(f"one record was expected, and it has {len(found)}")
    return found[0]


def _from_binary(data: bytes, kind: Kind) -> Any:
    try:
        message = getattr(messages, kind).FromString(data)
    except DecodeError:
        raise FormatError(f"it is not TFX's {kind}, or not all of it") from None
    if data and not message.ListFields():
        raise FormatError(f"it is not TFX's {kind}")
    if unknown(message) and (other := _fits_better(data, kind)):
        raise FormatError(f"TFX's {kind} was expected, and it is {other}")
    return message


def _fits_better(data: bytes, kind: Kind) -> Kind | None:
    """The other kind, where the bytes are one without fields that nobody knows."""
    for other in Kind:
        if other is not kind:
            try:
                message = getattr(messages, other).FromString(data)
            except DecodeError:
                continue
            if not unknown(message):
                return other
    return None


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError("it is not UTF-8") from None


def _from_text(text: str, kind: Kind) -> Any:
    message = getattr(messages, kind)()
    try:
        text_format.Parse(text, message, descriptor_pool=messages.pool)
    except text_format.ParseError as error:
        raise FormatError(_explain(error)) from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    return message


def _explain(error: text_format.ParseError) -> str:
    words = _POSITION.sub("", str(error)).strip()
    if found := _UNKNOWN_FIELD.search(words):
        kind, field = found.groups()
        known = messages.pool.FindMessageTypeByName(kind).fields_by_name
        words = f"{kind.rsplit('.', 1)[1]} has no field {field!r}{suggestion(field, known)}"
    elif found := _UNKNOWN_VALUE.search(words):
        kind, value = found.groups()
        known = messages.pool.FindEnumTypeByName(kind).values_by_name
        words = f"{kind.rsplit('.', 1)[1]} has no value {value!r}{suggestion(value, known)}"
    line = error.GetLine()
    words = words[:_MOST_WORDS]
    return f"line {line}: {words}" if line else words


def _from_json(text: str, kind: Kind) -> Any:
    message = getattr(messages, kind)()
    try:
        json_format.Parse(text, message, descriptor_pool=messages.pool)
    except json_format.ParseError as error:
        words = str(error).replace("tensorflow.metadata.v0.", "").splitlines()[0]
        raise FormatError(f"it is not TFX's {kind} in JSON: {words[:_MOST_WORDS]}") from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    return message
