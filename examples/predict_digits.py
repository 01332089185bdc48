"""Send the real test images to a running gateway, over gRPC and over HTTP.

Every image is a request of its own, many in flight, as from many users; the
gateway batches them. Prints one digit with its answer, then the accuracy over
each door, which equals scikit-learn's own (``examples/train_digits.py``).

    pip install scikit-learn dist/serving_client-*.whl
    python examples/predict_digits.py [--version 1] [--grpc HOST:PORT] [--http HOST:PORT]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from digits import digits
from serving_client import Client

MODEL = "digits"
IN_FLIGHT = 16
SHADES = " .:-=+*%@"


def classify(client: Client, version: str, image: NDArray[np.float32]) -> int:
    """The label of one image [64]."""
    inputs = {"image": image.reshape(1, 64)}
    answer = client.infer(MODEL, inputs, version=version, outputs="label", timeout=10)
    return int(answer["label"][0])


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
    doors = {"gRPC": arguments.grpc, "HTTP": f"http://{arguments.http}"}
    for number, (door, address) in enumerate(doors.items()):
        with Client(address) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:
            ask = partial(classify, client, arguments.version)
            answers = np.array(list(pool.map(ask, data.test_images)))
        if number == 0:
            print(draw(data.test_images[0]))
            print(f"this is a {answers[0]}\n")
        right = int((answers == data.test_labels).sum())
        accuracy = right / len(answers)
        print(f"{door}: {right} of {len(answers)} images right, accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
