"""Calls as messages of gRPC. Pure.

Tensors are put behind the other fields of a message and taken out of it by hand: they are most of
its bytes, and protobuf would copy each of them three times. The rest is protobuf's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from serving_client.errors import DamagedAnswerError
from serving_client.exchange import Exchange, InferRequest, Parameter
from serving_client.messages import message_class
from serving_client.results import (
    InferResult,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ServerMetadata,
    read_model_metadata,
    read_model_state,
    read_server_metadata,
    read_statistics,
)
from serving_client.tensors import SMALL_BYTES, Buffer, decode_output

T = TypeVar("T")

SERVICE = "/inference.GRPCInferenceService"
_INFER = f"{SERVICE}/ModelInfer"
# Of ModelInferRequest.raw_input_contents and ModelInferResponse.raw_output_contents.
_RAW_INPUT = bytes([7 << 3 | 2])
_RAW_OUTPUT = 6 << 3 | 2
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}


class GrpcCodec:
    """``serving_client.exchange.Codec``, with protobuf's messages."""

    def infer(self, request: InferRequest) -> Exchange[InferResult]:
        model, inputs, options = request
        specs = tuple([tensor[:3] for tensor in inputs])
        parameters = options.parameters
        head = (
            _new_head(model, options.version, specs, options.outputs, options.id, parameters)
            if parameters or options.id
            else _known_head(model, options.version, specs, options.outputs)
        )
        parts: list[Buffer] = [head]
        for tensor in inputs:
            parts += (_RAW_INPUT, varint(len(tensor.data)), tensor.data)
        return Exchange(_INFER, b"".join(parts), _read_result, headers=options.headers)

    def server_live(self) -> Exchange[bool]:
        return _call("ServerLive", lambda said: bool(said.live))

    def server_ready(self) -> Exchange[bool]:
        return _call("ServerReady", lambda said: bool(said.ready))

    def model_ready(self, model: str, version: str) -> Exchange[bool]:
        return _call("ModelReady", lambda said: bool(said.ready), name=model, version=version)

    def server_metadata(self) -> Exchange[ServerMetadata]:
        return _call("ServerMetadata", lambda said: read_server_metadata(_plain(said)))

    def model_metadata(self, model: str, version: str) -> Exchange[ModelMetadata]:
        return _call(
            "ModelMetadata",
            lambda said: read_model_metadata({"name": "", **_plain(said)}),
            name=model,
            version=version,
        )

    def statistics(self, model: str, version: str) -> Exchange[list[ModelStatistics]]:
        return _call(
            "ModelStatistics",
            lambda said: [read_statistics(one) for one in _plain(said).get("model_stats", ())],
            name=model,
            version=version,
        )

    def models(self) -> Exchange[list[ModelState]]:
        return _call(
            "RepositoryIndex",
            lambda said: [read_model_state(one) for one in _plain(said).get("models", ())],
        )


def _call(name: str, read: Callable[[Any], T], /, **fields: str) -> Exchange[T]:
    answer = message_class(f"{name}Response")

    def read_bytes(body: bytes, _: Mapping[str, str]) -> T:
        return read(_parse(answer, body))

    body = message_class(f"{name}Request")(**fields).SerializeToString()
    return Exchange(f"{SERVICE}/{name}", body, read_bytes)


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise DamagedAnswerError(f"the answer is no {kind.DESCRIPTOR.name}: {error}") from None


def _plain(message: Any) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def _new_head(
    model: str,
    version: str,
    specs: Sequence[tuple[str, str, tuple[int, ...]]],
    outputs: Sequence[str],
    request_id: str,
    parameters: Mapping[str, Parameter],
) -> bytes:
    """A request's message without its data; ``specs``: name, datatype and shape of each input."""
    message = message_class("ModelInferRequest")(
        model_name=model, model_version=version, id=request_id
    )
    for name, datatype, shape in specs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
    for name in outputs:
        message.outputs.add(name=name)
    for key, value in parameters.items():
        _set_parameter(message.parameters[key], value)
    return bytes(message.SerializeToString())


@lru_cache(maxsize=256)
def _known_head(
    model: str,
    version: str,
    specs: tuple[tuple[str, str, tuple[int, ...]], ...],
    outputs: tuple[str, ...],
) -> bytes:
    """Most requests of a program differ in their data only."""
    return _new_head(model, version, specs, outputs, "", {})


def _set_parameter(target: Any, value: Parameter) -> None:
    if isinstance(value, bool):
        target.bool_param = value
    elif isinstance(value, int):
        kind = "int64_param" if value < 1 << 63 else "uint64_param"
        setattr(target, kind, value)
    elif isinstance(value, float):
        target.double_param = value
    else:
        target.string_param = value


def _read_result(body: bytes, _: Mapping[str, str]) -> InferResult:
    said, tensors = _open(body)
    if len(tensors) != len(said.outputs):
        raise DamagedAnswerError(f"{len(said.outputs)} outputs with the data of {len(tensors)}")
    outputs, datatypes = {}, {}
    for output, data in zip(said.outputs, tensors, strict=True):
        name = output.name
        datatypes[name] = datatype = output.datatype
        try:
            outputs[name] = decode_output(data, datatype, tuple(output.shape))
        except ValueError as error:
            raise DamagedAnswerError(f"output '{name}': {error}") from None
    parameters = {}
    if said.parameters:
        parameters = {key: _parameter(value) for key, value in said.parameters.items()}
    return InferResult(said.model_name, said.model_version, said.id, parameters, outputs, datatypes)


def _open(body: bytes) -> tuple[Any, Sequence[Buffer]]:
    """The message, and the data of its outputs."""
    kind = message_class("ModelInferResponse")
    if len(body) <= SMALL_BYTES:
        said = _parse(kind, body)
        return said, said.raw_output_contents
    head, tensors = split_answer(body)
    return _parse(kind, head), tensors


def _parameter(value: Any) -> Any:
    kind = value.WhichOneof("parameter_choice")
    return None if kind is None else getattr(value, kind)


@lru_cache(maxsize=256)
def varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it. Raises IndexError at the end of the data,
    ValueError for more than 64 bits."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def split_answer(body: bytes) -> tuple[bytes, list[memoryview]]:
    """A ModelInferResponse without its raw contents, and those, where they lie. Raises
    DamagedAnswerError."""
    view = memoryview(body)
    rest, raw = [], []
    at = 0
    try:
        while at < len(body):
            begin = at
            tag, at = read_varint(body, at)
            start, at = _value_of(body, at, tag & 7)
            if at > len(body):
                raise IndexError
            if tag == _RAW_OUTPUT:
                raw.append(view[start:at])
            else:
                rest.append(view[begin:at])
    except (IndexError, ValueError):
        raise DamagedAnswerError("the answer is no ModelInferResponse") from None
    return b"".join(rest), raw


def _value_of(body: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a field's value begins and ends."""
    if kind == _LENGTH_DELIMITED:
        length, at = read_varint(body, at)
        return at, at + length
    if kind in _FIXED:
        return at, at + _FIXED[kind]
    if kind:
        raise ValueError("a group")
    return at, read_varint(body, at)[1]
