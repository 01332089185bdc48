"""The server that one writes by hand: ``grpc.aio`` on uvloop, one run a request.

python -m benchmarks.baselines.grpc_aio REGISTRY PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks.baselines.sessions import sessions
from serving.wire import messages


def infer_with(models: dict[str, Any]) -> Any:
    async def infer(request: Any, _context: Any) -> Any:
        tensor = request.inputs[0]
        values = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(tensor.shape)
        (result,) = models[request.model_name].run(None, {tensor.name: values})
        answer = messages.ModelInferResponse(model_name=request.model_name, id=request.id)
        answer.outputs.add(name="y", datatype="FP32", shape=result.shape)
        answer.raw_output_contents.append(result.tobytes())
        return answer

    return infer


async def serve(registry: Path, port: int) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        infer_with(sessions(registry)),
        request_deserializer=messages.ModelInferRequest.FromString,
        response_serializer=messages.ModelInferResponse.SerializeToString,
    )
    service = "inference.GRPCInferenceService"
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"ModelInfer": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
