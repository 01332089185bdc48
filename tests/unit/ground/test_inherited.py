"""What whoever started us left us with."""

from __future__ import annotations

import subprocess
import sys

ODD = """
import os, signal, sys
from serving import inherited
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.umask(0o726)
inherited.put_right()
from serving.execution.isolation.parent.process import Child, ChildDiedError
child = Child("tests.unit.child_modules", name="test")
try:
    child.ask({"do": "die", "signal": int(signal.SIGSEGV)})
except ChildDiedError as error:
    print(error.words, oct(os.umask(0)))
"""


def test_how_a_child_ended_is_known_and_what_is_written_can_be_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ODD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["SIGSEGV", "0o26"], done
