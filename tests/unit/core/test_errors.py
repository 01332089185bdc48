"""One list of error words, on both sides of the seam."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving import _core
from serving.control.status import HTTP_STATUS
from serving.errors import ErrorCode

CORE = Path(__file__).resolve().parents[3] / "core" / "engine" / "src" / "error.rs"


def test_the_core_and_python_know_the_same_words() -> None:
    names = re.findall(r'ErrorCode::\w+ => "(\w+)"', CORE.read_text())
    assert sorted(names) == sorted(word.value for word in ErrorCode)


def test_every_word_has_a_row_on_the_admin_port() -> None:
    assert set(HTTP_STATUS) == set(ErrorCode)


def test_a_word_that_is_none_is_refused_before_anybody_is_answered_with_it() -> None:
    spec = _core.TensorSpec("x", "FP32", [-1])
    queue = _core.Queue(model="m", version=1, inputs=[spec], outputs=[spec])
    with pytest.raises(ValueError, match="unknown error word 'late'"):
        queue.abort("late", "too late")
    with pytest.raises(ValueError, match="unknown datatype 'FP99'"):
        _core.TensorSpec("x", "FP99", [-1])
