"""The buffer and the thread of one target: order, bounds, what outlives a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from serving.observe.tracking.buffer import PER_ENTRY, Buffer
from serving.observe.tracking.shipper import Shipper, TargetStatus
from serving.state_dir import StateDir
from tests.clients.gateway import wait_until
from tests.unit.tracking_world import FakeExporter, window


def _some(*numbers: int) -> list[dict[str, object]]:
    return [window(number).to_json() for number in numbers]


def _numbers(buffer: Buffer, most: int = 100) -> list[int]:
    return [one["number"] for one in buffer.first(most)[1]]


def test_windows_leave_as_they_came(tmp_path: Path) -> None:
    buffer = Buffer(StateDir(tmp_path), "t", 10_000)
    buffer.put(_some(1, 2))
    buffer.put(_some(3))
    names, windows = buffer.first(1)
    assert [one["number"] for one in windows] == [1, 2]
    assert _numbers(buffer) == [1, 2, 3]
    assert buffer.sent(names) == 2
    assert _numbers(buffer) == [3]
    assert buffer.sent(names) == 0, "twice is once"


def test_a_target_that_answers_leaves_the_disk_alone(tmp_path: Path) -> None:
    buffer = Buffer(StateDir(tmp_path / "state"), "t", 10_000)
    buffer.put(_some(1))
    buffer.sent(buffer.first(1)[0])
    assert not (tmp_path / "state").exists()


def test_what_waits_outlives_the_process_in_order(tmp_path: Path) -> None:
    buffer = Buffer(StateDir(tmp_path), "t", 1_000_000)
    buffer.put(_some(*range(PER_ENTRY * 2 + 1)))
    buffer.spill()
    again = Buffer(StateDir(tmp_path), "t", 1_000_000)
    assert (again.windows, again.bytes) == (buffer.windows, buffer.bytes)
    again.put(_some(500))
    assert _numbers(again) == [*range(PER_ENTRY * 2 + 1), 500]
    again.sent(again.first(100)[0])
    assert not list(tmp_path.rglob("*.json"))
    assert Buffer(StateDir(tmp_path), "other", 1).windows == 0


def test_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    buffer = Buffer(StateDir(tmp_path), "t", 1_000_000)
    buffer.put(_some(0))
    one = buffer.bytes
    buffer = Buffer(StateDir(tmp_path), "t", 3 * one)
    for number in range(5):
        buffer.put(_some(number))
        buffer.spill()
        assert buffer.bytes <= 3 * one
    assert _numbers(buffer) == [2, 3, 4]
    assert buffer.dropped == 2
    assert len(list(tmp_path.rglob("*.json"))) == 3
    smaller = Buffer(StateDir(tmp_path), "t", one)
    assert (_numbers(smaller), smaller.dropped) == ([4], 2)


def test_where_nothing_can_be_written_memory_serves(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for state in (StateDir(None), StateDir(file)):
        buffer = Buffer(state, "t", 1_000_000)
        buffer.put(_some(1))
        buffer.spill()
        buffer.put(_some(2))
        assert _numbers(buffer) == [1, 2]
        assert buffer.sent(buffer.first(2)[0]) == 2
        assert buffer.windows == 0


@pytest.mark.parametrize("text", [b"", b"{", b"{}", b"[1]"])
def test_a_file_that_is_no_longer_whole_is_counted_as_dropped(tmp_path: Path, text: bytes) -> None:
    buffer = Buffer(StateDir(tmp_path), "t", 1_000_000)
    buffer.put(_some(1))
    buffer.spill()
    buffer.put(_some(2))
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(text)
    assert _numbers(buffer) == [2]
    assert (buffer.dropped, buffer.windows) == (1, 1)
    assert not list(tmp_path.rglob("*.json"))


def _shipper(tmp_path: Path, exporter: FakeExporter, limit: int = 1_000_000) -> Shipper:
    buffer = Buffer(StateDir(tmp_path), exporter.name, limit)
    return Shipper(exporter, buffer, 0.05)


def _finished(shipper: Shipper, seconds: float = 5.0) -> TargetStatus:
    shipper.finish(time.monotonic() + seconds)
    shipper.join()
    return shipper.status()


def test_an_outage_is_filled_in_order(tmp_path: Path) -> None:
    exporter = FakeExporter()
    exporter.broken = "no answer: timed out"
    shipper = _shipper(tmp_path, exporter)
    shipper.start()
    for number in range(5):
        shipper.offer(_some(number))
    wait_until(lambda: shipper.status().failures >= 2, 10, "attempts fail")
    down = shipper.status()
    assert (down.error, down.sent, down.buffered) == ("no answer: timed out", 0, 5)
    assert down.last_success is None
    exporter.broken = ""
    wait_until(lambda: not shipper.status().buffered, 10, "it is caught up")
    shipper.offer(_some(5))
    up = _finished(shipper)
    assert exporter.taken == [0, 1, 2, 3, 4, 5]
    assert (up.error, up.last_error, up.sent) == ("", "no answer: timed out", 6)
    assert up.last_success is not None
    assert up.last_failure is not None
    assert (exporter.settled > 0, exporter.closed) == (True, 1)


def test_a_target_that_hangs_holds_up_neither_windows_nor_the_end(tmp_path: Path) -> None:
    exporter, going = FakeExporter(), threading.Event()
    exporter.before_send = lambda: (going.wait(30), None)[1]
    shipper = _shipper(tmp_path, exporter)
    shipper.start()
    for number in range(3):
        shipper.offer(_some(number))
    status = _finished(shipper, 0.2)
    assert status.buffered == 3
    kept = Buffer(StateDir(tmp_path), exporter.name, 1_000_000)
    assert _numbers(kept) == [0, 1, 2], "they are on disk"
    going.set()


def test_the_next_process_sends_what_the_last_one_kept(tmp_path: Path) -> None:
    exporter = FakeExporter()
    exporter.broken = "no answer"
    first = _shipper(tmp_path, exporter)
    first.start()
    first.offer(_some(1, 2))
    assert _finished(first).buffered == 2
    exporter.broken = ""
    second = _shipper(tmp_path, exporter)
    second.start()
    wait_until(lambda: exporter.taken == [1, 2], 10, "it sends without being told")
    _finished(second)


def test_what_a_target_refuses_for_good_is_dropped_and_counted(tmp_path: Path) -> None:
    exporter = FakeExporter()
    exporter.refuse = 2
    shipper = _shipper(tmp_path, exporter)
    shipper.start()
    shipper.offer(_some(1, 2, 3))
    wait_until(lambda: exporter.taken, 10, "it is sent")
    status = _finished(shipper)
    assert (status.sent, status.dropped, status.buffered) == (1, 2, 0)


def test_a_fault_of_ours_ends_no_thread(tmp_path: Path) -> None:
    exporter = FakeExporter()

    def fail() -> None:
        raise ZeroDivisionError

    exporter.before_send = fail
    shipper = _shipper(tmp_path, exporter)
    shipper.start()
    shipper.offer(_some(1))
    wait_until(lambda: shipper.status().error == "an internal error", 10, "it is told")
    exporter.before_send = lambda: None
    wait_until(lambda: exporter.taken == [1], 10, "it is sent all the same")
    _finished(shipper)
