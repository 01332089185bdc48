"""The Open Inference Protocol's metadata, for both doors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving import __version__
from serving.loading.facts import VersionFacts
from serving.model_config.triton_rules import PLATFORM
from serving.protocols.views import Directory, find_model, find_version, ready_versions
from serving.signature import Tensor
from serving.wire import messages

# What really works; clients switch features on by these words.
EXTENSIONS = (
    "binary_tensor_data",
    "parameters",
    "statistics",
    "model_configuration",
    "schedule_policy",
)


def server_metadata(name: str, *, loads: bool = False, shared_memory: bool = False) -> Any:
    """A ``ServerMetadataResponse``; ``name`` is the operator's for this server, ``loads``:
    whether models can be loaded by call, ``shared_memory``: whether regions can be registered."""
    allowed = {"model_repository": loads, "system_shared_memory": shared_memory}
    extensions = [*EXTENSIONS, *(one for one, works in allowed.items() if works)]
    return messages.ServerMetadataResponse(name=name, version=__version__, extensions=extensions)


def model_metadata(directory: Directory, name: str, number: int | None) -> Any:
    """A ``ModelMetadataResponse`` of a READY version. Raises ServingError.

    ``versions`` are those that answer requests; the one that was named, if one was.
    """
    view = find_model(directory, name)
    version = find_version(view, number)
    listed = ready_versions(view) if number is None else (version,)
    message = messages.ModelMetadataResponse(
        name=name, versions=[str(v.number) for v in listed], platform=PLATFORM
    )
    facts = version.facts
    if facts.signature is not None:
        message.inputs.extend(_tensor(t) for t in facts.signature.inputs)
        message.outputs.extend(_tensor(t) for t in facts.signature.outputs)
    for key, value in _properties(facts):
        message.properties[key] = value
    return message


def model_names(directory: Directory) -> list[str]:
    return [view.name for view in directory.views()]


def _tensor(tensor: Tensor) -> Any:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype, shape=tensor.client_shape
    )


def _properties(facts: VersionFacts) -> Iterator[tuple[str, str]]:
    """What the protocol has no field for."""
    yield "provider", facts.provider
    yield "batching", facts.batching
    yield "max_batch_size", str(facts.max_rows)
    yield "instances", str(facts.instances)
    optional = [t.name for t in facts.signature.inputs if t.optional] if facts.signature else []
    if optional:
        yield "optional_inputs", ", ".join(optional)
    if facts.left_out:
        yield "left_out_outputs", "; ".join(facts.left_out)
    if facts.notes:
        yield "notes", "; ".join(facts.notes)
