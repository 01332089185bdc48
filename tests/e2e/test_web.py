"""What the HTTP port has for browsers and for who generates clients: the description of its calls,
the page that shows it, and who may read them from where."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from serving.protocols.pages import pages
from tests.clients import http1
from tests.clients.gateway import ROOT, Gateway, HttpAnswer

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


def asked(gateway: Gateway, path: str, method: str = "GET", **headers: str) -> HttpAnswer:
    return gateway.get(path, None, method, {key.replace("_", "-"): headers[key] for key in headers})


def raw(port: int, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> int:
    """The status of an answer to a head with just these lines."""
    head = "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "Connection: close", "", ""])
    reply = http1.exchange(port, head.encode("latin-1"))
    assert reply is not None
    return reply.status


class Links(HTMLParser):
    """What a page loads and leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [given[key] or "" for key in ("src", "href") if key in given]
        self.inline |= tag == "style" or (tag == "script" and "src" not in given)
        self.inline |= any(key == "style" or key.startswith("on") for key in given)


def examples(document: Any) -> dict[str, Any]:
    """Path -> the body that stands there."""
    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
    found = {
        path: post["requestBody"]["content"]["application/json"].get("example")
        for path, post in posts.items()
    }
    return {path: example for path, example in found.items() if example is not None}


def _asked_at(name: str) -> set[str]:
    """Where a model is asked, by each protocol."""
    return {
        f"/v2/models/{name}/infer",
        f"/v1/models/{name}:predict",
        f"/models/{name}/invocations",
    }


# The description


def test_the_document_is_openapi_3_1_and_of_every_model_that_answers(gateway: Gateway) -> None:
    answer = asked(gateway, "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    states = {name: one["state"] for (name, _), one in gateway.index().items() if "state" in one}
    described = re.findall(r"/v2/models/([^/{}]+)/infer", " ".join(document["paths"]))
    described_names = {unquote(name) for name in described}
    assert described_names == {name for name, state in states.items() if state == "READY"}


def test_every_models_example_works_when_it_is_sent(gateway: Gateway) -> None:
    found = examples(asked(gateway, "/openapi.json").json())
    assert len(found) >= 10
    for path, body in found.items():
        answer = gateway.post(path, body)
        assert answer.status == 200, (path, answer.body[:300])
    for name in ("tiny", "id_bytes", "id_bool", "add_sub"):
        own = asked(gateway, f"/v2/models/{name}/openapi.json").json()
        assert examples(own) == {path: found[path] for path in _asked_at(name)}


def test_examples_of_the_repository_that_comes_along_work(start_gateway) -> None:
    gateway = start_gateway(ROOT / "model_repo")
    found = examples(asked(gateway, "/openapi.json").json())
    assert set(found) == {path for name, _ in gateway.index() for path in _asked_at(name)}
    for path, body in found.items():
        answer = gateway.post(path, body)
        assert answer.status == 200, (path, answer.body[:300])
        assert answer.json()["predictions" if "invocations" in path else "outputs"]


def test_a_models_own_document_has_its_inputs_and_outputs(gateway: Gateway) -> None:
    document = asked(gateway, "/v2/models/tiny/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    own = re.compile(r"/(v2/models/tiny|v1/models/tiny:predict|models/tiny/invocations)")
    assert all(own.match(path) for path in document["paths"])
    request = document["paths"]["/v2/models/tiny/infer"]["post"]["requestBody"]["content"]
    item = request["application/json"]["schema"]["properties"]["inputs"]["items"]
    assert item["properties"]["name"] == {"const": "x"}
    assert item["properties"]["datatype"] == {"const": "FP32"}
    assert item["properties"]["shape"]["prefixItems"][1] == {"const": 4}


def test_what_has_no_document_is_told_as_elsewhere(gateway: Gateway) -> None:
    for path, status in (
        ("/v2/models/nowhere/openapi.json", 404),
        ("/v2/models/broken/openapi.json", 503),
        ("/v2/models/%2e%2e/openapi.json", 400),
        ("/docs/nothing.js", 404),
        ("/docs/..%2fplain.py", 404),
    ):
        answer = asked(gateway, path)
        assert (answer.status, set(answer.json())) == (status, {"error"}), path
    for path in ("/openapi.json", "/docs", "/v2/models/tiny/openapi.json"):
        assert asked(gateway, path, "POST").status == 405, path


# The page


def test_only_who_asks_for_html_is_sent_to_the_page(gateway: Gateway) -> None:
    for accept in ("*/*", "application/json", "text/html;q=0"):
        answer = asked(gateway, "/", Accept=accept)
        assert (answer.status, answer.headers["vary"]) == (200, "accept")
        assert answer.json()["http"]["docs"] == "/docs"
    head = f"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: {HTML}\r\n\r\n"
    reply = http1.exchange(gateway.http_port, head.encode())
    assert reply is not None
    assert (reply.status, reply.headers["location"], reply.headers["vary"]) == (
        302,
        "docs",
        "accept",
    )
    assert asked(gateway, "/", Accept=HTML).headers["content-type"].startswith("text/html")


def test_the_page_and_all_that_it_loads_come_from_here(gateway: Gateway) -> None:
    page = asked(gateway, "/docs")
    links = Links(page.body.decode())
    assert not links.inline
    for link in {one for one in links.found if one != "data:,"}:
        assert "//" not in link
        answer = asked(gateway, f"/{link}")
        assert answer.status == 200, link
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_who_has_the_page_is_not_sent_it_again(gateway: Gateway) -> None:
    page = asked(gateway, "/docs")
    assert page.headers["cache-control"] == "no-cache"
    again = asked(gateway, "/docs", If_None_Match=page.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", page.headers["etag"])
    head = asked(gateway, "/docs", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(page.body)


def test_without_swagger_ui_the_page_is_a_plain_one_that_says_so(tmp_path) -> None:
    for name in ("swagger-ui.css", "LICENSE.txt"):  # half of it is none of it
        (tmp_path / name).write_text("x")
    found = {path: body for path, _, body in pages(tmp_path)}
    text = found["/docs"].decode()
    assert "built without Swagger UI" in text
    links = [one for one in Links(text).found if one.startswith("docs/")]
    assert {f"/{link}" for link in links} == set(found) - {"/docs"}


def test_a_setting_turns_the_pages_off(start_gateway, repository) -> None:
    gateway = start_gateway(repository, {"http.pages": "false"})
    for path in ("/docs", "/docs/docs.css", "/openapi.json", "/v2/models/m/openapi.json"):
        answer = asked(gateway, path)
        assert answer.status == 404
        assert "http.pages" in answer.json()["error"]
    entrance = asked(gateway, "/", Accept=HTML)
    assert entrance.headers["content-type"] == "application/json"
    assert "docs" not in entrance.json()["http"]
    # Nothing is kept from anybody where there is no page.
    assert raw(gateway.http_port, "/", "Host: evil.example", f"Accept: {HTML}") == 200


# Under which names


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/docs.css", "/openapi.json", "/v2/models/tiny/openapi.json"]
)
def test_pages_are_for_who_means_this_server(gateway: Gateway, path: str) -> None:
    port = gateway.http_port
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "[::1]", "a.localhost"):
        assert raw(port, path, f"Host: {host}") == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "203.0.113.9",
        "localhost.evil.example",
        "[",
    ):
        assert raw(port, path, f"Host: {host}") == 421, host
    # An old health check; no browser leaves it out.
    assert raw(port, path, version="1.0") == 200


def test_the_entrance_is_a_page_to_browsers_alone(gateway: Gateway) -> None:
    port = gateway.http_port
    assert raw(port, "/", "Host: evil.example", f"Accept: {HTML}") == 421
    assert raw(port, "/", "Host: evil.example") == 200
    # What is no page is asked by proxies under all kinds of names.
    assert raw(port, "/v2/models/tiny", "Host: models.example") == 200


@pytest.mark.parametrize(
    "path", ["/metrics", "/", "/v2/health/ready", "/api/v1/models", "/nothing"]
)
def test_the_admin_port_is_for_who_means_it(gateway: Gateway, path: str) -> None:
    port = gateway.admin_port
    for host in ("evil.example", "203.0.113.9:80", "localhost.evil.example"):
        answer = gateway.get(path, headers={"Host": host}, port=port)
        assert (answer.status, set(answer.json())) == (421, {"error"}), host
    for host in ("localhost", f"127.0.0.1:{port}"):
        assert gateway.get(path, headers={"Host": host}, port=port).status != 421, host


def test_what_is_listened_on_and_allowed_is_known(start_gateway, repository) -> None:
    settings = {
        "host": "0.0.0.0",
        "admin_host": "0.0.0.0",
        "http.allowed_hosts": "models.example, *.ml.example",
    }
    gateway = start_gateway(repository, settings)
    for port, path in ((gateway.http_port, "/docs"), (gateway.admin_port, "/metrics")):
        # 0.0.0.0 is every address of this machine, and 127.0.0.2 one.
        for host in (
            "models.example",
            "a.ml.example:80",
            "127.0.0.2",
            "0.0.0.0",
            f"localhost:{port}",
        ):
            assert raw(port, path, f"Host: {host}") == 200, host
        nobodys = ("203.0.113.9", "224.0.0.1", "255.255.255.255")
        for host in ("ml.example", "evil.example", *nobodys):
            assert raw(port, path, f"Host: {host}") == 421, host


def test_changes_from_pages_of_elsewhere_are_refused(start_gateway, repository) -> None:
    origin = "https://ui.example"
    settings = {"model_control": "both", "http.cors_origins": origin}
    gateway = start_gateway(repository, settings)
    load, log = "/v2/repository/models/m/load", "/v2/logging"
    for path in (load, log, "/v2/trace/setting"):
        for foreign in ("http://evil.example", "null", origin):
            assert gateway.post(path, {}, Origin=foreign).status == 403, (path, foreign)
        assert gateway.post(path, {}, Origin=f"http://{gateway.http}").status != 403, path
    for foreign in ("http://evil.example", origin):
        answer = gateway.get(
            "/api/v1/models/m/load", b"{}", "POST", {"Origin": foreign}, gateway.admin_port
        )
        assert answer.status == 403


def test_fault_63_any_name_is_for_pages_and_not_for_control(start_gateway, repository) -> None:
    settings = {"model_control": "both", "http.allowed_hosts": "*"}
    gateway = start_gateway(repository, settings)
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    page = {**rebound, "Sec-Fetch-Site": "same-origin"}
    for port, path in (
        (gateway.admin_port, "/api/v1/models/m/unload"),
        (gateway.http_port, "/v2/repository/models/m/unload"),
    ):
        answer = gateway.get(path, b"{}", "POST", page, port)
        assert (answer.status, "http.allowed_hosts" in answer.json()["error"]) == (403, True), path
    assert gateway.get("/docs", headers=rebound).status == 200
    (said,) = gateway.events("control_names_ignored")
    assert said["names"] == ["*"]


# From other sites


def test_without_origins_nothing_is_said_to_pages_of_elsewhere(gateway: Gateway) -> None:
    answer = asked(gateway, "/v2", Origin="https://ui.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    ask = {"Origin": "https://ui.example", "Access-Control-Request-Method": "POST"}
    preflight = gateway.get("/v2/models/tiny/infer", None, "OPTIONS", ask)
    assert preflight.status == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_listed_origins_may_ask_and_read(start_gateway, repository) -> None:
    origin = "https://ui.example"
    gateway = start_gateway(repository, {"http.cors_origins": f"{origin}, http://localhost:3000"})
    ask = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = gateway.get("/v2/models/m/infer", None, "OPTIONS", ask)
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    # Errors are for reading, too.
    answer = gateway.get("/v2/models/m/infer", b"{}", "POST", {"Origin": origin})
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == origin
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "x-model-version"} <= set(exposed)
    assert answer.headers["vary"] == "origin"
    other = gateway.get(
        "/v2/models/m/infer", None, "OPTIONS", {**ask, "Origin": "https://evil.example"}
    )
    assert other.status == 405
    assert "access-control-allow-origin" not in other.headers
    assert other.headers["vary"] == "origin"


# CloudEvents

EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "36077800-0c23-4f38-a0b4-01f4369f670a",
    "ce-source": "io.example/source",
    "ce-type": "io.example.request",
}
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def test_an_event_is_answered_with_one_and_nothing_else_is(gateway: Gateway) -> None:
    answer = gateway.post("/v2/models/tiny/infer", BODY, **EVENT)
    plain = gateway.post("/v2/models/tiny/infer", BODY)
    assert (answer.status, answer.body) == (200, plain.body)
    attributes = {key: value for key, value in answer.headers.items() if key.startswith("ce-")}
    assert attributes.keys() == {*EVENT, "ce-time"}
    assert attributes["ce-source"] == "io.kserve.inference.tiny"
    assert attributes["ce-type"] == "io.kserve.inference.response"
    assert attributes["ce-id"] != EVENT["ce-id"]
    assert not [key for key in plain.headers if key.startswith("ce-")]
    for left_out in EVENT:
        some = {key: value for key, value in EVENT.items() if key != left_out}
        answer = gateway.post("/v2/models/tiny/infer", BODY, **some)
        assert answer.status == 200
        assert "ce-id" not in answer.headers
    error = gateway.post("/v2/models/tiny/infer", {}, **EVENT)
    assert (error.status, "ce-id" in error.headers) == (400, False)
