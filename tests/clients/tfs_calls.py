"""Calls of TensorFlow Serving's own stubs, in an environment of their own.

``tfs_calls.py HOST:PORT``: what came of each call, as a line of JSON. With a model config list, as
text, behind it: what came of reloading that. It imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import types
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, text_format

_MISSING = "tensorflow.tsl.protobuf.error_codes_pb2"


def make_up_for_the_missing_file() -> None:
    """Which numbers errors have: generated code for it is in neither package."""
    name = "tensorflow/tsl/protobuf/error_codes.proto"
    file = descriptor_pb2.FileDescriptorProto(
        name=name, package="tensorflow.error", syntax="proto3"
    )
    file.enum_type.add(name="Code").value.add(name="OK", number=0)
    module: Any = types.ModuleType(_MISSING)
    module.DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    # Where the newer of the two packages looks for it.
    module.xla_dot_tsl_dot_protobuf_dot_error__codes__pb2 = module
    parent: Any = types.ModuleType("tensorflow.tsl.protobuf")
    parent.error_codes_pb2 = module
    sys.modules["tensorflow.tsl"] = types.ModuleType("tensorflow.tsl")
    sys.modules["tensorflow.tsl.protobuf"] = parent
    sys.modules[_MISSING] = module


def reload(address: str, text: str) -> None:
    make_up_for_the_missing_file()
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    with grpc.insecure_channel(address) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        answer = models.HandleReloadConfigRequest(request, timeout=60)
    json.dump({"reload": [answer.HasField("status"), answer.status.error_code]}, sys.stdout)


def fields(file: Any) -> dict[str, dict[str, int]]:
    waiting = list(file.DESCRIPTOR.message_types_by_name.values())
    found = {}
    while waiting:
        message = waiting.pop()
        found[message.full_name] = {field.name: field.number for field in message.fields}
        waiting += message.nested_types
    return found


def main() -> None:
    make_up_for_the_missing_file()
    from tensorflow.core.framework import tensor_pb2, types_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )
    from tensorflow_serving.config import (
        file_system_storage_path_source_pb2,
        log_collector_config_pb2,
        logging_config_pb2,
        model_server_config_pb2,
    )

    described_files = (
        file_system_storage_path_source_pb2,
        log_collector_config_pb2,
        logging_config_pb2,
        model_management_pb2,
        model_server_config_pb2,
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        meta_graph_pb2,
        predict_pb2,
        regression_pb2,
        tensor_pb2,
    )

    def predict(model: str, version: int = 0, **inputs: Any) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        if version:
            request.model_spec.version.value = version
        for name, array in inputs.items():
            dtype = types_pb2.DT_STRING if array.dtype.kind in "OU" else types_pb2.DT_FLOAT
            tensor = tensor_pb2.TensorProto(dtype=dtype)
            for size in array.shape:
                tensor.tensor_shape.dim.add(size=size)
            if dtype == types_pb2.DT_STRING:
                tensor.string_val.extend(text.encode() for text in array.reshape(-1))
            else:
                tensor.float_val.extend(array.reshape(-1).tolist())
            request.inputs[name].CopyFrom(tensor)
        return stub.Predict(request, timeout=20)

    def refused(call: Any) -> list[str]:
        try:
            call()
        except grpc.RpcError as error:
            found: Any = error
            return [found.code().name, found.details()]
        return ["OK", ""]

    def texts(tensor: Any) -> list[str]:
        return [text.decode() for text in tensor.string_val]

    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        tiny = predict("tiny", x=np.array([[1, 2, 3, 4]], np.float32))
        versions = predict("versions", 2, X=np.array([[1, 2]], np.float32))
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "versions"
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "tiny"
        described = stub.GetModelMetadata(metadata, timeout=20)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert described.metadata["signature_def"].Unpack(signatures)
        signature = signatures.signature_def["serving_default"]
        classify = classification_pb2.ClassificationRequest()
        classify.model_spec.name = "tiny"
        found = {
            "tiny": np.frombuffer(tiny.outputs["y"].tensor_content, "<f4").tolist(),
            "spec": [
                tiny.model_spec.name,
                tiny.model_spec.version.value,
                tiny.model_spec.signature_name,
            ],
            "version": versions.model_spec.version.value,
            "texts": texts(predict("id_bytes", X=np.array([["a", "é 漢字"]])).outputs["Y"]),
            "status": [
                [one.version, get_model_status_pb2.ModelVersionStatus.State.Name(one.state)]
                for one in models.GetModelStatus(status, timeout=20).model_version_status
            ],
            "metadata": [
                signature.method_name,
                signature.inputs["x"].name,
                types_pb2.DataType.Name(signature.inputs["x"].dtype),
                [dim.size for dim in signature.inputs["x"].tensor_shape.dim],
            ],
            "unknown": refused(lambda: predict("nowhere", x=np.zeros((1, 4), np.float32))),
            "fields": {name: of for file in described_files for name, of in fields(file).items()},
            "classify": refused(lambda: stub.Classify(classify, timeout=20)),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        reload(*sys.argv[1:3])
    else:
        main()
