"""The calls by which MLflow's registry, and runs of its models, are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from serving.mlflow_rest import MlflowRest
from serving.registry.mlflow.answers import AnswerError, model_version, registered_model
from serving.registry.mlflow.api import client_of, strange
from serving.settings import Settings


class MlflowWriter:
    """Raises as ``MlflowRegistry``. Each call may be made again. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._client, hidden = client_of(settings)
        self._rest = MlflowRest(self._client, hidden)

    def close(self) -> None:
        self._client.close()

    def aliases(self, model: str) -> Mapping[str, int]:
        answer = self._rest.ask("GET", f"registered-models/get?{urlencode({'name': model})}")
        try:
            return registered_model(answer, model).aliases
        except AnswerError as error:
            raise strange(error) from None

    def set_alias(self, model: str, alias: str, version: int | None) -> None:
        """``version`` None: it names none any more."""
        named: dict[str, Any] = {"name": model, "alias": alias}
        if version is None:
            self._rest.ask("DELETE", "registered-models/alias", named)
        else:
            self._rest.ask("POST", "registered-models/alias", {**named, "version": str(version)})

    def tags(self, model: str, version: int) -> Mapping[str, str]:
        query = urlencode({"name": model, "version": str(version)})
        answer = self._rest.ask("GET", f"model-versions/get?{query}")
        try:
            return model_version(answer, model).tags
        except AnswerError as error:
            raise strange(error) from None

    def set_tag(self, model: str, version: int, key: str, value: str | None) -> None:
        """``value`` None: it is taken away."""
        named = {"name": model, "version": str(version), "key": key}
        if value is None:
            self._rest.ask("DELETE", "model-versions/delete-tag", named)
        else:
            self._rest.ask("POST", "model-versions/set-tag", {**named, "value": value})

    def log_metrics(self, run: str, metrics: Sequence[Mapping[str, object]]) -> None:
        """At most a thousand; the server drops points that it has."""
        body = {"run_id": run, "metrics": [dict(one) for one in metrics]}
        self._rest.ask("POST", "runs/log-batch", body)
