"""Why no gateway answered, in words."""

from __future__ import annotations

import socket

from serving.cli.unreached import not_connected


def test_what_a_socket_says_is_told_as_far_as_it_is_final() -> None:
    refused = not_connected("http://h:1", "h", ConnectionRefusedError())
    assert str(refused).startswith("nothing listens at http://h:1")
    nameless = not_connected("http://h:1", "h", socket.gaierror(-2, "unknown"))
    assert "by the name 'h'" in str(nameless)
    assert not_connected("http://h:1", "h", ConnectionResetError()) is None
