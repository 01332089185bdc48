"""The calls of MLflow's tracking server that are needed, by its REST API 2.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from serving import mlflow_rest
from serving.credentials import authorization, secrets, shown
from serving.http_client import HttpClient
from serving.mlflow_rest import AUTHORITIES, MlflowError, MlflowRest, garbage
from serving.observe.errors import ExportError
from serving.settings import MlflowSettings

# Of one call, by the server's own limits.
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
_MAX_PARAM = 6000
_MAX_TAG = 8000


def connect(settings: MlflowSettings) -> tuple[HttpClient, MlflowApi]:
    """Nothing is asked yet. Raises ConfigError where the settings can't be used."""
    setting, token = "tracking.mlflow.uri", settings.token.get_secret_value()
    proof = authorization(settings.uri, token, "tracking.mlflow.token")
    client = HttpClient(shown(settings.uri), setting, settings.timeout_s, proof, AUTHORITIES)
    return client, MlflowApi(client, secrets(settings.uri, token))


class RefusedError(ExportError):
    """The server understood and said no; ``code`` is MLflow's word for it."""

    def __init__(self, words: str, code: str) -> None:
        super().__init__(words)
        self.code = code


class MlflowApi:
    """Raises ExportError where there is no good answer, RefusedError where asking the same
    again is of no use."""

    def __init__(self, client: HttpClient, hidden: Sequence[str] = ()) -> None:
        """``hidden``: what none of its words may show."""
        self._rest = MlflowRest(client, hidden)

    def experiment(self, name: str) -> str:
        """Its id; made where there is none."""
        query = f"experiments/get-by-name?experiment_name={quote(name, safe='')}"
        try:
            return _text(self._ask("GET", query), "experiment", "experiment_id")
        except RefusedError as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":
                raise
        try:
            return _text(self._ask("POST", "experiments/create", {"name": name}), "experiment_id")
        except RefusedError as refused:
            if refused.code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Another gateway was quicker.
        return _text(self._ask("GET", query), "experiment", "experiment_id")

    def create_run(
        self, experiment: str, name: str, started_ms: int, tags: Mapping[str, str]
    ) -> str:
        """The new run's id."""
        answer = self._ask(
            "POST",
            "runs/create",
            {
                "experiment_id": experiment,
                "run_name": name,
                "start_time": started_ms,
                "tags": _pairs(tags, _MAX_TAG)[:MAX_TAGS],
            },
        )
        return _text(answer, "run", "info", "run_id")

    def find_run(self, experiment: str, tag: str, value: str) -> str:
        """The id of a run that carries a tag; "" where there is none."""
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{tag}` = '{value}'",
            "max_results": 1,
        }
        runs = self._ask("POST", "runs/search", asked).get("runs")
        if not runs:
            return ""
        if not isinstance(runs, list) or not isinstance(runs[0], dict):
            raise _garbage()
        return _text(runs[0], "info", "run_id")

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Same values may be sent again."""
        some = _pairs(params, _MAX_PARAM)[:MAX_PARAMS]
        self._ask("POST", "runs/log-batch", {"run_id": run, "params": some})

    def log_metrics(self, run: str, metrics: Sequence[dict[str, Any]]) -> None:
        """Any number, in calls of as many as are allowed. Same points may be sent again."""
        for at in range(0, len(metrics), MAX_METRICS):
            part = list(metrics[at : at + MAX_METRICS])
            self._ask("POST", "runs/log-batch", {"run_id": run, "metrics": part})

    def end_run(self, run: str, status: str, ended_ms: int) -> None:
        self._ask("POST", "runs/update", {"run_id": run, "status": status, "end_time": ended_ms})

    def has_model(self, model_id: str) -> bool:
        """Whether the server knows a logged model."""
        try:
            self._ask("GET", f"logged-models/{quote(model_id, safe='')}")
        except RefusedError:
            return False
        return True

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            return self._rest.ask(method, path, body)
        except mlflow_rest.RefusedError as refused:
            raise RefusedError(str(refused), refused.code) from None
        except MlflowError as error:
            raise ExportError(str(error)) from None


def _garbage() -> ExportError:
    return ExportError(str(garbage()))


def _text(answer: object, *path: str) -> str:
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, str) or not answer:
        raise _garbage()
    return answer


def _pairs(values: Mapping[str, str], most: int) -> list[dict[str, str]]:
    return [{"key": key, "value": value[:most]} for key, value in _filled(values)]


def _filled(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in values.items() if value)
