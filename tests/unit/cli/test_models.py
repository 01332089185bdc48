"""``serving models ...`` as real processes, against an admin port whose manager obeys."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from serving.cli.status import default_words, status_lines
from serving.control.admin import Admin
from serving.errors import ErrorCode
from serving.models.commands.command import (
    AcceptVersion,
    LoadModel,
    Outcome,
    Rollback,
    SetAlias,
    SetDefault,
    UnloadModel,
)
from tests import small_models
from tests.clients import forked
from tests.unit.control_fakes import Commander, admin_port

ROOT = Path(__file__).resolve().parents[3]
DONE = Outcome(version=2)


def serving(
    *arguments: object, url: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    named = {"SERVING_ADMIN_URL": url} if url else {}
    return forked.run("models", *arguments, environment={**named, **environment})


def url(admin: Admin) -> str:
    return f"http://127.0.0.1:{admin.address[1]}"


def test_each_command_is_given_and_waited_for() -> None:
    commander = Commander(DONE)
    with admin_port(commander) as admin:
        for arguments in (
            ("load", "m"),
            ("load", "m", 3),
            ("unload", "m"),
            ("unload", "m", 3),
            ("default", "m", 1),
            ("default", "m", "auto"),
            ("accept", "m", 2),
            ("label", "m", "stable", 2),
            ("unlabel", "m", "stable"),
            ("rollback", "m"),
        ):
            done = serving(*arguments, url=url(admin))
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == "m: done; version 2 answers unnamed requests\n"
    assert commander.commands == [
        LoadModel("m"),
        LoadModel("m", 3),
        UnloadModel("m"),
        UnloadModel("m", 3),
        SetDefault("m", 1),
        SetDefault("m"),
        AcceptVersion("m", 2),
        SetAlias("m", "stable", 2),
        SetAlias("m", "stable"),
        Rollback("m"),
    ]


def test_exit_statuses_tell_done_from_failed_and_under_way() -> None:
    with admin_port(Commander(Outcome(ErrorCode.BAD_REQUEST, "version 3 is broken"))) as admin:
        failed = serving("load", "m", 3, url=url(admin))
        assert (failed.returncode, failed.stderr) == (1, "serving: version 3 is broken\n")
    with admin_port(Commander(None)) as admin:
        late = serving("load", "m", "--timeout", "0.1", url=url(admin))
        assert (late.returncode, late.stderr) == (3, "")
        assert "under way" in late.stdout
        asked = serving("load", "m", "--no-wait", "--json", url=url(admin))
        assert asked.returncode == 0
        assert json.loads(asked.stdout)["done"] is False


def test_the_exit_status_of_what_is_mistyped_is_2() -> None:
    for mistyped in (
        ("load",),
        ("load", "m", "x"),
        ("load", "m", "0"),
        ("load", "m", "auto"),
        ("default", "m"),
        ("default", "m", "newest"),
        ("label", "m", "stable"),
        ("label", "m", "stable", "auto"),
        ("load", "m", "--timeout", "0"),
        ("--json", "status", "m"),
    ):
        assert serving(*mistyped).returncode == 2, mistyped
    assert serving("status", "m", url="http://127.0.0.1:1").returncode == 1
    assert serving("status", "m", url="ftp://127.0.0.1").returncode == 2


def test_the_token_comes_from_a_file_never_from_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("sesame\n")
    file.chmod(0o600)
    with admin_port(Commander(DONE), admin_token_file=file) as admin:
        without = serving("load", "m", url=url(admin))
        assert without.returncode == 1
        assert "--token-file" in without.stderr
        listed = serving(url=url(admin)).stderr
        assert "every call below /api/v1 needs the token, a list of models too" in listed
        wrong = tmp_path / "wrong"
        wrong.write_text("open\n")
        refused = serving("--token-file", wrong, url=url(admin)).stderr
        assert f"the token is not the right one (it came from {wrong})" in refused
        assert serving("load", "m", "--token-file", file, url=url(admin)).returncode == 0
        named = {"SERVING_ADMIN_TOKEN_FILE": str(file)}
        for arguments in ((), ("status", "m"), ("history", "m"), ("rollback", "m")):
            done = serving(*arguments, url=url(admin), **named)
            assert done.returncode == 0, done.stderr
            assert "sesame" not in done.stdout + done.stderr
    assert serving("load", "m", "--token-file", tmp_path / "none").returncode == 2


def test_status_and_history_are_shown_in_words_and_as_json() -> None:
    with admin_port(Commander()) as admin:
        shown = serving("status", "m", url=url(admin)).stdout
        assert "version 2 answers unnamed requests" in shown
        assert "version 1: READY since 1970-01-01 00:00:01Z" in shown
        assert "unbatched: input 'k' has no dynamic axis 0" in shown
        assert json.loads(serving("status", "m", "--json", url=url(admin)).stdout)["name"] == "m"
        shown = serving("history", "m", url=url(admin)).stdout
        assert shown.splitlines()[1].split() == ["1970-01-01", "00:00:01Z", "2", "READY"]
        unknown = serving("status", "nowhere", url=url(admin))
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "Request for unknown model" in unknown.stderr
        broken = serving("status", "broken", url=url(admin)).stdout
        assert "no version answers unnamed requests" in broken
        assert "version 1: FAILED: it is broken" in broken


def test_what_is_known_of_a_version_is_told() -> None:
    version = {
        "version": 2,
        "state": "READY",
        "reason": "",
        "ready_since": 0.0,
        "provider": "CPUExecutionProvider",
        "threads": 2,
        "instances": 1,
        "batching": "batched, up to 64 rows",
        "notes": ["one thing", "another"],
        "cost": {"fixed_s": 0.0001, "per_row_s": 0.00002, "best_rows": 16},
        "memory_bytes": 3 * 1024 * 1024,
        "isolated": "its trial died on generated input",
        "manifest": {
            "created": "2026-01-02",
            "git_commit": "abc123",
            "mlflow_run_id": "run7",
            "mlflow_model_id": "",
            "metadata": {"who": "me"},
            "metrics": {"accuracy": 0.5},
        },
    }
    model = {
        "name": "m",
        "default": 2,
        "reason": "",
        "own_reason": "",
        "pinned": 2,
        "answered": 2,
        "previous": 1,
        "held_out": False,
        "versions": [version],
    }
    text = "\n".join(status_lines(model))
    for words in (
        "version 2 answers unnamed requests (pinned); before it: version 1",
        "0.1 ms a run and 0.02 ms a row; cheapest at 16 rows",
        "about 3.0 MiB",
        "its trial died on generated input",
        "published 2026-01-02, git commit abc123, MLflow run run7, who me, accuracy 0.5",
        "one thing; another",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("default", "answered", "previous", "words"),
    [
        (2, 2, 1, "version 2 answers unnamed requests; before it: version 1"),
        (2, None, None, "version 2 answers unnamed requests"),
        (None, 2, 1, "version 2 did last; a rollback goes to version 1"),
        (3, 2, 1, "before it: version 2; a rollback goes to version 1"),
        (1, 2, 1, "version 1 answers unnamed requests; before it: version 2"),
    ],
)
def test_what_answered_before_is_told_as_it_was(
    default: int | None, answered: int | None, previous: int | None, words: str
) -> None:
    """Also after an unload, when nothing answers, and while another version stands in."""
    model = {"default": default, "answered": answered, "previous": previous, "pinned": None}
    assert default_words(model).endswith(words)


@pytest.mark.parametrize("name", ["$(touch hit)", "`touch hit`", "a; touch hit", "a\nb", "a b"])
def test_fault_66_names_reach_no_shell(tmp_path: Path, name: str) -> None:
    commander = Commander(DONE)
    with admin_port(commander) as admin:
        done = forked.run("models", "load", name, "--admin-url", url(admin), cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    if "\n" in name:
        assert done.returncode == 1
        assert commander.commands == []
    else:
        assert done.returncode == 0, done.stderr
        assert commander.commands == [LoadModel(name)]


@pytest.mark.parametrize("name", ["$(touch hit)", "`touch hit`", "a; touch hit", "a\nb"])
def test_fault_66_published_names_reach_no_shell(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.onnx").write_bytes(small_models.tiny().SerializeToString())
    (tmp_path / "models").mkdir()
    done = forked.run("publish", "m.onnx", "--to", "models", "--model", name, cwd=tmp_path)
    assert not list(tmp_path.rglob("hit"))
    assert (done.returncode == 0) == (tmp_path / "models" / name).is_dir(), done.stderr
    assert "Traceback" not in done.stderr


def test_fault_66_no_code_of_ours_starts_a_shell() -> None:
    """Names and paths come from outside; what starts processes gets lists, never a line."""
    import ast

    for file in (ROOT / "serving").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                assert isinstance(node.value, ast.Constant), file
                assert node.value.value is False, file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                assert called not in {
                    "os.system",
                    "os.popen",
                    "subprocess.getoutput",
                    "subprocess.getstatusoutput",
                }, file
