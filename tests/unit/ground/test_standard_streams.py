"""Standard streams that are closed, and text that they can't say."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPEN = """
import os, sys
before = set(os.listdir("/proc/self/fd"))
from serving.standard_streams import open_missing
open_missing()
places = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
for stream in (sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__):
    stream.write("x")
    stream.flush()
sys.stdin.read()
ok = [place != "/dev/null" for place in places]
os.write(int(sys.argv[1]), repr(ok).encode())
"""
SAY = """
import json, sys
from serving.standard_streams import prepare
prepare()
print(json.dumps("a\\u017e\\U0001f600\\udcff", ensure_ascii=False))
"""


@pytest.mark.parametrize("closed", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_the_missing_ones_are_opened_and_the_others_are_left(closed: tuple[int, ...]) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" 9>&1 {redirections}', "sh", sys.executable, "-c", OPEN, "9"]
    done = subprocess.run(
        command,
        input=b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    # What went to standard output comes before the list.
    said = done.stdout.lstrip(b"x").decode()
    assert said == repr([number not in closed and number != 2 for number in range(3)])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_cannot_say_is_written_as_json_writes_it(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        env={"PYTHONIOENCODING": encoding, "PYTHONPATH": "."},
        capture_output=True,
        timeout=60,
        check=True,
    )
    text = done.stdout.decode(encoding)
    escaped = text if encoding != "utf-8" else text.replace("\u017e", "\\u017e")
    escaped = escaped.replace("\U0001f600", "\\ud83d\\ude00")
    assert escaped == '"a\\u017e\\ud83d\\ude00\\udcff"\n'
