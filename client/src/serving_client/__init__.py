"""A client for model servers that speak the Open Inference Protocol v2, over gRPC and HTTP.

with Client("localhost:8081") as client:
    label = client.infer("digits", image=array)["label"]
"""

from serving_client.async_client import AsyncClient
from serving_client.client import Client
from serving_client.errors import (
    ConnectionLostError,
    DamagedAnswerError,
    DeadlineError,
    InputError,
    InternalError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    OverloadedError,
    ServingError,
    TooLargeError,
    UnavailableError,
    UnreachableError,
    UnsupportedError,
    WrongServerError,
)
from serving_client.results import (
    Duration,
    InferResult,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ServerMetadata,
    TensorMetadata,
)
from serving_client.retrying import Retry
from serving_client.tls import Tls

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectionLostError",
    "DamagedAnswerError",
    "DeadlineError",
    "Duration",
    "InferResult",
    "InputError",
    "InternalError",
    "InvalidRequestError",
    "ModelMetadata",
    "ModelState",
    "ModelStatistics",
    "NotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "Retry",
    "ServerMetadata",
    "ServingError",
    "TensorMetadata",
    "Tls",
    "TooLargeError",
    "UnavailableError",
    "UnreachableError",
    "UnsupportedError",
    "WrongServerError",
    "__version__",
]
