"""The calls of MLflow's registry and of its artifacts that are needed, by its REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from serving.credentials import authorization, secrets, shown
from serving.errors import ConfigError
from serving.http_client import HttpClient, HttpError, StatusError
from serving.mlflow_rest import AUTHORITIES, MlflowError, MlflowRest, OneError, garbage
from serving.registry.mlflow.answers import (
    MOST_VERSIONS,
    AnswerError,
    RegisteredModel,
    RegisteredVersion,
    model_versions,
    registered_model,
)
from serving.settings import Settings

URI = "registry.mlflow.uri"
_PAGE = 200
# One that gives fewer at once than it was asked for has these only: the newest.
_MOST_PAGES = 200
_MOST_BYTES = 16 * 1024 * 1024
# A list of many answers: so many times as long as one of them may take.
_LISTS = 10
_PROXY = "/api/2.0/mlflow-artifacts"


class MlflowRegistry:
    """Raises MlflowError where there is no good answer, RefusedError where asking the same again
    is of no use. ``patience_s``: for all answers that make a list. For one thread."""

    def __init__(
        self,
        client: HttpClient,
        hidden: Sequence[str] = (),
        patience_s: float = float("inf"),
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._rest = client, MlflowRest(client, hidden)
        self._patience_s, self._mono = patience_s, mono

    def close(self) -> None:
        self._client.close()

    def model(self, name: str) -> RegisteredModel:
        """Every alias, and the newest version."""
        answer = self._rest.ask("GET", f"registered-models/get?{urlencode({'name': name})}")
        try:
            return registered_model(answer, name)
        except AnswerError as error:
            raise strange(error) from None

    def watch(self, what: str) -> Callable[[], None]:
        """To be called before each part of a list. Raises MlflowError where it takes too long."""
        end = self._mono() + self._patience_s

        def check() -> None:
            if self._mono() > end:
                raise OneError(f"{what} did not all come in {self._patience_s:g} s")

        return check

    def versions(self, name: str) -> tuple[RegisteredVersion, ...]:
        """All of a model's, the newest ``MOST_VERSIONS``, ascending."""
        quotes = '"' if "'" in name else "'"
        query = {"filter": f"name={quotes}{name}{quotes}", "max_results": str(_PAGE)}
        query["order_by"] = "version_number DESC"
        found: dict[int, RegisteredVersion] = {}
        token, check = "", self.watch("its versions")
        for _ in range(_MOST_PAGES):
            check()
            asked = urlencode({**query, **({"page_token": token} if token else {})})
            answer = self._rest.ask("GET", f"model-versions/search?{asked}")
            try:
                page, token = model_versions(answer, name)
            except AnswerError as error:
                raise strange(error) from None
            before = len(found)
            found.update((one.number, one) for one in page)
            if not token or len(found) == before or len(found) >= MOST_VERSIONS:
                break
        return tuple(found[number] for number in sorted(found)[-MOST_VERSIONS:])

    def download_uri(self, name: str, version: int) -> str:
        """Where a version's artifacts lie."""
        query = urlencode({"name": name, "version": str(version)})
        answer = self._rest.ask("GET", f"model-versions/get-download-uri?{query}")
        uri = answer.get("artifact_uri")
        if not isinstance(uri, str) or not uri:
            raise garbage()
        return uri

    def files(self, kind: str, of: str, folder: str) -> Mapping[str, Any]:
        """What lies in a folder of artifacts: ``kind`` "proxy" (``of`` is of no account), "model"
        or "run", with its id."""
        if kind == "proxy":
            query = urlencode({"path": folder})
            return self._rest.ask("GET", f"artifacts?{query}", base=_PROXY)
        if kind == "model":
            query = f"?{urlencode({'artifact_directory_path': folder})}" if folder else ""
            return self._rest.ask(
                "GET", f"logged-models/{quote(of, safe='')}/artifacts/directories{query}"
            )
        query = urlencode({"run_id": of, **({"path": folder} if folder else {})})
        return self._rest.ask("GET", f"artifacts/list?{query}")

    def proxied(self, path: str, size: int) -> Iterator[bytes]:
        """An artifact, by its path in the server's own store."""
        return self._pieces(f"{_PROXY}/artifacts/{quote(path)}", size)

    def artifact(self, name: str, version: int, path: str, size: int) -> Iterator[bytes]:
        """A version's artifact, by whatever store it is in."""
        query = urlencode({"name": name, "version": str(version), "path": path})
        return self._pieces(f"/model-versions/get-artifact?{query}", size)

    def _pieces(self, path: str, size: int) -> Iterator[bytes]:
        try:
            yield from self._client.pieces(path, size, size)
        except StatusError as other:
            raise self._rest.refusal(other.answer.status, other.answer.body) from None
        except HttpError as error:
            raise MlflowError(f"no answer: {error}") from None


def server_of(settings: Settings) -> str:
    """The server's address, as it was given; of tracking where the registry has none of its own.
    Raises ConfigError where there is none."""
    uri = settings.registry.mlflow.uri or settings.tracking.mlflow.uri
    if not uri:
        raise ConfigError(f"{URI}: MLflow's server is not named (http://HOST:PORT)")
    return uri


def connect(settings: Settings) -> MlflowRegistry:
    """Nothing is asked yet. Raises ConfigError where the settings can't be used."""
    client, hidden = client_of(settings)
    return MlflowRegistry(client, hidden, _LISTS * settings.registry.mlflow.timeout_s)


def client_of(settings: Settings) -> tuple[HttpClient, tuple[str, ...]]:
    """For one thread, and what none of its words may show. Raises ConfigError as ``connect``."""
    own, uri = settings.registry.mlflow, server_of(settings)
    token = own.token.get_secret_value()
    if not (token or own.uri):
        token = settings.tracking.mlflow.token.get_secret_value()
    proof = authorization(uri, token, "registry.mlflow.token")
    client = HttpClient(shown(uri), URI, own.timeout_s, proof, AUTHORITIES, _MOST_BYTES)
    return client, secrets(uri, token)


def strange(error: AnswerError) -> OneError:
    return OneError(f"the answer is not that of an MLflow registry: {error}")
