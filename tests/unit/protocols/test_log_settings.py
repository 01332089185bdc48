"""Triton's log settings on both doors, and what they let through."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from serving.authorization import Gate
from serving.errors import ErrorCode
from serving.events import LEVELS, log
from serving.observe import logs
from serving.observe import nonblocking_writer as lines
from serving.observe.log_levels import LEVELS_WRITTEN, LogLevels
from serving.protocols.call_context import CallContext
from serving.protocols.calls import answer_call
from serving.protocols.log_settings import LogSettings
from serving.settings import LogSettings as Section
from serving.wire import messages
from tests.unit.protocol_views import Models, RecordedCall

PATH = "/v2/logging"
START = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "ISO8601",
}
CHOICES = {bool: "bool_param", int: "uint32_param", str: "string_param"}


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class World:
    def __init__(self, level: Any = "info", host: str = "127.0.0.1") -> None:
        self.out = io.StringIO()
        logs.configure(Section(level=level), self.out)
        settings = LogSettings(LEVELS_WRITTEN, Gate(host, None))
        self._context = CallContext(Models(), "serving", log=settings)

    def written(self) -> list[str]:
        """The events of records at each level, the libraries' too."""
        assert lines.drain(5)
        before = self.out.tell()
        for level in ("debug", "info", "warning", "error"):
            getattr(log, level)(level)
            logging.getLogger("library").log(LEVELS[level], "library %s", level)
        assert lines.drain(5)
        self.out.seek(before)
        return [json.loads(line)["event"] for line in self.out]

    def get(self) -> Any:
        return self._json(RecordedCall("http", "GET", PATH))

    def post(self, body: object) -> Any:
        """The answer, or the error as (word, message)."""
        return self._json(RecordedCall("http", "POST", PATH, json.dumps(body).encode()))

    def _json(self, recorded: RecordedCall) -> Any:
        answer_call(recorded, self._context)
        if recorded.failure is not None:
            return recorded.failure[:2]
        assert recorded.answer is not None
        return json.loads(recorded.answer)

    def rpc(self, **settings: Any) -> Any:
        request = messages.LogSettingsRequest()
        for key, value in settings.items():
            one = request.settings[key]
            if value is not None:
                setattr(one, CHOICES[type(value)], value)
        recorded = RecordedCall("grpc", "LogSettings", body=request.SerializeToString())
        answer_call(recorded, self._context)
        if recorded.failure is not None:
            return recorded.failure[:2]
        assert recorded.answer is not None
        answer = messages.LogSettingsResponse.FromString(recorded.answer)
        return {
            key: getattr(one, one.WhichOneof("parameter_choice"))
            for key, one in answer.settings.items()
        }


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", {"log_verbose_level": 1}),
        ("info", {}),
        ("warning", {"log_info": False}),
        ("error", {"log_info": False, "log_warning": False}),
    ],
)
def test_both_doors_tell_what_the_setting_said(level: str, told: dict[str, Any]) -> None:
    world = World(level)
    assert world.get() == world.rpc() == {**START, **told}


ALL_WRITTEN = ["info", "warning", "library warning", "error", "library error"]


@pytest.mark.parametrize("door", ["http", "grpc"])
@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"log_verbose_level": 2}, ["debug", *ALL_WRITTEN]),
        ({"log_info": False}, ALL_WRITTEN[1:]),
        ({"log_warning": False}, ["info", "error", "library error"]),
        ({"log_error": False}, ALL_WRITTEN[:3]),
        ({"log_info": False, "log_verbose_level": 1}, ["debug", *ALL_WRITTEN[1:]]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
    ],
)
def test_what_is_said_is_written_or_left_out(
    door: str, change: dict[str, Any], left: list[str]
) -> None:
    world = World()
    assert world.written() == ALL_WRITTEN
    found = world.post(change) if door == "http" else world.rpc(**change)
    assert found == world.get() == {**START, **change}
    assert world.written() == left
    undo = {key: START[key] for key in change}
    world.post(undo)
    assert world.written() == ALL_WRITTEN


def test_a_change_is_told_before_it_holds() -> None:
    world = World()
    world.post({"log_info": False})
    assert lines.drain(5)
    (told,) = [json.loads(line) for line in world.out.getvalue().splitlines()]
    assert (told["event"], told["info"], told["verbose"]) == ("log_settings", False, 0)
    # One that changes nothing is not.
    world.post({"log_warning": True})
    assert world.written() == ALL_WRITTEN[1:]


def test_null_says_nothing_over_http() -> None:
    world = World("warning")
    before = world.get()
    assert world.post(dict.fromkeys(START)) == before
    assert world.post({}) == before


def test_a_format_that_is_ours_is_taken() -> None:
    world = World()
    assert world.post({"log_format": "ISO8601"}) == START
    assert world.rpc(log_format="ISO8601") == START


@pytest.mark.parametrize(
    ("key", "value", "word", "words"),
    [
        ("log_info", 1, ErrorCode.BAD_REQUEST, "expect boolean for 'log_info'"),
        ("log_error", "true", ErrorCode.BAD_REQUEST, "expect boolean for 'log_error'"),
        ("log_verbose_level", True, ErrorCode.BAD_REQUEST, "expect int32 for 'log_verbose_level'"),
        ("log_verbose_level", 2**31, ErrorCode.BAD_REQUEST, "expect 0 to 2147483647"),
        ("log_format", 1, ErrorCode.BAD_REQUEST, "expect string for 'log_format'"),
        ("log_format", "x", ErrorCode.BAD_REQUEST, "invalid argument for log_format, got: x"),
        ("log_format", "default", ErrorCode.UNIMPLEMENTED, "log_format 'default' is not supported"),
        ("log_file", "f", ErrorCode.UNIMPLEMENTED, "log file location can not be updated"),
        ("log_file", "", ErrorCode.UNIMPLEMENTED, "log file location can not be updated"),
        ("log_colour", True, ErrorCode.BAD_REQUEST, "unrecognized log setting 'log_colour'"),
    ],
)
def test_what_says_nothing_is_refused_and_changes_nothing(
    key: str, value: Any, word: str, words: str
) -> None:
    world = World()
    for found in (
        world.post({"log_warning": False, key: value}),
        world.rpc(log_warning=False, **{key: value}),
    ):
        assert found[0] is word
        assert found[1].startswith(words)
    assert world.get() == START
    assert world.written() == ALL_WRITTEN


def test_a_negative_level_and_an_empty_value_say_nothing() -> None:
    world = World()
    assert world.post({"log_verbose_level": -1})[0] is ErrorCode.BAD_REQUEST
    assert world.rpc(log_info=None) == (
        ErrorCode.BAD_REQUEST,
        "expect boolean for 'log_info'",
    )


def test_faults_63_64_who_may_not_control_may_only_look() -> None:
    world = World(host="0.0.0.0")
    assert world.get() == world.rpc() == START
    assert world.post({"log_info": False})[0] is ErrorCode.PERMISSION_DENIED
    assert world.post({})[0] is ErrorCode.PERMISSION_DENIED
    assert world.rpc(log_info=False)[0] is ErrorCode.PERMISSION_DENIED
    assert world.written() == ALL_WRITTEN


def test_a_log_that_was_not_set_up_here_is_not_told_of() -> None:
    context = CallContext(
        Models(), "serving", log=LogSettings(LogLevels(), Gate("127.0.0.1", None))
    )
    recorded = RecordedCall("http", "GET", PATH)
    answer_call(recorded, context)
    assert recorded.failure is not None
    assert recorded.failure[0] is ErrorCode.UNIMPLEMENTED
