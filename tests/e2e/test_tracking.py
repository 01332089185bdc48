"""Windows in a real MLflow server: right, on the model's own page, and never felt."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import serving
from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import Load
from tests.clients.mlflow_environment import MlflowServer
from tests.small_models import scale, write

# The first time, MLflow and all it needs are installed.
pytestmark = [pytest.mark.mlflow, pytest.mark.slow, pytest.mark.timeout(1800)]

WINDOW = {"tracking.window_s": "1"}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow")).start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def tracked(mlflow: MlflowServer, request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings that send to the server, to an experiment of the test's own."""
    experiment = request.node.name
    return {**WINDOW, "tracking.mlflow.uri": mlflow.uri, "tracking.mlflow.experiment": experiment}


def _target(gateway: Gateway, name: str = "mlflow") -> dict[str, Any]:
    answer = gateway.get("/api/v1/tracking", port=gateway.admin_port).json()
    (found,) = [one for one in answer["targets"] if one["name"] == name]
    return dict(found)


def _points(mlflow: MlflowServer, experiment: str, key: str) -> list[tuple[int, float]]:
    """(step, value) of all runs of the experiment."""
    found = []
    for run in mlflow.runs(experiment):
        points = mlflow.history(run["info"]["run_id"], key)
        found += [(int(point.get("step", 0)), float(point["value"])) for point in points]
    return sorted(found)


def _sum(mlflow: MlflowServer, experiment: str, key: str) -> float:
    return sum(value for _, value in _points(mlflow, experiment, key))


def _all_arrived(gateway: Gateway, mlflow: MlflowServer, experiment: str, requests: int) -> None:
    wait_until(
        lambda: _sum(mlflow, experiment, "requests") >= requests, 60, "all windows are there", 0.5
    )
    assert _sum(mlflow, experiment, "requests") == requests
    wait_until(lambda: _target(gateway)["buffered"] == 0, 20, "nothing is left in the buffer")


def _one_by_one(points: list[tuple[int, float]]) -> None:
    steps = [step for step, _ in points]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "a window is missing, or twice"


def test_what_mlflow_shows_equals_what_prometheus_counts(
    start_gateway: Any, repository: Path, mlflow: MlflowServer, tracked: dict[str, str]
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, tracked)
    experiment = tracked["tracking.mlflow.experiment"]
    with Load(gateway, "m", clients=2) as load:
        wait_until(lambda: load.versions["1"] > 2000, 60, "load runs")
        refused = [gateway.infer("m", {"inputs": []}, 1).status for _ in range(7)]
    assert not load.failures
    assert refused == [400] * 7
    counted = int(gateway.metric("serving_request_total", model="m"))
    assert counted == load.versions["1"] + 7
    _all_arrived(gateway, mlflow, experiment, counted)

    (run,) = mlflow.runs(experiment)
    curves = {
        key: [float(point["value"]) for point in mlflow.history(run["info"]["run_id"], key)]
        for key in ("errors", "errors/http/400", "rows", "runs", "requests", "total_ms/p99")
    }
    assert sum(curves["errors"]) == sum(curves["errors/http/400"]) == 7
    assert sum(curves["rows"]) == gateway.metric("serving_inference_total", model="m")
    assert sum(curves["runs"]) == gateway.metric("serving_execution_total", model="m")
    busy = sum(1 for requests in curves["requests"] if requests)
    assert len(curves["total_ms/p99"]) == busy, "a window without requests has no percentiles"
    assert all(value > 0 for value in curves["total_ms/p99"])

    # Means times counts are the sums that Prometheus has.
    for figure, count, family, unit in (
        ("total_ms/mean", "requests", "serving_request_duration_seconds", 1e-3),
        ("compute_ms/mean", "runs", "serving_compute_duration_seconds", 1e-3),
        ("batch_rows", "runs", "serving_batch_size", 1.0),
    ):
        times = dict(_points(mlflow, experiment, count))
        means = _points(mlflow, experiment, figure)
        assert sum(mean * unit * times[step] for step, mean in means) == pytest.approx(
            gateway.metric(f"{family}_sum", model="m"), rel=1e-9
        )
    latest = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert latest["cost/fixed_ms"] > 0
    assert 0 <= latest["system/cpu_utilization_percentage"] <= 100
    assert latest["system/system_memory_usage_megabytes"] > 100


def test_figures_appear_on_the_models_own_page_with_its_origin(
    start_gateway: Any,
    repository: Path,
    tmp_path: Path,
    mlflow: MlflowServer,
    tracked: dict[str, str],
) -> None:
    trained = mlflow.post("logged-models", {"experiment_id": "0", "name": "scale"})
    model_id = trained["model"]["info"]["model_id"]
    file = tmp_path / "model.onnx"
    file.write_bytes(scale(1).SerializeToString())
    serving.publish(
        file,
        to=repository,
        model="m",
        git_commit="0123abc",
        mlflow_run_id="trainrun",
        mlflow_model_id=model_id,
    )
    # This one's model is not known to the server: no reason to lose its figures.
    serving.publish(file, to=repository, model="other", mlflow_model_id="m-unknown")
    gateway = start_gateway(repository, tracked)
    for model in ("m", "other"):
        assert gateway.infer(model, {"inputs": [_x()]}).status == 200
    experiment = tracked["tracking.mlflow.experiment"]

    def shown() -> dict[str, float]:
        answer = mlflow.get(f"logged-models/{model_id}")
        metrics = answer["model"]["data"].get("metrics", [])
        return {metric["key"]: metric["value"] for metric in metrics}

    wait_until(lambda: "requests" in shown(), 60, "the model's page has figures", 0.5)
    wait_until(
        # Parameters come after the run that they belong to.
        lambda: sum("model" in _params(run) for run in mlflow.runs(experiment)) == 2,
        60,
        "both have a run",
        0.5,
    )
    assert {"request_rate", "total_ms/p99", "cost/fixed_ms"} <= shown().keys()
    runs = {_params(run)["model"]: run for run in mlflow.runs(experiment)}
    params, tags = _params(runs["m"]), _tags(runs["m"])
    assert params["git_commit"] == tags["mlflow.source.git.commit"] == "0123abc"
    assert params["training_run_id"] == tags["serving.training_run_id"] == "trainrun"
    assert params["model_id"] == model_id
    assert params["provider"] == "CPUExecutionProvider"
    assert int(params["threads"]) >= 1
    assert params["settings/tracking.window_s"] == "1.0"
    assert runs["m"]["info"]["run_name"].startswith("m v1 on serving@")
    other = runs["other"]
    assert _tags(other)["serving.model_id"] == "m-unknown"
    assert mlflow.history(other["info"]["run_id"], "requests")


def test_a_killed_server_is_not_felt_and_the_gap_is_filled(
    start_gateway: Any, repository: Path, mlflow: MlflowServer, tracked: dict[str, str]
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, tracked)
    experiment = tracked["tracking.mlflow.experiment"]
    with Load(gateway, "m", clients=1, limit_s=180) as load:
        wait_until(lambda: _points(mlflow, experiment, "requests"), 60, "windows arrive", 0.5)
        mlflow.kill()
        try:
            _goes_on(gateway, load)
        finally:
            mlflow.start()
    assert not load.failures
    assert load.refused == 0
    counted = int(gateway.metric("serving_request_total", model="m"))
    _all_arrived(gateway, mlflow, experiment, counted)
    _one_by_one(_points(mlflow, experiment, "requests"))
    target = _target(gateway)
    assert target["failures"] > 0
    assert target["dropped"] == 0
    assert (target["error"], target["last_error"][:9]) == ("", "no answer")
    assert gateway.metric("serving_tracking_failure_total", target="mlflow") == target["failures"]


def test_a_hanging_server_is_not_felt_and_a_restarted_gateway_fills_the_gap(
    start_gateway: Any,
    repository: Path,
    tmp_path: Path,
    mlflow: MlflowServer,
    tracked: dict[str, str],
) -> None:
    write(repository, "m", scale(1))
    settings = {**tracked, "tracking.mlflow.timeout_s": "0.5"}
    experiment = tracked["tracking.mlflow.experiment"]
    first = start_gateway(repository, {**settings, "state_dir": str(tmp_path / "state")})
    with Load(first, "m", clients=1, limit_s=180) as load:
        wait_until(lambda: _points(mlflow, experiment, "requests"), 60, "windows arrive", 0.5)
        mlflow.hang()
        try:
            _goes_on(first, load)
        finally:
            stopped = _ended(first, load)
    try:
        assert not load.failures
        counted = load.versions["1"]
        assert stopped == 0, "a gateway ends in time, whoever hangs"
        kept = list((tmp_path / "state").glob("registries/*/tracking/mlflow/*.json"))
        assert kept, "what could not be sent is in the state directory"
    finally:
        mlflow.go_on()
    second = start_gateway(repository, {**settings, "state_dir": str(tmp_path / "state")})
    _all_arrived(second, mlflow, experiment, counted)
    old = wait_until(
        lambda: [run for run in mlflow.runs(experiment) if run["info"]["status"] == "FINISHED"],
        30,
        "the run of the gateway that ended is finished",
        0.5,
    )
    assert len(old) == 1
    points = mlflow.history(old[0]["info"]["run_id"], "requests")
    _one_by_one([(int(point["step"]), point["value"]) for point in points])
    assert not list((tmp_path / "state" / "tracking" / "mlflow").glob("*.json"))


def _ended(gateway: Gateway, load: Load) -> int:
    """End the load first, so that every answer is counted, then the gateway: its exit code."""
    load.__exit__(None, None, None)
    return gateway.stop()


def _goes_on(gateway: Gateway, load: Load) -> None:
    """Windows wait to be sent, and requests do not."""
    wait_until(lambda: _target(gateway)["buffered"] >= 3, 60, "windows wait")
    answered = Counter(load.versions)
    wait_until(lambda: load.versions["1"] > answered["1"] + 200, 30, "requests are answered")
    assert not load.failures
    error = _target(gateway)["error"]
    assert error.startswith("no answer"), error


def test_runs_follow_each_other_by_age_and_by_version(
    start_gateway: Any, repository: Path, mlflow: MlflowServer, tracked: dict[str, str]
) -> None:
    first = write(repository, "m", scale(1))
    gateway = start_gateway(repository, {**tracked, "tracking.mlflow.run_age_s": "3"})
    experiment = tracked["tracking.mlflow.experiment"]
    assert gateway.infer("m", {"inputs": [_x()]}).status == 200

    def ended(version: str) -> list[dict[str, Any]]:
        return [
            run
            for run in mlflow.runs(experiment)
            if _params(run)["version"] == version and run["info"]["status"] == "FINISHED"
        ]

    wait_until(lambda: ended("1"), 60, "a run reached its age", 0.5)
    assert len(mlflow.runs(experiment)) > len(ended("1")), "another one goes on"
    _one_by_one(_points(mlflow, experiment, "requests"))
    write(repository, "m", scale(2), 2)
    shutil.rmtree(first)

    def has_a_run() -> bool:
        assert gateway.infer("m", {"inputs": [_x()]}).status == 200
        return any(_params(run)["version"] == "2" for run in mlflow.runs(experiment))

    wait_until(has_a_run, 60, "the new version has a run", 0.5)
    wait_until(
        lambda: all(
            run["info"]["status"] == "FINISHED"
            for run in mlflow.runs(experiment)
            if _params(run)["version"] == "1"
        ),
        60,
        "the runs of the version that went are finished",
        0.5,
    )
    gateway.finish()
    assert {run["info"]["status"] for run in mlflow.runs(experiment)} == {"FINISHED"}


def _x() -> dict[str, Any]:
    return {"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


def _params(run: dict[str, Any]) -> dict[str, str]:
    return {one["key"]: one["value"] for one in run["data"].get("params", [])} or {"version": ""}


def _tags(run: dict[str, Any]) -> dict[str, str]:
    return {one["key"]: one["value"] for one in run["data"].get("tags", [])}
