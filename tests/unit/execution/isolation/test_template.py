"""The template, with real processes: what it forks, and every way in which one of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.execution.isolation.child import process_title
from serving.execution.isolation.many_texts import Demand
from serving.execution.isolation.parent import reaping, starting, template_process
from serving.execution.isolation.parent.process import Child, ChildDiedError
from serving.execution.isolation.parent.template import Template
from tests.clients.gateway import wait_until
from tests.clients.processes import arguments_of, gone, template_of
from tests.unit import graphs
from tests.unit.child_programs import MODULE, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is none elsewhere")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def template(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Template]:
    """One that children here are forked from."""
    one = Template([MODULE], Demand(idle_s=60, first_s=10, longest_s=300), clock)
    monkeypatch.setattr(starting, "_template", one)
    yield one
    one.close()
    template_process.adopt_orphans(False)


def up(template: Template) -> int:
    template.prepare()
    return int(wait_until(lambda: template.pid, 60, "the template is there"))


def is_forked(child: Child) -> bool:
    return bool(child.ask({"do": "tasks"})["template"])


def words(child: Child) -> str:
    return child.end().words


def test_a_child_is_forked_by_a_process_with_one_thread_and_is_ours(template: Template) -> None:
    child = Child(MODULE, name="first")
    assert is_forked(child)
    assert child.ask({"do": "tasks"})["parent"] == os.getpid()
    assert template.pid == template_of(os.getpid())
    assert len(list(Path(f"/proc/{template.pid}/task").iterdir())) == 1
    child.close()


def test_children_at_once_are_told_apart(
    template: Template, zombies: Callable[[], list[int]]
) -> None:
    children = [Child(MODULE, name=f"m:{number}") for number in range(5)]
    assert [child.ask({"do": "echo", "what": child.pid})["echo"] for child in children] == [
        child.pid for child in children
    ]
    assert [arguments_of(child.pid)[-1] for child in children] == [f"m:{n}" for n in range(5)]
    for child in children:
        child.close()
    assert all(gone(child.pid) for child in children)
    wait_until(lambda: not zombies(), 20, "they are collected")


@pytest.fixture(autouse=True)
def _collected_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaping, "_LATER_S", 0.1)


@pytest.fixture
def zombies() -> Callable[[], list[int]]:
    """Those that have come since, and are not collected."""
    before = _zombies()
    return lambda: [pid for pid in _zombies() if pid not in before]


def _zombies() -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(int(folder.name))
    return found


def test_a_killed_template_takes_no_child_along_and_another_comes(
    template: Template, clock: Clock, zombies: Callable[[], list[int]]
) -> None:
    first = up(template)
    child = Child(MODULE, name="test")
    assert is_forked(child)
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    wait_until(lambda: template.pid is None, 10, "its end is noticed")
    assert child.ask({"do": "echo", "what": 1})["echo"] == 1
    # It died young: for a while children are spawned.
    spawned = Child(MODULE, name="test")
    assert not is_forked(spawned)
    clock.now += 11
    again = Child(MODULE, name="test")
    assert is_forked(again)
    assert template.pid not in (None, first)
    os.kill(child.pid, signal.SIGSEGV)
    assert words(child) == "SIGSEGV"
    for one in (child, spawned, again):
        one.close()
    wait_until(lambda: not zombies(), 20, "they are collected")


def test_a_template_that_was_proven_is_replaced_at_once_where_it_is_held(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.execution.isolation.parent.template._PROVEN_S", 0.0)
    template.hold()
    first = up(template)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: template.pid not in (None, first), 60, "the next one")


def test_a_template_that_hangs_ends_with_what_it_may_have_forked(
    template: Template, monkeypatch: pytest.MonkeyPatch, zombies: Callable[[], list[int]]
) -> None:
    monkeypatch.setattr(template_process, "_FORK_S", 0.3)
    first = up(template)
    os.kill(first, signal.SIGSTOP)
    child = Child(MODULE, name="test")
    assert not is_forked(child)
    assert gone(first)
    child.close()
    wait_until(lambda: not zombies(), 20, "they are collected")


def test_it_ends_after_a_quiet_while_unless_it_is_held(template: Template, clock: Clock) -> None:
    first = up(template)
    child = Child(MODULE, name="test")
    template.hold()
    clock.now += 1000
    os.eventfd_write(template._look, 1)
    other = Child(MODULE, name="test")
    assert is_forked(other)
    assert template.pid == first
    template.release()
    clock.now += 61
    os.eventfd_write(template._look, 1)
    assert gone(first)
    # Children of it go on, and their ends are told.
    assert child.ask({"do": "echo", "what": 1})["echo"] == 1
    with pytest.raises(ChildDiedError, match="exit status 3"):
        child.ask({"do": "die", "exit": 3})
    other.close()
    child.close()


def test_children_draw_other_numbers_than_each_other(template: Template, tmp_path: Path) -> None:
    made = graphs.one("RandomNormal", [], [("y", graphs.FLOAT, [1])], shape=[1])
    (tmp_path / "model").write_bytes(made.SerializeToString())
    draws = []
    for _ in range(3):
        child = Child(MODULE, name="test")
        with (tmp_path / "model").open("rb") as file:
            draws.append(child.ask({"do": "draw"}, [file.fileno()])["draws"])
        child.close()
    assert all(len(set(drawn)) == 3 for drawn in zip(*draws, strict=True))


def test_a_module_that_cannot_be_imported_ends_the_child_alone(template: Template) -> None:
    first = up(template)
    child = Child("tests.unit.no_such_module", name="test")
    with pytest.raises(ChildDiedError, match="exit status 1"):
        child.ask({"do": "echo", "what": 1})
    child.close()
    assert template.pid == first


def test_where_it_cannot_be_started_children_are_spawned(
    template: Template, monkeypatch: pytest.MonkeyPatch, zombies: Callable[[], list[int]]
) -> None:
    monkeypatch.setattr(template_process, "_MODULE", "tests.unit.no_such_module")
    child = Child(MODULE, name="test")
    assert not is_forked(child)
    child.close()
    wait_until(lambda: not zombies(), 20, "they are collected")


def test_one_with_threads_does_not_fork(
    monkeypatch: pytest.MonkeyPatch, template: Template
) -> None:
    template._modules = (MODULE, "tests.unit.threaded_module")
    child = Child(MODULE, name="test")
    assert not is_forked(child)
    child.close()


@pytest.mark.parametrize("stopped", [False, True])
def test_fault_32_nothing_outlives_a_server_that_is_killed(stopped: bool) -> None:
    then = (
        "assert child.ask({'do': 'tasks'})['template']\n"
        "pids = [starting._template.pid, child.pid]\n"
        f"[os.kill(pid, signal.SIGSTOP) for pid in pids if {stopped}]\n"
        "print(*pids, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program("forked", then)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        time.sleep(0.1)
        server.kill()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_name_is_shown_as_far_as_there_is_room() -> None:
    code = (
        f"from {process_title.__name__} import show\n"
        "show(['a' * 5000])\n"
        "print(open('/proc/self/cmdline').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = done.stdout.rstrip("\n")
    assert shown == "a" * (len(shown) - 1) + "\0"


def test_children_import_neither_what_draws_terminals_nor_an_event_loop() -> None:
    """Whoever waits for a child waits for its imports."""
    code = (
        "import sys\n"
        "import serving.execution.isolation.child.main\n"
        "import serving.loading.trial.child\n"
        "print(*sorted({'asyncio', 'rich', 'structlog', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
