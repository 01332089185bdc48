"""A child process of ours: how it is asked, and every way in which it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.execution.isolation.framing import MAX_BYTES, FramingError
from serving.execution.isolation.parent import starting
from serving.execution.isolation.parent.process import Child, ChildDiedError, ChildFailedError
from tests.clients.processes import arguments_of, gone, open_fds
from tests.unit.child_programs import MODULE, program


@pytest.fixture(scope="module", params=["spawned", "forked"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """How the children here come to be: both keep the same promises."""
    if request.param == "spawned":
        yield request.param
        return
    end = starting.use_template([MODULE])
    yield request.param
    end()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(MODULE, name="test")
    yield child
    child.close()


def test_answers_and_reads_the_files_it_is_given(child: Child, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("first")
    (tmp_path / "b").write_text("second")
    fds = [os.open(tmp_path / name, os.O_RDONLY) for name in ("a", "b")]
    try:
        answer = child.ask({"do": "echo", "what": {"text": "žluť\0"}}, fds)
    finally:
        for fd in fds:
            os.close(fd)
    assert answer == {"echo": {"text": "žluť\0"}, "read": ["first", "second"]}


def test_answers_a_large_message(child: Child) -> None:
    what = "x" * (4 * 1024 * 1024)
    assert child.ask({"do": "echo", "what": what})["echo"] == what


def test_has_a_session_of_its_own_and_none_of_our_files(child: Child) -> None:
    facts = child.ask({"do": "facts"})
    assert facts["session"] == child.pid
    assert facts["ignored"] == [True, True]
    assert facts["blocked"] == []
    assert facts["core"] == 0
    assert facts["telemetry"] == "1"
    assert facts["nice"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert facts["oom"] > int(Path("/proc/self/oom_score_adj").read_text())
    # stdin, stdout, stderr, the socket, and the folder that it lists them from.
    assert len(facts["fds"]) == 5


def test_is_forked_where_there_is_a_template(child: Child, way: str) -> None:
    facts = child.ask({"do": "tasks"})
    assert facts == {"parent": os.getpid(), "template": way == "forked"}


def test_shows_what_it_is_in_the_process_list(child: Child) -> None:
    child.ask({"do": "echo", "what": 1})
    shown = arguments_of(child.pid)
    assert shown[:4] == [sys.executable, "-P", "-m", MODULE]
    assert shown[5:] == [str(os.getpid()), "test"]


def test_is_as_nice_as_it_is_told() -> None:
    child = Child(MODULE, name="test", niceness=7)
    assert child.ask({"do": "facts"})["nice"] == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
    child.close()


def test_gets_no_more_memory_than_it_may_have() -> None:
    child = Child(MODULE, name="test", memory_bytes=200 * 1024 * 1024)
    assert child.ask({"do": "allocate", "bytes": 100 * 1024 * 1024})["got"] > 0
    assert child.ask({"do": "allocate", "bytes": 300 * 1024 * 1024})["got"] == 0
    child.close()


def test_lives_through_signals_that_are_meant_for_the_server(child: Child) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(child.pid, number)
    assert child.ask({"do": "echo", "what": 1})["echo"] == 1


def test_an_error_in_it_is_ours_to_hear_and_not_its_end(child: Child) -> None:
    with pytest.raises(ChildFailedError, match="ValueError: not this time"):
        child.ask({"do": "raise"})
    assert child.ask({"do": "echo", "what": 1})["echo"] == 1


@pytest.mark.parametrize("number", [signal.SIGFPE, signal.SIGSEGV, signal.SIGKILL])
def test_says_by_which_signal_it_ended(child: Child, number: signal.Signals) -> None:
    with pytest.raises(ChildDiedError, match=number.name) as died:
        child.ask({"do": "die", "signal": number})
    assert (died.value.signal_number, died.value.exit_code) == (number, None)
    assert not child.alive
    with pytest.raises(ChildDiedError):
        child.ask({"do": "echo", "what": 1})


def test_says_with_which_status_it_ended(child: Child) -> None:
    with pytest.raises(ChildDiedError, match="exit status 3") as died:
        child.ask({"do": "die", "exit": 3})
    assert (died.value.signal_number, died.value.exit_code) == (None, 3)


def test_a_question_may_take_too_long(child: Child) -> None:
    with pytest.raises(TimeoutError):
        child.ask({"do": "sleep"}, timeout=0.5)
    child.kill()
    assert gone(child.pid)


def test_it_hears_a_word_while_it_is_busy_with_a_question(child: Child) -> None:
    threading.Timer(0.3, child.tell, ("now",)).start()
    assert child.ask({"do": "wait_for_word"}, timeout=30) == {"heard": "now"}
    child.kill()
    child.tell("too late")  # nobody hears it, and whoever asks next is told why
    with pytest.raises(ChildDiedError):
        child.ask({"do": "echo", "what": 1})


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system tells of no process's end")
def test_its_end_is_waited_for_and_not_looked_for(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_again(seconds: float) -> None:
        raise AssertionError(f"it slept for {seconds} s")

    monkeypatch.setattr(time, "sleep", look_again)
    threading.Timer(0.3, os.kill, (child.pid, signal.SIGSEGV)).start()
    assert child.end().words == "SIGSEGV"


def test_killing_it_ends_the_wait_for_its_answer(child: Child) -> None:
    child.ask({"do": "echo", "what": 1})
    failure: list[BaseException] = []

    def ask() -> None:
        try:
            child.ask({"do": "sleep"})
        except ChildDiedError as error:
            failure.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    child.kill()
    asking.join(10)
    assert [str(error) for error in failure] == ["SIGKILL"]


def test_a_message_that_is_too_large_is_refused(child: Child) -> None:
    with pytest.raises(FramingError):
        child.ask({"do": "echo", "what": "x" * (MAX_BYTES + 1)})
    assert child.ask({"do": "echo", "what": 1})["echo"] == 1


def _child_of_a_killed(code: str) -> int:
    """The child that a program has started, and whose number it printed, once it is killed."""
    command = [sys.executable, "-c", f"{code}\ntime.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    return pid


def test_a_stopped_child_does_not_outlive_its_parent(way: str) -> None:
    """It sees no end of a socket."""
    then = (
        "child.ask({'do': 'echo', 'what': 1})\n"
        "os.kill(child.pid, signal.SIGSTOP)\n"
        "print(child.pid, flush=True)"
    )
    assert gone(_child_of_a_killed(program(way, then)), within_s=10)


def test_a_child_lives_on_when_the_thread_that_asked_for_it_ends() -> None:
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child(MODULE, name="test")))
    thread.start()
    thread.join()
    (child,) = children
    try:
        assert child.ask({"do": "echo", "what": 1})["echo"] == 1
        time.sleep(0.1)
        assert child.ask({"do": "echo", "what": 2})["echo"] == 2
    finally:
        child.close()


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&-"])
def test_a_child_gets_no_end_of_its_socket_for_a_stream(closed: str, way: str) -> None:
    """One of the numbers 0 to 2 is free in the parent: the socket would get it, and the child
    would hold both ends."""
    then = (
        "fds = [os.readlink(f'/proc/{child.pid}/fd/{n}') for n in range(3)]\n"
        "assert not any('socket' in one for one in fds), fds\n"
        "assert child.ask({'do': 'echo', 'what': 1})\n"
        "print(child.pid, flush=True)"
    )
    command = [sys.executable, "-c", f"{program(way, then)}\nchild.close()"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    done = subprocess.run([*shell, *command], capture_output=True, timeout=60, check=False)
    assert int(done.stdout), done


def test_nothing_is_left_after_close() -> None:
    before = open_fds()
    child = Child(MODULE, name="test")
    child.ask({"do": "echo", "what": 1})
    child.close()
    assert gone(child.pid)
    assert open_fds() == before


def test_fault_32_it_dies_with_its_parent_even_in_the_middle_of_a_question(way: str) -> None:
    then = (
        "child.ask({'do': 'echo', 'what': 1})\n"
        "threading.Thread(target=child.ask, args=({'do': 'sleep'},), daemon=True).start()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program(way, then)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid, within_s=10)
