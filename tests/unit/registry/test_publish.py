"""Publishing: whole or not at all, whoever dies, and whoever else publishes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

import serving
from serving.errors import ConfigError
from serving.publishing import publish
from serving.registry import copying, placing, temporary
from serving.registry import publish as writing
from serving.registry.copying import PublishError
from serving.registry.directory import DirectorySource
from serving.registry.manifest import MANIFEST_NAME, Manifest, read_manifest, verify
from tests.clients.gateway import ROOT
from tests.external_models import DATA, KINDS, lay
from tests.small_models import scale

RUN = "0123456789abcdef"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    folder = tmp_path / "registry"
    folder.mkdir()
    return folder


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "trained.onnx"
    path.write_bytes(scale(2).SerializeToString())
    return path


def manifest_of(version: Path) -> Manifest:
    manifest = read_manifest(version)
    assert manifest is not None
    verify(version, manifest)
    return manifest


def hidden(registry: Path) -> list[str]:
    return [str(p) for p in registry.rglob("*") if p.name.startswith(".")]


def test_a_file_becomes_the_next_version_with_a_manifest(registry, model_file) -> None:
    for number in (1, 2):
        done = publish(model_file, registry, "m")
        assert (done.version, done.path) == (number, registry / "m" / str(number))
    manifest = manifest_of(registry / "m" / "2")
    assert (manifest.model, manifest.version) == ("m", 2)
    assert set(manifest.files) == {"model.onnx"}
    assert (registry / "m" / "2" / "model.onnx").read_bytes() == model_file.read_bytes()
    assert manifest.created.endswith("Z")
    assert hidden(registry) == []


@pytest.mark.parametrize(
    ("field", "words"), [("opset", "has opset 99 of ai.onnx"), ("ir", "has IR version 99")]
)
def test_what_this_onnxruntime_cannot_read_is_refused(registry, model_file, field, words) -> None:
    model = scale(2)
    if field == "ir":
        model.ir_version = 99
    else:
        model.opset_import[0].version = 99
    model_file.write_bytes(model.SerializeToString())
    with pytest.raises(PublishError, match=words):
        publish(model_file, registry, "m")
    assert list(registry.iterdir()) == []


def test_where_no_onnxruntime_is_installed_nothing_is_asked_of_it(
    registry, model_file, monkeypatch
) -> None:
    def absent() -> None:
        raise ConfigError("onnxruntime is not installed")

    monkeypatch.setattr("serving.execution.readable.ort", absent)
    assert publish(model_file, registry, "m").version == 1


def test_a_check_tries_the_version_with_its_samples(registry, model_file, tmp_path) -> None:
    np.savez(tmp_path / "inputs.npz", X=np.ones((1, 2), np.float32))
    done = publish(model_file, registry, "m", samples=[tmp_path / "inputs.npz"], check=True)
    assert done.measures is not None
    assert done.measures.seconds[1] > 0
    assert done.measures.batching.startswith("batched")
    np.savez(tmp_path / "inputs.npz", nobody=np.ones((1, 2), np.float32))
    with pytest.raises(PublishError, match="nobody"):
        publish(model_file, registry, "m", samples=[tmp_path / "inputs.npz"], check=True)
    assert [path.name for path in (registry / "m").iterdir()] == ["1"]


def test_what_is_known_of_its_making_is_in_the_manifest(registry, model_file, tmp_path) -> None:
    np.savez(tmp_path / "inputs.npz", X=np.ones((1, 2), np.float32))
    done = publish(
        model_file,
        registry,
        "m",
        version=7,
        metadata={"who": "trainer", "dataset": "digits é"},
        metrics={"accuracy": np.float32(0.5)},
        samples=[tmp_path / "inputs.npz"],
        git_commit="ABCDEF1234",
        mlflow_run_id=RUN,
        mlflow_model_id="m-1",
    )
    manifest = manifest_of(done.path)
    assert manifest.version == 7
    assert manifest.metadata == {"who": "trainer", "dataset": "digits é"}
    assert manifest.metrics == {"accuracy": 0.5}
    assert manifest.samples == ("samples/inputs.npz",)
    assert (manifest.git_commit, manifest.run_id, manifest.model_id) == ("abcdef1234", RUN, "m-1")


def test_an_evaluation_set_lies_in_the_versions_folder(registry, model_file, tmp_path) -> None:
    (tmp_path / "set.csv").write_text("X,y\n1,1\n")
    done = publish(model_file, registry, "m", evaluation=tmp_path / "set.csv")
    manifest = manifest_of(done.path)
    assert manifest.evaluation == "evaluation/set.csv"
    assert (done.path / manifest.evaluation).read_text() == "X,y\n1,1\n"
    assert manifest_of(publish(model_file, registry, "m").path).evaluation == ""
    (tmp_path / "set.txt").write_text("")
    for wrong, words in (("set.txt", "one of .npz"), ("none.csv", "is not a file")):
        with pytest.raises(PublishError, match=words):
            publish(model_file, registry, "m", evaluation=tmp_path / wrong)


def test_the_same_from_the_packages_top(registry, model_file) -> None:
    assert serving.publish(model_file, registry, "m").version == 1


def test_external_data_comes_along_with_a_model_file(registry, tmp_path) -> None:
    model = scale(3)
    onnx.save_model(
        model,
        tmp_path / "big.onnx",
        save_as_external_data=True,
        location="big.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    assert (tmp_path / "big.bin").exists()
    done = publish(tmp_path / "big.onnx", registry, "m")
    assert set(manifest_of(done.path).files) == {"model.onnx", "big.bin"}


@pytest.mark.parametrize("kind", KINDS)
def test_external_data_of_every_kind_comes_along(registry, tmp_path, kind) -> None:
    place = lay(tmp_path / "made", kind, "sub/w.bin")
    (place / "other.bin").write_bytes(b"not its own")
    done = publish(place / "model.onnx", registry, "m")
    assert set(manifest_of(done.path).files) == {"model.onnx", "sub/w.bin"}
    assert (done.path / "sub" / "w.bin").read_bytes() == DATA


@pytest.mark.parametrize("kind", ["initializer", "If in Loop", "sparse constant"])
def test_missing_external_data_is_named_with_what_lies_there(registry, tmp_path, kind) -> None:
    place = lay(tmp_path / "made", kind, "cnn.onnx.data", data=None)
    (place / "model.onnx.data").write_bytes(DATA)
    for source in (place, place / "model.onnx"):
        with pytest.raises(PublishError) as refused:
            publish(source, registry, "m")
        words = "it needs cnn.onnx.data beside model.onnx; there is model.onnx.data"
        assert str(refused.value) == words
    assert list(registry.iterdir()) == []


def mlflow_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(scale(2).SerializeToString())
    (folder / "MLmodel").write_text(
        f"artifact_path: model\nmodel_id: m-55\nrun_id: {RUN}\nflavors:\n  onnx:\n"
        "    data: model.onnx\n"
    )
    (folder / "input_example.json").write_text('{"inputs": {"X": [[1.0, 2.0]]}}')
    return folder


def test_outputs_that_no_request_can_get_are_said(registry, model_file) -> None:
    from onnxruntime.datasets import get_example

    (note,) = publish(get_example("logreg_iris.onnx"), registry, "iris").notes
    assert "output 'probabilities' is left out" in note
    assert "zipmap" in note
    assert publish(model_file, registry, "m").notes == ()


def test_a_folder_of_mlflow_is_published_as_it_is_with_its_ids(registry, tmp_path) -> None:
    folder = mlflow_folder(tmp_path)
    manifest = manifest_of(publish(folder, registry, "m").path)
    assert set(manifest.files) == {"model.onnx", "MLmodel", "input_example.json"}
    assert (manifest.run_id, manifest.model_id) == (RUN, "m-55")
    flagged = manifest_of(publish(folder, registry, "m", mlflow_run_id="mine").path)
    assert (flagged.run_id, flagged.model_id) == ("mine", "m-55")


@pytest.mark.parametrize(
    "text", ["run_id: [1, 2]", "- a", "a: [", "run_id: !!python/object/apply:os.getcwd []"]
)
def test_fault_65_an_odd_mlmodel_file_is_refused_and_runs_no_code(registry, tmp_path, text) -> None:
    folder = mlflow_folder(tmp_path)
    (folder / "MLmodel").write_text(text)
    with pytest.raises(PublishError, match="MLmodel"):
        publish(folder, registry, "m")


def test_a_published_version_can_be_published_elsewhere(registry, model_file) -> None:
    first = publish(model_file, registry, "staging")
    second = manifest_of(publish(first.path, registry, "m", version=9).path)
    assert (second.model, second.version, set(second.files)) == ("m", 9, {"model.onnx"})


def test_a_version_that_exists_is_refused_and_stays(registry, model_file, tmp_path) -> None:
    publish(model_file, registry, "m", version=3)
    before = (registry / "m" / "3" / MANIFEST_NAME).read_bytes()
    other = tmp_path / "other.onnx"
    other.write_bytes(scale(5).SerializeToString())
    with pytest.raises(PublishError, match="version 3 exists already"):
        publish(other, registry, "m", version=3)
    assert (registry / "m" / "3" / MANIFEST_NAME).read_bytes() == before
    (registry / "m" / "4").mkdir()  # somebody copies there by hand
    with pytest.raises(PublishError, match="version 4 exists already"):
        publish(other, registry, "m", version=4)
    assert list((registry / "m" / "4").iterdir()) == []
    assert publish(other, registry, "m").version == 5


def test_a_model_in_one_folder_goes_on_at_version_2(registry, model_file) -> None:
    (registry / "m").mkdir()
    (registry / "m" / "model.onnx").write_bytes(model_file.read_bytes())
    with pytest.raises(PublishError, match="version 1 exists already"):
        publish(model_file, registry, "m", version=1)
    assert publish(model_file, registry, "m").version == 2


def test_the_configured_file_name_is_used(registry, model_file) -> None:
    (registry / "m").mkdir()
    (registry / "m" / "config.pbtxt").write_text('default_model_filename: "net.onnx"\n')
    assert set(manifest_of(publish(model_file, registry, "m").path).files) == {"net.onnx"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "../m"}, "no model's name"),
        ({"model": ".m"}, "no model's name"),
        ({"model": ""}, "no model's name"),
        ({"model": "a\nb"}, "no model's name"),
        ({"version": 0}, "an integer from 1"),
        ({"version": 2**63}, "an integer from 1"),
        ({"git_commit": "main"}, "hexadecimal"),
        ({"metadata": {"": "x"}}, "key"),
        ({"metadata": {"a": "x" * 5000}}, "too long"),
        ({"metadata": {"a": "\ud800"}}, "cannot be written"),
        ({"metrics": {"a": float("nan")}}, "cannot be written"),
        ({"metrics": {"a": "many"}}, "a metric is a number"),
        ({"samples": ["model.txt"]}, "a sample is one of"),
        ({"samples": ["none.npz"]}, "is not a file"),
        ({"to": "gone"}, "does not exist"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(registry, model_file, arguments, words) -> None:
    chosen = {"source": model_file, "to": registry, "model": "m", **arguments}
    if "to" in arguments:
        chosen["to"] = registry / arguments["to"]
    with pytest.raises(PublishError, match=words):
        publish(**chosen)
    assert list(registry.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"hello", "corrupt"), (scale(2).SerializeToString()[:-9], "corrupt")],
)
def test_fault_1_what_is_no_model_is_refused_before_it_is_published(
    registry, tmp_path, data, words
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.onnx").write_bytes(data)
    for source in (tmp_path / "bad", tmp_path / "bad" / "model.onnx"):
        with pytest.raises(PublishError, match=words):
            publish(source, registry, "m")
    assert list(registry.iterdir()) == []


def test_a_folder_without_a_model_is_refused(registry, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PublishError, match=r"there is no model\.onnx"):
        publish(tmp_path / "empty", registry, "m")
    assert list(registry.iterdir()) == []


def test_fault_8_data_outside_the_models_folder_is_not_published(registry, tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "secret").write_bytes(b"0" * 64)
    model = scale(2)
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type = "w", onnx.TensorProto.FLOAT
    tensor.dims.append(16)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    location = tensor.external_data.add()
    location.key, location.value = "location", "../secret"
    (tmp_path / "deep" / "model.onnx").write_bytes(model.SerializeToString())
    for source in (tmp_path / "deep", tmp_path / "deep" / "model.onnx"):
        with pytest.raises(PublishError, match="outside"):
            publish(source, registry, "m")
    assert list(registry.iterdir()) == []


def test_a_model_of_its_own_layout_takes_no_models_in(registry, model_file) -> None:
    (registry / "00000001").mkdir()
    (registry / "00000001" / "model.onnx").write_bytes(b"x")
    with pytest.raises(PublishError, match="itself a model"):
        publish(model_file, registry, "m")


def test_a_source_that_changes_while_it_is_copied_is_refused(
    registry, model_file, monkeypatch
) -> None:
    monkeypatch.setattr(copying, "_CHUNK", 16)

    def grow(done: int, total: int) -> None:
        if done < total:
            with model_file.open("ab") as file:
                file.write(b"more")
            os.utime(model_file, ns=(done, done))

    with pytest.raises(PublishError, match="changed while it was copied"):
        publish(model_file, registry, "m", progress=grow)
    assert list(registry.iterdir()) == []


def test_fault_16_a_full_disk_is_said_and_nothing_is_left(
    registry, model_file, monkeypatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PublishError, match="the disk is full"):
        publish(model_file, registry, "m")
    assert list(registry.iterdir()) == []


def test_progress_ends_at_the_whole(registry, tmp_path) -> None:
    folder = mlflow_folder(tmp_path)
    seen: list[tuple[int, int]] = []
    publish(folder, registry, "m", progress=lambda done, total: seen.append((done, total)))
    total = sum(path.stat().st_size for path in folder.iterdir())
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# Others at the same time


@pytest.mark.parametrize("known", [True, False], ids=["a known model", "a new model"])
def test_publishers_at_once_all_succeed_with_versions_of_their_own(
    registry, model_file, known
) -> None:
    if known:
        publish(model_file, registry, "m")
    count = 8
    start = threading.Barrier(count)

    def one(number: int) -> int:
        start.wait()
        return publish(model_file, registry, "m", metadata={"n": str(number)}).version

    with ThreadPoolExecutor(count) as pool:
        versions = list(pool.map(one, range(count)))
    first = 2 if known else 1
    assert sorted(versions) == list(range(first, first + count))
    notes = {manifest_of(registry / "m" / str(v)).metadata["n"] for v in versions}
    assert len(notes) == count
    assert hidden(registry) == []


def test_a_lock_that_was_taken_for_a_dead_writers_is_given_up(tmp_path, monkeypatch) -> None:
    """Whoever cleans up comes between its making and its locking."""
    lock = temporary._lock
    taken: list[tuple[int, Path]] = []

    def late(file: int) -> bool | None:
        if not taken:
            (path,) = tmp_path.iterdir()
            cleaner = os.open(path, os.O_RDWR)
            assert lock(cleaner)
            taken.append((cleaner, path))
        return lock(file)

    monkeypatch.setattr(temporary, "_lock", late)
    with temporary.unfinished_folder(tmp_path) as folder:
        ((cleaner, path),) = taken
        path.unlink()
        os.close(cleaner)
        temporary.remove_dead(tmp_path)
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_of_two_with_one_number_one_fails(registry, model_file, monkeypatch) -> None:
    """The second comes between the first one's look and its rename."""
    rename = placing.rename_to_new

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(writing, "rename_to_new", rename)
        publish(model_file, registry, "m", version=5, metadata={"who": "second"})
        rename(source, target)

    monkeypatch.setattr(writing, "rename_to_new", late)
    with pytest.raises(PublishError, match="version 5 exists already"):
        publish(model_file, registry, "m", version=5, metadata={"who": "first"})
    assert manifest_of(registry / "m" / "5").metadata == {"who": "second"}
    assert hidden(registry) == []


@pytest.mark.parametrize("native", [True, False], ids=["in one step", "by the fallback"])
def test_nothing_is_renamed_over(tmp_path, monkeypatch, native) -> None:
    if not native:
        monkeypatch.setattr(placing, "_rename_noreplace", lambda *_: errno.EINVAL)
    for name in ("new", "empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("empty", "full", "dangling"):
        with pytest.raises(FileExistsError):
            placing.rename_to_new(tmp_path / "new", tmp_path / name)
    placing.rename_to_new(tmp_path / "new", tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "empty", "full", "other"]


def test_a_living_publishers_folder_is_left_alone_and_a_dead_ones_removed(
    registry, model_file
) -> None:
    publish(model_file, registry, "m")
    dead = registry / "m" / ".publishing-dead"
    (dead / "version").mkdir(parents=True)
    (dead / "version" / "model.onnx").write_bytes(b"x")
    (registry / "m" / ".publishing-dead.lock").touch()
    (registry / ".publishing-lost").mkdir()
    seen: list[int] = []

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            seen.append(publish(model_file, registry, "m").version)
            seen.append(len(hidden(registry)))

    assert publish(model_file, registry, "m", progress=meanwhile).version == 3
    assert seen[0] == 2
    assert seen[1] == 2  # the outer one's folder and its lock
    assert hidden(registry) == []


# Death at every step

KILLER = """
import json, os, signal, sys
from pathlib import Path
import serving.publishing
from serving.publishing import publish
from serving.registry.directory import DirectorySource
from serving.registry.manifest import read_manifest, verify

registry, model, known = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "known"
STEPS = {"open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.scandir", "os.listdir",
         "fcntl.flock", "ctypes.dlsym", "shutil.rmtree"}


def die_at(step):
    left = [step]

    def count():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event, arguments):
        if event in STEPS:
            count()

    sync = os.fsync
    def synced(file):
        count()
        sync(file)

    os.fsync = synced
    sys.addaudithook(heard)


def state():
    found = DirectorySource([registry], settle_s=0.0).scan()
    versions = {}
    for one in found.models:
        for version in one.versions:
            folder = version.origin.fetch().version
            manifest = read_manifest(folder)
            if manifest is not None:
                verify(folder, manifest)
            versions[version.number] = bool(version.whole and manifest)
    return {"versions": versions, "ignored": [str(i.path) for i in found.ignored]}


def names():
    return sorted(str(p.relative_to(registry)) for p in registry.rglob("*"))


step = 0
while True:
    step += 1
    base = registry
    registry = base / str(step)
    registry.mkdir()
    if known:
        publish(model, registry, "m")
    child = os.fork()
    if not child:
        die_at(step)
        publish(model, registry, "m")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    after = state()
    publish(model, registry, "m")
    print(json.dumps({"died": os.WIFSIGNALED(status), "after": after, "then": state(),
                      "names": names()}), flush=True)
    registry = base
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.parametrize("known", ["known", "new"])
def test_fault_32_death_at_any_step_of_publishing_leaves_a_whole_version_or_none(
    registry, model_file, known
) -> None:
    """And nothing that the next publish doesn't clean up."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(registry), str(model_file), known],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["died"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert len(steps) > 20
    before = 1 if known == "known" else 0
    results = set()
    for step in steps:
        after, then = step["after"]["versions"], step["then"]["versions"]
        assert all(after.values())
        assert len(after) in (before, before + 1)
        assert all(then.values())
        assert sorted(map(int, then)) == list(range(1, len(after) + 2))
        assert step["after"]["ignored"] == step["then"]["ignored"] == []
        assert not [name for name in step["names"] if "/." in f"/{name}"]
        results.add(len(after))
    assert results == {before, before + 1}


def test_a_scan_beside_a_publisher_sees_a_whole_version_or_none(registry, model_file) -> None:
    watching = DirectorySource([registry], settle_s=3600.0)
    watching.scan()
    states = []

    def look(done: int, total: int) -> None:
        states.append([(v.whole, v.manifest) for m in watching.scan().models for v in m.versions])

    publish(model_file, registry, "m", progress=look)
    look(0, 0)
    assert states[:-1] == [[]] * (len(states) - 1)
    assert states[-1] == [(True, True)]
