"""The pictures of the console in ``docs/``: a gateway with some traffic, seen by a real browser.

    .venv/bin/python -m deploy.pages.pictures

It needs chromium and its driver (Debian: chromium, chromium-driver), and takes two minutes: a
curve wants some points.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.clients.browser import Browser  # noqa: E402 - the checkout is found above
from tests.clients.gateway import Gateway  # noqa: E402 - the checkout is found above

TRAFFIC_S = 110


def ask(gateway: Gateway, stop: threading.Event) -> None:
    """More and more often, now and then wrongly."""
    began = time.monotonic()
    for number in range(1_000_000):
        if stop.wait(0.03 / (1 + (time.monotonic() - began) / 60)):
            return
        columns = 63 if number % 50 == 0 else 64
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, columns], "data": [0] * columns}
        request = urllib.request.Request(
            f"http://{gateway.http}/v2/models/digits/infer",
            json.dumps({"inputs": [tensor]}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except urllib.error.HTTPError as error:
            error.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(ROOT / "model_repo", Path(folder) / "gateway").wait_ready()
        steps = {"version": 2, "base": 1, "steps": [30, 60, 100], "every": 3600}
        start = "/api/v1/models/digits/rollout/start"
        gateway.get(start, json.dumps(steps).encode(), "POST", port=gateway.admin_port)
        stop = threading.Event()
        asker = threading.Thread(target=ask, args=(gateway, stop))
        asker.start()
        browser = Browser(Path(folder) / "browser", 1000, 760)
        try:
            time.sleep(TRAFFIC_S)
            address = f"http://{gateway.admin}/"
            browser.open(address)
            browser.shows("digits")
            browser.driver.set_window_size(1000, 640)
            browser.picture(ROOT / "docs" / "console_overview.png")
            browser.open(f"{address}#/models/digits")
            browser.shows("Loads and routes")
            browser.driver.set_window_size(1000, 1500)
            browser.until(lambda: browser.all("canvas"), "the curves are drawn")
            time.sleep(1)
            browser.picture(ROOT / "docs" / "console_model.png")
        finally:
            stop.set()
            asker.join()
            browser.close()
            gateway.stop()


if __name__ == "__main__":
    main()
