"""Every protocol that infers, as a hostile client meets it: where it is asked, and a request of the
model ``tiny`` that is well."""

from __future__ import annotations

import json

import numpy as np

from tests.clients import http1, http2, oip, tfs

ROW = {"x": np.zeros((1, 4), np.float32)}
OIP_PATH = "/v2/models/tiny/infer"
# Bodies in JSON by their paths; ``/invocations`` is of the default model.
BODIES = {
    OIP_PATH: json.dumps({"inputs": [oip.json_input("x", ROW["x"])]}).encode(),
    "/v1/models/tiny:predict": b'{"instances":[[0,0,0,0]]}',
    "/invocations": b'{"inputs":[[0,0,0,0]]}',
}
MODEL_INFER = http2.SERVICE + "ModelInfer"
PREDICT = tfs.PREDICTION + "Predict"
# Messages by their RPCs.
MESSAGES = {
    MODEL_INFER: oip.grpc_request("tiny", ROW).SerializeToString(),
    PREDICT: tfs.predict_request("tiny", ROW).SerializeToString(),
}
JSON = "Content-Type: application/json"


def head_of(path: str, *lines: str) -> bytes:
    """HTTP/1.1's, of a body in JSON."""
    return http1.head(path, JSON, *lines)


def words_of(reply: http1.Reply) -> str:
    """An error's words, whichever protocol's they are."""
    found = json.loads(reply.body)
    return str(found["message"] if "error_code" in found else found["error"])
