"""A gateway that serves versioned ONNX models over gRPC and HTTP."""

__version__ = "0.1.0"
