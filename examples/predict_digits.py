"""Send the real test images to a running gateway, over gRPC and over HTTP.

Every image is a request of its own, many in flight, as from many users; the
gateway batches them. Prints one digit with its answer, then the accuracy over
each door, which equals scikit-learn's own (``examples/train_digits.py``).

    pip install scikit-learn grpcio
    python examples/predict_digits.py [--version 1] [--grpc HOST:PORT] [--http HOST:PORT]
"""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
from numpy.typing import NDArray

from digits import digits
from serving.wire import messages

MODEL = "digits"
IN_FLIGHT = 16
SHADES = " .:-=+*%@"

Classify = Callable[[NDArray[np.float32]], int]


@contextmanager
def over_grpc(address: str, version: str) -> Iterator[Classify]:
    """Classify one image [64] by ``ModelInfer`` with raw contents."""
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )

        def classify(image: NDArray[np.float32]) -> int:
            request = messages.ModelInferRequest(model_name=MODEL, model_version=version)
            request.inputs.add(name="image", datatype="FP32", shape=[1, 64])
            request.outputs.add(name="label")
            request.raw_input_contents.append(image.astype("<f4").tobytes())
            answer = infer(request, timeout=10)
            return int(np.frombuffer(answer.raw_output_contents[0], "<i8")[0])

        yield classify


@contextmanager
def over_http(address: str, version: str) -> Iterator[Classify]:
    """Classify one image [64] by a JSON request of its own connection."""
    path = f"/v2/models/{MODEL}" + (f"/versions/{version}" if version else "") + "/infer"

    def classify(image: NDArray[np.float32]) -> int:
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": image.tolist()}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]})
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = json.load(response)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(answer["error"])
        return int(answer["outputs"][0]["data"][0])

    yield classify


def draw(image: NDArray[np.float32]) -> str:
    """The image [64] as eight lines of two characters a pixel."""
    rows = np.minimum(image.reshape(8, 8) / 2, len(SHADES) - 1).astype(int)
    return "\n".join("".join(SHADES[pixel] * 2 for pixel in row) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify scikit-learn's test digits.")
    parser.add_argument("--grpc", default="127.0.0.1:8081", metavar="HOST:PORT")
    parser.add_argument("--http", default="127.0.0.1:8080", metavar="HOST:PORT")
    parser.add_argument("--version", default="", help="the highest ready one when left out")
    arguments = parser.parse_args()

    data = digits()
    doors = {"gRPC": over_grpc(arguments.grpc, arguments.version)}
    doors["HTTP"] = over_http(arguments.http, arguments.version)
    for number, (door, connected) in enumerate(doors.items()):
        with connected as classify, ThreadPoolExecutor(IN_FLIGHT) as pool:
            answers = np.array(list(pool.map(classify, data.test_images)))
        if number == 0:
            print(draw(data.test_images[0]))
            print(f"this is a {answers[0]}\n")
        right = int((answers == data.test_labels).sum())
        accuracy = right / len(answers)
        print(f"{door}: {right} of {len(answers)} images right, accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
