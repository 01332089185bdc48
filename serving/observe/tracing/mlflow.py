"""MLflow's tracking server as a target for traces: OTLP/HTTP that names an experiment."""

from __future__ import annotations

from serving.credentials import shown
from serving.observe.errors import ExportError
from serving.observe.mlflow_api import connect
from serving.observe.otlp import HttpSender, SendError
from serving.settings import MlflowSettings

_EXPERIMENT = "x-mlflow-experiment-id"


class MlflowSender:
    """Takes the server, the token and the experiment that tracking has; the experiment is
    made where there is none. Raises ConfigError where the server's address is no URL."""

    def __init__(self, settings: MlflowSettings) -> None:
        address = shown(settings.uri)
        client, self._api = connect(settings)
        self.target = f"{address}, experiment {settings.experiment}"
        self._name = settings.experiment
        self._sender = HttpSender(client, "/v1/traces")

    def send(self, request: bytes, timeout_s: float) -> int:
        headers = self._sender.headers
        if _EXPERIMENT not in headers:
            headers[_EXPERIMENT] = self._experiment()
        try:
            return self._sender.send(request, timeout_s)
        except SendError as error:
            if not error.passing:
                # The server may have been made anew: its experiments have other ids.
                del headers[_EXPERIMENT]
            raise

    def close(self) -> None:
        self._sender.close()

    def _experiment(self) -> str:
        try:
            return self._api.experiment(self._name)
        except ExportError as error:
            raise SendError(f"experiment: {error}", passing=True) from None
