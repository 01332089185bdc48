"""Triton's load and unload calls over both doors, held against a commander that obeys."""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

import pytest

from serving.authorization import Gate, TokenFile
from serving.errors import ErrorCode
from serving.models.commands.command import SUPERSEDED, LoadModel, Outcome, UnloadModel
from serving.protocols.repository import MAX_PENDING, NOT_ALLOWED, Pending, RepositoryControl
from serving.protocols.views import MAX_BODY_BYTES
from serving.settings import load_settings
from serving.wire import messages
from tests.unit.control_fakes import Commander
from tests.unit.protocol_views import Models, RecordedCall, call, model, version

Door = Literal["grpc", "http"]
DOORS = ("grpc", "http")
MODELS = Models(model("m", version(1)))
DONE = Outcome(version=1)


def control(commander: Any, gate: Gate | None = None, **flags: object) -> RepositoryControl:
    settings = load_settings({"model_control": "explicit", **flags}, None, {})[0]
    return RepositoryControl(commander, gate or Gate("127.0.0.1", None), settings)


def recorded(door: Door, verb: str, name: str, parameters: dict[str, Any]) -> RecordedCall:
    """The call as Triton's own client makes it; bytes become base64 over HTTP."""
    if door == "http":
        texts = {
            key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for key, value in parameters.items()
        }
        body = json.dumps({"parameters": texts} if texts else {}).encode()
        return RecordedCall("http", "POST", f"/v2/repository/models/{name}/{verb}", body)
    rpc = {"load": "RepositoryModelLoad", "unload": "RepositoryModelUnload"}[verb]
    message = getattr(messages, f"{rpc}Request")(model_name=name)
    fields = {str: "string_param", bytes: "bytes_param", bool: "bool_param", int: "int64_param"}
    for key, value in parameters.items():
        if type(value) in fields:
            setattr(message.parameters[key], fields[type(value)], value)
        else:
            message.parameters[key].SetInParent()
    return RecordedCall("grpc", rpc, "", message.SerializeToString())


def ask(
    door: Door, verb: str, parameters: dict[str, Any], allowed: RepositoryControl, name: str = "m"
) -> RecordedCall:
    return call(MODELS, recorded(door, verb, name, parameters), allowed)


def refused(done: RecordedCall) -> tuple[str, str]:
    assert done.answer is None
    assert done.failure is not None
    return done.failure[:2]


CONFIG = '{"max_batch_size": "16", "instance_group": [{"kind": "kind_cpu"}]}'


@pytest.mark.parametrize("door", DOORS)
class TestLoad:
    def test_a_plain_load_is_a_command(self, door: Door) -> None:
        commander = Commander(DONE)
        done = ask(door, "load", {}, control(commander))
        assert done.answer == b""
        assert commander.commands == [LoadModel("m")]

    @pytest.mark.parametrize("asked", [3, "3"])
    def test_our_own_parameter_names_one_version(self, door: Door, asked: object) -> None:
        commander = Commander(DONE)
        for verb in ("load", "unload"):
            assert ask(door, verb, {"version": asked}, control(commander)).answer == b""
        assert commander.commands == [LoadModel("m", 3), UnloadModel("m", 3)]

    def test_the_configuration_comes_as_tritons_json(self, door: Door) -> None:
        commander = Commander(DONE)
        assert ask(door, "load", {"config": CONFIG}, control(commander)).answer == b""
        (command,) = commander.commands
        assert isinstance(command, LoadModel)
        assert command.override is not None
        assert command.override.max_batch_size == 16
        assert command.files == {}

    def test_files_come_as_bytes_where_uploads_are_on(self, door: Door) -> None:
        commander = Commander(DONE)
        parameters = {"config": "{}", "file:1/model.onnx": b"\0\xff", "file:1/w/part.bin": b""}
        uploads = control(commander, **{"control.uploads": True})
        assert ask(door, "load", parameters, uploads).answer == b""
        (command,) = commander.commands
        assert isinstance(command, LoadModel)
        assert command.files == {"1/model.onnx": b"\0\xff", "1/w/part.bin": b""}

    def test_the_answer_comes_when_the_load_is_done(self, door: Door) -> None:
        commander = Commander(None)
        done = ask(door, "load", {}, control(commander))
        assert (done.answer, done.failure) == (None, None)
        commander.tickets[0].end(DONE)
        assert done.answer == b""

    def test_an_unload_answers_when_it_shows_and_not_when_it_is_done(self, door: Door) -> None:
        commander = Commander(None)
        done = ask(door, "unload", {"unload_dependents": True}, control(commander))
        assert commander.commands == [UnloadModel("m")]
        assert (done.answer, done.failure) == (None, None)
        commander.tickets[0].begin()
        assert done.answer == b""
        # Nobody is told again.
        commander.tickets[0].end(DONE)

    def test_an_unload_that_a_newer_command_overtakes_is_no_failure(self, door: Door) -> None:
        commander = Commander(None)
        done = ask(door, "unload", {}, control(commander))
        commander.tickets[0].end(Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED))
        assert done.answer == b""

    def test_a_refused_unload_says_so(self, door: Door) -> None:
        commander = Commander(Outcome(ErrorCode.NOT_FOUND, "no directory has it"))
        words = "failed to unload 'm', failed to poll from model repository: no directory has it"
        assert refused(ask(door, "unload", {}, control(commander))) == (ErrorCode.NOT_FOUND, words)

    @pytest.mark.parametrize(
        ("outcome", "word", "words"),
        [
            (
                Outcome(ErrorCode.NOT_FOUND, "no directory has it"),
                ErrorCode.NOT_FOUND,
                "failed to load 'm', failed to poll from model repository: no directory has it",
            ),
            (
                Outcome(ErrorCode.BAD_REQUEST, "load failed for model 'm': version 1 is at UNA..."),
                ErrorCode.BAD_REQUEST,
                "load failed for model 'm': version 1 is at UNA...",
            ),
            (Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED), ErrorCode.UNAVAILABLE, SUPERSEDED),
            (Outcome(ErrorCode.CANCELLED, SUPERSEDED), ErrorCode.UNAVAILABLE, SUPERSEDED),
            (
                Outcome(ErrorCode.UNAVAILABLE, "the server is stopping"),
                ErrorCode.UNAVAILABLE,
                "the server is stopping",
            ),
            (Outcome(ErrorCode.INTERNAL, "internal error"), ErrorCode.INTERNAL, "internal error"),
        ],
    )
    def test_a_failure_is_told_in_tritons_words(
        self, door: Door, outcome: Outcome, word: ErrorCode, words: str
    ) -> None:
        assert refused(ask(door, "load", {}, control(Commander(outcome)))) == (word, words)

    def test_it_is_not_allowed_while_only_the_directories_decide(self, door: Door) -> None:
        commander = Commander(DONE)
        for verb in ("load", "unload"):
            done = ask(door, verb, {}, control(commander, model_control="poll"))
            assert refused(done) == (ErrorCode.UNAVAILABLE, NOT_ALLOWED)
        assert ask(door, "load", {}, control(commander, model_control="both")).answer == b""
        assert len(commander.commands) == 1

    def test_loads_that_wait_are_bounded(self, door: Door) -> None:
        commander = Commander(None)
        allowed = control(commander)
        waiting = [ask(door, "load", {}, allowed) for _ in range(MAX_PENDING)]
        assert refused(ask(door, "load", {}, allowed))[0] is ErrorCode.FULL
        assert len(commander.commands) == MAX_PENDING
        commander.tickets[0].end(DONE)
        assert waiting[0].answer == b""
        assert ask(door, "load", {}, allowed).failure is None

    def test_a_commander_that_fails_costs_one_answer_and_no_place(self, door: Door) -> None:
        class Broken:
            def command(self, command: object, by: str = "") -> Any:
                raise RuntimeError("/secret/path")

        allowed = control(Broken())
        for _ in range(MAX_PENDING + 1):
            assert refused(ask(door, "load", {}, allowed)) == (ErrorCode.INTERNAL, "internal error")

    def test_a_listener_that_fails_leaves_the_commands_thread_alone(self, door: Door) -> None:
        commander = Commander(None)
        done = ask(door, "load", {}, control(commander))
        done.answer = b"answered already"
        assert commander.tickets[0].end(DONE)

    def test_bodies_stay_small_unless_uploads_are_on(self, door: Door) -> None:
        commander = Commander(DONE)
        large = {"config": json.dumps({"parameters": {"k": {"string_value": "x" * 70_000}}})}
        assert len(large["config"]) > MAX_BODY_BYTES
        assert refused(ask(door, "load", large, control(commander)))[0] is ErrorCode.TOO_LARGE
        uploads = control(commander, **{"control.uploads": True})
        assert ask(door, "load", large, uploads).answer == b""
        unloads = {"unload_dependents": True, "x" * 70_000: True}
        assert refused(ask(door, "unload", unloads, uploads))[0] is ErrorCode.TOO_LARGE


BAD = [
    ("load", {"url": "https://example.com/m.onnx"}, "unrecognized load parameter 'url'."),
    ("load", {"confg": "{}"}, "unrecognized load parameter 'confg'."),
    ("load", {"unload_dependents": True}, "unrecognized load parameter"),
    ("load", {"config": 3}, "must be a string"),
    ("load", {"config": b"{}"}, None),
    ("load", {"config": "{"}, "failed to load 'm', failed to poll from model repository"),
    ("load", {"config": '{"max_batch_sise": 1}'}, "did you mean 'max_batch_size'"),
    ("load", {"config": '{"name": "n"}'}, "differs"),
    ("load", {"version": 0}, "> 0"),
    ("load", {"version": -3}, "> 0"),
    ("load", {"version": "x"}, "not an integer"),
    ("load", {"version": "03x"}, "not an integer"),
    ("load", {"version": ""}, "positive integer"),
    ("load", {"version": True}, "positive integer"),
    ("load", {"version": None}, "positive integer"),
    ("load", {"file:1/model.onnx": b"x"}, "need a 'config'"),
    ("unload", {"config": "{}"}, "unrecognized unload parameter 'config'."),
    ("unload", {"unload_dependents": "yes"}, "true or false"),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("verb", "parameters", "words"), BAD)
def test_fault_64_parameters_that_mean_nothing_are_bad_requests(
    door: Door, verb: str, parameters: dict[str, Any], words: str | None
) -> None:
    commander = Commander(DONE)
    allowed = control(commander, **{"control.uploads": True})
    word, message = refused(ask(door, verb, parameters, allowed))
    assert word is ErrorCode.BAD_REQUEST
    assert words is None or words in message
    assert commander.commands == []


FILES = [
    "../1/model.onnx",
    "1/../../model.onnx",
    "1/..",
    "..",
    "",
    ".",
    "/etc/passwd",
    "/1/model.onnx",
    "1//model.onnx",
    "1/./model.onnx",
    "1/model.onnx/",
    "1\\model.onnx",
    "1/..\\x",
    "1/a\0b",
    "1/a\nb",
    "1/" + "x" * 254,
    "1/" + "x" * 256,
    "1/" + "é" * 130,
    "1/a/b/c/d",
    "model.onnx",
    "config.pbtxt",
    "01/model.onnx",
    "0/model.onnx",
    "-1/model.onnx",
    "x/model.onnx",
    f"{2**63}/model.onnx",
    "1/libops.so",
    "1/libops.so.1",
    "1/LIBOPS.SO",
    "1/ops.dll",
    "1/ops.dylib",
    "http://example.com/model.onnx",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FILES)
def test_fault_12_62_files_outside_of_the_model_and_code_are_refused(door: Door, name: str) -> None:
    commander = Commander(DONE)
    parameters = {"config": "{}", "file:1/model.onnx": b"x", f"file:{name}": b"x"}
    allowed = control(commander, **{"control.uploads": True})
    word, message = refused(ask(door, "load", parameters, allowed))
    assert word is ErrorCode.BAD_REQUEST
    assert message.isprintable()
    assert len(message) < 400
    assert commander.commands == []


@pytest.mark.parametrize("door", DOORS)
def test_fault_62_no_file_is_taken_unless_uploads_are_on(door: Door) -> None:
    commander = Commander(DONE)
    parameters = {"config": "{}", "file:1/model.onnx": b"x"}
    word, message = refused(ask(door, "load", parameters, control(commander)))
    assert (word, "control.uploads" in message) == (ErrorCode.PERMISSION_DENIED, True)
    assert commander.commands == []


def test_a_file_cannot_be_a_folder_too() -> None:
    parameters = {"config": "{}", "file:1/model.onnx": b"x", "file:1/model.onnx/w.bin": b"x"}
    uploads = control(Commander(DONE), **{"control.uploads": True})
    assert "both a file and a folder" in refused(ask("http", "load", parameters, uploads))[1]


@pytest.mark.parametrize("text", ["%%%", "AA", "AAAA AAAA", 3, None, ["AAAA"]])
def test_files_over_http_are_strict_base64(text: object) -> None:
    body = {"parameters": {"config": "{}", "file:1/model.onnx": text}}
    path = "/v2/repository/models/m/load"
    sent = RecordedCall("http", "POST", path, json.dumps(body).encode())
    uploads = control(Commander(DONE), **{"control.uploads": True})
    assert refused(call(MODELS, sent, uploads))[0] is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b"null", b'{"parameters": []}', b'{"url": "http://x/"}', b"\xff"]
)
def test_fault_64_a_body_that_says_anything_else_is_refused(body: bytes) -> None:
    commander = Commander(DONE)
    for verb in ("load", "unload"):
        sent = RecordedCall("http", "POST", f"/v2/repository/models/m/{verb}", body)
        assert refused(call(MODELS, sent, control(commander)))[0] is ErrorCode.BAD_REQUEST
    assert commander.commands == []


@pytest.mark.parametrize(
    "name", ["", "..", "../m", "a/b", "a\\b", "m\n", "m\0", "http://x/m", "a" * 256]
)
def test_fault_62_names_that_could_be_paths_reach_nobody(name: str) -> None:
    commander = Commander(DONE)
    for verb in ("load", "unload"):
        done = ask("grpc", verb, {}, control(commander), name)
        assert refused(done)[0] is ErrorCode.BAD_REQUEST
    assert commander.commands == []


@pytest.mark.parametrize("name", ["$(touch x)", "`touch x`", "a;b", "--help"])
def test_fault_66_names_are_data_whatever_a_shell_would_make_of_them(name: str) -> None:
    commander = Commander(DONE)
    assert ask("grpc", "load", {}, control(commander), name).answer == b""
    assert commander.commands == [LoadModel(name)]


class Unread(RecordedCall):
    """A call whose body nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        assert name != "body", "a refused call's body was read"
        return super().__getattribute__(name)


@pytest.mark.parametrize("door", DOORS)
def test_fault_63_who_may_not_is_refused_before_the_body_is_read(door: Door, tmp_path: Any) -> None:
    (tmp_path / "token").write_text("sesame")
    token = TokenFile(tmp_path / "token")
    for gate, headers, expected in (
        (Gate("0.0.0.0", None), {}, ErrorCode.PERMISSION_DENIED),
        (Gate("0.0.0.0", token), {}, ErrorCode.UNAUTHENTICATED),
        (Gate("0.0.0.0", token), {"authorization": "Bearer no"}, ErrorCode.UNAUTHENTICATED),
        (Gate("127.0.0.1", token), {}, ErrorCode.UNAUTHENTICATED),
        (Gate("127.0.0.1", None), {"origin": "http://evil.example"}, ErrorCode.PERMISSION_DENIED),
    ):
        commander = Commander(DONE)
        for verb in ("load", "unload"):
            sent = recorded(door, verb, "m", {})
            unread = Unread(sent.protocol, sent.method, sent.path, headers=headers)
            assert refused(call(MODELS, unread, control(commander, gate)))[0] is expected
        assert commander.commands == []
    sent = recorded(door, "load", "m", {})
    sent.headers["authorization"] = "Bearer sesame"
    assert call(MODELS, sent, control(Commander(DONE), Gate("0.0.0.0", token))).answer == b""


@pytest.mark.parametrize(
    ("flags", "gate", "listed"),
    [
        ({}, Gate("127.0.0.1", None), True),
        ({"model_control": "both"}, Gate("127.0.0.1", None), True),
        ({"model_control": "poll"}, Gate("127.0.0.1", None), False),
        ({}, Gate("0.0.0.0", None), False),
    ],
)
def test_the_extension_is_listed_where_it_works(
    flags: dict[str, object], gate: Gate, listed: bool
) -> None:
    allowed = control(Commander(DONE), gate, **flags)
    over_http = call(MODELS, RecordedCall("http", "GET", "/v2"), allowed).answer
    assert over_http is not None
    assert ("model_repository" in json.loads(over_http)["extensions"]) is listed
    over_grpc = call(MODELS, RecordedCall("grpc", "ServerMetadata"), allowed).answer
    assert over_grpc is not None
    found = messages.ServerMetadataResponse.FromString(over_grpc)
    assert ("model_repository" in found.extensions) is listed


def test_bytes_that_wait_are_bounded_too() -> None:
    pending = Pending(10, 100)
    leave = pending.enter(60)
    with pytest.raises(Exception, match="too many loads"):
        pending.enter(60)
    leave()
    pending.enter(100)
