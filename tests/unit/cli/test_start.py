"""What ``serving start`` does before it serves."""

from __future__ import annotations

import gc
import weakref

from typer.testing import CliRunner

from serving.cli import app
from serving.cli.start import _keep_what_is_there


class _Knot:
    """Garbage that only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_garbage_is_not_kept_for_ever() -> None:
    gc.disable()
    try:
        left = weakref.ref(_Knot())
        assert left() is not None
        _keep_what_is_there()
        assert left() is None
        assert gc.get_freeze_count() > 0
        assert gc.isenabled(), "it was off while the imports went on"
    finally:
        gc.unfreeze()
        gc.enable()


def test_directories_may_be_left_out_where_a_list_names_models() -> None:
    told = CliRunner().invoke(app, ["start", "--help"], env={"COLUMNS": "100"}).stdout
    assert "start [OPTIONS] [DIR|FILE.onnx|URL]... " in told
