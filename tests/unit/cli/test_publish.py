"""``serving publish`` and what ``serving check`` says of layouts and manifests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.cli.examine import examine
from serving.loading.batching.analysis import Analysis
from serving.loading.trial.findings import Findings
from serving.registry.manifest import read_manifest
from serving.settings import Settings
from serving.settings.sections import LoadingSettings
from tests.clients import forked
from tests.small_models import identity, scale, write


def serving(*arguments: object) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, environment={"NO_COLOR": "1"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "trained.onnx"
    path.write_bytes(scale(2).SerializeToString())
    return path


@pytest.mark.parametrize("load", [True, False])
def test_a_bare_file_is_examined_where_it_lies(model: Path, load: bool) -> None:
    settings = Settings(state_dir=None, loading=LoadingSettings(trial="off"))
    report = examine(settings, [model], load=load)
    assert report["problems"] == []
    (found,) = report["models"]
    assert (found["name"], found["path"]) == ("trained", str(model))
    (version,) = found["versions"]
    assert version["state"] == ("ready" if load else "found")
    assert version.get("signature", "") == ("X FP32[-1,2] -> Y FP32[-1,2]" if load else "")
    assert list(model.parent.glob("*.onnx")) == [model]


def test_a_bare_file_that_would_not_load_is_a_problem(model: Path) -> None:
    model.write_bytes(b"nothing")
    settings = Settings(state_dir=None, loading=LoadingSettings(trial="off"))
    (problem,) = examine(settings, [model], load=True)["problems"]
    assert problem.startswith("trained 1: the model file is corrupt or truncated")


def test_every_option_reaches_the_manifest(repository: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text('{"X": [[1.0, 2.0]]}')
    done = serving(
        *("publish", model, "--to", repository, "--model", "m", "--version", "1700000000"),
        *("--metadata", "a=1", "--metadata", "b=x=y", "--metric", "accuracy=0.5"),
        *("--sample", tmp_path / "sample.json", "--git-commit", "abcdef1"),
        *("--mlflow-run-id", "run", "--mlflow-model-id", "m-1"),
    )
    assert done.returncode == 0, done.stderr
    path = repository / "m" / "1700000000"
    assert done.stdout == f"published m 1700000000: {path}\n"
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.metadata == {"a": "1", "b": "x=y"}
    assert manifest.metrics == {"accuracy": 0.5}
    assert manifest.samples == ("samples/sample.json",)
    assert (manifest.git_commit, manifest.run_id, manifest.model_id) == ("abcdef1", "run", "m-1")


@pytest.mark.slow
def test_a_signature_that_breaks_callers_of_the_version_below_is_said(
    repository: Path, model: Path, tmp_path: Path
) -> None:
    publish = ("publish", model, "--to", repository, "--model", "m")
    for number in (1, 2):
        done = serving(*publish)
        assert done.stdout == f"published m {number}: {repository / 'm' / str(number)}\n"
    model.write_bytes(identity("INT64").SerializeToString())
    done = serving(*publish)
    assert "input 'X' is INT64, was FP32, output 'Y' is INT64, was FP32" in done.stdout
    assert "its signature is not that of version 2: " in done.stdout
    assert "a gateway where version 2, or another with that signature, answers" in done.stdout
    assert "unless rollout.hold_signature_changes is off, until: serving models accept m 3" in (
        done.stdout
    )
    assert json.loads(serving(*publish, "--json").stdout)["differs"] == []
    model.write_bytes(scale(2).SerializeToString())
    assert json.loads(serving(*publish, "--json").stdout)["differs"][0] == (
        "input 'X' is FP32, was INT64"
    )


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--version", "007"], 2, "a version is a positive integer without leading zeros"),
        (["--metadata", "novalue"], 2, "expected KEY=VALUE"),
        (["--metadata", "a=1", "--metadata", "a=2"], 2, "each key once"),
        (["--metric", "a=high"], 2, "'a' is no number"),
        (["--git-commit", "main"], 1, "hexadecimal"),
        (["--model", "../m"], 1, "no model's name"),
        (["--version", "1"], 1, "version 1 exists already"),
    ],
)
def test_what_is_wrong_is_one_line(
    repository: Path, model: Path, flags: list[str], code: int, words: str
) -> None:
    write(repository, "m", scale(1))
    done = serving("publish", model, "--to", repository, "--model", "m", *flags)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith("serving: ")
    assert words in line
    assert [p.name for p in (repository / "m").iterdir()] == ["1"]


@pytest.mark.slow
def test_check_tells_the_layouts_the_origin_and_wrong_checksums(
    repository: Path, model: Path
) -> None:
    assert serving("publish", model, "--to", repository, "--model", "m").returncode == 0
    flags = ("--git-commit", "abcdef1", "--metric", "accuracy=0.5")
    assert serving("publish", model, "--to", repository, "--model", "m", *flags).returncode == 0
    (repository / "flat").mkdir()
    (repository / "flat" / "model.onnx").write_bytes(model.read_bytes())
    good = serving("check", "--no-load", repository)
    assert good.returncode == 0, good.stdout
    assert "layout: <model>/<version>/" in good.stdout
    assert "layout: model.onnx in the model's own folder: version 1" in good.stdout
    assert "checksums right, git_commit abcdef1, accuracy=0.5" in good.stdout

    with (repository / "m" / "2" / "model.onnx").open("r+b") as file:
        file.write(b"\xff")
    bad = serving("check", "--no-load", repository, "--json")
    assert bad.returncode == 1
    (problem,) = json.loads(bad.stdout)["problems"]
    assert problem.startswith("m 2: model.onnx is corrupt")


def test_check_shows_which_manifest_was_copied_elsewhere(repository: Path, model: Path) -> None:
    serving("publish", model, "--to", repository, "--model", "m", "--version", "4")
    (repository / "m" / "4").rename(repository / "m" / "5")
    assert "published as m 4" in serving("check", "--no-load", repository).stdout


def test_an_output_that_no_request_can_get_is_said_when_it_is_published(repository: Path) -> None:
    from onnxruntime.datasets import get_example

    arguments = ("publish", get_example("logreg_iris.onnx"), "--to", repository, "--model", "iris")
    done = serving(*arguments)
    assert done.stdout.startswith("note: output 'probabilities' is left out")
    assert "zipmap" in done.stdout
    (note,) = json.loads(serving(*arguments, "--json").stdout)["notes"]
    assert "seq(map(int64,tensor(float)))" in note


@pytest.mark.slow
def test_check_lists_folders_that_are_no_models_and_finds_no_fault_with_them(
    repository: Path,
) -> None:
    write(repository, "m", scale(1))
    for name in ("lost+found", "logs"):
        (repository / name).mkdir()
    done = serving("check", "--no-load", repository)
    assert done.returncode == 0, done.stdout
    assert f"{repository / 'logs'}: it is empty" in done.stdout
    write(repository, "wrong", scale(1), "v1")
    done = serving("check", "--no-load", repository, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == [
        "wrong: 'v1' is no version's name: rename it to 1"
    ]


def test_what_a_trial_measured_is_said(
    repository: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial itself: ``test_publish``."""
    found = Findings(
        Analysis("proven"), seconds={8: 1e-4, 1: 2e-5}, memory_bytes=1_500_000, notes=("n",)
    )
    monkeypatch.setattr("serving.loading.trial.alone.tried_alone", lambda *_, **__: found)
    command = ["publish", str(model), "--to", str(repository), "--model", "m", "--check"]
    lines = CliRunner().invoke(app, command).output.splitlines()
    assert "note: n" in lines
    assert (
        "measured here: a run takes 0.02 ms (1 row), 0.1 ms (8 rows); 1.5 MB of memory;"
        " batched, up to 64 rows: proven"
    ) in lines
    measures = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)["measures"]
    assert measures["seconds"] == {"1": 2e-5, "8": 1e-4}
    assert json.loads(CliRunner().invoke(app, [*command[:-1], "--json"]).output)["measures"] is None
