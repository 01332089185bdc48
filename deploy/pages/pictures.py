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

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from serving.publishing import publish  # noqa: E402 - the checkout is found above
from tests import small_models  # noqa: E402 - the checkout is found above
from tests.clients.browser import Browser  # noqa: E402 - the checkout is found above
from tests.clients.gateway import Gateway  # noqa: E402 - the checkout is found above

TRAFFIC_S = 110
FEATURES_S = 25
SCHEMA = """
feature {
  name: "x[0]" type: FLOAT float_domain { min: -5 max: 5 }
  skew_comparator { jensen_shannon_divergence { threshold: 0.2 } }
}
feature { name: "x[1]" type: FLOAT }
feature { name: "x[2]" type: FLOAT }
feature {
  name: "x[3]" type: FLOAT
  skew_comparator { jensen_shannon_divergence { threshold: 0.2 } }
}
"""


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


def features(folder: Path) -> None:
    """Other data than the model was trained on."""
    random = np.random.default_rng(1)
    np.savez(folder / "train.npz", x=random.normal(0, 1, (2000, 4)).astype(np.float32))
    (folder / "tiny.onnx").write_bytes(small_models.tiny().SerializeToString())
    models = folder / "models"
    models.mkdir()
    publish(folder / "tiny.onnx", models, "scores", training_data=[folder / "train.npz"])
    (models / "scores" / "schema.pbtxt").write_text(SCHEMA)
    settings = {"statistics.samples_per_second": "0", "statistics.window_s": "1"}
    gateway = Gateway(models, folder / "other", settings).wait_ready()
    browser = Browser(folder / "another", 1000, 900)
    try:
        until = time.monotonic() + FEATURES_S
        while time.monotonic() < until:
            rows = random.normal([0, 0, 1, 3], 1, (50, 4)).round(3)
            rows[:, 1] = 0
            tensor = {"name": "x", "datatype": "FP32", "shape": [50, 4], "data": rows.tolist()}
            gateway.infer("scores", {"inputs": [tensor]})
            time.sleep(0.1)
        browser.open(f"http://{gateway.admin}/#/models/scores")
        browser.until(lambda: browser.all(".feature svg"), "histograms are drawn")
        browser.script("document.querySelector('#feature-version').scrollIntoView()")
        browser.picture(ROOT / "docs" / "console_features.png")
    finally:
        browser.close()
        gateway.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        overview_and_model(Path(folder))
        features(Path(folder))


if __name__ == "__main__":
    main()
