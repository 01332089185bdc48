"""What is written down of sampled requests, hidden, dropped and counted."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from serving.loading.facts import NOTHING_KNOWN, VersionFacts
from serving.model_config import ModelConfig, RequestLogConfig
from serving.models.state import State
from serving.models.views import Changes, ModelView, VersionView
from serving.observe.request_log.folder import Folder
from serving.observe.request_log.forms import JsonLines
from serving.observe.request_log.rates import Rates
from serving.observe.request_log.read import Entry, files_of, read
from serving.observe.request_log.record import Record
from serving.observe.request_log.writer import RequestLog
from serving.observe.samples import Samples
from serving.registry.folder_origin import FolderOrigin
from serving.settings import RequestLogSettings
from serving.signature import Signature, Tensor
from tests.clients.gateway import wait_until
from tests.unit.request_log_samples import FakeSource, line, sample

SIGNATURE = Signature((Tensor("X", "FP32", (-1,)),), (Tensor("Y", "FP32", (-1,)),))


class FakeQueue:
    def __init__(self) -> None:
        self.rates: list[float] = []

    def sample(self, rate: float) -> None:
        self.rates.append(rate)


def version(
    number: int = 3,
    queue: FakeQueue | None = None,
    state: State = State.READY,
    log: RequestLogConfig | None = None,
) -> VersionView:
    return VersionView(
        number=number,
        state=state,
        facts=VersionFacts(
            signature=SIGNATURE,
            config=replace(ModelConfig(), request_log=log or RequestLogConfig()),
        ),
        queue=queue or FakeQueue(),  # type: ignore[arg-type]  # it only takes rates
        origin=FolderOrigin(Path("/models/m/3")),
    )


def views(*versions: VersionView) -> Changes:
    return {"m": ModelView("m", versions)}


def make(folder: Path, source: FakeSource | None = None, **settings: Any) -> RequestLog:
    given = RequestLogSettings(path=folder, **settings)
    log = RequestLog((source or FakeSource()).counters, given, JsonLines(), retry_s=0.0)
    log.watch(views(version()))
    return log


def records(folder: Path) -> list[Record]:
    found = [one for file in files_of(folder) for one in read(file)]
    return [one.record for one in found if isinstance(one, Entry)]


def records_of_part(folder: Path) -> list[Record]:
    """Of the file that is being written."""
    (part,) = folder.iterdir()
    return [one.record for one in read(part) if isinstance(one, Entry)]


def test_samples_are_written_with_what_is_known_of_them(tmp_path: Path) -> None:
    source = FakeSource()
    log = make(tmp_path / "log", source)
    hub = Samples(source, [log])
    hub.start()
    source.give(sample((1, 2), id="a"), sample((3, 4), id="b", word="expired", message="late"))
    source.end()
    hub.stop()
    found = records(tmp_path / "log")
    assert [(one.id, one.status, one.message) for one in found] == [
        ("a", "OK", ""),
        ("b", "expired", "late"),
    ]
    assert log.figures().written == 2
    assert log.figures().bytes == sum(f.stat().st_size for f in (tmp_path / "log").iterdir())


def test_what_was_sampled_can_be_read_at_once(tmp_path: Path) -> None:
    source = FakeSource()
    log = make(tmp_path, source)
    hub = Samples(source, [log])
    hub.start()
    source.give(sample(id="a"))
    wait_until(lambda: log.figures().written == 1, 10, "it is written")
    (part,) = tmp_path.iterdir()
    (one,) = read(part)
    assert isinstance(one, Entry)
    source.end()
    hub.stop()


def test_a_version_is_kept_at_its_own_rate_or_the_settings() -> None:
    rates = Rates(0.25, ())
    assert rates.rate(version()) == 0.25
    assert rates.rate(version(log=RequestLogConfig(rate=0.5))) == 0.5
    assert rates.rate(version(log=RequestLogConfig(rate=0.0))) == 0.0


@pytest.mark.parametrize(
    ("settings", "own", "hidden"),
    [
        ((), (), set()),
        (("X",), (), {"X"}),
        ((), ("Y",), {"Y"}),
        (("X",), ("Y",), {"X", "Y"}),
        (("*",), (), {"X", "Y"}),
        (("x",), (), set()),
        ((), ("[XY]",), {"X", "Y"}),
    ],
)
def test_redacted_tensors_keep_everything_but_their_values(
    tmp_path: Path, settings: tuple[str, ...], own: tuple[str, ...], hidden: set[str]
) -> None:
    source = FakeSource()
    given = RequestLogSettings(path=tmp_path, redact=settings)
    log = RequestLog(source.counters, given, JsonLines())
    log.watch(views(version(log=RequestLogConfig(redact=own))))
    hub = Samples(source, [log])
    hub.start()
    source.give(sample((12345, 2)))
    source.end()
    hub.stop()
    (one,) = records(tmp_path)
    tensors = {tensor.name: tensor for tensor in (*one.inputs, *one.outputs)}
    assert {name for name, tensor in tensors.items() if tensor.data is None} == hidden
    assert {tensor.shape for tensor in tensors.values()} == {(2,)}
    (file,) = files_of(tmp_path)
    assert (b"12345" in file.read_bytes()) == ("X" not in hidden)


def test_what_a_version_hid_stays_hidden_after_it_left() -> None:
    rates = Rates(1.0, ())
    rates.watch(views(version(3, log=RequestLogConfig(redact=("X",)))))
    rates.watch({"m": None})
    assert rates.shown("m", 3) == ("Y",)


def test_changed_patterns_hide_from_then_on() -> None:
    rates = Rates(1.0, ())
    shown = []
    for redact in ((), ("X",), ("Y*",), ()):
        rates.watch(views(version(3, log=RequestLogConfig(redact=redact))))
        shown.append(rates.shown("m", 3))
    assert shown == [None, ("Y",), ("X",), None]


def test_nothing_is_told_of_a_version_that_is_not_known() -> None:
    assert Rates(1.0, ()).shown("other", 1) == ()


def test_a_tensor_of_no_signature_is_hidden_where_anything_is() -> None:
    rates = Rates(1.0, ("secret",))
    rates.watch(views(replace(version(), facts=NOTHING_KNOWN)))
    assert rates.shown("m", 3) == ()


def test_fault_100_a_folder_that_cannot_be_written_drops_counts_and_says_it_once(
    tmp_path: Path,
) -> None:
    place = tmp_path / "log"
    place.write_text("a file is in the way")
    log = make(place)
    with capture_logs() as told:
        for _ in range(5):
            log.keep([sample(), sample()])
        assert log.figures().dropped["write"] == 10
        place.unlink()
        log.keep([sample()])
    assert log.figures().written == 1
    assert [one["event"] for one in told] == [
        "request_log_not_written",
        "request_log_written_again",
    ]


def test_fault_100_a_full_disk_drops_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make(tmp_path)
    log.keep([sample(id="before")])
    write, full = os.write, True

    def failing(handle: int, data: Any) -> int:
        if full and len(data) <= 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:40] if full else data)

    monkeypatch.setattr(os, "write", failing)
    log.keep([sample(id="lost"), sample(id="lost too")])
    assert log.figures().dropped["write"] == 2
    full = False
    log.keep([sample(id="after")])
    log._folder.close()
    assert [one.id for one in records(tmp_path)] == ["before", "after"]


def test_fault_100_after_a_failure_it_waits_before_it_tries_again(tmp_path: Path) -> None:
    place, now = tmp_path / "log", [0.0]
    place.write_text("a file is in the way")
    settings = RequestLogSettings(path=place)
    log = RequestLog(FakeSource().counters, settings, JsonLines(), retry_s=5.0, mono=lambda: now[0])
    log.keep([sample()])
    place.unlink()
    log.keep([sample()])
    assert log.figures().dropped["write"] == 2
    now[0] = 5.0
    log.keep([sample()])
    assert log.figures().written == 1


def test_fault_100_a_sample_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    source = FakeSource()
    log = make(tmp_path, source)
    hub = Samples(source, [log])
    hub.start()
    with capture_logs() as told:
        source.give(object())  # type: ignore[arg-type]  # a bug of ours
        source.give(sample(id="next"))
        source.end()
        hub.stop()
    assert [one.id for one in records(tmp_path)] == ["next"]
    assert log.figures().dropped["error"] == 1
    assert "request_log_failed" in [one["event"] for one in told]


def test_fault_100_drops_of_a_full_buffer_are_counted(tmp_path: Path) -> None:
    source = FakeSource()
    source.counted = {"samples_dropped": 7, "samples_too_large": 2}
    log = make(tmp_path, source, max_bytes=50)
    log.keep([sample()])
    assert log.figures().dropped == {"buffer": 7, "write": 0, "error": 0, "too_large": 3}


def test_fault_100_a_writer_that_hangs_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    source = FakeSource()
    log = make(tmp_path / "log", source)
    stuck = threading.Event()
    log._folder.open = stuck.wait  # type: ignore[assignment,method-assign]  # a disk that never answers
    hub = Samples(source, [log])
    hub.start()
    source.end()
    hub.stop(timeout=0.1)
    stuck.set()
    hub.stop()


@pytest.mark.parametrize("at_once", [1, 7, 20])
def test_sizes_are_as_the_settings_say_however_many_come_at_once(
    tmp_path: Path, at_once: int
) -> None:
    size = len(line(sample()))
    log = make(tmp_path / "many", max_file_bytes=3 * size + 10, max_bytes=100 * size)
    few = make(tmp_path / "few", max_file_bytes=2 * size, max_bytes=4 * size)
    for _ in range(0, 20, at_once):
        for one in (log, few):
            one.keep([sample()] * at_once)
    log._folder.close()
    whole = [len(list(read(file))) for file in files_of(tmp_path / "many")]
    assert whole[:6] == [3] * 6
    assert sum(whole) == log.figures().written == -(-20 // at_once) * at_once
    assert 3 <= sum(f.stat().st_size for f in (tmp_path / "few").iterdir()) / size <= 4
    assert few.figures().written == log.figures().written


def test_many_requests_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make(tmp_path)
    log.keep([sample()])
    write, sizes = os.write, []

    def noting(handle: int, data: Any) -> int:
        sizes.append(len(data))
        return write(handle, data)

    monkeypatch.setattr(os, "write", noting)
    given = [sample(id=str(i)) for i in range(50)] * 10
    log.keep(given)
    assert max(sizes) <= 65536
    assert len(sizes) == -(-sum(map(len, map(line, given))) // 65536)
    assert [one.id for one in records_of_part(tmp_path)][1:] == [one.id for one in given]


def test_a_request_that_is_too_large_costs_no_other(tmp_path: Path) -> None:
    log = make(tmp_path, max_bytes=2200)
    log.keep([sample(id="a"), sample(id="b"), sample([0.5] * 5000, id="big"), sample(id="c")])
    assert [one.id for one in records_of_part(tmp_path)] == ["a", "b", "c"]
    assert log.figures().written == 3
    assert log.figures().dropped["too_large"] == 1


def test_what_others_write_leaves_room_for_single_requests(tmp_path: Path) -> None:
    size = len(line(sample()))
    bound = 20 * size
    other = Folder(tmp_path, JsonLines(), max_file_bytes=bound, max_bytes=bound)
    for _ in range(10):
        other.append(line(sample()))
    source = FakeSource()
    log = make(tmp_path, source, max_file_bytes=bound, max_bytes=17 * size)
    hub = Samples(source, [log])
    hub.start()
    source.give(*[sample()] * 9)
    source.end()
    hub.stop()
    assert (log.figures().written, log.figures().dropped["write"]) == (7, 2)
