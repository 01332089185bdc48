"""The protocol's message classes, made from descriptors in a pool of their own: whatever else the
process imports may describe the same service, and any protobuf from 5 on will do."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

_PACKAGE = "inference"


@cache
def _pool() -> DescriptorPool:
    serialized = files(__package__).joinpath("inference.binpb").read_bytes()
    pool = DescriptorPool()
    # In their order, each behind those that it needs.
    for file in descriptor_pb2.FileDescriptorSet.FromString(serialized).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def message_class(name: str) -> Any:
    """Raises KeyError for a name that the protocol does not have."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))
