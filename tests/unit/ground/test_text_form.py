"""Protobuf's text form, of hostile files: read or refused within about a second, in a few words."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from serving.errors import ConfigError
from serving.model_config.pbtxt import parse
from serving.registry.model_list.reading import _parsed
from serving.statistics.forms import parse as parse_form
from serving.statistics.metadata import Form, Kind
from serving.text_form import MOST_TOKENS, TextFormError
from serving.text_form import parse as parse_text
from serving.wire import messages


def schema(text: str) -> object:
    return parse_form(text.encode(), Kind.SCHEMA, Form.TEXT)


# A name of each: what may be there a million times.
READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "config.pbtxt": (parse, "input"),
    "model config list": (_parsed, "model_config_list"),
    "schema.pbtxt": (schema, "feature"),
}
MILLION = 1_000_000
HOSTILE: dict[str, Callable[[str], str]] = {
    "a line of a text": lambda _: 'name: "' + "n" * 10 * MILLION + '"',
    "a line of spaces": lambda _: " " * 10 * MILLION,
    "a line of a comment": lambda _: "#" * 10 * MILLION,
    "a long name": lambda _: "x" * 200_000,
    "a long number": lambda _: "max_batch_size: " + "9" * 200_000,
    "a line that is told": lambda _: ";" * 200_000,
    "brackets": lambda _: "{" * 100_000,
    "nested messages": lambda name: f"{name} {{" * 30_000,
    "nested unknown ones": lambda _: "zz {" * 60_000,
    "nested lists": lambda name: f"{name}: " + "[" * 100_000,
    "nested types": lambda _: "[a.b/c.D] {" * 20_000,
    "quotes": lambda _: 'name: "' + '\\"' * 100_000,
    "open quotes": lambda _: "\n".join(['name: "' + '\\"' * 1000] * 200),
    "empty messages": lambda name: f"{name} {{}}\n" * MILLION,
    "empty messages in a line": lambda name: f"{name} {{}}" * MILLION,
    "messages in a list": lambda name: f"{name}: [" + "{},\n" * MILLION + "{}]",
    "empty texts": lambda _: "name: " + '""\n' * MILLION,
    "empty lines": lambda _: "\n" * 4 * MILLION,
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("who", READERS)
def test_a_hostile_text_is_refused_at_once_and_in_short(who: str, what: str) -> None:
    read, name = READERS[who]
    text = HOSTILE[what](name)
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert time.process_time() - began < 1
    assert len(str(caught.value)) < 400


def test_as_much_as_is_read_takes_about_a_second() -> None:
    text = "input{}\n" * (MOST_TOKENS // 4)
    message = messages.ModelConfig()
    parse_text(text, message, messages.pool)
    assert len(message.input) == MOST_TOKENS // 4
    with pytest.raises(TextFormError, match="more than 500,000 words, signs and lines"):
        parse_text(text + "#", message, messages.pool)


def test_an_error_of_a_long_line_says_where_and_what_was_expected() -> None:
    text = "\n" + "max_batch_size: [" + "1, " * 1000 + "x y]"
    with pytest.raises(TextFormError) as caught:
        parse_text(text, messages.ModelConfig(), messages.pool)
    assert caught.value.line == 2
    assert caught.value.words.startswith("'max_batch_size: [1, ")
    assert "Couldn't parse integer" in caught.value.words


def test_a_long_name_is_one_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"line 1: unknown key 'x{64}'"):
        parse("x" * 1000 + ": 1")
