"""The message classes of ``protos/``, built from the descriptors in the core.

They live in a descriptor pool of their own: a process may also import another
package that describes the same service (tritonclient, kserve), and no generated
code ties us to one protobuf release.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool


class Messages:
    """Message classes of one package by name: ``messages.ModelMetadataResponse()``.

    Nested ones are attributes of their parent's class. Raises AttributeError for
    a name that the package does not have.
    """

    def __init__(self, package: str, find_pool: Callable[[], DescriptorPool]) -> None:
        self._package = package
        self._find_pool = find_pool

    @property
    def pool(self) -> DescriptorPool:
        return self._find_pool()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            descriptor = self.pool.FindMessageTypeByName(f"{self._package}.{name}")
        except KeyError:
            raise AttributeError(f"no message named {self._package}.{name}") from None
        kind = message_factory.GetMessageClass(descriptor)
        setattr(self, name, kind)
        return kind

    def enum(self, name: str) -> dict[str, int]:
        """The values of an enum by name; ``ModelInstanceGroup.Kind`` finds a nested one."""
        found = self.pool.FindEnumTypeByName(f"{self._package}.{name}")
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


@cache
def _pool() -> DescriptorPool:
    """One for all packages, whose messages hold each other's."""
    from serving import _core

    return build_pool(_core.descriptors())


# The Open Inference Protocol's, TensorFlow Serving's and TensorFlow's.
messages: Any = Messages("inference", _pool)
tfs_messages: Any = Messages("tensorflow.serving", _pool)
tf_messages: Any = Messages("tensorflow", _pool)
