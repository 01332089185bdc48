"""Fault 27 at the ends of HTTP/2 streams: who is refused while he still sends reads why, and no
reset takes it from him, unless he goes on and on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.clients import http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.witness import MIB, Witness

TINY = "/v2/models/tiny/infer"
BODY = b" " * (3 * MIB)
NO_ERROR = 0
JSON = ("content-type", "application/json")
REFUSED: dict[str, tuple[int, str, list[tuple[str, str]]]] = {
    "over the limit": (413, TINY, [JSON, ("content-length", str(len(BODY)))]),
    "over the limit, of no length": (413, TINY, [JSON]),
    "of another type": (415, TINY, [("content-type", "text/xml")]),
    "to nowhere": (404, "/nowhere", [JSON]),
}


def _post(path: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    first = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    return [*first, *headers]


def _send(client: http2.Client, stream: int, data: bytes) -> bool:
    """Whatever has been answered meanwhile, as one does who reads only in the end; False where the
    stream was reset before all was sent."""
    at = 0
    while at < len(data):
        if client.answers[stream].reset is not None:
            return False
        room = client.h2.local_flow_control_window(stream)
        if not room:
            assert client.pump(10.0), "the connection ended, or nothing more may be sent"
            continue
        piece = data[at : at + min(room, client.h2.max_outbound_frame_size)]
        client.h2.send_data(stream, piece)
        client.flush()
        at += len(piece)
    return True


def _still_answers(client: http2.Client) -> bool:
    get = [(":method", "GET"), (":scheme", "http"), (":path", "/v2"), (":authority", "x")]
    return client.answer(client.open(get, end=True)).headers[":status"] == "200"


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_while_he_still_sends_reads_why(tight: Gateway, case: str) -> None:
    status, path, headers = REFUSED[case]
    with Witness(tight), http2.Client(tight.http_port) as client:
        stream = client.open(_post(path, headers))
        assert _send(client, stream, BODY)
        client.h2.end_stream(stream)
        client.flush()
        answer = client.answer(stream)
        assert _still_answers(client)
    assert answer.headers[":status"] == str(status)
    assert answer.data.startswith(b'{"error":')
    assert answer.reset is None, "the answer's stream was reset"


def test_who_is_refused_and_goes_on_sending_is_cut_off_and_his_connection_goes_on(
    tight: Gateway,
) -> None:
    with Witness(tight), http2.Client(tight.http_port) as client:
        stream = client.open(_post(TINY, [JSON]))
        assert not _send(client, stream, b" " * (64 * MIB)), "all of it was taken"
        answer = client.answers[stream]
        assert (answer.headers[":status"], answer.reset) == ("413", NO_ERROR)
        assert answer.data.startswith(b'{"error":'), "the reset came before the answer"
        assert _still_answers(client)
    wait_until(lambda: tight.metric("serving_buffered_bytes") == 0, 10, "nothing is held")


def test_who_is_refused_and_says_nothing_more_is_let_go(tight: Gateway) -> None:
    with Witness(tight), http2.Client(tight.http_port) as client:
        stream = client.open(_post("/nowhere", [JSON]))
        wait_until(lambda: client.pump(0.1) and client.answers[stream].reset is not None, 10, "end")
        assert client.answers[stream].reset == NO_ERROR


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("how", ["--http2-prior-knowledge", "--http2", "--http1.1"])
def test_curl_shows_the_answer_to_what_is_too_large(
    tight: Gateway, tmp_path: Path, how: str
) -> None:
    """7.88 takes a reset behind an answer for the loss of it."""
    large = tmp_path / "large"
    large.write_bytes(oip.binary_body({"x": np.zeros((1 << 20, 4), np.float32)})[0])
    url = f"http://127.0.0.1:{tight.http_port}{TINY}"
    for _ in range(5):
        done = subprocess.run(
            ["curl", "-sS", how, "-w", "%{http_code}", "--data-binary", f"@{large}", url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "limits.max_message_bytes" in done.stdout
        assert done.stdout.endswith("413")
