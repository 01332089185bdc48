"""A model with more outputs: tensors inside the graph, to be looked at in a run.

A serialized message followed by another of its kind is both of them, merged: so outputs are
added by bytes behind the file's, and nothing in it is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.execution.protobuf_write import field_of

# Field numbers: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """``model``, a serialized ModelProto, with these tensors of its main graph as outputs."""
    outputs = b"".join(field_of(_OUTPUT, field_of(_NAME, name.encode())) for name in names)
    return model + field_of(_GRAPH, outputs)
