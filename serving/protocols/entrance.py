"""What ``/`` answers: who this is, and where things are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving import __version__


@dataclass(frozen=True, slots=True)
class Ports:
    """As this process listens on them; what stands in front may have others."""

    http: int
    grpc: int
    admin: int


def entrance(name: str, ports: Ports | None, *, pages: bool = False) -> dict[str, Any]:
    """``ports`` None: they are not told. ``pages``: whether the calls are described."""
    places: dict[str, dict[str, Any]] = {
        "http": {
            "protocol": "Open Inference Protocol v2",
            "metadata": "/v2",
            "models": "/v2/models",
            "inference": "/v2/models/NAME/infer",
            "health": "/v2/health/ready",
            "tensorflow_serving": "/v1/models/NAME:predict",
            "mlflow": "/models/NAME/invocations",
        },
        "grpc": {
            "services": [
                "inference.GRPCInferenceService",
                "tensorflow.serving.PredictionService",
                "tensorflow.serving.ModelService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
            ],
        },
        "admin": {
            "metrics": "/metrics",
            "control": "/api/v1/models",
            "settings": "/api/v1/settings",
            "description": "/api/openapi.json",
        },
    }
    if pages:
        places["http"] |= {"description": "/openapi.json", "docs": "/docs"}
    if ports is not None:
        for door, place in places.items():
            places[door] = {"port": getattr(ports, door), **place}
    return {"name": name, "version": __version__, **places}
