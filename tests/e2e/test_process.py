"""A gateway behaves wherever it is started: streams, signals, limits, terminals; and its children
go with it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.commands import run, shell
from tests.clients.gateway import ROOT, Gateway, wait_until
from tests.clients.processes import children_of, cpu_seconds, gone
from tests.small_models import scale, write

ALONE = "isolation: process\n"
BODY = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
# Started by one that has every signal blocked, ignores some, and lets us keep nothing of ours.
ODD_PARENT = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.umask(0o777)
os.nice(3)
os.execvp(sys.argv[1], sys.argv[1:])
"""
WITH_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def answers(gateway: Gateway) -> bool:
    return gateway.infer("m", BODY).status == 200


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_gateway_without_streams_serves_and_its_child_goes_with_it(
    start_gateway, repository, closed: str
) -> None:
    """A free number 0 to 2 goes to nobody's socket, so a child sees the end of its gateway."""
    write(repository, "m", scale(1), yaml=ALONE)
    gateway = start_gateway(repository, before=shell(closed))
    assert answers(gateway)
    children = children_of(gateway.process.pid)
    assert children
    for pid in (gateway.process.pid, *children):
        streams = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
        assert not any(one.startswith(("socket", "anon", "pipe")) for one in streams), streams
    gateway.process.kill()
    gateway.process.wait()
    assert all(gone(child) for child in children)


def test_children_that_hang_do_not_outlive_a_killed_gateway(start_gateway, repository) -> None:
    write(repository, "m", scale(1), yaml=ALONE)
    gateway = start_gateway(repository)
    assert answers(gateway)
    children = children_of(gateway.process.pid)
    for child in children:
        os.kill(child, signal.SIGSTOP)
    gateway.process.kill()
    gateway.process.wait()
    assert children
    assert all(gone(child) for child in children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_drains_however_it_was_inherited(
    start_gateway, repository, number: int
) -> None:
    write(repository, "m", scale(1), yaml=ALONE)
    gateway = start_gateway(repository, before=(sys.executable, "-c", ODD_PARENT))
    assert answers(gateway)
    own = os.getpriority(os.PRIO_PROCESS, gateway.process.pid)
    for child in children_of(gateway.process.pid):
        assert os.getpriority(os.PRIO_PROCESS, child) == own
    gateway.signal(signal.SIGHUP)
    assert answers(gateway)
    gateway.signal(number)
    assert gateway.process.wait(20) == 0
    gateway.assert_clean_log()
    assert not gateway.events("reload"), "an ignored SIGHUP stays ignored"
    assert not gateway.events("state_not_written"), "the umask kept it from its own files"


def handled(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> number - 1 & 1)


def test_signals_count_from_the_beginning_of_the_start(start_gateway, repository) -> None:
    """Long before the doors are open."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, wait=False)
    wait_until(
        lambda: handled(gateway.process.pid, signal.SIGHUP), 30, "there is a handler", every=0.001
    )
    gateway.signal(signal.SIGHUP)
    gateway.wait_ready()
    wait_until(lambda: gateway.events("configurations_reloaded"), 10, "it was not lost")
    assert gateway.stop() == 0
    gateway = start_gateway(repository, wait=False)
    wait_until(
        lambda: handled(gateway.process.pid, signal.SIGTERM), 30, "there is a handler", every=0.001
    )
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(30) == 0


def test_the_first_process_of_a_container_hears_a_signal_while_it_imports(
    start_gateway, repository
) -> None:
    """The kernel keeps from that one what it has no handler for."""
    apart = ("unshare", "--pid", "--fork", "--kill-child")
    try:
        subprocess.run([*apart, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no namespace of processes may be made here")
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, before=apart, wait=False)
    wait_until(lambda: children_of(gateway.process.pid), 30, "it has begun", every=0.001)
    (first,) = children_of(gateway.process.pid)
    wait_until(lambda: handled(first, signal.SIGTERM), 30, "there is a handler", every=0.001)
    os.kill(first, signal.SIGTERM)
    assert gateway.process.wait(30) == 0


def test_sighup_reads_tokens_and_configurations_again_and_says_so(
    start_gateway, repository, tmp_path: Path
) -> None:
    """Neither waits for the next look."""
    write(repository, "m", scale(1))
    write(repository, "other", scale(1))
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    seldom = {
        "admin_token_file": str(token),
        "registry.scan_interval_s": "60",
        "registry.watch": "false",
    }
    gateway = start_gateway(repository, seldom)
    token.write_text("second")
    (repository / "m" / "model.yaml").write_text("description: new\n")
    gateway.signal(signal.SIGHUP)
    (said,) = wait_until(lambda: gateway.events("configurations_reloaded"), 10, "it is said")
    assert (said["models"], said["changed"], said["wrong"]) == (2, ["m"], ["m"])
    (repository / "m" / "model.yaml").unlink()
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: len(gateway.events("configurations_reloaded")) == 2, 10, "again")
    again = gateway.events("configurations_reloaded")[1]
    assert (again["changed"], again["wrong"]) == (["m"], [])
    assert [one["token"] for one in gateway.events("reload")] == ["changed", "unchanged"]
    assert answers(gateway)


def test_a_terminal_that_hangs_up_ends_and_busies_nobody(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    ours, theirs = os.openpty()
    gateway = start_gateway(
        repository,
        {"log.access_rate": "1", "log.format": "console"},
        before=(sys.executable, "-c", WITH_TERMINAL),
        terminal=theirs,
        wait=False,
    )
    os.close(theirs)
    _read_until(ours, b"try it")
    os.close(ours)
    for _ in range(20):
        assert answers(gateway)
    before = cpu_seconds(gateway.process.pid)
    time.sleep(1)
    assert cpu_seconds(gateway.process.pid) - before < 0.5
    assert gateway.stop() == 0


def _read_until(terminal: int, words: bytes) -> None:
    seen = b""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, b"\0" * 8)
    while words not in seen:
        with contextlib.suppress(BlockingIOError):
            seen += os.read(terminal, 4096)


def test_few_descriptors_small_files_and_little_stack_are_enough(start_gateway, repository) -> None:
    write(repository, "m", scale(1), yaml=ALONE)
    limits = "ulimit -n 40; ulimit -f 1000; ulimit -s 1024"
    gateway = start_gateway(repository, before=("sh", "-c", f'{limits}; exec "$@"', "sh"))
    assert answers(gateway)


def test_want_of_threads_is_said_in_words(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    limit = ("sh", "-c", 'ulimit -v 930000; exec "$@"', "sh")
    gateway = start_gateway(repository, before=limit, wait=False)
    wait_until(lambda: "ulimit -v" in gateway.log(), 30, "it says which limit")
    gateway.stop()
    gateway.assert_clean_log()


# Commands


ALL = "<&- >&- 2>&-"


@pytest.mark.parametrize(
    ("command", "streams"),
    [
        *(("--version", streams) for streams in (ALL, "<&-", ">&-", "2>&-", "<&- 2>&-")),
        *(("models", streams) for streams in (ALL, ">&-")),
        *(("infer", streams) for streams in (ALL, "2>&-")),
        ("doctor", ALL),
        ("check", ">&-"),
    ],
)
def test_no_command_minds_a_closed_stream(
    gateway: Gateway, repository, command: str, streams: str
) -> None:
    write(repository, "m", scale(1))
    arguments = {
        "models": ["--admin-url", f"http://{gateway.admin}"],
        "check": [str(repository)],
        "infer": ["gather", "--url", f"http://{gateway.http}", "--generate"],
    }.get(command, [])
    done = run(command, *arguments, streams=streams)
    # doctor says so where this machine lacks something.
    assert done.returncode in ((0, 1) if command == "doctor" else (0,)), done
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_a_reader_who_leaves_is_no_error(gateway: Gateway) -> None:
    command = f"{sys.executable} -m serving models --admin-url http://{gateway.admin} | head -n 1"
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command], env=given, capture_output=True, timeout=60, check=False
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_said(unbuffered: str) -> None:
    done = run("--help", streams=">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == b"serving: standard output: No space left on device\n"


NO_UTF_8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    "locale", [NO_UTF_8, {"LANG": "xx_YY", "LC_ALL": "xx_YY"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_what_a_locale_cannot_say_is_escaped(repository, locale: dict[str, str]) -> None:
    (repository / "žluť" / "1").mkdir(parents=True)
    said = run("check", "--json", str(repository), **locale)
    assert b"Traceback" not in said.stderr, said
    assert json.loads(said.stdout.decode("latin-1" if "PYTHONIOENCODING" in locale else "utf-8"))
