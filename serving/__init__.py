"""A gateway that serves versioned ONNX models over gRPC and HTTP."""
