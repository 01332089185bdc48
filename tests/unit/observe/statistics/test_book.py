"""The windows of all versions share a bound, and lie on disk while nobody asks a version."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from serving.observe.figures import Key
from serving.observe.statistics.alarms import Anomaly
from serving.observe.statistics.book import Book, Page
from serving.observe.statistics.distances import Distance
from serving.observe.statistics.rollup import Span
from serving.state_dir import StateDir
from tests.unit.observe.statistics.world import NOON, series

M: Key = ("m", 1)
FAR = Distance("age", "skew", 0.5, 0.1, "L_INFTY", 70, False, NOON, "minute")


def book(state: StateDir, most_bytes: int = 1 << 24) -> Book:
    return Book(state, series, most_bytes, 30 * 86400.0)


def add(one: Book, key: Key, now: float, features: int = 1) -> Page | None:
    page = one.page(key, now, 1)
    if page is not None:
        page.series.close_due(now)
        column = np.arange(1000.0)
        page.series.add([({f"x{at}": column for at in range(features)}, 1000)], [], 1, now)
        one.recount(page)
    return page


def write_all(one: Book) -> None:
    for key in one.pages:
        if (write := one.to_write(key, NOON)) is not None:
            write()


def test_whoever_is_asked_for_nothing_leaves_memory_and_comes_back(tmp_path: Path) -> None:
    one = book(StateDir(tmp_path))
    page = add(one, M, NOON)
    assert page is not None
    page.alarms.note(Span.MINUTE, [Anomaly(NOON, "age", "T", "words", "ERROR", Span.MINUTE)])
    page.compared([FAR])
    page.series.close_due(NOON + 60)
    one.tidy(M, NOON + 600)
    assert one.pages
    one.tidy(M, NOON + 1000)
    assert not one.pages
    assert one.nbytes == 0
    found = one.look(M)
    assert found is not None
    assert not one.pages
    assert found.distances == {("skew", "age"): FAR}
    assert len(found.alarms.standing) == 1
    assert found.series.message(Span.HOUR, None) == page.series.message(Span.HOUR, None)
    assert add(one, M, NOON + 1100) is one.pages[M]


def test_versions_beyond_the_bound_get_nothing_until_others_are_idle(tmp_path: Path) -> None:
    one = book(StateDir(tmp_path), 1 << 20)
    with capture_logs() as told:
        for version in range(200):
            add(one, ("m", version), NOON, features=20)
    assert 1 < len(one.pages) < 100
    assert one.left_out == 200 - len(one.pages)
    # What is added at once may go beyond.
    assert one.nbytes < (1 << 20) + (1 << 18)
    assert [record["event"] for record in told] == ["statistics_out_of_memory"]
    for page in one.pages.values():
        page.series.close_due(NOON + 60)
    assert add(one, ("m", 200), NOON + 61) is not None
    assert ("m", 0) not in one.pages
    assert one.look(("m", 0)) is not None


def test_versions_that_are_there_grow_no_further_than_all_may(tmp_path: Path) -> None:
    one = book(StateDir(tmp_path), 1 << 20)
    for version in range(30):
        assert add(one, ("m", version), NOON) is not None
    for again in range(1, 4):
        for version in range(30):
            add(one, ("m", version), NOON + again, features=20)
    assert one.nbytes < (1 << 20) + (1 << 18)
    assert one.left_out > 0
    # Those whose window is over make room for whoever is asked, and lose nothing by it.
    for page in one.pages.values():
        page.series.close_due(NOON + 60)
    before = set(one.pages)
    assert add(one, ("m", 29), NOON + 61, features=20) is not None
    gone = before - set(one.pages)
    assert gone
    assert ("m", 29) not in gone
    assert all(one.look(key) is not None for key in gone)


def test_what_is_damaged_is_said_and_begins_anew(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    one = book(state)
    add(one, M, NOON)
    write_all(one)
    (file,) = (tmp_path / "statistics").iterdir()
    for text in ("{", "[]", '{"format": 9}', '{"format": 1, "model": "other", "version": 1}'):
        file.write_text(text)
        with capture_logs() as told:
            found = book(state).look(M)
        assert found is not None
        assert found.series.nbytes == 0
        assert len(told) == 1
        assert told[0]["log_level"] == "warning"


def test_what_is_kept_of_versions_that_are_gone_goes_after_a_while(tmp_path: Path) -> None:
    one = book(StateDir(tmp_path))
    add(one, M, NOON)
    add(one, ("m", 2), NOON)
    write_all(one)
    for file in (tmp_path / "statistics").iterdir():
        os.utime(file, (NOON, NOON))
    fresh = book(StateDir(tmp_path))
    fresh.drop_old(NOON + 29 * 86400)
    assert fresh.look(M) is not None
    add(fresh, M, NOON + 29 * 86400)
    fresh.drop_old(NOON + 31 * 86400)
    assert fresh.look(M) is not None
    assert fresh.look(("m", 2)) is None


def test_without_a_disk_idle_versions_are_forgotten_and_memory_stays_bounded() -> None:
    one = book(StateDir(None))
    page = add(one, M, NOON)
    assert page is not None
    page.series.close_due(NOON + 60)
    one.tidy(M, NOON + 1000)
    assert not one.pages
    assert one.look(M) is None


def test_a_models_name_is_no_path(tmp_path: Path) -> None:
    one = book(StateDir(tmp_path))
    add(one, ("../../x", 1), NOON)
    write_all(one)
    assert len(list((tmp_path / "statistics").iterdir())) == 1
    assert one.look(("../../x", 1)) is not None


def test_fault_16_what_a_full_disk_does_not_take_leaves_the_windows_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = book(StateDir(tmp_path))
    add(before, M, NOON)
    write_all(before)
    state = StateDir(tmp_path)
    one = book(state)
    add(one, M, NOON + 60)
    monkeypatch.setattr("serving.state_dir._replace", full)
    write_all(one)
    # Nor is what was not taken held in memory, beyond the bound of all versions together.
    for kept in (book(StateDir(tmp_path)).look(M), book(state).look(M)):
        assert kept is not None
        message = kept.series.message(Span.HOUR, None)
        assert message == before.pages[M].series.message(Span.HOUR, None)
