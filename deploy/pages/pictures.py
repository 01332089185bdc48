"""The pictures in ``docs/`` of the console, seen by a real browser, and of what Prometheus and
MLflow recorded: of a gateway with some traffic, and of ``examples/drift.py``.

    .venv/bin/python -m deploy.pages.pictures [overview] [drift]

It needs chromium and its driver (Debian: chromium, chromium-driver), prometheus, and an MLflow of
its own (as the tests do). It takes two minutes for each: a curve wants some points.
"""

from __future__ import annotations

import json
import subprocess
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
from tests.clients.gateway import Gateway, wait_until  # noqa: E402 - the checkout is found above
from tests.clients.mlflow_environment import (  # noqa: E402 - the checkout is found above
    MlflowServer,
)

TRAFFIC_S = 110
# How long the example goes on before its pictures are taken.
AFTER_S = 20
DOCS = ROOT / "docs"
TO_HEADING = (
    "[...document.querySelectorAll('h2, h3')]"
    ".find((one) => one.innerText === arguments[0]).scrollIntoView()"
)


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


def overview_and_model(folder: Path) -> None:
    gateway = Gateway(ROOT / "model_repo", folder / "gateway").wait_ready()
    steps = {"version": 2, "base": 1, "steps": [30, 60, 100], "every": 3600}
    start = "/api/v1/models/digits/rollout/start"
    gateway.get(start, json.dumps(steps).encode(), "POST", port=gateway.admin_port)
    stop = threading.Event()
    asker = threading.Thread(target=ask, args=(gateway, stop))
    asker.start()
    browser = Browser(folder / "browser", 1000, 760)
    try:
        time.sleep(TRAFFIC_S)
        address = f"http://{gateway.admin}/"
        browser.open(address)
        browser.shows("digits")
        browser.driver.set_window_size(1000, 640)
        browser.picture(DOCS / "console_overview.png")
        browser.open(f"{address}#/models/digits")
        browser.shows("Loads and routes")
        browser.driver.set_window_size(1000, 1500)
        browser.until(lambda: browser.all("canvas"), "the curves are drawn")
        time.sleep(1)
        browser.picture(DOCS / "console_model.png")
    finally:
        stop.set()
        asker.join()
        browser.close()
        gateway.stop()


def drift(folder: Path) -> None:
    """``examples/drift.py`` in the moment of its alarm, and what others recorded of it."""
    mlflow = MlflowServer(folder / "mlflow").start()
    place, said = folder / "drift", folder / "drift.log"
    command = ("examples/drift.py", "--keep", "--folder", place, "--tracking-uri", mlflow.uri)
    with said.open("wb") as log:
        story = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=log)
    browser = Browser(folder / "another", 1000, 1180)
    try:
        wait_until(lambda: "until Ctrl-C" in said.read_text(), 300, "the example is at its end")
        time.sleep(AFTER_S)
        browser.open(json.loads((place / "addresses.json").read_text())["console"])
        browser.until(lambda: browser.all(".feature svg"), "histograms are drawn")
        window = "const one = document.querySelector('#feature-window'); one.value = 'minute';"
        browser.script(window + "one.dispatchEvent(new Event('change'))")
        browser.shows("missing in 100 %")
        browser.script(TO_HEADING, "Features")
        browser.picture(DOCS / "console_features.png")
        browser.driver.set_window_size(1000, 325)
        browser.script(TO_HEADING, "Drift over time")
        browser.picture(DOCS / "insight_drift.png")
        charts = (DOCS / "insight_prometheus.svg", DOCS / "insight_mlflow.svg")
        plot = [sys.executable, "examples/plot_drift.py", str(place), *map(str, charts)]
        subprocess.run(plot, cwd=ROOT, check=True)
    finally:
        browser.close()
        story.terminate()
        story.wait()
        mlflow.kill()


def main() -> int:
    parts = {"overview": overview_and_model, "drift": drift}
    wanted = sys.argv[1:] or list(parts)
    if unknown := set(wanted) - set(parts):
        print(f"expected {' or '.join(parts)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            parts[name](Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
