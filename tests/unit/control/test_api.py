"""The control API: what each call asks of the manager, and how each outcome is answered."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.routing import Route

from serving.control.admin import Admin
from serving.control.requests import MAX_BODY_BYTES
from serving.control.status import HTTP_STATUS
from serving.errors import ErrorCode
from serving.loading.facts import VersionFacts
from serving.models.commands.command import (
    SUPERSEDED,
    AcceptVersion,
    LoadModel,
    Outcome,
    Rollback,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.model_state import ModelState
from serving.registry.folder_origin import FolderOrigin
from tests.unit.control_fakes import Commander, Line, admin_port, ask, operations_of, settings

BASE = "/api/v1/models"
DONE = Outcome(version=2)


@pytest.fixture
def commander() -> Commander:
    return Commander(DONE)


@pytest.fixture
def admin(commander: Commander) -> Iterator[Admin]:
    with admin_port(commander) as one:
        yield one


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "'limit': Input should be greater than or equal to 1"),
        ("limit=10001", "'limit': Input should be less than or equal to 10000"),
        ("limit=x", "'limit': Input should be a valid integer"),
        ("limit=1&limit=2", "'limit' came more than once"),
        ("state=odd", "'state': Input should be 'ready', 'loading', 'failed' or 'unloaded'"),
        (f"name={'x' * 256}", "'name': String should have at most 255 characters"),
        ("&".join(["name=m"] * 33), "'name': List should have at most 32 items"),
        ("nmae=m", "unknown query parameter: known are 'name', 'state', 'limit', 'after'"),
    ],
)
def test_what_a_list_can_not_be_asked_for_is_refused_in_words(
    admin: Admin, query: str, words: str
) -> None:
    status, answer, _ = ask(admin, "GET", f"{BASE}?{query}")
    assert (status, answer["error"][: len(words)]) == (400, words)


def test_the_list_is_filtered_and_comes_in_pages(admin: Admin) -> None:
    for query, names, following in (
        ("", ["m", "broken"], None),
        ("?limit=1", ["m"], "m"),
        ("?name=b*&name=x&limit=1", ["broken"], None),
        ("?state=failed&state=loading", ["broken"], None),
    ):
        status, answer, _ = ask(admin, "GET", f"{BASE}{query}")
        assert (status, [one["name"] for one in answer["models"]]) == (200, names), query
        assert (answer["next"], answer["total"]) == (following, 2)
    assert [one["states"] for one in ask(admin, "GET", BASE)[1]["models"]] == [
        ["ready"],
        ["failed"],
    ]


COMMANDS = [
    ("load", None, LoadModel("m")),
    ("load", {}, LoadModel("m")),
    ("load", {"version": None}, LoadModel("m")),
    ("load", {"version": 3}, LoadModel("m", 3)),
    ("load", {"version": 2**63 - 1}, LoadModel("m", 2**63 - 1)),
    ("unload", None, UnloadModel("m")),
    ("unload", {"version": 3}, UnloadModel("m", 3)),
    ("default", {"version": 1}, SetDefault("m", 1)),
    ("default", {"version": "auto"}, SetDefault("m")),
    ("accept", {"version": 2}, AcceptVersion("m", 2)),
    ("label", {"alias": "stable", "version": 2}, SetAlias("m", "stable", 2)),
    ("label", {"alias": "stable", "version": None}, SetAlias("m", "stable")),
    ("rollback", None, Rollback("m")),
    ("rollback", {}, Rollback("m")),
    ("rollback", {"reason": "it is slow"}, Rollback("m")),
    ("route", {"weights": {"1": 95, "2": 5}}, SetRoute("m", {1: 95, 2: 5})),
    ("route", {"weights": {}, "sticky": ""}, SetRoute("m", {}, "")),
    ("route", {"sticky": "x-user", "reason": "r"}, SetRoute("m", None, "x-user")),
]


@pytest.mark.parametrize(("verb", "body", "command"), COMMANDS)
def test_a_call_becomes_its_command(
    commander: Commander, admin: Admin, verb: str, body: Any, command: object
) -> None:
    status, answer, _ = ask(admin, "POST", f"{BASE}/m/{verb}", body)
    assert (status, answer["done"], answer["default"]) == (200, True, 2)
    assert answer["model"]["name"] == "m"
    assert commander.commands == [command]


def test_a_route_is_told_with_who_changed_it_and_why(commander: Commander, admin: Admin) -> None:
    status, route, _ = ask(admin, "GET", f"{BASE}/m/route")
    assert (status, route["default"], route["pin"], route["weights"]) == (200, 2, None, {})
    assert route["shares"] == {"2": 1.0}
    status, history, _ = ask(admin, "GET", f"{BASE}/m/route/history")
    change = {"at": 1.5, "by": "rollout", "what": "weights 1=95 2=5", "reason": "step 1"}
    assert (status, history) == (200, {"name": "m", "changes": [change]})
    for path in ("route", "route/history"):
        assert ask(admin, "GET", f"{BASE}/nobody/{path}")[0] == 404
    ask(admin, "POST", f"{BASE}/m/rollback", {"reason": "it is slow"})
    assert commander.tickets[-1].reason == "it is slow"


BAD_BODIES = [
    ("load", {"version": 0}),
    ("load", {"version": -1}),
    ("load", {"version": 2**63}),
    ("load", {"version": "3"}),
    ("load", {"version": 3.0}),
    ("load", {"version": True}),
    ("load", {"version": "auto"}),
    ("load", {"verison": 3}),
    ("load", {"url": "https://example.com/model.onnx"}),
    ("load", {"parameters": {"file:../x": ""}}),
    ("load", []),
    ("load", b"{"),
    ("load", b"\xff"),
    ("load", b"[" * 50_000),
    ("default", None),
    ("default", {}),
    ("default", {"version": None}),
    ("default", {"version": "newest"}),
    ("accept", None),
    ("accept", {"version": "auto"}),
    ("label", {"alias": "stable"}),
    ("label", {"alias": "", "version": 1}),
    ("label", {"alias": "a" * 256, "version": 1}),
    ("label", {"alias": 3, "version": 1}),
    ("label", {"alias": "stable", "version": "auto"}),
    ("label", {"version": 1}),
    ("rollback", {"version": 1}),
    ("rollback", {"reason": "a" * 501}),
    ("route", {"weights": {"1": -1}}),
    ("route", {"weights": {"1": 10_001}}),
    ("route", {"weights": {"1": 0.5}}),
    ("route", {"weights": {"0": 1}}),
    ("route", {"weights": {"a": 1}}),
    ("route", {"weights": {str(number): 1 for number in range(1, 18)}}),
    ("route", {"sticky": "x" * 256}),
    ("route", {"shadows": {"1": 1.5}}),
]


@pytest.mark.parametrize(("verb", "body"), BAD_BODIES)
def test_fault_64_what_a_body_may_not_say_is_400_and_no_command(
    commander: Commander, admin: Admin, verb: str, body: Any
) -> None:
    status, answer, _ = ask(admin, "POST", f"{BASE}/m/{verb}", body)
    assert status == 400, answer
    assert set(answer) == {"error"}
    assert commander.commands == []


@pytest.mark.parametrize(
    "query",
    ["wait=maybe", "timeout=0", "timeout=-1", "timeout=nan", "timeout=inf", "timeout=x", "wiat=1"],
)
def test_a_query_that_means_nothing_is_400(commander: Commander, admin: Admin, query: str) -> None:
    assert ask(admin, "POST", f"{BASE}/m/load?{query}")[0] == 400
    assert commander.commands == []


def test_bodies_are_json_and_small(commander: Commander, admin: Admin) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in (form, {"Content-Type": "text/plain"}):
        assert ask(admin, "POST", f"{BASE}/m/load", {}, headers)[0] == 415
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert ask(admin, "POST", f"{BASE}/m/load", {}, charset)[0] == 200
    large = b" " * (MAX_BODY_BYTES + 1)
    assert ask(admin, "POST", f"{BASE}/m/load", large)[0] == 413
    assert len(commander.commands) == 1


def test_fault_37_a_body_that_does_not_come_is_given_up(commander: Commander) -> None:
    head = f"POST {BASE}/m/load HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with (
        admin_port(commander, **{"limits.body_timeout_s": 0.2}) as admin,
        socket.create_connection(("127.0.0.1", admin.address[1]), timeout=10) as slow,
    ):
        slow.sendall(head.encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert commander.commands == []


@pytest.mark.parametrize("word", ErrorCode)
def test_every_error_word_has_a_status(word: ErrorCode) -> None:
    with admin_port(Commander(Outcome(word, "it did not work"))) as admin:
        status, answer, headers = ask(admin, "POST", f"{BASE}/m/load")
    assert status == HTTP_STATUS[word] >= 400
    assert answer == {"error": "it did not work"}
    assert ("retry-after" in headers) == (status in {429, 503})
    assert ("www-authenticate" in headers) == (status == 401)


def test_a_command_that_a_newer_one_ended_is_a_conflict() -> None:
    with admin_port(Commander(Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED))) as admin:
        assert ask(admin, "POST", f"{BASE}/m/load")[:2] == (409, {"error": SUPERSEDED})


def test_without_waiting_the_answer_comes_at_once_with_a_state_to_look_at() -> None:
    commander = Commander(None)
    with admin_port(commander) as admin:
        status, answer, _ = ask(admin, "POST", f"{BASE}/m/load?wait=false")
        assert (status, answer["done"], answer["model"]["name"]) == (202, False, "m")
        assert len(commander.commands) == 1


def test_waiting_lasts_until_the_command_ends() -> None:
    commander = Commander(None)
    commander.on_command = lambda ticket: threading.Timer(0.2, ticket.end, [DONE]).start()
    with admin_port(commander) as admin:
        status, answer, _ = ask(admin, "POST", f"{BASE}/m/unload?wait=true&timeout=9")
    assert (status, answer["done"], answer["default"]) == (200, True, 2)


def test_waiting_ends_when_its_time_is_over_and_the_command_goes_on() -> None:
    commander = Commander(None)
    with admin_port(commander) as admin:
        status, answer, _ = ask(admin, "POST", f"{BASE}/m/load?timeout=0.05")
        assert (status, answer["done"]) == (202, False)
        (ticket,) = commander.tickets
        assert ticket.end(DONE), "nobody but its owner ends a command"


def test_calls_that_wait_are_bounded_and_hold_up_nobody() -> None:
    commander = Commander(None)
    arrived = threading.Semaphore(0)
    commander.on_command = lambda _: arrived.release()
    with admin_port(commander) as admin:
        held = []
        for _ in range(settings().places.admin // 2):
            connection = http.client.HTTPConnection(*admin.address, timeout=10)
            connection.request("POST", f"{BASE}/m/load?timeout=60")
            held.append(connection)
        for _ in held:
            assert arrived.acquire(timeout=10)
        status, answer, headers = ask(admin, "POST", f"{BASE}/m/load")
        assert (status, headers["retry-after"]) == (503, "1")
        assert "wait=false" in answer["error"]
        assert ask(admin, "POST", f"{BASE}/m/load?wait=false")[0] == 202
        assert ask(admin, "GET", "/metrics")[0] == 200
        for ticket in commander.tickets:
            ticket.end(DONE)
        for connection in held:
            assert connection.getresponse().status == 200
            connection.close()
        assert ask(admin, "POST", f"{BASE}/m/load?timeout=0.05")[0] == 202


def test_status_and_history_of_one_model(admin: Admin) -> None:
    status, model, _ = ask(admin, "GET", f"{BASE}/m")
    assert (status, model["name"], model["default"]) == (200, "m", 2)
    assert [version["version"] for version in model["versions"]] == [1, 2]
    status, history, _ = ask(admin, "GET", f"{BASE}/m/history")
    event = {"at": 1.5, "version": 2, "state": "READY", "reason": ""}
    assert (status, history) == (200, {"name": "m", "events": [event]})
    assert ask(admin, "GET", f"{BASE}/broken/history")[1]["events"] == []
    for path in (f"{BASE}/nowhere", f"{BASE}/nowhere/history"):
        status, answer, _ = ask(admin, "GET", path)
        assert status == 404
        assert answer["error"].startswith("Request for unknown model")


def test_status_tells_where_a_version_comes_from() -> None:
    from serving.registry.manifest import parse_manifest
    from tests.unit.protocol_views import model, version

    manifest = {
        "format": 1,
        "model": "m",
        "version": 1,
        "created": "2026-01-02T03:04:05Z",
        "files": {"model.onnx": {"size": 1, "sha256": "0" * 64}},
        "trained_by": {"git_commit": "abc123", "mlflow_run_id": "run7"},
        "metadata": {"who": "me"},
        "metrics": {"accuracy": 0.5},
    }
    origin = FolderOrigin(Path("m"), manifest=parse_manifest(json.dumps(manifest).encode()))

    class Published(Commander):
        def views(self) -> Any:
            return (model("m", version(1, queue=Line(), origin=origin)),)

    with admin_port(Published()) as admin:
        (shown,) = ask(admin, "GET", f"{BASE}/m")[1]["versions"]
        assert shown["manifest"] == {
            "created": "2026-01-02T03:04:05Z",
            "git_commit": "abc123",
            "mlflow_run_id": "run7",
            "mlflow_model_id": "",
            "metadata": {"who": "me"},
            "metrics": {"accuracy": 0.5},
        }
        origin = FolderOrigin(Path("m"))
        assert ask(admin, "GET", f"{BASE}/m")[1]["versions"][0]["manifest"] is None


NAMES = ["..", "%2e%2e", "a%2fb", "a%5cb", "m%00", "m%0a", "a..b", "%ff", "a" * 256]


@pytest.mark.parametrize("name", NAMES)
def test_fault_61_names_that_could_be_paths_reach_nobody(
    commander: Commander, admin: Admin, name: str
) -> None:
    for method, path in (("GET", ""), ("POST", "/load"), ("POST", "/rollback")):
        assert ask(admin, method, f"{BASE}/{name}{path}")[0] in {400, 404}
    assert commander.commands == []


@pytest.mark.parametrize("name", ["$(touch x)", "`touch x`", "a;b", "a|b", "a&b", "--help"])
def test_fault_66_names_are_data_whatever_a_shell_would_make_of_them(
    commander: Commander, admin: Admin, name: str
) -> None:
    from urllib.parse import quote

    assert ask(admin, "POST", f"{BASE}/{quote(name, safe='')}/load")[0] == 200
    assert commander.commands == [LoadModel(name)]


class TestExposed:
    """The admin port beyond the loopback interface."""

    CALLS = (
        ("GET", BASE),
        ("GET", f"{BASE}/m"),
        ("GET", f"{BASE}/m/history"),
        ("GET", "/api/v1/settings"),
        ("POST", f"{BASE}/m/load"),
        ("POST", f"{BASE}/m/unload"),
        ("POST", f"{BASE}/m/default"),
        ("POST", f"{BASE}/m/rollback"),
        ("POST", f"{BASE}/m/accept"),
    )
    OPEN = ("/", "/metrics", "/v2/health/live", "/v2/health/ready", "/api/openapi.json")

    def test_fault_63_without_a_token_nothing_is_allowed(self) -> None:
        commander = Commander(DONE)
        with admin_port(commander, admin_host="0.0.0.0") as admin:
            for method, path in self.CALLS:
                status, answer, _ = ask(admin, method, path)
                assert status == 403, path
                assert "no token is configured" in answer["error"]
            for path in self.OPEN:
                assert ask(admin, "GET", path)[0] == 200, path
        assert commander.commands == []

    @pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
    def test_fault_63_with_a_token_every_call_must_bring_it(
        self, tmp_path: Path, host: str
    ) -> None:
        (tmp_path / "token").write_text("sesame\n")
        (tmp_path / "token").chmod(0o600)
        commander = Commander(DONE)
        flags = {"admin_host": host, "admin_token_file": tmp_path / "token"}
        with admin_port(commander, **flags) as admin:
            for method, path in self.CALLS:
                for headers in ({}, {"Authorization": "Bearer wrong"}):
                    status, answer, found = ask(admin, method, path, headers=headers)
                    assert (status, set(answer)) == (401, {"error"}), path
                    assert found["www-authenticate"] == "Bearer"
            for path in self.OPEN:
                assert ask(admin, "GET", path)[0] == 200, path
            assert commander.commands == []
            right = {"Authorization": "Bearer sesame"}
            assert ask(admin, "POST", f"{BASE}/m/load", headers=right)[0] == 200
            assert ask(admin, "GET", "/api/v1/settings", headers=right)[0] == 200
        assert commander.commands == [LoadModel("m")]


def test_fault_63_a_page_of_another_site_cannot_post_here(
    commander: Commander, admin: Admin
) -> None:
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        for method, path in TestExposed.CALLS:
            assert ask(admin, method, path, headers=headers)[0] == status, headers
    assert commander.commands == []


def test_every_fact_of_a_version_is_shown(admin: Admin) -> None:
    """The signature as inputs and outputs; the configuration is the operator's own file, and the
    example and what MLflow declares stand in the HTTP port's description."""
    elsewhere = {"signature", "config", "example", "declared"}
    facts = {one.name for one in fields(VersionFacts)} - elsewhere
    for shown in ask(admin, "GET", f"{BASE}/m")[1]["versions"]:
        assert facts <= shown.keys()


class TestOpenApi:
    """The document is made of the operations; here it is held against what they answer."""

    @pytest.fixture
    def document(self, admin: Admin) -> Any:
        return ask(admin, "GET", "/api/openapi.json")[1]

    def test_it_is_valid_openapi(self, document: Any) -> None:
        validate(document)
        assert document["openapi"].startswith("3.1")

    def test_every_route_is_in_it_and_nothing_else(self, document: Any) -> None:
        from serving.authorization import Gate
        from serving.control.admin import application

        rows = operations_of(settings(), Commander())
        app = application(rows, Gate("127.0.0.1", None), lambda host: True)
        assert all(isinstance(route, Route) for route in app.routes)
        routed = {
            (method, route.path)
            for route in app.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        }
        described = {
            (method.upper(), path) for path, item in document["paths"].items() for method in item
        }
        assert described == routed

    def test_what_may_be_asked_of_the_list_is_in_it(self, document: Any) -> None:
        parameters = document["paths"][BASE]["get"]["parameters"]
        assert [one["name"] for one in parameters] == ["name", "state", "limit", "after"]
        assert {one["in"] for one in parameters} == {"query"}
        states = parameters[1]["schema"]["items"]["enum"]
        assert states == [str(one) for one in ModelState]

    def test_answers_are_what_it_says(self, document: Any) -> None:
        calls = [
            ("GET", "/v2/health/live", "/v2/health/live", None),
            ("GET", "/v2/health/ready", "/v2/health/ready", None),
            ("GET", BASE, BASE, None),
            ("GET", "/api/v1/settings", "/api/v1/settings", None),
            *(("GET", f"{BASE}/{name}", f"{BASE}/{{name}}", None) for name in ("m", "nowhere")),
            ("GET", f"{BASE}/m/history", f"{BASE}/{{name}}/history", None),
            *(
                ("POST", f"{BASE}/m/{verb}{query}", f"{BASE}/{{name}}/{verb}", body)
                for verb, body, _ in COMMANDS
                for query in ("", "?wait=false", "?timeout=x")
            ),
        ]
        seen = set()
        for outcome in (DONE, Outcome(ErrorCode.NOT_FOUND, "no such model"), None):
            with admin_port(Commander(outcome)) as admin:
                for method, path, template, body in calls:
                    # Nothing would end a wait.
                    if outcome is None and method == "POST" and "?" not in path:
                        continue
                    status, answer, _ = ask(admin, method, path, body)
                    responses = document["paths"][template][method.lower()]["responses"]
                    described = responses.get(str(status), responses["default"])
                    reference = described["content"]["application/json"]["schema"]["$ref"]
                    components = document["components"]
                    name = reference.rpartition("/")[2]
                    OAS31Validator(
                        {**components["schemas"][name], "components": components}
                    ).validate(answer)
                    seen.add((template, status))
        posts = {template for method, _, template, _ in calls if method == "POST"}
        for status in (200, 202, 400, 404):
            assert {template for template, found in seen if found == status} >= posts
