"""Files that are written at once, by as many threads as there are to be had."""

from __future__ import annotations

import threading

import pytest

from serving.observe.statistics.writers import Writers


@pytest.mark.parametrize("most", [0, 1, 3, 100])
def test_fault_115_all_is_written_by_as_many_threads_as_the_system_starts(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, left = threading.Thread.start, [most]

    def start_some(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    written: list[int] = []
    with Writers() as disk:
        for number in range(40):
            disk.write(lambda number=number: written.append(number))
        disk.write(lambda: written.append(1 // 0))
        disk.finish()
        assert sorted(written) == list(range(40))
        disk.write(lambda: written.append(40))
    assert sorted(written) == list(range(41))
