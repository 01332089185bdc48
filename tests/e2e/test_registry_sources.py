"""Versions from every layout, published, copied slowly, swapped by links, and broken on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import serving
from tests.clients.gateway import ROOT, wait_until
from tests.clients.load import BODY, Load
from tests.small_models import scale, write

PUBLISH = (sys.executable, "-m", "serving", "publish")
# So long that only a manifest can make a version whole, and only a watch can find it.
NEVER = {"registry.settle_s": "3600", "registry.scan_interval_s": "3600"}


def model_file(folder: Path, factor: float) -> Path:
    path = folder / f"scale{factor}.onnx"
    path.write_bytes(scale(factor).SerializeToString())
    return path


def answers(gateway, model: str, version: int) -> None:
    path = f"/v2/models/{model}/versions/{version}/ready"
    wait_until(lambda: gateway.get(path).status == 200, 10, f"{model} {version} is ready")
    answer = gateway.get(f"/v2/models/{model}/infer", BODY, "POST").json()
    assert answer["model_version"] == str(version)
    assert answer["outputs"][0]["data"] == [version * 1.0, version * 2.0]


def state(gateway, model: str, version: int) -> str:
    return gateway.index().get((model, str(version)), {}).get("state", "")


def test_tensorflow_servings_layout_names_the_model_after_its_directory(
    start_gateway, repository
) -> None:
    for name in ("1", "00000002", "v3"):
        (repository / name).mkdir()
    (repository / "1" / "model.onnx").write_bytes(scale(1).SerializeToString())
    (repository / "00000002" / "model.onnx").write_bytes(scale(2).SerializeToString())
    (repository / "config.pbtxt").write_text("version_policy { all {} }\nmax_batch_size: 4\n")
    gateway = start_gateway(repository)
    answers(gateway, "repository", 2)
    served = gateway.get("/v2/models/repository").json()["versions"]
    assert sorted(served) == ["1", "2"]
    assert gateway.get("/v2/models/repository/config").json()["max_batch_size"] == 4
    assert gateway.log().count("a version is a positive integer") == 1
    (repository / "00000010").mkdir()
    (repository / "00000010" / "model.onnx").write_bytes(scale(10).SerializeToString())
    answers(gateway, "repository", 10)


def test_a_bare_file_serves_beside_a_directory_and_takes_what_changed_when_told(
    start_gateway, tmp_path, repository
) -> None:
    write(repository, "other", scale(1))
    file = tmp_path / "bare.onnx"
    file.write_bytes(scale(1).SerializeToString())
    gateway = start_gateway(file, {"model_control": "both"}, arguments=(str(repository),))
    answers(gateway, "bare", 1)
    answers(gateway, "other", 1)
    file.write_bytes(scale(3).SerializeToString())
    assert gateway.post("/v2/repository/models/bare/load", {}).status == 200
    answer = gateway.get("/v2/models/bare/infer", BODY, "POST").json()
    assert (answer["model_version"], answer["outputs"][0]["data"]) == ("1", [3.0, 6.0])
    file.unlink()
    wait_until(lambda: "does not exist" in gateway.log(), 20, "it is missed")
    assert gateway.get("/v2/models/bare/infer", BODY, "POST").status == 200
    assert gateway.get("/v2/models/barre/infer", BODY, "POST").status == 404


def test_a_model_in_one_folder_serves_as_version_1_until_a_version_folder_comes(
    start_gateway, repository, tmp_path
) -> None:
    (repository / "m").mkdir()
    (repository / "m" / "model.onnx").write_bytes(scale(1).SerializeToString())
    (repository / "m" / "config.pbtxt").write_text("max_batch_size: 4\n")
    gateway = start_gateway(repository)
    answers(gateway, "m", 1)
    assert gateway.get("/v2/models/m/config").json()["max_batch_size"] == 4
    with Load(gateway, "m", clients=1) as load:
        assert serving.publish(model_file(tmp_path, 2), repository, "m").version == 2
        wait_until(lambda: load.versions["2"] > 10, 10, "version 2 answers")
    assert not load.failures


def test_a_model_in_two_directories_is_its_own_error_and_goes_on_serving(
    start_gateway, repository, tmp_path
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    write(repository, "m", scale(1))
    write(second, "other", scale(1))
    gateway = start_gateway(repository, arguments=(str(second),))
    with Load(gateway, "m", clients=1) as load:
        write(second, "m", scale(7), 7)
        words = "more than one model directory"
        wait_until(lambda: words in gateway.log(), 10, "the log says so")
        write(second, "other", scale(2), 2)
        answers(gateway, "other", 2)
        assert gateway.ready()
        shutil.rmtree(second / "m")
        write(repository, "m", scale(3), 3)
        wait_until(lambda: load.versions["3"] > 10, 10, "the model goes on")
    assert not load.failures
    assert "7" not in load.versions


@pytest.mark.slow
def test_published_while_serving_it_answers_at_once_by_its_manifest_and_the_watch(
    start_gateway, repository, tmp_path
) -> None:
    """No settle time and no scan is waited for: both are an hour."""
    serving.publish(model_file(tmp_path, 1), repository, "m")
    gateway = start_gateway(repository, NEVER)
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["1"] > 20, 10, "version 1 answers")
        done = subprocess.run(
            [*PUBLISH, model_file(tmp_path, 2), "--to", repository, "--model", "m", "--json"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["version"] == 2
        published = time.monotonic()
        wait_until(lambda: load.versions["2"] > 0, 10, "version 2 answers")
        assert time.monotonic() - published < 5
        serving.publish(model_file(tmp_path, 3), repository, "fresh", version=3)
        answers(gateway, "fresh", 3)
    assert not load.failures
    assert not load.refused


def test_without_the_watch_only_the_scan_finds_a_version(
    start_gateway, repository, tmp_path
) -> None:
    """Fault 75: the setting changes what happens."""
    serving.publish(model_file(tmp_path, 1), repository, "m")
    gateway = start_gateway(repository, {**NEVER, "registry.watch": "false"})
    watching = start_gateway(repository, NEVER)
    serving.publish(model_file(tmp_path, 2), repository, "m")
    answers(watching, "m", 2)
    assert state(gateway, "m", 2) == ""
    answers(gateway, "m", 1)


def test_fault_3_a_slow_copy_under_the_watch_is_never_served_in_part(
    start_gateway, repository, tmp_path
) -> None:
    """As ``cp -r`` does it: file after file, each growing. Pauses outlast the settle time only
    where a manifest guards them."""
    staging = tmp_path / "staging"
    staging.mkdir()
    serving.publish(model_file(tmp_path, 1), repository, "m")
    source = serving.publish(model_file(tmp_path, 2), staging, "m", version=2).path
    gateway = start_gateway(repository)
    target = repository / "m" / "2"
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["1"] > 20, 10, "version 1 answers")
        target.mkdir()
        shutil.copy(source / "serving_manifest.json", target)
        data = (source / "model.onnx").read_bytes()
        with (target / "model.onnx").open("wb") as file:
            for part in range(4):
                assert state(gateway, "m", 2) != "READY"
                time.sleep(0.5)
                file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
                file.flush()
        wait_until(lambda: load.versions["2"] > 20, 10, "version 2 answers")
    assert not load.failures
    events = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    assert not [event for event in events if "failed" in event.get("event", "")]


def test_fault_3_a_copier_that_writes_its_marker_last_ends_well(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"registry.settle_s": "0.5"})
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["1"] > 20, 10, "version 1 answers")
        (repository / "m" / "2").mkdir()
        (repository / "m" / "2" / "labels.txt").write_text("a\n")
        time.sleep(0.3)
        (repository / "m" / "2" / "model.onnx").write_bytes(scale(2).SerializeToString())
        time.sleep(0.3)
        (repository / "m" / "2" / "_SUCCESS").touch()
        wait_until(lambda: load.versions["2"] > 20, 10, "version 2 answers")
    assert not load.failures


def test_fault_2_a_version_whose_checksum_is_wrong_fails_and_the_old_one_stays(
    start_gateway, repository, tmp_path
) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    serving.publish(model_file(tmp_path, 1), repository, "m")
    gateway = start_gateway(repository)
    broken = serving.publish(model_file(tmp_path, 2), staging, "m", version=2).path
    with (broken / "model.onnx").open("r+b") as file:
        file.seek(30)
        byte = file.read(1)
        file.seek(30)
        file.write(bytes([byte[0] ^ 1]))
    with Load(gateway, "m") as load:
        broken.rename(repository / "m" / "2")
        wait_until(lambda: state(gateway, "m", 2) == "UNAVAILABLE", 10, "version 2 fails")
    reason = gateway.index()["m", "2"]["reason"]
    assert "SHA-256" in reason
    assert str(repository) not in reason
    assert not load.failures
    assert set(load.versions) == {"1"}
    assert gateway.ready()


def test_fault_11_a_swapped_volume_link_is_one_swap_of_versions(start_gateway, repository) -> None:
    """As Kubernetes mounts a ConfigMap: every name leads through the link ``..data``."""
    for number in (1, 2):
        folder = repository / f"..{number}" / "m" / str(number)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(scale(number).SerializeToString())
    (repository / "..data").symlink_to("..1")
    (repository / "m").symlink_to("..data/m")
    gateway = start_gateway(repository, {"registry.follow_symlinks": "true"})
    with Load(gateway, "m") as load:
        wait_until(lambda: load.versions["1"] > 20, 10, "version 1 answers")
        (repository / "..next").symlink_to("..2")
        (repository / "..next").rename(repository / "..data")
        shutil.rmtree(repository / "..1")
        wait_until(lambda: load.versions["2"] > 20, 10, "version 2 answers")
    assert not load.failures
    assert gateway.get("/v2/models/m").json()["versions"] == ["2"]
    assert "registry_entry_ignored" not in gateway.log()


def test_fault_11_without_the_setting_links_are_named_and_left_alone(
    start_gateway, repository, tmp_path
) -> None:
    write(repository, "m", scale(1))
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository / "linked").symlink_to(write(outside, "linked", scale(1)).parent)
    (repository / "m" / "2").symlink_to(outside / "linked" / "1")
    gateway = start_gateway(repository)
    answers(gateway, "m", 1)
    assert gateway.get("/v2/models/linked").status == 404
    assert gateway.log().count("registry.follow_symlinks is off") == 2


def test_fault_32_a_publisher_killed_beside_a_gateway_shows_nothing_of_its_version(
    start_gateway, repository, tmp_path
) -> None:
    serving.publish(model_file(tmp_path, 1), repository, "m")
    gateway = start_gateway(repository)
    killer = (
        "import os, signal, sys, serving\n"
        "def die(done, total): os.kill(os.getpid(), signal.SIGKILL)\n"
        "serving.publish(sys.argv[1], sys.argv[2], 'm', progress=die)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", killer, model_file(tmp_path, 2), repository],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -9
    assert [p.name for p in (repository / "m").iterdir() if p.name.startswith(".")]
    answers(gateway, "m", 1)
    assert serving.publish(model_file(tmp_path, 2), repository, "m").version == 2
    answers(gateway, "m", 2)
    assert sorted(p.name for p in (repository / "m").iterdir()) == ["1", "2"]
    assert "registry_entry_ignored" not in gateway.log()


def test_fault_17_a_directory_that_cannot_be_read_takes_nothing_away_and_comes_back(
    start_gateway, repository, tmp_path
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    with Load(gateway, "m", clients=1) as load:
        wait_until(lambda: load.versions["1"] > 5, 10, "version 1 answers")
        away = repository.rename(tmp_path / "away")
        wait_until(lambda: "registry_unreadable" in gateway.log(), 10, "the log says so")
        assert gateway.ready()
        write(away, "m", scale(2), 2)
        away.rename(repository)
        wait_until(lambda: load.versions["2"] > 5, 20, "version 2 answers")
    assert not load.failures


def test_fault_17_a_directory_that_is_not_there_at_the_start_is_found_when_it_comes(
    start_gateway, repository, tmp_path
) -> None:
    write(repository, "m", scale(1))
    late = tmp_path / "late"
    late.mkdir()
    gateway = start_gateway(repository, arguments=(str(late),))
    late.rmdir()
    write(tmp_path / "made", "n", scale(2), 2)
    (tmp_path / "made").rename(late)
    answers(gateway, "n", 2)
