"""Models of a real MLflow server's registry, followed under load: aliases moved, webhooks as it
sends them, and the server killed for a while."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.clients.gateway import wait_until
from tests.clients.load import Load
from tests.clients.mlflow_environment import MlflowServer
from tests.clients.mlflow_registering import files_of, register, set_alias, set_tag
from tests.e2e.test_mlflow_registry import answers, arguments, source
from tests.small_models import scale

# The first time, MLflow and all it needs are installed.
pytestmark = [pytest.mark.mlflow, pytest.mark.slow, pytest.mark.timeout(1800)]

# So that it may call this machine, keeps a secret over a restart, and sees a new webhook at once.
WEBHOOKS = {
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), more=WEBHOOKS).start()
    try:
        yield server
    finally:
        server.kill()


def lay(mlflow: MlflowServer, name: str, *factors: int) -> None:
    for factor in factors:
        files = files_of(scale(factor).SerializeToString())
        assert register(mlflow, name, files, new=factor == 1) == factor


def log_model(mlflow: MlflowServer, files: dict[str, bytes]) -> str:
    """A logged model of no registered version yet; its id."""
    made = mlflow.post("logged-models", {"experiment_id": "0", "name": "back"})["model"]["info"]
    folder = made["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path, content in files.items():
        url = f"{mlflow.uri}/api/2.0/mlflow-artifacts/artifacts/{folder}/{path}"
        requests.put(url, data=content, timeout=30).raise_for_status()
    return str(made["model_id"])


def following(mlflow: MlflowServer, **more: str) -> dict[str, str]:
    return {"registry.mlflow.uri": mlflow.uri, **more}


def test_aliases_are_followed_under_load_while_the_server_dies_and_comes_back(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: MlflowServer
) -> None:
    lay(mlflow, "digits", 1, 2, 3)
    set_alias(mlflow, "digits", "champion", 1)
    state = {"state_dir": str(tmp_path / "state"), "registry.mlflow.poll_s": "0.5"}
    settings = following(mlflow, **state)
    gateway = start_gateway(repository, settings, arguments=arguments("digits@champion"))
    answers(gateway, "digits", 1)
    with Load(gateway, "digits", clients=1, limit_s=300) as load:
        set_alias(mlflow, "digits", "champion", 3)
        wait_until(lambda: load.versions["3"] > 5, 30, "version 3 answers")
        set_alias(mlflow, "digits", "champion", 2)
        wait_until(lambda: load.versions["2"] > 5, 30, "version 2 answers")
        mlflow.kill()
        wait_until(lambda: source(gateway)["error"], 30, "it is told of")
        before = load.versions["2"]
        wait_until(lambda: load.versions["2"] > before + 100, 30, "version 2 answers on")
        mlflow.start()
        set_alias(mlflow, "digits", "champion", 1)
        ones = load.versions["1"]
        wait_until(lambda: load.versions["1"] > ones + 5, 60, "version 1 answers again")
        assert not source(gateway)["error"]
    assert not load.failures
    assert not load.refused
    assert gateway.stop() == 0
    mlflow.kill()
    try:
        alone = start_gateway(repository, settings, arguments=arguments("digits@champion"))
        answers(alone, "digits", 1)
    finally:
        mlflow.start()


def test_a_webhook_of_mlflows_own_moves_the_alias_at_once(
    start_gateway: Any, repository: Path, mlflow: MlflowServer
) -> None:
    lay(mlflow, "hooked", 1, 2)
    set_alias(mlflow, "hooked", "champion", 1)
    set_alias(mlflow, "hooked", "challenger", 2)
    hour = {"registry.mlflow.poll_s": "3600", "registry.mlflow.webhook_secret": "hush"}
    gateway = start_gateway(
        repository, following(mlflow, **hour), arguments=arguments("hooked@champion")
    )
    answers(gateway, "hooked", 1)
    answers(gateway, "hooked", 2, by="challenger")
    body = {
        "name": "gateway",
        "url": f"http://{gateway.admin}/api/v1/sources/mlflow/webhook",
        "events": [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}],
        "secret": "hush",
        "status": "ACTIVE",
    }
    made = requests.post(f"{mlflow.uri}/api/2.0/mlflow/webhooks", json=body, timeout=30)
    assert made.status_code == 200, made.text
    time.sleep(1.5)  # for which the server goes on with the list that it had
    with Load(gateway, "hooked", clients=1) as load:
        wait_until(lambda: load.versions["1"] > 5, 30, "version 1 answers")
        moved = time.monotonic()
        set_alias(mlflow, "hooked", "champion", 2)
        wait_until(lambda: load.versions["2"] > 0, 30, "version 2 answers", every=0.01)
        assert time.monotonic() - moved < 10  # two seconds are promised of a machine at rest
    assert not load.failures


def test_a_promotion_moves_the_alias_under_load_and_a_rollback_sets_it_back(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: MlflowServer
) -> None:
    """The server is killed in between, and down for about a minute."""
    lay(mlflow, "back", 1, 2)
    set_alias(mlflow, "back", "champion", 1)
    run = mlflow.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]
    back = {"registry.mlflow.write_back.alias": "champion"}
    back["registry.mlflow.write_back.tags"] = "stage=production"
    state = {"state_dir": str(tmp_path / "state"), "registry.mlflow.poll_s": "0.5"}
    settings = following(mlflow, **back, **state)
    gateway = start_gateway(repository, settings, arguments=arguments("back@champion"))
    answers(gateway, "back", 1)

    def told() -> Any:
        return gateway.get("/api/v1/tracking", port=gateway.admin_port).json()["write_back"]

    def control(path: str, body: object) -> None:
        path, port = f"/api/v1/models/back/{path}", gateway.admin_port
        answer = gateway.get(path, json.dumps(body).encode(), "POST", port=port)
        assert answer.status == 200, answer

    def named() -> str:
        query = {"name": "back", "alias": "champion"}
        return str(mlflow.get("registered-models/alias", **query)["model_version"]["version"])

    def tags() -> dict[str, str]:
        found = mlflow.get("model-versions/get", name="back", version="2")["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    with Load(gateway, "back", clients=1, limit_s=300) as load:
        control("rollout/start", {"version": 2, "steps": [100]})
        wait_until(lambda: named() == "2" and tags() == {"stage": "production"}, 30, "it is moved")
        answers(gateway, "back", 2, by="champion")
        mlflow.kill()
        control("rollback", {})
        answers(gateway, "back", 1)
        wait_until(lambda: told()["failures"] >= 5, 120, "it was tried again")
        mlflow.start()
        wait_until(lambda: told()["waiting"] == 0, 60, "all is written")
        assert (named(), tags()) == ("1", {})
        answers(gateway, "back", 1, by="champion")
    assert not load.failures
    assert not load.refused
    # A verdict, with a run of its own.
    files = files_of(scale(3).SerializeToString())
    model_id = log_model(mlflow, files)
    source_uri = f"models:/{model_id}"
    made = {"name": "back", "source": source_uri, "model_id": model_id, "run_id": run["run_id"]}
    mlflow.post("model-versions/create", made)
    gated = following(mlflow, **{"gates.safe_to_serve": "true", "gates.p99_factor": "0"})
    other = start_gateway(repository, gated, arguments=arguments("back"))
    answers(other, "back", 3)

    def judged() -> bool:
        found = mlflow.get("model-versions/get", name="back", version="3")["model_version"]
        return {"key": "validation_status", "value": "BLESSED"} in found.get("tags", [])

    wait_until(judged, 30, "its verdict is written")
    wait_until(lambda: mlflow.history(run["run_id"], "gates/blessed"), 30, "and its figures")


def test_tags_and_a_run_s_artifacts_are_as_the_server_has_them(
    start_gateway: Any, repository: Path, mlflow: MlflowServer
) -> None:
    """A version registered from a run's folder, and one that no rule lets pass yet."""
    run = mlflow.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]
    folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path, content in files_of(scale(1).SerializeToString()).items():
        url = f"{mlflow.uri}/api/2.0/mlflow-artifacts/artifacts/{folder}/model/{path}"
        requests.put(url, data=content, timeout=30).raise_for_status()
    mlflow.post("registered-models/create", {"name": "from run"})
    source_uri = f"{run['artifact_uri']}/model"
    made = {"name": "from run", "source": source_uri, "run_id": run["run_id"]}
    mlflow.post("model-versions/create", made)
    set_tag(mlflow, "from run", 1, "validation_status", "passed")
    files = files_of(scale(2).SerializeToString())
    assert register(mlflow, "from run", files) == 2
    rules = {"registry.mlflow.tags": "validation_status=passed", "registry.mlflow.poll_s": "0.5"}
    gateway = start_gateway(repository, following(mlflow, **rules), arguments=arguments("from run"))
    path = "/v2/models/from%20run"
    assert gateway.get(path).json()["versions"] == ["1"]
    wait_until(lambda: "version 2 is not taken: no tag" in gateway.log(), 20, "the log says why")
    set_tag(mlflow, "from run", 2, "validation_status", "passed")
    answers(gateway, "from%20run", 2)
    status = gateway.get("/api/v1/models/from%20run", port=gateway.admin_port).json()
    said = {one["version"]: one["manifest"]["metadata"] for one in status["versions"]}
    assert said[2] == {"validation_status": "passed"}
