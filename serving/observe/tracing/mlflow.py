"""MLflow's tracking server as a target for traces: OTLP/HTTP that names an experiment."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from serving.observe.http import HttpAnswer, HttpClient, HttpError
from serving.observe.otlp import HttpSender, SendError

_API = "/api/2.0/mlflow/experiments"
_HEADER = "x-mlflow-experiment-id"


class MlflowSender:
    """``experiment``: its name; it is made when there is none."""

    def __init__(self, client: HttpClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._sender = HttpSender(client, "/v1/traces")

    def send(self, request: bytes, timeout_s: float) -> int:
        if _HEADER not in self._sender.headers:
            self._sender.headers[_HEADER] = self._experiment_id(timeout_s)
        try:
            return self._sender.send(request, timeout_s)
        except SendError as error:
            if not error.passing:
                # The server may have been made anew: its experiments have other ids.
                del self._sender.headers[_HEADER]
            raise

    def close(self) -> None:
        self._sender.close()

    def _experiment_id(self, timeout_s: float) -> str:
        """Raises SendError where there is none to be had."""
        query = f"/get-by-name?experiment_name={quote(self._experiment, safe='')}"
        found = self._ask("GET", query, b"", timeout_s)
        if found.status == 404:
            body = json.dumps({"name": self._experiment}).encode()
            found = self._ask("POST", "/create", body, timeout_s)
        if found.status != 200:
            raise SendError(f"experiment: status {found.status}", passing=True)
        return _id(found)

    def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> HttpAnswer:
        try:
            headers = {"Content-Type": "application/json"}
            return self._client.request(method, _API + path, body, headers, timeout_s)
        except HttpError as error:
            raise SendError(str(error), passing=True) from None


def _id(answer: HttpAnswer) -> str:
    try:
        content: Any = json.loads(answer.body)
        experiment = content.get("experiment", content)
        found = experiment["experiment_id"]
        stage = experiment.get("lifecycle_stage", "active")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise SendError("it answers, but not as MLflow does", passing=True) from None
    if stage != "active":
        raise SendError("the experiment is deleted", passing=True)
    if not isinstance(found, str) or not found.isalnum():
        raise SendError("it answers, but not as MLflow does", passing=True)
    return found
