"""The example of drift, whole, with real parts: the alarm is where it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import psutil
import pytest

from tests.clients import browser
from tests.clients.gateway import ROOT, wait_until
from tests.clients.mlflow_environment import MlflowServer

SCRIPT = ROOT / "examples" / "drift.py"
ANOMALIES = {
    ("age", "FEATURE_TYPE_NOT_PRESENT"),
    ("amount", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"),
    ("country", "COMPARATOR_L_INFTY_HIGH"),
    ("country", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
}
AT_WORK_S = 240


class Kept(NamedTuple):
    """One that goes on: its process, what it said so far, where its parts are."""

    process: subprocess.Popen[bytes]
    said: str
    addresses: dict[str, str]


def ran(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=AT_WORK_S, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--window", "0"), 2, "--window: expected 1 to 60 seconds, got '0'"),
        (("--window", "nan"), 2, "--window: expected 1 to 60 seconds, got 'nan'"),
        (("--tracking-uri", "mlruns"), 2, "expected http://..., https://... or none, got 'mlruns'"),
        (("--folder", ROOT), 1, "expected an empty or a new one"),
        (("--folder", SCRIPT), 1, "file exists"),
        (("--tracking-uri", "http://127.0.0.1:1"), 1, "no MLflow server answers"),
    ],
)
def test_what_is_typed_wrongly_is_told(
    arguments: tuple[object, ...], status: int, words: str
) -> None:
    done = ran(*arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("drift")
    said, place = folder / "said", folder / "story"
    options = ("--keep", "--folder", str(place), "--tracking-uri", "none")
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *options], stdout=output, stderr=subprocess.STDOUT
        )

    def goes_on() -> bool:
        assert process.poll() is None, said.read_text()
        return "until Ctrl-C" in said.read_text()

    try:
        wait_until(goes_on, AT_WORK_S, "the story is told", 0.2)
        yield Kept(process, said.read_text(), json.loads((place / "addresses.json").read_text()))
    finally:
        # It ends what it started.
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_the_gateway_and_prometheus_tell_of_it(kept: Kept) -> None:
    said = kept.said
    assert "MLflow: left out, as asked for" in said
    assert "8 thresholds" in said
    assert "Anomalies: none" in said
    assert set(re.findall(r"^     (\w+): ([A-Z_]+)\.", said, re.MULTILINE)) == ANOMALIES
    metrics = asked(kept.addresses["metrics"]).decode()
    active = set(re.findall(r'_anomalies_active{.*type="(\w+)"} 1$', metrics, re.MULTILINE))
    assert active == {kind for _, kind in ANOMALIES}
    assert not re.search(r'serving_request_total{.*code="(?!OK)', metrics)
    if shutil.which("prometheus") is None:
        assert "Prometheus: not installed" in said
        return
    assert "ServingFeatureAnomaly: What payments version 1" in said
    found = json.loads(asked(f"{kept.addresses['prometheus']}/api/v1/alerts"))["data"]["alerts"]
    firing = {
        one["labels"]["type"]
        for one in found
        if one["labels"]["alertname"] == "ServingFeatureAnomaly" and one["state"] == "firing"
    }
    assert firing >= active


def asked(url: str) -> bytes:
    with urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def rows(window: browser.Browser) -> list[str]:
    """The words of every table's row."""
    script = "return [...document.querySelectorAll('tr')].map((one) => one.innerText)"
    return list(window.script(script))


@pytest.mark.slow
@pytest.mark.browser
def test_the_console_shows_it(kept: Kept, tmp_path: Path) -> None:
    if not browser.is_there():
        if os.environ.get("BROWSER_TESTS") == "needed":
            pytest.fail(browser.MISSING)
        pytest.skip(browser.MISSING)
    window = browser.Browser(tmp_path)
    try:
        window.open(kept.addresses["console"])
        for feature, kind in ANOMALIES:
            window.until(
                lambda feature=feature, kind=kind: any(
                    feature in row and kind in row for row in rows(window)
                ),
                f"{feature}: {kind}",
            )
        window.until(lambda: len(window.all(".feature svg")) >= 4, "histograms are drawn")
        window.script(
            "const one = document.querySelector('#feature-window'); one.value = 'minute';"
            "one.dispatchEvent(new Event('change'))"
        )
        window.shows("missing in 100 %")
        assert "mean 0, deviation 0" not in window.text()
        window.shows("The baseline has nothing of these.")
        assert window.said() == []
    finally:
        window.close()


@pytest.mark.slow
def test_what_it_recorded_is_drawn_and_it_ends_whole(kept: Kept, tmp_path: Path) -> None:
    story = psutil.Process(kept.process.pid)
    (folder,) = [one for one in story.cmdline() if one.endswith("story")]
    if shutil.which("prometheus"):
        drawn = subprocess.run(
            [sys.executable, str(SCRIPT.with_name("plot_drift.py")), folder, tmp_path / "a.svg"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / "a.svg").read_text().count("<polyline") == 6
    parts = story.children(recursive=True)
    assert len(parts) >= 2
    kept.process.send_signal(signal.SIGTERM)
    assert kept.process.wait(60) == 0
    _, left = psutil.wait_procs(parts, 5)
    assert left == []


@pytest.mark.slow
@pytest.mark.mlflow
@pytest.mark.timeout(1800)
def test_mlflow_has_it_on_the_versions_run(tmp_path: Path) -> None:
    server = MlflowServer(tmp_path / "mlflow").start()
    try:
        done = ran("--tracking-uri", server.uri)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The alarm was seen in every place that there is." in done.stdout
        (run,) = server.runs()
        told: dict[str, list[Any]] = {
            key: [point["value"] for point in server.history(run["info"]["run_id"], key)]
            for key in ("feature_anomalies", "feature_distance/skew", "errors")
        }
    finally:
        server.kill()
    assert told["feature_anomalies"][0] == 0
    assert told["feature_anomalies"][-1] == 3
    assert told["feature_distance/skew"][0] < 0.2 < told["feature_distance/skew"][-1]
    assert sum(told["errors"]) == 0
    assert f"run {run['info']['run_id']}" in done.stdout
