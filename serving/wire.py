"""The message classes of ``protos/``, built from the descriptors in the core.

They live in a descriptor pool of their own: a process may also import another
package that describes the same service (tritonclient, kserve), and no generated
code ties us to one protobuf release.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE = "inference"


class Messages:
    """Message classes by name: ``messages.ModelMetadataResponse()``.

    Nested ones are attributes of their parent's class. Raises AttributeError for
    a name that the package does not have.
    """

    def __init__(self, descriptors: Callable[[], bytes]) -> None:
        self._descriptors = descriptors

    @cached_property
    def pool(self) -> DescriptorPool:
        return build_pool(self._descriptors())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            descriptor = self.pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        except KeyError:
            raise AttributeError(f"no message named {PACKAGE}.{name}") from None
        kind = message_factory.GetMessageClass(descriptor)
        setattr(self, name, kind)
        return kind

    def enum(self, name: str) -> dict[str, int]:
        """The values of an enum by name; ``ModelInstanceGroup.Kind`` finds a nested one."""
        found = self.pool.FindEnumTypeByName(f"{PACKAGE}.{name}")
        return {value.name: value.number for value in found.values}


def build_pool(serialized: bytes) -> DescriptorPool:
    """A pool of the files in a serialized ``FileDescriptorSet``, in whatever order they come."""
    files = descriptor_pb2.FileDescriptorSet.FromString(serialized).file
    waiting = {file.name: file for file in files}
    pool = DescriptorPool()

    def add(name: str) -> None:
        file = waiting.pop(name, None)
        if file is None:
            return
        for dependency in file.dependency:
            add(dependency)
        # Positions in the source serve nobody at run time.
        file.ClearField("source_code_info")
        pool.AddSerializedFile(file.SerializeToString())

    for file in files:
        add(file.name)
    return pool


def _from_core() -> bytes:
    from serving import _core

    return _core.descriptors()


messages: Any = Messages(_from_core)
