"""What a scrape costs a gateway's Python, from inside its process; prints JSON.

python -m benchmarks.scrape_cost REGISTRY SCRAPES

Two figures, in seconds a scrape. ``held``: CPU time of the threads that answer scrapes, less what
the core takes to write its text, which needs no GIL; the GIL can't have been held for longer.
``gap``: the longest that another thread, which does nothing but look at the clock, was kept from
doing so, the median over the scrapes, and ``idle`` the same without a scrape.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

from serving.app import Gateway
from serving.settings import load_settings

# Threads of the admin port: its loop, and those that run what may block.
ADMIN_THREADS = ("admin", "AnyIO")


class Ticker:
    """Looks at the clock all the time, and keeps the longest gap between two looks."""

    def __init__(self) -> None:
        self._over = False
        self._longest = 0.0
        self._thread = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over = True
        self._thread.join()

    def _tick(self) -> None:
        before = time.perf_counter()
        while not self._over:
            now = time.perf_counter()
            self._longest = max(self._longest, now - before)
            before = now

    def take(self) -> float:
        """The longest gap since the last call, in seconds."""
        longest, self._longest = self._longest, 0.0
        return longest


def cpu_of_admin() -> float:
    """CPU seconds of its threads so far."""
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None and thread.name.startswith(ADMIN_THREADS)
    )


def cpu_of(work: Callable[[], object], times: int) -> float:
    """CPU seconds of this thread for one call."""
    before = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - before) / times


def ask_each(gateway: Gateway) -> None:
    """So that a scrape tells all there is to tell of every version; a refusal counts, too."""
    host, port = gateway.http_address
    for view in gateway.models():
        url = f"http://{host}:{port}/v2/models/{view.name}/infer"
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(url, b"{}").close()


def measure(gateway: Gateway, scrapes: int) -> dict[str, float]:
    url = "http://{}:{}/metrics".format(*gateway.admin_address)

    def scrape() -> int:
        with urllib.request.urlopen(url) as answer:
            return len(answer.read())

    size = scrape()
    core = cpu_of(gateway.server.metrics, scrapes)
    before = cpu_of_admin()
    for _ in range(scrapes):
        scrape()
    total = (cpu_of_admin() - before) / scrapes
    # This process reads the answers too: for the gaps, somebody else must do that.
    render = gateway.exposition.render
    ticker = Ticker()
    ticker.start()
    gaps, idle = [], []
    for _ in range(scrapes):
        ticker.take()
        time.sleep(0.02)
        idle.append(ticker.take())
        render(gateway.server.metrics(), gateway.models())
        gaps.append(ticker.take())
    ticker.stop()
    return {
        "bytes": size,
        "core": core,
        "held": total - core,
        "gap": median(gaps),
        "idle": median(idle),
    }


def main() -> None:
    registry, scrapes = Path(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "http_port": 0,
            "grpc_port": 0,
            "admin_port": 0,
            "state_dir": folder,
            "loading.trial": "off",
            "shutdown.drain_delay_s": 0.0,
        }
        gateway = Gateway(load_settings(given, None, {})[0], [registry])
        gateway.start()
        gateway.wait_loaded()
        ask_each(gateway)
        print(json.dumps(measure(gateway, scrapes)))
        gateway.stop()


if __name__ == "__main__":
    main()
