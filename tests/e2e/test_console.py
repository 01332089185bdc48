"""The console in a real browser, on a real gateway; and what its calls keep from other sites."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.publishing import publish
from tests.clients import axe
from tests.clients.browser import MISSING, Browser, is_there
from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.small_models import identity, scale, tiny, write

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
FEW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
BOTH = "version_policy: { latest: { num_versions: 2 } }"
APART = 'parameters { key: "isolation" value { string_value: "process" } }'
SCHEMA = """
feature { name: "x[0]" type: FLOAT float_domain { min: -4 max: 4 } }
feature { name: "x[1]" type: FLOAT }
feature { name: "x[2]" type: INT }
"""
LABELLED = 'output { name: "y" data_type: TYPE_FP32 dims: [-1, 3] label_filename: "labels.txt" }'
TINY = "section[aria-label='Rollout of tiny']"
LONG = "a-model-" + 190 * "x"
TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not is_there():
        if os.environ.get("BROWSER_TESTS") == "needed":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture
def browser(window: Browser) -> Browser:
    """Empty, and with nothing said yet."""
    window.open("about:blank")
    window.said()
    return window


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("served")
    repository = folder / "repository"
    repository.mkdir()
    for number in (1, 2):
        write(repository, "tiny", tiny(), number, config=BOTH)
        write(repository, LONG, tiny(), number, config=BOTH)
    write(repository, "odd name <b>", identity("BYTES"))
    write(repository, "apart", tiny(), config=APART)
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    one = Gateway(
        repository,
        folder / "gateway",
        settings={"canary.every_s": "3600", "canary.window_s": "0.5"},
    )
    yield one.wait_ready()
    one.finish()


def page(gateway: Gateway, at: str = "") -> str:
    return f"http://127.0.0.1:{gateway.admin_port}/{at}"


def asked(gateway: Gateway, path: str, **headers: str) -> HttpAnswer:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return gateway.get(path, headers=named, port=gateway.admin_port)


def commanded(
    gateway: Gateway, path: str, body: object, headers: dict[str, str] | None = None
) -> HttpAnswer:
    data = json.dumps(body).encode()
    return gateway.get(path, data, "POST", headers or {}, port=gateway.admin_port)


# Without a browser


def test_the_page_is_for_browsers_and_asks_nobody_else(served: Gateway) -> None:
    assert asked(served, "/", Accept="*/*").json()["control"] == "/api/v1/models"
    answer = asked(served, "/", Accept=HTML)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    again = served.get(
        "/console/main.js",
        headers={"If-None-Match": asked(served, "/console/main.js").headers["etag"]},
        port=served.admin_port,
    )
    assert again.status == 304
    for path in ("/console/nothing.js", "/console/..%2f__init__.py", "/console/"):
        assert asked(served, path).status == 404, path
    assert asked(served, "/", Accept=HTML, Host="evil.example").status == 421


def test_other_sites_and_gets_change_nothing(served: Gateway) -> None:
    start = "/api/v1/models/tiny/rollout/start"
    predict = "/api/v1/models/tiny/predict"
    for path, body in ((start, {"version": 2}), (predict, {"request": FEW})):
        for foreign in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Content-Type": "text/plain"},
        ):
            answer = commanded(served, path, body, foreign)
            assert answer.status in (403, 415), (path, foreign)
        assert asked(served, path).status == 405
    for path in ("/api/v1/overview", "/api/v1/events/stream?seconds=1"):
        assert asked(served, path, Origin="http://evil.example").status == 403


def test_a_prediction_is_told_as_a_client_gets_it(served: Gateway) -> None:
    path = "/api/v1/models/tiny/predict"
    found = commanded(served, path, {"version": 1, "request": FEW}).json()
    assert (found["status"], found["version"], found["route"]) == (200, "1", "named")
    assert json.loads(found["text"])["model_name"] == "tiny"
    wrong = commanded(served, path, {"request": {"inputs": []}}).json()
    assert wrong["status"] == 400
    assert "error" in json.loads(wrong["text"])
    errors = wait_until(
        lambda: asked(served, "/api/v1/models/tiny/errors").json()["errors"], 5, "it is told of"
    )
    assert errors[0]["word"] == "bad_request"
    assert errors[0]["message"] == json.loads(wrong["text"])["error"]
    assert asked(served, "/api/v1/models/nobody/errors").status == 404
    missing = commanded(served, "/api/v1/models/nobody/predict", {"request": FEW}).json()
    assert missing["status"] == 404
    assert commanded(served, path, {"request": [1]}).status == 400


def test_the_stream_ends_when_it_was_to_and_its_places_are_few(served: Gateway) -> None:
    answer = asked(served, "/api/v1/events/stream?seconds=0.1")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b"event: hello\n")
    assert asked(served, "/api/v1/events/stream?seconds=0").status == 400
    assert asked(served, "/api/v1/curves?model=nobody").status == 404
    assert asked(served, "/api/v1/curves?model=tiny&span=2h").status == 400
    assert asked(served, "/api/v1/curves?model=broken").json()["curves"] == []


def test_who_leaves_gives_the_place_back_and_who_comes_too_many_is_told(served: Gateway) -> None:
    command = ["curl", "-sN", f"http://{served.admin}/api/v1/events/stream"]
    for _ in range(2):
        followers: list[subprocess.Popen[bytes]] = []
        while asked(served, "/api/v1/events/stream?seconds=0.01").status == 200:
            followers.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            assert followers[-1].stdout.readline()
            assert len(followers) < 1000
        assert len(followers) >= 1
        assert "follow the events already" in str(asked(served, "/api/v1/events/stream").json())
        # Others are answered all the while.
        assert asked(served, "/api/v1/overview").status == 200
        for one in followers:
            one.kill()
            one.communicate()
        wait_until(
            lambda: asked(served, "/api/v1/events/stream?seconds=0.01").status == 200,
            10,
            "there is a place again",
        )


def test_a_follower_does_not_hold_up_the_end(start_gateway: Any, repository: Path) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository)
    curl = subprocess.Popen(
        ["curl", "-sN", f"http://{gateway.admin}/api/v1/events/stream"], stdout=subprocess.PIPE
    )
    assert curl.stdout is not None
    assert curl.stdout.readline() == b"event: hello\n"
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 5
    # The chunked answer ended as it should.
    assert curl.wait(5) == 0
    curl.stdout.close()


# In a browser


@pytest.mark.browser
def test_every_page_is_whole_and_says_nothing_on_the_browsers_console(
    served: Gateway, browser: Browser
) -> None:
    browser.open(page(served))
    browser.shows("odd name <b>")
    browser.shows("FAILED")
    browser.shows("live", "#connection")
    browser.open(page(served, "#/models/tiny"))
    browser.shows("Loads and routes")
    browser.shows("batched")
    browser.click('[data-span="1d"]')
    browser.open(page(served, "#/models/odd%20name%20%3Cb%3E"))
    browser.shows("odd name <b>", "h1")
    browser.shows("Loads and routes")
    browser.open(page(served, "#/models/broken"))
    browser.shows("it is not an ONNX protobuf")
    browser.open(page(served, "#/rollouts"))
    browser.shows("Rollouts", "h1")
    browser.open(page(served, "#/nowhere"))
    browser.shows("There is no such page")
    assert browser.said() == []


@pytest.mark.browser
def test_a_filter_and_a_state_choose_models(served: Gateway, browser: Browser) -> None:
    browser.open(page(served))
    browser.shows("odd name <b>")
    browser.fill("#filter", "in")
    browser.until(lambda: "odd name" not in browser.text("tbody"), "only tiny is left")
    browser.shows("tiny", "tbody")
    browser.fill("#filter", "[*")
    browser.shows("No model matches.")
    browser.fill("#filter", "")
    browser.script(
        "const one = document.querySelector('#state'); one.value = 'failed';"
        "one.dispatchEvent(new Event('change'))"
    )
    browser.until(lambda: "tiny" not in browser.text("tbody"), "only what failed is left")
    browser.shows("broken", "tbody")
    assert browser.said() == []


@pytest.mark.browser
def test_a_prediction_is_sent_and_its_lines_work_as_they_stand(
    served: Gateway, browser: Browser, tmp_path: Path
) -> None:
    browser.open(page(served, "#/try"))
    browser.fill("#model", "tiny")
    browser.click("main form button")
    browser.shows("in Python")
    browser.click("#send")
    browser.shows("200", "#status")
    browser.shows("model_name", "#answer")
    for shell, lines in ((["bash", "-c"], "#curl"), ([sys.executable, "-c"], "#python")):
        done = subprocess.run(
            [*shell, browser.text(lines)], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "y" in done.stdout, lines
    browser.fill("#body", "{")
    browser.click("#send")
    browser.shows("not valid JSON")
    browser.open(page(served, "#/try/odd%20name%20%3Cb%3E"))
    browser.shows("in Python")
    browser.click("#send")
    browser.shows("200", "#status")
    assert browser.said() == []


@pytest.mark.browser
def test_curves_are_drawn_and_without_the_library_told_in_tables(
    served: Gateway, browser: Browser
) -> None:
    served.infer("tiny", FEW)
    wait_until(
        lambda: asked(served, "/api/v1/curves?model=tiny").json()["curves"], 15, "a step is over"
    )
    browser.open(page(served, "#/models/tiny"))
    browser.until(lambda: len(browser.all(".chart canvas")) == 6, "six charts are drawn")
    browser.shows("Requests a second as a table")
    browser.shows("Memory of version 1, 2: an estimate")
    browser.script("globalThis.uPlot = undefined; location.hash = '#/rollouts'")
    browser.shows("Rollouts", "h1")
    browser.script("location.hash = '#/models/tiny'")
    browser.shows("built without the chart library")
    browser.shows("Requests a second, the newest first")
    browser.shows("Memory, the newest first")
    assert browser.said() == []


@pytest.mark.browser
def test_memory_of_who_nobody_asks_is_drawn_and_of_a_process_measured(
    served: Gateway, browser: Browser
) -> None:
    wait_until(
        lambda: asked(served, "/api/v1/curves?model=apart").json()["memory"], 15, "a step is over"
    )
    (own,) = asked(served, "/api/v1/curves?model=apart&version=1").json()["memory"]
    assert own["measured"]
    # More than Python and onnxruntime alone, and no more than a process of a small model takes.
    assert 1 << 20 < own["bytes"][-1] < 1 << 30
    (guess,) = asked(served, "/api/v1/curves?model=tiny&version=2").json()["memory"]
    assert not guess["measured"]
    versions = asked(served, "/api/v1/models/tiny").json()["versions"]
    assert guess["bytes"] == [versions[1]["memory_bytes"]]
    assert asked(served, "/api/v1/curves?model=tiny&version=3").json()["memory"] == []
    browser.open(page(served, "#/models/apart"))
    browser.shows("Nobody asked this model in the last hour.")
    browser.until(lambda: len(browser.all(".chart canvas")) == 1, "its memory is drawn")
    browser.shows("Memory as a table")
    assert "an estimate" not in browser.text()
    assert browser.said() == []


@pytest.mark.browser
def test_a_phone_shows_all_without_scrolling_sideways(served: Gateway, browser: Browser) -> None:
    commanded(served, f"/api/v1/models/{LONG}/default", {"version": 1})
    commanded(served, f"/api/v1/models/{LONG}/rollout/start", {"version": 2})
    try:
        for at, words in (
            ("", "tiny"),
            ("#/models/tiny", "Loads"),
            (f"#/models/{LONG}", "Loads"),
            ("#/rollouts", "Promote now"),
            ("#/try/tiny", "in Python"),
            (f"#/try/{LONG}", "in Python"),
        ):
            browser.driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True},
            )
            browser.open("about:blank")
            browser.open(page(served, at))
            browser.shows(words)
            width = browser.script("return document.documentElement.scrollWidth")
            assert width <= 360, at
            # A name is read in words, not in letters one below the other.
            narrow = (
                "return [...document.querySelectorAll('th.name')].map((one) => one.clientWidth)"
            )
            assert all(width >= 140 for width in browser.script(narrow)), at
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        commanded(served, f"/api/v1/models/{LONG}/rollout/abort", {})


@pytest.mark.browser
def test_a_rollout_is_seen_and_steered(served: Gateway, browser: Browser) -> None:
    commanded(served, "/api/v1/models/tiny/default", {"version": 1})
    commanded(served, "/api/v1/models/tiny/rollout/start", {"version": 2, "steps": [10, 50, 100]})
    browser.open(page(served, "#/rollouts"))
    browser.shows("running", TINY)

    def press(verb: str, *, sure: bool = True) -> None:
        browser.click(f'[data-verb="{verb}"]')
        browser.click(f'#sure[open] button[value="{"ok" if sure else "cancel"}"]')

    press("pause", sure=False)
    press("pause")
    browser.shows("paused by", TINY)
    press("resume")
    browser.until(lambda: "paused" not in browser.text(TINY), "it runs again")
    served.infer("tiny", FEW, 2)
    press("abort")
    browser.shows("aborted by", TINY)
    assert browser.all('[data-verb="abort"]') == []
    commanded(served, "/api/v1/models/tiny/rollout/start", {"version": 2, "steps": [10, 100]})
    browser.open(page(served, "#/models/tiny"))
    browser.shows("running", TINY)
    browser.click('[data-verb="promote"]')
    browser.until(lambda: browser.all("#sure[open]"), "it is asked whether one is sure")
    browser.script("document.querySelector('#sure-reason').value = 'it is good'")
    browser.click('#sure button[value="ok"]')
    browser.until(lambda: _default(served) == 2, "version 2 answers unnamed requests")
    browser.shows("it is good")
    assert browser.said() == []


@pytest.mark.browser
def test_what_the_judge_sees_comes_in_without_being_asked_for(
    served: Gateway, browser: Browser
) -> None:
    commanded(served, "/api/v1/models/tiny/default", {"version": 1})
    commanded(served, "/api/v1/models/tiny/rollout/start", {"version": 2, "steps": [50, 100]})
    browser.open(page(served, "#/rollouts"))
    browser.shows("running", TINY)
    browser.shows("live", "#connection")
    browser.click(f"{TINY} details.log summary")

    def calls() -> int:
        return int(
            browser.script(
                "return performance.getEntriesByType('resource')"
                ".filter((one) => /api.v1.(rollouts|models|overview)/.test(one.name)).length"
            )
        )

    def log() -> list[list[str]]:
        rows = browser.text(f"{TINY} details.log tbody tr").splitlines()
        return [row.split("\t") for row in rows]

    before, lines = calls(), len(log())
    for _ in range(3):
        served.infer("tiny", FEW, 2)
        served.infer("tiny", {"inputs": []}, 2)
    browser.until(lambda: len(log()) > lines, "a line came in")
    browser.until(lambda: int(log()[0][4]) >= 3, "the new version's requests are counted")
    assert calls() == before
    assert browser.all("details.log[open]")
    commanded(served, "/api/v1/models/tiny/rollout/abort", {})
    browser.shows("aborted by", TINY)
    assert log()[0][1] == "aborted"
    assert browser.said() == []


def _default(gateway: Gateway) -> int | None:
    found = {one["name"]: one["default"] for one in gateway.models()["models"]}
    return found["tiny"]


@pytest.mark.browser
def test_axe_finds_nothing_serious(served: Gateway, browser: Browser) -> None:
    script = axe.source()
    if script is None:
        pytest.skip("axe-core can't be had: npm, or its registry")
    for at, words in (
        ("", "tiny"),
        ("#/models/tiny", "Loads and routes"),
        ("#/rollouts", "Rollouts"),
        ("#/try/tiny", "in Python"),
    ):
        browser.open("about:blank")
        browser.open(page(served, at))
        browser.shows(words)
        assert axe.serious(browser, script) == [], at


CONTROLS = """
const all = [...document.querySelectorAll(
  "a[href], button:not(:disabled), input, select, textarea, summary, [tabindex='0']"
)].filter((one) => one.checkVisibility({visibilityProperty: true}));
const one = document.activeElement, style = getComputedStyle(one);
return [all.map((one) => one.outerHTML.slice(0, 90)), all.indexOf(one),
  style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0]
"""
TAB = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}


@pytest.mark.browser
def test_the_keyboard_alone_reaches_every_control_and_shows_where_it_is(
    served: Gateway, browser: Browser
) -> None:
    commanded(served, "/api/v1/models/tiny/default", {"version": 1})
    commanded(served, "/api/v1/models/tiny/rollout/start", {"version": 2, "steps": [50, 100]})
    for at, words in (
        ("", "tiny"),
        ("#/models/tiny", "Promote now"),
        ("#/rollouts", "Promote now"),
        ("#/try/tiny", "in Python"),
    ):
        browser.open("about:blank")
        browser.open(page(served, at))
        browser.shows(words)
        browser.shows("live", "#connection")
        # From the top on, as somebody who comes to the page.
        browser.script("document.activeElement.blur()")
        reached: list[int] = []
        for _ in range(150):
            for kind in ("rawKeyDown", "keyUp"):
                browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, **TAB})
            controls, number, is_shown = browser.script(CONTROLS)
            if number in reached:
                break
            # Behind the last one the browser begins anew.
            if number < 0:
                continue
            assert is_shown, (at, controls[number])
            reached.append(number)
        assert sorted(reached) == list(range(len(controls))), (
            at,
            [one for number, one in enumerate(controls) if number not in reached],
        )
    commanded(served, "/api/v1/models/tiny/rollout/abort", {})


@pytest.mark.browser
def test_what_is_drawn_anew_stays_scrolled_open_and_focused(
    served: Gateway, browser: Browser
) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        browser.open(page(served))
        browser.shows("tiny")
        browser.script(
            "const one = document.querySelector('.scroll'); one.focus(); one.scrollLeft = 40;"
            "one.dataset.before = 'yes'"
        )
        commanded(served, "/api/v1/models/tiny/label", {"alias": "drawn-anew", "version": 1})
        browser.shows("drawn-anew")
        found = browser.script(
            "const one = document.querySelector('.scroll');"
            "return [one.dataset.before, one.scrollLeft, one === document.activeElement]"
        )
        assert found == [None, 40, True]
    finally:
        commanded(served, "/api/v1/models/tiny/label", {"alias": "drawn-anew", "version": None})
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_a_gateway_that_goes_away_and_comes_back_is_told_of(
    start_gateway: Any, repository: Path, browser: Browser
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository)
    browser.open(page(gateway))
    browser.shows("live", "#connection")
    browser.shows("READY")
    gateway.signal(signal.SIGSTOP)
    gateway.signal(signal.SIGCONT)
    assert gateway.stop() == 0
    browser.shows("not live", "#connection")
    write(repository, "another", scale(2.0))
    ports = {
        "http_port": str(gateway.http_port),
        "grpc_port": str(gateway.grpc_port),
        "admin_port": str(gateway.admin_port),
    }
    again = start_gateway(repository, ports, wait=False)
    again.http_port = gateway.http_port
    again.wait_ready()
    browser.until(
        lambda: browser.text("#connection") == "live" and "another" in browser.text(),
        "it follows again, and shows what is new",
    )


@pytest.mark.browser
def test_a_token_is_asked_for_once_and_kept_in_the_tab(
    start_gateway: Any, repository: Path, tmp_path: Path, browser: Browser
) -> None:
    write(repository, "tiny", tiny())
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    gateway = start_gateway(repository, {"admin_token_file": str(file)})
    browser.open(page(gateway))

    def give(token: str) -> None:
        browser.until(lambda: browser.all("#token[open]"), "the token is asked for")
        browser.fill("#token-value", token)
        browser.click('#token button[value="ok"]')

    browser.until(lambda: browser.all("#token[open]"), "the token is asked for")
    browser.click('#token button[value="cancel"]')
    # The stream asks again by then.
    browser.shows("not live", "#connection")
    time.sleep(1.8)
    assert browser.all("#token[open]") == []
    browser.open("about:blank")
    browser.open(page(gateway))
    give("t\N{EURO SIGN}ken")
    browser.shows("visible ASCII", "#token")
    give("another")
    browser.shows("not the right one", "#token")
    give(TOKEN)
    browser.shows("tiny")
    browser.shows("live", "#connection")
    browser.open(page(gateway, "#/models/tiny"))
    browser.shows("Loads and routes")
    assert browser.all("#token[open]") == []
    assert TOKEN not in browser.driver.page_source
    assert browser.script("return localStorage.length") == 0
    browser.said()  # the refusals


@pytest.mark.browser
def test_many_models_and_versions_are_shown_a_page_at_a_time(
    start_gateway: Any, repository: Path, browser: Browser
) -> None:
    for number in range(120):
        write(repository, f"model-{number:03}", tiny())
    write(repository, "deep", tiny())
    for number in range(2, 1001):
        (repository / "deep" / str(number)).symlink_to(repository / "deep" / "1")
    gateway = start_gateway(
        repository,
        {
            "model_control": "explicit",
            "load_models": "deep",
            "registry.follow_symlinks": "true",
        },
    )
    wait_until(lambda: len(gateway.models()["models"]) == 121, 30, "all are found")
    browser.open(page(gateway))
    browser.shows("999 more versions")
    assert "model-120" not in browser.text()
    browser.shows("model-048")
    for name in ("model-098", "model-119"):
        browser.click('[data-key=" next"]')
        browser.shows(name)
    assert browser.script("return document.querySelector('[data-key=\" next\"]').disabled")
    browser.click('[data-key=" before"]')
    browser.shows("model-098")
    browser.open(page(gateway, "#/models/deep"))
    browser.shows("999 versions on disk that are not loaded")
    assert browser.said() == []


@pytest.mark.browser
@pytest.mark.slow
def test_features_are_shown_against_their_baseline(
    start_gateway: Any, repository: Path, tmp_path: Path, browser: Browser
) -> None:
    pytest.importorskip("datasketches")
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "train.npz", x=rng.normal(0, 1, (2000, 4)).astype(np.float32))
    (tmp_path / "tiny.onnx").write_bytes(tiny().SerializeToString())
    publish(tmp_path / "tiny.onnx", repository, "tiny", training_data=[tmp_path / "train.npz"])
    (repository / "tiny" / "schema.pbtxt").write_text(SCHEMA)
    (repository / "tiny" / "config.pbtxt").write_text(LABELLED)
    (repository / "tiny" / "labels.txt").write_text("<b>cat\n<b>dog\n<b>fish\n")
    settings = {
        "statistics.samples_per_second": "0",
        "statistics.window_s": "1",
        "tracking.window_s": "1",
        "validation.mode": "log",
    }
    gateway = start_gateway(repository, settings)
    browser.open(page(gateway, "#/models/tiny"))
    browser.shows("Nobody has asked this version since the gateway started")

    def drifting() -> bool:
        rows = rng.normal(5, 1, (200, 4)).round(3)
        rows[:, 1] = 0
        tensor = {"name": "x", "datatype": "FP32", "shape": [200, 4], "data": rows.tolist()}
        gateway.infer("tiny", {"inputs": [tensor]})
        found = asked(gateway, "/api/v1/models/tiny/versions/1/anomalies").json()
        return bool(found["anomalies"])

    wait_until(drifting, 20, "an anomaly", every=0.2)
    curves = wait_until(
        lambda: asked(gateway, "/api/v1/curves?model=tiny").json()["curves"], 15, "a step is over"
    )
    # From then on the page shows the hour.
    wait_until(lambda: time.time() > curves[0]["at"][0] + 2, 15, "two windows are over")
    browser.open("about:blank")
    browser.open(page(gateway, "#/models/tiny"))
    browser.shows("FEATURE_TYPE_")
    browser.shows("x[1]")
    browser.shows("Requests that do not fit the schema")
    browser.shows("live baseline")
    browser.until(lambda: len(browser.all(".feature svg")) >= 4, "histograms are drawn")
    (bars,) = [one for one in browser.all(".feature svg") if "y.class" in one.accessible_name]
    labels = [one.text for one in bars.find_elements("css selector", "text")]
    assert labels
    assert set(labels) <= {"0 <b>cat", "1 <b>dog", "2 <b>fish"}
    outline = "return document.querySelectorAll('.feature polyline.fill-two').length"
    assert browser.script(outline) == 4
    assert browser.said() == []
    browser.shows("Drift over time")
    if script := axe.source():
        assert axe.serious(browser, script) == []


@pytest.mark.browser
def test_a_histogram_of_any_numbers_is_drawn(
    start_gateway: Any, repository: Path, browser: Browser
) -> None:
    """The largest there are, and the infinite bounds that others' files may have."""
    gateway = start_gateway(repository)
    browser.open(page(gateway))
    drawn = browser.driver.execute_async_script(
        """const done = arguments[0];
        import("./console/drawing.js").then(({ histogram }) => {
          const [low, high] = [-1.7e308, 1.7e308];
          const live = [{ low, high: 0, share: 0.5 }, { low: 0, high, share: 0.5 }];
          const base = [{ low: -Infinity, high: 0, share: 0.5 }, { low: 0, high: 1, share: 0.5 }];
          document.body.append(histogram(live, base, "x"), histogram(base, live, "x"));
          done([...document.querySelectorAll("rect")].map((one) => one.getAttribute("width")));
        }, (error) => done([String(error)]));"""
    )
    assert [float(width) for width in drawn] == [151.5, 151.5, 1.5]
    assert browser.said() == []


@pytest.mark.browser
def test_differences_of_a_shadow_are_shown_and_what_is_redacted_is_not(
    start_gateway: Any, repository: Path, browser: Browser
) -> None:
    for number, factor in ((1, 2.0), (2, 3.0)):
        write(repository, "m", scale(factor), number, config=BOTH)
    gateway = start_gateway(repository, {"request_log.redact": "X"})
    browser.open(page(gateway, "#/models/m"))
    browser.shows("No version of this model is a shadow")
    commanded(gateway, "/api/v1/models/m/default", {"version": 1})
    commanded(gateway, "/api/v1/models/m/route", {"shadows": {"2": 1.0}})
    browser.shows("Copies of requests that nobody gets the answer of")
    gateway.infer("m", {"inputs": [{**FEW["inputs"][0], "name": "X", "shape": [2, 2]}]})

    def compared() -> bool:
        found = asked(gateway, "/api/v1/models/m/shadows").json()["shadows"]
        return bool(found[0]["compared"])

    wait_until(compared, 20, "it is compared")
    browser.open("about:blank")
    browser.open(page(gateway, "#/models/m"))
    browser.shows("100 %", "[aria-label='Shadows'] td")
    browser.click("details[data-version='2'] summary")
    browser.shows("Y FP32", "[aria-label='Shadows']")
    browser.shows("at most 4 apart", "figcaption")
    text = browser.text("[aria-label='Shadows'] pre")
    assert "X FP32 [2, 2] redacted" in text
    assert "Y FP32 [2, 2] [2,4,6,8]" in text
    assert "Y FP32 [2, 2] [3,6,9,12]" in text
    assert "1,2,3,4" not in browser.driver.page_source
    assert browser.said() == []


@pytest.mark.browser
def test_what_models_and_files_make_up_does_not_hold_the_page_up(
    served: Gateway, browser: Browser
) -> None:
    """An answer of half an open bracket and spaces once took a pattern for ever, and its spaces
    were gone; more buckets than a call has arguments were an error."""
    browser.open(page(served))
    shown, same, drawn = browser.driver.execute_async_script(
        """const done = arguments[0];
        const files = ["./console/try.js", "./console/drawing.js"];
        Promise.all(files.map((one) => import(one))).then(([{ pretty }, { histogram }]) => {
          const text = `[${" ".repeat(100000)}{`;
          const answer = { list: [1, "[  x  ]", null], text, none: [], deep: [{ a: {} }] };
          const shown = pretty(JSON.stringify(answer));
          const same = JSON.stringify(JSON.parse(shown)) === JSON.stringify(answer);
          const bucket = (_, at) => ({ low: at, high: at + 1, share: 1 });
          const many = Array.from({ length: 200000 }, bucket);
          const [none, some] = [histogram(many, null, "x"), histogram(many.slice(0, 2), many, "x")];
          const drawn = [none.textContent, some.querySelectorAll("rect").length];
          done([shown.replace(text, "TEXT"), same, drawn]);
        }, (error) => done([String(error), null, null]));"""
    )
    assert shown.splitlines() == [
        "{",
        '  "list": [1, "[  x  ]", null],',
        '  "text": "TEXT",',
        '  "none": [],',
        '  "deep": [',
        "    {",
        '      "a": {}',
        "    }",
        "  ]",
        "}",
    ]
    assert same
    assert drawn == ["200,000 buckets are too many to draw.", 2]
    assert browser.said() == []


@pytest.mark.browser
def test_where_statistics_are_off_the_page_says_so(
    start_gateway: Any, repository: Path, browser: Browser
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, {"statistics.enabled": "false"})
    browser.open(page(gateway, "#/models/tiny"))
    browser.shows("keeps no statistics")
    assert browser.said() == []
