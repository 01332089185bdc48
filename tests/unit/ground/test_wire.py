"""Message classes come from the core's descriptors, in a pool of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from serving import _core
from serving.wire import build_pool, messages

ROOT = Path(__file__).parents[3]


def test_messages_are_found_by_name_and_nested_ones_through_their_parent() -> None:
    response = messages.ModelMetadataResponse(name="m", versions=["1"])
    tensor = messages.ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[-1, 4])
    response.inputs.append(tensor)
    response.properties["provider"] = "CPUExecutionProvider"

    again = messages.ModelMetadataResponse.FromString(response.SerializeToString())

    assert again == response
    assert list(again.inputs[0].shape) == [-1, 4]


def test_a_name_that_is_no_message_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchMessage"):
        _ = messages.NoSuchMessage


def test_enums_are_read_by_name_nested_ones_too() -> None:
    assert messages.enum("DataType")["TYPE_BF16"] == 14
    assert messages.enum("ModelInstanceGroup.Kind")["KIND_CPU"] == 2


def test_files_may_come_in_any_order() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(_core.descriptors())
    reverse = descriptor_pb2.FileDescriptorSet(file=reversed(files.file))

    pool = build_pool(reverse.SerializeToString())

    assert pool.FindMessageTypeByName("inference.ModelConfigResponse").full_name


def test_the_descriptors_are_those_of_the_protos(tmp_path: Path) -> None:
    """``make protos`` compiles them. TFX's are no part of the core (``test_metadata.py`` has
    them)."""
    fresh = tmp_path / "fresh.binpb"
    options = ("-I", "protos", "--include_imports", f"--descriptor_set_out={fresh}")
    protos = ROOT / "protos"
    found = [str(file.relative_to(protos)) for file in protos.rglob("*.proto")]
    files = [file for file in found if not file.startswith("tensorflow_metadata/")]
    command = (sys.executable, "-m", "grpc_tools.protoc", *options, *files)
    subprocess.run(command, cwd=ROOT, timeout=60, check=True)

    def read(serialized: bytes) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        return {
            file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(serialized).file
        }

    assert read(_core.descriptors()) == read(fresh.read_bytes())


def test_nothing_is_added_to_the_default_pool() -> None:
    """In a process of its own: other tests load tritonclient, which adds the same names."""
    code = (
        "from google.protobuf import descriptor_pool\n"
        "from serving.wire import messages\n"
        "messages.ModelInferRequest()\n"
        "try:\n"
        "    descriptor_pool.Default().FindMessageTypeByName('inference.MemoryUsage')\n"
        "except KeyError:\n"
        "    print('private')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "private\n"


def test_every_rpc_of_the_protocol_is_in_the_service() -> None:
    service = messages.pool.FindServiceByName("inference.GRPCInferenceService")

    names = {method.name for method in service.methods}

    assert len(names) == 20
    for name in ("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        method = service.methods_by_name[name]
        assert method.input_type.name == f"{name}Request"
        assert method.output_type.name == f"{name}Response"


def test_our_messages_and_tritonclients_agree_in_one_process() -> None:
    """The same bytes mean the same to both, whichever of the two was imported first."""
    program = """
import sys
order = sys.argv[1]
if order == "theirs":
    from tritonclient.grpc import service_pb2, model_config_pb2
from serving.wire import messages
messages.ModelConfig()
if order == "ours":
    from tritonclient.grpc import service_pb2, model_config_pb2

def fields(ours, theirs, path, seen):
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for name, field in theirs.fields_by_name.items():
        mine = ours.fields_by_name.get(name)
        assert mine is not None, (path, name)
        assert (mine.number, mine.type) == (field.number, field.type), (path, name)
        if field.message_type is not None:
            fields(mine.message_type, field.message_type, path + (name,), seen)
        if field.enum_type is not None:
            numbers = {v.name: v.number for v in field.enum_type.values}
            assert numbers == {v.name: v.number for v in mine.enum_type.values}, (path, name)

for name, theirs in service_pb2.DESCRIPTOR.message_types_by_name.items():
    fields(getattr(messages, name).DESCRIPTOR, theirs, (name,), set())
fields(messages.ModelConfig.DESCRIPTOR, model_config_pb2.ModelConfig.DESCRIPTOR, (), set())
print("same")
"""
    for order in ("ours", "theirs"):
        found = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, order],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == "same\n", found.stderr
