"""The one gate before every control call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.authorization import MAX_TOKEN_BYTES, Gate, Secret, TokenFile, is_loopback, open_gates
from serving.errors import ConfigError, ErrorCode, ServingError
from serving.settings import load_settings


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("sesame\n")
    file.chmod(0o600)
    return file


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def verdict(gate: Gate, **headers: str) -> ErrorCode | None:
    try:
        gate.check({key.replace("_", "-"): value for key, value in headers.items()})
    except ServingError as error:
        return error.code
    return None


GOOD = "Bearer sesame"
SITES = [
    # (host listened on, token configured, headers, verdict)
    ("127.0.0.1", False, {}, None),
    ("::1", False, {}, None),
    ("localhost", False, {}, None),
    ("127.0.0.1", True, {}, ErrorCode.UNAUTHENTICATED),
    ("127.0.0.1", True, {"authorization": GOOD}, None),
    ("0.0.0.0", False, {}, ErrorCode.PERMISSION_DENIED),
    ("::", False, {}, ErrorCode.PERMISSION_DENIED),
    ("10.1.2.3", False, {"authorization": GOOD}, ErrorCode.PERMISSION_DENIED),
    ("gateway.example", False, {}, ErrorCode.PERMISSION_DENIED),
    ("0.0.0.0", True, {}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": GOOD}, None),
    ("0.0.0.0", True, {"authorization": "bearer  sesame "}, None),
    ("0.0.0.0", True, {"authorization": "Bearer sesam"}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": "Bearer sesame2"}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": "Basic sesame"}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": "sesame"}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": "Bearer"}, ErrorCode.UNAUTHENTICATED),
    ("0.0.0.0", True, {"authorization": "Bearer \udce9"}, ErrorCode.UNAUTHENTICATED),
]


@pytest.mark.parametrize(("host", "token", "headers", "expected"), SITES)
def test_fault_63_who_may_control(
    host: str, token: bool, headers: dict[str, str], expected: ErrorCode | None, token_file: Path
) -> None:
    gate = Gate(host, TokenFile(token_file) if token else None)
    assert verdict(gate, **headers) == expected


BROWSERS = [
    # (headers, allowed without a token)
    ({"host": "127.0.0.1:8082"}, True),
    ({"host": "[::1]:8082"}, True),
    ({"host": "localhost:8082"}, True),
    ({"host": "LOCALHOST"}, True),
    ({"host": "10.0.0.9:8082"}, True),
    ({"host": "rebound.example:8082"}, False),
    ({"host": "127.0.0.1.rebound.example"}, False),
    ({"host": "localhost.rebound.example"}, False),
    ({"host": "[bad"}, False),
    ({"host": "127.0.0.1:8082", "origin": "http://127.0.0.1:8082"}, True),
    ({"host": "127.0.0.1:8082", "origin": "http://evil.example"}, False),
    ({"host": "127.0.0.1:8082", "origin": "http://127.0.0.1:9999"}, False),
    ({"host": "127.0.0.1:8082", "origin": "null"}, False),
    ({"origin": "http://evil.example"}, False),
    ({"host": "127.0.0.1:8082", "sec_fetch_site": "cross-site"}, False),
    ({"host": "127.0.0.1:8082", "sec_fetch_site": "same-site"}, False),
    ({"host": "127.0.0.1:8082", "sec_fetch_site": "same-origin"}, True),
    ({"host": "127.0.0.1:8082", "sec_fetch_site": "none"}, True),
]


@pytest.mark.parametrize(("headers", "allowed"), BROWSERS)
def test_fault_63_a_browser_cannot_be_led_here_by_another_site(
    headers: dict[str, str], allowed: bool
) -> None:
    expected = None if allowed else ErrorCode.PERMISSION_DENIED
    assert verdict(Gate("127.0.0.1", None), **headers) == expected


def test_with_a_token_the_gateway_may_have_any_name(token_file: Path) -> None:
    gate = Gate("0.0.0.0", TokenFile(token_file))
    assert verdict(gate, host="serving.cluster.local", authorization=GOOD) is None
    cross = {"host": "serving.cluster.local", "origin": "http://evil.example"}
    assert verdict(gate, **cross, authorization=GOOD) is ErrorCode.PERMISSION_DENIED


def test_a_configured_name_is_known_without_a_token() -> None:
    assert not Gate("localhost", None).shut
    assert verdict(Gate("localhost", None), host="localhost:1") is None


WIDE = ("*", "*.ml.example", "models.example")


@pytest.mark.parametrize("host", ["evil.example", "a.ml.example", "a.ml.example:8082"])
def test_fault_63_a_pattern_of_names_opens_nothing_without_a_token(
    host: str, token_file: Path
) -> None:
    page = {"host": host, "origin": f"http://{host}", "sec_fetch_site": "same-origin"}
    free = Gate("127.0.0.1", None, allowed=WIDE)
    assert verdict(free, **page) is ErrorCode.PERMISSION_DENIED
    assert verdict(free, host=host) is ErrorCode.PERMISSION_DENIED
    with_token = Gate("127.0.0.1", TokenFile(token_file), allowed=WIDE)
    assert verdict(with_token, **page) is ErrorCode.UNAUTHENTICATED
    assert verdict(with_token, **page, authorization=GOOD) is None


def test_a_name_that_is_allowed_in_full_is_known_without_a_token() -> None:
    gate = Gate("127.0.0.1", None, allowed=WIDE)
    for host in ("models.example", "models.example:8082", "127.0.0.1", "localhost:1"):
        assert verdict(gate, host=host) is None, host


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"x" * (MAX_TOKEN_BYTES + 1), "more than 4096 bytes"),
        (b"two words", "visible ASCII"),
        (b"two\nlines", "visible ASCII"),
        (b"\xff\xfe", "visible ASCII"),
    ],
)
def test_a_token_file_that_is_none_stops_the_start(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        open_gates(load_settings({"admin_token_file": file}, None, {})[0])
    assert "two" not in str(caught.value)


def test_a_pipe_is_no_token_file_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        TokenFile(tmp_path / "pipe")


def test_fault_68_a_token_that_others_can_read_is_reported(token_file: Path) -> None:
    token_file.chmod(0o640)
    with capture_logs() as logs:
        TokenFile(token_file)
    (warning,) = logs
    assert (warning["event"], warning["mode"]) == ("control_token_readable_by_others", "0o640")
    token_file.chmod(0o600)
    with capture_logs() as logs:
        TokenFile(token_file)
    assert logs == []


def test_a_changed_token_counts_within_a_second_and_is_not_looked_for_more_often(
    token_file: Path,
) -> None:
    clock = Clock()
    token = TokenFile(token_file, clock)
    other = token_file.with_name("next")
    other.write_text("open")
    other.chmod(0o600)
    other.replace(token_file)
    clock.now = 0.5
    assert token.matches("sesame")
    clock.now = 1.1
    assert token.matches("open")
    assert not token.matches("sesame")


def test_a_token_that_was_taken_away_lets_nobody_in_until_there_is_one(token_file: Path) -> None:
    clock = Clock()
    token = TokenFile(token_file, clock)
    token_file.unlink()
    clock.now = 2
    with capture_logs() as logs:
        assert not token.matches("sesame")
        clock.now = 4
        assert not token.matches("")
    assert [entry["event"] for entry in logs] == ["control_token_lost"]
    token_file.write_text("sesame")
    token_file.chmod(0o600)
    clock.now = 6
    assert token.matches("sesame")


def test_a_reload_reads_the_token_at_once_and_says_what_came_of_it(token_file: Path) -> None:
    token = TokenFile(token_file, Clock())
    assert token.reload() == "unchanged"
    token_file.write_text("open")
    assert token.reload() == "changed"
    assert token.matches("open")
    token_file.unlink()
    assert token.reload() == "unusable"
    assert not token.matches("open")


def test_a_secret_is_not_shown(token_file: Path) -> None:
    assert repr(Secret(b"sesame")) == str(Secret(b"sesame")) == "Secret(***)"
    assert "sesame" not in repr(TokenFile(token_file)) + repr(Gate("::1", TokenFile(token_file)))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, []),
        ({"admin_host": "0.0.0.0"}, ["admin_host"]),
        ({"host": "0.0.0.0"}, []),
        ({"host": "0.0.0.0", "model_control": "both"}, ["host"]),
        (
            {"host": "::", "admin_host": "::", "model_control": "explicit"},
            ["admin_host", "host"],
        ),
    ],
)
def test_a_gateway_that_refuses_control_says_so_once(
    flags: dict[str, str], said: list[str]
) -> None:
    with capture_logs() as logs:
        open_gates(load_settings(flags, None, {})[0])
    assert [entry["setting"] for entry in logs] == said


@pytest.mark.parametrize(
    ("flags", "events"),
    [
        ({}, ["control_names_ignored"]),
        ({"http.allowed_hosts": "models.example"}, []),
        ({"admin_host": "0.0.0.0"}, ["control_refused"]),
        (
            {"admin_host": "0.0.0.0", "model_control": "both"},
            ["control_refused", "control_names_ignored"],
        ),
    ],
)
def test_patterns_that_open_nothing_are_said_once(flags: dict[str, str], events: list[str]) -> None:
    with capture_logs() as logs:
        open_gates(load_settings({"http.allowed_hosts": WIDE, **flags}, None, {})[0])
    assert [entry["event"] for entry in logs] == events
    named = [entry["names"] for entry in logs if "names" in entry]
    assert named == [["*", "*.ml.example"]] * ("control_names_ignored" in events)


def test_a_gateway_with_a_token_has_nothing_to_say(token_file: Path) -> None:
    flags = {"admin_host": "::", "admin_token_file": token_file}
    with capture_logs() as logs:
        open_gates(load_settings(flags, None, {})[0])
    assert logs == []


def test_loopback_is_told_from_other_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))
