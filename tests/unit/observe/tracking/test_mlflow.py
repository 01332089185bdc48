"""The MLflow exporter against a server that answers what a test wants."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from serving.errors import ConfigError
from serving.observe.errors import ExportError
from serving.observe.mlflow_api import MAX_METRICS
from serving.observe.tracking.exporter import RunFacts
from serving.observe.tracking.mlflow import MlflowExporter
from serving.settings import MlflowSettings, load_settings
from serving.state_dir import StateDir
from tests.unit.tracking_world import window

Answer = tuple[int, bytes]
FACTS = RunFacts("m", 1, 1.0, {"server": "s", "provider": "CPU", "empty": ""}, "abc", "r1", "")


def _json(value: object, status: int = 200) -> Answer:
    return status, json.dumps(value).encode()


def _refused(code: str, status: int = 404) -> Answer:
    return _json({"error_code": code, "message": "its own\nwords: s3cret"}, status)


class FakeMlflow:
    """Keeps what it was asked. ``answers``: path's end -> what is answered instead."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Answer | None]] = {}
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.exporters: list[MlflowExporter] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                self._answer(json.loads(body))

            def _answer(self, body: dict[str, Any]) -> None:
                status, content = fake.answer(self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Nothing to be read."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        for exporter in self.exporters:
            exporter.close()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        call = path.split("?", maxsplit=1)[0].removeprefix("/api/2.0/mlflow/")
        self.asked.append((call, body, headers))
        special = self.answers.get(call)
        found = special(body) if special is not None else None
        return found if found is not None else self._good(call, path, body)

    def _good(self, call: str, path: str, body: dict[str, Any]) -> Answer:
        if call == "experiments/get-by-name":
            name = path.rpartition("=")[2]
            if name not in self.experiments:
                return _refused("RESOURCE_DOES_NOT_EXIST")
            return _json({"experiment": {"experiment_id": self.experiments[name]}})
        if call == "experiments/create":
            self.experiments[body["name"]] = str(len(self.experiments) + 1)
            return _json({"experiment_id": self.experiments[body["name"]]})
        if call == "runs/create":
            run = f"run{len(self.runs) + 1}"
            self.runs[run] = body
            return _json({"run": {"info": {"run_id": run}}})
        if call == "runs/search":
            key = body["filter"].split("'")[1]
            tag = {"key": "serving.run_key", "value": key}
            found = [run for run, made in self.runs.items() if tag in made["tags"]]
            return _json({"runs": [{"info": {"run_id": run}} for run in found]})
        return _json({})

    def calls(self, name: str) -> list[dict[str, Any]]:
        return [body for call, body, _ in self.asked if call == name]

    def metrics(self) -> list[tuple[str, int, str, float]]:
        """(run, step, key, value) of all that was logged."""
        return [
            (body["run_id"], one["step"], one["key"], one["value"])
            for body in self.calls("runs/log-batch")
            for one in body.get("metrics", [])
        ]


@pytest.fixture
def server() -> Iterator[FakeMlflow]:
    one = FakeMlflow()
    try:
        yield one
    finally:
        one.close()


def _exporter(server: FakeMlflow, state: Path | None = None, **settings: Any) -> MlflowExporter:
    given = {"uri": f"http://{server.address}", **settings}
    exporter = MlflowExporter(MlflowSettings(**given), StateDir(state))
    server.exporters.append(exporter)
    return exporter


def _send(exporter: MlflowExporter, *numbers: int, facts: RunFacts = FACTS) -> int:
    prepared = exporter.prepare([window(number) for number in numbers], {("m", 1): facts})
    return exporter.send(prepared)


def test_a_run_is_made_once_described_and_finished(server: FakeMlflow) -> None:
    exporter = _exporter(server, experiment="mine")
    assert _send(exporter, 1) == 0
    assert _send(exporter, 2, 3) == 0
    assert server.experiments == {"mine": "1"}
    (made,) = server.calls("runs/create")
    assert (made["experiment_id"], made["run_name"], made["start_time"]) == (
        "1",
        "m v1 on s",
        102_000,
    )
    tags = {one["key"]: one["value"] for one in made["tags"]}
    assert tags["mlflow.source.git.commit"] == "abc"
    assert tags["serving.training_run_id"] == "r1"
    assert "serving.model_id" not in tags, "what is not known is not said"
    params = [body["params"] for body in server.calls("runs/log-batch") if "params" in body]
    assert params == [[{"key": "server", "value": "s"}, {"key": "provider", "value": "CPU"}]]
    assert server.metrics() == [("run1", step, "requests", 1.0) for step in (1, 2, 3)]
    exporter.keep((), 200.0)
    exporter.settle()
    exporter.settle()
    assert server.calls("runs/update") == [
        {"run_id": "run1", "status": "FINISHED", "end_time": 200_000}
    ]


def test_another_experiment_that_is_there_is_used(server: FakeMlflow) -> None:
    server.experiments["serving"] = "7"
    _send(_exporter(server), 1)
    assert server.calls("runs/create")[0]["experiment_id"] == "7"
    assert not server.calls("experiments/create")


def test_an_experiment_that_another_gateway_makes_meanwhile_is_used(server: FakeMlflow) -> None:
    def taken(body: dict[str, Any]) -> Answer:
        server.experiments["serving"] = "9"
        return _refused("RESOURCE_ALREADY_EXISTS", 400)

    server.answers["experiments/create"] = taken
    _send(_exporter(server), 1)
    assert server.calls("runs/create")[0]["experiment_id"] == "9"


def test_no_call_has_more_metrics_than_the_server_takes(server: FakeMlflow) -> None:
    exporter = _exporter(server)
    many = [window(n, **{f"f{i}": 1.0 for i in range(100)}) for n in range(25)]
    assert exporter.send(exporter.prepare(many, {("m", 1): FACTS})) == 0
    sizes = [len(body["metrics"]) for body in server.calls("runs/log-batch") if "metrics" in body]
    assert sizes == [MAX_METRICS, MAX_METRICS, 500]


def test_the_model_id_goes_with_every_figure_where_the_server_knows_it(server: FakeMlflow) -> None:
    known = RunFacts("m", 1, 1.0, {}, "", "", "m-1")
    _send(_exporter(server), 1, facts=known)
    batches = [body for body in server.calls("runs/log-batch") if "metrics" in body]
    assert batches[0]["metrics"][0]["model_id"] == "m-1"
    server.answers["logged-models/m-1"] = lambda body: _refused("RESOURCE_DOES_NOT_EXIST")
    _send(_exporter(server), 1, facts=known)
    batches = [body for body in server.calls("runs/log-batch") if "metrics" in body]
    assert "model_id" not in batches[1]["metrics"][0]


@pytest.mark.parametrize(
    ("uri", "token", "expected"),
    [
        ("http://{}", "", None),
        ("http://{}", "s3cret", "Bearer s3cret"),
        ("http://me:p%40ss@{}", "", f"Basic {base64.b64encode(b'me:p@ss').decode()}"),
        ("http://me:pass@{}", "s3cret", "Bearer s3cret"),
    ],
)
def test_who_asks_is_proven_by_token_or_password(
    server: FakeMlflow, uri: str, token: str, expected: str | None
) -> None:
    exporter = _exporter(server, uri=uri.format(server.address), token=SecretStr(token))
    _send(exporter, 1)
    assert {headers.get("Authorization") for _, _, headers in server.asked} == {expected}
    for secret in ("s3cret", "p%40ss", "p@ss", "me:"):
        assert secret not in exporter.target


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"uri": "sqlite:///mlflow.db"}, "tracking.mlflow.uri"),
        ({"uri": "databricks"}, "tracking.mlflow.uri"),
        ({"uri": "http://me:hush@"}, "tracking.mlflow.uri"),
        ({"uri": "http://host", "token": SecretStr("hush\r\nX: y")}, "tracking.mlflow.token"),
    ],
)
def test_settings_that_cannot_be_used_are_told_without_their_secrets(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        MlflowExporter(MlflowSettings(**settings), StateDir(None))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>welcome</html>"), "not that of an MLflow"),
        ((200, b"[]"), "not that of an MLflow"),
        ((200, b'{"experiment": {"experiment_id": 3}}'), "not that of an MLflow"),
        ((200, b"\xff\xfe"), "not that of an MLflow"),
        ((200, b"[" * 2_000), "not that of an MLflow"),
        ((404, b"no such page"), "status 404"),
        ((301, b""), "status 301"),
        ((500, b"{}"), "status 500"),
        (_refused("UNAUTHENTICATED", 401), "401, UNAUTHENTICATED: its own words: \\*{10}$"),
        (_refused("REQUEST_LIMIT_EXCEEDED", 429), "status 429"),
        (_refused("<b>", 400), "status 400"),
    ],
)
def test_a_server_that_answers_garbage_gets_it_all_later(
    server: FakeMlflow, answer: Answer, words: str
) -> None:
    exporter = _exporter(server, token=SecretStr("s3cret"))
    prepared = exporter.prepare([window(1)], {("m", 1): FACTS})
    server.answers["experiments/get-by-name"] = lambda body: answer
    with pytest.raises(ExportError, match=words) as error:
        exporter.send(prepared)
    assert "s3cret" not in str(error.value)
    server.answers.clear()
    assert exporter.send(prepared) == 0
    assert server.metrics() == [("run1", 1, "requests", 1.0)]


@pytest.mark.parametrize("call", ["runs/create", "runs/log-batch", "runs/update"])
def test_every_call_may_fail_and_is_made_again(server: FakeMlflow, call: str) -> None:
    exporter = _exporter(server)
    prepared = exporter.prepare([window(1)], {("m", 1): FACTS})
    exporter.keep((), 200.0)
    failures = iter([(503, b"")])
    server.answers[call] = lambda body: next(failures, None)

    def attempt() -> None:
        exporter.send(prepared)
        exporter.settle()

    with pytest.raises(ExportError):
        attempt()
    exporter.send(prepared)
    exporter.settle()
    assert len(server.runs) == 1
    assert server.metrics()[-1] == ("run1", 1, "requests", 1.0)
    assert server.calls("runs/update")[-1]["status"] == "FINISHED"


def test_a_run_whose_making_was_never_answered_is_found_again(server: FakeMlflow) -> None:
    exporter = _exporter(server, timeout_s=0.2)
    prepared = exporter.prepare([window(1)], {("m", 1): FACTS})
    lost = iter([True])

    def make_and_be_silent(body: dict[str, Any]) -> Answer | None:
        if next(lost, False):
            server.runs["run1"] = body
            time.sleep(0.5)
        return None

    server.answers["runs/create"] = make_and_be_silent
    with pytest.raises(ExportError, match="no answer"):
        exporter.send(prepared)
    assert exporter.send(prepared) == 0
    assert list(server.runs) == ["run1"]
    assert server.metrics() == [("run1", 1, "requests", 1.0)]


def test_a_run_that_somebody_deleted_is_followed_by_another(server: FakeMlflow) -> None:
    exporter = _exporter(server)
    _send(exporter, 1)
    server.answers["runs/log-batch"] = lambda body: (
        _refused("RESOURCE_DOES_NOT_EXIST") if body["run_id"] == "run1" else None
    )
    assert _send(exporter, 2) == 0
    assert list(server.runs) == ["run1", "run2"]
    assert server.metrics()[-1] == ("run2", 2, "requests", 1.0)


def test_figures_that_are_refused_again_are_given_up_and_hold_nothing_up(
    server: FakeMlflow,
) -> None:
    server.answers["runs/log-batch"] = lambda body: (
        _refused("INVALID_PARAMETER_VALUE", 400) if "metrics" in body else None
    )
    exporter = _exporter(server)
    with capture_logs() as logs:
        assert _send(exporter, 1, 2) == 2
    assert [one["reason"] for one in logs if one["event"] == "mlflow_refused"] == [
        "refused with status 400, INVALID_PARAMETER_VALUE: its own words: s3cret"
    ]
    server.answers.clear()
    assert _send(exporter, 3) == 0


def test_runs_are_rotated_by_age_and_by_load(server: FakeMlflow) -> None:
    exporter = _exporter(server, run_age_s=10)
    reloaded = RunFacts("m", 1, 2.0, {})
    for number, facts in ((1, FACTS), (9, FACTS), (11, FACTS), (12, reloaded)):
        _send(exporter, number, facts=facts)
        exporter.settle()
    assert [(run, step) for run, step, _, _ in server.metrics()] == [
        ("run1", 1),
        ("run1", 9),
        ("run2", 11),
        ("run3", 12),
    ]
    assert [body["run_id"] for body in server.calls("runs/update")] == ["run1", "run2"]
    exporter.keep({("m", 1)}, 20.0)
    exporter.settle()
    assert len(server.calls("runs/update")) == 2
    exporter.keep((), 20.0)
    exporter.settle()
    assert server.calls("runs/update")[-1]["run_id"] == "run3", "its version has gone"


def test_a_gateway_that_was_killed_leaves_runs_that_the_next_one_ends(
    server: FakeMlflow, tmp_path: Path
) -> None:
    first = _exporter(server, tmp_path)
    _send(first, 1)
    waiting = first.prepare([window(2)], {("m", 1): FACTS})
    second = _exporter(server, tmp_path)
    assert second.send(waiting) == 0
    second.settle()
    assert server.metrics()[-1] == ("run1", 2, "requests", 1.0)
    (ended,) = server.calls("runs/update")
    assert (ended["run_id"], ended["status"]) == ("run1", "KILLED")
    _send(second, 1)
    assert list(server.runs) == ["run1", "run2"]


def test_another_target_gets_runs_of_its_own(server: FakeMlflow, tmp_path: Path) -> None:
    first = _exporter(server, tmp_path)
    _send(first, 1)
    waiting = first.prepare([window(2)], {("m", 1): FACTS})
    assert _exporter(server, tmp_path, experiment="other").send(waiting) == 0
    assert server.metrics()[-1] == ("run2", 2, "requests", 1.0)


def test_a_file_of_runs_that_is_not_ours_is_passed_over(server: FakeMlflow, tmp_path: Path) -> None:
    for text in ("[]", "{}", '{"runs": [1, {"key": 2}], "target": 3}', "{"):
        (tmp_path / "tracking-mlflow-runs.json").write_text(text)
        assert _send(_exporter(server, tmp_path), 1) == 0


def test_a_proxy_of_the_environment_is_not_asked(
    server: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert _send(_exporter(server), 1) == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its key and itself in one file, for 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x"
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-")
    done = subprocess.run([openssl, *command.split(), *names], capture_output=True, check=True)
    file.write_bytes(done.stdout)
    return file


VARIABLES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture
def secure(
    server: FakeMlflow, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeMlflow]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    # A handshake that fails is the test's business.
    monkeypatch.setattr(server.server, "handle_error", lambda *given: None)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    yield server
    server.server.socket.close()


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_variables_of_other_clients_name_the_authorities(
    secure: FakeMlflow, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    assert _send(_exporter(secure, uri=f"https://{secure.address}"), 1) == 0
    if variable == VARIABLES[0]:
        # What is for MLflow counts before what is for all.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        assert _send(_exporter(secure, uri=f"https://{secure.address}"), 1) == 0


def test_a_certificate_that_nobody_vouches_for_is_told(secure: FakeMlflow) -> None:
    exporter = _exporter(secure, uri=f"https://{secure.address}")
    with pytest.raises(ExportError, match=r"certificate is not trusted: .* \(SSL_CERT_FILE names"):
        _send(exporter, 1)


def test_the_variable_that_counts_is_named(
    secure: FakeMlflow, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other may name the right ones, to no effect."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty"))
    exporter = _exporter(secure, uri=f"https://{secure.address}")
    with pytest.raises(ExportError, match=r"\(REQUESTS_CA_BUNDLE names the authorities\)"):
        _send(exporter, 1)


@pytest.mark.parametrize("variable", VARIABLES)
def test_authorities_that_cannot_be_read_are_said_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    for one in VARIABLES:
        monkeypatch.delenv(one, raising=False)
    for path, words in ((tmp_path / "none", "no such file"), (Path(__file__), "no certificate")):
        monkeypatch.setenv(variable, str(path))
        with pytest.raises(ConfigError, match=f"tracking.mlflow.uri: {variable}: {path}") as error:
            MlflowExporter(MlflowSettings(uri="https://host"), StateDir(None))
        assert words in str(error.value)
        MlflowExporter(MlflowSettings(uri="http://host"), StateDir(None)).close()


def test_no_secret_is_shown_with_the_settings() -> None:
    from serving.settings.shown import settings_json

    given = {"tracking.mlflow.uri": "https://me:p%40ss@host/x", "tracking.mlflow.token": "t0ken!"}
    settings, origins = load_settings(given, None, {})
    shown = json.dumps(settings_json(settings, origins))
    assert "https://**********@host/x" in shown
    assert not [secret for secret in ("p%40ss", "p@ss", "t0ken!", "me:") if secret in shown]
    assert set(settings.secrets()) == {"p%40ss", "p@ss", "t0ken!"}
    assert settings.tracking.mlflow.uri.startswith("https://me:")
