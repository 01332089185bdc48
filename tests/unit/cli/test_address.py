"""Which door an address names."""

from __future__ import annotations

import pytest

from serving.cli.address import Protocol, door
from serving.cli.output import UserError

HTTP, GRPC = Protocol.HTTP, Protocol.GRPC


@pytest.mark.parametrize(
    ("url", "protocol", "expected"),
    [
        (None, None, (HTTP, "http://127.0.0.1:8080")),
        (None, HTTP, (HTTP, "http://127.0.0.1:8080")),
        (None, GRPC, (GRPC, "127.0.0.1:8081")),
        ("http://h:1", None, (HTTP, "http://h:1")),
        ("http://h/below", HTTP, (HTTP, "http://h/below")),
        ("grpc://h:1", None, (GRPC, "h:1")),
        ("GRPC://h:1", GRPC, (GRPC, "h:1")),
        ("h:1", None, (GRPC, "h:1")),
        ("[::1]:8081", None, (GRPC, "[::1]:8081")),
        ("h:1", HTTP, (HTTP, "http://h:1")),
    ],
)
def test_the_address_says_which_protocol(
    url: str | None, protocol: Protocol | None, expected: tuple[Protocol, str]
) -> None:
    assert door(url, protocol) == expected


@pytest.mark.parametrize(
    ("url", "protocol", "words"),
    [
        ("http://h:1", GRPC, "is http, --protocol says grpc"),
        ("grpc://h:1", HTTP, "is grpc, --protocol says http"),
        ("h", None, "names no port"),
        ("grpc://h", None, "names no port"),
        ("grpc://h:1/below", None, "names no port"),
        ("h:", None, "names no port"),
        (":1", None, "names no port"),
        ("https://h:1", None, "TLS is not spoken"),
        ("grpcs://h:1", None, "TLS is not spoken"),
        ("unix:///h", None, "no address of a gateway"),
        ("", None, "names no port"),
    ],
)
def test_what_names_none_says_what_was_expected(
    url: str, protocol: Protocol | None, words: str
) -> None:
    with pytest.raises(UserError, match=words) as refused:
        door(url, protocol)
    assert refused.value.code == 2
