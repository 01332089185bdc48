"""Versions come and go under load, and no request fails."""

from __future__ import annotations

import shutil
import time

import numpy as np

from tests.clients import oip
from tests.clients.gateway import wait_until
from tests.clients.load import Load
from tests.small_models import scale, tiny, write

LATEST_TWO = "version_policy { latest { num_versions: 2 } }\n"


def test_a_new_version_serves_within_5_s_of_being_whole(start_gateway, repository) -> None:
    write(repository, "m", scale(1), 1)
    settings = {"registry.settle_s": "3.0", "registry.scan_interval_s": "1.0"}
    gateway = start_gateway(repository, settings)
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["1"] > 20, 10, "version 1 answers")
        whole = time.monotonic()
        write(repository, "m", scale(2), 2)
        wait_until(lambda: load.versions["2"] > 0, 10, "version 2 answers")
        took = time.monotonic() - whole
        wait_until(lambda: load.versions["2"] > 20, 10, "version 2 goes on answering")
    assert took < 5
    assert not load.failures
    assert not load.refused


def test_a_version_still_being_copied_is_not_served(start_gateway, repository) -> None:
    """Fault 3: it counts once nothing changed for the settle time."""
    write(repository, "m", scale(1), 1)
    gateway = start_gateway(repository, {"registry.settle_s": "1.5"})
    data = scale(2).SerializeToString()
    (repository / "m" / "2").mkdir()
    with (repository / "m" / "2" / "model.onnx").open("wb") as file:
        for part in range(6):
            file.write(data[part * len(data) // 6 : (part + 1) * len(data) // 6])
            file.flush()
            time.sleep(0.4)
            assert gateway.index().get(("m", "2"), {}).get("state") != "READY"
            assert "2" not in gateway.get("/v2/models/m").json()["versions"]
    wait_until(lambda: gateway.get("/v2/models/m/versions/2/ready").status == 200, 8, "2 is ready")
    gateway.assert_clean_log()


def test_a_removed_version_leaves_without_a_failed_request(start_gateway, repository) -> None:
    for version in (1, 2):
        write(repository, "m", scale(version), version, LATEST_TWO)
    gateway = start_gateway(repository)
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["2"] > 50, 10, "version 2 answers")
        shutil.rmtree(repository / "m" / "2")
        wait_until(lambda: load.versions["1"] > 50, 10, "version 1 answers")
    assert not load.failures
    assert not load.refused
    assert gateway.get("/v2/models/m").json()["versions"] == ["1"]
    gone = gateway.infer("m", {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}, 2)
    assert gone.status == 404


def test_a_models_last_version_stays_when_its_files_vanish(start_gateway, repository) -> None:
    """Faults 5 and 6: a scan may take a version away, never a model's last one."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    with Load(gateway, "m", clients=1) as load:
        shutil.rmtree(repository / "m")
        time.sleep(1.5)
        assert gateway.ready()
    assert not load.failures
    assert load.versions["1"] > 10


def test_fault_2_a_broken_version_is_reported_and_the_old_one_stays(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    with Load(gateway, "m") as load:
        write(repository, "m", b"\x08\x07rubbish" * 20, 2)
        entry = wait_until(
            lambda: (e := gateway.index().get(("m", "2"), {})).get("state") == "UNAVAILABLE" and e,
            10,
            "version 2 is reported",
        )
        time.sleep(0.3)
    assert entry["reason"]
    assert str(repository) not in entry["reason"]
    assert not load.failures
    assert set(load.versions) == {"1"}
    body = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
    assert gateway.infer("m", body, 2).status == 503
    assert gateway.ready()


def test_a_new_model_appears_and_a_wrong_name_is_only_logged(start_gateway, repository) -> None:
    """Fault 7: leading zeros, letters and dots are no versions."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    for wrong in ("007", "v2", ".hidden", "0", "-1"):
        write(repository, "late", scale(9), wrong)
    write(repository, "late", tiny(), 3)
    wait_until(lambda: gateway.get("/v2/models/late/ready").status == 200, 10, "it is ready")
    assert gateway.get("/v2/models/late").json()["versions"] == ["3"]


def test_a_changed_configuration_swaps_in_like_a_new_version(start_gateway, repository) -> None:
    write(repository, "m", scale(1), config="max_batch_size: 4\ndynamic_batching {}\n")
    gateway = start_gateway(repository)
    assert gateway.get("/v2/models/m/config").json()["max_batch_size"] == 4
    with Load(gateway, "m") as load:
        (repository / "m" / "config.pbtxt").write_text("max_batch_size: 16\ndynamic_batching {}\n")
        wait_until(
            lambda: gateway.get("/v2/models/m/config").json()["max_batch_size"] == 16,
            10,
            "the new configuration counts",
        )
    assert not load.failures


def test_one_models_bad_configuration_is_its_own(start_gateway, repository) -> None:
    """Unknown keys are errors that suggest the nearest key; both files at once is an error."""
    write(repository, "good", scale(1))
    write(repository, "typo", scale(1), config="max_batch_sise: 4\n")
    write(repository, "both", scale(1), config="max_batch_size: 4\n", yaml="max_batch_size: 4\n")
    write(repository, "sequence", scale(1), config="sequence_batching {}\n")
    gateway = start_gateway(repository)
    index = {name: entry for (name, _), entry in gateway.index().items()}
    assert index["good"]["state"] == "READY"
    for name, words in [
        ("typo", ["max_batch_sise", "max_batch_size"]),
        ("both", ["config.pbtxt", "model.yaml"]),
        ("sequence", ["sequence_batching", "not supported"]),
    ]:
        assert index[name]["state"] == "UNAVAILABLE"
        for word in words:
            assert word in index[name]["reason"], index[name]
        body = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
        answer = gateway.infer(name, body)
        assert answer.status == 503
        assert answer.headers["retry-after"]


def test_version_policy_specific_and_latest(start_gateway, repository) -> None:
    for version in (1, 2, 3):
        write(repository, "latest", scale(version), version, LATEST_TWO)
        write(
            repository,
            "chosen",
            scale(version),
            version,
            "version_policy { specific { versions: [1, 3] } }\n",
        )
        write(repository, "default", scale(version), version)
    gateway = start_gateway(repository)
    versions = {
        name: gateway.get(f"/v2/models/{name}").json()["versions"]
        for name in ("latest", "chosen", "default")
    }
    assert sorted(versions["latest"]) == ["2", "3"]
    assert sorted(versions["chosen"]) == ["1", "3"]
    assert "3" in versions["default"]


def test_folders_of_others_do_not_stand_in_the_way_of_strict_readiness(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    for name in ("lost+found", "@eaDir", ".git", "logs/2026/11"):
        (repository / name).mkdir(parents=True)
    (repository / "logs" / "2026" / "11" / "app.log").write_text("hello")
    gateway = start_gateway(repository, {"readiness": "strict"})
    assert gateway.ready()
    assert set(gateway.index()) == {("m", "1")}
    assert gateway.log().count("registry_folders_passed_over") == 1


def test_a_model_laid_one_level_too_low_says_so_in_the_index(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    write(repository / "group", "resnet", scale(1))
    (repository / "iris").mkdir()
    (repository / "iris" / "iris.onnx").write_bytes(scale(1).SerializeToString())
    gateway = start_gateway(repository)
    reasons = {name: entry.get("reason", "") for (name, _), entry in gateway.index().items()}
    assert "move 'resnet' up, beside 'group'" in reasons["group"]
    assert "move it to 1/model.onnx" in reasons["iris"]
    (repository / "iris" / "1").mkdir()
    (repository / "iris" / "iris.onnx").rename(repository / "iris" / "1" / "model.onnx")
    wait_until(lambda: gateway.get("/v2/models/iris/ready").status == 200, 10, "iris is ready")
