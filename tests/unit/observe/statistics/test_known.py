"""What is known of versions is asked by several threads at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.models.views import ModelView, VersionView
from serving.observe.figures import Key
from serving.observe.statistics.known import Known
from tests.unit.observe.statistics.world import signature, view

VECTOR = signature({"x": ("FP32", (-1, 2))}, {"y": ("FP32", (-1, 3))})


def test_who_reads_keeps_the_thread_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version is looked up for the first time while those that are gone are forgotten."""
    known = Known(())
    known.watch({"m": view(VECTOR, tmp_path, 1, 2)})
    known.features(("m", 1))
    version = Known.version

    def meanwhile(self: Known, key: Key) -> VersionView | None:
        monkeypatch.undo()
        self.features(("m", 2))
        return version(self, key)

    monkeypatch.setattr(Known, "version", meanwhile)
    known.forget_gone()
    assert ("m", 2) in known._features


def test_a_model_that_changes_is_there_all_the_time(tmp_path: Path) -> None:
    """Else a window that closes just then would be held against nothing."""
    absent: list[str] = []

    class Views(dict[str, ModelView]):
        def __setitem__(self, name: str, one: ModelView) -> None:
            absent.extend([] if name in self else [name])
            super().__setitem__(name, one)

    known = Known(())
    known._views = Views(m=view(VECTOR, tmp_path, 1))
    known.watch({"m": view(VECTOR, tmp_path, 1, 2)})
    assert not absent
    assert known.version(("m", 2)) is not None
    known.watch({"m": None})
    assert known.version(("m", 2)) is None
