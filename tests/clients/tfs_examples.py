"""Examples by TensorFlow Serving's own stubs, in an environment of their own.

``tfs_examples.py HOST:PORT``: what came of each call, as a line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from tfs_calls import (  # type: ignore[import-not-found]  # it lies beside this one
    make_up_for_the_missing_file,
)

ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]


def main() -> None:
    make_up_for_the_missing_file()
    from tensorflow.core.example import example_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        inference_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

    def example(**features: Any) -> Any:
        made = example_pb2.Example()
        for name, values in features.items():
            made.features.feature[name].float_list.value.extend(values)
        return made

    def pairs(result: Any) -> list[Any]:
        return [[[one.label, one.score] for one in row.classes] for row in result.classifications]

    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        classify = classification_pb2.ClassificationRequest()
        classify.model_spec.name = "tiny"
        classify.model_spec.signature_name = "kinds"
        classify.input.example_list.examples.extend(example(x=row) for row in ROWS)
        classified = stub.Classify(classify, timeout=20)
        regress = regression_pb2.RegressionRequest()
        regress.model_spec.name = "double"
        regress.input.example_list_with_context.examples.extend([example(), example()])
        regress.input.example_list_with_context.context.CopyFrom(example(X=[2.5]))
        regressed = stub.Regress(regress, timeout=20)
        several = inference_pb2.MultiInferenceRequest()
        for name, method in (("values", "regress"), ("scores", "classify")):
            task = several.tasks.add(method_name=f"tensorflow/serving/{method}")
            task.model_spec.name, task.model_spec.signature_name = "double", name
        several.input.example_list.examples.append(example(X=[1.5]))
        results = stub.MultiInference(several, timeout=20).results
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "double"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        described = stub.GetModelMetadata(metadata, timeout=20)
        assert described.metadata["signature_def"].Unpack(signatures)
        found = {
            "classified": pairs(classified.result),
            "spec": [classified.model_spec.version.value, classified.model_spec.signature_name],
            "regressed": [one.value for one in regressed.result.regressions],
            "several": [one.WhichOneof("result") for one in results],
            "values": [
                results[0].regression_result.regressions[0].value,
                pairs(results[1].classification_result),
            ],
            "methods": {name: one.method_name for name, one in signatures.signature_def.items()},
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
