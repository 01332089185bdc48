"""What is written back to MLflow's registry, on a real gateway over a fake one: which version was
promoted, and what its gates say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import forked
from tests.clients.fake_mlflow import FakeMlflow, Trouble, serving_fake
from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import Load
from tests.clients.mlflow_registering import set_alias
from tests.e2e.test_mlflow_registry import answers, arguments, following, lay

BACK = "registry.mlflow.write_back"
WRITES = {f"{BACK}.alias": "champion", f"{BACK}.tags": "stage=production"}


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    yield from serving_fake()


def command(gateway: Gateway, *words: str) -> str:
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    done = forked.run(*words, environment=environment)
    assert done.returncode == 0, done
    return str(done.stdout)


def told(gateway: Gateway) -> dict[str, Any]:
    answer = gateway.get("/api/v1/tracking", port=gateway.admin_port).json()
    return dict(answer["write_back"])


def written(gateway: Gateway) -> bool:
    return told(gateway)["waiting"] == 0


def named(mlflow: FakeMlflow) -> Any:
    return mlflow.models["m"]["aliases"].get("champion")


def tags(mlflow: FakeMlflow, version: int) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in mlflow.versions["m"][version - 1]["tags"]}


def promote(gateway: Gateway, version: int) -> None:
    command(gateway, "rollout", "start", "m", str(version), "--steps", "100")
    answers(gateway, "m", version)


def test_the_alias_that_is_followed_goes_with_the_promotion_and_the_rollback(
    start_gateway: Any, repository: Path, tmp_path: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    set_alias(mlflow, "m", "champion", 1)
    state = {"state_dir": str(tmp_path / "state")}
    settings = following(mlflow, **WRITES, **state)
    gateway = start_gateway(repository, settings, arguments=arguments("m@champion"))
    answers(gateway, "m", 1)
    with Load(gateway, "m", clients=1) as load:
        promote(gateway, 2)
        wait_until(lambda: named(mlflow) == 2 and written(gateway), 20, "the alias is moved")
        assert tags(mlflow, 2) == {"stage": "production"}
        wait_until(lambda: load.versions["2"] > 3, 20, "version 2 answers")
        answers(gateway, "m", 2, by="champion")
        # The registry is down while it is taken back, and the gateway starts anew meanwhile.
        mlflow.trouble = Trouble(status=503)
        command(gateway, "models", "rollback", "m")
        answers(gateway, "m", 1)
        wait_until(lambda: told(gateway)["error"], 20, "it can't be written")
        shown = command(gateway, "track")
        assert "1 waiting; failing: answered status 503" in shown
        assert "m, version 2 taken back: is to be written" in shown
    assert not load.failures
    assert named(mlflow) == 2
    assert gateway.stop() == 0
    again = start_gateway(repository, settings, arguments=arguments("m@champion"))
    answers(again, "m", 1)
    assert named(mlflow) == 2
    mlflow.trouble = Trouble()
    wait_until(lambda: named(mlflow) == 1, 20, "the alias is set back")
    wait_until(lambda: written(again), 20, "all is written")
    assert tags(mlflow, 2) == {}
    answers(again, "m", 1)
    outcomes = [(one["what"], one["outcome"]) for one in again.events("write_back")]
    assert outcomes == [("alias", "written"), ("tags", "written")]
    name = "serving_write_back_total"
    assert again.metric(name, what="alias", outcome="written") == 1
    assert again.metric("serving_write_back_waiting") == 0
    # And it stays: what is written back is no news to who follows the alias.
    asked = mlflow.count("registered-models/alias")
    looks = mlflow.count("registered-models/get")
    wait_until(lambda: mlflow.count("registered-models/get") > looks + 3, 20, "more looks")
    assert mlflow.count("registered-models/alias") == asked


def test_weights_take_a_promotion_back_also_where_nothing_was_divided_before(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    set_alias(mlflow, "m", "champion", 1)
    gateway = start_gateway(repository, following(mlflow, **WRITES), arguments=arguments("m"))
    answers(gateway, "m", 2)
    command(gateway, "models", "load", "m", "1")
    command(gateway, "rollout", "start", "m", "2", "--base", "1", "--steps", "50,100")
    command(gateway, "rollout", "promote", "m")
    wait_until(lambda: named(mlflow) == 2 and written(gateway), 20, "the alias is moved")
    answers(gateway, "m", 2)
    command(gateway, "rollout", "weights", "m", "1=100")
    wait_until(lambda: named(mlflow) == 1 and written(gateway), 20, "the alias is set back")
    command(gateway, "rollout", "weights", "m", "--clear")
    wait_until(lambda: named(mlflow) == 2 and written(gateway), 20, "it is set once more")


def test_an_alias_that_somebody_moved_meanwhile_is_left_alone(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2, 3)
    set_alias(mlflow, "m", "champion", 1)
    settings = following(mlflow, **WRITES, **{"registry.mlflow.poll_s": "3600"})
    gateway = start_gateway(repository, settings, arguments=arguments("m/1"))
    answers(gateway, "m", 1)
    set_alias(mlflow, "m", "champion", 3)
    promote(gateway, 2)
    wait_until(lambda: written(gateway), 20, "all is written")
    assert named(mlflow) == 3
    words = "alias 'champion' names version 3 by now: somebody moved it, and it stays"
    assert [one["reason"] for one in gateway.events("write_back") if one["what"] == "alias"] == [
        words
    ]
    assert told(gateway)["promotions"] == [
        {"model": "m", "version": 2, "stands": True, "waits": False, "said": words}
    ]


def test_verdicts_are_written_where_the_version_comes_from(
    start_gateway: Any, repository: Path, mlflow: FakeMlflow
) -> None:
    lay(mlflow, "m", 1, 2)
    mlflow.versions["m"][1]["run_id"] = "run"
    mlflow.metrics["run"] = []
    gates = {"gates.safe_to_serve": "true", "gates.p99_factor": "0"}
    gateway = start_gateway(repository, following(mlflow, **gates), arguments=arguments("m"))
    wait_until(lambda: tags(mlflow, 2) == {"validation_status": "BLESSED"}, 30, "it is written")
    wait_until(lambda: written(gateway), 20, "all is written")
    assert {(one["key"], one["value"]) for one in mlflow.metrics["run"]} >= {("gates/blessed", 1.0)}
    assert told(gateway)["outcomes"]["verdict"]["written"] == 1
