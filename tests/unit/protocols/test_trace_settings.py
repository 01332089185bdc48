"""Triton's trace settings on both doors: what is told, what may be said, and who may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from serving import _core
from serving.authorization import Gate
from serving.errors import ErrorCode
from serving.observe.tracing.control import TraceControl
from serving.protocols.call_context import CallContext
from serving.protocols.calls import answer_call
from serving.protocols.trace_settings import TraceSettings
from serving.settings import load_settings
from serving.wire import messages
from tests.unit.protocol_views import Models, RecordedCall, model, version

MODELS = Models(model("m", version(1)), model("other", version(1)))
ALL, ONE = "/v2/trace/setting", "/v2/models/m/trace/setting"
START = {
    "trace_level": ["TIMESTAMPS"],
    "trace_rate": "100",
    "trace_count": "-1",
    "trace_mode": "opentelemetry",
}
Told = tuple[float, bool, int]


class Core:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.all: Told | None = None
        self.models: dict[str, Told] = {}

    def trace(self, all_models: Any, models: Mapping[str, Any]) -> None:
        def plain(rule: tuple[float, bool, _core.TraceCount]) -> Told:
            return (rule[0], rule[1], rule[2].left)

        self.all = plain(all_models)
        self.models = {name: plain(rule) for name, rule in models.items()}


class World:
    def __init__(self, host: str = "127.0.0.1", **settings: Any) -> None:
        given = {"tracing.endpoint": "http://localhost:4318", "tracing.rate": 0.01, **settings}
        self.core = Core()
        control = TraceControl(self.core, load_settings(given, None, {})[0])
        self._context = CallContext(
            MODELS, "serving", traces=TraceSettings(control, Gate(host, None))
        )

    def call(self, recorded: RecordedCall) -> RecordedCall:
        answer_call(recorded, self._context)
        return recorded

    def get(self, path: str = ALL) -> Any:
        return self._json(RecordedCall("http", "GET", path))

    def post(self, body: object, path: str = ALL) -> Any:
        """The answer, or the error as (word, message)."""
        return self._json(RecordedCall("http", "POST", path, json.dumps(body).encode()))

    def _json(self, recorded: RecordedCall) -> Any:
        done = self.call(recorded)
        if done.failure is not None:
            return done.failure[:2]
        assert done.answer is not None
        return json.loads(done.answer)

    def rpc(self, model: str = "", **settings: list[str]) -> Any:
        request = messages.TraceSettingRequest(model_name=model)
        for key, values in settings.items():
            request.settings[key].value.extend(values)
        done = self.call(RecordedCall("grpc", "TraceSetting", body=request.SerializeToString()))
        if done.failure is not None:
            return done.failure[:2]
        assert done.answer is not None
        answer = messages.TraceSettingResponse.FromString(done.answer)
        return {key: list(one.value) for key, one in answer.settings.items()}


@pytest.fixture
def world() -> World:
    return World()


def listed(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """As gRPC has it."""
    return {key: value if isinstance(value, list) else [value] for key, value in settings.items()}


def test_both_doors_tell_all_settings(world: World) -> None:
    assert world.get() == START
    assert world.get(ONE) == START
    assert world.rpc() == world.rpc("m") == listed(START)
    # Asking tells the core nothing.
    assert world.core.all is None


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_what_is_said_holds_and_the_rest_stays(world: World, door: str) -> None:
    if door == "http":
        found = listed(world.post({"trace_rate": "4", "trace_count": "7"}))
    else:
        found = world.rpc(trace_rate=["4"], trace_count=["7"])
    assert found == listed({**START, "trace_rate": "4", "trace_count": "7"})
    assert world.core.all == (0.25, True, 7)
    assert world.get(ONE) == world.get()


def test_a_model_has_what_is_said_of_it_and_the_rest_from_all(world: World) -> None:
    assert world.post({"trace_rate": "2"}, ONE)["trace_rate"] == "2"
    assert world.get() == START
    assert world.core.models == {"m": (0.5, True, -1)}
    # What all have it has, too, but for what it was told itself.
    world.post({"trace_level": ["OFF"], "trace_rate": "9"})
    assert world.get(ONE) == {**START, "trace_level": ["OFF"], "trace_rate": "2"}
    assert world.core.all == (0.0, False, -1)
    assert world.core.models == {"m": (0.0, False, -1)}
    assert world.get("/v2/models/other/trace/setting")["trace_rate"] == "9"


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_nothing_clears_to_what_stands_above(world: World, door: str) -> None:
    world.post({"trace_rate": "9"})
    world.post({"trace_rate": "2", "trace_count": "5"}, ONE)
    if door == "http":
        found = world.post({"trace_rate": None, "trace_count": None}, ONE)
        assert found == {**START, "trace_rate": "9"}
        assert world.post({"trace_rate": None}) == START
    else:
        found = world.rpc("m", trace_rate=[], trace_count=[])
        assert found == listed({**START, "trace_rate": "9"})
        assert world.rpc(trace_rate=[]) == listed(START)
    assert world.core.models == {}


def test_a_rate_of_nought_leaves_what_callers_trace(world: World) -> None:
    assert world.post({"trace_rate": "0"})["trace_rate"] == "0"
    assert world.core.all == (0.0, True, -1)


def test_what_was_told_can_be_said_again(world: World) -> None:
    assert world.post(world.get()) == START
    assert world.rpc(**world.rpc()) == listed(START)


def test_a_change_of_something_else_counts_on(world: World) -> None:
    control = TraceControl(Core(), load_settings({"tracing.endpoint": "http://x"}, None, {})[0])
    control.change({"count": 5})
    count = control.rule().count
    control.change({"share": 1.0})
    control.change({"share": 0.5}, "m")
    assert control.rule().count is count
    assert control.rule("m").count is count


BAD = [
    ({"trace_rate": "x"}, "Unable to parse 'trace_rate', got: x"),
    ({"trace_rate": ""}, "Unable to parse 'trace_rate', got: "),
    ({"trace_rate": "1.5"}, "Unable to parse 'trace_rate', got: 1.5"),
    (
        {"trace_rate": "-1"},
        "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: -1",
    ),
    (
        {"trace_rate": "4294967296"},
        "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 4294967296",
    ),
    ({"trace_count": "many"}, "Unable to parse 'trace_count', got: many"),
    ({"trace_count": "-2"}, "Unable to parse 'trace_count'. Expecting value >= -1, got: -2"),
    (
        {"trace_count": "2147483648"},
        "Unable to parse 'trace_count', value is out of range [ -2147483648, 2147483647 ]",
    ),
    ({"log_frequency": "x"}, "Unable to parse 'log_frequency', got: x"),
    ({"trace_level": ["OFF", "TIMESTAMPS"]}, "Expect only one trace level 'OFF' is specified"),
    ({"trace_level": ["MOST"]}, "Unable to parse 'trace_level', got: MOST"),
    ({"trace_rate": ["1", "2"]}, "expect only 1 value for 'trace_rate'"),
    ({"trace_speed": "1"}, "unrecognized trace setting 'trace_speed'"),
]
UNSUPPORTED = [
    ({"trace_file": "f"}, "trace file location can not be updated through network protocol"),
    ({"trace_file": None}, "trace file location can not be updated through network protocol"),
    ({"trace_level": ["TIMESTAMPS", "TENSORS"]}, "trace level 'TENSORS' is not supported: "),
    ({"log_frequency": "10"}, "'log_frequency' is not supported: "),
    ({"trace_mode": "triton"}, "'trace_mode' can not be updated: "),
]


@pytest.mark.parametrize(
    ("body", "word", "words"),
    [(body, ErrorCode.BAD_REQUEST, words) for body, words in BAD]
    + [(body, ErrorCode.UNIMPLEMENTED, words) for body, words in UNSUPPORTED],
)
def test_what_says_nothing_is_refused_and_changes_nothing(
    world: World, body: dict[str, Any], word: str, words: str
) -> None:
    told = {"trace_count": "3", **body}
    as_lists = {
        key: [] if value is None else value if isinstance(value, list) else [value]
        for key, value in told.items()
    }
    for found in (world.post(told), world.rpc(**as_lists)):
        assert found[0] is word
        assert found[1].startswith(words)
    assert world.get() == START
    assert world.core.all is None


@pytest.mark.parametrize("value", [5, True, {}, [1], 1.5])
def test_values_that_are_no_texts_are_refused(world: World, value: Any) -> None:
    word, words = world.post({"trace_rate": value})
    assert word is ErrorCode.BAD_REQUEST
    assert words.startswith("Unable to parse 'trace_rate', got: ")


def test_a_frequency_of_nought_is_what_holds(world: World) -> None:
    assert world.post({"log_frequency": "0"}) == START
    assert world.post({"log_frequency": None}) == START


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_model_has_no_settings(world: World, method: str) -> None:
    path = "/v2/models/nowhere/trace/setting"
    word, words = world.get(path) if method == "GET" else world.post({}, path)
    assert word is ErrorCode.NOT_FOUND
    assert "Request for unknown model" in words
    assert world.rpc("nowhere")[0] is ErrorCode.NOT_FOUND


def test_faults_63_64_who_may_not_control_may_only_look() -> None:
    world = World("0.0.0.0")
    assert world.get() == START
    assert world.rpc("m") == listed(START)
    assert world.post({"trace_rate": "1"})[0] is ErrorCode.PERMISSION_DENIED
    assert world.post({})[0] is ErrorCode.PERMISSION_DENIED
    assert world.rpc(trace_rate=["1"])[0] is ErrorCode.PERMISSION_DENIED
    # Whatever is wrong with it is nobody's business either.
    assert world.post({"trace_rate": "x"}, ONE)[0] is ErrorCode.PERMISSION_DENIED
    assert world.core.all is None


def test_without_a_collector_traces_can_go_nowhere() -> None:
    world = World(**{"tracing.endpoint": "", "tracing.rate": 0.0})
    assert world.get()["trace_level"] == ["OFF"]
    for path in (ALL, ONE):
        word, words = world.post({"trace_level": ["TIMESTAMPS"]}, path)
        assert word is ErrorCode.UNIMPLEMENTED
        assert "tracing.endpoint" in words
        assert world.post({"trace_level": ["OFF"]}, path)["trace_level"] == ["OFF"]
    assert world.core.all == (0.0, False, -1)


def test_models_with_settings_of_their_own_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.observe.tracing.control.MOST_MODELS", 2)
    control = TraceControl(
        core := Core(), load_settings({"tracing.endpoint": "http://x"}, None, {})[0]
    )
    for name in ("a", "b"):
        control.change({"share": 1.0}, name, known=("a", "b", "c"))
    with pytest.raises(Exception, match="2 models have trace settings"):
        control.change({"share": 1.0}, "c", known=("a", "b", "c"))
    # One that has some may change them, and those of a model that is gone make room.
    control.change({"share": 0.5}, "b", known=("a", "b", "c"))
    control.change({"share": 1.0}, "c", known=("b", "c"))
    assert sorted(core.models) == ["b", "c"]
