"""TFX's messages as the bytes of files, in each form.

What is binary is looked at by the core first: two bytes of it may be a hundred in memory.
"""

from __future__ import annotations

import io
import re
import struct
from functools import cache
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import DecodeError

from serving import _core, text_form
from serving.model_config.words import suggestion
from serving.statistics.metadata import (
    Form,
    FormatError,
    Kind,
    messages,
    most_bytes,
    to_json,
    unknown,
)

# Messages and texts in a file: about a hundred megabytes of memory.
MOST_PARTS = 1_000_000
# In text, where each takes microseconds of the interpreter and a kilobyte to read; by the brackets
# that begin them. A file of 16 MiB that is written for people has some 200,000.
MOST_TEXT_PARTS = 400_000
# Of text, which protobuf reads line by line: it takes up to a hundred and fifty times as much.
MOST_LINE = 1024 * 1024
_MOST_WORDS = 300

_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named "?(\w+)"?')


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
            return _record(dump(message, Form.BINARY))
        case Form.TEXT:
            return text_format.MessageToString(message).encode()
        case Form.JSON:
            return (to_json(message) + "\n").encode()


def _only_record(data: bytes) -> bytes:
    try:
        found = _core.tfrecords(data, 1)
    except ValueError as error:
        raise FormatError(f"it is not a TFRecord file of one record: {error}") from None
    if not found:
        raise FormatError("it has no record")
    return found[0]


def _record(data: bytes) -> bytes:
    """A TFRecord file of one record: between its length and checksums."""
    length = struct.pack("<Q", len(data))
    checks = (struct.pack("<I", _core.masked_crc32c(one)) for one in (length, data))
    return b"".join(part for one in (length, data) for part in (one, next(checks)))


def _from_binary(data: bytes, kind: Kind) -> Any:
    if not _is_bounded(data, kind):
        raise FormatError(f"it holds more than {MOST_PARTS:,} messages and texts")
    try:
        message = getattr(messages, kind).FromString(data)
    except DecodeError:
        raise FormatError(f"it is not TFX's {kind}, or not all of it") from None
    if data and not message.ListFields():
        raise FormatError(f"it is not TFX's {kind}")
    if unknown(message) and (other := _fits_better(data, kind)):
        raise FormatError(f"TFX's {kind} was expected, and it is {other}")
    return message


def _is_bounded(data: bytes, kind: Kind) -> bool:
    """Whether reading it takes memory in proportion to its size."""
    return _core.count_messages(data, _layout(kind), MOST_PARTS) <= MOST_PARTS


@cache
def _layout(kind: Kind) -> list[dict[int, int]]:
    """For ``_core.count_messages``."""
    kinds = [getattr(messages, kind).DESCRIPTOR]
    found = []
    for one in kinds:
        below = {field.number: field.message_type for field in one.fields if field.message_type}
        kinds += [kind for kind in dict.fromkeys(below.values()) if kind not in kinds]
        found.append({number: kinds.index(kind) for number, kind in below.items()})
    return found


def _fits_better(data: bytes, kind: Kind) -> Kind | None:
    """The other kind, where the bytes are one without fields that nobody knows."""
    for other in Kind:
        if other is not kind and _is_bounded(data, other):
            try:
                message = getattr(messages, other).FromString(data)
            except DecodeError:
                continue
            if not unknown(message):
                return other
    return None


def _check_parts(text: str, brackets: str) -> None:
    if sum(map(text.count, brackets)) > MOST_TEXT_PARTS:
        raise FormatError(f"it holds more than {MOST_TEXT_PARTS:,} messages and lists")


def _check_lines(text: str) -> None:
    if max(map(len, io.StringIO(text)), default=0) > MOST_LINE:
        raise FormatError(f"a line has more than {MOST_LINE:,} characters")
    if (text.count('"') + text.count("'")) // 2 > MOST_PARTS:
        raise FormatError(f"it holds more than {MOST_PARTS:,} texts")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError("it is not UTF-8") from None


def _from_text(text: str, kind: Kind) -> Any:
    _check_parts(text, "{<[")
    _check_lines(text)
    message = getattr(messages, kind)()
    # Gateways read schemas while they serve; statistics are read as they come from TFX.
    try:
        if kind is Kind.SCHEMA:
            text_form.parse(text, message, messages.pool, most_line=MOST_LINE)
        else:
            text_form.parse_unbounded(text, message, messages.pool)
    except text_form.TextFormError as error:
        raise FormatError(_explain(error)) from None
    return message


def _explain(error: text_form.TextFormError) -> str:
    words = error.words
    if found := _UNKNOWN_FIELD.search(words):
        kind, field = found.groups()
        known = messages.pool.FindMessageTypeByName(kind).fields_by_name
        words = f"{kind.rsplit('.', 1)[1]} has no field {field!r}{suggestion(field, known)}"
    elif found := _UNKNOWN_VALUE.search(words):
        kind, value = found.groups()
        known = messages.pool.FindEnumTypeByName(kind).values_by_name
        words = f"{kind.rsplit('.', 1)[1]} has no value {value!r}{suggestion(value, known)}"
    return f"line {error.line}: {words}" if error.line else words


def _from_json(text: str, kind: Kind) -> Any:
    _check_parts(text, "{[")
    message = getattr(messages, kind)()
    try:
        json_format.Parse(text, message, descriptor_pool=messages.pool)
    except json_format.ParseError as error:
        words = str(error).replace("tensorflow.metadata.v0.", "").splitlines()[0]
        raise FormatError(f"it is not TFX's {kind} in JSON: {words[:_MOST_WORDS]}") from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    return message
