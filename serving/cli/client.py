"""A small client for ``serving infer`` and ``serving replay``: HTTP by the standard library,
gRPC where grpcio is installed."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from serving.cli.exchange import Kept, Reply
from serving.cli.output import UserError, clean
from serving.cli.unreached import grpc_failed, no_gateway

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MAX_MESSAGE_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: BF16 as uint16 bits, BYTES as an object array of bytes."""

    datatype: str
    array: Array


@dataclass(frozen=True, slots=True)
class Answer:
    model: str
    version: str
    outputs: dict[str, Value]


class Client(Protocol):
    def greet(self) -> None:
        """Raises UserError where no gateway answers."""

    def named(self, model: str, version: str) -> str:
        """``version``, a number or an alias, as the other calls take it. Raises UserError."""

    def inputs(self, model: str, version: str) -> list[dict[str, Any]]:
        """The model's inputs: name, datatype, shape."""

    def infer(
        self,
        model: str,
        version: str,
        inputs: Mapping[str, Value],
        outputs: Sequence[str] = (),
    ) -> Answer:
        """``outputs``: their names; all where none is named. Raises UserError for a refusal."""

    def close(self) -> None: ...


class HttpClient:
    """Tensors travel in binary form. ``headers`` go with every request for inference."""

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = headers or {}
        self._kept = Kept(timeout)

    def greet(self) -> None:
        self._json(self._kept.request("GET", f"{self._url}/v2"))

    def named(self, model: str, version: str) -> str:
        """By TensorFlow Serving's protocol: the paths of this one have no place for an alias."""
        if not version or version.isdecimal():
            return version
        path = f"/v1/models/{quote(model, safe='')}/labels/{quote(version, safe='')}"
        found = self._json(self._kept.request("GET", self._url + path))
        return str(found["model_version_status"][0]["version"])

    def inputs(self, model: str, version: str) -> list[dict[str, Any]]:
        reply = self._kept.request("GET", self._model_url(model, version))
        found: list[dict[str, Any]] = self._json(reply)["inputs"]
        return found

    def infer(
        self,
        model: str,
        version: str,
        inputs: Mapping[str, Value],
        outputs: Sequence[str] = (),
    ) -> Answer:
        chunks = {name: encode(value) for name, value in inputs.items()}
        head = json.dumps(
            {
                "parameters": {"binary_data_output": True},
                "inputs": [
                    {
                        "name": name,
                        "datatype": value.datatype,
                        "shape": list(value.array.shape),
                        "parameters": {"binary_data_size": len(chunks[name])},
                    }
                    for name, value in inputs.items()
                ],
                "outputs": [{"name": name} for name in outputs],
            }
        ).encode()
        reply = self._kept.request(
            "POST",
            f"{self._model_url(model, version)}/infer",
            head + b"".join(chunks.values()),
            {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(head)),
                **self._headers,
            },
        )
        _, headers, body = reply
        length = int(headers.get("Inference-Header-Content-Length") or len(body))
        answer = self._json(reply, length)
        return Answer(
            model=answer["model_name"],
            version=answer.get("model_version", ""),
            outputs=_binary_outputs(answer["outputs"], memoryview(body)[length:]),
        )

    def close(self) -> None:
        self._kept.close()

    def _model_url(self, model: str, version: str) -> str:
        named = f"/versions/{quote(version, safe='')}" if version else ""
        return f"{self._url}/v2/models/{quote(model, safe='')}{named}"

    def _json(self, reply: Reply, length: int | None = None) -> dict[str, Any]:
        status, headers, body = reply
        try:
            answer = json.loads(body[:length])
        except (ValueError, RecursionError):
            kind = headers.get_content_type()
            raise no_gateway(self._url, f"status {status}, {kind}") from None
        if status != 200 or not isinstance(answer, dict):
            words = answer.get("error") if isinstance(answer, dict) else None
            raise UserError(f"status {status}: {clean(str(words or 'no reason given'))}")
        return answer


def _binary_outputs(listed: list[dict[str, Any]], rest: memoryview) -> dict[str, Value]:
    outputs = {}
    for output in listed:
        datatype, shape = output["datatype"], tuple(output["shape"])
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[output["name"]] = value_of(output["data"], datatype, shape)
            continue
        outputs[output["name"]] = decode(bytes(rest[:size]), datatype, shape)
        rest = rest[size:]
    return outputs


class GrpcClient:
    """Raises UserError when grpcio is missing. ``headers`` are metadata here."""

    def __init__(
        self, target: str, timeout: float, headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            import grpc
        except ImportError:
            raise UserError("gRPC needs grpcio: install 'serving[client]'") from None
        self._grpc = grpc
        self._timeout, self._target = timeout, target.removeprefix("grpc://")
        self._metadata = tuple((headers or {}).items())
        self._channel = grpc.insecure_channel(
            self._target,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.enable_http_proxy", 0),
            ],
        )

    def greet(self) -> None:
        from serving.wire import messages

        self._call("ServerLive", messages.ServerLiveRequest(), messages.ServerLiveResponse)

    def named(self, model: str, version: str) -> str:
        del model
        return version

    def inputs(self, model: str, version: str) -> list[dict[str, Any]]:
        from serving.wire import messages

        answer = self._call(
            "ModelMetadata",
            messages.ModelMetadataRequest(name=model, version=version),
            messages.ModelMetadataResponse,
        )
        return [
            {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in answer.inputs
        ]

    def infer(
        self,
        model: str,
        version: str,
        inputs: Mapping[str, Value],
        outputs: Sequence[str] = (),
    ) -> Answer:
        from serving.wire import messages

        asked = messages.ModelInferRequest(model_name=model, model_version=version)
        for name, value in inputs.items():
            asked.inputs.add(name=name, datatype=value.datatype, shape=list(value.array.shape))
            asked.raw_input_contents.append(encode(value))
        for name in outputs:
            asked.outputs.add(name=name)
        answer = self._call("ModelInfer", asked, messages.ModelInferResponse)
        contents = zip(answer.outputs, answer.raw_output_contents, strict=True)
        return Answer(
            model=answer.model_name,
            version=answer.model_version,
            outputs={t.name: decode(raw, t.datatype, tuple(t.shape)) for t, raw in contents},
        )

    def close(self) -> None:
        self._channel.close()

    def _call(self, rpc: str, message: Any, answer: Any) -> Any:
        method = self._channel.unary_unary(
            f"/inference.GRPCInferenceService/{rpc}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return method(message, timeout=self._timeout, metadata=self._metadata)
        except self._grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            raise grpc_failed(self._target, code, details, self._timeout) from None


def value_of(data: object, datatype: str, shape: tuple[int, ...] | None = None) -> Value:
    """Nested lists or an array as a tensor. Raises UserError where they don't fit."""
    import numpy as np

    from serving.signature import DATATYPES

    if datatype not in DATATYPES:
        raise UserError(f"datatype '{datatype}' is not known")
    try:
        if datatype == "BF16":
            array = _bf16(np.asarray(data))
        elif datatype == "BYTES":
            array = _bytes(np.asarray(data, dtype=object))
        else:
            array = _exact(np.asarray(data), np.dtype(DATATYPES[datatype][0]))
        return Value(datatype, array if shape is None else array.reshape(shape))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"input does not fit {datatype}: {error}") from None


def _exact(array: Array, dtype: np.dtype[Any]) -> Array:
    """Integers never wrap and are never made of fractions."""
    import numpy as np

    if array.dtype == dtype or array.size == 0:
        return array.astype(dtype)
    if array.dtype.kind not in "biuf" or (dtype.kind in "iub" and array.dtype.kind == "f"):
        raise ValueError(f"got {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(cast, array):
        raise ValueError("a number is out of range")
    return cast


def _bf16(array: Array) -> Array:
    """Bits as they are (uint16), or floats rounded to the nearest, ties to even."""
    import numpy as np

    if array.dtype == np.uint16:
        return array
    floats = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    bits = floats.view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    # Rounding must not turn a NaN into an infinity.
    return np.where(np.isnan(floats), np.uint16(0x7FC0), rounded)


def _bytes(array: Array) -> Array:
    import numpy as np

    out = np.empty(array.size, dtype=object)
    for i, item in enumerate(array.reshape(-1)):
        if not isinstance(item, (str, bytes)):
            raise ValueError(f"expected text, got {type(item).__name__}")
        out[i] = item.encode() if isinstance(item, str) else bytes(item)
    return out.reshape(array.shape)


def encode(value: Value) -> bytes:
    """Row-major, little-endian; BYTES with their lengths."""
    if value.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(b)) + b for b in value.array.reshape(-1))
    return value.array.astype(value.array.dtype.newbyteorder("<"), copy=False).tobytes()


def decode(raw: bytes, datatype: str, shape: tuple[int, ...]) -> Value:
    """The reverse of ``encode``."""
    import numpy as np

    from serving.signature import DATATYPES

    if datatype != "BYTES":
        dtype = np.dtype(DATATYPES[datatype][0]).newbyteorder("<")
        return Value(datatype, np.frombuffer(raw, dtype).reshape(shape))
    array = np.empty(math.prod(shape), dtype=object)
    at = 0
    for i in range(array.size):
        (length,) = struct.unpack_from("<I", raw, at)
        array[i] = raw[at + 4 : at + 4 + length]
        at += 4 + length
    return Value(datatype, array.reshape(shape))


def plain(value: Value) -> Array:
    """For people: BF16 as floats, BYTES as text where they are."""
    import numpy as np

    if value.datatype == "BF16":
        return (value.array.astype(np.uint32) << 16).view(np.float32)
    if value.datatype != "BYTES":
        return value.array
    texts = [b.decode("utf-8", "backslashreplace") for b in value.array.reshape(-1)]
    return np.array(texts, dtype=object).reshape(value.array.shape)
