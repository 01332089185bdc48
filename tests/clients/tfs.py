"""Building and reading TensorFlow Serving's messages, and one inference by ``Predict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np

from serving.protocols.tensorflow_serving import DTYPES
from serving.wire import tf_messages, tfs_messages
from tests.clients import oip
from tests.clients.forms import Answer, Question, RefusedError
from tests.clients.gateway import Gateway
from tests.clients.triton import channel

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"

# Of each datatype the field that has its values one by one.
VALUES = {
    "BOOL": "bool_val",
    "UINT8": "int_val",
    "UINT16": "int_val",
    "UINT32": "uint32_val",
    "UINT64": "uint64_val",
    "INT8": "int_val",
    "INT16": "int_val",
    "INT32": "int_val",
    "INT64": "int64_val",
    "FP16": "half_val",
    "BF16": "half_val",
    "FP32": "float_val",
    "FP64": "double_val",
    "BYTES": "string_val",
}
_OURS = {theirs: ours for ours, theirs in DTYPES.items()}


def tensor_proto(array: np.ndarray, datatype: str = "", *, values: bool = False) -> Any:
    """``values``: in the typed field; texts always are."""
    datatype = datatype or oip.datatype_of(array)
    tensor = tf_messages.TensorProto(dtype=tf_messages.enum("DataType")[DTYPES[datatype]])
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if datatype == "BYTES":
        tensor.string_val.extend(_bytes(text) for text in array.reshape(-1))
    elif values:
        bits = array.view(np.uint16) if datatype in {"FP16", "BF16"} else array
        getattr(tensor, VALUES[datatype]).extend(bits.reshape(-1).tolist())
    else:
        tensor.tensor_content = np.ascontiguousarray(array).tobytes()
    return tensor


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def array_of(tensor: Any) -> np.ndarray:
    """What an answer holds: numbers as content, texts one by one."""
    numbers = {number: name for name, number in tf_messages.enum("DataType").items()}
    datatype = _OURS[numbers[tensor.dtype]]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if datatype != "BYTES":
        return oip.decode(tensor.tensor_content, datatype, shape)
    texts = np.empty(len(tensor.string_val), np.object_)
    texts[:] = [text.decode() for text in tensor.string_val]
    return texts.reshape(shape)


def model_spec(model: str, version: int | str | None = None, signature: str = "") -> Any:
    """``version``: a number, or a label."""
    spec = tfs_messages.ModelSpec(name=model, signature_name=signature)
    if isinstance(version, str):
        spec.version_label = version
    elif version is not None:
        spec.version.value = version
    return spec


def predict_request(
    model: str,
    inputs: Mapping[str, np.ndarray],
    *,
    datatypes: Mapping[str, str] | None = None,
    values: bool = False,
    outputs: tuple[str, ...] = (),
    version: int | str | None = None,
    signature: str = "",
) -> Any:
    request = tfs_messages.PredictRequest(
        model_spec=model_spec(model, version, signature), output_filter=outputs
    )
    for name, array in inputs.items():
        datatype = (datatypes or {}).get(name, "")
        request.inputs[name].CopyFrom(tensor_proto(array, datatype, values=values))
    return request


def stub(open_channel: grpc.Channel, method: str, *, of: str = PREDICTION) -> Any:
    """A call by our messages; of the requests only their bytes matter."""
    answers = {"HandleReloadConfigRequest": "ReloadConfigResponse"}
    answers |= {"Classify": "ClassificationResponse", "Regress": "RegressionResponse"}
    return open_channel.unary_unary(
        f"{of}{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=getattr(
            tfs_messages, answers.get(method, f"{method}Response")
        ).FromString,
    )


def over_predict(gateway: Gateway, question: Question, /, values: bool = False) -> Answer:
    """The protocol has no place for ``parameters`` and an ``id``."""
    assert not question.parameters
    assert not question.id
    request = predict_request(
        question.model,
        question.inputs,
        datatypes=question.datatypes,
        values=values,
        outputs=tuple(question.outputs),
        version=int(question.version) if question.version else None,
    )
    metadata = [("x-request-id", question.request_id)] if question.request_id else []
    with channel(gateway) as one:
        try:
            said, call = stub(one, "Predict").with_call(request, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            raise RefusedError(error.code().name, error.details()) from None
        told = dict(call.initial_metadata()) | dict(call.trailing_metadata())
    spec = said.model_spec
    arrays = {name: array_of(tensor) for name, tensor in said.outputs.items()}
    request_id = told.get("x-request-id", "")
    return Answer(spec.name, str(spec.version.value), "", arrays, request_id)


def over_predict_values(gateway: Gateway, question: Question, /) -> Answer:
    return over_predict(gateway, question, values=True)
