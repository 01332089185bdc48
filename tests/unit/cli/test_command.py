"""The command line as a user meets it: real processes, their output and exit status."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from serving import __version__
from tests.clients import forked

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def run(
    home: Path,
    *arguments: str,
    stdin: str = "",
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "serving"),
) -> subprocess.CompletedProcess[str]:
    """The command, in an environment that holds nothing of ours."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        **(environ or {}),
    }
    return subprocess.run(
        [sys.executable, *program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=home.parent,
        check=False,
    )


def run_forked(
    home: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, where nothing is asked of how its process begins."""
    return forked.run(
        *arguments, cwd=home.parent, environment={"HOME": str(home), **(environ or {})}
    )


def test_version_is_printed(home: Path) -> None:
    done = run(home, "--version")
    assert (done.returncode, done.stdout) == (0, f"serving {__version__}\n")


def test_help_names_every_command(home: Path) -> None:
    done = run(home, "--help")
    assert done.returncode == 0
    for command in ("start", "check", "infer", "models", "doctor"):
        assert f" {command} " in done.stdout


def test_help_loads_nothing_heavy(home: Path) -> None:
    program = (
        "import sys, serving.cli\n"
        "heavy = {'numpy', 'onnxruntime', 'starlette', 'uvicorn', 'pydantic', 'google.protobuf',"
        " 'serving._core'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    done = run(home, program=("-c", program))
    assert (done.returncode, done.stderr) == (0, "")


def test_shells_can_complete_commands(home: Path) -> None:
    environ = {
        "_SERVING_COMPLETE": "complete_bash",
        "COMP_WORDS": "serving ch",
        "COMP_CWORD": "1",
    }
    program = ("-c", "import sys; sys.argv = ['serving']; import serving.cli; serving.cli.main()")
    done = run(home, environ=environ, program=program)
    assert done.stdout.split() == ["check"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("start",),
        ("start", "does-not-exist"),
        ("start", __file__),
        ("start", "--no-such-flag", "."),
        ("start", "--http-port", "many", "."),
        ("check",),
        ("infer", "m"),
        ("infer", "m", "--generate", "--json", "-"),
        ("infer", "m", "--generate", "--output", "npz"),
    ],
    ids=" ".join,
)
def test_what_was_typed_wrongly_is_exit_status_2(home: Path, arguments: tuple[str, ...]) -> None:
    done = run_forked(home, *arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["start", "check", "doctor"])
def test_a_wrong_setting_is_one_line_and_exit_status_2(home: Path, command: str) -> None:
    folders = [] if command == "doctor" else ["."]
    done = run_forked(home, command, *folders, "--set", "limits.max_stream=3")
    assert done.returncode == 2
    assert done.stderr == (
        "serving: --set: no such setting: 'limits.max_stream'"
        " (did you mean 'limits.max_streams'?)\n"
    )


def test_start_refuses_a_setting_from_each_origin(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text("http_port: eighty\n")
    by_file = run_forked(home, "start", ".", "--config", str(file))
    by_variable = run_forked(home, "start", ".", environ={"SERVING_GRPC_PORT": "99999"})
    by_flag = run_forked(home, "start", ".", "--admin-port", "-5")
    assert [d.returncode for d in (by_file, by_variable, by_flag)] == [2, 2, 2]
    assert by_file.stderr.startswith("serving: http_port (in the settings file): ")
    assert by_variable.stderr.startswith("serving: grpc_port (from the environment): ")
    assert by_flag.stderr.startswith("serving: admin_port (from the command line): ")


def test_settings_are_shown_with_their_origin(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text("limits: {max_streams: 7}\n")
    arguments = ("check", "--settings", "--config", str(file), "--set", "batching.max_rows=8")
    environ = {"SERVING_HTTP_PORT": "9000", "SERVING_GRPC_PORT": "tcp://10.0.0.1:80"}
    done = run_forked(home, *arguments, "--json", environ=environ)
    assert done.returncode == 0
    shown = {s["key"]: (s["value"], s["origin"]) for s in json.loads(done.stdout)["settings"]}
    assert shown["limits.max_streams"] == (7, "file")
    assert shown["http_port"] == (9000, "environment")
    assert shown["batching.max_rows"] == (8, "flag")
    assert shown["grpc_port"] == (8081, "default")

    table = run_forked(home, *arguments, environ=environ).stdout
    assert any(line.split() == ["http_port", "9000", "environment"] for line in table.splitlines())
    assert "\x1b" not in table


def test_models_says_when_nobody_answers(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = run_forked(home, "models", "--admin-url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"serving: nothing listens at {url}: is the gateway started")
    assert done.stderr.count("\n") == 1


def test_models_refuses_what_is_no_url(home: Path) -> None:
    for typed in ("ftp://x", "grpc://127.0.0.1:8081", "https://127.0.0.1:8082"):
        done = run_forked(home, "models", "--admin-url", typed)
        assert done.returncode == 2
        assert f"'{typed}' is no address of an admin port" in done.stderr
        assert "expected http://HOST:PORT" in done.stderr
        assert "/api/v1" not in done.stderr
    done = run_forked(home, "models", "--admin-url", "http://x:99999")
    assert (done.returncode, done.stderr) == (2, "serving: 'http://x:99999' has no valid port\n")


def test_doctor_shows_providers_threads_limits_versions_and_ports(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(home, "doctor", "--json", "--set", f"http_port={port}")
    assert done.returncode == 1, done.stdout + done.stderr
    found = {(f["area"], f["name"]): f for f in json.loads(done.stdout)}
    assert found["versions", "serving"]["value"] == __version__
    assert found["versions", "core"]["value"] == __version__
    assert "CPUExecutionProvider" in found["onnxruntime", "execution providers"]["value"]
    assert found["onnxruntime", "telemetry"]["value"] == "off"
    assert int(found["threads", "within an operator"]["value"]) >= 1
    assert f"{os.getpid()} (" in found["ports", "HTTP"]["problem"]
    assert ("files", "open at once") in found
    assert ("CPUs", "by cgroup quota") in found


def test_doctor_warns_of_too_few_open_files(home: Path) -> None:
    done = run_forked(home, "doctor", "--json", "--set", "limits.max_connections=1000000000")
    found = {(f["area"], f["name"]): f for f in json.loads(done.stdout)}
    assert "limits.max_connections" in found["files", "for client connections"]["problem"]


def test_an_operator_may_opt_in_to_telemetry(home: Path) -> None:
    program = (
        "import os, sys; from serving import cli; sys.argv = ['serving', '--version']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    )
    by_default = run(home, program=("-c", program))
    opted_in = run(home, program=("-c", program), environ={"ORT_DISABLE_TELEMETRY": "0"})
    assert by_default.stdout.split()[-1] == "1"
    assert opted_in.stdout.split()[-1] == "0"


def test_an_empty_home_directory_stays_empty(home: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    run(home, "doctor")
    run(home, "check", str(tmp_path / "models"))
    run(home, "check", "--settings")
    assert list(home.rglob("*")) == []
