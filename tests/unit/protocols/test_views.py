"""Names and versions as requests give them, and the words for what is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving.errors import ErrorCode, ServingError
from serving.models.state import State
from serving.models.views import UnloadedVersion
from serving.protocols.views import (
    decode_name,
    find_model,
    find_version,
    named_version,
    parse_version,
    shown,
)
from tests.unit.protocol_views import Models, failed, model, version


def refused(found: Models, name: str, number: int | None) -> tuple[ErrorCode, str]:
    with pytest.raises(ServingError) as caught:
        find_version(find_model(found, name), number)
    return caught.value.code, caught.value.message


def test_an_unknown_model_and_an_unknown_version_are_not_found() -> None:
    models = Models(model("m", version(1)))

    assert refused(models, "n", None) == (
        ErrorCode.NOT_FOUND,
        "Request for unknown model: 'n' is not found; known models: 'm'",
    )
    assert refused(models, "m", 9) == (
        ErrorCode.NOT_FOUND,
        "Request for unknown model: 'm' version 9 is not found; loaded: 1",
    )


def test_a_wrong_name_gets_the_nearest_and_many_are_not_listed() -> None:
    many = Models(*(model(f"model_{n}", version(1)) for n in range(20)))
    assert refused(Models(model("digits", version(1))), "digts", None)[1].endswith(
        "is not found; did you mean 'digits'?"
    )
    assert refused(many, "MODEL-7", None)[1].endswith("; did you mean 'model_7'?")
    assert refused(many, "bert", None)[1].endswith("'bert' is not found")
    assert refused(Models(), "bert", None)[1].endswith("'bert' is not found; there is no model yet")


def test_a_version_on_disk_that_is_not_loaded_is_told_of() -> None:
    by_policy = UnloadedVersion(1, "the version policy is latest 1")
    found = replace(model("m", version(2)), unloaded=(by_policy,))
    word, message = refused(Models(found), "m", 1)
    assert word is ErrorCode.NOT_FOUND
    where = "it is on disk and not loaded: the version policy is latest 1"
    assert message == f"Request for unknown model: 'm' version 1 is not found; {where}"
    none = Models(model("m", failed(1, "it is broken")))
    assert refused(none, "m", 9)[1].endswith("version 9 is not found; no version is loaded")


def test_the_default_is_the_highest_ready_version() -> None:
    found = model("m", version(1), version(2), failed(3, "it is broken"))

    assert find_version(found, None).number == 2
    assert find_version(found, 1).number == 1


@pytest.mark.parametrize(
    "state", [State.NEW, State.LOADING, State.WARMING, State.DRAINING, State.FAILED]
)
def test_a_known_version_that_is_not_ready_is_unavailable(state: State) -> None:
    models = Models(model("m", version(1), replace(version(2), state=state, reason="why")))

    word, message = refused(models, "m", 2)

    assert word is ErrorCode.UNAVAILABLE
    assert message.startswith("model 'm' version 2 is not at ready state")
    assert "why" in message


def test_a_model_without_a_ready_version_is_unavailable_and_says_why() -> None:
    broken = model("m", failed(1, "it is broken"), reason="its newest version is broken")

    assert refused(Models(broken), "m", None) == (
        ErrorCode.UNAVAILABLE,
        "Request for unavailable model: 'm': its newest version is broken",
    )


@pytest.mark.parametrize(("text", "number"), [("", None), ("3", 3), ("03", 3)])
def test_versions_are_read(text: str, number: int | None) -> None:
    assert parse_version(text) == number


@pytest.mark.parametrize(
    "text", ["x", "3abc", "+3", " 3", "3 ", "1.0", "1_0", "\u0663", "9" * 20, "9" * 5000, "--1"]
)
def test_a_version_that_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_version(text)

    assert caught.value.code is ErrorCode.BAD_REQUEST
    expected = "failed to get model version from specified version string '"
    assert caught.value.message.startswith(expected)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("text", ["0", "-1", "-0"])
def test_a_version_below_1_is_refused(text: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse_version(text)

    assert caught.value.message.startswith("invalid model version specified '")


def test_names_are_decoded_once() -> None:
    assert decode_name("a%20b%C3%A9") == "a b\u00e9"
    assert decode_name("%252e%252e") == "%2e%2e"
    assert decode_name("50%") == "50%"


@pytest.mark.parametrize(
    "raw",
    ["..", ".", "%2e%2e", "..%2fetc", "a%2Fb", "a%5cb", "a\\b", "a%00", "a%0ab", "a%7f", "%ff"],
)
def test_fault_61_names_that_could_be_paths_are_refused(raw: str) -> None:
    with pytest.raises(ServingError) as caught:
        decode_name(raw)

    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert "\x00" not in caught.value.message


def test_what_an_error_repeats_is_short_and_printable() -> None:
    assert shown("a\nb\x00") == "a\ufffdb\ufffd"
    assert len(shown("x" * 10_000)) < 140


def test_a_version_is_named_by_number_or_by_an_alias_of_the_model() -> None:
    found = model("m", version(1), version(2))
    models = Models(replace(found, route=replace(found.route, aliases={"stable": 1})))
    names = {"": None, "2": 2, "stable": 1}
    assert {text: named_version(models, "m", text) for text in names} == names
    # The model is what is wrong with it.
    assert named_version(models, "x", "stable") is None
    for name, text in (("m", "other"), ("m", "-1"), ("x", "-1"), ("x", "a/b")):
        with pytest.raises(ServingError, match="version should be an integral value > 0"):
            named_version(models, name, text)
