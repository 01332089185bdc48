"""Work that signals ask for."""

from __future__ import annotations

import queue
import threading

from structlog.testing import capture_logs

from serving.on_demand import OnDemand


def test_all_that_ask_meanwhile_are_served_by_one_more_round_and_errors_end_nothing() -> None:
    begun: queue.SimpleQueue[int] = queue.SimpleQueue()
    go_on = threading.Semaphore(0)

    def work() -> None:
        begun.put(1)
        go_on.acquire()
        raise RuntimeError("this time")

    demand = OnDemand("test", work)
    with capture_logs() as logs:
        demand.start()
        demand.ask()
        begun.get(timeout=10)
        for _ in range(5):
            demand.ask()
        for _ in range(2):
            go_on.release()
        begun.get(timeout=10)
        demand.ask()
        begun.get(timeout=10)
    assert begun.empty()
    assert [entry["event"] for entry in logs] == ["work_failed"] * 2
    go_on.release()
