"""What a stop signal does, whatever thread takes it."""

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

from serving.stop_signals import StopSignals

SECOND = """
import os, signal, time
from serving.stop_signals import StopSignals
with StopSignals().handled() as signals:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.25)
    signals.wait_until(lambda: False)
"""


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    with StopSignals().handled() as one:
        yield one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_takes_wakes_the_main_thread(
    signals: StopSignals, number: int
) -> None:
    """As the kernel gives it to a thread that is just unblocking its signals."""
    assert not signals.asked()

    def take() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), number)

    threading.Thread(target=take).start()
    signals.wait_until(signals.asked)
    assert signals.asked()


def test_two_at_once_are_one(signals: StopSignals) -> None:
    """As ``timeout`` sends them."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    signals.wait_until(signals.asked)


EARLY = """
import os, signal, sys
class Stopping:
    def find_spec(self, name, *rest):
        if name == "typer":
            os.kill(os.getpid(), signal.SIG{stop})
sys.meta_path.insert(0, Stopping())
sys.argv = ["serving", *{arguments}]
import serving.cli
print("went on")
"""


@pytest.mark.parametrize("stop", ["TERM", "INT"])
def test_one_that_comes_while_python_still_imports_ends_a_start(stop: str) -> None:
    """The first process of a container would not hear of it without a handler."""
    program = EARLY.format(stop=stop, arguments=["start"])
    ended = subprocess.run(
        [sys.executable, "-c", program], timeout=30, check=False, capture_output=True
    )
    assert (ended.returncode, ended.stdout) == (0, b"")


def test_other_commands_are_ended_by_one_as_ever() -> None:
    program = EARLY.format(stop="TERM", arguments=["doctor"])
    ended = subprocess.run(
        [sys.executable, "-c", program], timeout=30, check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGTERM


def test_a_signal_before_the_wait_is_not_lost(signals: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signals.wait_until(signals.asked)


def test_what_wakes_is_looked_at_again(signals: StopSignals) -> None:
    looks = []

    def done() -> bool:
        looks.append(len(looks))
        if len(looks) == 2:
            threading.Timer(0.1, signals.wake).start()
        return len(looks) == 3

    signals.wake()
    signals.wait_until(done)
    assert not signals.asked()


def test_more_wakes_than_a_pipe_holds_block_nobody(signals: StopSignals) -> None:
    for _ in range(100_000):
        signals.wake()
    os.kill(os.getpid(), signal.SIGTERM)
    signals.wait_until(signals.asked)


def test_the_second_ends_the_process_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", SECOND], timeout=30, check=False)
    assert ended.returncode == 128 + signal.SIGTERM


INHERITED = """
import os, signal
from serving.stop_signals import StopSignals
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_{hangup})
hung_up = []
with StopSignals().handled(lambda: hung_up.append(1)) as signals:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGHUP)
    assert not signals.asked()
    os.kill(os.getpid(), signal.SIG{stop})
    signals.wait_until(signals.asked)
    print(len(hung_up))
"""


@pytest.mark.parametrize("stop", ["TERM", "INT"])
@pytest.mark.parametrize(("hangup", "calls"), [("DFL", 2), ("IGN", 0)])
def test_what_was_blocked_or_ignored_stops_and_an_ignored_hangup_stays_so(
    stop: str, hangup: str, calls: int
) -> None:
    program = INHERITED.format(stop=stop, hangup=hangup)
    ended = subprocess.run(
        [sys.executable, "-c", program], timeout=30, check=True, capture_output=True
    )
    assert int(ended.stdout) == calls


def test_what_was_there_before_is_there_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with StopSignals().handled():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.set_wakeup_fd(-1) == -1
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


FIRST = """
import signal, sys
sys.argv[1:] = ["start"]
before = set(sys.modules)
def stand(*arguments):
    print(*sorted(set(sys.modules) - before))
    sys.exit()
signal.signal = stand
import serving.cli
"""


def test_handlers_stand_before_anything_that_takes_long_is_imported() -> None:
    """What comes before is lost on the first process of a container."""
    imported = subprocess.run(
        [sys.executable, "-c", FIRST], timeout=30, check=True, capture_output=True, text=True
    )
    assert set(imported.stdout.split()) <= {
        "__future__",
        "serving",
        "serving.cli",
        "serving.first_signals",
    }
