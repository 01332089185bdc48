"""Which server and protocol an address names."""

from __future__ import annotations

import pytest

from serving_client.addresses import Protocol, parse_address, parse_addresses


@pytest.mark.parametrize(
    ("text", "protocol", "target", "host"),
    [
        ("localhost:8081", "grpc", "localhost:8081", "localhost"),
        ("grpc://h:1", "grpc", "h:1", "h"),
        ("GRPC://h:1", "grpc", "h:1", "h"),
        ("[::1]:8081", "grpc", "[::1]:8081", "::1"),
        ("http://h:8080", "http", "http://h:8080", "h"),
        ("http://h:8080/", "http", "http://h:8080", "h"),
        ("http://h", "http", "http://h:80", "h"),
        ("http://[::1]", "http", "http://[::1]:80", "::1"),
        ("http://h:8080/models/", "http", "http://h:8080/models", "h"),
        ("grpcs://h:1", "grpc", "h:1", "h"),
        ("https://h", "http", "https://h:443", "h"),
        ("HTTPS://h:8443/x", "http", "https://h:8443/x", "h"),
    ],
)
def test_an_address_names_protocol_and_place(
    text: str, protocol: str, target: str, host: str
) -> None:
    found = parse_address(text)
    assert (found.protocol, found.target, found.host) == (Protocol(protocol), target, host)
    assert found.tls == text.lower().startswith(("grpcs://", "https://"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no host and port"),
        ("localhost", "names no host and port"),
        (":8081", "names no host and port"),
        ("h:x", "names no host and port"),
        ("h:0", "between 1 and 65535"),
        ("h:70000", "between 1 and 65535"),
        ("user@h:1", "names no host and port"),
        ("grpcs://h", "names no host and port"),
        ("ftp://h:1", "no address of a server"),
        ("grpc://h:1/x", "has no path"),
    ],
)
def test_what_is_no_address_says_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_address(text)


def test_several_come_with_commas_or_as_a_sequence_each_once() -> None:
    one = parse_addresses("a:1, b:2,a:1")
    assert [str(address) for address in one] == ["a:1", "b:2"]
    assert parse_addresses(["a:1", "grpc://b:2"]) == one


@pytest.mark.parametrize("given", [[], ["a:1", "http://b:2"], ["a:1", "grpcs://b:2"]])
def test_none_and_both_protocols_at_once_are_refused(given: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no address|one of them|all or none"):
        parse_addresses(given)
