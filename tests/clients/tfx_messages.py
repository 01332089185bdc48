"""TFX's own message classes, in an environment of their own.

``tfx_messages.py FOLDER``: describes them in ``FOLDER/descriptors.binpb``, and of each file in it
named ``MESSAGE.SOMETHING.binpb`` or ``.pbtxt`` writes ``again/`` what it reads there. Makes
messages of its own in ``made/``. It imports nothing of ours.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import FieldDescriptor as Field
from tensorflow_metadata.proto.v0 import (
    anomalies_pb2,
    derived_feature_pb2,
    path_pb2,
    schema_pb2,
    statistics_pb2,
)

FILES = (path_pb2, derived_feature_pb2, schema_pb2, statistics_pb2, anomalies_pb2)
KINDS = {
    "Schema": schema_pb2.Schema,
    "DatasetFeatureStatisticsList": statistics_pb2.DatasetFeatureStatisticsList,
    "Anomalies": anomalies_pb2.Anomalies,
}
_DEEPEST = 5


def describe(folder: Path) -> None:
    found = descriptor_pb2.FileDescriptorSet()
    for file in FILES:
        file.DESCRIPTOR.CopyToProto(found.file.add())
    (folder / "descriptors.binpb").write_bytes(found.SerializeToString())


def read_again(folder: Path) -> None:
    (folder / "again").mkdir()
    for path in sorted(folder.glob("*.*.*")):
        message = KINDS[path.name.partition(".")[0]]()
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(), message)
            content = text_format.MessageToString(message).encode()
        else:
            message.ParseFromString(path.read_bytes())
            content = message.SerializeToString(deterministic=True)
        (folder / "again" / path.name).write_bytes(content)


def value_of(field: Any, draws: random.Random) -> Any:
    kind = field.type
    if kind == Field.TYPE_BOOL:
        return True
    if kind == Field.TYPE_STRING:
        return draws.choice(["a", "\u00e9", "x" * 100])
    if kind == Field.TYPE_BYTES:
        return b"\xff\x00"
    if kind in (Field.TYPE_DOUBLE, Field.TYPE_FLOAT):
        return draws.choice([0.5, -1e30, float("inf")])
    if kind == Field.TYPE_ENUM:
        return draws.choice([value.number for value in field.enum_type.values])
    return draws.randrange(1, 1000)


def fill(message: Any, draws: random.Random, depth: int = 0) -> None:
    """Every field with something, of each choice the one that comes last."""
    for field in message.DESCRIPTOR.fields:
        nested = field.message_type
        if nested is None:
            value = value_of(field, draws)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth >= _DEEPEST or nested.full_name == "google.protobuf.Any":
            continue
        elif nested.GetOptions().map_entry:
            fill(getattr(message, field.name)["key"], draws, depth + 1)
        elif field.is_repeated:
            fill(getattr(message, field.name).add(), draws, depth + 1)
        else:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), draws, depth + 1)


def make(folder: Path) -> None:
    (folder / "made").mkdir()
    for name, kind in KINDS.items():
        for seed in range(3):
            message = kind()
            fill(message, random.Random(seed))
            path = folder / "made" / f"{name}.{seed}"
            binary = message.SerializeToString(deterministic=True)
            path.with_name(f"{path.name}.binpb").write_bytes(binary)
            path.with_name(f"{path.name}.pbtxt").write_text(text_format.MessageToString(message))


def main(folder: Path) -> None:
    describe(folder)
    read_again(folder)
    make(folder)


main(Path(sys.argv[1]))
